/* SPDX-License-Identifier: MIT */
/*
 * os/histogram.h: how many times took how long, since the beginning.
 *
 * One thread at a time adds; anybody reads, relaxed.  A bucket holds the times up to its bound that
 * are in none before it, the last one all others.
 */
#ifndef TARN_OS_HISTOGRAM_H
#define TARN_OS_HISTOGRAM_H

#include <stdatomic.h>
#include <stdint.h>

#define TARN_BOUNDS 17u /* and one bucket more */

struct tarn_histogram {
  _Atomic uint64_t buckets[TARN_BOUNDS + 1];
};

/* The largest time of a bucket in nanoseconds: 10, 25 and 50 microseconds, 100, 250, ... 2.5 s. */
static inline uint64_t tarn_histogram_bound(unsigned bucket) {
  static const uint64_t steps[] = {10000, 25000, 50000};
  uint64_t bound = steps[bucket % 3];
  for (unsigned i = bucket / 3; i > 0; i--)
    bound *= 10;
  return bound;
}

static inline void tarn_histogram_add(struct tarn_histogram *histogram, uint64_t ns) {
  unsigned bucket = 0;
  while (bucket < TARN_BOUNDS && ns > tarn_histogram_bound(bucket))
    bucket++;
  /* Relaxed: a figure.  No read-modify-write: nobody else adds. */
  uint64_t before = atomic_load_explicit(&histogram->buckets[bucket], memory_order_relaxed);
  atomic_store_explicit(&histogram->buckets[bucket], before + 1, memory_order_relaxed);
}

#endif
