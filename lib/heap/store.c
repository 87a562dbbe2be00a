/* SPDX-License-Identifier: MIT */
/*
 * heap/store.c: see heap/store.h.
 */
#include "heap/store.h"
#include "heap/heap.h"
#include "os/probes.h"
#include <string.h>

#define HEADERS_MOST 64u

/* Of 64 KiB: what is touched so far may as well go to any class. */
#define WORN ((uint32_t)48 << 10)
#define WORN_LOOK 32u /* dirty units that are looked at for that */

/* While no more is dirty, a pool rather gets memory that was never touched than that of another
 * class which needed less than a worn unit. */
#define DIRTY_MUCH ((size_t)16 << 20)

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
  tarn_os_lock_init(&store->lock);
  (void)pthread_mutex_init(&store->walk_lock, NULL);
  (void)pthread_mutex_init(&store->visit_lock, NULL);
  tarn_os_lock_init(&store->limbo_lock);
  tarn_os_lock_init(&store->sampling_lock);
  tarn_trap_start(&store->trap);
  tarn_purge_start(store);
  return TARN_OK;
}

void tarn_store_end(struct tarn_store *store) {
  tarn_purge_end(store);
  tarn_trap_end(store);
  while (store->arenas) {
    struct tarn_arena *arena = store->arenas;
    tarn_store_unlink_arena(store, arena);
    tarn_store_drop_arena(store, arena);
  }
  tarn_space_give_id(store->id);
  if (store->limbo)
    tarn_rcu_synchronize(); /* the headers go with the metadata */
  tarn_meta_end(&store->meta);
  (void)pthread_mutex_destroy(&store->lock);
  (void)pthread_mutex_destroy(&store->walk_lock);
  (void)pthread_mutex_destroy(&store->visit_lock);
  (void)pthread_mutex_destroy(&store->limbo_lock);
  (void)pthread_mutex_destroy(&store->sampling_lock);
  (void)pthread_mutex_destroy(&store->trap.lock);
  (void)pthread_mutex_destroy(&store->purge.lock);
}

/* --- hints; all under the lock --------------------------------------------------------------- */

/* log2 of a run of units, at least 1, as far as hints go. */
static unsigned run_class(size_t units) {
  unsigned log2 = 63 - (unsigned)__builtin_clzll(units);
  return log2 < TARN_RUN_HINTS ? log2 : TARN_RUN_HINTS - 1;
}

static void move_back(struct tarn_arena **hint, struct tarn_arena *arena) {
  if (!*hint || arena->base < (*hint)->base)
    *hint = arena;
}

/* The arena's longest run was at most `before` units and is longer now. */
static void hint_at_runs(struct tarn_store *store, struct tarn_arena *arena, size_t before) {
  for (unsigned i = before ? run_class(before) + 1 : 0; i <= run_class(arena->longest); i++)
    move_back(&store->hints[i], arena);
}

/* Units became free: the hints may have to move back. */
static void hint_at(struct tarn_store *store, struct tarn_arena *arena, size_t longest_before) {
  if (arena->longest > longest_before)
    hint_at_runs(store, arena, longest_before);
  if (arena->dirty_units)
    move_back(&store->dirty_hint, arena);
}

/* --- arenas; all under the lock -------------------------------------------------------------- */

static void link_arena(struct tarn_store *store, struct tarn_arena *arena) {
  struct tarn_arena **link = &store->arenas;
  while (*link && (*link)->base < arena->base)
    link = &(*link)->next;
  arena->next = *link;
  atomic_fetch_add_explicit(&store->arena_bytes, arena->units * TARN_UNIT_SIZE,
                            memory_order_relaxed);
  __atomic_store_n(link, arena, __ATOMIC_RELEASE); /* pairs with tarn_store_each_pool */
  for (size_t i = 0; i < arena->units / TARN_ARENA_UNITS; i++)
    *tarn_arena_slot(arena->base + i * TARN_ARENA_SIZE) = arena;
  hint_at(store, arena, 0);
}

void tarn_store_unlink_arena(struct tarn_store *store, struct tarn_arena *arena) {
  struct tarn_arena **link = &store->arenas;
  while (*link != arena)
    link = &(*link)->next;
  *link = arena->next;
  atomic_fetch_sub_explicit(&store->arena_bytes, arena->units * TARN_UNIT_SIZE,
                            memory_order_relaxed);
  for (size_t i = 0; i < arena->units / TARN_ARENA_UNITS; i++)
    *tarn_arena_slot(arena->base + i * TARN_ARENA_SIZE) = NULL;
  for (unsigned i = 0; i < TARN_RUN_HINTS; i++)
    if (store->hints[i] == arena)
      store->hints[i] = arena->next;
  if (store->dirty_hint == arena)
    store->dirty_hint = arena->next;
  tarn_kin_forget(&store->kin, arena);
}

void tarn_store_drop_arena(struct tarn_store *store, struct tarn_arena *arena) {
  if (arena->huge)
    tarn_os_huge_pages((void *)arena->base, arena->units * TARN_UNIT_SIZE, false);
  if (!arena->shut)
    tarn_space_give_arenas((void *)arena->base, arena->units / TARN_ARENA_UNITS);
  tarn_meta_free(&store->meta, arena, tarn_arena_record_size(arena->units));
}

/* Does the store hold so much that memory which is touched from now on shall come in huge pages?
 * Who filled this many arenas fills the next one. */
static bool is_huge(const struct tarn_store *store) {
  return atomic_load_explicit(&store->bytes, memory_order_relaxed) >= store->huge_from;
}

static struct tarn_arena *add_arena(struct tarn_store *store, size_t count, size_t alignment) {
  size_t arenas = (count + TARN_ARENA_UNITS - 1) / TARN_ARENA_UNITS;
  size_t units = arenas * TARN_ARENA_UNITS;
  struct tarn_arena *arena = tarn_meta_alloc(&store->meta, tarn_arena_record_size(units));
  if (!arena)
    return NULL;
  size_t aligned = alignment > TARN_ARENA_UNITS ? alignment / TARN_ARENA_UNITS : 1;
  void *base = tarn_space_take_arenas_aligned(arenas, aligned);
  bool good = base != NULL;
  if (good && store->tables)
    good = arena->marks = tarn_space_commit_marks(base, units * TARN_UNIT_SIZE);
  if (!good) {
    if (base)
      tarn_space_give_arenas(base, arenas);
    tarn_meta_free(&store->meta, arena, tarn_arena_record_size(units));
    return NULL;
  }
  tarn_arena_start(arena, (uintptr_t)base, units);
  if (is_huge(store)) {
    arena->huge = true;
    tarn_os_huge_pages(base, units * TARN_UNIT_SIZE, true);
    tarn_space_huge_marks();
  }
  link_arena(store, arena);
  return arena;
}

/* --- charges; under the lock ----------------------------------------------------------------- */

/* Relaxed: read anywhere, written under the lock. */
static size_t look(const _Atomic size_t *figure) {
  return atomic_load_explicit(figure, memory_order_relaxed);
}
static void add(_Atomic size_t *figure, size_t more) {
  atomic_store_explicit(figure, look(figure) + more, memory_order_relaxed);
}

static bool has_room(const struct tarn_store *store, size_t bytes) {
  size_t limit = look(&store->limit), held = look(&store->bytes);
  return bytes <= limit && held <= limit - bytes;
}

/* As many pools of `most` as the limit allows; one does fit. */
static size_t within_limit(const struct tarn_store *store, size_t most) {
  size_t room = (look(&store->limit) - look(&store->bytes)) / TARN_UNIT_SIZE;
  return room < most ? room : most;
}

static void charge(struct tarn_store *store, const struct tarn_wanted *want) {
  add(&store->bytes, want->pools ? want->pools * TARN_UNIT_SIZE : want->bytes);
  add(&store->pools, want->pools);
  add(&store->larges, want->larges);
  if (look(&store->bytes) > look(&store->bytes_max))
    atomic_store_explicit(&store->bytes_max, look(&store->bytes), memory_order_relaxed);
}

static void uncharge(struct tarn_store *store, const struct tarn_wanted *was) {
  add(&store->bytes, -was->bytes);
  add(&store->pools, -was->pools);
  add(&store->larges, -was->larges);
}

static void take_header(struct tarn_store *store, struct tarn_wanted *want) {
  want->header = store->headers;
  if (!want->header)
    return;
  store->headers = want->header->limbo;
  store->header_count--;
}
static void keep_header(struct tarn_store *store, struct tarn_wanted *was) {
  if (!was->header || store->header_count == HEADERS_MOST)
    return;
  was->header->limbo = store->headers;
  store->headers = was->header;
  store->header_count++;
  was->header = NULL;
}

void tarn_store_uncharge(struct tarn_store *store, const struct tarn_wanted *was) {
  (void)pthread_mutex_lock(&store->lock);
  uncharge(store, was);
  (void)pthread_mutex_unlock(&store->lock);
}

/* --- units ----------------------------------------------------------------------------------- */

/* Relaxed: a figure.  Takers count after they have left the lock, so it may be too large. */
static void count_dirty(struct tarn_store *store, size_t more, size_t less) {
  if (more != less)
    atomic_fetch_add_explicit(&store->dirty, more - less, memory_order_relaxed);
}

static size_t sum_dirty(const struct tarn_pool *pool, size_t count) {
  size_t bytes = 0;
  for (size_t i = 0; i < count; i++)
    bytes += pool[i].dirty;
  return bytes;
}

/* The lowest dirty unit: its memory is there already. */
static struct tarn_arena *find_dirty(struct tarn_store *store, size_t *first) {
  struct tarn_arena *arena = store->dirty_hint;
  while (arena && arena->dirty_units == 0)
    arena = arena->next;
  store->dirty_hint = arena;
  if (arena)
    *first = tarn_arena_find_dirty(arena);
  return arena;
}

/* The lowest unit that is not dirty. */
static struct tarn_arena *find_clean(struct tarn_store *store, size_t *first) {
  struct tarn_arena *arena = store->hints[0];
  for (; arena; arena = arena->next)
    if (arena->free_units > arena->dirty_units &&
        (*first = tarn_arena_find_clean(arena)) != TARN_NO_UNIT)
      break;
  return arena;
}

/* First fit by address; NULL if there is none. */
static struct tarn_arena *find_units(struct tarn_store *store, size_t count, size_t alignment,
                                     size_t *first) {
  unsigned class = run_class(count);
  struct tarn_arena *arena = store->hints[class];
  while (arena && arena->longest < (size_t)1 << class)
    arena = arena->next;
  store->hints[class] = arena;
  for (; arena; arena = arena->next)
    if (arena->longest >= count &&
        (*first = tarn_arena_find(arena, count, alignment)) != TARN_NO_UNIT)
      break;
  return arena;
}

/*
 * Is the arena filled well enough for huge pages, and the first to find it so?  From one half on:
 * units are taken from the lowest address up, so what is untouched lies in one piece and comes in
 * huge pages from now on, and a world that never fills half an arena stays small.
 */
static bool becomes_huge(struct tarn_store *store, struct tarn_arena *arena) {
  size_t used = arena->units - arena->free_units - arena->claimed;
  if (!store->huge_pages || arena->huge || used <= arena->units / 2)
    return false;
  arena->huge = true;
  return true;
}

/* May the unit become a pool of the class in a row with one that is dirty, or is not? */
static bool is_alike(struct tarn_arena *arena, size_t unit, bool dirty, unsigned size_class) {
  const struct tarn_pool *pool = tarn_arena_pool(arena, unit);
  return tarn_arena_is_free(arena, unit) && tarn_arena_is_dirty(arena, unit) == dirty &&
         (!dirty || pool->size_class == size_class || pool->dirty >= WORN);
}

/* How many units from `first` on, at most `most`, are as good for the class. */
static size_t count_alike(struct tarn_arena *arena, size_t first, size_t most,
                          unsigned size_class) {
  bool dirty = tarn_arena_is_dirty(arena, first);
  size_t count = 1;
  while (count < most && first + count < arena->units &&
         is_alike(arena, first + count, dirty, size_class))
    count++;
  return count;
}

/* Of the lowest dirty units the first that is worn, or else the one that was touched most. */
static struct tarn_arena *find_worn(struct tarn_store *store, size_t *first) {
  struct tarn_arena *best = NULL, *arena = find_dirty(store, first);
  uint32_t most = 0;
  for (unsigned looks = 0; arena; arena = arena->next)
    for (size_t unit = 0; tarn_bits_run(tarn_arena_dirty(arena), arena->units, &unit); unit++) {
      uint32_t dirty = tarn_arena_pool(arena, unit)->dirty;
      if (dirty > most) {
        most = dirty;
        best = arena;
        *first = unit;
      }
      if (most >= WORN || ++looks == WORN_LOOK)
        return best;
    }
  return best;
}

static struct tarn_arena *find_for_pool(struct tarn_store *store, unsigned size_class,
                                        size_t *first) {
  size_t clean;
  struct tarn_arena *arena = tarn_kin_take(&store->kin, size_class, first), *other;
  if (arena)
    return arena;
  arena = find_worn(store, first);
  if (!arena || tarn_arena_pool(arena, *first)->dirty >= WORN ||
      look(&store->dirty) >= DIRTY_MUCH || !(other = find_clean(store, &clean)))
    return arena;
  *first = clean;
  return other;
}

/* Under the lock.  NULL: no memory. */
static struct tarn_arena *find(struct tarn_store *store, struct tarn_wanted *want, size_t *first) {
  struct tarn_arena *arena = NULL;
  if (want->kin)
    return tarn_kin_take(&store->kin, want->size_class, first);
  if (want->pools)
    arena = find_for_pool(store, want->size_class, first);
  else if (want->units == 1 && want->alignment == 1)
    arena = find_dirty(store, first);
  if (!arena)
    arena = find_units(store, want->units, want->alignment, first);
  if (!arena && (arena = add_arena(store, want->units, want->alignment))) {
    *first = 0;
    want->arena = arena->base;
    want->arena_bytes = arena->units * TARN_UNIT_SIZE;
  }
  return arena;
}

enum taking { TAKEN, NO_UNITS, AT_LIMIT };

/* Takes what is wanted.  What can be done without the lock is done afterwards: two threads that
 * make and free large objects are held up by each other here. */
static enum taking take(struct tarn_store *store, struct tarn_wanted *want) {
  size_t first = 0, dirty = 0;
  bool huge = false;
  enum taking result = AT_LIMIT;
  (void)pthread_mutex_lock(&store->lock);
  struct tarn_arena *arena = NULL;
  if (has_room(store, want->bytes)) {
    arena = find(store, want, &first);
    result = arena ? TAKEN : NO_UNITS;
  }
  if (arena) {
    if (want->pools)
      want->units = want->pools =
          count_alike(arena, first, within_limit(store, want->pools), want->size_class);
    charge(store, want);
    if (want->larges)
      take_header(store, want);
    dirty = tarn_arena_take(arena, first, want->units);
    want->unit = tarn_unit_of(arena->base) + first;
    huge = becomes_huge(store, arena);
  }
  (void)pthread_mutex_unlock(&store->lock);
  if (huge) /* the arena stays: the caller has units of it */
    tarn_os_huge_pages((void *)arena->base, arena->units * TARN_UNIT_SIZE, true);
  if (dirty)
    count_dirty(store, 0, sum_dirty(&tarn_space.pools[want->unit], want->units));
  return result;
}

static bool take_at_last(struct tarn_store *store, struct tarn_wanted *want) {
  enum taking result = take(store, want);
  if (result != NO_UNITS || want->kin)
    return result == TAKEN;
  /* A purge may have claimed units, or have an arena on its way to the space: not while its lock is
   * held. */
  tarn_purge_lock(store);
  result = take(store, want);
  tarn_purge_unlock(store);
  /* Half of what waits in the trap, or all of it. */
  for (size_t keep = store->trap.most / 2; result == NO_UNITS; keep = 0)
    if (tarn_trap_release(store, keep))
      result = take(store, want);
    else if (keep == 0)
      break;
  return result == TAKEN;
}

/* No lock is held. */
static void tell_arena(struct tarn_store *store, uintptr_t base, size_t bytes, bool gone) {
  size_t total = look(&store->arena_bytes);
  if (gone)
    TARN_PROBE2(arena__give, base, bytes);
  else
    TARN_PROBE2(arena__take, base, bytes);
  if (tarn_is_told(store, TARN_TOLD_ARENA))
    tarn_tell(store, (struct tarn_told){.kind = TARN_TOLD_ARENA,
                                        .gone = gone,
                                        .bytes = bytes,
                                        .total = total,
                                        .what = (void *)base});
}

bool tarn_store_take(struct tarn_store *store, struct tarn_wanted *want) {
  want->arena = 0;
  bool good = take_at_last(store, want);
  if (TARN_UNLIKELY(want->arena != 0))
    tell_arena(store, want->arena, want->arena_bytes, false);
  return good;
}

void tarn_store_tell_dropped(struct tarn_store *store, uintptr_t base, size_t bytes) {
  tell_arena(store, base, bytes, true);
}

/* The units are free from `now` on: counts their dirty bytes; how many of them are dirty. */
static size_t date(struct tarn_store *store, struct tarn_pool *pool, size_t count, uint32_t now) {
  size_t dirty = 0, bytes = 0;
  for (size_t i = 0; i < count; i++)
    if (pool[i].dirty) {
      pool[i].freed_at = now;
      bytes += pool[i].dirty;
      dirty++;
    }
  count_dirty(store, bytes, 0);
  return dirty;
}

/* Units become free; under the lock. */
static void put_units(struct tarn_store *store, struct tarn_arena *arena, size_t first,
                      size_t count, size_t dirty, uint32_t now) {
  size_t longest = arena->longest;
  tarn_arena_give(arena, first, count, dirty, now);
  hint_at(store, arena, longest);
}

void tarn_store_put(struct tarn_store *store, struct tarn_wanted *was) {
  uintptr_t base = tarn_unit_base(was->unit);
  struct tarn_pool *pool = &tarn_space.pools[was->unit];
  uint32_t now = tarn_os_ticks();
  if (TARN_UNLIKELY(store->apart.every) && !tarn_apart_forget(was->unit, was->units)) {
    tarn_store_uncharge(store, was); /* they are lost: nobody could use them */
    return;
  }
  size_t dirty = date(store, pool, was->units, now); /* first: the count is never too small */
  (void)pthread_mutex_lock(&store->lock);
  struct tarn_arena *arena = *tarn_arena_slot(base);
  put_units(store, arena, (base - arena->base) / TARN_UNIT_SIZE, was->units, dirty, now);
  if (arena->free_units + arena->claimed == arena->units)
    arena->emptied_at = now;
  uncharge(store, was);
  keep_header(store, was);
  if (was->pools && dirty)
    tarn_kin_note(&store->kin, was->size_class, was->unit);
  tarn_purge_note(store, now);
  (void)pthread_mutex_unlock(&store->lock);
}

/* They do not count any more, and are not free. */
static void keep_units(struct tarn_store *store, struct tarn_wanted *was) {
  (void)pthread_mutex_lock(&store->lock);
  uncharge(store, was);
  keep_header(store, was);
  (void)pthread_mutex_unlock(&store->lock);
  (void)tarn_trap_release(store, store->trap.most);
}

void tarn_store_give(struct tarn_store *store, struct tarn_wanted *was) {
  if (TARN_UNLIKELY(store->trap.most) && tarn_trap_take(store, was))
    keep_units(store, was);
  else
    tarn_store_put(store, was);
}

void tarn_store_claim(struct tarn_store *store, struct tarn_arena *arena, size_t first,
                      size_t count) {
  (void)tarn_arena_take(arena, first, count);
  count_dirty(store, 0, sum_dirty(tarn_arena_pool(arena, first), count));
  arena->claimed += count;
}

void tarn_store_unclaim(struct tarn_store *store, struct tarn_arena *arena, size_t first,
                        size_t count, uint32_t now) {
  size_t dirty = date(store, tarn_arena_pool(arena, first), count, now);
  arena->claimed -= count;
  put_units(store, arena, first, count, dirty, now);
}

/* The mark bytes of the units in use, for whose pages a collection would fault one by one. */
static void populate_marks(const struct tarn_arena *arena) {
  size_t at = 0, from = 0;
  do {
    size_t run = tarn_bits_run(arena->free, arena->units, &at); /* at the end: none, there */
    if (at > from)
      tarn_space_populate_marks(tarn_unit_of(arena->base) + from, at - from);
    from = at += run;
  } while (at < arena->units);
}

bool tarn_store_make_tables(struct tarn_store *store) {
  if (store->tables)
    return true; /* new arenas get theirs when they are made */
  bool good = true;
  (void)pthread_mutex_lock(&store->lock);
  if (is_huge(store))
    tarn_space_huge_marks();
  for (struct tarn_arena *arena = store->arenas; arena && good; arena = arena->next) {
    if (!arena->marks)
      good = arena->marks =
          tarn_space_commit_marks((void *)arena->base, arena->units * TARN_UNIT_SIZE);
    if (good && store->populate)
      populate_marks(arena);
  }
  if (good)
    store->tables = true;
  (void)pthread_mutex_unlock(&store->lock);
  return good;
}

/* --- counts ---------------------------------------------------------------------------------- */

void tarn_store_allocated(struct tarn_store *store, size_t bytes) {
  atomic_fetch_add_explicit(&store->allocated, bytes, memory_order_relaxed);
  atomic_fetch_add_explicit(&store->debt, bytes, memory_order_relaxed);
}

/* --- walks ----------------------------------------------------------------------------------- */

size_t tarn_store_spans(struct tarn_store *store, size_t from, struct tarn_span *spans,
                        size_t most) {
  size_t count = 0;
  (void)pthread_mutex_lock(&store->lock);
  for (struct tarn_arena *arena = store->arenas; arena && count < most; arena = arena->next) {
    size_t first = tarn_unit_of(arena->base);
    if (first >= from)
      spans[count++] = (struct tarn_span){first, arena->units};
  }
  (void)pthread_mutex_unlock(&store->lock);
  return count;
}

void tarn_store_each_pool(struct tarn_store *store, void (*fn)(struct tarn_pool *, void *),
                          void *data) {
  tarn_store_walk_begin(store);
  /* Acquire: in a world that does not stop, an arena may be added meanwhile. */
  struct tarn_arena *arena = __atomic_load_n(&store->arenas, __ATOMIC_ACQUIRE);
  for (; arena; arena = __atomic_load_n(&arena->next, __ATOMIC_ACQUIRE)) {
    size_t first = tarn_unit_of(arena->base);
    for (size_t word = 0; word < arena->units / 64; word++)
      for (uint64_t used = ~tarn_arena_free_word(arena, word); used; used &= used - 1) {
        size_t unit = first + word * 64 + (size_t)__builtin_ctzll(used);
        uint64_t map = tarn_map_get(unit);
        if (tarn_map_world(map) != 0 && tarn_map_form(map) == TARN_FORM_POOL)
          fn(&tarn_space.pools[unit], data);
      }
  }
  tarn_store_walk_end(store);
}

/* Eight ages at once: most of an old heap is none of those that are wanted. */
static void each_aged_of(size_t first, size_t count, uint64_t ages,
                         void (*fn)(struct tarn_pool *, void *), void *data) {
  for (size_t i = first; i < first + count; i += 8) {
    uint64_t eight;
    memcpy(&eight, &tarn_space.ages[i], sizeof eight);
    if (!(eight & ages * UINT64_C(0x0101010101010101)))
      continue;
    for (size_t unit = i; unit < i + 8; unit++) {
      uint64_t map = tarn_map_get(unit);
      if ((tarn_space.ages[unit] & ages) && tarn_map_world(map) != 0 &&
          tarn_map_form(map) == TARN_FORM_POOL)
        fn(&tarn_space.pools[unit], data);
    }
  }
}

void tarn_store_each_aged(struct tarn_store *store, uint8_t ages,
                          void (*fn)(struct tarn_pool *, void *), void *data) {
  tarn_store_walk_begin(store);
  for (const struct tarn_arena *arena = store->arenas; arena; arena = arena->next)
    each_aged_of(tarn_unit_of(arena->base), arena->units, ages, fn, data);
  tarn_store_walk_end(store);
}
