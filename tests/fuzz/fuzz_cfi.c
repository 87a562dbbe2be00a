/* SPDX-License-Identifier: MIT */
/*
 * fuzz_cfi: any bytes as a module's tables for exceptions.
 *
 * The first two bytes say where .eh_frame_hdr begins, the next two for which place of code a rule
 * is wanted, the rest are the tables.  They lie in memory of exactly their size, so that a read
 * beyond them is seen.  Whatever they say, the rule must be one that os/unwind.c can keep.
 */
#include "fuzz.h"

#include "os/cfi.h"

#if TARN_UNWIND
static void check(const struct tarn_cfi_tables *tables, uintptr_t pc) {
  struct tarn_cfi_rule rule = tarn_cfi_rule_at(tables, pc);
  FUZZ_CHECK(rule.kind >= TARN_CFI_UNKNOWN && rule.kind <= TARN_CFI_MOVED);
  FUZZ_CHECK(rule.offset < TARN_CFI_OFFSET_MOST && rule.offset >= -TARN_CFI_OFFSET_MOST);
  FUZZ_CHECK(rule.rbp <= TARN_CFI_RBP_MOST && rule.rbp != 1);
  struct tarn_cfi_rule again = tarn_cfi_rule_at(tables, pc);
  FUZZ_CHECK(again.kind == rule.kind && again.offset == rule.offset && again.rbp == rule.rbp);
}
#endif

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
#if TARN_UNWIND
  struct fuzz_input input = {data, data + size};
  size_t header = fuzz_number(&input, 2), place = fuzz_number(&input, 2);
  size_t length = (size_t)(input.end - input.at);
  char *copy = malloc(length);
  FUZZ_CHECK(copy || length == 0);
  if (length)
    memcpy(copy, input.at, length);
  struct tarn_cfi_tables tables = {(uintptr_t)copy, (uintptr_t)copy + length,
                                   (uintptr_t)copy + header};
  check(&tables, tables.low + place);
  check(&tables, tables.low - place);
  free(copy);
#else
  (void)data, (void)size;
#endif
  return 0;
}
