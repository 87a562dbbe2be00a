/* SPDX-License-Identifier: MIT */
/*
 * bench/alloc/alloc.h: what the programs of group malloc share.
 *
 * They call malloc and its relatives only, are compiled once, and run with each allocator
 * preloaded. The environment variable BENCH_ALLOCATOR names the library that must then answer: a
 * preload that did not work would measure glibc without a word.
 *
 * Blocks carry a tag in their first word, which also says their size, and its complement in their
 * last; both are compared before the block is freed, and the tags are added up. What a program
 * allocates follows from its arguments alone, never from timing, so the sums of all allocators are
 * equal.
 */
#ifndef TARN_BENCH_ALLOC_H
#define TARN_BENCH_ALLOC_H

#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "subject.h"

/* --- which allocator ------------------------------------------------------------------------- */

static inline void allocator_check_one(const char *function, const char *expected) {
  Dl_info info;
  void *address = dlsym(RTLD_DEFAULT, function);
  if (!address || dladdr(address, &info) == 0 || !info.dli_fname)
    subject_fail(function, "cannot be found");
  const char *slash = strrchr(info.dli_fname, '/');
  const char *name = slash ? slash + 1 : info.dli_fname;
  if (strncmp(name, expected, strlen(expected)) != 0) {
    fprintf(stderr, "%s is that of %s and not of %s: nothing was measured\n", function, name,
            expected);
    exit(1);
  }
}

/* The first call of every program. */
static inline void allocator_check(void) {
  static const char *const functions[] = {"malloc", "free", "calloc", "realloc"};
  const char *expected = getenv("BENCH_ALLOCATOR");
  for (size_t i = 0; expected && i < sizeof functions / sizeof functions[0]; i++)
    allocator_check_one(functions[i], expected);
}

/* --- numbers --------------------------------------------------------------------------------- */

/* Marsaglia's xorshift with a multiplication behind it (Vigna): its high half is what is used. */
struct prng {
  uint64_t state;
};

static inline struct prng prng_seed(uint64_t seed) {
  uint64_t mixed = (seed + 1) * 0x9e3779b97f4a7c15u;
  return (struct prng){mixed ^ mixed >> 29};
}

static inline uint32_t prng_next(struct prng *prng) {
  uint64_t x = prng->state;
  x ^= x >> 12;
  x ^= x << 25;
  x ^= x >> 27;
  prng->state = x;
  return (uint32_t)(x * 0x2545f4914f6cdd1du >> 32);
}

/* Below `limit`. */
static inline uint32_t prng_below(struct prng *prng, uint32_t limit) {
  return (uint32_t)((uint64_t)prng_next(prng) * limit >> 32);
}

/* From `least` to `most`. */
static inline size_t prng_between(struct prng *prng, size_t least, size_t most) {
  return least + prng_below(prng, (uint32_t)(most - least + 1));
}

static inline void shuffle(void **pointers, size_t count, struct prng *prng) {
  for (size_t i = count; i > 1; i--) {
    size_t other = prng_below(prng, (uint32_t)i);
    void *pointer = pointers[i - 1];
    pointers[i - 1] = pointers[other];
    pointers[other] = pointer;
  }
}

/* --- blocks ---------------------------------------------------------------------------------- */

enum { TAG_SIZE_BITS = 24, BLOCK_LEAST = 8 };
#define BLOCK_MOST (((size_t)1 << TAG_SIZE_BITS) - 1)

/* The compiler must believe that somebody else looks at the block. */
static inline void escape(void *memory) { __asm__ __volatile__("" ::"r"(memory) : "memory"); }

static inline void *must(void *memory) {
  if (!memory)
    subject_fail("allocation", "out of memory");
  return memory;
}

/* Writes the tag. `number` is any number that helps to tell blocks apart. */
static inline void *block_mark(void *memory, size_t size, uint64_t number) {
  uint64_t tag = number << TAG_SIZE_BITS | size, end = ~tag;
  memcpy(memory, &tag, sizeof tag);
  if (size >= 2 * sizeof end)
    memcpy((char *)memory + size - sizeof end, &end, sizeof end);
  escape(memory);
  return memory;
}

static inline void *block_new(size_t size, uint64_t number) {
  return block_mark(must(malloc(size)), size, number);
}

/* Reads the tag, and checks that both ends of the block say the same. */
static inline uint64_t block_tag(const void *memory) {
  uint64_t tag, end;
  memcpy(&tag, memory, sizeof tag);
  size_t size = tag & BLOCK_MOST;
  if (size >= 2 * sizeof end) {
    memcpy(&end, (const char *)memory + size - sizeof end, sizeof end);
    if (end != ~tag)
      subject_fail("block", "its contents were changed by somebody else");
  }
  return tag;
}

/* Returns the tag. */
static inline uint64_t block_drop(void *memory) {
  uint64_t tag = block_tag(memory);
  free(memory);
  return tag;
}

/* The requests of a server: most are small, a few fill a page or more. */
static inline size_t server_size(struct prng *prng) {
  uint32_t kind = prng_below(prng, 1000);
  if (kind < 600)
    return prng_between(prng, 16, 128);
  if (kind < 900)
    return prng_between(prng, 129, 512);
  if (kind < 990)
    return prng_between(prng, 513, 2048);
  return prng_between(prng, 2049, 16384);
}

/* --- threads --------------------------------------------------------------------------------- */

enum { LANES_MOST = 64 };

/* A thread of the measured stretch. */
struct lane {
  pthread_t thread;
  unsigned index, lanes; /* which, of how many */
  uint64_t work;         /* this lane's part of the work */
  void *shared;
  void *own;        /* from `prepare` to `run` */
  uint64_t objects; /* results: blocks allocated, and the sum of the tags */
  uint64_t sum;
  const struct lane_work *todo;
};

struct lane_work {
  void (*prepare)(struct lane *lane); /* untimed; may be NULL */
  void (*run)(struct lane *lane);
};

struct lane_gates {
  pthread_barrier_t ready, go;
};

/* One set of lanes runs at a time. */
static struct lane_gates lane_gates;

/*
 * Lanes are dealt to the processors. Left alone, the kernel puts two threads that wake each other
 * up on one of them in some runs, and on two in others; the work then is not the same.
 */
static inline void lane_pin(unsigned index) {
  cpu_set_t allowed, own;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0)
    return;
  unsigned wanted = index % (unsigned)CPU_COUNT(&allowed), cpu = 0;
  while (!CPU_ISSET(cpu, &allowed) || wanted-- > 0)
    cpu++;
  CPU_ZERO(&own);
  CPU_SET(cpu, &own);
  pthread_setaffinity_np(pthread_self(), sizeof own, &own);
}

static inline void *lane_main(void *argument) {
  struct lane *lane = argument;
  lane_pin(lane->index);
  if (lane->todo->prepare)
    lane->todo->prepare(lane);
  pthread_barrier_wait(&lane_gates.ready);
  pthread_barrier_wait(&lane_gates.go);
  lane->todo->run(lane);
  return NULL;
}

static inline void thread_start(pthread_t *thread, void *(*main)(void *), void *argument) {
  if (pthread_create(thread, NULL, main, argument) != 0)
    subject_fail("thread", "cannot start it");
}

static inline struct stretch lanes_start(struct lane *lanes, unsigned count) {
  if (count == 1) { /* a program without threads: some allocators make a difference */
    if (lanes[0].todo->prepare)
      lanes[0].todo->prepare(&lanes[0]);
    return stretch_begin();
  }
  pthread_barrier_init(&lane_gates.ready, NULL, count + 1);
  pthread_barrier_init(&lane_gates.go, NULL, count + 1);
  for (unsigned i = 0; i < count; i++)
    thread_start(&lanes[i].thread, lane_main, &lanes[i]);
  pthread_barrier_wait(&lane_gates.ready);
  struct stretch stretch = stretch_begin(); /* before any of them can have begun */
  pthread_barrier_wait(&lane_gates.go);
  return stretch;
}

static inline void figure_check(uint64_t sum) {
  /* As a double: only what that can hold exactly. */
  subject_figure("check", (double)(sum & (((uint64_t)1 << 52) - 1)));
}

/*
 * Runs the work in `count` threads, of which each gets its part of `work`, and prints the figures.
 * One thread is the main thread.
 */
static inline void run_lanes(unsigned count, uint64_t work, const struct lane_work *todo,
                             void *shared) {
  static struct lane lanes[LANES_MOST];
  uint64_t objects = 0, sum = 0;
  if (count == 0 || count > LANES_MOST)
    subject_fail("threads", "1 to 64");
  for (unsigned i = 0; i < count; i++)
    lanes[i] = (struct lane){
        .index = i, .lanes = count, .work = work / count, .shared = shared, .todo = todo};
  struct stretch stretch = lanes_start(lanes, count);
  if (count == 1)
    todo->run(&lanes[0]);
  for (unsigned i = 0; i < count; i++) {
    if (count > 1)
      pthread_join(lanes[i].thread, NULL);
    objects += lanes[i].objects;
    sum += lanes[i].sum;
  }
  stretch_end(stretch, (double)objects);
  figure_check(sum);
}

/* The arguments of most programs: THREADS WORK. */
static inline void run_program(int argc, char **argv, const struct lane_work *todo, void *shared) {
  allocator_check();
  if (argc != 3)
    subject_fail(argv[0], "usage: THREADS WORK");
  run_lanes((unsigned)subject_number(argv[1]), subject_number(argv[2]), todo, shared);
}

#endif
