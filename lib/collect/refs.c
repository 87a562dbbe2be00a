/* SPDX-License-Identifier: MIT */
/*
 * collect/refs.c: see collect/refs.h.
 */
#include "collect/refs.h"

int32_t *tarn_refs;

static pthread_mutex_t reserve_lock = PTHREAD_MUTEX_INITIALIZER;

static bool reserve(void) {
  bool good;
  (void)pthread_mutex_lock(&reserve_lock);
  if (!tarn_refs) {
    size_t bytes = tarn_space.size / TARN_UNIT_SIZE * TARN_REFS_OF_UNIT * sizeof *tarn_refs;
    int32_t *table = tarn_os_reserve(bytes);
    if (table && tarn_os_show(table, bytes))
      tarn_refs = table;
    else if (table)
      tarn_os_unmap(table, bytes);
  }
  good = tarn_refs != NULL;
  (void)pthread_mutex_unlock(&reserve_lock);
  return good;
}

static size_t bytes_of(const struct tarn_arena *arena) {
  return arena->units * TARN_REFS_OF_UNIT * sizeof *tarn_refs;
}

bool tarn_refs_commit(struct tarn_store *store) {
  bool good = reserve();
  tarn_store_walk_begin(store);
  for (struct tarn_arena *arena = store->arenas; arena && good; arena = arena->next)
    if (!arena->refs)
      good = arena->refs =
          tarn_os_commit(tarn_refs_of_unit(tarn_unit_of(arena->base)), bytes_of(arena));
  tarn_store_walk_end(store);
  return good;
}

void tarn_refs_purge(struct tarn_store *store) {
  tarn_store_walk_begin(store);
  /* Acquire: pairs with link_arena; in a running world one may be added meanwhile. */
  struct tarn_arena *arena = __atomic_load_n(&store->arenas, __ATOMIC_ACQUIRE);
  for (; arena; arena = __atomic_load_n(&arena->next, __ATOMIC_ACQUIRE))
    if (arena->refs)
      (void)tarn_os_purge(tarn_refs_of_unit(tarn_unit_of(arena->base)), bytes_of(arena));
  tarn_store_walk_end(store);
}
