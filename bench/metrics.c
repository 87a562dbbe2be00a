/* SPDX-License-Identifier: MIT */
/*
 * bench/metrics.c: what writing the metrics of a world takes, in each format: into a function of
 * the program's that drops the text, and into a file, which is written anew and renamed each time.
 *
 *   bench_metrics FILE TIMES
 *
 * prints the median and the least, in microseconds, and how long the text is.
 */
#include <stdio.h>
#include <stdlib.h>
#include <tarn/tarn.h>
#include <time.h>

static void check(tarn_status status, const char *what) {
  if (status == TARN_OK)
    return;
  fprintf(stderr, "bench_metrics: %s: %s\n", what, tarn_strerror(status));
  exit(1);
}

static double microseconds(void) {
  struct timespec now;
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

/* What the text has collected, with enough in it that no figure is left at zero. */
static tarn_world *make_world(tarn_thread **self) {
  tarn_world *world;
  check(tarn_world_create(NULL, &world), "tarn_world_create");
  check(tarn_thread_attach(world, self), "tarn_thread_attach");
  for (unsigned i = 0; i < 100000; i++)
    if (!tarn_alloc_atomic(*self, 16 + i % 1000))
      check(tarn_thread_status(*self), "tarn_alloc_atomic");
  check(tarn_collect(*self, TARN_GENERATION_FULL), "tarn_collect");
  return world;
}

static bool drop(void *length, const char *text, size_t bytes) {
  (void)text;
  *(size_t *)length += bytes;
  return true;
}

static int by_size(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void measure(tarn_world *world, tarn_metrics_format format, const char *name,
                    const char *file, double *times, size_t count) {
  size_t length = 0;
  for (size_t i = 0; i < count; i++) {
    double from = microseconds();
    if (file)
      check(tarn_metrics_write_file(world, format, file), file);
    else
      check(tarn_metrics_write(world, format, drop, &length), "tarn_metrics_write");
    times[i] = microseconds() - from;
  }
  qsort(times, count, sizeof *times, by_size);
  printf("%-12s %-9s median %7.1f us, least %7.1f us", name, file ? "file" : "function",
         times[count / 2], times[0]);
  if (!file)
    printf(", %zu bytes", length / count);
  putchar('\n');
}

int main(int count, char **arguments) {
  tarn_thread *self;
  size_t times = count == 3 ? strtoul(arguments[2], NULL, 10) : 0;
  double *all = calloc(times, sizeof *all);
  if (times == 0 || !all) {
    fprintf(stderr, "usage: bench_metrics FILE TIMES\n");
    return 2;
  }
  tarn_world *world = make_world(&self);
  for (int to_file = 0; to_file < 2; to_file++) {
    const char *file = to_file ? arguments[1] : NULL;
    measure(world, TARN_METRICS_OPENMETRICS, "OpenMetrics", file, all, times);
    measure(world, TARN_METRICS_JSON, "JSON", file, all, times);
  }
  free(all);
  check(tarn_thread_detach(self), "tarn_thread_detach");
  check(tarn_world_destroy(world), "tarn_world_destroy");
  return 0;
}
