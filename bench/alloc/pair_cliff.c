/* SPDX-License-Identifier: MIT */
/*
 * Cliffs: what a pair of malloc and free costs at every number of live blocks of one size, from
 * none to MOST. An allocator that does something costly whenever one of its pages has become full,
 * or empty, does so with each pair at some number.
 *
 * "hold" frees the block that it just allocated; "replace" frees the oldest one before it
 * allocates. At each number the pairs are timed several times; the median of these is the figure of
 * that number, so what a new page costs once, and other work on the machine, do not count. ns_worst
 * is the largest of these figures, worst_at the number where it was found.
 *
 * usage: alloc_pair_cliff hold|replace SIZE MOST
 */
#include "alloc.h"

enum { PAIRS = 64, REPETITIONS = 9 };

static size_t block_size;

/* The live blocks: a ring, of which `oldest` is the next to be replaced. */
struct live {
  void **blocks;
  size_t count, oldest;
};

static void *plain_new(void) {
  uint64_t *block = must(malloc(block_size));
  *block = block_size;
  escape(block);
  return block;
}

static void hold_pairs(void) {
  for (size_t i = 0; i < PAIRS; i++)
    free(plain_new());
}

static void replace_pairs(struct live *live) {
  for (size_t i = 0; i < PAIRS; i++) {
    free(live->blocks[live->oldest]);
    live->blocks[live->oldest] = plain_new();
    if (++live->oldest == live->count)
      live->oldest = 0;
  }
}

static double time_pairs(struct live *live, bool replace) {
  double begin = subject_clock(CLOCK_MONOTONIC);
  if (replace && live->count > 0)
    replace_pairs(live);
  else
    hold_pairs();
  return (subject_clock(CLOCK_MONOTONIC) - begin) / PAIRS;
}

static double median(double *values, size_t count) {
  for (size_t i = 1; i < count; i++)
    for (size_t j = i; j > 0 && values[j] < values[j - 1]; j--) {
      double value = values[j];
      values[j] = values[j - 1];
      values[j - 1] = value;
    }
  return values[count / 2];
}

int main(int argc, char **argv) {
  if (argc != 4)
    subject_fail(argv[0], "usage: hold|replace SIZE MOST");
  allocator_check();
  bool replace = argv[1][0] == 'r';
  block_size = subject_number(argv[2]);
  size_t most = subject_number(argv[3]), worst_at = 0;
  struct live live = {.blocks = must(calloc(most, sizeof *live.blocks))};
  double worst = 0, values[REPETITIONS];

  struct stretch stretch = stretch_begin();
  for (size_t count = 0;; count++) {
    for (size_t i = 0; i < REPETITIONS; i++)
      values[i] = time_pairs(&live, replace);
    double figure = median(values, REPETITIONS);
    if (figure > worst) {
      worst = figure;
      worst_at = count;
    }
    if (count == most)
      break;
    /* A new one goes behind the youngest, which lies before the oldest. */
    memmove(live.blocks + live.oldest + 1, live.blocks + live.oldest,
            (live.count - live.oldest) * sizeof *live.blocks);
    live.blocks[live.oldest++] = plain_new();
    if (live.oldest == ++live.count)
      live.oldest = 0;
  }
  stretch_end(stretch, (double)(most + 1) * PAIRS * REPETITIONS);
  subject_figure("ns_worst", worst);
  subject_figure("worst_at", (double)worst_at);
  figure_check(most);
  return 0;
}
