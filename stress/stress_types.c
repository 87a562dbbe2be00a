/* SPDX-License-Identifier: MIT */
/*
 * stress_types hunts `free` functions and finalizers that run twice or never, and weak references
 * that show a dead object.
 *
 * Threads create types and subtypes by the thousand, and objects of them with `free` functions
 * (some of which allocate, some with data blocks), replace `free` functions, and tie the objects
 * into weak references, ephemerons, weak tables (one that interns, one with weak keys) and
 * finalizers that resurrect.  Outside the heap an array holds the state of each object, moved on by
 * compare-exchange: any step that may not be makes it fail.  At the end every object has died
 * exactly once.
 */
#include "common.h"
#include <stdlib.h>
#include <string.h>

#define STATES (1u << 20)
#define TYPES 6000u
#define OWN 200u
#define WORDS 512u

/* An object's life. */
enum { UNBORN = 0, ALIVE, SAVED, DEAD };

struct thing {
  const tarn_type *type;
  uint64_t *data; /* traced or the data block, by the type */
  void *left, *right;
  uint64_t number, check; /* raw */
  uint64_t more[2];
};

static tarn_world *world;
static _Atomic uint8_t *states;
static _Atomic uint32_t numbers;
static _Atomic uint64_t made, saved, finalized, set_frees;
static _Atomic(const tarn_type *) types[TYPES];
static _Atomic uint32_t type_count;
static const tarn_type *base_type, *word_type, *data_type;
static tarn_weak_table *words, *notes;
static void *notes_root; /* something that always lives, as a value */

static uint64_t check_of(uint64_t number) { return (number + 77) * 0x9e3779b97f4a7c15u; }

static void step(const struct thing *thing, uint8_t from, uint8_t to) {
  STRESS_CHECK(thing->number < STATES);
  STRESS_EQUAL(thing->check, check_of(thing->number));
  uint8_t expected = from;
  if (!atomic_compare_exchange_strong(&states[thing->number], &expected, to))
    stress_fail(__FILE__, __LINE__, "object %llu: state %u where %u was due, on the way to %u",
                (unsigned long long)thing->number, expected, from, to);
}

/* --- what types do --------------------------------------------------------------------------- */

/* From ALIVE or, if a finalizer brought it back, SAVED. */
static void die(const struct thing *thing) {
  STRESS_CHECK(thing->number < STATES);
  uint8_t now = atomic_load(&states[thing->number]);
  step(thing, now == SAVED ? SAVED : ALIVE, DEAD);
}

static void free_plain(tarn_world *of, void *object) {
  STRESS_CHECK(of == world);
  die(object);
}

static void free_and_allocate(tarn_world *of, void *object) {
  tarn_thread *self = tarn_thread_self(of);
  STRESS_CHECK(self);
  die(object);
  for (unsigned i = 0; i < 4; i++)
    STRESS_CHECK(tarn_alloc_atomic(self, 200 + i * 1000));
}

static void free_with_data(tarn_world *of, void *object) {
  struct thing *thing = object;
  STRESS_CHECK(of == world);
  for (unsigned i = 0; i < 5; i++)
    STRESS_EQUAL(thing->data[i], thing->number + i);
  free_and_allocate(of, object);
  for (unsigned i = 0; i < 5; i++)
    STRESS_EQUAL(thing->data[i], thing->number + i);
}

static const tarn_free_fn frees[] = {free_plain, free_and_allocate};

/* --- making ---------------------------------------------------------------------------------- */

/* A number whose last object is dead.  Should that one die again, one of the two deaths fails. */
static uint64_t take_number(void) {
  for (;;) {
    uint32_t number = atomic_fetch_add_explicit(&numbers, 1, memory_order_relaxed) % STATES;
    uint8_t state = atomic_load(&states[number]);
    if ((state == UNBORN || state == DEAD) &&
        atomic_compare_exchange_strong(&states[number], &state, ALIVE))
      return number;
  }
}

static struct thing *make(tarn_thread *self, const tarn_type *type) {
  struct thing *thing = tarn_new(self, type);
  STRESS_CHECK(thing);
  STRESS_CHECK(thing->number == 0 && thing->check == 0 && !thing->left && !thing->right);
  /* No safepoint lies between here and the return, so its function finds it whole. */
  thing->number = take_number();
  thing->check = check_of(thing->number);
  atomic_fetch_add_explicit(&made, 1, memory_order_relaxed);
  if (type == data_type)
    for (unsigned i = 0; i < 5; i++)
      thing->data[i] = thing->number + i;
  return thing;
}

static void add_type(struct stress_random *random) {
  uint32_t index = atomic_fetch_add_explicit(&type_count, 1, memory_order_relaxed);
  if (index >= TYPES) {
    atomic_fetch_sub_explicit(&type_count, 1, memory_order_relaxed);
    return;
  }
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  char name[32] = "thing-";
  name[6] = (char)('a' + index % 26);
  spec.name = name;
  spec.parent = base_type;
  uint32_t other = index ? (uint32_t)stress_below(random, index) : 0;
  /* Acquire: pairs with the release below; the type itself is published by its own list. */
  const tarn_type *parent = atomic_load_explicit(&types[other], memory_order_acquire);
  if (parent && stress_below(random, 2))
    spec.parent = parent;
  spec.size = tarn_type_size(spec.parent) + 8 * (size_t)stress_below(random, 3);
  if (spec.size > 256)
    spec.size = 0;
  if (stress_below(random, 2))
    spec.free = frees[stress_below(random, 2)];
  tarn_status status = TARN_OK;
  const tarn_type *type = tarn_type_create(world, &spec, &status);
  STRESS_EQUAL(status, TARN_OK);
  STRESS_CHECK(type && tarn_type_is_a(type, base_type) && tarn_type_is_a(type, spec.parent));
  STRESS_CHECK(tarn_type_free(type) != NULL); /* inherited, or its own */
  STRESS_CHECK(strcmp(tarn_type_name(type), name) == 0);
  atomic_store_explicit(&types[index], type, memory_order_release);
}

static const tarn_type *some_type(struct stress_random *random) {
  if (stress_below(random, 6) == 0)
    return data_type;
  uint32_t count = atomic_load_explicit(&type_count, memory_order_relaxed);
  const tarn_type *type =
      count < TYPES && count
          ? atomic_load_explicit(&types[stress_below(random, count)], memory_order_acquire)
          : atomic_load_explicit(&types[stress_below(random, TYPES)], memory_order_acquire);
  return type ? type : base_type;
}

static void check_thing(const struct thing *thing) {
  STRESS_CHECK(thing->number < STATES);
  STRESS_EQUAL(thing->check, check_of(thing->number));
  uint8_t state = atomic_load(&states[thing->number]);
  STRESS_CHECK(state == ALIVE || state == SAVED);
  STRESS_CHECK(tarn_type_is_a(tarn_type_of(thing), base_type) || tarn_type_of(thing) == data_type);
}

/* --- finalizers ------------------------------------------------------------------------------ */

/* Each thread keeps what finalizers brought back for a while; `data` is what was registered. */
static void *rescued[64];
static _Atomic uint32_t rescued_at;

static void finalize(tarn_thread *self, void *object, void *data) {
  struct thing *thing = object;
  check_thing(thing);
  STRESS_EQUAL((uintptr_t)data, thing->number);
  step(thing, ALIVE, SAVED); /* a second run would fail here */
  if (thing->left)
    check_thing(thing->left); /* all it refers to is whole */
  atomic_fetch_add_explicit(&finalized, 1, memory_order_relaxed);
  /* Resurrection.  The slot is atomic for the threads among themselves; the collector reads it at
   * stops. */
  if (thing->number % 2) {
    uint32_t at = atomic_fetch_add_explicit(&rescued_at, 1, memory_order_relaxed) % 64;
    __atomic_store_n(&rescued[at], object, __ATOMIC_RELAXED);
    atomic_fetch_add_explicit(&saved, 1, memory_order_relaxed);
  }
  STRESS_CHECK(tarn_alloc_atomic(self, 64)); /* it may allocate */
}

/* --- interning ------------------------------------------------------------------------------- */

struct word {
  const tarn_type *type;
  uint64_t value;
};
static uint64_t hash_word(const void *key, void *data) {
  (void)data;
  return ((const struct word *)key)->value * 0x9e3779b97f4a7c15u;
}
static bool equal_word(const void *probe, const void *key, void *data) {
  (void)data;
  return ((const struct word *)probe)->value == ((const struct word *)key)->value;
}

static struct word *intern(tarn_thread *self, uint64_t value) {
  struct word probe = {NULL, value};
  struct word *found = tarn_weak_table_get(self, words, &probe, NULL);
  if (!found) {
    struct word *word = tarn_new(self, word_type);
    STRESS_CHECK(word);
    word->value = value;
    found = tarn_weak_table_put(self, words, word, NULL, false);
  }
  STRESS_CHECK(found && found->type == word_type);
  STRESS_EQUAL(found->value, value);
  return found;
}

/* --- one thread ------------------------------------------------------------------------------ */

struct own {
  tarn_thread *self;
  struct stress_random random;
  struct thing *things[OWN];
  void *weaks[OWN];
  uint64_t weak_numbers[OWN]; /* of the target */
  void *ephemerons[OWN];
};

static void new_thing(struct own *own, size_t at) {
  struct stress_random *random = &own->random;
  struct thing *thing = make(own->self, some_type(random));
  if (tarn_type_of(thing) != data_type)
    thing->left = own->things[stress_below(random, OWN)];
  own->things[at] = thing;
  if (stress_below(random, 6) == 0)
    STRESS_EQUAL(tarn_finalizer_add(own->self, thing, finalize, (void *)(uintptr_t)thing->number),
                 TARN_OK);
  if (stress_below(random, 12) == 0)
    (void)tarn_weak_table_put(own->self, notes, thing, notes_root, true);
}

static void new_weak(struct own *own, size_t at) {
  struct thing *target = own->things[stress_below(&own->random, OWN)];
  if (!target)
    return;
  own->weak_numbers[at] = target->number;
  own->weaks[at] = tarn_weak_new(own->self, target);
  STRESS_CHECK(own->weaks[at]);
}

static void look_at_weak(struct own *own, size_t at) {
  struct thing *target = own->weaks[at] ? tarn_weak_get(own->self, own->weaks[at]) : NULL;
  if (!target)
    return;
  check_thing(target);
  STRESS_EQUAL(target->number, own->weak_numbers[at]);
}

static void new_ephemeron(struct own *own, size_t at) {
  struct thing *key = own->things[stress_below(&own->random, OWN)];
  struct thing *value = own->things[stress_below(&own->random, OWN)];
  if (!key || !value)
    return;
  own->ephemerons[at] = tarn_ephemeron_new(own->self, key, value);
  STRESS_CHECK(own->ephemerons[at]);
}

static void look_at_ephemeron(struct own *own, size_t at) {
  if (!own->ephemerons[at])
    return;
  struct thing *key = tarn_ephemeron_key(own->self, own->ephemerons[at]);
  struct thing *value = tarn_ephemeron_value(own->self, own->ephemerons[at]);
  STRESS_CHECK(!key == !value); /* they go together; no safepoint lay between */
  if (key) {
    check_thing(key);
    check_thing(value);
  }
}

static void look_at_note(struct own *own, size_t at) {
  struct thing *thing = own->things[at];
  void *value = NULL;
  if (!thing)
    return;
  void *key = tarn_weak_table_get(own->self, notes, thing, &value);
  STRESS_CHECK(!key || (key == thing && value == notes_root));
}

static void intern_some(struct own *own) {
  struct word *first = intern(own->self, stress_below(&own->random, WORDS));
  TARN_FRAME(own->self, (void *)&first);
  tarn_safepoint(own->self);
  STRESS_CHECK(intern(own->self, first->value) == first); /* while it lives there is no other */
}

static void change_free(struct stress_random *random) {
  const tarn_type *type = some_type(random);
  if (type == data_type || type == base_type)
    return;
  STRESS_EQUAL(tarn_type_set_free(type, frees[stress_below(random, 2)]), TARN_OK);
  atomic_fetch_add_explicit(&set_frees, 1, memory_order_relaxed);
}

static void act(struct own *own) {
  struct stress_random *random = &own->random;
  size_t at = (size_t)stress_below(random, OWN);
  switch (stress_below(random, 24)) {
  case 0:
  case 1:
  case 2:
  case 3:
  case 4:
  case 5:
    new_thing(own, at);
    break;
  case 6:
  case 7:
  case 8:
    own->things[at] = NULL;
    break;
  case 9:
  case 10:
    new_weak(own, at);
    break;
  case 11:
  case 12:
    look_at_weak(own, at);
    break;
  case 13:
    new_ephemeron(own, at);
    break;
  case 14:
    look_at_ephemeron(own, at);
    break;
  case 15:
    look_at_note(own, at);
    break;
  case 16:
  case 17:
    intern_some(own);
    break;
  case 18:
    add_type(random);
    break;
  case 19:
    change_free(random);
    break;
  case 20:
    (void)tarn_finalizers_run(own->self, (size_t)stress_below(random, 20));
    break;
  case 21:
    (void)tarn_release_pending(own->self, (size_t)stress_below(random, 5));
    break;
  case 22:
    if (stress_below(random, 200) == 0)
      STRESS_EQUAL(tarn_collect(own->self, 2), TARN_OK);
    break;
  default:
    tarn_safepoint(own->self);
  }
}

static void visit_own(tarn_visitor *visitor, void *data) {
  const struct own *own = data;
  tarn_visit_range(visitor, own->things, OWN);
  tarn_visit_range(visitor, own->weaks, OWN);
  tarn_visit_range(visitor, own->ephemerons, OWN);
}

static void work(void *data, unsigned number) {
  struct own *own = calloc(1, sizeof *own);
  (void)data;
  STRESS_CHECK(own);
  own->random = stress_random_of(number);
  own->self = stress_attach(world);
  STRESS_EQUAL(tarn_root_provider_add(world, visit_own, own), TARN_OK);
  for (uint64_t round = 0; stress_on(&round);) {
    for (unsigned i = 0; i < 300; i++)
      act(own);
    for (unsigned i = 0; i < OWN; i++)
      if (own->things[i])
        check_thing(own->things[i]);
    if (stress_below(&own->random, 400) == 0)
      stress_verify(own->self);
  }
  STRESS_EQUAL(tarn_root_provider_remove(world, visit_own, own), TARN_OK);
  if (number % 2)
    STRESS_EQUAL(tarn_thread_detach(own->self), TARN_OK);
  free(own);
}

/* --- start and end --------------------------------------------------------------------------- */

static const tarn_type *type_of_size(const char *name, size_t size, uint64_t slots, size_t data,
                                     tarn_free_fn fn) {
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = name;
  spec.size = size;
  spec.slot_bits = slots;
  spec.data_size = data;
  spec.free = fn;
  const tarn_type *type = tarn_type_create(world, &spec, NULL);
  STRESS_CHECK(type);
  return type;
}

static void start(void) {
  states = calloc(STATES, 1);
  STRESS_CHECK(states);
  world = stress_world("min-heap=1M");
  base_type = type_of_size("base", sizeof(struct thing), 6 << 1, 0, free_plain);
  data_type = type_of_size("data", sizeof(struct thing), 0, 5 * 8, free_with_data);
  word_type = type_of_size("word", sizeof(struct word), 0, 0, NULL);
  for (unsigned i = 0; i < 64; i++)
    STRESS_EQUAL(tarn_root_add(world, &rescued[i]), TARN_OK);
  STRESS_EQUAL(tarn_root_add(world, &notes_root), TARN_OK);
  tarn_weak_table_spec spec = TARN_WEAK_TABLE_SPEC_INIT;
  spec.kind = TARN_WEAK_SET;
  spec.hash = hash_word;
  spec.equal = equal_word;
  STRESS_EQUAL(tarn_weak_table_create(world, &spec, &words), TARN_OK);
  spec = (tarn_weak_table_spec)TARN_WEAK_TABLE_SPEC_INIT;
  spec.kind = TARN_WEAK_KEYS;
  STRESS_EQUAL(tarn_weak_table_create(world, &spec, &notes), TARN_OK);
}

static void finish(tarn_thread *self) {
  memset(rescued, 0, sizeof rescued);
  /* Finalizers bring back; what they brought back dies later.  It comes to an end, since each
   * object has one at most. */
  for (unsigned round = 0; round < 6; round++) {
    STRESS_EQUAL(tarn_collect(self, 2), TARN_OK);
    (void)tarn_finalizers_run(self, 0);
    memset(rescued, 0, sizeof rescued);
  }
  stress_verify(self);
  for (uint32_t i = 0; i < STATES; i++) {
    uint8_t state = atomic_load(&states[i]);
    if (state != DEAD && state != UNBORN)
      stress_fail(__FILE__, __LINE__, "object %u is in state %u at the end", i, state);
  }
  STRESS_EQUAL(tarn_weak_table_count(words), 0);
  STRESS_EQUAL(tarn_weak_table_count(notes), 0);
  STRESS_EQUAL(tarn_finalizers_due(world), 0);
  tarn_stats stats = stress_stats(world);
  STRESS_EQUAL(stats.finalizers_run, atomic_load(&finalized));
  STRESS_EQUAL(stats.released, atomic_load(&made));
  STRESS_EQUAL(stats.release_pending, 0);
}

int main(int count, char **arguments) {
  stress_begin(
      count, arguments,
      "free functions and finalizers that run twice or never, and weak references to the dead");
  start();
  tarn_thread *self = stress_attach(world);
  notes_root = tarn_new(self, word_type);
  STRESS_EQUAL(tarn_thread_detach(self), TARN_OK);
  stress_run(world, stress.threads, work, NULL);
  self = stress_attach(world);
  finish(self);
  STRESS_CHECK(atomic_load(&saved) > 0 && atomic_load(&set_frees) > 0);
  STRESS_EQUAL(tarn_world_destroy(world), TARN_OK);
  free((void *)states);
  return stress_end();
}
