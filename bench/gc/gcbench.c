/* SPDX-License-Identifier: MIT */
/*
 * bench/gc/gcbench.c: trees that come and go beside some that stay, in a heap of a given size.
 *
 *   gc_gcbench_PEER THREADS PERCENT DEPTH
 *
 * In the manner of GCBench, written anew. Each thread keeps a tree of DEPTH and an array of doubles
 * as large as half of that tree, and then builds trees of 4, 6 ... DEPTH, top down and bottom up,
 * as many of each depth as have twice the nodes of a tree of DEPTH. With each node comes garbage
 * without pointers: none, 2, 4, 8 ... 256 words, each half as likely as the one before. Live are at
 * most the tree, the array and one more tree of DEPTH for each thread; the heap is as large as
 * PERCENT of that, by the bytes that the program asks for.
 */
#include "jobs.h"

struct node {
  const void *type;
  struct node *left, *right;
  uintptr_t number;
};

struct array {
  const void *type;
  size_t count;
  double values[];
};

static struct shape node_shape = {
    .name = "node", .size = sizeof(struct node), .slots = 1u << 1 | 1u << 2};
static struct shape array_shape = {.name = "doubles", .size = sizeof(struct array), .array = true};

static unsigned most_depth;

enum { LEAST_DEPTH = 4, GARBAGE_MOST = 8 };

struct state {
  struct mutator *mutator;
  uint64_t random, nodes, garbage;
};

static uint64_t tree_nodes(unsigned depth) { return ((uint64_t)2 << depth) - 1; }

static struct array *make_array(struct state *state, size_t count) {
  struct array *array = array_new(state->mutator, &array_shape, count);
  if (!array)
    subject_fail(SUBJECT, "out of memory");
  array->values[0] = array->values[count - 1] = 1;
  return array;
}

/* Callers hold what they need in roots: this may collect twice. */
static struct node *make_node(struct state *state) {
  unsigned power = (unsigned)__builtin_ctzll(random_next(&state->random) | 1u << GARBAGE_MOST);
  if (power > 0) {
    make_array(state, (size_t)1 << power);
    state->garbage += (uint64_t)1 << power;
  }
  struct node *node = object_new(state->mutator, &node_shape);
  if (!node)
    subject_fail(SUBJECT, "out of memory");
  node->number = ++state->nodes;
  return node;
}

static struct node *bottom_up(struct state *state, unsigned depth) {
  struct node *left = NULL, *right = NULL;
  ROOTS(state->mutator, &left, &right);
  if (depth > 0) {
    left = bottom_up(state, depth - 1);
    right = bottom_up(state, depth - 1);
  }
  struct node *node = make_node(state);
  node->left = left;
  node->right = right;
  return node;
}

static void top_down(struct state *state, unsigned depth, struct node *node) {
  if (depth == 0)
    return;
  ROOTS(state->mutator, &node);
  struct node *child = make_node(state);
  object_store(state->mutator, node, &node->left, child);
  child = make_node(state);
  object_store(state->mutator, node, &node->right, child);
  top_down(state, depth - 1, node->left);
  top_down(state, depth - 1, node->right);
}

static struct node *top_down_tree(struct state *state, unsigned depth) {
  struct node *tree = make_node(state);
  ROOTS(state->mutator, &tree);
  top_down(state, depth, tree);
  return tree;
}

/* Temporary trees are read along both edges, the lasting one all over. */
static uint64_t edges(const struct node *tree) {
  uint64_t sum = 0;
  for (const struct node *node = tree; node; node = node->left)
    sum += node->number;
  for (const struct node *node = tree; node; node = node->right)
    sum += node->number;
  return sum;
}

static uint64_t total(const struct node *tree) {
  return tree ? tree->number + total(tree->left) + total(tree->right) : 0;
}

static uint64_t come_and_go(struct state *state) {
  uint64_t sum = 0;
  for (unsigned depth = LEAST_DEPTH; depth <= most_depth; depth += 2)
    for (uint64_t i = 2 * tree_nodes(most_depth) / tree_nodes(depth); i > 0; i--) {
      sum += edges(top_down_tree(state, depth));
      sum += edges(bottom_up(state, depth));
    }
  return sum;
}

static size_t array_count(void) {
  return (size_t)tree_nodes(most_depth) * sizeof(struct node) / 2 / sizeof(double);
}

static uint64_t work(struct mutator *mutator, struct job *job) {
  struct state state = {.mutator = mutator, .random = job->index + 1};
  struct node *lasting = NULL;
  struct array *array = NULL;
  ROOTS(mutator, &lasting, &array);
  lasting = bottom_up(&state, most_depth);
  array = make_array(&state, array_count());
  for (size_t i = 0; i < array->count; i++)
    array->values[i] = (double)(i % 1000);
  uint64_t sum = come_and_go(&state);
  for (size_t i = 0; i < array->count; i++)
    sum += (uint64_t)array->values[i];
  struct node *both = make_node(&state);
  both->left = lasting;
  both->right = (struct node *)(void *)array;
  *job->keep = both;
  return sum + total(lasting) + state.nodes + state.garbage;
}

/* Of one thread, at most. */
static size_t live_bytes(void) {
  return 2 * (size_t)tree_nodes(most_depth) * sizeof(struct node) + 8 * array_count();
}

static double objects(unsigned threads) {
  double trees = 1;
  for (unsigned depth = LEAST_DEPTH; depth <= most_depth; depth += 2)
    trees += 4;
  return threads * trees * (double)tree_nodes(most_depth);
}

int main(int argc, char **argv) {
  if (argc != 4)
    subject_fail(SUBJECT, "usage: THREADS PERCENT DEPTH");
  unsigned threads = (unsigned)subject_number(argv[1]);
  most_depth = (unsigned)subject_number(argv[3]);
  if (most_depth < LEAST_DEPTH || most_depth > 28)
    subject_fail(SUBJECT, "the depth is 4 to 28");
  size_t live = live_bytes() * threads;
  struct peer_setup setup = {.limit = live / 100 * (size_t)subject_number(argv[2])};
  peer_start(&setup);
  shape_make(&node_shape);
  shape_make(&array_shape);

  struct mutator mutator;
  mutator_begin(&mutator);
  void *keep[2] = {NULL, NULL};
  if (threads > 2)
    subject_fail(SUBJECT, "1 or 2 threads");
  {
    ROOTS(&mutator, &keep[0], &keep[1]);
    peer_watch_begin();
    struct stretch stretch = stretch_begin();
    uint64_t check = run_jobs(&mutator, threads, keep, work);
    stretch_end(stretch, objects(threads));
    peer_watch_end();
    subject_figure("limit_bytes", (double)setup.limit);
    peer_collect(&mutator, 2);
    subject_figure("live_bytes", peer_live_bytes());
    peer_finish();
    print_check(check);
  }
  mutator_end(&mutator);
  return 0;
}
