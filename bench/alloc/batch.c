/* SPDX-License-Identifier: MIT */
/*
 * Batches: a thousand blocks (fewer where they would come to more than a megabyte) are allocated,
 * then freed in the order of their allocation, or in a fixed random order.
 *
 * usage: alloc_batch fifo|random SIZE THREADS BLOCKS
 */
#include "alloc.h"

enum { BATCH_MOST = 1000, BATCH_BYTES = 1 << 20 };

static size_t block_size, batch_count;
static uint16_t order[BATCH_MOST];

static void choose_order(bool random) {
  struct prng prng = prng_seed(1);
  for (size_t i = 0; i < batch_count; i++)
    order[i] = (uint16_t)i;
  for (size_t i = batch_count; random && i > 1; i--) {
    size_t other = prng_below(&prng, (uint32_t)i);
    uint16_t place = order[i - 1];
    order[i - 1] = order[other];
    order[other] = place;
  }
}

static uint64_t batches(uint64_t count) {
  void *blocks[BATCH_MOST];
  uint64_t sum = 0;
  for (uint64_t done = 0; done < count; done += batch_count) {
    for (size_t i = 0; i < batch_count; i++) {
      uint64_t *block = must(malloc(block_size));
      *block = done + i;
      blocks[i] = block;
    }
    escape(blocks);
    for (size_t i = 0; i < batch_count; i++) {
      uint64_t *block = blocks[order[i]];
      if (*block != done + order[i])
        subject_fail("block", "its contents were changed by somebody else");
      sum += *block;
      free(block);
    }
  }
  return sum;
}

static void prepare(struct lane *lane) { batches(lane->work / 10); }

static void run(struct lane *lane) {
  lane->sum = batches(lane->work);
  lane->objects = lane->work;
}

int main(int argc, char **argv) {
  static const struct lane_work todo = {prepare, run};
  if (argc != 5)
    subject_fail(argv[0], "usage: fifo|random SIZE THREADS BLOCKS");
  block_size = subject_number(argv[2]);
  batch_count = BATCH_BYTES / block_size;
  if (batch_count > BATCH_MOST)
    batch_count = BATCH_MOST;
  choose_order(argv[1][0] == 'r');
  run_program(argc - 2, argv + 2, &todo, NULL);
  return 0;
}
