/* SPDX-License-Identifier: MIT */
/*
 * Traces: the file is JSON, whatever ends it; the events in it are those of doc/logs.md, nest, and
 * say what happened; and a file that fails is told of once.
 */
#include "place.h"
#include "support.h"

#include "os/os.h"
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/stat.h>

#define QUIET "collect=0,purger=0,sweeper=0,markers=1"

/* --- JSON, strictly -------------------------------------------------------------------------- */

static const char *skip_value(const char *at);

static const char *skip_blanks(const char *at) {
  while (*at == ' ' || *at == '\n' || *at == '\t' || *at == '\r')
    at++;
  return at;
}

/* Behind it; NULL: it is none.  All of these. */
static const char *skip_string(const char *at) {
  if (*at != '"')
    return NULL;
  for (at++; *at != '"'; at++) {
    if ((unsigned char)*at < ' ')
      return NULL; /* the end, too */
    if (*at != '\\')
      continue;
    at++;
    if (*at == 'u') {
      for (int i = 1; i <= 4; i++)
        if (!isxdigit((unsigned char)at[i]))
          return NULL;
      at += 4;
    } else if (!*at || !strchr("\"\\/bfnrt", *at)) {
      return NULL;
    }
  }
  return at + 1;
}

static const char *skip_digits(const char *at) {
  if (!isdigit((unsigned char)*at))
    return NULL;
  while (isdigit((unsigned char)*at))
    at++;
  return at;
}

static const char *skip_number(const char *at) {
  if (*at == '-')
    at++;
  if (*at == '0' && isdigit((unsigned char)at[1]))
    return NULL;
  at = skip_digits(at);
  return at && *at == '.' ? skip_digits(at + 1) : at;
}

static const char *skip_members(const char *at, char end, bool named) {
  at = skip_blanks(at + 1);
  if (*at == end)
    return at + 1;
  for (;; at++) {
    at = skip_blanks(at);
    if (named) {
      at = skip_string(at);
      if (!at || *(at = skip_blanks(at)) != ':')
        return NULL;
      at++;
    }
    at = skip_value(at);
    if (!at)
      return NULL;
    at = skip_blanks(at);
    if (*at == end)
      return at + 1;
    if (*at != ',')
      return NULL;
  }
}

static const char *skip_value(const char *at) {
  at = skip_blanks(at);
  switch (*at) {
  case '{':
    return skip_members(at, '}', true);
  case '[':
    return skip_members(at, ']', false);
  case '"':
    return skip_string(at);
  default:
    return skip_number(at);
  }
}

static bool is_json(const char *text) {
  const char *end = skip_value(text);
  return end && *skip_blanks(end) == '\0';
}

static void the_checker_of_this_test_is_strict(void **state) {
  static const char *const good[] = {"[]", "[\n{\"a\":1.5,\"b\":{}},\n{\"\\u00e9\":[0,-1]}\n]\n"};
  static const char *const bad[] = {"",        "[",          "[1,]",     "[1 2]", "{a:1}",
                                    "{\"a\"}", "[01]",       "[\"\t\"]", "[1.]",  "[\"\\x\"]",
                                    "[]x",     "{\"a\":1,}", "[,1]",     "[\"a]", "[\"\\u12\"]"};
  (void)state;
  for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
    assert_true(is_json(good[i]));
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    assert_false(is_json(bad[i]));
}

/* --- files ----------------------------------------------------------------------------------- */

static char text[4 << 20];

/* Of the file, into `text`. */
static void load(const char *name) {
  char path[96];
  snprintf(path, sizeof path, "%s/%s", place, name);
  FILE *file = fopen(path, "r");
  if (!file)
    print_error("%s: %s\n", path, strerror(errno));
  assert_non_null(file);
  size_t got = fread(text, 1, sizeof text - 1, file);
  (void)fclose(file);
  text[got] = '\0';
}

static bool exists(const char *name) {
  char path[96];
  snprintf(path, sizeof path, "%s/%s", place, name);
  return access(path, F_OK) == 0;
}

/* --- events ---------------------------------------------------------------------------------- */

/* One stands on each line. */
struct event {
  char phase, name[64];
  int track;
  double at, took; /* microseconds */
  const char *line;
};

static struct event events[20000];
static size_t event_count;

static bool number_in(const char *line, const char *name, double *value) {
  char key[64];
  snprintf(key, sizeof key, "\"%s\":", name);
  const char *end = strchr(line, '\n'), *at = strstr(line, key);
  if (!at || (end && at > end))
    return false;
  *value = strtod(at + strlen(key), NULL);
  return true;
}

static void take_apart(void) {
  event_count = 0;
  for (const char *line = text; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
    const char *at = *line == ',' ? line + 1 : line;
    struct event *event = &events[event_count];
    double track = 0;
    if (*at != '{')
      continue;
    assert_true(event_count < sizeof events / sizeof events[0]);
    *event = (struct event){.line = at, .at = -1, .took = -1};
    assert_int_equal(sscanf(at, "{\"ph\":\"%c\"", &event->phase), 1);
    const char *name = strstr(at, "\"name\":\"");
    assert_non_null(name);
    assert_int_equal(sscanf(name, "\"name\":\"%63[^\"]", event->name), 1);
    assert_true(number_in(at, "tid", &track));
    event->track = (int)track;
    (void)number_in(at, "ts", &event->at);
    (void)number_in(at, "dur", &event->took);
    assert_true(event->phase == 'M' || event->at > 0);
    assert_true((event->phase == 'X') == (event->took >= 0));
    event_count++;
  }
}

static unsigned count_events(char phase, const char *name) {
  unsigned count = 0;
  for (size_t i = 0; i < event_count; i++)
    count += events[i].phase == phase && strcmp(events[i].name, name) == 0;
  return count;
}

static const struct event *find_event(char phase, const char *name) {
  for (size_t i = 0; i < event_count; i++)
    if (events[i].phase == phase && strcmp(events[i].name, name) == 0)
      return &events[i];
  print_error("no event %c %s in:\n%s\n", phase, name, text);
  fail();
  return NULL;
}

/* In doubles, as viewers add them: DevTools leaves out a span that ends later than the one around
 * it by the last place of a sum. */
static bool contains(const struct event *outer, const struct event *inner) {
  return outer->at <= inner->at && outer->at + outer->took >= inner->at + inner->took;
}

/* Spans of one track follow or contain each other. */
static void check_nesting(void) {
  for (size_t i = 0; i < event_count; i++)
    for (size_t j = 0; j < i; j++) {
      const struct event *a = &events[i], *b = &events[j];
      if (a->phase != 'X' || b->phase != 'X' || a->track != b->track)
        continue;
      bool apart = a->at + a->took <= b->at || b->at + b->took <= a->at;
      if (!apart && !contains(a, b) && !contains(b, a)) {
        print_error("%.120s\n%.120s\n", a->line, b->line);
        fail();
      }
    }
}

/* Each name stands in the table of doc/logs.md. */
static void check_names(void) {
  static char document[65536];
  char cell[80];
  FILE *file = fopen(TARN_SOURCE_DIR "/doc/logs.md", "r");
  assert_non_null(file);
  document[fread(document, 1, sizeof document - 1, file)] = '\0';
  (void)fclose(file);
  const char *table = strstr(document, "\n## Traces");
  assert_non_null(table);
  for (size_t i = 0; i < event_count; i++) {
    snprintf(cell, sizeof cell, "`%s`", events[i].name);
    if (!strstr(table, cell))
      print_error("doc/logs.md does not have %s\n", cell);
    assert_non_null(strstr(table, cell));
  }
}

/* Is the whole file JSON, and what it should be? */
static void load_whole(const char *name) {
  load(name);
  assert_true(is_json(text));
  take_apart();
  check_nesting();
  check_names();
}

/* --- what is in a trace ---------------------------------------------------------------------- */

static void die(tarn_world *world, void *object) { (void)world, (void)object; }
static void finalize(tarn_thread *self, void *object, void *data) {
  (void)self, (void)object, (void)data;
}

static _Atomic int stage;

static void *keep_waiting(void *data) {
  tarn_thread *self = support_attach(data);
  assert_int_equal(tarn_thread_set_name(self, "the \"slow\" one"), TARN_OK);
  stage = 1;
  while (stage == 1)
    (void)usleep(1000);
  tarn_safepoint(self);
  tarn_block_begin(self);
  (void)usleep(2000);
  tarn_block_end(self);
  return NULL; /* without detaching */
}

static void *let_go(void *data) {
  (void)data;
  (void)usleep(20000);
  stage = 2;
  return NULL;
}

static void do_everything(tarn_world *world) {
  tarn_thread *self = support_attach(world);
  pthread_t other, third;
  const tarn_type *type = support_type(world, "beast", 16, 2, die);
  for (int i = 0; i < 1000; i++)
    assert_non_null(tarn_new(self, type));
  assert_int_equal(tarn_finalizer_add(self, tarn_new(self, type), finalize, NULL), TARN_OK);
  assert_non_null(tarn_alloc_atomic(self, 24 * MIB));
  stage = 0;
  assert_int_equal(pthread_create(&other, NULL, keep_waiting, world), 0);
  while (stage == 0)
    (void)usleep(1000);
  assert_int_equal(pthread_create(&third, NULL, let_go, NULL), 0);
  assert_int_equal(tarn_collect(self, 2), TARN_OK);
  assert_int_equal(pthread_join(third, NULL), 0);
  assert_int_equal(pthread_join(other, NULL), 0);
  (void)tarn_finalizers_run(self, 0);
  assert_int_equal(tarn_collect(self, 2), TARN_OK);
  (void)tarn_trim(world, 0);
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
}

static void check_everything(bool debug) {
  static const char *const phases[] = {"stop", "prepare", "roots", "mark",
                                       "weak", "census",  "rest"};
  const struct event *gc = find_event('X', "gc");
  double value;
  assert_int_equal(count_events('X', "gc"), 2);
  assert_int_equal(count_events('X', "stop"), 2 + 2); /* those of the pauses, and of the world */
  assert_true(number_in(gc->line, "number", &value) && value == 1);
  assert_non_null(strstr(gc->line, "\"cause\":\"asked\""));
  assert_non_null(strstr(gc->line, "\"last_thread\":\"the \\\"slow\\\" one\""));
  assert_true(gc->took > 5000);
  double sum = 0;
  for (size_t i = 0; i < event_count; i++)
    for (size_t j = 0; j < sizeof phases / sizeof phases[0]; j++)
      if (events[i].track == gc->track && strcmp(events[i].name, phases[j]) == 0 &&
          contains(gc, &events[i]))
        sum += events[i].took;
  /* Parts end early, by more the longer the machine is up. */
  double early = 9 * (0.002 + gc->at / (double)(UINT64_C(1) << 51));
  assert_true(sum > gc->took - early && sum <= gc->took);
  for (size_t j = 0; j < sizeof phases / sizeof phases[0]; j++)
    assert_true(count_events('X', phases[j]) >= 2);
  assert_int_equal(count_events('X', "to safepoint"), 2);
  assert_true(count_events('X', "stopped") >= 1);
  assert_int_equal(count_events('X', "blocked") > 0, debug);
  assert_true(count_events('X', "free functions") >= 1);
  assert_int_equal(count_events('X', "finalizers"), 1);
  assert_true(count_events('X', "attached") >= 2);
  assert_non_null(strstr(text, "\"died\":1"));
  assert_int_equal(count_events('C', "heap_bytes"), 4);
  assert_int_equal(count_events('C', "live_bytes"), 2);
  assert_int_equal(count_events('C', "external_bytes"), 2);
  assert_int_equal(count_events('C', "threads"), 2);
  assert_true(count_events('C', "arena_bytes") >= 2);
  assert_int_equal(count_events('M', "process_name"), 1);
}

static void a_trace_has_everything_that_happened(void **state) {
  (void)state;
  for (int debug = 0; debug < 2; debug++) {
    tarn_world *world = support_world(
        in_place(debug ? QUIET ",trace-level=debug,trace=%s/it" : QUIET ",trace=%s/it"));
    do_everything(world);
    support_end(world);
    load_whole("it");
    check_everything(debug != 0);
  }
}

static void collections_of_cycles_have_their_events(void **state) {
  tarn_options options = TARN_OPTIONS_INIT;
  tarn_world *world;
  (void)state;
  options.set = in_place(QUIET ",trace=%s/cycles");
  options.flags = TARN_OPTIONS_NO_ENVIRONMENT | TARN_OPTIONS_COUNTING;
  assert_int_equal(tarn_world_create(&options, &world), TARN_OK);
  tarn_thread *self = support_attach(world);
  assert_int_equal(tarn_collect_cycles(self, 2), TARN_OK);
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  support_end(world);
  load_whole("cycles");
  assert_int_equal(count_events('X', "cycles"), 1);
  assert_int_equal(count_events('X', "frees garbage"), 1);
}

static void a_trace_begins_and_ends_when_it_is_told_to(void **state) {
  (void)state;
  tarn_world *world = support_world(QUIET);
  tarn_thread *self = support_attach(world);
  assert_int_equal(tarn_trace_stop(world), TARN_ENOTFOUND);
  assert_int_equal(tarn_trace_start(NULL, "x"), TARN_EINVAL);
  assert_int_equal(tarn_trace_start(world, NULL), TARN_EINVAL);
  assert_int_equal(tarn_trace_start(world, ""), TARN_EINVAL);
  assert_int_equal(tarn_trace_start(world, "a%b"), TARN_EINVAL);
  assert_int_equal(tarn_trace_stop(NULL), TARN_EINVAL);
  for (unsigned i = 1; i <= 2; i++) {
    assert_int_equal(tarn_collect(self, 2), TARN_OK); /* is in no trace */
    assert_int_equal(tarn_trace_start(world, in_place("%s/part-%%n")), TARN_OK);
    assert_int_equal(tarn_trace_start(world, in_place("%s/other")), TARN_EBUSY);
    assert_int_equal(tarn_collect(self, 2), TARN_OK);
    assert_int_equal(tarn_trace_stop(world), TARN_OK);
    assert_int_equal(tarn_trace_stop(world), TARN_ENOTFOUND);
    load_whole(i == 1 ? "part-1" : "part-2");
    assert_int_equal(count_events('X', "gc"), 1);
    assert_int_equal(count_events('X', "attached"), 1); /* until the trace ended */
  }
  assert_false(exists("other"));
  errno = 0;
  assert_int_equal(tarn_trace_start(world, in_place("%s/not/there")), TARN_ESYSTEM);
  assert_int_equal(errno, ENOENT);
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  support_end(world);
}

static void an_open_trace_ends_with_the_world(void **state) {
  (void)state;
  tarn_world *world = support_world(QUIET);
  assert_int_equal(tarn_trace_start(world, in_place("%s/it")), TARN_OK);
  support_end(world);
  load_whole("it");
}

static void bytes_are_bounded_and_events_whole(void **state) {
  (void)state;
  tarn_world *world = support_world(in_place(QUIET ",trace=%s/long"));
  for (unsigned i = 0; i < 1000; i++) { /* more than the buffer holds, and no collection */
    tarn_thread *self = support_attach(world);
    assert_int_equal(tarn_thread_detach(self), TARN_OK);
  }
  load("long"); /* as another process would see it now */
  assert_true(strlen(text) > 60000);
  assert_true(is_json(text));
  support_end(world);
  load("long");
  assert_true(is_json(text));
}

/* Where the bracket cannot be taken back it comes once. */
static void a_pipe_gets_the_same_bytes(void **state) {
  char path[64];
  (void)state;
  snprintf(path, sizeof path, "%s/pipe", place);
  assert_int_equal(mkfifo(path, 0600), 0);
  int file = open(path, O_RDWR | O_NONBLOCK); /* a reader, without which the world would wait */
  assert_in_range(file, 0, INT32_MAX);
  tarn_world *world = support_world(QUIET);
  tarn_thread *self = support_attach(world);
  assert_int_equal(tarn_trace_start(world, path), TARN_OK);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(tarn_collect(self, 2), TARN_OK);
    (void)usleep(110000);
  }
  assert_int_equal(tarn_trace_stop(world), TARN_OK);
  ssize_t got = read(file, text, sizeof text - 1);
  assert_in_range(got, 1, sizeof text - 1);
  text[got] = '\0';
  assert_true(is_json(text));
  take_apart();
  assert_int_equal(count_events('X', "gc"), 3);
  (void)close(file);
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  support_end(world);
}

/* --- processes that end, and fork ------------------------------------------------------------ */

static void be_killed(void *data) {
  tarn_world *world;
  tarn_thread *self = support_child_begin(data, &world);
  for (int i = 0; i < 3; i++) {
    (void)usleep(110000);
    CHILD_CHECK(tarn_collect(self, 2) == TARN_OK);
  }
  (void)raise(SIGKILL);
}

static void what_a_killed_process_leaves_is_whole(void **state) {
  char said[256];
  (void)state;
  int status = support_child(be_killed, (void *)in_place(QUIET ",trace=%s/it"), said, sizeof said);
  assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  load_whole("it");
  assert_int_equal(count_events('X', "gc"), 3);
}

static void fork_with_a_trace(void *data) {
  tarn_world *world;
  int status;
  tarn_thread *self = support_child_begin(data, &world);
  CHILD_CHECK(tarn_collect(self, 2) == TARN_OK);
  pid_t child = fork();
  CHILD_CHECK(child >= 0);
  CHILD_CHECK(tarn_collect(self, 2) == TARN_OK);
  support_child_end(world, self);
  if (child == 0)
    _exit(0);
  CHILD_CHECK(waitpid(child, &status, 0) == child && status == 0);
  dprintf(2, "%d %d", (int)getpid(), (int)child);
}

static void a_child_of_a_fork_leaves_the_trace_alone_or_has_its_own(void **state) {
  char said[256], name[32];
  int parent, child;
  (void)state;
  assert_int_equal(
      support_child(fork_with_a_trace, (void *)in_place(QUIET ",trace=%s/one"), said, sizeof said),
      0);
  load_whole("one");
  assert_int_equal(count_events('X', "gc"), 2);
  assert_int_equal(
      support_child(fork_with_a_trace, (void *)in_place(QUIET ",trace=%s/%%p"), said, sizeof said),
      0);
  assert_int_equal(sscanf(said, "%d %d", &parent, &child), 2);
  snprintf(name, sizeof name, "%d", parent);
  load_whole(name);
  assert_int_equal(count_events('X', "gc"), 2);
  snprintf(name, sizeof name, "%d", child);
  load_whole(name);
  assert_int_equal(count_events('X', "gc"), 1);
}

/* --- one file for several -------------------------------------------------------------------- */

static void trace_to_the_same(void *data) {
  tarn_world *world;
  tarn_thread *self = support_child_begin(data, &world);
  CHILD_CHECK(tarn_collect(self, 2) == TARN_OK);
  CHILD_CHECK(tarn_trace_stop(world) == TARN_ENOTFOUND); /* there is none */
  support_child_end(world, self);
}

/* Another process, too, be it the child of one that has such a trace. */
static void a_file_that_is_written_to_is_left_alone(void **state) {
  char said[1024];
  (void)state;
  const char *options = in_place(QUIET ",trace=%s/one");
  tarn_world *first = support_world(options);
  tarn_thread *self = support_attach(first);
  for (unsigned i = 0; i < 30; i++)
    assert_int_equal(tarn_collect(self, 2), TARN_OK);
  tarn_world *second = support_world(QUIET);
  errno = 0;
  assert_int_equal(tarn_trace_start(second, in_place("%s/one")), TARN_ESYSTEM);
  assert_int_equal(errno, EBUSY);
  assert_int_equal(
      support_child(trace_to_the_same, (void *)in_place(QUIET ",trace=%s/one"), said, sizeof said),
      0);
  assert_non_null(strstr(said, "/one: cannot be opened: another world or process writes to it\n"));
  assert_ptr_equal(strchr(said, '\n'), said + strlen(said) - 1); /* one line */
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  support_end(first);
  load_whole("one");
  assert_int_equal(count_events('X', "gc"), 30);
  assert_int_equal(tarn_trace_start(second, in_place("%s/one")), TARN_OK); /* it is free now */
  support_end(second);
  load_whole("one");
  assert_int_equal(count_events('X', "gc"), 0);
}

/* A child has no part in its parent's trace, and does not keep it from ending. */
static void a_file_is_free_while_a_child_lives(void **state) {
  int ends[2];
  char byte;
  (void)state;
  tarn_world *world = support_world(in_place(QUIET ",trace=%s/one"));
  assert_int_equal(pipe(ends), 0);
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    (void)close(ends[1]);
    _exit((int)read(ends[0], &byte, 1));
  }
  (void)close(ends[0]);
  assert_int_equal(tarn_trace_stop(world), TARN_OK);
  tarn_status status = tarn_trace_start(world, in_place("%s/one"));
  (void)close(ends[1]);
  assert_int_equal(waitpid(child, NULL, 0), child);
  assert_int_equal(status, TARN_OK);
  support_end(world);
}

/* What the program itself writes to is everybody's. */
static void two_traces_to_standard_output(void *data) {
  tarn_world *first, *second;
  int file = open(data, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  CHILD_CHECK(file >= 0 && dup2(file, 1) == 1);
  tarn_thread *one = support_child_begin(QUIET ",trace=/dev/stdout", &first);
  tarn_thread *other = support_child_begin(QUIET ",trace=/dev/stdout", &second);
  CHILD_CHECK(tarn_trace_stop(second) == TARN_OK && tarn_trace_stop(first) == TARN_OK);
  support_child_end(second, other);
  support_child_end(first, one);
}

static void standard_output_is_shared(void **state) {
  char said[256];
  (void)state;
  assert_int_equal(
      support_child(two_traces_to_standard_output, (void *)in_place("%s/out"), said, sizeof said),
      0);
  assert_string_equal(said, "");
}

/* --- files that fail ------------------------------------------------------------------------- */

static void trace_to(void *data) {
  tarn_world *world;
  tarn_thread *self = support_child_begin(data, &world);
  for (int i = 0; i < 5; i++)
    CHILD_CHECK(tarn_collect(self, 2) == TARN_OK);
  tarn_status status = tarn_trace_stop(world);
  CHILD_CHECK(status == TARN_ESYSTEM || status == TARN_ENOTFOUND);
  CHILD_CHECK(status != TARN_ESYSTEM || errno == ENOSPC);
  support_child_end(world, self);
}

static void a_file_that_fails_ends_the_trace_with_one_line(void **state) {
  char said[1024];
  (void)state;
  int status =
      support_child(trace_to, (void *)in_place(QUIET ",trace=%s/not/there"), said, sizeof said);
  assert_int_equal(status, 0);
  assert_non_null(strstr(said, "not/there: cannot be opened: No such file or directory\n"));
  assert_ptr_equal(strchr(said, '\n'), said + strlen(said) - 1); /* one line */
  if (access("/dev/full", W_OK) != 0)
    support_skip("no /dev/full");
  status = support_child(trace_to, (void *)(QUIET ",trace=/dev/full"), said, sizeof said);
  if (status != 0)
    print_error("%s\n", said);
  assert_int_equal(status, 0);
  assert_non_null(
      strstr(said, "/dev/full: cannot be written, and ends here: No space left on device\n"));
  assert_ptr_equal(strchr(said, '\n'), said + strlen(said) - 1);
}

#if TARN_FAULTS
static unsigned fault;

static void trace_with_a_fault(void *data) {
  tarn_world *world;
  tarn_thread *self = support_child_begin(QUIET, &world);
  tarn_os_fault_nth(fault, 1);
  tarn_status status = tarn_trace_start(world, data);
  CHILD_CHECK(status == (fault == TARN_FAULT_PAGES  ? TARN_ENOMEM
                         : fault == TARN_FAULT_OPEN ? TARN_ESYSTEM
                                                    : TARN_OK));
  if (status != TARN_OK)
    CHILD_CHECK(tarn_trace_start(world, data) == TARN_OK); /* the next time there is some */
  CHILD_CHECK(tarn_collect(self, 2) == TARN_OK);
  (void)tarn_trace_stop(world);
  support_child_end(world, self);
}
#endif

static void failing_calls_are_survived(void **state) {
  (void)state;
#if TARN_FAULTS
  static const unsigned faults[] = {TARN_FAULT_PAGES,       TARN_FAULT_OPEN,
                                    TARN_FAULT_READ_AGAIN,  TARN_FAULT_WRITE_SHORT,
                                    TARN_FAULT_WRITE_AGAIN, TARN_FAULT_WRITE};
  for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
    fault = faults[i];
    support_good_child(trace_with_a_fault, (void *)in_place("%s/it"));
    if (fault == TARN_FAULT_WRITE)
      continue;
    load_whole("it");
    assert_int_equal(count_events('X', "gc"), 1);
  }
#else
  support_skip("this build has no faults");
#endif
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_checker_of_this_test_is_strict),
      IN_PLACE(a_trace_has_everything_that_happened),
      IN_PLACE(collections_of_cycles_have_their_events),
      IN_PLACE(a_trace_begins_and_ends_when_it_is_told_to),
      IN_PLACE(an_open_trace_ends_with_the_world),
      IN_PLACE(bytes_are_bounded_and_events_whole),
      IN_PLACE(a_pipe_gets_the_same_bytes),
      IN_PLACE(what_a_killed_process_leaves_is_whole),
      IN_PLACE(a_child_of_a_fork_leaves_the_trace_alone_or_has_its_own),
      IN_PLACE(a_file_that_is_written_to_is_left_alone),
      IN_PLACE(a_file_is_free_while_a_child_lives),
      IN_PLACE(standard_output_is_shared),
      IN_PLACE(a_file_that_fails_ends_the_trace_with_one_line),
      IN_PLACE(failing_calls_are_survived),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
