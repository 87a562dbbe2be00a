/* SPDX-License-Identifier: MIT */
/*
 * heap/heap.c: heaps and their shelves; see heap/heap.h.
 */
#include "heap/heap.h"
#include "heap/sample.h"
#include "heap/find.h"
#include "heap/local.h"
#include "heap/sweep.h"

tarn_status tarn_heap_make(struct tarn_store *store, tarn_heap_kind kind, struct tarn_heap **out) {
  struct tarn_heap *heap = tarn_meta_alloc(&store->meta, sizeof *heap);
  *out = NULL;
  if (!heap)
    return TARN_ENOMEM;
  heap->store = store;
  heap->kind = kind;
  tarn_os_lock_init(&heap->lock);
  tarn_os_lock_init(&heap->large_lock);
  CDS_INIT_LIST_HEAD(&heap->larges);

  unsigned index = 0;
  (void)pthread_mutex_lock(&store->lock);
  while (index < TARN_HEAP_MAX && tarn_store_heap(store, index))
    index++;
  if (index < TARN_HEAP_MAX) {
    heap->index = index;
    atomic_store_explicit(&store->heaps[index], heap, memory_order_release);
    if (index >= tarn_store_heap_limit(store))
      atomic_store_explicit(&store->heap_limit, index + 1, memory_order_release);
  }
  (void)pthread_mutex_unlock(&store->lock);
  if (index == TARN_HEAP_MAX) {
    tarn_meta_free(&store->meta, heap, sizeof *heap);
    return TARN_ELIMIT;
  }
  *out = heap;
  return TARN_OK;
}

/* --- dropping a heap ------------------------------------------------------------------------- */

struct drop {
  struct tarn_heap *heap;
  struct tarn_store *store;
};

static void drop_pool(struct tarn_pool *pool, void *data) {
  struct drop *drop = data;
  if (pool->heap != drop->heap)
    return;
  if (drop->store->tables) {
    uint64_t *marks = (uint64_t *)(void *)tarn_mark_byte(tarn_pool_base(pool));
    size_t words = ((pool->own.virgin + 15) / 16 + 7) / 8;
    for (size_t i = 0; i < words; i++)
      if (marks[i]) /* a look first: most of the table may not exist yet */
        marks[i] = 0;
  }
  pool->next = pool->prev = NULL;
  tarn_pool_set_list(pool, TARN_LIST_NONE);
  (void)tarn_remote_forget(pool); /* what waits in a parked pool goes with it */
  pool->parked = false;
  tarn_pool_drop(drop->store, pool);
}

/* The pool's record of a large object's first unit says its heap as well. */
static bool is_in_heap(uintptr_t block, void *heap) { return tarn_pool_of(block)->heap == heap; }

struct tarn_large *tarn_heap_clear(struct tarn_heap *heap) {
  struct tarn_store *store = heap->store;
  struct drop drop = {heap, store};
  tarn_remote_collect_heap(heap);
  if (TARN_UNLIKELY(store->sampling))
    store->sampling->died(store, is_in_heap, heap);
  tarn_store_each_pool(store, drop_pool, &drop);
  struct tarn_large *limbo = NULL;
  while (!cds_list_empty(&heap->larges))
    tarn_large_drop(cds_list_first_entry(&heap->larges, struct tarn_large, node), &limbo);
  (void)pthread_mutex_lock(&store->lock);
  atomic_store_explicit(&store->heaps[heap->index], NULL, memory_order_release);
  (void)pthread_mutex_unlock(&store->lock);
  return limbo;
}

void tarn_heap_finish(struct tarn_heap *heap, struct tarn_large *limbo) {
  struct tarn_store *store = heap->store;
  if (!limbo)
    tarn_rcu_synchronize();
  tarn_large_reclaim(store, limbo);
  (void)pthread_mutex_destroy(&heap->lock);
  (void)pthread_mutex_destroy(&heap->large_lock);
  tarn_meta_free(&store->meta, heap, sizeof *heap);
}

void tarn_heap_drop(struct tarn_heap *heap) { tarn_heap_finish(heap, tarn_heap_clear(heap)); }

/* --- shelves --------------------------------------------------------------------------------- */

static struct tarn_shelf *shelf_of(struct tarn_heap *heap, const struct tarn_pool *pool) {
  return &heap->shelves[pool->flavour][pool->size_class];
}

void tarn_heap_shelve(struct tarn_heap *heap, struct tarn_pool *pool) {
  struct tarn_shelf *shelf = shelf_of(heap, pool);
  pool->bin = NULL;
  if (pool->own.free || tarn_pool_used(pool) < pool->capacity)
    tarn_pool_append(&shelf->some, pool, TARN_LIST_SHELF);
  else
    tarn_pool_append(&shelf->full, pool, TARN_LIST_SHELF_FULL);
}

void tarn_heap_put_back(struct tarn_pool *pool) {
  struct tarn_heap *heap = pool->heap;
  (void)pthread_mutex_lock(&heap->lock);
  tarn_pool_set_list(pool, TARN_LIST_NONE);
  tarn_remote_unpark(pool);
  if (tarn_pool_used(pool) == 0)
    tarn_pool_drop(heap->store, pool);
  else
    tarn_heap_shelve(heap, pool);
  (void)pthread_mutex_unlock(&heap->lock);
}

bool tarn_heap_keeps(const struct tarn_heap *heap, const struct tarn_pool *pool) {
  return heap->store->hooks->uncollected && !heap->shelves[pool->flavour][pool->size_class].some;
}

/* The pools that were kept so are the first on their shelves, until somebody took them. */
static void drop_kept(struct tarn_heap *heap) {
  if (!heap->store->hooks->uncollected)
    return;
  (void)pthread_mutex_lock(&heap->lock);
  for (unsigned i = 0; i < TARN_CLASS_COUNT; i++) {
    struct tarn_shelf *shelf = &heap->shelves[TARN_FLAVOUR_RAW][i];
    struct tarn_pool *pool = shelf->some;
    if (pool && tarn_pool_used(pool) == 0) {
      tarn_pool_unlink(&shelf->some, pool);
      tarn_pool_drop(heap->store, pool);
    }
  }
  (void)pthread_mutex_unlock(&heap->lock);
}

void tarn_heap_received(struct tarn_heap *heap, struct tarn_pool *pool, uint32_t count) {
  struct tarn_shelf *shelf = shelf_of(heap, pool);
  tarn_pool_unlink(pool->list == TARN_LIST_SHELF ? &shelf->some : &shelf->full, pool);
  tarn_pool_set_used(pool, tarn_pool_used(pool) - count);
  if (tarn_pool_used(pool) == 0)
    tarn_pool_drop(heap->store, pool);
  else
    tarn_heap_shelve(heap, pool);
}

static struct tarn_pool *take_shelved(struct tarn_heap *heap, tarn_flavour flavour,
                                      unsigned size_class, struct tarn_local *local) {
  struct tarn_shelf *shelf = &heap->shelves[flavour][size_class];
  (void)pthread_mutex_lock(&heap->lock);
  /* The last one, so that the same few are touched again and again. */
  struct tarn_pool *pool = shelf->some ? shelf->some->prev : NULL;
  if (pool)
    tarn_pool_unlink(&shelf->some, pool);
  else if (TARN_UNLIKELY(heap->store->abandoned) &&
           !(pool = tarn_revive_next(heap, flavour, size_class)))
    pool = tarn_revive_empty(heap, flavour, size_class);
  if (pool)
    tarn_pool_set_owner(pool, local);
  (void)pthread_mutex_unlock(&heap->lock);
  return pool;
}

struct tarn_pool *tarn_heap_take(struct tarn_heap *heap, tarn_flavour flavour, unsigned size_class,
                                 struct tarn_local *local) {
  tarn_remote_collect_heap(heap);
  struct tarn_pool *pool = take_shelved(heap, flavour, size_class, local);
  if (!pool)
    pool = tarn_sweep_take(heap, flavour, size_class, local);
  if (pool)
    tarn_remote_begin_use(heap->store, pool);
  return pool;
}

/* --- for purges ------------------------------------------------------------------------------ */

void tarn_heap_settle_orphans(struct tarn_store *store) {
  /* One visit for each heap: heaps go away in stops only. */
  for (unsigned i = 0; i < tarn_store_heap_limit(store); i++) {
    tarn_store_visit(store);
    struct tarn_heap *heap = tarn_store_heap(store, i);
    if (heap) {
      tarn_remote_collect_heap(heap);
      drop_kept(heap);
    }
    tarn_store_leave(store);
  }
}

/* The units of one arena.  It may go back to the space meanwhile: its map words stay readable, and
 * are of no world then. */
static size_t purge_idle(struct tarn_store *store, const struct tarn_span *span, uint32_t delay) {
  uint32_t now = tarn_os_ticks();
  size_t given = 0;
  for (size_t unit = span->first; unit < span->first + span->count; unit++) {
    uint64_t map = tarn_map_get(unit);
    /* A look, so that most pools need no visit. */
    if (tarn_map_world(map) != store->id || tarn_map_form(map) != TARN_FORM_POOL ||
        !tarn_remote_may_purge(unit))
      continue;
    tarn_store_visit(store);
    if (tarn_remote_purge(store, unit, now, delay))
      given += TARN_UNIT_SIZE;
    tarn_store_leave(store);
  }
  return given;
}

size_t tarn_pools_purge_idle(struct tarn_store *store, uint32_t delay) {
  struct tarn_span spans[32];
  size_t given = 0, count, from = 0;
  while ((count = tarn_store_spans(store, from, spans, sizeof spans / sizeof spans[0])) != 0) {
    for (size_t i = 0; i < count; i++)
      given += purge_idle(store, &spans[i], delay);
    from = spans[count - 1].first + 1;
  }
  atomic_fetch_add_explicit(&store->returned, given, memory_order_relaxed);
  return given;
}
