/* SPDX-License-Identifier: MIT */
/*
 * Pairs: a block is allocated, written and freed, again and again, while RESIDENTS others of its
 * size stay. With none, some allocators retire the page with each block; pair_cliff.c looks at all
 * other numbers.
 *
 * usage: alloc_pair SIZE RESIDENTS THREADS PAIRS
 */
#include "alloc.h"

static size_t block_size, resident_count;

static uint64_t pairs(uint64_t count) {
  uint64_t sum = 0;
  for (uint64_t i = 0; i < count; i++) {
    uint64_t *block = must(malloc(block_size));
    *block = i;
    escape(block);
    sum += *block;
    free(block);
  }
  return sum;
}

static void prepare(struct lane *lane) {
  void **residents = must(calloc(resident_count + 1, sizeof *residents));
  for (size_t i = 0; i < resident_count; i++)
    residents[i] = block_new(block_size, i);
  lane->own = residents;
  pairs(lane->work / 10);
}

static void run(struct lane *lane) {
  void **residents = lane->own;
  lane->sum = pairs(lane->work);
  lane->objects = lane->work;
  for (size_t i = 0; i < resident_count; i++)
    lane->sum += block_drop(residents[i]);
  free(residents);
}

int main(int argc, char **argv) {
  static const struct lane_work todo = {prepare, run};
  if (argc != 5)
    subject_fail(argv[0], "usage: SIZE RESIDENTS THREADS PAIRS");
  block_size = subject_number(argv[1]);
  resident_count = subject_number(argv[2]);
  run_program(argc - 2, argv + 2, &todo, NULL);
  return 0;
}
