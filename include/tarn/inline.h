/* SPDX-License-Identifier: MIT */
/*
 * tarn/inline.h: the hot paths, inlined.
 *
 * `tarn_new` bumps through the run of the thread's bin for the type; `tarn_safepoint` is a load and
 * a branch; `tarn_heap_alloc`, `tarn_alloc_atomic`, `tarn_alloc_raw` and `tarn_free` take and give
 * small raw blocks of the thread's own pools; `tarn_new_array` bumps like `tarn_new` for arrays of
 * up to 1 KiB.  What each of them means stands with its out-of-line twin, here or in tarn/heap.h:
 * the same name and `_outline`, for foreign-function users and for code that is cold.
 *
 * The structures here show what those paths need and nothing else: programs use none of their
 * fields, nor the functions `tarn_inline_...`.  They are read and written by the owning thread
 * only, or by the collector while that thread is stopped, with four exceptions.  In `tarn_poll`
 * other threads set bits, atomically, to call for attention; a wrong thread reads `tarn_running`,
 * and finds that it is wrong; any thread reads a pool's `mine`, and finds that it is not its own; a
 * purge reads a pool's `room`, and may write NULL to `mine` (heap/remote.h).
 */
#ifndef TARN_INLINE_H
#define TARN_INLINE_H

#include <string.h>
#include <tarn/base.h>
#include <tarn/heap.h>
#include <tarn/type.h>

TARN_BEGIN_DECLS

/* One frame of precise local roots; see tarn/root.h. */
typedef struct tarn_frame {
  struct tarn_frame *previous; /* the frame that was pushed before it, or NULL */
  void *const *slots;          /* addresses of variables that hold references */
  size_t count;                /* of slots */
} tarn_frame;

struct tarn_pool;

/* The hot part of a bin: free memory from `bump` to `limit`, both NULL at first.  All of it is
 * zero, but in a bin of raw blocks, where only what lies at `fresh` and beyond is. */
struct tarn_bin_head {
  char *bump;             /* the next block */
  char *limit;            /* the end of the run */
  char *fresh;            /* from here on all is zero */
  struct tarn_pool *pool; /* the current one, or NULL */
  uint32_t size;          /* of a block; 0 before the first pool */
  uint32_t taken;         /* blocks taken off the current pool's list of free ones */
};

/* What the owner of a pool needs of it to take and free blocks. */
struct tarn_pool_own {
  struct tarn_thread *mine; /* the owner of a raw pool; else NULL */
  void *free;               /* blocks that the owner freed, linked through their second word */
  uint32_t room;            /* frees until the pool wants attention */
  uint32_t cursor;          /* from this offset on no word tells whether a block is in use */
  uint32_t virgin;          /* from this offset on no block was handed out ever */
  uint32_t reciprocal;      /* 2^32 / block size, rounded up */
};

/* The hot part of a type. */
struct tarn_type_head {
  uint32_t bin;  /* where the type's bin lies, in bytes from the start of the thread */
  uint32_t size; /* bytes of a block of that bin */
  /* Of array types: */
  uint32_t bins;     /* how far their heap's bins lie behind those of raw blocks */
  uint32_t counts;   /* that many elements and more are not for the inlined path; 0: none are */
  uint32_t fixed;    /* bytes without elements */
  uint32_t element;  /* bytes of one */
  uint32_t count_at; /* the offset of the count */
};

/* The hot part of a thread. */
struct tarn_thread {
  uint32_t tarn_poll;  /* not zero: come to the slow path.  Use only through __atomic builtins */
  uint32_t tarn_holds; /* tarn_gc_hold without a release */
  tarn_frame *tarn_frames; /* the newest frame, or NULL */
  uintptr_t tarn_running;  /* the thread's pointer to its own data while it runs, else 0 */
  tarn_heap *tarn_raw;     /* the heap whose raw bins follow below */
  /* Of sizes up to TARN_INLINE_MOST, by words of 8 bytes: where their bin lies. */
  const uint16_t *tarn_bins;
  uintptr_t tarn_base;          /* of the heap range: where it begins */
  uintptr_t tarn_size;          /* and how many bytes it has */
  uintptr_t tarn_pools;         /* of its descriptors, less those of the addresses below it */
  uintptr_t tarn_marks;         /* the same of its mark bytes */
  uintptr_t tarn_cards;         /* and of its cards */
  uintptr_t tarn_secret;        /* marks what is free */
  const bool *tarn_marks_exist; /* changes in stops only */
};

/* In bytes from the start of the thread, and of each: its bins for raw blocks of `tarn_raw`. */
#define TARN_INLINE_BINS ((size_t)128)
#define TARN_INLINE_BIN ((size_t)64)
#define TARN_INLINE_MOST ((size_t)1024)

/* Not under ThreadSanitizer, which does not see what assembly does. */
#if defined(__SANITIZE_THREAD__)
#define TARN_INLINE_ASM 0
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TARN_INLINE_ASM 0
#endif
#endif
#ifndef TARN_INLINE_ASM
#if defined(__x86_64__) && defined(__GCC_ASM_FLAG_OUTPUTS__)
#define TARN_INLINE_ASM 1
#else
#define TARN_INLINE_ASM 0
#endif
#endif

/* The bit of `tarn_poll` that asks the thread to stop. */
#define TARN_INLINE_STOP 1u

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

/* Twins: tarn_new and tarn_safepoint as calls.  A NULL handle or type gives NULL, or nothing. */
TARN_API void *tarn_new_outline(tarn_thread *self, const tarn_type *type);
TARN_API void tarn_safepoint_outline(tarn_thread *self);

/* --- plain blocks ---------------------------------------------------------------------------- */

/* The pool's last block is free, or so many that it is to be used again. */
TARN_API void tarn_free_attend(tarn_thread *self, struct tarn_pool_own *pool);

/* Is the caller the thread, and running?  The address of its own data is free to read, and no two
 * threads have the same. */
static inline bool tarn_inline_is_running(const tarn_thread *self) {
#if (defined(__x86_64__) || defined(__aarch64__)) && \
    (defined(__clang__) ? __clang_major__ >= 14 : __GNUC__ >= 11)
  return self && __atomic_load_n(&self->tarn_running, __ATOMIC_RELAXED) ==
                     (uintptr_t)__builtin_thread_pointer();
#else
  (void)self;
  return false;
#endif
}

/* An address's pool lies that many bytes behind the descriptors of address 0: 128 for 64 KiB. */
static inline uintptr_t tarn_inline_shift(uintptr_t address) {
  return address >> 9 & ~(uintptr_t)127;
}

/*
 * Is an offset in a pool the start of a block?  In 32 bits the product of a multiple of the size is
 * less than 2^16 (the reciprocal is too large by less than the size), that of any other offset is
 * at least the reciprocal, which is at least 2^17.
 */
static inline bool tarn_inline_is_start(uint32_t offset, uint32_t reciprocal) {
  return (uint32_t)(offset * reciprocal) < reciprocal;
}

/* The next block of a raw bin's run, or NULL; as tarn_inline_take. */
static inline void *tarn_inline_bump(struct tarn_bin_head *bin, struct tarn_pool_own *pool,
                                     size_t *dirty) {
  char *block = bin->bump;
  if (TARN_UNLIKELY((size_t)(bin->limit - block) < bin->size))
    return NULL;
  bin->bump = block + bin->size;
  pool->cursor += bin->size;
  *dirty = block >= bin->fresh ? 0 : bin->size;
  *(uintptr_t *)(void *)block = 0;
  return block;
}

/*
 * A raw block of a bin of the thread, or NULL: take the slow path.  Its first word is zero; of the
 * rest at most the first `*dirty` bytes are other than zero.
 */
static inline void *tarn_inline_take(const tarn_thread *self, struct tarn_bin_head *bin,
                                     size_t *dirty) {
  struct tarn_pool_own *pool = (struct tarn_pool_own *)(void *)bin->pool;
  if (TARN_UNLIKELY(!pool))
    return NULL;
  uintptr_t *words = (uintptr_t *)pool->free;
  if (TARN_UNLIKELY(!words))
    return tarn_inline_bump(bin, pool, dirty);
  if (TARN_UNLIKELY(words[0] != ((uintptr_t)words ^ self->tarn_secret)))
    return NULL;
  pool->free = (void *)words[1];
  bin->taken++;
  words[0] = 0;
  *dirty = bin->size;
  return words;
}

/*
 * Clears what is dirty of a block whose first word is zero already: 0 bytes, or at least 16, a
 * multiple of 8.  The second word by itself: it was just read by itself, and stores of two sizes to
 * one place wait for each other.
 */
static inline void *tarn_inline_clear(void *block, size_t dirty) {
  if (dirty == 0)
    return block;
  if (TARN_UNLIKELY(dirty > 128))
    return memset(block, 0, dirty);
  ((uintptr_t *)block)[1] = 0;
  char *at = (char *)block + 16, *end = (char *)block + dirty;
  for (; end - at >= 16; at += 16)
    memset(at, 0, 16);
  if (at < end)
    memset(at, 0, 8);
  return block;
}

/*
 * Is it a raw block in use, of a pool of the thread's own?  False: take the slow path, which also
 * finds a double free, or what is no block.  `checks_place`: false for an address inside a block.
 */
static inline bool tarn_inline_own(const tarn_thread *self, const void *block, bool checks_place,
                                   struct tarn_pool_own **out) {
  uintptr_t at = (uintptr_t)block;
  if (TARN_UNLIKELY(at - self->tarn_base >= self->tarn_size))
    return false;
  struct tarn_pool_own *pool = (struct tarn_pool_own *)(self->tarn_pools + tarn_inline_shift(at));
  /* Relaxed: a thread that reads itself wrote it. */
  if (TARN_UNLIKELY(__atomic_load_n(&pool->mine, __ATOMIC_RELAXED) != self))
    return false;
  *out = pool;
  uint32_t offset = (uint32_t)(at & 0xffff);
  /* The place first: at an odd one the word cannot be read everywhere. */
  if (checks_place &&
      TARN_UNLIKELY(offset >= pool->cursor || !tarn_inline_is_start(offset, pool->reciprocal)))
    return false;
  return TARN_LIKELY(*(const uintptr_t *)block != (at ^ self->tarn_secret));
}

/*
 * One free less until the pool wants attention; true: it does.  Only the owner writes `room`, so
 * this is no atomic read-modify-write; but a purge reads it, and then gives back the memory of the
 * blocks, so it is a release: whatever was written to them comes before.
 */
static inline bool tarn_inline_count_down(struct tarn_pool_own *pool) {
#if TARN_INLINE_ASM
  /* What compilers make of `--room == 0`: a store releases here, if it stays in its place. */
  bool zero;
  __asm__ __volatile__("{subl $1, %0|sub dword ptr %0, 1}"
                       : "+m"(pool->room), "=@ccz"(zero)
                       :
                       : "memory");
  return zero;
#else
  uint32_t left = pool->room - 1;
  __atomic_store_n(&pool->room, left, __ATOMIC_RELEASE);
  return left == 0;
#endif
}

/* Puts a block of tarn_inline_own on its pool's list.  True: the pool wants attention. */
static inline bool tarn_inline_give(const tarn_thread *self, struct tarn_pool_own *pool,
                                    void *block) {
  uintptr_t *words = (uintptr_t *)block;
  words[0] = (uintptr_t)block ^ self->tarn_secret;
  /* Two stores, and no vector of them: the next allocation waits for the second one's value. */
  __asm__("" : "+m"(words[0]));
  words[1] = (uintptr_t)pool->free;
  pool->free = block;
  return TARN_UNLIKELY(tarn_inline_count_down(pool));
}

/* The mark byte of a block that is freed is that of no block. */
static inline void tarn_inline_unmark(const tarn_thread *self, const void *block) {
  if (TARN_UNLIKELY(*self->tarn_marks_exist))
    *(unsigned char *)(self->tarn_marks + ((uintptr_t)block >> 4)) = 0;
}

/* A small raw block of the thread's own bins; NULL: take the slow path. */
static inline void *tarn_inline_alloc(tarn_thread *self, size_t size, size_t *dirty) {
  /* Relaxed, as in tarn_safepoint: a thread that only reuses blocks must be stopped as well.  What
   * else it is called for waits for a poll. */
  if (TARN_UNLIKELY(!tarn_inline_is_running(self) || size > TARN_INLINE_MOST ||
                    (__atomic_load_n(&self->tarn_poll, __ATOMIC_RELAXED) & TARN_INLINE_STOP)))
    return NULL;
  char *bin = (char *)self + self->tarn_bins[(size + 7) / 8];
  return tarn_inline_take(self, (struct tarn_bin_head *)(void *)bin, dirty);
}

/* A zeroed block of a heap: tarn_heap_alloc_outline says all. */
static inline void *tarn_heap_alloc(tarn_thread *self, tarn_heap *heap, size_t size) {
  size_t dirty;
  void *block;
  if (TARN_LIKELY(self && heap == self->tarn_raw) &&
      TARN_LIKELY((block = tarn_inline_alloc(self, size, &dirty)) != NULL))
    return tarn_inline_clear(block, dirty);
  return tarn_heap_alloc_outline(self, heap, size);
}

/* A zeroed block that is never scanned: tarn_alloc_atomic_outline says all.  Cost: of 32 bytes, 76
 * instructions together with tarn_free; tarn_alloc_raw 58. */
static inline void *tarn_alloc_atomic(tarn_thread *self, size_t size) {
  size_t dirty;
  void *block = tarn_inline_alloc(self, size, &dirty);
  return TARN_LIKELY(block != NULL) ? tarn_inline_clear(block, dirty)
                                    : tarn_alloc_atomic_outline(self, size);
}

/* An uncleared block that is never scanned: tarn_alloc_raw_outline says all. */
static inline void *tarn_alloc_raw(tarn_thread *self, size_t size) {
  size_t dirty;
  void *block = tarn_inline_alloc(self, size, &dirty);
  return TARN_LIKELY(block != NULL) ? block : tarn_alloc_raw_outline(self, size);
}

/* Gives a block back, of any heap and any thread of the world: tarn_free_outline says all. */
static inline void tarn_free(tarn_thread *self, void *block) {
  struct tarn_pool_own *pool;
  if (TARN_UNLIKELY(!tarn_inline_is_running(self) || !tarn_inline_own(self, block, true, &pool))) {
    tarn_free_outline(self, block);
    return;
  }
  tarn_inline_unmark(self, block);
  if (tarn_inline_give(self, pool, block))
    tarn_free_attend(self, pool);
}

/* Twin of tarn_new_array, which checks the handle and the type. */
TARN_API void *tarn_new_array_outline(tarn_thread *self, const tarn_type *type, size_t count);

/*
 * A new array of `count` elements, all zero, its count stored.  NULL: as tarn_heap_alloc, and
 * TARN_EOVERFLOW when the size does not fit, TARN_ETYPE when the type is not an array.
 * The inlined path trusts the handle, as that of tarn_new does, and the type.  Cost: 20
 * instructions when the array has at most 1 KiB and the bin's run has room.
 */
static inline void *tarn_new_array(tarn_thread *self, const tarn_type *type, size_t count) {
  const struct tarn_type_head *head = (const struct tarn_type_head *)(const void *)type;
  if (TARN_UNLIKELY(count >= head->counts))
    return tarn_new_array_outline(self, type, count);
  size_t bytes = head->fixed + count * head->element;
  struct tarn_bin_head *bin = (struct tarn_bin_head *)(void *)((char *)self + head->bins +
                                                               self->tarn_bins[(bytes + 7) / 8]);
  char *block = bin->bump;
  /* The run is whole blocks; both are NULL in a bin that was never used. */
  if (TARN_UNLIKELY(block == bin->limit))
    return tarn_new_array_outline(self, type, count);
  bin->bump = block + bin->size;
  *(size_t *)(void *)(block + head->count_at) = count;
  *(const tarn_type **)(void *)block = type;
  return block;
}

TARN_END_DECLS

#endif
