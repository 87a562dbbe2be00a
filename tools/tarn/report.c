/* SPDX-License-Identifier: MIT */
/*
 * report.c: `tarn report`: what collections cost a program; see trace.h.
 */
#include "tool.h"
#include "trace.h"
#include <stdlib.h>
#include <string.h>

enum { JSON, WORST, OPTIONS };

static const struct tool_option options[OPTIONS] = {
    [JSON] = {"json", NULL, "Print JSON: times in nanoseconds, sizes in bytes."},
    [WORST] = {"worst", "N", "Print the N longest pauses; 5 unless given."},
};

const uint64_t report_windows[WINDOWS] = {10000000, 100000000, 1000000000};

const char *report_group(unsigned group) {
  static const char *const names[GROUPS + 1] = {"generation 0", "generation 1", "generation 2",
                                                "cycles", "all"};
  return names[group];
}

/* --- tables ---------------------------------------------------------------------------------- */

static void print_row(const struct trace *trace, const char *name, const struct figures *figures) {
  (void)printf("%-12s%7llu", name, (unsigned long long)figures->count);
  for (unsigned i = 0; i < QUANTILES; i++)
    (void)printf("%9s", tool_duration(figures->quantiles[i]));
  (void)printf("%9s", tool_duration(figures->total));
  (void)printf("%7s\n", trace->timed ? tool_percent((double)figures->total,
                                                    (double)(trace->end - trace->first))
                                     : "-");
}

static void print_groups(const struct trace *trace, const char *title, int phase) {
  unsigned rows = 0;
  (void)printf("\n%-12s%7s", title, "count");
  for (unsigned i = 0; i < QUANTILES; i++)
    (void)printf("%9s", figure_names[i]);
  (void)printf("%9s%7s\n", "total", "share");
  for (unsigned group = 0; group <= GROUPS; group++) {
    struct figures figures = trace_figures(trace, group, phase);
    if (figures.count && (group < GROUPS || rows > 1)) {
      print_row(trace, report_group(group), &figures);
      rows++;
    }
  }
}

static void print_phases(const struct trace *trace) {
  struct figures all = trace_figures(trace, GROUPS, WHOLE_PAUSE);
  (void)printf("\n%-12s%9s%9s%9s%9s%9s  of the pauses\n", "phases", "p50", "p90", "p99", "max",
               "total");
  for (int i = 0; i < (int)PHASES; i++) {
    struct figures figures = trace_figures(trace, GROUPS, i);
    if (figures.total)
      (void)printf("%-12s%9s%9s%9s%9s%9s%15s\n", trace_phases[i],
                   tool_duration(figures.quantiles[0]), tool_duration(figures.quantiles[1]),
                   tool_duration(figures.quantiles[2]),
                   tool_duration(figures.quantiles[QUANTILES - 1]), tool_duration(figures.total),
                   tool_percent((double)figures.total, (double)all.total));
  }
}

/* --- the worst pauses ------------------------------------------------------------------------ */

static const struct trace *sorted_trace;

static int compare_places(const void *a, const void *b) {
  size_t first = *(const size_t *)a, second = *(const size_t *)b;
  uint64_t x = sorted_trace->all[first].pause, y = sorted_trace->all[second].pause;
  return x != y ? (x < y) - (x > y) : (first > second) - (first < second);
}

size_t report_worst(const struct trace *trace, size_t *places, size_t most) {
  size_t *all = tool_make(trace->count, sizeof *all), count;
  for (size_t i = 0; i < trace->count; i++)
    all[i] = i;
  sorted_trace = trace;
  qsort(all, trace->count, sizeof *all, compare_places);
  count = trace->count < most ? trace->count : most;
  memcpy(places, all, count * sizeof *all);
  free(all);
  return count;
}

static const char *or_dash(const struct trace *trace, uint32_t name) {
  const char *text = trace->names.all[name].name;
  return *text ? text : "-";
}

static void print_worst(const struct trace *trace, size_t most) {
  size_t *places = tool_make(most, sizeof *places), count = report_worst(trace, places, most);
  if (!count)
    return;
  (void)printf("\n%9s%9s%9s %-7s%-13s%8s%8s  %s\n", "worst at", "pause", "stop", " gen", "cause",
               "before", "after", "last thread");
  for (size_t i = 0; i < count; i++) {
    const struct collection *each = &trace->all[places[i]];
    char generation[16];
    (void)snprintf(generation, sizeof generation, "%s%u", each->cycles ? "cyc " : " ",
                   each->generation);
    (void)printf("%9s%9s%9s %-7s", trace->timed ? tool_duration(each->began - trace->first) : "-",
                 tool_duration(each->pause), tool_duration(each->phases[0]), generation);
    for (size_t used = tool_put_name(stdout, or_dash(trace, each->cause), 12); used < 13; used++)
      (void)putchar(' ');
    (void)printf("%8s%8s  ", tool_size(each->heap_before), tool_size(each->heap_after));
    (void)tool_put_name(stdout, or_dash(trace, each->last), 14);
    (void)putchar('\n');
  }
  free(places);
}

/* --- the rest -------------------------------------------------------------------------------- */

static void print_heap(const struct trace *trace) {
  uint64_t *before = tool_make(trace->count, sizeof *before);
  uint64_t *after = tool_make(trace->count, sizeof *after);
  for (size_t i = 0; i < trace->count; i++) {
    before[i] = trace->all[i].heap_before;
    after[i] = trace->all[i].heap_after;
  }
  struct figures first = figures_of(before, trace->count), second = figures_of(after, trace->count);
  (void)printf("\nheap before: median %s, max %s; after: median %s, max %s\n",
               tool_size(first.quantiles[0]), tool_size(first.quantiles[QUANTILES - 1]),
               tool_size(second.quantiles[0]), tool_size(second.quantiles[QUANTILES - 1]));
  free(before);
  free(after);
}

static void print_utilisation(const struct trace *trace, const struct span *pauses, size_t count) {
  if (!trace->timed)
    return;
  (void)fputs("minimum mutator utilisation:", stdout);
  for (unsigned i = 0; i < WINDOWS; i++) {
    double share = trace_utilisation(trace, pauses, count, report_windows[i]);
    (void)printf("%s %s in %s", i ? "," : "", share < 0 ? "-" : tool_percent(share, 1),
                 i == 0   ? "10 ms"
                 : i == 1 ? "100 ms"
                          : "1 s");
  }
  (void)putchar('\n');
}

static uint64_t sum(const struct span *pauses, size_t count) {
  uint64_t all = 0;
  for (size_t i = 0; i < count; i++)
    all += pauses[i].length;
  return all;
}

static void print_head(const struct trace *trace, const struct span *pauses, size_t count) {
  (void)tool_put_name(stdout, trace->path, 60);
  (void)printf(": %zu collections", trace->count);
  if (trace->timed)
    (void)printf(
        " in %s\nstopped for %s of the time, %zu times", tool_duration(trace->end - trace->first),
        tool_percent((double)sum(pauses, count), (double)(trace->end - trace->first)), count);
  (void)putchar('\n');
  if (trace->to_safepoint_max)
    (void)printf("longest time to safepoint of any stop: %s\n",
                 tool_duration(trace->to_safepoint_max));
}

static void print_all(const struct trace *trace, const struct span *pauses, size_t count,
                      size_t worst) {
  print_head(trace, pauses, count);
  if (trace->count) {
    print_groups(trace, "pauses", WHOLE_PAUSE);
    print_groups(trace, "to safepoint", 0);
    print_phases(trace);
    print_worst(trace, worst);
    print_heap(trace);
  }
  print_utilisation(trace, pauses, count);
  if (trace->count)
    report_plots(trace);
}

static void say_doubts(const struct trace *trace) {
  if (trace->cut_off)
    tool_say("%s ends before its end; the report is about what is there", trace->path);
  if (trace->odd)
    tool_say("%s: %llu events have numbers that cannot be, and were left out", trace->path,
             (unsigned long long)trace->odd);
}

static int run(int count, char **all) {
  struct tool_arguments arguments;
  struct trace trace = {0};
  struct span *pauses;
  const char *value;
  uint64_t worst = 5;
  bool json = false;
  int option;
  tool_arguments_begin(&arguments, &tool_report, count, all);
  while ((option = tool_arguments_next(&arguments, &value)) >= 0) {
    json = json || option == JSON;
    if (option == WORST && !tool_read_number("--worst", value, 0, 10000, &worst))
      return TOOL_USAGE;
  }
  if (option == TOOL_WRONG)
    return TOOL_USAGE;
  if (arguments.operand_count != 1)
    return tool_usage(&tool_report, "one trace is needed");
  if (!trace_read(&trace, arguments.operands[0]))
    return TOOL_FAILED;
  size_t pause_count = trace_merge(&trace, &pauses);
  say_doubts(&trace);
  if (json)
    report_json(&trace, pauses, pause_count, (size_t)worst);
  else
    print_all(&trace, pauses, pause_count, (size_t)worst);
  return TOOL_DONE;
}

const struct tool_command tool_report = {
    .name = "report",
    .operands = "TRACE",
    .summary = "what collections cost: pauses, times to safepoint, phases, plots",
    .text = "Reads a trace that a program wrote with TARN_TRACE=FILE, or log lines of TARN_LOG=gc, "
            "which have no times: then shares, utilisation and plots over time are missing. `-` is "
            "the standard input. A "
            "trace that ends in the middle is read as far as it goes.",
    .options = options,
    .option_count = OPTIONS,
    .run = run};
