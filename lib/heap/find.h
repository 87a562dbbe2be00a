/* SPDX-License-Identifier: MIT */
/*
 * heap/find.h: from any machine word to the block it names, in constant time.
 *
 * Three steps, each enough to say no: the word is in the reserved range; its unit's map word is of
 * this world; the offset is that of a block.  None of them touches the block, so wild words are
 * safe.  Whether the block is in use is a fourth question: tarn_pool_in_use.
 */
#ifndef TARN_HEAP_FIND_H
#define TARN_HEAP_FIND_H

#include "heap/heap.h"

struct tarn_place {
  uintptr_t block; /* its start */
  size_t size;     /* of the block */
  uint64_t map;    /* the map word of its (first) unit */
};

bool tarn_find_large(size_t unit, uintptr_t word, bool interior, struct tarn_place *place);

/* The block that `word` points to (or into, with `interior`).  Geometry only.  Any thread. */
static inline bool tarn_find(unsigned world, uintptr_t word, bool interior,
                             struct tarn_place *place) {
  if (!tarn_space_holds(word))
    return false;
  size_t unit = tarn_unit_of(word);
  uint64_t map = tarn_map_get(unit);
  if (tarn_map_world(map) != world)
    return false;
  if (TARN_LIKELY(tarn_map_form(map) == TARN_FORM_POOL)) {
    size_t size = tarn_map_block_size(map);
    size_t offset = word & (TARN_UNIT_SIZE - 1);
    size_t start = tarn_block_index(map, offset) * size;
    if ((start != offset && !interior) || start + size > TARN_UNIT_SIZE)
      return false;
    place->block = word - offset + start;
    place->size = size;
    place->map = map;
    return true;
  }
  return tarn_find_large(unit, word, interior, place);
}

/*
 * Where the mark byte of `word` says that a block starts in its 16 bytes: does one start at the
 * word itself?  At most one start of a pool's blocks is among them, so the question is whether the
 * offset is a multiple of the block size: just these have products with the rounded reciprocal that
 * are below it, modulo 2^32.  Large objects have the number of units in its place, which lets
 * nothing pass but the start that has the byte.
 */
static inline bool tarn_starts_block(uint64_t map, uintptr_t word) {
  return tarn_inline_is_start((uint32_t)(word & (TARN_UNIT_SIZE - 1)), tarn_map_low(map));
}

/*
 * Does a block start at that offset of a unit with that map word, whatever the mark bytes say?
 * `*index`: which one of the unit's; that of a large object is 0.  One product tells both: see
 * tarn_inline_is_start.
 */
static inline bool tarn_starts_exactly(uint64_t map, uint32_t offset, uint32_t *index) {
  uint64_t product = (uint64_t)offset * tarn_map_low(map);
  *index = (uint32_t)(product >> 32);
  if (TARN_LIKELY(tarn_map_form(map) == TARN_FORM_POOL)) /* not behind the last one either */
    return (uint32_t)product < tarn_map_low(map) &&
           offset + tarn_map_block_size(map) <= TARN_UNIT_SIZE;
  return tarn_map_form(map) == TARN_FORM_LARGE && offset == 0;
}

/* The heap of the block; the caller knows that it is in use. */
static inline struct tarn_heap *tarn_heap_of(const struct tarn_place *place) {
  return tarn_pool_of(place->block)->heap; /* also of the first unit of a large object */
}

/* Is the block at `place` in use?  `epoch` is the store's; see tarn_pool_in_use for who may ask. */
bool tarn_place_in_use(const struct tarn_place *place, uint8_t epoch);

#endif
