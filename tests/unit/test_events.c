/* SPDX-License-Identifier: MIT */
/*
 * Listeners (tarn/events.h): each beginning has its end, on the same thread, once; what they are
 * given is right; causes are those that were provoked; and what removing promises holds.
 */
#include "support.h"

#include "heap/told.h"
#include "os/os.h"
#include "world/world.h"
#include <errno.h>
#include <stdatomic.h>

/* --- a listener that notes everything -------------------------------------------------------- */

struct notes {
  _Atomic unsigned stops, stop_ends, collections, ends, grew, shrank, attached, detached, died,
      near;
  _Atomic unsigned inside;                 /* collections that began and did not end */
  _Atomic unsigned wrong;                  /* something was not as it should be */
  _Atomic unsigned causes[TARN_CAUSES];    /* of ends */
  _Atomic uint64_t last_stop, last_number; /* of beginnings */
  tarn_collection last;                    /* by the thread that collected */
  tarn_collection begun;
  tarn_thread_info thread;
  tarn_heap_change change;
  size_t limit, in_use;
  pthread_t collecting; /* the thread of the last beginning */
  void (*at_end)(struct notes *notes, tarn_world *world);
};

static void expect(struct notes *notes, bool condition) {
  if (!condition)
    atomic_fetch_add(&notes->wrong, 1);
}

static void stop_begins(tarn_world *world, const tarn_stop_info *stop, void *data) {
  struct notes *notes = data;
  (void)world;
  expect(notes, stop->struct_size == sizeof *stop && stop->ended_at_ns == 0);
  expect(notes, stop->asked_at_ns <= stop->stood_at_ns && stop->number > notes->last_stop);
  notes->last_stop = stop->number;
  notes->stops++;
  expect(notes, notes->stops == notes->stop_ends + 1 || notes->stops > notes->stop_ends);
}

static void stop_ends(tarn_world *world, const tarn_stop_info *stop, void *data) {
  struct notes *notes = data;
  (void)world;
  expect(notes, stop->stood_at_ns <= stop->ended_at_ns);
  notes->stop_ends++;
}

static void collection_begins(tarn_world *world, const tarn_collection *collection, void *data) {
  struct notes *notes = data;
  (void)world;
  expect(notes, collection->struct_size == sizeof *collection && collection->pause_ns == 0);
  notes->begun = *collection;
  notes->last_number = collection->number;
  notes->collecting = pthread_self();
  notes->collections++;
  notes->inside++;
}

static void collection_ends(tarn_world *world, const tarn_collection *collection, void *data) {
  struct notes *notes = data;
  uint64_t sum = collection->stop_ns + collection->prepare_ns + collection->roots_ns +
                 collection->mark_ns + collection->weak_ns + collection->census_ns +
                 collection->rest_ns;
  expect(notes, sum == collection->pause_ns && sum > 0);
  expect(notes, (unsigned)collection->cause < TARN_CAUSES);
  notes->last = *collection;
  notes->causes[collection->cause]++;
  notes->ends++;
  notes->inside--;
  if (notes->at_end)
    notes->at_end(notes, world);
}

static void heap_grows(tarn_world *world, const tarn_heap_change *change, void *data) {
  struct notes *notes = data;
  (void)world;
  notes->change = *change;
  notes->grew++;
}
static void heap_shrinks(tarn_world *world, const tarn_heap_change *change, void *data) {
  struct notes *notes = data;
  (void)world;
  notes->change = *change;
  notes->shrank++;
}

static void thread_attaches(tarn_world *world, const tarn_thread_info *thread, void *data) {
  struct notes *notes = data;
  expect(notes, tarn_thread_self(world) != NULL && thread->id == tarn_os_thread_id());
  notes->thread = *thread;
  notes->attached++;
}
static void thread_detaches(tarn_world *world, const tarn_thread_info *thread, void *data) {
  struct notes *notes = data;
  expect(notes, tarn_thread_self(world) == NULL && thread->id == tarn_os_thread_id());
  notes->detached++;
  notes->died += thread->died;
}

static void near_limit(tarn_world *world, size_t limit, size_t in_use, void *data) {
  struct notes *notes = data;
  (void)world;
  notes->limit = limit;
  notes->in_use = in_use;
  notes->near++;
}

static const tarn_events everything = {
    sizeof(tarn_events), stop_begins,  stop_ends,       collection_begins, collection_ends,
    heap_grows,          heap_shrinks, thread_attaches, thread_detaches,   near_limit};

static uint64_t add(tarn_world *world, const tarn_events *events, struct notes *notes) {
  uint64_t id = 0;
  assert_int_equal(tarn_world_add_listener(world, events, notes, &id), TARN_OK);
  assert_int_not_equal(id, 0);
  return id;
}

#define QUIET "collect=0,purger=0,sweeper=0,markers=1"

/* --- what is told ---------------------------------------------------------------------------- */

static void beginnings_have_ends(void **state) {
  static struct notes notes;
  (void)state;
  memset(&notes, 0, sizeof notes);
  tarn_world *world = support_world(QUIET);
  uint64_t id = add(world, &everything, &notes);
  tarn_thread *self = support_attach(world);
  assert_int_equal(notes.attached, 1);
  assert_int_equal(tarn_thread_set_name(self, "called so"), TARN_OK);
  for (unsigned i = 1; i <= 3; i++) {
    assert_non_null(tarn_alloc_atomic(self, 100000));
    assert_int_equal(tarn_collect(self, 2), TARN_OK);
    assert_int_equal(notes.stops, i);
    assert_int_equal(notes.stop_ends, i);
    assert_int_equal(notes.collections, i);
    assert_int_equal(notes.ends, i);
    assert_int_equal(notes.last.number, i);
    assert_int_equal(notes.begun.number, i);
    assert_int_equal(notes.last.cause, TARN_CAUSE_ASKED);
    assert_true(notes.last.heap_before >= 100000 && notes.last.heap_after < 100000);
  }
  support_verify(self); /* a stop without a collection */
  assert_int_equal(notes.stops, 4);
  assert_int_equal(notes.stop_ends, 4);
  assert_int_equal(notes.ends, 3);
  assert_int_equal(notes.last_stop, support_stats(world).stops);
  assert_true(notes.grew > 0 && notes.change.bytes > 0);
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  assert_int_equal(notes.detached, 1);
  assert_int_equal(notes.died, 0);
  assert_int_equal(notes.wrong, 0);
  assert_int_equal(tarn_world_remove_listener(world, id), TARN_OK);
  self = support_attach(world);
  assert_int_equal(tarn_collect(self, 2), TARN_OK);
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  assert_int_equal(notes.ends, 3);
  assert_int_equal(notes.attached, 1);
  assert_int_equal(world->store.watched, 0); /* nobody pays any more */
  support_end(world);
}

/* One that counts references, and tells of everything. */
static tarn_world *counting_world(struct notes *notes) {
  tarn_options options = TARN_OPTIONS_INIT;
  tarn_world *world;
  memset(notes, 0, sizeof *notes);
  options.set = QUIET;
  options.flags = TARN_OPTIONS_NO_ENVIRONMENT | TARN_OPTIONS_COUNTING;
  assert_int_equal(tarn_world_create(&options, &world), TARN_OK);
  (void)add(world, &everything, notes);
  return world;
}

static void collections_of_cycles_are_told_too(void **state) {
  static struct notes notes;
  (void)state;
  tarn_world *world = counting_world(&notes);
  tarn_thread *self = support_attach(world);
  assert_int_equal(tarn_collect_cycles(self, 2), TARN_OK);
  assert_int_equal(notes.collections, 1);
  assert_int_equal(notes.ends, 1);
  assert_true(notes.last.cycles && notes.begun.cycles && !notes.last.failed);
  assert_int_equal(notes.wrong, 0);
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  support_end(world);
}

/* Before any other of cycles: the first one in a process makes a table. */
static void the_collection_after_a_failed_one_has_its_number(void **state) {
  (void)state;
#if TARN_FAULTS
  static struct notes notes;
  tarn_world *world = counting_world(&notes);
  tarn_thread *self = support_attach(world);
  tarn_os_fault_kinds(TARN_FAULT_PAGES);
  tarn_status status = tarn_collect_cycles(self, 2);
  tarn_os_fault_kinds(0);
  assert_int_equal(status, TARN_ENOMEM);
  assert_true(notes.last.failed && notes.last.number == 1);
  assert_int_equal(tarn_collect_cycles(self, 2), TARN_OK);
  assert_true(!notes.last.failed && notes.last.number == 1);
  assert_int_equal(notes.ends, 2);
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  support_end(world);
#else
  support_skip("needs a build with TARN_FAULTS");
#endif
}

static void *attach_and_die(void *world) {
  tarn_thread *self;
  assert_int_equal(tarn_thread_attach(world, &self), TARN_OK);
  return NULL;
}

static void a_thread_that_dies_attached_is_told_of_as_such(void **state) {
  static struct notes notes;
  (void)state;
  memset(&notes, 0, sizeof notes);
  tarn_world *world = support_world(QUIET);
  (void)add(world, &everything, &notes);
  support_run(attach_and_die, world);
  assert_int_equal(notes.attached, 1);
  assert_int_equal(notes.detached, 1);
  assert_int_equal(notes.died, 1);
  assert_int_equal(notes.wrong, 0);
  support_end(world);
}

static void arenas_are_told_of_when_they_come_and_go(void **state) {
  static struct notes notes;
  (void)state;
  memset(&notes, 0, sizeof notes);
  tarn_world *world = support_world(QUIET ",purge-delay=0");
  (void)add(world, &everything, &notes);
  tarn_thread *self = support_attach(world);
  void *block = tarn_alloc_atomic(self, 64 * MIB);
  assert_non_null(block);
  size_t with = notes.change.arena_bytes;
  assert_true(notes.grew > 0 && with >= 64 * MIB && notes.change.bytes >= 64 * MIB);
  tarn_free(self, block);
  (void)tarn_trim(world, 0);
  assert_true(notes.shrank > 0 && notes.change.arena_bytes < with);
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  support_end(world);
}

static void a_limit_that_is_near_is_told_of(void **state) {
  static struct notes notes;
  (void)state;
  memset(&notes, 0, sizeof notes);
  tarn_world *world = support_world(QUIET ",hard-limit=16M,near-limit=50");
  (void)add(world, &everything, &notes);
  tarn_thread *self = support_attach(world);
  void *block = tarn_alloc_atomic(self, 12 * MIB);
  void *const slots[] = {&block};
  tarn_frame frame;
  tarn_frame_push(self, &frame, slots, 1);
  assert_int_equal(tarn_collect(self, 2), TARN_OK);
  assert_int_equal(notes.near, 1);
  assert_int_equal(notes.limit, 16 * MIB);
  assert_true(notes.in_use >= 12 * MIB && notes.in_use < 16 * MIB);
  tarn_frame_pop(self, &frame);
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  support_end(world);
}

/* --- causes ---------------------------------------------------------------------------------- */

struct cause_scene {
  const char *set;
  unsigned flags;
  void (*provoke)(tarn_world *world, tarn_thread *self);
  tarn_cause cause;
};

static void make_garbage(tarn_world *world, tarn_thread *self) {
  (void)world;
  for (unsigned i = 0; i < 40000; i++)
    (void)tarn_alloc_atomic(self, 1000);
}
static void be_external(tarn_world *world, tarn_thread *self) {
  assert_int_equal(tarn_external_adjust(world, (ptrdiff_t)(64 * MIB)), TARN_OK);
  tarn_safepoint(self);
}
static void ask(tarn_world *world, tarn_thread *self) {
  (void)world;
  assert_int_equal(tarn_collect(self, 0), TARN_OK);
}
static void be_idle(tarn_world *world, tarn_thread *self) {
  make_garbage(world, self);
  tarn_block_begin(self);
  for (unsigned i = 0; i < 1000 && support_stats(world).collections == 0; i++)
    (void)usleep(10000);
  tarn_block_end(self);
}

#if TARN_FAULTS
static void have_no_memory(tarn_world *world, tarn_thread *self) {
  (void)world;
  tarn_os_fault_kinds(TARN_FAULT_PAGES);
  for (unsigned i = 0; i < 100; i++)
    (void)tarn_alloc_atomic(self, 1 * MIB);
  tarn_os_fault_kinds(0);
}
#endif

static void check_cause(const struct cause_scene *scene) {
  static struct notes notes;
  tarn_options options = TARN_OPTIONS_INIT;
  tarn_world *world;
  char set[128];
  memset(&notes, 0, sizeof notes);
  /* In zeal builds nearly all would be zeal's. */
  snprintf(set, sizeof set, "%s%s", scene->set,
           SUPPORT_ZEAL && scene->cause != TARN_CAUSE_ZEAL ? ",zeal=1000000000" : "");
  options.set = set;
  options.flags = TARN_OPTIONS_NO_ENVIRONMENT | scene->flags;
  assert_int_equal(tarn_world_create(&options, &world), TARN_OK);
  tarn_thread *self = support_attach(world);
  (void)add(world, &everything, &notes);
  scene->provoke(world, self);
  /* The sweeper tells of an idle collection after its stop. */
  for (unsigned i = 0; i < 500 && notes.inside != 0; i++)
    (void)usleep(10000);
  if (notes.causes[scene->cause] == 0)
    print_error("no collection with cause %s\n", tarn_cause_name(scene->cause));
  assert_true(notes.causes[scene->cause] > 0);
  for (unsigned i = 0; i < TARN_CAUSES; i++)
    if (i != scene->cause)
      assert_int_equal(notes.causes[i], 0);
  assert_int_equal(notes.collections, notes.ends);
  assert_int_equal(notes.wrong, 0);
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  support_end(world);
}

static void causes_are_those_that_were_provoked(void **state) {
  static const struct cause_scene scenes[] = {
    {QUIET, 0, ask, TARN_CAUSE_ASKED},
    {"sweeper=0,min-heap=4M", 0, make_garbage, TARN_CAUSE_ALLOCATION},
    {"sweeper=0,min-heap=4M", 0, be_external, TARN_CAUSE_EXTERNAL},
    {"sweeper=0,min-heap=16G,young=1M", TARN_OPTIONS_BARRIERS, make_garbage, TARN_CAUSE_YOUNG},
    {"sweeper=0,min-heap=16G,soft-limit=8M", 0, make_garbage, TARN_CAUSE_SOFT_LIMIT},
    {"sweeper=0,min-heap=16G,hard-limit=8M", 0, make_garbage, TARN_CAUSE_HARD_LIMIT},
    {"min-heap=16G,idle-collect=100ms", 0, be_idle, TARN_CAUSE_IDLE},
#if TARN_FAULTS
    {"sweeper=0,min-heap=16G", 0, have_no_memory, TARN_CAUSE_NO_MEMORY},
#endif
#if TARN_ZEAL
    {"sweeper=0,min-heap=16G,zeal=100", 0, make_garbage, TARN_CAUSE_ZEAL},
#endif
  };
  (void)state;
  for (size_t i = 0; i < sizeof scenes / sizeof scenes[0]; i++)
    check_cause(&scenes[i]);
}

static void each_cause_has_a_name_of_its_own(void **state) {
  (void)state;
  for (int i = 0; i < TARN_CAUSES; i++)
    for (int j = 0; j < i; j++)
      assert_string_not_equal(tarn_cause_name((tarn_cause)i), tarn_cause_name((tarn_cause)j));
  assert_string_equal(tarn_cause_name((tarn_cause)TARN_CAUSES), "none");
  assert_string_equal(tarn_cause_name((tarn_cause)-1), "none");
}

/* --- adding and removing --------------------------------------------------------------------- */

static void wrong_arguments_are_refused(void **state) {
  static struct notes notes;
  tarn_events events = TARN_EVENTS_INIT;
  uint64_t id, ids[TARN_LISTENERS_MOST];
  (void)state;
  memset(&notes, 0, sizeof notes);
  tarn_world *world = support_world(QUIET);
  assert_int_equal(tarn_world_add_listener(NULL, &everything, &notes, &id), TARN_EINVAL);
  assert_int_equal(tarn_world_add_listener(world, NULL, &notes, &id), TARN_EINVAL);
  assert_int_equal(tarn_world_add_listener(world, &everything, &notes, NULL), TARN_EINVAL);
  assert_int_equal(tarn_world_add_listener(world, &events, &notes, &id), TARN_EINVAL);
  events.stop_ends = stop_ends;
  events.struct_size = 8;
  assert_int_equal(tarn_world_add_listener(world, &events, &notes, &id), TARN_EINVAL);
  events.struct_size = offsetof(tarn_events, stop_ends); /* it does not know of that one */
  assert_int_equal(tarn_world_add_listener(world, &events, &notes, &id), TARN_EINVAL);
  events.struct_size = offsetof(tarn_events, stop_ends) + 4; /* nor of half of it */
  assert_int_equal(tarn_world_add_listener(world, &events, &notes, &id), TARN_EINVAL);
  assert_int_equal(tarn_world_remove_listener(NULL, 1), TARN_EINVAL);
  assert_int_equal(tarn_world_remove_listener(world, 0), TARN_ENOTFOUND);
  assert_int_equal(tarn_world_remove_listener(world, 1), TARN_ENOTFOUND);
  for (unsigned i = 0; i < TARN_LISTENERS_MOST; i++)
    ids[i] = add(world, &everything, &notes);
  assert_int_equal(tarn_world_add_listener(world, &everything, &notes, &id), TARN_EBUSY);
  assert_int_equal(tarn_world_remove_listener(world, ids[3]), TARN_OK);
  assert_int_equal(tarn_world_remove_listener(world, ids[3]), TARN_ENOTFOUND);
  id = add(world, &everything, &notes);
  assert_true(id > ids[TARN_LISTENERS_MOST - 1]); /* ids are not used again */
  tarn_thread *self = support_attach(world);
  assert_int_equal(notes.attached, TARN_LISTENERS_MOST);
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  support_end(world);
}

static struct notes late;
static uint64_t late_id;

static void add_late(tarn_world *world, const tarn_collection *collection, void *data) {
  (void)collection, (void)data;
  late_id = 0;
  expect(&late, tarn_world_add_listener(world, &everything, &late, &late_id) == TARN_OK);
}

static void no_end_is_told_without_its_beginning(void **state) {
  static struct notes notes;
  tarn_events events = TARN_EVENTS_INIT;
  (void)state;
  memset(&notes, 0, sizeof notes);
  memset(&late, 0, sizeof late);
  tarn_world *world = support_world(QUIET);
  tarn_thread *self = support_attach(world);
  /* Between beginning and end of a collection. It comes to a place that was used before, too. */
  uint64_t before = add(world, &everything, &notes);
  assert_int_equal(tarn_world_remove_listener(world, before), TARN_OK);
  events.collection_begins = NULL;
  events.stop_ends = NULL;
  events.collection_ends = add_late; /* the collection's own end is being told */
  uint64_t id = add(world, &events, NULL);
  assert_int_equal(tarn_collect(self, 2), TARN_OK);
  assert_int_equal(late.ends, 0);
  assert_int_equal(late.stop_ends, 0);
  assert_int_equal(tarn_world_remove_listener(world, id), TARN_OK);
  assert_int_equal(tarn_collect(self, 2), TARN_OK);
  assert_int_equal(late.collections, 1);
  assert_int_equal(late.ends, 1);
  assert_int_equal(late.stops, 1);
  assert_int_equal(late.stop_ends, 1);
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  assert_int_equal(late.attached, 0);
  assert_int_equal(late.detached, 0); /* it was there before the listener */
  assert_int_equal(late.wrong, 0);
  support_end(world);
}

static uint64_t own_id;

static void remove_itself(tarn_world *world, const tarn_stop_info *stop, void *data) {
  struct notes *notes = data;
  (void)stop;
  notes->stop_ends++;
  expect(notes, tarn_world_remove_listener(world, own_id) == TARN_OK);
}

static void a_listener_may_remove_itself(void **state) {
  static struct notes notes;
  tarn_events events = everything;
  (void)state;
  memset(&notes, 0, sizeof notes);
  tarn_world *world = support_world(QUIET);
  tarn_thread *self = support_attach(world);
  events.stop_ends = remove_itself; /* the stop ends before the collection does */
  own_id = add(world, &events, &notes);
  assert_int_equal(tarn_collect(self, 2), TARN_OK);
  assert_int_equal(tarn_collect(self, 2), TARN_OK);
  assert_int_equal(notes.stop_ends, 1);
  assert_int_equal(notes.collections, 1);
  assert_int_equal(notes.ends, 0);
  assert_int_equal(notes.wrong, 0);
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  support_end(world);
}

/* A function that takes its time, while another thread removes its listener. */
static _Atomic int slow; /* 1: in it; 2: let go; 3: it has returned */

static void be_slow(tarn_world *world, const tarn_collection *collection, void *data) {
  (void)world, (void)collection, (void)data;
  slow = 1;
  (void)usleep(50000);
  slow = 3;
}

static void *collect_once(void *world) {
  tarn_thread *self;
  assert_int_equal(tarn_thread_attach(world, &self), TARN_OK);
  assert_int_equal(tarn_collect(self, 2), TARN_OK);
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  return NULL;
}

static void removing_waits_for_what_runs(void **state) {
  tarn_events events = TARN_EVENTS_INIT;
  pthread_t other;
  (void)state;
  tarn_world *world = support_world(QUIET);
  tarn_thread *self = support_attach(world);
  events.collection_ends = be_slow;
  uint64_t id = add(world, &events, NULL);
  slow = 0;
  tarn_block_begin(self);
  assert_int_equal(pthread_create(&other, NULL, collect_once, world), 0);
  while (slow == 0)
    (void)usleep(100);
  tarn_block_end(self);
  assert_int_equal(tarn_world_remove_listener(world, id), TARN_OK);
  assert_int_equal(slow, 3);
  tarn_block_begin(self);
  assert_int_equal(pthread_join(other, NULL), 0);
  tarn_block_end(self);
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  support_end(world);
}

/* A listener may collect when a collection has ended; that one is told of inside. */
static void collect_again(struct notes *notes, tarn_world *world) {
  if (notes->ends == 1)
    expect(notes, tarn_collect(tarn_thread_self(world), 2) == TARN_OK);
}

static void a_listener_may_collect(void **state) {
  static struct notes notes;
  (void)state;
  memset(&notes, 0, sizeof notes);
  notes.at_end = collect_again;
  tarn_world *world = support_world(QUIET);
  tarn_thread *self = support_attach(world);
  (void)add(world, &everything, &notes);
  assert_int_equal(tarn_collect(self, 2), TARN_OK);
  assert_int_equal(notes.ends, 2);
  assert_int_equal(notes.collections, 2);
  assert_int_equal(notes.inside, 0);
  assert_int_equal(notes.wrong, 0);
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  support_end(world);
}

/* In a child, which forks. */
static void fork_with_a_listener(void *data) {
  static struct notes notes;
  tarn_world *world;
  uint64_t id;
  int status;
  (void)data;
  tarn_thread *self = support_child_begin(QUIET, &world);
  CHILD_CHECK(tarn_world_add_listener(world, &everything, &notes, &id) == TARN_OK);
  pid_t child = fork();
  CHILD_CHECK(child >= 0);
  CHILD_CHECK(notes.stops == 0 && notes.stop_ends == 0);
  CHILD_CHECK(tarn_collect(self, 2) == TARN_OK);
  CHILD_CHECK(notes.stops == 1 && notes.stop_ends == 1 && notes.ends == 1 && notes.wrong == 0);
  CHILD_CHECK(tarn_world_remove_listener(world, id) == TARN_OK);
  support_child_end(world, self);
  if (child != 0)
    CHILD_CHECK(waitpid(child, &status, 0) == child && status == 0);
}

static void a_child_of_a_fork_goes_on_with_the_listeners(void **state) {
  (void)state;
  support_good_child(fork_with_a_listener, NULL);
}

/* --- several threads ------------------------------------------------------------------------- */

struct pairs {
  _Atomic int64_t open[64]; /* by thread */
  _Atomic uint64_t begun, ended, wrong;
};

static _Atomic unsigned next_number;
static _Thread_local unsigned own_number;

static unsigned number_here(void) {
  if (own_number == 0)
    own_number = 1 + atomic_fetch_add(&next_number, 1) % 63;
  return own_number;
}

static void pair_begins(tarn_world *world, const tarn_collection *collection, void *data) {
  struct pairs *pairs = data;
  (void)world, (void)collection;
  pairs->open[number_here()]++;
  pairs->begun++;
}
static void pair_ends(tarn_world *world, const tarn_collection *collection, void *data) {
  struct pairs *pairs = data;
  (void)world, (void)collection;
  if (--pairs->open[number_here()] < 0) /* begun by another thread, or by none */
    pairs->wrong++;
  pairs->ended++;
}

static void *collect_often(void *world) {
  tarn_thread *self;
  assert_int_equal(tarn_thread_attach(world, &self), TARN_OK);
  for (unsigned i = 0; i < 200; i++)
    assert_int_equal(tarn_collect(self, 2), TARN_OK);
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  return NULL;
}

static void ends_come_on_the_thread_of_their_beginning(void **state) {
  static struct pairs pairs;
  tarn_events events = TARN_EVENTS_INIT;
  pthread_t threads[4];
  (void)state;
  memset(&pairs, 0, sizeof pairs);
  tarn_world *world = support_world(QUIET);
  events.collection_begins = pair_begins;
  events.collection_ends = pair_ends;
  uint64_t id;
  assert_int_equal(tarn_world_add_listener(world, &events, &pairs, &id), TARN_OK);
  for (unsigned i = 0; i < 4; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, collect_often, world), 0);
  for (unsigned i = 0; i < 4; i++)
    assert_int_equal(pthread_join(threads[i], NULL), 0);
  assert_int_equal(pairs.begun, support_stats(world).collections);
  assert_int_equal(pairs.ended, pairs.begun);
  assert_int_equal(pairs.wrong, 0);
  support_end(world);
}

/* --- when ------------------------------------------------------------------------------------ */

struct times {
  _Atomic uint64_t asked[4096], ended[4096]; /* by the stop's number */
};

static void note_begin(tarn_world *world, const tarn_stop_info *stop, void *data) {
  struct times *times = data;
  (void)world;
  if (stop->number < 4096)
    times->asked[stop->number] = stop->asked_at_ns;
}
static void note_end(tarn_world *world, const tarn_stop_info *stop, void *data) {
  struct times *times = data;
  (void)world;
  if (stop->number < 4096)
    times->ended[stop->number] = stop->ended_at_ns;
}

/* Threads that were waiting may run, and stop the world anew, before the end of a stop is told. */
static void a_stop_has_ended_when_the_next_one_is_asked_for(void **state) {
  static struct times times;
  tarn_events events = TARN_EVENTS_INIT;
  pthread_t threads[4];
  (void)state;
  tarn_world *world = support_world(QUIET);
  events.stop_begins = note_begin;
  events.stop_ends = note_end;
  assert_int_equal(tarn_world_add_listener(world, &events, &times, &(uint64_t){0}), TARN_OK);
  for (unsigned i = 0; i < 4; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, collect_often, world), 0);
  for (unsigned i = 0; i < 4; i++)
    assert_int_equal(pthread_join(threads[i], NULL), 0);
  unsigned pairs = 0, wrong = 0;
  for (unsigned i = 1; i < 4095; i++)
    if (times.asked[i] && times.asked[i + 1]) {
      pairs++;
      wrong += times.ended[i] > times.asked[i + 1];
    }
  assert_in_range(pairs, 200, 4096);
  assert_int_equal(wrong, 0);
  support_end(world);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(beginnings_have_ends),
      cmocka_unit_test(the_collection_after_a_failed_one_has_its_number),
      cmocka_unit_test(collections_of_cycles_are_told_too),
      cmocka_unit_test(a_thread_that_dies_attached_is_told_of_as_such),
      cmocka_unit_test(arenas_are_told_of_when_they_come_and_go),
      cmocka_unit_test(a_limit_that_is_near_is_told_of),
      cmocka_unit_test(causes_are_those_that_were_provoked),
      cmocka_unit_test(each_cause_has_a_name_of_its_own),
      cmocka_unit_test(wrong_arguments_are_refused),
      cmocka_unit_test(no_end_is_told_without_its_beginning),
      cmocka_unit_test(a_listener_may_remove_itself),
      cmocka_unit_test(removing_waits_for_what_runs),
      cmocka_unit_test(a_listener_may_collect),
      cmocka_unit_test(a_child_of_a_fork_goes_on_with_the_listeners),
      cmocka_unit_test(ends_come_on_the_thread_of_their_beginning),
      cmocka_unit_test(a_stop_has_ended_when_the_next_one_is_asked_for),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
