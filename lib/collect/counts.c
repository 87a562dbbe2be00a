/* SPDX-License-Identifier: MIT */
/*
 * collect/counts.c: see collect/counts.h.
 */
#include "collect/counts.h"
#include "collect/collector.h"
#include <string.h>

/* --- the set of finalized objects ------------------------------------------------------------ */

#define NEVER ((uintptr_t)0)
#define GONE ((uintptr_t)1)
#define FIRST ((size_t)64)

static struct tarn_finalized *set_of(struct tarn_collector *collector) {
  return &collector->cycles.finalized;
}

void tarn_finalized_start(struct tarn_collector *collector) {
  tarn_os_lock_init(&set_of(collector)->lock);
}

static void drop_entries(struct tarn_collector *collector, uintptr_t *entries, size_t capacity) {
  if (entries)
    tarn_meta_free(&collector->world->store.meta, entries, capacity * sizeof *entries);
}

void tarn_finalized_end(struct tarn_collector *collector) {
  struct tarn_finalized *set = set_of(collector);
  drop_entries(collector, set->entries, set->capacity);
  (void)pthread_mutex_destroy(&set->lock);
}

void tarn_finalized_lock(struct tarn_collector *collector) {
  (void)pthread_mutex_lock(&set_of(collector)->lock);
}
void tarn_finalized_unlock(struct tarn_collector *collector) {
  (void)pthread_mutex_unlock(&set_of(collector)->lock);
}

/* Where the object stands, or where it may be put; there is an entry that was never used. */
static uintptr_t *place_of(const struct tarn_finalized *set, uintptr_t object) {
  size_t at = (size_t)((object >> 4) * 0x9e3779b97f4a7c15u >> 20) & (set->capacity - 1);
  uintptr_t *gone = NULL;
  for (;; at = (at + 1) & (set->capacity - 1)) {
    uintptr_t *entry = &set->entries[at];
    if (*entry == object)
      return entry;
    if (*entry == NEVER)
      return gone ? gone : entry;
    if (*entry == GONE && !gone)
      gone = entry;
  }
}

/* Makes room for one more; under the lock. */
static bool make_room(struct tarn_collector *collector) {
  struct tarn_finalized *set = set_of(collector);
  if (set->entries && set->used < set->capacity / 2)
    return true;
  size_t count = atomic_load_explicit(&set->count, memory_order_relaxed), capacity = FIRST;
  while (capacity < count * 4)
    capacity *= 2;
  struct tarn_finalized old = {.entries = set->entries, .capacity = set->capacity};
  uintptr_t *entries =
      tarn_meta_alloc(&collector->world->store.meta, capacity * sizeof *set->entries);
  if (!entries)
    return false;
  set->entries = entries;
  set->capacity = capacity;
  set->used = count;
  for (size_t i = 0; i < old.capacity; i++)
    if (old.entries[i] > GONE)
      *place_of(set, old.entries[i]) = old.entries[i];
  drop_entries(collector, old.entries, old.capacity);
  return true;
}

/* False: it was there, or there is no memory, in which case its function may run once more. */
static bool add(struct tarn_collector *collector, uintptr_t object) {
  struct tarn_finalized *set = set_of(collector);
  bool is_new = true;
  tarn_finalized_lock(collector);
  if (make_room(collector)) {
    uintptr_t *entry = place_of(set, object);
    is_new = *entry != object;
    set->used += *entry == NEVER;
    *entry = object;
    /* Relaxed: a hint for who has the object. */
    atomic_fetch_add_explicit(&set->count, is_new, memory_order_relaxed);
  }
  tarn_finalized_unlock(collector);
  return is_new;
}

void tarn_finalized_forget(struct tarn_collector *collector, const void *object) {
  struct tarn_finalized *set = set_of(collector);
  if (atomic_load_explicit(&set->count, memory_order_relaxed) == 0)
    return;
  tarn_finalized_lock(collector);
  uintptr_t *entry = set->entries ? place_of(set, (uintptr_t)object) : NULL;
  if (entry && *entry == (uintptr_t)object) {
    *entry = GONE;
    atomic_fetch_sub_explicit(&set->count, 1, memory_order_relaxed);
  }
  tarn_finalized_unlock(collector);
}

bool tarn_finalize(struct tarn_collector *collector, tarn_thread *self, void *object) {
  const tarn_type *type = tarn_type_of(object);
  if (!type->finalize || !add(collector, (uintptr_t)object))
    return false;
  type->finalize(self, object);
  return true;
}

/* --- counting -------------------------------------------------------------------------------- */

/* Adds to the count; what it was. */
static size_t change(const tarn_type *type, void *object, int by, int order_release) {
  char *at = (char *)object + type->refs_at;
  if (type->refs_size == 4) {
    uint32_t *count = (uint32_t *)(void *)at;
    return order_release ? __atomic_fetch_add(count, (uint32_t)by, __ATOMIC_RELEASE)
                         : __atomic_fetch_add(count, (uint32_t)by, __ATOMIC_RELAXED);
  }
  size_t *count = (size_t *)(void *)at;
  return order_release ? __atomic_fetch_add(count, (size_t)by, __ATOMIC_RELEASE)
                       : __atomic_fetch_add(count, (size_t)by, __ATOMIC_RELAXED);
}

/* Pairs with the releases of those who gave up before.  Not a fence: ThreadSanitizer knows none. */
static void acquire(const tarn_type *type, const void *object) {
  const char *at = (const char *)object + type->refs_at;
  if (type->refs_size == 4)
    (void)__atomic_load_n((const uint32_t *)(const void *)at, __ATOMIC_ACQUIRE);
  else
    (void)__atomic_load_n((const size_t *)(const void *)at, __ATOMIC_ACQUIRE);
}

static bool is_immortal(const tarn_type *type, const void *object) {
  return tarn_refs_of_object(type, object) >= TARN_REFS_IMMORTAL;
}

void tarn_ref(tarn_thread *self, void *object) {
  const tarn_type *type = object ? tarn_type_of(object) : NULL;
  if (!type || !tarn_type_counts(type) || (type->refs_at && is_immortal(type, object)))
    return;
  if (type->ref)
    type->ref(self, object);
  else
    (void)change(type, object, 1, false);
}

bool tarn_ref_living(tarn_thread *self, void *object) {
  const tarn_type *type = object ? tarn_type_of(object) : NULL;
  if (!type || (!type->refs_at && !type->try_ref))
    return false;
  if (type->refs)
    return type->try_ref(self, object);
  char *at = (char *)object + type->refs_at;
  size_t count = tarn_refs_of_object(type, object);
  for (;;) {
    if (count == 0 || count >= TARN_REFS_IMMORTAL)
      return count != 0;
    bool done;
    if (type->refs_size == 4) {
      uint32_t small = (uint32_t)count;
      done = __atomic_compare_exchange_n((uint32_t *)(void *)at, &small, small + 1, false,
                                         __ATOMIC_RELAXED, __ATOMIC_RELAXED);
      count = small;
    } else {
      done = __atomic_compare_exchange_n((size_t *)(void *)at, &count, count + 1, false,
                                         __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    }
    if (done)
      return true;
  }
}

/* So many references go; true: the last ones. */
static bool count_down(const tarn_type *type, void *object, int by) {
  if (is_immortal(type, object))
    return false;
  size_t before = change(type, object, -by, true);
  if (before < (size_t)by)
    type->world->store.hooks->corrupt(&type->world->store, object,
                                      "a reference was given up, but there is none");
  if (before != (size_t)by)
    return false;
  acquire(type, object);
  return true;
}

/* --- deaths ---------------------------------------------------------------------------------- */

#define ON_STACK 64u
#define POLL_EVERY 64u

/* Objects that nobody refers to, and that are to die. */
struct tarn_dying {
  void **objects;
  size_t count, capacity;
  void *first[ON_STACK];
};

static bool grow(struct tarn_dying *dying) {
  size_t bytes = dying->capacity * sizeof *dying->objects;
  void **larger = tarn_os_map(bytes < 4096 ? 4096 : bytes * 2);
  if (!larger)
    return false;
  memcpy(larger, dying->objects, bytes);
  if (dying->objects != dying->first)
    tarn_os_unmap(dying->objects, bytes);
  dying->objects = larger;
  dying->capacity = (bytes < 4096 ? 4096 : bytes * 2) / sizeof *larger;
  return true;
}

struct unref_visits {
  struct tarn_visits visits; /* must be first: take() gets it */
  tarn_thread *self;
};

static void take(struct tarn_visits *visits, const uintptr_t *words, size_t count) {
  tarn_thread *self = ((struct unref_visits *)(void *)visits)->self;
  tarn_world *world = tarn_mutator_of(self)->world;
  const uintptr_t keep = ~world->tag_mask;
  struct tarn_place place;
  for (size_t i = 0; i < count; i++)
    if (tarn_find(world->store.id, words[i] & keep, false, &place) &&
        tarn_map_kind(place.map) != TARN_KIND_RAW)
      tarn_give_up(self, (void *)(words[i] & keep));
}

static void give_up_all(tarn_thread *self, const void *object) {
  struct unref_visits unref;
  unref.self = self;
  tarn_visits_begin(&unref.visits, take);
  tarn_scan_object_now(&unref.visits, object);
}

/* True: a function of the program has made a new reference. */
static bool is_saved(struct tarn_mutator *self, void *object) {
  const tarn_type *type = tarn_type_of(object);
  if (!type->finalize)
    return false;
  (void)change(type, object, 1, false); /* for the time of the call */
  (void)tarn_finalize(self->world->collector, tarn_thread_of(self), object);
  return !count_down(type, object, 1);
}

static void die(struct tarn_mutator *self, void *object) {
  if (is_saved(self, object))
    return;
  give_up_all(tarn_thread_of(self), object);
  tarn_free_outline(tarn_thread_of(self), object);
}

static void die_later(struct tarn_mutator *self, void *object) {
  struct tarn_dying *dying = self->dying;
  if (dying->count < dying->capacity || grow(dying))
    dying->objects[dying->count++] = object;
  else
    die(self, object);
}

static void die_now(struct tarn_mutator *self, void *object) {
  struct tarn_dying dying;
  dying.objects = dying.first;
  dying.capacity = ON_STACK;
  dying.first[0] = object;
  dying.count = 1;
  self->dying = &dying;
  for (unsigned deaths = 1; dying.count; deaths++) {
    die(self, dying.objects[--dying.count]);
    if (deaths % POLL_EVERY == 0) /* a chain may be long */
      tarn_stop_poll(self);
  }
  self->dying = NULL;
  if (dying.objects != dying.first)
    tarn_os_unmap(dying.objects, dying.capacity * sizeof *dying.objects);
}

/* As the library does it, for types without functions of their own. */
static void unref(struct tarn_mutator *self, void *object, int by) {
  const tarn_type *type = tarn_type_of(object);
  if (!type->refs_at || !count_down(type, object, by))
    return;
  if (self->dying)
    die_later(self, object);
  else
    die_now(self, object);
}

void tarn_give_up(tarn_thread *self, void *object) { tarn_give_up_many(self, object, 1); }

void tarn_give_up_many(tarn_thread *self, void *object, uint32_t count) {
  tarn_count_fn function = tarn_type_of(object)->unref;
  if (!function)
    unref(tarn_mutator_of(self), object, (int)count);
  else
    for (; count; count--)
      function(self, object);
}

void tarn_unref(tarn_thread *self, void *object) {
  if (!object)
    return;
  tarn_status status = tarn_thread_check_running(self);
  if (status != TARN_OK) {
    tarn_thread_fail(self, status);
    return;
  }
  const tarn_type *type = tarn_type_of(object);
  if (type->refs_at)
    unref(tarn_mutator_of(self), object, 1);
  else if (type->unref)
    type->unref(self, object);
}
