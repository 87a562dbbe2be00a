/* SPDX-License-Identifier: MIT */
/*
 * What a full collection that nobody asked for leaves to be swept: who sweeps it, what the heap
 * looks like meanwhile, and the collections of idle worlds.
 */
#include "support.h"

#include <time.h>

#include "collect/collector.h"
#include "heap/sweep.h"

#define OBJECTS ((size_t)60000)
#define KEPT 16u /* one of so many lives */

struct object {
  const tarn_type *type;
  struct object *left, *right;
  uintptr_t number;
};

struct fixture {
  tarn_world *world;
  tarn_thread *self;
  const tarn_type *small, *wide, *array;
  struct array {
    const tarn_type *type;
    size_t count;
    void *elements[];
  } * kept; /* a root */
};

static struct fixture begin(const char *set) {
  struct fixture f = {.world = support_world(set)};
  f.self = support_attach(f.world);
  f.small = support_type(f.world, "small", sizeof(struct object), 6, NULL);
  f.wide = support_type(f.world, "wide", 200, 6, NULL);
  f.array = support_array(f.world, NULL);
  return f;
}

/* The fixture's place is known by now. */
static void hold(struct fixture *f, size_t count) {
  assert_int_equal(tarn_root_add(f->world, (void **)&f->kept), TARN_OK);
  f->kept = tarn_new_array(f->self, f->array, count);
  assert_non_null(f->kept);
}

static void end(struct fixture *f) {
  support_verify(f->self);
  assert_int_equal(tarn_root_remove(f->world, (void **)&f->kept), TARN_OK);
  assert_int_equal(tarn_thread_detach(f->self), TARN_OK);
  support_end(f->world);
}

/* Objects of a type, of which one in `each` is kept, from number `first` on. */
static void fill(struct fixture *f, const tarn_type *type, size_t count, size_t each,
                 size_t first) {
  for (size_t i = 0; i < count; i++) {
    struct object *object = tarn_new(f->self, type);
    assert_non_null(object);
    object->number = i;
    if (each && i % each == 0)
      tarn_store(f->self, f->kept, &f->kept->elements[first + i / each], object);
  }
}

/* As an automatic collection: what it leaves is not swept when this returns. */
static void collect(struct fixture *f) {
  assert_int_equal(
      tarn_collector_run(f->world, tarn_mutator_of(f->self), TARN_GENERATION_FULL, false), TARN_OK);
}

static size_t left(struct fixture *f) { return tarn_sweep_left(&f->world->store); }
static size_t held(struct fixture *f) { return support_stats(f->world).heap_bytes; }

static bool count_block(const tarn_block_info *info, void *data) {
  (void)info;
  ++*(size_t *)data;
  return true;
}
static size_t blocks(struct fixture *f) {
  size_t count = 0;
  assert_int_equal(tarn_heap_walk(f->self, count_block, &count), TARN_OK);
  return count;
}

static void check_kept(struct fixture *f, size_t count, size_t each) {
  for (size_t i = 0; i < count / each; i++)
    assert_int_equal(((struct object *)f->kept->elements[i])->number, i * each);
}

/* --- the heap meanwhile ---------------------------------------------------------------------- */

static void unswept_pools_hold_what_lives_and_nothing_else(void **state) {
  (void)state;
  struct fixture f = begin("collect=0,sweeper=0,markers=1");
  hold(&f, OBJECTS / KEPT);
  fill(&f, f.small, OBJECTS, KEPT, 0);
  fill(&f, f.wide, 10000, 0, 0);
  collect(&f);
  size_t live = OBJECTS / KEPT + 1, pools = left(&f);
  assert_true(pools > 50);
  assert_int_equal(blocks(&f), live);
  assert_int_equal(support_stats(f.world).live_objects, live);
  support_verify(f.self);
  check_kept(&f, OBJECTS, KEPT);
  size_t before = held(&f);
  tarn_sweep_all(&f.world->store);
  assert_int_equal(left(&f), 0);
  assert_int_equal(blocks(&f), live);
  assert_int_equal(support_stats(f.world).live_objects, live);
  assert_true(held(&f) < before - 20 * TARN_UNIT_SIZE); /* the wide ones' pools, all dead */
  check_kept(&f, OBJECTS, KEPT);
  end(&f);
}

static void marks_of_young_collections_before_a_full_one_do_not_keep_alive(void **state) {
  (void)state;
  tarn_options options = TARN_OPTIONS_INIT;
  struct fixture f = {0};
  options.set = "collect=0,sweeper=0,markers=1";
  options.flags = TARN_OPTIONS_NO_ENVIRONMENT | TARN_OPTIONS_BARRIERS;
  assert_int_equal(tarn_world_create(&options, &f.world), TARN_OK);
  tarn_collect_disable(f.world);
  f.self = support_attach(f.world);
  f.small = support_type(f.world, "small", sizeof(struct object), 6, NULL);
  f.array = support_array(f.world, NULL);
  hold(&f, OBJECTS / KEPT);
  for (int round = 0; round < 3; round++) { /* both epochs */
    fill(&f, f.small, OBJECTS, KEPT, 0);
    assert_int_equal(tarn_collect(f.self, TARN_GENERATION_FULL), TARN_OK);
    fill(&f, f.small, OBJECTS, KEPT, 0);
    assert_int_equal(tarn_collect(f.self, 0), TARN_OK);
    fill(&f, f.small, OBJECTS, KEPT, 0); /* those that survived the last one die */
    collect(&f);
    assert_true(left(&f) > 0);
    assert_int_equal(blocks(&f), OBJECTS / KEPT + 1);
    support_verify(f.self);
    fill(&f, f.small, 100, 1, 0); /* young ones in pools that were swept, beside such */
    assert_int_equal(tarn_collect(f.self, 0), TARN_OK);
    assert_int_equal(left(&f), 0);
    for (size_t i = 0; i < 100; i++)
      assert_int_equal(((struct object *)f.kept->elements[i])->number, i);
    support_verify(f.self);
  }
  end(&f);
}

/* --- who sweeps ------------------------------------------------------------------------------ */

static void an_allocation_sweeps_pools_of_its_own_class_first(void **state) {
  (void)state;
  struct fixture f = begin("collect=0,sweeper=0");
  hold(&f, OBJECTS / KEPT);
  fill(&f, f.small, OBJECTS, KEPT, 0);
  fill(&f, f.wide, 10000, 0, 0);
  collect(&f);
  size_t before = held(&f), all = left(&f);
  fill(&f, f.small, 100, 0, 0);
  assert_int_equal(left(&f), all - 1);
  fill(&f, f.small, OBJECTS / 2, 0, 0);
  assert_true(left(&f) < all && left(&f) > 0);
  assert_true(held(&f) <= before);
  check_kept(&f, OBJECTS, KEPT);
  end(&f);
}

static void dead_pools_of_other_classes_are_used_before_the_heap_grows(void **state) {
  (void)state;
  struct fixture f = begin("collect=0,sweeper=0");
  hold(&f, 1);
  fill(&f, f.small, OBJECTS, 0, 0);
  collect(&f);
  size_t before = held(&f);
  fill(&f, f.wide, 5000, 0, 0); /* 16 pools, of some 30 that are dead */
  assert_true(held(&f) <= before + 2 * TARN_UNIT_SIZE);
  assert_non_null(tarn_alloc_atomic(f.self, 8 * TARN_UNIT_SIZE)); /* a large object, too */
  assert_true(held(&f) <= before + 2 * TARN_UNIT_SIZE);
  end(&f);
}

static void what_is_dead_is_found_before_the_limit_is_in_the_way(void **state) {
  (void)state;
  struct fixture f = begin("collect=0,sweeper=0,hard-limit=8M");
  hold(&f, 4 * OBJECTS / KEPT);
  fill(&f, f.small, 3 * OBJECTS, KEPT / 4 * 1000, 0); /* nearly all of it dead */
  collect(&f);
  uint64_t collections = support_stats(f.world).collections;
  assert_true(left(&f) > 50);
  assert_non_null(tarn_alloc_atomic(f.self, 5 * MIB));
  assert_int_equal(support_stats(f.world).collections, collections);
  end(&f);
}

static void a_request_sweeps_all_and_so_does_the_next_collection(void **state) {
  (void)state;
  struct fixture f = begin("collect=0,sweeper=0");
  hold(&f, OBJECTS / KEPT);
  fill(&f, f.small, OBJECTS, KEPT, 0);
  assert_int_equal(tarn_collect(f.self, TARN_GENERATION_FULL), TARN_OK);
  assert_int_equal(left(&f), 0);
  for (int i = 0; i < 4; i++) {
    collect(&f);
    assert_true(left(&f) > 0);
    assert_int_equal(blocks(&f), OBJECTS / KEPT + 1);
    check_kept(&f, OBJECTS, KEPT);
  }
  end(&f);
}

/* As the sweeper does it: the pool is on no list. */
static atomic_bool has_swept;
static void *sweep_slowly(void *data) {
  struct timespec nap = {.tv_nsec = 50000000};
  struct fixture *f = data;
  (void)nanosleep(&nap, NULL);
  atomic_store(&has_swept, true);
  atomic_fetch_sub(&f->world->store.unswept, 1);
  return NULL;
}

static void who_finds_no_memory_waits_for_what_others_sweep(void **state) {
  (void)state;
  struct fixture f = begin("collect=0,sweeper=0,hard-limit=8M");
  pthread_t thread;
  hold(&f, 1);
  collect(&f);
  tarn_sweep_all(&f.world->store);
  atomic_store(&has_swept, false);
  atomic_fetch_add(&f.world->store.unswept, 1);
  assert_int_equal(pthread_create(&thread, NULL, sweep_slowly, &f), 0);
  assert_null(tarn_alloc_atomic(f.self, 9 * MIB));
  assert_true(atomic_load(&has_swept));
  assert_int_equal(tarn_thread_status(f.self), TARN_ELIMIT);
  assert_int_equal(pthread_join(thread, NULL), 0);
  end(&f);
}

/* --- frees by hand --------------------------------------------------------------------------- */

static void *free_some(void *data) {
  struct fixture *f = data;
  tarn_thread *self;
  if (tarn_thread_attach(f->world, &self) != TARN_OK)
    abort();
  for (size_t i = 0; i < OBJECTS / KEPT; i += 2) {
    void *object = f->kept->elements[i];
    f->kept->elements[i] = NULL;
    tarn_free(self, object);
  }
  if (tarn_thread_detach(self) != TARN_OK)
    abort();
  return NULL;
}

static void what_is_freed_in_unswept_pools_comes_back(void **state) {
  (void)state;
  struct fixture f = begin("collect=0,sweeper=0,markers=1");
  hold(&f, OBJECTS / KEPT);
  fill(&f, f.small, OBJECTS, KEPT, 0);
  collect(&f);
  size_t all = left(&f), live = OBJECTS / KEPT + 1, freed = (OBJECTS / KEPT + 1) / 2;
  support_run(free_some, &f);
  assert_int_equal(left(&f), all);
  assert_int_equal(blocks(&f), live - freed);
  support_verify(f.self); /* parked ones among them */
  tarn_sweep_all(&f.world->store);
  support_verify(f.self);
  assert_int_equal(blocks(&f), live - freed);
  for (size_t i = 1; i < OBJECTS / KEPT; i += 2)
    assert_int_equal(((struct object *)f.kept->elements[i])->number, i * KEPT);
  /* Weakly held ones that were freed so are gone for the next collection. */
  collect(&f);
  void *weak = tarn_weak_new(f.self, f.kept->elements[1]);
  f.kept->elements[0] = weak;
  collect(&f);
  tarn_free(f.self, f.kept->elements[1]);
  f.kept->elements[1] = NULL;
  collect(&f);
  assert_null(tarn_weak_get(f.self, weak));
  end(&f);
}

/* --- the sweeper ----------------------------------------------------------------------------- */

static bool wait_until(bool (*is_so)(struct fixture *), struct fixture *f) {
  struct timespec nap = {.tv_nsec = 2000000};
  for (int i = 0; i < 5000 && !is_so(f); i++) {
    tarn_safepoint(f->self);
    (void)nanosleep(&nap, NULL);
  }
  return is_so(f);
}
static bool all_is_swept(struct fixture *f) { return left(f) == 0; }

static void the_sweeper_needs_nobody_to_allocate(void **state) {
  (void)state;
  struct fixture f = begin("collect=0,sweeper=1");
  if (f.world->config.detected_cpus < 2) {
    end(&f);
    support_skip("the sweeper is for more than one processor");
  }
  hold(&f, 4 * OBJECTS / KEPT);
  fill(&f, f.small, 4 * OBJECTS, KEPT, 0);
  fill(&f, f.wide, 10000, 0, 0);
  size_t before = held(&f);
  for (int i = 0; i < 3; i++) {
    collect(&f);
    assert_true(wait_until(all_is_swept, &f));
    assert_true(held(&f) < before);
    support_verify(f.self);
    check_kept(&f, 4 * OBJECTS, KEPT);
  }
  end(&f);
}

/* --- idle worlds ----------------------------------------------------------------------------- */

static bool has_collected(struct fixture *f) { return support_stats(f->world).collections != 0; }
static bool has_let_go(struct fixture *f) { return held(f) < 2 * MIB; }

static void an_idle_world_is_collected_once(void **state) {
  (void)state;
  if (SUPPORT_ZEAL)
    support_skip("zeal collects before the world is idle");
  struct fixture f = begin("min-heap=1G,idle-collect=30ms");
  hold(&f, 1);
  fill(&f, f.small, 4 * OBJECTS, 0, 0);
  tarn_block_begin(f.self);
  assert_true(wait_until(has_collected, &f));
  assert_true(wait_until(has_let_go, &f));
  struct timespec nap = {.tv_nsec = 200000000};
  (void)nanosleep(&nap, NULL);
  assert_int_equal(support_stats(f.world).collections, 1); /* nothing was allocated since */
  assert_int_equal(support_stats(f.world).collections_asked, 0);
  tarn_block_end(f.self);
  end(&f);
}

static void an_idle_collection_waits_for_nobody(void **state) {
  (void)state;
  if (SUPPORT_ZEAL)
    support_skip("zeal collects before the world is idle");
  struct fixture f = begin("min-heap=1G,idle-collect=20ms");
  hold(&f, 1);
  fill(&f, f.small, 4 * OBJECTS, 0, 0);
  struct timespec nap = {.tv_nsec = 300000000};
  (void)nanosleep(&nap, NULL); /* running, and at no safepoint */
  assert_int_equal(support_stats(f.world).collections, 0);
  assert_int_equal(support_stats(f.world).stops, 0);
  fill(&f, f.small, 100, 0, 0); /* nobody is in the way of who goes on */
  end(&f);
}

static void idle_collections_obey_who_switches_collection_off(void **state) {
  (void)state;
  if (SUPPORT_ZEAL)
    support_skip("zeal collects before the world is idle");
  struct timespec nap = {.tv_nsec = 200000000};
  static const char *const sets[] = {"min-heap=1G,idle-collect=0", "collect=0,idle-collect=20ms",
                                     "min-heap=1G,idle-collect=20ms"};
  for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
    struct fixture f = begin(sets[i]);
    if (i == 2)
      tarn_collect_disable(f.world);
    hold(&f, 1);
    fill(&f, f.small, 4 * OBJECTS, 0, 0);
    tarn_block_begin(f.self);
    (void)nanosleep(&nap, NULL);
    tarn_block_end(f.self);
    assert_int_equal(support_stats(f.world).collections, 0);
    end(&f);
  }
}

/* --- fork ------------------------------------------------------------------------------------ */

static void go_on_in_child(void *data) {
  struct fixture *f = data;
  char text[256] = "";
  CHILD_CHECK(tarn_verify(f->self, text, sizeof text) == TARN_OK);
  CHILD_CHECK(left(f) > 0);
  for (size_t i = 0; i < OBJECTS; i++)
    CHILD_CHECK(tarn_new(f->self, f->small) != NULL);
  CHILD_CHECK(tarn_collect(f->self, TARN_GENERATION_FULL) == TARN_OK);
  CHILD_CHECK(left(f) == 0);
  for (size_t i = 0; i < OBJECTS / KEPT; i++)
    CHILD_CHECK(((struct object *)f->kept->elements[i])->number == i * KEPT);
  CHILD_CHECK(tarn_verify(f->self, text, sizeof text) == TARN_OK);
}

static void the_child_of_a_fork_sweeps_what_was_left(void **state) {
  (void)state;
  struct fixture f = begin("collect=0,sweeper=0,idle-collect=0,purger=0,markers=1");
  hold(&f, OBJECTS / KEPT);
  fill(&f, f.small, OBJECTS, KEPT, 0);
  collect(&f);
  support_good_child(go_on_in_child, &f);
  check_kept(&f, OBJECTS, KEPT);
  end(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(unswept_pools_hold_what_lives_and_nothing_else),
      cmocka_unit_test(marks_of_young_collections_before_a_full_one_do_not_keep_alive),
      cmocka_unit_test(an_allocation_sweeps_pools_of_its_own_class_first),
      cmocka_unit_test(dead_pools_of_other_classes_are_used_before_the_heap_grows),
      cmocka_unit_test(what_is_dead_is_found_before_the_limit_is_in_the_way),
      cmocka_unit_test(a_request_sweeps_all_and_so_does_the_next_collection),
      cmocka_unit_test(who_finds_no_memory_waits_for_what_others_sweep),
      cmocka_unit_test(what_is_freed_in_unswept_pools_comes_back),
      cmocka_unit_test(the_sweeper_needs_nobody_to_allocate),
      cmocka_unit_test(an_idle_world_is_collected_once),
      cmocka_unit_test(an_idle_collection_waits_for_nobody),
      cmocka_unit_test(idle_collections_obey_who_switches_collection_off),
      cmocka_unit_test(the_child_of_a_fork_sweeps_what_was_left),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
