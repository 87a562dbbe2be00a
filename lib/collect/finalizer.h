/* SPDX-License-Identifier: MIT */
/*
 * collect/finalizer.h: finalizers and the queue of those that are due.
 *
 * Each tarn_finalizer_add makes one node of the world's metadata.  The node is on exactly one of
 * two lists: `added`, in the order in which they were added, or `due`; the collector moves it from
 * one to the other, so that a collection needs no memory for this.  Every node is also in a hash
 * index by object until it is run or removed.
 *
 * A young collection looks at those nodes of `added` only whose objects can be young: since nodes
 * are in the order in which they came, these are the last ones, from `fresh` on.
 *
 * The lock guards lists and index.  It is a leaf but for the metadata's; no safepoint lies under
 * it. Objects on `due` are roots; those on `added` are not.
 */
#ifndef TARN_COLLECT_FINALIZER_H
#define TARN_COLLECT_FINALIZER_H

#include "collect/weak.h"
#include <pthread.h>
#include <stdatomic.h>
#include <tarn/finalizer.h>

struct tarn_finalizer; /* a node */

struct tarn_finalizer_list {
  struct tarn_finalizer *first, *last;
};

struct tarn_finalizer_part {
  pthread_mutex_t lock;
  struct tarn_finalizer_list added, due;
  /* [g]: the first node on `added` that no collection of generation g or more has looked at; NULL:
   * there is none. */
  struct tarn_finalizer *fresh[2];
  struct tarn_finalizer **index; /* heads of chains */
  size_t index_size;             /* a power of two, or 0 */
  _Atomic size_t nodes;          /* on both lists; written under the lock */
  uint64_t round;                /* the number of the last search; 0: none yet */
  size_t new_due;                /* nodes that the running collection has made due so far */
  _Atomic size_t due_count; /* nodes on `due`; written under the lock, read relaxed by anybody */
  _Atomic uint64_t ran;     /* finalizers run, ever; for statistics */
};

tarn_status tarn_finalizer_start(tarn_world *world);
void tarn_finalizer_end(tarn_world *world);

/* Marks the objects on the due queue; while roots are marked, once a collection. */
void tarn_finalizers_roots(struct tarn_collector *collector);

/* Calls for the object of each node on the due queue; the world is stopped. */
void tarn_finalizers_each_due(struct tarn_collector *collector,
                              void (*fn)(void *data, uintptr_t object), void *data);

/*
 * After the mark: nodes whose object is not marked, of those that the generation has to look at,
 * move to the due queue, in order, and then those objects are marked; the caller drains.  Nodes of
 * objects that were freed by hand are dropped.
 */
void tarn_finalizers_find(struct tarn_collector *collector);

/* Has the running collection made this object due? */
bool tarn_finalizer_is_new_due(struct tarn_collector *collector, uintptr_t object);

/*
 * An object is freed by hand: drops its nodes, due or not, so that its successor at the address
 * does not inherit them.  A load where the world has no finalizers.
 */
void tarn_finalizers_freed(struct tarn_collector *collector, const void *object);

/* The world is stopped and a heap goes: drops the nodes of its objects, due or not. */
void tarn_finalizers_forget(struct tarn_collector *collector, tarn_gone_fn gone, void *data);

/* Around fork; after_fork: in the child, by the thread that locked. */
void tarn_finalizers_lock(struct tarn_collector *collector);
void tarn_finalizers_unlock(struct tarn_collector *collector);
void tarn_finalizers_after_fork(struct tarn_collector *collector);

#endif
