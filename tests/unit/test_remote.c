/* SPDX-License-Identifier: MIT */
/* Frees by other threads than the owner of the pool: each step of their way home, who takes them in
 * which state of the owner, and that nothing is lost where the way is cut short. */
#include "support.h"

#include "heap/find.h"
#include "heap/local.h"
#include "world/world.h"
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>

/* --- helpers: threads that do one thing at a time, and are blocked between ------------------- */

typedef void (*job)(tarn_thread *self, void *data);

struct helper {
  tarn_world *world;
  tarn_thread *self;
  pthread_t thread;
  sem_t asked, done;
  job job; /* NULL: the end */
  void *data;
};

/* Also in children, where cmocka's assertions do not work. */
static void must(bool good) {
  if (!good)
    abort();
}

static void wait_for(sem_t *semaphore) {
  while (sem_wait(semaphore) != 0) {
  }
}

static void *help(void *data) {
  struct helper *helper = data;
  must(tarn_thread_attach(helper->world, &helper->self) == TARN_OK);
  for (;;) {
    tarn_block_begin(helper->self);
    must(sem_post(&helper->done) == 0);
    wait_for(&helper->asked);
    tarn_block_end(helper->self);
    if (!helper->job)
      return NULL; /* detached by its end */
    helper->job(helper->self, helper->data);
  }
}

static struct tarn_local *local_of(const struct helper *helper) {
  return tarn_local_of(helper->self);
}

static void helper_start(struct helper *helper, tarn_world *world) {
  helper->world = world;
  must(sem_init(&helper->asked, 0, 0) == 0 && sem_init(&helper->done, 0, 0) == 0);
  must(pthread_create(&helper->thread, NULL, help, helper) == 0);
  wait_for(&helper->done);
}

/* The caller stays as it is: running, most often. */
static void ask(struct helper *helper, job what, void *data) {
  helper->job = what;
  helper->data = data;
  must(sem_post(&helper->asked) == 0);
  wait_for(&helper->done);
}

static void helper_end(struct helper *helper) {
  helper->job = NULL;
  must(sem_post(&helper->asked) == 0);
  must(pthread_join(helper->thread, NULL) == 0);
  (void)sem_destroy(&helper->asked);
  (void)sem_destroy(&helper->done);
}

/* --- what they are asked to do --------------------------------------------------------------- */

struct batch {
  void **blocks;
  size_t count, size;
};

static void do_flush(tarn_thread *self, void *data) {
  (void)data;
  tarn_remote_flush(tarn_local_of(self));
}
static void do_free(tarn_thread *self, void *data) {
  const struct batch *batch = data;
  for (size_t i = 0; i < batch->count; i++)
    tarn_free(self, batch->blocks[i]);
}
static void do_make(tarn_thread *self, void *data) {
  const struct batch *batch = data;
  for (size_t i = 0; i < batch->count; i++)
    must((batch->blocks[i] = tarn_alloc_raw(self, batch->size)) != NULL);
}
static void do_collect_mail(tarn_thread *self, void *data) {
  (void)data;
  (void)tarn_remote_collect(tarn_local_of(self));
}
static void do_verify(tarn_thread *self, void *data) {
  must(tarn_verify(self, data, 400) == TARN_OK);
}

static void free_by(struct helper *helper, void **blocks, size_t count) {
  struct batch batch = {blocks, count, 0};
  ask(helper, do_free, &batch);
}
static void free_and_flush_by(struct helper *helper, void **blocks, size_t count) {
  free_by(helper, blocks, count);
  ask(helper, do_flush, NULL);
}
static void make_by(struct helper *helper, void **blocks, size_t count, size_t size) {
  struct batch batch = {blocks, count, size};
  ask(helper, do_make, &batch);
}

/* --- fixture --------------------------------------------------------------------------------- */

#define HELPERS 2
#define MOST 4096

struct fixture {
  tarn_world *world;
  tarn_thread *self;
  struct tarn_local *local;
  struct helper helpers[HELPERS];
  void *blocks[MOST + 8];
};

static struct fixture *fixture_make(void) {
  struct fixture *f = calloc(1, sizeof *f);
  assert_non_null(f);
  /* Memory goes back where a test says so only. */
  f->world = support_world("collect=off,purge-delay=1h");
  f->self = support_attach(f->world);
  f->local = tarn_local_of(f->self);
  return f;
}

static int start(void **state) {
  struct fixture *f = fixture_make();
  for (size_t i = 0; i < HELPERS; i++)
    helper_start(&f->helpers[i], f->world);
  *state = f;
  return 0;
}

static void end_helpers(struct fixture *f) {
  for (size_t i = 0; i < HELPERS; i++)
    helper_end(&f->helpers[i]);
}

static int stop(void **state) {
  struct fixture *f = *state;
  support_verify(f->self);
  end_helpers(f);
  support_verify(f->self);
  assert_int_equal(tarn_thread_detach(f->self), TARN_OK);
  support_end(f->world);
  free(f);
  return 0;
}

static void make(struct fixture *f, size_t count, size_t size) {
  struct batch batch = {f->blocks, count, size};
  assert_true(count <= MOST + 8);
  do_make(f->self, &batch);
}

/* --- looking --------------------------------------------------------------------------------- */

static struct tarn_pool *pool_of(const void *block) { return tarn_pool_of((uintptr_t)block); }
static size_t capacity_of(size_t size) { return TARN_UNIT_SIZE / size; }

static size_t index_of(const void *block) {
  return (uintptr_t)block % TARN_UNIT_SIZE / tarn_pool_block_size(pool_of(block));
}
static bool bit_is_set(const void *block) {
  const _Atomic uint64_t *bits = tarn_remote_bits(tarn_pool_unit(pool_of(block)));
  size_t index = index_of(block);
  return atomic_load(&bits[index / 64]) >> index % 64 & 1;
}
static unsigned bits_of(const struct tarn_pool *pool) {
  const _Atomic uint64_t *bits = tarn_remote_bits(tarn_pool_unit(pool));
  unsigned count = 0;
  for (size_t i = 0; i < TARN_REMOTE_WORDS; i++)
    count += (unsigned)__builtin_popcountll(atomic_load(&bits[i]));
  return count;
}
static uint32_t counted(struct tarn_pool *pool) { return atomic_load(&pool->remote); }
static struct tarn_pool *first_in(tarn_mailbox *box) { return atomic_load(box); }

static unsigned bits_in_outbox(const struct tarn_local *local, const struct tarn_pool *pool) {
  unsigned count = 0;
  for (size_t i = 0; i < TARN_OUTBOX_ENTRIES; i++)
    if (local->outbox.entries[i].bits && local->outbox.entries[i].unit == tarn_pool_unit(pool))
      count += (unsigned)__builtin_popcountll(local->outbox.entries[i].bits);
  return count;
}

static bool says_free(const void *block) {
  tarn_kind kind = tarn_flavour_kind((tarn_flavour)pool_of(block)->flavour);
  return *(const uintptr_t *)block == tarn_free_key(kind, block);
}

/* What is underway for the pool: so many in the outbox of `local`, so many handed over. */
static void expect_underway(const struct tarn_local *local, struct tarn_pool *pool, unsigned out,
                            unsigned over) {
  assert_int_equal(bits_in_outbox(local, pool), out);
  assert_int_equal(counted(pool), over);
  assert_int_equal(bits_of(pool), over);
}

/* --- step by step ---------------------------------------------------------------------------- */

static void a_free_waits_in_the_outbox_of_the_thread_that_frees(void **state) {
  struct fixture *f = *state;
  make(f, 10, 64);
  struct tarn_pool *pool = pool_of(f->blocks[0]);
  uint32_t used = tarn_pool_used(pool);
  free_by(&f->helpers[0], f->blocks, 3);
  expect_underway(local_of(&f->helpers[0]), pool, 3, 0);
  assert_int_equal(local_of(&f->helpers[0])->outbox.bytes, 3 * 64);
  assert_false(tarn_remote_is_settled(local_of(&f->helpers[0])));
  assert_null(first_in(&f->local->mailbox));
  assert_int_equal(tarn_pool_used(pool), used);
  for (size_t i = 0; i < 10; i++)
    assert_true(says_free(f->blocks[i]) == (i < 3)); /* everybody sees it at once */
  assert_false(tarn_remote_collect(f->local));       /* there is nothing to take yet */
}

static void a_flush_sets_bits_counts_them_and_posts_the_pool_once(void **state) {
  struct fixture *f = *state;
  make(f, 10, 64);
  struct tarn_pool *pool = pool_of(f->blocks[0]);
  uint32_t used = tarn_pool_used(pool);
  free_and_flush_by(&f->helpers[0], f->blocks, 3);
  expect_underway(local_of(&f->helpers[0]), pool, 0, 3);
  assert_int_equal(local_of(&f->helpers[0])->outbox.bytes, 0);
  assert_ptr_equal(first_in(&f->local->mailbox), pool);
  free_and_flush_by(&f->helpers[1], f->blocks + 3, 2);
  free_and_flush_by(&f->helpers[0], f->blocks + 5, 1);
  expect_underway(local_of(&f->helpers[1]), pool, 0, 6);
  assert_ptr_equal(first_in(&f->local->mailbox), pool);
  assert_null(pool->mail);
  for (size_t i = 0; i < 10; i++)
    assert_true(bit_is_set(f->blocks[i]) == (i < 6));
  assert_int_equal(tarn_pool_used(pool), used); /* the owner's business */
}

static void the_owner_takes_them_and_hands_them_out_in_the_order_of_addresses(void **state) {
  struct fixture *f = *state;
  make(f, 10, 64);
  struct tarn_pool *pool = pool_of(f->blocks[0]);
  uint32_t used = tarn_pool_used(pool);
  void *some[] = {f->blocks[7], f->blocks[2], f->blocks[9], f->blocks[4]};
  free_and_flush_by(&f->helpers[0], some, 4);
  assert_true(tarn_remote_collect(f->local));
  expect_underway(local_of(&f->helpers[0]), pool, 0, 0);
  assert_null(first_in(&f->local->mailbox));
  assert_int_equal(tarn_pool_used(pool), used - 4);
  assert_false(tarn_remote_collect(f->local));
  const size_t order[] = {2, 4, 7, 9};
  for (size_t i = 0; i < 4; i++)
    assert_ptr_equal(tarn_alloc_raw(f->self, 64), f->blocks[order[i]]);
}

static void several_pools_wait_in_one_mailbox(void **state) {
  struct fixture *f = *state;
  const size_t sizes[] = {16, 64, 500, 3000, 30000};
  for (size_t i = 0; i < 5; i++) {
    f->blocks[2 * i] = tarn_alloc_raw(f->self, sizes[i]);
    f->blocks[2 * i + 1] = tarn_alloc_raw(f->self, sizes[i]);
  }
  for (size_t i = 0; i < 5; i++)
    free_and_flush_by(&f->helpers[i % 2], &f->blocks[2 * i], 1);
  struct tarn_pool *pool = first_in(&f->local->mailbox);
  for (size_t i = 5; i-- > 0; pool = pool->mail) /* a stack */
    assert_ptr_equal(pool, pool_of(f->blocks[2 * i]));
  assert_null(pool);
  assert_true(tarn_remote_collect(f->local));
  for (size_t i = 0; i < 5; i++) {
    assert_int_equal(counted(pool_of(f->blocks[2 * i])), 0);
    assert_ptr_equal(tarn_alloc_raw(f->self, sizes[i]), f->blocks[2 * i]);
  }
}

/* --- the outbox ------------------------------------------------------------------------------ */

static void an_outbox_gathers_no_more_than_32_kib(void **state) {
  struct fixture *f = *state;
  make(f, 32, 1024);
  struct tarn_pool *pool = pool_of(f->blocks[0]);
  free_by(&f->helpers[0], f->blocks, 31);
  expect_underway(local_of(&f->helpers[0]), pool, 31, 0);
  free_by(&f->helpers[0], f->blocks + 31, 1);
  expect_underway(local_of(&f->helpers[0]), pool, 0, 32);
  make(f, 1, 32768);
  free_by(&f->helpers[0], f->blocks, 1);
  expect_underway(local_of(&f->helpers[0]), pool_of(f->blocks[0]), 0, 1);
}

static void a_full_word_of_bits_is_handed_over_at_once(void **state) {
  struct fixture *f = *state;
  make(f, 200, 16);
  struct tarn_pool *pool = pool_of(f->blocks[0]);
  assert_int_equal(index_of(f->blocks[64]), 64);
  free_by(&f->helpers[0], f->blocks, 63);
  expect_underway(local_of(&f->helpers[0]), pool, 63, 0);
  free_by(&f->helpers[0], f->blocks + 63, 1);
  expect_underway(local_of(&f->helpers[0]), pool, 0, 64);
  free_by(&f->helpers[0], f->blocks + 100, 5);
  expect_underway(local_of(&f->helpers[0]), pool, 5, 64);
}

static void words_that_share_an_entry_push_each_other_out(void **state) {
  struct fixture *f = *state;
  make(f, MOST, 16);
  struct tarn_pool *pool = pool_of(f->blocks[0]);
  size_t freed = 0;
  for (size_t turn = 0; turn < 3; turn++) /* word after word, three times round */
    for (size_t word = 0; word < TARN_REMOTE_WORDS; word++, freed++) {
      free_by(&f->helpers[0], &f->blocks[word * 64 + 7 * turn], 1);
      assert_int_equal(bits_in_outbox(local_of(&f->helpers[0]), pool) + counted(pool), freed + 1);
    }
  assert_true(counted(pool) > 0);
  ask(&f->helpers[0], do_flush, NULL);
  expect_underway(local_of(&f->helpers[0]), pool, 0, (unsigned)freed);
}

static void a_detached_thread_leaves_nothing_in_its_outbox(void **state) {
  struct fixture *f = *state;
  struct helper guest;
  make(f, 10, 64);
  struct tarn_pool *pool = pool_of(f->blocks[0]);
  helper_start(&guest, f->world);
  free_by(&guest, f->blocks, 4);
  helper_end(&guest); /* a thread that exits is detached */
  assert_int_equal(counted(pool), 4);
  assert_int_equal(bits_of(pool), 4);
  assert_ptr_equal(first_in(&f->local->mailbox), pool);
}

static void a_refill_hands_over_what_the_thread_freed(void **state) {
  struct fixture *f = *state;
  void *block;
  make(f, 10, 64);
  struct tarn_pool *pool = pool_of(f->blocks[0]);
  free_by(&f->helpers[0], f->blocks, 4);
  make_by(&f->helpers[0], &block, 1, 5000); /* its first of that class */
  expect_underway(local_of(&f->helpers[0]), pool, 0, 4);
}

static void a_stop_brings_everything_home(void **state) {
  struct fixture *f = *state;
  char text[400];
  for (int round = 0; round < 3; round++) {
    make(f, 10, 64);
    struct tarn_pool *pool = pool_of(f->blocks[0]);
    uint32_t used = tarn_pool_used(pool);
    free_and_flush_by(&f->helpers[0], f->blocks, 3);
    free_by(&f->helpers[0], f->blocks + 3, 2);
    free_by(&f->helpers[1], f->blocks + 5, 1);
    if (round == 0) { /* by the owner itself, by who freed, and by a fork, which looks at nothing */
      support_verify(f->self);
    } else {
      tarn_block_begin(f->self);
      ask(&f->helpers[round % 2], do_verify, text);
      tarn_block_end(f->self);
    }
    expect_underway(local_of(&f->helpers[0]), pool, 0, 0);
    expect_underway(local_of(&f->helpers[1]), pool, 0, 0);
    assert_null(first_in(&f->local->mailbox));
    assert_int_equal(tarn_pool_used(pool), used - 6);
  }
}

/* --- all blocks, all classes ----------------------------------------------------------------- */

static int by_address(const void *a, const void *b) {
  uintptr_t left = *(const uintptr_t *)a, right = *(const uintptr_t *)b;
  return left < right ? -1 : left > right;
}

/* Frees all `count` blocks by two threads, in an order of some disorder, and takes them again: they
 * must be the same ones. */
static void expect_all_back(struct fixture *f, size_t count, void *(*again)(struct fixture *)) {
  static void *mixed[MOST], *back[MOST];
  for (size_t i = 0; i < count; i++)
    mixed[i] = f->blocks[i * 7919 % count];
  qsort(f->blocks, count, sizeof *f->blocks, by_address);
  free_by(&f->helpers[0], mixed, count / 3);
  free_and_flush_by(&f->helpers[1], mixed + count / 3, count - count / 3);
  ask(&f->helpers[0], do_flush, NULL);
  for (size_t i = 0; i < count; i++)
    back[i] = again(f);
  qsort(back, count, sizeof *back, by_address);
  for (size_t i = 0; i < count; i++)
    if (back[i] != f->blocks[i])
      fail_msg("%zu of %zu: %p for %p", i, count, back[i], f->blocks[i]);
  memcpy(f->blocks, back, count * sizeof *back);
}

static size_t raw_size;
static void *raw_again(struct fixture *f) { return tarn_alloc_raw(f->self, raw_size); }

static void every_block_of_a_pool_comes_back_once(void **state) {
  struct fixture *f = *state;
  for (unsigned i = 0; i < TARN_CLASS_COUNT; i += SUPPORT_SANITIZED ? 4 : 1) {
    raw_size = tarn_class_size(i);
    size_t count = capacity_of(raw_size);
    make(f, count, raw_size);
    assert_ptr_equal(pool_of(f->blocks[0]), pool_of(f->blocks[count - 1]));
    uint64_t pools = support_stats(f->world).pools;
    for (int round = 0; round < 3; round++)
      expect_all_back(f, count, raw_again);
    assert_int_equal(support_stats(f->world).pools, pools);
  }
}

static const tarn_type *object_type;
static void *object_again(struct fixture *f) {
  uintptr_t *object = tarn_new(f->self, object_type);
  assert_true(support_is_filled(object + 1, tarn_usable_size(f->world, object) - 8, 0));
  memset(object + 1, 0xff, tarn_usable_size(f->world, object) - 8);
  return object;
}

static void every_object_of_a_pool_comes_back_once_and_zeroed(void **state) {
  struct fixture *f = *state;
  const size_t sizes[] = {16, 24, 64, 320, 3072, 32768};
  for (size_t i = 0; i < 12; i++) {
    size_t size = sizes[i / 2], count = capacity_of(size);
    object_type = support_type(f->world, "object", size, i % 2 ? 2 : 0, NULL);
    for (size_t k = 0; k < count; k++)
      f->blocks[k] = object_again(f);
    assert_ptr_equal(pool_of(f->blocks[0]), pool_of(f->blocks[count - 1]));
    for (int round = 0; round < 3; round++)
      expect_all_back(f, count, object_again);
  }
}

static void a_full_pool_wakes_when_enough_of_it_has_come_back(void **state) {
  struct fixture *f = *state;
  const size_t sizes[] = {16, 64, 512, 8192};
  for (size_t i = 0; i < 4; i++) {
    size_t count = capacity_of(sizes[i]);
    make(f, count, sizes[i]);
    struct tarn_pool *pool = pool_of(f->blocks[0]);
    uint32_t wake = tarn_pool_wake(pool);
    (void)tarn_alloc_raw(f->self, sizes[i]); /* another pool is current now */
    assert_int_equal(pool->list, TARN_LIST_FULL);
    free_and_flush_by(&f->helpers[0], f->blocks, wake - 1);
    (void)tarn_remote_collect(f->local);
    assert_int_equal(pool->list, TARN_LIST_FULL);
    free_and_flush_by(&f->helpers[0], f->blocks + wake - 1, 1);
    assert_true(tarn_remote_collect(f->local));
    assert_int_equal(pool->list, TARN_LIST_PARTIAL);
    assert_int_equal(tarn_pool_used(pool), count - wake);
    support_drop_spares(f->world);
    uint64_t pools = support_stats(f->world).pools;
    free_and_flush_by(&f->helpers[1], f->blocks + wake, count - wake);
    assert_true(tarn_remote_collect(f->local));
    support_drop_spares(f->world);
    assert_int_equal(support_stats(f->world).pools, pools - 1); /* empty: it went */
  }
}

static void what_is_freed_beyond_the_cursor_is_found_by_the_sweep(void **state) {
  struct fixture *f = *state;
  enum { COUNT = 200 };
  struct tarn_frame frame;
  void *slots[COUNT];
  make(f, COUNT, 80);
  for (size_t i = 0; i < COUNT; i++)
    slots[i] = &f->blocks[i];
  tarn_frame_push(f->self, &frame, (void *const *)slots, COUNT);
  assert_int_equal(tarn_collect(f->self, TARN_GENERATION_FULL), TARN_OK);
  tarn_frame_pop(f->self, &frame);
  /* Taken back by the first block's owner-to-be: nothing of the pool is swept yet. */
  void *first = tarn_alloc_raw(f->self, 80);
  struct tarn_pool *pool = pool_of(f->blocks[0]);
  assert_ptr_equal(pool_of(first), pool);
  uint32_t used = tarn_pool_used(pool);
  free_and_flush_by(&f->helpers[0], f->blocks, COUNT);
  assert_true(tarn_remote_collect(f->local));
  assert_int_equal(tarn_pool_used(pool), used - COUNT);
  size_t found = 0;
  for (size_t i = 0; i < capacity_of(80) - 1; i++) {
    void *block = tarn_alloc_raw(f->self, 80);
    assert_ptr_equal(pool_of(block), pool);
    for (size_t k = 0; k < COUNT; k++)
      found += block == f->blocks[k];
  }
  assert_int_equal(found, COUNT);
}

/* --- the owner's states ---------------------------------------------------------------------- */

static void a_running_owner_takes_them_at_its_next_refill(void **state) {
  struct fixture *f = *state;
  size_t count = capacity_of(512);
  make(f, count, 512);
  uint64_t pools = support_stats(f->world).pools;
  free_and_flush_by(&f->helpers[0], f->blocks + 5, 20);
  for (size_t i = 0; i < 20; i++)
    assert_ptr_equal(tarn_alloc_raw(f->self, 512), f->blocks[5 + i]);
  assert_int_equal(support_stats(f->world).pools, pools);
}

static void a_blocked_owner_has_them_taken_by_a_stop(void **state) {
  struct fixture *f = *state;
  char text[400];
  size_t count = capacity_of(512);
  make(f, count, 512);
  struct tarn_pool *pool = pool_of(f->blocks[0]);
  void *current = tarn_alloc_raw(f->self, 512);
  support_drop_spares(f->world);
  uint64_t pools = support_stats(f->world).pools;
  tarn_block_begin(f->self);
  free_by(&f->helpers[0], f->blocks, count / 2);
  free_and_flush_by(&f->helpers[1], f->blocks + count / 2, count / 2 - 1);
  assert_int_equal(counted(pool) + bits_in_outbox(local_of(&f->helpers[0]), pool), count - 1);
  ask(&f->helpers[0], do_verify, text);
  assert_int_equal(counted(pool), 0);
  assert_int_equal(pool->list, TARN_LIST_PARTIAL);
  assert_int_equal(tarn_pool_used(pool), 1);
  free_by(&f->helpers[1], &f->blocks[count - 1], 1);
  ask(&f->helpers[0], do_verify, text);
  assert_int_equal(support_stats(f->world).pools, pools - 1);
  tarn_block_end(f->self);
  assert_ptr_equal(pool_of(tarn_alloc_raw(f->self, 512)), pool_of(current));
}

/* Blocks of a thread that has detached. */
static struct tarn_pool *make_orphans(struct fixture *f, size_t count, size_t size) {
  struct helper guest;
  helper_start(&guest, f->world);
  make_by(&guest, f->blocks, count, size);
  helper_end(&guest);
  struct tarn_pool *pool = pool_of(f->blocks[0]);
  assert_null(tarn_pool_owner(pool));
  return pool;
}

static void frees_into_an_orphan_go_to_its_heap(void **state) {
  struct fixture *f = *state;
  struct tarn_pool *pool = make_orphans(f, 10, 64);
  tarn_heap *heap = tarn_world_heap(f->world, TARN_HEAP_ATOMIC);
  uint32_t used = tarn_pool_used(pool);
  assert_int_equal(used, 10);
  free_and_flush_by(&f->helpers[0], f->blocks, 4);
  expect_underway(local_of(&f->helpers[0]), pool, 0, 4);
  assert_ptr_equal(first_in(&heap->orphans), pool);
  assert_null(first_in(&f->local->mailbox));
  tarn_remote_collect_heap(heap);
  assert_null(first_in(&heap->orphans));
  assert_int_equal(tarn_pool_used(pool), used - 4);
  assert_int_equal(pool->list, TARN_LIST_SHELF);
}

static void a_full_orphan_can_be_taken_once_a_block_of_it_has_come_back(void **state) {
  struct fixture *f = *state;
  struct tarn_pool *pool = make_orphans(f, capacity_of(64), 64);
  assert_int_equal(pool->list, TARN_LIST_SHELF_FULL);
  assert_ptr_not_equal(pool_of(tarn_alloc_raw(f->self, 64)), pool);
  free_and_flush_by(&f->helpers[0], f->blocks + 100, 1);
  void *block;
  make_by(&f->helpers[0], &block, 1, 64);
  assert_ptr_equal(block, f->blocks[100]);
  assert_ptr_equal(tarn_pool_owner(pool), local_of(&f->helpers[0]));
}

static void an_orphan_that_becomes_empty_goes_back(void **state) {
  struct fixture *f = *state;
  const size_t sizes[] = {16, 64, 5120, 32768};
  for (size_t i = 0; i < 4; i++) {
    uint64_t pools = support_stats(f->world).pools;
    size_t count = capacity_of(sizes[i]);
    (void)make_orphans(f, count, sizes[i]);
    assert_int_equal(support_stats(f->world).pools, pools + 1);
    struct batch batch = {f->blocks, count, 0};
    do_free(f->self, &batch);
    /* A refill of any class of the heap: what is the thread's goes over, what is the heap's comes
     * in, and the new pool is the only one. */
    void *other = tarn_alloc_raw(f->self, 100 + 100 * i);
    assert_int_equal(support_stats(f->world).pools, pools + 1);
    tarn_free(f->self, other);
  }
}

static void an_orphan_is_adopted_with_frees_underway(void **state) {
  struct fixture *f = *state;
  void *block;
  struct tarn_pool *pool = make_orphans(f, 100, 64);
  free_and_flush_by(&f->helpers[0], f->blocks, 30);
  free_by(&f->helpers[0], f->blocks + 30, 20); /* in an outbox meanwhile */
  make_by(&f->helpers[1], &block, 1, 64);
  assert_ptr_equal(block, f->blocks[0]);
  assert_ptr_equal(tarn_pool_owner(pool), local_of(&f->helpers[1]));
  assert_int_equal(counted(pool), 0);
  ask(&f->helpers[0], do_flush, NULL);
  assert_int_equal(counted(pool), 20);
  assert_ptr_equal(first_in(&local_of(&f->helpers[1])->mailbox), pool);
  /* Nor does the new owner need anybody else for those that it had in its own outbox. */
  free_by(&f->helpers[1], f->blocks + 50, 1);
  assert_int_equal(bits_in_outbox(local_of(&f->helpers[1]), pool), 0);
}

static void who_adopts_a_pool_gets_what_lies_in_its_own_outbox(void **state) {
  struct fixture *f = *state;
  struct tarn_pool *pool = make_orphans(f, 100, 64);
  struct batch batch = {f->blocks, 30, 0};
  do_free(f->self, &batch);
  assert_int_equal(bits_in_outbox(f->local, pool), 30);
  for (size_t i = 0; i < capacity_of(64) - 70; i++)
    assert_ptr_equal(pool_of(tarn_alloc_raw(f->self, 64)), pool); /* all 30 of them, too */
  assert_int_equal(bits_in_outbox(f->local, pool), 0);
  assert_ptr_not_equal(pool_of(tarn_alloc_raw(f->self, 64)), pool);
}

/* --- letters to the wrong address ------------------------------------------------------------ */

/* A pool with frees underway that were posted when its owner was another: takes it out of where it
 * is. */
static struct tarn_pool *undeliver(tarn_mailbox *box) {
  struct tarn_pool *pool = atomic_exchange(box, NULL);
  assert_non_null(pool);
  assert_null(pool->mail);
  return pool;
}

static void a_pool_in_a_strangers_mailbox_is_sent_on(void **state) {
  struct fixture *f = *state;
  struct tarn_local *stranger = local_of(&f->helpers[0]);
  make(f, 10, 64);
  struct tarn_pool *pool = pool_of(f->blocks[0]);
  uint32_t used = tarn_pool_used(pool);
  free_and_flush_by(&f->helpers[1], f->blocks, 3);
  atomic_store(&stranger->mailbox, undeliver(&f->local->mailbox));
  ask(&f->helpers[0], do_collect_mail, NULL);
  assert_null(first_in(&stranger->mailbox));
  assert_ptr_equal(first_in(&f->local->mailbox), pool);
  assert_int_equal(counted(pool), 3);
  /* A stop finds it wherever it is. */
  atomic_store(&stranger->mailbox, undeliver(&f->local->mailbox));
  support_verify(f->self);
  assert_int_equal(tarn_pool_used(pool), used - 3);
}

static void a_detached_thread_sends_on_what_is_not_its_own(void **state) {
  struct fixture *f = *state;
  struct helper guest;
  make(f, 10, 64);
  struct tarn_pool *pool = pool_of(f->blocks[0]);
  helper_start(&guest, f->world);
  free_and_flush_by(&f->helpers[1], f->blocks, 3);
  atomic_store(&local_of(&guest)->mailbox, undeliver(&f->local->mailbox));
  helper_end(&guest);
  assert_ptr_equal(first_in(&f->local->mailbox), pool);
  assert_true(tarn_remote_collect(f->local));
  assert_int_equal(counted(pool), 0);
}

static void an_owned_pool_in_the_heaps_mailbox_is_sent_to_its_owner(void **state) {
  struct fixture *f = *state;
  tarn_heap *heap = tarn_world_heap(f->world, TARN_HEAP_ATOMIC);
  make(f, 10, 64);
  struct tarn_pool *pool = pool_of(f->blocks[0]);
  free_and_flush_by(&f->helpers[0], f->blocks, 3);
  atomic_store(&heap->orphans, undeliver(&f->local->mailbox));
  tarn_remote_collect_heap(heap);
  assert_null(first_in(&heap->orphans));
  assert_ptr_equal(first_in(&f->local->mailbox), pool);
  assert_int_equal(counted(pool), 3);
}

static void an_orphan_in_a_threads_mailbox_is_sent_to_its_heap(void **state) {
  struct fixture *f = *state;
  tarn_heap *heap = tarn_world_heap(f->world, TARN_HEAP_ATOMIC);
  struct tarn_pool *pool = make_orphans(f, 10, 64);
  free_and_flush_by(&f->helpers[0], f->blocks, 3);
  atomic_store(&f->local->mailbox, undeliver(&heap->orphans));
  assert_true(tarn_remote_collect(f->local));
  assert_ptr_equal(first_in(&heap->orphans), pool);
  tarn_remote_collect_heap(heap);
  assert_int_equal(tarn_pool_used(pool), 7);
}

/* --- other ways to free ---------------------------------------------------------------------- */

static void *free_as_stranger(void *data) {
  const struct batch *batch = data;
  for (size_t i = 0; i < batch->count; i++)
    tarn_store_free_stranger(pool_of(batch->blocks[0])->heap->store, batch->blocks[i]);
  return NULL;
}

static void a_thread_without_a_record_hands_over_at_once(void **state) {
  struct fixture *f = *state;
  make(f, 10, 64);
  struct tarn_pool *pool = pool_of(f->blocks[0]);
  struct batch batch = {f->blocks, 4, 0};
  support_run(free_as_stranger, &batch);
  assert_int_equal(counted(pool), 4);
  assert_ptr_equal(first_in(&f->local->mailbox), pool);
  assert_true(tarn_remote_collect(f->local));
  for (size_t i = 0; i < 4; i++)
    assert_ptr_equal(tarn_alloc_raw(f->self, 64), f->blocks[i]);
}

static void do_resize(tarn_thread *self, void *data) {
  struct batch *batch = data;
  must((batch->blocks[0] = tarn_realloc(self, batch->blocks[0], batch->size)) != NULL);
}

static void a_block_that_another_resizes_comes_home(void **state) {
  struct fixture *f = *state;
  make(f, 10, 64);
  void *block = f->blocks[3];
  struct tarn_pool *pool = pool_of(block);
  memset(block, 0x77, 64);
  struct batch batch = {&f->blocks[3], 1, 640};
  ask(&f->helpers[0], do_resize, &batch);
  assert_true(support_is_filled(f->blocks[3], 64, 0x77));
  assert_ptr_equal(tarn_pool_owner(pool_of(f->blocks[3])), local_of(&f->helpers[0]));
  ask(&f->helpers[0], do_flush, NULL);
  assert_int_equal(counted(pool), 1);
  assert_true(tarn_remote_collect(f->local));
  assert_ptr_equal(tarn_alloc_raw(f->self, 64), block);
}

/* --- memory that goes back ------------------------------------------------------------------- */

#define PLAIN_SIZE ((size_t)4096)
#define PLAIN_EACH (TARN_UNIT_SIZE / PLAIN_SIZE)

/* Of the owner's first pool, whose blocks are `blocks`, the owner frees a few and the other the
 * rest; its memory goes back. */
static struct tarn_pool *purge_what_both_freed(struct fixture *f, struct helper *other) {
  struct tarn_pool *pool = pool_of(f->blocks[0]);
  free_and_flush_by(other, f->blocks + 4, PLAIN_EACH - 4);
  must(tarn_pools_purge_idle(&f->world->store, 0) == TARN_UNIT_SIZE);
  must(tarn_pools_purge_idle(&f->world->store, 0) == 0);
  must(tarn_remote_is_empty(pool) && tarn_remote_count(pool) == PLAIN_EACH - 4);
  return pool;
}

/* So many new blocks, all zero; how many are of the pool. */
static unsigned make_zeroed(struct fixture *f, size_t count, const struct tarn_pool *pool) {
  unsigned found = 0;
  for (size_t i = 0; i < count; i++) {
    f->blocks[i] = tarn_alloc_atomic(f->self, PLAIN_SIZE);
    assert_true(support_is_filled(f->blocks[i], PLAIN_SIZE, 0));
    memset(f->blocks[i], 0x33, PLAIN_SIZE);
    found += pool_of(f->blocks[i]) == pool;
  }
  return found;
}
static void expect_made(const struct fixture *f, size_t count) {
  for (size_t i = 0; i < count; i++)
    assert_true(support_is_filled(f->blocks[i], PLAIN_SIZE, 0x33));
}

/* The purge came after the owner had looked into its mailbox, and before it took the pool. */
static void a_purged_pool_is_as_new_before_its_frees_are_taken(void **state) {
  struct fixture *f = *state;
  make(f, PLAIN_EACH + 1, PLAIN_SIZE);
  for (size_t i = 0; i < 4; i++)
    tarn_free(f->self, f->blocks[i]);
  struct tarn_pool *pool = purge_what_both_freed(f, &f->helpers[0]);
  assert_ptr_equal(atomic_exchange(&f->local->mailbox, NULL), pool);
  size_t count = 2 * PLAIN_EACH - 1;
  assert_int_equal(make_zeroed(f, count, pool), PLAIN_EACH);
  assert_int_equal(counted(pool), PLAIN_EACH - 4); /* of before, without bits */
  assert_int_equal(tarn_pool_used(pool), 2 * PLAIN_EACH - 4);
  atomic_store(&f->local->mailbox, pool);
  assert_true(tarn_remote_collect(f->local));
  assert_int_equal(counted(pool), 0);
  assert_int_equal(tarn_pool_used(pool), PLAIN_EACH);
  assert_ptr_equal(tarn_pool_owner(pool), f->local);
  assert_ptr_equal(pool->own.mine, f->self); /* own frees are fast again */
  expect_made(f, count);
}

static void do_make_and_free_four(tarn_thread *self, void *data) {
  do_make(self, data);
  for (size_t i = 0; i < 4; i++)
    tarn_free(self, ((const struct batch *)data)->blocks[i]);
}

/* The same when its owner has gone meanwhile, and another thread takes it from the shelf. */
static void a_purged_pool_is_as_new_for_who_adopts_it(void **state) {
  struct fixture *f = *state;
  struct helper guest;
  helper_start(&guest, f->world);
  struct batch batch = {f->blocks, PLAIN_EACH + 1, PLAIN_SIZE};
  ask(&guest, do_make_and_free_four, &batch);
  void *last = f->blocks[PLAIN_EACH];
  struct tarn_pool *pool = purge_what_both_freed(f, &f->helpers[0]);
  assert_ptr_equal(atomic_exchange(&local_of(&guest)->mailbox, NULL), pool);
  helper_end(&guest);
  assert_null(tarn_pool_owner(pool));
  size_t count = 2 * PLAIN_EACH - 1;
  assert_int_equal(make_zeroed(f, count, pool), PLAIN_EACH);
  assert_ptr_equal(tarn_pool_owner(pool), f->local);
  atomic_store(&pool->heap->orphans, pool);
  support_verify(f->self); /* sends it on, and takes what is counted */
  assert_int_equal(counted(pool), 0);
  assert_int_equal(tarn_pool_used(pool), PLAIN_EACH);
  expect_made(f, count);
  tarn_free(f->self, last);
}

static void idle_memory_goes_back_and_is_as_new_for_its_owner(void **state) {
  struct fixture *f = *state;
  const size_t sizes[] = {16, 64, 512, 32768};
  for (size_t i = 0; i < 4; i++) {
    size_t size = sizes[i], count = capacity_of(size);
    make(f, count, size);
    struct tarn_pool *pool = pool_of(f->blocks[0]);
    for (size_t k = 0; k < count; k++)
      memset(f->blocks[k], 0xff, size);
    free_and_flush_by(&f->helpers[0], f->blocks, count - 1);
    uint64_t returned = support_stats(f->world).returned_bytes;
    (void)tarn_trim(f->world, 0); /* a block is in use */
    assert_int_equal(support_stats(f->world).returned_bytes, returned);
    free_and_flush_by(&f->helpers[1], f->blocks + count - 1, 1);
    (void)tarn_trim(f->world, 0);
    assert_true(support_stats(f->world).returned_bytes >= returned + TARN_UNIT_SIZE);
    for (size_t k = 0; k < count; k++) {
      char *block = tarn_alloc_raw(f->self, size);
      assert_ptr_equal(pool_of(block), pool);
      assert_true(support_is_filled(block, size, 0));
    }
    assert_int_equal(bits_of(pool), 0);
    assert_ptr_not_equal(pool_of(tarn_alloc_raw(f->self, size)), pool);
    support_verify(f->self);
  }
}

/* --- pools whose dead objects wait for their functions --------------------------------------- */

enum { OBJECTS = 9, DEAD = 0, FREED = 4 }; /* the first one dies; the next four are freed */

enum then { JUST_GO_ON, COLLECT_AGAIN, VERIFY, FORK };

struct parking {
  struct fixture *f;
  void *objects[OBJECTS];
  struct tarn_pool *pool;
  enum then then; /* inside the dead object's function */
  unsigned runs;
};
static struct parking parking;

static void do_free_into_condemned(tarn_thread *self, void *data) {
  (void)data;
  for (size_t i = 1; i <= FREED; i++)
    tarn_free(self, parking.objects[i]);
  tarn_remote_flush(tarn_local_of(self));
  tarn_remote_collect_heap(parking.pool->heap);
}

static void verify_in_child(void *data) {
  char text[400] = "";
  struct fixture *f = data;
  if (tarn_verify(f->self, text, sizeof text) != TARN_OK)
    dprintf(2, "%s\n", text);
  CHILD_CHECK(text[0] == '\0');
  CHILD_CHECK(parking.pool->parked);
}

/* The function of the dead object: others free into its pool while it runs. */
static void while_condemned(void) {
  struct fixture *f = parking.f;
  assert_int_equal(parking.pool->list, TARN_LIST_CONDEMNED);
  ask(&f->helpers[0], do_free_into_condemned, NULL);
  assert_true(parking.pool->parked);
  assert_int_equal(counted(parking.pool), FREED);
  assert_int_equal(bits_of(parking.pool), FREED);
  if (parking.then == COLLECT_AGAIN) {
    assert_int_equal(tarn_collect(f->self, TARN_GENERATION_FULL), TARN_OK);
    assert_false(parking.pool->parked);
    assert_int_equal(tarn_pool_used(parking.pool), OBJECTS - FREED);
  } else if (parking.then == VERIFY) {
    support_verify(f->self);
    assert_true(parking.pool->parked);
  } else if (parking.then == FORK) {
    support_good_child(verify_in_child, f);
  }
}

static void note_free(tarn_world *world, void *object) {
  (void)world;
  parking.runs++; /* one at a time: who asks waits */
  if (object == parking.objects[DEAD])
    while_condemned();
}

static void park(struct fixture *f, enum then then) {
  struct tarn_frame frame;
  void *slots[OBJECTS];
  const tarn_type *type = support_type(f->world, "resource", 48, 0, note_free);
  parking = (struct parking){.f = f, .then = then};
  for (size_t i = 0; i < OBJECTS; i++) {
    parking.objects[i] = tarn_new(f->self, type);
    slots[i] = &parking.objects[i];
  }
  parking.pool = pool_of(parking.objects[0]);
  tarn_frame_push(f->self, &frame, (void *const *)slots + 1, OBJECTS - 1);
  assert_int_equal(tarn_collect(f->self, TARN_GENERATION_FULL), TARN_OK);
  assert_int_equal(parking.runs, 1 + FREED);
  assert_false(parking.pool->parked);
  assert_int_equal(counted(parking.pool), 0);
  assert_int_equal(bits_of(parking.pool), 0);
  assert_int_equal(parking.pool->list, TARN_LIST_SHELF);
  assert_int_equal(tarn_pool_used(parking.pool), OBJECTS - 1 - FREED);
  support_verify(f->self);
  tarn_frame_pop(f->self, &frame);
  struct batch rest = {parking.objects + 1 + FREED, OBJECTS - 1 - FREED, 0};
  do_free(f->self, &rest);
  assert_int_equal(parking.runs, OBJECTS);
  support_verify(f->self);
}

static void a_pool_that_is_worked_on_gets_its_frees_afterwards(void **state) {
  park(*state, JUST_GO_ON);
  assert_int_equal(support_stats(((struct fixture *)*state)->world).pools, 0);
}
static void a_pool_that_is_worked_on_gets_them_in_a_collection(void **state) {
  park(*state, COLLECT_AGAIN);
  assert_int_equal(support_stats(((struct fixture *)*state)->world).pools, 0);
}
static void a_pool_with_parked_frees_verifies(void **state) { park(*state, VERIFY); }
static void a_pool_with_parked_frees_goes_through_a_fork(void **state) { park(*state, FORK); }

/* --- heaps and worlds that end --------------------------------------------------------------- */

static void do_make_in(tarn_thread *self, void *data) {
  const struct batch *batch = data;
  tarn_heap *heap = batch->blocks[0];
  for (size_t i = 1; i < batch->count; i++)
    must((batch->blocks[i] = tarn_heap_alloc(self, heap, batch->size)) != NULL);
}

static void a_heap_ends_with_frees_underway(void **state) {
  struct fixture *f = *state;
  for (int round = 0; round < 20; round++) {
    enum { COUNT = 41 };
    tarn_heap *heap;
    struct helper guest;
    support_verify(f->self); /* what the last round left underway comes home */
    uint64_t pools = support_stats(f->world).pools;
    assert_int_equal(tarn_heap_create(f->world, TARN_HEAP_ATOMIC, &heap), TARN_OK);
    void *mine[COUNT] = {heap}, *theirs[COUNT] = {heap}, *orphans[COUNT] = {heap};
    struct batch batches[] = {{mine, COUNT, 64}, {theirs, COUNT, 80}, {orphans, COUNT, 96}};
    do_make_in(f->self, &batches[0]);
    ask(&f->helpers[0], do_make_in, &batches[1]);
    helper_start(&guest, f->world);
    ask(&guest, do_make_in, &batches[2]);
    helper_end(&guest);
    /* In mailboxes of a thread and of the heap, and in outboxes; of all of a pool, and of some. */
    free_and_flush_by(&f->helpers[1], mine + 1, round % 2 ? COUNT - 1 : 7);
    free_and_flush_by(&f->helpers[1], orphans + 1, 20);
    free_by(&f->helpers[1], theirs + 1, 7);
    free_by(&f->helpers[1], orphans + 21, 7);
    struct batch own = {orphans + 28, round % 2 ? COUNT - 28 : 1, 0};
    do_free(f->self, &own);
    assert_int_equal(tarn_heap_destroy(f->self, heap), TARN_OK);
    assert_int_equal(support_stats(f->world).pools, pools);
    support_verify(f->self); /* free units have no bits */
    make(f, 2000, 64);
    free_and_flush_by(&f->helpers[0], f->blocks, 2000);
  }
}

static _Atomic unsigned functions_run;
static void count_function(tarn_world *world, void *object) {
  (void)world;
  (void)object;
  atomic_fetch_add(&functions_run, 1);
}

static void do_make_objects(tarn_thread *self, void *data) {
  const struct batch *batch = data;
  const tarn_type *type = batch->blocks[0];
  for (size_t i = 1; i < batch->count; i++)
    must((batch->blocks[i] = tarn_new(self, type)) != NULL);
}

static void a_world_ends_with_frees_underway(void **unused) {
  (void)unused;
  for (int round = 0; round < 8; round++) {
    enum { COUNT = 101 };
    struct fixture *f = fixture_make();
    const tarn_type *type =
        support_type(f->world, "resource", 64, round % 2 ? 2 : 0, count_function);
    void *mine[COUNT] = {(void *)(uintptr_t)type}, *orphans[COUNT] = {(void *)(uintptr_t)type};
    struct batch batches[] = {{mine, COUNT, 0}, {orphans, COUNT, 0}};
    atomic_store(&functions_run, 0);
    for (size_t i = 0; i < HELPERS; i++)
      helper_start(&f->helpers[i], f->world);
    do_make_objects(f->self, &batches[0]);
    ask(&f->helpers[0], do_make_objects, &batches[1]);
    free_by(&f->helpers[1], mine + 1, round / 2 % 2 ? COUNT - 1 : 30);
    end_helpers(f);
    struct batch rest = {orphans + 1, round / 4 ? COUNT - 1 : 30, 0};
    do_free(f->self, &rest);
    assert_true(f->local->outbox.bytes > 0);
    assert_non_null(first_in(&f->local->mailbox));
    assert_int_equal(tarn_world_destroy(f->world), TARN_OK);
    assert_int_equal(atomic_load(&functions_run), 2 * (COUNT - 1));
    free(f);
    /* The next one gets the same units: none of them has a bit. */
    f = fixture_make();
    make(f, 2000, 64);
    support_verify(f->self);
    support_end(f->world);
    free(f);
  }
}

/* --- fork ------------------------------------------------------------------------------------ */

struct forking {
  struct fixture *f;
  struct tarn_pool *mine, *theirs, *orphan;
  uint32_t used_of_mine, used_of_theirs; /* with what lies in the bins' pieces */
  void *orphans[100], *others[100];
};

static void check_verified(tarn_thread *self) {
  char text[400] = "";
  if (tarn_verify(self, text, sizeof text) != TARN_OK)
    dprintf(2, "%s\n", text);
  CHILD_CHECK(text[0] == '\0');
}

static void live_in_child(void *data) {
  const struct forking *forking = data;
  struct fixture *f = forking->f;
  tarn_thread *self = NULL;
  tarn_block_end(f->self); /* if there was a region; else it only sets a status */
  CHILD_CHECK(tarn_thread_attach(f->world, &self) == TARN_OK && self == f->self);
  check_verified(self);
  CHILD_CHECK(tarn_pool_used(forking->mine) == forking->used_of_mine - 50);
  CHILD_CHECK(tarn_pool_used(forking->theirs) == 60 && !tarn_pool_owner(forking->theirs));
  CHILD_CHECK(tarn_pool_used(forking->orphan) == 30);
  for (size_t i = 0; i < 2000; i++)
    CHILD_CHECK(tarn_alloc_raw(self, 64));
  check_verified(self);
  for (size_t i = 50; i < 100; i++)
    tarn_free(self, f->blocks[i]);
  for (size_t i = 40; i < 100; i++)
    tarn_free(self, forking->others[i]);
  for (size_t i = 70; i < 100; i++)
    tarn_free(self, forking->orphans[i]);
  check_verified(self);
  CHILD_CHECK(tarn_collect(self, TARN_GENERATION_FULL) == TARN_OK);
  tarn_stats stats = {.struct_size = sizeof stats};
  CHILD_CHECK(tarn_stats_get(f->world, &stats) == TARN_OK && stats.pools == 0);
  CHILD_CHECK(tarn_thread_detach(self) == TARN_OK && tarn_thread_detach(self) == TARN_OK);
  CHILD_CHECK(tarn_world_destroy(f->world) == TARN_OK);
}

/* Three pools, and blocks of each in every stage of the way home. */
static void prepare_fork(struct forking *forking, size_t orphans_size) {
  struct fixture *f = forking->f;
  forking->orphan = make_orphans(f, 100, orphans_size);
  memcpy(forking->orphans, f->blocks, sizeof forking->orphans);
  make_by(&f->helpers[0], forking->others, 100, 400);
  forking->theirs = pool_of(forking->others[99]);
  make(f, 100, 600);
  forking->mine = pool_of(f->blocks[0]);
  assert_ptr_equal(pool_of(f->blocks[99]), forking->mine);
  assert_ptr_equal(pool_of(forking->others[0]), forking->theirs);
  forking->used_of_mine = tarn_pool_used(forking->mine);
  forking->used_of_theirs = tarn_pool_used(forking->theirs);
  free_and_flush_by(&f->helpers[1], f->blocks, 20);
  free_by(&f->helpers[0], f->blocks + 20, 30);
  free_and_flush_by(&f->helpers[1], forking->orphans, 30);
  free_by(&f->helpers[1], forking->orphans + 30, 20);
  free_by(&f->helpers[1], forking->others, 20);
  struct batch own = {forking->others + 20, 20, 0}, more = {forking->orphans + 50, 20, 0};
  do_free(f->self, &own);
  do_free(f->self, &more);
}

static void a_child_gets_all_frees_that_were_underway(void **state) {
  struct fixture *f = *state;
  for (int blocked = 0; blocked < 2; blocked++) {
    struct forking forking = {.f = f};
    prepare_fork(&forking, blocked ? 300 : 200);
    if (blocked)
      tarn_block_begin(f->self);
    support_good_child(live_in_child, &forking);
    if (blocked)
      tarn_block_end(f->self);
    support_verify(f->self); /* and the parent lost nothing */
    assert_int_equal(tarn_pool_used(forking.mine), forking.used_of_mine - 50);
    assert_int_equal(tarn_pool_used(forking.theirs), forking.used_of_theirs - 40);
    assert_int_equal(tarn_pool_used(forking.orphan), 30);
    assert_int_equal(tarn_collect(f->self, TARN_GENERATION_FULL), TARN_OK);
    assert_int_equal(support_stats(f->world).pools, 0);
  }
}

/* --- crimes, each in a child ----------------------------------------------------------------- */

struct crime {
  const char *name;
  void (*commit)(struct fixture *f, void *block);
  const char *says;
};

#define TWICE "freed twice"
#define WRITTEN "a free block was written to"

static void own_then_other(struct fixture *f, void *block) {
  tarn_free(f->self, block);
  free_by(&f->helpers[0], &block, 1);
}
static void other_then_own(struct fixture *f, void *block) {
  free_by(&f->helpers[0], &block, 1);
  tarn_free(f->self, block);
}
static void other_then_own_when_handed_over(struct fixture *f, void *block) {
  free_and_flush_by(&f->helpers[0], &block, 1);
  tarn_free(f->self, block);
}
static void other_then_own_when_taken(struct fixture *f, void *block) {
  free_and_flush_by(&f->helpers[0], &block, 1);
  CHILD_CHECK(tarn_remote_collect(f->local));
  tarn_free(f->self, block);
}
static void one_other_twice(struct fixture *f, void *block) {
  void *blocks[2] = {block, block};
  free_by(&f->helpers[0], blocks, 2);
}
static void two_others(struct fixture *f, void *block) {
  free_by(&f->helpers[0], &block, 1);
  free_by(&f->helpers[1], &block, 1);
}
static void two_others_when_handed_over(struct fixture *f, void *block) {
  free_and_flush_by(&f->helpers[0], &block, 1);
  free_by(&f->helpers[1], &block, 1);
}
static void two_others_when_taken(struct fixture *f, void *block) {
  free_and_flush_by(&f->helpers[0], &block, 1);
  CHILD_CHECK(tarn_remote_collect(f->local));
  free_by(&f->helpers[1], &block, 1);
}
static void another_when_the_owner_is_gone(struct fixture *f, void *block) {
  free_and_flush_by(&f->helpers[0], &block, 1);
  CHILD_CHECK(tarn_thread_detach(f->self) == TARN_OK);
  free_by(&f->helpers[1], &block, 1);
}

/* The first word, which says that the block is free, is written over: by who uses it still. */
static void use(void *block) { *(uintptr_t *)block = 12345; }

static void one_other_twice_with_a_use_between(struct fixture *f, void *block) {
  free_by(&f->helpers[0], &block, 1);
  use(block);
  free_by(&f->helpers[0], &block, 1);
}
static void two_others_with_a_use_between(struct fixture *f, void *block) {
  free_by(&f->helpers[0], &block, 1);
  use(block);
  free_by(&f->helpers[1], &block, 1);
  ask(&f->helpers[0], do_flush, NULL);
  ask(&f->helpers[1], do_flush, NULL);
}
static void use_when_underway(struct fixture *f, void *block) {
  free_and_flush_by(&f->helpers[0], &block, 1);
  use(block);
  (void)tarn_remote_collect(f->local);
}

/* Of blocks whose first word is anything: raw ones, and objects, which are given a zero. */
static const struct crime crimes[] = {
    {"own, then other", own_then_other, TWICE},
    {"other, then own", other_then_own, TWICE},
    {"other, then own when it was handed over", other_then_own_when_handed_over, TWICE},
    {"other, then own when it was taken", other_then_own_when_taken, TWICE},
    {"one other twice", one_other_twice, TWICE},
    {"two others", two_others, TWICE},
    {"two others when it was handed over", two_others_when_handed_over, TWICE},
    {"two others when it was taken", two_others_when_taken, TWICE},
    {"another when the owner is gone", another_when_the_owner_is_gone, TWICE},
};
static const struct crime raw_crimes[] = {
    {"one other twice, a use between", one_other_twice_with_a_use_between, TWICE},
    {"two others, a use between", two_others_with_a_use_between, TWICE},
    {"a use when it is underway", use_when_underway, WRITTEN},
};

struct scene {
  const struct crime *crime;
  unsigned kind; /* raw, leaf, container */
  bool with_tables;
  void *(*block)(struct fixture *f, const struct scene *scene);
};

static void *good_block(struct fixture *f, const struct scene *scene) {
  const tarn_type *type = NULL;
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = "object";
  spec.size = 64;
  spec.slot_bits = scene->kind == 2 ? 2 : 0;
  if (scene->kind)
    CHILD_CHECK((type = tarn_type_create(f->world, &spec, NULL)));
  for (int i = 0; i < 10; i++) /* some that stay, so that the pool does */
    f->blocks[i] = type ? tarn_new(f->self, type) : tarn_alloc_raw(f->self, 64);
  return f->blocks[5];
}

static void commit(void *data) {
  const struct scene *scene = data;
  struct fixture *f = calloc(1, sizeof *f);
  tarn_options options = TARN_OPTIONS_INIT;
  options.set = "collect=off,purge-delay=1h";
  options.flags = TARN_OPTIONS_NO_ENVIRONMENT;
  (void)signal(SIGSEGV, SIG_DFL);
  CHILD_CHECK(f && tarn_world_create(&options, &f->world) == TARN_OK);
  CHILD_CHECK(tarn_thread_attach(f->world, &f->self) == TARN_OK);
  f->local = tarn_local_of(f->self);
  if (scene->with_tables)
    CHILD_CHECK(tarn_collect(f->self, TARN_GENERATION_FULL) == TARN_OK);
  for (size_t i = 0; i < HELPERS; i++)
    helper_start(&f->helpers[i], f->world);
  void *block = scene->block(f, scene);
  dprintf(2, "about %p\n", block);
  scene->crime->commit(f, block);
  dprintf(2, "it went on\n");
}

/* The child makes threads, which ThreadSanitizer allows only if there was one at the fork: a thread
 * of the library, whose world is gone, may be on its last instructions then. */
static int commit_in_child(const struct scene *scene, char *text, size_t size) {
  int status = 0;
  for (int tries = 0; tries < 50; tries++) {
    status = support_child(commit, (void *)(uintptr_t)scene, text, size);
    if (!strstr(text, "after multi-threaded fork is not supported"))
      break;
    (void)usleep(20000);
  }
  return status;
}

/* Did the child end by a report about that block? */
static bool is_reported(const struct scene *scene) {
  char text[4096], wanted[64] = "";
  int status = commit_in_child(scene, text, sizeof text);
  const char *about = strstr(text, "about 0x");
  if (about)
    (void)snprintf(wanted, sizeof wanted, "tarn: block %.*s ", (int)strcspn(about + 6, "\n"),
                   about + 6);
  const char *report = about ? strstr(about, wanted) : NULL;
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT && report &&
      strstr(report, scene->crime->says))
    return true;
  print_error("%s (kind %u%s): status %#x, said:\n%s\n", scene->crime->name, scene->kind,
              scene->with_tables ? ", with tables" : "", (unsigned)status, text);
  return false;
}

static void a_double_free_across_threads_is_reported(void **unused) {
  (void)unused;
  size_t missed = 0;
  for (size_t i = 0; i < sizeof crimes / sizeof crimes[0]; i++)
    for (unsigned kind = 0; kind < 3; kind++) {
      struct scene scene = {&crimes[i], kind, (i + kind) % 2, good_block};
      missed += !is_reported(&scene);
    }
  assert_int_equal(missed, 0);
}

static void a_use_that_hides_a_double_free_does_not_hide_it_underway(void **unused) {
  (void)unused;
  size_t missed = 0;
  for (size_t i = 0; i < sizeof raw_crimes / sizeof raw_crimes[0]; i++)
    for (unsigned with_tables = 0; with_tables < 2; with_tables++) {
      struct scene scene = {&raw_crimes[i], 0, with_tables, good_block};
      missed += !is_reported(&scene);
    }
  assert_int_equal(missed, 0);
}

/* In a pool whose memory went back the words do not tell. */
static void *purged_block(struct fixture *f, size_t index) {
  make(f, PLAIN_EACH + 1, PLAIN_SIZE);
  for (size_t i = 0; i < 4; i++)
    tarn_free(f->self, f->blocks[i]);
  (void)purge_what_both_freed(f, &f->helpers[0]);
  return f->blocks[index];
}
static void *purged_that_the_owner_freed(struct fixture *f, const struct scene *scene) {
  (void)scene;
  return purged_block(f, 2);
}
static void *purged_that_another_freed(struct fixture *f, const struct scene *scene) {
  (void)scene;
  return purged_block(f, 9);
}

static void again_by_the_owner(struct fixture *f, void *block) { tarn_free(f->self, block); }
static void again_by_another(struct fixture *f, void *block) {
  free_and_flush_by(&f->helpers[1], &block, 1);
}
static void used_by_the_owner(struct fixture *f, void *block) {
  (void)tarn_realloc(f->self, block, 2 * PLAIN_SIZE);
}

static void a_second_free_is_reported_when_the_memory_went_back(void **unused) {
  (void)unused;
  static const struct crime after[] = {{"again by the owner", again_by_the_owner, TWICE},
                                       {"again by another", again_by_another, TWICE},
                                       {"used by the owner", used_by_the_owner, TWICE}};
  size_t missed = 0;
  for (size_t i = 0; i < sizeof after / sizeof after[0]; i++)
    for (unsigned k = 0; k < 4; k++) {
      struct scene scene = {&after[i], 0, k % 2,
                            k / 2 ? purged_that_another_freed : purged_that_the_owner_freed};
      missed += !is_reported(&scene);
    }
  assert_int_equal(missed, 0);
}

/* A raw block that was never handed out, though a bin has the pool. */
static void *never_allocated(struct fixture *f, const struct scene *scene) {
  (void)scene;
  return (char *)tarn_alloc_raw(f->self, 4096) + 8 * 4096;
}
static void *never_allocated_after_a_heap_ended(struct fixture *f, const struct scene *scene) {
  tarn_heap *heap = NULL;
  CHILD_CHECK(tarn_heap_create(f->world, TARN_HEAP_ATOMIC, &heap) == TARN_OK);
  CHILD_CHECK(tarn_heap_destroy(f->self, heap) == TARN_OK);
  return never_allocated(f, scene);
}
static void other_and_taken(struct fixture *f, void *block) {
  free_and_flush_by(&f->helpers[0], &block, 1);
  (void)tarn_remote_collect(f->local);
}
static void own(struct fixture *f, void *block) { tarn_free(f->self, block); }

static size_t count_missed(const struct scene *scenes, size_t count) {
  size_t missed = 0;
  for (size_t i = 0; i < count; i++)
    missed += !is_reported(&scenes[i]);
  return missed;
}

static const struct crime by_other = {"never allocated, by another", other_and_taken, TWICE};
static const struct crime by_owner = {"never allocated, by the owner", own, TWICE};

static void what_was_never_handed_out_is_not_freed(void **unused) {
  (void)unused;
  const struct scene scenes[] = {{&by_owner, 0, false, never_allocated},
                                 {&by_owner, 0, true, never_allocated},
                                 {&by_owner, 0, true, never_allocated_after_a_heap_ended},
                                 {&by_other, 0, true, never_allocated}};
  assert_int_equal(count_missed(scenes, 4), 0);
}

/* There are no mark bytes, or all of them are zero, as the epoch is. */
static void nor_is_it_before_the_first_collection(void **unused) {
  (void)unused;
  const struct scene scenes[] = {{&by_other, 0, false, never_allocated},
                                 {&by_owner, 0, false, never_allocated_after_a_heap_ended},
                                 {&by_other, 0, false, never_allocated_after_a_heap_ended}};
  assert_int_equal(count_missed(scenes, 3), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
#define WITH_WORLD(test) cmocka_unit_test_setup_teardown(test, start, stop)
      WITH_WORLD(a_free_waits_in_the_outbox_of_the_thread_that_frees),
      WITH_WORLD(a_flush_sets_bits_counts_them_and_posts_the_pool_once),
      WITH_WORLD(the_owner_takes_them_and_hands_them_out_in_the_order_of_addresses),
      WITH_WORLD(several_pools_wait_in_one_mailbox),
      WITH_WORLD(an_outbox_gathers_no_more_than_32_kib),
      WITH_WORLD(a_full_word_of_bits_is_handed_over_at_once),
      WITH_WORLD(words_that_share_an_entry_push_each_other_out),
      WITH_WORLD(a_detached_thread_leaves_nothing_in_its_outbox),
      WITH_WORLD(a_refill_hands_over_what_the_thread_freed),
      WITH_WORLD(a_stop_brings_everything_home),
      WITH_WORLD(every_block_of_a_pool_comes_back_once),
      WITH_WORLD(every_object_of_a_pool_comes_back_once_and_zeroed),
      WITH_WORLD(a_full_pool_wakes_when_enough_of_it_has_come_back),
      WITH_WORLD(what_is_freed_beyond_the_cursor_is_found_by_the_sweep),
      WITH_WORLD(a_running_owner_takes_them_at_its_next_refill),
      WITH_WORLD(a_blocked_owner_has_them_taken_by_a_stop),
      WITH_WORLD(frees_into_an_orphan_go_to_its_heap),
      WITH_WORLD(a_full_orphan_can_be_taken_once_a_block_of_it_has_come_back),
      WITH_WORLD(an_orphan_that_becomes_empty_goes_back),
      WITH_WORLD(an_orphan_is_adopted_with_frees_underway),
      WITH_WORLD(who_adopts_a_pool_gets_what_lies_in_its_own_outbox),
      WITH_WORLD(a_pool_in_a_strangers_mailbox_is_sent_on),
      WITH_WORLD(a_detached_thread_sends_on_what_is_not_its_own),
      WITH_WORLD(an_owned_pool_in_the_heaps_mailbox_is_sent_to_its_owner),
      WITH_WORLD(an_orphan_in_a_threads_mailbox_is_sent_to_its_heap),
      WITH_WORLD(a_thread_without_a_record_hands_over_at_once),
      WITH_WORLD(a_block_that_another_resizes_comes_home),
      WITH_WORLD(idle_memory_goes_back_and_is_as_new_for_its_owner),
      WITH_WORLD(a_purged_pool_is_as_new_before_its_frees_are_taken),
      WITH_WORLD(a_purged_pool_is_as_new_for_who_adopts_it),
      WITH_WORLD(a_pool_that_is_worked_on_gets_its_frees_afterwards),
      WITH_WORLD(a_pool_that_is_worked_on_gets_them_in_a_collection),
      WITH_WORLD(a_pool_with_parked_frees_verifies),
      WITH_WORLD(a_pool_with_parked_frees_goes_through_a_fork),
      WITH_WORLD(a_heap_ends_with_frees_underway),
      cmocka_unit_test(a_world_ends_with_frees_underway),
      WITH_WORLD(a_child_gets_all_frees_that_were_underway),
      cmocka_unit_test(a_second_free_is_reported_when_the_memory_went_back),
      cmocka_unit_test(a_double_free_across_threads_is_reported),
      cmocka_unit_test(a_use_that_hides_a_double_free_does_not_hide_it_underway),
      cmocka_unit_test(what_was_never_handed_out_is_not_freed),
      cmocka_unit_test(nor_is_it_before_the_first_collection),
  };
  support_plain_order();
  return cmocka_run_group_tests(tests, NULL, NULL);
}
