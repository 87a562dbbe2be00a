/* SPDX-License-Identifier: MIT */
/*
 * collect/freeze.c: pools that are set aside, in worlds that count references (tarn/cycles.h).
 *
 * A frozen pool has no owner and is on no list, so nobody allocates from it, and collections of
 * cycles choose other candidates.  What is freed in it is parked (heap/remote.h): the first word of
 * a block is all that is written.
 */
#include "collect/collector.h"

static void each_large(tarn_world *world, uint8_t from, uint8_t to) {
  struct tarn_large *large;
  for (unsigned i = 0; i < tarn_store_heap_limit(&world->store); i++)
    if (tarn_store_heap(&world->store, i))
      cds_list_for_each_entry(large, &tarn_store_heap(&world->store, i)->larges, node) {
        if (large->age == from || from == TARN_LARGE_NEW)
          large->age = to;
      }
}

static void freeze_pool(struct tarn_pool *pool, void *data) {
  struct tarn_shelf *shelf = &pool->heap->shelves[pool->flavour][pool->size_class];
  uint8_t *age = &tarn_space.ages[tarn_pool_unit(pool)];
  (void)data;
  if (pool->list == TARN_LIST_CONDEMNED || pool->list == TARN_LIST_FROZEN)
    return;
  if (pool->list == TARN_LIST_SHELF || pool->list == TARN_LIST_SHELF_FULL) {
    tarn_pool_unlink(pool->list == TARN_LIST_SHELF ? &shelf->some : &shelf->full, pool);
  } else {
    pool->next = pool->prev = NULL; /* of a bin that was forgotten */
    tarn_pool_set_list(pool, TARN_LIST_NONE);
  }
  tarn_pool_set_owner(pool, NULL);
  pool->bin = NULL;
  if (*age)
    *age = 0;
  tarn_pool_set_list(pool, TARN_LIST_FROZEN);
}

static void thaw_pool(struct tarn_pool *pool, void *data) {
  (void)data;
  if (pool->list == TARN_LIST_FROZEN)
    tarn_heap_put_back(pool);
}

/* May the thread do so now?  With the lock of collections of cycles and the world stopped then. */
static tarn_status begin(tarn_thread *self) {
  tarn_status status = tarn_thread_check_running(self);
  if (status != TARN_OK)
    return status;
  struct tarn_mutator *mutator = tarn_mutator_of(self);
  struct tarn_collector *collector = mutator->world->collector;
  if (!mutator->world->config.counting)
    return TARN_EKIND;
  if (self->tarn_holds)
    return TARN_EHELD;
  if (tarn_cycles_runs(collector, mutator))
    return TARN_EBUSY;
  tarn_cycles_lock(mutator->world, mutator);
  tarn_stop_begin_always(mutator->world, mutator);
  return TARN_OK;
}

static void end(tarn_thread *self) {
  struct tarn_mutator *mutator = tarn_mutator_of(self);
  tarn_stop_end(mutator->world, mutator);
  tarn_cycles_unlock(mutator->world);
}

tarn_status tarn_freeze(tarn_thread *self) {
  tarn_status status = begin(self);
  if (status != TARN_OK)
    return status;
  tarn_world *world = tarn_mutator_of(self)->world;
  tarn_census_forget_bins(world);
  tarn_store_each_pool(&world->store, freeze_pool, NULL);
  each_large(world, TARN_LARGE_NEW, TARN_LARGE_FROZEN);
  world->collector->cycles.frozen = true;
  end(self);
  return TARN_OK;
}

tarn_status tarn_unfreeze(tarn_thread *self) {
  tarn_status status = begin(self);
  if (status != TARN_OK)
    return status;
  tarn_world *world = tarn_mutator_of(self)->world;
  tarn_store_each_pool(&world->store, thaw_pool, NULL);
  each_large(world, TARN_LARGE_FROZEN, TARN_LARGE_OLD);
  world->collector->cycles.frozen = false;
  end(self);
  return TARN_OK;
}
