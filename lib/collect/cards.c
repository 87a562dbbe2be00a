/* SPDX-License-Identifier: MIT */
/*
 * collect/cards.c: see collect/cards.h.
 */
#include "collect/collector.h"
#include <string.h>
#include <tarn/store.h>

#define CARD_SIZE ((uintptr_t)1 << TARN_CARD_SHIFT)

/* --- for mutators ---------------------------------------------------------------------------- */

/* Cards of the words from `from` up to `to`, which is beyond it.  The unit's byte for each. */
static void soil(uintptr_t from, uintptr_t to) {
  for (uintptr_t at = from & ~(CARD_SIZE - 1); at < to; at += CARD_SIZE) {
    __atomic_store_n(tarn_card(at), 1, __ATOMIC_RELAXED);
    __atomic_store_n(&tarn_space.dirty[tarn_unit_of(at)], 1, __ATOMIC_RELAXED);
  }
}

/* `bytes` from `slot` on were stored to. */
static void note_store(tarn_thread *self, uintptr_t object, uintptr_t slot, size_t bytes) {
  struct tarn_store *store = &tarn_mutator_of(self)->world->store;
  struct tarn_place place;
  if (!tarn_find(store->id, object, false, &place)) {
#if TARN_CHECKING
    store->hooks->corrupt(store, (const void *)object, "a barrier on what is no object");
#endif
    return;
  }
  /* Not even the tables may exist.  An object that is dead and waits for its `free` function has a
   * mark, but it is not scanned. */
  if (!store->tables || !tarn_store_marked(store, (const void *)object))
    return;
  if (slot >= object && slot < object + place.size)
    soil(slot, slot + bytes);
  else
    soil(object, object + 1); /* in the data block */
}

void tarn_barrier_slow(tarn_thread *self, const void *object, const void *slot) {
  note_store(self, (uintptr_t)object, (uintptr_t)slot, sizeof(void *));
}

void tarn_barrier_range(tarn_thread *self, const void *object, const void *slot, size_t count) {
  /* Relaxed, as in tarn_barrier. */
  if (count != 0 && tarn_mark_load((uintptr_t)object) != TARN_MARK_NONE)
    note_store(self, (uintptr_t)object, (uintptr_t)slot, count * sizeof(void *));
}

void tarn_store_range(tarn_thread *self, void *object, void **slot, void *const *from,
                      size_t count) {
  memmove(slot, from, count * sizeof *slot);
  tarn_barrier_range(self, object, slot, count);
}

void tarn_barrier_outline(tarn_thread *self, const void *object, const void *slot) {
  tarn_barrier(self, object, slot);
}

void tarn_store_outline(tarn_thread *self, void *object, void **slot, void *value) {
  tarn_store(self, object, slot, value);
}

/* --- scanning -------------------------------------------------------------------------------- */

struct scan {
  struct tarn_visits visits; /* must be first: take() gets it */
  struct tarn_collector *collector;
  uintptr_t card;
  bool keep; /* an object with the epoch refers to one without: the card stays dirty */
  bool old;  /* the object that is being scanned has the epoch */
};

/* What carries the epoch is marked, and will stay older than everything else. */
static void look_at(struct scan *scan, struct tarn_marker *marker, uintptr_t word) {
  struct tarn_place place;
  if (!tarn_find(marker->store->id, word, false, &place))
    return;
  uint8_t byte = tarn_mark_load(word);
  if (byte == marker->epoch)
    return;
  scan->keep |= scan->old;
  if (byte != marker->mark)
    tarn_mark_word(marker, word);
}

/* A card of an array holds sixteen references to anywhere, whose mark bytes would be waited for one
 * by one. */
static void take(struct tarn_visits *visits, const uintptr_t *words, size_t count) {
  struct scan *scan = (struct scan *)(void *)visits;
  struct tarn_marker *marker = &scan->collector->marker;
  const uintptr_t keep = ~marker->tag_mask;
  for (size_t i = 0; i < count; i++)
    if (tarn_space_holds(words[i] & keep))
      __builtin_prefetch(tarn_mark_byte(words[i] & keep), 1);
  for (size_t i = 0; i < count; i++)
    look_at(scan, marker, words[i] & keep);
}

/* Does a weak reference, or a key or value, name something younger? */
static void visit_weakly(struct scan *scan, uintptr_t word) {
  struct tarn_marker *marker = &scan->collector->marker;
  struct tarn_place place;
  word &= ~marker->tag_mask;
  if (scan->old && tarn_find(marker->store->id, word, false, &place) &&
      tarn_mark_load(word) != marker->epoch)
    scan->keep = true;
}

static void scan_weak(struct scan *scan, uintptr_t *words, tarn_scan how) {
  /* Relaxed: the world is stopped. */
  visit_weakly(scan, __atomic_load_n(&words[1], __ATOMIC_RELAXED));
  if (how == TARN_SCAN_WEAK) {
    tarn_weak_found(scan->collector, words);
    return;
  }
  visit_weakly(scan, __atomic_load_n(&words[2], __ATOMIC_RELAXED));
  tarn_ephemeron_found(scan->collector, &scan->collector->marker, words);
}

/* The object in a block, if it is one of those that are not collected now. */
static void scan_object(struct scan *scan, uintptr_t block, size_t size) {
  const struct tarn_marker *marker = &scan->collector->marker;
  uint8_t byte = tarn_mark_load(block);
  scan->old = byte == marker->epoch;
  /* No type: freed by hand, and parked beside condemned objects (heap/remote.h), mark and all. */
  if (!tarn_marker_says(marker, byte) || !tarn_type_of((const void *)block))
    return;
  tarn_scan how = (tarn_scan)tarn_type_of((const void *)block)->scan;
  if (how == TARN_SCAN_WEAK || how == TARN_SCAN_EPHEMERON) {
    scan_weak(scan, (uintptr_t *)block, how);
    return;
  }
  uintptr_t from = block > scan->card ? block : scan->card;
  uintptr_t end = scan->card + CARD_SIZE;
  if (end > block + size)
    end = block + size;
  tarn_scan_part(&scan->visits, (const void *)block, size, from, end);
}

static void scan_pool_card(struct scan *scan, uint64_t map) {
  size_t size = tarn_map_block_size(map);
  uintptr_t base = scan->card & ~(uintptr_t)(TARN_UNIT_SIZE - 1);
  uintptr_t end = scan->card + CARD_SIZE;
  uintptr_t block = base + tarn_block_index(map, scan->card - base) * size;
  for (; block < end && block + size <= base + TARN_UNIT_SIZE; block += size)
    scan_object(scan, block, size);
}

/* True: the card stays dirty. */
static bool scan_card(struct scan *scan, uintptr_t card, uint64_t map) {
  scan->card = card;
  scan->keep = false;
  if (tarn_map_form(map) == TARN_FORM_POOL) {
    scan_pool_card(scan, map);
  } else {
    struct tarn_large *large = tarn_large_of(card);
    if (large && card < large->base + large->bytes)
      scan_object(scan, large->base, large->bytes);
  }
  return scan->keep;
}

/* The marks of a collection of generation 1 are those of one sort, so no card stays dirty. */
static bool scan_unit(struct scan *scan, size_t unit) {
  uint64_t map = tarn_map_get(unit);
  uintptr_t base = tarn_unit_base(unit);
  uint8_t *cards = tarn_card(base);
  bool dirty = false, keeps = scan->collector->generation == 0;
  if (tarn_map_kind(map) != TARN_KIND_CONTAINER) {
    memset(cards, 0, TARN_UNIT_CARDS);
    return false;
  }
  for (size_t i = 0; i < TARN_UNIT_CARDS; i++)
    if (cards[i]) {
      cards[i] = scan_card(scan, base + i * CARD_SIZE, map) && keeps;
      dirty |= cards[i] != 0;
    }
  return dirty;
}

/* Most units of a heap are clean. */
static void each_dirty_of_eight(struct scan *scan, size_t first,
                                bool (*fn)(struct scan *, size_t)) {
  uint64_t eight;
  memcpy(&eight, &tarn_space.dirty[first], sizeof eight);
  for (size_t unit = first; eight && unit < first + 8; unit++)
    if (tarn_space.dirty[unit])
      tarn_space.dirty[unit] = fn(scan, unit);
}

/* Calls for each dirty unit of the world's; false: it is clean from now on. */
static void each_dirty(struct tarn_collector *collector, bool (*fn)(struct scan *, size_t)) {
  struct tarn_store *store = &collector->world->store;
  struct scan scan;
  scan.collector = collector;
  tarn_visits_begin(&scan.visits, take);
  tarn_store_walk_begin(store);
  for (const struct tarn_arena *arena = store->arenas; arena; arena = arena->next) {
    size_t first = tarn_unit_of(arena->base);
    for (size_t i = first; i < first + arena->units; i += 8)
      each_dirty_of_eight(&scan, i, fn);
  }
  tarn_store_walk_end(store);
}

static bool scan_counted(struct scan *scan, size_t unit) {
  scan->collector->report->dirty_units++;
  return scan_unit(scan, unit);
}

void tarn_cards_roots(struct tarn_collector *collector) { each_dirty(collector, scan_counted); }

static bool clear_unit(struct scan *scan, size_t unit) {
  (void)scan;
  memset(tarn_card(tarn_unit_base(unit)), 0, TARN_UNIT_CARDS);
  return false;
}

void tarn_cards_clear(struct tarn_collector *collector) { each_dirty(collector, clear_unit); }
