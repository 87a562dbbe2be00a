/* SPDX-License-Identifier: MIT */
/*
 * inspect/verify.c: a check of everything that the heap layer and the collector promise each other.
 *
 * It reads only, allocates nothing, and stops at the first finding, which it words.  The steps go
 * from what everything rests on to what rests on it, and each step follows only pointers that an
 * earlier one found good, so that damage is named and not followed:
 *
 *   1. arenas: bitmaps against map words; free units; how many units there are of each kind
 *   2. heaps: the table of heaps, and large objects against their map words
 *   3. descriptors of pools against map words
 *   4. lists: each pool is on the one list that its descriptor names, with the right owner; bins
 *   5. blocks: free lists, mark bytes, counts of blocks, memory that must be zero, objects
 *   6. counters of the store, the heaps and the collector
 *
 * Everything belongs to the requester of the stop.  Threads that are not attached may add types,
 * roots and empty heaps meanwhile, and purge free units, and nothing else.
 */
#include "inspect/events.h"
#include <stdio.h>
#include <string.h>

#define KNOWN_TYPES 512u /* a power of two */
#define PENDING 128u
#define BEYOND_LOOKED_AT ((size_t)1024)

/* An object whose type was not met lately. */
struct pending {
  uintptr_t block;
  size_t size;
  const tarn_type *type;
  uint8_t flavour;
  bool dead;
  bool known;
};

struct check {
  tarn_world *world;
  const struct tarn_store *store;
  char *message;
  size_t size;
  /* Step 1. */
  size_t used_units, pools, large_units, unmapped, trapped, claimed, dirty;
  /* Steps 2 to 5. */
  size_t larges, larges_bytes, units_of_larges;
  size_t listed, unswept;
  size_t condemned_larges; /* those whose function does not run yet */
  size_t condemned[TARN_HEAP_MAX];
  /* Step 5: types are looked up in the directory many at a time, so the work stays linear in the
   * number of objects as long as they do not have very many different types. */
  const tarn_type *known[KNOWN_TYPES];
  struct pending pending[PENDING];
  unsigned pending_count;
};

/* Words the finding; always false. */
static __attribute__((format(printf, 2, 3))) bool wrong(const struct check *check,
                                                        const char *format, ...) {
  va_list arguments;
  if (!check->message || check->size == 0)
    return false;
  va_start(arguments, format);
  (void)vsnprintf(check->message, check->size, format, arguments);
  va_end(arguments);
  return false;
}

static void *unit_address(size_t unit) { return (void *)tarn_unit_base(unit); }
static void *base_of(const struct tarn_pool *pool) { return (void *)tarn_pool_base(pool); }

/* Eight words at a time, for much of a check goes into this, and builds that check are often not
 * optimised.  No memcmp: a sanitizer of the program's has one of its own, which minds what is
 * closed to the program. */
static bool is_zero(const void *start, size_t bytes) {
  const unsigned char *at = start, *end = at + bytes;
  for (; at < end && (uintptr_t)at % sizeof(uintptr_t) != 0; at++)
    if (*at)
      return false;
  for (; (size_t)(end - at) >= 8 * sizeof(uintptr_t); at += 8 * sizeof(uintptr_t)) {
    const uintptr_t *words = (const void *)at;
    if (words[0] | words[1] | words[2] | words[3] | words[4] | words[5] | words[6] | words[7])
      return false;
  }
  for (; at < end; at++)
    if (*at)
      return false;
  return true;
}

/* The first byte that is not zero; `end` if there is none. */
static uintptr_t first_not_zero(uintptr_t start, uintptr_t end) {
  if (start >= end || is_zero((const void *)start, end - start))
    return end;
  uintptr_t at = start;
  while (*(const unsigned char *)at == 0)
    at++;
  return at;
}

/* All of what must be zero in checking builds; else where an overrun would land first. */
static uintptr_t looked_at(uintptr_t start, uintptr_t end) {
  return TARN_CHECKING || end - start <= BEYOND_LOOKED_AT ? end : start + BEYOND_LOOKED_AT;
}

/* In a world that counts references the marks of the last full collection stay, and say nothing. */
static bool is_mark(const struct check *check, uint8_t byte) {
  bool counting = check->world->config.counting;
  return byte == TARN_MARK_NONE || tarn_mark_lives(byte, check->store->epoch) ||
         (counting && (byte == TARN_MARK_EPOCH_1 || byte == TARN_MARK_EPOCH_2)) ||
         tarn_mark_is_dead(byte);
}

/* No mark byte is set for the addresses from `start` up to `end`, multiples of 16. */
static bool check_no_marks(const struct check *check, uintptr_t start, uintptr_t end,
                           const char *where) {
  if (!check->store->tables || start >= end)
    return true;
  const uint8_t *marks = tarn_mark_byte(start);
  size_t count = (end - start) >> TARN_GRANULE_SHIFT;
  if (is_zero(marks, count))
    return true;
  for (size_t i = 0; i < count; i++)
    if (marks[i])
      return wrong(check, "mark byte %u at %p, %s: expected 0", marks[i],
                   (void *)(start + (i << TARN_GRANULE_SHIFT)), where);
  return true;
}

/* --- 1. arenas ------------------------------------------------------------------------------- */

static bool check_free_unit(const struct check *check, size_t unit) {
  uintptr_t base = tarn_unit_base(unit), end = base + TARN_UNIT_SIZE;
  uint64_t map = tarn_map_get(unit);
  uint32_t dirty = tarn_space.pools[unit].dirty;
  const _Atomic uint64_t *bits = tarn_remote_bits(unit);
  for (unsigned i = 0; i < TARN_REMOTE_WORDS; i++)
    if (atomic_load_explicit(&bits[i], memory_order_relaxed) != 0)
      return wrong(check, "free unit %p: word %u of its remote bits is not zero", (void *)base, i);
  if (map != 0)
    return wrong(check, "unit %p is free in its arena, but its map word is %#llx: expected 0",
                 (void *)base, (unsigned long long)map);
  if (dirty > TARN_UNIT_SIZE)
    return wrong(check, "free unit %p: dirty is %u: expected at most %zu", (void *)base, dirty,
                 TARN_UNIT_SIZE);
  uintptr_t last = looked_at(base + dirty, end), at = first_not_zero(base + dirty, last);
  if (at < last)
    return wrong(check, "free unit %p: byte %zu is not zero, but dirty is %u", (void *)base,
                 (size_t)(at - base), dirty);
  return check_no_marks(check, base, end, "in a free unit");
}

static bool check_used_unit(struct check *check, size_t unit) {
  uint64_t map = tarn_map_get(unit);
  check->used_units++;
  if (map != 0 && tarn_map_world(map) == 0 && check->store->trap.units) {
    check->trapped++;
    return check_no_marks(check, tarn_unit_base(unit), tarn_unit_base(unit + 1),
                          "in a unit that cannot be touched");
  }
  if (map ==
      0) { /* good only for large objects that the census has just buried, and for claimed units */
    check->unmapped++;
    return check_no_marks(check, tarn_unit_base(unit), tarn_unit_base(unit + 1),
                          "in a unit without map word");
  }
  if (tarn_map_world(map) != check->store->id)
    return wrong(check, "unit %p is used, but its map word %#llx is of world %u: expected %u",
                 unit_address(unit), (unsigned long long)map, tarn_map_world(map),
                 check->store->id);
  switch (tarn_map_form(map)) {
  case TARN_FORM_POOL:
    check->pools++;
    return true;
  case TARN_FORM_LARGE:
  case TARN_FORM_REST:
    check->large_units++;
    return true;
  }
  return wrong(check, "unit %p: map word %#llx has no known form", unit_address(unit),
               (unsigned long long)map);
}

static bool is_free(const struct tarn_arena *arena, size_t i) {
  return tarn_arena_is_free(arena, i);
}

static bool check_arena_record(const struct check *check, const struct tarn_arena *arena) {
  size_t bytes = arena->units * TARN_UNIT_SIZE;
  if (arena->units == 0 || arena->units % TARN_ARENA_UNITS != 0 ||
      arena->base % TARN_ARENA_SIZE != 0 || !tarn_space_holds(arena->base) ||
      bytes > tarn_space.size - (arena->base - tarn_space.base))
    return wrong(check, "arena %p of %zu units does not lie in the heap range", (void *)arena->base,
                 arena->units);
  if (check->store->tables && !arena->marks)
    return wrong(check, "arena %p has no mark bytes, but the world has a mark table",
                 (void *)arena->base);
  return true;
}

/* Its dirty bits against the free bits and the descriptors; and the bound of its runs. */
static bool check_dirty_units(struct check *check, const struct tarn_arena *arena) {
  size_t dirty_units = 0, run = 0;
  for (size_t i = 0; i < arena->units; i++) {
    const struct tarn_pool *pool = tarn_arena_pool(arena, i);
    bool dirty = arena->free[arena->units / 64 + i / 64] >> (i % 64) & 1;
    if (dirty != (is_free(arena, i) && pool->dirty != 0))
      return wrong(check, "unit %p: its dirty bit is %d, but its descriptor has %u dirty bytes",
                   base_of(pool), dirty, pool->dirty);
    run = is_free(arena, i) ? run + 1 : 0;
    if (run > arena->longest)
      return wrong(check, "arena %p: a run of free units is longer than the bound of %zu",
                   (void *)arena->base, arena->longest);
    dirty_units += dirty;
    check->dirty += dirty ? pool->dirty : 0;
  }
  return dirty_units == arena->dirty_units ||
         wrong(check, "arena %p: dirty_units is %zu, but its bitmap has %zu", (void *)arena->base,
               arena->dirty_units, dirty_units);
}

static bool check_arena(struct check *check, const struct tarn_arena *arena) {
  size_t first = tarn_unit_of(arena->base), free_units = 0;
  for (size_t i = 0; i < arena->units; i++) {
    free_units += is_free(arena, i);
    if (is_free(arena, i) ? !check_free_unit(check, first + i) : !check_used_unit(check, first + i))
      return false;
  }
  check->claimed += arena->claimed;
  if (free_units != arena->free_units)
    return wrong(check, "arena %p: free_units is %zu, but its bitmap has %zu", (void *)arena->base,
                 arena->free_units, free_units);
  return check_dirty_units(check, arena);
}

/* No hint may have passed an arena that it should point at; `seen` counts arenas from the lowest.
 */
static bool check_hints(const struct check *check, const struct tarn_arena *arena) {
  const struct tarn_store *store = check->store;
  for (unsigned i = 0; i < TARN_RUN_HINTS; i++)
    if (arena->longest >> i && (!store->hints[i] || store->hints[i]->base > arena->base))
      return wrong(check, "the hint for runs of 2^%u units has passed arena %p", i,
                   (void *)arena->base);
  return arena->dirty_units == 0 || (store->dirty_hint && store->dirty_hint->base <= arena->base) ||
         wrong(check, "the hint for dirty units has passed arena %p", (void *)arena->base);
}

static bool check_arena_list(struct check *check) {
  const struct tarn_arena *last = NULL;
  for (const struct tarn_arena *arena = check->store->arenas; arena;
       last = arena, arena = arena->next)
    if (last && last->base >= arena->base)
      return wrong(check, "the list of arenas has a cycle, or arena %p is not in its place",
                   (void *)arena->base);
    else if (!check_arena_record(check, arena) || !check_arena(check, arena))
      return false;
    else if (*tarn_arena_slot(arena->base) != arena)
      return wrong(check, "arena %p is not in the table", (void *)arena->base);
    else if (!check_hints(check, arena))
      return false;
  size_t dirty = atomic_load_explicit(&check->store->dirty, memory_order_relaxed);
  return dirty == check->dirty ||
         wrong(check, "the counter `dirty` is %zu: expected %zu", dirty, check->dirty);
}

/* A purge may be at work: under the lock it shows the units that it has as claimed. */
static bool check_arenas(struct check *check) {
  (void)pthread_mutex_lock(&check->world->store.lock);
  bool good = check_arena_list(check);
  (void)pthread_mutex_unlock(&check->world->store.lock);
  return good;
}

/* Calls `fn` for each unit in use until it says false. */
static bool each_unit(struct check *check, bool (*fn)(struct check *check, size_t unit)) {
  for (const struct tarn_arena *arena = check->store->arenas; arena; arena = arena->next)
    for (size_t i = 0; i < arena->units; i++)
      if (!is_free(arena, i) && !fn(check, tarn_unit_of(arena->base) + i))
        return false;
  return true;
}

/* --- 2. heaps and large objects -------------------------------------------------------------- */

/* Does the unit's map word say what the header says? */
static bool check_large_map(const struct check *check, const struct tarn_large *large, size_t i) {
  tarn_flavour flavour = (tarn_flavour)large->flavour;
  size_t unit = tarn_unit_of(large->base) + i;
  uint64_t map = tarn_map_get(unit);
  uint64_t expected = tarn_map_make(
      check->store->id, tarn_flavour_kind(flavour), i == 0 ? TARN_FORM_LARGE : TARN_FORM_REST,
      tarn_flavour_resource(flavour), 0, (uint32_t)(i == 0 ? large->units : i));
  return map == expected ||
         wrong(check, "large object %p: map word of unit %zu is %#llx: expected %#llx",
               (void *)large->base, i, (unsigned long long)map, (unsigned long long)expected);
}

/* The unit that is taken along for a guard is the rest of nothing. */
static bool check_lead(const struct check *check, const struct tarn_large *large) {
  tarn_flavour flavour = (tarn_flavour)large->flavour;
  if (!tarn_large_lead(large))
    return true;
  uint64_t map = tarn_map_get(tarn_unit_of(large->base) - 1);
  return map == tarn_map_make(check->store->id, tarn_flavour_kind(flavour), TARN_FORM_REST,
                              tarn_flavour_resource(flavour), 0, 0) ||
         wrong(check, "large object %p: map word of the unit before it is %#llx",
               (void *)large->base, (unsigned long long)map);
}

static bool check_large_header(const struct check *check, const struct tarn_heap *heap,
                               const struct tarn_large *large) {
  void *base = (void *)large->base;
  size_t end_of_units = large->units * TARN_UNIT_SIZE;
  size_t whole = large->bytes + tarn_large_guard(large);
  if (large->heap != heap)
    return wrong(check, "large object %p is on the list of heap %u, but of another heap", base,
                 heap->index);
  if (large->flavour >= TARN_FLAVOURS || !tarn_heap_has(heap, (tarn_flavour)large->flavour))
    return wrong(check, "large object %p: flavour %u does not fit heap %u", base, large->flavour,
                 heap->index);
  if (large->base % TARN_UNIT_SIZE != 0 || !tarn_space_holds(large->base) || large->units == 0 ||
      large->units > (tarn_space.size - (large->base - tarn_space.base)) >> TARN_UNIT_SHIFT)
    return wrong(check, "large object %p of %zu units does not lie in the heap range", base,
                 large->units);
  if (large->bytes % tarn_os_page_size() != 0 || whole > end_of_units ||
      whole <= end_of_units - TARN_UNIT_SIZE ||
      (large->bytes <= TARN_LARGE_LIMIT && !check->store->apart.every))
    return wrong(check, "large object %p: %zu bytes do not fit %zu units", base, large->bytes,
                 large->units);
  /* Relaxed, as below: the world is stopped. */
  if (atomic_load_explicit(&large->dead, memory_order_relaxed))
    return wrong(check, "large object %p is on its heap's list, but its header says dead", base);
  return true;
}

static bool check_large_marks(struct check *check, const struct tarn_large *large) {
  uintptr_t base = large->base;
  if (!check->store->tables)
    return true;
  uint8_t byte = *tarn_mark_byte(base);
  if (!is_mark(check, byte))
    return wrong(check, "large object %p: mark byte %u: expected 0, %u, %u or %u", (void *)base,
                 byte, check->store->epoch, TARN_MARK_CONDEMNED, TARN_MARK_RELEASING);
  if (tarn_mark_is_dead(byte)) {
    check->condemned[large->heap->index]++;
    check->condemned_larges += byte == TARN_MARK_CONDEMNED;
    if (!tarn_flavour_resource((tarn_flavour)large->flavour))
      return wrong(check, "large object %p is condemned, but has no `free` function", (void *)base);
  }
  return check_no_marks(check, base + 16, base + large->units * TARN_UNIT_SIZE,
                        "inside a large object");
}

static bool check_large(struct check *check, const struct tarn_heap *heap,
                        const struct tarn_large *large) {
  if (!check_large_header(check, heap, large))
    return false;
  size_t unit = tarn_unit_of(large->base);
  for (size_t i = 0; i < large->units; i++)
    if (!check_large_map(check, large, i))
      return false;
  if (!check_lead(check, large))
    return false;
  /* The map words are this world's, so the descriptor can be read. */
  const struct tarn_pool *pool = &tarn_space.pools[unit];
  if (atomic_load_explicit(&pool->large, memory_order_relaxed) != large || pool->heap != heap)
    return wrong(check, "large object %p: its unit's descriptor names another header or heap",
                 (void *)large->base);
  uintptr_t end = large->base + large->bytes + tarn_large_guard(large);
  /* What earlier tenants of its last unit left there is never touched. */
  size_t rest = large->units - 1;
  uintptr_t left = large->base + rest * TARN_UNIT_SIZE + tarn_space.pools[unit + rest].dirty;
  if (left > end)
    end = left;
  uintptr_t last = looked_at(end, large->base + large->units * TARN_UNIT_SIZE);
  uintptr_t at = check->store->apart.every ? last : first_not_zero(end, last); /* a guard's */
  if (at < last)
    return wrong(check, "large object %p: byte %zu, beyond its %zu bytes, is not zero",
                 (void *)large->base, (size_t)(at - large->base), large->bytes);
  check->larges++;
  check->larges_bytes += large->bytes;
  check->units_of_larges += large->units + tarn_large_lead(large);
  return check_large_marks(check, large);
}

static bool check_larges(struct check *check, struct tarn_heap *heap) {
  const struct cds_list_head *node = &heap->larges;
  do {
    if (!node->next || node->next->prev != node)
      return wrong(check, "heap %u: the list of large objects is broken after node %p", heap->index,
                   (const void *)node);
    node = node->next;
    if (check->units_of_larges > check->large_units)
      return wrong(check, "heap %u: the list of large objects is longer than the map says",
                   heap->index);
    if (node != &heap->larges &&
        !check_large(check, heap, cds_list_entry(node, struct tarn_large, node)))
      return false;
  } while (node != &heap->larges);
  return true;
}

static bool check_heaps(struct check *check) {
  for (unsigned i = 0; i < tarn_store_heap_limit(check->store); i++) {
    struct tarn_heap *heap = tarn_store_heap(check->store, i);
    if (!heap)
      continue;
    if (heap->index != i || heap->store != check->store)
      return wrong(check, "heap %u: its record says heap %u of store %p", i, heap->index,
                   (void *)heap->store);
    if (!check_larges(check, heap))
      return false;
  }
  return true;
}

static bool is_unit_of(const struct tarn_large *large, size_t unit) {
  size_t lead = tarn_large_lead(large);
  return unit + lead - tarn_unit_of(large->base) < large->units + lead;
}

/* Is the large object whose first unit this is on its heap's list?  Slow; to name what is lost. */
static bool name_lost_large(struct check *check, size_t unit) {
  if (tarn_map_form(tarn_map_get(unit)) == TARN_FORM_POOL || tarn_map_get(unit) == 0)
    return true;
  for (unsigned i = 0; i < tarn_store_heap_limit(check->store); i++) {
    struct tarn_heap *heap = tarn_store_heap(check->store, i);
    const struct tarn_large *large;
    if (heap)
      cds_list_for_each_entry(large, &heap->larges, node) if (is_unit_of(large, unit)) return true;
  }
  return wrong(check, "unit %p is of a large object by its map word %#llx, but that is on no list",
               unit_address(unit), (unsigned long long)tarn_map_get(unit));
}

static bool name_unmapped(struct check *check, size_t unit) {
  const struct tarn_large *large = check->world->collector->dead_larges;
  for (; large; large = large->limbo)
    if (is_unit_of(large, unit))
      return true;
  return tarn_map_get(unit) != 0 ||
         wrong(check, "unit %p is used, but its map word is 0", unit_address(unit));
}

/* Each unit in use is of a pool, of a large object on a list, or of one that was just buried. */
static bool check_unit_counts(struct check *check) {
  size_t buried = 0;
  const struct tarn_large *large = check->world->collector->dead_larges;
  size_t unmapped = check->unmapped - check->claimed;
  for (; large && buried <= unmapped; large = large->limbo)
    buried += large->units + tarn_large_lead(large);
  if (check->units_of_larges != check->large_units)
    return each_unit(check, name_lost_large) &&
           wrong(check, "%zu units belong to large objects by the map, %zu by the lists",
                 check->large_units, check->units_of_larges);
  if (unmapped != buried)
    return each_unit(check, name_unmapped) &&
           wrong(check, "%zu units in use have no map word: expected %zu, of dead large objects",
                 unmapped, buried);
  return check->trapped == check->store->trap.units ||
         wrong(check, "%zu units cannot be touched by the map, %zu by the trap's count",
               check->trapped, check->store->trap.units);
}

/* --- 3. descriptors -------------------------------------------------------------------------- */

static bool is_pool_unit(const struct check *check, size_t unit) {
  uint64_t map = tarn_map_get(unit);
  return tarn_map_world(map) == check->store->id && tarn_map_form(map) == TARN_FORM_POOL;
}

/* For any pointer: is it the descriptor of a pool of this world?  Follows nothing. */
static bool is_pool(const struct check *check, const struct tarn_pool *pool) {
  uintptr_t offset = (uintptr_t)pool - (uintptr_t)tarn_space.pools;
  size_t unit = offset / sizeof *pool;
  return offset % sizeof *pool == 0 && unit < tarn_space.size / TARN_UNIT_SIZE &&
         is_pool_unit(check, unit);
}

static bool is_heap(const struct check *check, const struct tarn_heap *heap) {
  for (unsigned i = 0; heap && i < tarn_store_heap_limit(check->store); i++)
    if (tarn_store_heap(check->store, i) == heap)
      return true;
  return false;
}

static bool check_map_word(const struct check *check, const struct tarn_pool *pool) {
  tarn_flavour flavour = (tarn_flavour)pool->flavour;
  size_t size = tarn_pool_block_size(pool);
  uint64_t map = tarn_map_get((size_t)(pool - tarn_space.pools));
  uint64_t expected = tarn_map_make(check->store->id, tarn_flavour_kind(flavour), TARN_FORM_POOL,
                                    tarn_flavour_resource(flavour), size, tarn_reciprocal(size));
  if (map != expected)
    return wrong(check,
                 "pool %p: map word %#llx (block size %zu, kind %u) does not fit its descriptor: "
                 "expected %#llx (block size %zu, kind %u)",
                 base_of(pool), (unsigned long long)map, tarn_map_block_size(map),
                 tarn_map_kind(map), (unsigned long long)expected, size,
                 tarn_flavour_kind(flavour));
  if (pool->capacity != TARN_UNIT_SIZE / size)
    return wrong(check, "pool %p: capacity is %u: expected %zu", base_of(pool), pool->capacity,
                 TARN_UNIT_SIZE / size);
  return true;
}

static bool check_limits(const struct check *check, const struct tarn_pool *pool) {
  size_t size = tarn_pool_block_size(pool);
  if (pool->own.virgin > TARN_UNIT_SIZE)
    return wrong(check, "pool %p: virgin limit %u is beyond its end", base_of(pool),
                 pool->own.virgin);
  if (pool->own.cursor > pool->own.virgin || pool->own.cursor > size * pool->capacity)
    return wrong(check, "pool %p: cursor %u is beyond the virgin limit %u or the last block",
                 base_of(pool), pool->own.cursor, pool->own.virgin);
  if (pool->own.cursor % size != 0)
    return wrong(check, "pool %p: cursor %u is not at a block start (block size %zu)",
                 base_of(pool), pool->own.cursor, size);
  return true;
}

/* Can the list that the pool says it is on be right for what it has to hand out? */
static bool check_state(struct check *check, const struct tarn_pool *pool) {
  uint32_t used = tarn_pool_used(pool);
  bool some = pool->own.free || used < pool->capacity, good = true;
  switch ((tarn_pool_list)pool->list) {
  case TARN_LIST_CURRENT:
    break;
  case TARN_LIST_FULL:
    good = pool->capacity - used < tarn_pool_wake(pool);
    break;
  case TARN_LIST_PARTIAL:
    good = pool->own.free || (some && pool->flavour == TARN_FLAVOUR_RAW);
    break;
  case TARN_LIST_SHELF:
    good = some;
    break;
  case TARN_LIST_SHELF_FULL:
    good = !some;
    break;
  case TARN_LIST_CONDEMNED:
    check->condemned[pool->heap->index]++;
    good = pool->own.cursor == 0 && !pool->own.free &&
           tarn_flavour_resource((tarn_flavour)pool->flavour);
    break;
  case TARN_LIST_UNSWEPT:
    good = pool->own.cursor == 0 && !pool->own.free &&
           !tarn_flavour_resource((tarn_flavour)pool->flavour);
    check->unswept++;
    break;
  case TARN_LIST_TRASH:
  case TARN_LIST_FROZEN:
    good = check->world->config.counting;
    break;
  case TARN_LIST_NONE:
  default:
    return wrong(check, "pool %p is in use, but its list state is %u", base_of(pool), pool->list);
  }
  return good || wrong(check,
                       "pool %p: list state %u does not fit its contents (used %u of %u, cursor "
                       "%u, free list %s)",
                       base_of(pool), pool->list, used, pool->capacity, pool->own.cursor,
                       pool->own.free ? "not empty" : "empty");
}

static bool check_used(const struct check *check, const struct tarn_pool *pool) {
  return tarn_pool_used(pool) <= pool->capacity ||
         wrong(check, "pool %p: used is %u, but the pool has %u blocks", base_of(pool),
               tarn_pool_used(pool), pool->capacity);
}

static bool check_descriptor(struct check *check, size_t unit) {
  const struct tarn_pool *pool = &tarn_space.pools[unit];
  if (!is_pool_unit(check, unit))
    return true;
  if (!is_heap(check, pool->heap))
    return wrong(check, "pool %p: %p is not a heap of the world", base_of(pool),
                 (void *)pool->heap);
  if (pool->flavour >= TARN_FLAVOURS || !tarn_heap_has(pool->heap, (tarn_flavour)pool->flavour))
    return wrong(check, "pool %p: flavour %u does not fit heap %u", base_of(pool), pool->flavour,
                 pool->heap->index);
  if (pool->size_class >= TARN_CLASS_COUNT)
    return wrong(check, "pool %p: there is no size class %u", base_of(pool), pool->size_class);
  if (atomic_load_explicit(&pool->large, memory_order_relaxed))
    return wrong(check, "pool %p: its descriptor names a large object", base_of(pool));
  return check_map_word(check, pool) && check_limits(check, pool) && check_state(check, pool) &&
         check_used(check, pool);
}

/* --- 4. lists -------------------------------------------------------------------------------- */

/* What the pools of one list have in common. */
struct list {
  tarn_pool_list state;
  const struct tarn_heap *heap; /* NULL: any, with any flavour and class */
  const struct tarn_local *owner;
  unsigned flavour, size_class;
};

static bool check_membership(const struct check *check, const struct list *list,
                             const struct tarn_pool *pool) {
  if (pool->list != list->state)
    return wrong(check, "pool %p is on a list of state %u, but its own list state is %u",
                 base_of(pool), list->state, pool->list);
  if (list->heap && (pool->heap != list->heap || pool->flavour != list->flavour ||
                     pool->size_class != list->size_class))
    return wrong(check,
                 "pool %p (heap %u, flavour %u, class %u) is on a list of heap %u, flavour %u, "
                 "class %u",
                 base_of(pool), pool->heap->index, pool->flavour, pool->size_class,
                 list->heap->index, list->flavour, list->size_class);
  const struct tarn_local *owner = tarn_pool_owner(pool);
  if (owner != list->owner)
    return wrong(check, "pool %p (list state %u): owner is %p: expected %p", base_of(pool),
                 pool->list, (const void *)owner, (const void *)list->owner);
  return true;
}

/*
 * Walks a circular list.  Each step is checked backwards too, so no pool is met twice, and what a
 * pool says of itself names one list, so it is on no other.
 */
static bool check_list(struct check *check, const struct list *list, const struct tarn_pool *head) {
  const struct tarn_pool *pool = head;
  if (!head)
    return true;
  do {
    if (!is_pool(check, pool))
      return wrong(check, "a list of state %u leads to %p, which is no pool of the world",
                   list->state, (const void *)pool);
    if (!check_membership(check, list, pool))
      return false;
    if (!is_pool(check, pool->next) || pool->next->prev != pool)
      return wrong(check, "pool %p: its links are broken (list state %u)", base_of(pool),
                   list->state);
    if (++check->listed > check->pools)
      return wrong(check, "the lists hold more pools than there are: pool %p is on two",
                   base_of(pool));
    pool = pool->next;
  } while (pool != head);
  return true;
}

static bool check_shelves(struct check *check, const struct tarn_heap *heap) {
  for (unsigned flavour = 0; flavour < TARN_FLAVOURS; flavour++)
    for (unsigned i = 0; i < TARN_CLASS_COUNT; i++) {
      const struct tarn_shelf *shelf = &heap->shelves[flavour][i];
      struct list list = {
          .state = TARN_LIST_SHELF, .heap = heap, .flavour = flavour, .size_class = i};
      if (!check_list(check, &list, shelf->some))
        return false;
      list.state = TARN_LIST_SHELF_FULL;
      if (!check_list(check, &list, shelf->full))
        return false;
      list.state = TARN_LIST_UNSWEPT;
      if (!check_list(check, &list, shelf->unswept))
        return false;
    }
  return true;
}

/* The run of a bin: bump <= limit = cursor <= run_end, at block starts, zero before the limit. */
static bool check_run(const struct check *check, const struct tarn_bin *bin) {
  const struct tarn_pool *pool = bin->head.pool;
  uintptr_t base = tarn_pool_base(pool);
  size_t size = tarn_pool_block_size(pool), last = size * pool->capacity;
  size_t bump = (uintptr_t)bin->head.bump - base, limit = (uintptr_t)bin->head.limit - base;
  size_t end = (uintptr_t)bin->run_end - base;
  bool raw = pool->flavour == TARN_FLAVOUR_RAW; /* its blocks are cleared one by one */
  if ((raw ? bump : limit) != pool->own.cursor)
    return wrong(check, "pool %p: its bin's %s is at %zu, but its cursor at %u", base_of(pool),
                 raw ? "bump" : "limit", raw ? bump : limit, pool->own.cursor);
  if (bin->head.size != size || pool->bin != bin)
    return wrong(check, "pool %p: its bin has blocks of %u bytes: expected %zu", base_of(pool),
                 bin->head.size, size);
  if (bump > limit || limit > end || end > last || bump % size != 0 || end % size != 0)
    return wrong(check, "pool %p: its bin's run %zu to %zu to %zu is not one (block size %zu)",
                 base_of(pool), bump, limit, end, size);
  uintptr_t fresh =
      (uintptr_t)bin->head.fresh < base + bump ? base + bump : (uintptr_t)bin->head.fresh;
  uintptr_t at = raw && fresh > base + limit
                     ? base + limit
                     : first_not_zero(raw ? fresh : base + bump, base + limit);
  if (at < base + limit)
    return wrong(check,
                 "pool %p: byte %zu was cleared for block %p, which was not handed out yet, and "
                 "is not zero",
                 base_of(pool), (size_t)(at - base), (void *)(at - (at - base) % size));
  for (size_t i = bump; check->store->tables && i < end && i < pool->own.virgin; i += size)
    if (*tarn_mark_byte(base + i) != TARN_MARK_NONE)
      return wrong(check, "block %p (pool %p) has mark byte %u, but is in the run of a bin",
                   (void *)(base + i), base_of(pool), *tarn_mark_byte(base + i));
  return true;
}

static bool check_current(struct check *check, const struct list *list,
                          const struct tarn_bin *bin) {
  const struct tarn_pool *pool = bin->head.pool;
  if (!pool)
    return (!bin->head.bump && !bin->head.limit && !bin->run_end) ||
           wrong(check, "a bin of heap %u, flavour %u, class %u has a run, but no pool",
                 list->heap->index, list->flavour, list->size_class);
  if (!is_pool(check, pool))
    return wrong(check, "the current pool of a bin, %p, is no pool of the world",
                 (const void *)pool);
  if (!check_membership(check, list, pool))
    return false;
  if (pool->next || pool->prev)
    return wrong(check, "pool %p is the current one of a bin, but linked to others", base_of(pool));
  check->listed++;
  return check_run(check, bin);
}

static bool check_bins(struct check *check, const struct tarn_local *local,
                       const struct tarn_heap *heap, unsigned flavour,
                       const struct tarn_bin *bins) {
  for (unsigned i = 0; i < TARN_CLASS_COUNT; i++) {
    struct list list = {.state = TARN_LIST_CURRENT,
                        .heap = heap,
                        .owner = local,
                        .flavour = flavour,
                        .size_class = i};
    if (!check_current(check, &list, &bins[i]))
      return false;
    list.state = TARN_LIST_PARTIAL;
    if (!check_list(check, &list, bins[i].partial))
      return false;
    list.state = TARN_LIST_FULL;
    if (!check_list(check, &list, bins[i].full))
      return false;
  }
  return true;
}

static bool check_thread_heap(struct check *check, const struct tarn_local *local, unsigned index) {
  const struct tarn_heap *heap = tarn_store_heap(check->store, index);
  if (!heap)
    return !local->more[index] ||
           wrong(check, "a thread has bins of heap %u, which does not exist", index);
  unsigned first = heap->kind == TARN_HEAP_CONTAINER ? TARN_FLAVOUR_CONTAINER : TARN_FLAVOUR_RAW;
  unsigned end = heap->kind == TARN_HEAP_CONTAINER ? TARN_FLAVOURS : TARN_FLAVOUR_CONTAINER;
  for (unsigned flavour = first; flavour < end; flavour++) {
    /* The first two heaps' bins lie in the thread, other heaps' are made when they are wanted. */
    const struct tarn_bin *bins = index < 2            ? local->bins[flavour]
                                  : local->more[index] ? local->more[index][flavour - first]
                                                       : NULL;
    if (bins && !check_bins(check, local, heap, flavour, bins))
      return false;
  }
  return true;
}

static bool check_threads(struct check *check) {
  static const struct tarn_bin empty;
  const struct tarn_mutator *mutator;
  cds_list_for_each_entry(mutator, &check->world->registry.list, node) {
    const struct tarn_local *local = &mutator->local;
    for (unsigned i = 0; i < tarn_store_heap_limit(check->store); i++)
      if (!check_thread_heap(check, local, i))
        return false;
    if (memcmp(&local->never, &empty, sizeof empty) != 0)
      return wrong(check, "thread %s: the bin that stays empty is not", mutator->name);
  }
  return true;
}

static bool check_release_list(struct check *check) {
  const struct tarn_release *release = &check->world->collector->release;
  struct list list = {.state = TARN_LIST_CONDEMNED};
  size_t larges = 0;
  if (!check_list(check, &list, release->pools))
    return false;
  for (const struct tarn_large *large = release->larges; large; large = large->limbo) {
    if (++larges > check->condemned_larges)
      return wrong(check, "more large objects wait for `free` functions than are condemned");
    if (*tarn_mark_byte(large->base) != TARN_MARK_CONDEMNED)
      return wrong(check, "large object %p waits for its `free` function, but its mark byte is %u",
                   (void *)large->base, *tarn_mark_byte(large->base));
  }
  return larges == check->condemned_larges ||
         wrong(check, "%zu large objects are condemned, but %zu wait for `free` functions",
               check->condemned_larges, larges);
}

static bool is_worked_on(const struct tarn_pool *pool) {
  return (pool->list == TARN_LIST_CONDEMNED && !pool->next) || pool->list == TARN_LIST_TRASH ||
         pool->list == TARN_LIST_FROZEN;
}

/* Counts the pools that threads work on: condemned, on no list, one function running; or with
 * cycles of garbage. */
static bool count_worked_on(struct check *check, size_t unit) {
  if (is_pool_unit(check, unit) && is_worked_on(&tarn_space.pools[unit]))
    check->listed++;
  return true;
}

static const struct tarn_pool *list_head(const struct check *check, const struct tarn_pool *pool) {
  struct tarn_local *owner = tarn_pool_owner(pool);
  const struct tarn_shelf *shelf = &pool->heap->shelves[pool->flavour][pool->size_class];
  const struct tarn_mutator *mutator;
  unsigned first = pool->heap->kind == TARN_HEAP_CONTAINER ? TARN_FLAVOUR_CONTAINER : 0;
  if (pool->list == TARN_LIST_SHELF)
    return shelf->some;
  if (pool->list == TARN_LIST_SHELF_FULL)
    return shelf->full;
  if (pool->list == TARN_LIST_UNSWEPT)
    return shelf->unswept;
  if (pool->list == TARN_LIST_CONDEMNED)
    return check->world->collector->release.pools;
  cds_list_for_each_entry(mutator, &check->world->registry.list, node) {
    const struct tarn_local *local = &mutator->local;
    unsigned index = pool->heap->index;
    if (local != owner || (index >= 2 && !local->more[index]))
      continue;
    const struct tarn_bin *bin =
        (index < 2 ? local->bins[pool->flavour] : local->more[index][pool->flavour - first]) +
        pool->size_class;
    return pool->list == TARN_LIST_CURRENT   ? bin->head.pool
           : pool->list == TARN_LIST_PARTIAL ? bin->partial
                                             : bin->full;
  }
  return NULL;
}

/* Is the pool on the list that it says?  Slow; to name what is lost, once all lists were walked. */
static bool name_lost_pool(struct check *check, size_t unit) {
  const struct tarn_pool *pool = &tarn_space.pools[unit];
  if (!is_pool_unit(check, unit) || is_worked_on(pool))
    return true;
  const struct tarn_pool *head = list_head(check, pool), *at = head;
  if (head && pool->list != TARN_LIST_CURRENT)
    while (at != pool && at->next != head)
      at = at->next;
  return at == pool ||
         wrong(check,
               "pool %p (heap %u, flavour %u, class %u, owner %p) is not on the list that "
               "its list state %u names",
               base_of(pool), pool->heap->index, pool->flavour, pool->size_class,
               (void *)tarn_pool_owner(pool), pool->list);
}

static bool check_lists(struct check *check) {
  for (unsigned i = 0; i < tarn_store_heap_limit(check->store); i++)
    if (tarn_store_heap(check->store, i) && !check_shelves(check, tarn_store_heap(check->store, i)))
      return false;
  if (!check_threads(check) || !check_release_list(check))
    return false;
  (void)each_unit(check, count_worked_on);
  return check->listed == check->pools ||
         (each_unit(check, name_lost_pool) &&
          wrong(check, "%zu pools are in use, but %zu on lists", check->pools, check->listed));
}

/* --- 5a. objects ----------------------------------------------------------------------------- */

/* Is the block handed out, by its words and marks?  `bump` as from tarn_walk_bump. */
static bool is_handed_out(const struct check *check, const struct tarn_pool *pool, uintptr_t block,
                          uintptr_t bump) {
  size_t at = block - tarn_pool_base(pool);
  tarn_kind kind = tarn_flavour_kind((tarn_flavour)pool->flavour);
  if (bump && block >= bump && at < pool->own.cursor)
    return false;
  if (at >= pool->own.cursor &&
      !(at < pool->own.virgin && tarn_store_marked(check->store, (const void *)block)))
    return false;
  return *(const uintptr_t *)block != tarn_free_key(kind, (const void *)block);
}

static bool check_data(const struct check *check, const struct pending *object) {
  const tarn_type *type = object->type;
  uintptr_t data = ((const uintptr_t *)object->block)[type->data_word];
  struct tarn_place place;
  if (data == 0) /* given up by hand; the marker takes it for none */
    return true;
  if (!tarn_find(check->store->id, data, false, &place))
    return wrong(check, "object %p (type %s): its data word %p is no block", (void *)object->block,
                 type->name, (void *)data);
  if (tarn_map_kind(place.map) != TARN_KIND_RAW || place.size < type->data_size)
    return wrong(check,
                 "object %p (type %s): its data block %p has kind %u and %zu bytes: expected a raw "
                 "one of at least %u",
                 (void *)object->block, type->name, (void *)data, tarn_map_kind(place.map),
                 place.size, type->data_size);
  const struct tarn_pool *pool = tarn_pool_of(data);
  return tarn_map_form(place.map) != TARN_FORM_POOL ||
         is_handed_out(check, pool, data, tarn_walk_bump(pool)) ||
         wrong(check, "object %p (type %s): its data block %p is not in use", (void *)object->block,
               type->name, (void *)data);
}

/* Objects may be made by hand in blocks of tarn_heap_alloc: then any type will do that asks of the
 * collector no more than the pool gives. */
static bool flavour_fits(const tarn_type *type, unsigned flavour) {
  return type->flavour == flavour ||
         (flavour == TARN_FLAVOUR_CONTAINER && type->flavour == TARN_FLAVOUR_LEAF);
}

static bool check_link(const struct check *check, const struct pending *object) {
  const struct tarn_types *types = &check->world->types;
  unsigned word = object->type == types->weak ? 2 : object->type == types->ephemeron ? 3 : 0;
  return word == 0 || ((const uintptr_t *)object->block)[word] == 0 ||
         wrong(check, "%s %p is still linked to others of a collection", object->type->name,
               (void *)object->block);
}

/* An object whose type is known to be one. */
static bool check_object(const struct check *check, const struct pending *object) {
  const tarn_type *type = object->type;
  void *block = (void *)object->block;
  if (!tarn_type_is_good(type, check->world))
    return wrong(check, "object %p: the type %p was written to", block, (const void *)type);
  if (!flavour_fits(type, object->flavour))
    return wrong(check, "object %p (type %s, flavour %u) is in a pool of flavour %u", block,
                 type->name, type->flavour, object->flavour);
  if (type->size > object->size)
    return wrong(check, "object %p (type %s) needs %zu bytes, but its block has %zu", block,
                 type->name, type->size, object->size);
  size_t count = tarn_type_elements(type, block);
  if (type->is_array && count > (object->size - type->size) / type->element_size)
    return wrong(check, "array %p (type %s): its count is %zu, but only %zu elements fit", block,
                 type->name, count, (object->size - type->size) / type->element_size);
  if (type->data_size && !check_data(check, object))
    return false;
  return object->dead || check_link(check, object);
}

static const tarn_type **known_place(struct check *check, const tarn_type *type) {
  uint64_t mixed = (uintptr_t)type * (uint64_t)0x9e3779b97f4a7c15u;
  return &check->known[(mixed >> 32) & (KNOWN_TYPES - 1)];
}

/* One walk of the directory for all that wait.  It follows no word that an object holds. */
static bool check_pending(struct check *check) {
  const tarn_type *type;
  unsigned count = check->pending_count;
  check->pending_count = 0;
  if (count == 0)
    return true;
  tarn_rcu_read_lock();
  cds_list_for_each_entry_rcu(type, &check->world->types.list, node) {
    for (unsigned i = 0; i < count; i++)
      check->pending[i].known = check->pending[i].known || check->pending[i].type == type;
  }
  tarn_rcu_read_unlock();
  for (unsigned i = 0; i < count; i++) {
    const struct pending *object = &check->pending[i];
    if (!object->known)
      return wrong(check, "block %p (pool %p): its first word %p is not a type of the world",
                   (void *)object->block,
                   (void *)(object->block & ~(uintptr_t)(TARN_UNIT_SIZE - 1)),
                   (const void *)object->type);
    *known_place(check, object->type) = object->type;
    if (!check_object(check, object))
      return false;
  }
  return true;
}

static bool add_object(struct check *check, uintptr_t block, size_t size, unsigned flavour,
                       bool dead) {
  struct pending object = {.block = block,
                           .size = size,
                           .dead = dead,
                           .flavour = (uint8_t)flavour,
                           .type = tarn_type_of((const void *)block)};
  if (flavour == TARN_FLAVOUR_RAW)
    return true;
  if (object.type && *known_place(check, object.type) == object.type)
    return check_object(check, &object);
  check->pending[check->pending_count++] = object;
  return check->pending_count < PENDING || check_pending(check);
}

/* --- 5b. blocks ------------------------------------------------------------------------------ */

/* What one pool's blocks came to. */
struct tally {
  unsigned in_use;    /* blocks in use, or dead and not released yet */
  unsigned releasing; /* dead ones whose function runs */
  unsigned dead;
  unsigned piece;      /* cleared for a bin and not handed out yet */
  unsigned free_below; /* below the cursor, free by their first word */
  unsigned free_above; /* beyond it, free by their first word, but marked */
};

static bool check_dead(const struct check *check, const struct tarn_pool *pool, uintptr_t block,
                       struct tally *tally) {
  tally->dead++;
  tally->releasing += *tarn_mark_byte(block) == TARN_MARK_RELEASING;
  return pool->list == TARN_LIST_CONDEMNED ||
         wrong(check, "block %p (pool %p) is condemned, but its pool's list state is %u",
               (void *)block, base_of(pool), pool->list);
}

static bool check_block(struct check *check, const struct tarn_pool *pool, uintptr_t block,
                        uintptr_t bump, struct tally *tally) {
  uint8_t byte = check->store->tables ? *tarn_mark_byte(block) : 0;
  size_t at = block - tarn_pool_base(pool), size = tarn_pool_block_size(pool);
  tarn_kind kind = tarn_flavour_kind((tarn_flavour)pool->flavour);
  bool below = at < pool->own.cursor, dead = tarn_mark_is_dead(byte);
  if (pool->list == TARN_LIST_UNSWEPT && byte != check->store->epoch)
    return true; /* garbage, whatever its byte says */
  if (!is_mark(check, byte))
    return wrong(check, "block %p (pool %p): mark byte %u: expected 0, %u, %u or %u", (void *)block,
                 base_of(pool), byte, check->store->epoch, TARN_MARK_CONDEMNED,
                 TARN_MARK_RELEASING);
  if (below && bump && block >= bump) {
    tally->piece++;
    return true;
  }
  if (!below && byte == TARN_MARK_NONE)
    return true; /* garbage, or never handed out */
  if (at + size > pool->own.virgin)
    return wrong(check, "block %p (pool %p) is marked, but beyond the virgin limit %u",
                 (void *)block, base_of(pool), pool->own.virgin);
  if (dead && !check_dead(check, pool, block, tally))
    return false;
  if (!dead && *(const uintptr_t *)block == tarn_free_key(kind, (const void *)block)) {
    tally->free_below += below;
    tally->free_above += !below;
    return true;
  }
  tally->in_use++;
  return add_object(check, block, size, pool->flavour, dead);
}

/* Only block starts carry marks.  Blocks are at least 16 bytes, so each has a byte of its own. */
static bool check_pool_marks(const struct check *check, const struct tarn_pool *pool) {
  uintptr_t base = tarn_pool_base(pool), next = base;
  size_t size = tarn_pool_block_size(pool);
  if (!check->store->tables)
    return true;
  for (unsigned i = 0; i < pool->capacity; i++) {
    uintptr_t granule = (base + i * size) & ~(uintptr_t)15;
    if (!check_no_marks(check, next, granule, "where no block starts"))
      return false;
    next = granule + 16;
  }
  return check_no_marks(check, next, base + TARN_UNIT_SIZE, "where no block starts");
}

#if TARN_CHECKING
/* Checking builds fill free blocks, so that a late write to them shows. */
static bool check_poison(const struct check *check, const struct tarn_pool *pool, uintptr_t block) {
  const unsigned char *bytes = (const unsigned char *)block;
  for (size_t i = 2 * sizeof(uintptr_t); i < tarn_pool_block_size(pool); i++)
    if (bytes[i] != TARN_POISON)
      return wrong(check, "free block %p (pool %p) was written to: byte %zu is %#x: expected %#x",
                   (void *)block, base_of(pool), i, bytes[i], (unsigned)TARN_POISON);
  return true;
}
#else
static bool check_poison(const struct check *check, const struct tarn_pool *pool, uintptr_t block) {
  (void)check, (void)pool, (void)block;
  return true;
}
#endif

/* A block on a list of free ones; `list` is its name. */
static bool check_free_block(const struct check *check, const struct tarn_pool *pool,
                             uintptr_t block, const char *list) {
  size_t at = block - tarn_pool_base(pool), size = tarn_pool_block_size(pool);
  tarn_kind kind = tarn_flavour_kind((tarn_flavour)pool->flavour);
  if (at >= size * pool->capacity || at % size != 0)
    return wrong(check, "pool %p: %s leads to %p, which is no block of it", base_of(pool), list,
                 (void *)block);
  uintptr_t word = *(const uintptr_t *)block, key = tarn_free_key(kind, (const void *)block);
  if (word != key)
    return wrong(check, "block %p (pool %p) is on %s, but its first word is %p: expected %p",
                 (void *)block, base_of(pool), list, (void *)word, (void *)key);
  return check_poison(check, pool, block);
}

static bool check_free_list(const struct check *check, const struct tarn_pool *pool, uintptr_t bump,
                            unsigned *count) {
  uintptr_t block = (uintptr_t)pool->own.free;
  for (; block; block = (uintptr_t)tarn_block_next((void *)block)) {
    if (!check_free_block(check, pool, block, "its free list"))
      return false;
    if (block - tarn_pool_base(pool) >= pool->own.cursor || (bump && block >= bump))
      return wrong(check,
                   "block %p (pool %p) is on the free list, but not below the bin's run or "
                   "the cursor %u",
                   (void *)block, base_of(pool), pool->own.cursor);
    if (check->store->tables && *tarn_mark_byte(block) != TARN_MARK_NONE)
      return wrong(check, "block %p (pool %p) is on the free list, but has mark byte %u",
                   (void *)block, base_of(pool), *tarn_mark_byte(block));
    if (++*count > pool->capacity)
      return wrong(check, "pool %p: its free list has a cycle", base_of(pool));
  }
  return true;
}

/* Frees by other threads were brought home when the world stopped; a parked pool's wait. */
static bool check_remote(const struct check *check, const struct tarn_pool *pool, unsigned *count) {
  const _Atomic uint64_t *bits = tarn_remote_bits(tarn_pool_unit(pool));
  unsigned set = 0;
  *count = atomic_load_explicit(&pool->remote, memory_order_relaxed);
  for (unsigned i = 0; i < TARN_REMOTE_WORDS; i++) {
    uint64_t word = atomic_load_explicit(&bits[i], memory_order_relaxed);
    set += (unsigned)__builtin_popcountll(word);
    if (word && (!pool->parked || i * 64 + 63u - (unsigned)__builtin_clzll(word) >= pool->capacity))
      return wrong(check, "pool %p: word %u of its remote bits is %#llx", base_of(pool), i,
                   (unsigned long long)word);
  }
  if (*count != set)
    return wrong(check, "pool %p: %u remote bits are set, but %u were counted", base_of(pool), set,
                 *count);
  return pool->parked == (*count != 0) ||
         wrong(check, "pool %p: %u blocks freed by others were not taken back", base_of(pool),
               *count);
}

static bool check_tally(const struct check *check, const struct tarn_pool *pool,
                        const struct tally *tally, uintptr_t bump) {
  unsigned on_free = 0, remote = 0;
  if (!check_free_list(check, pool, bump, &on_free) || !check_remote(check, pool, &remote))
    return false;
  /* Those that are parked have no free list to be on yet. */
  unsigned parked = pool->own.cursor != 0 ? remote : 0;
  if (tally->free_below != on_free + parked)
    return wrong(check,
                 "pool %p: %u blocks below the cursor are free by their first word, but %u are on "
                 "the free list, and %u were freed by others",
                 base_of(pool), tally->free_below, on_free, parked);
  if (tally->free_above > remote)
    return wrong(check,
                 "pool %p: %u marked blocks are free by their first word, but others freed %u",
                 base_of(pool), tally->free_above, remote);
  unsigned piece = tally->piece;
  if (pool->list == TARN_LIST_CURRENT && pool->flavour == TARN_FLAVOUR_RAW) /* beyond the cursor */
    piece = (unsigned)((size_t)(pool->bin->head.limit - pool->bin->head.bump) /
                       tarn_pool_block_size(pool));
  unsigned used = tally->in_use + piece + tally->free_above + parked;
  if (pool->list == TARN_LIST_UNSWEPT ? tarn_pool_used(pool) < used : tarn_pool_used(pool) != used)
    return wrong(check,
                 "pool %p: used is %u: expected %u (%u in use, of these %u condemned; %u in the "
                 "bin's piece, %u freed by others)",
                 base_of(pool), tarn_pool_used(pool), used, tally->in_use, tally->dead, piece,
                 tally->free_above);
  return true;
}

static bool check_condemned_pool(const struct check *check, const struct tarn_pool *pool,
                                 const struct tally *tally) {
  bool listed = pool->next != NULL;
  if (pool->list != TARN_LIST_CONDEMNED)
    return true;
  if (listed && (tally->releasing != 0 || tally->dead == 0))
    return wrong(check,
                 "pool %p waits for `free` functions, but has %u condemned blocks, and of "
                 "%u the function runs",
                 base_of(pool), tally->dead, tally->releasing);
  return listed || tally->releasing == 1 ||
         wrong(check, "pool %p is condemned and on no list, but nobody works on it", base_of(pool));
}

static bool check_pool_blocks(struct check *check, size_t unit) {
  const struct tarn_pool *pool = &tarn_space.pools[unit];
  if (!is_pool_unit(check, unit))
    return true;
  uintptr_t base = tarn_pool_base(pool), bump = tarn_walk_bump(pool);
  size_t size = tarn_pool_block_size(pool);
  struct tally tally = {0};
  for (unsigned i = 0; i < pool->capacity; i++)
    if (!check_block(check, pool, base + i * size, bump, &tally))
      return false;
  uintptr_t beyond = base + pool->own.virgin;
  uintptr_t last = looked_at(beyond, base + TARN_UNIT_SIZE), at = first_not_zero(beyond, last);
  if (at < last)
    return wrong(check, "pool %p: byte %zu, beyond the virgin limit %u, is not zero", base_of(pool),
                 (size_t)(at - base), pool->own.virgin);
  return check_pool_marks(check, pool) && check_tally(check, pool, &tally, bump) &&
         check_condemned_pool(check, pool, &tally);
}

/* A first word of zero: not an object yet, or no more (after a fork). */
static bool check_large_objects(struct check *check) {
  for (unsigned i = 0; i < tarn_store_heap_limit(check->store); i++) {
    struct tarn_heap *heap = tarn_store_heap(check->store, i);
    const struct tarn_large *large;
    if (!heap)
      continue;
    cds_list_for_each_entry(large, &heap->larges, node) {
      bool dead = check->store->tables && tarn_mark_is_dead(*tarn_mark_byte(large->base));
      if ((dead || *(const uintptr_t *)large->base) &&
          !add_object(check, large->base, large->bytes, large->flavour, dead))
        return false;
    }
  }
  return true;
}

static bool check_blocks(struct check *check) {
  return each_unit(check, check_pool_blocks) && check_large_objects(check) && check_pending(check);
}

/* --- 6. counters ----------------------------------------------------------------------------- */

static bool check_count(const struct check *check, const char *name, size_t found,
                        size_t expected) {
  return found == expected ||
         wrong(check, "the counter `%s` is %zu: expected %zu", name, found, expected);
}

static bool check_counters(struct check *check) {
  const struct tarn_store *store = check->store;
  const struct tarn_collector *collector = check->world->collector;
  size_t pending = 0;
  for (unsigned i = 0; i < tarn_store_heap_limit(store); i++) {
    const struct tarn_heap *heap = tarn_store_heap(store, i);
    pending += check->condemned[i];
    /* Relaxed, all of them: the world is stopped. */
    if (heap && !check_count(check, "condemned of a heap",
                             atomic_load_explicit(&heap->condemned, memory_order_relaxed),
                             check->condemned[i]))
      return false;
  }
  return check_count(check, "pending",
                     atomic_load_explicit(&collector->release.pending, memory_order_relaxed),
                     pending) &&
         check_count(check, "unswept", atomic_load_explicit(&store->unswept, memory_order_relaxed),
                     check->unswept) &&
         check_count(check, "pools", atomic_load_explicit(&store->pools, memory_order_relaxed),
                     check->pools) &&
         check_count(check, "larges", atomic_load_explicit(&store->larges, memory_order_relaxed),
                     check->larges) &&
         check_count(check, "bytes", atomic_load_explicit(&store->bytes, memory_order_relaxed),
                     check->pools * TARN_UNIT_SIZE + check->larges_bytes);
}

/* --- the whole ------------------------------------------------------------------------------- */

bool tarn_verify_stopped(tarn_world *world, char *message, size_t size) {
  struct check check = {.world = world, .store = &world->store, .message = message, .size = size};
  if (message && size)
    message[0] = '\0';
  tarn_tools_hush(true);
  tarn_store_walk_begin(&world->store);
  bool good = check_arenas(&check) && check_heaps(&check) && check_unit_counts(&check) &&
              each_unit(&check, check_descriptor) && check_lists(&check) && check_blocks(&check) &&
              check_counters(&check);
  tarn_store_walk_end(&world->store);
  tarn_tools_hush(false);
  return good;
}

tarn_status tarn_verify(tarn_thread *self, char *message, size_t size) {
  tarn_status status = tarn_thread_check_running(self);
  if (status != TARN_OK)
    return status;
  if (self->tarn_holds)
    return TARN_EHELD;
  struct tarn_mutator *mutator = tarn_mutator_of(self);
  tarn_stop_begin_always(mutator->world, mutator);
  bool good = tarn_verify_stopped(mutator->world, message, size);
  tarn_stop_end(mutator->world, mutator);
  return good ? TARN_OK : TARN_ECORRUPT;
}
