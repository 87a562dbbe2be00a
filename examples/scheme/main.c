/* SPDX-License-Identifier: MIT */
/*
 * main.c: the command: runs files, evaluates expressions, or talks to a person.
 */
#include "scheme.h"
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

static void print_value(struct vm *vm, scm value) {
  if (value == SCM_UNSPECIFIED)
    return;
  scm port = output_port(vm);
  ROOTS(vm, (void *)&port, (void *)&value);
  (void)(print(vm, value, port, true) && port_write(vm, port, "\n", 1) && port_flush(vm, port));
}

static bool eval_text(struct vm *vm, const char *text) {
  scm value = SCM_UNSPECIFIED;
  ROOTS(vm, (void *)&value);
  if (!load_text(vm, text, strlen(text), &value))
    return false;
  print_value(vm, value);
  return true;
}

/* --- talking --------------------------------------------------------------------------------- */

/* A line without its end, to be freed; NULL at the end of input.  Others collect meanwhile. */
static char *read_a_line(struct vm *vm, const char *prompt) {
  char *line = NULL;
  tarn_block_begin(vm->self);
#if SCHEME_EDITLINE
  if (isatty(STDIN_FILENO)) {
    line = readline(prompt);
    if (line && *line)
      (void)add_history(line);
    tarn_block_end(vm->self);
    return line;
  }
#endif
  size_t room = 0;
  if (isatty(STDIN_FILENO)) {
    fputs(prompt, stdout);
    (void)fflush(stdout);
  }
  ssize_t got = getline(&line, &room, stdin);
  if (got < 0) {
    free(line);
    line = NULL;
  } else if (got > 0 && line[got - 1] == '\n') {
    line[got - 1] = '\0';
  }
  tarn_block_end(vm->self);
  return line;
}

/* Are there parentheses to be closed?  A guess, which strings and characters can mislead. */
static bool is_open(const char *text) {
  int depth = 0;
  bool in_string = false;
  for (; *text; text++) {
    if (*text == '\\' && text[1])
      text++;
    else if (*text == '"')
      in_string = !in_string;
    else if (!in_string && *text == ';')
      text += strcspn(text, "\n") - (strchr(text, '\n') == NULL);
    else if (!in_string)
      depth += *text == '(' || *text == '[' ? 1 : *text == ')' || *text == ']' ? -1 : 0;
  }
  return depth > 0 || in_string;
}

static char *join_lines(char *text, char *line) {
  if (!text)
    return line;
  size_t before = strlen(text), more = strlen(line);
  char *joined = realloc(text, before + more + 2);
  if (joined) {
    joined[before] = '\n';
    memcpy(joined + before + 1, line, more + 1);
  }
  free(line);
  return joined;
}

static void talk(struct vm *vm) {
  char *text = NULL, *line;
  while ((line = read_a_line(vm, text ? "  " : "> "))) {
    text = join_lines(text, line);
    if (text && is_open(text))
      continue;
    if (text && !eval_text(vm, text))
      tell_condition(vm);
    free(text);
    text = NULL;
  }
  free(text);
}

/* --- the command line ------------------------------------------------------------------------ */

struct arguments {
  const char *set, *text, *load;
  int rest; /* the first that is the program's */
};

static void stop_with(const char *text, const char *argument) {
  fprintf(stderr, "scheme: %s%s; see scheme --help\n", text, argument);
  exit(2);
}

static const char *option_value(int count, char **arguments, int *i) {
  if (*i + 1 >= count)
    stop_with("a value is missing after ", arguments[*i]);
  return arguments[++*i];
}

static bool is_option(const char *argument, const char *brief, const char *full) {
  return strcmp(argument, brief) == 0 || strcmp(argument, full) == 0;
}

static struct arguments read_arguments(int count, char **arguments) {
  struct arguments a = {.set = "", .rest = count};
  for (int i = 1; i < count; i++) {
    if (is_option(arguments[i], "-h", "--help")) {
      fputs(usage, stdout);
      exit(0);
    } else if (strcmp(arguments[i], "--version") == 0) {
      printf("scheme on Tarn %s, %s roots\n", tarn_version(),
             SCHEME_CONSERVATIVE ? "conservative" : "precise");
      exit(0);
    } else if (is_option(arguments[i], "-t", "--tarn")) {
      a.set = option_value(count, arguments, &i);
    } else if (is_option(arguments[i], "-e", "--eval")) {
      a.text = option_value(count, arguments, &i);
    } else if (is_option(arguments[i], "-l", "--load")) {
      a.load = option_value(count, arguments, &i);
    } else if (arguments[i][0] == '-' && arguments[i][1]) {
      stop_with("there is no option ", arguments[i]);
    } else {
      a.rest = i;
      break;
    }
  }
  return a;
}

int main(int count, char **arguments) {
  struct arguments a = read_arguments(count, arguments);
  runtime_begin(a.set);
  struct vm *vm = vm_of(NULL);
  set_command_line(count - a.rest, arguments + a.rest);
  load_embedded(vm);
  bool good = !a.load || load_file(vm, a.load);
  if (good && a.text)
    good = eval_text(vm, a.text);
  else if (good && a.rest < count)
    good = load_file(vm, arguments[a.rest]);
  else if (good && !a.load)
    talk(vm);
  if (!good)
    tell_condition(vm);
  (void)port_flush(vm, output_port(vm));
  runtime_end();
  return good ? 0 : 1;
}
