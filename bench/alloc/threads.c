/* SPDX-License-Identifier: MIT */
/*
 * Threads that come and go: each lane starts a thread, waits for its end, and starts the next. A
 * thread allocates 32 blocks of several sizes and frees them. The figure is ns a thread.
 *
 * usage: alloc_threads LANES THREADS
 */
#include "alloc.h"

enum { BLOCKS = 32 };

struct visit {
  uint64_t seed, sum;
};

static void *visitor_main(void *argument) {
  struct visit *visit = argument;
  struct prng prng = prng_seed(visit->seed);
  void *blocks[BLOCKS];
  for (size_t i = 0; i < BLOCKS; i++)
    blocks[i] = block_new(prng_between(&prng, 16, 1024), visit->seed + i);
  for (size_t i = 0; i < BLOCKS; i++)
    visit->sum += block_drop(blocks[i]);
  return NULL;
}

static void run(struct lane *lane) {
  for (uint64_t i = 0; i < lane->work; i++) {
    struct visit visit = {.seed = lane->index * lane->work + i};
    pthread_t thread;
    thread_start(&thread, visitor_main, &visit);
    pthread_join(thread, NULL);
    lane->sum += visit.sum;
  }
  lane->objects = lane->work;
}

int main(int argc, char **argv) {
  static const struct lane_work todo = {NULL, run};
  run_program(argc, argv, &todo, NULL);
  return 0;
}
