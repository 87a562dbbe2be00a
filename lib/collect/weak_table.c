/* SPDX-License-Identifier: MIT */
/*
 * collect/weak_table.c: weak tables; see weak_table.h.
 *
 * Memory orders: everything in a shard is under its lock, or touched by the collector at a stop,
 * which the stop protocol orders.  `live` alone is atomic (relaxed), for tarn_weak_table_count.
 */
#include "collect/collector.h"
#include <string.h>

#define SHARDS 16u
#define SHARD_SHIFT 60 /* the top bits choose the shard, the low ones the place in it */
#define FIRST_CAPACITY 8u

/* Words 1 to 3 lie as in an ephemeron. */
struct entry {
  uintptr_t hash; /* 0: never used; TARN_ENTRY_GONE; else the hash */
  uintptr_t key;
  uintptr_t value;
  uintptr_t link; /* the collector's; 0 outside collections */
};
_Static_assert(sizeof(struct entry) == 4 * sizeof(uintptr_t), "an entry is a pair of ephemeron.h");

struct shard {
  pthread_mutex_t lock;
  struct entry *entries;
  uint32_t capacity; /* a power of two, or 0 */
  uint32_t used;     /* entries that are not 0, removed ones among them */
  uint8_t ages;
  _Atomic uint32_t live;
};

struct tarn_weak_table {
  _Alignas(64) struct shard shards[SHARDS];
  tarn_world *world;
  tarn_weak_table *next, *previous; /* in use; `next` also: doomed */
  tarn_weak_kind kind;
  uint64_t number;
  uint64_t (*hash)(const void *key, void *data);
  bool (*equal)(const void *probe, const void *key, void *data);
  void *data;
};

/* --- the list of tables ---------------------------------------------------------------------- */

tarn_status tarn_weak_tables_start(tarn_world *world) {
  struct tarn_weak_tables *tables = &tarn_collector_of(world)->tables;
  tables->list = tables->doomed = NULL;
  tables->busy = false;
  return pthread_mutex_init(&tables->lock, NULL) == 0 ? TARN_OK : TARN_ENOMEM;
}

static void free_table(tarn_weak_table *table) {
  struct tarn_meta *meta = &table->world->store.meta;
  for (unsigned i = 0; i < SHARDS; i++) {
    struct shard *shard = &table->shards[i];
    tarn_meta_free(meta, shard->entries, shard->capacity * sizeof(struct entry));
    (void)pthread_mutex_destroy(&shard->lock);
  }
  tarn_meta_free(meta, table, sizeof *table);
}

static void free_tables(tarn_weak_table *table) {
  while (table) {
    tarn_weak_table *next = table->next;
    free_table(table);
    table = next;
  }
}

void tarn_weak_tables_end(tarn_world *world) {
  struct tarn_weak_tables *tables = &tarn_collector_of(world)->tables;
  free_tables(tables->list);
  free_tables(tables->doomed);
  tables->list = tables->doomed = NULL;
  (void)pthread_mutex_destroy(&tables->lock);
}

static bool spec_is_good(const tarn_weak_table_spec *spec) {
  return spec && spec->struct_size >= sizeof *spec && (unsigned)spec->kind <= TARN_WEAK_VALUES &&
         !spec->hash == !spec->equal;
}

static void init_locks(tarn_weak_table *table) {
  for (unsigned i = 0; i < SHARDS; i++)
    (void)pthread_mutex_init(&table->shards[i].lock, NULL); /* with no attributes it cannot fail */
}

tarn_status tarn_weak_table_create(tarn_world *world, const tarn_weak_table_spec *spec,
                                   tarn_weak_table **out) {
  if (out)
    *out = NULL;
  if (!world || !out || !spec_is_good(spec))
    return TARN_EINVAL;
  if (world->config.counting)
    return TARN_EKIND;
  tarn_weak_table *table = tarn_meta_alloc(&world->store.meta, sizeof *table);
  if (!table)
    return TARN_ENOMEM;
  table->world = world;
  table->kind = spec->kind;
  table->hash = spec->hash;
  table->equal = spec->equal;
  table->data = spec->data;
  init_locks(table);
  struct tarn_weak_tables *tables = &tarn_collector_of(world)->tables;
  (void)pthread_mutex_lock(&tables->lock);
  table->number = ++tables->made;
  table->next = tables->list;
  if (table->next)
    table->next->previous = table;
  tables->list = table;
  (void)pthread_mutex_unlock(&tables->lock);
  *out = table;
  return TARN_OK;
}

void tarn_weak_table_destroy(tarn_weak_table *table) {
  if (!table)
    return;
  struct tarn_weak_tables *tables = &tarn_collector_of(table->world)->tables;
  (void)pthread_mutex_lock(&tables->lock);
  if (table->previous)
    table->previous->next = table->next;
  else
    tables->list = table->next;
  if (table->next)
    table->next->previous = table->previous;
  bool busy = tables->busy;
  if (busy) {
    /* The caller need not be attached, so a collection may be on and have links to entries. */
    table->next = tables->doomed;
    tables->doomed = table;
  }
  (void)pthread_mutex_unlock(&tables->lock);
  if (!busy)
    free_table(table);
}

/* --- shards ---------------------------------------------------------------------------------- */

static uint32_t live_of(struct shard *shard) {
  return atomic_load_explicit(&shard->live, memory_order_relaxed);
}

static void set_live(struct shard *shard, uint32_t live) {
  atomic_store_explicit(&shard->live, live, memory_order_relaxed);
}

/* Hashes of addresses and of users differ in few bits; shards and places need all of them mixed. */
static uintptr_t mix(uint64_t hash) {
  hash ^= hash >> 32;
  hash *= UINT64_C(0x9e3779b97f4a7c15);
  hash ^= hash >> 29;
  hash *= UINT64_C(0xd6e8feb86659fd93);
  hash ^= hash >> 32;
  return hash > TARN_ENTRY_GONE ? (uintptr_t)hash : (uintptr_t)hash + 2;
}

static uintptr_t hash_of(const tarn_weak_table *table, const void *probe) {
  return mix(table->hash ? table->hash(probe, table->data) : (uint64_t)(uintptr_t)probe);
}

static struct shard *shard_of(tarn_weak_table *table, uintptr_t hash) {
  return &table->shards[hash >> SHARD_SHIFT];
}

static struct entry *lookup(const tarn_weak_table *table, const struct shard *shard, uintptr_t hash,
                            const void *probe) {
  if (!shard->capacity)
    return NULL;
  uint32_t mask = shard->capacity - 1;
  for (uint32_t i = (uint32_t)hash & mask;; i = (i + 1) & mask) {
    struct entry *entry = &shard->entries[i];
    if (entry->hash == 0)
      return NULL;
    if (entry->hash == hash &&
        (table->equal ? table->equal(probe, (const void *)entry->key, table->data)
                      : (uintptr_t)probe == entry->key))
      return entry;
  }
}

/* The place for a new entry; one that was removed is used again. */
static struct entry *place_for(const struct shard *shard, uintptr_t hash) {
  uint32_t mask = shard->capacity - 1;
  uint32_t i = (uint32_t)hash & mask;
  while (shard->entries[i].hash > TARN_ENTRY_GONE)
    i = (i + 1) & mask;
  return &shard->entries[i];
}

/* New memory in which `live` entries and one more fill at most half; false: none, nothing changed.
 */
static bool resize(tarn_weak_table *table, struct shard *shard) {
  struct tarn_meta *meta = &table->world->store.meta;
  struct shard old = {.entries = shard->entries, .capacity = shard->capacity};
  uint64_t capacity = FIRST_CAPACITY;
  uint32_t live = live_of(shard);
  while (capacity < 2 * ((uint64_t)live + 1))
    capacity *= 2;
  if (capacity > UINT32_C(1) << 31)
    return false;
  struct entry *entries = tarn_meta_alloc(meta, (size_t)capacity * sizeof *entries);
  if (!entries)
    return false;
  shard->entries = entries;
  shard->capacity = (uint32_t)capacity;
  for (uint32_t i = 0; i < old.capacity; i++)
    if (old.entries[i].hash > TARN_ENTRY_GONE)
      *place_for(shard, old.entries[i].hash) = old.entries[i];
  shard->used = live;
  tarn_meta_free(meta, old.entries, old.capacity * sizeof *entries);
  return true;
}

/* After mass death or many removals.  Failure is no harm. */
static void shrink(tarn_weak_table *table, struct shard *shard) {
  if (shard->capacity > FIRST_CAPACITY && live_of(shard) < shard->capacity / 8)
    (void)resize(table, shard);
}

/* Room for one more: three quarters full is enough, but without memory nearly full has to do. */
static bool make_room(tarn_weak_table *table, struct shard *shard) {
  uint64_t used = (uint64_t)shard->used + 1;
  if (used * 4 <= (uint64_t)shard->capacity * 3 || resize(table, shard))
    return true;
  return used * 16 <= (uint64_t)shard->capacity * 15;
}

static bool insert(tarn_weak_table *table, struct shard *shard, const struct entry *entry) {
  shrink(table, shard);
  if (!make_room(table, shard))
    return false;
  struct entry *place = place_for(shard, entry->hash);
  if (place->hash == 0)
    shard->used++;
  *place = *entry;
  set_live(shard, live_of(shard) + 1);
  return true;
}

/*
 * The link stays: the collector may have the entry on a list.  It then needs the key as well, to
 * find the entry there and to take the watch off the key.
 */
static void bury(struct shard *shard, struct entry *entry) {
  entry->hash = TARN_ENTRY_GONE;
  if (!entry->link)
    entry->key = 0;
  entry->value = 0;
  set_live(shard, live_of(shard) - 1);
}

/* --- for mutators ---------------------------------------------------------------------------- */

static bool may_use(tarn_thread *self, const tarn_weak_table *table, const void *probe) {
  tarn_status status = tarn_thread_check_running(self);
  if (status == TARN_OK && (!table || !probe || table->world != tarn_mutator_of(self)->world))
    status = TARN_EINVAL;
  if (status != TARN_OK)
    tarn_thread_fail(self, status);
  return status == TARN_OK;
}

void *tarn_weak_table_get(tarn_thread *self, tarn_weak_table *table, const void *probe,
                          void **value) {
  void *key = NULL, *found = NULL;
  if (may_use(self, table, probe)) {
    uintptr_t hash = hash_of(table, probe);
    struct shard *shard = shard_of(table, hash);
    (void)pthread_mutex_lock(&shard->lock);
    const struct entry *entry = lookup(table, shard, hash, probe);
    if (entry) {
      key = (void *)entry->key;
      found = (void *)entry->value;
    }
    (void)pthread_mutex_unlock(&shard->lock);
  }
  if (value)
    *value = found;
  return key;
}

void *tarn_weak_table_put(tarn_thread *self, tarn_weak_table *table, void *key, void *value,
                          bool replace) {
  if (!may_use(self, table, key))
    return NULL;
  uintptr_t word = table->kind == TARN_WEAK_SET ? 0 : (uintptr_t)value;
  uintptr_t hash = hash_of(table, key);
  struct shard *shard = shard_of(table, hash);
  (void)pthread_mutex_lock(&shard->lock);
  struct entry *entry = lookup(table, shard, hash, key);
  void *result = NULL;
  shard->ages |= TARN_AGE_YOUNG;
  if (entry) {
    if (replace)
      entry->value = word;
    result = (void *)entry->key;
  } else if (insert(table, shard,
                    &(struct entry){.hash = hash, .key = (uintptr_t)key, .value = word})) {
    result = key;
  }
  (void)pthread_mutex_unlock(&shard->lock);
  if (!result)
    tarn_thread_fail(self, TARN_ENOMEM);
  return result;
}

bool tarn_weak_table_remove(tarn_thread *self, tarn_weak_table *table, const void *probe) {
  if (!may_use(self, table, probe))
    return false;
  uintptr_t hash = hash_of(table, probe);
  struct shard *shard = shard_of(table, hash);
  (void)pthread_mutex_lock(&shard->lock);
  struct entry *entry = lookup(table, shard, hash, probe);
  if (entry) {
    bury(shard, entry);
    shrink(table, shard);
  }
  (void)pthread_mutex_unlock(&shard->lock);
  return entry != NULL;
}

size_t tarn_weak_table_count(tarn_weak_table *table) {
  size_t count = 0;
  for (unsigned i = 0; table && i < SHARDS; i++)
    count += live_of(&table->shards[i]);
  return count;
}

/* Those of a shard, behind the `count` that are there; how many there are now. */
static size_t copy_entries(struct shard *shard, void **keys, void **values, size_t count,
                           size_t most) {
  (void)pthread_mutex_lock(&shard->lock);
  for (uint32_t i = 0; i < shard->capacity && count < most; i++) {
    const struct entry *entry = &shard->entries[i];
    if (entry->hash <= TARN_ENTRY_GONE)
      continue;
    if (keys)
      keys[count] = (void *)entry->key;
    if (values)
      values[count] = (void *)entry->value;
    count++;
  }
  (void)pthread_mutex_unlock(&shard->lock);
  return count;
}

size_t tarn_weak_table_entries(tarn_thread *self, tarn_weak_table *table, void **keys,
                               void **values, size_t most) {
  size_t count = 0;
  if (!may_use(self, table, table)) /* there is no probe */
    return 0;
  for (unsigned i = 0; i < SHARDS; i++)
    count = copy_entries(&table->shards[i], keys, values, count, most);
  return count;
}

/* --- for the collector, and for whoever has the world stopped -------------------------------- */

/* What is done to one entry in use; the result is added up. */
typedef size_t (*entry_fn)(tarn_weak_table *table, struct shard *shard, struct entry *entry,
                           void *data);

static size_t each_of_shard(tarn_weak_table *table, struct shard *shard, entry_fn fn, void *data) {
  size_t sum = 0;
  if (live_of(shard))
    for (uint32_t i = 0; i < shard->capacity; i++)
      if (shard->entries[i].hash > TARN_ENTRY_GONE)
        sum += fn(table, shard, &shard->entries[i], data);
  return sum;
}

#define ALL_AGES 0xffu /* none among them */

/* Shards of which ages belong to the running collection. */
static unsigned ages_of(const struct tarn_collector *collector) {
  return collector->weak.all          ? ALL_AGES
         : collector->generation == 0 ? TARN_AGE_YOUNG
                                      : TARN_AGE_YOUNG | TARN_AGE_AGED;
}

/* Every entry of the tables whose kind has its bit in `kinds`, and of the shards of these ages. */
static size_t each_entry(struct tarn_collector *collector, unsigned kinds, unsigned ages,
                         entry_fn fn, void *data) {
  size_t sum = 0;
  (void)pthread_mutex_lock(&collector->tables.lock);
  for (tarn_weak_table *table = collector->tables.list; table; table = table->next)
    for (unsigned i = 0; (kinds >> table->kind & 1) && i < SHARDS; i++)
      if (ages == ALL_AGES || (table->shards[i].ages & ages))
        sum += each_of_shard(table, &table->shards[i], fn, data);
  (void)pthread_mutex_unlock(&collector->tables.lock);
  return sum;
}

#define KIND_BIT(kind) (1u << (kind))
#define ALL_KINDS (~0u)

static size_t mark_key(tarn_weak_table *table, struct shard *shard, struct entry *entry,
                       void *data) {
  (void)table, (void)shard;
  tarn_mark_word(data, entry->key);
  return 0;
}

void tarn_weak_tables_roots(struct tarn_collector *collector) {
  (void)pthread_mutex_lock(&collector->tables.lock);
  collector->tables.busy = true;
  (void)pthread_mutex_unlock(&collector->tables.lock);
  (void)each_entry(collector, KIND_BIT(TARN_WEAK_VALUES), ages_of(collector), mark_key,
                   &collector->marker);
}

static size_t offer(tarn_weak_table *table, struct shard *shard, struct entry *entry, void *data) {
  (void)table, (void)shard;
  return tarn_ephemeron_entry(data, &entry->hash);
}

bool tarn_weak_tables_keys(struct tarn_collector *collector) {
  return each_entry(collector, KIND_BIT(TARN_WEAK_KEYS), ages_of(collector), offer, collector) != 0;
}

static size_t clear_dead(tarn_weak_table *table, struct shard *shard, struct entry *entry,
                         void *data) {
  uintptr_t weak = table->kind == TARN_WEAK_VALUES ? entry->value : entry->key;
  if (!tarn_weak_is_dead(data, weak))
    return 0;
  bury(shard, entry);
  return 1;
}

size_t tarn_weak_tables_clear(struct tarn_collector *collector) {
  return each_entry(collector, ALL_KINDS, ages_of(collector), clear_dead, &collector->marker);
}

/* What was young has survived; in a collection of more than generation 0 everything is old now. */
static void grow_older(tarn_weak_table *table, int generation) {
  for (unsigned i = 0; i < SHARDS; i++)
    table->shards[i].ages = generation == 0 && table->shards[i].ages ? TARN_AGE_AGED : 0;
}

void tarn_weak_tables_finish(struct tarn_collector *collector) {
  (void)pthread_mutex_lock(&collector->tables.lock);
  for (tarn_weak_table *table = collector->tables.list; table; table = table->next)
    grow_older(table, collector->generation);
  tarn_weak_table *doomed = collector->tables.doomed;
  collector->tables.doomed = NULL;
  collector->tables.busy = false;
  (void)pthread_mutex_unlock(&collector->tables.lock);
  free_tables(doomed);
}

struct forget {
  uintptr_t mask;
  tarn_gone_fn gone;
  void *data;
};

static size_t forget_gone(tarn_weak_table *table, struct shard *shard, struct entry *entry,
                          void *data) {
  const struct forget *forget = data;
  bool value_gone = forget->gone(entry->value & forget->mask, forget->data);
  if (forget->gone(entry->key & forget->mask, forget->data) ||
      (value_gone && table->kind == TARN_WEAK_VALUES))
    bury(shard, entry);
  else if (value_gone)
    entry->value = 0;
  return 0;
}

void tarn_weak_tables_forget(struct tarn_collector *collector, tarn_gone_fn gone, void *data) {
  struct forget forget = {.mask = ~collector->world->tag_mask, .gone = gone, .data = data};
  (void)each_entry(collector, ALL_KINDS, ALL_AGES, forget_gone, &forget);
}

/* --- snapshots ------------------------------------------------------------------------------- */

static void tell_entries(const tarn_weak_table *table, const struct tarn_weak_told *told,
                         tarn_weak_entry_fn fn, void *data) {
  for (unsigned i = 0; i < SHARDS; i++) {
    const struct shard *shard = &table->shards[i];
    for (uint32_t j = 0; j < shard->capacity; j++)
      if (shard->entries[j].hash > TARN_ENTRY_GONE)
        fn(data, told, shard->entries[j].key, shard->entries[j].value);
  }
}

void tarn_weak_tables_each(struct tarn_collector *collector, tarn_weak_table_fn table_fn,
                           tarn_weak_entry_fn told_fn, void *data) {
  (void)pthread_mutex_lock(&collector->tables.lock);
  for (tarn_weak_table *table = collector->tables.list; table; table = table->next) {
    struct tarn_weak_told told = {.number = table->number, .kind = table->kind};
    for (unsigned i = 0; i < SHARDS; i++)
      told.count += live_of(&table->shards[i]);
    table_fn(data, &told);
    tell_entries(table, &told, told_fn, data);
  }
  (void)pthread_mutex_unlock(&collector->tables.lock);
}

/* --- fork ------------------------------------------------------------------------------------ */

/*
 * The list's lock alone: who has a shard's is running, and the world is stopped.  So the child
 * finds all of them open, and a fork does not hold sixteen more locks for each table, of which
 * ThreadSanitizer, for one, cannot count more than 64.
 */
void tarn_weak_tables_lock(struct tarn_collector *collector) {
  (void)pthread_mutex_lock(&collector->tables.lock);
}

void tarn_weak_tables_unlock(struct tarn_collector *collector) {
  (void)pthread_mutex_unlock(&collector->tables.lock);
}
