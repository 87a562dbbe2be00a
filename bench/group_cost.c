/* SPDX-License-Identifier: MIT */
/*
 * Group cost: what looking inside costs.  The peer is the same program with nothing switched on;
 * each subject has one thing on as it comes by default, and the last one all of them.  The subject
 * "again" has nothing on either: what its ratio is away from 1 is how far the others can be
 * believed, which on a busy machine is more than the bound of one percent.  More rounds than five
 * are worth their time:
 * `--rounds 15`.
 */
#include "harness.h"

#define RUN(name_, ...)                                                              \
  {                                                                                  \
    .name = name_, .program = BENCH_COST_PROGRAM,                                    \
    .arguments = {"1", BENCH_COST_PERCENT, BENCH_COST_DEPTH, NULL}, .environment = { \
      __VA_ARGS__                                                                    \
    }                                                                                \
  }
#define BENCH_COST_PROGRAM "gc_gcbench_tarn"
#define BENCH_COST_PERCENT "200"
#define BENCH_COST_DEPTH "19"

#define LOG "TARN_LOG=gc=info:file=" BENCH_COST_FILES "/cost.log"
#define METRICS "TARN_METRICS=" BENCH_COST_FILES "/cost.metrics"
#define PROFILE "TARN_PROFILE=" BENCH_COST_FILES "/cost.pb"
#define TRACE "TARN_TRACE=" BENCH_COST_FILES "/cost.json"
#define LIVE "TARN_LIVE=1"

#define BY_OFF(subject_, bound_)                                                      \
  {                                                                                   \
    .subject = subject_, .peer = "off", .label = subject_ "/off", .metric = "cpu_ns", \
    .unit = "processor time", .bound = bound_                                         \
  }

static const struct bench_case cases[] = {
    {.name = "gcbench",
     .title = "trees that come and go beside some that stay, 2.7 GB in all",
     .subjects = {RUN("off", NULL), RUN("again", NULL), RUN("log", LOG), RUN("metrics", METRICS),
                  RUN("profile", PROFILE), RUN("trace", TRACE), RUN("live", LIVE),
                  RUN("all-four", LOG, METRICS, PROFILE, TRACE)},
     .comparisons = {BY_OFF("again", 0), BY_OFF("log", 1.01), BY_OFF("metrics", 1.01),
                     BY_OFF("profile", 1.01), BY_OFF("trace", 1.01), BY_OFF("live", 1.01),
                     BY_OFF("all-four", 0)}},
};

int main(int argc, char **argv) {
  const struct bench_group group = {.cases = cases, .case_count = sizeof cases / sizeof cases[0]};
  return bench_group_main(argc, argv, &group);
}
