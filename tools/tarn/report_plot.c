/* SPDX-License-Identifier: MIT */
/*
 * report_plot.c: plots in characters, 80 columns wide; see trace.h.
 */
#include "tool.h"
#include "trace.h"
#include <string.h>

#define COLUMNS 70u
#define ROWS 10u

struct column {
  uint64_t low, high; /* of what fell into it; 0, 0: nothing did */
};

/* Over time, or where that is not known, over the collections. */
static unsigned place(const struct trace *trace, size_t index) {
  double part = (double)index, whole = (double)trace->count;
  if (trace->timed && trace->end > trace->first) {
    part = (double)(trace->all[index].began - trace->first);
    whole = (double)(trace->end - trace->first);
  }
  unsigned at = (unsigned)(part / whole * COLUMNS);
  return at < COLUMNS ? at : COLUMNS - 1;
}

/* How many rows a value reaches, at least one unless it is 0.  What the file says of a part may be
 * more than the most of the whole. */
static unsigned rows(uint64_t value, uint64_t most) {
  unsigned count = value < most ? (unsigned)((double)value / (double)most * ROWS + 0.5) : ROWS;
  return count == 0 && value ? 1 : count;
}

static void print_axis(const struct trace *trace) {
  (void)fputs("         +", stdout);
  for (unsigned i = 0; i < COLUMNS; i++)
    (void)putchar('-');
  if (trace->timed)
    (void)printf("\n%10s%*s\n", "0", (int)COLUMNS, tool_duration(trace->end - trace->first));
  else
    (void)printf("\n%10s%*zu\n", "1", (int)COLUMNS, trace->count);
}

/* Up to `low` one character, from there to `high` another one. */
static void plot(const struct trace *trace, const struct column *all, const char *marks,
                 const char *(*text)(uint64_t)) {
  uint64_t most = 1;
  for (unsigned i = 0; i < COLUMNS; i++)
    most = all[i].high > most ? all[i].high : most;
  for (unsigned row = ROWS; row > 0; row--) {
    char line[COLUMNS + 1];
    for (unsigned i = 0; i < COLUMNS; i++)
      line[i] = rows(all[i].low, most) >= row    ? marks[0]
                : rows(all[i].high, most) >= row ? marks[1]
                                                 : ' ';
    unsigned length = COLUMNS;
    while (length && line[length - 1] == ' ')
      length--;
    (void)printf("%8s |%.*s\n",
                 row == ROWS       ? text(most)
                 : row == ROWS / 2 ? text(most / 2)
                                   : "",
                 (int)length, line);
  }
  print_axis(trace);
}

static void plot_pauses(const struct trace *trace) {
  struct column all[COLUMNS] = {{0, 0}};
  for (size_t i = 0; i < trace->count; i++) {
    struct column *at = &all[place(trace, i)];
    uint64_t stop = trace->all[i].phases[0];
    if (trace->all[i].pause >= at->high)
      *at = (struct column){stop, trace->all[i].pause};
  }
  (void)printf("\nlongest pause (#; of it s: time to safepoint) over %s\n",
               trace->timed ? "time" : "the collections");
  plot(trace, all, "s#", tool_duration);
}

static void plot_heap(const struct trace *trace) {
  struct column all[COLUMNS] = {{0, 0}};
  for (size_t i = 0; i < trace->count; i++) {
    struct column *at = &all[place(trace, i)];
    const struct collection *each = &trace->all[i];
    if (!at->high || each->heap_after < at->low)
      at->low = each->heap_after;
    if (each->heap_before > at->high)
      at->high = each->heap_before;
  }
  (void)printf("\nheap before collections (:) and after them (#) over %s\n",
               trace->timed ? "time" : "the collections");
  plot(trace, all, "#:", tool_size);
}

void report_plots(const struct trace *trace) {
  plot_pauses(trace);
  plot_heap(trace);
}
