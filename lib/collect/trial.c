/* SPDX-License-Identifier: MIT */
/*
 * collect/trial.c: see collect/trial.h.
 *
 * Trial deletion is Christopher's (1984), in the form that Python gave it: one pass over the
 * candidates takes off what they refer to, a second one marks what has references left.  That known
 * roots are marked first, and that the passes wait for few cache lines, is what makes it fast where
 * little is garbage: an object that is marked costs a look at its mark byte.
 */
#include "collect/trial.h"
#include "collect/collector.h"
#include <string.h>

#define RING 16u /* references whose ints are being fetched */
#define QUEUE 8u /* objects that are */
#define BIG ((size_t)TARN_REFS_IMMORTAL)
#define PAGE_SHIFT 9u /* ints whose candidates begin at one place: see object_of */

void tarn_trial_drop(struct tarn_cycles *cycles) {
  tarn_vector_empty(&cycles->candidates);
  tarn_numbers_empty(&cycles->pages);
  tarn_links_drop(&cycles->links);
  tarn_refs_drop(&cycles->refs);
}

/* --- references that are looked at ------------------------------------------------------------ */

/* A reference to what may be a candidate; its int and its mark byte are being fetched. */
struct reference {
  int32_t *ref;
  uintptr_t object;
};

struct pass {
  struct tarn_visits visits; /* must be first: take functions get it */
  struct tarn_collector *collector;
  uintptr_t keep; /* the bits of a word that are no tag */
  unsigned world; /* its number */
  int32_t *ints;
  unsigned met, noted; /* references: those between are underway, at their numbers modulo RING */
  struct reference ring[RING];
};

static inline bool is_marked(const struct tarn_cycles *cycles, uintptr_t object) {
  return cycles->skips && tarn_mark_load(object) == cycles->epoch;
}

/* The int of what a word names; NULL: no candidate.  Most words that are met, young collections
 * meet most of all, lead to units without ints.  Others may be another world's. */
static TARN_ALWAYS_INLINE int32_t *find_int(const struct pass *pass, uintptr_t word) {
  uint32_t index;
  if (!tarn_space_holds(word))
    return NULL;
  size_t unit = tarn_unit_of(word);
  uint32_t part = tarn_refs_part(unit);
  if (part == 0)
    return NULL;
  uint64_t map = tarn_map_get(unit);
  if (tarn_map_world(map) != pass->world ||
      !tarn_starts_exactly(map, (uint32_t)(word & (TARN_UNIT_SIZE - 1)), &index))
    return NULL;
  return pass->ints + part + index;
}

/* What is done with a reference whose int is here.  A constant at every call of what follows. */
typedef void (*meet_fn)(struct pass *pass, const struct reference *reference);

static TARN_ALWAYS_INLINE void note_words(struct pass *pass, const uintptr_t *words, size_t count,
                                          meet_fn meet) {
  for (size_t i = 0; i < count; i++) {
    uintptr_t word = words[i] & pass->keep;
    int32_t *ref = find_int(pass, word);
    if (!ref)
      continue;
    struct reference *reference = &pass->ring[pass->noted % RING];
    if (pass->noted++ - pass->met == RING) {
      meet(pass, reference);
      pass->met++;
    }
    __builtin_prefetch(ref, 1);
    if (pass->collector->cycles.skips)
      __builtin_prefetch(tarn_mark_byte(word), 0);
    *reference = (struct reference){ref, word};
  }
}

/* All that were visited, and all that are underway. */
static TARN_ALWAYS_INLINE void flush(struct pass *pass, meet_fn meet) {
  tarn_visits_take(&pass->visits);
  while (pass->met != pass->noted) {
    struct reference reference = pass->ring[pass->met++ % RING];
    meet(pass, &reference);
  }
}

static void begin_pass(struct pass *pass, struct tarn_collector *collector,
                       void (*take)(struct tarn_visits *, const uintptr_t *, size_t)) {
  pass->collector = collector;
  pass->keep = ~collector->world->tag_mask;
  pass->world = collector->world->store.id;
  pass->ints = collector->cycles.refs.ints;
  pass->met = pass->noted = 0;
  tarn_visits_begin(&pass->visits, take);
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

typedef void (*pool_fn)(struct tarn_pool *pool, void *data);
typedef void (*large_fn)(struct tarn_large *large, void *data);

static void each_candidate(struct tarn_collector *collector, pool_fn on_pool, large_fn on_large,
                           void *data) {
  const struct tarn_vector *units = &collector->cycles.candidates;
  for (size_t i = 0; i < units->count; i++) {
    size_t unit = units->items[i];
    if (tarn_map_form(tarn_map_get(unit)) == TARN_FORM_POOL)
      on_pool(&tarn_space.pools[unit], data);
    else
      on_large(tarn_large_of(tarn_unit_base(unit)), data);
  }
}

static void each_large(struct tarn_collector *collector, large_fn fn, void *data) {
  struct tarn_store *store = &collector->world->store;
  struct tarn_large *large;
  for (unsigned i = 0; i < tarn_store_heap_limit(store); i++) {
    struct tarn_heap *heap = tarn_store_heap(store, i);
    if (heap && heap->kind == TARN_HEAP_CONTAINER)
      cds_list_for_each_entry(large, &heap->larges, node) fn(large, data);
  }
}

struct choice {
  struct tarn_collector *collector;
  size_t blocks; /* of all units that were chosen */
  bool good;     /* there was memory */
};

static void choose(struct choice *choice, size_t unit, size_t blocks) {
  choice->blocks += blocks;
  choice->good = choice->good && tarn_vector_add(&choice->collector->cycles.candidates, unit);
}

/*
 * Do known roots reach all that is in use?  Only block starts have marks, and only blocks in use
 * have the epoch's.  Eight bytes at a time: those of a word that are the epoch's are added to eight
 * sums, which go on to 255.
 */
static bool is_all_marked(const struct tarn_cycles *cycles, const struct tarn_pool *pool) {
  const uint64_t ones = UINT64_C(0x0101010101010101), highs = ones << 7;
  const char *marks = (const char *)tarn_mark_byte(tarn_pool_base(pool));
  const char *end = marks + (TARN_UNIT_SIZE >> TARN_GRANULE_SHIFT);
  unsigned marked = 0;
  while (marks < end) {
    uint64_t sums = 0;
    for (const char *stop = marks + 128; marks < stop; marks += sizeof sums) {
      uint64_t others;
      memcpy(&others, marks, sizeof others);
      others ^= ones * cycles->epoch;
      sums += (~(((others & ~highs) + ~highs) | others) & highs) >> 7;
    }
    marked += (unsigned)(sums * ones >> 56);
  }
  return marked == tarn_pool_used(pool);
}

/* The first candidate of a pool; all of its blocks are passed by if there is none. */
static unsigned first_candidate(const struct tarn_cycles *cycles, const struct tarn_pool *pool) {
  size_t size = tarn_pool_block_size(pool);
  uintptr_t block = tarn_pool_base(pool), end = block + pool->own.cursor;
  unsigned index = 0;
  if (cycles->rooted && is_all_marked(cycles, pool))
    return pool->capacity;
  for (; block < end && (is_marked(cycles, block) || *(const uintptr_t *)block == 0); index++)
    block += size;
  return block < end ? index : pool->capacity;
}

static void choose_pool(struct tarn_pool *pool, void *data) {
  struct choice *choice = data;
  const struct tarn_collector *collector = choice->collector;
  bool first = collector->generations.first_pool && collector->cycles.generation == 0;
  pool->live = 0;
  if (tarn_flavour_kind((tarn_flavour)pool->flavour) != TARN_KIND_CONTAINER ||
      pool->list == TARN_LIST_CONDEMNED || pool->list == TARN_LIST_FROZEN ||
      (first && pool->list != TARN_LIST_CURRENT))
    return;
  unsigned index = first_candidate(&collector->cycles, pool);
  if (index == pool->capacity)
    return;
  pool->live = (uint16_t)index; /* for walk_blocks */
  choose(choice, tarn_pool_unit(pool), pool->capacity);
}

/* Large objects have ages of their own, and condemned ones wait for their functions. */
static bool is_of_generation(const struct tarn_collector *collector,
                             const struct tarn_large *large) {
  int generation = collector->cycles.generation;
  return large->age != TARN_LARGE_FROZEN &&
         (generation == 2 || large->age == TARN_LARGE_NEW ||
          (generation == 1 && large->age == TARN_LARGE_AGED)) &&
         *(const uintptr_t *)large->base != 0 && !tarn_mark_is_dead(*tarn_mark_byte(large->base));
}

static void choose_large(struct tarn_large *large, void *data) {
  struct choice *choice = data;
  if (is_of_generation(choice->collector, large) &&
      !is_marked(&choice->collector->cycles, large->base))
    choose(choice, tarn_unit_of(large->base), 1);
}

static uint32_t blocks_of(size_t unit) {
  return tarn_map_form(tarn_map_get(unit)) == TARN_FORM_POOL ? tarn_space.pools[unit].capacity : 1;
}

/* Of each page of ints, the first of the candidates that may have some there.  There is room. */
static void number_candidates(struct tarn_cycles *cycles) {
  cycles->pages.count = 0;
  for (size_t i = 0; i < cycles->candidates.count; i++) {
    size_t unit = cycles->candidates.items[i];
    while (cycles->pages.count << PAGE_SHIFT < tarn_refs_part(unit) + (size_t)blocks_of(unit))
      cycles->pages.items[cycles->pages.count++] = (uint32_t)i;
  }
}

/* Each candidate's unit gets its ints; false: no memory. */
bool tarn_trial_choose(struct tarn_collector *collector) {
  struct tarn_cycles *cycles = &collector->cycles;
  struct choice choice = {.collector = collector, .good = true};
  each_pool(collector, choose_pool, &choice);
  each_large(collector, choose_large, &choice);
  if (!choice.good || !tarn_refs_make(&cycles->refs, choice.blocks))
    return false;
  while (cycles->pages.capacity << PAGE_SHIFT < cycles->refs.count)
    if (!tarn_numbers_grow(&cycles->pages))
      return false;
  tarn_links_make(&cycles->links, cycles->refs.count);
  for (size_t i = 0; i < cycles->candidates.count; i++)
    tarn_refs_add(&cycles->refs, cycles->candidates.items[i],
                  blocks_of(cycles->candidates.items[i]));
  number_candidates(cycles);
  return true;
}

/* Large garbage is on a list of its own after the first look. */
static uintptr_t large_of_number(const struct tarn_cycles *cycles, uint32_t number) {
  const struct tarn_large *large = cycles->larges;
  while (large && tarn_refs_part(tarn_unit_of(large->base)) != number)
    large = large->limbo;
  return large ? large->base : 0;
}

/* The object whose int has the number. */
static uintptr_t object_of(const struct tarn_cycles *cycles, uint32_t number) {
  const struct tarn_vector *units = &cycles->candidates;
  size_t page = number >> PAGE_SHIFT;
  size_t at = page < cycles->pages.count ? cycles->pages.items[page] : units->count;
  while (at + 1 < units->count && tarn_refs_part(units->items[at + 1]) <= number)
    at++;
  size_t unit = at < units->count ? units->items[at] : 0;
  uint32_t index = number - tarn_refs_part(unit);
  if (TARN_UNLIKELY(cycles->larges != NULL) && (at == units->count || index >= blocks_of(unit)))
    return large_of_number(cycles, number);
  return tarn_unit_base(unit) + index * tarn_map_block_size(tarn_map_get(unit));
}

static int32_t *refs_of_pool(const struct tarn_collector *collector, const struct tarn_pool *pool) {
  return tarn_refs_of_unit(&collector->cycles.refs, tarn_pool_unit(pool));
}
static int32_t *ref_of_large(const struct tarn_collector *collector,
                             const struct tarn_large *large) {
  return tarn_refs_of_unit(&collector->cycles.refs, tarn_unit_of(large->base));
}

/* --- 1. what they refer to is taken off ------------------------------------------------------- */

static inline void take_off(struct pass *pass, const struct reference *reference) {
  if (!is_marked(&pass->collector->cycles, reference->object))
    --*reference->ref;
}

static void take_to_count(struct tarn_visits *visits, const uintptr_t *words, size_t count) {
  note_words((struct pass *)(void *)visits, words, count, take_off);
}

/* The same, of few candidates, whose ints are in the caches. */
static TARN_ALWAYS_INLINE void link_words(struct pass *pass, const uintptr_t *words, size_t count) {
  struct tarn_cycles *cycles = &pass->collector->cycles;
  for (const uintptr_t *end = words + count; words < end; words++) {
    uintptr_t word = *words & pass->keep;
    int32_t *ref = find_int(pass, word);
    if (!ref || is_marked(cycles, word))
      continue;
    --*ref;
    tarn_links_add(&cycles->links, (uint32_t)(ref - pass->ints));
  }
}

static void take_to_link(struct tarn_visits *visits, const uintptr_t *words, size_t count) {
  link_words((struct pass *)(void *)visits, words, count);
}

static TARN_ALWAYS_INLINE void scan_and_link(struct pass *pass, uint32_t from,
                                             const tarn_type *type, const void *object) {
  struct tarn_links *links = &pass->collector->cycles.links;
  tarn_links_begin_row(links, from);
  tarn_scan_object_inline(&pass->visits, type, object);
  size_t count = (size_t)(pass->visits.visitor.tarn_next - pass->visits.words);
  pass->visits.visitor.tarn_next = pass->visits.words;
  link_words(pass, pass->visits.words, count);
  tarn_links_end_row(links);
}

/* `links` is a constant at every call.  Without a count it is being made, or given back. */
static TARN_ALWAYS_INLINE void walk_past(struct pass *pass, int32_t *ref, const tarn_type *type,
                                         const void *object, bool links) {
  size_t count = tarn_refs_of_object(type, object);
  bool counts = TARN_LIKELY(count - 1 < BIG);
  *ref += TARN_REFS_SEEN + (int32_t)(counts ? count : BIG);
  uint32_t number = (uint32_t)(ref - pass->ints);
  if (count == 0 && links)
    tarn_links_empty_row(&pass->collector->cycles.links, number);
  else if (count != 0 && links)
    scan_and_link(pass, number, type, object);
  else if (count != 0)
    tarn_scan_object_inline(&pass->visits, type, object);
}

/* A mark of the collection before goes, for the next one's will be the same. */
static inline bool passes_by(const struct tarn_cycles *cycles, uintptr_t block) {
  if (!cycles->skips)
    return true;
  uint8_t mark = tarn_mark_load(block);
  if (mark == cycles->epoch)
    return false;
  if (mark != TARN_MARK_NONE)
    tarn_mark_store(block, TARN_MARK_NONE);
  return true;
}

static TARN_ALWAYS_INLINE void walk_blocks(struct pass *pass, struct tarn_pool *pool, bool links) {
  const struct tarn_cycles *cycles = &pass->collector->cycles;
  uint32_t size = (uint32_t)tarn_pool_block_size(pool);
  uintptr_t block = tarn_pool_base(pool), end = block + pool->own.cursor;
  int32_t *ref = refs_of_pool(pass->collector, pool) + pool->live;
  bool special = false;
  uint64_t looked_at = 0;
  for (block += (size_t)size * pool->live; block < end; block += size, ref++) {
    const tarn_type *type;
    if (!passes_by(cycles, block) || !(type = tarn_type_of((const void *)block)))
      continue;
    special |= type->special;
    looked_at++;
    walk_past(pass, ref, type, (const void *)block, links);
  }
  pass->collector->cycles.looked_at += looked_at;
  pool->live = special; /* for gather_pool, which looks at its objects only then */
}

static void walk_pool(struct tarn_pool *pool, void *data) { walk_blocks(data, pool, false); }
static void walk_and_link_pool(struct tarn_pool *pool, void *data) {
  walk_blocks(data, pool, true);
}

static void walk_large(struct tarn_large *large, void *data) {
  struct pass *pass = data;
  int32_t *ref = ref_of_large(pass->collector, large);
  const void *object = (const void *)large->base;
  if (!passes_by(&pass->collector->cycles, large->base))
    return;
  pass->collector->cycles.looked_at++;
  if (pass->visits.take == take_to_link)
    walk_past(pass, ref, tarn_type_of(object), object, true);
  else
    walk_past(pass, ref, tarn_type_of(object), object, false);
}

void tarn_trial_count(struct tarn_collector *collector) {
  struct pass pass;
  bool links = collector->cycles.links.on;
  begin_pass(&pass, collector, links ? take_to_link : take_to_count);
  each_candidate(collector, links ? walk_and_link_pool : walk_pool, walk_large, &pass);
  flush(&pass, take_off);
}

/* --- 2. what has some left lives ------------------------------------------------------------- */

static void push(struct tarn_cycles *cycles, const int32_t *ref) {
  if (!tarn_numbers_add(&cycles->stack, (uint32_t)(ref - cycles->refs.ints)))
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
  push(&pass->collector->cycles, reference->ref);
}

/* What an object without a count refers to has its counts, if they were not given up already; then
 * it may be gone. */
static void scan_alive(struct pass *pass, const void *object) {
  const tarn_type *type = tarn_type_of(object);
  if (tarn_refs_of_object(type, object) != 0)
    tarn_scan_object_inline(&pass->visits, type, object);
}

/* Scans what is on the stack, and all it leads to.  A few objects are fetched ahead. */
static void drain(struct pass *pass) {
  struct tarn_numbers *stack = &pass->collector->cycles.stack;
  uintptr_t queue[QUEUE];
  unsigned first = 0, count = 0;
  for (;;) {
    while (count < QUEUE && stack->count) {
      uintptr_t object = object_of(&pass->collector->cycles, stack->items[--stack->count]);
      __builtin_prefetch((const void *)object, 0);
      queue[(first + count++) % QUEUE] = object;
    }
    if (count == 0) {
      flush(pass, revive);
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
  push(&pass->collector->cycles, ref);
  drain(pass);
}

static void judge_pool(struct tarn_pool *pool, void *data) {
  struct pass *pass = data;
  int32_t *refs = refs_of_pool(pass->collector, pool);
  uintptr_t base = tarn_pool_base(pool);
  size_t size = tarn_pool_block_size(pool);
  for (unsigned i = 0; i < pool->capacity; i++)
    judge(pass, &refs[i], base + i * size);
}

static void judge_large(struct tarn_large *large, void *data) {
  struct pass *pass = data;
  judge(pass, ref_of_large(pass->collector, large), large->base);
}

/* The stack was full: what is ALIVE is scanned again, until nothing new is found. */
static void rescan_pool(struct tarn_pool *pool, void *data) {
  struct pass *pass = data;
  const int32_t *refs = refs_of_pool(pass->collector, pool);
  uintptr_t base = tarn_pool_base(pool);
  size_t size = tarn_pool_block_size(pool);
  for (unsigned i = 0; i < pool->capacity; i++)
    if (refs[i] == TARN_REFS_ALIVE) {
      scan_alive(pass, (const void *)(base + i * size));
      drain(pass);
    }
}

static void rescan_large(struct tarn_large *large, void *data) {
  struct pass *pass = data;
  if (*ref_of_large(pass->collector, large) != TARN_REFS_ALIVE)
    return;
  scan_alive(pass, (const void *)large->base);
  drain(pass);
}

static void take_to_revive(struct tarn_visits *visits, const uintptr_t *words, size_t count) {
  note_words((struct pass *)(void *)visits, words, count, revive);
}

/* A candidate lives.  Once for each of them; returns how many there are. */
static inline size_t revive_int(struct tarn_collector *collector, uint32_t number, size_t living) {
  struct tarn_cycles *cycles = &collector->cycles;
  if (cycles->refs.ints[number] < TARN_REFS_SEEN)
    die_of_count(collector, object_of(cycles, number), cycles->refs.ints[number]);
  cycles->refs.ints[number] = TARN_REFS_ALIVE;
  cycles->links.queue[living] = number;
  return living + 1;
}

/* By the rows that the first pass noted.  True: all of them live. */
static bool revive_linked(struct tarn_collector *collector) {
  struct tarn_cycles *cycles = &collector->cycles;
  const struct tarn_links *links = &cycles->links;
  const int32_t *ints = cycles->refs.ints;
  uint32_t end = (uint32_t)cycles->refs.used;
  size_t living = 0, scanned = 0;
  for (uint32_t i = 1; i < end; i++) {
    if (ints[i] == TARN_REFS_ALIVE || ints[i] == TARN_REFS_SEEN || ints[i] == 0)
      continue;
    living = revive_int(collector, i, living);
    while (scanned < living)
      for (const uint32_t *to = links->to + links->rows[links->queue[scanned++]]; *to; to++)
        if (ints[*to] != TARN_REFS_ALIVE)
          living = revive_int(collector, *to, living);
  }
  return living == cycles->looked_at;
}

/* True: it is known that there is no garbage. */
bool tarn_trial_revive(struct tarn_collector *collector) {
  struct pass pass;
  if (collector->cycles.links.on)
    return revive_linked(collector);
  begin_pass(&pass, collector, take_to_revive);
  each_candidate(collector, judge_pool, judge_large, &pass);
  while (collector->cycles.overflow) {
    collector->cycles.overflow = false;
    each_candidate(collector, rescan_pool, rescan_large, &pass);
  }
  return false;
}

/* --- 3. the rest is garbage ------------------------------------------------------------------- */

/* The ints say who lives no more, from here on. */
static unsigned sentence(int32_t *refs, unsigned count) {
  unsigned found = 0;
  for (unsigned i = 0; i < count; i++) {
    bool is_garbage = refs[i] == TARN_REFS_SEEN;
    refs[i] = is_garbage ? TARN_REFS_TRASH : 0;
    found += is_garbage;
  }
  return found;
}

/* Garbage that has functions, or is referred to weakly. */
static void look_at_special(struct tarn_collector *collector, const void *object) {
  struct tarn_cycles *cycles = &collector->cycles;
  const tarn_type *type = tarn_type_of(object);
  cycles->special |= type->clear || type->finalize;
  if (type->weakly)
    tarn_handles_cut(collector, object, &cycles->gone);
}

static void gather_pool(struct tarn_pool *pool, void *data) {
  struct tarn_collector *collector = data;
  struct tarn_cycles *cycles = &collector->cycles;
  int32_t *refs = refs_of_pool(collector, pool);
  uintptr_t base = tarn_pool_base(pool);
  size_t size = tarn_pool_block_size(pool);
  unsigned count = (unsigned)(pool->own.cursor / size);
  bool special = pool->live != 0; /* as walk_blocks left it */
  unsigned found = sentence(refs, count);
  pool->live = (uint16_t)found;
  cycles->found += found;
  cycles->found_bytes += found * size;
  for (unsigned i = 0; special && i < count; i++)
    if (refs[i])
      look_at_special(collector, (const void *)(base + i * size));
}

static void gather_large(struct tarn_large *large, void *data) {
  struct tarn_collector *collector = data;
  struct tarn_cycles *cycles = &collector->cycles;
  if (!sentence(ref_of_large(collector, large), 1))
    return;
  cycles->found++;
  cycles->found_bytes += large->bytes;
  look_at_special(collector, (const void *)large->base);
  large->limbo = cycles->larges;
  cycles->larges = large;
}

/* Units without garbage lose their ints: from here on the candidates are those with some. */
static void keep_garbage(struct tarn_collector *collector) {
  struct tarn_vector *units = &collector->cycles.candidates;
  size_t kept = 0;
  for (size_t i = 0; i < units->count; i++) {
    size_t unit = units->items[i];
    bool is_pool = tarn_map_form(tarn_map_get(unit)) == TARN_FORM_POOL;
    if (is_pool && tarn_space.pools[unit].live != 0)
      units->items[kept++] = unit;
    else if (is_pool || *tarn_refs_of_unit(&collector->cycles.refs, unit) == 0)
      tarn_refs_take(unit);
  }
  units->count = kept; /* large garbage is on a list */
  number_candidates(&collector->cycles);
}

/* There is none. */
static void keep_none(struct tarn_cycles *cycles) {
  for (size_t i = 0; i < cycles->candidates.count; i++) {
    size_t unit = cycles->candidates.items[i];
    tarn_space.pools[unit].live = 0;
    tarn_refs_take(unit);
  }
  cycles->candidates.count = cycles->pages.count = 0;
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
  bool has_garbage = pool->live != 0;
  if (*age)
    *age = next_age(collector, *age);
  if (pool->list == TARN_LIST_SHELF || pool->list == TARN_LIST_SHELF_FULL) {
    if (has_garbage)
      tarn_pool_unlink(pool->list == TARN_LIST_SHELF ? &shelf->some : &shelf->full, pool);
  } else if (pool->list != TARN_LIST_CONDEMNED && pool->list != TARN_LIST_FROZEN) {
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

static void settle_large(struct tarn_large *large, void *data) {
  const struct tarn_collector *collector = data;
  if (is_of_generation(collector, large))
    large->age = collector->cycles.generation == 0 ? TARN_LARGE_AGED : TARN_LARGE_OLD;
}

static void settle(struct tarn_collector *collector) {
  tarn_census_forget_bins(collector->world);
  each_pool(collector, settle_pool, collector);
  each_large(collector, settle_large, collector);
}

void tarn_trial_gather(struct tarn_collector *collector, bool all_live) {
  if (all_live) {
    keep_none(&collector->cycles);
  } else {
    each_candidate(collector, gather_pool, gather_large, collector);
    keep_garbage(collector);
  }
  settle(collector);
  tarn_numbers_empty(&collector->cycles.stack);
}

/* --- those of the garbage --------------------------------------------------------------------- */

/* All of it, whatever its int says meanwhile. */
static bool is_seen(int32_t value) { return value != 0; }

/* --- the second look -------------------------------------------------------------------------- */

static void copy_count(void *object, size_t size, int32_t *ref, void *data) {
  size_t count = tarn_refs_of_object(tarn_type_of(object), object);
  (void)size, (void)data;
  *ref = TARN_REFS_SEEN + (int32_t)(count > BIG ? BIG : count) - 1;
}

/* Only garbage has an int that is not 0. */
static void meet_garbage(struct pass *pass, uintptr_t word, meet_fn meet) {
  struct reference reference = {find_int(pass, word), word};
  if (reference.ref && *reference.ref != 0)
    meet(pass, &reference);
}

static void take_to_count_garbage(struct tarn_visits *visits, const uintptr_t *words,
                                  size_t count) {
  struct pass *pass = (struct pass *)(void *)visits;
  for (size_t i = 0; i < count; i++)
    meet_garbage(pass, words[i] & pass->keep, take_off);
}

static void take_to_revive_garbage(struct tarn_visits *visits, const uintptr_t *words,
                                   size_t count) {
  struct pass *pass = (struct pass *)(void *)visits;
  for (size_t i = 0; i < count; i++)
    meet_garbage(pass, words[i] & pass->keep, revive);
}

static void scan_seen(void *object, size_t size, int32_t *ref, void *data) {
  struct pass *pass = data;
  (void)size, (void)ref;
  tarn_scan_object_now(&pass->visits, object);
}

static void judge_seen(void *object, size_t size, int32_t *ref, void *data) {
  struct pass *pass = data;
  struct tarn_cycles *cycles = &pass->collector->cycles;
  (void)size;
  judge(pass, ref, (uintptr_t)object);
  while (cycles->overflow) {
    cycles->overflow = false;
    tarn_trash_each(cycles, is_seen, scan_seen,
                    data); /* of garbage too, whose turn then comes another time */
  }
}

static void sentence_seen(void *object, size_t size, int32_t *ref, void *data) {
  struct tarn_collector *collector = data;
  if (*ref == TARN_REFS_SEEN) {
    *ref = TARN_REFS_TRASH;
    if (tarn_type_of(object)->weakly)
      tarn_handles_cut(collector, object, NULL);
    return;
  }
  collector->cycles.found--;
  collector->cycles.found_bytes -= size;
}

/* Others may give back large objects that live on, and link them elsewhere. */
static void part_larges(struct tarn_cycles *cycles) {
  struct tarn_large **at = &cycles->larges, *large;
  while ((large = *at)) {
    size_t unit = tarn_unit_of(large->base);
    if (*tarn_refs_of_unit(&cycles->refs, unit) == TARN_REFS_TRASH) {
      at = &large->limbo;
      continue;
    }
    *at = large->limbo;
    tarn_refs_take(unit);
    (void)tarn_vector_add(&cycles->saved, large->base); /* else our reference stays with it */
  }
}

void tarn_trial_again(struct tarn_collector *collector) {
  struct tarn_cycles *cycles = &collector->cycles;
  struct pass count, alive;
  begin_pass(&count, collector, take_to_count_garbage);
  begin_pass(&alive, collector, take_to_revive_garbage);
  cycles->skips = false;
  tarn_trash_each(cycles, tarn_is_trash, copy_count, NULL);
  tarn_trash_each(cycles, is_seen, scan_seen, &count);
  tarn_trash_each(cycles, is_seen, judge_seen, &alive);
  tarn_trash_each(cycles, is_seen, sentence_seen, collector);
  part_larges(cycles);
  tarn_numbers_empty(&cycles->stack);
}
