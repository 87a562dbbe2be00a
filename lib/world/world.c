/* SPDX-License-Identifier: MIT */
/*
 * world/world.c: a world is put together and taken apart here; and its few settings.
 */
#include "world/debugger.h"
#include "world/world.h"
#include <tarn/collect.h>
#include <string.h>

#define TRAP_OF_APART ((size_t)1 << 30)

/* --- making ---------------------------------------------------------------------------------- */

static void configure(tarn_world *world, const struct tarn_config *config) {
  static _Atomic unsigned made;
  world->config = *config;
  /* A malloc's has a number of its own: it counts for itself, and a program may have other worlds
   * as well, by another copy of the library.  Relaxed: only a name. */
  if (!world->store.hooks->uncollected)
    world->number = atomic_fetch_add_explicit(&made, 1, memory_order_relaxed) + 1;
  atomic_init(&world->soft_limit, config->soft_limit);
  /* Relaxed: the world is not known to anybody yet. */
  atomic_store_explicit(&world->store.limit, config->hard_limit ? config->hard_limit : SIZE_MAX,
                        memory_order_relaxed);
  world->store.huge_pages = config->huge_pages;
  /* Where memory is never collected, pools fill up slowly, and less of what is asked for is used.
   */
  world->store.populate = config->populate && !world->store.hooks->uncollected;
  world->store.huge_from =
      config->huge_from && !world->store.hooks->uncollected ? config->huge_from : SIZE_MAX;
  world->store.apart = (struct tarn_apart){.every = config->apart, .stacks = config->stacks};
  world->store.trap.most = config->trap ? config->trap : config->apart ? TRAP_OF_APART : 0;
  tarn_purge_configure(&world->store, config->purge_delay_ns, config->purger);
}

/* The parts, in the order in which they lean on each other; each says what undoes it. */
static tarn_status start_heaps(tarn_world *world) {
  tarn_status status = tarn_heap_make(&world->store, TARN_HEAP_ATOMIC, &world->atomic_heap);
  if (status == TARN_OK)
    status = tarn_heap_make(&world->store, TARN_HEAP_CONTAINER, &world->container_heap);
  return status;
}

static void drop_heaps(tarn_world *world) {
  tarn_trap_end(&world->store); /* what is dropped need not go there */
  for (unsigned i = tarn_store_heap_limit(&world->store); i-- > 0;) {
    struct tarn_heap *heap = tarn_store_heap(&world->store, i);
    if (heap)
      tarn_heap_drop(heap);
  }
}

static tarn_status start_parts(tarn_world *world) {
  tarn_status status = tarn_registry_start(world);
  if (status != TARN_OK)
    return status;
  if ((status = tarn_stop_start(world)) != TARN_OK)
    goto registry;
  tarn_roots_start(world);
  if (pthread_mutex_init(&world->near_lock, NULL) != 0) {
    status = TARN_ENOMEM;
    goto roots;
  }
  if ((status = tarn_types_start(world)) == TARN_OK)
    return TARN_OK;
  (void)pthread_mutex_destroy(&world->near_lock);
roots:
  (void)pthread_mutex_destroy(&world->roots.lock);
  tarn_stop_finish(world);
registry:
  tarn_registry_end(world);
  return status;
}

static void end_parts(tarn_world *world) {
  tarn_types_end(world);
  (void)pthread_mutex_destroy(&world->near_lock);
  (void)pthread_mutex_destroy(&world->roots.lock);
  tarn_stop_finish(world);
  tarn_registry_end(world);
}

static tarn_status fill(tarn_world *world, const struct tarn_config *config,
                        const struct tarn_hooks *heap_hooks,
                        const struct tarn_collect_hooks *collect_hooks) {
  tarn_status status = tarn_store_start(&world->store, heap_hooks);
  if (status != TARN_OK)
    return status;
  world->collect_hooks = collect_hooks;
  configure(world, config);
  status = start_heaps(world);
  if (status == TARN_OK)
    status = start_parts(world);
  if (status != TARN_OK) {
    drop_heaps(world);
    tarn_store_end(&world->store);
  }
  return status;
}

tarn_status tarn_world_make(const struct tarn_config *config, const struct tarn_hooks *heap_hooks,
                            const struct tarn_collect_hooks *collect_hooks, tarn_world **out) {
  *out = NULL;
  if (tarn_space_start(config->address_space) != TARN_OK)
    return TARN_EWORLDS; /* no address space */
  tarn_world *world = tarn_os_map(sizeof *world);
  if (!world)
    return TARN_ENOMEM;
  world->debugger = &tarn_debugger;
  tarn_status status = config->apart ? tarn_apart_start() : TARN_OK;
  if (status == TARN_OK)
    status = fill(world, config, heap_hooks, collect_hooks);
  if (status != TARN_OK) {
    tarn_os_unmap(world, sizeof *world);
    return status;
  }
  *out = world;
  return TARN_OK;
}

void tarn_world_drop(tarn_world *world) {
  tarn_worlds_remove(world);
  drop_heaps(world);
  end_parts(world);
  tarn_store_end(&world->store);
  tarn_os_unmap(world, sizeof *world);
}

/* --- heaps ----------------------------------------------------------------------------------- */

tarn_heap *tarn_world_heap(tarn_world *world, tarn_heap_kind kind) {
  if (!world)
    return NULL;
  return kind == TARN_HEAP_CONTAINER ? world->container_heap : world->atomic_heap;
}

tarn_heap_kind tarn_heap_kind_of(const tarn_heap *heap) {
  return heap ? heap->kind : TARN_HEAP_ATOMIC;
}

tarn_status tarn_heap_create(tarn_world *world, tarn_heap_kind kind, tarn_heap **out) {
  if (out)
    *out = NULL;
  if (!world || !out || (kind != TARN_HEAP_ATOMIC && kind != TARN_HEAP_CONTAINER))
    return TARN_EINVAL;
  tarn_heap *heap = NULL;
  tarn_status status = tarn_heap_make(&world->store, kind, &heap);
  if (status == TARN_OK)
    *out = heap;
  return status;
}

size_t tarn_trim(tarn_world *world, size_t keep) {
  if (!world)
    return 0;
  struct tarn_mutator *self = tarn_mutator_self(world);
  bool running = self && tarn_own_state(self) == TARN_STATE_RUNNING;
  bool leaves = running && self->local.pub.tarn_holds == 0;
  if (running || (self && world->store.hooks->uncollected)) { /* its bins are the caller's */
    (void)tarn_local_empty_quarantine(&self->local);
    (void)tarn_spare_drop_all(&self->local);
  }
  if (leaves)
    tarn_stop_leave(self);
  tarn_heap_settle_orphans(&world->store);
  size_t given = tarn_pools_purge_idle(&world->store, 0);
  given += tarn_store_trim(&world->store, keep);
  if (leaves)
    tarn_stop_enter(self);
  return given;
}

/* --- settings -------------------------------------------------------------------------------- */

tarn_status tarn_world_set_tag_mask(tarn_world *world, uintptr_t mask) {
  if (!world || (mask & ~(uintptr_t)7) != 0)
    return TARN_EINVAL;
  if (atomic_load_explicit(&world->store.bytes, memory_order_relaxed) != 0)
    return TARN_EBUSY;
  world->tag_mask = mask; /* read at stops only, which come after the first object */
  return TARN_OK;
}

tarn_status tarn_world_set_near_limit(tarn_world *world, tarn_near_limit_fn callback, void *data) {
  if (!world)
    return TARN_EINVAL;
  (void)pthread_mutex_lock(&world->near_lock);
  world->near_limit = callback;
  world->near_limit_data = data;
  (void)pthread_mutex_unlock(&world->near_lock);
  return TARN_OK;
}

tarn_status tarn_world_set_limits(tarn_world *world, size_t soft, size_t hard) {
  if (!world)
    return TARN_EINVAL;
  /* Relaxed: each limit is a number by itself, looked at before the next allocation of a pool. */
  atomic_store_explicit(&world->soft_limit, soft, memory_order_relaxed);
  atomic_store_explicit(&world->store.limit, hard ? hard : SIZE_MAX, memory_order_relaxed);
  return TARN_OK;
}

void tarn_collect_disable(tarn_world *world) {
  /* Relaxed: nothing is handed over; a collection that has begun is not called back. */
  if (world)
    (void)atomic_fetch_add_explicit(&world->collect_disabled, 1, memory_order_relaxed);
}

tarn_status tarn_collect_enable(tarn_world *world) {
  if (!world)
    return TARN_EINVAL;
  uint32_t nesting = atomic_load_explicit(&world->collect_disabled, memory_order_relaxed);
  do {
    if (nesting == 0)
      return TARN_EUNBALANCED;
  } while (!atomic_compare_exchange_weak_explicit(&world->collect_disabled, &nesting, nesting - 1,
                                                  memory_order_relaxed, memory_order_relaxed));
  return TARN_OK;
}
