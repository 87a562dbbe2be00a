/* SPDX-License-Identifier: MIT */
/*
 * os/park.c: sleeping on a word and waking the sleepers: the private futex.
 */
#include "os/os.h"
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

void tarn_os_lock_init(pthread_mutex_t *lock) {
  pthread_mutexattr_t attributes;
  /* None of these fails for a good type. */
  (void)pthread_mutexattr_init(&attributes);
  (void)pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ADAPTIVE_NP);
  (void)pthread_mutex_init(lock, &attributes);
  (void)pthread_mutexattr_destroy(&attributes);
}

/* These keep errno: a program looks at it after a blocked region, whose end may wait for a stop. */
static void call(uint32_t *word, int operation, uint32_t value, const struct timespec *limit) {
  int kept = errno;
  (void)syscall(SYS_futex, word, operation, value, limit, NULL, 0);
  errno = kept;
}

void tarn_os_wait(uint32_t *word, uint32_t value, uint64_t timeout_ns) {
  struct timespec limit = {.tv_sec = (time_t)(timeout_ns / 1000000000u),
                           .tv_nsec = (long)(timeout_ns % 1000000000u)};
  int kept = errno;
  if (tarn_os_fails(TARN_FAULT_WAIT))
    errno = kept;
  else
    call(word, FUTEX_WAIT_PRIVATE, value, timeout_ns ? &limit : NULL);
}

static void wake(uint32_t *word, uint32_t most) { call(word, FUTEX_WAKE_PRIVATE, most, NULL); }

void tarn_os_wake_all(uint32_t *word) { wake(word, INT_MAX); }
void tarn_os_wake_one(uint32_t *word) { wake(word, 1); }
