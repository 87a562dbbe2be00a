/* SPDX-License-Identifier: MIT */
/*
 * heap/remote.c: see heap/remote.h, which argues the order of the steps.
 */
#include "heap/remote.h"
#include "heap/heap.h"
#include "heap/local.h"
#include <sched.h>
#include <string.h>

/* A thread that gives its bins up takes no more of them. */
#define CLOSED ((struct tarn_pool *)(uintptr_t)1)

/*
 * Beside the count: a purge has the pool in hand, and whoever wants to allocate from it, or to take
 * what is counted, waits; and all blocks were free, and the memory has been given back, so that the
 * blocks' words are all zero.  While it is claimed only to be looked at, others add to the count;
 * what is purged is handed out to nobody, so nobody does.
 */
#define CLAIMED ((uint32_t)1 << 31)
#define PURGED ((uint32_t)1 << 30)
/* In the place of a count: the pool is a spare one, and a purge has seen it since. */
#define SPARE ((uint32_t)1 << 29)
#define SEEN ((uint32_t)1 << 28)
#define COUNT (SEEN - 1)

/* Bytes that wait in an outbox: a few pools' worth of the smallest blocks, one of the largest. */
#define OUTBOX_BYTES ((size_t)32 << 10)

/* --- mailboxes ------------------------------------------------------------------------------- */

static bool push(tarn_mailbox *box, struct tarn_pool *pool) {
  struct tarn_pool *head = atomic_load_explicit(box, memory_order_relaxed);
  do {
    if (head == CLOSED)
      return false;
    pool->mail = head;
    TARN_DELAY();
  } while (!atomic_compare_exchange_weak_explicit(box, &head, pool, memory_order_release,
                                                  memory_order_relaxed));
  return true;
}

/* Into the mailbox of whoever owns the pool; the count is not zero, so the pool stays until then.
 * True: nobody owns it. */
static bool post(struct tarn_pool *pool) {
  for (unsigned tries = 1;; tries++) {
    struct tarn_local *owner = tarn_pool_owner(pool);
    TARN_DELAY();
    if (push(owner ? &owner->mailbox : &pool->heap->orphans, pool))
      return owner == NULL;
    /* Closed: the owner is about to say that it is none any more. */
    if (tries % 64 == 0)
      (void)sched_yield();
    tarn_os_pause();
  }
}

/* --- handing over ---------------------------------------------------------------------------- */

_Noreturn static void freed_twice(struct tarn_store *store, struct tarn_pool *pool, unsigned word,
                                  uint64_t bits) {
  size_t index = word * 64 + (size_t)__builtin_ctzll(bits);
  store->hooks->corrupt(store, (char *)tarn_pool_base(pool) + index * tarn_pool_block_size(pool),
                        "freed twice");
  __builtin_unreachable();
}

static void hand_over(struct tarn_store *store, size_t unit, unsigned word, uint64_t bits) {
  struct tarn_pool *pool = &tarn_space.pools[unit];
  uint64_t map = tarn_map_get(unit); /* while the pool stays */
  _Atomic uint64_t *at = &tarn_remote_bits(unit)[word];
  /* Release: pairs with the consumer's exchange of the word, which may come before the count. */
  uint64_t before = atomic_fetch_or_explicit(at, bits, memory_order_release);
  if (TARN_UNLIKELY(before & bits))
    freed_twice(store, pool, word, before & bits);
  TARN_DELAY();
  uint32_t count = (uint32_t)__builtin_popcountll(bits);
  /* Release: who sees the count finds the bits.  Acquire: pairs with the consumer's exchange of the
   * count, which came after it had read `mail`. */
  uint32_t others = atomic_fetch_add_explicit(&pool->remote, count, memory_order_acq_rel);
  /* Its memory went back, so the first word did not tell. */
  if (TARN_UNLIKELY(others & (SPARE | PURGED)))
    freed_twice(store, pool, word, bits);
  TARN_DELAY();
  bool orphan = others == 0 && post(pool);
  /* Nobody may come for what a purge would find. */
  if (orphan || (others & COUNT) + count == tarn_block_index(map, TARN_UNIT_SIZE))
    tarn_purge_want(store);
  else /* the owner knows whether it was the last one */
    tarn_purge_hint(store);
}

static void hand_over_entry(struct tarn_local *local, struct tarn_outbox_entry *entry) {
  uint64_t bits = entry->bits;
  entry->bits = 0;
  hand_over(local->store, entry->unit, entry->word, bits);
}

void tarn_remote_flush(struct tarn_local *local) {
  struct tarn_outbox *outbox = &local->outbox;
  if (outbox->bytes == 0)
    return;
  for (unsigned i = 0; i < TARN_OUTBOX_ENTRIES; i++)
    if (outbox->entries[i].bits)
      hand_over_entry(local, &outbox->entries[i]);
  outbox->bytes = 0;
}

void tarn_remote_free(struct tarn_local *local, size_t unit_number, size_t index, size_t size) {
  struct tarn_outbox *outbox = &local->outbox;
  uint32_t unit = (uint32_t)unit_number, word = (uint32_t)(index / 64);
  struct tarn_outbox_entry *entry = &outbox->entries[(unit * 5 + word) % TARN_OUTBOX_ENTRIES];
  uint64_t bit = (uint64_t)1 << (index % 64);
  if (entry->bits && (entry->unit != unit || entry->word != word))
    hand_over_entry(local, entry);
  if (TARN_UNLIKELY(entry->bits & bit))
    freed_twice(local->store, &tarn_space.pools[unit], word, bit);
  entry->unit = unit;
  entry->word = word;
  entry->bits |= bit;
  outbox->bytes += size;
  if (outbox->bytes >= OUTBOX_BYTES)
    tarn_remote_flush(local);
  else if (entry->bits == UINT64_MAX)
    hand_over_entry(local, entry);
}

void tarn_remote_free_stranger(struct tarn_store *store, size_t unit, size_t index) {
  hand_over(store, unit, (unsigned)(index / 64), (uint64_t)1 << (index % 64));
}

/* --- taking ---------------------------------------------------------------------------------- */

/* Makes a block that another thread freed one that the owner can hand out. */
static void take_block(struct tarn_store *store, struct tarn_pool *pool, char *block) {
  uintptr_t *words = tarn_block_words(block);
  tarn_kind kind = tarn_flavour_kind((tarn_flavour)pool->flavour);
  if (words[0] != tarn_free_key(kind, block))
    store->hooks->corrupt(store, block, "a free block was written to");
  if ((uintptr_t)block - tarn_pool_base(pool) >= pool->own.cursor) {
    if (!tarn_store_marked(store, block))
      store->hooks->corrupt(store, block, "freed twice, or never allocated");
    *tarn_mark_byte((uintptr_t)block) = TARN_MARK_NONE; /* the sweep finds it */
    return;
  }
  if (store->tables)
    *tarn_mark_byte((uintptr_t)block) = TARN_MARK_NONE;
  tarn_block_link(block, pool->own.free);
  pool->own.free = block;
}

/* Takes the count, once no purge has the pool's memory in hand. */
static uint32_t take_count(struct tarn_pool *pool) {
  uint32_t count = atomic_load_explicit(&pool->remote, memory_order_relaxed);
  for (;;) {
    if (count & CLAIMED) {
      (void)sched_yield(); /* one system call of the other thread */
      count = atomic_load_explicit(&pool->remote, memory_order_relaxed);
    } else if (atomic_compare_exchange_weak_explicit(&pool->remote, &count, 0, memory_order_acq_rel,
                                                     memory_order_relaxed)) {
      return count; /* acquire, and release: see hand_over */
    }
  }
}

/* All blocks of the pool were free, and its memory has been given back: it is as new.  By the
 * owner, or, if there is none, under the heap's lock. */
static void renew(struct tarn_store *store, struct tarn_pool *pool) {
  _Atomic uint64_t *at = tarn_remote_bits(tarn_pool_unit(pool));
  for (unsigned word = 0; word < (pool->capacity + 63u) / 64; word++)
    atomic_store_explicit(&at[word], 0, memory_order_relaxed); /* the count was the acquire */
  if (store->tables)
    memset(tarn_mark_byte(tarn_pool_base(pool)), TARN_MARK_NONE,
           TARN_UNIT_SIZE >> TARN_GRANULE_SHIFT);
  pool->own.free = NULL;
  pool->own.cursor = pool->own.virgin = 0;
  pool->backed = 0;
  tarn_pool_set_mine(pool, tarn_pool_owner(pool));
}

void tarn_remote_begin_use(struct tarn_store *store, struct tarn_pool *pool) {
  /* Release: a purge that claims the pool from here on sees what list it is on now.  Acquire: pairs
   * with the end of a purge that came before. */
  uint32_t state = atomic_fetch_add_explicit(&pool->remote, 0, memory_order_acq_rel);
  while (TARN_UNLIKELY(state & CLAIMED)) {
    (void)sched_yield(); /* one system call of the other thread */
    state = atomic_load_explicit(&pool->remote, memory_order_acquire);
  }
  if (TARN_LIKELY(!(state & PURGED)))
    return;
  renew(store, pool);
  /* The count stays in `used` and for the mailbox, as if its bits had been taken early.  Release:
   * as above; nothing but this is done to the word of a purged pool. */
  (void)atomic_fetch_and_explicit(&pool->remote, ~PURGED, memory_order_release);
}

/* Takes count and bits of a pool that was in a mailbox; the caller has the right to the pool, and
 * takes what is returned off `used`.  From the last block to the first, so that they are handed out
 * in the order of their addresses. */
static uint32_t drain(struct tarn_store *store, struct tarn_pool *pool) {
  uint32_t count = take_count(pool);
  TARN_DELAY();
  if (count & PURGED) {
    renew(store, pool);
    return count & ~PURGED;
  }
  _Atomic uint64_t *at = tarn_remote_bits(tarn_pool_unit(pool));
  char *base = (char *)tarn_pool_base(pool);
  size_t size = tarn_pool_block_size(pool);
  for (unsigned word = (pool->capacity + 63u) / 64; word-- > 0;) {
    /* Relaxed: bits that were counted are seen through the count; others may come early. */
    if (atomic_load_explicit(&at[word], memory_order_relaxed) == 0)
      continue;
    /* Acquire: see hand_over. */
    uint64_t bits = atomic_exchange_explicit(&at[word], 0, memory_order_acquire);
    TARN_DELAY();
    while (bits) {
      unsigned bit = 63u - (unsigned)__builtin_clzll(bits);
      bits ^= (uint64_t)1 << bit;
      take_block(store, pool, base + (word * 64 + bit) * size);
    }
  }
  return count;
}

/* A pool from the mailbox of `local`. */
static void receive(struct tarn_local *local, struct tarn_pool *pool) {
  if (tarn_pool_owner(pool) == local)
    tarn_local_received(local, pool, drain(local->store, pool));
  else
    (void)post(pool);
}

bool tarn_remote_collect(struct tarn_local *local) {
  /* Relaxed: a look; the exchange acquires. */
  if (!atomic_load_explicit(&local->mailbox, memory_order_relaxed))
    return false;
  struct tarn_pool *next,
      *pool = atomic_exchange_explicit(&local->mailbox, NULL, memory_order_acquire);
  for (; pool; pool = next) {
    next = pool->mail; /* first: from drain() on it may be in a mailbox again */
    receive(local, pool);
  }
  return true;
}

void tarn_remote_open(struct tarn_local *local) {
  /* Release: who finds it open finds the bins as they are at the start. */
  atomic_store_explicit(&local->mailbox, NULL, memory_order_release);
}

void tarn_remote_close(struct tarn_local *local) {
  struct tarn_pool *next,
      *pool = atomic_exchange_explicit(&local->mailbox, CLOSED, memory_order_acquire);
  TARN_DELAY();
  for (; pool && pool != CLOSED; pool = next) {
    next = pool->mail;
    receive(local, pool);
  }
}

/* One pool of the heap's mailbox, under the heap's lock; true: it is somebody's, and left alone.
 * But nobody opens the mailboxes of those whom a fork left behind. */
static bool receive_orphan(struct tarn_heap *heap, struct tarn_pool *pool) {
  if (tarn_pool_owner(pool))
    return !tarn_pool_is_abandoned(pool);
  if (pool->list == TARN_LIST_CONDEMNED || pool->list == TARN_LIST_UNSWEPT ||
      pool->list == TARN_LIST_TRASH || pool->list == TARN_LIST_FROZEN)
    pool->parked = true;
  else
    tarn_heap_received(heap, pool, drain(heap->store, pool));
  return false;
}

void tarn_remote_collect_heap(struct tarn_heap *heap) {
  struct tarn_pool *next, *owned = NULL;
  if (!atomic_load_explicit(&heap->orphans, memory_order_relaxed))
    return;
  (void)pthread_mutex_lock(&heap->lock);
  struct tarn_pool *pool = atomic_exchange_explicit(&heap->orphans, NULL, memory_order_acquire);
  for (; pool; pool = next) {
    next = pool->mail;
    if (receive_orphan(heap, pool)) {
      pool->mail = owned;
      owned = pool;
    }
  }
  (void)pthread_mutex_unlock(&heap->lock);
  /* Outside of the lock: a thread that gives its bins up has closed its mailbox and may want it. */
  for (; owned; owned = next) {
    next = owned->mail;
    (void)post(owned);
  }
}

void tarn_remote_unpark(struct tarn_pool *pool) {
  if (!pool->parked)
    return;
  pool->parked = false;
  tarn_pool_set_used(pool, tarn_pool_used(pool) - drain(pool->heap->store, pool));
}

void tarn_remote_begin_spare(struct tarn_pool *pool) {
  TARN_ASSERT(atomic_load_explicit(&pool->remote, memory_order_relaxed) == 0);
  /* Release: pairs with the purge; what was done to the blocks came before they are given back. */
  atomic_store_explicit(&pool->remote, SPARE, memory_order_release);
}

void tarn_remote_end_spare(struct tarn_store *store, struct tarn_pool *pool) {
  if (take_count(pool) & PURGED)
    renew(store, pool);
}

bool tarn_remote_is_empty(const struct tarn_pool *pool) {
  return (atomic_load_explicit(&pool->remote, memory_order_relaxed) & (SPARE | PURGED)) != 0;
}

/* Takes the pool of a unit in hand: `state` is what `remote` was, `map` its map word.  Acquire:
 * pairs with what made the pool spare, with hand_over, and with tarn_remote_begin_use: what was
 * done to the blocks comes before they are given back, and the unit is seen as it is. */
static bool claim(size_t unit, uint64_t map, uint32_t state) {
  struct tarn_pool *pool = &tarn_space.pools[unit];
  if (!atomic_compare_exchange_strong_explicit(&pool->remote, &state, state | CLAIMED,
                                               memory_order_acquire, memory_order_relaxed))
    return false;
  /* It may have become a pool of another class or world after the first look; with the count in
   * hand it stays what it is. */
  if (tarn_map_get(unit) == map)
    return true;
  (void)atomic_fetch_and_explicit(&pool->remote, ~CLAIMED, memory_order_release);
  return false;
}

/* Release: pairs with take_count and tarn_remote_begin_use. */
static void let_go(struct tarn_pool *pool, bool done) {
  (void)atomic_fetch_xor_explicit(&pool->remote, CLAIMED | (done ? PURGED : 0),
                                  memory_order_release);
}

/* A spare pool. */
static bool purge_spare(size_t unit, uint64_t map, uint32_t state, uint32_t now, uint32_t delay) {
  struct tarn_pool *pool = &tarn_space.pools[unit];
  if (!claim(unit, map, state))
    return false;
  if (!(state & SEEN))
    pool->freed_at = now;
  bool done = pool->own.virgin != 0 && tarn_tick_passed(pool->freed_at + delay, now) &&
              tarn_os_purge((void *)tarn_unit_base(unit), TARN_UNIT_SIZE);
  /* Release: pairs with take_count.  Nobody else changes the word of a spare pool. */
  atomic_store_explicit(&pool->remote, SPARE | SEEN | (done ? PURGED : 0), memory_order_release);
  return done;
}

/* What the owner has in `used` of its pool, which has `all` blocks, or more; UINT32_MAX: only the
 * owner can know.  The head of remote.h says why. */
static uint32_t read_used(const struct tarn_pool *pool, uint32_t all) {
  /* Acquire, both, in this order: pairs with tarn_pool_set_list and tarn_inline_count_down. */
  uint8_t list = __atomic_load_n(&pool->list, __ATOMIC_ACQUIRE);
  uint32_t room = __atomic_load_n(&pool->own.room, __ATOMIC_ACQUIRE);
  return list == TARN_LIST_PARTIAL ? room
         : list == TARN_LIST_FULL  ? room + all - tarn_wake_of(all)
                                   : UINT32_MAX;
}

/* Is every block freed by others, and its bit still there?  Bits that came early may be in the
 * owner's hands again while their count is underway. */
static bool all_bits_are_set(size_t unit, uint32_t all) {
  const _Atomic uint64_t *at = tarn_remote_bits(unit);
  uint32_t set = 0;
  for (unsigned word = 0; word < (all + 63u) / 64; word++)
    set += (uint32_t)__builtin_popcountll(atomic_load_explicit(&at[word], memory_order_relaxed));
  return set == all;
}

/* A pool into which others freed `count` blocks. */
static bool purge_owned(size_t unit, uint64_t map, uint32_t count) {
  struct tarn_pool *pool = &tarn_space.pools[unit];
  uint32_t all = (uint32_t)(TARN_UNIT_SIZE / tarn_map_block_size(map));
  /* A look, so that pools in use are left alone. */
  if ((count != all && count != read_used(pool, all)) || !claim(unit, map, count))
    return false;
  bool done = ((count == all && all_bits_are_set(unit, all)) || count == read_used(pool, all)) &&
              tarn_os_purge((void *)tarn_unit_base(unit), TARN_UNIT_SIZE);
  if (done) /* the words do not tell a second free by the owner any more: renew() undoes it */
    tarn_pool_set_mine(pool, NULL);
  let_go(pool, done);
  return done;
}

static bool may_purge(uint32_t state) { return state != 0 && !(state & (CLAIMED | PURGED)); }

bool tarn_remote_purge(const struct tarn_store *store, size_t unit, uint32_t now, uint32_t delay) {
  uint64_t map = tarn_map_get(unit);
  if (tarn_map_world(map) != store->id || tarn_map_form(map) != TARN_FORM_POOL)
    return false;
  /* Relaxed: a look; the exchanges acquire. */
  uint32_t state = atomic_load_explicit(&tarn_space.pools[unit].remote, memory_order_relaxed);
  if (!may_purge(state))
    return false;
  return state & SPARE ? purge_spare(unit, map, state, now, delay) : purge_owned(unit, map, state);
}

bool tarn_remote_may_purge(size_t unit) {
  uint32_t state = atomic_load_explicit(&tarn_space.pools[unit].remote, memory_order_relaxed);
  return may_purge(state);
}

uint32_t tarn_remote_count(const struct tarn_pool *pool) {
  return atomic_load_explicit(&pool->remote, memory_order_relaxed) & COUNT;
}

bool tarn_remote_forget(struct tarn_pool *pool) {
  uint32_t count = take_count(pool);
  _Atomic uint64_t *at = tarn_remote_bits(tarn_pool_unit(pool));
  for (unsigned word = 0; word < (pool->capacity + 63u) / 64; word++)
    if (atomic_load_explicit(&at[word], memory_order_relaxed) != 0) /* nobody sets any now */
      atomic_store_explicit(&at[word], 0, memory_order_relaxed);
  return (count & PURGED) != 0;
}

void tarn_remote_after_fork(struct tarn_local *self) {
  for (unsigned i = 0; i < TARN_OUTBOX_ENTRIES; i++) {
    struct tarn_outbox_entry *entry = &self->outbox.entries[i];
    if (entry->bits && tarn_pool_is_abandoned(&tarn_space.pools[entry->unit]))
      entry->bits = 0;
  }
  /* Relaxed: no other thread is there. */
  struct tarn_pool *kept = NULL, **end = &kept, *pool;
  for (pool = atomic_load_explicit(&self->mailbox, memory_order_relaxed); pool && pool != CLOSED;
       pool = pool->mail)
    if (!tarn_pool_is_abandoned(pool)) {
      *end = pool;
      end = &pool->mail;
    }
  *end = pool;
  atomic_store_explicit(&self->mailbox, kept, memory_order_relaxed);
}

bool tarn_remote_is_settled(struct tarn_local *local) {
  struct tarn_pool *head = atomic_load_explicit(&local->mailbox, memory_order_relaxed);
  return local->outbox.bytes == 0 && (!head || head == CLOSED);
}
