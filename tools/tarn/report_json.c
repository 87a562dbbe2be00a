/* SPDX-License-Identifier: MIT */
/*
 * report_json.c: the report for machines; see trace.h.
 */
#include "tool.h"
#include "trace.h"
#include <stdlib.h>

static void put_number(const char *name, uint64_t value, bool last) {
  (void)printf("\"%s\":%llu%s", name, (unsigned long long)value, last ? "" : ",");
}

static void put_figures(const struct figures *figures) {
  (void)putchar('{');
  put_number("count", figures->count, false);
  put_number("total", figures->total, false);
  for (unsigned i = 0; i < QUANTILES; i++)
    put_number(figure_names[i], figures->quantiles[i], i + 1 == QUANTILES);
  (void)putchar('}');
}

/* An object with a member for each group that has a collection. */
static void put_groups(const struct trace *trace, const char *name, int phase) {
  bool some = false;
  (void)printf(",\n\"%s\":{", name);
  for (unsigned group = 0; group <= GROUPS; group++) {
    struct figures figures = trace_figures(trace, group, phase);
    if (!figures.count)
      continue;
    (void)printf("%s\"%s\":", some ? "," : "", report_group(group));
    put_figures(&figures);
    some = true;
  }
  (void)putchar('}');
}

static void put_phases(const struct trace *trace) {
  (void)fputs(",\n\"phases\":{", stdout);
  for (int i = 0; i < (int)PHASES; i++) {
    struct figures figures = trace_figures(trace, GROUPS, i);
    (void)printf("%s\"%s\":", i ? "," : "", trace_phases[i]);
    put_figures(&figures);
  }
  (void)putchar('}');
}

static void put_collection(const struct trace *trace, const struct collection *each) {
  (void)putchar('{');
  if (trace->timed)
    put_number("at", each->began - trace->first, false);
  put_number("pause", each->pause, false);
  put_number("to_safepoint", each->phases[0], false);
  put_number("generation", each->generation, false);
  (void)printf("\"cycles\":%s,", each->cycles ? "true" : "false");
  put_number("heap_before", each->heap_before, false);
  put_number("heap_after", each->heap_after, false);
  (void)fputs("\"cause\":", stdout);
  tool_put_json(stdout, trace->names.all[each->cause].name);
  (void)fputs(",\"last_thread\":", stdout);
  tool_put_json(stdout, trace->names.all[each->last].name);
  (void)putchar('}');
}

static void put_worst(const struct trace *trace, size_t most) {
  size_t *places = tool_make(most, sizeof *places), count = report_worst(trace, places, most);
  (void)fputs(",\n\"worst\":[", stdout);
  for (size_t i = 0; i < count; i++) {
    (void)fputs(i ? ",\n" : "\n", stdout);
    put_collection(trace, &trace->all[places[i]]);
  }
  (void)putchar(']');
  free(places);
}

static void put_times(const struct trace *trace, const struct span *pauses, size_t count) {
  uint64_t stopped = 0;
  bool some = false;
  for (size_t i = 0; i < count; i++)
    stopped += pauses[i].length;
  (void)putchar(',');
  put_number("wall", trace->end - trace->first, false);
  put_number("stopped", stopped, false);
  put_number("stops", count, false);
  (void)fputs("\n\"minimum_mutator_utilisation\":{", stdout);
  for (unsigned i = 0; i < WINDOWS; i++) {
    double share = trace_utilisation(trace, pauses, count, report_windows[i]);
    if (share < 0)
      continue;
    (void)printf("%s\"%llums\":%.6f", some ? "," : "",
                 (unsigned long long)(report_windows[i] / 1000000), share);
    some = true;
  }
  (void)putchar('}');
}

void report_json(const struct trace *trace, const struct span *pauses, size_t count, size_t worst) {
  (void)putchar('{');
  put_number("collections", trace->count, false);
  put_number("left_out", trace->odd, false);
  (void)printf("\"complete\":%s", trace->cut_off ? "false" : "true");
  if (trace->timed)
    put_times(trace, pauses, count);
  put_groups(trace, "pauses", WHOLE_PAUSE);
  put_groups(trace, "to_safepoint", 0);
  put_phases(trace);
  put_worst(trace, worst);
  (void)puts("}");
}
