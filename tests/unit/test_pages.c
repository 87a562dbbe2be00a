/* SPDX-License-Identifier: MIT */
/*
 * Memory from the system: growing, giving back, guards, and what happens when it refuses.
 */
#include "os/os.h"
#include "support.h"
#include <errno.h>
#include <string.h>

static void memory_that_grows_keeps_what_it_held_and_the_rest_is_zero(void **state) {
  (void)state;
  size_t page = tarn_os_page_size(), bytes = page;
  unsigned char *memory = tarn_os_map(bytes);
  assert_non_null(memory);
  memset(memory, 7, bytes);
  for (; bytes < 64 * page; bytes *= 2) {
    memory = tarn_os_remap(memory, bytes, bytes * 2);
    assert_non_null(memory);
    for (size_t i = 0; i < bytes * 2; i += page / 4)
      assert_int_equal(memory[i], i < page ? 7 : 0);
  }
  tarn_os_unmap(memory, bytes);
}

static void memory_that_cannot_grow_is_as_it_was(void **state) {
  (void)state;
  size_t page = tarn_os_page_size();
  unsigned char *memory = tarn_os_map(page);
  assert_non_null(memory);
  memset(memory, 7, page);
  assert_null(tarn_os_remap(memory, page, (size_t)1 << 60));
  for (size_t i = 0; i < page; i++)
    assert_int_equal(memory[i], 7);
  tarn_os_unmap(memory, page);
}

#if TARN_FAULTS
static char *three_pages(void) {
  size_t page = tarn_os_page_size();
  char *pages = tarn_os_map(3 * page);
  assert_non_null(pages);
  memset(pages, 'x', 3 * page);
  return pages;
}

static void memory_that_cannot_be_unmapped_goes_back_all_the_same(void **state) {
  (void)state;
  size_t page = tarn_os_page_size();
  char *pages = three_pages();
  tarn_os_fault_nth(TARN_FAULT_UNMAP, 1);
  errno = EXDEV;
  tarn_os_unmap(pages, 3 * page);
  assert_int_equal(errno, EXDEV);
  tarn_os_fault_nth(0, 0);
  assert_true(support_is_filled(pages, 3 * page, 0));
  tarn_os_unmap(pages, 3 * page);
}

static void a_guard_that_is_refused_changes_nothing(void **state) {
  (void)state;
  size_t page = tarn_os_page_size();
  char *pages = three_pages();
  for (int kind = TARN_GUARD_MARKED; kind <= TARN_GUARD_PROTECTED; kind++) {
    tarn_os_fault_nth(TARN_FAULT_GUARD, 1);
    assert_false(tarn_os_guard(pages + page, page, (tarn_guard_kind)kind));
    assert_true(support_is_filled(pages, 3 * page, 'x'));
  }
  tarn_os_fault_nth(0, 0);
  tarn_os_unmap(pages, 3 * page);
}

static void a_guard_that_cannot_be_lifted_gives_way_to_fresh_pages(void **state) {
  (void)state;
  size_t page = tarn_os_page_size();
  char *pages = three_pages();
  for (int kind = TARN_GUARD_MARKED; kind <= TARN_GUARD_PROTECTED; kind++) {
    if (!tarn_os_guard(pages + page, page, (tarn_guard_kind)kind))
      continue; /* an older system */
    tarn_os_fault_nth(TARN_FAULT_UNGUARD, 1);
    assert_true(tarn_os_unguard(pages + page, page, (tarn_guard_kind)kind));
    assert_int_equal(tarn_os_fault_count(), 1);
    assert_true(support_is_filled(pages, page, 'x'));
    assert_true(support_is_filled(pages + page, page, 0));
    assert_true(support_is_filled(pages + 2 * page, page, 'x'));
    memset(pages + page, 'x', page);
  }
  tarn_os_fault_nth(0, 0);
  tarn_os_unmap(pages, 3 * page);
}

static void advice_keeps_errno(void **state) {
  (void)state;
  size_t page = tarn_os_page_size();
  char *pages = three_pages();
  tarn_os_fault_kinds(TARN_FAULT_PURGE | TARN_FAULT_POPULATE | TARN_FAULT_HUGE);
  errno = EXDEV;
  assert_false(tarn_os_purge(pages, 3 * page));
  tarn_os_populate(pages, 3 * page);
  tarn_os_huge_pages(pages, 3 * page, true);
  tarn_os_huge_pages(pages, 3 * page, false);
  assert_int_equal(errno, EXDEV);
  tarn_os_fault_kinds(0);
  assert_true(support_is_filled(pages, 3 * page, 'x'));
  tarn_os_unmap(pages, 3 * page);
}

/* A program looks at errno after a blocked region, whose end may wait for a stop. */
static void waiting_and_waking_keep_errno(void **state) {
  (void)state;
  uint32_t word = 1;
  errno = EXDEV;
  tarn_os_wait(&word, 0, 0); /* the word is another one (EAGAIN) */
  assert_int_equal(errno, EXDEV);
  tarn_os_wait(&word, 1, 1000); /* nobody comes (ETIMEDOUT) */
  assert_int_equal(errno, EXDEV);
  tarn_os_fault_nth(TARN_FAULT_WAIT, 1);
  tarn_os_wait(&word, 1, 0); /* a signal comes (EINTR) */
  assert_int_equal(errno, EXDEV);
  tarn_os_fault_nth(0, 0);
  tarn_os_wake_all(NULL); /* as when the word's memory is gone (EFAULT) */
  tarn_os_wake_one(NULL);
  assert_int_equal(errno, EXDEV);
}
#endif

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(memory_that_grows_keeps_what_it_held_and_the_rest_is_zero),
    cmocka_unit_test(memory_that_cannot_grow_is_as_it_was),
#if TARN_FAULTS
    cmocka_unit_test(memory_that_cannot_be_unmapped_goes_back_all_the_same),
    cmocka_unit_test(a_guard_that_is_refused_changes_nothing),
    cmocka_unit_test(a_guard_that_cannot_be_lifted_gives_way_to_fresh_pages),
    cmocka_unit_test(advice_keeps_errno),
    cmocka_unit_test(waiting_and_waking_keep_errno),
#endif
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
