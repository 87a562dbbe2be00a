/* SPDX-License-Identifier: MIT */
/*
 * ends: a program whose first thread ends before the last one does, with which the process ends.
 */
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

static void *last(void *data) {
  free(malloc(100));
  (void)usleep(300000);
  return data;
}

int main(void) {
  pthread_t thread;
  if (pthread_create(&thread, NULL, last, NULL) != 0 || pthread_detach(thread) != 0)
    return 1;
  pthread_exit(NULL);
}
