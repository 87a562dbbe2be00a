/* SPDX-License-Identifier: MIT */
/*
 * inspect/events.h: what the collector tells inspect/, and what the parts of inspect/ share.
 */
#ifndef TARN_INSPECT_EVENTS_H
#define TARN_INSPECT_EVENTS_H

#include "collect/collector.h"

extern const struct tarn_collect_events tarn_inspect_events;

/* --- walk.c: every block of a world that is stopped --- */

/* What a walk tells of a block.  `place` is its geometry, `pool` NULL for large objects. */
struct tarn_walked {
  struct tarn_place place;
  struct tarn_heap *heap;
  struct tarn_pool *pool;
  bool in_use;
  bool condemned;
};
typedef bool (*tarn_walked_fn)(const struct tarn_walked *block, void *data);

/* Calls `fn` for each block in use or condemned, until it says false.  The world is stopped. */
bool tarn_walk_stopped(tarn_world *world, tarn_walked_fn fn, void *data);

/*
 * Where the thread that has the pool as its current one bumps now: raw blocks from there to the
 * cursor are free though no word says so.  0: the pool is nobody's current one.
 */
uintptr_t tarn_walk_bump(const struct tarn_pool *pool);

/* --- verify.c --- */

/* Checks every invariant of a stopped world; false: `message` says what is wrong. */
bool tarn_verify_stopped(tarn_world *world, char *message, size_t size);

/* --- barriers.c --- */

/* Before the mark of a collection: dies if an old object refers to a younger one and no barrier
 * told of it. */
void tarn_barriers_check(tarn_world *world);

/* --- dangling.c --- */

/* At the end of a collection: dies if a live object or a root refers to a block that an earlier
 * collection took, of which there is a record (heap/apart.h). */
void tarn_dangling_check(tarn_world *world);

/* --- describe.c --- */

/* Says on standard error what is on record of the block at, or once at, an address; nothing, if
 * that is nothing.  `calls`: also by which calls it came and went, which takes some stack to name.
 */
void tarn_explain(uintptr_t address, bool calls);

/* --- fault.c --- */

/* From now on a fault in the heap range is explained before it takes its course.  Once a process;
 * later calls do nothing. */
void tarn_faults_watch(void);

/* --- shadow.c: a second, slow marking that checks the first --- */

/* Before the mark of a collection: notes what is strongly reachable; from the calling thread's
 * stack what lies beyond `frame`, which the mark must find the same.  Does nothing without memory.
 */
void tarn_shadow_note(tarn_world *world, uintptr_t frame);
/* After it: dies if something noted is not marked. */
void tarn_shadow_check(tarn_world *world);

#endif
