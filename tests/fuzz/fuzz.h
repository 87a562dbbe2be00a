/* SPDX-License-Identifier: MIT */
/*
 * What the fuzz targets share: an input that is read byte by byte, checks that end the process, and
 * worlds that do the same each time.
 */
#ifndef TARN_FUZZ_H
#define TARN_FUZZ_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tarn/tarn.h>

/* What libFuzzer calls. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *count, char ***arguments);

/* libFuzzer keeps the input of a run that ends so.  Not by stderr, which may be caught. */
#define FUZZ_CHECK(condition)                                                  \
  do {                                                                         \
    if (!(condition)) {                                                        \
      (void)dprintf(2, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
      abort();                                                                 \
    }                                                                          \
  } while (0)

/* For loops over many bytes or words of the targets' own: what they compare is nothing that
 * libFuzzer could learn from, and would be a call each time. */
#define FUZZ_PLAIN __attribute__((no_sanitize("coverage")))

/* What is left of the input; at its end all bytes are zero. */
struct fuzz_input {
  const uint8_t *at, *end;
};

static inline bool fuzz_more(const struct fuzz_input *input) { return input->at < input->end; }

static inline unsigned fuzz_byte(struct fuzz_input *input) {
  return input->at < input->end ? *input->at++ : 0;
}

static inline size_t fuzz_number(struct fuzz_input *input, unsigned bytes) {
  size_t value = 0;
  for (unsigned i = 0; i < bytes; i++)
    value |= (size_t)fuzz_byte(input) << 8 * i;
  return value;
}

/* Contents that tell blocks and places apart. */
FUZZ_PLAIN static inline uint8_t fuzz_pattern(size_t seed, size_t at) {
  return (uint8_t)((seed * 2654435761u + at * 0x9e3779b1u) >> 11 | 1);
}

/* No threads of the library's own, and collections when the program says so: a run depends on its
 * input and nothing else, without which libFuzzer cannot make it smaller. */
#define FUZZ_CALM "sweeper=0,purger=0,idle-collect=0,markers=1,purge-delay=1h"

static inline tarn_world *fuzz_world(const char *set, unsigned flags) {
  tarn_options options = TARN_OPTIONS_INIT;
  tarn_world *world = NULL;
  options.set = set;
  options.flags = flags | TARN_OPTIONS_NO_ENVIRONMENT;
  FUZZ_CHECK(tarn_world_create(&options, &world) == TARN_OK && world);
  return world;
}

static inline tarn_thread *fuzz_attach(tarn_world *world) {
  tarn_thread *self = NULL;
  FUZZ_CHECK(tarn_thread_attach(world, &self) == TARN_OK && self);
  return self;
}

static inline void fuzz_end(tarn_world *world) { FUZZ_CHECK(tarn_world_destroy(world) == TARN_OK); }

static inline const tarn_type *fuzz_type(tarn_world *world, const tarn_type_spec *spec) {
  tarn_status status = TARN_OK;
  const tarn_type *type = tarn_type_create(world, spec, &status);
  FUZZ_CHECK(type && status == TARN_OK);
  return type;
}

static inline void fuzz_verify(tarn_thread *self) {
  char message[512] = "";
  if (tarn_verify(self, message, sizeof message) == TARN_OK)
    return;
  (void)fprintf(stderr, "tarn_verify: %s\n", message);
  abort();
}

#endif
