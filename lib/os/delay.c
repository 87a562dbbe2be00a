/* SPDX-License-Identifier: MIT */
/*
 * os/delay.c: waiting at random, between the steps of protocols, in builds with TARN_DELAYS.
 *
 * Most calls do nothing; some spin, some give the processor away, a few sleep for as long as a
 * thread may be off its processor.  Where and how long differs from run to run: a seed could not
 * bring a schedule back.
 */
#include "os/os.h"

#if TARN_DELAYS
#include <sched.h>
#include <time.h>

#define SLEEP_MOST_NS 300000u

/* The thread's own. */
static __thread uint64_t state;

static uint64_t draw(void) {
  if (state == 0)
    state = tarn_os_now() ^ (uint64_t)(uintptr_t)&state;
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

void tarn_os_delay(void) {
  uint64_t number = draw(), length = number >> 32;
  if (number % 256 == 0) {
    struct timespec time = {.tv_nsec = (long)(length % SLEEP_MOST_NS)};
    (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &time, NULL); /* errno stays */
  } else if (number % 32 == 0) {
    (void)sched_yield();
  } else if (number % 8 == 0) {
    for (uint64_t i = length % 128; i; i--)
      tarn_os_pause();
  }
}
#endif
