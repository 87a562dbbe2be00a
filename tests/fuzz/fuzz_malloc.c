/* SPDX-License-Identifier: MIT */
/*
 * fuzz_malloc: the bytes are a program of calls of the malloc door.
 *
 * The door is called by the engine's own names (doors/malloc.h), for libFuzzer and the sanitizers
 * have a malloc of their own: both live in the process side by side.  A table knows each block's
 * size and what it was filled with: contents must stay, alignment must be kept, and no two blocks
 * may overlap.  Sizes and errno are checked against the manual pages and doc/malloc.md.
 *
 * The door has one world for the whole process, so a run begins with the pools that earlier runs
 * left.  All blocks are freed at the end of each.
 */
#include "fuzz.h"

#include "doors/malloc.h"
#include "os/os.h"
#include <errno.h>

enum {
  BLOCKS = 64,
  STEPS = 400,
  CONTENTS = 1024, /* so many bytes at both ends are filled and looked at */
  KEPT_ERRNO = 77,
};
#define TOTAL_MOST ((size_t)64 << 20)
#define SIZE_MOST ((size_t)4 << 20)

static struct entry {
  uint8_t *at;
  size_t size, seed;
} blocks[BLOCKS];
static size_t total, seeds;

/* --- contents -------------------------------------------------------------------------------- */

FUZZ_PLAIN static bool is_looked_at(const struct entry *entry, size_t at) {
  return at < CONTENTS || at + CONTENTS >= entry->size;
}

FUZZ_PLAIN static size_t next_looked_at(const struct entry *entry, size_t at) {
  return is_looked_at(entry, at) ? at : entry->size - CONTENTS;
}

FUZZ_PLAIN static void fill(struct entry *entry) {
  entry->seed = ++seeds;
  for (size_t i = 0; i < entry->size; i++) {
    i = next_looked_at(entry, i);
    entry->at[i] = fuzz_pattern(entry->seed, i);
  }
}

FUZZ_PLAIN static void check_contents(const struct entry *entry, const uint8_t *at, size_t size) {
  for (size_t i = 0; i < entry->size && i < size; i++) {
    i = next_looked_at(entry, i);
    FUZZ_CHECK(i >= size || at[i] == fuzz_pattern(entry->seed, i));
  }
}

FUZZ_PLAIN static void check_zero(const uint8_t *at, size_t size) {
  size_t i = 0;
  for (; i + sizeof(uint64_t) <= size; i += sizeof(uint64_t))
    FUZZ_CHECK(*(const uint64_t *)(const void *)(at + i) == 0);
  for (; i < size; i++)
    FUZZ_CHECK(at[i] == 0);
}

/* --- what every block must be ---------------------------------------------------------------- */

FUZZ_PLAIN static void check_apart(const uint8_t *at, size_t size, const struct entry *except) {
  for (const struct entry *other = blocks; other < blocks + BLOCKS; other++)
    FUZZ_CHECK(!other->at || other == except || at + size <= other->at ||
               other->at + tarn_door_usable_size(other->at) <= at);
}

/* 12.5 % at most are lost to rounding, as doc/malloc.md says; large blocks get pages. */
static void check_room(size_t size, size_t usable) {
  size_t rounded = (size + 15) & ~(size_t)15;
  FUZZ_CHECK(usable >= size);
  FUZZ_CHECK(usable <= rounded + rounded / 8 + 16 || size > TARN_LARGE_LIMIT);
  FUZZ_CHECK(size <= TARN_LARGE_LIMIT || usable < size + tarn_os_page_size());
}

/* Takes a block into the table. */
static void keep(struct entry *entry, void *block, size_t size, size_t alignment) {
  FUZZ_CHECK(block && (uintptr_t)block % 16 == 0 && (uintptr_t)block % alignment == 0);
  check_apart(block, tarn_door_usable_size(block), entry);
  *entry = (struct entry){block, size, 0};
  total += size;
  fill(entry);
}

static void drop(struct entry *entry) {
  if (!entry->at)
    return;
  check_contents(entry, entry->at, SIZE_MAX);
  total -= entry->size;
  errno = KEPT_ERRNO;
  tarn_door_free(entry->at);
  FUZZ_CHECK(errno == KEPT_ERRNO);
  *entry = (struct entry){0};
}

/* --- operations ------------------------------------------------------------------------------ */

/* Mostly small; the first byte says of what order. */
static size_t read_size(struct fuzz_input *input) {
  unsigned order = fuzz_byte(input);
  if (order < 128)
    return order * 8 + fuzz_byte(input) % 9;
  if (order < 224)
    return fuzz_number(input, 2);
  if (order < 255)
    return fuzz_number(input, 3) % SIZE_MOST;
  return SIZE_MAX - fuzz_number(input, 2) * (fuzz_byte(input) % 2 ? 1 : (size_t)1 << 48);
}

/* More than there can be. */
static bool is_refused(void *block) {
  FUZZ_CHECK(!block && errno == ENOMEM);
  return true;
}

static void do_malloc(struct entry *entry, size_t size) {
  void *block = tarn_door_malloc(size);
  if (size > TARN_OBJECT_MAX && is_refused(block))
    return;
  check_room(size, tarn_door_usable_size(block));
  keep(entry, block, size, 16);
}

static void do_calloc(struct entry *entry, size_t size, size_t count) {
  size_t bytes;
  bool overflows = __builtin_mul_overflow(size, count, &bytes);
  if (!overflows && bytes > SIZE_MOST && bytes <= TARN_OBJECT_MAX)
    return;
  void *block = tarn_door_calloc(count, size);
  if ((overflows || bytes > TARN_OBJECT_MAX) && is_refused(block))
    return;
  check_zero(block, bytes);
  keep(entry, block, bytes, 16);
}

static void do_realloc(struct entry *entry, size_t size) {
  if (size == 0) {
    if (entry->at)
      check_contents(entry, entry->at, SIZE_MAX);
    void *block = tarn_door_realloc(entry->at, 0);
    if (entry->at) {
      FUZZ_CHECK(!block);
      total -= entry->size;
      *entry = (struct entry){0};
    } else {
      keep(entry, block, 0, 16);
    }
    return;
  }
  uint8_t *block = tarn_door_realloc(entry->at, size);
  if (size > TARN_OBJECT_MAX && is_refused(block)) {
    if (entry->at)
      check_contents(entry, entry->at, SIZE_MAX);
    return;
  }
  FUZZ_CHECK(block && tarn_door_usable_size(block) >= size);
  if (entry->at)
    check_contents(entry, block, size);
  total -= entry->size;
  keep(entry, block, size, 16);
}

static void do_aligned(struct entry *entry, size_t alignment, size_t size) {
  size_t raised = 1;
  while (raised < alignment)
    raised *= 2;
  void *block = tarn_door_memalign(alignment, size);
  if (size > TARN_OBJECT_MAX && is_refused(block))
    return;
  FUZZ_CHECK(block && tarn_door_usable_size(block) >= size);
  keep(entry, block, size, raised);
}

static void do_posix_memalign(struct entry *entry, size_t alignment, size_t size) {
  void *block = entry;
  bool good = alignment % sizeof(void *) == 0 && alignment && !(alignment & (alignment - 1));
  errno = KEPT_ERRNO;
  int result = tarn_door_posix_memalign(&block, alignment, size);
  FUZZ_CHECK(errno == KEPT_ERRNO);
  FUZZ_CHECK(result == (!good ? EINVAL : size > TARN_OBJECT_MAX ? ENOMEM : 0));
  if (result != 0)
    FUZZ_CHECK(block == entry);
  else
    keep(entry, block, size, alignment);
}

static void do_pages(struct entry *entry, bool whole, size_t size) {
  size_t page = tarn_os_page_size();
  void *block = whole ? tarn_door_pvalloc(size) : tarn_door_valloc(size);
  if (size > TARN_OBJECT_MAX && is_refused(block))
    return;
  FUZZ_CHECK(tarn_door_usable_size(block) >= (whole ? (size + page - 1) / page * page : size));
  keep(entry, block, size, page);
}

/* The whole block may be used, whatever was asked for. */
static void do_usable(struct entry *entry) {
  FUZZ_CHECK(tarn_door_usable_size(NULL) == 0);
  if (!entry->at)
    return;
  check_contents(entry, entry->at, SIZE_MAX);
  size_t usable = tarn_door_usable_size(entry->at);
  FUZZ_CHECK(usable >= entry->size);
  total += usable - entry->size;
  entry->size = usable;
  fill(entry);
}

static void do_figures(struct fuzz_input *input) {
  struct mallinfo2 info = tarn_door_mallinfo2();
  size_t used = 0;
  for (const struct entry *entry = blocks; entry < blocks + BLOCKS; entry++)
    used += entry->at ? entry->size : 0;
  FUZZ_CHECK(used == total);
  FUZZ_CHECK(info.uordblks + info.hblkhd >= used);
  FUZZ_CHECK(info.uordblks <= info.arena);
  (void)tarn_door_trim(fuzz_number(input, 3));
}

static size_t read_alignment(struct fuzz_input *input) {
  unsigned byte = fuzz_byte(input);
  size_t power = (size_t)1 << byte % 21;
  return byte < 210 ? power : power + byte;
}

static void step(struct fuzz_input *input) {
  unsigned what = fuzz_byte(input);
  struct entry *entry = &blocks[fuzz_byte(input) % BLOCKS];
  unsigned kind = what % 16;
  if (kind < 9 && kind != 4)
    drop(entry);
  switch (kind) {
  case 0:
  case 1:
  case 2:
  case 3:
    do_malloc(entry, read_size(input));
    break;
  case 4:
  case 9:
  case 10:
    do_realloc(entry, read_size(input));
    break;
  case 5:
    do_calloc(entry, read_size(input), what & 16 ? fuzz_number(input, 2) : 1);
    break;
  case 6: {
    size_t alignment = read_alignment(input);
    do_aligned(entry, alignment, read_size(input));
    break;
  }
  case 7: {
    size_t alignment = read_alignment(input);
    do_posix_memalign(entry, alignment, read_size(input));
    break;
  }
  case 8:
    do_pages(entry, what & 16, read_size(input));
    break;
  case 11:
    do_usable(entry);
    break;
  case 12:
    do_figures(input);
    break;
  default:
    drop(entry);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct fuzz_input input = {data, data + size};
  for (unsigned steps = 0; fuzz_more(&input) && steps < STEPS && total < TOTAL_MOST; steps++)
    step(&input);
  for (struct entry *entry = blocks; entry < blocks + BLOCKS; entry++)
    drop(entry);
  FUZZ_CHECK(total == 0);
  return 0;
}
