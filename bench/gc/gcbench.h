/* SPDX-License-Identifier: MIT */
/*
 * bench/gc/gcbench.h: the trees of gcbench.c and cost.c, and the garbage that comes with them.
 * After jobs.h or peer.h.
 */
#ifndef TARN_BENCH_GC_GCBENCH_H
#define TARN_BENCH_GC_GCBENCH_H

#include "peer.h"

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

/* Temporary trees are read along both edges. */
static uint64_t edges(const struct node *tree) {
  uint64_t sum = 0;
  for (const struct node *node = tree; node; node = node->left)
    sum += node->number;
  for (const struct node *node = tree; node; node = node->right)
    sum += node->number;
  return sum;
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

#endif
