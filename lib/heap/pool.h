/* SPDX-License-Identifier: MIT */
/*
 * heap/pool.h: pools and their descriptors.
 *
 * A pool is one unit (64 KiB) of one heap, one kind and one size class.  Its descriptor lies in the
 * dense table of heap/space.h, never in the pool.
 *
 * The bytes of a pool, from its base:
 *
 *     [0, cursor)        swept: the first word of a block says whether it is in use (typed kinds:
 *                        not zero; raw: not the free key)
 *     [cursor, virgin)   not swept since the last collection: a block is in use when its mark byte
 *                        says that it lives (or is condemned) and no other thread freed it since,
 *                        which its first word says; everything else is garbage, uncleared
 *     [virgin, 64 KiB)   never handed out, zero, never read (but by tarn_verify)
 *
 * cursor <= virgin, both multiples of the block size unless the unit was used for another size
 * before (then virgin may be any number).
 *
 * Who may touch what.  The owner is the thread whose bins have the pool, or nobody.  It stands in
 * two places: in the descriptor's first line, next to what the owner's frees need, and in the
 * space's table of owners for everybody else, who would slow the owner down by reading its line.
 * The table is written first, and by the same: it is written by the owner-to-be under the heap's
 * lock, by the owner giving the pool up, or by the collector; it is read by anybody: a thread that
 * reads itself is the owner, since only it could have written that.  The fields of the first line
 * belong to the owner, to whoever holds the heap's lock if there is none, or to the collector while
 * the world is stopped; but a purge reads `list` and `room`, and may write NULL to `mine`.  The
 * second line is that of frees by other threads: heap/remote.h.
 *
 * How many blocks are used is kept as a countdown, so that the owner's free decrements one field
 * and compares with zero: `room` says after how many frees the pool wants attention.
 *
 *     on its list as     wants attention when               room
 *     current            never                              used - the bin's `taken`
 *     full               TARN_WAKE blocks of it are free    used - (capacity - TARN_WAKE)
 *     anything else      it is empty                        used
 *
 * An allocation from the current pool's free list counts in the bin, so that it does not wait for
 * the count of the free before it.  All of this is modulo 2^32.
 *
 * A full pool is left alone until some blocks of it are free: then one move between lists serves
 * several allocations, and these lie close to each other.
 */
#ifndef TARN_HEAP_POOL_H
#define TARN_HEAP_POOL_H

#include "heap/harden.h"
#include "heap/size_class.h"
#include "heap/space.h"
#include "os/os.h"
#include "os/tools.h"
#include <string.h>
#include <tarn/inline.h>

struct tarn_bin;
struct tarn_local;
struct tarn_store;

/* Which bins, and so which pools, a block of a heap comes from. */
typedef enum tarn_flavour {
  TARN_FLAVOUR_RAW = 0,
  TARN_FLAVOUR_LEAF = 1,
  TARN_FLAVOUR_LEAF_RESOURCE = 2,
  TARN_FLAVOUR_CONTAINER = 3,
  TARN_FLAVOUR_CONTAINER_RESOURCE = 4
} tarn_flavour;
#define TARN_FLAVOURS 5

static inline tarn_kind tarn_flavour_kind(tarn_flavour flavour) {
  return flavour == TARN_FLAVOUR_RAW             ? TARN_KIND_RAW
         : flavour <= TARN_FLAVOUR_LEAF_RESOURCE ? TARN_KIND_LEAF
                                                 : TARN_KIND_CONTAINER;
}
static inline bool tarn_flavour_resource(tarn_flavour flavour) {
  return flavour == TARN_FLAVOUR_LEAF_RESOURCE || flavour == TARN_FLAVOUR_CONTAINER_RESOURCE;
}

/* The list that a pool is on. */
typedef enum tarn_pool_list {
  TARN_LIST_NONE = 0,       /* the unit is free, or a large object's */
  TARN_LIST_CURRENT = 1,    /* a bin's current pool; on no list */
  TARN_LIST_FULL = 2,       /* owned: fewer than TARN_WAKE blocks to hand out, or none */
  TARN_LIST_PARTIAL = 3,    /* owned: has locally freed blocks, or, raw, never touched ones */
  TARN_LIST_SHELF = 4,      /* not owned; the heap's pools with something to hand out */
  TARN_LIST_SHELF_FULL = 5, /* not owned; nothing to hand out */
  TARN_LIST_CONDEMNED = 6,  /* not owned; dead objects wait for their `free` function */
  TARN_LIST_SPARE = 7,      /* owned, empty and kept: heap/spare.h; on no list */
  TARN_LIST_UNSWEPT = 8,    /* not owned; a collection left it to be swept: heap/sweep.h */
  TARN_LIST_TRASH = 9,      /* not owned; has cycles of garbage: collect/cycles.h; on no list */
  TARN_LIST_FROZEN = 10     /* not owned; not to be touched: collect/freeze.c; on no list */
} tarn_pool_list;

/* A circular list of pools; NULL is empty, else the first. */
typedef struct tarn_pool *tarn_pool_head;

struct tarn_pool {
  struct tarn_pool_own own; /* tarn/inline.h; `room` changes with `list` through
                               tarn_pool_set_list only, and is stored atomically, as `list` is */
  struct tarn_bin *bin;     /* the owner's bin that has it; NULL without owner */
  struct tarn_pool *next, *prev;
  uint16_t capacity; /* blocks in the pool */
  uint8_t size_class;
  uint8_t flavour;
  uint8_t list;     /* enum tarn_pool_list */
  uint8_t overflow; /* marker: has marked blocks that were not scanned */
  uint16_t live;    /* census: marked blocks */

  /* From here on also of other threads. */
  _Alignas(64) struct tarn_heap *heap;
  _Atomic uint32_t remote; /* blocks freed by others, not yet taken off `used` */
  bool parked;             /* has such blocks, is in no mailbox, and waits for its worker */
  uint8_t backed;         /* the owner's, as the first line: pages from the base that the system was
                             asked for, or more that were touched */
  struct tarn_pool *mail; /* the next one in the mailbox; its pusher's, then its consumer's */
  uint32_t dirty;         /* free units: bytes from the base that may be other than zero */
  /* Of the first unit of a large object.  Written by its maker and its end (release), read by
   * anybody who looks up a word (acquire). */
  _Atomic(struct tarn_large *) large;
  /* Of a free dirty unit: the tick (tarn_os_ticks) at which it became free.  Under the store's
   * lock.  Of a spare pool: when a purge saw it first; that purge's and the next ones'. */
  uint32_t freed_at;
};

_Static_assert(sizeof(struct tarn_pool) == 128, "a descriptor is two cache lines");

/* The same as &pools[tarn_unit_of(address)] with two operations less, see tarn_space.pools_bias. */
static inline struct tarn_pool *tarn_pool_of(uintptr_t address) {
  return (struct tarn_pool *)(tarn_space.pools_bias + tarn_inline_shift(address));
}
static inline uintptr_t tarn_pool_base(const struct tarn_pool *pool) {
  return tarn_unit_base((size_t)(pool - tarn_space.pools));
}
static inline size_t tarn_pool_unit(const struct tarn_pool *pool) {
  return (size_t)(pool - tarn_space.pools);
}
/* Relaxed: see the head of this file. */
static inline struct tarn_local *tarn_pool_owner(const struct tarn_pool *pool) {
  return atomic_load_explicit(&tarn_space.owners[tarn_pool_unit(pool)], memory_order_relaxed);
}
/* Alone for spare pools, whose owner stays. */
static inline void tarn_pool_set_mine(struct tarn_pool *pool, struct tarn_local *owner) {
  if (pool->flavour != TARN_FLAVOUR_RAW)
    owner = NULL;
  __atomic_store_n(&pool->own.mine, (struct tarn_thread *)(void *)owner, __ATOMIC_RELAXED);
}
/* The age is written by the same as the owner, and by the collector. */
static inline void tarn_pool_set_owner(struct tarn_pool *pool, struct tarn_local *owner) {
  if (owner && __atomic_load_n(&tarn_space.collects, __ATOMIC_RELAXED))
    tarn_space.ages[tarn_pool_unit(pool)] |= TARN_AGE_YOUNG;
  atomic_store_explicit(&tarn_space.owners[tarn_pool_unit(pool)], owner, memory_order_relaxed);
  tarn_pool_set_mine(pool, owner);
}
static inline size_t tarn_pool_block_size(const struct tarn_pool *pool) {
  return tarn_class_size(pool->size_class);
}

/* A thread's place to allocate; see heap/local.h. */
struct tarn_bin {
  struct tarn_bin_head head;
  char *run_end;
  tarn_pool_head partial; /* owned; see TARN_LIST_PARTIAL */
  tarn_pool_head full;    /* owned, oldest first */
};
_Static_assert(sizeof(struct tarn_bin) == TARN_INLINE_BIN, "a bin is one cache line");
_Static_assert(offsetof(struct tarn_pool, own) == 0 && offsetof(struct tarn_bin, head) == 0,
               "the inlined paths find them there");
_Static_assert(TARN_UNIT_SIZE == 0x10000, "tarn_inline_own has it");

/* Blocks of a full pool of so many that are free before it is looked at again. */
#define TARN_WAKE_MOST 64u
static inline uint32_t tarn_wake_of(uint32_t capacity) {
  uint32_t some = capacity / 8u;
  return some < 1 ? 1 : some > TARN_WAKE_MOST ? TARN_WAKE_MOST : some;
}
static inline uint32_t tarn_pool_wake(const struct tarn_pool *pool) {
  return tarn_wake_of(pool->capacity);
}

/* What `room` leaves out of `used`, by the list. */
static inline uint32_t tarn_pool_beside_room(const struct tarn_pool *pool, tarn_pool_list list) {
  if (list == TARN_LIST_CURRENT)
    return pool->bin ? pool->bin->head.taken : 0;
  return list == TARN_LIST_FULL ? pool->capacity - tarn_pool_wake(pool) : 0;
}
/* Blocks handed out: in use, in the bin's current piece, or freed by others and not taken back. */
static inline uint32_t tarn_pool_used(const struct tarn_pool *pool) {
  return pool->own.room + tarn_pool_beside_room(pool, (tarn_pool_list)pool->list);
}
/*
 * What a pool has, for figures: read while its owner may be changing it, so `tarn_pool_used` of the
 * copy is about right.  The one place that the thread sanitizer does not look at for that.
 */
__attribute__((no_sanitize_thread)) static inline struct tarn_pool
tarn_pool_peek(const struct tarn_pool *pool) {
  return (struct tarn_pool){.own.room = pool->own.room,
                            .list = pool->list,
                            .capacity = pool->capacity,
                            .size_class = pool->size_class};
}
/* The same of its age, TARN_AGE_... */
__attribute__((no_sanitize_thread)) static inline uint8_t
tarn_pool_peek_age(const struct tarn_pool *pool) {
  return tarn_space.ages[tarn_pool_unit(pool)];
}

/* Release, and the list after the room: a purge reads both, first the list (heap/remote.h). */
static inline void tarn_pool_set_room(struct tarn_pool *pool, uint32_t room) {
  __atomic_store_n(&pool->own.room, room, __ATOMIC_RELEASE);
}
static inline void tarn_pool_note_list(struct tarn_pool *pool, tarn_pool_list list) {
  __atomic_store_n(&pool->list, (uint8_t)list, __ATOMIC_RELEASE);
}
static inline void tarn_pool_set_used(struct tarn_pool *pool, uint32_t used) {
  tarn_pool_set_room(pool, used - tarn_pool_beside_room(pool, (tarn_pool_list)pool->list));
}
static inline void tarn_pool_set_list(struct tarn_pool *pool, tarn_pool_list list) {
  tarn_pool_set_room(pool, tarn_pool_used(pool) - tarn_pool_beside_room(pool, list));
  tarn_pool_note_list(pool, list);
}

/* 2^32 / size rounded up: (offset * reciprocal) >> 32 is offset / size for any offset in a unit. */
static inline uint32_t tarn_reciprocal(size_t size) {
  return (uint32_t)((((uint64_t)1 << 32) + size - 1) / size);
}
static inline size_t tarn_block_index(uint64_t map_word, size_t offset) {
  return (size_t)((uint64_t)offset * tarn_map_low(map_word) >> 32);
}

/* --- free blocks ----------------------------------------------------------------------------- */
/*
 * A block on a free list keeps its link in the second word, as heap/harden.h has it.  Its first
 * word is zero, or, in a raw pool where any word may stand there, a key made from the address.
 */
static inline uintptr_t *tarn_block_words(void *block) { return (uintptr_t *)block; }
extern uintptr_t tarn_free_secret; /* set once, by tarn_space_start */
/* Checking builds: every byte of a free block but its first two words.  Hardened ones: the same,
 * and the second word, while it is in quarantine. */
#define TARN_POISON 0xdb
static inline uintptr_t tarn_free_key(tarn_kind kind, const void *block) {
  return kind == TARN_KIND_RAW ? (uintptr_t)block ^ tarn_free_secret : 0;
}

/* What becomes of a block's memory when it dies or is freed; its first word is the caller's. */
static inline void tarn_block_spoil(void *block, size_t size) {
#if TARN_CHECKING || TARN_HARDENED
  memset(tarn_block_words(block) + 1, TARN_POISON, size - sizeof(uintptr_t));
#endif
  tarn_tools_close(block, size);
}

/* The block that follows on its pool's list, or NULL. */
static inline void *tarn_block_next(void *block) {
  return tarn_link_decode(block, tarn_block_words(block)[1]);
}
static inline void tarn_block_link(void *block, void *next) {
  tarn_block_words(block)[1] = tarn_link_encode(block, next);
}

/* --- lists; the caller has the right to the list and to the pool ----------------------------- */

void tarn_pool_push(tarn_pool_head *head, struct tarn_pool *pool, tarn_pool_list list); /* front */
void tarn_pool_append(tarn_pool_head *head, struct tarn_pool *pool, tarn_pool_list list);
void tarn_pool_unlink(tarn_pool_head *head, struct tarn_pool *pool);
/* The same, but the pool's `list` stays as it is. */
void tarn_pool_detach(tarn_pool_head *head, struct tarn_pool *pool);

/*
 * Takes up to `most` units in a row of the store for the heap and makes their descriptors and map
 * words.  The pools have no owner and are on no list.  The first one, and `*count` of them; NULL:
 * limit or memory.  `kin`: only units that were pools of the class lately.
 */
struct tarn_pool *tarn_pool_make(struct tarn_store *store, struct tarn_heap *heap,
                                 tarn_flavour flavour, unsigned size_class, bool kin, size_t most,
                                 size_t *count);

/* The same of an empty pool of the thread, on no list, instead of a free unit. */
void tarn_pool_remake(struct tarn_store *store, struct tarn_pool *pool, struct tarn_heap *heap,
                      tarn_flavour flavour, unsigned size_class);

/* A free unit's descriptor as new; a lookup of a wild word may read it meanwhile. */
void tarn_pool_reset(struct tarn_pool *pool);

/* Gives an empty pool's unit back; it is on no list.  Blocks on its lists are forgotten. */
void tarn_pool_drop(struct tarn_store *store, struct tarn_pool *pool);

/*
 * The next stretch of free blocks at or beyond the cursor, as offsets; false: none is left.  Moves
 * the cursor past the blocks that live before it.  `epoch` is the store's.
 */
bool tarn_pool_stretch(struct tarn_pool *pool, uint8_t epoch, uint32_t *start, uint32_t *end);

#if TARN_CHECKING || TARN_TOOLS
/* Spoils the blocks whose mark is none of the two, nor that of a condemned one. */
void tarn_pool_spoil_dead(struct tarn_pool *pool, uint8_t epoch, uint8_t mark);
#endif

/*
 * Is the block in use (a condemned one is not)?  For the owner, the collector, or any thread that
 * knows otherwise that the block's state does not change.  `epoch` is the store's.
 */
bool tarn_pool_in_use(const struct tarn_pool *pool, const void *block, uint8_t epoch);

#endif
