/* SPDX-License-Identifier: MIT */
/*
 * trace.c: reads traces, and calculates; see trace.h.
 */
#include "trace.h"
#include "json.h"
#include "tool.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *const trace_phases[PHASES] = {"stop", "prepare", "roots", "mark",
                                          "weak", "census",  "rest"};

int trace_phase(const char *name, size_t length) {
  for (unsigned i = 0; i < PHASES; i++)
    if (strlen(trace_phases[i]) == length && strncmp(trace_phases[i], name, length) == 0)
      return (int)i;
  return -1;
}

struct collection *trace_add(struct trace *trace) {
  if (trace->count == trace->room) {
    trace->room = trace->room ? trace->room * 2 : 256;
    trace->all = tool_grow(trace->all, trace->room, sizeof *trace->all);
  }
  struct collection *made = &trace->all[trace->count++];
  memset(made, 0, sizeof *made);
  made->cause = made->last = classes_find(&trace->names, "");
  return made;
}

void trace_add_stop(struct trace *trace, uint64_t began, uint64_t length) {
  if (trace->stop_count == trace->stop_room) {
    trace->stop_room = trace->stop_room ? trace->stop_room * 2 : 256;
    trace->stops = tool_grow(trace->stops, trace->stop_room, sizeof *trace->stops);
  }
  trace->stops[trace->stop_count++] = (struct span){began, length};
}

/* --- events ---------------------------------------------------------------------------------- */

/* What is read of one. */
struct event {
  char phase, name[32], cause[32], last[64];
  bool has_time, has_number;
  double at, length; /* microseconds */
  int track;
  double generation, heap_before, heap_after, live, failed;
};

/* What could be a time in nanoseconds, a size, a number. */
#define MOST 4e18
static bool possible(double value) { return value >= 0 && value <= MOST; }

static bool take_text(struct json *json, enum json_kind kind, char *to, size_t room) {
  if (kind != JSON_STRING)
    return json_skip(json, kind);
  tool_copy(to, room, json->text, json->length);
  return true;
}

static bool take_real(struct json *json, enum json_kind kind, double *to) {
  if (kind != JSON_NUMBER)
    return json_skip(json, kind);
  *to = json_real(json);
  return true;
}

static bool argument(struct json *json, const char *name, struct event *event) {
  const struct {
    const char *name;
    double *to;
  } numbers[] = {{"generation", &event->generation},
                 {"heap_before", &event->heap_before},
                 {"heap_after", &event->heap_after},
                 {"live_bytes", &event->live},
                 {"failed", &event->failed}};
  enum json_kind kind = json_next(json);
  if (strcmp(name, "cause") == 0)
    return take_text(json, kind, event->cause, sizeof event->cause);
  if (strcmp(name, "last_thread") == 0)
    return take_text(json, kind, event->last, sizeof event->last);
  for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
    if (strcmp(name, numbers[i].name) == 0)
      return take_real(json, kind, numbers[i].to);
  event->has_number = event->has_number || strcmp(name, "number") == 0;
  return json_skip(json, kind);
}

static bool read_arguments(struct json *json, struct event *event) {
  char name[32];
  enum json_kind kind = json_next(json);
  if (kind != JSON_OBJECT)
    return json_skip(json, kind);
  while ((kind = json_next(json)) == JSON_KEY) {
    (void)snprintf(name, sizeof name, "%.31s", json->text);
    if (!argument(json, name, event))
      return false;
  }
  return kind == JSON_OBJECT_END;
}

static bool event_member(struct json *json, const char *name, struct event *event) {
  double track = 0;
  char phase[4] = "";
  if (strcmp(name, "args") == 0)
    return read_arguments(json, event);
  enum json_kind kind = json_next(json);
  if (strcmp(name, "name") == 0)
    return take_text(json, kind, event->name, sizeof event->name);
  if (strcmp(name, "dur") == 0)
    return take_real(json, kind, &event->length);
  if (strcmp(name, "ts") == 0) {
    event->has_time = kind == JSON_NUMBER;
    return take_real(json, kind, &event->at);
  }
  if (strcmp(name, "ph") == 0) {
    bool good = take_text(json, kind, phase, sizeof phase);
    event->phase = phase[0];
    return good;
  }
  if (strcmp(name, "tid") == 0 && kind == JSON_NUMBER) {
    track = json_real(json);
    event->track = track >= 0 && track <= INT32_MAX ? (int)track : -1;
    return true;
  }
  return json_skip(json, kind);
}

static bool read_event(struct json *json, struct event *event) {
  char name[32];
  enum json_kind kind;
  *event = (struct event){.track = -1};
  while ((kind = json_next(json)) == JSON_KEY) {
    (void)snprintf(name, sizeof name, "%.31s", json->text);
    if (!event_member(json, name, event))
      return false;
  }
  return kind == JSON_OBJECT_END;
}

/* --- what events mean ------------------------------------------------------------------------ */

static uint64_t nanoseconds(double microseconds) { return (uint64_t)(microseconds * 1000 + 0.5); }

static void note_collection(struct trace *trace, const struct event *event) {
  struct collection *made = trace_add(trace);
  made->began = nanoseconds(event->at);
  made->pause = nanoseconds(event->length);
  made->heap_before = (uint64_t)event->heap_before;
  made->heap_after = (uint64_t)event->heap_after;
  made->live = (uint64_t)event->live;
  made->generation = (uint8_t)event->generation;
  made->cycles = strcmp(event->name, "cycles") == 0;
  made->failed = event->failed > 0;
  made->cause = classes_find(&trace->names, event->cause);
  made->last = classes_find(&trace->names, event->last);
  trace->track = event->track;
}

/* A phase of the last collection is on its track, in its time. */
static bool note_phase(struct trace *trace, const struct event *event) {
  int phase = trace_phase(event->name, strlen(event->name));
  uint64_t began = nanoseconds(event->at);
  if (phase < 0 || trace->count == 0 || event->track != trace->track)
    return false;
  struct collection *last = &trace->all[trace->count - 1];
  if (began < last->began || began > last->began + last->pause)
    return false;
  last->phases[phase] += nanoseconds(event->length);
  return true;
}

static void note_end(struct trace *trace, const struct event *event) {
  uint64_t began = nanoseconds(event->at), end = began + nanoseconds(event->length);
  if (!trace->timed || began < trace->first)
    trace->first = began;
  if (!trace->timed || end > trace->end)
    trace->end = end;
  trace->timed = true;
}

static bool is_possible(const struct event *event) {
  return possible(event->at * 1000) && possible(event->length * 1000) &&
         possible(event->heap_before) && possible(event->heap_after) && possible(event->live) &&
         event->generation >= 0 && event->generation < GROUP_CYCLES;
}

static void note(struct trace *trace, const struct event *event) {
  if (!event->has_time)
    return;
  if (!is_possible(event)) {
    trace->odd++;
    return;
  }
  note_end(trace, event);
  if (event->phase != 'X')
    return;
  if (strcmp(event->name, "gc") == 0 || strcmp(event->name, "cycles") == 0) {
    note_collection(trace, event);
  } else if (!note_phase(trace, event)) {
    uint64_t length = nanoseconds(event->length);
    if (strcmp(event->name, "stop") == 0 && event->has_number)
      trace_add_stop(trace, nanoseconds(event->at), length);
    else if (strcmp(event->name, "to safepoint") == 0 && length > trace->to_safepoint_max)
      trace->to_safepoint_max = length;
  }
}

/* --- the file -------------------------------------------------------------------------------- */

/* The events of a list whose bracket was read. */
static bool read_events(struct trace *trace, struct json *json) {
  struct event event;
  enum json_kind kind;
  while ((kind = json_next(json)) == JSON_OBJECT) {
    if (!read_event(json, &event))
      return false;
    note(trace, &event);
  }
  return kind == JSON_ARRAY_END;
}

/* A list of events, or an object that has one: both are in use. */
static bool read_value(struct trace *trace, struct json *json) {
  enum json_kind kind = json_next(json);
  bool found = false;
  if (kind == JSON_ARRAY)
    return read_events(trace, json) && json_next(json) == JSON_END;
  if (kind != JSON_OBJECT)
    return false;
  while ((kind = json_next(json)) == JSON_KEY) {
    bool events = strcmp(json->text, "traceEvents") == 0;
    kind = json_next(json);
    found = found || events;
    if (!(events && kind == JSON_ARRAY ? read_events(trace, json) : json_skip(json, kind)))
      return false;
  }
  return kind == JSON_OBJECT_END && json_next(json) == JSON_END && found;
}

static bool read_json(struct trace *trace, int file, uint64_t before, char first) {
  struct json *json = tool_make(1, sizeof *json);
  json_begin_with(json, file, before, first);
  bool good = read_value(trace, json);
  /* A program that was killed leaves a trace without an end. */
  trace->cut_off = !good && json->cut_off && json_place(json) > 0;
  if (!good && !trace->cut_off)
    tool_say("%s: %s (byte %llu)", trace->path, json->error ? json->error : "is no trace of events",
             (unsigned long long)json_place(json));
  good = good || trace->cut_off;
  free(json);
  return good;
}

/* Of log lines `first` is the first byte, which was read already. */
static bool read_log(struct trace *trace, int descriptor, char first) {
  FILE *file = fdopen(descriptor, "re");
  if (!file)
    tool_no_memory();
  bool good = ungetc((unsigned char)first, file) != EOF && trace_read_log(trace, file);
  (void)fclose(file);
  return good;
}

/* The first byte that is no blank, and how many are before it.  Returns what `read` did. */
static ssize_t first_byte(int file, char *byte, uint64_t *before) {
  ssize_t got;
  *before = 0;
  while ((got = read(file, byte, 1)) != 0) {
    bool blank = *byte == ' ' || *byte == '\n' || *byte == '\r' || *byte == '\t';
    if (got < 0 ? errno != EINTR : !blank)
      break;
    *before += got > 0;
  }
  return got;
}

/* It may be a pipe, so nothing is read twice: the first byte says what it is, and is handed on. */
bool trace_read(struct trace *trace, const char *path) {
  char first = 0;
  uint64_t before;
  int file = tool_open(path);
  trace->path = tool_name_of(path);
  ssize_t got = file < 0 ? -1 : first_byte(file, &first, &before);
  if (got > 0 && first != '[' && first != '{')
    return read_log(trace, file, first);
  bool good = false;
  if (got < 0)
    tool_say("%s: %s", trace->path, strerror(errno));
  else if (got == 0)
    tool_say("%s: is empty", trace->path);
  else
    good = read_json(trace, file, before, first);
  if (file >= 0)
    (void)close(file);
  return good;
}

/* --- figures --------------------------------------------------------------------------------- */

const char *const figure_names[QUANTILES] = {"p50", "p90", "p99", "p99.9", "max"};

static int compare(const void *a, const void *b) {
  uint64_t first = *(const uint64_t *)a, second = *(const uint64_t *)b;
  return (first > second) - (first < second);
}

struct figures figures_of(uint64_t *values, size_t count) {
  static const unsigned thousandths[QUANTILES] = {500, 900, 990, 999, 1000};
  struct figures figures = {.count = count};
  qsort(values, count, sizeof *values, compare);
  for (size_t i = 0; i < count; i++)
    figures.total += values[i];
  for (unsigned i = 0; i < QUANTILES && count; i++)
    figures.quantiles[i] = values[(count * thousandths[i] + 999) / 1000 - 1];
  return figures;
}

struct figures trace_figures(const struct trace *trace, unsigned group, int phase) {
  uint64_t *values = tool_make(trace->count, sizeof *values);
  size_t count = 0;
  for (size_t i = 0; i < trace->count; i++) {
    const struct collection *each = &trace->all[i];
    if (group == GROUPS || trace_group(each) == group)
      values[count++] = phase == WHOLE_PAUSE ? each->pause : each->phases[phase];
  }
  struct figures figures = figures_of(values, count);
  free(values);
  return figures;
}

static int compare_spans(const void *a, const void *b) {
  uint64_t first = ((const struct span *)a)->began, second = ((const struct span *)b)->began;
  return (first > second) - (first < second);
}

size_t trace_merge(const struct trace *trace, struct span **merged) {
  size_t count = 0, kept = 0;
  struct span *all = tool_make(trace->count + trace->stop_count, sizeof *all);
  for (size_t i = 0; i < trace->count; i++)
    all[count++] = (struct span){trace->all[i].began, trace->all[i].pause};
  for (size_t i = 0; i < trace->stop_count; i++)
    all[count++] = trace->stops[i];
  qsort(all, count, sizeof *all, compare_spans);
  for (size_t i = 0; i < count; i++) {
    struct span *last = kept ? &all[kept - 1] : NULL;
    uint64_t end = all[i].began + all[i].length;
    if (!last || all[i].began > last->began + last->length)
      all[kept++] = all[i];
    else if (end > last->began + last->length)
      last->length = end - last->began;
  }
  *merged = all;
  return kept;
}

/* Of pauses that begin before `at`, what lies before it. */
static uint64_t paused_until(const struct span *pauses, const uint64_t *sums, size_t count,
                             uint64_t at) {
  size_t low = 0, high = count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (pauses[middle].began < at)
      low = middle + 1;
    else
      high = middle;
  }
  if (low == 0)
    return 0;
  uint64_t inside = at - pauses[low - 1].began, length = pauses[low - 1].length;
  return sums[low - 1] + (inside < length ? inside : length);
}

double trace_utilisation(const struct trace *trace, const struct span *pauses, size_t count,
                         uint64_t window) {
  uint64_t most = 0, *sums;
  if (trace->end - trace->first < window)
    return -1;
  sums = tool_make(count, sizeof *sums);
  for (size_t i = 1; i < count; i++)
    sums[i] = sums[i - 1] + pauses[i - 1].length;
  /* The worst window begins with a pause or ends with one, or lies at an end of the trace. */
  for (size_t i = 0; i < count * 2; i++) {
    const struct span *pause = &pauses[i / 2];
    uint64_t end = pause->began + pause->length;
    uint64_t from = i % 2 == 0 ? pause->began : end > window ? end - window : 0;
    if (from > trace->end - window)
      from = trace->end - window;
    if (from < trace->first)
      from = trace->first;
    uint64_t paused =
        paused_until(pauses, sums, count, from + window) - paused_until(pauses, sums, count, from);
    most = paused > most ? paused : most;
  }
  free(sums);
  return 1 - (double)most / (double)window;
}
