/* SPDX-License-Identifier: MIT */
/*
 * Group malloc: Tarn as an allocator, against glibc, mimalloc, jemalloc and tcmalloc.
 *
 * Apart from the native pairs, all subjects of a case are one program (bench/alloc/), which runs
 * with one library or another preloaded and makes sure that this library answers.
 */
#include <stddef.h>

#include "harness.h"

/* --- subjects -------------------------------------------------------------------------------- */

#define PRELOADED(peer, path, file, file_program, ...)                                  \
  {                                                                                     \
    .name = peer, .program = file_program, .arguments = {__VA_ARGS__}, .environment = { \
      "LD_PRELOAD=" path,                                                               \
      "BENCH_ALLOCATOR=" file                                                           \
    }                                                                                   \
  }
#define ABSENT(peer, why) \
  { .name = peer, .absent = why }

#ifdef BENCH_LIBRARY_TARN
#define TARN(...) PRELOADED("tarn", BENCH_LIBRARY_TARN, "libtarn-malloc.so", __VA_ARGS__)
#else
#define TARN(...) ABSENT("tarn", "there was no target tarn_malloc when this was configured")
#endif
#define GLIBC(...) PRELOADED("glibc", "", "libc.so", __VA_ARGS__)
#ifdef BENCH_LIBRARY_MIMALLOC
#define MIMALLOC(...) PRELOADED("mimalloc", BENCH_LIBRARY_MIMALLOC, "libmimalloc.so", __VA_ARGS__)
#else
#define MIMALLOC(...) \
  ABSENT("mimalloc", "libmimalloc.so.2 was not found when this was configured (libmimalloc-dev)")
#endif
#ifdef BENCH_LIBRARY_JEMALLOC
#define JEMALLOC(...) PRELOADED("jemalloc", BENCH_LIBRARY_JEMALLOC, "libjemalloc.so", __VA_ARGS__)
#else
#define JEMALLOC(...) \
  ABSENT("jemalloc", "libjemalloc.so.2 was not found when this was configured (libjemalloc-dev)")
#endif
#ifdef BENCH_LIBRARY_TCMALLOC
#define TCMALLOC(...) \
  PRELOADED("tcmalloc", BENCH_LIBRARY_TCMALLOC, "libtcmalloc_minimal.so", __VA_ARGS__)
#else
#define TCMALLOC(...)                                                                   \
  ABSENT("tcmalloc", "libtcmalloc_minimal.so.4 was not found when this was configured " \
                     "(libgoogle-perftools-dev)")
#endif

/* A program and its arguments, for all five. */
#define ALL(...)                                                                         \
  {                                                                                      \
    TARN(__VA_ARGS__), GLIBC(__VA_ARGS__), MIMALLOC(__VA_ARGS__), JEMALLOC(__VA_ARGS__), \
        TCMALLOC(__VA_ARGS__)                                                            \
  }

/* --- comparisons ----------------------------------------------------------------------------- */

#define AGAINST(other, its_label, its_metric, its_unit) \
  { .subject = "tarn", .peer = other, .label = its_label, .metric = its_metric, .unit = its_unit }
#define AGAINST_MIMALLOC AGAINST("mimalloc", "tarn/mimalloc", "wall_ns", "wall time")
#define AGAINST_BEST AGAINST(BENCH_BEST, "tarn/best", "wall_ns", "wall time")
#define AGAINST_LEAST_RSS AGAINST(BENCH_BEST, "tarn/best-rss", "peak_rss_bytes", "peak RSS")
#define AGAINST_CONSTANT(value, its_label, its_metric, its_unit)                    \
  {                                                                                 \
    .subject = "tarn", .constant = value, .label = its_label, .metric = its_metric, \
    .unit = its_unit                                                                \
  }

/* --- cases: small programs ------------------------------------------------------------------- */

#define MICRO(its_name, its_title, ...)                                                  \
  {                                                                                      \
    .name = its_name, .title = its_title, .subjects = ALL(__VA_ARGS__), .comparisons = { \
      AGAINST_MIMALLOC,                                                                  \
      AGAINST_BEST                                                                       \
    }                                                                                    \
  }

#ifdef BENCH_HAVE_NATIVE_MIMALLOC
#define MIMALLOC_NATIVE(its_name, ...)                                                     \
  {                                                                                        \
    .name = its_name, .program = "alloc_native_pair_mimalloc", .arguments = {__VA_ARGS__}, \
    .environment = {                                                                       \
      "BENCH_ALLOCATOR=libmimalloc.so"                                                     \
    }                                                                                      \
  }
#else
#define MIMALLOC_NATIVE(its_name, ...) \
  ABSENT(its_name, "mimalloc was not found when this was configured (libmimalloc-dev)")
#endif
#define PAIR_CASE(its_name, how, size, residents, count)                                   \
  {                                                                                        \
    .name = its_name,                                                                      \
    .title = "allocate and free one block of " #size " bytes beside " residents            \
             " live ones, by own functions",                                               \
    .subjects = {{.name = "tarn",                                                          \
                  .program = "alloc_native_pair_tarn",                                     \
                  .arguments = {how, #size, residents, count}},                            \
                 MIMALLOC_NATIVE("mi_malloc", "mi", #size, residents, count),              \
                 MIMALLOC_NATIVE("mi_heap_malloc", "heap", #size, residents, count),       \
                 MIMALLOC_NATIVE("mimalloc malloc", "malloc", #size, residents, count)},   \
    .comparisons = {                                                                       \
      AGAINST(BENCH_BEST, "tarn/mimalloc", "wall_ns", "wall time, mimalloc's fastest way") \
    }                                                                                      \
  }
#define PAIR(size, count) PAIR_CASE("pair-" #size, "heap", size, "16", count)
#define PAIR_ALONE(size, count) PAIR_CASE("pair-alone-" #size, "heap", size, "0", count)
#define PAIR_RAW(size, count) PAIR_CASE("pair-raw-" #size, "raw", size, "16", count)
/* Both sides clear. */
#define PAIR_ZEROED(size, count)                                                           \
  {                                                                                        \
    .name = "pair-zeroed-" #size,                                                          \
    .title = "allocate cleared and free one block of " #size " bytes beside 16 live ones", \
    .subjects = {{.name = "tarn",                                                          \
                  .program = "alloc_native_pair_tarn",                                     \
                  .arguments = {"heap", #size, "16", count}},                              \
                 MIMALLOC_NATIVE("mi_zalloc", "zalloc", #size, "16", count),               \
                 MIMALLOC_NATIVE("mi_heap_zalloc", "heap-zalloc", #size, "16", count)},    \
    .comparisons = {                                                                       \
      AGAINST(BENCH_BEST, "tarn/mimalloc", "wall_ns", "wall time, mimalloc's fastest way") \
    }                                                                                      \
  }

/* One thread, two and eight share the work. */
#define DOOR_PAIR(size, count)                                                                     \
  MICRO("door-pair-" #size, "malloc and free of one block of " #size " bytes beside 16 live ones", \
        "alloc_pair", #size, "16", "1", count),                                                    \
      MICRO("door-pair-" #size "-2t", "the same, two threads", "alloc_pair", #size, "16", "2",     \
            count),                                                                                \
      MICRO("door-pair-" #size "-8t", "the same, eight threads", "alloc_pair", #size, "16", "8",   \
            count)
#define DOOR_PAIR_ALONE(size, count)                                                               \
  MICRO("door-pair-alone-" #size,                                                                  \
        "malloc and free of one block of " #size " bytes, and no other live", "alloc_pair", #size, \
        "0", "1", count)
#define BATCH(order, size, count)                                                                 \
  MICRO("batch-" order "-" #size, "batches of " #size " bytes, freed in " order " order",         \
        "alloc_batch", order, #size, "1", count),                                                 \
      MICRO("batch-" order "-" #size "-2t", "the same, two threads", "alloc_batch", order, #size, \
            "2", count),                                                                          \
      MICRO("batch-" order "-" #size "-8t", "the same, eight threads", "alloc_batch", order,      \
            #size, "8", count)
#define REMOTE(name, size, chunk, count)                                                           \
  MICRO(name "-" #size, "one thread allocates " #size " bytes, another frees", "alloc_remote",     \
        #size, chunk, "2", count),                                                                 \
      MICRO(name "-" #size "-8t", "the same, four pairs of threads", "alloc_remote", #size, chunk, \
            "8", count)

#define CLIFF(its_name, way, size, most)                                               \
  {                                                                                    \
    .name = its_name "-" #size,                                                        \
    .title = "worst pair of " #size " bytes, " way ", over 0 to " most " live blocks", \
    .subjects = ALL("alloc_pair_cliff", way, #size, most), .comparisons = {            \
      AGAINST_CONSTANT(30, "tarn/30ns", "ns_worst", "worst ns a pair / 30"),           \
      AGAINST(BENCH_BEST, "tarn/best", "ns_worst", "worst ns a pair")                  \
    }                                                                                  \
  }

/* Slow, and the same each time. */
#define SPIKE(way, what)                                                                         \
  {                                                                                              \
    .name = "spike-" way, .title = "1 GiB of small blocks by four threads; " what "; 2 s later", \
    .rounds = 1, .subjects = ALL("alloc_spike", way, "2000"), .comparisons = {                   \
      AGAINST_CONSTANT(64 * 1048576, "tarn/64MiB", "resident_bytes", "resident bytes / 64 MiB"), \
      AGAINST(BENCH_BEST, "tarn/best", "resident_bytes", "resident bytes")                       \
    }                                                                                            \
  }

/* --- cases: programs that load an allocator as others do -------------------------------------- */

#define MACRO_CASE(its_name, its_title, ...)                                             \
  {                                                                                      \
    .name = its_name, .title = its_title, .subjects = ALL(__VA_ARGS__), .comparisons = { \
      AGAINST_BEST,                                                                      \
      AGAINST_MIMALLOC,                                                                  \
      AGAINST_LEAST_RSS                                                                  \
    }                                                                                    \
  }
#define MACRO(name, title, program, half, whole)                                   \
  MACRO_CASE("macro-" name "-1t", title, program, "1", half),                      \
      MACRO_CASE("macro-" name "-2t", title ", two threads", program, "2", whole), \
      MACRO_CASE("macro-" name "-8t", title ", eight threads", program, "8", whole)
#define SHARING(way, half, whole)                                                               \
  MACRO_CASE("macro-" way "-false-sharing-1t", way " false sharing, with nobody to share with", \
             "alloc_false_sharing", way, "1", half),                                            \
      MACRO_CASE("macro-" way "-false-sharing-2t", way " false sharing, two threads",           \
                 "alloc_false_sharing", way, "2", whole),                                       \
      MACRO_CASE("macro-" way "-false-sharing-8t", way " false sharing, eight threads",         \
                 "alloc_false_sharing", way, "8", whole)

static const struct bench_case cases[] = {
    PAIR(16, "20000000"),
    PAIR(64, "20000000"),
    PAIR(256, "20000000"),
    PAIR(1024, "10000000"),
    PAIR(4096, "5000000"),
    PAIR(32768, "2000000"),
    PAIR_RAW(16, "20000000"),
    PAIR_RAW(64, "20000000"),
    PAIR_RAW(256, "20000000"),
    PAIR_ZEROED(16, "20000000"),
    PAIR_ZEROED(64, "20000000"),
    PAIR_ZEROED(256, "20000000"),
    PAIR_ALONE(16, "10000000"),
    PAIR_ALONE(64, "10000000"),
    PAIR_ALONE(256, "10000000"),

    DOOR_PAIR(16, "20000000"),
    DOOR_PAIR(64, "20000000"),
    DOOR_PAIR(256, "20000000"),
    DOOR_PAIR(1024, "10000000"),
    DOOR_PAIR(4096, "5000000"),
    DOOR_PAIR(32768, "5000000"),
    DOOR_PAIR_ALONE(16, "10000000"),
    DOOR_PAIR_ALONE(64, "10000000"),
    DOOR_PAIR_ALONE(256, "10000000"),

    BATCH("fifo", 16, "8000000"),
    BATCH("fifo", 64, "8000000"),
    BATCH("fifo", 256, "4000000"),
    BATCH("fifo", 1024, "1500000"),
    BATCH("fifo", 4096, "800000"),
    BATCH("fifo", 32768, "400000"),
    BATCH("random", 16, "8000000"),
    BATCH("random", 64, "8000000"),
    BATCH("random", 256, "4000000"),
    BATCH("random", 1024, "1500000"),
    BATCH("random", 4096, "800000"),
    BATCH("random", 32768, "400000"),

    REMOTE("remote-free", 16, "1024", "2000000"),
    REMOTE("remote-free", 64, "1024", "2000000"),
    REMOTE("remote-free", 256, "512", "1000000"),
    REMOTE("remote-free", 1024, "128", "500000"),
    REMOTE("remote-free", 32768, "4", "200000"),
    REMOTE("remote-near", 16, "32", "1000000"),
    REMOTE("remote-near", 64, "32", "1000000"),

    MICRO("threads-come-and-go", "a thread starts, allocates 32 blocks, frees them, ends",
          "alloc_threads", "1", "3000"),
    MICRO("threads-come-and-go-2t", "the same, two at a time", "alloc_threads", "2", "3000"),
    MICRO("threads-come-and-go-8t", "the same, eight at a time", "alloc_threads", "8", "3000"),

    CLIFF("pair-cliff", "hold", 16, "8200"),
    CLIFF("pair-cliff", "hold", 64, "2056"),
    CLIFF("pair-cliff", "hold", 256, "520"),
    CLIFF("pair-cliff", "hold", 1024, "136"),
    CLIFF("pair-cliff-replace", "replace", 16, "8200"),
    CLIFF("pair-cliff-replace", "replace", 64, "2056"),
    CLIFF("pair-cliff-replace", "replace", 256, "520"),
    CLIFF("pair-cliff-replace", "replace", 1024, "136"),

    SPIKE("own", "each frees its own and idles"),
    SPIKE("exit", "each frees its own and ends"),
    SPIKE("orphans", "they end, the main thread frees all"),
    SPIKE("remote", "they idle, the main thread frees all"),

    MACRO("server", "random replacement, threads die and hand over", "alloc_server", "6000000",
          "12000000"),
    MACRO("asymmetric", "half of the threads allocate, half free", "alloc_asymmetric", "4000000",
          "1500000"),
    SHARING("passive", "2000000", "4000000"),
    SHARING("active", "2000000", "4000000"),
    MACRO("phases", "growth and shrinkage, other sizes each time", "alloc_phases", "300000000",
          "400000000"),
    MACRO("large-churn", "blocks of 32 KiB to 4 MiB come and go", "alloc_large_churn", "12000",
          "24000"),
    MACRO("mixed", "text, names, trees and boxes, as in a compiler", "alloc_mixed", "12000",
          "24000"),
    MACRO("batch-random", "batches of many sizes, a rest freed later", "alloc_batch_random",
          "6000000", "12000000"),
    MACRO("churn-threads", "short threads that return some blocks", "alloc_churn_threads", "3000",
          "4000"),
    MACRO("transfer", "random replacement, a quarter freed by others", "alloc_transfer", "3000000",
          "4000000"),
};

/* --- means ----------------------------------------------------------------------------------- */

#define MEANS(threads)                                                                       \
  {.name = "malloc-macro-geomean-" threads,                                                  \
   .cases = "macro-*-" threads,                                                              \
   .subject = "tarn",                                                                        \
   .peer = BENCH_BEST,                                                                       \
   .label = "tarn/best",                                                                     \
   .metric = "wall_ns",                                                                      \
   .unit = "wall time"},                                                                     \
      {.name = "malloc-macro-geomean-" threads,                                              \
       .cases = "macro-*-" threads,                                                          \
       .subject = "tarn",                                                                    \
       .peer = "mimalloc",                                                                   \
       .label = "tarn/mimalloc",                                                             \
       .metric = "wall_ns",                                                                  \
       .unit = "wall time"},                                                                 \
  {                                                                                          \
    .name = "malloc-rss-geomean-" threads, .cases = "macro-*-" threads, .subject = "tarn",   \
    .peer = BENCH_BEST, .label = "tarn/best", .metric = "peak_rss_bytes", .unit = "peak RSS" \
  }

static const struct bench_summary summaries[] = {MEANS("1t"), MEANS("2t"), MEANS("8t"), {0}};

int main(int argc, char **argv) {
  const struct bench_group group = {
      .cases = cases, .case_count = sizeof cases / sizeof cases[0], .summaries = summaries};
  return bench_group_main(argc, argv, &group);
}
