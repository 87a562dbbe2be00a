/* SPDX-License-Identifier: MIT */
/*
 * stress/common.c: see common.h.
 *
 * The end of the time is a flag that the main thread sets; a thread that sees it late does a round
 * more, so relaxed loads will do.  A hang is found by an alarm: its handler writes the command that
 * repeats, which was formatted beforehand, and ends the process.  The same line follows an abort of
 * the library.
 */
#include "common.h"
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct stress_settings stress = {.seconds = 10, .threads = 4};

static const char *program = "stress";
static struct stress_counter *shown;
static char repeat[512];  /* constant after stress_begin */
static _Atomic bool over; /* set once, by the main thread */
static uint64_t started;  /* main thread only */

static uint64_t now_ns(void) {
  struct timespec time;
  (void)clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* --- failing ---------------------------------------------------------------------------------- */

void stress_fail(const char *file, int line, const char *format, ...) {
  char text[1024];
  va_list arguments;
  va_start(arguments, format);
  (void)vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  const char *base = strrchr(file, '/');
  fprintf(stderr, "%s: FAILED: %s:%d: %s\n%s", program, base ? base + 1 : file, line, text, repeat);
  _exit(1);
}

static void write_all(const char *text) {
  ssize_t done = write(STDERR_FILENO, text, strlen(text));
  (void)done; /* nothing is left to be done about it */
}

static void on_alarm(int signal_number) {
  (void)signal_number;
  write_all("FAILED: hangs\n");
  write_all(repeat);
  if (getenv("STRESS_ABORT")) /* for a debugger */
    raise(SIGQUIT);
  _exit(1);
}

static void on_abort(int signal_number) {
  write_all("FAILED: aborted or crashed\n");
  write_all(repeat);
  (void)signal(signal_number, SIG_DFL);
  (void)raise(signal_number);
}

/* --- options ---------------------------------------------------------------------------------- */

_Noreturn static void usage(const struct stress_option *options) {
  fprintf(stderr, "usage: %s [--seconds N] [--seed S] [--threads T]", program);
  for (; options && options->name; options++)
    fprintf(stderr, " [--%s N (%llu to %llu)]", options->name, (unsigned long long)options->least,
            (unsigned long long)options->most);
  fprintf(stderr, "\n");
  exit(2);
}

static bool parse(const char *text, uint64_t least, uint64_t most, uint64_t *value) {
  char *end = NULL;
  errno = 0;
  unsigned long long number = text ? strtoull(text, &end, 10) : 0;
  if (!text || *text < '0' || *text > '9' || *end || errno || number < least || number > most)
    return false;
  *value = number;
  return true;
}

static void read_options(int argc, char **argv, struct stress_option *options) {
  struct stress_option own[] = {{"seconds", &stress.seconds, 1, 1000000},
                                {"seed", &stress.seed, 0, UINT64_MAX},
                                {"threads", &stress.threads, 1, 256},
                                {NULL, NULL, 0, 0}};
  for (int i = 1; i < argc; i += 2) {
    struct stress_option *found = NULL;
    for (struct stress_option *o = own; o->name && !found; o++)
      found = strncmp(argv[i], "--", 2) == 0 && strcmp(argv[i] + 2, o->name) == 0 ? o : NULL;
    for (struct stress_option *o = options; o && o->name && !found; o++)
      found = strncmp(argv[i], "--", 2) == 0 && strcmp(argv[i] + 2, o->name) == 0 ? o : NULL;
    if (!found || !parse(argv[i + 1], found->least, found->most, found->value))
      usage(options);
  }
}

static void format_repeat(const struct stress_option *options) {
  int used = snprintf(repeat, sizeof repeat, "to repeat: %s --seconds %llu --seed %llu --threads %llu",
                      program, (unsigned long long)stress.seconds, (unsigned long long)stress.seed,
                      (unsigned long long)stress.threads);
  for (; options && options->name && used > 0 && (size_t)used < sizeof repeat; options++)
    used += snprintf(repeat + used, sizeof repeat - (size_t)used, " --%s %llu", options->name,
                     (unsigned long long)*options->value);
  if (used > 0 && (size_t)used + 1 < sizeof repeat)
    memcpy(repeat + used, "\n", 2);
}

void stress_begin(int argc, char **argv, struct stress_option *options,
                  struct stress_counter *counters) {
  program = argv[0];
  shown = counters;
  started = now_ns();
  stress.seed = stress_mix((uint64_t)time(NULL) ^ now_ns()) >> 32;
  read_options(argc, argv, options);
  format_repeat(options);
  fprintf(stderr, "%s: seed %llu\n%s", program, (unsigned long long)stress.seed, repeat);
  (void)signal(SIGALRM, on_alarm);
  (void)signal(SIGABRT, on_abort);
#if !defined(TARN_SANITIZE_TSAN) && !defined(TARN_SANITIZE_ASAN)
  (void)signal(SIGSEGV, on_abort); /* the sanitizers have their own reports */
#endif
  (void)alarm((unsigned)stress.seconds * 2 + 90);
}

static void show(void) {
  char line[512];
  int used = snprintf(line, sizeof line, "%4llu s",
                      (unsigned long long)((now_ns() - started) / 1000000000u));
  for (struct stress_counter *c = shown; c && c->name && (size_t)used < sizeof line; c++)
    used += snprintf(line + used, sizeof line - (size_t)used, "  %s %llu", c->name,
                     (unsigned long long)stress_value(c));
  fprintf(stderr, "%s\n", line);
}

int stress_end(void) {
  (void)alarm(0);
  show();
  fprintf(stderr, "%s: passed, seed %llu\n", program, (unsigned long long)stress.seed);
  return 0;
}

/* --- random numbers and patterns -------------------------------------------------------------- */

struct stress_random stress_stream(uint64_t number) {
  return (struct stress_random){stress_mix(stress.seed ^ stress_mix(number))};
}

size_t stress_size(struct stress_random *random, size_t least, size_t most) {
  size_t doublings = 0;
  while ((least << (doublings + 1)) <= most)
    doublings++;
  size_t low = least << stress_below(random, doublings + 1);
  size_t high = low * 2 < most ? low * 2 : most;
  return low + stress_below(random, high - low + 1);
}

/* The byte offset of the next word of the pattern. */
static size_t after(size_t at, size_t last) {
  size_t next = at < 512 ? at + 8 : at + 256;
  return at < last && next > last ? last : next;
}

void stress_fill(void *memory, size_t size, uint64_t key) {
  size_t last = size / 8 * 8 - 8;
  for (size_t at = 0; at <= last; at = after(at, last))
    ((uint64_t *)memory)[at / 8] = stress_mix(key + at);
}

void stress_check_fill(const void *memory, size_t size, uint64_t key, const char *what) {
  size_t last = size / 8 * 8 - 8;
  for (size_t at = 0; at <= last; at = after(at, last)) {
    uint64_t word = ((const uint64_t *)memory)[at / 8];
    STRESS_CHECK(word == stress_mix(key + at), "%s %p of %zu bytes: offset %zu holds %#llx", what,
                 memory, size, at, (unsigned long long)word);
  }
}

void stress_check_zero(const void *memory, size_t size, const char *what) {
  const unsigned char *bytes = memory;
  for (size_t i = 0; i < size; i++)
    STRESS_CHECK(bytes[i] == 0, "%s %p of %zu bytes: byte %zu is %#x, not zero", what, memory, size,
                 i, bytes[i]);
}

/* --- worlds ----------------------------------------------------------------------------------- */

tarn_world *stress_world(const char *set) {
  tarn_options options = TARN_OPTIONS_INIT;
  tarn_world *world = NULL;
  char text[256];
#ifdef TARN_ZEAL
  (void)snprintf(text, sizeof text, "zeal=499%s%s", *set ? "," : "", set);
#else
  (void)snprintf(text, sizeof text, "%s", set);
#endif
  options.set = text;
  tarn_status status = tarn_world_create(&options, &world);
  STRESS_CHECK(status == TARN_OK && world, "no world: %s", tarn_strerror(status));
  return world;
}

tarn_thread *stress_attach(tarn_world *world) {
  tarn_thread *self = NULL;
  tarn_status status = tarn_thread_attach(world, &self);
  STRESS_CHECK(status == TARN_OK && self, "attach: %s", tarn_strerror(status));
  return self;
}

void stress_detach(tarn_thread *self) {
  tarn_status status = tarn_thread_detach(self);
  STRESS_CHECK(status == TARN_OK, "detach: %s", tarn_strerror(status));
}

void stress_world_end(tarn_world *world) {
  tarn_status status = tarn_world_destroy(world);
  STRESS_CHECK(status == TARN_OK, "the end of a world: %s", tarn_strerror(status));
}

tarn_stats stress_stats(tarn_world *world) {
  tarn_stats stats = {.struct_size = sizeof stats};
  tarn_status status = tarn_stats_get(world, &stats);
  STRESS_CHECK(status == TARN_OK, "tarn_stats_get: %s", tarn_strerror(status));
  return stats;
}

void stress_verify(tarn_thread *self) {
  char message[512] = "";
  tarn_status status = tarn_verify(self, message, sizeof message);
  STRESS_CHECK(status == TARN_OK, "tarn_verify: %s: %s", tarn_strerror(status), message);
}

void stress_collect(tarn_thread *self) {
  tarn_status status = tarn_collect(self, TARN_GENERATION_FULL);
  STRESS_CHECK(status == TARN_OK, "tarn_collect: %s", tarn_strerror(status));
}

/* --- threads ---------------------------------------------------------------------------------- */

static pthread_barrier_t barrier;
static void (*run_fn)(struct stress_thread *); /* written before the threads start */

bool stress_time_over(void) { return atomic_load_explicit(&over, memory_order_relaxed); }

bool stress_over(const struct stress_thread *thread, uint64_t least) {
  return thread->rounds >= least && stress_time_over();
}

static void *run_one(void *data) {
  struct stress_thread *thread = data;
  (void)pthread_barrier_wait(&barrier);
  run_fn(thread);
  return NULL;
}

static void watch(void) {
  uint64_t end = started + stress.seconds * 1000000000u;
  for (uint64_t now = now_ns(); now < end; now = now_ns()) {
    uint64_t rest = end - now < 1000000000u ? end - now : 1000000000u;
    struct timespec time = {(time_t)(rest / 1000000000u), (long)(rest % 1000000000u)};
    (void)nanosleep(&time, NULL);
    show();
  }
  atomic_store_explicit(&over, true, memory_order_relaxed);
}

void stress_run(unsigned count, void (*fn)(struct stress_thread *), void *data) {
  struct stress_thread *threads = calloc(count, sizeof *threads);
  STRESS_CHECK(threads, "no memory for %u threads", count);
  STRESS_CHECK(pthread_barrier_init(&barrier, NULL, count) == 0, "no barrier");
  run_fn = fn;
  for (unsigned i = 0; i < count; i++) {
    threads[i] = (struct stress_thread){.index = i, .random = stress_stream(i + 1), .data = data};
    STRESS_CHECK(pthread_create(&threads[i].id, NULL, run_one, &threads[i]) == 0, "no thread %u",
                 i);
  }
  watch();
  for (unsigned i = 0; i < count; i++)
    (void)pthread_join(threads[i].id, NULL);
  (void)pthread_barrier_destroy(&barrier);
  free(threads);
}
