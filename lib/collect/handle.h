/* SPDX-License-Identifier: MIT */
/*
 * collect/handle.h: weak handles, the weak references of worlds that count (tarn/cycles.h).
 *
 * A handle lies outside of the heap, in the world's metadata, and stands in a table by its object's
 * address until the object dies or the handle is given back.  Only types with TARN_TYPE_WEAK have
 * such objects; their deaths are all known (their pools are resource pools), and each looks here,
 * if there is any handle at all.
 *
 * Who gets an object through a handle adds a reference under the lock, if the count is not zero,
 * and takes none otherwise.  So once the count has fallen to zero the object dies, and once a
 * collection's stop has taken the handles of its garbage off the table nobody gets that.
 *
 * A handle whose object is gone and that has a function to call is pending until that was called;
 * given back meanwhile, it goes afterwards.
 */
#ifndef TARN_COLLECT_HANDLE_H
#define TARN_COLLECT_HANDLE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <tarn/cycles.h>

struct tarn_collector;

struct tarn_handles {
  pthread_mutex_t lock; /* a leaf but for the metadata's */
  tarn_weak_handle **buckets;
  size_t bucket_count;  /* a power of two */
  _Atomic size_t count; /* in the table */
};

/* Handles whose object is gone, linked through next. */
struct tarn_pending {
  tarn_weak_handle *first, **end;
};

void tarn_handles_start(struct tarn_collector *collector);
void tarn_handles_end(struct tarn_collector *collector);
/* For fork, as the others. */
void tarn_handles_lock(struct tarn_collector *collector);
void tarn_handles_unlock(struct tarn_collector *collector);

/* The object dies, or is garbage: none of its handles leads there any more.  Those with a function
 * are added to `pending`; NULL: their functions are not called. */
void tarn_handles_cut(struct tarn_collector *collector, const void *object,
                      struct tarn_pending *pending);

/* Calls for the object of each handle that has one; the world is stopped. */
void tarn_handles_each(struct tarn_collector *collector, void (*fn)(void *data, uintptr_t object),
                       void *data);

/* Calls their functions; with the world running. */
void tarn_handles_tell(struct tarn_collector *collector, tarn_thread *self,
                       struct tarn_pending *pending);

#endif
