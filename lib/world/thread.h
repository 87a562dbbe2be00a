/* SPDX-License-Identifier: MIT */
/*
 * world/thread.h: threads and the registry of a world's threads.
 *
 * Who touches what in a thread: everything belongs to the owner, or to the requester of a stop
 * while the thread is stopped or blocked, except
 *
 *   pub.tarn_poll     any thread sets and clears bits, with atomic read-modify-writes
 *   pub.tarn_running  written by the owner, or for it when it is gone; read by a thread that uses
 *                     the handle wrongly
 *   state             written by the owner, read by requesters; the orders are in world/stop.c
 *   waits_for_worlds  written by the owner, read by requesters (world/fork.c)
 *   name              written by the owner under the stop's names_lock, which other readers take
 *   came_by, held_at  written by the owner, read by requesters (world/straggler.c)
 *   node              under the registry's lock (readers: RCU)
 *
 * The registry's lock is held by a requester for the whole of a stop, so attach and detach wait for
 * its end.  A thread must be blocked, or not attached, when it takes the lock.
 * A detached thread's record is kept for reuse and never freed before the world ends, so that the
 * use of a stale handle is found (state DETACHED) instead of being a wild access.
 *
 * A walker that reads the list under RCU may still stand on a record that was taken off it.  So a
 * detached record waits first, and one grace period is paid for many of them: by a thread that
 * attaches, finds no record that can be used at once, and TARN_RECORDS_WAIT or more that wait.
 * Others that come meanwhile wait for the end of that.  With fewer it takes a new one; so there are
 * never more than threads at a time and TARN_RECORDS_WAIT.  New ones come from blocks of
 * TARN_RECORDS_BLOCK, so that threads that come and go one after the other never need a second
 * block.
 *
 * In a world without a collector (tarn_hooks.uncollected) nobody walks the list, and a detached
 * record can be used again at once.  Its threads are blocked from the beginning.  In the child of a
 * fork the records of all other threads of such a world are abandoned: off the list, DETACHED, and
 * never used again, since their bins may be half changed; what they own stays theirs until somebody
 * needs it (heap/revive.c).
 */
#ifndef TARN_WORLD_THREAD_H
#define TARN_WORLD_THREAD_H

#include "heap/local.h"
#include <tarn/thread.h>

/* Bits of pub.tarn_poll. */
enum {
  TARN_POLL_STOP = TARN_INLINE_STOP,      /* a stop is on */
  TARN_POLL_RELEASE = TARN_POLL_CAN_WAIT, /* `free` functions are due */
  TARN_POLL_DETACHED = 1u << 2, /* the handle is not valid: misuse goes to the slow path */
  TARN_POLL_COLLECT = 1u << 3   /* a collection may be due */
};

/* States; stored in a uint32_t. */
enum {
  TARN_STATE_DETACHED = 0,
  TARN_STATE_RUNNING = 1,
  TARN_STATE_BLOCKED = 2,
  TARN_STATE_STOPPED = 3
};

#define TARN_SAVED_WORDS 128 /* at least the library's frames up to a caller, in any build */

struct tarn_mutator {
  struct tarn_local local; /* must be first */
  tarn_world *world;
  uint32_t state;    /* atomic */
  uint32_t blocked;  /* nesting of blocked regions */
  uint32_t attached; /* how often */
  tarn_status status;
  int id;                    /* the kernel's */
  uint32_t waits_for_worlds; /* atomic: waits for the list of worlds and touches nothing */
  uint32_t running_free;     /* inside a `free` or a handle's function: polls run none */
  struct tarn_dying *dying;  /* collect/counts.c: what this thread has still to give back */
  void *releasing;           /* the pool or large object that this thread releases objects of */
  bool left_for_worlds;      /* left the running state for that; the owner's alone */
  bool scan_stack;
  uintptr_t stack_high; /* one past the highest address of the C stack */
  uintptr_t stack_low;  /* where its owner stood when it stopped or blocked; 0 while it runs */
  uintptr_t
      saved[TARN_SAVED_WORDS]; /* a copy of the stack from that place on, registers included */
  void *fake_stack;            /* where AddressSanitizer keeps locals; NULL: on the stack */
  char name[32];
  /* For who is told of it; the owner's alone. */
  uint64_t attached_at, blocked_at;
  struct tarn_told_pair pair;
  bool died; /* is being detached because it exits */
  /* For reports; atomic.  The caller of the last call in which the thread could have been stopped,
   * fast paths excepted, and of the outermost hold that is open; 0: none. */
  uintptr_t came_by, held_at;
  struct tarn_mutator
      *next_world; /* the same thread's record in another world; the owner's alone */
  /* A line of its own, since the neighbours on the list write it.  And liburcu's loops end with the
   * address of a record that would hold the list's head: aligned as one, if both are so. */
  _Alignas(64) struct cds_list_head node;
  struct tarn_mutator *next_free; /* kept records */
};

#define TARN_RECORDS_WAIT 8u
#define TARN_RECORDS_BLOCK 16u

struct tarn_registry {
  pthread_mutex_t lock;
  /* Under the lock, but for walkers of the list. */
  _Alignas(64) struct cds_list_head list;
  struct tarn_mutator *kept;    /* detached, and no walker stands on them */
  struct tarn_mutator *waiting; /* detached, but for the grace period */
  unsigned waiting_count;       /* with those whose grace period runs */
  bool ending;                  /* a thread waits for one */
  uint32_t ended;               /* atomic, a futex: grows at its end */
  char *fresh, *fresh_end;      /* records of the newest block that were never used */
  _Atomic size_t count;         /* attached */
};

/* The calling thread's records in all worlds, linked through next_world, the last used first. */
extern _Thread_local struct tarn_mutator *tarn_thread_records
    __attribute__((tls_model("initial-exec")));

/* The caller's own state.  Relaxed: only the owner writes it. */
static inline uint32_t tarn_own_state(const struct tarn_mutator *self) {
  return __atomic_load_n(&self->state, __ATOMIC_RELAXED);
}

static inline struct tarn_mutator *tarn_mutator_of(tarn_thread *self) {
  return (struct tarn_mutator *)(void *)self;
}
static inline struct tarn_mutator *tarn_mutator_of_local(struct tarn_local *local) {
  return (struct tarn_mutator *)(void *)local;
}
static inline tarn_thread *tarn_thread_of(struct tarn_mutator *mutator) {
  return &mutator->local.pub;
}

/*
 * Is the calling thread in its last round of destructors of thread-specific data, or past them all?
 * Then nobody detaches it any more: who attaches has to.  Known of threads that had attached before
 * the rounds began.
 */
bool tarn_thread_is_over(void);

tarn_status tarn_registry_start(tarn_world *world);
void tarn_registry_end(tarn_world *world);

/*
 * May the calling thread use this handle now?  TARN_OK, TARN_EINVAL (NULL), TARN_EDETACHED,
 * TARN_EWRONGTHREAD.  For slow paths: one thread-local load and a compare.
 */
tarn_status tarn_thread_check(const tarn_thread *self);

/*
 * The same for calls that touch objects: TARN_EUNBALANCED as well, inside a blocked region, where
 * the collector does not wait for the thread.
 */
tarn_status tarn_thread_check_running(const tarn_thread *self);

/* The same, inlined, for who only wants to know whether it is TARN_OK; false may also mean that the
 * record has to be looked for. */
static inline bool tarn_thread_is_running(const tarn_thread *self) {
  const struct tarn_mutator *mutator = (const struct tarn_mutator *)(const void *)self;
  return TARN_LIKELY(tarn_thread_records == mutator && mutator != NULL) &&
         tarn_own_state(mutator) == TARN_STATE_RUNNING;
}

/*
 * Opens the inlined paths of tarn/inline.h for the caller, the handle's thread, or closes them:
 * they are open while it is running, and only in builds where blocks need no more than these paths
 * do.  A profile closes them: each raw block is counted then (heap/sample.h).
 * Relaxed: a thread that reads its own pointer there wrote it itself.
 */
static inline void tarn_thread_set_inlined(struct tarn_mutator *self, bool open) {
  bool plain = !TARN_CHECKING && !TARN_HARDENED && !TARN_ZEAL && !TARN_TOOLS;
  __atomic_store_n(
      &self->local.pub.tarn_running,
      open && plain && !self->local.store->sampling ? (uintptr_t)__builtin_thread_pointer() : 0,
      __ATOMIC_RELAXED);
}

/* The thread has come by, with a handle that is good.  Relaxed: a reader wants no more than it. */
static inline void tarn_thread_came_by(tarn_thread *self, const void *caller) {
  __atomic_store_n(&tarn_mutator_of(self)->came_by, (uintptr_t)caller, __ATOMIC_RELAXED);
}
/* For public functions: from where it came. */
#define TARN_CAME_BY(self) tarn_thread_came_by((self), __builtin_return_address(0))

/* The calling thread's name, as the system has it, is the record's from now on. */
void tarn_thread_rename(struct tarn_mutator *self);

/* Sets the thread's status; a status on a NULL or foreign handle is dropped. */
void tarn_thread_fail(tarn_thread *self, tarn_status status);

/* The calling thread's record in the world, or NULL; and its records in all worlds, linked through
 * next_world. */
struct tarn_mutator *tarn_mutator_self(const tarn_world *world);
struct tarn_mutator *tarn_mutator_first(void);

/* In the child of a fork, the registry locked: all threads of the world but the caller's (`self`,
 * or NULL) are gone; gives up their bins, or abandons them in a world without a collector. */
void tarn_registry_after_fork(tarn_world *world, struct tarn_mutator *self);

#endif
