/* SPDX-License-Identifier: MIT */
/*
 * heap/heap.c: heaps and their shelves; see heap/heap.h.
 */
#include "heap/heap.h"
#include "heap/find.h"
#include "heap/local.h"

tarn_status tarn_heap_make(struct tarn_store *store, tarn_heap_kind kind, struct tarn_heap **out) {
  struct tarn_heap *heap = tarn_meta_alloc(&store->meta, sizeof *heap);
  *out = NULL;
  if (!heap)
    return TARN_ENOMEM;
  heap->store = store;
  heap->kind = kind;
  (void)pthread_mutex_init(&heap->lock, NULL);
  (void)pthread_mutex_init(&heap->large_lock, NULL);
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
    uint8_t *marks = tarn_mark_byte(tarn_pool_base(pool));
    size_t bytes = (pool->virgin + 15) >> TARN_GRANULE_SHIFT;
    for (size_t i = 0; i < bytes; i++)
      if (marks[i]) /* a look first: most of the table may not exist yet */
        marks[i] = TARN_MARK_NONE;
  }
  pool->list = TARN_LIST_NONE;
  pool->next = pool->prev = NULL;
  tarn_pool_drop(drop->store, pool);
}

struct tarn_large *tarn_heap_clear(struct tarn_heap *heap) {
  struct tarn_store *store = heap->store;
  struct drop drop = {heap, store};
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
  bool some = pool->free || pool->used < pool->capacity;
  if (some)
    tarn_pool_append(&shelf->some, pool, TARN_LIST_SHELF);
  else
    tarn_pool_append(&shelf->full, pool, TARN_LIST_SHELF_FULL);
}

/* A full pool into which others freed since; looks at a few, oldest first, and moves on in turn. */
static struct tarn_pool *take_refilled(struct tarn_shelf *shelf) {
  for (unsigned tries = 0; tries < 8 && shelf->full; tries++) {
    struct tarn_pool *pool = shelf->full;
    if (atomic_load_explicit(&pool->remote, memory_order_relaxed)) {
      tarn_pool_unlink(&shelf->full, pool);
      return pool;
    }
    shelf->full = pool->next;
  }
  return NULL;
}

struct tarn_pool *tarn_heap_take(struct tarn_heap *heap, tarn_flavour flavour, unsigned size_class,
                                 struct tarn_local *local) {
  struct tarn_shelf *shelf = &heap->shelves[flavour][size_class];
  (void)pthread_mutex_lock(&heap->lock);
  struct tarn_pool *pool = shelf->some;
  if (pool)
    tarn_pool_unlink(&shelf->some, pool);
  else
    pool = take_refilled(shelf);
  if (pool)
    /* Relaxed: a thread that reads itself here wrote it; any other value only says "not mine". */
    atomic_store_explicit(&pool->owner, local, memory_order_relaxed);
  (void)pthread_mutex_unlock(&heap->lock);
  if (pool)
    (void)tarn_pool_drain(pool);
  return pool;
}

/* --- for purges ------------------------------------------------------------------------------ */

/* Nothing to settle yet: the shelves are looked through by those who want a pool. */
void tarn_heap_settle_orphans(struct tarn_store *store) { (void)store; }

size_t tarn_pools_purge_idle(struct tarn_store *store, uint64_t now) {
  (void)store, (void)now;
  return 0;
}
