/* SPDX-License-Identifier: MIT */
/*
 * The lines of the option `log`: one for each collection and one for each stop, and none unless it
 * was asked for; and the file that they go to.
 */
#include "comma_locale.h"
#include "place.h"
#include "support.h"

#include "os/os.h"
#include <fcntl.h>
#include <sys/stat.h>

struct scene {
  const char *set;
  unsigned flags;
};

static tarn_status collect(tarn_thread *self, unsigned flags) {
  return flags & TARN_OPTIONS_COUNTING ? tarn_collect_cycles(self, 2) : tarn_collect(self, 2);
}

/* In a child.  Two collections. */
static void run(void *data) {
  const struct scene *scene = data;
  tarn_options options = TARN_OPTIONS_INIT;
  tarn_world *world;
  tarn_thread *self;
  options.set = scene->set;
  options.flags = TARN_OPTIONS_NO_ENVIRONMENT | scene->flags;
  CHILD_CHECK(tarn_world_create(&options, &world) == TARN_OK);
  CHILD_CHECK(tarn_thread_attach(world, &self) == TARN_OK);
  for (int i = 0; i < 2; i++)
    CHILD_CHECK(collect(self, scene->flags) == TARN_OK);
  CHILD_CHECK(tarn_thread_detach(self) == TARN_OK);
  CHILD_CHECK(tarn_world_destroy(world) == TARN_OK);
}

static void lines_of(const char *set, unsigned flags, char *text, size_t size) {
  struct scene scene = {set, flags};
  int status = support_child(run, &scene, text, size);
  if (status != 0)
    print_error("child ended with %#x: %s\n", (unsigned)status, text);
  assert_int_equal(status, 0);
}

static unsigned count(const char *text, const char *part) {
  unsigned found = 0;
  for (const char *at = text; (at = strstr(at, part)); at++)
    found++;
  return found;
}

#define PLAIN "collect=0,purger=0,sweeper=0,markers=1"

static void each_collection_has_a_line_of_its_own_kind(void **state) {
  char text[4096];
  (void)state;
  lines_of(PLAIN ",log=gc", 0, text, sizeof text);
  assert_int_equal(count(text, "\n"), 2);
  assert_non_null(strstr(text, "tarn: gc number=1 cause=asked generation=2 pause="));
  assert_non_null(strstr(text, "tarn: gc number=2 cause=asked generation=2 pause="));
  lines_of(PLAIN ",log=gc", TARN_OPTIONS_COUNTING, text, sizeof text);
  assert_int_equal(count(text, "\n"), 2);
  assert_non_null(strstr(text, "tarn: cycles number=1 cause=asked generation=2 pause="));
  assert_non_null(strstr(text, "tarn: cycles number=2 cause=asked generation=2 pause="));
  assert_int_equal(count(text, " garbage=0 resurrected=0 freeing="), 2);
}

static void each_stop_has_a_line(void **state) {
  char text[4096];
  double took;
  (void)state;
  lines_of(PLAIN ",log=safepoint", 0, text, sizeof text);
  assert_int_equal(count(text, "\n"), 2);
  assert_int_equal(sscanf(text, "tarn: stop number=1 to_safepoint=%lfms stopped=", &took), 1);
  assert_non_null(strstr(text, "tarn: stop number=2 "));
  lines_of(PLAIN ",log=gc+safepoint", 0, text, sizeof text);
  assert_int_equal(count(text, "tarn: stop "), 2);
  assert_int_equal(count(text, "tarn: gc "), 2);
}

/* awk calculates with them. */
static void numbers_have_a_point_whatever_the_locale(void **state) {
  static char text[32768];
  (void)state;
  assert_true(comma_begin());
  lines_of(PLAIN ",log=gc=debug+safepoint=debug+heap=debug+thread=debug", 0, text, sizeof text);
  (void)setlocale(LC_NUMERIC, "C");
  assert_int_equal(count(text, "tarn: gc number="), 2);
  assert_int_equal(count(text, "tarn: gc-pace "), 2);
  for (const char *at = text; (at = strchr(at, ',')); at++)
    if (at[1] >= '0' && at[1] <= '9')
      fail_msg("a comma in %.40s", at > text + 20 ? at - 20 : text);
}

/* In a child: a collection with so many external bytes. */
static void adjust(void *data) {
  tarn_world *world;
  tarn_thread *self = support_child_begin(PLAIN ",log=gc", &world);
  CHILD_CHECK(tarn_external_adjust(world, *(ptrdiff_t *)data) == TARN_OK);
  CHILD_CHECK(tarn_collect(self, 2) == TARN_OK);
  support_child_end(world, self);
}

static void amounts_are_rounded_to_the_nearest(void **state) {
  static const struct {
    ptrdiff_t bytes;
    const char *text;
  } cases[] = {{0, " external=0.0M "},
               {52428, " external=0.0M "},
               {52429, " external=0.1M "},
               {1 << 20, " external=1.0M "},
               {(2 << 20) - 1, " external=2.0M "},
               {(ptrdiff_t)1 << 50, " external=1073741824.0M "}};
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char text[4096];
    ptrdiff_t bytes = cases[i].bytes;
    assert_int_equal(support_child(adjust, &bytes, text, sizeof text), 0);
    if (!strstr(text, cases[i].text))
      fail_msg("%td bytes: not%s in %s", bytes, cases[i].text, text);
  }
}

/* --- the list of fields in doc/logs.md ------------------------------------------------------- */

/* The names of a line's fields, each with a blank before it and a '=' behind. */
struct fields {
  char text[1024];
};

/* The line of a kind, without what stands before its fields; NULL: there is none. */
static const char *line_of(const char *text, const char *kind) {
  char start[64];
  snprintf(start, sizeof start, "tarn: %s ", kind);
  const char *line = strstr(text, start);
  return line ? line + strlen(start) - 1 : NULL;
}

static struct fields fields_of(const char *line) {
  struct fields fields = {""};
  const char *end = strchr(line, '\n'), *last = strstr(line, " last=");
  if (!last || last > end)
    last = strstr(line, " thread="); /* a name may have anything in it */
  if (!last || last > end)
    last = end;
  for (const char *at = line; at <= last && at < end; at++) {
    size_t length = strcspn(at + 1, "= \n");
    if (*at == ' ' && at[1 + length] == '=')
      strncat(fields.text, at, length + 2);
  }
  return fields;
}

/* The same of a table in the document. */
static struct fields fields_told(const char *kind) {
  struct fields fields = {""};
  char line[512], heading[64];
  bool here = false;
  FILE *file = fopen(TARN_SOURCE_DIR "/doc/logs.md", "r");
  assert_non_null(file);
  snprintf(heading, sizeof heading, "### %s\n", kind);
  while (fgets(line, sizeof line, file)) {
    if (line[0] == '#')
      here = strcmp(line, heading) == 0;
    char *name = here && strncmp(line, "| `", 3) == 0 ? line + 3 : NULL, *end;
    if (name && (end = strchr(name, '`'))) {
      *end = '\0';
      strcat(strcat(strcat(fields.text, " "), name), "=");
    }
  }
  (void)fclose(file);
  return fields;
}

static void check_fields(const char *text, const char *kind, const char *as) {
  const char *line = line_of(text, kind);
  struct fields told = fields_told(as);
  if (!line || !told.text[0])
    print_error("%s: no line, or no table, in:\n%s\n", kind, text);
  assert_non_null(line);
  assert_true(told.text[0] != '\0');
  assert_string_equal(fields_of(line).text, told.text);
}

/* In a child: something of everything, with the lines of all subjects. */
struct beast {
  const tarn_type *type;
  void *next;
};
static void die(tarn_world *world, void *object) { (void)world, (void)object; }
static void finalize(tarn_thread *self, void *object, void *data) {
  (void)self, (void)object, (void)data;
}

static _Atomic int stage;

static void *keep_waiting(void *data) {
  tarn_thread *self;
  CHILD_CHECK(tarn_thread_attach(data, &self) == TARN_OK);
  stage = 1;
  while (stage == 1) /* no safepoint: it is waited for */
    (void)usleep(1000);
  tarn_safepoint(self);
  stage = 3;
  return NULL; /* without detaching */
}

static void *let_go(void *data) {
  (void)data;
  (void)usleep(20000);
  stage = 2;
  return NULL;
}

static void do_everything(void *data) {
  const struct scene *scene = data;
  tarn_world *world;
  pthread_t other, third;
  tarn_thread *self = support_child_begin(scene->set, &world);
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = "beast";
  spec.size = sizeof(struct beast);
  spec.slot_bits = 2;
  spec.free = die;
  const tarn_type *type = tarn_type_create(world, &spec, NULL);
  CHILD_CHECK(type);
  for (int i = 0; i < 1000; i++)
    CHILD_CHECK(tarn_new(self, type));
  CHILD_CHECK(tarn_finalizer_add(self, tarn_new(self, type), finalize, NULL) == TARN_OK);
  for (int i = 0; i < 1000; i++) /* in pools that are swept later */
    CHILD_CHECK(tarn_alloc_atomic(self, 64));
  CHILD_CHECK(tarn_alloc_atomic(self, 24 * MIB));
  CHILD_CHECK(pthread_create(&other, NULL, keep_waiting, world) == 0);
  while (stage == 0)
    (void)usleep(1000);
  CHILD_CHECK(pthread_create(&third, NULL, let_go, NULL) == 0);
  CHILD_CHECK(tarn_collect(self, 2) == TARN_OK);
  CHILD_CHECK(pthread_join(third, NULL) == 0);
  CHILD_CHECK(pthread_join(other, NULL) == 0);
  (void)tarn_finalizers_run(self, 0);
  CHILD_CHECK(tarn_collect(self, 2) == TARN_OK);
  (void)tarn_trim(world, 0);
  support_child_end(world, self);
}

static void each_documented_field_is_in_its_line_and_no_other(void **state) {
  static char text[65536];
  static const struct {
    const char *kind, *as;
  } kinds[] = {{"gc", "gc"},
               {"gc-pace", "gc-pace"},
               {"gc-mark", "gc-mark"},
               {"gc-swept", "gc-swept"},
               {"gc-released", "gc-released"},
               {"gc-finalized", "gc-released"},
               {"stop", "stop"},
               {"stop-waited", "stop-waited"},
               {"thread-attached", "thread-attached"},
               {"thread-detached", "thread-detached"},
               {"thread-died", "thread-detached"},
               {"heap-arena-taken", "heap-arena-taken"},
               {"heap-arena-given", "heap-arena-taken"},
               {"heap-purged", "heap-purged"},
               {"heap-large", "heap-large"}};
  struct scene scene = {PLAIN ",log=gc=debug,safepoint=debug,heap=debug,thread", 0};
  (void)state;
  int status = support_child(do_everything, &scene, text, sizeof text);
  if (status != 0)
    print_error("%s\n", text);
  assert_int_equal(status, 0);
  for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
    check_fields(text, kinds[i].kind, kinds[i].as);
  lines_of(PLAIN ",log=gc=debug", TARN_OPTIONS_COUNTING, text, sizeof text);
  check_fields(text, "cycles", "cycles");
  check_fields(text, "cycles-pace", "gc-pace");
}

/* In a child: more lives than the soft limit, and little time is to be spent on that. */
static void give_up_the_soft_limit(void *data) {
  tarn_world *world;
  void *keeps = NULL;
  (void)data;
  tarn_thread *self =
      support_child_begin("sweeper=0,min-heap=1M,soft-limit=2M,soft-share=1,log=gc", &world);
  void *const slots[] = {&keeps};
  tarn_frame frame;
  tarn_frame_push(self, &frame, slots, 1);
  keeps = tarn_alloc_atomic(self, 8 * MIB);
  for (int i = 0; i < 200000; i++)
    (void)tarn_alloc_atomic(self, 1000);
  tarn_frame_pop(self, &frame);
  support_child_end(world, self);
}

static void fail_at_the_hard_limit(void *data) {
  tarn_world *world;
  void *keeps = NULL;
  (void)data;
  tarn_thread *self = support_child_begin("sweeper=0,hard-limit=8M,log=gc", &world);
  void *const slots[] = {&keeps};
  tarn_frame frame;
  tarn_frame_push(self, &frame, slots, 1);
  keeps = tarn_alloc_atomic(self, 7 * MIB);
  for (int i = 0; i < 10; i++)
    CHILD_CHECK(!tarn_alloc_atomic(self, 6 * MIB));
  tarn_frame_pop(self, &frame);
  support_child_end(world, self);
}

static void so_it_is_with_the_lines_about_limits(void **state) {
  static char text[1 << 20];
  (void)state;
  assert_int_equal(support_child(give_up_the_soft_limit, NULL, text, sizeof text), 0);
  check_fields(text, "gc-soft-limit", "gc-soft-limit");
  assert_int_equal(support_child(fail_at_the_hard_limit, NULL, text, sizeof text), 0);
  check_fields(text, "gc-hard-limit", "gc-hard-limit");
  assert_non_null(strstr(text, " cause=hard-limit "));
}

static double value_of(const char *line, const char *name) {
  char start[64];
  snprintf(start, sizeof start, " %s=", name);
  const char *at = strstr(line, start);
  assert_non_null(at);
  return strtod(at + strlen(start), NULL);
}

static void check_sum(const char *line) {
  static const char *const phases[] = {"stop", "prepare", "roots", "mark",
                                       "weak", "census",  "rest"};
  double sum = 0;
  for (size_t i = 0; i < sizeof phases / sizeof phases[0]; i++)
    sum += value_of(line, phases[i]);
  assert_true(sum - value_of(line, "pause") < 0.0045 && value_of(line, "pause") - sum < 0.0045);
  assert_true(value_of(line, "pause") > 0);
}

static void the_phases_of_a_pause_add_up(void **state) {
  static char text[65536];
  struct scene scene = {PLAIN ",log=gc,verify=1", 0};
  (void)state;
  assert_int_equal(support_child(do_everything, &scene, text, sizeof text), 0);
  const char *line = line_of(text, "gc");
  check_sum(line);
  assert_true(value_of(line, "stop") > 5); /* somebody let it wait */
  assert_true(value_of(line, "condemned") > 0);
  assert_true(value_of(line, "finalizers") == 1);
  assert_true(value_of(line, "before") >= 24);
  check_sum(line_of(line, "gc"));
  lines_of(PLAIN ",log=gc", TARN_OPTIONS_COUNTING, text, sizeof text);
  check_sum(line_of(text, "cycles"));
}

static void who_was_waited_for_is_told(void **state) {
  static char text[65536];
  struct scene scene = {PLAIN ",log=safepoint=debug", 0};
  (void)state;
  assert_int_equal(support_child(do_everything, &scene, text, sizeof text), 0);
  const char *line = line_of(text, "stop-waited");
  assert_non_null(line);
  assert_true(value_of(line, "took") > 5);
  assert_true(value_of(line, "of") == 1);
}

/* In a child. */
static void have_a_bad_name(void *data) {
  tarn_world *world;
  (void)data;
  tarn_thread *self = support_child_begin(PLAIN ",log=thread", &world);
  CHILD_CHECK(tarn_thread_set_name(self, "a\ntarn: gc \033[31mb") == TARN_OK);
  support_child_end(world, self);
}

static void names_do_not_break_lines(void **state) {
  char text[4096];
  (void)state;
  assert_int_equal(support_child(have_a_bad_name, NULL, text, sizeof text), 0);
  assert_non_null(strstr(text, " thread=a?tarn: gc ?[31mb\n"));
}

static void nothing_is_written_unless_it_was_asked_for(void **state) {
  char text[4096];
  (void)state;
  lines_of(PLAIN, 0, text, sizeof text);
  assert_string_equal(text, "");
  lines_of(PLAIN, TARN_OPTIONS_COUNTING, text, sizeof text);
  assert_string_equal(text, "");
}

/* --- the file -------------------------------------------------------------------------------- */

/* "" if there is none. */
static const char *contents(const char *name) {
  static char text[16384];
  char path[sizeof place + 64];
  snprintf(path, sizeof path, "%s/%s", place, name);
  int file = open(path, O_RDONLY);
  ssize_t got = file < 0 ? 0 : read(file, text, sizeof text - 1);
  text[got > 0 ? got : 0] = '\0';
  if (file >= 0)
    (void)close(file);
  return text;
}

static unsigned open_files(void) {
  unsigned count = 0;
  for (int file = 0; file < 256; file++)
    count += fcntl(file, F_GETFD) >= 0;
  return count;
}

static void lines_go_to_the_file_and_are_appended(void **state) {
  char text[4096];
  (void)state;
  for (unsigned i = 1; i <= 2; i++) {
    lines_of(in_place(PLAIN ",log=gc+safepoint:file=%s/lines"), 0, text, sizeof text);
    assert_string_equal(text, "");
    assert_int_equal(count(contents("lines"), "tarn: gc "), 2 * i);
    assert_int_equal(count(contents("lines"), "tarn: stop "), 2 * i);
    assert_int_equal(count(contents("lines"), "\n"), 4 * i);
  }
}

static void each_world_has_a_file_of_its_own_if_its_number_is_in_the_name(void **state) {
  char name[64];
  (void)state;
  unsigned before = open_files();
  for (unsigned i = 0; i < 2; i++) {
    tarn_world *world = support_world(in_place(PLAIN ",log=gc:file=%s/%%p-%%w"));
    tarn_thread *self = support_attach(world);
    assert_int_equal(tarn_collect(self, 2), TARN_OK);
    assert_int_equal(open_files(), before + 1);
    assert_int_equal(tarn_thread_detach(self), TARN_OK);
    support_end(world);
    assert_int_equal(open_files(), before);
  }
  unsigned found = 0;
  for (unsigned world = 1; world < 20; world++) {
    snprintf(name, sizeof name, "%d-%u", (int)getpid(), world);
    found += count(contents(name), "tarn: gc ") == 1;
  }
  assert_int_equal(found, 2);
}

static void no_file_is_made_without_a_subject(void **state) {
  (void)state;
  support_end(support_world(in_place(PLAIN ",log-file=%s/none")));
  assert_int_equal(rmdir(place), 0); /* it is empty */
  assert_int_equal(mkdir(place, 0700), 0);
}

/* In a child whose standard files are closed, but for that of errors. */
static void run_without_files(void *data) {
  struct scene scene = {data, 0};
  (void)close(0);
  (void)close(1);
  run(&scene);
  CHILD_CHECK(fcntl(0, F_GETFD) < 0 && fcntl(1, F_GETFD) < 0);
}

static void the_file_is_never_a_standard_one(void **state) {
  (void)state;
  support_good_child(run_without_files, (void *)in_place(PLAIN ",log=gc:file=%s/lines"));
  assert_int_equal(count(contents("lines"), "tarn: gc "), 2);
}

static void a_file_that_cannot_be_opened_is_told_of_once(void **state) {
  char text[4096];
  (void)state;
  lines_of(in_place(PLAIN ",log=gc:file=%s/not/there"), 0, text, sizeof text);
  assert_int_equal(count(text, "tarn: log file "), 1);
  assert_non_null(strstr(text, "not/there: cannot be opened: No such file or directory"));
  assert_int_equal(count(text, "tarn: gc "), 2);
  assert_int_equal(count(text, "\n"), 3);
}

static void what_a_full_disk_does_not_take_goes_to_standard_error(void **state) {
  char text[4096];
  (void)state;
  if (access("/dev/full", W_OK) != 0)
    support_skip("no /dev/full");
  lines_of(PLAIN ",log=gc:file=/dev/full", 0, text, sizeof text);
  assert_int_equal(count(text, "/dev/full: cannot be written: No space left on device"), 1);
  assert_int_equal(count(text, "tarn: gc "), 2);
  assert_int_equal(count(text, "\n"), 3);
}

static void collect_in_both(void *data) {
  const struct scene *scene = data;
  tarn_world *world;
  int status;
  tarn_thread *self = support_child_begin(scene->set, &world);
  CHILD_CHECK(tarn_collect(self, 2) == TARN_OK);
  unsigned before = open_files();
  pid_t child = fork();
  CHILD_CHECK(child >= 0);
  CHILD_CHECK(tarn_collect(self, 2) == TARN_OK);
  CHILD_CHECK(open_files() == before);
  support_child_end(world, self);
  CHILD_CHECK(open_files() == before - 1);
  if (child == 0)
    _exit(0);
  CHILD_CHECK(waitpid(child, &status, 0) == child && status == 0);
  dprintf(2, "%d %d", (int)getpid(), (int)child);
}

static void the_child_of_a_fork_has_a_file_of_its_own_if_its_number_is_in_the_name(void **state) {
  char text[256], name[64];
  int parent, child;
  struct scene scene = {in_place(PLAIN ",log=gc:file=%s/%%p"), 0};
  (void)state;
  assert_int_equal(support_child(collect_in_both, &scene, text, sizeof text), 0);
  assert_int_equal(sscanf(text, "%d %d", &parent, &child), 2);
  snprintf(name, sizeof name, "%d", parent);
  assert_int_equal(count(contents(name), "tarn: gc "), 2);
  snprintf(name, sizeof name, "%d", child);
  assert_int_equal(count(contents(name), "tarn: gc number=2 "), 1);
  assert_int_equal(count(contents(name), "\n"), 1);
  scene.set = in_place(PLAIN ",log=gc:file=%s/both");
  assert_int_equal(support_child(collect_in_both, &scene, text, sizeof text), 0);
  assert_int_equal(count(contents("both"), "tarn: gc "), 3);
}

#if TARN_FAULTS
static void fail_open(void *data) {
  tarn_os_fault_kinds(TARN_FAULT_OPEN);
  run(data);
}
static void fail_write(void *data) {
  const struct scene *scene = data;
  tarn_world *world;
  tarn_thread *self = support_child_begin(scene->set, &world);
  tarn_os_fault_nth(scene->flags, 1);
  for (int i = 0; i < 2; i++)
    CHILD_CHECK(tarn_collect(self, 2) == TARN_OK);
  support_child_end(world, self);
}
#endif

static void failing_calls_lose_no_line(void **state) {
  (void)state;
#if TARN_FAULTS
  char text[4096];
  struct scene scene = {in_place(PLAIN ",log=gc:file=%s/lines"), 0};
  assert_int_equal(support_child(fail_open, &scene, text, sizeof text), 0);
  assert_int_equal(count(text, "cannot be opened: Too many open files"), 1);
  assert_int_equal(count(text, "tarn: gc "), 2);
  scene.flags = TARN_FAULT_WRITE;
  assert_int_equal(support_child(fail_write, &scene, text, sizeof text), 0);
  assert_int_equal(count(text, "cannot be written: No space left on device"), 1);
  assert_int_equal(count(text, "tarn: gc "), 2);
  assert_string_equal(contents("lines"), "");
  const unsigned harmless[] = {TARN_FAULT_WRITE_SHORT, TARN_FAULT_WRITE_AGAIN};
  for (unsigned i = 0; i < 2; i++) {
    scene.flags = harmless[i];
    assert_int_equal(support_child(fail_write, &scene, text, sizeof text), 0);
    assert_string_equal(text, "");
    assert_int_equal(count(contents("lines"), "tarn: gc "), 2 * (i + 1));
  }
#else
  support_skip("this build has no faults");
#endif
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_collection_has_a_line_of_its_own_kind),
      cmocka_unit_test(each_stop_has_a_line),
      cmocka_unit_test(numbers_have_a_point_whatever_the_locale),
      cmocka_unit_test(amounts_are_rounded_to_the_nearest),
      cmocka_unit_test(nothing_is_written_unless_it_was_asked_for),
      cmocka_unit_test(each_documented_field_is_in_its_line_and_no_other),
      cmocka_unit_test(so_it_is_with_the_lines_about_limits),
      cmocka_unit_test(the_phases_of_a_pause_add_up),
      cmocka_unit_test(who_was_waited_for_is_told),
      cmocka_unit_test(names_do_not_break_lines),
      IN_PLACE(lines_go_to_the_file_and_are_appended),
      IN_PLACE(each_world_has_a_file_of_its_own_if_its_number_is_in_the_name),
      IN_PLACE(no_file_is_made_without_a_subject),
      IN_PLACE(the_file_is_never_a_standard_one),
      IN_PLACE(a_file_that_cannot_be_opened_is_told_of_once),
      IN_PLACE(what_a_full_disk_does_not_take_goes_to_standard_error),
      IN_PLACE(the_child_of_a_fork_has_a_file_of_its_own_if_its_number_is_in_the_name),
      IN_PLACE(failing_calls_lose_no_line),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
