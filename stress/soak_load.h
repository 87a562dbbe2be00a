/* SPDX-License-Identifier: MIT */
/*
 * stress/soak_load.h: what the threads of soak do, and to which data.
 *
 * Two worlds live as long as the program: one with generations and barriers, one that counts
 * references; short ones come and go beside them.  What lives is constant by design: a slot of a
 * table holds an object whose kind and size follow from the slot's number, and who takes it out
 * looks at all of it and puts it, or another one of the same kind, back.
 */
#ifndef TARN_STRESS_SOAK_LOAD_H
#define TARN_STRESS_SOAK_LOAD_H

#include "common.h"

/* They take turns, in this order, which is one cycle.  In the last one all is still. */
enum soak_phase {
  SOAK_YOUNG,
  SOAK_FULL,
  SOAK_LARGE,
  SOAK_THREADS,
  SOAK_CYCLES,
  SOAK_IDLE,
  SOAK_PHASES
};

/* Set by the main thread, read by the others (relaxed: they are late by a few acts). */
extern _Atomic unsigned soak_phase;
extern _Atomic bool soak_over;

/* Makes both worlds and fills their tables; takes them down, and all must have died once. */
void soak_load_begin(void);
void soak_load_end(void);

/* One life of a thread of this number: attaches, works for a while, and detaches or simply ends. */
void soak_live(unsigned number, struct stress_random *random);

/* The main thread's, which is attached to neither. */
void soak_load_trim(void);
void soak_load_leak(uint64_t objects);      /* that live for ever: how the program tests itself */
tarn_stats soak_load_stats(unsigned world); /* 0 or 1 */

/* For the summary: a name and a count, until the name is NULL. */
struct soak_count {
  const char *name;
  uint64_t count;
};
void soak_load_counts(struct soak_count *counts, unsigned most);

#endif
