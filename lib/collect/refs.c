/* SPDX-License-Identifier: MIT */
/*
 * collect/refs.c: see collect/refs.h.
 */
#include "collect/refs.h"

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

static size_t bytes_of(const struct tarn_refs *refs) {
  return (refs->count * sizeof *refs->ints + 4095) & ~(size_t)4095;
}

bool tarn_refs_make(struct tarn_refs *refs, size_t count) {
  refs->used = 1;
  refs->count = count + 1;
  /* Entries of the table are 32 bits: 2^32 blocks are 64 GiB of the smallest. */
  refs->ints = refs->count <= UINT32_MAX ? tarn_os_map(bytes_of(refs)) : NULL;
  if (refs->ints)
    tarn_os_populate(refs->ints, bytes_of(refs));
  return refs->ints != NULL;
}

void tarn_refs_drop(struct tarn_refs *refs) {
  if (refs->ints)
    tarn_os_unmap(refs->ints, bytes_of(refs));
  refs->ints = NULL;
}

void tarn_refs_add(struct tarn_refs *refs, size_t unit, size_t blocks) {
  tarn_refs_parts[unit] = (uint32_t)refs->used;
  refs->used += blocks;
}
