/* SPDX-License-Identifier: MIT */
/*
 * Maps from strings to values: open addressing, by the address of the key, for equal strings are
 * the same.
 *
 * The entries lie in a block of the atomic heap that is no object: the map alone knows of it, and
 * the library nothing.  So a map has functions:
 *
 *   map_trace   tells the references.  The world is stopped then, or the map is garbage or dying:
 *               nobody changes it, and a thread that was changing it has come to a safepoint with
 *               all in order.
 *   map_free    frees the block.  What the entries refer to was given up before, by the library,
 *               with the help of map_trace: when the count fell to zero, or, of garbage, all at
 * once. So there is no `clear` function: map_trace tells all that there is to clear.
 */
#include "object.h"

struct entry {
  struct string *key; /* NULL: the place is empty */
  void *value;
};

const tarn_type *map_type;

static void map_trace(const void *object, tarn_visitor *visitor) {
  const struct map *map = object;
  for (size_t i = 0; i < map->room; i++) {
    tarn_visit(visitor, map->entries[i].key);
    tarn_visit(visitor, map->entries[i].value);
  }
}

/* At the end of a world, which frees what is left, no thread is attached: then tarn_free does
 * nothing, and the block goes with the world. */
static void map_free(tarn_world *world, void *object) {
  tarn_free(tarn_thread_self(world), ((struct map *)object)->entries);
}

void map_start(tarn_world *world, tarn_status *status) {
  map_type = type_make(
      world,
      (tarn_type_spec){
          .name = "map", .size = sizeof(struct map), .trace = map_trace, .free = map_free},
      status);
}

struct map *map_new(tarn_thread *self) {
  return object_new(self, map_type);
}

static struct entry *place_of(struct entry *entries, size_t room, const struct string *key) {
  size_t i = key->object.hash & (room - 1);
  while (entries[i].key != NULL && entries[i].key != key)
    i = (i + 1) & (room - 1);
  return &entries[i];
}

/* The entries move, as in list.c. */
static bool grow(tarn_thread *self, struct map *map) {
  size_t room = map->room == 0 ? 8 : 2 * map->room;
  struct entry *old = map->entries, *larger = tarn_alloc_atomic_array(self, room, sizeof *larger);
  if (larger == NULL)
    return false;
  for (size_t i = 0; i < map->room; i++)
    if (old[i].key != NULL)
      *place_of(larger, room, old[i].key) = old[i];
  map->entries = larger;
  map->room = room;
  tarn_free(self, old);
  return true;
}

void *map_get(const struct map *map, const struct string *key) {
  return map->room == 0 ? NULL : place_of(map->entries, map->room, key)->value;
}

bool map_put(tarn_thread *self, struct map *map, struct string *key, void *value) {
  if (map->used * 4 >= map->room * 3 && !grow(self, map))
    return false;
  struct entry *entry = place_of(map->entries, map->room, key);
  void *old = entry->value;
  if (entry->key == NULL) {
    entry->key = ref(key);
    map->used++;
  }
  entry->value = ref(value);
  tarn_unref(self, old); /* last of all: `entry` may be gone afterwards */
  return true;
}

bool map_give(tarn_thread *self, struct map *map, struct string *key, void *value) {
  bool good = value != NULL && map_put(self, map, key, value);
  tarn_unref(self, value);
  return good;
}

bool map_next(const struct map *map, size_t *at, struct string **key, void **value) {
  while (*at < map->room && map->entries[*at].key == NULL)
    ++*at;
  if (*at == map->room)
    return false;
  *key = map->entries[*at].key;
  *value = map->entries[(*at)++].value;
  return true;
}
