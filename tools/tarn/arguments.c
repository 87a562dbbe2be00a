/* SPDX-License-Identifier: MIT */
/*
 * arguments.c: options of a subcommand; see tool.h.
 */
#include "tool.h"
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

void tool_arguments_begin(struct tool_arguments *arguments, const struct tool_command *command,
                          int count, char **all) {
  /* Operands move to the front of the array, over options that were read. */
  *arguments =
      (struct tool_arguments){.command = command, .all = all, .count = count, .operands = all};
}

int tool_usage(const struct tool_command *command, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  (void)fprintf(stderr, "tarn %s: ", command->name);
  (void)vfprintf(stderr, format, arguments);
  (void)fprintf(stderr, "\nusage: tarn %s %s%s(tarn help %s)\n", command->name, command->operands,
                *command->operands ? "   " : "  ", command->name);
  va_end(arguments);
  return TOOL_USAGE;
}

static int find(const struct tool_command *command, const char *name, size_t length) {
  for (size_t i = 0; i < command->option_count; i++)
    if (strlen(command->options[i].name) == length &&
        strncmp(command->options[i].name, name, length) == 0)
      return (int)i;
  return TOOL_WRONG;
}

/* `text` begins with two dashes. */
static int option(struct tool_arguments *arguments, const char *text, const char **value) {
  size_t length = strcspn(text + 2, "=");
  int index = find(arguments->command, text + 2, length);
  *value = text[2 + length] ? text + 3 + length : NULL;
  if (index < 0) {
    (void)tool_usage(arguments->command, "there is no option %.*s", (int)(2 + length), text);
    return TOOL_WRONG;
  }
  if (!arguments->command->options[index].argument) {
    if (!*value)
      return index;
    (void)tool_usage(arguments->command, "--%.*s takes no value", (int)length, text + 2);
    return TOOL_WRONG;
  }
  if (!*value && arguments->at < arguments->count)
    *value = arguments->all[arguments->at++];
  if (*value && **value)
    return index;
  (void)tool_usage(arguments->command, "--%.*s needs a value", (int)length, text + 2);
  return TOOL_WRONG;
}

static void rest(struct tool_arguments *arguments) {
  while (arguments->at < arguments->count)
    arguments->operands[arguments->operand_count++] = arguments->all[arguments->at++];
}

int tool_arguments_next(struct tool_arguments *arguments, const char **value) {
  while (arguments->at < arguments->count) {
    char *text = arguments->all[arguments->at++];
    if (strcmp(text, "--") == 0) {
      rest(arguments);
      return TOOL_NO_MORE;
    }
    if (strcmp(text, "--help") == 0) {
      tool_print_help(arguments->command);
      exit(tool_finish(TOOL_DONE));
    }
    if (strncmp(text, "--", 2) == 0)
      return option(arguments, text, value);
    if (text[0] == '-' && text[1]) {
      (void)tool_usage(arguments->command, "there is no option %s", text);
      return TOOL_WRONG;
    }
    arguments->operands[arguments->operand_count++] = text;
    if (arguments->leading)
      rest(arguments);
  }
  return TOOL_NO_MORE;
}

bool tool_read_number(const char *what, const char *text, uint64_t least, uint64_t most,
                      uint64_t *number) {
  uint64_t value = 0;
  const char *at = text;
  bool good = *at != '\0';
  for (; *at >= '0' && *at <= '9' && good; at++) {
    uint64_t digit = (uint64_t)(*at - '0');
    good = value <= (UINT64_MAX - digit) / 10;
    value = value * 10 + digit;
  }
  good = good && !*at && value >= least && value <= most;
  if (good)
    *number = value;
  else
    tool_say("%s: \"%.*s\" is no number from %llu to %llu", what,
             (int)tool_fit(text, strlen(text), 40), text, (unsigned long long)least,
             (unsigned long long)most);
  return good;
}

void tool_print_help(const struct tool_command *command) {
  (void)printf("usage: tarn %s%s%s%s\n\n", command->name, command->option_count ? " [OPTIONS]" : "",
               *command->operands ? " " : "", command->operands);
  tool_put_text(stdout, command->text, 0);
  for (size_t i = 0; i < command->option_count; i++) {
    const struct tool_option *each = &command->options[i];
    (void)printf("%s  --%s%s%s\n", i ? "" : "\n", each->name, each->argument ? " " : "",
                 each->argument ? each->argument : "");
    tool_put_text(stdout, each->help, 6);
  }
}
