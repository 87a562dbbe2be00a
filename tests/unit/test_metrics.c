/* SPDX-License-Identifier: MIT */
/*
 * Metrics: every field of tarn_stats is told, exactly and in the right unit; files are whole or as
 * they were; the options write when they should.
 */
#include "support.h"

#include "inspect/metrics.h"
#include <dirent.h>
#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <sys/stat.h>

#define WORDS (sizeof(tarn_stats) / sizeof(uint64_t))

static char text[64 * 1024];
static size_t length;

static bool take(void *data, const char *bytes, size_t size) {
  (void)data;
  assert_true(length + size < sizeof text);
  memcpy(text + length, bytes, size);
  length += size;
  text[length] = '\0';
  return true;
}

static bool refuse(void *data, const char *bytes, size_t size) {
  (void)data, (void)bytes, (void)size;
  return false;
}

static void put(tarn_metrics_format format, const struct tarn_figures *figures) {
  struct tarn_out out;
  length = 0;
  tarn_out_begin_fn(&out, take, NULL);
  tarn_metrics_put(&out, format, figures);
  assert_int_equal(tarn_out_end(&out), TARN_OK);
}

static unsigned times_found(const char *what) {
  unsigned found = 0;
  for (const char *at = text; (at = strstr(at, what)); at += strlen(what))
    found++;
  return found;
}

/* --- every field ----------------------------------------------------------------------------- */

static bool is_name(size_t offset) {
  return (offset >= offsetof(tarn_stats, stop_last_thread) &&
          offset < offsetof(tarn_stats, stop_last_thread) + 32) ||
         (offset >= offsetof(tarn_stats, stop_max_thread) &&
          offset < offsetof(tarn_stats, stop_max_thread) + 32);
}

/* Each word of the statistics has another value, beyond what a double holds. */
static uint64_t word(size_t index) { return UINT64_C(9007199254740993) * 7 + index * 1001; }

static struct tarn_figures all_different(void) {
  struct tarn_figures figures = {.world = 3};
  for (size_t i = 0; i < WORDS; i++) {
    uint64_t value = word(i);
    memcpy((char *)&figures.stats + i * sizeof value, &value, sizeof value);
  }
  figures.stats.struct_size = sizeof figures.stats;
  (void)strcpy(figures.stats.stop_last_thread, "last\"\\\n\xff");
  (void)strcpy(figures.stats.stop_max_thread, "longest");
  figures.times[TARN_TIMES_PAUSES].sum = figures.stats.pause_total_ns;
  figures.times[TARN_TIMES_CYCLES].sum = figures.stats.cycle_pause_total_ns;
  return figures;
}

static void json_has_each_field(void **state) {
  struct tarn_figures figures = all_different();
  char wanted[64];
  (void)state;
  put(TARN_METRICS_JSON, &figures);
  /* Whoever adds a field to tarn_stats adds a metric. */
  for (size_t i = 1; i < WORDS; i++) {
    if (is_name(i * sizeof(uint64_t)))
      continue;
    snprintf(wanted, sizeof wanted, "%llu", (unsigned long long)word(i));
    if (times_found(wanted) == 0)
      print_error("the field at offset %zu of tarn_stats is missing\n", i * sizeof(uint64_t));
    assert_true(times_found(wanted) != 0);
  }
  assert_int_equal(times_found("\"stop_max_thread\": \"longest\""), 1);
  assert_int_equal(times_found("\"stop_last_thread\": \"last\\\"\\\\\\u000a\xef\xbf\xbd\""), 1);
  assert_int_equal(times_found("\"world\": 3"), 1);
}

static void openmetrics_has_each_field(void **state) {
  struct tarn_figures figures = all_different();
  char whole[64], time[64];
  (void)state;
  (void)setlocale(LC_ALL, "de_DE.UTF-8"); /* where there is one, 1.5 is 1,5 */
  put(TARN_METRICS_OPENMETRICS, &figures);
  (void)setlocale(LC_ALL, "C");
  for (size_t i = 1; i < WORDS; i++) {
    if (is_name(i * sizeof(uint64_t)))
      continue;
    uint64_t value = word(i);
    snprintf(whole, sizeof whole, "} %llu\n", (unsigned long long)value);
    snprintf(time, sizeof time, "} %llu.%09llu\n", (unsigned long long)(value / 1000000000),
             (unsigned long long)(value % 1000000000));
    if (times_found(whole) + times_found(time) != 1)
      print_error("the field at offset %zu of tarn_stats: %u times\n", i * sizeof(uint64_t),
                  times_found(whole) + times_found(time));
    assert_int_equal(times_found(whole) + times_found(time), 1);
  }
  assert_int_equal(times_found("{world=\"3\",thread=\"last\\\"\\\\?\xef\xbf\xbd\"} 1\n"), 1);
  assert_int_equal(times_found("{world=\"3\",thread=\"longest\"} 1\n"), 1);
  assert_string_equal(text + length - 6, "# EOF\n");
}

/* A family's samples have its unit in their name, and its type says which form they have. */
static void names_say_unit_and_type(void **state) {
  struct tarn_figures figures = all_different();
  char family[64] = "", type[16] = "", unit[16] = "", *rest = NULL;
  unsigned samples = 0;
  (void)state;
  put(TARN_METRICS_OPENMETRICS, &figures);
  for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
    if (sscanf(line, "# TYPE %63s %15s", family, type) == 2) {
      unit[0] = '\0';
    } else if (sscanf(line, "# UNIT %*s %15s", unit) == 1) {
      const char *end = strrchr(family, '_');
      assert_non_null(end);
      assert_string_equal(end + 1, unit);
    } else if (line[0] != '#') {
      const char *name_end = strchr(line, '{');
      assert_non_null(name_end);
      assert_int_equal(strncmp(line, family, strlen(family)), 0);
      const char *suffix = line + strlen(family);
      if (strcmp(type, "counter") == 0)
        assert_int_equal(strncmp(suffix, "_total{", 7), 0);
      else if (strcmp(type, "gauge") == 0)
        assert_ptr_equal(suffix, name_end);
      else
        assert_string_equal(type, "histogram");
      /* Times have nine places, and nothing else has a point. */
      bool time =
          strcmp(unit, "seconds") == 0 && !strstr(suffix, "_bucket{") && !strstr(suffix, "_count{");
      const char *value = strrchr(line, ' '), *point = strchr(value, '.');
      assert_int_equal(point != NULL, time);
      samples++;
    }
  }
  assert_true(samples > 90);
}

/* Is it in the manual, as code? */
static bool is_documented(const char *manual, const char *name) {
  for (const char *at = manual; (at = strstr(at, name)); at++)
    if (at > manual && at[-1] == '`' && strchr("`{", at[strlen(name)]))
      return true;
  return false;
}

static void the_manual_has_each_metric(void **state) {
  static char manual[64 * 1024];
  struct tarn_figures figures = all_different();
  char family[64], type[16], name[96], *rest = NULL;
  unsigned found = 0;
  (void)state;
  FILE *file = fopen(TARN_SOURCE_DIR "/doc/metrics.md", "r");
  assert_non_null(file);
  manual[fread(manual, 1, sizeof manual - 1, file)] = '\0';
  (void)fclose(file);
  put(TARN_METRICS_OPENMETRICS, &figures);
  for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
    if (sscanf(line, "# TYPE %63s %15s", family, type) != 2)
      continue;
    snprintf(name, sizeof name, "%s%s", family, strcmp(type, "counter") == 0 ? "_total" : "");
    if (!is_documented(manual, name))
      print_error("%s is not in doc/metrics.md\n", name);
    assert_true(is_documented(manual, name));
    found++;
  }
  assert_true(found > 45);
}

/* A world without a collector tells what it has, and the manual says which of all that is. */
static void a_malloc_tells_what_it_has(void **state) {
  static const char *const there[] = {"threads",        "pools",          "large_objects",
                                      "heap_bytes",     "heap_max_bytes", "metadata_bytes",
                                      "returned_bytes", "dirty_bytes",    "used_bytes"};
  struct tarn_figures figures = all_different();
  char wanted[128];
  (void)state;
  figures.uncollected = true;
  figures.used_bytes = 12345;
  put(TARN_METRICS_OPENMETRICS, &figures);
  assert_int_equal(times_found("# TYPE "), sizeof there / sizeof there[0]);
  assert_int_equal(times_found("{world=\"3\"} "), sizeof there / sizeof there[0]);
  for (size_t i = 0; i < sizeof there / sizeof there[0]; i++) {
    snprintf(wanted, sizeof wanted, "# TYPE tarn_%s ", there[i]);
    assert_int_equal(times_found(wanted), 1);
  }
  assert_int_equal(times_found("\ntarn_used_bytes{world=\"3\"} 12345\n"), 1);
  snprintf(wanted, sizeof wanted, "\ntarn_heap_bytes{world=\"3\"} %llu\n",
           (unsigned long long)figures.stats.heap_bytes);
  assert_int_equal(times_found(wanted), 1);
  assert_string_equal(text + length - 6, "# EOF\n");
  put(TARN_METRICS_JSON, &figures);
  assert_int_equal(times_found("\"malloc\": {\"used_bytes\": 12345}\n}\n"), 1);
  snprintf(wanted, sizeof wanted, "\"dirty_bytes\": %llu\n  },\n",
           (unsigned long long)figures.stats.dirty_bytes);
  assert_int_equal(times_found(wanted), 1);
  assert_int_equal(times_found("pause"), 0);
  assert_int_equal(times_found("histograms"), 0);
}

/* --- histograms ------------------------------------------------------------------------------ */

static void times_lie_in_their_buckets(void **state) {
  struct tarn_histogram histogram = {0};
  (void)state;
  for (unsigned i = 0; i < TARN_BOUNDS; i++) {
    tarn_histogram_add(&histogram, tarn_histogram_bound(i));
    tarn_histogram_add(&histogram, tarn_histogram_bound(i) + 1);
  }
  tarn_histogram_add(&histogram, 0);
  tarn_histogram_add(&histogram, UINT64_MAX);
  for (unsigned i = 0; i <= TARN_BOUNDS; i++)
    assert_int_equal(atomic_load(&histogram.buckets[i]), 2);
}

static void bounds_are_the_same_in_both_formats(void **state) {
  struct tarn_figures figures = {.world = 1};
  const char *at = text;
  (void)state;
  for (unsigned i = 0; i <= TARN_BOUNDS; i++)
    figures.times[TARN_TIMES_STOPS].buckets[i] = i + 1;
  put(TARN_METRICS_OPENMETRICS, &figures);
  unsigned sum = 0;
  for (unsigned i = 0; i <= TARN_BOUNDS; i++) {
    double bound;
    unsigned count;
    sum += i + 1;
    at = strstr(at, "tarn_stop_seconds_bucket{world=\"1\",le=\"");
    assert_non_null(at);
    at += strlen("tarn_stop_seconds_bucket{world=\"1\",le=\"");
    assert_int_equal(sscanf(at, "%lf\"} %u", &bound, &count), 2);
    assert_int_equal(count, sum);
    if (i < TARN_BOUNDS)
      assert_int_equal((uint64_t)(bound * 1e9 + 0.5), tarn_histogram_bound(i));
    else
      assert_true(bound > 1e300);
  }
  char wanted[64];
  snprintf(wanted, sizeof wanted, "tarn_stop_seconds_count{world=\"1\"} %u\n", sum);
  assert_int_equal(times_found(wanted), 1);
}

static void pauses_are_counted(void **state) {
  tarn_world *world = support_world("collect=0");
  tarn_thread *self = support_attach(world);
  struct tarn_figures figures;
  uint64_t counts[TARN_TIMES] = {0};
  (void)state;
  for (unsigned i = 0; i < 7; i++)
    assert_int_equal(tarn_collect(self, TARN_GENERATION_FULL), TARN_OK);
  support_verify(self); /* a stop that is no collection */
  tarn_metrics_gather(world, &figures);
  for (unsigned which = 0; which < TARN_TIMES; which++)
    for (unsigned i = 0; i <= TARN_BOUNDS; i++)
      counts[which] += figures.times[which].buckets[i];
  assert_int_equal(counts[TARN_TIMES_PAUSES], figures.stats.collections);
  assert_int_equal(counts[TARN_TIMES_PAUSES], 7);
  assert_int_equal(counts[TARN_TIMES_STOPS], figures.stats.stops);
  assert_true(counts[TARN_TIMES_STOPS] >= 8);
  assert_int_equal(counts[TARN_TIMES_CYCLES], 0);
  assert_true(figures.times[TARN_TIMES_PAUSES].sum >= 7);
  assert_true(figures.times[TARN_TIMES_STOPS].sum >= figures.stats.stop_max_ns);
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  support_end(world);
}

/* --- calls and files ------------------------------------------------------------------------- */

static char directory[256];

static int make_directory(void **state) {
  const char *where = getenv("TMPDIR");
  (void)state;
  snprintf(directory, sizeof directory, "%s/tarn-metrics-XXXXXX", where ? where : P_tmpdir);
  return mkdtemp(directory) ? 0 : 1;
}

static const char *path_of(const char *name) {
  static char path[512];
  snprintf(path, sizeof path, "%s/%s", directory, name);
  return path;
}

/* Names in the directory; each is removed if `clear`. */
static unsigned entries(bool clear) {
  unsigned count = 0;
  DIR *all = opendir(directory);
  assert_non_null(all);
  for (struct dirent *entry; (entry = readdir(all));)
    if (entry->d_name[0] != '.') {
      count++;
      if (clear)
        assert_int_equal(remove(path_of(entry->d_name)), 0);
    }
  (void)closedir(all);
  return count;
}

static int remove_directory(void **state) {
  (void)state;
  (void)entries(true);
  return rmdir(directory);
}

static bool read_file(const char *name) {
  FILE *file = fopen(path_of(name), "r");
  length = file ? fread(text, 1, sizeof text - 1, file) : 0;
  text[length] = '\0';
  if (file)
    (void)fclose(file);
  return file != NULL;
}

static bool is_whole(void) { return length > 6 && strcmp(text + length - 6, "# EOF\n") == 0; }

static void calls_check_their_arguments(void **state) {
  tarn_world *world = support_world("");
  (void)state;
  assert_int_equal(tarn_metrics_write(NULL, TARN_METRICS_JSON, take, NULL), TARN_EINVAL);
  assert_int_equal(tarn_metrics_write(world, TARN_METRICS_JSON, NULL, NULL), TARN_EINVAL);
  assert_int_equal(tarn_metrics_write(world, (tarn_metrics_format)2, take, NULL), TARN_EINVAL);
  assert_int_equal(tarn_metrics_write_file(world, TARN_METRICS_JSON, NULL), TARN_EINVAL);
  assert_int_equal(tarn_metrics_write_file(NULL, TARN_METRICS_JSON, "x"), TARN_EINVAL);
  assert_int_equal(tarn_metrics_write_file(world, (tarn_metrics_format)-1, "x"), TARN_EINVAL);
  errno = 0;
  assert_int_equal(tarn_metrics_write(world, TARN_METRICS_JSON, refuse, NULL), TARN_ESYSTEM);
  assert_int_equal(errno, ECANCELED);
  length = 0;
  assert_int_equal(tarn_metrics_write(world, TARN_METRICS_OPENMETRICS, take, NULL), TARN_OK);
  assert_true(is_whole());
  support_end(world);
}

static void a_file_is_replaced_whole(void **state) {
  tarn_world *world = support_world("");
  const char *path = path_of("m.prom");
  struct stat found;
  (void)state;
  mode_t before = umask(022);
  assert_int_equal(tarn_metrics_write_file(world, TARN_METRICS_OPENMETRICS, path), TARN_OK);
  (void)umask(before);
  assert_true(read_file("m.prom") && is_whole());
  assert_int_equal(stat(path_of("m.prom"), &found), 0);
  assert_int_equal(found.st_mode & 0777, 0644); /* another user's collector reads it */
  assert_int_equal(tarn_metrics_write_file(world, TARN_METRICS_JSON, path_of("m.prom")), TARN_OK);
  assert_true(read_file("m.prom") && text[0] == '{');
  assert_int_equal(entries(true), 1); /* nothing else stays */
  support_end(world);
}

/* Somebody else's links, in a directory that is shared; or files that a killed process left. */
static void what_has_the_name_beside_the_file_is_not_written_to(void **state) {
  tarn_world *world = support_world("");
  char victim[512], name[64];
  struct stat found;
  (void)state;
  assert_int_equal(tarn_metrics_write_file(world, TARN_METRICS_JSON, path_of("victim")), TARN_OK);
  snprintf(victim, sizeof victim, "%s", path_of("victim"));
  for (unsigned i = 0; i < 64; i++) {
    snprintf(name, sizeof name, "m.prom.%u-%u.tmp", (unsigned)getpid(), i);
    assert_int_equal(i % 2 ? link(victim, path_of(name)) : symlink(victim, path_of(name)), 0);
  }
  mode_t before = umask(022);
  for (unsigned i = 0; i < 2; i++) /* one of each sort */
    assert_int_equal(tarn_metrics_write_file(world, TARN_METRICS_OPENMETRICS, path_of("m.prom")),
                     TARN_OK);
  (void)umask(before);
  assert_true(read_file("victim") && text[0] == '{');
  assert_true(read_file("m.prom") && is_whole());
  assert_int_equal(lstat(path_of("m.prom"), &found), 0);
  assert_true(S_ISREG(found.st_mode) && (found.st_mode & 0777) == 0644);
  assert_int_equal(entries(true), 64); /* two links less, two files */
  support_end(world);
}

static void what_cannot_be_written_leaves_what_was_there(void **state) {
  tarn_world *world = support_world("");
  struct rlimit before, small = {0};
  (void)state;
  assert_int_equal(tarn_metrics_write_file(world, TARN_METRICS_JSON, path_of("kept")), TARN_OK);
  /* A file system that is full, as far as this process can tell. */
  (void)signal(SIGXFSZ, SIG_IGN);
  assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
  small = (struct rlimit){100, before.rlim_max};
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
  errno = 0;
  tarn_status status = tarn_metrics_write_file(world, TARN_METRICS_JSON, path_of("kept"));
  int error = errno;
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
  assert_int_equal(status, TARN_ESYSTEM);
  assert_int_equal(error, EFBIG);
  assert_true(read_file("kept") && length > 1000 && text[length - 2] == '}');
  assert_int_equal(entries(true), 1);
  status = tarn_metrics_write_file(world, TARN_METRICS_JSON, path_of("none/such"));
  assert_int_equal(status, TARN_ESYSTEM);
  assert_int_equal(errno, ENOENT);
  support_end(world);
}

static void a_device_is_not_replaced(void **state) {
  tarn_world *world = support_world("");
  struct stat found;
  (void)state;
  assert_int_equal(symlink("/dev/null", path_of("device")), 0);
  assert_int_equal(tarn_metrics_write_file(world, TARN_METRICS_JSON, path_of("device")), TARN_OK);
  assert_int_equal(lstat(path_of("device"), &found), 0);
  assert_true(S_ISLNK(found.st_mode));
  assert_int_equal(entries(true), 1);
  support_end(world);
}

/* --- by options ------------------------------------------------------------------------------ */

static void the_end_of_a_world_writes(void **state) {
  char set[512];
  (void)state;
  snprintf(set, sizeof set, "metrics=%s/w.json", directory);
  tarn_world *world = support_world(set);
  assert_int_equal(entries(false), 0);
  support_end(world);
  assert_true(read_file("w.json") && text[0] == '{');
  assert_int_equal(entries(true), 1);
}

static void exits(void *data) {
  (void)data;
  tarn_world *world = NULL;
  char set[512];
  snprintf(set, sizeof set, "metrics=%s/e-%%p.prom,metrics-every=1h", directory);
  CHILD_CHECK(support_try_world(set, &world) == TARN_OK);
  exit(0);
}

static void the_exit_of_a_process_writes(void **state) {
  (void)state;
  support_good_child(exits, NULL);
  assert_int_equal(entries(true), 1);
}

static void again_and_again(void **state) {
  char set[512];
  struct stat found, other;
  unsigned changes = 0;
  (void)state;
  snprintf(set, sizeof set, "metrics=%s/again.prom,metrics-every=10ms", directory);
  tarn_world *world = support_world(set);
  memset(&found, 0, sizeof found);
  for (unsigned i = 0; i < 20000 && changes < 4; i++) {
    (void)usleep(1000);
    if (stat(path_of("again.prom"), &other) != 0)
      continue;
    changes += other.st_ino != found.st_ino || other.st_mtim.tv_nsec != found.st_mtim.tv_nsec;
    found = other;
    assert_true(read_file("again.prom") && is_whole()); /* never half of one */
  }
  assert_int_equal(changes, 4);
  support_end(world);
  assert_int_equal(entries(true), 1);
}

static void forks(void *data) {
  tarn_world *world = data;
  support_end(world); /* waits for no thread that is not there */
}

static void a_child_of_a_fork_ends_its_world(void **state) {
  char set[512];
  (void)state;
  snprintf(set, sizeof set, "metrics=%s/f-%%p.prom,metrics-every=10ms", directory);
  tarn_world *world = support_world(set);
  support_good_child(forks, world);
  support_end(world);
  assert_int_equal(entries(true), 2);
}

static void fails_to_write(void *data) {
  (void)data;
  tarn_world *world = NULL;
  CHILD_CHECK(support_try_world("metrics=/nowhere/at/all,metrics-every=10ms", &world) == TARN_OK);
  (void)usleep(200000);
  CHILD_CHECK(tarn_world_destroy(world) == TARN_OK);
}

static void a_failure_is_said_once(void **state) {
  (void)state;
  int status = support_child(fails_to_write, NULL, text, sizeof text);
  assert_int_equal(status, 0);
  assert_string_equal(text, "tarn: metrics: /nowhere/at/all: No such file or directory\n");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(json_has_each_field),
      cmocka_unit_test(openmetrics_has_each_field),
      cmocka_unit_test(names_say_unit_and_type),
      cmocka_unit_test(the_manual_has_each_metric),
      cmocka_unit_test(a_malloc_tells_what_it_has),
      cmocka_unit_test(times_lie_in_their_buckets),
      cmocka_unit_test(bounds_are_the_same_in_both_formats),
      cmocka_unit_test(pauses_are_counted),
      cmocka_unit_test(calls_check_their_arguments),
      cmocka_unit_test(a_file_is_replaced_whole),
      cmocka_unit_test(what_has_the_name_beside_the_file_is_not_written_to),
      cmocka_unit_test(what_cannot_be_written_leaves_what_was_there),
      cmocka_unit_test(a_device_is_not_replaced),
      cmocka_unit_test(the_end_of_a_world_writes),
      cmocka_unit_test(the_exit_of_a_process_writes),
      cmocka_unit_test(again_and_again),
      cmocka_unit_test(a_child_of_a_fork_ends_its_world),
      cmocka_unit_test(a_failure_is_said_once),
  };
  return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
