/* SPDX-License-Identifier: MIT */
/*
 * inspect/metrics.h: statistics as text; see tarn/metrics.h.
 *
 *   metrics.c       the table of metrics, and the two formats
 *   metrics_file.c  files, and when they are written
 */
#ifndef TARN_INSPECT_METRICS_H
#define TARN_INSPECT_METRICS_H

#include "inspect/out.h"
#include "os/histogram.h"
#include <tarn/inspect.h>
#include <tarn/metrics.h>

enum tarn_metrics_times { TARN_TIMES_PAUSES, TARN_TIMES_STOPS, TARN_TIMES_CYCLES, TARN_TIMES };

/* All that is told of a world. */
struct tarn_figures {
  unsigned world;
  bool uncollected;    /* it has no collector: then this is told, */
  uint64_t used_bytes; /* and neither times nor much of the rest */
  tarn_stats stats;
  struct {
    uint64_t buckets[TARN_BOUNDS + 1]; /* each by itself */
    uint64_t sum;                      /* nanoseconds */
  } times[TARN_TIMES];
};

void tarn_metrics_gather(tarn_world *world, struct tarn_figures *figures);
void tarn_metrics_put(struct tarn_out *out, tarn_metrics_format format,
                      const struct tarn_figures *figures);

/* Of the options: when a world that nobody else knows yet begins, and when it ends.  Both do
 * nothing in a world without these. */
void tarn_metrics_begin(tarn_world *world);
void tarn_metrics_end(tarn_world *world);

/* For a world without a collector.  The thread that writes again and again shall end, for no thread
 * is left that allocates; any lock may be held. */
void tarn_metrics_let_go(tarn_world *world);
/* It shall be there again; in the child of a fork only if the file is one of its own.  May make it,
 * which calls malloc. */
void tarn_metrics_resume(tarn_world *world);

#endif
