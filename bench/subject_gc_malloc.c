/* SPDX-License-Identifier: MIT */
/*
 * Group gc on malloc and free: the trees, each dropped by hand. Objects come zeroed, as on the
 * other sides: the words are stored one by one, which is cheaper than calloc.
 */
#define SUBJECT "malloc"
#define ROOTS(mutator, ...) ((void)(mutator))

struct mutator {
  char unused;
};

#include "workload_gc.h"

static const char cell_type[1], tree_type[1];

static void mutator_begin(struct mutator *mutator) { mutator->unused = 0; }
static void mutator_end(struct mutator *mutator) { (void)mutator; }
static void mutator_wait_begin(struct mutator *mutator) { (void)mutator; }
static void mutator_wait_end(struct mutator *mutator) { (void)mutator; }

static inline void *cell_new(struct mutator *mutator) {
  (void)mutator;
  struct cell *cell = malloc(sizeof *cell);
  if (cell)
    *cell = (struct cell){.type = cell_type};
  return cell;
}

static inline void *tree_new(struct mutator *mutator) {
  (void)mutator;
  struct tree *tree = malloc(sizeof *tree);
  if (tree)
    *tree = (struct tree){.type = tree_type};
  return tree;
}

static void tree_drop(struct mutator *mutator, struct tree *tree) {
  if (tree->left) {
    tree_drop(mutator, tree->left);
    tree_drop(mutator, tree->right);
  }
  free(tree);
}

int main(int argc, char **argv) {
  struct mutator mutator;
  /* Nothing would free the cells of the other two. */
  if (argc < 2 || argv[1][0] != 't')
    subject_fail(SUBJECT, "only: trees DEPTH");
  mutator_begin(&mutator);
  run_workload(&mutator, argc, argv);
  mutator_end(&mutator);
  return 0;
}
