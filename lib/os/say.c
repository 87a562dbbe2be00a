/* SPDX-License-Identifier: MIT */
/*
 * os/say.c: clocks, the names of threads, where their stacks are, and messages.
 *
 * A message is one write of at most one kilobyte, so that lines of several threads do not mix, and
 * nothing is allocated on the way.
 */
#include "os/os.h"
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

uint64_t tarn_os_now(void) {
  struct timespec now;
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t tarn_os_date(void) {
  struct timespec now;
  (void)clock_gettime(CLOCK_REALTIME, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint32_t tarn_os_ticks(void) {
  struct timespec now;
  (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return (uint32_t)((uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u);
}

void tarn_os_thread_name(char *buffer, size_t size) {
  char name[16] = "";
  if (size == 0)
    return;
  if (prctl(PR_GET_NAME, name, 0, 0, 0) != 0)
    name[0] = '\0';
  (void)snprintf(buffer, size, "%s", name);
}

int tarn_os_thread_id(void) { return (int)syscall(SYS_gettid); }

bool tarn_os_stack_bounds(uintptr_t *low, uintptr_t *high) {
  pthread_attr_t attributes;
  if (tarn_os_fails(TARN_FAULT_STACK) ||
      (errno = pthread_getattr_np(pthread_self(), &attributes)) != 0)
    return false;
  void *address = NULL;
  size_t size = 0;
  bool good = pthread_attr_getstack(&attributes, &address, &size) == 0;
  (void)pthread_attr_destroy(&attributes);
  *low = (uintptr_t)address;
  *high = (uintptr_t)address + size;
  return good;
}

void tarn_os_say_va(const char *format, va_list arguments) {
  char line[1024];
  int kept = errno;
  int length = vsnprintf(line, sizeof line - 1, format, arguments);
  if (length < 0)
    return;
  size_t size = (size_t)length < sizeof line - 1 ? (size_t)length : sizeof line - 2;
  line[size] = '\n';
  tarn_os_write(STDERR_FILENO, line, size + 1);
  errno = kept;
}

void tarn_os_say(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  tarn_os_say_va(format, arguments);
  va_end(arguments);
}

_Noreturn void tarn_os_die(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  tarn_os_say_va(format, arguments);
  va_end(arguments);
  abort();
}
