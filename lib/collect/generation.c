/* SPDX-License-Identifier: MIT */
/*
 * collect/generation.c: see collect/generation.h.
 */
#include "collect/collector.h"

#define LONGER_ABOVE 2u  /* more than the half survived */
#define SHORTER_BELOW 8u /* less than an eighth */
#define STEP_MOST 4u     /* times the option `young` */

void tarn_generations_start(struct tarn_collector *collector) {
  const struct tarn_config *config = &collector->world->config;
  collector->generations = (struct tarn_generations){
      .on = config->barriers && config->generations != 0,
      .first_pool = (config->generations & TARN_GENERATIONS_FIRST_POOL) != 0,
      .step = config->young};
}

#if TARN_ZEAL
/* They collect all the time: mostly the young, but all three in turn. */
static int choose(const struct tarn_collector *collector) {
  uint64_t rounds = collector->generations.rounds;
  return rounds % 16 == 15 ? TARN_GENERATION_FULL : rounds % 4 == 3;
}
#else
static int choose(const struct tarn_collector *collector) {
  const struct tarn_generations *generations = &collector->generations;
  uint64_t live = generations->live;
  if (live > generations->live_at_full && live - generations->live_at_full >= generations->full_due)
    return TARN_GENERATION_FULL;
  return generations->survived >= collector->world->config.young;
}
#endif

int tarn_generation_choose(struct tarn_collector *collector, int wanted) {
  if (!collector->generations.on || collector->world->store.epoch == 0)
    return TARN_GENERATION_FULL;
  return wanted == TARN_GENERATION_ANY ? choose(collector) : wanted;
}

/* The next step. */
static uint64_t adapt(uint64_t step, uint64_t least, uint64_t allocated, uint64_t survived) {
  uint64_t most = least * STEP_MOST;
  if (survived > allocated / LONGER_ABOVE)
    step *= 2;
  else if (survived < allocated / SHORTER_BELOW)
    step /= 2;
  return step > most ? most : step < least ? least : step;
}

void tarn_generation_collected(struct tarn_collector *collector, uint64_t before, uint64_t after,
                               uint64_t allocated, uint64_t full_due) {
  struct tarn_generations *generations = &collector->generations;
  uint64_t survived = after > before ? after - before : 0;
  generations->rounds++;
  if (collector->generation == TARN_GENERATION_FULL) {
    generations->live_at_full = after;
    generations->full_due = full_due;
  }
  generations->live = after;
  if (collector->generation != 0) {
    generations->survived = 0;
    return;
  }
  generations->survived += survived;
  /* Relaxed: a figure. */
  uint64_t step = atomic_load_explicit(&generations->step, memory_order_relaxed);
  step = adapt(step, collector->world->config.young, allocated, survived);
  atomic_store_explicit(&generations->step, step, memory_order_relaxed);
}

uint64_t tarn_generation_due(const struct tarn_collector *collector, uint64_t full_due) {
  uint64_t step = atomic_load_explicit(&collector->generations.step, memory_order_relaxed);
  return collector->generations.on && step < full_due ? step : full_due;
}

/* --- the policy first-pool ------------------------------------------------------------------- */

static void spare_pool(struct tarn_pool *pool, void *data) {
  struct tarn_collector *collector = data;
  if (pool->list == TARN_LIST_CURRENT || pool->list == TARN_LIST_CONDEMNED)
    return;
  size_t size = tarn_pool_block_size(pool);
  uintptr_t block = tarn_pool_base(pool);
  for (unsigned i = 0; i < pool->capacity; i++, block += size)
    if (tarn_pool_in_use(pool, (const void *)block, collector->world->store.epoch))
      tarn_mark_word(&collector->marker, block);
}

void tarn_generation_spare(struct tarn_collector *collector) {
  if (collector->generation == 0 && collector->generations.first_pool)
    tarn_store_each_aged(&collector->world->store, TARN_AGE_YOUNG, spare_pool, collector);
}
