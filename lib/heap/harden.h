/* SPDX-License-Identifier: MIT */
/*
 * heap/harden.h: what builds with TARN_HARDENED do to make damage to the heap hard to aim and easy
 * to find.  In other builds what is here is nothing, and costs nothing.
 *
 *   links        The link of a free block is stored mixed with a secret and the block's address, so
 *                that a write to it leads nowhere that the writer chose; what comes out is looked
 *                at before it is followed (tarn_local_is_damaged).
 *   starts       A fresh pool begins at a random block, and those before it are handed out in
 *                random order (local.c).
 *   quarantine   What a thread frees waits, filled with a pattern, before it becomes free: see
 *                below.
 *   guards       A page before a large object, and one after it, cannot be touched (large.c).
 */
#ifndef TARN_HEAP_HARDEN_H
#define TARN_HEAP_HARDEN_H

#include "os/os.h"

/*
 * Mixed into links.  Not the secret of the keys of free blocks, which anybody who reads a free
 * block's first word and knows its address can work out.  Set once, by tarn_space_start.
 */
extern uintptr_t tarn_link_secret;

/* The word for a link to `to` (NULL: the last one) in the free block `at`, and back. */
static inline uintptr_t tarn_link_encode(const void *at, const void *to) {
#if TARN_HARDENED
  uintptr_t place = (uintptr_t)at;
  /* The address from the upper end down: its lower bits, which differ, meet those that a heap's
   * addresses have in common. */
  return (uintptr_t)to ^ tarn_link_secret ^ (place << 40 | place >> 24);
#else
  (void)at;
  return (uintptr_t)to;
#endif
}
static inline void *tarn_link_decode(const void *at, uintptr_t word) {
  return (void *)tarn_link_encode(at, (const void *)word); /* its own inverse */
}

/*
 * --- the quarantine of a thread ---
 *
 * The blocks that the thread freed last, its own and other threads', small ones only.  Each carries
 * the key of a free block, so that freeing it again is found, and a pattern in all other words,
 * which is compared when it leaves: then it becomes free as it would have at once in other builds.
 * To everybody else a block that waits is one that its pool counts as used, and has its mark byte,
 * so neither its pool nor its place can be used for anything; stops find no block waiting.
 *
 * The oldest leave when there is no room, and half of them before the thread makes a new pool, so
 * that a thread that only allocates does not leave them there for good.  All leave when there is no
 * memory, in stops, and with the thread.  Touched like a bin: by its thread, or for it while it
 * stands still.
 */
#if TARN_HARDENED
/* For tests of the order in which blocks come and go, which is then that of other builds: nothing
 * waits, and no start is random.  Nobody else sets it. */
extern bool tarn_harden_plain;

#define TARN_QUARANTINE_BLOCKS 256u /* a power of two */
#define TARN_QUARANTINE_BYTES ((size_t)128 << 10)

struct tarn_quarantine {
  size_t bytes;
  uint32_t first, count; /* the oldest is at `first`, modulo TARN_QUARANTINE_BLOCKS */
  void *blocks[TARN_QUARANTINE_BLOCKS];
};

/*
 * A sequence that only who knows the secret can continue.  `state` is any number at first, and its
 * owner's.
 */
static inline uint64_t tarn_random(uint64_t *state) {
  uint64_t mixed = (*state += 0x9e3779b97f4a7c15u) ^ tarn_link_secret;
  mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9u;
  mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111ebu;
  return mixed ^ mixed >> 31;
}
/* Less than `limit`, which is small and not 0. */
static inline uint32_t tarn_random_below(uint64_t *state, uint32_t limit) {
  return (uint32_t)((tarn_random(state) >> 32) * limit >> 32);
}
#endif

#endif
