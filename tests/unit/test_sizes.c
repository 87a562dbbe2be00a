/* SPDX-License-Identifier: MIT */
/* Size classes: which block a request gets, what is lost by it, and how it lies. */
#include "support.h"

#include "heap/find.h"
#include "heap/local.h"
#include "heap/size_class.h"

/* --- the table ------------------------------------------------------------------------------- */

static void classes_grow_and_end_at_the_limit(void **unused) {
  (void)unused;
  assert_int_equal(tarn_class_size(0), TARN_BLOCK_MIN);
  for (unsigned i = 1; i < TARN_CLASS_COUNT; i++)
    assert_true(tarn_class_size(i) > tarn_class_size(i - 1));
  assert_int_equal(tarn_class_size(TARN_CLASS_COUNT - 1), TARN_LARGE_LIMIT);
}

static void classes_are_those_of_the_manual(void **unused) {
  unsigned next = 0;
  (void)unused;
  for (size_t size = 16; size <= 128; size += 8)
    assert_int_equal(tarn_class_size(next++), size);
  for (size_t from = 128; from < TARN_LARGE_LIMIT; from *= 2)
    for (size_t eighth = 1; eighth <= 8; eighth++)
      assert_int_equal(tarn_class_size(next++), from + eighth * from / 8);
  assert_int_equal(next, TARN_CLASS_COUNT);
}

static void a_class_size_gets_its_own_class(void **unused) {
  (void)unused;
  for (unsigned i = 0; i < TARN_CLASS_COUNT; i++)
    assert_int_equal(tarn_class_of(tarn_class_size(i)), i);
}

static void every_request_gets_the_smallest_class_that_holds_it(void **unused) {
  (void)unused;
  for (size_t size = 0; size <= TARN_LARGE_LIMIT; size++) {
    unsigned size_class = tarn_class_of(size);
    assert_true(size_class < TARN_CLASS_COUNT);
    assert_true(tarn_class_size(size_class) >= size);
    assert_true(size_class == 0 || tarn_class_size(size_class - 1) < size);
  }
}

static void rounding_loses_at_most_an_eighth_beyond_rounding_to_words(void **unused) {
  (void)unused;
  for (size_t size = 9; size <= TARN_LARGE_LIMIT; size++) {
    size_t words = (size + 7) & ~(size_t)7;
    size_t block = tarn_class_size(tarn_class_of(size));
    assert_true(words >= 16 ? (block - words) * 8 <= block : block == TARN_BLOCK_MIN);
  }
}

static void the_reciprocal_knows_the_multiples_of_the_size(void **unused) {
  (void)unused;
  for (unsigned i = 0; i < TARN_CLASS_COUNT; i++) {
    size_t size = tarn_class_size(i);
    uint64_t map = tarn_map_make(16383, TARN_KIND_CONTAINER, TARN_FORM_POOL, true, size,
                                 tarn_reciprocal(size));
    for (size_t offset = 0; offset < TARN_UNIT_SIZE; offset++)
      assert_int_equal(tarn_starts_block(map, 5 * TARN_UNIT_SIZE + offset), offset % size == 0);
  }
  /* A large object has the number of its units there; the first 16 bytes share the mark byte. */
  for (uint32_t units = 1; units < 1u << 24; units += units / 8 + 1) {
    uint64_t map = tarn_map_make(1, TARN_KIND_CONTAINER, TARN_FORM_LARGE, false, 0, units);
    assert_true(tarn_starts_block(map, 5 * TARN_UNIT_SIZE));
    assert_false(tarn_starts_block(map, 5 * TARN_UNIT_SIZE + 8));
  }
}

static void the_reciprocal_divides_every_offset_exactly(void **unused) {
  (void)unused;
  for (unsigned i = 0; i < TARN_CLASS_COUNT; i++) {
    size_t size = tarn_class_size(i);
    uint64_t map = tarn_map_make(16383, TARN_KIND_CONTAINER, TARN_FORM_POOL, true, size,
                                 tarn_reciprocal(size));
    for (size_t offset = 0; offset < TARN_UNIT_SIZE; offset++)
      if (tarn_block_index(map, offset) != offset / size)
        fail_msg("offset %zu of blocks of %zu bytes", offset, size);
  }
}

static void a_map_word_gives_back_what_it_was_made_of(void **unused) {
  (void)unused;
  const unsigned worlds[] = {1, 2, 8191, 16383};
  for (unsigned i = 0; i < TARN_CLASS_COUNT; i++)
    for (unsigned bits = 0; bits < 4 * 4 * 3 * 2; bits++) {
      unsigned world = worlds[bits & 3];
      tarn_kind kind = (tarn_kind)(bits >> 2 & 3);
      tarn_form form = (tarn_form)(bits / 16 % 3);
      bool resource = bits / 48;
      uint64_t map =
          tarn_map_make(world, kind, form, resource, tarn_class_size(i), UINT32_MAX - bits);
      assert_int_equal(tarn_map_world(map), world);
      assert_int_equal(tarn_map_kind(map), kind);
      assert_int_equal(tarn_map_form(map), form);
      assert_int_equal(tarn_map_resource(map), resource);
      assert_int_equal(tarn_map_block_size(map), tarn_class_size(i));
      assert_int_equal(tarn_map_low(map), UINT32_MAX - bits);
    }
}

static void the_tables_give_the_bins_of_the_classes_of_the_formula(void **unused) {
  (void)unused;
  for (size_t size = 0; size <= TARN_INLINE_MOST; size++) {
    assert_int_equal(tarn_bin_table[(size + 7) / 8],
                     TARN_BIN_OFFSET(TARN_FLAVOUR_RAW, tarn_class_of(size)));
    assert_int_equal(tarn_bin_table_16[(size + 15) / 16],
                     TARN_BIN_OFFSET(TARN_FLAVOUR_RAW, tarn_class_of((size + 15) & ~(size_t)15)));
  }
}

static void starts_of_blocks_are_told_from_all_other_offsets(void **unused) {
  (void)unused;
  for (unsigned i = 0; i < TARN_CLASS_COUNT; i++) {
    uint32_t size = (uint32_t)tarn_class_size(i), reciprocal = tarn_reciprocal(size);
    for (uint32_t offset = 0; offset < TARN_UNIT_SIZE; offset++)
      if (tarn_inline_is_start(offset, reciprocal) != (offset % size == 0))
        fail_msg("offset %u of blocks of %u bytes", offset, size);
  }
}

/* The class that an aligned request has to get; TARN_CLASS_COUNT: none holds it. */
static unsigned smallest_aligned_class(size_t alignment, size_t size) {
  unsigned i = 0;
  while (i < TARN_CLASS_COUNT && (tarn_class_size(i) < size || tarn_class_size(i) % alignment))
    i++;
  return i;
}

static void an_aligned_size_gets_the_smallest_class_that_is_aligned(void **unused) {
  (void)unused;
  for (size_t alignment = 1; alignment <= TARN_LARGE_LIMIT; alignment *= 2)
    for (size_t size = 0; size <= TARN_LARGE_LIMIT; size += size < 1500 ? 1 : 7) {
      size_t asked = tarn_aligned_size(alignment, size);
      assert_true(asked >= size && asked <= TARN_LARGE_LIMIT);
      if (tarn_class_of(asked) != smallest_aligned_class(alignment, size))
        fail_msg("%zu bytes at %zu are asked for as %zu", size, alignment, asked);
    }
}

static void an_aligned_size_beyond_the_classes_is_the_larger_of_both(void **unused) {
  (void)unused;
  for (size_t alignment = 16; alignment <= TARN_ALIGNMENT_MAX; alignment *= 2)
    for (size_t size = TARN_LARGE_LIMIT - 1; size < 4 * TARN_LARGE_LIMIT; size += 997)
      if (size > TARN_LARGE_LIMIT || alignment > TARN_LARGE_LIMIT)
        assert_int_equal(tarn_aligned_size(alignment, size), size > alignment ? size : alignment);
}

/* --- the public side ------------------------------------------------------------------------- */

static void good_sizes_are_classes_then_pages_then_themselves(void **unused) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  (void)unused;
  for (size_t size = 0; size <= TARN_LARGE_LIMIT; size++)
    assert_int_equal(tarn_good_size(size), tarn_class_size(tarn_class_of(size)));
  for (size_t size = TARN_LARGE_LIMIT + 1; size < 4 * TARN_LARGE_LIMIT; size += 61) {
    assert_true(tarn_good_size(size) >= size);
    assert_true(tarn_good_size(size) - size < page);
    assert_int_equal(tarn_good_size(size) % page, 0);
  }
  assert_int_equal(tarn_good_size(TARN_LARGE_LIMIT + 1), (TARN_LARGE_LIMIT / page + 1) * page);
  assert_int_equal(tarn_good_size(TARN_OBJECT_MAX), TARN_OBJECT_MAX);
  /* More than any object may have: nothing that has wrapped round. */
  assert_true(tarn_good_size(TARN_OBJECT_MAX + 1) > TARN_OBJECT_MAX);
  assert_true(tarn_good_size(SIZE_MAX) > TARN_OBJECT_MAX);
}

static void a_good_size_is_good_for_itself(void **unused) {
  (void)unused;
  for (size_t size = 0; size < 2 * TARN_LARGE_LIMIT; size++)
    assert_int_equal(tarn_good_size(tarn_good_size(size)), tarn_good_size(size));
}

static size_t alignment_of_class(size_t size) {
  size_t bit = size & (~size + 1);
  return bit < 4096 ? bit : 4096;
}

static void blocks_have_their_good_size_and_its_alignment(void **unused) {
  (void)unused;
  tarn_world *world = support_world("collect=off");
  tarn_thread *self = support_attach(world);
  tarn_heap *heap = tarn_world_heap(world, TARN_HEAP_ATOMIC);
  for (size_t size = 0; size <= TARN_LARGE_LIMIT + 20000; size += size < 300 ? 1 : 113) {
    for (int i = 0; i < 3; i++) {
      void *block = i ? tarn_alloc_atomic(self, size) : tarn_heap_alloc(self, heap, size);
      assert_non_null(block);
      size_t good = tarn_good_size(size);
      assert_int_equal(tarn_usable_size(world, block), good);
      size_t align = size > TARN_LARGE_LIMIT ? TARN_UNIT_SIZE : alignment_of_class(good);
      assert_int_equal((uintptr_t)block % align, 0);
      assert_true(support_is_filled(block, good, 0));
      memset(block, 0xa5, good); /* all of it is the caller's */
    }
  }
  support_verify(self);
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  support_end(world);
}

static void an_alignment_of_a_type_holds_for_every_object(void **unused) {
  (void)unused;
  tarn_world *world = support_world("collect=off");
  tarn_thread *self = support_attach(world);
  for (size_t align = 8; align <= 4096; align *= 2)
    for (size_t size = 16; size <= 40000; size = size * 3 / 2 + 8) {
      tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
      spec.name = "aligned";
      spec.size = size & ~(size_t)7;
      spec.align = align;
      const tarn_type *type = tarn_type_create(world, &spec, NULL);
      assert_non_null(type);
      for (int i = 0; i < 5; i++) {
        void *object = tarn_new(self, type);
        assert_non_null(object);
        assert_int_equal((uintptr_t)object % align, 0);
        assert_true(tarn_usable_size(world, object) >= spec.size);
      }
    }
  support_verify(self);
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  support_end(world);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(classes_grow_and_end_at_the_limit),
      cmocka_unit_test(classes_are_those_of_the_manual),
      cmocka_unit_test(a_class_size_gets_its_own_class),
      cmocka_unit_test(every_request_gets_the_smallest_class_that_holds_it),
      cmocka_unit_test(rounding_loses_at_most_an_eighth_beyond_rounding_to_words),
      cmocka_unit_test(the_reciprocal_knows_the_multiples_of_the_size),
      cmocka_unit_test(the_reciprocal_divides_every_offset_exactly),
      cmocka_unit_test(a_map_word_gives_back_what_it_was_made_of),
      cmocka_unit_test(the_tables_give_the_bins_of_the_classes_of_the_formula),
      cmocka_unit_test(starts_of_blocks_are_told_from_all_other_offsets),
      cmocka_unit_test(an_aligned_size_gets_the_smallest_class_that_is_aligned),
      cmocka_unit_test(an_aligned_size_beyond_the_classes_is_the_larger_of_both),
      cmocka_unit_test(good_sizes_are_classes_then_pages_then_themselves),
      cmocka_unit_test(a_good_size_is_good_for_itself),
      cmocka_unit_test(blocks_have_their_good_size_and_its_alignment),
      cmocka_unit_test(an_alignment_of_a_type_holds_for_every_object),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
