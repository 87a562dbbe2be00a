/* SPDX-License-Identifier: MIT */
/*
 * collect/collector.h: the collector of one world: its parts, and the order in which they work.
 *
 * Everything here that has no lock of its own is touched by the requester of the running collection
 * only, while the world is stopped.
 *
 *   collect.c     the order of a collection; the hooks of the lower layers
 *   report.c      what a collection comes to, and its phases
 *   pace.c        when to start one, and what to do at a limit
 *   scan.c        which words of an object are references
 *   mark.c        the mark stack, marking, roots
 *   markers.c     threads that help to mark
 *   cards.c       what old objects refer to
 *   generation.c  which generation to collect
 *   heap_end.c    heaps and worlds that end: every object's `free` function, then the memory
 *   census.c      counting and condemning after the mark, pools back to shelves or filed
 *   sweeper.c     a thread that sweeps filed pools, and collects what is idle
 *   release.c     `free` functions, with the world running
 *   weak.c        weak references
 *   ephemeron.c   ephemerons, also for weak tables
 *   weak_table.c  weak tables
 *   finalizer.c   finalizers and their queue
 *   counts.c      counts of references; the rest is of worlds that have such
 *   handle.c      weak handles
 *   refs.c        gc_refs, an int for each block
 *   links.c       the references among few of them
 *   vector.c      growing arrays
 *   cycles.c      collections of cycles, one at a time
 *   trial.c       finding garbage
 *   trash.c       what happens to it
 *   debts.c       counts that it has to give up
 *   freeze.c      pools that collections of cycles leave alone
 */
#ifndef TARN_COLLECT_COLLECTOR_H
#define TARN_COLLECT_COLLECTOR_H

#include "collect/cards.h"
#include "collect/cycles.h"
#include "collect/ephemeron.h"
#include "collect/finalizer.h"
#include "collect/generation.h"
#include "collect/mark.h"
#include "collect/markers.h"
#include "collect/pace.h"
#include "collect/release.h"
#include "collect/report.h"
#include "collect/sweeper.h"
#include "collect/weak.h"
#include "collect/weak_table.h"
#include "heap/find.h"
#include "world/world.h"
#include <tarn/collect.h>
#include <tarn/inspect.h>
#include <tarn/profile.h>

#define TARN_PAUSES_KEPT 1024u

/* For the locks of who watches. */
enum tarn_fork { TARN_FORK_BEFORE, TARN_FORK_PARENT, TARN_FORK_CHILD };

/* How the collector calls up, to inspect/.  Installed once, before the first collection. */
struct tarn_collect_events {
  /* The option `verify`: before anything is marked, the world stopped.  From `frame` on the calling
   * thread's stack stays as it is until the roots are marked. */
  void (*before_mark)(tarn_world *world, uintptr_t frame);
  /* At the end of a collection, the world still stopped: the option `verify`. */
  void (*verify)(tarn_world *world);
  /* Before the process ends because of an address: says what else is known of it. */
  void (*explain)(uintptr_t address, bool calls);
  /* Something happened that somebody wants to know of (heap/told.h). */
  void (*told)(tarn_world *world, const struct tarn_told *told);
  /* Around a fork, the last before it and the first after it. */
  void (*fork)(tarn_world *world, enum tarn_fork when);
};

struct tarn_collector {
  tarn_world *world;
  int generation;                     /* of the running collection */
  struct tarn_collect_report *report; /* the same */
  struct tarn_generations generations;
  const struct tarn_collect_events *events;
  struct tarn_marker marker; /* the collecting thread's */
  struct tarn_markers markers;
  struct tarn_weak_part weak;
  struct tarn_ephemeron_part ephemerons;
  struct tarn_finalizer_part finalizers;
  struct tarn_weak_tables tables;
  struct tarn_release release;
  struct tarn_pace pace;
  struct tarn_sweeper sweeper;
  struct tarn_cycles cycles;
  struct tarn_large *dead_larges; /* unlinked by the census; linked through limbo */
  size_t found_bytes;             /* by the census: what it freed, filed as dead or condemned */
  /* What lives in the pools that the last full collection filed, as its markers counted. */
  uint64_t unswept_objects, unswept_bytes;

  /* Figures; written while the world is stopped, read relaxed by anybody. */
  _Atomic uint64_t collections, asked, pause_last, pause_max, pause_total, mark_last;
  _Atomic uint64_t at_least[TARN_GENERATION_FULL + 1]; /* collections of that generation or more */
  _Atomic uint64_t of[TARN_GENERATION_FULL + 1]; /* of it alone: a difference of these might fall */
  _Atomic uint64_t live_bytes, live_objects, weak_cleared, overflows;
  _Atomic uint32_t pauses[TARN_PAUSES_KEPT]; /* nanoseconds, cut off at 4.29 s; a ring */
  struct tarn_histogram pause_histogram;
  void *shadow;  /* of inspect/shadow.c, between its two calls */
  void *monitor; /* of inspect/monitor.c; NULL: there is none */
};

static inline struct tarn_collector *tarn_collector_of(tarn_world *world) {
  return world->collector;
}

tarn_status tarn_collector_start(tarn_world *world, const struct tarn_collect_events *events);
void tarn_collector_end(tarn_world *world);

/* --- census.c --- */

/* Before the mark: takes what other threads freed off the pools, keeps what condemned objects need.
 */
void tarn_census_prepare(struct tarn_collector *collector);

/*
 * After the mark: condemns the dead of resource pools, counts the living, puts every pool on a
 * shelf or gives it back, and takes dead large objects off their lists.
 */
void tarn_census_take(struct tarn_collector *collector);

/* The last of the pools that a full collection filed is swept: its figures become exact. */
void tarn_census_swept(struct tarn_store *store);

/* All bins of all threads become empty; the world is stopped, and the caller puts their pools on
 * shelves. */
void tarn_census_forget_bins(tarn_world *world);

/* Condemns an object in use; a separate data block of it is kept as well. */
void tarn_census_condemn(struct tarn_collector *collector, uintptr_t object);

/* --- heap_end.c --- */

/* Runs the `free` function of every object in use; nobody else touches the world.  For its end. */
void tarn_release_everything(tarn_world *world, struct tarn_mutator *self);

extern const struct tarn_hooks tarn_collector_heap_hooks;
extern const struct tarn_collect_hooks tarn_collector_hooks;

/*
 * One whole collection of a generation, or TARN_GENERATION_ANY, for `self`, who is running and
 * holds nothing off.  TARN_OK also when another thread's collection was
 * joined, of the same generation or more.
 */
tarn_status tarn_collector_run(tarn_world *world, struct tarn_mutator *self, int generation,
                               tarn_cause cause);

/*
 * The report of a collection whose stop is on: begun, in the stop, and told of; at the end of the
 * pause, still in the stop, what is known then; and with the world running the whole is told.
 */
void tarn_collector_begin_report(struct tarn_collector *collector,
                                 struct tarn_collect_report *report, tarn_cause cause,
                                 int generation);
void tarn_collector_end_pause(struct tarn_collector *collector, struct tarn_collect_report *report);
void tarn_collector_tell(struct tarn_collector *collector, struct tarn_collect_report *report);

/* A full one that can wait, for a thread that is not attached: of a world that lies idle, say.
 * False: it was not to be. */
bool tarn_collector_run_idle(tarn_world *world, tarn_cause cause);

/* A full one, for a thread that is not attached: waits until all have come to a safepoint.  False:
 * it was not to be. */
bool tarn_collector_run_outside(tarn_world *world);

#endif
