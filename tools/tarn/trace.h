/* SPDX-License-Identifier: MIT */
/*
 * trace.h: the collections of a program, from a trace (TARN_TRACE) or from log lines (TARN_LOG=gc).
 *
 *   trace.c       which of both it is; events of the Trace Event Format
 *   trace_log.c   log lines
 *   report.c      what is printed
 *   report_plot.c plots in characters
 *   report_json.c the same for machines
 *
 * doc/logs.md has the names of both.  What is not known is read over.  Kept are some 150 bytes a
 * collection and 16 a stop.  Times are nanoseconds, sizes bytes.
 */
#ifndef TRACE_H
#define TRACE_H

#include "classes.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define PHASES 7u
extern const char *const trace_phases[PHASES];

struct collection {
  uint64_t began; /* of some clock; 0 where there are no times */
  uint64_t pause;
  uint64_t phases[PHASES]; /* the first is the time to safepoint */
  uint64_t heap_before, heap_after, live;
  uint32_t cause, last; /* in trace.names */
  uint8_t generation;
  bool cycles, failed;
};

struct span {
  uint64_t began, length;
};

struct trace {
  const char *path;
  bool timed; /* it tells when things happened */
  bool cut_off;
  uint64_t odd; /* events that cannot be, and were left out */
  struct collection *all;
  size_t count, room;
  struct span *stops; /* that no thread ran in, of all kinds */
  size_t stop_count, stop_room;
  uint64_t to_safepoint_max; /* of all stops */
  uint64_t first, end;       /* of everything in the trace */
  int track;                 /* that the last collection is on */
  struct classes names;
};

/* Generations, and as the last of them collections of cycles. */
#define GROUPS 4u
#define GROUP_CYCLES 3u
static inline unsigned trace_group(const struct collection *each) {
  return each->cycles ? GROUP_CYCLES : each->generation;
}

/* False: the file cannot be read, or holds neither, which was said. */
bool trace_read(struct trace *trace, const char *path);

/* For the readers: a collection more, which is zero. */
struct collection *trace_add(struct trace *trace);
void trace_add_stop(struct trace *trace, uint64_t began, uint64_t length);
int trace_phase(const char *name, size_t length); /* -1: it is none */

/* Log lines; false: there is none among them, or they cannot be read, which was said. */
bool trace_read_log(struct trace *trace, FILE *file);

/* --- figures --------------------------------------------------------------------------------- */

#define QUANTILES 5u
struct figures {
  uint64_t count, total;
  uint64_t quantiles[QUANTILES]; /* p50, p90, p99, p99.9, max: nearest rank */
};
extern const char *const figure_names[QUANTILES];

/* Sorts the values. */
struct figures figures_of(uint64_t *values, size_t count);

/* Of collections of a group (GROUPS: all) the pauses, or a phase. */
#define WHOLE_PAUSE (-1)
struct figures trace_figures(const struct trace *trace, unsigned group, int phase);

/* The stops and pauses, each moment once, in their order; returns how many. */
size_t trace_merge(const struct trace *trace, struct span **merged);

/* The least share of a window of so many nanoseconds that the program ran in; negative: the trace
 * is shorter. */
double trace_utilisation(const struct trace *trace, const struct span *pauses, size_t count,
                         uint64_t window);

/* --- printing -------------------------------------------------------------------------------- */

#define WINDOWS 3u
extern const uint64_t report_windows[WINDOWS];

const char *report_group(unsigned group);

void report_plots(const struct trace *trace);
void report_json(const struct trace *trace, const struct span *pauses, size_t count, size_t worst);

/* The places of the `most` longest pauses, the longest first. */
size_t report_worst(const struct trace *trace, size_t *places, size_t most);

#endif
