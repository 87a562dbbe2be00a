/* SPDX-License-Identifier: MIT */
/*
 * seen.c: what a walk knows of the objects that it has met: a word for each.
 *
 * Hashed by address, for nothing moves; in malloc's memory, so that a walk allocates nothing of the
 * heap.  Nothing in here keeps an object alive: that is the walk's own business.
 */
#include "scheme.h"
#include <stdlib.h>

struct sight *seen_find(const struct seen *seen, scm object) {
  size_t at =
      (size_t)((uint64_t)(object >> 7) * 0x9E3779B97F4A7C15u >> 20 << 3 | (object >> 4 & 7));
  struct sight *sight;
  while ((sight = &seen->sights[at & (seen->size - 1)])->object && sight->object != object)
    at++;
  return sight;
}

bool seen_reserve(struct seen *seen, size_t more) {
  if (seen->used + more <= seen->size / 2)
    return true;
  struct seen larger = {.size = seen->size ? 2 * seen->size : 1024, .used = seen->used};
  if (!(larger.sights = calloc(larger.size, sizeof *larger.sights)))
    return false;
  for (size_t i = 0; i < seen->size; i++)
    if (seen->sights[i].object)
      *seen_find(&larger, seen->sights[i].object) = seen->sights[i];
  free(seen->sights);
  *seen = larger;
  return true;
}

void seen_add(struct seen *seen, struct sight *place, scm object, uintptr_t word) {
  *place = (struct sight){.object = object, .word = word};
  seen->used++;
}

void seen_drop(struct seen *seen) { free(seen->sights); }
