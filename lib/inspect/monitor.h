/* SPDX-License-Identifier: MIT */
/*
 * inspect/monitor.h: a thread that does what is asked for from outside of the program.
 *
 * A request is a function and a counter.  Who asks, be it a handler of signals, adds one to the
 * counter and rings the bell; the monitor of each world that has such a request then calls the
 * function, once for all that were counted meanwhile.  The monitor is a thread of the library's own
 * that is not attached: its functions may stop the world as one that is not (NULL for `self`), and
 * may wait, for nobody waits for them but the end of the world.
 *
 * There is one for each world that an option gives something to do, from the world's creation to
 * its end.  The child of a fork makes its own; what was asked of its parent is not asked of it.
 *
 * Who may touch what: the list of monitors and the signals are under a lock of the process; a
 * monitor's requests are written before it has a thread, and then are its own.
 */
#ifndef TARN_INSPECT_MONITOR_H
#define TARN_INSPECT_MONITOR_H

#include "collect/collector.h"

#define TARN_MONITOR_REQUESTS 4u

struct tarn_monitor;
typedef void (*tarn_monitor_fn)(struct tarn_monitor *monitor);

struct tarn_monitor_request {
  const uint32_t *asked; /* atomic; another's */
  uint32_t answered;
  tarn_monitor_fn fn;
};

struct tarn_monitor {
  tarn_world *world;
  struct tarn_monitor *next;
  struct tarn_monitor_request requests[TARN_MONITOR_REQUESTS];
  unsigned request_count;
  unsigned snapshots; /* written; atomic: by the thread, and at the end */
  int caught;         /* the signal that it wants; 0: none */
  bool said_farewell; /* under the lock */
  bool ended;         /* atomic */
  uint32_t users;     /* atomic, a futex: threads that may still touch it */
};

/*
 * For a new world, which is on the list of worlds: does what its options say.  What cannot be done
 * is said on standard error, and the world goes on without it.
 */
void tarn_monitor_start(tarn_world *world);

/* What is due at the world's end, or at that of the process: once.  The caller may be attached and
 * running; then it stands still meanwhile. */
void tarn_monitor_farewell(tarn_world *world);

/* Ends the thread, and waits for it.  The caller is not attached, or blocked. */
void tarn_monitor_end(tarn_world *world);

/* For parts that have something to do on request, before the thread is there; false: no room. */
bool tarn_monitor_add(struct tarn_monitor *monitor, const uint32_t *asked, tarn_monitor_fn fn);

/* Asks: adds one to a counter, and wakes all monitors.  Safe in handlers of signals; keeps errno.
 */
void tarn_monitor_ask(uint32_t *asked);

#endif
