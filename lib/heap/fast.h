/* SPDX-License-Identifier: MIT */
/*
 * heap/fast.h: the paths that most allocations and frees of raw blocks take, inlined into the
 * fronts.
 *
 * Both touch the thread's bin, the pool's descriptor and the block, and nothing that another thread
 * writes.  Both find a double free, a free of what is no block, and a write to a free block, on the
 * way: they answer "not here", and the slow path looks again and reports.
 */
#ifndef TARN_HEAP_FAST_H
#define TARN_HEAP_FAST_H

#include "heap/local.h"

/* Slow paths and checks of local.c. */
bool tarn_local_is_damaged(const struct tarn_pool *pool, const void *block);

/* Does the block lie in what the bin has not handed out yet of its piece? */
static inline bool tarn_is_in_run(const struct tarn_bin *bin, const void *block) {
  return (uintptr_t)block - (uintptr_t)bin->head.bump <
         (uintptr_t)(bin->head.limit - bin->head.bump);
}

/* A raw block of a bin of the thread, as tarn_inline_take has it. */
static inline void *tarn_fast_alloc(struct tarn_local *local, struct tarn_bin *bin, size_t *dirty) {
#if TARN_ZEAL || TARN_TOOLS
  (void)local, (void)bin, (void)dirty;
  return NULL;
#else
#if TARN_CHECKING || TARN_HARDENED
  struct tarn_pool *pool = bin->head.pool;
  if (pool && pool->own.free && (TARN_HARDENED || tarn_local_is_damaged(pool, pool->own.free)))
    return NULL;
#endif
  return tarn_inline_take(&local->pub, &bin->head, dirty);
#endif
}

/*
 * Frees a raw block of the thread's own; false: take the slow path, nothing was done.  `only_raw`:
 * the world has no other blocks, and is never collected; that an address inside a block is none is
 * found in checking and in hardened builds only.
 */
static inline bool tarn_fast_free(struct tarn_local *local, void *block, bool only_raw) {
  struct tarn_pool_own *own;
  if (TARN_TOOLS || TARN_UNLIKELY(!tarn_inline_own(
                        &local->pub, block, !only_raw || TARN_CHECKING || TARN_HARDENED, &own)))
    return false;
  struct tarn_pool *pool = (struct tarn_pool *)(void *)own;
#if TARN_HARDENED
  tarn_local_quarantine(local, block, tarn_pool_block_size(pool));
#else
#if TARN_CHECKING
  tarn_block_spoil(block, tarn_pool_block_size(pool));
#endif
  if (!only_raw)
    tarn_inline_unmark(&local->pub, block);
  if (tarn_inline_give(&local->pub, own, block))
    tarn_local_attend(local, pool);
#endif
  return true;
}

#endif
