/* SPDX-License-Identifier: MIT */
/*
 * Pacing: external bytes, what the soft limit may cost, and what happens at the hard limit when
 * nothing is free.  Counts of collections are of those that the pace started: in zeal builds the
 * option is set so high that it starts none.
 */
#include "support.h"

#include <stdatomic.h>
#include <time.h>

#include "collect/collector.h"

#if SUPPORT_ZEAL
#define OFF_ZEAL ",zeal=1000000000"
#else
#define OFF_ZEAL ""
#endif

static tarn_world *world_as(const char *set, unsigned flags) {
  tarn_options options = TARN_OPTIONS_INIT;
  tarn_world *world = NULL;
  char text[256];
  (void)snprintf(text, sizeof text, "%s%s", set, OFF_ZEAL);
  options.set = text;
  options.flags = TARN_OPTIONS_NO_ENVIRONMENT | flags;
  assert_int_equal(tarn_world_create(&options, &world), TARN_OK);
  return world;
}
static tarn_world *world_with(const char *set) { return world_as(set, 0); }

static void end(tarn_world *world, tarn_thread *self) {
  support_verify(self);
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  support_end(world);
}

static uint64_t collections_of(tarn_world *world) { return support_stats(world).collections; }
static uint64_t external_of(tarn_world *world) { return support_stats(world).external_bytes; }

static void adjust(tarn_world *world, ptrdiff_t bytes) {
  assert_int_equal(tarn_external_adjust(world, bytes), TARN_OK);
}

static void collect(tarn_thread *self) {
  assert_int_equal(tarn_collect(self, TARN_GENERATION_FULL), TARN_OK);
}

static double seconds(void) {
  struct timespec now;
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* --- wrappers ----------------------------------------------------------------------------------
 */

struct wrapper {
  const tarn_type *type;
  struct wrapper *next;
  size_t external;
};

static void free_wrapper(tarn_world *world, void *object) {
  struct wrapper *wrapper = object;
  /* cmocka's assertions are for the test's own thread. */
  if (tarn_external_adjust(world, -(ptrdiff_t)wrapper->external) != TARN_OK)
    abort();
}

static const tarn_type *wrapper_type(tarn_world *world, size_t size) {
  return support_type(world, "wrapper", size, 2, free_wrapper);
}

static struct wrapper *wrap(tarn_thread *self, const tarn_type *type, size_t external) {
  struct wrapper *wrapper = tarn_new(self, type);
  if (!wrapper || tarn_external_adjust(tarn_thread_world(self), (ptrdiff_t)external) != TARN_OK)
    abort();
  wrapper->external = external;
  return wrapper;
}

static void many_small_wrappers_of_much_are_collected_in_time(void **state) {
  (void)state;
  tarn_world *world = world_with("min-heap=16M");
  tarn_thread *self = support_attach(world);
  const tarn_type *type = wrapper_type(world, sizeof(struct wrapper));
  uint64_t most = 0;
  for (int i = 0; i < 10000; i++) {
    (void)wrap(self, type, MIB);
    uint64_t now = external_of(world);
    most = now > most ? now : most;
    tarn_safepoint(self);
  }
  assert_in_range(most, 16 * MIB, 20 * MIB);
  /* And each of these was worth it. */
  assert_in_range(collections_of(world), 400, 700);
  collect(self);
  assert_int_equal(external_of(world), 0);
  end(world, self);
}

struct many {
  tarn_world *world;
  const tarn_type *type;
};

static void *wrap_many(void *data) {
  struct many *many = data;
  tarn_thread *self = NULL;
  if (tarn_thread_attach(many->world, &self) != TARN_OK)
    abort();
  for (int i = 0; i < 4000; i++) {
    (void)wrap(self, many->type, 64 * KIB);
    tarn_safepoint(self);
  }
  (void)tarn_thread_detach(self);
  return NULL;
}

static void wrappers_of_many_threads_are_counted_exactly(void **state) {
  (void)state;
  struct many many = {.world = world_with("min-heap=4M")};
  tarn_thread *self = support_attach(many.world);
  pthread_t threads[4];
  many.type = wrapper_type(many.world, sizeof(struct wrapper));
  for (int i = 0; i < 4; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, wrap_many, &many), 0);
  tarn_block_begin(self);
  for (int i = 0; i < 4; i++)
    assert_int_equal(pthread_join(threads[i], NULL), 0);
  tarn_block_end(self);
  assert_true(collections_of(many.world) >= 10);
  collect(self);
  assert_int_equal(external_of(many.world), 0);
  end(many.world, self);
}

/* The program allocates and never polls: no `free` function runs, and no collection can help. */
static void what_is_pending_starts_no_collections(void **state) {
  (void)state;
  tarn_world *world = world_with("min-heap=1M");
  tarn_thread *self = support_attach(world);
  const tarn_type *type = wrapper_type(world, 4096);
  for (int i = 0; i < 2000; i++)
    (void)wrap(self, type, MIB);
  assert_int_equal(external_of(world), 2000 * MIB);
  assert_in_range(collections_of(world), 3, 25); /* each after as much again was added */
  uint64_t before = collections_of(world);
  tarn_safepoint(self); /* a collection may be due here, and all functions run */
  for (int i = 0; i < 1000; i++)
    tarn_safepoint(self);
  assert_true(collections_of(world) <= before + 1);
  /* With little external left, the next one comes soon again. */
  before = collections_of(world);
  collect(self);
  assert_int_equal(external_of(world), 0);
  adjust(world, 2 * MIB);
  tarn_safepoint(self);
  assert_int_equal(collections_of(world), before + 2);
  adjust(world, -(ptrdiff_t)(2 * MIB));
  end(world, self);
}

/* --- when external bytes start a collection ------------------------------------------------------
 */

static void *adjust_from_outside(void *data) {
  if (tarn_external_adjust(data, 20 * MIB) != TARN_OK)
    abort();
  return NULL;
}

static void a_due_collection_comes_at_the_next_safepoint(void **state) {
  (void)state;
  tarn_world *world = world_with("min-heap=16M");
  tarn_thread *self = support_attach(world);
  adjust(world, 15 * MIB);
  tarn_safepoint(self);
  assert_int_equal(collections_of(world), 0);
  adjust(world, 1 * MIB);
  assert_int_equal(collections_of(world), 0); /* not inside the call */
  tarn_safepoint(self);
  assert_int_equal(collections_of(world), 1);
  tarn_safepoint(self);
  assert_int_equal(collections_of(world), 1);
  /* Of whichever thread. */
  support_run(adjust_from_outside, world);
  tarn_safepoint(self);
  assert_int_equal(collections_of(world), 2);
  /* An allocation will do as well: the present piece of the run is the last one without. */
  adjust(world, 40 * MIB);
  for (int i = 0; i < 300; i++)
    (void)tarn_alloc_atomic(self, 4096);
  assert_int_equal(collections_of(world), 3);
  assert_int_equal(self->tarn_poll, 0);
  end(world, self);
}

static void holds_and_switches_are_obeyed(void **state) {
  (void)state;
  tarn_world *world = world_with("min-heap=16M");
  tarn_thread *self = support_attach(world);
  tarn_safepoint(self);
  tarn_gc_hold(self);
  adjust(world, 20 * MIB);
  tarn_safepoint(self);
  for (int i = 0; i < 300; i++) /* nor where an allocation looks; and the call is kept */
    (void)tarn_alloc_atomic(self, 4096);
  assert_int_equal(collections_of(world), 0);
  tarn_gc_release(self);
  assert_int_equal(collections_of(world), 1);
  tarn_collect_disable(world);
  adjust(world, 40 * MIB);
  tarn_safepoint(self);
  assert_int_equal(self->tarn_poll, 0); /* nobody is called for nothing */
  assert_int_equal(collections_of(world), 1);
  assert_int_equal(tarn_collect_enable(world), TARN_OK);
  adjust(world, 1);
  tarn_safepoint(self);
  assert_int_equal(collections_of(world), 2);
  end(world, self);

  world = world_with("min-heap=16M,collect=off");
  self = support_attach(world);
  adjust(world, 100 * MIB);
  tarn_safepoint(self);
  assert_int_equal(collections_of(world), 0);
  end(world, self);
}

static void a_call_that_came_to_nothing_is_not_the_last(void **state) {
  (void)state;
  tarn_world *world = world_with("min-heap=16M");
  tarn_thread *self = support_attach(world);
  adjust(world, 20 * MIB);
  adjust(world, -(ptrdiff_t)(20 * MIB));
  tarn_safepoint(self);
  assert_int_equal(collections_of(world), 0);
  adjust(world, 20 * MIB);
  tarn_safepoint(self);
  assert_int_equal(collections_of(world), 1);
  end(world, self);
}

static void what_comes_and_goes_between_collections_is_no_growth(void **state) {
  (void)state;
  tarn_world *world = world_with("min-heap=16M");
  tarn_thread *self = support_attach(world);
  for (int i = 0; i < 1000; i++) {
    adjust(world, 10 * MIB);
    tarn_safepoint(self);
    adjust(world, -(ptrdiff_t)(10 * MIB));
  }
  assert_int_equal(collections_of(world), 0);
  end(world, self);
}

static void live_external_bytes_count_as_live(void **state) {
  (void)state;
  tarn_world *world = world_with("min-heap=1M,growth=100");
  tarn_thread *self = support_attach(world);
  adjust(world, 100 * MIB);
  collect(self);
  adjust(world, 99 * MIB);
  tarn_safepoint(self);
  assert_int_equal(collections_of(world), 1);
  adjust(world, 2 * MIB);
  tarn_safepoint(self);
  assert_int_equal(collections_of(world), 2);
  /* When they go, what they kept off comes. */
  adjust(world, -(ptrdiff_t)(200 * MIB));
  adjust(world, 3 * MIB);
  tarn_safepoint(self);
  assert_int_equal(collections_of(world), 3);
  end(world, self);
}

static void note_cause(tarn_world *world, const tarn_collection *collection, void *data) {
  (void)world;
  *(tarn_cause *)data = collection->cause;
}

static void nothing(tarn_world *world, void *object) { (void)world, (void)object; }

/* More lives when what was pending is over than the last collection reckoned with; and there are no
 * young collections here that the next one could be one of. */
static void without_generations_no_cause_is_young(void **state) {
  tarn_world *world = world_with("min-heap=1M");
  tarn_thread *self = support_attach(world);
  const tarn_type *type = support_type(world, "wrapper", 64, 0, nothing);
  tarn_events events = TARN_EVENTS_INIT;
  tarn_cause cause = TARN_CAUSE_NONE;
  uint64_t id;
  (void)state;
  events.collection_ends = note_cause;
  assert_int_equal(tarn_world_add_listener(world, &events, &cause, &id), TARN_OK);
  assert_non_null(tarn_new(self, type));
  adjust(world, 64 * MIB);
  collect(self); /* runs the function of the dead one, too */
  assert_int_equal(cause, TARN_CAUSE_ASKED);
  for (unsigned i = 0; collections_of(world) == 1; i++) {
    assert_true(i < 100000);
    assert_non_null(tarn_alloc_atomic(self, 1000));
  }
  assert_int_equal(cause, TARN_CAUSE_ALLOCATION);
  assert_int_equal(tarn_world_remove_listener(world, id), TARN_OK);
  end(world, self);
}

static void external_bytes_count_for_the_soft_limit_and_not_for_the_hard_one(void **state) {
  (void)state;
  tarn_world *world = world_with("min-heap=1M,growth=1000,soft-limit=64M,hard-limit=64M");
  tarn_thread *self = support_attach(world);
  adjust(world, 60 * MIB);
  (void)usleep(50000); /* not faster than collections can follow */
  collect(self);
  adjust(world, 10 * MIB); /* without the limit 600 */
  tarn_safepoint(self);
  assert_int_equal(collections_of(world), 2);
  adjust(world, 500 * MIB);
  assert_non_null(tarn_alloc_atomic(self, 60 * MIB));
  assert_int_equal(tarn_thread_status(self), TARN_OK);
  end(world, self);
}

/* Four wrappers of a mebibyte live at a time; most die when a young collection has passed them by.
 * The least that there may be is what lives, and the 16 MiB of min-heap. */
static uint64_t most_external(unsigned flags) {
  tarn_world *world = world_as("", flags);
  tarn_thread *self = support_attach(world);
  const tarn_type *type = wrapper_type(world, sizeof(struct wrapper));
  struct wrapper *live[4] = {NULL};
  uint64_t most = 0;
  {
    TARN_FRAME(self, &live[0], &live[1], &live[2], &live[3]);
    for (size_t i = 0; i < 2000; i++) {
      live[i % 4] = wrap(self, type, MIB);
      if (external_of(world) > most)
        most = external_of(world);
      tarn_safepoint(self);
    }
  }
  end(world, self);
  return most;
}

static void external_bytes_of_the_dead_do_not_put_off_full_collections(void **state) {
  (void)state;
  assert_in_range(most_external(0), 4 * MIB, 40 * MIB);
  assert_in_range(most_external(TARN_OPTIONS_BARRIERS), 4 * MIB, 64 * MIB); /* two generations */
}

static void their_number_stays_between_none_and_the_most(void **state) {
  (void)state;
  tarn_world *world = world_with("collect=off");
  tarn_thread *self = support_attach(world);
  assert_int_equal(tarn_external_adjust(NULL, 1), TARN_EINVAL);
  adjust(world, 0);
  adjust(world, 100);
  assert_int_equal(external_of(world), 100);
  assert_int_equal(tarn_external_adjust(world, -101), TARN_EUNBALANCED);
  assert_int_equal(external_of(world), 0);
  assert_int_equal(tarn_external_adjust(world, PTRDIFF_MIN), TARN_EUNBALANCED);
  assert_int_equal(external_of(world), 0);
  adjust(world, (ptrdiff_t)1 << 60);
  assert_int_equal(tarn_external_adjust(world, 1), TARN_EOVERFLOW);
  assert_int_equal(external_of(world), (uint64_t)1 << 60);
  assert_int_equal(tarn_external_adjust(world, PTRDIFF_MAX), TARN_EOVERFLOW);
  collect(self); /* nothing of it is too much for the trigger */
  assert_int_equal(collections_of(world), 1);
  adjust(world, -((ptrdiff_t)1 << 60));
  assert_int_equal(external_of(world), 0);
  end(world, self);
}

#if defined(TARN_CHECKING) && TARN_CHECKING
static void take_off_too_much(void *data) { (void)tarn_external_adjust(data, -7); }

static void checking_builds_report_what_is_impossible(void **state) {
  char text[256];
  (void)state;
  tarn_world *world = world_with("");
  adjust(world, 5);
  int status = support_child(take_off_too_much, world, text, sizeof text);
  assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  assert_string_equal(text, "tarn: tarn_external_adjust: -7 bytes more, where there are 5\n");
  support_end(world);
}
#endif

/* --- the soft limit ------------------------------------------------------------------------------
 */

struct node {
  const tarn_type *type;
  struct node *next;
};

/* A list of about so many bytes. */
static struct node *list_of(tarn_thread *self, const tarn_type *type, size_t bytes) {
  struct node *list = NULL;
  TARN_FRAME(self, &list);
  for (size_t i = 0; i < bytes / 16; i++) {
    struct node *node = tarn_new(self, type);
    assert_non_null(node);
    node->next = list;
    list = node;
  }
  return list;
}

struct told {
  tarn_world *world;
  size_t calls, limit, in_use, answer;
};
static size_t note_limit(tarn_world *world, size_t limit, size_t in_use, void *data) {
  struct told *told = data;
  if (world != told->world)
    abort();
  told->calls++;
  told->limit = limit;
  told->in_use = in_use;
  return told->answer;
}

/* 6 MiB live, three times the limit, and 100 MiB of garbage. */
static void make_garbage_above(const char *options, size_t answer, struct told *told,
                               tarn_stats *stats) {
  tarn_world *world = world_with(options);
  tarn_thread *self = support_attach(world);
  const tarn_type *type = support_type(world, "node", 16, 2, NULL);
  *told = (struct told){.world = world, .answer = answer};
  tarn_collect_disable(world);
  struct node *list = list_of(self, type, 6 * MIB);
  assert_int_equal(tarn_collect_enable(world), TARN_OK);
  assert_int_equal(tarn_world_set_near_limit(world, note_limit, told), TARN_OK);
  {
    TARN_FRAME(self, &list);
    collect(self);
    for (size_t i = 0; i < 100 * KIB; i++)
      assert_non_null(tarn_alloc_atomic(self, 1024));
  }
  *stats = support_stats(world);
  end(world, self);
}

static void the_soft_limit_costs_no_more_than_its_share(void **state) {
  struct told told;
  tarn_stats eager, lazy, most;
  (void)state;
  make_garbage_above("min-heap=1M,soft-limit=2M,soft-share=99", 0, &told, &eager);
  make_garbage_above("min-heap=1M,soft-limit=2M,soft-share=1", 0, &told, &lazy);
  /* As often as `growth` says; where allocation is slow, as under sanitizers, the other one is not
   * free of its share either. */
  assert_true(lazy.collections <= 20);
  assert_true(eager.collections >= lazy.collections * 3 / 2);
  /* It was told once, with what lives. */
  assert_int_equal(lazy.soft_limit_given_up, 1);
  assert_int_equal(told.calls, 1);
  assert_int_equal(told.limit, 2 * MIB);
  assert_in_range(told.in_use, 6 * MIB, 8 * MIB);
  /* And a limit never makes collections come later than without one. */
  make_garbage_above("min-heap=1M", 0, &told, &most);
  assert_true(lazy.collections >= most.collections);
  assert_int_equal(most.soft_limit_given_up, 0);
  assert_int_equal(told.calls, 0);
}

static void the_callback_may_raise_the_soft_limit(void **state) {
  struct told told;
  tarn_stats stats;
  (void)state;
  make_garbage_above("min-heap=1M,soft-limit=2M,soft-share=1", 4096 * MIB, &told, &stats);
  assert_int_equal(told.calls, 1);
  assert_int_equal(stats.soft_limit_given_up, 1);
  assert_true(stats.collections <= 30); /* 16 of them for growth */
}

static void give_up_the_soft_limit(void *data) {
  struct told told;
  tarn_stats stats;
  (void)data;
  make_garbage_above("min-heap=1M,soft-limit=2M,soft-share=1,log=gc", 0, &told, &stats);
}

static void giving_it_up_is_logged_once(void **state) {
  static char text[1 << 20];
  (void)state;
  assert_int_equal(support_child(give_up_the_soft_limit, NULL, text, sizeof text), 0);
  const char *line = strstr(text, "tarn: gc-soft-limit ");
  assert_non_null(line);
  assert_non_null(strstr(line, " limit=2.0M share=1% live="));
  assert_null(strstr(line + 1, "tarn: gc-soft-limit "));
}

/* --- the hard limit ------------------------------------------------------------------------------
 */

static struct node *fill(tarn_thread *self, const tarn_type *type) {
  struct node *list = NULL, *node;
  TARN_FRAME(self, &list);
  while ((node = tarn_new(self, type))) {
    node->next = list;
    list = node;
  }
  assert_int_equal(tarn_thread_status(self), TARN_ELIMIT);
  return list;
}

static void fail_to_allocate(tarn_thread *self, size_t size) {
  assert_null(tarn_alloc_atomic(self, size));
  assert_int_equal(tarn_thread_status(self), TARN_ELIMIT);
}

/*
 * Four collections come at once; then one more after one, two, four, eight times, and each further
 * one after sixteen times as long as the one before took.
 */
static void expect_little_collecting(tarn_thread *self, size_t size) {
  tarn_world *world = tarn_thread_world(self);
  while (support_stats(world).hard_limit_collections < 8)
    fail_to_allocate(self, size);
  tarn_stats before = support_stats(world);
  double began = seconds();
  while (seconds() < began + 0.3)
    fail_to_allocate(self, size);
  double took = seconds() - began;
  tarn_stats after = support_stats(world);
  double paused = (double)(after.pause_total_ns - before.pause_total_ns) / 1e9;
  /* The last one, and one that was held up when it was done, are not paid for yet. */
  assert_true(paused <= took / 8 + 2 * (double)after.pause_max_ns / 1e9);
  uint64_t collections = after.hard_limit_collections - before.hard_limit_collections;
  assert_true(after.hard_limit_refusals >= before.hard_limit_refusals + collections);
}

static void a_full_heap_fails_soon_and_cheaply(void **state) {
  (void)state;
  tarn_world *world = world_with("hard-limit=8M,min-heap=1G");
  tarn_thread *self = support_attach(world);
  const tarn_type *type = support_type(world, "node", 16, 2, NULL);
  struct node *list = fill(self, type);
  {
    TARN_FRAME(self, &list);
    expect_little_collecting(self, 16);
    assert_true(support_stats(world).heap_bytes_max <= 8 * MIB);
    /* It is whole, and other calls work. */
    size_t length = 0;
    for (struct node *node = list; node; node = node->next)
      length++;
    assert_true(length > 400000);
    support_verify(self);
  }
  end(world, self);
}

/* However long it had failed: the first allocation after a few pauses goes on. */
static void it_goes_on_when_its_data_are_dropped(void **state) {
  (void)state;
  tarn_world *world = world_with("hard-limit=8M,min-heap=1G");
  tarn_thread *self = support_attach(world);
  const tarn_type *type = support_type(world, "node", 16, 2, NULL);
  for (int round = 0; round < 3; round++) {
    struct node *list = fill(self, type);
    {
      TARN_FRAME(self, &list);
      /* In the first round it goes on at once. */
      for (double until = seconds() + 0.3 * round; seconds() < until;)
        assert_null(tarn_new(self, type));
      (void)tarn_thread_status(self);
    }
    list = NULL;
    uint64_t before = support_stats(world).hard_limit_collections;
    double began = seconds();
    size_t failed = 0;
    while (!tarn_new(self, type)) {
      failed++;
      assert_true(seconds() - began < (SUPPORT_SANITIZED ? 20 : 5));
    }
    if (round == 0)
      assert_int_equal(failed, 0);
    assert_int_equal(support_stats(world).hard_limit_collections, before + 1);
    /* And it is as if nothing had been. */
    assert_int_equal(atomic_load(&world->collector->pace.futile), 0);
    (void)tarn_thread_status(self);
  }
  end(world, self);
}

static void tarn_collect_ends_the_failing(void **state) {
  (void)state;
  tarn_world *world = world_with("hard-limit=8M,min-heap=1G");
  tarn_thread *self = support_attach(world);
  const tarn_type *type = support_type(world, "node", 16, 2, NULL);
  struct node *list = fill(self, type);
  {
    TARN_FRAME(self, &list);
    for (double until = seconds() + 0.2; seconds() < until;)
      assert_null(tarn_new(self, type));
  }
  list = NULL;
  collect(self);
  for (int i = 0; i < 500000; i++) /* more than once around */
    assert_non_null(tarn_new(self, type));
  end(world, self);
}

/* A heap with room, and a request that never fits. */
static void what_never_fits_does_not_collect_each_time(void **state) {
  (void)state;
  tarn_world *world = world_with("hard-limit=16M,min-heap=1G");
  tarn_thread *self = support_attach(world);
  void *kept = tarn_alloc_atomic(self, 4 * MIB);
  assert_int_equal(tarn_root_add(world, &kept), TARN_OK);
  expect_little_collecting(self, 14 * MIB);
  /* What does fit is had all the while. */
  assert_non_null(tarn_alloc_atomic(self, 4 * MIB));
  end(world, self);
}

static size_t raise_it(tarn_world *world, size_t limit, size_t in_use, void *data) {
  (void)world, (void)in_use, (void)data;
  return limit * 4;
}

static void what_is_larger_than_the_limit_collects_only_if_that_may_be_raised(void **state) {
  (void)state;
  tarn_world *world = world_with("hard-limit=8M,min-heap=1G,near-limit=1");
  tarn_thread *self = support_attach(world);
  void *kept = tarn_alloc_atomic(self, 1 * MIB);
  assert_int_equal(tarn_root_add(world, &kept), TARN_OK);
  for (int i = 0; i < 100; i++)
    fail_to_allocate(self, 9 * MIB);
  assert_int_equal(collections_of(world), 0);
  assert_int_equal(tarn_world_set_near_limit(world, raise_it, NULL), TARN_OK);
  assert_non_null(tarn_alloc_atomic(self, 9 * MIB));
  assert_int_equal(collections_of(world), 1);
  end(world, self);
}

/* What is dead but waits for its `free` function is yield: the program has only to poll. */
static void a_heap_full_of_dead_resources_goes_on(void **state) {
  (void)state;
  tarn_world *world = world_with("hard-limit=4M,min-heap=1G");
  tarn_thread *self = support_attach(world);
  const tarn_type *type = wrapper_type(world, 256);
  for (int i = 0; i < 200000; i++) {
    if (tarn_new(self, type))
      continue;
    assert_int_equal(tarn_thread_status(self), TARN_ELIMIT);
    tarn_safepoint(self);
  }
  tarn_stats stats = support_stats(world);
  assert_int_equal(stats.hard_limit_refusals, 0);
  assert_true(stats.released >= 150000);
  assert_int_equal(atomic_load(&world->collector->pace.futile) < 4, 1);
  end(world, self);
}

static void fail_at_the_limit(void *data) {
  (void)data;
  tarn_world *world = NULL;
  tarn_thread *self = NULL;
  tarn_options options = TARN_OPTIONS_INIT;
  options.set = "hard-limit=4M,min-heap=1G,log=gc" OFF_ZEAL;
  CHILD_CHECK(tarn_world_create(&options, &world) == TARN_OK);
  CHILD_CHECK(tarn_thread_attach(world, &self) == TARN_OK);
  struct node *list = NULL, *node;
  const tarn_type *type = support_type(world, "node", 16, 2, NULL);
  TARN_FRAME(self, &list);
  for (int failed = 0; failed < 1000;) {
    if (!(node = tarn_new(self, type))) {
      failed++;
      continue;
    }
    node->next = list;
    list = node;
  }
}

static void failing_without_collections_is_logged_once(void **state) {
  static char text[1 << 20];
  (void)state;
  assert_int_equal(support_child(fail_at_the_limit, NULL, text, sizeof text), 0);
  const char *line = strstr(text, "tarn: gc-hard-limit ");
  assert_non_null(line);
  assert_null(strstr(line + 1, "tarn: gc-hard-limit "));
}

struct full {
  tarn_world *world;
  const tarn_type *type;
  atomic_int stage;
  atomic_uint going_on;
};

/* Fills what it can, fails a while with the others, drops its data, and goes on. */
static void *fill_and_go_on(void *data) {
  struct full *full = data;
  tarn_thread *self = NULL;
  if (tarn_thread_attach(full->world, &self) != TARN_OK)
    abort();
  struct node *list = NULL, *node;
  {
    TARN_FRAME(self, &list);
    unsigned failed = 0;
    while (atomic_load(&full->stage) == 0 || failed < 1000) {
      node = tarn_new(self, full->type);
      if (node) {
        node->next = list;
        list = node;
      } else {
        failed++;
      }
    }
  }
  list = NULL;
  for (double until = seconds() + (SUPPORT_SANITIZED ? 30 : 10); seconds() < until;) {
    if (tarn_new(self, full->type)) {
      (void)atomic_fetch_add(&full->going_on, 1);
      break;
    }
    tarn_safepoint(self);
  }
  (void)tarn_thread_detach(self);
  return NULL;
}

static void threads_fail_together_and_go_on_together(void **state) {
  (void)state;
  struct full full = {.world = world_with("hard-limit=8M,min-heap=1G")};
  full.type = support_type(full.world, "node", 16, 2, NULL);
  tarn_thread *self = support_attach(full.world);
  pthread_t threads[4];
  for (int i = 0; i < 4; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, fill_and_go_on, &full), 0);
  tarn_block_begin(self);
  (void)usleep(300000);
  atomic_store(&full.stage, 1);
  for (int i = 0; i < 4; i++)
    assert_int_equal(pthread_join(threads[i], NULL), 0);
  tarn_block_end(self);
  assert_int_equal(full.going_on, 4);
  end(full.world, self);
}

int main(int count, char **arguments) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(many_small_wrappers_of_much_are_collected_in_time),
    cmocka_unit_test(wrappers_of_many_threads_are_counted_exactly),
    cmocka_unit_test(what_is_pending_starts_no_collections),
    cmocka_unit_test(a_due_collection_comes_at_the_next_safepoint),
    cmocka_unit_test(holds_and_switches_are_obeyed),
    cmocka_unit_test(a_call_that_came_to_nothing_is_not_the_last),
    cmocka_unit_test(what_comes_and_goes_between_collections_is_no_growth),
    cmocka_unit_test(live_external_bytes_count_as_live),
    cmocka_unit_test(without_generations_no_cause_is_young),
    cmocka_unit_test(external_bytes_count_for_the_soft_limit_and_not_for_the_hard_one),
    cmocka_unit_test(external_bytes_of_the_dead_do_not_put_off_full_collections),
    cmocka_unit_test(their_number_stays_between_none_and_the_most),
#if defined(TARN_CHECKING) && TARN_CHECKING
    cmocka_unit_test(checking_builds_report_what_is_impossible),
#endif
    cmocka_unit_test(the_soft_limit_costs_no_more_than_its_share),
    cmocka_unit_test(the_callback_may_raise_the_soft_limit),
    cmocka_unit_test(giving_it_up_is_logged_once),
    cmocka_unit_test(a_full_heap_fails_soon_and_cheaply),
    cmocka_unit_test(it_goes_on_when_its_data_are_dropped),
    cmocka_unit_test(tarn_collect_ends_the_failing),
    cmocka_unit_test(what_never_fits_does_not_collect_each_time),
    cmocka_unit_test(what_is_larger_than_the_limit_collects_only_if_that_may_be_raised),
    cmocka_unit_test(a_heap_full_of_dead_resources_goes_on),
    cmocka_unit_test(failing_without_collections_is_logged_once),
    cmocka_unit_test(threads_fail_together_and_go_on_together),
  };
  if (count > 1)
    cmocka_set_test_filter(arguments[1]);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
