/* SPDX-License-Identifier: MIT */
/*
 * heap/sweep.h: pools that a full collection left to be swept.
 *
 * To sweep a pool is to clear the marks of its dead and to count what lives; then it goes to its
 * shelf, or back to the store if nothing does.  Its blocks are not touched (but in checking builds,
 * which poison the dead).  In its pause a full collection only files the pools, on their shelves'
 * lists `unswept`, in the order of their addresses; pools with condemned objects, and those of
 * young collections, which are few, are swept by the census at once.
 *
 * Who sweeps, with the world running:
 *   - a thread that wants a pool: those of its class first, until one has something to hand out;
 *     and a few of any class before it takes a unit that is free already, so that the heap does not
 *     grow while dead pools lie about;
 *   - the sweeper (collect/sweeper.h), ahead of the others;
 *   - who is about to collect, and who found no memory: all that is left.  The latter waits for
 * what others are sweeping, too: it is not to fail for want of memory that comes in a moment.
 *
 * An unswept pool has no owner, its cursor stands at 0, its free list is empty, and `used` is what
 * it was, which is not too small.  Its live blocks have the mark of the epoch, and all other bytes
 * mean nothing.  Blocks of it that are freed by hand are parked, as those of condemned pools are
 * (heap/remote.h), and taken back when it has been swept.
 *
 * A pool that is being swept is on no list, and says UNSWEPT until it is done: it belongs to the
 * thread that took it off under the heap's lock.  That is no safepoint, or part of a visit
 * (tarn_store_visit), so in a stop each pool is on a list or swept.  Mark bytes of the living are
 * read by others meanwhile (relaxed); they are stored again only as parts of words that change
 * elsewhere, with the same value.
 */
#ifndef TARN_HEAP_SWEEP_H
#define TARN_HEAP_SWEEP_H

#include "heap/heap.h"

/* Files a pool, which is on no list and in no bin; the world is stopped.  The store's epoch is that
 * of its live blocks from the end of the stop on. */
void tarn_sweep_file(struct tarn_store *store, struct tarn_pool *pool);

/* All are filed: sweeping begins at the first of them. */
void tarn_sweep_begin(struct tarn_store *store);

/* Pools that are not swept yet.  Any thread; a look. */
static inline size_t tarn_sweep_left(const struct tarn_store *store) {
  return atomic_load_explicit(&store->unswept, memory_order_relaxed);
}

/*
 * Sweeps pools of one sort until one has something to hand out: it is on no list and `local`'s from
 * now on.  NULL: there is none.  No lock is held.
 */
struct tarn_pool *tarn_sweep_take(struct tarn_heap *heap, tarn_flavour flavour, unsigned size_class,
                                  struct tarn_local *local);

/*
 * Sweeps pools of any sort, at most `most`, until `units` of them went back to the store; false:
 * none was left to sweep.  The caller holds no lock, and is running, or in a visit, or has stopped
 * the world.
 */
bool tarn_sweep_some(struct tarn_store *store, size_t units, size_t most);

/* All that are left, but for those that other threads are sweeping. */
void tarn_sweep_all(struct tarn_store *store);

/* Until others are done with those, too: a few microseconds a pool, if they are not preempted.  The
 * caller is running, holds no lock, and has swept all that was left. */
void tarn_sweep_wait(const struct tarn_store *store);

/* Before units are taken for pools or large objects, `units` of them: sweeps a few pools. */
void tarn_sweep_before_growth(struct tarn_store *store, size_t units);

#endif
