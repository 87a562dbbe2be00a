/* SPDX-License-Identifier: MIT */
/*
 * os/tools.h: what tools that watch the program are told of the heap: AddressSanitizer and
 * LeakSanitizer, ThreadSanitizer, valgrind's memcheck.  In builds with TARN_TOOLS; in others
 * nothing of this exists.
 *
 * The library itself is not instrumented in these builds: only the program is, and it has the
 * tool's run-time library, whose functions are called if they are there.  (Under valgrind the
 * library's code is watched as well.)  So the library may touch blocks that nobody else may, but
 * calls of memset and memcpy are seen by the sanitizers, and want the memory opened first.
 *
 *   closed   no block, or a free one: a touch by the program is an error.  Memcheck lets the first
 *            two words be, which the library reads.
 *   open     the program's, or about to be
 *
 * Every block comes and goes through the slow paths, which tell of it: no piece of a bin is larger
 * than a block.  For ThreadSanitizer a block that comes is new memory, whoever had it before; what
 * one thread did before a stop, or before it blocked, comes before what others do after it.
 */
#ifndef TARN_OS_TOOLS_H
#define TARN_OS_TOOLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifndef TARN_TOOLS
#define TARN_TOOLS 0
#endif

#if TARN_TOOLS

/* Finds out which tools are there; once, before the first block.  The heap range. */
void tarn_tools_start(uintptr_t base, size_t size);

/* Memory from the space, about to be pools and large objects, and going back. */
void tarn_tools_arena(const void *base, size_t bytes, bool taken);

/* 8-byte aligned, whole words. */
void tarn_tools_close(const void *start, size_t bytes);
void tarn_tools_open(const void *start, size_t bytes);

/*
 * A block is handed out: open up to `size`, closed from there to the end of its `room`.  `known`:
 * its contents are zero, else whatever lay there.
 */
void tarn_tools_hand_out(const void *block, size_t size, size_t room, bool known);

/* Words that the library copied from a stack, where anything may lie. */
void tarn_tools_know(const void *start, size_t bytes);

/* While the calling thread looks at memory that is no block. */
void tarn_tools_hush(bool on);

/* What the calling thread did comes before what others do after tarn_tools_see on the same. */
void tarn_tools_show(const void *at);
void tarn_tools_see(const void *at);

#else
static inline void tarn_tools_start(uintptr_t base, size_t size) { (void)base, (void)size; }
static inline void tarn_tools_arena(const void *base, size_t bytes, bool taken) {
  (void)base, (void)bytes, (void)taken;
}
static inline void tarn_tools_close(const void *start, size_t bytes) { (void)start, (void)bytes; }
static inline void tarn_tools_open(const void *start, size_t bytes) { (void)start, (void)bytes; }
static inline void tarn_tools_hand_out(const void *block, size_t size, size_t room, bool known) {
  (void)block, (void)size, (void)room, (void)known;
}
static inline void tarn_tools_know(const void *start, size_t bytes) { (void)start, (void)bytes; }
static inline void tarn_tools_hush(bool on) { (void)on; }
static inline void tarn_tools_show(const void *at) { (void)at; }
static inline void tarn_tools_see(const void *at) { (void)at; }
#endif

#endif
