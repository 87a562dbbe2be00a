/* SPDX-License-Identifier: MIT */
/*
 * usage: metrics_program OPENMETRICS_FILE JSON_FILE
 * A world with some collections and an awkward name of a thread, and its metrics in both formats,
 * with nothing happening in between.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <tarn/tarn.h>

#define CHECK(condition)                                                            \
  do {                                                                              \
    if (!(condition)) {                                                             \
      (void)fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
      exit(1);                                                                      \
    }                                                                               \
  } while (0)

static tarn_world *world;
static atomic_int state; /* 1: the other thread is attached; 2: it is to end */

static void *other(void *data) {
  tarn_thread *self = NULL;
  CHECK(tarn_thread_attach(world, &self) == TARN_OK);
  CHECK(tarn_thread_set_name(self, "a \"name\" \\ of\nlines \xc3\xa9 \xff") == TARN_OK);
  atomic_store(&state, 1);
  while (atomic_load(&state) != 2)
    tarn_safepoint(self);
  CHECK(tarn_thread_detach(self) == TARN_OK);
  return data;
}

/* Was it the other one that the last stop waited for? */
static bool was_last(void) {
  tarn_stats stats = {.struct_size = sizeof stats};
  CHECK(tarn_stats_get(world, &stats) == TARN_OK);
  return stats.stop_last_thread[0] != '\0';
}

int main(int count, char **arguments) {
  pthread_t thread;
  tarn_thread *self = NULL;
  CHECK(count == 3);
  tarn_options options = TARN_OPTIONS_INIT;
  options.flags = TARN_OPTIONS_NO_ENVIRONMENT;
  options.set = "purger=0,sweeper=0";
  CHECK(tarn_world_create(&options, &world) == TARN_OK);
  CHECK(tarn_thread_attach(world, &self) == TARN_OK);
  CHECK(pthread_create(&thread, NULL, other, NULL) == 0);
  while (atomic_load(&state) != 1)
    (void)sched_yield();
  for (unsigned i = 0; i < 5 || !was_last(); i++) {
    for (unsigned k = 0; k < 1000; k++)
      CHECK(tarn_alloc_atomic(self, 100 + k * 7) != NULL);
    CHECK(tarn_collect(self, TARN_GENERATION_FULL) == TARN_OK);
  }
  CHECK(tarn_metrics_write_file(world, TARN_METRICS_OPENMETRICS, arguments[1]) == TARN_OK);
  CHECK(tarn_metrics_write_file(world, TARN_METRICS_JSON, arguments[2]) == TARN_OK);
  atomic_store(&state, 2);
  tarn_block_begin(self);
  CHECK(pthread_join(thread, NULL) == 0);
  tarn_block_end(self);
  CHECK(tarn_thread_detach(self) == TARN_OK);
  CHECK(tarn_world_destroy(world) == TARN_OK);
  return 0;
}
