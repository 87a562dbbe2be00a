/* SPDX-License-Identifier: MIT */
/*
 * Large blocks: each thread keeps a few blocks of 32 KiB to 4 MiB, each doubling equally frequent,
 * and replaces a random one. One of four has a word written in each of its pages, of the others
 * only both ends are touched.
 *
 * usage: alloc_large_churn THREADS REPLACEMENTS
 */
#include "alloc.h"

enum { SLOTS = 16, PAGE = 4096, DOUBLINGS = 7 };
#define SMALLEST ((size_t)32 << 10)

static void *large_new(struct lane *lane, struct prng *prng) {
  size_t least = SMALLEST << prng_below(prng, DOUBLINGS);
  size_t size = prng_between(prng, least, 2 * least);
  char *block = must(malloc(size));
  if (prng_below(prng, 4) == 0)
    for (size_t at = 0; at < size; at += PAGE)
      memcpy(block + at, &size, sizeof size);
  return block_mark(block, size, lane->objects++);
}

static void run(struct lane *lane) {
  void *slots[SLOTS];
  struct prng prng = prng_seed(lane->index);
  for (size_t i = 0; i < SLOTS; i++)
    slots[i] = large_new(lane, &prng);
  for (uint64_t i = 0; i < lane->work; i++) {
    size_t slot = prng_below(&prng, SLOTS);
    lane->sum += block_drop(slots[slot]);
    slots[slot] = large_new(lane, &prng);
  }
  for (size_t i = 0; i < SLOTS; i++)
    lane->sum += block_drop(slots[i]);
}

int main(int argc, char **argv) {
  static const struct lane_work todo = {NULL, run};
  run_program(argc, argv, &todo, NULL);
  return 0;
}
