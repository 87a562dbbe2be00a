/* SPDX-License-Identifier: MIT */
/*
 * collect/trash.c: what happens to cycles of garbage, with the world running; see collect/cycles.h.
 *
 * Nobody else can reach the garbage, but through functions of the program that this thread calls.
 * Its pools are TRASH pools until the end.
 *
 * If some of it has `clear` or `finalize` functions, each object first gets a reference of ours, so
 * that none goes while these run, whatever they give up.  What finalizers saved, the second look
 * tells, and it loses our reference again.  What is garbage in the end goes as a whole, and its
 * counts do not matter any more: what each object refers to outside is given up, which the ints
 * tell; its `free` function runs; its block is free.
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

/* The oldest of those underway; what it names lives as long as that has not been given up. */
static void meet_outside(struct treat *treat) {
  struct tarn_cycles *cycles = &treat->collector->cycles;
  struct tarn_outward outward = cycles->outward[cycles->outward_first];
  cycles->outward_first = (cycles->outward_first + 1) % TARN_OUTWARD;
  cycles->outward_count--;
  if (*outward.ref < TARN_REFS_TRASH)
    tarn_give_up(thread_of(treat), (void *)outward.word);
}

/* A reference of garbage to something else is given up. */
static void visit_outside(struct tarn_visitor *visitor, uintptr_t word) {
  struct treat *treat = (struct treat *)(void *)visitor;
  struct tarn_place place;
  word &= ~treat->collector->world->tag_mask;
  if (!tarn_find(treat->collector->world->store.id, word, false, &place) ||
      tarn_map_kind(place.map) == TARN_KIND_RAW)
    return;
  if (tarn_map_kind(place.map) != TARN_KIND_CONTAINER || !tarn_refs_has(tarn_unit_of(word))) {
    tarn_give_up(thread_of(treat), (void *)word);
    return;
  }
  struct tarn_cycles *cycles = &treat->collector->cycles;
  if (cycles->outward_count == TARN_OUTWARD)
    meet_outside(treat);
  struct tarn_outward *outward =
      &cycles->outward[(cycles->outward_first + cycles->outward_count++) % TARN_OUTWARD];
  *outward = (struct tarn_outward){tarn_refs_at(&cycles->refs, place.map, word), word};
  __builtin_prefetch(outward->ref, 0);
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
  int32_t *ref = tarn_refs_at(&collector->cycles.refs,
                              tarn_map_get(tarn_unit_of((uintptr_t)object)), (uintptr_t)object);
  (void)size;
  if (*ref == TARN_REFS_TRASH) { /* else a fork came in between */
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
    tarn_refs_take(tarn_unit_of(large->base));
    tarn_large_free(large);
  }
}

/* --- functions ------------------------------------------------------------------------------- */

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

static void clear(struct tarn_collector *collector, void *object, size_t size, void *data) {
  struct treat *treat = data;
  const tarn_type *type = tarn_type_of(object);
  (void)collector, (void)size;
  if (!type->clear)
    return;
  type->clear(thread_of(treat), object);
  poll(treat);
}

/* What lives on: ours was one of its references. */
static void let_go(struct tarn_collector *collector, void *object, size_t size, void *data) {
  struct treat *treat = data;
  uint64_t map = tarn_map_get(tarn_unit_of((uintptr_t)object));
  (void)size;
  if (*tarn_refs_at(&collector->cycles.refs, map, (uintptr_t)object) != TARN_REFS_ALIVE)
    return;
  tarn_give_up(thread_of(treat), object);
  poll(treat);
}

static void let_saved_go(struct treat *treat) {
  struct tarn_vector *saved = &treat->collector->cycles.saved;
  for (size_t i = 0; i < saved->count; i++)
    tarn_give_up(thread_of(treat), (void *)saved->items[i]);
  tarn_vector_drop(saved);
}

static void look_again(struct treat *treat) {
  struct tarn_collector *collector = treat->collector;
  uint64_t before = collector->cycles.found;
  tarn_stop_begin_always(collector->world, treat->self);
  tarn_cycles_look_again(collector);
  (void)tarn_cycles_note_pause(collector);
  tarn_stop_end(collector->world, treat->self);
  atomic_fetch_add_explicit(&collector->cycles.resurrected, before - collector->cycles.found,
                            memory_order_relaxed);
}

static void run_functions(struct treat *treat) {
  struct tarn_collector *collector = treat->collector;
  tarn_trash_each(collector, false, hold, treat);
  tarn_trash_each(collector, false, finalize, treat);
  if (treat->finalized) {
    look_again(treat);
    tarn_trash_each(collector, true, let_go, treat);
    let_saved_go(treat);
  }
  tarn_trash_each(collector, false, clear, treat);
  atomic_fetch_add_explicit(&collector->cycles.finalizers, treat->finalized, memory_order_relaxed);
}

/* --- pools ----------------------------------------------------------------------------------- */

/* What was half given up gives up no more, so counts are too high.  A function that was running in
 * a thread that is not in this process ran there. */
void tarn_trash_after_fork(struct tarn_collector *collector) {
  const struct tarn_cycles *cycles = &collector->cycles;
  for (size_t i = 0; i < cycles->candidates.count; i++) {
    struct tarn_pool *pool = &tarn_space.pools[cycles->candidates.items[i]];
    const int32_t *refs = tarn_refs_of_unit(&cycles->refs, tarn_pool_unit(pool));
    char *base = (char *)tarn_pool_base(pool);
    size_t size = tarn_pool_block_size(pool);
    for (unsigned k = 0; k < pool->capacity; k++)
      if (refs[k] == TARN_REFS_GONE && *tarn_block_words(base + k * size) != 0)
        free_block(&collector->world->store, pool, base + k * size);
  }
}

void tarn_trash_treat(struct tarn_collector *collector, struct tarn_mutator *self) {
  struct tarn_cycles *cycles = &collector->cycles;
  struct treat treat = {.collector = collector, .self = self};
  if (cycles->special && !cycles->left)
    run_functions(&treat);
  cycles->whole = true;
  tarn_trash_each(collector, false, release_and_free, &treat);
  while (cycles->outward_count)
    meet_outside(&treat);
  free_larges(cycles);
  cycles->whole = false;
  for (size_t i = 0; i < cycles->candidates.count; i++) {
    tarn_refs_take(cycles->candidates.items[i]);
    tarn_space.pools[cycles->candidates.items[i]].live = 0;
    tarn_heap_put_back(&tarn_space.pools[cycles->candidates.items[i]]);
  }
  atomic_fetch_add_explicit(&cycles->freed, cycles->found, memory_order_relaxed);
}
