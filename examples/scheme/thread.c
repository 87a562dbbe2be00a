/* SPDX-License-Identifier: MIT */
/*
 * thread.c: threads, mutexes and condition variables after SRFI 18, channels, and guardians.
 *
 * A Scheme thread is a thread of the system with a VM of its own, and all run at the same time.
 * When the main program ends, the process does, whatever other threads are at; join those that
 * matter.
 *
 * Locks.  Objects do not move, so pthread mutexes and conditions stand in them, and their free
 * functions destroy them.  One rule keeps them and stops apart: whoever would have to wait for a
 * lock does so in a blocked region (`take` and `wait_on`, nothing else).  So a thread may well be
 * stopped while it holds one: the others that want it hold up no collection.  Where two are held,
 * the order is condition variable, mutex, thread.
 *
 * Life.  A new thread is in nobody's roots until its VM has its object: `thread-start!` waits for
 * that, and keeps the object meanwhile as its argument.
 *
 * Timeouts are numbers of seconds from now, or #f for none.
 */
#include "scheme.h"
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

struct monitor {
  pthread_mutex_t lock;
  pthread_cond_t changed;
};

struct shared { /* how threads, mutexes, condition variables and channels begin */
  const tarn_type *type;
  struct monitor monitor; /* raw */
  scm name, specific;
};

enum {
  THREAD_NEW,
  THREAD_STARTING,
  THREAD_RUNNING,
  THREAD_ENDED,
  THREAD_FAILED,
  THREAD_TERMINATED
};

struct thread {
  struct shared shared;
  scm thunk;
  scm result;     /* or what it raised */
  scm owned;      /* mutexes, linked by `next`; under the lock */
  unsigned state; /* under the lock; over from THREAD_ENDED on */
};

struct mutex {
  struct shared shared;
  scm owner; /* a thread, or #f; it is on the owner's list if it has one */
  scm next;  /* of the same owner; under the owner's lock */
  bool locked, abandoned;
};

struct condvar {
  struct shared shared;
};

struct channel {
  struct shared shared;
  scm items; /* a vector, used as a ring */
  size_t first, count;
  bool closed;
  pthread_cond_t room; /* `changed` tells of items */
};

struct guardian {
  const tarn_type *type;
  scm first, last; /* registrations whose object died, or #f */
};

struct registration { /* of an object with a guardian */
  const tarn_type *type;
  scm next, previous;
  scm content; /* an ephemeron: object -> (guardian . representative); then the representative */
};

DEFINE_TEST(thread)
DEFINE_TEST(mutex)
DEFINE_TEST(condvar)
DEFINE_TEST(guardian)

static const tarn_type *channel_type, *registration_type;

static pthread_mutex_t guardian_lock = PTHREAD_MUTEX_INITIALIZER; /* registrations and queues */
static scm registrations; /* of objects that live; linked both ways */
static scm finalizations; /* the guardian of set-finalizer! */

/* --- monitors -------------------------------------------------------------------------------- */

static void condition_begin(pthread_cond_t *condition) {
  pthread_condattr_t attributes;
  (void)pthread_condattr_init(&attributes);
  (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  (void)pthread_cond_init(condition, &attributes);
  (void)pthread_condattr_destroy(&attributes);
}

static void free_shared(tarn_world *of, void *object) {
  struct shared *shared = object;
  (void)of;
  (void)pthread_cond_destroy(&shared->monitor.changed);
  (void)pthread_mutex_destroy(&shared->monitor.lock);
}

static void free_channel(tarn_world *of, void *object) {
  (void)pthread_cond_destroy(&((struct channel *)object)->room);
  free_shared(of, object);
}

/* An object that begins with `struct shared`; NULL: no memory.  `name` is one of the caller's
 * arguments or no object. */
static void *make_shared(struct vm *vm, const tarn_type *type, scm name) {
  struct shared *shared = make_object(vm, type);
  if (!shared)
    return NULL;
  (void)pthread_mutex_init(&shared->monitor.lock, NULL);
  condition_begin(&shared->monitor.changed);
  shared->name = name;
  shared->specific = SCM_UNSPECIFIED;
  return shared;
}

static void take(struct vm *vm, pthread_mutex_t *lock) {
  if (pthread_mutex_trylock(lock) == 0)
    return;
  tarn_block_begin(vm->self);
  (void)pthread_mutex_lock(lock);
  tarn_block_end(vm->self);
}

static void give(pthread_mutex_t *lock) { (void)pthread_mutex_unlock(lock); }

/* False: it is `limit` (NULL: never).  It may also return for no reason. */
static bool wait_on(struct vm *vm, pthread_cond_t *condition, pthread_mutex_t *lock,
                    const struct timespec *limit) {
  tarn_block_begin(vm->self);
  int status =
      limit ? pthread_cond_timedwait(condition, lock, limit) : pthread_cond_wait(condition, lock);
  tarn_block_end(vm->self);
  return status != ETIMEDOUT;
}

/* --- time ------------------------------------------------------------------------------------ */

#define SECONDS_MOST 1e9

/* The time that is so many seconds from now.  False: no number, and the condition is set. */
static bool read_seconds(struct vm *vm, const char *who, int argument, scm v,
                         struct timespec *time) {
  double seconds = is_fixnum(v) ? (double)fixnum_value(v) : is_flonum(v) ? flonum_value(v) : NAN;
  if (!is_number(v)) {
    wrong_type(vm, who, argument, v);
    return false;
  }
  if (isnan(seconds)) { /* or a bignum */
    out_of_range(vm, who, argument, v);
    return false;
  }
  seconds = seconds < 0 ? 0 : seconds > SECONDS_MOST ? SECONDS_MOST : seconds;
  (void)clock_gettime(CLOCK_MONOTONIC, time);
  time->tv_sec += (time_t)seconds;
  time->tv_nsec += (long)((seconds - (double)(time_t)seconds) * 1e9);
  if (time->tv_nsec >= 1000000000) {
    time->tv_nsec -= 1000000000;
    time->tv_sec++;
  }
  return true;
}

struct timeout {
  struct timespec time;
  const struct timespec *limit; /* NULL: none */
};

/* Argument number `argument`, which need not be there. */
static bool read_timeout(struct vm *vm, const char *who, int argument, int count,
                         const scm *arguments, struct timeout *timeout) {
  timeout->limit = NULL;
  if (count < argument || arguments[argument - 1] == SCM_FALSE)
    return true;
  timeout->limit = &timeout->time;
  return read_seconds(vm, who, argument, arguments[argument - 1], &timeout->time);
}

static scm current_time(struct vm *vm, int count, scm *arguments) {
  struct timespec now;
  (void)count, (void)arguments;
  (void)clock_gettime(CLOCK_REALTIME, &now);
  return make_flonum(vm, (double)now.tv_sec + (double)now.tv_nsec / 1e9);
}

static scm thread_sleep(struct vm *vm, int count, scm *arguments) {
  struct timespec until;
  (void)count;
  if (!read_seconds(vm, "thread-sleep!", 1, arguments[0], &until))
    return 0;
  tarn_block_begin(vm->self);
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
    ;
  tarn_block_end(vm->self);
  return SCM_UNSPECIFIED;
}

static scm thread_yield(struct vm *vm, int count, scm *arguments) {
  (void)count, (void)arguments;
  tarn_block_begin(vm->self);
  (void)sched_yield();
  tarn_block_end(vm->self);
  return SCM_UNSPECIFIED;
}

/* --- what threads, mutexes and condition variables have in common ---------------------------- */

#define DEFINE_SHARED(kind, prefix)                                                       \
  static scm kind##_is(struct vm *vm, int count, scm *arguments) {                        \
    (void)vm, (void)count;                                                                \
    return boolean(is_##kind(arguments[0]));                                              \
  }                                                                                       \
  static scm kind##_name(struct vm *vm, int count, scm *arguments) {                      \
    (void)count;                                                                          \
    return is_##kind(arguments[0]) ? kind##_of(arguments[0])->shared.name                 \
                                   : wrong_type(vm, prefix "-name", 1, arguments[0]);     \
  }                                                                                       \
  static scm kind##_specific(struct vm *vm, int count, scm *arguments) {                  \
    (void)count;                                                                          \
    return is_##kind(arguments[0]) ? kind##_of(arguments[0])->shared.specific             \
                                   : wrong_type(vm, prefix "-specific", 1, arguments[0]); \
  }                                                                                       \
  static scm kind##_specific_set(struct vm *vm, int count, scm *arguments) {              \
    (void)count;                                                                          \
    if (!is_##kind(arguments[0]))                                                         \
      return wrong_type(vm, prefix "-specific-set!", 1, arguments[0]);                    \
    store(vm, arguments[0], &kind##_of(arguments[0])->shared.specific, arguments[1]);     \
    return SCM_UNSPECIFIED;                                                               \
  }
DEFINE_SHARED(thread, "thread")
DEFINE_SHARED(mutex, "mutex")
DEFINE_SHARED(condvar, "condition-variable")

/* --- owners of mutexes ----------------------------------------------------------------------- */

/* Locks a mutex that is free, with its monitor's lock held.  `owner` is #f or a thread; one that is
 * over abandons it at once. */
static void own(struct vm *vm, scm m, scm owner) {
  struct mutex *mutex = mutex_of(m);
  mutex->locked = true;
  mutex->abandoned = false;
  if (!is_thread(owner))
    return;
  struct thread *thread = thread_of(owner);
  take(vm, &thread->shared.monitor.lock);
  if (thread->state >= THREAD_ENDED) {
    mutex->locked = false;
    mutex->abandoned = true;
    (void)pthread_cond_signal(&mutex->shared.monitor.changed);
  } else {
    store(vm, m, &mutex->owner, owner);
    store(vm, m, &mutex->next, thread->owned);
    store(vm, owner, &thread->owned, m);
  }
  give(&thread->shared.monitor.lock);
}

/* Unlocks a mutex, with its monitor's lock held, and tells one of those who wait. */
static void disown(struct vm *vm, scm m, bool abandoned) {
  struct mutex *mutex = mutex_of(m);
  scm owner = mutex->owner, holder = owner;
  if (owner != SCM_FALSE) {
    struct thread *thread = thread_of(owner);
    take(vm, &thread->shared.monitor.lock);
    scm *slot = &thread->owned;
    while (*slot != m) {
      holder = *slot;
      slot = &mutex_of(holder)->next;
    }
    store(vm, holder, slot, mutex->next);
    mutex->next = mutex->owner = SCM_FALSE;
    give(&thread->shared.monitor.lock);
  }
  mutex->locked = false;
  mutex->abandoned = abandoned;
  (void)pthread_cond_signal(&mutex->shared.monitor.changed);
}

/* --- threads --------------------------------------------------------------------------------- */

static scm make_thread_object(struct vm *vm, scm thunk, scm name) {
  struct thread *thread = make_shared(vm, types.thread, name);
  if (!thread)
    return 0;
  thread->thunk = thunk;
  thread->result = thread->owned = SCM_FALSE;
  return (scm)thread;
}

static scm make_thread(struct vm *vm, int count, scm *arguments) {
  if (!is_procedure(arguments[0]))
    return wrong_type(vm, "make-thread", 1, arguments[0]);
  return make_thread_object(vm, arguments[0], count > 1 ? arguments[1] : SCM_FALSE);
}

/* The thread is over: its mutexes are abandoned, and then those who wait for it told. */
static void finish(struct vm *vm, scm t, unsigned state, scm result) {
  struct thread *thread = thread_of(t);
  scm m = SCM_FALSE;
  ROOTS(vm, (void *)&t, (void *)&result, (void *)&m);
  take(vm, &thread->shared.monitor.lock);
  while ((m = thread->owned) != SCM_FALSE) {
    give(&thread->shared.monitor.lock);
    take(vm, &mutex_of(m)->shared.monitor.lock);
    if (mutex_of(m)->owner == t)
      disown(vm, m, true);
    give(&mutex_of(m)->shared.monitor.lock);
    take(vm, &thread->shared.monitor.lock);
  }
  store(vm, t, &thread->result, result);
  thread->thunk = SCM_FALSE;
  thread->state = state;
  (void)pthread_cond_broadcast(&thread->shared.monitor.changed);
  give(&thread->shared.monitor.lock);
}

/* For Tarn's reports of threads that hold up a stop. */
static void name_thread(struct vm *vm, scm name) {
  if (is_symbol(name))
    name = symbol_of(name)->name;
  scm text = is_string(name) ? string_to_utf8(vm, name, NULL) : 0;
  if (text)
    (void)tarn_thread_set_name(vm->self, (const char *)text);
}

struct start { /* on the C stack of `thread-start!`, until the state is no longer STARTING */
  struct thread *thread;
  const struct vm *parent;
};

static void inherit(struct vm *vm, const struct start *start) {
  vm->thread = (scm)start->thread;
  vm->bindings = start->parent->bindings;
}

/* Threads that are over for those who join them, and not quite gone.  Relaxed: nothing is read
 * because of it. */
static _Atomic unsigned leaving;

void threads_end(struct vm *vm) {
  tarn_block_begin(vm->self);
  for (int i = 0; i < 1000 && atomic_load_explicit(&leaving, memory_order_relaxed) != 0; i++)
    (void)usleep(1000);
  tarn_block_end(vm->self);
}

static void *run_thread(void *data) {
  const struct start *start = data;
  struct thread *thread = start->thread;
  (void)pthread_mutex_lock(&thread->shared.monitor.lock); /* not attached yet: no region */
  struct vm *vm = vm_make();
  if (vm)
    inherit(vm, start);
  thread->state = vm ? THREAD_RUNNING : THREAD_NEW;
  (void)pthread_cond_broadcast(&thread->shared.monitor.changed);
  give(&thread->shared.monitor.lock);
  if (!vm)
    return NULL;
  name_thread(vm, thread->shared.name);
  scm result = vm_apply(vm, thread->thunk, 0, NULL);
  (void)atomic_fetch_add_explicit(&leaving, 1, memory_order_relaxed);
  finish(vm, (scm)thread, result ? THREAD_ENDED : THREAD_FAILED, result ? result : vm->condition);
  vm_drop(vm);
  (void)atomic_fetch_sub_explicit(&leaving, 1, memory_order_relaxed);
  return NULL;
}

/* Nobody waits for its end by pthread_join.  An error number, or 0. */
static int create(struct vm *vm, struct start *start) {
  pthread_attr_t attributes;
  pthread_t ignored;
  (void)pthread_attr_init(&attributes);
  (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  tarn_block_begin(vm->self);
  int status = pthread_create(&ignored, &attributes, run_thread, start);
  tarn_block_end(vm->self);
  (void)pthread_attr_destroy(&attributes);
  return status;
}

/* From NEW to STARTING, which only one caller can do.  The state before. */
static unsigned claim(struct vm *vm, struct thread *thread) {
  take(vm, &thread->shared.monitor.lock);
  unsigned state = thread->state;
  if (state == THREAD_NEW)
    thread->state = THREAD_STARTING;
  give(&thread->shared.monitor.lock);
  return state;
}

static scm thread_start(struct vm *vm, int count, scm *arguments) {
  (void)count;
  if (!is_thread(arguments[0]))
    return wrong_type(vm, "thread-start!", 1, arguments[0]);
  struct thread *thread = thread_of(arguments[0]);
  struct start start = {thread, vm};
  struct monitor *monitor = &thread->shared.monitor;
  if (claim(vm, thread) != THREAD_NEW)
    return raise_error(vm, "error", "thread-start!", "the thread was started before", 1,
                       arguments[0]);
  int status = create(vm, &start);
  take(vm, &monitor->lock);
  if (status != 0)
    thread->state = THREAD_NEW;
  while (thread->state == THREAD_STARTING)
    (void)wait_on(vm, &monitor->changed, &monitor->lock, NULL);
  bool started = thread->state != THREAD_NEW;
  give(&monitor->lock);
  return started ? arguments[0]
                 : system_error(vm, "thread-start!", status ? status : ENOMEM, arguments[0]);
}

static scm thread_join(struct vm *vm, int count, scm *arguments) {
  struct timeout timeout;
  if (!is_thread(arguments[0]))
    return wrong_type(vm, "thread-join!", 1, arguments[0]);
  if (!read_timeout(vm, "thread-join!", 2, count, arguments, &timeout))
    return 0;
  struct thread *thread = thread_of(arguments[0]);
  struct monitor *monitor = &thread->shared.monitor;
  bool in_time = true;
  take(vm, &monitor->lock);
  while (thread->state < THREAD_ENDED && in_time)
    in_time = wait_on(vm, &monitor->changed, &monitor->lock, timeout.limit);
  unsigned state = thread->state;
  give(&monitor->lock);
  if (state == THREAD_ENDED)
    return thread->result;
  if (state == THREAD_FAILED)
    return raise_error(vm, "uncaught-exception", "thread-join!", "the thread raised an exception",
                       1, thread->result);
  if (state == THREAD_TERMINATED)
    return raise_error(vm, "terminated-thread", "thread-join!", "the thread was terminated", 1,
                       arguments[0]);
  return count > 2 ? arguments[2]
                   : raise_error(vm, "join-timeout", "thread-join!", "the thread has not ended", 1,
                                 arguments[0]);
}

/* A thread that runs cannot be ended from outside: it may hold locks of C libraries, and be about
 * to release a resource.  One that was never started can, and one that is over stays so. */
static scm thread_terminate(struct vm *vm, int count, scm *arguments) {
  (void)count;
  if (!is_thread(arguments[0]))
    return wrong_type(vm, "thread-terminate!", 1, arguments[0]);
  unsigned state = claim(vm, thread_of(arguments[0]));
  if (state == THREAD_NEW)
    finish(vm, arguments[0], THREAD_TERMINATED, SCM_FALSE);
  else if (state < THREAD_ENDED)
    return raise_error(vm, "error", "thread-terminate!",
                       "a thread that was started ends by itself only", 1, arguments[0]);
  return SCM_UNSPECIFIED;
}

static scm current_thread(struct vm *vm, int count, scm *arguments) {
  (void)count, (void)arguments;
  return vm->thread;
}

/* --- mutexes --------------------------------------------------------------------------------- */

static scm make_mutex(struct vm *vm, int count, scm *arguments) {
  struct mutex *mutex = make_shared(vm, types.mutex, count > 0 ? arguments[0] : SCM_FALSE);
  if (mutex)
    mutex->owner = mutex->next = SCM_FALSE;
  return (scm)mutex;
}

static scm mutex_state(struct vm *vm, int count, scm *arguments) {
  (void)count;
  if (!is_mutex(arguments[0]))
    return wrong_type(vm, "mutex-state", 1, arguments[0]);
  struct mutex *mutex = mutex_of(arguments[0]);
  take(vm, &mutex->shared.monitor.lock);
  scm owner = mutex->owner;
  bool locked = mutex->locked, abandoned = mutex->abandoned;
  give(&mutex->shared.monitor.lock);
  if (owner != SCM_FALSE)
    return owner;
  return intern(vm, locked ? "not-owned" : abandoned ? "abandoned" : "not-abandoned");
}

/* (mutex-lock! mutex [timeout [owner]]).  A thread that waits for itself waits for ever. */
static scm mutex_lock(struct vm *vm, int count, scm *arguments) {
  struct timeout timeout;
  scm owner = count > 2 ? arguments[2] : vm->thread;
  if (!is_mutex(arguments[0]))
    return wrong_type(vm, "mutex-lock!", 1, arguments[0]);
  if (!read_timeout(vm, "mutex-lock!", 2, count, arguments, &timeout))
    return 0;
  if (owner != SCM_FALSE && !is_thread(owner))
    return wrong_type(vm, "mutex-lock!", 3, owner);
  struct mutex *mutex = mutex_of(arguments[0]);
  struct monitor *monitor = &mutex->shared.monitor;
  bool in_time = true;
  take(vm, &monitor->lock);
  while (mutex->locked && in_time)
    in_time = wait_on(vm, &monitor->changed, &monitor->lock, timeout.limit);
  bool locked = !mutex->locked, abandoned = locked && mutex->abandoned;
  if (locked)
    own(vm, arguments[0], owner);
  give(&monitor->lock);
  if (abandoned)
    return raise_error(vm, "abandoned-mutex", "mutex-lock!",
                       "a thread ended that had locked the mutex; it is locked again", 1,
                       arguments[0]);
  return boolean(locked);
}

/* With the condition variable's lock from before the mutex is free until the wait begins, no signal
 * in between is lost. */
static bool unlock_and_wait(struct vm *vm, scm m, scm c, const struct timespec *limit) {
  struct monitor *monitor = &condvar_of(c)->shared.monitor;
  struct monitor *of_mutex = &mutex_of(m)->shared.monitor;
  take(vm, &monitor->lock);
  take(vm, &of_mutex->lock);
  disown(vm, m, false);
  give(&of_mutex->lock);
  bool in_time = wait_on(vm, &monitor->changed, &monitor->lock, limit);
  give(&monitor->lock);
  return in_time;
}

/* (mutex-unlock! mutex [condition-variable [timeout]]).  Any thread may unlock.  As with POSIX, the
 * wait may end without a signal. */
static scm mutex_unlock(struct vm *vm, int count, scm *arguments) {
  struct timeout timeout;
  if (!is_mutex(arguments[0]))
    return wrong_type(vm, "mutex-unlock!", 1, arguments[0]);
  if (count > 1 && arguments[1] != SCM_FALSE) {
    if (!is_condvar(arguments[1]))
      return wrong_type(vm, "mutex-unlock!", 2, arguments[1]);
    return read_timeout(vm, "mutex-unlock!", 3, count, arguments, &timeout)
               ? boolean(unlock_and_wait(vm, arguments[0], arguments[1], timeout.limit))
               : 0;
  }
  struct monitor *monitor = &mutex_of(arguments[0])->shared.monitor;
  take(vm, &monitor->lock);
  disown(vm, arguments[0], false);
  give(&monitor->lock);
  return SCM_TRUE;
}

/* --- condition variables --------------------------------------------------------------------- */

static scm make_condvar(struct vm *vm, int count, scm *arguments) {
  return (scm)make_shared(vm, types.condvar, count > 0 ? arguments[0] : SCM_FALSE);
}

static scm tell(struct vm *vm, const char *who, scm c, int (*how)(pthread_cond_t *)) {
  if (!is_condvar(c))
    return wrong_type(vm, who, 1, c);
  struct monitor *monitor = &condvar_of(c)->shared.monitor;
  take(vm, &monitor->lock);
  (void)how(&monitor->changed);
  give(&monitor->lock);
  return SCM_UNSPECIFIED;
}

static scm condvar_signal(struct vm *vm, int count, scm *arguments) {
  (void)count;
  return tell(vm, "condition-variable-signal!", arguments[0], pthread_cond_signal);
}
static scm condvar_broadcast(struct vm *vm, int count, scm *arguments) {
  (void)count;
  return tell(vm, "condition-variable-broadcast!", arguments[0], pthread_cond_broadcast);
}

/* --- channels -------------------------------------------------------------------------------- */

static bool is_channel(scm v) { return has_type(v, channel_type); }
static struct channel *channel_of(scm v) { return (struct channel *)v; }

static scm channel_is(struct vm *vm, int count, scm *arguments) {
  (void)vm, (void)count;
  return boolean(is_channel(arguments[0]));
}

#define CHANNEL_MOST (1 << 24)

static scm make_channel(struct vm *vm, int count, scm *arguments) {
  (void)count;
  if (!is_fixnum(arguments[0]))
    return wrong_type(vm, "make-channel", 1, arguments[0]);
  if (fixnum_value(arguments[0]) < 1 || fixnum_value(arguments[0]) > CHANNEL_MOST)
    return out_of_range(vm, "make-channel", 1, arguments[0]);
  scm items = make_vector(vm, (size_t)fixnum_value(arguments[0]), SCM_FALSE);
  ROOTS(vm, (void *)&items);
  struct channel *channel = items ? make_shared(vm, channel_type, SCM_FALSE) : NULL;
  if (!channel)
    return 0;
  condition_begin(&channel->room);
  channel->items = items;
  return (scm)channel;
}

static scm channel_put(struct vm *vm, int count, scm *arguments) {
  (void)count;
  if (!is_channel(arguments[0]))
    return wrong_type(vm, "channel-put!", 1, arguments[0]);
  struct channel *channel = channel_of(arguments[0]);
  struct vector *ring = vector_of(channel->items);
  struct monitor *monitor = &channel->shared.monitor;
  take(vm, &monitor->lock);
  while (channel->count == ring->count && !channel->closed)
    (void)wait_on(vm, &channel->room, &monitor->lock, NULL);
  bool open = !channel->closed;
  if (open) {
    size_t at = (channel->first + channel->count++) % ring->count;
    store(vm, channel->items, &ring->items[at], arguments[1]);
    (void)pthread_cond_signal(&monitor->changed);
  }
  give(&monitor->lock);
  return open ? SCM_UNSPECIFIED
              : raise_error(vm, "error", "channel-put!", "the channel is closed", 1, arguments[0]);
}

/* Of a closed channel, what is left, and then the end-of-file object. */
static scm channel_get(struct vm *vm, int count, scm *arguments) {
  (void)count;
  if (!is_channel(arguments[0]))
    return wrong_type(vm, "channel-get!", 1, arguments[0]);
  struct channel *channel = channel_of(arguments[0]);
  struct vector *ring = vector_of(channel->items);
  struct monitor *monitor = &channel->shared.monitor;
  scm item = SCM_EOF;
  take(vm, &monitor->lock);
  while (channel->count == 0 && !channel->closed)
    (void)wait_on(vm, &monitor->changed, &monitor->lock, NULL);
  if (channel->count > 0) {
    item = ring->items[channel->first];
    ring->items[channel->first] = SCM_FALSE;
    channel->first = (channel->first + 1) % ring->count;
    channel->count--;
    (void)pthread_cond_signal(&channel->room);
  }
  give(&monitor->lock);
  return item;
}

static scm channel_close(struct vm *vm, int count, scm *arguments) {
  (void)count;
  if (!is_channel(arguments[0]))
    return wrong_type(vm, "channel-close!", 1, arguments[0]);
  struct channel *channel = channel_of(arguments[0]);
  take(vm, &channel->shared.monitor.lock);
  channel->closed = true;
  (void)pthread_cond_broadcast(&channel->shared.monitor.changed);
  (void)pthread_cond_broadcast(&channel->room);
  give(&channel->shared.monitor.lock);
  return SCM_UNSPECIFIED;
}

/* --- guardians ------------------------------------------------------------------------------- */

/*
 * Each registration is a finalizer of Tarn's, which has the registration as its data.  Those stand
 * on a list that is a root, and refer to object and guardian by an ephemeron: so neither lives
 * because of it, and it is whole until the finalizer has run.  That moves it to the guardian's
 * queue.  Nothing is allocated then, so nothing can fail.
 */
static struct registration *registration_of(scm v) { return (struct registration *)v; }

static void link_registration(struct vm *vm, scm r) {
  take(vm, &guardian_lock);
  store(vm, r, &registration_of(r)->next, registrations);
  if (registrations != SCM_FALSE)
    store(vm, registrations, &registration_of(registrations)->previous, r);
  registrations = r;
  give(&guardian_lock);
}

static void unlink_registration(struct vm *vm, struct registration *r) {
  if (r->next != SCM_FALSE)
    store(vm, r->next, &registration_of(r->next)->previous, r->previous);
  if (r->previous != SCM_FALSE)
    store(vm, r->previous, &registration_of(r->previous)->next, r->next);
  else
    registrations = r->next;
  r->next = r->previous = SCM_FALSE;
}

static void enqueue(struct vm *vm, scm g, scm r) {
  struct guardian *guardian = guardian_of(g);
  if (guardian->last == SCM_FALSE)
    store(vm, g, &guardian->first, r);
  else
    store(vm, guardian->last, &registration_of(guardian->last)->next, r);
  store(vm, g, &guardian->last, r);
}

/* The finalizer.  Between lock and unlock there is no safepoint. */
static void deliver(tarn_thread *self, void *object, void *data) {
  struct registration *r = data;
  struct vm *vm = vm_of(self);
  (void)object;
  take(vm, &guardian_lock);
  unlink_registration(vm, r);
  scm ticket = (scm)tarn_ephemeron_value(self, (void *)r->content);
  if (ticket) {
    store(vm, (scm)r, &r->content, cdr(ticket));
    enqueue(vm, car(ticket), (scm)r);
  }
  give(&guardian_lock);
}

/* When nothing else refers to the object, the guardian gives the representative.  The caller keeps
 * the object alive. */
static scm guard(struct vm *vm, scm guardian, scm object, scm representative) {
  scm watch = cons(vm, guardian, representative);
  ROOTS(vm, (void *)&watch);
  watch = watch ? (scm)tarn_ephemeron_new(vm->self, (void *)object, (void *)watch) : 0;
  scm r = watch ? (scm)make_object(vm, registration_type) : 0;
  if (!r)
    return out_of_memory(vm);
  registration_of(r)->next = registration_of(r)->previous = SCM_FALSE;
  registration_of(r)->content = watch;
  ROOTS(vm, (void *)&r);
  if (tarn_finalizer_add(vm->self, (void *)object, deliver, (void *)r) != TARN_OK)
    return out_of_memory(vm);
  link_registration(vm, r);
  return SCM_UNSPECIFIED;
}

/* The first of the queue, or #f. */
static scm dequeue(struct vm *vm, scm g) {
  struct guardian *guardian = guardian_of(g);
  scm item = SCM_FALSE;
  ROOTS(vm, (void *)&g);
  (void)tarn_finalizers_run(vm->self, 0);
  take(vm, &guardian_lock);
  if (guardian->first != SCM_FALSE) {
    const struct registration *r = registration_of(guardian->first);
    item = r->content;
    store(vm, g, &guardian->first, r->next);
    if (r->next == SCM_FALSE)
      guardian->last = SCM_FALSE;
  }
  give(&guardian_lock);
  return item;
}

/* Called as a procedure: () gives an object that died, or #f; (object [representative])
 * registers. */
scm guardian_call(struct vm *vm, scm guardian, int count, scm *arguments) {
  if (count == 0)
    return dequeue(vm, guardian);
  if (count > 2)
    return raise_error(vm, "error", "guardian", "too many arguments", 1, guardian);
  if (!is_object(arguments[0]))
    return wrong_type(vm, "guardian", 1, arguments[0]);
  return guard(vm, guardian, arguments[0], arguments[count - 1]);
}

static scm make_guardian(struct vm *vm, int count, scm *arguments) {
  (void)count, (void)arguments;
  struct guardian *guardian = make_object(vm, types.guardian);
  if (guardian)
    guardian->first = guardian->last = SCM_FALSE;
  return (scm)guardian;
}

static scm guardian_is(struct vm *vm, int count, scm *arguments) {
  (void)vm, (void)count;
  return boolean(is_guardian(arguments[0]));
}

/* (set-finalizer! object procedure): see `run-finalizers` in threads.scm. */
static scm set_finalizer(struct vm *vm, int count, scm *arguments) {
  (void)count;
  if (!is_object(arguments[0]))
    return wrong_type(vm, "set-finalizer!", 1, arguments[0]);
  if (!is_procedure(arguments[1]))
    return wrong_type(vm, "set-finalizer!", 2, arguments[1]);
  scm pair = cons(vm, arguments[0], arguments[1]);
  return pair ? guard(vm, finalizations, arguments[0], pair) : 0;
}

static scm next_finalization(struct vm *vm, int count, scm *arguments) {
  (void)count, (void)arguments;
  return dequeue(vm, finalizations);
}

/* (external-bytes! n): so many bytes more, or fewer, are kept outside of the heap. */
static scm external_bytes(struct vm *vm, int count, scm *arguments) {
  (void)count;
  if (!is_fixnum(arguments[0]))
    return wrong_type(vm, "external-bytes!", 1, arguments[0]);
  if (tarn_external_adjust(world, fixnum_value(arguments[0])) != TARN_OK)
    return out_of_range(vm, "external-bytes!", 1, arguments[0]);
  return SCM_UNSPECIFIED;
}

/* --- begin ----------------------------------------------------------------------------------- */

#define SHARED_WORDS(structure) (WORD(structure, shared.name) | WORD(structure, shared.specific))

void thread_types(void) {
  types.thread = make_type("thread", sizeof(struct thread),
                           SHARED_WORDS(thread) | WORD(thread, thunk) | WORD(thread, result) |
                               WORD(thread, owned),
                           free_shared);
  types.mutex =
      make_type("mutex", sizeof(struct mutex),
                SHARED_WORDS(mutex) | WORD(mutex, owner) | WORD(mutex, next), free_shared);
  types.condvar =
      make_type("condition-variable", sizeof(struct condvar), SHARED_WORDS(condvar), free_shared);
  channel_type = make_type("channel", sizeof(struct channel),
                           SHARED_WORDS(channel) | WORD(channel, items), free_channel);
  types.guardian = make_type("guardian", sizeof(struct guardian),
                             WORD(guardian, first) | WORD(guardian, last), NULL);
  registration_type = make_type(
      "registration", sizeof(struct registration),
      WORD(registration, next) | WORD(registration, previous) | WORD(registration, content), NULL);
}

static const struct primitive_def defs[] = {
    {"make-thread", make_thread, 1, 2},
    {"thread?", thread_is, 1, 1},
    {"thread-name", thread_name, 1, 1},
    {"thread-specific", thread_specific, 1, 1},
    {"thread-specific-set!", thread_specific_set, 2, 2},
    {"thread-start!", thread_start, 1, 1},
    {"thread-join!", thread_join, 1, 3},
    {"thread-terminate!", thread_terminate, 1, 1},
    {"thread-yield!", thread_yield, 0, 0},
    {"thread-sleep!", thread_sleep, 1, 1},
    {"current-thread", current_thread, 0, 0},
    {"current-time", current_time, 0, 0},
    {"make-mutex", make_mutex, 0, 1},
    {"mutex?", mutex_is, 1, 1},
    {"mutex-name", mutex_name, 1, 1},
    {"mutex-specific", mutex_specific, 1, 1},
    {"mutex-specific-set!", mutex_specific_set, 2, 2},
    {"mutex-state", mutex_state, 1, 1},
    {"mutex-lock!", mutex_lock, 1, 3},
    {"mutex-unlock!", mutex_unlock, 1, 3},
    {"make-condition-variable", make_condvar, 0, 1},
    {"condition-variable?", condvar_is, 1, 1},
    {"condition-variable-name", condvar_name, 1, 1},
    {"condition-variable-specific", condvar_specific, 1, 1},
    {"condition-variable-specific-set!", condvar_specific_set, 2, 2},
    {"condition-variable-signal!", condvar_signal, 1, 1},
    {"condition-variable-broadcast!", condvar_broadcast, 1, 1},
    {"make-channel", make_channel, 1, 1},
    {"channel?", channel_is, 1, 1},
    {"channel-put!", channel_put, 2, 2},
    {"channel-get!", channel_get, 1, 1},
    {"channel-close!", channel_close, 1, 1},
    {"make-guardian", make_guardian, 0, 0},
    {"guardian?", guardian_is, 1, 1},
    {"set-finalizer!", set_finalizer, 2, 2},
    {"%next-finalization", next_finalization, 0, 0},
    {"external-bytes!", external_bytes, 1, 1},
    {NULL, NULL, 0, 0}};

/* The thread that begins has an object, too, and never ends. */
void thread_begin(struct vm *vm) {
  registrations = finalizations = SCM_FALSE;
  if (tarn_root_add(world, (void **)&registrations) != TARN_OK ||
      tarn_root_add(world, (void **)&finalizations) != TARN_OK ||
      !(finalizations = make_guardian(vm, 0, NULL)) ||
      !(vm->thread = make_thread_object(vm, SCM_FALSE, SCM_FALSE))) {
    fprintf(stderr, "scheme: no memory at its start\n");
    exit(2);
  }
  thread_of(vm->thread)->state = THREAD_RUNNING;
  define_primitives(vm, defs);
}
