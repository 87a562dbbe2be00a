/* SPDX-License-Identifier: MIT */
/*
 * Group gc on bdwgc, called directly, with its defaults. With a heap size as last argument the heap
 * is grown to that size at the start, and may grow to one and a half times of it: an object of 32
 * bytes takes 48 there, and one of 24 takes 32, so that the same objects need more.
 */
#define GC_THREADS
#include <gc.h>

#define SUBJECT "bdwgc"
#define ROOTS(mutator, ...) ((void)(mutator))

struct mutator {
  char unused;
};

#include "workload_gc.h"

/* Stand for the types that a runtime would have. */
static const char cell_type[1], tree_type[1];

/* Threads are registered by bdwgc's own pthread_create, and may be stopped anywhere. */
static void mutator_begin(struct mutator *mutator) { mutator->unused = 0; }
static void mutator_end(struct mutator *mutator) { (void)mutator; }
static void mutator_wait_begin(struct mutator *mutator) { (void)mutator; }
static void mutator_wait_end(struct mutator *mutator) { (void)mutator; }

static inline void *cell_new(struct mutator *mutator) {
  (void)mutator;
  struct cell *cell = GC_MALLOC(sizeof *cell);
  if (cell)
    cell->type = cell_type;
  return cell;
}

static inline void *tree_new(struct mutator *mutator) {
  (void)mutator;
  struct tree *tree = GC_MALLOC(sizeof *tree);
  if (tree)
    tree->type = tree_type;
  return tree;
}

static void tree_drop(struct mutator *mutator, struct tree *tree) {
  (void)mutator;
  (void)tree;
}

static void subject_report(void) {
  subject_figure("heap_bytes", (double)GC_get_heap_size());
  subject_figure("collections", (double)GC_get_gc_no());
}

static void set_heap(size_t bytes) {
  size_t now = GC_get_heap_size();
  if (bytes > now && !GC_expand_hp(bytes - now))
    subject_fail(SUBJECT, "cannot grow the heap to the size asked for");
  GC_set_max_heap_size(bytes + bytes / 2);
}

int main(int argc, char **argv) {
  GC_INIT();
  if (argc > 1 && argv[1][0] == 'l')
    GC_disable(); /* as on the other side: measured before the first collection */
  int own_arguments = argc > 1 && argv[1][0] == 'a' ? 4 : 3;
  if (argc > own_arguments)
    set_heap((size_t)subject_number(argv[own_arguments]));

  struct mutator mutator;
  mutator_begin(&mutator);
  run_workload(&mutator, argc, argv);
  subject_report();
  mutator_end(&mutator);
  return 0;
}
