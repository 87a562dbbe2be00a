/* SPDX-License-Identifier: MIT */
/* Group gc: allocation with collection, against bdwgc and malloc. */
#include <stddef.h>

#include "harness.h"

#if BENCH_HAVE_BDWGC
#define BDWGC_PROGRAM "subject_gc_bdwgc"
#define BDWGC_OF(name) "gc_" name "_bdwgc"
#else
#define BDWGC_PROGRAM NULL
#define BDWGC_OF(name) NULL
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

#define AGAINST_MATCHED(bound_)                                                             \
  {                                                                                         \
    .subject = "tarn", .peer = "bdwgc-matched", .label = "tarn/bdwgc", .metric = "wall_ns", \
    .unit = "wall time, bdwgc from Tarn's peak heap on", .bound = bound_                    \
  }
#define AGAINST_DEFAULT                                                        \
  {                                                                            \
    .subject = "tarn", .peer = "bdwgc-default", .label = "tarn/bdwgc-default", \
    .metric = "wall_ns", .unit = "wall time, bdwgc at its default heap"        \
  }

/* The programs of bench/gc, by name. */
#define RUN(subject_, peer_, work_, ...)                                             \
  {                                                                                  \
    .name = subject_, .program = "gc_" work_ "_" peer_, .arguments = { __VA_ARGS__ } \
  }
#define RUN_TARN(work_, ...) RUN("tarn", "tarn", work_, __VA_ARGS__)
#define RUN_BDWGC(work_, ...)                                                           \
  {                                                                                     \
    .name = "bdwgc", .program = BDWGC_OF(work_), .absent = BDWGC_ABSENT, .arguments = { \
      __VA_ARGS__                                                                       \
    }                                                                                   \
  }
#define AGAINST_BDWGC(label_, metric_, unit_, bound_)                                      \
  {                                                                                        \
    .subject = "tarn", .peer = "bdwgc", .label = label_, .metric = metric_, .unit = unit_, \
    .bound = bound_                                                                        \
  }

#define GCBENCH(threads, suffix, percent, times, bound_)                                    \
  {                                                                                         \
    .name = "gcbench-" suffix,                                                              \
    .title = "trees that come and go beside a tree and an array that stay; " threads        \
             " mutator(s), heap " times " times the 10 MiB that each has live at most",     \
    .subjects = {RUN_TARN("gcbench", threads, percent, "16"),                               \
                 RUN_BDWGC("gcbench", threads, percent, "16")},                             \
    .comparisons = {                                                                        \
      AGAINST_BDWGC("tarn/bdwgc", "wall_ns", "wall time, equal heap limits", bound_),       \
      AGAINST_BDWGC("tarn/bdwgc-rss", "peak_rss_bytes", "peak RSS, equal heap limits", 1.0) \
    }                                                                                       \
  }

/* OCaml 5 against malloc and free at the same depth, nodes of three words, all leaves opaque, on
 * the machine of the first measurements: one domain 3.59 s against 6.47, two 2.83 against 3.67. */
#define TREES(threads, suffix, ocaml)                                                             \
  {                                                                                               \
    .name = "trees-20-" suffix, .rounds = 2, .warm = true,                                        \
    .title = "binary trees up to depth 20, 308 million nodes of 24 bytes; " threads " thread(s)", \
    .subjects = {RUN_TARN("trees", "20", threads),                                                \
                 RUN("malloc", "malloc", "trees", "20", threads),                                 \
                 RUN_BDWGC("trees", "20", threads)},                                              \
    .comparisons = {                                                                              \
      {.subject = "tarn",                                                                         \
       .peer = "malloc",                                                                          \
       .label = "tarn/malloc",                                                                    \
       .metric = "wall_ns",                                                                       \
       .unit = "wall time, malloc and free",                                                      \
       .bound = 0.35},                                                                            \
      {.subject = "tarn",                                                                         \
       .peer = "malloc",                                                                          \
       .constant = ocaml,                                                                         \
       .label = "tarn/ocaml",                                                                     \
       .metric = "wall_ns",                                                                       \
       .unit = "wall time, OCaml 5 taken as " #ocaml " of malloc and free",                       \
       .bound = 0.9},                                                                             \
      AGAINST_BDWGC("tarn/bdwgc", "wall_ns", "wall time, bdwgc at its default heap", 0)           \
    }                                                                                             \
  }

/* One marker each, and Tarn once more with two. */
#define MARK(name_, shape, what, most)                                                             \
  {                                                                                                \
    .name = name_, .rounds = 5, .warm = true,                                                      \
    .title = "full collections of 1 GiB of live 64-byte objects: " what,                           \
    .subjects = {RUN_TARN("mark", shape, "1024", "3", "1"),                                        \
                 RUN("tarn-2", "tarn", "mark", shape, "1024", "3", "2"),                           \
                 RUN_BDWGC("mark", shape, "1024", "3", "1")},                                      \
    .comparisons = {                                                                               \
      AGAINST_BDWGC("tarn/bdwgc", "mark_ns", "mark phase, ns an object", 0.2),                     \
      AGAINST_BDWGC("tarn/bdwgc-pause", "pause_ns", "whole pause", 0),                             \
      AGAINST_BDWGC("tarn/bdwgc-first", "first_mark_ns", "mark phase of the first collection", 0), \
      AGAINST_BDWGC("tarn/bdwgc-cpu", "collect_cpu_ns", "processor time of the collection", 0),    \
      {.subject = "tarn-2",                                                                        \
       .peer = "tarn",                                                                             \
       .label = "tarn-2/tarn",                                                                     \
       .metric = "mark_ns",                                                                        \
       .unit = "mark phase, two markers by one",                                                   \
       .bound = 0.588},                                                                            \
      {.subject = "tarn",                                                                          \
       .constant = most,                                                                           \
       .label = "tarn/" #most "ns",                                                                \
       .metric = "mark_ns",                                                                        \
       .unit = "mark phase, ns an object / " #most,                                                \
       .bound = 1}                                                                                 \
    }                                                                                              \
  }

static const struct bench_case cases[] = {
    {.name = "gc-alloc-32-1t",
     .title = "30 million short-lived objects of 32 bytes (type, two references, a raw word)",
     .subjects = {TARN("alloc", "30000000", "1"), BDWGC_MATCHED("alloc", "30000000", "1"),
                  BDWGC("alloc", "30000000", "1")},
     .comparisons = {AGAINST_MATCHED(0.2), AGAINST_DEFAULT}},
    {.name = "gc-alloc-32-2t",
     .title = "the same from two threads, 30 million each",
     .subjects = {TARN("alloc", "30000000", "2"), BDWGC_MATCHED("alloc", "30000000", "2"),
                  BDWGC("alloc", "30000000", "2")},
     .comparisons = {AGAINST_MATCHED(0.2), AGAINST_DEFAULT}},
    {.name = "trees-18-1t",
     .title = "binary trees up to depth 18, nodes of 24 bytes (type, two references)",
     .subjects = {TARN("trees", "18"), BDWGC_MATCHED("trees", "18"), BDWGC("trees", "18"),
                  MALLOC("trees", "18")},
     .comparisons = {AGAINST_MATCHED(0),
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
    GCBENCH("1", "1t-1.5x", "150", "1.5", 0.6),
    GCBENCH("1", "1t-2x", "200", "2", 0.6),
    GCBENCH("1", "1t-3x", "300", "3", 0.6),
    GCBENCH("2", "2t-1.5x", "150", "1.5", 0.45),
    GCBENCH("2", "2t-2x", "200", "2", 0.45),
    GCBENCH("2", "2t-3x", "300", "3", 0.45),
    TREES("1", "1t", 0.555),
    TREES("2", "2t", 0.771),
    MARK("mark-tree", "tree", "a tree in the order of allocation", 9),
    MARK("mark-tree-shuffled", "shuffled", "a tree at random addresses", 9),
    MARK("mark-random-graph", "graph", "a random graph", 18),
    {.name = "young-pause-1g",
     .title = "collections of generation 0: 4 MiB of young objects, of which a tenth stay, beside "
              "1 GiB, and beside 100 MiB",
     .rounds = 1,
     .warm = true,
     .subjects = {RUN("tarn-1g", "tarn", "young", "1024", "4", "11"),
                  RUN("tarn-100m", "tarn", "young", "100", "4", "11")},
     .comparisons = {{.subject = "tarn-1g",
                      .peer = "tarn-100m",
                      .label = "tarn-1g/tarn-100m",
                      .metric = "pause_p50_ns",
                      .unit = "median pause, by that beside 100 MiB",
                      .bound = 1.2},
                     {.subject = "tarn-1g",
                      .constant = 1e6,
                      .label = "tarn/1ms",
                      .metric = "pause_p50_ns",
                      .unit = "median pause in ms",
                      .bound = 1}}},
    {.name = "server-pause-p99",
     .title = "four threads replace records in tables; 512 MiB live, heap 1.5 times that",
     .rounds = 1,
     .warm = true,
     .subjects = {RUN_TARN("server", "4", "512", "6", "150"),
                  RUN_BDWGC("server", "4", "512", "6", "150")},
     .comparisons = {AGAINST_BDWGC("tarn/bdwgc", "pause_p99_ns", "p99 of all pauses", 0.2),
                     AGAINST_BDWGC("tarn/bdwgc-p50", "pause_p50_ns", "median pause", 0),
                     AGAINST_BDWGC("tarn/bdwgc-stop-p99", "stop_p99_ns",
                                   "p99 of the time until all threads stand still", 0),
                     AGAINST_BDWGC("tarn/bdwgc-wall", "wall_ns", "wall time", 0),
                     AGAINST_BDWGC("tarn/bdwgc-rss", "peak_rss_bytes",
                                   "peak RSS, equal heap limits", 1.0)}},
};

static const struct bench_summary summaries[] = {
    {.name = "gcbench-rss",
     .cases = "gcbench-*",
     .subject = "tarn",
     .peer = "bdwgc",
     .label = "tarn/bdwgc",
     .metric = "peak_rss_bytes",
     .unit = "peak RSS, equal heap limits",
     .bound = 1.0},
    {.name = NULL},
};

int main(int argc, char **argv) {
  const struct bench_group group = {
      .cases = cases, .case_count = sizeof cases / sizeof cases[0], .summaries = summaries};
  return bench_group_main(argc, argv, &group);
}
