/* SPDX-License-Identifier: MIT */
/*
 * heap/store.h: all that the heap layer keeps for one world: its arenas, its counts of bytes, its
 * heaps, and the table of functions by which it calls upwards.
 *
 * The lock guards the arenas' records and the array of heaps.  It is a leaf: nothing is locked
 * while it is held but the space's lock.  Counters are atomic and relaxed.
 *
 * Units are searched for by hints, one for each power of two: no arena before the hinted one has a
 * run of free units that long.  A hint moves on when a search has passed an arena, and back when
 * units become free before it.
 */
#ifndef TARN_HEAP_STORE_H
#define TARN_HEAP_STORE_H

#include "heap/apart.h"
#include "heap/arena.h"
#include "heap/kin.h"
#include "heap/meta.h"
#include "heap/purge.h"
#include "heap/told.h"
#include "heap/trap.h"
#include <pthread.h>

struct tarn_local;
struct tarn_large;
struct tarn_sampling;

/* How the heap layer calls up.  Installed once, before the first allocation. */
struct tarn_hooks {
  /*
   * Before a bin is refilled or a large object made: a safepoint at which the thread can be stopped
   * and may collect.  False: the thread may not allocate (it is not attached, or not the caller's);
   * its status is set.
   */
  bool (*before_refill)(struct tarn_local *local, size_t bytes);
  /* No memory.  True: something was done, try again.  False: give up; the status is set. */
  bool (*exhausted)(struct tarn_local *local, size_t bytes, unsigned tries);
  /* Sets the thread's status. */
  void (*fail)(struct tarn_local *local, tarn_status status);
  /* A misuse that is always an error of the program, with the block; does not return. */
  void (*corrupt)(struct tarn_store *store, const void *block, const char *what)
      __attribute__((noreturn));
  /* An object is freed by hand: run its type's `free` function and release its data block. */
  void (*release)(struct tarn_local *local, void *object);
  /* The calling thread is about to be detached from the world: `local` is not to be used any more.
   * Called before anything of it is given up, with no lock held.  May be NULL. */
  void (*retired)(struct tarn_local *local);
  /* The last thread of the world has been detached.  Called with the registry's lock, also while
   * another thread attaches.  May be NULL. */
  void (*deserted)(struct tarn_store *store);
  /* The last unswept pool has been swept (heap/sweep.h), by the caller, who holds no lock.  May be
   * NULL. */
  void (*swept)(struct tarn_store *store);
  /* Something happened that somebody wants to know of: see heap/told.h.  May be NULL, if the
   * store's `watched` stays 0. */
  void (*told)(struct tarn_store *store, const struct tarn_told *told);
  /*
   * The world has no collector.  Then its threads need no safepoints and count as blocked from the
   * moment they attach; nobody walks its directories without their locks, so nothing of it waits
   * for a grace period (the caller may be anywhere, also in a read section of its own); and since
   * a thread can be in the middle of a change of its bins when the process forks, the child leaves
   * the bins of all other threads alone; it finds what is free in their pools when it needs it
   * (heap/revive.c).
   */
  bool uncollected;
};

#define TARN_HEAP_MAX 255u
#define TARN_RUN_HINTS 16u /* the last one is for all runs of 2^15 units (2 GiB) and more */

struct tarn_store {
  unsigned id;   /* in map words */
  uint8_t epoch; /* the mark of what lives; 0 before the first collection.  Written at stops only */
  bool tables;   /* mark bytes exist.  Written at stops only */
  bool huge_pages;      /* ask for them; set before the first allocation, as the next two */
  bool populate;        /* ask for pages in steps of several */
  size_t huge_from;     /* new arenas are asked for so when the store holds this; SIZE_MAX: never */
  bool abandoned;       /* there may be abandoned pools; set in the child of a fork only */
  uint8_t freed_marked; /* atomic: objects that a collection had marked were freed by hand since */
  uint32_t purge_due;   /* atomic: not 0: somebody should call tarn_purge_tend; see purge.c */
  uint32_t watched;     /* atomic: TARN_TOLD_BIT of what somebody wants to know */
  struct tarn_apart apart;
  struct tarn_sampling *sampling; /* NULL: no profile is on.  Written in stops, under the lock */
  pthread_mutex_t sampling_lock;  /* of profiles (inspect/profile.c); a leaf */
  const struct tarn_hooks *hooks;
  struct tarn_trap trap;
  struct tarn_meta meta;
  pthread_mutex_t lock;
  struct tarn_arena
      *arenas; /* by address.  Added to under the lock; taken off with walk_lock too */
  struct tarn_arena *hints[TARN_RUN_HINTS]; /* under the lock; by log2 of the units; NULL: none */
  struct tarn_arena *dirty_hint;            /* under the lock; the same for dirty units */
  struct tarn_kin kin;                      /* under the lock */

  /* Held while the list of arenas is walked without the lock.  It comes before the heaps' locks,
   * for the walkers' functions take those; who would take arenas off only tries it. */
  pthread_mutex_t walk_lock;
  /* Held by a requester during its stop, and by threads that touch pools from outside; see
   * tarn_store_visit. */
  pthread_mutex_t visit_lock;
  struct tarn_purge purge;
  struct tarn_large *headers; /* under the lock: kept ones, so that their lock is not taken, too */
  unsigned header_count;
  size_t abandoned_end; /* their units lie below; as `abandoned` */
  /* Written under the lock (release), read by anybody (acquire); heaps go away at stops only. */
  _Atomic(struct tarn_heap *) heaps[TARN_HEAP_MAX];
  _Atomic unsigned heap_limit; /* heaps beyond this index never existed */

  pthread_mutex_t limbo_lock; /* a leaf; guards the next two */
  struct tarn_large *limbo;   /* headers of dead large objects that wait for a grace period */
  unsigned limbo_count;

  /* The next ones are written under the lock, but for the limit. */
  _Atomic size_t bytes; /* held by pools and large objects */
  _Atomic size_t bytes_max;
  _Atomic size_t arena_bytes; /* of address space */
  _Atomic size_t limit;       /* the hard limit; SIZE_MAX for none */
  _Atomic size_t pools;       /* in use */
  _Atomic size_t larges;
  _Atomic size_t returned;    /* bytes purged */
  _Atomic size_t dirty;       /* bytes of free units that may be backed; or more for a moment */
  _Atomic uint64_t allocated; /* bytes handed to bins and large objects, ever */
  _Atomic uint64_t debt;      /* the same since the last collection: what triggers the next */

  /* Of heap/sweep.c. */
  _Atomic size_t unswept;                     /* pools; raised at stops only */
  _Atomic size_t sweep_at;                    /* the number of a list before which all are empty */
  _Atomic uint64_t swept_blocks, swept_bytes; /* that live, in pools swept since they were filed */
  _Atomic size_t swept_units;                 /* of these pools went back to the store */
};

tarn_status tarn_store_start(struct tarn_store *store, const struct tarn_hooks *hooks);
/* All heaps are gone.  Gives back arenas, metadata, the id. */
void tarn_store_end(struct tarn_store *store);

/* Units in a row, and what they are for, or were. */
struct tarn_wanted {
  size_t units;
  size_t alignment;    /* of their address, in units, a power of two */
  size_t bytes;        /* that count towards the limit */
  size_t pools;        /* not 0: one unit, and up to so many in all that follow it and are like it;
                          `units` and `pools` then say how many, and their bytes count */
  unsigned size_class; /* of the pools */
  bool kin;            /* units that were pools of the class, or none */
  size_t lead;         /* of units that are given back: so many are before the object */
  size_t larges;       /* 1: a large object's */
  struct tarn_large *header; /* of one, kept from a dead one and as that left it, or NULL */
  size_t unit;               /* the first one; the answer */
  uintptr_t arena;           /* one that was added for them, and its bytes; the answer, or 0 */
  size_t arena_bytes;
};

/*
 * Takes units: descriptors committed, map words 0; their memory is as `dirty` in the descriptors
 * says.  A unit for a pool is one that was a pool of the class, if one is known; else one that was
 * touched nearly whole; else a clean one, unless much is dirty.  Any other single unit is a dirty
 * one if there is any.  False: the limit is in the way, or there is
 * no memory.  The caller holds no heap's lock: when nothing is left it waits for a purge that may
 * have claimed some.
 */
bool tarn_store_take(struct tarn_store *store, struct tarn_wanted *want);
/* The opposite, with map words of 0; here `bytes` is all that counts.  A header is kept for the
 * next one, and is NULL then, if there are not enough. */
void tarn_store_give(struct tarn_store *store, struct tarn_wanted *was);
/* The same without the trap (heap/trap.h), which keeps units otherwise. */
void tarn_store_put(struct tarn_store *store, struct tarn_wanted *was);
/* What the units are for is gone before they are given back: does not count any more. */
void tarn_store_uncharge(struct tarn_store *store, const struct tarn_wanted *was);

/* Does somebody want to know?  Relaxed: who watches from now on misses what happens now. */
static inline bool tarn_is_told(const struct tarn_store *store, enum tarn_told_kind kind) {
  return __builtin_expect(
      (__atomic_load_n(&store->watched, __ATOMIC_RELAXED) & TARN_TOLD_BIT(kind)) != 0, 0);
}
static inline void tarn_tell(struct tarn_store *store, struct tarn_told told) {
  store->hooks->told(store, &told);
}

/* Counts an allocation of `bytes` (of a stretch, not of each block). */
void tarn_store_allocated(struct tarn_store *store, size_t bytes);

static inline struct tarn_heap *tarn_store_heap(const struct tarn_store *store, unsigned index) {
  return atomic_load_explicit(&store->heaps[index], memory_order_acquire);
}
static inline unsigned tarn_store_heap_limit(const struct tarn_store *store) {
  return atomic_load_explicit(&store->heap_limit, memory_order_acquire);
}

/*
 * For purges, under the lock.  Takes free units away and puts them back; `now` as for
 * tarn_arena_give.
 */
void tarn_store_claim(struct tarn_store *store, struct tarn_arena *arena, size_t first,
                      size_t count);
void tarn_store_unclaim(struct tarn_store *store, struct tarn_arena *arena, size_t first,
                        size_t count, uint32_t now);
/* With walk_lock: the arena, all of whose units are free, is the store's no more. */
void tarn_store_unlink_arena(struct tarn_store *store, struct tarn_arena *arena);
/* Then, without a lock: it goes back to the space. */
void tarn_store_drop_arena(struct tarn_store *store, struct tarn_arena *arena);

/* Then, with no lock at all: tells of it. */
void tarn_store_tell_dropped(struct tarn_store *store, uintptr_t base, size_t bytes);

/* The units of an arena, by their numbers. */
struct tarn_span {
  size_t first, count;
};
/* Up to `most` arenas whose first unit is `from` or later, in the order of their addresses; how
 * many. Takes the lock. */
size_t tarn_store_spans(struct tarn_store *store, size_t from, struct tarn_span *spans,
                        size_t most);

/* Is the block marked, by the last full collection or a younger one since?  Before the first one
 * nothing is. */
static inline bool tarn_store_marked(const struct tarn_store *store, const void *block) {
  return tarn_mark_lives(tarn_mark_load((uintptr_t)block), store->epoch); /* others may sweep */
}

/* Makes mark bytes for all arenas; false: no memory.  World stopped. */
bool tarn_store_make_tables(struct tarn_store *store);

/* --- giving memory back (purge.c) ------------------------------------------------------------ */

/*
 * Gives the memory of free units back to the system, but for `keep` bytes; returns the bytes given
 * back.  Nothing, if little more than that is dirty: it would be given back and faulted in again
 * each time.  The caller holds no lock.
 */
size_t tarn_store_purge(struct tarn_store *store, size_t keep);
/* The same without that exception. */
size_t tarn_store_trim(struct tarn_store *store, size_t keep);

/* For every place that the contract of tarn_purge_tend allows: cheap when there is nothing to do.
 */
static inline void tarn_store_tend(struct tarn_store *store) {
  /* Relaxed: only a look. */
  if (__builtin_expect(__atomic_load_n(&store->purge_due, __ATOMIC_RELAXED) != 0, 0))
    tarn_purge_tend(store);
}

/*
 * --- visits ---
 *
 * A thread that is not attached, or is not running, may touch pools that nobody owns (under their
 * heap's lock) only between these two: no stop is on then, and one that is asked for waits.  So a
 * visit is short.  Comes before the heaps' locks.
 */
static inline void tarn_store_visit(struct tarn_store *store) {
  (void)pthread_mutex_lock(&store->visit_lock);
}
static inline void tarn_store_leave(struct tarn_store *store) {
  (void)pthread_mutex_unlock(&store->visit_lock);
}

/* --- walks ----------------------------------------------------------------------------------- */

/* Around a walk over the arenas: none of them goes away.  Walks do not nest. */
static inline void tarn_store_walk_begin(struct tarn_store *store) {
  (void)pthread_mutex_lock(&store->walk_lock);
}
static inline void tarn_store_walk_end(struct tarn_store *store) {
  (void)pthread_mutex_unlock(&store->walk_lock);
}

/* Calls `fn` for each pool in use; the world is stopped, or the caller makes sure otherwise. */
void tarn_store_each_pool(struct tarn_store *store, void (*fn)(struct tarn_pool *, void *),
                          void *data);

/* The same for pools of one of the ages (TARN_AGE_...); the world is stopped.  Costs a byte for
 * each unit beside that. */
void tarn_store_each_aged(struct tarn_store *store, uint8_t ages,
                          void (*fn)(struct tarn_pool *, void *), void *data);

#endif
