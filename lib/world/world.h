/* SPDX-License-Identifier: MIT */
/*
 * world/world.h: a world, put together from its parts; each part's header says who may touch it.
 *
 * Worlds are on one process-wide list (for fork), under a lock of its own.
 * Order of locks: worlds list > registry > visits > (roots | types | walk > heap > store > space |
 * meta); purge > walk, which it only tries, and store.
 */
#ifndef TARN_WORLD_WORLD_H
#define TARN_WORLD_WORLD_H

#include "heap/store.h"
#include "os/config.h"
#include "world/root.h"
#include "world/stop.h"
#include "world/thread.h"
#include "world/type.h"
#include <tarn/profile.h>
#include <tarn/world.h>

struct tarn_collector;
struct tarn_debugger;
struct tarn_live;
struct tarn_metrics_part;
struct tarn_profile;
struct tarn_watchers;

/* How the world layer calls up to the collector.  Installed before the first thread attaches. */
struct tarn_collect_hooks {
  /* The poll bit RELEASE was seen at a safepoint of `self`: run `free` functions that are due. */
  void (*release)(struct tarn_mutator *self);
  /* The same for the bit COLLECT, which the function takes off: collect, if that is due. */
  void (*collect)(struct tarn_mutator *self);
  /* Is `self`, the caller, inside a function of the program that a collection of cycles calls? */
  bool (*runs_functions)(const struct tarn_mutator *self);
  /* In the child of a fork, after the registry: locks of the collector are made anew. */
  void (*after_fork)(tarn_world *world);
  /* Around fork in the parent and child: take and give all locks of the collector. */
  void (*before_fork)(tarn_world *world);
  void (*parent_fork)(tarn_world *world);
};

struct tarn_world {
  struct tarn_store store; /* must be first: tarn_world_of_store */
  struct tarn_config config;
  unsigned number; /* among the worlds that the process has made, from 1; 0: that of a malloc */
  struct tarn_heap *atomic_heap, *container_heap;
  struct tarn_registry registry;
  struct tarn_stop stop;
  struct tarn_types types;
  struct tarn_roots roots;
  uintptr_t tag_mask;                /* atomic: set before the first object, read at stops */
  _Atomic uint32_t collect_disabled; /* nesting of tarn_collect_disable */
  tarn_near_limit_fn near_limit;     /* with its data under near_lock */
  void *near_limit_data;
  pthread_mutex_t near_lock;
  _Atomic size_t soft_limit;
  const struct tarn_collect_hooks *collect_hooks;
  struct tarn_collector *collector;
  /* Of inspect/, which says who may touch them; NULL: there is none. */
  struct tarn_live *live;
  struct tarn_watchers *watchers;
  struct tarn_metrics_part *metrics; /* atomic */
  /* Of inspect/profile_file.c; under the store's sampling_lock, but for the last one: atomic. */
  struct tarn_profile *profile;
  tarn_profile_frames_fn frames_fn;
  void *frames_data;
  bool profile_written;
  struct tarn_world *next, *previous;   /* the process's worlds */
  bool listed;                          /* is on that list; atomic, written under its lock */
  const struct tarn_debugger *debugger; /* see world/debugger.h */
};

static inline tarn_world *tarn_world_of_store(struct tarn_store *store) {
  return (tarn_world *)(void *)store;
}

/*
 * Makes a world with the given configuration and hooks for the heap layer: space, store, first
 * heaps, registry, types, roots.  No collector yet, and not on the list of worlds: whoever puts the
 * layers together adds it when it is whole.  The world itself lives in pages of its own.
 */
tarn_status tarn_world_make(const struct tarn_config *config, const struct tarn_hooks *heap_hooks,
                            const struct tarn_collect_hooks *collect_hooks, tarn_world **out);

/* All threads are detached, no `free` function is due, and the world is off the list: drops heaps,
 * parts and pages. */
void tarn_world_drop(tarn_world *world);

/*
 * The process's worlds, under their lock (fork.c).  Add when the collector is there, at the latest
 * before the first thread is attached (attaching sees to that); remove before anything is taken
 * apart.  Both may be called again.  Any thread, in no stop; one that is running somewhere lets
 * itself be stopped while it waits.  False: there is no memory for what has to be done at a fork.
 */
bool tarn_worlds_add(tarn_world *world);
void tarn_worlds_remove(tarn_world *world);

/* Calls `fn` for each world on the list, under its lock: none of them ends meanwhile, and no thread
 * forks.  `fn` waits for no thread that may want either. */
void tarn_worlds_each(void (*fn)(tarn_world *world));

#endif
