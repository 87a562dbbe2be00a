/* SPDX-License-Identifier: MIT */
/*
 * collect/mark.c: see collect/mark.h.  A queue between stack and scan in which lines are prefetched
 * is the technique that Cher, Hosking and Vitek published in 2004; that it is one of batches, and
 * how long they are, was chosen by measuring, see doc/.
 */
#include "collect/collector.h"
#include <string.h>

#define STACK_FIRST ((size_t)8192) /* entries */
#define NARROW ((size_t)5)         /* candidates that are too few for a batch */
#define PIECE_WORDS ((size_t)1024) /* of a large array, at a time */
#define CONTINUES ((uintptr_t)1)   /* tag of a stack entry that says where an array goes on */

/* --- the stack ------------------------------------------------------------------------------- */

void tarn_marker_end(struct tarn_marker *marker) {
  if (marker->stack)
    tarn_os_unmap(marker->stack, marker->capacity * sizeof(uintptr_t));
  marker->stack = NULL;
  marker->capacity = 0;
}

static bool grow(struct tarn_marker *marker) {
  size_t capacity = marker->capacity ? marker->capacity * 2 : STACK_FIRST;
  if (marker->limit && capacity > marker->limit)
    capacity = marker->limit & ~(size_t)511; /* whole pages */
  if (capacity <= marker->capacity)
    return false;
  size_t bytes = capacity * sizeof *marker->stack;
  uintptr_t *stack =
      marker->stack ? tarn_os_remap(marker->stack, marker->capacity * sizeof *marker->stack, bytes)
                    : tarn_os_map(bytes);
  if (!stack)
    return false;
  marker->stack = stack;
  marker->capacity = capacity;
  return true;
}

/* What was given away from the bottom leaves room there. */
static void move_down(struct tarn_marker *marker) {
  marker->depth -= marker->low;
  memmove(marker->stack, marker->stack + marker->low, marker->depth * sizeof *marker->stack);
  marker->low = 0;
}

static __attribute__((noinline)) bool make_room(struct tarn_marker *marker, size_t entries) {
  if (marker->low >= entries && marker->low >= marker->capacity / 2)
    move_down(marker);
  while (marker->capacity - marker->depth < entries && grow(marker))
    ;
  if (marker->capacity - marker->depth < entries && marker->low > 0)
    move_down(marker);
  return marker->capacity - marker->depth >= entries;
}

static inline bool has_room(struct tarn_marker *marker, size_t entries) {
  return TARN_LIKELY(marker->capacity - marker->depth >= entries) || make_room(marker, entries);
}

/* Notes that a marked object still has to be scanned. */
static void note_overflow(struct tarn_marker *marker, uintptr_t object, tarn_form form) {
  uint8_t *noted =
      form == TARN_FORM_POOL ? &tarn_pool_of(object)->overflow : &tarn_large_of(object)->overflow;
  /* Release: who takes the note finds the mark. */
  __atomic_store_n(noted, 1, __ATOMIC_RELEASE);
  marker->overflow = true;
  marker->overflows++;
}

/* --- from a word to a marked object ---------------------------------------------------------- */

/* Around what the other parts keep of objects that are met; helpers meet some, too. */
static void lock_found(const struct tarn_marker *marker) {
  if (marker->world->collector->markers.wanted)
    (void)pthread_mutex_lock(&marker->world->collector->markers.found_lock);
}
static void unlock_found(const struct tarn_marker *marker) {
  if (marker->world->collector->markers.wanted)
    (void)pthread_mutex_unlock(&marker->world->collector->markers.found_lock);
}

static inline void count_marked(struct tarn_marker *marker, uint64_t map) {
  marker->marked++;
  marker->marked_bytes += tarn_map_block_size(map); /* 0 for large objects */
}

/*
 * Marks a block that is in use, by its looks: a block without a mark of earlier collections is new
 * or free.  True if it was.
 */
static bool mark_new(const struct tarn_marker *marker, const struct tarn_place *place) {
  if (!tarn_place_in_use(place, marker->previous))
    return false;
  tarn_mark_store(place->block, marker->mark);
  return true;
}

static __attribute__((noinline)) bool mark_watched(const struct tarn_marker *marker,
                                                   const struct tarn_place *place) {
  tarn_mark_store(place->block, marker->mark);
  lock_found(marker);
  tarn_ephemeron_key_marked(marker->world->collector, place->block);
  unlock_found(marker);
  return true;
}

/*
 * Marks the block that `word` names; true if it is newly marked and has to be scanned.  The mark
 * byte comes second: that of a word of another world may be written by its threads just now.
 */
static __attribute__((noinline)) bool mark_exact(struct tarn_marker *marker, uintptr_t word,
                                                 struct tarn_place *place) {
  if (!tarn_find(marker->store->id, word, false, place))
    return false;
  uint8_t old = tarn_mark_load(word);
  if (tarn_marker_says(marker, old))
    return false;
  /* It lived through the last collection: no look at it is needed. */
  if (tarn_mark_lives(old, marker->previous))
    tarn_mark_store(word, marker->mark);
  else if (!(old == TARN_MARK_WATCHED ? mark_watched(marker, place) : mark_new(marker, place)))
    return false;
  count_marked(marker, place->map);
  return tarn_map_kind(place->map) == TARN_KIND_CONTAINER;
}

/* No room on the stack: marked now, scanned later. */
static __attribute__((noinline)) void push_marked(struct tarn_marker *marker, uintptr_t word) {
  struct tarn_place place;
  if (mark_exact(marker, word, &place))
    note_overflow(marker, place.block, tarn_map_form(place.map));
}

static inline void push(struct tarn_marker *marker, uintptr_t word) {
  if (!tarn_space_holds(word) || (word & 7) != 0)
    return;
  if (has_room(marker, 1))
    marker->stack[marker->depth++] = word;
  else
    push_marked(marker, word);
}

void tarn_mark_word(struct tarn_marker *marker, uintptr_t word) {
  push(marker, word & ~marker->tag_mask);
}

/* Where the program counts references, a word that is none may name a free block, or an object that
 * is being given back, whose slots are not to be trusted any more. */
static bool is_counted(const struct tarn_marker *marker, const struct tarn_place *place) {
  const void *object = (const void *)place->block;
  return tarn_map_kind(place->map) == TARN_KIND_CONTAINER &&
         tarn_place_in_use(place, marker->previous) &&
         tarn_refs_of_object(tarn_type_of(object), object) != 0;
}

void tarn_mark_conservative(struct tarn_marker *marker, uintptr_t word) {
  struct tarn_place place;
  if (tarn_find(marker->store->id, word, true, &place) &&
      (!marker->trusts || is_counted(marker, &place)))
    push(marker, place.block);
}

/* A word of a frame or a slot: frames have objects whose functions run, too. */
static void mark_root(struct tarn_marker *marker, uintptr_t word) {
  struct tarn_place place;
  word &= ~marker->tag_mask;
  if (!marker->trusts ||
      (tarn_find(marker->store->id, word, false, &place) && is_counted(marker, &place)))
    push(marker, word);
}

void tarn_mark_keep(struct tarn_marker *marker, uintptr_t address) {
  struct tarn_place place;
  if (!tarn_find(marker->store->id, address, false, &place))
    return;
  if (!tarn_marker_says(marker, tarn_mark_load(place.block)))
    count_marked(marker, place.map);
  tarn_mark_store(place.block, marker->epoch);
}

/* --- the marker's own scan ------------------------------------------------------------------- */

static inline void push_word(void *context, uintptr_t word) {
  struct tarn_marker *marker = context;
  push(marker, word & ~marker->tag_mask);
}

/*
 * What cannot be a candidate (as in `push`; the rotation makes both questions one compare) is
 * written over by the next word, rather than branched around: many slots are NULL, and which ones
 * nobody can foretell.  There is room for one more.  The new depth.
 */
static inline size_t put(uintptr_t *stack, size_t depth, uintptr_t word, uintptr_t base,
                         size_t size) {
  uintptr_t offset = word - base;
  stack[depth] = word;
  return depth + ((offset >> 3 | offset << 61) < size >> 3);
}

static void push_words(void *context, const uintptr_t *words, size_t count) {
  struct tarn_marker *marker = context;
  if (!has_room(marker, count)) {
    for (size_t i = 0; i < count; i++)
      push_word(marker, words[i]);
    return;
  }
  const uintptr_t keep = ~marker->tag_mask, base = tarn_space.base, size = tarn_space.size;
  uintptr_t *stack = marker->stack;
  size_t depth = marker->depth;
  for (size_t i = 0; i < count; i++)
    depth = put(stack, depth, words[i] & keep, base, size);
  marker->depth = depth;
}

/*
 * Scans an array's elements from `first` on.  A long array is scanned in pieces, with a note of
 * where to go on left on the stack, so that the stack grows by a piece and not by the array.
 */
static void scan_elements(struct tarn_marker *marker, const void *object, size_t size,
                          size_t first) {
  const tarn_type *type = tarn_type_of(object);
  size_t count = tarn_scan_element_count(type, object, size);
  size_t words = type->element_size / sizeof(uintptr_t);
  size_t most = words < PIECE_WORDS ? PIECE_WORDS / (words ? words : 1) : 1;
  if (count - first > most) {
    if (!has_room(marker, 2)) {
      /* The whole object again, later; what this piece finds is not lost meanwhile. */
      note_overflow(marker, (uintptr_t)object,
                    tarn_map_form(tarn_map_get(tarn_unit_of((uintptr_t)object))));
      most = count - first;
    } else {
      marker->stack[marker->depth++] = (uintptr_t)object;
      marker->stack[marker->depth++] = (first + most) << 3 | CONTINUES;
    }
  }
  if (most > count - first)
    most = count - first;
  tarn_scan_elements(type, object, first, most, push_word, push_words, marker);
}

static void take(struct tarn_visits *visits, const uintptr_t *words, size_t count) {
  push_words(visits, words, count); /* a marker's are its first member */
}

tarn_status tarn_marker_start(struct tarn_marker *marker, tarn_world *world, size_t limit_bytes) {
  memset(marker, 0, sizeof *marker);
  tarn_visits_begin(&marker->visits, take);
  marker->store = &world->store;
  marker->world = world;
  marker->limit = limit_bytes / sizeof(uintptr_t);
  return TARN_OK;
}

static void trace(struct tarn_marker *marker, const tarn_type *type, const void *object) {
  type->trace(object, &marker->visits.visitor);
  tarn_visits_take(&marker->visits);
}

static void scan_general(struct tarn_marker *marker, const void *object, size_t size) {
  const tarn_type *type = tarn_type_of(object);
  tarn_scan_layout(object, &type->slots, type->words, push_word, push_words, marker);
  if (type->data_size)
    tarn_scan_data(type, object, push_word, push_words, marker);
  if (type->trace)
    trace(marker, type, object);
  if (type->is_array && tarn_layout_has_traced(&type->element))
    scan_elements(marker, object, size, 0);
}

static __attribute__((noinline)) void scan_other(struct tarn_marker *marker, void *object) {
  switch ((tarn_scan)tarn_type_of(object)->scan) {
  case TARN_SCAN_GENERAL:
    scan_general(marker, object, tarn_type_of(object)->is_array ? tarn_scan_block_size(object) : 0);
    break;
  case TARN_SCAN_TRACE:
    trace(marker, tarn_type_of(object), object);
    break;
  case TARN_SCAN_WEAK:
    lock_found(marker);
    tarn_weak_found(marker->world->collector, object);
    unlock_found(marker);
    break;
  case TARN_SCAN_EPHEMERON:
    lock_found(marker);
    tarn_ephemeron_found(marker->world->collector, marker, object);
    unlock_found(marker);
    break;
  case TARN_SCAN_NONE:
  case TARN_SCAN_BITS:
    break;
  }
}

/* A marked object, of any type, whatever room there is. */
static __attribute__((noinline)) void scan(struct tarn_marker *marker, uintptr_t address) {
  void *object = (void *)address;
  const tarn_type *type = tarn_type_of(object);
  tarn_type_check(marker->world, object);
  if (type->scan == TARN_SCAN_BITS)
    tarn_scan_bits(object, type->bits, push_word, marker);
  else
    scan_other(marker, object);
}

/* --- the drain ------------------------------------------------------------------------------- */

/* On an object that is not marked yet, since it takes a look at the object to know that it may be.
 * Objects are aligned to 8. */
#define UNSURE ((uintptr_t)1)

/* Goes on with the array whose note is on top of the stack. */
static __attribute__((noinline)) void go_on(struct tarn_marker *marker) {
  size_t next = marker->stack[--marker->depth] >> 3;
  const void *object = (const void *)marker->stack[--marker->depth];
  scan_elements(marker, object, tarn_scan_block_size(object), next);
}

/* The first step: takes candidates off the stack, and fetches their mark bytes. */
static size_t take_batch(struct tarn_marker *marker, uintptr_t *candidates) {
  const uintptr_t base = tarn_space.base;
  const uint8_t *marks = tarn_space.marks;
  size_t count = 0;
  if (TARN_UNLIKELY(!marker->stack)) /* nothing was pushed ever */
    return 0;
  for (;;) {
    size_t there = marker->depth - marker->low, room = TARN_BATCH - count;
    const uintptr_t *from = marker->stack + marker->depth;
    const uintptr_t *end = from - (there < room ? there : room);
    while (from > end && !(from[-1] & CONTINUES)) {
      uintptr_t word = *--from;
      candidates[count++] = word;
      __builtin_prefetch(marks + ((word - base) >> TARN_GRANULE_SHIFT), 1);
    }
    marker->depth = (size_t)(from - marker->stack);
    if (TARN_LIKELY(from == end))
      return count;
    go_on(marker);
  }
}

/* Blocks that lie across two lines need both. */
static inline void fetch(uintptr_t block, size_t words) {
  __builtin_prefetch((const void *)block, 0);
  __builtin_prefetch((const void *)(block + 8 * (words < 8 ? words : 8) - 8), 0);
}

/*
 * Without waiting for the mark bytes: of so few candidates one would wait twice, for the byte and
 * then for the object (a list), and in a first collection no object can do without a look at it.
 */
static void fetch_early(const struct tarn_marker *marker, const uintptr_t *candidates,
                        size_t count) {
  if (TARN_UNLIKELY(count < TARN_BATCH / 4 || marker->previous == TARN_MARK_NONE))
    for (size_t i = 0; i < count; i++)
      fetch(candidates[i], 8);
}

/* A block that lived through the last collection has the mark of that.  Where slots are trusted no
 * mark tells that there is one. */
static inline bool is_block(uint64_t map, uintptr_t word, bool trusts) {
  uint32_t index;
  return trusts ? tarn_starts_exactly(map, (uint32_t)(word & (TARN_UNIT_SIZE - 1)), &index)
                : tarn_starts_block(map, word);
}

/* What the second step needs of the marker and of the space, and what it counts. */
struct marking {
  const struct tarn_space space;
  const unsigned id,
      lived; /* `lived`: the mark of what lived through the last collection, or none */
  const uint8_t epoch, mark;
  size_t marked, bytes;
};

static inline struct marking begin_marking(const struct tarn_marker *marker) {
  return (struct marking){.space = tarn_space,
                          .id = marker->store->id,
                          .lived = marker->previous != TARN_MARK_NONE ? marker->previous
                                                                      : UINT8_MAX + 1u,
                          .epoch = marker->epoch,
                          .mark = marker->mark};
}

static inline void end_marking(struct tarn_marker *marker, const struct marking *marking) {
  marker->marked += marking->marked;
  marker->marked_bytes += marking->bytes;
}

/*
 * Marks a candidate (`trusts` is a constant at every call); returns it if it has to be scanned, and
 * 0 if not.  A block with the previous epoch's mark lived through the last collection, so no look
 * at it is needed; any other one that is not marked goes on as it is, unsure.  The bytes of large
 * objects and of pools need no telling apart here: see tarn_starts_block.
 *
 * The map word comes before the mark byte: that of a word of another world may be written by its
 * threads just now, or not be there.
 */
static TARN_ALWAYS_INLINE uintptr_t mark_candidate(struct marking *marking, uintptr_t word,
                                                   bool trusts, uint64_t *map) {
  uintptr_t offset = word - marking->space.base;
  *map = atomic_load_explicit(&marking->space.map[offset >> TARN_UNIT_SHIFT], memory_order_acquire);
  if (TARN_UNLIKELY(tarn_map_world(*map) != marking->id))
    return 0;
  uint8_t *byte = &marking->space.marks[offset >> TARN_GRANULE_SHIFT];
  uint8_t old = __atomic_load_n(byte, __ATOMIC_RELAXED);
  /* As tarn_marker_says; the two are one where slots are trusted. */
  if (old == marking->epoch || (!trusts && old == marking->mark))
    return 0;
  if (TARN_UNLIKELY(!(trusts || old == marking->lived) || !is_block(*map, word, trusts)))
    return word | UNSURE;
  __atomic_store_n(byte, marking->mark, __ATOMIC_RELAXED);
  marking->marked++;
  marking->bytes += tarn_map_block_size(*map);
  return tarn_map_kind(*map) == TARN_KIND_CONTAINER ? word : 0;
}

/* The second step: marks, and fetches the objects that have to be scanned. */
static TARN_ALWAYS_INLINE size_t mark_all_of(struct tarn_marker *marker,
                                             const uintptr_t *candidates, size_t count,
                                             uintptr_t *objects, bool trusts) {
  struct marking marking = begin_marking(marker);
  size_t found = 0;
  for (size_t i = 0; i < count; i++) {
    uint64_t map;
    uintptr_t object = mark_candidate(&marking, candidates[i], trusts, &map);
    if (!object)
      continue;
    objects[found++] = object;
    fetch(candidates[i], map >> 32 & 0x1fff);
  }
  end_marking(marker, &marking);
  return found;
}

static size_t mark_batch(struct tarn_marker *marker, const uintptr_t *candidates, size_t count,
                         uintptr_t *objects) {
  return marker->trusts ? mark_all_of(marker, candidates, count, objects, true)
                        : mark_all_of(marker, candidates, count, objects, false);
}

/*
 * Marks a typed object of a pool that was handed out since the last collection, which is what a
 * young collection finds most; true if it is one: the same as mark_exact, without calls.  The start
 * of a block is what tarn_inline_is_start asks for.
 */
static inline bool mark_young(struct tarn_marker *marker, uintptr_t word, uint64_t *map) {
  *map = tarn_map_get(tarn_unit_of(word));
  const struct tarn_pool *pool = tarn_pool_of(word);
  uint32_t offset = (uint32_t)(word & (TARN_UNIT_SIZE - 1));
  if (tarn_map_form(*map) != TARN_FORM_POOL || tarn_map_kind(*map) == TARN_KIND_RAW ||
      offset >= pool->own.cursor || !tarn_inline_is_start(offset, tarn_map_low(*map)) ||
      offset + tarn_map_block_size(*map) > TARN_UNIT_SIZE ||
      tarn_mark_load(word) != TARN_MARK_NONE || *(const uintptr_t *)word == 0)
    return false;
  tarn_mark_store(word, marker->mark);
  count_marked(marker, *map);
  return true;
}

/* Marks a candidate of which the second step was unsure; true if it has to be scanned. */
static inline bool mark_unsure(struct tarn_marker *marker, uintptr_t word) {
  struct tarn_place place;
  uint64_t map;
  if (TARN_LIKELY(mark_young(marker, word, &map)))
    return tarn_map_kind(map) == TARN_KIND_CONTAINER;
  return mark_exact(marker, word, &place);
}

/* How deep the stack may be for one more object with all 64 bits. */
static size_t safe_depth(const struct tarn_marker *marker) {
  return marker->capacity < 64 ? 0 : marker->capacity - 64 + 1;
}

/* The stack, while objects are scanned; `most` is its depth up to which there is room for one.  And
 * what `put` needs. */
struct top {
  uintptr_t *stack;
  size_t depth, most;
  uintptr_t keep, base;
  size_t size;
};

static inline struct top top_of(const struct tarn_marker *marker) {
  return (struct top){.stack = marker->stack,
                      .depth = marker->depth,
                      .most = safe_depth(marker),
                      .keep = ~marker->tag_mask,
                      .base = tarn_space.base,
                      .size = tarn_space.size};
}

static TARN_ALWAYS_INLINE void put_top(struct top *top, uintptr_t word) {
  top->depth = put(top->stack, top->depth, word & top->keep, top->base, top->size);
}

/* Of any type, not only slots; what a trace function visited is put on the stack here, too. */
static TARN_ALWAYS_INLINE void scan_by_type(struct tarn_marker *marker, struct top *top,
                                            uintptr_t object) {
  const tarn_type *type = tarn_type_of((const void *)object);
  tarn_visitor *visitor = &marker->visits.visitor;
  marker->depth = top->depth;
  if (type->scan == TARN_SCAN_TRACE)
    type->trace((const void *)object, visitor);
  else
    scan(marker, object);
  top->stack = marker->stack;
  top->depth = marker->depth;
  top->most = safe_depth(marker);
  if (TARN_UNLIKELY(top->depth >= top->most))
    return; /* they wait for the next object's, or for the end */
  const uintptr_t *end = visitor->tarn_next;
  for (const uintptr_t *word = marker->visits.words; word < end; word++)
    put_top(top, *word);
  visitor->tarn_next = marker->visits.words;
}

/* The third step, of one object: marks it if that is unsure, and scans. */
static TARN_ALWAYS_INLINE void scan_one(struct tarn_marker *marker, struct top *top,
                                        uintptr_t object) {
  if (object & UNSURE) {
    object -= UNSURE;
    if (!mark_unsure(marker, object))
      return;
  }
  const uintptr_t *words = (const uintptr_t *)object;
  const tarn_type *type = tarn_type_of(words);
  tarn_type_check(marker->world, words);
  if (TARN_UNLIKELY(type->scan != TARN_SCAN_BITS || top->depth >= top->most)) {
    scan_by_type(marker, top, object);
    return;
  }
  for (uint64_t bits = type->bits; bits; bits &= bits - 1)
    put_top(top, words[__builtin_ctzll(bits)]);
}

static void scan_batch(struct tarn_marker *marker, const uintptr_t *objects, size_t count) {
  struct top top = top_of(marker);
  for (size_t i = 0; i < count; i++)
    scan_one(marker, &top, objects[i]);
  marker->depth = top.depth;
  tarn_visits_take(&marker->visits);
}

static void share(struct tarn_marker *marker, size_t scanned) {
  if (TARN_UNLIKELY(marker->until_share <= scanned))
    tarn_markers_share(marker);
  else
    marker->until_share -= (uint32_t)scanned;
}

/* Takes the few that there are; 0: none, too many, or an array's note is among them. */
static inline size_t take_few(const struct tarn_marker *marker, const struct top *top,
                              uintptr_t *few) {
  size_t count = top->depth - marker->low;
  uintptr_t bits = 0;
  if (count > NARROW)
    return 0;
  for (size_t i = 0; i < count; i++)
    bits |= few[i] = top->stack[marker->low + i];
  return bits & CONTINUES ? 0 : count;
}

/*
 * A narrow graph, such as a list, never has a batch's worth of candidates: the steps of a batch
 * would be gone through for one or two, with nothing to do while they are fetched.  So as long as
 * there are few, and none underway, each is marked and scanned at once.
 */
static TARN_ALWAYS_INLINE void chase_as(struct tarn_marker *marker, bool trusts) {
  struct marking marking = begin_marking(marker);
  struct top top = top_of(marker);
  uintptr_t few[NARROW];
  for (size_t count; (count = take_few(marker, &top, few)) != 0;) {
    top.depth = marker->low;
    while (count) {
      uint64_t map;
      uintptr_t object = mark_candidate(&marking, few[--count], trusts, &map);
      if (object)
        scan_one(marker, &top, object);
    }
    marker->depth = top.depth;
    share(marker, 1);
    top.depth = marker->depth;
  }
  marker->depth = top.depth;
  tarn_visits_take(&marker->visits);
  end_marking(marker, &marking);
}

static void chase(struct tarn_marker *marker) {
  if (marker->trusts)
    chase_as(marker, true);
  else
    chase_as(marker, false);
}

void tarn_mark_drain_stack(struct tarn_marker *marker) {
  uintptr_t candidates[TARN_BATCH], batches[2][TARN_BATCH];
  size_t taken = 0, counts[2] = {0, 0};
  unsigned older = 0; /* the batch to scan next, while the other is being fetched */
  do {
    scan_batch(marker, batches[older], counts[older]);
    share(marker, counts[older]);
    counts[older] = mark_batch(marker, candidates, taken, batches[older]);
    if (counts[0] + counts[1] == 0)
      chase(marker);
    taken = take_batch(marker, candidates);
    fetch_early(marker, candidates, taken);
    older ^= 1;
  } while (taken + counts[0] + counts[1] > 0);
  marker->low = marker->depth = 0;
}

/* Scans every marked object of a noted pool again. */
static void rescan_pool(struct tarn_pool *pool, void *data) {
  struct tarn_marker *marker = data;
  /* Acquire: pairs with note_overflow.  Helpers may note it again, and their word for that stands.
   */
  if (!__atomic_exchange_n(&pool->overflow, 0, __ATOMIC_ACQUIRE))
    return;
  size_t size = tarn_pool_block_size(pool);
  uintptr_t block = tarn_pool_base(pool);
  for (unsigned i = 0; i < pool->capacity; i++, block += size)
    /* No type: freed by hand, and parked beside condemned objects (heap/remote.h), mark and all. */
    if (tarn_marker_says(marker, tarn_mark_load(block)) && tarn_type_of((const void *)block)) {
      scan(marker, block);
      tarn_mark_drain_stack(marker);
    }
}

static void rescan_larges(struct tarn_marker *marker, struct tarn_heap *heap) {
  struct tarn_large *large;
  cds_list_for_each_entry(large, &heap->larges, node) {
    if (!__atomic_exchange_n(&large->overflow, 0, __ATOMIC_ACQUIRE)) /* as in rescan_pool */
      continue;
    scan(marker, large->base);
    tarn_mark_drain_stack(marker);
  }
}

static void rescan(struct tarn_marker *marker) {
  marker->overflow = false;
  tarn_store_each_pool(marker->store, rescan_pool, marker);
  for (unsigned i = 0; i < tarn_store_heap_limit(marker->store); i++)
    if (tarn_store_heap(marker->store, i))
      rescan_larges(marker, tarn_store_heap(marker->store, i));
}

void tarn_mark_drain(struct tarn_marker *marker) {
  struct tarn_collector *collector = marker->world->collector;
  tarn_markers_begin(collector);
  tarn_mark_drain_stack(marker);
  tarn_markers_finish(collector);
  while (marker->overflow) {
    tarn_markers_begin(collector);
    rescan(marker);
    tarn_markers_finish(collector);
  }
}

size_t tarn_mark_give(struct tarn_marker *marker, uintptr_t *entries, size_t most) {
  size_t half = (marker->depth - marker->low) / 2, count = half < most ? half : most;
  /* An array's two entries stay together. */
  if (count && (marker->stack[marker->low + count] & CONTINUES))
    count--;
  memcpy(entries, marker->stack + marker->low, count * sizeof *entries);
  marker->low += count;
  return count;
}

void tarn_mark_take(struct tarn_marker *marker, const uintptr_t *entries, size_t count) {
  marker->low = marker->depth = 0;
  for (size_t i = 0; i < count; i++) {
    uintptr_t next = i + 1 < count ? entries[i + 1] : 0;
    if (next & CONTINUES) {
      if (has_room(marker, 2)) {
        marker->stack[marker->depth++] = entries[i];
        marker->stack[marker->depth++] = next;
      } else {
        note_overflow(marker, entries[i], tarn_map_form(tarn_map_get(tarn_unit_of(entries[i]))));
      }
      i++;
    } else {
      push(marker, entries[i]);
    }
  }
}

/* --- roots ----------------------------------------------------------------------------------- */

static void mark_stack_word(void *data, uintptr_t word) { tarn_mark_conservative(data, word); }

static void mark_thread(struct tarn_marker *marker, struct tarn_mutator *mutator) {
  for (tarn_frame *frame = mutator->local.pub.tarn_frames; frame; frame = frame->previous)
    for (size_t i = 0; i < frame->count; i++)
      if (frame->slots[i])
        mark_root(marker, *(const uintptr_t *)frame->slots[i]);
  if (!mutator->scan_stack || !mutator->stack_low)
    return;
  tarn_stop_each_saved(mutator, mark_stack_word, marker);
  tarn_stop_each_word(mutator, mutator->stack_low, mark_stack_word, marker);
}

static void mark_slot(void **slot, void *data) { mark_root(data, (uintptr_t)*slot); }

static void mark_provider(tarn_root_fn fn, void *fn_data, void *data) {
  struct tarn_marker *marker = data;
  fn(&marker->visits.visitor, fn_data);
  tarn_visits_take(&marker->visits);
}

void tarn_mark_roots(struct tarn_marker *marker) {
  struct tarn_mutator *mutator, *requester = marker->world->stop.requester;
  if (requester)
    tarn_stop_save_stack(requester);
  cds_list_for_each_entry(mutator, &marker->world->registry.list, node)
      mark_thread(marker, mutator);
  tarn_roots_each(marker->world, mark_slot, mark_provider, marker);
}
