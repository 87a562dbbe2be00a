/* SPDX-License-Identifier: MIT */
/*
 * tests/doors/door_test.h: what the test programs of the malloc door share.
 *
 * They are ordinary programs that know nothing of Tarn.  Each is run with the library preloaded,
 * and once more linked to it; door_required says whether it is really there.  With DOOR_PLAIN=1 in
 * the environment it must not be: then what is expected is checked against the C library itself.
 */
#ifndef DOOR_TEST_H
#define DOOR_TEST_H

#include <dlfcn.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(condition)                                                 \
  do {                                                                   \
    if (!(condition)) {                                                  \
      dprintf(2, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
      _exit(3);                                                          \
    }                                                                    \
  } while (0)

static inline bool door_is_plain(void) { return getenv("DOOR_PLAIN") != NULL; }

/* Is the process's malloc that of libtarn-malloc.so? */
static inline bool door_is_there(void) {
  Dl_info info;
  void *address = dlsym(RTLD_DEFAULT, "malloc");
  return address && dladdr(address, &info) && info.dli_fname &&
         strstr(info.dli_fname, "libtarn-malloc.so") != NULL;
}

/* How much longer than usual things may take in this build. */
#ifndef DOOR_SLOW
#define DOOR_SLOW 1
#endif

/* What part of what depends on chance is done: all where the library is preloaded, less where the
 * same program is linked to it, which is another way to the same functions. */
#ifndef DOOR_PART
#define DOOR_PART 1
#endif

/* Ends the program if the door is not as it was meant to be; and any program that hangs. */
static inline void door_required(unsigned seconds) {
  (void)alarm(seconds * DOOR_SLOW);
  CHECK(door_is_there() != door_is_plain());
}

/* The child must end by itself, and well.  It is killed after a while: an alarm does nothing where
 * the only thread left blocks all signals. */
static inline void door_wait_for(pid_t child) {
  int status = 1;
  pid_t ended = 0;
  CHECK(child > 0);
  for (int i = 0; i < 3000 && (ended = waitpid(child, &status, WNOHANG)) == 0; i++)
    (void)usleep(10000);
  if (ended == 0) {
    dprintf(2, "a child does not end\n");
    (void)kill(child, SIGKILL);
    ended = waitpid(child, &status, 0);
  }
  CHECK(ended == child);
  if (status != 0)
    dprintf(2, "a child's status is %#x\n", (unsigned)status);
  CHECK(status == 0);
}

/* Fills a block with bytes that follow from `seed`, and checks them. */
static inline void door_fill(void *block, size_t size, unsigned seed) {
  unsigned char *bytes = (unsigned char *)block;
  for (size_t i = 0; i < size; i++)
    bytes[i] = (unsigned char)(seed + i * 7);
}
static inline bool door_filled(const void *block, size_t size, unsigned seed) {
  const unsigned char *bytes = (const unsigned char *)block;
  for (size_t i = 0; i < size; i++)
    if (bytes[i] != (unsigned char)(seed + i * 7))
      return false;
  return true;
}

static inline uint32_t door_random(uint32_t *state) {
  *state ^= *state << 13;
  *state ^= *state >> 17;
  *state ^= *state << 5;
  return *state;
}

#endif
