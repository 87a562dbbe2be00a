/* SPDX-License-Identifier: MIT */
/*
 * Many short threads: each lane starts one after the other. A thread allocates some hundred blocks,
 * replaces some of them, frees most, and returns the rest as its result, which the lane frees after
 * its end.
 *
 * usage: alloc_churn_threads LANES THREADS
 */
#include "alloc.h"

enum { BLOCKS = 200, REPLACED = 600, RESULT = 40 };

struct task {
  uint64_t seed, sum, objects;
  void *result[RESULT];
};

static void *task_main(void *argument) {
  struct task *task = argument;
  struct prng prng = prng_seed(task->seed);
  void *blocks[BLOCKS];
  for (size_t i = 0; i < BLOCKS; i++)
    blocks[i] = block_new(server_size(&prng), task->objects++);
  for (size_t i = 0; i < REPLACED; i++) {
    size_t place = prng_below(&prng, BLOCKS);
    task->sum += block_drop(blocks[place]);
    blocks[place] = block_new(server_size(&prng), task->objects++);
  }
  for (size_t i = RESULT; i < BLOCKS; i++)
    task->sum += block_drop(blocks[i]);
  memcpy(task->result, blocks, sizeof task->result);
  return NULL;
}

static void run(struct lane *lane) {
  for (uint64_t i = 0; i < lane->work; i++) {
    struct task *task = must(calloc(1, sizeof *task));
    task->seed = lane->index * lane->work + i;
    pthread_t thread;
    thread_start(&thread, task_main, task);
    pthread_join(thread, NULL);
    for (size_t j = 0; j < RESULT; j++)
      task->sum += block_drop(task->result[j]);
    lane->sum += task->sum;
    lane->objects += task->objects;
    free(task);
  }
}

int main(int argc, char **argv) {
  static const struct lane_work todo = {NULL, run};
  run_program(argc, argv, &todo, NULL);
  return 0;
}
