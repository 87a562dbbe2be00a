/* SPDX-License-Identifier: MIT */
/*
 * diff.c: `tarn diff`: which types grew between two snapshots, and what retains them; see diff.h.
 */
#include "diff.h"
#include "tool.h"
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { BY, TOP, PATHS, OPTIONS };

static const struct tool_option options[OPTIONS] = {
    [BY] = {"by", "WHAT",
            "What the types are sorted by: the growth in `bytes` (the default) or "
            "in `objects`."},
    [TOP] = {"top", "N", "Print at most N types; 20 unless given."},
    [PATHS] = {"paths", "N",
               "Print for the N types that grew most what holds a typical new object; 3 unless "
               "given, 0 for none."},
};

/* --- sorting --------------------------------------------------------------------------------- */

static bool by_objects;
static const struct class *sorted_classes;

static int64_t growth(const uint64_t number[2]) { return (int64_t)(number[1] - number[0]); }

static int compare_growth(int64_t a, int64_t b) { return (a < b) - (a > b); }

static int compare(const void *a, const void *b) {
  const struct class *first = &sorted_classes[*(const uint32_t *)a];
  const struct class *second = &sorted_classes[*(const uint32_t *)b];
  int bytes = compare_growth(growth(first->bytes), growth(second->bytes));
  int objects = compare_growth(growth(first->objects), growth(second->objects));
  int primary = by_objects ? objects : bytes, secondary = by_objects ? bytes : objects;
  if (primary)
    return primary;
  return secondary ? secondary : strcmp(first->name, second->name);
}

static bool changed(const struct class *class) {
  return growth(class->bytes) || growth(class->objects);
}

/* The types that have changed, the one that grew most first. */
static uint32_t sort(const struct diff *diff, uint32_t *order) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < diff->classes.count; i++)
    if (changed(&diff->classes.all[i]))
      order[count++] = i;
  sorted_classes = diff->classes.all;
  qsort(order, count, sizeof *order, compare);
  return count;
}

/* --- the table ------------------------------------------------------------------------------- */

/* Columns before the name. */
#define COLUMNS 65u

static void print_row(const struct diff *diff, const struct class *class, unsigned width) {
  char fresh[24] = "-";
  if (diff->ids_stable)
    (void)snprintf(fresh, sizeof fresh, "%llu", (unsigned long long)class->fresh);
  (void)printf("%9llu %9llu %9s %8s %7s %7s %8s  ", (unsigned long long)class->objects[0],
               (unsigned long long)class->objects[1], tool_signed_count(growth(class->objects)),
               fresh, tool_size(class->bytes[0]), tool_size(class->bytes[1]),
               tool_signed_size(growth(class->bytes)));
  (void)tool_put_name(stdout, class_title(class), width > COLUMNS + 8 ? width - COLUMNS : 8);
  (void)putchar('\n');
}

static void add_up(struct class *sum, const struct class *class) {
  for (int i = 0; i < 2; i++) {
    sum->objects[i] += class->objects[i];
    sum->bytes[i] += class->bytes[i];
  }
  sum->fresh += class->fresh;
}

static void print_table(const struct diff *diff, const uint32_t *order, uint32_t count,
                        uint64_t top) {
  unsigned width = tool_width(stdout);
  struct class all = {.name = (char[]){"(all)"}}, others = {.name = (char[]){"(other types)"}};
  (void)printf("%9s %9s %9s %8s %7s %7s %8s  type\n", "objects", "", "", "", "bytes", "", "");
  (void)printf("%9s %9s %9s %8s %7s %7s %8s\n", "before", "after", "growth", "new", "before",
               "after", "growth");
  for (uint32_t i = 0; i < diff->classes.count; i++)
    add_up(&all, &diff->classes.all[i]);
  for (uint32_t i = 0; i < count; i++)
    if (i < top)
      print_row(diff, &diff->classes.all[order[i]], width);
    else
      add_up(&others, &diff->classes.all[order[i]]);
  if (count > top)
    print_row(diff, &others, width);
  print_row(diff, &all, width);
}

static void print_notes(const struct diff *diff, uint32_t count) {
  if (!count)
    (void)puts("\nNo type has changed in number or size.");
  if (!diff->ids_stable)
    (void)puts("\nThe ids of the two do not belong together, so it cannot be told which objects\n"
               "are new; the paths are those of any.");
}

/* --- the command ----------------------------------------------------------------------------- */

static bool read_options(struct tool_arguments *arguments, uint64_t *top, uint64_t *paths) {
  const char *value;
  int option;
  while ((option = tool_arguments_next(arguments, &value)) >= 0) {
    if (option == TOP && !tool_read_number("--top", value, 1, 1000000, top))
      return false;
    if (option == PATHS && !tool_read_number("--paths", value, 0, 1000, paths))
      return false;
    if (option != BY)
      continue;
    by_objects = strcmp(value, "objects") == 0;
    if (!by_objects && strcmp(value, "bytes") != 0) {
      (void)tool_usage(&tool_diff, "--by takes `bytes` or `objects`");
      return false;
    }
  }
  return option == TOOL_NO_MORE;
}

/* Names of edges come from a second reading, which a pipe has not. */
static bool can_be_read_twice(const char *path) {
  struct stat status;
  if (strcmp(path, "-") != 0 &&
      (stat(path, &status) != 0 || S_ISREG(status.st_mode) || S_ISDIR(status.st_mode)))
    return true; /* or is no file at all, which is said where it is opened */
  tool_say("%s: is read twice, so it has to be a file; with --paths 0 anything will do",
           tool_name_of(path));
  return false;
}

static int run(int count, char **all) {
  struct tool_arguments arguments;
  struct diff diff = {0};
  uint64_t top = 20, paths = 3;
  tool_arguments_begin(&arguments, &tool_diff, count, all);
  if (!read_options(&arguments, &top, &paths))
    return TOOL_USAGE;
  if (arguments.operand_count != 2)
    return tool_usage(&tool_diff, "two snapshots are needed");
  if (strcmp(arguments.operands[0], "-") == 0 && strcmp(arguments.operands[1], "-") == 0)
    return tool_usage(&tool_diff, "only one can be the standard input");
  diff.paths[0] = arguments.operands[0];
  diff.paths[1] = arguments.operands[1];
  if ((paths && !can_be_read_twice(diff.paths[1])) || !diff_load(&diff))
    return TOOL_FAILED;
  uint32_t *order = tool_make(diff.classes.count, sizeof *order), grown = 0;
  uint32_t types = sort(&diff, order);
  print_table(&diff, order, types, top);
  print_notes(&diff, types);
  while (grown < types && grown < paths &&
         (growth(diff.classes.all[order[grown]].bytes) > 0 ||
          growth(diff.classes.all[order[grown]].objects) > 0))
    grown++;
  if (grown && !diff_print_paths(&diff, order, grown))
    return TOOL_FAILED;
  return TOOL_DONE;
}

const struct tool_command tool_diff = {
    .name = "diff",
    .operands = "BEFORE AFTER",
    .summary = "compare two heap snapshots: which types grew, and what holds them",
    .text = "Compares two files in the format .heapsnapshot, of Tarn, Node.js or Chrome, type by "
            "type; one may be `-`, the standard input. Where the ids in them are stable, `new` are "
            "the objects that only the second "
            "one has.",
    .options = options,
    .option_count = OPTIONS,
    .run = run};
