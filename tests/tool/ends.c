/* SPDX-License-Identifier: MIT */
/*
 * ends: a program whose first thread ends before the last one does, with which the process ends.
 *
 *   ends [SECONDS]
 *
 * The last one ends after that, or a third of a second.
 */
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

static unsigned seconds;

static void *last(void *data) {
  free(malloc(100));
  if (seconds)
    (void)sleep(seconds);
  else
    (void)usleep(300000);
  return data;
}

int main(int argc, char **argv) {
  pthread_t thread;
  seconds = argc > 1 ? (unsigned)atoi(argv[1]) : 0;
  if (pthread_create(&thread, NULL, last, NULL) != 0 || pthread_detach(thread) != 0)
    return 1;
  pthread_exit(NULL);
}
