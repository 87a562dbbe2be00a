/* SPDX-License-Identifier: MIT */
/*
 * inspect/watch.h: those who watch a world: its log, the program's listeners, and a trace.
 *
 * What they want to know stands in the store's `watched`, which is worked out here whenever that
 * changes; what happens comes by events.c (see heap/told.h).  Each of them can be told by any
 * thread at any time, by several at once.
 */
#ifndef TARN_INSPECT_WATCH_H
#define TARN_INSPECT_WATCH_H

#include "collect/collector.h"
#include "inspect/events.h"
#include "inspect/out.h"

/*
 * Where the lines of the option `log` go: to standard error, or to a file, each by one write, so
 * that lines of several threads, and of processes that have the same file, do not mix.  Written at
 * the beginning and the end of the world and in the child of a fork, while nobody else is there;
 * but for `failed`.
 */
struct tarn_log {
  int file;                  /* -1: standard error */
  bool failed;               /* atomic: the file took a line no more, and that was said */
  char path[TARN_PATH_ROOM]; /* of the file */
};

/*
 * A place for a listener.  Who calls one enters first: counts himself among the users, and then
 * looks at the id; who removes it takes the id off, and then looks at the users.  All four are
 * sequentially consistent, so one of the two sees the other: either nobody calls it any more, or he
 * is waited for.  A place is used again when it has no id and no users; so who entered finds the
 * rest of it as it was when the id came, or finds no id.
 */
struct tarn_place_of_listener {
  uint64_t id;    /* atomic; 0: none */
  uint32_t users; /* atomic; a futex */
  uint64_t since; /* what began until then is not told; nor its end */
  tarn_events events;
  void *data;
};

struct tarn_listeners {
  pthread_mutex_t lock; /* guards ids and what adding writes; a leaf */
  uint64_t last_id;     /* under the lock */
  uint64_t beginnings;  /* atomic: how many there were */
  struct tarn_place_of_listener places[TARN_LISTENERS_MOST];
};

/* A trace: a file that is written to by whoever has something to tell, under the lock, which is a
 * leaf but for the names'. */
struct tarn_trace {
  pthread_mutex_t lock;
  bool on;        /* atomic; written under the lock, as all that follows */
  bool some;      /* an event was written */
  bool debug;     /* blocked regions, too */
  unsigned count; /* traces of the world so far */
  uint64_t began;
  uint64_t flushed_at;
  struct tarn_out out;
  tarn_status status; /* of the last one that has ended, */
  int error;          /* and its errno */
  char pattern[TARN_PATH_ROOM], path[TARN_PATH_ROOM];
};

struct tarn_watchers {
  tarn_world *world;
  struct tarn_log log;
  struct tarn_listeners listeners;
  struct tarn_trace trace;
};

/* With the collector there, if the world has one, before any thread is attached; and after all
 * threads.  The end also for a world that has none. */
tarn_status tarn_watchers_start(tarn_world *world);
void tarn_watchers_end(tarn_world *world);

/* What a world's heap layer or collector tells. */
void tarn_watchers_told(tarn_world *world, const struct tarn_told *told);

/* Works out `watched`; who calls has just changed what one of them wants. */
void tarn_watchers_work_out(struct tarn_watchers *watchers);

/* The name of an attached thread. */
void tarn_watch_name(const struct tarn_mutator *mutator, char name[32]);

/* --- log.c --- */

void tarn_log_start(struct tarn_watchers *watchers);
void tarn_log_end(struct tarn_watchers *watchers);
/* In the child: a file whose name has the process's number in it is the child's own. */
void tarn_log_after_fork(struct tarn_watchers *watchers);
/* TARN_TOLD_BIT of what its lines are about. */
uint32_t tarn_log_wants(const struct tarn_watchers *watchers);
void tarn_log_told(struct tarn_watchers *watchers, const struct tarn_told *told);

/* Does a pattern name another file in another process? */
bool tarn_path_names_process(const char *pattern);

/* --- trace.c --- */

void tarn_trace_begin(struct tarn_watchers *watchers);
void tarn_trace_end(struct tarn_watchers *watchers);
/* The first two around a fork: take and give the lock.  In the child the trace is the parent's, and
 * ends without a word, or begins anew in a file of the child's own. */
void tarn_trace_lock(struct tarn_watchers *watchers);
void tarn_trace_unlock(struct tarn_watchers *watchers);
void tarn_trace_after_fork(struct tarn_watchers *watchers);
uint32_t tarn_trace_wants(const struct tarn_watchers *watchers);
void tarn_trace_told(struct tarn_watchers *watchers, const struct tarn_told *told);

#endif
