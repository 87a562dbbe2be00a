/* SPDX-License-Identifier: MIT */
/*
 * os/unwind.h: walks the calling thread's stack, some nanoseconds a frame.
 *
 * What os/cfi.h finds out of a return address is kept as a rule, in one table of the process, so
 * that a frame costs a look into the table and two words of the stack.
 *
 * No system call, no lock, no malloc, but for one system call in a second and thread.  A handler of
 * a signal may call it.
 *
 * Rules are forgotten after a second.  Until then a walk may be wrong, though never harmful, when a
 * library has come to where another one was.
 *
 * A walk reads what lies between the caller's frame and the end of its thread's stack, and before
 * the first one the system has been asked whether all of that can be read (unwind.c has the
 * argument).  So there is none on stacks that are not those that the threads began with, such as
 * those of coroutines and signals; nor through code without tables, the frame of a signal, or one
 * that os/cfi.h does not understand.
 */
#ifndef TARN_OS_UNWIND_H
#define TARN_OS_UNWIND_H

#include "os/cfi.h"

#if TARN_UNWIND

/*
 * The return addresses of a function's frame and those above it, the innermost first; how many, at
 * most `most`, which is not 0.  They are those that glibc's backtrace would find, all of them: if
 * one cannot be found the result is 0.  `frame` is what __builtin_frame_address(0) is in the
 * function, which is a caller.
 */
unsigned tarn_unwind(const void *frame, uintptr_t *frames, unsigned most);

/* Forgets all rules, and where stacks were found to end, in the calling thread: for tests. */
void tarn_unwind_forget(void);

#endif
#endif
