/* SPDX-License-Identifier: MIT */
/*
 * holder COUNT: a list of so many pairs, all of them held; then it waits for the end of its input,
 * adds 500 more, and ends.  When it is refused memory it says how far it came, and why.
 */
#include <stdio.h>
#include <stdlib.h>
#include <tarn/tarn.h>

struct pair {
  const tarn_type *type;
  void *first, *rest;
};

static void *list; /* a root until the end of the world */

static int add(tarn_thread *self, const tarn_type *type, long count) {
  for (long i = 0; i < count; i++) {
    struct pair *pair = tarn_new(self, type);
    if (!pair) {
      printf("held %ld pairs: %s\n", i, tarn_strerror(tarn_thread_status(self)));
      return 3;
    }
    pair->rest = list;
    list = pair;
    tarn_safepoint(self);
  }
  return 0;
}

int main(int count, char **arguments) {
  tarn_world *world;
  tarn_thread *self;
  long pairs = count == 2 ? strtol(arguments[1], NULL, 10) : 0;
  if (tarn_world_create(NULL, &world) != TARN_OK || tarn_thread_attach(world, &self) != TARN_OK ||
      tarn_root_add(world, &list) != TARN_OK)
    return 1;
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = "pair", spec.size = sizeof(struct pair), spec.flags = TARN_TYPE_ALL_TRACED;
  const tarn_type *type = tarn_type_create(world, &spec, NULL);
  int status = add(self, type, pairs);
  if (status == 0) {
    printf("held %ld pairs\n", pairs);
    (void)fflush(stdout);
    tarn_block_begin(self); /* what waits lets others stop the world */
    while (getchar() != EOF) {
    }
    tarn_block_end(self);
    status = add(self, type, 500);
  }
  tarn_collect(self, TARN_GENERATION_FULL);
  tarn_thread_detach(self);
  return tarn_world_destroy(world) == TARN_OK ? status : 1;
}
