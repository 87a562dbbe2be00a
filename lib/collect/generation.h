/* SPDX-License-Identifier: MIT */
/*
 * collect/generation.h: which generation to collect, and when a young collection is due.
 *
 * Only in worlds whose program promised barriers and whose option `generations` does not say none;
 * in others every collection is a full one.  The first collection of a world is a full one, too.
 *
 * The rules.  Every `young` bytes of allocation one collection, the first among them: what is young
 * shall stay in cache from the start.  It is a full one if what survived
 * young ones since the last full one has grown by as much as makes a full collection due (the
 * options growth, min-heap and soft-limit).  Else it is one of generation 1 if what survived those
 * of generation 0 since the last one that was more than that has come to `young` bytes: so much is
 * worth another look.  Else it is one of generation 0.  While more than half of what is allocated
 * survives, looking at it soon was a waste, and the distance between collections doubles, up to
 * four times; it halves again when less than an eighth survives.
 *
 * Written by the requester in a stop; `step` is read by anybody, relaxed.
 */
#ifndef TARN_COLLECT_GENERATION_H
#define TARN_COLLECT_GENERATION_H

#include <stdbool.h>
#include <stdint.h>

struct tarn_collector;
struct tarn_pool;

#define TARN_GENERATION_ANY (-1) /* whichever is best now */

struct tarn_generations {
  bool on;
  bool first_pool;       /* the policy of that name */
  _Atomic uint64_t step; /* bytes of allocation between two collections, for now */
  uint64_t live;         /* bytes that the last collection left */
  uint64_t live_at_full; /* bytes that the last full collection left */
  uint64_t full_due;     /* and by how much they may grow before the next */
  uint64_t survived;     /* bytes that lived through collections of generation 0 only */
  uint64_t rounds;       /* collections; zeal builds go by it */
};

void tarn_generations_start(struct tarn_collector *collector);

/* The generation to collect, when `wanted` is asked for. */
int tarn_generation_choose(struct tarn_collector *collector, int wanted);

/*
 * After the census: `before` and `after` are the live bytes, `allocated` what was allocated since
 * the collection before, `full_due` the growth that makes a full collection due; external bytes
 * among them all.
 */
void tarn_generation_collected(struct tarn_collector *collector, uint64_t before, uint64_t after,
                               uint64_t allocated, uint64_t full_due);

/* Bytes after whose allocation the next collection is due, of whatever generation, if a full one is
 * due after `full_due`.  Any thread. */
uint64_t tarn_generation_due(const struct tarn_collector *collector, uint64_t full_due);

/*
 * The policy first-pool, before roots are marked in a collection of generation 0: the objects of
 * all young pools but those that bins allocate from at the moment live, whether or not anything
 * refers to them.
 */
void tarn_generation_spare(struct tarn_collector *collector);

#endif
