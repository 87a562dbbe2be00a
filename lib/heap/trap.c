/* SPDX-License-Identifier: MIT */
/*
 * heap/trap.c: see heap/trap.h.
 */
#include "heap/trap.h"
#include "heap/apart.h"
#include "heap/store.h"

/* Where a guard is a mapping of its own, of which a process may have 65530: so many runs. */
#define PROTECTED_MOST 8192u

/* How this system makes them; found out by the first one.  Relaxed: who has not seen it asks once
 * more. */
static _Atomic unsigned char kind_found;
static _Atomic unsigned protected_count; /* of all worlds; relaxed: a number */

void tarn_trap_start(struct tarn_trap *trap) { tarn_os_lock_init(&trap->lock); }

static size_t bytes_of(size_t units) { return units * TARN_UNIT_SIZE; }

/* --- guards ---------------------------------------------------------------------------------- */

static bool protect(void *address, size_t bytes) {
  if (atomic_fetch_add_explicit(&protected_count, 1, memory_order_relaxed) < PROTECTED_MOST &&
      tarn_os_purge(address, bytes) && tarn_os_guard(address, bytes, TARN_GUARD_PROTECTED))
    return true;
  atomic_fetch_sub_explicit(&protected_count, 1, memory_order_relaxed);
  return false;
}

static bool shut(void *address, size_t bytes) {
  unsigned char kind = atomic_load_explicit(&kind_found, memory_order_relaxed);
  if (kind != TARN_GUARD_PROTECTED && tarn_os_guard(address, bytes, TARN_GUARD_MARKED)) {
    atomic_store_explicit(&kind_found, TARN_GUARD_MARKED, memory_order_relaxed);
    return true;
  }
  if (kind == TARN_GUARD_MARKED) /* it knows how to, but has no memory for it */
    return false;
  atomic_store_explicit(&kind_found, TARN_GUARD_PROTECTED, memory_order_relaxed);
  return protect(address, bytes);
}

/* A mark that is older than the mapping, behind the end of a block apart, outlives it. */
static bool open_up(size_t unit, size_t bytes) {
  tarn_guard_kind kind = (tarn_guard_kind)atomic_load_explicit(&kind_found, memory_order_relaxed);
  if (!tarn_os_unguard((void *)tarn_unit_base(unit), bytes, kind))
    return false;
  if (kind == TARN_GUARD_PROTECTED)
    atomic_fetch_sub_explicit(&protected_count, 1, memory_order_relaxed);
  else
    tarn_apart_opened(unit);
  return true;
}

/* --- the queue ------------------------------------------------------------------------------- */

/* What was there, for reports; `lead` units of it were a guard's.  Relaxed: nobody acts on it. */
static void leave_word(const struct tarn_pool *run, const struct tarn_wanted *was) {
  size_t first = was->unit + was->lead, units = was->units - was->lead;
  if (was->lead)
    tarn_map_set(was->unit, tarn_map_make(0, TARN_KIND_NONE, TARN_FORM_REST, false, 0, 0));
  tarn_kind kind = tarn_flavour_kind((tarn_flavour)run->flavour);
  if (was->pools) {
    tarn_map_set(was->unit, tarn_map_make(0, kind, TARN_FORM_POOL, false, tarn_pool_block_size(run),
                                          run->own.reciprocal));
    return;
  }
  for (size_t i = 0; i < units; i++)
    tarn_map_set(first + i, tarn_map_make(0, TARN_KIND_NONE, i ? TARN_FORM_REST : TARN_FORM_LARGE,
                                          false, 0, (uint32_t)(i ? i : units)));
}

static void enqueue(struct tarn_trap *trap, struct tarn_pool *run, size_t units) {
  for (size_t i = 0; i < units; i++)
    run[i].dirty = 0;
  run->own.virgin = (uint32_t)units;
  run->next = NULL;
  (void)pthread_mutex_lock(&trap->lock);
  if (trap->last)
    trap->last->next = run;
  else
    trap->first = run;
  trap->last = run;
  trap->units += units;
  (void)pthread_mutex_unlock(&trap->lock);
}

/* The oldest run, if more than `most` bytes wait. */
static struct tarn_pool *dequeue(struct tarn_trap *trap, size_t most) {
  (void)pthread_mutex_lock(&trap->lock);
  struct tarn_pool *run = bytes_of(trap->units) > most ? trap->first : NULL;
  if (run) {
    trap->units -= run->own.virgin;
    trap->first = run->next;
    if (!trap->first)
      trap->last = NULL;
  }
  (void)pthread_mutex_unlock(&trap->lock);
  return run;
}

bool tarn_trap_take(struct tarn_store *store, const struct tarn_wanted *was) {
  size_t bytes = bytes_of(was->units);
  if (bytes > store->trap.most || was->units > UINT32_MAX ||
      !shut((void *)tarn_unit_base(was->unit), bytes))
    return false;
  leave_word(&tarn_space.pools[was->unit], was);
  enqueue(&store->trap, &tarn_space.pools[was->unit], was->units);
  return true;
}

/* The store has it again; false: the system has no memory for that, and the units are lost until
 * the world ends. */
static bool give(struct tarn_store *store, struct tarn_pool *run) {
  struct tarn_wanted was = {.units = run->own.virgin, .unit = tarn_pool_unit(run)};
  if (!open_up(was.unit, bytes_of(was.units)))
    return false;
  for (size_t i = 0; i < was.units; i++) {
    tarn_map_set(was.unit + i, 0);
    tarn_pool_reset(&run[i]);
  }
  tarn_store_put(store, &was);
  return true;
}

bool tarn_trap_release(struct tarn_store *store, size_t most) {
  struct tarn_pool *run;
  bool some = false;
  while ((run = dequeue(&store->trap, most)))
    some = give(store, run) || some;
  return some;
}

/* Nobody may get the range of an arena that has units which cannot be touched. */
static void open_arenas(struct tarn_store *store) {
  for (struct tarn_arena *arena = store->arenas; arena; arena = arena->next)
    if (!tarn_os_unguard((void *)arena->base, bytes_of(arena->units),
                         (tarn_guard_kind)atomic_load_explicit(&kind_found, memory_order_relaxed)))
      arena->shut = true;
}

void tarn_trap_end(struct tarn_store *store) {
  struct tarn_trap *trap = &store->trap;
  struct tarn_pool *run;
  bool good = true;
  trap->most = 0;
  while ((run = dequeue(trap, 0)))
    good = give(store, run) && good;
  if (!good)
    open_arenas(store);
}
