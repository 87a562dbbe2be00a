/* SPDX-License-Identifier: MIT */
/*
 * bench/harness.h: side-by-side runs of subjects that do the same work.
 *
 * A subject is a program of its own; each run of it is a new process, so that no subject inherits
 * another's heap, page cache of its own memory, or threads. The subjects of a case alternate, and
 * each round starts with another one; the first round is thrown away, but in cases that are `warm`.
 * A subject prints lines "KEY NUMBER" on standard output (bench/subject.h); the harness adds the
 * peak resident memory that the kernel recorded for the process. Several subjects may be one
 * program in different environments, such as one with a library preloaded; the driver's own
 * environment stays as it is.
 *
 * Invariants: every subject of a case reports the same "check" in every round, or the case fails;
 * a ratio is made of medians over the rounds that count, and only when both sides ran in all. A
 * geometric mean is made of all the cases it names, or is not printed. A subject that runs for
 * longer than BENCH_SECONDS has failed. A ratio above its bound is called a loss in its line,
 * which is no failure; the last line counts the bounds that are met, and those of ratios that could
 * not be made.
 *
 * The driver is single-threaded.
 */
#ifndef TARN_BENCH_HARNESS_H
#define TARN_BENCH_HARNESS_H

#include <stdbool.h>
#include <stddef.h>

enum {
  BENCH_ARGUMENTS = 8,
  BENCH_SETTINGS = 4,
  BENCH_SUBJECTS = 8,
  BENCH_COMPARISONS = 12,
  BENCH_SUMMARIES = 16,
  BENCH_SECONDS = 300
};

/* As a peer: of all other subjects of the case, the one with the least median. */
#define BENCH_BEST "*"

struct bench_subject {
  const char *name;                       /* NULL ends the list */
  const char *program;                    /* a file beside the driver, or a path; NULL: not built */
  const char *absent;                     /* why `program` is NULL */
  const char *arguments[BENCH_ARGUMENTS]; /* up to the first NULL */
  /* "NAME=VALUE", up to the first NULL: set for this subject, over what the driver was given. */
  const char *environment[BENCH_SETTINGS];
  /* Not NULL: the subject gets as its last argument the peak heap, in bytes, that the subject of
   * this name reported in the round that is thrown away. It must stand earlier in the list. */
  const char *heap_of;
};

struct bench_comparison {
  const char *subject; /* a name; NULL ends the list */
  const char *peer;    /* a name, BENCH_BEST, or NULL: `constant` */
  double constant;     /* with a peer: not 0, the peer's figure is multiplied by it */
  const char *label;   /* what the ratio line says, such as "tarn/bdwgc" */
  const char *metric;  /* a key of the subjects */
  const char *unit;    /* for the ratio line, such as "wall time, matched heap" */
  double bound;        /* not 0: what the ratio shall not exceed */
};

struct bench_case {
  const char *name;
  const char *title; /* the work, in one line */
  /* Not 0: at most so many rounds count, for cases that take long and do not vary. */
  size_t rounds;
  /* No round is thrown away: the programs throw their own first pass away. Not with heap_of. */
  bool warm;
  struct bench_subject subjects[BENCH_SUBJECTS + 1];
  struct bench_comparison comparisons[BENCH_COMPARISONS + 1];
};

/* The geometric mean of a ratio over several cases. */
struct bench_summary {
  const char *name;    /* what the ratio line says; NULL ends the list */
  const char *cases;   /* the names of the cases, as a pattern: "macro-*-2t" */
  const char *subject; /* as in a comparison, and so are the others */
  const char *peer;
  const char *label;
  const char *metric;
  const char *unit;
  double bound;
};

struct bench_group {
  const struct bench_case *cases;
  size_t case_count;
  const struct bench_summary *summaries; /* NULL: none; at most BENCH_SUMMARIES */
};

/*
 * The main function of a group's driver: reads the arguments (--rounds N, --only CASE, --list),
 * runs the cases and prints tables and ratio lines. Returns the exit status: 0, 1 when a subject
 * failed, 2 for wrong arguments. A subject that is not built is named and is no failure.
 */
int bench_group_main(int argc, char **argv, const struct bench_group *group);

#endif
