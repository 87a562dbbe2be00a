/* SPDX-License-Identifier: MIT */
/*
 * string.c: strings and characters.
 *
 * A string is an object of fixed size with a block of characters beside it, one byte each (narrow)
 * or four (wide).  It is narrow until a character above U+00FF is put in: then the block is
 * replaced, and the string stays what it is.  Narrow and wide strings of the same characters are
 * equal and hash alike.  No pointer to the characters is kept across anything that may widen.
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

/* Steps over one character, or one bad byte. */
static uint32_t decode_utf8(const uint8_t **at, const uint8_t *end) {
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

static void put(scm string, size_t at, uint32_t c) {
  const struct string *s = string_of(string);
  if (s->width == 1)
    ((uint8_t *)s->chars)[at] = (uint8_t)c;
  else
    ((uint32_t *)s->chars)[at] = c;
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

/* Makes room for a character in a string, which is rooted. */
static bool make_wide_for(struct vm *vm, scm string, uint32_t c) {
  struct string *s = string_of(string);
  if (c <= 0xFF || s->width == 4)
    return true;
  if (s->length > SIZE_MAX / 8)
    return out_of_memory(vm);
  scm chars = make_block(vm, s->length * 4);
  if (!chars)
    return false;
  for (size_t i = 0; i < s->length; i++)
    ((uint32_t *)chars)[i] = ((const uint8_t *)s->chars)[i];
  store(vm, string, &s->chars, chars);
  s->width = 4;
  return true;
}

scm string_from_bytes(struct vm *vm, const char *utf8, size_t bytes) {
  const uint8_t *first = (const uint8_t *)utf8, *end = first + bytes;
  size_t length = 0;
  uint32_t bits = 0;
  for (const uint8_t *at = first; at < end; length++)
    bits |= decode_utf8(&at, end);
  scm string = make_string(vm, length, width_for(bits));
  for (size_t i = 0; string && i < length; i++)
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

static void write_utf8(scm string, size_t start, size_t end, char *out) {
  for (size_t i = start; i < end; i++)
    out += encode_utf8(string_ref(string, i), out);
}

scm string_to_utf8(struct vm *vm, scm string, size_t *bytes) {
  ROOTS(vm, (void *)&string);
  size_t length = string_of(string)->length, size = utf8_length(string, 0, length);
  scm block = make_block(vm, size + 1);
  if (!block)
    return 0;
  write_utf8(string, 0, length, (char *)block);
  if (bytes)
    *bytes = size;
  return block;
}

/* Copies between strings of which the first can hold what the second has; as memmove does. */
static void copy_chars(scm to, size_t at, scm from, size_t start, size_t count) {
  const struct string *t = string_of(to), *f = string_of(from);
  if (t->width == f->width)
    memmove((char *)t->chars + at * t->width, (const char *)f->chars + start * f->width,
            count * t->width);
  else /* so they are not the same string */
    for (size_t i = 0; i < count; i++)
      put(to, at + i, string_ref(from, start + i));
}

static scm slice(struct vm *vm, scm string, size_t start, size_t end) {
  ROOTS(vm, (void *)&string);
  scm copy = make_string(vm, end - start, string_of(string)->width);
  if (copy)
    copy_chars(copy, 0, string, start, end - start);
  return copy;
}

/* --- comparing ------------------------------------------------------------------------------- */

bool string_equal(scm a, scm b) {
  const struct string *s = string_of(a), *t = string_of(b);
  if (s->length != t->length)
    return false;
  if (s->width == t->width)
    return memcmp((const void *)s->chars, (const void *)t->chars, s->length * s->width) == 0;
  for (size_t i = 0; i < s->length; i++)
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

static bool is_alphabetic(uint32_t c) {
  static const uint32_t ranges[][2] = {
      {'A', 'Z'},       {'a', 'z'},       {0xAA, 0xAA},     {0xB5, 0xB5},     {0xBA, 0xBA},
      {0xC0, 0xD6},     {0xD8, 0xF6},     {0xF8, 0x2C1},    {0x370, 0x373},   {0x376, 0x377},
      {0x37B, 0x37D},   {0x37F, 0x37F},   {0x386, 0x386},   {0x388, 0x3F5},   {0x3F7, 0x481},
      {0x48A, 0x52F},   {0x531, 0x556},   {0x561, 0x587},   {0x5D0, 0x5EA},   {0x620, 0x64A},
      {0x671, 0x6D3},   {0x904, 0x939},   {0xE01, 0xE30},   {0x10A0, 0x10FF}, {0x1E00, 0x1FBC},
      {0x3041, 0x3096}, {0x30A1, 0x30FA}, {0x3400, 0x4DBF}, {0x4E00, 0x9FFF}, {0xAC00, 0xD7A3},
  };
  for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
    if (c >= ranges[i][0] && c <= ranges[i][1])
      return true;
  return false;
}

static bool is_space(uint32_t c) {
  return (c >= 9 && c <= 13) || c == ' ' || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

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

static bool is_numeric(uint32_t c) { return digit_of(c) >= 0; }

/* --- arguments ------------------------------------------------------------------------------- */

static bool get_index(struct vm *vm, const char *who, const scm *arguments, int at, size_t limit,
                      size_t *index) {
  scm given = arguments[at];
  if (!is_fixnum(given))
    return wrong_type(vm, who, at + 1, given);
  if (fixnum_value(given) < 0 || (size_t)fixnum_value(given) >= limit)
    return out_of_range(vm, who, at + 1, given);
  *index = (size_t)fixnum_value(given);
  return true;
}

bool get_range(struct vm *vm, const char *who, int count, const scm *arguments, int first,
               size_t length, size_t *start, size_t *end) {
  *start = 0;
  *end = length;
  return (count <= first + 1 || get_index(vm, who, arguments, first + 1, length + 1, end)) &&
         (count <= first || get_index(vm, who, arguments, first, *end + 1, start));
}

/* The same of a string, which is the argument before those. */
static bool get_part(struct vm *vm, const char *who, int count, const scm *arguments, int at,
                     size_t *start, size_t *end) {
  if (!is_string(arguments[at]))
    return wrong_type(vm, who, at + 1, arguments[at]);
  return get_range(vm, who, count, arguments, at + 1, string_of(arguments[at])->length, start, end);
}

/* --- primitives: characters ------------------------------------------------------------------ */

enum { LESS = 1, SAME = 2, MORE = 4 }; /* what the order of two may be, as bits */

typedef uint32_t (*map_fn)(uint32_t);

static uint32_t as_it_is(uint32_t c) { return c; }

static int order(uint32_t a, uint32_t b) { return a < b ? LESS : a > b ? MORE : SAME; }

static scm compare_chars(struct vm *vm, const char *who, int count, const scm *arguments,
                         int wanted, map_fn map) {
  bool result = true;
  for (int i = 0; i < count; i++) {
    if (!is_char(arguments[i]))
      return wrong_type(vm, who, i + 1, arguments[i]);
    if (i > 0 &&
        !(order(map(char_value(arguments[i - 1])), map(char_value(arguments[i]))) & wanted))
      result = false;
  }
  return boolean(result);
}

static int order_strings(scm a, scm b, map_fn map) {
  size_t m = string_of(a)->length, n = string_of(b)->length;
  for (size_t i = 0; i < m && i < n; i++) {
    uint32_t x = string_ref(a, i), y = string_ref(b, i);
    if (x != y && (x = map(x)) != (y = map(y)))
      return order(x, y);
  }
  return m < n ? LESS : m > n ? MORE : SAME;
}

static scm compare_strings(struct vm *vm, const char *who, int count, const scm *arguments,
                           int wanted, map_fn map) {
  bool result = true;
  for (int i = 0; i < count; i++) {
    if (!is_string(arguments[i]))
      return wrong_type(vm, who, i + 1, arguments[i]);
    if (i > 0 && result)
      result = order_strings(arguments[i - 1], arguments[i], map) & wanted;
  }
  return boolean(result);
}

/* Ten primitives: five orders, with case and without. */
#define COMPARISON(kind, suffix, name, wanted, map)                          \
  static scm kind##suffix(struct vm *vm, int count, scm *arguments) {        \
    return compare_##kind##s(vm, #kind name, count, arguments, wanted, map); \
  }
#define COMPARISONS(kind)                                        \
  COMPARISON(kind, _same, "=?", SAME, as_it_is)                  \
  COMPARISON(kind, _less, "<?", LESS, as_it_is)                  \
  COMPARISON(kind, _more, ">?", MORE, as_it_is)                  \
  COMPARISON(kind, _at_most, "<=?", LESS | SAME, as_it_is)       \
  COMPARISON(kind, _at_least, ">=?", MORE | SAME, as_it_is)      \
  COMPARISON(kind, _ci_same, "-ci=?", SAME, foldcase)            \
  COMPARISON(kind, _ci_less, "-ci<?", LESS, foldcase)            \
  COMPARISON(kind, _ci_more, "-ci>?", MORE, foldcase)            \
  COMPARISON(kind, _ci_at_most, "-ci<=?", LESS | SAME, foldcase) \
  COMPARISON(kind, _ci_at_least, "-ci>=?", MORE | SAME, foldcase)
COMPARISONS(char)
COMPARISONS(string)

#define COMPARISON_DEFS(kind)                                                         \
  {#kind "=?", kind##_same, 1, -1}, {#kind "<?", kind##_less, 1, -1},                 \
      {#kind ">?", kind##_more, 1, -1}, {#kind "<=?", kind##_at_most, 1, -1},         \
      {#kind ">=?", kind##_at_least, 1, -1}, {#kind "-ci=?", kind##_ci_same, 1, -1},  \
      {#kind "-ci<?", kind##_ci_less, 1, -1}, {#kind "-ci>?", kind##_ci_more, 1, -1}, \
      {#kind "-ci<=?", kind##_ci_at_most, 1, -1}, {                                   \
#kind "-ci>=?", kind##_ci_at_least, 1, -1                                         \
  }

/* Primitives of one character: what it is, or what becomes of it. */
#define CHARACTER(function, name, result)                         \
  static scm function(struct vm *vm, int count, scm *arguments) { \
    (void)count;                                                  \
    if (!is_char(arguments[0]))                                   \
      return wrong_type(vm, name, 1, arguments[0]);               \
    uint32_t c = char_value(arguments[0]);                        \
    return result;                                                \
  }
CHARACTER(char_to_integer, "char->integer", fixnum((intptr_t)c))
CHARACTER(char_upcase, "char-upcase", make_char(upcase(c)))
CHARACTER(char_downcase, "char-downcase", make_char(downcase(c)))
CHARACTER(char_foldcase, "char-foldcase", make_char(foldcase(c)))
CHARACTER(char_alphabetic, "char-alphabetic?", boolean(is_alphabetic(c)))
CHARACTER(char_numeric, "char-numeric?", boolean(is_numeric(c)))
CHARACTER(char_whitespace, "char-whitespace?", boolean(is_space(c)))
CHARACTER(char_upper_case, "char-upper-case?", boolean(is_upper(c)))
CHARACTER(char_lower_case, "char-lower-case?", boolean(is_lower(c)))
CHARACTER(digit_value, "digit-value", is_numeric(c) ? fixnum(digit_of(c)) : SCM_FALSE)

static scm char_p(struct vm *vm, int count, scm *arguments) {
  (void)vm, (void)count;
  return boolean(is_char(arguments[0]));
}

static scm integer_to_char(struct vm *vm, int count, scm *arguments) {
  (void)count;
  if (!is_fixnum(arguments[0]))
    return wrong_type(vm, "integer->char", 1, arguments[0]);
  if (!is_scalar(fixnum_value(arguments[0])))
    return out_of_range(vm, "integer->char", 1, arguments[0]);
  return make_char((uint32_t)fixnum_value(arguments[0]));
}

/* --- primitives: strings one character at a time --------------------------------------------- */

static scm string_p(struct vm *vm, int count, scm *arguments) {
  (void)vm, (void)count;
  return boolean(is_string(arguments[0]));
}

static scm make_string_filled(struct vm *vm, int count, scm *arguments) {
  size_t length;
  if (!get_index(vm, "make-string", arguments, 0, SIZE_MAX, &length))
    return 0;
  if (count > 1 && !is_char(arguments[1]))
    return wrong_type(vm, "make-string", 2, arguments[1]);
  uint32_t c = count > 1 ? char_value(arguments[1]) : ' ';
  scm string = make_string(vm, length, width_for(c));
  for (size_t i = 0; string && i < length; i++)
    put(string, i, c);
  return string;
}

static scm string_length(struct vm *vm, int count, scm *arguments) {
  (void)count;
  if (!is_string(arguments[0]))
    return wrong_type(vm, "string-length", 1, arguments[0]);
  return fixnum((intptr_t)string_of(arguments[0])->length);
}

static scm string_reference(struct vm *vm, int count, scm *arguments) {
  size_t at;
  (void)count;
  if (!is_string(arguments[0]))
    return wrong_type(vm, "string-ref", 1, arguments[0]);
  if (!get_index(vm, "string-ref", arguments, 1, string_of(arguments[0])->length, &at))
    return 0;
  return make_char(string_ref(arguments[0], at));
}

static scm string_set(struct vm *vm, int count, scm *arguments) {
  size_t at;
  (void)count;
  if (!is_string(arguments[0]))
    return wrong_type(vm, "string-set!", 1, arguments[0]);
  if (!get_index(vm, "string-set!", arguments, 1, string_of(arguments[0])->length, &at))
    return 0;
  if (!is_char(arguments[2]))
    return wrong_type(vm, "string-set!", 3, arguments[2]);
  if (!make_wide_for(vm, arguments[0], char_value(arguments[2])))
    return 0;
  put(arguments[0], at, char_value(arguments[2]));
  return SCM_UNSPECIFIED;
}

static scm string_fill(struct vm *vm, int count, scm *arguments) {
  size_t start, end, length;
  if (!is_string(arguments[0]))
    return wrong_type(vm, "string-fill!", 1, arguments[0]);
  length = string_of(arguments[0])->length;
  if (!is_char(arguments[1]))
    return wrong_type(vm, "string-fill!", 2, arguments[1]);
  uint32_t c = char_value(arguments[1]);
  if (!get_range(vm, "string-fill!", count, arguments, 2, length, &start, &end) ||
      (start < end && !make_wide_for(vm, arguments[0], c)))
    return 0;
  for (size_t i = start; i < end; i++)
    put(arguments[0], i, c);
  return SCM_UNSPECIFIED;
}

/* --- primitives: parts and wholes ------------------------------------------------------------ */

static scm string_copy(struct vm *vm, int count, scm *arguments) {
  size_t start, end;
  if (!get_part(vm, "string-copy", count, arguments, 0, &start, &end))
    return 0;
  return slice(vm, arguments[0], start, end);
}

static scm substring(struct vm *vm, int count, scm *arguments) {
  size_t start, end;
  if (!get_part(vm, "substring", count, arguments, 0, &start, &end))
    return 0;
  return slice(vm, arguments[0], start, end);
}

/* (string-copy! to at from [start [end]]) */
static scm string_copy_into(struct vm *vm, int count, scm *arguments) {
  size_t at, start, end;
  uint32_t bits = 0;
  if (!is_string(arguments[0]))
    return wrong_type(vm, "string-copy!", 1, arguments[0]);
  size_t length = string_of(arguments[0])->length;
  if (!get_index(vm, "string-copy!", arguments, 1, length + 1, &at) ||
      !get_part(vm, "string-copy!", count, arguments, 2, &start, &end))
    return 0;
  if (end - start > length - at)
    return out_of_range(vm, "string-copy!", 2, arguments[1]);
  for (size_t i = start; i < end; i++)
    bits |= string_ref(arguments[2], i);
  if (!make_wide_for(vm, arguments[0], bits))
    return 0;
  copy_chars(arguments[0], at, arguments[2], start, end - start);
  return SCM_UNSPECIFIED;
}

static scm string_append(struct vm *vm, int count, scm *arguments) {
  size_t length = 0, width = 1, at = 0;
  for (int i = 0; i < count; i++) {
    if (!is_string(arguments[i]))
      return wrong_type(vm, "string-append", i + 1, arguments[i]);
    length += string_of(arguments[i])->length;
    if (string_of(arguments[i])->width > width)
      width = 4;
  }
  scm whole = make_string(vm, length, width);
  for (int i = 0; whole && i < count; i++) {
    copy_chars(whole, at, arguments[i], 0, string_of(arguments[i])->length);
    at += string_of(arguments[i])->length;
  }
  return whole;
}

/* (string-join list [delimiter]): a space, unless another is given. */
static scm string_join(struct vm *vm, int count, scm *arguments) {
  scm between = count > 1 ? arguments[1] : SCM_FALSE;
  if (list_length(arguments[0]) < 0)
    return wrong_type(vm, "string-join", 1, arguments[0]);
  ROOTS(vm, (void *)&between);
  if (count < 2 && !(between = string_from(vm, " ")))
    return 0;
  if (!is_string(between))
    return wrong_type(vm, "string-join", 2, between);
  size_t gap = string_of(between)->length, length = 0, width = string_of(between)->width, at = 0;
  for (scm list = arguments[0]; list != SCM_NIL; list = cdr(list)) {
    if (!is_string(car(list)))
      return wrong_type(vm, "string-join", 1, car(list));
    length += string_of(car(list))->length + (cdr(list) != SCM_NIL ? gap : 0);
    if (string_of(car(list))->width > width)
      width = 4;
  }
  scm whole = make_string(vm, length, width);
  for (scm list = arguments[0]; whole && list != SCM_NIL; list = cdr(list)) {
    copy_chars(whole, at, car(list), 0, string_of(car(list))->length);
    at += string_of(car(list))->length;
    if (cdr(list) != SCM_NIL)
      copy_chars(whole, at, between, 0, gap);
    at += gap;
  }
  return whole;
}

/* (string-split string char): from the end, so that the list grows at its front. */
static scm string_split(struct vm *vm, int count, scm *arguments) {
  scm string = arguments[0], list = SCM_NIL;
  (void)count;
  if (!is_string(string))
    return wrong_type(vm, "string-split", 1, string);
  if (!is_char(arguments[1]))
    return wrong_type(vm, "string-split", 2, arguments[1]);
  ROOTS(vm, (void *)&list);
  for (size_t end = string_of(string)->length, start = end;; start--)
    if (start == 0 || string_ref(string, start - 1) == char_value(arguments[1])) {
      scm piece = slice(vm, string, start, end);
      if (!piece || !(list = cons(vm, piece, list)) || start == 0)
        return piece ? list : 0;
      end = start - 1;
    }
}

static scm map_string(struct vm *vm, const char *who, scm string, map_fn map) {
  uint32_t bits = 0;
  if (!is_string(string))
    return wrong_type(vm, who, 1, string);
  size_t length = string_of(string)->length;
  for (size_t i = 0; i < length; i++)
    bits |= map(string_ref(string, i));
  scm result = make_string(vm, length, width_for(bits));
  for (size_t i = 0; result && i < length; i++)
    put(result, i, map(string_ref(string, i)));
  return result;
}

static scm string_upcase(struct vm *vm, int count, scm *arguments) {
  (void)count;
  return map_string(vm, "string-upcase", arguments[0], upcase);
}
static scm string_downcase(struct vm *vm, int count, scm *arguments) {
  (void)count;
  return map_string(vm, "string-downcase", arguments[0], downcase);
}
static scm string_foldcase(struct vm *vm, int count, scm *arguments) {
  (void)count;
  return map_string(vm, "string-foldcase", arguments[0], foldcase);
}

/* --- primitives: looking for something ------------------------------------------------------- */

/* (string-index string char [start [end]]) */
static scm string_index(struct vm *vm, int count, scm *arguments) {
  size_t start, end;
  if (!is_string(arguments[0]))
    return wrong_type(vm, "string-index", 1, arguments[0]);
  if (!is_char(arguments[1]))
    return wrong_type(vm, "string-index", 2, arguments[1]);
  if (!get_range(vm, "string-index", count, arguments, 2, string_of(arguments[0])->length, &start,
                 &end))
    return 0;
  for (size_t i = start; i < end; i++)
    if (string_ref(arguments[0], i) == char_value(arguments[1]))
      return fixnum((intptr_t)i);
  return SCM_FALSE;
}

static bool matches(scm pattern, size_t length, scm string, size_t at) {
  for (size_t i = 0; i < length; i++)
    if (string_ref(pattern, i) != string_ref(string, at + i))
      return false;
  return true;
}

/* (string-search-forward pattern string [start]) */
static scm string_search_forward(struct vm *vm, int count, scm *arguments) {
  size_t start, end;
  if (!is_string(arguments[0]))
    return wrong_type(vm, "string-search-forward", 1, arguments[0]);
  if (!get_part(vm, "string-search-forward", count, arguments, 1, &start, &end))
    return 0;
  size_t length = string_of(arguments[0])->length;
  for (; start + length <= end; start++)
    if (matches(arguments[0], length, arguments[1], start))
      return fixnum((intptr_t)start);
  return SCM_FALSE;
}

static scm string_hash_value(struct vm *vm, int count, scm *arguments) {
  (void)count;
  if (!is_string(arguments[0]))
    return wrong_type(vm, "string-hash", 1, arguments[0]);
  return fixnum((intptr_t)(string_hash(arguments[0]) >> 2));
}

/* --- primitives: conversions ----------------------------------------------------------------- */

/* `argument`: which one the items come from; 0: each is one itself. */
static scm string_from_chars(struct vm *vm, const char *who, int argument, const scm *items,
                             size_t length) {
  uint32_t bits = 0;
  for (size_t i = 0; i < length; i++) {
    if (!is_char(items[i]))
      return wrong_type(vm, who, argument ? argument : (int)i + 1, items[i]);
    bits |= char_value(items[i]);
  }
  scm string = make_string(vm, length, width_for(bits));
  for (size_t i = 0; string && i < length; i++)
    put(string, i, char_value(items[i]));
  return string;
}

static scm string_of_arguments(struct vm *vm, int count, scm *arguments) {
  return string_from_chars(vm, "string", 0, arguments, (size_t)count);
}

static scm vector_to_string(struct vm *vm, int count, scm *arguments) {
  size_t start, end;
  if (!is_vector(arguments[0]))
    return wrong_type(vm, "vector->string", 1, arguments[0]);
  if (!get_range(vm, "vector->string", count, arguments, 1, vector_of(arguments[0])->count, &start,
                 &end))
    return 0;
  return string_from_chars(vm, "vector->string", 1, vector_of(arguments[0])->items + start,
                           end - start);
}

static scm string_to_vector(struct vm *vm, int count, scm *arguments) {
  size_t start, end;
  if (!get_part(vm, "string->vector", count, arguments, 0, &start, &end))
    return 0;
  scm vector = make_vector(vm, end - start, SCM_FALSE);
  for (size_t i = start; vector && i < end; i++)
    vector_of(vector)->items[i - start] = make_char(string_ref(arguments[0], i));
  return vector;
}

static scm list_to_string(struct vm *vm, int count, scm *arguments) {
  uint32_t bits = 0;
  (void)count;
  intptr_t length = list_length(arguments[0]);
  if (length < 0)
    return wrong_type(vm, "list->string", 1, arguments[0]);
  for (scm list = arguments[0]; list != SCM_NIL; list = cdr(list)) {
    if (!is_char(car(list)))
      return wrong_type(vm, "list->string", 1, car(list));
    bits |= char_value(car(list));
  }
  scm string = make_string(vm, (size_t)length, width_for(bits)), list = arguments[0];
  for (size_t i = 0; string && list != SCM_NIL; list = cdr(list))
    put(string, i++, char_value(car(list)));
  return string;
}

static scm string_to_list(struct vm *vm, int count, scm *arguments) {
  size_t start, end;
  scm list = SCM_NIL;
  if (!get_part(vm, "string->list", count, arguments, 0, &start, &end))
    return 0;
  while (end > start && list)
    list = cons(vm, make_char(string_ref(arguments[0], --end)), list);
  return list;
}

static scm string_to_bytes(struct vm *vm, int count, scm *arguments) {
  size_t start, end;
  if (!get_part(vm, "string->utf8", count, arguments, 0, &start, &end))
    return 0;
  scm bytes = make_bytevector(vm, utf8_length(arguments[0], start, end));
  if (bytes)
    write_utf8(arguments[0], start, end, (char *)bytevector_of(bytes)->bytes);
  return bytes;
}

static scm bytes_to_string(struct vm *vm, int count, scm *arguments) {
  size_t start, end;
  if (!is_bytevector(arguments[0]))
    return wrong_type(vm, "utf8->string", 1, arguments[0]);
  const struct bytevector *bytes = bytevector_of(arguments[0]);
  if (!get_range(vm, "utf8->string", count, arguments, 1, bytes->count, &start, &end))
    return 0;
  return string_from_bytes(vm, (const char *)bytes->bytes + start, end - start);
}

/* --- primitives: symbols --------------------------------------------------------------------- */

static scm symbol_p(struct vm *vm, int count, scm *arguments) {
  (void)vm, (void)count;
  return boolean(is_symbol(arguments[0]));
}

static scm symbol_same(struct vm *vm, int count, scm *arguments) {
  bool result = true;
  for (int i = 0; i < count; i++) {
    if (!is_symbol(arguments[i]))
      return wrong_type(vm, "symbol=?", i + 1, arguments[i]);
    result = result && arguments[i] == arguments[0];
  }
  return boolean(result);
}

static scm symbol_to_string(struct vm *vm, int count, scm *arguments) {
  (void)count;
  if (!is_symbol(arguments[0]))
    return wrong_type(vm, "symbol->string", 1, arguments[0]);
  scm name = symbol_of(arguments[0])->name;
  return slice(vm, name, 0, string_of(name)->length);
}

static scm string_to_symbol(struct vm *vm, int count, scm *arguments) {
  (void)count;
  if (!is_string(arguments[0]))
    return wrong_type(vm, "string->symbol", 1, arguments[0]);
  return intern_string(vm, arguments[0]);
}

/* No two are the same, whatever their names; the number is for who reads them. */
static scm generate_symbol(struct vm *vm, int count, scm *arguments) {
  static uint64_t number; /* atomic */
  char text[24];
  (void)count, (void)arguments;
  (void)snprintf(text, sizeof text, "g%llu",
                 (unsigned long long)__atomic_add_fetch(&number, 1, __ATOMIC_RELAXED));
  scm name = string_from(vm, text);
  return name ? make_uninterned(vm, name) : 0;
}

static const struct primitive_def defs[] = {
    COMPARISON_DEFS(char),
    COMPARISON_DEFS(string),
    {"char?", char_p, 1, 1},
    {"char->integer", char_to_integer, 1, 1},
    {"integer->char", integer_to_char, 1, 1},
    {"char-upcase", char_upcase, 1, 1},
    {"char-downcase", char_downcase, 1, 1},
    {"char-foldcase", char_foldcase, 1, 1},
    {"char-alphabetic?", char_alphabetic, 1, 1},
    {"char-numeric?", char_numeric, 1, 1},
    {"char-whitespace?", char_whitespace, 1, 1},
    {"char-upper-case?", char_upper_case, 1, 1},
    {"char-lower-case?", char_lower_case, 1, 1},
    {"digit-value", digit_value, 1, 1},
    {"string?", string_p, 1, 1},
    {"make-string", make_string_filled, 1, 2},
    {"string", string_of_arguments, 0, -1},
    {"string-length", string_length, 1, 1},
    {"string-ref", string_reference, 2, 2},
    {"string-set!", string_set, 3, 3},
    {"string-fill!", string_fill, 2, 4},
    {"string-copy", string_copy, 1, 3},
    {"substring", substring, 2, 3},
    {"string-copy!", string_copy_into, 3, 5},
    {"string-append", string_append, 0, -1},
    {"string-join", string_join, 1, 2},
    {"string-split", string_split, 2, 2},
    {"string-upcase", string_upcase, 1, 1},
    {"string-downcase", string_downcase, 1, 1},
    {"string-foldcase", string_foldcase, 1, 1},
    {"string-index", string_index, 2, 4},
    {"string-search-forward", string_search_forward, 2, 3},
    {"string-hash", string_hash_value, 1, 1},
    {"string->vector", string_to_vector, 1, 3},
    {"vector->string", vector_to_string, 1, 3},
    {"string->list", string_to_list, 1, 3},
    {"list->string", list_to_string, 1, 1},
    {"string->utf8", string_to_bytes, 1, 3},
    {"utf8->string", bytes_to_string, 1, 3},
    {"symbol?", symbol_p, 1, 1},
    {"symbol=?", symbol_same, 1, -1},
    {"symbol->string", symbol_to_string, 1, 1},
    {"string->symbol", string_to_symbol, 1, 1},
    {"generate-symbol", generate_symbol, 0, 0},
    {"gensym", generate_symbol, 0, 0},
    {NULL, NULL, 0, 0},
};

void string_begin(struct vm *vm) { define_primitives(vm, defs); }
