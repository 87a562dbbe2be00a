/* SPDX-License-Identifier: MIT */
/*
 * stress_large: hunts large objects that are lost, freed twice, not cleared or scanned after their
 * end; heaps that are dropped together with what belongs to others; and accounts that go wrong when
 * the hard limit is reached.
 *
 * Threads exchange large arrays with few references, and large raw blocks, through roots, check
 * them, and free them by hand or drop them.  They make heaps, fill them and drop them whole, while
 * their addresses stay in other heaps' arrays.  All that is wanted is about twice the hard limit:
 * allocations fail, with TARN_ELIMIT and nothing else, and succeed again when something was given
 * up.  The limit moves.  At the end: the heap never was larger than the limit, as many `free`
 * functions ran as objects were made, for each heap too, and nothing is left.
 */
#include "common.h"
#include <stdio.h>

#define SLOTS 128u
#define MIB ((size_t)1 << 20)
#define LIMIT (96 * MIB)
#define REFERENCES 48u /* of an array */
#define SMALLEST (TARN_LARGE_LIMIT + 8)
#define LARGEST (8 * MIB)

struct leaf {
  const tarn_type *type;
  uint64_t serial;
};
struct array {
  const tarn_type *type;
  uint64_t count;
  uint64_t serial, state;
  void *elements[]; /* at each of REFERENCES places a leaf; behind the first, any word */
};
struct raw {
  uint64_t serial, size;
};
enum { ALIVE = 0xa11fe, DEAD = 0xdead };

/* What a type with a `free` function counts; relaxed: compared when nobody counts any more. */
struct account {
  _Atomic uint64_t made, freed;
};

static tarn_world *world;
static struct account account;
static const tarn_type *leaf_type, *plain_type, *counted_type;
static void *slots[SLOTS]; /* roots; an even one holds an array, an odd one a raw block */
static _Atomic uintptr_t addresses[64]; /* of arrays, also of heaps that are gone: just words */
static _Atomic uint64_t next_serial, refused, heaps_dropped, near_calls;

static void on_free(tarn_world *of, void *object) {
  struct array *array = object;
  struct account *of_type = tarn_type_user(array->type);
  STRESS_CHECK(of == world && of_type);
  STRESS_EQUAL(array->state, ALIVE);
  array->state = DEAD;
  atomic_fetch_add_explicit(&of_type->freed, 1, memory_order_relaxed);
}

static size_t near_limit(tarn_world *of, size_t limit, size_t in_use, void *data) {
  (void)data;
  STRESS_CHECK(of == world && limit > 0 && in_use > 0);
  atomic_fetch_add_explicit(&near_calls, 1, memory_order_relaxed);
  return limit;
}

static const tarn_type *make_array_type(const char *name, tarn_heap *heap, struct account *counts) {
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = name;
  spec.heap = heap;
  spec.size = sizeof(struct array);
  spec.element_size = 8;
  spec.flags = TARN_TYPE_ELEMENTS_TRACED;
  spec.free = counts ? on_free : NULL;
  spec.user = counts;
  const tarn_type *type = tarn_type_create(world, &spec, NULL);
  STRESS_CHECK(type);
  return type;
}

/* --- objects --------------------------------------------------------------------------------- */

struct life {
  tarn_thread *self;
  struct stress_random *random;
  void *block, *list; /* in a frame */
};

/* True if there is a block; without one the limit, and nothing else, was the reason. */
static bool got(struct life *life, const void *block) {
  if (block)
    return true;
  STRESS_EQUAL(tarn_thread_status(life->self), TARN_ELIMIT);
  atomic_fetch_add_explicit(&refused, 1, memory_order_relaxed);
  return false;
}

static size_t some_size(struct stress_random *random) {
  size_t low = SMALLEST << stress_below(random, stress_below(random, 4) ? 3 : 8);
  return low + (size_t)stress_below(random, low < LARGEST / 2 ? low : LARGEST - low);
}

static void check_zero(const void *memory, size_t size) {
  const uint64_t *words = memory;
  for (size_t i = 0; i < size / 8; i += i < 512 ? 1 : 61)
    if (words[i] != 0)
      stress_fail(__FILE__, __LINE__, "word %zu of a new block of %zu is %#llx", i, size,
                  (unsigned long long)words[i]);
}

static uint64_t place_of(const struct array *array, uint64_t reference) {
  uint64_t step = array->count / REFERENCES;
  return reference * step + array->serial % (step - 1);
}

/* An array of the type in `*root`; false: not all of it could be made. */
static bool make_array(struct life *life, const tarn_type *type, void **root) {
  size_t bytes = some_size(life->random) - sizeof(struct array);
  struct array *array = *root = tarn_new_array(life->self, type, bytes / 8);
  if (!got(life, array))
    return false;
  STRESS_EQUAL(array->count, bytes / 8);
  check_zero(&array->serial, bytes);
  struct account *counts = tarn_type_user(type);
  array->state = ALIVE;
  if (counts)
    atomic_fetch_add_explicit(&counts->made, 1, memory_order_relaxed);
  array->serial = atomic_fetch_add_explicit(&next_serial, 1, memory_order_relaxed);
  for (uint64_t i = 0; i < REFERENCES; i++) {
    struct leaf *leaf = tarn_new(life->self, leaf_type);
    if (!got(life, leaf))
      return false;
    leaf->serial = array->serial + i;
    array->elements[place_of(array, i)] = leaf;
  }
  _Atomic uintptr_t *address = &addresses[stress_below(life->random, 64)];
  array->elements[place_of(array, 0) + 1] =
      (void *)atomic_load_explicit(address, memory_order_relaxed);
  atomic_store_explicit(address, (uintptr_t)array, memory_order_relaxed);
  return true;
}

static void check_array(const struct array *array) {
  STRESS_EQUAL(array->state, ALIVE);
  for (uint64_t i = 0; i < REFERENCES; i++) {
    uint64_t place = place_of(array, i);
    const struct leaf *leaf = array->elements[place];
    STRESS_CHECK(leaf->type == leaf_type);
    STRESS_EQUAL(leaf->serial, array->serial + i);
    STRESS_CHECK(i == 0 || !array->elements[place + 1]);
  }
}

static bool make_raw(struct life *life) {
  size_t size = some_size(life->random);
  struct raw *raw = life->block = tarn_alloc_atomic(life->self, size);
  if (!got(life, raw))
    return false;
  check_zero(raw, size);
  *raw = (struct raw){atomic_fetch_add_explicit(&next_serial, 1, memory_order_relaxed), size};
  uint64_t *words = life->block;
  for (size_t i = 2; i < size / 8; i += 253)
    words[i] = raw->serial + i;
  words[size / 8 - 1] = ~raw->serial;
  return true;
}

static void check_raw(const void *block) {
  const struct raw *raw = block;
  const uint64_t *words = block;
  STRESS_CHECK(tarn_usable_size(world, block) >= raw->size);
  for (size_t i = 2; i + 1 < raw->size / 8; i += 253)
    STRESS_EQUAL(words[i], raw->serial + i);
  STRESS_EQUAL(words[raw->size / 8 - 1], ~raw->serial);
}

/* --- what threads do ------------------------------------------------------------------------- */

/* Puts life->block (or nothing) into the slot, and frees or drops what was there. */
static void put(struct life *life, unsigned slot) {
  /* Release and acquire: the content goes from thread to thread. */
  life->block = __atomic_exchange_n(&slots[slot], life->block, __ATOMIC_ACQ_REL);
  if (!life->block)
    return;
  if (slot & 1)
    check_raw(life->block);
  else
    check_array(life->block);
  if (stress_below(life->random, 3) != 0)
    tarn_free(life->self, life->block);
  life->block = NULL;
}

static void exchange(struct life *life) {
  unsigned slot = (unsigned)stress_below(life->random, SLOTS);
  bool good = slot & 1 ? make_raw(life)
                       : make_array(life, stress_below(life->random, 2) ? plain_type : counted_type,
                                    &life->block);
  if (good) {
    put(life, slot);
    return;
  }
  for (unsigned i = 0; i < 8; i++) { /* so that there is room again */
    life->block = NULL;
    put(life, (slot + i) % SLOTS);
  }
}

static void fill_and_drop(struct life *life) {
  struct account counts = {0};
  tarn_heap *heap = NULL;
  bool container = stress_below(life->random, 2);
  STRESS_EQUAL(tarn_heap_create(world, container ? TARN_HEAP_CONTAINER : TARN_HEAP_ATOMIC, &heap),
               TARN_OK);
  const tarn_type *type = container ? make_array_type("of a heap", heap, &counts) : NULL;
  for (uint64_t n = stress_below(life->random, 12); n > 0; n--) {
    if (container) {
      if (make_array(life, type, &life->block))
        check_array(life->block);
    } else {
      size_t size = stress_below(life->random, 3) ? (size_t)stress_below(life->random, 4000)
                                                  : some_size(life->random);
      life->block = tarn_heap_alloc(life->self, heap, size);
      if (got(life, life->block))
        check_zero(life->block, size);
    }
    if (stress_below(life->random, 2))
      life->list = life->block; /* lives through collections until the drop */
    else if (stress_below(life->random, 2) && life->block != life->list)
      tarn_free(life->self, life->block);
    life->block = NULL;
    tarn_safepoint(life->self);
  }
  STRESS_EQUAL(tarn_heap_destroy(life->self, heap), TARN_OK);
  life->list = NULL;
  STRESS_EQUAL(atomic_load(&counts.freed), atomic_load(&counts.made));
  /* `counts` ends here: nobody may touch the type's user word any more. */
  atomic_fetch_add_explicit(&heaps_dropped, 1, memory_order_relaxed);
}

static void work(void *data, unsigned number) {
  struct stress_random random = stress_random_of(number);
  struct life life = {.self = stress_attach(world), .random = &random};
  (void)data;
  {
    TARN_FRAME(life.self, &life.block, &life.list);
    for (uint64_t round = 0; stress_on(&round);) {
      for (unsigned i = 0; i < 10; i++)
        exchange(&life);
      if (stress_below(&random, 2))
        fill_and_drop(&life);
      if (stress_below(&random, 30) == 0)
        STRESS_EQUAL(tarn_collect(life.self, TARN_GENERATION_FULL), TARN_OK);
      if (stress_below(&random, 30) == 0)
        STRESS_EQUAL(tarn_world_set_limits(world, 0, stress_below(&random, 2) ? LIMIT : LIMIT / 2),
                     TARN_OK);
      if (number == 0 && round % 64 == 0)
        stress_verify(life.self);
    }
  }
  STRESS_EQUAL(tarn_thread_detach(life.self), TARN_OK);
}

static void check_end(struct life *life) {
  for (unsigned i = 0; i < SLOTS; i++) {
    if (slots[i] && i & 1)
      check_raw(slots[i]);
    else if (slots[i])
      check_array(slots[i]);
    slots[i] = NULL;
  }
  STRESS_EQUAL(tarn_collect(life->self, TARN_GENERATION_FULL), TARN_OK);
  (void)tarn_release_pending(life->self, 0);
  STRESS_EQUAL(atomic_load(&account.freed), atomic_load(&account.made));
  STRESS_EQUAL(tarn_collect(life->self, TARN_GENERATION_FULL), TARN_OK);
  tarn_stats stats = stress_stats(world);
  STRESS_EQUAL(stats.live_objects, 0);
  STRESS_EQUAL(stats.large_objects, 0);
  STRESS_EQUAL(stats.heaps, 2);
  STRESS_EQUAL(stats.heap_bytes, 0);
  STRESS_CHECK(stats.heap_bytes_max <= LIMIT);
  stress_verify(life->self);
  /* The limit is an account, and the account is even: all of it can be had, and not more. */
  STRESS_EQUAL(tarn_world_set_limits(world, 0, LIMIT), TARN_OK);
  STRESS_CHECK(!tarn_alloc_atomic(life->self, LIMIT + 1));
  STRESS_EQUAL(tarn_thread_status(life->self), TARN_ELIMIT);
  void *all = tarn_alloc_atomic(life->self, LIMIT - MIB);
  STRESS_CHECK(all);
  check_zero(all, LIMIT - MIB);
  tarn_free(life->self, all);
}

int main(int count, char **arguments) {
  stress_begin(count, arguments,
               "large objects that are lost, freed twice, not cleared or scanned after their end");
  world = stress_world("hard-limit=96M,min-heap=8M");
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = "leaf";
  spec.size = sizeof(struct leaf);
  leaf_type = tarn_type_create(world, &spec, NULL);
  plain_type = make_array_type("plain", NULL, NULL);
  counted_type = make_array_type("counted", NULL, &account);
  STRESS_CHECK(leaf_type);
  STRESS_EQUAL(tarn_world_set_near_limit(world, near_limit, NULL), TARN_OK);
  for (unsigned i = 0; i < SLOTS; i++)
    STRESS_EQUAL(tarn_root_add(world, &slots[i]), TARN_OK);
  stress_run(world, stress.threads, work, NULL);

  struct stress_random random = stress_random_of(1000);
  struct life life = {.self = stress_attach(world), .random = &random};
  stress_verify(life.self);
  check_end(&life);
  fprintf(stderr, "  %llu refused, %llu heaps dropped, near the limit %llu times\n",
          (unsigned long long)atomic_load(&refused),
          (unsigned long long)atomic_load(&heaps_dropped),
          (unsigned long long)atomic_load(&near_calls));
  STRESS_EQUAL(tarn_world_destroy(world), TARN_OK);
  return stress_end();
}
