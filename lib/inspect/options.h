/* SPDX-License-Identifier: MIT */
/*
 * Options: one table that drives the parser, the help, the manual page and the tests.
 *
 *   options_table.c  the table, and what its entries accept, in words
 *   options_parse.c  text -> value and value -> text; pure functions, also for fuzzing
 *   options.c        the sources and their precedence: tarn_config_resolve
 *   options_print.c  messages, help, TARN_SHOW_CONFIG
 *
 * Invariants: the table is constant. Nothing here allocates, keeps state between calls or takes a
 * lock, so any thread may call anything at any time; the environment is read as getenv does, so a
 * program must not change it (setenv) at the same time.
 */
#ifndef TARN_INSPECT_OPTIONS_H
#define TARN_INSPECT_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tarn/options.h>

#include "os/config.h"
#include "os/limits.h"

/* ---- The table ---------------------------------------------------------------------------- */

enum tarn_option_kind {
  TARN_KIND_SIZE,     /* bytes; field size_t */
  TARN_KIND_MEMORY,   /* bytes, or a percentage of the detected memory limit; field size_t */
  TARN_KIND_PERCENT,  /* field unsigned */
  TARN_KIND_COUNT,    /* field uint64_t */
  TARN_KIND_NUMBER,   /* like COUNT, but the field is unsigned */
  TARN_KIND_BOOL,     /* field bool */
  TARN_KIND_FLAGS,    /* bits; field unsigned */
  TARN_KIND_LEVELS,   /* subjects of logs, each with a level; field unsigned */
  TARN_KIND_CHOICE,   /* one of several words; field unsigned */
  TARN_KIND_DURATION, /* nanoseconds; field uint64_t */
  TARN_KIND_PATH,     /* pattern of a file's name; field char[TARN_PATH_ROOM], its number 0 or 1 */
};

enum tarn_option_group {
  TARN_GROUP_MEMORY,
  TARN_GROUP_COLLECTOR,
  TARN_GROUP_THREADS,
  TARN_GROUP_DIAGNOSTICS,
  TARN_GROUP_TESTING,
  TARN_GROUP_COUNT
};

/* Which builds know, and which obey, an option. */
enum tarn_option_build {
  TARN_BUILD_ANY,
  TARN_BUILD_ZEAL,   /* known everywhere, works only with TARN_ZEAL */
  TARN_BUILD_FAULTS, /* known only with TARN_FAULTS: elsewhere it is an unknown name */
};

struct tarn_option_flag {
  const char *name;
  unsigned bit;
};

struct tarn_option {
  const char *name; /* lower case, with '-' */
  const char *help; /* sentences, without line breaks */
  /* What 0 means ("none", "off", "automatic"): then 0 is accepted beside minimum..maximum. NULL:
   * 0 is a number like others. */
  const char *zero;
  /* Kinds FLAGS, LEVELS (bits of level info) and CHOICE (values): ends with a NULL name; else NULL.
   */
  const struct tarn_option_flag *flags;
  uint64_t initial, minimum, maximum; /* minimum and maximum count for numeric kinds only */
  size_t offset;                      /* of the field in struct tarn_config */
  enum tarn_option_kind kind;
  enum tarn_option_group group;
  enum tarn_option_build build;
};

/* More than the table has: bounds arrays indexed by option and the bits of a set of options. */
#define TARN_OPTION_MAX 48

extern const struct tarn_option tarn_option_table[];
extern const size_t tarn_option_count;

/* Headings: "Memory", "Collector", ... */
const char *tarn_option_group_name(enum tarn_option_group group);

/* "size", "memory", "percentage", "count", "switch", "flags", "levels", "word", "duration", "path".
 */
const char *tarn_option_kind_name(const struct tarn_option *option);

/* Is the name known in this build? */
bool tarn_option_known(const struct tarn_option *option);

/* Does the option do anything in this build? */
bool tarn_option_effective(const struct tarn_option *option);

/* Are these the same name? Case does not count, '_' is '-'. */
bool tarn_option_same_name(const char *a, size_t a_length, const char *b, size_t b_length);

/* Finds a known option; case does not count, '_' is '-'. NULL if there is none. */
const struct tarn_option *tarn_option_find(const char *name, size_t length);

/* The known option whose name takes the fewest edits; never NULL. `edits` may be NULL. */
const struct tarn_option *tarn_option_nearest(const char *name, size_t length, size_t *edits);

/* Letters inserted, left out, replaced or swapped with their neighbour, between two names as
 * tarn_option_find compares them. Only the first 63 characters of each count. */
size_t tarn_option_edits(const char *a, size_t a_length, const char *b, size_t b_length);

/* Does its kind have a range, from minimum to maximum? */
bool tarn_option_has_range(const struct tarn_option *option);

/* The field of an option, widened.  Of a path: whether there is one; it is put as 0, none. */
uint64_t tarn_option_get(const struct tarn_option *option, const struct tarn_config *config);
void tarn_option_put(const struct tarn_option *option, struct tarn_config *config, uint64_t value);

/* The same from text that tarn_option_parse has accepted, with the value that it gave: for all
 * kinds. */
void tarn_option_put_text(const struct tarn_option *option, struct tarn_config *config,
                          const char *text, size_t length, uint64_t value);

/* ---- Text: fixed buffers, cut off rather than overrun --------------------------------------- */

struct tarn_text {
  char *data; /* always ends with NUL */
  size_t room, length;
};

#define TARN_TEXT(array) \
  { (array), sizeof(array), 0 }

/* Appends as printf does. */
void tarn_text_add(struct tarn_text *text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Appends what somebody else wrote: at most 48 characters of it, and nothing that could steer a
 * terminal; tarn_text_quote in quotation marks. */
void tarn_text_clean(struct tarn_text *text, const char *from, size_t length);
void tarn_text_quote(struct tarn_text *text, const char *from, size_t length);

/* Appends a value as the parser accepts it: parsing it again gives the same value.  Not of paths,
 * but for 0: none. */
void tarn_text_value(struct tarn_text *text, const struct tarn_option *option, uint64_t value);

/* Appends the value that an option has in a configuration, and what 0 means. */
void tarn_text_current(struct tarn_text *text, const struct tarn_option *option,
                       const struct tarn_config *config);

/* Appends what an option accepts, as in "a size (as in 512M or 1.5G) from 64K to 16T". */
void tarn_text_accepted(struct tarn_text *text, const struct tarn_option *option);

/* Appends TARN_<NAME>. */
void tarn_text_variable(struct tarn_text *text, const struct tarn_option *option);

/* ---- Parsing: pure functions of their arguments ---------------------------------------------- */

enum tarn_parse {
  TARN_PARSE_OK,
  TARN_PARSE_MALFORMED, /* not of the option's kind */
  TARN_PARSE_NO_UNIT,   /* a duration without unit */
  TARN_PARSE_DIGITS,    /* more than six digits after the point */
  TARN_PARSE_LOW,
  TARN_PARSE_HIGH,
  TARN_PARSE_LONG,    /* a path without room */
  TARN_PARSE_PATTERN, /* a path with a '%' that stands for nothing */
};

/* Parses `length` characters (no NUL needed; blanks at both ends do not count) as a value of
 * `option`. `memory` is what percentages of memory refer to. `out` is written only on OK. */
enum tarn_parse tarn_option_parse(const struct tarn_option *option, const char *text, size_t length,
                                  size_t memory, uint64_t *out);

/* One "name=value" of a list; pointers into the list, blanks trimmed. */
struct tarn_option_item {
  const char *name;
  size_t name_length;
  const char *value; /* NULL: there was no '=' */
  size_t value_length;
};

/* Takes the next item that is not empty off the list at *cursor; false at its end. Flags and levels
 * may go on over commas: in "log=gc,safepoint=debug,growth=200" the value of log is
 * "gc,safepoint=debug". */
bool tarn_option_next(const char **cursor, struct tarn_option_item *item);

/* ---- Resolving --------------------------------------------------------------------------------
 */

/* Where lines go. A line comes in one call, ends with newline and is not NUL-terminated. NULL as
 * `write` stands for standard error. */
struct tarn_sink {
  void (*write)(void *context, const char *line, size_t length);
  void *context;
};

void tarn_sink_write(const struct tarn_sink *sink, const struct tarn_text *line);

enum tarn_source {
  TARN_SOURCE_DEFAULT,
  TARN_SOURCE_BUILD,       /* macro TARN_DEFAULT_OPTIONS */
  TARN_SOURCE_PROGRAM,     /* tarn_options.set */
  TARN_SOURCE_ENVIRONMENT, /* TARN_OPTIONS */
  TARN_SOURCE_VARIABLE,    /* TARN_<NAME> */
};

struct tarn_config_report {
  /* In. All zero means: standard error, detect the limits. */
  struct tarn_sink sink;
  const struct tarn_limits *limits; /* used instead of detecting them, unless NULL */
  bool secure;                      /* treat the process as setuid: read no environment */

  /* Out. */
  unsigned errors;   /* values that could not be used; with `strict` they are fatal */
  unsigned warnings; /* lines about locked options and options without effect */
  uint64_t locked;   /* bit i: tarn_option_table[i] is locked */
  unsigned char source[TARN_OPTION_MAX]; /* enum tarn_source, by index in the table */
};

/*
 * Works out all values. `api` may be NULL. `environment` is NULL for the process's own (which is
 * left alone in a setuid program), else an array of "NAME=value" strings that ends with NULL.
 * `report` may be NULL. Prints the help or the configuration if the options ask for it.
 *
 * TARN_EINVAL: `out` is NULL, or `api` is malformed; nothing is read then, but one line written.
 * TARN_EHELP: the help was printed. TARN_EOPTION: `strict` is on and report->errors is not 0.
 * In every case but TARN_EINVAL `out` is completely filled with usable values.
 */
tarn_status tarn_config_resolve(const tarn_options *api, const char *const *environment,
                                struct tarn_config *out, struct tarn_config_report *report);

/* The whole table, for people. */
void tarn_options_print_help(const struct tarn_sink *sink);

/* Every value with its source. */
void tarn_options_print_config(const struct tarn_sink *sink, const struct tarn_config *config,
                               const struct tarn_config_report *report);

#endif
