/* SPDX-License-Identifier: MIT */
/*
 * collect/counts.h: what the counts of references say, and how they change; tarn_ref, tarn_unref.
 *
 * A count in an object changes by atomic operations of its size.  Adding is relaxed: who adds has a
 * reference.  Giving up is a release, and the last one an acquire, so that who frees an object sees
 * all that was done to it.
 *
 * The death of an object that nobody refers to any more.  Its references are given up one by one;
 * what dies of that waits on a list of the thread, so that a long chain takes no stack.  The list
 * lies on the stack of the outermost tarn_unref at first; when it does not grow, the next object
 * dies at once, by recursion.
 *
 * `finalize` runs once for an object.  Those for which it ran and that live on are few; they stand
 * in a set, which each death of an object of such a type looks at, if it is not empty.
 */
#ifndef TARN_COLLECT_COUNTS_H
#define TARN_COLLECT_COUNTS_H

#include "world/type.h"
#include <tarn/cycles.h>

struct tarn_collector;
struct tarn_mutator;

/* Addresses of objects whose `finalize` has run.  Open addressing; a power of two of entries. */
struct tarn_finalized {
  pthread_mutex_t lock;  /* a leaf but for the metadata's */
  uintptr_t *entries;    /* 0: never used; 1: not any more */
  size_t capacity, used; /* `used` counts the latter too */
  _Atomic size_t count;
};

void tarn_finalized_start(struct tarn_collector *collector);
void tarn_finalized_end(struct tarn_collector *collector);
/* For fork, as the others. */
void tarn_finalized_lock(struct tarn_collector *collector);
void tarn_finalized_unlock(struct tarn_collector *collector);

/* The object dies, or is given back: it is not in the set any more. */
void tarn_finalized_forget(struct tarn_collector *collector, const void *object);

/* Runs the object's `finalize` function, if it has one that never ran.  The object has a reference
 * of the caller's.  True: it ran. */
bool tarn_finalize(struct tarn_collector *collector, tarn_thread *self, void *object);

static inline bool tarn_type_counts(const tarn_type *type) { return type->refs_at || type->refs; }

/* The count.  Relaxed: the world is stopped, or it is a look. */
static inline size_t tarn_refs_of_object(const tarn_type *type, const void *object) {
  const char *at = (const char *)object + type->refs_at;
  if (type->refs)
    return type->refs(object);
  if (type->refs_size == 4)
    return __atomic_load_n((const uint32_t *)(const void *)at, __ATOMIC_RELAXED);
  return __atomic_load_n((const size_t *)(const void *)at, __ATOMIC_RELAXED);
}

/* Gives up a reference to a counted object, as the program would; or many, at most 2^30. */
void tarn_give_up(tarn_thread *self, void *object);
void tarn_give_up_many(tarn_thread *self, void *object, uint32_t count);

#endif
