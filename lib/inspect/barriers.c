/* SPDX-License-Identifier: MIT */
/*
 * inspect/barriers.c: finds references that were stored without a barrier (option `verify`).
 *
 * Before the mark of a collection in a world with generations, the invariant of collect/cards.h
 * must hold.  An object that breaks it was stored to behind the collector's back; the process ends
 * with the object, the slot and what it refers to.  A word that appears in the object more than
 * once is taken for noted if any of its places is, for then it will be found.
 *
 * Everything belongs to the requester, while the world is stopped.
 */
#include "inspect/events.h"
#include <stdio.h>

/* The three sorts of blocks; a higher one is older. */
enum age { AGE_NEW, AGE_SURVIVED, AGE_OLD };

struct barriers {
  struct tarn_visits visits; /* must be first: take() gets it */
  tarn_world *world;
  uintptr_t block; /* the object that is looked at */
  size_t size;
  enum age age;
};

static enum age age_of(const tarn_world *world, uintptr_t block) {
  uint8_t byte = *tarn_mark_byte(block);
  uint8_t epoch = world->store.epoch;
  return byte == epoch ? AGE_OLD : byte == tarn_mark_survived(epoch) ? AGE_SURVIVED : AGE_NEW;
}

static bool is_noted(uintptr_t address) {
  /* Relaxed: the world is stopped. */
  return __atomic_load_n(tarn_card(address), __ATOMIC_RELAXED) != 0 &&
         __atomic_load_n(&tarn_space.dirty[tarn_unit_of(address)], __ATOMIC_RELAXED) != 0;
}

static const char *type_name(const tarn_world *world, const struct tarn_place *place) {
  const tarn_type *type = tarn_type_of((const void *)place->block);
  if (tarn_map_kind(place->map) == TARN_KIND_RAW)
    return "raw";
  return type && tarn_type_is_good(type, world) ? type->name : "none";
}

static _Noreturn void die(const struct barriers *barriers, uintptr_t slot,
                          const struct tarn_place *target) {
  char where[64] = "in its data block, or visited by its trace function";
  if (slot)
    (void)snprintf(where, sizeof where, "word %zu, at %p", (slot - barriers->block) / sizeof slot,
                   (void *)slot);
  const tarn_type *type = tarn_type_of((const void *)barriers->block);
  tarn_os_die("tarn: verify before the mark: object %p (%zu bytes, type %s) refers to a younger "
              "block %p (%zu bytes, type %s) that was stored without a barrier: %s",
              (void *)barriers->block, barriers->size, type->name, (void *)target->block,
              target->size, type_name(barriers->world, target), where);
}

/* The object refers to `word`, which names something younger. */
static void expect_note(const struct barriers *barriers, uintptr_t word,
                        const struct tarn_place *target) {
  uintptr_t mask = ~barriers->world->tag_mask, found = 0;
  if (is_noted(barriers->block))
    return;
  const uintptr_t *words = (const uintptr_t *)barriers->block;
  for (size_t i = 1; i < barriers->size / sizeof *words; i++)
    if ((words[i] & mask) == word) {
      found = (uintptr_t)&words[i];
      if (is_noted(found))
        return;
    }
  die(barriers, found, target);
}

static void check_word(struct barriers *barriers, uintptr_t word) {
  struct tarn_place target;
  word &= ~barriers->world->tag_mask;
  if (tarn_find(barriers->world->store.id, word, false, &target) &&
      tarn_place_in_use(&target, barriers->world->store.epoch) &&
      age_of(barriers->world, word) < barriers->age)
    expect_note(barriers, word, &target);
}

static void take(struct tarn_visits *visits, const uintptr_t *words, size_t count) {
  for (size_t i = 0; i < count; i++)
    check_word((struct barriers *)(void *)visits, words[i]);
}

/* After an object was freed by hand a weak reference may lead to whatever has its block now; then
 * the collection looks at all that is weak.  Relaxed: the world is stopped. */
static void check_weak(struct barriers *barriers, const uintptr_t *words, tarn_scan scan) {
  if (__atomic_load_n(&barriers->world->store.freed_marked, __ATOMIC_RELAXED))
    return;
  if (scan == TARN_SCAN_WEAK || scan == TARN_SCAN_EPHEMERON)
    check_word(barriers, words[1]);
  if (scan == TARN_SCAN_EPHEMERON)
    check_word(barriers, words[2]);
}

static bool check_block(const struct tarn_walked *walked, void *data) {
  struct barriers *barriers = data;
  barriers->block = walked->place.block;
  barriers->size = walked->place.size;
  if (!walked->in_use || tarn_map_kind(walked->place.map) != TARN_KIND_CONTAINER)
    return true;
  barriers->age = age_of(barriers->world, barriers->block);
  if (barriers->age == AGE_NEW)
    return true;
  const uintptr_t *words = (const uintptr_t *)barriers->block;
  check_weak(barriers, words, (tarn_scan)tarn_type_of(words)->scan);
  tarn_scan_object_now(&barriers->visits, words);
  return true;
}

void tarn_barriers_check(tarn_world *world) {
  struct barriers barriers = {.world = world};
  tarn_visits_begin(&barriers.visits, take);
  /* Before the first collection nothing is older than anything. */
  if (world->collector->generations.on && world->store.epoch != TARN_MARK_NONE)
    (void)tarn_walk_stopped(world, check_block, &barriers);
}
