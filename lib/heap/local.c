/* SPDX-License-Identifier: MIT */
/*
 * heap/local.c: allocation from a thread's bins, and giving blocks back.
 *
 * A refill looks, in this order, at: the rest of the bin's run; blocks that the thread freed into
 * the current pool; the next free stretch of the current pool, found in the side table; blocks that
 * others freed into it; the thread's other pools with free blocks; the heap's shelf; a new pool.
 * Free memory is cleared in pieces small enough to stay in the first-level cache, just before the
 * bin bumps through them.
 */
#include "heap/local.h"
#include "heap/find.h"
#include <string.h>

#define PIECE_USED ((size_t)1 << 10)  /* of memory that must be cleared */
#define PIECE_FRESH ((size_t)4 << 10) /* of memory that is zero: one page */
#define COUNT_EVERY ((size_t)64 << 10)
#define POOLS_LOOKED_AT 8u

static void count(struct tarn_local *local, size_t bytes) {
  local->uncounted += bytes;
  if (local->uncounted < COUNT_EVERY)
    return;
  tarn_store_allocated(local->store, local->uncounted);
  local->uncounted = 0;
}

/* --- runs ------------------------------------------------------------------------------------ */

static char *pool_address(const struct tarn_pool *pool, uint32_t offset) {
  return (char *)tarn_pool_base(pool) + offset;
}

static size_t piece_size(const struct tarn_pool *pool, size_t size, size_t room) {
  size_t wanted = pool->cursor < pool->virgin ? PIECE_USED : PIECE_FRESH;
#if TARN_ZEAL
  wanted = 0; /* every allocation comes to the slow path */
#endif
  size_t piece = wanted < size ? size : wanted - wanted % size;
  return piece < room ? piece : room;
}

/* Moves the limit of the bin's run on by a piece, cleared; false: the run is used up. */
static bool next_piece(struct tarn_local *local, struct tarn_bin *bin) {
  struct tarn_pool *pool = bin->pool;
  size_t room = (size_t)(bin->run_end - bin->head.limit);
  if (room == 0)
    return false;
  size_t size = tarn_pool_block_size(pool);
  size_t piece = piece_size(pool, size, room);
  uint32_t start = pool->cursor, end = start + (uint32_t)piece;
  if (start < pool->virgin)
    memset(bin->head.limit, 0, (end < pool->virgin ? end : pool->virgin) - start);
  if (end > pool->virgin)
    pool->virgin = end;
  pool->cursor = end;
  pool->used += (uint32_t)(piece / size);
  bin->head.limit += piece;
  count(local, piece);
  return true;
}

/* The next free stretch of the current pool becomes the bin's run. */
static bool next_stretch(struct tarn_local *local, struct tarn_bin *bin) {
  uint32_t start, end;
  struct tarn_pool *pool = bin->pool;
  if (!tarn_pool_stretch(pool, local->store->epoch, &start, &end)) {
    /* The cursor has passed what lives; the bin may keep the pool for what others freed in it. */
    bin->head.bump = bin->head.limit = bin->run_end = pool_address(pool, pool->cursor);
    return false;
  }
  pool->cursor = start;
  bin->head.bump = bin->head.limit = pool_address(pool, start);
  bin->run_end = pool_address(pool, end);
  return next_piece(local, bin);
}

static void *bump(struct tarn_bin *bin, size_t size) {
  char *block = bin->head.bump;
  if ((size_t)(bin->head.limit - block) < size)
    return NULL;
  bin->head.bump = block + size;
  return block;
}

#if TARN_CHECKING
#define POISON 0xdb
#endif

/* Was a free block written to?  Its key and its link in any build, the rest of it in checking ones.
 */
static bool is_damaged(const struct tarn_pool *pool, void *block, size_t size) {
  const uintptr_t *words = tarn_block_words(block);
  uintptr_t base = tarn_pool_base(pool);
  if (words[0] != tarn_free_key(tarn_flavour_kind((tarn_flavour)pool->flavour), block) ||
      (words[1] && words[1] - base >= TARN_UNIT_SIZE))
    return true;
#if TARN_CHECKING
  const unsigned char *bytes = block;
  for (size_t i = 2 * sizeof *words; i < size; i++)
    if (bytes[i] != POISON)
      return true;
#else
  (void)size;
#endif
  return false;
}

/* A block that was freed into the pool, cleared. */
static void *pop_free(struct tarn_local *local, struct tarn_pool *pool) {
  void *block = pool->free;
  if (!block)
    return NULL;
  size_t size = tarn_pool_block_size(pool);
  if (is_damaged(pool, block, size))
    local->store->hooks->corrupt(local->store, block, "a free block was written to");
  pool->free = (void *)tarn_block_words(block)[1];
  pool->used++;
  memset(block, 0, size);
  count(local, size);
  return block;
}

/* --- the current pool ------------------------------------------------------------------------ */

/* The bin lets its pool go; what it did not use of its run is found again by the next stretch. */
static void put_back_run(struct tarn_bin *bin) {
  struct tarn_pool *pool = bin->pool;
  uint32_t rest = (uint32_t)(bin->head.limit - bin->head.bump);
  pool->cursor -= rest;
  pool->used -= rest / (uint32_t)tarn_pool_block_size(pool);
  bin->head.bump = bin->head.limit = bin->run_end = NULL;
  bin->pool = NULL;
}

static void adopt(struct tarn_bin *bin, struct tarn_pool *pool) {
  pool->list = TARN_LIST_CURRENT;
  bin->pool = pool;
  bin->head.bump = bin->head.limit = bin->run_end = pool_address(pool, pool->cursor);
}

/* One of the thread's own pools with something free, off its list; NULL: none was found. */
static struct tarn_pool *own_pool(struct tarn_bin *bin) {
  struct tarn_pool *pool = bin->partial;
  if (pool) {
    tarn_pool_unlink(&bin->partial, pool);
    return pool;
  }
  for (unsigned tries = 0; tries < POOLS_LOOKED_AT && bin->full; tries++) {
    pool = bin->full;
    if (tarn_pool_drain(pool)) {
      tarn_pool_unlink(&bin->full, pool);
      return pool;
    }
    bin->full = pool->next;
  }
  return NULL;
}

static bool next_pool(struct tarn_local *local, struct tarn_heap *heap, struct tarn_bin *bin,
                      tarn_flavour flavour, unsigned size_class) {
  if (bin->pool) {
    struct tarn_pool *old = bin->pool;
    put_back_run(bin);
    tarn_pool_append(&bin->full, old, TARN_LIST_FULL);
  }
  struct tarn_pool *pool = own_pool(bin);
  if (!pool)
    pool = tarn_heap_take(heap, flavour, size_class, local);
  if (!pool) {
    pool = tarn_pool_make(local->store, heap, flavour, size_class);
    if (!pool)
      return false;
    /* Relaxed: see tarn_heap_take. */
    atomic_store_explicit(&pool->owner, local, memory_order_relaxed);
  }
  adopt(bin, pool);
  return true;
}

/* A block from the bin, by whatever means; NULL: limit or memory. */
static void *take_block(struct tarn_local *local, struct tarn_heap *heap, struct tarn_bin *bin,
                        tarn_flavour flavour, unsigned size_class) {
  size_t size = tarn_class_size(size_class);
  for (;;) {
    if (bin->pool) {
      void *block = bump(bin, size);
      if (block)
        return block;
      if (next_piece(local, bin))
        continue;
      if ((block = pop_free(local, bin->pool)))
        return block;
      if (next_stretch(local, bin) || tarn_pool_drain(bin->pool))
        continue;
    }
    if (!next_pool(local, heap, bin, flavour, size_class))
      return NULL;
  }
}

/* --- allocation ------------------------------------------------------------------------------ */

static unsigned first_flavour(const struct tarn_heap *heap) {
  return heap->kind == TARN_HEAP_CONTAINER ? TARN_FLAVOUR_CONTAINER : TARN_FLAVOUR_RAW;
}
static unsigned flavour_count(const struct tarn_heap *heap) {
  return heap->kind == TARN_HEAP_CONTAINER ? 2 : 3;
}
static bool is_first_heap(const struct tarn_heap *heap) { return heap->index < 2; }

/* The thread's bins for a flavour of the heap, [TARN_CLASS_COUNT]; NULL: none were made. */
static struct tarn_bin *bins_of(struct tarn_local *local, const struct tarn_heap *heap,
                                unsigned flavour) {
  if (is_first_heap(heap))
    return local->bins[flavour];
  struct tarn_bin(*more)[TARN_CLASS_COUNT] = local->more[heap->index];
  return more ? more[flavour - first_flavour(heap)] : NULL;
}

static size_t more_size(const struct tarn_heap *heap) {
  return flavour_count(heap) * sizeof(struct tarn_bin[TARN_CLASS_COUNT]);
}

static struct tarn_bin *bin_for(struct tarn_local *local, struct tarn_heap *heap,
                                tarn_flavour flavour, unsigned size_class) {
  struct tarn_bin *bins = bins_of(local, heap, flavour);
  if (!bins) {
    local->more[heap->index] = tarn_meta_alloc(&local->store->meta, more_size(heap));
    bins = bins_of(local, heap, flavour);
  }
  return bins ? bins + size_class : NULL;
}

static void *alloc_once(struct tarn_local *local, struct tarn_heap *heap, tarn_flavour flavour,
                        size_t size) {
  if (size > TARN_LARGE_LIMIT) {
    void *block = tarn_large_make(heap, flavour, size);
    if (block)
      count(local, size);
    return block;
  }
  unsigned size_class = tarn_class_of(size);
  struct tarn_bin *bin = bin_for(local, heap, flavour, size_class);
  return bin ? take_block(local, heap, bin, flavour, size_class) : NULL;
}

/* The common way past the inlined path: the run goes on by a piece and nobody wants attention. */
static void *alloc_piece(struct tarn_local *local, struct tarn_heap *heap, tarn_flavour flavour,
                         size_t size) {
  /* Relaxed, as in tarn_safepoint: the hook reads again with the order it needs. */
  if (TARN_ZEAL || size > TARN_LARGE_LIMIT ||
      __atomic_load_n(&local->pub.tarn_poll, __ATOMIC_RELAXED) != 0)
    return NULL;
  unsigned size_class = tarn_class_of(size);
  struct tarn_bin *bins = bins_of(local, heap, flavour);
  if (!bins || !bins[size_class].pool)
    return NULL;
  struct tarn_bin *bin = bins + size_class;
  size_t block_size = tarn_class_size(size_class);
  void *block = bump(bin, block_size);
  if (!block && next_piece(local, bin))
    block = bump(bin, block_size);
  return block;
}

void *tarn_local_alloc(struct tarn_local *local, struct tarn_heap *heap, tarn_flavour flavour,
                       size_t size) {
  const struct tarn_hooks *hooks = local->store->hooks;
  void *block = alloc_piece(local, heap, flavour, size);
  for (unsigned tries = 0; !block; tries++) {
    if (!hooks->before_refill(local, size))
      return NULL;
    block = alloc_once(local, heap, flavour, size);
    if (!block && !hooks->exhausted(local, size, tries))
      return NULL;
  }
  return block;
}

/* --- freeing --------------------------------------------------------------------------------- */

/* Makes a block free as far as its own words go; the link comes later. */
static void clear_block(void *block, tarn_kind kind, size_t size) {
  uintptr_t *words = tarn_block_words(block);
#if TARN_CHECKING
  memset(words + 1, POISON, size - sizeof *words);
#else
  (void)size;
#endif
  words[0] = tarn_free_key(kind, block);
}

static struct tarn_bin *bin_of_pool(struct tarn_local *local, const struct tarn_pool *pool) {
  return bins_of(local, pool->heap, pool->flavour) + pool->size_class;
}

/*
 * For the owner: is this a block that was handed out?  The first word has said that it is not free;
 * but in a bin's run, where words of raw pools are zero, and beyond the cursor it does not know.
 */
static bool is_out(struct tarn_local *local, const struct tarn_pool *pool, const void *block) {
  if ((uintptr_t)block - tarn_pool_base(pool) >= pool->cursor)
    return local->store->tables && *tarn_mark_byte((uintptr_t)block) == local->store->epoch;
  return pool->list != TARN_LIST_CURRENT ||
         (const char *)block < bin_of_pool(local, pool)->head.bump ||
         (const char *)block >= bin_of_pool(local, pool)->head.limit;
}

static void free_own(struct tarn_local *local, struct tarn_pool *pool, void *block) {
  struct tarn_store *store = local->store;
  if ((uintptr_t)block - tarn_pool_base(pool) < pool->cursor) {
    tarn_block_words(block)[1] = (uintptr_t)pool->free;
    pool->free = block;
  }
  if (store->tables)
    *tarn_mark_byte((uintptr_t)block) = TARN_MARK_NONE;
  pool->used--;
  if (pool->list == TARN_LIST_CURRENT)
    return;
  struct tarn_bin *bin = bin_of_pool(local, pool);
  if (pool->used == 0) {
    tarn_pool_unlink(pool->list == TARN_LIST_FULL ? &bin->full : &bin->partial, pool);
    tarn_pool_drop(store, pool);
    tarn_store_tend(store); /* the bins are whole: it may call malloc */
  } else if (pool->list == TARN_LIST_FULL) {
    tarn_pool_unlink(&bin->full, pool);
    tarn_pool_push(&bin->partial, pool, TARN_LIST_PARTIAL);
  }
}

static void free_remote(struct tarn_pool *pool, void *block) {
  uintptr_t *words = tarn_block_words(block);
  void *head = atomic_load_explicit(&pool->remote, memory_order_relaxed);
  do
    words[1] = (uintptr_t)head;
  /* Release: the owner's exchange acquires the block's words.  Blocks are only ever taken all at
   * once, so a head that comes back (ABA) is as good as one that never left. */
  while (!atomic_compare_exchange_weak_explicit(&pool->remote, &head, block, memory_order_release,
                                                memory_order_relaxed));
}

void tarn_local_free(struct tarn_local *local, void *block) {
  struct tarn_store *store = local->store;
  struct tarn_place place;
  if (!tarn_find(store->id, (uintptr_t)block, false, &place))
    store->hooks->corrupt(store, block, "not the start of a block of this world");
  tarn_kind kind = tarn_map_kind(place.map);
  if (tarn_map_form(place.map) == TARN_FORM_LARGE) {
    tarn_large_free(tarn_large_of(place.block));
    return;
  }
  if (*tarn_block_words(block) == tarn_free_key(kind, block))
    store->hooks->corrupt(store, block, "freed twice, or never allocated");
  struct tarn_pool *pool = tarn_pool_of(place.block);
  /* Relaxed: only this thread can have written itself. */
  bool own = atomic_load_explicit(&pool->owner, memory_order_relaxed) == local;
  if (own && !is_out(local, pool, block))
    store->hooks->corrupt(store, block, "freed twice, or never allocated");
  clear_block(block, kind, place.size);
  if (own)
    free_own(local, pool, block);
  else
    free_remote(pool, block);
}

/* --- giving up ------------------------------------------------------------------------------- */

/* Under the heap's lock. */
static void shelve_or_drop(struct tarn_heap *heap, struct tarn_pool *pool) {
  (void)tarn_pool_drain(pool);
  atomic_store_explicit(&pool->owner, NULL, memory_order_relaxed); /* see tarn_heap_take */
  pool->list = TARN_LIST_NONE;
  if (pool->used == 0)
    tarn_pool_drop(heap->store, pool);
  else
    tarn_heap_shelve(heap, pool);
}

static void retire_list(struct tarn_heap *heap, tarn_pool_head *head) {
  while (*head) {
    struct tarn_pool *pool = *head;
    tarn_pool_unlink(head, pool);
    shelve_or_drop(heap, pool);
  }
}

static void retire_bins(struct tarn_local *local, struct tarn_heap *heap) {
  unsigned first = first_flavour(heap);
  (void)pthread_mutex_lock(&heap->lock);
  for (unsigned flavour = first; flavour < first + flavour_count(heap); flavour++) {
    struct tarn_bin *bins = bins_of(local, heap, flavour);
    for (unsigned i = 0; bins && i < TARN_CLASS_COUNT; i++) {
      struct tarn_pool *pool = bins[i].pool;
      if (pool) {
        put_back_run(&bins[i]);
        shelve_or_drop(heap, pool);
      }
      retire_list(heap, &bins[i].partial);
      retire_list(heap, &bins[i].full);
    }
  }
  (void)pthread_mutex_unlock(&heap->lock);
}

void tarn_local_retire(struct tarn_local *local) {
  struct tarn_store *store = local->store;
  for (unsigned i = 0; i < tarn_store_heap_limit(store); i++) {
    struct tarn_heap *heap = tarn_store_heap(store, i);
    if (!heap || (!is_first_heap(heap) && !local->more[i]))
      continue;
    retire_bins(local, heap);
    if (!is_first_heap(heap))
      tarn_local_forget_heap(local, heap);
  }
  tarn_store_allocated(store, local->uncounted);
  local->uncounted = 0;
}

static void forget_bins(struct tarn_bin *bins) {
  for (unsigned i = 0; i < TARN_CLASS_COUNT; i++) {
    if (bins[i].pool)
      put_back_run(&bins[i]);
    bins[i].partial = bins[i].full = NULL;
  }
}

static void forget_heap_bins(struct tarn_local *local, const struct tarn_heap *heap) {
  for (unsigned k = 0; k < flavour_count(heap); k++) {
    struct tarn_bin *bins = bins_of(local, heap, first_flavour(heap) + k);
    if (bins)
      forget_bins(bins);
  }
}

void tarn_local_forget(struct tarn_local *local) {
  struct tarn_store *store = local->store;
  for (unsigned i = 0; i < tarn_store_heap_limit(store); i++)
    if (tarn_store_heap(store, i))
      forget_heap_bins(local, tarn_store_heap(store, i));
}

void tarn_local_forget_heap(struct tarn_local *local, struct tarn_heap *heap) {
  if (!local->more[heap->index])
    return;
  forget_heap_bins(local, heap);
  tarn_meta_free(&local->store->meta, local->more[heap->index], more_size(heap));
  local->more[heap->index] = NULL;
}

const char *tarn_local_bump(struct tarn_local *local, const struct tarn_pool *pool) {
  struct tarn_bin *bins = bins_of(local, pool->heap, pool->flavour);
  if (!bins || bins[pool->size_class].pool != pool)
    return NULL;
  return bins[pool->size_class].head.bump;
}
