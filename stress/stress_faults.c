/* SPDX-License-Identifier: MIT */
/*
 * stress_faults hunts what is lost, half made or left locked when the system refuses something
 * while many threads work.
 *
 * In builds with TARN_FAULTS random system calls fail, most of them page requests; threads do
 * everything that may ask for memory: objects small and large, types, roots, weak references,
 * tables, ephemerons, finalizers, heaps, worlds, attaching, collecting.  Each call must succeed or
 * say TARN_ENOMEM and change nothing; what existed before must stay whole, and in the end each
 * object has died exactly once.  Other builds only run the same without faults, and say so.
 */
#include "common.h"
#include "os/os.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OWN 60u

struct thing {
  const tarn_type *type;
  void *data;  /* the data block */
  void *other; /* traced */
  uint64_t seed, check;
};

static tarn_world *world;
static const tarn_type *thing_type, *array_type;
static tarn_weak_table *table;
static _Atomic uint64_t made, freed, refused, finalized, added;

static uint64_t check_of(const struct thing *thing) { return thing->seed * 77 + 5; }

static void check(const struct thing *thing) {
  STRESS_CHECK(thing->type == thing_type);
  STRESS_EQUAL(thing->check, check_of(thing));
  for (unsigned i = 0; i < 4; i++)
    STRESS_EQUAL(((const uint64_t *)thing->data)[i], thing->seed + i);
}

static void destroy(tarn_world *of, void *object) {
  struct thing *thing = object;
  (void)of;
  check(thing);
  thing->check = 0;
  atomic_fetch_add_explicit(&freed, 1, memory_order_relaxed);
}

static void finalize(tarn_thread *self, void *object, void *data) {
  (void)self;
  (void)data;
  check(object);
  atomic_fetch_add_explicit(&finalized, 1, memory_order_relaxed);
}

/* --- one thread ------------------------------------------------------------------------------ */

struct own {
  tarn_thread *self;
  struct stress_random random;
  struct thing *things[OWN];
  void *others[OWN]; /* arrays, raw blocks, weak references */
  void *extra;       /* a root that comes and goes */
};

/* A status that a lack of memory explains, and nothing else does. */
static bool good(tarn_status status) {
  if (status == TARN_OK)
    return true;
  if (status != TARN_ENOMEM)
    stress_fail(__FILE__, __LINE__, "%s", tarn_strerror(status));
  atomic_fetch_add_explicit(&refused, 1, memory_order_relaxed);
  return false;
}

/* NULL has a status; a result has none left over. */
static void *given(struct own *own, void *result) {
  if (!result) {
    tarn_status status = tarn_thread_status(own->self);
    STRESS_CHECK(status != TARN_OK);
    (void)good(status);
  }
  return result;
}

static void new_thing(struct own *own, size_t at) {
  struct thing *thing = given(own, tarn_new(own->self, thing_type));
  if (!thing)
    return;
  thing->seed = stress_next(&own->random);
  thing->check = check_of(thing);
  for (unsigned i = 0; i < 4; i++)
    ((uint64_t *)thing->data)[i] = thing->seed + i;
  thing->other = own->things[stress_below(&own->random, OWN)];
  atomic_fetch_add_explicit(&made, 1, memory_order_relaxed);
  own->things[at] = thing;
}

static void new_array(struct own *own, size_t at) {
  size_t count = (size_t)stress_below(&own->random, stress_below(&own->random, 4) ? 3000 : 100000);
  void **array = given(own, tarn_new_array(own->self, array_type, count));
  if (!array)
    return;
  STRESS_EQUAL(((size_t *)(void *)array)[1], count);
  if (count) {
    STRESS_CHECK(!array[2] && !array[1 + count]);
    array[1 + count] = own->things[stress_below(&own->random, OWN)];
  }
  own->others[at] = array;
}

static void new_raw(struct own *own, size_t at) {
  uint64_t scale = stress_below(&own->random, 4);
  size_t size = (size_t)stress_below(&own->random, scale == 0 ? 400000 : scale < 2 ? 70000 : 2000);
  unsigned char *raw = given(own, tarn_alloc_atomic(own->self, size));
  if (!raw)
    return;
  for (size_t i = 0; i < size; i += 997)
    STRESS_EQUAL(raw[i], 0);
  memset(raw, 0x3c, size < 4000 ? size : 4000);
  if (stress_below(&own->random, 2))
    tarn_free(own->self, raw);
  else
    own->others[at] = raw;
}

static void new_weak_things(struct own *own, size_t at) {
  struct thing *thing = own->things[at];
  if (!thing)
    return;
  switch (stress_below(&own->random, 4)) {
  case 0:
    own->others[at] = given(own, tarn_weak_new(own->self, thing));
    break;
  case 1:
    own->others[at] = given(own, tarn_ephemeron_new(own->self, thing, thing));
    break;
  case 2: {
    void *value = NULL;
    void *key = tarn_weak_table_put(own->self, table, thing, thing, true);
    STRESS_CHECK(!key || key == thing);
    if (key)
      STRESS_CHECK(tarn_weak_table_get(own->self, table, thing, &value) == thing);
    else
      (void)tarn_thread_status(own->self);
    break;
  }
  default:
    if (good(tarn_finalizer_add(own->self, thing, finalize, NULL)))
      atomic_fetch_add_explicit(&added, 1, memory_order_relaxed);
  }
}

static void new_type(void) {
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  uint32_t slots[3] = {5, 70, 600};
  tarn_status status = TARN_OK;
  spec.name = "a type with a name that is long enough to need memory of its own, somewhere";
  spec.size = 8 * 700;
  spec.slots = slots;
  spec.slot_count = 3;
  const tarn_type *type = tarn_type_create(world, &spec, &status);
  STRESS_EQUAL(type != NULL, good(status));
}

static void use_a_heap(struct own *own) {
  tarn_heap *heap = NULL;
  if (!good(tarn_heap_create(world, TARN_HEAP_ATOMIC, &heap))) {
    STRESS_CHECK(!heap);
    return;
  }
  for (unsigned i = 0; i < 30; i++)
    (void)given(own, tarn_heap_alloc(own->self, heap, (size_t)stress_below(&own->random, 60000)));
  while (!good(tarn_heap_destroy(own->self, heap))) {
  }
}

static void use_a_root(struct own *own) {
  if (!good(tarn_root_add(world, &own->extra)))
    return;
  own->extra = own->things[stress_below(&own->random, OWN)];
  tarn_safepoint(own->self);
  STRESS_EQUAL(tarn_root_remove(world, &own->extra), TARN_OK);
}

static void use_a_world(struct own *own) {
  tarn_options options = TARN_OPTIONS_INIT;
  tarn_world *other = NULL;
  tarn_thread *there = NULL;
  options.flags = TARN_OPTIONS_NO_ENVIRONMENT;
  tarn_block_begin(own->self); /* in two worlds at once: blocked in one of them */
  bool made_it = good(tarn_world_create(&options, &other));
  STRESS_EQUAL(made_it, other != NULL);
  if (made_it) {
    if (good(tarn_thread_attach(other, &there))) {
      for (unsigned i = 0; i < 100; i++)
        (void)tarn_alloc_atomic(there, (size_t)stress_below(&own->random, 40000));
      (void)good(tarn_collect(there, 2));
    }
    while (!good(tarn_world_destroy(other))) {
    }
  }
  tarn_block_end(own->self);
}

/* Of the next points of a kind one fails, unless somebody else draws before that. */
static void draw_fault(struct own *own) {
  unsigned kind = TARN_FAULT_PAGES;
  if (stress_below(&own->random, 2))
    kind = 1u << stress_below(&own->random, TARN_FAULT_KIND_COUNT);
  tarn_os_fault_nth(kind, 1 + stress_below(&own->random, 3));
}

static void act(struct own *own) {
  size_t at = (size_t)stress_below(&own->random, OWN);
  if (stress_below(&own->random, 4) == 0)
    draw_fault(own);
  switch (stress_below(&own->random, 20)) {
  case 0:
  case 1:
  case 2:
  case 3:
  case 4:
    new_thing(own, at);
    break;
  case 5:
  case 6:
    new_array(own, at);
    break;
  case 7:
  case 8:
  case 9:
    new_raw(own, at);
    break;
  case 10:
  case 11:
    new_weak_things(own, at);
    break;
  case 12:
    if (stress_below(&own->random, 8) == 0)
      new_type();
    break;
  case 13:
    if (stress_below(&own->random, 4) == 0)
      use_a_heap(own);
    break;
  case 14:
    use_a_root(own);
    break;
  case 15:
    if (stress_below(&own->random, 40) == 0)
      use_a_world(own);
    break;
  case 16:
    if (stress_below(&own->random, 10) == 0)
      (void)good(tarn_collect(own->self, 2));
    break;
  case 17:
    (void)tarn_finalizers_run(own->self, 0);
    if (stress_below(&own->random, 10) == 0)
      (void)tarn_trim(world, 0);
    break;
  case 18:
    own->things[at] = NULL;
    break;
  default:
    own->others[at] = NULL;
  }
}

static void visit_own(tarn_visitor *visitor, void *data) {
  const struct own *own = data;
  tarn_visit_range(visitor, own->things, OWN);
  tarn_visit_range(visitor, own->others, OWN);
}

static void live(struct own *own) {
  while (!good(tarn_thread_attach(world, &own->self)))
    STRESS_CHECK(!own->self);
  while (!good(tarn_root_provider_add(world, visit_own, own))) {
  }
  for (unsigned i = 0; i < 400; i++)
    act(own);
  for (unsigned i = 0; i < OWN; i++)
    if (own->things[i])
      check(own->things[i]);
  if (stress_below(&own->random, 60) == 0) {
    char message[300] = "";
    tarn_status status = tarn_verify(own->self, message, sizeof message);
    if (!good(status))
      atomic_fetch_add_explicit(&refused, 1, memory_order_relaxed);
  }
  STRESS_EQUAL(tarn_root_provider_remove(world, visit_own, own), TARN_OK);
  STRESS_EQUAL(tarn_thread_detach(own->self), TARN_OK);
}

static void work(void *data, unsigned number) {
  struct own *own = calloc(1, sizeof *own);
  (void)data;
  STRESS_CHECK(own);
  own->random = stress_random_of(number);
  for (uint64_t round = 0; stress_on(&round);) {
    memset(own->things, 0, sizeof own->things);
    memset(own->others, 0, sizeof own->others);
    live(own);
  }
  free(own);
}

static void start(void) {
  world = stress_world("min-heap=1M,markers=3,purge-delay=1ms,huge-pages-from=1M");
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = "thing";
  spec.size = sizeof(struct thing);
  spec.slot_bits = 1u << 2;
  spec.data_size = 32;
  spec.free = destroy;
  thing_type = tarn_type_create(world, &spec, NULL);
  spec = (tarn_type_spec)TARN_TYPE_SPEC_INIT;
  spec.name = "array";
  spec.size = 16;
  spec.element_size = 8;
  spec.flags = TARN_TYPE_ELEMENTS_TRACED;
  array_type = tarn_type_create(world, &spec, NULL);
  STRESS_CHECK(thing_type && array_type);
  tarn_weak_table_spec weak = TARN_WEAK_TABLE_SPEC_INIT;
  weak.kind = TARN_WEAK_KEYS;
  STRESS_EQUAL(tarn_weak_table_create(world, &weak, &table), TARN_OK);
}

static void finish(tarn_thread *self) {
  for (unsigned i = 0; i < 6; i++) {
    STRESS_EQUAL(tarn_collect(self, 2), TARN_OK);
    (void)tarn_finalizers_run(self, 0);
  }
  stress_verify(self);
  STRESS_EQUAL(atomic_load(&freed), atomic_load(&made));
  STRESS_EQUAL(atomic_load(&finalized), atomic_load(&added));
  STRESS_EQUAL(stress_stats(world).live_objects, 0);
  STRESS_EQUAL(stress_stats(world).large_objects, 0);
  STRESS_EQUAL(stress_stats(world).heap_bytes, 0);
  STRESS_EQUAL(stress_stats(world).heaps, 2);
  STRESS_EQUAL(tarn_weak_table_count(table), 0);
}

int main(int count, char **arguments) {
  stress_begin(count, arguments,
               "what is lost, half made or left locked when the system gives no memory");
  start();
  stress_run(world, stress.threads, work, NULL);
  tarn_os_fault_nth(0, 0);
  tarn_thread *self = stress_attach(world);
  finish(self);
  STRESS_EQUAL(tarn_world_destroy(world), TARN_OK);
#if TARN_FAULTS
  STRESS_CHECK(atomic_load(&refused) > 0);
  fprintf(stderr, "%llu calls were refused\n", (unsigned long long)atomic_load(&refused));
#else
  fprintf(stderr, "this build has no TARN_FAULTS: nothing was refused\n");
#endif
  return stress_end();
}
