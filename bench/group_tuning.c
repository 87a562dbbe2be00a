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
#define TWO(name_, program_, set, variable, other, other_variable)               \
  {                                                                              \
    .name = name_, .title = program_ " with " variable ", with " other_variable, \
    .subjects = {RUN("default", program_, NULL), RUN(set, program_, variable),   \
                 RUN(other, program_, other_variable)},                          \
    .comparisons = {                                                             \
      FIGURES(set),                                                              \
      FIGURES(other)                                                             \
    }                                                                            \
  }

static const struct bench_case cases[] = {
    ONE("hard-limit", "gcbench", "hard-64M", "TARN_HARD_LIMIT=64M"),
    ONE("soft-limit", "gcbench", "soft-48M", "TARN_SOFT_LIMIT=48M"),
    TWO("growth", "hashing", "growth-50", "TARN_GROWTH=50", "growth-300", "TARN_GROWTH=300"),
    TWO("young", "gcbench", "young-1M", "TARN_YOUNG=1M", "young-32M", "TARN_YOUNG=32M"),
    ONE("markers", "partrees", "one", "TARN_MARKERS=1"),
    ONE("generations", "gcbench", "none", "TARN_GENERATIONS=none"),
};

int main(int argc, char **argv) {
  const struct bench_group group = {.cases = cases, .case_count = sizeof cases / sizeof cases[0]};
  /* The second run of each subject is for its pauses alone. */
  setenv("BENCH_PERF", "no", 1);
  return bench_group_main(argc, argv, &group);
}
