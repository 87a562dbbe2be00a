/* SPDX-License-Identifier: MIT */
/*
 * heap/kin.c: see heap/kin.h.
 */
#include "heap/kin.h"
#include <string.h>

static void set_some(struct tarn_kin *kin, unsigned size_class) {
  __atomic_store_n(&kin->some[size_class], kin->units[size_class][0] != 0, __ATOMIC_RELAXED);
}

void tarn_kin_note(struct tarn_kin *kin, unsigned size_class, size_t unit) {
  uint32_t *units = kin->units[size_class];
  memmove(&units[1], &units[0], (TARN_KIN_UNITS - 1) * sizeof units[0]);
  units[0] = (uint32_t)unit + 1;
  set_some(kin, size_class);
}

static uint32_t pop(struct tarn_kin *kin, unsigned size_class) {
  uint32_t *units = kin->units[size_class], first = units[0];
  memmove(&units[0], &units[1], (TARN_KIN_UNITS - 1) * sizeof units[0]);
  units[TARN_KIN_UNITS - 1] = 0;
  set_some(kin, size_class);
  return first;
}

struct tarn_arena *tarn_kin_take(struct tarn_kin *kin, unsigned size_class, size_t *first) {
  while (kin->units[size_class][0]) {
    size_t unit = pop(kin, size_class) - 1u;
    /* The store's: its units would be forgotten otherwise. */
    struct tarn_arena *arena = *tarn_arena_slot(tarn_unit_base(unit));
    *first = unit - tarn_unit_of(arena->base);
    if (tarn_arena_is_dirty(arena, *first) && tarn_space.pools[unit].size_class == size_class)
      return arena;
  }
  return NULL;
}

void tarn_kin_forget(struct tarn_kin *kin, const struct tarn_arena *arena) {
  size_t first = tarn_unit_of(arena->base);
  for (unsigned i = 0; i < TARN_CLASS_COUNT; i++) {
    uint32_t *units = kin->units[i];
    unsigned kept = 0;
    for (unsigned k = 0; k < TARN_KIN_UNITS; k++)
      if (units[k] && units[k] - 1u - first >= arena->units)
        units[kept++] = units[k];
    memset(&units[kept], 0, (TARN_KIN_UNITS - kept) * sizeof units[0]);
    set_some(kin, i);
  }
}
