/* SPDX-License-Identifier: MIT */
/*
 * heap/arena.h: an arena's record: which of its units are free, and which of the free ones may
 * still be backed by memory.
 *
 * A unit is in use, free, or claimed.  Claimed: a purge gives its memory back without a lock (see
 * heap/purge.h); its bit says "not free" and its map word is zero, so nobody takes or reads it.
 *
 * Everything belongs to whoever holds the store's lock.  Walkers read base, units and the words of
 * `free` without it (relaxed): the world is stopped then, so units only change between free and
 * claimed under their eyes, and both have a zero map word.  Hence the atomic stores to these words.
 */
#ifndef TARN_HEAP_ARENA_H
#define TARN_HEAP_ARENA_H

#include "heap/pool.h"

#define TARN_NO_UNIT SIZE_MAX

/* A large object may span several arenas in a row: they then have one record. */
struct tarn_arena {
  struct tarn_arena *next; /* by address */
  uintptr_t base;
  size_t units; /* a multiple of 256 */
  size_t free_units;
  size_t dirty_units; /* free ones with memory that may be other than zero */
  size_t claimed;
  size_t longest;      /* no run of free units is longer; it may well be shorter */
  uint32_t oldest;     /* no dirty unit became free before this tick */
  uint32_t emptied_at; /* tick at which the last unit in use became free */
  bool marks;          /* its mark bytes are writable */
  bool huge;           /* the system was asked for huge pages */
  bool shut;           /* has units that cannot be touched, and never will: see heap/trap.h */
  uint64_t free[];     /* a set bit is a free unit; as many words follow for the dirty ones */
};

static inline uint64_t *tarn_arena_dirty(struct tarn_arena *arena) {
  return arena->free + arena->units / 64;
}
static inline size_t tarn_arena_record_size(size_t units) {
  return sizeof(struct tarn_arena) + 2 * (units / 64) * sizeof(uint64_t);
}
/* 64 units' bits.  Relaxed: see above. */
static inline uint64_t tarn_arena_free_word(const struct tarn_arena *arena, size_t word) {
  return __atomic_load_n(&arena->free[word], __ATOMIC_RELAXED);
}
static inline bool tarn_arena_is_free(const struct tarn_arena *arena, size_t unit) {
  return tarn_arena_free_word(arena, unit / 64) >> (unit % 64) & 1;
}
static inline bool tarn_arena_is_dirty(struct tarn_arena *arena, size_t unit) {
  return tarn_arena_dirty(arena)[unit / 64] >> (unit % 64) & 1;
}
static inline struct tarn_pool *tarn_arena_pool(const struct tarn_arena *arena, size_t unit) {
  return &tarn_space.pools[tarn_unit_of(arena->base) + unit];
}
/* Has the tick `then` passed at the tick `now`?  They wrap. */
static inline bool tarn_tick_passed(uint32_t then, uint32_t now) {
  return (int32_t)(now - then) >= 0;
}

/* A zeroed record becomes that of an arena all of whose units are free and clean. */
void tarn_arena_start(struct tarn_arena *arena, uintptr_t base, size_t units);

/*
 * The next run of set bits at or beyond `*at`: its length, and its start in `*at`; 0 if there is
 * none.
 */
size_t tarn_bits_run(const uint64_t *bits, size_t units, size_t *at);

/*
 * The lowest `count` free units in a row whose address is a multiple of `alignment` units, a power
 * of two.  TARN_NO_UNIT: there are none, and `longest` is exact now.
 */
size_t tarn_arena_find(struct tarn_arena *arena, size_t count, size_t alignment);

/* The lowest dirty unit; there is one. */
size_t tarn_arena_find_dirty(const struct tarn_arena *arena);

/* The lowest unit that is free and not dirty; TARN_NO_UNIT: there is none. */
size_t tarn_arena_find_clean(const struct tarn_arena *arena);

/* Free units become used, or claimed.  Returns how many of them were dirty. */
size_t tarn_arena_take(struct tarn_arena *arena, size_t first, size_t count);

/*
 * The opposite.  `dirty` of the units are dirty, as their descriptors say, and became free at the
 * tick `now`, which stands there as well.
 */
void tarn_arena_give(struct tarn_arena *arena, size_t first, size_t count, size_t dirty,
                     uint32_t now);

#endif
