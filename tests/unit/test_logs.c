/* SPDX-License-Identifier: MIT */
/*
 * The lines of the option `log`: one for each collection and one for each stop, and none unless it
 * was asked for.
 */
#include "support.h"

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
  assert_non_null(strstr(text, "tarn: gc 1 generation 2 asked: pause "));
  assert_non_null(strstr(text, "tarn: gc 2 generation 2 asked: pause "));
  lines_of(PLAIN ",log=gc", TARN_OPTIONS_COUNTING, text, sizeof text);
  assert_int_equal(count(text, "\n"), 2);
  assert_non_null(strstr(text, "tarn: cycles 1 generation 2 asked: pause "));
  assert_non_null(strstr(text, "tarn: cycles 2 generation 2 asked: pause "));
  assert_int_equal(count(text, " found 0 resurrected 0 freed in "), 2);
}

static void each_stop_has_a_line(void **state) {
  char text[4096];
  unsigned long long whole, part;
  (void)state;
  lines_of(PLAIN ",log=safepoint", 0, text, sizeof text);
  assert_int_equal(count(text, "\n"), 2);
  assert_int_equal(count(text, " us to safepoint"), 2);
  assert_int_equal(sscanf(text, "tarn: stop 1: %llu.%3llu us to", &whole, &part), 2);
  assert_non_null(strstr(text, "tarn: stop 2: "));
  lines_of(PLAIN ",log=gc+safepoint", 0, text, sizeof text);
  assert_int_equal(count(text, "tarn: stop "), 2);
  assert_int_equal(count(text, "tarn: gc "), 2);
}

static void nothing_is_written_unless_it_was_asked_for(void **state) {
  char text[4096];
  (void)state;
  lines_of(PLAIN, 0, text, sizeof text);
  assert_string_equal(text, "");
  lines_of(PLAIN, TARN_OPTIONS_COUNTING, text, sizeof text);
  assert_string_equal(text, "");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_collection_has_a_line_of_its_own_kind),
      cmocka_unit_test(each_stop_has_a_line),
      cmocka_unit_test(nothing_is_written_unless_it_was_asked_for),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
