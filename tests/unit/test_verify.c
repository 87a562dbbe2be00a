/* SPDX-License-Identifier: MIT */
/*
 * tarn_verify and the shadow marking: sound worlds pass, whatever they went through, and each kind
 * of damage is found and named.  Damage is done through the library's own structures, and undone.
 */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "inspect/events.h"
#include <tarn/tarn.h>

/* ---- A world with something of everything ------------------------------------------------------
 */

#define NODES 3000
#define LARGE ((size_t)200000)

struct node {
  const tarn_type *type;
  struct node *next; /* traced */
  uintptr_t raw[2];
};

struct holder { /* an object with a data block */
  const tarn_type *type;
  void *data;
};

struct poke {
  void *where;
  size_t size;
  unsigned char old[16];
};

struct fixture {
  tarn_world *world;
  tarn_thread *self;
  const tarn_type *node, *leaf, *resource, *array, *holder;
  void *root[8];
  struct node *nodes; /* a list of NODES */
  void *freed;        /* a free block in a pool of nodes */
  void *raw, *large;  /* raw blocks */
  void *list;         /* an array object */
  struct holder *owner;
  void *weak;
  struct poke pokes[8];
  unsigned poke_count;
};

static void free_nothing(tarn_world *world, void *object) { (void)world, (void)object; }

static const tarn_type *make_type(struct fixture *f, tarn_type_spec spec) {
  spec.struct_size = sizeof spec;
  const tarn_type *type = tarn_type_create(f->world, &spec, NULL);
  assert_non_null(type);
  return type;
}

static void make_types(struct fixture *f) {
  f->node = make_type(f, (tarn_type_spec){.name = "node", .size = 32, .slot_bits = 2});
  f->leaf = make_type(f, (tarn_type_spec){.name = "leaf", .size = 32});
  f->resource = make_type(
      f, (tarn_type_spec){.name = "resource", .size = 32, .slot_bits = 2, .free = free_nothing});
  f->array = make_type(
      f, (tarn_type_spec){
             .name = "array", .size = 16, .element_size = 8, .flags = TARN_TYPE_ELEMENTS_TRACED});
  f->holder = make_type(
      f, (tarn_type_spec){
             .name = "holder", .size = 16, .data_size = 64, .flags = TARN_TYPE_DATA_TRACED});
}

/* Nobody else looks at what is damaged here on purpose. */
static void open_with(struct fixture *f, const char *set) {
  char all[256];
  tarn_options options = TARN_OPTIONS_INIT;
  (void)snprintf(all, sizeof all, "purge-delay=1h,idle-collect=0,%s", set);
  options.set = all;
  options.lock = "all";
  memset(f, 0, sizeof *f);
  assert_int_equal(tarn_world_create(&options, &f->world), TARN_OK);
  assert_int_equal(tarn_thread_attach(f->world, &f->self), TARN_OK);
  make_types(f);
}

static void collect(struct fixture *f) {
  assert_int_equal(tarn_collect(f->self, TARN_GENERATION_FULL), TARN_OK);
}

static void *must(void *block) {
  assert_non_null(block);
  return block;
}

static void add_nodes(struct fixture *f, unsigned count) {
  for (unsigned i = 0; i < count; i++) {
    struct node *node = must(tarn_new(f->self, f->node));
    node->next = f->root[0];
    f->root[0] = node;
  }
  f->nodes = f->root[0];
}

static void populate(struct fixture *f) {
  for (size_t i = 0; i < 8; i++)
    assert_int_equal(tarn_root_add(f->world, &f->root[i]), TARN_OK);
  add_nodes(f, NODES);
  f->raw = f->root[1] = must(tarn_alloc_atomic(f->self, 100));
  f->large = f->root[2] = must(tarn_alloc_atomic(f->self, LARGE));
  f->list = f->root[3] = must(tarn_new_array(f->self, f->array, 10));
  f->owner = f->root[4] = must(tarn_new(f->self, f->holder));
  f->weak = f->root[5] = must(tarn_weak_new(f->self, f->raw));
  f->root[6] = must(tarn_new_array(f->self, f->array, 10000)); /* large as well */
  f->root[7] = must(tarn_new(f->self, f->resource));
  for (unsigned i = 0; i < 100; i++) {
    (void)must(tarn_new(f->self, f->leaf));
    (void)must(tarn_new(f->self, f->resource));
    tarn_free(f->self, must(tarn_alloc_atomic(f->self, 100 + i)));
  }
  /* A block that is freed out of the middle of the list's newest pool, and stays free. */
  struct node *before = f->root[0];
  f->freed = before->next;
  before->next = before->next->next;
  tarn_free(f->self, f->freed);
  /* A stop would drop spare pools, and what is damaged is put back as it was. */
  (void)tarn_trim(f->world, SIZE_MAX);
}

static void close_world(struct fixture *f) {
  assert_int_equal(tarn_thread_detach(f->self), TARN_OK);
  assert_int_equal(tarn_world_destroy(f->world), TARN_OK);
}

static int set_up(void **state) {
  struct fixture *f = malloc(sizeof *f);
  open_with(f, "collect=0");
  populate(f);
  *state = f;
  return 0;
}

static int tear_down(void **state) {
  close_world(*state);
  free(*state);
  return 0;
}

/* ---- Damage ------------------------------------------------------------------------------------
 */

static void expect_sound(struct fixture *f) {
  char message[512] = "";
  if (tarn_verify(f->self, message, sizeof message) != TARN_OK)
    fail_msg("a sound world: %s", message);
  assert_string_equal(message, "");
}

/* Writes over memory; `expect` puts back what was there. */
static void poke(struct fixture *f, void *where, const void *what, size_t size) {
  struct poke *entry = &f->pokes[f->poke_count++];
  assert_true(f->poke_count <= 8 && size <= sizeof entry->old);
  entry->where = where;
  entry->size = size;
  memcpy(entry->old, where, size);
  memcpy(where, what, size);
}

static void poke_byte(struct fixture *f, void *where, uint8_t value) { poke(f, where, &value, 1); }
static void poke_half(struct fixture *f, uint16_t *where, uint16_t value) {
  poke(f, where, &value, sizeof value);
}
static void poke_int(struct fixture *f, uint32_t *where, uint32_t value) {
  poke(f, where, &value, sizeof value);
}
static void poke_word(struct fixture *f, void *where, uintptr_t value) {
  poke(f, where, &value, sizeof value);
}
static void poke_map(struct fixture *f, size_t unit, uint64_t value) {
  poke(f, (void *)&tarn_space.map[unit], &value, sizeof value);
}

static bool contains(const char *text, uintptr_t address) {
  char number[32];
  (void)snprintf(number, sizeof number, "%p", (void *)address);
  return strstr(text, number) != NULL;
}

/* The damage is found, worded with `text` and the address (unless 0); undone, all is well. */
static void expect(struct fixture *f, const char *text, uintptr_t address) {
  char message[512] = "";
  tarn_status status = tarn_verify(f->self, message, sizeof message);
  while (f->poke_count > 0) {
    struct poke *entry = &f->pokes[--f->poke_count];
    memcpy(entry->where, entry->old, entry->size);
  }
  if (status != TARN_ECORRUPT || !strstr(message, text) || (address && !contains(message, address)))
    fail_msg("expected \"%s\" with %p, got status %d: %s", text, (void *)address, (int)status,
             message);
  expect_sound(f);
}

static struct tarn_pool *pool_of(const void *block) { return tarn_pool_of((uintptr_t)block); }
static uintptr_t base_of(const void *block) {
  return (uintptr_t)block & ~(uintptr_t)(TARN_UNIT_SIZE - 1);
}

/* A free unit of the world's arena. */
static size_t free_unit(const struct fixture *f) {
  const struct tarn_arena *arena = f->world->store.arenas;
  for (size_t i = 0; i < arena->units; i++)
    if (arena->free[i / 64] >> (i % 64) & 1)
      return tarn_unit_of(arena->base) + i;
  fail_msg("no unit is free");
  return 0;
}

static struct tarn_bin *bin_of(const struct fixture *f, const void *block) {
  const struct tarn_pool *pool = pool_of(block);
  return &tarn_local_of(f->self)->bins[pool->flavour][pool->size_class];
}

/* ---- Sound worlds -------------------------------------------------------------------------------
 */

static void a_new_world_is_sound(void **state) {
  struct fixture f;
  (void)state;
  open_with(&f, "collect=0");
  expect_sound(&f);
  collect(&f);
  expect_sound(&f);
  close_world(&f);
}

static void a_world_is_sound_before_and_after_collections(void **state) {
  struct fixture *f = *state;
  expect_sound(f);
  for (int i = 0; i < 4; i++) {
    collect(f);
    expect_sound(f);
    add_nodes(f, 700);
    f->root[i] = NULL;
    expect_sound(f);
  }
  for (int i = 0; i < 8; i++)
    f->root[i] = NULL;
  collect(f);
  expect_sound(f);
}

static void more_heaps_are_sound_until_they_are_destroyed(void **state) {
  struct fixture *f = *state;
  tarn_heap *heap;
  assert_int_equal(tarn_heap_create(f->world, TARN_HEAP_CONTAINER, &heap), TARN_OK);
  const tarn_type *type = make_type(
      f, (tarn_type_spec){.name = "in a heap", .size = 48, .heap = heap, .free = free_nothing});
  for (int i = 0; i < 5000; i++)
    (void)must(tarn_new(f->self, type));
  expect_sound(f);
  collect(f);
  for (int i = 0; i < 50; i++)
    (void)must(tarn_new(f->self, type));
  expect_sound(f);
  assert_int_equal(tarn_heap_destroy(f->self, heap), TARN_OK);
  expect_sound(f);
}

struct worker {
  tarn_world *world;
  const struct fixture *f;
  _Atomic(void *) *exchange;
  unsigned seed;
  char message[512];
};

static unsigned next_random(struct worker *worker) {
  worker->seed = worker->seed * 1664525u + 1013904223u;
  return worker->seed >> 8;
}

static void one_step(struct worker *worker, tarn_thread *self, void **list) {
  static const size_t sizes[] = {8, 24, 100, 1000, 20000, 70000};
  unsigned choice = next_random(worker) % 64;
  struct node *node = tarn_new(self, choice % 3 ? worker->f->node : worker->f->resource);
  if (node) {
    node->next = next_random(worker) % 50 ? *list : NULL;
    *list = node;
  }
  /* A raw block that another thread may free: it goes through one word that all share. */
  void *block = tarn_alloc_atomic(self, sizes[choice % 6]);
  block = atomic_exchange_explicit(worker->exchange, block, memory_order_acq_rel);
  tarn_free(self, block);
  if (choice == 0 && tarn_verify(self, worker->message, sizeof worker->message) == TARN_ECORRUPT)
    return;
  if (choice == 1) {
    tarn_block_begin(self);
    tarn_block_end(self);
  }
}

static void *work(void *data) {
  struct worker *worker = data;
  tarn_thread *self;
  void *list = NULL;
  if (tarn_thread_attach(worker->world, &self) != TARN_OK)
    return "not attached";
  {
    TARN_FRAME(self, &list);
    for (int i = 0; i < 1500 && !worker->message[0]; i++)
      one_step(worker, self, &list);
  }
  return tarn_thread_detach(self) == TARN_OK ? NULL : "not detached";
}

/* With `verify`, each collection checks itself, with the shadow marking, and would abort. */
static void run_threads(const char *set) {
  struct fixture f;
  _Atomic(void *) exchange;
  struct worker workers[3];
  pthread_t threads[3];
  atomic_init(&exchange, NULL);
  open_with(&f, set);
  /* A root: or the next collection would take the block that lies there. */
  assert_int_equal(tarn_root_add(f.world, (void **)(void *)&exchange), TARN_OK);
  for (unsigned i = 0; i < 3; i++) {
    workers[i] = (struct worker){.world = f.world, .f = &f, .exchange = &exchange, .seed = i};
    assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
  }
  tarn_block_begin(f.self);
  for (unsigned i = 0; i < 3; i++) {
    void *result;
    assert_int_equal(pthread_join(threads[i], &result), 0);
    assert_null(result);
    assert_string_equal(workers[i].message, "");
  }
  tarn_block_end(f.self);
  tarn_free(f.self, atomic_load_explicit(&exchange, memory_order_acquire));
  expect_sound(&f);
  tarn_stats stats = {.struct_size = sizeof stats};
  assert_int_equal(tarn_stats_get(f.world, &stats), TARN_OK);
  assert_true(stats.collections > 3);
  close_world(&f);
}

static void threads_that_share_blocks_leave_a_sound_world(void **state) {
  (void)state;
  run_threads("verify=1,min-heap=1M,scan-stack=0");
}
static void conservative_stacks_leave_a_sound_world(void **state) {
  (void)state;
  run_threads("verify=1,min-heap=1M,scan-stack=1");
}

/* ---- Damage to arenas, map words, free units
 * ------------------------------------------------------ */

static void damage_to_arenas_is_named(void **state) {
  struct fixture *f = *state;
  struct tarn_arena *arena = f->world->store.arenas;
  size_t unit = tarn_unit_of((uintptr_t)f->nodes), bit = unit - tarn_unit_of(arena->base);
  poke_word(f, &arena->free[bit / 64], arena->free[bit / 64] ^ (uintptr_t)1 << (bit % 64));
  expect(f, "is free in its arena, but its map word", base_of(f->nodes));
  poke_word(f, &arena->free_units, arena->free_units + 1);
  expect(f, "free_units", arena->base);
  uint64_t *dirty = &tarn_arena_dirty(arena)[bit / 64];
  poke_word(f, dirty, *dirty ^ (uintptr_t)1 << (bit % 64));
  expect(f, "its dirty bit", base_of(f->nodes));
  poke_word(f, &arena->dirty_units, arena->dirty_units + 1);
  expect(f, "dirty_units", arena->base);
  poke_word(f, &arena->longest, 0);
  expect(f, "longer than the bound", arena->base);
  poke_word(f, &f->world->store.hints[0], 0);
  expect(f, "has passed", arena->base);
  poke_word(f, &f->world->store.dirty, 12345);
  expect(f, "the counter `dirty`", 0);
  poke_word(f, tarn_arena_slot(arena->base), 0);
  expect(f, "not in the table", arena->base);
  poke_word(f, &arena->units, arena->units + 1);
  expect(f, "does not lie in the heap range", arena->base);
  poke_word(f, &arena->next, (uintptr_t)arena);
  expect(f, "cycle", 0);
  collect(f);
  poke_byte(f, &arena->marks, 0);
  expect(f, "no mark bytes", arena->base);
}

static void damage_to_map_words_is_named(void **state) {
  struct fixture *f = *state;
  size_t unit = tarn_unit_of((uintptr_t)f->nodes);
  uint64_t map = tarn_map_get(unit);
  poke_map(f, unit, map + 1); /* the reciprocal */
  expect(f, "does not fit its descriptor", base_of(f->nodes));
  poke_map(f, unit, map ^ (uint64_t)1 << 32); /* the block size */
  expect(f, "does not fit its descriptor", base_of(f->nodes));
  poke_map(f, unit, map ^ (uint64_t)1 << 50);
  expect(f, "of world", base_of(f->nodes));
  poke_map(f, unit, map | (uint64_t)3 << 47);
  expect(f, "no known form", base_of(f->nodes));
  poke_map(f, unit, map | (uint64_t)TARN_FORM_REST << 47);
  expect(f, "is on no list", base_of(f->nodes));
  poke_map(f, unit, 0);
  expect(f, "is used, but its map word is 0", base_of(f->nodes));
  poke_map(f, free_unit(f), map);
  expect(f, "is free in its arena, but its map word", tarn_unit_base(free_unit(f)));
}

static void damage_to_free_units_is_named(void **state) {
  struct fixture *f = *state;
  size_t unit = free_unit(f);
  uintptr_t base = tarn_unit_base(unit);
  poke_int(f, &tarn_space.pools[unit].dirty, TARN_UNIT_SIZE + 1);
  expect(f, "dirty", base);
  uint32_t dirty = tarn_space.pools[unit].dirty;
  assert_true(dirty + 100 < TARN_UNIT_SIZE);
  poke_byte(f, (char *)base + dirty + 99, 1);
  expect(f, "is not zero", base);
  collect(f);
  unit = free_unit(f);
  poke_byte(f, tarn_mark_byte(tarn_unit_base(unit) + 64), 1);
  expect(f, "in a free unit", tarn_unit_base(unit) + 64);
}

/* ---- Damage to pools
 * ------------------------------------------------------------------------------ */

static void damage_to_descriptors_is_named(void **state) {
  struct fixture *f = *state;
  struct tarn_pool *pool = pool_of(f->nodes);
  uintptr_t base = base_of(f->nodes);
  poke_int(f, &pool->own.room, pool->own.room + 1);
  expect(f, "used is", base);
  poke_int(f, &pool->own.room, 65000);
  expect(f, "used is", base);
  poke_int(f, &pool->own.cursor, pool->own.cursor - 8);
  expect(f, "not at a block start", base);
  poke_int(f, &pool->own.cursor, pool->own.virgin + 32);
  expect(f, "is beyond the virgin limit", base);
  poke_int(f, &pool->own.virgin, TARN_UNIT_SIZE + 32);
  expect(f, "virgin limit", base);
  poke_half(f, &pool->capacity, 7);
  expect(f, "capacity", base);
  poke_byte(f, &pool->size_class, TARN_CLASS_COUNT);
  expect(f, "size class", base);
  poke_byte(f, &pool->size_class, 5);
  expect(f, "does not fit its descriptor", base);
  poke_byte(f, &pool->flavour, TARN_FLAVOUR_LEAF);
  expect(f, "flavour", base);
  poke_byte(f, &pool->flavour, 77);
  expect(f, "flavour", base);
  poke_word(f, &pool->heap, 0x1230);
  expect(f, "is not a heap of the world", base);
  poke_word(f, &pool->heap, (uintptr_t)f->world->atomic_heap);
  expect(f, "does not fit heap 0", base);
  poke_word(f, (void *)&pool->large, base);
  expect(f, "names a large object", base);
}

static void *owner_of(const struct tarn_pool *pool) {
  return (void *)&tarn_space.owners[tarn_pool_unit(pool)];
}

static void damage_to_lists_is_named(void **state) {
  struct fixture *f = *state;
  struct tarn_pool *pool = pool_of(f->nodes);
  struct tarn_bin *bin = bin_of(f, f->nodes);
  uintptr_t base = base_of(f->nodes);
  assert_ptr_equal(bin->head.pool, pool);
  assert_non_null(bin->full);
  poke_byte(f, &pool->list, TARN_LIST_NONE);
  expect(f, "list state", base);
  poke_byte(f, &pool->list, TARN_LIST_FULL);
  expect(f, "list state", base);
  poke_byte(f, &bin->full->list, TARN_LIST_CURRENT);
  expect(f, "its own list state", tarn_pool_base(bin->full));
  poke_word(f, owner_of(pool), 0);
  expect(f, "owner is", base);
  poke_word(f, owner_of(bin->full), (uintptr_t)f);
  expect(f, "owner is", tarn_pool_base(bin->full));
  poke_word(f, &bin->full, 0); /* lost */
  expect(f, "is not on the list", 0);
  poke_word(f, &bin->full, (uintptr_t)pool); /* on two */
  expect(f, "its own list state", base);
  poke_word(f, &bin->full, (uintptr_t)f);
  expect(f, "is no pool of the world", (uintptr_t)f);
  poke_word(f, &bin->full->next, (uintptr_t)pool);
  expect(f, "links are broken", tarn_pool_base(bin->full));
  poke_word(f, &bin->head.pool, (uintptr_t)f);
  expect(f, "is no pool of the world", (uintptr_t)f);
  poke_word(f, &bin->head.pool, 0);
  expect(f, "has a run, but no pool", 0);
  poke_word(f, &pool->next, (uintptr_t)pool);
  expect(f, "linked to others", base);
  poke_word(f, &tarn_local_of(f->self)->never.head.limit, 64);
  expect(f, "stays empty", 0);
}

static void a_pool_lost_from_a_shelf_is_named(void **state) {
  struct fixture *f = *state;
  collect(f);
  struct tarn_pool *pool = pool_of(f->raw);
  struct tarn_shelf *shelf = &pool->heap->shelves[pool->flavour][pool->size_class];
  assert_ptr_equal(shelf->some, pool);
  poke_word(f, &shelf->some, 0);
  expect(f, "is not on the list", base_of(f->raw));
  poke_word(f, &shelf->full, (uintptr_t)pool);
  expect(f, "is on a list of state 5, but its own list state is 4", base_of(f->raw));
  poke_byte(f, &pool->list, TARN_LIST_SHELF_FULL);
  expect(f, "does not fit its contents", base_of(f->raw));
  poke_byte(f, &pool->list, TARN_LIST_CONDEMNED);
  expect(f, "does not fit its contents", base_of(f->raw));
  poke_word(f, owner_of(pool), (uintptr_t)f->self);
  expect(f, "owner is", base_of(f->raw));
}

static void damage_to_runs_is_named(void **state) {
  struct fixture *f = *state;
  struct tarn_bin *bin = bin_of(f, f->nodes);
  uintptr_t base = base_of(f->nodes);
#if !TARN_ZEAL /* there each piece is one block, and handed out at once */
  assert_true(bin->head.bump < bin->head.limit);
  poke_byte(f, bin->head.bump + 7, 1);
  expect(f, "was not handed out yet", (uintptr_t)bin->head.bump);
#endif
  poke_word(f, &bin->head.limit, (uintptr_t)bin->head.limit - 32);
  expect(f, "its bin's limit", base);
  poke_word(f, &bin->head.bump, (uintptr_t)bin->head.bump + 8);
  expect(f, "is not one", base);
  poke_word(f, &bin->head.bump, (uintptr_t)bin->head.limit + 32);
  expect(f, "is not one", base);
  poke_word(f, &bin->run_end, base + TARN_UNIT_SIZE + 32);
  expect(f, "is not one", base);
#if !TARN_ZEAL
  collect(f);
  do /* past the holes of one block */
    add_nodes(f, 1);
  while (bin_of(f, f->nodes)->head.bump == bin_of(f, f->nodes)->run_end);
  poke_byte(f, tarn_mark_byte((uintptr_t)bin_of(f, f->nodes)->head.bump), f->world->store.epoch);
  expect(f, "in the run of a bin", (uintptr_t)bin_of(f, f->nodes)->head.bump);
#endif
}

/* ---- Damage to blocks
 * ----------------------------------------------------------------------------- */

static void damage_to_free_lists_is_named(void **state) {
  struct fixture *f = *state;
  struct tarn_pool *pool = pool_of(f->freed);
  uintptr_t *words = f->freed;
  assert_ptr_equal(pool->own.free, f->freed);
  poke_word(f, words, 1);
  expect(f, "is on its free list, but its first word is 0x1", (uintptr_t)words);
  poke_word(f, words + 1, tarn_link_encode(words, words));
  expect(f, "cycle", base_of(words));
  poke_word(f, words + 1, tarn_link_encode(words, words + 1));
  expect(f, "is no block of it", (uintptr_t)words + 8);
  poke_word(f, words + 1, tarn_link_encode(words, (void *)(base_of(words) + TARN_UNIT_SIZE)));
  expect(f, "is no block of it", base_of(words) + TARN_UNIT_SIZE);
  poke_word(f, words + 1, tarn_link_encode(words, f->nodes));
  expect(f, "but its first word", (uintptr_t)f->nodes);
  poke_word(f, words + 1, tarn_link_encode(words, bin_of(f, f->nodes)->head.bump));
#if TARN_CHECKING
  expect(f, "was written to", 0); /* not poisoned: it was never freed */
#else
  expect(f, "not below the bin's run", (uintptr_t)bin_of(f, f->nodes)->head.bump);
#endif
  poke_word(f, &pool->own.free, 0); /* leaked */
  expect(f, "are free by their first word", base_of(words));
#if TARN_CHECKING
  poke_byte(f, (char *)words + 20, 0);
  expect(f, "was written to: byte 20", (uintptr_t)words);
#endif
}

static void damage_to_free_raw_blocks_is_named(void **state) {
  struct fixture *f = *state;
  void *block = must(tarn_alloc_atomic(f->self, 100));
  tarn_free(f->self, block);
  poke_word(f, block, 0); /* what a typed free block has */
  expect(f, "is on its free list, but its first word", (uintptr_t)block);
}

struct free_it {
  tarn_world *world;
  void *block;
};

static void *free_it(void *data) {
  const struct free_it *job = data;
  tarn_thread *self;
  if (tarn_thread_attach(job->world, &self) != TARN_OK)
    return "not attached";
  tarn_free(self, job->block);
  return tarn_thread_detach(self) == TARN_OK ? NULL : "not detached";
}

/* The main thread is blocked meanwhile, so the block stays in the mailbox until the next stop. */
static void free_elsewhere(struct fixture *f, void *block) {
  struct free_it job = {f->world, block};
  pthread_t thread;
  void *result = NULL;
  assert_int_equal(pthread_create(&thread, NULL, free_it, &job), 0);
  tarn_block_begin(f->self);
  (void)pthread_join(thread, &result);
  tarn_block_end(f->self);
  assert_null(result);
}

static void damage_to_remote_bits_is_named(void **state) {
  struct fixture *f = *state;
  f->root[7] = must(tarn_alloc_atomic(f->self, 100)); /* so that the pool stays */
  for (int round = 0; round < 2; round++) {           /* below the cursor, and beyond it */
    struct tarn_pool *pool = pool_of(f->raw);
    _Atomic uint64_t *bits = tarn_remote_bits(tarn_pool_unit(pool));
    f->root[1] = NULL;
    free_elsewhere(f, f->raw);
    assert_int_equal(atomic_load(&pool->remote), 1);
    /* A collection puts the pools of all threads on shelves. */
    tarn_mailbox *box = round == 0 ? &tarn_local_of(f->self)->mailbox : &pool->heap->orphans;
    assert_ptr_equal(atomic_load(box), pool);
    expect_sound(f); /* the stop has brought it home */
    assert_int_equal(atomic_load(&pool->remote), 0);
    assert_null(atomic_load(box));
    poke_word(f, (void *)&bits[1], 16);
    expect(f, "word 1 of its remote bits is 0x10", base_of(f->raw));
    poke_int(f, (void *)&pool->remote, 1);
    expect(f, "0 remote bits are set, but 1 were counted", base_of(f->raw));
    poke_byte(f, (void *)&pool->parked, 1);
    expect(f, "blocks freed by others were not taken back", base_of(f->raw));
    f->raw = f->root[1] = must(tarn_alloc_atomic(f->self, 100));
    collect(f);
  }
}

static bool go_on(const tarn_block_info *info, void *data) {
  (void)info, (void)data;
  return true;
}

/* A block that another thread freed into a full pool must still be found by its owner. */
static void a_walk_leaves_a_sound_world(void **state) {
  struct fixture *f = *state;
  struct tarn_pool *full = bin_of(f, f->nodes)->full;
  assert_non_null(full);
  struct node *before = f->nodes;
  while (pool_of(before) != full || pool_of(before->next) != full)
    before = before->next;
  void *block = before->next;
  before->next = before->next->next;
  free_elsewhere(f, block);
  expect_sound(f);
  assert_int_equal(tarn_heap_walk(f->self, go_on, NULL), TARN_OK);
  expect_sound(f);
}

static void damage_to_mark_bytes_is_named(void **state) {
  struct fixture *f = *state;
  collect(f);
  uint8_t epoch = f->world->store.epoch, other = epoch == 1 ? 2 : 1;
  uintptr_t block = (uintptr_t)f->nodes;
  poke_byte(f, tarn_mark_byte(block), 0); /* the block is dead now, and not counted */
  expect(f, "used is", base_of(f->nodes));
  poke_byte(f, tarn_mark_byte(block), other);
  expect(f, "mark byte", block);
  poke_byte(f, tarn_mark_byte(block), TARN_MARK_WATCHED);
  expect(f, "mark byte 4", block);
  poke_byte(f, tarn_mark_byte(block), TARN_MARK_CONDEMNED);
  expect(f, "is condemned, but its pool's list state", block);
  poke_byte(f, tarn_mark_byte(block + 16), epoch);
  expect(f, "where no block starts", block + 16);
  poke_byte(f, tarn_mark_byte((uintptr_t)f->large + 4096), epoch);
  expect(f, "inside a large object", (uintptr_t)f->large + 4096);
  poke_byte(f, tarn_mark_byte((uintptr_t)f->large), TARN_MARK_WATCHED);
  expect(f, "mark byte 4", (uintptr_t)f->large);
  poke_byte(f, tarn_mark_byte((uintptr_t)f->large), TARN_MARK_CONDEMNED);
  expect(f, "has no `free` function", (uintptr_t)f->large);
  struct tarn_pool *pool = pool_of(f->raw);
  size_t size = tarn_pool_block_size(pool), beyond = (pool->own.virgin / size + 1) * size;
  poke_byte(f, tarn_mark_byte(base_of(f->raw) + beyond), epoch);
  expect(f, "beyond the virgin limit", base_of(f->raw) + beyond);
}

static void a_write_beyond_the_virgin_limit_is_named(void **state) {
  struct fixture *f = *state;
  struct tarn_pool *pool = pool_of(f->raw);
  poke_byte(f, (char *)base_of(f->raw) + pool->own.virgin + 500, 1);
  expect(f, "beyond the virgin limit", base_of(f->raw));
}

/* ---- Damage to objects
 * ---------------------------------------------------------------------------- */

static void damage_to_objects_is_named(void **state) {
  struct fixture *f = *state;
  for (int round = 0; round < 2; round++) {
    uintptr_t node = (uintptr_t)f->nodes;
    poke_word(f, f->nodes, 0x12345); /* wild */
    expect(f, "is not a type of the world", node);
    poke_word(f, f->nodes, (uintptr_t)f->nodes->next);
    expect(f, "is not a type of the world", node);
    poke_word(f, f->nodes, 0);
    expect(f, "are free by their first word", base_of(f->nodes));
    poke_word(f, f->nodes, (uintptr_t)f->resource);
    expect(f, "is in a pool of flavour", node);
    poke_word(f, f->owner, (uintptr_t)f->node);
    expect(f, "needs 32 bytes", (uintptr_t)f->owner);
    poke_word(f, (uintptr_t *)f->list + 1, 12);
    expect(f, "its count is 12", (uintptr_t)f->list);
    poke_word(f, (uintptr_t *)f->list + 1, SIZE_MAX);
    expect(f, "its count is", (uintptr_t)f->list);
    poke_word(f, (uintptr_t *)f->root[6], 0x7777); /* a large one */
    expect(f, "is not a type of the world", (uintptr_t)f->root[6]);
    poke_word(f, &f->owner->data, (uintptr_t)f);
    expect(f, "is no block", (uintptr_t)f->owner);
    poke_word(f, &f->owner->data, (uintptr_t)f->owner->data + 8);
    expect(f, "is no block", (uintptr_t)f->owner);
    poke_word(f, &f->owner->data, node);
    expect(f, "expected a raw one", node);
    poke_word(f, (uintptr_t *)f->weak + 2, 1);
    expect(f, "still linked", (uintptr_t)f->weak);
    poke_word(f, (void *)(uintptr_t)&f->leaf->check, 0);
    if (round == 0) /* then all leaves are dead, and nobody asks for their type */
      expect(f, "was written to", (uintptr_t)f->leaf);
    else
      memcpy(f->pokes[0].where, f->pokes[--f->poke_count].old, sizeof(uintptr_t));
    collect(f);
  }
}

static void a_data_block_that_was_freed_is_named(void **state) {
  struct fixture *f = *state;
  void *data = f->owner->data;
  void *small = must(tarn_alloc_atomic(f->self, 16));
  poke_word(f, &f->owner->data, (uintptr_t)small);
  expect(f, "expected a raw one of at least 64", (uintptr_t)small);
  void *freed = must(tarn_alloc_atomic(f->self, 64));
  tarn_free(f->self, freed);
  poke_word(f, &f->owner->data, (uintptr_t)freed);
  expect(f, "is not in use", (uintptr_t)freed);
  poke_word(f, &f->owner->data, (uintptr_t)bin_of(f, data)->head.bump);
  expect(f, "is not in use", (uintptr_t)f->owner);
}

static void objects_of_very_many_types_are_checked(void **state) {
  struct fixture *f = *state;
  enum { MANY = 3000 };
  void **last = NULL;
  for (int i = 0; i < MANY; i++)
    last = must(tarn_new(f->self, make_type(f, (tarn_type_spec){.size = 24, .slot_bits = 2})));
  expect_sound(f);
  poke_word(f, last, (uintptr_t)*last + 8);
  expect(f, "is not a type of the world", (uintptr_t)last);
}

/* ---- Damage to large objects, counters
 * ------------------------------------------------------------- */

static void damage_to_large_objects_is_named(void **state) {
  struct fixture *f = *state;
  uintptr_t base = (uintptr_t)f->large;
  size_t unit = tarn_unit_of(base);
  struct tarn_large *large = tarn_large_of(base);
  poke_map(f, unit + 1, tarn_map_get(unit + 1) + 1);
  expect(f, "map word of unit 1", base);
  poke_map(f, unit, tarn_map_get(unit) + 1);
  expect(f, "map word of unit 0", base);
  poke_word(f, (void *)&tarn_space.pools[unit].large, 0);
  expect(f, "names another header", base);
  poke_word(f, &large->bytes, large->bytes + 1);
  expect(f, "do not fit", base);
  poke_word(f, &large->units, (size_t)1 << 40);
  expect(f, "does not lie in the heap range", base);
  poke_word(f, &large->heap, (uintptr_t)f->world->container_heap);
  expect(f, "of another heap", base);
  poke_byte(f, &large->flavour, TARN_FLAVOUR_CONTAINER);
  expect(f, "does not fit heap", base);
  poke_byte(f, (void *)&large->dead, 1);
  expect(f, "says dead", base);
  poke_word(f, &large->node.prev, (uintptr_t)&large->node);
  expect(f, "list of large objects is broken", 0);
  struct cds_list_head *before = large->node.prev, *after = large->node.next;
  poke_word(f, &before->next, (uintptr_t)after); /* lost */
  poke_word(f, &after->prev, (uintptr_t)before);
  expect(f, "but that is on no list", base);
  assert_true(large->units * TARN_UNIT_SIZE > large->bytes);
  poke_byte(f, (char *)base + large->bytes + 3, 1);
  expect(f, "is not zero", base);
}

static void damage_to_counters_is_named(void **state) {
  struct fixture *f = *state;
  struct tarn_store *store = &f->world->store;
  poke_word(f, (void *)&store->bytes, atomic_load(&store->bytes) + 1);
  expect(f, "counter `bytes`", 0);
  poke_word(f, (void *)&store->pools, atomic_load(&store->pools) - 1);
  expect(f, "counter `pools`", 0);
  poke_word(f, (void *)&store->larges, atomic_load(&store->larges) + 1);
  expect(f, "counter `larges`", 0);
  poke_word(f, (void *)&f->world->collector->release.pending, 1);
  expect(f, "counter `pending`", 0);
  poke_word(f, (void *)&f->world->container_heap->condemned, 1);
  expect(f, "counter `condemned of a heap`", 0);
  poke_int(f, &f->world->container_heap->index, 7);
  expect(f, "heap 1: its record says heap 7", 0);
}

/* ---- Condemned objects
 * ------------------------------------------------------------------------------ */

static struct fixture *seen_by;
static unsigned functions_run;
static tarn_type_spec watched_spec(tarn_free_fn fn) {
  return (tarn_type_spec){.name = "watched", .size = 56, .slot_bits = 2, .free = fn};
}

/* In a `free` function the object's pool is on no list, and others wait on the release list. */
static void look_around(tarn_world *world, void *object) {
  struct fixture *f = seen_by;
  struct tarn_collector *collector = world->collector;
  struct tarn_pool *pool = pool_of(object);
  if (functions_run % 100 == 0)
    expect_sound(f);
  if (functions_run++ != 0)
    return;
  assert_int_equal(pool->list, TARN_LIST_CONDEMNED);
  poke_byte(f, tarn_mark_byte((uintptr_t)object), TARN_MARK_CONDEMNED);
  expect(f, "nobody works on it", base_of(object));
  struct tarn_pool *other = collector->release.pools;
  assert_non_null(other);
  uintptr_t block = tarn_pool_base(other);
  poke_byte(f, tarn_mark_byte(block), TARN_MARK_RELEASING);
  expect(f, "of 1 the function runs", block);
  poke_word(f, &collector->release.pools, 0);
  expect(f, "is not on the list", 0);
  poke_int(f, &other->own.cursor, 56);
  expect(f, "does not fit its contents", tarn_pool_base(other));
  poke_word(f, (void *)block, 0x4321);
  expect(f, "is not a type of the world", block);
  poke_word(f, &collector->release.larges, 0);
  expect(f, "large objects are condemned, but 0 wait", 0);
}

static void condemned_objects_are_checked_while_their_functions_run(void **state) {
  struct fixture *f = *state;
  seen_by = f;
  functions_run = 0;
  const tarn_type *small = make_type(f, watched_spec(look_around));
  tarn_type_spec spec = watched_spec(look_around);
  spec.size = 50000;
  const tarn_type *large = make_type(f, spec);
  for (int i = 0; i < 2500; i++) /* three pools */
    (void)must(tarn_new(f->self, small));
  (void)must(tarn_new(f->self, large));
  collect(f);
  assert_int_equal(functions_run, 2501);
  expect_sound(f);
}

/* ---- The call itself
 * --------------------------------------------------------------------------------- */

static void *verify_elsewhere(void *data) {
  struct fixture *f = data;
  return tarn_verify(f->self, NULL, 0) == TARN_EWRONGTHREAD ? NULL : "not refused";
}

static void bad_calls_are_refused(void **state) {
  struct fixture *f = *state;
  pthread_t thread;
  void *result = "not run";
  assert_int_equal(tarn_verify(NULL, NULL, 0), TARN_EINVAL);
  assert_int_equal(tarn_verify(f->self, NULL, 0), TARN_OK);
  tarn_gc_hold(f->self);
  assert_int_equal(tarn_verify(f->self, NULL, 0), TARN_EHELD);
  tarn_gc_release(f->self);
  assert_int_equal(pthread_create(&thread, NULL, verify_elsewhere, f), 0);
  assert_int_equal(pthread_join(thread, &result), 0);
  assert_null(result);
  tarn_thread *stale = f->self;
  assert_int_equal(tarn_thread_detach(f->self), TARN_OK);
  assert_int_equal(tarn_verify(stale, NULL, 0), TARN_EDETACHED);
  assert_int_equal(tarn_thread_attach(f->world, &f->self), TARN_OK);
}

static void the_message_is_cut_off_and_may_be_missing(void **state) {
  struct fixture *f = *state;
  char message[8] = "xxxxxxx";
  poke_int(f, &pool_of(f->nodes)->own.room, 1);
  assert_int_equal(tarn_verify(f->self, NULL, 0), TARN_ECORRUPT);
  assert_int_equal(tarn_verify(f->self, message, 0), TARN_ECORRUPT);
  assert_int_equal(message[0], 'x');
  assert_int_equal(tarn_verify(f->self, message, sizeof message), TARN_ECORRUPT);
  assert_int_equal(strlen(message), sizeof message - 1);
  expect(f, "used is", 0);
}

/* ---- Deaths: the option `verify`, in a process of its own
 * ----------------------------------------------- */

/* Runs `fn` in a child, which must abort with a line that contains `text`; NULL: must end well. */
static void in_child(void (*fn)(struct fixture *f), const char *set, const char *text) {
  int ends[2];
  char output[4096];
  size_t length = 0;
  assert_int_equal(pipe(ends), 0);
  (void)fflush(NULL);
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    struct fixture f;
    (void)dup2(ends[1], STDERR_FILENO);
    (void)signal(SIGABRT, SIG_DFL); /* cmocka has a handler of its own */
    open_with(&f, set);
    populate(&f);
    fn(&f);
    _exit(0);
  }
  (void)close(ends[1]);
  for (ssize_t more; length < sizeof output - 1 &&
                     (more = read(ends[0], output + length, sizeof output - 1 - length)) > 0;)
    length += (size_t)more;
  output[length] = '\0';
  (void)close(ends[0]);
  int status = 0;
  assert_int_equal(waitpid(child, &status, 0), child);
  bool as_expected =
      text ? WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT && strstr(output, text) != NULL
           : WIFEXITED(status) && WEXITSTATUS(status) == 0;
  if (!as_expected)
    fail_msg("expected \"%s\", got status %#x: %s", text ? text : "success", (unsigned)status,
             output);
}

/* Between two collections everything that is live carries the mark: a marking that ends at once. */
static void begin_shadow(struct fixture *f) {
  collect(f);
  struct tarn_mutator *mutator = tarn_mutator_of(f->self);
  tarn_stop_begin_always(f->world, mutator);
  f->world->collector->marker.previous = f->world->store.epoch;
  tarn_shadow_note(f->world, (uintptr_t)__builtin_frame_address(0));
}
static void end_shadow(struct fixture *f) {
  tarn_shadow_check(f->world);
  assert_null(f->world->collector->shadow);
  tarn_stop_end(f->world, tarn_mutator_of(f->self));
}

static void lose_nothing(struct fixture *f) {
  begin_shadow(f);
  assert_non_null(f->world->collector->shadow);
  end_shadow(f);
}
static void lose_object(struct fixture *f) {
  begin_shadow(f);
  *tarn_mark_byte((uintptr_t)f->nodes->next->next) = 0;
  end_shadow(f);
}
static void lose_raw(struct fixture *f) {
  begin_shadow(f);
  *tarn_mark_byte((uintptr_t)f->raw) = 0;
  end_shadow(f);
}
static void lose_large(struct fixture *f) {
  begin_shadow(f);
  *tarn_mark_byte((uintptr_t)f->large) = TARN_MARK_CONDEMNED;
  end_shadow(f);
}
static void lose_data(struct fixture *f) {
  begin_shadow(f);
  *tarn_mark_byte((uintptr_t)f->owner->data) = 0;
  end_shadow(f);
}
static void lose_what_a_frame_holds(struct fixture *f) {
  void *local = must(tarn_new(f->self, f->leaf));
  TARN_FRAME(f->self, &local);
  begin_shadow(f);
  *tarn_mark_byte((uintptr_t)local) = 0;
  end_shadow(f);
}
static void lose_pool(struct fixture *f) {
  begin_shadow(f);
  *tarn_mark_byte((uintptr_t)f->raw) = 0;
  tarn_map_set(tarn_unit_of((uintptr_t)f->raw), 0);
  end_shadow(f);
}
static void lose_what_only_a_weak_reference_has(struct fixture *f) {
  f->root[1] = NULL; /* f->weak still refers to it */
  void *raw = f->raw;
  collect(f);
  f->root[1] = raw = must(tarn_alloc_atomic(f->self, 100));
  tarn_weak_set(f->self, f->weak, raw);
  collect(f);
  f->root[1] = NULL;
  tarn_stop_begin_always(f->world, tarn_mutator_of(f->self));
  f->world->collector->marker.previous = f->world->store.epoch;
  tarn_shadow_note(f->world, (uintptr_t)__builtin_frame_address(0));
  *tarn_mark_byte((uintptr_t)raw) = 0;
  end_shadow(f);
}
static void lose_after_a_root_changed(struct fixture *f) {
  begin_shadow(f);
  *tarn_mark_byte((uintptr_t)f->raw) = 0;
  f->root[1] = NULL; /* as a thread might that is not attached */
  end_shadow(f);
}

static void the_shadow_finds_what_the_mark_lost(void **state) {
  (void)state;
  in_child(lose_nothing, "collect=0", NULL);
  in_child(lose_object, "collect=0", "type node");
  in_child(lose_raw, "collect=0", "type raw");
  in_child(lose_large, "collect=0", "large object at");
  in_child(lose_data, "collect=0", "was reachable, but its mark byte is 0");
  in_child(lose_what_a_frame_holds, "collect=0", "type leaf");
  in_child(lose_pool, "collect=0", "was given back");
}

static void the_shadow_asks_for_no_more_than_the_mark_must_find(void **state) {
  (void)state;
  in_child(lose_what_only_a_weak_reference_has, "collect=0", NULL);
  in_child(lose_after_a_root_changed, "collect=0", NULL);
}

#if TARN_FAULTS
static void lose_without_memory(struct fixture *f) {
  collect(f);
  tarn_stop_begin_always(f->world, tarn_mutator_of(f->self));
  f->world->collector->marker.previous = f->world->store.epoch;
  for (uint64_t nth = 1; nth <= 2; nth++) { /* its structure, then its stack */
    tarn_os_fault_at(nth);
    tarn_shadow_note(f->world, (uintptr_t)__builtin_frame_address(0));
    assert_null(f->world->collector->shadow);
  }
  tarn_os_fault_at(0);
  *tarn_mark_byte((uintptr_t)f->raw) = 0;
  end_shadow(f);
}
#endif

static void without_memory_the_shadow_does_without(void **state) {
  (void)state;
#if TARN_FAULTS
  in_child(lose_without_memory, "collect=0", NULL);
#else
  print_message("skipped: built without TARN_FAULTS\n");
  skip();
#endif
}

static bool hides;
static void *hidden;
static void trace_once(const void *object, tarn_visitor *visitor) {
  (void)object;
  if (!hides)
    tarn_visit(visitor, hidden);
  hides = true;
}
/* The first to ask is the shadow: the marker then misses what it saw. */
static void trace_differently(struct fixture *f) {
  const tarn_type *type =
      make_type(f, (tarn_type_spec){.name = "liar", .size = 16, .trace = trace_once});
  f->root[1] = must(tarn_new(f->self, type));
  hidden = must(tarn_new(f->self, f->node)); /* beside others that live */
  collect(f);
}
static void visit_once(tarn_visitor *visitor, void *data) {
  if (!hides)
    tarn_visit(visitor, data);
  hides = true;
}
static void provide_differently(struct fixture *f) {
  void *node = must(tarn_new(f->self, f->node));
  assert_int_equal(tarn_root_provider_add(f->world, visit_once, node), TARN_OK);
  collect(f);
}
static void write_over_a_type(struct fixture *f) {
  *(uintptr_t *)(void *)f->nodes->next = 0x5550;
  collect(f);
}
static void miscount(struct fixture *f) {
  (void)atomic_fetch_add(&f->world->store.pools, 1);
  collect(f);
}
/* The address sanitizer keeps variables in memory of its own, which is no stack. */
__attribute__((no_sanitize_address)) static void hold_in_the_stack_alone(struct fixture *f) {
  struct node *volatile node = must(tarn_new(f->self, f->node));
  node->next = must(tarn_new(f->self, f->node));
  for (int i = 0; i < 10; i++) {
    collect(f);
    assert_ptr_equal(node->type, f->node);
    assert_ptr_equal(node->next->type, f->node);
  }
}

#define LEFT_WORDS 400u
static uintptr_t inverted[LEFT_WORDS];
/* Each word names another object that nothing else refers to, and stays when this returns. */
__attribute__((noinline, no_sanitize_address)) static void leave_words(void) {
  uintptr_t words[LEFT_WORDS];
  for (unsigned i = 0; i < LEFT_WORDS; i++)
    words[i] = ~inverted[i];
  __asm__ volatile("" : : "r"(words) : "memory");
}
static void collect_over_old_words(struct fixture *f) {
  for (int i = 0; i < 10; i++) {
    for (unsigned n = 0; n < LEFT_WORDS; n++)
      inverted[n] = ~(uintptr_t)must(tarn_new(f->self, f->node));
    leave_words();
    collect(f); /* its frames lie over them, and do not use all of what they have at once */
  }
}

static void collections_check_themselves(void **state) {
  (void)state;
  hides = false;
  in_child(trace_differently, "verify=1,collect=0", "was reachable, but its mark byte is 0");
  in_child(provide_differently, "verify=1,collect=0", "was reachable, but its mark byte is 0");
  in_child(write_over_a_type, "verify=1,collect=0", "is not a type of the world");
  in_child(miscount, "verify=1,collect=0", "verify after collection: the counter `pools`");
  in_child(hold_in_the_stack_alone, "verify=1,collect=0,scan-stack=1", NULL);
  in_child(collect_over_old_words, "verify=1,collect=0,scan-stack=1", NULL);
  in_child(trace_differently, "verify=0,collect=0,scan-stack=0", NULL);
}

#define IN_WORLD(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_new_world_is_sound),
      IN_WORLD(a_world_is_sound_before_and_after_collections),
      IN_WORLD(more_heaps_are_sound_until_they_are_destroyed),
      cmocka_unit_test(threads_that_share_blocks_leave_a_sound_world),
      cmocka_unit_test(conservative_stacks_leave_a_sound_world),
      IN_WORLD(damage_to_arenas_is_named),
      IN_WORLD(damage_to_map_words_is_named),
      IN_WORLD(damage_to_free_units_is_named),
      IN_WORLD(damage_to_descriptors_is_named),
      IN_WORLD(damage_to_lists_is_named),
      IN_WORLD(a_pool_lost_from_a_shelf_is_named),
      IN_WORLD(damage_to_runs_is_named),
      IN_WORLD(damage_to_free_lists_is_named),
      IN_WORLD(damage_to_free_raw_blocks_is_named),
      IN_WORLD(damage_to_remote_bits_is_named),
      IN_WORLD(a_walk_leaves_a_sound_world),
      IN_WORLD(damage_to_mark_bytes_is_named),
      IN_WORLD(a_write_beyond_the_virgin_limit_is_named),
      IN_WORLD(damage_to_objects_is_named),
      IN_WORLD(a_data_block_that_was_freed_is_named),
      IN_WORLD(objects_of_very_many_types_are_checked),
      IN_WORLD(damage_to_large_objects_is_named),
      IN_WORLD(damage_to_counters_is_named),
      IN_WORLD(condemned_objects_are_checked_while_their_functions_run),
      IN_WORLD(bad_calls_are_refused),
      IN_WORLD(the_message_is_cut_off_and_may_be_missing),
      cmocka_unit_test(the_shadow_finds_what_the_mark_lost),
      cmocka_unit_test(the_shadow_asks_for_no_more_than_the_mark_must_find),
      cmocka_unit_test(without_memory_the_shadow_does_without),
      cmocka_unit_test(collections_check_themselves),
  };
#if TARN_HARDENED
  tarn_harden_plain = true; /* what is free is on a list when it is damaged */
#endif
  return cmocka_run_group_tests(tests, NULL, NULL);
}
