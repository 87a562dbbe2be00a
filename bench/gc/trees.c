/* SPDX-License-Identifier: MIT */
/*
 * bench/gc/trees.c: the binary trees of the computer language benchmarks game, in threads.
 *
 *   gc_trees_PEER DEPTH THREADS [HEAP]
 *
 * One tree of DEPTH + 1, one of DEPTH that lives through it all, then trees of 4, 6 ... DEPTH, of
 * each depth half as many as nodes double; the threads share the trees of each depth. Each is built
 * bottom up, counted and dropped. HEAP, for a peer that starts with a small one, is where its heap
 * starts.
 */
#include "jobs.h"

struct node {
  const void *type;
  struct node *left, *right;
};

static struct shape node_shape = {
    .name = "node", .size = sizeof(struct node), .slots = 1u << 1 | 1u << 2};

static unsigned most_depth;

enum { LEAST_DEPTH = 4 };

static struct node *build(struct mutator *mutator, unsigned depth) {
  struct node *node = object_new(mutator, &node_shape);
  if (!node)
    subject_fail(SUBJECT, "out of memory");
  if (depth == 0)
    return node;
  ROOTS(mutator, &node);
  struct node *child = build(mutator, depth - 1);
  object_store(mutator, node, &node->left, child);
  child = build(mutator, depth - 1);
  object_store(mutator, node, &node->right, child);
  return node;
}

static uint64_t count(const struct node *tree) {
  return tree->left ? 1 + count(tree->left) + count(tree->right) : 1;
}

static void drop(struct mutator *mutator, struct node *tree) {
  if (PEER_COLLECTS)
    return;
  if (tree->left) {
    drop(mutator, tree->left);
    drop(mutator, tree->right);
  }
  object_drop(mutator, tree);
}

static uint64_t once(struct mutator *mutator, unsigned depth) {
  struct node *tree = build(mutator, depth);
  uint64_t nodes = count(tree);
  drop(mutator, tree);
  return nodes;
}

static uint64_t work(struct mutator *mutator, struct job *job) {
  uint64_t nodes = 0;
  for (unsigned depth = LEAST_DEPTH; depth <= most_depth; depth += 2)
    for (uint64_t i = job->index; i < (uint64_t)1 << (most_depth - depth + LEAST_DEPTH);
         i += job->threads)
      nodes += once(mutator, depth);
  return nodes;
}

static uint64_t run(struct mutator *mutator, unsigned threads) {
  void *keep[THREADS_MOST] = {NULL};
  once(mutator, most_depth + 1); /* untimed: memory is touched */
  struct stretch stretch = stretch_begin();
  uint64_t nodes = once(mutator, most_depth + 1);
  struct node *lasting = build(mutator, most_depth);
  ROOTS(mutator, &lasting);
  nodes += run_jobs(mutator, threads, keep, work);
  nodes += count(lasting);
  stretch_end(stretch, (double)nodes);
  drop(mutator, lasting);
  return nodes;
}

int main(int argc, char **argv) {
  if (argc != 3 && argc != 4)
    subject_fail(SUBJECT, "usage: DEPTH THREADS [HEAP]");
  most_depth = (unsigned)subject_number(argv[1]);
  if (most_depth < LEAST_DEPTH || most_depth > 30 || most_depth % 2 != 0)
    subject_fail(SUBJECT, "the depth is an even number from 4 to 30");
  struct peer_setup setup = {.start = argc == 4 ? (size_t)subject_number(argv[3]) : 0};
  peer_start(&setup);
  shape_make(&node_shape);
  struct mutator mutator;
  mutator_begin(&mutator);
  uint64_t check = run(&mutator, (unsigned)subject_number(argv[2]));
  peer_finish();
  print_check(check);
  mutator_end(&mutator);
  return 0;
}
