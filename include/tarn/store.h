/* SPDX-License-Identifier: MIT */
/*
 * tarn/store.h: storing references into objects, and generations.
 *
 * A world can collect its young objects alone: those that were allocated since the last collection,
 * of whatever generation.  Such a collection does not look at older objects, so it has to be told
 * of every reference that was stored into one since.  That is what the calls here are for.  A
 * program that keeps the rules says so when it makes its world, with TARN_OPTIONS_BARRIERS; in any
 * other world all collections are full ones, and the calls here do nothing but store.
 *
 * The rules.  A reference to an object or block of the world goes into a traced word of an object
 *
 *   - by tarn_store or tarn_store_range; or
 *   - by any store of the program's own (an atomic one, say), with tarn_barrier or
 *     tarn_barrier_range right before or after it, without a safepoint in between; or
 *   - by a plain store, if there was no safepoint since the object was allocated: by
 *     tarn_store_new.  An allocation is a safepoint, so this is for filling an object right after
 *     `tarn_new`.
 *
 * Traced words are the traced slots of the object, of its elements and of its data
 * block, the word that holds the data block itself, and whatever its trace function visits.  A
 * store of NULL, or of a word that names nothing of the world, may do without.  Roots (frames,
 * tarn_root_add, providers) and weak references need nothing.
 *
 * A barrier that is forgotten loses objects.  The option `verify` looks, at each collection, for
 * references that should have been told of, and names the object and the slot of the first one.
 *
 * How it works: the mark byte of the object says whether it is old; if it is, the card of the slot
 * (128 bytes of the heap) becomes dirty, and the next young collection scans the old objects on
 * that card.  Write barriers with cards are due to Sobalvarro (1988) and Hölzle (1993), "sticky"
 * mark bits to Demers and others (1990).
 *
 * Thread rules: `self` is the calling thread, running.  That several threads store into one object,
 * or on one card, at the same time is safe as far as Tarn is concerned; to keep a slot's value
 * whole is the program's business.
 *
 * Errors: in checking builds a barrier on a block of another world aborts; in others it does
 * nothing.  Cost of tarn_store: 5 instructions when the object is young, 11 when it is old and the
 * card is dirty; a call and a look-up for the first store to a card after a collection, and for
 * each store into the data block of an old object, whose own cards are not kept: there
 * tarn_barrier(self, object, object) is as good and inlined.
 */
#ifndef TARN_STORE_H
#define TARN_STORE_H

#include <tarn/inline.h>

TARN_BEGIN_DECLS

/* What the inlined barrier does for an old object whose card is not dirty, and for ranges. */
TARN_API void tarn_barrier_slow(tarn_thread *self, const void *object, const void *slot);

/*
 * A reference was, or is about to be, stored in the word at `slot`, which is part of the object or
 * of its data block; or, if `slot` is `object`, in its data block or anywhere that its trace
 * function visits.  Memory that is not Tarn's is never a `slot`.
 */
static inline void tarn_barrier(tarn_thread *self, const void *object, const void *slot) {
  /* Relaxed, both: the collector writes them in stops; and of two running threads that find a card
   * clean each makes it dirty. */
  uint8_t mark = __atomic_load_n((const uint8_t *)(self->tarn_marks + ((uintptr_t)object >> 4)),
                                 __ATOMIC_RELAXED);
  if (TARN_UNLIKELY(mark != 0) &&
      __atomic_load_n((const uint8_t *)(self->tarn_cards + ((uintptr_t)slot >> 7)),
                      __ATOMIC_RELAXED) == 0)
    tarn_barrier_slow(self, object, slot);
}

/* Stores `value` in a traced word of the object or of its data block. */
static inline void tarn_store(tarn_thread *self, void *object, void **slot, void *value) {
  *slot = value;
  tarn_barrier(self, object, slot);
}

/* The same without a barrier, for an object that was allocated since the last safepoint. */
static inline void tarn_store_new(tarn_thread *self, void *object, void **slot, void *value) {
  (void)self, (void)object;
  *slot = value;
}

/* `count` words from `slot` on, all of the object or all of its data block. */
TARN_API void tarn_barrier_range(tarn_thread *self, const void *object, const void *slot,
                                 size_t count);

/* Copies `count` words to `slot`, which may overlap `from`, as memmove does. */
TARN_API void tarn_store_range(tarn_thread *self, void *object, void **slot, void *const *from,
                               size_t count);

/* Twins for foreign-function users. */
TARN_API void tarn_barrier_outline(tarn_thread *self, const void *object, const void *slot);
TARN_API void tarn_store_outline(tarn_thread *self, void *object, void **slot, void *value);

TARN_END_DECLS

#endif
