/* SPDX-License-Identifier: MIT */
/*
 * world/thread.c: attaching and detaching, the registry, safepoints, blocked regions, holds.
 *
 * A thread finds its records through one thread-local pointer: a list, the most recently used
 * first, so that the check of a handle is a load and a compare for who stays in one world.
 *
 * A record is on the registry's list exactly while its thread is attached.  Walkers without the
 * lock (tarn_stop_ask, statistics) read the list under RCU; a record is put on the list again only
 * after a grace period, which is paid for many at once: see world/thread.h.
 *
 * A malloc may stand on a world without a collector, so whatever attaching calls that allocates
 * (setting a thread key can) comes when the record can be used already.
 */
#include "world/thread.h"
#include "os/probes.h"
#include "world/stop.h"
#include "world/world.h"
#include <limits.h>
#include <stdio.h>
#include <string.h>

_Thread_local struct tarn_mutator *tarn_thread_records;

/* Its destructor detaches threads that exit; the value does not matter. */
static _Atomic uint64_t exit_key; /* one more than the key; 0: there is none yet */

/* Rounds of destructors in which that of the key has run. */
static _Thread_local unsigned char exit_rounds __attribute__((tls_model("initial-exec")));

/* --- finding one's own records --------------------------------------------------------------- */

struct tarn_mutator *tarn_mutator_first(void) {
  return tarn_thread_records;
}

static void move_to_front(struct tarn_mutator **link) {
  struct tarn_mutator *mutator = *link;
  *link = mutator->next_world;
  mutator->next_world = tarn_thread_records;
  tarn_thread_records = mutator;
}

static __attribute__((noinline)) bool find_further(const struct tarn_mutator *mutator) {
  for (struct tarn_mutator **link = &tarn_thread_records; *link; link = &(*link)->next_world) {
    if (*link == mutator) {
      move_to_front(link);
      return true;
    }
  }
  return false;
}

static bool is_mine(const tarn_thread *self) {
  const struct tarn_mutator *mutator = (const struct tarn_mutator *)(const void *)self;
  return TARN_LIKELY(tarn_thread_records == mutator) ? mutator != NULL : find_further(mutator);
}

struct tarn_mutator *tarn_mutator_self(const tarn_world *world) {
  if (tarn_thread_records && tarn_thread_records->world == world)
    return tarn_thread_records;
  for (struct tarn_mutator **link = &tarn_thread_records; *link; link = &(*link)->next_world) {
    if ((*link)->world == world) {
      move_to_front(link);
      return tarn_thread_records;
    }
  }
  return NULL;
}

tarn_thread *tarn_thread_self(tarn_world *world) {
  struct tarn_mutator *mutator = world ? tarn_mutator_self(world) : NULL;
  return mutator ? tarn_thread_of(mutator) : NULL;
}

tarn_status tarn_thread_check(const tarn_thread *self) {
  if (TARN_LIKELY(self && is_mine(self)))
    return TARN_OK;
  if (!self)
    return TARN_EINVAL;
  /* Relaxed: a handle that is not the caller's may become anything at any time. */
  const struct tarn_mutator *mutator = (const struct tarn_mutator *)(const void *)self;
  return __atomic_load_n(&mutator->state, __ATOMIC_RELAXED) == TARN_STATE_DETACHED
             ? TARN_EDETACHED
             : TARN_EWRONGTHREAD;
}

tarn_status tarn_thread_check_running(const tarn_thread *self) {
  tarn_status status = tarn_thread_check(self);
  const struct tarn_mutator *mutator = (const struct tarn_mutator *)(const void *)self;
  if (status == TARN_OK && tarn_own_state(mutator) != TARN_STATE_RUNNING)
    status = TARN_EUNBALANCED;
  return status;
}

void tarn_thread_fail(tarn_thread *self, tarn_status status) {
  if (self && is_mine(self))
    tarn_mutator_of(self)->status = status;
}

/* For functions that return nothing: the record, if the handle is good. */
static struct tarn_mutator *mutator_if_good(tarn_thread *self) {
  return tarn_thread_check(self) == TARN_OK ? tarn_mutator_of(self) : NULL;
}

/* --- the registry ---------------------------------------------------------------------------- */

tarn_status tarn_registry_start(tarn_world *world) {
  struct tarn_registry *registry = &world->registry;
  CDS_INIT_LIST_HEAD(&registry->list);
  registry->kept = registry->waiting = NULL;
  registry->waiting_count = 0;
  registry->ending = false;
  registry->ended = 0;
  registry->fresh = registry->fresh_end = NULL;
  atomic_store_explicit(&registry->count, 0, memory_order_relaxed);
  return pthread_mutex_init(&registry->lock, NULL) == 0 ? TARN_OK : TARN_ENOMEM;
}

/* The records go with the world's metadata. */
void tarn_registry_end(tarn_world *world) {
  world->registry.kept = world->registry.waiting = NULL;
  (void)pthread_mutex_destroy(&world->registry.lock);
}

static bool is_uncollected(const tarn_world *world) { return world->store.hooks->uncollected; }

/* Counts a thread if the limit allows. */
static bool count_in(tarn_world *world) {
  size_t count = atomic_load_explicit(&world->registry.count, memory_order_relaxed);
  size_t limit = world->config.max_threads;
  do {
    if (limit != 0 && count >= limit)
      return false;
  } while (!atomic_compare_exchange_weak_explicit(&world->registry.count, &count, count + 1,
                                                  memory_order_relaxed, memory_order_relaxed));
  return true;
}

/* True: it was the last. */
static bool count_out(tarn_world *world) {
  return atomic_fetch_sub_explicit(&world->registry.count, 1, memory_order_relaxed) == 1;
}

/* Under the registry's lock, as the next ones. */
static void keep_record(struct tarn_registry *registry, struct tarn_mutator *mutator) {
  mutator->next_free = registry->kept;
  registry->kept = mutator;
}

static void let_wait(struct tarn_registry *registry, struct tarn_mutator *mutator) {
  mutator->next_free = registry->waiting;
  registry->waiting = mutator;
  registry->waiting_count++;
}

/* One grace period for all that wait.  The lock is not held meanwhile. */
static void end_wait(struct tarn_registry *registry) {
  struct tarn_mutator *waiting = registry->waiting, *next;
  registry->waiting = NULL;
  registry->ending = true;
  (void)pthread_mutex_unlock(&registry->lock);
  tarn_rcu_synchronize();
  (void)pthread_mutex_lock(&registry->lock);
  for (; waiting; waiting = next) {
    next = waiting->next_free;
    keep_record(registry, waiting);
    registry->waiting_count--;
  }
  registry->ending = false;
  /* Relaxed: who sleeps takes the lock before it looks at anything. */
  (void)__atomic_fetch_add(&registry->ended, 1, __ATOMIC_RELAXED);
  tarn_os_wake_all(&registry->ended);
}

/* Another thread is about that. */
static void wait_for_end(struct tarn_registry *registry) {
  uint32_t ended = __atomic_load_n(&registry->ended, __ATOMIC_RELAXED);
  (void)pthread_mutex_unlock(&registry->lock);
  tarn_os_wait(&registry->ended, ended, 0);
  (void)pthread_mutex_lock(&registry->lock);
}

/* A record that was never used; whole cache lines, since its neighbours are other threads'. */
static struct tarn_mutator *fresh_record(tarn_world *world) {
  const size_t size = (sizeof(struct tarn_mutator) + 127) & ~(size_t)127;
  struct tarn_registry *registry = &world->registry;
  if (registry->fresh == registry->fresh_end) {
    char *block = tarn_meta_alloc(&world->store.meta, size * TARN_RECORDS_BLOCK);
    if (!block)
      return NULL;
    registry->fresh = block;
    registry->fresh_end = block + size * TARN_RECORDS_BLOCK;
  }
  struct tarn_mutator *mutator = (struct tarn_mutator *)(void *)registry->fresh;
  registry->fresh += size;
  return mutator;
}

static struct tarn_mutator *take_record(tarn_world *world) {
  struct tarn_registry *registry = &world->registry;
  (void)pthread_mutex_lock(&registry->lock);
  while (!registry->kept && registry->waiting_count >= TARN_RECORDS_WAIT)
    if (registry->ending)
      wait_for_end(registry);
    else
      end_wait(registry);
  struct tarn_mutator *mutator = registry->kept;
  if (mutator)
    registry->kept = mutator->next_free;
  else
    mutator = fresh_record(world);
  (void)pthread_mutex_unlock(&registry->lock);
  return mutator;
}

static void set_name(struct tarn_mutator *mutator, const char *name) {
  struct tarn_stop *stop = &mutator->world->stop;
  char text[sizeof mutator->name] = "";
  if (name)
    (void)snprintf(text, sizeof text, "%s", name);
  else
    tarn_os_thread_name(text, sizeof text);
  (void)pthread_mutex_lock(&stop->names_lock);
  memcpy(mutator->name, text, sizeof text);
  (void)pthread_mutex_unlock(&stop->names_lock);
}

void tarn_thread_rename(struct tarn_mutator *self) { set_name(self, NULL); }

/* --- attach ---------------------------------------------------------------------------------- */

static bool find_stack(struct tarn_mutator *mutator) {
  uintptr_t low, high;
  if (mutator->stack_high == 0) {
    if (!tarn_os_stack_bounds(&low, &high))
      return false;
    mutator->stack_high = high;
  }
  return true;
}

/* Everything but what makes the record visible. */
static tarn_status fill_record(tarn_world *world, struct tarn_mutator *mutator) {
  mutator->world = world;
  mutator->local.store = &world->store;
  mutator->local.pub.tarn_raw = world->atomic_heap;
  mutator->local.pub.tarn_holds = 0;
  mutator->local.pub.tarn_frames = NULL;
  tarn_local_open(&mutator->local);
  mutator->blocked = 0;
  mutator->attached = 1;
  mutator->status = TARN_OK;
  mutator->running_free = 0;
  mutator->dying = NULL;
  mutator->releasing = NULL;
  mutator->attached_at = mutator->blocked_at = 0;
  mutator->pair = (struct tarn_told_pair){.number = 0};
  mutator->died = false;
  __atomic_store_n(&mutator->came_by, 0, __ATOMIC_RELAXED); /* nobody reads them yet */
  __atomic_store_n(&mutator->held_at, 0, __ATOMIC_RELAXED);
  mutator->stack_high = mutator->stack_low = 0;
  mutator->scan_stack = false;
  if (is_uncollected(world) && !world->config.live && !world->config.log)
    return TARN_OK; /* nobody asks for its stack or its name, and each costs a system call */
  mutator->id = tarn_os_thread_id();
  mutator->attached_at = tarn_os_now();
  mutator->scan_stack = world->config.scan_stack;
  set_name(mutator, NULL);
  return mutator->scan_stack && !find_stack(mutator) ? TARN_ESYSTEM : TARN_OK;
}

/* No stop is on while the lock is held, so the thread can begin as running; or as blocked, for
 * good, where nobody waits for it. */
static void enter_registry(tarn_world *world, struct tarn_mutator *mutator) {
  bool uncollected = is_uncollected(world);
  (void)pthread_mutex_lock(&world->registry.lock);
  /* Relaxed: requesters come after the unlock.  `free` functions may be due, and who called for
   * attention may have missed this thread, so it looks for itself. */
  __atomic_store_n(&mutator->local.pub.tarn_poll, uncollected ? 0 : TARN_POLL_RELEASE,
                   __ATOMIC_RELAXED);
  __atomic_store_n(&mutator->state, uncollected ? TARN_STATE_BLOCKED : TARN_STATE_RUNNING,
                   __ATOMIC_RELAXED);
  tarn_thread_set_inlined(mutator, !uncollected);
  cds_list_add_rcu(&mutator->node, &world->registry.list);
  (void)pthread_mutex_unlock(&world->registry.lock);
}

static void detach_all(void *value);

/* The first who comes makes the key, and of several who do one is kept; if there is none to be had,
 * the next one tries again.  Release and acquire: the key is ready for use. */
static bool have_exit_key(pthread_key_t *key) {
  uint64_t made = atomic_load_explicit(&exit_key, memory_order_acquire);
  if (made == 0) {
    if (!tarn_os_make_key(key, detach_all))
      return false;
    if (atomic_compare_exchange_strong_explicit(&exit_key, &made, (uint64_t)*key + 1,
                                                memory_order_acq_rel, memory_order_acquire))
      return true;
    (void)pthread_key_delete(*key);
  }
  *key = (pthread_key_t)(made - 1);
  return true;
}

static bool detaches_at_exit(void) {
  pthread_key_t key;
  return have_exit_key(&key) && tarn_os_set_key(key, &exit_key);
}

static bool detach_now(struct tarn_mutator *mutator);

static void tell_thread(struct tarn_mutator *mutator, bool gone) {
  struct tarn_store *store = &mutator->world->store;
  if (gone)
    TARN_PROBE2(thread__detach, mutator->id, (int)mutator->died);
  else
    TARN_PROBE1(thread__attach, mutator->id);
  if (tarn_is_told(store, TARN_TOLD_THREAD))
    tarn_tell(store, (struct tarn_told){.kind = TARN_TOLD_THREAD,
                                        .gone = gone,
                                        .began = mutator->attached_at,
                                        .what = mutator});
}

static tarn_status attach_new(tarn_world *world, struct tarn_mutator **out) {
  if (!tarn_worlds_add(world))
    return TARN_ENOMEM;
  if (!count_in(world))
    return TARN_ETHREADS;
  struct tarn_mutator *mutator = take_record(world);
  tarn_status status = mutator ? fill_record(world, mutator) : TARN_ENOMEM;
  if (status != TARN_OK) {
    if (mutator) {
      (void)pthread_mutex_lock(&world->registry.lock);
      keep_record(&world->registry, mutator);
      (void)pthread_mutex_unlock(&world->registry.lock);
    }
    (void)count_out(world);
    return status;
  }
  enter_registry(world, mutator);
  mutator->next_world = tarn_thread_records;
  tarn_thread_records = mutator;
  if (!detaches_at_exit()) {
    (void)detach_now(mutator);
    return TARN_ENOMEM;
  }
  tell_thread(mutator, false);
  *out = mutator;
  return TARN_OK;
}

tarn_status tarn_thread_attach(tarn_world *world, tarn_thread **out) {
  if (out)
    *out = NULL;
  if (!world || !out)
    return TARN_EINVAL;
  struct tarn_mutator *mutator = tarn_mutator_self(world);
  tarn_status status = TARN_OK;
  if (mutator)
    mutator->attached++;
  else
    status = attach_new(world, &mutator);
  if (status == TARN_OK)
    *out = tarn_thread_of(mutator);
  return status;
}

/* --- detach ---------------------------------------------------------------------------------- */

/* Closes what was left open; the thread is blocked afterwards.  True: nothing was open. */
static bool close_all(struct tarn_mutator *mutator) {
  if (is_uncollected(mutator->world))
    return true; /* is blocked, and opens nothing */
  bool balanced = mutator->local.pub.tarn_holds == 0 && !mutator->local.pub.tarn_frames &&
                  mutator->blocked == 0;
  mutator->blocked = 0;
  /* While the thread is blocked a collector may be looking at its frames, and afterwards they may
   * lie in a part of the stack that is gone. */
  if (tarn_own_state(mutator) != TARN_STATE_RUNNING)
    tarn_stop_enter(mutator);
  mutator->local.pub.tarn_holds = 0;
  mutator->local.pub.tarn_frames = NULL;
  mutator->scan_stack = false;
  tarn_stop_leave(mutator);
  return balanced;
}

/* Under the registry's lock. */
static void make_detached(struct tarn_mutator *mutator) {
  tarn_local_retire(&mutator->local);
  mutator->attached = 0;
  /* Relaxed: who uses a stale handle has no claim to be told in time. */
  __atomic_store_n(&mutator->local.pub.tarn_poll, TARN_POLL_DETACHED, __ATOMIC_RELAXED);
  __atomic_store_n(&mutator->state, TARN_STATE_DETACHED, __ATOMIC_RELAXED);
  tarn_thread_set_inlined(mutator, false);
  cds_list_del_rcu(&mutator->node);
}

static void leave_registry(struct tarn_mutator *mutator) {
  struct tarn_registry *registry = &mutator->world->registry;
  (void)pthread_mutex_lock(&registry->lock); /* waits for the end of a stop */
  make_detached(mutator);
  (void)pthread_mutex_unlock(&registry->lock);
}

/* The record can be taken by others from now on; `mutator` is not the caller's any more. */
static void put_record(tarn_world *world, struct tarn_mutator *mutator) {
  struct tarn_registry *registry = &world->registry;
  (void)pthread_mutex_lock(&registry->lock);
  if (is_uncollected(world))
    keep_record(registry, mutator);
  else
    let_wait(registry, mutator); /* walkers may stand on it */
  /* Last, and under the lock: who finds nobody attached may end the world as soon as he has had it.
   */
  if (count_out(world)) {
    tarn_purge_let_go(&world->store);
    if (world->store.hooks->deserted)
      world->store.hooks->deserted(&world->store);
  }
  (void)pthread_mutex_unlock(&registry->lock);
}

static void forget_record(const struct tarn_mutator *mutator) {
  for (struct tarn_mutator **link = &tarn_thread_records; *link; link = &(*link)->next_world) {
    if (*link == mutator) {
      *link = mutator->next_world;
      return;
    }
  }
}

static bool detach_now(struct tarn_mutator *mutator) {
  const struct tarn_hooks *hooks = mutator->local.store->hooks;
  if (hooks->retired)
    hooks->retired(&mutator->local);
  tarn_world *world = mutator->world;
  bool balanced = close_all(mutator);
  forget_record(mutator);
  leave_registry(mutator);
  tarn_store_tend(&world->store); /* its pools may have become free */
  tell_thread(mutator, true);
  put_record(world, mutator);
  return balanced;
}

/* Is the program inside a function that the library called?  It goes on with the thread then. */
static bool is_inside_function(const struct tarn_mutator *mutator) {
  const struct tarn_collect_hooks *hooks = mutator->world->collect_hooks;
  return mutator->running_free || mutator->dying ||
         (hooks && hooks->runs_functions && hooks->runs_functions(mutator));
}

tarn_status tarn_thread_detach(tarn_thread *self) {
  tarn_status status = tarn_thread_check(self);
  if (status != TARN_OK)
    return status;
  struct tarn_mutator *mutator = tarn_mutator_of(self);
  if (mutator->attached > 1) {
    mutator->attached--;
    return TARN_OK;
  }
  if (is_inside_function(mutator))
    return TARN_EHELD;
  return detach_now(mutator) ? TARN_OK : TARN_EUNBALANCED;
}

/* The thread exits.  The key is set again even if nobody attaches meanwhile: so this runs in each
 * round and knows the last one, after which it cannot clean up.  But ThreadSanitizer takes the
 * thread apart in the last round, and nothing of ours may run after that. */
static void detach_all(void *value) {
  while (tarn_thread_records) {
    tarn_thread_records->died = true;
    (void)detach_now(tarn_thread_records);
  }
  if (exit_rounds < PTHREAD_DESTRUCTOR_ITERATIONS)
    exit_rounds++;
  if (exit_rounds < PTHREAD_DESTRUCTOR_ITERATIONS && !TARN_TSAN)
    (void)pthread_setspecific(
        (pthread_key_t)(atomic_load_explicit(&exit_key, memory_order_relaxed) - 1), value);
}

bool tarn_thread_is_over(void) { return exit_rounds >= PTHREAD_DESTRUCTOR_ITERATIONS; }

/* The record of a thread that is gone, in a world without a collector; see world/thread.h. */
static void abandon(struct tarn_mutator *mutator) {
  mutator->local.abandoned = true;
  /* Relaxed: nobody else is there. */
  __atomic_store_n(&mutator->local.pub.tarn_poll, TARN_POLL_DETACHED, __ATOMIC_RELAXED);
  __atomic_store_n(&mutator->state, TARN_STATE_DETACHED, __ATOMIC_RELAXED);
  tarn_thread_set_inlined(mutator, false);
  cds_list_del_rcu(&mutator->node);
}

/* Those that another thread waited for are lost, until the world ends. */
static void end_grace_after_fork(struct tarn_registry *registry) {
  if (!registry->ending)
    return;
  registry->ending = false;
  registry->waiting_count = 0;
  for (const struct tarn_mutator *at = registry->waiting; at; at = at->next_free)
    registry->waiting_count++;
}

void tarn_registry_after_fork(tarn_world *world, struct tarn_mutator *self) {
  struct tarn_mutator *mutator, *next;
  bool abandoned = false;
  cds_list_for_each_entry_safe(mutator, next, &world->registry.list, node) {
    if (mutator == self)
      continue;
    if (is_uncollected(world)) {
      abandon(mutator);
      abandoned = true;
      continue;
    }
    mutator->local.pub.tarn_holds = 0;
    mutator->local.pub.tarn_frames = NULL;
    __atomic_store_n(&mutator->waits_for_worlds, 0, __ATOMIC_RELAXED);
    make_detached(mutator);
    keep_record(&world->registry, mutator); /* no other thread is there to walk the list */
  }
  if (abandoned)
    tarn_revive_after_fork(&world->store, self ? &self->local : NULL);
  end_grace_after_fork(&world->registry);
  /* A thread that was just attaching had counted itself, but was not on the list. */
  atomic_store_explicit(&world->registry.count, self ? 1 : 0, memory_order_relaxed);
}

/* --- small things ---------------------------------------------------------------------------- */

tarn_world *tarn_thread_world(const tarn_thread *self) {
  return tarn_thread_check(self) == TARN_OK
             ? ((const struct tarn_mutator *)(const void *)self)->world
             : NULL;
}

tarn_status tarn_thread_set_name(tarn_thread *self, const char *name) {
  tarn_status status = name ? tarn_thread_check(self) : TARN_EINVAL;
  if (status != TARN_OK)
    return status;
  struct tarn_mutator *mutator = tarn_mutator_of(self);
  set_name(mutator, name);
  if (tarn_is_told(&mutator->world->store, TARN_TOLD_NAMED))
    tarn_tell(&mutator->world->store, (struct tarn_told){.kind = TARN_TOLD_NAMED, .what = mutator});
  return TARN_OK;
}

tarn_status tarn_thread_status(tarn_thread *self) {
  tarn_status status = tarn_thread_check(self);
  if (status != TARN_OK)
    return status;
  struct tarn_mutator *mutator = tarn_mutator_of(self);
  status = mutator->status;
  mutator->status = TARN_OK;
  return status;
}

tarn_status tarn_thread_scan_stack(tarn_thread *self, bool on) {
  tarn_status status = tarn_thread_check(self);
  if (status != TARN_OK)
    return status;
  struct tarn_mutator *mutator = tarn_mutator_of(self);
  /* The collector may look at a blocked thread at any time. */
  bool was_blocked = tarn_own_state(mutator) != TARN_STATE_RUNNING;
  if (was_blocked)
    tarn_stop_enter(mutator);
  if (on && !find_stack(mutator))
    status = TARN_ESYSTEM;
  else
    mutator->scan_stack = on;
  if (was_blocked)
    tarn_stop_leave(mutator);
  return status;
}

/* --- safepoints ------------------------------------------------------------------------------ */

static void run_release(struct tarn_mutator *mutator) {
  const struct tarn_collect_hooks *hooks = mutator->world->collect_hooks;
  /* Cleared first: what becomes due from now on sets it again.  Relaxed: the hook takes a lock. */
  (void)__atomic_fetch_and(&mutator->local.pub.tarn_poll, ~(uint32_t)TARN_POLL_RELEASE,
                           __ATOMIC_RELAXED);
  if (hooks && hooks->release)
    hooks->release(mutator);
}

/* A safepoint of a thread whose handle is good. */
static void attend(struct tarn_mutator *mutator) {
  tarn_thread *self = tarn_thread_of(mutator);
  /* A thread that is blocked, or holds the collector off, has no safepoint now. */
  if (self->tarn_holds != 0 || tarn_own_state(mutator) != TARN_STATE_RUNNING)
    return;
  const struct tarn_collect_hooks *hooks = mutator->world->collect_hooks;
  tarn_stop_poll(mutator);
  /* Relaxed, here and below: only hints. */
  if ((__atomic_load_n(&self->tarn_poll, __ATOMIC_RELAXED) & TARN_POLL_COLLECT) && hooks &&
      hooks->collect)
    hooks->collect(mutator);
  if ((__atomic_load_n(&self->tarn_poll, __ATOMIC_RELAXED) & TARN_POLL_RELEASE) &&
      mutator->running_free == 0)
    run_release(mutator);
}

void tarn_safepoint_slow(tarn_thread *self) {
  struct tarn_mutator *mutator = mutator_if_good(self);
  if (!mutator)
    return;
  TARN_CAME_BY(self);
  attend(mutator);
}

void tarn_safepoint_outline(tarn_thread *self) {
  if (self)
    tarn_safepoint(self);
}

/* A blocked region begins in earnest. */
static void leave(struct tarn_mutator *mutator) {
  mutator->blocked_at = tarn_is_told(&mutator->world->store, TARN_TOLD_BLOCKED) ? tarn_os_now() : 0;
  tarn_stop_leave(mutator);
}

/* It has ended. */
static inline void tell_blocked(struct tarn_mutator *mutator) {
  struct tarn_store *store = &mutator->world->store;
  if (mutator->blocked_at && tarn_is_told(store, TARN_TOLD_BLOCKED))
    tarn_tell(store, (struct tarn_told){
                         .kind = TARN_TOLD_BLOCKED, .began = mutator->blocked_at, .what = mutator});
}

void tarn_block_begin(tarn_thread *self) {
  struct tarn_mutator *mutator = mutator_if_good(self);
  if (!mutator)
    return;
  TARN_CAME_BY(self);
  mutator->blocked++;
  if (self->tarn_holds == 0 && tarn_own_state(mutator) == TARN_STATE_RUNNING)
    leave(mutator);
}

void tarn_block_end(tarn_thread *self) {
  struct tarn_mutator *mutator = mutator_if_good(self);
  if (!mutator)
    return;
  if (mutator->blocked == 0) {
    mutator->status = TARN_EUNBALANCED;
    return;
  }
  TARN_CAME_BY(self);
  mutator->blocked--;
  /* Inside a hold the region never left the running state. */
  if (mutator->blocked == 0 && tarn_own_state(mutator) != TARN_STATE_RUNNING) {
    tarn_stop_enter(mutator);
    tell_blocked(mutator);
  }
}

void tarn_gc_hold(tarn_thread *self) {
  struct tarn_mutator *mutator = mutator_if_good(self);
  if (!mutator)
    return;
  if (self->tarn_holds++ == 0)
    __atomic_store_n(&mutator->held_at, (uintptr_t)__builtin_return_address(0), __ATOMIC_RELAXED);
}

void tarn_gc_release(tarn_thread *self) {
  struct tarn_mutator *mutator = mutator_if_good(self);
  if (!mutator)
    return;
  if (self->tarn_holds == 0) {
    mutator->status = TARN_EUNBALANCED;
    return;
  }
  if (--self->tarn_holds != 0)
    return;
  __atomic_store_n(&mutator->held_at, 0, __ATOMIC_RELAXED);
  TARN_CAME_BY(self);
  /* A blocked region that was begun inside the hold begins in earnest here. */
  if (mutator->blocked != 0 && tarn_own_state(mutator) == TARN_STATE_RUNNING)
    leave(mutator);
  else if (__atomic_load_n(&self->tarn_poll, __ATOMIC_RELAXED) != 0) /* as in tarn_safepoint */
    attend(mutator);
}
