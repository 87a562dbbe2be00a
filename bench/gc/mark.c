/* SPDX-License-Identifier: MIT */
/*
 * bench/gc/mark.c: what a full collection costs for each live object, where nothing else is there.
 *
 *   gc_mark_PEER SHAPE MIB COLLECTIONS [MARKERS]
 *
 * Objects of 64 bytes with two pointers, MIB of them, all alive:
 *   tree      a binary tree in the order of allocation: a node, its left side, its right side
 *   shuffled  a binary tree whose nodes lie in random order
 *   graph     one pointer along a random circle through all nodes, the other to any node
 * They are built with collections off. Then comes one collection whose figures stand apart: all
 * objects are new to it, and it touches the side tables for the first time. Of the COLLECTIONS
 * after it the medians are printed. MARKERS is how many threads mark.
 */
#include <string.h>

#include "nodes.h"

/* --- three shapes, from `count` nodes -------------------------------------------------------- */

/* All nodes in random order; no collection may come, as no root refers to them. */
static struct node **make_shuffled(struct mutator *mutator, size_t count) {
  struct node **nodes = malloc(count * sizeof *nodes);
  uint64_t random = 1;
  if (!nodes)
    subject_fail(SUBJECT, "out of memory");
  for (size_t i = 0; i < count; i++)
    nodes[i] = make_node(mutator, i);
  for (size_t i = count - 1; i > 0; i--) {
    size_t other = random_below(&random, i + 1);
    struct node *node = nodes[i];
    nodes[i] = nodes[other];
    nodes[other] = node;
  }
  return nodes;
}

static struct node *make_shuffled_tree(struct mutator *mutator, size_t count) {
  struct node **nodes = make_shuffled(mutator, count), *root = nodes[0];
  for (size_t i = 0; i < count; i++) {
    struct node *left = 2 * i + 1 < count ? nodes[2 * i + 1] : NULL;
    struct node *right = 2 * i + 2 < count ? nodes[2 * i + 2] : NULL;
    object_store(mutator, nodes[i], &nodes[i]->left, left);
    object_store(mutator, nodes[i], &nodes[i]->right, right);
  }
  free(nodes);
  return root;
}

static struct node *make_graph(struct mutator *mutator, size_t count) {
  struct node **nodes = make_shuffled(mutator, count), *root = nodes[0];
  uint64_t random = 2;
  for (size_t i = 0; i < count; i++) {
    object_store(mutator, nodes[i], &nodes[i]->left, nodes[(i + 1) % count]);
    object_store(mutator, nodes[i], &nodes[i]->right, nodes[random_below(&random, count)]);
  }
  free(nodes);
  return root;
}

/* --- */

static struct node *make(struct mutator *mutator, const char *shape, size_t count) {
  if (strcmp(shape, "tree") == 0)
    return make_tree(mutator, count);
  if (strcmp(shape, "shuffled") == 0)
    return make_shuffled_tree(mutator, count);
  if (strcmp(shape, "graph") == 0)
    return make_graph(mutator, count);
  subject_fail(SUBJECT, "the shape is tree, shuffled or graph");
}

/* Of one collection, by the number of live objects; `cpu` is that of all threads. */
struct cost {
  double mark, pause, call, cpu;
};

static struct cost collect(struct mutator *mutator, size_t count) {
  double cpu = subject_clock(CLOCK_PROCESS_CPUTIME_ID);
  peer_collect(mutator, 2);
  cpu = subject_clock(CLOCK_PROCESS_CPUTIME_ID) - cpu;
  struct collection last = peer_last();
  double all = (double)count;
  return (struct cost){last.mark / all, last.pause / all, last.call / all, cpu / all};
}

static void measure(struct mutator *mutator, size_t count, size_t collections) {
  static struct samples marks, pauses, calls, cpus;
  struct cost first = collect(mutator, count);
  for (size_t i = 0; i < collections; i++) {
    struct cost cost = collect(mutator, count);
    samples_add(&marks, cost.mark);
    samples_add(&pauses, cost.pause);
    samples_add(&calls, cost.call);
    samples_add(&cpus, cost.cpu);
  }
  subject_figure("first_mark_ns", first.mark);
  subject_figure("mark_ns", samples_at(&marks, 0.5));
  subject_figure("pause_ns", samples_at(&pauses, 0.5));
  subject_figure("collect_ns", samples_at(&calls, 0.5));
  subject_figure("collect_cpu_ns", samples_at(&cpus, 0.5));
}

/* Follows one path through what must have stayed. */
static uint64_t walk(const struct node *node, size_t steps) {
  uint64_t sum = 0, random = 3;
  for (size_t i = 0; i < steps && node; i++) {
    sum += node->number;
    node = random_next(&random) & 1 ? node->left : node->right;
  }
  return sum;
}

int main(int argc, char **argv) {
  if (argc != 4 && argc != 5)
    subject_fail(SUBJECT, "usage: SHAPE MIB COLLECTIONS [MARKERS]");
  size_t count = (size_t)subject_number(argv[2]) * 1048576 / sizeof(struct node);
  if (count < 2 || count >> 32 != 0)
    subject_fail(SUBJECT, "at least 1 MiB, at most 256 GiB");
  struct peer_setup setup = {.markers = argc == 5 ? (unsigned)subject_number(argv[4]) : 0};
  peer_start(&setup);
  shape_make(&node_shape);
  struct mutator mutator;
  mutator_begin(&mutator);
  peer_automatic(&mutator, false);
  {
    struct node *root = make(&mutator, argv[1], count);
    ROOTS(&mutator, &root);
    peer_automatic(&mutator, true);
    measure(&mutator, count, (size_t)subject_number(argv[3]));
    double live = peer_live_bytes();
    if (live < (double)(count * sizeof(struct node)))
      subject_fail(SUBJECT, "objects are gone that can be reached");
    subject_figure("live_bytes", live);
    peer_finish();
    print_check(walk(root, 1000));
  }
  mutator_end(&mutator);
  return 0;
}
