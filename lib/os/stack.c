/* SPDX-License-Identifier: MIT */
/*
 * os/stack.c: see os/stack.h.
 *
 * A walk by os/unwind.h where there is one, and it succeeds; else by the C library.
 */
#include "os/stack.h"
#include "os/unwind.h"

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
#define OWN 3u /* frames of this file, at most */

/* The C library's loads its own library, which calls malloc, which may want a stack. */
static _Thread_local bool inside __attribute__((tls_model("initial-exec")));
#if HAS_UNWINDER
static bool started; /* atomic */
#endif

/* By the C library.  The first one is that whose return address is `caller`. */
static unsigned walk_by_library(uintptr_t caller, uintptr_t *frames, unsigned most) {
#if HAS_UNWINDER
  void *found[MOST];
  /* Acquire: the library is loaded, by tarn_os_stack_start. */
  if (!__atomic_load_n(&started, __ATOMIC_ACQUIRE))
    return 0;
  int count = backtrace(found, (int)(most + OWN < MOST ? most + OWN : MOST)), from = 0;
  while (from < count && (uintptr_t)found[from] != caller)
    from++;
  if (from == count)
    from = 0; /* better too much than nothing */
  unsigned kept = 0;
  for (int i = from; i < count && kept < most; i++)
    frames[kept++] = (uintptr_t)found[i];
  return kept;
#else
  (void)caller, (void)frames, (void)most;
  return 0;
#endif
}

/* Whole, or the frame is another one's. */
#ifdef __clang__
#define ONE_FUNCTION __attribute__((noinline))
#else
#define ONE_FUNCTION __attribute__((noinline, noclone))
#endif

ONE_FUNCTION unsigned tarn_os_stack(uintptr_t *frames, unsigned most) {
  unsigned count = 0;
  if (inside || most == 0)
    return 0;
  inside = true;
#if TARN_UNWIND
  count = tarn_unwind(__builtin_frame_address(0), frames, most);
#endif
  if (count == 0)
    count = walk_by_library((uintptr_t)__builtin_return_address(0), frames, most);
  inside = false;
  return count;
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
