/* SPDX-License-Identifier: MIT */
/*
 * collect/ephemeron.c: ephemerons and the marking of weak-key entries; see ephemeron.h.
 *
 * Memory orders: as in weak.c.
 */
#include "collect/collector.h"
#include <tarn/store.h>
#include <tarn/weak.h>

enum { WORD_HEAD, WORD_KEY, WORD_VALUE, WORD_LINK };

/* The first hash table; kept between collections as long as it has not grown beyond KEPT. */
#define FIRST_BUCKETS ((size_t)2048)
#define KEPT_BUCKETS ((size_t)8192)

tarn_status tarn_ephemeron_start(tarn_world *world) {
  struct tarn_ephemeron_part *part = &tarn_collector_of(world)->ephemerons;
  *part = (struct tarn_ephemeron_part){.waiting = TARN_LINK_END, .ready = TARN_LINK_END};
  return TARN_OK;
}

static void drop_buckets(struct tarn_ephemeron_part *part) {
  if (part->buckets)
    tarn_os_unmap(part->buckets, part->bucket_count * sizeof *part->buckets);
  part->buckets = NULL;
  part->bucket_count = 0;
}

void tarn_ephemeron_end(tarn_world *world) { drop_buckets(&tarn_collector_of(world)->ephemerons); }

/* --- for mutators ---------------------------------------------------------------------------- */

void *tarn_ephemeron_new(tarn_thread *self, void *key, void *value) {
  tarn_status status = tarn_weak_check(self);
  if (status == TARN_OK && !key)
    status = TARN_EINVAL;
  if (status != TARN_OK) {
    tarn_thread_fail(self, status);
    return NULL;
  }
  TARN_FRAME(self, &key, &value); /* the allocation may collect */
  tarn_world *world = tarn_mutator_of(self)->world;
  tarn_weak_note_made(world->collector);
  uintptr_t *words = tarn_new(self, world->types.ephemeron);
  if (words) {
    __atomic_store_n(&words[WORD_VALUE], (uintptr_t)value, __ATOMIC_RELEASE);
    __atomic_store_n(&words[WORD_KEY], (uintptr_t)key, __ATOMIC_RELEASE);
  }
  return words;
}

void *tarn_ephemeron_key(tarn_thread *self, void *ephemeron) {
  const uintptr_t *words = tarn_weak_words(self, ephemeron, true);
  return words ? tarn_weak_read(tarn_mutator_of(self), &words[WORD_KEY]) : NULL;
}

void *tarn_ephemeron_value(tarn_thread *self, void *ephemeron) {
  const uintptr_t *words = tarn_weak_words(self, ephemeron, true);
  if (!words || !tarn_weak_read(tarn_mutator_of(self), &words[WORD_KEY]))
    return NULL; /* also when the key was freed by hand */
  return (void *)__atomic_load_n(&words[WORD_VALUE], __ATOMIC_ACQUIRE);
}

void tarn_ephemeron_set_value(tarn_thread *self, void *ephemeron, void *value) {
  uintptr_t *words = tarn_weak_words(self, ephemeron, true);
  if (!words || !tarn_weak_read(tarn_mutator_of(self), &words[WORD_KEY]))
    return;
  __atomic_store_n(&words[WORD_VALUE], (uintptr_t)value, __ATOMIC_RELEASE);
  tarn_barrier(self, words, &words[WORD_VALUE]);
}

/* --- pairs ----------------------------------------------------------------------------------- */

static uintptr_t word_of(const uintptr_t *pair, unsigned word) {
  return __atomic_load_n(&pair[word], __ATOMIC_RELAXED);
}

static uintptr_t key_of(const struct tarn_collector *collector, const uintptr_t *pair) {
  return word_of(pair, WORD_KEY) & ~collector->marker.tag_mask;
}

static bool key_is_dead(const struct tarn_collector *collector, const uintptr_t *pair) {
  return tarn_weak_is_dead(&collector->marker, word_of(pair, WORD_KEY));
}

static void push(uintptr_t *list, uintptr_t *pair) {
  pair[WORD_LINK] = *list;
  *list = (uintptr_t)pair;
}

static uintptr_t *pop(uintptr_t *list) {
  uintptr_t *pair = (uintptr_t *)*list;
  *list = pair[WORD_LINK];
  pair[WORD_LINK] = 0;
  return pair;
}

/* --- the hash table of keys ------------------------------------------------------------------ */

static uintptr_t *bucket_of(const struct tarn_ephemeron_part *part, uintptr_t key) {
  /* Blocks have at least 16 bytes, so nothing is lost with the low bits. */
  uint64_t hash = (uint64_t)(key >> TARN_GRANULE_SHIFT) * UINT64_C(0x9e3779b97f4a7c15);
  return &part->buckets[(hash >> 32) & (part->bucket_count - 1)];
}

static uintptr_t *map_buckets(size_t count) {
  uintptr_t *buckets = tarn_os_map(count * sizeof *buckets);
  for (size_t i = 0; buckets && i < count; i++)
    buckets[i] = TARN_LINK_END;
  return buckets;
}

/* Doubles the table.  Failure costs time only: the chains get longer. */
static void grow(struct tarn_collector *collector) {
  struct tarn_ephemeron_part *part = &collector->ephemerons;
  struct tarn_ephemeron_part old = *part;
  size_t count = old.buckets ? old.bucket_count * 2 : FIRST_BUCKETS;
  uintptr_t *buckets = map_buckets(count);
  if (!buckets) {
    part->cramped = true; /* one refusal in a collection is enough */
    return;
  }
  part->buckets = buckets;
  part->bucket_count = count;
  for (size_t i = 0; i < old.bucket_count; i++)
    while (old.buckets[i] != TARN_LINK_END) {
      uintptr_t *pair = pop(&old.buckets[i]);
      push(bucket_of(part, key_of(collector, pair)), pair);
    }
  drop_buckets(&old);
}

/* Puts a pair with a dead key into the table; false: there is none. */
static bool watch(struct tarn_collector *collector, uintptr_t *pair) {
  struct tarn_ephemeron_part *part = &collector->ephemerons;
  if (part->watched >= part->bucket_count && !part->cramped)
    grow(collector);
  if (!part->buckets)
    return false;
  uintptr_t key = key_of(collector, pair);
  struct tarn_place place;
  /* A free block cannot be marked any more, and its mark byte is the allocator's. */
  if (tarn_find(collector->marker.store->id, key, false, &place) &&
      tarn_weak_in_use(&collector->marker, &place))
    *tarn_mark_byte(key) = TARN_MARK_WATCHED;
  push(bucket_of(part, key), pair);
  part->watched++;
  return true;
}

/*
 * What a watched byte said before is not kept, but there is one answer that is right for every
 * block in use without a mark of this collection, since before a pool's cursor nobody asks, and
 * beyond it one thing only can have stood: in a full collection the previous epoch or SURVIVED, of
 * which either says "in use"; in generation 1 SURVIVED; in generation 0 nothing, for there it is
 * none but new blocks, all of which lie before the cursor.
 */
static uint8_t unmarked(const struct tarn_marker *marker) {
  if (marker->epoch != marker->previous)
    return marker->previous;
  return marker->mark == marker->epoch ? tarn_mark_survived(marker->epoch) : TARN_MARK_NONE;
}

static void unwatch(struct tarn_collector *collector, uintptr_t key) {
  struct tarn_place place;
  if (tarn_find(collector->marker.store->id, key, false, &place) &&
      *tarn_mark_byte(key) == TARN_MARK_WATCHED)
    *tarn_mark_byte(key) = unmarked(&collector->marker);
}

void tarn_ephemeron_key_marked(struct tarn_collector *collector, uintptr_t key) {
  struct tarn_ephemeron_part *part = &collector->ephemerons;
  if (!part->buckets)
    return;
  for (uintptr_t *from = bucket_of(part, key); *from != TARN_LINK_END;) {
    uintptr_t *pair = (uintptr_t *)*from;
    if (key_of(collector, pair) != key) {
      from = &pair[WORD_LINK];
      continue;
    }
    (void)pop(from);
    part->watched--;
    push(&part->ready, pair);
  }
}

/* --- marking --------------------------------------------------------------------------------- */

void tarn_ephemeron_found(struct tarn_collector *collector, struct tarn_marker *marker,
                          void *object) {
  uintptr_t *pair = object;
  if (pair[WORD_LINK])
    return; /* met before: its pool was walked again after the mark stack was full */
  if (key_is_dead(collector, pair))
    push(&collector->ephemerons.waiting, pair);
  else
    tarn_mark_word(marker, word_of(pair, WORD_VALUE));
}

bool tarn_ephemeron_entry(struct tarn_collector *collector, uintptr_t *words) {
  if (words[WORD_LINK])
    return false;
  if (key_is_dead(collector, words)) {
    if (!watch(collector, words))
      collector->ephemerons.tables_waiting = true;
    return false;
  }
  uintptr_t value = word_of(words, WORD_VALUE) & ~collector->marker.tag_mask;
  struct tarn_place place;
  /* Only a block in use will have a mark after the drain; anything else would be no progress. */
  if (!tarn_weak_is_dead(&collector->marker, value) ||
      !tarn_find(collector->marker.store->id, value, false, &place) ||
      !tarn_weak_in_use(&collector->marker, &place))
    return false;
  tarn_mark_word(&collector->marker, value);
  return true;
}

/*
 * Marks the values of pairs whose key was marked; true if there were any.  An entry that was
 * removed while it was watched has no value any more.
 */
static bool mark_ready(struct tarn_collector *collector) {
  struct tarn_ephemeron_part *part = &collector->ephemerons;
  bool any = false;
  while (part->ready != TARN_LINK_END) {
    uintptr_t *pair = pop(&part->ready);
    tarn_mark_word(&collector->marker, word_of(pair, WORD_VALUE));
    any = true;
  }
  return any;
}

/* Looks at all that wait: marks the value, or watches the key.  True if a value was marked. */
static bool sift_waiting(struct tarn_collector *collector) {
  struct tarn_ephemeron_part *part = &collector->ephemerons;
  uintptr_t list = part->waiting;
  bool any = false;
  part->waiting = TARN_LINK_END;
  while (list != TARN_LINK_END) {
    uintptr_t *pair = pop(&list);
    if (!key_is_dead(collector, pair)) {
      tarn_mark_word(&collector->marker, word_of(pair, WORD_VALUE));
      any = true;
    } else if (!watch(collector, pair)) {
      push(&part->waiting, pair);
    }
  }
  return any;
}

/* Weak-key entries are looked at once, unless some could not be watched. */
static bool sift_tables(struct tarn_collector *collector) {
  struct tarn_ephemeron_part *part = &collector->ephemerons;
  if (part->tables_seen && !part->tables_waiting)
    return false;
  part->tables_seen = true;
  part->tables_waiting = false;
  return tarn_weak_tables_keys(collector);
}

void tarn_ephemeron_resolve(struct tarn_collector *collector) {
  bool more;
  do {
    tarn_mark_drain(&collector->marker);
    more = mark_ready(collector);
    more |= sift_waiting(collector);
    more |= sift_tables(collector);
  } while (more);
}

/* --- the end of a collection ----------------------------------------------------------------- */

/* Takes the pairs off a list.  `clear`: key and value of ephemerons with a dead key become NULL. */
static void empty(struct tarn_collector *collector, uintptr_t *list, bool clear) {
  while (*list != TARN_LINK_END) {
    uintptr_t *pair = pop(list);
    unwatch(collector, key_of(collector, pair));
    /* Entries of tables are not in the heap; weak_table.c removes them. */
    if (clear && tarn_space_holds((uintptr_t)pair) && key_is_dead(collector, pair)) {
      __atomic_store_n(&pair[WORD_KEY], 0, __ATOMIC_RELAXED);
      __atomic_store_n(&pair[WORD_VALUE], 0, __ATOMIC_RELAXED);
    }
  }
}

static void empty_all(struct tarn_collector *collector, bool clear) {
  struct tarn_ephemeron_part *part = &collector->ephemerons;
  empty(collector, &part->waiting, clear);
  empty(collector, &part->ready, clear);
  for (size_t i = 0; part->watched && i < part->bucket_count; i++)
    empty(collector, &part->buckets[i], clear);
  part->watched = 0;
}

void tarn_ephemeron_clear(struct tarn_collector *collector) { empty_all(collector, true); }

void tarn_ephemeron_finish(struct tarn_collector *collector) {
  struct tarn_ephemeron_part *part = &collector->ephemerons;
  empty_all(collector, false);
  if (part->bucket_count > KEPT_BUCKETS)
    drop_buckets(part);
  part->cramped = part->tables_seen = part->tables_waiting = false;
  tarn_weak_tables_finish(collector);
}

void tarn_ephemeron_forget(struct tarn_collector *collector, void *ephemeron, tarn_gone_fn gone,
                           void *data) {
  uintptr_t *pair = ephemeron;
  uintptr_t mask = ~collector->world->tag_mask;
  uintptr_t value = word_of(pair, WORD_VALUE) & mask;
  if (gone(word_of(pair, WORD_KEY) & mask, data)) {
    __atomic_store_n(&pair[WORD_KEY], 0, __ATOMIC_RELAXED);
    __atomic_store_n(&pair[WORD_VALUE], 0, __ATOMIC_RELAXED);
  } else if (gone(value, data)) {
    __atomic_store_n(&pair[WORD_VALUE], 0, __ATOMIC_RELAXED);
  }
}
