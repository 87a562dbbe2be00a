/* SPDX-License-Identifier: MIT */
/*
 * Properties of global slots and providers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdlib.h>
#include <tarn/tarn.h>

#include "world/world.h"

static tarn_world *world;
static tarn_thread *self;
static int deaths;

static void count_death(tarn_world *in, void *object) {
  (void)in;
  (void)object;
  deaths++;
}

static int open_world(void **state) {
  (void)state;
  tarn_options options = TARN_OPTIONS_INIT;
  options.flags = TARN_OPTIONS_NO_ENVIRONMENT;
  deaths = 0;
  return tarn_world_create(&options, &world) != TARN_OK ||
         tarn_thread_attach(world, &self) != TARN_OK;
}
static int close_world(void **state) {
  (void)state;
  return tarn_world_destroy(world) != TARN_OK;
}

static const tarn_type *mortal(void) {
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.size = 32;
  spec.slot_bits = 2;
  spec.free = count_death;
  return tarn_type_create(world, &spec, NULL);
}

/* How often each slot and provider is met in one pass. */
struct met {
  size_t slots, providers;
  void **first, **last; /* of the slots that are looked for */
};
static void meet_slot(void **slot, void *data) {
  struct met *met = data;
  if (!met->first || (slot >= met->first && slot < met->last))
    met->slots++;
}
static void meet_provider(tarn_root_fn fn, void *fn_data, void *data) {
  (void)fn;
  (void)fn_data;
  ((struct met *)data)->providers++;
}
static struct met meet(void) {
  struct met met = {0, 0, NULL, NULL};
  tarn_roots_each(world, meet_slot, meet_provider, &met);
  return met;
}

static void a_slot_keeps_its_object_until_it_is_removed_as_often_as_added(void **state) {
  (void)state;
  static void *slot;
  slot = tarn_new(self, mortal());
  assert_int_equal(tarn_root_add(world, &slot), TARN_OK);
  assert_int_equal(tarn_root_add(world, &slot), TARN_OK);
  assert_int_equal(meet().slots, 1);
  assert_int_equal(tarn_collect(self, 2), TARN_OK);
  assert_int_equal(tarn_root_remove(world, &slot), TARN_OK);
  assert_int_equal(tarn_collect(self, 2), TARN_OK);
  assert_int_equal(deaths, 0);
  assert_int_equal(tarn_root_remove(world, &slot), TARN_OK);
  assert_int_equal(tarn_root_remove(world, &slot), TARN_ENOTFOUND);
  assert_int_equal(meet().slots, 0);
  assert_int_equal(tarn_collect(self, 2), TARN_OK);
  assert_int_equal(deaths, 1);
}

static void a_slot_may_hold_anything(void **state) {
  (void)state;
  static void *slots[4];
  static int outside;
  slots[0] = NULL;
  slots[1] = (void *)(uintptr_t)1;
  slots[2] = &outside;
  slots[3] = (void *)UINTPTR_MAX;
  for (int i = 0; i < 4; i++)
    assert_int_equal(tarn_root_add(world, &slots[i]), TARN_OK);
  assert_int_equal(tarn_collect(self, 2), TARN_OK);
}

struct stack {
  void *words[3];
  int calls;
};
static void visit_stack(tarn_visitor *visitor, void *data) {
  struct stack *stack = data;
  stack->calls++;
  tarn_visit(visitor, stack->words[0]);
  tarn_visit_range(visitor, &stack->words[1], 2);
}

static void a_provider_keeps_what_it_visits_and_is_named_by_both_words(void **state) {
  (void)state;
  const tarn_type *type = mortal();
  struct stack one = {.calls = 0}, two = {.calls = 0};
  void *keep = NULL;
  TARN_FRAME(self, &keep);
  assert_int_equal(tarn_root_provider_add(world, visit_stack, &one), TARN_OK);
  assert_int_equal(tarn_root_provider_add(world, visit_stack, &two), TARN_OK);
  for (int i = 0; i < 3; i++) {
    one.words[i] = tarn_new(self, type);
    two.words[i] = tarn_new(self, type);
  }
  assert_int_equal(meet().providers, 2);
  one.calls = two.calls = 0; /* zeal builds have collected before */
  assert_int_equal(tarn_collect(self, 2), TARN_OK);
  assert_int_equal(deaths, 0);
  assert_int_equal(one.calls, 1);
  assert_int_equal(two.calls, 1);
  assert_int_equal(tarn_root_provider_remove(world, visit_stack, &one), TARN_OK);
  assert_int_equal(tarn_root_provider_remove(world, visit_stack, &one), TARN_ENOTFOUND);
  assert_int_equal(tarn_collect(self, 2), TARN_OK);
  assert_int_equal(deaths, 3);
  assert_int_equal(one.calls, 1);
  assert_int_equal(two.calls, 2);
  assert_int_equal(tarn_root_provider_remove(world, visit_stack, &two), TARN_OK);
}

static void bad_arguments_are_refused(void **state) {
  (void)state;
  void *slot = NULL;
  assert_int_equal(tarn_root_add(NULL, &slot), TARN_EINVAL);
  assert_int_equal(tarn_root_add(world, NULL), TARN_EINVAL);
  assert_int_equal(tarn_root_add(world, (void **)UINTPTR_MAX), TARN_EINVAL);
  assert_int_equal(tarn_root_remove(NULL, &slot), TARN_EINVAL);
  assert_int_equal(tarn_root_remove(world, NULL), TARN_EINVAL);
  assert_int_equal(tarn_root_remove(world, &slot), TARN_ENOTFOUND);
  assert_int_equal(tarn_root_provider_add(NULL, visit_stack, NULL), TARN_EINVAL);
  assert_int_equal(tarn_root_provider_add(world, NULL, NULL), TARN_EINVAL);
  assert_int_equal(tarn_root_provider_remove(world, NULL, NULL), TARN_EINVAL);
  assert_int_equal(tarn_root_provider_remove(world, visit_stack, NULL), TARN_ENOTFOUND);
}

#define SLOTS 5000

/* Against a plain array of counts. */
static void the_table_agrees_with_a_model(void **state) {
  (void)state;
  static void *slots[SLOTS];
  static unsigned counts[SLOTS];
  unsigned seed = 12345;
  size_t live = 0;
  for (int i = 0; i < 200000; i++) {
    seed = seed * 1103515245u + 12345u;
    unsigned at = (seed >> 8) % SLOTS;
    bool adds = (seed >> 24) % 16 < (i / 20000 % 2 ? 5u : 11u); /* grows and shrinks in turns */
    if (adds) {
      assert_int_equal(tarn_root_add(world, &slots[at]), TARN_OK);
      live += counts[at]++ == 0;
    } else if (counts[at] == 0) {
      assert_int_equal(tarn_root_remove(world, &slots[at]), TARN_ENOTFOUND);
    } else {
      assert_int_equal(tarn_root_remove(world, &slots[at]), TARN_OK);
      live -= --counts[at] == 0;
    }
    if (i % 5000 == 0)
      assert_int_equal(meet().slots, live);
  }
  assert_int_equal(meet().slots, live);
  assert_int_equal(world->roots.slots.count, live);
}

static void a_table_that_changes_but_does_not_grow_takes_no_more_memory(void **state) {
  (void)state;
  static void *slots[SLOTS];
  size_t highest = 0;
  for (int i = 0; i < 300000; i++) {
    void **slot = &slots[i % SLOTS];
    assert_int_equal(tarn_root_add(world, slot), TARN_OK);
    assert_int_equal(tarn_root_remove(world, slot), TARN_OK);
    if (world->roots.slots.capacity > highest)
      highest = world->roots.slots.capacity;
  }
  assert_int_equal(highest, 64);
}

static void *change_roots(void *data) {
  void **slots = data;
  uintptr_t failures = 0;
  for (int i = 0; i < 20000; i++) {
    failures += tarn_root_add(world, &slots[i % 100]) != TARN_OK;
    if (i >= 50)
      failures += tarn_root_remove(world, &slots[(i - 50) % 100]) != TARN_OK;
  }
  return (void *)failures;
}

static void unattached_threads_change_roots_while_others_collect(void **state) {
  (void)state;
  static void *slots[3][100];
  pthread_t threads[3];
  for (int i = 0; i < 3; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, change_roots, slots[i]), 0);
  for (int i = 0; i < 30; i++)
    assert_int_equal(tarn_collect(self, 2), TARN_OK);
  for (int i = 0; i < 3; i++) {
    void *failures = NULL;
    assert_int_equal(pthread_join(threads[i], &failures), 0);
    assert_null(failures);
  }
  assert_int_equal(world->roots.slots.count, 150);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_slot_keeps_its_object_until_it_is_removed_as_often_as_added),
      TEST(a_slot_may_hold_anything),
      TEST(a_provider_keeps_what_it_visits_and_is_named_by_both_words),
      TEST(bad_arguments_are_refused),
      TEST(the_table_agrees_with_a_model),
      TEST(a_table_that_changes_but_does_not_grow_takes_no_more_memory),
      TEST(unattached_threads_change_roots_while_others_collect),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
