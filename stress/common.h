/* SPDX-License-Identifier: MIT */
/*
 * stress/common.h: what all stress programs share: options, seeds, threads that start together,
 * a line of progress each second, a watch for hangs, and checks that end the program with the
 * command that repeats it.
 *
 * A program fills a table of counters, calls stress_begin, makes its worlds and threads, and ends
 * with stress_end.  Everything here may be called from any thread unless it says otherwise.
 */
#ifndef TARN_STRESS_COMMON_H
#define TARN_STRESS_COMMON_H

#include <pthread.h>
#include <stdatomic.h>
#include <tarn/tarn.h>

#if defined(TARN_SANITIZE_TSAN) || defined(TARN_SANITIZE_ASAN) || defined(TARN_CHECKING) || \
    defined(TARN_ZEAL)
#define STRESS_SLOW 1
#else
#define STRESS_SLOW 0
#endif

/* --- options and the end ---------------------------------------------------------------------- */

struct stress_settings {
  uint64_t seconds;
  uint64_t seed;
  uint64_t threads;
};
extern struct stress_settings stress; /* constant after stress_begin */

/* An option of one program only, `--name N`; `least` and `most` are accepted too. */
struct stress_option {
  const char *name;
  uint64_t *value;
  uint64_t least, most;
};

/* A number that the progress line shows.  Relaxed everywhere: nothing is decided by it while
 * threads run, and they are joined before it is checked. */
struct stress_counter {
  const char *name;
  _Atomic uint64_t value;
};

/* Parses the command line (exits with 2 when it is wrong), prints the seed.  Both tables end with
 * a NULL name; `options` may be NULL.  The main thread, first of all. */
void stress_begin(int argc, char **argv, struct stress_option *options,
                  struct stress_counter *counters);

/* The last line of a good run; returns the exit status 0.  The main thread. */
int stress_end(void);

/* Ends the process with status 1, a message, and the command that repeats. */
_Noreturn void stress_fail(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define STRESS_CHECK(condition, ...)               \
  do {                                             \
    if (TARN_UNLIKELY(!(condition)))               \
      stress_fail(__FILE__, __LINE__, __VA_ARGS__); \
  } while (0)

static inline void stress_count(struct stress_counter *counter, uint64_t amount) {
  atomic_fetch_add_explicit(&counter->value, amount, memory_order_relaxed);
}
static inline uint64_t stress_value(struct stress_counter *counter) {
  return atomic_load_explicit(&counter->value, memory_order_relaxed);
}

/* --- random numbers --------------------------------------------------------------------------- */

struct stress_random {
  uint64_t state;
};

/* One bijective mixing step; also what patterns are made of. */
static inline uint64_t stress_mix(uint64_t word) {
  word += 0x9e3779b97f4a7c15u;
  word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9u;
  word = (word ^ (word >> 27)) * 0x94d049bb133111ebu;
  return word ^ (word >> 31);
}
static inline uint64_t stress_next(struct stress_random *random) {
  random->state += 0x9e3779b97f4a7c15u;
  return stress_mix(random->state);
}
/* 0 .. limit-1. */
static inline size_t stress_below(struct stress_random *random, size_t limit) {
  return (size_t)(stress_next(random) % limit);
}
static inline bool stress_one_in(struct stress_random *random, size_t n) {
  return stress_below(random, n) == 0;
}

/* A size from `least` to `most`, small ones more often: each doubling is equally likely. */
size_t stress_size(struct stress_random *random, size_t least, size_t most);

/* The stream of random numbers with this number, by the seed. */
struct stress_random stress_stream(uint64_t number);

/* --- patterns: memory that knows what it must hold -------------------------------------------- */

/* Every word of the first 512 bytes, then one word per 256 bytes and the last; `size` >= 8. */
void stress_fill(void *memory, size_t size, uint64_t key);
void stress_check_fill(const void *memory, size_t size, uint64_t key, const char *what);
void stress_check_zero(const void *memory, size_t size, const char *what);

/* --- worlds ----------------------------------------------------------------------------------- */

/* `set` as tarn_options.set.  The environment is read too, for TARN_LOG=gc and the like. */
tarn_world *stress_world(const char *set);
tarn_thread *stress_attach(tarn_world *world);
void stress_detach(tarn_thread *self);
void stress_world_end(tarn_world *world);
tarn_stats stress_stats(tarn_world *world);
void stress_verify(tarn_thread *self);
void stress_collect(tarn_thread *self);

/* --- threads ---------------------------------------------------------------------------------- */

struct stress_thread {
  unsigned index;
  struct stress_random random;
  uint64_t rounds; /* counted by the thread; read after the join */
  void *data;
  pthread_t id;
};

/* Is the time over and did the thread do at least so many rounds? */
bool stress_over(const struct stress_thread *thread, uint64_t least);
bool stress_time_over(void);

/* Runs `fn` in `count` threads that start together, shows progress until the time is over, and
 * joins them.  No world's thread may be running in the caller.  The main thread. */
void stress_run(unsigned count, void (*fn)(struct stress_thread *), void *data);

#endif
