/* SPDX-License-Identifier: MIT */
/* Raw blocks, the memory that a program manages by hand: arrays, alignments, resizing, the order in
 * which freed blocks come back, and how they get on with the collector. */
#include "support.h"

#include "heap/find.h"
#include "heap/local.h"
#include <signal.h>
#include <stdatomic.h>

struct fixture {
  tarn_world *world;
  tarn_thread *self;
  tarn_heap *heap; /* an atomic one beside the world's own */
};

static int start(void **state) {
  struct fixture *f = calloc(1, sizeof *f);
  assert_non_null(f);
  f->world = support_world("collect=off");
  f->self = support_attach(f->world);
  assert_int_equal(tarn_heap_create(f->world, TARN_HEAP_ATOMIC, &f->heap), TARN_OK);
  *state = f;
  return 0;
}

static int stop(void **state) {
  struct fixture *f = *state;
  support_verify(f->self);
  assert_int_equal(tarn_thread_detach(f->self), TARN_OK);
  support_end(f->world);
  free(f);
  return 0;
}

static void collect(tarn_thread *self) {
  assert_int_equal(tarn_collect(self, TARN_GENERATION_FULL), TARN_OK);
}

static void refused(tarn_thread *self, const void *block, tarn_status status) {
  assert_null(block);
  assert_int_equal(tarn_thread_status(self), status);
}

static bool is_zero(const char *bytes, size_t size) {
  return bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0;
}

/* Contents that are told apart wherever they are cut: a long row of random bytes, from number
 * `seed` on. */
static unsigned char row[4 * MIB];

static void fill(void *block, size_t size, unsigned seed) { memcpy(block, row + seed % 256, size); }
static bool holds(const void *block, size_t size, unsigned seed) {
  return memcmp(block, row + seed % 256, size) == 0;
}

static uint64_t next_random(uint64_t *seed) {
  *seed = *seed * 6364136223846793005u + 1442695040888963407u;
  return *seed >> 33;
}

/* Steps over sizes: each one where it costs little. */
static size_t next_size(size_t size) { return size + (size < 600 || !SUPPORT_SANITIZED ? 1 : 61); }

/* --- arrays ---------------------------------------------------------------------------------- */

static void arrays_whose_size_does_not_fit_are_refused(void **state) {
  struct fixture *f = *state;
  const struct {
    size_t count, size;
  } arrays[] = {{SIZE_MAX, 2},
                {2, SIZE_MAX},
                {SIZE_MAX / 2 + 1, 2},
                {(size_t)1 << 32, (size_t)1 << 32},
                {SIZE_MAX / 3 + 2, 3}, /* wraps to a small number */
                {SIZE_MAX, SIZE_MAX},
                {SIZE_MAX, 1},
                {1, TARN_OBJECT_MAX + 1},
                {TARN_OBJECT_MAX, 2}};
  for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++)
    refused(f->self, tarn_alloc_atomic_array(f->self, arrays[i].count, arrays[i].size),
            TARN_EOVERFLOW);
  assert_int_equal(support_stats(f->world).heap_bytes, 0);
}

static void an_array_of_nothing_is_a_smallest_block(void **state) {
  struct fixture *f = *state;
  const size_t counts[][2] = {{0, 0}, {0, SIZE_MAX}, {SIZE_MAX, 0}, {0, 8}};
  for (size_t i = 0; i < 4; i++) {
    void *block = tarn_alloc_atomic_array(f->self, counts[i][0], counts[i][1]);
    assert_non_null(block);
    assert_int_equal(tarn_usable_size(f->world, block), TARN_BLOCK_MIN);
  }
}

static void an_array_is_zero_in_the_block_that_was_dirty_a_moment_ago(void **state) {
  struct fixture *f = *state;
  for (size_t size = 1; size <= 40 * KIB; size = next_size(size)) {
    size_t good = tarn_good_size(size), each = size % 3 == 0 ? 3 : 1;
    void *dirty = tarn_alloc_raw(f->self, size);
    assert_non_null(dirty);
    memset(dirty, 0xff, good);
    tarn_free(f->self, dirty);
    char *array = tarn_alloc_atomic_array(f->self, size / each, each);
    assert_non_null(array);
    if (size <= TARN_LARGE_LIMIT)
      assert_ptr_equal(array, dirty);
    if (!is_zero(array, good))
      fail_msg("an array of %zu bytes is not zero", size);
    tarn_free(f->self, array);
  }
}

/* Leaves dirty memory behind in free units. */
static void dirty_units(tarn_thread *self, size_t size, size_t bytes) {
  void *blocks[64];
  size_t count = bytes / size < 64 ? bytes / size : 64;
  for (size_t i = 0; i < count; i++)
    memset(blocks[i] = tarn_alloc_raw(self, size), 0xff, size);
  for (size_t i = 0; i < count; i++)
    tarn_free(self, blocks[i]);
}

enum way { AS_ARRAY, AS_ATOMIC, FROM_FIRST_HEAP, FROM_OTHER_HEAP, WAYS };

static char *cleared_block(struct fixture *f, enum way way, size_t size) {
  switch (way) {
  case AS_ARRAY:
    return tarn_alloc_atomic_array(f->self, 1, size);
  case AS_ATOMIC:
    return tarn_alloc_atomic(f->self, size);
  case FROM_FIRST_HEAP:
    return tarn_heap_alloc(f->self, tarn_world_heap(f->world, TARN_HEAP_ATOMIC), size);
  default:
    return tarn_heap_alloc(f->self, f->heap, size);
  }
}

static void expect_zero_blocks(struct fixture *f, enum way way, size_t size) {
  static char *blocks[6000];
  /* More than a unit: the dirty part, and what was never used. */
  size_t count = TARN_UNIT_SIZE / size * 5 / 4 + 1;
  for (size_t i = 0; i < count; i++) {
    blocks[i] = cleared_block(f, way, size);
    assert_non_null(blocks[i]);
    if (!is_zero(blocks[i], tarn_good_size(size)))
      fail_msg("way %d: block %zu of %zu bytes is not zero", (int)way, i, size);
    memset(blocks[i], 0xff, tarn_good_size(size));
  }
  for (size_t i = 0; i < count; i++)
    tarn_free(f->self, blocks[i]);
}

static void cleared_blocks_are_zero_where_raw_ones_lay(void **state) {
  struct fixture *f = *state;
  for (unsigned way = 0; way < WAYS; way++)
    for (unsigned i = 0; i < TARN_CLASS_COUNT; i += SUPPORT_SANITIZED ? 5 : 1) {
      dirty_units(f->self, 4096 + way * 1000, i % 2 ? 40 * KIB : 200 * KIB);
      expect_zero_blocks(f, (enum way)way, tarn_class_size(i));
      expect_zero_blocks(f, (enum way)way, tarn_class_size(i)); /* from the blocks just freed */
    }
}

static void large_arrays_are_zero_where_dirty_memory_lay(void **state) {
  struct fixture *f = *state;
  const size_t sizes[] = {TARN_LARGE_LIMIT + 1, 65536, 65537, 200000, MIB, 3 * MIB + 5};
  for (size_t from = 0; from < 6; from++)
    for (size_t to = 0; to < 6; to++) {
      char *dirty = tarn_alloc_raw(f->self, sizes[from]);
      memset(dirty, 0xff, tarn_good_size(sizes[from]));
      tarn_free(f->self, dirty);
      dirty_units(f->self, 3000, 190 * KIB);
      char *array = tarn_alloc_atomic_array(f->self, sizes[to], 1);
      assert_true(is_zero(array, tarn_good_size(sizes[to])));
      tarn_free(f->self, array);
    }
}

/* --- alignment ------------------------------------------------------------------------------- */

static size_t step_up(size_t size) { return size < 70 ? size + 1 : size + size / 7; }

static void *expect_aligned(struct fixture *f, size_t alignment, size_t size) {
  char *block = tarn_alloc_aligned(f->self, alignment, size);
  assert_non_null(block);
  if ((uintptr_t)block % alignment != 0 || tarn_usable_size(f->world, block) < size)
    fail_msg("%zu bytes at %zu: %p of %zu", size, alignment, (void *)block,
             tarn_usable_size(f->world, block));
  memset(block, 0xff, size);
  if (size)
    assert_true((unsigned char)block[size - 1] == 0xff);
  return block;
}

static void every_alignment_is_kept_for_every_size(void **state) {
  struct fixture *f = *state;
  for (size_t alignment = 1; alignment <= MIB; alignment *= 2)
    for (size_t size = 0; size <= 100000; size = step_up(size)) {
      void *blocks[3];
      for (size_t i = 0; i < 3; i++)
        blocks[i] = expect_aligned(f, alignment, size);
      size_t usable = tarn_usable_size(f->world, blocks[2]);
      for (size_t i = 0; i < 3; i++)
        tarn_free(f->self, blocks[i]);
      void *again = expect_aligned(f, alignment, size);
      if (usable <= TARN_LARGE_LIMIT)
        assert_ptr_equal(again, blocks[2]); /* the block that was freed last */
      tarn_free(f->self, again);
    }
  assert_int_equal(support_stats(f->world).large_objects, 0);
}

/* The thread sanitizer takes minutes for gigabytes that are made and given back. */
#define LARGEST_TRIED (SUPPORT_SANITIZED ? 64 * MIB : TARN_ALIGNMENT_MAX)

static void alignments_up_to_the_largest_are_kept(void **state) {
  struct fixture *f = *state;
  uint64_t before = support_stats(f->world).heap_bytes;
  for (int round = 0; round < 2; round++)
    for (size_t alignment = 2 * MIB; alignment <= LARGEST_TRIED; alignment *= 2) {
      void *blocks[2] = {expect_aligned(f, alignment, 5000),
                         expect_aligned(f, alignment, 3 * MIB + 1)};
      support_verify(f->self);
      tarn_free(f->self, blocks[round]);
      tarn_free(f->self, blocks[1 - round]);
      assert_int_equal(support_stats(f->world).heap_bytes, before);
    }
}

static void what_is_no_alignment_is_refused(void **state) {
  struct fixture *f = *state;
  const size_t wrong[] = {0,
                          3,
                          6,
                          7,
                          24,
                          1000,
                          MIB + 1,
                          3 * MIB,
                          2 * TARN_ALIGNMENT_MAX,
                          TARN_ALIGNMENT_MAX + 1,
                          SIZE_MAX,
                          (size_t)1 << 63};
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
    for (size_t size = 0; size < 100000; size += 33333)
      refused(f->self, tarn_alloc_aligned(f->self, wrong[i], size), TARN_EINVAL);
  for (size_t alignment = 1; alignment <= TARN_ALIGNMENT_MAX; alignment *= 2) {
    refused(f->self, tarn_alloc_aligned(f->self, alignment, TARN_OBJECT_MAX + 1), TARN_EOVERFLOW);
    refused(f->self, tarn_alloc_aligned(f->self, alignment, SIZE_MAX), TARN_EOVERFLOW);
  }
  assert_int_equal(support_stats(f->world).heap_bytes, 0);
}

static void an_aligned_block_beyond_the_limit_is_refused_and_leaves_nothing(void **state) {
  struct fixture *f = *state;
  assert_int_equal(tarn_world_set_limits(f->world, 0, 10 * MIB), TARN_OK);
  refused(f->self, tarn_alloc_aligned(f->self, 16 * MIB, 1), TARN_ELIMIT);
  refused(f->self, tarn_alloc_aligned(f->self, 4096, 11 * MIB), TARN_ELIMIT);
  assert_int_equal(support_stats(f->world).heap_bytes, 0);
  assert_non_null(tarn_alloc_aligned(f->self, 8 * MIB, 1));
}

/* --- resizing -------------------------------------------------------------------------------- */

static size_t resize_sizes[TARN_CLASS_COUNT + 6];
static size_t fill_sizes(void) {
  const size_t larges[] = {TARN_LARGE_LIMIT + 1, 50000, 65536, 131073, 700000, 2 * MIB};
  size_t count = 0;
  for (unsigned i = 0; i < TARN_CLASS_COUNT; i += SUPPORT_SANITIZED ? 3 : 1)
    resize_sizes[count++] = tarn_class_size(i) - i % 9;
  for (size_t i = 0; i < 6; i++)
    resize_sizes[count++] = larges[i];
  return count;
}

static void a_resized_block_keeps_its_contents_whatever_the_sizes(void **state) {
  struct fixture *f = *state;
  size_t count = fill_sizes();
  for (size_t from = 0; from < count; from++)
    for (size_t to = 0; to < count; to++) {
      size_t old = resize_sizes[from], new = resize_sizes[to], kept = old < new ? old : new;
      void *block = tarn_alloc_raw(f->self, old);
      fill(block, old, (unsigned)from);
      char *more = tarn_realloc(f->self, block, new);
      assert_non_null(more);
      if (!holds(more, kept, (unsigned)from))
        fail_msg("from %zu to %zu bytes", old, new);
      assert_true(tarn_usable_size(f->world, more) >= new);
      memset(more, 0xff, tarn_usable_size(f->world, more)); /* all of it is the caller's */
      tarn_free(f->self, more);
    }
  assert_int_equal(support_stats(f->world).large_objects, 0);
}

static void a_block_stays_as_long_as_half_of_it_is_used(void **state) {
  struct fixture *f = *state;
  size_t count = fill_sizes();
  for (size_t i = 0; i < count; i++) {
    size_t room = tarn_good_size(resize_sizes[i]), step = room < 700 ? 1 : room / 61;
    void *block = tarn_alloc_raw(f->self, room);
    fill(block, room, (unsigned)i);
    for (size_t size = room / 2; size <= room; size += step)
      assert_ptr_equal(tarn_realloc(f->self, block, size), block);
    assert_ptr_equal(tarn_realloc(f->self, block, room), block);
    assert_true(holds(block, room, (unsigned)i));
    void *larger = tarn_realloc(f->self, block, room + 1);
    assert_ptr_not_equal(larger, block);
    assert_true(tarn_usable_size(f->world, larger) > room);
    size_t less = tarn_usable_size(f->world, larger) / 2 - 1;
    void *smaller = tarn_realloc(f->self, larger, less);
    assert_ptr_not_equal(smaller, larger);
    assert_true(tarn_usable_size(f->world, smaller) < room + 1);
    assert_true(holds(smaller, less, (unsigned)i));
    tarn_free(f->self, smaller);
  }
}

static void the_block_that_was_left_is_free_at_once(void **state) {
  struct fixture *f = *state;
  void *block = tarn_alloc_raw(f->self, 400);
  void *more = tarn_realloc(f->self, block, 4000);
  assert_ptr_equal(tarn_alloc_raw(f->self, 400), block);
  void *large = tarn_realloc(f->self, more, 400000);
  assert_int_equal(support_stats(f->world).large_objects, 1);
  void *small = tarn_realloc(f->self, large, 4000);
  assert_ptr_equal(small, more);
  assert_int_equal(support_stats(f->world).large_objects, 0);
}

static void no_block_is_resized_to_a_new_one_and_nothing_to_the_smallest(void **state) {
  struct fixture *f = *state;
  for (size_t size = 0; size < 100000; size = step_up(size)) {
    void *block = tarn_realloc(f->self, NULL, size);
    assert_non_null(block);
    assert_int_equal(tarn_usable_size(f->world, block), tarn_good_size(size));
    memset(block, 0xff, size);
    void *least = tarn_realloc(f->self, block, 0);
    assert_int_equal(tarn_usable_size(f->world, least), TARN_BLOCK_MIN);
    tarn_free(f->self, least);
  }
  refused(f->self, tarn_realloc(f->self, NULL, TARN_OBJECT_MAX + 1), TARN_EOVERFLOW);
}

static void a_resized_block_stays_in_its_heap(void **state) {
  struct fixture *f = *state;
  const size_t sizes[] = {40, 4000, 400000, 40, 70000, 24};
  void *block = tarn_heap_alloc(f->self, f->heap, 100);
  for (size_t i = 0; i < 6; i++) {
    block = tarn_realloc(f->self, block, sizes[i]);
    assert_non_null(block);
    assert_ptr_equal(tarn_pool_of((uintptr_t)block)->heap, f->heap);
  }
  assert_int_equal(tarn_heap_destroy(f->self, f->heap), TARN_OK);
  assert_null(tarn_block_of(f->world, (uintptr_t)block, NULL));
}

static void an_object_with_a_type_is_not_resized(void **state) {
  struct fixture *f = *state;
  const tarn_type *types[] = {support_type(f->world, "container", 64, 2, NULL),
                              support_type(f->world, "leaf", 64, 0, NULL),
                              support_type(f->world, "large", 300000, 2, NULL),
                              support_type(f->world, "large leaf", 300000, 0, NULL)};
  const size_t sizes[] = {0, 16, 60, 64, 65, 300000, 400000, TARN_OBJECT_MAX};
  for (size_t t = 0; t < 4; t++) {
    uintptr_t *object = tarn_new(f->self, types[t]);
    size_t size = tarn_usable_size(f->world, object);
    memset(object + 2, 0x3c, size - 16);
    for (size_t i = 0; i < 8; i++)
      refused(f->self, tarn_realloc(f->self, object, sizes[i]), TARN_EINVAL);
    assert_ptr_equal(tarn_type_of(object), types[t]);
    assert_true(support_is_filled(object + 2, size - 16, 0x3c));
    tarn_free(f->self, object); /* it is still in use */
  }
}

static void a_block_that_cannot_grow_is_as_it_was(void **state) {
  struct fixture *f = *state;
  tarn_collect_disable(f->world);
  for (size_t size = 100; size < 300000; size *= 20) {
    void *block = tarn_alloc_raw(f->self, size), *again;
    fill(block, size, 9);
    size_t usable = tarn_usable_size(f->world, block);
    support_drop_spares(f->world);
    uint64_t held = support_stats(f->world).heap_bytes;
    assert_int_equal(tarn_world_set_limits(f->world, 0, (size_t)held), TARN_OK);
    refused(f->self, tarn_realloc(f->self, block, 3 * size), TARN_ELIMIT);
    refused(f->self, tarn_realloc(f->self, block, 50 * MIB), TARN_ELIMIT);
    refused(f->self, tarn_realloc(f->self, block, TARN_OBJECT_MAX + 1), TARN_EOVERFLOW);
    assert_int_equal(tarn_usable_size(f->world, block), usable);
    assert_true(holds(block, size, 9));
    assert_int_equal(support_stats(f->world).heap_bytes, held);
    assert_int_equal(tarn_world_set_limits(f->world, 0, 0), TARN_OK);
    again = tarn_realloc(f->self, block, 3 * size);
    assert_true(again && holds(again, size, 9));
    tarn_free(f->self, again);
  }
  assert_int_equal(tarn_collect_enable(f->world), TARN_OK);
}

static void a_block_survives_the_collection_that_its_resizing_causes(void **state) {
  struct fixture *f = *state;
  for (int round = 0; round < 20; round++) {
    void *block = tarn_alloc_raw(f->self, 1000); /* in no root */
    fill(block, 1000, 3);
    for (int i = 0; i < 40; i++)
      assert_non_null(tarn_alloc_raw(f->self, 100000)); /* garbage */
    uint64_t held = support_stats(f->world).heap_bytes,
             before = support_stats(f->world).collections;
    assert_int_equal(tarn_world_set_limits(f->world, 0, (size_t)held), TARN_OK);
    char *more = tarn_realloc(f->self, block, 500000);
    assert_int_equal(support_stats(f->world).collections, before + 1);
    assert_true(more && holds(more, 1000, 3));
    tarn_free(f->self, more);
    assert_int_equal(tarn_world_set_limits(f->world, 0, 0), TARN_OK);
  }
}

#define HELD 64
struct collecting {
  tarn_world *world;
  atomic_bool over;
};

static void *collect_often(void *data) {
  struct collecting *job = data;
  tarn_thread *self = NULL;
  if (tarn_thread_attach(job->world, &self) != TARN_OK)
    abort();
  while (!atomic_load(&job->over)) {
    (void)tarn_collect(self, TARN_GENERATION_FULL);
    tarn_block_begin(self);
    (void)usleep(300);
    tarn_block_end(self);
  }
  return NULL;
}

static void blocks_are_resized_while_others_collect(void **unused) {
  static void *blocks[HELD];
  size_t sizes[HELD] = {0};
  uint64_t seed = 11;
  (void)unused;
  struct collecting job = {.world = support_world("min-heap=1M")};
  tarn_thread *self = support_attach(job.world);
  pthread_t thread;
  memset(blocks, 0, sizeof blocks);
  for (unsigned i = 0; i < HELD; i++)
    assert_int_equal(tarn_root_add(job.world, &blocks[i]), TARN_OK);
  assert_int_equal(pthread_create(&thread, NULL, collect_often, &job), 0);
  for (int step = 0; step < (SUPPORT_SANITIZED ? 10000 : 40000); step++) {
    unsigned i = (unsigned)(next_random(&seed) % HELD);
    size_t size = (size_t)(next_random(&seed) % (step % 8 ? 2000 : step % 64 ? 20000 : 200000));
    size_t kept = size < sizes[i] ? size : sizes[i];
    blocks[i] = tarn_realloc(self, blocks[i], size);
    if (!blocks[i] || !holds(blocks[i], kept, i))
      fail_msg("step %d: from %zu to %zu bytes", step, sizes[i], size);
    fill(blocks[i], size, i);
    sizes[i] = size;
  }
  atomic_store(&job.over, true);
  tarn_block_begin(self);
  assert_int_equal(pthread_join(thread, NULL), 0);
  tarn_block_end(self);
  for (unsigned i = 0; i < HELD; i++) {
    assert_true(holds(blocks[i], sizes[i], i));
    assert_int_equal(tarn_root_remove(job.world, &blocks[i]), TARN_OK);
  }
  support_verify(self);
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  support_end(job.world);
}

/* --- crimes, each in a child ----------------------------------------------------------------- */

struct crime {
  tarn_world *world;
  tarn_thread *self;
  size_t from, to;
  ptrdiff_t shift;
  bool frees;
};

static void resize_what_is_none(void *data) {
  const struct crime *crime = data;
  (void)signal(SIGSEGV, SIG_DFL);
  char *block = tarn_alloc_raw(crime->self, crime->from);
  CHILD_CHECK(block);
  if (crime->frees)
    tarn_free(crime->self, block);
  dprintf(2, "about: tarn: block %p\n", (void *)(block + crime->shift));
  block = tarn_realloc(crime->self, block + crime->shift, crime->to);
  dprintf(2, "it went on with %p\n", (void *)block);
}

/* Did the child end by a report about the very block? */
static bool is_reported(const struct crime *crime, const char *says) {
  char text[4096], wanted[100] = "";
  int status = support_child(resize_what_is_none, (void *)(uintptr_t)crime, text, sizeof text);
  const char *about = strstr(text, "about: ");
  if (about)
    (void)snprintf(wanted, sizeof wanted, "%.*s", (int)strcspn(about + 7, "\n"), about + 7);
  const char *report = about ? strstr(about + 7 + strlen(wanted), wanted) : NULL;
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT && report && strstr(report, says))
    return true;
  print_error("from %zu to %zu: status %#x, said:\n%s\n", crime->from, crime->to, (unsigned)status,
              text);
  return false;
}

static void what_is_no_start_of_a_block_is_not_resized(void **state) {
  struct fixture *f = *state;
  const char *says = "not the start of a block of this world";
  const struct crime crimes[] = {{f->world, f->self, 100, 100, 8, false},
                                 {f->world, f->self, 100, 1000, 8, false},
                                 {f->world, f->self, 100000, 100000, 4096, false},
                                 {f->world, f->self, 100000, 300000, 65536, false},
                                 {f->world, f->self, 100000, 100000, 0, true}};
  size_t missed = 0;
  for (size_t i = 0; i < sizeof crimes / sizeof crimes[0]; i++)
    missed += !is_reported(&crimes[i], says);
  assert_int_equal(missed, 0);
}

static void a_free_block_is_not_resized_to_another(void **state) {
  struct fixture *f = *state;
  const struct crime crimes[] = {{f->world, f->self, 100, 1000, 0, true},
                                 {f->world, f->self, 1000, 100, 0, true},
                                 {f->world, f->self, 20000, 200000, 0, true}};
  size_t missed = 0;
  for (size_t i = 0; i < sizeof crimes / sizeof crimes[0]; i++)
    missed += !is_reported(&crimes[i], "freed twice");
  assert_int_equal(missed, 0);
}

static void a_free_block_is_not_resized_in_place(void **state) {
  struct fixture *f = *state;
  const struct crime crimes[] = {{f->world, f->self, 100, 100, 0, true},
                                 {f->world, f->self, 1000, 600, 0, true},
                                 {f->world, f->self, 20000, 19000, 0, true}};
  size_t missed = 0;
  for (size_t i = 0; i < sizeof crimes / sizeof crimes[0]; i++)
    missed += !is_reported(&crimes[i], "freed twice");
  assert_int_equal(missed, 0);
}

/* --- the order of reuse ---------------------------------------------------------------------- */

static size_t capacity_of(size_t size) { return TARN_UNIT_SIZE / size; }

static void what_was_freed_last_is_handed_out_first(void **state) {
  struct fixture *f = *state;
  for (unsigned i = 0; i < TARN_CLASS_COUNT; i++) {
    size_t size = tarn_class_size(i), count = capacity_of(size) < 10 ? capacity_of(size) : 10;
    void *blocks[10];
    for (size_t k = 0; k < count; k++)
      blocks[k] = tarn_alloc_raw(f->self, size);
    for (int round = 0; round < 3; round++) {
      for (size_t k = 0; k < count; k++)
        tarn_free(f->self, blocks[k]);
      for (size_t k = count; k-- > 0;)
        assert_ptr_equal(round == 0   ? tarn_alloc_raw(f->self, size)
                         : round == 1 ? tarn_alloc_atomic(f->self, size)
                                      : tarn_alloc_aligned(f->self, 8, size),
                         blocks[k]);
    }
  }
}

static void keys_of_the_last_tenant_do_not_look_like_a_double_free(void **state) {
  static void *blocks[5000];
  struct fixture *f = *state;
  for (unsigned i = 0; i < TARN_CLASS_COUNT; i += 3)
    for (int round = 0; round < 6; round++) {
      size_t size = tarn_class_size(i), count = capacity_of(size) * 9 / 8;
      /* Nothing is ever written to the blocks: all that stands in them is the library's. */
      for (size_t k = 0; k < count; k++)
        blocks[k] =
            round % 3 == 2 ? tarn_alloc_aligned(f->self, 8, size) : tarn_alloc_raw(f->self, size);
      for (size_t k = 0; k < count; k++)
        tarn_free(f->self, blocks[round % 2 ? k : count - 1 - k]);
      if (round == 3)
        collect(f->self); /* the pools go, what they hold stays */
    }
  assert_true(support_stats(f->world).pools <= TARN_CLASS_COUNT);
}

static void swept_blocks_do_not_look_like_a_double_free(void **state) {
  struct fixture *f = *state;
  for (unsigned i = 0; i < TARN_CLASS_COUNT; i += 3)
    for (int round = 0; round < 3; round++) {
      static void *blocks[4096];
      size_t size = tarn_class_size(i), count = capacity_of(size);
      void *kept = NULL;
      TARN_FRAME(f->self, &kept);
      for (size_t k = 0; k < count; k++)
        blocks[k] = tarn_alloc_raw(f->self, size);
      kept = blocks[count / 2];
      for (size_t k = 0; k < count; k += 2) /* some are free, some garbage */
        if (blocks[k] != kept)
          tarn_free(f->self, blocks[k]);
      collect(f->self);
      for (size_t k = 1; k < count; k++) {
        blocks[k] = tarn_alloc_raw(f->self, size);
        assert_ptr_not_equal(blocks[k], kept);
      }
      for (size_t k = 1; k < count; k++)
        tarn_free(f->self, blocks[k]);
      tarn_free(f->self, kept);
      kept = NULL;
    }
}

/* --- full pools ------------------------------------------------------------------------------ */

static const struct tarn_pool *pool_of(const void *block) { return tarn_pool_of((uintptr_t)block); }

static void *block_of(tarn_thread *self, size_t size, const struct tarn_pool *pool, bool in) {
  void *block = tarn_alloc_raw(self, size);
  assert_non_null(block);
  assert_true((pool_of(block) == pool) == in);
  return block;
}

static void expect_wake(struct fixture *f, size_t size) {
  static void *blocks[4096];
  support_drop_spares(f->world);
  uint64_t pools = support_stats(f->world).pools;
  size_t capacity = capacity_of(size);
  for (size_t i = 0; i < capacity; i++)
    blocks[i] = tarn_alloc_raw(f->self, size);
  const struct tarn_pool *pool = pool_of(blocks[0]);
  size_t wake = tarn_pool_wake(pool), few = (wake + 3) / 4 - 1;
  assert_true(pool_of(blocks[capacity - 1]) == pool);
  (void)block_of(f->self, size, pool, false);
  for (size_t i = 0; i < few; i++)
    tarn_free(f->self, blocks[i]);
  /* Too few: the second pool is used up, and a third one made. */
  for (size_t i = 0; i < capacity; i++)
    (void)block_of(f->self, size, pool, false);
  support_drop_spares(f->world);
  assert_int_equal(support_stats(f->world).pools, pools + 3);
  for (size_t i = few; i < wake; i++)
    tarn_free(f->self, blocks[i]);
  void *next = tarn_alloc_raw(f->self, size);
  for (size_t i = 1; pool_of(next) != pool && i <= 4096 / size; i++) /* a page is used up first */
    next = tarn_alloc_raw(f->self, size);
  assert_ptr_equal(next, blocks[wake - 1]);
  for (size_t i = wake - 1; i-- > 0;)
    assert_ptr_equal(block_of(f->self, size, pool, true), blocks[i]);
  assert_int_equal(support_stats(f->world).pools, pools + 3);
  (void)block_of(f->self, size, pool, false);
}

static void a_full_pool_is_used_again_once_enough_of_it_is_free_and_not_before(void **state) {
  struct fixture *f = *state;
  const size_t sizes[] = {16, 24, 64, 120, 512, 1024, 3072, 8192, 20480, 32768};
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
    expect_wake(f, sizes[i]);
}

static void a_pool_that_would_wake_soon_is_used_before_a_new_one_is_made(void **state) {
  struct fixture *f = *state;
  const size_t sizes[] = {16, 24, 64, 120, 512, 1024};
  static void *blocks[4096];
  for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
    size_t capacity = capacity_of(sizes[s]);
    for (size_t i = 0; i < capacity; i++)
      blocks[i] = tarn_alloc_raw(f->self, sizes[s]);
    const struct tarn_pool *pool = pool_of(blocks[0]);
    size_t holes = (tarn_pool_wake(pool) + 3) / 4;
    assert_true(pool_of(blocks[capacity - 1]) == pool && holes < tarn_pool_wake(pool));
    for (size_t i = 0; i < capacity; i++) /* the second one */
      (void)block_of(f->self, sizes[s], pool, false);
    support_drop_spares(f->world);
    for (size_t i = 0; i < holes; i++)
      tarn_free(f->self, blocks[i]);
    assert_int_equal(pool->list, TARN_LIST_FULL);
    for (size_t i = holes; i-- > 0;)
      assert_ptr_equal(block_of(f->self, sizes[s], pool, true), blocks[i]);
    (void)block_of(f->self, sizes[s], pool, false);
    collect(f->self); /* nothing of it is in a root */
  }
}

static void memory_that_was_never_touched_waits_for_what_was(void **state) {
  struct fixture *f = *state;
  /* With TARN_ZEAL a run goes on by single blocks. */
  enum { SIZE = 64, PAGE_BLOCKS = SUPPORT_ZEAL ? 1 : 4096 / SIZE };
  static void *blocks[4096];
  size_t capacity = capacity_of(SIZE);
  for (size_t i = 0; i < capacity; i++)
    blocks[i] = tarn_alloc_raw(f->self, SIZE);
  const struct tarn_pool *first = pool_of(blocks[0]);
  const struct tarn_pool *second = pool_of(block_of(f->self, SIZE, first, false));
  for (size_t i = 0; i < capacity / 2; i++)
    tarn_free(f->self, blocks[i]);
  for (size_t i = 1; i < PAGE_BLOCKS; i++) /* a page is begun, and used up */
    (void)block_of(f->self, SIZE, second, true);
  for (size_t i = 0; i < capacity / 2; i++)
    (void)block_of(f->self, SIZE, first, true);
  assert_int_equal(second->own.virgin, PAGE_BLOCKS * SIZE);
  for (size_t i = PAGE_BLOCKS; i < capacity; i++)
    (void)block_of(f->self, SIZE, second, true);
  support_verify(f->self);
}

/* The oldest of a few blocks more than a pool holds is replaced, again and again. */
static void a_pool_that_the_bin_comes_back_to_waits_with_what_was_never_touched(void **state) {
  struct fixture *f = *state;
  const size_t sizes[] = {64, 256, 1024, 4096};
  static void *blocks[4096 + 2];
  for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
    size_t count = capacity_of(sizes[s]) + 2;
    for (size_t i = 0; i < count; i++)
      blocks[i] = tarn_alloc_raw(f->self, sizes[s]);
    const struct tarn_pool *second = pool_of(blocks[count - 1]);
    assert_true(pool_of(blocks[count - 3]) != second && pool_of(blocks[count - 2]) == second);
    /* Until the first pool wakes, and to the end of a page. */
    size_t most = (2 + tarn_pool_wake(second)) * sizes[s] + 4096;
    for (size_t i = 0; i < 20 * count; i++) {
      tarn_free(f->self, blocks[i % count]);
      blocks[i % count] = tarn_alloc_raw(f->self, sizes[s]);
    }
    assert_true(second->own.virgin <= most);
    support_verify(f->self);
    collect(f->self); /* nothing of it is in a root */
  }
}

static void at_the_limit_one_free_block_of_a_full_pool_is_found(void **state) {
  struct fixture *f = *state;
  const size_t sizes[] = {16, 64, 512, 2048};
  tarn_collect_disable(f->world);
  for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
    static void *blocks[3 * 4096];
    size_t count = 3 * capacity_of(sizes[s]);
    for (size_t i = 0; i < count; i++)
      blocks[i] = tarn_alloc_raw(f->self, sizes[s]);
    assert_true(tarn_pool_wake(pool_of(blocks[0])) > 1);
    support_drop_spares(f->world);
    size_t held = (size_t)support_stats(f->world).heap_bytes;
    assert_int_equal(tarn_world_set_limits(f->world, 0, held), TARN_OK);
    refused(f->self, tarn_alloc_raw(f->self, sizes[s]), TARN_ELIMIT);
    for (size_t i = 0; i < count; i += count / 7) {
      tarn_free(f->self, blocks[i]);
      assert_ptr_equal(tarn_alloc_raw(f->self, sizes[s]), blocks[i]);
      refused(f->self, tarn_alloc_raw(f->self, sizes[s]), TARN_ELIMIT);
    }
    assert_int_equal(tarn_world_set_limits(f->world, 0, 0), TARN_OK);
  }
  assert_int_equal(tarn_collect_enable(f->world), TARN_OK);
}

/* The order of the frees: the n-th block that goes, of `count`. */
static size_t nth(unsigned order, size_t n, size_t count) {
  switch (order) {
  case 0:
    return n;
  case 1:
    return count - 1 - n;
  case 2: /* every second one, then the others */
    return n < (count + 1) / 2 ? 2 * n : 2 * (n - (count + 1) / 2) + 1;
  default: /* 7919 is prime, and no count is a multiple of it */
    return n * 7919 % count;
  }
}

static void blocks_freed_in_any_order_leave_no_pool(void **unused) {
  static void *blocks[6 * 4096];
  (void)unused;
  for (unsigned order = 0; order < 4; order++)
    for (unsigned with_tables = 0; with_tables < 2; with_tables++) {
      tarn_world *world = support_world("collect=off");
      tarn_thread *self = support_attach(world);
      if (with_tables)
        collect(self);
      for (unsigned i = 0; i < TARN_CLASS_COUNT; i += SUPPORT_SANITIZED ? 7 : 2) {
        size_t size = tarn_class_size(i), count = 5 * capacity_of(size) + 1;
        for (size_t n = 0; n < count; n++)
          blocks[n] = tarn_alloc_raw(self, size);
        support_drop_spares(world);
        uint64_t most = support_stats(world).pools;
        for (size_t n = 0; n < count; n++)
          tarn_free(self, blocks[nth(order, n, count)]);
        support_drop_spares(world);
        /* All but the bin's own. */
        assert_int_equal(support_stats(world).pools, most - 5);
      }
      support_verify(self);
      assert_int_equal(tarn_thread_detach(self), TARN_OK);
      assert_int_equal(support_stats(world).pools, 0);
      assert_int_equal(support_stats(world).heap_bytes, 0);
      support_end(world);
    }
}

/* --- with the collector ---------------------------------------------------------------------- */

static void raw_blocks_live_as_long_as_roots_say_so(void **state) {
  struct fixture *f = *state;
  void *kept[4] = {tarn_alloc_raw(f->self, 100), tarn_alloc_aligned(f->self, 512, 100),
                   tarn_alloc_atomic_array(f->self, 10, 10), tarn_alloc_raw(f->self, 100000)};
  TARN_FRAME(f->self, &kept[0], &kept[1], &kept[2], &kept[3]);
  for (unsigned i = 0; i < 4; i++)
    fill(kept[i], 100, i);
  for (int i = 0; i < 1000; i++) {
    (void)tarn_alloc_raw(f->self, 100);
    (void)tarn_alloc_aligned(f->self, 512, 100);
  }
  collect(f->self);
  assert_int_equal(support_stats(f->world).live_objects, 4);
  for (unsigned i = 0; i < 4; i++)
    assert_true(holds(kept[i], 100, i));
  kept[1] = kept[3] = NULL;
  collect(f->self);
  assert_int_equal(support_stats(f->world).live_objects, 2);
  assert_int_equal(support_stats(f->world).large_objects, 0);
}

/* Allocates and frees far more than what starts a collection. */
static void expect_untouched(tarn_world *world) {
  enum { COUNT = 500 };
  static void *blocks[COUNT];
  tarn_thread *self = support_attach(world);
  for (unsigned i = 0; i < COUNT; i++)
    fill(blocks[i] = tarn_alloc_raw(self, 200), 200, i); /* in no root */
  for (int i = 0; i < 20000; i++) {
    void *block = tarn_alloc_raw(self, 3000);
    if (i % 10)
      tarn_free(self, block);
  }
  assert_true(support_stats(world).allocated_bytes > 4 * MIB);
  for (unsigned i = 0; i < COUNT; i++) {
    assert_true(holds(blocks[i], 200, i));
    tarn_free(self, blocks[i]);
  }
  assert_int_equal(support_stats(world).collections, 0);
  support_verify(self);
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  support_end(world);
}

static void without_collections_raw_blocks_need_no_roots(void **unused) {
  (void)unused;
  expect_untouched(support_world("collect=0,min-heap=1M"));
  tarn_world *world = support_world("min-heap=1M");
  tarn_collect_disable(world);
  expect_untouched(world);
}

static void collections_between_frees_and_allocations_lose_nothing(void **state) {
  enum { COUNT = 600 };
  static void *blocks[COUNT];
  struct fixture *f = *state;
  const size_t sizes[] = {16, 40, 200, 1000, 5000};
  for (unsigned i = 0; i < COUNT; i++)
    assert_int_equal(tarn_root_add(f->world, &blocks[i]), TARN_OK);
  for (unsigned round = 0; round < 24; round++) {
    size_t size = sizes[round % 5];
    for (unsigned i = 0; i < COUNT; i++)
      fill(blocks[i] = tarn_alloc_raw(f->self, size), size, i);
    for (unsigned turn = 0; turn < 4; turn++) {
      for (unsigned i = turn; i < COUNT; i += 3) {
        tarn_free(f->self, blocks[i]);
        blocks[i] = NULL;
      }
      if ((round + turn) % 2)
        collect(f->self);
      for (unsigned i = turn; i < COUNT; i += 3)
        fill(blocks[i] = tarn_alloc_raw(f->self, size), size, i);
      for (unsigned i = 0; i < COUNT; i++)
        if (!holds(blocks[i], size, i)) /* one that was handed out twice holds another's row */
          fail_msg("block %u of %zu bytes, round %u", i, size, round);
    }
    memset(blocks, 0, sizeof blocks);
    collect(f->self);
    assert_int_equal(support_stats(f->world).live_objects, 0);
  }
  for (unsigned i = 0; i < COUNT; i++)
    assert_int_equal(tarn_root_remove(f->world, &blocks[i]), TARN_OK);
}

#define MODEL 700
struct model {
  char *block;
  size_t size;
};

static void *model_block(struct fixture *f, uint64_t *seed, size_t size) {
  switch (next_random(seed) % 4) {
  case 0:
    return tarn_alloc_aligned(f->self, (size_t)1 << next_random(seed) % 14, size);
  case 1: {
    char *block = tarn_alloc_atomic_array(f->self, size, 1);
    assert_true(block && is_zero(block, tarn_good_size(size)));
    return block;
  }
  case 2:
    return tarn_heap_alloc(f->self, f->heap, size);
  default:
    return tarn_alloc_raw(f->self, size);
  }
}

static void a_random_life_by_hand_agrees_with_a_model(void **state) {
  struct fixture *f = *state;
  static struct model model[MODEL];
  uint64_t seed = 5;
  memset(model, 0, sizeof model);
  for (int step = 0; step < (SUPPORT_SANITIZED ? 40000 : 200000); step++) {
    unsigned i = (unsigned)(next_random(&seed) % MODEL);
    struct model *one = &model[i];
    uint64_t scale = next_random(&seed);
    size_t size = (size_t)(next_random(&seed) % (scale % 16 ? 400 : scale % 128 ? 9000 : 150000));
    if (one->block && !holds(one->block, one->size, i))
      fail_msg("step %d: block %u of %zu bytes lost its contents", step, i, one->size);
    if (one->block && scale % 3) {
      tarn_free(f->self, one->block);
      one->block = NULL;
      continue;
    }
    size_t kept = size < one->size ? size : one->size;
    bool was = one->block;
    one->block = was ? tarn_realloc(f->self, one->block, size) : model_block(f, &seed, size);
    assert_true(one->block && (!was || holds(one->block, kept, i)));
    fill(one->block, one->size = size, i);
    if (step % 20000 == 0)
      support_verify(f->self);
  }
  for (unsigned i = 0; i < MODEL; i++)
    tarn_free(f->self, model[i].block);
  assert_int_equal(support_stats(f->world).large_objects, 0);
}

/* --- handles, blocked regions, holds --------------------------------------------------------- */

struct foreign {
  tarn_thread *handle;
  void *block;
  void *got[5];
};

static void *use_foreign(void *data) {
  struct foreign *f = data;
  f->got[0] = tarn_alloc_raw(f->handle, 40);
  f->got[1] = tarn_alloc_atomic_array(f->handle, 5, 8);
  f->got[2] = tarn_alloc_aligned(f->handle, 64, 40);
  f->got[3] = tarn_realloc(f->handle, NULL, 40);
  f->got[4] = tarn_realloc(f->handle, f->block, 40); /* would fit, too */
  tarn_free(f->handle, f->block);
  return NULL;
}

static void expect_nothing(const struct foreign *f) {
  for (int i = 0; i < 5; i++)
    assert_null(f->got[i]);
}

static void another_threads_handle_gets_and_frees_nothing(void **state) {
  struct fixture *f = *state;
  struct foreign foreign = {f->self, tarn_alloc_raw(f->self, 40), {NULL}};
  fill(foreign.block, 40, 1);
  for (int round = 0; round < 2; round++) {
    support_run(use_foreign, &foreign);
    expect_nothing(&foreign);
    assert_int_equal(tarn_thread_status(f->self), TARN_OK); /* its owner is told nothing */
    tarn_safepoint(f->self); /* in the second round nothing calls it to the slow path */
  }
  assert_true(holds(foreign.block, 40, 1));
  tarn_free(f->self, foreign.block);
}

/* One of the twins of each call. */
static void *take_by(struct fixture *f, unsigned way, size_t size) {
  tarn_heap *heap = tarn_world_heap(f->world, TARN_HEAP_ATOMIC);
  switch (way % 6) {
  case 0:
    return tarn_alloc_raw(f->self, size);
  case 1:
    return tarn_alloc_raw_outline(f->self, size);
  case 2:
    return tarn_alloc_atomic(f->self, size);
  case 3:
    return tarn_alloc_atomic_outline(f->self, size);
  case 4:
    return tarn_heap_alloc(f->self, heap, size);
  default:
    return tarn_heap_alloc_outline(f->self, heap, size);
  }
}

/* In the order of the frees, whichever twin frees and whichever takes; cleared where they clear. */
static void the_inlined_calls_and_their_twins_share_one_list_of_free_blocks(void **state) {
  struct fixture *f = *state;
  for (size_t size = 1; size <= 2048; size += 7)
    for (unsigned way = 0; way < 6; way++) {
      size_t room = tarn_good_size(size);
      char *first = take_by(f, way, size), *second = take_by(f, way + 1, size);
      memset(first, 0xa5, room);
      memset(second, 0xa5, room);
      tarn_free(f->self, first);
      tarn_free_outline(f->self, second);
      char *again = take_by(f, way + 2, size), *next = take_by(f, way + 3, size);
      assert_ptr_equal(again, second);
      assert_ptr_equal(next, first);
      assert_true((way + 2) % 6 < 2 || is_zero(again, room));
      assert_true((way + 3) % 6 < 2 || is_zero(next, room));
      tarn_free_outline(f->self, next);
      tarn_free(f->self, again);
    }
}

static void *ask_as_another(void *self) { return (void *)(uintptr_t)tarn_inline_is_running(self); }

/* To that thread only, and in builds where blocks need nothing else. */
static void the_inlined_calls_are_open_while_the_thread_runs(void **state) {
  struct fixture *f = *state;
  pthread_t other;
  void *answer;
  bool open = !TARN_CHECKING && !TARN_HARDENED && !TARN_ZEAL;
  assert_int_equal(tarn_inline_is_running(f->self), open);
  assert_int_equal(pthread_create(&other, NULL, ask_as_another, f->self), 0);
  assert_int_equal(pthread_join(other, &answer), 0);
  assert_null(answer);
  tarn_block_begin(f->self);
  assert_false(tarn_inline_is_running(f->self));
  tarn_block_end(f->self);
  collect(f->self);
  assert_int_equal(tarn_inline_is_running(f->self), open);
}

static void no_handle_and_a_stale_one_get_and_free_nothing(void **unused) {
  (void)unused;
  tarn_world *world = support_world("");
  tarn_thread *self = support_attach(world), *again = NULL;
  struct foreign foreign = {NULL, tarn_alloc_raw(self, 40), {NULL}};
  (void)use_foreign(&foreign);
  expect_nothing(&foreign);
  fill(foreign.block, 40, 1);
  foreign.handle = self;
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  (void)use_foreign(&foreign);
  expect_nothing(&foreign);
  assert_int_equal(tarn_thread_status(self), TARN_EDETACHED);
  assert_true(holds(foreign.block, 40, 1));
  again = support_attach(world);
  tarn_free(again, foreign.block); /* once */
  support_verify(again);
  assert_int_equal(tarn_thread_detach(again), TARN_OK);
  assert_int_equal(support_stats(world).pools, 0);
  support_end(world);
}

static void a_blocked_thread_gets_and_frees_nothing(void **state) {
  struct fixture *f = *state;
  void *block = tarn_alloc_raw(f->self, 40), *large = tarn_alloc_raw(f->self, 100000);
  fill(block, 40, 2);
  for (int round = 0; round < 2; round++) {
    tarn_block_begin(f->self);
    refused(f->self, tarn_alloc_raw(f->self, 40), TARN_EUNBALANCED);
    refused(f->self, tarn_alloc_raw(f->self, 100000), TARN_EUNBALANCED);
    refused(f->self, tarn_alloc_atomic_array(f->self, 5, 8), TARN_EUNBALANCED);
    refused(f->self, tarn_alloc_aligned(f->self, 4096, 5), TARN_EUNBALANCED);
    refused(f->self, tarn_realloc(f->self, NULL, 40), TARN_EUNBALANCED);
    refused(f->self, tarn_realloc(f->self, block, 40), TARN_EUNBALANCED);
    refused(f->self, tarn_realloc(f->self, block, 4000), TARN_EUNBALANCED);
    tarn_free(f->self, block);
    assert_int_equal(tarn_thread_status(f->self), TARN_EUNBALANCED);
    tarn_free(f->self, large);
    assert_int_equal(tarn_thread_status(f->self), TARN_EUNBALANCED);
    tarn_block_end(f->self);
    tarn_safepoint(f->self); /* in the second round nothing calls it to the slow path */
  }
  assert_true(holds(block, 40, 2));
  assert_int_equal(support_stats(f->world).large_objects, 1);
  tarn_free(f->self, block);
  tarn_free(f->self, large);
  assert_int_equal(tarn_thread_status(f->self), TARN_OK);
}

static void in_a_hold_blocks_come_and_go_and_nothing_is_collected(void **unused) {
  (void)unused;
  tarn_world *world = support_world("min-heap=1M");
  tarn_thread *self = support_attach(world);
  tarn_gc_hold(self);
  uint64_t before = support_stats(world).collections;
  void *block = NULL;
  for (size_t i = 0, size = 0, kept = 0; i < 3000; i++, kept = size) {
    size = i % 7 * 500 + i % 50;
    block = tarn_realloc(self, block, size);
    assert_true(block && holds(block, size < kept ? size : kept, 4));
    fill(block, size, 4);
    void *other = tarn_alloc_aligned(self, 32, 2000);
    assert_non_null(other);
    if (i % 2)
      tarn_free(self, other);
  }
  assert_true(support_stats(world).allocated_bytes > 2 * MIB);
  assert_int_equal(support_stats(world).collections, before);
  tarn_gc_release(self);
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  support_end(world);
}

int main(void) {
  const struct CMUnitTest tests[] = {
#define WITH_WORLD(test) cmocka_unit_test_setup_teardown(test, start, stop)
      WITH_WORLD(arrays_whose_size_does_not_fit_are_refused),
      WITH_WORLD(an_array_of_nothing_is_a_smallest_block),
      WITH_WORLD(an_array_is_zero_in_the_block_that_was_dirty_a_moment_ago),
      WITH_WORLD(cleared_blocks_are_zero_where_raw_ones_lay),
      WITH_WORLD(large_arrays_are_zero_where_dirty_memory_lay),
      WITH_WORLD(every_alignment_is_kept_for_every_size),
      WITH_WORLD(alignments_up_to_the_largest_are_kept),
      WITH_WORLD(what_is_no_alignment_is_refused),
      WITH_WORLD(an_aligned_block_beyond_the_limit_is_refused_and_leaves_nothing),
      WITH_WORLD(a_resized_block_keeps_its_contents_whatever_the_sizes),
      WITH_WORLD(a_block_stays_as_long_as_half_of_it_is_used),
      WITH_WORLD(the_block_that_was_left_is_free_at_once),
      WITH_WORLD(no_block_is_resized_to_a_new_one_and_nothing_to_the_smallest),
      WITH_WORLD(a_resized_block_stays_in_its_heap),
      WITH_WORLD(an_object_with_a_type_is_not_resized),
      WITH_WORLD(a_block_that_cannot_grow_is_as_it_was),
      WITH_WORLD(a_block_survives_the_collection_that_its_resizing_causes),
      cmocka_unit_test(blocks_are_resized_while_others_collect),
      WITH_WORLD(what_is_no_start_of_a_block_is_not_resized),
      WITH_WORLD(a_free_block_is_not_resized_to_another),
      WITH_WORLD(a_free_block_is_not_resized_in_place),
      WITH_WORLD(what_was_freed_last_is_handed_out_first),
      WITH_WORLD(keys_of_the_last_tenant_do_not_look_like_a_double_free),
      WITH_WORLD(swept_blocks_do_not_look_like_a_double_free),
      WITH_WORLD(a_full_pool_is_used_again_once_enough_of_it_is_free_and_not_before),
      WITH_WORLD(a_pool_that_would_wake_soon_is_used_before_a_new_one_is_made),
      WITH_WORLD(memory_that_was_never_touched_waits_for_what_was),
      WITH_WORLD(a_pool_that_the_bin_comes_back_to_waits_with_what_was_never_touched),
      WITH_WORLD(at_the_limit_one_free_block_of_a_full_pool_is_found),
      cmocka_unit_test(blocks_freed_in_any_order_leave_no_pool),
      WITH_WORLD(raw_blocks_live_as_long_as_roots_say_so),
      cmocka_unit_test(without_collections_raw_blocks_need_no_roots),
      WITH_WORLD(collections_between_frees_and_allocations_lose_nothing),
      WITH_WORLD(a_random_life_by_hand_agrees_with_a_model),
      WITH_WORLD(another_threads_handle_gets_and_frees_nothing),
      WITH_WORLD(a_blocked_thread_gets_and_frees_nothing),
      cmocka_unit_test(no_handle_and_a_stale_one_get_and_free_nothing),
      WITH_WORLD(the_inlined_calls_and_their_twins_share_one_list_of_free_blocks),
      WITH_WORLD(the_inlined_calls_are_open_while_the_thread_runs),
      cmocka_unit_test(in_a_hold_blocks_come_and_go_and_nothing_is_collected),
  };
  uint64_t seed = 1;
  for (size_t i = 0; i < sizeof row; i++)
    row[i] = (unsigned char)next_random(&seed);
  support_plain_order();
  return cmocka_run_group_tests(tests, NULL, NULL);
}
