/* SPDX-License-Identifier: MIT */
/*
 * heap/space.c: see heap/space.h.  One lock for the process: the start, arenas and world ids are
 * all rare.
 */
#include "heap/space.h"
#include "heap/pool.h"
#include "os/limits.h"
#include "os/os.h"
#include "os/tools.h"
#include <limits.h>
#include <pthread.h>
#include <string.h>
#include <sys/auxv.h>

struct tarn_space tarn_space;
uintptr_t tarn_free_secret;
uintptr_t tarn_link_secret;
#if TARN_HARDENED
bool tarn_harden_plain;
#endif

#define WORLD_ID_MAX 16383u
#define DEFAULT_SPACE ((size_t)64 << 30)
#define LARGEST_SPACE ((size_t)1 << 40)
#if TARN_TSAN
#define LARGEST_DEFAULT DEFAULT_SPACE /* what every sanitizer's shadow can take */
#else
#define LARGEST_DEFAULT LARGEST_SPACE
#endif

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Below, all under the lock. */
static uint64_t *arena_free; /* a set bit is a free arena */
static size_t arena_count;
static bool marks_are_huge;
static uint64_t ids[(WORLD_ID_MAX + 64) / 64]; /* a set bit is an id in use */

void tarn_space_lock(void) { (void)pthread_mutex_lock(&lock); }
void tarn_space_unlock(void) { (void)pthread_mutex_unlock(&lock); }

static size_t round_up(size_t value, size_t unit) { return (value + unit - 1) & ~(unit - 1); }

/* How much to ask for first. */
static size_t first_size(size_t wanted) {
  size_t size = wanted;
  if (size == 0) {
    size_t twice = tarn_limits_physical() * 2;
    for (size = DEFAULT_SPACE; size < twice && size < LARGEST_DEFAULT;)
      size *= 2;
  }
  if (size > LARGEST_SPACE)
    size = LARGEST_SPACE;
  size_t limit = tarn_limits_address_space();
  if (limit != TARN_NO_LIMIT) {
    size_t half = limit / 2;
    while (size > TARN_ARENA_SIZE && size > half)
      size /= 2;
  }
  return round_up(size < TARN_ARENA_SIZE ? TARN_ARENA_SIZE : size, TARN_ARENA_SIZE);
}

/* The tables' sizes for a heap range of `size` bytes, each of whole pages. */
struct sizes {
  size_t map, owners, bytes, pools, remote, marks, cards, bits, arenas;
};
static struct sizes table_sizes(size_t size) {
  size_t units = size / TARN_UNIT_SIZE;
  size_t page = tarn_os_page_size();
  return (struct sizes){.map = round_up(units * sizeof(uint64_t), page),
                        .owners = round_up(units * sizeof(struct tarn_local *), page),
                        .bytes = round_up(units, page), /* ages, and once more for dirty */
                        .pools = round_up(units * sizeof(struct tarn_pool), page),
                        .remote = round_up(units * TARN_REMOTE_WORDS * sizeof(uint64_t), page),
                        .marks = round_up(size >> TARN_GRANULE_SHIFT, page),
                        .cards = round_up(size >> TARN_CARD_SHIFT, page),
                        .bits = round_up(size / TARN_ARENA_SIZE / 8 + 8, page),
                        .arenas = round_up(size / TARN_ARENA_SIZE * sizeof(void *), page)};
}

static bool lay_out(size_t size) {
  struct sizes sizes = table_sizes(size);
  /* Those that exist from the start: what any word at all may lead to is readable. */
  size_t first = sizes.bits + sizes.arenas + sizes.map + sizes.owners + 2 * sizes.bytes;
  size_t shown = sizes.pools + sizes.remote + sizes.marks + sizes.cards;
  size_t tables = first + shown;
  size_t total = tables + size + TARN_ARENA_SIZE; /* room to align the range */
  char *start = tarn_os_reserve(total);
  if (!start)
    return false;
  if (!tarn_os_commit(start, first) || !tarn_os_show(start + first, shown)) {
    tarn_os_unmap(start, total);
    return false;
  }
  arena_free = (uint64_t *)(void *)start;
  arena_count = size / TARN_ARENA_SIZE;
  for (size_t i = 0; i < arena_count; i++)
    arena_free[i / 64] |= (uint64_t)1 << (i % 64);
  start += sizes.bits;
  tarn_space.arenas = (struct tarn_arena **)(void *)start;
  start += sizes.arenas;
  tarn_space.map = (_Atomic uint64_t *)(void *)start;
  start += sizes.map;
  tarn_space.owners = (_Atomic(struct tarn_local *) *)(void *)start;
  start += sizes.owners;
  tarn_space.ages = (uint8_t *)start;
  start += sizes.bytes;
  tarn_space.dirty = (uint8_t *)start;
  start += sizes.bytes;
  tarn_space.pools = (struct tarn_pool *)(void *)start;
  start += sizes.pools;
  tarn_space.remote = (_Atomic uint64_t *)(void *)start;
  tarn_space.marks = (uint8_t *)start + sizes.remote;
  tarn_space.cards = tarn_space.marks + sizes.marks;
  tarn_space.base = round_up((uintptr_t)tarn_space.cards + sizes.cards, TARN_ARENA_SIZE);
  tarn_space.size = size;
  tarn_space.pools_bias = (uintptr_t)tarn_space.pools - tarn_inline_shift(tarn_space.base);
  return true;
}

/* Raw free blocks carry this mixed with their address; a guess must not be able to forge it. */
static void choose_secret(void) {
  const void *random = (const void *)getauxval(AT_RANDOM); /* 16 bytes from the kernel */
  uintptr_t secret = (uintptr_t)tarn_os_now() * 0x9e3779b97f4a7c15u;
  if (random) {
    uintptr_t words[2];
    memcpy(words, random, sizeof words);
    secret ^= words[1];
#if TARN_HARDENED
    /* Mixed: what the C library guards stacks with is made of the same words. */
    tarn_link_secret = (secret ^ words[0]) * 0xd6e8feb86659fd93u;
    tarn_link_secret ^= tarn_link_secret >> 32;
#endif
  }
  tarn_free_secret = secret | 1; /* never the address itself, never zero mixed with an address */
}

tarn_status tarn_space_start(size_t wanted) {
  tarn_space_lock();
  bool good = tarn_space.base != 0;
  if (!good) {
    choose_secret();
    for (size_t size = first_size(wanted); !good && size >= TARN_ARENA_SIZE;
         size = size / 2 & ~(TARN_ARENA_SIZE - 1))
      good = lay_out(size);
    if (good)
      tarn_tools_start(tarn_space.base, tarn_space.size);
  }
  tarn_space_unlock();
  return good ? TARN_OK : TARN_ENOMEM;
}

static bool arena_is_free(size_t index) { return arena_free[index / 64] >> (index % 64) & 1; }
static void arena_flip(size_t index) { arena_free[index / 64] ^= (uint64_t)1 << (index % 64); }

/* First fit; `count` arenas in a row, the first at a multiple of `alignment`. */
static size_t find_arenas(size_t count, size_t alignment) {
  size_t run = 0, offset = tarn_space.base >> TARN_ARENA_SHIFT;
  for (size_t i = 0; i < arena_count; i++) {
    if (run == 0 && i % 64 == 0 && arena_free[i / 64] == 0) {
      i += 63;
      continue;
    }
    run = arena_is_free(i) ? run + 1 : 0;
    if (run >= count && ((offset + i + 1 - count) & (alignment - 1)) == 0)
      return i + 1 - count;
  }
  return SIZE_MAX;
}

/* Commits the pages that hold `bytes` of a table from `start` on. */
static bool commit_table(const void *start, size_t bytes) {
  uintptr_t page = tarn_os_page_size();
  uintptr_t first = (uintptr_t)start & ~(page - 1);
  return tarn_os_commit((void *)first, round_up((uintptr_t)start + bytes, page) - first);
}

/* Commits memory, descriptors and remote bits of the arenas; map words and owners are committed
 * from the start, mark bytes by tarn_space_commit_marks. */
static bool commit_arenas(uintptr_t base, size_t bytes) {
  size_t unit = tarn_unit_of(base), units = bytes / TARN_UNIT_SIZE;
  return tarn_os_commit((void *)base, bytes) &&
         commit_table(&tarn_space.pools[unit], units * sizeof(struct tarn_pool)) &&
         commit_table(tarn_remote_bits(unit), units * TARN_REMOTE_WORDS * sizeof(uint64_t));
}

void *tarn_space_take_arenas(size_t count) { return tarn_space_take_arenas_aligned(count, 1); }

void *tarn_space_take_arenas_aligned(size_t count, size_t alignment) {
  tarn_space_lock();
  size_t first = find_arenas(count, alignment);
  uintptr_t base = 0;
  if (first != SIZE_MAX) {
    base = tarn_space.base + first * TARN_ARENA_SIZE;
    if (commit_arenas(base, count * TARN_ARENA_SIZE)) {
      for (size_t i = 0; i < count; i++)
        arena_flip(first + i);
      tarn_tools_arena((const void *)base, count * TARN_ARENA_SIZE, true);
    } else {
      base = 0;
    }
  }
  tarn_space_unlock();
  return (void *)base;
}

static void clean_words(uintptr_t first, uintptr_t end) {
  for (uint64_t *word = (uint64_t *)first; (uintptr_t)word < end; word++)
    if (*word) /* a look first: most pages may not exist */
      *word = 0;
}

/*
 * All reads as zero afterwards, whether the system takes the pages back (it does not where a
 * program has locked its memory) or not.  Only whole pages are given back: the descriptors of an
 * arena are 32 KiB, and where pages are 64 KiB its neighbour's share one with them.
 */
static void clean(void *start, size_t bytes) {
  uintptr_t page = tarn_os_page_size(), from = (uintptr_t)start, to = from + bytes;
  uintptr_t first = (from + page - 1) & ~(page - 1), end = to & ~(page - 1);
  if (first < end && tarn_os_purge((void *)first, end - first)) {
    clean_words(from, first);
    clean_words(end, to);
  } else {
    clean_words(from, to);
  }
}

/* An arena's cards are 128 KiB: whole pages where these are no larger. */
static void purge_cards(uintptr_t base, size_t bytes) {
  uintptr_t page = tarn_os_page_size();
  uintptr_t first = ((uintptr_t)tarn_card(base) + page - 1) & ~(page - 1);
  uintptr_t end = ((uintptr_t)tarn_card(base) + (bytes >> TARN_CARD_SHIFT)) & ~(page - 1);
  if (first < end)
    (void)tarn_os_purge((void *)first, end - first);
}

void tarn_space_give_arenas(void *base, size_t count) {
  size_t first = ((uintptr_t)base - tarn_space.base) / TARN_ARENA_SIZE;
  size_t bytes = count * TARN_ARENA_SIZE;
  for (size_t i = 0; i < count * TARN_ARENA_UNITS; i++)
    tarn_map_set(first * TARN_ARENA_UNITS + i, 0);
  tarn_tools_arena(base, bytes, false);
  clean(base, bytes);
  clean(tarn_pool_of((uintptr_t)base), count * TARN_ARENA_UNITS * sizeof(struct tarn_pool));
  clean(tarn_remote_bits(first * TARN_ARENA_UNITS),
        count * TARN_ARENA_UNITS * TARN_REMOTE_WORDS * sizeof(uint64_t));
  (void)tarn_os_purge(tarn_mark_byte((uintptr_t)base), bytes >> TARN_GRANULE_SHIFT);
  purge_cards((uintptr_t)base, bytes);
  tarn_space_lock();
  for (size_t i = 0; i < count; i++)
    arena_flip(first + i);
  tarn_space_unlock();
}

void tarn_space_keep_ages(void) {
  /* Relaxed: threads of the world learn of it through the stop; to others it does not matter. */
  __atomic_store_n(&tarn_space.collects, true, __ATOMIC_RELAXED);
}

bool tarn_space_commit_marks(void *base, size_t bytes) {
  tarn_space_keep_ages();
  return tarn_os_commit(tarn_mark_byte((uintptr_t)base), bytes >> TARN_GRANULE_SHIFT) &&
         commit_table(tarn_card((uintptr_t)base), bytes >> TARN_CARD_SHIFT);
}

void tarn_space_populate_marks(size_t first, size_t count) {
  tarn_os_populate(tarn_mark_byte(tarn_unit_base(first)),
                   (count * TARN_UNIT_SIZE) >> TARN_GRANULE_SHIFT);
}

void tarn_space_huge_marks(void) {
  tarn_space_lock();
  if (!marks_are_huge)
    tarn_os_huge_pages(tarn_space.marks, tarn_space.size >> TARN_GRANULE_SHIFT, true);
  marks_are_huge = true;
  tarn_space_unlock();
}

unsigned tarn_space_take_id(void) {
  unsigned id = 0;
  tarn_space_lock();
  for (unsigned i = 1; i <= WORLD_ID_MAX && !id; i++)
    if (!(ids[i / 64] >> (i % 64) & 1)) {
      ids[i / 64] |= (uint64_t)1 << (i % 64);
      id = i;
    }
  tarn_space_unlock();
  return id;
}

void tarn_space_give_id(unsigned id) {
  tarn_space_lock();
  ids[id / 64] &= ~((uint64_t)1 << (id % 64));
  tarn_space_unlock();
}
