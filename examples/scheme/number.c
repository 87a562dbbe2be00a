/* SPDX-License-Identifier: MIT */
/*
 * number.c: integers of any size, and flonums.  Their text is number_text.c's.
 *
 * An exact number is an integer: a fixnum if it fits, else a bignum, never a bignum that would fit.
 * There are no exact fractions, so (/ 1 2) is 0.5, and no complex numbers, so (sqrt -1) is +nan.0.
 *
 * A bignum is an object around an mpz_t of GMP, whose digits lie in malloc's memory: the type's
 * free function gives them back, and the world is told how many bytes there are, as they are
 * reason to collect too.  Bignums never change once made.
 *
 * Everything here first computes, in mpz_t of the C stack, and makes the one object of the result
 * last: `finish_integer`.  What was computed from is not needed any more then, so nearly nothing is
 * rooted.
 *
 * GMP ends the process if it finds no memory, so results above MAX_BITS are refused.  It is no
 * safepoint either: a collection waits for a long multiplication.
 */
#include "number.h"
#include <math.h>

#define MAX_BITS ((size_t)1 << 30) /* of an integer: 128 MB */

struct bignum {
  const tarn_type *type;
  mpz_t n;
};

/* --- making numbers -------------------------------------------------------------------------- */

static ptrdiff_t bytes_of(const struct bignum *bignum) {
  return (ptrdiff_t)(mpz_size(bignum->n) * sizeof(mp_limb_t));
}

static void free_bignum(tarn_world *of, void *object) {
  struct bignum *bignum = object;
  if (mpz_size(bignum->n) == 0)
    return; /* it never got its digits, and is all zeros */
  (void)tarn_external_adjust(of, -bytes_of(bignum));
  mpz_clear(bignum->n);
}

void number_types(void) {
  types.bignum = make_type("bignum", sizeof(struct bignum), 0, free_bignum);
}

static bool is_bignum(scm v) { return has_type(v, types.bignum); }
static mpz_srcptr bignum_digits(scm v) { return ((const struct bignum *)v)->n; }

bool is_integer_object(scm v) { return is_fixnum(v) || is_bignum(v); }
bool is_flonum(scm v) { return is_flonum_word(v) || has_type(v, types.flonum); }
bool is_number(scm v) { return is_fixnum(v) || is_flonum(v) || is_bignum(v); }

double flonum_value(scm v) {
  return is_flonum_word(v) ? flonum_word_value(v) : ((const struct flonum *)v)->value;
}

/* There is one NaN, so that eqv? finds it equal to itself. */
scm make_flonum(struct vm *vm, double d) {
  scm word = flonum_word(d);
  if (word)
    return word;
  struct flonum *flonum = make_object(vm, types.flonum);
  if (flonum)
    flonum->value = isnan(d) ? (double)NAN : d;
  return (scm)flonum;
}

static scm too_large(struct vm *vm, const char *who) {
  return raise_error(vm, "memory", who, "the result is too large", 0);
}

static scm division_by_zero(struct vm *vm, const char *who, scm dividend) {
  return raise_error(vm, "out-of-range", who, "division by zero", 1, dividend);
}

static double nearest(mpz_srcptr n, bool more, int exponent);

/* The number `n` as a value, exact or not.  `n` is cleared. */
scm finish_integer(struct vm *vm, const char *who, mpz_ptr n, bool inexact) {
  scm result;
  if (inexact)
    result = make_flonum(vm, nearest(n, false, 0));
  else if (mpz_fits_slong_p(n) && fits_fixnum(mpz_get_si(n)))
    result = fixnum(mpz_get_si(n));
  else if (mpz_sizeinbase(n, 2) > MAX_BITS)
    result = too_large(vm, who);
  else {
    struct bignum *bignum = make_object(vm, types.bignum);
    if (bignum) {
      mpz_init(bignum->n);
      mpz_swap(bignum->n, n);
      (void)tarn_external_adjust(world, bytes_of(bignum));
    }
    result = (scm)bignum;
  }
  mpz_clear(n);
  return result;
}

scm make_integer(struct vm *vm, intptr_t n) {
  mpz_t big;
  if (fits_fixnum(n))
    return fixnum(n);
  mpz_init_set_si(big, n);
  return finish_integer(vm, NULL, big, false);
}

/* --- looking at numbers ---------------------------------------------------------------------- */

/* An exact integer as GMP wants it, to read only: a bignum's own, or a fixnum in a limb here. */
struct operand {
  mpz_t n;
  mp_limb_t limb;
};
static mpz_srcptr operand(struct operand *o, scm v) {
  if (!is_fixnum(v))
    return bignum_digits(v);
  intptr_t n = fixnum_value(v);
  o->limb = n < 0 ? -(mp_limb_t)n : (mp_limb_t)n;
  return mpz_roinit_n(o->n, &o->limb, n < 0 ? -1 : n > 0);
}

/* A copy of an integer of any kind, flonums too. */
void init_integer(mpz_ptr n, scm v) {
  if (is_fixnum(v))
    mpz_init_set_si(n, fixnum_value(v));
  else if (is_bignum(v))
    mpz_init_set(n, bignum_digits(v));
  else
    mpz_init_set_d(n, flonum_value(v));
}

/* `n` times 2^exponent as the nearest double, to the even one of two; mpz_get_d would cut off.
 * `more`: bits below the last one of `n` were lost, and not all were zero. */
static double nearest(mpz_srcptr n, bool more, int exponent) {
  size_t bits = mpz_sizeinbase(n, 2), shift = bits > 64 ? bits - 64 : 0;
  mpz_t high;
  mpz_init(high);
  mpz_tdiv_q_2exp(high, n, shift);
  more |= shift && mpz_scan1(n, 0) < shift;
  double d = ldexp((double)(mpz_getlimbn(high, 0) | more), exponent + (int)shift);
  mpz_clear(high);
  return mpz_sgn(n) < 0 ? -d : d;
}

/* a / b as the nearest double.  The quotient has 64 bits or more, but where the result is so small
 * that a double keeps fewer: then it ends two bits after the double's last. */
static double integer_ratio(mpz_srcptr a, mpz_srcptr b) {
  ptrdiff_t shift = 66 + (ptrdiff_t)mpz_sizeinbase(b, 2) - (ptrdiff_t)mpz_sizeinbase(a, 2);
  mpz_t quotient, rest;
  shift = shift < 0 ? 0 : shift > 1076 ? 1076 : shift;
  mpz_inits(quotient, rest, NULL);
  mpz_mul_2exp(quotient, a, (mp_bitcnt_t)shift);
  mpz_tdiv_qr(quotient, rest, quotient, b);
  double d = nearest(quotient, mpz_sgn(rest) != 0, -(int)shift);
  mpz_clears(quotient, rest, NULL);
  return d;
}

double number_to_double(scm v) {
  if (is_fixnum(v))
    return (double)fixnum_value(v);
  return is_bignum(v) ? nearest(bignum_digits(v), false, 0) : flonum_value(v);
}

bool integer_to_int64(scm v, int64_t *out) {
  struct operand x;
  mpz_srcptr n = operand(&x, v);
  *out = mpz_get_si(n);
  return mpz_fits_slong_p(n);
}

static bool is_integral(scm v) {
  if (!is_flonum(v))
    return is_integer_object(v);
  double d = flonum_value(v);
  return isfinite(d) && d == trunc(d);
}

static bool is_finite(scm v) { return !is_flonum(v) || isfinite(flonum_value(v)); }
static bool is_nan(scm v) { return is_flonum(v) && isnan(flonum_value(v)); }

static bool is_odd(scm v) { /* of an integer */
  if (is_fixnum(v))
    return fixnum_value(v) & 1;
  return is_bignum(v) ? mpz_odd_p(bignum_digits(v)) : fmod(flonum_value(v), 2) != 0;
}

/* --- comparison ------------------------------------------------------------------------------ */

/* As number_compare, of two numbers.  Exact: nothing is rounded to a double. */
static int compare(scm a, scm b) {
  struct operand x, y;
  if (is_fixnum(a) && is_fixnum(b))
    return (fixnum_value(a) > fixnum_value(b)) - (fixnum_value(a) < fixnum_value(b));
  if (is_nan(a) || is_nan(b))
    return 2;
  if (is_flonum(a) && is_flonum(b))
    return (flonum_value(a) > flonum_value(b)) - (flonum_value(a) < flonum_value(b));
  int order = is_flonum(b)   ? mpz_cmp_d(operand(&x, a), flonum_value(b))
              : is_flonum(a) ? -mpz_cmp_d(operand(&y, b), flonum_value(a))
                             : mpz_cmp(operand(&x, a), operand(&y, b));
  return (order > 0) - (order < 0);
}

int number_compare(struct vm *vm, scm a, scm b, const char *who) {
  return all_are(vm, who, is_number, 2, (const scm[]){a, b}) ? compare(a, b) : -2;
}

bool number_equal(scm a, scm b) {
  if (a == b)
    return true;
  if (is_bignum(a) && is_bignum(b))
    return mpz_cmp(bignum_digits(a), bignum_digits(b)) == 0;
  if (!has_type(a, types.flonum) || !has_type(b, types.flonum))
    return false;
  double x = flonum_value(a), y = flonum_value(b);
  return memcmp(&x, &y, sizeof x) == 0;
}

static uint64_t mix(uint64_t h) {
  h = (h ^ h >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
  h = (h ^ h >> 27) * UINT64_C(0x94d049bb133111eb);
  return h ^ h >> 31;
}

uint64_t number_hash(scm v) {
  uint64_t hash = v;
  if (is_bignum(v)) {
    hash = (uint64_t)mpz_sgn(bignum_digits(v));
    for (size_t i = 0; i < mpz_size(bignum_digits(v)); i++)
      hash = mix(hash ^ mpz_getlimbn(bignum_digits(v), (mp_size_t)i));
  } else if (is_object(v)) {
    memcpy(&hash, &((const struct flonum *)v)->value, sizeof hash);
  }
  return mix(hash);
}

/* `accepted`: bit n + 1 for the order n of neighbours. */
static scm compare_all(struct vm *vm, const char *who, unsigned accepted, int count,
                       const scm *arguments) {
  bool holds = true;
  if (!all_are(vm, who, is_number, count, arguments))
    return 0;
  for (int i = 1; holds && i < count; i++)
    holds = accepted >> (compare(arguments[i - 1], arguments[i]) + 1) & 1;
  return boolean(holds);
}

DEFINE("<", less, 1, -1) { return compare_all(vm, who, 1, count, arguments); }
DEFINE("=", equal, 1, -1) { return compare_all(vm, who, 2, count, arguments); }
DEFINE("<=", not_greater, 1, -1) { return compare_all(vm, who, 1 | 2, count, arguments); }
DEFINE(">", greater, 1, -1) { return compare_all(vm, who, 4, count, arguments); }
DEFINE(">=", not_less, 1, -1) { return compare_all(vm, who, 4 | 2, count, arguments); }

/* The argument of the order `wanted` to all others; inexact if any argument is. */
static scm extreme(struct vm *vm, const char *who, int wanted, int count, const scm *arguments) {
  scm found = arguments[0];
  bool inexact = false;
  if (!all_are(vm, who, is_number, count, arguments))
    return 0;
  for (int i = 0; i < count; i++) {
    scm v = arguments[i];
    inexact |= is_flonum(v);
    if (!is_nan(found) && (is_nan(v) || compare(v, found) == wanted))
      found = v;
  }
  return inexact ? make_flonum(vm, number_to_double(found)) : found;
}

DEFINE("max", maximum, 1, -1) { return extreme(vm, who, 1, count, arguments); }
DEFINE("min", minimum, 1, -1) { return extreme(vm, who, -1, count, arguments); }

/* --- predicates ------------------------------------------------------------------------------ */

DEFINE_PREDICATE("number?", number_p, is_number(v))
DEFINE_PREDICATE("integer?", integer_p, is_integral(v))
DEFINE_PREDICATE("exact-integer?", exact_integer_p, is_integer_object(v))

/* Where other arguments than those that `domain` accepts are errors. */
#define TEST(name, function, domain, test) \
  DEFINE(name, function, 1, 1, domain) {   \
    const scm v = arguments[0];            \
    return boolean(test);                  \
  }
TEST("exact?", exact_p, is_number, is_integer_object(v))
TEST("nan?", nan_p, is_number, is_nan(v))
TEST("finite?", finite_p, is_number, is_finite(v))
TEST("zero?", zero_p, is_number, compare(v, fixnum(0)) == 0)
TEST("odd?", odd_p, is_integral, is_odd(v))
TEST("even?", even_p, is_integral, !is_odd(v))

/* --- sums and products ----------------------------------------------------------------------- */

typedef void (*integers_fn)(mpz_ptr, mpz_srcptr, mpz_srcptr);
enum operator{ ADD, SUBTRACT, MULTIPLY };

/* False: it does not fit. */
static bool combine_words(enum operator operator, intptr_t a, intptr_t b, intptr_t *result) {
  return !(operator== ADD      ? __builtin_add_overflow(a, b, result) :
           operator== SUBTRACT ? __builtin_sub_overflow(a, b, result)
                               : __builtin_mul_overflow(a, b, result));
}

static double combine_doubles(enum operator operator, double a, double b) {
  return operator== ADD ? a + b : operator== SUBTRACT ? a - b : a * b;
}

static scm combine(struct vm *vm, enum operator operator, scm a, scm b) {
  static const char *const names[] = {"+", "-", "*"};
  static const integers_fn combine_integers[] = {mpz_add, mpz_sub, mpz_mul};
  struct operand x, y;
  intptr_t word;
  mpz_t result;
  if (is_fixnum(a) && is_fixnum(b) &&
      combine_words(operator, fixnum_value(a), fixnum_value(b), &word))
    return make_integer(vm, word);
  if (!all_are(vm, names[operator], is_number, 2, (const scm[]){a, b}))
    return 0;
  if (is_flonum(a) || is_flonum(b))
    return make_flonum(vm, combine_doubles(operator, number_to_double(a), number_to_double(b)));
  mpz_init(result);
  combine_integers[operator](result, operand(&x, a), operand(&y, b));
  return finish_integer(vm, names[operator], result, false);
}

scm number_add(struct vm *vm, scm a, scm b) { return combine(vm, ADD, a, b); }
scm number_subtract(struct vm *vm, scm a, scm b) { return combine(vm, SUBTRACT, a, b); }
scm number_multiply(struct vm *vm, scm a, scm b) { return combine(vm, MULTIPLY, a, b); }

/* `a` and `b` are numbers. */
static scm number_divide(struct vm *vm, scm a, scm b) {
  struct operand x, y;
  mpz_t quotient;
  if (b == fixnum(0))
    return division_by_zero(vm, "/", a);
  if (is_flonum(a) || is_flonum(b))
    return make_flonum(vm, number_to_double(a) / number_to_double(b));
  mpz_srcptr n = operand(&x, a), m = operand(&y, b);
  if (!mpz_divisible_p(n, m))
    return make_flonum(vm, integer_ratio(n, m));
  mpz_init(quotient);
  mpz_divexact(quotient, n, m);
  return finish_integer(vm, "/", quotient, false);
}

/* `fn` of the arguments from the left; of `unit` and them if they are no more than `few`. */
static scm fold(struct vm *vm, const char *who, scm (*fn)(struct vm *, scm, scm), scm unit, int few,
                int count, const scm *arguments) {
  if (!all_are(vm, who, is_number, count, arguments))
    return 0;
  int i = count > few;
  scm value = i ? arguments[0] : unit;
  for (; value && i < count; i++)
    value = fn(vm, value, arguments[i]);
  return value;
}

DEFINE("+", add, 0, -1) { return fold(vm, who, number_add, fixnum(0), 0, count, arguments); }
DEFINE("*", multiply, 0, -1) {
  return fold(vm, who, number_multiply, fixnum(1), 0, count, arguments);
}
DEFINE("/", divide, 1, -1) { return fold(vm, who, number_divide, fixnum(1), 1, count, arguments); }
/* The minus of a zero is a zero of the other sign, which 0.0 - 0.0 is not. */
DEFINE("-", subtract, 1, -1) {
  scm zero = is_flonum(arguments[0]) ? flonum_word(-0.0) : fixnum(0);
  return fold(vm, who, number_subtract, zero, 1, count, arguments);
}

DEFINE("square", square, 1, 1) {
  scm v = arguments[0];
  if (is_flonum_word(v))
    return make_flonum(vm, flonum_word_value(v) * flonum_word_value(v));
  return number_multiply(vm, v, v);
}

/* --- division of integers -------------------------------------------------------------------- */

enum division { QUOTIENT, REMAINDER, FLOOR_QUOTIENT, MODULO };

static scm divide_fixnums(struct vm *vm, enum division division, intptr_t a, intptr_t b) {
  intptr_t quotient = a / b, remainder = a % b;
  if (division >= FLOOR_QUOTIENT && remainder != 0 && (remainder < 0) != (b < 0)) {
    quotient--;
    remainder += b;
  }
  return division == QUOTIENT || division == FLOOR_QUOTIENT ? make_integer(vm, quotient)
                                                            : fixnum(remainder);
}

static scm divide_integers(struct vm *vm, enum division division, scm a, scm b) {
  static const char *const names[] = {"quotient", "remainder", "floor-quotient", "modulo"};
  static const integers_fn divide[] = {mpz_tdiv_q, mpz_tdiv_r, mpz_fdiv_q, mpz_fdiv_r};
  mpz_t x, y;
  if (!all_are(vm, names[division], is_integral, 2, (const scm[]){a, b}))
    return 0;
  if (compare(b, fixnum(0)) == 0)
    return division_by_zero(vm, names[division], a);
  if (is_fixnum(a) && is_fixnum(b))
    return divide_fixnums(vm, division, fixnum_value(a), fixnum_value(b));
  init_integer(x, a);
  init_integer(y, b);
  divide[division](x, x, y);
  mpz_clear(y);
  return finish_integer(vm, names[division], x, is_flonum(a) || is_flonum(b));
}

scm number_quotient(struct vm *vm, scm a, scm b) { return divide_integers(vm, QUOTIENT, a, b); }
scm number_remainder(struct vm *vm, scm a, scm b) { return divide_integers(vm, REMAINDER, a, b); }

#define DIVISION(name, function, division) \
  DEFINE(name, function, 2, 2) { return divide_integers(vm, division, arguments[0], arguments[1]); }
DIVISION("quotient", quotient, QUOTIENT)
DIVISION("remainder", remainder_, REMAINDER)
DIVISION("floor-quotient", floor_quotient, FLOOR_QUOTIENT)
DIVISION("modulo", modulo, MODULO)

/* `fn` of the value so far, at first `value`, and each argument in turn. */
static scm fold_integers(struct vm *vm, const char *who, integers_fn fn, intptr_t value,
                         bool (*domain)(scm), int count, const scm *arguments) {
  mpz_t result, next;
  bool inexact = false;
  if (!all_are(vm, who, domain, count, arguments))
    return 0;
  mpz_init_set_si(result, value);
  for (int i = 0; i < count && mpz_sizeinbase(result, 2) <= MAX_BITS; i++) {
    inexact |= is_flonum(arguments[i]);
    init_integer(next, arguments[i]);
    fn(result, result, next);
    mpz_clear(next);
  }
  return finish_integer(vm, who, result, inexact);
}

#define FOLD_INTEGERS(name, function, fn, value, domain)                \
  DEFINE(name, function, 0, -1) {                                       \
    return fold_integers(vm, who, fn, value, domain, count, arguments); \
  }
FOLD_INTEGERS("gcd", greatest_divisor, mpz_gcd, 0, is_integral)
FOLD_INTEGERS("lcm", least_multiple, mpz_lcm, 1, is_integral)
FOLD_INTEGERS("bitwise-and", bitwise_and, mpz_and, -1, is_integer_object)
FOLD_INTEGERS("bitwise-ior", bitwise_ior, mpz_ior, 0, is_integer_object)
FOLD_INTEGERS("bitwise-xor", bitwise_xor, mpz_xor, 0, is_integer_object)

/* --- exact and inexact ----------------------------------------------------------------------- */

DEFINE("exact", exact, 1, 1, is_number) {
  mpz_t n;
  if (is_integer_object(arguments[0]))
    return arguments[0];
  if (!is_integral(arguments[0])) /* there are no exact fractions */
    return out_of_range(vm, who, 1, arguments[0]);
  init_integer(n, arguments[0]);
  return finish_integer(vm, who, n, false);
}

/* --- functions of real numbers --------------------------------------------------------------- */

static double itself(double d) { return d; }

#define REAL_FUNCTION(name, function, fn)                       \
  DEFINE(name, function, 1, 1, is_number) {                     \
    return make_flonum(vm, fn(number_to_double(arguments[0]))); \
  }
REAL_FUNCTION("inexact", inexact, itself)
REAL_FUNCTION("exp", exponential, exp)
REAL_FUNCTION("sin", sine, sin)
REAL_FUNCTION("cos", cosine, cos)
REAL_FUNCTION("tan", tangent, tan)
REAL_FUNCTION("asin", arc_sine, asin)
REAL_FUNCTION("acos", arc_cosine, acos)

/* An exact number is an integer already. */
#define ROUNDING(name, function, fn)                                            \
  DEFINE(name, function, 1, 1, is_number) {                                     \
    scm v = arguments[0];                                                       \
    return is_integer_object(v) ? v : make_flonum(vm, fn(number_to_double(v))); \
  }
ROUNDING("floor", round_down, floor)
ROUNDING("ceiling", round_up, ceil)
ROUNDING("truncate", round_to_zero, trunc)
ROUNDING("round", round_to_even, rint)

DEFINE("atan", arc_tangent, 1, 2, is_number, is_number) {
  double y = number_to_double(arguments[0]);
  return make_flonum(vm, count == 1 ? atan(y) : atan2(y, number_to_double(arguments[1])));
}

static double logarithm(scm v) { /* also of what no double is large enough for */
  long exponent;
  if (!is_bignum(v))
    return log(number_to_double(v));
  double part = mpz_get_d_2exp(&exponent, bignum_digits(v));
  return log(part) + (double)exponent * M_LN2;
}

DEFINE("log", logarithm_of, 1, 2, is_number, is_number) {
  double value = logarithm(arguments[0]);
  return make_flonum(vm, count == 1 ? value : value / logarithm(arguments[1]));
}

/* (%exact-integer-sqrt n), the root rounded down */
DEFINE("%exact-integer-sqrt", integer_sqrt, 1, 1, is_integer_object) {
  struct operand x;
  mpz_t root;
  if (compare(arguments[0], fixnum(0)) < 0)
    return out_of_range(vm, who, 1, arguments[0]);
  mpz_init(root);
  mpz_sqrt(root, operand(&x, arguments[0]));
  return finish_integer(vm, who, root, false);
}

DEFINE("sqrt", square_root, 1, 1, is_number) {
  struct operand x;
  mpz_t root;
  scm v = arguments[0];
  if (!is_integer_object(v) || compare(v, fixnum(0)) < 0)
    return make_flonum(vm, sqrt(number_to_double(v)));
  mpz_srcptr n = operand(&x, v);
  bool whole = mpz_perfect_square_p(n);
  if (!whole && isfinite(number_to_double(v)))
    return make_flonum(vm, sqrt(number_to_double(v)));
  mpz_init(root);
  mpz_sqrt(root, n);
  return finish_integer(vm, who, root, !whole);
}

/* Of integers; the bases whose powers stay small first. */
static scm exact_power(struct vm *vm, scm base, scm exponent) {
  struct operand x;
  mpz_t result;
  bool negative = compare(exponent, fixnum(0)) < 0;
  if (base == fixnum(1) || exponent == fixnum(0))
    return fixnum(1);
  if (base == fixnum(-1))
    return is_odd(exponent) ? base : fixnum(1);
  if (base == fixnum(0))
    return negative ? division_by_zero(vm, "expt", fixnum(1)) : base;
  if (negative)
    return make_flonum(vm, pow(number_to_double(base), number_to_double(exponent)));
  mpz_srcptr n = operand(&x, base);
  size_t most = MAX_BITS / (mpz_sizeinbase(n, 2) - 1);
  if (!is_fixnum(exponent) || (size_t)fixnum_value(exponent) > most)
    return too_large(vm, "expt");
  mpz_init(result);
  mpz_pow_ui(result, n, (unsigned long)fixnum_value(exponent));
  return finish_integer(vm, "expt", result, false);
}

DEFINE("expt", power, 2, 2, is_number, is_number) {
  scm base = arguments[0], exponent = arguments[1];
  if (is_integer_object(base) && is_integer_object(exponent))
    return exact_power(vm, base, exponent);
  return make_flonum(vm, pow(number_to_double(base), number_to_double(exponent)));
}
