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
 * of generation 0 since the last one that was more than that has come to `second_due`.  Else it is
 * one of generation 0.  `second_due` is `young` bytes at first; it doubles, up to sixteen times,
 * when a collection of generation 1 finds that most of it lives on, and halves when most is dead.
 *
 * The distance between two collections, `step`, is the option `young` at first.
 *   - While more than half of what is allocated survives, looking at it soon was a waste: it
 * doubles, up to four times.
 *   - While young collections take more than the option young-share of the time, it doubles as
 * well, up to sixteen times, but not beyond half of what the heap may grow by, nor where the last
 * one took 10 ms: then its cost is that of cards, or of what survives.  When one takes 20 ms, it
 *     halves, down to four times.
 *   - When less than an eighth survives, and they take less than a quarter of that share, it
 * halves.
 *
 * Collections that the program asks for come in between and are of the generation that it says.  If
 * one of a higher generation is due by these rules then, the next step is shorter by what was
 * allocated before them: a program that collects the young more often than they would be by
 * themselves does not put off the others.
 *
 * Written by the requester in a stop; `next` is read by anybody, relaxed.
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
  bool first_pool;             /* the policy of that name */
  uint64_t step;               /* bytes of allocation between two collections, for now */
  _Atomic uint64_t next;       /* bytes of allocation until the next */
  uint64_t asked;              /* bytes allocated before collections that the program asked for, */
                               /* since the last whose generation was chosen by the rules */
  uint64_t live;               /* bytes that the last collection left */
  uint64_t live_at_full;       /* bytes that the last full collection left */
  uint64_t heap_at_full;       /* of these, the world's own */
  uint64_t full_due;           /* and by how much they may grow before the next */
  uint64_t survived;           /* bytes that lived through collections of generation 0 only */
  uint64_t second_due;         /* so much of that makes one of generation 1 due */
  uint64_t rounds;             /* collections; zeal builds go by it */
  uint64_t stopped_ns, ran_ns; /* decaying sums over the last young ones: the world's time */
};

/* What tarn_generation_collected is told of a collection.  Bytes have external ones among them. */
struct tarn_generation_round {
  uint64_t before, after;      /* live bytes */
  uint64_t heap;               /* the world's own, after it */
  uint64_t allocated;          /* since the collection before */
  uint64_t full_due;           /* the growth of live bytes that makes a full one due */
  uint64_t ran_ns, stopped_ns; /* since the collection before, and in this one */
  bool asked;                  /* by the program, which said the generation */
};

void tarn_generations_start(struct tarn_collector *collector);

/* The generation to collect, when `wanted` is asked for. */
int tarn_generation_choose(struct tarn_collector *collector, int wanted);

/* After the census. */
void tarn_generation_collected(struct tarn_collector *collector,
                               const struct tarn_generation_round *round);

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
