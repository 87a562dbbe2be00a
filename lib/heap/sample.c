/* SPDX-License-Identifier: MIT */
/*
 * heap/sample.c: see heap/sample.h.
 */
#include "heap/sample.h"
#include "heap/local.h"
#include <string.h>

/* --- arithmetic ------------------------------------------------------------------------------ */

/*
 * -ln(u) for u = (random + 1/2) / 2^64.  With u = m / 2^k and m from 1 to 2 that is k ln 2 - ln m,
 * and ln m = 2 (y + y^3/3 + y^5/5 + ...) with y = (m - 1) / (m + 1), at most 1/3: nine terms leave
 * an error below 1e-10.
 */
static double minus_log(uint64_t random) {
  double mantissa = ((double)random + 0.5) / 18446744073709551616.0;
  double result = 0;
  for (; mantissa < 1; mantissa *= 2)
    result += 0.69314718055994530942;
  double y = (mantissa - 1) / (mantissa + 1), square = y * y, power = y, sum = 0;
  for (unsigned term = 1; term <= 17; term += 2, power *= square)
    sum += power / term;
  result -= 2 * sum;
  return result > 0 ? result : 0;
}

uint64_t tarn_sample_distance(uint64_t random, uint64_t rate) {
  /* At most 45 rates, so it fits for any rate that is one. */
  return (uint64_t)(minus_log(random) * (double)rate);
}

double tarn_sample_chance(uint64_t size, uint64_t rate) {
  double x = (double)size / (double)rate;
  unsigned halved = 0;
  if (x > 45) /* a double has no other */
    return 1;
  for (; x > 0.5; x /= 2)
    halved++;
  /* x - x^2/2! + x^3/3! - ..., from its far end. */
  double chance = 0;
  for (unsigned term = 14; term >= 1; term--)
    chance = (x / term) * (1 - chance);
  /* 1 - e^-2x = (1 - e^-x)(2 - (1 - e^-x)) */
  for (; halved > 0; halved--)
    chance *= 2 - chance;
  return chance;
}

static uint64_t next_random(struct tarn_sampler *sampler) {
  uint64_t mixed = (sampler->random += 0x9e3779b97f4a7c15u);
  mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9u;
  mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111ebu;
  return mixed ^ mixed >> 31;
}

/* --- distances ------------------------------------------------------------------------------- */

void tarn_sample_forget(struct tarn_local *local) {
  struct tarn_sampler *sampler = local->sampler;
  local->sampled = false;
  if (!sampler)
    return;
  memset(sampler->bins, 0, sizeof sampler->bins);
  for (unsigned i = 0; i < TARN_HEAP_MAX; i++)
    if (sampler->more[i])
      memset(sampler->more[i], 0, sizeof *sampler->more[i]);
  sampler->large = 0;
}

/* The thread's; NULL: no memory. */
static struct tarn_sampler *sampler_of(struct tarn_local *local) {
  struct tarn_store *store = local->store;
  struct tarn_sampler *sampler = local->sampler;
  if (!sampler) {
    sampler = tarn_meta_alloc(&store->meta, sizeof *sampler);
    if (!sampler) {
      store->sampling->blind(store);
      return NULL;
    }
    sampler->random = (uintptr_t)local ^ tarn_os_now();
    local->sampler = sampler;
  }
  return sampler;
}

static uint64_t *distance_of(struct tarn_local *local, const struct tarn_heap *heap,
                             unsigned flavour, unsigned size_class) {
  struct tarn_sampler *sampler = sampler_of(local);
  if (!sampler)
    return NULL;
  if (flavour == TARN_FLAVOURS)
    return &sampler->large;
  if (heap->index < 2)
    return &sampler->bins[flavour][size_class];
  tarn_distances **more = &sampler->more[heap->index];
  if (!*more && !(*more = tarn_meta_alloc(&local->store->meta, sizeof **more)))
    local->store->sampling->blind(local->store);
  return *more ? &(**more)[flavour][size_class] : NULL;
}

static uint64_t draw(const struct tarn_local *local) {
  return 1 + tarn_sample_distance(next_random(local->sampler), local->store->sampling->rate);
}

/* The distance is known, and less than that: the block that comes now is a sample. */
static bool ends_before(struct tarn_local *local, uint64_t *distance, size_t size) {
  if (*distance == 0)
    *distance = draw(local);
  if (*distance - 1 >= size)
    return false;
  *distance = draw(local);
  local->sampled = true;
  return true;
}

void tarn_sample_count(struct tarn_local *local, const struct tarn_heap *heap, unsigned flavour,
                       unsigned size_class, size_t size) {
  uint64_t *distance = distance_of(local, heap, flavour, size_class);
  if (distance && !ends_before(local, distance, size))
    *distance -= size;
}

size_t tarn_sample_run(struct tarn_local *local, const struct tarn_pool *pool, size_t run) {
  size_t size = tarn_pool_block_size(pool);
  uint64_t *distance = distance_of(local, pool->heap, pool->flavour, pool->size_class);
  if (!distance)
    return run;
  if (ends_before(local, distance, size))
    return size;
  if (*distance - 1 < run)
    run = (size_t)((*distance - 1) / size) * size;
  *distance -= run;
  return run;
}

void tarn_sample_put_back(struct tarn_local *local, const struct tarn_pool *pool, size_t rest) {
  const struct tarn_sampler *sampler = local->sampler;
  /* Nothing is made here: it may be a stop, for another thread. */
  if (!sampler || (pool->heap->index >= 2 && !sampler->more[pool->heap->index]))
    return;
  uint64_t *distance = distance_of(local, pool->heap, pool->flavour, pool->size_class);
  if (*distance != 0)
    *distance += rest;
}
