/* SPDX-License-Identifier: MIT */
/*
 * stress_events hunts what is told of a world wrongly, twice, or after it was given up: listeners
 * that come and go while threads collect, attach and die, with all log lines and a trace on.
 *
 * Each listener has memory of its own, which is freed as soon as it has been removed: a function
 * that were called later would meet that, and the sanitizers would see it.  What it is told it
 * counts without atomics where one thread at a time may tell it: between the beginning and the end
 * of a stop.  Ends come after their beginnings, on the same thread.  In the end a listener that was
 * there all the time knows as many stops and collections as the statistics.
 */
#include "common.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LEAST_ROUNDS 100u
#define TRACKS 64u /* of threads, by number */

struct listener {
  uint64_t in_stop; /* told while the world stands still: no two at a time */
  _Atomic uint64_t stops, stop_ends, collections, ends, attached, detached, grew;
  _Atomic int64_t open[TRACKS];
};

static tarn_world *world;
static struct listener always;
static char directory[64];
static _Thread_local unsigned own_track;
static _Atomic unsigned tracks;

/* Threads come and go, so several in turn may have one; never two at once, with so many. */
static unsigned track(void) {
  if (own_track == 0)
    own_track = 1 + atomic_fetch_add(&tracks, 1);
  return own_track % TRACKS;
}

static void stop_begins(tarn_world *of, const tarn_stop_info *stop, void *data) {
  struct listener *listener = data;
  STRESS_CHECK(of == world && stop->asked_at_ns <= stop->stood_at_ns);
  listener->in_stop++;
  atomic_fetch_add(&listener->stops, 1);
  atomic_fetch_add(&listener->open[track()], 1);
}

static void stop_ends(tarn_world *of, const tarn_stop_info *stop, void *data) {
  struct listener *listener = data;
  STRESS_CHECK(of == world && stop->stood_at_ns <= stop->ended_at_ns);
  STRESS_CHECK(atomic_fetch_sub(&listener->open[track()], 1) > 0);
  atomic_fetch_add(&listener->stop_ends, 1);
}

static void collection_begins(tarn_world *of, const tarn_collection *collection, void *data) {
  struct listener *listener = data;
  (void)of, (void)collection;
  listener->in_stop++;
  atomic_fetch_add(&listener->collections, 1);
}

static void collection_ends(tarn_world *of, const tarn_collection *collection, void *data) {
  struct listener *listener = data;
  (void)of;
  STRESS_EQUAL(collection->pause_ns, collection->stop_ns + collection->prepare_ns +
                                         collection->roots_ns + collection->mark_ns +
                                         collection->weak_ns + collection->census_ns +
                                         collection->rest_ns);
  atomic_fetch_add(&listener->ends, 1);
  STRESS_CHECK(atomic_load(&listener->ends) <= atomic_load(&listener->collections));
}

static void thread_attaches(tarn_world *of, const tarn_thread_info *thread, void *data) {
  struct listener *listener = data;
  STRESS_CHECK(tarn_thread_self(of) && thread->id > 0);
  atomic_fetch_add(&listener->attached, 1);
}

static void thread_detaches(tarn_world *of, const tarn_thread_info *thread, void *data) {
  struct listener *listener = data;
  STRESS_CHECK(!tarn_thread_self(of) && thread->id > 0);
  STRESS_CHECK(atomic_fetch_add(&listener->detached, 1) < atomic_load(&listener->attached));
}

static void heap_changes(tarn_world *of, const tarn_heap_change *change, void *data) {
  struct listener *listener = data;
  (void)of;
  STRESS_CHECK(change->bytes > 0);
  atomic_fetch_add(&listener->grew, 1);
}

static const tarn_events events = {
    sizeof(tarn_events), stop_begins,  stop_ends,       collection_begins, collection_ends,
    heap_changes,        heap_changes, thread_attaches, thread_detaches,   NULL};

/* --- work ------------------------------------------------------------------------------------ */

/* A listener for a while. */
static void listen(tarn_thread *self, struct stress_random *random) {
  struct listener *listener = calloc(1, sizeof *listener);
  uint64_t id;
  STRESS_CHECK(listener);
  tarn_status status = tarn_world_add_listener(world, &events, listener, &id);
  if (status == TARN_OK) {
    for (unsigned i = 0; i < stress_below(random, 4); i++)
      (void)tarn_alloc_atomic(self, 1 + stress_below(random, 100000));
    tarn_safepoint(self);
    STRESS_EQUAL(tarn_world_remove_listener(world, id), TARN_OK);
    STRESS_EQUAL(tarn_world_remove_listener(world, id), TARN_ENOTFOUND);
    STRESS_CHECK(atomic_load(&listener->ends) <= atomic_load(&listener->collections));
    STRESS_CHECK(atomic_load(&listener->stop_ends) <= atomic_load(&listener->stops));
    STRESS_CHECK(listener->in_stop ==
                 atomic_load(&listener->stops) + atomic_load(&listener->collections));
  } else {
    STRESS_EQUAL(status, TARN_EBUSY);
  }
  memset(listener, 0xee, sizeof *listener);
  free(listener);
}

/* Another trace, or none. */
static void trace(struct stress_random *random) {
  char path[96];
  tarn_status status;
  if (stress_below(random, 2)) {
    status = tarn_trace_stop(world);
    STRESS_CHECK(status == TARN_OK || status == TARN_ENOTFOUND);
    return;
  }
  snprintf(path, sizeof path, "%s/trace", directory);
  status = tarn_trace_start(world, path);
  STRESS_CHECK(status == TARN_OK || status == TARN_EBUSY);
}

static void *come_and_go(void *data) {
  tarn_thread *self = stress_attach(world);
  (void)tarn_alloc_atomic(self, 100);
  tarn_safepoint(self);
  if (data)
    STRESS_EQUAL(tarn_thread_detach(self), TARN_OK);
  return NULL;
}

static void have_another_thread(tarn_thread *self, bool detaches) {
  pthread_t thread;
  tarn_block_begin(self);
  STRESS_EQUAL(pthread_create(&thread, NULL, come_and_go, detaches ? self : NULL), 0);
  STRESS_EQUAL(pthread_join(thread, NULL), 0);
  tarn_block_end(self);
}

static void step(tarn_thread *self, struct stress_random *random) {
  switch (stress_below(random, 12)) {
  case 0:
  case 1:
  case 2:
    listen(self, random);
    break;
  case 3:
    STRESS_EQUAL(tarn_collect(self, 2), TARN_OK);
    break;
  case 4:
    if (stress_below(random, 8) == 0)
      trace(random);
    break;
  case 5:
    have_another_thread(self, stress_below(random, 2));
    break;
  case 6:
    tarn_block_begin(self);
    tarn_block_end(self);
    break;
  case 7:
    (void)tarn_thread_set_name(self, stress_below(random, 2) ? "one \"name\"" : "another\n");
    break;
  case 8:
    (void)tarn_trim(world, 0);
    break;
  default:
    (void)tarn_alloc_atomic(self, 1 + stress_below(random, 3000));
    tarn_safepoint(self);
  }
}

static void work(void *data, unsigned number) {
  struct stress_random random = stress_random_of(number);
  (void)data;
  tarn_thread *self = stress_attach(world);
  for (uint64_t round = 0; stress_on(&round);)
    for (unsigned i = 0; i < 20; i++)
      step(self, &random);
  STRESS_EQUAL(tarn_thread_detach(self), TARN_OK);
}

static void drop_directory(void) {
  const char *const names[] = {"trace", "log"};
  char path[96];
  for (unsigned i = 0; i < 2; i++) {
    snprintf(path, sizeof path, "%s/%s", directory, names[i]);
    (void)unlink(path);
  }
  (void)rmdir(directory);
}

int main(int count, char **arguments) {
  char set[256];
  uint64_t id;
  stress_begin(count, arguments,
               "what is told of a world wrongly, twice, or to a listener that is gone");
  stress.rounds_least = LEAST_ROUNDS;
  snprintf(directory, sizeof directory, "stress_events.XXXXXX");
  STRESS_CHECK(mkdtemp(directory));
  snprintf(set, sizeof set,
           "min-heap=1M,trace-level=debug,log=gc=debug,safepoint=debug,heap=debug,"
           "thread=debug:file=%s/log",
           directory);
  world = stress_world(set);
  STRESS_EQUAL(tarn_world_add_listener(world, &events, &always, &id), TARN_OK);
  stress_run(world, stress.threads, work, NULL);

  tarn_stats stats = stress_stats(world);
  STRESS_EQUAL(always.stops, stats.stops);
  STRESS_EQUAL(always.stop_ends, stats.stops);
  STRESS_EQUAL(always.collections, stats.collections);
  STRESS_EQUAL(always.ends, stats.collections);
  STRESS_EQUAL(always.in_stop, stats.stops + stats.collections);
  STRESS_EQUAL(always.attached, always.detached);
  for (unsigned i = 0; i < TRACKS; i++)
    STRESS_EQUAL(always.open[i], 0);
  STRESS_EQUAL(tarn_world_destroy(world), TARN_OK);
  drop_directory();
  return stress_end();
}
