/* SPDX-License-Identifier: MIT */
/*
 * heap/pool.h: pools and their descriptors.
 *
 * A pool is one unit (64 KiB) of one heap, one kind and one size class.  Its descriptor lies in the
 * dense table of heap/space.h, never in the pool.
 *
 * The bytes of a pool, from its base:
 *
 *     [0, cursor)        swept: the first word of a block says whether it is in use (typed kinds:
 *                        not zero; raw: not the free key)
 *     [cursor, virgin)   not swept since the last collection: a block is in use when its mark byte
 *                        is the world's epoch (or condemned) and no other thread freed it since,
 *                        which its first word says; everything else is garbage, uncleared
 *     [virgin, 64 KiB)   never handed out, zero, never read (but by tarn_verify)
 *
 * cursor <= virgin, both multiples of the block size unless the unit was used for another size
 * before (then virgin may be any number).
 *
 * Who may touch what.  The owner is the thread whose bins have the pool, or nobody.  `owner` is
 * written by the owner-to-be under the heap's lock, by the owner giving it up, or by the collector;
 * it is read by anybody: a thread that reads itself is the owner, since only it could have written
 * that.  The fields of the first line belong to the owner, to whoever holds the heap's lock if
 * there is none, or to the collector while the world is stopped.  `remote` is for all: other
 * threads push freed blocks with a release compare-exchange, the owner takes all with an acquire
 * exchange.
 */
#ifndef TARN_HEAP_POOL_H
#define TARN_HEAP_POOL_H

#include "heap/size_class.h"
#include "heap/space.h"
#include "os/os.h"

struct tarn_local;
struct tarn_store;

/* Which bins, and so which pools, a block of a heap comes from. */
typedef enum tarn_flavour {
  TARN_FLAVOUR_RAW = 0,
  TARN_FLAVOUR_LEAF = 1,
  TARN_FLAVOUR_LEAF_RESOURCE = 2,
  TARN_FLAVOUR_CONTAINER = 3,
  TARN_FLAVOUR_CONTAINER_RESOURCE = 4
} tarn_flavour;
#define TARN_FLAVOURS 5

static inline tarn_kind tarn_flavour_kind(tarn_flavour flavour) {
  return flavour == TARN_FLAVOUR_RAW             ? TARN_KIND_RAW
         : flavour <= TARN_FLAVOUR_LEAF_RESOURCE ? TARN_KIND_LEAF
                                                 : TARN_KIND_CONTAINER;
}
static inline bool tarn_flavour_resource(tarn_flavour flavour) {
  return flavour == TARN_FLAVOUR_LEAF_RESOURCE || flavour == TARN_FLAVOUR_CONTAINER_RESOURCE;
}

/* The list that a pool is on. */
typedef enum tarn_pool_list {
  TARN_LIST_NONE = 0,       /* the unit is free, or a large object's */
  TARN_LIST_CURRENT = 1,    /* a bin's current pool; on no list */
  TARN_LIST_FULL = 2,       /* owned: nothing left to hand out but remote frees */
  TARN_LIST_PARTIAL = 3,    /* owned: has locally freed blocks */
  TARN_LIST_SHELF = 4,      /* not owned; the heap's pools with something to hand out */
  TARN_LIST_SHELF_FULL = 5, /* not owned; nothing to hand out but remote frees */
  TARN_LIST_CONDEMNED = 6   /* not owned; dead objects wait for their `free` function */
} tarn_pool_list;

/* A circular list of pools; NULL is empty, else the first. */
typedef struct tarn_pool *tarn_pool_head;

struct tarn_pool {
  struct tarn_heap *heap;
  _Atomic(struct tarn_local *) owner;
  void *free; /* blocks freed by the owner, linked through their second word */
  struct tarn_pool *next, *prev;
  uint32_t used; /* blocks handed out: in use, or in the bin's current piece, or on `remote` */
  uint32_t cursor;
  uint32_t virgin;
  uint16_t capacity; /* blocks in the pool */
  uint8_t size_class;
  uint8_t flavour;
  uint8_t list;     /* enum tarn_pool_list */
  uint8_t overflow; /* marker: has marked blocks that were not scanned */
  uint16_t live;    /* census: marked blocks */
  uint32_t dirty;   /* free units: bytes from the base that may be other than zero */
  _Alignas(64) _Atomic(void *) remote;
  /* Of the first unit of a large object.  Written by its maker and its end (release), read by
   * anybody who looks up a word (acquire). */
  _Atomic(struct tarn_large *) large;
  /* Of a free dirty unit: the tick (tarn_os_ticks) at which it became free.  Under the store's
   * lock. */
  uint32_t freed_at;
};

_Static_assert(sizeof(struct tarn_pool) == 128, "a descriptor is two cache lines");

static inline struct tarn_pool *tarn_pool_of(uintptr_t address) {
  return &tarn_space.pools[tarn_unit_of(address)];
}
static inline uintptr_t tarn_pool_base(const struct tarn_pool *pool) {
  return tarn_unit_base((size_t)(pool - tarn_space.pools));
}
static inline size_t tarn_pool_block_size(const struct tarn_pool *pool) {
  return tarn_class_size(pool->size_class);
}

/* 2^32 / size rounded up: (offset * reciprocal) >> 32 is offset / size for any offset in a unit. */
static inline uint32_t tarn_reciprocal(size_t size) {
  return (uint32_t)((((uint64_t)1 << 32) + size - 1) / size);
}
static inline size_t tarn_block_index(uint64_t map_word, size_t offset) {
  return (size_t)((uint64_t)offset * tarn_map_low(map_word) >> 32);
}

/* --- free blocks ----------------------------------------------------------------------------- */
/*
 * A block on a free list keeps its link in the second word.  Its first word is zero, or, in a raw
 * pool where any word may stand there, a key made from the address.
 */
static inline uintptr_t *tarn_block_words(void *block) { return (uintptr_t *)block; }
extern uintptr_t tarn_free_secret; /* set once, by tarn_space_start */
static inline uintptr_t tarn_free_key(tarn_kind kind, const void *block) {
  return kind == TARN_KIND_RAW ? (uintptr_t)block ^ tarn_free_secret : 0;
}

/* --- lists; the caller has the right to the list and to the pool ----------------------------- */

void tarn_pool_push(tarn_pool_head *head, struct tarn_pool *pool, tarn_pool_list list); /* front */
void tarn_pool_append(tarn_pool_head *head, struct tarn_pool *pool, tarn_pool_list list);
void tarn_pool_unlink(tarn_pool_head *head, struct tarn_pool *pool);

/*
 * Takes a unit of the store for the heap and makes its descriptor and map word.  The pool has no
 * owner and is on no list.  NULL: limit or memory.
 */
struct tarn_pool *tarn_pool_make(struct tarn_store *store, struct tarn_heap *heap,
                                 tarn_flavour flavour, unsigned size_class);

/* A free unit's descriptor as new; a lookup of a wild word may read it meanwhile. */
void tarn_pool_reset(struct tarn_pool *pool);

/* Gives an empty pool's unit back; it is on no list.  Blocks on its lists are forgotten. */
void tarn_pool_drop(struct tarn_store *store, struct tarn_pool *pool);

/*
 * Takes what other threads freed and puts it on `free`, or, where the cursor has not passed, just
 * clears its mark.  Returns how many blocks came.  The caller has the right to the pool.
 */
size_t tarn_pool_drain(struct tarn_pool *pool);

/*
 * The next stretch of free blocks at or beyond the cursor, as offsets; false: none is left.  Moves
 * the cursor past the blocks that live before it.  `epoch` is the store's.
 */
bool tarn_pool_stretch(struct tarn_pool *pool, uint8_t epoch, uint32_t *start, uint32_t *end);

/*
 * Is the block in use (a condemned one is not)?  For the owner, the collector, or any thread that
 * knows otherwise that the block's state does not change.  `epoch` is the store's.
 */
bool tarn_pool_in_use(const struct tarn_pool *pool, const void *block, uint8_t epoch);

#endif
