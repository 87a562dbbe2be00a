/* SPDX-License-Identifier: MIT */
/*
 * thread.c: threads, mutexes and condition variables after SRFI 18, and channels.
 *
 * A Scheme thread is a thread of the system with a VM of its own, and all run at the same time.
 * When the main program ends, the process does, whatever other threads are at; join those that
 * matter.
 *
 * Locks.  Objects do not move, so pthread mutexes and conditions stand in them, and their free
 * functions destroy them.  One rule keeps them and stops apart: whoever would have to wait for a
 * lock does so in a blocked region (`take_lock` and `wait_on`, nothing else).  So a thread may well
 * be stopped while it holds one: the others that want it hold up no collection.  Where two are
 * held, the order is condition variable, mutex, thread.
 *
 * Life.  A new thread is in nobody's roots until its VM has its object: `thread-start!` waits for
 * that, and keeps the object meanwhile as its argument.
 *
 * Timeouts are numbers of seconds from now, or #f for none.
 */
#include "scheme.h"
#include <errno.h>
#include <math.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

struct shared { /* how threads, mutexes, condition variables and channels begin */
  const tarn_type *type;
  pthread_mutex_t lock;
  pthread_cond_t changed;
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
  scm bindings;   /* of parameters, from who started it */
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

DEFINE_TEST(thread)
DEFINE_TEST(mutex)
static bool is_condvar(scm v) { return has_type(v, types.condvar); }
static struct shared *shared_of(scm v) { return (struct shared *)v; }

static const tarn_type *channel_type;
static bool is_channel(scm v) { return has_type(v, channel_type); }
static struct channel *channel_of(scm v) { return (struct channel *)v; }

/* --- locks, and waiting ---------------------------------------------------------------------- */

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
  (void)pthread_cond_destroy(&shared->changed);
  (void)pthread_mutex_destroy(&shared->lock);
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
  (void)pthread_mutex_init(&shared->lock, NULL);
  condition_begin(&shared->changed);
  shared->name = name;
  shared->specific = SCM_UNSPECIFIED;
  return shared;
}

static const struct timespec never = {.tv_sec = INT32_MAX};

/* False: it is `limit`.  It may also return for no reason. */
static bool wait_on(struct vm *vm, pthread_cond_t *condition, pthread_mutex_t *lock,
                    const struct timespec *limit) {
  tarn_block_begin(vm->self);
  int status = limit->tv_sec == never.tv_sec ? pthread_cond_wait(condition, lock)
                                             : pthread_cond_timedwait(condition, lock, limit);
  tarn_block_end(vm->self);
  return status != ETIMEDOUT;
}

#define SECONDS_MOST 1e9

/* The time that is as many seconds from now as an argument says, which may be #f, or need not be
 * there: never.  False: it is no number, and the condition is set. */
static bool read_timeout(struct vm *vm, const char *who, int argument, int count,
                         const scm *arguments, struct timespec *time) {
  scm v = count < argument ? SCM_FALSE : arguments[argument - 1];
  double seconds = is_fixnum(v) ? (double)fixnum_value(v) : is_flonum(v) ? flonum_value(v) : NAN;
  *time = never;
  if (v == SCM_FALSE)
    return true;
  if (isnan(seconds)) /* or a bignum, or no number at all */
    return is_number(v) ? out_of_range(vm, who, argument, v) : wrong_type(vm, who, argument, v);
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

DEFINE("thread-sleep!", thread_sleep, 1, 1, is_number) {
  struct timespec until;
  if (!read_timeout(vm, who, 1, count, arguments, &until))
    return 0;
  tarn_block_begin(vm->self);
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
    ;
  tarn_block_end(vm->self);
  return SCM_UNSPECIFIED;
}

DEFINE("thread-yield!", thread_yield, 0, 0) {
  tarn_block_begin(vm->self);
  (void)sched_yield();
  tarn_block_end(vm->self);
  return SCM_UNSPECIFIED;
}

/* --- what threads, mutexes and condition variables have in common ---------------------------- */

#define DEFINE_SHARED(kind, prefix)                                                              \
  DEFINE_PREDICATE(prefix "?", kind##_is, is_##kind(v))                                          \
  DEFINE(prefix "-name", kind##_name, 1, 1, is_##kind) { return shared_of(arguments[0])->name; } \
  DEFINE(prefix "-specific", kind##_specific, 1, 1, is_##kind) {                                 \
    return shared_of(arguments[0])->specific;                                                    \
  }                                                                                              \
  DEFINE(prefix "-specific-set!", kind##_specific_set, 2, 2, is_##kind) {                        \
    store(vm, arguments[0], &shared_of(arguments[0])->specific, arguments[1]);                   \
    return SCM_UNSPECIFIED;                                                                      \
  }
DEFINE_SHARED(thread, "thread")
DEFINE_SHARED(mutex, "mutex")
DEFINE_SHARED(condvar, "condition-variable")

/* --- owners of mutexes ----------------------------------------------------------------------- */

/* Locks a mutex that is free, with its own lock held.  `owner` is #f or a thread; one that is over
 * abandons it at once. */
static void own(struct vm *vm, scm m, scm owner) {
  struct mutex *mutex = mutex_of(m);
  mutex->locked = true;
  mutex->abandoned = false;
  if (owner == SCM_FALSE)
    return;
  struct thread *thread = thread_of(owner);
  take_lock(vm, &thread->shared.lock);
  if (thread->state >= THREAD_ENDED) {
    mutex->locked = false;
    mutex->abandoned = true;
    (void)pthread_cond_signal(&mutex->shared.changed);
  } else {
    store(vm, m, &mutex->owner, owner);
    store(vm, m, &mutex->next, thread->owned);
    store(vm, owner, &thread->owned, m);
  }
  give_lock(&thread->shared.lock);
}

/* Unlocks a mutex, with its own lock held, and tells one of those who wait. */
static void disown(struct vm *vm, scm m, bool abandoned) {
  struct mutex *mutex = mutex_of(m);
  scm owner = mutex->owner, holder = owner;
  if (owner != SCM_FALSE) {
    struct thread *thread = thread_of(owner);
    take_lock(vm, &thread->shared.lock);
    scm *slot = &thread->owned;
    while (*slot != m) {
      holder = *slot;
      slot = &mutex_of(holder)->next;
    }
    store(vm, holder, slot, mutex->next);
    mutex->next = mutex->owner = SCM_FALSE;
    give_lock(&thread->shared.lock);
  }
  mutex->locked = false;
  mutex->abandoned = abandoned;
  (void)pthread_cond_signal(&mutex->shared.changed);
}

/* --- threads --------------------------------------------------------------------------------- */

static scm make_thread_object(struct vm *vm, scm thunk, scm name) {
  struct thread *thread = make_shared(vm, types.thread, name);
  if (!thread)
    return 0;
  thread->thunk = thunk;
  thread->bindings = SCM_NIL;
  thread->result = thread->owned = SCM_FALSE;
  return (scm)thread;
}

DEFINE("make-thread", make_thread, 1, 2, is_procedure) {
  return make_thread_object(vm, arguments[0], count > 1 ? arguments[1] : SCM_FALSE);
}

/* The thread is over: its mutexes are abandoned, and then those who wait for it told. */
static void finish(struct vm *vm, scm t, unsigned state, scm result) {
  struct thread *thread = thread_of(t);
  scm m = SCM_FALSE;
  ROOTS(vm, (void *)&t, (void *)&result, (void *)&m);
  take_lock(vm, &thread->shared.lock);
  while ((m = thread->owned) != SCM_FALSE) {
    give_lock(&thread->shared.lock);
    take_lock(vm, &mutex_of(m)->shared.lock);
    if (mutex_of(m)->owner == t)
      disown(vm, m, true);
    give_lock(&mutex_of(m)->shared.lock);
    take_lock(vm, &thread->shared.lock);
  }
  store(vm, t, &thread->result, result);
  thread->thunk = SCM_FALSE;
  thread->bindings = SCM_NIL;
  thread->state = state;
  (void)pthread_cond_broadcast(&thread->shared.changed);
  give_lock(&thread->shared.lock);
}

/* For Tarn's reports of threads that hold up a stop. */
static void name_thread(struct vm *vm, scm name) {
  if (is_symbol(name))
    name = symbol_of(name)->name;
  scm text = is_string(name) ? string_to_utf8(vm, name, NULL) : 0;
  if (text)
    (void)tarn_thread_set_name(vm->self, (const char *)text);
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

/* `thread-start!` keeps the object alive until the state is no longer STARTING. */
static void *run_thread(void *object) {
  struct thread *thread = object;
  (void)pthread_mutex_lock(&thread->shared.lock); /* not attached yet: no region */
  struct vm *vm = vm_make();
  if (vm) {
    vm->thread = (scm)thread;
    vm->bindings = thread->bindings;
  }
  thread->state = vm ? THREAD_RUNNING : THREAD_NEW;
  (void)pthread_cond_broadcast(&thread->shared.changed);
  give_lock(&thread->shared.lock);
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
static int create(struct vm *vm, struct thread *thread) {
  pthread_attr_t attributes;
  pthread_t ignored;
  (void)pthread_attr_init(&attributes);
  (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  tarn_block_begin(vm->self);
  int status = pthread_create(&ignored, &attributes, run_thread, thread);
  tarn_block_end(vm->self);
  (void)pthread_attr_destroy(&attributes);
  return status;
}

/* From NEW to STARTING, which only one caller can do.  The state before. */
static unsigned claim(struct vm *vm, struct thread *thread) {
  take_lock(vm, &thread->shared.lock);
  unsigned state = thread->state;
  if (state == THREAD_NEW) {
    thread->state = THREAD_STARTING;
    store(vm, (scm)thread, &thread->bindings, vm->bindings);
  }
  give_lock(&thread->shared.lock);
  return state;
}

DEFINE("thread-start!", thread_start, 1, 1, is_thread) {
  struct thread *thread = thread_of(arguments[0]);
  if (claim(vm, thread) != THREAD_NEW)
    return raise_error(vm, "error", who, "the thread was started before", 1, arguments[0]);
  int status = create(vm, thread);
  take_lock(vm, &thread->shared.lock);
  if (status != 0)
    thread->state = THREAD_NEW;
  while (thread->state == THREAD_STARTING)
    (void)wait_on(vm, &thread->shared.changed, &thread->shared.lock, &never);
  bool started = thread->state != THREAD_NEW;
  give_lock(&thread->shared.lock);
  return started ? arguments[0] : system_error(vm, who, status ? status : ENOMEM, arguments[0]);
}

DEFINE("thread-join!", thread_join, 1, 3, is_thread) {
  struct thread *thread = thread_of(arguments[0]);
  struct timespec limit;
  if (!read_timeout(vm, who, 2, count, arguments, &limit))
    return 0;
  bool in_time = true;
  take_lock(vm, &thread->shared.lock);
  while (thread->state < THREAD_ENDED && in_time)
    in_time = wait_on(vm, &thread->shared.changed, &thread->shared.lock, &limit);
  unsigned state = thread->state;
  give_lock(&thread->shared.lock);
  switch (state) {
  case THREAD_ENDED:
    return thread->result;
  case THREAD_FAILED:
    return raise_error(vm, "uncaught-exception", who, "the thread raised an exception", 1,
                       thread->result);
  case THREAD_TERMINATED:
    return raise_error(vm, "terminated-thread", who, "the thread was terminated", 1, arguments[0]);
  }
  return count > 2
             ? arguments[2]
             : raise_error(vm, "join-timeout", who, "the thread has not ended", 1, arguments[0]);
}

/* A thread that runs cannot be ended from outside: it may hold locks of C libraries, and be about
 * to release a resource.  One that was never started can, and one that is over stays so. */
DEFINE("thread-terminate!", thread_terminate, 1, 1, is_thread) {
  unsigned state = claim(vm, thread_of(arguments[0]));
  if (state == THREAD_NEW)
    finish(vm, arguments[0], THREAD_TERMINATED, SCM_FALSE);
  else if (state < THREAD_ENDED)
    return raise_error(vm, "error", who, "a thread that was started ends by itself only", 1,
                       arguments[0]);
  return SCM_UNSPECIFIED;
}

DEFINE("current-thread", current_thread, 0, 0) { return vm->thread; }

/* --- mutexes --------------------------------------------------------------------------------- */

DEFINE("make-mutex", make_mutex, 0, 1) {
  struct mutex *mutex = make_shared(vm, types.mutex, count > 0 ? arguments[0] : SCM_FALSE);
  if (mutex)
    mutex->owner = mutex->next = SCM_FALSE;
  return (scm)mutex;
}

DEFINE("mutex-state", mutex_state, 1, 1, is_mutex) {
  struct mutex *mutex = mutex_of(arguments[0]);
  take_lock(vm, &mutex->shared.lock);
  scm owner = mutex->owner;
  bool locked = mutex->locked, abandoned = mutex->abandoned;
  give_lock(&mutex->shared.lock);
  if (owner != SCM_FALSE)
    return owner;
  return intern(vm, locked ? "not-owned" : abandoned ? "abandoned" : "not-abandoned");
}

static bool is_owner(scm v) { return v == SCM_FALSE || is_thread(v); }

/* (mutex-lock! mutex [timeout [owner]]).  A thread that waits for itself waits for ever. */
DEFINE("mutex-lock!", mutex_lock, 1, 3, is_mutex, is_any, is_owner) {
  struct mutex *mutex = mutex_of(arguments[0]);
  struct timespec limit;
  if (!read_timeout(vm, who, 2, count, arguments, &limit))
    return 0;
  bool in_time = true;
  take_lock(vm, &mutex->shared.lock);
  while (mutex->locked && in_time)
    in_time = wait_on(vm, &mutex->shared.changed, &mutex->shared.lock, &limit);
  bool locked = !mutex->locked, abandoned = locked && mutex->abandoned;
  if (locked)
    own(vm, arguments[0], count > 2 ? arguments[2] : vm->thread);
  give_lock(&mutex->shared.lock);
  if (abandoned)
    return raise_error(vm, "abandoned-mutex", who,
                       "a thread ended that had locked the mutex; it is locked again", 1,
                       arguments[0]);
  return boolean(locked);
}

static void unlock(struct vm *vm, scm m) {
  take_lock(vm, &mutex_of(m)->shared.lock);
  disown(vm, m, false);
  give_lock(&mutex_of(m)->shared.lock);
}

/* (mutex-unlock! mutex [condition-variable [timeout]]).  Any thread may unlock.  As with POSIX, the
 * wait may end without a signal.  With the condition variable's lock from before the mutex is free
 * until the wait begins, no signal in between is lost. */
DEFINE("mutex-unlock!", mutex_unlock, 1, 3, is_mutex) {
  struct timespec limit;
  if (count < 2 || arguments[1] == SCM_FALSE) {
    unlock(vm, arguments[0]);
    return SCM_TRUE;
  }
  if (!is_condvar(arguments[1]))
    return wrong_type(vm, who, 2, arguments[1]);
  struct shared *condvar = shared_of(arguments[1]);
  if (!read_timeout(vm, who, 3, count, arguments, &limit))
    return 0;
  take_lock(vm, &condvar->lock);
  unlock(vm, arguments[0]);
  bool in_time = wait_on(vm, &condvar->changed, &condvar->lock, &limit);
  give_lock(&condvar->lock);
  return boolean(in_time);
}

/* --- condition variables --------------------------------------------------------------------- */

DEFINE("make-condition-variable", make_condvar, 0, 1) {
  return (scm)make_shared(vm, types.condvar, count > 0 ? arguments[0] : SCM_FALSE);
}

static scm tell(struct vm *vm, struct shared *condvar, int (*how)(pthread_cond_t *)) {
  take_lock(vm, &condvar->lock);
  (void)how(&condvar->changed);
  give_lock(&condvar->lock);
  return SCM_UNSPECIFIED;
}

DEFINE("condition-variable-signal!", condvar_signal, 1, 1, is_condvar) {
  return tell(vm, shared_of(arguments[0]), pthread_cond_signal);
}
DEFINE("condition-variable-broadcast!", condvar_broadcast, 1, 1, is_condvar) {
  return tell(vm, shared_of(arguments[0]), pthread_cond_broadcast);
}

/* --- channels -------------------------------------------------------------------------------- */

#define CHANNEL_MOST (1 << 24)

DEFINE_PREDICATE("channel?", channel_is, is_channel(v))

DEFINE("make-channel", make_channel, 1, 1) {
  size_t capacity;
  if (!index_argument(vm, who, 1, arguments[0], CHANNEL_MOST, &capacity))
    return 0;
  if (capacity == 0)
    return out_of_range(vm, who, 1, arguments[0]);
  scm items = make_vector(vm, capacity, SCM_FALSE);
  ROOTS(vm, (void *)&items);
  struct channel *channel = items ? make_shared(vm, channel_type, SCM_FALSE) : NULL;
  if (!channel)
    return 0;
  condition_begin(&channel->room);
  channel->items = items;
  return (scm)channel;
}

DEFINE("channel-put!", channel_put, 2, 2, is_channel) {
  struct channel *channel = channel_of(arguments[0]);
  struct vector *ring = vector_of(channel->items);
  take_lock(vm, &channel->shared.lock);
  while (channel->count == ring->count && !channel->closed)
    (void)wait_on(vm, &channel->room, &channel->shared.lock, &never);
  bool open = !channel->closed;
  if (open) {
    size_t at = (channel->first + channel->count++) % ring->count;
    store(vm, channel->items, &ring->items[at], arguments[1]);
    (void)pthread_cond_signal(&channel->shared.changed);
  }
  give_lock(&channel->shared.lock);
  return open ? SCM_UNSPECIFIED
              : raise_error(vm, "error", who, "the channel is closed", 1, arguments[0]);
}

/* Of a closed channel, what is left, and then the end-of-file object. */
DEFINE("channel-get!", channel_get, 1, 1, is_channel) {
  struct channel *channel = channel_of(arguments[0]);
  struct vector *ring = vector_of(channel->items);
  scm item = SCM_EOF;
  take_lock(vm, &channel->shared.lock);
  while (channel->count == 0 && !channel->closed)
    (void)wait_on(vm, &channel->shared.changed, &channel->shared.lock, &never);
  if (channel->count > 0) {
    item = ring->items[channel->first];
    ring->items[channel->first] = SCM_FALSE;
    channel->first = (channel->first + 1) % ring->count;
    channel->count--;
    (void)pthread_cond_signal(&channel->room);
  }
  give_lock(&channel->shared.lock);
  return item;
}

DEFINE("channel-close!", channel_close, 1, 1, is_channel) {
  struct channel *channel = channel_of(arguments[0]);
  take_lock(vm, &channel->shared.lock);
  channel->closed = true;
  (void)pthread_cond_broadcast(&channel->shared.changed);
  (void)pthread_cond_broadcast(&channel->room);
  give_lock(&channel->shared.lock);
  return SCM_UNSPECIFIED;
}

/* --- begin ----------------------------------------------------------------------------------- */

#define SHARED_WORDS(structure) (WORD(structure, shared.name) | WORD(structure, shared.specific))

void thread_types(void) {
  types.thread = make_type("thread", sizeof(struct thread),
                           SHARED_WORDS(thread) | WORD(thread, thunk) | WORD(thread, bindings) |
                               WORD(thread, result) | WORD(thread, owned),
                           free_shared);
  types.mutex =
      make_type("mutex", sizeof(struct mutex),
                SHARED_WORDS(mutex) | WORD(mutex, owner) | WORD(mutex, next), free_shared);
  types.condvar =
      make_type("condition-variable", sizeof(struct condvar), SHARED_WORDS(condvar), free_shared);
  channel_type = make_type("channel", sizeof(struct channel),
                           SHARED_WORDS(channel) | WORD(channel, items), free_channel);
}

/* The thread that begins has an object, too, and never ends. */
void thread_begin(struct vm *vm) {
  vm->thread = make_thread_object(vm, SCM_FALSE, SCM_FALSE);
  must_begin(vm->thread);
  thread_of(vm->thread)->state = THREAD_RUNNING;
}
