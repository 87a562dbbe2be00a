/* SPDX-License-Identifier: MIT */
/*
 * bench/subject.h: what every subject program shares: clocks, and figures on standard output.
 *
 * A figure is a line "KEY NUMBER". Keys that the harness knows: wall_ns, cpu_ns (of the measured
 * stretch, all threads of the process), check (must be equal for all subjects), ns_per_object,
 * bytes_per_object, heap_bytes (the peak of the subject's heap), collections.
 */
#ifndef TARN_BENCH_SUBJECT_H
#define TARN_BENCH_SUBJECT_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static inline _Noreturn void subject_fail(const char *subject, const char *why) {
  fprintf(stderr, "%s: %s\n", subject, why);
  exit(1);
}

static inline void subject_figure(const char *key, double value) {
  printf("%s %.17g\n", key, value);
}

static inline double subject_clock(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

/* The measured stretch. */
struct stretch {
  double wall, cpu;
};

static inline struct stretch stretch_begin(void) {
  struct stretch stretch;
  stretch.cpu = subject_clock(CLOCK_PROCESS_CPUTIME_ID);
  stretch.wall = subject_clock(CLOCK_MONOTONIC);
  return stretch;
}

/* `objects`: how many were allocated in it. */
static inline void stretch_end(struct stretch begin, double objects) {
  double wall = subject_clock(CLOCK_MONOTONIC) - begin.wall;
  double cpu = subject_clock(CLOCK_PROCESS_CPUTIME_ID) - begin.cpu;
  subject_figure("wall_ns", wall);
  subject_figure("cpu_ns", cpu);
  subject_figure("ns_per_object", wall / objects);
}

/* Resident bytes of the process now. */
static inline double subject_resident(void) {
  unsigned long long size = 0, resident = 0;
  FILE *file = fopen("/proc/self/statm", "r");
  if (!file || fscanf(file, "%llu %llu", &size, &resident) != 2)
    subject_fail("subject", "cannot read /proc/self/statm");
  fclose(file);
  return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

static inline uint64_t subject_number(const char *text) {
  char *end;
  unsigned long long value = strtoull(text, &end, 10);
  if (end == text || *end)
    subject_fail(text, "is not a number");
  return value;
}

#endif
