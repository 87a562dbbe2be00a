/* SPDX-License-Identifier: MIT */
/*
 * stress/common.h: what all stress programs share: arguments, random numbers, a start barrier,
 * progress, the time bound, and how a failure is told.
 *
 * A program calls stress_begin, starts its threads with stress_run, checks what must hold, and
 * returns stress_end.  Threads work while stress_on(round) says so: for the time bound, and for at
 * least `rounds_least` rounds.  Any thread may fail; the first failure ends the process at once,
 * with the command that repeats.  To hang is a failure, too: stress/watchdog.h.
 */
#ifndef TARN_STRESS_COMMON_H
#define TARN_STRESS_COMMON_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <tarn/tarn.h>

#if defined(TARN_SANITIZE_TSAN) || defined(TARN_SANITIZE_ASAN)
#define STRESS_SANITIZED 1
#else
#define STRESS_SANITIZED 0
#endif

struct stress {
  const char *program;
  const char *hunts; /* the kind of failure */
  unsigned seconds;
  uint64_t seed;
  unsigned threads;
  uint64_t nodes;        /* --nodes, 0 if it was not given */
  unsigned patience;     /* seconds without a round that are a hang; 0: none are */
  uint64_t rounds_least; /* of each thread, also when the time is over */
};
extern struct stress stress;

/* Counted by the threads (relaxed): rounds are printed once a second. */
extern _Atomic uint64_t stress_rounds, stress_steps;

/* Reads the options; ends the program on anything else.  `hunts` completes "This program hunts". */
void stress_begin(int count, char **arguments, const char *hunts);
/* Work goes on in a phase without rounds: for the watchdog (stress/watchdog.h). */
void stress_step(void);

/* A world with options `set`, without the environment's; never NULL. */
tarn_world *stress_world(const char *set);
/* The same, of a program that keeps the rules of tarn/store.h. */
tarn_world *stress_barrier_world(const char *set);
/* The same, of a program that counts references. */
tarn_world *stress_counting_world(const char *set);
tarn_thread *stress_attach(tarn_world *world);

/* xorshift; a state of its own for each user. */
struct stress_random {
  uint64_t state;
};
struct stress_random stress_random_of(unsigned number);
uint64_t stress_next(struct stress_random *random);
static inline uint64_t stress_below(struct stress_random *random, uint64_t bound) {
  return stress_next(random) % bound;
}

/* Runs `fn(data, number)` in `threads` threads that start together, waits for all; prints progress
 * about `world` (may be NULL) meanwhile. */
void stress_run(tarn_world *world, unsigned threads, void (*fn)(void *data, unsigned number),
                void *data);

/* For a program that calls stress_run several times: from now until the end of the next run there
 * is so much time, or what is left of the whole. */
void stress_run_for(unsigned milliseconds);

/* True while there is work: counts the caller's round. */
bool stress_on(uint64_t *round);
/* Only the clock. */
bool stress_time_left(void);
uint64_t stress_milliseconds(void); /* of the monotonic clock */

/* tarn_verify, or the end. */
void stress_verify(tarn_thread *self);
tarn_stats stress_stats(tarn_world *world);

_Noreturn void stress_fail(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
#define STRESS_CHECK(condition)                                  \
  do {                                                           \
    if (!(condition))                                            \
      stress_fail(__FILE__, __LINE__, "not so: %s", #condition); \
  } while (0)
#define STRESS_EQUAL(a, b)                                                                         \
  do {                                                                                             \
    uint64_t left_ = (uint64_t)(a), right_ = (uint64_t)(b);                                        \
    if (left_ != right_)                                                                           \
      stress_fail(__FILE__, __LINE__, "%s is %llu, %s is %llu", #a, (unsigned long long)left_, #b, \
                  (unsigned long long)right_);                                                     \
  } while (0)

/* The last words; returns the exit status. */
int stress_end(void);

#endif
