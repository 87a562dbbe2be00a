/* SPDX-License-Identifier: MIT */
/*
 * json.c: see json.h.
 */
#include "json.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void json_begin(struct json *json, int file) {
  memset(json, 0, offsetof(struct json, text));
  json->file = file;
}

void json_begin_with(struct json *json, int file, uint64_t before, char byte) {
  json_begin(json, file);
  json->before = before;
  json->buffer[0] = byte;
  json->end = 1;
}

static enum json_kind fail(struct json *json, const char *error) {
  if (!json->error)
    json->error = error;
  return JSON_ERROR;
}

/* --- bytes ----------------------------------------------------------------------------------- */

#define NONE (-1)

static int refill(struct json *json) {
  ssize_t got;
  json->before += json->end;
  json->at = json->end = 0;
  do
    got = read(json->file, json->buffer, sizeof json->buffer);
  while (got < 0 && errno == EINTR);
  if (got < 0)
    (void)fail(json, strerror(errno));
  if (got <= 0)
    return NONE;
  json->end = (size_t)got;
  return (unsigned char)json->buffer[0];
}

static inline int peek(struct json *json) {
  return json->at < json->end ? (unsigned char)json->buffer[json->at] : refill(json);
}

static inline int take(struct json *json) {
  int byte = peek(json);
  json->at += byte != NONE;
  return byte;
}

static inline int peek_behind_blanks(struct json *json) {
  int byte = peek(json);
  while (byte == ' ' || byte == '\n' || byte == '\r' || byte == '\t') {
    json->at++;
    byte = peek(json);
  }
  return byte;
}

static enum json_kind unexpected(struct json *json, int byte) {
  if (byte != NONE)
    return fail(json, "is no JSON there");
  if (!json->error)
    json->cut_off = true;
  return fail(json, "the file ends too early");
}

/* --- strings --------------------------------------------------------------------------------- */

static void add(struct json *json, int byte) {
  if (json->length < JSON_TEXT)
    json->text[json->length++] = (char)byte;
}

static void add_code(struct json *json, uint32_t code) {
  if (code < 0x80) {
    add(json, (int)code);
  } else if (code < 0x800) {
    add(json, (int)(0xC0 | code >> 6));
    add(json, (int)(0x80 | (code & 0x3F)));
  } else if (code < 0x10000) {
    add(json, (int)(0xE0 | code >> 12));
    add(json, (int)(0x80 | (code >> 6 & 0x3F)));
    add(json, (int)(0x80 | (code & 0x3F)));
  } else {
    add(json, (int)(0xF0 | code >> 18));
    add(json, (int)(0x80 | (code >> 12 & 0x3F)));
    add(json, (int)(0x80 | (code >> 6 & 0x3F)));
    add(json, (int)(0x80 | (code & 0x3F)));
  }
}

/* False: the next byte is no digit. */
static bool take_hex(struct json *json, uint32_t *code) {
  *code = 0;
  for (int i = 0; i < 4; i++) {
    int byte = peek(json);
    bool digit = byte >= '0' && byte <= '9';
    int letter = byte | 0x20;
    if (!digit && !(letter >= 'a' && letter <= 'f'))
      return false;
    json->at++;
    *code = *code << 4 | (uint32_t)(digit ? byte - '0' : letter - 'a' + 10);
  }
  return true;
}

#define REPLACEMENT 0xFFFDu

/* The first half of a pair waits in `*half` for its second one. */
static void add_unit(struct json *json, uint32_t unit, uint32_t *half) {
  bool second = unit >= 0xDC00 && unit < 0xE000;
  if (second && *half)
    add_code(json, 0x10000 + ((*half - 0xD800) << 10) + (unit - 0xDC00));
  else if (*half)
    add_code(json, REPLACEMENT);
  bool pair = second && *half;
  *half = unit >= 0xD800 && unit < 0xDC00 ? unit : 0;
  if (!pair && !*half) /* NUL would end the text */
    add_code(json, second || unit == 0 ? REPLACEMENT : unit);
}

static void end_half(struct json *json, uint32_t *half) {
  if (*half)
    add_code(json, REPLACEMENT);
  *half = 0;
}

/* After a backslash.  False: with the next byte it is no escape. */
static bool take_escape(struct json *json, uint32_t *half) {
  static const char escapes[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
  uint32_t unit;
  int byte = peek(json);
  if (byte == 'u') {
    json->at++;
    if (!take_hex(json, &unit))
      return false;
    add_unit(json, unit, half);
    return true;
  }
  const char *found = byte > 0 ? strchr(escapes, byte) : NULL;
  if (!found)
    return false;
  json->at++;
  end_half(json, half);
  add(json, meanings[found - escapes]);
  return true;
}

/* After the quotation mark. */
static enum json_kind string(struct json *json, enum json_kind kind) {
  uint32_t half = 0;
  json->length = 0;
  for (;;) {
    int byte = take(json);
    if (byte == NONE || byte < ' ')
      return unexpected(json, byte);
    if (byte == '\\') {
      if (!take_escape(json, &half))
        return unexpected(json, peek(json));
      continue;
    }
    end_half(json, &half);
    if (byte == '"')
      break;
    add(json, byte);
  }
  json->text[json->length] = '\0';
  return kind;
}

/* --- numbers and words ----------------------------------------------------------------------- */

static bool is_digit(int byte) { return byte >= '0' && byte <= '9'; }

/* Copies digits; how many. */
static size_t digits(struct json *json) {
  size_t count = 0;
  for (; is_digit(peek(json)); count++)
    add(json, take(json));
  return count;
}

/* A number that is not just digits, or too large: `text` holds what was read of it. */
static enum json_kind real_number(struct json *json) {
  bool good = true;
  json->whole = false;
  if (peek(json) == '.') {
    add(json, take(json));
    good = digits(json) > 0;
  }
  if (good && (peek(json) == 'e' || peek(json) == 'E')) {
    add(json, take(json));
    if (peek(json) == '+' || peek(json) == '-')
      add(json, take(json));
    good = digits(json) > 0;
  }
  if (!good)
    return unexpected(json, peek(json));
  json->text[json->length] = '\0';
  json->real = strtod(json->text, NULL); /* no locale is ever set */
  return JSON_NUMBER;
}

/* What stands before a point or an exponent: a zero, or digits of which the first is none.  False:
 * with the next byte it does not. */
static bool whole_part(struct json *json) {
  bool zero = peek(json) == '0';
  size_t count = 0;
  for (; is_digit(peek(json)); count++) {
    if (zero && count)
      return false;
    uint64_t digit = (uint64_t)(peek(json) - '0');
    add(json, take(json));
    json->whole = json->whole && json->number <= (UINT64_MAX - digit) / 10;
    json->number = json->number * 10 + digit;
  }
  return count > 0;
}

static enum json_kind number(struct json *json) {
  json->length = 0;
  json->number = 0;
  json->whole = peek(json) != '-';
  if (!json->whole)
    add(json, take(json));
  if (!whole_part(json))
    return unexpected(json, peek(json));
  int after = peek(json);
  if (json->whole && after != '.' && after != 'e' && after != 'E')
    return JSON_NUMBER;
  return real_number(json);
}

static enum json_kind word(struct json *json) {
  int first = peek(json);
  const char *rest = first == 't' ? "true" : first == 'f' ? "false" : first == 'n' ? "null" : NULL;
  if (!rest)
    return unexpected(json, first);
  for (json->length = 0; *rest; rest++) {
    if (peek(json) != *rest)
      return unexpected(json, peek(json));
    add(json, take(json));
  }
  json->text[json->length] = '\0';
  return JSON_WORD;
}

/* --- values ---------------------------------------------------------------------------------- */

static bool in_object(const struct json *json) {
  return json->depth && (json->objects >> (json->depth - 1) & 1);
}

static enum json_kind ended(struct json *json, enum json_kind kind) {
  json->wants = true;
  json->closed = json->depth == 0;
  return kind;
}

static enum json_kind open_level(struct json *json, bool object) {
  if (json->depth == JSON_DEEP)
    return fail(json, "is nested too deeply there");
  json->objects &= ~((uint64_t)1 << json->depth);
  json->objects |= (uint64_t)object << json->depth;
  json->depth++;
  json->wants = json->keyed = false;
  return object ? JSON_OBJECT : JSON_ARRAY;
}

static enum json_kind close_level(struct json *json, bool object) {
  if (!json->depth || object != in_object(json) || json->keyed)
    return unexpected(json, '}');
  json->depth--;
  return ended(json, object ? JSON_OBJECT_END : JSON_ARRAY_END);
}

static enum json_kind value(struct json *json, int byte) {
  enum json_kind kind;
  json->keyed = false;
  if (byte == '{' || byte == '[') {
    json->at++;
    return open_level(json, byte == '{');
  }
  if (byte == '"') {
    json->at++;
    kind = string(json, JSON_STRING);
  } else if (byte == '-' || is_digit(byte)) {
    kind = number(json);
  } else {
    kind = word(json);
  }
  return kind == JSON_ERROR ? kind : ended(json, kind);
}

static enum json_kind key(struct json *json) {
  json->at++;
  if (string(json, JSON_KEY) == JSON_ERROR)
    return JSON_ERROR;
  int byte = peek_behind_blanks(json);
  if (byte != ':')
    return unexpected(json, byte);
  json->at++;
  json->keyed = true;
  return JSON_KEY;
}

enum json_kind json_next(struct json *json) {
  if (json->error)
    return JSON_ERROR;
  int byte = peek_behind_blanks(json);
  if (json->closed)
    return byte == NONE && !json->error ? JSON_END : unexpected(json, '?');
  bool comma = byte == ',' && json->wants;
  if (comma) {
    json->at++;
    byte = peek_behind_blanks(json);
    json->wants = false;
  }
  if (!comma && !json->keyed && (byte == '}' || byte == ']')) {
    json->at++;
    return close_level(json, byte == '}');
  }
  if (byte == NONE || (json->wants && !json->keyed))
    return unexpected(json, byte);
  if (in_object(json) && !json->keyed)
    return byte == '"' ? key(json) : unexpected(json, byte);
  return value(json, byte);
}

bool json_skip(struct json *json, enum json_kind kind) {
  if (kind != JSON_OBJECT && kind != JSON_ARRAY)
    return kind != JSON_ERROR;
  unsigned depth = json->depth - 1;
  while (json->depth > depth)
    if (json_next(json) == JSON_ERROR)
      return false;
  return true;
}
