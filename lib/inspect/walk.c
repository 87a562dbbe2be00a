/* SPDX-License-Identifier: MIT */
/*
 * inspect/walk.c: walks over every block of a world, pool by pool, with the world stopped.
 */
#include "inspect/events.h"

struct walk {
  tarn_world *world;
  tarn_walked_fn fn;
  void *data;
  bool go_on;
};

uintptr_t tarn_walk_bump(const struct tarn_pool *pool) {
  struct tarn_local *owner = tarn_pool_owner(pool);
  return owner ? (uintptr_t)tarn_local_bump(owner, pool) : 0;
}

static bool tell(struct walk *walk, const struct tarn_walked *block) {
  if (walk->go_on && (block->in_use || block->condemned))
    walk->go_on = walk->fn(block, walk->data);
  return walk->go_on;
}

static bool is_condemned(const struct tarn_store *store, uintptr_t block) {
  return store->tables && tarn_mark_is_dead(*tarn_mark_byte(block));
}

static void walk_pool(struct tarn_pool *pool, void *data) {
  struct walk *walk = data;
  const struct tarn_store *store = &walk->world->store;
  size_t size = tarn_pool_block_size(pool);
  uintptr_t base = tarn_pool_base(pool), bump = tarn_walk_bump(pool);
  uint64_t map = tarn_map_get(tarn_unit_of(base));
  for (uintptr_t at = 0; walk->go_on && at < size * pool->capacity && at < pool->own.virgin;
       at += size) {
    uintptr_t block = base + at;
    bool unused_run = bump && block >= bump && at < pool->own.cursor;
    struct tarn_walked walked = {.place = {.block = block, .size = size, .map = map},
                                 .heap = pool->heap,
                                 .pool = pool,
                                 .condemned = is_condemned(store, block)};
    walked.in_use = !unused_run && tarn_pool_in_use(pool, (const void *)block, store->epoch);
    (void)tell(walk, &walked);
  }
}

static void walk_larges(struct walk *walk, struct tarn_heap *heap) {
  struct tarn_large *large;
  cds_list_for_each_entry(large, &heap->larges, node) {
    struct tarn_walked walked = {.place = {.block = large->base,
                                           .size = large->bytes,
                                           .map = tarn_map_get(tarn_unit_of(large->base))},
                                 .heap = heap,
                                 .condemned = is_condemned(&walk->world->store, large->base)};
    walked.in_use = tarn_place_in_use(&walked.place, walk->world->store.epoch);
    if (!tell(walk, &walked))
      return;
  }
}

bool tarn_walk_stopped(tarn_world *world, tarn_walked_fn fn, void *data) {
  struct walk walk = {.world = world, .fn = fn, .data = data, .go_on = true};
  tarn_store_each_pool(&world->store, walk_pool, &walk);
  for (unsigned i = 0; walk.go_on && i < tarn_store_heap_limit(&world->store); i++)
    if (tarn_store_heap(&world->store, i))
      walk_larges(&walk, tarn_store_heap(&world->store, i));
  return walk.go_on;
}

/* --- the public walk ------------------------------------------------------------------------- */

struct public_walk {
  tarn_walk_fn fn;
  void *data;
};

static bool tell_public(const struct tarn_walked *block, void *data) {
  struct public_walk *walk = data;
  bool raw = tarn_map_kind(block->place.map) == TARN_KIND_RAW;
  tarn_block_info info = {.block = (void *)block->place.block,
                          .size = block->place.size,
                          .type = raw ? NULL : tarn_type_of((void *)block->place.block),
                          .heap = block->heap,
                          .large = !block->pool,
                          .condemned = block->condemned};
  return walk->fn(&info, walk->data);
}

tarn_status tarn_heap_walk(tarn_thread *self, tarn_walk_fn fn, void *data) {
  tarn_status status = tarn_thread_check_running(self);
  if (status != TARN_OK)
    return status;
  if (!fn)
    return TARN_EINVAL;
  if (self->tarn_holds)
    return TARN_EHELD;
  struct tarn_mutator *mutator = tarn_mutator_of(self);
  struct public_walk walk = {fn, data};
  tarn_stop_begin_always(mutator->world, mutator);
  (void)tarn_walk_stopped(mutator->world, tell_public, &walk);
  tarn_stop_end(mutator->world, mutator);
  return TARN_OK;
}
