/* SPDX-License-Identifier: MIT */
/* Group gc: allocation with collection, against bdwgc and malloc. */
#include <stddef.h>

#include "harness.h"

#if BENCH_HAVE_BDWGC
#define BDWGC_PROGRAM "subject_gc_bdwgc"
#else
#define BDWGC_PROGRAM NULL
#endif
#define BDWGC_ABSENT "pkg-config did not find bdw-gc (Debian: libgc-dev) when this was configured"

#define TARN(...)                                                              \
  {                                                                            \
    .name = "tarn", .program = "subject_gc_tarn", .arguments = { __VA_ARGS__ } \
  }
#define MALLOC(...)                                                                \
  {                                                                                \
    .name = "malloc", .program = "subject_gc_malloc", .arguments = { __VA_ARGS__ } \
  }
#define BDWGC(...)                                                                            \
  {                                                                                           \
    .name = "bdwgc-default", .program = BDWGC_PROGRAM, .absent = BDWGC_ABSENT, .arguments = { \
      __VA_ARGS__                                                                             \
    }                                                                                         \
  }
#define BDWGC_MATCHED(...)                                                     \
  {                                                                            \
    .name = "bdwgc-matched", .program = BDWGC_PROGRAM, .absent = BDWGC_ABSENT, \
    .arguments = {__VA_ARGS__}, .heap_of = "tarn"                              \
  }

#define AGAINST_MATCHED                                                                     \
  {                                                                                         \
    .subject = "tarn", .peer = "bdwgc-matched", .label = "tarn/bdwgc", .metric = "wall_ns", \
    .unit = "wall time, bdwgc from Tarn's peak heap on"                                     \
  }
#define AGAINST_DEFAULT                                                        \
  {                                                                            \
    .subject = "tarn", .peer = "bdwgc-default", .label = "tarn/bdwgc-default", \
    .metric = "wall_ns", .unit = "wall time, bdwgc at its default heap"        \
  }

static const struct bench_case cases[] = {
    {.name = "gc-alloc-32-1t",
     .title = "30 million short-lived objects of 32 bytes (type, two references, a raw word)",
     .subjects = {TARN("alloc", "30000000", "1"), BDWGC_MATCHED("alloc", "30000000", "1"),
                  BDWGC("alloc", "30000000", "1")},
     .comparisons = {AGAINST_MATCHED, AGAINST_DEFAULT}},
    {.name = "gc-alloc-32-2t",
     .title = "the same from two threads, 30 million each",
     .subjects = {TARN("alloc", "30000000", "2"), BDWGC_MATCHED("alloc", "30000000", "2"),
                  BDWGC("alloc", "30000000", "2")},
     .comparisons = {AGAINST_MATCHED, AGAINST_DEFAULT}},
    {.name = "trees-18-1t",
     .title = "binary trees up to depth 18, nodes of 24 bytes (type, two references)",
     .subjects = {TARN("trees", "18"), BDWGC_MATCHED("trees", "18"), BDWGC("trees", "18"),
                  MALLOC("trees", "18")},
     .comparisons = {AGAINST_MATCHED,
                     AGAINST_DEFAULT,
                     {.subject = "tarn",
                      .peer = "malloc",
                      .label = "tarn/malloc",
                      .metric = "wall_ns",
                      .unit = "wall time, malloc and free"}}},
    {.name = "bytes-per-object-32",
     .title = "resident bytes per object, 10 million live objects of 32 bytes, no collection yet",
     .subjects = {TARN("live", "10000000"), BDWGC("live", "10000000")},
     .comparisons = {{.subject = "tarn",
                      .constant = 32,
                      .label = "tarn/object",
                      .metric = "bytes_per_object",
                      .unit = "resident bytes per live 32-byte object / 32"},
                     {.subject = "tarn",
                      .peer = "bdwgc-default",
                      .label = "tarn/bdwgc",
                      .metric = "bytes_per_object",
                      .unit = "resident bytes per live 32-byte object"}}},
};

int main(int argc, char **argv) {
  const struct bench_group group = {.cases = cases, .case_count = sizeof cases / sizeof cases[0]};
  return bench_group_main(argc, argv, &group);
}
