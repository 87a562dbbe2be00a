/* SPDX-License-Identifier: MIT */
/*
 * Pairs through Tarn's own functions, with the thread in hand: cleared blocks by tarn_heap_alloc,
 * uncleared ones by tarn_alloc_raw.
 *
 * usage: alloc_native_pair_tarn heap|raw SIZE RESIDENTS PAIRS
 */
#include "native_pair.h"

#include <tarn/tarn.h>

struct place {
  tarn_thread *self;
  tarn_heap *heap;
};

#define PLACE_ALLOC(place, size) tarn_heap_alloc((place)->self, (place)->heap, size)
#define PLACE_FREE(place, block) tarn_free((place)->self, block)
#define PLACE_RAW(place, size) tarn_alloc_raw((place)->self, size)
NATIVE_PAIRS(heap_pairs, const struct place *, PLACE_ALLOC, PLACE_FREE)
NATIVE_PAIRS(raw_pairs, const struct place *, PLACE_RAW, PLACE_FREE)

int main(int argc, char **argv) {
  tarn_world *world;
  struct place place;
  if (argc != 5)
    subject_fail(argv[0], "usage: heap|raw SIZE RESIDENTS PAIRS");
  if (tarn_world_create(NULL, &world) != TARN_OK ||
      tarn_thread_attach(world, &place.self) != TARN_OK)
    subject_fail(argv[0], "cannot make a world");
  place.heap = tarn_world_heap(world, TARN_HEAP_ATOMIC);
  /* Collections are on, as they are by default: what is live needs roots. The block of the pair
   * itself is never live at an allocation. */
  for (size_t i = 0; i < RESIDENTS_MOST; i++)
    if (tarn_root_add(world, &residents[i]) != TARN_OK)
      subject_fail(argv[0], "cannot add a root");
  residents_choose(argv[3]);
  size_t size = subject_number(argv[2]);
  uint64_t count = subject_number(argv[4]);
  if (strcmp(argv[1], "raw") == 0)
    NATIVE_MEASURE(raw_pairs, &place, size, count);
  else
    NATIVE_MEASURE(heap_pairs, &place, size, count);
  tarn_thread_detach(place.self);
  return tarn_world_destroy(world) == TARN_OK ? 0 : 1;
}
