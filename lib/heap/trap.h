/* SPDX-License-Identifier: MIT */
/*
 * heap/trap.h: units that are free but cannot be touched, so that a stale pointer into them is a
 * fault (option `trap`).
 *
 * Units that go back to the store wait here instead, the oldest first, until more than `most` bytes
 * of address space do, or there are no others left.  Their memory is gone at once.  They are not
 * free in their arena's bitmap and do not count in any figure of the store.  Their map words are of
 * world 0, so they are nobody's, but still say what was there.  The first unit's descriptor has the
 * link, in `next`, and their number, in `own.virgin`.
 *
 * Everything is under the trap's lock, a leaf.
 */
#ifndef TARN_HEAP_TRAP_H
#define TARN_HEAP_TRAP_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

struct tarn_store;
struct tarn_wanted;
struct tarn_pool;

struct tarn_trap {
  size_t most; /* bytes; 0: off.  Set before the first allocation, and when the world ends */
  size_t units;
  struct tarn_pool *first, *last; /* the oldest and the newest run, by its first unit */
  pthread_mutex_t lock;
};

void tarn_trap_start(struct tarn_trap *trap);

/* Keeps the units that are given back, whose map words are zero.  False: they go on as if there
 * were no trap.  The store's lock is not held. */
bool tarn_trap_take(struct tarn_store *store, const struct tarn_wanted *was);

/* Gives units back until no more than `most` bytes wait; true: there were some.  No lock but a
 * heap's is held. */
bool tarn_trap_release(struct tarn_store *store, size_t most);

/* For good: all go back, and none come any more. */
void tarn_trap_end(struct tarn_store *store);

#endif
