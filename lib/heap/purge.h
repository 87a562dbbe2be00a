/* SPDX-License-Identifier: MIT */
/*
 * heap/purge.h: giving the memory of free units back to the system, after a delay or at once.
 *
 * How.  Under the store's lock a purge claims free dirty units: neither free nor in use, they
 * belong to it.  It gives their memory back without that lock, a few megabytes at a time, and puts
 * them back, clean; or dirty still, if the system refused.  The purge's own lock is held from the
 * claim to the end, so whoever has it (a fork, an allocation that found nothing) knows that no unit
 * is claimed and no arena on its way out.
 *
 * When.  A unit whose memory may be other than zero notes the tick at which it became free.  A
 * thread, made when enough of that lies about and ended when there is nothing to do for a while,
 * comes round four times in each delay.  Where there can be no thread (the option says so, the
 * system has none, the child of a fork under ThreadSanitizer), the program's threads do its rounds
 * when they come by tarn_purge_tend.
 *
 * A malloc cannot make a thread in any free or malloc: the caller may hold locks of the C library
 * that pthread_create takes.  In its world the thread is made at the few moments that
 * tarn_purge_begin is called, and stays, though there may be nothing to do for hours: it sleeps
 * until the bell rings, which is one system call of the thread that makes the first work again.
 * Before there is a thread, the program's do its rounds.
 *
 * Order of locks: purge > walk > store.  A thread that holds a heap's lock does not wait for the
 * purge's.
 */
#ifndef TARN_HEAP_PURGE_H
#define TARN_HEAP_PURGE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tarn_store;

struct tarn_purge {
  /* Set before the first allocation. */
  uint32_t delay; /* ticks; 0: at once */
  bool threaded;  /* a thread may be made; in the child of a fork it may become false */
  bool stays;     /* only by tarn_purge_begin, and then it stays */

  pthread_mutex_t lock; /* see above */
  uint32_t asked;       /* atomic: those that wait for the lock; a purge lets them go first */

  /* Under the store's lock. */
  bool running;        /* there is a thread, or one is being made */
  bool failed;         /* the last one could not be made: */
  uint32_t retry_at;   /* try again at this tick */
  uint32_t round_at;   /* ticks of the last round that a thread of the program did, and of the */
  uint32_t settled_at; /* last one with a look for other work */
  bool ended;          /* no round begins any more */
  uint64_t allocated;  /* of the store, when a round looked last and it had changed, */
  uint32_t active_at;  /* and the tick of that */

  size_t keep;       /* atomic: see tarn_purge_keep */
  uint32_t again_at; /* atomic: the tick of the next round of the program, if purge_due says so */
  uint32_t threads;  /* atomic, a futex: threads that may still touch the store */
  uint32_t bell;     /* atomic, a futex that the thread sleeps on; its bits are in purge.c */
};

/* Values for the fields of the first group; `delay_ns` as in the option. */
void tarn_purge_start(struct tarn_store *store);
void tarn_purge_configure(struct tarn_store *store, uint64_t delay_ns, bool threaded);
void tarn_purge_stay(struct tarn_store *store);

/*
 * Where the thread stays: makes it, if there may be one and there is none.  Calls pthread_create,
 * which calls malloc: as tarn_purge_tend, but the caller holds none of the C library's locks
 * either.  Keeps errno.
 */
void tarn_purge_begin(struct tarn_store *store);

/*
 * Where the thread stays: lets it end, for the program has no thread left that allocates.  A
 * process ends when its last thread does, which ours must not be for ever.  Any lock but the
 * store's and later ones may be held.
 */
void tarn_purge_let_go(struct tarn_store *store);

/*
 * Ends the thread and waits until it is gone; no round begins afterwards.  May be called again.
 * The caller holds no lock.
 */
void tarn_purge_end(struct tarn_store *store);

/*
 * Free memory that the program is about to use again, since it will allocate so much before the
 * next collection: rounds leave so many bytes alone, however long they are free, until nothing was
 * allocated for two delays.
 */
void tarn_purge_keep(struct tarn_store *store, size_t bytes);

/* Under the store's lock, after units became free: notes if somebody should tend to them. */
void tarn_purge_note(struct tarn_store *store, uint32_t now);

/* Asks for a round though no unit became free: there is other work, see tarn_heap_settle_orphans.
 * The caller has published that work.  Any thread, any lock. */
void tarn_purge_want(struct tarn_store *store);
/* The same where nothing is lost if nobody comes this time: calls the thread that stays, if there
 * is one, which then does rounds for longer than the delay.  Costs a look if it has been called. */
void tarn_purge_hint(struct tarn_store *store);

/*
 * Makes the thread, or does a round.  May call pthread_create, which may call malloc: the caller
 * holds no lock of the library, is in no stop of its own, and in no change of its bins.  Keeps
 * errno.
 */
void tarn_purge_tend(struct tarn_store *store);

/* The purge's lock, for others: waits for the end of a few megabytes at most. */
void tarn_purge_lock(struct tarn_store *store);
void tarn_purge_unlock(struct tarn_store *store);

/* In the child of a fork, all locks held: the thread is not there. */
void tarn_purge_after_fork(struct tarn_store *store);

#endif
