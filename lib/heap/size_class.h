/* SPDX-License-Identifier: MIT */
/*
 * heap/size_class.h: which block size serves a request.
 *
 * Classes: 16, 24, 32 ... 128 in steps of 8 (15 of them), then eight per doubling up to 32 KiB
 * (64 of them).  A step is at most one eighth of the smaller size, so rounding to a class loses at
 * most 12.5 % beyond the rounding to 8 bytes.
 */
#ifndef TARN_HEAP_SIZE_CLASS_H
#define TARN_HEAP_SIZE_CLASS_H

#include <stddef.h>
#include <stdint.h>
#include <tarn/heap.h>

#define TARN_CLASS_COUNT 79u
#define TARN_BLOCK_MIN ((size_t)16)

/* Defined for 0 <= size <= TARN_LARGE_LIMIT. */
static inline unsigned tarn_class_of(size_t size) {
  if (size <= 128)
    return size <= 16 ? 0 : (unsigned)((size - 1) / 8 - 1);
  size_t last = size - 1;
  unsigned log = 63u - (unsigned)__builtin_clzll(last); /* 7 for 128..255 */
  return 15 + (log - 7) * 8 + (unsigned)((last >> (log - 3)) & 7);
}

static inline size_t tarn_class_size(unsigned size_class) {
  if (size_class < 15)
    return 16 + (size_t)size_class * 8;
  unsigned step = size_class - 15;
  return (size_t)(8 + step % 8 + 1) << (step / 8 + 4);
}

#endif
