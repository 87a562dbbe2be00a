/* SPDX-License-Identifier: MIT */
/*
 * Properties of `free` functions at awkward moments: each runs exactly once and sees its object and
 * data block whole, also when another function allocates, collects or lets objects die meanwhile.
 */
#include "support.h"
#include <stdatomic.h>

#define OBJECTS 400u

/* Outside the heap: what became of each object.  Words 2 and 3 of an object: its number, a check.
 */
static atomic_uint freed[OBJECTS];
static atomic_uint damaged;
static void *roots[OBJECTS];
static tarn_world *the_world;
static const tarn_type *filler;

struct thing {
  const tarn_type *type;
  uintptr_t *data;
  uintptr_t number;
  uintptr_t check;
};

#define DATA_WORDS 4u
static uintptr_t check_of(uintptr_t number) { return number * 0x9e3779b97f4a7c15u ^ 0x5eed; }

static void note(const struct thing *thing, bool has_data) {
  bool whole = thing->number < OBJECTS && thing->check == check_of(thing->number);
  for (unsigned i = 0; whole && has_data && i < DATA_WORDS; i++)
    whole = thing->data && thing->data[i] == check_of(thing->number) + i;
  if (!whole) {
    atomic_fetch_add(&damaged, 1);
    return;
  }
  atomic_fetch_add(&freed[thing->number], 1);
}

static void note_plain(tarn_world *world, void *object) {
  (void)world;
  note(object, false);
}

static void note_data(tarn_world *world, void *object) {
  (void)world;
  note(object, true);
}

/* Allocates enough for collections to come. */
static void allocate_much(tarn_world *world) {
  tarn_thread *self = tarn_thread_self(world);
  for (unsigned i = 0; i < 400; i++)
    (void)tarn_alloc_atomic(self, 1024);
}

static void note_and_allocate(tarn_world *world, void *object) {
  note(object, false);
  allocate_much(world);
}

static void note_data_and_collect(tarn_world *world, void *object) {
  note(object, true);
  (void)tarn_collect(tarn_thread_self(world), 2);
}

static const tarn_type *thing_type(tarn_free_fn fn, bool with_data) {
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = "thing";
  spec.size = sizeof(struct thing);
  spec.data_size = with_data ? DATA_WORDS * sizeof(uintptr_t) : 0;
  spec.free = fn;
  const tarn_type *type = tarn_type_create(the_world, &spec, NULL);
  assert_non_null(type);
  return type;
}

static void make(tarn_thread *self, const tarn_type *type, unsigned number, bool with_data) {
  struct thing *thing = tarn_new(self, type);
  assert_non_null(thing);
  thing->number = number;
  thing->check = check_of(number);
  for (unsigned i = 0; with_data && i < DATA_WORDS; i++)
    thing->data[i] = check_of(number) + i;
  roots[number] = thing;
}

static void open_world(const char *set) {
  the_world = support_world(set);
  memset(roots, 0, sizeof roots);
  for (unsigned i = 0; i < OBJECTS; i++) {
    atomic_store(&freed[i], 0);
    assert_int_equal(tarn_root_add(the_world, &roots[i]), TARN_OK);
  }
  atomic_store(&damaged, 0);
  filler = support_type(the_world, "filler", 32, 2, NULL);
}

static unsigned count_freed(unsigned first, unsigned end) {
  unsigned count = 0;
  for (unsigned i = first; i < end; i++) {
    assert_true(atomic_load(&freed[i]) <= 1);
    count += atomic_load(&freed[i]);
  }
  return count;
}

static void an_object_freed_by_hand_dies_once_though_its_function_collects(void **state) {
  (void)state;
  open_world("min-heap=64K");
  tarn_thread *self = support_attach(the_world);
  const tarn_type *type = thing_type(note_data_and_collect, true);
  for (unsigned i = 0; i < OBJECTS; i++)
    make(self, type, i, true);
  for (unsigned i = 0; i < OBJECTS; i++) {
    void *object = roots[i];
    roots[i] = NULL;
    tarn_free(self, object);
    assert_int_equal(atomic_load(&freed[i]), 1);
  }
  assert_int_equal(tarn_collect(self, 2), TARN_OK);
  assert_int_equal(count_freed(0, OBJECTS), OBJECTS);
  assert_int_equal(atomic_load(&damaged), 0);
  support_verify(self);
  support_end(the_world);
  assert_int_equal(count_freed(0, OBJECTS), OBJECTS);
}

static void a_large_object_freed_by_hand_dies_once_though_its_function_collects(void **state) {
  (void)state;
  open_world("min-heap=64K");
  tarn_thread *self = support_attach(the_world);
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = "large thing";
  spec.size = 100000;
  spec.free = note_and_allocate;
  const tarn_type *type = tarn_type_create(the_world, &spec, NULL);
  assert_non_null(type);
  for (unsigned i = 0; i < 20; i++)
    make(self, type, i, false);
  for (unsigned i = 0; i < 20; i++) {
    void *object = roots[i];
    roots[i] = NULL;
    tarn_free(self, object);
  }
  assert_int_equal(tarn_collect(self, 2), TARN_OK);
  assert_int_equal(count_freed(0, 20), 20);
  support_verify(self);
  support_end(the_world);
  assert_int_equal(count_freed(0, 20), 20);
  assert_int_equal(atomic_load(&damaged), 0);
}

/* The function of an object with a high number lets all with lower ones die, and collects. */
static void drop_the_others(tarn_world *world, void *object) {
  note(object, true);
  for (unsigned i = 0; i + 1 < OBJECTS; i++)
    roots[i] = NULL;
  (void)tarn_collect(tarn_thread_self(world), 2);
}

static void objects_that_die_behind_a_running_release_keep_their_data(void **state) {
  (void)state;
  open_world("collect=off");
  tarn_thread *self = support_attach(the_world);
  const tarn_type *type = thing_type(drop_the_others, true);
  for (unsigned i = 0; i < OBJECTS; i++)
    make(self, type, i, true);
  roots[OBJECTS - 1] = NULL; /* the last of the pool: the others lie behind it */
  assert_int_equal(tarn_collect(self, 2), TARN_OK);
  assert_int_equal(atomic_load(&freed[OBJECTS - 1]), 1);
  for (unsigned round = 0; round < 3; round++) {
    assert_int_equal(tarn_collect(self, 2), TARN_OK);
    for (unsigned i = 0; i < 5000; i++) { /* garbage that takes over what was freed too early */
      uintptr_t *block = tarn_alloc_atomic(self, DATA_WORDS * sizeof(uintptr_t));
      memset(block, 0x77, DATA_WORDS * sizeof(uintptr_t));
    }
  }
  assert_int_equal(atomic_load(&damaged), 0);
  assert_int_equal(count_freed(0, OBJECTS), OBJECTS);
  support_verify(self);
  support_end(the_world);
  assert_int_equal(count_freed(0, OBJECTS), OBJECTS);
}

static unsigned refusals;
static void detach_in_function(tarn_world *world, void *object) {
  (void)object;
  refusals += tarn_thread_detach(tarn_thread_self(world)) == TARN_EHELD;
}

static void no_thread_is_detached_inside_a_function_it_runs(void **state) {
  (void)state;
  tarn_world *world = support_world("collect=0");
  tarn_thread *self = support_attach(world);
  const tarn_type *type = support_type(world, "thing", 32, 2, detach_in_function);
  refusals = 0;
  tarn_free(self, tarn_new(self, type));
  assert_int_equal(refusals, 1);
  assert_non_null(tarn_new(self, type));
  assert_int_equal(tarn_collect(self, TARN_GENERATION_FULL), TARN_OK); /* which runs it, too */
  assert_int_equal(refusals, 2);
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  support_end(world);
}

static void the_end_of_a_world_frees_each_object_once_though_functions_allocate(void **state) {
  (void)state;
  open_world("min-heap=64K");
  tarn_thread *self = support_attach(the_world);
  const tarn_type *type = thing_type(note_and_allocate, false);
  for (unsigned i = 0; i < OBJECTS; i++)
    make(self, type, i, false);
  for (unsigned i = 0; i < OBJECTS; i += 2)
    roots[i] = NULL; /* half is garbage, half is still referred to */
  support_end(the_world);
  assert_int_equal(atomic_load(&damaged), 0);
  assert_int_equal(count_freed(0, OBJECTS), OBJECTS);
}

static void the_end_of_a_world_frees_large_objects_once_though_functions_allocate(void **state) {
  (void)state;
  open_world("min-heap=64K");
  tarn_thread *self = support_attach(the_world);
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = "large thing";
  spec.size = 70000;
  spec.free = note_and_allocate;
  const tarn_type *type = tarn_type_create(the_world, &spec, NULL);
  assert_non_null(type);
  for (unsigned i = 0; i < 60; i++)
    make(self, type, i, false);
  for (unsigned i = 0; i < 60; i += 2)
    roots[i] = NULL;
  support_end(the_world);
  assert_int_equal(atomic_load(&damaged), 0);
  assert_int_equal(count_freed(0, 60), 60);
}

static void functions_that_are_due_at_the_end_of_a_world_run_once(void **state) {
  (void)state;
  open_world("min-heap=256K");
  tarn_thread *self = support_attach(the_world);
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = "large thing";
  spec.size = 50000;
  spec.free = note_plain;
  const tarn_type *large = tarn_type_create(the_world, &spec, NULL);
  const tarn_type *small = thing_type(note_plain, false);
  assert_non_null(large);
  /* Collections come by themselves, inside allocations, where no function runs. */
  for (unsigned i = 0; i < OBJECTS; i++) {
    make(self, i % 4 ? small : large, i, false);
    if (i >= 20)
      roots[i - 20] = NULL;
  }
  assert_true(support_stats(the_world).release_pending > 0);
  support_end(the_world);
  assert_int_equal(count_freed(0, OBJECTS), OBJECTS);
  assert_int_equal(atomic_load(&damaged), 0);
}

static void a_heap_that_is_dropped_frees_each_object_once(void **state) {
  (void)state;
  open_world("min-heap=64K");
  tarn_thread *self = support_attach(the_world);
  tarn_heap *heap = NULL;
  assert_int_equal(tarn_heap_create(the_world, TARN_HEAP_CONTAINER, &heap), TARN_OK);
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = "thing of a heap";
  spec.size = sizeof(struct thing);
  spec.data_size = DATA_WORDS * sizeof(uintptr_t);
  spec.heap = heap;
  spec.free = note_data_and_collect;
  const tarn_type *type = tarn_type_create(the_world, &spec, NULL);
  assert_non_null(type);
  for (unsigned i = 0; i < OBJECTS; i++)
    make(self, type, i, true);
  for (unsigned i = 0; i < OBJECTS; i += 3)
    roots[i] = NULL;
  assert_int_equal(tarn_heap_destroy(self, heap), TARN_OK);
  assert_int_equal(atomic_load(&damaged), 0);
  assert_int_equal(count_freed(0, OBJECTS), OBJECTS);
  support_verify(self);
  assert_int_equal(tarn_collect(self, 2), TARN_OK);
  support_end(the_world);
  assert_int_equal(count_freed(0, OBJECTS), OBJECTS);
}

/* While one object's function runs in a thread, another thread drops the whole heap. */
static tarn_heap *shared_heap;
static atomic_int inside, go_on;

static void wait_inside(tarn_world *world, void *object) {
  note(object, false);
  if (((struct thing *)object)->number != OBJECTS - 1 || atomic_load(&go_on))
    return;
  tarn_thread *self = tarn_thread_self(world);
  atomic_store(&inside, 1);
  while (!atomic_load(&go_on)) {
    tarn_safepoint(self);
    (void)usleep(100);
  }
}

static void *collects(void *data) {
  (void)data;
  tarn_thread *self = support_attach(the_world);
  (void)tarn_collect(self, 2);
  (void)tarn_thread_detach(self);
  return NULL;
}

static void *lets_go(void *data) {
  (void)data;
  (void)usleep(100000); /* the dropper is past its first stop by then, or late: both are fine */
  atomic_store(&go_on, 1);
  return NULL;
}

static void a_heap_dropped_while_a_function_runs_in_it_frees_each_object_once(void **state) {
  (void)state;
  open_world("collect=off");
  tarn_thread *self = support_attach(the_world);
  assert_int_equal(tarn_heap_create(the_world, TARN_HEAP_CONTAINER, &shared_heap), TARN_OK);
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = "waiting thing";
  spec.size = sizeof(struct thing);
  spec.heap = shared_heap;
  spec.free = wait_inside;
  const tarn_type *type = tarn_type_create(the_world, &spec, NULL);
  assert_non_null(type);
  atomic_store(&inside, 0);
  atomic_store(&go_on, 0);
  for (unsigned i = 0; i < OBJECTS; i++)
    make(self, type, i, false);
  roots[OBJECTS - 1] = NULL;
  pthread_t collector, releaser;
  assert_int_equal(pthread_create(&collector, NULL, collects, NULL), 0);
  tarn_block_begin(self);
  while (!atomic_load(&inside))
    (void)usleep(100);
  tarn_block_end(self);
  assert_int_equal(pthread_create(&releaser, NULL, lets_go, NULL), 0);
  assert_int_equal(tarn_heap_destroy(self, shared_heap), TARN_OK);
  assert_int_equal(count_freed(0, OBJECTS), OBJECTS);
  assert_int_equal(atomic_load(&damaged), 0);
  tarn_block_begin(self);
  assert_int_equal(pthread_join(collector, NULL), 0);
  assert_int_equal(pthread_join(releaser, NULL), 0);
  tarn_block_end(self);
  support_verify(self);
  support_end(the_world);
}

static void functions_of_the_dead_wait_until_the_world_runs(void **state) {
  (void)state;
  open_world("collect=off");
  tarn_thread *self = support_attach(the_world);
  const tarn_type *type = thing_type(note_plain, false);
  const tarn_type *data = thing_type(note_data, true);
  for (unsigned i = 0; i < OBJECTS; i++)
    make(self, i % 2 ? type : data, i, i % 2 == 0);
  memset(roots, 0, sizeof roots);
  assert_int_equal(count_freed(0, OBJECTS), 0);
  assert_int_equal(tarn_collect(self, 2), TARN_OK);
  assert_int_equal(count_freed(0, OBJECTS), OBJECTS);
  assert_int_equal(atomic_load(&damaged), 0);
  tarn_stats stats = support_stats(the_world);
  assert_int_equal(stats.released, OBJECTS);
  assert_int_equal(stats.release_pending, 0);
  support_verify(self);
  support_end(the_world);
}

static unsigned finalized;
static void count_finalized(tarn_thread *self, void *object, void *data) {
  (void)self;
  (void)object;
  (void)data;
  finalized++;
}

/* There the thread is not waited for, so another could be collecting at the same time. */
static void nothing_is_collected_or_released_in_a_blocked_region(void **state) {
  (void)state;
  open_world("collect=off");
  tarn_thread *self = support_attach(the_world);
  const tarn_type *type = thing_type(note_plain, false);
  tarn_heap *heap = NULL;
  assert_int_equal(tarn_heap_create(the_world, TARN_HEAP_ATOMIC, &heap), TARN_OK);
  make(self, type, 0, false);
  assert_int_equal(tarn_finalizer_add(self, roots[0], count_finalized, NULL), TARN_OK);
  roots[0] = NULL;
  assert_int_equal(tarn_collect(self, 2), TARN_OK); /* its finalizer is due */
  make(self, type, 1, false);
  roots[1] = NULL;
  finalized = 0;
  tarn_block_begin(self);
  assert_int_equal(tarn_collect(self, 2), TARN_EUNBALANCED);
  assert_int_equal(tarn_heap_destroy(self, heap), TARN_EUNBALANCED);
  assert_int_equal(tarn_release_pending(self, 0), 0);
  assert_int_equal(tarn_finalizers_run(self, 0), 0);
  tarn_block_end(self);
  assert_int_equal(finalized, 0);
  assert_int_equal(support_stats(the_world).collections, 1);
  assert_int_equal(tarn_finalizers_run(self, 0), 1);
  assert_int_equal(tarn_collect(self, 2), TARN_OK);
  assert_int_equal(count_freed(0, 2), 2);
  assert_int_equal(tarn_heap_destroy(self, heap), TARN_OK);
  support_end(the_world);
}

static unsigned calls, depth, deepest;
static size_t allocate_near_the_limit(tarn_world *world, size_t limit, size_t in_use, void *data) {
  (void)limit;
  (void)in_use;
  (void)data;
  calls++;
  deepest = ++depth > deepest ? depth : deepest;
  if (depth < 6)
    (void)tarn_alloc_atomic(tarn_thread_self(world), MIB); /* does not fit: it collects */
  depth--;
  return 0;
}

static void the_near_limit_callback_is_not_called_inside_itself(void **state) {
  (void)state;
  calls = depth = deepest = 0;
  tarn_world *world = support_world("hard-limit=4M,near-limit=50,min-heap=1M");
  tarn_thread *self = support_attach(world);
  void *kept = tarn_alloc_atomic(self, 3600000);
  assert_non_null(kept);
  assert_int_equal(tarn_root_add(world, &kept), TARN_OK);
  assert_int_equal(tarn_world_set_near_limit(world, allocate_near_the_limit, NULL), TARN_OK);
  assert_int_equal(tarn_collect(self, 2), TARN_OK);
  assert_int_equal(deepest, 1);
  assert_int_equal(tarn_collect(self, 2), TARN_OK);
  assert_true(calls >= 2); /* but the next collection calls it again */
  support_end(world);
}

static void *attach_and_leave(void *data) {
  tarn_thread *self = NULL;
  if (tarn_thread_attach(data, &self) != TARN_OK)
    abort();
  atomic_store(&inside, 1);
  (void)tarn_alloc_atomic(self, 100);
  (void)tarn_thread_detach(self);
  return NULL;
}

/* Who gets TARN_EBUSY tries again; nobody needs to join threads for that. */
static void a_world_can_end_as_soon_as_the_last_thread_has_left(void **state) {
  (void)state;
  for (unsigned i = 0; i < 300; i++) {
    tarn_world *world = support_world("collect=off");
    pthread_t thread;
    atomic_store(&inside, 0);
    assert_int_equal(pthread_create(&thread, NULL, attach_and_leave, world), 0);
    while (!atomic_load(&inside)) {
    }
    tarn_status status;
    while ((status = tarn_world_destroy(world)) == TARN_EBUSY)
      (void)usleep(i % 20);
    assert_int_equal(status, TARN_OK);
    assert_int_equal(pthread_join(thread, NULL), 0);
  }
}

/* A finalizer belongs to the object that it was added to, not to the address. */
static void an_object_freed_by_hand_leaves_no_finalizer_to_its_successor(void **state) {
  (void)state;
  finalized = 0;
  the_world = support_world("collect=off");
  tarn_thread *self = support_attach(the_world);
  const tarn_type *type = support_type(the_world, "node", 48, 2, NULL);
  void *first = tarn_new(self, type);
  assert_int_equal(tarn_finalizer_add(self, first, count_finalized, NULL), TARN_OK);
  tarn_free(self, first);
  void *second = NULL;
  for (unsigned i = 0; i < 5000 && second != first; i++)
    second = tarn_new(self, type);
  assert_ptr_equal(second, first);
  assert_int_equal(tarn_collect(self, 2), TARN_OK);
  (void)tarn_finalizers_run(self, 0);
  assert_int_equal(finalized, 0);
  support_end(the_world);
}

int main(int count, char **arguments) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(functions_of_the_dead_wait_until_the_world_runs),
      cmocka_unit_test(an_object_freed_by_hand_dies_once_though_its_function_collects),
      cmocka_unit_test(a_large_object_freed_by_hand_dies_once_though_its_function_collects),
      cmocka_unit_test(objects_that_die_behind_a_running_release_keep_their_data),
      cmocka_unit_test(no_thread_is_detached_inside_a_function_it_runs),
      cmocka_unit_test(the_end_of_a_world_frees_each_object_once_though_functions_allocate),
      cmocka_unit_test(the_end_of_a_world_frees_large_objects_once_though_functions_allocate),
      cmocka_unit_test(functions_that_are_due_at_the_end_of_a_world_run_once),
      cmocka_unit_test(a_heap_that_is_dropped_frees_each_object_once),
      cmocka_unit_test(a_heap_dropped_while_a_function_runs_in_it_frees_each_object_once),
      cmocka_unit_test(nothing_is_collected_or_released_in_a_blocked_region),
      cmocka_unit_test(the_near_limit_callback_is_not_called_inside_itself),
      cmocka_unit_test(a_world_can_end_as_soon_as_the_last_thread_has_left),
      cmocka_unit_test(an_object_freed_by_hand_leaves_no_finalizer_to_its_successor),
  };
  if (count > 1)
    cmocka_set_test_filter(arguments[1]);
  support_plain_order();
  return cmocka_run_group_tests(tests, NULL, NULL);
}
