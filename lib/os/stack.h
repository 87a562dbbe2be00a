/* SPDX-License-Identifier: MIT */
/*
 * os/stack.h: return addresses of the calling thread, for reports.
 */
#ifndef TARN_OS_STACK_H
#define TARN_OS_STACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The return addresses of the caller's frames, the innermost first; how many, at most `most`.  By
 * the C library's unwinder, which takes no lock, and a microsecond or two for each frame.  0 where
 * there is none, before the start, and for a call from inside a call, which the unwinder makes when
 * it loads its own library.
 */
unsigned tarn_os_stack(uintptr_t *frames, unsigned most);

/* Loads that library; to be called where malloc may be. */
void tarn_os_stack_start(void);

#endif
