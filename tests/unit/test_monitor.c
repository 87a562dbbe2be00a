/* SPDX-License-Identifier: MIT */
/*
 * What a program can be asked for from outside: snapshots by signal, and at exit.  Each test is a
 * child, for signals and exits are the process's.
 */
#include "faults.h"
#include "support.h"

#include "inspect/monitor.h"
#include "snapshot_reader.h"
#include <glob.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <time.h>

static char directory[256];
static _Atomic bool ended;
static _Atomic unsigned own_signals;

static void sleep_ms(long ms) {
  struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
  (void)nanosleep(&time, NULL);
}

static const char *in_directory(const char *name) {
  static char path[512];
  (void)snprintf(path, sizeof path, "%s/%s", directory, name);
  return path;
}

static tarn_world *make_world(const char *set) {
  char text[512];
  tarn_options options = TARN_OPTIONS_INIT;
  tarn_world *world;
  (void)snprintf(text, sizeof text, "%s,snapshot=%s/%%w-%%n%s", set, directory,
                 SUPPORT_ZEAL ? ",zeal=997" : "");
  options.set = text;
  options.flags = TARN_OPTIONS_NO_ENVIRONMENT;
  CHILD_CHECK(tarn_world_create(&options, &world) == TARN_OK);
  return world;
}

static tarn_thread *attach(tarn_world *world) {
  tarn_thread *self;
  CHILD_CHECK(tarn_thread_attach(world, &self) == TARN_OK);
  return self;
}

/* Waits for a file of that name, meanwhile at safepoints; counts its nodes of a type. */
static size_t count_in(tarn_thread *self, const char *name, const char *type) {
  struct reader reader;
  const char *path = in_directory(name);
  for (unsigned i = 0; access(path, R_OK) != 0; i++) {
    CHILD_CHECK(i < 20000);
    if (self)
      tarn_safepoint(self);
    sleep_ms(1);
  }
  bool good = reader_load(&reader, path);
  if (!good)
    dprintf(2, "%s: %s\n", path, reader.error);
  CHILD_CHECK(good);
  CHILD_CHECK(unlink(path) == 0);
  size_t count = reader_count(&reader, type);
  reader_end(&reader);
  return count;
}

static const tarn_type *make_type(tarn_world *world, const char *name) {
  tarn_type_spec spec = {.struct_size = sizeof spec, .name = name, .size = 32, .slot_bits = 6};
  const tarn_type *type = tarn_type_create(world, &spec, NULL);
  CHILD_CHECK(type != NULL);
  return type;
}

static void *make_list(tarn_thread *self, const char *name, size_t length) {
  const tarn_type *type = make_type(tarn_thread_world(self), name);
  void **list = NULL;
  TARN_FRAME(self, (void *)&list);
  for (size_t i = 0; i < length; i++) {
    void **next = tarn_new(self, type);
    CHILD_CHECK(next != NULL);
    next[1] = list;
    list = next;
  }
  return list;
}

static void in_child(void (*fn)(void *), void *data, const char *says) {
  char text[8192];
  int status = support_child(fn, data, text, sizeof text);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || (says && !strstr(text, says)) ||
      (!says && text[0]))
    fail_msg("status %#x, said: %s", (unsigned)status, text);
}

/* --- signals --------------------------------------------------------------------------------- */

static void *storm(void *data) {
  tarn_world *world = data;
  tarn_thread *self = attach(world);
  while (!atomic_load(&ended)) {
    (void)make_list(self, "storm", 500);
    tarn_block_begin(self);
    tarn_block_end(self);
    tarn_gc_hold(self);
    (void)tarn_alloc_atomic(self, 5000);
    tarn_gc_release(self);
  }
  CHILD_CHECK(tarn_thread_detach(self) == TARN_OK);
  return NULL;
}

static void *stand(void *data) {
  tarn_thread *self = attach(data);
  tarn_block_begin(self);
  while (!atomic_load(&ended))
    sleep_ms(1);
  tarn_block_end(self);
  CHILD_CHECK(tarn_thread_detach(self) == TARN_OK);
  return NULL;
}

static void signal_in(tarn_world *world, tarn_thread *self) {
  pthread_t threads[4];
  void *list = NULL;
  TARN_FRAME(self, &list);
  list = make_list(self, "mine", 1000);
  for (unsigned i = 0; i < 4; i++)
    CHILD_CHECK(pthread_create(&threads[i], NULL, i ? storm : stand, world) == 0);
  for (unsigned i = 1; i <= 5; i++) {
    char name[16];
    (void)snprintf(name, sizeof name, "1-%u", i);
    CHILD_CHECK(kill(getpid(), SIGUSR2) == 0);
    CHILD_CHECK(count_in(self, name, "mine") == 1000);
  }
  atomic_store(&ended, true);
  tarn_block_begin(self);
  for (unsigned i = 0; i < 4; i++)
    CHILD_CHECK(pthread_join(threads[i], NULL) == 0);
  tarn_block_end(self);
}

static void by_signal(void *data) {
  (void)data;
  tarn_world *world = make_world("snapshot-signal=USR2,min-heap=256K");
  tarn_thread *self = attach(world);
  struct sigaction now;
  /* Threads whose stacks are too small for handlers have another one for these. */
  CHILD_CHECK(sigaction(SIGUSR2, NULL, &now) == 0 && (now.sa_flags & SA_ONSTACK));
  signal_in(world, self);
  CHILD_CHECK(tarn_thread_detach(self) == TARN_OK);
  CHILD_CHECK(tarn_world_destroy(world) == TARN_OK);
  CHILD_CHECK(sigaction(SIGUSR2, NULL, &now) == 0 && now.sa_handler == SIG_DFL);
}

static void a_signal_asks_for_a_snapshot(void **state) {
  (void)state;
  in_child(by_signal, NULL, "tarn: snapshot of ");
}

static void of_two(void *data) {
  (void)data;
  CHILD_CHECK(signal(SIGHUP, SIG_IGN) != SIG_ERR);
  tarn_world *first = make_world("snapshot-signal=hup"),
             *second = make_world("snapshot-signal=hup");
  CHILD_CHECK(kill(getpid(), SIGHUP) == 0);
  (void)count_in(NULL, "1-1", "");
  (void)count_in(NULL, "2-1", "");
  CHILD_CHECK(tarn_world_destroy(first) == TARN_OK);
  CHILD_CHECK(kill(getpid(), SIGHUP) == 0);
  (void)count_in(NULL, "2-2", "");
  CHILD_CHECK(access(in_directory("1-2"), F_OK) != 0);
  CHILD_CHECK(tarn_world_destroy(second) == TARN_OK);
  struct sigaction now;
  CHILD_CHECK(sigaction(SIGHUP, NULL, &now) == 0 && now.sa_handler == SIG_IGN);
}

static void every_world_is_asked(void **state) {
  (void)state;
  in_child(of_two, NULL, "2-2, stopped for ");
}

static void count_signal(int number) {
  (void)number;
  atomic_fetch_add(&own_signals, 1);
}

static void taken(void *data) {
  (void)data;
  CHILD_CHECK(signal(SIGUSR1, count_signal) != SIG_ERR);
  tarn_world *world = make_world("snapshot-signal=usr1");
  CHILD_CHECK(raise(SIGUSR1) == 0);
  CHILD_CHECK(atomic_load(&own_signals) == 1);
  sleep_ms(20);
  CHILD_CHECK(access(in_directory("1-1"), F_OK) != 0);
  CHILD_CHECK(tarn_world_destroy(world) == TARN_OK);
  CHILD_CHECK(raise(SIGUSR1) == 0);
  CHILD_CHECK(atomic_load(&own_signals) == 2);
}

static void the_programs_handlers_are_left_alone(void **state) {
  (void)state;
  in_child(taken, NULL, "the program has a handler for signal 10 already");
}

static void to_nowhere(void *data) {
  tarn_options options = TARN_OPTIONS_INIT;
  tarn_world *world;
  (void)data;
  options.set = "snapshot-signal=usr2,snapshot=/no/such/file";
  options.flags = TARN_OPTIONS_NO_ENVIRONMENT;
  CHILD_CHECK(tarn_world_create(&options, &world) == TARN_OK);
  CHILD_CHECK(raise(SIGUSR2) == 0);
  sleep_ms(SUPPORT_SANITIZED ? 2000 : 500); /* nothing else shows that it was tried */
  CHILD_CHECK(tarn_world_destroy(world) == TARN_OK);
}

static void what_cannot_be_written_is_said(void **state) {
  (void)state;
  in_child(to_nowhere, NULL, "tarn: no snapshot in /no/such/file: No such file or directory");
}

static void without_thread(void *data) {
  (void)data;
  tarn_os_fault_kinds(TARN_FAULT_THREAD);
  tarn_world *world = make_world("snapshot-signal=usr2");
  CHILD_CHECK(raise(SIGUSR2) == 0);
  CHILD_CHECK(tarn_world_destroy(world) == TARN_OK);
}

static void without_a_thread_the_world_goes_on(void **state) {
  (void)state;
  if (!TARN_FAULTS)
    support_skip("built without TARN_FAULTS");
  in_child(without_thread, NULL, "nothing can be asked of world 1 from outside");
}

/* --- fork ------------------------------------------------------------------------------------ */

static void in_fork(void *data) {
  tarn_thread *self = data;
  CHILD_CHECK(kill(getpid(), SIGUSR2) == 0);
  CHILD_CHECK(count_in(self, "1-2", "mine") == 1000);
}

static void forks_in(tarn_thread *self) {
  void *list = NULL;
  TARN_FRAME(self, &list);
  list = make_list(self, "mine", 1000);
  CHILD_CHECK(kill(getpid(), SIGUSR2) == 0);
  CHILD_CHECK(count_in(self, "1-1", "mine") == 1000);
  pid_t child = fork();
  CHILD_CHECK(child >= 0);
  if (child == 0) {
    in_fork(self);
    _exit(0);
  }
  int status;
  CHILD_CHECK(waitpid(child, &status, 0) == child);
  CHILD_CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  CHILD_CHECK(kill(getpid(), SIGUSR2) == 0);
  CHILD_CHECK(count_in(self, "1-2", "mine") == 1000);
}

static void forks(void *data) {
  (void)data;
  tarn_world *world = make_world("snapshot-signal=usr2");
  tarn_thread *self = attach(world);
  forks_in(self);
  CHILD_CHECK(tarn_thread_detach(self) == TARN_OK);
  CHILD_CHECK(tarn_world_destroy(world) == TARN_OK);
}

static void a_child_has_a_monitor_of_its_own(void **state) {
  (void)state;
#if TARN_TSAN
  support_skip("ThreadSanitizer ends children that make threads");
#endif
  in_child(forks, NULL, "1-2, stopped for ");
}

static void *destroy(void *data) {
  CHILD_CHECK(tarn_world_destroy(data) == TARN_OK);
  return NULL;
}

/* The monitor is kept in a snapshot, for nobody reads the pipe that it goes to, and the thread that
 * ends the world waits for it. */
static void fork_in_the_end(void *data) {
  pthread_t thread;
  int status;
  (void)data;
  (void)alarm(30); /* who hangs ends so */
  CHILD_CHECK(mkfifo(in_directory("1-1"), 0600) == 0);
  tarn_world *world = make_world("snapshot-signal=usr2,sweeper=0,purger=0");
  const struct tarn_monitor *monitor = world->collector->monitor;
  CHILD_CHECK(raise(SIGUSR2) == 0);
  while (__atomic_load_n(&monitor->snapshots, __ATOMIC_RELAXED) == 0)
    sleep_ms(1);
  CHILD_CHECK(pthread_create(&thread, NULL, destroy, world) == 0);
  while (!__atomic_load_n(&monitor->ended, __ATOMIC_RELAXED))
    sleep_ms(1);
  sleep_ms(20);
  pid_t child = fork();
  CHILD_CHECK(child >= 0);
  if (child == 0) {
    (void)alarm(20);
    (void)destroy(world);
    struct sigaction now;
    CHILD_CHECK(sigaction(SIGUSR2, NULL, &now) == 0 && now.sa_handler == SIG_DFL);
    _exit(0);
  }
  CHILD_CHECK(waitpid(child, &status, 0) == child && status == 0);
  FILE *pipe = fopen(in_directory("1-1"), "r");
  CHILD_CHECK(pipe != NULL);
  while (getc(pipe) != EOF) {
  }
  (void)fclose(pipe);
  CHILD_CHECK(pthread_join(thread, NULL) == 0);
  CHILD_CHECK(unlink(in_directory("1-1")) == 0);
}

static void a_child_ends_a_world_that_was_ending(void **state) {
  (void)state;
  in_child(fork_in_the_end, NULL, "1-1, stopped for ");
}

/* Threads that fork at the same time wait for each other in handlers of forks. */
static void *fork_often(void *data) {
  tarn_thread *self = attach(data);
  for (unsigned i = 0; i < (SUPPORT_SANITIZED ? 20u : 150u); i++) {
    pid_t child = fork();
    CHILD_CHECK(child >= 0);
    if (child == 0)
      _exit(0);
    int status;
    tarn_block_begin(self);
    CHILD_CHECK(waitpid(child, &status, 0) == child && status == 0);
    tarn_block_end(self);
  }
  CHILD_CHECK(tarn_thread_detach(self) == TARN_OK);
  return NULL;
}

static void fork_both(void *data) {
  pthread_t threads[3];
  (void)data;
  (void)alarm(30); /* who hangs ends so */
  tarn_world *world = make_world("snapshot-at-exit=1");
  for (unsigned i = 0; i < 3; i++)
    CHILD_CHECK(pthread_create(&threads[i], NULL, fork_often, world) == 0);
  for (unsigned i = 0; i < 3; i++)
    CHILD_CHECK(pthread_join(threads[i], NULL) == 0);
  CHILD_CHECK(tarn_world_destroy(world) == TARN_OK);
  CHILD_CHECK(unlink(in_directory("1-1")) == 0);
}

static void threads_fork_at_the_same_time(void **state) {
  (void)state;
  in_child(fork_both, NULL, "1-1, stopped for ");
}

/* --- the end --------------------------------------------------------------------------------- */

static void end_world(void *data) {
  (void)data;
  tarn_world *world = make_world("snapshot-at-exit=1,log=gc");
  tarn_thread *self = attach(world);
  void *root = make_list(self, "mine", 1000);
  CHILD_CHECK(tarn_root_add(world, &root) == TARN_OK);
  CHILD_CHECK(tarn_world_destroy(world) == TARN_OK); /* the caller is attached */
  CHILD_CHECK(count_in(NULL, "1-1", "mine") == 1000);
}

static void *run_on(void *data) {
  tarn_thread *self = attach(data);
  for (;;)
    (void)make_list(self, "storm", 500);
  return NULL;
}

static void *global;

static void leave_process(void *data) {
  (void)data;
  tarn_world *world = make_world("snapshot-at-exit=1");
  tarn_thread *self = attach(world);
  pthread_t thread;
  CHILD_CHECK(pthread_create(&thread, NULL, run_on, world) == 0);
  global = make_list(self, "mine", 1000);
  CHILD_CHECK(tarn_root_add(world, &global) == TARN_OK);
  exit(0);
}

static void *compute(void *data) {
  (void)attach(data);
  for (;;)
    sleep_ms(1000); /* and no safepoint */
  return NULL;
}

static void leave_a_straggler(void *data) {
  (void)data;
  pthread_t thread;
  tarn_world *world = make_world("snapshot-at-exit=1");
  CHILD_CHECK(pthread_create(&thread, NULL, compute, world) == 0);
  tarn_stats stats = {.struct_size = sizeof stats};
  while (tarn_stats_get(world, &stats) == TARN_OK && stats.threads == 0)
    sleep_ms(1);
  exit(0);
}

/* What the monitor writes and what the exit writes are two files. */
static void ask_and_leave(void *data) {
  (void)data;
  (void)make_world("snapshot-signal=usr2,snapshot-at-exit=1");
  CHILD_CHECK(raise(SIGUSR2) == 0);
  exit(0);
}

static void hold_on(void *data) {
  (void)data;
  tarn_gc_hold(attach(make_world("snapshot-at-exit=1")));
  exit(0);
}

static void at_the_end_of_a_world(void **state) {
  (void)state;
  in_child(end_world, NULL, "tarn: snapshot of 1000 objects, ");
  in_child(end_world, NULL, " cause=snapshot generation=2 "); /* zeal has some before it */
}

static void at_the_end_of_the_process(void **state) {
  (void)state;
  in_child(leave_process, NULL, "1-1, stopped for ");
  struct reader reader;
  assert_true(reader_load(&reader, in_directory("1-1")));
  assert_int_equal(reader_count(&reader, "mine"), 1000);
  reader_end(&reader);
  assert_int_equal(unlink(in_directory("1-1")), 0);
}

/* What snapshots are written to before they have their names. */
static size_t count_parts(void) {
  glob_t found;
  size_t count = glob(in_directory("*.part"), 0, NULL, &found) == 0 ? found.gl_pathc : 0;
  globfree(&found);
  return count;
}

static bool is_told_once(const char *text, const char *file) {
  const char *first = strstr(text, file);
  assert_true(!first || !strstr(first + 1, file));
  return first != NULL;
}

/* The exit's is there, and told of; the other one if the monitor came to it. */
static void a_request_and_the_end_of_the_process_do_not_meet_in_one_file(void **state) {
  (void)state;
  for (unsigned i = 0; i < 5; i++) {
    char text[4096];
    assert_int_equal(support_child(ask_and_leave, NULL, text, sizeof text), 0);
    bool one = unlink(in_directory("1-1")) == 0, other = unlink(in_directory("1-2")) == 0;
    bool one_told = is_told_once(text, "/1-1, stopped for "),
         other_told = is_told_once(text, "/1-2, stopped for ");
    assert_true(one_told || other_told);
    assert_true((one || !one_told) && (other || !other_told));
    assert_int_equal(count_parts(), 0);
  }
}

/* Until there is a part of it. */
static void begin_snapshot(void) {
  (void)attach(make_world("snapshot-signal=usr2"));
  CHILD_CHECK(raise(SIGUSR2) == 0);
  while (count_parts() == 0)
    sleep_ms(1);
}

/* The thread that exits is one that the snapshot waits for. */
static void leave_within(void *data) {
  (void)data;
  begin_snapshot();
  exit(0);
}

static void exits_in_child(void *data) {
  (void)data;
  begin_snapshot();
  pid_t child = fork();
  CHILD_CHECK(child >= 0);
  if (child == 0)
    exit(0);
  int status;
  CHILD_CHECK(waitpid(child, &status, 0) == child && status == 0);
  CHILD_CHECK(count_parts() == 1);
  exit(0);
}

static void an_exit_takes_away_what_a_snapshot_has_written(void **state) {
  (void)state;
  in_child(leave_within, NULL, "1-1: the process exits");
  assert_int_equal(count_parts(), 0);
  assert_true(access(in_directory("1-1"), F_OK) != 0);
}

static void a_child_that_exits_leaves_its_parents_snapshot_alone(void **state) {
  (void)state;
  in_child(exits_in_child, NULL, "1-1: the process exits");
  assert_int_equal(count_parts(), 0);
}

static void nobody_waits_for_ever_at_the_end(void **state) {
  (void)state;
  in_child(leave_a_straggler, NULL, "some threads did not come to a safepoint");
  in_child(hold_on, NULL, "the thread that ends it holds the collector off");
}

/* Where no option asks for it there is no monitor. */
static void nothing_asked(void *data) {
  char name[32];
  (void)data;
  tarn_world *world = make_world("purger=0");
  FILE *status = popen("ls /proc/$PPID/task | wc -l", "r");
  CHILD_CHECK(status && fgets(name, sizeof name, status) && strtoul(name, NULL, 10) == 1);
  (void)pclose(status);
  CHILD_CHECK(tarn_world_destroy(world) == TARN_OK);
}

static void no_option_no_monitor(void **state) {
  (void)state;
  if (SUPPORT_SANITIZED)
    support_skip("a sanitizer may have a thread of its own");
  in_child(nothing_asked, NULL, NULL);
}

static int begin(void **state) {
  const char *tmp = getenv("TMPDIR");
  (void)state;
  (void)snprintf(directory, sizeof directory, "%s/tarn-monitor-XXXXXX", tmp ? tmp : P_tmpdir);
  return mkdtemp(directory) ? 0 : -1;
}

static int end(void **state) {
  (void)state;
  return rmdir(directory);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_signal_asks_for_a_snapshot),
      cmocka_unit_test(every_world_is_asked),
      cmocka_unit_test(the_programs_handlers_are_left_alone),
      cmocka_unit_test(what_cannot_be_written_is_said),
      cmocka_unit_test(without_a_thread_the_world_goes_on),
      cmocka_unit_test(a_child_has_a_monitor_of_its_own),
      cmocka_unit_test(a_child_ends_a_world_that_was_ending),
      cmocka_unit_test(threads_fork_at_the_same_time),
      cmocka_unit_test(at_the_end_of_a_world),
      cmocka_unit_test(at_the_end_of_the_process),
      cmocka_unit_test(a_request_and_the_end_of_the_process_do_not_meet_in_one_file),
      cmocka_unit_test(an_exit_takes_away_what_a_snapshot_has_written),
      cmocka_unit_test(a_child_that_exits_leaves_its_parents_snapshot_alone),
      cmocka_unit_test(nobody_waits_for_ever_at_the_end),
      cmocka_unit_test(no_option_no_monitor),
  };
  return cmocka_run_group_tests(tests, begin, end);
}
