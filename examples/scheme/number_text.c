/* SPDX-License-Identifier: MIT */
/*
 * number_text.c: numbers to text and back.
 *
 * A flonum is written with about as few digits as read back to it, and what is read becomes the
 * nearest flonum there is: decimals are computed as exact fractions and rounded once.  The process
 * must leave LC_NUMERIC at "C", as snprintf writes the point.
 *
 * Text of the heap is not looked at any more once anything is allocated.
 */
#include "number.h"
#include <float.h>
#include <inttypes.h>
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
                      unsigned *radix) {
  *radix = 10;
  if (count < 2)
    return true;
  scm v = arguments[1];
  if (!is_fixnum(v))
    return wrong_type(vm, who, 2, v);
  if (fixnum_value(v) < 2 || fixnum_value(v) > 36)
    return out_of_range(vm, who, 2, v);
  *radix = (unsigned)fixnum_value(v);
  return true;
}

static scm number_to_text(struct vm *vm, int count, scm *arguments) {
  unsigned radix;
  if (!is_number(arguments[0]))
    return wrong_type(vm, "number->string", 1, arguments[0]);
  if (!get_radix(vm, "number->string", count, arguments, &radix))
    return 0;
  if (is_flonum(arguments[0]) && radix != 10)
    return out_of_range(vm, "number->string", 2, arguments[1]);
  return number_to_string(vm, arguments[0], radix);
}

/* --- text to numbers ------------------------------------------------------------------------- */

struct source { /* text, and what it was found to be so far */
  const char *at, *end;
  unsigned radix;
  char exactness; /* e, i, or 0: not given */
  bool negative;
  bool decimal;      /* has a point or an exponent */
  intmax_t exponent; /* of ten */
};

static char peek(const struct source *s) { return s->at < s->end ? *s->at : '\0'; }
static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c; }

static unsigned digit_value(char c) { /* of none: more than any radix */
  c = lower(c);
  if (c >= '0' && c <= '9')
    return (unsigned)(c - '0');
  return c >= 'a' && c <= 'z' ? (unsigned)(c - 'a') + 10 : 99;
}

/* #x, #b, #o, #d; #e, #i: at most one of either sort. */
static bool parse_prefixes(struct source *s) {
  bool has_radix = false;
  while (peek(s) == '#') {
    char c = s->end - s->at >= 2 ? lower(s->at[1]) : '\0';
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
    s->at += 2;
  }
  return true;
}

/* The digits from here are copied to `digits`; how many. */
static size_t parse_digits(struct source *s, char *digits) {
  size_t count = 0;
  while (digit_value(peek(s)) < s->radix)
    digits[count++] = *s->at++;
  return count;
}

/* An exponent that is too large for anything is not made larger. */
static bool parse_exponent(struct source *s) {
  intmax_t exponent = 0;
  s->at++;
  bool negative = peek(s) == '-';
  if (negative || peek(s) == '+')
    s->at++;
  if (digit_value(peek(s)) > 9)
    return false;
  for (; digit_value(peek(s)) <= 9; s->at++)
    if (exponent < INTMAX_C(1000000000000))
      exponent = exponent * 10 + (intmax_t)digit_value(*s->at);
  s->exponent += negative ? -exponent : exponent;
  return true;
}

/* Digits, perhaps with a point and an exponent; the digits alone to `digits`. */
static bool parse_decimal(struct source *s, char *digits) {
  size_t count = parse_digits(s, digits);
  if (s->radix == 10 && peek(s) == '.') {
    s->at++;
    size_t after = parse_digits(s, digits + count);
    s->exponent = -(intmax_t)after;
    s->decimal = true;
    count += after;
  }
  digits[count] = '\0';
  if (count > 0 && s->radix == 10 && lower(peek(s)) == 'e') {
    s->decimal = true;
    if (!parse_exponent(s))
      return false;
  }
  return count > 0 && s->at == s->end;
}

/* n * 10^exponent as the nearest double. */
static double scale(mpz_ptr n, intmax_t exponent) {
  intmax_t magnitude = (intmax_t)mpz_sizeinbase(n, 10) + exponent;
  mpz_t power;
  if (mpz_sgn(n) == 0 || magnitude < DBL_MIN_10_EXP - DBL_DECIMAL_DIG)
    return 0;
  if (magnitude > DBL_MAX_10_EXP + 2)
    return (double)INFINITY;
  mpz_init(power);
  mpz_ui_pow_ui(power, 10, (unsigned long)imaxabs(exponent));
  if (exponent >= 0) {
    mpz_mul(n, n, power);
    mpz_set_ui(power, 1);
  }
  double d = integer_ratio(n, power);
  mpz_clear(power);
  return d;
}

/* Multiplies by 10^exponent; false: that is no integer, or too large. */
static bool scale_exactly(mpz_ptr n, intmax_t exponent) {
  mpz_t power;
  if (mpz_sgn(n) == 0 || exponent == 0)
    return true;
  if (exponent > MOST_ZEROS || -exponent > (intmax_t)mpz_sizeinbase(n, 10))
    return false;
  mpz_init(power);
  mpz_ui_pow_ui(power, 10, (unsigned long)imaxabs(exponent));
  bool whole = exponent > 0 || mpz_divisible_p(n, power);
  if (exponent > 0)
    mpz_mul(n, n, power);
  else if (whole)
    mpz_divexact(n, n, power);
  mpz_clear(power);
  return whole;
}

/* What follows prefixes and sign.  `digits` has room for all of it, and a NUL. */
static scm parse_magnitude(struct vm *vm, struct source *s, char *digits) {
  mpz_t n;
  if (!parse_decimal(s, digits))
    return SCM_FALSE;
  (void)mpz_init_set_str(n, digits, (int)s->radix);
  if (s->exactness == 'i' || (s->decimal && s->exactness != 'e')) {
    double d = scale(n, s->exponent);
    mpz_clear(n);
    return make_flonum(vm, s->negative ? -d : d);
  }
  if (s->negative)
    mpz_neg(n, n);
  if (scale_exactly(n, s->exponent))
    return finish_integer(vm, "string->number", n, false);
  mpz_clear(n);
  return SCM_FALSE;
}

scm parse_number(struct vm *vm, const char *text, size_t length, unsigned radix) {
  struct source s = {.at = text, .end = text + length, .radix = radix};
  char small[64];
  if (!parse_prefixes(&s))
    return SCM_FALSE;
  if (peek(&s) == '+' || peek(&s) == '-') {
    s.negative = *s.at++ == '-';
    bool special = s.end - s.at == 5 && s.exactness != 'e';
    if (special && strncasecmp(s.at, "inf.0", 5) == 0)
      return make_flonum(vm, s.negative ? -(double)INFINITY : (double)INFINITY);
    if (special && strncasecmp(s.at, "nan.0", 5) == 0)
      return make_flonum(vm, (double)NAN);
  }
  if (digit_value(peek(&s)) >= s.radix && peek(&s) != '.')
    return SCM_FALSE; /* soon, for the reader asks about each symbol */
  char *digits = length < sizeof small ? small : malloc(length + 1);
  if (!digits)
    return out_of_memory(vm);
  scm number = parse_magnitude(vm, &s, digits);
  if (digits != small)
    free(digits);
  return number;
}

static scm text_to_number(struct vm *vm, int count, scm *arguments) {
  unsigned radix;
  size_t bytes;
  if (!is_string(arguments[0]))
    return wrong_type(vm, "string->number", 1, arguments[0]);
  if (!get_radix(vm, "string->number", count, arguments, &radix))
    return 0;
  scm text = string_to_utf8(vm, arguments[0], &bytes);
  return text ? parse_number(vm, (const char *)text, bytes, radix) : 0;
}

static const struct primitive_def defs[] = {
    {"number->string", number_to_text, 1, 2},
    {"string->number", text_to_number, 1, 2},
    {NULL, NULL, 0, 0},
};

void number_text_begin(struct vm *vm) { define_primitives(vm, defs); }
