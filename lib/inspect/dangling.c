/* SPDX-License-Identifier: MIT */
/*
 * inspect/dangling.c: references to what an earlier collection took (options `verify` and `apart`).
 *
 * A program that holds an object in no root may go on using it, and store it into others, after a
 * collection took it.  A collector that finds such a word in a slot ignores it, as any word may
 * stand there.  But where the dead are known by name this one cannot be meant: a live object or a
 * root refers to exactly the start of a block that was an object, and that no call of the program
 * freed.  So a root was missing when the object died, or a write barrier.
 *
 * Stacks that are scanned conservatively are left out: old words lie about there.  Everything
 * belongs to the requester, at the end of a collection, with the world still stopped.
 */
#include "heap/find.h"
#include "inspect/events.h"
#include <stdlib.h>

struct search {
  struct tarn_visits visits; /* must be first: take() gets it */
  tarn_world *world;
  uintptr_t holder; /* the object whose slots are looked at; 0: a root */
  const char *root; /* of what sort */
};

static _Noreturn void die(const struct search *search, uintptr_t word) {
  if (search->holder)
    tarn_os_say("tarn: verify after collection: object %p (type %s) refers to %p, which an earlier "
                "collection took: a root or a write barrier was missing",
                (void *)search->holder, tarn_type_of((const void *)search->holder)->name,
                (void *)word);
  else
    tarn_os_say("tarn: verify after collection: %s refers to %p, which an earlier collection took: "
                "a root or a write barrier was missing",
                search->root, (void *)word);
  tarn_explain(word, true);
  if (search->holder)
    tarn_explain(search->holder, true);
  abort();
}

static void look_at(const struct search *search, uintptr_t tagged) {
  uintptr_t word = tagged & ~search->world->tag_mask, block;
  struct tarn_record record;
  if (!tarn_space_holds(word) || word % TARN_UNIT_SIZE != 0 ||
      tarn_map_world(tarn_map_get(tarn_unit_of(word))) != 0)
    return;
  if (tarn_apart_find(word, &record, &block) && block == word &&
      record.fate == TARN_FATE_COLLECTED && record.store == &search->world->store)
    die(search, word);
}

static void take(struct tarn_visits *visits, const uintptr_t *words, size_t count) {
  for (size_t i = 0; i < count; i++)
    look_at((struct search *)(void *)visits, words[i]);
}

static bool search_block(const struct tarn_walked *block, void *data) {
  struct search *search = data;
  if (block->in_use && !block->condemned &&
      tarn_map_kind(block->place.map) == TARN_KIND_CONTAINER) {
    search->holder = block->place.block;
    tarn_scan_object_now(&search->visits, (const void *)block->place.block);
  }
  return true;
}

static void search_slot(void **slot, void *data) { look_at(data, (uintptr_t)*slot); }

static void search_provider(tarn_root_fn fn, void *fn_data, void *data) {
  struct search *search = data;
  search->root = "a root provider";
  fn(&search->visits.visitor, fn_data);
  tarn_visits_take(&search->visits);
  search->root = "a global root";
}

static void search_frames(struct search *search) {
  const struct tarn_mutator *mutator;
  search->root = "a frame";
  cds_list_for_each_entry(mutator, &search->world->registry.list, node) {
    const tarn_frame *at = mutator->local.pub.tarn_frames;
    for (; at; at = at->previous)
      for (size_t i = 0; i < at->count; i++)
        if (at->slots[i])
          look_at(search, *(const uintptr_t *)at->slots[i]);
  }
}

void tarn_dangling_check(tarn_world *world) {
  struct search search = {.world = world};
  if (!world->store.apart.every)
    return;
  tarn_visits_begin(&search.visits, take);
  search_frames(&search);
  search.root = "a global root";
  tarn_roots_each(world, search_slot, search_provider, &search);
  (void)tarn_walk_stopped(world, search_block, &search);
}
