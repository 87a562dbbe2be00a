/* SPDX-License-Identifier: MIT */
/*
 * Batches of many sizes: a batch of blocks of about one size is allocated; three quarters of it are
 * freed at once, in the order of allocation, in the reverse order, or at random; the rest is freed
 * when eleven more batches came and went.
 *
 * usage: alloc_batch_random THREADS BLOCKS
 */
#include "alloc.h"

enum { BATCH = 800, REST = BATCH / 4, BATCHES = 12, DOUBLINGS = 7 };

static void reverse(void **blocks, size_t count) {
  for (size_t i = 0; i < count / 2; i++) {
    void *block = blocks[i];
    blocks[i] = blocks[count - 1 - i];
    blocks[count - 1 - i] = block;
  }
}

static void drop_some(struct lane *lane, void **blocks, size_t count) {
  for (size_t i = 0; i < count; i++)
    lane->sum += block_drop(blocks[i]);
}

/* Every fourth block of a batch is of its rest. */
static void fill(struct lane *lane, struct prng *prng, void **early, void **rest) {
  size_t least = (size_t)16 << prng_below(prng, DOUBLINGS);
  for (size_t i = 0; i < BATCH; i++) {
    void *block = block_new(prng_between(prng, least, 2 * least), lane->objects++);
    if (i % 4 == 0)
      *rest++ = block;
    else
      *early++ = block;
  }
}

static void run(struct lane *lane) {
  void *early[BATCH - REST], *rests[BATCHES][REST];
  struct prng prng = prng_seed(lane->index);
  uint64_t batches = lane->work / BATCH;
  for (uint64_t batch = 0; batch < batches; batch++) {
    void **rest = rests[batch % BATCHES];
    if (batch >= BATCHES)
      drop_some(lane, rest, REST);
    fill(lane, &prng, early, rest);
    uint32_t way = prng_below(&prng, 3);
    if (way == 1)
      reverse(early, BATCH - REST);
    else if (way == 2)
      shuffle(early, BATCH - REST, &prng);
    drop_some(lane, early, BATCH - REST);
  }
  for (size_t i = 0; i < BATCHES && i < batches; i++)
    drop_some(lane, rests[i], REST);
}

int main(int argc, char **argv) {
  static const struct lane_work todo = {NULL, run};
  run_program(argc, argv, &todo, NULL);
  return 0;
}
