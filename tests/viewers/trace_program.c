/* SPDX-License-Identifier: MIT */
/*
 * usage: trace_program FILE [kill]
 * Three threads that make garbage, with a trace to FILE; ends well, and prints in JSON how many
 * collections there were and how long they took, or ends by SIGKILL in the middle.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tarn/tarn.h>
#include <unistd.h>

#define THREADS 3
#define BLOCKS 200000

static tarn_world *world;

static void *work(void *data) {
  tarn_thread *self;
  char name[32];
  if (tarn_thread_attach(world, &self) != TARN_OK)
    exit(1);
  snprintf(name, sizeof name, "worker \"%c\"", *(char *)data);
  (void)tarn_thread_set_name(self, name);
  for (unsigned i = 0; i < BLOCKS; i++)
    if (!tarn_alloc_atomic(self, 16 + i % 500))
      exit(1);
  if (tarn_collect(self, 2) != TARN_OK)
    exit(1);
  tarn_thread_detach(self);
  return NULL;
}

int main(int count, char **arguments) {
  tarn_options options = TARN_OPTIONS_INIT;
  pthread_t threads[THREADS];
  static char letters[] = "abcd";
  options.set = "min-heap=4M,trace-level=debug";
  options.flags = TARN_OPTIONS_NO_ENVIRONMENT;
  if (count < 2 || tarn_world_create(&options, &world) != TARN_OK ||
      tarn_trace_start(world, arguments[1]) != TARN_OK)
    return 1;
  for (unsigned i = 0; i < THREADS; i++)
    if (pthread_create(&threads[i], NULL, work, &letters[i]) != 0)
      return 1;
  for (unsigned i = 0; i < THREADS; i++)
    (void)pthread_join(threads[i], NULL);
  if (count > 2) {
    (void)usleep(150000); /* the file is brought up to date by a collection after that */
    (void)work(&letters[3]);
    (void)raise(SIGKILL);
  }
  tarn_stats stats = {.struct_size = sizeof stats};
  if (tarn_stats_get(world, &stats) != TARN_OK)
    return 1;
  printf("{\"collections\":%llu,\"pause_ns\":%llu}\n", (unsigned long long)stats.collections,
         (unsigned long long)stats.pause_total_ns);
  return tarn_world_destroy(world) == TARN_OK ? 0 : 1;
}
