/* SPDX-License-Identifier: MIT */
/*
 * heap/sample.h: which allocations a profile gets to see.
 *
 * The bytes that a bin hands out are a stream, and points lie in it at random: between two of them
 * is a number of bytes with an exponential distribution and the mean `rate`, in whole bytes.  A
 * block is a sample if at least one point lies in it.  So:
 *
 *   - a block of S bytes is a sample with probability p(S) = 1 - exp(-S / rate), whatever comes
 *     before and after it.  Each sample stands for 1 / p(S) blocks: then the expected number of
 *     blocks of any size, type, thread and calling function is the true one (Horvitz and
 *     Thompson), and so is that of bytes.  The variance of a count of n blocks is n (1 - p) / p.
 *   - a program that does the same thing again and again is not met at the same place each time.
 *
 * A stream belongs to a bin, not to a thread.  A typed bin bumps through its run, a piece after the
 * other, without a look at any of this; so a run that would hold a point ends before the block with
 * the point, and this block is a run of its own, for which the bin comes to the slow path.  With
 * one countdown for all bins of a thread, another bin that comes to the slow path in between would
 * take the point away, and rarely used bins would be seen too often.  What a bin gives back of a
 * run goes back into its distance, since these bytes come again.
 *
 * Raw blocks that are freed are used again before the run, on the inlined path too; so while a
 * profile is on, inlined paths of raw blocks are closed (tarn_thread_set_inlined), and each of them
 * comes to the calls out of line and is counted by itself there, as blocks from a typed pool's list
 * of free ones and large objects are.
 *
 * A profile begins with no run in any typed bin and no distance known (tarn_local_end_pieces).
 *
 * The distances belong to the thread, and none is known when it attaches.  The rest is called, by
 * function, above: heap/ knows no types and no stacks.
 */
#ifndef TARN_HEAP_SAMPLE_H
#define TARN_HEAP_SAMPLE_H

#include "heap/heap.h"
#include "heap/local.h"
#include "heap/size_class.h"
#include "heap/space.h"

/* While a profile is on.  `store->sampling` is written in stops only. */
struct tarn_sampling {
  uint64_t rate; /* bytes */
  /* The thread has made a block that is a sample; nothing is in it yet.  `local->making` is the
   * type of the object that it is for, if there is one. */
  void (*take)(struct tarn_local *local, const void *block, size_t size);
  /* A block is freed, perhaps told of twice; most are no samples.  Before its memory can be
   * another's. */
  void (*freed)(struct tarn_store *store, const void *block);
  /* All blocks of which this is true have died; in a stop. */
  void (*died)(struct tarn_store *store, bool (*dead)(uintptr_t block, void *data), void *data);
  /* A thread has no memory for its distances, and goes without. */
  void (*blind)(struct tarn_store *store);
};

typedef uint64_t tarn_distances[TARN_FLAVOURS][TARN_CLASS_COUNT]; /* 0: not drawn; or bytes + 1 */

struct tarn_sampler {
  uint64_t random;
  uint64_t large;
  tarn_distances bins; /* of the world's first two heaps */
  tarn_distances *more[TARN_HEAP_MAX];
};

/* The next `size` bytes of the bin's stream are handed out one by one, or belong to a large object
 * (`flavour` TARN_FLAVOURS). */
void tarn_sample_count(struct tarn_local *local, const struct tarn_heap *heap, unsigned flavour,
                       unsigned size_class, size_t size);

/* A run of `run` bytes is about to be a typed bin's; how many of them it gets, at least one block,
 * which it takes at once. */
size_t tarn_sample_run(struct tarn_local *local, const struct tarn_pool *pool, size_t run);

/* A raw block of the world's first two heaps, that the short way has taken: counts it, if it is
 * nothing special; false: tarn_local_sample does it. */
static inline bool tarn_sample_passes(struct tarn_local *local, const void *block) {
  const struct tarn_pool *pool = tarn_pool_of((uintptr_t)block);
  struct tarn_sampler *sampler = local->sampler;
  if (TARN_UNLIKELY(!sampler))
    return false;
  uint64_t *distance = &sampler->bins[TARN_FLAVOUR_RAW][pool->size_class];
  size_t size = tarn_pool_block_size(pool);
  if (TARN_UNLIKELY(*distance <= size))
    return false;
  *distance -= size;
  return true;
}

/* So many bytes of such runs were not used. */
void tarn_sample_put_back(struct tarn_local *local, const struct tarn_pool *pool, size_t rest);

/* No distance is known any more.  By the thread, or for it while it stands still. */
void tarn_sample_forget(struct tarn_local *local);

/* --- arithmetic, without the C library's, which would be another library --------------------- */

/* Bytes before the next point; `random` is any number. */
uint64_t tarn_sample_distance(uint64_t random, uint64_t rate);

/* 1 - exp(-size / rate), the probability that a block is a sample. */
double tarn_sample_chance(uint64_t size, uint64_t rate);

#endif
