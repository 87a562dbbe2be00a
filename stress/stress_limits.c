/* SPDX-License-Identifier: MIT */
/*
 * stress_limits hunts what goes wrong when several threads come to a limit at the same time:
 * allocations that fail for another reason, or though there is room again; a heap that becomes
 * larger than it may; accounts of external bytes that go wrong; and what was half made when memory
 * ran out.
 *
 * Each thread has a list of nodes of several sizes, small and large, some with a raw block behind
 * them and with external bytes, which are told of when a node is made and taken off in its `free`
 * function.  Rounds of phases, in each of which all threads do the same:
 *
 *   fill      until each was refused several times; the second time some move the limit meanwhile,
 *             and a callback raises it
 *   recover   every second one lets go and collects; then it gets half of the same again, at once
 *   external  small nodes with many external bytes are made and dropped: these stay few
 *   soft      a soft limit lies above what lives: nothing is refused, and collections come sooner
 *
 * After each phase all that lists have is whole, external bytes are exactly what their nodes have,
 * and as many `free` functions ran as nodes are gone.
 */
#include "common.h"
#include <stdio.h>
#include <string.h>

#define MOST_THREADS 64u
#define MIB ((size_t)1 << 20)
#define LIMIT_EACH (4 * MIB) /* for each thread, which has a pool of each size at least */
#define EXTERNAL_EACH ((size_t)96 << 10)
/* Each thread has four nodes, live; more become old before they die, and wait for a full
 * collection, then for their `free` functions.  A generous bound on all that: */
#define EXTERNAL_MOST (64 * MIB + stress.threads * 160 * EXTERNAL_EACH)
#define SIZES 4u

struct node {
  const tarn_type *type;
  struct node *next;
  unsigned char *raw; /* traced: a raw block, or nothing */
  uint64_t words;     /* a count of elements if it is an array; raw from here on */
  uint64_t number, external, raw_size, check;
  uint64_t body[];
};

static struct own {
  struct node *list; /* root */
  uint64_t nodes, external;
  uint64_t seed;    /* of the shapes */
  uint64_t refused; /* in this phase */
  bool smallest;    /* nodes only, so that the slow path is rare */
  char room[16];    /* a cache line each */
} owns[MOST_THREADS];

static tarn_world *world;
static const tarn_type *types[SIZES], *array_type;
/* Few, for each thread has a pool of each. */
static const size_t sizes[SIZES] = {96, 256, 1024, 8192}, raw_sizes[] = {0, 0, 0, 48, 2000};
static _Atomic uint64_t numbers, made, freed, refusals, near_calls, raises, recovered, passed_by;
static _Atomic size_t external_most;

/* The hard limit, and as far as the callback raises it. */
static size_t limit_low, limit_high;
static unsigned phases; /* the main thread counts them, between phases */

static struct stress_random random_of(unsigned number) {
  return stress_random_of(phases * MOST_THREADS + number);
}

static void run(void (*phase)(void *, unsigned)) {
  phases++;
  stress_run(world, stress.threads, phase, NULL);
}

static uint64_t check_of(const struct node *node) {
  return (node->number + node->external * 3 + node->raw_size * 5) * 0x9e3779b97f4a7c15u + 1;
}

static void on_free(tarn_world *of, void *object) {
  struct node *node = object;
  STRESS_CHECK(of == world);
  STRESS_EQUAL(node->check, check_of(node));
  node->check = 0; /* a second time would be seen */
  if (node->external)
    STRESS_EQUAL(tarn_external_adjust(world, -(ptrdiff_t)node->external), TARN_OK);
  (void)atomic_fetch_add_explicit(&freed, 1, memory_order_relaxed);
}

/* On the thread that collected, with the world running. */
static size_t near_limit(tarn_world *of, size_t limit, size_t in_use, void *data) {
  (void)data;
  STRESS_CHECK(of == world && limit > 0 && in_use > 0);
  (void)atomic_fetch_add_explicit(&near_calls, 1, memory_order_relaxed);
  size_t more = limit + MIB / 8;
  if (more > limit_high || limit < limit_low / 2)
    return limit;
  (void)atomic_fetch_add_explicit(&raises, 1, memory_order_relaxed);
  return more;
}

/* --- nodes ----------------------------------------------------------------------------------- */

/* The limit, and nothing else, is a reason; there was a chance of a collection. */
static void *got(tarn_thread *self, struct own *own, void *block) {
  if (block)
    return block;
  STRESS_EQUAL(tarn_thread_status(self), TARN_ELIMIT);
  own->refused++;
  (void)atomic_fetch_add_explicit(&refusals, 1, memory_order_relaxed);
  return NULL;
}

static struct node *new_node(tarn_thread *self, struct own *own, struct stress_random *shapes) {
  uint64_t kind = own->smallest ? SIZES : stress_below(shapes, 40);
  if (kind > 0)
    return got(self, own, tarn_new(self, types[kind % SIZES]));
  size_t bytes = TARN_LARGE_LIMIT + (size_t)stress_below(shapes, 200000);
  return got(self, own, tarn_new_array(self, array_type, bytes / 8));
}

static size_t body_of(const struct node *node) { /* words */
  return node->type == array_type ? node->words : (tarn_type_size(node->type) - sizeof *node) / 8;
}

/* False: refused.  What there is of the node then is whole, and garbage. */
static bool add_node(tarn_thread *self, struct own *own, struct stress_random *shapes,
                     uint64_t external) {
  struct node *node = new_node(self, own, shapes);
  if (!node)
    return false;
  STRESS_CHECK(!node->next && !node->raw && node->number == 0 && node->check == 0);
  node->number = atomic_fetch_add_explicit(&numbers, 1, memory_order_relaxed);
  for (size_t i = 0; i < body_of(node); i += 31) {
    STRESS_EQUAL(node->body[i], 0);
    node->body[i] = node->number + i;
  }
  node->external = external;
  if (external)
    STRESS_EQUAL(tarn_external_adjust(world, (ptrdiff_t)external), TARN_OK);
  node->check = check_of(node);
  (void)atomic_fetch_add_explicit(&made, 1, memory_order_relaxed);
  TARN_FRAME(self, (void *)&node);
  size_t raw =
      own->smallest ? 0 : raw_sizes[stress_below(shapes, sizeof raw_sizes / sizeof raw_sizes[0])];
  if (raw) {
    void *block = got(self, own, tarn_alloc_atomic(self, raw));
    if (!block)
      return false;
    tarn_store(self, node, (void **)&node->raw, block);
    memset(node->raw, (int)(node->number & 0xff), raw);
    node->raw_size = raw;
    node->check = check_of(node);
  }
  tarn_store(self, node, (void **)&node->next, own->list);
  own->list = node;
  own->nodes++;
  own->external += external;
  return true;
}

static void check_node(const struct node *node) {
  STRESS_EQUAL(node->check, check_of(node));
  for (size_t i = 0; i < body_of(node); i += 31)
    STRESS_EQUAL(node->body[i], node->number + i);
  STRESS_CHECK(!node->raw == (node->raw_size == 0));
  for (size_t i = 0; i < node->raw_size; i += 57)
    STRESS_EQUAL(node->raw[i], node->number & 0xff);
}

static void check_list(const struct own *own) {
  uint64_t nodes = 0, external = 0;
  for (const struct node *node = own->list; node; node = node->next) {
    check_node(node);
    nodes++;
    external += node->external;
  }
  STRESS_EQUAL(nodes, own->nodes);
  STRESS_EQUAL(external, own->external);
}

static void let_go(struct own *own) {
  own->list = NULL;
  own->nodes = own->external = 0;
}

/* --- phases ---------------------------------------------------------------------------------- */

static bool limit_moves; /* the main thread changes it, between phases */

static void fill(void *data, unsigned number) {
  struct own *own = &owns[number];
  struct stress_random random = random_of(number), shapes;
  tarn_thread *self = stress_attach(world);
  (void)data;
  own->seed = stress_next(&random) | 1;
  shapes.state = own->seed;
  for (own->refused = 0; own->refused < 3;) {
    uint64_t external = stress_below(&random, 4) ? 0 : stress_below(&random, 5000);
    if (!add_node(self, own, &shapes, external))
      shapes.state = own->seed = stress_next(&random) | 1; /* what comes is of another sequence */
    tarn_safepoint(self);
    if (limit_moves && stress_below(&random, 400) == 0) /* lower than what there is, too */
      STRESS_EQUAL(tarn_world_set_limits(world, 0, limit_low - stress_below(&random, 2) * MIB),
                   TARN_OK);
    stress_step();
  }
  check_list(own);
  STRESS_EQUAL(tarn_thread_detach(self), TARN_OK);
}

/* So many nodes fitted, so half as many of the same sizes do again, for the others take no more
 * than a half of what they let go, either. */
static void recover(void *data, unsigned number) {
  struct own *own = &owns[number];
  struct stress_random shapes = {.state = own->seed};
  (void)data;
  if (number % 2)
    return;
  tarn_thread *self = stress_attach(world);
  uint64_t half = own->nodes / 2;
  let_go(own);
  STRESS_EQUAL(tarn_collect(self, TARN_GENERATION_FULL), TARN_OK);
  for (uint64_t i = 0; i < half; i++) {
    if (!add_node(self, own, &shapes, 0))
      stress_fail(__FILE__, __LINE__, "refused after %llu of %llu nodes, though twice as many went",
                  (unsigned long long)i, (unsigned long long)half);
    tarn_safepoint(self);
    (void)atomic_fetch_add_explicit(&recovered, 1, memory_order_relaxed);
  }
  check_list(own);
  STRESS_EQUAL(tarn_thread_detach(self), TARN_OK);
}

static void note_external(void) {
  size_t now = stress_stats(world).external_bytes;
  size_t most = atomic_load_explicit(&external_most, memory_order_relaxed);
  while (now > most && !atomic_compare_exchange_weak(&external_most, &most, now))
    ;
  if (now > EXTERNAL_MOST)
    stress_fail(__FILE__, __LINE__, "%zu external bytes, and no collection", now);
}

/* All that it makes it drops, and what is told of follows. */
static void pass_external(void *data, unsigned number) {
  struct stress_random random = random_of(number);
  struct own own = {.smallest = true};
  tarn_thread *self = stress_attach(world);
  (void)data;
  {
    TARN_FRAME(self, (void *)&own.list);
    for (unsigned i = 0; i < 900; i++) {
      if (!add_node(self, &own, &random, EXTERNAL_EACH))
        stress_fail(__FILE__, __LINE__, "refused, without a limit");
      (void)atomic_fetch_add_explicit(&passed_by, EXTERNAL_EACH, memory_order_relaxed);
      if (i % 4 == 0)
        let_go(&own);
      tarn_safepoint(self);
      note_external();
    }
  }
  STRESS_EQUAL(tarn_thread_detach(self), TARN_OK);
}

static void use_soft(void *data, unsigned number) {
  struct stress_random random = random_of(number);
  struct own own = {0};
  tarn_thread *self = stress_attach(world);
  (void)data;
  {
    TARN_FRAME(self, (void *)&own.list);
    for (unsigned i = 0; i < 2000; i++) {
      if (!add_node(self, &own, &random, stress_below(&random, 2000)))
        stress_fail(__FILE__, __LINE__, "refused, with a soft limit only");
      if (own.nodes > 100)
        let_go(&own);
      tarn_safepoint(self);
    }
    check_list(&own);
    tarn_gc_hold(self); /* inside a hold the heap may grow */
    for (unsigned i = 0; i < 50; i++)
      STRESS_CHECK(add_node(self, &own, &random, 0));
    tarn_gc_release(self);
    check_list(&own);
  }
  STRESS_EQUAL(tarn_thread_detach(self), TARN_OK);
}

/* --- between phases -------------------------------------------------------------------------- */

static void check_all(size_t most) {
  tarn_thread *self = stress_attach(world);
  uint64_t nodes = 0, external = 0;
  STRESS_EQUAL(tarn_collect(self, TARN_GENERATION_FULL), TARN_OK);
  (void)tarn_release_pending(self, 0);
  for (unsigned i = 0; i < stress.threads; i++) {
    check_list(&owns[i]);
    nodes += owns[i].nodes;
    external += owns[i].external;
  }
  tarn_stats stats = stress_stats(world);
  STRESS_EQUAL(atomic_load(&made) - atomic_load(&freed), nodes);
  STRESS_EQUAL(stats.external_bytes, external);
  STRESS_CHECK(most == 0 || stats.heap_bytes_max <= most);
  stress_verify(self);
  STRESS_EQUAL(tarn_thread_detach(self), TARN_OK);
}

/* `most`: what the limit was at its highest, in this life of a world. */
static void use_hard_limit(size_t most) {
  STRESS_EQUAL(tarn_world_set_limits(world, 0, limit_low), TARN_OK);
  limit_moves = most > limit_low;
  STRESS_EQUAL(tarn_world_set_near_limit(world, limit_moves ? near_limit : NULL, NULL), TARN_OK);
  for (unsigned i = 0; i < stress.threads; i++)
    let_go(&owns[i]);
  run(fill);
  STRESS_EQUAL(tarn_world_set_limits(world, 0, most), TARN_OK);
  check_all(most);
  run(recover);
  check_all(most);
}

static void use_others(void) {
  for (unsigned i = 0; i < stress.threads; i++)
    let_go(&owns[i]);
  run(pass_external);
  check_all(0);
  uint64_t before = stress_stats(world).collections;
  STRESS_EQUAL(tarn_world_set_limits(world, 8 * MIB, 0), TARN_OK);
  run(use_soft);
  check_all(0);
  STRESS_CHECK(stress_stats(world).collections > before + 1); /* not only that of check_all */
}

static void make_types(void) {
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.slot_bits = 3 << 1;
  spec.free = on_free;
  for (unsigned i = 0; i < SIZES; i++) {
    spec.name = "node";
    spec.size = sizes[i];
    types[i] = tarn_type_create(world, &spec, NULL);
    STRESS_CHECK(types[i]);
  }
  spec.name = "array";
  spec.size = sizeof(struct node);
  spec.element_size = 8;
  spec.count_word = offsetof(struct node, words) / 8;
  array_type = tarn_type_create(world, &spec, NULL);
  STRESS_CHECK(array_type);
}

/* A life begins without any memory, so that what it had at most is told anew. */
static void live(unsigned number) {
  world = (stress.seed + number) % 2
              ? stress_world("near-limit=70,min-heap=4M")
              : stress_barrier_world("near-limit=70,min-heap=4M,young=512K,young-share=0");
  make_types();
  memset(owns, 0, sizeof owns);
  atomic_store(&made, 0);
  atomic_store(&freed, 0);
  for (unsigned i = 0; i < stress.threads; i++)
    STRESS_EQUAL(tarn_root_add(world, (void **)&owns[i].list), TARN_OK);
  use_hard_limit(limit_low);
  use_hard_limit(limit_high);
  STRESS_EQUAL(tarn_world_set_near_limit(world, NULL, NULL), TARN_OK);
  tarn_stats stats = stress_stats(world);
  STRESS_CHECK(stats.hard_limit_collections > 0);
  STRESS_EQUAL(tarn_world_set_limits(world, 0, 0), TARN_OK);
  use_others();
  STRESS_EQUAL(tarn_world_destroy(world), TARN_OK);
  STRESS_EQUAL(atomic_load(&freed), atomic_load(&made));
}

int main(int count, char **arguments) {
  stress_begin(
      count, arguments,
      "what goes wrong when several threads reach a hard limit, or tell of external bytes");
  uint64_t round = 0;
  unsigned lives = 0;
  stress.rounds_least = 2;
  limit_low = LIMIT_EACH * (stress.threads < 4 ? 4 : stress.threads);
  limit_high = limit_low + 2 * MIB;
  do
    live(lives++);
  while (stress_on(&round));
  fprintf(
      stderr,
      "  %u lives, %llu refusals, %llu made again, near the limit %llu times, raised %llu times;"
      " external: %llu MiB passed, %llu KiB at most\n",
      lives, (unsigned long long)atomic_load(&refusals),
      (unsigned long long)atomic_load(&recovered), (unsigned long long)atomic_load(&near_calls),
      (unsigned long long)atomic_load(&raises), (unsigned long long)(atomic_load(&passed_by) / MIB),
      (unsigned long long)atomic_load(&external_most) / 1024);
  STRESS_CHECK(atomic_load(&refusals) > 0 && atomic_load(&recovered) > 0);
  STRESS_CHECK(atomic_load(&near_calls) > 0 && atomic_load(&raises) > 0);
  STRESS_CHECK(atomic_load(&external_most) > EXTERNAL_EACH);
  return stress_end();
}
