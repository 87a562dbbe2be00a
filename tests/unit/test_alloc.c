/* SPDX-License-Identifier: MIT */
/* Allocation and explicit freeing: blocks come zeroed whatever lay there before, freed blocks come
 * back, memory that was never handed out stays untouched, and heaps are kept apart. */
#include "support.h"

#include "heap/find.h"
#include "heap/local.h"
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>

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

static void collect(struct fixture *f) {
  assert_int_equal(tarn_collect(f->self, TARN_GENERATION_FULL), TARN_OK);
}

/* Whole blocks at once, since many are looked at. */
static bool is_zero(const char *bytes, size_t size) {
  return bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0;
}

/* A raw block that must be zero; it is dirty afterwards. */
static void *dirty_block(tarn_thread *self, size_t size) {
  void *block = tarn_alloc_atomic(self, size);
  assert_non_null(block);
  if (!is_zero(block, tarn_good_size(size)))
    fail_msg("a block of %zu bytes is not zero", size);
  memset(block, 0xff, tarn_good_size(size));
  return block;
}

static int by_address(const void *a, const void *b) {
  uintptr_t left = *(const uintptr_t *)a, right = *(const uintptr_t *)b;
  return left < right ? -1 : left > right;
}

/* --- zero, whatever lay there ---------------------------------------------------------------- */

#define SOME 200
static const size_t sizes[] = {0, 16, 24, 100, 128, 520, 1000, 4096, 5000, 20000, TARN_LARGE_LIMIT};
#define SIZES (sizeof sizes / sizeof sizes[0])

static void what_the_thread_freed_comes_back_zeroed(void **state) {
  struct fixture *f = *state;
  void *blocks[SOME];
  for (size_t s = 0; s < SIZES; s++)
    for (int round = 0; round < 3; round++) {
      for (size_t i = 0; i < SOME; i++)
        blocks[i] = dirty_block(f->self, sizes[s]);
      /* Every second first, so that pools are left partly used. */
      for (size_t i = 0; i < SOME; i += 2)
        tarn_free(f->self, blocks[i]);
      for (size_t i = 0; i < SOME; i += 2)
        blocks[i] = dirty_block(f->self, sizes[s]);
      for (size_t i = 0; i < SOME; i++)
        tarn_free(f->self, blocks[i]);
    }
  assert_int_equal(support_stats(f->world).large_objects, 0);
}

struct freeing {
  tarn_world *world;
  void **blocks;
  size_t count;
};

static void *free_all(void *data) {
  struct freeing *job = data;
  tarn_thread *self = NULL;
  if (tarn_thread_attach(job->world, &self) != TARN_OK)
    abort();
  for (size_t i = 0; i < job->count; i++)
    tarn_free(self, job->blocks[i]);
  return NULL; /* detached by its end */
}

static void free_elsewhere(struct fixture *f, void **blocks, size_t count) {
  struct freeing job = {f->world, blocks, count};
  tarn_block_begin(f->self);
  support_run(free_all, &job);
  tarn_block_end(f->self);
}

static void what_another_thread_freed_comes_back_zeroed(void **state) {
  struct fixture *f = *state;
  void *blocks[SOME];
  for (size_t s = 0; s < SIZES; s++) {
    uint64_t pools = 0;
    for (int round = 0; round < 6; round++) {
      for (size_t i = 0; i < SOME; i++)
        blocks[i] = dirty_block(f->self, sizes[s]);
      free_elsewhere(f, blocks, SOME);
      if (round == 1)
        pools = support_stats(f->world).pools;
    }
    /* They do come back: later rounds take no more memory than the second did, but for a pool that
     * the search for freed blocks had not come to. */
    assert_true(support_stats(f->world).pools <= pools + 1);
  }
}

static void what_a_collection_found_dead_comes_back_zeroed(void **state) {
  struct fixture *f = *state;
  for (size_t s = 0; s < SIZES; s++)
    for (int round = 0; round < 4; round++) {
      void *kept[SOME / 8];
      for (size_t i = 0; i < SOME; i++) {
        void *block = dirty_block(f->self, sizes[s]);
        if (i % 8 == 3) { /* survivors between the dead: many short stretches */
          kept[i / 8] = block;
          assert_int_equal(tarn_root_add(f->world, &kept[i / 8]), TARN_OK);
        }
      }
      collect(f);
      for (size_t i = 0; i < SOME; i++)
        (void)dirty_block(f->self, sizes[s]);
      for (size_t i = 0; i < SOME / 8; i++) {
        assert_true(support_is_filled(kept[i], tarn_good_size(sizes[s]), 0xff));
        assert_int_equal(tarn_root_remove(f->world, &kept[i]), TARN_OK);
      }
      collect(f);
    }
}

static void a_unit_used_for_another_class_comes_back_zeroed(void **state) {
  struct fixture *f = *state;
  for (int round = 0; round < 2; round++) /* the second time with mark bytes */
    for (size_t from = 0; from < SIZES; from += SUPPORT_SANITIZED ? 2 : 1)
      for (size_t to = 0; to < SIZES; to++) {
        void *blocks[SOME];
        for (size_t i = 0; i < SOME; i++)
          blocks[i] = dirty_block(f->self, sizes[from]);
        if (round && to % 2)
          collect(f);
        else
          for (size_t i = 0; i < SOME; i++)
            tarn_free(f->self, blocks[i]);
        for (size_t i = 0; i < SOME; i++)
          blocks[i] = dirty_block(f->self, sizes[to]);
        for (size_t i = 0; i < SOME; i++)
          tarn_free(f->self, blocks[i]);
        if (round == 0 && from == SIZES - 1 && to == SIZES - 1)
          collect(f);
      }
}

static void large_memory_comes_back_zeroed_as_anything(void **state) {
  struct fixture *f = *state;
  /* Below and above 1 MiB, from where on memory goes back to the system at once. */
  const size_t larges[] = {TARN_LARGE_LIMIT + 1, 70000, 131072, 500000, MIB, 3 * MIB + 5};
  for (int round = 0; round < 3; round++)
    for (size_t i = 0; i < 6; i++)
      for (size_t k = 0; k < 6; k++) {
        tarn_free(f->self, dirty_block(f->self, larges[i]));
        void *large = dirty_block(f->self, larges[k]);
        if (round == 1) {
          collect(f); /* buries it */
        } else {
          tarn_free(f->self, large);
        }
        void *small[SOME];
        for (size_t n = 0; n < SOME; n++)
          small[n] = dirty_block(f->self, sizes[(i + k) % SIZES]);
        for (size_t n = 0; n < SOME; n++)
          tarn_free(f->self, small[n]);
      }
}

static void objects_are_zeroed_where_raw_blocks_and_others_lay(void **state) {
  struct fixture *f = *state;
  const tarn_type *container = support_type(f->world, "container", 48, 2, NULL);
  const tarn_type *leaf = support_type(f->world, "leaf", 48, 0, NULL);
  for (int round = 0; round < 30; round++) {
    void *blocks[2000];
    for (size_t i = 0; i < 2000; i++) {
      if (round % 3 == 0) {
        blocks[i] = dirty_block(f->self, 48);
        continue;
      }
      uintptr_t *object = tarn_new(f->self, round % 3 == 1 ? container : leaf);
      assert_non_null(object);
      assert_true(support_is_filled(object + 1, 40, 0));
      memset(object + 1, 0xff, 40);
      blocks[i] = object;
    }
    if (round % 2)
      collect(f);
    else
      for (size_t i = 0; i < 2000; i++)
        tarn_free(f->self, blocks[i]);
  }
}

/* --- blocks come back ------------------------------------------------------------------------ */

static void freed_blocks_are_the_next_that_are_handed_out(void **state) {
  struct fixture *f = *state;
  for (size_t s = 0; s < SIZES; s++) {
    uintptr_t before[SOME], after[SOME];
    for (size_t i = 0; i < SOME; i++)
      before[i] = (uintptr_t)dirty_block(f->self, sizes[s]);
    uint64_t pools = support_stats(f->world).pools;
    for (int round = 0; round < 5; round++) {
      for (size_t i = 0; i < SOME; i += 2)
        tarn_free(f->self, (void *)before[i]);
      for (size_t i = 0; i < SOME; i += 2)
        before[i] = (uintptr_t)dirty_block(f->self, sizes[s]);
      memcpy(after, before, sizeof after);
      qsort(after, SOME, sizeof after[0], by_address);
      for (size_t i = 1; i < SOME; i++)
        assert_true(after[i] - after[i - 1] >= tarn_good_size(sizes[s])); /* none twice */
    }
    /* The current pool's rest may be used up before pools with freed blocks are looked at. */
    assert_true(support_stats(f->world).pools <= pools + 1);
    for (size_t i = 0; i < SOME; i++)
      tarn_free(f->self, (void *)before[i]);
  }
}

static void empty_pools_and_large_objects_give_their_bytes_back(void **state) {
  struct fixture *f = *state;
  for (size_t s = 0; s < SIZES; s++) {
    uint64_t before = support_stats(f->world).heap_bytes;
    static void *blocks[8000];
    size_t count = 10 * TARN_UNIT_SIZE / (sizes[s] + 8);
    count = count < 8000 ? count : 8000;
    for (size_t i = 0; i < count; i++)
      blocks[i] = tarn_alloc_atomic(f->self, sizes[s]);
    assert_true(support_stats(f->world).heap_bytes > before);
    for (size_t i = 0; i < count; i++)
      tarn_free(f->self, blocks[i]);
    support_drop_spares(f->world);
    /* All but the bin's current pool. */
    assert_true(support_stats(f->world).heap_bytes <= before + TARN_UNIT_SIZE);
  }
  uint64_t before = support_stats(f->world).heap_bytes;
  void *large = tarn_alloc_atomic(f->self, 5 * MIB);
  assert_int_equal(support_stats(f->world).heap_bytes, before + 5 * MIB);
  tarn_free(f->self, large);
  assert_int_equal(support_stats(f->world).heap_bytes, before);
}

struct leaving {
  tarn_world *world;
  void *blocks[SOME];
};

static void *allocate_and_leave(void *data) {
  struct leaving *job = data;
  tarn_thread *self = NULL;
  if (tarn_thread_attach(job->world, &self) != TARN_OK)
    abort();
  for (size_t i = 0; i < SOME; i++)
    memset(job->blocks[i] = tarn_alloc_atomic(self, 640), 0x5a, 640);
  return NULL;
}

static void what_a_dead_thread_left_is_used_on_by_others(void **state) {
  struct fixture *f = *state;
  struct leaving job = {.world = f->world};
  tarn_block_begin(f->self);
  support_run(allocate_and_leave, &job);
  tarn_block_end(f->self);
  uint64_t pools = support_stats(f->world).pools;
  for (size_t i = 0; i < SOME; i++) {
    assert_true(support_is_filled(job.blocks[i], 640, 0x5a));
    if (i % 2)
      tarn_free(f->self, job.blocks[i]);
  }
  for (size_t i = 0; i < SOME / 2; i++)
    (void)dirty_block(f->self, 640);
  assert_true(support_stats(f->world).pools <= pools);
  for (size_t i = 0; i < SOME; i += 2)
    assert_true(support_is_filled(job.blocks[i], 640, 0x5a));
}

/* Blocks come, go by hand, go by being dropped, and are collected; each holds its own number. */
#define MODEL 1500
static void a_random_life_agrees_with_a_model(void **state) {
  struct fixture *f = *state;
  static struct {
    unsigned char *block;
    size_t size;
  } model[MODEL];
  uint64_t seed = 7;
  memset(model, 0, sizeof model);
  for (size_t i = 0; i < MODEL; i++)
    assert_int_equal(tarn_root_add(f->world, (void **)&model[i].block), TARN_OK);
  int steps = SUPPORT_SANITIZED ? 40000 : 120000;
  for (int step = 0; step < steps; step++) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    size_t i = (size_t)(seed >> 40) % MODEL;
    unsigned char mark = (unsigned char)(i % 255 + 1);
    if (step % 5000 == 4999)
      collect(f);
    if (model[i].block) {
      if (!support_is_filled(model[i].block, model[i].size, mark))
        fail_msg("step %d: block %zu of %zu bytes lost its contents", step, i, model[i].size);
      if (seed >> 30 & 1)
        tarn_free(f->self, model[i].block);
      model[i].block = NULL;
      continue;
    }
    size_t most = seed >> 33 & 15 ? 300 : seed >> 37 & 7 ? 9000 : 200000;
    model[i].size = tarn_good_size((size_t)(seed >> 20 & 0xfffff) % most);
    model[i].block = dirty_block(f->self, model[i].size);
    memset(model[i].block, mark, model[i].size);
  }
  for (size_t i = 0; i < MODEL; i++)
    assert_int_equal(tarn_root_remove(f->world, (void **)&model[i].block), TARN_OK);
  collect(f);
  assert_int_equal(support_stats(f->world).heap_bytes, 0);
}

/* --- container blocks by hand ---------------------------------------------------------------- */

static void a_container_block_is_free_until_it_has_a_type(void **state) {
  struct fixture *f = *state;
  const tarn_type *type = support_type(f->world, "by hand", 64, 2, NULL);
  tarn_heap *heap = tarn_world_heap(f->world, TARN_HEAP_CONTAINER);
  void *kept[2] = {NULL, NULL};
  TARN_FRAME(f->self, &kept[0], &kept[1]);
  for (int round = 0; round < 3; round++) {
    const tarn_type **object = tarn_heap_alloc(f->self, heap, 64);
    assert_non_null(object);
    assert_true(support_is_filled(object, 64, 0));
    *object = type;
    kept[0] = object;
    void *untyped = tarn_heap_alloc(f->self, heap, 64);
    assert_non_null(untyped);
    kept[1] = untyped;
    collect(f);
    support_verify(f->self);
    assert_int_equal(support_stats(f->world).live_objects, 1);
    assert_ptr_equal(tarn_type_of(kept[0]), type);
    kept[1] = NULL;
  }
}

/* --- memory that was never handed out -------------------------------------------------------- */

static size_t page;

static size_t resident_pages(uintptr_t from, size_t bytes) {
  static unsigned char map[TARN_ARENA_SIZE / 4096];
  size_t pages = bytes / page, count = 0;
  assert_true(pages <= sizeof map);
  assert_int_equal(mincore((void *)from, bytes, map), 0);
  for (size_t i = 0; i < pages; i++)
    count += map[i] & 1;
  return count;
}

static bool count_block(const tarn_block_info *info, void *data) {
  ++*(size_t *)data;
  return info->block != NULL;
}

static void nothing_touches_a_page_above_the_virgin_limit(void **state) {
  struct fixture *f = *state;
  const tarn_type *types[] = {support_type(f->world, "container", 64, 2, NULL),
                              support_type(f->world, "leaf", 64, 0, NULL)};
  void *kept[3] = {NULL, NULL, NULL};
  TARN_FRAME(f->self, &kept[0], &kept[1], &kept[2]);
  kept[0] = tarn_new(f->self, types[0]);
  kept[1] = tarn_new(f->self, types[1]);
  kept[2] = dirty_block(f->self, 64);
  for (int round = 0; round < 3; round++) {
    for (size_t i = 0; i < 3; i++) {
      uintptr_t base = (uintptr_t)kept[i] & ~(TARN_UNIT_SIZE - 1);
      uintptr_t virgin = base + tarn_pool_of(base)->own.virgin;
      assert_true(virgin <= base + page);
      assert_int_equal(resident_pages(base + page, TARN_UNIT_SIZE - page), 0);
    }
    if (round == 0)
      collect(f);
    size_t blocks = 0;
    assert_int_equal(tarn_heap_walk(f->self, count_block, &blocks), TARN_OK);
    assert_int_equal(blocks, 3);
    if (round == 1)
      tarn_free(f->self, dirty_block(f->self, 64));
  }
  /* Nor above a large object's pages in its last unit. */
  uintptr_t large = (uintptr_t)dirty_block(f->self, TARN_UNIT_SIZE + page);
  kept[2] = (void *)large;
  collect(f);
  assert_int_equal(resident_pages(large, TARN_UNIT_SIZE + page), TARN_UNIT_SIZE / page + 1);
  assert_int_equal(resident_pages(large + TARN_UNIT_SIZE + page, TARN_UNIT_SIZE - page), 0);
}

static void a_program_that_never_collects_has_no_side_table(void **state) {
  struct fixture *f = *state;
  for (int i = 0; i < 100; i++) {
    void *block = dirty_block(f->self, (size_t)i * 700);
    if (i % 2)
      tarn_free(f->self, block);
  }
  void *kept = dirty_block(f->self, 16);
  TARN_FRAME(f->self, &kept);
  uintptr_t marks = (uintptr_t)tarn_mark_byte((uintptr_t)kept & ~(TARN_ARENA_SIZE - 1));
  assert_int_equal(support_stats(f->world).side_table_bytes, 0);
  assert_int_equal(resident_pages(marks, TARN_ARENA_SIZE / 16), 0);
  collect(f);
  assert_true(support_stats(f->world).side_table_bytes > 0);
  assert_true(resident_pages(marks, TARN_ARENA_SIZE / 16) > 0);
}

static void memory_of_the_dead_goes_back_to_the_system(void **unused) {
  (void)unused;
  tarn_world *world = support_world("min-heap=1M,retain=0");
  struct fixture f = {world, support_attach(world)};
  uintptr_t arena = (uintptr_t)dirty_block(f.self, 16) & ~(TARN_ARENA_SIZE - 1);
  tarn_collect_disable(world);
  for (int i = 0; i < 8 * 1024; i++)
    assert_int_equal((uintptr_t)dirty_block(f.self, 1024) & ~(TARN_ARENA_SIZE - 1), arena);
  assert_true(resident_pages(arena, TARN_ARENA_SIZE) >= 8 * MIB / page);
  assert_int_equal(tarn_collect_enable(world), TARN_OK);
  collect(&f);
  /* What the next collection's worth of allocations will use may stay. */
  assert_true(resident_pages(arena, TARN_ARENA_SIZE) <= 3 * MIB / 2 / page);
  for (int i = 0; i < 512; i++)
    (void)dirty_block(f.self, 1024); /* zero after the purge, too */
  support_verify(f.self);
  assert_int_equal(tarn_thread_detach(f.self), TARN_OK);
  support_end(world);
}

/* --- when collections come ------------------------------------------------------------------- */

static void raw_and_large_blocks_bring_collections_too(void **unused) {
  (void)unused;
  const size_t each[] = {64, 1000, 30000, 100000, 3 * MIB};
  for (size_t i = 0; i < sizeof each / sizeof each[0]; i++) {
    tarn_world *world = support_world("min-heap=4M");
    tarn_thread *self = support_attach(world);
    for (size_t bytes = 0; bytes < 64 * MIB; bytes += each[i])
      assert_non_null(tarn_alloc_atomic(self, each[i]));
    tarn_stats stats = support_stats(world);
    assert_true(stats.collections >= 8);
    if (!SUPPORT_ZEAL)
      assert_true(stats.collections <= 24);
    assert_true(stats.heap_bytes_max <= 12 * MIB);
    assert_int_equal(tarn_thread_detach(self), TARN_OK);
    support_end(world);
  }
}

static void limits_can_be_set_while_the_world_runs(void **state) {
  struct fixture *f = *state;
  void *kept = tarn_alloc_atomic(f->self, MIB);
  assert_non_null(kept);
  TARN_FRAME(f->self, &kept); /* a limit in the way collects */
  uint64_t held = support_stats(f->world).heap_bytes;
  assert_int_equal(tarn_world_set_limits(f->world, 0, (size_t)held), TARN_OK);
  assert_null(tarn_alloc_atomic(f->self, 100000));
  assert_int_equal(tarn_thread_status(f->self), TARN_ELIMIT);
  assert_null(tarn_alloc_atomic(f->self, 100)); /* no pool for it yet */
  assert_int_equal(tarn_thread_status(f->self), TARN_ELIMIT);
  /* Below what is held: nothing is lost, nothing more is given. */
  assert_int_equal(tarn_world_set_limits(f->world, 0, (size_t)held / 2), TARN_OK);
  assert_null(tarn_alloc_atomic(f->self, 100));
  assert_int_equal(tarn_thread_status(f->self), TARN_ELIMIT);
  assert_int_equal(tarn_world_set_limits(f->world, 0, (size_t)held + 200000), TARN_OK);
  assert_non_null(tarn_alloc_atomic(f->self, 100000));
  assert_int_equal(tarn_world_set_limits(f->world, 0, 0), TARN_OK);
  assert_non_null(tarn_alloc_atomic(f->self, 8 * MIB));
  assert_int_equal(tarn_thread_status(f->self), TARN_OK);
}

/* --- heaps ----------------------------------------------------------------------------------- */

static void heaps_share_no_pool(void **state) {
  struct fixture *f = *state;
  tarn_heap *heaps[4] = {tarn_world_heap(f->world, TARN_HEAP_ATOMIC)};
  for (size_t i = 1; i < 4; i++)
    assert_int_equal(tarn_heap_create(f->world, TARN_HEAP_ATOMIC, &heaps[i]), TARN_OK);
  void *blocks[4][SOME];
  for (size_t n = 0; n < SOME; n++)
    for (size_t i = 0; i < 4; i++) {
      blocks[i][n] = tarn_heap_alloc(f->self, heaps[i], n % 50 == 49 ? 40000 : 64);
      assert_non_null(blocks[i][n]);
      memset(blocks[i][n], (int)i + 1, 64);
      assert_ptr_equal(tarn_pool_of((uintptr_t)blocks[i][n])->heap, heaps[i]);
    }
  for (size_t n = 0; n < SOME; n += 3)
    tarn_free(f->self, blocks[1][n]);
  assert_int_equal(tarn_heap_destroy(f->self, heaps[2]), TARN_OK);
  for (size_t n = 0; n < SOME; n++) {
    assert_null(tarn_block_of(f->world, (uintptr_t)blocks[2][n], NULL));
    assert_true(support_is_filled(blocks[0][n], 64, 1));
    assert_true(n % 3 == 0 || support_is_filled(blocks[1][n], 64, 2));
    assert_true(support_is_filled(blocks[3][n], 64, 4));
  }
  support_verify(f->self);
  /* Its memory is others' now, zeroed. */
  for (int n = 0; n < 5000; n++)
    (void)dirty_block(f->self, 64);
  assert_int_equal(tarn_heap_destroy(f->self, heaps[1]), TARN_OK);
  assert_int_equal(tarn_heap_destroy(f->self, heaps[3]), TARN_OK);
  assert_int_equal(support_stats(f->world).heaps, 2);
}

static void heaps_come_and_go_without_growth(void **state) {
  struct fixture *f = *state;
  uint64_t metadata = 0;
  for (int round = 0; round < 300; round++) {
    tarn_heap *heap;
    tarn_heap_kind kind = round % 2 ? TARN_HEAP_CONTAINER : TARN_HEAP_ATOMIC;
    assert_int_equal(tarn_heap_create(f->world, kind, &heap), TARN_OK);
    assert_int_equal(tarn_heap_kind_of(heap), kind);
    assert_non_null(tarn_heap_alloc(f->self, heap, 64));
    assert_non_null(tarn_heap_alloc(f->self, heap, 64 * 1024));
    assert_int_equal(tarn_heap_destroy(f->self, heap), TARN_OK);
    assert_int_equal(support_stats(f->world).heap_bytes, 0);
    if (round == 10)
      metadata = support_stats(f->world).metadata_bytes;
  }
  assert_int_equal(support_stats(f->world).metadata_bytes, metadata);
}

static void a_world_has_at_most_255_heaps(void **state) {
  struct fixture *f = *state;
  tarn_heap *heaps[300], *heap = NULL;
  size_t count = 2; /* those that it starts with */
  tarn_status status;
  while ((status = tarn_heap_create(f->world, TARN_HEAP_ATOMIC, &heap)) == TARN_OK && count < 300)
    heaps[count++] = heap;
  assert_int_equal(status, TARN_ELIMIT);
  assert_null(heap);
  assert_int_equal(count, 255);
  assert_int_equal(support_stats(f->world).heaps, count);
  assert_int_equal(tarn_heap_destroy(f->self, heaps[100]), TARN_OK);
  assert_int_equal(tarn_heap_create(f->world, TARN_HEAP_CONTAINER, &heaps[100]), TARN_OK);
  for (size_t i = 2; i < count; i++) {
    assert_non_null(tarn_heap_alloc(f->self, heaps[i], 100));
    assert_int_equal(tarn_heap_destroy(f->self, heaps[i]), TARN_OK);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(what_the_thread_freed_comes_back_zeroed, start, stop),
      cmocka_unit_test_setup_teardown(what_another_thread_freed_comes_back_zeroed, start, stop),
      cmocka_unit_test_setup_teardown(what_a_collection_found_dead_comes_back_zeroed, start, stop),
      cmocka_unit_test_setup_teardown(a_unit_used_for_another_class_comes_back_zeroed, start, stop),
      cmocka_unit_test_setup_teardown(large_memory_comes_back_zeroed_as_anything, start, stop),
      cmocka_unit_test_setup_teardown(objects_are_zeroed_where_raw_blocks_and_others_lay, start,
                                      stop),
      cmocka_unit_test_setup_teardown(freed_blocks_are_the_next_that_are_handed_out, start, stop),
      cmocka_unit_test_setup_teardown(empty_pools_and_large_objects_give_their_bytes_back, start,
                                      stop),
      cmocka_unit_test_setup_teardown(what_a_dead_thread_left_is_used_on_by_others, start, stop),
      cmocka_unit_test_setup_teardown(a_random_life_agrees_with_a_model, start, stop),
      cmocka_unit_test_setup_teardown(a_container_block_is_free_until_it_has_a_type, start, stop),
      cmocka_unit_test_setup_teardown(nothing_touches_a_page_above_the_virgin_limit, start, stop),
      cmocka_unit_test_setup_teardown(a_program_that_never_collects_has_no_side_table, start, stop),
      cmocka_unit_test(memory_of_the_dead_goes_back_to_the_system),
      cmocka_unit_test(raw_and_large_blocks_bring_collections_too),
      cmocka_unit_test_setup_teardown(limits_can_be_set_while_the_world_runs, start, stop),
      cmocka_unit_test_setup_teardown(heaps_share_no_pool, start, stop),
      cmocka_unit_test_setup_teardown(heaps_come_and_go_without_growth, start, stop),
      cmocka_unit_test_setup_teardown(a_world_has_at_most_255_heaps, start, stop),
  };
  page = (size_t)sysconf(_SC_PAGESIZE);
  (void)prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0); /* pages are counted one by one here */
  support_plain_order();
  return cmocka_run_group_tests(tests, NULL, NULL);
}
