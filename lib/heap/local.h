/* SPDX-License-Identifier: MIT */
/*
 * heap/local.h: a thread's bins, the part of a thread that the heap layer knows.
 *
 * A bin is the thread's place to allocate blocks of one flavour and class of one heap.  All of a
 * bin, and the first line of the pools it owns, are touched by the owning thread only, or by the
 * collector while the thread is stopped or blocked.
 *
 * The memory of a bin's current pool:
 *
 *     ... | bump -> limit | (free, perhaps not cleared) run_end | ...
 *
 * What lies between bump and limit is zero, but in raw pools, where only what lies at `fresh` and
 * beyond is known to be: their blocks are cleared one by one, if they have to be.  While the bin
 * has the pool, its cursor stands at `limit`, so that the first words tell the run's blocks from
 * objects; of a raw pool, where words tell nothing, it stands at `bump`.
 *
 * Blocks that the owner frees into the current pool are used before the run where the caller wants
 * raw blocks (heap/fast.h), last in, first out; the inlined tarn_new looks at the run first.
 */
#ifndef TARN_HEAP_LOCAL_H
#define TARN_HEAP_LOCAL_H

#include "heap/heap.h"
#include "heap/remote.h"
#include "heap/spare.h"
#include <tarn/inline.h>

/* The bit of a thread's poll word that a refill does not look at: `free` functions are due, which
 * never run in an allocation.  world/thread.h has them all. */
#define TARN_POLL_CAN_WAIT 2u

struct tarn_local {
  struct tarn_thread pub; /* must be first: the inlined paths go by offsets from it */
  /* The bins of the world's first two heaps: the atomic one's flavours, then the container's. */
  _Alignas(64) struct tarn_bin bins[TARN_FLAVOURS][TARN_CLASS_COUNT];
  struct tarn_bin never; /* stays empty: types that need more than a bump point here */
  struct tarn_store *store;
  bool abandoned;               /* the thread was not taken along by a fork: see heap/revive.c */
  size_t uncounted;             /* bytes handed out that the store does not know yet */
  uint64_t apart_random;        /* of heap/apart.c, as the next one */
  uint32_t apart_left;          /* allocations until one is apart */
  bool sampled;                 /* the block that is being made is a sample: heap/sample.h */
  struct tarn_sampler *sampler; /* heap/sample.h; NULL: no slow path met a profile yet */
  const void *making;           /* the type of the object that is being made, for that; else NULL */
  struct tarn_outbox outbox;
  struct tarn_spares spares;
#if TARN_HARDENED
  struct tarn_quarantine quarantine;
  uint64_t random; /* of tarn_random */
#endif
  struct tarn_bin (*more[TARN_HEAP_MAX])[TARN_CLASS_COUNT]; /* other heaps, by index: [flavours] */
  _Alignas(64) tarn_mailbox mailbox;                        /* any thread's; a line of its own */
};

_Static_assert(offsetof(struct tarn_local, bins) == TARN_INLINE_BINS,
               "the inlined paths find the raw bins there");

static inline struct tarn_local *tarn_local_of(tarn_thread *self) {
  return (struct tarn_local *)(void *)self;
}

/* A bin by what tarn_bin_table has of it. */
static inline struct tarn_bin *tarn_local_raw_bin(struct tarn_local *local, size_t offset) {
  return (struct tarn_bin *)(void *)((char *)local + offset);
}

/* Is the pool's owner one that a fork left behind?  That it is can change only under the heap's
 * lock. */
static inline bool tarn_pool_is_abandoned(const struct tarn_pool *pool) {
  const struct tarn_local *owner = tarn_pool_owner(pool);
  return owner && owner->abandoned;
}

/* Offset of a bin of the first two heaps, for a type's head. */
#define TARN_BIN_OFFSET(flavour, size_class)                                \
  ((uint32_t)(offsetof(struct tarn_local, bins) +                           \
              ((size_t)(flavour)*TARN_CLASS_COUNT + (size_t)(size_class)) * \
                  sizeof(struct tarn_bin)))
#define TARN_BIN_NEVER ((uint32_t)offsetof(struct tarn_local, never))

/*
 * A zeroed block of `size` bytes (any size, large ones too) of a flavour that the heap has.  A
 * safepoint; may collect.  NULL: the status was set by a hook.
 */
void *tarn_local_alloc(struct tarn_local *local, struct tarn_heap *heap, tarn_flavour flavour,
                       size_t size);

/* A raw block whose contents are undefined; else the same. */
void *tarn_local_alloc_raw(struct tarn_local *local, struct tarn_heap *heap, size_t size);

/* The same at an address that is a multiple of `alignment`, a power of two up to
 * TARN_ALIGNMENT_MAX. */
void *tarn_local_alloc_aligned(struct tarn_local *local, struct tarn_heap *heap, size_t alignment,
                               size_t size);

/* A profile is on: counts a raw block of the heap that the fast path has taken. */
void tarn_local_sample(struct tarn_local *local, struct tarn_heap *heap, const void *block,
                       size_t size);

/* tarn_free without the call of the type's `free` function. */
void tarn_local_free(struct tarn_local *local, void *block);

/* The same by a thread that has no record. */
void tarn_store_free_stranger(struct tarn_store *store, void *block);

#if TARN_HARDENED
/* The thread has freed a raw block of its own, and it is one: it goes into the quarantine, see
 * heap/harden.h. */
void tarn_local_quarantine(struct tarn_local *local, void *block, size_t size);
/* All blocks in there become free; false: there was none.  By the thread, or for it while it stands
 * still, with no lock held but the registry's. */
bool tarn_local_empty_quarantine(struct tarn_local *local);
/* In the child of a fork: those of pools that were left behind go; see heap/revive.c. */
void tarn_local_quarantine_after_fork(struct tarn_local *local);
#else
static inline bool tarn_local_empty_quarantine(struct tarn_local *local) {
  (void)local;
  return false;
}
static inline void tarn_local_quarantine_after_fork(struct tarn_local *local) { (void)local; }
#endif

/* The owner's free has brought the pool's `room` to zero. */
void tarn_local_attend(struct tarn_local *local, struct tarn_pool *pool);

/* `count` blocks of a pool of the thread came back from other threads. */
void tarn_local_received(struct tarn_local *local, struct tarn_pool *pool, uint32_t count);

/* The bins of a new thread are empty; whatever others free for it is welcome. */
void tarn_local_open(struct tarn_local *local);

/*
 * Gives up all pools: they go to their heaps' shelves.  By the owner when it detaches, by the
 * registry for a thread that is gone, or by the collector.
 */
void tarn_local_retire(struct tarn_local *local);

/*
 * The collector's way, for a thread that is stopped: forgets all bins, lists and owners at once.
 * The caller puts every pool of the world on a shelf afterwards.
 */
void tarn_local_forget(struct tarn_local *local);

/* A profile begins: no typed bin has a run any more, so that the next allocation from each comes to
 * the slow path, and no distance is known.  The thread is stopped. */
void tarn_local_end_pieces(struct tarn_local *local);

/* Forgets and frees the bins of one heap that is dropped; the thread is stopped. */
void tarn_local_forget_heap(struct tarn_local *local, struct tarn_heap *heap);

/* Where the thread's bin for the pool's class bumps now, or NULL if the pool is no bin's current.
 */
const char *tarn_local_bump(struct tarn_local *local, const struct tarn_pool *pool);

#endif
