/* SPDX-License-Identifier: MIT */
/*
 * Memory from the system that grows.
 */
#include "os/os.h"
#include "support.h"
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

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(memory_that_grows_keeps_what_it_held_and_the_rest_is_zero),
      cmocka_unit_test(memory_that_cannot_grow_is_as_it_was),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
