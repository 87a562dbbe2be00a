/* SPDX-License-Identifier: MIT */
/*
 * collect/trash.c: what happens to cycles of garbage, with the world running; see collect/cycles.h.
 *
 * Nobody else can reach the garbage, but through functions of the program that this thread calls.
 * Its pools are TRASH pools until the end.
 *
 * Without `clear` and `finalize` functions the garbage goes as a whole: what each object refers to
 * outside is given up, which the ints tell; its `free` function runs; its block is free.  With
 * some, each object first gets a reference of ours, so that none goes while functions run; when the
 * references among them have been cleared, ours are the last ones, and giving them up is the end of
 * the object, by whatever way the program has for that.
 */
#include "collect/collector.h"
#include <string.h>

/* A safepoint now and then, for a collection may take long. */
#define POLL_EVERY 64u

struct treat {
  tarn_visitor visitor; /* must be first: visit functions get it */
  struct tarn_collector *collector;
  struct tarn_mutator *self;
  unsigned count;
  uint64_t finalized;
};

static void poll(struct treat *treat) {
  if (++treat->count % POLL_EVERY == 0)
    tarn_stop_poll(treat->self);
}

static tarn_thread *thread_of(const struct treat *treat) { return tarn_thread_of(treat->self); }

/* --- all at once ----------------------------------------------------------------------------- */

/* A reference of garbage to something else is given up. */
static void visit_outside(struct tarn_visitor *visitor, uintptr_t word) {
  struct treat *treat = (struct treat *)(void *)visitor;
  struct tarn_place place;
  word &= ~treat->collector->world->tag_mask;
  if (!tarn_find(treat->collector->world->store.id, word, false, &place) ||
      tarn_map_kind(place.map) == TARN_KIND_RAW)
    return;
  if (tarn_map_kind(place.map) == TARN_KIND_CONTAINER &&
      *tarn_refs_at(place.map, word) >= TARN_REFS_TRASH)
    return;
  tarn_give_up(thread_of(treat), (void *)word);
}

static void give_up_outside(struct treat *treat, void *object) {
  const tarn_type *type = tarn_type_of(object);
  treat->visitor.visit = visit_outside;
  if (type->scan != TARN_SCAN_BITS) {
    tarn_scan_object(&treat->visitor, object);
    return;
  }
  for (uint64_t bits = type->bits; bits; bits &= bits - 1)
    visit_outside(&treat->visitor, ((const uintptr_t *)object)[__builtin_ctzll(bits)]);
}

static bool is_large(const void *object) {
  return tarn_map_form(tarn_map_get(tarn_unit_of((uintptr_t)object))) == TARN_FORM_LARGE;
}

/* The pool is the collecting thread's. */
static void free_block(struct tarn_store *store, struct tarn_pool *pool, void *block) {
  uintptr_t *words = tarn_block_words(block);
#if TARN_CHECKING
  memset(words + 1, TARN_POISON, tarn_pool_block_size(pool) - sizeof *words);
#endif
  words[0] = 0;
  tarn_block_link(block, pool->own.free);
  pool->own.free = block;
  if (store->tables)
    *tarn_mark_byte((uintptr_t)block) = TARN_MARK_NONE;
  tarn_pool_set_room(pool, pool->own.room - 1); /* = used, on this list */
}

static void release_and_free(struct tarn_collector *collector, void *object, size_t size,
                             void *data) {
  struct treat *treat = data;
  const tarn_type *type = tarn_type_of(object);
  struct tarn_store *store = &collector->world->store;
  int32_t *ref = tarn_refs_at(tarn_map_get(tarn_unit_of((uintptr_t)object)), (uintptr_t)object);
  (void)size;
  if (*ref == TARN_REFS_TRASH) {
    *ref = TARN_REFS_GOING;
    give_up_outside(treat, object);
  }
  *ref = TARN_REFS_GONE;
  if (tarn_flavour_resource((tarn_flavour)type->flavour) || type->data_size)
    store->hooks->release(&treat->self->local, object);
  if (!is_large(object))
    free_block(store, tarn_pool_of((uintptr_t)object), object);
  poll(treat);
}

static void free_larges(struct tarn_cycles *cycles) {
  while (cycles->larges) {
    struct tarn_large *large = cycles->larges;
    cycles->larges = large->limbo;
    *tarn_refs_of_unit(tarn_unit_of(large->base)) = 0;
    tarn_large_free(large);
  }
}

/* --- one by one ------------------------------------------------------------------------------ */

static void hold(struct tarn_collector *collector, void *object, size_t size, void *data) {
  struct treat *treat = data;
  (void)collector, (void)size;
  tarn_ref(thread_of(treat), object);
}

static void finalize(struct tarn_collector *collector, void *object, size_t size, void *data) {
  struct treat *treat = data;
  (void)size;
  treat->finalized += tarn_finalize(collector, thread_of(treat), object);
  poll(treat);
}

/* The library's way, for types without a function of their own: traced words become NULL.  What a
 * trace function visits stays, until the object itself goes. */
static void clear_words(struct treat *treat, uintptr_t *words, const struct tarn_layout *layout,
                        size_t count) {
  for (size_t i = 0; i < count; i++) {
    bool traced = layout->all || (i < 64 && layout->bits >> i & 1);
    for (uint32_t k = 0; !traced && k < layout->more_count; k++)
      traced = layout->more[k] == i;
    uintptr_t word = words[i] & ~treat->collector->world->tag_mask;
    struct tarn_place place;
    if (!traced || !tarn_find(treat->collector->world->store.id, word, false, &place) ||
        tarn_map_kind(place.map) == TARN_KIND_RAW)
      continue;
    words[i] = 0;
    tarn_give_up(thread_of(treat), (void *)word);
  }
}

static void clear_object(struct treat *treat, void *object, size_t size) {
  const tarn_type *type = tarn_type_of(object);
  uintptr_t *words = object;
  clear_words(treat, words, &type->slots, type->words);
  if (type->data_size && words[type->data_word])
    clear_words(treat, (uintptr_t *)words[type->data_word], &type->data,
                type->data_size / sizeof(uintptr_t));
  if (!type->is_array)
    return;
  size_t fit = (size - type->size) / type->element_size, count = tarn_type_elements(type, object);
  char *element = (char *)object + type->size;
  for (size_t i = 0; i < count && i < fit; i++, element += type->element_size)
    clear_words(treat, (uintptr_t *)(void *)element, &type->element,
                type->element_size / sizeof(uintptr_t));
}

static void clear(struct tarn_collector *collector, void *object, size_t size, void *data) {
  struct treat *treat = data;
  const tarn_type *type = tarn_type_of(object);
  (void)collector;
  if (type->clear)
    type->clear(thread_of(treat), object);
  else
    clear_object(treat, object, size);
  poll(treat);
}

static void let_go(struct tarn_collector *collector, void *object, size_t size, void *data) {
  struct treat *treat = data;
  (void)collector, (void)size;
  if (is_large(object)) /* its unit may be another's at once */
    *tarn_refs_of_unit(tarn_unit_of((uintptr_t)object)) = 0;
  tarn_give_up(thread_of(treat), object);
  poll(treat);
}

static void look_again(struct treat *treat) {
  struct tarn_collector *collector = treat->collector;
  uint64_t before = collector->cycles.found;
  tarn_stop_begin_always(collector->world, treat->self);
  tarn_cycles_look_again(collector);
  tarn_stop_end(collector->world, treat->self);
  atomic_fetch_add_explicit(&collector->cycles.resurrected, before - collector->cycles.found,
                            memory_order_relaxed);
}

static void treat_one_by_one(struct treat *treat) {
  struct tarn_collector *collector = treat->collector;
  tarn_trash_each(collector, false, hold, treat);
  tarn_trash_each(collector, false, finalize, treat);
  if (treat->finalized)
    look_again(treat);
  tarn_trash_each(collector, false, clear, treat);
  tarn_trash_each(collector, true, let_go, treat);
  collector->cycles.larges = NULL; /* freed one by one, or alive */
  atomic_fetch_add_explicit(&collector->cycles.finalizers, treat->finalized, memory_order_relaxed);
}

/* --- pools ----------------------------------------------------------------------------------- */

void tarn_trash_put_back(struct tarn_pool *pool) {
  struct tarn_heap *heap = pool->heap;
  pool->live = 0;
  (void)pthread_mutex_lock(&heap->lock);
  tarn_pool_set_list(pool, TARN_LIST_NONE);
  tarn_remote_unpark(pool);
  if (tarn_pool_used(pool) == 0)
    tarn_pool_drop(heap->store, pool);
  else
    tarn_heap_shelve(heap, pool);
  (void)pthread_mutex_unlock(&heap->lock);
}

/* What was half given up gives up no more, so counts are too high.  A function that was running in
 * a thread that is not in this process ran there. */
void tarn_trash_after_fork(struct tarn_collector *collector) {
  const struct tarn_cycles *cycles = &collector->cycles;
  for (size_t i = 0; i < cycles->pools.count; i++) {
    size_t unit = cycles->pools.items[i];
    struct tarn_pool *pool = &tarn_space.pools[unit];
    for (unsigned k = 0; k < pool->capacity; k++) {
      void *block = (char *)tarn_unit_base(unit) + k * tarn_pool_block_size(pool);
      if (tarn_refs_of_unit(unit)[k] == TARN_REFS_GONE && *tarn_block_words(block) != 0)
        free_block(&collector->world->store, pool, block);
    }
  }
}

void tarn_trash_treat(struct tarn_collector *collector, struct tarn_mutator *self) {
  struct tarn_cycles *cycles = &collector->cycles;
  struct treat treat = {.collector = collector, .self = self};
  if (cycles->special) {
    treat_one_by_one(&treat);
  } else {
    tarn_trash_each(collector, false, release_and_free, &treat);
    free_larges(cycles);
  }
  for (size_t i = 0; i < cycles->pools.count; i++) {
    size_t unit = cycles->pools.items[i];
    struct tarn_pool *pool = &tarn_space.pools[unit];
    memset(tarn_refs_of_unit(unit), 0, pool->capacity * sizeof(int32_t));
    tarn_trash_put_back(pool);
  }
  atomic_fetch_add_explicit(&cycles->freed, cycles->found, memory_order_relaxed);
}
