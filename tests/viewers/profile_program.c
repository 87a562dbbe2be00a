/* SPDX-License-Identifier: MIT */
/*
 * usage: profile_program PPROF_FILE FOLDED_FILE
 * A program that allocates in two functions, as a language's functions say too, with a sample for
 * every allocation, so that viewers can be asked for exact figures: 3000 objects "pair" of 32 bytes
 * by make_pairs (cons), of which 1000 stay, and 500 raw blocks of 1024 bytes by make_strings
 * (string-append).
 */
#include <stdio.h>
#include <stdlib.h>
#include <tarn/tarn.h>

#define CHECK(condition)                                                            \
  do {                                                                              \
    if (!(condition)) {                                                             \
      (void)fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
      exit(1);                                                                      \
    }                                                                               \
  } while (0)

static const char *function;
static void *kept[1000];

static size_t language(tarn_thread *self, tarn_profile_frame *frames, size_t most, void *data) {
  (void)self, (void)most, (void)data;
  frames[0] = (tarn_profile_frame){.name = function, .file = "prog.scm", .line = 42};
  frames[1] = (tarn_profile_frame){.name = "main-loop", .file = "prog.scm", .line = 7};
  return 2;
}

__attribute__((noinline)) void make_pairs(tarn_thread *self, const tarn_type *pair);
void make_pairs(tarn_thread *self, const tarn_type *pair) {
  function = "cons";
  for (unsigned i = 0; i < 3000; i++) {
    void *object = tarn_new(self, pair);
    CHECK(object);
    if (i % 3 == 0)
      kept[i / 3] = object;
  }
}

__attribute__((noinline)) void make_strings(tarn_thread *self);
void make_strings(tarn_thread *self) {
  function = "string-append";
  for (unsigned i = 0; i < 500; i++)
    CHECK(tarn_alloc_raw(self, 1024));
}

int main(int count, char **arguments) {
  tarn_world *world = NULL;
  tarn_thread *self = NULL;
  tarn_options options = TARN_OPTIONS_INIT;
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  CHECK(count == 3);
  options.flags = TARN_OPTIONS_NO_ENVIRONMENT;
  options.set = "scan-stack=0";
  CHECK(tarn_world_create(&options, &world) == TARN_OK);
  CHECK(tarn_thread_attach(world, &self) == TARN_OK);
  spec.name = "pair";
  spec.size = 32;
  spec.slot_bits = 6;
  const tarn_type *pair = tarn_type_create(world, &spec, NULL);
  CHECK(pair);
  for (unsigned i = 0; i < 1000; i++)
    CHECK(tarn_root_add(world, &kept[i]) == TARN_OK);
  CHECK(tarn_profile_set_frames(world, language, NULL) == TARN_OK);
  CHECK(tarn_profile_start(self, 1) == TARN_OK);
  make_pairs(self, pair);
  make_strings(self);
  CHECK(tarn_collect(self, TARN_GENERATION_FULL) == TARN_OK);
  CHECK(tarn_profile_write_file(world, TARN_PROFILE_PPROF, TARN_PROFILE_ALLOC_SPACE,
                                arguments[1]) == TARN_OK);
  CHECK(tarn_profile_write_file(world, TARN_PROFILE_FOLDED, TARN_PROFILE_ALLOC_SPACE,
                                arguments[2]) == TARN_OK);
  for (unsigned i = 0; i < 1000; i++)
    CHECK(tarn_root_remove(world, &kept[i]) == TARN_OK);
  CHECK(tarn_thread_detach(self) == TARN_OK);
  CHECK(tarn_world_destroy(world) == TARN_OK);
  return 0;
}
