/* SPDX-License-Identifier: MIT */
/*
 * collect/ephemeron.h: ephemerons, and the entries of weak-key tables, which behave alike.
 *
 * Both are four words: an ephemeron is type, key, value, link; a table entry is hash, key, value,
 * link.  Here both are called a pair.  The link belongs to the collector and is zero outside
 * collections.
 *
 * A pair whose key was not marked when the marker met it is in one of three places:
 *   waiting   not looked at since then;
 *   watched   in the hash table of keys; the key's mark byte says WATCHED, so that the marker tells
 *             us when it marks it (tarn_ephemeron_key_marked);
 *   ready     its key was marked since; the value will be marked by the next resolve.
 * Each pair goes through each place at most once, so the work is linear whatever the order. Without
 * memory for the hash table pairs stay waiting and are looked at again and again.
 */
#ifndef TARN_COLLECT_EPHEMERON_H
#define TARN_COLLECT_EPHEMERON_H

#include "collect/weak.h"

struct tarn_ephemeron_part {
  uintptr_t waiting, ready; /* lists; end with TARN_LINK_END */
  uintptr_t *buckets;       /* heads of chains; pages of their own; NULL: none */
  size_t bucket_count;      /* a power of two */
  size_t watched;           /* pairs in the chains */
  bool cramped;             /* the hash table could not grow in this collection */
  bool tables_seen;         /* every weak-key entry was looked at in this collection */
  bool tables_waiting;      /* and some found no room in the hash table */
};

tarn_status tarn_ephemeron_start(tarn_world *world);
void tarn_ephemeron_end(tarn_world *world);

/* A marker met a live ephemeron.  Meeting it again is harmless.  This and the next under the lock
 * of what is found (markers.h). */
void tarn_ephemeron_found(struct tarn_collector *collector, struct tarn_marker *marker,
                          void *object);

/*
 * The marker has just marked a block whose mark byte was WATCHED; `key` is the block's start. Marks
 * nothing by itself, so there is no recursion through chains of ephemerons.
 */
void tarn_ephemeron_key_marked(struct tarn_collector *collector, uintptr_t key);

/*
 * Marks, and drains, until the value of every met ephemeron and of every weak-key entry whose key
 * is marked is marked too.
 */
void tarn_ephemeron_resolve(struct tarn_collector *collector);

/* Key and value of those whose key is still not marked become NULL. */
void tarn_ephemeron_clear(struct tarn_collector *collector);

/*
 * Resets the mark bytes of keys that are still watched and empties everything; before the census,
 * which must not see WATCHED, and while marker.previous is what it was.  Also safe alone.
 */
void tarn_ephemeron_finish(struct tarn_collector *collector);

/* For weak_table.c, from tarn_weak_tables_keys: a live entry.  True: its value is being marked now.
 */
bool tarn_ephemeron_entry(struct tarn_collector *collector, uintptr_t *words);

/* The world is stopped and a heap goes: clears what is gone. */
void tarn_ephemeron_forget(struct tarn_collector *collector, void *ephemeron, tarn_gone_fn gone,
                           void *data);

#endif
