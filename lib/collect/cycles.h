/* SPDX-License-Identifier: MIT */
/*
 * collect/cycles.h: collections of cycles, in worlds that count references (tarn/cycles.h).
 *
 * One at a time: who begins another waits for its end.  Its thread is running and holds nothing
 * off; it stops the world to find garbage (cycles.c), once more if finalizers ran, and frees it
 * with the world running (trash.c).
 *
 * What the ints of collect/refs.h say while the world is stopped, of an object of the generation
 * that known roots do not reach ("a candidate"):
 *
 *     SEEN + n       it was walked past; of its count n are left when the references from
 * candidates that were walked past so far are taken off ALIVE          n was more than 0, or
 * something alive refers to it TRASH          n is 0: garbage
 *
 * and of a candidate that was not walked past yet, -n: so many references from others.  All other
 * ints are 0.  After the stop only TRASH is left.
 *
 * A candidate's unit has TARN_AGE_CANDIDATE, and it has no mark of the running collection.
 *
 * Pools with garbage leave their owners and shelves and become TRASH pools: nobody allocates from
 * them, and what is freed in them is parked (heap/remote.h), until the collecting thread puts them
 * on a shelf or gives them back.  All other pools of the generation go to their shelves, as in
 * tracing collections, so that those that are allocated from afterwards are known to be young.
 */
#ifndef TARN_COLLECT_CYCLES_H
#define TARN_COLLECT_CYCLES_H

#include "collect/counts.h"
#include "collect/refs.h"

struct tarn_collector;
struct tarn_mutator;
struct tarn_large;

#define TARN_REFS_SEEN ((int32_t)1 << 29)
#define TARN_REFS_ALIVE ((int32_t)1 << 30)
#define TARN_REFS_TRASH (TARN_REFS_ALIVE + 1)
/* Garbage that goes as a whole: its references are being given up; its function runs, or has. */
#define TARN_REFS_GOING (TARN_REFS_ALIVE + 2)
#define TARN_REFS_GONE (TARN_REFS_ALIVE + 3)

/* A growing array outside of the heap. */
struct tarn_vector {
  uintptr_t *items;
  size_t count, capacity;
};
bool tarn_vector_add(struct tarn_vector *vector, uintptr_t item); /* false: no memory */
void tarn_vector_drop(struct tarn_vector *vector);

struct tarn_cycles {
  bool on;
  pthread_mutex_t lock;        /* held from the beginning of a collection to its end */
  struct tarn_mutator *holder; /* atomic: who holds it */
  uint8_t epoch;               /* of the marks of the last full collection with known roots */
  struct tarn_finalized finalized;

  /* Of the running collection: its thread's. */
  int generation;
  bool rooted;               /* known roots were marked */
  bool special;              /* some garbage has a `clear` or `finalize` function */
  struct tarn_vector pools;  /* TRASH pools, their units */
  struct tarn_large *larges; /* garbage; linked through limbo */
  bool left;                 /* all of it, by a thread that a fork did not take along */
  struct tarn_vector stack;  /* objects to scan */
  bool overflow;             /* it could not grow */
  uint64_t looked_at, found; /* candidates; and garbage */
  uint64_t found_bytes;

  /* Collections whose stop has begun, of that generation or more; atomic. */
  _Atomic uint64_t stops[3];
  /* Figures. */
  _Atomic uint64_t collections, freed, resurrected, finalizers;
  _Atomic uint64_t stop_last, work_last; /* nanoseconds of the last one: stopped, and afterwards */
};

void tarn_cycles_start(struct tarn_collector *collector);
void tarn_cycles_end(struct tarn_collector *collector);

/* One collection of a generation, or TARN_GENERATION_ANY; as tarn_collector_run. */
tarn_status tarn_cycles_run(tarn_world *world, struct tarn_mutator *self, int generation,
                            bool asked);

/*
 * In the child of a fork: a collection of another thread never ends there.  Garbage that was being
 * freed as a whole refers to what is free already, so the next collection begins with the rest of
 * it.  Other garbage is left for that one to find; but for objects that had a reference of the
 * collection's own, which stay.
 */
void tarn_cycles_after_fork(struct tarn_collector *collector);

/* Around what must not meet a collection that frees: the end of a heap.  Nothing in other worlds.
 */
void tarn_cycles_lock(tarn_world *world, struct tarn_mutator *self);
bool tarn_cycles_has(const tarn_world *world, const struct tarn_mutator *self); /* the thread */
void tarn_cycles_unlock(tarn_world *world);

/* --- cycles.c, for trash.c --- */

/* Calls for each object in the ints' state TRASH, or ALIVE too, of the TRASH pools and the large
 * garbage. */
typedef void (*tarn_trash_fn)(struct tarn_collector *collector, void *object, size_t size,
                              void *data);
void tarn_trash_each(struct tarn_collector *collector, bool alive, tarn_trash_fn fn, void *data);

/* The second look, with the world stopped: of the garbage, each of which has one reference of the
 * collection's own, what others refer to meanwhile becomes ALIVE, with all that it reaches. */
void tarn_cycles_look_again(struct tarn_collector *collector);

/* --- trash.c --- */

/* With the world running: what happens to garbage, and its pools. */
void tarn_trash_put_back(struct tarn_pool *pool); /* the ints are zero again */
void tarn_trash_treat(struct tarn_collector *collector, struct tarn_mutator *self);
void tarn_trash_after_fork(struct tarn_collector *collector); /* of what goes as a whole */

#endif
