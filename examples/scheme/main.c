/* SPDX-License-Identifier: MIT */
/*
 * main.c: the command: runs files, evaluates expressions, or talks to a person.
 */
#include "scheme.h"
#include <getopt.h>
#include <stdlib.h>
#include <unistd.h>
#if SCHEME_EDITLINE
#include <editline/readline.h>
#endif

/* Made of the .scm files beside this one by embed.cmake. */
extern const struct embedded {
  const char *name, *text;
  size_t bytes;
} embedded_files[];

static const char usage[] =
    "usage: scheme [OPTION...] [FILE [ARGUMENT...]]\n"
    "\n"
    "Runs a Scheme program (R7RS-small for the most part, with threads after SRFI 18, and\n"
    "classes), or without FILE reads expressions from the terminal.\n"
    "\n"
    "  -l, --load FILE    loads FILE first\n"
    "  -e, --eval TEXT    evaluates TEXT, prints what it gives, and ends\n"
    "  -t, --tarn SET     options of the memory management, such as min-heap=64M,log=gc;\n"
    "                     environment variables (TARN_MIN_HEAP=64M) do the same, see tarn(7)\n"
    "  -h, --help         this text\n"
    "      --version      the version of Tarn, and how the C stack is treated\n"
    "\n"
    "The arguments after FILE are the program's: (command-line).\n";

/* --- what went wrong ------------------------------------------------------------------------- */

/* What was raised and not handled, to standard error. */
static void tell_condition(struct vm *vm) {
  scm port = error_port(vm), condition = vm->condition;
  ROOTS(vm, (void *)&port, (void *)&condition);
  (void)port_flush(vm, output_port(vm));
  if (is_condition(condition)) {
    const struct condition *c = condition_of(condition);
    bool named = is_symbol(c->who);
    scm irritants = c->irritants;
    ROOTS(vm, (void *)&irritants);
    (void)port_write(vm, port, "error: ", 7);
    if (named)
      (void)(print(vm, c->who, port, false) && port_write(vm, port, ": ", 2));
    (void)print(vm, c->message, port, false);
    for (const char *before = ": "; is_pair(irritants); irritants = cdr(irritants), before = " ")
      (void)(port_write(vm, port, before, strlen(before)) && print(vm, car(irritants), port, true));
  } else {
    (void)(port_write(vm, port, "raised: ", 8) && print(vm, condition, port, true));
  }
  (void)(port_write(vm, port, "\n", 1) && port_flush(vm, port));
}

/* --- running --------------------------------------------------------------------------------- */

static bool load_text(struct vm *vm, const char *text, size_t bytes, scm *last) {
  scm port = open_input_bytes(vm, text, bytes);
  return port && load_port(vm, port, last);
}

static bool load_file(struct vm *vm, const char *path) {
  scm port = open_input_file(vm, path);
  return port && load_port(vm, port, NULL);
}

/* What it makes stays for the whole life of the program: no collection would find anything. */
static void load_embedded(struct vm *vm) {
  tarn_collect_disable(world);
  for (const struct embedded *file = embedded_files; file->name; file++)
    if (!load_text(vm, file->text, file->bytes, NULL)) {
      fprintf(stderr, "scheme: %s: ", file->name);
      tell_condition(vm);
      exit(2);
    }
  tarn_collect_enable(world);
}

static bool print_value(struct vm *vm, scm value) {
  scm port = output_port(vm);
  ROOTS(vm, (void *)&port, (void *)&value);
  return value == SCM_UNSPECIFIED ||
         (print(vm, value, port, true) && port_write(vm, port, "\n", 1));
}

static bool eval_text(struct vm *vm, const char *text) {
  scm value = SCM_UNSPECIFIED;
  ROOTS(vm, (void *)&value);
  return load_text(vm, text, strlen(text), &value) && print_value(vm, value);
}

/* --- talking --------------------------------------------------------------------------------- */

static const char *prompt = "> "; /* for the next line */

/* As read(2), for the standard input of a person, in a blocked region: others collect meanwhile. */
static ssize_t read_terminal(int descriptor, void *to, size_t most) {
  ssize_t got = -1;
#if SCHEME_EDITLINE
  static char *line; /* what did not fit the last time begins at `at` */
  static size_t at;
  if (!line) {
    if (!(line = readline(prompt)))
      return 0;
    if (*line)
      (void)add_history(line);
    at = 0;
  }
  size_t left = strlen(line + at);
  got = (ssize_t)(left < most ? left : most);
  memcpy(to, line + at, (size_t)got);
  at += (size_t)got;
  if (left < most) {
    ((char *)to)[got++] = '\n';
    free(line);
    line = NULL;
  }
  (void)descriptor;
#else
  fputs(prompt, stdout);
  (void)fflush(stdout);
  got = read(descriptor, to, most);
#endif
  prompt = "  "; /* until the next expression begins */
  return got;
}

/* What follows an expression on its line is not for a program that reads: spaces and the newline,
 * or `all` of it, after an error.  False: the input is over. */
static bool skip_line(struct vm *vm, scm v, bool all) {
  int c;
  struct port *port = port_enter(vm, "read", v);
  if (!port)
    return false;
  while ((c = port_peek_char(vm, port)) >= 0 && (all || c == ' ' || c == '\n')) {
    (void)port_read_char(vm, port);
    if (c == '\n')
      break;
  }
  port_leave(port);
  return c >= 0;
}

static void talk(struct vm *vm) {
  scm port = input_port(vm), form = SCM_FALSE, value = SCM_FALSE;
  bool more = true;
  ROOTS(vm, (void *)&port, (void *)&form);
  if (isatty(STDIN_FILENO))
    set_standard_source(read_terminal);
  while (more && (form = read_datum(vm, port)) != SCM_EOF) {
    if (!form)
      tell_condition(vm);
    more = skip_line(vm, port, form == 0);
    if (form && (!(value = eval(vm, form)) || !print_value(vm, value)))
      tell_condition(vm);
    prompt = "> ";
  }
}

/* --- the command line ------------------------------------------------------------------------ */

struct arguments {
  const char *set, *text, *load;
};

/* `optind` is then the first that is the program's. */
static struct arguments read_arguments(int count, char **arguments) {
  static const struct option options[] = {
      {"load", required_argument, NULL, 'l'}, {"eval", required_argument, NULL, 'e'},
      {"tarn", required_argument, NULL, 't'}, {"help", no_argument, NULL, 'h'},
      {"version", no_argument, NULL, 'V'},    {NULL, 0, NULL, 0}};
  struct arguments a = {.set = ""};
  for (int c; (c = getopt_long(count, arguments, "+l:e:t:h", options, NULL)) != -1;)
    switch (c) {
    case 'l':
      a.load = optarg;
      break;
    case 'e':
      a.text = optarg;
      break;
    case 't':
      a.set = optarg;
      break;
    case 'h':
      fputs(usage, stdout);
      exit(0);
    case 'V':
      printf("scheme on Tarn %s, %s roots\n", tarn_version(),
             SCHEME_CONSERVATIVE ? "conservative" : "precise");
      exit(0);
    default:
      fputs("see scheme --help\n", stderr);
      exit(2);
    }
  return a;
}

int main(int count, char **arguments) {
  struct arguments a = read_arguments(count, arguments);
  runtime_begin(a.set);
  struct vm *vm = vm_of(NULL);
  set_command_line(count - optind, arguments + optind);
  load_embedded(vm);
  bool good = !a.load || load_file(vm, a.load);
  if (good && a.text)
    good = eval_text(vm, a.text);
  else if (good && optind < count)
    good = load_file(vm, arguments[optind]);
  else if (good && !a.load)
    talk(vm);
  if (!good)
    tell_condition(vm);
  if (!flush_standard(vm)) {
    tell_condition(vm);
    good = false;
  }
  runtime_end();
  return good ? 0 : 1;
}
