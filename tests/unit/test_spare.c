/* SPDX-License-Identifier: MIT */
/* Spare pools: which of its empty pools a thread keeps, what it makes of them, who takes their
 * memory, and that none is left where there must be none. */
#include "support.h"

#include "heap/find.h"
#include "heap/local.h"
#include "os/os.h"
#include "world/world.h"
#include <semaphore.h>
#include <signal.h>
#include <sys/mman.h>
#include <time.h>

#define UNIT TARN_UNIT_SIZE
#define SIZE ((size_t)8192)
#define EACH (UNIT / SIZE) /* blocks in a pool */
#define MOST 24u           /* pools */

struct fixture {
  tarn_world *world;
  tarn_thread *self;
  struct tarn_local *local;
  struct tarn_spares *spares;
  void *blocks[MOST][EACH];
  struct tarn_pool *pools[MOST];
  void *last; /* keeps a bin's pool beside those above */
};

static struct fixture *begin(const char *set) {
  struct fixture *f = calloc(1, sizeof *f);
  assert_non_null(f);
  f->world = support_world(set);
  f->self = support_attach(f->world);
  f->local = tarn_local_of(f->self);
  f->spares = &f->local->spares;
  return f;
}

/* Memory goes back where a test says so only. */
static struct fixture *begin_quiet(void) { return begin("collect=off,purge-delay=1h,purger=0"); }

static void end(struct fixture *f) {
  support_verify(f->self);
  assert_int_equal(tarn_thread_detach(f->self), TARN_OK);
  support_end(f->world);
  free(f);
}

static struct tarn_store *store_of(tarn_world *world) { return &world->store; }
static struct tarn_pool *pool_of(const void *block) { return tarn_pool_of((uintptr_t)block); }

static void sleep_ms(unsigned ms) {
  struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
  (void)nanosleep(&time, NULL);
}

/* Also in children and in threads, where cmocka's assertions do not work. */
static void must(bool good) {
  if (!good)
    abort();
}

/* Fills `count` pools with blocks of SIZE bytes, whose every byte is written, and begins one more;
 * no pool is spare then. */
static void fill(tarn_thread *self, struct fixture *f, size_t count) {
  for (size_t p = 0; p < count; p++) {
    for (size_t i = 0; i < EACH; i++) {
      must((f->blocks[p][i] = tarn_alloc_raw(self, SIZE)) != NULL);
      memset(f->blocks[p][i], 0xab, SIZE);
    }
    f->pools[p] = pool_of(f->blocks[p][0]);
    must(f->pools[p] == pool_of(f->blocks[p][EACH - 1]));
  }
  f->last = tarn_alloc_raw(self, SIZE);
  (void)tarn_spare_drop_all(tarn_local_of(self));
}

static void drain(tarn_thread *self, struct fixture *f, size_t p) {
  for (size_t i = 0; i < EACH; i++)
    tarn_free(self, f->blocks[p][i]);
}

/* So many spare pools of the class; they are f->pools, the oldest first. */
static void make_spares_of(tarn_thread *self, struct fixture *f, size_t count) {
  fill(self, f, count);
  for (size_t p = 0; p < count; p++)
    drain(self, f, p);
}
static void make_spares(struct fixture *f, size_t count) {
  make_spares_of(f->self, f, count);
  assert_int_equal(f->spares->count, count);
}

/* The bin's current pool has one block in use, `last`. */
static void use_up_current(struct fixture *f) {
  for (size_t i = 1; i < EACH; i++)
    assert_ptr_equal(pool_of(tarn_alloc_raw(f->self, SIZE)), pool_of(f->last));
}

static void *purge_now(void *data) {
  const struct fixture *f = data;
  return (void *)tarn_pools_purge_idle(store_of(f->world), 0);
}
static size_t purge_by_another(struct fixture *f) {
  pthread_t thread;
  void *given = NULL;
  must(pthread_create(&thread, NULL, purge_now, f) == 0 && pthread_join(thread, &given) == 0);
  return (size_t)given;
}

static size_t resident(const struct tarn_pool *pool) {
  unsigned char pages[UNIT / 4096];
  size_t page = tarn_os_page_size(), found = 0;
  must(mincore((void *)tarn_pool_base(pool), UNIT, pages) == 0);
  for (size_t i = 0; i < UNIT / page; i++)
    found += pages[i] & 1 ? page : 0;
  return found;
}

/* --- keeping and using again ----------------------------------------------------------------- */

static void an_empty_pool_stays_with_its_thread(void **unused) {
  (void)unused;
  struct fixture *f = begin_quiet();
  fill(f->self, f, 3);
  tarn_stats before = support_stats(f->world);
  for (size_t p = 0; p < 3; p++) {
    drain(f->self, f, p);
    assert_int_equal(f->spares->count, p + 1);
    assert_ptr_equal(f->spares->pools[p], f->pools[p]);
    assert_int_equal(f->pools[p]->list, TARN_LIST_SPARE);
    assert_null(f->pools[p]->own.mine);
    assert_ptr_equal(tarn_pool_owner(f->pools[p]), f->local);
  }
  tarn_stats after = support_stats(f->world);
  assert_int_equal(after.pools, before.pools);
  assert_int_equal(after.heap_bytes, before.heap_bytes);
  assert_int_equal(after.dirty_bytes, before.dirty_bytes);
  end(f);
}

static void the_same_class_gets_the_newest(void **unused) {
  (void)unused;
  struct fixture *f = begin_quiet();
  make_spares(f, 3);
  use_up_current(f);
  uint64_t pools = support_stats(f->world).pools;
  for (size_t p = 3; p-- > 0;)
    for (size_t i = 0; i < EACH; i++) {
      void *block = tarn_alloc_atomic(f->self, SIZE);
      assert_ptr_equal(pool_of(block), f->pools[p]);
      assert_true(support_is_filled(block, SIZE, 0));
      memset(block, 1, SIZE);
    }
  assert_int_equal(f->spares->count, 0);
  assert_int_equal(support_stats(f->world).pools, pools);
  end(f);
}

static void the_same_class_passes_others_over(void **unused) {
  (void)unused;
  struct fixture *f = begin_quiet();
  void *others[UNIT / 32768 + 1];
  fill(f->self, f, 1);
  for (size_t i = 0; i < UNIT / 32768 + 1; i++)
    others[i] = tarn_alloc_raw(f->self, 32768);
  (void)tarn_spare_drop_all(f->local);
  drain(f->self, f, 0); /* the older of the two */
  for (size_t i = 0; i < UNIT / 32768; i++)
    tarn_free(f->self, others[i]);
  assert_int_equal(f->spares->count, 2);
  use_up_current(f);
  assert_ptr_equal(pool_of(tarn_alloc_raw(f->self, SIZE)), f->pools[0]);
  assert_int_equal(f->spares->count, 1);
  assert_ptr_equal(f->spares->pools[0], pool_of(others[0]));
  end(f);
}

/* What the look-ups say of a block, and of the words inside it. */
static void expect_known(struct fixture *f, char *block, size_t size) {
  size_t found = 0;
  assert_int_equal(tarn_usable_size(f->world, block), size);
  assert_ptr_equal(tarn_block_of(f->world, (uintptr_t)block + size - 1, &found), block);
  assert_int_equal(found, size);
  assert_int_equal(tarn_usable_size(f->world, block + SIZE / 2), 0);
}

static void another_class_gets_the_oldest_remade(void **unused) {
  (void)unused;
  struct fixture *f = begin_quiet();
  make_spares(f, 3);
  uint64_t pools = support_stats(f->world).pools;
  const size_t sizes[] = {16384, 24576, 32768};
  for (size_t p = 0; p < 3; p++) {
    size_t size = tarn_good_size(sizes[p]);
    for (size_t i = 0; i < UNIT / size; i++) {
      char *block = tarn_alloc_atomic(f->self, size);
      assert_ptr_equal(pool_of(block), f->pools[p]);
      assert_true(support_is_filled(block, size, 0));
      expect_known(f, block, size);
      memset(block, 1, size);
    }
    assert_ptr_equal(tarn_pool_owner(f->pools[p]), f->local);
    assert_int_equal(f->spares->count, 2 - p);
  }
  assert_int_equal(support_stats(f->world).pools, pools);
  end(f);
}

static void objects_made_of_raw_memory_are_zero(void **unused) {
  (void)unused;
  struct fixture *f = begin_quiet();
  const tarn_type *types[2] = {support_type(f->world, "leaf", 2048, 0, NULL),
                               support_type(f->world, "pair", 4096, 2, NULL)};
  make_spares(f, 2);
  for (size_t t = 0; t < 2; t++) {
    size_t size = t ? 4096 : 2048;
    for (size_t i = 0; i < UNIT / size; i++) {
      char *object = tarn_new(f->self, types[t]);
      assert_ptr_equal(pool_of(object), f->pools[t]);
      assert_true(support_is_filled(object + 8, size - 8, 0));
      assert_ptr_equal(tarn_type_of(object), types[t]);
    }
  }
  assert_int_equal(f->spares->count, 0);
  end(f);
}

static void another_heap_may_get_it(void **unused) {
  (void)unused;
  struct fixture *f = begin_quiet();
  tarn_heap *heap = NULL;
  assert_int_equal(tarn_heap_create(f->world, TARN_HEAP_ATOMIC, &heap), TARN_OK);
  make_spares(f, 1);
  char *block = tarn_heap_alloc(f->self, heap, SIZE);
  assert_ptr_equal(pool_of(block), f->pools[0]);
  assert_ptr_equal(f->pools[0]->heap, heap);
  assert_true(support_is_filled(block, SIZE, 0));
  assert_int_equal(f->spares->count, 0);
  end(f);
}

static void there_are_never_more_than_so_many(void **unused) {
  (void)unused;
  struct fixture *f = begin_quiet();
  fill(f->self, f, MOST);
  uint64_t pools = support_stats(f->world).pools;
  for (size_t p = 0; p < MOST; p++) {
    drain(f->self, f, p);
    size_t gone = p < TARN_SPARE_POOLS ? 0 : p + 1 - TARN_SPARE_POOLS;
    assert_int_equal(f->spares->count, p + 1 - gone);
    assert_int_equal(support_stats(f->world).pools, pools - gone);
    for (size_t i = 0; i <= p; i++) /* the oldest went */
      assert_int_equal(tarn_map_get(tarn_pool_unit(f->pools[i])) == 0, i < gone);
  }
  end(f);
}

static void without_a_delay_none_is_kept(void **unused) {
  (void)unused;
  struct fixture *f = begin("collect=off,purge-delay=0");
  fill(f->self, f, 3);
  uint64_t pools = support_stats(f->world).pools;
  assert_int_equal(pools, 4); /* nothing was taken in a row */
  for (size_t p = 0; p < 3; p++) {
    drain(f->self, f, p);
    assert_int_equal(f->spares->count, 0);
    assert_int_equal(support_stats(f->world).pools, pools - p - 1);
  }
  end(f);
}

/* --- units in a row -------------------------------------------------------------------------- */

/* Uses up one visit to the store: the units that it takes, in a row and all the thread's. */
static size_t visit(tarn_thread *self) {
  struct tarn_local *local = tarn_local_of(self);
  must(local->spares.count == 0);
  const struct tarn_pool *first = pool_of(tarn_alloc_raw(self, 32768)); /* two to a pool */
  size_t count = local->spares.count + 1;
  for (size_t i = 0; i < 2 * count; i++) {
    const struct tarn_pool *pool = i ? pool_of(tarn_alloc_raw(self, 32768)) : first;
    must(pool == first + i / 2 && tarn_pool_owner(pool) == local);
    if (i + 2 == 2 * count)
      break; /* the last pool's second block would end it, and the next one begins the next row */
  }
  return count;
}

/* One block of the row's last pool is left. */
static void finish_row(tarn_thread *self) { must(tarn_alloc_raw(self, 32768) != NULL); }

static size_t next_visit(tarn_thread *self) {
  finish_row(self);
  return visit(self);
}

static void units_are_taken_in_rows_that_double(void **unused) {
  (void)unused;
  struct fixture *f = begin_quiet();
  const size_t rows[] = {1, 2, 4, 8, 8, 8};
  assert_int_equal(visit(f->self), 1);
  for (size_t i = 1; i < 6; i++)
    assert_int_equal(next_visit(f->self), rows[i]);
  end(f);
}

/* A thread that ends gives up its current pool first, then those with free blocks. */
static void of_pools_on_a_shelf_the_last_one_is_taken(void **unused) {
  (void)unused;
  struct fixture *f = begin_quiet();
  fill(f->self, f, 2);
  tarn_free(f->self, f->blocks[0][3]);
  assert_int_equal(f->pools[0]->list, TARN_LIST_PARTIAL);
  assert_int_equal(tarn_thread_detach(f->self), TARN_OK);
  assert_int_equal(f->pools[0]->list, TARN_LIST_SHELF);
  assert_int_equal(pool_of(f->last)->list, TARN_LIST_SHELF);
  f->self = support_attach(f->world);
  assert_ptr_equal(tarn_alloc_raw(f->self, SIZE), f->blocks[0][3]);
  assert_ptr_equal(pool_of(tarn_alloc_raw(f->self, SIZE)), pool_of(f->last));
  end(f);
}

/* Where both are, a spare pool of another class waits for that. */
static void a_unit_of_the_class_comes_before_a_spare_pool_of_another(void **unused) {
  (void)unused;
  struct fixture *f = begin_quiet();
  void *others[17];
  fill(f->self, f, 1);
  for (size_t i = 0; i < 17; i++)
    assert_non_null(others[i] = tarn_alloc_raw(f->self, 4096));
  drain(f->self, f, 0);
  assert_true(tarn_spare_drop_all(f->local));
  for (size_t i = 0; i < 16; i++)
    tarn_free(f->self, others[i]);
  assert_int_equal(f->spares->count, 1);
  use_up_current(f);
  assert_ptr_equal(pool_of(tarn_alloc_raw(f->self, SIZE)), f->pools[0]);
  assert_int_equal(f->spares->count, 1);
  assert_ptr_equal(f->spares->pools[0], pool_of(others[0]));
  end(f);
}

static void *visit_thrice(void *data) {
  struct fixture *f = data;
  tarn_thread *self = NULL;
  must(tarn_thread_attach(f->world, &self) == TARN_OK);
  must(visit(self) == 1 && next_visit(self) == 2 && next_visit(self) == 4);
  finish_row(self); /* nothing for the shelf */
  must(tarn_thread_detach(self) == TARN_OK);
  return NULL;
}

/* In worlds with a collector a record is used again only after many; here at once. */
static void a_thread_begins_with_one_unit(void **unused) {
  (void)unused;
  struct fixture *f = begin_quiet();
  support_run(visit_thrice, f);
  f->spares->step = 3;
  tarn_local_open(f->local);
  assert_int_equal(f->spares->step, 0);
  support_run(visit_thrice, f);
  end(f);
}

static void rows_begin_anew_where_pools_went(void **unused) {
  (void)unused;
  struct fixture *f = begin_quiet();
  fill(f->self, f, MOST);
  f->spares->step = 3;
  for (size_t p = 0; p <= TARN_SPARE_POOLS; p++)
    drain(f->self, f, p);
  assert_int_equal(f->spares->step, 0); /* it has too many */
  (void)tarn_spare_drop_all(f->local);
  f->spares->step = 3;
  (void)tarn_alloc_raw(f->self, 32768);
  assert_true(f->spares->count > 0);
  support_drop_spares(f->world);
  assert_int_equal(f->spares->step, 0); /* it was to have none */
  end(f);
}

/* What is asked for in vain was never held. */
static void a_short_row_charges_no_more_than_it_gets(void **unused) {
  (void)unused;
  struct fixture *f = begin_quiet();
  fill(f->self, f, 3);
  drain(f->self, f, 1);
  support_drop_spares(f->world); /* one dirty unit, alone */
  f->spares->step = 3;
  tarn_stats before = support_stats(f->world);
  assert_ptr_equal(pool_of(tarn_alloc_raw(f->self, 32768)), f->pools[1]);
  tarn_stats after = support_stats(f->world);
  assert_int_equal(after.heap_bytes, before.heap_bytes + UNIT);
  assert_true(after.heap_bytes_max <= before.heap_bytes_max ||
              after.heap_bytes_max == after.heap_bytes);
  end(f);
}

/* --- where there must be none ---------------------------------------------------------------- */

static void collect_full(struct fixture *f) {
  assert_int_equal(tarn_collect(f->self, TARN_GENERATION_FULL), TARN_OK);
}
static void verify(struct fixture *f) { support_verify(f->self); }
static void trim(struct fixture *f) { (void)tarn_trim(f->world, SIZE_MAX); }
static void trim_in_a_hold(struct fixture *f) {
  tarn_gc_hold(f->self);
  trim(f);
  tarn_gc_release(f->self);
}

static void stops_and_trims_leave_none(void **unused) {
  (void)unused;
  void (*const ways[])(struct fixture *) = {collect_full, verify, trim, trim_in_a_hold};
  for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
    struct fixture *f = begin_quiet();
    make_spares(f, 5);
    uint64_t pools = support_stats(f->world).pools;
    ways[i](f);
    assert_int_equal(f->spares->count, 0);
    assert_true(support_stats(f->world).pools <= pools - 5);
    end(f);
  }
}

/* A thread that has spare pools, and does nothing until it is let go. */
struct neighbour {
  struct fixture f;
  tarn_world *world;
  pthread_t thread;
  sem_t ready, go;
};

static void *be_neighbour(void *data) {
  struct neighbour *n = data;
  must(tarn_thread_attach(n->world, &n->f.self) == TARN_OK);
  n->f.local = tarn_local_of(n->f.self);
  make_spares_of(n->f.self, &n->f, 5);
  must(n->f.local->spares.count == 5);
  tarn_block_begin(n->f.self);
  must(sem_post(&n->ready) == 0);
  while (sem_wait(&n->go) != 0) {
  }
  tarn_block_end(n->f.self);
  must(tarn_thread_detach(n->f.self) == TARN_OK);
  return NULL;
}

static struct neighbour *neighbour_start(tarn_world *world) {
  struct neighbour *n = calloc(1, sizeof *n);
  must(n && sem_init(&n->ready, 0, 0) == 0 && sem_init(&n->go, 0, 0) == 0);
  n->world = n->f.world = world;
  must(pthread_create(&n->thread, NULL, be_neighbour, n) == 0);
  while (sem_wait(&n->ready) != 0) {
  }
  return n;
}

static void neighbour_end(struct neighbour *n) {
  must(sem_post(&n->go) == 0 && pthread_join(n->thread, NULL) == 0);
  must(sem_destroy(&n->ready) == 0 && sem_destroy(&n->go) == 0);
  free(n);
}

static void a_stop_takes_those_of_blocked_threads(void **unused) {
  (void)unused;
  struct fixture *f = begin_quiet();
  struct neighbour *n = neighbour_start(f->world);
  uint64_t pools = support_stats(f->world).pools;
  collect_full(f);
  assert_int_equal(n->f.local->spares.count, 0);
  assert_true(support_stats(f->world).pools <= pools - 5);
  neighbour_end(n);
  end(f);
}

static void a_thread_that_goes_leaves_none(void **unused) {
  (void)unused;
  struct fixture *f = begin_quiet();
  struct neighbour *n = neighbour_start(f->world);
  neighbour_end(n);
  assert_int_equal(support_stats(f->world).pools, 1); /* that of the last block */
  collect_full(f);
  assert_int_equal(support_stats(f->world).heap_bytes, 0);
  make_spares(f, 7);
  tarn_free(f->self, f->last);
  assert_int_equal(tarn_thread_detach(f->self), TARN_OK);
  assert_int_equal(support_stats(f->world).heap_bytes, 0);
  assert_int_equal(support_stats(f->world).pools, 0);
  f->self = support_attach(f->world);
  end(f);
}

static void at_the_limit_they_make_room(void **unused) {
  (void)unused;
  const size_t sizes[] = {6 * UNIT, 32768, SIZE};
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    struct fixture *f = begin_quiet();
    make_spares(f, 8);
    size_t held = (size_t)support_stats(f->world).heap_bytes;
    assert_int_equal(tarn_world_set_limits(f->world, 0, held), TARN_OK);
    void *block = tarn_alloc_raw(f->self, sizes[i]);
    assert_non_null(block);
    memset(block, 1, sizes[i]);
    assert_true(support_stats(f->world).heap_bytes <= held);
    assert_int_equal(tarn_world_set_limits(f->world, 0, 0), TARN_OK);
    end(f);
  }
}

/* --- memory that goes back ------------------------------------------------------------------- */

static void a_purge_takes_the_memory_after_the_delay(void **unused) {
  (void)unused;
  struct fixture *f = begin_quiet();
  struct tarn_store *store = store_of(f->world);
  make_spares(f, 3);
  uint64_t start = tarn_os_now();
  size_t given = tarn_pools_purge_idle(store, 300);
  sleep_ms(20);
  given += tarn_pools_purge_idle(store, 300);
  if (tarn_os_now() - start < 250000000u) { /* else a slow machine */
    assert_int_equal(given, 0);
    assert_int_equal(resident(f->pools[0]), UNIT);
  }
  sleep_ms(320);
  given += tarn_pools_purge_idle(store, 300);
  assert_int_equal(given, 3 * UNIT);
  for (size_t p = 0; p < 3; p++)
    assert_int_equal(resident(f->pools[p]), 0);
  assert_int_equal(tarn_pools_purge_idle(store, 0), 0); /* once */
  assert_int_equal(f->spares->count, 3);
  end(f);
}

/* The time counts from when a purge saw it spare last, not first. */
static void a_pool_that_was_used_meanwhile_is_not_idle(void **unused) {
  (void)unused;
  struct fixture *f = begin_quiet();
  struct tarn_store *store = store_of(f->world);
  make_spares(f, 1);
  use_up_current(f);
  assert_int_equal(tarn_pools_purge_idle(store, 100), 0);
  sleep_ms(120);
  for (size_t i = 0; i < EACH; i++)
    assert_ptr_equal(pool_of(f->blocks[0][i] = tarn_alloc_raw(f->self, SIZE)), f->pools[0]);
  f->last = tarn_alloc_raw(f->self, SIZE);
  (void)tarn_spare_drop_all(f->local);
  drain(f->self, f, 0);
  assert_int_equal(f->spares->count, 1);
  assert_int_equal(tarn_pools_purge_idle(store, 100), 0);
  end(f);
}

static void the_owner_finds_zero_memory_and_a_whole_pool(void **unused) {
  (void)unused;
  const size_t sizes[] = {SIZE, 16, 32768}; /* the first is the pools' own */
  for (size_t s = 0; s < 3; s++) {
    struct fixture *f = begin_quiet();
    make_spares(f, 2);
    if (s == 0)
      use_up_current(f);
    assert_int_equal(purge_by_another(f), 2 * UNIT);
    assert_int_equal(resident(f->pools[0]), 0);
    size_t size = sizes[s];
    for (size_t i = 0; i < 2 * (UNIT / size); i++) {
      char *block = tarn_alloc_atomic(f->self, size);
      assert_true(pool_of(block) == f->pools[0] || pool_of(block) == f->pools[1]);
      assert_true(support_is_filled(block, size, 0));
      memset(block, 1, size);
    }
    assert_int_equal(f->spares->count, 0);
    end(f);
  }
}

static void a_pool_whose_memory_went_back_is_clean_in_the_store(void **unused) {
  (void)unused;
  struct fixture *f = begin_quiet();
  make_spares(f, 4);
  uint64_t dirty = support_stats(f->world).dirty_bytes;
  assert_int_equal(purge_by_another(f), 4 * UNIT);
  (void)tarn_spare_drop_all(f->local);
  assert_int_equal(support_stats(f->world).dirty_bytes, dirty);
  end(f);
}

static void after_collections_too_the_marks_are_forgotten(void **unused) {
  (void)unused;
  struct fixture *f = begin_quiet();
  collect_full(f); /* there are tables now */
  fill(f->self, f, 2);
  for (size_t p = 0; p < 2; p++)
    for (size_t i = 0; i < EACH; i++)
      assert_int_equal(tarn_root_add(f->world, &f->blocks[p][i]), TARN_OK);
  collect_full(f); /* they are marked, and of nobody */
  for (size_t p = 0; p < 2; p++)
    tarn_free(f->self, f->blocks[p][0]);
  tarn_remote_flush(f->local);
  for (size_t p = 0; p < 2; p++)
    f->blocks[p][0] = tarn_alloc_raw(f->self, SIZE);
  for (size_t p = 0; p < 2; p++)
    assert_ptr_equal(tarn_pool_owner(f->pools[p]), f->local);
  f->last = tarn_alloc_raw(f->self, SIZE);
  (void)tarn_spare_drop_all(f->local);
  for (size_t p = 0; p < 2; p++)
    drain(f->self, f, p);
  assert_int_equal(f->spares->count, 2);
  assert_int_equal(purge_by_another(f), 2 * UNIT);
  for (size_t p = 0; p < 2; p++)
    for (size_t i = 0; i < EACH; i++) {
      assert_int_equal(tarn_root_remove(f->world, &f->blocks[p][i]), TARN_OK);
      f->blocks[p][i] = tarn_alloc_atomic(f->self, SIZE);
      assert_true(support_is_filled(f->blocks[p][i], SIZE, 0));
      memset(f->blocks[p][i], 1, SIZE);
    }
  end(f);
}

static void what_was_never_touched_is_not_purged(void **unused) {
  (void)unused;
  struct fixture *f = begin_quiet();
  f->spares->step = 3;
  assert_non_null(tarn_alloc_raw(f->self, SIZE));
  assert_int_equal(f->spares->count, 7);
  assert_int_equal(purge_by_another(f), 0);
  assert_int_equal(purge_by_another(f), 0);
  for (size_t i = 0; i < 7; i++)
    assert_int_equal(resident(f->spares->pools[i]), 0);
  end(f);
}

#if TARN_FAULTS
static void a_purge_that_is_refused_changes_nothing(void **unused) {
  (void)unused;
  struct fixture *f = begin_quiet();
  make_spares(f, 1);
  use_up_current(f);
  tarn_os_fault_kinds(TARN_FAULT_PURGE);
  assert_int_equal(tarn_pools_purge_idle(store_of(f->world), 0), 0);
  tarn_os_fault_kinds(0);
  assert_int_equal(resident(f->pools[0]), UNIT);
  char *block = tarn_alloc_atomic(f->self, SIZE);
  assert_ptr_equal(pool_of(block), f->pools[0]);
  assert_true(support_is_filled(block, SIZE, 0));
  end(f);
}
#endif

/* Nothing was free when the thread that purges went to sleep; then it is called, however many there
 * were spare before, and stays until their time has come. */
static void a_sleeping_purger_comes_for_them(void **unused) {
  (void)unused;
  struct fixture *f = begin("collect=off,purge-delay=50ms");
  tarn_purge_stay(store_of(f->world));
  fill(f->self, f, 15);
  tarn_purge_begin(store_of(f->world));
  for (size_t before = 0; before <= 8; before += 4) {
    while (!(__atomic_load_n(&store_of(f->world)->purge.bell, __ATOMIC_RELAXED) & 4))
      sleep_ms(10);
    size_t gone = 0;
    for (size_t p = before; p < before + 4 + (before == 8 ? 3 : 0); p++)
      drain(f->self, f, p);
    for (unsigned i = 0; i < 1000 && !gone; i++) {
      sleep_ms(10);
      gone = resident(f->pools[before]) == 0;
    }
    assert_true(gone);
  }
  end(f);
}

/* --- double frees ---------------------------------------------------------------------------- */

struct crime {
  struct fixture *f;
  bool purged, by_another, reallocates;
};

static void *free_by_another(void *data) {
  const struct crime *crime = data;
  tarn_thread *self = NULL;
  must(tarn_thread_attach(crime->f->world, &self) == TARN_OK);
  tarn_free(self, crime->f->blocks[0][2]);
  must(tarn_thread_detach(self) == TARN_OK); /* what it freed is handed over now at the latest */
  return NULL;
}

static void commit(void *data) {
  const struct crime *crime = data;
  struct fixture *f = crime->f;
  (void)signal(SIGABRT, SIG_DFL);
  (void)alarm(30);
  if (crime->purged)
    CHILD_CHECK(tarn_pools_purge_idle(store_of(f->world), 0) == 2 * UNIT);
  CHILD_CHECK(f->spares->count == 2);
  if (crime->by_another) {
    pthread_t thread;
    CHILD_CHECK(pthread_create(&thread, NULL, free_by_another, data) == 0);
    (void)pthread_join(thread, NULL);
  } else if (crime->reallocates) {
    (void)tarn_realloc(f->self, f->blocks[0][2], SIZE - 100);
  } else {
    tarn_free(f->self, f->blocks[0][2]);
  }
}

static void a_second_free_is_reported(void **unused) {
  (void)unused;
  struct fixture *f = begin_quiet();
  make_spares(f, 2);
  char text[4096], block[64];
  (void)snprintf(block, sizeof block, "%p", f->blocks[0][2]);
  for (unsigned i = 0; i < 6; i++) {
    struct crime crime = {f, i & 1, i / 2 == 1, i / 2 == 2};
    int status = support_child(commit, &crime, text, sizeof text);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT || !strstr(text, "freed twice") ||
        !strstr(text, block))
      fail_msg("%s, %s: status %#x, said:\n%s", crime.purged ? "purged" : "not purged",
               crime.by_another    ? "by another"
               : crime.reallocates ? "realloc"
                                   : "by the owner",
               (unsigned)status, text);
  }
  end(f);
}

/* --- forks ----------------------------------------------------------------------------------- */

struct family {
  struct fixture *f;
  struct neighbour *n;
};

static void be_child(void *data) {
  struct family *family = data;
  struct fixture *f = family->f;
  (void)alarm(60);
  CHILD_CHECK(f->spares->count == 6); /* the fork left them */
  for (size_t p = 0; p < MOST; p++)
    for (size_t i = 0; i < EACH; i++) {
      CHILD_CHECK((f->blocks[p][i] = tarn_alloc_atomic(f->self, SIZE)));
      CHILD_CHECK(support_is_filled(f->blocks[p][i], SIZE, 0));
      memset(f->blocks[p][i], (int)p + 1, SIZE);
    }
  for (size_t p = 0; p < MOST; p++)
    for (size_t i = 0; i < EACH; i++)
      CHILD_CHECK(support_is_filled(f->blocks[p][i], SIZE, (unsigned char)(p + 1)));
  for (size_t p = 0; p < MOST; p++)
    drain(f->self, f, p);
  tarn_free(f->self, f->last);
  tarn_free(f->self, family->n->f.last);
  CHILD_CHECK(tarn_collect(f->self, TARN_GENERATION_FULL) == TARN_OK);
  char text[400];
  CHILD_CHECK(tarn_verify(f->self, text, sizeof text) == TARN_OK);
  CHILD_CHECK(tarn_thread_detach(f->self) == TARN_OK);
  tarn_stats stats = {.struct_size = sizeof stats};
  CHILD_CHECK(tarn_stats_get(f->world, &stats) == TARN_OK && stats.heap_bytes == 0);
  CHILD_CHECK(tarn_world_destroy(f->world) == TARN_OK);
}

static void a_child_has_them_all(void **unused) {
  (void)unused;
  for (unsigned purged = 0; purged < 2; purged++) {
    struct fixture *f = begin_quiet();
    struct family family = {f, neighbour_start(f->world)};
    make_spares(f, 6);
    if (purged)
      assert_int_equal(purge_by_another(f), 11 * UNIT);
    support_good_child(be_child, &family);
    assert_int_equal(f->spares->count, 6);
    assert_int_equal(family.n->f.local->spares.count, 5);
    neighbour_end(family.n);
    end(f);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(an_empty_pool_stays_with_its_thread),
    cmocka_unit_test(of_pools_on_a_shelf_the_last_one_is_taken),
    cmocka_unit_test(a_unit_of_the_class_comes_before_a_spare_pool_of_another),
    cmocka_unit_test(the_same_class_gets_the_newest),
    cmocka_unit_test(the_same_class_passes_others_over),
    cmocka_unit_test(another_class_gets_the_oldest_remade),
    cmocka_unit_test(objects_made_of_raw_memory_are_zero),
    cmocka_unit_test(another_heap_may_get_it),
    cmocka_unit_test(there_are_never_more_than_so_many),
    cmocka_unit_test(without_a_delay_none_is_kept),
    cmocka_unit_test(units_are_taken_in_rows_that_double),
    cmocka_unit_test(a_thread_begins_with_one_unit),
    cmocka_unit_test(rows_begin_anew_where_pools_went),
    cmocka_unit_test(a_short_row_charges_no_more_than_it_gets),
    cmocka_unit_test(stops_and_trims_leave_none),
    cmocka_unit_test(a_stop_takes_those_of_blocked_threads),
    cmocka_unit_test(a_thread_that_goes_leaves_none),
    cmocka_unit_test(at_the_limit_they_make_room),
    cmocka_unit_test(a_purge_takes_the_memory_after_the_delay),
    cmocka_unit_test(a_pool_that_was_used_meanwhile_is_not_idle),
    cmocka_unit_test(the_owner_finds_zero_memory_and_a_whole_pool),
    cmocka_unit_test(a_pool_whose_memory_went_back_is_clean_in_the_store),
    cmocka_unit_test(after_collections_too_the_marks_are_forgotten),
    cmocka_unit_test(what_was_never_touched_is_not_purged),
#if TARN_FAULTS
    cmocka_unit_test(a_purge_that_is_refused_changes_nothing),
#endif
    cmocka_unit_test(a_sleeping_purger_comes_for_them),
    cmocka_unit_test(a_second_free_is_reported),
    cmocka_unit_test(a_child_has_them_all),
  };
  support_plain_order();
  return cmocka_run_group_tests(tests, NULL, NULL);
}
