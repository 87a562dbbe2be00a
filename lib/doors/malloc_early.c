/* SPDX-License-Identifier: MIT */
/*
 * doors/malloc_early.c: see doors/malloc.h.
 *
 * The buffer is bumped through, and used from its start again whenever no block of it is in use.
 * All of its state is one word, changed by compare-and-exchange: acquire, so that who takes memory
 * comes after those who gave it back, whose exchange is a release.
 */
#include "doors/malloc.h"
#include <stdatomic.h>

#define BUFFER_SIZE ((size_t)64 << 10)

/* Before each block. */
struct header {
  size_t size;
  size_t unused;
};
_Static_assert(sizeof(struct header) == 16, "a header keeps the block aligned");

static _Alignas(64) unsigned char buffer[BUFFER_SIZE];
static _Atomic uint64_t state; /* the low half: bytes handed out; the high half: blocks in use */

static uint64_t state_make(uint64_t bytes, uint64_t blocks) { return bytes | blocks << 32; }

void *tarn_early_alloc(size_t alignment, size_t size) {
  uint64_t old = atomic_load_explicit(&state, memory_order_relaxed), new;
  uintptr_t block;
  if (size > BUFFER_SIZE || alignment > BUFFER_SIZE)
    return NULL;
  if (alignment < sizeof(struct header))
    alignment = sizeof(struct header);
  do {
    block = (uintptr_t)buffer + (uint32_t)old + sizeof(struct header);
    block = (block + alignment - 1) & ~(alignment - 1);
    uintptr_t end = (block + size + 15) & ~(uintptr_t)15;
    if (end - (uintptr_t)buffer > BUFFER_SIZE)
      return NULL;
    new = state_make(end - (uintptr_t)buffer, (old >> 32) + 1);
  } while (!atomic_compare_exchange_weak_explicit(&state, &old, new, memory_order_acquire,
                                                  memory_order_relaxed));
  ((struct header *)(void *)block)[-1].size = size;
  return (void *)block;
}

static bool is_ours(const void *block) {
  return (uintptr_t)block - (uintptr_t)buffer < BUFFER_SIZE;
}

size_t tarn_early_size(const void *block) {
  return is_ours(block) ? ((const struct header *)block)[-1].size : 0;
}

bool tarn_early_free(void *block) {
  uint64_t old = atomic_load_explicit(&state, memory_order_relaxed), new;
  if (!is_ours(block))
    return false;
  do {
    uint64_t blocks = (old >> 32) - 1;
    new = state_make(blocks ? (uint32_t)old : 0, blocks);
  } while (!atomic_compare_exchange_weak_explicit(&state, &old, new, memory_order_release,
                                                  memory_order_relaxed));
  return true;
}
