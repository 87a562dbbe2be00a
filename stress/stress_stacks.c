/* SPDX-License-Identifier: MIT */
/*
 * stress_stacks hunts objects that are lost although a C stack or a register refers to them.
 *
 * The world scans stacks conservatively and no thread has a frame.  Threads build trees by
 * recursion, so that at any time only local variables hold the half-made part, keep interior
 * pointers only, and wait in blocked regions with references in their callee-saved registers, while
 * the others collect.  Every object carries a check that its `free` function destroys.  Words that
 * look like references by chance keep garbage alive: what is counted at the end must have died when
 * all stacks are gone.
 */
#include "common.h"
#include <sched.h>
#include <unistd.h>

#define WIDTH 3u

struct node {
  const tarn_type *type;
  struct node *branches[WIDTH];
  uint64_t seed, check; /* raw */
  unsigned char *raw;   /* traced */
};

static tarn_world *world;
static const tarn_type *node_type;
static _Atomic uint64_t made, freed;

static uint64_t check_of(const struct node *node) { return node->seed * 31 + 7; }

static void destroy(tarn_world *of, void *object) {
  struct node *node = object;
  (void)of;
  STRESS_EQUAL(node->check, check_of(node));
  node->check = 0;
  atomic_fetch_add_explicit(&freed, 1, memory_order_relaxed);
}

static void check(const struct node *node) {
  STRESS_CHECK(node->type == node_type);
  STRESS_EQUAL(node->check, check_of(node));
  if (node->raw)
    STRESS_EQUAL(node->raw[0], (unsigned char)node->seed);
}

static struct node *make(tarn_thread *self, struct stress_random *random) {
  struct node *node = tarn_new(self, node_type);
  STRESS_CHECK(node);
  node->seed = stress_next(random);
  node->check = check_of(node);
  atomic_fetch_add_explicit(&made, 1, memory_order_relaxed);
  return node;
}

/* The parent is in this call's own variables only, until the whole tree is built. */
static struct node *build(tarn_thread *self, struct stress_random *random, unsigned depth) {
  struct node *node = make(self, random);
  unsigned char *raw = tarn_alloc_atomic(self, 16 + stress_below(random, 300));
  STRESS_CHECK(raw);
  raw[0] = (unsigned char)node->seed;
  for (unsigned i = 0; depth > 0 && i < WIDTH; i++) {
    struct node *branch = build(self, random, depth - 1 - (unsigned)stress_below(random, depth));
    node->branches[i] = branch;
  }
  check(node);
  STRESS_EQUAL(raw[0], (unsigned char)node->seed);
  node->raw = raw;
  return node;
}

static uint64_t sum(const struct node *node) {
  uint64_t total = node->seed;
  check(node);
  for (unsigned i = 0; i < WIDTH; i++)
    if (node->branches[i])
      total += sum(node->branches[i]);
  return total;
}

/* Nothing but a pointer into the middle is kept. */
static unsigned char *__attribute__((noinline))
inner(tarn_thread *self, struct stress_random *random) {
  struct node *node = build(self, random, 2);
  return (unsigned char *)&node->seed + 3;
}

static void keep_interior(tarn_thread *self, struct stress_random *random) {
  unsigned char *inside = inner(self, random);
  for (unsigned i = 0; i < 200; i++)
    STRESS_CHECK(tarn_alloc_atomic(self, 1000));
  struct node *node = (struct node *)(void *)(inside - 3 - offsetof(struct node, seed));
  (void)sum(node);
}

static void keep_in_a_blocked_region(tarn_thread *self, struct stress_random *random) {
  struct node *first = build(self, random, 2), *second = build(self, random, 1);
  struct node *third = build(self, random, 1);
  uint64_t sums[3] = {sum(first), sum(second), sum(third)};
  uint64_t naps = stress_below(random, 300);
  tarn_block_begin(self);
  if (naps < 50)
    (void)usleep((unsigned)naps);
  else
    (void)sched_yield();
  tarn_block_end(self);
  STRESS_EQUAL(sum(first), sums[0]);
  STRESS_EQUAL(sum(second), sums[1]);
  STRESS_EQUAL(sum(third), sums[2]);
}

static void keep_over_a_collection(tarn_thread *self, struct stress_random *random) {
  struct node *node = build(self, random, 3);
  uint64_t before = sum(node);
  STRESS_EQUAL(tarn_collect(self, 2), TARN_OK);
  STRESS_EQUAL(sum(node), before);
}

/* Builds a tree whose address nobody can read off the stack. */
static uintptr_t __attribute__((noinline))
build_hidden(tarn_thread *self, struct stress_random *random, uint64_t *total) {
  struct node *node = build(self, random, 1);
  *total = sum(node);
  return ~(uintptr_t)node;
}

/* A callee-saved register is all that refers to the tree while the thread is blocked. */
static void __attribute__((noinline))
keep_in_a_register(tarn_thread *self, struct stress_random *random) {
#if defined(__x86_64__)
  uint64_t total, nap = stress_below(random, 400);
  uintptr_t hidden = build_hidden(self, random, &total);
  register uintptr_t word __asm__("r15") = hidden;
  __asm__ volatile("notq %0" : "+r"(word)); /* the compiler does not know what this is */
  tarn_block_begin(self);
  (void)usleep((unsigned)nap);
  tarn_block_end(self);
  __asm__ volatile("" : "+r"(word));
  STRESS_EQUAL(sum((const struct node *)word), total);
#else
  keep_over_a_collection(self, random); /* which registers to use is known for x86-64 only */
#endif
}

static void __attribute__((noinline)) rounds(tarn_thread *self, unsigned number) {
  struct stress_random random = stress_random_of(number);
  for (uint64_t round = 0; stress_on(&round);) {
    switch (stress_below(&random, 9)) {
    case 0:
      keep_interior(self, &random);
      break;
    case 1:
    case 2:
      keep_in_a_blocked_region(self, &random);
      break;
    case 3:
      keep_over_a_collection(self, &random);
      break;
    case 4:
      keep_in_a_register(self, &random);
      break;
    default:
      (void)sum(build(self, &random, 5));
    }
    if (stress_below(&random, 2000) == 0)
      stress_verify(self);
  }
}

static void work(void *data, unsigned number) {
  (void)data;
  tarn_thread *self = stress_attach(world);
  rounds(self, number);
  if (number % 2)
    STRESS_EQUAL(tarn_thread_detach(self), TARN_OK);
}

int main(int count, char **arguments) {
  stress_begin(count, arguments);
  world = stress_world("scan-stack=on,min-heap=512K");
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = "node";
  spec.size = sizeof(struct node);
  spec.slot_bits = ((1u << WIDTH) - 1) << 1 | 1u << (offsetof(struct node, raw) / 8);
  spec.free = destroy;
  node_type = tarn_type_create(world, &spec, NULL);
  STRESS_CHECK(node_type);
  stress_run(world, stress.threads, work, NULL);

  tarn_thread *self = stress_attach(world);
  STRESS_EQUAL(tarn_thread_scan_stack(self, false), TARN_OK);
  STRESS_EQUAL(tarn_collect(self, 2), TARN_OK);
  stress_verify(self);
  STRESS_EQUAL(stress_stats(world).live_objects, 0);
  STRESS_EQUAL(atomic_load(&freed), atomic_load(&made));
  STRESS_EQUAL(tarn_world_destroy(world), TARN_OK);
  return stress_end();
}
