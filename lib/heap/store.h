/* SPDX-License-Identifier: MIT */
/*
 * heap/store.h: all that the heap layer keeps for one world: its arenas, its counts of bytes, its
 * heaps, and the table of functions by which it calls upwards.
 *
 * The lock guards the arenas' bitmaps and the array of heaps.  It is a leaf: nothing is locked
 * while it is held but the space's lock.  Counters are atomic and relaxed.
 */
#ifndef TARN_HEAP_STORE_H
#define TARN_HEAP_STORE_H

#include "heap/meta.h"
#include "heap/pool.h"
#include <pthread.h>

struct tarn_local;
struct tarn_large;

/* How the heap layer calls up.  Installed once, before the first allocation. */
struct tarn_hooks {
  /*
   * Before a bin is refilled or a large object made: a safepoint at which the thread can be stopped
   * and may collect.  False: the thread may not allocate (it is not attached, or not the caller's);
   * its status is set.
   */
  bool (*before_refill)(struct tarn_local *local, size_t bytes);
  /* No memory.  True: something was done, try again.  False: give up; the status is set. */
  bool (*exhausted)(struct tarn_local *local, size_t bytes, unsigned tries);
  /* Sets the thread's status. */
  void (*fail)(struct tarn_local *local, tarn_status status);
  /* A misuse that is always an error of the program, with the block; does not return. */
  void (*corrupt)(struct tarn_store *store, const void *block, const char *what)
      __attribute__((noreturn));
  /* An object is freed by hand: run its type's `free` function and release its data block. */
  void (*release)(struct tarn_local *local, void *object);
};

/* An arena: 256 units of one world.  A large object may span several arenas in a row. */
struct tarn_arena {
  struct tarn_arena *next;
  uintptr_t base;
  size_t units;      /* a multiple of 256 */
  size_t free_units; /* under the store's lock */
  bool marks;        /* its mark bytes are writable */
  uint64_t free[];   /* a set bit is a free unit */
};

#define TARN_HEAP_MAX 255u

struct tarn_store {
  unsigned id;   /* in map words */
  uint8_t epoch; /* the mark of what lives; 0 before the first collection.  Written at stops only */
  bool tables;   /* mark bytes exist.  Written at stops only */
  const struct tarn_hooks *hooks;
  struct tarn_meta meta;
  pthread_mutex_t lock;
  struct tarn_arena *arenas; /* under the lock */
  /* Written under the lock (release), read by anybody (acquire); heaps go away at stops only. */
  _Atomic(struct tarn_heap *) heaps[TARN_HEAP_MAX];
  _Atomic unsigned heap_limit; /* heaps beyond this index never existed */

  pthread_mutex_t limbo_lock; /* a leaf; guards the next two */
  struct tarn_large *limbo;   /* headers of dead large objects that wait for a grace period */
  unsigned limbo_count;

  _Atomic size_t bytes; /* held by pools and large objects */
  _Atomic size_t bytes_max;
  _Atomic size_t limit; /* the hard limit; SIZE_MAX for none */
  _Atomic size_t pools; /* in use */
  _Atomic size_t larges;
  _Atomic size_t returned;    /* bytes purged */
  _Atomic uint64_t allocated; /* bytes handed to bins and large objects, ever */
  _Atomic uint64_t debt;      /* the same since the last collection: what triggers the next */
};

tarn_status tarn_store_start(struct tarn_store *store, const struct tarn_hooks *hooks);
/* All heaps are gone.  Gives back arenas, metadata, the id. */
void tarn_store_end(struct tarn_store *store);

/* `count` units in a row, descriptors committed, map words 0; 0 bytes may be dirty, see `dirty`. */
bool tarn_store_take_units(struct tarn_store *store, size_t count, size_t *unit);
/* The same at a unit number that makes the address a multiple of `alignment` units. */
bool tarn_store_take_units_aligned(struct tarn_store *store, size_t count, size_t alignment,
                                   size_t *unit);
void tarn_store_give_units(struct tarn_store *store, size_t unit, size_t count);

/* Counts `bytes` towards the limit; false: they would pass it. */
bool tarn_store_charge(struct tarn_store *store, size_t bytes);
void tarn_store_uncharge(struct tarn_store *store, size_t bytes);

/* Counts an allocation of `bytes` (of a stretch, not of each block). */
void tarn_store_allocated(struct tarn_store *store, size_t bytes);

static inline struct tarn_heap *tarn_store_heap(const struct tarn_store *store, unsigned index) {
  return atomic_load_explicit(&store->heaps[index], memory_order_acquire);
}
static inline unsigned tarn_store_heap_limit(const struct tarn_store *store) {
  return atomic_load_explicit(&store->heap_limit, memory_order_acquire);
}

/* Makes mark bytes for all arenas; false: no memory.  World stopped. */
bool tarn_store_make_tables(struct tarn_store *store);

/*
 * Gives the memory of free units back to the system, but for `keep` bytes; returns the bytes given
 * back.  Takes the lock for each arena.
 */
size_t tarn_store_purge(struct tarn_store *store, size_t keep);

/* Calls `fn` for each pool in use; the world is stopped, or the caller makes sure otherwise. */
void tarn_store_each_pool(struct tarn_store *store, void (*fn)(struct tarn_pool *, void *),
                          void *data);

#endif
