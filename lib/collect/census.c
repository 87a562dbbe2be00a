/* SPDX-License-Identifier: MIT */
/*
 * collect/census.c: what the mark means for each pool and each large object of the generation.
 *
 * Pools of a generation are told by their age, large objects by their place: the heap's list has
 * the newest first, so those with the epoch come after all that are younger.
 *
 * The pass over a pool's mark bytes is flat: 4 KiB of them at most, whatever the size class, since
 * no byte between block starts is ever set.  Blocks are looked at in resource pools only (and, in
 * checking builds, cleared everywhere).
 */
#include "collect/collector.h"
#include <string.h>

struct census {
  struct tarn_collector *collector;
  /* Of the whole world.  A full collection counts from zero; others correct what was counted
   * before, in which what was freed by hand since is still contained. */
  uint64_t live_bytes, live_objects;
  bool full;
};

static struct census begin(struct tarn_collector *collector) {
  struct census census = {.collector = collector,
                          .full = collector->generation == TARN_GENERATION_FULL};
  if (!census.full) {
    /* Relaxed, as below: figures; the requesters of stops write them. */
    census.live_bytes = atomic_load_explicit(&collector->live_bytes, memory_order_relaxed);
    census.live_objects = atomic_load_explicit(&collector->live_objects, memory_order_relaxed);
  }
  return census;
}

/* --- what belongs to the generation ---------------------------------------------------------- */

static void each_pool(struct tarn_collector *collector, void (*fn)(struct tarn_pool *, void *),
                      void *data) {
  struct tarn_store *store = &collector->world->store;
  if (collector->generation == TARN_GENERATION_FULL)
    tarn_store_each_pool(store, fn, data);
  else
    tarn_store_each_aged(
        store, collector->generation == 0 ? TARN_AGE_YOUNG : TARN_AGE_YOUNG | TARN_AGE_AGED, fn,
        data);
}

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

static void each_large(struct census *census, void (*fn)(struct census *, struct tarn_large *)) {
  struct tarn_store *store = &census->collector->world->store;
  for (unsigned i = 0; i < tarn_store_heap_limit(store); i++) {
    struct tarn_heap *heap = tarn_store_heap(store, i);
    struct tarn_large *large, *next;
    if (heap)
      cds_list_for_each_entry_safe(large, next, &heap->larges, node) {
        if (large->age == TARN_LARGE_OLD && !census->full)
          break;
        fn(census, large);
      }
  }
}

static void prepare_large(struct census *census, struct tarn_large *large) {
  if (tarn_mark_is_dead(*tarn_mark_byte(large->base)))
    keep_data(census->collector, large->base);
}

void tarn_census_prepare(struct tarn_collector *collector) {
  struct census census = begin(collector);
  each_pool(collector, prepare_pool, collector);
  each_large(&census, prepare_large);
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
    if (!tarn_marker_says(marker, *tarn_mark_byte(block)) &&
        tarn_pool_in_use(pool, (const void *)block, marker->previous)) {
      tarn_census_condemn(collector, block);
      collector->found_bytes += size;
    }
}

static void condemn_large(struct census *census, struct tarn_large *large) {
  struct tarn_collector *collector = census->collector;
  uint8_t byte = *tarn_mark_byte(large->base);
  if (!tarn_flavour_resource((tarn_flavour)large->flavour) ||
      tarn_marker_says(&collector->marker, byte) || tarn_mark_is_dead(byte) ||
      *(const uintptr_t *)large->base == 0)
    return;
  tarn_census_condemn(collector, large->base);
  tarn_release_add_large(collector, large);
  collector->found_bytes += large->bytes;
}

/* --- counting -------------------------------------------------------------------------------- */

/* What the mark bytes of a pool say. */
struct count {
  uint8_t epoch, mark;
  unsigned live, aged, dead; /* those that are aged live as well */
};

/* The same, for bytes that were found to be other than zero. */
static void count_some(struct count *count, uint8_t *marks, size_t bytes) {
  for (size_t i = 0; i < bytes; i++) {
    uint8_t byte = marks[i];
    bool lives = byte == count->epoch || byte == count->mark, waits = tarn_mark_is_dead(byte);
    count->live += lives;
    count->aged += byte == TARN_MARK_SURVIVED;
    count->dead += waits;
    marks[i] = lives || waits ? byte : TARN_MARK_NONE;
  }
}

/*
 * Counts bytes of what lives and clears all others but those of the condemned, which it counts too.
 * Sixteen at a time: dead stretches are long, and the table of a whole heap is gone through.
 */
static void count_bytes(struct count *count, uint8_t *marks, size_t bytes) {
  size_t i = 0;
  for (; i + 16 <= bytes; i += 16) {
    uint64_t words[2];
    memcpy(words, marks + i, sizeof words);
    if (words[0] | words[1])
      count_some(count, marks + i, 16);
  }
  count_some(count, marks + i, bytes - i);
  if (count->mark == count->epoch)
    count->aged = 0; /* they did not live on, or have the epoch now */
}

#if TARN_CHECKING
/* Checking builds clear every dead block at once, so that its use is seen at once. */
static void clear_dead(const struct tarn_marker *marker, struct tarn_pool *pool) {
  size_t size = tarn_pool_block_size(pool);
  tarn_kind kind = tarn_flavour_kind((tarn_flavour)pool->flavour);
  uintptr_t base = tarn_pool_base(pool);
  for (uintptr_t at = 0; at + size <= pool->own.virgin; at += size) {
    uint8_t byte = *tarn_mark_byte(base + at);
    if (tarn_marker_says(marker, byte) || tarn_mark_is_dead(byte))
      continue;
    uintptr_t *words = tarn_block_words((void *)(base + at));
    words[0] = tarn_free_key(kind, words);
    memset(words + 1, 0xdb, size - sizeof *words);
  }
}
#endif

/* A pool that stood on a shelf leaves it; those of threads do not have to: all bins are forgotten.
 */
static void take_down(const struct census *census, struct tarn_pool *pool) {
  struct tarn_shelf *shelf = &pool->heap->shelves[pool->flavour][pool->size_class];
  if (!census->full) {
    if (pool->list == TARN_LIST_SHELF)
      tarn_pool_detach(&shelf->some, pool);
    else if (pool->list == TARN_LIST_SHELF_FULL)
      tarn_pool_detach(&shelf->full, pool);
  }
  pool->next = pool->prev = NULL;
}

static void count_pool(struct tarn_pool *pool, void *data) {
  struct census *census = data;
  struct tarn_collector *collector = census->collector;
  struct tarn_store *store = &collector->world->store;
  size_t size = tarn_pool_block_size(pool);
  struct count count = {.epoch = collector->marker.epoch, .mark = collector->marker.mark};
  bool was_condemned = pool->list == TARN_LIST_CONDEMNED;
#if TARN_CHECKING
  clear_dead(&collector->marker, pool);
#endif
  count_bytes(&count, tarn_mark_byte(tarn_pool_base(pool)),
              (pool->own.virgin + 15) >> TARN_GRANULE_SHIFT);
  /* Modulo 2^64: it may have become less. */
  uint64_t more = (uint64_t)count.live - (census->full ? 0 : pool->live);
  census->live_objects += more;
  census->live_bytes += more * size;
  collector->found_bytes += (tarn_pool_used(pool) - count.live - count.dead) * size;
  pool->live = (uint16_t)count.live;
  tarn_space.ages[tarn_pool_unit(pool)] =
      (uint8_t)((count.aged ? TARN_AGE_AGED : 0) | (count.dead ? TARN_AGE_YOUNG : 0));
  if (!was_condemned)
    take_down(census, pool);
  pool->list = was_condemned ? TARN_LIST_CONDEMNED : TARN_LIST_NONE;
  tarn_pool_set_used(pool, count.live + count.dead);
  pool->own.cursor = 0;
  pool->own.free = NULL;
  if (was_condemned)
    return; /* it is on the release list, or a thread works on it */
  /* The world is stopped; threads see it through the end of the stop. */
  tarn_pool_set_owner(pool, NULL);
  if (count.dead)
    tarn_release_add_pool(collector, pool);
  else if (count.live)
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

static void bury_large(struct census *census, struct tarn_large *large) {
  struct tarn_collector *collector = census->collector;
  uint8_t byte = *tarn_mark_byte(large->base);
  if (tarn_marker_says(&collector->marker, byte) || tarn_mark_is_dead(byte))
    return;
  if (large->age != TARN_LARGE_NEW && !census->full) {
    census->live_bytes -= large->bytes;
    census->live_objects--;
  }
  tarn_large_unlink(large);
  collector->found_bytes += large->bytes;
  large->limbo = collector->dead_larges;
  collector->dead_larges = large;
}

static void count_large(struct census *census, struct tarn_large *large) {
  if (large->age == TARN_LARGE_NEW || census->full) {
    census->live_bytes += large->bytes;
    census->live_objects++;
  }
  large->age = census->collector->generation == 0 ? TARN_LARGE_AGED : TARN_LARGE_OLD;
}

void tarn_census_take(struct tarn_collector *collector) {
  tarn_world *world = collector->world;
  struct census census = begin(collector);
  collector->found_bytes = 0;
  /* Condemning first: it keeps data blocks, which must be marked when their pools are counted. */
  each_pool(collector, condemn_pool, collector);
  each_large(&census, condemn_large);
  each_large(&census, bury_large);
  each_large(&census, count_large);
  forget_bins(world);
  if (census.full)
    empty_shelves(&world->store);
  each_pool(collector, count_pool, &census);
  atomic_store_explicit(&collector->live_bytes, census.live_bytes, memory_order_relaxed);
  atomic_store_explicit(&collector->live_objects, census.live_objects, memory_order_relaxed);
}
