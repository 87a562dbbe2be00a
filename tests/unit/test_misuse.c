/* SPDX-License-Identifier: MIT */
/* Misuse: what a program can do wrong gets a status and loses nothing; what is corruption is
 * reported with the block and its type, and ends the process. */
#include "support.h"

#include "heap/find.h"
#include "world/thread.h"
#include <signal.h>
#include <stdatomic.h>

static size_t live_objects(tarn_thread *self) {
  assert_int_equal(tarn_collect(self, TARN_GENERATION_FULL), TARN_OK);
  return support_stats(tarn_thread_world(self)).live_objects;
}

/* In a child: its death is the parent's to judge, not that of cmocka's handlers. */
static void die_by_signals(void) {
  const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGSYS};
  for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
    (void)signal(signals[i], SIG_DFL);
}

static void end_world(tarn_world *world) {
  tarn_thread *self = tarn_thread_self(world);
  if (self) {
    support_verify(self);
    assert_int_equal(tarn_thread_detach(self), TARN_OK);
  }
  support_end(world);
}

/* --- too little address space ---------------------------------------------------------------- */

/* These come first: a child must reserve its own range, and later tests reserve one here. */

static size_t mapped_bytes(void) {
  unsigned long pages = 0;
  FILE *file = fopen("/proc/self/statm", "r");
  CHILD_CHECK(file && fscanf(file, "%lu", &pages) == 1);
  (void)fclose(file);
  return (size_t)pages * (size_t)sysconf(_SC_PAGESIZE);
}

static void limit_address_space(size_t bytes) {
  struct rlimit limit;
  CHILD_CHECK(getrlimit(RLIMIT_AS, &limit) == 0);
  limit.rlim_cur = bytes;
  CHILD_CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
  /* An emulator may have done nothing, and what follows would fill the machine. */
  CHILD_CHECK(getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur == bytes);
}

struct link {
  const tarn_type *type;
  struct link *next;
  size_t number, rest[5];
};

static struct link *longer(tarn_thread *self, const tarn_type *type, struct link *list) {
  TARN_FRAME(self, &list);
  struct link *more = tarn_new(self, type);
  if (!more)
    return NULL;
  more->next = list;
  more->number = list ? list->number + 1 : 1;
  return more;
}

/* Fills all there is, twice; nothing of the list is lost when the end comes. */
static void fill_the_world(size_t least) {
  tarn_world *world = NULL;
  tarn_thread *self = NULL;
  char message[200] = "";
  tarn_options options = TARN_OPTIONS_INIT;
  /* Millions of objects: zeal builds would go over them at every 997th allocation. */
  options.set = SUPPORT_ZEAL ? "min-heap=4M,zeal=1000000" : "min-heap=4M";
  options.flags = TARN_OPTIONS_NO_ENVIRONMENT;
  tarn_status status = tarn_world_create(&options, &world);
  CHILD_CHECK(status == TARN_OK);
  CHILD_CHECK(tarn_thread_attach(world, &self) == TARN_OK);
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = "link";
  spec.size = sizeof(struct link);
  spec.slot_bits = 2;
  const tarn_type *type = tarn_type_create(world, &spec, &status);
  CHILD_CHECK(type);
  for (int round = 0; round < 2; round++) {
    struct link *list = NULL, *more;
    TARN_FRAME(self, &list);
    /* What was dropped just now is found for sure so, see tarn/collect.h. */
    CHILD_CHECK(round == 0 || tarn_collect(self, TARN_GENERATION_FULL) == TARN_OK);
    while ((more = longer(self, type, list)))
      list = more;
    CHILD_CHECK(tarn_thread_status(self) == TARN_ENOMEM);
    CHILD_CHECK(list && list->number * sizeof *list >= least);
    CHILD_CHECK(!tarn_alloc_atomic(self, least * 4));
    CHILD_CHECK(tarn_thread_status(self) == TARN_ENOMEM);
    size_t number = list->number;
    for (const struct link *at = list; at; at = at->next)
      CHILD_CHECK(at->number == number--);
    CHILD_CHECK(number == 0);
    CHILD_CHECK(tarn_verify(self, message, sizeof message) == TARN_OK);
  }
  CHILD_CHECK(tarn_collect(self, TARN_GENERATION_FULL) == TARN_OK);
  CHILD_CHECK(tarn_alloc_atomic(self, least / 2));
  CHILD_CHECK(tarn_thread_detach(self) == TARN_OK);
  CHILD_CHECK(tarn_world_destroy(world) == TARN_OK);
}

static void run_limited(void *data) {
  die_by_signals();
  size_t bytes = *(size_t *)data;
  limit_address_space(bytes);
  fill_the_world(bytes / 8);
}

static void a_world_makes_do_with_little_address_space(void **unused) {
  (void)unused;
  if (SUPPORT_SANITIZED) {
    support_skip("a sanitizer reserves terabytes itself");
  }
  assert_int_equal(tarn_space.base, 0);
  for (size_t bytes = 80 * MIB; bytes <= 640 * MIB; bytes *= 2)
    support_good_child(run_limited, &bytes);
}

static void run_without_room(void *data) {
  die_by_signals();
  tarn_world *world = (tarn_world *)data;
  size_t now = mapped_bytes();
  for (size_t more = 0; more <= 16; more += 4) {
    limit_address_space(now + more * MIB);
    tarn_status status = support_try_world("", &world);
    CHILD_CHECK(status == TARN_EWORLDS || status == TARN_ENOMEM);
    CHILD_CHECK(!world);
  }
  /* Not for ever: with more room it works in the same process. */
  limit_address_space(now + 200 * MIB);
  fill_the_world(16 * MIB);
}

static void without_address_space_there_is_no_world_but_later_there_is(void **unused) {
  (void)unused;
  if (SUPPORT_SANITIZED) {
    support_skip("a sanitizer reserves terabytes itself");
  }
  assert_int_equal(tarn_space.base, 0);
  int anything = 0;
  support_good_child(run_without_room, &anything);
}

/* --- NULL ------------------------------------------------------------------------------------ */

static void no_world_is_refused_everywhere(void **unused) {
  (void)unused;
  tarn_heap *heap = (tarn_heap *)&heap;
  tarn_stats stats = {.struct_size = sizeof stats};
  assert_int_equal(tarn_world_create(NULL, NULL), TARN_EINVAL);
  assert_int_equal(tarn_world_destroy(NULL), TARN_EINVAL);
  assert_int_equal(tarn_world_set_tag_mask(NULL, 0), TARN_EINVAL);
  assert_int_equal(tarn_world_set_near_limit(NULL, NULL, NULL), TARN_EINVAL);
  assert_int_equal(tarn_world_set_limits(NULL, 0, 0), TARN_EINVAL);
  assert_int_equal(tarn_heap_create(NULL, TARN_HEAP_ATOMIC, &heap), TARN_EINVAL);
  assert_null(heap);
  assert_null(tarn_world_heap(NULL, TARN_HEAP_ATOMIC));
  assert_null(tarn_block_of(NULL, 1, NULL));
  assert_int_equal(tarn_usable_size(NULL, &heap), 0);
  tarn_collect_disable(NULL);
  assert_int_equal(tarn_collect_enable(NULL), TARN_EINVAL);
  assert_int_equal(tarn_stats_get(NULL, &stats), TARN_EINVAL);
  assert_int_equal(tarn_finalizers_due(NULL), 0);
  assert_null(tarn_thread_self(NULL));
  assert_int_equal(tarn_type_count(NULL), 0);
  assert_false(tarn_is_weak(NULL, &heap));
}

static void no_thread_is_refused_everywhere(void **unused) {
  (void)unused;
  tarn_world *world = support_world("");
  tarn_heap *heap = tarn_world_heap(world, TARN_HEAP_ATOMIC);
  const tarn_type *type = support_type(world, "type", 32, 2, NULL);
  assert_null(tarn_alloc_atomic(NULL, 16));
  assert_null(tarn_heap_alloc(NULL, heap, 16));
  assert_null(tarn_new_slow(NULL, type));
  assert_null(tarn_new_outline(NULL, type));
  assert_null(tarn_new_array_outline(NULL, type, 1));
  tarn_free(NULL, NULL);
  tarn_free(NULL, &heap); /* whose block it is nobody knows: nothing is done */
  assert_int_equal(tarn_collect(NULL, 2), TARN_EINVAL);
  assert_int_equal(tarn_release_pending(NULL, 0), 0);
  assert_int_equal(tarn_finalizers_run(NULL, 0), 0);
  assert_int_equal(tarn_heap_destroy(NULL, heap), TARN_EINVAL);
  assert_int_equal(tarn_verify(NULL, NULL, 0), TARN_EINVAL);
  assert_int_equal(tarn_thread_status(NULL), TARN_EINVAL);
  assert_int_equal(tarn_thread_detach(NULL), TARN_EINVAL);
  assert_null(tarn_thread_world(NULL));
  tarn_safepoint_slow(NULL);
  tarn_block_begin(NULL);
  tarn_block_end(NULL);
  tarn_gc_hold(NULL);
  tarn_gc_release(NULL);
  end_world(world);
}

static void poll_nobody(void *data) {
  die_by_signals();
  (void)data;
  tarn_safepoint_outline(NULL);
}

static void the_poll_for_foreign_callers_bears_no_thread(void **unused) {
  (void)unused;
  support_good_child(poll_nobody, NULL);
}

static void other_arguments_may_be_missing_or_wrong(void **unused) {
  (void)unused;
  tarn_world *world = support_world(""), *other = support_world("");
  tarn_thread *self = support_attach(world);
  tarn_heap *heap = NULL;
  assert_int_equal(tarn_heap_create(world, TARN_HEAP_ATOMIC, NULL), TARN_EINVAL);
  assert_int_equal(tarn_heap_create(world, (tarn_heap_kind)2, &heap), TARN_EINVAL);
  assert_int_equal(tarn_heap_create(world, (tarn_heap_kind)-1, &heap), TARN_EINVAL);
  assert_null(heap);
  assert_null(tarn_heap_alloc(self, NULL, 16));
  assert_int_equal(tarn_thread_status(self), TARN_EINVAL);
  assert_null(tarn_heap_alloc(self, tarn_world_heap(other, TARN_HEAP_ATOMIC), 16));
  assert_int_equal(tarn_thread_status(self), TARN_EINVAL);
  assert_null(tarn_new_slow(self, NULL));
  assert_int_equal(tarn_thread_status(self), TARN_EINVAL);
  assert_null(tarn_new_outline(self, NULL));
  assert_int_equal(tarn_thread_status(self), TARN_EINVAL);
  assert_null(tarn_new_array_outline(self, NULL, 3));
  assert_int_equal(tarn_thread_status(self), TARN_EINVAL);
  tarn_free(self, NULL);
  assert_int_equal(tarn_thread_status(self), TARN_OK);
  assert_int_equal(tarn_usable_size(world, NULL), 0);
  assert_int_equal(support_stats(world).heap_bytes, 0);
  end_world(world);
  support_end(other);
}

static void only_heaps_that_were_made_here_can_be_dropped(void **unused) {
  (void)unused;
  tarn_world *world = support_world(""), *other = support_world("");
  tarn_thread *self = support_attach(world);
  tarn_heap *mine, *theirs;
  assert_int_equal(tarn_heap_create(world, TARN_HEAP_ATOMIC, &mine), TARN_OK);
  assert_int_equal(tarn_heap_create(other, TARN_HEAP_ATOMIC, &theirs), TARN_OK);
  assert_int_equal(tarn_heap_destroy(self, NULL), TARN_EINVAL);
  assert_int_equal(tarn_heap_destroy(self, theirs), TARN_EINVAL);
  for (int kind = 0; kind < 2; kind++) {
    assert_int_equal(tarn_heap_destroy(self, tarn_world_heap(world, (tarn_heap_kind)kind)),
                     TARN_EINVAL);
    assert_int_equal(tarn_heap_destroy(self, tarn_world_heap(other, (tarn_heap_kind)kind)),
                     TARN_EINVAL);
  }
  tarn_gc_hold(self);
  assert_int_equal(tarn_heap_destroy(self, mine), TARN_EHELD);
  tarn_gc_release(self);
  void *block = tarn_heap_alloc(self, mine, 100); /* still a good heap */
  assert_int_equal(tarn_usable_size(world, block), 104);
  assert_int_equal(tarn_heap_destroy(self, mine), TARN_OK);
  end_world(world);
  support_end(other);
}

/* --- sizes ----------------------------------------------------------------------------------- */

static void sizes_that_no_object_has_are_refused_at_once(void **unused) {
  (void)unused;
  tarn_world *world = support_world("");
  tarn_thread *self = support_attach(world);
  const size_t sizes[] = {TARN_OBJECT_MAX + 1, SIZE_MAX,         SIZE_MAX - 1, SIZE_MAX - 7,
                          SIZE_MAX - 4095,     SIZE_MAX - 65535, SIZE_MAX / 2, (size_t)1 << 63};
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    assert_null(tarn_alloc_atomic(self, sizes[i]));
    assert_int_equal(tarn_thread_status(self), TARN_EOVERFLOW);
    for (int kind = 0; kind < 2; kind++) {
      assert_null(tarn_heap_alloc(self, tarn_world_heap(world, (tarn_heap_kind)kind), sizes[i]));
      assert_int_equal(tarn_thread_status(self), TARN_EOVERFLOW);
    }
  }
  if (!SUPPORT_ZEAL)
    assert_int_equal(support_stats(world).collections, 0);
  end_world(world);
}

static void sizes_that_do_not_fit_are_no_memory_after_a_collection(void **unused) {
  (void)unused;
  tarn_world *world = support_world("");
  tarn_thread *self = support_attach(world);
  const tarn_type *type = support_array(world, NULL);
  const size_t too_large[] = {TARN_OBJECT_MAX, TARN_OBJECT_MAX - 70000, tarn_space.size,
                              tarn_space.size + 1, tarn_space.size - TARN_ARENA_SIZE + 64};
  char *kept = tarn_alloc_atomic(self, 100);
  assert_int_equal(tarn_root_add(world, (void **)&kept), TARN_OK);
  memset(kept, 3, 100);
  for (size_t i = 0; i < sizeof too_large / sizeof too_large[0]; i++) {
    uint64_t before = support_stats(world).collections, held = support_stats(world).heap_bytes;
    assert_null(tarn_alloc_atomic(self, too_large[i]));
    assert_int_equal(tarn_thread_status(self), TARN_ENOMEM);
    if (i == 0) /* later ones know that it is futile, see tarn/collect.h */
      assert_true(support_stats(world).collections > before);
    assert_null(tarn_new_array(self, type, (too_large[i] - 16) / 8));
    assert_int_equal(tarn_thread_status(self), TARN_ENOMEM);
    assert_true(support_stats(world).heap_bytes <= held);
  }
  tarn_gc_hold(self); /* no collection is possible: at once */
  uint64_t before = support_stats(world).collections;
  assert_null(tarn_alloc_atomic(self, TARN_OBJECT_MAX));
  assert_int_equal(tarn_thread_status(self), TARN_ENOMEM);
  assert_int_equal(support_stats(world).collections, before);
  tarn_gc_release(self);
  assert_true(support_is_filled(kept, 100, 3));
  assert_non_null(tarn_alloc_atomic(self, MIB));
  assert_int_equal(tarn_root_remove(world, (void **)&kept), TARN_OK);
  end_world(world);
}

/* --- handles that are not the caller's ------------------------------------------------------- */

struct foreign {
  tarn_world *world;
  tarn_thread *handle;
  tarn_heap *heap;
  const tarn_type *type;
  tarn_status collect, destroy, verify;
  void *raw, *in_heap, *object, *array;
  size_t ran;
};

static void *use_foreign(void *data) {
  struct foreign *f = data;
  f->raw = tarn_alloc_atomic(f->handle, 40);
  f->in_heap = tarn_heap_alloc(f->handle, f->heap, 40);
  f->object = tarn_new_slow(f->handle, f->type);
  f->array = tarn_new_array_outline(f->handle, f->type, 1);
  f->collect = tarn_collect(f->handle, 2);
  f->destroy = tarn_heap_destroy(f->handle, f->heap);
  f->verify = tarn_verify(f->handle, NULL, 0);
  f->ran = tarn_release_pending(f->handle, 0);
  return NULL;
}

static void expect_refused(const struct foreign *f, tarn_status status) {
  assert_null(f->raw);
  assert_null(f->in_heap);
  assert_null(f->object);
  assert_null(f->array);
  assert_int_equal(f->collect, status);
  assert_int_equal(f->destroy, status);
  assert_int_equal(f->verify, status);
  assert_int_equal(f->ran, 0);
}

static struct foreign foreign_start(void) {
  struct foreign f = {.world = support_world("")};
  f.handle = support_attach(f.world);
  f.type = support_array(f.world, NULL);
  assert_int_equal(tarn_heap_create(f.world, TARN_HEAP_ATOMIC, &f.heap), TARN_OK);
  return f;
}

static void another_threads_handle_gets_no_memory(void **unused) {
  (void)unused;
  struct foreign f = foreign_start();
  support_run(use_foreign, &f);
  expect_refused(&f, TARN_EWRONGTHREAD);
  assert_int_equal(tarn_thread_status(f.handle), TARN_OK); /* its owner is told nothing */
  end_world(f.world);
}

static void another_threads_handle_gets_no_memory_of_a_run_either(void **unused) {
  (void)unused;
  struct foreign f = foreign_start();
  assert_non_null(tarn_alloc_atomic(f.handle, 40));
  assert_non_null(tarn_heap_alloc(f.handle, f.heap, 40));
  tarn_safepoint(f.handle); /* from here on nothing calls the thread to the slow path */
  support_run(use_foreign, &f);
  expect_refused(&f, TARN_EWRONGTHREAD);
  end_world(f.world);
}

static void a_detached_handle_gets_no_memory(void **unused) {
  (void)unused;
  struct foreign f = foreign_start();
  assert_non_null(tarn_alloc_atomic(f.handle, 40));
  assert_non_null(tarn_heap_alloc(f.handle, f.heap, 40));
  assert_non_null(tarn_new(f.handle, f.type));
  assert_int_equal(tarn_thread_detach(f.handle), TARN_OK);
  (void)use_foreign(&f);
  expect_refused(&f, TARN_EDETACHED);
  end_world(f.world);
}

static void a_blocked_thread_gets_no_memory(void **unused) {
  (void)unused;
  tarn_world *world = support_world("collect=off");
  tarn_thread *self = support_attach(world);
  tarn_heap *heap = tarn_world_heap(world, TARN_HEAP_ATOMIC);
  for (int round = 0; round < 2; round++) {
    tarn_block_begin(self);
    /* In the first round there is no run yet; in the second there is room in it. */
    assert_null(tarn_alloc_atomic(self, 40));
    assert_int_equal(tarn_thread_status(self), TARN_EUNBALANCED);
    assert_null(tarn_heap_alloc(self, heap, 40));
    assert_int_equal(tarn_thread_status(self), TARN_EUNBALANCED);
    assert_null(tarn_alloc_atomic(self, 100000));
    assert_int_equal(tarn_thread_status(self), TARN_EUNBALANCED);
    tarn_block_end(self);
    tarn_safepoint(self); /* from here on nothing calls the thread to the slow path */
    assert_non_null(tarn_alloc_atomic(self, 40));
  }
  end_world(world);
}

/* --- worlds ---------------------------------------------------------------------------------- */

struct guest {
  tarn_world *world;
  atomic_int step;
};

static void *stay_attached(void *data) {
  struct guest *guest = data;
  tarn_thread *self = NULL;
  if (tarn_thread_attach(guest->world, &self) != TARN_OK)
    abort();
  tarn_block_begin(self);
  atomic_store(&guest->step, 1);
  while (atomic_load(&guest->step) == 1)
    (void)usleep(1000);
  return NULL;
}

static void a_world_in_use_cannot_end(void **unused) {
  (void)unused;
  struct guest guest = {.world = support_world("")};
  pthread_t thread;
  atomic_store(&guest.step, 0);
  assert_int_equal(pthread_create(&thread, NULL, stay_attached, &guest), 0);
  while (atomic_load(&guest.step) == 0)
    (void)usleep(1000);
  assert_int_equal(tarn_world_destroy(guest.world), TARN_EBUSY); /* a stranger */
  tarn_thread *self = support_attach(guest.world);
  assert_int_equal(tarn_world_destroy(guest.world), TARN_EBUSY); /* one of its threads */
  assert_ptr_equal(tarn_thread_self(guest.world), self);         /* nothing was done */
  assert_non_null(tarn_alloc_atomic(self, 40));
  assert_int_equal(live_objects(self), 0);
  atomic_store(&guest.step, 2);
  assert_int_equal(pthread_join(thread, NULL), 0);
  end_world(guest.world);
}

static void a_world_ends_whatever_its_last_thread_left_open(void **unused) {
  (void)unused;
  tarn_world *world = support_world("");
  tarn_thread *self = support_attach(world);
  assert_ptr_equal(support_attach(world), self);
  void *kept = tarn_alloc_atomic(self, 40);
  void *const slots[] = {&kept};
  tarn_frame frame;
  tarn_frame_push(self, &frame, slots, 1);
  tarn_gc_hold(self);
  tarn_block_begin(self);
  assert_int_equal(tarn_world_destroy(world), TARN_OK);
}

static void more_worlds_than_ids_are_refused(void **unused) {
  static unsigned ids[20000];
  size_t count = 0;
  (void)unused;
  tarn_world *world = support_world(""), *full = world, *again = NULL;
  while (count < 20000 && (ids[count] = tarn_space_take_id()) != 0)
    count++;
  tarn_status status_full = support_try_world("", &full), status_again = TARN_OK;
  if (count > 0) {
    tarn_space_give_id(ids[--count]);
    status_again = support_try_world("", &again);
  }
  size_t taken = count;
  while (count > 0)
    tarn_space_give_id(ids[--count]);
  assert_int_equal(status_full, TARN_EWORLDS);
  assert_null(full);
  assert_int_equal(taken, 16381); /* and the two worlds that are there: 16,383 */
  assert_int_equal(status_again, TARN_OK);
  assert_non_null(tarn_alloc_atomic(support_attach(again), 40));
  end_world(again);
  end_world(world);
}

/* --- corruption ------------------------------------------------------------------------------ */

struct scene {
  tarn_world *world, *other;
  tarn_thread *self;
  const tarn_type *container, *leaf, *large;
  const struct crime *crime;
};

struct crime {
  const char *name;
  /* Returns the address that is given to tarn_free last. */
  void *(*prepare)(struct scene *scene);
  const char *type; /* what the report must call it; NULL: not in a pool of the world */
  const char *says;
  bool checking_only;
};

static void *freed(struct scene *scene, void *block) {
  tarn_free(scene->self, block);
  return block;
}
static void *raw_twice(struct scene *scene) {
  return freed(scene, tarn_alloc_atomic(scene->self, 40));
}
static void *leaf_twice(struct scene *scene) {
  return freed(scene, tarn_new(scene->self, scene->leaf));
}
static void *container_twice(struct scene *scene) {
  return freed(scene, tarn_new(scene->self, scene->container));
}
static void *large_twice(struct scene *scene) {
  return freed(scene, tarn_new(scene->self, scene->large));
}
static void *large_raw_twice(struct scene *scene) {
  return freed(scene, tarn_alloc_atomic(scene->self, 2 * MIB));
}
static void *twice_with_another_between(struct scene *scene) {
  void *block = freed(scene, tarn_alloc_atomic(scene->self, 40));
  char *other = tarn_alloc_atomic(scene->self, 48);
  tarn_free(scene->self, other);
  return block;
}

struct errand {
  struct scene *scene;
  void *block;
};
static void *free_it(void *data) {
  struct errand *errand = data;
  tarn_thread *self = NULL;
  CHILD_CHECK(tarn_thread_attach(errand->scene->world, &self) == TARN_OK);
  tarn_free(self, errand->block);
  return NULL;
}
static void *freed_elsewhere(struct scene *scene, void *block) {
  struct errand errand = {scene, block};
  pthread_t thread;
  tarn_block_begin(scene->self);
  CHILD_CHECK(pthread_create(&thread, NULL, free_it, &errand) == 0);
  CHILD_CHECK(pthread_join(thread, NULL) == 0);
  tarn_block_end(scene->self);
  return block;
}
static void *raw_elsewhere_then_here(struct scene *scene) {
  return freed_elsewhere(scene, tarn_alloc_atomic(scene->self, 40));
}
static void *object_elsewhere_then_here(struct scene *scene) {
  return freed_elsewhere(scene, tarn_new(scene->self, scene->container));
}
static void *found_dead_before(struct scene *scene) {
  void *block = tarn_new(scene->self, scene->container);
  void *kept = tarn_new(scene->self, scene->container); /* keeps the pool */
  TARN_FRAME(scene->self, &kept);
  CHILD_CHECK(tarn_collect(scene->self, 2) == TARN_OK);
  return block;
}
static void *raw_found_dead_before(struct scene *scene) {
  void *block = tarn_alloc_atomic(scene->self, 40);
  void *kept = tarn_alloc_atomic(scene->self, 40);
  TARN_FRAME(scene->self, &kept);
  CHILD_CHECK(tarn_collect(scene->self, 2) == TARN_OK);
  return block;
}
static void *whole_pool_found_dead(struct scene *scene) {
  void *block = tarn_new(scene->self, scene->container);
  CHILD_CHECK(tarn_collect(scene->self, 2) == TARN_OK);
  return block;
}
static void *raw_never_allocated(struct scene *scene) {
  return (char *)tarn_alloc_atomic(scene->self, 40) + (SUPPORT_ZEAL ? 80 : 40);
}
static void *object_never_allocated(struct scene *scene) {
  return (char *)tarn_new(scene->self, scene->container) + 64;
}
static void *raw_far_beyond_the_run(struct scene *scene) {
  return (char *)tarn_alloc_atomic(scene->self, 4096) + 8 * 4096;
}
static void *inside_raw(struct scene *scene) {
  return (char *)tarn_alloc_atomic(scene->self, 40) + 8;
}
static void *inside_leaf(struct scene *scene) {
  return (char *)tarn_new(scene->self, scene->leaf) + 16;
}
static void *inside_container(struct scene *scene) {
  return (char *)tarn_new(scene->self, scene->container) + 63;
}
static void *inside_large(struct scene *scene) {
  return (char *)tarn_new(scene->self, scene->large) + 8;
}
static void *far_inside_large(struct scene *scene) {
  return (char *)tarn_new(scene->self, scene->large) + 2 * TARN_UNIT_SIZE;
}
static void *behind_the_last_block(struct scene *scene) {
  uintptr_t base = (uintptr_t)tarn_alloc_atomic(scene->self, 40) & ~(TARN_UNIT_SIZE - 1);
  return (void *)(base + TARN_UNIT_SIZE / 40 * 40);
}
static void *on_the_stack(struct scene *scene) { return (char *)scene + 16; }
static void *from_malloc(struct scene *scene) {
  (void)scene;
  return malloc(40);
}
static char a_static[64];
static void *a_static_array(struct scene *scene) {
  (void)scene;
  return a_static;
}
static void *of_another_world(struct scene *scene) {
  return tarn_alloc_atomic(tarn_thread_self(scene->other), 40);
}
static void *a_free_unit(struct scene *scene) {
  uintptr_t base = (uintptr_t)tarn_alloc_atomic(scene->self, 40) & ~(TARN_ARENA_SIZE - 1);
  return (void *)(base + 200 * TARN_UNIT_SIZE);
}
static void *an_odd_number(struct scene *scene) {
  (void)scene;
  return (void *)7;
}

#define TWICE "freed twice, or never allocated"
#define NO_START "not the start of a block of this world"
static const struct crime crimes[] = {
    {"raw twice", raw_twice, "raw", TWICE, false},
    {"leaf twice", leaf_twice, "free", TWICE, false},
    {"container twice", container_twice, "free", TWICE, false},
    {"large twice", large_twice, NULL, NO_START, false},
    {"large raw twice", large_raw_twice, NULL, NO_START, false},
    {"twice, another between", twice_with_another_between, "raw", TWICE, false},
    {"raw elsewhere, then here", raw_elsewhere_then_here, "raw", TWICE, false},
    {"object elsewhere, then here", object_elsewhere_then_here, "free", TWICE, false},
    {"found dead before", found_dead_before, "free", TWICE, true},
    {"raw found dead before", raw_found_dead_before, "raw", TWICE, true},
    {"whole pool found dead", whole_pool_found_dead, NULL, NO_START, false},
    {"raw never allocated", raw_never_allocated, "raw", TWICE, false},
    {"object never allocated", object_never_allocated, "free", TWICE, false},
    {"raw far beyond the run", raw_far_beyond_the_run, "raw", TWICE, false},
    {"inside raw", inside_raw, "raw", NO_START, false},
    {"inside a leaf", inside_leaf, "a leaf", NO_START, false},
    {"inside a container", inside_container, "a container", NO_START, false},
    {"inside a large object", inside_large, "a large one", NO_START, false},
    {"far inside a large object", far_inside_large, "a large one", NO_START, false},
    {"behind the last block", behind_the_last_block, NULL, NO_START, false},
    {"on the stack", on_the_stack, NULL, NO_START, false},
    {"from malloc", from_malloc, NULL, NO_START, false},
    {"a static array", a_static_array, NULL, NO_START, false},
    {"of another world", of_another_world, NULL, NO_START, false},
    {"a free unit", a_free_unit, NULL, NO_START, false},
    {"an odd number", an_odd_number, NULL, NO_START, false},
};

static void commit(void *data) {
  die_by_signals();
  struct scene *scene = data;
  void *block = scene->crime->prepare(scene);
  CHILD_CHECK(block);
  dprintf(2, "about to free %p\n", block);
  tarn_free(scene->self, block);
  dprintf(2, "it went on\n");
}

/* What a child that ended by a report must have said; false, with a line, if it did not. */
static bool reported(const char *name, int status, const char *text, const char *type,
                     const char *says) {
  char wanted[100] = "tarn: block ";
  const char *about = strstr(text, "about to free ");
  if (about)
    (void)snprintf(wanted, sizeof wanted, "tarn: block %.*s", (int)strcspn(about + 14, "\n"),
                   about + 14);
  const char *report = strstr(text, wanted);
  char named[100] = "the address is not in a pool of the world";
  if (type)
    (void)snprintf(named, sizeof named, " bytes, type %s, pool 0x", type);
  bool good = WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT && about && report &&
              strstr(report, says) && strstr(report, named);
  if (!good)
    print_error("%s: status %#x, said:\n%s\n", name, (unsigned)status, text);
  return good;
}

static struct scene make_scene(const char *set) {
  struct scene scene = {.world = support_world(set), .other = support_world("")};
  scene.self = support_attach(scene.world);
  (void)support_attach(scene.other);
  scene.container = support_type(scene.world, "a container", 64, 2, NULL);
  scene.leaf = support_type(scene.world, "a leaf", 64, 0, NULL);
  scene.large = support_type(scene.world, "a large one", 300000, 2, NULL);
  return scene;
}

static void end_scene(struct scene *scene) {
  end_world(scene->world);
  end_world(scene->other);
}

static void what_is_no_block_in_use_cannot_be_freed(void **unused) {
  (void)unused;
  struct scene scene = make_scene("collect=off");
  size_t missed = 0;
  for (size_t i = 0; i < sizeof crimes / sizeof crimes[0]; i++) {
    char text[4096];
    scene.crime = &crimes[i];
    if (scene.crime->checking_only && !TARN_CHECKING)
      continue;
    int status = support_child(commit, &scene, text, sizeof text);
    missed += !reported(scene.crime->name, status, text, scene.crime->type, scene.crime->says);
  }
  assert_int_equal(missed, 0);
  end_scene(&scene);
}

/* A block is written to after it was freed, and then handed out again. */
static void write_to_free_raw(void *data) {
  die_by_signals();
  struct scene *scene = data;
  uintptr_t *block = tarn_alloc_atomic(scene->self, 40000 / 8);
  void *more[100];
  tarn_free(scene->self, block);
  dprintf(2, "about to free %p\n", (void *)block);
  *block = 1;
  for (size_t i = 0; i < 100; i++)
    more[i] = tarn_alloc_atomic(scene->self, 40000 / 8);
  dprintf(2, "it went on, to %p\n", more[99]);
}
static void write_to_free_object(void *data) {
  die_by_signals();
  struct scene *scene = data;
  const tarn_type **object = tarn_new(scene->self, scene->container);
  dprintf(2, "about to free %p\n", (void *)object);
  tarn_free(scene->self, object);
  *object = scene->container;
  for (size_t i = 0; i < 2000; i++)
    (void)tarn_new(scene->self, scene->container);
  dprintf(2, "it went on\n");
}
/* Not its first word, but one in the middle: of a program that keeps a stale pointer to an object.
 */
static void write_into_free_object(void *data) {
  die_by_signals();
  struct scene *scene = data;
  uintptr_t *object = tarn_new(scene->self, scene->container);
  dprintf(2, "about to free %p\n", (void *)object);
  tarn_free(scene->self, object);
  object[5] = 5;
  for (size_t i = 0; i < 2000; i++)
    (void)tarn_new(scene->self, scene->container);
  dprintf(2, "it went on\n");
}
static void write_over_the_link(void *data) {
  die_by_signals();
  struct scene *scene = data;
  uintptr_t *object = tarn_new(scene->self, scene->container);
  dprintf(2, "about to free %p\n", (void *)object);
  tarn_free(scene->self, object);
  object[1] = 0x4141414141414140;
  for (size_t i = 0; i < 2000; i++)
    (void)tarn_new(scene->self, scene->container);
  dprintf(2, "it went on\n");
}

static void a_free_block_that_was_written_to_is_not_handed_out(void **unused) {
  (void)unused;
  struct scene scene = make_scene("collect=off");
  char text[4096];
  const char *says = "a free block was written to";
  int status = support_child(write_to_free_raw, &scene, text, sizeof text);
  assert_true(reported("raw", status, text, "raw", says));
  status = support_child(write_to_free_object, &scene, text, sizeof text);
  assert_true(reported("object", status, text, "a container", says));
  end_scene(&scene);
}

static void such_builds_see_any_write_to_a_free_block(void **unused) {
  (void)unused;
  if (!TARN_CHECKING && !TARN_HARDENED) {
    support_skip("built without TARN_CHECKING and TARN_HARDENED");
  }
  struct scene scene = make_scene("collect=off");
  char text[4096];
  const char *says = "a free block was written to";
  int status = support_child(write_into_free_object, &scene, text, sizeof text);
  bool good = reported("into", status, text, "free", says);
  status = support_child(write_over_the_link, &scene, text, sizeof text);
  good = reported("link", status, text, "free", says) && good;
  assert_true(good);
  end_scene(&scene);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_world_makes_do_with_little_address_space),
      cmocka_unit_test(without_address_space_there_is_no_world_but_later_there_is),
      cmocka_unit_test(more_worlds_than_ids_are_refused),
      cmocka_unit_test(no_world_is_refused_everywhere),
      cmocka_unit_test(no_thread_is_refused_everywhere),
      cmocka_unit_test(the_poll_for_foreign_callers_bears_no_thread),
      cmocka_unit_test(other_arguments_may_be_missing_or_wrong),
      cmocka_unit_test(only_heaps_that_were_made_here_can_be_dropped),
      cmocka_unit_test(sizes_that_no_object_has_are_refused_at_once),
      cmocka_unit_test(sizes_that_do_not_fit_are_no_memory_after_a_collection),
      cmocka_unit_test(another_threads_handle_gets_no_memory),
      cmocka_unit_test(another_threads_handle_gets_no_memory_of_a_run_either),
      cmocka_unit_test(a_detached_handle_gets_no_memory),
      cmocka_unit_test(a_blocked_thread_gets_no_memory),
      cmocka_unit_test(a_world_in_use_cannot_end),
      cmocka_unit_test(a_world_ends_whatever_its_last_thread_left_open),
      cmocka_unit_test(what_is_no_block_in_use_cannot_be_freed),
      cmocka_unit_test(a_free_block_that_was_written_to_is_not_handed_out),
      cmocka_unit_test(such_builds_see_any_write_to_a_free_block),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
