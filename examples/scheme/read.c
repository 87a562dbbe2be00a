/* SPDX-License-Identifier: MIT */
/*
 * read.c: from text to data, all of R7RS's lexical syntax.
 *
 * The reader shifts and reduces on the VM's stack, which is a root, and never calls itself.  What
 * is begun and not complete is a frame there: of a list or vector, followed by its items so far, or
 * of a prefix such as a quote, which waits for one datum.  Each datum that is complete goes to the
 * frame below it; without one it is the result.
 *
 * A label (#0=) is a box while reading, a type of object that no datum is; the references to it
 * (#0#) are that box.  So what was read is a tree, and one walk at the end replaces the boxes.
 */
#include "scheme.h"
#include <stdlib.h>
#include <strings.h>

/* Frames at once: what the compiler then does with the datum is recursive. */
#define DEEPEST 10000

/* What is read in place of a datum. */
#define NOTHING SCM_IMMEDIATE(100) /* a comment, or the beginning of a frame */

enum kind { ROUND, SQUARE, VECTOR, BYTES, PREFIX, SKIP, LABEL };
enum { FRAME_EXTRA, FRAME_KIND, FRAME_BELOW, FRAME_LINE, FRAME_WORDS };

struct reader {
  struct vm *vm;
  struct port *port; /* with its lock */
  scm labels;        /* ((number . box) ...) */
  scm *bottom;       /* of the VM's stack when it began */
  scm *frame;        /* the topmost; NULL: none */
  size_t frames;
  char *text; /* a token, in UTF-8 */
  size_t length, room;
};

/* --- characters and tokens ------------------------------------------------------------------- */

static scm fail_at(struct reader *r, const char *message, size_t line) {
  char text[160];
  (void)snprintf(text, sizeof text, "%s on line %zu", message, line);
  return raise_error(r->vm, "read", "read", text, 0);
}

static scm fail(struct reader *r, const char *message) {
  return fail_at(r, message, port_line(r->port));
}

static int peek(const struct reader *r) { return port_peek_char(r->vm, r->port); }

/* In a datum, where the end of the input is an error: negative then, and the condition is set. */
static int next(struct reader *r) {
  int c = port_read_char(r->vm, r->port);
  if (c == -1)
    (void)fail(r, "the input ends in a datum");
  return c;
}

static bool put(struct reader *r, int c) {
  if (r->room - r->length < 4) {
    size_t room = r->room ? 2 * r->room : 64;
    char *text = realloc(r->text, room);
    if (!text)
      return out_of_memory(r->vm);
    r->text = text;
    r->room = room;
  }
  r->length += encode_utf8((uint32_t)c, r->text + r->length);
  return true;
}

static bool is_one_of(int c, const char *set) { return c > 0 && c < 0x80 && strchr(set, c); }
static bool is_space(int c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
static bool is_delimiter(int c) { return c < 0 || is_space(c) || is_one_of(c, "()[]\";"); }

/* The character that hexadecimal digits stand for; -1: none. */
static int parse_hex(const char *text, size_t length) {
  int value = 0;
  for (size_t i = 0; i < length; i++) {
    int c = text[i] | 32;
    int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : 16;
    if (digit == 16 || (value = value * 16 + digit) > 0x10FFFF)
      return -1;
  }
  return length == 0 || (value >= 0xD800 && value <= 0xDFFF) ? -1 : value;
}

/* After \x: digits and a semicolon.  They are in the token only until they are one character. */
static bool read_hex(struct reader *r) {
  size_t at = r->length;
  int c = 0;
  while (r->length - at < 16 && (c = next(r)) >= 0 && c != ';')
    if (!put(r, c))
      return false;
  if (c < 0)
    return false;
  c = c == ';' && r->length > at ? parse_hex(r->text + at, r->length - at) : -1;
  r->length = at;
  return c >= 0 ? put(r, c) : fail(r, "bad hexadecimal escape");
}

/* A backslash, spaces, the end of the line, and spaces: nothing. */
static bool read_continuation(struct reader *r, int c) {
  while (c == ' ' || c == '\t')
    c = next(r);
  if (c == '\r' && peek(r) == '\n')
    c = next(r);
  if (c != '\n')
    return c >= 0 ? fail(r, "bad escape in a string") : false;
  while ((c = peek(r)) == ' ' || c == '\t')
    (void)next(r);
  return c != -2;
}

/* After a backslash, in strings and between bars. */
static bool read_escape(struct reader *r) {
  static const char names[] = "abtnr\"\\|", values[] = "\a\b\t\n\r\"\\|";
  int c = next(r);
  if (c < 0)
    return false;
  if (c == 'x' || c == 'X')
    return read_hex(r);
  return is_one_of(c, names) ? put(r, values[strchr(names, c) - names]) : read_continuation(r, c);
}

/* Up to the closing quote or bar. */
static bool read_quoted(struct reader *r, int quote) {
  int c;
  while ((c = next(r)) >= 0 && c != quote)
    if (!(c == '\\' ? read_escape(r) : put(r, c)))
      return false;
  return c == quote;
}

/* Up to a delimiter, which stays; `*bars`: parts stood between bars. */
static bool read_token(struct reader *r, bool *bars) {
  int c;
  *bars = false;
  while (!is_delimiter(c = peek(r))) {
    (void)next(r);
    *bars |= c == '|';
    if (!(c == '|' ? read_quoted(r, c) : put(r, c)))
      return false;
  }
  return c != -2;
}

static bool token_is(const struct reader *r, const char *name) {
  return r->length == strlen(name) && strncasecmp(r->text, name, r->length) == 0;
}

/* --- frames ---------------------------------------------------------------------------------- */

static bool push(struct reader *r, scm v) {
  if (r->vm->sp >= r->vm->limit)
    return fail(r, "no room for a datum as long as the one");
  *r->vm->sp++ = v;
  return true;
}

/* The frame's own words: the fixnum in FRAME_BELOW is where the one below lies. */
static scm begin_frame(struct reader *r, enum kind kind, scm extra) {
  scm below = r->frame ? fixnum(r->frame - r->bottom) : SCM_FALSE, *frame = r->vm->sp;
  if (r->frames == DEEPEST)
    return fail(r, "too deeply nested");
  if (!push(r, extra) || !push(r, fixnum(kind)) || !push(r, below) ||
      !push(r, fixnum((intptr_t)port_line(r->port))))
    return 0;
  r->frame = frame;
  r->frames++;
  return NOTHING;
}

static void end_frame(struct reader *r) {
  scm below = r->frame[FRAME_BELOW];
  r->vm->sp = r->frame;
  r->frame = is_fixnum(below) ? r->bottom + fixnum_value(below) : NULL;
  r->frames--;
}

static enum kind kind_of(const scm *frame) { return (enum kind)fixnum_value(frame[FRAME_KIND]); }

static scm begin_quote(struct reader *r, const char *name) {
  scm symbol = intern(r->vm, name);
  return symbol ? begin_frame(r, PREFIX, symbol) : 0;
}

/* A dot: how many items stand before it goes into the frame. */
static scm read_dot(struct reader *r) {
  scm *frame = r->frame;
  if (!frame || kind_of(frame) > SQUARE || frame[FRAME_EXTRA] != SCM_FALSE ||
      r->vm->sp == frame + FRAME_WORDS)
    return fail(r, "unexpected dot");
  frame[FRAME_EXTRA] = fixnum(r->vm->sp - frame - FRAME_WORDS);
  return NOTHING;
}

static scm make_list(struct reader *r, const scm *items, size_t count) {
  scm list = SCM_NIL, dot = r->frame[FRAME_EXTRA];
  if (dot != SCM_FALSE) {
    if ((size_t)fixnum_value(dot) + 1 != count)
      return fail(r, "not one datum after a dot");
    list = items[--count];
  }
  while (count > 0 && list)
    list = cons(r->vm, items[--count], list);
  return list;
}

static scm make_bytes(struct reader *r, const scm *items, size_t count) {
  scm bytes = make_bytevector(r->vm, count);
  for (size_t i = 0; bytes && i < count; i++) {
    if (!is_fixnum(items[i]) || fixnum_value(items[i]) < 0 || fixnum_value(items[i]) > 255)
      return fail(r, "what is no byte in a bytevector");
    bytevector_of(bytes)->bytes[i] = (uint8_t)fixnum_value(items[i]);
  }
  return bytes;
}

/* A closing parenthesis. */
static scm close_frame(struct reader *r, bool square) {
  if (!r->frame || kind_of(r->frame) > BYTES || (kind_of(r->frame) == SQUARE) != square)
    return fail(r, square ? "unexpected ]" : "unexpected )");
  const scm *items = r->frame + FRAME_WORDS;
  size_t count = (size_t)(r->vm->sp - items);
  scm datum;
  if (kind_of(r->frame) == BYTES)
    datum = make_bytes(r, items, count);
  else if (kind_of(r->frame) != VECTOR)
    datum = make_list(r, items, count);
  else if ((datum = make_vector(r->vm, count, SCM_FALSE)) != 0)
    memcpy(vector_of(datum)->items, items, count * sizeof(scm));
  if (datum)
    end_frame(r);
  return datum;
}

/* A datum is complete: gives it to the frames.  NOTHING: they want more. */
static scm reduce(struct reader *r, scm datum) {
  while (datum && datum != NOTHING && r->frame) {
    enum kind kind = kind_of(r->frame);
    scm extra = r->frame[FRAME_EXTRA];
    if (kind < PREFIX)
      return push(r, datum) ? NOTHING : 0;
    if (kind == PREFIX) { /* the frame roots its symbol */
      if ((datum = cons(r->vm, datum, SCM_NIL)) != 0)
        datum = cons(r->vm, extra, datum);
    } else if (kind == SKIP)
      datum = NOTHING;
    else if (datum == extra)
      return fail(r, "a label that stands for itself");
    else
      store(r->vm, extra, &box_of(extra)->value, datum);
    end_frame(r);
  }
  return datum;
}

/* --- what begins with a sharp ---------------------------------------------------------------- */

static scm skip_line(struct reader *r) {
  int c;
  while ((c = peek(r)) >= 0 && c != '\n')
    (void)port_read_char(r->vm, r->port);
  return c == -2 ? 0 : NOTHING;
}

static scm skip_block(struct reader *r) {
  size_t depth = 1;
  for (int last = 0, c; depth > 0; last = c) {
    if ((c = next(r)) < 0)
      return 0;
    if (last == '|' && c == '#')
      depth--, c = 0;
    else if (last == '#' && c == '|')
      depth++, c = 0;
  }
  return NOTHING;
}

/* #!fold-case and its opposite change nothing; a script's first line is a comment. */
static scm read_directive(struct reader *r) {
  bool bars;
  int c = peek(r);
  if ((c == '/' || c == ' ') && port_line(r->port) == 1)
    return skip_line(r);
  if (!read_token(r, &bars))
    return 0;
  return token_is(r, "fold-case") || token_is(r, "no-fold-case") ? NOTHING
                                                                 : fail(r, "unknown directive");
}

static scm read_character(struct reader *r) {
  char encoded[4];
  int c, first = next(r);
  if (first < 0 || !put(r, first))
    return 0;
  while (!is_delimiter(c = peek(r)))
    if (!put(r, next(r)))
      return 0;
  if (c == -2)
    return 0;
  if (r->length == encode_utf8((uint32_t)first, encoded))
    return make_char((uint32_t)first);
  for (const struct char_name *known = char_names; known->name; known++)
    if (token_is(r, known->name))
      return make_char(known->value);
  c = first == 'x' ? parse_hex(r->text + 1, r->length - 1) : -1;
  return c >= 0 ? make_char((uint32_t)c) : fail(r, "unknown character");
}

/* #0= and #0#, after the sharp. */
static scm read_label(struct reader *r) {
  intptr_t number = 0;
  int c;
  while ((c = next(r)) >= '0' && c <= '9')
    if ((number = number * 10 + c - '0') > INT32_MAX)
      return fail(r, "a label too large");
  if (c < 0)
    return 0;
  scm found = r->labels, box;
  while (found != SCM_NIL && car(car(found)) != fixnum(number))
    found = cdr(found);
  if (c == '#')
    return found != SCM_NIL ? cdr(car(found)) : fail(r, "unknown label");
  if (c != '=' || found != SCM_NIL)
    return fail(r, c == '=' ? "a label given twice" : "bad label");
  if (!(box = make_box(r->vm, SCM_FALSE)) || !begin_frame(r, LABEL, box))
    return 0;
  scm entry = cons(r->vm, fixnum(number), box);
  if (!entry || !(entry = cons(r->vm, entry, r->labels)))
    return 0;
  r->labels = entry;
  return NOTHING;
}

static scm token_string(struct reader *r) {
  return string_from_bytes(r->vm, r->text ? r->text : "", r->length);
}

static scm token_symbol(struct reader *r) {
  scm string = token_string(r);
  return string ? intern_string(r->vm, string) : 0;
}

static scm read_number(struct reader *r) {
  bool bars;
  if (!read_token(r, &bars))
    return 0;
  scm number = bars ? SCM_FALSE : parse_number(r->vm, r->text, r->length, 10);
  return number != SCM_FALSE ? number : fail(r, "bad number");
}

/* #t, #true, #f, #false, #u8( */
static scm read_word(struct reader *r) {
  bool bars;
  if (!read_token(r, &bars))
    return 0;
  if (token_is(r, "#t") || token_is(r, "#true"))
    return SCM_TRUE;
  if (token_is(r, "#f") || token_is(r, "#false"))
    return SCM_FALSE;
  if (token_is(r, "#u8") && peek(r) == '(')
    return next(r) < 0 ? 0 : begin_frame(r, BYTES, SCM_FALSE);
  return fail(r, "unknown syntax after a sharp");
}

static scm read_sharp(struct reader *r) {
  bool bars;
  int c = peek(r);
  if (c >= '0' && c <= '9')
    return read_label(r);
  if (is_one_of(c, "(\\|;!"))
    (void)next(r);
  switch (c) {
  case -2:
    return 0;
  case '(':
    return begin_frame(r, VECTOR, SCM_FALSE);
  case '\\':
    return read_character(r);
  case '|':
    return skip_block(r);
  case ';':
    return begin_frame(r, SKIP, SCM_FALSE);
  case '!':
    return read_directive(r);
  }
  if (!put(r, '#'))
    return 0;
  if (c == ':')
    return read_token(r, &bars) ? token_symbol(r) : 0;
  return is_one_of(c, "bodxieBODXIE") ? read_number(r) : read_word(r);
}

/* --- all that is left ------------------------------------------------------------------------ */

static scm read_string(struct reader *r) { return read_quoted(r, '"') ? token_string(r) : 0; }

/* A dot, a number or a symbol, of which the first character was not read yet. */
static scm read_atom(struct reader *r) {
  bool bars;
  if (!read_token(r, &bars))
    return 0;
  if (bars)
    return token_symbol(r);
  if (token_is(r, "."))
    return read_dot(r);
  scm number = parse_number(r->vm, r->text, r->length, 10);
  return number != SCM_FALSE ? number : token_symbol(r);
}

static scm read_unquote(struct reader *r) {
  int c = peek(r);
  if (c == '@')
    (void)next(r);
  return c == -2 ? 0 : begin_quote(r, c == '@' ? "unquote-splicing" : "unquote");
}

/* The next datum that is an atom or whose end is here, NOTHING, SCM_EOF or 0. */
static scm read_next(struct reader *r) {
  int c = peek(r);
  r->length = 0;
  if (c == -2)
    return 0;
  if (c == -1)
    return !r->frame ? SCM_EOF
                     : fail_at(r, "the input ends in the datum that begins",
                               (size_t)fixnum_value(r->frame[FRAME_LINE]));
  if (is_space(c) || is_one_of(c, "()[]'`,\";#"))
    (void)next(r);
  switch (c) {
  case '(':
    return begin_frame(r, ROUND, SCM_FALSE);
  case '[':
    return begin_frame(r, SQUARE, SCM_FALSE);
  case ')':
  case ']':
    return close_frame(r, c == ']');
  case '\'':
    return begin_quote(r, "quote");
  case '`':
    return begin_quote(r, "quasiquote");
  case ',':
    return read_unquote(r);
  case '"':
    return read_string(r);
  case ';':
    return skip_line(r);
  case '#':
    return read_sharp(r);
  }
  return is_space(c) ? NOTHING : read_atom(r);
}

/* --- labels ---------------------------------------------------------------------------------- */

/* What stands for a box, or the value itself; pushes what is to be walked through. */
static bool resolve(struct reader *r, scm object, scm *slot) {
  scm v = *slot;
  if (is_box(v)) {
    while (is_box(v))
      v = box_of(v)->value;
    store(r->vm, object, slot, v);
    return true;
  }
  return !(is_pair(v) || is_vector(v)) || push(r, v);
}

/* The tree, which is rooted, is walked with what is left to do on the VM's stack; cdrs last, so
 * that lists are flat. */
static bool resolve_labels(struct reader *r) {
  while (r->vm->sp > r->bottom) {
    tarn_safepoint(r->vm->self);
    scm v = *--r->vm->sp;
    if (is_pair(v)) {
      if (!resolve(r, v, &pair_of(v)->cdr) || !resolve(r, v, &pair_of(v)->car))
        return false;
    } else
      for (size_t i = vector_of(v)->count; i-- > 0;)
        if (!resolve(r, v, &vector_of(v)->items[i]))
          return false;
  }
  return true;
}

scm read_datum(struct vm *vm, scm port) {
  struct reader reader = {.vm = vm, .labels = SCM_NIL, .bottom = vm->sp};
  scm datum = NOTHING;
  ROOTS(vm, (void *)&port, (void *)&reader.labels, (void *)&datum);
  if (!(reader.port = port_enter(vm, "read", port)))
    return 0;
  while (datum == NOTHING)
    datum = reduce(&reader, read_next(&reader));
  port_leave(reader.port);
  free(reader.text);
  vm->sp = reader.bottom;
  if (datum && reader.labels != SCM_NIL && (is_pair(datum) || is_vector(datum)))
    if (!push(&reader, datum) || !resolve_labels(&reader))
      datum = 0;
  vm->sp = reader.bottom;
  return datum;
}

DEFINE("read", prim_read, 0, 1) {
  return read_datum(vm, count > 0 ? arguments[0] : input_port(vm));
}
