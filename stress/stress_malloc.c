/* SPDX-License-Identifier: MIT */
/*
 * stress_malloc: hunts races of the malloc door, by the engine's own names, since a sanitizer owns
 * malloc itself: threads that attach by allocating and are detached when they exit, frees by other
 * threads and by threads that never allocated, blocks of all sizes and alignments, figures and
 * trimming beside all that, and forks in the middle of it.
 *
 * With an odd seed there are a profile, metrics, a log and a page as well; then in the end no
 * sample may be in use.
 *
 * Every block knows its size and is filled with bytes that follow from it; blocks go from thread to
 * thread through slots.  A child of a fork frees what it finds there, and works a little.
 */
#include "common.h"
#include "doors/malloc.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <tarn/profile.h>
#include <unistd.h>

#define SLOTS 512u

struct block {
  size_t size;
  unsigned char bytes[];
};

static _Atomic(struct block *) slots[SLOTS];
static _Atomic uint64_t forks, births;

static void fill(struct block *block, size_t size) {
  block->size = size;
  size -= sizeof *block;
  memset(block->bytes, (int)(size & 0xff), size < 300 ? size : 300);
  if (size > 300)
    block->bytes[size - 1] = (unsigned char)size;
}

static void check(const struct block *block) {
  size_t size = block->size - sizeof *block;
  STRESS_CHECK(tarn_door_usable_size(block) >= block->size);
  for (size_t i = 0; i < size && i < 300; i++)
    STRESS_EQUAL(block->bytes[i], size & 0xff);
  if (size > 300)
    STRESS_EQUAL(block->bytes[size - 1], size & 0xff);
}

static size_t random_size(struct stress_random *random) {
  uint64_t kind = stress_below(random, 300);
  uint64_t most = kind == 0 ? 3000000 : kind < 4 ? 200000 : kind < 30 ? 20000 : 300;
  return sizeof(struct block) + (size_t)stress_below(random, most);
}

static struct block *make(struct stress_random *random) {
  size_t size = random_size(random), alignment = (size_t)1 << stress_below(random, 18);
  void *block = NULL;
  switch (stress_below(random, 8)) {
  case 0: {
    unsigned char *zeroed = tarn_door_calloc(1, size);
    for (size_t i = 0; zeroed && i < size; i += 1 + size / 400)
      STRESS_EQUAL(zeroed[i], 0);
    block = zeroed;
    break;
  }
  case 1:
    block = tarn_door_memalign(alignment, size);
    STRESS_EQUAL((uintptr_t)block % alignment, 0);
    break;
  case 2:
    block = tarn_door_realloc(NULL, size);
    break;
  default:
    block = tarn_door_malloc(size);
  }
  STRESS_CHECK(block && (uintptr_t)block % 16 == 0);
  fill(block, size);
  return block;
}

static void drop(struct block *block) {
  if (!block)
    return;
  check(block);
  errno = 77;
  tarn_door_free(block);
  STRESS_EQUAL(errno, 77);
}

/* Acquire and release: the block's bytes go with it. */
static struct block *exchange(struct stress_random *random, struct block *block) {
  return atomic_exchange_explicit(&slots[stress_below(random, SLOTS)], block, memory_order_acq_rel);
}

static void step(struct stress_random *random) {
  struct block *block = exchange(random, make(random));
  if (block && stress_below(random, 4) == 0) {
    size_t size = random_size(random), kept = size < block->size ? size : block->size;
    unsigned char first = kept > sizeof *block ? block->bytes[0] : 0;
    check(block);
    block = tarn_door_realloc(block, size);
    STRESS_CHECK(block && (kept == sizeof *block || block->bytes[0] == first));
    fill(block, size);
  }
  drop(block);
  if (stress_below(random, 3000) == 0) {
    (void)tarn_door_trim(0);
    struct mallinfo2 info = tarn_door_mallinfo2();
    STRESS_CHECK(info.uordblks <= info.arena);
  }
}

/* --- threads that come and go ---------------------------------------------------------------- */

struct birth {
  struct stress_random random;
  bool allocates;
};

static void *live(void *data) {
  struct birth *birth = data;
  for (uint64_t i = stress_below(&birth->random, 60); i > 0; i--)
    if (birth->allocates)
      step(&birth->random);
    else
      drop(exchange(&birth->random, NULL));
  return NULL;
}

static void give_birth(struct stress_random *random) {
  struct birth births_of[3];
  pthread_t threads[3];
  for (unsigned i = 0; i < 3; i++) {
    births_of[i] = (struct birth){{stress_next(random) | 1}, i != 0};
    STRESS_EQUAL(pthread_create(&threads[i], NULL, live, &births_of[i]), 0);
  }
  for (unsigned i = 0; i < 3; i++)
    STRESS_EQUAL(pthread_join(threads[i], NULL), 0);
  atomic_fetch_add_explicit(&births, 3, memory_order_relaxed);
}

static void fork_once(struct stress_random *random) {
  pid_t child = fork();
  if (child == 0) {
    (void)alarm(stress.patience * 2 / 3); /* a child has no watchdog */
    /* What was inherited goes first, or must keep its contents while memory is taken beside it. */
    bool first = stress_below(random, 2) == 0;
    for (unsigned i = 0; i < SLOTS && first; i++)
      drop(atomic_exchange_explicit(&slots[i], NULL, memory_order_acq_rel));
    for (unsigned i = 0; i < 600; i++)
      step(random);
    for (unsigned i = 0; i < SLOTS; i++)
      drop(atomic_exchange_explicit(&slots[i], NULL, memory_order_acq_rel));
    _exit(0);
  }
  int status = 1;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  STRESS_EQUAL(status, 0);
  atomic_fetch_add_explicit(&forks, 1, memory_order_relaxed);
}

static void work(void *data, unsigned number) {
  struct stress_random random = stress_random_of(number);
  (void)data;
  for (uint64_t round = 0; stress_on(&round);) {
    for (unsigned i = 0; i < 200; i++)
      step(&random);
    if (stress_below(&random, 8) == 0)
      give_birth(&random);
    if (number == 0 && stress_below(&random, 8) == 0)
      fork_once(&random);
  }
}

/* Before the first block. */
static void ask_for_reports(void) {
  static const char *const wanted[][2] = {{"TARN_PROFILE", "/dev/null"},
                                          {"TARN_PROFILE_RATE", "300"},
                                          {"TARN_METRICS", "/dev/null"},
                                          {"TARN_METRICS_EVERY", "10ms"},
                                          {"TARN_LOG", "heap=debug,thread:file=/dev/null"},
                                          {"TARN_LIVE", "1"}};
  for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
    STRESS_EQUAL(setenv(wanted[i][0], wanted[i][1], 1), 0);
  tarn_door_start();
}

static void check_profile(void) {
  tarn_profile_info info = {.struct_size = sizeof info};
  STRESS_EQUAL(tarn_profile_info_get(tarn_door_world(), &info), TARN_OK);
  STRESS_CHECK(info.samples > 1000);
  STRESS_EQUAL(info.in_use, 0);
  fprintf(stderr, "  %llu samples, %llu dropped\n", (unsigned long long)info.samples,
          (unsigned long long)info.dropped);
}

int main(int count, char **arguments) {
  stress_begin(
      count, arguments,
      "races of the malloc door: threads that come and go, frees by others, forks, trimming");
  if (stress.seed % 2)
    ask_for_reports();
  stress_run(NULL, stress.threads, work, NULL);
  for (unsigned i = 0; i < SLOTS; i++)
    drop(atomic_exchange_explicit(&slots[i], NULL, memory_order_acq_rel));
  if (stress.seed % 2)
    check_profile();
  fprintf(stderr, "  %llu forks, %llu births\n", (unsigned long long)atomic_load(&forks),
          (unsigned long long)atomic_load(&births));
  return stress_end();
}
