/* SPDX-License-Identifier: MIT */
/*
 * tarn/inline.h: the hot paths, inlined.
 *
 * `tarn_new` bumps through the run of the thread's bin for the type; `tarn_safepoint` is a load and
 * a branch.  For foreign-function users each has an out-of-line twin with the same meaning:
 * `tarn_new_outline`, `tarn_safepoint_outline`.
 *
 * The structures here show what those paths need and nothing else.  Their fields are read and
 * written by the owning thread only, or by the collector while that thread is stopped;
 * `tarn_poll` is the exception: other threads set bits in it, atomically, to call for attention.
 */
#ifndef TARN_INLINE_H
#define TARN_INLINE_H

#include <tarn/base.h>
#include <tarn/type.h>

TARN_BEGIN_DECLS

/* One frame of precise local roots; see tarn/root.h. */
typedef struct tarn_frame {
  struct tarn_frame *previous;
  void *const *slots; /* addresses of variables that hold references */
  size_t count;
} tarn_frame;

/* The hot part of a bin: zeroed free memory from `bump` to `limit`, both NULL at first. */
struct tarn_bin_head {
  char *bump;
  char *limit;
};

/* The hot part of a type. */
struct tarn_type_head {
  uint32_t bin;  /* where the type's bin lies, in bytes from the start of the thread */
  uint32_t size; /* bytes of a block of that bin */
};

/* The hot part of a thread. */
struct tarn_thread {
  uint32_t tarn_poll; /* not zero: come to the slow path.  Use only through __atomic builtins */
  uint32_t tarn_holds;
  tarn_frame *tarn_frames;
};

/* What `tarn_new` and `tarn_safepoint` do when the fast path is not enough. */
TARN_API void *tarn_new_slow(tarn_thread *self, const tarn_type *type);
TARN_API void tarn_safepoint_slow(tarn_thread *self);

/*
 * A new object: typed, every other byte zero.
 *
 * A safepoint; may collect, unless the thread holds the collector off.  For array types this is an
 * array of no elements.  A data block is made and linked as well.
 * NULL: see tarn_heap_alloc.  The inlined path trusts the handle: a wrong thread and a blocked
 * region are found by the slow path only.  Cost: 8 instructions when the bin's run has room.
 */
static inline void *tarn_new(tarn_thread *self, const tarn_type *type) {
  const struct tarn_type_head *head = (const struct tarn_type_head *)(const void *)type;
  struct tarn_bin_head *bin = (struct tarn_bin_head *)(void *)((char *)self + head->bin);
  char *block = bin->bump;
  /* In integers: both are NULL in a bin that was never used. */
  if (TARN_UNLIKELY((uintptr_t)block + head->size > (uintptr_t)bin->limit))
    return tarn_new_slow(self, type);
  bin->bump = block + head->size;
  *(const tarn_type **)(void *)block = type;
  return block;
}

/*
 * Lets the thread be stopped here, if anybody wants that: all its objects must be consistent, and
 * references that it goes on using must be in frames, in objects or in other roots.
 * Cost: 2 instructions.
 */
static inline void tarn_safepoint(tarn_thread *self) {
  /* Relaxed: the slow path reads again with the order it needs. */
  if (TARN_UNLIKELY(__atomic_load_n(&self->tarn_poll, __ATOMIC_RELAXED) != 0))
    tarn_safepoint_slow(self);
}

TARN_API void *tarn_new_outline(tarn_thread *self, const tarn_type *type);
TARN_API void tarn_safepoint_outline(tarn_thread *self);

/*
 * A new array of `count` elements, all zero, its count stored.  NULL: as tarn_heap_alloc, and
 * TARN_EOVERFLOW when the size does not fit, TARN_ETYPE when the type is not an array.
 */
TARN_API void *tarn_new_array(tarn_thread *self, const tarn_type *type, size_t count);

TARN_END_DECLS

#endif
