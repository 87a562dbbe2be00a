/* SPDX-License-Identifier: MIT */
/*
 * inspect/stats.c: the statistics structure, filled from counters that the layers keep.
 *
 * Everything is read relaxed: the figures are each right, but of slightly different moments.
 */
#include "inspect/events.h"
#include <string.h>

#define READ(field) atomic_load_explicit(&(field), memory_order_relaxed)

/* Moves the value that would come at `rank` if all were sorted there, none that is larger before it
 * and none that is smaller behind it (Hoare's selection); returns it.  In linear time, but for
 * orders that clocks do not give. */
static uint32_t select_rank(uint32_t *values, size_t count, size_t rank) {
  size_t low = 0, high = count - 1;
  while (low < high) {
    uint32_t pivot = values[low + (high - low) / 2];
    size_t left = low, right = high;
    for (;;) {
      while (values[left] < pivot)
        left++;
      while (values[right] > pivot)
        right--;
      if (left >= right)
        break;
      uint32_t value = values[left];
      values[left++] = values[right];
      values[right--] = value;
    }
    left += left == right; /* that one is the pivot */
    /* None before `left` is larger than the pivot, none from there on is smaller; and both parts
     * are shorter than the whole. */
    if (rank < left)
      high = left - 1;
    else
      low = left;
  }
  return values[rank];
}

_Static_assert(sizeof((tarn_stats *)0)->cycle_phases_last_ns / sizeof(uint64_t) == TARN_PHASES,
               "the phases of a collection of cycles");

#define RING_SIZE 1024u
_Static_assert(TARN_PAUSES_KEPT == RING_SIZE && TARN_STOPS_KEPT == RING_SIZE, "a ring's size");

/* The values of a ring to which `number` were ever added; returns how many. */
static size_t copy_ring(_Atomic uint32_t *ring, uint64_t number, uint32_t values[RING_SIZE]) {
  size_t count = number < RING_SIZE ? (size_t)number : RING_SIZE;
  for (size_t i = 0; i < count; i++)
    values[i] = READ(ring[i]);
  return count;
}

static uint64_t median_pause(struct tarn_collector *collector) {
  uint32_t values[RING_SIZE];
  size_t count = copy_ring(collector->pauses, READ(collector->collections), values);
  return count ? select_rank(values, count, count / 2) : 0;
}

static void fill_collector(struct tarn_collector *collector, tarn_stats *stats) {
  stats->collections = READ(collector->collections);
  stats->collections_asked = READ(collector->asked);
  for (unsigned i = 0; i <= TARN_GENERATION_FULL; i++)
    stats->collections_of[i] = READ(collector->of[i]);
  stats->pause_last_ns = READ(collector->pause_last);
  stats->pause_max_ns = READ(collector->pause_max);
  stats->pause_total_ns = READ(collector->pause_total);
  stats->pause_median_ns = median_pause(collector);
  stats->mark_last_ns = READ(collector->mark_last);
  stats->live_bytes = READ(collector->live_bytes);
  stats->live_objects = READ(collector->live_objects);
  stats->weak_cleared = READ(collector->weak_cleared);
  stats->mark_overflows = READ(collector->overflows);
  stats->released = READ(collector->release.released);
  stats->release_pending = READ(collector->release.pending);
  stats->finalizers_run = READ(collector->finalizers.ran);
  stats->external_bytes = READ(collector->pace.external);
  stats->soft_limit_given_up = READ(collector->pace.soft_given_up);
  stats->hard_limit_collections = READ(collector->pace.at_limit);
  stats->hard_limit_refusals = READ(collector->pace.refused);
}

static void fill_cycles(const struct tarn_collector *collector, tarn_stats *stats) {
  const struct tarn_cycles *cycles = &collector->cycles;
  stats->cycle_collections = READ(cycles->collections);
  stats->cycle_garbage = READ(cycles->freed);
  stats->cycle_resurrected = READ(cycles->resurrected);
  stats->cycle_finalizers = READ(cycles->finalizers);
  stats->cycle_pause_last_ns = READ(cycles->pause_last);
  stats->cycle_pause_max_ns = READ(cycles->pause_max);
  stats->cycle_pause_total_ns = READ(cycles->pause_total);
  for (unsigned i = 0; i < TARN_PHASES; i++)
    stats->cycle_phases_last_ns[i] = READ(cycles->phases[i]);
}

static void fill_stop(tarn_world *world, tarn_stats *stats) {
  uint32_t values[RING_SIZE];
  stats->stops = READ(world->stop.count);
  size_t count = copy_ring(world->stop.times, stats->stops, values);
  stats->stop_median_ns = count ? select_rank(values, count, count / 2) : 0;
  stats->stop_p99_ns = count ? select_rank(values, count, (count * 99 + 99) / 100 - 1) : 0;
  stats->overtaken_max = READ(world->stop.overtaken_max);
  stats->stop_last_ns = READ(world->stop.last_ns);
  stats->stop_max_ns = READ(world->stop.max_ns);
  (void)pthread_mutex_lock(&world->stop.names_lock);
  memcpy(stats->stop_last_thread, world->stop.last_thread, sizeof stats->stop_last_thread);
  memcpy(stats->stop_max_thread, world->stop.max_thread, sizeof stats->stop_max_thread);
  (void)pthread_mutex_unlock(&world->stop.names_lock);
}

static void fill_store(tarn_world *world, tarn_stats *stats) {
  struct tarn_store *store = &world->store;
  for (unsigned i = 0; i < tarn_store_heap_limit(store); i++)
    stats->heaps += tarn_store_heap(store, i) != NULL;
  stats->pools = READ(store->pools);
  stats->unswept_pools = READ(store->unswept);
  stats->large_objects = READ(store->larges);
  stats->heap_bytes = READ(store->bytes);
  stats->heap_bytes_max = READ(store->bytes_max);
  stats->allocated_bytes = READ(store->allocated);
  stats->returned_bytes = READ(store->returned);
  stats->dirty_bytes = READ(store->dirty);
  stats->metadata_bytes = tarn_meta_bytes(&store->meta);
  /* A collection makes the mark table before it counts itself. */
  if (stats->collections)
    stats->side_table_bytes = stats->heap_bytes >> TARN_GRANULE_SHIFT;
}

tarn_status tarn_stats_get(tarn_world *world, tarn_stats *stats) {
  if (!world || !stats || stats->struct_size < sizeof stats->struct_size)
    return TARN_EINVAL;
  tarn_stats all = {.struct_size = sizeof all};
  if (world->collector) { /* a malloc has none */
    fill_collector(world->collector, &all);
    fill_cycles(world->collector, &all);
  }
  fill_stop(world, &all);
  fill_store(world, &all);
  all.threads = READ(world->registry.count);
  all.types = READ(world->types.count);
  size_t known = stats->struct_size < sizeof all ? stats->struct_size : sizeof all;
  size_t asked = stats->struct_size;
  memcpy(stats, &all, known);
  stats->struct_size = asked;
  return TARN_OK;
}
