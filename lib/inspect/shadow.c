/* SPDX-License-Identifier: MIT */
/*
 * inspect/shadow.c: a second, slow marking that checks the first (option `verify`).
 *
 * Before the mark an explicit stack and a bitmap of its own find what is strongly reachable; after
 * the census each of these blocks must carry the collection's mark.  Nothing of the marker is used
 * but the scan of one object.  All memory comes from pages that are given back by the check; when
 * there is none, this collection goes unchecked.
 *
 * What is noted must be what the marker is bound to find, or a sound collection would be called
 * broken.  So of the roots that somebody outside the stop may change between the two markings
 *   - the stacks of blocked threads are left out: foreign code runs on them;
 *   - of a stopped thread's stack the part nearest to its end is left out, where it still works,
 *     and of the collecting thread's the frames of the collection;
 *   - global slots and providers are summed up, and a sum that changed makes the check void.
 *
 * Everything belongs to the requester, while the world is stopped.
 */
#include "inspect/events.h"
#include <string.h>

#define STACK_FIRST ((size_t)8192) /* entries */
#define UNSTABLE ((uintptr_t)256)  /* bytes at the end of a stopped thread's stack */
#define GRANULES_PER_ARENA (TARN_ARENA_SIZE >> TARN_GRANULE_SHIFT)
#define WORDS_PER_ARENA (GRANULES_PER_ARENA / 64)

struct shadow {
  struct tarn_visits visits; /* must be first: take() gets it */
  tarn_world *world;
  size_t bytes;            /* of these pages: the structure, then what the next three point to */
  const tarn_type **types; /* a hash table of all types, so that a damaged type word is named */
  size_t type_slots;       /* a power of two */
  uint32_t *ordinals;      /* by arena number in the space: number in `bits`, from 1; 0: foreign */
  uint64_t *bits;          /* one per granule of the world's arenas */
  uintptr_t *stack;        /* pages of its own */
  size_t depth, capacity;
  uint64_t sum; /* of the slots and providers */
  bool failed;  /* no memory for the stack */
};

/* --- pages ----------------------------------------------------------------------------------- */

static size_t count_arenas(struct tarn_store *store) {
  size_t count = 0;
  tarn_store_walk_begin(store);
  for (const struct tarn_arena *arena = store->arenas; arena; arena = arena->next)
    count += arena->units / TARN_ARENA_UNITS;
  tarn_store_walk_end(store);
  return count;
}

static void number_arenas(struct shadow *shadow) {
  uint32_t number = 1;
  tarn_store_walk_begin(&shadow->world->store); /* it may have less arenas than were counted */
  for (const struct tarn_arena *arena = shadow->world->store.arenas; arena; arena = arena->next)
    for (size_t i = 0; i < arena->units / TARN_ARENA_UNITS; i++)
      shadow->ordinals[((arena->base - tarn_space.base) >> TARN_ARENA_SHIFT) + i] = number++;
  tarn_store_walk_end(&shadow->world->store);
}

static size_t type_slot(const struct shadow *shadow, const tarn_type *type) {
  uint64_t mixed = (uintptr_t)type * (uint64_t)0x9e3779b97f4a7c15u;
  return (size_t)(mixed >> 32) & (shadow->type_slots - 1);
}

/* Where the type stands in the table, or the empty place where it would. */
static const tarn_type **find_type(const struct shadow *shadow, const tarn_type *type) {
  size_t i = type_slot(shadow, type);
  while (shadow->types[i] && shadow->types[i] != type)
    i = (i + 1) & (shadow->type_slots - 1);
  return &shadow->types[i];
}

/* Types that are made meanwhile, by threads that are not attached, have no objects yet. */
static void gather_types(struct shadow *shadow) {
  const tarn_type *type;
  size_t left = shadow->type_slots / 2;
  tarn_rcu_read_lock();
  cds_list_for_each_entry_rcu(type, &shadow->world->types.list, node) {
    if (left-- == 0)
      break;
    *find_type(shadow, type) = type;
  }
  tarn_rcu_read_unlock();
}

static size_t rounded(size_t bytes) { return (bytes + 63) & ~(size_t)63; }

static struct shadow *make(tarn_world *world) {
  size_t slots = 64;
  while (slots < atomic_load_explicit(&world->types.count, memory_order_relaxed) * 2)
    slots *= 2;
  size_t types = rounded(slots * sizeof(const tarn_type *));
  size_t ordinals = rounded((tarn_space.size >> TARN_ARENA_SHIFT) * sizeof(uint32_t));
  size_t bits = count_arenas(&world->store) * WORDS_PER_ARENA * sizeof(uint64_t);
  size_t bytes = rounded(sizeof(struct shadow)) + types + ordinals + bits;
  char *pages = tarn_os_map(bytes);
  if (!pages)
    return NULL;
  struct shadow *shadow = (struct shadow *)(void *)pages;
  shadow->world = world;
  shadow->bytes = bytes;
  shadow->type_slots = slots;
  shadow->types = (const tarn_type **)(void *)(pages + rounded(sizeof *shadow));
  shadow->ordinals = (uint32_t *)(void *)((char *)shadow->types + types);
  shadow->bits = (uint64_t *)(void *)((char *)shadow->ordinals + ordinals);
  number_arenas(shadow);
  gather_types(shadow);
  return shadow;
}

static void drop_stack(struct shadow *shadow) {
  if (shadow->stack)
    tarn_os_unmap(shadow->stack, shadow->capacity * sizeof *shadow->stack);
  shadow->stack = NULL;
  shadow->depth = shadow->capacity = 0;
}

static void drop(struct shadow *shadow) {
  drop_stack(shadow);
  tarn_os_unmap(shadow, shadow->bytes);
}

static bool grow(struct shadow *shadow) {
  size_t capacity = shadow->capacity ? shadow->capacity * 2 : STACK_FIRST;
  size_t depth = shadow->depth;
  uintptr_t *stack = tarn_os_map(capacity * sizeof *stack);
  if (!stack)
    return false;
  if (depth)
    memcpy(stack, shadow->stack, depth * sizeof *stack);
  drop_stack(shadow);
  shadow->stack = stack;
  shadow->depth = depth;
  shadow->capacity = capacity;
  return true;
}

/* --- noting ---------------------------------------------------------------------------------- */

/* Before the mark: what the last collection marked is in use; else the block itself knows. */
static bool is_in_use(const struct shadow *shadow, const struct tarn_place *place) {
  uint8_t previous = shadow->world->collector->marker.previous;
  return tarn_mark_lives(*tarn_mark_byte(place->block), previous) ||
         tarn_place_in_use(place, previous);
}

/* Sets the block's bit; false: it was set. */
static bool set_bit(struct shadow *shadow, uintptr_t block) {
  uintptr_t offset = block - tarn_space.base;
  uint32_t ordinal = shadow->ordinals[offset >> TARN_ARENA_SHIFT];
  if (ordinal == 0)
    tarn_os_die("tarn: verify before the mark: block %p is in no arena of its world",
                (void *)block);
  size_t granule = (offset & (TARN_ARENA_SIZE - 1)) >> TARN_GRANULE_SHIFT;
  uint64_t *word = &shadow->bits[(size_t)(ordinal - 1) * WORDS_PER_ARENA + granule / 64];
  uint64_t bit = (uint64_t)1 << (granule % 64);
  bool is_new = !(*word & bit);
  *word |= bit;
  return is_new;
}

static void note_place(struct shadow *shadow, const struct tarn_place *place) {
  if (!is_in_use(shadow, place) || !set_bit(shadow, place->block) ||
      tarn_map_kind(place->map) != TARN_KIND_CONTAINER)
    return;
  if (shadow->depth == shadow->capacity && !grow(shadow)) {
    shadow->failed = true;
    return;
  }
  shadow->stack[shadow->depth++] = place->block;
}

static void note_word(struct shadow *shadow, uintptr_t word) {
  struct tarn_place place;
  if (tarn_find(shadow->world->store.id, word & ~shadow->world->tag_mask, false, &place))
    note_place(shadow, &place);
}

static void note_conservative(struct shadow *shadow, uintptr_t word) {
  struct tarn_place place;
  if (tarn_find(shadow->world->store.id, word, true, &place))
    note_place(shadow, &place);
}

static void take(struct tarn_visits *visits, const uintptr_t *words, size_t count) {
  for (size_t i = 0; i < count; i++)
    note_word((struct shadow *)(void *)visits, words[i]);
}

static void drain(struct shadow *shadow) {
  while (shadow->depth > 0 && !shadow->failed) {
    void *object = (void *)shadow->stack[--shadow->depth];
    const tarn_type *type = tarn_type_of(object);
    if (!type || !*find_type(shadow, type))
      tarn_os_die("tarn: verify before the mark: block %p (pool %p) can be reached, but its first "
                  "word %p is not a type of the world",
                  object, (void *)((uintptr_t)object & ~(uintptr_t)(TARN_UNIT_SIZE - 1)),
                  (const void *)type);
    tarn_scan_object_now(&shadow->visits, object);
  }
}

/* --- roots: the same as tarn_mark_roots', but for what the head of this file leaves out ------ */

static uint64_t mix(uint64_t sum, uintptr_t a, uintptr_t b) {
  /* Tables are visited in another order after they grew: so a sum, not a chain. */
  uint64_t mixed = ((uint64_t)a ^ (uint64_t)b * 0x9e3779b97f4a7c15u) * 0xd6e8feb86659fd93u;
  return sum + (mixed ^ mixed >> 29);
}

static void sum_slot(void **slot, void *data) {
  uint64_t *sum = data;
  *sum = mix(*sum, (uintptr_t)slot, (uintptr_t)*slot);
}
static void sum_provider(tarn_root_fn fn, void *fn_data, void *data) {
  uint64_t *sum = data;
  *sum = mix(*sum, (uintptr_t)fn, ~(uintptr_t)fn_data);
}

static void note_slot(void **slot, void *data) {
  struct shadow *shadow = data;
  sum_slot(slot, &shadow->sum);
  note_word(shadow, (uintptr_t)*slot);
}

static void note_provider(tarn_root_fn fn, void *fn_data, void *data) {
  struct shadow *shadow = data;
  sum_provider(fn, fn_data, &shadow->sum);
  fn(&shadow->visits.visitor, fn_data);
  tarn_visits_take(&shadow->visits);
}

static void note_stack_word(void *data, uintptr_t word) { note_conservative(data, word); }

/* Where the part of a thread's stack begins that does not change during the stop; 0: nowhere. */
static uintptr_t stable_part(const struct tarn_mutator *mutator) {
  /* Acquire: pairs with the release by which the thread stood still. */
  return __atomic_load_n(&mutator->state, __ATOMIC_ACQUIRE) == TARN_STATE_STOPPED
             ? mutator->stack_low + UNSTABLE
             : 0;
}

/* The requester saves its place again when the roots are marked: only the frames that are older
 * than the one in which the collection runs hold the same words then.  That one's own has words of
 * earlier calls where its variables will be. */
static void note_requester(struct shadow *shadow, const struct tarn_mutator *mutator,
                           uintptr_t frame) {
  tarn_stop_each_word(mutator, frame, note_stack_word, shadow);
}

static void note_other(struct shadow *shadow, const struct tarn_mutator *mutator) {
  tarn_stop_each_saved(mutator, note_stack_word, shadow);
  uintptr_t low = stable_part(mutator);
  if (low)
    tarn_stop_each_word(mutator, low, note_stack_word, shadow);
}

static void note_thread(struct shadow *shadow, const struct tarn_mutator *mutator,
                        uintptr_t frame) {
  for (const tarn_frame *at = mutator->local.pub.tarn_frames; at; at = at->previous)
    for (size_t i = 0; i < at->count; i++)
      if (at->slots[i])
        note_word(shadow, *(const uintptr_t *)at->slots[i]);
  if (!mutator->scan_stack || !mutator->stack_low)
    return;
  if (mutator == shadow->world->stop.requester)
    note_requester(shadow, mutator, frame);
  else
    note_other(shadow, mutator);
}

void tarn_shadow_note(tarn_world *world, uintptr_t frame) {
  struct shadow *shadow = make(world);
  struct tarn_mutator *mutator;
  world->collector->shadow = shadow;
  if (!shadow)
    return;
  tarn_visits_begin(&shadow->visits, take);
  cds_list_for_each_entry(mutator, &world->registry.list, node) note_thread(shadow, mutator, frame);
  tarn_roots_each(world, note_slot, note_provider, shadow);
  drain(shadow);
  drop_stack(shadow);
  if (shadow->failed) {
    drop(shadow);
    world->collector->shadow = NULL;
  }
}

/* --- the check ------------------------------------------------------------------------------- */

/* The name of the object's type, if it still has one. */
static const char *name_of(const struct shadow *shadow, const struct tarn_place *place) {
  const tarn_type *type = tarn_type_of((const void *)place->block);
  if (tarn_map_kind(place->map) == TARN_KIND_RAW)
    return "raw";
  return type && *find_type(shadow, type) ? type->name : "none";
}

static _Noreturn void die(const struct shadow *shadow, uintptr_t granule) {
  struct tarn_place place;
  unsigned byte = *tarn_mark_byte(granule);
  /* A block that begins in the granule covers its second half, wherever in it the block begins. */
  if (!tarn_find(shadow->world->store.id, granule + 8, true, &place))
    tarn_os_die("tarn: verify after collection: the block at %p was reachable, but its pool or "
                "large object was given back",
                (void *)granule);
  tarn_os_die("tarn: verify after collection: block %p (%zu bytes, type %s, %s %p) was reachable, "
              "but its mark byte is %u, not %u or %u",
              (void *)place.block, place.size, name_of(shadow, &place),
              tarn_map_form(place.map) == TARN_FORM_POOL ? "pool" : "large object at",
              (void *)(place.block & ~(uintptr_t)(TARN_UNIT_SIZE - 1)), byte,
              (unsigned)shadow->world->store.epoch,
              (unsigned)tarn_mark_survived(shadow->world->store.epoch));
}

static void check_arena(const struct shadow *shadow, uintptr_t base, const uint64_t *bits) {
  uint8_t epoch = shadow->world->store.epoch;
  for (size_t i = 0; i < WORDS_PER_ARENA; i++)
    for (uint64_t word = bits[i]; word; word &= word - 1) {
      size_t granule = i * 64 + (size_t)__builtin_ctzll(word);
      uintptr_t address = base + (granule << TARN_GRANULE_SHIFT);
      if (!tarn_mark_lives(*tarn_mark_byte(address), epoch))
        die(shadow, address);
    }
}

void tarn_shadow_check(tarn_world *world) {
  struct shadow *shadow = world->collector->shadow;
  uint64_t sum = 0;
  if (!shadow)
    return;
  world->collector->shadow = NULL;
  tarn_roots_each(world, sum_slot, sum_provider, &sum);
  for (size_t i = 0; sum == shadow->sum && i < tarn_space.size >> TARN_ARENA_SHIFT; i++)
    if (shadow->ordinals[i])
      check_arena(shadow, tarn_space.base + (i << TARN_ARENA_SHIFT),
                  shadow->bits + (size_t)(shadow->ordinals[i] - 1) * WORDS_PER_ARENA);
  drop(shadow);
}
