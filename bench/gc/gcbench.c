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
#include "gcbench.h"
#include "jobs.h"

/* The lasting tree is read all over. */
static uint64_t total(const struct node *tree) {
  return tree ? tree->number + total(tree->left) + total(tree->right) : 0;
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
