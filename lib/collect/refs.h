/* SPDX-License-Identifier: MIT */
/*
 * collect/refs.h: `gc_refs`, an int for each block that a collection of cycles looks at.
 *
 * The ints lie outside of all objects, in one mapping that is made for the collection and goes with
 * it.  Each unit that is looked at has a part of them, as many as it has blocks (a large object has
 * one).  Where it begins a dense table says, of four bytes for each unit of the heap range: so a
 * block's int is found from its address, and four bytes a block is all that they take.  The table
 * is reserved with the first collection of cycles in the process; it is zero for all units that no
 * collection looks at.  A mapping of few ints, as young collections need, is kept for the next one.
 *
 * A unit's entry is written by the collection that looks at it, in its stop; while the world runs,
 * only those of units with garbage are left, and only the collecting thread reads and writes them.
 */
#ifndef TARN_COLLECT_REFS_H
#define TARN_COLLECT_REFS_H

#include "heap/store.h"

struct tarn_refs {
  int32_t *ints; /* the first one is nobody's */
  size_t used, count;
  size_t bytes; /* of the mapping */
};

extern uint32_t *tarn_refs_parts; /* written once, under a lock, before it is used */

/* Makes the table, once a process; false: no memory. */
bool tarn_refs_start(void);

/* Room for `count` ints, all zero; false: no memory. */
bool tarn_refs_make(struct tarn_refs *refs, size_t count);
/* All entries of the table are zero again. */
void tarn_refs_drop(struct tarn_refs *refs);
/* What was kept goes, too. */
void tarn_refs_end(struct tarn_refs *refs);

/* Gives a unit its part. */
void tarn_refs_add(struct tarn_refs *refs, size_t unit, size_t blocks);

/* Relaxed: a word may name a unit of another world, whose entry its collection is writing.  Who
 * finds that there is a part asks the map whose unit it is, before the part is used. */
static inline uint32_t tarn_refs_part(size_t unit) {
  return __atomic_load_n(&tarn_refs_parts[unit], __ATOMIC_RELAXED);
}
static inline void tarn_refs_set_part(size_t unit, uint32_t part) {
  __atomic_store_n(&tarn_refs_parts[unit], part, __ATOMIC_RELAXED);
}
static inline void tarn_refs_take(size_t unit) { tarn_refs_set_part(unit, 0); }

/* The ints of a unit's blocks; it has a part. */
static inline int32_t *tarn_refs_of_unit(const struct tarn_refs *refs, size_t unit) {
  return refs->ints + tarn_refs_part(unit);
}

#endif
