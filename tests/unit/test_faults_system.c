/* SPDX-License-Identifier: MIT */
/*
 * Whatever else the library asks the system for, refused: writing its log, reading what the system
 * says of the machine and of threads, keys of thread-local data, functions for forks, the bounds of
 * stacks.  A call that cannot go on without says so; all others go on, and a log line is there or
 * not, but never in part.
 */
#include "faults.h"

#include "os/limits.h"
#include <errno.h>
#include <stdatomic.h>

#define OBJECTS 100
#define TEXT_MOST (64 * KIB)

static struct scene {
  tarn_world *world;
  tarn_thread *self;
  const tarn_type *resource;
  size_t made, freed;
  unsigned kind;
  unsigned refused; /* calls that a failure explains */
  _Atomic int holds;
} scene;

/* What the parent has found before anything fails. */
static struct tarn_limits limits;
static char place[400];

static int log_file; /* standard error, but for the end */

static bool is_one_of(unsigned kinds) { return (scene.kind & kinds) != 0; }

/* Which call may fail in which way; notes it. */
static bool good(tarn_status status) {
  if (status == TARN_OK)
    return true;
  if (is_one_of(TARN_FAULT_STACK))
    CHILD_CHECK(status == TARN_ESYSTEM && errno == ENOMEM);
  else
    CHILD_CHECK(status == TARN_ENOMEM && is_one_of(TARN_FAULT_KEY | TARN_FAULT_ATFORK));
  scene.refused++;
  return false;
}

static void count_free(tarn_world *world, void *object) {
  CHILD_CHECK(world == scene.world && object);
  scene.freed++;
}

/* --- the parts ------------------------------------------------------------------------------- */

#define OPTIONS                                                                                \
  "address-space=256M,log=gc+safepoint,stop-timeout=1ms,show-config=1,scan-stack=1,markers=1," \
  "sweeper=off,purger=off,idle-collect=0,no-such-option=1"

/* One fault, once: the second time each call is good. */
static void make_world(void) {
  tarn_options options = TARN_OPTIONS_INIT;
  options.set = SUPPORT_ZEAL ? OPTIONS ",zeal=100" : OPTIONS;
  options.flags = TARN_OPTIONS_NO_ENVIRONMENT;
  tarn_status status = tarn_world_create(&options, &scene.world);
  CHILD_CHECK((status == TARN_OK) == (scene.world != NULL));
  if (!good(status))
    CHILD_CHECK(tarn_world_create(&options, &scene.world) == TARN_OK);
}

static tarn_thread *attach(void) {
  tarn_thread *self = (tarn_thread *)&scene;
  errno = EXDEV;
  tarn_status status = tarn_thread_attach(scene.world, &self);
  CHILD_CHECK((status == TARN_OK) == (self != NULL));
  if (!good(status))
    CHILD_CHECK(tarn_thread_attach(scene.world, &self) == TARN_OK);
  return self;
}

static void make_objects(void) {
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = "resource";
  spec.size = 24;
  spec.free = count_free;
  if (!scene.resource)
    CHILD_CHECK((scene.resource = tarn_type_create(scene.world, &spec, NULL)));
  for (int i = 0; i < OBJECTS; i++) {
    CHILD_CHECK(tarn_new(scene.self, scene.resource));
    scene.made++;
  }
}

static const char *read_log(void) {
  static char text[TEXT_MOST + 1];
  ssize_t got = pread(log_file, text, TEXT_MOST, 0);
  CHILD_CHECK(got >= 0 && got < (ssize_t)TEXT_MOST);
  text[got] = '\0';
  return text;
}

static bool is_told(void) { return strstr(read_log(), "has not come to a safepoint") != NULL; }

/* A thread that a stop waits for until it is told of; if that line is lost, it is told of again. */
static void *straggle(void *unused) {
  (void)unused;
  tarn_thread *self = attach();
  tarn_gc_hold(self);
  atomic_store(&scene.holds, 1);
  while (!is_told())
    (void)usleep(500);
  tarn_gc_release(self);
  CHILD_CHECK(tarn_thread_detach(self) == TARN_OK);
  return NULL;
}

static void wait_for_straggler(void) {
  pthread_t thread;
  CHILD_CHECK(pthread_create(&thread, NULL, straggle, NULL) == 0);
  while (!atomic_load(&scene.holds))
    tarn_safepoint(scene.self);
  CHILD_CHECK(tarn_collect(scene.self, TARN_GENERATION_FULL) == TARN_OK);
  tarn_block_begin(scene.self);
  CHILD_CHECK(pthread_join(thread, NULL) == 0);
  tarn_block_end(scene.self);
}

/* A file that cannot be read is one that says nothing; what is tried again says all. */
static void look_at_the_machine(void) {
  struct tarn_limits now;
  char text[sizeof place] = "", state[160] = "";
  bool blind = is_one_of(TARN_FAULT_OPEN | TARN_FAULT_READ | TARN_FAULT_LIMITS);
  tarn_limits_detect(&now);
  CHILD_CHECK(now.physical > 0 && now.memory > 0 && now.cpus > 0);
  CHILD_CHECK(blind || (now.memory == limits.memory && now.cpus == limits.cpus &&
                        now.cgroup == limits.cgroup && now.physical == limits.physical));
  tarn_os_code_place((uintptr_t)&straggle + 1, text, sizeof text);
  CHILD_CHECK(blind ? text[0] != '\0' : strcmp(text, place) == 0);
  tarn_os_thread_state(tarn_os_thread_id(), state, sizeof state);
  CHILD_CHECK(strcmp(state, "running") == 0 || (blind && strcmp(state, "state unknown") == 0));
}

static void fork_once(void) {
  int status = 0;
  pid_t child = fork();
  CHILD_CHECK(child >= 0);
  if (child == 0) {
    (void)alarm(FAULTS_SECONDS / 2);
    make_objects();
    CHILD_CHECK(tarn_collect(scene.self, TARN_GENERATION_FULL) == TARN_OK);
    _exit(0);
  }
  CHILD_CHECK(waitpid(child, &status, 0) == child && status == 0);
}

static void play(void) {
  make_world();
  scene.self = attach();
  if (!good(tarn_thread_scan_stack(scene.self, true)))
    CHILD_CHECK(tarn_thread_scan_stack(scene.self, true) == TARN_OK);
  make_objects();
  wait_for_straggler();
  look_at_the_machine();
  fork_once();
  make_objects();
  CHILD_CHECK(tarn_collect(scene.self, TARN_GENERATION_FULL) == TARN_OK);
  if (scene.refused) /* in all other runs the heap is that of a run without faults */
    CHILD_CHECK(tarn_verify(scene.self, NULL, 0) == TARN_OK);
  CHILD_CHECK(tarn_thread_detach(scene.self) == TARN_OK);
  if (!good(tarn_world_destroy(scene.world)))
    CHILD_CHECK(tarn_world_destroy(scene.world) == TARN_OK);
  CHILD_CHECK(scene.freed == scene.made);
}

/* --- what was written ------------------------------------------------------------------------ */

/* Whole lines of each kind: how they begin, and what stands near their end. */
static const struct {
  const char *begin, *last;
  unsigned least; /* lines */
} forms[] = {
    {"tarn: gc ", " last=", 2},        {"tarn: stop ", " last=", 3},
    {"tarn: thread \"", " ms: ", 1},   {"tarn: tarn_options.set: ", "ignored", 1},
    {"tarn: configuration (", ")", 1}, {"  ", "  ", 25}, /* NAME VALUE SOURCE */
};
#define FORMS (sizeof forms / sizeof forms[0])

static void check_line(const char *line, unsigned found[FORMS]) {
  size_t form = 0;
  while (form < FORMS && strncmp(line, forms[form].begin, strlen(forms[form].begin)) != 0)
    form++;
  /* A line of which a part is missing ends early, or goes on with the next one. */
  if (form == FORMS || !strstr(line + strlen(forms[form].begin), forms[form].last) ||
      strstr(line + 1, "tarn: ")) {
    dprintf(2, "a line that is none: %s\n", line);
    _exit(3);
  }
  found[form]++;
}

static void check_lines(const char *text) {
  unsigned found[FORMS] = {0}, missing = 0;
  char line[1100];
  for (size_t length; *text; text += length + 1) {
    length = strcspn(text, "\n");
    CHILD_CHECK(text[length] == '\n' && length < sizeof line);
    memcpy(line, text, length);
    line[length] = '\0';
    check_line(line, found);
  }
  for (size_t i = 0; i < FORMS; i++)
    missing += found[i] < forms[i].least ? forms[i].least - found[i] : 0;
  CHILD_CHECK(missing <= (is_one_of(TARN_FAULT_WRITE) ? 1 : 0));
}

/* Parent and child both tell of the end of the fork's stop, perhaps at the same time, and then the
 * parts of lines of which a write took one only would lie between each other. */
static int child_log;
static void begin_child_log(void) { (void)dup2(child_log, 2); }

static void play_with_fault(unsigned kind) {
  int kept = dup(2);
  scene.kind = kind;
  log_file = memfd_create("log", MFD_CLOEXEC);
  child_log = memfd_create("child's log", MFD_CLOEXEC);
  CHILD_CHECK(kept >= 0 && log_file >= 0 && dup2(log_file, 2) == 2 && child_log >= 0);
  /* Before the world's own, and so it is called before them in the child. */
  CHILD_CHECK(pthread_atfork(NULL, NULL, begin_child_log) == 0);
  play();
  faults_over();
  CHILD_CHECK(dup2(kept, 2) == 2);
  check_lines(read_log());
  /* One call for each failure, where there is somebody to tell. */
  bool tells = is_one_of(TARN_FAULT_KEY | TARN_FAULT_ATFORK | TARN_FAULT_STACK);
  CHILD_CHECK(scene.refused == (tells ? 1u : 0u));
}

static void every_refusal_is_told_or_does_not_matter(void **unused) {
  static const struct faults_kind kinds[] = {
      {TARN_FAULT_WRITE, "write", FAULTS_SOME, false, false},
      {TARN_FAULT_WRITE_SHORT, "short write", FAULTS_SOME, true, false},
      {TARN_FAULT_WRITE_AGAIN, "write again", FAULTS_SOME, true, false},
      {TARN_FAULT_OPEN, "open", FAULTS_SOME, true, false},
      {TARN_FAULT_READ, "read", FAULTS_SOME, true, false},
      {TARN_FAULT_READ_AGAIN, "read again", FAULTS_SOME, true, false},
      {TARN_FAULT_LIMITS, "limits", FAULTS_ALL, true, false},
      {TARN_FAULT_STACK, "stack", FAULTS_ALL, false, false},
      {TARN_FAULT_KEY, "key", FAULTS_ALL, false, false},
      {TARN_FAULT_ATFORK, "atfork", FAULTS_ALL, false, false},
  };
  (void)unused;
  if (!TARN_FAULTS)
    support_skip("built without TARN_FAULTS");
  tarn_limits_detect(&limits);
  tarn_os_code_place((uintptr_t)&straggle + 1, place, sizeof place);
  faults_try_all(play_with_fault, kinds, sizeof kinds / sizeof kinds[0]);
}

/* --- a pipe that nobody reads from ----------------------------------------------------------- */

static void say_to_nobody(void *unused) {
  int ends[2];
  sigset_t pipe_signal, pending;
  (void)unused;
  (void)signal(SIGPIPE, SIG_DFL);
  CHILD_CHECK(pipe(ends) == 0 && close(ends[0]) == 0);
  int kept = dup(2);
  CHILD_CHECK(dup2(ends[1], 2) == 2);
  tarn_os_say("nobody reads this");
  (void)dup2(kept, 2);
  CHILD_CHECK(sigpending(&pending) == 0 && !sigismember(&pending, SIGPIPE));
  /* One that the program holds back itself is still there afterwards. */
  (void)sigemptyset(&pipe_signal);
  (void)sigaddset(&pipe_signal, SIGPIPE);
  CHILD_CHECK(pthread_sigmask(SIG_BLOCK, &pipe_signal, NULL) == 0 && raise(SIGPIPE) == 0);
  CHILD_CHECK(dup2(ends[1], 2) == 2);
  tarn_os_say("nor this");
  (void)dup2(kept, 2);
  CHILD_CHECK(sigpending(&pending) == 0 && sigismember(&pending, SIGPIPE));
}

static void a_log_that_nobody_reads_does_not_end_the_program(void **unused) {
  (void)unused;
  support_good_child(say_to_nobody, NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_refusal_is_told_or_does_not_matter),
      cmocka_unit_test(a_log_that_nobody_reads_does_not_end_the_program),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
