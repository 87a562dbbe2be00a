/* SPDX-License-Identifier: MIT */
/*
 * collect/census.c: what the mark means for each pool and each large object of the generation.
 *
 * A full collection only files its pools, to be swept later (heap/sweep.h): the markers counted
 * what lives.  Pools with resources are counted at once, since what is dead in them is condemned;
 * so are all pools of a young collection, which are few.
 *
 * Pools of a generation are told by their age, large objects by their place: the heap's list has
 * the newest first, so those with the epoch come after all that are younger.
 *
 * The pass over a pool's mark bytes is flat: 4 KiB of them at most, whatever the size class, since
 * no byte between block starts is ever set.  Blocks are looked at in resource pools only (and, in
 * checking builds, cleared everywhere).
 */
#include "collect/collector.h"
#include "heap/sweep.h"
#include <string.h>

struct census {
  struct tarn_collector *collector;
  /* Of the whole world.  A full collection counts from zero; others correct what was counted
   * before, in which what was freed by hand since is still contained. */
  uint64_t live_bytes, live_objects;
  uint64_t used_bytes;    /* of filed pools, before the collection */
  uint64_t marked_larges; /* in a full one */
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
  tarn_type_check(collector->world, (const void *)object);
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
    count->aged += byte == tarn_mark_survived(count->epoch);
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
#if TARN_CHECKING || TARN_TOOLS
  tarn_pool_spoil_dead(pool, count.epoch, count.mark);
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

/* --- the pools of a full collection ---------------------------------------------------------- */

static void file_pool(struct census *census, struct tarn_pool *pool) {
  uint8_t *age = &tarn_space.ages[tarn_pool_unit(pool)];
  census->used_bytes += tarn_pool_used(pool) * tarn_pool_block_size(pool);
  if (*age) /* a look first: most of an old heap has none */
    *age = 0;
  tarn_sweep_file(&census->collector->world->store, pool);
}

static void settle_pool(struct tarn_pool *pool, void *data) {
  struct census *census = data;
  if (!tarn_flavour_resource((tarn_flavour)pool->flavour)) {
    file_pool(census, pool);
    return;
  }
  condemn_pool(pool, census->collector);
  count_pool(pool, census);
}

static void empty_shelves(struct tarn_store *store) {
  for (unsigned i = 0; i < tarn_store_heap_limit(store); i++) {
    struct tarn_heap *heap = tarn_store_heap(store, i);
    if (heap)
      memset(heap->shelves, 0, sizeof heap->shelves);
  }
}

void tarn_census_forget_bins(tarn_world *world) {
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
  const struct tarn_marker *marker = &census->collector->marker;
  if (large->age == TARN_LARGE_NEW || census->full) {
    census->live_bytes += large->bytes;
    census->live_objects++;
  }
  census->marked_larges += tarn_marker_says(marker, *tarn_mark_byte(large->base));
  large->age = census->collector->generation == 0 ? TARN_LARGE_AGED : TARN_LARGE_OLD;
}

static void settle_larges(struct census *census) {
  each_large(census, condemn_large);
  each_large(census, bury_large);
  each_large(census, count_large);
}

/* A young collection.  Condemning first: it keeps data blocks, which must be marked when their
 * pools are counted. */
static void take_young(struct census *census) {
  struct tarn_collector *collector = census->collector;
  each_pool(collector, condemn_pool, collector);
  settle_larges(census);
  tarn_census_forget_bins(collector->world);
  each_pool(collector, count_pool, census);
}

/* Data blocks lie in pools that are filed, or are large. */
static void take_full(struct census *census) {
  struct tarn_collector *collector = census->collector;
  const struct tarn_marker *marker = &collector->marker;
  struct tarn_store *store = &collector->world->store;
  tarn_census_forget_bins(collector->world);
  empty_shelves(store);
  tarn_sweep_begin(store);
  each_pool(collector, settle_pool, census);
  uint64_t objects = census->live_objects, bytes = census->live_bytes;
  settle_larges(census);
  /* What markers counted and was not met above lives in the filed pools. */
  collector->unswept_objects = marker->marked - objects - census->marked_larges;
  collector->unswept_bytes = marker->marked_bytes - bytes;
  census->live_objects += collector->unswept_objects;
  census->live_bytes += collector->unswept_bytes;
  if (census->used_bytes > collector->unswept_bytes)
    collector->found_bytes += census->used_bytes - collector->unswept_bytes;
}

void tarn_census_take(struct tarn_collector *collector) {
  struct census census = begin(collector);
  collector->found_bytes = 0;
  if (census.full)
    take_full(&census);
  else
    take_young(&census);
  atomic_store_explicit(&collector->live_bytes, census.live_bytes, memory_order_relaxed);
  atomic_store_explicit(&collector->live_objects, census.live_objects, memory_order_relaxed);
}

void tarn_census_swept(struct tarn_store *store) {
  struct tarn_collector *collector = tarn_world_of_store(store)->collector;
  /* Relaxed: seen through the count of unswept pools.  Modulo 2^64: what two markers met at once
   * was counted twice. */
  uint64_t objects = atomic_load_explicit(&store->swept_blocks, memory_order_relaxed);
  uint64_t bytes = atomic_load_explicit(&store->swept_bytes, memory_order_relaxed);
  TARN_ASSERT(collector->markers.wanted != 0 ||
              (objects == collector->unswept_objects && bytes == collector->unswept_bytes));
  atomic_fetch_add_explicit(&collector->live_objects, objects - collector->unswept_objects,
                            memory_order_relaxed);
  atomic_fetch_add_explicit(&collector->live_bytes, bytes - collector->unswept_bytes,
                            memory_order_relaxed);
  if (tarn_is_told(store, TARN_TOLD_SWEPT))
    tarn_tell(store, (struct tarn_told){.kind = TARN_TOLD_SWEPT,
                                        .count = (size_t)objects,
                                        .bytes = (size_t)bytes});
}
