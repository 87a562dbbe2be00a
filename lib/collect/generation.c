/* SPDX-License-Identifier: MIT */
/*
 * collect/generation.c: see collect/generation.h.
 */
#include "collect/collector.h"

#define LONGER_ABOVE 2u      /* more than the half survived */
#define SHORTER_BELOW 8u     /* less than an eighth */
#define STEP_MOST 4u         /* times the option `young`, because of what survives */
#define STEP_MOST_COSTLY 16u /* because of the time that they take */
#define KEPT_MOST 2u         /* half of what survived generation 0 survived generation 1 too */
#define KEPT_FEW 4u
#define SECOND_MOST 16u              /* times the option `young` */
#define LONG_NS ((uint64_t)10000000) /* one that is not to become longer */

void tarn_generations_start(struct tarn_collector *collector) {
  const struct tarn_config *config = &collector->world->config;
  collector->generations = (struct tarn_generations){
      .on = (config->barriers || config->counting) && config->generations != 0,
      .first_pool = (config->generations & TARN_GENERATIONS_FIRST_POOL) != 0,
      .step = config->young,
      .next = config->young,
      .second_due = config->young};
}

/*
 * Of the external bytes that a full collection left, many were the dead's, whose `free` functions
 * ran only afterwards: what is known of that by now makes the next one due the sooner.  Else the
 * dead would make room for more of them.
 */
static void learn_what_died(struct tarn_collector *collector) {
  struct tarn_generations *generations = &collector->generations;
  uint64_t floor = atomic_load_explicit(&collector->pace.external_floor, memory_order_relaxed);
  uint64_t left = generations->heap_at_full + floor;
  if (left >= generations->live_at_full)
    return;
  generations->live_at_full = left;
  generations->full_due = tarn_pace_trigger_for(collector, left);
}

/* By what survived until now. */
static int generation_due(const struct tarn_generations *generations) {
  uint64_t live = generations->live;
  if (live > generations->live_at_full && live - generations->live_at_full >= generations->full_due)
    return TARN_GENERATION_FULL;
  return generations->survived >= generations->second_due;
}

#if TARN_ZEAL
/* They collect all the time: mostly the young, but all three in turn. */
static int choose(struct tarn_collector *collector) {
  uint64_t rounds = collector->generations.rounds;
  return rounds % 16 == 15 ? TARN_GENERATION_FULL : rounds % 4 == 3;
}
#else
static int choose(struct tarn_collector *collector) {
  learn_what_died(collector);
  return generation_due(&collector->generations);
}
#endif

int tarn_generation_choose(struct tarn_collector *collector, int wanted) {
  /* Relaxed: written in stops. */
  bool first = collector->world->config.counting
                   ? atomic_load_explicit(&collector->cycles.stops[TARN_GENERATION_FULL],
                                          memory_order_relaxed) == 0
                   : collector->world->store.epoch == 0;
  if (!collector->generations.on || first)
    return TARN_GENERATION_FULL;
  return wanted == TARN_GENERATION_ANY ? choose(collector) : wanted;
}

/* --- the step -------------------------------------------------------------------------------- */

static uint64_t smaller(uint64_t a, uint64_t b) { return a < b ? a : b; }

/* Do young collections take more than a `part`th of the share of the time that they may? */
static bool takes_share(const struct tarn_generations *generations, uint64_t percent,
                        uint64_t part) {
  double stopped = (double)generations->stopped_ns, ran = (double)generations->ran_ns;
  return percent != 0 && stopped * 100 * (double)part > (double)percent * (stopped + ran);
}

/* The longest step because of the time: a heap is not to consist of young objects mostly. */
static uint64_t longest_costly(const struct tarn_collector *collector, uint64_t live) {
  const tarn_world *world = collector->world;
  /* Relaxed: a number. */
  uint64_t limit = atomic_load_explicit(&world->store.limit, memory_order_relaxed);
  uint64_t room = smaller(live + world->config.min_heap, limit > live ? limit - live : 0);
  return smaller(world->config.young * STEP_MOST_COSTLY, room / 2);
}

/* The next step, after a collection of generation 0. */
static uint64_t adapt(const struct tarn_collector *collector, uint64_t step,
                      const struct tarn_generation_round *round, uint64_t survived) {
  const struct tarn_generations *generations = &collector->generations;
  uint64_t least = collector->world->config.young, share = collector->world->config.young_share;
  bool costly = takes_share(generations, share, 1) && round->stopped_ns < LONG_NS &&
                step * 2 <= longest_costly(collector, round->after);
  if (costly || (survived > round->allocated / LONGER_ABOVE && step < least * STEP_MOST))
    return step * 2;
  if (round->stopped_ns > 2 * LONG_NS && step > least * STEP_MOST)
    return step / 2;
  if (survived < round->allocated / SHORTER_BELOW && !takes_share(generations, share, 4))
    step /= 2;
  return step < least ? least : step;
}

/* How much is to survive before the next collection of generation 1, after one that left `kept` of
 * what had. */
static void adapt_second(struct tarn_collector *collector, uint64_t kept) {
  struct tarn_generations *generations = &collector->generations;
  uint64_t least = collector->world->config.young;
  if (kept > generations->survived / KEPT_MOST && generations->second_due < least * SECOND_MOST)
    generations->second_due *= 2;
  else if (kept < generations->survived / KEPT_FEW && generations->second_due > least)
    generations->second_due /= 2;
}

static void note_time(struct tarn_generations *generations,
                      const struct tarn_generation_round *round) {
  generations->stopped_ns = generations->stopped_ns / 4 * 3 + round->stopped_ns;
  generations->ran_ns = generations->ran_ns / 4 * 3 + round->ran_ns;
}

/* See the rules in the header: what was asked for is no step. */
static void set_next(struct tarn_generations *generations,
                     const struct tarn_generation_round *round) {
  uint64_t next = generations->step;
  generations->asked = round->asked ? generations->asked + round->allocated : 0;
  if (generation_due(generations) > 0)
    next -= smaller(next, generations->asked);
  /* Relaxed: a figure. */
  atomic_store_explicit(&generations->next, next, memory_order_relaxed);
}

static void judge(struct tarn_collector *collector, const struct tarn_generation_round *round) {
  struct tarn_generations *generations = &collector->generations;
  uint64_t survived = round->after > round->before ? round->after - round->before : 0;
  generations->rounds++;
  generations->live = round->after;
  if (collector->generation == TARN_GENERATION_FULL) {
    generations->live_at_full = round->after;
    generations->heap_at_full = round->heap;
    generations->full_due = round->full_due;
  } else {
    learn_what_died(collector);
    note_time(generations, round);
  }
  if (collector->generation != 0) {
    uint64_t old =
        round->before > generations->survived ? round->before - generations->survived : 0;
    if (collector->generation == 1)
      adapt_second(collector, round->after > old ? round->after - old : 0);
    generations->survived = 0;
    return;
  }
  generations->survived += survived;
  generations->step = adapt(collector, generations->step, round, survived);
}

void tarn_generation_collected(struct tarn_collector *collector,
                               const struct tarn_generation_round *round) {
  judge(collector, round);
  set_next(&collector->generations, round);
}

uint64_t tarn_generation_due(const struct tarn_collector *collector, uint64_t full_due) {
  /* Relaxed: a figure. */
  uint64_t next = atomic_load_explicit(&collector->generations.next, memory_order_relaxed);
  next *= tarn_cycles_patience(collector, true);
  return collector->generations.on && next < full_due ? next : full_due;
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
