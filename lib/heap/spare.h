/* SPDX-License-Identifier: MIT */
/*
 * heap/spare.h: a thread's spare pools: empty ones that it keeps for its next need, so that a
 * program that fills and empties pools in turn does not go to the store, and its lock, for each.
 *
 * A spare pool is owned, has no bin and is on no list; `mine` says that it is nobody's, so that the
 * shortest path of a free does not take a block of it for one in use.  For a bin of the same class
 * the newest of them begins anew; for any other bin, unless the store knows a free unit of its
 * class, the oldest gets another class.  The oldest goes to the store when there are too many.  All
 * go when an allocation fails, in stops, at a tarn_trim by the thread, and with the thread.
 *
 * The system gets their memory back like that of free units, after the delay, from whoever purges:
 * that may be another thread, and so `remote`, which counts nothing in an empty pool, says who has
 * it in hand (heap/remote.h).
 *
 * A thread that comes to the store for a pool takes some units in a row, twice as many each time,
 * up to half of what it may keep.  That is one visit for several, and it keeps the descriptors of
 * different threads' pools apart, which the processors' prefetching moves back and forth where they
 * are neighbours.  Units that were never touched are not backed.  Figures are in doc/design.md.
 *
 * Touched like a bin: by the thread, or for it while it stands still.
 */
#ifndef TARN_HEAP_SPARE_H
#define TARN_HEAP_SPARE_H

#include "heap/pool.h"

#define TARN_SPARE_POOLS 16u /* 1 MiB: what programs have in flight, and little for a thread */

struct tarn_spares {
  uint32_t count;
  uint32_t step;                   /* log2 of the units that the next visit to the store takes */
  uint32_t keys[TARN_SPARE_POOLS]; /* heap, flavour and class; see spare.c */
  struct tarn_pool *pools[TARN_SPARE_POOLS]; /* the oldest first */
};

/* An empty pool of the thread, on no list.  Calls nobody; the purge may be wanted afterwards. */
void tarn_spare_put(struct tarn_local *local, struct tarn_pool *pool);

/* A pool of the flavour and class for the heap, empty, owned and on no list; NULL: there is none.
 * `any`: one that was of another class will do. */
struct tarn_pool *tarn_spare_take(struct tarn_local *local, struct tarn_heap *heap,
                                  tarn_flavour flavour, unsigned size_class, bool any);

/* The same, made of the store's units; others that were taken with them become spare.  `kin`: only
 * of those that were pools of the class lately.  NULL: there are none; limit or memory. */
struct tarn_pool *tarn_spare_make(struct tarn_local *local, struct tarn_heap *heap,
                                  tarn_flavour flavour, unsigned size_class, bool kin);

/* The newest as it is, owned and on no list; NULL: there is none. */
struct tarn_pool *tarn_spare_pop(struct tarn_local *local);

/* All of them go to the store, and rows begin with one unit again; false: there was none. */
bool tarn_spare_drop_all(struct tarn_local *local);

#endif
