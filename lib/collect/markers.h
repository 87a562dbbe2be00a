/* SPDX-License-Identifier: MIT */
/*
 * collect/markers.h: the markers that help the collecting thread, and how they share the work.
 *
 * Each marker drains a stack of its own (collect/mark.h).  Between them go parcels: some candidates
 * from the bottom of a stack, where the oldest are, which lead to most.  A marker makes one when
 * another is hungry, that is, has no work and no parcel waits for it; whoever has no work takes
 * one.
 *
 * Helpers are threads of the library's own.  They are made, with the world running, after a
 * collection that had work for more than one, so that worlds with small heaps never have any.
 * Between collections they sleep, and nothing tells them that a collection begins: a parcel does.
 * They end with the world.
 *
 * The end of a drain.  `working` counts the markers that have candidates, or a parcel in hand.
 * Only a working marker makes parcels; taking one, making one and stopping to work are steps under
 * the lock.  So when a step leaves `working` at zero and no parcel waits, nobody has a candidate,
 * and nobody can get one: the drain is over.  The collecting thread waits for that; if all helpers
 * sleep it need not wait at all.
 *
 * What a helper did is seen by the collecting thread, and the other way round, through the lock.
 */
#ifndef TARN_COLLECT_MARKERS_H
#define TARN_COLLECT_MARKERS_H

#include "collect/mark.h"
#include <pthread.h>

#define TARN_PARCEL_WORDS 509u

/* A page.  The words are stack entries, whole pairs of them where two belong together. */
struct tarn_parcel {
  struct tarn_parcel *next;
  size_t count;
  uintptr_t words[TARN_PARCEL_WORDS];
};

struct tarn_markers {
  unsigned wanted; /* helpers; the option `markers` less one */
  pthread_mutex_t lock;

  /* Under the lock. */
  struct tarn_marker *helpers; /* `wanted` of them, made with the first thread */
  struct tarn_parcel *full,
      *empty; /* `full` and `working` are also looked at without it, as hints */
  unsigned working;
  unsigned asleep; /* helpers that sleep on `serial` */
  bool ends;
  bool waits;  /* the collecting thread sleeps on `over` */
  bool making; /* a thread makes helpers */

  /* Of what markers meet and keep in lists: weak.c, ephemeron.c.  Inside no other lock. */
  pthread_mutex_t found_lock;

  /* Also without it.  Atomic. */
  uint32_t hungry;  /* written under the lock; read relaxed, as a hint, by those that work */
  uint32_t threads; /* helpers that are there; read with acquire at the end of the world */
  uint32_t serial;  /* futexes: they change under the lock when there is something to see */
  uint32_t over;
  bool short_of_helpers; /* relaxed: a wish */
};

void tarn_markers_start(struct tarn_collector *collector);

/* Ends the helpers, and waits for them; no collection is on. */
void tarn_markers_end(struct tarn_collector *collector);

/* With the world running: makes the helpers that the last collections could have used.  Calls
 * malloc. */
void tarn_markers_tend(struct tarn_collector *collector);
/* The same before a collection that will have much to mark, so that it need not be short first. */
void tarn_markers_foresee(struct tarn_collector *collector);

/* By a marker that has work: the next time to ask, in objects, and a parcel if somebody is hungry.
 */
void tarn_markers_share(struct tarn_marker *marker);

/* Before the collecting thread drains its stack, and after it. */
void tarn_markers_begin(struct tarn_collector *collector);
/* Helps until all markers are done; the other markers' figures go to the collecting one's. */
void tarn_markers_finish(struct tarn_collector *collector);

/* Around fork; the world is stopped, so nobody works.  The child has no helpers. */
void tarn_markers_lock(struct tarn_collector *collector);
void tarn_markers_unlock(struct tarn_collector *collector);
void tarn_markers_after_fork(struct tarn_collector *collector);

#endif
