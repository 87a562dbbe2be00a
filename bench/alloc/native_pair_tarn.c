/* SPDX-License-Identifier: MIT */
/*
 * Pairs through Tarn's own functions, with the thread in hand.
 *
 * usage: alloc_native_pair_tarn SIZE RESIDENTS PAIRS
 */
#include "native_pair.h"

#include <tarn/tarn.h>

struct place {
  tarn_thread *self;
  tarn_heap *heap;
};

#define PLACE_ALLOC(place, size) tarn_heap_alloc((place)->self, (place)->heap, size)
#define PLACE_FREE(place, block) tarn_free((place)->self, block)
NATIVE_PAIRS(tarn_pairs, const struct place *, PLACE_ALLOC, PLACE_FREE)

int main(int argc, char **argv) {
  tarn_world *world;
  struct place place;
  if (argc != 4)
    subject_fail(argv[0], "usage: SIZE RESIDENTS PAIRS");
  if (tarn_world_create(NULL, &world) != TARN_OK ||
      tarn_thread_attach(world, &place.self) != TARN_OK)
    subject_fail(argv[0], "cannot make a world");
  place.heap = tarn_world_heap(world, TARN_HEAP_ATOMIC);
  /* Collections are on, as they are by default: what is live needs roots. The block of the pair
   * itself is never live at an allocation. */
  for (size_t i = 0; i < RESIDENTS_MOST; i++)
    if (tarn_root_add(world, &residents[i]) != TARN_OK)
      subject_fail(argv[0], "cannot add a root");
  residents_choose(argv[2]);
  size_t size = subject_number(argv[1]);
  uint64_t count = subject_number(argv[3]);
  NATIVE_MEASURE(tarn_pairs, &place, size, count);
  tarn_thread_detach(place.self);
  return tarn_world_destroy(world) == TARN_OK ? 0 : 1;
}
