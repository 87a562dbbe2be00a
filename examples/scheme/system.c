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

DEFINE("%exit", prim_exit, 0, 1) { exit(exit_status(flush_all(vm), count, arguments)); }
DEFINE("emergency-exit", prim_emergency_exit, 0, 1) {
  _exit(exit_status(flush_standard(vm), count, arguments));
}

DEFINE("command-line", prim_command_line, 0, 0) {
  scm list = SCM_NIL;
  ROOTS(vm, (void *)&list);
  for (int i = command_count; i > 0 && list; i--) {
    scm string = string_from(vm, command_arguments[i - 1]);
    list = string ? cons(vm, string, list) : 0;
  }
  return list;
}

DEFINE("get-environment-variable", prim_get_environment, 1, 1, is_string) {
  size_t bytes;
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

DEFINE("current-jiffy", prim_current_jiffy, 0, 0) {
  return make_integer(vm, nanoseconds(CLOCK_MONOTONIC));
}
DEFINE("jiffies-per-second", prim_jiffies_per_second, 0, 0) { return fixnum(1000000000); }
DEFINE("current-second", prim_current_second, 0, 0) {
  return make_flonum(vm, (double)nanoseconds(CLOCK_REALTIME) / 1e9);
}

/* (external-bytes! n): so many bytes more, or fewer, are kept outside of the heap. */
DEFINE("external-bytes!", prim_external_bytes, 1, 1, is_fixnum) {
  if (tarn_external_adjust(world, fixnum_value(arguments[0])) != TARN_OK)
    return out_of_range(vm, who, 1, arguments[0]);
  return SCM_UNSPECIFIED;
}
