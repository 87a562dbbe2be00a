/* SPDX-License-Identifier: MIT */
/*
 * Weak references: what they refer to, when they let go, and what happens to bad arguments.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "os/os.h"
#include <tarn/tarn.h>

/* ---- A world with one thread, and two types -------------------------------------------------- */

struct node {
  const tarn_type *type;
  void *left, *right; /* traced */
  uintptr_t id;       /* raw */
};

struct fixture {
  tarn_world *world;
  tarn_thread *self;
  const tarn_type *node;
  const tarn_type *array; /* of references */
};

static const tarn_type *make_array_type(tarn_world *world) {
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = "array";
  spec.size = 16;
  spec.element_size = sizeof(void *);
  spec.flags = TARN_TYPE_ELEMENTS_TRACED;
  return tarn_type_create(world, &spec, NULL);
}

static tarn_type_spec node_spec(void) {
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = "node";
  spec.size = sizeof(struct node);
  spec.slot_bits = 6;
  return spec;
}

/* Roots are what a test says; collections happen when it says so, and in zeal builds also between.
 * Those take time, so COUNT_OF makes numbers of objects smaller there. */
#define COUNT_OF(count) (TARN_ZEAL ? (count) / 20 : (count))
#define WHEN_TOLD (TARN_ZEAL ? "collect=1,zeal=50" : "collect=0")
#define WHEN_TOLD_SMALL_STACK \
  (TARN_ZEAL ? "collect=1,zeal=50,mark-stack=4K" : "collect=0,mark-stack=4K")

static void begin(struct fixture *f, const char *set) {
  tarn_options options = TARN_OPTIONS_INIT;
  options.set = set;
  options.lock = "collect,scan-stack,mark-stack,min-heap,zeal";
  assert_int_equal(tarn_world_create(&options, &f->world), TARN_OK);
  assert_int_equal(tarn_thread_attach(f->world, &f->self), TARN_OK);
  tarn_type_spec spec = node_spec();
  f->node = tarn_type_create(f->world, &spec, NULL);
  f->array = make_array_type(f->world);
  assert_non_null(f->node);
  assert_non_null(f->array);
}

static void end(struct fixture *f) {
  assert_int_equal(tarn_thread_detach(f->self), TARN_OK);
  assert_int_equal(tarn_world_destroy(f->world), TARN_OK);
}

static int set_up(void **state) {
  struct fixture *f = malloc(sizeof *f);
  begin(f, WHEN_TOLD);
  *state = f;
  return 0;
}

static int tear_down(void **state) {
  end(*state);
  free(*state);
  return 0;
}

static struct node *make(const struct fixture *f, uintptr_t id) {
  struct node *node = tarn_new(f->self, f->node);
  assert_non_null(node);
  node->id = id;
  return node;
}

static void **elements(void *array) { return (void **)array + 2; }

static void *make_array(const struct fixture *f, size_t count) {
  void *array = tarn_new_array(f->self, f->array, count);
  assert_non_null(array);
  return array;
}

static void collect(const struct fixture *f) {
  assert_int_equal(tarn_collect(f->self, TARN_GENERATION_FULL), TARN_OK);
}

/* ---- What a reference keeps ------------------------------------------------------------------ */

static void a_reference_gives_a_live_target_and_forgets_a_dead_one(void **state) {
  struct fixture *f = *state;
  void *live = make(f, 1), *dead = NULL, *to_live = NULL, *to_dead = NULL;
  TARN_FRAME(f->self, &live, &dead, &to_live, &to_dead);
  dead = make(f, 2);
  to_live = tarn_weak_new(f->self, live);
  to_dead = tarn_weak_new(f->self, dead);
  assert_ptr_equal(tarn_weak_get(f->self, to_dead), dead);
  collect(f);
  assert_ptr_equal(tarn_weak_get(f->self, to_dead), dead);
  dead = NULL;
  collect(f);
  assert_null(tarn_weak_get(f->self, to_dead));
  assert_ptr_equal(tarn_weak_get(f->self, to_live), live);
  assert_int_equal(((struct node *)live)->id, 1);
}

static void a_reference_does_not_keep_what_only_it_refers_to(void **state) {
  struct fixture *f = *state;
  void *head = make(f, 1), *first = NULL, *second = NULL;
  TARN_FRAME(f->self, &head, &first, &second);
  ((struct node *)head)->left = make(f, 2);
  first = tarn_weak_new(f->self, head);
  second = tarn_weak_new(f->self, ((struct node *)head)->left);
  head = NULL;
  collect(f);
  assert_null(tarn_weak_get(f->self, first));
  assert_null(tarn_weak_get(f->self, second));
}

static void references_to_a_dead_cycle_are_cleared_together(void **state) {
  struct fixture *f = *state;
  void *a = make(f, 1), *b = NULL, *to_a = NULL, *to_b = NULL;
  TARN_FRAME(f->self, &a, &b, &to_a, &to_b);
  b = make(f, 2);
  ((struct node *)a)->left = b;
  ((struct node *)b)->left = a;
  to_a = tarn_weak_new(f->self, a);
  to_b = tarn_weak_new(f->self, b);
  a = NULL;
  collect(f);
  assert_ptr_equal(tarn_weak_get(f->self, to_b), b);
  assert_non_null(tarn_weak_get(f->self, to_a));
  b = NULL;
  collect(f);
  assert_null(tarn_weak_get(f->self, to_a));
  assert_null(tarn_weak_get(f->self, to_b));
}

static void targets_may_be_raw_large_leaf_or_weak(void **state) {
  struct fixture *f = *state;
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = "leaf";
  spec.size = 40;
  const tarn_type *leaf = tarn_type_create(f->world, &spec, NULL);
  void *targets = make_array(f, 4), *weak = NULL;
  TARN_FRAME(f->self, &targets, &weak);
  weak = make_array(f, 4);
  elements(targets)[0] = tarn_alloc_atomic(f->self, 48);
  elements(targets)[1] = make_array(f, 100000);
  elements(targets)[2] = tarn_new(f->self, leaf);
  elements(targets)[3] = tarn_weak_new(f->self, NULL);
  for (int i = 0; i < 4; i++) {
    assert_non_null(elements(targets)[i]);
    elements(weak)[i] = tarn_weak_new(f->self, elements(targets)[i]);
  }
  collect(f);
  for (int i = 0; i < 4; i++)
    assert_ptr_equal(tarn_weak_get(f->self, elements(weak)[i]), elements(targets)[i]);
  targets = NULL;
  collect(f);
  for (int i = 0; i < 4; i++)
    assert_null(tarn_weak_get(f->self, elements(weak)[i]));
}

static void a_target_outside_the_world_stays(void **state) {
  struct fixture *f = *state;
  static int outside;
  void *weak = tarn_weak_new(f->self, &outside);
  TARN_FRAME(f->self, &weak);
  collect(f);
  collect(f);
  assert_ptr_equal(tarn_weak_get(f->self, weak), &outside);
}

static void a_target_can_be_none_and_be_replaced(void **state) {
  struct fixture *f = *state;
  void *weak = tarn_weak_new(f->self, NULL), *a = NULL, *b = NULL;
  TARN_FRAME(f->self, &weak, &a, &b);
  assert_null(tarn_weak_get(f->self, weak));
  a = make(f, 1);
  b = make(f, 2);
  tarn_weak_set(f->self, weak, a);
  assert_ptr_equal(tarn_weak_get(f->self, weak), a);
  tarn_weak_set(f->self, weak, b);
  a = NULL;
  collect(f);
  assert_ptr_equal(tarn_weak_get(f->self, weak), b);
  tarn_weak_set(f->self, weak, NULL);
  assert_null(tarn_weak_get(f->self, weak));
}

static void a_target_freed_by_hand_is_gone_at_once(void **state) {
  struct fixture *f = *state;
  void *target = make(f, 1), *weak = NULL;
  TARN_FRAME(f->self, &weak);
  tarn_gc_hold(f->self);
  weak = tarn_weak_new(f->self, target);
  tarn_free(f->self, target);
  assert_null(tarn_weak_get(f->self, weak));
  tarn_gc_release(f->self);
  collect(f);
  assert_null(tarn_weak_get(f->self, weak));
}

static void a_reference_cleared_once_never_gives_a_new_object(void **state) {
  struct fixture *f = *state;
  enum { COUNT = 20000 };
  void *weak = make_array(f, COUNT);
  TARN_FRAME(f->self, &weak);
  for (uintptr_t i = 0; i < COUNT; i++)
    elements(weak)[i] = tarn_weak_new(f->self, make(f, i));
  collect(f);
  for (uintptr_t i = 0; i < COUNT; i++)
    (void)make(f, COUNT + i); /* in the same blocks */
  for (uintptr_t i = 0; i < COUNT; i++)
    assert_null(tarn_weak_get(f->self, elements(weak)[i]));
}

static void the_heap_that_goes_takes_references_to_it_along(void **state) {
  struct fixture *f = *state;
  tarn_heap *heap = NULL;
  assert_int_equal(tarn_heap_create(f->world, TARN_HEAP_CONTAINER, &heap), TARN_OK);
  tarn_type_spec spec = node_spec();
  spec.heap = heap;
  const tarn_type *type = tarn_type_create(f->world, &spec, NULL);
  void *goes = tarn_new(f->self, type), *stays = NULL, *weak = NULL, *other = NULL;
  void *ephemeron = NULL, *half = NULL;
  TARN_FRAME(f->self, &goes, &stays, &weak, &other, &ephemeron, &half);
  stays = make(f, 1);
  weak = tarn_weak_new(f->self, goes);
  other = tarn_weak_new(f->self, stays);
  ephemeron = tarn_ephemeron_new(f->self, goes, stays);
  half = tarn_ephemeron_new(f->self, stays, goes);
  goes = NULL;
  assert_int_equal(tarn_heap_destroy(f->self, heap), TARN_OK);
  assert_null(tarn_weak_get(f->self, weak));
  assert_ptr_equal(tarn_weak_get(f->self, other), stays);
  assert_null(tarn_ephemeron_key(f->self, ephemeron));
  assert_null(tarn_ephemeron_value(f->self, ephemeron));
  assert_ptr_equal(tarn_ephemeron_key(f->self, half), stays);
  assert_null(tarn_ephemeron_value(f->self, half));
}

static void tags_in_targets_do_not_count(void **state) {
  (void)state;
  struct fixture f;
  tarn_options options = TARN_OPTIONS_INIT;
  options.set = WHEN_TOLD;
  assert_int_equal(tarn_world_create(&options, &f.world), TARN_OK);
  assert_int_equal(tarn_world_set_tag_mask(f.world, 7), TARN_OK);
  assert_int_equal(tarn_thread_attach(f.world, &f.self), TARN_OK);
  tarn_type_spec spec = node_spec();
  f.node = tarn_type_create(f.world, &spec, NULL);
  void *target = make(&f, 1), *weak = NULL;
  {
    TARN_FRAME(f.self, &target, &weak);
    void *tagged = (char *)target + 3;
    weak = tarn_weak_new(f.self, tagged);
    collect(&f);
    assert_ptr_equal(tarn_weak_get(f.self, weak), tagged);
    target = NULL;
    collect(&f);
    assert_null(tarn_weak_get(f.self, weak));
  }
  end(&f);
}

static void cleared_references_are_counted(void **state) {
  struct fixture *f = *state;
  void *weak = make_array(f, 10), *keep = NULL;
  TARN_FRAME(f->self, &weak, &keep);
  keep = make_array(f, 10);
  for (uintptr_t i = 0; i < 10; i++) {
    elements(keep)[i] = make(f, i);
    elements(weak)[i] = tarn_weak_new(f->self, elements(keep)[i]);
  }
  tarn_stats before = {.struct_size = sizeof before}, after = before;
  assert_int_equal(tarn_stats_get(f->world, &before), TARN_OK);
  for (int i = 0; i < 7; i++)
    elements(keep)[i] = NULL;
  collect(f);
  assert_int_equal(tarn_stats_get(f->world, &after), TARN_OK);
  assert_int_equal(after.weak_cleared - before.weak_cleared, 7);
}

/* ---- A full mark stack ----------------------------------------------------------------------- */

static void nothing_is_lost_when_the_mark_stack_is_full(void **state) {
  (void)state;
  enum { COUNT = COUNT_OF(60000) };
  struct fixture f;
  begin(&f, WHEN_TOLD_SMALL_STACK);
  void *weak = make_array(&f, COUNT), *keep = NULL;
  {
    TARN_FRAME(f.self, &weak, &keep);
    keep = make_array(&f, COUNT);
    for (uintptr_t i = 0; i < COUNT; i++) {
      void *target = elements(keep)[i] = make(&f, i);
      elements(weak)[i] = tarn_weak_new(f.self, target);
    }
    for (int round = 0; round < 2; round++) {
      for (uintptr_t i = (uintptr_t)round; i < COUNT; i += 2)
        elements(keep)[i] = NULL;
      collect(&f);
      for (uintptr_t i = 0; i < COUNT; i++) {
        struct node *target = tarn_weak_get(f.self, elements(weak)[i]);
        assert_ptr_equal(target, elements(keep)[i]);
        if (target)
          assert_int_equal(target->id, i);
      }
    }
    tarn_stats stats = {.struct_size = sizeof stats};
    assert_int_equal(tarn_stats_get(f.world, &stats), TARN_OK);
    assert_true(stats.mark_overflows > 0);
  }
  end(&f);
}

/* ---- Bad arguments --------------------------------------------------------------------------- */

static void what_is_no_weak_reference_is_refused(void **state) {
  struct fixture *f = *state;
  int local = 0;
  void *node = make(f, 1), *weak = NULL, *ephemeron = NULL;
  TARN_FRAME(f->self, &node, &weak, &ephemeron);
  weak = tarn_weak_new(f->self, node);
  ephemeron = tarn_ephemeron_new(f->self, node, node);
  void *bad[] = {NULL, &local, node, (char *)weak + 8, (void *)(uintptr_t)0x1234, ephemeron};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    assert_null(tarn_weak_get(f->self, bad[i]));
    assert_int_equal(tarn_thread_status(f->self), TARN_EINVAL);
    tarn_weak_set(f->self, bad[i], node);
    assert_int_equal(tarn_thread_status(f->self), TARN_EINVAL);
    assert_false(tarn_is_weak(f->world, bad[i]));
    assert_int_equal(tarn_is_ephemeron(f->world, bad[i]), bad[i] == ephemeron);
  }
  assert_int_equal(((struct node *)node)->id, 1);
  assert_null(((struct node *)node)->left);
  assert_true(tarn_is_weak(f->world, weak));
  assert_false(tarn_is_weak(NULL, weak));
  assert_false(tarn_is_ephemeron(f->world, weak));
  assert_false(tarn_is_ephemeron(NULL, ephemeron));
  assert_ptr_equal(tarn_weak_get(f->self, weak), node);
}

static void no_thread_is_refused(void **state) {
  struct fixture *f = *state;
  void *weak = tarn_weak_new(f->self, NULL);
  assert_null(tarn_weak_new(NULL, NULL));
  assert_null(tarn_weak_get(NULL, weak));
  tarn_weak_set(NULL, weak, NULL);
  assert_null(tarn_ephemeron_new(NULL, weak, NULL));
}

struct foreign {
  struct fixture *f;
  void *weak;
  void *made, *got;
};

static void *use_foreign_handle(void *data) {
  struct foreign *foreign = data;
  foreign->made = tarn_weak_new(foreign->f->self, NULL);
  foreign->got = tarn_weak_get(foreign->f->self, foreign->weak);
  return NULL;
}

static void the_handle_of_another_thread_is_refused(void **state) {
  struct fixture *f = *state;
  void *node = make(f, 1);
  TARN_FRAME(f->self, &node);
  struct foreign foreign = {f, tarn_weak_new(f->self, node), &foreign, &foreign};
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, use_foreign_handle, &foreign), 0);
  assert_int_equal(pthread_join(thread, NULL), 0);
  assert_null(foreign.made);
  assert_null(foreign.got);
  assert_ptr_equal(tarn_weak_get(f->self, foreign.weak), node);
}

/* ---- Several threads ------------------------------------------------------------------------- */

enum { REFERENCES = 64, TURNS = 20000, THREADS = 3 };

struct shared {
  struct fixture *f;
  void *weak; /* an array of references, a root of the main thread */
  _Atomic unsigned wrong, seen;
};

/* Points references at fresh objects and reads them: whole, or nothing. */
static void *mix_set_and_get(void *data) {
  struct shared *shared = data;
  tarn_thread *self = NULL;
  if (tarn_thread_attach(shared->f->world, &self) != TARN_OK)
    return shared;
  for (unsigned i = 0; i < TURNS; i++) {
    void *weak = elements(shared->weak)[i * 7 % REFERENCES];
    struct node *made = tarn_new(self, shared->f->node);
    if (made) {
      made->id = (uintptr_t)made ^ 0x5a5a;
      tarn_weak_set(self, weak, made);
    }
    struct node *got = tarn_weak_get(self, elements(shared->weak)[i * 5 % REFERENCES]);
    if (got && (got->type != shared->f->node || got->id != ((uintptr_t)got ^ 0x5a5a)))
      atomic_fetch_add(&shared->wrong, 1);
    if (got)
      atomic_fetch_add(&shared->seen, 1);
    tarn_safepoint(self);
  }
  return tarn_thread_detach(self) == TARN_OK ? NULL : shared;
}

static void threads_see_a_whole_target_or_none_while_another_collects(void **state) {
  struct fixture *f = *state;
  struct shared shared = {.f = f};
  void *weak = make_array(f, REFERENCES);
  TARN_FRAME(f->self, &weak);
  for (int i = 0; i < REFERENCES; i++)
    elements(weak)[i] = tarn_weak_new(f->self, NULL);
  shared.weak = weak;
  pthread_t threads[THREADS];
  for (int i = 0; i < THREADS; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, mix_set_and_get, &shared), 0);
  for (int i = 0; i < 30; i++)
    collect(f);
  tarn_block_begin(f->self);
  for (int i = 0; i < THREADS; i++) {
    void *result = &shared;
    assert_int_equal(pthread_join(threads[i], &result), 0);
    assert_null(result);
  }
  tarn_block_end(f->self);
  assert_int_equal(shared.wrong, 0);
  assert_true(shared.seen > 0);
}

/* Many collections start inside the call, when the target is in no root of the caller. */
static void the_target_lives_while_its_reference_is_made(void **state) {
  (void)state;
  enum { BATCH = 4000, BATCHES = COUNT_OF(100) };
  struct fixture f;
  begin(&f, "collect=1,min-heap=64K");
  void *targets = make_array(&f, BATCH), *weak = NULL;
  {
    TARN_FRAME(f.self, &targets, &weak);
    weak = make_array(&f, BATCH);
    for (int batch = 0; batch < BATCHES; batch++) {
      for (uintptr_t i = 0; i < BATCH; i++) {
        struct node *target = make(&f, i);
        elements(weak)[i] = tarn_weak_new(f.self, target);
        elements(targets)[i] = target;
      }
      /* A target that was lost has been allocated again by now, and has another number. */
      for (uintptr_t i = 0; i < BATCH; i++) {
        struct node *target = tarn_weak_get(f.self, elements(weak)[i]);
        assert_ptr_equal(target, elements(targets)[i]);
        assert_int_equal(target->id, i);
      }
    }
    tarn_stats stats = {.struct_size = sizeof stats};
    assert_int_equal(tarn_stats_get(f.world, &stats), TARN_OK);
    assert_true(stats.collections >= 10);
  }
  end(&f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_reference_gives_a_live_target_and_forgets_a_dead_one),
      TEST(a_reference_does_not_keep_what_only_it_refers_to),
      TEST(references_to_a_dead_cycle_are_cleared_together),
      TEST(targets_may_be_raw_large_leaf_or_weak),
      TEST(a_target_outside_the_world_stays),
      TEST(a_target_can_be_none_and_be_replaced),
      TEST(a_target_freed_by_hand_is_gone_at_once),
      TEST(a_reference_cleared_once_never_gives_a_new_object),
      TEST(the_heap_that_goes_takes_references_to_it_along),
      TEST(cleared_references_are_counted),
      TEST(what_is_no_weak_reference_is_refused),
      TEST(no_thread_is_refused),
      TEST(the_handle_of_another_thread_is_refused),
      TEST(threads_see_a_whole_target_or_none_while_another_collects),
      cmocka_unit_test(the_target_lives_while_its_reference_is_made),
      cmocka_unit_test(tags_in_targets_do_not_count),
      cmocka_unit_test(nothing_is_lost_when_the_mark_stack_is_full),
  };
  return cmocka_run_group_tests_name("weak references", tests, NULL, NULL);
}
