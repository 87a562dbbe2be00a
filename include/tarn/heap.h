/* SPDX-License-Identifier: MIT */
/*
 * tarn/heap.h: heaps, and allocation of plain blocks.
 *
 * A heap is of one kind.  A container heap holds objects with traced slots; the collector finds
 * them by walking the heap's pools.  An atomic heap holds what is never scanned: raw blocks, and
 * objects whose type has no traced slot.  Each world has one of each from the start, and may make
 * more (at most 255 in all), mainly in order to drop them whole.
 *
 * Sizes.  A request is rounded up to a size class: multiples of 8 bytes from 16 to 128, then eight
 * classes per doubling up to 32 KiB, so that at most 12.5 % of a block is lost to rounding beyond
 * the rounding to 8 bytes.  What is larger gets pages of its own.
 *
 * Alignment.  A block's address is a multiple of the largest power of two that divides its size
 * class, up to 4096: a request of a multiple of 16 bytes is aligned to at least 16, one of 24 bytes
 * to 8.  Large blocks are aligned to 64 KiB.
 *
 * Every block comes zeroed, except where a function says otherwise.
 *
 * `tarn_heap_alloc`, `tarn_alloc_atomic`, `tarn_alloc_raw` and `tarn_free` are inlined (see
 * tarn/inline.h); what is described here as `..._outline` is what they do, too.
 */
#ifndef TARN_HEAP_H
#define TARN_HEAP_H

#include <tarn/base.h>

TARN_BEGIN_DECLS

/* What may lie in a heap. */
typedef enum tarn_heap_kind {
  TARN_HEAP_ATOMIC = 0,   /* raw blocks, and objects without a traced slot: never scanned */
  TARN_HEAP_CONTAINER = 1 /* objects with traced slots */
} tarn_heap_kind;

/* A block above this many bytes is a large object. */
#define TARN_LARGE_LIMIT ((size_t)32768)

/* The largest alignment that can be asked for. */
#define TARN_ALIGNMENT_MAX ((size_t)1 << 30)

/* The largest request of all, in bytes; more is TARN_EOVERFLOW. */
#define TARN_OBJECT_MAX ((size_t)1 << 46)

/*
 * Makes a heap.  Errors: TARN_EINVAL, TARN_ENOMEM, TARN_ELIMIT (too many heaps).  Any thread.
 */
TARN_API tarn_status tarn_heap_create(tarn_world *world, tarn_heap_kind kind, tarn_heap **out);

/*
 * Drops a heap with all that is in it: runs the `free` functions of its objects, then gives back
 * its pools and large objects.  The caller promises that nothing outside the heap uses an object of
 * it any more; references to it that are left in slots become words that the collector ignores.
 * Weak references to its objects are cleared, finalizers of its objects are dropped unrun.
 * Stops the world for a moment.
 *
 * Errors: TARN_EINVAL (NULL, or one of the world's two first heaps), TARN_EHELD (inside a hold),
 * TARN_EWRONGTHREAD, TARN_EDETACHED.  Types made for this heap must not be used any more.
 */
TARN_API tarn_status tarn_heap_destroy(tarn_thread *self, tarn_heap *heap);

/* The two heaps that a world starts with; never NULL for a good world. */
TARN_API tarn_heap *tarn_world_heap(tarn_world *world, tarn_heap_kind kind);

/* Of which kind a heap is.  Any thread, any time. */
TARN_API tarn_heap_kind tarn_heap_kind_of(const tarn_heap *heap);

/*
 * The bottom call: a zeroed block of at least `size` bytes from `heap`.
 *
 * From a container heap the caller gets a block whose first word is zero, which means free: it
 * becomes an object when its type is stored there, and must before the thread's next safepoint.
 * Nearly everybody wants `tarn_new` instead.  A block from an atomic heap is raw bytes.
 *
 * This is a safepoint, and may collect, unless the thread holds the collector off.  It does not run
 * `free` functions that are due: that is done by `tarn_safepoint`, so poll also where you allocate.
 * `size` 0 gives a smallest block.
 *
 * NULL: `tarn_thread_status(self)` says TARN_EINVAL, TARN_EOVERFLOW, TARN_ENOMEM or TARN_ELIMIT
 * (both only after a full collection, where one was possible and the last ones at the limit were of
 * use: see tarn/collect.h), TARN_EDETACHED, TARN_EWRONGTHREAD,
 * TARN_EUNBALANCED (inside a blocked region).
 */
TARN_API void *tarn_heap_alloc_outline(tarn_thread *self, tarn_heap *heap, size_t size);

/* The same from the world's own atomic heap: raw bytes that are never scanned. */
TARN_API void *tarn_alloc_atomic_outline(tarn_thread *self, size_t size);

/* The same for `count` times `size` bytes; TARN_EOVERFLOW also when the product does not fit. */
TARN_API void *tarn_alloc_atomic_array(tarn_thread *self, size_t count, size_t size);

/*
 * The same, uncleared: the contents are undefined.  For what is overwritten at once, and for memory
 * that is managed by hand: blocks that the thread freed last come first.
 */
TARN_API void *tarn_alloc_raw_outline(tarn_thread *self, size_t size);

/*
 * An uncleared block at a multiple of `alignment`: a power of two, at most TARN_ALIGNMENT_MAX, else
 * TARN_EINVAL.  The block is of a size class that is a multiple of the alignment, so a small one
 * with a large alignment takes as much memory as the alignment; above 32 KiB it is a large object.
 */
TARN_API void *tarn_alloc_aligned(tarn_thread *self, size_t alignment, size_t size);

/*
 * Changes the size of a block of an atomic heap that has no type: the same block if it fits without
 * wasting more than half of it, else a new one of the same heap with the contents, and the old one
 * is freed.  What is added is undefined.  NULL for `block`: as tarn_alloc_raw.  `size` 0 gives a
 * smallest block.  No alignment beyond that of the size class is kept.
 * NULL: as tarn_heap_alloc, and TARN_EINVAL for an object with a type; the block is as it was. A
 * free block, and an address that is not a block's start, are reported and abort, as in tarn_free.
 */
TARN_API void *tarn_realloc(tarn_thread *self, void *block, size_t size);

/*
 * Gives a block back at once.  Any block of the thread's world, whoever allocated it and whichever
 * thread calls; NULL is ignored.  An object's `free` function runs first, then its separate data
 * block is released, then the block.  A weak reference to the object gives NULL for as long as the
 * block is not used again, and is cleared by the next collection (for a plain block, the next full
 * one): who frees by hand what others refer to weakly has to keep them away from it.
 *
 * A handle that is not the caller's, and a blocked region, set the thread's status, and nothing is
 * freed. A block freed twice and an address that is not a block's start are reported and abort.
 * Cost: a few instructions for blocks of the thread's own pools, an atomic operation for others.
 */
TARN_API void tarn_free_outline(tarn_thread *self, void *block);

/*
 * Gives free memory back to the system at once, but for about `keep` bytes, and empty parts of the
 * address range to the process's other worlds; returns the bytes given back.  What lies free inside
 * pools that hold a block in use does not count as free memory: collect first to have the most.
 * The option `purge-delay` gives the same memory back later.  0 if `world` is NULL.
 *
 * Any thread, attached or not.  A thread that is attached and running lets stops go on meanwhile:
 * for it this is a safepoint, unless it holds the collector off.
 */
TARN_API size_t tarn_trim(tarn_world *world, size_t keep);

/*
 * The block that `word` points to or into, or NULL: for any word at all, in constant time, and
 * without taking a lock.  Only the place is looked up: the block may be free, or be freed by
 * another thread at any time unless the caller prevents it.  `*size` (may be NULL) gets the size of
 * its class.
 */
TARN_API void *tarn_block_of(tarn_world *world, uintptr_t word, size_t *size);

/* Bytes that can be used in a block; 0 if `block` is not a block's start. */
TARN_API size_t tarn_usable_size(tarn_world *world, const void *block);

/* The size class that a request of `size` bytes gets, or `size` rounded to pages if it is large. */
TARN_API size_t tarn_good_size(size_t size);

TARN_END_DECLS

#endif
