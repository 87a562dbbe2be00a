/* SPDX-License-Identifier: MIT */
/*
 * holder MEBIBYTES SECONDS [THREADS]: allocates so much in blocks of 4,096 bytes, waits, and exits
 * with it.  Threads, named holder-1 and so on, have as many times that as their number says.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static size_t mebibytes;
static unsigned seconds;

static void hold(size_t count) {
  char **blocks = malloc(count * sizeof *blocks);
  for (size_t i = 0; blocks && i < count; i++)
    if (!(blocks[i] = malloc(4096)))
      exit(3);
    else
      memset(blocks[i], 1, 4096);
  if (!blocks)
    exit(3);
}

static void *run(void *data) {
  const unsigned *number = data;
  char name[16];
  (void)snprintf(name, sizeof name, "holder-%u", *number);
  hold(mebibytes * 256 * *number);
  (void)prctl(PR_SET_NAME, name, 0, 0, 0); /* the malloc knows the thread already */
  (void)sleep(seconds);
  return data;
}

int main(int argc, char **argv) {
  enum { MOST = 8 };
  pthread_t threads[MOST];
  unsigned numbers[MOST];
  if (argc != 3 && argc != 4)
    return 2;
  mebibytes = (size_t)atoi(argv[1]);
  seconds = (unsigned)atoi(argv[2]);
  int count = argc == 4 ? atoi(argv[3]) : 0;
  for (int i = 0; i < count && i < MOST; i++) {
    numbers[i] = (unsigned)i + 1;
    if (pthread_create(&threads[i], NULL, run, &numbers[i]) != 0)
      return 4;
  }
  hold(mebibytes * 256);
  for (int i = 0; i < count && i < MOST; i++)
    if (pthread_join(threads[i], NULL) != 0)
      return 5;
  if (count == 0)
    (void)sleep(seconds);
  return 0;
}
