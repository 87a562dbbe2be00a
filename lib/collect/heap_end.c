/* SPDX-License-Identifier: MIT */
/*
 * collect/heap_end.c: heaps that are dropped whole, and worlds that end.
 *
 * A heap goes in two stops.  In the first its resource objects are condemned, whoever refers to
 * them; their `free` functions run with the world running; in the second everything that knows its
 * objects weakly forgets them, and its pools and large objects go.
 */
#include "collect/collector.h"
#include "heap/sweep.h"

/* --- the first stop -------------------------------------------------------------------------- */

struct condemn {
  struct tarn_collector *collector;
  struct tarn_heap *heap;
};

static void forget_bins(tarn_world *world, struct tarn_heap *heap) {
  struct tarn_mutator *mutator;
  cds_list_for_each_entry(mutator, &world->registry.list, node)
      tarn_local_forget_heap(&mutator->local, heap);
}

/* Does the address lie in a block of the heap that goes? */
static bool is_gone(uintptr_t object, void *data) {
  struct tarn_heap *heap = data;
  struct tarn_place place;
  if (!tarn_find(heap->store->id, object, true, &place))
    return false;
  return tarn_map_form(place.map) == TARN_FORM_POOL ? tarn_pool_of(object)->heap == heap
                                                    : tarn_large_of(object)->heap == heap;
}

/* Those of the heap that goes need nothing: they go with it. */
static void forget(struct tarn_collector *collector, void *object, bool ephemeron, void *data) {
  if (is_gone((uintptr_t)object, data))
    return;
  if (ephemeron)
    tarn_ephemeron_forget(collector, object, is_gone, data);
  else
    tarn_weak_forget(collector, object, is_gone, data);
}

static void forget_heap(struct tarn_collector *collector, struct tarn_heap *heap) {
  tarn_finalizers_forget(collector, is_gone, heap);
  tarn_weak_tables_forget(collector, is_gone, heap);
  tarn_weak_each(collector, forget, heap);
}

static void condemn_pool(struct tarn_pool *pool, void *data) {
  struct condemn *condemn = data;
  struct tarn_collector *collector = condemn->collector;
  if (pool->heap != condemn->heap || !tarn_flavour_resource((tarn_flavour)pool->flavour))
    return;
  size_t size = tarn_pool_block_size(pool);
  uintptr_t block = tarn_pool_base(pool);
  unsigned found = 0, live = 0;
  tarn_remote_unpark(pool);
  for (unsigned i = 0; i < pool->capacity; i++, block += size)
    if (tarn_pool_in_use(pool, (const void *)block, collector->world->store.epoch)) {
      tarn_census_condemn(collector, block);
      found++;
    } else if (tarn_mark_is_dead(*tarn_mark_byte(block))) {
      live++;
    }
  if (found == 0 || pool->list == TARN_LIST_CONDEMNED)
    return;
  /* Everything else in it is free, and with the cursor at 0 the mark bytes say so. */
  pool->own.cursor = 0;
  pool->own.free = NULL;
  pool->list = TARN_LIST_NONE;
  tarn_pool_set_used(pool, found + live);
  pool->next = pool->prev = NULL;
  tarn_pool_set_owner(pool, NULL); /* the world is stopped */
  tarn_release_add_pool(collector, pool);
}

/* Pools that stay: the heap's shelves are built anew, since condemned pools left them. */
static void shelve_again(struct tarn_pool *pool, void *data) {
  struct condemn *condemn = data;
  if (pool->heap != condemn->heap || pool->list == TARN_LIST_CONDEMNED)
    return;
  pool->next = pool->prev = NULL;
  tarn_pool_set_list(pool, TARN_LIST_NONE);
  tarn_pool_set_owner(pool, NULL);
  tarn_heap_shelve(pool->heap, pool);
}

static void condemn_heap(struct tarn_collector *collector, struct tarn_heap *heap) {
  /* What condemning keeps is marked as the last collection marked what it kept. */
  collector->marker.epoch = collector->marker.mark = collector->world->store.epoch;
  struct condemn condemn = {collector, heap};
  tarn_world *world = collector->world;
  forget_bins(world, heap);
  for (unsigned i = 0; i < TARN_FLAVOURS; i++)
    for (unsigned k = 0; k < TARN_CLASS_COUNT; k++)
      heap->shelves[i][k] = (struct tarn_shelf){0};
  tarn_store_each_pool(&world->store, condemn_pool, &condemn);
  tarn_store_each_pool(&world->store, shelve_again, &condemn);
  struct tarn_large *large;
  cds_list_for_each_entry(large, &heap->larges,
                          node) if (tarn_flavour_resource((tarn_flavour)large->flavour) &&
                                    !tarn_mark_is_dead(*tarn_mark_byte(large->base)) &&
                                    *(const uintptr_t *)large->base != 0) {
    tarn_census_condemn(collector, large->base);
    tarn_release_add_large(collector, large);
  }
}

/* --- between the stops, and the second */

/* Runs what is due until nothing of the heap is; other threads may be working on an item of it. */
static void finish_releases(struct tarn_collector *collector, struct tarn_mutator *self,
                            struct tarn_heap *heap) {
  /* Acquire: pairs with item_done in release.c. */
  while (atomic_load_explicit(&heap->condemned, memory_order_acquire) != 0)
    if (tarn_release_run(collector, self, 0) == 0) {
      uint32_t word = 0;
      tarn_stop_leave(self);
      tarn_os_wait(&word, 0, 50000); /* a nap: this is rare, and not worth a futex of its own */
      tarn_stop_enter(self);
    }
}

tarn_status tarn_heap_destroy(tarn_thread *self, tarn_heap *heap) {
  tarn_status status = tarn_thread_check_running(self);
  if (status != TARN_OK)
    return status;
  struct tarn_mutator *mutator = tarn_mutator_of(self);
  tarn_world *world = mutator->world;
  if (!heap || heap == world->atomic_heap || heap == world->container_heap ||
      heap->store != &world->store)
    return TARN_EINVAL;
  if (self->tarn_holds || mutator->running_free || tarn_cycles_runs(world->collector, mutator))
    return TARN_EHELD;
  tarn_cycles_lock(world, mutator);
  tarn_stop_begin_always(world, mutator);
  if (!world->store.tables && !tarn_store_make_tables(&world->store)) {
    tarn_stop_end(world, mutator);
    tarn_cycles_unlock(world);
    return TARN_ENOMEM;
  }
  tarn_sweep_all(&world->store);
  forget_heap(world->collector, heap);
  condemn_heap(world->collector, heap);
  tarn_stop_end(world, mutator);
  finish_releases(world->collector, mutator, heap);
  tarn_stop_begin_always(world, mutator);
  tarn_sweep_all(&world->store);
  forget_bins(world, heap); /* a `free` function may have allocated there */
  struct tarn_large *limbo = tarn_heap_clear(heap);
  tarn_stop_end(world, mutator);
  tarn_cycles_unlock(world);
  tarn_heap_finish(heap, limbo);
  return TARN_OK;
}

/* --- the end of a world ---------------------------------------------------------------------- */

struct end {
  tarn_world *world;
  struct tarn_mutator *self;
};

static void release_if_used(struct end *end, void *object, bool in_use) {
  struct tarn_store *store = &end->world->store;
  if (!in_use && !(store->tables && *tarn_mark_byte((uintptr_t)object) == TARN_MARK_CONDEMNED))
    return;
  if (*tarn_block_words(object) != 0) /* else it was freed by hand after it had died */
    tarn_type_release(NULL, object);
  *tarn_block_words(object) = 0;
  if (store->tables)
    *tarn_mark_byte((uintptr_t)object) = TARN_MARK_NONE;
}

static void end_pool(struct tarn_pool *pool, void *data) {
  struct end *end = data;
  uint8_t epoch = end->world->store.epoch;
  if (!tarn_flavour_resource((tarn_flavour)pool->flavour))
    return;
  size_t size = tarn_pool_block_size(pool);
  char *block = (char *)tarn_pool_base(pool);
  for (unsigned i = 0; i < pool->capacity; i++, block += size)
    release_if_used(end, block, tarn_pool_in_use(pool, block, epoch));
}

void tarn_release_everything(tarn_world *world, struct tarn_mutator *self) {
  struct end end = {world, self};
  struct tarn_store *store = &world->store;
  struct tarn_release *release = &world->collector->release;
  self->running_free = 1;
  /* What was due is found by the walk, like everything else. */
  (void)pthread_mutex_lock(&release->lock);
  release->pools = NULL;
  release->larges = NULL;
  atomic_store_explicit(&release->pending, 0, memory_order_relaxed);
  (void)pthread_mutex_unlock(&release->lock);
  tarn_store_each_pool(store, end_pool, &end);
  for (unsigned i = 0; i < tarn_store_heap_limit(store); i++) {
    struct tarn_heap *heap = tarn_store_heap(store, i);
    struct tarn_large *large;
    if (heap)
      cds_list_for_each_entry(large, &heap->larges, node) {
        void *object = (void *)large->base;
        bool dead = store->tables && tarn_mark_is_dead(*tarn_mark_byte(large->base));
        if (tarn_flavour_resource((tarn_flavour)large->flavour))
          release_if_used(&end, object, !dead && *tarn_block_words(object) != 0);
      }
  }
  self->running_free = 0;
}
