/* SPDX-License-Identifier: MIT */
/*
 * inspect/events.c: hands on what happens in a world to those who watch it, and has the program's
 * listeners.  See inspect/watch.h.
 */
#include "inspect/events.h"
#include "inspect/live.h"
#include "inspect/watch.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define PATIENCE_NS ((uint64_t)1000000) /* from one look at a place's users to the next */

/* --- calling listeners ----------------------------------------------------------------------- */

/* The listeners' functions that the calling thread is in. */
struct call {
  const struct tarn_place_of_listener *place;
  struct call *outer;
};
static _Thread_local struct call *calls __attribute__((tls_model("initial-exec")));

/* See tarn_place_of_listener; `number`: of the beginning. */
static bool enter(struct tarn_place_of_listener *place, uint64_t number) {
  (void)__atomic_fetch_add(&place->users, 1, __ATOMIC_SEQ_CST);
  TARN_DELAY();
  if (__atomic_load_n(&place->id, __ATOMIC_SEQ_CST) != 0 && place->since < number)
    return true;
  (void)__atomic_fetch_sub(&place->users, 1, __ATOMIC_RELEASE);
  return false;
}

/* Release: pairs with the acquire of who waits for the users, or uses the place again. */
static void leave(struct tarn_place_of_listener *place) {
  (void)__atomic_fetch_sub(&place->users, 1, __ATOMIC_RELEASE);
}

/* What listeners are given. */
struct given {
  tarn_world *world;
  enum tarn_told_kind kind;
  bool gone;
  const tarn_collection *collection;
  tarn_stop_info stop;
  tarn_heap_change change;
  tarn_thread_info thread;
  size_t limit, in_use;
};

static void call_change(const tarn_events *events, const struct given *given, void *data) {
  void (*fn)(tarn_world *, const tarn_heap_change *, void *) =
      given->gone ? events->heap_shrinks : events->heap_grows;
  if (fn)
    fn(given->world, &given->change, data);
}

static void call_thread(const tarn_events *events, const struct given *given, void *data) {
  void (*fn)(tarn_world *, const tarn_thread_info *, void *) =
      given->gone ? events->thread_detaches : events->thread_attaches;
  if (fn)
    fn(given->world, &given->thread, data);
}

static void call_function(const tarn_events *events, const struct given *given, void *data) {
  switch (given->kind) {
  case TARN_TOLD_STOP_BEGIN:
    if (events->stop_begins)
      events->stop_begins(given->world, &given->stop, data);
    break;
  case TARN_TOLD_STOP_END:
    if (events->stop_ends)
      events->stop_ends(given->world, &given->stop, data);
    break;
  case TARN_TOLD_GC_BEGIN:
    if (events->collection_begins)
      events->collection_begins(given->world, given->collection, data);
    break;
  case TARN_TOLD_GC_END:
    if (events->collection_ends)
      events->collection_ends(given->world, given->collection, data);
    break;
  case TARN_TOLD_ARENA:
    call_change(events, given, data);
    break;
  case TARN_TOLD_THREAD:
    call_thread(events, given, data);
    break;
  case TARN_TOLD_LIMIT:
    if (events->near_limit)
      events->near_limit(given->world, given->limit, given->in_use, data);
    break;
  default:
    break;
  }
}

static void call_place(struct tarn_place_of_listener *place, const struct given *given) {
  struct call call = {place, calls};
  calls = &call;
  call_function(&place->events, given, place->data);
  calls = call.outer;
  leave(place);
}

/* Those at the places of `to` that are there since before the beginning with the number; these. */
static uint32_t call_listeners(struct tarn_listeners *listeners, const struct given *given,
                               uint64_t number, uint32_t to) {
  uint32_t called = 0;
  for (unsigned i = 0; i < TARN_LISTENERS_MOST; i++)
    if ((to >> i & 1) && enter(&listeners->places[i], number)) {
      called |= 1u << i;
      call_place(&listeners->places[i], given);
    }
  return called;
}

static void call_all(struct tarn_listeners *listeners, const struct given *given,
                     struct tarn_told_pair *pair, bool ends) {
  struct tarn_told_pair alone;
  if (ends && pair) {
    (void)call_listeners(listeners, given, pair->number, pair->to);
    return;
  }
  if (!pair)
    pair = &alone;
  pair->number = __atomic_add_fetch(&listeners->beginnings, 1, __ATOMIC_SEQ_CST);
  pair->to = call_listeners(listeners, given, pair->number, UINT32_MAX);
}

/* --- what they are given --------------------------------------------------------------------- */

void tarn_watch_name(const struct tarn_mutator *mutator, char name[32]) {
  pthread_mutex_t *lock = &mutator->world->stop.names_lock;
  (void)pthread_mutex_lock(lock);
  memcpy(name, mutator->name, sizeof mutator->name);
  (void)pthread_mutex_unlock(lock);
}

static void give_stop(struct given *given, const struct tarn_stop_told *stop) {
  given->stop = (tarn_stop_info){.struct_size = sizeof given->stop,
                                 .number = stop->number,
                                 .asked_at_ns = stop->asked_at,
                                 .stood_at_ns = stop->stood_at,
                                 .ended_at_ns = stop->ended_at};
  memcpy(given->stop.last_thread, stop->last, sizeof given->stop.last_thread);
}

static void give_thread(struct given *given, const struct tarn_mutator *mutator) {
  given->thread = (tarn_thread_info){
      .struct_size = sizeof given->thread, .id = mutator->id, .died = mutator->died};
  tarn_watch_name(mutator, given->thread.name);
}

static void give(struct tarn_listeners *listeners, struct given *given,
                 const struct tarn_told *told) {
  struct tarn_collect_report *report = told->what;
  struct tarn_stop_told *stop = told->what;
  struct tarn_mutator *mutator = told->what;
  switch (told->kind) {
  case TARN_TOLD_STOP_BEGIN:
  case TARN_TOLD_STOP_END:
    give_stop(given, stop);
    call_all(listeners, given, stop->pair, told->kind == TARN_TOLD_STOP_END);
    break;
  case TARN_TOLD_GC_BEGIN:
  case TARN_TOLD_GC_END:
    given->collection = &report->is;
    call_all(listeners, given, &report->pair, told->kind == TARN_TOLD_GC_END);
    break;
  case TARN_TOLD_THREAD:
    give_thread(given, mutator);
    call_all(listeners, given, &mutator->pair, told->gone);
    break;
  case TARN_TOLD_ARENA:
    given->change = (tarn_heap_change){sizeof given->change, told->bytes, told->total};
    call_all(listeners, given, NULL, false);
    break;
  case TARN_TOLD_LIMIT:
    given->limit = told->total;
    given->in_use = told->bytes;
    call_all(listeners, given, NULL, false);
    break;
  default:
    break;
  }
}

/* A program's lock may be another thread's, which the child of a fork does not have; and neither
 * the list of worlds nor its locks are free.  So these stops are not told. */
static bool is_for_fork(const struct tarn_told *told) {
  const struct tarn_stop_told *stop = told->what;
  return (told->kind == TARN_TOLD_STOP_BEGIN || told->kind == TARN_TOLD_STOP_END) && stop->forks;
}

/* For `tarn top`. */
static void show(tarn_world *world, const struct tarn_told *told) {
  const struct tarn_collect_report *report = told->what;
  if (!world->live || told->kind != TARN_TOLD_GC_END)
    return;
  const tarn_collection *is = &report->is;
  struct tarn_live_collection collection = {.number = is->number,
                                            .pause_ns = is->pause_ns,
                                            .stop_ns = is->stop_ns,
                                            .heap_before = is->heap_before,
                                            .heap_after = is->heap_after,
                                            .generation = (uint32_t)is->generation,
                                            .cycles = is->cycles};
  (void)snprintf(collection.cause, sizeof collection.cause, "%s", tarn_cause_name(is->cause));
  tarn_live_collected(world, &collection);
}

void tarn_watchers_told(tarn_world *world, const struct tarn_told *told) {
  struct tarn_watchers *watchers = world->watchers;
  int kept = errno;
  tarn_log_told(watchers, told);
  tarn_trace_told(watchers, told);
  show(world, told);
  if (!is_for_fork(told)) {
    struct given given = {.world = world, .kind = told->kind, .gone = told->gone};
    give(&watchers->listeners, &given, told);
  }
  errno = kept;
}

/* --- adding and removing --------------------------------------------------------------------- */

/* Beginnings are wanted for their ends, and ends for their beginnings. */
static uint32_t wants(const tarn_events *events) {
  uint32_t bits = 0;
  if (events->stop_begins || events->stop_ends)
    bits |= TARN_TOLD_BIT(TARN_TOLD_STOP_BEGIN) | TARN_TOLD_BIT(TARN_TOLD_STOP_END);
  if (events->collection_begins || events->collection_ends)
    bits |= TARN_TOLD_BIT(TARN_TOLD_GC_BEGIN) | TARN_TOLD_BIT(TARN_TOLD_GC_END);
  if (events->heap_grows || events->heap_shrinks)
    bits |= TARN_TOLD_BIT(TARN_TOLD_ARENA);
  if (events->thread_attaches || events->thread_detaches)
    bits |= TARN_TOLD_BIT(TARN_TOLD_THREAD);
  if (events->near_limit)
    bits |= TARN_TOLD_BIT(TARN_TOLD_LIMIT);
  return bits;
}

/* Under the listeners' lock. */
static uint32_t all_want(const struct tarn_listeners *listeners) {
  uint32_t bits = 0;
  for (unsigned i = 0; i < TARN_LISTENERS_MOST; i++)
    if (listeners->places[i].id != 0)
      bits |= wants(&listeners->places[i].events);
  return bits;
}

/* Under the listeners' lock.  Relaxed: who has not seen it yet tells a little more, or less. */
static void work_out(struct tarn_watchers *watchers) {
  const struct tarn_listeners *listeners = &watchers->listeners;
  uint32_t bits = tarn_log_wants(watchers) | tarn_trace_wants(watchers) | all_want(listeners);
  if (watchers->world->config.live)
    bits |= TARN_TOLD_BIT(TARN_TOLD_GC_BEGIN) | TARN_TOLD_BIT(TARN_TOLD_GC_END);
  __atomic_store_n(&watchers->world->store.watched, bits, __ATOMIC_RELAXED);
}

void tarn_watchers_work_out(struct tarn_watchers *watchers) {
  (void)pthread_mutex_lock(&watchers->listeners.lock);
  work_out(watchers);
  (void)pthread_mutex_unlock(&watchers->listeners.lock);
}

/* What the program knows of the structure. */
static bool copy_events(const tarn_events *from, tarn_events *to) {
  size_t size = from->struct_size;
  if (size < offsetof(tarn_events, stop_begins) + sizeof to->stop_begins || size > 4096 ||
      size % sizeof to->stop_begins != 0)
    return false;
  memset(to, 0, sizeof *to);
  memcpy(to, from, size < sizeof *to ? size : sizeof *to);
  return wants(to) != 0;
}

/* Under the lock. */
static struct tarn_place_of_listener *find(struct tarn_listeners *listeners, uint64_t id) {
  for (unsigned i = 0; i < TARN_LISTENERS_MOST; i++) {
    struct tarn_place_of_listener *place = &listeners->places[i];
    /* Users: see tarn_place_of_listener; acquire: they have done with what is overwritten. */
    if (place->id == id && (id != 0 || __atomic_load_n(&place->users, __ATOMIC_SEQ_CST) == 0))
      return place;
  }
  return NULL;
}

tarn_status tarn_world_add_listener(tarn_world *world, const tarn_events *events, void *data,
                                    uint64_t *id) {
  tarn_events copy;
  if (!world || !world->watchers || !events || !id || !copy_events(events, &copy))
    return TARN_EINVAL;
  struct tarn_listeners *listeners = &world->watchers->listeners;
  (void)pthread_mutex_lock(&listeners->lock);
  struct tarn_place_of_listener *place = find(listeners, 0);
  if (place) {
    place->events = copy;
    place->data = data;
    place->since = __atomic_load_n(&listeners->beginnings, __ATOMIC_SEQ_CST);
    *id = ++listeners->last_id;
    __atomic_store_n(&place->id, *id, __ATOMIC_SEQ_CST);
  }
  (void)pthread_mutex_unlock(&listeners->lock);
  if (place)
    tarn_watchers_work_out(world->watchers);
  return place ? TARN_OK : TARN_EBUSY;
}

/* Until nobody calls it any more.  Its users do not wake us: they would pay for it each time. */
static void wait_for_users(tarn_world *world, struct tarn_place_of_listener *place) {
  struct tarn_mutator *self = tarn_mutator_self(world);
  bool leaves =
      self && self->local.pub.tarn_holds == 0 && tarn_own_state(self) == TARN_STATE_RUNNING;
  uint32_t users;
  if (__atomic_load_n(&place->users, __ATOMIC_SEQ_CST) == 0)
    return;
  if (leaves)
    tarn_stop_leave(self);
  while ((users = __atomic_load_n(&place->users, __ATOMIC_SEQ_CST)) != 0)
    tarn_os_wait(&place->users, users, PATIENCE_NS);
  if (leaves)
    tarn_stop_enter(self);
}

tarn_status tarn_world_remove_listener(tarn_world *world, uint64_t id) {
  if (!world || !world->watchers)
    return TARN_EINVAL;
  struct tarn_listeners *listeners = &world->watchers->listeners;
  (void)pthread_mutex_lock(&listeners->lock);
  struct tarn_place_of_listener *place = id ? find(listeners, id) : NULL;
  if (place)
    __atomic_store_n(&place->id, 0, __ATOMIC_SEQ_CST);
  (void)pthread_mutex_unlock(&listeners->lock);
  if (!place)
    return TARN_ENOTFOUND;
  tarn_watchers_work_out(world->watchers);
  if (!calls)
    wait_for_users(world, place);
  return TARN_OK;
}

/* --- the option `verify` --------------------------------------------------------------------- */

static void before_mark(tarn_world *world, uintptr_t frame) {
  tarn_barriers_check(world);
  tarn_shadow_note(world, frame);
}

static void verify(tarn_world *world) {
  char message[512];
  tarn_shadow_check(world);
  tarn_dangling_check(world);
  if (!tarn_verify_stopped(world, message, sizeof message))
    tarn_os_die("tarn: verify after collection: %s", message);
}

/* --- beginning, end, fork -------------------------------------------------------------------- */

tarn_status tarn_watchers_start(tarn_world *world) {
  struct tarn_watchers *watchers = tarn_meta_alloc(&world->store.meta, sizeof *watchers);
  if (!watchers)
    return TARN_ENOMEM;
  watchers->world = world;
  if (pthread_mutex_init(&watchers->listeners.lock, NULL) != 0)
    return TARN_ENOMEM;
  if (pthread_mutex_init(&watchers->trace.lock, NULL) != 0) {
    (void)pthread_mutex_destroy(&watchers->listeners.lock);
    return TARN_ENOMEM;
  }
  world->watchers = watchers;
  tarn_log_start(watchers);
  tarn_trace_begin(watchers);
  tarn_watchers_work_out(watchers);
  return TARN_OK;
}

/* Its memory goes with the world's metadata. */
void tarn_watchers_end(tarn_world *world) {
  struct tarn_watchers *watchers = world->watchers;
  if (!watchers)
    return;
  __atomic_store_n(&world->store.watched, 0, __ATOMIC_RELAXED);
  tarn_trace_end(watchers);
  tarn_log_end(watchers);
  (void)pthread_mutex_destroy(&watchers->trace.lock);
  (void)pthread_mutex_destroy(&watchers->listeners.lock);
  world->watchers = NULL;
}

/* Of the threads that call listeners only this one is there. */
static void forget_users(struct tarn_listeners *listeners) {
  for (unsigned i = 0; i < TARN_LISTENERS_MOST; i++)
    __atomic_store_n(&listeners->places[i].users, 0, __ATOMIC_RELAXED);
  for (const struct call *call = calls; call; call = call->outer)
    for (unsigned i = 0; i < TARN_LISTENERS_MOST; i++)
      if (call->place == &listeners->places[i])
        (void)__atomic_fetch_add(&listeners->places[i].users, 1, __ATOMIC_RELAXED);
}

static void around_fork(tarn_world *world, enum tarn_fork when) {
  struct tarn_watchers *watchers = world->watchers;
  if (!watchers)
    return;
  if (when == TARN_FORK_BEFORE) {
    (void)pthread_mutex_lock(&watchers->listeners.lock);
    tarn_trace_lock(watchers);
    return;
  }
  if (when ==
      TARN_FORK_CHILD) { /* the locks of other worlds are held, so ours is not taken again */
    forget_users(&watchers->listeners);
    tarn_log_after_fork(watchers);
    tarn_trace_after_fork(watchers);
    work_out(watchers);
  }
  tarn_trace_unlock(watchers);
  (void)pthread_mutex_unlock(&watchers->listeners.lock);
}

const struct tarn_collect_events tarn_inspect_events = {.before_mark = before_mark,
                                                        .verify = verify,
                                                        .explain = tarn_explain,
                                                        .told = tarn_watchers_told,
                                                        .fork = around_fork};
