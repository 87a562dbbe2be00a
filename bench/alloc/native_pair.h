/* SPDX-License-Identifier: MIT */
/*
 * Pairs through an allocator's own functions: the loop of pair.c, in one thread. A program makes a
 * loop for each pair of functions with NATIVE_PAIRS, and runs one of them with NATIVE_MEASURE.
 */
#ifndef TARN_BENCH_NATIVE_PAIR_H
#define TARN_BENCH_NATIVE_PAIR_H

#include "alloc.h"

enum { RESIDENTS_MOST = 16 };

/* Blocks that stay during the loop. */
static void *residents[RESIDENTS_MOST];
static size_t resident_count;

static inline void residents_choose(const char *text) {
  resident_count = subject_number(text);
  if (resident_count > RESIDENTS_MOST)
    subject_fail("residents", "at most 16");
}

/*
 * Defines the loop `name` around native_alloc(context, size) and native_free(context, block). A
 * macro, so that it has direct calls in it. The size is a variable: no side can use a constant.
 */
#define NATIVE_PAIRS(name, context_type, native_alloc, native_free)         \
  static uint64_t name(context_type context, size_t size, uint64_t count) { \
    uint64_t sum = 0;                                                       \
    for (size_t i = 0; i < resident_count; i++)                             \
      residents[i] = must(native_alloc(context, size));                     \
    for (uint64_t i = 0; i < count; i++) {                                  \
      uint64_t *block = must(native_alloc(context, size));                  \
      *block = i;                                                           \
      escape(block);                                                        \
      sum += *block;                                                        \
      native_free(context, block);                                          \
    }                                                                       \
    for (size_t i = 0; i < resident_count; i++)                             \
      native_free(context, residents[i]);                                   \
    return sum;                                                             \
  }

/* Runs one, a tenth of it untimed first, and prints the figures. */
#define NATIVE_MEASURE(name, context, size, count) \
  do {                                             \
    name(context, size, (count) / 10);             \
    struct stretch stretch = stretch_begin();      \
    uint64_t sum = name(context, size, count);     \
    stretch_end(stretch, (double)(count));         \
    figure_check(sum);                             \
  } while (0)

#endif
