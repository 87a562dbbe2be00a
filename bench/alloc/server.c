/* SPDX-License-Identifier: MIT */
/*
 * A server: each thread keeps five thousand blocks of mixed sizes and replaces a random one, over
 * and over. After a while it dies, and a new thread goes on with its blocks; so most blocks are
 * freed by another thread than the one that allocated them, which may not exist any more.
 *
 * usage: alloc_server THREADS REPLACEMENTS
 */
#include "alloc.h"

#include <semaphore.h>

enum { SLOTS = 5000, LIFE = 50000 };

/* What a thread hands to its successor. */
struct shift {
  struct prng prng;
  uint64_t left, number, sum;
  sem_t ended;
  void *slots[SLOTS];
};

static void *shift_main(void *argument);

/* Joined by nobody: its successor is all that is left of it. */
static void start_shift(struct shift *shift) {
  pthread_t thread;
  thread_start(&thread, shift_main, shift);
  pthread_detach(thread);
}

static void replace_one(struct shift *shift) {
  void **slot = &shift->slots[prng_below(&shift->prng, SLOTS)];
  shift->sum += block_drop(*slot);
  *slot = block_new(server_size(&shift->prng), shift->number++);
}

static void *shift_main(void *argument) {
  struct shift *shift = argument;
  for (unsigned i = 0; i < LIFE && shift->left > 0; i++, shift->left--)
    replace_one(shift);
  if (shift->left > 0)
    start_shift(shift);
  else
    sem_post(&shift->ended);
  return NULL;
}

/* The lane itself makes the first blocks, waits, and drops the last ones. */
static void run(struct lane *lane) {
  struct shift *shift = must(calloc(1, sizeof *shift));
  shift->prng = prng_seed(lane->index);
  shift->left = lane->work;
  sem_init(&shift->ended, 0, 0);
  for (size_t i = 0; i < SLOTS; i++)
    shift->slots[i] = block_new(server_size(&shift->prng), shift->number++);
  start_shift(shift);
  while (sem_wait(&shift->ended) != 0)
    ;
  for (size_t i = 0; i < SLOTS; i++)
    shift->sum += block_drop(shift->slots[i]);
  lane->objects = shift->number;
  lane->sum = shift->sum;
  sem_destroy(&shift->ended);
  free(shift);
}

int main(int argc, char **argv) {
  static const struct lane_work todo = {NULL, run};
  run_program(argc, argv, &todo, NULL);
  return 0;
}
