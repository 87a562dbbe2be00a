/* SPDX-License-Identifier: MIT */
/*
 * heap/spare.c: see heap/spare.h.
 */
#include "heap/spare.h"
#include "heap/heap.h"
#include "heap/local.h"
#include <string.h>

/* At so many a thread that is there to purge is called; without one they wait for a round that is
 * made for some other reason. */
#define CALL_AT 4u
#define STEP_MOST 3u

static uint32_t key_of(const struct tarn_heap *heap, unsigned flavour, unsigned size_class) {
  return heap->index << 16 | flavour << 8 | size_class;
}

/* Number `i` leaves: it is the thread's again, whole, with its blocks forgotten. */
static struct tarn_pool *take_at(struct tarn_local *local, uint32_t i) {
  struct tarn_spares *spares = &local->spares;
  struct tarn_pool *pool = spares->pools[i];
  uint32_t behind = --spares->count - i;
  memmove(&spares->pools[i], &spares->pools[i + 1], behind * sizeof spares->pools[0]);
  memmove(&spares->keys[i], &spares->keys[i + 1], behind * sizeof spares->keys[0]);
  tarn_remote_end_spare(local->store, pool);
  tarn_pool_set_list(pool, TARN_LIST_NONE);
  /* Not in the table of owners, where it stands still: others use the line. */
  tarn_pool_set_mine(pool, local);
  pool->own.free = NULL;
  pool->own.cursor = 0;
  return pool;
}

static void drop_at(struct tarn_local *local, uint32_t i) {
  tarn_pool_drop(local->store, take_at(local, i));
}

void tarn_spare_put(struct tarn_local *local, struct tarn_pool *pool) {
  struct tarn_spares *spares = &local->spares;
  struct tarn_store *store = local->store;
  if (store->purge.delay == 0) { /* what is free goes back at once */
    tarn_pool_drop(store, pool);
    return;
  }
  if (spares->count == TARN_SPARE_POOLS) {
    drop_at(local, 0);
    spares->step = 0;
  }
  tarn_pool_set_list(pool, TARN_LIST_SPARE);
  pool->bin = NULL;
  tarn_pool_set_mine(pool, NULL);
  tarn_remote_begin_spare(pool);
  spares->keys[spares->count] = key_of(pool->heap, pool->flavour, pool->size_class);
  spares->pools[spares->count++] = pool;
  if (spares->count >= CALL_AT)
    tarn_purge_hint(store);
}

struct tarn_pool *tarn_spare_take(struct tarn_local *local, struct tarn_heap *heap,
                                  tarn_flavour flavour, unsigned size_class, bool any) {
  struct tarn_spares *spares = &local->spares;
  uint32_t key = key_of(heap, flavour, size_class);
  for (uint32_t i = spares->count; i-- > 0;)
    if (spares->keys[i] == key)
      return take_at(local, i);
  if (!any || spares->count == 0)
    return NULL;
  struct tarn_pool *pool = take_at(local, 0);
  tarn_pool_remake(local->store, pool, heap, flavour, size_class);
  tarn_pool_set_owner(pool, local);
  return pool;
}

struct tarn_pool *tarn_spare_make(struct tarn_local *local, struct tarn_heap *heap,
                                  tarn_flavour flavour, unsigned size_class, bool kin) {
  struct tarn_spares *spares = &local->spares;
  struct tarn_store *store = local->store;
  if (kin && !tarn_kin_has(&store->kin, size_class))
    return NULL;
  size_t most = store->purge.delay && spares->count == 0 ? (size_t)1 << spares->step : 1, count;
  struct tarn_pool *pool = tarn_pool_make(store, heap, flavour, size_class, kin, most, &count);
  if (pool && !kin && spares->step < STEP_MOST)
    spares->step++;
  /* The lowest is the newest, and the next to be used. */
  while (count > 1) {
    tarn_pool_set_owner(&pool[--count], local);
    tarn_spare_put(local, &pool[count]);
  }
  if (pool)
    tarn_pool_set_owner(pool, local);
  return pool;
}

struct tarn_pool *tarn_spare_pop(struct tarn_local *local) {
  return local->spares.count ? take_at(local, local->spares.count - 1) : NULL;
}

bool tarn_spare_drop_all(struct tarn_local *local) {
  bool some = local->spares.count != 0;
  while (local->spares.count)
    drop_at(local, local->spares.count - 1);
  local->spares.step = 0; /* memory is short, or a while has passed */
  return some;
}
