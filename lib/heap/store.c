/* SPDX-License-Identifier: MIT */
/*
 * heap/store.c: see heap/store.h.
 */
#include "heap/store.h"
#include "heap/heap.h"
#include <string.h>

#if TARN_TSAN
char tarn_rcu_token;
#endif

tarn_status tarn_store_start(struct tarn_store *store, const struct tarn_hooks *hooks) {
  memset(store, 0, sizeof *store);
  store->id = tarn_space_take_id();
  if (store->id == 0)
    return TARN_EWORLDS;
  store->hooks = hooks;
  atomic_store_explicit(&store->limit, SIZE_MAX, memory_order_relaxed);
  tarn_meta_start(&store->meta);
  (void)pthread_mutex_init(&store->lock, NULL);
  (void)pthread_mutex_init(&store->limbo_lock, NULL);
  return TARN_OK;
}

void tarn_store_end(struct tarn_store *store) {
  struct tarn_arena *next;
  for (struct tarn_arena *arena = store->arenas; arena; arena = next) {
    next = arena->next;
    tarn_space_give_arenas((void *)arena->base, arena->units / TARN_ARENA_UNITS);
  }
  tarn_space_give_id(store->id);
  if (store->limbo)
    tarn_rcu_synchronize(); /* the headers go with the metadata */
  tarn_meta_end(&store->meta);
  (void)pthread_mutex_destroy(&store->lock);
  (void)pthread_mutex_destroy(&store->limbo_lock);
}

/* --- units ----------------------------------------------------------------------------------- */

static size_t arena_record_size(size_t units) {
  return sizeof(struct tarn_arena) + units / 64 * sizeof(uint64_t);
}

static bool unit_is_free(const struct tarn_arena *arena, size_t unit) {
  return arena->free[unit / 64] >> (unit % 64) & 1;
}
static void unit_flip(struct tarn_arena *arena, size_t unit) {
  arena->free[unit / 64] ^= (uint64_t)1 << (unit % 64);
}

/* First fit of `count` units in a row within one arena; SIZE_MAX if there is none. */
static size_t find_units(const struct tarn_arena *arena, size_t count) {
  if (arena->free_units < count)
    return SIZE_MAX;
  if (count == 1) {
    for (size_t i = 0; i < arena->units / 64; i++)
      if (arena->free[i])
        return i * 64 + (size_t)__builtin_ctzll(arena->free[i]);
    return SIZE_MAX;
  }
  size_t run = 0;
  for (size_t i = 0; i < arena->units; i++) {
    run = unit_is_free(arena, i) ? run + 1 : 0;
    if (run == count)
      return i + 1 - count;
  }
  return SIZE_MAX;
}

/* Under the lock. */
static struct tarn_arena *add_arena(struct tarn_store *store, size_t count) {
  size_t arenas = (count + TARN_ARENA_UNITS - 1) / TARN_ARENA_UNITS;
  size_t units = arenas * TARN_ARENA_UNITS;
  struct tarn_arena *arena = tarn_meta_alloc(&store->meta, arena_record_size(units));
  if (!arena)
    return NULL;
  void *base = tarn_space_take_arenas(arenas);
  bool good = base != NULL;
  if (good && store->tables)
    good = arena->marks = tarn_space_commit_marks(base, units * TARN_UNIT_SIZE);
  if (!good) {
    if (base)
      tarn_space_give_arenas(base, arenas);
    tarn_meta_free(&store->meta, arena, arena_record_size(units));
    return NULL;
  }
  arena->base = (uintptr_t)base;
  arena->units = arena->free_units = units;
  memset(arena->free, 0xff, units / 64 * sizeof(uint64_t));
  arena->next = store->arenas;
  store->arenas = arena;
  return arena;
}

bool tarn_store_take_units(struct tarn_store *store, size_t count, size_t *unit) {
  (void)pthread_mutex_lock(&store->lock);
  struct tarn_arena *arena = store->arenas;
  size_t first = SIZE_MAX;
  for (; arena; arena = arena->next)
    if ((first = find_units(arena, count)) != SIZE_MAX)
      break;
  if (!arena && (arena = add_arena(store, count)))
    first = 0;
  if (arena) {
    for (size_t i = 0; i < count; i++)
      unit_flip(arena, first + i);
    arena->free_units -= count;
    *unit = tarn_unit_of(arena->base) + first;
  }
  (void)pthread_mutex_unlock(&store->lock);
  return arena != NULL;
}

bool tarn_store_take_units_aligned(struct tarn_store *store, size_t count, size_t alignment,
                                   size_t *unit) {
  size_t first;
  if (!tarn_store_take_units(store, count + alignment, &first))
    return false;
  size_t base = tarn_unit_base(first) / TARN_UNIT_SIZE;
  size_t before = (alignment - base % alignment) % alignment;
  if (before)
    tarn_store_give_units(store, first, before);
  *unit = first + before;
  if (alignment > before)
    tarn_store_give_units(store, first + before + count, alignment - before);
  return true;
}

void tarn_store_give_units(struct tarn_store *store, size_t unit, size_t count) {
  uintptr_t base = tarn_unit_base(unit);
  for (size_t i = 0; i < count; i++)
    tarn_map_set(unit + i, 0);
  (void)pthread_mutex_lock(&store->lock);
  struct tarn_arena *arena = store->arenas;
  while (base - arena->base >= arena->units * TARN_UNIT_SIZE)
    arena = arena->next;
  size_t first = (base - arena->base) / TARN_UNIT_SIZE;
  for (size_t i = 0; i < count; i++) {
    TARN_ASSERT(!unit_is_free(arena, first + i));
    unit_flip(arena, first + i);
  }
  arena->free_units += count;
  (void)pthread_mutex_unlock(&store->lock);
}

bool tarn_store_make_tables(struct tarn_store *store) {
  if (store->tables)
    return true; /* new arenas get theirs when they are made */
  bool good = true;
  (void)pthread_mutex_lock(&store->lock);
  for (struct tarn_arena *arena = store->arenas; arena && good; arena = arena->next)
    if (!arena->marks)
      good = arena->marks =
          tarn_space_commit_marks((void *)arena->base, arena->units * TARN_UNIT_SIZE);
  if (good)
    store->tables = true;
  (void)pthread_mutex_unlock(&store->lock);
  return good;
}

/* --- counts ---------------------------------------------------------------------------------- */

bool tarn_store_charge(struct tarn_store *store, size_t bytes) {
  /* Relaxed throughout: the counter guards no data, and only its own value decides. */
  size_t held = atomic_load_explicit(&store->bytes, memory_order_relaxed);
  size_t limit = atomic_load_explicit(&store->limit, memory_order_relaxed);
  do {
    if (bytes > limit || held > limit - bytes)
      return false;
  } while (!atomic_compare_exchange_weak_explicit(&store->bytes, &held, held + bytes,
                                                  memory_order_relaxed, memory_order_relaxed));
  held += bytes;
  size_t most = atomic_load_explicit(&store->bytes_max, memory_order_relaxed);
  while (held > most &&
         !atomic_compare_exchange_weak_explicit(&store->bytes_max, &most, held,
                                                memory_order_relaxed, memory_order_relaxed)) {
  }
  return true;
}

void tarn_store_uncharge(struct tarn_store *store, size_t bytes) {
  atomic_fetch_sub_explicit(&store->bytes, bytes, memory_order_relaxed);
}

void tarn_store_allocated(struct tarn_store *store, size_t bytes) {
  atomic_fetch_add_explicit(&store->allocated, bytes, memory_order_relaxed);
  atomic_fetch_add_explicit(&store->debt, bytes, memory_order_relaxed);
}

/* --- giving back ----------------------------------------------------------------------------- */

/* Purges the dirty free units of an arena beyond `*keep` bytes, in runs as long as they come. */
static size_t purge_arena(struct tarn_arena *arena, size_t *keep) {
  size_t given = 0;
  for (size_t i = 0; i < arena->units;) {
    struct tarn_pool *pool = tarn_pool_of(arena->base + i * TARN_UNIT_SIZE);
    if (!unit_is_free(arena, i) || pool->dirty == 0) {
      i++;
      continue;
    }
    if (*keep >= pool->dirty) {
      *keep -= pool->dirty;
      i++;
      continue;
    }
    size_t first = i, dirty = 0;
    for (; i < arena->units && unit_is_free(arena, i) && pool->dirty != 0; i++, pool++)
      dirty += pool->dirty;
    if (!tarn_os_purge((void *)(arena->base + first * TARN_UNIT_SIZE),
                       (i - first) * TARN_UNIT_SIZE))
      continue;
    given += dirty;
    for (size_t k = first; k < i; k++)
      tarn_pool_of(arena->base + k * TARN_UNIT_SIZE)->dirty = 0;
  }
  return given;
}

/* Bytes in free units that may still be backed by memory. */
static size_t dirty_bytes(const struct tarn_arena *arena) {
  size_t dirty = 0;
  for (size_t i = 0; arena->free_units && i < arena->units; i++)
    if (unit_is_free(arena, i))
      dirty += tarn_pool_of(arena->base + i * TARN_UNIT_SIZE)->dirty;
  return dirty;
}

size_t tarn_store_purge(struct tarn_store *store, size_t keep) {
  size_t given = 0, dirty = 0;
  (void)pthread_mutex_lock(&store->lock);
  for (struct tarn_arena *arena = store->arenas; arena; arena = arena->next)
    dirty += dirty_bytes(arena);
  /* A little too much is left alone: it would be given back and faulted in again each time. */
  if (dirty <= keep + keep / 4) {
    (void)pthread_mutex_unlock(&store->lock);
    return 0;
  }
  struct tarn_arena **link = &store->arenas;
  while (*link) {
    struct tarn_arena *arena = *link;
    given += purge_arena(arena, &keep);
    bool last = link == &store->arenas && !arena->next;
    if (arena->free_units == arena->units && !last && dirty_bytes(arena) == 0) {
      *link = arena->next;
      tarn_space_give_arenas((void *)arena->base, arena->units / TARN_ARENA_UNITS);
      tarn_meta_free(&store->meta, arena, arena_record_size(arena->units));
    } else {
      link = &arena->next;
    }
  }
  (void)pthread_mutex_unlock(&store->lock);
  atomic_fetch_add_explicit(&store->returned, given, memory_order_relaxed);
  return given;
}

void tarn_store_each_pool(struct tarn_store *store, void (*fn)(struct tarn_pool *, void *),
                          void *data) {
  for (struct tarn_arena *arena = store->arenas; arena; arena = arena->next) {
    size_t first = tarn_unit_of(arena->base);
    for (size_t i = 0; i < arena->units; i++) {
      if (unit_is_free(arena, i))
        continue;
      uint64_t map = tarn_map_get(first + i);
      if (tarn_map_world(map) != 0 && tarn_map_form(map) == TARN_FORM_POOL)
        fn(&tarn_space.pools[first + i], data);
    }
  }
}
