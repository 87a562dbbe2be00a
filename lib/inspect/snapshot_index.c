/* SPDX-License-Identifier: MIT */
/*
 * inspect/snapshot_index.c: numbers for all blocks of the world; see snapshot.h.
 *
 * A block's number is its rank: how many blocks in use lie below it.  Each pool has a row for 64
 * blocks of it: a bit for each that is in use, and how many are in the rows before.  So a number
 * takes a look at three small tables, and half a byte of memory a block, rather than a table of all
 * blocks.
 *
 * Ids.  A viewer compares two snapshots by the ids of their nodes, which are the same if it is the
 * same object.  Nothing here moves objects, so where an object lies tells which one it is, but for
 * those that took the place of a dead one.  An id is the number of the 16 bytes in the heap range
 * in which the block begins; no two blocks begin in the same.  Ids of 32 bits reach for the first
 * 63.8 GiB of the range; a world that has an arena beyond gets ids in the order of its blocks.
 */
#include "inspect/snapshot.h"
#include <string.h>

#define UNITS_MASK (TARN_ARENA_UNITS - 1)
#define GRANULES_SHIFT (TARN_ARENA_SHIFT - TARN_GRANULE_SHIFT)
/* Ids below are those of nodes that are no blocks. */
#define ARENAS_BEFORE ((size_t)8)
#define ARENAS_MOST ((UINT64_C(1) << (32 - GRANULES_SHIFT)) - ARENAS_BEFORE)

/* --- types ----------------------------------------------------------------------------------- */

/* All of it, in pages that begin with it. */
struct tarn_snapshot_types {
  size_t bytes, slots;     /* slots: a power of two */
  const tarn_type **types; /* a hash table by address */
  uint32_t *names;         /* of these types */
  uint32_t *by_text;       /* a hash table by name: number of the name, from 1 */
  const char **unique;     /* the names, each once */
  size_t count;            /* of them */
};

static size_t slot_of(const struct tarn_snapshot_types *types, const tarn_type *type) {
  return (size_t)((uintptr_t)type * UINT64_C(0x9e3779b97f4a7c15) >> 32) & (types->slots - 1);
}

static uint64_t hash_text(const char *text) {
  uint64_t hash = UINT64_C(0xcbf29ce484222325);
  for (; *text; text++)
    hash = (hash ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
  return hash ^ hash >> 32;
}

/* A viewer puts objects together whose names are the same string. */
static uint32_t number_name(struct tarn_snapshot_types *types, const char *name) {
  size_t i = (size_t)hash_text(name) & (types->slots - 1);
  for (; types->by_text[i]; i = (i + 1) & (types->slots - 1))
    if (strcmp(types->unique[types->by_text[i] - 1], name) == 0)
      return TARN_TEXTS + types->by_text[i] - 1;
  types->unique[types->count++] = name;
  types->by_text[i] = (uint32_t)types->count;
  return TARN_TEXTS + (uint32_t)types->count - 1;
}

static void add_type(struct tarn_snapshot_types *types, const tarn_type *type) {
  size_t i = slot_of(types, type);
  while (types->types[i])
    i = (i + 1) & (types->slots - 1);
  types->types[i] = type;
  types->names[i] = number_name(types, type->name);
}

static struct tarn_snapshot_types *make_types(size_t count) {
  size_t slots = 64;
  while (slots < count * 2)
    slots *= 2;
  size_t each = sizeof(const tarn_type *) + 2 * sizeof(uint32_t) + sizeof(const char *);
  size_t bytes = sizeof(struct tarn_snapshot_types) + slots * each;
  struct tarn_snapshot_types *types = tarn_os_map(bytes);
  if (!types)
    return NULL;
  types->bytes = bytes;
  types->slots = slots;
  types->types = (const tarn_type **)(void *)(types + 1);
  types->unique = (const char **)(void *)(types->types + slots);
  types->names = (uint32_t *)(void *)(types->unique + slots);
  types->by_text = types->names + slots;
  return types;
}

/* Under the lock: threads that are not attached may make types meanwhile. */
static void gather_types(struct tarn_snapshot *snapshot) {
  struct tarn_types *types = &snapshot->world->types;
  const tarn_type *type;
  (void)pthread_mutex_lock(&types->lock);
  snapshot->types = make_types(atomic_load_explicit(&types->count, memory_order_relaxed));
  if (!snapshot->types)
    snapshot->status = TARN_ENOMEM;
  else
    cds_list_for_each_entry(type, &types->list, node) add_type(snapshot->types, type);
  (void)pthread_mutex_unlock(&types->lock);
}

uint32_t tarn_snapshot_type_name(const struct tarn_snapshot *snapshot, const tarn_type *type) {
  const struct tarn_snapshot_types *types = snapshot->types;
  size_t i = slot_of(types, type);
  for (; types->types[i]; i = (i + 1) & (types->slots - 1))
    if (types->types[i] == type)
      return types->names[i];
  return TARN_TEXT_UNKNOWN;
}

size_t tarn_snapshot_type_names(const struct tarn_snapshot *snapshot, const char *const **names) {
  *names = snapshot->types->unique;
  return snapshot->types->count;
}

/* --- arenas and rows ------------------------------------------------------------------------- */

static size_t arena_of(uintptr_t address) {
  return (address - tarn_space.base) >> TARN_ARENA_SHIFT;
}

/* Numbers them; they can only become fewer, for free units may be given back meanwhile. */
static void number_arenas(struct tarn_snapshot *snapshot) {
  struct tarn_store *store = &snapshot->world->store;
  uint32_t number = 0;
  tarn_store_walk_begin(store);
  for (const struct tarn_arena *arena = store->arenas; arena; arena = arena->next)
    for (size_t i = 0; i < arena->units / TARN_ARENA_UNITS; i++) {
      size_t at = arena_of(arena->base) + i;
      snapshot->arenas[at] = ++number;
      snapshot->sequential = snapshot->sequential || at >= ARENAS_MOST;
    }
  tarn_store_walk_end(store);
  snapshot->arena_count = number;
}

static uint32_t *unit_slot(const struct tarn_snapshot *snapshot, size_t unit) {
  uint32_t arena = snapshot->arenas[unit / TARN_ARENA_UNITS];
  return arena ? &snapshot->units[(arena - 1) * TARN_ARENA_UNITS + (unit & UNITS_MASK)] : NULL;
}

/* So many blocks; rows come later, in the order of addresses. */
static void note_blocks(struct tarn_snapshot *snapshot, size_t unit, size_t blocks) {
  uint32_t *slot = unit_slot(snapshot, unit);
  if (!slot || !blocks)
    return;
  *slot = (uint32_t)blocks;
  snapshot->row_count += (blocks + 63) / 64;
}

static void note_pool(struct tarn_pool *pool, void *data) {
  note_blocks(data, tarn_pool_unit(pool), pool->capacity);
}

static void note_larges(struct tarn_snapshot *snapshot, const struct tarn_heap *heap) {
  const struct tarn_large *large;
  cds_list_for_each_entry(large, &heap->larges, node)
      note_blocks(snapshot, tarn_unit_of(large->base), 1);
}

static void give_rows(struct tarn_snapshot *snapshot) {
  size_t arenas = tarn_space.size >> TARN_ARENA_SHIFT, next = 0;
  for (size_t i = 0; i < arenas; i++)
    for (size_t j = 0; snapshot->arenas[i] && j < TARN_ARENA_UNITS; j++) {
      size_t unit = i * TARN_ARENA_UNITS + j;
      uint32_t *slot = unit_slot(snapshot, unit), blocks = *slot;
      if (blocks == 0)
        continue;
      *slot = (uint32_t)next + 1;
      for (uint32_t k = 0; k < blocks; k += 64)
        snapshot->rows[next++].unit = (uint32_t)unit;
    }
}

static void make_rows(struct tarn_snapshot *snapshot) {
  struct tarn_store *store = &snapshot->world->store;
  tarn_store_each_pool(store, note_pool, snapshot);
  for (unsigned i = 0; i < tarn_store_heap_limit(store); i++)
    if (tarn_store_heap(store, i))
      note_larges(snapshot, tarn_store_heap(store, i));
  snapshot->rows = tarn_os_map((snapshot->row_count + 1) * sizeof *snapshot->rows);
  if (snapshot->rows)
    give_rows(snapshot);
  else
    snapshot->status = TARN_ENOMEM;
}

/* The row of the block that begins at an offset of a unit, and its bit there; NULL: none. */
static struct tarn_block_row *row_of(const struct tarn_snapshot *snapshot, uintptr_t block,
                                     uint64_t map, uint64_t *bit) {
  const uint32_t *slot = unit_slot(snapshot, tarn_unit_of(block));
  size_t index = tarn_map_form(map) == TARN_FORM_POOL
                     ? tarn_block_index(map, block & (TARN_UNIT_SIZE - 1))
                     : 0;
  if (!slot || *slot == 0)
    return NULL;
  *bit = (uint64_t)1 << (index % 64);
  return &snapshot->rows[*slot - 1 + index / 64];
}

/* --- which blocks are in use ----------------------------------------------------------------- */

static void note_data_block(struct tarn_snapshot *snapshot, const uintptr_t *words,
                            const tarn_type *type) {
  uint64_t bit;
  const uintptr_t *data = tarn_scan_data_block(type, words);
  if (!data)
    return;
  uint64_t map = tarn_map_get(tarn_unit_of((uintptr_t)data));
  struct tarn_block_row *row = row_of(snapshot, (uintptr_t)data, map, &bit);
  if (row)
    row->data |= bit;
}

/* Garbage of a collection of cycles, which is being given back with the world running. */
static bool is_cycle_trash(const struct tarn_snapshot *snapshot, const struct tarn_place *place) {
  const tarn_world *world = snapshot->world;
  size_t unit = tarn_unit_of(place->block);
  if (!world->config.counting || !tarn_refs_parts || tarn_refs_part(unit) == 0)
    return false;
  size_t index = tarn_map_form(place->map) == TARN_FORM_POOL
                     ? tarn_block_index(place->map, place->block & (TARN_UNIT_SIZE - 1))
                     : 0;
  return tarn_refs_of_unit(&world->collector->cycles.refs, unit)[index] >= TARN_REFS_TRASH;
}

/* Where references are counted: nobody has one, so it is being given back, and its slots are not to
 * be trusted any more. */
static bool is_uncounted(const struct tarn_snapshot *snapshot, const struct tarn_place *place,
                         const tarn_type *type) {
  return snapshot->world->config.counting && tarn_type_counts(type) &&
         tarn_refs_of_object(type, (const void *)place->block) == 0;
}

static void look_at_object(struct tarn_snapshot *snapshot, const struct tarn_walked *walked,
                           struct tarn_block_row *row, uint64_t bit) {
  const tarn_type *type = tarn_type_of((const void *)walked->place.block);
  if (tarn_snapshot_type_name(snapshot, type) == TARN_TEXT_UNKNOWN)
    return;
  if (type->data_size)
    note_data_block(snapshot, (const uintptr_t *)walked->place.block, type);
  if (walked->condemned || is_cycle_trash(snapshot, &walked->place) ||
      is_uncounted(snapshot, &walked->place, type))
    row->dead |= bit;
  else
    snapshot->ephemerons += type->scan == TARN_SCAN_EPHEMERON;
}

static bool look_at(const struct tarn_walked *walked, void *data) {
  struct tarn_snapshot *snapshot = data;
  uint64_t bit;
  struct tarn_block_row *row = row_of(snapshot, walked->place.block, walked->place.map, &bit);
  if (!row)
    return true;
  row->used |= bit;
  if (tarn_map_kind(walked->place.map) != TARN_KIND_RAW)
    look_at_object(snapshot, walked, row, bit);
  if (!walked->pool)
    snapshot->rests += tarn_snapshot_rests(walked->place.size);
  return true;
}

/* --- putting it together --------------------------------------------------------------------- */

static void sum_rows(struct tarn_snapshot *snapshot) {
  uint64_t sum = 0;
  for (size_t i = 0; i < snapshot->row_count; i++) {
    struct tarn_block_row *row = &snapshot->rows[i];
    row->before = (uint32_t)sum;
    sum += (unsigned)__builtin_popcountll(row->used);
    snapshot->dead += (unsigned)__builtin_popcountll(row->dead);
    if (sum > TARN_NODES_MOST)
      snapshot->status = TARN_EOVERFLOW;
  }
  snapshot->blocks = (uint32_t)sum;
}

static size_t arenas_bytes(void) {
  return (tarn_space.size >> TARN_ARENA_SHIFT) * sizeof(uint32_t);
}
static size_t units_bytes(const struct tarn_snapshot *snapshot) {
  return (snapshot->arena_count + 1) * TARN_ARENA_UNITS * sizeof(uint32_t);
}

void tarn_snapshot_index(struct tarn_snapshot *snapshot) {
  snapshot->arenas = tarn_os_map(arenas_bytes());
  if (!snapshot->arenas) {
    snapshot->status = TARN_ENOMEM;
    return;
  }
  number_arenas(snapshot);
  snapshot->units = tarn_os_map(units_bytes(snapshot));
  if (!snapshot->units) {
    snapshot->status = TARN_ENOMEM;
    return;
  }
  gather_types(snapshot);
  if (snapshot->status == TARN_OK)
    make_rows(snapshot);
  if (snapshot->status != TARN_OK)
    return;
  (void)tarn_walk_stopped(snapshot->world, look_at, snapshot);
  sum_rows(snapshot);
}

void tarn_snapshot_index_drop(struct tarn_snapshot *snapshot) {
  if (snapshot->rows)
    tarn_os_unmap(snapshot->rows, (snapshot->row_count + 1) * sizeof *snapshot->rows);
  if (snapshot->types)
    tarn_os_unmap(snapshot->types, snapshot->types->bytes);
  if (snapshot->units)
    tarn_os_unmap(snapshot->units, units_bytes(snapshot));
  if (snapshot->arenas)
    tarn_os_unmap(snapshot->arenas, arenas_bytes());
}

/* --- for the others -------------------------------------------------------------------------- */

uint32_t tarn_snapshot_find(const struct tarn_snapshot *snapshot, uintptr_t word, bool interior) {
  struct tarn_place place;
  uint64_t bit;
  if (!interior) /* as the marker */
    word &= ~snapshot->world->tag_mask;
  if (!tarn_find(snapshot->world->store.id, word, interior, &place))
    return 0;
  const struct tarn_block_row *row = row_of(snapshot, place.block, place.map, &bit);
  if (!row || !(row->used & bit))
    return 0;
  return snapshot->first_block + row->before +
         (uint32_t)__builtin_popcountll(row->used & (bit - 1));
}

uint32_t tarn_snapshot_id(const struct tarn_snapshot *snapshot, uintptr_t base, uint32_t node) {
  uintptr_t granule = (base - tarn_space.base) >> TARN_GRANULE_SHIFT;
  uint32_t first = (uint32_t)ARENAS_BEFORE << GRANULES_SHIFT;
  return first + (snapshot->sequential ? node : (uint32_t)granule);
}

/* What its blocks have in common, and where the first of them lies. */
static struct tarn_snapshot_block row_begin(const struct tarn_snapshot *snapshot,
                                            const struct tarn_block_row *row) {
  uintptr_t unit = tarn_unit_base(row->unit);
  uint64_t map = tarn_map_get(row->unit);
  size_t first = (size_t)(row - snapshot->rows) - (*unit_slot(snapshot, row->unit) - 1);
  size_t size =
      tarn_map_form(map) == TARN_FORM_POOL ? tarn_map_block_size(map) : tarn_large_of(unit)->bytes;
  return (struct tarn_snapshot_block){.base = unit + first * 64 * size,
                                      .size = size,
                                      .node = snapshot->first_block + row->before,
                                      .raw = tarn_map_kind(map) == TARN_KIND_RAW};
}

static void tell_row(struct tarn_snapshot *snapshot, const struct tarn_block_row *row,
                     tarn_snapshot_fn_block fn, void *data) {
  struct tarn_snapshot_block block = row_begin(snapshot, row);
  uintptr_t base = block.base;
  for (uint64_t bits = row->used; bits; bits &= bits - 1, block.node++) {
    uint64_t bit = bits & -bits;
    block.base = base + (unsigned)__builtin_ctzll(bits) * block.size;
    block.dead = row->dead & bit;
    block.data = row->data & bit;
    fn(snapshot, &block, data);
  }
}

void tarn_snapshot_each(struct tarn_snapshot *snapshot, tarn_snapshot_fn_block fn, void *data) {
  for (size_t i = 0; i < snapshot->row_count && snapshot->status == TARN_OK; i++)
    if (snapshot->rows[i].used)
      tell_row(snapshot, &snapshot->rows[i], fn, data);
}

struct tarn_snapshot_block tarn_snapshot_block_of(const struct tarn_snapshot *snapshot,
                                                  uint32_t node) {
  uint32_t rank = node - snapshot->first_block;
  size_t low = 0, high = snapshot->row_count; /* the last row that begins at or before it */
  while (high - low > 1) {
    size_t middle = low + (high - low) / 2;
    if (snapshot->rows[middle].before <= rank)
      low = middle;
    else
      high = middle;
  }
  const struct tarn_block_row *row = &snapshot->rows[low];
  struct tarn_snapshot_block block = row_begin(snapshot, row);
  uint64_t bits = row->used;
  for (uint32_t i = row->before; i < rank; i++)
    bits &= bits - 1;
  block.base += (unsigned)__builtin_ctzll(bits) * block.size;
  block.node = node;
  block.dead = row->dead & bits & -bits;
  block.data = row->data & bits & -bits;
  return block;
}
