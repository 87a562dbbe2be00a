/* SPDX-License-Identifier: MIT */
/*
 * heap/alloc.c: the heap layer's public calls that need no type: plain blocks, sizes, look-ups.
 */
#include "heap/find.h"
#include "heap/local.h"

size_t tarn_good_size(size_t size) {
  if (size <= TARN_LARGE_LIMIT)
    return tarn_class_size(tarn_class_of(size));
  size_t page = tarn_os_page_size();
  return size > TARN_OBJECT_MAX ? size : (size + page - 1) & ~(page - 1);
}

/* Who asks how large a block is may use all of it. */
static void open_up(const struct tarn_place *place) {
#if TARN_TOOLS
  if (*(const uintptr_t *)place->block !=
      tarn_free_key(tarn_map_kind(place->map), (const void *)place->block))
    tarn_tools_open((const void *)place->block, place->size);
#else
  (void)place;
#endif
}

/* Large headers may go away under a look-up from outside: hence the read section. */
static bool look_up(tarn_world *world, uintptr_t word, bool interior, struct tarn_place *place) {
  const struct tarn_store *store = (const struct tarn_store *)(const void *)world;
  tarn_rcu_read_lock();
  bool found = tarn_find(store->id, word, interior, place);
  tarn_rcu_read_unlock();
  return found;
}

void *tarn_block_of(tarn_world *world, uintptr_t word, size_t *size) {
  struct tarn_place place;
  if (!world || !look_up(world, word, true, &place))
    return NULL;
  if (size) {
    *size = place.size;
    open_up(&place);
  }
  return (void *)place.block;
}

size_t tarn_usable_size(tarn_world *world, const void *block) {
  struct tarn_place place;
  if (!world || !look_up(world, (uintptr_t)block, false, &place))
    return 0;
  open_up(&place);
  return place.size;
}
