/* SPDX-License-Identifier: MIT */
/*
 * usage: profile_door
 * A program on the malloc of the system, as far as it knows, with two threads and known sites, so
 * that a profile under the malloc door can be asked for figures: 64 MiB by parse_line, in blocks
 * of 64 bytes of which one in eight stays, and 32 MiB by read_page, in blocks of 4,096, all of
 * which another thread frees.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#if defined(__clang__)
#define SITE __attribute__((noinline))
#else
#define SITE __attribute__((noipa))
#endif
#define LINES (1u << 20)
#define PAGES (1u << 13)

static void *lines[LINES], *pages[PAGES];

SITE void *parse_line(unsigned number);
void *parse_line(unsigned number) {
  void *line = malloc(64);
  *(unsigned *)line = number;
  return line;
}

SITE void *read_page(unsigned number);
void *read_page(unsigned number) {
  void *page = malloc(4096);
  *(unsigned *)page = number;
  return page;
}

static void *work(void *data) {
  for (unsigned i = 0; i < PAGES; i++)
    pages[i] = read_page(i);
  for (unsigned i = 0; i < LINES; i++)
    lines[i] = parse_line(i);
  return data;
}

int main(void) {
  pthread_t thread;
  if (pthread_create(&thread, NULL, work, NULL) != 0 || pthread_join(thread, NULL) != 0)
    return 1;
  for (unsigned i = 0; i < PAGES; i++)
    free(pages[i]);
  for (unsigned i = 0; i < LINES; i++)
    if (i % 8)
      free(lines[i]);
  return lines[0] ? 0 : 2;
}
