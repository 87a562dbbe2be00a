/* SPDX-License-Identifier: MIT */
/* Everything that wordgraph prints: messages, the progress line, the table. */
#define _GNU_SOURCE
#include "wordgraph.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static const char *line_start(void) { return isatty(STDERR_FILENO) ? "\r\033[K" : ""; }

void complain(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  flockfile(stderr);
  fprintf(stderr, "%swordgraph: ", line_start());
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  funlockfile(stderr);
  va_end(arguments);
}

void *need(void *memory) {
  if (memory == NULL) {
    complain("out of memory");
    exit(1);
  }
  return memory;
}

double now_seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void sum(const struct run *run, const struct worker *workers, uint64_t *words,
                uint64_t *objects) {
  *words = *objects = 0;
  for (unsigned i = 0; i < run->threads; i++) {
    *words += atomic_load_explicit(&workers[i].words, memory_order_relaxed);
    *objects += atomic_load_explicit(&workers[i].objects, memory_order_relaxed);
  }
}

void progress(const struct run *run, const struct worker *workers, double seconds, bool last) {
  tarn_stats stats = {.struct_size = sizeof stats};
  uint64_t words, objects;
  sum(run, workers, &words, &objects);
  tarn_stats_get(run->world, &stats);
  fprintf(stderr,
          "%s%4.1f s: %.1f of %.1f million words, %u of %u passes checked, %llu collections, "
          "%.1f MiB%s",
          line_start(), seconds, (double)words / 1e6,
          (double)run->plain.total * run->rounds * run->passes / 1e6,
          atomic_load_explicit(&run->passes_checked, memory_order_relaxed), run->passes,
          (unsigned long long)stats.collections, (double)stats.heap_bytes / 1048576,
          *line_start() != 0 && !last ? "" : "\n");
}

/* A row with a number, its digits in groups of three. */
static void row(const char *name, uint64_t value, const char *note) {
  char digits[24], grouped[32] = "";
  int length = snprintf(digits, sizeof digits, "%llu", (unsigned long long)value), out = 0;
  for (int i = 0; i < length; i++) {
    if (i > 0 && (length - i) % 3 == 0)
      grouped[out++] = ',';
    grouped[out++] = digits[i];
  }
  printf("%-27s%14.*s %s\n", name, out, grouped, note);
}

void report(const struct run *run, const struct worker *workers) {
  tarn_stats stats = {.struct_size = sizeof stats};
  uint64_t words, objects, opened = 0, closed = 0;
  char note[96];
  sum(run, workers, &words, &objects);
  tarn_stats_get(run->world, &stats);
  for (size_t i = 0; i < run->turns * run->passes; i++) {
    opened += atomic_load_explicit(&run->descriptors[i].opened, memory_order_relaxed);
    closed += atomic_load_explicit(&run->descriptors[i].closed, memory_order_relaxed);
  }
  row("threads", run->threads, "");
  snprintf(note, sizeof note, "each %u times in each of %u passes", run->rounds, run->passes);
  row("files", run->plain.input_count, note);
  row("files that cannot be read", run->plain.unreadable, "");
  row("words", words, "");
  row("distinct words", run->plain.distinct, "");
  row("edges", run->plain.edges, "");
  row("objects", objects, "");
  row("objects per second", (uint64_t)((double)objects / run->seconds), "");
  row("collections", stats.collections, "");
  row("pause, median", stats.pause_median_ns / 1000, "us");
  row("pause, maximum", stats.pause_max_ns / 1000, "us");
  snprintf(note, sizeof note, "us, %s", stats.stop_max_thread);
  row("time to safepoint, maximum", stats.stop_max_ns / 1000, note);
  row("heap, peak", stats.heap_bytes_max / 1024, "KiB");
  row("descriptors opened", opened, "");
  row("descriptors closed", closed, "by the collector");
  snprintf(note, sizeof note, "in %u graphs; %llu differences from a plain count",
           atomic_load_explicit(&run->passes_checked, memory_order_relaxed),
           (unsigned long long)atomic_load_explicit(&run->differences, memory_order_relaxed));
  row("words checked", atomic_load_explicit(&run->words_checked, memory_order_relaxed), note);
  printf("%-27s%14.2f s\n", "time", run->seconds);
}
