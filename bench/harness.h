/* SPDX-License-Identifier: MIT */
/*
 * bench/harness.h: side-by-side runs of subjects that do the same work.
 *
 * A subject is a program of its own; each run of it is a new process, so that no subject inherits
 * another's heap, page cache of its own memory, or threads. The subjects of a case alternate, and
 * each round starts with another one; the first round is thrown away. A subject prints lines
 * "KEY NUMBER" on standard output (bench/subject.h); the harness adds the peak resident memory
 * that the kernel recorded for the process.
 *
 * Invariants: every subject of a case reports the same "check" in every round, or the case fails;
 * a ratio is made of medians over the rounds that count, and only when both sides ran in all.
 *
 * The driver is single-threaded.
 */
#ifndef TARN_BENCH_HARNESS_H
#define TARN_BENCH_HARNESS_H

#include <stddef.h>

enum { BENCH_ARGUMENTS = 6, BENCH_SUBJECTS = 6, BENCH_COMPARISONS = 6 };

struct bench_subject {
  const char *name;                       /* NULL ends the list */
  const char *program;                    /* a file beside the driver; NULL: not built */
  const char *absent;                     /* why `program` is NULL */
  const char *arguments[BENCH_ARGUMENTS]; /* up to the first NULL */
  /* Not NULL: the subject gets as its last argument the peak heap, in bytes, that the subject of
   * this name reported in the round that is thrown away. It must stand earlier in the list. */
  const char *heap_of;
};

struct bench_comparison {
  const char *subject; /* a name; NULL ends the list */
  const char *peer;    /* a name, or NULL: `constant` */
  double constant;
  const char *label;  /* what the ratio line says, such as "tarn/bdwgc" */
  const char *metric; /* a key of the subjects */
  const char *unit;   /* for the ratio line, such as "wall time, matched heap" */
};

struct bench_case {
  const char *name;
  const char *title; /* the work, in one line */
  struct bench_subject subjects[BENCH_SUBJECTS + 1];
  struct bench_comparison comparisons[BENCH_COMPARISONS + 1];
};

/*
 * The main function of a group's driver: reads the arguments (--rounds N, --only CASE, --list),
 * runs the cases and prints tables and ratio lines. Returns the exit status: 0, 1 when a subject
 * failed, 2 for wrong arguments. A subject that is not built is named and is no failure.
 */
int bench_group_main(int argc, char **argv, const struct bench_case *cases, size_t case_count);

#endif
