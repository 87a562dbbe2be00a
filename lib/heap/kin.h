/* SPDX-License-Identifier: MIT */
/*
 * heap/kin.h: which free units were pools of a class lately.
 *
 * A pool touches its first pages over and over; how many depends on its class and on the program.
 * So a unit that stays with its class stays as small as that, and one that goes from class to class
 * is touched whole in the end.
 *
 * Everything belongs to whoever holds the store's lock.  What is noted is a hint: the unit may have
 * been taken since in any way, or have been purged, and whoever asks gets none that was.
 */
#ifndef TARN_HEAP_KIN_H
#define TARN_HEAP_KIN_H

#include "heap/arena.h"

#define TARN_KIN_UNITS 8u /* for each class: more threads than that seldom end at once */

struct tarn_kin {
  /* Plus one; the one that became free last comes first, and zeros come last. */
  uint32_t units[TARN_CLASS_COUNT][TARN_KIN_UNITS];
  /* Atomic: is the first one of these not zero?  Written with them; read by anybody, relaxed. */
  bool some[TARN_CLASS_COUNT];
};

/* May there be one for tarn_kin_take?  Any thread, without the lock. */
static inline bool tarn_kin_has(const struct tarn_kin *kin, unsigned size_class) {
  return __atomic_load_n(&kin->some[size_class], __ATOMIC_RELAXED);
}

/* A unit that was a pool of the class is free, and dirty. */
void tarn_kin_note(struct tarn_kin *kin, unsigned size_class, size_t unit);

/*
 * The last one of the class that is free and dirty still, by its number in its arena, which is
 * returned; it is noted no more.  NULL: there is none.
 */
struct tarn_arena *tarn_kin_take(struct tarn_kin *kin, unsigned size_class, size_t *first);

/* The arena is the store's no more. */
void tarn_kin_forget(struct tarn_kin *kin, const struct tarn_arena *arena);

#endif
