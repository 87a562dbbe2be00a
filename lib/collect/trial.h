/* SPDX-License-Identifier: MIT */
/*
 * collect/trial.h: trial deletion, by which a collection of cycles finds garbage.
 *
 * What the ints of collect/refs.h say while the world is stopped, of an object of the generation
 * that known roots do not reach ("a candidate"):
 *
 *     SEEN + n   it was walked past; so many of its count are left when the references of those
 *                that were walked past so far are taken off
 *     ALIVE      n was more than 0, or something alive refers to it
 *     TRASH      n is 0: garbage
 *
 * and of a candidate that was not walked past yet, -n: so many references from others.  All other
 * ints are 0.  After the stop only TRASH is left.
 *
 * A candidate's unit has ints, and it has no mark of the running collection; in young ones, none of
 * the last that had known roots.
 *
 * All of it with the world stopped, by the collecting thread, in this order; what it works on is
 * the part of struct tarn_cycles that belongs to the running collection.
 */
#ifndef TARN_COLLECT_TRIAL_H
#define TARN_COLLECT_TRIAL_H

#include "collect/cycles.h"

/* Chooses the candidates of the generation, and gives their units ints.  False: no memory. */
bool tarn_trial_choose(struct tarn_collector *collector);

/* 1. What candidates refer to is taken off the counts. */
void tarn_trial_count(struct tarn_collector *collector);

/* 2. What has some left lives, with all it reaches.  True: it is known that all candidates do. */
bool tarn_trial_revive(struct tarn_collector *collector);

/* 3. The rest is garbage; and the pools of the generation go where they belong. */
void tarn_trial_gather(struct tarn_collector *collector, bool all_live);

/* The second look, with the world stopped: of the garbage, each of which has one reference of the
 * collection's own, what others refer to meanwhile becomes ALIVE, with all that it reaches. */
void tarn_trial_again(struct tarn_collector *collector);

/* Candidates and ints go. */
void tarn_trial_drop(struct tarn_cycles *cycles);

#endif
