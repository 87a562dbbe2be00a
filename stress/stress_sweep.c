/* SPDX-License-Identifier: MIT */
/*
 * stress_sweep hunts pools that two threads sweep, live blocks that a sweep gives away, and blocks
 * that were freed into a pool that was just being swept and never come back.
 *
 * Each thread keeps objects of several sizes, which it replaces at random, frees by hand, or passes
 * to another thread that frees them; it looks at each of its own again and again, for what two have
 * got shows as contents that are not one's own.  Full collections that nobody asked for, so that
 * they leave their pools unswept, come from all threads, and young ones, walks, verifications and
 * detachments in between.  The seed chooses whether there is a sweeper, barriers, a hard limit, or
 * idle collections all the time.  In the end all that was kept is there, and nothing else.
 */
#include "collect/collector.h"
#include "common.h"
#include "heap/sweep.h"
#include <stdio.h>
#include <string.h>

#define MOST_THREADS 64u
#define KEPT 3000u /* objects of a thread */
#define MAIL 32u
#define SIZES 4u

struct object {
  const tarn_type *type;
  struct object *next;
  uint64_t number, check;
};
struct array {
  const tarn_type *type;
  size_t count;
  void *elements[];
};

static const size_t sizes[SIZES] = {sizeof(struct object), 96, 720, 9000};
static const tarn_type *types[SIZES], *leaf, *array_type;
/* A collection at each allocation, each of which checks the whole heap, takes minutes. */
#if defined(TARN_ZEAL) && TARN_ZEAL
#define ZEAL ",zeal=7"
#define SELDOM_CHECKED true
#else
#define ZEAL ""
#define SELDOM_CHECKED false
#endif

static tarn_world *world;
static struct array *kept[MOST_THREADS]; /* roots */
static struct object *mail[MAIL];        /* atomic; of nobody, to be freed by who takes it */
static _Atomic uint64_t numbers, mailed, unswept_seen;

/* --- objects --------------------------------------------------------------------------------- */

static uint64_t check_of(uint64_t number) { return (number + 57) * 0x9e3779b97f4a7c15u; }

static void check(const struct object *object) {
  STRESS_EQUAL(object->check, check_of(object->number));
}

static struct object *make(tarn_thread *self, struct stress_random *random) {
  uint64_t kind = stress_below(random, 16);
  const tarn_type *type = kind == 0 ? leaf : types[kind > 8 ? 0 : kind > 3 ? 1 : kind > 1 ? 2 : 3];
  struct object *object = tarn_new(self, type);
  STRESS_CHECK(object && !object->number && !object->check);
  object->number = 1 + atomic_fetch_add_explicit(&numbers, 1, memory_order_relaxed);
  object->check = check_of(object->number);
  return object;
}

static void keep(tarn_thread *self, unsigned number, size_t at, struct object *object) {
  tarn_store(self, kept[number], &kept[number]->elements[at], object);
}

static void replace(tarn_thread *self, unsigned number, struct stress_random *random) {
  size_t at = stress_below(random, KEPT);
  struct object *object = make(self, random);
  if (object->type != leaf) { /* a second one that only the first knows, now and then */
    struct object *next = stress_below(random, 4) == 0 ? kept[number]->elements[at] : NULL;
    if (next && next->type != leaf && next->next)
      next = NULL;
    tarn_store(self, object, (void **)&object->next, next);
  }
  keep(self, number, at, object);
}

/* Barriers look at mark bytes in the middle of a sweep. */
static void store_into_old(tarn_thread *self, unsigned number, struct stress_random *random) {
  struct object *object = kept[number]->elements[stress_below(random, KEPT)];
  if (object && object->type != leaf)
    tarn_store(self, object, (void **)&object->next, NULL);
}

static void check_all(unsigned number) {
  for (size_t i = 0; i < KEPT; i++) {
    const struct object *object = kept[number]->elements[i];
    if (!object)
      continue;
    check(object);
    if (object->type != leaf && object->next)
      check(object->next);
  }
}

/* --- frees by hand --------------------------------------------------------------------------- */

/* Nobody else knows the object, nor the one behind it. */
static void free_it(tarn_thread *self, struct object *object) {
  check(object);
  object->check = 0;
  tarn_free(self, object);
}

static void free_some(tarn_thread *self, unsigned number, struct stress_random *random) {
  for (unsigned i = 0; i < 40; i++) {
    size_t at = stress_below(random, KEPT);
    struct object *object = kept[number]->elements[at];
    if (!object)
      continue;
    keep(self, number, at, NULL);
    if (stress_below(random, 2)) {
      free_it(self, object);
      continue;
    }
    /* The slots are roots. */
    struct object *other =
        __atomic_exchange_n(&mail[stress_below(random, MAIL)], object, __ATOMIC_ACQ_REL);
    atomic_fetch_add_explicit(&mailed, 1, memory_order_relaxed);
    if (other)
      free_it(self, other);
  }
}

/* --- collections ----------------------------------------------------------------------------- */

static void collect(tarn_thread *self, int generation) {
  STRESS_EQUAL(tarn_collector_run(world, tarn_mutator_of(self), generation, false), TARN_OK);
  if (tarn_sweep_left(&world->store))
    atomic_fetch_add_explicit(&unswept_seen, 1, memory_order_relaxed);
}

static bool count_block(const tarn_block_info *info, void *data) {
  (void)info;
  ++*(uint64_t *)data;
  return true;
}

static void disturb(tarn_thread **self, struct stress_random *random) {
  uint64_t blocks = 0;
  switch (stress_below(random, 24)) {
  case 0:
  case 1:
  case 2:
    collect(*self, TARN_GENERATION_FULL);
    return;
  case 3:
    collect(*self, (int)stress_below(random, 2));
    return;
  case 4:
    STRESS_EQUAL(tarn_collect(*self, TARN_GENERATION_FULL), TARN_OK);
    return;
  case 5:
    stress_verify(*self);
    return;
  case 6:
    STRESS_EQUAL(tarn_heap_walk(*self, count_block, &blocks), TARN_OK);
    return;
  case 7:
    STRESS_EQUAL(tarn_thread_detach(*self), TARN_OK);
    *self = stress_attach(world);
    return;
  default:
    return;
  }
}

static void work(void *data, unsigned number) {
  struct stress_random random = stress_random_of(number);
  tarn_thread *self = stress_attach(world);
  (void)data;
  for (uint64_t round = 0; stress_on(&round);) {
    for (unsigned i = 0; i < 400; i++) {
      replace(self, number, &random);
      store_into_old(self, number, &random);
      tarn_safepoint(self);
    }
    free_some(self, number, &random);
    check_all(number);
    disturb(&self, &random);
  }
  check_all(number);
  STRESS_EQUAL(tarn_thread_detach(self), TARN_OK);
}

/* --- the whole ------------------------------------------------------------------------------- */

static void make_world(void) {
  struct stress_random random = stress_random_of(MOST_THREADS);
  tarn_options options = TARN_OPTIONS_INIT;
  char set[256];
  (void)snprintf(set, sizeof set,
                 "min-heap=1M,young=256K,purge-delay=20ms,sweeper=%u,markers=%u%s%s" ZEAL,
                 (unsigned)stress_below(&random, 4) != 0, 1 + (unsigned)stress_below(&random, 2),
                 stress_below(&random, 3) ? "" : ",idle-collect=1ms",
                 stress_below(&random, 4) || SELDOM_CHECKED ? "" : ",verify=1");
  options.set = set;
  options.flags =
      TARN_OPTIONS_NO_ENVIRONMENT | (stress_below(&random, 2) ? TARN_OPTIONS_BARRIERS : 0);
  STRESS_EQUAL(tarn_world_create(&options, &world), TARN_OK);
}

static void make_types(void) {
  for (unsigned i = 0; i < SIZES; i++) {
    tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
    spec.name = "object";
    spec.size = sizes[i];
    spec.slot_bits = 2;
    types[i] = tarn_type_create(world, &spec, NULL);
    STRESS_CHECK(types[i]);
  }
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = "leaf";
  spec.size = sizeof(struct object);
  leaf = tarn_type_create(world, &spec, NULL);
  spec.name = "array";
  spec.size = sizeof(struct array);
  spec.element_size = sizeof(void *);
  spec.flags = TARN_TYPE_ELEMENTS_TRACED;
  array_type = tarn_type_create(world, &spec, NULL);
  STRESS_CHECK(leaf && array_type);
}

static void make_roots(tarn_thread *self) {
  for (unsigned i = 0; i < stress.threads; i++) {
    STRESS_EQUAL(tarn_root_add(world, (void **)&kept[i]), TARN_OK);
    kept[i] = tarn_new_array(self, array_type, KEPT);
    STRESS_CHECK(kept[i]);
  }
  for (unsigned i = 0; i < MAIL; i++)
    STRESS_EQUAL(tarn_root_add(world, (void **)&mail[i]), TARN_OK);
}

/* Those that only one that was freed by hand knew are dead, and all others are there. */
static uint64_t count_kept(void) {
  uint64_t count = 0;
  for (unsigned i = 0; i < stress.threads; i++) {
    count++;
    for (size_t k = 0; k < KEPT; k++) {
      const struct object *object = kept[i]->elements[k];
      count += object != NULL;
      count += object && object->type != leaf && object->next;
    }
  }
  for (unsigned i = 0; i < MAIL; i++) {
    count += mail[i] != NULL;
    count += mail[i] && mail[i]->type != leaf && mail[i]->next;
  }
  return count;
}

static void expect_what_was_kept(tarn_thread *self) {
  uint64_t blocks = 0;
  STRESS_EQUAL(tarn_collect(self, TARN_GENERATION_FULL), TARN_OK);
  if (world->config.idle_collect_ns == 0) /* else there may have been one since */
    STRESS_EQUAL(tarn_sweep_left(&world->store), 0);
  STRESS_EQUAL(tarn_heap_walk(self, count_block, &blocks), TARN_OK);
  STRESS_EQUAL(blocks, count_kept());
  STRESS_EQUAL(stress_stats(world).live_objects, blocks);
  memset(kept, 0, sizeof kept);
  memset(mail, 0, sizeof mail);
  STRESS_EQUAL(tarn_collect(self, TARN_GENERATION_FULL), TARN_OK);
  stress_verify(self);
  STRESS_EQUAL(stress_stats(world).pools, 0);
}

int main(int count, char **arguments) {
  stress.threads = 4;
  stress_begin(
      count, arguments,
      "pools that two threads sweep, live blocks given away, and frees lost while sweeping");
  if (stress.threads > MOST_THREADS)
    stress.threads = MOST_THREADS;
  make_world();
  make_types();
  tarn_thread *self = stress_attach(world);
  make_roots(self);
  STRESS_EQUAL(tarn_thread_detach(self), TARN_OK);
  stress_run(world, stress.threads, work, NULL);
  self = stress_attach(world);
  STRESS_CHECK(atomic_load(&unswept_seen) != 0);
  expect_what_was_kept(self);
  STRESS_EQUAL(tarn_thread_detach(self), TARN_OK);
  STRESS_EQUAL(tarn_world_destroy(world), TARN_OK);
  return stress_end();
}
