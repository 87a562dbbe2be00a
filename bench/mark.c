/* SPDX-License-Identifier: MIT */
/*
 * bench/mark.c: what marking costs for an object: a binary tree of 24-byte nodes in the order of
 * allocation is collected again and again, and nothing else is there.
 *
 *   bench_mark DEPTH COLLECTIONS
 *
 * prints the median and the least of ns for a node, of the mark and of the whole pause.
 */
#include <stdio.h>
#include <stdlib.h>
#include <tarn/tarn.h>

#define MOST 1000u

struct node {
  const tarn_type *type;
  struct node *left, *right;
};

static const tarn_type *node_type;

static struct node *build(tarn_thread *self, unsigned depth) {
  struct node *left = NULL, *right = NULL;
  TARN_FRAME(self, &left, &right);
  if (depth > 0) {
    left = build(self, depth - 1);
    right = build(self, depth - 1);
  }
  struct node *node = tarn_new(self, node_type);
  if (!node) {
    fprintf(stderr, "bench_mark: %s\n", tarn_strerror(tarn_thread_status(self)));
    exit(1);
  }
  node->left = left;
  node->right = right;
  return node;
}

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

static void show(const char *what, double *values, size_t count) {
  qsort(values, count, sizeof *values, compare);
  printf("%-5s median %.2f least %.2f ns/object\n", what, values[count / 2], values[0]);
}

static void measure(tarn_world *world, tarn_thread *self, size_t collections) {
  static double marks[MOST], pauses[MOST];
  for (size_t i = 0; i <= collections; i++) {
    tarn_stats stats = {.struct_size = sizeof stats};
    if (tarn_collect(self, TARN_GENERATION_FULL) != TARN_OK ||
        tarn_stats_get(world, &stats) != TARN_OK)
      exit(1);
    if (i == 0)
      continue; /* the side table is touched for the first time */
    marks[i - 1] = (double)stats.mark_last_ns / (double)stats.live_objects;
    pauses[i - 1] = (double)stats.pause_last_ns / (double)stats.live_objects;
  }
  show("mark", marks, collections);
  show("pause", pauses, collections);
}

int main(int count, char **arguments) {
  unsigned long depth = count == 3 ? strtoul(arguments[1], NULL, 10) : 0;
  unsigned long collections = count == 3 ? strtoul(arguments[2], NULL, 10) : 0;
  tarn_options options = TARN_OPTIONS_INIT;
  tarn_world *world;
  tarn_thread *self;
  if (depth < 1 || depth > 26 || collections < 1 || collections > MOST) {
    fprintf(stderr, "usage: bench_mark DEPTH(1-26) COLLECTIONS(1-%u)\n", MOST);
    return 2;
  }
  options.set = "collect=off";
  if (tarn_world_create(&options, &world) != TARN_OK || tarn_thread_attach(world, &self) != TARN_OK)
    return 1;
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = "node";
  spec.size = sizeof(struct node);
  spec.flags = TARN_TYPE_ALL_TRACED;
  node_type = tarn_type_create(world, &spec, NULL);
  {
    struct node *tree = node_type ? build(self, (unsigned)depth) : NULL;
    TARN_FRAME(self, &tree);
    measure(world, self, collections);
  }
  tarn_thread_detach(self);
  return tarn_world_destroy(world) == TARN_OK ? 0 : 1;
}
