/* SPDX-License-Identifier: MIT */
/*
 * A directory for one test, in the one where the program runs and named after it; what is in it
 * goes with it.
 */
#ifndef TARN_TESTS_PLACE_H
#define TARN_TESTS_PLACE_H

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char place[48];

static inline int place_make(void **state) {
  (void)state;
  snprintf(place, sizeof place, "%.32s.XXXXXX", program_invocation_short_name);
  return mkdtemp(place) ? 0 : -1;
}

static inline int place_drop(void **state) {
  DIR *directory = opendir(place);
  char path[sizeof place + 256 + 2];
  (void)state;
  if (!directory)
    return -1;
  for (struct dirent *entry; (entry = readdir(directory));) {
    snprintf(path, sizeof path, "%s/%s", place, entry->d_name);
    (void)unlink(path);
  }
  (void)closedir(directory);
  return rmdir(place);
}

/* With the directory's name for "%s": a path, or options with one.  Good until the next call. */
static inline const char *in_place(const char *format) {
  static char text[256];
  snprintf(text, sizeof text, format, place);
  return text;
}

#define IN_PLACE(test) cmocka_unit_test_setup_teardown(test, place_make, place_drop)

#endif
