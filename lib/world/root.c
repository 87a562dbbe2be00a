/* SPDX-License-Identifier: MIT */
/*
 * world/root.c: see world/root.h.  Open addressing with linear steps; a removed entry leaves
 * TARN_ROOT_GONE behind until the table is made anew.  A table is at most three quarters used.
 */
#include "world/root.h"
#include "world/world.h"
#include <string.h>

#define FIRST_CAPACITY ((size_t)64)

void tarn_roots_start(tarn_world *world) {
  memset(&world->roots, 0, sizeof world->roots);
  (void)pthread_mutex_init(&world->roots.lock, NULL);
}

static size_t hash(const void *key, const void *data) {
  uint64_t mixed = ((uintptr_t)key ^ (uintptr_t)data * 0x9e3779b97f4a7c15u) * 0xd6e8feb86659fd93u;
  return (size_t)(mixed ^ mixed >> 32);
}

/* The entry of (key, data), or NULL. */
static struct tarn_root_entry *find(const struct tarn_root_table *table, const void *key,
                                    const void *data) {
  size_t mask = table->capacity - 1;
  if (table->capacity == 0)
    return NULL;
  for (size_t i = hash(key, data) & mask; table->entries[i].key; i = (i + 1) & mask)
    if (table->entries[i].key == key && table->entries[i].data == data)
      return &table->entries[i];
  return NULL;
}

/* Into a table with room that does not have the pair. */
static void insert(struct tarn_root_table *table, const struct tarn_root_entry *entry) {
  size_t mask = table->capacity - 1;
  size_t i = hash(entry->key, entry->data) & mask;
  while (table->entries[i].key)
    i = (i + 1) & mask;
  table->entries[i] = *entry;
  table->used++;
  table->count++;
}

static bool is_live(const struct tarn_root_entry *entry) {
  return entry->key && entry->key != TARN_ROOT_GONE;
}

/* A new table without removed entries, twice as large as the live ones need. */
static bool rebuild(struct tarn_meta *meta, struct tarn_root_table *table) {
  size_t capacity = FIRST_CAPACITY;
  while (capacity < (table->count + 1) * 2)
    capacity *= 2;
  struct tarn_root_table grown = {.capacity = capacity};
  grown.entries = tarn_meta_alloc(meta, capacity * sizeof *grown.entries);
  if (!grown.entries)
    return false;
  for (size_t i = 0; i < table->capacity; i++)
    if (is_live(&table->entries[i]))
      insert(&grown, &table->entries[i]);
  tarn_meta_free(meta, table->entries, table->capacity * sizeof *table->entries);
  *table = grown;
  return true;
}

static tarn_status add(tarn_world *world, struct tarn_root_table *table, void *key, void *data) {
  tarn_status status = TARN_OK;
  (void)pthread_mutex_lock(&world->roots.lock);
  struct tarn_root_entry *entry = find(table, key, data);
  if (entry)
    entry->count++;
  else if ((table->used + 1) * 4 > table->capacity * 3 && !rebuild(&world->store.meta, table))
    status = TARN_ENOMEM;
  else
    insert(table, &(struct tarn_root_entry){.key = key, .data = data, .count = 1});
  (void)pthread_mutex_unlock(&world->roots.lock);
  return status;
}

static tarn_status take_away(tarn_world *world, struct tarn_root_table *table, void *key,
                             void *data) {
  (void)pthread_mutex_lock(&world->roots.lock);
  struct tarn_root_entry *entry = find(table, key, data);
  if (entry && --entry->count == 0) {
    entry->key = TARN_ROOT_GONE;
    entry->data = NULL;
    table->count--;
  }
  (void)pthread_mutex_unlock(&world->roots.lock);
  return entry ? TARN_OK : TARN_ENOTFOUND;
}

/* Pointers to functions and to data have the same bits wherever this library runs. */
static void *key_of(tarn_root_fn fn) { return (void *)(uintptr_t)fn; }
static tarn_root_fn fn_of(const void *key) { return (tarn_root_fn)(uintptr_t)key; }

static bool can_be_key(const void *key) { return key && key != TARN_ROOT_GONE; }

tarn_status tarn_root_add(tarn_world *world, void **slot) {
  return world && can_be_key(slot) ? add(world, &world->roots.slots, slot, NULL) : TARN_EINVAL;
}

tarn_status tarn_root_remove(tarn_world *world, void **slot) {
  return world && can_be_key(slot) ? take_away(world, &world->roots.slots, slot, NULL)
                                   : TARN_EINVAL;
}

tarn_status tarn_root_provider_add(tarn_world *world, tarn_root_fn fn, void *data) {
  return world && fn ? add(world, &world->roots.providers, key_of(fn), data) : TARN_EINVAL;
}

tarn_status tarn_root_provider_remove(tarn_world *world, tarn_root_fn fn, void *data) {
  return world && fn ? take_away(world, &world->roots.providers, key_of(fn), data) : TARN_EINVAL;
}

void tarn_roots_each(tarn_world *world, void (*slot)(void **slot, void *data),
                     void (*provider)(tarn_root_fn fn, void *fn_data, void *data), void *data) {
  struct tarn_roots *roots = &world->roots;
  (void)pthread_mutex_lock(&roots->lock);
  for (size_t i = 0; i < roots->slots.capacity; i++)
    if (is_live(&roots->slots.entries[i]))
      slot(roots->slots.entries[i].key, data);
  for (size_t i = 0; i < roots->providers.capacity; i++)
    if (is_live(&roots->providers.entries[i]))
      provider(fn_of(roots->providers.entries[i].key), roots->providers.entries[i].data, data);
  (void)pthread_mutex_unlock(&roots->lock);
}
