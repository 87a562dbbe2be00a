/* SPDX-License-Identifier: MIT */
/*
 * False sharing of cache lines that the allocator brings about.
 *
 *   active   each thread allocates small blocks, writes them many times, and frees them: blocks
 *            given to two threads should not lie in one line
 *   passive  before that, the main thread allocates small blocks in a row and hands them out, and
 *            each thread frees those it got: if the memory is used again by the thread that freed
 *            it, the lines stay shared for good
 *
 * usage: alloc_false_sharing active|passive THREADS BLOCKS
 */
#include "alloc.h"

enum { HANDED = 16, SIZES = 4, WRITES = 300 };

/* What the main thread hands out: dealt like cards, so neighbours go to different threads. */
static void *handed[LANES_MOST][SIZES][HANDED];

static size_t size_of(uint64_t i) { return 8 + 8 * (i % SIZES); }

static void hand_out(unsigned threads) {
  for (size_t size = 0; size < SIZES; size++)
    for (size_t i = 0; i < HANDED; i++)
      for (unsigned lane = 0; lane < threads; lane++)
        handed[lane][size][i] = block_new(size_of(size), i);
}

static void drop_handed(struct lane *lane) {
  for (size_t size = 0; size < SIZES; size++)
    for (size_t i = 0; i < HANDED; i++)
      if (handed[lane->index][size][i])
        lane->sum += block_drop(handed[lane->index][size][i]);
}

/* As a counter in the block. */
static uint64_t write_often(void *block) {
  volatile uint64_t *word = block;
  *word = 0;
  for (unsigned i = 0; i < WRITES; i++)
    *word = *word + 1;
  return *word;
}

static void run(struct lane *lane) {
  void *blocks[SIZES];
  drop_handed(lane);
  for (uint64_t i = 0; i < lane->work; i += SIZES) {
    for (size_t j = 0; j < SIZES; j++)
      blocks[j] = must(malloc(size_of(j)));
    for (size_t j = 0; j < SIZES; j++)
      lane->sum += write_often(blocks[j]);
    for (size_t j = 0; j < SIZES; j++)
      free(blocks[j]);
    lane->objects += SIZES;
  }
}

int main(int argc, char **argv) {
  static const struct lane_work todo = {NULL, run};
  if (argc != 4)
    subject_fail(argv[0], "usage: active|passive THREADS BLOCKS");
  unsigned threads = (unsigned)subject_number(argv[2]);
  if (argv[1][0] == 'p' && threads <= LANES_MOST)
    hand_out(threads);
  run_program(argc - 1, argv + 1, &todo, NULL);
  return 0;
}
