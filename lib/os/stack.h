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
 * os/unwind.h, some ten nanoseconds for each frame; where that does not succeed, by the C library's
 * backtrace, which finds the same ones and takes up to a microsecond for each.  Neither takes a
 * lock nor calls malloc.  0 where there is neither, or only the latter and it was not started; and
 * for a call from inside a call, by a handler of a signal or by what backtrace loads.
 */
unsigned tarn_os_stack(uintptr_t *frames, unsigned most);

/* Loads the library that backtrace needs; to be called where malloc may be. */
void tarn_os_stack_start(void);

#endif
