/* SPDX-License-Identifier: MIT */
/*
 * doors/native.c: the library's own front: makes a world from options, puts the layers together,
 * and ends it; and the calls for plain blocks.
 */
#include "collect/collector.h"
#include "inspect/events.h"
#include "inspect/options.h"
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
  if (status != TARN_OK) {
    tarn_collector_end(world);
    tarn_world_drop(world);
    return status;
  }
  tarn_worlds_add(world);
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
  detach_caller(world);
  /* `free` functions may ask for the calling thread's handle. */
  tarn_status status = tarn_thread_attach(world, &self);
  if (status != TARN_OK)
    return status;
  tarn_worlds_remove(world);
  tarn_purge_end(&world->store); /* what follows touches pools in no stop */
  tarn_gc_hold(self); /* they may allocate, but a collection would move things under the walk */
  tarn_release_everything(world, tarn_mutator_of(self));
  self->tarn_holds =
      0; /* no tarn_gc_release: that is a safepoint, and everything has been released */
  detach_caller(world);
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

void *tarn_heap_alloc(tarn_thread *self, tarn_heap *heap, size_t size) {
  if (!may_touch(self))
    return NULL;
  if (!heap || heap->store != tarn_local_of(self)->store)
    return fail(self, TARN_EINVAL);
  if (size > TARN_OBJECT_MAX)
    return fail(self, TARN_EOVERFLOW);
  tarn_flavour flavour =
      heap->kind == TARN_HEAP_CONTAINER ? TARN_FLAVOUR_CONTAINER : TARN_FLAVOUR_RAW;
  return tarn_local_alloc(tarn_local_of(self), heap, flavour, size);
}

void *tarn_alloc_atomic(tarn_thread *self, size_t size) {
  if (!may_touch(self))
    return NULL;
  if (size > TARN_OBJECT_MAX)
    return fail(self, TARN_EOVERFLOW);
  return tarn_local_alloc(tarn_local_of(self), tarn_mutator_of(self)->world->atomic_heap,
                          TARN_FLAVOUR_RAW, size);
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

void tarn_free(tarn_thread *self, void *block) {
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
