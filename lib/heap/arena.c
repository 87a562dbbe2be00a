/* SPDX-License-Identifier: MIT */
/*
 * heap/arena.c: see heap/arena.h.  Bits are looked at a word at a time.
 */
#include "heap/arena.h"

void tarn_arena_start(struct tarn_arena *arena, uintptr_t base, size_t units) {
  arena->base = base;
  arena->units = arena->free_units = arena->longest = units;
  for (size_t i = 0; i < units / 64; i++)
    arena->free[i] = UINT64_MAX; /* nobody knows the record yet */
}

/* --- bits ------------------------------------------------------------------------------------ */

/* The first bit at or beyond `at` that is set in `bits ^ flip`; `units` if there is none. */
static size_t next_bit(const uint64_t *bits, size_t units, size_t at, uint64_t flip) {
  if (at >= units)
    return units;
  size_t word = at / 64;
  uint64_t rest = (bits[word] ^ flip) & (UINT64_MAX << (at % 64));
  while (rest == 0) {
    if (++word >= units / 64)
      return units;
    rest = bits[word] ^ flip;
  }
  return word * 64 + (size_t)__builtin_ctzll(rest);
}

size_t tarn_bits_run(const uint64_t *bits, size_t units, size_t *at) {
  size_t first = next_bit(bits, units, *at, 0);
  *at = first;
  return first == units ? 0 : next_bit(bits, units, first, UINT64_MAX) - first;
}

/* One past the last clear bit before `at`; 0 if all are set. */
static size_t run_start(const uint64_t *bits, size_t at) {
  while (at > 0) {
    size_t word = (at - 1) / 64, below = (at - 1) % 64;
    uint64_t clear = ~bits[word] & (UINT64_MAX >> (63 - below));
    if (clear)
      return word * 64 + 64 - (size_t)__builtin_clzll(clear);
    at = word * 64;
  }
  return 0;
}

static void put_bits(uint64_t *bits, size_t first, size_t count, bool set) {
  while (count > 0) {
    size_t shift = first % 64, here = 64 - shift < count ? 64 - shift : count;
    uint64_t mask = (UINT64_MAX >> (64 - here)) << shift;
    uint64_t *word = &bits[first / 64];
    /* Relaxed: see arena.h. */
    __atomic_store_n(word, set ? *word | mask : *word & ~mask, __ATOMIC_RELAXED);
    first += here;
    count -= here;
  }
}

/* --- finding --------------------------------------------------------------------------------- */

size_t tarn_arena_find(struct tarn_arena *arena, size_t count, size_t alignment) {
  size_t offset = arena->base >> TARN_UNIT_SHIFT, most = 0, run;
  for (size_t at = 0; (run = tarn_bits_run(arena->free, arena->units, &at)) != 0; at += run) {
    size_t skipped = -(offset + at) & (alignment - 1);
    if (skipped < run && run - skipped >= count)
      return at + skipped;
    most = run > most ? run : most;
  }
  arena->longest = most;
  return TARN_NO_UNIT;
}

size_t tarn_arena_find_dirty(const struct tarn_arena *arena) {
  return next_bit(arena->free + arena->units / 64, arena->units, 0, 0);
}

size_t tarn_arena_find_clean(const struct tarn_arena *arena) {
  const uint64_t *dirty = arena->free + arena->units / 64;
  for (size_t word = 0; word < arena->units / 64; word++) {
    uint64_t clean = arena->free[word] & ~dirty[word];
    if (clean)
      return word * 64 + (size_t)__builtin_ctzll(clean);
  }
  return TARN_NO_UNIT;
}

/* --- taking and giving ----------------------------------------------------------------------- */

static size_t count_bits(const uint64_t *bits, size_t first, size_t count) {
  size_t set = 0;
  while (count > 0) {
    size_t shift = first % 64, here = 64 - shift < count ? 64 - shift : count;
    set += (size_t)__builtin_popcountll(bits[first / 64] >> shift & UINT64_MAX >> (64 - here));
    first += here;
    count -= here;
  }
  return set;
}

size_t tarn_arena_take(struct tarn_arena *arena, size_t first, size_t count) {
  put_bits(arena->free, first, count, false);
  arena->free_units -= count;
  if (arena->free_units == 0)
    arena->longest = 0;
  size_t dirty = arena->dirty_units ? count_bits(tarn_arena_dirty(arena), first, count) : 0;
  if (dirty) {
    put_bits(tarn_arena_dirty(arena), first, count, false);
    arena->dirty_units -= dirty;
  }
  return dirty;
}

/* Some of the units are dirty, and some are not. */
static void mark_dirty_ones(struct tarn_arena *arena, size_t first, size_t count) {
  for (size_t i = first; i < first + count; i++)
    if (tarn_arena_pool(arena, i)->dirty != 0)
      put_bits(tarn_arena_dirty(arena), i, 1, true);
}

void tarn_arena_give(struct tarn_arena *arena, size_t first, size_t count, size_t dirty,
                     uint32_t now) {
  TARN_ASSERT(first + count <= arena->units);
  TARN_ASSERT(next_bit(arena->free, arena->units, first, 0) >= first + count);
  put_bits(arena->free, first, count, true);
  arena->free_units += count;
  size_t run = next_bit(arena->free, arena->units, first + count, UINT64_MAX) -
               run_start(arena->free, first);
  if (run > arena->longest)
    arena->longest = run;
  if (dirty == 0)
    return;
  if (dirty == count)
    put_bits(tarn_arena_dirty(arena), first, count, true);
  else
    mark_dirty_ones(arena, first, count);
  if (arena->dirty_units == 0 || !tarn_tick_passed(arena->oldest, now))
    arena->oldest = now;
  arena->dirty_units += dirty;
}
