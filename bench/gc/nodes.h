/* SPDX-License-Identifier: MIT */
/*
 * The 64-byte nodes with two references that mark.c and young.c build, and a balanced tree of them.
 */
#ifndef TARN_BENCH_GC_NODES_H
#define TARN_BENCH_GC_NODES_H

#include "peer.h"

struct node {
  const void *type;
  struct node *left, *right;
  uintptr_t number, rest[4];
};

static struct shape node_shape = {
    .name = "node", .size = sizeof(struct node), .slots = 1u << 1 | 1u << 2};

static struct node *make_node(struct mutator *mutator, uintptr_t number) {
  struct node *node = object_new(mutator, &node_shape);
  if (!node)
    subject_fail(SUBJECT, "out of memory");
  node->number = number;
  return node;
}

/* Half of what is left to the left, the rest to the right. */
static struct node *make_tree(struct mutator *mutator, size_t count) {
  struct node *node = make_node(mutator, count);
  ROOTS(mutator, &node);
  size_t left = count / 2, right = count - 1 - left;
  struct node *child = left > 0 ? make_tree(mutator, left) : NULL;
  object_store(mutator, node, &node->left, child);
  child = right > 0 ? make_tree(mutator, right) : NULL;
  object_store(mutator, node, &node->right, child);
  return node;
}

#endif
