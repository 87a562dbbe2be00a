/* SPDX-License-Identifier: MIT */
/*
 * collect/handle.c: see collect/handle.h.
 */
#include "collect/handle.h"
#include "collect/collector.h"

#define FIRST ((size_t)256)

enum state {
  WATCHING, /* in the table */
  PENDING,  /* its object is gone, its function was not called yet, or is running */
  GONE
};

struct tarn_weak_handle {
  struct tarn_weak_handle *next;
  uintptr_t object; /* 0: gone */
  tarn_weak_gone_fn gone;
  void *data;
  uint8_t state;   /* under the lock, as the rest */
  bool given_back; /* while pending */
};

static struct tarn_handles *handles_of(struct tarn_collector *collector) {
  return &collector->cycles.handles;
}

void tarn_handles_start(struct tarn_collector *collector) {
  tarn_os_lock_init(&handles_of(collector)->lock);
}

static void drop(struct tarn_collector *collector, tarn_weak_handle *handle) {
  tarn_meta_free(&collector->world->store.meta, handle, sizeof *handle);
}

static void drop_buckets(struct tarn_collector *collector, tarn_weak_handle **buckets,
                         size_t count) {
  if (buckets)
    tarn_meta_free(&collector->world->store.meta, buckets, count * sizeof *buckets);
}

/* Handles that were not given back go with the metadata. */
void tarn_handles_end(struct tarn_collector *collector) {
  struct tarn_handles *handles = handles_of(collector);
  drop_buckets(collector, handles->buckets, handles->bucket_count);
  (void)pthread_mutex_destroy(&handles->lock);
}

void tarn_handles_lock(struct tarn_collector *collector) {
  (void)pthread_mutex_lock(&handles_of(collector)->lock);
}
void tarn_handles_unlock(struct tarn_collector *collector) {
  (void)pthread_mutex_unlock(&handles_of(collector)->lock);
}

/* --- the table; under the lock ---------------------------------------------------------------- */

static tarn_weak_handle **bucket_of(const struct tarn_handles *handles, uintptr_t object) {
  uint64_t hash = (object >> 4) * 0x9e3779b97f4a7c15u;
  return &handles->buckets[hash >> 32 & (handles->bucket_count - 1)];
}

static void link_handle(struct tarn_handles *handles, tarn_weak_handle *handle) {
  tarn_weak_handle **bucket = bucket_of(handles, handle->object);
  handle->next = *bucket;
  *bucket = handle;
}

static void unlink_handle(struct tarn_handles *handles, tarn_weak_handle *handle) {
  tarn_weak_handle **at = bucket_of(handles, handle->object);
  while (*at != handle)
    at = &(*at)->next;
  *at = handle->next;
}

/* True: there are buckets. */
static bool make_room(struct tarn_collector *collector) {
  struct tarn_handles *handles = handles_of(collector);
  size_t count = atomic_load_explicit(&handles->count, memory_order_relaxed);
  if (handles->buckets && count < handles->bucket_count)
    return true;
  struct tarn_handles old = {.buckets = handles->buckets, .bucket_count = handles->bucket_count};
  size_t more = old.buckets ? old.bucket_count * 2 : FIRST;
  tarn_weak_handle **buckets =
      tarn_meta_alloc(&collector->world->store.meta, more * sizeof *buckets);
  if (!buckets)
    return old.buckets != NULL;
  handles->buckets = buckets;
  handles->bucket_count = more;
  for (size_t i = 0; i < old.bucket_count; i++)
    for (tarn_weak_handle *handle = old.buckets[i], *next; handle; handle = next) {
      next = handle->next;
      link_handle(handles, handle);
    }
  drop_buckets(collector, old.buckets, old.bucket_count);
  return true;
}

void tarn_handles_each(struct tarn_collector *collector, void (*fn)(void *data, uintptr_t object),
                       void *data) {
  const struct tarn_handles *handles = handles_of(collector);
  tarn_handles_lock(collector);
  for (size_t i = 0; i < handles->bucket_count; i++)
    for (const tarn_weak_handle *handle = handles->buckets[i]; handle; handle = handle->next)
      fn(data, handle->object);
  tarn_handles_unlock(collector);
}

/* --- for mutators ---------------------------------------------------------------------------- */

static tarn_status check(tarn_thread *self, const void *object) {
  tarn_status status = tarn_thread_check_running(self);
  if (status != TARN_OK)
    return status;
  tarn_world *world = tarn_mutator_of(self)->world;
  struct tarn_place place;
  if (!world->config.counting)
    return TARN_EKIND;
  if (!tarn_find(world->store.id, (uintptr_t)object, false, &place) ||
      tarn_map_kind(place.map) == TARN_KIND_RAW || !tarn_type_of(object))
    return TARN_EINVAL;
  return tarn_type_of(object)->weakly ? TARN_OK : TARN_ETYPE;
}

tarn_status tarn_weak_handle_new(tarn_thread *self, void *object, tarn_weak_gone_fn gone,
                                 void *data, tarn_weak_handle **out) {
  if (!out)
    return TARN_EINVAL;
  *out = NULL;
  tarn_status status = check(self, object);
  if (status != TARN_OK)
    return status;
  struct tarn_collector *collector = tarn_mutator_of(self)->world->collector;
  tarn_weak_handle *handle = tarn_meta_alloc(&collector->world->store.meta, sizeof *handle);
  if (!handle)
    return TARN_ENOMEM;
  *handle = (tarn_weak_handle){
      .object = (uintptr_t)object, .gone = gone, .data = data, .state = WATCHING};
  tarn_handles_lock(collector);
  bool good = make_room(collector);
  if (good) {
    link_handle(handles_of(collector), handle);
    /* Relaxed: who gives the object back got it from who made the handle, or later. */
    atomic_fetch_add_explicit(&handles_of(collector)->count, 1, memory_order_relaxed);
  }
  tarn_handles_unlock(collector);
  if (!good) {
    drop(collector, handle);
    return TARN_ENOMEM;
  }
  *out = handle;
  return TARN_OK;
}

void *tarn_weak_handle_get(tarn_thread *self, tarn_weak_handle *handle) {
  tarn_status status = handle ? tarn_thread_check_running(self) : TARN_EINVAL;
  if (status != TARN_OK) {
    tarn_thread_fail(self, status);
    return NULL;
  }
  struct tarn_collector *collector = tarn_mutator_of(self)->world->collector;
  tarn_handles_lock(collector);
  void *object = (void *)handle->object;
  if (object && !tarn_ref_living(self, object))
    object = NULL; /* it is dying */
  tarn_handles_unlock(collector);
  return object;
}

void tarn_weak_handle_free(tarn_thread *self, tarn_weak_handle *handle) {
  tarn_status status = handle ? tarn_thread_check_running(self) : TARN_OK;
  if (!handle || status != TARN_OK) {
    tarn_thread_fail(self, status);
    return;
  }
  struct tarn_collector *collector = tarn_mutator_of(self)->world->collector;
  struct tarn_handles *handles = handles_of(collector);
  tarn_handles_lock(collector);
  bool pending = handle->state == PENDING;
  handle->given_back = true;
  if (handle->state == WATCHING) {
    unlink_handle(handles, handle);
    atomic_fetch_sub_explicit(&handles->count, 1, memory_order_relaxed);
  }
  tarn_handles_unlock(collector);
  if (!pending)
    drop(collector, handle);
}

/* --- for deaths ------------------------------------------------------------------------------ */

void tarn_handles_cut(struct tarn_collector *collector, const void *object,
                      struct tarn_pending *pending) {
  struct tarn_handles *handles = handles_of(collector);
  if (atomic_load_explicit(&handles->count, memory_order_relaxed) == 0)
    return;
  tarn_handles_lock(collector);
  tarn_weak_handle **at = handles->buckets ? bucket_of(handles, (uintptr_t)object) : NULL;
  while (at && *at) {
    tarn_weak_handle *handle = *at;
    if (handle->object != (uintptr_t)object) {
      at = &handle->next;
      continue;
    }
    *at = handle->next;
    atomic_fetch_sub_explicit(&handles->count, 1, memory_order_relaxed);
    handle->object = 0;
    handle->next = NULL;
    handle->state = handle->gone && pending ? PENDING : GONE;
    if (handle->state == PENDING) {
      if (pending->first)
        *pending->end = handle;
      else
        pending->first = handle;
      pending->end = &handle->next;
    }
  }
  tarn_handles_unlock(collector);
}

void tarn_handles_tell(struct tarn_collector *collector, tarn_thread *self,
                       struct tarn_pending *pending) {
  struct tarn_mutator *mutator = tarn_mutator_of(self);
  mutator->running_free++;
  while (pending->first) {
    tarn_weak_handle *handle = pending->first;
    pending->first = handle->next;
    tarn_handles_lock(collector);
    bool given_back = handle->given_back;
    tarn_handles_unlock(collector);
    if (!given_back)
      handle->gone(self, handle, handle->data);
    tarn_handles_lock(collector);
    given_back = handle->given_back;
    handle->state = GONE;
    tarn_handles_unlock(collector);
    if (given_back)
      drop(collector, handle);
  }
  mutator->running_free--;
}
