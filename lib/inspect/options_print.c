/* SPDX-License-Identifier: MIT */
/*
 * Text for people: fixed buffers, sinks, the help and the configuration. See options.h.
 *
 * A line is put together in a buffer on the stack and written with one call, so lines of different
 * threads do not mix, and nothing is allocated. What somebody else wrote only gets in through
 * tarn_text_clean.
 */
#include "inspect/options.h"
#include "os/os.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { HELP_WIDTH = 92, QUOTED_MOST = 48, NAME_MOST = 48 };

/* ---- Text --------------------------------------------------------------------------------- */

void tarn_text_add(struct tarn_text *text, const char *format, ...) {
  size_t room = text->room - text->length;
  va_list arguments;
  va_start(arguments, format);
  int n = vsnprintf(text->data + text->length, room, format, arguments);
  va_end(arguments);
  if (n > 0)
    text->length += (size_t)n < room ? (size_t)n : room - 1;
}

void tarn_text_clean(struct tarn_text *text, const char *from, size_t length) {
  char clean[QUOTED_MOST + 1];
  size_t shown = length < QUOTED_MOST ? length : QUOTED_MOST;
  for (size_t i = 0; i < shown; i++)
    clean[i] = from[i] >= ' ' && from[i] <= '~' ? from[i] : '?';
  clean[shown] = '\0';
  tarn_text_add(text, "%s%s", clean, shown < length ? "..." : "");
}

void tarn_text_quote(struct tarn_text *text, const char *from, size_t length) {
  tarn_text_add(text, "\"");
  tarn_text_clean(text, from, length);
  tarn_text_add(text, "\"");
}

void tarn_text_variable(struct tarn_text *text, const struct tarn_option *option) {
  char name[NAME_MOST];
  size_t i = 0;
  for (; option->name[i] && i < sizeof name - 1; i++) {
    char c = option->name[i];
    name[i] = c == '-' ? '_' : c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
  }
  name[i] = '\0';
  tarn_text_add(text, "TARN_%s", name);
}

/* A value with what 0 means. */
static void add_explained(struct tarn_text *text, const struct tarn_option *option,
                          uint64_t value) {
  tarn_text_value(text, option, value);
  if (value == 0 && option->zero)
    tarn_text_add(text, " (%s)", option->zero);
}

/* ---- Sinks -------------------------------------------------------------------------------- */

/* The newline is put here, so that it is there even when the line was cut off. errno is kept: a
 * message must not change what the caller sees. */
void tarn_sink_write(const struct tarn_sink *sink, const struct tarn_text *line) {
  int kept = errno;
  char ended[1024];
  size_t length = line->length < sizeof ended ? line->length : sizeof ended - 1;
  memcpy(ended, line->data, length);
  ended[length++] = '\n';
  if (sink && sink->write)
    sink->write(sink->context, ended, length);
  else
    tarn_os_write(STDERR_FILENO, ended, length);
  errno = kept;
}

static void write_line(const struct tarn_sink *sink, const char *line) {
  char buffer[256];
  struct tarn_text text = TARN_TEXT(buffer);
  tarn_text_add(&text, "%s", line);
  tarn_sink_write(sink, &text);
}

/* ---- Help --------------------------------------------------------------------------------- */

/* Writes a paragraph, indented and broken at blanks. */
static void write_wrapped(const struct tarn_sink *sink, const char *paragraph) {
  while (*paragraph) {
    char buffer[HELP_WIDTH + 16];
    struct tarn_text line = TARN_TEXT(buffer);
    size_t take = strlen(paragraph);
    if (take > HELP_WIDTH) {
      take = HELP_WIDTH;
      while (take > 0 && paragraph[take] != ' ')
        take--;
      if (take == 0)
        take = HELP_WIDTH;
    }
    tarn_text_add(&line, "      %.*s", (int)take, paragraph);
    tarn_sink_write(sink, &line);
    paragraph += take;
    paragraph += strspn(paragraph, " ");
  }
}

static void write_option(const struct tarn_sink *sink, const struct tarn_option *option) {
  char head_buffer[128], body_buffer[1024];
  struct tarn_text head = TARN_TEXT(head_buffer), body = TARN_TEXT(body_buffer);
  tarn_text_add(&head, "  ");
  tarn_text_variable(&head, option);
  tarn_text_add(&head, "=<%s>  (%s, default ", tarn_option_kind_name(option), option->name);
  add_explained(&head, option, option->initial);
  tarn_text_add(&head, ")");
  tarn_sink_write(sink, &head);
  tarn_text_add(&body, "%s Accepts ", option->help);
  tarn_text_accepted(&body, option);
  tarn_text_add(&body, ".");
  write_wrapped(sink, body.data);
}

void tarn_options_print_help(const struct tarn_sink *sink) {
  char buffer[128];
  struct tarn_text title = TARN_TEXT(buffer);
  tarn_text_add(&title, "Tarn %d.%d.%d: options", TARN_VERSION_MAJOR, TARN_VERSION_MINOR,
                TARN_VERSION_PATCH);
  tarn_sink_write(sink, &title);
  write_line(sink, "");
  write_line(sink, "Set one by TARN_<NAME>=<value>, several by "
                   "TARN_OPTIONS=\"name=value,name=value\".");
  write_line(sink, "TARN_<NAME> wins over TARN_OPTIONS, and both over what the program asks for.");
  write_line(sink, "An empty value means not set. TARN_SHOW_CONFIG=1 prints the values in use.");
  for (int group = 0; group < TARN_GROUP_COUNT; group++) {
    write_line(sink, "");
    write_line(sink, tarn_option_group_name((enum tarn_option_group)group));
    for (size_t i = 0; i < tarn_option_count; i++) {
      const struct tarn_option *option = &tarn_option_table[i];
      if ((int)option->group == group && tarn_option_known(option))
        write_option(sink, option);
    }
  }
}

/* ---- Configuration ------------------------------------------------------------------------ */

/* A size for people: sizes that are no round number get an approximation too. */
static void add_approximate(struct tarn_text *text, uint64_t size) {
  static const char letters[] = "KMGT";
  size_t unit = 0;
  uint64_t tenths;
  if (size < 10 * 1024 || size % (1024 * 1024) == 0)
    return;
  while (size >= 1024 * 1024 && unit < sizeof letters - 2) {
    size /= 1024;
    unit++;
  }
  tenths = size / 1024 * 10 + size % 1024 * 10 / 1024;
  tarn_text_add(text, " (about %llu.%llu%c)", (unsigned long long)(tenths / 10),
                (unsigned long long)(tenths % 10), letters[unit]);
}

static void add_source(struct tarn_text *text, const struct tarn_option *option, unsigned source) {
  switch (source) {
  case TARN_SOURCE_BUILD:
    tarn_text_add(text, "build");
    break;
  case TARN_SOURCE_PROGRAM:
    tarn_text_add(text, "program");
    break;
  case TARN_SOURCE_ENVIRONMENT:
    tarn_text_add(text, "TARN_OPTIONS");
    break;
  case TARN_SOURCE_VARIABLE:
    tarn_text_variable(text, option);
    break;
  default:
    tarn_text_add(text, "default");
    break;
  }
}

void tarn_options_print_config(const struct tarn_sink *sink, const struct tarn_config *config,
                               const struct tarn_config_report *report) {
  char buffer[192];
  struct tarn_text title = TARN_TEXT(buffer);
  tarn_text_add(&title, "tarn: configuration (detected: memory %zu", config->detected_memory);
  add_approximate(&title, config->detected_memory);
  tarn_text_add(&title, ", %u CPU%s)", config->detected_cpus,
                config->detected_cpus == 1 ? "" : "s");
  tarn_sink_write(sink, &title);
  for (size_t i = 0; i < tarn_option_count; i++) {
    const struct tarn_option *option = &tarn_option_table[i];
    char value_buffer[TARN_PATH_ROOM + 32], line_buffer[TARN_PATH_ROOM + 160];
    struct tarn_text line = TARN_TEXT(line_buffer), value = TARN_TEXT(value_buffer);
    if (!tarn_option_known(option))
      continue;
    uint64_t number = tarn_option_get(option, config);
    tarn_text_current(&value, option, config);
    if (option->kind == TARN_KIND_SIZE || option->kind == TARN_KIND_MEMORY)
      add_approximate(&value, number);
    tarn_text_add(&line, "  %-14s %-32s ", option->name, value.data);
    add_source(&line, option, report ? report->source[i] : TARN_SOURCE_DEFAULT);
    if (report && (report->locked >> i & 1))
      tarn_text_add(&line, ", locked");
    tarn_sink_write(sink, &line);
  }
}
