/* SPDX-License-Identifier: MIT */
/*
 * bench/gc/peer.h: what the programs of group gc need of a collector, or of malloc.
 *
 * A program is written once and compiled for each peer with BENCH_PEER, the name of the peer's
 * header, defined. All peers allocate objects of the same size with the same words: the first is
 * the type, an array's second its count.
 *
 *   struct mutator, ROOTS(m, ...)        as in workload_gc.h
 *   peer_start(setup), peer_finish()     one of each in a program; the second prints heap_bytes,
 *                                        tables_percent (of the heap), markers, collections
 *   shape_make(shape)                    before the first object of the shape
 *   object_new(m, shape)                 zeroed but for its type; NULL: no memory
 *   array_new(m, shape, count)           of words; zeroed if they are traced; NULL: no memory
 *   object_store(m, object, slot, value) for every reference that is stored in an object which may
 *                                        be older than the last allocation
 *   object_drop(m, object)               where that is done by hand
 *   peer_collect(m, generation)          0 to 2, which is full
 *   peer_last()                          of the last collection
 *   peer_live_bytes()                    found live by the last collection
 *   peer_automatic(m, on)                may collections start by themselves? They may at first
 *   peer_watch_begin(), peer_watch_end() keep the pauses of all collections between, print them
 */
#ifndef TARN_BENCH_GC_PEER_H
#define TARN_BENCH_GC_PEER_H

#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "subject.h"

struct mutator;

struct peer_setup {
  size_t limit;     /* bytes of heap, all there to be used and not to be exceeded; 0: defaults */
  size_t start;     /* bytes of heap to start with, where it would be small; 0: as it is */
  unsigned markers; /* threads that mark; 0: as many as the peer takes by itself */
};

struct shape {
  const char *name;
  size_t size;        /* of the fixed part; of an array: of the type and the count */
  uint64_t slots;     /* bit n: word n is traced */
  bool array, traced; /* an array; its elements are traced */
  const void *type;   /* the peer's */
};

/* In nanoseconds. */
struct collection {
  double mark, pause, stop; /* stop: from the request until all threads stood still */
  double call;              /* of peer_collect, from call to return */
};

static inline void peer_start(const struct peer_setup *setup);
static inline void peer_finish(void);
static inline void shape_make(struct shape *shape);
static inline void mutator_begin(struct mutator *mutator);
static inline void mutator_end(struct mutator *mutator);
static inline void mutator_wait_begin(struct mutator *mutator);
static inline void mutator_wait_end(struct mutator *mutator);

/* Sums are printed as doubles: only what those can hold exactly. */
#define CHECK_MASK (((uint64_t)1 << 52) - 1)

static inline void print_check(uint64_t check) {
  subject_figure("check", (double)(check & CHECK_MASK));
}

/* --- random numbers: the same on all sides --------------------------------------------------- */

static inline uint64_t random_next(uint64_t *state) { /* splitmix64 */
  uint64_t z = *state += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

/* `end` is at most 2^32. */
static inline uint64_t random_below(uint64_t *state, uint64_t end) {
  return (random_next(state) >> 32) * end >> 32;
}

/* --- samples --------------------------------------------------------------------------------- */

enum { SAMPLES_MOST = 4096 };

struct samples {
  size_t count;
  double values[SAMPLES_MOST];
};

static inline void samples_add(struct samples *samples, double value) {
  if (samples->count < SAMPLES_MOST)
    samples->values[samples->count++] = value;
}

static inline int samples_order(const void *a, const void *b) {
  double left = *(const double *)a, right = *(const double *)b;
  return (left > right) - (left < right);
}

/* The nearest rank: the least value that `part` of all values do not exceed. */
static inline double samples_at(struct samples *samples, double part) {
  if (samples->count == 0)
    return 0;
  qsort(samples->values, samples->count, sizeof samples->values[0], samples_order);
  size_t rank = (size_t)ceil(part * (double)samples->count);
  return samples->values[rank > 0 ? rank - 1 : 0];
}

/* --- the peer -------------------------------------------------------------------------------- */

#include BENCH_PEER

#endif
