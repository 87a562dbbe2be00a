/* SPDX-License-Identifier: MIT */
/*
 * inspect/profile.c: taking samples, and noticing that they die.  See profile.h.
 */
#include "inspect/profile.h"
#include "collect/collector.h"
#include "os/stack.h"
#include <stdio.h>
#include <string.h>

#define HASH_STEP UINT64_C(0x9e3779b97f4a7c15)
#define FIRST_SLOTS 512u

static uint64_t mix(uint64_t hash, uint64_t more) {
  hash = (hash ^ more) * HASH_STEP;
  return hash ^ hash >> 29;
}

static struct tarn_profile *profile_of(struct tarn_store *store) {
  return (struct tarn_profile *)(void *)store->sampling;
}

static void lock(struct tarn_store *store) { (void)pthread_mutex_lock(&store->sampling_lock); }
static void unlock(struct tarn_store *store) { (void)pthread_mutex_unlock(&store->sampling_lock); }

/* --- strings and names ----------------------------------------------------------------------- */

/* What readers of the formats could not take: they want UTF-8, lines, and ';' between calls. */
static size_t clean(const char *from, char to[TARN_PROFILE_STRING_MOST + 1]) {
  size_t length = 0;
  while (from[length]) {
    unsigned char c = (unsigned char)from[length];
    size_t bytes = tarn_out_utf8(from + length);
    if (length + (bytes ? bytes : 1) > TARN_PROFILE_STRING_MOST)
      break;
    memcpy(to + length, from + length, bytes);
    if (bytes < 2)
      to[length] = bytes == 0 || c < ' ' || c == 0x7f ? '?' : c == ';' ? ':' : (char)c;
    length += bytes ? bytes : 1;
  }
  to[length] = '\0';
  return length;
}

static uint32_t add_string(struct tarn_profile *profile, const char *text, size_t length) {
  /* One stays free for what does not fit. */
  if (profile->strings + 1 >= TARN_PROFILE_STRINGS ||
      length + 1 + sizeof "(others)" > TARN_PROFILE_TEXT - profile->text_used)
    return UINT32_MAX;
  memcpy(profile->text + profile->text_used, text, length + 1);
  profile->string[profile->strings] = (uint32_t)profile->text_used;
  profile->text_used += length + 1;
  return profile->strings++;
}

/* The number of a string; that of "(others)", if there is no room. */
static uint32_t string_of(struct tarn_profile *profile, const char *from) {
  char text[TARN_PROFILE_STRING_MOST + 1];
  size_t length = clean(from, text);
  uint64_t hash = length;
  for (size_t i = 0; i < length; i++)
    hash = mix(hash, (unsigned char)text[i]);
  uint32_t mask = 2 * TARN_PROFILE_STRINGS - 1, at = (uint32_t)(hash & mask);
  for (; profile->string_at[at]; at = (at + 1) & mask) {
    uint32_t number = profile->string_at[at] - 1;
    if (strcmp(profile->text + profile->string[number], text) == 0)
      return number;
  }
  uint32_t number = add_string(profile, text, length);
  if (number == UINT32_MAX)
    return 1;
  profile->string_at[at] = number + 1;
  return number;
}

/* The string of a type's name.  A type is there as long as its world, with the same name. */
static uint32_t string_of_type(struct tarn_profile *profile, const tarn_type *type) {
  if (!type)
    return 0;
  struct tarn_profile_type *known =
      &profile->type[mix(0, (uintptr_t)type) >> 32 & (TARN_PROFILE_TYPES - 1)];
  if (known->type != type)
    *known = (struct tarn_profile_type){type, string_of(profile, type->name)};
  return known->string;
}

static uint32_t name_of(struct tarn_profile *profile, const tarn_profile_frame *frame) {
  struct tarn_profile_name wanted = {
      .name = string_of(profile, frame->name && frame->name[0] ? frame->name : "(anonymous)"),
      .file = string_of(profile, frame->file ? frame->file : ""),
      .line = frame->line};
  uint64_t hash = mix(mix(wanted.name, wanted.file), wanted.line);
  uint32_t mask = 2 * TARN_PROFILE_NAMES - 1, at = (uint32_t)(hash & mask);
  for (; profile->name_at[at]; at = (at + 1) & mask) {
    const struct tarn_profile_name *name = &profile->name[profile->name_at[at] - 1];
    if (name->name == wanted.name && name->file == wanted.file && name->line == wanted.line)
      return profile->name_at[at] - 1;
  }
  if (profile->names == TARN_PROFILE_NAMES)
    return 0;
  profile->name[profile->names] = wanted;
  profile->name_at[at] = ++profile->names;
  return profile->names - 1;
}

/* --- places ---------------------------------------------------------------------------------- */

static uint64_t hash_of(const struct tarn_profile_place *place) {
  uint64_t hash = mix(mix(place->size, place->type), place->stack.calls);
  for (uint32_t i = 0; i < place->stack.calls; i++)
    hash = mix(hash, place->stack.call[i]);
  for (uint32_t i = 0; i < place->stack.frames; i++)
    hash = mix(hash, place->stack.frame[i]);
  return hash;
}

static bool is_same(const struct tarn_profile_place *a, const struct tarn_profile_place *b) {
  return a->hash == b->hash && a->size == b->size && a->type == b->type &&
         a->stack.calls == b->stack.calls && a->stack.frames == b->stack.frames &&
         memcmp(a->stack.call, b->stack.call, a->stack.calls * sizeof a->stack.call[0]) == 0 &&
         memcmp(a->stack.frame, b->stack.frame, a->stack.frames * sizeof a->stack.frame[0]) == 0;
}

static void grow_places(struct tarn_profile *profile) {
  uint32_t mask = profile->place_mask;
  memset(profile->place_at, 0, (mask + 1) * sizeof profile->place_at[0]);
  profile->place_mask = mask = 2 * mask + 1;
  for (uint32_t i = 0; i < profile->places; i++) {
    uint64_t hash = profile->place[i].hash;
    uint32_t at = (uint32_t)hash & mask;
    while (profile->place_at[at].number)
      at = (at + 1) & mask;
    profile->place_at[at] = (struct tarn_profile_slot){i + 1, (uint32_t)(hash >> 32)};
  }
}

/* The place's number; UINT32_MAX: no room. */
static uint32_t place_of(struct tarn_profile *profile, struct tarn_profile_place *wanted) {
  wanted->hash = hash_of(wanted);
  uint32_t mask = profile->place_mask, at = (uint32_t)wanted->hash & mask;
  uint32_t upper = (uint32_t)(wanted->hash >> 32);
  const struct tarn_profile_slot *slots = profile->place_at;
  for (; slots[at].number; at = (at + 1) & mask)
    if (slots[at].hash == upper && is_same(&profile->place[slots[at].number - 1], wanted))
      return slots[at].number - 1;
  if (profile->places == TARN_PROFILE_PLACES)
    return UINT32_MAX;
  profile->place[profile->places] = *wanted;
  profile->place_at[at] = (struct tarn_profile_slot){++profile->places, upper};
  if (profile->places > mask / 2 && profile->places < TARN_PROFILE_PLACES)
    grow_places(profile);
  return profile->places - 1;
}

/* --- entries --------------------------------------------------------------------------------- */

static uint32_t entry_hash(uintptr_t block) {
  return (uint32_t)(mix(0, (uint64_t)block >> TARN_GRANULE_SHIFT) >> 20);
}

static _Atomic uint8_t *seen_of(struct tarn_profile *profile, uintptr_t block) {
  return &profile->seen[entry_hash(block) & 0xffff];
}

/* Under the lock, which orders the writers.  Relaxed: see the head of profile.h.  Where a count has
 * come to its end it stays there. */
static void count_seen(struct tarn_profile *profile, uintptr_t block, int by) {
  _Atomic uint8_t *seen = seen_of(profile, block);
  uint8_t count = atomic_load_explicit(seen, memory_order_relaxed);
  if (count != UINT8_MAX)
    atomic_store_explicit(seen, (uint8_t)(count + by), memory_order_relaxed);
}

/* Where the entry of a block stands in the index, or would stand. */
static uint32_t find_entry(const struct tarn_profile *profile, uintptr_t block) {
  uint32_t mask = profile->entry_mask, at = entry_hash(block) & mask;
  while (profile->entry_at[at] && profile->entry[profile->entry_at[at] - 1].block != block)
    at = (at + 1) & mask;
  return at;
}

static void grow_entries(struct tarn_profile *profile) {
  uint32_t mask = profile->entry_mask;
  memset(profile->entry_at, 0, (mask + 1) * sizeof profile->entry_at[0]);
  profile->entry_mask = 2 * mask + 1;
  for (uint32_t i = 0; i < profile->entries; i++)
    profile->entry_at[find_entry(profile, profile->entry[i].block)] = i + 1;
}

static bool add_entry(struct tarn_profile *profile, uintptr_t block, uint32_t place) {
  if (profile->entries == TARN_PROFILE_ENTRIES)
    return false;
  uint32_t at = find_entry(profile, block);
  TARN_ASSERT(profile->entry_at[at] == 0);
  profile->entry[profile->entries] = (struct tarn_profile_entry){block, place};
  profile->entry_at[at] = ++profile->entries;
  if (profile->entries > profile->entry_mask / 2 && profile->entries < TARN_PROFILE_ENTRIES)
    grow_entries(profile);
  profile->place[place].living++;
  count_seen(profile, block, 1);
  return true;
}

/* Others of the row move up, so that none is cut off from where it belongs. */
static void close_gap(struct tarn_profile *profile, uint32_t gap) {
  uint32_t mask = profile->entry_mask;
  for (uint32_t at = (gap + 1) & mask; profile->entry_at[at]; at = (at + 1) & mask) {
    uint32_t home = entry_hash(profile->entry[profile->entry_at[at] - 1].block) & mask;
    if (((at - home) & mask) < ((at - gap) & mask))
      continue;
    profile->entry_at[gap] = profile->entry_at[at];
    gap = at;
  }
  profile->entry_at[gap] = 0;
}

/* The last entry takes its number. */
static void drop_entry(struct tarn_profile *profile, uint32_t at) {
  uint32_t number = profile->entry_at[at] - 1;
  struct tarn_profile_entry *entry = &profile->entry[number];
  profile->place[entry->place].living--;
  count_seen(profile, entry->block, -1);
  close_gap(profile, at);
  if (number != profile->entries - 1) {
    struct tarn_profile_entry last = profile->entry[profile->entries - 1];
    profile->entry_at[find_entry(profile, last.block)] = number + 1;
    *entry = last;
  }
  profile->entries--;
}

/* --- what heap/sample.h calls ---------------------------------------------------------------- */

/* The functions by which programs come into a malloc, and which call each other: a section of their
 * own, if they are there. */
extern const char __start_tarn_front[] __attribute__((weak, visibility("hidden")));
extern const char __stop_tarn_front[] __attribute__((weak, visibility("hidden")));

static bool is_front(uintptr_t call) {
  uintptr_t start = (uintptr_t)__start_tarn_front;
  return call - 1 - start < (uintptr_t)__stop_tarn_front - start;
}

/* The calls that led to the public function that the program called. */
static void note_calls(const struct tarn_mutator *self, struct tarn_profile_stack *stack) {
  uintptr_t found[TARN_PROFILE_CALLS + 16];
  unsigned count = tarn_os_stack(found, sizeof found / sizeof found[0]), from = 0;
  uintptr_t caller = __atomic_load_n(&self->came_by, __ATOMIC_RELAXED);
  while (from < count && found[from] != caller)
    from++;
  if (from == count)
    from = 0; /* better too much than nothing */
  while (from < count && is_front(found[from]))
    from++;
  stack->calls = 0;
  if (count == 0 && caller)
    stack->call[stack->calls++] = caller; /* it is all that is known */
  for (unsigned i = from; i < count && stack->calls < TARN_PROFILE_CALLS; i++)
    stack->call[stack->calls++] = found[i];
}

static void take(struct tarn_local *local, const void *block, size_t size) {
  struct tarn_store *store = local->store;
  struct tarn_profile *profile = profile_of(store);
  tarn_profile_frame frames[TARN_PROFILE_FRAMES];
  const tarn_type *type = local->making;
  struct tarn_profile_place place; /* large, and most of it stays unused */
  size_t count = 0;
  place.size = size;
  place.made = place.living = place.stack.frames = 0;
  note_calls(tarn_mutator_of_local(local), &place.stack);
  lock(store);
  tarn_profile_frames_fn fn = profile->frames_fn;
  void *data = profile->frames_data;
  if (fn) { /* the program's own */
    unlock(store);
    count = fn(&local->pub, frames, TARN_PROFILE_FRAMES, data);
    lock(store);
  }
  for (size_t i = 0; i < count && i < TARN_PROFILE_FRAMES; i++)
    place.stack.frame[place.stack.frames++] = name_of(profile, &frames[i]);
  place.type = string_of_type(profile, type);
  uint32_t number = place_of(profile, &place);
  profile->samples++;
  if (number != UINT32_MAX)
    profile->place[number].made++;
  if (number == UINT32_MAX || !add_entry(profile, (uintptr_t)block, number))
    profile->dropped++;
  unlock(store);
}

static void freed(struct tarn_store *store, const void *block) {
  struct tarn_profile *profile = profile_of(store);
  if (atomic_load_explicit(seen_of(profile, (uintptr_t)block), memory_order_relaxed) == 0)
    return;
  lock(store);
  uint32_t at = find_entry(profile, (uintptr_t)block);
  if (profile->entry_at[at])
    drop_entry(profile, at);
  unlock(store);
}

#define AHEAD 8u

static void died(struct tarn_store *store, bool (*dead)(uintptr_t block, void *data), void *data) {
  struct tarn_profile *profile = profile_of(store);
  lock(store);
  for (uint32_t i = profile->entries; i-- > 0;) { /* the last one takes a dropped one's place */
    uintptr_t block = profile->entry[i].block;
    if (i >= AHEAD) /* it will be asked for */
      __builtin_prefetch(tarn_mark_byte(profile->entry[i - AHEAD].block));
    if (dead(block, data))
      drop_entry(profile, find_entry(profile, block));
  }
  unlock(store);
}

static void blind(struct tarn_store *store) {
  /* Relaxed: a figure. */
  atomic_fetch_add_explicit(&profile_of(store)->blind, 1, memory_order_relaxed);
}

/* --- birth, death, copies -------------------------------------------------------------------- */

size_t tarn_profile_whole_pages(size_t bytes) {
  size_t page = tarn_os_page_size();
  return (bytes + page - 1) & ~(page - 1);
}

struct tarn_profile *tarn_profile_make(uint64_t rate) {
  struct tarn_profile *profile = tarn_os_map(tarn_profile_whole_pages(sizeof *profile));
  if (!profile)
    return NULL;
  profile->sampling = (struct tarn_sampling){
      .rate = rate, .take = take, .freed = freed, .died = died, .blind = blind};
  profile->place_mask = profile->entry_mask = FIRST_SLOTS - 1;
  profile->begun = tarn_os_now();
  (void)string_of(profile, "");
  (void)string_of(profile, "(others)");
  (void)name_of(profile, &(tarn_profile_frame){.name = "(others)"});
  return profile;
}

void tarn_profile_drop(struct tarn_profile *profile) {
  if (profile)
    tarn_os_unmap(profile, tarn_profile_whole_pages(sizeof *profile));
}

struct tarn_profile *tarn_profile_copy(const struct tarn_profile *profile) {
  struct tarn_profile *copy = tarn_os_map(tarn_profile_whole_pages(sizeof *copy));
  if (!copy)
    return NULL;
  memcpy(copy, profile, offsetof(struct tarn_profile, place));
  memcpy(copy->place, profile->place, profile->places * sizeof profile->place[0]);
  memcpy(copy->name, profile->name, profile->names * sizeof profile->name[0]);
  memcpy(copy->string, profile->string, profile->strings * sizeof profile->string[0]);
  memcpy(copy->text, profile->text, profile->text_used);
  return copy;
}
