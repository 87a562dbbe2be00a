/* SPDX-License-Identifier: MIT */
/*
 * Late pairs: what a pair of malloc and free of 64 bytes costs in each round of a thread's
 * destructors of thread-specific data.  An allocator whose own destructor has run by then has to
 * serve the rest of the thread in some other way.  It is of no group, and run by hand.
 *
 * usage: alloc_late PAIRS
 */
#include <limits.h>
#include <time.h>

#include "alloc.h"

static pthread_key_t key;
static uint64_t pair_count, round_ns[PTHREAD_DESTRUCTOR_ITERATIONS];
static unsigned rounds;

static uint64_t now_ns(void) {
  struct timespec now;
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static uint64_t pairs(void) {
  uint64_t from = now_ns();
  for (uint64_t i = 0; i < pair_count; i++) {
    uint64_t *block = must(malloc(64));
    *block = i;
    escape(block);
    free(block);
  }
  return now_ns() - from;
}

/* Sets its key again, so that there is a next round, up to the last that there is. */
static void destroy(void *value) {
  round_ns[rounds] = pairs();
  if (++rounds < PTHREAD_DESTRUCTOR_ITERATIONS)
    (void)pthread_setspecific(key, value);
}

static void *work(void *data) {
  uint64_t *before = data;
  *before = pairs(); /* and the allocator knows the thread */
  if (pthread_setspecific(key, data) != 0)
    subject_fail("pthread_setspecific", "failed");
  return NULL;
}

int main(int argc, char **argv) {
  pthread_t thread;
  uint64_t before_ns = 0;
  if (argc != 2)
    subject_fail(argv[0], "usage: PAIRS");
  pair_count = subject_number(argv[1]);
  allocator_check();
  free(must(malloc(1))); /* an allocator's key comes first, and its destructor, too */
  if (pthread_key_create(&key, destroy) != 0 ||
      pthread_create(&thread, NULL, work, &before_ns) != 0)
    subject_fail("a thread", "cannot be made");
  (void)pthread_join(thread, NULL);
  printf("before: %.1f ns a pair", (double)before_ns / (double)pair_count);
  for (unsigned i = 0; i < rounds; i++)
    printf(", round %u: %.1f", i + 1, (double)round_ns[i] / (double)pair_count);
  putchar('\n');
  return 0;
}
