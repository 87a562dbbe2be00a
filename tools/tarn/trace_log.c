/* SPDX-License-Identifier: MIT */
/*
 * trace_log.c: reads log lines; see trace.h.
 *
 * A line is "tarn: ", its kind, and fields NAME=VALUE; other text may stand before and between.
 * Lines have no times, so what needs them cannot be told.
 */
#include "tool.h"
#include "trace.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct field {
  const char *name, *value;
  size_t name_length, value_length;
};

/* The next field; names of threads, which come last, go to the end of the line. */
static bool next_field(const char **at, struct field *field) {
  const char *from = *at + strspn(*at, " "), *equals = strchr(from, '=');
  if (!equals)
    return false;
  field->name = from;
  field->name_length = (size_t)(equals - from);
  field->value = equals + 1;
  bool last = field->name_length == 4 && strncmp(from, "last", 4) == 0;
  field->value_length = strcspn(field->value, last ? "\n" : " \n");
  *at = field->value + field->value_length;
  return true;
}

static bool is(const struct field *field, const char *name) {
  return strlen(name) == field->name_length && strncmp(name, field->name, field->name_length) == 0;
}

/* With its unit, of which there is one of each kind; 0: it is none. */
static uint64_t amount(const struct field *field) {
  char *end;
  double number = strtod(field->value, &end);
  double unit = strncmp(end, "ms", 2) == 0 ? 1e6 : *end == 'M' ? 1 << 20 : 1;
  number *= unit;
  return number > 0 && number < 4e18 ? (uint64_t)(number + 0.5) : 0;
}

static uint32_t name(struct trace *trace, const struct field *field) {
  char text[64];
  tool_copy(text, sizeof text, field->value, field->value_length);
  return classes_find(&trace->names, strcmp(text, "-") == 0 ? "" : text);
}

static void take(struct trace *trace, struct collection *made, const struct field *field) {
  int phase = trace_phase(field->name, field->name_length);
  uint64_t value = amount(field);
  if (phase >= 0)
    made->phases[phase] = value;
  else if (is(field, "pause"))
    made->pause = value;
  else if (is(field, "before"))
    made->heap_before = value;
  else if (is(field, "after"))
    made->heap_after = value;
  else if (is(field, "live"))
    made->live = value;
  else if (is(field, "generation"))
    made->generation = (uint8_t)(value < GROUP_CYCLES ? value : GROUP_CYCLES - 1);
  else if (is(field, "cause"))
    made->cause = name(trace, field);
  else if (is(field, "last"))
    made->last = name(trace, field);
  else if (is(field, "failed"))
    made->failed = true;
}

/* The fields of a line, which begin with the number: in `*cycles` of which kind it is.  NULL: it is
 * no such line. */
static const char *fields_of(const char *line, bool *cycles) {
  for (; (line = strstr(line, "tarn: ")); line++) {
    const char *kind = line + strlen("tarn: ");
    *cycles = strncmp(kind, "cycles ", 7) == 0;
    kind += *cycles ? 7 : strncmp(kind, "gc ", 3) == 0 ? 3 : strlen(kind);
    if (strncmp(kind, "number=", 7) == 0)
      return kind;
  }
  return NULL;
}

static bool read_line(struct trace *trace, const char *line) {
  struct field field;
  bool cycles;
  const char *at = fields_of(line, &cycles);
  if (!at)
    return false;
  struct collection *made = trace_add(trace);
  made->cycles = cycles;
  while (next_field(&at, &field))
    take(trace, made, &field);
  return true;
}

bool trace_read_log(struct trace *trace, FILE *file) {
  char line[4096]; /* a longer one is taken for several */
  bool some = false;
  while (fgets(line, sizeof line, file))
    some = read_line(trace, line) || some;
  if (ferror(file)) {
    tool_say("%s: %s", trace->path, strerror(errno));
    return false;
  }
  if (!some)
    tool_say("%s: is no trace of events, and has no lines of TARN_LOG=gc", trace->path);
  return some;
}
