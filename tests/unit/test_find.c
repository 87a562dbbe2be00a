/* SPDX-License-Identifier: MIT */
/* Look-ups: from any word to the block that it names, for words in and around pools and large
 * objects, wild words, and words of other worlds. */
#include "support.h"

#include "heap/find.h"
#include <stdatomic.h>

struct fixture {
  tarn_world *world;
  tarn_thread *self;
};

static int start(void **state) {
  struct fixture *f = calloc(1, sizeof *f);
  assert_non_null(f);
  f->world = support_world("collect=off");
  f->self = support_attach(f->world);
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

/* What the look-up must say of `word` in the pool at `base`, by plain division. */
static void expect_in_pool(tarn_world *world, uintptr_t base, size_t size, uintptr_t word) {
  size_t index = (word - base) / size, found_size = 0;
  void *found = tarn_block_of(world, word, &found_size);
  bool whole = (index + 1) * size <= TARN_UNIT_SIZE;
  if ((uintptr_t)found != (whole ? base + index * size : 0))
    fail_msg("blocks of %zu: offset %zu gave %p", size, (size_t)(word - base), found);
  if (found && found_size != size)
    fail_msg("blocks of %zu: offset %zu gave the size %zu", size, (size_t)(word - base),
             found_size);
  size_t usable = tarn_usable_size(world, (const void *)word);
  if (usable != (whole && word == base + index * size ? size : 0))
    fail_msg("blocks of %zu: offset %zu can use %zu", size, (size_t)(word - base), usable);
}

static void every_byte_of_a_pool_belongs_to_its_block(void **state) {
  struct fixture *f = *state;
  /* All 79 classes word by word; a few byte by byte, for tagged words. */
  for (unsigned i = 0; i < TARN_CLASS_COUNT; i++) {
    size_t size = tarn_class_size(i);
    uintptr_t block = (uintptr_t)tarn_alloc_atomic(f->self, size);
    assert_true(block != 0);
    uintptr_t base = block & ~(TARN_UNIT_SIZE - 1);
    size_t step = i % 13 == 0 ? 1 : 8;
    for (size_t offset = 0; offset < TARN_UNIT_SIZE; offset += step)
      expect_in_pool(f->world, base, size, base + offset);
    expect_in_pool(f->world, base, size, base + TARN_UNIT_SIZE - 1);
    expect_in_pool(f->world, base, size, block + size - 1);
  }
}

static void objects_are_found_as_raw_blocks_are(void **state) {
  struct fixture *f = *state;
  const tarn_type *types[] = {support_type(f->world, "container", 40, 2, NULL),
                              support_type(f->world, "leaf", 40, 0, NULL)};
  for (size_t i = 0; i < 2; i++) {
    uintptr_t object = (uintptr_t)tarn_new(f->self, types[i]);
    for (uintptr_t word = object; word < object + 40; word++) {
      size_t size = 0;
      assert_ptr_equal(tarn_block_of(f->world, word, &size), (void *)object);
      assert_int_equal(size, 40);
      assert_int_equal(tarn_usable_size(f->world, (void *)word), word == object ? 40 : 0);
    }
  }
}

static void the_size_need_not_be_asked_for(void **state) {
  struct fixture *f = *state;
  char *block = tarn_alloc_atomic(f->self, 100);
  assert_ptr_equal(tarn_block_of(f->world, (uintptr_t)block + 50, NULL), block);
  size_t size = 12345;
  assert_null(tarn_block_of(f->world, 8, &size));
  assert_int_equal(size, 12345);
}

/* --- large objects --------------------------------------------------------------------------- */

static void every_word_of_a_large_object_belongs_to_it(void **state) {
  struct fixture *f = *state;
  const size_t sizes[] = {TARN_LARGE_LIMIT + 1,
                          TARN_UNIT_SIZE - 1,
                          TARN_UNIT_SIZE,
                          TARN_UNIT_SIZE + 1,
                          300000,
                          20 * MIB};
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    uintptr_t block = (uintptr_t)tarn_alloc_atomic(f->self, sizes[i]);
    assert_true(block != 0);
    size_t bytes = tarn_good_size(sizes[i]), found = 0;
    size_t units = (bytes + TARN_UNIT_SIZE - 1) / TARN_UNIT_SIZE;
    size_t step = sizes[i] > MIB ? 509 : 8;
    for (size_t offset = 0; offset < units * TARN_UNIT_SIZE; offset += step) {
      /* What is above the pages in the last unit is nobody's. */
      void *expected = offset < bytes ? (void *)block : NULL;
      assert_ptr_equal(tarn_block_of(f->world, block + offset, &found), expected);
      assert_int_equal(tarn_usable_size(f->world, (void *)(block + offset)),
                       offset == 0 ? bytes : 0);
    }
    assert_int_equal(found, bytes);
    assert_ptr_equal(tarn_block_of(f->world, block + bytes - 1, NULL), (void *)block);
    assert_ptr_not_equal(tarn_block_of(f->world, block - 1, NULL), (void *)block);
    assert_ptr_not_equal(tarn_block_of(f->world, block + bytes, NULL), (void *)block);
  }
}

static void a_large_object_is_not_found_after_its_end(void **state) {
  struct fixture *f = *state;
  const size_t sizes[] = {TARN_LARGE_LIMIT + 1, 300000, 2 * MIB};
  for (size_t i = 0; i < 3; i++) {
    char *freed = tarn_alloc_atomic(f->self, sizes[i]);
    tarn_free(f->self, freed);
    for (size_t offset = 0; offset < sizes[i]; offset += 4096)
      assert_null(tarn_block_of(f->world, (uintptr_t)freed + offset, NULL));
    char *dead = tarn_alloc_atomic(f->self, sizes[i]);
    assert_int_equal(tarn_collect(f->self, TARN_GENERATION_FULL), TARN_OK);
    for (size_t offset = 0; offset < sizes[i]; offset += 4096)
      assert_null(tarn_block_of(f->world, (uintptr_t)dead + offset, NULL));
  }
}

/* --- words that name nothing ----------------------------------------------------------------- */

static char a_static;

static void wild_words_are_no_blocks(void **state) {
  struct fixture *f = *state;
  char local = 0;
  void *heap = malloc(10);
  (void)tarn_alloc_atomic(f->self, 16);
  uintptr_t base = tarn_space.base;
  const uintptr_t words[] = {0,
                             1,
                             8,
                             UINTPTR_MAX,
                             UINTPTR_MAX - 7,
                             (uintptr_t)1 << 63,
                             (uintptr_t)1 << 47,
                             ((uintptr_t)1 << 47) - 1,
                             base - 1,
                             base - 8,
                             base + tarn_space.size,
                             base + tarn_space.size - 1,
                             base + tarn_space.size / 2,
                             (uintptr_t)tarn_space.map,
                             (uintptr_t)tarn_space.pools,
                             (uintptr_t)tarn_space.marks,
                             (uintptr_t)f->world,
                             (uintptr_t)f->self,
                             (uintptr_t)&local,
                             (uintptr_t)heap,
                             (uintptr_t)&a_static,
                             (uintptr_t)&tarn_block_of};
  for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
    assert_null(tarn_block_of(f->world, words[i], NULL));
    assert_int_equal(tarn_usable_size(f->world, (const void *)words[i]), 0);
  }
  free(heap);
}

static void random_words_give_a_block_around_them_or_nothing(void **state) {
  struct fixture *f = *state;
  uint64_t seed = 99;
  for (unsigned i = 0; i < TARN_CLASS_COUNT; i++)
    assert_non_null(tarn_alloc_atomic(f->self, tarn_class_size(i)));
  assert_non_null(tarn_alloc_atomic(f->self, 500000));
  uintptr_t here = (uintptr_t)tarn_alloc_atomic(f->self, 16) & ~(TARN_ARENA_SIZE - 1);
  size_t hits = 0;
  for (int i = 0; i < 500000; i++) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    /* Any word; any word of the reserved range; any word of one arena. */
    uintptr_t word = i % 3 == 0   ? (uintptr_t)(seed ^ seed >> 29)
                     : i % 3 == 1 ? tarn_space.base + (uintptr_t)(seed >> 20) % tarn_space.size
                                  : here + (uintptr_t)(seed >> 20) % TARN_ARENA_SIZE;
    size_t size = 0;
    uintptr_t block = (uintptr_t)tarn_block_of(f->world, word, &size);
    if (!block)
      continue;
    hits++;
    assert_true(word - block < size);
    assert_int_equal(tarn_usable_size(f->world, (void *)block), size);
  }
  assert_true(hits > 1000);
}

static void free_units_and_arenas_hold_no_blocks(void **state) {
  struct fixture *f = *state;
  char *block = tarn_alloc_atomic(f->self, 1000);
  assert_non_null(tarn_block_of(f->world, (uintptr_t)block, NULL));
  assert_int_equal(tarn_collect(f->self, TARN_GENERATION_FULL), TARN_OK);
  uintptr_t base = (uintptr_t)block & ~(TARN_ARENA_SIZE - 1);
  for (size_t offset = 0; offset < TARN_ARENA_SIZE; offset += 1000)
    assert_null(tarn_block_of(f->world, base + offset, NULL));
}

/* --- worlds ---------------------------------------------------------------------------------- */

static void blocks_of_another_world_are_not_found(void **state) {
  struct fixture *f = *state;
  tarn_world *other = support_world("");
  tarn_thread *self = support_attach(other);
  void *mine = tarn_alloc_atomic(f->self, 64), *large = tarn_alloc_atomic(f->self, 200000);
  void *theirs = tarn_alloc_atomic(self, 64);
  assert_non_null(tarn_block_of(f->world, (uintptr_t)mine, NULL));
  assert_null(tarn_block_of(other, (uintptr_t)mine, NULL));
  assert_null(tarn_block_of(other, (uintptr_t)large + 70000, NULL));
  assert_null(tarn_block_of(f->world, (uintptr_t)theirs, NULL));
  assert_int_equal(tarn_usable_size(other, mine), 0);
  assert_int_equal(tarn_usable_size(f->world, theirs), 0);
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  support_end(other);
  /* The other world's arena is free: its words are nobody's. */
  assert_null(tarn_block_of(f->world, (uintptr_t)theirs, NULL));
  assert_null(tarn_block_of(NULL, (uintptr_t)mine, NULL));
  assert_int_equal(tarn_usable_size(NULL, mine), 0);
}

/* --- while others allocate ------------------------------------------------------------------- */

static atomic_bool ended;

struct watcher {
  tarn_world *world;
  size_t looks, bad;
};

/* Not attached: a look-up needs no thread of the world. */
static void *look_around(void *data) {
  struct watcher *watcher = data;
  uint64_t seed = 5;
  do {
    for (int i = 0; i < 1000; i++) {
      seed = seed * 6364136223846793005u + 1442695040888963407u;
      uintptr_t word = tarn_space.base + (uintptr_t)(seed >> 24) % (2 * TARN_ARENA_SIZE);
      size_t size = 0;
      uintptr_t block = (uintptr_t)tarn_block_of(watcher->world, word, &size);
      watcher->bad += block && word - block >= size;
      watcher->looks++;
    }
  } while (!atomic_load(&ended));
  return NULL;
}

static void look_ups_are_right_while_blocks_come_and_go(void **state) {
  struct fixture *f = *state;
  struct watcher watcher = {f->world, 0, 0};
  pthread_t thread;
  atomic_store(&ended, false);
  assert_int_equal(pthread_create(&thread, NULL, look_around, &watcher), 0);
  for (int round = 0; round < 60; round++) {
    void *blocks[64];
    for (size_t i = 0; i < 64; i++) {
      size_t size = i % 8 ? 16 + (i * 977 + (size_t)round * 131) % 32000 : 40000 * (1 + i / 8);
      blocks[i] = tarn_alloc_atomic(f->self, size);
      assert_non_null(blocks[i]);
      size_t found = 0;
      assert_ptr_equal(tarn_block_of(f->world, (uintptr_t)blocks[i] + size - 1, &found), blocks[i]);
      assert_int_equal(found, tarn_good_size(size));
    }
    for (size_t i = 0; i < 64; i++)
      tarn_free(f->self, blocks[i]);
    if (round % 10 == 9)
      assert_int_equal(tarn_collect(f->self, TARN_GENERATION_FULL), TARN_OK);
  }
  atomic_store(&ended, true);
  assert_int_equal(pthread_join(thread, NULL), 0);
  assert_true(watcher.looks > 0);
  assert_int_equal(watcher.bad, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(every_byte_of_a_pool_belongs_to_its_block, start, stop),
      cmocka_unit_test_setup_teardown(objects_are_found_as_raw_blocks_are, start, stop),
      cmocka_unit_test_setup_teardown(the_size_need_not_be_asked_for, start, stop),
      cmocka_unit_test_setup_teardown(every_word_of_a_large_object_belongs_to_it, start, stop),
      cmocka_unit_test_setup_teardown(a_large_object_is_not_found_after_its_end, start, stop),
      cmocka_unit_test_setup_teardown(wild_words_are_no_blocks, start, stop),
      cmocka_unit_test_setup_teardown(random_words_give_a_block_around_them_or_nothing, start,
                                      stop),
      cmocka_unit_test_setup_teardown(free_units_and_arenas_hold_no_blocks, start, stop),
      cmocka_unit_test_setup_teardown(blocks_of_another_world_are_not_found, start, stop),
      cmocka_unit_test_setup_teardown(look_ups_are_right_while_blocks_come_and_go, start, stop),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
