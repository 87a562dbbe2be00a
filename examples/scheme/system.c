/* SPDX-License-Identifier: MIT */
/*
 * system.c: what the process and its surroundings offer: its end, its arguments, its clocks.
 */
#include "scheme.h"
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static int command_count; /* both: written before there are threads */
static char **command_arguments;

void set_command_line(int count, char **arguments) {
  command_count = count;
  command_arguments = arguments;
}

/* No status, #t and others: 0.  What was written to ports and cannot be is a failure, too. */
static int exit_status(bool written, int count, const scm *arguments) {
  if (count > 0 && is_fixnum(arguments[0]) && arguments[0] != fixnum(0))
    return (int)(fixnum_value(arguments[0]) & 0xff);
  return !written || (count > 0 && arguments[0] == SCM_FALSE);
}

PRIMITIVE(prim_exit) { exit(exit_status(flush_all(vm), count, arguments)); }
PRIMITIVE(prim_emergency_exit) { _exit(exit_status(flush_standard(vm), count, arguments)); }

PRIMITIVE(prim_command_line) {
  scm list = SCM_NIL;
  ROOTS(vm, (void *)&list);
  for (int i = command_count; i > 0 && list; i--) {
    scm string = string_from(vm, command_arguments[i - 1]);
    list = string ? cons(vm, string, list) : 0;
  }
  return list;
}

PRIMITIVE(prim_get_environment) {
  size_t bytes;
  if (!is_string(arguments[0]))
    return wrong_type(vm, "get-environment-variable", 1, arguments[0]);
  scm name = string_to_utf8(vm, arguments[0], &bytes);
  if (!name)
    return 0;
  const char *value = strlen((const char *)name) == bytes ? getenv((const char *)name) : NULL;
  return value ? string_from(vm, value) : SCM_FALSE;
}

static intptr_t nanoseconds(clockid_t clock) {
  struct timespec now;
  (void)clock_gettime(clock, &now);
  return (intptr_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

PRIMITIVE(prim_current_jiffy) { return make_integer(vm, nanoseconds(CLOCK_MONOTONIC)); }
PRIMITIVE(prim_jiffies_per_second) { return fixnum(1000000000); }
PRIMITIVE(prim_current_second) {
  return make_flonum(vm, (double)nanoseconds(CLOCK_REALTIME) / 1e9);
}

/* (external-bytes! n): so many bytes more, or fewer, are kept outside of the heap. */
PRIMITIVE(prim_external_bytes) {
  if (!is_fixnum(arguments[0]))
    return wrong_type(vm, "external-bytes!", 1, arguments[0]);
  if (tarn_external_adjust(world, fixnum_value(arguments[0])) != TARN_OK)
    return out_of_range(vm, "external-bytes!", 1, arguments[0]);
  return SCM_UNSPECIFIED;
}

static const struct primitive_def defs[] = {
    {"%exit", prim_exit, 0, 1},
    {"emergency-exit", prim_emergency_exit, 0, 1},
    {"command-line", prim_command_line, 0, 0},
    {"get-environment-variable", prim_get_environment, 1, 1},
    {"current-jiffy", prim_current_jiffy, 0, 0},
    {"jiffies-per-second", prim_jiffies_per_second, 0, 0},
    {"current-second", prim_current_second, 0, 0},
    {"external-bytes!", prim_external_bytes, 1, 1},
    {NULL, NULL, 0, 0}};

void system_begin(struct vm *vm) { define_primitives(vm, defs); }
