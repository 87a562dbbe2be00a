/* SPDX-License-Identifier: MIT */
/*
 * A locale with a decimal comma, on any machine: the category of numbers alone, in the form that
 * localedef makes of it and the C library reads.
 */
#ifndef TARN_TESTS_COMMA_LOCALE_H
#define TARN_TESTS_COMMA_LOCALE_H

#include <locale.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The file LC_NUMERIC: six values, and where they begin. */
struct comma_file {
  uint32_t magic, count, at[6];
  char point[2], thousands[1], grouping[1];
  uint32_t wide_point, wide_thousands;
  char code[6];
};

static inline bool comma_write(const char *path) {
  struct comma_file file = {
      .magic = 0x20031115u ^ (uint32_t)LC_NUMERIC,
      .count = 6,
      .at = {offsetof(struct comma_file, point), offsetof(struct comma_file, thousands),
             offsetof(struct comma_file, grouping), offsetof(struct comma_file, wide_point),
             offsetof(struct comma_file, wide_thousands), offsetof(struct comma_file, code)},
      .point = ",",
      .wide_point = ',',
      .code = "UTF-8"};
  FILE *to = fopen(path, "wb");
  bool good = to && fwrite(&file, sizeof file, 1, to) == 1;
  return to && fclose(to) == 0 && good;
}

/* From now on 1.5 is 1,5 to printf; setlocale ends it.  False: it is not. */
static inline bool comma_begin(void) {
  char directory[] = "/tmp/tarn-locale-XXXXXX", place[64], path[80], text[8];
  if (!mkdtemp(directory))
    return false;
  (void)snprintf(place, sizeof place, "%s/comma", directory);
  (void)snprintf(path, sizeof path, "%s/LC_NUMERIC", place);
  bool good = mkdir(place, 0700) == 0 && comma_write(path) &&
              setenv("LOCPATH", directory, 1) == 0 && setlocale(LC_NUMERIC, "comma");
  (void)unsetenv("LOCPATH");
  (void)unlink(path);
  (void)rmdir(place);
  (void)rmdir(directory);
  (void)snprintf(text, sizeof text, "%.1f", 1.5);
  return good && strcmp(text, "1,5") == 0;
}

#endif
