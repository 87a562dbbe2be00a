/* SPDX-License-Identifier: MIT */
/*
 * heap/sweep.c: see heap/sweep.h.
 */
#include "heap/sweep.h"
#include "heap/local.h"
#include <sched.h>

/* Pools that are swept at most for one unit that is wanted: some 60 us. */
#define LOOK_MOST 32u

/* --- filing; the world is stopped ------------------------------------------------------------ */

void tarn_sweep_file(struct tarn_store *store, struct tarn_pool *pool) {
  tarn_pool_set_owner(pool, NULL);
  pool->bin = NULL;
  pool->own.cursor = 0;
  pool->own.free = NULL;
  tarn_pool_append(&pool->heap->shelves[pool->flavour][pool->size_class].unswept, pool,
                   TARN_LIST_UNSWEPT);
  /* Relaxed: threads see the lists through the end of the stop. */
  atomic_fetch_add_explicit(&store->unswept, 1, memory_order_relaxed);
}

void tarn_sweep_begin(struct tarn_store *store) {
  atomic_store_explicit(&store->sweep_at, 0, memory_order_relaxed);
  atomic_store_explicit(&store->swept_blocks, 0, memory_order_relaxed);
  atomic_store_explicit(&store->swept_bytes, 0, memory_order_relaxed);
  atomic_store_explicit(&store->swept_units, 0, memory_order_relaxed);
}

/* --- one pool -------------------------------------------------------------------------------- */

#define EACH_BYTE UINT64_C(0x0101010101010101)

/*
 * Clears the marks that are not the epoch's; how many are.  Eight bytes at once: marks are small
 * numbers, so a byte that is equal to the epoch is one whose difference bits, with 127 added, do
 * not reach the highest.
 */
static unsigned sweep_marks(const struct tarn_pool *pool, uint8_t epoch) {
  uint64_t *words = (uint64_t *)(void *)tarn_mark_byte(tarn_pool_base(pool));
  size_t count = ((pool->own.virgin >> TARN_GRANULE_SHIFT) + 8) / 8;
  unsigned live = 0;
  if (count > (TARN_UNIT_SIZE >> TARN_GRANULE_SHIFT) / 8)
    count = (TARN_UNIT_SIZE >> TARN_GRANULE_SHIFT) / 8;
  for (size_t i = 0; i < count; i++) {
    uint64_t word = words[i];
    if (word == 0)
      continue;
    uint64_t other = ((word ^ epoch * EACH_BYTE) + EACH_BYTE * 0x7f) & EACH_BYTE * 0x80;
    uint64_t lives = (other ^ EACH_BYTE * 0x80) >> 7, kept = word & lives * 0xff;
    live += (unsigned)(lives * EACH_BYTE >> 56);
    if (kept != word) /* relaxed: see the head of sweep.h */
      __atomic_store_n(&words[i], kept, __ATOMIC_RELAXED);
  }
  return live;
}

/* Of a pool that was taken off its list.  What others freed in it has its mark still. */
static void sweep(struct tarn_store *store, struct tarn_pool *pool) {
  uint8_t epoch = store->epoch;
#if TARN_CHECKING || TARN_TOOLS
  tarn_pool_spoil_dead(pool, epoch, epoch);
#endif
  unsigned live = sweep_marks(pool, epoch);
  pool->live = (uint16_t)live;
  atomic_fetch_add_explicit(&store->swept_blocks, live, memory_order_relaxed);
  atomic_fetch_add_explicit(&store->swept_bytes, live * tarn_pool_block_size(pool),
                            memory_order_relaxed);
}

/* It is swept: takes back what waited for that.  Under the heap's lock. */
static void finish(struct tarn_pool *pool) {
  tarn_pool_set_list(pool, TARN_LIST_NONE);
  tarn_pool_set_used(pool, pool->live);
  tarn_remote_unpark(pool);
}

/* One less.  The last to be done tells, for whom what all did is done: acquire and release. */
static void count_off(struct tarn_store *store) {
  if (atomic_fetch_sub_explicit(&store->unswept, 1, memory_order_acq_rel) == 1 &&
      store->hooks->swept)
    store->hooks->swept(store);
}

/* The next one of a sort, off its list; NULL: there is none. */
static struct tarn_pool *take_off(struct tarn_heap *heap, unsigned flavour, unsigned size_class) {
  tarn_pool_head *head = &heap->shelves[flavour][size_class].unswept;
  (void)pthread_mutex_lock(&heap->lock);
  struct tarn_pool *pool = *head;
  if (pool)
    tarn_pool_detach(head, pool);
  (void)pthread_mutex_unlock(&heap->lock);
  return pool;
}

/* --- of one sort ----------------------------------------------------------------------------- */

struct tarn_pool *tarn_sweep_take(struct tarn_heap *heap, tarn_flavour flavour, unsigned size_class,
                                  struct tarn_local *local) {
  struct tarn_store *store = heap->store;
  struct tarn_pool *pool = NULL;
  bool good = false;
  while (!good && tarn_sweep_left(store) && (pool = take_off(heap, flavour, size_class))) {
    TARN_DELAY();
    sweep(store, pool);
    TARN_DELAY();
    (void)pthread_mutex_lock(&heap->lock);
    finish(pool);
    good = tarn_pool_used(pool) < pool->capacity;
    if (good)
      tarn_pool_set_owner(pool, local);
    else
      tarn_heap_shelve(heap, pool);
    (void)pthread_mutex_unlock(&heap->lock);
    count_off(store);
  }
  return good ? pool : NULL;
}

/* --- of any sort ----------------------------------------------------------------------------- */

#define SORTS ((size_t)TARN_FLAVOURS * TARN_CLASS_COUNT)

/*
 * The next one of any sort, off its list.  `sweep_at` is the number of a list before which all are
 * empty: they only become shorter, but in stops, which begin anew.
 */
static struct tarn_pool *take_any(struct tarn_store *store) {
  size_t end = tarn_store_heap_limit(store) * SORTS;
  size_t at = atomic_load_explicit(&store->sweep_at, memory_order_relaxed);
  struct tarn_pool *pool = NULL;
  for (; at < end; at++) {
    struct tarn_heap *heap = tarn_store_heap(store, (unsigned)(at / SORTS));
    size_t sort = at % SORTS;
    if (heap && (pool = take_off(heap, (unsigned)(sort / TARN_CLASS_COUNT),
                                 (unsigned)(sort % TARN_CLASS_COUNT))))
      break;
  }
  atomic_store_explicit(&store->sweep_at, at, memory_order_relaxed);
  return pool;
}

/* To its shelf, or back to the store: true. */
static bool put(struct tarn_store *store, struct tarn_pool *pool) {
  struct tarn_heap *heap = pool->heap;
  (void)pthread_mutex_lock(&heap->lock);
  finish(pool);
  bool empty = tarn_pool_used(pool) == 0;
  if (empty)
    tarn_pool_drop(store, pool);
  else
    tarn_heap_shelve(heap, pool);
  (void)pthread_mutex_unlock(&heap->lock);
  if (empty)
    atomic_fetch_add_explicit(&store->swept_units, 1, memory_order_relaxed);
  count_off(store);
  return empty;
}

bool tarn_sweep_some(struct tarn_store *store, size_t units, size_t most) {
  size_t freed = 0;
  for (size_t i = 0; i < most && freed < units; i++) {
    struct tarn_pool *pool = tarn_sweep_left(store) ? take_any(store) : NULL;
    if (!pool)
      return i != 0;
    TARN_DELAY();
    sweep(store, pool);
    TARN_DELAY();
    freed += put(store, pool);
  }
  return true;
}

void tarn_sweep_all(struct tarn_store *store) {
  while (tarn_sweep_some(store, SIZE_MAX, SIZE_MAX))
    ;
}

void tarn_sweep_wait(const struct tarn_store *store) {
  /* Acquire: pairs with count_off. */
  for (unsigned tries = 1; atomic_load_explicit(&store->unswept, memory_order_acquire); tries++) {
    if (tries % 64 == 0)
      (void)sched_yield();
    tarn_os_pause();
  }
}

void tarn_sweep_before_growth(struct tarn_store *store, size_t units) {
  if (tarn_sweep_left(store))
    (void)tarn_sweep_some(store, units, LOOK_MOST + units);
}
