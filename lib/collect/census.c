/* SPDX-License-Identifier: MIT */
/*
 * collect/census.c: what the mark means for each pool and each large object.
 *
 * The pass over a pool's mark bytes is flat: 4 KiB of them at most, whatever the size class, since
 * no byte between block starts is ever set.  Blocks are looked at in resource pools only (and, in
 * checking builds, cleared everywhere).
 */
#include "collect/collector.h"
#include <string.h>

/* --- before the mark ------------------------------------------------------------------------- */

/* A condemned object's data block is nobody else's, and its `free` function may read it. */
static void keep_data(struct tarn_collector *collector, uintptr_t object) {
  const tarn_type *type = tarn_type_of((const void *)object);
  if (type->data_size)
    tarn_mark_keep(&collector->marker, ((const uintptr_t *)object)[type->data_word]);
}

static void prepare_pool(struct tarn_pool *pool, void *data) {
  struct tarn_collector *collector = data;
  if (pool->list != TARN_LIST_CONDEMNED)
    return;
  tarn_remote_unpark(pool);
  size_t size = tarn_pool_block_size(pool);
  uintptr_t block = tarn_pool_base(pool);
  for (unsigned i = 0; i < pool->capacity; i++, block += size)
    if (tarn_mark_is_dead(*tarn_mark_byte(block)))
      keep_data(collector, block);
}

static void each_large(struct tarn_collector *collector,
                       void (*fn)(struct tarn_collector *, struct tarn_large *)) {
  struct tarn_store *store = &collector->world->store;
  for (unsigned i = 0; i < tarn_store_heap_limit(store); i++) {
    struct tarn_heap *heap = tarn_store_heap(store, i);
    struct tarn_large *large, *next;
    if (heap)
      cds_list_for_each_entry_safe(large, next, &heap->larges, node) fn(collector, large);
  }
}

static void prepare_large(struct tarn_collector *collector, struct tarn_large *large) {
  if (tarn_mark_is_dead(*tarn_mark_byte(large->base)))
    keep_data(collector, large->base);
}

void tarn_census_prepare(struct tarn_collector *collector) {
  tarn_store_each_pool(&collector->world->store, prepare_pool, collector);
  each_large(collector, prepare_large);
}

/* --- condemning ------------------------------------------------------------------------------ */

void tarn_census_condemn(struct tarn_collector *collector, uintptr_t object) {
  *tarn_mark_byte(object) = TARN_MARK_CONDEMNED;
  keep_data(collector, object);
}

/* Condemns the dead objects of a resource pool. */
static void condemn_pool(struct tarn_pool *pool, void *data) {
  struct tarn_collector *collector = data;
  const struct tarn_marker *marker = &collector->marker;
  if (!tarn_flavour_resource((tarn_flavour)pool->flavour))
    return;
  size_t size = tarn_pool_block_size(pool);
  uintptr_t block = tarn_pool_base(pool);
  for (unsigned i = 0; i < pool->capacity; i++, block += size)
    if (*tarn_mark_byte(block) != marker->epoch &&
        tarn_pool_in_use(pool, (const void *)block, marker->previous)) {
      tarn_census_condemn(collector, block);
      collector->found_bytes += size;
    }
}

static void condemn_large(struct tarn_collector *collector, struct tarn_large *large) {
  uint8_t byte = *tarn_mark_byte(large->base);
  if (!tarn_flavour_resource((tarn_flavour)large->flavour) || byte == collector->marker.epoch ||
      tarn_mark_is_dead(byte) || *(const uintptr_t *)large->base == 0)
    return;
  tarn_census_condemn(collector, large->base);
  tarn_release_add_large(collector, large);
  collector->found_bytes += large->bytes;
}

/* --- counting -------------------------------------------------------------------------------- */

/* The same, for bytes that were found to be other than zero. */
static void count_some(uint8_t *marks, size_t bytes, uint8_t epoch, unsigned *live,
                       unsigned *dead) {
  for (size_t i = 0; i < bytes; i++) {
    uint8_t byte = marks[i];
    bool lives = byte == epoch, waits = tarn_mark_is_dead(byte);
    *live += lives;
    *dead += waits;
    marks[i] = lives || waits ? byte : TARN_MARK_NONE;
  }
}

/*
 * Counts bytes of the epoch and clears all others but those of the condemned, which it counts too.
 * Sixteen at a time: dead stretches are long, and the table of a whole heap is gone through.
 */
static void count_bytes(uint8_t *marks, size_t bytes, uint8_t epoch, unsigned *live,
                        unsigned *dead) {
  size_t i = 0;
  for (; i + 16 <= bytes; i += 16) {
    uint64_t words[2];
    memcpy(words, marks + i, sizeof words);
    if (words[0] | words[1])
      count_some(marks + i, 16, epoch, live, dead);
  }
  count_some(marks + i, bytes - i, epoch, live, dead);
}

#if TARN_CHECKING
/* Checking builds clear every dead block at once, so that its use is seen at once. */
static void clear_dead(struct tarn_pool *pool, uint8_t epoch) {
  size_t size = tarn_pool_block_size(pool);
  tarn_kind kind = tarn_flavour_kind((tarn_flavour)pool->flavour);
  uintptr_t base = tarn_pool_base(pool);
  for (uintptr_t at = 0; at + size <= pool->own.virgin; at += size) {
    uint8_t byte = *tarn_mark_byte(base + at);
    if (byte == epoch || tarn_mark_is_dead(byte))
      continue;
    uintptr_t *words = tarn_block_words((void *)(base + at));
    words[0] = tarn_free_key(kind, words);
    memset(words + 1, 0xdb, size - sizeof *words);
  }
}
#endif

struct census {
  struct tarn_collector *collector;
  uint64_t live_bytes, live_objects;
};

static void count_pool(struct tarn_pool *pool, void *data) {
  struct census *census = data;
  struct tarn_collector *collector = census->collector;
  struct tarn_store *store = &collector->world->store;
  uint8_t epoch = collector->marker.epoch;
  unsigned live = 0, dead = 0;
  bool was_condemned = pool->list == TARN_LIST_CONDEMNED;
#if TARN_CHECKING
  clear_dead(pool, epoch);
#endif
  count_bytes(tarn_mark_byte(tarn_pool_base(pool)), (pool->own.virgin + 15) >> TARN_GRANULE_SHIFT,
              epoch, &live, &dead);
  census->live_objects += live;
  census->live_bytes += live * tarn_pool_block_size(pool);
  collector->found_bytes += (tarn_pool_used(pool) - live - dead) * tarn_pool_block_size(pool);
  pool->live = (uint16_t)live;
  pool->list = was_condemned ? TARN_LIST_CONDEMNED : TARN_LIST_NONE;
  tarn_pool_set_used(pool, live + dead);
  pool->own.cursor = 0;
  pool->own.free = NULL;
  if (was_condemned)
    return; /* it is on the release list, or a thread works on it */
  pool->next = pool->prev = NULL;
  /* The world is stopped; threads see it through the end of the stop. */
  tarn_pool_set_owner(pool, NULL);
  if (dead)
    tarn_release_add_pool(collector, pool);
  else if (live)
    tarn_heap_shelve(pool->heap, pool);
  else
    tarn_pool_drop(store, pool);
}

static void empty_shelves(struct tarn_store *store) {
  for (unsigned i = 0; i < tarn_store_heap_limit(store); i++) {
    struct tarn_heap *heap = tarn_store_heap(store, i);
    if (heap)
      memset(heap->shelves, 0, sizeof heap->shelves);
  }
}

static void forget_bins(tarn_world *world) {
  struct tarn_mutator *mutator;
  cds_list_for_each_entry(mutator, &world->registry.list, node) tarn_local_forget(&mutator->local);
}

/* --- large objects --------------------------------------------------------------------------- */

static void bury_large(struct tarn_collector *collector, struct tarn_large *large) {
  uint8_t byte = *tarn_mark_byte(large->base);
  if (byte == collector->marker.epoch || tarn_mark_is_dead(byte))
    return;
  tarn_large_unlink(large);
  collector->found_bytes += large->bytes;
  large->limbo = collector->dead_larges;
  collector->dead_larges = large;
}

static void count_larges(struct census *census) {
  struct tarn_store *store = &census->collector->world->store;
  for (unsigned i = 0; i < tarn_store_heap_limit(store); i++) {
    struct tarn_heap *heap = tarn_store_heap(store, i);
    struct tarn_large *large;
    if (!heap)
      continue;
    cds_list_for_each_entry(large, &heap->larges, node) {
      census->live_bytes += large->bytes;
      census->live_objects++;
    }
  }
}

void tarn_census_take(struct tarn_collector *collector) {
  tarn_world *world = collector->world;
  struct census census = {.collector = collector};
  collector->found_bytes = 0;
  /* Condemning first: it keeps data blocks, which must be marked when their pools are counted. */
  tarn_store_each_pool(&world->store, condemn_pool, collector);
  each_large(collector, condemn_large);
  each_large(collector, bury_large);
  count_larges(&census);
  forget_bins(world);
  empty_shelves(&world->store);
  tarn_store_each_pool(&world->store, count_pool, &census);
  /* Relaxed: figures. */
  atomic_store_explicit(&collector->live_bytes, census.live_bytes, memory_order_relaxed);
  atomic_store_explicit(&collector->live_objects, census.live_objects, memory_order_relaxed);
}
