/* SPDX-License-Identifier: MIT */
/*
 * bench/fastpath.c: loops around the inlined fast paths, for bench/fastpath.sh, which counts their
 * instructions with callgrind. The loops differ in the calls only.
 *
 * usage: bench_fastpath empty|new|new_array|safepoint|raw|zeroed|store|store_old COUNT
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tarn/tarn.h>

/* 32 bytes, two traced slots: no special case. */
enum { SIZE = 32, SLOT_BITS = 1u << 1 | 1u << 2 };

/* Found by name in callgrind's output, so neither inlined nor cloned, nor hidden from it. */
#define LOOP __attribute__((noinline, noclone, used))
#if defined(__clang__)
#undef LOOP
#define LOOP __attribute__((noinline, used))
#endif

void loop_empty(uint64_t count);
void loop_new(tarn_thread *self, const tarn_type *type, uint64_t count);
void loop_new_array(tarn_thread *self, const tarn_type *type, uint64_t count);
void loop_safepoint(tarn_thread *self, uint64_t count);
void loop_raw(tarn_thread *self, uint64_t count);
void loop_zeroed(tarn_thread *self, uint64_t count);
void loop_store(tarn_thread *self, void **object, uint64_t count);
void loop_store_old(tarn_thread *self, void **object, uint64_t count);

/*
 * The empty assembly says that all memory may have changed: without it the compiler could keep the
 * bin in registers from one turn to the next, which no real program's loop lets it do.
 */
LOOP void loop_empty(uint64_t count) {
  for (uint64_t i = 0; i < count; i++)
    __asm__ __volatile__("" ::: "memory");
}

LOOP void loop_new(tarn_thread *self, const tarn_type *type, uint64_t count) {
  for (uint64_t i = 0; i < count; i++) {
    void *object = tarn_new(self, type);
    __asm__ __volatile__("" ::"r"(object) : "memory");
  }
}

LOOP void loop_new_array(tarn_thread *self, const tarn_type *type, uint64_t count) {
  for (uint64_t i = 0; i < count; i++) {
    size_t elements = 3;
    __asm__ __volatile__("" : "+r"(elements));
    void *object = tarn_new_array(self, type, elements);
    __asm__ __volatile__("" ::"r"(object) : "memory");
  }
}

LOOP void loop_safepoint(tarn_thread *self, uint64_t count) {
  for (uint64_t i = 0; i < count; i++) {
    tarn_safepoint(self);
    __asm__ __volatile__("" ::: "memory");
  }
}

/* Pairs: the block is the one that was freed last. */
LOOP void loop_raw(tarn_thread *self, uint64_t count) {
  for (uint64_t i = 0; i < count; i++) {
    void *block = tarn_alloc_raw(self, SIZE);
    __asm__ __volatile__("" : "+r"(block)::"memory");
    tarn_free(self, block);
  }
}

LOOP void loop_zeroed(tarn_thread *self, uint64_t count) {
  for (uint64_t i = 0; i < count; i++) {
    void *block = tarn_alloc_atomic(self, SIZE);
    __asm__ __volatile__("" : "+r"(block)::"memory");
    tarn_free(self, block);
  }
}

/* Stores in a young object, and in an old one whose card is dirty. */
LOOP void loop_store(tarn_thread *self, void **object, uint64_t count) {
  for (uint64_t i = 0; i < count; i++) {
    tarn_store(self, object, &object[1], object);
    __asm__ __volatile__("" ::: "memory");
  }
}

LOOP void loop_store_old(tarn_thread *self, void **object, uint64_t count) {
  for (uint64_t i = 0; i < count; i++) {
    tarn_store(self, object, &object[1], object);
    __asm__ __volatile__("" ::: "memory");
  }
}

static void fail(const char *why) {
  fprintf(stderr, "bench_fastpath: %s\n", why);
  exit(1);
}

int main(int argc, char **argv) {
  if (argc != 3)
    fail("usage: bench_fastpath empty|new|new_array|safepoint|raw|zeroed|store|store_old COUNT");
  uint64_t count = strtoull(argv[2], NULL, 10);
  /* Valgrind has less address space to give than the machine. */
  tarn_options options = TARN_OPTIONS_INIT;
  options.set = "address-space=1G";
  tarn_world *world = NULL;
  tarn_thread *self = NULL;
  if (tarn_world_create(&options, &world) != TARN_OK || tarn_thread_attach(world, &self) != TARN_OK)
    fail("cannot make a world");
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = "cell";
  spec.size = SIZE;
  spec.slot_bits = SLOT_BITS;
  const tarn_type *type = tarn_type_create(world, &spec, NULL);
  spec.name = "row";
  spec.size = 2 * sizeof(void *);
  spec.slot_bits = 0;
  spec.element_size = sizeof(void *);
  spec.flags = TARN_TYPE_ELEMENTS_TRACED;
  const tarn_type *row = tarn_type_create(world, &spec, NULL);
  if (!type || !row)
    fail("cannot make a type");

  void *object = tarn_new(self, type);
  if (tarn_root_add(world, &object) != TARN_OK)
    fail("cannot add a root");
  /* The others run as before any collection. */
  if (strcmp(argv[1], "store_old") == 0 && tarn_collect(self, TARN_GENERATION_FULL) != TARN_OK)
    fail("cannot collect");

  if (strcmp(argv[1], "empty") == 0)
    loop_empty(count);
  else if (strcmp(argv[1], "new") == 0)
    loop_new(self, type, count);
  else if (strcmp(argv[1], "new_array") == 0)
    loop_new_array(self, row, count);
  else if (strcmp(argv[1], "safepoint") == 0)
    loop_safepoint(self, count);
  else if (strcmp(argv[1], "raw") == 0)
    loop_raw(self, count);
  else if (strcmp(argv[1], "zeroed") == 0)
    loop_zeroed(self, count);
  else if (strcmp(argv[1], "store") == 0)
    loop_store(self, object, count);
  else if (strcmp(argv[1], "store_old") == 0)
    loop_store_old(self, object, count);
  else
    fail("no such loop");

  /* If memory had run out in the loop, it would have counted the wrong path. */
  if (!tarn_new(self, type))
    fail("out of memory");
  tarn_thread_detach(self);
  return tarn_world_destroy(world) == TARN_OK ? 0 : 1;
}
