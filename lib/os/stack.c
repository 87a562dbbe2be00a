/* SPDX-License-Identifier: MIT */
/*
 * os/stack.c: see os/stack.h.
 */
#include "os/stack.h"

#if defined(__has_include)
#if __has_include(<execinfo.h>)
#include <execinfo.h>
#define HAS_UNWINDER 1
#endif
#endif
#ifndef HAS_UNWINDER
#define HAS_UNWINDER 0
#endif

#define MOST 64u
#define OWN 1u /* the frame of tarn_os_stack itself */

#if HAS_UNWINDER
static _Thread_local bool inside __attribute__((tls_model("initial-exec")));
static bool started; /* atomic */
#endif

unsigned tarn_os_stack(uintptr_t *frames, unsigned most) {
#if HAS_UNWINDER
  void *found[MOST];
  if (inside || !__atomic_load_n(&started, __ATOMIC_ACQUIRE))
    return 0;
  inside = true;
  int count = backtrace(found, (int)(most + OWN < MOST ? most + OWN : MOST));
  inside = false;
  unsigned kept = 0;
  for (int i = (int)OWN; i < count && kept < most; i++)
    frames[kept++] = (uintptr_t)found[i];
  return kept;
#else
  (void)frames, (void)most;
  return 0;
#endif
}

void tarn_os_stack_start(void) {
#if HAS_UNWINDER
  void *frame;
  inside = true;
  (void)backtrace(&frame, 1);
  inside = false;
  /* Release: who sees it finds the library loaded. */
  __atomic_store_n(&started, true, __ATOMIC_RELEASE);
#endif
}
