/* SPDX-License-Identifier: MIT */
/*
 * Options: the table, the parser, the sources and their precedence, and every complaint. Tests go
 * over the table where they can, so that a new option is tested from the day it is added.
 */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "inspect/options.h"

#define K ((uint64_t)1 << 10)
#define M ((uint64_t)1 << 20)
#define G ((uint64_t)1 << 30)
#define T ((uint64_t)1 << 40)
#define MS ((uint64_t)1000 * 1000)
#define SECOND (1000 * MS)

/* ---- A resolver whose messages are caught --------------------------------------------------- */

static const struct tarn_limits machine = {.physical = 8 * G,
                                           .cgroup = 4 * G,
                                           .memory = 4 * G,
                                           .address_space = TARN_NO_LIMIT,
                                           .cpu_affinity = 8,
                                           .cpu_quota = 3,
                                           .cpus = 3};

struct outcome {
  struct tarn_config config;
  struct tarn_config_report report;
  tarn_status status;
  size_t lines, length;
  char said[32768];
};

static struct outcome got; /* of the latest resolve() */

static void catch_line(void *context, const char *line, size_t length) {
  struct outcome *o = context;
  assert_true(length > 0 && line[length - 1] == '\n');
  assert_null(memchr(line, '\n', length - 1)); /* one line, one call */
  assert_true(o->length + length < sizeof o->said);
  memcpy(o->said + o->length, line, length);
  o->length += length;
  o->said[o->length] = '\0';
  o->lines++;
}

static void resolve_as(bool secure, const tarn_options *api, const char *const *environment) {
  memset(&got, 0, sizeof got);
  memset(&got.config, 0xa5, sizeof got.config);
  got.report.sink.write = catch_line;
  got.report.sink.context = &got;
  got.report.limits = &machine;
  got.report.secure = secure;
  got.status = tarn_config_resolve(api, environment, &got.config, &got.report);
}

static void resolve(const tarn_options *api, const char *const *environment) {
  resolve_as(false, api, environment);
}

static void resolve_variables(const char *a, const char *b, const char *c) {
  const char *environment[] = {"PATH=/bin", a, b, c, NULL};
  resolve(NULL, environment);
}

static void resolve_set(const char *set) {
  static const char *const nothing[] = {NULL};
  tarn_options api = TARN_OPTIONS_INIT;
  api.set = set;
  resolve(&api, nothing);
}

static const struct tarn_option *option(const char *name) {
  const struct tarn_option *found = tarn_option_find(name, strlen(name));
  assert_non_null(found);
  return found;
}

static uint64_t value_of(const char *name) { return tarn_option_get(option(name), &got.config); }

static unsigned source_of(const char *name) {
  return got.report.source[option(name) - tarn_option_table];
}

static void assert_said(const char *part) {
  if (!strstr(got.said, part))
    fail_msg("not said: %s\nbut: %s", part, got.said);
}

static void assert_silent(void) {
  assert_string_equal(got.said, "");
  assert_int_equal(got.report.errors, 0);
  assert_int_equal(got.report.warnings, 0);
  assert_int_equal(got.status, TARN_OK);
}

/* ---- The table ------------------------------------------------------------------------------ */

static void every_option_is_well_formed(void **state) {
  (void)state;
  for (size_t i = 0; i < tarn_option_count; i++) {
    const struct tarn_option *o = &tarn_option_table[i];
    assert_true(strlen(o->name) > 0 && strlen(o->name) < 32);
    for (const char *p = o->name; *p; p++)
      assert_true((*p >= 'a' && *p <= 'z') || *p == '-');
    assert_non_null(o->help);
    assert_true(o->help[strlen(o->help) - 1] == '.');
    assert_true(o->group < TARN_GROUP_COUNT);
    assert_true(o->offset < sizeof(struct tarn_config));
    assert_int_equal(o->kind == TARN_KIND_FLAGS || o->kind == TARN_KIND_LEVELS ||
                         o->kind == TARN_KIND_CHOICE,
                     o->flags != NULL);
    if (tarn_option_has_range(o)) {
      assert_true(o->minimum < o->maximum);
      if (!(o->zero && o->initial == 0))
        assert_in_range(o->initial, o->minimum, o->maximum);
    }
    for (size_t j = 0; j < i; j++)
      assert_true(o->offset != tarn_option_table[j].offset &&
                  strcmp(o->name, tarn_option_table[j].name) != 0);
  }
}

static void every_field_of_the_configuration_keeps_its_own_value(void **state) {
  struct tarn_config config;
  (void)state;
  memset(&config, 0, sizeof config);
  for (size_t i = 0; i < tarn_option_count; i++)
    tarn_option_put(&tarn_option_table[i], &config, i + 1);
  for (size_t i = 0; i < tarn_option_count; i++) {
    const struct tarn_option *o = &tarn_option_table[i];
    assert_int_equal(tarn_option_get(o, &config), o->kind == TARN_KIND_BOOL   ? 1
                                                  : o->kind == TARN_KIND_PATH ? 0
                                                                              : i + 1);
  }
}

static void without_any_source_all_values_are_the_defaults(void **state) {
  static const char *const nothing[] = {"HOME=/", "TARNISH=1", "XTARN_GROWTH=5", "TARN", NULL};
  (void)state;
  resolve(NULL, nothing);
  assert_silent();
  for (size_t i = 0; i < tarn_option_count; i++) {
    assert_int_equal(tarn_option_get(&tarn_option_table[i], &got.config),
                     tarn_option_table[i].initial);
    assert_int_equal(got.report.source[i], TARN_SOURCE_DEFAULT);
  }
  assert_int_equal(got.config.min_heap, 16 * M);
  assert_int_equal(got.config.growth, 100);
  assert_int_equal(got.config.near_limit, 90);
  assert_int_equal(got.config.retain, 25);
  assert_int_equal(got.config.max_threads, 4096);
  assert_int_equal(got.config.zeal, 1);
  assert_true(got.config.collect);
  assert_int_equal(got.config.detected_memory, 4 * G);
  assert_int_equal(got.config.detected_cpus, 3);
}

static void options_of_other_builds_are_unknown(void **state) {
  bool faults = false;
  (void)state;
  for (size_t i = 0; i < tarn_option_count; i++) {
    if (tarn_option_table[i].build == TARN_BUILD_FAULTS)
      faults = tarn_option_known(&tarn_option_table[i]);
  }
  resolve_variables("TARN_FAULT_MMAP=3", NULL, NULL);
  if (faults) {
    assert_silent();
    assert_int_equal(got.config.fault_mmap, 3);
  } else {
    assert_int_equal(got.report.errors, 1);
    assert_int_equal(got.config.fault_mmap, 0);
    assert_said("tarn: TARN_FAULT_MMAP=\"3\": no option has this name");
  }
  tarn_options_print_help(&got.report.sink);
  assert_int_equal(strstr(got.said, "(fault-mmap") != NULL, faults);
}

static void an_option_without_effect_in_this_build_is_said_but_no_error(void **state) {
  (void)state;
  resolve_variables("TARN_ZEAL=7", "TARN_STRICT=1", NULL);
  assert_int_equal(got.status, TARN_OK);
  assert_int_equal(got.config.zeal, 7);
  if (tarn_option_effective(option("zeal"))) {
    assert_silent();
  } else {
    assert_int_equal(got.report.warnings, 1);
    assert_said("tarn: TARN_ZEAL=\"7\": without effect in this build");
  }
}

/* ---- Values --------------------------------------------------------------------------------- */

#define OK TARN_PARSE_OK
#define BAD TARN_PARSE_MALFORMED
#define LOW TARN_PARSE_LOW
#define HIGH TARN_PARSE_HIGH
#define DIGITS TARN_PARSE_DIGITS
#define NO_UNIT TARN_PARSE_NO_UNIT

static const struct {
  const char *name, *text;
  enum tarn_parse result;
  uint64_t value;
} parse_cases[] = {
    /* size: min-heap, 64K..16T, 0 is too small */
    {"min-heap", "65536", OK, 64 * K},
    {"min-heap", "65536b", OK, 64 * K},
    {"min-heap", "64k", OK, 64 * K},
    {"min-heap", "64K", OK, 64 * K},
    {"min-heap", "64KB", OK, 64 * K},
    {"min-heap", "64KiB", OK, 64 * K},
    {"min-heap", "64kib", OK, 64 * K},
    {"min-heap", "1m", OK, M},
    {"min-heap", "1MB", OK, M},
    {"min-heap", "1MiB", OK, M},
    {"min-heap", "3G", OK, 3 * G},
    {"min-heap", "3GB", OK, 3 * G},
    {"min-heap", "3GiB", OK, 3 * G},
    {"min-heap", "2T", OK, 2 * T},
    {"min-heap", "2TB", OK, 2 * T},
    {"min-heap", "2TiB", OK, 2 * T},
    {"min-heap", "1.5G", OK, G + 512 * M},
    {"min-heap", "0.5m", OK, 512 * K},
    {"min-heap", "0000000000000000000000000001M", OK, M},
    {"min-heap", "1.000001M", OK, M + 1},
    {"min-heap", " 64K ", OK, 64 * K},
    {"min-heap", "\t64K\n", OK, 64 * K},
    {"min-heap", "16T", OK, 16 * T},
    {"min-heap", "16.000001T", HIGH, 0},
    {"min-heap", "65535", LOW, 0},
    {"min-heap", "0", LOW, 0},
    {"min-heap", "17T", HIGH, 0},
    {"min-heap", "18446744073709551615", HIGH, 0},
    {"min-heap", "18446744073709551616", HIGH, 0},
    {"min-heap", "18446744073709617152", HIGH, 0}, /* 2^64 + 64K */
    {"min-heap", "18014398509482048K", HIGH, 0},   /* (2^64 + 64K) / 1K */
    {"min-heap", "16777216.0625T", HIGH, 0},       /* 2^64 + 64G */
    {"min-heap", "99999999999999999999999999T", HIGH, 0},
    {"min-heap", "1.0000001G", DIGITS, 0},
    {"min-heap", "", BAD, 0},
    {"min-heap", "   ", BAD, 0},
    {"min-heap", "M", BAD, 0},
    {"min-heap", "-1", BAD, 0},
    {"min-heap", "+1M", BAD, 0},
    {"min-heap", "1 M", BAD, 0},
    {"min-heap", "1M M", BAD, 0},
    {"min-heap", "1MM", BAD, 0},
    {"min-heap", "1Mi", BAD, 0},
    {"min-heap", "1X", BAD, 0},
    {"min-heap", "1P", BAD, 0},
    {"min-heap", "0x10000", BAD, 0},
    {"min-heap", "1e9", BAD, 0},
    {"min-heap", ".5G", BAD, 0},
    {"min-heap", "5.G", BAD, 0},
    {"min-heap", "1.5.5G", BAD, 0},
    {"min-heap", "1,5G", BAD, 0},
    {"min-heap", "70000.5", BAD, 0},
    {"min-heap", "70000.5b", BAD, 0},
    {"min-heap", "50%", BAD, 0},
    {"min-heap", "inf", BAD, 0},
    {"min-heap", "nan", BAD, 0},
    /* size where 0 has a meaning */
    {"mark-stack", "0", OK, 0},
    {"mark-stack", "0K", OK, 0},
    {"mark-stack", "0.000001K", LOW, 0}, /* not "no limit" */
    {"mark-stack", "4095", LOW, 0},
    {"mark-stack", "4K", OK, 4 * K},
    {"mark-stack", "1T", OK, T},
    /* memory; 4 GiB are detected */
    {"hard-limit", "0", OK, 0},
    {"hard-limit", "1M", OK, M},
    {"hard-limit", "1048575", LOW, 0},
    {"hard-limit", "50%", OK, 2 * G},
    {"hard-limit", "100%", OK, 4 * G},
    {"hard-limit", "12.5%", OK, 512 * M},
    {"hard-limit", "33.333333%", OK, 1431655751},
    {"hard-limit", "100.000001%", HIGH, 0},
    {"hard-limit", "101%", HIGH, 0},
    {"hard-limit", "18446744073709551666%", HIGH, 0},
    {"hard-limit", "0%", LOW, 0}, /* not "none" */
    {"hard-limit", "0.000001%", LOW, 0},
    {"hard-limit", "50.1234567%", DIGITS, 0},
    {"hard-limit", "50 %", BAD, 0},
    {"hard-limit", "50%%", BAD, 0},
    {"hard-limit", "%", BAD, 0},
    {"hard-limit", "half", BAD, 0},
    /* percentage: growth, 10..1000 */
    {"growth", "10", OK, 10},
    {"growth", "10%", OK, 10},
    {"growth", "1000", OK, 1000},
    {"growth", "9", LOW, 0},
    {"growth", "0", LOW, 0},
    {"growth", "1001", HIGH, 0},
    {"growth", "4294967396", HIGH, 0}, /* 2^32 + 100 */
    {"growth", "18446744073709551716", HIGH, 0},
    {"growth", "12.5", BAD, 0},
    {"growth", "12.5%", BAD, 0},
    {"growth", "10K", BAD, 0},
    {"growth", "-50", BAD, 0},
    {"growth", "abc", BAD, 0},
    {"retain", "0", OK, 0},
    {"near-limit", "100", OK, 100},
    {"near-limit", "101", HIGH, 0},
    /* counts */
    {"max-threads", "1", OK, 1},
    {"max-threads", "65536", OK, 65536},
    {"max-threads", "65537", HIGH, 0},
    {"max-threads", "0", LOW, 0},
    {"max-threads", "4294967297", HIGH, 0}, /* 2^32 + 1 */
    {"max-threads", "10%", BAD, 0},
    {"max-threads", "1K", BAD, 0},
    {"max-threads", "1.0", BAD, 0},
    {"zeal", "1000000000", OK, 1000000000},
    {"zeal", "1000000001", HIGH, 0},
    {"zeal", "0", LOW, 0},
    /* switches */
    {"verify", "1", OK, 1},
    {"verify", "on", OK, 1},
    {"verify", "yes", OK, 1},
    {"verify", "true", OK, 1},
    {"verify", "TRUE", OK, 1},
    {"verify", " Yes ", OK, 1},
    {"verify", "0", OK, 0},
    {"verify", "off", OK, 0},
    {"verify", "no", OK, 0},
    {"verify", "false", OK, 0},
    {"verify", "2", BAD, 0},
    {"verify", "01", BAD, 0},
    {"verify", "y", BAD, 0},
    {"verify", "onn", BAD, 0},
    {"verify", "-1", BAD, 0},
    /* flags */
    {"log", "none", OK, 0},
    {"log", "gc", OK, TARN_LOG_GC},
    {"log", "safepoint", OK, TARN_LOG_SAFEPOINT},
    {"log", "gc,safepoint", OK, TARN_LOG_GC | TARN_LOG_SAFEPOINT},
    {"log", "gc+safepoint", OK, TARN_LOG_GC | TARN_LOG_SAFEPOINT},
    {"log", " GC , safepoint ,", OK, TARN_LOG_GC | TARN_LOG_SAFEPOINT},
    {"log", "gc,gc", OK, TARN_LOG_GC},
    {"log", "heap+thread", OK, TARN_LOG_HEAP | TARN_LOG_THREAD},
    {"trace-level", "debug", OK, TARN_TRACE_DEBUG},
    {"trace-level", "loud", BAD, 0},
    {"log", "none,gc", OK, TARN_LOG_GC},
    {"log", "gcc", BAD, 0},
    {"log", "gc,foo", BAD, 0},
    {"log", "gc safepoint", BAD, 0},
    {"log", ",", BAD, 0},
    {"log", "1", BAD, 0},
    /* durations: 1us..1h */
    {"stop-timeout", "0", OK, 0},
    {"stop-timeout", "0s", OK, 0},
    {"stop-timeout", "1000ns", OK, 1000},
    {"stop-timeout", "1us", OK, 1000},
    {"stop-timeout", "500ms", OK, 500 * MS},
    {"stop-timeout", "1.5s", OK, 1500 * MS},
    {"stop-timeout", "2S", OK, 2 * SECOND},
    {"stop-timeout", "1m", OK, 60 * SECOND},
    {"stop-timeout", "0.5h", OK, 1800 * SECOND},
    {"stop-timeout", "1h", OK, 3600 * SECOND},
    {"stop-timeout", "999ns", LOW, 0},
    {"stop-timeout", "0.0001us", LOW, 0}, /* not "off" */
    {"stop-timeout", "1.000001h", HIGH, 0},
    {"stop-timeout", "61m", HIGH, 0},
    {"stop-timeout", "5124096h", HIGH, 0}, /* above 2^64 ns */
    {"stop-timeout", "99999999999999999999s", HIGH, 0},
    {"stop-timeout", "1.0000000s", DIGITS, 0},
    {"stop-timeout", "5", NO_UNIT, 0},
    {"stop-timeout", "1.5", NO_UNIT, 0},
    {"stop-timeout", "5000.5ns", BAD, 0},
    {"stop-timeout", "5d", BAD, 0},
    {"stop-timeout", "1s 5ms", BAD, 0},
    {"stop-timeout", "ms", BAD, 0},
};

static void every_kind_accepts_and_refuses_what_it_should(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof parse_cases / sizeof parse_cases[0]; i++) {
    const char *text = parse_cases[i].text;
    uint64_t value = 4711;
    /* A copy of just these characters, so that a sanitizer sees a read beyond them. */
    size_t length = strlen(text);
    char *exact = malloc(length + 1);
    memcpy(exact, text, length);
    exact = realloc(exact, length ? length : 1);
    enum tarn_parse result =
        tarn_option_parse(option(parse_cases[i].name), exact, length, machine.memory, &value);
    free(exact);
    uint64_t expected = parse_cases[i].result == OK ? parse_cases[i].value : 4711;
    if (result != parse_cases[i].result || value != expected)
      fail_msg("%s=\"%s\": result %d value %llu", parse_cases[i].name, text, (int)result,
               (unsigned long long)value);
  }
}

static void limits_of_every_range_are_accepted_and_what_is_beyond_is_not(void **state) {
  (void)state;
  for (size_t i = 0; i < tarn_option_count; i++) {
    const struct tarn_option *o = &tarn_option_table[i];
    const char *unit = o->kind == TARN_KIND_DURATION ? "ns" : "";
    char text[64];
    uint64_t value;
    if (!tarn_option_has_range(o))
      continue;
    uint64_t numbers[] = {o->minimum, o->maximum, o->minimum - 1, o->maximum + 1};
    enum tarn_parse results[] = {OK, OK, LOW, HIGH};
    for (int j = 0; j < 4; j++) {
      if (j == 2 && (o->minimum == 0 || (o->minimum == 1 && o->zero)))
        continue;
      int n = snprintf(text, sizeof text, "%llu%s", (unsigned long long)numbers[j], unit);
      assert_int_equal(tarn_option_parse(o, text, (size_t)n, machine.memory, &value), results[j]);
      if (results[j] == OK)
        assert_int_equal(value, numbers[j]);
    }
  }
}

static uint64_t random_state;

static uint64_t random_next(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return random_state;
}

/* A value of flags, levels or a choice. */
static uint64_t random_words(const struct tarn_option *o) {
  size_t count = 0, one;
  uint64_t bits = 0;
  while (o->flags[count].name)
    count++;
  one = random_next() % count;
  for (size_t i = 0; i < count; i++) {
    if (o->kind == TARN_KIND_CHOICE ? i != one : random_next() & 1)
      continue;
    bits |= o->flags[i].bit;
    if (o->kind == TARN_KIND_LEVELS && (random_next() & 1))
      bits |= (uint64_t)o->flags[i].bit << 1;
  }
  return bits;
}

static uint64_t all_words(const struct tarn_option *o) {
  uint64_t bits = 0;
  for (const struct tarn_option_flag *flag = o->flags; flag->name; flag++)
    bits |= flag->bit | (o->kind == TARN_KIND_LEVELS ? (uint64_t)flag->bit << 1 : 0);
  return bits;
}

static void a_value_that_is_printed_and_parsed_again_stays_the_same(void **state) {
  (void)state;
  random_state = 0x5eed1;
  for (int round = 0; round < 20000; round++) {
    const struct tarn_option *o = &tarn_option_table[random_next() % tarn_option_count];
    char buffer[64];
    struct tarn_text text = TARN_TEXT(buffer);
    uint64_t value = random_next() & 1, again = 0;
    if (o->flags)
      value = random_words(o);
    if (tarn_option_has_range(o)) {
      value = o->minimum + (random_next() >> (random_next() % 64)) % (o->maximum - o->minimum + 1);
      if (value > o->minimum && (round & 1)) /* round numbers too */
        value &= ~(uint64_t)0 << (random_next() % 40);
      if (value < o->minimum)
        value = o->minimum;
    }
    if (o->kind == TARN_KIND_PATH)
      value = 0;
    tarn_text_value(&text, o, value);
    assert_int_equal(tarn_option_parse(o, text.data, text.length, machine.memory, &again), OK);
    if (value != again)
      fail_msg("%s: %s", o->name, text.data);
  }
}

/* Any text at all: no crash (sanitizers watch), and what is accepted is in range. */
static void random_text_is_refused_or_in_range(void **state) {
  static const char alphabet[] = "0123456789.%kKmMgGtTiBbnush,+= -_\x01\xff";
  unsigned accepted = 0;
  (void)state;
  random_state = 0x5eed2;
  for (int round = 0; round < 200000; round++) {
    const struct tarn_option *o = &tarn_option_table[random_next() % tarn_option_count];
    size_t length = random_next() % 12;
    char text[12];
    uint64_t value = 0;
    for (size_t i = 0; i < length; i++)
      text[i] = alphabet[random_next() % ((random_next() & 1) ? 11 : sizeof alphabet - 1)];
    if (tarn_option_parse(o, text, length, machine.memory, &value) != OK)
      continue;
    accepted++;
    if (o->kind == TARN_KIND_BOOL || o->kind == TARN_KIND_PATH)
      assert_in_range(value, 0, 1);
    else if (o->flags)
      assert_int_equal(value & ~all_words(o), 0);
    else if (!(value == 0 && o->zero))
      assert_in_range(value, o->minimum, o->maximum);
  }
  assert_true(accepted > 1000);
}

static void random_environments_leave_usable_values_and_whole_lines(void **state) {
  static const char *const words[] = {"growth",  "GROWTH=",     "log=gc", ",",
                                      "=",       "min-heap=1M", "TARN_",  "5%",
                                      "\x1b[2J", "safepoint",   " ",      "all"};
  (void)state;
  random_state = 0x5eed3;
  for (int round = 0; round < 5000; round++) {
    char list[512] = "TARN_OPTIONS=", variable[512] = "TARN_";
    const char *environment[] = {list, variable, NULL};
    for (uint64_t n = random_next() % 8; n > 0; n--) {
      strcat(list, words[random_next() % 12]);
      strcat(variable, words[random_next() % 12]);
    }
    tarn_options api = TARN_OPTIONS_INIT;
    api.set = list + strlen("TARN_OPTIONS=");
    api.lock = round & 1 ? variable : NULL;
    resolve(&api, environment);
    for (size_t i = 0; i < got.length; i++)
      assert_true(got.said[i] == '\n' || (got.said[i] >= ' ' && got.said[i] <= '~'));
    assert_int_equal(got.lines, got.report.errors + got.report.warnings);
    assert_in_range(got.config.growth, 10, 1000);
    assert_in_range(got.config.min_heap, 64 * K, 16 * T);
    assert_int_equal(got.config.log & ~all_words(option("log")), 0);
  }
}

/* ---- Lists and names ------------------------------------------------------------------------ */

static void a_list_sets_several_options(void **state) {
  (void)state;
  resolve_set(" growth = 150 ,, MIN_HEAP=32M,Scan-Stack=on,log=none,");
  assert_silent();
  assert_int_equal(got.config.growth, 150);
  assert_int_equal(got.config.min_heap, 32 * M);
  assert_true(got.config.scan_stack);
}

static void the_last_of_repeated_names_wins_in_a_list(void **state) {
  (void)state;
  resolve_set("growth=150,growth=200");
  assert_silent();
  assert_int_equal(got.config.growth, 200);
}

static void flags_go_on_over_commas_in_a_list(void **state) {
  (void)state;
  resolve_set("verify=on,log=gc,safepoint,growth=200");
  assert_silent();
  assert_int_equal(got.config.log, TARN_LOG_GC | TARN_LOG_SAFEPOINT);
  assert_int_equal(got.config.growth, 200);
  assert_true(got.config.verify);
  resolve_set("log=gc+safepoint,growth=200");
  assert_silent();
  assert_int_equal(got.config.log, TARN_LOG_GC | TARN_LOG_SAFEPOINT);
}

static void subjects_of_logs_have_levels_also_in_lists(void **state) {
  (void)state;
  resolve_set("log=gc=debug , Safepoint = info,growth=200");
  assert_silent();
  assert_int_equal(got.config.log, TARN_LOG_GC | TARN_LOG_DEBUG(TARN_LOG_GC) | TARN_LOG_SAFEPOINT);
  assert_int_equal(got.config.growth, 200);
  resolve_variables("TARN_LOG=gc=debug,safepoint,gc=off", NULL, NULL);
  assert_silent();
  assert_int_equal(got.config.log, TARN_LOG_SAFEPOINT);
  resolve_variables("TARN_LOG=gc=loud", NULL, NULL);
  assert_int_equal(got.report.errors, 1);
  assert_said("accepted: gc, safepoint, heap, thread, each alone or with =info, =debug or =off");
  assert_int_equal(got.config.log, 0);
  for (const struct tarn_option_flag *flag = option("log")->flags; flag->name; flag++)
    assert_null(tarn_option_find(flag->name, strlen(flag->name))); /* a list would be ambiguous */
}

static void levels_may_name_the_file_of_the_log(void **state) {
  static const char longest[] = "TARN_LOG_FILE=" /* and 255 characters */
                                "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
                                "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
                                "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
                                "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde";
  tarn_options api = TARN_OPTIONS_INIT;
  const char *environment[] = {"TARN_LOG=gc:file=other", NULL};
  char too_long[sizeof longest + 1];
  (void)state;
  resolve_set("log=gc=info,safepoint=debug:file=dir/log-%p.%%,growth=200");
  assert_silent();
  assert_int_equal(got.config.log,
                   TARN_LOG_GC | TARN_LOG_SAFEPOINT | TARN_LOG_DEBUG(TARN_LOG_SAFEPOINT));
  assert_string_equal(got.config.log_file, "dir/log-%p.%%");
  assert_int_equal(source_of("log-file"), TARN_SOURCE_PROGRAM);
  assert_int_equal(got.config.growth, 200);

  api.set = "log-file=mine";
  api.lock = "log-file";
  resolve(&api, environment);
  assert_said("locked by the program, ignored; using mine");
  assert_string_equal(got.config.log_file, "mine");
  assert_int_equal(got.config.log, TARN_LOG_GC);

  resolve_variables("TARN_LOG=gc:file=a%q", NULL, NULL);
  assert_said("a % stands for nothing; accepted: the path of a file, in which %p stands for");
  assert_said("using none (standard error)");
  assert_int_equal(got.config.log, TARN_LOG_GC);

  resolve_variables(longest, NULL, NULL);
  assert_silent();
  assert_int_equal(strlen(got.config.log_file), TARN_PATH_ROOM - 1);
  (void)snprintf(too_long, sizeof too_long, "%sx", longest);
  resolve_variables(too_long, NULL, NULL);
  assert_said("too long");
  assert_string_equal(got.config.log_file, "");
  resolve_variables("TARN_LOG_FILE=with\x1b[2J", "TARN_LOG=gc:file=", NULL);
  assert_int_equal(got.report.errors, 1);
  assert_string_equal(got.config.log_file, "");
}

static void a_name_without_value_in_a_list_is_said(void **state) {
  (void)state;
  resolve_set("verify,growth=200");
  assert_int_equal(got.report.errors, 1);
  assert_int_equal(got.lines, 1);
  assert_said("tarn: tarn_options.set: verify: no value, write verify=<switch>");
  assert_false(got.config.verify);
  assert_int_equal(got.config.growth, 200);
}

static void empty_values_count_as_not_set(void **state) {
  (void)state;
  resolve_variables("TARN_GROWTH=", "TARN_OPTIONS=verify=, growth = ", "TARN_NO_SUCH_THING=  ");
  assert_silent();
  assert_int_equal(got.config.growth, 100);
  assert_int_equal(source_of("growth"), TARN_SOURCE_DEFAULT);
}

static void every_option_can_be_set_by_its_variable(void **state) {
  (void)state;
  for (size_t i = 0; i < tarn_option_count; i++) {
    const struct tarn_option *o = &tarn_option_table[i];
    char buffer[128], value_buffer[64];
    struct tarn_text text = TARN_TEXT(buffer), value_text = TARN_TEXT(value_buffer);
    uint64_t value = o->kind == TARN_KIND_BOOL   ? !o->initial
                     : o->flags                  ? o->flags[0].bit
                     : o->kind == TARN_KIND_PATH ? 1
                                                 : o->minimum + 1;
    if (!tarn_option_known(o))
      continue;
    tarn_text_variable(&text, o);
    if (o->kind == TARN_KIND_PATH)
      tarn_text_add(&value_text, "some/file");
    else
      tarn_text_value(&value_text, o, value);
    tarn_text_add(&text, "=%s", value_text.data);
    resolve_variables(buffer, NULL, NULL);
    assert_int_equal(got.report.errors, 0);
    assert_int_equal(tarn_option_get(o, &got.config), value);
    assert_int_equal(got.report.source[i], TARN_SOURCE_VARIABLE);
  }
}

static void of_repeated_variables_the_first_counts_as_for_getenv(void **state) {
  (void)state;
  resolve_variables("TARN_GROWTH=200", "TARN_GROWTH=300", "TARN_GROWTH=bad");
  assert_silent();
  assert_int_equal(got.config.growth, 200);
}

static void edits_are_counted_with_swaps(void **state) {
  static const struct {
    const char *a, *b;
    size_t edits;
  } cases[] = {{"", "", 0},
               {"", "abc", 3},
               {"abc", "", 3},
               {"growth", "growth", 0},
               {"groth", "growth", 1},
               {"grwoth", "growth", 1},
               {"groowth", "growth", 1},
               {"GROWTH", "growth", 0},
               {"min_heap", "min-heap", 0},
               {"kitten", "sitting", 3},
               {"ca", "abc", 3},
               {"abcdef", "badcfe", 3}};
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    const char *a = cases[i].a, *b = cases[i].b;
    assert_int_equal(tarn_option_edits(a, strlen(a), b, strlen(b)), cases[i].edits);
    assert_int_equal(tarn_option_edits(b, strlen(b), a, strlen(a)), cases[i].edits);
  }
}

static void every_misspelt_name_finds_its_nearest(void **state) {
  (void)state;
  for (size_t i = 0; i < tarn_option_count; i++) {
    const struct tarn_option *o = &tarn_option_table[i];
    size_t length = strlen(o->name), edits = 99;
    char name[64];
    if (!tarn_option_known(o) || length < 5)
      continue;
    for (size_t hole = 0; hole < length; hole++) { /* one letter left out */
      memcpy(name, o->name, hole);
      memcpy(name + hole, o->name + hole + 1, length - hole);
      assert_ptr_equal(tarn_option_nearest(name, length - 1, &edits), o);
      assert_int_equal(edits, 1);
    }
  }
}

static void an_unknown_variable_gets_one_line_with_the_nearest_name(void **state) {
  (void)state;
  resolve_variables("TARN_GROTH=200", NULL, NULL);
  assert_int_equal(got.lines, 1);
  assert_int_equal(got.report.errors, 1);
  assert_said("tarn: TARN_GROTH=\"200\": no option has this name; the nearest is TARN_GROWTH");
  assert_said("ignored\n");
  assert_int_equal(got.config.growth, 100);
  resolve_variables("TARN_OPTION=growth=200", NULL, NULL);
  assert_int_equal(got.lines, 1);
  assert_said("the nearest is TARN_OPTIONS ");
  resolve_variables("TARN_OPTIONS=hardlimit=1G", NULL, NULL);
  assert_int_equal(got.lines, 1);
  assert_said("tarn: TARN_OPTIONS: hardlimit=\"1G\": no option has this name; "
              "the nearest is hard-limit");
}

static void the_names_of_the_machinery_are_not_complained_about(void **state) {
  (void)state;
  resolve_variables("TARN_HELP=0", "TARN_OPTIONS=", "TARN_STRICT=1");
  assert_silent();
  resolve_variables("TARN_SHOW_CONFIG=0", "TARN_OPTIONS=strict=1,help=0", NULL);
  assert_silent();
}

/* ---- Complaints ----------------------------------------------------------------------------- */

static void a_bad_value_gets_one_line_with_all_that_is_needed(void **state) {
  (void)state;
  resolve_variables("TARN_GROWTH=fast", NULL, NULL);
  assert_int_equal(got.status, TARN_OK);
  assert_string_equal(got.said, "tarn: TARN_GROWTH=\"fast\": not a percentage; accepted: "
                                "a percentage from 10% to 1000%; using 100%\n");
  resolve_variables("TARN_MIN_HEAP=1K", NULL, NULL);
  assert_string_equal(got.said, "tarn: TARN_MIN_HEAP=\"1K\": too small; accepted: a size (as in "
                                "512M or 1.5G) from 64K to 16T; using 16M\n");
  resolve_variables("TARN_HARD_LIMIT=200%", NULL, NULL);
  assert_string_equal(got.said,
                      "tarn: TARN_HARD_LIMIT=\"200%\": too large; accepted: a size (as in 512M or "
                      "1.5G) from 1M to 16T, or a percentage of the detected memory, or 0 (none); "
                      "using 0 (none)\n");
  resolve_variables("TARN_STOP_TIMEOUT=5", NULL, NULL);
  assert_said("a unit is missing");
  resolve_variables("TARN_LOG=gc,foo", NULL, NULL);
  assert_said("not a list of levels; accepted: gc, safepoint, heap, thread, each alone or with "
              "=info, =debug or "
              "=off, separated by commas, or none; using none\n");
  resolve_variables("TARN_GENERATIONS=pools,foo", NULL, NULL);
  assert_said("not a list of flags; accepted: pools, first-pool, separated by commas, or none; "
              "using pools\n");
}

static void every_option_complains_about_garbage_and_keeps_its_value(void **state) {
  (void)state;
  for (size_t i = 0; i < tarn_option_count; i++) {
    char buffer[128], accepted_buffer[256];
    struct tarn_text text = TARN_TEXT(buffer), accepted = TARN_TEXT(accepted_buffer);
    const struct tarn_option *o = &tarn_option_table[i];
    if (!tarn_option_known(o))
      continue;
    tarn_text_variable(&text, o);
    tarn_text_add(&text, "=@garbage%%!");
    tarn_text_accepted(&accepted, o);
    resolve_variables(buffer, NULL, NULL);
    assert_int_equal(got.lines, 1);
    assert_int_equal(got.report.errors, 1);
    assert_said(accepted_buffer);
    assert_int_equal(tarn_option_get(o, &got.config), o->initial);
  }
}

static void the_line_names_the_value_that_is_used_in_the_end(void **state) {
  (void)state;
  resolve_variables("TARN_OPTIONS=growth=bad", "TARN_GROWTH=200", NULL);
  assert_int_equal(got.lines, 1);
  assert_said("TARN_OPTIONS: growth=\"bad\"");
  assert_said("; using 200%\n");
  resolve_variables("TARN_OPTIONS=growth=300", "TARN_GROWTH=bad", NULL);
  assert_said("; using 300%\n");
}

static void values_cannot_steer_a_terminal_or_flood_it(void **state) {
  char variable[4096] = "TARN_GROWTH=\x1b[2J\r\n\x07";
  (void)state;
  memset(variable + strlen(variable), 'x', 3000);
  resolve_variables(variable, NULL, NULL);
  assert_int_equal(got.lines, 1);
  assert_true(got.length < 300);
  assert_said("TARN_GROWTH=\"?[2J???xxx");
  assert_said("...\"");
  for (size_t i = 0; i + 1 < got.length; i++)
    assert_in_range((unsigned char)got.said[i], ' ', '~');
}

static void soft_limit_above_hard_limit_becomes_the_hard_limit(void **state) {
  (void)state;
  resolve_set("soft-limit=2G,hard-limit=1G");
  assert_int_equal(got.config.soft_limit, G);
  assert_int_equal(got.lines, 1);
  assert_int_equal(got.report.errors, 1);
  assert_said("tarn: soft-limit=2G: above the hard limit");
  assert_said("using 1G\n");
  resolve_set("soft-limit=2G");
  assert_silent();
  resolve_set("soft-limit=1G,hard-limit=1G");
  assert_silent();
}

static void strict_fails_on_every_kind_of_error_and_on_nothing_else(void **state) {
  static const char *const bad[] = {"TARN_GROWTH=x",    "TARN_GROWTH=9",
                                    "TARN_GROTH=10",    "TARN_OPTIONS=verify",
                                    "TARN_OPTIONS=a=b", "TARN_OPTIONS=soft-limit=2G,hard-limit=1G"};
  (void)state;
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    resolve_variables("TARN_STRICT=1", bad[i], NULL);
    assert_int_equal(got.status, TARN_EOPTION);
    assert_int_equal(got.lines, 1);
    resolve_variables("TARN_STRICT=0", bad[i], NULL);
    assert_int_equal(got.status, TARN_OK);
    assert_int_equal(got.lines, 1);
  }
  resolve_variables("TARN_STRICT=1", "TARN_GROWTH=10", NULL);
  assert_silent();
  resolve_set("growth=x,strict=on"); /* from the program too, wherever it stands */
  assert_int_equal(got.status, TARN_EOPTION);
}

/* ---- Sources -------------------------------------------------------------------------------- */

static void stronger_sources_win(void **state) {
  tarn_options api = TARN_OPTIONS_INIT;
  const char *environment[] = {"TARN_GROWTH=400", "TARN_OPTIONS=growth=300,retain=30", NULL};
  static const char *const nothing[] = {NULL};
  (void)state;
  resolve(&api, nothing);
  assert_int_equal(value_of("growth"), 100);
  assert_int_equal(source_of("growth"), TARN_SOURCE_DEFAULT);
  api.set = "growth=200,retain=20,near-limit=70";
  resolve(&api, nothing);
  assert_int_equal(value_of("growth"), 200);
  assert_int_equal(source_of("growth"), TARN_SOURCE_PROGRAM);
  resolve(&api, environment + 1);
  assert_int_equal(value_of("growth"), 300);
  assert_int_equal(source_of("growth"), TARN_SOURCE_ENVIRONMENT);
  resolve(&api, environment); /* the variable wins though it stands first */
  assert_silent();
  assert_int_equal(value_of("growth"), 400);
  assert_int_equal(source_of("growth"), TARN_SOURCE_VARIABLE);
  assert_int_equal(value_of("retain"), 30);
  assert_int_equal(value_of("near-limit"), 70);
  assert_int_equal(source_of("near-limit"), TARN_SOURCE_PROGRAM);
}

static void a_locked_option_ignores_the_environment_and_says_so(void **state) {
  tarn_options api = TARN_OPTIONS_INIT;
  const char *environment[] = {"TARN_GROWTH=400", "TARN_OPTIONS=growth=300,retain=30",
                               "TARN_STRICT=1", NULL};
  (void)state;
  api.set = "growth=200";
  api.lock = " Growth , min_heap";
  resolve(&api, environment);
  assert_int_equal(got.status, TARN_OK); /* no error, even with strict */
  assert_int_equal(got.config.growth, 200);
  assert_int_equal(got.config.retain, 30);
  assert_int_equal(got.lines, 2);
  assert_int_equal(got.report.warnings, 2);
  assert_said("tarn: TARN_GROWTH=\"400\": locked by the program, ignored; using 200%\n");
  assert_said("tarn: TARN_OPTIONS: growth=\"300\": locked by the program, ignored; using 200%\n");
}

static void each_option_is_locked_by_itself(void **state) {
  (void)state;
  for (size_t i = 0; i < tarn_option_count; i++) {
    tarn_options api = TARN_OPTIONS_INIT;
    static const char *const nothing[] = {NULL};
    api.lock = tarn_option_table[i].name;
    if (!tarn_option_known(&tarn_option_table[i]))
      continue;
    resolve(&api, nothing);
    assert_int_equal(got.report.locked, (uint64_t)1 << i);
  }
}

static void a_malformed_value_of_a_locked_option_gets_one_line_only(void **state) {
  tarn_options api = TARN_OPTIONS_INIT;
  const char *environment[] = {"TARN_GROWTH=x", NULL};
  (void)state;
  api.lock = "growth";
  resolve(&api, environment);
  assert_int_equal(got.lines, 1);
  assert_int_equal(got.report.errors, 0);
}

static void lock_all_locks_every_option(void **state) {
  tarn_options api = TARN_OPTIONS_INIT;
  (void)state;
  api.lock = "ALL";
  for (size_t i = 0; i < tarn_option_count; i++) {
    char buffer[128];
    struct tarn_text text = TARN_TEXT(buffer);
    const struct tarn_option *o = &tarn_option_table[i];
    const char *environment[] = {buffer, NULL};
    if (!tarn_option_known(o))
      continue;
    tarn_text_variable(&text, o);
    tarn_text_add(&text, "=1");
    resolve(&api, environment);
    assert_int_equal(got.status, TARN_OK);
    assert_int_equal(got.lines, 1);
    assert_int_equal(tarn_option_get(o, &got.config), o->initial);
  }
}

static void a_bad_lock_is_said(void **state) {
  static const char *const nothing[] = {NULL};
  tarn_options api = TARN_OPTIONS_INIT;
  (void)state;
  api.lock = "groth";
  api.set = "strict=1";
  resolve(&api, nothing);
  assert_int_equal(got.status, TARN_EOPTION);
  assert_int_equal(got.lines, 1);
  assert_said("tarn: tarn_options.lock: groth: no option has this name; the nearest is growth");
  api.lock = "growth=200";
  resolve(&api, nothing);
  assert_int_equal(got.report.errors, 1);
  assert_int_equal(got.lines, 1);
  assert_int_equal(got.report.locked, 0);
  assert_said("tarn: tarn_options.lock: growth=\"200\": a lock has no value");
}

static void the_program_can_ignore_the_environment(void **state) {
  tarn_options api = TARN_OPTIONS_INIT;
  const char *environment[] = {"TARN_GROWTH=400", "TARN_HELP=1", "TARN_NONSENSE=1", NULL};
  (void)state;
  api.flags = TARN_OPTIONS_NO_ENVIRONMENT;
  resolve(&api, environment);
  assert_silent();
  assert_int_equal(got.config.growth, 100);
}

static void the_environment_of_a_secure_program_is_not_read(void **state) {
  tarn_options api = TARN_OPTIONS_INIT;
  const char *environment[] = {"TARN_GROWTH=400", "TARN_HELP=1",           "TARN_SHOW_CONFIG=1",
                               "TARN_NONSENSE=1", "TARN_OPTIONS=retain=1", NULL};
  (void)state;
  api.set = "growth=200";
  resolve_as(true, &api, environment);
  assert_silent();
  assert_int_equal(got.config.growth, 200);
  assert_int_equal(got.config.retain, 25);
  resolve_as(true, NULL, NULL);
  assert_silent();
}

static void a_malformed_structure_is_refused(void **state) {
  static const char *const nothing[] = {NULL};
  struct {
    tarn_options known;
    size_t more[4];
  } grown = {.known = TARN_OPTIONS_INIT};
  tarn_options api = TARN_OPTIONS_INIT;
  (void)state;
  assert_int_equal(tarn_config_resolve(&api, nothing, NULL, NULL), TARN_EINVAL);
  static const size_t sizes[] = {0, 1, sizeof api - 1, SIZE_MAX, 1 << 20};
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    api.struct_size = sizes[i];
    resolve(&api, nothing);
    assert_int_equal(got.status, TARN_EINVAL);
    assert_int_equal(got.lines, 1);
    assert_said("struct_size");
  }
  api = (tarn_options)TARN_OPTIONS_INIT;
  api.flags = 8;
  resolve(&api, nothing);
  assert_int_equal(got.status, TARN_EINVAL);
  assert_said("unknown bits in flags 0x8");
  api.flags = TARN_OPTIONS_BARRIERS | TARN_OPTIONS_COUNTING;
  resolve(&api, nothing);
  assert_int_equal(got.status, TARN_EINVAL);
  assert_said("a world that counts references has no barriers");
  grown.known.struct_size = sizeof grown;
  grown.known.set = "growth=200";
  resolve(&grown.known, nothing);
  assert_silent(); /* a newer program that asks for nothing new */
  assert_int_equal(got.config.growth, 200);
  grown.more[3] = 1;
  resolve(&grown.known, nothing);
  assert_int_equal(got.status, TARN_EINVAL);
  assert_said("newer Tarn");
}

static void the_environment_of_the_process_is_read(void **state) {
  (void)state;
  assert_int_equal(setenv("TARN_GROWTH", "321", 1), 0);
  resolve(NULL, NULL);
  assert_int_equal(unsetenv("TARN_GROWTH"), 0);
  assert_int_equal(got.config.growth, 321);
  resolve(NULL, NULL);
  assert_int_equal(got.config.growth, 100);
}

/* This program, run as `test_options --growth`: one line with AT_SECURE and the option. */
static int print_growth(void) {
  struct tarn_config config;
  if (tarn_config_resolve(NULL, NULL, &config, NULL) != TARN_OK)
    return 1;
  printf("%lu %u\n", getauxval(AT_SECURE), config.growth);
  fflush(stdout);
  _exit(0); /* no leak check: the kernel does not let a secure process look into itself */
}

static void run(const char *command, char *output, size_t room) {
  FILE *pipe = popen(command, "r");
  assert_non_null(pipe);
  size_t length = fread(output, 1, room - 1, pipe);
  output[length] = '\0';
  assert_int_equal(pclose(pipe), 0);
}

static void a_setuid_program_ignores_its_environment(void **state) {
  char directory[] = "/tmp/tarn-options-XXXXXX", self[PATH_MAX], command[2 * PATH_MAX], output[64];
  (void)state;
  ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
  assert_true(length > 0);
  self[length] = '\0';
  snprintf(command, sizeof command, "TARN_GROWTH=222 '%s' --growth", self);
  run(command, output, sizeof output);
  assert_string_equal(output, "0 222\n");
  if (geteuid() != 0) {
    print_message("skipped: only root can make a program of another user\n");
    skip();
  }
  assert_non_null(mkdtemp(directory));
  assert_int_equal(chmod(directory, 0755), 0);
  snprintf(command, sizeof command,
           "cp '%s' %s/p && chown 65534 %s/p && chmod 4755 %s/p && TARN_GROWTH=222 %s/p --growth; "
           "status=$?; rm -rf %s; exit $status",
           self, directory, directory, directory, directory, directory);
  run(command, output, sizeof output);
  if (output[0] == '0') {
    print_message("skipped: /tmp is mounted nosuid, so the kernel did not make it secure\n");
    skip();
  }
  assert_string_equal(output, "1 100\n");
}

/* ---- Printing ------------------------------------------------------------------------------- */

static void help_lists_every_option_and_ends_creation(void **state) {
  (void)state;
  resolve_variables("TARN_HELP=1", NULL, NULL);
  assert_int_equal(got.status, TARN_EHELP);
  for (size_t i = 0; i < tarn_option_count; i++) {
    char buffer[64];
    struct tarn_text text = TARN_TEXT(buffer);
    if (!tarn_option_known(&tarn_option_table[i]))
      continue;
    tarn_text_add(&text, "  ");
    tarn_text_variable(&text, &tarn_option_table[i]);
    tarn_text_add(&text, "=<%s>  (%s, default ", tarn_option_kind_name(&tarn_option_table[i]),
                  tarn_option_table[i].name);
    assert_said(buffer);
  }
  for (const char *line = got.said; *line; line = strchr(line, '\n') + 1)
    assert_true(strcspn(line, "\n") <= 100);
  resolve_variables("TARN_HELP=1", "TARN_STRICT=1", "TARN_GROWTH=x"); /* help comes first */
  assert_int_equal(got.status, TARN_EHELP);
}

static void show_config_prints_every_value_with_its_source(void **state) {
  tarn_options api = TARN_OPTIONS_INIT;
  const char *environment[] = {"TARN_SHOW_CONFIG=1", "TARN_HARD_LIMIT=33%",
                               "TARN_OPTIONS=log=gc,safepoint", NULL};
  (void)state;
  api.set = "growth=200";
  api.lock = "growth";
  resolve(&api, environment);
  assert_int_equal(got.status, TARN_OK);
  assert_said("tarn: configuration (detected: memory 4294967296, 3 CPUs)\n");
  assert_said("  growth         200%                             program, locked\n");
  assert_said("  hard-limit     1417339207 (about 1.3G)          TARN_HARD_LIMIT\n");
  assert_said("  log            gc=info,safepoint=info           TARN_OPTIONS\n");
  assert_said("  soft-limit     0 (none)                         default\n");
  size_t known = 0;
  for (size_t i = 0; i < tarn_option_count; i++)
    known += tarn_option_known(&tarn_option_table[i]);
  assert_int_equal(got.lines, known + 1);
}

static void without_a_sink_lines_go_to_standard_error(void **state) {
  static const char *const environment[] = {"TARN_GROWTH=x", NULL};
  struct tarn_config config;
  char text[512];
  int ends[2], kept = dup(STDERR_FILENO);
  (void)state;
  assert_int_equal(pipe(ends), 0);
  dup2(ends[1], STDERR_FILENO);
  tarn_status status = tarn_config_resolve(NULL, environment, &config, NULL);
  dup2(kept, STDERR_FILENO);
  close(kept);
  close(ends[1]);
  ssize_t length = read(ends[0], text, sizeof text - 1);
  close(ends[0]);
  assert_true(length > 0);
  text[length] = '\0';
  assert_int_equal(status, TARN_OK);
  assert_non_null(strstr(text, "tarn: TARN_GROWTH=\"x\": not a percentage"));
  assert_true(config.detected_memory > 0 && config.detected_cpus > 0);
}

static void text_is_cut_off_rather_than_overrun(void **state) {
  char buffer[8];
  struct tarn_text text = TARN_TEXT(buffer);
  (void)state;
  tarn_text_add(&text, "%s", "abcde");
  tarn_text_add(&text, "%s", "fghijkl");
  tarn_text_add(&text, "%s", "m");
  assert_string_equal(buffer, "abcdefg");
  assert_int_equal(text.length, 7);
}

/* ---- The manual ----------------------------------------------------------------------------- */

#ifdef TARN_MANPAGE
static void the_committed_manual_is_what_the_tool_prints(void **state) {
  static char printed[65536], committed[65536];
  (void)state;
  run("'" TARN_MANPAGE "' --markdown", printed, sizeof printed);
  FILE *file = fopen(TARN_SOURCE_DIR "/doc/options.md", "r");
  assert_non_null(file);
  committed[fread(committed, 1, sizeof committed - 1, file)] = '\0';
  fclose(file);
  assert_string_equal(printed, committed);
}

static void both_manuals_hold_every_option(void **state) {
  static char markdown[65536], page[65536];
  (void)state;
  run("'" TARN_MANPAGE "' --markdown", markdown, sizeof markdown);
  run("'" TARN_MANPAGE "'", page, sizeof page);
  for (size_t i = 0; i < tarn_option_count; i++) {
    char buffer[64];
    struct tarn_text text = TARN_TEXT(buffer);
    tarn_text_variable(&text, &tarn_option_table[i]);
    assert_non_null(strstr(markdown, buffer));
    assert_non_null(strstr(page, buffer));
  }
}
#endif

int main(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], "--growth") == 0)
    return print_growth();
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_option_is_well_formed),
      cmocka_unit_test(every_field_of_the_configuration_keeps_its_own_value),
      cmocka_unit_test(without_any_source_all_values_are_the_defaults),
      cmocka_unit_test(options_of_other_builds_are_unknown),
      cmocka_unit_test(an_option_without_effect_in_this_build_is_said_but_no_error),
      cmocka_unit_test(every_kind_accepts_and_refuses_what_it_should),
      cmocka_unit_test(limits_of_every_range_are_accepted_and_what_is_beyond_is_not),
      cmocka_unit_test(a_value_that_is_printed_and_parsed_again_stays_the_same),
      cmocka_unit_test(random_text_is_refused_or_in_range),
      cmocka_unit_test(random_environments_leave_usable_values_and_whole_lines),
      cmocka_unit_test(a_list_sets_several_options),
      cmocka_unit_test(the_last_of_repeated_names_wins_in_a_list),
      cmocka_unit_test(flags_go_on_over_commas_in_a_list),
      cmocka_unit_test(subjects_of_logs_have_levels_also_in_lists),
      cmocka_unit_test(levels_may_name_the_file_of_the_log),
      cmocka_unit_test(a_name_without_value_in_a_list_is_said),
      cmocka_unit_test(empty_values_count_as_not_set),
      cmocka_unit_test(every_option_can_be_set_by_its_variable),
      cmocka_unit_test(of_repeated_variables_the_first_counts_as_for_getenv),
      cmocka_unit_test(edits_are_counted_with_swaps),
      cmocka_unit_test(every_misspelt_name_finds_its_nearest),
      cmocka_unit_test(an_unknown_variable_gets_one_line_with_the_nearest_name),
      cmocka_unit_test(the_names_of_the_machinery_are_not_complained_about),
      cmocka_unit_test(a_bad_value_gets_one_line_with_all_that_is_needed),
      cmocka_unit_test(every_option_complains_about_garbage_and_keeps_its_value),
      cmocka_unit_test(the_line_names_the_value_that_is_used_in_the_end),
      cmocka_unit_test(values_cannot_steer_a_terminal_or_flood_it),
      cmocka_unit_test(soft_limit_above_hard_limit_becomes_the_hard_limit),
      cmocka_unit_test(strict_fails_on_every_kind_of_error_and_on_nothing_else),
      cmocka_unit_test(stronger_sources_win),
      cmocka_unit_test(a_locked_option_ignores_the_environment_and_says_so),
      cmocka_unit_test(each_option_is_locked_by_itself),
      cmocka_unit_test(a_malformed_value_of_a_locked_option_gets_one_line_only),
      cmocka_unit_test(lock_all_locks_every_option),
      cmocka_unit_test(a_bad_lock_is_said),
      cmocka_unit_test(the_program_can_ignore_the_environment),
      cmocka_unit_test(the_environment_of_a_secure_program_is_not_read),
      cmocka_unit_test(a_malformed_structure_is_refused),
      cmocka_unit_test(the_environment_of_the_process_is_read),
      cmocka_unit_test(a_setuid_program_ignores_its_environment),
      cmocka_unit_test(help_lists_every_option_and_ends_creation),
      cmocka_unit_test(show_config_prints_every_value_with_its_source),
      cmocka_unit_test(without_a_sink_lines_go_to_standard_error),
      cmocka_unit_test(text_is_cut_off_rather_than_overrun),
#ifdef TARN_MANPAGE
      cmocka_unit_test(the_committed_manual_is_what_the_tool_prints),
      cmocka_unit_test(both_manuals_hold_every_option),
#endif
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
