/* SPDX-License-Identifier: MIT */
/*
 * Every function of the malloc family: what it returns, errno, alignment, contents, limits.  Run
 * with the C library's own malloc as well, which must agree.
 */
#include "door_test.h"
#include <errno.h>
#include <malloc.h>

/* clang looks at constant alignments of any declared memalign, so some are called like this. */
static void *(*volatile memalign_of)(size_t, size_t) = memalign;
static void *(*volatile aligned_alloc_of)(size_t, size_t) = aligned_alloc;
static int (*volatile posix_memalign_of)(void **, size_t, size_t) = posix_memalign;

#define TOO_MUCH ((size_t)PTRDIFF_MAX + 1)

static bool aligned(const void *block, size_t alignment) {
  return (uintptr_t)block % alignment == 0;
}

static void all_small_sizes(void) {
  void *blocks[4097];
  for (size_t size = 0; size <= 4096; size++) {
    errno = 77;
    blocks[size] = malloc(size);
    CHECK(blocks[size] && aligned(blocks[size], 16) && errno == 77);
    CHECK(malloc_usable_size(blocks[size]) >= size);
    door_fill(blocks[size], malloc_usable_size(blocks[size]), (unsigned)size);
  }
  for (size_t size = 0; size <= 4096; size++) {
    CHECK(door_filled(blocks[size], malloc_usable_size(blocks[size]), (unsigned)size));
    errno = 78;
    free(blocks[size]);
    CHECK(errno == 78);
  }
}

static void large_sizes(void) {
  for (size_t size = 4096; size < (size_t)200 << 20; size = size * 3 / 2 + 1) {
    errno = 77;
    char *block = malloc(size);
    CHECK(block && aligned(block, 16) && malloc_usable_size(block) >= size);
    block[0] = block[size - 1] = 1;
    free(block);
    CHECK(errno == 77);
  }
}

static void cleared(void) {
  for (size_t size = 1; size < 3000000; size = size * 5 / 4 + 1) {
    char *dirty = malloc(size);
    CHECK(dirty);
    memset(dirty, 0xff, size);
    free(dirty);
    char *block = calloc(size % 7 + 1, size / (size % 7 + 1) + 1);
    CHECK(block && aligned(block, 16));
    for (size_t i = 0; i < size; i++)
      CHECK(block[i] == 0);
    free(block);
  }
  free(calloc(0, 10));
  free(calloc(10, 0));
}

static void too_much(void) {
  size_t volatile half = (size_t)1 << 33, more = TOO_MUCH; /* the compiler must not know */
  errno = 0;
  CHECK(!malloc(more) && errno == ENOMEM);
  errno = 0;
  CHECK(!malloc(SIZE_MAX - half + half) && errno == ENOMEM);
  errno = 0;
  CHECK(!malloc(more - 4096) && errno == ENOMEM);
  errno = 0;
  CHECK(!calloc(half, half) && errno == ENOMEM);
  errno = 0;
  CHECK(!calloc(more, 1) && errno == ENOMEM);
  errno = 0;
  CHECK(!aligned_alloc(64, more) && errno == ENOMEM);
  errno = 0;
  CHECK(!valloc(more) && errno == ENOMEM);
  errno = 0;
  CHECK(!pvalloc(SIZE_MAX - half + half) && errno == ENOMEM);
  errno = 0;
  CHECK(!memalign_of((size_t)1 << 62, 64) && errno == ENOMEM);
  char *block = malloc(100);
  door_fill(block, 100, 9);
  errno = 0;
  CHECK(!realloc(block, more) && errno == ENOMEM);
  errno = 0;
  CHECK(!reallocarray(block, half, half) && errno == ENOMEM);
  CHECK(door_filled(block, 100, 9)); /* still there */
  free(block);
  block = malloc(100000);
  CHECK(block);
  for (size_t size = SIZE_MAX; size > (size_t)1 << 60; size -= (size_t)1 << 58) {
    errno = 0;
    CHECK(!realloc(block, size) && errno == ENOMEM);
  }
  free(block);
}

static void realloc_keeps(void) {
  for (size_t from = 1; from < 2000000; from = from * 3 / 2 + 3)
    for (size_t to = 1; to < 2000000; to = to * 5 / 2 + 5) {
      char *block = malloc(from);
      CHECK(block);
      door_fill(block, from, (unsigned)from);
      errno = 77;
      char *other = realloc(block, to);
      CHECK(other && aligned(other, 16) && errno == 77 && malloc_usable_size(other) >= to);
      CHECK(door_filled(other, from < to ? from : to, (unsigned)from));
      door_fill(other, to, 3);
      free(other);
    }
  void *block = realloc(NULL, 40);
  CHECK(block);
  CHECK(!realloc(block, 0)); /* frees */
  block = realloc(NULL, 0);
  CHECK(block);
  free(block);
  int *array = reallocarray(NULL, 10, sizeof(int));
  CHECK(array);
  array[9] = 4;
  array = reallocarray(array, 100000, sizeof(int));
  CHECK(array && array[9] == 4);
  free(array);
  char *grows = NULL; /* many steps */
  for (size_t size = 1; size < 3000000; size += 1 + size / 50) {
    grows = realloc(grows, size);
    CHECK(grows);
    grows[size - 1] = (char)size;
  }
  free(grows);
}

static void check_aligned(void *block, size_t alignment, size_t size) {
  CHECK(block && aligned(block, alignment) && malloc_usable_size(block) >= size);
  if (size > 0)
    ((char *)block)[0] = ((char *)block)[size - 1] = 1;
}

static void alignments(void) {
  for (size_t alignment = 8; alignment <= (size_t)1 << 20; alignment *= 2) {
    size_t step = alignment > 4096 ? 509 : alignment > 256 ? 61 : 1;
    for (size_t size = 0; size <= 4096; size += step) {
      void *a = aligned_alloc(alignment, size), *b = memalign(alignment, size), *c = NULL;
      errno = 77;
      CHECK(posix_memalign(&c, alignment, size) == 0 && errno == 77);
      check_aligned(a, alignment, size);
      check_aligned(b, alignment, size);
      check_aligned(c, alignment, size);
      CHECK(a != b && b != c && a != c);
      free(b);
      free(a);
      free(c);
    }
  }
  for (size_t size = 10000; size < 20000000; size = size * 2 + 1)
    for (size_t alignment = 32; alignment <= (size_t)4 << 20; alignment *= 8) {
      void *block = memalign(alignment, size);
      check_aligned(block, alignment, size);
      block = realloc(block, size + 100000);
      check_aligned(block, 16, size + 100000);
      free(block);
    }
  void *huge = memalign((size_t)256 << 20, 1000);
  check_aligned(huge, (size_t)256 << 20, 1000);
  free(huge);
}

static void odd_alignments(void) {
  void *block = (void *)77;
  errno = 78;
  CHECK(posix_memalign_of(&block, 3, 10) == EINVAL && block == (void *)77);
  CHECK(posix_memalign_of(&block, 0, 10) == EINVAL);
  CHECK(posix_memalign_of(&block, 4, 10) == EINVAL); /* less than a pointer */
  CHECK(posix_memalign_of(&block, 24, 10) == EINVAL);
  CHECK(posix_memalign_of(&block, 64, TOO_MUCH) == ENOMEM && block == (void *)77);
  CHECK(errno == 78 || door_is_plain());
  block = aligned_alloc_of(24, 10); /* raised to a power of two */
  check_aligned(block, 32, 10);
  free(block);
  block = memalign_of(0, 10);
  check_aligned(block, 16, 10);
  free(block);
  errno = 0;
  CHECK(!memalign_of(SIZE_MAX / 2 + 2, 10) && errno == EINVAL);
  errno = 0;
  CHECK(!aligned_alloc_of(SIZE_MAX / 2 + 2, 10) && errno == EINVAL);
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  block = valloc(10);
  check_aligned(block, page, 10);
  free(block);
  block = pvalloc(page + 1);
  check_aligned(block, page, 2 * page);
  free(block);
}

static void figures(void) {
  struct mallinfo2 before = mallinfo2();
  char *small[1000], *large = malloc((size_t)8 << 20);
  for (int i = 0; i < 1000; i++)
    small[i] = malloc(1000);
  struct mallinfo2 after = mallinfo2();
  CHECK(after.uordblks >= before.uordblks + 900000 && after.arena >= after.uordblks);
  if (!door_is_plain()) /* there it depends on what was freed before */
    CHECK(after.hblks == before.hblks + 1 && after.hblkhd >= before.hblkhd + ((size_t)8 << 20));
  CHECK(after.arena == after.uordblks + after.fordblks);
  for (int i = 0; i < 1000; i++)
    free(small[i]);
  free(large);
  struct mallinfo2 end = mallinfo2();
  CHECK(end.hblks <= before.hblks && end.uordblks < after.uordblks);
  (void)malloc_trim(0);
  CHECK(malloc_trim(0) == 0 || door_is_plain());
  CHECK(mallopt(M_MMAP_THRESHOLD, 1 << 20) == 1);
  CHECK(mallopt(M_TRIM_THRESHOLD, 1 << 20) == 1);
  CHECK(mallopt(M_ARENA_MAX, 1) == 1);
  CHECK(mallopt(M_MXFAST, 64) == 1 && mallopt(M_MXFAST, 4096) == 0);
  CHECK(mallopt(-4711, 1) == 0 || door_is_plain());
  char *text = NULL;
  size_t length = 0;
  FILE *stream = open_memstream(&text, &length);
  CHECK(stream && malloc_info(1, stream) == EINVAL && malloc_info(0, stream) == 0);
  CHECK(fclose(stream) == 0);
  CHECK(strncmp(text, "<malloc version=\"1\">\n<heap nr=\"0\">", 34) == 0);
  CHECK(strstr(text, "</heap>") && strcmp(text + length - 10, "</malloc>\n") == 0);
  free(text);
  malloc_stats();
}

static size_t resident(void) {
  long pages = 0, all;
  FILE *file = fopen("/proc/self/statm", "r");
  CHECK(file && fscanf(file, "%ld %ld", &all, &pages) == 2 && fclose(file) == 0);
  return (size_t)pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* The end of a large block that becomes smaller goes back to the system; the rest stays as it is.
 */
static void large_blocks_shrink(void) {
  enum { MIB = 1 << 20 };
  char *block = malloc(16 * MIB);
  CHECK(block);
  door_fill(block, 16 * MIB, 3);
  size_t before = resident();
  char *less = realloc(block, 10 * MIB);
  CHECK(less && malloc_usable_size(less) >= 10 * MIB && door_filled(less, 10 * MIB, 3));
  CHECK(before >= 16 * MIB && resident() + 5 * MIB <= before);
  less = realloc(less, 1 * MIB);
  CHECK(less && door_filled(less, 1 * MIB, 3));
  free(less);
}

/* Blocks come back: a program that frees what it allocates does not grow. */
static void memory_is_used_again(void) {
  size_t first = 0;
  for (int round = 0; round < 30; round++) {
    void *blocks[3000];
    for (int i = 0; i < 3000; i++)
      CHECK((blocks[i] = malloc((size_t)(i * 37 % 5000))));
    for (int i = 0; i < 3000; i++)
      free(blocks[(i * 1009) % 3000]);
    if (round == 5)
      first = mallinfo2().arena;
  }
  CHECK(mallinfo2().arena <= first + ((size_t)1 << 20));
}

int main(void) {
  door_required(60);
  CHECK(malloc_usable_size(NULL) == 0);
  free(NULL);
  all_small_sizes();
  large_sizes();
  cleared();
  too_much();
  realloc_keeps();
  alignments();
  odd_alignments();
  figures();
  large_blocks_shrink();
  memory_is_used_again();
  return 0;
}
