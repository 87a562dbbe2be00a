/* SPDX-License-Identifier: MIT */
/*
 * stress_stops hunts a world that is not quite stopped, a stop that is lost, and a thread that
 * starves.
 *
 * Every thread storms through safepoints, blocked regions and holds, and asks for collections at
 * the same time as the others.  Each keeps two invariants that it breaks and mends without a
 * safepoint in between, or inside a hold with calls of all kinds in between: a pair of words
 * outside the heap (looked at by a root provider) and a pair of slots of an object (looked at by a
 * trace function). Plain memory: if a thread ran during a stop, the checks or the thread sanitizer
 * would see it. At the end every thread has made its rounds, nobody who was coming back was
 * overtaken by more than two stops, and as many collections were asked for as counted.
 */
#include "common.h"
#include <sched.h>
#include <unistd.h>

#define MOST_THREADS 64u
#define LEAST_ROUNDS 200u

/* Written by its thread, read by the collector. */
static struct pair {
  uint64_t left, right;
  void *object;
  uint64_t alive;
  char room[32]; /* a cache line each */
} pairs[MOST_THREADS];

struct twin {
  const tarn_type *type;
  void *left, *right; /* the same object, or both NULL */
  uint64_t count, mirror;
};

static tarn_world *world;
static const tarn_type *twin_type, *leaf_type;
static _Atomic uint64_t provider_calls, trace_calls, asked[MOST_THREADS], rounds_of[MOST_THREADS];
static _Atomic uint32_t stopped; /* only a stop's owner touches this: two at once would show */

static void see_pairs(tarn_visitor *visitor, void *data) {
  (void)data;
  STRESS_EQUAL(atomic_exchange(&stopped, 1), 0);
  for (unsigned i = 0; i < MOST_THREADS; i++) {
    STRESS_EQUAL(pairs[i].left, pairs[i].right);
    tarn_visit(visitor, pairs[i].object);
  }
  atomic_fetch_add_explicit(&provider_calls, 1, memory_order_relaxed);
  STRESS_EQUAL(atomic_exchange(&stopped, 0), 1);
}

static void trace_twin(const void *object, tarn_visitor *visitor) {
  const struct twin *twin = object;
  STRESS_CHECK(twin->left == twin->right);
  STRESS_EQUAL(twin->count, twin->mirror);
  tarn_visit(visitor, twin->left);
  atomic_fetch_add_explicit(&trace_calls, 1, memory_order_relaxed);
}

/* --- one thread ------------------------------------------------------------------------------ */

static void in_a_hold(tarn_thread *self, struct stress_random *random, struct pair *pair) {
  struct twin *twin = pair->object;
  unsigned holds = 1 + (unsigned)stress_below(random, 3);
  for (unsigned i = 0; i < holds; i++)
    tarn_gc_hold(self);
  pair->left++;
  twin->count++;
  twin->left = tarn_new(self, leaf_type); /* grows the heap, does not collect */
  STRESS_CHECK(twin->left);
  for (unsigned i = 0; i < stress_below(random, 5); i++) {
    tarn_safepoint(self);
    STRESS_EQUAL(tarn_collect(self, 2), TARN_EHELD);
    tarn_block_begin(self); /* does not let the collector run */
    tarn_block_end(self);
    (void)tarn_alloc_atomic(self, 16 + stress_below(random, 3000));
  }
  if (holds > 1)
    tarn_gc_release(self); /* not the last: still held */
  twin->right = twin->left;
  twin->mirror++;
  pair->right++;
  for (unsigned i = holds > 1; i < holds; i++)
    tarn_gc_release(self);
}

static void between_safepoints(tarn_thread *self, struct pair *pair) {
  struct twin *twin = pair->object;
  pair->left += 3;
  twin->count += 2;
  void *old = twin->left;
  twin->left = NULL;
  twin->right = NULL;
  twin->left = old;
  twin->mirror += 2;
  twin->right = old;
  pair->right += 3;
  tarn_safepoint(self);
}

static void in_blocked_regions(tarn_thread *self, struct stress_random *random) {
  unsigned depth = 1 + (unsigned)stress_below(random, 3);
  for (unsigned i = 0; i < depth; i++)
    tarn_block_begin(self);
  switch (stress_below(random, 8)) {
  case 0:
    (void)usleep((unsigned)stress_below(random, 300));
    break;
  case 1:
    (void)sched_yield();
    break;
  default:
    break;
  }
  for (unsigned i = 0; i < depth; i++)
    tarn_block_end(self);
}

static void check_own(const struct pair *pair) {
  const struct twin *twin = pair->object;
  STRESS_EQUAL(pair->left, pair->right);
  STRESS_CHECK(twin->type == twin_type && twin->left == twin->right);
  STRESS_EQUAL(twin->count, twin->mirror);
  if (twin->left)
    STRESS_CHECK(tarn_type_of(twin->left) == leaf_type);
}

static void step(tarn_thread *self, struct stress_random *random, unsigned number) {
  struct pair *pair = &pairs[number];
  switch (stress_below(random, 16)) {
  case 0:
    STRESS_EQUAL(tarn_collect(self, (int)stress_below(random, 3)), TARN_OK);
    atomic_fetch_add_explicit(&asked[number], 1, memory_order_relaxed);
    break;
  case 1:
  case 2:
  case 3:
    in_a_hold(self, random, pair);
    break;
  case 4:
  case 5:
  case 6:
  case 7:
    in_blocked_regions(self, random);
    break;
  case 8:
    if (stress_below(random, 64) == 0)
      stress_verify(self);
    break;
  case 9:
    (void)tarn_alloc_atomic(self, 16 + stress_below(random, 20000));
    break;
  default:
    between_safepoints(self, pair);
  }
}

static void work(void *data, unsigned number) {
  struct stress_random random = stress_random_of(number);
  (void)data;
  tarn_thread *self = stress_attach(world);
  pairs[number].object = tarn_new(self, twin_type);
  STRESS_CHECK(pairs[number].object);
  for (uint64_t round = 0; stress_on(&round);) {
    for (unsigned i = 0; i < 50; i++)
      step(self, &random, number);
    check_own(&pairs[number]);
    atomic_store_explicit(&rounds_of[number], round, memory_order_relaxed);
  }
  STRESS_EQUAL(tarn_thread_detach(self), TARN_OK);
}

static void make_types(void) {
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = "twin";
  spec.size = sizeof(struct twin);
  spec.trace = trace_twin;
  twin_type = tarn_type_create(world, &spec, NULL);
  spec = (tarn_type_spec)TARN_TYPE_SPEC_INIT;
  spec.name = "leaf";
  spec.size = 24;
  leaf_type = tarn_type_create(world, &spec, NULL);
  STRESS_CHECK(twin_type && leaf_type);
}

int main(int count, char **arguments) {
  stress_begin(count, arguments,
               "a world that is not quite stopped, a stop that is lost, and a thread that starves");
  stress.rounds_least = LEAST_ROUNDS;
  world = stress_world("min-heap=1M");
  make_types();
  STRESS_EQUAL(tarn_root_provider_add(world, see_pairs, NULL), TARN_OK);
  stress_run(world, stress.threads, work, NULL);

  tarn_stats stats = stress_stats(world);
  uint64_t all_asked = 0, least = UINT64_MAX, most = 0;
  for (unsigned i = 0; i < stress.threads; i++) {
    uint64_t rounds = atomic_load(&rounds_of[i]);
    all_asked += atomic_load(&asked[i]);
    least = rounds < least ? rounds : least;
    most = rounds > most ? rounds : most;
  }
  STRESS_CHECK(least >= LEAST_ROUNDS - 1);
  /* Time is shared with some fairness: nobody gets less than a fiftieth of the luckiest. */
  STRESS_CHECK(least * 50 >= most);
  STRESS_CHECK(stats.overtaken_max <= 2);
  STRESS_CHECK(stats.collections > 0);
  STRESS_CHECK(stats.collections_asked <= all_asked); /* who joined did not count */
  STRESS_CHECK(stats.collections_asked <= stats.collections);
  STRESS_EQUAL(atomic_load(&provider_calls) >= stats.collections, 1);
  STRESS_CHECK(atomic_load(&trace_calls) >= stats.collections);
  if (stress.threads == 1)
    STRESS_EQUAL(stats.collections_asked, all_asked);
  tarn_thread *self = stress_attach(world);
  for (unsigned i = 0; i < stress.threads; i++)
    check_own(&pairs[i]);
  stress_verify(self);
  STRESS_EQUAL(tarn_world_destroy(world), TARN_OK);
  return stress_end();
}
