/* SPDX-License-Identifier: MIT */
/*
 * text.c: messages, sizes, durations, names from elsewhere, the terminal; see tool.h.
 */
#include "tool.h"
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

void tool_say(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  (void)fflush(stdout);
  (void)fputs("tarn: ", stderr);
  (void)vfprintf(stderr, format, arguments);
  (void)fputc('\n', stderr);
  va_end(arguments);
}

/* --- memory ---------------------------------------------------------------------------------- */

void tool_no_memory(void) {
  tool_say("no memory");
  exit(TOOL_FAILED);
}

void *tool_make(size_t count, size_t size) {
  void *made = calloc(count ? count : 1, size);
  if (!made)
    tool_no_memory();
  return made;
}

void *tool_grow(void *old, size_t count, size_t size) {
  void *grown = size && count > SIZE_MAX / size ? NULL : realloc(old, count * size);
  if (!grown)
    tool_no_memory();
  return grown;
}

int tool_finish(int status) {
  if (fflush(stdout) == 0 && !ferror(stdout))
    return status;
  if (errno != EPIPE)
    tool_say("standard output: %s", strerror(errno));
  return TOOL_FAILED;
}

int tool_open(const char *path) {
  if (strcmp(path, "-") != 0)
    return open(path, O_RDONLY | O_CLOEXEC);
  return fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
}

const char *tool_name_of(const char *path) {
  return strcmp(path, "-") == 0 ? "standard input" : path;
}

/* --- numbers --------------------------------------------------------------------------------- */

#define TEXTS 16u /* more than one call of printf has */
#define TEXT_ROOM 32u

static char *next_text(void) {
  static char texts[TEXTS][TEXT_ROOM];
  static unsigned last;
  last = (last + 1) % TEXTS;
  return texts[last];
}

static void put_size(char *text, const char *sign, uint64_t bytes) {
  static const char units[] = "KMGTPE";
  double number = (double)bytes;
  int unit = -1;
  while (number >= 1000 && unit < 5) { /* not 1024: at most four digits */
    number /= 1024;
    unit++;
  }
  if (unit < 0)
    (void)snprintf(text, TEXT_ROOM, "%s%u", sign, (unsigned)bytes);
  else
    (void)snprintf(text, TEXT_ROOM, "%s%.1f%c", sign, number, units[unit]);
}

const char *tool_size(uint64_t bytes) {
  char *text = next_text();
  put_size(text, "", bytes);
  return text;
}

static uint64_t magnitude(int64_t number) {
  return number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
}
static const char *sign_of(int64_t number) { return number < 0 ? "-" : number > 0 ? "+" : ""; }

const char *tool_signed_size(int64_t bytes) {
  char *text = next_text();
  put_size(text, sign_of(bytes), magnitude(bytes));
  return text;
}

const char *tool_signed_count(int64_t count) {
  char *text = next_text();
  (void)snprintf(text, TEXT_ROOM, "%s%llu", sign_of(count), (unsigned long long)magnitude(count));
  return text;
}

const char *tool_duration(uint64_t ns) {
  static const struct {
    double ns;
    const char *name;
  } units[] = {{1e9, "s"}, {1e6, "ms"}, {1e3, "us"}};
  char *text = next_text();
  for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
    if ((double)ns >= units[i].ns) {
      double number = (double)ns / units[i].ns;
      int places = number < 10 ? 2 : number < 100 ? 1 : 0;
      (void)snprintf(text, TEXT_ROOM, "%.*f%s", places, number, units[i].name);
      return text;
    }
  (void)snprintf(text, TEXT_ROOM, ns ? "%uns" : "%u", (unsigned)ns);
  return text;
}

const char *tool_percent(double part, double whole) {
  char *text = next_text();
  (void)snprintf(text, TEXT_ROOM, "%.2f%%", whole > 0 ? 100 * part / whole : 0.0);
  return text;
}

/* --- names and texts ------------------------------------------------------------------------- */

/* Of a character of UTF-8 the bytes, and `*code`; 0: the text does not begin with one. */
static size_t decode(const char *text, uint32_t *code) {
  static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000}; /* by the length */
  const unsigned char *at = (const unsigned char *)text;
  size_t length = at[0] < 0x80 ? 1 : at[0] < 0xC0 ? 0 : at[0] < 0xE0 ? 2 : at[0] < 0xF0 ? 3 : 4;
  if (length == 0 || at[0] >= 0xF8)
    return 0;
  *code = length == 1 ? at[0] : at[0] & (0x7Fu >> length);
  for (size_t i = 1; i < length; i++) {
    if ((at[i] & 0xC0) != 0x80)
      return 0;
    *code = *code << 6 | (at[i] & 0x3Fu);
  }
  bool surrogate = *code >= 0xD800 && *code < 0xE000;
  return *code < least[length] || surrogate || *code > 0x10FFFF ? 0 : length;
}

/* None that controls a terminal, ends a line, or turns round what follows. */
static bool is_plain(uint32_t code) {
  bool control = code < ' ' || (code >= 0x7F && code < 0xA0);
  bool turns = code == 0x200E || code == 0x200F || (code >= 0x2028 && code <= 0x202E) ||
               (code >= 0x2066 && code <= 0x2069);
  return !control && !turns;
}

/* Bytes of the plain character that a text begins with; 0: of another one, or of none. */
static size_t character(const char *text) {
  uint32_t code;
  size_t length = decode(text, &code);
  return length && is_plain(code) ? length : 0;
}

/* Bytes to pass over: those of a character, or one. */
static size_t step(const char *text) {
  uint32_t code;
  size_t length = decode(text, &code);
  return length ? length : 1;
}

size_t tool_columns(const char *name) {
  size_t count = 0;
  for (const char *at = name; *at; at += step(at))
    count++;
  return count;
}

size_t tool_fit(const char *text, size_t length, size_t columns) {
  size_t fit = 0;
  for (size_t next; columns && fit < length && text[fit]; columns--, fit = next) {
    next = fit + step(text + fit);
    if (next > length)
      break;
  }
  return fit;
}

void tool_copy(char *to, size_t room, const char *text, size_t length) {
  size_t fit = tool_fit(text, length < room ? length : room - 1, room);
  memcpy(to, text, fit);
  to[fit] = '\0';
}

static const char *put_character(FILE *to, const char *at) {
  size_t length = character(at);
  if (length)
    (void)fwrite(at, 1, length, to);
  else
    (void)fputc('?', to);
  return at + step(at);
}

size_t tool_put_name(FILE *to, const char *name, size_t width) {
  size_t whole = tool_columns(name), count = whole > width ? width : whole;
  size_t dots = whole > width ? (width < 3 ? width : 3) : 0;
  const char *at = name;
  for (size_t i = 0; i < count - dots; i++)
    at = put_character(to, at);
  for (size_t i = 0; i < dots; i++)
    (void)fputc('.', to);
  return count;
}

void tool_put_text(FILE *to, const char *text, unsigned indent) {
  size_t width = tool_width(to), column = 0;
  for (const char *at = text; *at;) {
    size_t length = strcspn(at, " ");
    if (column && column + 1 + length > width) {
      (void)fputc('\n', to);
      column = 0;
    }
    column += column ? 1 + length : indent + length;
    if (column == indent + length)
      (void)fprintf(to, "%*s", (int)indent, "");
    else
      (void)fputc(' ', to);
    (void)fwrite(at, 1, length, to);
    at += length;
    at += strspn(at, " ");
  }
  (void)fputc('\n', to);
}

void tool_put_json(FILE *to, const char *text) {
  (void)fputc('"', to);
  for (const char *at = text; *at; at += step(at)) {
    uint32_t code;
    size_t length = decode(at, &code);
    if (!length)
      (void)fputs("\\ufffd", to);
    else if (!is_plain(code)) /* all of these have four digits */
      (void)fprintf(to, "\\u%04x", (unsigned)code);
    else if (code == '"' || code == '\\')
      (void)fprintf(to, "\\%c", *at);
    else
      (void)fwrite(at, 1, length, to);
  }
  (void)fputc('"', to);
}

/* --- the terminal ---------------------------------------------------------------------------- */

unsigned tool_width(FILE *to) {
  struct winsize size;
  enum { USUAL = 80, LEAST = 40 };
  if (!isatty(fileno(to)) || ioctl(fileno(to), TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
    return USUAL;
  return size.ws_col < LEAST ? LEAST : size.ws_col;
}

bool tool_colours(FILE *to) {
  const char *no = getenv("NO_COLOR"), *terminal = getenv("TERM");
  return isatty(fileno(to)) && !(no && *no) && terminal && *terminal &&
         strcmp(terminal, "dumb") != 0;
}
