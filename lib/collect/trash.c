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
#include "heap/sample.h"
#include "collect/trial.h"
#include <string.h>

/* A safepoint now and then, for a collection may take long. */
#define POLL_EVERY 64u

struct treat {
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

/* What a word names, if that has a count; `*ref` is its int, or NULL. */
static inline bool find_counted(const struct tarn_collector *collector, uintptr_t word,
                                const int32_t **ref) {
  uint32_t index;
  if (!tarn_space_holds(word))
    return false;
  size_t unit = tarn_unit_of(word);
  uint64_t map = tarn_map_get(unit);
  if (tarn_map_world(map) != collector->world->store.id || tarn_map_kind(map) == TARN_KIND_RAW ||
      !tarn_starts_exactly(map, (uint32_t)(word & (TARN_UNIT_SIZE - 1)), &index))
    return false;
  uint32_t part = tarn_refs_part(unit);
  *ref = part ? collector->cycles.refs.ints + part + index : NULL;
  return true;
}

/* At most TARN_VISITS references of garbage: those to something else are given up.  All ints are
 * fetched before one is looked at. */
static void take_some(struct tarn_collector *collector, const uintptr_t *words, size_t count) {
  struct tarn_cycles *cycles = &collector->cycles;
  tarn_thread *self = tarn_thread_of(cycles->holder);
  const uintptr_t keep = ~collector->world->tag_mask;
  const int32_t *refs[TARN_VISITS];
  uintptr_t objects[TARN_VISITS];
  size_t found = 0;
  for (size_t i = 0; i < count; i++) {
    uintptr_t word = words[i] & keep;
    if (!find_counted(collector, word, &refs[found]))
      continue;
    if (!refs[found]) {
      tarn_debts_add(&cycles->debts, self, word);
      continue;
    }
    __builtin_prefetch(refs[found], 0);
    objects[found++] = word;
  }
  for (size_t i = 0; i < found; i++)
    if (*refs[i] < TARN_REFS_TRASH)
      tarn_debts_add(&cycles->debts, self, objects[i]);
}

static void take(struct tarn_visits *visits, const uintptr_t *words, size_t count) {
  struct tarn_collector *collector =
      caa_container_of(visits, struct tarn_collector, cycles.outside);
  for (; count > TARN_VISITS; words += TARN_VISITS, count -= TARN_VISITS)
    take_some(collector, words, TARN_VISITS);
  take_some(collector, words, count);
  /* So that a word that a child of a fork finds counted, but not written yet, is none. */
  if (words == visits->words)
    memset(visits->words, 0, count * sizeof *words);
}

/* The pool is the collecting thread's. */
static inline void free_block(const struct tarn_store *store, struct tarn_pool *pool, void *block) {
  uintptr_t *words = tarn_block_words(block);
  tarn_block_spoil(words, tarn_pool_block_size(pool));
  words[0] = 0;
  tarn_block_link(block, pool->own.free);
  pool->own.free = block;
  if (store->tables)
    *tarn_mark_byte((uintptr_t)block) = TARN_MARK_NONE;
  tarn_pool_set_room(pool, pool->own.room - 1); /* = used, on this list */
}

/* All of an object but its memory goes.  `resource`: its type may have a `free` function. */
static TARN_ALWAYS_INLINE void release(struct treat *treat, void *object, int32_t *ref,
                                       bool resource) {
  const tarn_type *type = tarn_type_of(object);
  if (*ref == TARN_REFS_TRASH) { /* else a fork came in between */
    *ref = TARN_REFS_GOING;
    TARN_DELAY();
    tarn_scan_object_inline(&treat->collector->cycles.outside, type, object);
  }
  *ref = TARN_REFS_GONE;
  TARN_DELAY();
  if (resource || type->data_size)
    treat->collector->world->store.hooks->release(&treat->self->local, object);
}

/* Large ones tell by themselves. */
static void tell_profile(struct tarn_store *store, const struct tarn_pool *pool,
                         const int32_t *refs) {
  size_t size = tarn_pool_block_size(pool);
  const char *block = (const char *)tarn_pool_base(pool);
  for (unsigned i = 0; i < pool->capacity; i++, block += size)
    if (tarn_is_trash(refs[i]))
      store->sampling->freed(store, block);
}

static void release_pool(struct treat *treat, struct tarn_pool *pool) {
  struct tarn_store *store = &treat->collector->world->store;
  int32_t *refs = tarn_refs_of_unit(&treat->collector->cycles.refs, tarn_pool_unit(pool));
  bool resource = tarn_flavour_resource((tarn_flavour)pool->flavour);
  size_t size = tarn_pool_block_size(pool);
  char *block = (char *)tarn_pool_base(pool);
  if (TARN_UNLIKELY(store->sampling))
    tell_profile(store, pool, refs);
  for (unsigned i = 0; i < pool->capacity; i++, block += size)
    if (tarn_is_trash(refs[i])) {
      release(treat, block, &refs[i], resource);
      free_block(store, pool, block);
      poll(treat);
    }
}

static void release_larges(struct treat *treat) {
  const struct tarn_cycles *cycles = &treat->collector->cycles;
  struct tarn_large *next;
  for (struct tarn_large *large = cycles->larges; large; large = next) {
    next = large->limbo;
    int32_t *ref = tarn_refs_of_unit(&cycles->refs, tarn_unit_of(large->base));
    if (!tarn_is_trash(*ref))
      continue;
    release(treat, (void *)large->base, ref, tarn_flavour_resource((tarn_flavour)large->flavour));
    poll(treat);
  }
}

/* All that is left of what was noted. */
static void settle(struct treat *treat) {
  struct tarn_cycles *cycles = &treat->collector->cycles;
  tarn_visits_take(&cycles->outside);
  tarn_debts_settle_all(&cycles->debts, thread_of(treat));
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

static void hold(void *object, size_t size, int32_t *ref, void *data) {
  struct treat *treat = data;
  (void)size, (void)ref;
  tarn_ref(thread_of(treat), object);
}

static void finalize(void *object, size_t size, int32_t *ref, void *data) {
  struct treat *treat = data;
  (void)size, (void)ref;
  treat->finalized += tarn_finalize(treat->collector, thread_of(treat), object);
  poll(treat);
}

static void clear(void *object, size_t size, int32_t *ref, void *data) {
  struct treat *treat = data;
  const tarn_type *type = tarn_type_of(object);
  (void)size, (void)ref;
  if (!type->clear)
    return;
  type->clear(thread_of(treat), object);
  poll(treat);
}

static bool is_alive(int32_t value) { return value == TARN_REFS_ALIVE; }

/* What lives on: ours was one of its references. */
static void let_go(void *object, size_t size, int32_t *ref, void *data) {
  struct treat *treat = data;
  (void)size, (void)ref;
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
  tarn_trial_again(collector);
  tarn_cycles_note_pause(collector);
  tarn_stop_end(collector->world, treat->self);
  atomic_fetch_add_explicit(&collector->cycles.resurrected, before - collector->cycles.found,
                            memory_order_relaxed);
}

static void run_functions(struct treat *treat) {
  struct tarn_collector *collector = treat->collector;
  tarn_trash_each(&collector->cycles, tarn_is_trash, hold, treat);
  tarn_trash_each(&collector->cycles, tarn_is_trash, finalize, treat);
  if (treat->finalized) {
    look_again(treat);
    tarn_trash_each(&collector->cycles, is_alive, let_go, treat);
    let_saved_go(treat);
  }
  tarn_trash_each(&collector->cycles, tarn_is_trash, clear, treat);
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
  struct treat treat;
  treat.collector = collector;
  treat.self = self;
  treat.count = 0;
  treat.finalized = 0;
  if (cycles->special && !cycles->left)
    run_functions(&treat);
  cycles->whole = true;
  for (size_t i = 0; i < cycles->candidates.count; i++)
    release_pool(&treat, &tarn_space.pools[cycles->candidates.items[i]]);
  release_larges(&treat);
  settle(&treat);
  free_larges(cycles);
  cycles->whole = false;
  for (size_t i = 0; i < cycles->candidates.count; i++) {
    tarn_refs_take(cycles->candidates.items[i]);
    tarn_space.pools[cycles->candidates.items[i]].live = 0;
    tarn_heap_put_back(&tarn_space.pools[cycles->candidates.items[i]]);
  }
  atomic_fetch_add_explicit(&cycles->freed, cycles->found, memory_order_relaxed);
}

void tarn_trash_start(struct tarn_collector *collector) {
  tarn_visits_begin(&collector->cycles.outside, take);
}
