/* SPDX-License-Identifier: MIT */
/*
 * The writer that the library's files are made with: text comes out as its readers need it, and the
 * first thing that goes wrong is reported in the end.
 */
#include "comma_locale.h"
#include "support.h"

#include "inspect/out.h"
#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

struct taken {
  char text[256 * 1024];
  size_t length;
  unsigned calls, refuses_at;
};

static struct taken taken;

static bool take(void *data, const char *bytes, size_t size) {
  struct taken *to = data;
  if (++to->calls == to->refuses_at)
    return false;
  assert_true(to->length + size < sizeof to->text);
  memcpy(to->text + to->length, bytes, size);
  to->length += size;
  to->text[to->length] = '\0';
  return true;
}

static void begin(struct tarn_out *out, unsigned refuses_at) {
  taken = (struct taken){.refuses_at = refuses_at};
  tarn_out_begin_fn(out, take, &taken);
}

static void numbers_are_written_whatever_the_locale(void **state) {
  struct tarn_out out;
  (void)state;
  assert_true(comma_begin());
  begin(&out, 0);
  tarn_out_number(&out, 0);
  tarn_out_text(&out, " ");
  tarn_out_number(&out, UINT64_MAX);
  tarn_out_text(&out, " ");
  tarn_out_signed(&out, INT64_MIN);
  tarn_out_text(&out, " ");
  tarn_out_signed(&out, INT64_MAX);
  tarn_out_text(&out, " ");
  tarn_out_decimal(&out, 1234567, 3);
  tarn_out_text(&out, " ");
  tarn_out_decimal(&out, 7, 3);
  tarn_out_text(&out, " ");
  tarn_out_decimal(&out, 0, 1);
  tarn_out_text(&out, " ");
  tarn_out_decimal(&out, 12, 0);
  tarn_out_text(&out, " ");
  tarn_out_decimal(&out, UINT64_MAX, 9);
  tarn_out_text(&out, " ");
  tarn_out_decimal(&out, 5, 99);
  tarn_out_text(&out, " ");
  tarn_out_hex(&out, 0);
  tarn_out_text(&out, " ");
  tarn_out_hex(&out, UINT64_MAX);
  assert_int_equal(tarn_out_end(&out), TARN_OK);
  assert_string_equal(taken.text,
                      "0 18446744073709551615 -9223372036854775808 9223372036854775807 "
                      "1234.567 0.007 0.0 12 18446744073.709551615 0.0000000000000000005 "
                      "0x0 0xffffffffffffffff");
  (void)setlocale(LC_NUMERIC, "C");
}

static void strings_of_json_are_well_formed_whatever_the_text(void **state) {
  static const struct {
    const char *text, *json;
  } cases[] = {
      {"", "\"\""},
      {"plain", "\"plain\""},
      {"a\"b\\c", "\"a\\\"b\\\\c\""},
      {"\n\x01\x7f", "\"\\u000a\\u0001\\u007f\""},
      {"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\""},
      {"\xf4\x8f\xbf\xbf", "\"\xf4\x8f\xbf\xbf\""},
      {"x\xff", "\"x\xef\xbf\xbd\""},                               /* no first byte */
      {"\xc3", "\"\xef\xbf\xbd\""},                                 /* cut off */
      {"\xe2\x82", "\"\xef\xbf\xbd\xef\xbf\xbd\""},                 /* cut off */
      {"\xc0\xaf", "\"\xef\xbf\xbd\xef\xbf\xbd\""},                 /* longer than need be */
      {"\xe0\x80z", "\"\xef\xbf\xbd\xef\xbf\xbdz\""},               /* the same */
      {"\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""}, /* half of a pair */
      {"\xf4\x90\x80\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""}, /* too large */
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct tarn_out out;
    begin(&out, 0);
    tarn_out_json(&out, cases[i].text);
    assert_int_equal(tarn_out_end(&out), TARN_OK);
    assert_string_equal(taken.text, cases[i].json);
  }
}

static void what_does_not_fit_the_buffer_comes_in_order(void **state) {
  static char large[200 * 1024];
  struct tarn_out out;
  (void)state;
  memset(large, 'x', sizeof large);
  begin(&out, 0);
  tarn_out_text(&out, "before ");
  tarn_out_bytes(&out, large, sizeof large);
  for (int i = 0; i < 1000; i++)
    tarn_out_text(&out, " 123456789");
  assert_int_equal(tarn_out_end(&out), TARN_OK);
  assert_int_equal(taken.length, 7 + sizeof large + 10000);
  assert_int_equal(out.written, taken.length);
  assert_memory_equal(taken.text, "before xxx", 10);
  assert_memory_equal(taken.text + 7 + sizeof large, " 123456789 123456789", 20);
  assert_in_range(taken.calls, 2, 4);
}

static void the_first_refusal_ends_the_writing_and_is_reported(void **state) {
  struct tarn_out out;
  (void)state;
  begin(&out, 2);
  tarn_out_text(&out, "one");
  assert_true(tarn_out_flush(&out));
  tarn_out_text(&out, "two");
  assert_false(tarn_out_flush(&out));
  tarn_out_text(&out, "three");
  assert_false(tarn_out_flush(&out));
  errno = 0;
  assert_int_equal(tarn_out_end(&out), TARN_ESYSTEM);
  assert_int_equal(errno, ECANCELED);
  assert_string_equal(taken.text, "one");
  assert_int_equal(taken.calls, 2);

  tarn_out_begin_file(&out, "/dev/full", TARN_OUT_OVER);
  tarn_out_text(&out, "x");
  assert_int_equal(tarn_out_end(&out), TARN_ESYSTEM);
  assert_int_equal(errno, ENOSPC);
  tarn_out_begin_file(&out, "/no/such/directory/file", TARN_OUT_APPEND);
  tarn_out_text(&out, "x");
  assert_int_equal(tarn_out_end(&out), TARN_ESYSTEM);
  assert_int_equal(errno, ENOENT);
}

static void files_are_their_owners_and_written_over_or_appended_to(void **state) {
  char directory[] = "test_out.XXXXXX", path[64], text[32] = "";
  struct tarn_out out;
  struct stat status;
  (void)state;
  assert_non_null(mkdtemp(directory));
  (void)snprintf(path, sizeof path, "%s/file", directory);
  for (int i = 0; i < 3; i++) {
    tarn_out_begin_file(&out, path, i < 2 ? TARN_OUT_OVER : TARN_OUT_APPEND);
    tarn_out_text(&out, i == 0 ? "first, and longer" : i == 1 ? "second" : "third");
    assert_int_equal(tarn_out_end(&out), TARN_OK);
  }
  FILE *file = fopen(path, "r");
  assert_non_null(file);
  assert_non_null(fgets(text, sizeof text, file));
  (void)fclose(file);
  assert_string_equal(text, "secondthird");
  assert_int_equal(stat(path, &status), 0);
  assert_int_equal(status.st_mode & 0777, 0600);
  assert_int_equal(unlink(path), 0);
  assert_int_equal(rmdir(directory), 0);
}

static void what_standard_output_goes_to_is_gone_on_with(void **state) {
  static const enum tarn_out_mode modes[] = {TARN_OUT_OVER, TARN_OUT_APPEND, TARN_OUT_SHARED};
  (void)state;
  for (unsigned i = 0; i < 3; i++) {
    char path[] = "/tmp/tarn-out-XXXXXX", text[64] = "";
    struct tarn_out out;
    int file = mkstemp(path), before = dup(STDOUT_FILENO);
    assert_true(file >= 0 && before >= 0);
    (void)fflush(stdout);
    assert_int_equal(dup2(file, STDOUT_FILENO), STDOUT_FILENO);
    bool good = write(STDOUT_FILENO, "one ", 4) == 4;
    tarn_out_begin_file(&out, "/proc/self/fd/1", modes[i]);
    tarn_out_text(&out, "two ");
    tarn_status status = tarn_out_end(&out);
    good = good && write(STDOUT_FILENO, "three", 5) == 5;
    assert_int_equal(dup2(before, STDOUT_FILENO), STDOUT_FILENO);
    assert_true(good);
    assert_int_equal(status, TARN_OK);
    assert_int_equal(pread(file, text, sizeof text - 1, 0), strlen("one two three"));
    assert_string_equal(text, "one two three");
    (void)close(before);
    (void)close(file);
    (void)unlink(path);
  }
}

/* Nor is an end left where the program's own output goes. */
static void an_end_is_for_files_of_our_own(void **state) {
  (void)state;
  for (unsigned i = 0; i < 2; i++) {
    char path[] = "/tmp/tarn-out-XXXXXX", text[64] = "";
    bool ours = i == 0;
    struct tarn_out out;
    int file = mkstemp(path), before = dup(STDOUT_FILENO);
    assert_true(file >= 0 && before >= 0);
    (void)fflush(stdout);
    assert_true(ours || dup2(file, STDOUT_FILENO) == STDOUT_FILENO);
    bool good = ours || write(STDOUT_FILENO, "before ", 7) == 7;
    tarn_out_begin_file(&out, path, TARN_OUT_OVER);
    tarn_out_text(&out, "one ");
    good = tarn_out_flush_ended(&out, "end") && good;
    ssize_t got = pread(file, text, sizeof text - 1, 0);
    tarn_out_text(&out, "two");
    tarn_status status = tarn_out_end(&out);
    assert_int_equal(dup2(before, STDOUT_FILENO), STDOUT_FILENO);
    assert_true(good);
    assert_int_equal(status, TARN_OK);
    assert_int_equal(got, strlen(text));
    assert_string_equal(text, ours ? "one end" : "before one ");
    got = pread(file, text, sizeof text - 1, 0);
    assert_true(got > 0);
    text[got] = '\0';
    assert_string_equal(text, ours ? "one two" : "before one two");
    (void)close(before);
    (void)close(file);
    (void)unlink(path);
  }
}

/* It would be replaced: /dev/stdout of the whole system, say. */
static void a_link_is_no_file_whatever_it_leads_to(void **state) {
  char directory[] = "/tmp/tarn-out-XXXXXX", file[64], link[64], none[64];
  (void)state;
  assert_non_null(mkdtemp(directory));
  (void)snprintf(file, sizeof file, "%s/file", directory);
  (void)snprintf(link, sizeof link, "%s/link", directory);
  (void)snprintf(none, sizeof none, "%s/none", directory);
  struct tarn_out out;
  tarn_out_begin_file(&out, file, TARN_OUT_OVER);
  assert_int_equal(tarn_out_end(&out), TARN_OK);
  assert_int_equal(symlink(file, link), 0);
  assert_true(tarn_os_is_file(file));
  assert_true(tarn_os_is_file(none));
  assert_false(tarn_os_is_file(link));
  assert_false(tarn_os_is_file("/dev/null"));
  (void)unlink(link);
  (void)unlink(file);
  (void)rmdir(directory);
}

/* Where others may make files, too, one of them may have guessed the name. */
static void a_new_file_is_made_though_the_name_is_taken(void **state) {
  char directory[] = "/tmp/tarn-out-XXXXXX", victim[64], path[64], text[16] = "";
  struct tarn_out out;
  struct stat found;
  (void)state;
  assert_non_null(mkdtemp(directory));
  (void)snprintf(victim, sizeof victim, "%s/victim", directory);
  (void)snprintf(path, sizeof path, "%s/new", directory);
  tarn_out_begin_file(&out, victim, TARN_OUT_OVER);
  tarn_out_text(&out, "precious");
  assert_int_equal(tarn_out_end(&out), TARN_OK);
  for (unsigned i = 0; i < 2; i++) {
    assert_int_equal(i ? link(victim, path) : symlink(victim, path), 0);
    tarn_out_begin_file(&out, path, TARN_OUT_NEW);
    tarn_out_text(&out, "text");
    assert_int_equal(tarn_out_end(&out), TARN_OK);
    assert_int_equal(lstat(path, &found), 0);
    assert_true(S_ISREG(found.st_mode) && found.st_size == 4 && (found.st_mode & 0777) == 0600);
    assert_int_equal(unlink(path), 0);
  }
  FILE *file = fopen(victim, "r");
  assert_true(file && fgets(text, sizeof text, file));
  assert_string_equal(text, "precious");
  (void)fclose(file);
  (void)unlink(victim);
  (void)rmdir(directory);
}

/* The signal for it ends a process that does not expect it. */
static void a_file_that_may_not_grow_is_an_error_and_not_the_end(void **state) {
  char path[] = "/tmp/tarn-out-XXXXXX";
  struct rlimit before, small;
  struct tarn_out out;
  (void)state;
  int file = mkstemp(path);
  assert_true(file >= 0);
  (void)close(file);
  assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
  small = before;
  small.rlim_cur = 1000;
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
  tarn_out_begin_file(&out, path, TARN_OUT_OVER);
  for (unsigned i = 0; i < 125; i++)
    tarn_out_text(&out, "12345678");
  assert_true(tarn_out_flush_ended(&out, "end")); /* for which there is no room */
  for (unsigned i = 0; i < 1000; i++)
    tarn_out_text(&out, "12345678");
  tarn_status status = tarn_out_end(&out);
  int error = errno;
  sigset_t pending;
  bool known = sigpending(&pending) == 0;
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
  assert_int_equal(status, TARN_ESYSTEM);
  assert_int_equal(error, EFBIG);
  assert_true(known && !sigismember(&pending, SIGXFSZ));
  (void)unlink(path);
}

static void patterns_become_paths_that_fit_or_none(void **state) {
  char path[24], wanted[24];
  (void)state;
  (void)snprintf(wanted, sizeof wanted, "a%u.3.12%%", (unsigned)getpid());
  assert_true(tarn_out_path("a%p.%w.%n%%", 3, 12, path, sizeof path));
  assert_string_equal(path, wanted);
  assert_true(tarn_out_path("12345678901234567890123", 1, 1, path, sizeof path));
  assert_false(tarn_out_path("123456789012345678901234", 1, 1, path, sizeof path));
  assert_string_equal(path, "");
  assert_false(tarn_out_path("12345678901234567890%n", 1, 12345, path, sizeof path));
}

#if TARN_FAULTS
static void without_memory_nothing_is_written_and_the_status_says_so(void **state) {
  struct tarn_out out;
  (void)state;
  tarn_os_fault_at(1);
  begin(&out, 0);
  tarn_os_fault_at(0);
  tarn_out_text(&out, "x");
  tarn_out_number(&out, 1);
  assert_false(tarn_out_flush(&out));
  assert_int_equal(tarn_out_end(&out), TARN_ENOMEM);
  assert_int_equal(taken.calls, 0);
}
#endif

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(numbers_are_written_whatever_the_locale),
    cmocka_unit_test(strings_of_json_are_well_formed_whatever_the_text),
    cmocka_unit_test(what_does_not_fit_the_buffer_comes_in_order),
    cmocka_unit_test(the_first_refusal_ends_the_writing_and_is_reported),
    cmocka_unit_test(files_are_their_owners_and_written_over_or_appended_to),
    cmocka_unit_test(what_standard_output_goes_to_is_gone_on_with),
    cmocka_unit_test(an_end_is_for_files_of_our_own),
    cmocka_unit_test(a_link_is_no_file_whatever_it_leads_to),
    cmocka_unit_test(a_new_file_is_made_though_the_name_is_taken),
    cmocka_unit_test(a_file_that_may_not_grow_is_an_error_and_not_the_end),
    cmocka_unit_test(patterns_become_paths_that_fit_or_none),
#if TARN_FAULTS
    cmocka_unit_test(without_memory_nothing_is_written_and_the_status_says_so),
#endif
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
