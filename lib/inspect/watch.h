/* SPDX-License-Identifier: MIT */
/*
 * inspect/watch.h: those who watch a world: its log.
 *
 * What they want to know stands in the store's `watched`, which is worked out here whenever that
 * changes; what happens comes by events.c.
 */
#ifndef TARN_INSPECT_WATCH_H
#define TARN_INSPECT_WATCH_H

#include "collect/collector.h"
#include "inspect/events.h"

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

struct tarn_watchers {
  tarn_world *world;
  struct tarn_log log;
};

/* With the collector there, before any thread is attached; and after all threads.  The end also for
 * a world that has none, or no collector. */
tarn_status tarn_watchers_start(tarn_world *world);
void tarn_watchers_end(tarn_world *world);

/* --- log.c --- */

void tarn_log_start(struct tarn_watchers *watchers);
void tarn_log_end(struct tarn_watchers *watchers);
/* In the child: a file whose name has the process's number in it is the child's own. */
void tarn_log_after_fork(struct tarn_watchers *watchers);
/* TARN_TOLD_BIT of what its lines are about. */
uint32_t tarn_log_wants(const struct tarn_watchers *watchers);
void tarn_log_collected(struct tarn_watchers *watchers, const struct tarn_collect_report *report);
void tarn_log_cycles(struct tarn_watchers *watchers, const struct tarn_cycles_report *report);
void tarn_log_told(struct tarn_watchers *watchers, const struct tarn_told *told);

#endif
