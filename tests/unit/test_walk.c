/* SPDX-License-Identifier: MIT */
/*
 * tarn_heap_walk: it meets each block in use once and no other, says what each is, and ends when it
 * is told to.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <tarn/tarn.h>

#define MOST 20000

/* ---- A world, and a list of what should be in it
 * ------------------------------------------------- */

struct expected {
  void *block;
  size_t size; /* asked for */
  const tarn_type *type;
  tarn_heap *heap;
  unsigned met;
};

struct fixture {
  tarn_world *world;
  tarn_thread *self;
  tarn_heap *atomic, *container;
  const tarn_type *node, *leaf, *array;
  void *roots; /* an array object that refers to every block; not in `expected` */
  struct expected *expected;
  size_t count, strangers, met;
  size_t end_after; /* 0: never */
};

static const tarn_type *make_type(struct fixture *f, tarn_type_spec spec) {
  spec.struct_size = sizeof spec;
  const tarn_type *type = tarn_type_create(f->world, &spec, NULL);
  assert_non_null(type);
  return type;
}

static int set_up(void **state) {
  struct fixture *f = calloc(1, sizeof *f);
  tarn_options options = TARN_OPTIONS_INIT;
  options.set = "collect=0,scan-stack=0";
  options.lock = "all";
  f->expected = calloc(MOST, sizeof *f->expected);
  assert_int_equal(tarn_world_create(&options, &f->world), TARN_OK);
  assert_int_equal(tarn_thread_attach(f->world, &f->self), TARN_OK);
  f->atomic = tarn_world_heap(f->world, TARN_HEAP_ATOMIC);
  f->container = tarn_world_heap(f->world, TARN_HEAP_CONTAINER);
  f->node = make_type(f, (tarn_type_spec){.name = "node", .size = 40, .slot_bits = 2});
  f->leaf = make_type(f, (tarn_type_spec){.name = "leaf", .size = 24});
  f->array = make_type(
      f, (tarn_type_spec){
             .name = "array", .size = 16, .element_size = 8, .flags = TARN_TYPE_ELEMENTS_TRACED});
  assert_int_equal(tarn_root_add(f->world, &f->roots), TARN_OK);
  f->roots = tarn_new_array(f->self, f->array, MOST);
  assert_non_null(f->roots);
  *state = f;
  return 0;
}

static int tear_down(void **state) {
  struct fixture *f = *state;
  assert_int_equal(tarn_thread_detach(f->self), TARN_OK);
  assert_int_equal(tarn_world_destroy(f->world), TARN_OK);
  free(f->expected);
  free(f);
  return 0;
}

static void **root_of(struct fixture *f, size_t i) { return (void **)f->roots + 2 + i; }

static void expect_block(struct fixture *f, void *block, size_t size, const tarn_type *type,
                         tarn_heap *heap) {
  assert_non_null(block);
  assert_true(f->count < MOST);
  *root_of(f, f->count) = block;
  f->expected[f->count++] =
      (struct expected){.block = block, .size = size, .type = type, .heap = heap};
}

static void add_raw(struct fixture *f, size_t size) {
  expect_block(f, tarn_alloc_atomic(f->self, size), size, NULL, f->atomic);
}
static void add_node(struct fixture *f) {
  expect_block(f, tarn_new(f->self, f->node), 40, f->node, f->container);
}
static void add_leaf(struct fixture *f) {
  expect_block(f, tarn_new(f->self, f->leaf), 24, f->leaf, f->atomic);
}
static void add_array(struct fixture *f, size_t count) {
  expect_block(f, tarn_new_array(f->self, f->array, count), 16 + 8 * count, f->array, f->container);
}

static void add_some_of_all(struct fixture *f, unsigned count) {
  static const size_t sizes[] = {1, 16, 24, 200, 3000, 32768, 32769, 100000, 1 << 20};
  for (unsigned i = 0; i < count; i++) {
    add_node(f);
    add_leaf(f);
    add_array(f, i % 100);
    add_raw(f, sizes[i % 50 < 9 ? i % 50 : i % 4]);
  }
  add_array(f, 5000);
}

static int compare(const void *a, const void *b) {
  uintptr_t x = (uintptr_t)((const struct expected *)a)->block;
  uintptr_t y = (uintptr_t)((const struct expected *)b)->block;
  return x < y ? -1 : x > y;
}

/* Frees a block of the list; the last one takes its place. */
static void drop(struct fixture *f, size_t i, bool by_hand) {
  if (by_hand)
    tarn_free(f->self, f->expected[i].block);
  f->expected[i] = f->expected[--f->count];
  *root_of(f, i) = *root_of(f, f->count);
  *root_of(f, f->count) = NULL;
}

static void drop_every_third(struct fixture *f, bool by_hand) {
  for (size_t i = 0; i < f->count; i += 2)
    drop(f, i, by_hand);
}

static bool meet(const tarn_block_info *info, void *data) {
  struct fixture *f = data;
  struct expected key = {.block = info->block};
  f->met++;
  if (info->block != f->roots) {
    struct expected *found = bsearch(&key, f->expected, f->count, sizeof key, compare);
    bool good = found && found->type == info->type && found->heap == info->heap &&
                info->size == tarn_good_size(found->size) && !info->condemned &&
                info->large == (found->size > TARN_LARGE_LIMIT);
    if (found)
      found->met++;
    f->strangers += !good;
  }
  return f->end_after == 0 || f->met < f->end_after;
}

/* The roots' order changes with the sort: they are the same words in another order. */
static void walk(struct fixture *f) {
  qsort(f->expected, f->count, sizeof *f->expected, compare);
  for (size_t i = 0; i < f->count; i++) {
    *root_of(f, i) = f->expected[i].block;
    f->expected[i].met = 0;
  }
  f->met = f->strangers = 0;
  assert_int_equal(tarn_heap_walk(f->self, meet, f), TARN_OK);
}

static void expect_exactly(struct fixture *f) {
  walk(f);
  assert_int_equal(f->strangers, 0);
  for (size_t i = 0; i < f->count; i++)
    assert_int_equal(f->expected[i].met, 1);
  assert_int_equal(f->met, f->count + 1);
}

static void collect(struct fixture *f) {
  assert_int_equal(tarn_collect(f->self, TARN_GENERATION_FULL), TARN_OK);
}

/* ---- Which blocks are met
 * ------------------------------------------------------------------------ */

static void a_walk_meets_each_block_once_and_no_other(void **state) {
  struct fixture *f = *state;
  expect_exactly(f);
  add_some_of_all(f, 1);
  expect_exactly(f);
  add_some_of_all(f, 3000);
  expect_exactly(f);
}

static void blocks_that_were_freed_are_not_met(void **state) {
  struct fixture *f = *state;
  add_some_of_all(f, 1000);
  drop_every_third(f, true);
  expect_exactly(f);
  add_some_of_all(f, 500);
  expect_exactly(f);
}

static void garbage_is_met_until_it_is_found(void **state) {
  struct fixture *f = *state;
  add_some_of_all(f, 1000);
  size_t all = f->count + 1;
  drop_every_third(f, false);
  walk(f);
  assert_int_equal(f->met, all);
  collect(f);
  expect_exactly(f);
}

static void unused_rests_of_runs_are_not_met(void **state) {
  struct fixture *f = *state;
  for (int round = 0; round < 30; round++) {
    add_raw(f, 48);
    add_raw(f, 48);
    add_leaf(f);
    add_node(f);
    expect_exactly(f); /* each bin has the rest of a piece, fresh ones and swept ones */
    if (round % 3 == 0) {
      drop(f, (size_t)round, false);
      collect(f);
      expect_exactly(f);
    } else {
      drop(f, (size_t)round, true);
    }
  }
}

static void walks_are_right_between_many_collections(void **state) {
  struct fixture *f = *state;
  for (int round = 0; round < 6; round++) {
    add_some_of_all(f, 300);
    expect_exactly(f);
    drop_every_third(f, round % 2 == 0);
    collect(f);
    expect_exactly(f);
    drop_every_third(f, true); /* blocks that the sweep has not come to */
    expect_exactly(f);
  }
}

static void blocks_of_other_heaps_are_met(void **state) {
  struct fixture *f = *state;
  tarn_heap *heaps[2];
  assert_int_equal(tarn_heap_create(f->world, TARN_HEAP_ATOMIC, &heaps[0]), TARN_OK);
  assert_int_equal(tarn_heap_create(f->world, TARN_HEAP_CONTAINER, &heaps[1]), TARN_OK);
  const tarn_type *type = make_type(
      f, (tarn_type_spec){.name = "elsewhere", .size = 64, .slot_bits = 2, .heap = heaps[1]});
  size_t before = f->count;
  for (int i = 0; i < 100; i++) {
    expect_block(f, tarn_heap_alloc(f->self, heaps[0], 500), 500, NULL, heaps[0]);
    expect_block(f, tarn_new(f->self, type), 64, type, heaps[1]);
  }
  expect_block(f, tarn_heap_alloc(f->self, heaps[0], 50000), 50000, NULL, heaps[0]);
  expect_exactly(f);
  collect(f);
  expect_exactly(f);
  f->count = before;
  assert_int_equal(tarn_heap_destroy(f->self, heaps[0]), TARN_OK);
  assert_int_equal(tarn_heap_destroy(f->self, heaps[1]), TARN_OK);
  expect_exactly(f);
}

/* ---- Blocks that another thread freed
 * --------------------------------------------------------------- */

static void *free_all(void *data) {
  struct fixture *f = data;
  tarn_thread *self;
  if (tarn_thread_attach(f->world, &self) != TARN_OK)
    return "not attached";
  for (size_t i = 0; i < f->count; i++)
    tarn_free(self, f->expected[i].block);
  return tarn_thread_detach(self) == TARN_OK ? NULL : "not detached";
}

static void free_all_elsewhere(struct fixture *f) {
  pthread_t thread;
  void *result = "not run";
  assert_int_equal(pthread_create(&thread, NULL, free_all, f), 0);
  tarn_block_begin(f->self);
  (void)pthread_join(thread, &result);
  tarn_block_end(f->self);
  assert_null(result);
  for (size_t i = 0; i < f->count; i++)
    *root_of(f, i) = NULL;
  f->count = 0;
}

static void blocks_that_another_thread_freed_are_not_met(void **state) {
  struct fixture *f = *state;
  add_some_of_all(f, 300);
  free_all_elsewhere(f);
  expect_exactly(f);
}

static void survivors_that_another_thread_freed_are_not_met(void **state) {
  struct fixture *f = *state;
  add_some_of_all(f, 300);
  collect(f);
  free_all_elsewhere(f);
  expect_exactly(f);
}

/* ---- Condemned objects
 * -------------------------------------------------------------------------------- */

static struct fixture *walked;
static size_t condemned_met, condemned_most;
static bool count_condemned(const tarn_block_info *info, void *data) {
  (void)data;
  condemned_met += info->condemned;
  return true;
}
static void walk_about(tarn_world *world, void *object) {
  (void)world, (void)object;
  condemned_met = 0;
  assert_int_equal(tarn_heap_walk(walked->self, count_condemned, NULL), TARN_OK);
  condemned_most = condemned_met > condemned_most ? condemned_met : condemned_most;
}

static void condemned_objects_are_met_and_said_to_be(void **state) {
  struct fixture *f = *state;
  walked = f;
  condemned_most = 0;
  tarn_type_spec spec = {.name = "resource", .size = 32, .free = walk_about};
  const tarn_type *small = make_type(f, spec);
  spec.size = 40000;
  const tarn_type *large = make_type(f, spec);
  for (int i = 0; i < 10; i++)
    assert_non_null(tarn_new(f->self, small));
  assert_non_null(tarn_new(f->self, large));
  collect(f);
  assert_int_equal(condemned_most, 11);
  assert_int_equal(condemned_met, 1); /* the last one, while its function ran */
  expect_exactly(f);
}

/* ---- The call
 * ------------------------------------------------------------------------------------------- */

static void a_walk_ends_when_it_is_told_to(void **state) {
  struct fixture *f = *state;
  add_some_of_all(f, 100);
  for (size_t most = 1; most <= f->count + 1; most += most < 5 ? 1 : 37) {
    f->end_after = most;
    walk(f);
    assert_int_equal(f->met, most);
    assert_int_equal(f->strangers, 0);
  }
  f->end_after = 0;
  expect_exactly(f);
}

static void *walk_with_a_handle_of_another(void *data) {
  struct fixture *f = data;
  return tarn_heap_walk(f->self, meet, f) == TARN_EWRONGTHREAD ? NULL : "not refused";
}

static void bad_calls_are_refused(void **state) {
  struct fixture *f = *state;
  pthread_t thread;
  void *result = "not run";
  assert_int_equal(tarn_heap_walk(NULL, meet, f), TARN_EINVAL);
  assert_int_equal(tarn_heap_walk(f->self, NULL, f), TARN_EINVAL);
  tarn_gc_hold(f->self);
  assert_int_equal(tarn_heap_walk(f->self, meet, f), TARN_EHELD);
  tarn_gc_release(f->self);
  assert_int_equal(pthread_create(&thread, NULL, walk_with_a_handle_of_another, f), 0);
  assert_int_equal(pthread_join(thread, &result), 0);
  assert_null(result);
  tarn_thread *stale = f->self;
  assert_int_equal(tarn_thread_detach(f->self), TARN_OK);
  assert_int_equal(tarn_heap_walk(stale, meet, f), TARN_EDETACHED);
  assert_int_equal(tarn_thread_attach(f->world, &f->self), TARN_OK);
  assert_int_equal(f->met, 0);
}

#define IN_WORLD(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      IN_WORLD(a_walk_meets_each_block_once_and_no_other),
      IN_WORLD(blocks_that_were_freed_are_not_met),
      IN_WORLD(garbage_is_met_until_it_is_found),
      IN_WORLD(unused_rests_of_runs_are_not_met),
      IN_WORLD(walks_are_right_between_many_collections),
      IN_WORLD(blocks_of_other_heaps_are_met),
      IN_WORLD(blocks_that_another_thread_freed_are_not_met),
      IN_WORLD(survivors_that_another_thread_freed_are_not_met),
      IN_WORLD(condemned_objects_are_met_and_said_to_be),
      IN_WORLD(a_walk_ends_when_it_is_told_to),
      IN_WORLD(bad_calls_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
