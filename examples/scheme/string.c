/* SPDX-License-Identifier: MIT */
/*
 * string.c: strings and characters.
 *
 * A string is an object of fixed size with a block of characters beside it, one byte each (narrow)
 * or four (wide).  It is narrow until a character above U+00FF is put in: then the block is
 * replaced, and the string stays what it is.  Narrow and wide strings of the same characters are
 * equal and hash alike.  No pointer to the characters is kept across anything that may widen; other
 * threads may do so at any time, or put in characters that have longer UTF-8 than those before, so
 * width and characters are loaded once, in that order, and what is written has its own bound.
 *
 * Case is that of single characters, by simple rules for ASCII, Latin-1, Latin Extended-A, Greek
 * and Cyrillic; other characters have none.  What counts as a letter, digit or space is in tables
 * of ranges that know the larger scripts.
 */
#include "scheme.h"

#define REPLACEMENT 0xFFFDu
#define LAST_CHARACTER 0x10FFFFu

/* --- UTF-8 ----------------------------------------------------------------------------------- */

static bool is_scalar(intptr_t c) {
  return c >= 0 && c <= (intptr_t)LAST_CHARACTER && (c < 0xD800 || c > 0xDFFF);
}

unsigned encode_utf8(uint32_t c, char *out) {
  if (c < 0x80) {
    out[0] = (char)c;
    return 1;
  }
  unsigned more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
  for (unsigned i = more; i > 0; i--, c >>= 6)
    out[i] = (char)(0x80 | (c & 0x3F));
  out[0] = (char)(0x780u >> more | c); /* 0xC0, 0xE0 or 0xF0 in the lowest byte, and what is left */
  return more + 1;
}

uint32_t decode_utf8(const uint8_t **at, const uint8_t *end) {
  const uint8_t *p = *at;
  uint32_t c = *p++;
  unsigned more = c < 0xE0 ? 1 : c < 0xF0 ? 2 : 3;
  *at = p;
  if (c < 0x80)
    return c;
  if (c < 0xC2 || c > 0xF4 || (size_t)(end - p) < more)
    return REPLACEMENT;
  c &= 0x3Fu >> more;
  for (unsigned i = 0; i < more; i++) {
    if ((p[i] & 0xC0) != 0x80)
      return REPLACEMENT;
    c = c << 6 | (p[i] & 0x3Fu);
  }
  if ((more == 2 && c < 0x800) || (more == 3 && c < 0x10000) || !is_scalar((intptr_t)c))
    return REPLACEMENT;
  *at = p + more;
  return c;
}

/* --- making strings -------------------------------------------------------------------------- */

/* Of characters whose bits together are `bits`. */
static size_t width_for(uint32_t bits) { return bits > 0xFF ? 4 : 1; }

static void put_in(char *chars, size_t width, size_t at, uint32_t c) {
  if (width == 1)
    ((uint8_t *)chars)[at] = (uint8_t)c;
  else
    ((uint32_t *)chars)[at] = c;
}

static void put(scm string, size_t at, uint32_t c) {
  size_t width = string_width(string);
  put_in(string_chars(string), width, at, c);
}

scm make_string(struct vm *vm, size_t length, size_t width) {
  if (length > SIZE_MAX / 8)
    return out_of_memory(vm);
  scm chars = make_block(vm, length * width);
  if (!chars)
    return 0;
  ROOTS(vm, (void *)&chars);
  struct string *string = make_object(vm, types.string);
  if (!string)
    return 0;
  string->chars = chars;
  string->length = length;
  string->width = width;
  return (scm)string;
}

/* In a string that is rooted; makes it wide if it must be. */
static bool set_char(struct vm *vm, scm string, size_t at, uint32_t c) {
  struct string *s = string_of(string);
  size_t width = string_width(string);
  if (c > 0xFF && width == 1) {
    if (s->length > SIZE_MAX / 8)
      return out_of_memory(vm);
    scm chars = make_block(vm, s->length * 4);
    if (!chars)
      return false;
    for (size_t i = 0; i < s->length; i++)
      ((uint32_t *)chars)[i] = string_ref(string, i);
    store(vm, string, &s->chars, chars);
    __atomic_store_n(&s->width, width = 4, __ATOMIC_RELEASE);
  }
  put_in(string_chars(string), width, at, c);
  return true;
}

scm string_from_bytes(struct vm *vm, const char *utf8, size_t bytes) {
  const uint8_t *first = (const uint8_t *)utf8, *end = first + bytes;
  size_t length = 0;
  uint32_t bits = 0;
  for (const uint8_t *at = first; at < end; length++)
    bits |= decode_utf8(&at, end);
  scm string = make_string(vm, length, width_for(bits));
  for (size_t i = 0; string && i < length && first < end; i++)
    put(string, i, decode_utf8(&first, end));
  return string;
}

scm string_from(struct vm *vm, const char *utf8) {
  return string_from_bytes(vm, utf8, strlen(utf8));
}

static size_t utf8_length(scm string, size_t start, size_t end) {
  size_t bytes = 0;
  char encoded[4];
  for (size_t i = start; i < end; i++)
    bytes += encode_utf8(string_ref(string, i), encoded);
  return bytes;
}

/* As much as there is room for; the number of bytes. */
static size_t write_utf8(scm string, size_t start, size_t end, char *out, size_t room) {
  size_t bytes = 0;
  char encoded[4];
  for (size_t i = start; i < end; i++) {
    char *to = room - bytes < sizeof encoded ? encoded : out + bytes;
    unsigned more = encode_utf8(string_ref(string, i), to);
    if (more > room - bytes)
      break;
    if (to == encoded)
      memcpy(out + bytes, encoded, more);
    bytes += more;
  }
  return bytes;
}

scm string_to_utf8(struct vm *vm, scm string, size_t *bytes) {
  ROOTS(vm, (void *)&string);
  size_t length = string_of(string)->length, size = utf8_length(string, 0, length);
  scm block = make_block(vm, size + 1);
  if (!block)
    return 0;
  size = write_utf8(string, 0, length, (char *)block, size);
  if (bytes)
    *bytes = size;
  return block;
}

/* Between strings of which the first can hold what the second has; as memmove does. */
static void copy_chars(scm to, size_t at, scm from, size_t start, size_t count) {
  size_t width = string_width(to);
  if (width == string_width(from))
    memmove(string_chars(to) + at * width, string_chars(from) + start * width, count * width);
  else /* so they are not the same string */
    for (size_t i = 0; i < count; i++)
      put(to, at + i, string_ref(from, start + i));
}

scm string_slice(struct vm *vm, scm string, size_t start, size_t end) {
  ROOTS(vm, (void *)&string);
  scm copy = make_string(vm, end - start, string_width(string));
  if (copy)
    copy_chars(copy, 0, string, start, end - start);
  return copy;
}

/* --- comparing ------------------------------------------------------------------------------- */

bool string_equal(scm a, scm b) {
  size_t length = string_of(a)->length, width = string_width(a);
  if (length != string_of(b)->length)
    return false;
  if (width == string_width(b))
    return memcmp(string_chars(a), string_chars(b), length * width) == 0;
  for (size_t i = 0; i < length; i++)
    if (string_ref(a, i) != string_ref(b, i))
      return false;
  return true;
}

/* FNV-1a over the characters, whatever their width, and a last mix for who takes low bits. */
uint64_t string_hash(scm string) {
  uint64_t hash = 0xcbf29ce484222325u;
  size_t length = string_of(string)->length;
  for (size_t i = 0; i < length; i++)
    hash = (hash ^ string_ref(string, i)) * 0x100000001b3u;
  return hash ^ hash >> 32;
}

/* --- characters ------------------------------------------------------------------------------ */

/* Capital letters, each or every second one, and how far away their small ones are. */
static const struct {
  uint32_t first, last, step;
  int32_t small;
} cases[] = {
    {'A', 'Z', 1, 32},     {0xC0, 0xD6, 1, 32},   {0xD8, 0xDE, 1, 32},   {0x100, 0x12E, 2, 1},
    {0x132, 0x136, 2, 1},  {0x139, 0x147, 2, 1},  {0x14A, 0x176, 2, 1},  {0x178, 0x178, 1, -121},
    {0x179, 0x17D, 2, 1},  {0x386, 0x386, 1, 38}, {0x388, 0x38A, 1, 37}, {0x38C, 0x38C, 1, 64},
    {0x38E, 0x38F, 1, 63}, {0x391, 0x3A1, 1, 32}, {0x3A3, 0x3AB, 1, 32}, {0x400, 0x40F, 1, 80},
    {0x410, 0x42F, 1, 32}, {0x460, 0x480, 2, 1},  {0x48A, 0x4BE, 2, 1},  {0x4C1, 0x4CD, 2, 1},
    {0x4D0, 0x52E, 2, 1},
};

static uint32_t downcase(uint32_t c) {
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    if (c >= cases[i].first && c <= cases[i].last && (c - cases[i].first) % cases[i].step == 0)
      return c + (uint32_t)cases[i].small;
  return c;
}

static uint32_t upcase(uint32_t c) {
  if (c == 0xB5) /* the micro sign is a Greek letter above, but not back */
    return 0x39C;
  if (c == 0x3C2) /* final sigma */
    return 0x3A3;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    uint32_t capital = c - (uint32_t)cases[i].small;
    if (capital >= cases[i].first && capital <= cases[i].last &&
        (capital - cases[i].first) % cases[i].step == 0)
      return capital;
  }
  return c;
}

static uint32_t foldcase(uint32_t c) { return downcase(upcase(c)); }

static bool is_upper(uint32_t c) { return downcase(c) != c; }
static bool is_lower(uint32_t c) { return upcase(c) != c || c == 0xDF || c == 0x149; }

struct range {
  uint32_t first, last;
};
#define IS_IN(c, ranges) is_in(c, ranges, sizeof ranges / sizeof ranges[0])
static bool is_in(uint32_t c, const struct range *ranges, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (c >= ranges[i].first && c <= ranges[i].last)
      return true;
  return false;
}

static const struct range alphabetic[] = {
    {'A', 'Z'},       {'a', 'z'},       {0xAA, 0xAA},     {0xB5, 0xB5},     {0xBA, 0xBA},
    {0xC0, 0xD6},     {0xD8, 0xF6},     {0xF8, 0x2C1},    {0x370, 0x373},   {0x376, 0x377},
    {0x37B, 0x37D},   {0x37F, 0x37F},   {0x386, 0x386},   {0x388, 0x3F5},   {0x3F7, 0x481},
    {0x48A, 0x52F},   {0x531, 0x556},   {0x561, 0x587},   {0x5D0, 0x5EA},   {0x620, 0x64A},
    {0x671, 0x6D3},   {0x904, 0x939},   {0xE01, 0xE30},   {0x10A0, 0x10FF}, {0x1E00, 0x1FBC},
    {0x3041, 0x3096}, {0x30A1, 0x30FA}, {0x3400, 0x4DBF}, {0x4E00, 0x9FFF}, {0xAC00, 0xD7A3},
};
static const struct range spaces[] = {
    {9, 13},          {' ', ' '},       {0x85, 0x85},     {0xA0, 0xA0},     {0x1680, 0x1680},
    {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000},
};

/* -1: no decimal digit. */
static int digit_of(uint32_t c) {
  static const uint32_t zeros[] = {'0',   0x660, 0x6F0,  0x7C0,  0x966,  0x9E6, 0xA66,
                                   0xAE6, 0xB66, 0xBE6,  0xC66,  0xCE6,  0xD66, 0xE50,
                                   0xED0, 0xF20, 0x1040, 0x17E0, 0x1810, 0xFF10};
  for (size_t i = 0; i < sizeof zeros / sizeof zeros[0]; i++)
    if (c >= zeros[i] && c <= zeros[i] + 9)
      return (int)(c - zeros[i]);
  return -1;
}

/* --- comparisons ----------------------------------------------------------------------------- */

enum { LESS = 1, SAME = 2, MORE = 4 }; /* what the order of two may be, as bits */

typedef uint32_t (*map_fn)(uint32_t);

static uint32_t as_it_is(uint32_t c) { return c; }

static int order(uint32_t a, uint32_t b) { return a < b ? LESS : a > b ? MORE : SAME; }

static int order_char(scm a, scm b, map_fn map) {
  return order(map(char_value(a)), map(char_value(b)));
}

static int order_string(scm a, scm b, map_fn map) {
  size_t m = string_of(a)->length, n = string_of(b)->length;
  for (size_t i = 0; i < m && i < n; i++) {
    uint32_t x = string_ref(a, i), y = string_ref(b, i);
    if (x != y && (x = map(x)) != (y = map(y)))
      return order(x, y);
  }
  return m < n ? LESS : m > n ? MORE : SAME;
}

/* Inlined for characters and for strings. */
static inline scm compare(struct vm *vm, const char *who, int count, const scm *arguments,
                          bool (*of_kind)(scm), int (*order_of)(scm, scm, map_fn), int wanted,
                          map_fn map) {
  bool result = true;
  for (int i = 0; i < count; i++) {
    if (!of_kind(arguments[i]))
      return wrong_type(vm, who, i + 1, arguments[i]);
    if (i > 0 && result)
      result = order_of(arguments[i - 1], arguments[i], map) & wanted;
  }
  return boolean(result);
}

#define DEFINE_COMPARISON(kind, id, name, wanted, map)                               \
  DEFINE(#kind name, kind##_##id, 1, -1) {                                           \
    return compare(vm, who, count, arguments, is_##kind, order_##kind, wanted, map); \
  }
/* Ten of each kind: five orders, with case and without. */
#define DEFINE_COMPARISONS(kind)                                       \
  DEFINE_COMPARISON(kind, same, "=?", SAME, as_it_is)                  \
  DEFINE_COMPARISON(kind, less, "<?", LESS, as_it_is)                  \
  DEFINE_COMPARISON(kind, more, ">?", MORE, as_it_is)                  \
  DEFINE_COMPARISON(kind, at_most, "<=?", LESS | SAME, as_it_is)       \
  DEFINE_COMPARISON(kind, at_least, ">=?", MORE | SAME, as_it_is)      \
  DEFINE_COMPARISON(kind, ci_same, "-ci=?", SAME, foldcase)            \
  DEFINE_COMPARISON(kind, ci_less, "-ci<?", LESS, foldcase)            \
  DEFINE_COMPARISON(kind, ci_more, "-ci>?", MORE, foldcase)            \
  DEFINE_COMPARISON(kind, ci_at_most, "-ci<=?", LESS | SAME, foldcase) \
  DEFINE_COMPARISON(kind, ci_at_least, "-ci>=?", MORE | SAME, foldcase)
DEFINE_COMPARISONS(char)
DEFINE_COMPARISONS(string)

/* --- primitives: characters ------------------------------------------------------------------ */

/* Of one character, c: what it is, or what becomes of it. */
#define DEFINE_CHARACTER(name, function, result) \
  DEFINE(name, function, 1, 1, is_char) {        \
    uint32_t c = char_value(arguments[0]);       \
    return result;                               \
  }
DEFINE_CHARACTER("char->integer", char_to_integer, fixnum((intptr_t)c))
DEFINE_CHARACTER("char-upcase", char_upcase, make_char(upcase(c)))
DEFINE_CHARACTER("char-downcase", char_downcase, make_char(downcase(c)))
DEFINE_CHARACTER("char-foldcase", char_foldcase, make_char(foldcase(c)))
DEFINE_CHARACTER("char-alphabetic?", char_alphabetic, boolean(IS_IN(c, alphabetic)))
DEFINE_CHARACTER("char-numeric?", char_numeric, boolean(digit_of(c) >= 0))
DEFINE_CHARACTER("char-whitespace?", char_whitespace, boolean(IS_IN(c, spaces)))
DEFINE_CHARACTER("char-upper-case?", char_upper_case, boolean(is_upper(c)))
DEFINE_CHARACTER("char-lower-case?", char_lower_case, boolean(is_lower(c)))
DEFINE_CHARACTER("digit-value", digit_value, digit_of(c) >= 0 ? fixnum(digit_of(c)) : SCM_FALSE)

DEFINE("integer->char", integer_to_char, 1, 1, is_fixnum) {
  if (!is_scalar(fixnum_value(arguments[0])))
    return out_of_range(vm, who, 1, arguments[0]);
  return make_char((uint32_t)fixnum_value(arguments[0]));
}

/* --- primitives: strings --------------------------------------------------------------------- */

DEFINE("make-string", make_string_filled, 1, 2, is_any, is_char) {
  size_t length;
  if (!index_argument(vm, who, 1, arguments[0], FIXNUM_MAX, &length))
    return 0;
  uint32_t c = count > 1 ? char_value(arguments[1]) : ' ';
  scm string = make_string(vm, length, width_for(c));
  for (size_t i = 0; string && i < length; i++)
    put(string, i, c);
  return string;
}

DEFINE("string-length", string_length, 1, 1, is_string) {
  return fixnum((intptr_t)string_of(arguments[0])->length);
}

DEFINE("string-ref", string_reference, 2, 2, is_string) {
  size_t at;
  return item_argument(vm, who, arguments, &at) ? make_char(string_ref(arguments[0], at)) : 0;
}

DEFINE("string-set!", string_set, 3, 3, is_string, is_any, is_char) {
  size_t at;
  return item_argument(vm, who, arguments, &at) &&
                 set_char(vm, arguments[0], at, char_value(arguments[2]))
             ? SCM_UNSPECIFIED
             : 0;
}

DEFINE("string-fill!", string_fill, 2, 4, is_string, is_char) {
  size_t start, end;
  if (!part_arguments(vm, who, count, arguments, 0, 2, &start, &end))
    return 0;
  for (size_t i = start; i < end; i++)
    if (!set_char(vm, arguments[0], i, char_value(arguments[1])))
      return 0;
  return SCM_UNSPECIFIED;
}

static scm copy_part(struct vm *vm, const char *who, int count, const scm *arguments) {
  size_t start, end;
  return part_arguments(vm, who, count, arguments, 0, 1, &start, &end)
             ? string_slice(vm, arguments[0], start, end)
             : 0;
}

DEFINE("string-copy", string_copy, 1, 3, is_string) { return copy_part(vm, who, count, arguments); }
DEFINE("substring", substring, 2, 3, is_string) { return copy_part(vm, who, count, arguments); }

/* What is wide may have no wide character in that part. */
DEFINE("string-copy!", string_copy_into, 3, 5, is_string, is_any, is_string) {
  size_t at, start, end;
  if (!copy_arguments(vm, who, count, arguments, &at, &start, &end))
    return 0;
  scm to = arguments[0], from = arguments[2];
  for (size_t i = start; i < end && string_width(to) < string_width(from); i++)
    if (!set_char(vm, to, at + i - start, string_ref(from, i)))
      return 0;
  copy_chars(to, at, from, start, end - start);
  return SCM_UNSPECIFIED;
}

DEFINE("string-append", string_append, 0, -1) {
  size_t total = 0, width = 1, at = 0;
  for (int i = 0; i < count; i++) {
    if (!is_string(arguments[i]))
      return wrong_type(vm, who, i + 1, arguments[i]);
    total += string_of(arguments[i])->length;
    if (string_width(arguments[i]) > width)
      width = 4;
  }
  scm whole = make_string(vm, total, width);
  for (int i = 0; whole && i < count; i++) {
    copy_chars(whole, at, arguments[i], 0, string_of(arguments[i])->length);
    at += string_of(arguments[i])->length;
  }
  return whole;
}

static scm map_string(struct vm *vm, scm string, map_fn map) {
  size_t length = string_of(string)->length;
  scm result = make_string(vm, length, 1);
  ROOTS(vm, (void *)&result);
  for (size_t i = 0; result && i < length; i++)
    if (!set_char(vm, result, i, map(string_ref(string, i))))
      return 0;
  return result;
}

DEFINE("string-upcase", string_upcase, 1, 1, is_string) {
  return map_string(vm, arguments[0], upcase);
}
DEFINE("string-downcase", string_downcase, 1, 1, is_string) {
  return map_string(vm, arguments[0], downcase);
}
DEFINE("string-foldcase", string_foldcase, 1, 1, is_string) {
  return map_string(vm, arguments[0], foldcase);
}

/* --- primitives: conversions ----------------------------------------------------------------- */

DEFINE("string", string_of_arguments, 0, -1) {
  scm string = all_are(vm, who, is_char, count, arguments) ? make_string(vm, (size_t)count, 1) : 0;
  ROOTS(vm, (void *)&string);
  for (int i = 0; string && i < count; i++)
    if (!set_char(vm, string, (size_t)i, char_value(arguments[i])))
      return 0;
  return string;
}

DEFINE("list->string", list_to_string, 1, 1) {
  scm list = arguments[0];
  intptr_t length = list_length(list);
  if (length < 0)
    return wrong_type(vm, who, 1, list);
  scm string = make_string(vm, (size_t)length, 1);
  ROOTS(vm, (void *)&string, (void *)&list);
  for (intptr_t i = 0; string && i < length && is_pair(list); i++, list = cdr(list)) {
    scm c = car(list);
    if (!is_char(c))
      return wrong_type(vm, who, 1, c);
    if (!set_char(vm, string, (size_t)i, char_value(c)))
      return 0;
  }
  return string;
}

DEFINE("string->list", string_to_list, 1, 3, is_string) {
  size_t start, end;
  scm list = SCM_NIL;
  if (!part_arguments(vm, who, count, arguments, 0, 1, &start, &end))
    return 0;
  while (end > start && list)
    list = cons(vm, make_char(string_ref(arguments[0], --end)), list);
  return list;
}

DEFINE("string->utf8", string_to_bytes, 1, 3, is_string) {
  size_t start, end;
  if (!part_arguments(vm, who, count, arguments, 0, 1, &start, &end))
    return 0;
  scm bytes = make_bytevector(vm, utf8_length(arguments[0], start, end));
  if (bytes)
    (void)write_utf8(arguments[0], start, end, (char *)bytevector_of(bytes)->bytes,
                     bytevector_of(bytes)->count);
  return bytes;
}

DEFINE("utf8->string", bytes_to_string, 1, 3, is_bytevector) {
  size_t start, end;
  if (!part_arguments(vm, who, count, arguments, 0, 1, &start, &end))
    return 0;
  return string_from_bytes(vm, (const char *)bytevector_of(arguments[0])->bytes + start,
                           end - start);
}

DEFINE("symbol->string", symbol_to_string, 1, 1, is_symbol) {
  scm name = symbol_of(arguments[0])->name;
  return string_slice(vm, name, 0, string_of(name)->length);
}

DEFINE("string->symbol", string_to_symbol, 1, 1, is_string) {
  return intern_string(vm, arguments[0]);
}

/* No two are the same, whatever their names; the number is for who reads them. */
DEFINE("gensym", generate_symbol, 0, 0) {
  static uint64_t number; /* atomic */
  char text[24];
  (void)snprintf(text, sizeof text, "g%llu",
                 (unsigned long long)__atomic_add_fetch(&number, 1, __ATOMIC_RELAXED));
  scm name = string_from(vm, text);
  return name ? make_uninterned(vm, name) : 0;
}
