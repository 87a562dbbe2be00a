/* SPDX-License-Identifier: MIT */
/* Threads that help to mark: when they are made, that they end, and that nothing is lost between
 * them.  stress_markers looks for what goes wrong when they work at the same time. */
#include "support.h"

#include "collect/collector.h"
#include <dirent.h>

#define NODES 60000u /* work enough for a helper */

struct node {
  const tarn_type *type;
  struct node *left, *right;
};

struct fixture {
  tarn_world *world;
  tarn_thread *self;
  const tarn_type *node;
  void *root;
};

static void begin(struct fixture *f, const char *set) {
  f->world = support_world(set);
  f->self = support_attach(f->world);
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = "node";
  spec.size = sizeof(struct node);
  spec.slot_bits = 6;
  f->node = tarn_type_create(f->world, &spec, NULL);
  assert_non_null(f->node);
  f->root = NULL;
  assert_int_equal(tarn_root_add(f->world, &f->root), TARN_OK);
}

static void end(struct fixture *f) {
  assert_int_equal(tarn_thread_detach(f->self), TARN_OK);
  support_end(f->world);
}

/* A balanced tree of `count` nodes. */
static struct node *tree(struct fixture *f, unsigned count) {
  if (count == 0)
    return NULL;
  struct node *left = tree(f, (count - 1) / 2), *right = NULL;
  TARN_FRAME(f->self, &left, &right);
  right = tree(f, count - 1 - (count - 1) / 2);
  struct node *node = tarn_new(f->self, f->node);
  assert_non_null(node);
  node->left = left;
  node->right = right;
  return node;
}

static void collect(struct fixture *f, uint64_t objects) {
  assert_int_equal(tarn_collect(f->self, TARN_GENERATION_FULL), TARN_OK);
  assert_int_equal(support_stats(f->world).live_objects, objects);
}

static struct tarn_markers *markers_of(struct fixture *f) { return &f->world->collector->markers; }
static unsigned helpers_of(struct fixture *f) {
  return __atomic_load_n(&markers_of(f)->threads, __ATOMIC_RELAXED);
}

static unsigned threads_of_process(void) {
  unsigned count = 0;
  DIR *tasks = opendir("/proc/self/task");
  assert_non_null(tasks);
  for (struct dirent *entry; (entry = readdir(tasks));)
    count += entry->d_name[0] != '.';
  (void)closedir(tasks);
  return count;
}

/* --- when there are helpers ------------------------------------------------------------------ */

static void a_small_heap_has_no_helpers(void **unused) {
  struct fixture f;
  (void)unused;
  begin(&f, "collect=off,markers=4");
  f.root = tree(&f, 1000);
  collect(&f, 1000);
  collect(&f, 1000);
  assert_int_equal(helpers_of(&f), 0);
  end(&f);
}

static void *do_nothing(void *data) { return data; }

static void one_marker_has_no_helpers(void **unused) {
  struct fixture f;
  (void)unused;
  begin(&f, "collect=off,markers=1");
  f.root = tree(&f, NODES);
  collect(&f, NODES);
  collect(&f, NODES);
  assert_int_equal(helpers_of(&f), 0);
  end(&f);
}

static void
helpers_come_after_the_first_collection_with_work_for_them_and_end_with_the_world(void **unused) {
  struct fixture f;
  pthread_t first;
  (void)unused;
  /* A sanitizer may make a thread of its own with the first. */
  assert_int_equal(pthread_create(&first, NULL, do_nothing, NULL), 0);
  assert_int_equal(pthread_join(first, NULL), 0);
  unsigned before = threads_of_process();
  begin(&f, "collect=off,markers=3");
  f.root = tree(&f, NODES);
  assert_int_equal(helpers_of(&f), 0);
  collect(&f, NODES);
  assert_int_equal(helpers_of(&f), 2);
  assert_int_equal(threads_of_process(), before + 2);
  for (int i = 0; i < 20; i++)
    collect(&f, NODES);
  assert_int_equal(helpers_of(&f), 2);
  end(&f);
  /* The world does not wait for the kernel to be done with them. */
  for (int i = 0; threads_of_process() != before && i < 2000; i++)
    (void)usleep(1000);
  assert_int_equal(threads_of_process(), before);
}

#if TARN_FAULTS
static void without_threads_one_marker_does_it_all(void **unused) {
  struct fixture f;
  (void)unused;
  begin(&f, "collect=off,markers=3");
  f.root = tree(&f, NODES);
  tarn_os_fault_kinds(TARN_FAULT_THREAD);
  for (int i = 0; i < 3; i++)
    collect(&f, NODES);
  assert_int_equal(helpers_of(&f), 0);
  tarn_os_fault_kinds(0);
  collect(&f, NODES);
  assert_int_equal(helpers_of(&f), 2);
  collect(&f, NODES);
  end(&f);
}
#endif

static void a_forked_child_marks_alone_and_makes_helpers_of_its_own(void **unused) {
  struct fixture f;
  (void)unused;
  begin(&f, "collect=off,markers=3,purger=0");
  f.root = tree(&f, NODES);
  collect(&f, NODES);
  pid_t pid = fork();
  if (pid == 0) {
    (void)alarm(30);
    for (int i = 0; i < 3; i++) {
      if (helpers_of(&f) != (i ? 2 : 0) && !SUPPORT_SANITIZED)
        _exit(10 + i);
      if (tarn_collect(f.self, TARN_GENERATION_FULL) != TARN_OK ||
          support_stats(f.world).live_objects != NODES)
        _exit(20 + i);
    }
    _exit(tarn_thread_detach(f.self) == TARN_OK && tarn_world_destroy(f.world) == TARN_OK ? 0 : 1);
  }
  int status = 0;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_int_equal(status, 0);
  collect(&f, NODES);
  end(&f);
}

/* --- what goes between markers --------------------------------------------------------------- */

/* Nobody but the markers looks at them, so any multiple of 8 in the heap range will do. */
static uintptr_t word_of(struct fixture *f, size_t i) { return (uintptr_t)f->root + 8 * i; }

static void what_is_given_and_what_is_kept_are_all_there_was(void **unused) {
  struct fixture f;
  struct tarn_marker marker;
  static uintptr_t given[TARN_PARCEL_WORDS];
  (void)unused;
  begin(&f, "collect=off");
  f.root = tree(&f, 1);
  assert_int_equal(tarn_marker_start(&marker, f.world, 0), TARN_OK);
  size_t next = 0, first = 0; /* words [first, next) are on the stack */
  for (size_t round = 0; round < 3000; round++) {
    for (size_t i = 0; i < 7 + round % 50; i++)
      tarn_mark_word(&marker, word_of(&f, next++));
    size_t count = tarn_mark_give(&marker, given, 1 + round % TARN_PARCEL_WORDS);
    assert_true(count >= 1 && count <= (next - first) / 2);
    for (size_t i = 0; i < count; i++)
      assert_int_equal(given[i], word_of(&f, first + i));
    first += count;
    assert_int_equal(marker.depth - marker.low, next - first);
  }
  while (next > first)
    assert_int_equal(marker.stack[--marker.depth], word_of(&f, --next));
  tarn_marker_end(&marker);
  end(&f);
}

static void a_full_stack_makes_room_of_what_was_given(void **unused) {
  struct fixture f;
  struct tarn_marker marker;
  static uintptr_t given[TARN_PARCEL_WORDS];
  (void)unused;
  begin(&f, "collect=off");
  f.root = tree(&f, 1);
  assert_int_equal(tarn_marker_start(&marker, f.world, 4096), TARN_OK);
  for (size_t i = 0; i < 512; i++)
    tarn_mark_word(&marker, word_of(&f, i));
  assert_int_equal(tarn_mark_give(&marker, given, 200), 200);
  for (size_t i = 512; i < 712; i++)
    tarn_mark_word(&marker, word_of(&f, i));
  assert_int_equal(marker.overflows, 0);
  assert_int_equal(marker.depth - marker.low, 512);
  for (size_t i = 712; i-- > 200;)
    assert_int_equal(marker.stack[--marker.depth], word_of(&f, i));
  tarn_marker_end(&marker);
  end(&f);
}

static void count_notes(struct tarn_pool *pool, void *data) { *(size_t *)data += pool->overflow; }
static void note_all(struct tarn_pool *pool, void *data) {
  (void)data;
  pool->overflow = 1;
}

static void what_a_helper_could_not_scan_is_scanned(void **unused) {
  struct fixture f;
  size_t noted = 0;
  (void)unused;
  begin(&f, "collect=off,markers=2");
  f.root = tree(&f, NODES);
  collect(&f, NODES);
  uint64_t overflows = support_stats(f.world).mark_overflows;
  /* As a helper leaves it when its stack is full. */
  tarn_store_each_pool(&f.world->store, note_all, NULL);
  markers_of(&f)->helpers[0].overflow = true;
  markers_of(&f)->helpers[0].overflows = 5;
  collect(&f, NODES);
  tarn_store_each_pool(&f.world->store, count_notes, &noted);
  assert_int_equal(noted, 0);
  assert_int_equal(support_stats(f.world).mark_overflows, overflows + 5);
  end(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_small_heap_has_no_helpers),
    cmocka_unit_test(one_marker_has_no_helpers),
    cmocka_unit_test(
        helpers_come_after_the_first_collection_with_work_for_them_and_end_with_the_world),
#if TARN_FAULTS
    cmocka_unit_test(without_threads_one_marker_does_it_all),
#endif
    cmocka_unit_test(a_forked_child_marks_alone_and_makes_helpers_of_its_own),
    cmocka_unit_test(what_is_given_and_what_is_kept_are_all_there_was),
    cmocka_unit_test(a_full_stack_makes_room_of_what_was_given),
    cmocka_unit_test(what_a_helper_could_not_scan_is_scanned),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
