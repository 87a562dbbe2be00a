/* SPDX-License-Identifier: MIT */
/*
 * collect/cycles.c: finding cycles of garbage; see collect/cycles.h.
 *
 * Trial deletion is Christopher's (1984), in the form that Python gave it: one pass over the
 * candidates takes off what they refer to, a second one marks what has references left.  That known
 * roots are marked first, and that the passes wait for few cache lines, is what makes it fast where
 * little is garbage: an object that is marked costs a look at its mark byte.
 */
#include "collect/cycles.h"
#include "collect/collector.h"
#include <string.h>

#define RING 16u /* references whose ints are being fetched */
#define QUEUE 8u /* objects that are */
#define BIG ((size_t)TARN_REFS_IMMORTAL)

/* --- vectors --------------------------------------------------------------------------------- */

bool tarn_vector_add(struct tarn_vector *vector, uintptr_t item) {
  if (vector->count == vector->capacity) {
    size_t bytes = vector->capacity * sizeof item, more = bytes ? bytes * 2 : (size_t)16 << 10;
    uintptr_t *items = tarn_os_map(more);
    if (!items)
      return false;
    if (bytes)
      memcpy(items, vector->items, bytes);
    tarn_vector_drop(vector);
    vector->items = items;
    vector->count = bytes / sizeof item;
    vector->capacity = more / sizeof item;
  }
  vector->items[vector->count++] = item;
  return true;
}

void tarn_vector_drop(struct tarn_vector *vector) {
  if (vector->capacity)
    tarn_os_unmap(vector->items, vector->capacity * sizeof *vector->items);
  *vector = (struct tarn_vector){0};
}

/* --- references that are looked at ------------------------------------------------------------ */

/* A reference to what may be a candidate; its int and its mark byte are being fetched. */
struct reference {
  int32_t *ref;
  uintptr_t object;
};

struct pass {
  tarn_visitor visitor; /* must be first: visit() gets it */
  struct tarn_collector *collector;
  void (*meet)(struct pass *pass, const struct reference *reference);
  unsigned at;
  struct reference ring[RING];
};

static bool is_marked(const struct tarn_cycles *cycles, uintptr_t object) {
  return cycles->rooted && tarn_mark_load(object) == cycles->epoch;
}

/* Is there a block of a container's pool of the generation, or a large one?  Where its int is. */
static inline bool is_candidate(const struct tarn_collector *collector, uintptr_t word,
                                int32_t **ref) {
  size_t unit = tarn_unit_of(word);
  uint64_t map = tarn_map_get(unit);
  if (tarn_map_world(map) != collector->world->store.id ||
      tarn_map_kind(map) != TARN_KIND_CONTAINER || !(tarn_space.ages[unit] & TARN_AGE_CANDIDATE))
    return false;
  uint32_t offset = (uint32_t)(word & (TARN_UNIT_SIZE - 1));
  size_t index = 0;
  if (tarn_map_form(map) == TARN_FORM_POOL) {
    index = tarn_block_index(map, offset);
    if (index * tarn_map_block_size(map) != offset)
      return false;
  } else if (tarn_map_form(map) != TARN_FORM_LARGE || offset != 0) {
    return false;
  }
  *ref = tarn_refs_of_unit(unit) + index;
  return true;
}

static void visit(struct tarn_visitor *visitor, uintptr_t word) {
  struct pass *pass = (struct pass *)(void *)visitor;
  struct reference *reference = &pass->ring[pass->at];
  int32_t *ref;
  word &= ~pass->collector->world->tag_mask;
  if (!tarn_space_holds(word) || (word & 7) != 0 || !is_candidate(pass->collector, word, &ref))
    return;
  if (reference->ref)
    pass->meet(pass, reference);
  __builtin_prefetch(ref, 1);
  if (pass->collector->cycles.rooted)
    __builtin_prefetch(tarn_mark_byte(word), 0);
  *reference = (struct reference){ref, word};
  pass->at = (pass->at + 1) % RING;
}

/* All that are underway. */
static void flush(struct pass *pass) {
  for (unsigned i = 0; i < RING; i++) {
    struct reference *reference = &pass->ring[(pass->at + i) % RING];
    if (reference->ref)
      pass->meet(pass, reference);
    reference->ref = NULL;
  }
}

static void scan(struct pass *pass, const void *object) {
  const tarn_type *type = tarn_type_of(object);
  if (TARN_LIKELY(type->scan == TARN_SCAN_BITS && pass->visitor.visit == visit)) {
    for (uint64_t bits = type->bits; bits; bits &= bits - 1)
      visit(&pass->visitor, ((const uintptr_t *)object)[__builtin_ctzll(bits)]);
    return;
  }
  tarn_scan_object(&pass->visitor, object);
}

static struct pass pass_of(struct tarn_collector *collector,
                           void (*meet)(struct pass *, const struct reference *)) {
  return (struct pass){.visitor = {.visit = visit}, .collector = collector, .meet = meet};
}

/* --- candidates ------------------------------------------------------------------------------ */

static uint8_t ages_of(int generation) {
  return generation == 0 ? TARN_AGE_YOUNG : TARN_AGE_YOUNG | TARN_AGE_AGED;
}

/* The pools of the generation, of all kinds. */
static void each_pool(struct tarn_collector *collector, void (*fn)(struct tarn_pool *, void *),
                      void *data) {
  struct tarn_store *store = &collector->world->store;
  if (collector->cycles.generation == TARN_GENERATION_FULL)
    tarn_store_each_pool(store, fn, data);
  else
    tarn_store_each_aged(store, ages_of(collector->cycles.generation), fn, data);
}

static void each_candidate(struct tarn_collector *collector, void (*fn)(struct tarn_pool *, void *),
                           void *data) {
  tarn_store_each_aged(&collector->world->store, TARN_AGE_CANDIDATE, fn, data);
}

static void each_large(struct tarn_collector *collector,
                       void (*fn)(struct tarn_collector *, struct tarn_large *, void *),
                       void *data) {
  struct tarn_store *store = &collector->world->store;
  struct tarn_large *large, *next;
  for (unsigned i = 0; i < tarn_store_heap_limit(store); i++) {
    struct tarn_heap *heap = tarn_store_heap(store, i);
    if (!heap || heap->kind != TARN_HEAP_CONTAINER)
      continue;
    cds_list_for_each_entry_safe(large, next, &heap->larges, node) fn(collector, large, data);
  }
}

static void choose_pool(struct tarn_pool *pool, void *data) {
  const struct tarn_collector *collector = data;
  bool first = collector->generations.first_pool && collector->cycles.generation == 0;
  if (tarn_flavour_kind((tarn_flavour)pool->flavour) == TARN_KIND_CONTAINER &&
      pool->list != TARN_LIST_CONDEMNED && (!first || pool->list == TARN_LIST_CURRENT))
    tarn_space.ages[tarn_pool_unit(pool)] |= TARN_AGE_CANDIDATE;
}

/* Large objects have ages of their own, and condemned ones wait for their functions. */
static bool is_of_generation(const struct tarn_collector *collector,
                             const struct tarn_large *large) {
  int generation = collector->cycles.generation;
  return (generation == 2 || large->age == TARN_LARGE_NEW ||
          (generation == 1 && large->age == TARN_LARGE_AGED)) &&
         *(const uintptr_t *)large->base != 0 && !tarn_mark_is_dead(*tarn_mark_byte(large->base));
}

static void choose_large(struct tarn_collector *collector, struct tarn_large *large, void *data) {
  (void)data;
  if (is_of_generation(collector, large))
    tarn_space.ages[tarn_unit_of(large->base)] |= TARN_AGE_CANDIDATE;
}

static bool is_chosen(uintptr_t address) {
  return tarn_space.ages[tarn_unit_of(address)] & TARN_AGE_CANDIDATE;
}

/* --- 1. what they refer to is taken off ------------------------------------------------------- */

static void take_off(struct pass *pass, const struct reference *reference) {
  if (!is_marked(&pass->collector->cycles, reference->object))
    --*reference->ref;
}

static void walk_past(struct pass *pass, int32_t *ref, const void *object) {
  size_t count = tarn_refs_of_object(tarn_type_of(object), object);
  pass->collector->cycles.looked_at++;
  *ref += TARN_REFS_SEEN + (int32_t)(count == 0 || count > BIG ? BIG : count);
  if (count != 0) /* else it is being made, or given back */
    scan(pass, object);
}

/* A mark of the collection before goes, for the next one's will be the same. */
static bool passes_by(const struct tarn_cycles *cycles, uintptr_t block) {
  if (!cycles->rooted)
    return true;
  uint8_t mark = tarn_mark_load(block);
  if (mark == cycles->epoch)
    return false;
  if (mark != TARN_MARK_NONE)
    tarn_mark_store(block, TARN_MARK_NONE);
  return true;
}

static void walk_pool(struct tarn_pool *pool, void *data) {
  struct pass *pass = data;
  const struct tarn_cycles *cycles = &pass->collector->cycles;
  uint32_t size = (uint32_t)tarn_pool_block_size(pool);
  uintptr_t block = tarn_pool_base(pool), end = block + pool->own.cursor;
  int32_t *ref = tarn_refs_of_unit(tarn_pool_unit(pool));
  for (; block < end; block += size, ref++)
    if (passes_by(cycles, block) && *(const uintptr_t *)block != 0)
      walk_past(pass, ref, (const void *)block);
}

static void walk_large(struct tarn_collector *collector, struct tarn_large *large, void *data) {
  if (is_chosen(large->base) && passes_by(&collector->cycles, large->base))
    walk_past(data, tarn_refs_of_unit(tarn_unit_of(large->base)), (const void *)large->base);
}

static void take_off_all(struct tarn_collector *collector) {
  struct pass pass = pass_of(collector, take_off);
  each_candidate(collector, walk_pool, &pass);
  each_large(collector, walk_large, &pass);
  flush(&pass);
}

/* --- 2. what has some left lives ------------------------------------------------------------- */

static void push(struct tarn_collector *collector, uintptr_t object) {
  struct tarn_cycles *cycles = &collector->cycles;
  if (!tarn_vector_add(&cycles->stack, object))
    cycles->overflow = true; /* it is ALIVE: see rescan */
}

static _Noreturn void die_of_count(struct tarn_collector *collector, uintptr_t block,
                                   int32_t value) {
  struct tarn_store *store = &collector->world->store;
  store->hooks->corrupt(store, (const void *)block,
                        value > 0 ? "its count is lower than the number of references to it"
                                  : "references lead to it, but it is free");
  __builtin_unreachable();
}

static void revive(struct pass *pass, const struct reference *reference) {
  if (*reference->ref == TARN_REFS_ALIVE || is_marked(&pass->collector->cycles, reference->object))
    return;
  if (*reference->ref < TARN_REFS_SEEN)
    die_of_count(pass->collector, reference->object, *reference->ref);
  *reference->ref = TARN_REFS_ALIVE;
  push(pass->collector, reference->object);
}

/* What an object without a count refers to has its counts, if they were not given up already; then
 * it may be gone. */
static void scan_alive(struct pass *pass, const void *object) {
  if (tarn_refs_of_object(tarn_type_of(object), object) != 0)
    scan(pass, object);
}

/* Scans what is on the stack, and all it leads to.  A few objects are fetched ahead. */
static void drain(struct pass *pass) {
  struct tarn_vector *stack = &pass->collector->cycles.stack;
  uintptr_t queue[QUEUE];
  unsigned first = 0, count = 0;
  for (;;) {
    while (count < QUEUE && stack->count) {
      uintptr_t object = stack->items[--stack->count];
      __builtin_prefetch((const void *)object, 0);
      queue[(first + count++) % QUEUE] = object;
    }
    if (count == 0) {
      flush(pass);
      if (stack->count == 0)
        return;
      continue;
    }
    scan_alive(pass, (const void *)queue[first]);
    first = (first + 1) % QUEUE;
    count--;
  }
}

static void judge(struct pass *pass, int32_t *ref, uintptr_t block) {
  int32_t value = *ref;
  if (value == 0 || value == TARN_REFS_SEEN || value == TARN_REFS_ALIVE)
    return;
  if (value < TARN_REFS_SEEN)
    die_of_count(pass->collector, block, value);
  *ref = TARN_REFS_ALIVE;
  push(pass->collector, block);
  drain(pass);
}

static void judge_pool(struct tarn_pool *pool, void *data) {
  int32_t *refs = tarn_refs_of_unit(tarn_pool_unit(pool));
  uintptr_t base = tarn_pool_base(pool);
  size_t size = tarn_pool_block_size(pool);
  for (unsigned i = 0; i < pool->capacity; i++)
    judge(data, &refs[i], base + i * size);
}

static void judge_large(struct tarn_collector *collector, struct tarn_large *large, void *data) {
  (void)collector;
  if (is_chosen(large->base))
    judge(data, tarn_refs_of_unit(tarn_unit_of(large->base)), large->base);
}

/* The stack was full: what is ALIVE is scanned again, until nothing new is found. */
static void rescan_pool(struct tarn_pool *pool, void *data) {
  const int32_t *refs = tarn_refs_of_unit(tarn_pool_unit(pool));
  uintptr_t base = tarn_pool_base(pool);
  size_t size = tarn_pool_block_size(pool);
  for (unsigned i = 0; i < pool->capacity; i++)
    if (refs[i] == TARN_REFS_ALIVE) {
      scan_alive(data, (const void *)(base + i * size));
      drain(data);
    }
}

static void rescan_large(struct tarn_collector *collector, struct tarn_large *large, void *data) {
  (void)collector;
  if (is_chosen(large->base) && *tarn_refs_of_unit(tarn_unit_of(large->base)) == TARN_REFS_ALIVE) {
    scan_alive(data, (const void *)large->base);
    drain(data);
  }
}

static void rescan(struct tarn_collector *collector, struct pass *pass) {
  while (collector->cycles.overflow) {
    collector->cycles.overflow = false;
    each_candidate(collector, rescan_pool, pass);
    each_large(collector, rescan_large, pass);
  }
}

static void revive_all(struct tarn_collector *collector) {
  struct pass pass = pass_of(collector, revive);
  each_candidate(collector, judge_pool, &pass);
  each_large(collector, judge_large, &pass);
  rescan(collector, &pass);
}

/* --- 3. the rest is garbage ------------------------------------------------------------------- */

/* True: it is garbage. */
static bool sentence(struct tarn_collector *collector, int32_t *ref, uintptr_t block, size_t size) {
  struct tarn_cycles *cycles = &collector->cycles;
  if (*ref != TARN_REFS_SEEN) {
    *ref = 0;
    return false;
  }
  const tarn_type *type = tarn_type_of((const void *)block);
  *ref = TARN_REFS_TRASH;
  cycles->found++;
  cycles->found_bytes += size;
  cycles->special |= type->clear || type->finalize;
  return true;
}

static void gather_pool(struct tarn_pool *pool, void *data) {
  struct tarn_collector *collector = data;
  int32_t *refs = tarn_refs_of_unit(tarn_pool_unit(pool));
  uintptr_t base = tarn_pool_base(pool);
  size_t size = tarn_pool_block_size(pool);
  unsigned found = 0;
  for (unsigned i = 0; i < pool->capacity; i++)
    if (refs[i])
      found += sentence(collector, &refs[i], base + i * size, size);
  if (found && !tarn_vector_add(&collector->cycles.pools, tarn_pool_unit(pool)))
    collector->cycles.overflow = true;
  pool->live = (uint16_t)found;
}

static void gather_large(struct tarn_collector *collector, struct tarn_large *large, void *data) {
  (void)data;
  if (!is_chosen(large->base) ||
      !sentence(collector, tarn_refs_of_unit(tarn_unit_of(large->base)), large->base, large->bytes))
    return;
  large->limbo = collector->cycles.larges;
  collector->cycles.larges = large;
}

/* Garbage refers to garbage: where some cannot be noted, all of it stays for the next collection.
 */
static void forget_pool(struct tarn_pool *pool, void *data) {
  (void)data;
  if (pool->live)
    memset(tarn_refs_of_unit(tarn_pool_unit(pool)), 0, pool->capacity * sizeof(int32_t));
  pool->live = 0;
}

static void forget_garbage(struct tarn_collector *collector) {
  struct tarn_cycles *cycles = &collector->cycles;
  each_candidate(collector, forget_pool, NULL);
  for (struct tarn_large *large = cycles->larges; large; large = large->limbo)
    *tarn_refs_of_unit(tarn_unit_of(large->base)) = 0;
  cycles->larges = NULL;
  cycles->pools.count = 0;
  cycles->found = cycles->found_bytes = 0;
}

static void gather(struct tarn_collector *collector) {
  each_candidate(collector, gather_pool, collector);
  each_large(collector, gather_large, NULL);
  if (collector->cycles.overflow)
    forget_garbage(collector);
}

/* --- pools and ages --------------------------------------------------------------------------- */

static uint8_t next_age(const struct tarn_collector *collector, uint8_t age) {
  return collector->cycles.generation == 0 && (age & (TARN_AGE_YOUNG | TARN_AGE_AGED))
             ? TARN_AGE_AGED
             : 0;
}

/* Those with garbage belong to the collecting thread, all others that had an owner to nobody. */
static void settle_pool(struct tarn_pool *pool, void *data) {
  const struct tarn_collector *collector = data;
  struct tarn_shelf *shelf = &pool->heap->shelves[pool->flavour][pool->size_class];
  uint8_t *age = &tarn_space.ages[tarn_pool_unit(pool)];
  bool has_garbage = (*age & TARN_AGE_CANDIDATE) && pool->live != 0;
  if (*age)
    *age = next_age(collector, *age);
  if (pool->list == TARN_LIST_SHELF || pool->list == TARN_LIST_SHELF_FULL) {
    if (has_garbage)
      tarn_pool_unlink(pool->list == TARN_LIST_SHELF ? &shelf->some : &shelf->full, pool);
  } else if (pool->list != TARN_LIST_CONDEMNED) {
    pool->next = pool->prev = NULL;
    tarn_pool_set_list(pool, TARN_LIST_NONE);
  }
  if (pool->list != TARN_LIST_NONE)
    return;
  /* The world is stopped; threads see it through the end of the stop. */
  tarn_pool_set_owner(pool, NULL);
  pool->bin = NULL;
  if (has_garbage)
    tarn_pool_set_list(pool, TARN_LIST_TRASH);
  else if (tarn_pool_used(pool) == 0)
    tarn_pool_drop(pool->heap->store, pool);
  else
    tarn_heap_shelve(pool->heap, pool);
}

static void settle_large(struct tarn_collector *collector, struct tarn_large *large, void *data) {
  (void)data;
  tarn_space.ages[tarn_unit_of(large->base)] = 0;
  if (is_of_generation(collector, large))
    large->age = collector->cycles.generation == 0 ? TARN_LARGE_AGED : TARN_LARGE_OLD;
}

static void settle(struct tarn_collector *collector) {
  tarn_census_forget_bins(collector->world);
  each_pool(collector, settle_pool, collector);
  each_large(collector, settle_large, NULL);
}

/* --- known roots ----------------------------------------------------------------------------- */

/* True: they reach something. */
static bool mark_known_roots(struct tarn_collector *collector) {
  struct tarn_cycles *cycles = &collector->cycles;
  struct tarn_marker *marker = &collector->marker;
  if (!tarn_store_make_tables(&collector->world->store))
    return false;
  marker->previous = TARN_MARK_NONE;
  marker->epoch = marker->mark =
      cycles->epoch == TARN_MARK_EPOCH_1 ? TARN_MARK_EPOCH_2 : TARN_MARK_EPOCH_1;
  marker->tag_mask = collector->world->tag_mask;
  marker->trusts = true;
  marker->overflows = marker->marked = marker->marked_bytes = 0;
  tarn_mark_roots(marker);
  tarn_mark_drain(marker);
  if (marker->marked == 0)
    return false; /* and the marks of the last one that had some stay as they are */
  cycles->epoch = marker->epoch;
  return true;
}

/* --- the stops ------------------------------------------------------------------------------- */

static void find(struct tarn_collector *collector) {
  struct tarn_cycles *cycles = &collector->cycles;
  cycles->looked_at = cycles->found = cycles->found_bytes = 0;
  cycles->special = cycles->overflow = false;
  cycles->rooted = false;
  if (cycles->generation == TARN_GENERATION_FULL)
    cycles->rooted = mark_known_roots(collector);
  each_pool(collector, choose_pool, collector);
  each_large(collector, choose_large, NULL);
  take_off_all(collector);
  revive_all(collector);
  gather(collector);
  settle(collector);
  tarn_vector_drop(&cycles->stack);
}

static bool is_wanted(int32_t value, bool alive) {
  return value == TARN_REFS_TRASH || value == TARN_REFS_GOING ||
         (alive && value == TARN_REFS_ALIVE);
}

void tarn_trash_each(struct tarn_collector *collector, bool alive, tarn_trash_fn fn, void *data) {
  struct tarn_cycles *cycles = &collector->cycles;
  for (size_t i = 0; i < cycles->pools.count; i++) {
    size_t unit = cycles->pools.items[i];
    const struct tarn_pool *pool = &tarn_space.pools[unit];
    const int32_t *refs = tarn_refs_of_unit(unit);
    size_t size = tarn_pool_block_size(pool);
    for (unsigned k = 0; k < pool->capacity; k++)
      if (is_wanted(refs[k], alive))
        fn(collector, (char *)tarn_unit_base(unit) + k * size, size, data);
  }
  struct tarn_large *next;
  for (struct tarn_large *large = cycles->larges; large; large = next) {
    next = large->limbo;
    int32_t value = *tarn_refs_of_unit(tarn_unit_of(large->base));
    if (is_wanted(value, alive))
      fn(collector, (void *)large->base, large->bytes, data);
  }
}

/* --- the second look -------------------------------------------------------------------------- */

static int32_t *ref_of(const void *object) {
  uint64_t map = tarn_map_get(tarn_unit_of((uintptr_t)object));
  return tarn_refs_at(map, (uintptr_t)object);
}

static void copy_count(struct tarn_collector *collector, void *object, size_t size, void *data) {
  size_t count = tarn_refs_of_object(tarn_type_of(object), object);
  (void)collector, (void)size, (void)data;
  *ref_of(object) = TARN_REFS_SEEN + (int32_t)(count > BIG ? BIG : count) - 1;
}

/* Only garbage has an int that is not 0. */
static void visit_garbage(struct tarn_visitor *visitor, uintptr_t word) {
  struct pass *pass = (struct pass *)(void *)visitor;
  struct tarn_place place;
  word &= ~pass->collector->world->tag_mask;
  if (!tarn_find(pass->collector->world->store.id, word, false, &place) ||
      tarn_map_kind(place.map) != TARN_KIND_CONTAINER)
    return;
  struct reference reference = {tarn_refs_at(place.map, word), word};
  if (*reference.ref != 0)
    pass->meet(pass, &reference);
}

static void each_seen(struct tarn_collector *collector, tarn_trash_fn fn, void *data) {
  struct tarn_cycles *cycles = &collector->cycles;
  for (size_t i = 0; i < cycles->pools.count; i++) {
    size_t unit = cycles->pools.items[i];
    const struct tarn_pool *pool = &tarn_space.pools[unit];
    const int32_t *refs = tarn_refs_of_unit(unit);
    size_t size = tarn_pool_block_size(pool);
    for (unsigned k = 0; k < pool->capacity; k++)
      if (refs[k])
        fn(collector, (char *)tarn_unit_base(unit) + k * size, size, data);
  }
  for (struct tarn_large *large = cycles->larges; large; large = large->limbo)
    fn(collector, (void *)large->base, large->bytes, data);
}

static void scan_seen(struct tarn_collector *collector, void *object, size_t size, void *data) {
  struct pass *pass = data;
  (void)collector, (void)size;
  tarn_scan_object(&pass->visitor, object);
}

static void judge_seen(struct tarn_collector *collector, void *object, size_t size, void *data) {
  struct pass *pass = data;
  struct tarn_cycles *cycles = &collector->cycles;
  (void)size;
  judge(pass, ref_of(object), (uintptr_t)object);
  while (cycles->overflow) {
    cycles->overflow = false;
    each_seen(collector, scan_seen, data); /* of garbage too, whose turn then comes another time */
  }
}

static void sentence_seen(struct tarn_collector *collector, void *object, size_t size, void *data) {
  int32_t *ref = ref_of(object);
  (void)data;
  if (*ref == TARN_REFS_SEEN) {
    *ref = TARN_REFS_TRASH;
    return;
  }
  collector->cycles.found--;
  collector->cycles.found_bytes -= size;
}

void tarn_cycles_look_again(struct tarn_collector *collector) {
  struct pass count = {
      .visitor = {.visit = visit_garbage}, .collector = collector, .meet = take_off};
  struct pass alive = {.visitor = {.visit = visit_garbage}, .collector = collector, .meet = revive};
  collector->cycles.rooted = false;
  tarn_trash_each(collector, false, copy_count, NULL);
  each_seen(collector, scan_seen, &count);
  each_seen(collector, judge_seen, &alive);
  each_seen(collector, sentence_seen, NULL);
  tarn_vector_drop(&collector->cycles.stack);
}

/* --- one collection --------------------------------------------------------------------------- */

static void count_stop(struct tarn_cycles *cycles) {
  /* Relaxed: who waits for the lock reads it under that. */
  for (int i = 0; i <= cycles->generation; i++)
    atomic_fetch_add_explicit(&cycles->stops[i], 1, memory_order_relaxed);
}

/* With the lock. */
static tarn_status run(tarn_world *world, struct tarn_mutator *self, int generation, bool asked) {
  struct tarn_collector *collector = world->collector;
  struct tarn_cycles *cycles = &collector->cycles;
  struct tarn_collect_report report = {.asked = asked};
  tarn_stop_begin_always(world, self);
  uint64_t start = tarn_os_now();
  if (!tarn_refs_commit(&world->store)) {
    tarn_stop_end(world, self);
    return TARN_ENOMEM;
  }
  report.generation = cycles->generation = tarn_generation_choose(collector, generation);
  collector->generation = cycles->generation;
  report.heap_before = atomic_load_explicit(&world->store.bytes, memory_order_relaxed);
  count_stop(cycles);
  find(collector);
  report.found_bytes = cycles->found_bytes;
  /* What lives is known as what is held, less the garbage. */
  atomic_store_explicit(&collector->live_bytes, report.heap_before - cycles->found_bytes,
                        memory_order_relaxed);
  tarn_pace_collected(collector, &report);
  if (world->config.verify && collector->events)
    collector->events->verify(world);
  uint64_t stopped = tarn_os_now();
  tarn_stop_end(world, self);
  atomic_store_explicit(&cycles->stop_last, stopped - start, memory_order_relaxed);
  if (cycles->found)
    tarn_trash_treat(collector, self);
  tarn_vector_drop(&cycles->pools);
  if (report.generation == TARN_GENERATION_FULL)
    tarn_refs_purge(&world->store);
  atomic_store_explicit(&cycles->work_last, tarn_os_now() - stopped, memory_order_relaxed);
  atomic_fetch_add_explicit(&cycles->collections, 1, memory_order_relaxed);
  return TARN_OK;
}

static void take_lock(struct tarn_cycles *cycles, struct tarn_mutator *self) {
  if (pthread_mutex_trylock(&cycles->lock) == 0)
    return;
  tarn_stop_leave(self); /* its holder may want to stop the world */
  (void)pthread_mutex_lock(&cycles->lock);
  tarn_stop_enter(self);
}

bool tarn_cycles_has(const tarn_world *world, const struct tarn_mutator *self) {
  /* Relaxed: only this thread can have written its own record there. */
  return __atomic_load_n(&world->collector->cycles.holder, __ATOMIC_RELAXED) == self;
}

/* With the lock: functions may ask for collections from now on. */
static void begin(struct tarn_collector *collector, struct tarn_mutator *self) {
  struct tarn_cycles *cycles = &collector->cycles;
  __atomic_store_n(&cycles->holder, self, __ATOMIC_RELAXED);
  if (TARN_LIKELY(!cycles->left))
    return;
  tarn_trash_treat(collector, self);
  tarn_vector_drop(&cycles->pools);
  cycles->left = false;
}

tarn_status tarn_cycles_run(tarn_world *world, struct tarn_mutator *self, int generation,
                            bool asked) {
  struct tarn_cycles *cycles = &world->collector->cycles;
  _Atomic uint64_t *stops = &cycles->stops[generation > 0 ? generation : 0];
  tarn_status status = TARN_OK;
  if (tarn_cycles_has(world, self))
    return TARN_OK;
  uint64_t before = atomic_load_explicit(stops, memory_order_relaxed);
  take_lock(cycles, self);
  if (atomic_load_explicit(stops, memory_order_relaxed) == before) {
    begin(world->collector, self);
    status = run(world, self, generation, asked);
    __atomic_store_n(&cycles->holder, NULL, __ATOMIC_RELAXED);
  }
  (void)pthread_mutex_unlock(&cycles->lock);
  return status;
}

tarn_status tarn_collect_cycles(tarn_thread *self, int generation) {
  tarn_status status = tarn_thread_check_running(self);
  if (status != TARN_OK)
    return status;
  struct tarn_mutator *mutator = tarn_mutator_of(self);
  if (generation < 0 || generation > TARN_GENERATION_FULL)
    return TARN_EINVAL;
  if (!mutator->world->config.counting)
    return TARN_EKIND;
  if (self->tarn_holds)
    return TARN_EHELD;
  return tarn_cycles_run(mutator->world, mutator, generation, true);
}

/* --- start, end, fork ------------------------------------------------------------------------ */

void tarn_cycles_start(struct tarn_collector *collector) {
  collector->cycles.on = collector->world->config.counting;
  (void)pthread_mutex_init(&collector->cycles.lock, NULL);
  tarn_finalized_start(collector);
}

void tarn_cycles_end(struct tarn_collector *collector) {
  tarn_vector_drop(&collector->cycles.pools); /* what a fork left, and no collection came for */
  tarn_finalized_end(collector);
  (void)pthread_mutex_destroy(&collector->cycles.lock);
}

static void put_back_trash(struct tarn_pool *pool, void *data) {
  (void)data;
  if (pool->list != TARN_LIST_TRASH)
    return;
  memset(tarn_refs_of_unit(tarn_pool_unit(pool)), 0, pool->capacity * sizeof(int32_t));
  tarn_trash_put_back(pool);
}

static void clear_large(struct tarn_collector *collector, struct tarn_large *large, void *data) {
  int32_t *ref = tarn_refs_of_unit(tarn_unit_of(large->base));
  (void)collector, (void)data;
  if (*ref) /* a look first: the part of an arena made since the stop can be read only */
    *ref = 0;
}

void tarn_cycles_after_fork(struct tarn_collector *collector) {
  struct tarn_cycles *cycles = &collector->cycles;
  struct tarn_mutator *holder = __atomic_load_n(&cycles->holder, __ATOMIC_RELAXED);
  if (holder && holder == tarn_mutator_self(collector->world))
    return;                                      /* it goes on with it */
  (void)pthread_mutex_init(&cycles->lock, NULL); /* nobody has it here */
  if (!holder)
    return;
  __atomic_store_n(&cycles->holder, NULL, __ATOMIC_RELAXED);
  cycles->left = !cycles->special && (cycles->pools.count || cycles->larges);
  if (cycles->left) {
    tarn_trash_after_fork(collector);
    return;
  }
  tarn_store_each_pool(&collector->world->store, put_back_trash, NULL);
  if (tarn_refs)
    each_large(collector, clear_large, NULL);
  tarn_vector_drop(&cycles->pools);
  cycles->larges = NULL;
}

void tarn_cycles_lock(tarn_world *world, struct tarn_mutator *self) {
  struct tarn_cycles *cycles = &world->collector->cycles;
  if (!world->config.counting)
    return;
  take_lock(cycles, self);
  begin(world->collector, self);
}
void tarn_cycles_unlock(tarn_world *world) {
  struct tarn_cycles *cycles = &world->collector->cycles;
  if (!world->config.counting)
    return;
  __atomic_store_n(&cycles->holder, NULL, __ATOMIC_RELAXED);
  (void)pthread_mutex_unlock(&cycles->lock);
}
