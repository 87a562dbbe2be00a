/* SPDX-License-Identifier: MIT */
/*
 * heap/heap.h: a heap: its shelves of pools that nobody owns, and its large objects.
 *
 * The lock guards the shelves.  It is taken once per pool, not per block.  Pools without owner into
 * which others freed stand in the heap's mailbox (heap/remote.h).  The large list is an RCU
 * list (urcu-bp): writers hold `large_lock`, walkers hold the read lock, and a removed header is
 * freed after a grace period.  Order of locks: heap, then store, then space.
 */
#ifndef TARN_HEAP_HEAP_H
#define TARN_HEAP_HEAP_H

#include "heap/rcu.h"
#include "heap/remote.h"
#include "heap/store.h"

/* Pools of one flavour and class that no thread owns. */
struct tarn_shelf {
  tarn_pool_head some;    /* with something to hand out */
  tarn_pool_head full;    /* with nothing to hand out */
  tarn_pool_head unswept; /* see heap/sweep.h */
  size_t revived_to;      /* units below were looked at for abandoned pools; see revive.c */
};

struct tarn_heap {
  struct tarn_store *store;
  tarn_heap_kind kind;
  unsigned index;                    /* in store->heaps */
  unsigned types;                    /* that were made for this heap; atomic */
  _Atomic size_t condemned;          /* pools and large objects that wait for `free` functions */
  _Alignas(64) tarn_mailbox orphans; /* pools without owner into which others freed; any thread's */
  _Alignas(64) pthread_mutex_t lock;
  struct tarn_shelf shelves[TARN_FLAVOURS][TARN_CLASS_COUNT];
  size_t emptied_to; /* units below were looked at for abandoned pools that are empty */
  pthread_mutex_t large_lock;
  struct cds_list_head larges;
};

/* What a large object lived through: nothing, collections of generation 0 only, or any.  New ones
 * come first on their heap's list, old ones last. */
enum { TARN_LARGE_NEW = 0, TARN_LARGE_AGED = 1, TARN_LARGE_OLD = 2, TARN_LARGE_FROZEN = 3 };

/*
 * A large object's header.  Once `dead` is set it is off the list, and walkers that still see it
 * must not touch the object.
 */
struct tarn_large {
  struct cds_list_head node;
  struct tarn_heap *heap;
  uintptr_t base;
  size_t bytes; /* whole pages */
  size_t units;
  uint8_t flavour;
  _Atomic uint8_t dead;
  uint8_t overflow; /* marker: marked, but not scanned */
  uint8_t age;      /* census: TARN_LARGE_... */
  struct tarn_large
      *limbo; /* removed headers that wait for a grace period, or lists of the collector */
#if TARN_HARDENED
  uint32_t guard;     /* bytes right after the object that are its guard's */
  uint8_t lead;       /* units before it that are its own, for the guard there: 1 or 0 */
  uint8_t guard_kind; /* tarn_guard_kind; NONE where the system gave no guard */
  bool lead_guarded;
#endif
};

/*
 * Guards: in hardened builds the page after a large object cannot be touched, nor that before it,
 * which is the last one of a unit that is taken along, unless the object is aligned to more than a
 * unit.  In other builds there are none.  The unit's map word says TARN_FORM_REST of nothing, so
 * that no word leads to a block there.
 */
#if TARN_HARDENED
size_t tarn_guard_lead(size_t alignment); /* units to take along */
size_t tarn_guard_tail(void);             /* bytes to take along */
/* Before the object is published, and before its units are given back: false, they must not be. */
void tarn_guard_begin(struct tarn_large *large);
bool tarn_guard_end(struct tarn_large *large);
static inline size_t tarn_large_lead(const struct tarn_large *large) { return large->lead; }
static inline size_t tarn_large_guard(const struct tarn_large *large) { return large->guard; }
#else
static inline size_t tarn_large_lead(const struct tarn_large *large) {
  (void)large;
  return 0;
}
static inline size_t tarn_large_guard(const struct tarn_large *large) {
  (void)large;
  return 0;
}
#endif

tarn_status tarn_heap_make(struct tarn_store *store, tarn_heap_kind kind, struct tarn_heap **out);

/*
 * The end of a heap, in two steps.  First everything in it is given back; no thread has bins of it
 * any more, and no `free` function is due.  Then, outside of locks, stops and read sections, the
 * headers of its large objects (`limbo`, from the first step) and its own go after a grace period.
 */
struct tarn_large *tarn_heap_clear(struct tarn_heap *heap);
void tarn_heap_finish(struct tarn_heap *heap, struct tarn_large *limbo);

/* Both at once. */
void tarn_heap_drop(struct tarn_heap *heap);

static inline bool tarn_heap_has(const struct tarn_heap *heap, tarn_flavour flavour) {
  return (flavour >= TARN_FLAVOUR_CONTAINER) == (heap->kind == TARN_HEAP_CONTAINER);
}

static inline tarn_flavour tarn_heap_first_flavour(const struct tarn_heap *heap) {
  return heap->kind == TARN_HEAP_CONTAINER ? TARN_FLAVOUR_CONTAINER : TARN_FLAVOUR_RAW;
}

/* Puts a pool without owner on the right shelf by what it can hand out.  Under the heap's lock, or
 * by the collector. */
void tarn_heap_shelve(struct tarn_heap *heap, struct tarn_pool *pool);

/* A pool on no list, in which somebody worked while what others freed was parked: takes that back,
 * and puts the pool on its shelf, or gives it back if it is empty.  Takes the heap's lock. */
void tarn_heap_put_back(struct tarn_pool *pool);

/*
 * Should an empty pool of a thread that ends stay on its shelf, until the next purge?  Where
 * threads come and go, the next one wants the same classes; and a unit that serves one class after
 * the other is touched whole in the end, by the largest.  One a class, and only in worlds that are
 * never collected, where nothing else puts pools on shelves by the dozen.
 */
bool tarn_heap_keeps(const struct tarn_heap *heap, const struct tarn_pool *pool);

/* A pool with something to hand out, owned by `local` from now on; NULL: the shelf has none, nor
 * has any of its unswept ones. */
struct tarn_pool *tarn_heap_take(struct tarn_heap *heap, tarn_flavour flavour, unsigned size_class,
                                 struct tarn_local *local);

/* `count` blocks of a pool without owner came back; it is on a shelf.  Under the heap's lock. */
void tarn_heap_received(struct tarn_heap *heap, struct tarn_pool *pool, uint32_t count);

/*
 * What a purge does first in each round, from a thread that may not be one of the world's.  Both
 * touch pools only in visits (tarn_store_visit), which they keep short.
 *
 * Takes what others freed off pools that nobody owns; pools that are empty then go back.
 */
void tarn_heap_settle_orphans(struct tarn_store *store);
/* Gives the memory of owned pools back all of whose blocks other threads freed, and of those that
 * have been spare for `delay` ticks; returns the bytes. */
size_t tarn_pools_purge_idle(struct tarn_store *store, uint32_t delay);

/* --- pools of threads that a fork left behind (revive.c) -------------------------------------- */

/* An abandoned pool of that sort that had something to hand out, of nobody and on no list; NULL:
 * there is none left that is worth it.  Under the heap's lock. */
struct tarn_pool *tarn_revive_next(struct tarn_heap *heap, tarn_flavour flavour,
                                   unsigned size_class);

/* An empty one of whatever sort, which is of that sort from now on; the same. */
struct tarn_pool *tarn_revive_empty(struct tarn_heap *heap, tarn_flavour flavour,
                                    unsigned size_class);

/* A block of the abandoned pool has got its key just now.  Under the heap's lock; the pool may be
 * gone afterwards. */
void tarn_revive_freed(struct tarn_pool *pool);

/* In the child of a fork, records being marked as abandoned.  `self`: the caller's bins, or NULL.
 * No other thread is there, and no lock of the heap layer is held. */
void tarn_revive_after_fork(struct tarn_store *store, struct tarn_local *self);

/* --- large objects (large.c) ----------------------------------------------------------------- */

/*
 * Memory of at least `size` bytes, in no bin, at a multiple of `alignment` (a power of two; 64 KiB
 * is had by itself); `cleared`: zeroed, else undefined.  NULL: limit or memory.
 */
void *tarn_large_make(struct tarn_heap *heap, tarn_flavour flavour, size_t size, size_t alignment,
                      bool cleared);

/*
 * The end of a large object, in two steps so that the second can wait until the world runs: off the
 * list and out of the map; then its memory.  After both the header waits for tarn_large_reclaim.
 */
void tarn_large_unlink(struct tarn_large *large);
void tarn_large_give_back(struct tarn_store *store, struct tarn_large *large);

/* Both at once; the header goes to `*limbo`. */
void tarn_large_drop(struct tarn_large *large, struct tarn_large **limbo);

/*
 * The same for one object that is given back by hand.  Its header waits with others until there are
 * enough of them to be worth a grace period.  No lock is held.
 */
void tarn_large_free(struct tarn_large *large);

/* Frees the headers in `limbo` after a grace period, if the world has a collector, whose parts walk
 * them without a lock.  No lock is held. */
void tarn_large_reclaim(struct tarn_store *store, struct tarn_large *limbo);

/* The header of the large object that `address` points into; its map word says that there is one.
 */
struct tarn_large *tarn_large_of(uintptr_t address);

#endif
