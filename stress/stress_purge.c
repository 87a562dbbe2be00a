/* SPDX-License-Identifier: MIT */
/*
 * stress_purge: hunts memory that goes back to the system while it is in use: a unit that a purge
 * has claimed and somebody takes, or that counts as clean and is not, and units, arenas or
 * allocations that get lost between a purge and those that take and free.
 *
 * Threads take blocks of pools (two to four in a pool, so that pools come and go) and large blocks,
 * look that they are zero, write to each page, and free them again after a while, or drop them to
 * the collector.  The delay is as small as it can be; one thread, which is not attached, gives back
 * all it can get, and the others do so too now and then.  A page that went back while in use reads
 * as zero where something was written; a unit that was taken dirty for clean reads as something
 * where zero is due; and tarn_verify looks at the books.
 */
#include "common.h"
#include <stdio.h>
#include <time.h>

#define SLOTS 24u /* of each thread */
#define MOST_THREADS 64u
#define LARGEST ((size_t)512 << 10)
#define STEP 512u /* words are written at this distance */

struct block {
  uint64_t serial, size;
};

static tarn_world *world;
static void *slots[MOST_THREADS * SLOTS]; /* roots; each is one thread's own */
static _Atomic uint64_t next_serial, trimmed;

static void check_zero(const void *memory, size_t size) {
  const uint64_t *words = memory;
  for (size_t i = 0; i < size / 8; i += STEP / 8)
    if (words[i] != 0)
      stress_fail(__FILE__, __LINE__, "word %zu of a new block of %zu is %#llx", i, size,
                  (unsigned long long)words[i]);
}

static void *make(tarn_thread *self, struct stress_random *random) {
  size_t size = 16384 + (size_t)stress_below(random, 16384);
  if (stress_below(random, 3) == 0)
    size = TARN_LARGE_LIMIT + 8 + (size_t)stress_below(random, LARGEST);
  struct block *block = tarn_alloc_atomic(self, size);
  if (!block)
    stress_fail(__FILE__, __LINE__, "no memory for %zu bytes: %s", size,
                tarn_strerror(tarn_thread_status(self)));
  check_zero(block, size);
  uint64_t *words = (void *)block;
  block->serial = 1 + atomic_fetch_add_explicit(&next_serial, 1, memory_order_relaxed);
  block->size = size;
  for (size_t i = STEP / 8; i < size / 8; i += STEP / 8)
    words[i] = block->serial + i;
  return block;
}

static void check(const void *memory) {
  const struct block *block = memory;
  const uint64_t *words = memory;
  STRESS_CHECK(block->serial != 0 && block->size >= 16384);
  for (size_t i = STEP / 8; i < block->size / 8; i += STEP / 8)
    STRESS_EQUAL(words[i], block->serial + i);
}

/* Not attached. */
static void trim_always(struct stress_random *random) {
  while (stress_time_left()) {
    size_t given = tarn_trim(world, stress_below(random, 2) ? 0 : 1u << 20);
    atomic_fetch_add_explicit(&trimmed, given, memory_order_relaxed);
    struct timespec nap = {.tv_nsec = (long)stress_below(random, 500000)};
    (void)nanosleep(&nap, NULL);
  }
}

static void work(void *data, unsigned number) {
  struct stress_random random = stress_random_of(number);
  (void)data;
  if (number == 0) {
    trim_always(&random);
    return;
  }
  tarn_thread *self = stress_attach(world);
  for (uint64_t round = 0; stress_on(&round);) {
    for (unsigned i = 0; i < 20; i++) {
      void **slot = &slots[number * SLOTS + stress_below(&random, SLOTS)];
      void *old = *slot;
      if (old)
        check(old);
      *slot = NULL;
      if (old && stress_below(&random, 8))
        tarn_free(self, old);
      if (stress_below(&random, 3))
        *slot = make(self, &random);
      tarn_safepoint(self);
    }
    if (stress_below(&random, 50) == 0)
      (void)tarn_trim(world, stress_below(&random, 2) ? 0 : 1u << 20);
    if (stress_below(&random, 100) == 0)
      STRESS_EQUAL(tarn_collect(self, TARN_GENERATION_FULL), TARN_OK);
    if (number == 1 && round % 64 == 0)
      stress_verify(self);
  }
  STRESS_EQUAL(tarn_thread_detach(self), TARN_OK);
}

int main(int count, char **arguments) {
  stress_begin(
      count, arguments,
      "memory that goes back to the system while it is in use, or is not zero when it comes back");
  world = stress_world("purge-delay=1ms,min-heap=64M,retain=0");
  for (size_t i = 0; i < MOST_THREADS * SLOTS; i++)
    STRESS_EQUAL(tarn_root_add(world, &slots[i]), TARN_OK);
  stress_run(world, stress.threads < 2 ? 2 : stress.threads, work, NULL);

  tarn_thread *self = stress_attach(world);
  for (size_t i = 0; i < MOST_THREADS * SLOTS; i++) {
    if (slots[i])
      check(slots[i]);
    slots[i] = NULL;
  }
  STRESS_EQUAL(tarn_collect(self, TARN_GENERATION_FULL), TARN_OK);
  stress_verify(self);
  (void)tarn_trim(world, 0);
  tarn_stats stats = stress_stats(world);
  STRESS_EQUAL(stats.heap_bytes, 0);
  STRESS_EQUAL(stats.dirty_bytes, 0);
  STRESS_CHECK(stats.returned_bytes > 0);
  printf("%llu MiB given back, %llu of these at once\n",
         (unsigned long long)stats.returned_bytes >> 20,
         (unsigned long long)atomic_load(&trimmed) >> 20);
  STRESS_EQUAL(tarn_thread_detach(self), TARN_OK);
  STRESS_EQUAL(tarn_world_destroy(world), TARN_OK);
  return stress_end();
}
