/* SPDX-License-Identifier: MIT */
/*
 * collect/report.h: what one collection comes to, while it runs and afterwards.
 *
 * It belongs to the thread that collects and lies on its stack; watchers see it through what is
 * told of the collection's beginning and end.  The phases of the pause are cut out of its time
 * without a gap: each ends where the next one begins.
 */
#ifndef TARN_COLLECT_REPORT_H
#define TARN_COLLECT_REPORT_H

#include "heap/told.h"
#include <tarn/events.h>

/* As in tarn/events.h. */
enum tarn_phase {
  TARN_PAUSE_STOP,
  TARN_PAUSE_PREPARE,
  TARN_PAUSE_ROOTS,
  TARN_PAUSE_MARK,
  TARN_PAUSE_WEAK,
  TARN_PAUSE_CENSUS,
  TARN_PAUSE_REST,
  TARN_PAUSE_PHASES
};

#define TARN_PHASE_SPANS 12u /* no collection comes back to its phases more often */

struct tarn_phase_span {
  enum tarn_phase phase;
  uint64_t began, ended;
};

struct tarn_collect_report {
  tarn_collection is;
  unsigned news;  /* TARN_NEWS_ bits */
  uint64_t stamp; /* when the last phase ended */
  unsigned span_count;
  struct tarn_phase_span spans[TARN_PHASE_SPANS];
  /* For the log's lines of level debug. */
  uint64_t trigger, live_external; /* what the next collection's time follows from */
  uint64_t dirty_units;            /* of 64 KiB that have dirty cards */
  unsigned markers;                /* a bit for each helper that marked something */
  uint64_t marked, marked_helpers; /* objects; and of these, by helpers */
  uint64_t parcels;                /* of work that went from one marker to another */
  struct tarn_told_pair pair;
};

static inline bool tarn_report_asked(const struct tarn_collect_report *report) {
  return report->is.cause == TARN_CAUSE_ASKED;
}

/* "stop", "prepare", ... */
const char *tarn_phase_name(enum tarn_phase phase);

/* What it came to. */
uint64_t *tarn_report_phase(struct tarn_collect_report *report, enum tarn_phase phase);

/* A phase ends now; it began where the last one ended. */
void tarn_report_phase_ends(struct tarn_collect_report *report, enum tarn_phase phase);

#endif
