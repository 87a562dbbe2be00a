/* SPDX-License-Identifier: MIT */
/*
 * Free units: that they are found, where they should be, by whatever way is the fastest; and that
 * their memory goes back to the system when it should, with a thread for it and without, whatever
 * else happens meanwhile.
 */
#include "support.h"

#include "heap/heap.h"
#include "heap/local.h"
#include "os/os.h"
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <time.h>

#define UNIT TARN_UNIT_SIZE
#define ARENA TARN_ARENA_UNITS
#define MOST_UNITS (8 * ARENA)

static uint64_t seed = 0x9e3779b97f4a7c15u;
static size_t below(size_t bound) {
  seed ^= seed << 13;
  seed ^= seed >> 7;
  seed ^= seed << 17;
  return (size_t)(seed % bound);
}

static void sleep_ms(unsigned ms) {
  struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
  (void)nanosleep(&time, NULL);
}

/* Waits until `fn(data)` is true, for ten seconds at most. */
static bool wait_for(bool (*fn)(void *), void *data) {
  for (unsigned i = 0; i < 2000; i++) {
    if (fn(data))
      return true;
    sleep_ms(5);
  }
  return fn(data);
}

/* --- units: a store alone -------------------------------------------------------------------- */

static void open_store(struct tarn_store *store) {
  assert_int_equal(tarn_space_start(0), TARN_OK);
  assert_int_equal(tarn_store_start(store, NULL), TARN_OK);
  tarn_purge_configure(store, (uint64_t)3600 * 1000000000u, false);
}

static size_t take(struct tarn_store *store, size_t count, size_t alignment) {
  struct tarn_wanted want = {.units = count, .alignment = alignment, .unit = SIZE_MAX};
  assert_true(tarn_store_take(store, &want));
  size_t unit = want.unit;
  assert_int_equal((tarn_unit_base(unit) >> TARN_UNIT_SHIFT) % alignment, 0);
  for (size_t i = 0; i < count; i++) {
    assert_int_equal(tarn_map_get(unit + i), 0);
    tarn_space.pools[unit + i].dirty = 0; /* as those do who take units */
  }
  return unit;
}

/* Gives units back, of which every one has `dirty` bytes. */
static void give(struct tarn_store *store, size_t unit, size_t count, uint32_t dirty) {
  for (size_t i = 0; i < count; i++) {
    tarn_space.pools[unit + i].dirty = dirty;
    if (dirty)
      *(char *)tarn_unit_base(unit + i) = 1;
  }
  tarn_store_give(store, &(struct tarn_wanted){.units = count, .unit = unit});
}

static void units_are_aligned_as_asked(void **unused) {
  (void)unused;
  struct tarn_store store;
  open_store(&store);
  size_t odd = take(&store, 1, 1);
  for (size_t alignment = 1; alignment <= 16384; alignment *= 2) {
    size_t unit = take(&store, 3, alignment), next = take(&store, 1, alignment);
    assert_true(next >= unit + 3 || next < unit);
    give(&store, next, 1, 0);
    give(&store, unit, 3, 0);
  }
  give(&store, odd, 1, 0);
  tarn_store_end(&store);
}

static void rows_may_be_longer_than_an_arena(void **unused) {
  (void)unused;
  struct tarn_store store;
  open_store(&store);
  size_t first = take(&store, ARENA + 1, 1), second = take(&store, 3 * ARENA, 1);
  assert_true(second >= first + ARENA + 1 || first >= second + 3 * ARENA);
  give(&store, first, ARENA + 1, 0);
  assert_int_equal(take(&store, 2 * ARENA, 1), first); /* its record has two arenas in a row */
  give(&store, first + 7, 5, 0);
  assert_int_equal(take(&store, 5, 1), first + 7);
  tarn_store_end(&store);
}

static void a_dirty_unit_is_preferred(void **unused) {
  (void)unused;
  struct tarn_store store;
  open_store(&store);
  size_t first = take(&store, 2 * ARENA, 1);
  give(&store, first, 100, 0);
  assert_int_equal(take(&store, 1, 1), first);
  give(&store, first + ARENA + 9, 3, 4096);
  assert_int_equal(atomic_load(&store.dirty), 3 * 4096);
  assert_int_equal(take(&store, 1, 1), first + ARENA + 9);
  assert_int_equal(atomic_load(&store.dirty), 2 * 4096);
  assert_int_equal(take(&store, 2, 1), first + 1); /* a row is the first that fits */
  assert_int_equal(take(&store, 1, 1), first + ARENA + 10);
  assert_int_equal(take(&store, 1, 1), first + ARENA + 11);
  assert_int_equal(take(&store, 1, 1), first + 3);
  tarn_store_end(&store);
}

/* A unit for a pool of the class, or up to `most` in a row; how many, in `*count`. */
static size_t take_pools(struct tarn_store *store, unsigned size_class, size_t most,
                         size_t *count) {
  struct tarn_wanted want = {.units = 1,
                             .alignment = 1,
                             .bytes = TARN_UNIT_SIZE,
                             .pools = most,
                             .size_class = size_class,
                             .unit = SIZE_MAX};
  assert_true(tarn_store_take(store, &want));
  assert_int_equal(want.units, want.pools);
  if (count)
    *count = want.pools;
  for (size_t i = 0; i < want.pools; i++) {
    tarn_space.pools[want.unit + i].dirty = 0;
    tarn_space.pools[want.unit + i].size_class = (uint8_t)size_class;
  }
  return want.unit;
}

static void give_pool(struct tarn_store *store, size_t unit, uint32_t dirty) {
  tarn_space.pools[unit].dirty = dirty;
  struct tarn_wanted was = {.units = 1, .pools = 1, .bytes = TARN_UNIT_SIZE, .unit = unit};
  was.size_class = tarn_space.pools[unit].size_class;
  tarn_store_give(store, &was);
}

static void a_pool_gets_a_unit_that_was_of_its_class(void **unused) {
  (void)unused;
  struct tarn_store store;
  size_t units[4];
  open_store(&store);
  for (unsigned i = 0; i < 4; i++)
    units[i] = take_pools(&store, 10 + i % 2, 1, NULL);
  for (unsigned i = 0; i < 4; i++)
    give_pool(&store, units[i], 4096);
  assert_int_equal(take_pools(&store, 11, 1, NULL), units[3]); /* the last one first */
  assert_int_equal(take_pools(&store, 10, 1, NULL), units[2]);
  assert_int_equal(take(&store, 1, 1), units[0]); /* the note of it is stale now */
  assert_int_equal(take_pools(&store, 10, 1, NULL), units[3] + 1);
  assert_int_equal(take_pools(&store, 11, 1, NULL), units[1]);
  tarn_store_end(&store);
}

static void a_unit_that_a_class_touched_in_part_is_left_to_it(void **unused) {
  (void)unused;
  struct tarn_store store;
  size_t few, all, count;
  open_store(&store);
  few = take_pools(&store, 10, 1, NULL);
  all = take_pools(&store, 10, 1, NULL);
  give_pool(&store, all, 60000);
  give_pool(&store, few, 4096);
  assert_int_equal(take_pools(&store, 12, 1, NULL), all);       /* nothing to lose there */
  assert_int_equal(take_pools(&store, 12, 4, &count), all + 1); /* was never touched */
  assert_int_equal(count, 4);
  assert_int_equal(take_pools(&store, 10, 4, &count), few);
  assert_int_equal(count, 1);
  tarn_store_end(&store);
}

static void such_units_serve_any_class_when_they_are_many(void **unused) {
  (void)unused;
  struct tarn_store store;
  open_store(&store);
  size_t units[600], most = 40 << 10;
  for (unsigned i = 0; i < 600; i++)
    units[i] = take_pools(&store, 10, 1, NULL);
  for (unsigned i = 0; i < 600; i++)
    give_pool(&store, units[i], (uint32_t)most - i);
  assert_true(atomic_load(&store.dirty) > (size_t)16 << 20);
  size_t unit = take_pools(&store, 12, 1, NULL);
  assert_true(unit >= units[0] && unit <= units[599]);
  tarn_store_end(&store);
}

static void full_arenas_are_passed_over(void **unused) {
  (void)unused;
  struct tarn_store store;
  size_t units[8];
  open_store(&store);
  for (size_t i = 0; i < 8; i++)
    units[i] = take(&store, ARENA, 1);
  (void)take(&store, 2, 1); /* the searches went over all, and a ninth was made */
  (void)take(&store, 1, 1);
  assert_int_equal(store.hints[0]->base, store.hints[1]->base);
  assert_true(store.hints[0]->base > tarn_unit_base(units[7]));
  give(&store, units[3] + 77, 1, 0);
  assert_int_equal(store.hints[0]->base, tarn_unit_base(units[3]));
  assert_true(store.hints[1]->base > tarn_unit_base(units[7]));
  give(&store, units[3] + 79, 1, 0);
  give(&store, units[3] + 78, 1, 0); /* joins the two */
  assert_int_equal(store.hints[1]->base, tarn_unit_base(units[3]));
  assert_int_equal(take(&store, 3, 1), units[3] + 77);
  tarn_store_end(&store);
}

/* The store against an array of its units: first fit, and nothing given twice. */
struct model {
  struct tarn_store store;
  bool used[MOST_UNITS];
  uint32_t dirty[MOST_UNITS];
  struct row {
    size_t first, count;
  } rows[64];
};

static size_t model_find(const struct model *model, size_t base, size_t count, size_t alignment) {
  for (size_t i = 0; count == 1 && alignment == 1 && i < MOST_UNITS; i++)
    if (!model->used[i] && model->dirty[i])
      return i;
  for (size_t i = 0, run = 0; i < MOST_UNITS; i++) {
    run = model->used[i] ? 0 : i % ARENA == 0 ? 1 : run + 1;
    size_t first = i + 1 - count;
    if (run >= count && ((tarn_unit_base(base + first) >> TARN_UNIT_SHIFT) % alignment) == 0)
      return first;
  }
  return SIZE_MAX;
}

static void random_rows_are_found_where_they_should_be(void **unused) {
  (void)unused;
  static struct model model;
  struct tarn_store *store = &model.store;
  open_store(store);
  size_t bases[8], base = SIZE_MAX;
  for (size_t i = 0; i < 8; i++) {
    bases[i] = take(store, ARENA, 1);
    base = bases[i] < base ? bases[i] : base;
  }
  for (size_t i = 0; i < 8; i++)
    give(store, bases[i], ARENA, 0);
  for (unsigned round = 0; round < 30000; round++) {
    struct row *row = &model.rows[below(64)];
    if (row->count) {
      uint32_t dirty = below(3) ? 0 : 100;
      give(store, base + row->first, row->count, dirty);
      for (size_t i = row->first; i < row->first + row->count; i++) {
        model.used[i] = false;
        model.dirty[i] = dirty;
      }
      row->count = 0;
      continue;
    }
    row->count = below(4) ? 1 + below(6) : 1 + below(ARENA / 2);
    size_t alignment = below(4) ? 1 : (size_t)1 << below(9);
    row->first = model_find(&model, base, row->count, alignment);
    if (row->first == SIZE_MAX) {
      row->count = 0;
      continue;
    }
    assert_int_equal(take(store, row->count, alignment), base + row->first);
    for (size_t i = row->first; i < row->first + row->count; i++)
      model.used[i] = true;
  }
  tarn_store_end(store);
}

/* --- worlds ---------------------------------------------------------------------------------- */

struct fixture {
  tarn_world *world;
  tarn_thread *self;
  void *blocks[8192];
  size_t count;
  uintptr_t low, high; /* around all blocks ever */
};

static struct fixture *begin(const char *set) {
  struct fixture *f = calloc(1, sizeof *f);
  f->world = support_world(set);
  f->self = support_attach(f->world);
  f->low = UINTPTR_MAX;
  return f;
}

static void fill(struct fixture *f, size_t size) {
  void *block = tarn_alloc_atomic(f->self, size);
  assert_non_null(block);
  assert_true(support_is_filled(block, size, 0));
  memset(block, 0x5a, size);
  f->blocks[f->count++] = block;
  f->low = (uintptr_t)block < f->low ? (uintptr_t)block : f->low;
  f->high = (uintptr_t)block + size > f->high ? (uintptr_t)block + size : f->high;
}

/* Fills and frees so much, in pools or in large blocks. */
static void dirty(struct fixture *f, size_t bytes, size_t size) {
  for (size_t i = 0; i < bytes / size; i++)
    fill(f, size);
  while (f->count)
    tarn_free(f->self, f->blocks[--f->count]);
}

/* Bytes between the blocks' ends that are backed by memory. */
static size_t resident(const struct fixture *f) {
  static unsigned char pages[16384];
  size_t page = tarn_os_page_size(), found = 0;
  for (uintptr_t at = f->low & ~(UNIT - 1); at < f->high; at += UNIT) {
    assert_int_equal(mincore((void *)at, UNIT, pages), 0);
    for (size_t i = 0; i < UNIT / page; i++)
      found += pages[i] & 1 ? page : 0;
  }
  return found;
}

static bool is_clean(void *data) {
  struct fixture *f = data;
  return support_stats(f->world).dirty_bytes < 128 * KIB && resident(f) < 256 * KIB;
}

/* The counter follows the memory. */
static bool is_counted(void *data) {
  struct fixture *f = data;
  return support_stats(f->world).returned_bytes >= 2 * MIB;
}

/* Threads of this process with the purger's name; `*blocked` gets their blocked signals. */
static unsigned purgers(unsigned long long *blocked) {
  unsigned count = 0;
  char path[400], line[256];
  DIR *tasks = opendir("/proc/self/task");
  assert_non_null(tasks);
  for (struct dirent *entry; (entry = readdir(tasks));) {
    bool is_purger = false;
    (void)snprintf(path, sizeof path, "/proc/self/task/%s/status", entry->d_name);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file)) {
      is_purger = is_purger || strncmp(line, "Name:\ttarn-purger", 17) == 0;
      if (is_purger && blocked && strncmp(line, "SigBlk:", 7) == 0)
        *blocked = strtoull(line + 7, NULL, 16);
    }
    if (file)
      fclose(file);
    count += is_purger;
  }
  closedir(tasks);
  return count;
}
static bool no_purger(void *data) {
  (void)data;
  return purgers(NULL) == 0;
}
static bool a_purger(void *data) {
  (void)data;
  return purgers(NULL) != 0;
}

static void end(struct fixture *f) {
  assert_int_equal(tarn_thread_detach(f->self), TARN_OK);
  support_end(f->world);
  /* The library is done with the thread; the system may take a moment longer. */
  assert_true(wait_for(no_purger, NULL));
  free(f);
}

static void free_memory_goes_back_after_the_delay(void **unused) {
  (void)unused;
  const size_t sizes[] = {1000, 20000, 300000};
  for (size_t i = 0; i < 3; i++) {
    struct fixture *f = begin("purge-delay=400ms,collect=0");
    uint64_t start = tarn_os_now();
    dirty(f, 3 * MIB, sizes[i]);
    tarn_stats stats = support_stats(f->world);
    bool late = tarn_os_now() - start > 300000000; /* a slow machine */
    assert_true(late || stats.dirty_bytes >= 2 * MIB);
    assert_true(late || resident(f) >= 2 * MIB);
    assert_true(wait_for(is_clean, f));
    assert_true(wait_for(is_counted, f));
    dirty(f, 3 * MIB, sizes[i]); /* all of it zero again */
    support_verify(f->self);
    end(f);
  }
}

static void used_memory_stays(void **unused) {
  (void)unused;
  struct fixture *f = begin("purge-delay=1ms,collect=0");
  for (unsigned i = 0; i < 60; i++)
    fill(f, i % 2 ? 20000 : 100000);
  size_t kept = f->count;
  for (unsigned i = 0; i < 60; i++)
    fill(f, i % 2 ? 20000 : 100000);
  while (f->count > kept)
    tarn_free(f->self, f->blocks[--f->count]);
  sleep_ms(100);
  for (size_t i = 0; i < f->count; i++)
    assert_true(support_is_filled(f->blocks[i], i % 2 ? 20000 : 100000, 0x5a));
  support_verify(f->self);
  end(f);
}

static void the_thread_comes_and_goes(void **unused) {
  (void)unused;
  unsigned long long blocked = 0;
  struct fixture *f = begin("purge-delay=5ms,collect=0");
  assert_true(no_purger(NULL));
  for (unsigned i = 0; i < 2; i++) {
    dirty(f, 4 * MIB, 5000);
    assert_true(wait_for(a_purger, NULL));
    (void)purgers(&blocked);
    assert_true(blocked >> (SIGTERM - 1) & blocked >> (SIGUSR1 - 1) & 1);
    assert_true(wait_for(is_clean, f));
    assert_true(wait_for(no_purger, NULL));
  }
  dirty(f, 4 * MIB, 5000);
  end(f);
}

static void without_a_thread_those_that_free_do_its_work(void **unused) {
  (void)unused;
  struct fixture *f = begin("purge-delay=20ms,purger=0,collect=0");
  dirty(f, 8 * MIB, 5000);
  uint64_t returned = support_stats(f->world).returned_bytes;
  sleep_ms(100);
  assert_int_equal(support_stats(f->world).returned_bytes, returned); /* nobody came by */
  for (unsigned i = 0; i < 50 && support_stats(f->world).dirty_bytes >= MIB; i++) {
    dirty(f, 100000, 100000);
    sleep_ms(20);
  }
  assert_true(support_stats(f->world).dirty_bytes < MIB);
  assert_true(resident(f) < 2 * MIB);
  assert_true(no_purger(NULL));
  support_verify(f->self);
  end(f);
}

/* --- a thread that stays, as the malloc door has it --------------------------------------------
 */

static struct tarn_purge *purge_of(struct fixture *f) {
  return &((struct tarn_store *)(void *)f->world)->purge;
}

static struct fixture *begin_staying(const char *set) {
  struct fixture *f = begin(set);
  tarn_purge_stay((struct tarn_store *)(void *)f->world);
  return f;
}
static void begin_purger(struct fixture *f) {
  tarn_purge_begin((struct tarn_store *)(void *)f->world);
}

/* Nothing to do for a while: it sleeps without a limit, and its word does not change. */
static bool is_asleep(void *data) {
  struct fixture *f = data;
  uint32_t bell = __atomic_load_n(&purge_of(f)->bell, __ATOMIC_RELAXED);
  if (bell == 0 || support_stats(f->world).dirty_bytes >= MIB)
    return false;
  sleep_ms(100);
  (void)pthread_mutex_lock(&((struct tarn_store *)(void *)f->world)->lock);
  bool asleep = (bell & 4) && __atomic_load_n(&purge_of(f)->bell, __ATOMIC_RELAXED) == bell;
  (void)pthread_mutex_unlock(&((struct tarn_store *)(void *)f->world)->lock);
  return asleep;
}

static void a_thread_that_stays_sleeps_and_wakes(void **unused) {
  (void)unused;
  struct fixture *f = begin_staying("purge-delay=4ms,collect=0");
  dirty(f, 4 * MIB, 5000); /* makes none */
  sleep_ms(20);
  dirty(f, 4 * MIB, 5000);
  assert_true(no_purger(NULL));
  begin_purger(f);
  begin_purger(f);
  for (unsigned i = 0; i < 3; i++) {
    dirty(f, 4 * MIB, i % 2 ? 5000 : 100000);
    assert_true(wait_for(is_clean, f));
    assert_true(wait_for(is_asleep, f));
    assert_int_equal(purgers(NULL), 1);
  }
  support_verify(f->self);
  end(f);
}

/* Thousands of times from asleep to busy, at random moments of going to sleep. */
static void no_ring_is_lost(void **unused) {
  (void)unused;
  struct fixture *f = begin_staying("purge-delay=1ms,collect=0");
  begin_purger(f);
  for (unsigned i = 0; i < (SUPPORT_SANITIZED ? 3 : 10); i++) {
    assert_true(wait_for(is_asleep, f));
    for (unsigned j = 0; j < 100; j++) {
      tarn_purge_want((struct tarn_store *)(void *)f->world);
      if (j % 10 == 0)
        sleep_ms((unsigned)below(3));
    }
    dirty(f, 2 * MIB, 100000);
    assert_true(wait_for(is_clean, f));
  }
  end(f);
}

struct orphan {
  struct fixture *f;
  void *blocks[2000];
};
static void *leave_orphans(void *data) {
  struct orphan *orphan = data;
  tarn_thread *self = support_attach(orphan->f->world);
  for (unsigned i = 0; i < 2000; i++) {
    orphan->blocks[i] = tarn_alloc_atomic(self, 4000);
    memset(orphan->blocks[i], 1, 4000);
  }
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  return NULL;
}

static void frees_into_pools_of_nobody_wake_it(void **unused) {
  (void)unused;
  struct orphan *orphan = calloc(1, sizeof *orphan);
  pthread_t thread;
  orphan->f = begin_staying("purge-delay=4ms,collect=0");
  begin_purger(orphan->f);
  assert_int_equal(pthread_create(&thread, NULL, leave_orphans, orphan), 0);
  assert_int_equal(pthread_join(thread, NULL), 0);
  assert_true(wait_for(is_asleep, orphan->f));
  size_t held = (size_t)support_stats(orphan->f->world).heap_bytes;
  for (unsigned i = 0; i < 2000; i++)
    tarn_free(orphan->f->self, orphan->blocks[i]);
  uint64_t start = tarn_os_now();
  while (support_stats(orphan->f->world).heap_bytes > held / 4 &&
         tarn_os_now() - start < 10000000000u)
    sleep_ms(5);
  assert_true(support_stats(orphan->f->world).heap_bytes <= held / 4);
  assert_true(wait_for(is_clean, orphan->f));
  end(orphan->f);
  free(orphan);
}

static void it_can_be_let_go_and_made_again(void **unused) {
  (void)unused;
  struct fixture *f = begin_staying("purge-delay=5ms,collect=0");
  struct tarn_store *store = (struct tarn_store *)(void *)f->world;
  for (unsigned i = 0; i < (SUPPORT_SANITIZED ? 20 : 200); i++) {
    begin_purger(f);
    if (i % 4 == 0)
      dirty(f, 2 * MIB, 100000);
    tarn_purge_let_go(store);
    if (i % 3 == 0) /* perhaps before it has noticed */
      begin_purger(f);
    tarn_purge_let_go(store);
    if (i % 5 == 0)
      assert_true(wait_for(no_purger, NULL));
  }
  begin_purger(f);
  dirty(f, 2 * MIB, 100000);
  assert_true(wait_for(is_clean, f));
  assert_int_equal(purgers(NULL), 1);
  end(f);
}

static struct tarn_store *store_of(struct fixture *f) {
  return (struct tarn_store *)(void *)f->world;
}
static bool is_due(struct fixture *f) {
  return __atomic_load_n(&store_of(f)->purge_due, __ATOMIC_RELAXED) != 0;
}

/* Nothing but what every slow path does. */
static bool is_clean_after_a_call(void *data) {
  struct fixture *f = data;
  tarn_store_tend(store_of(f));
  return is_clean(f);
}

static void what_it_leaves_when_it_is_let_go_is_done(void **unused) {
  (void)unused;
  struct fixture *f = begin_staying("purge-delay=1s,collect=0");
  begin_purger(f);
  assert_true(wait_for(a_purger, NULL)); /* or its absence below may be that of before */
  dirty(f, 4 * MIB, 100000);
  tarn_purge_let_go(store_of(f));
  assert_true(wait_for(no_purger, NULL));
  assert_true(support_stats(f->world).dirty_bytes >= MIB); /* too young for its last round, */
  assert_true(is_due(f));
  assert_true(wait_for(is_clean_after_a_call, f)); /* and for the first of this thread's */
  assert_true(no_purger(NULL));
  end(f);
}

/* As a thread that does not stay: who comes by does not take a wish away from it. */
static void a_wish_is_handed_to_the_thread(void **unused) {
  (void)unused;
  struct fixture *f = begin("purge-delay=1s,collect=0");
  dirty(f, 4 * MIB, 100000);
  assert_true(wait_for(a_purger, NULL));
  bool rung = false;
  for (unsigned i = 0; i < 20 && !rung; i++) { /* a round may be beginning */
    tarn_purge_want(store_of(f));
    tarn_store_tend(store_of(f));
    rung = __atomic_load_n(&purge_of(f)->bell, __ATOMIC_RELAXED) != 0;
  }
  assert_true(rung);
  end(f);
}

static void have_a_wish_in_child(void *data) {
  struct fixture *f = data;
  CHILD_CHECK(is_due(f));
  tarn_store_tend(store_of(f));
  CHILD_CHECK(!is_due(f));
}

static void a_child_keeps_a_wish(void **unused) {
  (void)unused;
  struct fixture *f = begin_staying("purge-delay=10s,collect=0");
  begin_purger(f);
  tarn_purge_want(store_of(f));
  support_good_child(have_a_wish_in_child, f);
  end(f);
}

/* A thread that is lost in the fork may have taken a wish; the child looks, but not at once. */
static void look_once_in_child(void *data) {
  struct fixture *f = data;
  uint64_t start = tarn_os_now();
  CHILD_CHECK(is_due(f));
  tarn_store_tend(store_of(f));
  CHILD_CHECK(is_due(f) || tarn_os_now() - start > 200000000); /* a slow machine */
  sleep_ms(400);
  tarn_store_tend(store_of(f));
  CHILD_CHECK(!is_due(f));
}

static void a_child_looks_once_unasked(void **unused) {
  (void)unused;
  struct fixture *f = begin_staying("purge-delay=600ms,collect=0");
  assert_false(is_due(f));
  support_good_child(look_once_in_child, f);
  assert_false(is_due(f));
  end(f);
}

static void stay_in_child(void *data) {
  struct fixture *f = data;
  (void)alarm(60);
  CHILD_CHECK(no_purger(NULL));
  dirty(f, 4 * MIB, 5000); /* rounds of this thread's own */
  CHILD_CHECK(no_purger(NULL));
#if !TARN_TSAN
  begin_purger(f);
  CHILD_CHECK(wait_for(a_purger, NULL));
#endif
  dirty(f, 2 * MIB, 100000);
  for (unsigned i = 0; i < 2000 && support_stats(f->world).dirty_bytes >= MIB; i++) {
    sleep_ms(2);
    tarn_free(f->self, tarn_alloc_atomic(f->self, 40000));
  }
  CHILD_CHECK(support_stats(f->world).dirty_bytes < MIB);
  CHILD_CHECK(tarn_thread_detach(f->self) == TARN_OK);
  CHILD_CHECK(tarn_world_destroy(f->world) == TARN_OK);
}

static void a_child_makes_its_own(void **unused) {
  (void)unused;
  struct fixture *f = begin_staying("purge-delay=5ms,collect=0");
  begin_purger(f);
  support_good_child(stay_in_child, f); /* awake */
  dirty(f, 4 * MIB, 5000);
  assert_true(wait_for(is_asleep, f));
  support_good_child(stay_in_child, f);
  end(f);
}

static void without_a_delay_memory_goes_back_at_once(void **unused) {
  (void)unused;
  struct fixture *f = begin("purge-delay=0,collect=0");
  for (unsigned i = 0; i < 50; i++)
    fill(f, 100000);
  for (unsigned i = 0; i < 50; i++)
    fill(f, 20000);
  while (f->count) {
    tarn_free(f->self, f->blocks[--f->count]);
    assert_int_equal(support_stats(f->world).dirty_bytes, 0);
  }
  assert_true(resident(f) <= UNIT); /* the bin's pool */
  assert_true(no_purger(NULL));
  support_verify(f->self);
  end(f);
}

/* --- threads that sleep ---------------------------------------------------------------------- */

/* Who frees a block: its owner before the other, the other, its owner after that, or nobody. */
enum turn { OWNER_FIRST, OTHER, OWNER_LAST, NOBODY };

struct sleeper {
  struct fixture f; /* of another thread: see be_sleeper */
  pthread_t thread;
  pthread_barrier_t step;
  size_t size;
  enum turn (*turn_of)(size_t index);
};

static void free_turn(struct sleeper *s, tarn_thread *self, enum turn turn) {
  for (size_t i = 0; i < s->f.count; i++)
    if (s->turn_of(i) == turn) {
      tarn_free(self, s->f.blocks[i]);
      s->f.blocks[i] = NULL;
    }
}

static void step(struct sleeper *s) { (void)pthread_barrier_wait(&s->step); }

/* Stays where nobody waits for it in a stop; allocates and frees nothing there. */
static void sleep_a_step(struct sleeper *s) {
  tarn_block_begin(s->f.self);
  step(s);
  step(s);
  tarn_block_end(s->f.self);
}

static void *be_sleeper(void *data) {
  struct sleeper *s = data;
  struct fixture *f = &s->f;
  f->self = support_attach(f->world);
  for (size_t i = 0; i < 2 * MIB / s->size && i < sizeof f->blocks / sizeof f->blocks[0]; i++)
    fill(f, s->size);
  free_turn(s, f->self, OWNER_FIRST);
  sleep_a_step(s);
  free_turn(s, f->self, OWNER_LAST);
  sleep_a_step(s); /* memory goes back */
  size_t count = f->count;
  for (size_t i = 0; i < count; i++) {
    if (f->blocks[i])
      assert_true(support_is_filled(f->blocks[i], s->size, 0x5a));
    else
      assert_true(
          support_is_filled(f->blocks[i] = tarn_alloc_atomic(f->self, s->size), s->size, 0));
    memset(f->blocks[i], 0x5a, s->size);
  }
  for (size_t i = 0; i < count; i++) {
    assert_true(support_is_filled(f->blocks[i], s->size, 0x5a));
    tarn_free(f->self, f->blocks[i]);
  }
  assert_int_equal(tarn_thread_detach(f->self), TARN_OK);
  return NULL;
}

/* Until the sleeper sleeps for the last time. */
static struct sleeper *sleeper_start(struct fixture *f, size_t size,
                                     enum turn (*turn_of)(size_t index)) {
  struct sleeper *s = calloc(1, sizeof *s);
  s->f.world = f->world;
  s->f.low = UINTPTR_MAX;
  s->size = size;
  s->turn_of = turn_of;
  assert_int_equal(pthread_barrier_init(&s->step, NULL, 2), 0);
  assert_int_equal(pthread_create(&s->thread, NULL, be_sleeper, s), 0);
  step(s);
  free_turn(s, f->self, OTHER);
  tarn_remote_flush(tarn_local_of(f->self));
  step(s);
  step(s);
  return s;
}

static void sleeper_end(struct fixture *f, struct sleeper *s) {
  step(s);
  tarn_block_begin(f->self);
  assert_int_equal(pthread_join(s->thread, NULL), 0);
  tarn_block_end(f->self);
  (void)pthread_barrier_destroy(&s->step);
  free(s);
  support_verify(f->self);
}

static enum turn every_other(size_t index) { return index % 2 ? OWNER_FIRST : OTHER; }
static enum turn others_before(size_t index) { return index % 2 ? OWNER_LAST : OTHER; }
static enum turn by_turns(size_t index) { return (enum turn)(index / 2 % 3); }
static enum turn hardly_by_owner(size_t index) { return index % 128 == 127 ? OWNER_FIRST : OTHER; }
static enum turn hardly_by_others(size_t index) { return index % 31 ? OWNER_FIRST : OTHER; }
static enum turn hardly_and_last(size_t index) { return index % 128 == 3 ? OWNER_LAST : OTHER; }
static enum turn only_by_others(size_t index) { return (void)index, OTHER; }
static enum turn all_but_one_in_some(size_t index) {
  return index % 4096 == 77 ? NOBODY : index % 3 ? OTHER : OWNER_LAST;
}

static enum turn (*const turns[])(size_t) = {every_other,     others_before,      by_turns,
                                             hardly_by_owner, hardly_by_others,   hardly_and_last,
                                             only_by_others,  all_but_one_in_some};
#define TURNS (sizeof turns / sizeof turns[0])

/* Pools in which the owner freed some blocks and others the rest. */
static void what_a_sleeping_thread_and_others_freed_goes_back(void **unused) {
  (void)unused;
  const size_t sizes[] = {16, 112, 1024, 4096, 32768};
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
    for (size_t way = 0; way < TURNS; way++) {
      struct fixture *f = begin("purge-delay=1h,collect=0");
      struct sleeper *s = sleeper_start(f, sizes[i], turns[way]);
      size_t before = resident(&s->f), given = tarn_pools_purge_idle(store_of(f), 0);
      (void)tarn_store_trim(store_of(f), 0); /* what the owner alone freed */
      size_t kept = turns[way] == all_but_one_in_some ? 2 + 8192 / 4096 : 2; /* the bin's pool */
      if (resident(&s->f) > kept * UNIT || given > before)
        fail_msg("%zu bytes, way %zu: %zu KiB, after %zu were given back %zu", sizes[i], way,
                 before / 1024, given / 1024, resident(&s->f) / 1024);
      assert_int_equal(tarn_pools_purge_idle(store_of(f), 0), 0); /* once */
      sleeper_end(f, s);
      end(f);
    }
}

static bool is_small(void *data) { return resident(data) <= 2 * UNIT; }

/* And the thread that purges comes, whoever was the last to free. */
static void the_purger_comes_for_a_sleeping_thread(void **unused) {
  (void)unused;
  for (size_t way = 0; way < TURNS - 1; way++) {
    struct fixture *f = begin_staying("purge-delay=20ms,collect=0");
    begin_purger(f);
    assert_true(wait_for(is_asleep, f));
    struct sleeper *s = sleeper_start(f, 1024, turns[way]);
    assert_true(wait_for(is_small, &s->f));
    sleeper_end(f, s);
    end(f);
  }
}

/* After a collection there are marks, and pools that another thread has filled. */
static void what_was_adopted_goes_back_as_well(void **unused) {
  (void)unused;
  struct fixture *f = begin("purge-delay=1h,collect=0");
  for (size_t i = 0; i < 2 * MIB / 1024; i++) {
    fill(f, 1024);
    assert_int_equal(tarn_root_add(f->world, &f->blocks[i]), TARN_OK);
  }
  assert_int_equal(tarn_collect(f->self, TARN_GENERATION_FULL), TARN_OK);
  for (size_t i = 0; i < f->count; i += 9) /* to the shelf */
    tarn_free(f->self, f->blocks[i]);
  tarn_remote_flush(tarn_local_of(f->self));
  struct sleeper *s = sleeper_start(f, 1024, every_other); /* takes them */
  for (size_t i = 0; i < f->count; i++) {
    if (i % 9)
      tarn_free(f->self, f->blocks[i]);
    assert_int_equal(tarn_root_remove(f->world, &f->blocks[i]), TARN_OK);
  }
  tarn_remote_flush(tarn_local_of(f->self));
  tarn_heap_settle_orphans(store_of(f));
  (void)tarn_pools_purge_idle(store_of(f), 0);
  assert_true(resident(&s->f) - resident(f) <= 3 * UNIT);
  sleeper_end(f, s);
  f->count = 0;
  end(f);
}

/* --- tarn_trim ------------------------------------------------------------------------------- */

static void trim_gives_back_all_but_what_is_to_be_kept(void **unused) {
  (void)unused;
  struct fixture *f = begin("purge-delay=1h,collect=0");
  assert_int_equal(tarn_trim(NULL, 0), 0);
  assert_int_equal(tarn_trim(f->world, 0), 0);
  dirty(f, 8 * MIB, 100000);
  size_t before = (size_t)support_stats(f->world).dirty_bytes;
  assert_true(before >= 7 * MIB);
  assert_int_equal(tarn_trim(f->world, before), 0);
  size_t given = tarn_trim(f->world, 2 * MIB);
  size_t kept = (size_t)support_stats(f->world).dirty_bytes;
  assert_int_equal(given + kept, before);
  assert_true(kept <= 2 * MIB && kept > 2 * MIB - UNIT);
  assert_true(resident(f) <= kept + 4 * UNIT);
  assert_int_equal(tarn_trim(f->world, 0), kept);
  assert_int_equal(support_stats(f->world).returned_bytes, before);
  assert_true(resident(f) <= 4 * UNIT);
  dirty(f, 8 * MIB, 100000);
  support_verify(f->self);
  end(f);
}

static void *trim_once(void *data) {
  struct fixture *f = data;
  return tarn_trim(f->world, 0) >= 3 * MIB ? NULL : data;
}

static void any_thread_may_trim(void **unused) {
  (void)unused;
  struct fixture *f = begin("purge-delay=1h,collect=0");
  pthread_t thread;
  void *result = f;
  dirty(f, 4 * MIB, 100000);
  assert_int_equal(pthread_create(&thread, NULL, trim_once, f), 0);
  assert_int_equal(pthread_join(thread, &result), 0);
  assert_null(result);
  dirty(f, 4 * MIB, 100000);
  tarn_gc_hold(f->self);
  assert_true(tarn_trim(f->world, 0) >= 3 * MIB);
  tarn_gc_release(f->self);
  dirty(f, 4 * MIB, 100000);
  tarn_block_begin(f->self);
  assert_true(tarn_trim(f->world, 0) >= 3 * MIB);
  tarn_block_end(f->self);
  end(f);
}

static size_t arenas_of(const struct fixture *f) {
  struct tarn_store *store = (struct tarn_store *)(void *)f->world;
  size_t count = 0;
  tarn_store_walk_begin(store);
  for (const struct tarn_arena *arena = store->arenas; arena; arena = arena->next)
    count += arena->units / ARENA;
  tarn_store_walk_end(store);
  return count;
}

static bool one_arena(void *data) { return arenas_of(data) == 1; }

static void empty_arenas_go_back_but_for_one(void **unused) {
  (void)unused;
  struct fixture *f = begin("purge-delay=1h,collect=0");
  dirty(f, 40 * MIB, 100000);
  assert_true(arenas_of(f) >= 3);
  (void)tarn_trim(f->world, 0);
  assert_int_equal(arenas_of(f), 1);
  void *large = tarn_alloc_atomic(f->self, 40 * MIB);
  assert_true(large && arenas_of(f) >= 3);
  tarn_free(f->self, large);
  (void)tarn_trim(f->world, 0);
  assert_int_equal(arenas_of(f), 1);
  end(f);
}

static void empty_arenas_go_back_after_a_while(void **unused) {
  (void)unused;
  struct fixture *f = begin("purge-delay=5ms,collect=0");
  dirty(f, 40 * MIB, 100000);
  assert_true(wait_for(one_arena, f));
  assert_int_equal(support_stats(f->world).dirty_bytes, 0);
  dirty(f, 40 * MIB, 100000);
  support_verify(f->self);
  end(f);
}

static void new_arenas_of_a_large_world_are_huge(void **unused) {
  (void)unused;
  struct fixture *f = begin("purge-delay=1h,huge-pages-from=20M,collect=0");
  const struct tarn_store *store = (struct tarn_store *)(void *)f->world;
  for (unsigned i = 0; i < 40 * 16 / 2; i++)
    fill(f, 2 * UNIT);
  const struct tarn_arena *arena = store->arenas;
  assert_false(arena->huge);
  assert_false(arena->next->huge); /* it came at 16 MiB */
  assert_true(arena->next->next->huge);
  while (f->count)
    tarn_free(f->self, f->blocks[--f->count]);
  (void)tarn_trim(f->world, 0);
  assert_true(resident(f) <= 4 * UNIT); /* with what came in the same huge pages */
  dirty(f, 40 * MIB, 100000);
  support_verify(f->self);
  end(f);
}

static void huge_pages_are_asked_for_in_full_arenas_only(void **unused) {
  (void)unused;
  struct fixture *f = begin("purge-delay=1h,huge-pages=1,collect=0");
  const struct tarn_store *store = (struct tarn_store *)(void *)f->world;
  for (unsigned i = 0; i < 60; i++)
    fill(f, 2 * UNIT);
  assert_false(store->arenas->huge);
  for (unsigned i = 0; i < 60; i++)
    fill(f, 2 * UNIT);
  assert_true(store->arenas->huge);
  while (f->count)
    tarn_free(f->self, f->blocks[--f->count]);
  (void)tarn_trim(f->world, 0);
  assert_true(resident(f) <= 4 * UNIT); /* with what came in the same huge pages */
  dirty(f, 12 * MIB, 100000);
  support_verify(f->self);
  end(f);
}

static bool is_given_back(void *data) {
  struct fixture *f = data;
  return support_stats(f->world).dirty_bytes < MIB;
}

static void what_a_collection_freed_stays_until_nothing_is_allocated(void **unused) {
  (void)unused;
  if (TARN_ZEAL)
    support_skip("zeal collects all the time, so the garbage never comes together");
  struct fixture *f = begin("purge-delay=50ms,min-heap=32M,retain=0");
  for (size_t i = 0; i < 12 * MIB / 1024; i++) /* garbage */
    memset(tarn_alloc_atomic(f->self, 1024), 0x5a, 1024);
  assert_int_equal(tarn_collect(f->self, TARN_GENERATION_FULL), TARN_OK);
  assert_true(support_stats(f->world).dirty_bytes > 10 * MIB);
  for (unsigned i = 0; i < 20; i++) { /* 400 ms, eight delays */
    const struct timespec nap = {.tv_nsec = 20000000};
    for (size_t k = 0; k < 128; k++)
      (void)tarn_alloc_atomic(f->self, 1024);
    (void)nanosleep(&nap, NULL);
  }
  assert_true(support_stats(f->world).dirty_bytes > 6 * MIB);
  assert_true(wait_for(is_given_back, f));
  end(f);
}

/* Pages of the last pool that are there, once so many more blocks are in use. */
static size_t backed_pages(struct fixture *f, size_t blocks) {
  for (size_t i = 0; i < blocks; i++)
    fill(f, 1000);
  size_t page = tarn_os_page_size(), found = 0;
  unsigned char pages[UNIT / 4096];
  uintptr_t last = (uintptr_t)f->blocks[f->count - 1] & ~(UNIT - 1);
  assert_int_equal(mincore((void *)last, UNIT, pages), 0);
  for (size_t i = 0; i < UNIT / page; i++)
    found += pages[i] & 1;
  return found;
}

/* Asked of the system itself: Tarn does without where it is refused. */
static bool knows_populate(void) {
  void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  assert_ptr_not_equal(page, MAP_FAILED);
  bool known = madvise(page, 4096, 23) == 0; /* MADV_POPULATE_WRITE, of Linux 5.14 */
  assert_int_equal(munmap(page, 4096), 0);
  return known;
}

static void pages_of_pools_that_fill_up_come_several_at_once(void **unused) {
  (void)unused;
  if (!knows_populate())
    support_skip("the system does not know MADV_POPULATE_WRITE");
  if (tarn_os_page_size() != 4096)
    support_skip("pages are not of 4 KiB");
  struct fixture *f = begin("collect=0,populate=on");
  assert_int_equal(backed_pages(f, 1), 1); /* a size of which little is used */
  if (!TARN_HARDENED) {                    /* its pools begin at random blocks */
    size_t four = backed_pages(f, 4);      /* on the second page */
    assert_int_equal(four, 4);
    assert_int_equal(backed_pages(f, 61), 16); /* of the second pool one block is used */
  }
  end(f);
  f = begin("collect=0,populate=off");
  assert_int_equal(backed_pages(f, 1), 1);
  end(f);
}

static void memory_comes_without_populating_too(void **unused) {
  (void)unused;
  struct fixture *f = begin("collect=0,purge-delay=0");
  tarn_os_fault_kinds(TARN_FAULT_POPULATE);
  errno = EXDEV;
  dirty(f, 4 * MIB, 1000);
  dirty(f, 4 * MIB, 1000);
  assert_int_equal(errno, EXDEV);
  tarn_os_fault_kinds(0);
  dirty(f, 4 * MIB, 1000); /* all of its memory had gone back */
  support_verify(f->self);
  end(f);
}

static void errno_survives(void **unused) {
  (void)unused;
  struct fixture *f = begin("purge-delay=0,collect=0");
  fill(f, 100000);
  tarn_os_fault_kinds(TARN_FAULT_PURGE);
  errno = EXDEV;
  tarn_free(f->self, f->blocks[--f->count]);
  assert_int_equal(errno, EXDEV);
  tarn_os_fault_kinds(0);
  end(f);
}

/* --- while other things happen --------------------------------------------------------------- */

struct trimmer {
  tarn_world *world;
  _Atomic bool stop;
};

static void *trim_on(void *data) {
  struct trimmer *trimmer = data;
  while (!atomic_load_explicit(&trimmer->stop, memory_order_relaxed))
    (void)tarn_trim(trimmer->world, 0);
  return NULL;
}

static void verify_and_walks_cope_with_a_purge(void **unused) {
  (void)unused;
  struct fixture *f = begin("purge-delay=1ms,collect=0,verify=1");
  struct trimmer trimmer = {.world = f->world};
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, trim_on, &trimmer), 0);
  for (unsigned i = 0; i < (SUPPORT_SANITIZED ? 6 : 30); i++) {
    dirty(f, MIB, i % 2 ? 5000 : 100000);
    support_verify(f->self);
    assert_int_equal(tarn_collect(f->self, TARN_GENERATION_FULL), TARN_OK);
  }
  atomic_store(&trimmer.stop, true);
  assert_int_equal(pthread_join(thread, NULL), 0);
  end(f);
}

/* All but a little of the address range comes and goes: who finds nothing must wait for what is
 * being purged.  In a child of its own, for the range is made once in a process. */
static void fill_the_range(void *data) {
  tarn_world *world = NULL;
  tarn_thread *self = NULL;
  static void *blocks[240];
  (void)data;
  CHILD_CHECK(support_try_world("purge-delay=1ms,collect=0,address-space=16M", &world) == TARN_OK);
  CHILD_CHECK(tarn_thread_attach(world, &self) == TARN_OK);
  struct trimmer trimmer = {.world = world};
  pthread_t thread;
  CHILD_CHECK(pthread_create(&thread, NULL, trim_on, &trimmer) == 0);
  tarn_gc_hold(self); /* no second try after a collection */
  for (unsigned round = 0; round < (SUPPORT_SANITIZED ? 10 : 100); round++) {
    for (unsigned i = 0; i < 240; i++) {
      CHILD_CHECK((blocks[i] = tarn_alloc_atomic(self, 50000)));
      memset(blocks[i], 1, 50000);
    }
    for (unsigned i = 0; i < 240; i++)
      tarn_free(self, blocks[i]);
    void *all = tarn_alloc_atomic(self, 240 * UNIT);
    CHILD_CHECK(all);
    tarn_free(self, all);
  }
  tarn_gc_release(self);
  atomic_store(&trimmer.stop, true);
  CHILD_CHECK(pthread_join(thread, NULL) == 0);
  CHILD_CHECK(tarn_thread_detach(self) == TARN_OK);
  CHILD_CHECK(tarn_world_destroy(world) == TARN_OK);
}

static void an_allocation_waits_for_what_is_being_purged(void **unused) {
  (void)unused;
  support_good_child(fill_the_range, NULL);
}

static void use_in_child(void *data) {
  struct fixture *f = data;
  (void)alarm(60);
  void *block = NULL;
  for (unsigned i = 0; i < 100; i++) {
    CHILD_CHECK((block = tarn_alloc_atomic(f->self, i % 2 ? 20000 : 100000)));
    CHILD_CHECK(support_is_filled(block, i % 2 ? 20000 : 100000, 0));
    memset(block, 1, i % 2 ? 20000 : 100000);
    tarn_free(f->self, block);
  }
  (void)tarn_trim(f->world, 0);
  CHILD_CHECK(support_stats(f->world).dirty_bytes == 0);
  CHILD_CHECK(tarn_verify(f->self, NULL, 0) == TARN_OK);
  dirty(f, 2 * MIB, 100000);
  /* By a thread of the child's own, or by this one. */
  for (unsigned i = 0; i < 2000 && support_stats(f->world).dirty_bytes >= MIB; i++) {
    sleep_ms(2);
    tarn_free(f->self, tarn_alloc_atomic(f->self, 40000));
  }
  CHILD_CHECK(support_stats(f->world).dirty_bytes < MIB);
  CHILD_CHECK(tarn_thread_detach(f->self) == TARN_OK);
  CHILD_CHECK(tarn_world_destroy(f->world) == TARN_OK);
}

static void a_fork_may_come_at_any_moment(void **unused) {
  (void)unused;
  struct fixture *f = begin("purge-delay=1ms,collect=0");
  struct trimmer trimmer = {.world = f->world};
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, trim_on, &trimmer), 0);
  for (unsigned i = 0; i < (SUPPORT_SANITIZED ? 5 : 40); i++) {
    dirty(f, 3 * MIB, i % 2 ? 5000 : 100000);
    /* A thread's first steps are in AddressSanitizer's allocator, whose locks no fork takes. */
    if (SUPPORT_SANITIZED && i == 0)
      (void)wait_for(a_purger, NULL);
    support_good_child(use_in_child, f);
  }
  atomic_store(&trimmer.stop, true);
  assert_int_equal(pthread_join(thread, NULL), 0);
  support_verify(f->self);
  end(f);
}

static void a_world_may_end_at_any_moment(void **unused) {
  (void)unused;
  for (unsigned i = 0; i < (SUPPORT_SANITIZED ? 20 : 150); i++) {
    struct fixture *f = begin("purge-delay=1ms,collect=0");
    dirty(f, 2 * MIB, i % 2 ? 5000 : 100000);
    if (i % 3)
      sleep_ms((unsigned)below(6));
    end(f);
  }
}

/* --- failures -------------------------------------------------------------------------------- */

#if TARN_FAULTS
static void without_threads_in_the_system_those_that_free_purge(void **unused) {
  (void)unused;
  struct fixture *f = begin("purge-delay=10ms,collect=0");
  tarn_os_fault_kinds(TARN_FAULT_THREAD);
  dirty(f, 8 * MIB, 5000);
  for (unsigned i = 0; i < 100 && support_stats(f->world).dirty_bytes >= MIB; i++) {
    dirty(f, 100000, 100000);
    sleep_ms(10);
  }
  assert_true(support_stats(f->world).dirty_bytes < MIB);
  assert_true(no_purger(NULL));
  tarn_os_fault_kinds(0);
  support_verify(f->self);
  end(f);
}

static void a_system_that_takes_nothing_back_loses_nothing(void **unused) {
  (void)unused;
  struct fixture *f = begin("purge-delay=1ms,collect=0");
  tarn_os_fault_kinds(TARN_FAULT_PURGE);
  dirty(f, 20 * MIB, 100000);
  size_t before = (size_t)support_stats(f->world).dirty_bytes;
  sleep_ms(50);
  assert_int_equal(tarn_trim(f->world, 0), 0);
  assert_int_equal(support_stats(f->world).dirty_bytes, before);
  assert_int_equal(support_stats(f->world).returned_bytes, 0);
  support_verify(f->self);
  dirty(f, 20 * MIB, 100000);
  dirty(f, 4 * MIB, 1000);
  /* The arenas go back to the space as they are, and the next world finds zeroes. */
  end(f);
  f = begin("purge-delay=1ms,collect=0");
  dirty(f, 20 * MIB, 100000);
  support_verify(f->self);
  tarn_os_fault_kinds(0);
  assert_true(wait_for(is_clean, f));
  end(f);
}
#endif

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(an_allocation_waits_for_what_is_being_purged), /* first: no world yet */
    cmocka_unit_test(units_are_aligned_as_asked),
    cmocka_unit_test(rows_may_be_longer_than_an_arena),
    cmocka_unit_test(a_dirty_unit_is_preferred),
    cmocka_unit_test(a_pool_gets_a_unit_that_was_of_its_class),
    cmocka_unit_test(a_unit_that_a_class_touched_in_part_is_left_to_it),
    cmocka_unit_test(such_units_serve_any_class_when_they_are_many),
    cmocka_unit_test(full_arenas_are_passed_over),
    cmocka_unit_test(random_rows_are_found_where_they_should_be),
    cmocka_unit_test(free_memory_goes_back_after_the_delay),
    cmocka_unit_test(used_memory_stays),
    cmocka_unit_test(the_thread_comes_and_goes),
    cmocka_unit_test(without_a_thread_those_that_free_do_its_work),
    cmocka_unit_test(a_thread_that_stays_sleeps_and_wakes),
    cmocka_unit_test(no_ring_is_lost),
    cmocka_unit_test(frees_into_pools_of_nobody_wake_it),
    cmocka_unit_test(it_can_be_let_go_and_made_again),
    cmocka_unit_test(what_it_leaves_when_it_is_let_go_is_done),
    cmocka_unit_test(a_wish_is_handed_to_the_thread),
    cmocka_unit_test(a_child_keeps_a_wish),
    cmocka_unit_test(a_child_looks_once_unasked),
    cmocka_unit_test(a_child_makes_its_own),
    cmocka_unit_test(without_a_delay_memory_goes_back_at_once),
    cmocka_unit_test(what_a_sleeping_thread_and_others_freed_goes_back),
    cmocka_unit_test(the_purger_comes_for_a_sleeping_thread),
    cmocka_unit_test(what_was_adopted_goes_back_as_well),
    cmocka_unit_test(trim_gives_back_all_but_what_is_to_be_kept),
    cmocka_unit_test(any_thread_may_trim),
    cmocka_unit_test(empty_arenas_go_back_but_for_one),
    cmocka_unit_test(empty_arenas_go_back_after_a_while),
    cmocka_unit_test(new_arenas_of_a_large_world_are_huge),
    cmocka_unit_test(huge_pages_are_asked_for_in_full_arenas_only),
    cmocka_unit_test(what_a_collection_freed_stays_until_nothing_is_allocated),
    cmocka_unit_test(pages_of_pools_that_fill_up_come_several_at_once),
    cmocka_unit_test(memory_comes_without_populating_too),
    cmocka_unit_test(errno_survives),
    cmocka_unit_test(verify_and_walks_cope_with_a_purge),
    cmocka_unit_test(a_fork_may_come_at_any_moment),
    cmocka_unit_test(a_world_may_end_at_any_moment),
#if TARN_FAULTS
    cmocka_unit_test(without_threads_in_the_system_those_that_free_purge),
    cmocka_unit_test(a_system_that_takes_nothing_back_loses_nothing),
#endif
  };
  support_plain_order();
  return cmocka_run_group_tests(tests, NULL, NULL);
}
