/* SPDX-License-Identifier: MIT */
/*
 * collect/sweeper.h: a thread that sweeps ahead of the program's, and collects what lies idle.
 *
 * It is a thread of the library's own, which no stop waits for: it touches pools in visits
 * (tarn_store_visit), one pool each, and stays away while a stop is on.  It is made, with the world
 * running, when the world first holds some memory, so that small worlds never have one; it sleeps
 * until a full collection leaves pools to be swept, and ends with the world.
 *
 * Idle collections.  What a program dropped before it fell idle is found by no collection, for
 * allocation starts them.  So the sweeper wakes once in each period of the option idle-collect;
 * when nothing was allocated for a whole one, and enough since the last full collection that it may
 * be worth while, it collects, and what that finds goes back to the system after its time.  Threads
 * that do not come to a safepoint soon make it give up: nobody shall wait in a stop that nobody
 * asked for.
 */
#ifndef TARN_COLLECT_SWEEPER_H
#define TARN_COLLECT_SWEEPER_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tarn_collector;

struct tarn_sweeper {
  bool sweeps;      /* ahead of the others; set before the first allocation, as the next */
  uint64_t idle_ns; /* 0: no idle collections */

  pthread_mutex_t lock; /* guards the next two; a leaf */
  bool ended;           /* no thread begins any more */
  uint32_t retry_at;    /* after a failure to make one: the tick of the next attempt */

  /* Atomic. */
  uint8_t state;    /* of sweeper.c: whether there is a thread, read relaxed as a hint */
  uint32_t threads; /* a futex: threads that may still touch the world */
  uint32_t bell;    /* a futex: moves on when there is something to see */
  size_t keep;      /* free memory not to be given back after the sweep; written in stops */
  uint64_t full_at; /* what the store had allocated at the last full collection; the same */
};

void tarn_sweeper_start(struct tarn_collector *collector);

/* Ends the thread, and waits for it; called again it does nothing. */
void tarn_sweeper_end(struct tarn_collector *collector);

/* With the world running, before bins are refilled: makes the thread when it is time.  May call
 * malloc, so the caller holds no lock and its bins are whole. */
void tarn_sweeper_make(struct tarn_collector *collector);

/* A full collection has left pools to be swept: calls the thread. */
void tarn_sweeper_call(struct tarn_collector *collector);

/* All pools are swept: free memory goes back but for `keep`.  No lock is held. */
void tarn_sweeper_give_back(struct tarn_collector *collector);

/* Around fork.  The child has no thread. */
void tarn_sweeper_lock(struct tarn_collector *collector);
void tarn_sweeper_unlock(struct tarn_collector *collector);
void tarn_sweeper_after_fork(struct tarn_collector *collector);

#endif
