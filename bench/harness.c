/* SPDX-License-Identifier: MIT */
/* The harness; see harness.h. */
#include "harness.h"

#include <errno.h>
#include <fnmatch.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROUNDS_LEAST = 5, ROUNDS_MOST = 99, METRICS = 24, KEY_SIZE = 24 };

struct metric {
  char key[KEY_SIZE];
  double value;
};

/* What one run of a subject came to. */
struct result {
  bool good;
  size_t count;
  struct metric metrics[METRICS];
};

/* A case while it runs: results[s][0] is the round that is thrown away. */
struct table {
  const struct bench_case *bench;
  size_t subject_count;
  size_t first, rounds; /* from `first` to `rounds` they are run, from 1 on they count */
  bool failed[BENCH_SUBJECTS];
  double heap[BENCH_SUBJECTS]; /* what `heap_of` stands for */
  struct result results[BENCH_SUBJECTS][ROUNDS_MOST + 1];
};

static char program_directory[PATH_MAX];

static void find_program_directory(void) {
  ssize_t length = readlink("/proc/self/exe", program_directory, sizeof program_directory - 1);
  if (length < 0)
    length = 0;
  program_directory[length] = '\0';
  char *slash = strrchr(program_directory, '/');
  if (slash)
    *slash = '\0';
}

/* --- one run --------------------------------------------------------------------------------- */

static bool metric_of(const struct result *result, const char *key, double *value) {
  for (size_t i = 0; i < result->count; i++)
    if (strcmp(result->metrics[i].key, key) == 0) {
      *value = result->metrics[i].value;
      return true;
    }
  return false;
}

static void metric_add(struct result *result, const char *key, double value) {
  if (result->count == METRICS || strlen(key) >= KEY_SIZE)
    return;
  struct metric *metric = &result->metrics[result->count++];
  memcpy(metric->key, key, strlen(key) + 1);
  metric->value = value;
}

/* A line is "KEY NUMBER". */
static bool read_metric(char *line, struct result *result) {
  char *space = strchr(line, ' '), *end;
  if (!space)
    return false;
  *space = '\0';
  double value = strtod(space + 1, &end);
  if (end == space + 1 || *end != '\n')
    return false;
  metric_add(result, line, value);
  return true;
}

static void read_metrics(FILE *stream, struct result *result) {
  char line[256];
  while (fgets(line, sizeof line, stream))
    if (!read_metric(line, result))
      fprintf(stderr, "bench: a subject printed something else than a figure: %s\n", line);
}

static _Noreturn void become_subject(const struct bench_subject *subject, int output,
                                     const char *heap) {
  char path[PATH_MAX + 64];
  if (subject->program[0] == '/')
    snprintf(path, sizeof path, "%s", subject->program);
  else
    snprintf(path, sizeof path, "%s/%s", program_directory, subject->program);
  const char *argv[BENCH_ARGUMENTS + 3] = {subject->program};
  size_t count = 1;
  for (size_t i = 0; i < BENCH_ARGUMENTS && subject->arguments[i]; i++)
    argv[count++] = subject->arguments[i];
  if (subject->heap_of)
    argv[count++] = heap;
  for (size_t i = 0; i < BENCH_SETTINGS && subject->environment[i]; i++)
    putenv((char *)(uintptr_t)subject->environment[i]);
  alarm(BENCH_SECONDS); /* stays set in the program, and ends one that hangs */
  if (dup2(output, STDOUT_FILENO) >= 0)
    execv(path, (char *const *)(void *)argv);
  fprintf(stderr, "bench: cannot run %s: %s\n", path, strerror(errno));
  _exit(127);
}

/* Runs a subject once, in a process of its own. */
static struct result run_subject(const struct bench_subject *subject, double heap_bytes) {
  struct result result = {.good = false};
  char heap[32];
  snprintf(heap, sizeof heap, "%.0f", heap_bytes);
  int ends[2];
  if (pipe(ends) != 0) {
    perror("bench: pipe");
    return result;
  }
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    close(ends[0]);
    become_subject(subject, ends[1], heap);
  }
  close(ends[1]);
  FILE *stream = child > 0 ? fdopen(ends[0], "r") : NULL;
  if (!stream) {
    perror("bench: starting a subject");
    close(ends[0]);
    if (child > 0)
      waitpid(child, NULL, 0);
    return result;
  }
  read_metrics(stream, &result);
  fclose(stream);

  int status = 0;
  struct rusage usage;
  while (wait4(child, &status, 0, &usage) < 0)
    if (errno != EINTR)
      return result;
  if (WIFSIGNALED(status))
    fprintf(stderr, "bench: %s ended by signal %d (%s)\n", subject->name, WTERMSIG(status),
            WTERMSIG(status) == SIGALRM ? "it ran too long" : strsignal(WTERMSIG(status)));
  metric_add(&result, "peak_rss_bytes", (double)usage.ru_maxrss * 1024.0);
  result.good = WIFEXITED(status) && WEXITSTATUS(status) == 0;
  return result;
}

/* --- one case -------------------------------------------------------------------------------- */

static size_t find_subject(const struct table *table, const char *name) {
  for (size_t i = 0; i < table->subject_count; i++)
    if (strcmp(table->bench->subjects[i].name, name) == 0)
      return i;
  fprintf(stderr, "bench: case %s has no subject \"%s\"\n", table->bench->name, name);
  exit(2);
}

static bool usable(const struct table *table, size_t subject) {
  return table->bench->subjects[subject].program && !table->failed[subject];
}

/* The peak heap of the model is known from the first round on. */
static double heap_for(struct table *table, const struct bench_subject *subject) {
  if (!subject->heap_of)
    return 0;
  size_t model = find_subject(table, subject->heap_of);
  if (table->heap[model] == 0)
    metric_of(&table->results[model][0], "heap_bytes", &table->heap[model]);
  return table->heap[model];
}

static void run_one(struct table *table, size_t index, size_t round) {
  const struct bench_subject *subject = &table->bench->subjects[index];
  if (!usable(table, index))
    return;
  double heap = heap_for(table, subject);
  if (subject->heap_of && heap <= 0) {
    printf("  %s is left out: the heap of %s is not known\n", subject->name, subject->heap_of);
    table->failed[index] = true;
    return;
  }
  struct result result = run_subject(subject, heap);
  table->results[index][round] = result;
  if (!result.good) {
    printf("  %s FAILED in round %zu (see the message above)\n", subject->name, round);
    table->failed[index] = true;
  }
}

/* The same work on all sides: the checks of all runs are equal. */
static void compare_checks(struct table *table) {
  bool known = false;
  double expected = 0;
  for (size_t i = 0; i < table->subject_count; i++) {
    for (size_t round = table->first; round <= table->rounds && usable(table, i); round++) {
      double check;
      if (!metric_of(&table->results[i][round], "check", &check) || (known && check != expected)) {
        printf("  %s FAILED: its check differs in round %zu; the work was not the same\n",
               table->bench->subjects[i].name, round);
        table->failed[i] = true;
      } else {
        expected = check;
        known = true;
      }
    }
  }
}

static void run_rounds(struct table *table) {
  for (size_t round = table->first; round <= table->rounds; round++) {
    fprintf(stderr, "  round %zu of %zu%s\n", round, table->rounds,
            round == 0 ? " (thrown away)" : "");
    /* Round 0 keeps the order of the list, because of heap_of; later ones rotate. */
    for (size_t i = 0; i < table->subject_count; i++)
      run_one(table, (i + round) % table->subject_count, round);
  }
  compare_checks(table);
}

static int compare_doubles(const void *a, const void *b) {
  double left = *(const double *)a, right = *(const double *)b;
  return (left > right) - (left < right);
}

struct spread {
  double low, median, high;
};

/* Over the rounds that count; false when a round lacks the metric. */
static bool spread_of(const struct table *table, size_t subject, const char *key,
                      struct spread *out) {
  double values[ROUNDS_MOST];
  for (size_t round = 1; round <= table->rounds; round++)
    if (!metric_of(&table->results[subject][round], key, &values[round - 1]))
      return false;
  qsort(values, table->rounds, sizeof values[0], compare_doubles);
  size_t middle = table->rounds / 2;
  out->low = values[0];
  out->high = values[table->rounds - 1];
  out->median = table->rounds % 2 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
  return true;
}

/* --- what is printed ------------------------------------------------------------------------- */

struct column {
  const char *key, *heading;
  double divisor;
  const char *format; /* NULL: the smallest and the largest value */
};

static const struct column columns[] = {
    {"wall_ns", "wall ms", 1e6, "%.1f"},
    {"wall_ns", "min-max", 1e6, NULL},
    {"run_ns", "run ms", 1e6, "%.0f"},
    {"threads_ns", "in threads ms", 1e6, "%.0f"},
    {"cpu_ns", "CPU ms", 1e6, "%.1f"},
    {"system_ns", "system ms", 1e6, "%.1f"},
    {"collector_ns", "collector ms", 1e6, "%.1f"},
    {"ns_per_object", "ns/object", 1, "%.2f"},
    {"ns_worst", "worst ns", 1, "%.2f"},
    {"worst_at", "at live", 1, "%.0f"},
    {"bytes_per_object", "bytes/object", 1, "%.2f"},
    {"resident_bytes", "resident MiB", 1048576, "%.1f"},
    {"peak_rss_bytes", "peak RSS MiB", 1048576, "%.1f"},
    {"heap_bytes", "heap MiB", 1048576, "%.1f"},
    {"tables_percent", "tables %", 1, "%.1f"},
    {"limit_bytes", "limit MiB", 1048576, "%.1f"},
    {"live_bytes", "live MiB", 1048576, "%.1f"},
    {"first_mark_ns", "first mark ns", 1, "%.2f"},
    {"mark_ns", "mark ns", 1, "%.2f"},
    {"pause_ns", "pause ns", 1, "%.2f"},
    {"first_collect_ns", "first coll. ns", 1, "%.2f"},
    {"collect_ns", "collect ns", 1, "%.2f"},
    {"collect_cpu_ns", "collect CPU ns", 1, "%.2f"},
    {"pause_p50_ns", "pause p50 ms", 1e6, "%.3f"},
    {"pause_p99_ns", "pause p99 ms", 1e6, "%.3f"},
    {"pause_max_ns", "pause max ms", 1e6, "%.3f"},
    {"pause_sum_ns", "pauses ms", 1e6, "%.1f"},
    {"stop_p50_ns", "stop p50 us", 1e3, "%.1f"},
    {"stop_p99_ns", "stop p99 us", 1e3, "%.1f"},
    {"stop_max_ns", "stop max us", 1e3, "%.1f"},
    {"young_ns", "young us", 1e3, "%.1f"},
    {"gap_ns", "gap ms", 1e6, "%.1f"},
    {"beside_before", "beside before", 1, "%.2f"},
    {"beside_during", "beside during", 1, "%.2f"},
    {"beside_after", "beside after", 1, "%.2f"},
    {"start_bytes", "start MiB", 1048576, "%.2f"},
    {"later_bytes", "later MiB", 1048576, "%.2f"},
    {"empty_ns", "empty us", 1e3, "%.1f"},
    {"request_max_ns", "request max ms", 1e6, "%.1f"},
    {"pauses", "pauses", 1, "%.0f"},
    {"pauses_missed", "not seen", 1, "%.0f"},
    {"markers", "markers", 1, "%.0f"},
    {"collections", "collections", 1, "%.0f"},
};
enum { COLUMNS = sizeof columns / sizeof columns[0] };

static int column_width(const struct column *column) {
  int least = column->format ? 12 : 17, length = (int)strlen(column->heading);
  return length > least ? length : least;
}

/* A column that no subject of the case has is left out. */
static bool column_used(const struct table *table, const struct column *column) {
  struct spread spread;
  for (size_t i = 0; i < table->subject_count; i++)
    if (usable(table, i) && spread_of(table, i, column->key, &spread))
      return true;
  return false;
}

static void print_cell(const struct table *table, size_t subject, const struct column *column) {
  struct spread spread;
  char text[48] = "-";
  if (!spread_of(table, subject, column->key, &spread))
    ;
  else if (column->format)
    snprintf(text, sizeof text, column->format, spread.median / column->divisor);
  else
    snprintf(text, sizeof text, "%.1f-%.1f", spread.low / column->divisor,
             spread.high / column->divisor);
  printf(" %*s", column_width(column), text);
}

static void print_row(const struct table *table, size_t subject) {
  printf("  %-16s", table->bench->subjects[subject].name);
  for (size_t i = 0; i < COLUMNS; i++)
    if (column_used(table, &columns[i]))
      print_cell(table, subject, &columns[i]);
  printf("\n");
}

static void print_heading(const struct table *table) {
  printf("  %-16s", "median of rounds");
  for (size_t i = 0; i < COLUMNS; i++)
    if (column_used(table, &columns[i]))
      printf(" %*s", column_width(&columns[i]), columns[i].heading);
  printf("\n");
}

static void print_table(const struct table *table) {
  print_heading(table);
  for (size_t i = 0; i < table->subject_count; i++) {
    const struct bench_subject *subject = &table->bench->subjects[i];
    if (!subject->program)
      printf("  %-16s skipped: %s\n", subject->name, subject->absent);
    else if (table->failed[i])
      printf("  %-16s FAILED\n", subject->name);
    else
      print_row(table, i);
  }
  for (size_t i = 0; i < table->subject_count; i++) {
    const struct bench_subject *subject = &table->bench->subjects[i];
    if (subject->heap_of && usable(table, i))
      printf("  %s: heap set to the peak of %s, %.1f MiB\n", subject->name, subject->heap_of,
             table->heap[find_subject(table, subject->heap_of)] / 1048576);
  }
}

/* One subject against another. */
struct ratio {
  double value;
  const char *lost; /* the side that has no result, or NULL */
  const char *best; /* for BENCH_BEST: which peer, */
  size_t peers;     /* out of how many */
};

/* The least median of all subjects but ours. */
static bool find_best(const struct table *table, size_t ours, const char *metric,
                      struct spread *theirs, struct ratio *out) {
  for (size_t i = 0; i < table->subject_count; i++) {
    struct spread spread;
    if (i == ours || !usable(table, i) || !spread_of(table, i, metric, &spread))
      continue;
    if (out->peers++ == 0 || spread.median < theirs->median) {
      *theirs = spread;
      out->best = table->bench->subjects[i].name;
    }
  }
  return out->peers > 0;
}

static struct ratio ratio_of(const struct table *table, const struct bench_comparison *comparison) {
  struct ratio ratio = {0};
  struct spread ours, theirs = {0, comparison->constant, 0};
  const char *peer = comparison->peer, *metric = comparison->metric;
  size_t subject = find_subject(table, comparison->subject), other;
  if (!usable(table, subject) || !spread_of(table, subject, metric, &ours)) {
    ratio.lost = comparison->subject;
  } else if (peer && strcmp(peer, BENCH_BEST) == 0) {
    if (!find_best(table, subject, metric, &theirs, &ratio))
      ratio.lost = "every peer";
  } else if (peer) {
    other = find_subject(table, peer);
    if (!usable(table, other) || !spread_of(table, other, metric, &theirs))
      ratio.lost = peer;
  }
  if (peer && comparison->constant != 0)
    theirs.median *= comparison->constant;
  if (!ratio.lost)
    ratio.value = ours.median / theirs.median;
  return ratio;
}

/* The lines at the end. */
struct report {
  FILE *lines;
  size_t bounds, met, lost; /* ratios that have a bound; do not exceed it; could not be made */
};

/* The end of a ratio line. */
static void print_verdict(struct report *report, double value, double bound) {
  fprintf(report->lines, "lower is better");
  if (bound != 0) {
    bool met = value <= bound;
    report->bounds++;
    report->met += met;
    fprintf(report->lines, "; bound %g: %s", bound, met ? "met" : "LOSS");
  }
  fprintf(report->lines, ")\n");
}

/* Adds the ratio line, or a line that says why there is none. */
static void print_ratio(const struct table *table, const struct bench_comparison *comparison,
                        struct report *report) {
  const char *name = table->bench->name, *label = comparison->label;
  struct ratio ratio = ratio_of(table, comparison);
  if (ratio.lost) {
    fprintf(report->lines, "no ratio %s %s: %s has no result\n", name, label, ratio.lost);
    report->bounds += comparison->bound != 0;
    report->lost += comparison->bound != 0;
    return;
  }
  fprintf(report->lines, "ratio %s %s %.3f (%s", name, label, ratio.value, comparison->unit);
  if (ratio.best)
    fprintf(report->lines, ", best of %zu: %s", ratio.peers, ratio.best);
  fprintf(report->lines, "; ");
  print_verdict(report, ratio.value, comparison->bound);
}

/* --- means over cases ------------------------------------------------------------------------ */

struct mean {
  double log_sum;
  size_t used, lost;
  size_t peers; /* for BENCH_BEST: the least number there was to choose from */
};

static void add_to_means(const struct table *table, const struct bench_summary *summaries,
                         struct mean *means) {
  for (size_t i = 0; summaries && i < BENCH_SUMMARIES && summaries[i].name; i++) {
    const struct bench_summary *summary = &summaries[i];
    if (fnmatch(summary->cases, table->bench->name, 0) != 0)
      continue;
    struct bench_comparison comparison = {
        .subject = summary->subject, .peer = summary->peer, .metric = summary->metric};
    struct ratio ratio = ratio_of(table, &comparison);
    if (ratio.lost) {
      means[i].lost++;
    } else {
      means[i].log_sum += log(ratio.value);
      if (means[i].used++ == 0 || ratio.peers < means[i].peers)
        means[i].peers = ratio.peers;
    }
  }
}

static void print_mean(const struct bench_summary *summary, const struct mean *mean,
                       const struct bench_group *group, struct report *report) {
  FILE *lines = report->lines;
  size_t wanted = 0;
  for (size_t c = 0; c < group->case_count; c++)
    wanted += fnmatch(summary->cases, group->cases[c].name, 0) == 0;
  if (mean->used + mean->lost == 0)
    return; /* --only left all of them out */
  if (mean->used < wanted) {
    fprintf(lines, "no ratio %s %s: %zu of %zu cases have a result\n", summary->name,
            summary->label, mean->used, wanted);
    report->bounds += summary->bound != 0;
    report->lost += summary->bound != 0;
    return;
  }
  fprintf(lines, "ratio %s %s %.3f (%s, ", summary->name, summary->label,
          exp(mean->log_sum / (double)mean->used), summary->unit);
  if (mean->peers > 0)
    fprintf(lines, "best of %zu in each, ", mean->peers);
  fprintf(lines, "geometric mean of %zu; ", mean->used);
  print_verdict(report, exp(mean->log_sum / (double)mean->used), summary->bound);
}

/* Returns whether all subjects that were built ran to their end. */
static bool run_case(const struct bench_case *bench, size_t rounds,
                     const struct bench_summary *summaries, struct mean *means,
                     struct report *report) {
  struct table *table = calloc(1, sizeof *table);
  if (!table) {
    perror("bench");
    return false;
  }
  table->bench = bench;
  table->first = bench->warm ? 1 : 0;
  table->rounds = bench->rounds && bench->rounds < rounds ? bench->rounds : rounds;
  while (table->subject_count < BENCH_SUBJECTS && bench->subjects[table->subject_count].name)
    table->subject_count++;

  printf("\n%s: %s\n", bench->name, bench->title);
  if (table->rounds < rounds)
    printf("  %zu round%s of it count%s\n", table->rounds, table->rounds == 1 ? "" : "s",
           table->rounds == 1 ? "s" : "");
  run_rounds(table);
  print_table(table);
  for (size_t i = 0; i < BENCH_COMPARISONS && bench->comparisons[i].subject; i++)
    print_ratio(table, &bench->comparisons[i], report);
  add_to_means(table, summaries, means);

  bool good = true;
  for (size_t i = 0; i < table->subject_count; i++)
    good = good && !table->failed[i];
  free(table);
  return good;
}

static void print_cpu(void) {
  FILE *file = fopen("/proc/cpuinfo", "r");
  char line[256];
  while (file && fgets(line, sizeof line, file)) {
    char *colon = strchr(line, ':');
    if (strncmp(line, "model name", 10) == 0 && colon) {
      printf("CPU: %ld x%s", sysconf(_SC_NPROCESSORS_ONLN), colon + 1);
      break;
    }
  }
  if (file)
    fclose(file);
}

/* A variable that changes what some subject does. */
static bool is_setting(const char *variable) {
  static const char *const prefixes[] = {"TARN_",     "GC_",        "MALLOC_",       "MIMALLOC_",
                                         "TCMALLOC_", "LD_PRELOAD", "GLIBC_TUNABLES"};
  for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++)
    if (strncmp(variable, prefixes[i], strlen(prefixes[i])) == 0)
      return true;
  return false;
}

static void print_conditions(size_t rounds) {
  struct utsname system;
  double load[1];
  print_cpu();
  if (uname(&system) == 0)
    printf("kernel: %s %s\n", system.sysname, system.release);
  printf("compiler: %s\n", __VERSION__);
  if (getloadavg(load, 1) == 1)
    printf("load before the run: %.2f%s\n", load[0],
           load[0] > 0.5 ? " (other work is running: trust ratios, not single figures)" : "");
  for (char **variable = environ; *variable; variable++)
    if (is_setting(*variable))
      printf("NOT the defaults: %s\n", *variable);
  printf("rounds: %zu, after one that is thrown away; subjects alternate\n", rounds);
}

struct arguments {
  size_t rounds;
  const char *only;
};

static int usage(const char *program) {
  fprintf(stderr,
          "usage: %s [--rounds N] [--only CASE] [--list]\n"
          "  --rounds N   rounds that count, %d to %d (default %d); one more is thrown away\n"
          "  --only CASE  this case alone; a pattern such as 'gc-alloc-*' takes several\n"
          "  --list       the names of the cases\n",
          program, ROUNDS_LEAST, ROUNDS_MOST, ROUNDS_LEAST);
  return 2;
}

/* 0: go on; otherwise the exit status plus one. */
static int parse_arguments(int argc, char **argv, const struct bench_case *cases, size_t count,
                           struct arguments *out) {
  for (int i = 1; i < argc; i++) {
    bool has_value = i + 1 < argc;
    if (strcmp(argv[i], "--list") == 0) {
      for (size_t c = 0; c < count; c++)
        printf("%-32s %s\n", cases[c].name, cases[c].title);
      return 1;
    } else if (strcmp(argv[i], "--only") == 0 && has_value) {
      out->only = argv[++i];
    } else if (strcmp(argv[i], "--rounds") == 0 && has_value) {
      char *end;
      long rounds = strtol(argv[++i], &end, 10);
      if (*end || rounds < ROUNDS_LEAST || rounds > ROUNDS_MOST)
        return usage(argv[0]) + 1;
      out->rounds = (size_t)rounds;
    } else {
      return usage(argv[0]) + 1;
    }
  }
  for (size_t c = 0; c < count && out->only; c++)
    if (fnmatch(out->only, cases[c].name, 0) == 0)
      return 0;
  if (out->only) {
    fprintf(stderr, "bench: no case \"%s\"; --list names them\n", out->only);
    return 3;
  }
  return 0;
}

static void print_bounds(const struct report *report) {
  if (report->bounds == 0)
    return;
  fprintf(report->lines, "bounds: %zu of %zu are met", report->met, report->bounds);
  if (report->lost > 0)
    fprintf(report->lines, ", %zu have no ratio", report->lost);
  fprintf(report->lines, "\n");
}

int bench_group_main(int argc, char **argv, const struct bench_group *group) {
  struct arguments arguments = {.rounds = ROUNDS_LEAST, .only = NULL};
  int stop = parse_arguments(argc, argv, group->cases, group->case_count, &arguments);
  if (stop)
    return stop - 1;
  find_program_directory();
  print_conditions(arguments.rounds);

  char *text = NULL;
  size_t size = 0;
  struct report report = {.lines = open_memstream(&text, &size)};
  if (!report.lines) {
    perror("bench");
    return 1;
  }
  bool good = true;
  const struct bench_summary *summaries = group->summaries;
  struct mean means[BENCH_SUMMARIES] = {0};
  for (size_t c = 0; c < group->case_count; c++)
    if (!arguments.only || fnmatch(arguments.only, group->cases[c].name, 0) == 0)
      good = run_case(&group->cases[c], arguments.rounds, summaries, means, &report) && good;
  for (size_t i = 0; summaries && i < BENCH_SUMMARIES && summaries[i].name; i++)
    print_mean(&summaries[i], &means[i], group, &report);
  print_bounds(&report);
  fclose(report.lines);
  printf("\n%s", text);
  free(text);
  return good ? 0 : 1;
}
