/* SPDX-License-Identifier: MIT */
/*
 * main.c: the `tarn` command: which subcommand; help and version.  See tool.h.
 */
#include "tool.h"
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static const struct tool_command *const commands[] = {&tool_run, &tool_top, &tool_snapshot,
                                                      &tool_report, &tool_diff};
#define COMMANDS (sizeof commands / sizeof commands[0])

static const struct tool_command *find(const char *name) {
  for (size_t i = 0; i < COMMANDS; i++)
    if (strcmp(commands[i]->name, name) == 0)
      return commands[i];
  return NULL;
}

static void print_usage(FILE *to) {
  (void)fputs("usage: tarn COMMAND [ARGUMENTS]\n\n", to);
  for (size_t i = 0; i < COMMANDS; i++) {
    (void)fprintf(to, "  %s %s\n", commands[i]->name, commands[i]->operands);
    tool_put_text(to, commands[i]->summary, 6);
  }
  (void)fputs("  help [COMMAND]\n      this, or the help of a command; also --help\n"
              "  --version\n      the version\n\n",
              to);
  tool_put_text(to,
                "Exit status: 0 it was done, 1 it could not be done, 2 the arguments are wrong; of "
                "`run` that of the program. tarn(1) says more, tarn(7) has the options of programs "
                "that use Tarn.",
                0);
}

static int help(int count, char **arguments) {
  bool itself = count && (strcmp(arguments[0], "help") == 0 || strcmp(arguments[0], "--help") == 0);
  const struct tool_command *command = count ? find(arguments[0]) : NULL;
  if (count && !command && !itself) {
    tool_say("there is no command %s; `tarn help` lists them", arguments[0]);
    return TOOL_USAGE;
  }
  if (command)
    tool_print_help(command);
  else
    print_usage(stdout);
  return TOOL_DONE;
}

static int dispatch(int count, char **arguments) {
  const char *name = arguments[0];
  if (strcmp(name, "help") == 0 || strcmp(name, "--help") == 0)
    return help(count - 1, arguments + 1);
  if (strcmp(name, "--version") == 0) {
    (void)puts("tarn " TARN_VERSION);
    return TOOL_DONE;
  }
  const struct tool_command *command = find(name);
  if (!command) {
    tool_say("there is no command %s; `tarn help` lists them", name);
    return TOOL_USAGE;
  }
  return command->run(count - 1, arguments + 1);
}

/* Files that are opened must not get the numbers of standard streams that are closed: a message
 * would be written into them.  So these are opened, the wrong way round, so that they still fail;
 * and programs that the command runs do not have them. */
static bool keep_numbers(void) {
  for (int number = STDIN_FILENO; number <= STDERR_FILENO; number++)
    if (fcntl(number, F_GETFD) < 0 &&
        open("/dev/null", (number == STDIN_FILENO ? O_WRONLY : O_RDONLY) | O_CLOEXEC) != number)
      return false;
  return true;
}

int main(int count, char **arguments) {
  if (!keep_numbers())
    return TOOL_FAILED;
  if (count < 2) {
    print_usage(stderr);
    return TOOL_USAGE;
  }
  return tool_finish(dispatch(count - 1, arguments + 1));
}
