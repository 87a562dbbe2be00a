/* SPDX-License-Identifier: MIT */
/*
 * Finalizers: when they become due, in which order they run, and what they may do.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "cpu_time.h"
#include "os/os.h"
#include <tarn/tarn.h>

/* ---- A world with one thread, and two types -------------------------------------------------- */

struct node {
  const tarn_type *type;
  void *left, *right; /* traced */
  uintptr_t id;       /* raw */
};

struct fixture {
  tarn_world *world;
  tarn_thread *self;
  const tarn_type *node;
  const tarn_type *array; /* of references */
};

static const tarn_type *make_array_type(tarn_world *world) {
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = "array";
  spec.size = 16;
  spec.element_size = sizeof(void *);
  spec.flags = TARN_TYPE_ELEMENTS_TRACED;
  return tarn_type_create(world, &spec, NULL);
}

static tarn_type_spec node_spec(void) {
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = "node";
  spec.size = sizeof(struct node);
  spec.slot_bits = 6;
  return spec;
}

/* Roots are what a test says; collections happen when it says so, and in zeal builds also between.
 * Those take time, so COUNT_OF makes numbers of objects smaller there. */
#define COUNT_OF(count) (TARN_ZEAL ? (count) / 20 : (count))
#define WHEN_TOLD (TARN_ZEAL ? "collect=1,zeal=50" : "collect=0")
static void begin(struct fixture *f, const char *set) {
  tarn_options options = TARN_OPTIONS_INIT;
  options.set = set;
  options.lock = "collect,scan-stack,mark-stack,min-heap,zeal";
  assert_int_equal(tarn_world_create(&options, &f->world), TARN_OK);
  assert_int_equal(tarn_thread_attach(f->world, &f->self), TARN_OK);
  tarn_type_spec spec = node_spec();
  f->node = tarn_type_create(f->world, &spec, NULL);
  f->array = make_array_type(f->world);
  assert_non_null(f->node);
  assert_non_null(f->array);
}

static void end(struct fixture *f) {
  assert_int_equal(tarn_thread_detach(f->self), TARN_OK);
  assert_int_equal(tarn_world_destroy(f->world), TARN_OK);
}

static int set_up(void **state) {
  struct fixture *f = malloc(sizeof *f);
  begin(f, WHEN_TOLD);
  *state = f;
  return 0;
}

static int tear_down(void **state) {
  end(*state);
  free(*state);
  return 0;
}

static struct node *make(const struct fixture *f, uintptr_t id) {
  struct node *node = tarn_new(f->self, f->node);
  assert_non_null(node);
  node->id = id;
  return node;
}

static void **elements(void *array) { return (void **)array + 2; }

static void *make_array(const struct fixture *f, size_t count) {
  void *array = tarn_new_array(f->self, f->array, count);
  assert_non_null(array);
  return array;
}

/* Tens of times what linear work takes, and a fraction of what quadratic work would. */
#if TARN_CHECKING || TARN_ZEAL || TARN_TSAN || defined(__SANITIZE_ADDRESS__)
#define TIME_LIMIT UINT64_C(20000000000)
#else
#define TIME_LIMIT UINT64_C(2000000000)
#endif

static void collect(const struct fixture *f) {
  assert_int_equal(tarn_collect(f->self, TARN_GENERATION_FULL), TARN_OK);
}

/* ---- A record of what ran -------------------------------------------------------------------- */

enum { RECORD = 100000 };
struct record {
  _Atomic size_t count;
  uintptr_t ids[RECORD];
};
static struct record record;

static void forget_record(void) { atomic_store(&record.count, 0); }

static void note(tarn_thread *self, void *object, void *data) {
  (void)self;
  size_t at = atomic_fetch_add(&record.count, 1);
  assert_true(at < RECORD);
  record.ids[at] = ((struct node *)object)->id + (uintptr_t)data;
}

static void add(const struct fixture *f, void *object, uintptr_t data) {
  assert_int_equal(tarn_finalizer_add(f->self, object, note, (void *)data), TARN_OK);
}

/* ---- When and in which order ----------------------------------------------------------------- */

static void a_finalizer_runs_once_after_its_object_became_garbage(void **state) {
  struct fixture *f = *state;
  void *object = make(f, 7);
  TARN_FRAME(f->self, &object);
  forget_record();
  add(f, object, 0);
  collect(f);
  assert_int_equal(tarn_finalizers_due(f->world), 0);
  assert_int_equal(tarn_finalizers_run(f->self, 0), 0);
  object = NULL;
  collect(f);
  assert_int_equal(tarn_finalizers_due(f->world), 1);
  assert_int_equal(record.count, 0); /* never by itself */
  assert_int_equal(tarn_finalizers_run(f->self, 0), 1);
  assert_int_equal(tarn_finalizers_due(f->world), 0);
  assert_int_equal(record.ids[0], 7);
  collect(f);
  assert_int_equal(tarn_finalizers_run(f->self, 0), 0);
  assert_int_equal(record.count, 1);
}

static void finalizers_run_in_the_order_in_which_they_were_added(void **state) {
  struct fixture *f = *state;
  enum { COUNT = 5000 };
  forget_record();
  {
    void *objects = make_array(f, COUNT);
    TARN_FRAME(f->self, &objects);
    for (uintptr_t i = 0; i < COUNT; i++)
      elements(objects)[i] = make(f, i);
    for (uintptr_t i = 0; i < COUNT; i++)
      add(f, elements(objects)[i * 7919 % COUNT], 0);
  }
  collect(f);
  assert_int_equal(tarn_finalizers_due(f->world), COUNT);
  assert_int_equal(tarn_finalizers_run(f->self, 0), COUNT);
  for (uintptr_t i = 0; i < COUNT; i++)
    assert_int_equal(record.ids[i], i * 7919 % COUNT);
}

static void an_object_may_have_several(void **state) {
  struct fixture *f = *state;
  forget_record();
  {
    void *object = make(f, 0);
    TARN_FRAME(f->self, &object);
    for (uintptr_t i = 1; i <= 5; i++)
      add(f, object, i);
  }
  collect(f);
  assert_int_equal(tarn_finalizers_run(f->self, 2), 2);
  collect(f); /* what waits is a root, and does not become due again */
  assert_int_equal(tarn_finalizers_due(f->world), 3);
  assert_int_equal(tarn_finalizers_run(f->self, 100), 3);
  for (uintptr_t i = 1; i <= 5; i++)
    assert_int_equal(record.ids[i - 1], i);
}

static void objects_that_refer_to_each_other_are_found_together(void **state) {
  struct fixture *f = *state;
  forget_record();
  {
    /* The outer one was added last, and keeps the inner one; a cycle beside it. */
    void *outer = make(f, 1), *a = NULL, *b = NULL;
    TARN_FRAME(f->self, &outer, &a, &b);
    struct node *inner = make(f, 2);
    ((struct node *)outer)->left = inner;
    add(f, inner, 0);
    add(f, outer, 0);
    a = make(f, 3);
    b = make(f, 4);
    ((struct node *)a)->left = b;
    ((struct node *)b)->left = a;
    add(f, b, 0);
    add(f, a, 0);
  }
  collect(f);
  assert_int_equal(tarn_finalizers_run(f->self, 0), 4);
  const uintptr_t expected[] = {2, 1, 4, 3};
  for (int i = 0; i < 4; i++)
    assert_int_equal(record.ids[i], expected[i]);
}

static unsigned sum_of_tree;
static void sum_tree(tarn_thread *self, void *object, void *data) {
  (void)self, (void)data;
  const struct node *node = object;
  sum_of_tree += (unsigned)node->id;
  if (node->left)
    sum_tree(self, node->left, data);
  if (node->right)
    sum_tree(self, node->right, data);
}

static void a_finalizer_sees_its_object_and_all_it_refers_to_whole(void **state) {
  struct fixture *f = *state;
  sum_of_tree = 0;
  {
    void *root = make(f, 1);
    TARN_FRAME(f->self, &root);
    ((struct node *)root)->left = make(f, 10);
    ((struct node *)root)->right = make(f, 100);
    ((struct node *)((struct node *)root)->left)->left = make(f, 1000);
    assert_int_equal(tarn_finalizer_add(f->self, root, sum_tree, NULL), TARN_OK);
  }
  for (int i = 0; i < 3; i++) { /* waiting does not wear it out */
    collect(f);
    for (uintptr_t k = 0; k < 10000; k++)
      (void)make(f, 55);
  }
  assert_int_equal(tarn_finalizers_run(f->self, 0), 1);
  assert_int_equal(sum_of_tree, 1111);
}

/* ---- Resurrection ---------------------------------------------------------------------------- */

static void *saved;
static void save(tarn_thread *self, void *object, void *data) {
  (void)self, (void)data;
  saved = object;
}

static void an_object_can_be_stored_and_gets_no_second_run_unless_added_again(void **state) {
  struct fixture *f = *state;
  saved = NULL;
  assert_int_equal(tarn_root_add(f->world, &saved), TARN_OK);
  assert_int_equal(tarn_finalizer_add(f->self, make(f, 42), save, NULL), TARN_OK);
  collect(f);
  assert_int_equal(tarn_finalizers_run(f->self, 0), 1);
  collect(f);
  assert_non_null(saved);
  assert_int_equal(((struct node *)saved)->id, 42);
  saved = NULL;
  collect(f);
  assert_int_equal(tarn_finalizers_due(f->world), 0);

  assert_int_equal(tarn_finalizer_add(f->self, make(f, 43), save, NULL), TARN_OK);
  for (int i = 0; i < 3; i++) {
    saved = NULL;
    collect(f);
    assert_int_equal(tarn_finalizers_run(f->self, 0), 1);
    assert_int_equal(((struct node *)saved)->id, 43);
    assert_int_equal(tarn_finalizer_add(f->self, saved, save, NULL), TARN_OK);
  }
  assert_int_equal(tarn_root_remove(f->world, &saved), TARN_OK);
}

/* ---- Weak references and `free` functions ---------------------------------------------------- */

static void *weak_at_run;
static bool ran_late;
static void look_at_weak(tarn_thread *self, void *object, void *data) {
  (void)data;
  ran_late = true;
  weak_at_run = tarn_weak_get(self, ((struct node *)object)->left);
}

/* Both: a reference that lives by itself, and one that only the object refers to. */
static void weak_references_are_cleared_before_the_finalizer_runs(void **state) {
  struct fixture *f = *state;
  void *outside = NULL;
  TARN_FRAME(f->self, &outside);
  ran_late = false;
  {
    void *object = make(f, 1);
    TARN_FRAME(f->self, &object);
    outside = tarn_weak_new(f->self, object);
    ((struct node *)object)->left = tarn_weak_new(f->self, object);
    assert_int_equal(tarn_finalizer_add(f->self, object, look_at_weak, NULL), TARN_OK);
  }
  collect(f);
  assert_null(tarn_weak_get(f->self, outside));
  weak_at_run = &outside;
  assert_int_equal(tarn_finalizers_run(f->self, 0), 1);
  assert_true(ran_late);
  assert_null(weak_at_run);
}

static void references_to_objects_that_already_wait_are_kept(void **state) {
  struct fixture *f = *state;
  void *weak = NULL;
  TARN_FRAME(f->self, &weak);
  saved = NULL;
  assert_int_equal(tarn_root_add(f->world, &saved), TARN_OK);
  {
    /* Both become due; the first run saves its object, which refers to the other. */
    void *first = make(f, 1), *second = NULL;
    TARN_FRAME(f->self, &first, &second);
    second = make(f, 2);
    ((struct node *)first)->left = second;
    assert_int_equal(tarn_finalizer_add(f->self, first, save, NULL), TARN_OK);
    forget_record();
    add(f, second, 0);
  }
  collect(f);
  assert_int_equal(tarn_finalizers_run(f->self, 1), 1);
  weak = tarn_weak_new(f->self, ((struct node *)saved)->left);
  collect(f);
  assert_ptr_equal(tarn_weak_get(f->self, weak), ((struct node *)saved)->left);
  {
    /* Garbage with a finalizer, found in the same collection, has a reference of its own. */
    void *object = make(f, 3);
    TARN_FRAME(f->self, &object);
    ((struct node *)object)->left = tarn_weak_new(f->self, tarn_weak_get(f->self, weak));
    assert_int_equal(tarn_finalizer_add(f->self, object, look_at_weak, NULL), TARN_OK);
  }
  saved = NULL;
  weak_at_run = NULL;
  collect(f); /* waits, and so lives */
  void *second = tarn_weak_get(f->self, weak);
  assert_int_equal(((struct node *)second)->id, 2);
  assert_int_equal(tarn_finalizers_run(f->self, 0), 2);
  assert_ptr_equal(weak_at_run, second);
  collect(f);
  assert_null(tarn_weak_get(f->self, weak));
  assert_int_equal(tarn_root_remove(f->world, &saved), TARN_OK);
}

static _Atomic unsigned freed;
static void count_free(tarn_world *world, void *object) {
  (void)world, (void)object;
  atomic_fetch_add(&freed, 1);
}

static void free_comes_after_the_finalizer_in_a_later_collection(void **state) {
  struct fixture *f = *state;
  tarn_type_spec spec = node_spec();
  spec.free = count_free;
  const tarn_type *type = tarn_type_create(f->world, &spec, NULL);
  atomic_store(&freed, 0);
  forget_record();
  for (int i = 0; i < 100; i++)
    add(f, tarn_new(f->self, type), 0);
  collect(f);
  collect(f);
  (void)tarn_release_pending(f->self, 0);
  assert_int_equal(freed, 0);
  assert_int_equal(tarn_finalizers_run(f->self, 0), 100);
  (void)tarn_release_pending(f->self, 0);
  assert_int_equal(freed, 0);
  collect(f);
  (void)tarn_release_pending(f->self, 0);
  assert_int_equal(freed, 100);
  assert_int_equal(record.count, 100);
}

/* ---- What a finalizer may do ----------------------------------------------------------------- */

static void busy(tarn_thread *self, void *object, void *data) {
  const struct fixture *f = data;
  struct node *node = object;
  uintptr_t id = node->id;
  for (uintptr_t i = 0; i < 1000; i++)
    (void)make(f, 99);
  assert_int_equal(tarn_collect(self, TARN_GENERATION_FULL), TARN_OK);
  for (uintptr_t i = 0; i < 1000; i++)
    (void)make(f, 99);
  assert_int_equal(node->id, id); /* kept while it runs, */
  assert_ptr_equal(node->type, f->node);
  assert_int_equal(((struct node *)node->left)->id, 500); /* with what it refers to */
  if (id > 0) {                                           /* one more, for a new object */
    struct node *next = make(f, id - 1);
    void *root = next;
    TARN_FRAME(self, &root);
    next->left = make(f, 500);
    assert_int_equal(tarn_finalizer_add(self, next, busy, data), TARN_OK);
  }
}

static void a_finalizer_may_allocate_collect_and_add_others(void **state) {
  struct fixture *f = *state;
  {
    void *first = make(f, 5);
    TARN_FRAME(f->self, &first);
    ((struct node *)first)->left = make(f, 500);
    assert_int_equal(tarn_finalizer_add(f->self, first, busy, f), TARN_OK);
  }
  size_t ran = 0;
  for (int i = 0; i < 6; i++) {
    collect(f);
    ran += tarn_finalizers_run(f->self, 0);
  }
  assert_int_equal(ran, 6);
  collect(f);
  assert_int_equal(tarn_finalizers_due(f->world), 0);
}

static void drain_inside(tarn_thread *self, void *object, void *data) {
  note(self, object, data);
  (void)tarn_finalizers_run(self, 0);
}

static void a_finalizer_may_run_finalizers(void **state) {
  struct fixture *f = *state;
  forget_record();
  {
    void *objects = make_array(f, 50);
    TARN_FRAME(f->self, &objects);
    for (uintptr_t i = 0; i < 50; i++) {
      elements(objects)[i] = make(f, i);
      assert_int_equal(tarn_finalizer_add(f->self, elements(objects)[i], drain_inside, NULL),
                       TARN_OK);
    }
  }
  collect(f);
  (void)tarn_finalizers_run(f->self, 0);
  assert_int_equal(record.count, 50);
  for (uintptr_t i = 0; i < 50; i++)
    assert_int_equal(record.ids[i], i);
}

/* ---- Removal --------------------------------------------------------------------------------- */

static void what_was_removed_does_not_run(void **state) {
  struct fixture *f = *state;
  void *object = make(f, 0);
  TARN_FRAME(f->self, &object);
  forget_record();
  for (uintptr_t i = 1; i <= 3; i++)
    add(f, object, i);
  assert_int_equal(tarn_finalizer_remove(f->self, object, note, (void *)2), TARN_OK);
  assert_int_equal(tarn_finalizer_remove(f->self, object, note, (void *)2), TARN_ENOTFOUND);
  assert_int_equal(tarn_finalizer_remove(f->self, object, save, (void *)1), TARN_ENOTFOUND);
  struct node *kept = object;
  saved = kept;
  object = NULL;
  collect(f);
  /* Due already: it cannot be taken back. */
  assert_int_equal(tarn_finalizer_remove(f->self, saved, note, (void *)1), TARN_ENOTFOUND);
  assert_int_equal(tarn_finalizers_run(f->self, 0), 2);
  assert_int_equal(record.ids[0], 1);
  assert_int_equal(record.ids[1], 3);
}

static void hundreds_of_thousands_are_added_found_and_removed_in_bounded_time(void **state) {
  struct fixture *f = *state;
  enum { COUNT = COUNT_OF(300000) };
  void *objects = make_array(f, COUNT);
  TARN_FRAME(f->self, &objects);
  for (uintptr_t i = 0; i < COUNT; i++)
    elements(objects)[i] = make(f, i);
  forget_record();
  uint64_t start = cpu_time();
  for (uintptr_t i = 0; i < COUNT; i++)
    add(f, elements(objects)[i], 0);
  collect(f);
  for (uintptr_t i = COUNT; i-- > 0;) /* in the order that is worst for a list */
    if (i % 3)
      assert_int_equal(tarn_finalizer_remove(f->self, elements(objects)[i], note, NULL), TARN_OK);
  objects = NULL;
  collect(f);
  assert_int_equal(tarn_finalizers_run(f->self, 0), COUNT / 3);
  assert_true(cpu_time() - start < TIME_LIMIT);
  for (uintptr_t i = 0; i < COUNT / 3; i++)
    assert_int_equal(record.ids[i], 3 * i);
}

static void a_hundred_thousand_on_one_object_run_in_bounded_time(void **state) {
  struct fixture *f = *state;
  forget_record();
  {
    void *object = make(f, 0);
    TARN_FRAME(f->self, &object);
    for (uintptr_t i = 0; i < RECORD; i++)
      add(f, object, i);
  }
  uint64_t start = cpu_time();
  collect(f);
  assert_int_equal(tarn_finalizers_run(f->self, 0), RECORD);
  assert_true(cpu_time() - start < TIME_LIMIT);
  for (uintptr_t i = 0; i < RECORD; i++)
    assert_int_equal(record.ids[i], i);
}

static void finalizers_that_wait_stay_known_while_many_are_added(void **state) {
  struct fixture *f = *state;
  enum { DUE = 1000, MORE = COUNT_OF(100000) };
  forget_record();
  {
    void *objects = make_array(f, DUE);
    TARN_FRAME(f->self, &objects);
    for (uintptr_t i = 0; i < DUE; i++)
      add(f, elements(objects)[i] = make(f, i), 0);
  }
  collect(f);
  void *more = make_array(f, MORE);
  TARN_FRAME(f->self, &more);
  for (uintptr_t i = 0; i < MORE; i++)
    add(f, elements(more)[i] = make(f, DUE + i), 0);
  assert_int_equal(tarn_finalizers_run(f->self, 0), DUE);
  for (uintptr_t i = 0; i < MORE; i++)
    assert_int_equal(tarn_finalizer_remove(f->self, elements(more)[i], note, NULL), TARN_OK);
  for (uintptr_t i = 0; i < DUE; i++)
    assert_int_equal(record.ids[i], i);
  more = NULL;
  collect(f);
  assert_int_equal(tarn_finalizers_due(f->world), 0);
}

static void an_object_freed_by_hand_loses_its_finalizer(void **state) {
  struct fixture *f = *state;
  void *object = make(f, 1);
  forget_record();
  tarn_gc_hold(f->self);
  add(f, object, 0);
  tarn_free(f->self, object);
  tarn_gc_release(f->self);
  collect(f);
  assert_int_equal(tarn_finalizers_due(f->world), 0);
  assert_int_equal(tarn_finalizers_run(f->self, 0), 0);
  assert_int_equal(record.count, 0);
}

static void the_heap_that_goes_drops_finalizers_unrun(void **state) {
  struct fixture *f = *state;
  tarn_heap *heap = NULL;
  assert_int_equal(tarn_heap_create(f->world, TARN_HEAP_CONTAINER, &heap), TARN_OK);
  tarn_type_spec spec = node_spec();
  spec.heap = heap;
  const tarn_type *type = tarn_type_create(f->world, &spec, NULL);
  forget_record();
  add(f, tarn_new(f->self, type), 0);
  add(f, make(f, 8), 0);
  collect(f);
  assert_int_equal(tarn_finalizers_due(f->world), 2);
  void *live = tarn_new(f->self, type);
  TARN_FRAME(f->self, &live);
  add(f, live, 0);
  live = NULL;
  assert_int_equal(tarn_heap_destroy(f->self, heap), TARN_OK);
  assert_int_equal(tarn_finalizers_due(f->world), 1);
  collect(f);
  assert_int_equal(tarn_finalizers_run(f->self, 0), 1);
  assert_int_equal(record.ids[0], 8);
}

/* ---- Bad arguments, and no memory ------------------------------------------------------------ */

static void bad_arguments_are_refused(void **state) {
  struct fixture *f = *state;
  void *object = make(f, 1), *raw = NULL;
  TARN_FRAME(f->self, &object, &raw);
  raw = tarn_alloc_atomic(f->self, 32);
  void *bad[] = {NULL, &object, (char *)object + 8, raw, (void *)(uintptr_t)0x1234};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    assert_int_equal(tarn_finalizer_add(f->self, bad[i], note, NULL), TARN_EINVAL);
    assert_int_equal(tarn_finalizer_remove(f->self, bad[i], note, NULL), TARN_EINVAL);
  }
  assert_int_equal(tarn_finalizer_add(f->self, object, NULL, NULL), TARN_EINVAL);
  assert_int_equal(tarn_finalizer_add(NULL, object, note, NULL), TARN_EINVAL);
  assert_int_equal(tarn_finalizer_remove(f->self, object, note, NULL), TARN_ENOTFOUND);
  assert_int_equal(tarn_finalizers_run(NULL, 0), 0);
  assert_int_equal(tarn_finalizers_due(NULL), 0);
  struct fixture other;
  begin(&other, WHEN_TOLD);
  assert_int_equal(tarn_finalizer_add(other.self, object, note, NULL), TARN_EINVAL);
  end(&other);
}

static void an_add_without_memory_says_so_and_loses_nothing(void **state) {
  struct fixture *f = *state;
  if (!TARN_FAULTS) {
    print_message("skipped: built without TARN_FAULTS\n");
    skip();
  }
  enum { COUNT = TARN_ZEAL ? 9000 : 30000 }; /* more than one chunk of metadata holds */
  void *objects = make_array(f, COUNT);
  TARN_FRAME(f->self, &objects);
  for (uintptr_t i = 0; i < COUNT; i++)
    elements(objects)[i] = make(f, i);
  forget_record();
  unsigned refused = 0;
  for (uintptr_t i = 0; i < COUNT; i++) {
    tarn_os_fault_at(1);
    tarn_status status = tarn_finalizer_add(f->self, elements(objects)[i], note, NULL);
    tarn_os_fault_at(0);
    if (status != TARN_OK) {
      assert_int_equal(status, TARN_ENOMEM);
      refused++;
      add(f, elements(objects)[i], 0);
    }
  }
  assert_true(refused > 0);
  objects = NULL;
  collect(f);
  assert_int_equal(tarn_finalizers_run(f->self, 0), COUNT);
  for (uintptr_t i = 0; i < COUNT; i++)
    assert_int_equal(record.ids[i], i);
}

/* ---- Several threads ------------------------------------------------------------------------- */

enum { THREADS = 3, EACH = COUNT_OF(5000) };

struct team {
  struct fixture *f;
  _Atomic size_t ran, wrong;
  _Atomic unsigned left;
  _Atomic unsigned char times[THREADS * EACH];
};

static void count_team(tarn_thread *self, void *object, void *data) {
  (void)self;
  struct team *team = data;
  struct node *node = object;
  if (node->type != team->f->node || node->id >= THREADS * EACH)
    atomic_fetch_add(&team->wrong, 1);
  else
    atomic_fetch_add(&team->times[node->id], 1);
}

static void *add_and_run(void *data) {
  struct team *team = data;
  tarn_thread *self = NULL;
  if (tarn_thread_attach(team->f->world, &self) != TARN_OK)
    return team;
  uintptr_t base = (uintptr_t)(atomic_fetch_sub(&team->left, 1) - 1) * EACH;
  for (uintptr_t i = 0; i < EACH; i++) {
    struct node *node = tarn_new(self, team->f->node);
    if (!node || tarn_finalizer_add(self, (node->id = base + i, node), count_team, team) != TARN_OK)
      atomic_fetch_add(&team->wrong, 1);
    if (i % 64 == 0)
      atomic_fetch_add(&team->ran, tarn_finalizers_run(self, 10));
    tarn_safepoint(self);
  }
  return tarn_thread_detach(self) == TARN_OK ? NULL : team;
}

static void each_runs_exactly_once_whoever_drains_the_queue(void **state) {
  struct fixture *f = *state;
  static struct team team;
  memset(&team, 0, sizeof team);
  team.f = f;
  atomic_store(&team.left, THREADS);
  pthread_t threads[THREADS];
  for (int i = 0; i < THREADS; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, add_and_run, &team), 0);
  for (int i = 0; i < 30; i++) {
    collect(f);
    atomic_fetch_add(&team.ran, tarn_finalizers_run(f->self, 100));
  }
  tarn_block_begin(f->self);
  for (int i = 0; i < THREADS; i++) {
    void *result = &team;
    assert_int_equal(pthread_join(threads[i], &result), 0);
    assert_null(result);
  }
  tarn_block_end(f->self);
  collect(f);
  atomic_fetch_add(&team.ran, tarn_finalizers_run(f->self, 0));
  assert_int_equal(team.wrong, 0);
  assert_int_equal(team.ran, THREADS * EACH);
  for (size_t i = 0; i < THREADS * EACH; i++)
    assert_int_equal(team.times[i], 1);
  tarn_stats stats = {.struct_size = sizeof stats};
  assert_int_equal(tarn_stats_get(f->world, &stats), TARN_OK);
  assert_int_equal(stats.finalizers_run, THREADS * EACH);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_finalizer_runs_once_after_its_object_became_garbage),
      TEST(finalizers_run_in_the_order_in_which_they_were_added),
      TEST(an_object_may_have_several),
      TEST(objects_that_refer_to_each_other_are_found_together),
      TEST(a_finalizer_sees_its_object_and_all_it_refers_to_whole),
      TEST(an_object_can_be_stored_and_gets_no_second_run_unless_added_again),
      TEST(weak_references_are_cleared_before_the_finalizer_runs),
      TEST(references_to_objects_that_already_wait_are_kept),
      TEST(free_comes_after_the_finalizer_in_a_later_collection),
      TEST(a_finalizer_may_allocate_collect_and_add_others),
      TEST(a_finalizer_may_run_finalizers),
      TEST(what_was_removed_does_not_run),
      TEST(hundreds_of_thousands_are_added_found_and_removed_in_bounded_time),
      TEST(a_hundred_thousand_on_one_object_run_in_bounded_time),
      TEST(finalizers_that_wait_stay_known_while_many_are_added),
      TEST(an_object_freed_by_hand_loses_its_finalizer),
      TEST(the_heap_that_goes_drops_finalizers_unrun),
      TEST(bad_arguments_are_refused),
      TEST(an_add_without_memory_says_so_and_loses_nothing),
      TEST(each_runs_exactly_once_whoever_drains_the_queue),
  };
  return cmocka_run_group_tests_name("finalizers", tests, NULL, NULL);
}
