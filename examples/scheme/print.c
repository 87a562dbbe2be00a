/* SPDX-License-Identifier: MIT */
/*
 * print.c: data as text.
 *
 * Walks and prints with frames on the VM's stack, so that depth is no matter and all that is being
 * printed is rooted.  Text is gathered in a buffer; what failed is remembered and ends the loop.
 *
 * Labels (#0=).  A cycle is found by a walk in depth that marks what it is inside of: an object met
 * again while it is marked gets a label, and there is at least one such object in each cycle.  The
 * marks are in a hash table of addresses, which is right because nothing moves.  Most data is small
 * and a tree, so a walk without a table that gives up after some objects comes first.
 */
#include "scheme.h"
#include <inttypes.h>

#define SMALL 10000 /* objects that are walked through before a table is made */

enum labels { FOR_CYCLES, FOR_SHARED, NO_LABELS };

/* What the walk knows of an object; the rest of the word is the number of its label, from 1, or 0
 * as long as that was not printed. */
enum { INSIDE = 1, LABELLED = 2, NUMBER_SHIFT = 2 };

struct printer {
  struct vm *vm;
  scm port;
  bool write, failed;
  scm *bottom;      /* of the VM's stack when it began */
  struct seen seen; /* empty if no walk looked for labels */
  size_t labels;
  size_t length;
  char text[512];
};

/* --- text ------------------------------------------------------------------------------------ */

static void flush(struct printer *p) {
  if (p->length > 0 && !p->failed && !port_write(p->vm, p->port, p->text, p->length))
    p->failed = true;
  p->length = 0;
}

static void put_bytes(struct printer *p, const char *bytes, size_t count) {
  if (count > sizeof p->text - p->length)
    flush(p);
  memcpy(p->text + p->length, bytes, count);
  p->length += count;
}

static void put(struct printer *p, const char *text) { put_bytes(p, text, strlen(text)); }

static void put_char(struct printer *p, uint32_t c) {
  char encoded[4];
  put_bytes(p, encoded, encode_utf8(c, encoded));
}

static void put_string(struct printer *p, scm string, size_t start, size_t end) {
  for (size_t i = start; i < end && !p->failed; i++)
    put_char(p, string_ref(string, i));
}

static void put_all(struct printer *p, scm string) {
  put_string(p, string, 0, string_of(string)->length);
}

static bool is_control(uint32_t c) { return c < ' ' || (c >= 0x7F && c < 0xA0); }

/* Between quotes or bars. */
static void put_quoted(struct printer *p, scm string, char quote) {
  static const char codes[] = "\a\b\t\n\r", names[] = "abtnr";
  char text[16];
  put_bytes(p, &quote, 1);
  for (size_t i = 0; i < string_of(string)->length && !p->failed; i++) {
    uint32_t c = string_ref(string, i);
    const char *code = c > 0 && c < ' ' ? strchr(codes, (int)c) : NULL;
    if (c == (uint32_t)quote || c == '\\' || code) {
      put(p, "\\");
      put_char(p, code ? (uint32_t)names[code - codes] : c);
    } else if (is_control(c)) {
      (void)snprintf(text, sizeof text, "\\x%" PRIx32 ";", c);
      put(p, text);
    } else
      put_char(p, c);
  }
  put_bytes(p, &quote, 1);
}

/* --- atoms ----------------------------------------------------------------------------------- */

static void print_number(struct printer *p, scm v) {
  char text[32];
  if (is_fixnum(v)) {
    (void)snprintf(text, sizeof text, "%" PRIdPTR, fixnum_value(v));
    put(p, text);
    return;
  }
  scm string = number_to_string(p->vm, v, 10);
  ROOTS(p->vm, (void *)&string);
  if (string)
    put_all(p, string);
  else
    p->failed = true;
}

const struct char_name char_names[] = {
    {0, "null"},    {0, "nul"},     {7, "alarm"},   {8, "backspace"}, {9, "tab"}, {10, "newline"},
    {13, "return"}, {27, "escape"}, {' ', "space"}, {127, "delete"},  {0, NULL}};

static void print_char(struct printer *p, uint32_t c) {
  char text[16];
  if (!p->write) {
    put_char(p, c);
    return;
  }
  put(p, "#\\");
  for (const struct char_name *known = char_names; known->name; known++)
    if (c == known->value) {
      put(p, known->name);
      return;
    }
  (void)snprintf(text, sizeof text, "x%" PRIx32, c);
  if (is_control(c))
    put(p, text);
  else
    put_char(p, c);
}

/* Would the reader take the name for a number?  Sets p->failed if there is no memory to tell. */
static bool is_like_number(struct printer *p, scm name) {
  size_t bytes;
  uint32_t c = string_ref(name, 0);
  if (!(c >= '0' && c <= '9') && c != '+' && c != '-' && c != '.')
    return false;
  scm text = string_to_utf8(p->vm, name, &bytes);
  ROOTS(p->vm, (void *)&text);
  scm number = text ? parse_number(p->vm, (const char *)text, bytes, 10) : 0;
  p->failed = p->failed || !number;
  return number != SCM_FALSE;
}

static bool needs_bars(struct printer *p, scm name) {
  size_t length = string_of(name)->length;
  for (size_t i = 0; i < length; i++) {
    uint32_t c = string_ref(name, i);
    if (is_control(c) || (c < 0x80 && strchr(" ()[]'`,\";|\\", (int)c)))
      return true;
  }
  return length == 0 || (length == 1 && string_ref(name, 0) == '.') ||
         (string_ref(name, 0) == '#' && (length == 1 || string_ref(name, 1) != ':')) ||
         is_like_number(p, name);
}

static void print_symbol(struct printer *p, scm v) {
  scm name = symbol_of(v)->name;
  if (p->write && needs_bars(p, name))
    put_quoted(p, name, '|');
  else
    put_all(p, name);
}

static void print_bytes(struct printer *p, scm v) {
  char text[8];
  put(p, "#u8(");
  for (size_t i = 0; i < bytevector_of(v)->count && !p->failed; i++) {
    (void)snprintf(text, sizeof text, i ? " %u" : "%u", (unsigned)bytevector_of(v)->bytes[i]);
    put(p, text);
  }
  put(p, ")");
}

static void print_procedure(struct printer *p, scm name) {
  put(p, "#<procedure");
  if (is_symbol(name)) {
    put(p, " ");
    put_all(p, symbol_of(name)->name);
  }
  put(p, ">");
}

/* An object that is nothing to the printer: its type's own text. */
static void print_other(struct printer *p, scm v) {
  static const char *const words[] = {"#f",        "#t",        "()", "#<eof>", "#<unspecified>",
                                      "#<absent>", "#<unbound>"};
  char text[256];
  if (is_object(v)) {
    (void)tarn_print((const void *)v, text, sizeof text);
    put(p, text);
  } else
    put(p, v >> 8 < sizeof words / sizeof words[0] ? words[v >> 8] : "#<unknown>");
}

static void print_atom(struct printer *p, scm v) {
  if (is_number(v))
    print_number(p, v);
  else if (is_symbol(v))
    print_symbol(p, v);
  else if (is_char(v))
    print_char(p, char_value(v));
  else if (is_string(v) && p->write)
    put_quoted(p, v, '"');
  else if (is_string(v))
    put_all(p, v);
  else if (is_bytevector(v))
    print_bytes(p, v);
  else if (is_closure(v))
    print_procedure(p, code_of(closure_of(v)->code)->name);
  else if (is_primitive(v))
    print_procedure(p, primitive_of(v)->name);
  else if (is_port(v))
    put(p, "#<port>");
  else
    print_other(p, v);
}

/* --- objects with parts ---------------------------------------------------------------------- */

static bool is_compound(scm v) {
  return is_object(v) && (type_of(v) == types.pair || type_of(v) == types.vector ||
                          type_of(v) == types.record || type_of(v) == types.condition);
}

/* The part of that number of an object that has some; 0 behind the last. */
static scm part(scm v, size_t i) {
  if (is_pair(v))
    return i == 0 ? car(v) : i == 1 ? cdr(v) : 0;
  if (is_vector(v))
    return i < vector_of(v)->count ? vector_of(v)->items[i] : 0;
  if (is_record(v))
    return i < record_of(v)->count ? record_of(v)->fields[i] : 0;
  return i == 0 && condition_of(v)->irritants != SCM_NIL ? condition_of(v)->irritants : 0;
}

static bool push(struct printer *p, scm v) {
  if (p->failed || p->vm->sp >= p->vm->limit) {
    if (!p->failed)
      (void)raise_error(p->vm, "error", "write", "too deeply nested", 0);
    p->failed = true;
    return false;
  }
  *p->vm->sp++ = v;
  return true;
}

/* --- what needs labels ----------------------------------------------------------------------- */

/* Is what can be reached few objects, counted as often as they are met?  Then there is no cycle. */
static bool is_small(struct printer *p, scm v) {
  size_t count = 0;
  (void)push(p, v);
  while (p->vm->sp > p->bottom && count <= SMALL) {
    v = *--p->vm->sp;
    scm inner;
    for (size_t i = 0; count <= SMALL && (inner = part(v, i)) != 0; i++)
      if (is_compound(inner) && count++ < SMALL)
        (void)push(p, inner);
  }
  p->vm->sp = p->bottom;
  return count <= SMALL;
}

/* Meets an object on the walk: is it one with parts that is met for the first time? */
static bool is_new(struct printer *p, scm v, enum labels labels) {
  if (!is_compound(v))
    return false;
  if (!seen_reserve(&p->seen, 1)) {
    p->failed = true;
    return out_of_memory(p->vm);
  }
  struct sight *sight = seen_find(&p->seen, v);
  if (!sight->object) {
    seen_add(&p->seen, sight, v, INSIDE);
    return true;
  }
  if (sight->word & INSIDE || labels == FOR_SHARED)
    sight->word |= LABELLED;
  return false;
}

/* The walk leaves an object, or all pairs of a list from the first to the last. */
static void leave(struct printer *p, scm first, scm last) {
  struct sight *sight;
  for (scm v = first; (sight = seen_find(&p->seen, v))->word & INSIDE; v = cdr(v)) {
    sight->word &= ~(uintptr_t)INSIDE;
    if (v == last || !is_pair(v))
      break;
  }
}

/* A frame: an object, which part is next, and the first pair of the list; for all pairs of a list
 * it is the same frame.  Polls, for large data takes a while. */
static void find_labels(struct printer *p, scm v, enum labels labels) {
  if (is_new(p, v, labels) && push(p, v) && push(p, fixnum(0)))
    (void)push(p, v);
  while (p->vm->sp > p->bottom && !p->failed) {
    scm *frame = p->vm->sp - 3, object = frame[0];
    intptr_t i = fixnum_value(frame[1]);
    scm inner = part(object, (size_t)i);
    tarn_safepoint(p->vm->self);
    frame[1] = fixnum(i + 1);
    if (!inner) {
      leave(p, frame[2], object);
      p->vm->sp = frame;
    } else if (is_new(p, inner, labels)) {
      if (is_pair(object) && i == 1 && is_pair(inner)) {
        frame[0] = inner;
        frame[1] = fixnum(0);
      } else if (push(p, inner) && push(p, fixnum(0)))
        (void)push(p, inner);
    }
  }
  p->vm->sp = p->bottom;
}

/* --- printing -------------------------------------------------------------------------------- */

static bool is_labelled(const struct printer *p, scm v) {
  return p->seen.size && seen_find(&p->seen, v)->word & LABELLED;
}

/* True: the label says it all. */
static bool print_label(struct printer *p, scm v) {
  char text[32];
  if (!is_labelled(p, v))
    return false;
  struct sight *sight = seen_find(&p->seen, v);
  bool again = sight->word >> NUMBER_SHIFT;
  if (!again)
    sight->word |= ++p->labels << NUMBER_SHIFT;
  (void)snprintf(text, sizeof text,
                 again ? "#%zu#" : "#%zu=", (size_t)(sight->word >> NUMBER_SHIFT) - 1);
  put(p, text);
  return again;
}

static void print_opening(struct printer *p, scm v) {
  if (is_pair(v) || is_vector(v)) {
    put(p, is_pair(v) ? "(" : "#(");
  } else if (is_record(v)) {
    scm kind = record_of(v)->kind;
    bool named =
        is_record(kind) && record_of(kind)->count > 0 && is_symbol(record_of(kind)->fields[0]);
    put(p, "#<");
    if (named)
      put_all(p, symbol_of(record_of(kind)->fields[0])->name);
    else
      put(p, "record-type");
  } else {
    const struct condition *condition = condition_of(v);
    put(p, "#<condition ");
    print_atom(p, condition->kind);
    put(p, ": ");
    if (is_string(condition->message))
      put_all(p, condition->message);
    else
      print_atom(p, condition->message);
  }
}

/* Prints an atom, or begins a frame: the object and which part is next. */
static void print_beginning(struct printer *p, scm v) {
  ROOTS(p->vm, (void *)&v);
  if (!is_compound(v))
    print_atom(p, v);
  else if (!print_label(p, v)) {
    print_opening(p, v);
    if (push(p, v))
      (void)push(p, fixnum(0));
  }
}

/* Goes on with a list whose next part is the cdr: in the same frame, if that is a pair. */
static void print_rest(struct printer *p, scm *frame) {
  scm rest = cdr(frame[0]);
  if (is_pair(rest) && !is_labelled(p, rest)) {
    put(p, " ");
    frame[0] = rest;
    frame[1] = fixnum(0);
  } else if (rest != SCM_NIL) {
    put(p, " . ");
    print_beginning(p, rest);
  }
}

static void print_next(struct printer *p) {
  scm *frame = p->vm->sp - 2, object = frame[0];
  intptr_t i = fixnum_value(frame[1]);
  scm inner = part(object, (size_t)i);
  frame[1] = fixnum(i + 1);
  if (!inner) {
    put(p, is_pair(object) || is_vector(object) ? ")" : ">");
    p->vm->sp = frame;
  } else if (is_pair(object) && i == 1) {
    print_rest(p, frame);
  } else {
    if (!is_pair(object) && (i > 0 || !is_vector(object)))
      put(p, " ");
    print_beginning(p, inner);
  }
}

static bool print_with(struct vm *vm, scm v, scm port, bool write, enum labels labels) {
  struct printer p = {.vm = vm, .port = port, .write = write, .bottom = vm->sp};
  ROOTS(vm, (void *)&v, (void *)&p.port);
  if (is_compound(v) && (labels == FOR_SHARED || (labels == FOR_CYCLES && !is_small(&p, v))))
    find_labels(&p, v, labels);
  if (!p.failed)
    print_beginning(&p, v);
  while (vm->sp > p.bottom && !p.failed)
    print_next(&p);
  flush(&p);
  vm->sp = p.bottom;
  seen_drop(&p.seen);
  return !p.failed;
}

bool print(struct vm *vm, scm v, scm port, bool write) {
  return print_with(vm, v, port, write, FOR_CYCLES);
}

/* --- primitives ------------------------------------------------------------------------------ */

static scm port_argument(struct vm *vm, int count, const scm *arguments, int at) {
  return count > at ? arguments[at] : output_port(vm);
}

#define DEFINE_PRINT(name, function, write, labels)                                 \
  DEFINE(name, function, 1, 2, is_any, is_port) {                                   \
    scm port = port_argument(vm, count, arguments, 1);                              \
    return print_with(vm, arguments[0], port, write, labels) ? SCM_UNSPECIFIED : 0; \
  }
DEFINE_PRINT("write", prim_write, true, FOR_CYCLES)
DEFINE_PRINT("write-shared", prim_write_shared, true, FOR_SHARED)
DEFINE_PRINT("write-simple", prim_write_simple, true, NO_LABELS)
DEFINE_PRINT("display", prim_display, false, FOR_CYCLES)

DEFINE("newline", prim_newline, 0, 1, is_port) {
  return port_write(vm, port_argument(vm, count, arguments, 0), "\n", 1) ? SCM_UNSPECIFIED : 0;
}

DEFINE("write-char", prim_write_char, 1, 2, is_char, is_port) {
  char encoded[4];
  unsigned bytes = encode_utf8(char_value(arguments[0]), encoded);
  scm port = port_argument(vm, count, arguments, 1);
  return port_write(vm, port, encoded, bytes) ? SCM_UNSPECIFIED : 0;
}

/* (write-string string [port [start [end]]]) */
DEFINE("write-string", prim_write_string, 1, 4, is_string, is_port) {
  struct printer p = {.vm = vm, .port = port_argument(vm, count, arguments, 1)};
  size_t start, end;
  if (!part_arguments(vm, who, count, arguments, 0, 2, &start, &end))
    return 0;
  ROOTS(vm, (void *)&p.port);
  put_string(&p, arguments[0], start, end);
  flush(&p);
  return p.failed ? 0 : SCM_UNSPECIFIED;
}
