/* SPDX-License-Identifier: MIT */
/*
 * collect/cards.h: the card table, by which a young collection learns what old objects refer to.
 *
 * The invariant, when a collection begins: an old object refers to an object that is younger than
 * itself only in words that lie on a dirty card, or else the card of its first word is dirty.  By
 * age there are three sorts: objects that carry the epoch, those that carry SURVIVED, those without
 * a mark.  "Refers" includes weak references, and keys and values of ephemerons.
 *
 * Why it holds.  After a full collection, and after one of generation 1, there is one sort only,
 * and no card needs to be dirty.  After one of generation 0 there are two, and a card on which an
 * object with the epoch refers to one without stays dirty; the SURVIVED ones refer to marked ones
 * only, for they were scanned.  From then on a barrier (tarn/store.h) makes a card dirty with every
 * store.
 *
 * A dirty card lies in a unit whose dirty byte is set, so that a collection need not look at the
 * cards of the whole heap, only at one byte for each 64 KiB.  The barrier's slow path sets both,
 * relaxed, from any running thread.  Everything else is done by the requester in a stop.
 *
 * A card may be dirty for nothing: after its pool was given back, say.  So nothing is believed of
 * what lies there but what the map and the mark bytes say.
 */
#ifndef TARN_COLLECT_CARDS_H
#define TARN_COLLECT_CARDS_H

#include <stddef.h>

struct tarn_collector;

/*
 * In a collection of generation 0 or 1, while roots are marked: what old objects on dirty cards
 * refer to.  Cards become clean, but for those that the invariant wants.
 */
void tarn_cards_roots(struct tarn_collector *collector);

/* In a full collection: all cards become clean. */
void tarn_cards_clear(struct tarn_collector *collector);

#endif
