/* SPDX-License-Identifier: MIT */
/*
 * os/tools.c: see os/tools.h.
 *
 * State: which tools there are, written once under the space's lock before the first world exists.
 */
#include "os/tools.h"

#if TARN_TOOLS

#if defined(__has_include)
#if __has_include(<valgrind/memcheck.h>)
#include <valgrind/memcheck.h>
#define HAS_VALGRIND 1
#endif
#endif
#ifndef HAS_VALGRIND
#define HAS_VALGRIND 0
#endif

/* Interfaces of the sanitizers' run-time libraries, as they declare them: volatile so that any
 * pointer may be given. */
#define FROM_TOOL __attribute__((weak)) extern
FROM_TOOL void __asan_poison_memory_region(const volatile void *start, size_t size);
FROM_TOOL void __asan_unpoison_memory_region(const volatile void *start, size_t size);
FROM_TOOL void __lsan_register_root_region(const void *start, size_t size);
FROM_TOOL void __lsan_unregister_root_region(const void *start, size_t size);
FROM_TOOL void __tsan_java_init(unsigned long base, unsigned long size);
FROM_TOOL void __tsan_java_alloc(unsigned long start, unsigned long size);
FROM_TOOL void __tsan_java_free(unsigned long start, unsigned long size);
FROM_TOOL void __tsan_acquire(void *at);
FROM_TOOL void __tsan_release(void *at);

#define KEPT_WORDS ((size_t)16) /* bytes of a free block that the library reads */

static bool has_asan, has_tsan, has_memcheck;

void tarn_tools_start(uintptr_t base, size_t size) {
  has_asan = __asan_poison_memory_region && __asan_unpoison_memory_region;
  has_tsan =
      __tsan_java_init && __tsan_java_alloc && __tsan_java_free && __tsan_acquire && __tsan_release;
#if HAS_VALGRIND
  has_memcheck = RUNNING_ON_VALGRIND != 0;
#endif
  if (has_tsan)
    __tsan_java_init(base, size);
}

void tarn_tools_arena(const void *base, size_t bytes, bool taken) {
  if (__lsan_register_root_region && taken)
    __lsan_register_root_region(base, bytes);
  else if (__lsan_unregister_root_region && !taken)
    __lsan_unregister_root_region(base, bytes);
  if (!taken) /* as it came from the system */
    tarn_tools_open(base, bytes);
}

void tarn_tools_close(const void *start, size_t bytes) {
  if (has_asan)
    __asan_poison_memory_region(start, bytes);
  if (has_tsan)
    __tsan_java_free((uintptr_t)start, bytes);
#if HAS_VALGRIND
  if (has_memcheck) {
    size_t kept = bytes < KEPT_WORDS ? bytes : KEPT_WORDS;
    (void)VALGRIND_MAKE_MEM_DEFINED(start, kept);
    (void)VALGRIND_MAKE_MEM_NOACCESS((const char *)start + kept, bytes - kept);
  }
#endif
}

void tarn_tools_open(const void *start, size_t bytes) {
  if (has_asan)
    __asan_unpoison_memory_region(start, bytes);
#if HAS_VALGRIND
  if (has_memcheck)
    (void)VALGRIND_MAKE_MEM_DEFINED(start, bytes);
#endif
}

void tarn_tools_hand_out(const void *block, size_t size, size_t room, bool known) {
  if (has_tsan)
    __tsan_java_alloc((uintptr_t)block, room);
  if (has_asan) { /* from the beginning, for the word in the middle of which the end may be */
    __asan_poison_memory_region(block, room);
    __asan_unpoison_memory_region(block, size);
  }
#if HAS_VALGRIND
  if (has_memcheck) {
    if (known)
      (void)VALGRIND_MAKE_MEM_DEFINED(block, size);
    else
      (void)VALGRIND_MAKE_MEM_UNDEFINED(block, size);
    if (room > size)
      (void)VALGRIND_MAKE_MEM_NOACCESS((const char *)block + size, room - size);
  }
#endif
}

void tarn_tools_know(const void *start, size_t bytes) {
#if HAS_VALGRIND
  if (has_memcheck)
    (void)VALGRIND_MAKE_MEM_DEFINED(start, bytes);
#else
  (void)start, (void)bytes;
#endif
}

void tarn_tools_hush(bool on) {
#if HAS_VALGRIND
  if (has_memcheck && on)
    VALGRIND_DISABLE_ERROR_REPORTING;
  else if (has_memcheck)
    VALGRIND_ENABLE_ERROR_REPORTING;
#else
  (void)on;
#endif
}

void tarn_tools_show(const void *at) {
  if (has_tsan)
    __tsan_release((void *)(uintptr_t)at);
}

void tarn_tools_see(const void *at) {
  if (has_tsan)
    __tsan_acquire((void *)(uintptr_t)at);
}

#else
typedef int tarn_tools_none; /* no file is empty */
#endif
