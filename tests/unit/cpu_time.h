/* SPDX-License-Identifier: MIT */
/*
 * cpu_time.h: the clock of tests that bound time.
 */
#ifndef TARN_TESTS_CPU_TIME_H
#define TARN_TESTS_CPU_TIME_H

#include <stdint.h>
#include <time.h>

/* Nanoseconds that this thread has worked: other load on the machine does not count. */
static inline uint64_t cpu_time(void) {
  struct timespec now = {0, 0};
  (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

#endif
