/* SPDX-License-Identifier: MIT */
/*
 * Suppressions of the thread sanitizer, linked into every test and stress program of a tsan
 * build. liburcu is not instrumented, so calls made from inside it (memset, mutexes, list
 * walks in its own code) look like races. Only frames called from its libraries are
 * suppressed; never "race:liburcu", which would hide races in our own callbacks.
 */

const char *__tsan_default_suppressions(void);

__attribute__((visibility("default"))) const char *__tsan_default_suppressions(void) {
  return "called_from_lib:liburcu-bp.so\n"
         "called_from_lib:liburcu-common.so\n";
}
