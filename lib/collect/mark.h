/* SPDX-License-Identifier: MIT */
/*
 * collect/mark.h: marking.
 *
 * The mark stack holds candidates: words that were seen in slots, lie in the heap range and may
 * name an object.  They leave it in batches, which go through three steps, so that what one of them
 * reads was fetched by those before.  The first step fetches the mark bytes.  The second looks each
 * candidate up, drops those that are marked or name nothing, writes the mark bytes
 * of the others, and fetches the objects that have to be scanned.  The third, one batch later,
 * scans them: their words become candidates.  Objects that the last collection did not mark are
 * new, or free, which only a look at them tells: the third step marks them.
 *
 * In a collection of generation 0 or 1 the objects that are not to be collected are marked from the
 * start, by the collections before (sticky marks).
 *
 * The stack lives in pages of its own and grows up to a limit.  When it cannot grow, a candidate is
 * looked up and marked at once but not scanned, and its pool is noted (`overflow`); after the drain
 * the marked objects of noted pools are scanned again, until none is noted.  There is no recursion.
 *
 * A marker belongs to one thread, while the world is stopped: the collecting one's to that, those
 * of helpers to them (collect/markers.h).  Mark bytes are read and written by all of them, relaxed:
 * two that find an object at the same time may both mark and scan it, which does no harm.  So may a
 * trace function run for one object twice, and at the same time.  Weak references and ephemerons,
 * whose scan changes lists, are met under a lock, and the second to come finds them met.
 */
#ifndef TARN_COLLECT_MARK_H
#define TARN_COLLECT_MARK_H

#include "collect/scan.h"

#define TARN_BATCH ((size_t)24) /* candidates in one step of the drain */

struct tarn_marker {
  struct tarn_visits visits; /* must be first; what the program's functions visit */
  struct tarn_store *store;
  tarn_world *world;
  uint8_t epoch;    /* what a block carries that lives for good: the world's epoch afterwards */
  uint8_t mark;     /* what is being written: the epoch, or, in generation 0, SURVIVED */
  uint8_t previous; /* the world's epoch before; 0 in the first collection */
  bool trusts;      /* what a slot names is in use: the program counts references */
  uintptr_t tag_mask;
  uintptr_t *stack;
  size_t low, depth, capacity, limit; /* in entries; those from low on are there; limit 0: none */
  bool overflow;                      /* some pool or large object is noted */
  uint64_t overflows;
  uint64_t marked;       /* objects that it marked; one that two markers met at once counts twice */
  uint64_t marked_bytes; /* of these the blocks of pools */
  uint32_t until_share;  /* objects to scan before tarn_markers_share */
  bool helps;            /* it is a helper's */
  uint64_t parcels;      /* that it took, in the running collection; read when nobody works */
};

/* Does a mark byte say that the block lives, for this collection? */
static inline bool tarn_marker_says(const struct tarn_marker *marker, uint8_t byte) {
  return byte == marker->epoch || byte == marker->mark;
}

tarn_status tarn_marker_start(struct tarn_marker *marker, tarn_world *world, size_t limit_bytes);
void tarn_marker_end(struct tarn_marker *marker);

/*
 * What an exact slot holds becomes a candidate: any word.  It is marked when the drain comes to it,
 * or now if the stack is full.
 */
void tarn_mark_word(struct tarn_marker *marker, uintptr_t word);

/* The same for a word that may point anywhere into an object. */
void tarn_mark_conservative(struct tarn_marker *marker, uintptr_t word);

/* Scans until nothing is left, ephemerons apart.  For the collecting thread: helpers may join. */
void tarn_mark_drain(struct tarn_marker *marker);

/* The same for one marker's stack; for collect/markers.c. */
void tarn_mark_drain_stack(struct tarn_marker *marker);

/* Takes up to `most` of the oldest entries off the stack, at most half of them; returns how many.
 */
size_t tarn_mark_give(struct tarn_marker *marker, uintptr_t *entries, size_t most);

/* Puts them on another marker's stack, which is empty. */
void tarn_mark_take(struct tarn_marker *marker, const uintptr_t *entries, size_t count);

/* Marks everything that the world's roots name. */
void tarn_mark_roots(struct tarn_marker *marker);

/* Keeps the block at `address` until the next full collection, if it is not freed. */
void tarn_mark_keep(struct tarn_marker *marker, uintptr_t address);

#endif
