/* SPDX-License-Identifier: MIT */
/*
 * Options as text: names, lists and values, both ways. See options.h.
 *
 * Everything here is a pure function of its arguments, and every length is explicit: no text needs
 * a NUL, nothing depends on the locale, every step is checked against overflow.
 */
#include "inspect/options.h"

#include <string.h>

/* ---- Characters: the C library's would depend on the locale ------------------------------- */

static bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static char to_lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c; }

/* A character of a name, as names are compared. */
static char fold(char c) { return c == '_' ? '-' : to_lower(c); }

static void trim(const char **text, size_t *length) {
  while (*length > 0 && is_blank((*text)[0])) {
    (*text)++;
    (*length)--;
  }
  while (*length > 0 && is_blank((*text)[*length - 1]))
    (*length)--;
}

static bool same_word(const char *text, size_t length, const char *word) {
  if (strlen(word) != length)
    return false;
  for (size_t i = 0; i < length; i++) {
    if (to_lower(text[i]) != word[i])
      return false;
  }
  return true;
}

/* ---- Names -------------------------------------------------------------------------------- */

bool tarn_option_same_name(const char *a, size_t a_length, const char *b, size_t b_length) {
  size_t same = 0;
  if (a_length != b_length)
    return false;
  while (same < a_length && fold(a[same]) == fold(b[same]))
    same++;
  return same == a_length;
}

const struct tarn_option *tarn_option_find(const char *name, size_t length) {
  for (size_t i = 0; i < tarn_option_count; i++) {
    const struct tarn_option *option = &tarn_option_table[i];
    if (tarn_option_known(option) &&
        tarn_option_same_name(name, length, option->name, strlen(option->name)))
      return option;
  }
  return NULL;
}

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

size_t tarn_option_edits(const char *a, size_t a_length, const char *b, size_t b_length) {
  enum { LONGEST = 63 };
  size_t rows[3][LONGEST + 1]; /* the row being filled and the two before it, by i % 3 */
  a_length = smaller(a_length, LONGEST);
  b_length = smaller(b_length, LONGEST);
  for (size_t j = 0; j <= b_length; j++)
    rows[0][j] = j;
  for (size_t i = 1; i <= a_length; i++) {
    size_t *row = rows[i % 3];
    const size_t *above = rows[(i + 2) % 3], *above2 = rows[(i + 1) % 3];
    char c = fold(a[i - 1]);
    row[0] = i;
    for (size_t j = 1; j <= b_length; j++) {
      char d = fold(b[j - 1]);
      row[j] = smaller(smaller(above[j], row[j - 1]) + 1, above[j - 1] + (c != d));
      if (i > 1 && j > 1 && c == fold(b[j - 2]) && fold(a[i - 2]) == d)
        row[j] = smaller(row[j], above2[j - 2] + 1);
    }
  }
  return rows[a_length % 3][b_length];
}

const struct tarn_option *tarn_option_nearest(const char *name, size_t length, size_t *edits) {
  const struct tarn_option *nearest = NULL;
  size_t fewest = SIZE_MAX;
  for (size_t i = 0; i < tarn_option_count; i++) {
    const struct tarn_option *option = &tarn_option_table[i];
    if (!tarn_option_known(option))
      continue;
    size_t n = tarn_option_edits(name, length, option->name, strlen(option->name));
    if (n < fewest) {
      fewest = n;
      nearest = option;
    }
  }
  if (edits)
    *edits = fewest;
  return nearest;
}

/* ---- Lists -------------------------------------------------------------------------------- */

static size_t segment(const char *from) { return strcspn(from, ","); }

static const struct tarn_option_flag *find_flag(const struct tarn_option_flag *flag,
                                                const char *text, size_t length) {
  while (flag->name && !same_word(text, length, flag->name))
    flag++;
  return flag->name ? flag : NULL;
}

/* Is the next segment of a list a part of the option's value? */
static bool goes_on(const struct tarn_option *option, const char *text, size_t length) {
  const char *equals = memchr(text, '=', length);
  if (option->kind != TARN_KIND_FLAGS && option->kind != TARN_KIND_LEVELS)
    return false;
  if (!equals)
    return true;
  length = (size_t)(equals - text);
  trim(&text, &length);
  return option->kind == TARN_KIND_LEVELS && find_flag(option->flags, text, length) != NULL;
}

bool tarn_option_next(const char **cursor, struct tarn_option_item *item) {
  const char *from = *cursor;
  size_t length = 0;
  while (*from) { /* pass over empty items */
    length = segment(from);
    const char *start = from;
    size_t inner = length;
    trim(&start, &inner);
    if (inner > 0)
      break;
    from += length + (from[length] == ',');
    length = 0;
  }
  if (length == 0) {
    *cursor = from;
    return false;
  }

  const char *equals = memchr(from, '=', length);
  item->name = from;
  item->name_length = equals ? (size_t)(equals - from) : length;
  trim(&item->name, &item->name_length);
  const struct tarn_option *option = tarn_option_find(item->name, item->name_length);
  while (equals && option && from[length] == ',') {
    size_t more = segment(from + length + 1);
    if (!goes_on(option, from + length + 1, more))
      break;
    length += 1 + more;
  }
  item->value = equals ? equals + 1 : NULL;
  item->value_length = equals ? (size_t)(from + length - item->value) : 0;
  if (equals)
    trim(&item->value, &item->value_length);
  *cursor = from + length + (from[length] == ',');
  return true;
}

/* ---- Numbers ------------------------------------------------------------------------------ */

enum { FRACTION_DIGITS = 6, FRACTION_ONE = 1000000 };

/* A decimal number: whole + fraction / FRACTION_ONE. */
struct decimal {
  uint64_t whole, fraction;
  bool has_point;
};

/* Reads a number off the start of the text. HIGH: more than 64 bits; all digits are read. */
static enum tarn_parse read_decimal(const char **text, size_t *length, struct decimal *out) {
  const char *p = *text, *end = p + *length;
  enum tarn_parse result = TARN_PARSE_OK;
  unsigned digits = 0;
  *out = (struct decimal){0, 0, false};
  if (p == end || !is_digit(*p))
    return TARN_PARSE_MALFORMED;
  for (; p < end && is_digit(*p); p++) {
    unsigned digit = (unsigned)(*p - '0');
    if (out->whole > (UINT64_MAX - digit) / 10)
      result = TARN_PARSE_HIGH;
    else
      out->whole = out->whole * 10 + digit;
  }
  if (p < end && *p == '.') {
    out->has_point = true;
    for (p++; p < end && is_digit(*p); p++, digits++) {
      if (digits < FRACTION_DIGITS)
        out->fraction = out->fraction * 10 + (unsigned)(*p - '0');
    }
    if (digits == 0)
      return TARN_PARSE_MALFORMED;
    if (digits > FRACTION_DIGITS && result == TARN_PARSE_OK)
      result = TARN_PARSE_DIGITS;
    for (; digits < FRACTION_DIGITS; digits++)
      out->fraction *= 10;
  }
  *length = (size_t)(end - p);
  *text = p;
  return result;
}

/* number * unit, rounded down. Units are below 2^42, so the fraction's product has room. What is
 * not zero but rounds to zero is too small: 0 often means "none". */
static enum tarn_parse scale(const struct decimal *number, uint64_t unit, uint64_t *out) {
  uint64_t part = number->fraction * unit / FRACTION_ONE;
  if (number->whole > (UINT64_MAX - part) / unit)
    return TARN_PARSE_HIGH;
  *out = number->whole * unit + part;
  return *out == 0 && number->fraction ? TARN_PARSE_LOW : TARN_PARSE_OK;
}

struct unit {
  const char *name;
  uint64_t factor;
};

static const struct unit size_units[] = {
    {"", 1},
    {"b", 1},
    {"k", (uint64_t)1 << 10},
    {"kb", (uint64_t)1 << 10},
    {"kib", (uint64_t)1 << 10},
    {"m", (uint64_t)1 << 20},
    {"mb", (uint64_t)1 << 20},
    {"mib", (uint64_t)1 << 20},
    {"g", (uint64_t)1 << 30},
    {"gb", (uint64_t)1 << 30},
    {"gib", (uint64_t)1 << 30},
    {"t", (uint64_t)1 << 40},
    {"tb", (uint64_t)1 << 40},
    {"tib", (uint64_t)1 << 40},
    {NULL, 0},
};

/* From the smallest up. */
static const struct unit duration_units[] = {
    {"ns", 1},
    {"us", 1000},
    {"ms", (uint64_t)1000 * 1000},
    {"s", (uint64_t)1000 * 1000 * 1000},
    {"m", (uint64_t)60 * 1000 * 1000 * 1000},
    {"h", (uint64_t)3600 * 1000 * 1000 * 1000},
    {NULL, 0},
};

static const struct unit *find_unit(const struct unit *units, const char *text, size_t length) {
  for (; units->name; units++) {
    if (same_word(text, length, units->name))
      return units;
  }
  return NULL;
}

/* A percentage of `memory`, rounded down; above 0% and up to 100%. */
static enum tarn_parse share(const struct decimal *number, size_t memory, uint64_t *out) {
  const uint64_t all = (uint64_t)100 * FRACTION_ONE;
  if (number->whole > 100 || (number->whole == 100 && number->fraction))
    return TARN_PARSE_HIGH;
  uint64_t part = number->whole * FRACTION_ONE + number->fraction;
  *out = memory / all * part + memory % all * part / all;
  return *out == 0 ? TARN_PARSE_LOW : TARN_PARSE_OK;
}

static enum tarn_parse parse_number(const struct tarn_option *option, const char *text,
                                    size_t length, size_t memory, uint64_t *out) {
  struct decimal number;
  const struct unit *unit;
  enum tarn_parse result = read_decimal(&text, &length, &number);
  if (result == TARN_PARSE_MALFORMED)
    return result;

  bool percent = same_word(text, length, "%");
  switch (option->kind) {
  case TARN_KIND_SIZE:
  case TARN_KIND_MEMORY:
    if (percent && option->kind == TARN_KIND_MEMORY)
      return result != TARN_PARSE_OK ? result : share(&number, memory, out);
    unit = find_unit(size_units, text, length);
    if (!unit || (number.has_point && unit->factor == 1))
      return TARN_PARSE_MALFORMED;
    return result != TARN_PARSE_OK ? result : scale(&number, unit->factor, out);
  case TARN_KIND_DURATION:
    if (length == 0)
      return number.whole || number.has_point ? TARN_PARSE_NO_UNIT : scale(&number, 1, out);
    unit = find_unit(duration_units, text, length);
    if (!unit || (number.has_point && unit->factor == 1))
      return TARN_PARSE_MALFORMED;
    return result != TARN_PARSE_OK ? result : scale(&number, unit->factor, out);
  default:
    if (number.has_point || !(length == 0 || (percent && option->kind == TARN_KIND_PERCENT)))
      return TARN_PARSE_MALFORMED;
    *out = number.whole;
    return result;
  }
}

static enum tarn_parse parse_bool(const char *text, size_t length, uint64_t *out) {
  static const char *const words[] = {"0", "1", "off", "on", "no", "yes", "false", "true"};
  for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
    if (same_word(text, length, words[i])) {
      *out = i & 1;
      return TARN_PARSE_OK;
    }
  }
  return TARN_PARSE_MALFORMED;
}

/* "gc", "gc=debug" or "gc=off": takes the subject's level into `bits`. */
static bool set_level(const struct tarn_option_flag *subjects, const char *text, size_t length,
                      uint64_t *bits) {
  const char *equals = memchr(text, '=', length), *level = "info";
  size_t name_length = equals ? (size_t)(equals - text) : length, level_length = 4;
  if (equals) {
    level = equals + 1;
    level_length = length - name_length - 1;
  }
  trim(&text, &name_length);
  trim(&level, &level_length);
  const struct tarn_option_flag *subject = find_flag(subjects, text, name_length);
  if (!subject)
    return false;
  *bits &= ~(uint64_t)(subject->bit | subject->bit << 1);
  if (same_word(level, level_length, "debug"))
    *bits |= subject->bit | subject->bit << 1;
  else if (same_word(level, level_length, "info"))
    *bits |= subject->bit;
  else
    return same_word(level, level_length, "off");
  return true;
}

static bool set_flag(const struct tarn_option *option, const char *text, size_t length,
                     uint64_t *bits) {
  if (option->kind == TARN_KIND_LEVELS)
    return set_level(option->flags, text, length, bits);
  const struct tarn_option_flag *flag = find_flag(option->flags, text, length);
  *bits |= flag ? flag->bit : 0;
  return flag != NULL;
}

static enum tarn_parse parse_flags(const struct tarn_option *option, const char *text,
                                   size_t length, uint64_t *out) {
  const char *end = text + length;
  uint64_t bits = 0;
  bool any = false;
  while (text < end) {
    const char *word = text;
    while (text < end && *text != ',' && *text != '+')
      text++;
    size_t word_length = (size_t)(text - word);
    text += text < end;
    trim(&word, &word_length);
    if (word_length == 0)
      continue;
    any = true;
    if (!same_word(word, word_length, "none") && !set_flag(option, word, word_length, &bits))
      return TARN_PARSE_MALFORMED;
  }
  if (!any)
    return TARN_PARSE_MALFORMED;
  *out = bits;
  return TARN_PARSE_OK;
}

static enum tarn_parse parse_choice(const struct tarn_option *option, const char *text,
                                    size_t length, uint64_t *out) {
  const struct tarn_option_flag *word = find_flag(option->flags, text, length);
  *out = word ? word->bit : 0;
  return word || (option->zero && (same_word(text, length, "none") || same_word(text, length, "0")))
             ? TARN_PARSE_OK
             : TARN_PARSE_MALFORMED;
}

/* What may stand in a path is checked here, so that nothing about it can be wrong later but what
 * the file system says. */
static enum tarn_parse parse_path(const char *text, size_t length, uint64_t *out) {
  *out = !same_word(text, length, "none") && !same_word(text, length, "0");
  if (length == 0)
    return TARN_PARSE_MALFORMED;
  if (length >= TARN_PATH_ROOM)
    return TARN_PARSE_LONG;
  for (size_t i = 0; i < length; i++) {
    if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
      return TARN_PARSE_MALFORMED;
    if (text[i] == '%' && (++i == length || !strchr("pwn%", text[i])))
      return TARN_PARSE_PATTERN;
  }
  return TARN_PARSE_OK;
}

enum tarn_parse tarn_option_parse(const struct tarn_option *option, const char *text, size_t length,
                                  size_t memory, uint64_t *out) {
  uint64_t value = 0;
  enum tarn_parse result;
  trim(&text, &length);
  if (option->kind == TARN_KIND_BOOL) {
    result = parse_bool(text, length, &value);
  } else if (option->kind == TARN_KIND_FLAGS || option->kind == TARN_KIND_LEVELS) {
    result = parse_flags(option, text, length, &value);
  } else if (option->kind == TARN_KIND_CHOICE) {
    result = parse_choice(option, text, length, &value);
  } else if (option->kind == TARN_KIND_PATH) {
    result = parse_path(text, length, &value);
  } else {
    result = parse_number(option, text, length, memory, &value);
    bool is_zero_word = value == 0 && option->zero;
    if (result == TARN_PARSE_OK && !is_zero_word && value < option->minimum)
      result = TARN_PARSE_LOW;
    bool is_size = option->kind == TARN_KIND_SIZE || option->kind == TARN_KIND_MEMORY;
    if (result == TARN_PARSE_OK && (value > option->maximum || (is_size && value > SIZE_MAX)))
      result = TARN_PARSE_HIGH;
  }
  if (result == TARN_PARSE_OK)
    *out = value;
  return result;
}

/* ---- Values as text ----------------------------------------------------------------------- */

/* The largest unit that divides the value, so that no digit is lost. Sizes show K, M, G, T. */
static void add_size(struct tarn_text *text, uint64_t value) {
  static const char letters[] = "KMGT";
  size_t unit = 0;
  while (value && unit < sizeof letters - 1 && value % 1024 == 0) {
    value /= 1024;
    unit++;
  }
  tarn_text_add(text, "%llu", (unsigned long long)value);
  if (unit > 0)
    tarn_text_add(text, "%c", letters[unit - 1]);
}

static void add_duration(struct tarn_text *text, uint64_t value) {
  const struct unit *unit = duration_units;
  if (value == 0) {
    tarn_text_add(text, "0");
    return;
  }
  while (unit[1].name && value % unit[1].factor == 0)
    unit++;
  tarn_text_add(text, "%llu%s", (unsigned long long)(value / unit->factor), unit->name);
}

static void add_flags(struct tarn_text *text, const struct tarn_option *option, uint64_t bits) {
  const char *between = "";
  if (bits == 0)
    tarn_text_add(text, "none");
  for (const struct tarn_option_flag *flag = option->flags; flag->name; flag++) {
    if (bits & flag->bit) {
      tarn_text_add(text, "%s%s", between, flag->name);
      if (option->kind == TARN_KIND_LEVELS)
        tarn_text_add(text, bits & (uint64_t)flag->bit << 1 ? "=debug" : "=info");
      between = ",";
    }
  }
}

static void add_choice(struct tarn_text *text, const struct tarn_option *option, uint64_t value) {
  const struct tarn_option_flag *word = option->flags;
  while (word->name && word->bit != value)
    word++;
  tarn_text_add(text, "%s", word->name ? word->name : "none");
}

void tarn_text_value(struct tarn_text *text, const struct tarn_option *option, uint64_t value) {
  switch (option->kind) {
  case TARN_KIND_SIZE:
  case TARN_KIND_MEMORY:
    add_size(text, value);
    break;
  case TARN_KIND_DURATION:
    add_duration(text, value);
    break;
  case TARN_KIND_BOOL:
    tarn_text_add(text, value ? "on" : "off");
    break;
  case TARN_KIND_FLAGS:
  case TARN_KIND_LEVELS:
    add_flags(text, option, value);
    break;
  case TARN_KIND_CHOICE:
    add_choice(text, option, value);
    break;
  case TARN_KIND_PATH:
    tarn_text_add(text, value ? "a path" : "none");
    break;
  case TARN_KIND_PERCENT:
    tarn_text_add(text, "%llu%%", (unsigned long long)value);
    break;
  case TARN_KIND_COUNT:
  case TARN_KIND_NUMBER:
    tarn_text_add(text, "%llu", (unsigned long long)value);
    break;
  }
}

/* All of it, though it was written by somebody else. */
static void add_path(struct tarn_text *text, const char *path) {
  enum { PIECE = 32 };
  for (size_t length = strlen(path), more; length > 0; path += more, length -= more) {
    more = smaller(length, PIECE);
    tarn_text_clean(text, path, more);
  }
}

void tarn_text_current(struct tarn_text *text, const struct tarn_option *option,
                       const struct tarn_config *config) {
  uint64_t value = tarn_option_get(option, config);
  if (option->kind == TARN_KIND_PATH && value)
    add_path(text, (const char *)config + option->offset);
  else
    tarn_text_value(text, option, value);
  if (value == 0 && option->zero)
    tarn_text_add(text, " (%s)", option->zero);
}

static void add_words(struct tarn_text *text, const struct tarn_option *option) {
  for (const struct tarn_option_flag *flag = option->flags; flag->name; flag++)
    tarn_text_add(text, "%s, ", flag->name);
}

static void add_range(struct tarn_text *text, const struct tarn_option *option) {
  tarn_text_add(text, " from ");
  tarn_text_value(text, option, option->minimum);
  tarn_text_add(text, " to ");
  tarn_text_value(text, option, option->maximum);
}

void tarn_text_accepted(struct tarn_text *text, const struct tarn_option *option) {
  switch (option->kind) {
  case TARN_KIND_BOOL:
    tarn_text_add(text, "1, on, yes, true, 0, off, no or false");
    return;
  case TARN_KIND_FLAGS:
    add_words(text, option);
    tarn_text_add(text, "separated by commas, or none");
    return;
  case TARN_KIND_LEVELS:
    add_words(text, option);
    tarn_text_add(text, "each alone or with =info, =debug or =off, separated by commas, or none");
    return;
  case TARN_KIND_CHOICE:
    add_words(text, option);
    tarn_text_add(text, "or none");
    return;
  case TARN_KIND_PATH:
    tarn_text_add(text,
                  "the path of a file, in which %%p stands for the process, %%w for the world, %%n "
                  "for the number of the file and %%%% for a percent sign, or none");
    return;
  case TARN_KIND_SIZE:
  case TARN_KIND_MEMORY:
    tarn_text_add(text, "a size (as in 512M or 1.5G)");
    break;
  case TARN_KIND_PERCENT:
    tarn_text_add(text, "a percentage");
    break;
  case TARN_KIND_COUNT:
  case TARN_KIND_NUMBER:
    tarn_text_add(text, "a whole number");
    break;
  case TARN_KIND_DURATION:
    tarn_text_add(text, "a duration (as in 500us or 1.5s)");
    break;
  }
  add_range(text, option);
  if (option->kind == TARN_KIND_MEMORY)
    tarn_text_add(text, ", or a percentage of the detected memory");
  if (option->zero)
    tarn_text_add(text, ", or 0 (%s)", option->zero);
}
