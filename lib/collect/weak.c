/* SPDX-License-Identifier: MIT */
/*
 * collect/weak.c: weak references; see weak.h.
 *
 * Memory orders.  Two mutators may read and set the same reference: the store is a release and the
 * load an acquire, so that who reads a target sees it as it was when it was set.  The collector
 * reads and writes targets relaxed: the stop orders it against every running thread.  Links are
 * plain words, the collector's alone.
 */
#include "collect/collector.h"
#include <tarn/store.h>
#include <tarn/weak.h>

enum { WORD_TYPE, WORD_TARGET, WORD_LINK };

tarn_status tarn_weak_start(tarn_world *world) {
  tarn_collector_of(world)->weak.list = TARN_LINK_END;
  return TARN_OK;
}

void tarn_weak_end(tarn_world *world) { tarn_collector_of(world)->weak.list = TARN_LINK_END; }

/* --- what the other weak parts share --------------------------------------------------------- */

bool tarn_weak_is_dead(const struct tarn_marker *marker, uintptr_t word) {
  struct tarn_place place;
  word &= ~marker->tag_mask;
  if (!tarn_find(marker->store->id, word, false, &place))
    return tarn_space_holds(word) && tarn_map_world(tarn_map_get(tarn_unit_of(word))) == 0;
  return !tarn_marker_says(marker, tarn_mark_load(place.block));
}

bool tarn_weak_in_use(const struct tarn_marker *marker, const struct tarn_place *place) {
  uint8_t mark = *tarn_mark_byte(place->block);
  return tarn_marker_says(marker, mark) || mark == TARN_MARK_WATCHED ||
         tarn_place_in_use(place, marker->previous);
}

static bool has_type(tarn_world *world, const void *object, const tarn_type *type) {
  struct tarn_place place;
  /* Geometry first, so that a wild pointer is refused and not followed. */
  if (!tarn_find(world->store.id, (uintptr_t)object, false, &place) ||
      tarn_map_kind(place.map) != TARN_KIND_CONTAINER)
    return false;
  /* Relaxed: who has a good reference to the object got it after the type was stored. */
  return __atomic_load_n((const uintptr_t *)object, __ATOMIC_RELAXED) == (uintptr_t)type;
}

uintptr_t *tarn_weak_words(tarn_thread *self, void *object, bool ephemeron) {
  tarn_status status = tarn_thread_check_running(self);
  if (status == TARN_OK) {
    tarn_world *world = tarn_mutator_of(self)->world;
    if (has_type(world, object, ephemeron ? world->types.ephemeron : world->types.weak))
      return object;
    status = TARN_EINVAL;
  }
  tarn_thread_fail(self, status);
  return NULL;
}

void *tarn_weak_read(struct tarn_mutator *self, const uintptr_t *word) {
  uintptr_t value = __atomic_load_n(word, __ATOMIC_ACQUIRE);
  tarn_world *world = self->world;
  struct tarn_place place;
  if (tarn_find(world->store.id, value & ~world->tag_mask, false, &place) &&
      tarn_map_kind(place.map) != TARN_KIND_RAW &&
      /* Relaxed: tarn_free may clear it meanwhile, and then either answer was right. */
      __atomic_load_n((const uintptr_t *)place.block, __ATOMIC_RELAXED) == 0)
    return NULL;
  return (void *)value;
}

/* --- for mutators ---------------------------------------------------------------------------- */

tarn_status tarn_weak_check(tarn_thread *self) {
  tarn_status status = tarn_thread_check_running(self);
  return status == TARN_OK && tarn_mutator_of(self)->world->config.counting ? TARN_EKIND : status;
}

void *tarn_weak_new(tarn_thread *self, void *target) {
  tarn_status status = tarn_weak_check(self);
  if (status != TARN_OK) {
    tarn_thread_fail(self, status);
    return NULL;
  }
  TARN_FRAME(self, &target); /* the allocation may collect */
  tarn_world *world = tarn_mutator_of(self)->world;
  tarn_weak_note_made(world->collector);
  uintptr_t *words = tarn_new(self, world->types.weak);
  if (words)
    __atomic_store_n(&words[WORD_TARGET], (uintptr_t)target, __ATOMIC_RELEASE);
  return words;
}

void *tarn_weak_get(tarn_thread *self, void *weak) {
  const uintptr_t *words = tarn_weak_words(self, weak, false);
  return words ? tarn_weak_read(tarn_mutator_of(self), &words[WORD_TARGET]) : NULL;
}

void tarn_weak_set(tarn_thread *self, void *weak, void *target) {
  uintptr_t *words = tarn_weak_words(self, weak, false);
  if (!words)
    return;
  __atomic_store_n(&words[WORD_TARGET], (uintptr_t)target, __ATOMIC_RELEASE);
  tarn_barrier(self, words, &words[WORD_TARGET]);
}

bool tarn_is_weak(tarn_world *world, const void *object) {
  return world && has_type(world, object, world->types.weak);
}

bool tarn_is_ephemeron(tarn_world *world, const void *object) {
  return world && has_type(world, object, world->types.ephemeron);
}

void tarn_weak_note_made(struct tarn_collector *collector) {
  /* Relaxed: the next collection is told through its stop. */
  if (!__atomic_load_n(&collector->weak.made, __ATOMIC_RELAXED))
    __atomic_store_n(&collector->weak.made, true, __ATOMIC_RELAXED);
}

/* --- for the collector ----------------------------------------------------------------------- */

void tarn_weak_found(struct tarn_collector *collector, void *object) {
  uintptr_t *words = object;
  if (words[WORD_LINK])
    return; /* met before: its pool was walked again after the mark stack was full */
  words[WORD_LINK] = collector->weak.list;
  collector->weak.list = (uintptr_t)object;
}

struct each {
  struct tarn_collector *collector;
  tarn_weak_fn fn;
  void *data;
};

/* They are objects of two types, each of one size. */
static void each_of_pool(struct tarn_pool *pool, void *data) {
  const struct each *each = data;
  const tarn_world *world = each->collector->world;
  const struct tarn_types *types = &world->types;
  size_t size = tarn_pool_block_size(pool);
  if (pool->flavour != TARN_FLAVOUR_CONTAINER ||
      (size != types->weak->head.size && size != types->ephemeron->head.size))
    return;
  char *block = (char *)tarn_pool_base(pool);
  for (unsigned i = 0; i < pool->capacity; i++, block += size) {
    if (!tarn_pool_in_use(pool, block, world->store.epoch))
      continue;
    const tarn_type *type = tarn_type_of(block);
    if (type == types->weak || type == types->ephemeron)
      each->fn(each->collector, block, type == types->ephemeron, each->data);
  }
}

void tarn_weak_each(struct tarn_collector *collector, tarn_weak_fn fn, void *data) {
  struct each each = {collector, fn, data};
  tarn_store_each_pool(&collector->world->store, each_of_pool, &each);
}

/* Those that are new are met when something marks them. */
static void meet(struct tarn_collector *collector, void *object, bool ephemeron, void *data) {
  (void)data;
  if (!tarn_marker_says(&collector->marker, tarn_mark_load((uintptr_t)object)))
    return;
  if (ephemeron)
    tarn_ephemeron_found(collector, &collector->marker, object);
  else
    tarn_weak_found(collector, object);
}

void tarn_weak_roots(struct tarn_collector *collector) {
  struct tarn_store *store = &collector->world->store;
  /* Relaxed: the world is stopped. */
  bool freed = __atomic_exchange_n(&store->freed_marked, 0, __ATOMIC_RELAXED);
  collector->weak.all = freed || collector->generation == TARN_GENERATION_FULL;
  if (freed && collector->generation != TARN_GENERATION_FULL &&
      __atomic_load_n(&collector->weak.made, __ATOMIC_RELAXED))
    tarn_weak_each(collector, meet, NULL);
}

/*
 * A target that is due for a finalizer has been marked since, but its weak references go all the
 * same: those that were met earlier went before the finalizers were searched, and these here lie in
 * what only such objects reach.
 */
static bool must_clear(struct tarn_collector *collector, uintptr_t target) {
  return tarn_weak_is_dead(&collector->marker, target) ||
         tarn_finalizer_is_new_due(collector, target);
}

size_t tarn_weak_clear(struct tarn_collector *collector) {
  size_t cleared = 0;
  uintptr_t next;
  for (uintptr_t at = collector->weak.list; at != TARN_LINK_END; at = next) {
    uintptr_t *words = (uintptr_t *)at;
    next = words[WORD_LINK];
    words[WORD_LINK] = 0;
    if (must_clear(collector, __atomic_load_n(&words[WORD_TARGET], __ATOMIC_RELAXED))) {
      __atomic_store_n(&words[WORD_TARGET], 0, __ATOMIC_RELAXED);
      cleared++;
    }
  }
  collector->weak.list = TARN_LINK_END;
  return cleared;
}

void tarn_weak_forget(struct tarn_collector *collector, void *weak, tarn_gone_fn gone, void *data) {
  uintptr_t *words = weak;
  uintptr_t target = __atomic_load_n(&words[WORD_TARGET], __ATOMIC_RELAXED);
  if (target && gone(target & ~collector->world->tag_mask, data))
    __atomic_store_n(&words[WORD_TARGET], 0, __ATOMIC_RELAXED);
}
