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

/* The same from a table, for the inlined paths. */
#define TARN_CLASS_TABLE_MOST ((size_t)1024)
extern const uint8_t tarn_class_table[TARN_CLASS_TABLE_MOST / 8 + 1];
/* The same for sizes that are rounded up to multiples of 16. */
extern const uint8_t tarn_class_table_16[TARN_CLASS_TABLE_MOST / 16 + 1];
static inline unsigned tarn_class_fast(size_t size) {
  return TARN_LIKELY(size <= TARN_CLASS_TABLE_MOST) ? tarn_class_table[(size + 7) / 8]
                                                    : tarn_class_of(size);
}

/* The size to ask for so that the block is aligned: a class that is a multiple of the alignment,
 * for pools are aligned to 64 KiB; or a large object.  The alignment is a power of two. */
static inline size_t tarn_aligned_size(size_t alignment, size_t size) {
  if (alignment <= 8)
    return size;
  size_t least = size < alignment ? alignment : size;
  if (least > TARN_LARGE_LIMIT)
    return least;
  unsigned size_class = tarn_class_of(least);
  while (tarn_class_size(size_class) % alignment != 0) /* ends: the last class is 32 KiB */
    size_class++;
  return tarn_class_size(size_class);
}

#endif
