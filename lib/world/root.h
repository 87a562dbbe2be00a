/* SPDX-License-Identifier: MIT */
/*
 * world/root.h: the roots of a world that are not in threads: global slots and providers.
 *
 * Both live in hash tables of the world's metadata, under one lock (a leaf).  The collector reads
 * them while the world is stopped, but unattached threads may change them then: it takes the lock.
 */
#ifndef TARN_WORLD_ROOT_H
#define TARN_WORLD_ROOT_H

#include "heap/meta.h"
#include <tarn/root.h>

#define TARN_ROOT_GONE ((void *)UINTPTR_MAX)

struct tarn_root_entry {
  void *key;  /* the slot, or the provider's function; NULL: never used; TARN_ROOT_GONE: removed */
  void *data; /* the provider's data */
  size_t count; /* how often it was added */
};

struct tarn_root_table {
  struct tarn_root_entry *entries;
  size_t capacity; /* a power of two, or 0 */
  size_t used;     /* entries that are not free, removed ones among them */
  size_t count;    /* live entries */
};

struct tarn_roots {
  pthread_mutex_t lock;
  struct tarn_root_table slots;
  struct tarn_root_table providers;
};

void tarn_roots_start(tarn_world *world);

/* Calls `slot` for each global slot's address and each provider's function; the world is stopped.
 */
void tarn_roots_each(tarn_world *world, void (*slot)(void **slot, void *data),
                     void (*provider)(tarn_root_fn fn, void *fn_data, void *data), void *data);

#endif
