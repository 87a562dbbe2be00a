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
#include <tarn/inline.h>

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

/* Where a thread's bin for raw blocks of a size lies, in bytes from the start of the thread: by the
 * size in units of 8, and of 16 where all sizes are rounded up to that. */
extern const uint16_t tarn_bin_table[TARN_INLINE_MOST / 8 + 1];
extern const uint16_t tarn_bin_table_16[TARN_INLINE_MOST / 16 + 1];

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
