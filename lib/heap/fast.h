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
#include <string.h>

/* Checking builds: every byte of a free block but its first two words.  Hardened ones: the same,
 * and the second word, while it is in quarantine. */
#define TARN_POISON 0xdb

/* Slow paths and checks of local.c. */
bool tarn_local_is_damaged(const struct tarn_pool *pool, const void *block);

/* memset for the first `size` bytes of a block, a multiple of 8 that is small in most cases, and 0
 * or at least 16.  Stores may overlap.  Returns the block. */
static inline void *tarn_clear(void *block, size_t size) {
  if (size == 0)
    return block;
  if (TARN_UNLIKELY(size > 256))
    return memset(block, 0, size);
  char *at = block, *last = at + size - 16;
  for (; last - at >= 48; at += 64)
    memset(at, 0, 64);
  if (last - at >= 16) {
    memset(at, 0, 32);
    memset(last - 16, 0, 16);
  } else if (last > at) {
    memset(at, 0, 16);
  }
  memset(last, 0, 16);
  return block;
}

/* Does the block lie in what the bin has not handed out yet of its piece? */
static inline bool tarn_is_in_run(const struct tarn_bin *bin, const void *block) {
  return (uintptr_t)block - (uintptr_t)bin->head.bump <
         (uintptr_t)(bin->head.limit - bin->head.bump);
}

/* The next block of a raw bin's run, or NULL; as tarn_fast_alloc. */
static inline void *tarn_fast_bump(struct tarn_bin *bin, size_t *dirty) {
  char *block = bin->head.bump;
  if (TARN_UNLIKELY((size_t)(bin->head.limit - block) < bin->size))
    return NULL;
  bin->head.bump = block + bin->size;
  bin->pool->cursor += bin->size;
  *dirty = block >= bin->fresh ? 0 : bin->size;
  *(uintptr_t *)(void *)block = 0;
  return block;
}

/*
 * A raw block of a bin of the thread, or NULL: take the slow path.  Its first word is zero; of the
 * rest at most the first `*dirty` bytes are other than zero.
 */
static inline void *tarn_fast_alloc(struct tarn_local *local, struct tarn_bin *bin, size_t *dirty) {
  struct tarn_pool *pool = bin->pool;
  if (TARN_ZEAL || TARN_UNLIKELY(!pool))
    return NULL;
  uintptr_t *words = pool->free;
  if (TARN_UNLIKELY(!words))
    return tarn_fast_bump(bin, dirty);
  if (TARN_UNLIKELY(TARN_CHECKING || TARN_HARDENED
                        ? tarn_local_is_damaged(pool, words)
                        : words[0] != ((uintptr_t)words ^ local->space.secret)))
    return NULL;
  pool->free = tarn_block_next(words);
  bin->taken++;
  words[0] = 0;
  *dirty = bin->size;
  return words;
}

/*
 * Frees a raw block of the thread's own; false: take the slow path, nothing was done.  `only_raw`:
 * the world has no other blocks, and is never collected; that an address inside a block is none is
 * found in checking and in hardened builds only.
 */
static inline bool tarn_fast_free(struct tarn_local *local, void *block, bool only_raw) {
  uintptr_t at = (uintptr_t)block;
  if (TARN_UNLIKELY(at - local->space.base >= local->space.size))
    return false;
  struct tarn_pool *pool = (struct tarn_pool *)(local->space.pools_bias + tarn_pool_shift(at));
  /* Relaxed: a thread that reads itself wrote it, see heap/pool.h. */
  if (TARN_UNLIKELY(atomic_load_explicit(&pool->mine, memory_order_relaxed) != local))
    return false;
  uint32_t offset = (uint32_t)(at & (TARN_UNIT_SIZE - 1));
  uintptr_t *words = (uintptr_t *)block, key = at ^ local->space.secret;
  bool checks_place = !only_raw || TARN_CHECKING || TARN_HARDENED;
  /* The place first: at an odd one the words cannot be read everywhere. */
  if ((checks_place &&
       TARN_UNLIKELY(offset >= pool->cursor || !tarn_is_block_start(offset, pool->reciprocal))) ||
      TARN_UNLIKELY(words[0] == key))
    return false;
#if TARN_HARDENED
  tarn_local_quarantine(local, block, tarn_pool_block_size(pool));
#else
#if TARN_CHECKING
  memset(words + 1, TARN_POISON, tarn_pool_block_size(pool) - sizeof *words);
#endif
  if (!only_raw && TARN_UNLIKELY(local->store->tables))
    *tarn_mark_byte(at) = TARN_MARK_NONE;
  words[0] = key;
  /* Two stores, and no vector of them: the next allocation waits for the second one's value. */
  __asm__("" : "+m"(words[0]));
  tarn_block_link(block, pool->free);
  pool->free = block;
  if (TARN_UNLIKELY(--pool->room == 0))
    tarn_local_attend(local, pool);
#endif
  return true;
}

#endif
