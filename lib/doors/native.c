/* SPDX-License-Identifier: MIT */
/*
 * doors/native.c: the library's own front: makes a world from options, puts the layers together,
 * and ends it; and the calls for plain blocks.
 */
#include "collect/collector.h"
#include "heap/fast.h"
#include "heap/sample.h"
#include "inspect/events.h"
#include "inspect/live.h"
#include "inspect/monitor.h"
#include "inspect/metrics.h"
#include "inspect/options.h"
#include "inspect/profile.h"
#include "inspect/watch.h"
#include <string.h>
#include <tarn/tarn.h>

/* --- worlds ---------------------------------------------------------------------------------- */

tarn_status tarn_world_create(const tarn_options *options, tarn_world **out) {
  struct tarn_config config;
  tarn_world *world = NULL;
  if (!out)
    return TARN_EINVAL;
  *out = NULL;
  tarn_status status = tarn_config_resolve(options, NULL, &config, NULL);
  if (status != TARN_OK)
    return status;
  if (config.fault_mmap)
    tarn_os_fault_at(config.fault_mmap);
  status = tarn_world_make(&config, &tarn_collector_heap_hooks, &tarn_collector_hooks, &world);
  if (status != TARN_OK)
    return status;
  status = tarn_collector_start(world, &tarn_inspect_events);
  if (status == TARN_OK)
    status = tarn_watchers_start(world);
  if (status == TARN_OK)
    tarn_profile_begin(world);
  if (status == TARN_OK && !tarn_worlds_add(world))
    status = TARN_ENOMEM;
  if (status != TARN_OK) {
    if (world->collector)
      tarn_profile_forget(world);
    tarn_watchers_end(world);
    tarn_collector_end(world);
    tarn_world_drop(world);
    return status;
  }
  if (config.apart || config.trap)
    tarn_faults_watch();
  tarn_monitor_start(world);
  tarn_metrics_begin(world);
  tarn_live_start(world);
  *out = world;
  return TARN_OK;
}

/* Detaches the calling thread, however often it is attached; its misuses do not matter any more. */
static void detach_caller(tarn_world *world) {
  for (tarn_thread *self; (self = tarn_thread_self(world));)
    (void)tarn_thread_detach(self);
}

tarn_status tarn_world_destroy(tarn_world *world) {
  tarn_thread *self;
  if (!world)
    return TARN_EINVAL;
  size_t others = atomic_load_explicit(&world->registry.count, memory_order_acquire);
  if (others > (tarn_thread_self(world) ? 1u : 0u))
    return TARN_EBUSY;
  tarn_monitor_farewell(world);
  detach_caller(world);
  /* `free` functions may ask for the calling thread's handle. */
  tarn_status status = tarn_thread_attach(world, &self);
  if (status != TARN_OK)
    return status;
  tarn_block_begin(self); /* it may be about to stop the world */
  tarn_monitor_end(world);
  tarn_sweeper_end(world->collector); /* it writes to the page, and what follows touches pools */
  tarn_live_end(world);
  tarn_block_end(self);
  tarn_metrics_end(world);
  tarn_profile_end(world);
  tarn_worlds_remove(world);
  tarn_profile_forget(world);
  tarn_purge_end(&world->store);
  tarn_gc_hold(self); /* they may allocate, but a collection would move things under the walk */
  tarn_release_everything(world, tarn_mutator_of(self));
  self->tarn_holds =
      0; /* no tarn_gc_release: that is a safepoint, and everything has been released */
  detach_caller(world);
  tarn_watchers_end(world);
  tarn_collector_end(world);
  tarn_world_drop(world);
  return TARN_OK;
}

/* --- plain blocks ---------------------------------------------------------------------------- */

/* May the caller touch the heaps through this handle now? */
static bool may_touch(tarn_thread *self) {
  tarn_status status = tarn_thread_check_running(self);
  if (status != TARN_OK)
    tarn_thread_fail(self, status);
  return status == TARN_OK;
}

static void *fail(tarn_thread *self, tarn_status status) {
  tarn_thread_fail(self, status);
  return NULL;
}

/*
 * What can be had at once: a raw block from a bin of the thread for the world's atomic heap.  NULL:
 * the slow path, which also finds out what is wrong with the arguments.
 */
static inline void *alloc_fast(tarn_thread *self, size_t size, size_t *dirty) {
  struct tarn_local *local = tarn_local_of(self);
  /* Relaxed, as in tarn_safepoint: a thread that only reuses blocks must be stopped as well.  What
   * else it is called for has to wait for a poll. */
  if (TARN_UNLIKELY(__atomic_load_n(&self->tarn_poll, __ATOMIC_RELAXED) & TARN_POLL_STOP))
    return NULL;
  if (TARN_LIKELY(size <= TARN_INLINE_MOST))
    return tarn_fast_alloc(local, tarn_local_raw_bin(local, tarn_bin_table[(size + 7) / 8]), dirty);
  if (TARN_UNLIKELY(size > TARN_LARGE_LIMIT))
    return NULL;
  return tarn_fast_alloc(local, &local->bins[TARN_FLAVOUR_RAW][tarn_class_of(size)], dirty);
}

static inline tarn_heap *atomic_heap(tarn_thread *self) {
  return tarn_mutator_of(self)->world->atomic_heap;
}

/* A block of alloc_fast is to be handed out: a profile counts it. */
#define NOTE_FAST(self, block, size)                                              \
  do {                                                                            \
    if (TARN_UNLIKELY(tarn_local_of(self)->store->sampling)) {                    \
      TARN_CAME_BY(self);                                                         \
      tarn_local_sample(tarn_local_of(self), atomic_heap(self), (block), (size)); \
    }                                                                             \
  } while (0)

/* Its users end in calls that need no frame of theirs. */
#define SLOW_PATH __attribute__((noinline)) static

SLOW_PATH void *heap_alloc_slow(tarn_thread *self, tarn_heap *heap, size_t size) {
  if (!may_touch(self))
    return NULL;
  TARN_CAME_BY(self);
  if (!heap || heap->store != tarn_local_of(self)->store)
    return fail(self, TARN_EINVAL);
  if (size > TARN_OBJECT_MAX)
    return fail(self, TARN_EOVERFLOW);
  bool raw = heap->kind == TARN_HEAP_ATOMIC;
  return tarn_local_alloc(tarn_local_of(self), heap,
                          raw ? TARN_FLAVOUR_RAW : TARN_FLAVOUR_CONTAINER, size);
}

void *tarn_heap_alloc_outline(tarn_thread *self, tarn_heap *heap, size_t size) {
  size_t dirty;
  if (TARN_LIKELY(tarn_thread_is_running(self) && heap == self->tarn_raw)) {
    void *block = alloc_fast(self, size, &dirty);
    if (TARN_LIKELY(block != NULL)) {
      NOTE_FAST(self, block, size);
      return tarn_inline_clear(block, dirty);
    }
  }
  return heap_alloc_slow(self, heap, size);
}

SLOW_PATH void *alloc_atomic_slow(tarn_thread *self, size_t size) {
  return may_touch(self) ? heap_alloc_slow(self, atomic_heap(self), size) : NULL;
}

void *tarn_alloc_atomic_outline(tarn_thread *self, size_t size) {
  size_t dirty;
  void *block = tarn_thread_is_running(self) ? alloc_fast(self, size, &dirty) : NULL;
  if (TARN_UNLIKELY(!block))
    return alloc_atomic_slow(self, size);
  NOTE_FAST(self, block, size);
  return tarn_inline_clear(block, dirty);
}

void *tarn_alloc_atomic_array(tarn_thread *self, size_t count, size_t size) {
  size_t bytes;
  if (__builtin_mul_overflow(count, size, &bytes))
    bytes = SIZE_MAX; /* refused like any other that is too large */
  return tarn_alloc_atomic(self, bytes);
}

SLOW_PATH void *alloc_raw_slow(tarn_thread *self, size_t size) {
  if (!may_touch(self))
    return NULL;
  TARN_CAME_BY(self);
  if (size > TARN_OBJECT_MAX)
    return fail(self, TARN_EOVERFLOW);
  return tarn_local_alloc_raw(tarn_local_of(self), atomic_heap(self), size);
}

void *tarn_alloc_raw_outline(tarn_thread *self, size_t size) {
  size_t dirty;
  void *block = tarn_thread_is_running(self) ? alloc_fast(self, size, &dirty) : NULL;
  if (TARN_UNLIKELY(!block))
    return alloc_raw_slow(self, size);
  NOTE_FAST(self, block, size);
  return block;
}

void *tarn_alloc_aligned(tarn_thread *self, size_t alignment, size_t size) {
  if (!may_touch(self))
    return NULL;
  TARN_CAME_BY(self);
  if (alignment == 0 || (alignment & (alignment - 1)) != 0 || alignment > TARN_ALIGNMENT_MAX)
    return fail(self, TARN_EINVAL);
  if (size > TARN_OBJECT_MAX)
    return fail(self, TARN_EOVERFLOW);
  return tarn_local_alloc_aligned(tarn_local_of(self), atomic_heap(self), alignment, size);
}

/* Fits the block as it is, without waste of more than a half? */
static bool fits(size_t room, size_t size) {
  return size <= room && (size >= room / 2 || room == TARN_BLOCK_MIN);
}

/* Where the word is zero the memory of an empty pool may have gone back, and the key with it. */
static bool is_free(const struct tarn_place *place) {
  if (tarn_map_form(place->map) != TARN_FORM_POOL)
    return false;
  uintptr_t word = *(const uintptr_t *)place->block;
  return word == tarn_free_key(TARN_KIND_RAW, (const void *)place->block) ||
         (word == 0 && tarn_remote_is_empty(tarn_pool_of(place->block)));
}

void *tarn_realloc(tarn_thread *self, void *block, size_t size) {
  struct tarn_place place;
  if (!block)
    return tarn_alloc_raw(self, size);
  if (!may_touch(self))
    return NULL;
  TARN_CAME_BY(self);
  if (size > TARN_OBJECT_MAX)
    return fail(self, TARN_EOVERFLOW);
  struct tarn_local *local = tarn_local_of(self);
  /* The caller has the block, so a large one's header stays. */
  if (!tarn_find(local->store->id, (uintptr_t)block, false, &place))
    local->store->hooks->corrupt(local->store, block, "not the start of a block of this world");
  if (tarn_map_kind(place.map) != TARN_KIND_RAW)
    return fail(self, TARN_EINVAL);
  if (is_free(&place))
    local->store->hooks->corrupt(local->store, block, "freed twice, or never allocated");
  tarn_tools_open(block, place.size); /* how much of it is used is not known */
  if (fits(place.size, size))
    return block;
  void *const slots[] = {&block};
  tarn_frame frame;
  tarn_frame_push(self, &frame, slots, 1); /* making the new one may collect */
  void *more = tarn_local_alloc_raw(local, tarn_heap_of(&place), size);
  tarn_frame_pop(self, &frame);
  if (!more)
    return NULL;
  memcpy(more, block, size < place.size ? size : place.size);
  tarn_local_free(local, block);
  return more;
}

/* What hangs on an object goes first.  It is in no root any more, but its function may collect. */
static void release(struct tarn_local *local, void *object) {
  void *const slots[] = {&object};
  tarn_frame frame;
  tarn_finalizers_freed(tarn_mutator_of_local(local)->world->collector, object);
  tarn_frame_push(&local->pub, &frame, slots, 1);
  local->store->hooks->release(local, object);
  tarn_frame_pop(&local->pub, &frame);
}

SLOW_PATH void free_slow(tarn_thread *self, void *block) {
  struct tarn_place place;
  if (!block || !may_touch(self))
    return;
  struct tarn_local *local = tarn_local_of(self);
  /* What is no block, or free, is found out below. */
  if (tarn_find(local->store->id, (uintptr_t)block, false, &place) &&
      tarn_map_kind(place.map) != TARN_KIND_RAW && *tarn_block_words(block) != 0)
    release(local, block);
  tarn_local_free(local, block);
}

void tarn_free_outline(tarn_thread *self, void *block) {
  if (TARN_LIKELY(tarn_thread_is_running(self))) {
    struct tarn_local *local = tarn_local_of(self);
    if (TARN_UNLIKELY(local->store->sampling))
      local->store->sampling->freed(local->store, block);
    if (TARN_LIKELY(tarn_fast_free(local, block, false)))
      return;
  }
  free_slow(self, block);
}

void tarn_free_attend(tarn_thread *self, struct tarn_pool_own *pool) {
  tarn_local_attend(tarn_local_of(self), (struct tarn_pool *)(void *)pool);
}
