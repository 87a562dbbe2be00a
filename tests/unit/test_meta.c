/* SPDX-License-Identifier: MIT */
/* Metadata: the memory of the library's own structures. */
#include "support.h"

#include "heap/meta.h"
#include "os/os.h"

static size_t random_below(uint64_t *seed, size_t bound) {
  *seed = *seed * 6364136223846793005u + 1442695040888963407u;
  return (size_t)(*seed >> 33) % bound;
}

static void pieces_are_zero_and_aligned(void **unused) {
  (void)unused;
  struct tarn_meta meta;
  tarn_meta_start(&meta);
  for (int round = 0; round < 2; round++)
    for (size_t size = 0; size < 3 * TARN_META_SMALL; size += size < 200 ? 1 : 32) {
      unsigned char *piece = tarn_meta_alloc(&meta, size);
      assert_non_null(piece);
      assert_int_equal((uintptr_t)piece % (size && size % 64 == 0 ? 64 : 32), 0);
      assert_true(support_is_filled(piece, size, 0));
      memset(piece, 0xee, size);
      /* What comes in the second round was dirty in the first. */
      tarn_meta_free(&meta, piece, size);
    }
  tarn_meta_end(&meta);
}

static void a_freed_piece_is_used_again_for_its_class_only(void **unused) {
  (void)unused;
  struct tarn_meta meta;
  tarn_meta_start(&meta);
  for (size_t size = 1; size <= TARN_META_SMALL; size += 31) {
    char *first = tarn_meta_alloc(&meta, size);
    tarn_meta_free(&meta, first, size);
    char *larger = size + 32 <= TARN_META_SMALL ? tarn_meta_alloc(&meta, size + 32) : NULL;
    assert_ptr_not_equal(first, larger);
    char *again = tarn_meta_alloc(&meta, (size + 31) / 32 * 32);
    assert_ptr_equal(first, again);
    tarn_meta_free(&meta, again, (size + 31) / 32 * 32);
    tarn_meta_free(&meta, larger, size + 32);
  }
  tarn_meta_end(&meta);
}

static void large_requests_are_counted_and_go_back_at_once(void **unused) {
  (void)unused;
  struct tarn_meta meta;
  tarn_meta_start(&meta);
  assert_int_equal(tarn_meta_bytes(&meta), 0);
  tarn_meta_free(&meta, tarn_meta_alloc(&meta, 1), 1);
  size_t before = tarn_meta_bytes(&meta);
  assert_true(before > 0);
  char *pieces[20];
  /* Given back from the front, the back and the middle of the list. */
  for (size_t i = 0; i < 20; i++) {
    pieces[i] = tarn_meta_alloc(&meta, TARN_META_SMALL + 1 + i * 10000);
    assert_non_null(pieces[i]);
    assert_true(tarn_meta_bytes(&meta) >= before + TARN_META_SMALL + 1 + i * 10000);
  }
  for (size_t i = 0; i < 20; i++) {
    size_t k = i * 7 % 20;
    tarn_meta_free(&meta, pieces[k], TARN_META_SMALL + 1 + k * 10000);
  }
  assert_int_equal(tarn_meta_bytes(&meta), before);
  tarn_meta_end(&meta);
}

static void impossible_requests_get_nothing_and_cost_nothing(void **unused) {
  (void)unused;
  struct tarn_meta meta;
  tarn_meta_start(&meta);
  tarn_meta_free(&meta, tarn_meta_alloc(&meta, 1), 1);
  size_t before = tarn_meta_bytes(&meta);
  const size_t sizes[] = {SIZE_MAX,        SIZE_MAX - 1,     SIZE_MAX - 30,  SIZE_MAX - 31,
                          SIZE_MAX - 4094, SIZE_MAX / 2 + 1, (size_t)1 << 62};
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
    assert_null(tarn_meta_alloc(&meta, sizes[i]));
  assert_int_equal(tarn_meta_bytes(&meta), before);
  tarn_meta_free(&meta, NULL, 100);
  tarn_meta_free(&meta, NULL, SIZE_MAX);
  tarn_meta_end(&meta);
}

/* Each piece holds its own number from end to end, whatever comes and goes around it. */
#define PIECES 3000
static void pieces_never_overlap(void **unused) {
  static struct {
    unsigned char *bytes;
    size_t size;
  } pieces[PIECES];
  uint64_t seed = 20;
  (void)unused;
  struct tarn_meta meta;
  tarn_meta_start(&meta);
  memset(pieces, 0, sizeof pieces);
  for (int step = 0; step < 60000; step++) {
    size_t i = random_below(&seed, PIECES);
    unsigned char mark = (unsigned char)(i % 255 + 1);
    if (pieces[i].bytes) {
      assert_true(support_is_filled(pieces[i].bytes, pieces[i].size, mark));
      tarn_meta_free(&meta, pieces[i].bytes, pieces[i].size);
      pieces[i].bytes = NULL;
      continue;
    }
    size_t size = random_below(&seed, step % 200 ? TARN_META_SMALL + 1 : 100000);
    pieces[i].bytes = tarn_meta_alloc(&meta, size);
    assert_non_null(pieces[i].bytes);
    assert_true(support_is_filled(pieces[i].bytes, size, 0));
    pieces[i].size = size;
    memset(pieces[i].bytes, mark, size);
  }
  tarn_meta_end(&meta);
}

static void a_steady_load_takes_no_more_memory(void **unused) {
  (void)unused;
  struct tarn_meta meta;
  tarn_meta_start(&meta);
  size_t after_first = 0;
  for (int round = 0; round < 50; round++) {
    void *pieces[64];
    for (size_t i = 0; i < 64; i++)
      assert_non_null(pieces[i] = tarn_meta_alloc(&meta, 32 * i + 1 + (size_t)round % 31));
    for (size_t i = 0; i < 64; i++)
      tarn_meta_free(&meta, pieces[i], 32 * i + 1 + (size_t)round % 31);
    if (round == 0)
      after_first = tarn_meta_bytes(&meta);
    assert_int_equal(tarn_meta_bytes(&meta), after_first);
  }
  tarn_meta_end(&meta);
}

/* --- threads --------------------------------------------------------------------------------- */

struct job {
  struct tarn_meta *meta;
  unsigned char mark;
  bool good;
};

static void *take_and_give(void *data) {
  struct job *job = data;
  uint64_t seed = job->mark;
  unsigned char *pieces[40] = {NULL};
  size_t sizes[40] = {0};
  job->good = true;
  for (int step = 0; step < 8000; step++) {
    size_t i = random_below(&seed, 40);
    if (pieces[i]) {
      job->good = job->good && support_is_filled(pieces[i], sizes[i], job->mark);
      tarn_meta_free(job->meta, pieces[i], sizes[i]);
    }
    sizes[i] = random_below(&seed, step % 50 ? 600 : 20000);
    pieces[i] = tarn_meta_alloc(job->meta, sizes[i]);
    job->good = job->good && pieces[i] && support_is_filled(pieces[i], sizes[i], 0);
    if (!pieces[i])
      break;
    memset(pieces[i], job->mark, sizes[i]);
  }
  return NULL;
}

static void threads_share_it(void **unused) {
  (void)unused;
  struct tarn_meta meta;
  struct job jobs[4];
  pthread_t threads[4];
  tarn_meta_start(&meta);
  for (unsigned char i = 0; i < 4; i++) {
    jobs[i] = (struct job){&meta, (unsigned char)(i + 1), false};
    assert_int_equal(pthread_create(&threads[i], NULL, take_and_give, &jobs[i]), 0);
  }
  for (int i = 0; i < 4; i++)
    assert_int_equal(pthread_join(threads[i], NULL), 0);
  for (int i = 0; i < 4; i++)
    assert_true(jobs[i].good);
  tarn_meta_end(&meta);
}

/* --- without memory -------------------------------------------------------------------------- */

static void a_refused_page_loses_nothing(void **unused) {
  (void)unused;
  if (!TARN_FAULTS) {
    support_skip("built without TARN_FAULTS");
  }
  struct tarn_meta meta;
  tarn_meta_start(&meta);
  tarn_os_fault_at(1);
  assert_null(tarn_meta_alloc(&meta, 40)); /* the first chunk */
  assert_int_equal(tarn_meta_bytes(&meta), 0);
  tarn_os_fault_at(2);
  assert_null(tarn_meta_alloc(&meta, 40000)); /* its record's chunk; the pages went back */
  assert_int_equal(tarn_meta_bytes(&meta), 0);
  tarn_os_fault_at(0);
  unsigned char *small = tarn_meta_alloc(&meta, 40);
  assert_non_null(small);
  memset(small, 7, 40);
  size_t before = tarn_meta_bytes(&meta);
  tarn_os_fault_at(1);
  assert_null(tarn_meta_alloc(&meta, 40000));
  assert_int_equal(tarn_meta_bytes(&meta), before);
  tarn_os_fault_at(0);
  void *large = tarn_meta_alloc(&meta, 40000);
  assert_non_null(large);
  tarn_meta_free(&meta, large, 40000);
  assert_int_equal(tarn_meta_bytes(&meta), before);
  assert_true(support_is_filled(small, 40, 7));
  tarn_meta_end(&meta);
}

/* --- worlds ---------------------------------------------------------------------------------- */

/* Pages that this process has mapped, from the kernel. */
static size_t mapped_pages(void) {
  unsigned long pages = 0;
  FILE *file = fopen("/proc/self/statm", "r");
  assert_non_null(file);
  assert_int_equal(fscanf(file, "%lu", &pages), 1);
  (void)fclose(file);
  return (size_t)pages;
}

static void a_world_ends_without_traces(void **unused) {
  (void)unused;
  if (SUPPORT_SANITIZED) {
    support_skip("a sanitizer maps memory of its own");
  }
  size_t before = 0;
  for (int round = 0; round < 12; round++) {
    /* Stacks of threads that have ended are the C library's to give back, or to keep. */
    tarn_world *world = support_world("purger=0,sweeper=0,idle-collect=0,markers=1");
    tarn_thread *self = support_attach(world);
    for (int i = 0; i < 200; i++) {
      assert_non_null(support_type(world, "short-lived", 24 + (size_t)i % 5 * 8, 2, NULL));
      assert_non_null(tarn_alloc_atomic(self, 40000));
    }
    tarn_heap *heap;
    assert_int_equal(tarn_heap_create(world, TARN_HEAP_ATOMIC, &heap), TARN_OK);
    assert_non_null(tarn_heap_alloc(self, heap, 100));
    assert_int_equal(tarn_collect(self, TARN_GENERATION_FULL), TARN_OK);
    assert_int_equal(tarn_thread_detach(self), TARN_OK);
    support_end(world);
    if (round == 3)
      before = mapped_pages();
  }
  assert_true(mapped_pages() <= before + 8);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(pieces_are_zero_and_aligned),
      cmocka_unit_test(a_freed_piece_is_used_again_for_its_class_only),
      cmocka_unit_test(large_requests_are_counted_and_go_back_at_once),
      cmocka_unit_test(impossible_requests_get_nothing_and_cost_nothing),
      cmocka_unit_test(pieces_never_overlap),
      cmocka_unit_test(a_steady_load_takes_no_more_memory),
      cmocka_unit_test(threads_share_it),
      cmocka_unit_test(a_refused_page_loses_nothing),
      cmocka_unit_test(a_world_ends_without_traces),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
