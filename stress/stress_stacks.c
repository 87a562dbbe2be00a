/* SPDX-License-Identifier: MIT */
/*
 * stress_stacks hunts objects that are lost although a C stack or a register refers to them, and
 * words on stacks that do harm.
 *
 * The world scans stacks conservatively and no thread has a frame.  Threads build trees by
 * recursion, so that at any time only local variables hold the half-made part, keep interior
 * pointers only, and wait in blocked regions with references in their callee-saved registers, while
 * the others collect, mostly the young.  Trees that only a stack knew are stored into old objects
 * on shelves, and taken off them again by others, whose stacks then have the only reference; and
 * into old objects that themselves hang on a stack.  All the time each stack has words that lead to
 * blocks that were freed, to dead ones, also such as wait for their `free` function, and to memory
 * that went back.
 *
 * Every object carries a check that its `free` function destroys.  Words that look like references
 * by chance keep garbage alive: what is counted at the end must have died when all stacks are gone.
 *
 * Three lives, each with a world of its own, have the three policies of generations; the seed
 * chooses their order, and whether each collection is verified.
 */
#include "common.h"
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define WIDTH 3u
#define SHELVES 6u
#define PLACES 40u /* of a shelf: more than two cards */
#define STALE 32u

struct node {
  const tarn_type *type;
  struct node *branches[WIDTH];
  uint64_t seed, check; /* raw */
  unsigned char *raw;   /* traced */
  uint64_t total;       /* raw: of a tree on a shelf, for whoever takes it */
};
struct shelf {
  const tarn_type *type;
  size_t count;
  struct node *trees[PLACES];
};

static tarn_world *world;
static const tarn_type *node_type, *shelf_type;
static struct shelf *shelves[SHELVES]; /* roots, old before the threads start; fields atomic */
static _Atomic uint64_t made, freed;

static uint64_t check_of(const struct node *node) { return node->seed * 31 + 7; }

/* A reference to the object stands here while its own pool is looked at: it must stay dead. */
static void collect_meanwhile(tarn_world *of, const struct node *node) {
  tarn_thread *self = tarn_thread_self(of);
  if (self && node->seed % 1024 == 0)
    STRESS_EQUAL(tarn_collect(self, (int)(node->seed / 1024 % 3)), TARN_OK);
}

static void destroy(tarn_world *of, void *object) {
  struct node *node = object;
  STRESS_EQUAL(node->check, check_of(node));
  collect_meanwhile(of, node);
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
  STRESS_CHECK(node && !node->raw && !node->check);
  for (unsigned i = 0; i < WIDTH; i++)
    STRESS_CHECK(!node->branches[i]);
  node->seed = stress_next(random);
  node->check = check_of(node);
  atomic_fetch_add_explicit(&made, 1, memory_order_relaxed);
  return node;
}

static void store_branch(tarn_thread *self, struct node *node, unsigned i, struct node *branch) {
  tarn_store(self, node, (void **)&node->branches[i], branch);
}

/* The parent is in this call's own variables only, until the whole tree is built. */
static struct node *build(tarn_thread *self, struct stress_random *random, unsigned depth) {
  struct node *node = make(self, random);
  unsigned char *raw = tarn_alloc_atomic(self, 16 + stress_below(random, 300));
  STRESS_CHECK(raw);
  raw[0] = (unsigned char)node->seed;
  for (unsigned i = 0; depth > 0 && i < WIDTH; i++) {
    struct node *branch = build(self, random, depth - 1 - (unsigned)stress_below(random, depth));
    store_branch(self, node, i, branch);
  }
  check(node);
  STRESS_EQUAL(raw[0], (unsigned char)node->seed);
  tarn_store(self, node, (void **)&node->raw, raw);
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

/* Mostly the young, and as often as not by itself. */
static void let_collect(tarn_thread *self, struct stress_random *random) {
  if (stress_below(random, 2))
    STRESS_EQUAL(tarn_collect(self, (int)(stress_below(random, 3) * stress_below(random, 3) / 2)),
                 TARN_OK);
  for (unsigned i = 0; i < 200; i++)
    STRESS_CHECK(tarn_alloc_atomic(self, 1000));
}

/* Nothing but a pointer into the middle is kept. */
static unsigned char *__attribute__((noinline))
inner(tarn_thread *self, struct stress_random *random, size_t at) {
  struct node *node = build(self, random, 2);
  return (unsigned char *)node + at;
}

static void keep_interior(tarn_thread *self, struct stress_random *random) {
  size_t at = 1 + stress_below(random, sizeof(struct node) - 1);
  unsigned char *inside = inner(self, random, at);
  for (unsigned i = 0; i < 3; i++)
    let_collect(self, random);
  struct node *node = (struct node *)(void *)(inside - at);
  (void)sum(node);
}

/* The same with raw bytes, also of several units: of which any but the first may be named. */
static unsigned char *__attribute__((noinline))
inner_bytes(tarn_thread *self, size_t size, size_t at) {
  unsigned char *bytes = tarn_alloc_atomic(self, size);
  STRESS_CHECK(bytes && !bytes[0] && !bytes[size - 1]);
  bytes[0] = (unsigned char)size;
  bytes[size - 1] = (unsigned char)at;
  return bytes + at;
}

static void keep_interior_bytes(tarn_thread *self, struct stress_random *random) {
  size_t size = 16 + stress_below(random, stress_below(random, 2) ? 5000 : 300000);
  size_t at = 1 + stress_below(random, size - 1);
  unsigned char *inside = inner_bytes(self, size, at);
  let_collect(self, random);
  let_collect(self, random);
  STRESS_EQUAL(inside[size - 1 - at], (unsigned char)at);
  STRESS_EQUAL(*(inside - at), (unsigned char)size);
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
  STRESS_EQUAL(tarn_collect(self, (int)stress_below(random, 3)), TARN_OK);
  STRESS_EQUAL(sum(node), before);
}

#if defined(__x86_64__)
#define CALLEE_SAVED "r15"
#define INVERT "notq %0"
#elif defined(__aarch64__)
#define CALLEE_SAVED "x27"
#define INVERT "mvn %0, %0"
#endif

#ifdef CALLEE_SAVED
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
  uint64_t total, nap = stress_below(random, 400);
  uintptr_t hidden = build_hidden(self, random, &total);
  register uintptr_t word __asm__(CALLEE_SAVED) = hidden;
  __asm__ volatile(INVERT : "+r"(word)); /* the compiler does not know what this is */
  tarn_block_begin(self);
  (void)usleep((unsigned)nap);
  tarn_block_end(self);
  __asm__ volatile("" : "+r"(word));
  STRESS_EQUAL(sum((const struct node *)word), total);
}
#else /* which registers to use is not known */
static void keep_in_a_register(tarn_thread *self, struct stress_random *random) {
  keep_over_a_collection(self, random);
}
#endif

/* --- old objects ----------------------------------------------------------------------------- */

/* Whatever was there is dropped.  A tree is taken by one thread, which has it for itself then. */
static void hang_up(tarn_thread *self, struct stress_random *random) {
  struct node *tree = build(self, random, 1 + (unsigned)stress_below(random, 3));
  if (stress_below(random, 4) == 0)
    let_collect(self, random);
  tree->total = sum(tree);
  struct shelf *shelf = shelves[stress_below(random, SHELVES)];
  struct node **slot = &shelf->trees[stress_below(random, PLACES)];
  __atomic_store_n(slot, tree, __ATOMIC_RELEASE);
  tarn_barrier(self, shelf, slot);
}

static struct node *take_down(struct stress_random *random) {
  struct shelf *shelf = shelves[stress_below(random, SHELVES)];
  return __atomic_exchange_n(&shelf->trees[stress_below(random, PLACES)], NULL, __ATOMIC_ACQUIRE);
}

/* The only reference goes from an old object to this stack. */
static void keep_what_hung(tarn_thread *self, struct stress_random *random) {
  struct node *tree = take_down(random);
  if (!tree)
    return;
  uint64_t total = tree->total;
  let_collect(self, random);
  STRESS_EQUAL(sum(tree), total);
}

/* Returns what is there now, and leaves nothing of it to its caller's frame. */
static uint64_t __attribute__((noinline))
renew_branch(tarn_thread *self, struct stress_random *random, struct node *node, unsigned i) {
  struct node *branch = build(self, random, 1);
  store_branch(self, node, i, branch);
  return sum(branch);
}

/* The old object hangs on this stack, the young one on the old. */
static void keep_behind_an_old_object(tarn_thread *self, struct stress_random *random) {
  struct node *node = build(self, random, 1);
  uint64_t totals[WIDTH];
  STRESS_EQUAL(tarn_collect(self, 1 + (int)stress_below(random, 2)), TARN_OK);
  for (unsigned i = 0; i < WIDTH; i++) {
    totals[i] = renew_branch(self, random, node, i);
    STRESS_EQUAL(tarn_collect(self, (int)stress_below(random, 2)), TARN_OK);
  }
  let_collect(self, random);
  for (unsigned i = 0; i < WIDTH; i++)
    STRESS_EQUAL(sum(node->branches[i]), totals[i]);
}

/* --- words that mean nothing any more -------------------------------------------------------- */

struct stale {
  volatile uintptr_t words[STALE];  /* as they are: a scan finds them */
  volatile uintptr_t hidden[STALE]; /* inverted, until their objects may be dead */
};

/* A block of the world, which is freed at once, or with its heap. */
static uintptr_t __attribute__((noinline))
free_a_block(tarn_thread *self, struct stress_random *random) {
  size_t size = 16 + stress_below(random, stress_below(random, 4) ? 3000 : 200000);
  tarn_heap *heap = NULL;
  bool with_heap = stress_below(random, 60) == 0;
  if (with_heap)
    STRESS_EQUAL(tarn_heap_create(world, TARN_HEAP_ATOMIC, &heap), TARN_OK);
  char *block = with_heap ? tarn_heap_alloc(self, heap, size) : tarn_alloc_atomic(self, size);
  STRESS_CHECK(block && !block[0] && !block[size - 1]);
  block[0] = block[size - 1] = 1;
  if (with_heap)
    STRESS_EQUAL(tarn_heap_destroy(self, heap), TARN_OK);
  else
    tarn_free(self, block);
  return (uintptr_t)block + stress_below(random, 2) * stress_below(random, size);
}

/* An object that nobody refers to. */
static uintptr_t __attribute__((noinline))
drop_a_tree(tarn_thread *self, struct stress_random *random) {
  struct node *node = build(self, random, 1);
  if (stress_below(random, 2)) /* old, perhaps */
    let_collect(self, random);
  return ~((uintptr_t)node + stress_below(random, 2) * stress_below(random, sizeof *node));
}

/* Some of them named nothing for a long time, some something new: nobody follows them. */
static void renew_stale(tarn_thread *self, struct stress_random *random, struct stale *stale) {
  unsigned i = (unsigned)stress_below(random, STALE), j = (unsigned)stress_below(random, STALE);
  stale->words[i] = stress_below(random, 2) ? free_a_block(self, random) : ~stale->hidden[j];
  stale->hidden[j] = drop_a_tree(self, random);
  if (stress_below(random, 100) == 0)
    (void)tarn_trim(world, 0);
  let_collect(self, random);
}

/* --- a thread -------------------------------------------------------------------------------- */

static void act(tarn_thread *self, struct stress_random *random, struct stale *stale) {
  switch (stress_below(random, 16)) {
  case 0:
    keep_interior(self, random);
    break;
  case 1:
    keep_interior_bytes(self, random);
    break;
  case 2:
  case 3:
    keep_in_a_blocked_region(self, random);
    break;
  case 4:
    keep_over_a_collection(self, random);
    break;
  case 5:
  case 6:
    keep_in_a_register(self, random);
    break;
  case 7:
    keep_behind_an_old_object(self, random);
    break;
  case 8:
  case 9:
    hang_up(self, random);
    break;
  case 10:
    keep_what_hung(self, random);
    break;
  case 11:
  case 12:
    renew_stale(self, random, stale);
    break;
  default:
    (void)sum(build(self, random, 4));
  }
}

static void __attribute__((noinline)) rounds(tarn_thread *self, struct stress_random *random) {
  struct stale stale = {.words = {0}};
  for (uint64_t round = 0; stress_on(&round);) {
    act(self, random, &stale);
    tarn_safepoint(self);
    if (stress_below(random, 2000) == 0)
      stress_verify(self);
  }
}

static void work(void *data, unsigned number) {
  const unsigned *life = data;
  struct stress_random random = stress_random_of(65 * *life + number + 1);
  tarn_thread *self = stress_attach(world);
  rounds(self, &random);
  if (number % 2)
    STRESS_EQUAL(tarn_thread_detach(self), TARN_OK);
}

/* --- start and end --------------------------------------------------------------------------- */

static void make_world(unsigned life) {
  struct stress_random random = stress_random_of(65 * life);
  static const char *const policies[] = {"pools", "first-pool", "none"};
  bool verify = stress_below(&random, 4) == 0;
  unsigned young = verify ? 1024 : 64u << stress_below(&random, 3); /* KiB */
  char set[120];
  (void)snprintf(set, sizeof set, "scan-stack=on,min-heap=512K,generations=%s,young=%uK,verify=%u",
                 policies[(stress.seed + life) % 3], young, verify);
  fprintf(stderr, "  %s\n", set);
  world = stress_barrier_world(set);
}

static void make_types(void) {
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = "node";
  spec.size = sizeof(struct node);
  spec.slot_bits = ((1u << WIDTH) - 1) << 1 | 1u << (offsetof(struct node, raw) / 8);
  spec.free = destroy;
  node_type = tarn_type_create(world, &spec, NULL);
  spec = (tarn_type_spec){.struct_size = sizeof spec,
                          .name = "shelf",
                          .size = offsetof(struct shelf, trees),
                          .element_size = sizeof(void *),
                          .flags = TARN_TYPE_ELEMENTS_TRACED};
  shelf_type = tarn_type_create(world, &spec, NULL);
  STRESS_CHECK(node_type && shelf_type);
}

static void make_shelves(void) {
  tarn_thread *self = stress_attach(world);
  for (unsigned i = 0; i < SHELVES; i++) {
    shelves[i] = NULL;
    STRESS_EQUAL(tarn_root_add(world, (void **)&shelves[i]), TARN_OK);
    shelves[i] = tarn_new_array(self, shelf_type, PLACES);
    STRESS_CHECK(shelves[i]);
  }
  STRESS_EQUAL(tarn_collect(self, 2), TARN_OK);
  STRESS_EQUAL(tarn_thread_detach(self), TARN_OK);
}

static void end_world(void) {
  tarn_thread *self = stress_attach(world);
  STRESS_EQUAL(tarn_thread_scan_stack(self, false), TARN_OK);
  for (unsigned i = 0; i < SHELVES; i++)
    STRESS_EQUAL(tarn_root_remove(world, (void **)&shelves[i]), TARN_OK);
  STRESS_EQUAL(tarn_collect(self, 2), TARN_OK);
  stress_verify(self);
  STRESS_EQUAL(stress_stats(world).live_objects, 0);
  STRESS_EQUAL(atomic_load(&freed), atomic_load(&made));
  STRESS_EQUAL(tarn_world_destroy(world), TARN_OK);
}

int main(int count, char **arguments) {
  stress_begin(count, arguments,
               "objects that are lost although a C stack or a register refers to them");
  for (unsigned life = 0; life < 3; life++) {
    make_world(life);
    make_types();
    make_shelves();
    stress_run_for(stress.seconds * 1000 / 3);
    stress_run(world, stress.threads, work, &life);
    end_world();
  }
  return stress_end();
}
