/* SPDX-License-Identifier: MIT */
/*
 * Properties of a process that forks: the child's worlds work, whatever the other threads were
 * doing. A child that hangs is ended by its alarm and counts as a failure.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <tarn/tarn.h>
#include <time.h>
#include <unistd.h>

#include "heap/heap.h"
#include "heap/local.h"
#include "inspect/options.h"
#include "world/world.h"

/* Zeal builds would collect at every allocation of every thread. */
#if defined(TARN_ZEAL) && TARN_ZEAL
#define ZEAL "zeal=500,"
#else
#define ZEAL ""
#endif

/* A thread's first steps are in AddressSanitizer's allocator, whose locks no fork takes: a child
 * could not make its own purger if the parent was just making one. */
#ifdef __SANITIZE_ADDRESS__
#define PURGER "purger=0,sweeper=0,idle-collect=0,"
#else
#define PURGER ""
#endif

#define OTHERS 4
#ifdef TARN_SANITIZE_TSAN
#define FORKS 15
#elif TARN_CHECKING || TARN_HARDENED /* release builds, which are fast, go through more moments */
#define FORKS 20
#else
#define FORKS 60
#endif

static tarn_world *make_world(void) {
  tarn_options options = TARN_OPTIONS_INIT;
  tarn_world *world = NULL;
  options.flags = TARN_OPTIONS_NO_ENVIRONMENT;
  options.set = ZEAL PURGER "min-heap=1M";
  assert_int_equal(tarn_world_create(&options, &world), TARN_OK);
  return world;
}

static void sleep_ms(long ms) {
  struct timespec time = {.tv_nsec = ms * 1000000};
  (void)nanosleep(&time, NULL);
}

static const tarn_type *pair_type(tarn_world *world) {
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = "pair";
  spec.size = 24;
  spec.slot_bits = 6;
  return tarn_type_create(world, &spec, NULL);
}

/* Uses all that a fork could have left locked or half done; returns which step failed. */
static int use_world(tarn_world *world) {
  tarn_thread *self;
  static void *slot;
  tarn_heap *heap = NULL;
  tarn_stats stats = {.struct_size = sizeof stats};
  if (tarn_thread_attach(world, &self) != TARN_OK)
    return 10;
  const tarn_type *type = pair_type(world);
  if (!type || tarn_root_add(world, &slot) != TARN_OK)
    return 11;
  slot = NULL;
  for (int i = 0; i < 20000; i++) {
    void **pair = tarn_new(self, type);
    if (!pair)
      return 12;
    pair[1] = slot;
    slot = i % 1000 ? pair : NULL;
    if (!tarn_alloc_atomic(self, (size_t)i % 3000))
      return 13;
  }
  if (!tarn_alloc_atomic(self, 200000) || tarn_collect(self, 2) != TARN_OK)
    return 14;
  if (tarn_heap_create(world, TARN_HEAP_CONTAINER, &heap) != TARN_OK)
    return 15;
  tarn_block_begin(self);
  tarn_block_end(self);
  if (tarn_stats_get(world, &stats) != TARN_OK || stats.threads != 1)
    return 16;
  if (tarn_root_remove(world, &slot) != TARN_OK || tarn_thread_detach(self) != TARN_OK)
    return 17;
  return 0;
}

/* Forks; the child runs `child`, which returns 0 if all was well. */
static int in_child(int (*child)(tarn_world *), tarn_world *world) {
  int status = 0;
  pid_t pid = fork();
  if (pid == 0) {
    (void)alarm(30);
    _exit(child(world));
  }
  assert_true(pid > 0);
  assert_int_equal(waitpid(pid, &status, 0), pid);
  if (WIFSIGNALED(status))
    fail_msg("the child ended by signal %d", WTERMSIG(status));
  return WEXITSTATUS(status);
}

/* --- the other threads ----------------------------------------------------------------------- */

enum habit { ALLOCATES, BLOCKS, IS_NOT_ATTACHED, COMES_AND_GOES };

struct other {
  tarn_world *world;
  enum habit habit;
  _Atomic bool *stop;
  _Atomic uint32_t *ready;
  bool failed;
};

static bool over(struct other *other) {
  return atomic_load_explicit(other->stop, memory_order_relaxed);
}

static void allocate(struct other *other, tarn_thread *self, const tarn_type *type) {
  void **pair = NULL;
  TARN_FRAME(self, &pair);
  for (int i = 0; !over(other) && i < 1000; i++) {
    other->failed = other->failed || !tarn_alloc_atomic(self, (size_t)i * 40);
    void **next = tarn_new(self, type);
    if (next)
      next[1] = i % 100 ? pair : NULL;
    other->failed = other->failed || !next;
    pair = next;
    if (other->habit == BLOCKS) {
      tarn_block_begin(self);
      tarn_block_end(self);
    }
  }
}

static void *live(void *data) {
  struct other *other = data;
  tarn_thread *self = NULL;
  const tarn_type *type = pair_type(other->world);
  static void *slots[16];
  if (other->habit != IS_NOT_ATTACHED)
    other->failed = tarn_thread_attach(other->world, &self) != TARN_OK;
  atomic_fetch_add(other->ready, 1);
  for (unsigned i = 0; !over(other) && !other->failed; i++) {
    if (!self) {
      void **slot = &slots[i % 16];
      other->failed = tarn_root_add(other->world, slot) != TARN_OK ||
                      tarn_root_remove(other->world, slot) != TARN_OK ||
                      (i % 64 == 0 && !pair_type(other->world)); /* types stay for ever */
      continue;
    }
    allocate(other, self, type);
    if (other->habit == COMES_AND_GOES)
      other->failed =
          tarn_thread_detach(self) != TARN_OK || tarn_thread_attach(other->world, &self) != TARN_OK;
  }
  if (self)
    (void)tarn_thread_detach(self);
  return NULL;
}

struct crowd {
  struct other others[OTHERS];
  pthread_t threads[OTHERS];
  _Atomic bool stop;
  _Atomic uint32_t ready;
};

static void start_crowd(struct crowd *crowd, tarn_world *world) {
  atomic_store(&crowd->stop, false);
  atomic_store(&crowd->ready, 0);
  for (int i = 0; i < OTHERS; i++) {
    crowd->others[i] = (struct other){
        .world = world, .habit = (enum habit)i, .stop = &crowd->stop, .ready = &crowd->ready};
    assert_int_equal(pthread_create(&crowd->threads[i], NULL, live, &crowd->others[i]), 0);
  }
  while (atomic_load(&crowd->ready) != OTHERS)
    sleep_ms(1);
}

static void end_crowd(struct crowd *crowd) {
  atomic_store(&crowd->stop, true);
  for (int i = 0; i < OTHERS; i++) {
    assert_int_equal(pthread_join(crowd->threads[i], NULL), 0);
    assert_false(crowd->others[i].failed);
  }
}

/* --- properties ------------------------------------------------------------------------------ */

static int use_as_attached(tarn_world *world) {
  tarn_thread *self = tarn_thread_self(world);
  if (!self || tarn_thread_check(self) != TARN_OK)
    return 1;
  return use_world(world);
}

static void the_child_of_an_attached_thread_goes_on(void **state) {
  (void)state;
  static struct crowd crowd;
  tarn_world *world = make_world();
  tarn_thread *self = NULL;
  start_crowd(&crowd, world);
  assert_int_equal(tarn_thread_attach(world, &self), TARN_OK);
  for (int i = 0; i < FORKS; i++) {
    tarn_safepoint(self);
    assert_int_equal(in_child(use_as_attached, world), 0);
  }
  tarn_block_begin(self);
  end_crowd(&crowd);
  tarn_block_end(self);
  assert_int_equal(use_world(world), 0); /* the parent too */
  assert_int_equal(tarn_world_destroy(world), TARN_OK);
}

static int use_and_destroy(tarn_world *world) {
  int failed = use_world(world);
  return failed ? failed : tarn_world_destroy(world) != TARN_OK ? 20 : 0;
}

static void the_child_of_an_unattached_thread_can_attach_and_destroy(void **state) {
  (void)state;
  static struct crowd crowd;
  tarn_world *world = make_world();
  start_crowd(&crowd, world);
  for (int i = 0; i < FORKS; i++)
    assert_int_equal(in_child(use_and_destroy, world), 0);
  end_crowd(&crowd);
  assert_int_equal(use_and_destroy(world), 0);
}

static int end_region_and_use(tarn_world *world) {
  tarn_thread *self = tarn_thread_self(world);
  const struct tarn_mutator *mutator = tarn_mutator_of(self);
  if (mutator->state != TARN_STATE_BLOCKED)
    return 2;
  tarn_block_end(self);
  return mutator->state == TARN_STATE_RUNNING ? use_world(world) : 3;
}

static void a_blocked_thread_forks_and_stays_blocked(void **state) {
  (void)state;
  static struct crowd crowd;
  tarn_world *world = make_world();
  tarn_thread *self = NULL;
  start_crowd(&crowd, world);
  assert_int_equal(tarn_thread_attach(world, &self), TARN_OK);
  tarn_block_begin(self);
  for (int i = 0; i < FORKS; i++) {
    assert_int_equal(in_child(end_region_and_use, world), 0);
    assert_int_equal(tarn_mutator_of(self)->state, TARN_STATE_BLOCKED);
  }
  end_crowd(&crowd);
  tarn_block_end(self);
  assert_int_equal(use_world(world), 0);
  assert_int_equal(tarn_world_destroy(world), TARN_OK);
}

static int release_and_use(tarn_world *world) {
  tarn_gc_release(tarn_thread_self(world));
  return use_world(world);
}

static void a_thread_forks_inside_a_hold(void **state) {
  (void)state;
  static struct crowd crowd;
  tarn_world *world = make_world();
  tarn_thread *self = NULL;
  start_crowd(&crowd, world);
  assert_int_equal(tarn_thread_attach(world, &self), TARN_OK);
  for (int i = 0; i < FORKS; i++) {
    tarn_gc_hold(self);
    sleep_ms(2); /* others come to want a collection and wait for this thread */
    assert_int_equal(in_child(release_and_use, world), 0);
    tarn_gc_release(self);
  }
  tarn_block_begin(self);
  end_crowd(&crowd);
  tarn_block_end(self);
  assert_int_equal(tarn_world_destroy(world), TARN_OK);
}

static tarn_world *both[2];
static int use_both(tarn_world *world) {
  (void)world;
  int failed = use_as_attached(both[0]);
  return failed ? failed : use_world(both[1]);
}

static void all_worlds_of_the_process_are_taken_along(void **state) {
  (void)state;
  static struct crowd crowds[2];
  tarn_thread *self = NULL;
  for (int i = 0; i < 2; i++) {
    both[i] = make_world();
    start_crowd(&crowds[i], both[i]);
  }
  assert_int_equal(tarn_thread_attach(both[0], &self), TARN_OK);
  for (int i = 0; i < FORKS / 3; i++)
    assert_int_equal(in_child(use_both, both[0]), 0);
  tarn_block_begin(self);
  for (int i = 0; i < 2; i++)
    end_crowd(&crowds[i]);
  tarn_block_end(self);
  for (int i = 0; i < 2; i++)
    assert_int_equal(tarn_world_destroy(both[i]), TARN_OK);
}

static void *fork_too(void *data) {
  tarn_world *world = data;
  tarn_thread *self = NULL;
  if (tarn_thread_attach(world, &self) != TARN_OK)
    return data;
  for (int i = 0; i < FORKS; i++) {
    int status = 1;
    tarn_gc_hold(self);
    pid_t pid = fork();
    if (pid == 0) {
      (void)alarm(30);
      tarn_gc_release(self);
      _exit(tarn_collect(self, 2) == TARN_OK ? 0 : 1);
    }
    tarn_gc_release(self);
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
      return data;
  }
  return NULL; /* exits attached */
}

static void threads_fork_at_the_same_time_inside_holds(void **state) {
  (void)state;
  tarn_world *world = make_world();
  pthread_t threads[3];
  for (int i = 0; i < 3; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, fork_too, world), 0);
  for (int i = 0; i < 3; i++) {
    void *failed = NULL;
    assert_int_equal(pthread_join(threads[i], &failed), 0);
    assert_null(failed);
  }
  assert_int_equal(use_and_destroy(world), 0);
}

static void *make_and_destroy_worlds(void *data) {
  _Atomic bool *stop = data;
  tarn_options options = TARN_OPTIONS_INIT;
  options.flags = TARN_OPTIONS_NO_ENVIRONMENT;
  options.set = ZEAL;
  while (!atomic_load_explicit(stop, memory_order_relaxed)) {
    tarn_world *world = NULL;
    tarn_thread *self = NULL;
    if (tarn_world_create(&options, &world) != TARN_OK ||
        tarn_thread_attach(world, &self) != TARN_OK || tarn_world_destroy(world) != TARN_OK)
      return data;
  }
  return NULL;
}

static void worlds_come_and_go_while_others_fork(void **state) {
  (void)state;
  static _Atomic bool stop;
  tarn_world *world = make_world();
  pthread_t thread;
  void *failed = NULL;
  atomic_store(&stop, false);
  assert_int_equal(pthread_create(&thread, NULL, make_and_destroy_worlds, &stop), 0);
  for (int i = 0; i < FORKS; i++)
    assert_int_equal(in_child(use_world, world), 0);
  atomic_store(&stop, true);
  assert_int_equal(pthread_join(thread, &failed), 0);
  assert_null(failed);
  assert_int_equal(tarn_world_destroy(world), TARN_OK);
}

/* --- generations ----------------------------------------------------------------------------- */

/* In parent, child and grandchild, where cmocka's assertions may not be used: the function says
 * what failed and returns 1. */
#define EXPECT(condition)                                                      \
  do {                                                                         \
    if (!(condition)) {                                                        \
      (void)dprintf(2, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
      return 1;                                                                \
    }                                                                          \
  } while (0)

struct cell {
  const tarn_type *type;
  struct cell *left, *right;
  uintptr_t id;
};

#define CELLS 200u
#define OLD 4u

/* The world of a test, with objects of each age; their `free` functions run in the thread that
 * collects. */
static struct {
  tarn_world *world;
  bool first_pool;
  const tarn_type *type;
  struct cell *old[OLD]; /* roots */
  uintptr_t dropped, dropped_by_other, count;
  unsigned char ended[CELLS];
  pthread_t other;
  pthread_barrier_t barrier;
} ages;

static void end_cell(tarn_world *world, void *object) {
  (void)world;
  ages.ended[((struct cell *)object)->id]++;
}

static struct cell *new_cell(tarn_thread *self) {
  struct cell *cell = tarn_new(self, ages.type);
  if (cell)
    cell->id = ++ages.count;
  return cell;
}

static const tarn_type *make_cell_type(void) {
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = "cell";
  spec.size = 128; /* a card */
  spec.slot_bits = 6;
  spec.free = end_cell;
  const tarn_type *type = tarn_type_create(ages.world, &spec, NULL);
  assert_non_null(type);
  return type;
}

static int hang(tarn_thread *self, struct cell *on, struct cell **slot) {
  struct cell *cell = new_cell(self);
  EXPECT(cell && cell->id < CELLS);
  tarn_store(self, on, (void **)slot, cell);
  return 0;
}

/* Is the cell there, and whole?  It is the `number`th that was made. */
static bool is_there(const struct cell *cell, uintptr_t number) {
  return cell && cell->type == ages.type && cell->id == number && !ages.ended[number];
}

static tarn_world *make_barrier_world(const char *set) {
  tarn_options options = TARN_OPTIONS_INIT;
  tarn_world *world = NULL;
  char text[200];
  (void)snprintf(text, sizeof text, ZEAL PURGER "collect=off,%s", set);
  options.flags = TARN_OPTIONS_NO_ENVIRONMENT | TARN_OPTIONS_BARRIERS;
  options.set = text;
  assert_int_equal(tarn_world_create(&options, &world), TARN_OK);
  return world;
}

static tarn_status verify(tarn_thread *self) {
  char message[300] = "";
  tarn_status status = tarn_verify(self, message, sizeof message);
  if (status != TARN_OK)
    (void)dprintf(2, "tarn_verify: %s\n", message);
  return status;
}

/* Something new in something old, and something that is dropped; then it is blocked. */
static void *store_and_block(void *data) {
  tarn_thread *self = NULL;
  if (tarn_thread_attach(ages.world, &self) != TARN_OK ||
      hang(self, ages.old[1], &ages.old[1]->right))
    return data;
  struct cell *cell = new_cell(self);
  if (!cell)
    return data;
  ages.dropped_by_other = cell->id;
  tarn_block_begin(self);
  (void)pthread_barrier_wait(&ages.barrier);
  (void)pthread_barrier_wait(&ages.barrier);
  tarn_block_end(self);
  return tarn_thread_detach(self) == TARN_OK ? NULL : data;
}

static int start_other(tarn_thread *self) {
  EXPECT(pthread_barrier_init(&ages.barrier, NULL, 2) == 0);
  tarn_block_begin(self);
  EXPECT(pthread_create(&ages.other, NULL, store_and_block, &ages) == 0);
  (void)pthread_barrier_wait(&ages.barrier);
  tarn_block_end(self);
  return 0;
}

static int end_other(tarn_thread *self) {
  void *failed = NULL;
  tarn_block_begin(self);
  (void)pthread_barrier_wait(&ages.barrier);
  EXPECT(pthread_join(ages.other, &failed) == 0 && !failed);
  tarn_block_end(self);
  EXPECT(pthread_barrier_destroy(&ages.barrier) == 0);
  return 0;
}

/*
 * Each old object has a card.  The first has one that survived and a new one, the second the same,
 * by another thread if there may be one; the others nothing.  Cells 5 to 9 of those made since.
 */
static int grow_ages(tarn_thread *self, bool with_other) {
  memset(ages.old, 0, sizeof ages.old);
  EXPECT(tarn_collect(self, 2) == TARN_OK); /* of those before */
  ages.count = 0;
  memset(ages.ended, 0, sizeof ages.ended);
  for (unsigned i = 0; i < OLD; i++)
    EXPECT((ages.old[i] = new_cell(self)) != NULL);
  EXPECT(tarn_collect(self, 2) == TARN_OK);
  EXPECT(!hang(self, ages.old[0], &ages.old[0]->left)); /* 5 */
  EXPECT(!hang(self, ages.old[1], &ages.old[1]->left)); /* 6 */
  EXPECT(tarn_collect(self, 0) == TARN_OK);
  EXPECT(!hang(self, ages.old[0], &ages.old[0]->right)); /* 7 */
  struct cell *dropped = new_cell(self);                 /* 8 */
  EXPECT(dropped);
  ages.dropped = dropped->id;
  if (with_other)
    return start_other(self); /* 9, 10 */
  ages.dropped_by_other = 0;
  return hang(self, ages.old[1], &ages.old[1]->right); /* 9 */
}

static int check_ages(void) {
  for (unsigned i = 0; i < OLD; i++)
    EXPECT(is_there(ages.old[i], i + 1));
  EXPECT(is_there(ages.old[0]->left, 5) && is_there(ages.old[1]->left, 6));
  EXPECT(is_there(ages.old[0]->right, 7) && is_there(ages.old[1]->right, 9));
  return 0;
}

/* With first-pool the new ones of other pools than those that the thread allocates from stay. */
static int collect_generation_0(tarn_thread *self) {
  EXPECT(tarn_collect(self, 0) == TARN_OK && !check_ages());
  EXPECT(ages.first_pool || ages.ended[ages.dropped] == 1);
  EXPECT(ages.first_pool || !ages.dropped_by_other || ages.ended[ages.dropped_by_other] == 1);
  EXPECT(!hang(self, ages.old[2], &ages.old[2]->left));
  EXPECT(!hang(self, ages.old[0]->left, &ages.old[0]->left->left));
  uintptr_t last = ages.count;
  EXPECT(tarn_collect(self, 0) == TARN_OK && !check_ages());
  EXPECT(is_there(ages.old[2]->left, last - 1) && is_there(ages.old[0]->left->left, last));
  return 0;
}

static int collect_the_others(tarn_thread *self) {
  uintptr_t last = ages.count;
  ages.old[1]->left = NULL;
  EXPECT(tarn_collect(self, 1) == TARN_OK);
  EXPECT(ages.ended[6] == 1 && ages.ended[ages.dropped] == 1);
  EXPECT(!ages.dropped_by_other || ages.ended[ages.dropped_by_other] == 1);
  EXPECT(is_there(ages.old[0]->right, 7) && is_there(ages.old[1]->right, 9));
  EXPECT(is_there(ages.old[2]->left, last - 1) && is_there(ages.old[0]->left->left, last));
  ages.old[0]->left = ages.old[0]->right = ages.old[1]->right = ages.old[2]->left = NULL;
  EXPECT(tarn_collect(self, 2) == TARN_OK);
  for (uintptr_t id = 1; id <= ages.count; id++)
    EXPECT(ages.ended[id] == (id > OLD));
  return 0;
}

#ifndef TARN_SANITIZE_TSAN
static void *store_and_collect(void *data) {
  tarn_thread *self = NULL;
  if (tarn_thread_attach(ages.world, &self) != TARN_OK ||
      hang(self, ages.old[3], &ages.old[3]->left) || tarn_collect(self, 0) != TARN_OK ||
      !is_there(ages.old[3]->left, ages.count) || tarn_thread_detach(self) != TARN_OK)
    return data;
  return NULL;
}
#endif

/* A thread of the process's own, and this one again. */
static int go_on_together(tarn_thread *self) {
#ifndef TARN_SANITIZE_TSAN /* see stress_fork.c */
  pthread_t thread;
  void *failed = NULL;
  tarn_block_begin(self);
  EXPECT(pthread_create(&thread, NULL, store_and_collect, &ages) == 0);
  EXPECT(pthread_join(thread, &failed) == 0 && !failed);
  tarn_block_end(self);
#endif
  EXPECT(!hang(self, ages.old[3], &ages.old[3]->right));
  EXPECT(tarn_collect(self, 0) == TARN_OK && is_there(ages.old[3]->right, ages.count));
  return 0;
}

static int go_on_aged(tarn_world *world) {
  tarn_thread *self = tarn_thread_self(world);
  EXPECT(verify(self) == TARN_OK && !check_ages());
  EXPECT(!collect_generation_0(self) && !collect_the_others(self) && !go_on_together(self));
  EXPECT(verify(self) == TARN_OK);
  return 0;
}

/* A child goes on, and has a child that does. */
static int go_on_and_fork(tarn_world *world) {
  int status = 1;
  EXPECT(!go_on_aged(world) && !grow_ages(tarn_thread_self(world), false));
  pid_t pid = fork();
  if (pid == 0) {
    (void)alarm(30);
    _exit(go_on_aged(world));
  }
  EXPECT(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0);
  return go_on_aged(world);
}

static void young_and_old_objects_go_through_a_fork(bool first_pool) {
  tarn_thread *self = NULL;
  ages.first_pool = first_pool;
  ages.world = make_barrier_world(first_pool ? "generations=first-pool" : "generations=pools");
  ages.type = make_cell_type();
  assert_int_equal(tarn_thread_attach(ages.world, &self), TARN_OK);
  memset(ages.old, 0, sizeof ages.old);
  for (unsigned i = 0; i < OLD; i++)
    assert_int_equal(tarn_root_add(ages.world, (void **)&ages.old[i]), TARN_OK);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(grow_ages(self, true), 0);
    assert_int_equal(in_child(go_on_and_fork, ages.world), 0);
    assert_int_equal(end_other(self), 0);
    assert_int_equal(go_on_aged(ages.world), 0); /* the parent too */
  }
  assert_int_equal(tarn_world_destroy(ages.world), TARN_OK);
}

static void young_and_old_objects_go_through_a_fork_with_pools(void **state) {
  (void)state;
  young_and_old_objects_go_through_a_fork(false);
}
static void young_and_old_objects_go_through_a_fork_with_first_pool(void **state) {
  (void)state;
  young_and_old_objects_go_through_a_fork(true);
}

/* --- `free` functions ------------------------------------------------------------------------ */

#define DEAD 40u /* of a pool */
#define SMALL_ONE 0u
#define LARGE_ONE DEAD

struct resource {
  const tarn_type *type;
  uintptr_t id;
};

/* The functions of two objects, a small and a large one, run in threads of their own for a while.
 */
static struct {
  tarn_world *world;
  int generation;
  void *roots[DEAD + 1];
  atomic_uint begun[DEAD + 1], ended[DEAD + 1];
  _Atomic bool gate;
} dying;

static void end_resource(tarn_world *world, void *object) {
  uintptr_t id = ((struct resource *)object)->id;
  tarn_thread *self = tarn_thread_self(world);
  bool waits = id == SMALL_ONE || id == LARGE_ONE;
  if (waits)
    tarn_block_begin(self);
  atomic_fetch_add(&dying.begun[id], 1);
  while (waits && !atomic_load(&dying.gate))
    sleep_ms(1);
  if (waits)
    tarn_block_end(self);
  atomic_fetch_add(&dying.ended[id], 1);
}

static void *collect_and_release(void *data) {
  tarn_thread *self = NULL;
  if (tarn_thread_attach(dying.world, &self) != TARN_OK ||
      tarn_collect(self, dying.generation) != TARN_OK)
    return data;
  return tarn_thread_detach(self) == TARN_OK ? NULL : data;
}
static void *only_release(void *data) {
  tarn_thread *self = NULL;
  if (tarn_thread_attach(dying.world, &self) != TARN_OK)
    return data;
  (void)tarn_release_pending(self, 0);
  return tarn_thread_detach(self) == TARN_OK ? NULL : data;
}

static void make_dying(tarn_thread *self) {
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = "resource";
  spec.size = 48;
  spec.free = end_resource;
  const tarn_type *small = tarn_type_create(dying.world, &spec, NULL);
  spec.size = 100000;
  const tarn_type *large = tarn_type_create(dying.world, &spec, NULL);
  atomic_store(&dying.gate, false);
  for (unsigned i = 0; i <= DEAD; i++) {
    atomic_store(&dying.begun[i], 0);
    atomic_store(&dying.ended[i], 0);
    dying.roots[i] = NULL;
    assert_int_equal(tarn_root_add(dying.world, &dying.roots[i]), TARN_OK);
    struct resource *resource = dying.roots[i] = tarn_new(self, i == LARGE_ONE ? large : small);
    assert_non_null(resource);
    resource->id = i;
  }
}

static void wait_for(unsigned id) {
  while (!atomic_load(&dying.begun[id]))
    sleep_ms(1);
}

static int end_what_is_left(tarn_world *world) {
  tarn_thread *self = tarn_thread_self(world);
  tarn_stats stats = {.struct_size = sizeof stats};
  EXPECT(verify(self) == TARN_OK);
  for (int generation = 0; generation <= TARN_GENERATION_FULL; generation++) {
    EXPECT(tarn_collect(self, generation) == TARN_OK && verify(self) == TARN_OK);
    for (unsigned i = 0; i <= DEAD; i++)
      EXPECT(atomic_load(&dying.begun[i]) == 1);
    for (unsigned i = 0; i < 100; i++)
      EXPECT(tarn_alloc_atomic(self, 48) && tarn_alloc_atomic(self, 100000));
  }
  EXPECT(tarn_collect(self, TARN_GENERATION_FULL) == TARN_OK);
  EXPECT(tarn_stats_get(world, &stats) == TARN_OK);
  EXPECT(stats.release_pending == 0 && stats.live_objects == 0);
  EXPECT(tarn_world_destroy(world) == TARN_OK);
  for (unsigned i = 0; i <= DEAD; i++) {
    EXPECT(atomic_load(&dying.begun[i]) == 1);
    EXPECT(atomic_load(&dying.ended[i]) == (i != SMALL_ONE && i != LARGE_ONE));
  }
  return 0;
}

static void fork_while_functions_run(int generation) {
  tarn_thread *self = NULL;
  pthread_t threads[2];
  dying.generation = generation;
  dying.world = make_barrier_world("generations=pools");
  assert_int_equal(tarn_thread_attach(dying.world, &self), TARN_OK);
  assert_int_equal(tarn_collect(self, TARN_GENERATION_FULL), TARN_OK); /* others may be young */
  make_dying(self);
  if (generation > 0) /* they survived one, or are old */
    assert_int_equal(tarn_collect(self, generation == 1 ? 0 : 2), TARN_OK);
  memset(dying.roots, 0, sizeof dying.roots);
  tarn_block_begin(self);
  assert_int_equal(pthread_create(&threads[0], NULL, collect_and_release, &dying), 0);
  wait_for(SMALL_ONE);
  assert_int_equal(pthread_create(&threads[1], NULL, only_release, &dying), 0);
  wait_for(LARGE_ONE);
  tarn_block_end(self);
  assert_int_equal(in_child(end_what_is_left, dying.world), 0);
  atomic_store(&dying.gate, true);
  tarn_block_begin(self);
  for (int i = 0; i < 2; i++) {
    void *failed = NULL;
    assert_int_equal(pthread_join(threads[i], &failed), 0);
    assert_null(failed);
  }
  tarn_block_end(self);
  assert_int_equal(tarn_world_destroy(dying.world), TARN_OK);
  for (unsigned i = 0; i <= DEAD; i++)
    assert_true(atomic_load(&dying.begun[i]) == 1 && atomic_load(&dying.ended[i]) == 1);
}

static void a_function_that_runs_elsewhere_does_not_run_in_the_child(void **state) {
  (void)state;
  for (int generation = 0; generation <= TARN_GENERATION_FULL; generation++)
    fork_while_functions_run(generation);
}

/* --- a world without a collector, as the malloc door has it ---------------------------------- */

static bool go_on(struct tarn_local *local, size_t bytes) {
  (void)local;
  (void)bytes;
  return true;
}
static bool give_up(struct tarn_local *local, size_t bytes, unsigned tries) {
  (void)local;
  (void)bytes;
  (void)tries;
  return false;
}
static void ignore(struct tarn_local *local, tarn_status status) {
  (void)local;
  (void)status;
}
__attribute__((noreturn)) static void die(struct tarn_store *store, const void *block,
                                          const char *what) {
  (void)store;
  (void)dprintf(2, "%p: %s\n", block, what);
  abort();
}

static tarn_world *make_uncollected(void) {
  static const struct tarn_hooks hooks = {.before_refill = go_on,
                                          .exhausted = give_up,
                                          .fail = ignore,
                                          .corrupt = die,
                                          .uncollected = true};
  struct tarn_config config;
  struct tarn_config_report report = {.secure = true};
  tarn_world *world = NULL;
  assert_int_equal(tarn_config_resolve(NULL, NULL, &config, &report), TARN_OK);
  config.collect = config.scan_stack = config.verify = false;
  config.purger = false;
  assert_int_equal(tarn_world_make(&config, &hooks, NULL, &world), TARN_OK);
  tarn_worlds_add(world);
  return world;
}

#define LEFT_SIZE 1024
#define LEFT (TARN_UNIT_SIZE / LEFT_SIZE) /* one pool */

static struct {
  tarn_world *world;
  struct tarn_pool *pool;
  void *blocks[LEFT];
  pthread_barrier_t barrier;
} left;

static void *make_left(void *data) {
  tarn_thread *self;
  assert_int_equal(tarn_thread_attach(left.world, &self), TARN_OK);
  for (size_t i = 0; i < LEFT; i++) {
    left.blocks[i] = tarn_local_alloc_raw(tarn_local_of(self), left.world->atomic_heap, LEFT_SIZE);
    assert_non_null(left.blocks[i]);
    *(char *)left.blocks[i] = 1;
  }
  left.pool = tarn_pool_of((uintptr_t)left.blocks[0]);
  assert_ptr_equal(tarn_pool_of((uintptr_t)left.blocks[LEFT - 1]), left.pool);
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  return data;
}

/* As tarn_heap_take does, where a block is freed between its two steps: the pool gets an owner
 * while it is in the heap's mailbox. */
static void *take_left(void *data) {
  struct tarn_heap *heap = left.world->atomic_heap;
  tarn_thread *self;
  assert_int_equal(tarn_thread_attach(left.world, &self), TARN_OK);
  (void)pthread_mutex_lock(&heap->lock);
  tarn_pool_unlink(&heap->shelves[TARN_FLAVOUR_RAW][left.pool->size_class].full, left.pool);
  tarn_pool_set_owner(left.pool, tarn_local_of(self));
  (void)pthread_mutex_unlock(&heap->lock);
  (void)pthread_barrier_wait(&left.barrier);
  (void)pthread_barrier_wait(&left.barrier);
  (void)pthread_mutex_lock(&heap->lock);
  tarn_pool_set_owner(left.pool, NULL);
  tarn_heap_shelve(heap, left.pool);
  (void)pthread_mutex_unlock(&heap->lock);
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  return data;
}

static int free_left(tarn_world *world) {
  /* A thread that is gone had taken it, and was about to empty the mailbox. */
  __atomic_store_n(&world->store.purge_due, 0, __ATOMIC_RELAXED);
  for (size_t i = 1; i < LEFT; i++)
    tarn_store_free_stranger(&world->store, left.blocks[i]);
  if (tarn_pool_owner(left.pool))
    return 1;                                   /* was not given up */
  tarn_remote_collect_heap(world->atomic_heap); /* of those that came when it was nobody's */
  if (atomic_load(&world->atomic_heap->orphans))
    return 2;
  return tarn_map_get(tarn_pool_unit(left.pool)) == 0 ? 0 : 3; /* all blocks are free: it is gone */
}

static void a_pool_left_behind_is_in_no_mailbox(void **state) {
  (void)state;
  pthread_t thread;
  left.world = make_uncollected();
  assert_int_equal(pthread_barrier_init(&left.barrier, NULL, 2), 0);
  assert_int_equal(pthread_create(&thread, NULL, make_left, NULL), 0);
  assert_int_equal(pthread_join(thread, NULL), 0);
  tarn_store_free_stranger(&left.world->store, left.blocks[0]);
  assert_ptr_equal(atomic_load(&left.world->atomic_heap->orphans), left.pool);
  assert_int_equal(pthread_create(&thread, NULL, take_left, NULL), 0);
  (void)pthread_barrier_wait(&left.barrier);
  assert_int_equal(in_child(free_left, left.world), 0);
  (void)pthread_barrier_wait(&left.barrier);
  assert_int_equal(pthread_join(thread, NULL), 0); /* such a world stays, as a malloc does */
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_child_of_an_attached_thread_goes_on),
      cmocka_unit_test(the_child_of_an_unattached_thread_can_attach_and_destroy),
      cmocka_unit_test(a_blocked_thread_forks_and_stays_blocked),
      cmocka_unit_test(a_thread_forks_inside_a_hold),
      cmocka_unit_test(all_worlds_of_the_process_are_taken_along),
      cmocka_unit_test(threads_fork_at_the_same_time_inside_holds),
      cmocka_unit_test(worlds_come_and_go_while_others_fork),
      cmocka_unit_test(young_and_old_objects_go_through_a_fork_with_pools),
      cmocka_unit_test(young_and_old_objects_go_through_a_fork_with_first_pool),
      cmocka_unit_test(a_function_that_runs_elsewhere_does_not_run_in_the_child),
      cmocka_unit_test(a_pool_left_behind_is_in_no_mailbox),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
