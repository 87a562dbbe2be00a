/* SPDX-License-Identifier: MIT */
/*
 * inspect/monitor.c: see inspect/monitor.h; and its first request: a snapshot for a signal, and at
 * the end.
 *
 * Signals.  The handler counts, and wakes whoever sleeps on the bell, which are the two things that
 * it may do.  A signal for which the program has a handler already is left to the program; one that
 * it takes later is lost to us.  When the last world that wants a signal ends, what was there
 * before comes back, unless somebody else has it by then.
 */
#include "inspect/monitor.h"
#include "inspect/snapshot.h"
#include "inspect/users.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_PATTERN "tarn-%p-%w-%n.heapsnapshot"
#define SIGNALS 65

/* One lock for this and the next two; no other lock is taken while it is held. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct tarn_monitor *monitors;
static struct {
  unsigned users;
  struct sigaction before;
} signals[SIGNALS];

static uint32_t asked_by_signal[SIGNALS]; /* atomic */
static uint32_t bell;                     /* atomic, a futex: all monitors sleep on it */

/* --- asking ---------------------------------------------------------------------------------- */

static void ring(void) {
  /* Release: who sees it sees what was counted. */
  (void)__atomic_fetch_add(&bell, 1, __ATOMIC_RELEASE);
  tarn_os_wake_all(&bell);
}

void tarn_monitor_ask(uint32_t *asked) {
  (void)__atomic_fetch_add(asked, 1, __ATOMIC_RELAXED); /* ordered by the bell */
  ring();
}

static void on_signal(int number) { tarn_monitor_ask(&asked_by_signal[number]); }

/* --- signals --------------------------------------------------------------------------------- */

static bool is_free(const struct sigaction *action) {
  return !(action->sa_flags & SA_SIGINFO) &&
         (action->sa_handler == SIG_DFL || action->sa_handler == SIG_IGN);
}

/* Under the lock.  False: it is the program's. */
static bool take_signal(int number) {
  /* ONSTACK: stacks of the program's threads may be too small for a handler. */
  struct sigaction own = {.sa_handler = on_signal, .sa_flags = SA_RESTART | SA_ONSTACK};
  struct sigaction *before = &signals[number].before;
  (void)sigfillset(&own.sa_mask);
  if (signals[number].users == 0 && (sigaction(number, NULL, before) != 0 || !is_free(before) ||
                                     sigaction(number, &own, NULL) != 0))
    return false;
  signals[number].users++;
  return true;
}

/* Under the lock. */
static void leave_signal(int number) {
  struct sigaction now;
  if (--signals[number].users == 0 && sigaction(number, NULL, &now) == 0 &&
      !(now.sa_flags & SA_SIGINFO) && now.sa_handler == on_signal)
    (void)sigaction(number, &signals[number].before, NULL);
}

/* --- the thread ------------------------------------------------------------------------------ */

static bool is_ended(const struct tarn_monitor *monitor) {
  return __atomic_load_n(&monitor->ended, __ATOMIC_RELAXED); /* who ends it rings */
}

static void answer(struct tarn_monitor *monitor) {
  for (unsigned i = 0; i < monitor->request_count && !is_ended(monitor); i++) {
    struct tarn_monitor_request *request = &monitor->requests[i];
    uint32_t asked = __atomic_load_n(request->asked, __ATOMIC_RELAXED);
    if (asked == request->answered)
      continue;
    request->answered = asked;
    request->fn(monitor);
  }
}

static void *run(void *data) {
  struct tarn_monitor *monitor = data;
  tarn_os_set_thread_name("tarn-monitor");
  while (!is_ended(monitor)) {
    /* Acquire: pairs with the release of who rings. */
    uint32_t rung = __atomic_load_n(&bell, __ATOMIC_ACQUIRE);
    answer(monitor);
    if (!is_ended(monitor))
      tarn_os_wait(&bell, rung, 0);
  }
  tarn_users_leave(&monitor->users);
  return NULL;
}

/* No lock is held. */
static void make_thread(struct tarn_monitor *monitor) {
  tarn_users_enter(&monitor->users);
  if (tarn_os_start_thread(run, monitor))
    return;
  tarn_users_leave(&monitor->users);
  tarn_os_say("tarn: no thread to be had: nothing can be asked of world %u from outside",
              monitor->world->number);
}

/* --- snapshots ------------------------------------------------------------------------------- */

static void tell(tarn_status status, const char *path, const tarn_snapshot_info *info) {
  char why[128];
  if (status == TARN_OK)
    tarn_os_say("tarn: snapshot of %llu objects, %llu bytes in %s, stopped for %llu.%03llu ms",
                (unsigned long long)info->objects, (unsigned long long)info->bytes, path,
                (unsigned long long)(info->stopped_ns / 1000000),
                (unsigned long long)(info->stopped_ns / 1000 % 1000));
  else if (status == TARN_ESYSTEM)
    tarn_os_say("tarn: no snapshot in %s: %s", path, strerror_r(errno, why, sizeof why));
  else if (status == TARN_EBUSY)
    tarn_os_say("tarn: no snapshot in %s: some threads did not come to a safepoint", path);
  else
    tarn_os_say("tarn: no snapshot in %s: %s", path, tarn_strerror(status));
}

static void take_snapshot(struct tarn_monitor *monitor, enum tarn_snapshot_how how) {
  tarn_world *world = monitor->world;
  const char *pattern = world->config.snapshot[0] ? world->config.snapshot : DEFAULT_PATTERN;
  char path[2 * TARN_PATH_ROOM];
  tarn_snapshot_info info = {.struct_size = sizeof info};
  tarn_status status = TARN_ESYSTEM;
  /* Relaxed: only a name. */
  unsigned number = __atomic_add_fetch(&monitor->snapshots, 1, __ATOMIC_RELAXED);
  errno = ENAMETOOLONG;
  if (tarn_out_path(pattern, world->number, number, path, sizeof path))
    status = tarn_snapshot_to_file(world, NULL, how, path, 0, &info);
  if (status != TARN_ESYSTEM || errno != ECANCELED) /* then it was told */
    tell(status, path[0] ? path : pattern, &info);
}

static void on_request(struct tarn_monitor *monitor) {
  take_snapshot(monitor, TARN_SNAPSHOT_OUTSIDE);
}

/* --- the end of the process ------------------------------------------------------------------ */

static struct tarn_monitor *monitor_of(const tarn_world *world) {
  return world->collector->monitor;
}

/* The caller uses the monitor, and there was no farewell yet. */
static void say_farewell(struct tarn_monitor *monitor) {
  struct tarn_mutator *self = tarn_mutator_self(monitor->world);
  bool running = self && tarn_own_state(self) == TARN_STATE_RUNNING;
  if (self && self->local.pub.tarn_holds != 0) {
    tarn_os_say("tarn: no snapshot at the end of world %u: the thread that ends it holds the "
                "collector off",
                monitor->world->number);
    return;
  }
  if (running)
    tarn_stop_leave(self);
  take_snapshot(monitor, TARN_SNAPSHOT_PATIENT);
  if (running)
    tarn_stop_enter(self);
}

/* Under the lock: makes the caller a user, unless there is nothing to say. */
static bool begin_farewell(struct tarn_monitor *monitor) {
  if (!monitor->world->config.snapshot_at_exit || monitor->said_farewell)
    return false;
  monitor->said_farewell = true;
  tarn_users_enter(&monitor->users);
  return true;
}

void tarn_monitor_farewell(tarn_world *world) {
  struct tarn_monitor *monitor = monitor_of(world);
  if (!monitor)
    return;
  (void)pthread_mutex_lock(&lock);
  bool due = begin_farewell(monitor);
  (void)pthread_mutex_unlock(&lock);
  if (due) {
    say_farewell(monitor);
    tarn_users_leave(&monitor->users);
  }
}

static struct tarn_monitor *next_farewell(void) {
  struct tarn_monitor *monitor;
  (void)pthread_mutex_lock(&lock);
  for (monitor = monitors; monitor && !begin_farewell(monitor); monitor = monitor->next) {
  }
  (void)pthread_mutex_unlock(&lock);
  return monitor;
}

/* A handler for exit.  Worlds that end meanwhile wait for it. */
static void at_exit(void) {
  for (struct tarn_monitor *monitor; (monitor = next_farewell());) {
    say_farewell(monitor);
    tarn_users_leave(&monitor->users);
  }
}

/* --- fork ------------------------------------------------------------------------------------ */

/*
 * The lock is not taken before a fork: a thread that is running would wait for it there, while the
 * one that has it, in a fork of its own, waits for that thread to stand still.  So somebody may
 * have had it, and it is made anew; the list is whole at any time.
 *
 * Worlds run again here: their handlers were registered earlier, and come earlier.
 */
static void after_fork_child(void) {
  (void)pthread_mutex_init(&lock, NULL);
  tarn_snapshot_after_fork();
  for (struct tarn_monitor *monitor = monitors; monitor; monitor = monitor->next) {
    __atomic_store_n(&monitor->users, 0, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < monitor->request_count; i++)
      monitor->requests[i].answered = __atomic_load_n(monitor->requests[i].asked, __ATOMIC_RELAXED);
#if !TARN_TSAN /* it ends children of threaded processes that make threads */
    if (monitor->request_count > 0 && !is_ended(monitor))
      make_thread(monitor);
#endif
  }
}

/* Once a process; under the lock.  At exit and at forks, whatever world wants it first. */
static bool has_handlers(void) {
  static bool at_forks, at_exits; /* each once: a second one would make a second thread */
  at_forks = at_forks || tarn_os_at_fork(NULL, NULL, after_fork_child);
  at_exits = at_exits || atexit(at_exit) == 0;
  return at_forks && at_exits;
}

/* --- beginning and end ----------------------------------------------------------------------- */

bool tarn_monitor_add(struct tarn_monitor *monitor, const uint32_t *asked, tarn_monitor_fn fn) {
  if (monitor->request_count == TARN_MONITOR_REQUESTS)
    return false;
  monitor->requests[monitor->request_count++] = (struct tarn_monitor_request){
      .asked = asked, .answered = __atomic_load_n(asked, __ATOMIC_RELAXED), .fn = fn};
  return true;
}

/* Under the lock. */
static void add_signal(struct tarn_monitor *monitor) {
  int number = (int)monitor->world->config.snapshot_signal;
  if (number == 0)
    return;
  if (!take_signal(number)) {
    tarn_os_say("tarn: snapshot-signal: the program has a handler for signal %d already; there are "
                "no snapshots of world %u by signal",
                number, monitor->world->number);
    return;
  }
  monitor->caught = number;
  (void)tarn_monitor_add(monitor, &asked_by_signal[number], on_request);
}

/* True: the monitor is on the list. */
static bool enlist(struct tarn_monitor *monitor) {
  (void)pthread_mutex_lock(&lock);
  bool good = has_handlers();
  if (good) {
    add_signal(monitor);
    monitor->next = monitors;
    /* In this order, also for a child: a fork may come at any time. */
    __atomic_store_n(&monitors, monitor, __ATOMIC_RELEASE);
  }
  (void)pthread_mutex_unlock(&lock);
  return good;
}

/* Waits for its users.  In the child of a fork another thread of the parent may have done that, or
 * a part of it. */
static void delist(struct tarn_monitor *monitor) {
  (void)pthread_mutex_lock(&lock);
  tarn_users_await(&monitor->users, &lock);
  struct tarn_monitor **at = &monitors;
  while (*at && *at != monitor)
    at = &(*at)->next;
  if (*at)
    __atomic_store_n(at, monitor->next, __ATOMIC_RELEASE);
  int caught = monitor->caught;
  monitor->caught = 0;
  if (caught)
    leave_signal(caught);
  (void)pthread_mutex_unlock(&lock);
}

void tarn_monitor_start(tarn_world *world) {
  if (!world->config.snapshot_signal && !world->config.snapshot_at_exit)
    return;
  struct tarn_monitor *monitor = tarn_meta_alloc(&world->store.meta, sizeof *monitor);
  if (monitor)
    monitor->world = world;
  if (!monitor || !enlist(monitor)) {
    tarn_os_say("tarn: no memory for the monitor of world %u: no snapshots by signal or at its end",
                world->number);
    return;
  }
  world->collector->monitor = monitor;
  if (monitor->request_count > 0)
    make_thread(monitor);
}

void tarn_monitor_end(tarn_world *world) {
  struct tarn_monitor *monitor = monitor_of(world);
  if (!monitor)
    return;
  __atomic_store_n(&monitor->ended, true, __ATOMIC_RELAXED);
  ring();
  delist(monitor);
  world->collector->monitor = NULL;
  tarn_meta_free(&world->store.meta, monitor, sizeof *monitor);
}
