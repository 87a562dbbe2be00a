/* SPDX-License-Identifier: MIT */
/*
 * Properties of stopping the world.  The storms let threads write plain memory between safepoints
 * that the requester reads and writes during its stops, so a thread that runs when it must not
 * shows in the values, and under the thread sanitizer as a race.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sem.h>
#include <sys/syscall.h>
#include <tarn/tarn.h>
#include <time.h>
#include <unistd.h>

#include "world/straggler.h"
#include "world/world.h"

#define THREADS 4
#ifdef TARN_SANITIZE_TSAN
#define STOPS 1500
#elif TARN_CHECKING || TARN_HARDENED /* release builds, which are fast, do more */
#define STOPS 800
#else
#define STOPS 3000
#endif

static tarn_world *make_world(const char *set) {
  tarn_options options = TARN_OPTIONS_INIT;
  tarn_world *world = NULL;
  options.set = set;
  options.flags = TARN_OPTIONS_NO_ENVIRONMENT;
  assert_int_equal(tarn_world_create(&options, &world), TARN_OK);
  return world;
}
static void end_world(tarn_world *world) { assert_int_equal(tarn_world_destroy(world), TARN_OK); }
static tarn_thread *attach(tarn_world *world) {
  tarn_thread *self = NULL;
  assert_int_equal(tarn_thread_attach(world, &self), TARN_OK);
  return self;
}
static void sleep_ms(long ms) {
  struct timespec time = {.tv_nsec = ms * 1000000};
  (void)nanosleep(&time, NULL);
}
static bool flag(_Atomic bool *where) { return atomic_load_explicit(where, memory_order_acquire); }
static void raise_flag(_Atomic bool *where) {
  atomic_store_explicit(where, true, memory_order_release);
}
static void wait_flag(_Atomic bool *where) {
  while (!flag(where))
    sleep_ms(1);
}

/* --- storms ---------------------------------------------------------------------------------- */

enum habit { POLLS, BLOCKS, HOLDS, COMES_AND_GOES, ALL_HABITS };

struct worker {
  _Alignas(64) uint64_t left, right; /* plain: equal at every safepoint */
  uint64_t rounds;
  tarn_world *world;
  enum habit habit;
  _Atomic bool *stop;
  _Atomic uint32_t *errors;
  _Atomic uint32_t *ready;
};

static void touch(struct worker *worker) {
  worker->left++;
  worker->rounds++;
  for (volatile int i = 0; i < 20; i++) {
  }
  worker->right++;
}

static void one_round(struct worker *worker, tarn_thread **self) {
  switch (worker->habit) {
  case BLOCKS:
    tarn_block_begin(*self);
    tarn_block_end(*self);
    touch(worker);
    tarn_safepoint(*self);
    break;
  case HOLDS:
    tarn_gc_hold(*self);
    worker->left++;
    tarn_safepoint(*self); /* must not stop here: the two differ */
    worker->right++;
    worker->rounds++;
    tarn_gc_release(*self);
    break;
  case COMES_AND_GOES:
    touch(worker);
    if (worker->rounds % 64 == 0) {
      if (tarn_thread_detach(*self) != TARN_OK ||
          tarn_thread_attach(worker->world, self) != TARN_OK)
        atomic_fetch_add(worker->errors, 1);
    }
    tarn_safepoint(*self);
    break;
  default:
    touch(worker);
    tarn_safepoint(*self);
  }
}

static void *work(void *data) {
  struct worker *worker = data;
  tarn_thread *self;
  if (tarn_thread_attach(worker->world, &self) != TARN_OK)
    atomic_fetch_add(worker->errors, 1);
  atomic_fetch_add(worker->ready, 1);
  while (!atomic_load_explicit(worker->stop, memory_order_relaxed))
    one_round(worker, &self);
  (void)tarn_thread_detach(self);
  return NULL;
}

struct storm {
  tarn_world *world;
  struct worker workers[THREADS * ALL_HABITS];
  pthread_t threads[THREADS * ALL_HABITS];
  int count;
  _Atomic bool stop;
  _Atomic uint32_t errors, ready;
  _Atomic uint64_t stops, joined;
};

static void start_storm(struct storm *storm, const enum habit *habits, int count) {
  memset(storm, 0, sizeof *storm);
  storm->world = make_world("");
  storm->count = count;
  for (int i = 0; i < count; i++) {
    storm->workers[i] = (struct worker){.world = storm->world,
                                        .habit = habits[i],
                                        .stop = &storm->stop,
                                        .errors = &storm->errors,
                                        .ready = &storm->ready};
    assert_int_equal(pthread_create(&storm->threads[i], NULL, work, &storm->workers[i]), 0);
  }
  while (atomic_load(&storm->ready) != (uint32_t)count)
    sleep_ms(1);
}

static void end_storm(struct storm *storm) {
  raise_flag(&storm->stop);
  for (int i = 0; i < storm->count; i++) {
    assert_int_equal(pthread_join(storm->threads[i], NULL), 0);
    assert_int_equal(storm->workers[i].left, storm->workers[i].right);
  }
  assert_int_equal(atomic_load(&storm->errors), 0);
  end_world(storm->world);
}

/* During a stop: everybody is at a safepoint, stays there, and sees what was written. */
static void check_stillness(struct storm *storm) {
  uint64_t sum = 0, again = 0;
  for (int i = 0; i < storm->count; i++) {
    struct worker *worker = &storm->workers[i];
    if (worker->left != worker->right)
      atomic_fetch_add(&storm->errors, 1);
    sum += worker->rounds;
  }
  for (volatile int i = 0; i < 300; i++) {
  }
  for (int i = 0; i < storm->count; i++) {
    struct worker *worker = &storm->workers[i];
    again += worker->rounds;
    worker->left += 1000;
    worker->right += 1000;
  }
  if (sum != again)
    atomic_fetch_add(&storm->errors, 1);
}

static void request(struct storm *storm, struct tarn_mutator *self, int times) {
  for (int i = 0; i < times; i++) {
    if (tarn_stop_begin(storm->world, self)) {
      check_stillness(storm);
      tarn_stop_end(storm->world, self);
      atomic_fetch_add(&storm->stops, 1);
    } else {
      atomic_fetch_add(&storm->joined, 1);
    }
    if (i % 16 == 0)
      sched_yield();
  }
}

static void nobody_moves_during_a_stop(void **state) {
  (void)state;
  static struct storm storm;
  const enum habit habits[] = {POLLS, BLOCKS, HOLDS, COMES_AND_GOES};
  start_storm(&storm, habits, 4);
  tarn_thread *self = attach(storm.world);
  request(&storm, tarn_mutator_of(self), STOPS);
  assert_int_equal(atomic_load(&storm.stops), STOPS); /* nobody else asks, so nothing is joined */
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  end_storm(&storm);
}

static void nobody_comes_back_from_a_blocked_region_during_a_stop(void **state) {
  (void)state;
  static struct storm storm;
  const enum habit habits[] = {BLOCKS, BLOCKS};
  start_storm(&storm, habits, 2);
  request(&storm, NULL, STOPS * 4);
  end_storm(&storm);
}

static void *request_too(void *data) {
  struct storm *storm = data;
  tarn_thread *self;
  if (tarn_thread_attach(storm->world, &self) != TARN_OK)
    atomic_fetch_add(&storm->errors, 1);
  request(storm, tarn_mutator_of(self), STOPS / 2);
  (void)tarn_thread_detach(self);
  return NULL;
}

static void requesters_take_turns_or_join(void **state) {
  (void)state;
  static struct storm storm;
  const enum habit habits[] = {POLLS, BLOCKS, HOLDS};
  pthread_t others[3];
  start_storm(&storm, habits, 3);
  for (int i = 0; i < 3; i++)
    assert_int_equal(pthread_create(&others[i], NULL, request_too, &storm), 0);
  request(&storm, NULL, STOPS / 2);
  for (int i = 0; i < 3; i++)
    assert_int_equal(pthread_join(others[i], NULL), 0);
  assert_int_equal(atomic_load(&storm.stops) + atomic_load(&storm.joined), STOPS / 2 * 4);
  assert_true(atomic_load(&storm.stops) > 0);
  assert_int_equal(storm.world->stop.count, atomic_load(&storm.stops));
  end_storm(&storm);
}

static void *insist(void *data) {
  struct storm *storm = data;
  tarn_thread *self;
  if (tarn_thread_attach(storm->world, &self) != TARN_OK)
    atomic_fetch_add(&storm->errors, 1);
  for (int i = 0; i < 200; i++) {
    tarn_stop_begin_always(storm->world, tarn_mutator_of(self));
    check_stillness(storm);
    tarn_stop_end(storm->world, tarn_mutator_of(self));
    tarn_safepoint(self);
  }
  (void)tarn_thread_detach(self);
  raise_flag(&storm->stop);
  return NULL;
}

static void who_waits_for_its_turn_gets_it_under_back_to_back_stops(void **state) {
  (void)state;
  static struct storm storm;
  const enum habit habits[] = {POLLS};
  pthread_t other;
  start_storm(&storm, habits, 1);
  assert_int_equal(pthread_create(&other, NULL, insist, &storm), 0);
  while (!flag(&storm.stop))
    request(&storm, NULL, 10);
  assert_int_equal(pthread_join(other, NULL), 0);
  end_storm(&storm);
}

static void back_to_back_stops_starve_nobody(void **state) {
  (void)state;
  static struct storm storm;
  const enum habit habits[] = {POLLS, BLOCKS};
  start_storm(&storm, habits, 2);
  uint64_t begin = tarn_os_now(), now = begin;
  uint64_t seen[2] = {0, 0}, since[2] = {begin, begin}, longest[2] = {0, 0};
  while (now - begin < 1000000000u) {
    assert_true(tarn_stop_begin(storm.world, NULL));
    now = tarn_os_now();
    for (int k = 0; k < 2; k++) {
      if (storm.workers[k].rounds != seen[k])
        since[k] = now;
      if (now - since[k] > longest[k])
        longest[k] = now - since[k];
      seen[k] = storm.workers[k].rounds;
    }
    tarn_stop_end(storm.world, NULL);
  }
  end_storm(&storm);
  /* A thread is overtaken until it has been scheduled once, which is for the system to say. */
  for (int k = 0; k < 2; k++)
    if (longest[k] > 400000000u)
      fail_msg("worker %d stood still for %llu ms", k, (unsigned long long)(longest[k] / 1000000));
}

/*
 * Two who come back from blocked regions all the time, more requesters than that, without a pause.
 * A thread is on its way from its first look at the flag on: what happens before is for the system
 * to say.
 */
static void who_comes_back_is_overtaken_by_two_stops_at_most(void **state) {
  (void)state;
  static struct storm storm;
  const enum habit habits[] = {BLOCKS, BLOCKS, POLLS};
  pthread_t other;
  start_storm(&storm, habits, 3);
  assert_int_equal(pthread_create(&other, NULL, request_too, &storm), 0);
  for (int i = 0; i < STOPS * 4; i++)
    if (tarn_stop_begin(storm.world, NULL))
      tarn_stop_end(storm.world, NULL);
  assert_int_equal(pthread_join(other, NULL), 0);
  tarn_stats stats = {.struct_size = sizeof stats};
  assert_int_equal(tarn_stats_get(storm.world, &stats), TARN_OK);
  assert_true(stats.overtaken_max >= 1); /* or nothing was seen here */
  if (stats.overtaken_max > 2)
    fail_msg("a thread was overtaken by %llu stops", (unsigned long long)stats.overtaken_max);
  end_storm(&storm);
}

/* --- single properties ----------------------------------------------------------------------- */

struct actor {
  tarn_world *world;
  tarn_thread *self;
  _Atomic bool there, go, done;
  bool result;
};

static void *hold_for_a_while(void *data) {
  struct actor *actor = data;
  if (tarn_thread_attach(actor->world, &actor->self) != TARN_OK)
    return NULL;
  (void)tarn_thread_set_name(actor->self, "holder");
  tarn_gc_hold(actor->self);
  raise_flag(&actor->there);
  for (int i = 0; i < 60; i++) {
    sleep_ms(1);
    tarn_safepoint(actor->self);
  }
  raise_flag(&actor->done);
  tarn_gc_release(actor->self);
  (void)tarn_thread_detach(actor->self);
  return NULL;
}

static void a_stop_waits_for_the_release_and_knows_who_was_last(void **state) {
  (void)state;
  struct actor actor = {.world = make_world("")};
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, hold_for_a_while, &actor), 0);
  wait_flag(&actor.there);
  assert_true(tarn_stop_begin(actor.world, NULL));
  assert_true(flag(&actor.done));
  assert_string_equal(actor.world->stop.last_thread, "holder");
  assert_string_equal(actor.world->stop.max_thread, "holder");
  assert_true(actor.world->stop.last_ns > 5000000);
  tarn_stop_end(actor.world, NULL);
  assert_int_equal(pthread_join(thread, NULL), 0);
  assert_true(tarn_stop_begin(actor.world, NULL));
  assert_string_equal(actor.world->stop.last_thread, "");
  assert_string_equal(actor.world->stop.max_thread, "holder");
  tarn_stop_end(actor.world, NULL);
  end_world(actor.world);
}

/* Runs `fn` with standard error going to a file; its text comes back in `text`. */
static void with_stderr(void (*fn)(void), char *text, size_t size) {
  char path[] = "/tmp/tarn-test-XXXXXX";
  int file = mkstemp(path), kept = dup(STDERR_FILENO);
  assert_true(file >= 0 && kept >= 0);
  (void)unlink(path);
  assert_true(dup2(file, STDERR_FILENO) >= 0);
  fn();
  assert_true(dup2(kept, STDERR_FILENO) >= 0);
  ssize_t length = pread(file, text, size - 1, 0);
  text[length > 0 ? length : 0] = '\0';
  (void)close(file);
  (void)close(kept);
}

/* Inside with_stderr: waits until the text holds `part` so many times; not for ever. */
static void wait_told(const char *part, int times) {
  static char text[32000]; /* for one thread at a time */
  for (int i = 0; i < 20000; i++) {
    ssize_t length = pread(STDERR_FILENO, text, sizeof text - 1, 0);
    text[length > 0 ? length : 0] = '\0';
    int found = 0;
    for (const char *at = text; (at = strstr(at, part)); at++)
      found++;
    if (found >= times)
      return;
    sleep_ms(1);
  }
}

static void *hold_until_told(void *data) {
  struct actor *actor = data;
  if (tarn_thread_attach(actor->world, &actor->self) != TARN_OK)
    return NULL;
  (void)tarn_thread_set_name(actor->self, "holder");
  tarn_block_begin(actor->self);
  tarn_block_end(actor->self);
  tarn_gc_hold(actor->self);
  raise_flag(&actor->there);
  wait_told("\"holder\"", 4);
  tarn_gc_release(actor->self);
  (void)tarn_thread_detach(actor->self);
  return NULL;
}

static void stop_a_holder(void) {
  struct actor actor = {.world = make_world("stop-timeout=10ms")};
  pthread_t thread;
  if (pthread_create(&thread, NULL, hold_until_told, &actor) != 0)
    return;
  wait_flag(&actor.there);
  if (tarn_stop_begin(actor.world, NULL))
    tarn_stop_end(actor.world, NULL);
  (void)pthread_join(thread, NULL);
  (void)tarn_world_destroy(actor.world);
}

static void *stand_in_a_stop(void *data) {
  struct actor *actor = data;
  if (tarn_thread_attach(actor->world, &actor->self) != TARN_OK)
    return NULL;
  raise_flag(&actor->there);
  while (!flag(&actor->go))
    tarn_safepoint(actor->self);
  (void)tarn_thread_detach(actor->self);
  return NULL;
}

/* Times as a requester notes them, in a world that was never stopped. */
static void check_times(uint64_t count, uint64_t median, uint64_t p99) {
  tarn_world *world = make_world("");
  for (uint64_t i = 0; i < count; i++) /* 1 to 1000 us in no order; the last ones count */
    world->stop.times[i % TARN_STOPS_KEPT] = (uint32_t)(i * 7 % 1000 + 1) * 1000;
  world->stop.count = count;
  tarn_stats stats = {.struct_size = sizeof stats};
  assert_int_equal(tarn_stats_get(world, &stats), TARN_OK);
  assert_int_equal(stats.stops, count);
  assert_int_equal(stats.stop_median_ns, median);
  assert_int_equal(stats.stop_p99_ns, p99);
  end_world(world);
}

static void times_to_safepoint_are_told_as_median_and_p99(void **state) {
  (void)state;
  check_times(0, 0, 0);
  check_times(1, 1000, 1000);
  check_times(3, 8000, 15000);
  check_times(1000, 501000, 990000);
  check_times(99, 344000, 687000);
}

static void stops_that_came_about_are_counted_with_their_times(void **state) {
  (void)state;
  struct actor actor = {.world = make_world("")};
  pthread_t thread;
  tarn_stats stats = {.struct_size = sizeof stats};
  assert_int_equal(pthread_create(&thread, NULL, hold_for_a_while, &actor), 0);
  wait_flag(&actor.there);
  for (int i = 0; i < 3; i++) {
    assert_true(tarn_stop_begin(actor.world, NULL));
    tarn_stop_end(actor.world, NULL);
  }
  assert_int_equal(tarn_stats_get(actor.world, &stats), TARN_OK);
  assert_int_equal(stats.stops, 3);
  assert_int_equal(stats.stop_p99_ns, stats.stop_max_ns);
  assert_true(stats.stop_median_ns > 0 && stats.stop_median_ns <= stats.stop_p99_ns);
  assert_true(stats.stop_max_ns > 5000000);
  assert_int_equal(pthread_join(thread, NULL), 0);
  end_world(actor.world);
}

static bool has(const char *text, const char *part) {
  if (!strstr(text, part))
    print_error("no \"%s\" in: %s\n", part, text);
  return strstr(text, part) != NULL;
}

/* The program is linked with its symbols, those of static functions among them. */
static void a_straggler_is_told_of_with_its_place_at_intervals_that_double(void **state) {
  (void)state;
  char text[4000];
  unsigned long long milliseconds, least = 10;
  int lines = 0;
  with_stderr(stop_a_holder, text, sizeof text);
  assert_true(has(text, "tarn: thread \"holder\" ("));
  assert_true(has(text, "; last seen at hold_until_told+0x"));
  assert_true(has(text, ", in a hold that began at hold_until_told+0x"));
  assert_true(has(text, " (test_stop+0x"));
  assert_true(has(text, "sleeping in clock_nanosleep") || has(text, ": running"));
  for (const char *at = text; (at = strstr(at, "a safepoint for ")); at++, lines++, least *= 2) {
    assert_int_equal(sscanf(at, "a safepoint for %llu ms", &milliseconds), 1);
    assert_true(milliseconds >= least);
  }
  assert_true(lines >= 4);
}

static void *spin(void *data) {
  struct actor *actor = data;
  if (tarn_thread_attach(actor->world, &actor->self) != TARN_OK)
    return NULL;
  (void)tarn_thread_set_name(actor->self, "spinner");
  tarn_block_begin(actor->self);
  tarn_block_end(actor->self);
  raise_flag(&actor->there);
  while (!flag(&actor->go)) {
  }
  (void)tarn_thread_detach(actor->self);
  return NULL;
}

#define STRAGGLERS 10

static void *end_spins_when_told(void *data) {
  struct actor *actors = data;
  wait_told(" others\n", 1);
  for (int i = 0; i < STRAGGLERS; i++)
    raise_flag(&actors[i].go);
  return NULL;
}

static void stop_many_spinners(void) {
  tarn_world *world = make_world("stop-timeout=5ms");
  struct actor actors[STRAGGLERS];
  pthread_t threads[STRAGGLERS], watcher;
  for (int i = 0; i < STRAGGLERS; i++) {
    actors[i] = (struct actor){.world = world};
    if (pthread_create(&threads[i], NULL, spin, &actors[i]) != 0)
      return;
  }
  for (int i = 0; i < STRAGGLERS; i++)
    wait_flag(&actors[i].there);
  if (pthread_create(&watcher, NULL, end_spins_when_told, actors) != 0)
    return;
  if (tarn_stop_begin(world, NULL))
    tarn_stop_end(world, NULL);
  for (int i = 0; i < STRAGGLERS; i++)
    (void)pthread_join(threads[i], NULL);
  (void)pthread_join(watcher, NULL);
  (void)tarn_world_destroy(world);
}

static void all_stragglers_are_told_of_up_to_a_number(void **state) {
  (void)state;
  static char text[20000];
  char line[64];
  int lines = 0;
  with_stderr(stop_many_spinners, text, sizeof text);
  snprintf(line, sizeof line, "tarn: nor have %u others", STRAGGLERS - TARN_STRAGGLERS_TOLD);
  char *rest = strstr(text, line);
  assert_non_null(rest);
  *rest = '\0';
  for (const char *at = text; (at = strstr(at, "\"spinner\"")); at++)
    lines++;
  assert_int_equal(lines, TARN_STRAGGLERS_TOLD);
  assert_true(has(text, ": running; last seen at spin+0x"));
  assert_null(strstr(text, "hold"));
}

static void an_address_is_told_with_its_function_and_module(void **state) {
  (void)state;
  char text[400], wanted[400];
  tarn_os_code_place((uintptr_t)&spin + 3, text, sizeof text);
  assert_true(has(text, "spin+0x3 (test_stop+0x"));
  tarn_os_code_place((uintptr_t)&qsort + 1, text, sizeof text); /* of a module that is stripped */
  assert_true(has(text, "qsort"));
  assert_true(has(text, "+0x1 ("));
  void *made = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  assert_true(made != MAP_FAILED);
  tarn_os_code_place((uintptr_t)made, text, sizeof text);
  snprintf(wanted, sizeof wanted, "%p", made);
  assert_string_equal(text, wanted);
  assert_int_equal(munmap(made, 4096), 0);
  tarn_os_code_place(16, text, sizeof text);
  assert_string_equal(text, "0x10");
  char small[8];
  tarn_os_code_place((uintptr_t)&spin, small, sizeof small);
  assert_string_equal(small, "spin+0x");
}

/* What is no program, and the beginning of one, has no functions: the file and the offset, then. */
static void an_address_in_a_file_without_symbols_is_told_with_the_file(void **state) {
  (void)state;
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  char path[] = P_tmpdir "/tarn-place-XXXXXX", text[400], wanted[100];
  int file = mkstemp(path), self = open("/proc/self/exe", O_RDONLY);
  assert_true(file >= 0 && self >= 0);
  assert_int_equal(ftruncate(file, (off_t)(3 * page)), 0);
  char *mapped = mmap(NULL, page, PROT_READ, MAP_PRIVATE, file, (off_t)page);
  assert_true(mapped != MAP_FAILED);
  snprintf(wanted, sizeof wanted, "%s+0x%zx", strrchr(path, '/') + 1, page + 5);
  for (size_t kept = 0; kept <= 64 + 56; kept += kept ? 56 : 64) { /* a header; and a segment */
    char head[64 + 56];
    assert_int_equal(pread(self, head, kept, 0), kept);
    assert_int_equal(pwrite(file, head, kept, 0), kept);
    tarn_os_code_place((uintptr_t)mapped + 5, text, sizeof text);
    assert_string_equal(text, wanted);
  }
  assert_int_equal(ftruncate(file, 64), 0); /* segments that are not there */
  tarn_os_code_place((uintptr_t)mapped + 5, text, sizeof text);
  assert_string_equal(text, wanted);
  assert_int_equal(unlink(path), 0);
  tarn_os_code_place((uintptr_t)mapped + 5, text, sizeof text); /* nor is the file */
  assert_non_null(strstr(text, "(deleted)+0x"));
  assert_int_equal(munmap(mapped, page), 0);
  (void)close(file);
  (void)close(self);
}

struct sleeper {
  _Atomic int id;
  int semaphore;
};
static void *sleep_in_semtimedop(void *data) {
  struct sleeper *sleeper = data;
  struct sembuf one = {.sem_op = -1};
  atomic_store(&sleeper->id, tarn_os_thread_id());
  (void)syscall(SYS_semtimedop, sleeper->semaphore, &one, 1, NULL);
  return NULL;
}

static void a_call_without_a_name_is_told_with_its_number(void **state) {
  (void)state;
  char text[160], wanted[64];
  struct sleeper sleeper = {.semaphore = semget(IPC_PRIVATE, 1, 0600)};
  pthread_t thread;
  if (sleeper.semaphore < 0) {
    print_message("skipped: no semaphores here\n");
    skip();
  }
  assert_int_equal(pthread_create(&thread, NULL, sleep_in_semtimedop, &sleeper), 0);
  snprintf(wanted, sizeof wanted, "sleeping in system call %d", SYS_semtimedop);
  bool found = false;
  for (int i = 0; i < 5000 && !found; i++) {
    sleep_ms(1);
    if (atomic_load(&sleeper.id) == 0)
      continue;
    tarn_os_thread_state(atomic_load(&sleeper.id), text, sizeof text);
    found = strncmp(text, wanted, strlen(wanted)) == 0;
  }
  assert_int_equal(semctl(sleeper.semaphore, 0, IPC_RMID), 0); /* which wakes it */
  assert_int_equal(pthread_join(thread, NULL), 0);
  if (!found)
    print_error("last: %s\n", text);
  assert_true(found);
}

static void a_threads_state_is_told_as_the_kernel_sees_it(void **state) {
  (void)state;
  struct actor actor = {.world = make_world("")};
  pthread_t thread;
  char text[160];
  tarn_os_thread_state(tarn_os_thread_id(), text, sizeof text);
  assert_string_equal(text, "running");
  tarn_os_thread_state(0, text, sizeof text);
  assert_string_equal(text, "state unknown");
  assert_int_equal(pthread_create(&thread, NULL, stand_in_a_stop, &actor), 0);
  wait_flag(&actor.there);
  assert_true(tarn_stop_begin(actor.world, NULL));
  int id = tarn_mutator_of(actor.self)->id;
  do
    tarn_os_thread_state(id, text, sizeof text);
  while (strcmp(text, "running") == 0); /* on its way to sleep */
  assert_true(has(text, "sleeping in futex"));
  raise_flag(&actor.go);
  tarn_stop_end(actor.world, NULL);
  assert_int_equal(pthread_join(thread, NULL), 0);
  end_world(actor.world);
}

/* --- several that ask at once ---------------------------------------------------------------- */

#define ASKING 5

struct asker {
  tarn_world *world;
  tarn_status (*ask)(tarn_thread *self);
  pthread_t thread;
  tarn_status status;
  _Atomic bool there, go;
};

static tarn_status ask_for_collection(tarn_thread *self) {
  return tarn_collect(self, TARN_GENERATION_FULL);
}
static bool see_nothing(const tarn_block_info *info, void *data) {
  (void)info;
  (void)data;
  return true;
}
static tarn_status ask_for_walk(tarn_thread *self) {
  return tarn_heap_walk(self, see_nothing, NULL);
}

static void *ask_once(void *data) {
  struct asker *asker = data;
  tarn_thread *self;
  asker->status = tarn_thread_attach(asker->world, &self);
  raise_flag(&asker->there);
  wait_flag(&asker->go); /* running: a stop waits for it */
  if (asker->status == TARN_OK)
    asker->status = asker->ask(self);
  (void)tarn_thread_detach(self);
  return NULL;
}

static unsigned count_in_state(tarn_world *world, uint32_t state) {
  struct tarn_mutator *mutator;
  unsigned count = 0;
  tarn_rcu_read_lock();
  cds_list_for_each_entry_rcu(mutator, &world->registry.list, node) {
    count += __atomic_load_n(&mutator->state, __ATOMIC_RELAXED) == state;
  }
  tarn_rcu_read_unlock();
  return count;
}

/*
 * The first asker begins a stop, which the caller's hold keeps from coming about; all others ask
 * meanwhile, and stand still for it.  Then the hold ends.
 */
static tarn_stats ask_at_once(tarn_status (*first)(tarn_thread *)) {
  tarn_world *world = make_world("");
  tarn_thread *self = attach(world);
  struct asker askers[ASKING];
  for (int i = 0; i < ASKING; i++) {
    askers[i] = (struct asker){.world = world, .ask = i ? ask_for_collection : first};
    assert_int_equal(pthread_create(&askers[i].thread, NULL, ask_once, &askers[i]), 0);
    wait_flag(&askers[i].there);
  }
  tarn_gc_hold(self);
  raise_flag(&askers[0].go);
  while (!(__atomic_load_n(&world->stop.gc_lock, __ATOMIC_RELAXED) & 1))
    sleep_ms(1);
  for (int i = 1; i < ASKING; i++)
    raise_flag(&askers[i].go);
  while (count_in_state(world, TARN_STATE_BLOCKED) != ASKING - 1)
    sleep_ms(1);
  tarn_gc_release(self);
  tarn_block_begin(self);
  for (int i = 0; i < ASKING; i++) {
    assert_int_equal(pthread_join(askers[i].thread, NULL), 0);
    assert_int_equal(askers[i].status, TARN_OK);
  }
  tarn_block_end(self);
  tarn_stats stats = {.struct_size = sizeof stats};
  assert_int_equal(tarn_stats_get(world, &stats), TARN_OK);
  end_world(world);
  return stats;
}

static void who_asks_while_a_collection_is_on_joins_it(void **state) {
  (void)state;
  for (int i = 0; i < 50; i++) {
    tarn_stats stats = ask_at_once(ask_for_collection);
    assert_int_equal(stats.collections, 1);
    assert_int_equal(stats.collections_asked, 1);
    assert_int_equal(stats.stops, 1);
  }
}

/* All of them joined a stop that collected nothing: one collects then, and the others join that. */
static void who_joined_another_stop_still_gets_a_collection(void **state) {
  (void)state;
  for (int i = 0; i < 50; i++) {
    tarn_stats stats = ask_at_once(ask_for_walk);
    assert_int_equal(stats.collections, 1);
    assert_int_equal(stats.stops, 2);
  }
}

/* --- who wakes the requester ----------------------------------------------------------------- */

static bool is_awaited(const struct actor *actor) {
  return __atomic_load_n(&actor->world->stop.awaited, __ATOMIC_RELAXED) ==
         tarn_mutator_of(actor->self);
}

/* Comes to a safepoint when the requester sleeps until the last of the actors does. */
static void *come_before_the_awaited(void *data) {
  struct actor *actor = data;
  if (tarn_thread_attach(actor->world, &actor->self) != TARN_OK)
    return NULL;
  raise_flag(&actor->there);
  wait_flag(&actor->go);
  tarn_safepoint(actor->self);
  (void)tarn_thread_detach(actor->self);
  return NULL;
}

static void *come_last(void *data) {
  struct actor *others = data, *actor = &others[THREADS - 1];
  if (tarn_thread_attach(actor->world, &actor->self) != TARN_OK)
    return NULL;
  raise_flag(&actor->there);
  while (!is_awaited(actor))
    sleep_ms(1);
  for (int i = 0; i < THREADS - 1; i++)
    raise_flag(&others[i].go);
  while (count_in_state(actor->world, TARN_STATE_STOPPED) != THREADS - 1)
    sleep_ms(1);
  tarn_safepoint(actor->self);
  (void)tarn_thread_detach(actor->self);
  return NULL;
}

static void only_who_is_awaited_wakes_the_requester(void **state) {
  (void)state;
  struct actor actors[THREADS];
  pthread_t threads[THREADS];
  tarn_world *world = make_world("");
  for (int i = 0; i < THREADS; i++) {
    actors[i] = (struct actor){.world = world};
    bool last = i == THREADS - 1; /* to attach: the first that is waited for */
    assert_int_equal(pthread_create(&threads[i], NULL, last ? come_last : come_before_the_awaited,
                                    last ? &actors[0] : &actors[i]),
                     0);
    wait_flag(&actors[i].there);
  }
  assert_true(tarn_stop_begin(world, NULL));
  assert_int_equal(__atomic_load_n(&world->stop.arrivals, __ATOMIC_RELAXED), 1);
  assert_null(world->stop.awaited);
  tarn_stop_end(world, NULL);
  for (int i = 0; i < THREADS; i++)
    assert_int_equal(pthread_join(threads[i], NULL), 0);
  end_world(world);
}

/* --- who is blocked -------------------------------------------------------------------------- */

static void *sleep_in_a_blocked_region(void *data) {
  struct actor *actor = data;
  if (tarn_thread_attach(actor->world, &actor->self) != TARN_OK)
    return NULL;
  tarn_block_begin(actor->self);
  raise_flag(&actor->there);
  wait_flag(&actor->go);
  tarn_block_end(actor->self);
  actor->result = flag(&actor->done);
  (void)tarn_thread_detach(actor->self);
  return NULL;
}

static void a_blocked_thread_is_not_waited_for_but_waits_itself(void **state) {
  (void)state;
  struct actor actor = {.world = make_world("")};
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, sleep_in_a_blocked_region, &actor), 0);
  wait_flag(&actor.there);
  assert_true(tarn_stop_begin(actor.world, NULL));
  raise_flag(&actor.go);
  sleep_ms(40);
  raise_flag(&actor.done);
  tarn_stop_end(actor.world, NULL);
  assert_int_equal(pthread_join(thread, NULL), 0);
  assert_true(actor.result);
  end_world(actor.world);
}

static void *come_back_once(void *data) {
  struct actor *actor = data;
  if (tarn_thread_attach(actor->world, &actor->self) != TARN_OK)
    return NULL;
  tarn_block_begin(actor->self);
  raise_flag(&actor->there);
  wait_flag(&actor->go);
  tarn_block_end(actor->self);
  actor->result = true; /* plain: read in the next stop */
  tarn_safepoint(actor->self);
  (void)tarn_thread_detach(actor->self);
  return NULL;
}

static void who_was_overtaken_runs_before_the_next_stop(void **state) {
  (void)state;
  for (int i = 0; i < 50; i++) {
    struct actor actor = {.world = make_world("")};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, come_back_once, &actor), 0);
    wait_flag(&actor.there);
    assert_true(tarn_stop_begin(actor.world, NULL));
    raise_flag(&actor.go);
    while (__atomic_load_n(&actor.world->stop.owed, __ATOMIC_RELAXED) == 0)
      sched_yield();
    tarn_stop_end(actor.world, NULL);
    assert_true(tarn_stop_begin(actor.world, NULL));
    assert_true(actor.result);
    tarn_stop_end(actor.world, NULL);
    assert_int_equal(pthread_join(thread, NULL), 0);
    end_world(actor.world);
  }
}

/* Whoever enters `owed` has been overtaken by the stop that is on, also when that ends right then.
 */
static void who_is_owed_was_overtaken_at_least_once(void **state) {
  unsigned missed = 0;
  (void)state;
  for (int i = 0; i < 300; i++) {
    struct actor actor = {.world = make_world("")};
    pthread_t thread;
    tarn_stats stats = {.struct_size = sizeof stats};
    assert_int_equal(pthread_create(&thread, NULL, come_back_once, &actor), 0);
    wait_flag(&actor.there);
    assert_true(tarn_stop_begin(actor.world, NULL));
    raise_flag(&actor.go);
    while (__atomic_load_n(&actor.world->stop.owed, __ATOMIC_RELAXED) == 0)
      tarn_os_pause();
    tarn_stop_end(actor.world, NULL);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(tarn_stats_get(actor.world, &stats), TARN_OK);
    assert_true(stats.overtaken_max <= 1); /* nobody else asks for stops */
    missed += stats.overtaken_max == 0;
    end_world(actor.world);
  }
  if (missed)
    fail_msg("%u of 300 were not counted", missed);
}

/* Asks again and again for stops of its own, and sees in each whether the other one waits. */
struct waiter {
  tarn_world *world;
  struct waiter *other;
  _Atomic unsigned got;
  unsigned passed_over; /* times that the other one waited, and this one came again before it */
};

static bool somebody_waits(tarn_world *world) {
  const struct tarn_stop *stop = &world->stop;
  return __atomic_load_n(&stop->next_turn, __ATOMIC_RELAXED) !=
         __atomic_load_n(&stop->turn, __ATOMIC_RELAXED);
}

/* Who wakes another thread goes on for a while, and so could have all the stops. */
static void share_one_processor(void) {
  const struct sched_param none = {0};
  cpu_set_t all, one;
  if (sched_getaffinity(0, sizeof all, &all) != 0)
    return;
  CPU_ZERO(&one);
  for (size_t i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++)
    if (CPU_ISSET(i, &all))
      CPU_SET(i, &one);
  (void)sched_setaffinity(0, sizeof one, &one);
  (void)sched_setscheduler(0, SCHED_BATCH, &none);
}

static void *wait_again_and_again(void *data) {
  struct waiter *mine = data;
  share_one_processor();
  unsigned others = 0;
  bool waited = false;
  for (unsigned i = 0; i < STOPS; i++) {
    tarn_stop_begin_always(mine->world, NULL);
    unsigned now = atomic_load(&mine->other->got);
    mine->passed_over += waited && now == others;
    others = now;
    for (unsigned k = 0; k < 100 && !(waited = somebody_waits(mine->world)); k++)
      (void)sched_yield();
    atomic_fetch_add(&mine->got, 1);
    tarn_stop_end(mine->world, NULL);
  }
  return NULL;
}

static void those_who_wait_for_stops_of_their_own_have_them_in_turn(void **state) {
  (void)state;
  static struct waiter pair[2];
  tarn_world *world = make_world("");
  pthread_t threads[2];
  for (unsigned i = 0; i < 2; i++)
    pair[i] = (struct waiter){.world = world, .other = &pair[1 - i]};
  for (unsigned i = 0; i < 2; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, wait_again_and_again, &pair[i]), 0);
  for (unsigned i = 0; i < 2; i++)
    assert_int_equal(pthread_join(threads[i], NULL), 0);
  end_world(world);
  assert_int_equal(pair[0].passed_over, 0);
  assert_int_equal(pair[1].passed_over, 0);
}

static void asking_reaches_every_thread_also_during_a_stop(void **state) {
  (void)state;
  tarn_world *world = make_world("");
  tarn_thread *self = attach(world);
  tarn_safepoint(self);
  assert_int_equal(self->tarn_poll, 0);
  assert_true(tarn_stop_begin(world, tarn_mutator_of(self)));
  tarn_stop_ask(world, TARN_POLL_RELEASE);
  tarn_stop_end(world, tarn_mutator_of(self));
  assert_int_equal(self->tarn_poll, TARN_POLL_RELEASE);
  tarn_gc_hold(self);
  tarn_safepoint(self);
  assert_int_equal(self->tarn_poll, TARN_POLL_RELEASE); /* not inside a hold */
  tarn_gc_release(self);
  assert_int_equal(self->tarn_poll, 0);
  end_world(world);
}

/* Not sanitized: locals on the stack itself.  That frames elsewhere are scanned is for test_roots.
 */
static __attribute__((no_sanitize_address)) void *block_with_a_local(void *data) {
  struct actor *actor = data;
  volatile uintptr_t local = 0x5eed1234;
  if (tarn_thread_attach(actor->world, &actor->self) != TARN_OK ||
      tarn_thread_scan_stack(actor->self, true) != TARN_OK)
    return NULL;
  tarn_block_begin(actor->self);
  raise_flag(&actor->there);
  wait_flag(&actor->go);
  tarn_block_end(actor->self);
  actor->result = local == 0x5eed1234 && tarn_mutator_of(actor->self)->stack_low == 0;
  return &actor->result;
}

static __attribute__((no_sanitize("thread", "address"))) bool
stack_holds(const struct tarn_mutator *mutator, uintptr_t word) {
  bool found = false;
  for (uintptr_t at = mutator->stack_low & ~(uintptr_t)7; at < mutator->stack_high; at += 8)
    found = found || *(const uintptr_t *)at == word;
  return found;
}

static void the_stack_of_a_thread_that_stands_still_is_known(void **state) {
  (void)state;
  struct actor actor = {.world = make_world("")};
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, block_with_a_local, &actor), 0);
  wait_flag(&actor.there);
  assert_true(tarn_stop_begin(actor.world, NULL));
  const struct tarn_mutator *mutator = tarn_mutator_of(actor.self);
  assert_int_not_equal(mutator->stack_low, 0);
  assert_true(mutator->stack_low < mutator->stack_high);
  assert_true(mutator->stack_high - mutator->stack_low < 64 << 20);
  assert_true(stack_holds(mutator, 0x5eed1234));
  tarn_stop_end(actor.world, NULL);
  raise_flag(&actor.go);
  assert_int_equal(pthread_join(thread, NULL), 0);
  assert_true(actor.result);
  end_world(actor.world);
}

static __attribute__((no_sanitize_address)) void the_requesters_own_stack_is_known(void **state) {
  (void)state;
  tarn_world *world = make_world("scan-stack=1");
  tarn_thread *self = attach(world);
  struct tarn_mutator *mutator = tarn_mutator_of(self);
  uintptr_t here = (uintptr_t)&world;
  assert_int_equal(mutator->stack_low, 0);
  assert_true(tarn_stop_begin(world, mutator));
  assert_int_not_equal(mutator->stack_low, 0);
  assert_true(mutator->stack_low < here && here < mutator->stack_high);
  tarn_stop_end(world, mutator);
  assert_int_equal(mutator->stack_low, 0);
  end_world(world);
}

static void *fork_stop_in_a_hold(void *data) {
  struct actor *actor = data;
  if (tarn_thread_attach(actor->world, &actor->self) != TARN_OK)
    return NULL;
  tarn_gc_hold(actor->self);
  raise_flag(&actor->there);
  wait_flag(&actor->go); /* by now the other one waits for this thread */
  sleep_ms(20);
  tarn_stop_begin_fork(actor->world, tarn_mutator_of(actor->self));
  raise_flag(&actor->done);
  sleep_ms(5);
  tarn_stop_end(actor->world, tarn_mutator_of(actor->self));
  tarn_gc_release(actor->self);
  (void)tarn_thread_detach(actor->self);
  return NULL;
}

static void a_stop_gives_way_to_a_fork_inside_a_hold(void **state) {
  (void)state;
  struct actor actor = {.world = make_world("")};
  pthread_t thread;
  tarn_thread *self = attach(actor.world);
  assert_int_equal(pthread_create(&thread, NULL, fork_stop_in_a_hold, &actor), 0);
  wait_flag(&actor.there);
  raise_flag(&actor.go);
  tarn_stop_begin_always(actor.world, tarn_mutator_of(self));
  assert_true(flag(&actor.done)); /* in the end it had its own turn, after the other */
  tarn_stop_end(actor.world, tarn_mutator_of(self));
  tarn_block_begin(self);
  assert_int_equal(pthread_join(thread, NULL), 0);
  tarn_block_end(self);
  assert_int_equal(actor.world->stop.gc_lock % 2, 0);
  assert_int_equal(actor.world->stop.serial, actor.world->stop.gc_lock);
  assert_int_equal(actor.world->stop.owed, 0);
  end_world(actor.world);
}

static void the_number_of_stops_may_wrap(void **state) {
  (void)state;
  static struct storm storm;
  const enum habit habits[] = {POLLS, BLOCKS};
  pthread_t other;
  start_storm(&storm, habits, 2);
  /* Nobody stops the world yet, so nobody waits for a number. */
  __atomic_store_n(&storm.world->stop.serial, UINT32_MAX - 99, __ATOMIC_SEQ_CST);
  __atomic_store_n(&storm.world->stop.gc_lock, UINT32_MAX - 99, __ATOMIC_SEQ_CST);
  assert_int_equal(pthread_create(&other, NULL, request_too, &storm), 0);
  request(&storm, NULL, 500);
  assert_int_equal(pthread_join(other, NULL), 0);
  assert_true(storm.world->stop.serial < UINT32_MAX / 2);
  end_storm(&storm);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(nobody_moves_during_a_stop),
      cmocka_unit_test(nobody_comes_back_from_a_blocked_region_during_a_stop),
      cmocka_unit_test(requesters_take_turns_or_join),
      cmocka_unit_test(who_waits_for_its_turn_gets_it_under_back_to_back_stops),
      cmocka_unit_test(back_to_back_stops_starve_nobody),
      cmocka_unit_test(who_comes_back_is_overtaken_by_two_stops_at_most),
      cmocka_unit_test(a_stop_waits_for_the_release_and_knows_who_was_last),
      cmocka_unit_test(a_straggler_is_told_of_with_its_place_at_intervals_that_double),
      cmocka_unit_test(times_to_safepoint_are_told_as_median_and_p99),
      cmocka_unit_test(stops_that_came_about_are_counted_with_their_times),
      cmocka_unit_test(all_stragglers_are_told_of_up_to_a_number),
      cmocka_unit_test(an_address_is_told_with_its_function_and_module),
      cmocka_unit_test(a_threads_state_is_told_as_the_kernel_sees_it),
      cmocka_unit_test(a_call_without_a_name_is_told_with_its_number),
      cmocka_unit_test(an_address_in_a_file_without_symbols_is_told_with_the_file),
      cmocka_unit_test(only_who_is_awaited_wakes_the_requester),
      cmocka_unit_test(who_asks_while_a_collection_is_on_joins_it),
      cmocka_unit_test(who_joined_another_stop_still_gets_a_collection),
      cmocka_unit_test(a_blocked_thread_is_not_waited_for_but_waits_itself),
      cmocka_unit_test(who_was_overtaken_runs_before_the_next_stop),
      cmocka_unit_test(who_is_owed_was_overtaken_at_least_once),
      cmocka_unit_test(those_who_wait_for_stops_of_their_own_have_them_in_turn),
      cmocka_unit_test(asking_reaches_every_thread_also_during_a_stop),
      cmocka_unit_test(the_stack_of_a_thread_that_stands_still_is_known),
      cmocka_unit_test(the_requesters_own_stack_is_known),
      cmocka_unit_test(a_stop_gives_way_to_a_fork_inside_a_hold),
      cmocka_unit_test(the_number_of_stops_may_wrap),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
