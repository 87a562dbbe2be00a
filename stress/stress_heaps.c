/* SPDX-License-Identifier: MIT */
/*
 * stress_heaps hunts what survives a heap that is dropped, or goes with it by mistake.
 *
 * Each thread makes heaps of its own, with types of their own, fills them with objects that have
 * `free` functions, data blocks and finalizers, ties them to objects of the world's heap by plain
 * references both ways, weak references, ephemerons and weak tables, and drops them, while the
 * others do the same and collect.  Afterwards every object of the heap has died exactly once (most
 * in the drop, some before it), every weak tie is cut, no finalizer of theirs runs any more, and
 * the world's own objects are whole though dangling words lie in their slots.
 */
#include "common.h"
#include <stdlib.h>
#include <string.h>

#define OBJECTS 300u

struct thing { /* of a heap that is dropped */
  const tarn_type *type;
  uint64_t *data;
  void *next, *outside;
  uint64_t number, check;
  _Atomic uint8_t *deaths; /* of this heap's objects, by number */
};

struct keeper { /* of the world's own heap */
  const tarn_type *type;
  void *inside, *next; /* into the heap; it dangles afterwards */
  uint64_t seed, check;
};

static tarn_world *world;
static const tarn_type *keeper_type;
static tarn_weak_table *table;
static _Atomic uint64_t dropped, things_made, things_freed;

/* Written: a heap is dropped.  Read: finalizers run, and any heap's objects may be theirs. */
static pthread_rwlock_t drop_lock = PTHREAD_RWLOCK_INITIALIZER;

static uint64_t check_of(uint64_t number) { return number * 1000003 + 11; }

static void destroy(tarn_world *of, void *object) {
  struct thing *thing = object;
  tarn_thread *self = tarn_thread_self(of);
  STRESS_CHECK(self && thing->number < OBJECTS);
  STRESS_EQUAL(thing->check, check_of(thing->number));
  STRESS_EQUAL(atomic_fetch_add(&thing->deaths[thing->number], 1), 0);
  if (thing->number % 16 == 0)
    STRESS_CHECK(tarn_alloc_atomic(self, 3000)); /* may collect in the middle of a drop */
  for (unsigned i = 0; i < 3; i++)
    STRESS_EQUAL(thing->data[i], thing->number + i);
  atomic_fetch_add_explicit(&things_freed, 1, memory_order_relaxed);
}

/* --- one thread ------------------------------------------------------------------------------ */

struct own {
  tarn_thread *self;
  struct stress_random random;
  tarn_heap *heap;
  bool has_finalizers;
  _Atomic bool is_dropped;
  const tarn_type *type;
  _Atomic uint8_t deaths[OBJECTS];
  unsigned count;
  struct thing *things[OBJECTS];
  void *weaks[OBJECTS], *ephemerons[OBJECTS];
  struct keeper *keepers;
};

static void visit_own(tarn_visitor *visitor, void *data) {
  const struct own *own = data;
  tarn_visit_range(visitor, own->things, OBJECTS);
  tarn_visit_range(visitor, own->weaks, OBJECTS);
  tarn_visit_range(visitor, own->ephemerons, OBJECTS);
  tarn_visit(visitor, own->keepers);
}

static void finalize(tarn_thread *self, void *object, void *data) {
  const struct own *own = data;
  const struct thing *thing = object;
  (void)self;
  STRESS_CHECK(!atomic_load(&own->is_dropped));
  STRESS_EQUAL(thing->check, check_of(thing->number));
  STRESS_EQUAL(atomic_load(&thing->deaths[thing->number]), 0);
}

static void new_heap(struct own *own) {
  STRESS_EQUAL(tarn_heap_create(world, TARN_HEAP_CONTAINER, &own->heap), TARN_OK);
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = "thing";
  spec.size = sizeof(struct thing);
  if (stress_below(&own->random, 8) == 0)
    spec.size = 40000; /* large ones */
  spec.slot_bits = 3u << 2;
  spec.data_size = 24;
  spec.heap = own->heap;
  spec.free = destroy;
  own->type = tarn_type_create(world, &spec, NULL);
  STRESS_CHECK(own->type);
  memset((void *)own->deaths, 0, sizeof own->deaths);
  atomic_store(&own->is_dropped, false);
  own->has_finalizers = stress_below(&own->random, 3) == 0;
  own->count = tarn_type_size(own->type) > 1000 ? 40 : OBJECTS;
}

static void new_keeper(struct own *own, void *inside) {
  struct keeper *keeper = tarn_new(own->self, keeper_type);
  STRESS_CHECK(keeper);
  keeper->seed = stress_next(&own->random);
  keeper->check = check_of(keeper->seed);
  keeper->inside = inside;
  keeper->next = own->keepers;
  own->keepers = keeper;
}

static void tie(struct own *own, unsigned i) {
  struct thing *thing = own->things[i];
  own->weaks[i] = tarn_weak_new(own->self, thing);
  if (own->keepers && i % 3 == 0)
    own->ephemerons[i] = tarn_ephemeron_new(own->self, thing, own->keepers);
  if (i % 5 == 0)
    STRESS_CHECK(tarn_weak_table_put(own->self, table, thing, own->keepers, true) == thing);
  if (own->has_finalizers && i % 7 == 0)
    STRESS_EQUAL(tarn_finalizer_add(own->self, thing, finalize, own), TARN_OK);
  if (i % 11 == 0)
    new_keeper(own, thing);
}

static void fill(struct own *own) {
  for (unsigned i = 0; i < own->count; i++) {
    struct thing *thing = tarn_new(own->self, own->type);
    STRESS_CHECK(thing);
    thing->number = i;
    thing->check = check_of(i);
    thing->deaths = own->deaths;
    for (unsigned k = 0; k < 3; k++)
      thing->data[k] = i + k;
    thing->next = i ? own->things[stress_below(&own->random, i)] : NULL;
    thing->outside = own->keepers;
    own->things[i] = thing;
    atomic_fetch_add_explicit(&things_made, 1, memory_order_relaxed);
    tie(own, i);
  }
}

static void change(struct own *own) {
  for (unsigned i = 0; i < own->count; i++) {
    if (stress_below(&own->random, 3) == 0)
      own->things[i] = NULL; /* some die before the drop */
    if (stress_below(&own->random, 16) == 0)
      STRESS_CHECK(tarn_alloc_atomic(own->self, 200 + i * 30));
  }
  tarn_block_begin(own->self);
  (void)pthread_rwlock_rdlock(&drop_lock);
  tarn_block_end(own->self);
  (void)tarn_finalizers_run(own->self, (size_t)stress_below(&own->random, 20));
  (void)pthread_rwlock_unlock(&drop_lock);
  if (stress_below(&own->random, 4) == 0)
    STRESS_EQUAL(tarn_collect(own->self, 2), TARN_OK);
}

static void drop(struct own *own) {
  if (own->has_finalizers) { /* else drops run at the same time */
    tarn_block_begin(own->self);
    (void)pthread_rwlock_wrlock(&drop_lock);
    tarn_block_end(own->self);
  }
  atomic_store(&own->is_dropped, true);
  STRESS_EQUAL(tarn_heap_destroy(own->self, own->heap), TARN_OK);
  if (own->has_finalizers)
    (void)pthread_rwlock_unlock(&drop_lock);
  for (unsigned i = 0; i < own->count; i++) {
    STRESS_EQUAL(atomic_load(&own->deaths[i]), 1);
    if (own->weaks[i])
      STRESS_CHECK(!tarn_weak_get(own->self, own->weaks[i]));
    if (own->ephemerons[i])
      STRESS_CHECK(!tarn_ephemeron_key(own->self, own->ephemerons[i]) &&
                   !tarn_ephemeron_value(own->self, own->ephemerons[i]));
  }
  atomic_fetch_add_explicit(&dropped, 1, memory_order_relaxed);
}

static void check_keepers(struct own *own) {
  unsigned length = 0;
  for (struct keeper *keeper = own->keepers; keeper; keeper = keeper->next, length++) {
    STRESS_CHECK(keeper->type == keeper_type);
    STRESS_EQUAL(keeper->check, check_of(keeper->seed));
    if (length > 200)
      keeper->next = NULL;
  }
}

static void work(void *data, unsigned number) {
  struct own *own = calloc(1, sizeof *own);
  (void)data;
  STRESS_CHECK(own);
  own->random = stress_random_of(number);
  own->self = stress_attach(world);
  STRESS_EQUAL(tarn_root_provider_add(world, visit_own, own), TARN_OK);
  for (uint64_t round = 0; stress_on(&round);) {
    new_heap(own);
    fill(own);
    for (unsigned i = 0; i < stress_below(&own->random, 4); i++)
      change(own);
    drop(own);
    check_keepers(own);
    if (stress_below(&own->random, 30) == 0)
      stress_verify(own->self);
    /* The words of dead objects have dangled in this root until now. */
    memset(own->things, 0, sizeof own->things);
    memset(own->weaks, 0, sizeof own->weaks);
    memset(own->ephemerons, 0, sizeof own->ephemerons);
  }
  STRESS_EQUAL(tarn_root_provider_remove(world, visit_own, own), TARN_OK);
  STRESS_EQUAL(tarn_thread_detach(own->self), TARN_OK);
  free(own);
}

int main(int count, char **arguments) {
  stress_begin(count, arguments,
               "what survives a heap that is dropped, or goes with it by mistake");
  world = stress_world("min-heap=1M");
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = "keeper";
  spec.size = sizeof(struct keeper);
  spec.slot_bits = 3u << 1;
  keeper_type = tarn_type_create(world, &spec, NULL);
  STRESS_CHECK(keeper_type);
  tarn_weak_table_spec weak = TARN_WEAK_TABLE_SPEC_INIT;
  weak.kind = TARN_WEAK_KEYS;
  STRESS_EQUAL(tarn_weak_table_create(world, &weak, &table), TARN_OK);
  stress_run(world, stress.threads, work, NULL);

  tarn_thread *self = stress_attach(world);
  STRESS_EQUAL(stress_stats(world).heaps, 2);
  STRESS_EQUAL(tarn_weak_table_count(table), 0);
  STRESS_EQUAL(tarn_finalizers_due(world), 0);
  STRESS_EQUAL(atomic_load(&things_freed), atomic_load(&things_made));
  STRESS_CHECK(atomic_load(&dropped) >= stress.threads);
  STRESS_EQUAL(tarn_collect(self, 2), TARN_OK);
  stress_verify(self);
  STRESS_EQUAL(stress_stats(world).live_objects, 0);
  STRESS_EQUAL(tarn_world_destroy(world), TARN_OK);
  STRESS_EQUAL(atomic_load(&things_freed), atomic_load(&things_made));
  return stress_end();
}
