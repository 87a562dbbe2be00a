/* SPDX-License-Identifier: MIT */
/*
 * heap/told.h: how the layers tell what happens in a world, to those who watch it: logs, listeners
 * and traces (inspect/watch.h).
 *
 * A place that has something to tell looks at one word of the store, a bit for each kind, and goes
 * on if nobody wants it: a load and a branch, where system calls or locks are not far away.  Else
 * it calls up through the store's hooks, not before the world runs again, but for STOP_BEGIN and
 * GC_BEGIN; and with no lock held, but for those of the registry and of visits in these two, that
 * of cycles in what their collections tell, and in STOOD, which no listener is told of, any that
 * the thread had when it was stopped.
 */
#ifndef TARN_HEAP_TOLD_H
#define TARN_HEAP_TOLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is told, and which members of struct tarn_told say more. */
enum tarn_told_kind {
  /* Of heap/, by whoever needs memory or gives it back. */
  TARN_TOLD_ARENA, /* taken, or `gone`: bytes, of how many now (total); what: its base */
  TARN_TOLD_PURGE, /* free memory went back: bytes; began */
  TARN_TOLD_LARGE, /* a large object was made: bytes; what: it */
  /* Of world/. */
  TARN_TOLD_STOP_BEGIN, /* all stand still; by the requester.  what: struct tarn_stop_told */
  TARN_TOLD_STOP_END,   /* they run again.  The same */
  TARN_TOLD_WAITED,     /* nothing: with each stop, who was waited for */
  TARN_TOLD_STOOD,      /* a thread stood still for a stop, and runs: began; what: its record */
  TARN_TOLD_BLOCKED,    /* it was in a blocked region: began; what: its record */
  TARN_TOLD_THREAD,     /* has been attached, or is `gone`; what: its record */
  TARN_TOLD_NAMED,      /* has another name; what: its record */
  /* Of collect/. */
  TARN_TOLD_GC_BEGIN, /* in its stop.  what: struct tarn_collect_report */
  TARN_TOLD_GC_END,   /* the world runs.  The same */
  TARN_TOLD_RELEASE,  /* a thread ran `free` functions: began, count */
  TARN_TOLD_FINALIZE, /* the same for finalizers */
  TARN_TOLD_SWEPT,    /* all pools that a collection left are swept: count */
  TARN_TOLD_LIMIT     /* near a limit: bytes in use, of how many (total) */
};

struct tarn_told {
  enum tarn_told_kind kind;
  bool gone;
  uint64_t began; /* nanoseconds of tarn_os_now; it ends now */
  size_t bytes, total, count;
  void *what;
};

/* Which listeners were told of a beginning, so that these, and no others, are told of its end. */
struct tarn_told_pair {
  uint64_t number; /* of the beginning */
  uint32_t to;     /* a bit for each place that a listener can have */
};

#define TARN_TOLD_BIT(kind) (1u << (kind))

struct tarn_store;

#endif
