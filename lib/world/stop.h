/* SPDX-License-Identifier: MIT */
/*
 * world/stop.h: stopping the world.
 *
 * One requester at a time holds the world's GC lock, by try-lock; who finds it taken joins.  The
 * requester also takes the registry's lock, raises the stop bit in each thread's poll word, and
 * waits until no thread is running: for one after the other, a few pauses, then a futex that this
 * one wakes.  See stop.c for the orders.
 *
 * A thread that is attached to several worlds can be waited for in each of them.  While it waits in
 * one of them it does not come to a safepoint of another: it should be blocked in all but one.
 */
#ifndef TARN_WORLD_STOP_H
#define TARN_WORLD_STOP_H

#include "os/histogram.h"
#include "world/thread.h"

#define TARN_STOPS_KEPT 1024u
#define TARN_WAITED_KEPT 4u

/* One that the requester waited for. */
struct tarn_waited {
  char name[32];
  int id;
  uint64_t ns;
};

/* What is told of a stop (heap/told.h). */
struct tarn_stop_told {
  uint64_t number;   /* among those that came about, from 1 */
  uint64_t asked_at; /* when it was asked for, and when all stood still */
  uint64_t stood_at;
  uint64_t ended_at;                           /* 0 while it is on */
  bool forks;                                  /* for a fork */
  char last[32];                               /* who was last; "": nobody was waited for */
  unsigned waited_count;                       /* if wanted: how many were waited for, */
  struct tarn_waited waited[TARN_WAITED_KEPT]; /* and the last of them, the last one first */
  struct tarn_told_pair *pair;
};

struct tarn_stop {
  /* The GC lock and the number of stops in one: even, nobody has it; odd, a stop is on or about to
   * be.  The taker adds one and the giver adds one.  Atomic. */
  uint32_t gc_lock;
  uint32_t serial;   /* atomic: gc_lock as the last stop that ended left it; a futex for those who
                      * stand still or join */
  uint32_t arrivals; /* atomic: a futex that the requester sleeps on */
  struct tarn_mutator *awaited; /* atomic: the requester sleeps, or is about to, until this one
                                 * stands still; NULL: it does not */
  uint32_t owed; /* atomic: threads that were overtaken by a stop and must run before the next;
                  * a futex */
  /* Atomic: the callers of tarn_stop_begin_always have numbers; the next one's, and whose turn it
   * is.  The same: none waits. */
  uint32_t next_turn, turn;
  uint32_t give_way; /* atomic: threads that fork: they may be in a hold, so others give up */
  struct tarn_mutator *requester; /* under the registry's lock; NULL for one that is not attached */
  /* Of the last stop; written by requesters, read relaxed by anybody. */
  _Atomic uint64_t last_ns, max_ns, total_ns;
  struct tarn_histogram histogram;
  _Atomic uint64_t count;
  _Atomic uint32_t times[TARN_STOPS_KEPT]; /* nanoseconds, cut off at 4.29 s; a ring */
  _Atomic uint32_t overtaken_max; /* stops that a thread on its way back stood still for, at most;
                                   * written by such threads */
  uint64_t asked_at;          /* when the present stop was asked for; under the registry's lock */
  struct tarn_stop_told told; /* of the present one; under the registry's lock */
  struct tarn_told_pair pair; /* the same */
  pthread_mutex_t names_lock; /* guards the two names and those of the threads; a leaf */
  char last_thread[32], max_thread[32];
};

tarn_status tarn_stop_start(tarn_world *world);
void tarn_stop_finish(tarn_world *world);

/*
 * Stops the world for the caller, who is attached and running (`self`) or not attached (NULL).
 * True: all other threads are stopped or blocked, and stay so until tarn_stop_end.
 * False: another thread's stop was on; the caller was stopped for it, and it has ended.  That stop
 * began after this call, or at least had not yet stopped the caller; but it need not have been a
 * collection, and it may have been given up: who wanted a collection looks whether there was one.
 * The caller does not hold the collector off, and holds no lock that a running thread may want.
 */
bool tarn_stop_begin(tarn_world *world, struct tarn_mutator *self);
void tarn_stop_end(tarn_world *world, struct tarn_mutator *self);

/* As tarn_stop_begin, but waits for its turn instead of joining.  Who merely tries leaves it the
 * next stop, and of several that wait for theirs each has one in the order in which they came. */
void tarn_stop_begin_always(tarn_world *world, struct tarn_mutator *self);

/*
 * The same for the thread that forks, which may be blocked, and stays so, or in a hold: stops that
 * others are about to make give up.  Nothing may be collected in this stop: another thread that
 * waits for the list of worlds in a hold counts as standing still.
 */
void tarn_stop_begin_fork(tarn_world *world, struct tarn_mutator *self);

/*
 * For a thread that is not attached, and wants the stop for reasons of its own: false at once if
 * another one is on, and when a thread does not come to a safepoint within some milliseconds.
 */
bool tarn_stop_begin_idle(tarn_world *world);

/* If a stop is on, or asked for: waits for its end.  For threads that are not attached. */
void tarn_stop_wait_over(tarn_world *world);

/*
 * Notes where the calling thread stands on its C stack, and its callee-saved registers, if its
 * stack is scanned.  For the requester again when it scans: what its frames held when the stop
 * began, frames that are called since may hold now.
 */
void tarn_stop_save_stack(struct tarn_mutator *self);

/*
 * Calls `fn` for each word of a thread's stack from `low` up, and of frames that AddressSanitizer
 * keeps elsewhere; and for each word that the thread saved.  The thread stands still, or is the
 * caller.
 */
typedef void (*tarn_word_fn)(void *data, uintptr_t word);
void tarn_stop_each_word(const struct tarn_mutator *mutator, uintptr_t low, tarn_word_fn fn,
                         void *data);
void tarn_stop_each_saved(const struct tarn_mutator *mutator, tarn_word_fn fn, void *data);

/* If a stop is on and the thread holds nothing off: stands still until it ends. */
void tarn_stop_poll(struct tarn_mutator *self);

/* Leaves the running state without a safepoint of its own, for a wait inside the library; and back,
 * which waits while a stop is on.  These are what blocked regions are made of. */
void tarn_stop_leave(struct tarn_mutator *self);
void tarn_stop_enter(struct tarn_mutator *self);

/* Sets a poll bit in every attached thread; takes no lock, any thread, also during a stop.  A
 * thread that attaches at the same time may be missed: attaching sets TARN_POLL_RELEASE by itself.
 */
void tarn_stop_ask(tarn_world *world, uint32_t bit);

/* In the child of a fork, with the stop still on: nobody else waits for anything any more. */
void tarn_stop_after_fork(tarn_world *world);

#endif
