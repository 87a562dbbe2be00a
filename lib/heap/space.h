/* SPDX-License-Identifier: MIT */
/*
 * heap/space.h: the process's one reserved address range, and the dense tables over it.
 *
 *     | map words | owners | ages | descriptors | remote bits | mark bytes | cards | heap range |
 *
 * The heap range is cut into units of 64 KiB and arenas of 16 MiB.  Every table is indexed from an
 * address in it, with no pointer followed:
 *
 *   map word    8 bytes a unit   what the unit is; decides for any machine word whether it is the
 *                                address of a block, without touching anything else
 *   owner       8 bytes a unit   the thread whose bins have the pool, or NULL; see heap/pool.h
 *   age         1 byte a unit    what generation the pool is of; see TARN_AGE_...; not written
 *                                before the first collection, which is a full one
 *   dirty       1 byte a unit    not 0: a card of the unit may be dirty
 *   descriptor  128 bytes a unit struct tarn_pool, see heap/pool.h; can be read from the start
 *   remote bits 512 bytes a unit one bit a block: freed by another thread than the pool's owner,
 *                                see heap/remote.h; all zero while the unit is no pool, and pages
 *                                of it appear with the first such free
 *   mark byte   1 byte per 16    see TARN_MARK_...; no page of it exists before the first
 *                                collection, but it can be read
 *   card        1 byte per 128   not 0: an object that the last collection marked may have got a
 *                                reference there; the same.  Only in worlds with generations
 *
 * The geometry is written once, under a lock, before the first world exists, and constant from then
 * on.  Map words are written by whoever owns the unit (release) and read by anybody (acquire or
 * relaxed); a unit's other tables belong to the pool or large object that has it.  Cards and the
 * dirty bytes are set by any running thread (relaxed), and cleared by the collector in stops; that
 * one is set for nothing does no harm.
 */
#ifndef TARN_HEAP_SPACE_H
#define TARN_HEAP_SPACE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <tarn/base.h>

#define TARN_UNIT_SHIFT 16
#define TARN_UNIT_SIZE ((size_t)1 << TARN_UNIT_SHIFT)
#define TARN_ARENA_SHIFT 24
#define TARN_ARENA_SIZE ((size_t)1 << TARN_ARENA_SHIFT)
#define TARN_ARENA_UNITS (TARN_ARENA_SIZE / TARN_UNIT_SIZE)
#define TARN_GRANULE_SHIFT 4
#define TARN_CARD_SHIFT 7
#define TARN_UNIT_CARDS (TARN_UNIT_SIZE >> TARN_CARD_SHIFT)
#define TARN_REMOTE_WORDS (TARN_UNIT_SIZE >> TARN_GRANULE_SHIFT >> 6) /* a unit's remote bits */

/* What a mark byte says; the two epochs alternate from one full collection to the next.  An object
 * that was allocated since the last collection, of whatever generation, has none. */
enum {
  TARN_MARK_NONE = 0,
  TARN_MARK_EPOCH_1 = 1,
  TARN_MARK_EPOCH_2 = 2,
  TARN_MARK_CONDEMNED = 3,  /* dead, but its `free` function has not run yet */
  TARN_MARK_WATCHED = 4,    /* while marking: not marked, and the key of an ephemeron that waits */
  TARN_MARK_SURVIVED_1 = 5, /* lives, and was young in the last collection of generation 0; */
  TARN_MARK_SURVIVED_2 = 6, /* one for each epoch, so that one of before the last full collection
                             * is known as such */
  TARN_MARK_RELEASING = 7   /* condemned, and its `free` function is running */
};
#define TARN_MARK_SURVIVED_BIT 4
static inline uint8_t tarn_mark_survived(uint8_t epoch) { return epoch | TARN_MARK_SURVIVED_BIT; }

/* Does the block live, for all that the last collection knows?  Epoch 0: there was none. */
static inline bool tarn_mark_lives(uint8_t mark, uint8_t epoch) {
  return epoch != TARN_MARK_NONE && (mark & ~TARN_MARK_SURVIVED_BIT) == epoch;
}

/*
 * What a collection of a generation has to look at: generation 0 is the pools that are YOUNG,
 * generation 1 those that are any of the two, generation 2 all.  Only blocks of YOUNG pools have no
 * mark, only blocks of AGED ones have the mark SURVIVED.
 */
enum {
  TARN_AGE_YOUNG = 1, /* had an owner, so may have handed out blocks, since the last collection; or
                         has condemned objects, beside which what is freed by hand is parked */
  TARN_AGE_AGED = 2   /* has blocks that survived a collection of generation 0 and none since */
};

/* Dead, but the block may not be reused yet. */
static inline bool tarn_mark_is_dead(uint8_t mark) {
  return mark == TARN_MARK_CONDEMNED || mark == TARN_MARK_RELEASING;
}

/* What a block holds. */
typedef enum tarn_kind {
  TARN_KIND_NONE = 0,
  TARN_KIND_RAW = 1,      /* bytes; no type word */
  TARN_KIND_LEAF = 2,     /* an object with nothing traced */
  TARN_KIND_CONTAINER = 3 /* an object that is scanned */
} tarn_kind;

/* How the unit is used. */
typedef enum tarn_form {
  TARN_FORM_POOL = 0,
  TARN_FORM_LARGE = 1, /* the first unit of a large object */
  TARN_FORM_REST = 2   /* a later unit of a large object */
} tarn_form;

struct tarn_pool;
struct tarn_local;
struct tarn_arena;

struct tarn_space {
  uintptr_t base; /* of the heap range; 0 before the start */
  size_t size;
  _Atomic uint64_t *map;
  struct tarn_pool *pools;
  _Atomic(struct tarn_local *) *owners;
  _Atomic uint64_t *remote;
  bool collects; /* atomic: some world has mark bytes, so that ages are kept; never false again */
  uint8_t *ages;
  uint8_t *dirty;
  uint8_t *marks;
  uint8_t *cards;
  uintptr_t pools_bias; /* an address's descriptor is at a shift and a mask of it, plus this */
  /* The record of each arena, by its number in the range; NULL where no store has it.  An entry is
   * under the lock of the store that has the arena. */
  struct tarn_arena **arenas;
};

extern struct tarn_space tarn_space;

/*
 * Reserves the range, once a process; later calls return TARN_OK at once.  `wanted` is in bytes, 0
 * for the default.  Halves the range until the system agrees.  TARN_ENOMEM: not even one arena.
 */
tarn_status tarn_space_start(size_t wanted);

/* Takes and gives back arenas; NULL if the range is used up.  Arenas in a row, for large objects.
 */
void *tarn_space_take_arenas(size_t count);
/* At an address that is a multiple of `alignment` arenas, a power of two. */
void *tarn_space_take_arenas_aligned(size_t count, size_t alignment);
void tarn_space_give_arenas(void *base, size_t count);

/* World ids, 1 to 16383; 0 if all are in use. */
unsigned tarn_space_take_id(void);
void tarn_space_give_id(unsigned id);

/* Makes the mark bytes and cards of `bytes` from `base` writable; base and bytes are whole arenas.
 */
bool tarn_space_commit_marks(void *base, size_t bytes);

/* Ages are kept from now on; a world is stopped, all of whose pools are old then. */
void tarn_space_keep_ages(void);

/* Brings memory to the mark bytes of units in a row; see tarn_os_populate. */
void tarn_space_populate_marks(size_t first, size_t count);

/* Asks for huge pages for all mark bytes that are touched from now on; once, later calls do
 * nothing. A huge page holds those of two arenas. */
void tarn_space_huge_marks(void);

/* For fork: the space's own lock. */
void tarn_space_lock(void);
void tarn_space_unlock(void);

/* --- map words ------------------------------------------------------------------------------- */
/*
 *   bits  0-31  pool: 2^32 / block size, rounded up; large: units; rest: units back to the first
 *   bits 32-44  pool: block size / 8
 *   bits 45-46  kind
 *   bits 47-48  form
 *   bit  49     blocks may have a `free` function
 *   bits 50-63  world id; 0 where the unit is not in use
 */
#define TARN_MAP_SIZE_SHIFT 32
#define TARN_MAP_SIZE_MASK 0x1fffu /* in units of 8 bytes */
#define TARN_MAP_KIND_SHIFT 45
#define TARN_MAP_FORM_SHIFT 47
#define TARN_MAP_RESOURCE_SHIFT 49
#define TARN_MAP_WORLD_SHIFT 50

static inline uint64_t tarn_map_make(unsigned world, tarn_kind kind, tarn_form form, bool resource,
                                     size_t block_size, uint32_t low) {
  return (uint64_t)low | (uint64_t)(block_size / 8) << TARN_MAP_SIZE_SHIFT |
         (uint64_t)kind << TARN_MAP_KIND_SHIFT | (uint64_t)form << TARN_MAP_FORM_SHIFT |
         (uint64_t)resource << TARN_MAP_RESOURCE_SHIFT | (uint64_t)world << TARN_MAP_WORLD_SHIFT;
}
static inline uint32_t tarn_map_low(uint64_t word) { return (uint32_t)word; }
static inline size_t tarn_map_block_size(uint64_t word) {
  return (size_t)(word >> TARN_MAP_SIZE_SHIFT & TARN_MAP_SIZE_MASK) * 8;
}
static inline tarn_kind tarn_map_kind(uint64_t word) {
  return (tarn_kind)(word >> TARN_MAP_KIND_SHIFT & 3);
}
static inline tarn_form tarn_map_form(uint64_t word) {
  return (tarn_form)(word >> TARN_MAP_FORM_SHIFT & 3);
}
static inline bool tarn_map_resource(uint64_t word) { return word >> TARN_MAP_RESOURCE_SHIFT & 1; }
static inline unsigned tarn_map_world(uint64_t word) {
  return (unsigned)(word >> TARN_MAP_WORLD_SHIFT);
}

/* For any word: is it in the heap range? */
static inline bool tarn_space_holds(uintptr_t word) {
  return word - tarn_space.base < tarn_space.size;
}
static inline size_t tarn_unit_of(uintptr_t address) {
  return (address - tarn_space.base) >> TARN_UNIT_SHIFT;
}
static inline struct tarn_arena **tarn_arena_slot(uintptr_t address) {
  return &tarn_space.arenas[(address - tarn_space.base) >> TARN_ARENA_SHIFT];
}
static inline uintptr_t tarn_unit_base(size_t unit) {
  return tarn_space.base + (unit << TARN_UNIT_SHIFT);
}
/* Acquire: pairs with the release of tarn_map_set, so that the descriptor is seen as it was made.
 */
static inline uint64_t tarn_map_get(size_t unit) {
  return atomic_load_explicit(&tarn_space.map[unit], memory_order_acquire);
}
static inline void tarn_map_set(size_t unit, uint64_t word) {
  atomic_store_explicit(&tarn_space.map[unit], word, memory_order_release);
}
/* The remote bits of a unit, TARN_REMOTE_WORDS of them. */
static inline _Atomic uint64_t *tarn_remote_bits(size_t unit) {
  return &tarn_space.remote[unit * TARN_REMOTE_WORDS];
}
/* The mark byte of the block that starts at `address`.  Written only after the first collection
 * began. */
static inline uint8_t *tarn_mark_byte(uintptr_t address) {
  return &tarn_space.marks[(address - tarn_space.base) >> TARN_GRANULE_SHIFT];
}
/* The card that `address` lies on. */
static inline uint8_t *tarn_card(uintptr_t address) {
  return &tarn_space.cards[(address - tarn_space.base) >> TARN_CARD_SHIFT];
}
/* While several threads mark.  Relaxed: a mark byte hands nothing over. */
static inline uint8_t tarn_mark_load(uintptr_t address) {
  return __atomic_load_n(tarn_mark_byte(address), __ATOMIC_RELAXED);
}
static inline void tarn_mark_store(uintptr_t address, uint8_t mark) {
  __atomic_store_n(tarn_mark_byte(address), mark, __ATOMIC_RELAXED);
}

#endif
