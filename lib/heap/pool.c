/* SPDX-License-Identifier: MIT */
/*
 * heap/pool.c: see heap/pool.h.
 */
#include "heap/pool.h"
#include "heap/heap.h"
#include <string.h>

/* --- lists ----------------------------------------------------------------------------------- */

void tarn_pool_append(tarn_pool_head *head, struct tarn_pool *pool, tarn_pool_list list) {
  struct tarn_pool *first = *head;
  tarn_pool_set_list(pool, list);
  if (!first) {
    *head = pool->next = pool->prev = pool;
    return;
  }
  pool->next = first;
  pool->prev = first->prev;
  first->prev->next = pool;
  first->prev = pool;
}

void tarn_pool_push(tarn_pool_head *head, struct tarn_pool *pool, tarn_pool_list list) {
  tarn_pool_append(head, pool, list);
  *head = pool;
}

void tarn_pool_detach(tarn_pool_head *head, struct tarn_pool *pool) {
  if (pool->next == pool) {
    *head = NULL;
  } else {
    pool->prev->next = pool->next;
    pool->next->prev = pool->prev;
    if (*head == pool)
      *head = pool->next;
  }
  pool->next = pool->prev = NULL;
}

void tarn_pool_unlink(tarn_pool_head *head, struct tarn_pool *pool) {
  tarn_pool_detach(head, pool);
  tarn_pool_set_list(pool, TARN_LIST_NONE);
}

/* --- birth and death ------------------------------------------------------------------------- */

void tarn_pool_reset(struct tarn_pool *pool) {
  pool->heap = NULL;
  pool->bin = NULL;
  pool->own.free = NULL;
  pool->next = pool->prev = NULL;
  pool->own.cursor = pool->own.virgin = pool->own.reciprocal = 0;
  pool->capacity = pool->live = 0;
  pool->size_class = pool->flavour = pool->overflow = 0;
  tarn_pool_note_list(pool, TARN_LIST_NONE);
  tarn_pool_set_room(pool, 0);
  pool->dirty = 0;
  pool->parked = false;
  pool->mail = NULL;
  /* Relaxed: the unit's map word is published afterwards, with release. */
  tarn_pool_set_owner(pool, NULL);
  if (tarn_space.ages[tarn_pool_unit(pool)]) /* a look first: without collections it has no page */
    tarn_space.ages[tarn_pool_unit(pool)] = 0;
  atomic_store_explicit(&pool->remote, 0, memory_order_relaxed);
  atomic_store_explicit(&pool->large, NULL, memory_order_relaxed);
}

/* Descriptor and map word of a pool that is new; its first `dirty` bytes may be other than zero. */
static void describe(const struct tarn_store *store, struct tarn_pool *pool, struct tarn_heap *heap,
                     tarn_flavour flavour, unsigned size_class, uint32_t dirty) {
  size_t size = tarn_class_size(size_class);
  tarn_pool_reset(pool);
  tarn_tools_close((const void *)tarn_pool_base(pool), TARN_UNIT_SIZE);
  pool->heap = heap;
  pool->backed = 0;
  pool->own.virgin = dirty; /* garbage of the last tenant, without marks: swept like any other */
  pool->own.reciprocal = tarn_reciprocal(size);
  pool->capacity = (uint16_t)(TARN_UNIT_SIZE / size);
  pool->size_class = (uint8_t)size_class;
  pool->flavour = (uint8_t)flavour;
  tarn_map_set(tarn_pool_unit(pool),
               tarn_map_make(store->id, tarn_flavour_kind(flavour), TARN_FORM_POOL,
                             tarn_flavour_resource(flavour), size, pool->own.reciprocal));
}

struct tarn_pool *tarn_pool_make(struct tarn_store *store, struct tarn_heap *heap,
                                 tarn_flavour flavour, unsigned size_class, bool kin, size_t most,
                                 size_t *count) {
  struct tarn_wanted want = {.units = 1,
                             .alignment = 1,
                             .bytes = TARN_UNIT_SIZE,
                             .pools = most,
                             .size_class = size_class,
                             .kin = kin};
  *count = 0;
  if (!tarn_store_take(store, &want))
    return NULL;
  *count = want.pools;
  struct tarn_pool *first = &tarn_space.pools[want.unit];
  if (store->tables && store->populate && first->dirty == 0)
    tarn_space_populate_marks(want.unit, want.pools);
  for (struct tarn_pool *pool = first; pool < first + want.pools; pool++)
    describe(store, pool, heap, flavour, size_class, pool->dirty);
  return first;
}

void tarn_pool_remake(struct tarn_store *store, struct tarn_pool *pool, struct tarn_heap *heap,
                      tarn_flavour flavour, unsigned size_class) {
  /* A fork in the middle leaves the pool to nobody, rather than half done to the revival. */
  tarn_pool_set_owner(pool, NULL);
  atomic_signal_fence(memory_order_seq_cst);
  tarn_map_set(tarn_pool_unit(pool), 0);
  describe(store, pool, heap, flavour, size_class, pool->own.virgin);
  atomic_signal_fence(memory_order_seq_cst);
}

void tarn_pool_drop(struct tarn_store *store, struct tarn_pool *pool) {
  TARN_ASSERT(pool->list == TARN_LIST_NONE);
  TARN_ASSERT(atomic_load_explicit(&pool->remote, memory_order_relaxed) == 0);
  pool->dirty = pool->own.virgin;
  /* Relaxed: who gets the unit next gets it through the store's lock. */
  tarn_pool_set_owner(pool, NULL);
  pool->bin = NULL;
  pool->own.free = NULL;
  struct tarn_wanted was = {.units = 1,
                            .bytes = TARN_UNIT_SIZE,
                            .pools = 1,
                            .size_class = pool->size_class,
                            .unit = tarn_pool_unit(pool)};
  tarn_map_set(was.unit, 0);
  tarn_store_give(store, &was);
}

/* --- what is free ---------------------------------------------------------------------------- */

/* The first of the bytes from `from` up to `to` that is a mark, or `to`.  Eight at a time: dead
 * pools have none. */
static uint32_t next_mark(const uint8_t *marks, uint32_t from, uint32_t to) {
  while (from < to && from % 8 != 0 && marks[from] == TARN_MARK_NONE)
    from++;
  if (from % 8 == 0) {
    const uint64_t *word = (const uint64_t *)(const void *)(marks + from);
    const uint64_t *end = (const uint64_t *)(const void *)(marks + to / 8 * 8);
    while (word < end && *word == 0)
      word++;
    from = (uint32_t)((const uint8_t *)word - marks);
  }
  while (from < to && marks[from] == TARN_MARK_NONE)
    from++;
  return from;
}

bool tarn_pool_stretch(struct tarn_pool *pool, uint8_t epoch, uint32_t *start, uint32_t *end) {
  uint32_t size = (uint32_t)tarn_pool_block_size(pool);
  uint32_t last = size * pool->capacity;
  uint32_t at = pool->own.cursor;
  if (epoch == 0) { /* no collection yet: everything beyond the cursor was never handed out */
    *start = at;
    *end = last;
    return at < last;
  }
  uint8_t *marks = tarn_mark_byte(tarn_pool_base(pool));
  /* Nothing beyond the virgin limit carries a mark, and its part of the table stays untouched. */
  uint32_t known = pool->own.virgin < last ? pool->own.virgin : last;
  while (at < known && marks[at >> TARN_GRANULE_SHIFT] != TARN_MARK_NONE)
    at += size;
  pool->own.cursor = at;
  *start = at;
  if (at >= last)
    return false;
  /* The bytes between those of block starts are never set. */
  uint32_t granules = (known + 15) >> TARN_GRANULE_SHIFT;
  uint32_t mark = next_mark(marks, at >> TARN_GRANULE_SHIFT, granules);
  *end = mark == granules ? last : ((mark << TARN_GRANULE_SHIFT) + size - 1) / size * size;
  return true;
}

bool tarn_pool_in_use(const struct tarn_pool *pool, const void *block, uint8_t epoch) {
  uintptr_t offset = (uintptr_t)block - tarn_pool_base(pool);
  uint8_t mark = epoch ? tarn_mark_load((uintptr_t)block) : TARN_MARK_NONE;
  bool may_be = offset < pool->own.cursor
                    ? !tarn_mark_is_dead(mark)
                    : offset < pool->own.virgin && tarn_mark_lives(mark, epoch);
  if (!may_be)
    return false;
  /* Beyond the cursor too: another thread may have freed it, and the owner not yet taken it back.
   */
  tarn_kind kind = tarn_flavour_kind((tarn_flavour)pool->flavour);
  return *(const uintptr_t *)block != tarn_free_key(kind, block);
}

#if TARN_CHECKING || TARN_TOOLS
void tarn_pool_spoil_dead(struct tarn_pool *pool, uint8_t epoch, uint8_t mark) {
  size_t size = tarn_pool_block_size(pool);
  uintptr_t base = tarn_pool_base(pool);
  for (uintptr_t at = 0; at + size <= pool->own.virgin; at += size) {
    uint8_t byte = tarn_mark_load(base + at);
    if (byte == epoch || byte == mark || tarn_mark_is_dead(byte))
      continue;
    uintptr_t *words = tarn_block_words((void *)(base + at));
#if TARN_CHECKING
    words[0] = tarn_free_key(tarn_flavour_kind((tarn_flavour)pool->flavour), words);
#endif
    tarn_block_spoil(words, size);
  }
}
#endif
