/* SPDX-License-Identifier: MIT */
/*
 * Properties of type descriptions, of what they are compiled into, and of the objects made from
 * them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <tarn/tarn.h>

#include "cpu_time.h"
#include "heap/find.h"
#include "world/world.h"

static tarn_world *world;
static tarn_thread *self;

static int open_world(void **state) {
  (void)state;
  tarn_options options = TARN_OPTIONS_INIT;
  options.flags = TARN_OPTIONS_NO_ENVIRONMENT;
  return tarn_world_create(&options, &world) != TARN_OK ||
         tarn_thread_attach(world, &self) != TARN_OK;
}
static int close_world(void **state) {
  (void)state;
  return tarn_world_destroy(world) != TARN_OK;
}

static const tarn_type *make(const tarn_type_spec *spec) {
  tarn_status status = TARN_EINVAL;
  const tarn_type *type = tarn_type_create(world, spec, &status);
  assert_int_equal(status, TARN_OK);
  assert_non_null(type);
  return type;
}

static void refused(const tarn_type_spec *spec, tarn_status expected) {
  size_t types = tarn_type_count(world);
  tarn_status status = TARN_OK;
  assert_null(tarn_type_create(world, spec, &status));
  assert_int_equal(status, expected);
  assert_null(tarn_type_create(world, spec, NULL));
  assert_int_equal(tarn_type_count(world), types);
}

/* A good description of `size` bytes to spoil. */
static tarn_type_spec sized(size_t size) {
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.size = size;
  return spec;
}

static void trace_nothing(const void *object, tarn_visitor *visitor) {
  (void)object;
  (void)visitor;
}

static int freed;
static void count_free(tarn_world *in, void *object) {
  (void)in;
  (void)object;
  freed++;
}
static void count_free_by_ten(tarn_world *in, void *object) {
  (void)in;
  (void)object;
  freed += 10;
}

/* --- what is refused ------------------------------------------------------------------------- */

static void a_description_must_be_there_and_known(void **state) {
  (void)state;
  tarn_status status;
  tarn_type_spec spec = sized(16);
  assert_null(tarn_type_create(NULL, &spec, &status));
  assert_int_equal(status, TARN_EINVAL);
  assert_null(tarn_type_create(world, NULL, &status));
  assert_int_equal(status, TARN_EINVAL);
  spec.struct_size = 0;
  refused(&spec, TARN_EINVAL);
  struct {
    tarn_type_spec spec;
    uint64_t newer;
  } longer = {.spec = sized(16), .newer = 0};
  longer.spec.struct_size = sizeof longer;
  (void)make(&longer.spec);
  longer.newer = 1;
  refused(&longer.spec, TARN_EINVAL);
}

static void an_older_caller_gets_zero_for_what_it_does_not_know(void **state) {
  (void)state;
  tarn_type_spec spec = sized(24);
  spec.slot_bits = 2;
  spec.trace = trace_nothing;
  spec.free = count_free;
  spec.struct_size = offsetof(tarn_type_spec, trace);
  const tarn_type *type = make(&spec);
  assert_null(tarn_type_free(type));
  assert_int_equal(type->scan, TARN_SCAN_BITS);
}

static void sizes_must_fit(void **state) {
  (void)state;
  tarn_type_spec spec = sized(7);
  refused(&spec, TARN_ETYPE);
  spec = sized(0);
  refused(&spec, TARN_ETYPE);
  spec = sized(20);
  (void)make(&spec); /* nothing traced: any size */
  spec.slot_bits = 2;
  refused(&spec, TARN_ETYPE);
  spec = sized(20);
  spec.flags = TARN_TYPE_ALL_TRACED;
  refused(&spec, TARN_ETYPE);
  spec = sized((size_t)1 << 33);
  refused(&spec, TARN_ETYPE);
  spec = sized(16);
  spec.flags = 1u << 20;
  refused(&spec, TARN_ETYPE);
}

static void slots_must_lie_inside_and_not_on_other_words(void **state) {
  (void)state;
  const uint32_t at_end[] = {4}, on_type[] = {0}, high[] = {1, 100}, two[] = {2};
  tarn_type_spec spec = sized(32);
  spec.slot_count = 1;
  refused(&spec, TARN_ETYPE); /* no array */
  spec.slots = at_end;
  refused(&spec, TARN_ETYPE);
  spec.slots = on_type;
  refused(&spec, TARN_ETYPE);
  spec.slots = high;
  spec.slot_count = 2;
  refused(&spec, TARN_ETYPE);
  spec = sized(32);
  spec.slot_bits = 1;
  refused(&spec, TARN_ETYPE);
  spec.slot_bits = 16;
  refused(&spec, TARN_ETYPE);
  spec.slot_bits = 4;
  spec.element_size = 8;
  (void)make(&spec);
  spec.count_word = 2;
  refused(&spec, TARN_ETYPE); /* a slot on the count */
  spec.slot_bits = 0;
  spec.slots = two;
  spec.slot_count = 1;
  refused(&spec, TARN_ETYPE);
  spec.count_word = 4;
  refused(&spec, TARN_ETYPE); /* the count outside */
  spec = sized(32);
  spec.data_size = 16;
  spec.slot_bits = 2;
  refused(&spec, TARN_ETYPE); /* a slot on the data word, which is 1 */
  spec.data_word = 4;
  refused(&spec, TARN_ETYPE);
  spec.data_word = 2;
  (void)make(&spec);
  spec.element_size = 8;
  spec.count_word = 2;
  refused(&spec, TARN_ETYPE); /* count and data on one word */
}

static void parts_must_make_sense(void **state) {
  (void)state;
  const uint32_t one[] = {1};
  tarn_type_spec spec = sized(32);
  spec.flags = TARN_TYPE_ELEMENTS_TRACED;
  refused(&spec, TARN_ETYPE);
  spec.flags = TARN_TYPE_DATA_TRACED;
  refused(&spec, TARN_ETYPE);
  spec = sized(32);
  spec.count_word = 1;
  refused(&spec, TARN_ETYPE);
  spec = sized(32);
  spec.data_word = 1;
  refused(&spec, TARN_ETYPE);
  spec = sized(32);
  spec.element_size = 8;
  spec.element_slots = one;
  spec.element_slot_count = 1;
  refused(&spec, TARN_ETYPE); /* beyond the element */
  spec.element_size = 20;
  refused(&spec, TARN_ETYPE); /* not whole words */
  spec.element_size = 16;
  (void)make(&spec);
  spec.size = 20;
  refused(&spec, TARN_ETYPE); /* traced elements would not be aligned */
  spec = sized(8);
  spec.element_size = 8;
  refused(&spec, TARN_ETYPE); /* no room for the count */
  spec = sized(32);
  spec.data_size = 12;
  spec.flags = TARN_TYPE_DATA_TRACED;
  refused(&spec, TARN_ETYPE);
  spec.data_size = (size_t)1 << 32;
  refused(&spec, TARN_ETYPE);
}

static void alignments_are_powers_of_two_up_to_a_page(void **state) {
  (void)state;
  tarn_type_spec spec = sized(24);
  const size_t bad[] = {3, 12, 24, 8192, (size_t)1 << 63};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    spec.align = bad[i];
    refused(&spec, TARN_ETYPE);
  }
  for (size_t align = 1; align <= 4096; align *= 2)
    for (size_t size = 8; size <= 40000; size = size * 3 + 8) {
      spec = sized(size);
      spec.align = align;
      const tarn_type *type = make(&spec);
      for (int i = 0; i < 3; i++) {
        uintptr_t object = (uintptr_t)tarn_new(self, type);
        assert_int_not_equal(object, 0);
        assert_int_equal(object % align, 0);
      }
    }
}

static void heaps_must_be_of_the_right_kind_and_world(void **state) {
  (void)state;
  tarn_world *other = NULL;
  assert_int_equal(tarn_world_create(NULL, &other), TARN_OK);
  tarn_type_spec spec = sized(32);
  spec.heap = tarn_world_heap(other, TARN_HEAP_ATOMIC);
  refused(&spec, TARN_ETYPE);
  spec.heap = tarn_world_heap(world, TARN_HEAP_ATOMIC);
  assert_int_equal(make(&spec)->flavour, TARN_FLAVOUR_LEAF);
  spec.slot_bits = 2;
  refused(&spec, TARN_ETYPE);
  spec.slot_bits = 0;
  spec.data_size = 8;
  refused(&spec, TARN_ETYPE);
  spec.data_size = 0;
  spec.trace = trace_nothing;
  refused(&spec, TARN_ETYPE);
  spec.trace = NULL;
  spec.heap = tarn_world_heap(world, TARN_HEAP_CONTAINER);
  const tarn_type *type = make(&spec);
  assert_int_equal(type->flavour, TARN_FLAVOUR_CONTAINER);
  assert_int_equal(type->scan, TARN_SCAN_NONE);
  spec = sized(32);
  spec.parent = type;
  assert_ptr_equal(make(&spec)->heap, type->heap); /* an asked-for heap is inherited */
  assert_int_equal(tarn_world_destroy(other), TARN_OK);
}

/* --- what descriptions are compiled into ----------------------------------------------------- */

static void words_are_traced_as_said(void **state) {
  (void)state;
  const uint32_t slots[] = {70, 3, 64, 70, 63, 3, 99};
  tarn_type_spec spec = sized(100 * 8);
  spec.slots = slots;
  spec.slot_count = 7;
  spec.slot_bits = 2;
  const tarn_type *type = make(&spec);
  assert_int_equal(type->scan, TARN_SCAN_GENERAL);
  assert_int_equal(type->slots.bits, (uint64_t)1 << 63 | 1u << 3 | 2);
  assert_int_equal(type->slots.more_count, 3);
  assert_int_equal(type->slots.more[0], 64);
  assert_int_equal(type->slots.more[1], 70);
  assert_int_equal(type->slots.more[2], 99);
}

static void a_child_traces_the_far_words_of_its_parent_too(void **state) {
  (void)state;
  const uint32_t of_parent[] = {70, 64}, of_child[] = {199, 5, 70};
  tarn_type_spec spec = sized(100 * 8);
  spec.slots = of_parent;
  spec.slot_count = 2;
  const tarn_type *parent = make(&spec);
  spec = sized(200 * 8);
  spec.parent = parent;
  spec.slots = of_child;
  spec.slot_count = 3;
  const tarn_type *child = make(&spec);
  assert_int_equal(child->slots.bits, 1u << 5);
  assert_int_equal(child->slots.more_count, 3);
  assert_int_equal(child->slots.more[0], 64);
  assert_int_equal(child->slots.more[1], 70);
  assert_int_equal(child->slots.more[2], 199);
}

static void all_traced_spares_the_words_that_are_not_slots(void **state) {
  (void)state;
  tarn_type_spec spec = sized(70 * 8);
  spec.flags = TARN_TYPE_ALL_TRACED;
  spec.element_size = 4;
  spec.count_word = 65;
  spec.data_size = 8;
  spec.data_word = 2;
  const tarn_type *type = make(&spec);
  assert_int_equal(type->slots.bits, ~(uint64_t)5);
  assert_int_equal(type->slots.more_count, 5);
  const uint32_t expected[] = {64, 66, 67, 68, 69};
  assert_memory_equal(type->slots.more, expected, sizeof expected);
}

static void scans_and_flavours_follow_from_what_is_traced(void **state) {
  (void)state;
  const struct {
    size_t element_size, data_size;
    uint64_t bits;
    unsigned flags;
    tarn_trace_fn trace;
    tarn_scan scan;
    tarn_flavour flavour;
  } cases[] = {
      {0, 0, 0, 0, NULL, TARN_SCAN_NONE, TARN_FLAVOUR_LEAF},
      {0, 0, 4, 0, NULL, TARN_SCAN_BITS, TARN_FLAVOUR_CONTAINER},
      {8, 0, 0, 0, NULL, TARN_SCAN_NONE, TARN_FLAVOUR_LEAF},
      {8, 0, 4, 0, NULL, TARN_SCAN_BITS, TARN_FLAVOUR_CONTAINER},
      {8, 0, 0, TARN_TYPE_ELEMENTS_TRACED, NULL, TARN_SCAN_GENERAL, TARN_FLAVOUR_CONTAINER},
      {0, 8, 0, 0, NULL, TARN_SCAN_GENERAL, TARN_FLAVOUR_CONTAINER},
      {0, 8, 0, TARN_TYPE_DATA_TRACED, NULL, TARN_SCAN_GENERAL, TARN_FLAVOUR_CONTAINER},
      {0, 0, 0, 0, trace_nothing, TARN_SCAN_TRACE, TARN_FLAVOUR_CONTAINER},
      {8, 0, 0, 0, trace_nothing, TARN_SCAN_TRACE, TARN_FLAVOUR_CONTAINER},
      {0, 0, 4, 0, trace_nothing, TARN_SCAN_GENERAL, TARN_FLAVOUR_CONTAINER},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    for (int resource = 0; resource < 2; resource++) {
      tarn_type_spec spec = sized(32);
      spec.element_size = cases[i].element_size;
      spec.data_size = cases[i].data_size;
      spec.slot_bits = cases[i].bits;
      spec.flags = cases[i].flags;
      spec.trace = cases[i].trace;
      spec.free = resource ? count_free : NULL;
      const tarn_type *type = make(&spec);
      assert_int_equal(type->scan, cases[i].scan);
      assert_int_equal(type->flavour, (int)cases[i].flavour + resource);
      bool container = cases[i].flavour == TARN_FLAVOUR_CONTAINER;
      assert_ptr_equal(type->heap,
                       tarn_world_heap(world, container ? TARN_HEAP_CONTAINER : TARN_HEAP_ATOMIC));
    }
}

static void the_inlined_path_gets_a_bin_only_where_a_bump_is_enough(void **state) {
  (void)state;
  tarn_heap *heap = NULL;
  assert_int_equal(tarn_heap_create(world, TARN_HEAP_ATOMIC, &heap), TARN_OK);
  tarn_type_spec spec = sized(33);
  const tarn_type *type = make(&spec);
  assert_int_equal(type->head.bin, TARN_BIN_OFFSET(TARN_FLAVOUR_LEAF, tarn_class_of(33)));
  assert_int_equal(type->head.size, 40);
  spec.heap = heap;
  assert_int_equal(make(&spec)->head.bin, TARN_BIN_NEVER);
  spec = sized(40000);
  type = make(&spec);
  assert_int_equal(type->head.bin, TARN_BIN_NEVER);
  assert_int_not_equal(type->head.size, 0);
  assert_int_equal(type->size_class, 255);
  spec = sized(32);
  spec.data_size = 8;
  assert_int_equal(make(&spec)->head.bin, TARN_BIN_NEVER);
}

/* --- parents and children -------------------------------------------------------------------- */

static int print_five(const void *object, char *buffer, size_t size) {
  (void)object;
  return snprintf(buffer, size, "five");
}

static void a_child_starts_with_what_its_parent_has(void **state) {
  (void)state;
  tarn_type_spec spec = sized(24);
  spec.name = "parent";
  spec.slot_bits = 2;
  spec.align = 64;
  spec.trace = trace_nothing;
  spec.free = count_free;
  spec.print = print_five;
  spec.user = &spec;
  const tarn_type *parent = make(&spec);
  tarn_type_spec less = TARN_TYPE_SPEC_INIT;
  less.parent = parent;
  const tarn_type *child = make(&less);
  assert_string_equal(tarn_type_name(child), "anonymous");
  assert_int_equal(tarn_type_size(child), 24);
  assert_int_equal(child->slots.bits, 2);
  assert_int_equal(child->align, 64);
  assert_true(child->trace == trace_nothing && tarn_type_free(child) == count_free);
  assert_ptr_equal(tarn_type_user(child), &spec);
  assert_ptr_equal(tarn_type_parent(child), parent);
  less.size = 40;
  less.slot_bits = 16;
  less.free = count_free_by_ten;
  const tarn_type *larger = make(&less);
  assert_int_equal(larger->slots.bits, 18);
  assert_true(tarn_type_free(larger) == count_free_by_ten);
  less.size = 16;
  less.slot_bits = 0;
  refused(&less, TARN_ETYPE);
  less.parent = larger;
  less.size = 0;
  const tarn_type *grandchild = make(&less);
  assert_true(tarn_type_is_a(grandchild, parent) && tarn_type_is_a(grandchild, larger));
  assert_true(tarn_type_is_a(parent, parent));
  assert_false(tarn_type_is_a(grandchild, child) || tarn_type_is_a(parent, child));
  assert_false(tarn_type_is_a(NULL, parent) || tarn_type_is_a(parent, NULL));
}

static void a_child_keeps_its_parents_elements_and_data(void **state) {
  (void)state;
  tarn_type_spec spec = sized(32);
  spec.element_size = 16;
  spec.count_word = 3;
  spec.flags = TARN_TYPE_ELEMENTS_TRACED | TARN_TYPE_DATA_TRACED;
  spec.data_size = 48;
  const tarn_type *parent = make(&spec);
  tarn_type_spec less = TARN_TYPE_SPEC_INIT;
  less.parent = parent;
  less.size = 48;
  const tarn_type *child = make(&less);
  assert_true(child->is_array && child->element.all && child->data.all);
  assert_int_equal(child->count_word, 3);
  assert_int_equal(child->data_size, 48);
  void **object = tarn_new_array(self, child, 5);
  assert_int_equal(tarn_type_elements(child, object), 5);
  assert_non_null(object[1]);
  less.element_size = 8;
  refused(&less, TARN_ETYPE);
  less.element_size = 16;
  (void)make(&less);
  less.count_word = 2;
  refused(&less, TARN_ETYPE);
  less.count_word = 0;
  less.data_size = 8;
  refused(&less, TARN_ETYPE);
  less.data_size = 0;
  less.slot_bits = 1u << 3;
  refused(&less, TARN_ETYPE); /* the count that it inherits */
}

static void a_child_cannot_put_its_count_on_a_traced_word(void **state) {
  (void)state;
  tarn_type_spec spec = sized(32);
  spec.slot_bits = 2;
  tarn_type_spec less = TARN_TYPE_SPEC_INIT;
  less.parent = make(&spec);
  less.element_size = 8;
  refused(&less, TARN_ETYPE);
  less.count_word = 2;
  (void)make(&less);
}

static void a_parent_must_be_a_type_of_the_world(void **state) {
  (void)state;
  tarn_world *other = NULL;
  assert_int_equal(tarn_world_create(NULL, &other), TARN_OK);
  tarn_type_spec spec = sized(32);
  spec.parent = tarn_type_create(other, &spec, NULL);
  refused(&spec, TARN_ETYPE);
  spec.parent = world->types.weak;
  refused(&spec, TARN_ETYPE);
  assert_int_equal(tarn_world_destroy(other), TARN_OK);
}

/* --- objects --------------------------------------------------------------------------------- */

static void new_objects_are_typed_and_otherwise_zero(void **state) {
  (void)state;
  const size_t sizes[] = {8, 16, 24, 200, 32768, 32776, 300000};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    tarn_type_spec spec = sized(sizes[i]);
    spec.flags = sizes[i] > 8 ? TARN_TYPE_ALL_TRACED : 0;
    const tarn_type *type = make(&spec);
    for (int k = 0; k < 5; k++) {
      uintptr_t *object = k % 2 ? tarn_new(self, type) : tarn_new_outline(self, type);
      assert_ptr_equal(tarn_type_of(object), type);
      for (size_t word = 1; word < sizes[i] / 8; word++)
        assert_int_equal(object[word], 0);
    }
  }
}

static void arrays_have_their_count_and_their_room(void **state) {
  (void)state;
  tarn_type_spec spec = sized(24);
  spec.element_size = 3;
  spec.count_word = 2;
  const tarn_type *type = make(&spec);
  const size_t counts[] = {0, 1, 5, 1000, 100000};
  for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
    void *object = tarn_new_array(self, type, counts[i]);
    assert_non_null(object);
    assert_int_equal(tarn_type_elements(type, object), counts[i]);
    assert_true(tarn_usable_size(world, object) >= 24 + 3 * counts[i]);
    for (size_t at = 24; at < 24 + 3 * counts[i]; at++)
      assert_int_equal(((char *)object)[at], 0);
  }
  assert_int_equal(tarn_type_elements(type, tarn_new(self, type)), 0);
}

static void impossible_arrays_are_refused_with_a_status(void **state) {
  (void)state;
  tarn_type_spec spec = sized(24);
  const tarn_type *plain = make(&spec);
  spec.element_size = 16;
  const tarn_type *type = make(&spec);
  assert_null(tarn_new_array(self, plain, 1));
  assert_int_equal(tarn_thread_status(self), TARN_ETYPE);
  const size_t counts[] = {SIZE_MAX, SIZE_MAX / 16, SIZE_MAX / 16 + 1, TARN_OBJECT_MAX / 16};
  for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
    assert_null(tarn_new_array(self, type, counts[i]));
    assert_int_equal(tarn_thread_status(self), TARN_EOVERFLOW);
  }
  assert_null(tarn_new_array_outline(self, NULL, 1));
  assert_int_equal(tarn_thread_status(self), TARN_EINVAL);
  assert_null(tarn_new_array_outline(NULL, type, 1));
  assert_null(tarn_new_slow(self, NULL));
  assert_int_equal(tarn_thread_status(self), TARN_EINVAL);
  assert_null(tarn_new_outline(NULL, type));
}

static void types_of_another_world_make_no_objects(void **state) {
  (void)state;
  tarn_world *other = NULL;
  assert_int_equal(tarn_world_create(NULL, &other), TARN_OK);
  tarn_type_spec spec = sized(32);
  const tarn_type *type = tarn_type_create(other, &spec, NULL);
  assert_null(tarn_new_slow(self, type));
  assert_int_equal(tarn_thread_status(self), TARN_EINVAL);
  assert_int_equal(tarn_world_destroy(other), TARN_OK);
}

static void a_data_block_comes_and_goes_with_its_object(void **state) {
  (void)state;
  tarn_type_spec spec = sized(32);
  spec.data_size = 100;
  spec.data_word = 3;
  spec.free = count_free;
  const tarn_type *type = make(&spec);
  uintptr_t *object = tarn_new(self, type);
  char *data = (char *)object[3];
  assert_true(tarn_usable_size(world, data) >= 100);
  for (size_t i = 0; i < 100; i++)
    assert_int_equal(data[i], 0);
  assert_int_equal(object[1] | object[2], 0);
  struct tarn_place place;
  assert_true(tarn_find(world->store.id, (uintptr_t)data, false, &place));
  assert_int_equal(tarn_map_kind(place.map), TARN_KIND_RAW);
  freed = 0;
  tarn_free(self, object);
  assert_int_equal(freed, 1);
  assert_false(tarn_place_in_use(&place, world->store.epoch));
}

static void a_data_block_survives_collections_with_its_object(void **state) {
  (void)state;
  tarn_type_spec spec = sized(16);
  spec.data_size = 64;
  const tarn_type *type = make(&spec);
  uintptr_t *objects[100];
  void *const slots[] = {&objects[0], &objects[1], &objects[99]};
  tarn_frame frame;
  memset(objects, 0, sizeof objects);
  tarn_frame_push(self, &frame, slots, 3);
  for (int i = 0; i < 100; i++) {
    objects[i] = tarn_new(self, type);
    memset((void *)objects[i][1], i + 1, 64);
  }
  for (int round = 0; round < 3; round++) {
    assert_int_equal(tarn_collect(self, 2), TARN_OK);
    for (int i = 0; i < 2000; i++)
      (void)tarn_alloc_atomic(self, 64);
  }
  const int kept[] = {0, 1, 99};
  for (int i = 0; i < 3; i++)
    for (size_t k = 0; k < 64; k++)
      assert_int_equal(((char *)objects[kept[i]][1])[k], kept[i] + 1);
  tarn_frame_pop(self, &frame);
}

/* --- functions ------------------------------------------------------------------------------- */

static void free_functions_can_be_replaced_but_not_added(void **state) {
  (void)state;
  tarn_type_spec spec = sized(32);
  const tarn_type *without = make(&spec);
  assert_int_equal(tarn_type_set_free(without, count_free), TARN_ETYPE);
  assert_int_equal(tarn_type_set_free(without, NULL), TARN_OK);
  assert_int_equal(tarn_type_set_free(NULL, NULL), TARN_EINVAL);
  spec.free = count_free;
  const tarn_type *type = make(&spec);
  void *first = NULL, *second = NULL, *third = NULL;
  TARN_FRAME(self, &first, &second, &third); /* zeal builds collect between them */
  first = tarn_new(self, type);
  second = tarn_new(self, type);
  third = tarn_new(self, type);
  freed = 0;
  tarn_free(self, first);
  assert_int_equal(freed, 1);
  assert_int_equal(tarn_type_set_free(type, count_free_by_ten), TARN_OK);
  tarn_free(self, second); /* made before the change */
  assert_int_equal(freed, 11);
  assert_int_equal(tarn_type_set_free(type, NULL), TARN_OK);
  tarn_free(self, third);
  assert_int_equal(freed, 11);
  assert_int_equal(tarn_type_set_free(type, count_free), TARN_OK);
  assert_true(tarn_type_free(type) == count_free);
}

static void objects_print_as_their_type_says(void **state) {
  (void)state;
  char text[64], expected[64];
  tarn_type_spec spec = sized(16);
  spec.name = "pair";
  const tarn_type *type = make(&spec);
  void *object = tarn_new(self, type);
  (void)snprintf(expected, sizeof expected, "#<pair %p>", object);
  assert_int_equal(tarn_print(object, text, sizeof text), strlen(expected));
  assert_string_equal(text, expected);
  assert_int_equal(tarn_print(object, text, 4), strlen(expected));
  assert_string_equal(text, "#<p");
  assert_int_equal(tarn_type_set_print(type, print_five), TARN_OK);
  assert_int_equal(tarn_print(object, text, sizeof text), 4);
  assert_string_equal(text, "five");
  assert_int_equal(tarn_type_set_print(NULL, print_five), TARN_EINVAL);
  assert_true(tarn_print(NULL, text, sizeof text) > 0);
}

static void names_are_copied(void **state) {
  (void)state;
  char name[] = "before";
  tarn_type_spec spec = sized(16);
  spec.name = name;
  const tarn_type *type = make(&spec);
  name[0] = 'X';
  assert_string_equal(tarn_type_name(type), "before");
  assert_ptr_equal(tarn_type_world(type), world);
}

/* --- many, and at the same time -------------------------------------------------------------- */

#define MANY 20000

static void *make_many(void *data) {
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  uintptr_t failures = 0;
  spec.size = 32;
  spec.name = data;
  for (int i = 0; i < MANY; i++)
    failures += tarn_type_create(world, &spec, NULL) == NULL;
  return (void *)failures;
}

static void unattached_threads_make_types_while_others_walk_and_collect(void **state) {
  (void)state;
  static char names[3][4] = {"a", "b", "c"};
  pthread_t threads[3];
  size_t before = tarn_type_count(world);
  for (int i = 0; i < 3; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, make_many, names[i]), 0);
  size_t seen = 0;
  for (int i = 0; i < 20; i++) {
    const tarn_type *type;
    size_t count = 0;
    assert_int_equal(tarn_collect(self, 2), TARN_OK);
    tarn_rcu_read_lock();
    cds_list_for_each_entry_rcu(type, &world->types.list, node) {
      assert_true(tarn_type_is_good(type, world));
      count++;
    }
    tarn_rcu_read_unlock();
    assert_true(count >= seen);
    seen = count;
  }
  for (int i = 0; i < 3; i++) {
    void *failures = NULL;
    assert_int_equal(pthread_join(threads[i], &failures), 0);
    assert_null(failures);
  }
  assert_int_equal(tarn_type_count(world), before + 3 * MANY);
}

static void making_a_type_does_not_get_slower(void **state) {
  (void)state;
  uint64_t times[4];
  for (int i = 0; i < 4; i++) {
    uint64_t start = cpu_time();
    (void)make_many((void *)(uintptr_t) "many");
    times[i] = cpu_time() - start;
  }
  /* A search among the others would make the last round several times dearer than the first. */
  assert_true(times[3] < times[0] * 4 + 20000000u);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_description_must_be_there_and_known),
      TEST(an_older_caller_gets_zero_for_what_it_does_not_know),
      TEST(sizes_must_fit),
      TEST(slots_must_lie_inside_and_not_on_other_words),
      TEST(parts_must_make_sense),
      TEST(alignments_are_powers_of_two_up_to_a_page),
      TEST(heaps_must_be_of_the_right_kind_and_world),
      TEST(words_are_traced_as_said),
      TEST(a_child_traces_the_far_words_of_its_parent_too),
      TEST(all_traced_spares_the_words_that_are_not_slots),
      TEST(scans_and_flavours_follow_from_what_is_traced),
      TEST(the_inlined_path_gets_a_bin_only_where_a_bump_is_enough),
      TEST(a_child_starts_with_what_its_parent_has),
      TEST(a_child_keeps_its_parents_elements_and_data),
      TEST(a_child_cannot_put_its_count_on_a_traced_word),
      TEST(a_parent_must_be_a_type_of_the_world),
      TEST(new_objects_are_typed_and_otherwise_zero),
      TEST(arrays_have_their_count_and_their_room),
      TEST(impossible_arrays_are_refused_with_a_status),
      TEST(types_of_another_world_make_no_objects),
      TEST(a_data_block_comes_and_goes_with_its_object),
      TEST(a_data_block_survives_collections_with_its_object),
      TEST(free_functions_can_be_replaced_but_not_added),
      TEST(objects_print_as_their_type_says),
      TEST(names_are_copied),
      TEST(unattached_threads_make_types_while_others_walk_and_collect),
      TEST(making_a_type_does_not_get_slower),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
