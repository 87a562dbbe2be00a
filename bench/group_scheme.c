/* SPDX-License-Identifier: MIT */
/*
 * Group scheme: programs on the Scheme of examples/scheme, against Guile 3.0, which collects with
 * bdwgc.  With --threads: the parallel ones with one thread and with two.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"

#ifdef BENCH_SCHEME
#define SCHEME_SUBJECT BENCH_SCHEME_SUBJECT
#else
#define SCHEME_SUBJECT NULL
#define BENCH_SCHEME ""
#endif
#ifdef BENCH_GUILE
#define GUILE_SUBJECT BENCH_SCHEME_SUBJECT
#else
#define GUILE_SUBJECT NULL
#define BENCH_GUILE ""
#endif

#define TARN(name_, program_, threads, trace)                                               \
  {                                                                                         \
    .name = name_, .program = SCHEME_SUBJECT,                                               \
    .absent = "examples/scheme was left out (Debian: libgmp-dev) when this was configured", \
    .arguments = {                                                                          \
      "tarn",                                                                               \
      program_,                                                                             \
      threads,                                                                              \
      trace,                                                                                \
      BENCH_SCHEME_MEASURE,                                                                 \
      BENCH_SCHEME                                                                          \
    }                                                                                       \
  }
#define GUILE(name_, program_, threads, trace)                                               \
  {                                                                                          \
    .name = name_, .program = GUILE_SUBJECT,                                                 \
    .absent = "there was no Guile in /usr/bin (Debian: guile-3.0) when this was configured", \
    .arguments = {                                                                           \
      "guile",                                                                               \
      program_,                                                                              \
      threads,                                                                               \
      trace,                                                                                 \
      BENCH_SCHEME_MEASURE,                                                                  \
      BENCH_GUILE                                                                            \
    }                                                                                        \
  }

/* Not to be slower than Guile is the bound, so that a loss is called one. */
#define AGAINST_GUILE(label_, metric_, unit_)                                              \
  {                                                                                        \
    .subject = "tarn", .peer = "guile", .label = label_, .metric = metric_, .unit = unit_, \
    .bound = 1                                                                             \
  }
#define PROGRAM(name_, what)                                                                  \
  {                                                                                           \
    .name = name_, .title = what,                                                             \
    .subjects = {TARN("tarn", name_, "2", "trace"), GUILE("guile", name_, "2", "trace")},     \
    .comparisons = {                                                                          \
      AGAINST_GUILE("tarn/guile", "wall_ns", "wall time of the whole process"),               \
      AGAINST_GUILE("tarn/guile-cpu", "cpu_ns", "its processor time"),                        \
      AGAINST_GUILE("tarn/guile-collector", "collector_ns", "time inside libtarn and libgc"), \
      AGAINST_GUILE("tarn/guile-rss", "peak_rss_bytes", "peak RSS"),                          \
      AGAINST_GUILE("tarn/guile-pause", "pause_max_ns", "longest pause")                      \
    }                                                                                         \
  }

static const struct bench_case programs[] = {
    PROGRAM("gcbench", "records: trees of all depths beside long-lived ones"),
    PROGRAM("browse", "pattern matching, backtracking closures"),
    PROGRAM("destruct", "set-cdr! on old pairs, a long circle"),
    PROGRAM("deriv", "small lists"),
    PROGRAM("rewrite", "unification and rewriting of terms"),
    PROGRAM("strings", "strings of all sizes, symbols, numbers as text"),
    PROGRAM("hashing", "tables that grow and shrink"),
    PROGRAM("records", "records: a queue, a red-black tree"),
    PROGRAM("json", "string ports, characters, records"),
    PROGRAM("bignum", "large integers"),
    PROGRAM("partrees", "two threads: trees made, counted and dropped by different ones"),
    PROGRAM("parwords", "two threads: tables of each, merged into shared ones"),
    PROGRAM("channels", "hundreds of threads that wait for each other"),
};

#define MEAN(label_, metric_, unit_)                                                             \
  {                                                                                              \
    .name = "scheme-geomean", .cases = "*", .subject = "tarn", .peer = "guile", .label = label_, \
    .metric = metric_, .unit = unit_, .bound = 1                                                 \
  }
static const struct bench_summary means[] = {
    MEAN("tarn/guile", "wall_ns", "wall time"),
    MEAN("tarn/guile-cpu", "cpu_ns", "processor time"),
    MEAN("tarn/guile-collector", "collector_ns", "time inside libtarn and libgc"),
    MEAN("tarn/guile-rss", "peak_rss_bytes", "peak RSS"),
    MEAN("tarn/guile-pause", "pause_max_ns", "longest pause"),
    {.name = NULL},
};

/* --- one thread against two ------------------------------------------------------------------ */

#define TWO_BY_ONE(label_, two, one, metric_, unit_, bound_)                        \
  {                                                                                 \
    .subject = two, .peer = one, .label = label_, .metric = metric_, .unit = unit_, \
    .bound = bound_                                                                 \
  }
#define THREADS(name_, what, ...)                                                               \
  {                                                                                             \
    .name = name_, .title = what,                                                               \
    .subjects = {TARN("tarn-1", name_, "1", "plain"), TARN("tarn-2", name_, "2", "plain"),      \
                 GUILE("guile-1", name_, "1", "plain"), GUILE("guile-2", name_, "2", "plain")}, \
    .comparisons = {                                                                            \
      TWO_BY_ONE("tarn-2/tarn-1", "tarn-2", "tarn-1", "run_ns", "the whole program", 0.6),      \
      __VA_ARGS__ TWO_BY_ONE("guile-2/guile-1", "guile-2", "guile-1", "run_ns",                 \
                             "the whole program", 0)                                            \
    }                                                                                           \
  }
/* Some have stretches with one thread, such as the count that the others are compared with. */
#define STRETCH                                                                 \
  TWO_BY_ONE("tarn-2/tarn-1-threads", "tarn-2", "tarn-1", "threads_ns",         \
             "the stretch that is shared out", 0.6),                            \
      TWO_BY_ONE("guile-2/guile-1-threads", "guile-2", "guile-1", "threads_ns", \
                 "the stretch that is shared out", 0),

static const struct bench_case parallel[] = {
    THREADS("partrees", "240 trees in all, made, counted and dropped by different threads",
            STRETCH),
    THREADS("parwords", "a text is made and counted by one thread, and counted in parts by all",
            STRETCH),
    {.name = "channels",
     .title = "1439 threads in a chain, then producers and workers: on one processor, and on two",
     .subjects = {TARN("tarn-one", "channels", "2", "one"),
                  TARN("tarn-two", "channels", "2", "plain"),
                  GUILE("guile-one", "channels", "2", "one"),
                  GUILE("guile-two", "channels", "2", "plain")},
     .comparisons = {TWO_BY_ONE("tarn-two/tarn-one", "tarn-two", "tarn-one", "run_ns",
                                "the whole program", 0.6),
                     TWO_BY_ONE("guile-two/guile-one", "guile-two", "guile-one", "run_ns",
                                "the whole program", 0)}},
    THREADS("wordgraph", "graphs of the words of real files, shared", STRETCH),
};

/* perf may be absent, or not be allowed. */
static void look_for_perf(void) {
  if (system("perf record -q -e cpu-clock -o /dev/null -- true >/dev/null 2>&1") == 0)
    return;
  printf("perf does not record here (Debian: linux-perf): time inside libtarn and libgc is "
         "skipped\n");
  setenv("BENCH_PERF", "no", 1);
}

int main(int argc, char **argv) {
  bool threads = false, list = false;
  int kept = 1;
  for (int i = 1; i < argc; i++) {
    list = list || strcmp(argv[i], "--list") == 0;
    if (strcmp(argv[i], "--threads") == 0)
      threads = true;
    else
      argv[kept++] = argv[i];
  }
  argv[kept] = NULL;
  if (!threads && !list)
    look_for_perf();
  const struct bench_group by_guile = {
      .cases = programs, .case_count = sizeof programs / sizeof programs[0], .summaries = means};
  const struct bench_group by_threads = {.cases = parallel,
                                         .case_count = sizeof parallel / sizeof parallel[0]};
  return bench_group_main(kept, argv, threads ? &by_threads : &by_guile);
}
