/* SPDX-License-Identifier: MIT */
/*
 * Group tuning: what the variables of doc/tuning.md do, one at a time.  The peer is the same
 * program of examples/scheme with the defaults; a ratio says what the variable makes of each
 * figure, and has no bound, since each trades one thing for another.
 */
#include <stdlib.h>

#include "harness.h"

#ifdef BENCH_SCHEME
#define SUBJECT BENCH_SCHEME_SUBJECT
#else
#define SUBJECT NULL
#define BENCH_SCHEME ""
#endif

#define RUN(name_, program_, ...)                                                           \
  {                                                                                         \
    .name = name_, .program = SUBJECT,                                                      \
    .absent = "examples/scheme was left out (Debian: libgmp-dev) when this was configured", \
    .arguments = {"tarn", program_, "2", "trace", BENCH_SCHEME_MEASURE, BENCH_SCHEME},      \
    .environment = {                                                                        \
      __VA_ARGS__                                                                           \
    }                                                                                       \
  }
#define BY_DEFAULT(set, metric_, unit_) \
  { .subject = set, .peer = "default", .label = set "/default", .metric = metric_, .unit = unit_ }
#define FIGURES(set)                                            \
  BY_DEFAULT(set, "wall_ns", "wall time of the whole process"), \
      BY_DEFAULT(set, "cpu_ns", "its processor time"),          \
      BY_DEFAULT(set, "peak_rss_bytes", "peak RSS"),            \
      BY_DEFAULT(set, "pause_max_ns", "longest pause"),         \
      BY_DEFAULT(set, "pause_sum_ns", "all pauses together")

#define ONE(name_, program_, set, variable)                                                      \
  {                                                                                              \
    .name = name_, .title = program_ " with " variable,                                          \
    .subjects = {RUN("default", program_, NULL), RUN(set, program_, variable)}, .comparisons = { \
      FIGURES(set)                                                                               \
    }                                                                                            \
  }
/* Trees that come and go beside one that stays, in a program without barriers: every collection is
 * a full one, so that `growth` decides alone. */
#define TREES(name_, ...)                                                           \
  {                                                                                 \
    .name = name_, .program = "subject_gc_tarn", .arguments = {"trees", "18", "1"}, \
    .environment = {                                                                \
      __VA_ARGS__                                                                   \
    }                                                                               \
  }
#define TIME_AND_SPACE(set)                                     \
  BY_DEFAULT(set, "wall_ns", "wall time of the whole process"), \
      BY_DEFAULT(set, "cpu_ns", "its processor time"),          \
      BY_DEFAULT(set, "peak_rss_bytes", "peak RSS"),            \
      BY_DEFAULT(set, "collections", "number of collections")

static const struct bench_case cases[] = {
    ONE("hard-limit", "gcbench", "hard-64M", "TARN_HARD_LIMIT=64M"),
    ONE("soft-limit", "gcbench", "soft-48M", "TARN_SOFT_LIMIT=48M"),
    {.name = "growth",
     .title = "trees in a program without barriers, with TARN_GROWTH=50 and 300",
     .subjects = {TREES("default", NULL), TREES("growth-50", "TARN_GROWTH=50"),
                  TREES("growth-300", "TARN_GROWTH=300")},
     .comparisons = {TIME_AND_SPACE("growth-50"), TIME_AND_SPACE("growth-300")}},
    {.name = "young",
     .title = "gcbench with TARN_YOUNG=1M and 32M",
     .subjects = {RUN("default", "gcbench", NULL), RUN("young-1M", "gcbench", "TARN_YOUNG=1M"),
                  RUN("young-32M", "gcbench", "TARN_YOUNG=32M")},
     .comparisons = {FIGURES("young-1M"), FIGURES("young-32M")}},
    ONE("markers", "gcbench", "one", "TARN_MARKERS=1"),
    ONE("generations", "gcbench", "none", "TARN_GENERATIONS=none"),
};

int main(int argc, char **argv) {
  const struct bench_group group = {.cases = cases, .case_count = sizeof cases / sizeof cases[0]};
  /* The second run of each subject is for its pauses alone. */
  setenv("BENCH_PERF", "no", 1);
  return bench_group_main(argc, argv, &group);
}
