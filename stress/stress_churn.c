/* SPDX-License-Identifier: MIT */
/*
 * stress_churn hunts objects that are lost, overwritten, handed out twice or not zeroed while
 * threads come and go.
 *
 * Short-lived threads build trees of objects and raw blocks of 16 bytes to 200 KiB, each with a
 * checksum, check all of it now and then, put some into global roots, take up what dead threads
 * left there, and end: some detach, some simply return.  Collections come by themselves and by
 * request.  Every object has a `free` function; at the end the number made must be the number
 * freed.
 */
#include "common.h"
#include <string.h>

#define SHELVES 64u
#define BRANCHES 3u

/* What a node refers to: other nodes, and a raw block. */
struct node {
  const tarn_type *type;
  struct node *branches[BRANCHES];
  unsigned char *raw;
  uint64_t raw_size; /* from here on raw words */
  uint64_t seed;
  uint64_t check;
};

static tarn_world *world;
static const tarn_type *node_type, *plain_type;
static _Atomic uint64_t made, freed, damaged;

/* Roots that outlive threads.  A shelf's lock is taken in blocked regions only. */
static struct shelf {
  pthread_mutex_t lock;
  void *tree;
} shelves[SHELVES];

static uint64_t check_of(const struct node *node) {
  return (node->seed ^ node->raw_size * 0x9e3779b97f4a7c15u) + 12345;
}

static void count_freed(tarn_world *of, void *object) {
  struct node *node = object;
  (void)of;
  if (node->check != check_of(node))
    atomic_fetch_add_explicit(&damaged, 1, memory_order_relaxed);
  node->check = 0; /* a second time would be seen */
  atomic_fetch_add_explicit(&freed, 1, memory_order_relaxed);
}

static size_t some_size(struct stress_random *random) {
  switch (stress_below(random, 40)) {
  case 0:
    return 16 + (size_t)stress_below(random, 200 * 1024);
  case 1:
    return 16 + (size_t)stress_below(random, 40 * 1024);
  case 2:
  case 3:
  case 4:
    return 16 + (size_t)stress_below(random, 4096);
  default:
    return 16 + (size_t)stress_below(random, 240);
  }
}

/* The pattern is sparse, so that large blocks cost little. */
static size_t stride_of(size_t size) { return size < 512 ? 1 : size / 97; }

static void fill(struct node *node) {
  size_t stride = stride_of(node->raw_size);
  for (size_t i = 0; i < node->raw_size; i += stride) {
    if (node->raw[i] != 0)
      stress_fail(__FILE__, __LINE__, "byte %zu of a new block of %llu is %#x", i,
                  (unsigned long long)node->raw_size, node->raw[i]);
    node->raw[i] = (unsigned char)(node->seed + i);
  }
}

static void check(const struct node *node) {
  STRESS_CHECK(node->type == node_type || node->type == plain_type);
  STRESS_EQUAL(node->check, check_of(node));
  size_t stride = stride_of(node->raw_size);
  for (size_t i = 0; i < node->raw_size; i += stride)
    STRESS_EQUAL(node->raw[i], (unsigned char)(node->seed + i));
}

static size_t check_tree(tarn_thread *self, const struct node *node, unsigned depth) {
  if (!node || depth == 0)
    return 0;
  size_t count = 1;
  check(node);
  for (unsigned i = 0; i < BRANCHES; i++)
    count += check_tree(self, node->branches[i], depth - 1);
  return count;
}

static struct node *make(tarn_thread *self, struct stress_random *random) {
  bool counted = stress_below(random, 2);
  struct node *node = tarn_new(self, counted ? node_type : plain_type);
  STRESS_CHECK(node);
  for (size_t i = 1; i < sizeof *node / 8; i++)
    STRESS_EQUAL(((uint64_t *)(void *)node)[i], 0);
  /* Whole before the next safepoint, so that its function finds it so. */
  node->seed = stress_next(random);
  node->check = check_of(node);
  if (counted)
    atomic_fetch_add_explicit(&made, 1, memory_order_relaxed);
  TARN_FRAME(self, (void *)&node);
  size_t size = some_size(random);
  node->raw = tarn_alloc_atomic(self, size);
  STRESS_CHECK(node->raw);
  node->raw_size = size;
  node->check = check_of(node);
  fill(node);
  return node;
}

/* Adds `count` nodes below random places of the tree. */
static void grow(tarn_thread *self, struct stress_random *random, struct node **tree,
                 unsigned count) {
  for (unsigned i = 0; i < count; i++) {
    struct node *node = make(self, random);
    struct node **place = tree;
    while (*place)
      place = &(*place)->branches[stress_below(random, BRANCHES)];
    *place = node;
  }
}

static void prune(struct stress_random *random, struct node *tree) {
  for (unsigned depth = 0; tree && depth < 12; depth++) {
    unsigned branch = (unsigned)stress_below(random, BRANCHES);
    if (depth > 1 && stress_below(random, 3) == 0) {
      tree->branches[branch] = NULL;
      return;
    }
    tree = tree->branches[branch];
  }
}

/* The word stays behind in its traced slot, and may come to name somebody else's block. */
static void free_raw(tarn_thread *self, struct stress_random *random, struct node *tree) {
  for (; tree; tree = tree->branches[stress_below(random, BRANCHES)])
    if (tree->raw_size && stress_below(random, 3) == 0) {
      tree->raw_size = 0;
      tree->check = check_of(tree);
      tarn_free(self, tree->raw);
      return;
    }
}

static void swap(tarn_thread *self, struct stress_random *random, struct node **tree) {
  struct shelf *shelf = &shelves[stress_below(random, SHELVES)];
  tarn_block_begin(self);
  (void)pthread_mutex_lock(&shelf->lock);
  tarn_block_end(self); /* a collection may be on: the lock is kept for it, nobody running waits */
  struct node *other = shelf->tree;
  shelf->tree = *tree;
  *tree = other;
  (void)pthread_mutex_unlock(&shelf->lock);
}

static void live(tarn_thread *self, struct stress_random *random) {
  struct node *tree = NULL, *second = NULL;
  TARN_FRAME(self, (void *)&tree, (void *)&second);
  uint64_t rounds = 5 + stress_below(random, 20);
  for (uint64_t round = 0; round < rounds; round++) {
    if (stress_below(random, 4) == 0) {
      struct node *other = tree;
      tree = second;
      second = other;
    }
    grow(self, random, &tree, 1 + (unsigned)stress_below(random, 60));
    switch (stress_below(random, 9)) {
    case 0:
      prune(random, tree);
      break;
    case 5:
      free_raw(self, random, tree);
      break;
    case 1:
      (void)check_tree(self, tree, 40);
      break;
    case 2:
      swap(self, random, &tree);
      break;
    case 3:
      tree = NULL;
      break;
    case 4:
      if (stress_below(random, 8) == 0) {
        STRESS_EQUAL(tarn_collect(self, 2), TARN_OK);
        (void)check_tree(self, tree, 40);
      }
      break;
    default:
      tarn_safepoint(self);
    }
  }
  swap(self, random, &tree);
  (void)check_tree(self, tree, 40);
  (void)check_tree(self, second, 40);
  if (stress_below(random, 50) == 0)
    stress_verify(self);
}

static void *one_life(void *data) {
  struct stress_random *random = data;
  tarn_thread *self = stress_attach(world);
  live(self, random);
  uint64_t leaves_open = stress_below(random, 6);
  if (leaves_open == 0)
    tarn_gc_hold(self);
  else if (leaves_open == 1)
    tarn_block_begin(self);
  if (stress_below(random, 2))
    STRESS_EQUAL(tarn_thread_detach(self), leaves_open < 2 ? TARN_EUNBALANCED : TARN_OK);
  return NULL; /* else: dies attached */
}

static void work(void *data, unsigned number) {
  struct stress_random random = stress_random_of(number);
  (void)data;
  for (uint64_t round = 0; stress_on(&round);) {
    pthread_t thread;
    STRESS_EQUAL(pthread_create(&thread, NULL, one_life, &random), 0);
    STRESS_EQUAL(pthread_join(thread, NULL), 0);
  }
}

static const tarn_type *make_type(const char *name, tarn_free_fn fn) {
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = name;
  spec.size = sizeof(struct node);
  spec.slot_bits = ((1u << (BRANCHES + 1)) - 1) << 1;
  spec.free = fn;
  const tarn_type *type = tarn_type_create(world, &spec, NULL);
  STRESS_CHECK(type);
  return type;
}

int main(int count, char **arguments) {
  stress_begin(count, arguments,
               "objects that are lost, overwritten, handed out twice or not zeroed while threads "
               "come and go");
  world = stress_world("min-heap=2M");
  node_type = make_type("counted node", count_freed);
  plain_type = make_type("plain node", NULL);
  for (unsigned i = 0; i < SHELVES; i++) {
    (void)pthread_mutex_init(&shelves[i].lock, NULL);
    STRESS_EQUAL(tarn_root_add(world, &shelves[i].tree), TARN_OK);
  }
  stress_run(world, stress.threads, work, NULL);

  STRESS_EQUAL(stress_stats(world).threads, 0);
  tarn_thread *self = stress_attach(world);
  stress_verify(self);
  size_t live_nodes = 0;
  for (unsigned i = 0; i < SHELVES; i++)
    live_nodes += check_tree(self, shelves[i].tree, 1000);
  STRESS_CHECK(live_nodes > 0);
  STRESS_EQUAL(tarn_collect(self, 2), TARN_OK);
  for (unsigned i = 0; i < SHELVES; i++) {
    (void)check_tree(self, shelves[i].tree, 1000);
    shelves[i].tree = NULL;
  }
  STRESS_EQUAL(tarn_collect(self, 2), TARN_OK);
  stress_verify(self);
  STRESS_EQUAL(stress_stats(world).live_objects, 0);
  STRESS_EQUAL(atomic_load(&freed), atomic_load(&made));
  STRESS_EQUAL(atomic_load(&damaged), 0);
  STRESS_EQUAL(tarn_world_destroy(world), TARN_OK);
  STRESS_EQUAL(atomic_load(&freed), atomic_load(&made));
  return stress_end();
}
