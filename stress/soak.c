/* SPDX-License-Identifier: MIT */
/*
 * soak hunts what grows: memory, mappings, descriptors or objects that a long life leaves behind,
 * a little at a time.
 *
 * Threads come and go and do everything there is (stress/soak_load.h), in phases that take turns,
 * with what lives held constant.  Every few seconds a line goes to a file of comma-separated
 * values.  At the end samples of the same phase are compared: the median of the last third of the
 * time with the median of the third before it; the first third is for warming up.  What grew by
 * more than 3 % and a fixed amount is a failure.  The samples that decide are those taken at the
 * end of the idle phase, when all was collected and free memory given back; those of busy phases
 * are held to 10 %, for their highest points are chance.
 *
 * usage: soak [--csv FILE] [--every SECONDS] [--leak N] [options of stress programs]
 *   --every SECONDS  between two lines (5)
 *   --leak N         N objects of 1200 bytes more in each second live for ever, so that it fails:
 *                    the test of the test
 */
#include "soak_load.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAUSES_MOST 65536u
#define CYCLES_MOST 4096u /* the cycle becomes longer if there would be more */
#define CYCLE_LONGEST 60u /* seconds */
#define CYCLES_WANTED 12u
#define CYCLES_LEAST 9u
#define PHASE_SHORTEST 1000u /* milliseconds */

static const char *const phase_names[SOAK_PHASES] = {"young",   "full",   "large",
                                                     "threads", "cycles", "idle"};

/* --- figures --------------------------------------------------------------------------------- */

enum figure { RSS, MAPPINGS, DESCRIPTORS, HEAP, LIVE, OBJECTS, METADATA, FIGURES };

/* What may be more in the last third: this, and `percent` of the third before. */
static const struct judged {
  const char *name;
  uint64_t allowed;
} judged[FIGURES] = {{"rss_bytes", 8u << 20},     {"mappings", 24},         {"fds", 2},
                     {"heap_bytes", 8u << 20},    {"live_bytes", 1u << 20}, {"objects", 2000},
                     {"metadata_bytes", 1u << 20}};

struct sample {
  uint64_t figures[FIGURES];
};

static struct sample samples[CYCLES_MOST][SOAK_PHASES];
static unsigned cycles;

static uint64_t lines_of(const char *path) {
  char text[65536];
  uint64_t lines = 0;
  ssize_t got;
  int file = open(path, O_RDONLY | O_CLOEXEC);
  STRESS_CHECK(file >= 0);
  while ((got = read(file, text, sizeof text)) > 0)
    for (ssize_t i = 0; i < got; i++)
      lines += text[i] == '\n';
  (void)close(file);
  return lines;
}

static uint64_t entries_of(const char *path) {
  uint64_t entries = 0;
  DIR *directory = opendir(path);
  STRESS_CHECK(directory);
  while (readdir(directory))
    entries++;
  (void)closedir(directory);
  return entries - 2;
}

static uint64_t resident_bytes(void) {
  unsigned long long size = 0, resident = 0;
  FILE *file = fopen("/proc/self/statm", "re");
  STRESS_CHECK(file && fscanf(file, "%llu %llu", &size, &resident) == 2);
  (void)fclose(file);
  return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static struct sample take_sample(void) {
  tarn_stats a = soak_load_stats(0), b = soak_load_stats(1);
  return (struct sample){{[RSS] = resident_bytes(),
                          [MAPPINGS] = lines_of("/proc/self/maps"),
                          [DESCRIPTORS] = entries_of("/proc/self/fd"),
                          [HEAP] = a.heap_bytes + b.heap_bytes,
                          [LIVE] = a.live_bytes /* the other world estimates */,
                          [OBJECTS] = a.live_objects + b.live_objects,
                          [METADATA] = a.metadata_bytes + b.metadata_bytes}};
}

/* --- pauses ---------------------------------------------------------------------------------- */

/* The last pause of each world is looked at every few milliseconds, so nearly all are seen. */
static uint64_t pauses[PAUSES_MOST], seen[2];
static unsigned pause_count;
static uint64_t pauses_in_all, longest_pause;

static uint64_t collections_of(const tarn_stats *stats) {
  return stats->collections + stats->cycle_collections;
}

static void look_for_pauses(void) {
  for (unsigned i = 0; i < 2; i++) {
    tarn_stats stats = soak_load_stats(i);
    uint64_t last = i ? stats.cycle_pause_last_ns : stats.pause_last_ns;
    if (collections_of(&stats) == seen[i])
      continue;
    seen[i] = collections_of(&stats);
    pauses_in_all++;
    longest_pause = last > longest_pause ? last : longest_pause;
    if (pause_count < PAUSES_MOST)
      pauses[pause_count++] = last;
  }
}

static int compare(const void *left, const void *right) {
  uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
  return a < b ? -1 : a > b;
}

/* Nearest rank. */
static double pause_of(unsigned percent) {
  if (pause_count == 0)
    return 0;
  unsigned rank = (pause_count * percent + 99) / 100;
  return (double)pauses[rank ? rank - 1 : 0] / 1000.0;
}

/* --- lines ----------------------------------------------------------------------------------- */

static FILE *csv;

static void write_names(void) {
  fprintf(csv, "seconds,cycle,phase,threads,collections,pause_p50_us,pause_p99_us,pause_max_us,"
               "external_bytes,side_table_bytes,returned_bytes,dirty_bytes,unswept_pools,"
               "large_objects,release_pending,counting_heap_bytes,counting_collections");
  for (unsigned i = 0; i < FIGURES; i++)
    fprintf(csv, ",%s", judged[i].name);
  fprintf(csv, "\n");
}

static void write_line(uint64_t milliseconds, unsigned phase, const struct sample *sample) {
  tarn_stats a = soak_load_stats(0), b = soak_load_stats(1);
  qsort(pauses, pause_count, sizeof *pauses, compare);
  fprintf(csv, "%.1f,%u,%s,%llu,%llu,%.0f,%.0f,%.0f,%llu,%llu,%llu", (double)milliseconds / 1000.0,
          cycles, phase_names[phase], (unsigned long long)(a.threads + b.threads),
          (unsigned long long)(collections_of(&a) + collections_of(&b)), pause_of(50), pause_of(99),
          pause_of(100), (unsigned long long)a.external_bytes,
          (unsigned long long)(a.side_table_bytes + b.side_table_bytes),
          (unsigned long long)(a.returned_bytes + b.returned_bytes));
  fprintf(csv, ",%llu,%llu,%llu,%llu,%llu,%llu",
          (unsigned long long)(a.dirty_bytes + b.dirty_bytes),
          (unsigned long long)(a.unswept_pools + b.unswept_pools),
          (unsigned long long)(a.large_objects + b.large_objects),
          (unsigned long long)(a.release_pending + b.release_pending),
          (unsigned long long)b.heap_bytes, (unsigned long long)collections_of(&b));
  for (unsigned i = 0; i < FIGURES; i++)
    fprintf(csv, ",%llu", (unsigned long long)sample->figures[i]);
  fprintf(csv, "\n");
  (void)fflush(csv);
  pause_count = 0;
}

/* --- threads --------------------------------------------------------------------------------- */

static struct worker {
  pthread_t thread;
  unsigned number;
  bool there;
  _Atomic bool ended; /* release and acquire, though the join alone would do */
  struct stress_random random;
} workers[64];

static void *live(void *data) {
  struct worker *worker = data;
  soak_live(worker->number, &worker->random);
  atomic_store_explicit(&worker->ended, true, memory_order_release);
  return NULL;
}

/* Whose life is over goes, and another thread takes the place. */
static void tend_threads(bool again) {
  for (unsigned i = 0; i < stress.threads; i++) {
    struct worker *worker = &workers[i];
    if (worker->there && (!again || atomic_load_explicit(&worker->ended, memory_order_acquire))) {
      STRESS_EQUAL(pthread_join(worker->thread, NULL), 0);
      worker->there = false;
      (void)atomic_fetch_add_explicit(&stress_rounds, 1, memory_order_relaxed);
    }
    if (!worker->there && again) {
      worker->number = i;
      atomic_store_explicit(&worker->ended, false, memory_order_relaxed);
      STRESS_EQUAL(pthread_create(&worker->thread, NULL, live, worker), 0);
      worker->there = true;
    }
  }
}

/* --- time ------------------------------------------------------------------------------------ */

static unsigned every = 5; /* seconds */
static uint64_t leak, phase_length, began, told, leaked_at;

static void choose_lengths(void) {
  uint64_t cycle = (uint64_t)stress.seconds * 1000 / CYCLES_WANTED;
  if (cycle > CYCLE_LONGEST * 1000)
    cycle = CYCLE_LONGEST * 1000;
  if (cycle < (uint64_t)stress.seconds * 1000 / CYCLES_MOST + 1)
    cycle = (uint64_t)stress.seconds * 1000 / CYCLES_MOST + 1;
  phase_length = cycle / SOAK_PHASES < PHASE_SHORTEST ? PHASE_SHORTEST : cycle / SOAK_PHASES;
}

static void keep_lines(unsigned phase) {
  uint64_t now = stress_milliseconds();
  if (leak && now - leaked_at >= 1000) {
    soak_load_leak(leak * (now - leaked_at) / 1000);
    leaked_at = now;
  }
  if (now - told < every * 1000u)
    return;
  told = now;
  struct sample sample = take_sample();
  write_line(now - began, phase, &sample);
  fprintf(stderr,
          "  %7.1f s  cycle %u, %-7s  %6llu KiB resident, %6llu KiB held, %llu collections\n",
          (double)(now - began) / 1000.0, cycles, phase_names[phase],
          (unsigned long long)sample.figures[RSS] / 1024,
          (unsigned long long)sample.figures[HEAP] / 1024, (unsigned long long)(seen[0] + seen[1]));
}

static void run_phase(unsigned phase) {
  uint64_t until = stress_milliseconds() + phase_length;
  atomic_store_explicit(&soak_phase, phase, memory_order_relaxed);
  while (stress_milliseconds() < until) {
    tend_threads(true);
    look_for_pauses();
    keep_lines(phase);
    (void)usleep(4000);
  }
  if (phase == SOAK_IDLE)
    soak_load_trim();
  samples[cycles][phase] = take_sample();
  if (phase == SOAK_IDLE)
    write_line(stress_milliseconds() - began, phase, &samples[cycles][phase]);
}

/* --- judgement ------------------------------------------------------------------------------- */

static uint64_t median(unsigned phase, unsigned figure, unsigned from, unsigned to) {
  static uint64_t values[CYCLES_MOST];
  unsigned count = 0;
  for (unsigned i = from; i < to; i++)
    values[count++] = samples[i][phase].figures[figure];
  qsort(values, count, sizeof *values, compare);
  return values[count / 2];
}

/* A sanitizer's own memory is none of ours, and grows.  What lives is only known after a collection
 * that everything was ready for. */
static bool is_judged(unsigned phase, unsigned figure) {
  if (STRESS_SANITIZED && (figure == RSS || figure == MAPPINGS))
    return false;
  return phase == SOAK_IDLE || figure == RSS || figure == MAPPINGS || figure == DESCRIPTORS;
}

static unsigned judge(unsigned phase, unsigned figure) {
  uint64_t before = median(phase, figure, cycles / 3, cycles / 3 * 2);
  uint64_t after = median(phase, figure, cycles / 3 * 2, cycles);
  uint64_t allowed = phase == SOAK_IDLE ? before * 3 / 100 + judged[figure].allowed
                                        : before / 10 + 4 * judged[figure].allowed;
  bool grew = after > before + allowed && is_judged(phase, figure);
  if (grew || phase == SOAK_IDLE)
    fprintf(stderr, "  %-7s %-15s %11llu, then %11llu: %+.1f %%%s\n", phase_names[phase],
            judged[figure].name, (unsigned long long)before, (unsigned long long)after,
            before ? 100.0 * ((double)after - (double)before) / (double)before : 0.0,
            grew                       ? "  GREW"
            : is_judged(phase, figure) ? ""
                                       : "  (not judged)");
  return grew;
}

static unsigned judge_all(void) {
  unsigned grew = 0;
  fprintf(stderr, "medians of the second and of the last third of %u cycles of %.0f s:\n", cycles,
          (double)phase_length * SOAK_PHASES / 1000.0);
  for (unsigned phase = 0; phase < SOAK_PHASES; phase++)
    for (unsigned figure = 0; figure < FIGURES; figure++)
      grew += judge(phase, figure);
  return grew;
}

static void tell_counts(void) {
  struct soak_count counts[32] = {{NULL, 0}};
  soak_load_counts(counts, 31);
  fprintf(stderr, "  %llu pauses seen, the longest %.1f ms\n", (unsigned long long)pauses_in_all,
          (double)longest_pause / 1e6);
  for (unsigned i = 0; counts[i].name; i++) {
    fprintf(stderr, "  %12llu %s\n", (unsigned long long)counts[i].count, counts[i].name);
    STRESS_CHECK(counts[i].count > 0); /* each of them happened */
  }
}

/* --- start ----------------------------------------------------------------------------------- */

/* Takes its own options out; the others are those of all programs. */
static int read_own_options(int count, char **arguments, const char **path) {
  int kept = 1;
  for (int i = 1; i < count; i++) {
    bool more = i + 1 < count;
    if (more && strcmp(arguments[i], "--csv") == 0)
      *path = arguments[++i];
    else if (more && strcmp(arguments[i], "--every") == 0)
      every = (unsigned)strtoul(arguments[++i], NULL, 10);
    else if (more && strcmp(arguments[i], "--leak") == 0)
      leak = strtoull(arguments[++i], NULL, 10);
    else
      arguments[kept++] = arguments[i];
  }
  return kept;
}

int main(int count, char **arguments) {
  const char *path = "/dev/null";
  count = read_own_options(count, arguments, &path);
  stress.threads = 6;
  stress.seconds = 600;
  stress_begin(count, arguments, "what grows: memory, mappings, descriptors and objects");
  csv = fopen(path, "we");
  STRESS_CHECK(csv);
  write_names();
  for (unsigned i = 0; i < stress.threads; i++)
    workers[i].random = stress_random_of(i);
  choose_lengths();
  soak_load_begin();
  began = told = leaked_at = stress_milliseconds();
  uint64_t end = began + stress.seconds * 1000ull;
  for (; cycles < CYCLES_MOST && (cycles < CYCLES_LEAST || stress_milliseconds() < end); cycles++)
    for (unsigned phase = 0; phase < SOAK_PHASES; phase++)
      run_phase(phase);
  atomic_store_explicit(&soak_over, true, memory_order_relaxed);
  tend_threads(false);
  (void)fclose(csv);
  unsigned grew = judge_all();
  tell_counts();
  soak_load_end();
  if (grew)
    stress_fail(__FILE__, __LINE__, "%u figures grew", grew);
  return stress_end();
}
