/* SPDX-License-Identifier: MIT */
/*
 * stress/common.c: see stress/common.h.
 */
#include "common.h"
#include "watchdog.h"
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct stress stress = {.seconds = 10, .threads = 4, .rounds_least = 10};
_Atomic uint64_t stress_rounds, stress_steps;

static uint64_t began;
static uint64_t run_ends = UINT64_MAX; /* changes between runs only */

static uint64_t now(void) {
  struct timespec time;
  (void)clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void print_usage(FILE *file) {
  fprintf(file,
          "usage: %s [--seconds N] [--seed S] [--threads T (1 to 64)] [--nodes N] [--patience N]\n"
          "hunts %s\n"
          "  --seconds N   works for so long (%u)\n"
          "  --seed S      what random numbers begin with; with an even one threads get signals\n"
          "  --threads T   how many threads work, within what the program can do (%u)\n"
          "  --nodes N     for programs that build one large thing\n"
          "  --patience N  fails when nothing was counted for N seconds; 0: waits for ever\n",
          stress.program, stress.hunts, stress.seconds, stress.threads);
}

static _Noreturn void usage(const char *what) {
  fprintf(stderr, "%s: %s\n", stress.program, what);
  print_usage(stderr);
  exit(2);
}

static uint64_t number_of(const char *text) {
  char *end;
  errno = 0;
  unsigned long long value = strtoull(text, &end, 10);
  if (*text < '0' || *text > '9' || *end || errno)
    usage("that is not a number");
  return value;
}

static void read_option(const char *name, uint64_t value) {
  if (strcmp(name, "--seconds") == 0 && value < 1000000)
    stress.seconds = (unsigned)value;
  else if (strcmp(name, "--seed") == 0)
    stress.seed = value;
  else if (strcmp(name, "--threads") == 0 && value >= 1 && value <= 64)
    stress.threads = (unsigned)value;
  else if (strcmp(name, "--nodes") == 0 && value <= 1000000000)
    stress.nodes = value;
  else if (strcmp(name, "--patience") == 0 && value < 1000000)
    stress.patience = (unsigned)value;
  else
    usage("an unknown option, or a value out of range");
}

void stress_begin(int count, char **arguments, const char *hunts) {
  stress.program = arguments[0];
  stress.hunts = hunts;
  struct timespec time;
  (void)clock_gettime(CLOCK_REALTIME, &time);
  stress.seed = (uint64_t)time.tv_nsec ^ (uint64_t)time.tv_sec << 20;
  stress.patience = UINT_MAX;
  for (int i = 1; i < count; i += 2) {
    if (strcmp(arguments[i], "--help") == 0) {
      print_usage(stdout);
      exit(0);
    }
    if (i + 1 >= count)
      usage("an option without its value, or an unknown one");
    read_option(arguments[i], number_of(arguments[i + 1]));
  }
  if (stress.patience == UINT_MAX)
    stress.patience = stress_patience_for(stress.threads);
  fprintf(stderr, "%s hunts %s\n%s: seed %llu, %u threads, %u s\n", stress.program, hunts,
          stress.program, (unsigned long long)stress.seed, stress.threads, stress.seconds);
  began = now();
  stress_watch();
}

void stress_step(void) {
  (void)atomic_fetch_add_explicit(&stress_steps, 1, memory_order_relaxed); /* a figure */
}

/* --- failures -------------------------------------------------------------------------------- */

void stress_fail(const char *file, int line, const char *format, ...) {
  static pthread_mutex_t first = PTHREAD_MUTEX_INITIALIZER;
  char text[512];
  va_list arguments;
  (void)pthread_mutex_lock(&first); /* never given back: the others' failures may follow from it */
  va_start(arguments, format);
  (void)vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  fprintf(stderr, "%s: FAILED after %llu rounds: %s:%d: %s\n", stress.program,
          (unsigned long long)atomic_load_explicit(&stress_rounds, memory_order_relaxed), file,
          line, text);
  fprintf(stderr, "repeat with: %s --seconds %u --seed %llu --threads %u\n", stress.program,
          stress.seconds, (unsigned long long)stress.seed, stress.threads);
  abort(); /* a core, and the sanitizers' view of it */
}

int stress_end(void) {
  fprintf(stderr, "%s: good: %llu rounds in %.1f s, seed %llu\n", stress.program,
          (unsigned long long)atomic_load_explicit(&stress_rounds, memory_order_relaxed),
          (double)(now() - began) / 1e9, (unsigned long long)stress.seed);
  return 0;
}

/* --- worlds ---------------------------------------------------------------------------------- */

static tarn_world *make_world(const char *set, unsigned flags) {
  tarn_options options = TARN_OPTIONS_INIT;
  tarn_world *world = NULL;
  char text[256];
#if defined(TARN_ZEAL) && TARN_ZEAL
  const char *zeal = ",zeal=61";
#else
  const char *zeal = "";
#endif
  /* Who is waited for is told before the watchdog ends it all. */
  int length =
      snprintf(text, sizeof text, "stop-timeout=%us%s%s%s",
               stress.patience ? stress.patience / 3 + 1 : 60u, zeal, *set ? "," : "", set);
  STRESS_CHECK(length > 0 && (size_t)length < sizeof text);
  options.set = text;
  options.flags = TARN_OPTIONS_NO_ENVIRONMENT | flags;
  tarn_status status = tarn_world_create(&options, &world);
  if (status != TARN_OK)
    stress_fail(__FILE__, __LINE__, "no world: %s", tarn_strerror(status));
  return world;
}

tarn_world *stress_world(const char *set) { return make_world(set, 0); }

tarn_world *stress_barrier_world(const char *set) { return make_world(set, TARN_OPTIONS_BARRIERS); }

tarn_world *stress_counting_world(const char *set) {
  return make_world(set, TARN_OPTIONS_COUNTING);
}

tarn_thread *stress_attach(tarn_world *world) {
  tarn_thread *self = NULL;
  tarn_status status = tarn_thread_attach(world, &self);
  if (status != TARN_OK)
    stress_fail(__FILE__, __LINE__, "cannot attach: %s", tarn_strerror(status));
  return self;
}

void stress_verify(tarn_thread *self) {
  char message[400] = "";
  tarn_status status = tarn_verify(self, message, sizeof message);
  if (status != TARN_OK)
    stress_fail(__FILE__, __LINE__, "tarn_verify: %s: %s", tarn_strerror(status), message);
}

tarn_stats stress_stats(tarn_world *world) {
  tarn_stats stats = {.struct_size = sizeof stats};
  STRESS_EQUAL(tarn_stats_get(world, &stats), TARN_OK);
  return stats;
}

/* --- random numbers -------------------------------------------------------------------------- */

struct stress_random stress_random_of(unsigned number) {
  struct stress_random random = {(stress.seed + 1) * 0x9e3779b97f4a7c15u +
                                 number * 0xbf58476d1ce4e5b9u};
  if (random.state == 0)
    random.state = 1;
  for (unsigned i = 0; i < 8; i++)
    (void)stress_next(&random);
  return random;
}

uint64_t stress_next(struct stress_random *random) {
  random->state ^= random->state << 13;
  random->state ^= random->state >> 7;
  random->state ^= random->state << 17;
  return random->state * 0x2545f4914f6cdd1du >> 11;
}

/* --- threads --------------------------------------------------------------------------------- */

void stress_run_for(unsigned milliseconds) { run_ends = now() + milliseconds * 1000000ull; }

bool stress_time_left(void) {
  return now() - began < (uint64_t)stress.seconds * 1000000000u && now() < run_ends;
}

uint64_t stress_milliseconds(void) { return now() / 1000000u; }

bool stress_on(uint64_t *round) {
  /* Relaxed: a figure. */
  (void)atomic_fetch_add_explicit(&stress_rounds, 1, memory_order_relaxed);
  return ++*round <= stress.rounds_least || stress_time_left();
}

struct start {
  pthread_barrier_t barrier;
  void (*fn)(void *, unsigned);
  void *data;
  _Atomic unsigned running;
};
struct one {
  struct start *start;
  pthread_t thread;
  unsigned number;
};

static void *go(void *data) {
  struct one *one = data;
  struct start *start = one->start;
  (void)pthread_barrier_wait(&start->barrier);
  start->fn(start->data, one->number);
  atomic_fetch_sub_explicit(&start->running, 1, memory_order_relaxed); /* ends the progress only */
  return NULL;
}

static void tell(tarn_world *world) {
  unsigned long long rounds = atomic_load_explicit(&stress_rounds, memory_order_relaxed);
  double seconds = (double)(now() - began) / 1e9;
  if (!world) {
    fprintf(stderr, "  %6.1f s  %10llu rounds\n", seconds, rounds);
    return;
  }
  tarn_stats stats = stress_stats(world);
  fprintf(
      stderr,
      "  %6.1f s  %10llu rounds  %6llu collections  %5llu KiB held  %llu threads  stop %llu us\n",
      seconds, rounds, (unsigned long long)stats.collections,
      (unsigned long long)stats.heap_bytes / 1024, (unsigned long long)stats.threads,
      (unsigned long long)stats.stop_max_ns / 1000);
}

/* System calls of the threads, and of the library inside them, end early now and then.  Not with an
 * odd seed: a signal also wakes a thread that nobody else would have woken. */
static void ignore_signal(int number) { (void)number; }

static void start_signals(void) {
  struct sigaction action = {.sa_handler = ignore_signal}; /* no SA_RESTART */
  STRESS_EQUAL(sigaction(SIGUSR1, &action, NULL), 0);
}

void stress_run(tarn_world *world, unsigned threads, void (*fn)(void *, unsigned), void *data) {
  static struct one ones[64];
  struct start start = {.fn = fn, .data = data};
  start_signals();
  stress_watch_world(world);
  stress_step();
  STRESS_CHECK(threads <= 64);
  atomic_init(&start.running, threads);
  STRESS_EQUAL(pthread_barrier_init(&start.barrier, NULL, threads), 0);
  for (unsigned i = 0; i < threads; i++) {
    ones[i] = (struct one){.start = &start, .number = i};
    STRESS_EQUAL(pthread_create(&ones[i].thread, NULL, go, &ones[i]), 0);
  }
  uint64_t told = now();
  for (unsigned next = 0; atomic_load_explicit(&start.running, memory_order_relaxed) != 0; next++) {
    (void)usleep(5000);
    if (stress.seed % 2 == 0)
      (void)pthread_kill(ones[next % threads].thread, SIGUSR1);
    if (now() - told >= 1000000000u) {
      told = now();
      tell(world);
    }
  }
  for (unsigned i = 0; i < threads; i++)
    STRESS_EQUAL(pthread_join(ones[i].thread, NULL), 0);
  STRESS_EQUAL(pthread_barrier_destroy(&start.barrier), 0);
  stress_watch_world(NULL);
  stress_step();
  run_ends = UINT64_MAX;
}
