/* SPDX-License-Identifier: MIT */
/*
 * collect/weak_table.h: weak tables.
 *
 * A table is 16 shards, chosen by the hash; a shard is a mutex and an open-addressing table in the
 * world's metadata.  The first word of an entry is 0 (never used), TARN_ENTRY_GONE (removed), or
 * the hash.  At least one entry of a shard that has any was never used, so that searches end.
 *
 * A shard is changed by running threads under its lock, and by the collector, without it, while the
 * world is stopped: no safepoint lies under a shard's lock, so no stopped thread has it.  The
 * collector only turns entries into removed ones; the next put or remove by a mutator shrinks.
 *
 * A shard has an age, as pools have (TARN_AGE_...): YOUNG when something was put there since the
 * last collection, AGED when only collections of generation 0 came since.  Younger collections than
 * full ones look at no others.
 *
 * The list of tables has a lock, which also threads that are not attached take.  Tables that are
 * destroyed while a collection has links to their entries (`busy`) are freed at its end.
 * Order of locks: list > shard > meta.
 */
#ifndef TARN_COLLECT_WEAK_TABLE_H
#define TARN_COLLECT_WEAK_TABLE_H

#include "collect/weak.h"
#include <pthread.h>
#include <tarn/weak.h>

#define TARN_ENTRY_GONE ((uintptr_t)1)

struct tarn_weak_tables {
  pthread_mutex_t lock;    /* guards all of this */
  tarn_weak_table *list;   /* in use */
  tarn_weak_table *doomed; /* destroyed during the running collection */
  uint64_t made;           /* ever */
  bool busy;               /* between tarn_weak_tables_roots and tarn_weak_tables_finish */
};

tarn_status tarn_weak_tables_start(tarn_world *world);
void tarn_weak_tables_end(tarn_world *world);

/* Marks the keys of weak-value tables; while roots are marked. */
void tarn_weak_tables_roots(struct tarn_collector *collector);

/* For ephemeron.c: gives each weak-key entry to tarn_ephemeron_entry; true if any said true. */
bool tarn_weak_tables_keys(struct tarn_collector *collector);

/* Removes the entries whose weak part is not marked; returns how many. */
size_t tarn_weak_tables_clear(struct tarn_collector *collector);

/* For ephemeron.c, from tarn_ephemeron_finish: no links to entries are left. */
void tarn_weak_tables_finish(struct tarn_collector *collector);

/* The world is stopped and a heap goes. */
void tarn_weak_tables_forget(struct tarn_collector *collector, tarn_gone_fn gone, void *data);

/*
 * The world is stopped: calls for each table, and for each of its entries, under the list's lock.
 * `number`: of the table, from 1, in the order in which they were made.
 */
struct tarn_weak_told {
  uint64_t number;
  tarn_weak_kind kind;
  size_t count; /* entries */
};
typedef void (*tarn_weak_table_fn)(void *data, const struct tarn_weak_told *table);
typedef void (*tarn_weak_entry_fn)(void *data, const struct tarn_weak_told *table, uintptr_t key,
                                   uintptr_t value);
void tarn_weak_tables_each(struct tarn_collector *collector, tarn_weak_table_fn table_fn,
                           tarn_weak_entry_fn entry_fn, void *data);

/* Around a fork, with the world stopped; unlock also in the child, by the thread that locked. */
void tarn_weak_tables_lock(struct tarn_collector *collector);
void tarn_weak_tables_unlock(struct tarn_collector *collector);

#endif
