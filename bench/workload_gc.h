/* SPDX-License-Identifier: MIT */
/*
 * bench/workload_gc.h: the work of group gc, written once for all subjects.
 *
 * A subject defines the first three before it includes this file, and the functions after it. They
 * are all in which subjects differ:
 *
 *   SUBJECT                        its name, for messages
 *   struct mutator                 what a thread needs to allocate
 *   ROOTS(m, ...)                  the addresses of locals that hold references; may be nothing
 *   mutator_begin(m), mutator_end(m)    a thread joins and leaves
 *   mutator_wait_begin(m), mutator_wait_end(m)   around waiting for other threads
 *   cell_new(m), tree_new(m)       a zeroed object with its first word, the type, set; or NULL
 *   tree_drop(m, tree)             gives a tree back, where that is done by hand
 *
 * All subjects allocate objects of the same size, fill the same words and read the same words back;
 * the sums of what they read are printed as "check".
 */
#ifndef TARN_BENCH_WORKLOAD_GC_H
#define TARN_BENCH_WORKLOAD_GC_H

#include <pthread.h>
#include <stddef.h>

#include "subject.h"

/* 32 bytes: the type, two references, one raw word. */
struct cell {
  const void *type;
  struct cell *first;
  struct cell *second;
  uintptr_t raw;
};

/* 24 bytes: the type, two references. */
struct tree {
  const void *type;
  struct tree *left;
  struct tree *right;
};

static void mutator_begin(struct mutator *mutator);
static void mutator_end(struct mutator *mutator);
static void mutator_wait_begin(struct mutator *mutator);
static void mutator_wait_end(struct mutator *mutator);
static inline void *cell_new(struct mutator *mutator);
static inline void *tree_new(struct mutator *mutator);
static void tree_drop(struct mutator *mutator, struct tree *tree);

/* Sums are printed as doubles: only what those can hold exactly. */
#define CHECK_MASK (((uint64_t)1 << 52) - 1)

static inline struct cell *make_cell(struct mutator *mutator) {
  struct cell *cell = cell_new(mutator);
  if (!cell)
    subject_fail(SUBJECT, "out of memory");
  return cell;
}

/* --- gc-alloc-32: short-lived objects -------------------------------------------------------- */

/*
 * Chains of sixteen cells, each dropped when it is complete. Each cell refers to the one before and
 * to the one before that, which are read back: so the objects are used, and none can be elided.
 */
static uint64_t churn(struct mutator *mutator, uint64_t count) {
  struct cell *last = NULL;
  uint64_t sum = 0;
  ROOTS(mutator, &last);
  for (uint64_t i = 0; i < count; i++) {
    struct cell *cell = make_cell(mutator);
    cell->raw = i;
    if (i % 16 != 0) {
      cell->first = last;
      cell->second = last->first;
      sum += last->raw;
    }
    last = cell;
  }
  return last ? sum + last->raw : 0;
}

struct worker {
  pthread_t thread;
  uint64_t count;
  uint64_t sum;
  pthread_barrier_t *start;
};

static void *worker_main(void *argument) {
  struct worker *worker = argument;
  struct mutator mutator;
  mutator_begin(&mutator);
  /* Untimed: memory is touched, bins and lists are warm. */
  churn(&mutator, worker->count / 10);
  mutator_wait_begin(&mutator);
  pthread_barrier_wait(worker->start);
  mutator_wait_end(&mutator);
  worker->sum = churn(&mutator, worker->count);
  mutator_end(&mutator);
  return NULL;
}

static uint64_t run_workers(struct mutator *mutator, uint64_t count, unsigned threads) {
  struct worker workers[16];
  pthread_barrier_t start;
  if (threads > 16)
    subject_fail(SUBJECT, "at most 16 threads");
  pthread_barrier_init(&start, NULL, threads + 1);
  mutator_wait_begin(mutator);
  for (unsigned i = 0; i < threads; i++) {
    workers[i] = (struct worker){.count = count, .start = &start};
    if (pthread_create(&workers[i].thread, NULL, worker_main, &workers[i]) != 0)
      subject_fail(SUBJECT, "cannot start a thread");
  }
  pthread_barrier_wait(&start);
  struct stretch stretch = stretch_begin();
  uint64_t sum = 0;
  for (unsigned i = 0; i < threads; i++) {
    pthread_join(workers[i].thread, NULL);
    sum += workers[i].sum;
  }
  stretch_end(stretch, (double)count * threads);
  mutator_wait_end(mutator);
  pthread_barrier_destroy(&start);
  return sum;
}

/* One thread is the main thread itself: a second one that only waits would cost stops. */
static uint64_t workload_alloc(struct mutator *mutator, uint64_t count, unsigned threads) {
  if (threads > 1)
    return run_workers(mutator, count, threads);
  churn(mutator, count / 10);
  struct stretch stretch = stretch_begin();
  uint64_t sum = churn(mutator, count);
  stretch_end(stretch, (double)count);
  return sum;
}

/* --- trees ----------------------------------------------------------------------------------- */

static struct tree *tree_build(struct mutator *mutator, unsigned depth) {
  struct tree *tree = tree_new(mutator);
  if (!tree)
    subject_fail(SUBJECT, "out of memory");
  if (depth == 0)
    return tree;
  ROOTS(mutator, &tree);
  struct tree *child = tree_build(mutator, depth - 1);
  tree->left = child;
  child = tree_build(mutator, depth - 1);
  tree->right = child;
  return tree;
}

static uint64_t tree_count(const struct tree *tree) {
  if (!tree->left)
    return 1;
  return 1 + tree_count(tree->left) + tree_count(tree->right);
}

static uint64_t tree_once(struct mutator *mutator, unsigned depth) {
  struct tree *tree = tree_build(mutator, depth);
  uint64_t count = tree_count(tree);
  tree_drop(mutator, tree);
  return count;
}

/* As in the binary-trees task: one large tree, one that lives through it all, many small ones. */
static uint64_t workload_trees(struct mutator *mutator, unsigned depth) {
  enum { LEAST = 4, MOST = 40 };
  if (depth < LEAST || depth > MOST || depth % 2 != 0)
    subject_fail(SUBJECT, "the depth is an even number from 4 to 40");
  tree_once(mutator, depth + 1); /* untimed: memory is touched */
  struct stretch stretch = stretch_begin();
  uint64_t count = tree_once(mutator, depth + 1);
  struct tree *lasting = tree_build(mutator, depth);
  ROOTS(mutator, &lasting);
  for (unsigned d = LEAST; d <= depth; d += 2)
    for (uint64_t i = (uint64_t)1 << (depth - d + LEAST); i > 0; i--)
      count += tree_once(mutator, d);
  count += tree_count(lasting);
  stretch_end(stretch, (double)count);
  tree_drop(mutator, lasting);
  return count;
}

/* --- bytes per live object ------------------------------------------------------------------- */

static uint64_t workload_live(struct mutator *mutator, uint64_t count) {
  struct cell *list = NULL;
  uint64_t sum = 0;
  ROOTS(mutator, &list);
  double before = subject_resident();
  struct stretch stretch = stretch_begin();
  for (uint64_t i = 0; i < count; i++) {
    struct cell *cell = make_cell(mutator);
    cell->raw = i;
    cell->first = list;
    list = cell;
  }
  stretch_end(stretch, (double)count);
  subject_figure("bytes_per_object", (subject_resident() - before) / (double)count);
  for (const struct cell *cell = list; cell; cell = cell->first)
    sum += cell->raw;
  return sum;
}

static void run_workload(struct mutator *mutator, int argc, char **argv) {
  uint64_t check;
  if (argc >= 4 && argv[1][0] == 'a')
    check = workload_alloc(mutator, subject_number(argv[2]), (unsigned)subject_number(argv[3]));
  else if (argc >= 3 && argv[1][0] == 't')
    check = workload_trees(mutator, (unsigned)subject_number(argv[2]));
  else if (argc >= 3 && argv[1][0] == 'l')
    check = workload_live(mutator, subject_number(argv[2]));
  else
    subject_fail(SUBJECT,
                 "usage: alloc COUNT THREADS | trees DEPTH | live COUNT, then a heap size");
  subject_figure("check", (double)(check & CHECK_MASK));
}

#endif
