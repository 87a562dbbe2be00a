/* SPDX-License-Identifier: MIT */
/*
 * tool.h: what the subcommands of `tarn` share.
 *
 *   main.c        which subcommand; help, version
 *   arguments.c   options of a subcommand, from a table that the help is printed from as well
 *   text.c        messages, sizes, durations, names from elsewhere, the terminal
 *
 * The command has one thread and frees little: it ends soon.  Names and numbers in files are
 * somebody else's, so nothing is believed of them: what is printed of a name cannot steer a
 * terminal, and a file decides of memory only by what it holds, not by what it says of itself.
 */
#ifndef TOOL_H
#define TOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Exit statuses.  `run` passes the program's on instead. */
enum { TOOL_DONE = 0, TOOL_FAILED = 1, TOOL_USAGE = 2 };

struct tool_option {
  const char *name;     /* without the dashes */
  const char *argument; /* what it is called; NULL: the option takes none */
  const char *help;
};

struct tool_command {
  const char *name;
  const char *operands;
  const char *summary; /* a line */
  const char *text;    /* sentences, without line breaks */
  const struct tool_option *options;
  size_t option_count;
  int (*run)(int count, char **arguments); /* without the name of the subcommand */
};

extern const struct tool_command tool_run, tool_top, tool_snapshot, tool_report, tool_diff;

/* --- arguments.c ----------------------------------------------------------------------------- */

struct tool_arguments {
  const struct tool_command *command;
  char **all;
  int count, at;
  bool leading; /* options end at the first operand */
  char **operands;
  int operand_count;
};

/* Operands are collected in the array that is given.  False: no memory, which was said. */
void tool_arguments_begin(struct tool_arguments *arguments, const struct tool_command *command,
                          int count, char **all);

/*
 * The next option's place in the table, `*value` its argument, else NULL.  TOOL_NO_MORE: only
 * operands are left; TOOL_WRONG: something is wrong, which was said.  Of --help, which all
 * subcommands have, it prints the help, and ends.
 */
enum { TOOL_NO_MORE = -1, TOOL_WRONG = -2 };
int tool_arguments_next(struct tool_arguments *arguments, const char **value);

/* A whole number of digits alone.  False: it is none, or outside; which is said. */
bool tool_read_number(const char *what, const char *text, uint64_t least, uint64_t most,
                      uint64_t *number);

/* What is wrong with the arguments, and how to get help; returns TOOL_USAGE. */
int tool_usage(const struct tool_command *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The help of a subcommand. */
void tool_print_help(const struct tool_command *command);

/* --- text.c ---------------------------------------------------------------------------------- */

/* A line on standard error, "tarn: " first. */
void tool_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Says that there is no memory, and ends. */
_Noreturn void tool_no_memory(void);
/* Memory, zeroed; or larger.  They end as above. */
void *tool_make(size_t count, size_t size);
void *tool_grow(void *old, size_t count, size_t size);

/* Has all been written that was printed?  Says so if not.  The last thing of a subcommand. */
int tool_finish(int status);

/* Opens a file to read from, "-" the standard input; -1: errno says why not. */
int tool_open(const char *path);
/* What it is called in messages. */
const char *tool_name_of(const char *path);

/* Texts in one of a few buffers, good until some calls later. */
const char *tool_size(uint64_t bytes);       /* 0, 812, 8.1K, 24.0M */
const char *tool_signed_size(int64_t bytes); /* the same, with a sign unless 0 */
const char *tool_signed_count(int64_t count);
const char *tool_duration(uint64_t ns);              /* 812ns, 8.10us, 1.20ms, 2.31s */
const char *tool_percent(double part, double whole); /* 1.25% */

/* Prints a name of somebody else's in at most `width` columns, cut with "..."; nothing in it can
 * steer a terminal.  Returns the columns; each character counts as one. */
size_t tool_put_name(FILE *to, const char *name, size_t width);
size_t tool_columns(const char *name); /* of all of it */

/* Bytes at the beginning of a text, `length` at most, that take at most `columns`: none is part of
 * a character that is cut. */
size_t tool_fit(const char *text, size_t length, size_t columns);

/* Copies what there is room for of a text of `length` bytes, which may not end there; no character
 * is cut. */
void tool_copy(char *to, size_t room, const char *text, size_t length);

/* Prints sentences in lines of the terminal's width, `indent` blanks before each. */
void tool_put_text(FILE *to, const char *text, unsigned indent);

/* Prints as a string of JSON, with its quotation marks. */
void tool_put_json(FILE *to, const char *text);

/* Columns of the terminal that a stream is, from 40 on; 80 if it is none. */
unsigned tool_width(FILE *to);

/* May escape codes be used there?  Not with NO_COLOR, and not on dumb terminals. */
bool tool_colours(FILE *to);

#endif
