/* SPDX-License-Identifier: MIT */
/*
 * collect/refs.c: see collect/refs.h.
 */
#include "collect/refs.h"
#include <string.h>

uint32_t *tarn_refs_parts;

static pthread_mutex_t start_lock = PTHREAD_MUTEX_INITIALIZER;

bool tarn_refs_start(void) {
  (void)pthread_mutex_lock(&start_lock);
  if (!tarn_refs_parts)
    tarn_refs_parts = tarn_os_map(tarn_space.size / TARN_UNIT_SIZE * sizeof *tarn_refs_parts);
  bool good = tarn_refs_parts != NULL;
  (void)pthread_mutex_unlock(&start_lock);
  return good;
}

#define KEPT ((size_t)16 << 10) /* bytes that stay for the next collection */

static bool map_ints(struct tarn_refs *refs, size_t bytes) {
  tarn_refs_end(refs);
  refs->ints = tarn_os_map(bytes);
  if (!refs->ints)
    return false;
  tarn_os_populate(refs->ints, bytes);
  refs->bytes = bytes;
  return true;
}

bool tarn_refs_make(struct tarn_refs *refs, size_t count) {
  size_t bytes = ((count + 1) * sizeof *refs->ints + 4095) & ~(size_t)4095;
  refs->used = 1;
  refs->count = count + 1;
  /* Entries of the table are 32 bits: 2^32 blocks are 64 GiB of the smallest. */
  if (refs->count > UINT32_MAX)
    return false;
  if (bytes > refs->bytes)
    return map_ints(refs, bytes);
  memset(refs->ints, 0, refs->count * sizeof *refs->ints);
  return true;
}

void tarn_refs_drop(struct tarn_refs *refs) {
  if (refs->bytes > KEPT)
    tarn_refs_end(refs);
}

void tarn_refs_end(struct tarn_refs *refs) {
  if (refs->ints)
    tarn_os_unmap(refs->ints, refs->bytes);
  refs->ints = NULL;
  refs->bytes = 0;
}

void tarn_refs_add(struct tarn_refs *refs, size_t unit, size_t blocks) {
  tarn_refs_set_part(unit, (uint32_t)refs->used);
  refs->used += blocks;
}
