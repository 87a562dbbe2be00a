/* SPDX-License-Identifier: MIT */
/*
 * heap/large.c: large objects: whole units of address space, as many pages of memory as they need,
 * and a header on the heap's RCU list.  What is above the object in its last unit is never touched;
 * the unit's `dirty` tells what may lie there from before.
 */
#include "heap/find.h"
#include "heap/sample.h"
#include "os/probes.h"
#include <string.h>

/* From this size on an object that has to be zero gets its pages anew: who asks for so much may use
 * little of it. */
#define ANEW_FROM ((size_t)1 << 20)

/* Headers that wait for a common grace period, which costs tens of microseconds. */
#define LIMBO_MOST 256u

/* The first `bytes` of the unit are the object's from now on.  Beyond them, where it is never
 * touched, the last tenants' leavings stay, and `dirty` goes on saying so. */
static void clean_unit(size_t unit, size_t bytes, bool cleared) {
  struct tarn_pool *pool = &tarn_space.pools[unit];
  uint32_t dirty = pool->dirty;
  if (cleared)
    memset((void *)tarn_unit_base(unit), 0, dirty < bytes ? dirty : bytes);
  tarn_pool_reset(pool);
  pool->dirty = dirty > bytes ? dirty : 0;
}

/* The object's memory is zero afterwards, if that is wanted. */
static void clean_units(struct tarn_store *store, size_t unit, size_t bytes, bool cleared) {
  if (cleared && bytes >= ANEW_FROM && tarn_os_purge((void *)tarn_unit_base(unit), bytes)) {
    atomic_fetch_add_explicit(&store->returned, bytes, memory_order_relaxed);
    cleared = false;
  }
  for (size_t at = 0; at < bytes; at += TARN_UNIT_SIZE, unit++)
    clean_unit(unit, bytes - at < TARN_UNIT_SIZE ? bytes - at : TARN_UNIT_SIZE, cleared);
}

/* A world that is never collected, walked or ended needs no list of its large objects. */
static bool is_listed(const struct tarn_store *store) { return !store->hooks->uncollected; }

#if TARN_HARDENED
static size_t guard_lead(size_t alignment) { return tarn_guard_lead(alignment); }
static size_t guard_tail(void) { return tarn_guard_tail(); }

static void set_guards(struct tarn_large *large, size_t lead, size_t tail) {
  size_t unit = tarn_unit_of(large->base);
  large->lead = (uint8_t)lead;
  large->guard = (uint32_t)tail;
  if (lead)
    clean_unit(unit - 1, 0, false);
  if (large->bytes == (large->units - 1) * TARN_UNIT_SIZE) /* the last one has the guard alone */
    clean_unit(unit + large->units - 1, 0, false);
  tarn_guard_begin(large);
}
#else
static size_t guard_lead(size_t alignment) {
  (void)alignment;
  return 0;
}
static size_t guard_tail(void) { return 0; }
static void set_guards(struct tarn_large *large, size_t lead, size_t tail) {
  (void)large, (void)lead, (void)tail;
}
#endif

/* Later units first, the first one last: whoever sees a later one finds its way to the first. */
static void publish(struct tarn_large *large, unsigned world) {
  tarn_flavour flavour = (tarn_flavour)large->flavour;
  size_t unit = tarn_unit_of(large->base);
  /* Release, and acquire in look-ups: the header is seen whole. */
  tarn_space.pools[unit].heap = large->heap;
  atomic_store_explicit(&tarn_space.pools[unit].large, large, memory_order_release);
  TARN_DELAY();
  if (tarn_large_lead(large))
    tarn_map_set(unit - 1, tarn_map_make(world, tarn_flavour_kind(flavour), TARN_FORM_REST,
                                         tarn_flavour_resource(flavour), 0, 0));
  for (size_t i = large->units; i-- > 0;)
    tarn_map_set(unit + i, tarn_map_make(world, tarn_flavour_kind(flavour),
                                         i == 0 ? TARN_FORM_LARGE : TARN_FORM_REST,
                                         tarn_flavour_resource(flavour), 0,
                                         (uint32_t)(i == 0 ? large->units : i)));
}

/* Units, charged, and a header that says nothing yet; `want->unit` is the first of all. */
static struct tarn_large *take(struct tarn_store *store, struct tarn_wanted *want) {
  if (!tarn_store_take(store, want))
    return NULL;
  struct tarn_large *large = want->header;
  if (large)
    memset(large, 0, sizeof *large);
  else if (!(large = tarn_meta_alloc(&store->meta, sizeof *large)))
    tarn_store_give(store, want);
  return large;
}

void *tarn_large_make(struct tarn_heap *heap, tarn_flavour flavour, size_t size, size_t alignment,
                      bool cleared) {
  struct tarn_store *store = heap->store;
  size_t page = tarn_os_page_size();
  size_t bytes = (size + page - 1) & ~(page - 1);
  size_t lead = guard_lead(alignment), tail = guard_tail();
  size_t units = (bytes + tail + TARN_UNIT_SIZE - 1) / TARN_UNIT_SIZE;
  if (units > UINT32_MAX)
    return NULL;
  struct tarn_wanted want = {.units = lead + units,
                             .alignment =
                                 alignment > TARN_UNIT_SIZE ? alignment / TARN_UNIT_SIZE : 1,
                             .bytes = bytes,
                             .larges = 1};
  struct tarn_large *large = take(store, &want);
  if (!large)
    return NULL;
  size_t unit = want.unit + lead;
  tarn_tools_open((const void *)tarn_unit_base(unit), bytes);
  clean_units(store, unit, bytes, cleared);
  large->heap = heap;
  large->base = tarn_unit_base(unit);
  large->bytes = bytes;
  large->units = units;
  large->flavour = (uint8_t)flavour;
  set_guards(large, lead, tail);
  publish(large, store->id);
  if (is_listed(store)) {
    (void)pthread_mutex_lock(&heap->large_lock);
    cds_list_add_rcu(&large->node, &heap->larges);
    (void)pthread_mutex_unlock(&heap->large_lock);
  }
  TARN_PROBE2(alloc__large, large->base, bytes);
  if (tarn_is_told(store, TARN_TOLD_LARGE))
    tarn_tell(store, (struct tarn_told){
                         .kind = TARN_TOLD_LARGE, .bytes = bytes, .what = (void *)large->base});
  return (void *)large->base;
}

/* Off its list and out of the map; it still counts. */
static void withdraw(struct tarn_large *large, tarn_fate fate) {
  struct tarn_heap *heap = large->heap;
  struct tarn_store *store = heap->store;
  size_t unit = tarn_unit_of(large->base);
  if (TARN_UNLIKELY(store->apart.every))
    tarn_apart_gone(large, fate);
  if (TARN_UNLIKELY(store->sampling))
    store->sampling->freed(store, (const void *)large->base);
  if (is_listed(store)) {
    (void)pthread_mutex_lock(&heap->large_lock);
    cds_list_del_rcu(&large->node);
    (void)pthread_mutex_unlock(&heap->large_lock);
  }
  /* Release: a walker that still sees the header reads this (acquire) and leaves the object be. */
  atomic_store_explicit(&large->dead, 1, memory_order_release);
  if (store->tables && *tarn_mark_byte(large->base) != TARN_MARK_NONE)
    *tarn_mark_byte(large->base) = TARN_MARK_NONE;
  for (size_t i = 0; i < large->units; i++)
    tarn_map_set(unit + i, 0);
  if (tarn_large_lead(large))
    tarn_map_set(unit - 1, 0);
  atomic_store_explicit(&tarn_space.pools[unit].large, NULL, memory_order_relaxed);
}

void tarn_large_unlink(struct tarn_large *large) {
  struct tarn_wanted was = {.bytes = large->bytes, .larges = 1};
  withdraw(large, TARN_FATE_COLLECTED);
  tarn_store_uncharge(large->heap->store, &was);
}

/* `was` says what still counts. */
static void give_back(struct tarn_store *store, struct tarn_large *large, struct tarn_wanted *was) {
  size_t unit = tarn_unit_of(large->base), lead = tarn_large_lead(large);
  tarn_tools_close((const void *)large->base, large->bytes);
  for (size_t i = 0; i < large->units; i++) {
    struct tarn_pool *pool = &tarn_space.pools[unit + i];
    size_t left = large->bytes - i * TARN_UNIT_SIZE;
    if (pool->dirty < left)
      pool->dirty = (uint32_t)(left < TARN_UNIT_SIZE ? left : TARN_UNIT_SIZE);
  }
#if TARN_HARDENED
  if (!tarn_guard_end(large)) { /* the units are lost: nobody could use them */
    tarn_store_uncharge(store, was);
    return;
  }
#endif
  was->unit = unit - lead;
  was->units = large->units + lead;
  was->lead = lead;
  tarn_store_give(store, was);
}

void tarn_large_give_back(struct tarn_store *store, struct tarn_large *large) {
  struct tarn_wanted was = {.larges = 0}; /* unlinked */
  give_back(store, large, &was);
}

void tarn_large_drop(struct tarn_large *large, struct tarn_large **limbo) {
  struct tarn_wanted was = {.bytes = large->bytes, .larges = 1};
  withdraw(large, TARN_FATE_DROPPED);
  give_back(large->heap->store, large, &was);
  large->limbo = *limbo;
  *limbo = large;
}

void tarn_large_reclaim(struct tarn_store *store, struct tarn_large *limbo) {
  if (!limbo)
    return;
  if (is_listed(store))
    tarn_rcu_synchronize();
  for (struct tarn_large *next; limbo; limbo = next) {
    next = limbo->limbo;
    tarn_meta_free(&store->meta, limbo, sizeof *limbo);
  }
}

void tarn_large_free(struct tarn_large *large) {
  struct tarn_store *store = large->heap->store;
  struct tarn_large *enough = NULL;
  /* Where nobody walks, nobody can still stand on the header. */
  struct tarn_wanted was = {
      .bytes = large->bytes, .larges = 1, .header = is_listed(store) ? NULL : large};
  withdraw(large, TARN_FATE_FREED);
  give_back(store, large, &was);
  if (!is_listed(store)) {
    tarn_meta_free(&store->meta, was.header, sizeof *large);
    tarn_store_tend(store);
    return;
  }
  (void)pthread_mutex_lock(&store->limbo_lock);
  large->limbo = store->limbo;
  store->limbo = large;
  if (++store->limbo_count >= LIMBO_MOST) {
    enough = store->limbo;
    store->limbo = NULL;
    store->limbo_count = 0;
  }
  (void)pthread_mutex_unlock(&store->limbo_lock);
  tarn_large_reclaim(store, enough);
  tarn_store_tend(store);
}

struct tarn_large *tarn_large_of(uintptr_t address) {
  size_t unit = tarn_unit_of(address);
  uint64_t map = tarn_map_get(unit);
  if (tarn_map_form(map) == TARN_FORM_REST)
    unit -= tarn_map_low(map);
  return atomic_load_explicit(&tarn_space.pools[unit].large, memory_order_acquire);
}

bool tarn_find_large(size_t unit, uintptr_t word, bool interior, struct tarn_place *place) {
  uint64_t map = tarn_map_get(unit);
  if (tarn_map_form(map) == TARN_FORM_REST) {
    if (!interior)
      return false;
    unit -= tarn_map_low(map);
    map = tarn_map_get(unit);
  }
  struct tarn_large *large =
      atomic_load_explicit(&tarn_space.pools[unit].large, memory_order_acquire);
  if (tarn_map_form(map) != TARN_FORM_LARGE || !large)
    return false;
  uintptr_t base = tarn_unit_base(unit);
  if (word - base >= large->bytes || (!interior && word != base))
    return false;
  place->block = base;
  place->size = large->bytes;
  place->map = map;
  return true;
}

bool tarn_place_in_use(const struct tarn_place *place, uint8_t epoch) {
  if (tarn_map_form(place->map) == TARN_FORM_POOL)
    return tarn_pool_in_use(tarn_pool_of(place->block), (void *)place->block, epoch);
  if (epoch && tarn_mark_is_dead(tarn_mark_load(place->block)))
    return false;
  return tarn_map_kind(place->map) == TARN_KIND_RAW || *(const uintptr_t *)place->block != 0;
}
