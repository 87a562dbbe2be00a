/* SPDX-License-Identifier: MIT */
/*
 * A library for profile.c, whose constructor runs before the door's: it is loaded later, and does
 * not depend on it.  If the program's argument is "early", it allocates a hundred blocks there.
 */
#include <stdlib.h>
#include <string.h>

void *earlier[100];

#if defined(__clang__)
#define SITE __attribute__((noinline)) static
#else
#define SITE __attribute__((noipa)) static
#endif

SITE void site_earlier(void) {
  for (int i = 0; i < 100; i++)
    earlier[i] = malloc(1000);
}

__attribute__((constructor)) static void start(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], "early") == 0)
    site_earlier();
}
