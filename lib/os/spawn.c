/* SPDX-License-Identifier: MIT */
/*
 * os/spawn.c: threads of the library's own, and what it has in the program's.  No state.
 */
#include "os/os.h"
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#if TARN_ASAN || TARN_TSAN
#define STACK_SIZE ((size_t)1 << 20)
#else
/* Address space only.  The last thread of a process runs its exit handlers, and may be ours. */
#define STACK_SIZE ((size_t)256 << 10)
#endif

void tarn_os_set_thread_name(const char *name) { (void)prctl(PR_SET_NAME, name, 0, 0, 0); }

/* The least that the system asks for holds the program's thread-local data too. */
static size_t stack_size(void) {
  long least = sysconf(_SC_THREAD_STACK_MIN);
  return STACK_SIZE + (least > 0 ? ((size_t)least + 4095) & ~(size_t)4095 : STACK_SIZE);
}

static bool create(void *(*fn)(void *), void *data) {
  pthread_attr_t attributes;
  pthread_t thread;
  if (pthread_attr_init(&attributes) != 0)
    return false;
  bool good = pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED) == 0 &&
              pthread_attr_setstacksize(&attributes, stack_size()) == 0 &&
              pthread_create(&thread, &attributes, fn, data) == 0;
  (void)pthread_attr_destroy(&attributes);
  return good;
}

bool tarn_os_start_thread(void *(*fn)(void *), void *data) {
  sigset_t all, before;
  if (tarn_os_fails(TARN_FAULT_THREAD))
    return false;
  /* A thread begins with its creator's mask; signals are for the program's own threads. */
  (void)sigfillset(&all);
  (void)pthread_sigmask(SIG_SETMASK, &all, &before);
  bool good = create(fn, data);
  (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
  return good;
}

bool tarn_os_make_key(pthread_key_t *key, void (*at_exit)(void *)) {
  return !tarn_os_fails(TARN_FAULT_KEY) && pthread_key_create(key, at_exit) == 0;
}

bool tarn_os_set_key(pthread_key_t key, const void *value) {
  return !tarn_os_fails(TARN_FAULT_KEY) && pthread_setspecific(key, value) == 0;
}

bool tarn_os_at_fork(void (*before)(void), void (*parent)(void), void (*child)(void)) {
  return !tarn_os_fails(TARN_FAULT_ATFORK) && pthread_atfork(before, parent, child) == 0;
}
