/* SPDX-License-Identifier: MIT */
/*
 * tarn-manpage: prints the manual of the options from the table that the library itself obeys.
 *
 *   tarn-manpage             the manual page tarn(7), in mdoc
 *   tarn-manpage --markdown  doc/options.md
 *
 * Both hold the same text. It does not depend on the build: options that only some builds know are
 * always described. In the texts below `x` is literal text.
 */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "inspect/options.h"

#define MANUAL_DATE "November 22, 2026"

static bool markdown;

/* Ends a line; no line is left open. */
static void put_line(const char *text) { printf("%s\n", text); }

/* Prints a text as part of a paragraph. mdoc: a line of its own for each literal would be `.Ql`;
 * the font escapes do the same within a line. */
static void put_text(const char *text) {
  bool literal = false;
  for (const char *p = text; *p; p++) {
    if (*p == '`') {
      literal = !literal;
      fputs(markdown ? "`" : (literal ? "\\fB" : "\\fP"), stdout);
    } else if (markdown && !literal && (*p == '<' || *p == '*' || *p == '_')) {
      printf("\\%c", *p);
    } else if (!markdown && *p == '\\') {
      fputs("\\e", stdout);
    } else if (!markdown && literal && *p == '-') {
      fputs("\\-", stdout);
    } else {
      putchar(*p);
    }
  }
}

/* How much of the text goes on one line. mdoc wants a new line after each sentence, so that the
 * formatter can set the space between, and lines below 80 characters; markdown wants neither. */
static size_t line_length(const char *text) {
  size_t length = strlen(text), blank = 0, width = 0;
  const char *sentence_end = strstr(text, ". ");
  if (markdown)
    return length;
  if (sentence_end)
    length = (size_t)(sentence_end + 1 - text);
  for (size_t i = 0; i < length; i++) {
    width += text[i] == '`' ? 3 : 1; /* becomes a font escape */
    if (width > 76 && blank > 0)
      return blank;
    if (text[i] == ' ')
      blank = i;
  }
  return length;
}

static void put_sentences(const char *text) {
  char line[1024];
  while (*text) {
    size_t length = line_length(text);
    if (length >= sizeof line)
      length = sizeof line - 1;
    memcpy(line, text, length);
    line[length] = '\0';
    put_text(line);
    putchar('\n');
    text += length;
    text += strspn(text, " ");
  }
}

static void section(const char *title) {
  if (markdown) {
    printf("\n## %s\n", title);
    return;
  }
  printf(".Sh ");
  for (const char *p = title; *p; p++)
    putchar(*p >= 'a' && *p <= 'z' ? *p - 'a' + 'A' : *p);
  putchar('\n');
}

/* `first` is true right after a heading, where mdoc needs no paragraph break. */
static void paragraph(const char *text, bool first) {
  if (markdown)
    putchar('\n');
  else if (!first)
    put_line(".Pp");
  put_sentences(text);
}

struct pair {
  const char *what, *means;
};

static void list(const char *mdoc_kind, const struct pair *items, size_t count) {
  if (markdown)
    putchar('\n');
  else
    printf(".Bl %s\n", mdoc_kind);
  for (size_t i = 0; i < count; i++) {
    if (markdown) {
      printf("- **%s**: ", items[i].what);
      put_text(items[i].means);
      putchar('\n');
    } else {
      printf(".It %s\n", items[i].what);
      put_sentences(items[i].means);
    }
  }
  if (!markdown)
    put_line(".El");
}

static const struct pair values[] = {
    {"size", "a number with `K`, `M`, `G` or `T`, also `KB` or `KiB` and so on, all 1024-based; "
             "without one, bytes. A fraction is allowed: `1.5G`."},
    {"memory", "a size, or a percentage of the detected memory: `25%`, `12.5%`."},
    {"percentage", "a whole number, with or without `%`."},
    {"count", "a whole number."},
    {"switch", "`1`, `on`, `yes`, `true`, or `0`, `off`, `no`, `false`."},
    {"flags", "words separated by commas or by `+`, or `none`."},
    {"levels", "subjects separated by commas, each with `=info`, the same as nothing, `=debug` or "
               "`=off`; or `none`. After `:file=` the path of a file may follow."},
    {"word", "one of those that are accepted."},
    {"path", "of a file. In it `%p` stands for the number of the process, `%w` for that of the "
             "world in it, from 1, `%n` for how many files of this kind there were, from 1, and "
             "`%%` for a percent sign. In a list it has no comma. Files that exist are written "
             "over, but for logs."},
    {"duration", "a number with `ns`, `us`, `ms`, `s`, `m` or `h`. A fraction is allowed: `1.5s`. "
                 "Only `0` needs no unit."},
};

static const struct pair sources[] = {
    {"default", "what the lists below say."},
    {"build", "the macro `TARN_DEFAULT_OPTIONS`, a list like that of `TARN_OPTIONS`, when the "
              "library was compiled."},
    {"program", "`tarn_options.set`, given to `tarn_world_create`."},
    {"TARN_OPTIONS", "an environment variable with a list: `name=value,name=value`."},
    {"variable", "an environment variable of its own: `TARN_` and the name in upper case, with "
                 "`_` for `-`."},
};

static void introduction(void) {
  section("Description");
  paragraph("A program that uses the Tarn library is configured when it creates a world. "
            "These are the sources of an option's value; what comes later in the list wins:",
            true);
  list("-tag -width TARN_OPTIONS -compact", sources, sizeof sources / sizeof sources[0]);
  paragraph("Names may be written in any case, with `-` or `_`. An empty value means not set. "
            "Blanks around names and values do not count. A program can lock options "
            "(`tarn_options.lock`): then the environment does not change them, and one line says "
            "so. It can also ignore the environment altogether. "
            "Set-user-ID and set-group-ID programs always do.",
            false);
  paragraph("An option that is unknown, malformed or out of range is not used. One line on "
            "standard error names the variable and the value, what is accepted, and the value "
            "that is used instead. With `TARN_STRICT=1` the world is then not created. Other "
            "variables that begin with `TARN_` count as options too, so that a misspelt one is "
            "found.",
            false);
  paragraph("Detected memory is the smallest of the machine's memory and the limits of the "
            "process's control groups (version 1 and 2, with all their ancestors).",
            false);
  section("Values");
  paragraph("Values are written as follows, words and units in any case:", true);
  list("-tag -width percentage -compact", values, sizeof values / sizeof values[0]);
}

/* "Default `64M`. Accepts ..." */
static void describe(const struct tarn_option *option) {
  char accepted_buffer[256], default_buffer[64], line_buffer[512];
  struct tarn_text accepted = TARN_TEXT(accepted_buffer), initial = TARN_TEXT(default_buffer);
  struct tarn_text line = TARN_TEXT(line_buffer);
  tarn_text_accepted(&accepted, option);
  tarn_text_value(&initial, option, option->initial);
  tarn_text_add(&line, "The default is `%s`", initial.data);
  if (option->initial == 0 && option->zero)
    tarn_text_add(&line, " (%s)", option->zero);
  tarn_text_add(&line, ". Accepted: %s.", accepted.data);
  put_sentences(option->help);
  if (markdown)
    putchar('\n');
  put_sentences(line.data);
}

static void item(const struct tarn_option *option) {
  char buffer[64];
  struct tarn_text variable = TARN_TEXT(buffer);
  tarn_text_variable(&variable, option);
  if (markdown)
    printf("\n### %s\n\n`%s=<%s>`\n\n", option->name, variable.data, tarn_option_kind_name(option));
  else
    printf(".It Ev %s Ns = Ns Ar %s Pq Cm %s\n", variable.data, tarn_option_kind_name(option),
           option->name);
  describe(option);
}

static void options_of(enum tarn_option_group group) {
  char title[64];
  snprintf(title, sizeof title, "%s", tarn_option_group_name(group));
  if (markdown) {
    section(title);
  } else {
    printf(".Ss %s\n", title);
    put_line(".Bl -tag -width Ds");
  }
  for (size_t i = 0; i < tarn_option_count; i++) {
    if (tarn_option_table[i].group == group)
      item(&tarn_option_table[i]);
  }
  if (!markdown)
    put_line(".El");
}

static void head(void) {
  if (markdown) {
    put_line("# Options of Tarn");
    put_line("");
    put_line("Printed by `tarn-manpage --markdown` from the table of options; `tarn(7)` holds the "
             "same text.");
    return;
  }
  put_line(".\\\" SPDX-License-Identifier: MIT");
  put_line(".\\\" Printed by tarn-manpage from the table of options.");
  put_line(".Dd " MANUAL_DATE);
  put_line(".Dt TARN 7");
  put_line(".Os");
  put_line(".Sh NAME");
  put_line(".Nm tarn");
  put_line(".Nd options of programs that use the Tarn allocator and collector");
  put_line(".Sh SYNOPSIS");
  put_line(".Ev TARN_HELP Ns =1");
  put_line(".Ar program");
  put_line(".Pp");
  put_line(".Ev TARN_SHOW_CONFIG Ns =1");
  put_line(".Ar program");
  put_line(".Pp");
  put_line(".Ev TARN_OPTIONS Ns = Ns Ar name Ns = Ns Ar value , Ns Ar name Ns = Ns Ar value");
  put_line(".Ar program");
}

static void examples(void) {
  section("Examples");
  paragraph("At most half of the memory, one line for each collection, and no start with a wrong "
            "option:",
            true);
  put_line(markdown ? "\n```sh" : ".Bd -literal -offset indent");
  put_line("TARN_HARD_LIMIT=50% TARN_LOG=gc TARN_STRICT=1 ./program");
  put_line("TARN_OPTIONS=\"hard-limit=50%,log=gc,strict=1\" ./program");
  put_line(markdown ? "```" : ".Ed");
}

int main(int argc, char **argv) {
  if (argc > 2 || (argc == 2 && strcmp(argv[1], "--markdown") != 0)) {
    fprintf(stderr, "usage: tarn-manpage [--markdown]\n");
    return 2;
  }
  markdown = argc == 2;
  head();
  introduction();
  if (!markdown)
    section("Environment");
  for (int group = 0; group < TARN_GROUP_COUNT; group++)
    options_of((enum tarn_option_group)group);
  examples();
  if (fflush(stdout) != 0 || ferror(stdout)) {
    fprintf(stderr, "tarn-manpage: cannot write\n");
    return 1;
  }
  return 0;
}
