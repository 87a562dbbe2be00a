/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <tarn/tarn.h>

int main(void) {
  tarn_world *world = NULL;
  tarn_thread *self = NULL;
  if (tarn_world_create(NULL, &world) || tarn_thread_attach(world, &self))
    return 1;
  char *bytes = (char *)tarn_alloc_atomic(self, 100);
  int good = bytes && bytes[99] == 0 && tarn_collect(self, TARN_GENERATION_FULL) == TARN_OK;
  tarn_thread_detach(self);
  printf("tarn %s: %s\n", tarn_version(), good ? "good" : "bad");
  return tarn_world_destroy(world) != TARN_OK || !good;
}
