/* SPDX-License-Identifier: MIT */
/* Group cycles: collections of cycles, against Python's. */
#include <stddef.h>

#include "harness.h"

#ifndef BENCH_PYTHON
#define BENCH_PYTHON NULL
#define BENCH_PYTHON_GRAPHS "graphs.py"
#endif

/* All take a mode, a shape, the number of nodes, and how many collections. */
#define TARN_AS(name_, ...)                                                 \
  {                                                                         \
    .name = name_, .program = "cycles_graphs", .arguments = { __VA_ARGS__ } \
  }
#define TARN(...) TARN_AS("tarn", __VA_ARGS__)
#define PYTHON_AS(name_, ...)                                                  \
  {                                                                            \
    .name = name_, .program = BENCH_PYTHON,                                    \
    .absent = "there was no /usr/bin/python3 (Debian: python3) when this was " \
              "configured",                                                    \
    .arguments = {                                                             \
      "-I",                                                                    \
      BENCH_PYTHON_GRAPHS,                                                     \
      __VA_ARGS__                                                              \
    }                                                                          \
  }
#define PYTHON(...) PYTHON_AS("python3", __VA_ARGS__)

#define AGAINST(subject_, peer_, label_, metric_, unit_) \
  { .subject = subject_, .peer = peer_, .label = label_, .metric = metric_, .unit = unit_ }
#define AT_MOST_OF(subject_, label_, metric_, unit_, most_)                                    \
  {                                                                                            \
    .subject = subject_, .constant = most_, .label = label_, .metric = metric_, .unit = unit_, \
    .bound = 1                                                                                 \
  }
#define AT_MOST(label_, metric_, unit_, most_) AT_MOST_OF("tarn", label_, metric_, unit_, most_)
/* Two markers are what Tarn takes by itself where there are two processors. */
#define TWO(label_, metric_, unit_, most_)                                    \
  AGAINST("tarn-two", "python3", "tarn-two/python3", metric_, "two markers"), \
      AT_MOST_OF("tarn-two", label_, metric_, unit_, most_)

#define AGAINST_PYTHON(label_, metric_, unit_) AGAINST("tarn", "python3", label_, metric_, unit_)
#define FIRST AGAINST_PYTHON("tarn/python3-first", "first_collect_ns", "the first time")

/* Of one mode and shape; the last one says what the bound would come to on a machine where nothing
 * else runs. */
#define RATIOS(most, unit_)                                                                    \
  AGAINST_PYTHON("tarn/python3", "collect_ns", unit_),                                         \
      AGAINST_PYTHON("tarn/python3-cpu", "collect_cpu_ns", "the same, processor time"), FIRST, \
      AT_MOST("tarn/" #most "ns", "collect_ns", "ns a container / " #most, most), {            \
    .subject = "tarn", .constant = most, .label = "tarn/" #most "ns-cpu",                      \
    .metric = "collect_cpu_ns", .unit = "processor time, ns a container / " #most              \
  }
/* What else there is: a list of slots, and Python's objects with slots, which are smaller. */
#define SLOTS_RATIOS                                                                   \
  AGAINST("tarn-kinds", "python3-slots", "tarn-kinds/python3-slots", "collect_ns",     \
          "objects with slots in Python, whose class is visited, and in Tarn a kind"), \
      AGAINST("tarn-slots", "python3", "tarn-slots/python3", "collect_ns",             \
              "list of slots in Tarn")
#define SHAPE(name_, what, mode, shape, most, unit_)                                \
  {                                                                                 \
    .name = name_, .warm = true, .title = what,                                     \
    .subjects = {TARN(mode, shape, "1000000", "3"),                                 \
                 TARN_AS("tarn-slots", mode, shape, "1000000", "3", "slots"),       \
                 TARN_AS("tarn-kinds", mode, shape, "1000000", "3", "kinds"),       \
                 TARN_AS("tarn-two", mode, shape, "1000000", "3", "two"),           \
                 PYTHON(mode, shape, "1000000", "1"),                               \
                 PYTHON_AS("python3-slots", mode, shape, "1000000", "1", "slots")}, \
    .comparisons = {                                                                \
      RATIOS(most, unit_),                                                          \
      SLOTS_RATIOS,                                                                 \
      TWO("tarn-two/" #most "ns", "collect_ns", "two markers / " #most, most)       \
    }                                                                               \
  }
#define UNKNOWN                                                            \
  AGAINST("tarn-unknown", "python3", "tarn-unknown/python3", "collect_ns", \
          "no root is known to Tarn")
#define LIVE(name_, what, shape, most) SHAPE(name_, what, "live", shape, most, "later collections")
#define GARBAGE(name_, what, shape, most) \
  SHAPE(name_, what, "garbage", shape, most, "found and freed")

static const struct bench_case cases[] = {
    {.name = "one-root-1m",
     .title = "a million live containers, random graph from one root, which Tarn knows",
     .warm = true,
     .subjects = {TARN("live", "random", "1000000", "3"),
                  TARN_AS("tarn-slots", "live", "random", "1000000", "3", "slots"),
                  TARN_AS("tarn-kinds", "live", "random", "1000000", "3", "kinds"),
                  TARN_AS("tarn-two", "live", "random", "1000000", "3", "two"),
                  TARN_AS("tarn-unknown", "live", "random", "1000000", "3", "unknown"),
                  PYTHON("live", "random", "1000000", "1"),
                  PYTHON_AS("python3-slots", "live", "random", "1000000", "1", "slots")},
     .comparisons = {RATIOS(40, "later collections"), SLOTS_RATIOS, UNKNOWN,
                     TWO("tarn-two/40ns", "collect_ns", "two markers / 40", 40)}},
    {.name = "one-root-10m",
     .title = "ten million of them, the root known",
     .rounds = 2,
     .warm = true,
     .subjects = {TARN("live", "random", "10000000", "2"),
                  TARN_AS("tarn-two", "live", "random", "10000000", "2", "two"),
                  TARN_AS("tarn-unknown", "live", "random", "10000000", "2", "unknown"),
                  PYTHON("live", "random", "10000000", "1")},
     .comparisons = {RATIOS(40, "later collections"), UNKNOWN,
                     TWO("tarn-two/40ns", "collect_ns", "two markers / 40", 40)}},
    LIVE("list-of-lists-1m",
         "a million live containers without references, in one list; it is "
         "a root that Tarn knows",
         "lists", 15),
    LIVE("chain-1m", "a chain of a million live containers; its first is a root that Tarn knows",
         "chain", 15),
    LIVE("tree-1m",
         "a binary tree of a million live containers in the order of allocation; its "
         "root is known to Tarn",
         "tree", 15),
    GARBAGE("garbage-rings-1m", "a million containers of garbage in rings of ten", "rings", 20),
    GARBAGE("garbage-random-1m", "a million containers of garbage, random graph", "random", 65),
    {.name = "young-700-beside-5m",
     .title = "collections of generation 0: a chain of 700 fresh containers, beside five million "
              "old ones",
     .warm = true,
     .subjects = {TARN("young", "lists", "5000000", "301"),
                  PYTHON("young", "lists", "5000000", "301")},
     .comparisons = {AGAINST("tarn", "python3", "tarn/python3", "young_ns", "one collection"),
                     AT_MOST("tarn/15us", "young_ns", "microseconds of one collection / 15",
                             15000)}},
    {.name = "young-700-beside-50m",
     .title = "the same beside fifty million (Tarn alone)",
     .rounds = 2,
     .warm = true,
     .subjects = {TARN("young", "lists", "50000000", "301")},
     .comparisons = {AT_MOST("tarn/15us", "young_ns", "microseconds of one collection / 15",
                             15000)}},
    {.name = "gap-5m",
     .title = "a second thread's longest gap while five million live containers are collected; "
              "random graph, one root, which Tarn knows",
     .rounds = 2,
     .warm = true,
     .subjects = {TARN("gap", "random", "5000000", "1"),
                  TARN_AS("tarn-two", "gap", "random", "5000000", "1", "two"),
                  PYTHON("gap", "random", "5000000", "1")},
     .comparisons = {AGAINST("tarn", "python3", "tarn/python3", "gap_ns", "longest gap"),
                     AT_MOST("tarn/200ms", "gap_ns", "longest gap / 200 ms", 2e8),
                     TWO("tarn-two/200ms", "gap_ns", "longest gap, two markers / 200 ms", 2e8)}},
    {.name = "beside-1m",
     .title = "resident bytes a container beside its own 48: before the first collection, at the "
              "height of it, and after it; random graph",
     .warm = true,
     .subjects = {TARN("memory", "random", "1000000", "1"),
                  TARN_AS("tarn-unknown", "memory", "random", "1000000", "1", "unknown"),
                  PYTHON("memory", "random", "1000000", "1")},
     .comparisons = {AT_MOST("tarn/0.5B-before", "beside_before",
                             "bytes before, which shall be 0 / 0.5", 0.5),
                     AT_MOST("tarn/5B-during", "beside_during", "bytes during / 5", 5),
                     {.subject = "tarn-unknown",
                      .constant = 5,
                      .label = "tarn-unknown/5B-during",
                      .metric = "beside_during",
                      .unit = "bytes during, no root is known / 5",
                      .bound = 1}}},
    {.name = "after-1m",
     .title = "what is resident after a million containers of garbage in rings of ten have died, "
              "and collections then",
     .warm = true,
     .subjects = {TARN("after", "rings", "1000000", "101", "later"),
                  PYTHON("after", "rings", "1000000", "101")},
     .comparisons = {AT_MOST("tarn/start", "resident_ratio",
                             "resident bytes by those at the start / 1.1", 1.1),
                     {.subject = "tarn",
                      .constant = 1.1,
                      .label = "tarn/start-later",
                      .metric = "later_ratio",
                      .unit = "the same three seconds later"},
                     AT_MOST("tarn/200us", "empty_ns", "an empty collection / 0.2 ms", 2e5),
                     AGAINST("tarn", "python3", "tarn/python3-empty",
                             "empty_ns", "an empty collection")}},
};

int main(int argc, char **argv) {
  const struct bench_group group = {.cases = cases, .case_count = sizeof cases / sizeof cases[0]};
  return bench_group_main(argc, argv, &group);
}
