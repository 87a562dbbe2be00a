/* SPDX-License-Identifier: MIT */
/*
 * world/fork.c: the process's worlds, and what happens to them when the process forks.
 *
 * Before the fork every world is stopped, in the order of the list, and every lock of the library
 * is taken; so the child finds no structure half changed, and the other threads' bins as they are
 * at a safepoint.  The parent gives everything back.  The child has one thread: all other threads
 * are taken off the registries and their bins given up.
 *
 * Threads of a world without a collector (a malloc) are blocked all the time, so nobody waits for
 * them, and one may be in the middle of a change of its bins.  It holds no lock then that the
 * forking thread has not taken, so everything shared is whole in the child; but the bins are left
 * as they are, for good, and the pools that they own until they are needed (heap/revive.c).
 *
 * The forking thread may be running, blocked, in a hold, or attached to nothing.  A thread that
 * waits for the list's lock leaves the running state where it can; in a hold it cannot, and sets
 * `waits_for_worlds`, which the stop for a fork takes for standing still.
 *
 * Locks are taken in the order of world/world.h: the list; for each world its registry (by the
 * stop, which also has the lock of visits) and the collector's; then for each world types, roots,
 * names, near, purge, heaps, store, limbo, metadata; last the space and liburcu's own.
 */
#include "world/debugger.h"
#include "world/world.h"
#include <stdlib.h>

static pthread_mutex_t worlds_lock = PTHREAD_MUTEX_INITIALIZER;
static tarn_world *worlds; /* under the lock */
tarn_world *const *const tarn_debugger_worlds = &worlds;

/* --- locks of one world ---------------------------------------------------------------------- */

static void lock(pthread_mutex_t *mutex) { (void)pthread_mutex_lock(mutex); }
static void unlock(pthread_mutex_t *mutex) { (void)pthread_mutex_unlock(mutex); }

static void lock_heap(struct tarn_heap *heap) {
  lock(&heap->lock);
  lock(&heap->large_lock);
}
static void unlock_heap(struct tarn_heap *heap) {
  unlock(&heap->large_lock);
  unlock(&heap->lock);
}

/*
 * All heaps, and the store.  A heap's lock goes before the store's, and only the store's lock keeps
 * threads that are not attached from making heaps: so look again once it is held.  Heaps end
 * only by attached threads, which are stopped.
 */
static void lock_heaps(struct tarn_store *store) {
  bool done[TARN_HEAP_MAX] = {false};
  for (bool more = true; more;) {
    for (unsigned i = 0; i < tarn_store_heap_limit(store); i++) {
      struct tarn_heap *heap = done[i] ? NULL : tarn_store_heap(store, i);
      if (heap)
        lock_heap(heap);
      done[i] = done[i] || heap;
    }
    lock(&store->lock);
    more = false;
    for (unsigned i = 0; i < tarn_store_heap_limit(store); i++)
      more = more || (!done[i] && tarn_store_heap(store, i));
    if (more)
      unlock(&store->lock);
  }
}

static void unlock_heaps(struct tarn_store *store) {
  unlock(&store->lock);
  for (unsigned i = tarn_store_heap_limit(store); i-- > 0;)
    if (tarn_store_heap(store, i))
      unlock_heap(tarn_store_heap(store, i));
}

static void lock_parts(tarn_world *world) {
  lock(&world->types.lock);
  lock(&world->roots.lock);
  lock(&world->near_lock);
  lock(&world->stop.names_lock);
  tarn_purge_lock(&world->store); /* no unit is claimed, and no arena on its way out */
  lock_heaps(&world->store);
  lock(&world->store.limbo_lock);
  lock(&world->store.trap.lock);
  lock(&world->store.sampling_lock);
  lock(&world->store.meta.lock);
}

static void unlock_parts(tarn_world *world) {
  unlock(&world->store.meta.lock);
  unlock(&world->store.sampling_lock);
  unlock(&world->store.trap.lock);
  unlock(&world->store.limbo_lock);
  unlock_heaps(&world->store);
  tarn_purge_unlock(&world->store);
  unlock(&world->stop.names_lock);
  unlock(&world->near_lock);
  unlock(&world->roots.lock);
  unlock(&world->types.lock);
}

/* --- the handlers ---------------------------------------------------------------------------- */

/*
 * Does any world use RCU?  If none does, liburcu is left alone: the program may use it too, and
 * call its functions for fork in handlers of its own, which cannot be done twice.  Under the
 * list's lock.
 */
static bool uses_rcu(void) {
  for (const tarn_world *world = worlds; world; world = world->next)
    if (!world->store.hooks->uncollected)
      return true;
  return false;
}

/* Release: whatever the thread did to its bins is done; see stands() in stop.c. */
static void set_waits(uint32_t value) {
  for (struct tarn_mutator *own = tarn_mutator_first(); own; own = own->next_world)
    __atomic_store_n(&own->waits_for_worlds, value, __ATOMIC_RELEASE);
}

/* May this record leave the running state? */
static bool can_leave(const struct tarn_mutator *own) {
  return own->local.pub.tarn_holds == 0 &&
         __atomic_load_n(&own->state, __ATOMIC_RELAXED) == TARN_STATE_RUNNING;
}

/* Takes the list's lock.  Whoever has it may be waiting for this thread to stand still. */
static void lock_worlds(void) {
  if (pthread_mutex_trylock(&worlds_lock) == 0)
    return;
  for (struct tarn_mutator *own = tarn_mutator_first(); own; own = own->next_world)
    if ((own->left_for_worlds = can_leave(own)))
      tarn_stop_leave(own);
  set_waits(1);
  lock(&worlds_lock);
  set_waits(0);
  for (struct tarn_mutator *own = tarn_mutator_first(); own; own = own->next_world)
    if (own->left_for_worlds)
      tarn_stop_enter(own);
}

/* The record, without changing the order of the records. */
static struct tarn_mutator *own_record(const tarn_world *world) {
  struct tarn_mutator *own = tarn_mutator_first();
  while (own && own->world != world)
    own = own->next_world;
  return own;
}

/* Handlers of the calling thread's fork that have been called: two threads that make worlds at the
 * same time may both have registered them.  One call of each does the work. */
static _Thread_local unsigned forking __attribute__((tls_model("initial-exec")));

static bool ends_fork(void) { return forking != 0 && --forking == 0; }

static void before_fork(void) {
  if (forking++ != 0)
    return;
  lock_worlds();
  for (tarn_world *world = worlds; world; world = world->next)
    tarn_stop_begin_fork(world, own_record(world));
  for (tarn_world *world = worlds; world; world = world->next)
    if (world->collect_hooks && world->collect_hooks->before_fork)
      world->collect_hooks->before_fork(world);
  for (tarn_world *world = worlds; world; world = world->next)
    lock_parts(world);
  tarn_space_lock();
  tarn_apart_lock();
  if (uses_rcu())
    urcu_bp_before_fork();
}

static void after_fork_parent(void) {
  if (!ends_fork())
    return;
  if (uses_rcu())
    urcu_bp_after_fork_parent();
  tarn_apart_unlock();
  tarn_space_unlock();
  for (tarn_world *world = worlds; world; world = world->next)
    unlock_parts(world);
  for (tarn_world *world = worlds; world; world = world->next) {
    if (world->collect_hooks && world->collect_hooks->parent_fork)
      world->collect_hooks->parent_fork(world);
    tarn_stop_end(world, own_record(world));
  }
  unlock(&worlds_lock);
}

static void after_fork_child(void) {
  if (!ends_fork())
    return;
  if (uses_rcu())
    urcu_bp_after_fork_child();
  tarn_apart_unlock();
  tarn_space_unlock();
  for (tarn_world *world = worlds; world; world = world->next) {
    tarn_purge_after_fork(&world->store);
    unlock_parts(world);
  }
  for (tarn_world *world = worlds; world; world = world->next) {
    struct tarn_mutator *own = own_record(world);
    tarn_registry_after_fork(world, own);
    tarn_stop_after_fork(world);
    if (own)
      own->id = tarn_os_thread_id();
    if (world->collect_hooks && world->collect_hooks->after_fork)
      world->collect_hooks->after_fork(world);
    tarn_stop_end(world, own);
  }
  unlock(&worlds_lock);
}

/* --- the list -------------------------------------------------------------------------------- */

/* Without a lock: a thread that is not ours may be forking, and no handler sees to the lock yet.
 * Relaxed: who has not seen it registers them once more. */
static bool has_handlers(void) {
  static _Atomic bool registered;
  if (!atomic_load_explicit(&registered, memory_order_relaxed) &&
      tarn_os_at_fork(before_fork, after_fork_parent, after_fork_child))
    atomic_store_explicit(&registered, true, memory_order_relaxed);
  return atomic_load_explicit(&registered, memory_order_relaxed);
}

bool tarn_worlds_add(tarn_world *world) {
  /* Acquire, and release below: who finds it added need not wait for the lock. */
  if (__atomic_load_n(&world->listed, __ATOMIC_ACQUIRE))
    return true;
  if (!has_handlers())
    return false;
  lock_worlds();
  if (!world->listed) {
    world->previous = NULL;
    world->next = worlds;
    if (worlds)
      worlds->previous = world;
    worlds = world;
    __atomic_store_n(&world->listed, true, __ATOMIC_RELEASE);
  }
  unlock(&worlds_lock);
  return true;
}

void tarn_worlds_remove(tarn_world *world) {
  lock_worlds();
  if (world->listed) {
    if (world->previous)
      world->previous->next = world->next;
    else
      worlds = world->next;
    if (world->next)
      world->next->previous = world->previous;
    world->next = world->previous = NULL;
    __atomic_store_n(&world->listed, false, __ATOMIC_RELEASE);
  }
  unlock(&worlds_lock);
}

void tarn_worlds_each(void (*fn)(tarn_world *world)) {
  lock_worlds();
  for (tarn_world *world = worlds; world; world = world->next)
    fn(world);
  unlock(&worlds_lock);
}
