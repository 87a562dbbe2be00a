/* SPDX-License-Identifier: MIT */
/*
 * collect/refs.h: `gc_refs`, an int for each block of the heap range, outside of all objects.
 *
 * A dense table, indexed by the unit and the number of the block in it: 16 KiB of addresses for a
 * unit, of which a pool uses four bytes a block.  It is reserved with the first collection of
 * cycles in the process and can be read everywhere from then on; an arena's part can be written
 * once a collection has asked for it.  All of it is zero between collections, and its memory goes
 * back after full ones.  A unit's part belongs to the collection of cycles that looks at the unit.
 */
#ifndef TARN_COLLECT_REFS_H
#define TARN_COLLECT_REFS_H

#include "heap/store.h"

#define TARN_REFS_OF_UNIT (TARN_UNIT_SIZE >> TARN_GRANULE_SHIFT)

extern int32_t *tarn_refs; /* written once, under a lock, before it is used */

/* Makes all arenas' parts writable; the world is stopped.  False: no memory. */
bool tarn_refs_commit(struct tarn_store *store);

/* Gives all arenas' parts back, which makes them zero; nobody drops arenas meanwhile. */
void tarn_refs_purge(struct tarn_store *store);

/* The ints of a unit's blocks; a large object has the first one of its first unit. */
static inline int32_t *tarn_refs_of_unit(size_t unit) {
  return tarn_refs + unit * TARN_REFS_OF_UNIT;
}

/* The int of the block that starts at `address` in a unit with that map word. */
static inline int32_t *tarn_refs_at(uint64_t map, uintptr_t address) {
  size_t index = tarn_map_form(map) == TARN_FORM_POOL
                     ? tarn_block_index(map, address & (TARN_UNIT_SIZE - 1))
                     : 0;
  return tarn_refs_of_unit(tarn_unit_of(address)) + index;
}

#endif
