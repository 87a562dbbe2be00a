/* SPDX-License-Identifier: MIT */
/*
 * collect/pace.h: when to collect, and what to do at a limit.
 *
 * Debt.  A collection is due when what was allocated since the last one, and what external bytes
 * grew by, reaches the trigger.  The trigger follows from what lives: `growth` percent of it, at
 * least `min-heap`, and less near the soft limit.
 *
 * External bytes.  `external` is what the program told, exactly.  Objects that a collection found
 * dead keep theirs until their `free` functions have run, which is later and as slow as the program
 * polls.  So growth counts from `external_low`, the least since the last collection: what is
 * pending never counts as growth, and however much of it there is, the next collection comes only
 * after as much again was added as the trigger says.  What of it lives is `external_low` too, once
 * all functions have run; while some are pending it may be the least of before the collection
 * (`external_before`).  So a trigger does not grow with what is dead, though in a program that runs
 * no functions at all, where no collection helps, it does from one to the next.
 *
 * The soft limit.  With live bytes near it or above, collections would come ever closer: it is
 * never worth more than `soft-share` percent of the time.  What the last collections cost, and how
 * fast the program allocates between them, says how many bytes must be allocated until the next one
 * pays (`affordable`).  The trigger is not below that, nor below an eighth of what lives, and not
 * above what it would be without a limit.
 *
 * Young collections (collect/generation.h) come in between, after less debt; what is said here of
 * cost and limits is about full ones.  Between two full ones the least of the external bytes is
 * kept
 * (`external_floor`): what a full one left was less than it seemed by what died in it.
 *
 * The hard limit.  An allocation that finds no memory collects.  If that finds less than a fiftieth
 * of the heap dead, it was futile; FUTILE_MOST futile ones in a row, and allocations fail without
 * one, until a time has passed that grows from the length of a collection to sixteen.  So a program
 * that is full of live data gets its errors at once and spends little time in the collector, and
 * one that drops its data goes on at the next attempt, or after those few pauses.  The measure is
 * the yield, not the share of time: each byte that a collection at the limit hands out has cost at
 * most fifty bytes of marking, whatever else the machine does.
 *
 * Invariants: external_low <= external, but for a moment in which both fall.  `debt` of the store,
 * `live`, `affordable`, `pressed` and the averages are written by the requester of a stop; `futile`
 * and `retry_at` too.  Everything that others read is atomic and relaxed, as figures are, but for
 * the two of external bytes: see pace.c.
 */
#ifndef TARN_COLLECT_PACE_H
#define TARN_COLLECT_PACE_H

#include "world/world.h"
#include <tarn/events.h>

struct tarn_collector;
struct tarn_collect_report;

struct tarn_pace {
  _Atomic uint64_t external, external_low; /* any thread */
  _Atomic uint64_t external_before;        /* by requesters */
  _Atomic uint64_t external_floor; /* the least since the last full collection; any thread */
  /* Debt at which a collection is due, and the soft limit that it was worked out for: it is asked
   * for by every refill.  By requesters, and any thread that finds another soft limit. */
  _Atomic uint64_t due, due_soft;
  _Atomic bool called; /* threads were asked to look whether a collection is due; any thread */

  /* By requesters. */
  _Atomic uint64_t live;       /* the world's own, found by the last collection */
  _Atomic uint64_t affordable; /* bytes until a collection is worth its time */
  bool pressed;                /* the soft limit was given up, and that was told */
  uint64_t ended_at;           /* when the last collection was done */
  uint64_t ran_since,
      grown_since; /* since the last full one: nanoseconds that the world ran, debt */
  double stopped_ns, ran_ns, grown; /* decaying sums over the last full ones: the world's time, */
                                    /* and the debt that came together while it ran */

  /* At the hard limit. */
  _Atomic uint64_t wanted;   /* number of the collection that an allocation waits for; any thread */
  _Atomic uint32_t futile;   /* collections in a row */
  _Atomic uint64_t retry_at; /* when the next one may be tried */

  /* Figures. */
  _Atomic uint64_t soft_given_up, at_limit, refused;

  _Atomic bool telling;  /* the near-limit callback runs */
  _Atomic uint64_t zeal; /* allocations since the last collection that zeal started */
};

/* What a collection came to, for the program. */
enum {
  TARN_NEWS_SOFT = 1, /* the soft limit was given up */
  TARN_NEWS_HARD = 2  /* allocations at the hard limit fail without a collection */
};

void tarn_pace_start(struct tarn_collector *collector);

/* Should the caller, who may collect, do so now, and why?  Any attached thread. */
tarn_cause tarn_pace_is_due(struct tarn_collector *collector);

/* The trigger for so many live bytes, external ones among them.  Any thread. */
uint64_t tarn_pace_trigger_for(const struct tarn_collector *collector, uint64_t live);

/* Bytes of its own that the world may take until the next collection. */
uint64_t tarn_pace_trigger(const struct tarn_collector *collector);

/* A collection is done but for the end of its stop: the next one is due after a new debt.  Fills
 * what the report says of limits. */
void tarn_pace_collected(struct tarn_collector *collector, struct tarn_collect_report *report);

/* An allocation of `bytes` found no memory, after `tries` collections for it.  True: collect for
 * it. False: it fails. */
bool tarn_pace_exhausted(struct tarn_collector *collector, size_t bytes, unsigned tries);

/* What to tell an allocation of `bytes` that fails. */
tarn_status tarn_pace_failure(const tarn_world *world, size_t bytes);

/* With the world running, on the thread that collected: calls the program's callback for what is
 * near a limit. */
void tarn_pace_tell(struct tarn_collector *collector, const struct tarn_collect_report *report);

#endif
