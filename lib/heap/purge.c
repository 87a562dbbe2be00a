/* SPDX-License-Identifier: MIT */
/*
 * heap/purge.c: see heap/purge.h.
 */
#include "heap/heap.h"
#include "os/os.h"
#include <errno.h>

#define RANGES 64u
#define BATCH_UNITS ((size_t)64)       /* 4 MiB: about 0.3 ms, which a fork may have to wait */
#define LEAST_DIRTY ((size_t)1 << 20)  /* less is not worth a thread */
#define ARENA_DELAYS 10u               /* an empty arena goes after so many delays, */
#define ARENA_LEAST ((uint32_t)500)    /* and not before so many ticks */
#define SETTLE_LEAST ((uint32_t)100)   /* ticks between two looks for other work without a thread */
#define RETRY ((uint32_t)10000)        /* ticks from a failure to make a thread to the next try */
#define GIVE_WAY_NS ((uint64_t)100000) /* how long others may take to wake up and take the lock */

/* --- one pass over the arenas ---------------------------------------------------------------- */

struct range {
  struct tarn_arena *arena; /* stays: nobody but a purge takes arenas away */
  size_t first, count;
  bool failed;
};

struct pass {
  struct tarn_store *store;
  bool aged;    /* only what is free for as long as the delay says, and no more than `most` */
  uint32_t now; /* ticks */
  size_t keep;  /* else: bytes that are still to be left alone */
  size_t most;  /* bytes */
  size_t given; /* bytes */
  uintptr_t at; /* what lies below was looked at */
  size_t units; /* of the present batch, and its ranges */
  unsigned count;
  struct range ranges[RANGES];
};

static bool is_wanted(struct pass *pass, const struct tarn_pool *pool) {
  if (pass->aged) {
    if (pass->most < pool->dirty ||
        !tarn_tick_passed(pool->freed_at + pass->store->purge.delay, pass->now))
      return false;
    pass->most -= pool->dirty;
    return true;
  }
  if (pass->keep < pool->dirty)
    return true;
  pass->keep -= pool->dirty;
  return false;
}

/* False: the batch is full. */
static bool add_unit(struct pass *pass, struct tarn_arena *arena, size_t unit) {
  struct range *last = pass->count ? &pass->ranges[pass->count - 1] : NULL;
  bool joins = last && last->arena == arena && last->first + last->count == unit;
  if (pass->units >= BATCH_UNITS || (!joins && pass->count == RANGES))
    return false;
  if (joins)
    last->count++;
  else
    pass->ranges[pass->count++] = (struct range){.arena = arena, .first = unit, .count = 1};
  pass->units++;
  return true;
}

/* Adds what is wanted of the arena; false: the batch was full before its end. */
static bool look_at_arena(struct pass *pass, struct tarn_arena *arena) {
  size_t start = pass->at > arena->base ? (pass->at - arena->base) / TARN_UNIT_SIZE : 0, run;
  uint32_t oldest = pass->now;
  for (size_t at = start; (run = tarn_bits_run(tarn_arena_dirty(arena), arena->units, &at)) != 0;) {
    for (size_t end = at + run; at < end; at++) {
      const struct tarn_pool *pool = tarn_arena_pool(arena, at);
      if (!is_wanted(pass, pool)) {
        if (!tarn_tick_passed(oldest, pool->freed_at))
          oldest = pool->freed_at;
      } else if (!add_unit(pass, arena, at)) {
        pass->at = arena->base + at * TARN_UNIT_SIZE;
        return false;
      }
    }
  }
  if (pass->aged && start == 0)
    arena->oldest = oldest; /* of those that stay */
  pass->at = arena->base + arena->units * TARN_UNIT_SIZE;
  return true;
}

/* Can there be anything of interest in the arena? */
static bool is_hopeless(const struct pass *pass, const struct tarn_arena *arena) {
  return arena->dirty_units == 0 || arena->base + arena->units * TARN_UNIT_SIZE <= pass->at ||
         (pass->aged && !tarn_tick_passed(arena->oldest + pass->store->purge.delay, pass->now));
}

/* A touch of one unit may have brought memory to its clean neighbours in the same huge page. */
static void widen(struct range *range) {
  struct tarn_arena *arena = range->arena;
  const uint64_t *dirty = tarn_arena_dirty(arena);
  size_t first = range->first, end = first + range->count;
#define IS_CLEAN(unit) \
  (tarn_arena_is_free(arena, unit) && !(dirty[(unit) / 64] >> ((unit) % 64) & 1))
  while (first > 0 && IS_CLEAN(first - 1))
    first--;
  while (end < arena->units && IS_CLEAN(end))
    end++;
#undef IS_CLEAN
  range->first = first;
  range->count = end - first;
}

/* Fills a batch and claims it; false: the pass is at its end. */
static bool claim(struct pass *pass) {
  struct tarn_store *store = pass->store;
  bool more = true;
  pass->count = 0;
  pass->units = 0;
  (void)pthread_mutex_lock(&store->lock);
  for (struct tarn_arena *arena = store->arenas; arena && more && !store->purge.ended;
       arena = arena->next)
    if (!is_hopeless(pass, arena))
      more = look_at_arena(pass, arena);
  for (unsigned i = 0; i < pass->count; i++) {
    if (pass->ranges[i].arena->huge)
      widen(&pass->ranges[i]);
    tarn_store_claim(store, pass->ranges[i].arena, pass->ranges[i].first, pass->ranges[i].count);
  }
  (void)pthread_mutex_unlock(&store->lock);
  return !more;
}

/* Without the store's lock. */
static void give_back(struct pass *pass, struct range *range) {
  size_t dirty = 0;
  range->failed = !tarn_os_purge((void *)(range->arena->base + range->first * TARN_UNIT_SIZE),
                                 range->count * TARN_UNIT_SIZE);
  for (size_t i = 0; i < range->count && !range->failed; i++) {
    struct tarn_pool *pool = tarn_arena_pool(range->arena, range->first + i);
    dirty += pool->dirty;
    pool->dirty = 0;
  }
  pass->given += dirty;
  atomic_fetch_add_explicit(&pass->store->returned, dirty, memory_order_relaxed);
}

/* What the system did not take counts as free from now, so that it is not asked again at once. */
static void unclaim(struct pass *pass) {
  struct tarn_store *store = pass->store;
  (void)pthread_mutex_lock(&store->lock);
  for (unsigned i = 0; i < pass->count; i++)
    tarn_store_unclaim(store, pass->ranges[i].arena, pass->ranges[i].first, pass->ranges[i].count,
                       pass->now);
  (void)pthread_mutex_unlock(&store->lock);
}

static void give_way(struct tarn_purge *purge) {
  /* Relaxed: who has announced itself too late waits for the next time. */
  uint32_t asked = __atomic_load_n(&purge->asked, __ATOMIC_RELAXED);
  if (asked)
    tarn_os_wait(&purge->asked, asked, GIVE_WAY_NS);
}

/* True: there is more to do. */
static bool do_batch(struct pass *pass) {
  (void)pthread_mutex_lock(&pass->store->purge.lock);
  bool more = claim(pass);
  for (unsigned i = 0; i < pass->count; i++)
    give_back(pass, &pass->ranges[i]);
  if (pass->count)
    unclaim(pass);
  (void)pthread_mutex_unlock(&pass->store->purge.lock);
  give_way(&pass->store->purge);
  return more;
}

/* --- empty arenas ---------------------------------------------------------------------------- */

static uint32_t arena_delay(const struct tarn_purge *purge) {
  uint32_t delay = ARENA_DELAYS * purge->delay;
  return delay > ARENA_LEAST ? delay : ARENA_LEAST;
}

/* An arena to give up, off the list.  The lowest stays, unless it is a long one: a world that frees
 * everything and goes on would make the next at once. */
static struct tarn_arena *take_empty(const struct pass *pass) {
  struct tarn_store *store = pass->store;
  struct tarn_arena *arena = NULL;
  if (pthread_mutex_trylock(&store->walk_lock) != 0)
    return NULL; /* next time */
  (void)pthread_mutex_lock(&store->lock);
  for (arena = store->arenas; arena; arena = arena->next)
    if (arena->free_units == arena->units && arena->dirty_units == 0 &&
        (arena != store->arenas || arena->units != TARN_ARENA_UNITS) &&
        (!pass->aged ||
         tarn_tick_passed(arena->emptied_at + arena_delay(&store->purge), pass->now)))
      break;
  if (arena)
    tarn_store_unlink_arena(store, arena);
  (void)pthread_mutex_unlock(&store->lock);
  (void)pthread_mutex_unlock(&store->walk_lock);
  return arena;
}

static void drop_empty_arenas(struct pass *pass) {
  struct tarn_store *store = pass->store;
  struct tarn_arena *arena;
  do {
    uintptr_t base = 0;
    size_t bytes = 0;
    (void)pthread_mutex_lock(&store->purge.lock);
    arena = take_empty(pass);
    if (arena) {
      base = arena->base;
      bytes = arena->units * TARN_UNIT_SIZE;
      tarn_store_drop_arena(store, arena);
    }
    (void)pthread_mutex_unlock(&store->purge.lock);
    if (arena)
      tarn_store_tell_dropped(store, base, bytes);
    give_way(&store->purge);
  } while (arena);
}

/* --- giving back at once --------------------------------------------------------------------- */

/* No lock is held. */
static void tell(struct tarn_store *store, size_t given, uint64_t began) {
  if (given && tarn_is_told(store, TARN_TOLD_PURGE))
    tarn_tell(store, (struct tarn_told){.kind = TARN_TOLD_PURGE, .bytes = given, .began = began});
}

/* When a purge began, if somebody wants to know. */
static uint64_t time_to_tell(const struct tarn_store *store) {
  return tarn_is_told(store, TARN_TOLD_PURGE) ? tarn_os_now() : 0;
}

size_t tarn_store_trim(struct tarn_store *store, size_t keep) {
  struct pass pass = {.store = store, .keep = keep, .now = tarn_os_ticks()};
  uint64_t began = time_to_tell(store);
  while (do_batch(&pass)) {
  }
  drop_empty_arenas(&pass);
  tell(store, pass.given, began);
  return pass.given;
}

size_t tarn_store_purge(struct tarn_store *store, size_t keep) {
  /* Relaxed: a little more or less does not matter. */
  size_t dirty = atomic_load_explicit(&store->dirty, memory_order_relaxed);
  return dirty / 5 * 4 <= keep ? 0 : tarn_store_trim(store, keep);
}

/* --- rounds ---------------------------------------------------------------------------------- */

void tarn_purge_keep(struct tarn_store *store, size_t bytes) {
  /* Relaxed: a round that has not seen it gives back a little too much. */
  __atomic_store_n(&store->purge.keep, bytes, __ATOMIC_RELAXED);
}

/* How much may go back now. */
static size_t beyond_keep(struct tarn_store *store, uint32_t now) {
  struct tarn_purge *purge = &store->purge;
  size_t keep = __atomic_load_n(&purge->keep, __ATOMIC_RELAXED);
  if (keep == 0)
    return SIZE_MAX;
  (void)pthread_mutex_lock(&store->lock);
  uint64_t allocated = atomic_load_explicit(&store->allocated, memory_order_relaxed);
  if (allocated != purge->allocated) {
    purge->allocated = allocated;
    purge->active_at = now;
  }
  bool idle = tarn_tick_passed(purge->active_at + 2 * purge->delay, now);
  (void)pthread_mutex_unlock(&store->lock);
  size_t dirty = atomic_load_explicit(&store->dirty, memory_order_relaxed);
  return idle ? SIZE_MAX : dirty > keep ? dirty - keep : 0;
}

/* What is old enough goes back, in at most `most` batches.  False: there is more. */
static bool purge_old(struct tarn_store *store, size_t most, size_t *given) {
  uint32_t now = tarn_os_ticks();
  struct pass pass = {.store = store, .aged = true, .now = now, .most = beyond_keep(store, now)};
  uint64_t began = time_to_tell(store);
  bool more = true;
  for (size_t i = 0; i < most && more; i++)
    more = do_batch(&pass);
  if (!more)
    drop_empty_arenas(&pass);
  tell(store, pass.given, began);
  *given += pass.given;
  return !more;
}

/* What others freed in pools becomes free units, or goes back where it is. */
static size_t settle(struct tarn_store *store) {
  tarn_heap_settle_orphans(store);
  return tarn_pools_purge_idle(store, store->purge.delay);
}

/*
 * The bell.  What it says:
 *
 *   LISTENS  there is a thread that stays, and is to be rung for
 *   RUNG     somebody has work since the last round began
 *   ASLEEP   the thread sleeps, or is about to, until the word changes
 *   END      the thread shall end
 *
 * No ring is lost.  A ring is a read-modify-write of the word after its work was published; the
 * thread takes RUNG off by another one before it looks for work, and goes to sleep by a third, from
 * a word without RUNG.  These are in one order.  A ring before the taking off has its work found in
 * the round that begins (it synchronizes with it); one after that finds ASLEEP, and wakes the
 * thread, or makes the exchange that goes to sleep fail.  RUNG stays until the next round begins,
 * so that of all who ring while the thread sleeps one makes the system call.
 *
 * Units that become free do not even pay for that: the count of what is dirty and ASLEEP are
 * under the store's lock, both for who counts and looks whether to ring, and for the thread that
 * looks and goes to sleep.
 *
 * Nor is one lost when the thread ends.  Its last exchange takes the whole word: a ring before it
 * is seen there, and handed on to the threads of the program with all that is still dirty; one
 * after it finds no LISTENS, and whoever rang asks them himself.  A thread that does not stay has
 * no LISTENS either: who comes to do a round for it (tarn_purge_tend) rings instead, under the
 * store's lock, and the thread does not end before it has done one.
 */
enum { BELL_LISTENS = 1, BELL_RUNG = 2, BELL_ASLEEP = 4, BELL_END = 8 };

/* What purge_due says: nothing, a round, or a round at `again_at`. */
enum { DUE_NOT, DUE_NOW, DUE_LATER };

/* Relaxed: a look; what matters is under the lock or follows from an exchange. */
static uint32_t look_at_bell(const struct tarn_purge *purge) {
  return __atomic_load_n(&purge->bell, __ATOMIC_RELAXED);
}

/* False: nobody listens, or not any more. */
static bool ring(struct tarn_purge *purge) {
  /* Release: see above. */
  uint32_t before = __atomic_fetch_or(&purge->bell, BELL_RUNG, __ATOMIC_RELEASE);
  if ((before & (BELL_ASLEEP | BELL_RUNG)) == BELL_ASLEEP)
    tarn_os_wake_all(&purge->bell);
  return (before & BELL_LISTENS) != 0;
}

/* Release: who takes it (acquire) finds the work that it was set for. */
static void set_due(struct tarn_store *store) {
  __atomic_store_n(&store->purge_due, DUE_NOW, __ATOMIC_RELEASE);
}
static bool take_due(struct tarn_store *store) {
  return __atomic_exchange_n(&store->purge_due, DUE_NOT, __ATOMIC_ACQUIRE) != DUE_NOT;
}

/* Is there so much that somebody should tend to it? */
static bool is_dirty(const struct tarn_store *store) {
  size_t dirty = atomic_load_explicit(&store->dirty, memory_order_relaxed);
  return dirty >= (store->purge.delay ? LEAST_DIRTY : 1);
}

/* Under the store's lock: what a thread that is gone has left is the program's to do. */
static void hand_on(struct tarn_store *store) {
  /* Acquire: a ring's work is to be found by who takes purge_due. */
  uint32_t bell = __atomic_exchange_n(&store->purge.bell, 0, __ATOMIC_ACQUIRE);
  store->purge.running = false;
  if ((bell & BELL_RUNG) || is_dirty(store))
    set_due(store);
}

/* From one round to the next.  What others freed in a pool becomes free units in one round, which
 * are old enough one delay later, and go back in the round after that: within two delays. */
static uint32_t pause_of(const struct tarn_purge *purge) {
  return purge->delay > 4 ? purge->delay / 4 : 1;
}

/* Until the next round; less only if the thread shall end, or if the bell is just ringing. */
static void nap(struct tarn_purge *purge) {
  uint32_t bell = look_at_bell(purge);
  if (!(bell & BELL_END))
    tarn_os_wait(&purge->bell, bell, (uint64_t)pause_of(purge) * 1000000u);
}

/* Under the store's lock; false: the bell has rung. */
static bool falls_asleep(struct tarn_store *store) {
  uint32_t bell = BELL_LISTENS;
  if (take_due(store)) /* of before the thread was there */
    return false;
  /* Relaxed: the order of the exchanges is all. */
  return __atomic_compare_exchange_n(&store->purge.bell, &bell, BELL_LISTENS | BELL_ASLEEP, false,
                                     __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

static void sleep_on(struct tarn_purge *purge) {
  while (look_at_bell(purge) == (BELL_LISTENS | BELL_ASLEEP))
    tarn_os_wait(&purge->bell, BELL_LISTENS | BELL_ASLEEP, 0);
  (void)__atomic_fetch_and(&purge->bell, ~(uint32_t)BELL_ASLEEP, __ATOMIC_RELAXED);
}

enum next { NEXT_ROUND, NEXT_SLEEP, NEXT_END };

/* What the thread does after a round.  NEXT_END: it counts as gone from here on, and the next one
 * can be made. */
static enum next decide(struct tarn_store *store, uint32_t busy_at) {
  struct tarn_purge *purge = &store->purge;
  uint32_t patience = arena_delay(purge) + 2 * purge->delay;
  enum next next = NEXT_ROUND;
  (void)pthread_mutex_lock(&store->lock);
  uint32_t bell = look_at_bell(purge);
  bool idle = !is_dirty(store) && !(bell & BELL_RUNG) &&
              tarn_tick_passed(busy_at + patience, tarn_os_ticks());
  if ((bell & BELL_END) || (idle && !purge->stays)) {
    next = NEXT_END;
    hand_on(store);
  } else if (idle && falls_asleep(store)) {
    next = NEXT_SLEEP;
  }
  (void)pthread_mutex_unlock(&store->lock);
  return next;
}

static void *run(void *data) {
  struct tarn_store *store = data;
  struct tarn_purge *purge = &store->purge;
  uint32_t busy_at = tarn_os_ticks();
  enum next next;
  tarn_os_set_thread_name("tarn-purger");
  do {
    nap(purge);
    /* Acquire: see the bell. */
    uint32_t bell = __atomic_fetch_and(&purge->bell, ~(uint32_t)BELL_RUNG, __ATOMIC_ACQUIRE);
    if (bell & BELL_RUNG) /* a pool that became spare is to be looked at again after the delay */
      busy_at = tarn_os_ticks();
    size_t given = settle(store);
    (void)purge_old(store, SIZE_MAX, &given);
    if (given)
      busy_at = tarn_os_ticks();
    if ((next = decide(store, busy_at)) == NEXT_SLEEP) {
      sleep_on(purge);
      busy_at = tarn_os_ticks();
    }
  } while (next != NEXT_END);
  /* Release, for tarn_purge_end; the last touch of the store.  Its memory may be gone when the
   * sleepers are woken: then nobody is, or somebody who copes with that. */
  uint32_t *threads = &purge->threads;
  (void)__atomic_fetch_sub(threads, 1, __ATOMIC_RELEASE);
  tarn_os_wake_all(threads);
  return NULL;
}

/* --- who does the rounds --------------------------------------------------------------------- */

/* Under the store's lock.  May a thread be made now, and here? */
static bool can_start(const struct tarn_purge *purge, uint32_t now) {
  return purge->threaded && purge->delay != 0 && !purge->running && !purge->ended &&
         (!purge->failed || tarn_tick_passed(purge->retry_at, now));
}
static bool may_start(const struct tarn_purge *purge, uint32_t now) {
  return !purge->stays && can_start(purge, now);
}

void tarn_purge_note(struct tarn_store *store, uint32_t now) {
  struct tarn_purge *purge = &store->purge;
  if (purge->ended || !is_dirty(store))
    return;
  if (purge->running) {
    if ((look_at_bell(purge) & (BELL_ASLEEP | BELL_RUNG)) == BELL_ASLEEP)
      (void)ring(purge);
    return;
  }
  if (may_start(purge, now) || tarn_tick_passed(purge->round_at + purge->delay / 2, now))
    set_due(store);
}

void tarn_purge_want(struct tarn_store *store) {
  if (!(look_at_bell(&store->purge) & BELL_LISTENS) || !ring(&store->purge))
    set_due(store);
}

void tarn_purge_hint(struct tarn_store *store) {
  if ((look_at_bell(&store->purge) & (BELL_LISTENS | BELL_RUNG)) == BELL_LISTENS)
    (void)ring(&store->purge);
}

/* Under the store's lock, before start_thread without it. */
static void announce_thread(struct tarn_purge *purge) {
  purge->running = true;
  __atomic_store_n(&purge->bell, purge->stays ? BELL_LISTENS : 0, __ATOMIC_RELAXED);
  (void)__atomic_fetch_add(&purge->threads, 1, __ATOMIC_RELAXED);
}

static void start_thread(struct tarn_store *store) {
  struct tarn_purge *purge = &store->purge;
  if (tarn_os_start_thread(run, store))
    return;
  (void)pthread_mutex_lock(&store->lock);
  purge->running = false;
  __atomic_store_n(&purge->bell, 0, __ATOMIC_RELAXED);
  purge->failed = true;
  purge->retry_at = tarn_os_ticks() + RETRY;
  (void)__atomic_fetch_sub(&purge->threads, 1, __ATOMIC_RELEASE); /* as at the end of run */
  (void)pthread_mutex_unlock(&store->lock);
  set_due(store); /* the next round is the program's */
}

/* Unless a round is asked for already. */
static void come_back_at(struct tarn_store *store, uint32_t tick) {
  uint32_t none = DUE_NOT;
  __atomic_store_n(&store->purge.again_at, tick, __ATOMIC_RELAXED);
  /* Release, for again_at. */
  (void)__atomic_compare_exchange_n(&store->purge_due, &none, DUE_LATER, false, __ATOMIC_RELEASE,
                                    __ATOMIC_RELAXED);
}

/* What is still too young is nobody's to ask for again: perhaps no further unit becomes free. */
static void come_back(struct tarn_store *store, uint32_t now) {
  if (store->purge.delay != 0 && is_dirty(store))
    come_back_at(store, now + store->purge.delay / 2);
}

/* Acquire, for again_at; if another round sets that meanwhile, either value is good. */
static bool is_too_early(const struct tarn_store *store, uint32_t now) {
  return __atomic_load_n(&store->purge_due, __ATOMIC_ACQUIRE) == DUE_LATER &&
         !tarn_tick_passed(__atomic_load_n(&store->purge.again_at, __ATOMIC_RELAXED), now);
}

/* A round by a thread of the program: a little at a time, but for who wants it at once. */
static void do_round(struct tarn_store *store, bool settles, uint32_t now) {
  size_t given = 0;
  if (settles)
    (void)settle(store);
  if (purge_old(store, store->purge.delay ? 1 : SIZE_MAX, &given))
    come_back(store, now);
  else
    set_due(store);
}

void tarn_purge_tend(struct tarn_store *store) {
  struct tarn_purge *purge = &store->purge;
  int kept = errno;
  uint32_t now = tarn_os_ticks();
  if (is_too_early(store, now) || !take_due(store))
    return; /* or somebody else does */
  (void)pthread_mutex_lock(&store->lock);
  bool starts = may_start(purge, now);
  bool rounds = !purge->ended && !purge->running && !starts;
  uint32_t pause = purge->delay / 2 > SETTLE_LEAST ? purge->delay / 2 : SETTLE_LEAST;
  bool settles = tarn_tick_passed(purge->settled_at + pause, now);
  if (starts) {
    announce_thread(purge);
  } else if (rounds) {
    purge->round_at = now;
    purge->settled_at = settles ? now : purge->settled_at;
  } else if (purge->running) {
    (void)ring(purge); /* the thread does, perhaps once more before it ends */
  }
  (void)pthread_mutex_unlock(&store->lock);
  if (starts)
    start_thread(store);
  else if (rounds)
    do_round(store, settles, now);
  errno = kept;
}

void tarn_purge_begin(struct tarn_store *store) {
  struct tarn_purge *purge = &store->purge;
  /* A thread comes by whenever it attaches, and takes no lock where there is, or can be, nothing.
   */
  if (!purge->threaded || purge->delay == 0 ||
      (look_at_bell(purge) & (BELL_LISTENS | BELL_END)) == BELL_LISTENS)
    return;
  int kept = errno;
  (void)pthread_mutex_lock(&store->lock);
  bool starts = purge->stays && can_start(purge, tarn_os_ticks());
  if (starts)
    announce_thread(purge);
  else if (purge->running && !purge->ended) /* it may not have noticed that it shall end */
    (void)__atomic_fetch_and(&purge->bell, ~(uint32_t)BELL_END, __ATOMIC_RELAXED);
  (void)pthread_mutex_unlock(&store->lock);
  if (starts)
    start_thread(store);
  errno = kept;
}

/* Under the store's lock. */
static void tell_to_end(struct tarn_purge *purge) {
  (void)__atomic_fetch_or(&purge->bell, BELL_END, __ATOMIC_RELAXED); /* read under the lock */
  tarn_os_wake_all(&purge->bell);
}

void tarn_purge_let_go(struct tarn_store *store) {
  if (!store->purge.stays)
    return;
  (void)pthread_mutex_lock(&store->lock);
  if (store->purge.running)
    tell_to_end(&store->purge);
  (void)pthread_mutex_unlock(&store->lock);
}

/* --- start, end, fork ------------------------------------------------------------------------ */

void tarn_purge_start(struct tarn_store *store) {
  (void)pthread_mutex_init(&store->purge.lock, NULL);
  tarn_purge_configure(store, (uint64_t)1000000000u, true);
}

void tarn_purge_configure(struct tarn_store *store, uint64_t delay_ns, bool threaded) {
  store->purge.delay = (uint32_t)((delay_ns + 999999u) / 1000000u);
  store->purge.threaded = threaded;
}

void tarn_purge_stay(struct tarn_store *store) { store->purge.stays = true; }

void tarn_purge_end(struct tarn_store *store) {
  struct tarn_purge *purge = &store->purge;
  (void)pthread_mutex_lock(&store->lock);
  purge->ended = true;
  if (purge->running)
    tell_to_end(purge);
  (void)pthread_mutex_unlock(&store->lock);
  uint32_t threads;
  /* Acquire: pairs with the release at the end of run. */
  while ((threads = __atomic_load_n(&purge->threads, __ATOMIC_ACQUIRE)) != 0)
    tarn_os_wait(&purge->threads, threads, 1000000);
}

void tarn_purge_lock(struct tarn_store *store) {
  struct tarn_purge *purge = &store->purge;
  /* Relaxed: see give_way. */
  (void)__atomic_fetch_add(&purge->asked, 1, __ATOMIC_RELAXED);
  (void)pthread_mutex_lock(&purge->lock);
  (void)__atomic_fetch_sub(&purge->asked, 1, __ATOMIC_RELAXED);
}

void tarn_purge_unlock(struct tarn_store *store) { (void)pthread_mutex_unlock(&store->purge.lock); }

void tarn_purge_after_fork(struct tarn_store *store) {
  struct tarn_purge *purge = &store->purge;
  hand_on(store);
  /* A thread that is not here may have taken a wish and not acted on it.  Not at once: a child that
   * soon executes another program pays nothing. */
  come_back_at(store, tarn_os_ticks() + purge->delay / 2);
  purge->failed = false;
  __atomic_store_n(&purge->threads, 0, __ATOMIC_RELAXED);
  __atomic_store_n(&purge->asked, 0, __ATOMIC_RELAXED);
#if TARN_TSAN
  purge->threaded = false; /* it ends children of threaded processes that make threads */
#endif
}
