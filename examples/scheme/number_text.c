/* SPDX-License-Identifier: MIT */
/*
 * number_text.c: numbers to text and back.
 *
 * A flonum is written with about as few digits as read back to it, and what is read becomes the
 * nearest flonum there is, as strtod reads it.  The process must leave LC_NUMERIC at "C", as
 * snprintf writes the point and strtod reads it.
 *
 * Text of the heap is not looked at any more once anything is allocated.
 */
#include "number.h"
#include <float.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>

#define MOST_ZEROS 300000000 /* of an exact number with an exponent: about what number.c allows */

/* --- numbers to text ------------------------------------------------------------------------- */

/* The shortest that reads back as the same.  What has 15 digits or fewer is found at once, for %g
 * leaves zeros at the end away; not so numbers so small that they have fewer digits themselves.  A
 * power of two may get 17 digits where 16 would do. */
static void flonum_text(double d, char *text, size_t size) {
  if (isnan(d) || isinf(d)) {
    (void)snprintf(text, size, "%s", isnan(d) ? "+nan.0" : d < 0 ? "-inf.0" : "+inf.0");
    return;
  }
  int digits = fabs(d) < DBL_MIN ? 1 : DBL_DIG;
  do
    (void)snprintf(text, size, "%.*g", digits, d);
  while (digits++ < DBL_DECIMAL_DIG && strtod(text, NULL) != d);
  if (!strpbrk(text, ".e"))
    (void)strcat(text, ".0");
}

/* The radix is of integers only. */
scm number_to_string(struct vm *vm, scm v, unsigned radix) {
  char small[72]; /* enough for a fixnum in any radix */
  mpz_t n;
  if (is_flonum(v)) {
    flonum_text(flonum_value(v), small, sizeof small);
    return string_from(vm, small);
  }
  init_integer(n, v);
  size_t size = mpz_sizeinbase(n, (int)radix) + 2;
  char *text = size <= sizeof small ? small : malloc(size);
  if (text)
    (void)mpz_get_str(text, (int)radix, n);
  mpz_clear(n);
  scm string = text ? string_from(vm, text) : out_of_memory(vm);
  if (text != small)
    free(text);
  return string;
}

/* False: not a radix, and the condition is set. */
static bool get_radix(struct vm *vm, const char *who, int count, const scm *arguments,
                      size_t *radix) {
  *radix = 10;
  if (count < 2)
    return true;
  return index_argument(vm, who, 2, arguments[1], 36, radix) &&
         (*radix >= 2 || out_of_range(vm, who, 2, arguments[1]));
}

DEFINE("number->string", number_to_text, 1, 2, is_number) {
  size_t radix;
  if (!get_radix(vm, who, count, arguments, &radix))
    return 0;
  if (is_flonum(arguments[0]) && radix != 10)
    return out_of_range(vm, who, 2, arguments[1]);
  return number_to_string(vm, arguments[0], (unsigned)radix);
}

/* --- text to numbers ------------------------------------------------------------------------- */

struct source { /* text that ends with a NUL, and what is known of it so far */
  char *at;
  unsigned radix;
  char exactness; /* e, i, or 0: not given */
  bool negative;
};

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c; }

static unsigned digit_value(char c) { /* of none: more than any radix */
  c = lower(c);
  if (c >= '0' && c <= '9')
    return (unsigned)(c - '0');
  return c >= 'a' && c <= 'z' ? (unsigned)(c - 'a') + 10 : 99;
}

static size_t count_digits(const char *text, unsigned radix) {
  size_t count = 0;
  while (digit_value(text[count]) < radix)
    count++;
  return count;
}

/* #x, #b, #o, #d; #e, #i: at most one of either sort. */
static bool parse_prefixes(struct source *s) {
  bool has_radix = false;
  for (; *s->at == '#'; s->at += 2) {
    char c = lower(s->at[1]);
    bool of_exactness = c == 'e' || c == 'i';
    if (of_exactness ? s->exactness : has_radix)
      return false;
    if (of_exactness)
      s->exactness = c;
    else if (c == 'x' || c == 'b' || c == 'o' || c == 'd')
      s->radix = c == 'x' ? 16 : c == 'b' ? 2 : c == 'o' ? 8 : 10;
    else
      return false;
    has_radix |= !of_exactness;
  }
  return true;
}

/* Digits, perhaps with a point and an exponent of ten, and nothing else? */
static bool is_decimal(const char *text) {
  size_t digits = count_digits(text, 10), after = 0;
  text += digits;
  if (*text == '.') {
    after = count_digits(text + 1, 10);
    text += 1 + after;
  }
  if (lower(*text) == 'e') {
    text += text[1] == '-' || text[1] == '+' ? 2 : 1;
    if (digit_value(*text) > 9)
      return false;
    text += count_digits(text, 10);
  }
  return digits + after > 0 && *text == '\0';
}

/* Multiplies by 10^exponent; false: that is no integer, or too large. */
static bool scale(mpz_ptr n, long exponent) {
  mpz_t power;
  if (mpz_sgn(n) == 0 || exponent == 0)
    return true;
  if (exponent > MOST_ZEROS || exponent < -(long)mpz_sizeinbase(n, 10))
    return false;
  mpz_init(power);
  mpz_ui_pow_ui(power, 10, (unsigned long)labs(exponent));
  bool whole = exponent > 0 || mpz_divisible_p(n, power);
  if (exponent > 0)
    mpz_mul(n, n, power);
  else if (whole)
    mpz_divexact(n, n, power);
  mpz_clear(power);
  return whole;
}

/* The point goes out of a decimal, and the exponent that is left for its digits comes back. */
static long split_decimal(char *text) {
  char *mark = strpbrk(text, "eE"), *point = strchr(text, '.');
  long exponent = mark ? strtol(mark + 1, NULL, 10) : 0;
  if (mark)
    *mark = '\0';
  if (!point)
    return exponent;
  long after = (long)strlen(point + 1);
  memmove(point, point + 1, (size_t)after + 1);
  return exponent < LONG_MIN + after ? LONG_MIN : exponent - after;
}

/* What follows prefixes and sign. */
static scm parse_magnitude(struct vm *vm, const struct source *s) {
  mpz_t n;
  bool whole = s->at[count_digits(s->at, s->radix)] == '\0';
  if (!whole && (s->radix != 10 || !is_decimal(s->at)))
    return SCM_FALSE;
  if (!whole && s->exactness != 'e') {
    double d = strtod(s->at, NULL);
    return make_flonum(vm, s->negative ? -d : d);
  }
  long exponent = whole ? 0 : split_decimal(s->at);
  (void)mpz_init_set_str(n, s->at, (int)s->radix);
  if (scale(n, exponent)) {
    if (s->negative)
      mpz_neg(n, n);
    return finish_integer(vm, "string->number", n, s->exactness == 'i');
  }
  mpz_clear(n);
  return SCM_FALSE;
}

static scm parse_text(struct vm *vm, struct source *s) {
  if (!parse_prefixes(s))
    return SCM_FALSE;
  if (*s->at == '+' || *s->at == '-') {
    s->negative = *s->at++ == '-';
    if (s->exactness != 'e' && strcasecmp(s->at, "inf.0") == 0)
      return make_flonum(vm, s->negative ? -(double)INFINITY : (double)INFINITY);
    if (s->exactness != 'e' && strcasecmp(s->at, "nan.0") == 0)
      return make_flonum(vm, (double)NAN);
  }
  return *s->at ? parse_magnitude(vm, s) : SCM_FALSE;
}

scm parse_number(struct vm *vm, const char *text, size_t length, unsigned radix) {
  char small[64];
  if (length == 0 || (digit_value(*text) >= radix && !strchr("+-.#", *text)))
    return SCM_FALSE; /* soon, for the reader asks about each symbol */
  if (memchr(text, '\0', length))
    return SCM_FALSE;
  char *copy = length < sizeof small ? small : malloc(length + 1);
  if (!copy)
    return out_of_memory(vm);
  memcpy(copy, text, length);
  copy[length] = '\0';
  scm number = parse_text(vm, &(struct source){.at = copy, .radix = radix});
  if (copy != small)
    free(copy);
  return number;
}

DEFINE("string->number", text_to_number, 1, 2, is_string) {
  size_t radix, bytes;
  if (!get_radix(vm, who, count, arguments, &radix))
    return 0;
  scm text = string_to_utf8(vm, arguments[0], &bytes);
  return text ? parse_number(vm, (const char *)text, bytes, (unsigned)radix) : 0;
}
