/* SPDX-License-Identifier: MIT */
/*
 * tarn_stats_get: what each figure counts, and callers that know a shorter or longer structure.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <tarn/tarn.h>

#include "world/world.h"

#define UNIT ((size_t)65536)

struct fixture {
  tarn_world *world;
  tarn_thread *self;
  const tarn_type *node;
  void *root;
};

static unsigned functions_run;
static void count_function(tarn_world *world, void *object) {
  (void)world, (void)object;
  functions_run++;
}

static int set_up(void **state) {
  struct fixture *f = calloc(1, sizeof *f);
  tarn_options options = TARN_OPTIONS_INIT;
  options.set = "collect=0,scan-stack=0";
  options.lock = "all";
  assert_int_equal(tarn_world_create(&options, &f->world), TARN_OK);
  assert_int_equal(tarn_thread_attach(f->world, &f->self), TARN_OK);
  assert_int_equal(tarn_thread_set_name(f->self, "main"), TARN_OK);
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = "node";
  spec.size = 64;
  spec.slot_bits = 2;
  f->node = tarn_type_create(f->world, &spec, NULL);
  assert_non_null(f->node);
  assert_int_equal(tarn_root_add(f->world, &f->root), TARN_OK);
  *state = f;
  return 0;
}

static int tear_down(void **state) {
  struct fixture *f = *state;
  assert_int_equal(tarn_thread_detach(f->self), TARN_OK);
  assert_int_equal(tarn_world_destroy(f->world), TARN_OK);
  free(f);
  return 0;
}

static tarn_stats stats_of(const struct fixture *f) {
  tarn_stats stats;
  memset(&stats, 0xaa, sizeof stats);
  stats.struct_size = sizeof stats;
  assert_int_equal(tarn_stats_get(f->world, &stats), TARN_OK);
  assert_int_equal(stats.struct_size, sizeof stats);
  return stats;
}

static void collect(struct fixture *f) {
  assert_int_equal(tarn_collect(f->self, TARN_GENERATION_FULL), TARN_OK);
}

static void add_nodes(struct fixture *f, unsigned count) {
  for (unsigned i = 0; i < count; i++) {
    void **node = tarn_new(f->self, f->node);
    assert_non_null(node);
    node[1] = f->root;
    f->root = node;
  }
}

/* ---- Versions of the structure
 * --------------------------------------------------------------------- */

static void an_older_caller_gets_what_it_knows_and_no_byte_more(void **state) {
  struct fixture *f = *state;
  add_nodes(f, 10);
  collect(f);
  tarn_stats whole = stats_of(f);
  for (size_t size = sizeof(size_t); size < sizeof(tarn_stats); size += 8) {
    union {
      tarn_stats stats;
      unsigned char bytes[sizeof(tarn_stats)];
    } old;
    memset(&old, 0x5c, sizeof old);
    old.stats.struct_size = size;
    assert_int_equal(tarn_stats_get(f->world, &old.stats), TARN_OK);
    assert_int_equal(old.stats.struct_size, size);
    assert_memory_equal(old.bytes + sizeof(size_t), (unsigned char *)&whole + sizeof(size_t),
                        size - sizeof(size_t));
    for (size_t i = size; i < sizeof old; i++)
      assert_int_equal(old.bytes[i], 0x5c);
  }
}

static void a_newer_caller_keeps_what_this_version_does_not_know(void **state) {
  struct fixture *f = *state;
  struct {
    tarn_stats stats;
    uint64_t later[4];
  } newer;
  memset(&newer, 0x5c, sizeof newer);
  newer.stats.struct_size = sizeof newer;
  assert_int_equal(tarn_stats_get(f->world, &newer.stats), TARN_OK);
  assert_int_equal(newer.stats.struct_size, sizeof newer);
  assert_int_equal(newer.stats.threads, 1);
  for (int i = 0; i < 4; i++)
    assert_true(newer.later[i] == 0x5c5c5c5c5c5c5c5cu);
}

static void bad_calls_are_refused(void **state) {
  struct fixture *f = *state;
  tarn_stats stats = {.struct_size = sizeof stats};
  assert_int_equal(tarn_stats_get(NULL, &stats), TARN_EINVAL);
  assert_int_equal(tarn_stats_get(f->world, NULL), TARN_EINVAL);
  stats.struct_size = 0;
  assert_int_equal(tarn_stats_get(f->world, &stats), TARN_EINVAL);
  stats.struct_size = sizeof(size_t) - 1;
  assert_int_equal(tarn_stats_get(f->world, &stats), TARN_EINVAL);
}

/* ---- What is counted
 * ---------------------------------------------------------------------------------- */

static void a_new_world_has_counted_nothing(void **state) {
  struct fixture *f = *state;
  tarn_stats stats = stats_of(f);
  assert_int_equal(stats.collections, 0);
  assert_int_equal(stats.pause_median_ns, 0);
  assert_int_equal(stats.threads, 1);
  assert_int_equal(stats.heaps, 2);
  assert_int_equal(stats.types, 3); /* node, weak reference, ephemeron */
  assert_int_equal(stats.pools, 0);
  assert_int_equal(stats.large_objects, 0);
  assert_int_equal(stats.heap_bytes, 0);
  assert_int_equal(stats.live_bytes, 0);
  assert_int_equal(stats.side_table_bytes, 0);
  assert_true(stats.metadata_bytes > 0);
}

static void pools_and_large_objects_are_counted(void **state) {
  struct fixture *f = *state;
  add_nodes(f, 3000); /* 64 bytes each: 1024 in a pool */
  tarn_stats stats = stats_of(f);
  assert_int_equal(stats.pools, 3);
  assert_int_equal(stats.heap_bytes, 3 * UNIT);
  void *large = tarn_alloc_atomic(f->self, 100000);
  stats = stats_of(f);
  assert_int_equal(stats.large_objects, 1);
  assert_int_equal(stats.heap_bytes, 3 * UNIT + tarn_good_size(100000));
  uint64_t most = stats.heap_bytes;
  tarn_free(f->self, large);
  stats = stats_of(f);
  assert_int_equal(stats.large_objects, 0);
  assert_int_equal(stats.heap_bytes, 3 * UNIT);
  assert_int_equal(stats.heap_bytes_max, most);
  /* Within 64 KiB a bin, and what was freed counts as well. */
  assert_true(stats.allocated_bytes + 2 * UNIT >= 3000 * 64 + 100000);
  f->root = NULL;
  collect(f);
  assert_int_equal(stats_of(f).pools, 0);
  assert_int_equal(stats_of(f).heap_bytes, 0);
}

static void collections_and_what_lives_are_counted(void **state) {
  struct fixture *f = *state;
  add_nodes(f, 500);
  assert_non_null(tarn_alloc_atomic(f->self, 100)); /* garbage */
  for (unsigned i = 1; i <= 3; i++) {
    collect(f);
    tarn_stats stats = stats_of(f);
    assert_int_equal(stats.collections, i);
    assert_int_equal(stats.collections_asked, i);
    assert_int_equal(stats.live_objects, 500);
    assert_int_equal(stats.live_bytes, 500 * 64);
    assert_int_equal(stats.side_table_bytes, UNIT / 16);
    assert_true(stats.mark_last_ns > 0 && stats.mark_last_ns <= stats.pause_last_ns);
    assert_true(stats.pause_last_ns <= stats.pause_max_ns);
    assert_true(stats.pause_max_ns <= stats.pause_total_ns);
    assert_true(stats.pause_median_ns > 0 && stats.pause_median_ns <= stats.pause_max_ns);
    assert_true(stats.stop_last_ns <= stats.stop_max_ns);
  }
}

static void released_finalized_and_cleared_objects_are_counted(void **state) {
  struct fixture *f = *state;
  functions_run = 0;
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.size = 16;
  spec.free = count_function;
  const tarn_type *type = tarn_type_create(f->world, &spec, NULL);
  for (int i = 0; i < 20; i++)
    assert_non_null(tarn_new(f->self, type));
  add_nodes(f, 1);
  void **holder = f->root;
  void *target = tarn_alloc_atomic(f->self, 16);
  TARN_FRAME(f->self, &target);
  holder[1] = tarn_weak_new(f->self, target);
  target = NULL;
  collect(f);
  tarn_stats stats = stats_of(f);
  assert_int_equal(functions_run, 20);
  assert_int_equal(stats.released, 20);
  assert_int_equal(stats.release_pending, 0);
  assert_int_equal(stats.weak_cleared, 1);
  assert_int_equal(stats.finalizers_run, 0);
}

static void heaps_and_types_are_counted(void **state) {
  struct fixture *f = *state;
  tarn_heap *heap;
  assert_int_equal(tarn_heap_create(f->world, TARN_HEAP_ATOMIC, &heap), TARN_OK);
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.size = 16;
  assert_non_null(tarn_type_create(f->world, &spec, NULL));
  assert_int_equal(stats_of(f).heaps, 3);
  assert_int_equal(stats_of(f).types, 4);
  assert_int_equal(tarn_heap_destroy(f->self, heap), TARN_OK);
  assert_int_equal(stats_of(f).heaps, 2);
}

/* ---- Threads
 * --------------------------------------------------------------------------------------------- */

struct other {
  tarn_world *world;
  atomic_int step; /* 1: attached and running; 2: told to end */
};

static void *run_other(void *data) {
  struct other *other = data;
  tarn_thread *self;
  if (tarn_thread_attach(other->world, &self) != TARN_OK ||
      tarn_thread_set_name(self, "other") != TARN_OK)
    return "not attached";
  atomic_store_explicit(&other->step, 1, memory_order_release);
  while (atomic_load_explicit(&other->step, memory_order_acquire) != 2)
    tarn_safepoint(self);
  return tarn_thread_detach(self) == TARN_OK ? NULL : "not detached";
}

static void threads_are_counted_and_the_last_to_stop_is_named(void **state) {
  struct fixture *f = *state;
  struct other other = {.world = f->world};
  pthread_t thread;
  void *result = "not run";
  assert_int_equal(pthread_create(&thread, NULL, run_other, &other), 0);
  while (atomic_load_explicit(&other.step, memory_order_acquire) != 1) {
  }
  assert_int_equal(stats_of(f).threads, 2);
  /* A thread that runs has to be waited for, now or in one of the next stops. */
  tarn_stats stats;
  do {
    collect(f);
    stats = stats_of(f);
  } while (strcmp(stats.stop_last_thread, "other") != 0);
  assert_true(stats.stop_last_ns > 0);
  assert_true(strcmp(stats.stop_max_thread, "other") == 0 || stats.stop_max_thread[0] == '\0');
  atomic_store_explicit(&other.step, 2, memory_order_release);
  tarn_block_begin(f->self);
  (void)pthread_join(thread, &result);
  tarn_block_end(f->self);
  assert_null(result);
  assert_int_equal(stats_of(f).threads, 1);
}

static void *read_from_outside(void *data) {
  tarn_world *world = data;
  uint64_t seen = 0;
  for (int i = 0; i < 2000; i++) {
    tarn_stats stats = {.struct_size = sizeof stats};
    if (tarn_stats_get(world, &stats) != TARN_OK || stats.collections < seen)
      return "wrong";
    seen = stats.collections;
  }
  return NULL;
}

static void a_thread_that_is_not_attached_may_read(void **state) {
  struct fixture *f = *state;
  pthread_t thread;
  void *result = "not run";
  assert_int_equal(pthread_create(&thread, NULL, read_from_outside, f->world), 0);
  for (int i = 0; i < 50; i++) {
    add_nodes(f, 100);
    collect(f);
  }
  assert_int_equal(pthread_join(thread, &result), 0);
  assert_null(result);
}

/* A reader of metrics takes a counter that falls for one that began anew. */
static bool has_fallen(const tarn_stats *before, const tarn_stats *now) {
  for (int i = 0; i <= TARN_GENERATION_FULL; i++)
    if (now->collections_of[i] < before->collections_of[i])
      return true;
  return now->collections < before->collections || now->stops < before->stops ||
         now->pause_total_ns < before->pause_total_ns || now->weak_cleared < before->weak_cleared ||
         now->allocated_bytes < before->allocated_bytes ||
         now->returned_bytes < before->returned_bytes || now->released < before->released;
}

static _Atomic bool read_enough;

static void *read_counters(void *data) {
  tarn_stats before = {.struct_size = sizeof before}, now = before;
  const char *result = NULL;
  (void)tarn_stats_get(data, &before);
  for (int i = 0; i < 30000 && !result; i++) {
    if (tarn_stats_get(data, &now) != TARN_OK || has_fallen(&before, &now))
      result = "fell";
    before = now;
  }
  atomic_store(&read_enough, true);
  return (void *)result;
}

static void counters_never_fall(void **state) {
  struct fixture *f = *state;
  pthread_t thread;
  void *result = "not run";
  atomic_store(&read_enough, false);
  assert_int_equal(pthread_create(&thread, NULL, read_counters, f->world), 0);
  while (!atomic_load(&read_enough))
    collect(f);
  assert_int_equal(pthread_join(thread, &result), 0);
  assert_null(result);
}

#define IN_WORLD(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

/* --- quantiles ------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

/* The median and the 99th percentile are what sorting says, in whatever order and however alike the
 * times are. */
static void quantiles_are_exact(void **state) {
  struct fixture *f = *state;
  uint64_t random = 1;
  for (unsigned round = 0; round < 2000; round++) {
    uint32_t values[TARN_STOPS_KEPT], bound = round % 5 == 0 ? 3 : 1u << (round % 31);
    size_t count = round < 50 ? round + 1 : 1 + (random >> 40) % TARN_STOPS_KEPT;
    for (size_t i = 0; i < count; i++) {
      random = random * 6364136223846793005u + 1442695040888963407u;
      values[i] = round % 7 == 0   ? (uint32_t)i
                  : round % 7 == 1 ? (uint32_t)(count - i)
                                   : (uint32_t)(random >> 33) % bound;
      atomic_store_explicit(&f->world->stop.times[i], values[i], memory_order_relaxed);
    }
    atomic_store_explicit(&f->world->stop.count, count, memory_order_relaxed);
    tarn_stats stats = stats_of(f);
    qsort(values, count, sizeof values[0], by_value);
    assert_int_equal(stats.stop_median_ns, values[count / 2]);
    assert_int_equal(stats.stop_p99_ns, values[(count * 99 + 99) / 100 - 1]);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      IN_WORLD(an_older_caller_gets_what_it_knows_and_no_byte_more),
      IN_WORLD(a_newer_caller_keeps_what_this_version_does_not_know),
      IN_WORLD(bad_calls_are_refused),
      IN_WORLD(a_new_world_has_counted_nothing),
      IN_WORLD(pools_and_large_objects_are_counted),
      IN_WORLD(collections_and_what_lives_are_counted),
      IN_WORLD(released_finalized_and_cleared_objects_are_counted),
      IN_WORLD(heaps_and_types_are_counted),
      IN_WORLD(threads_are_counted_and_the_last_to_stop_is_named),
      IN_WORLD(a_thread_that_is_not_attached_may_read),
      IN_WORLD(quantiles_are_exact),
      IN_WORLD(counters_never_fall),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
