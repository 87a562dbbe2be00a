/* SPDX-License-Identifier: MIT */
/*
 * doors/malloc.h: the malloc family of the C library over one hidden world without a collector.
 *
 *   malloc.c         the engine: the world, threads, fork, allocation and freeing
 *   malloc_early.c   a small buffer for allocations that the engine itself causes
 *   malloc_figures.c malloc_trim, mallopt, mallinfo2, malloc_info, malloc_stats
 *   malloc_names.c   the C library's names, in libtarn-malloc.so only
 *
 * Each function is the C library's of that name, as glibc 2.36 has it; doc/malloc.md lists what is
 * different.  They may be called by any thread at any time: before constructors, in destructors of
 * thread-local data, and in fork handlers.  What is here but malloc_names.c may also be linked into
 * a program under its own names, which is how the stress programs drive it under a sanitizer.
 */
#ifndef TARN_DOORS_MALLOC_H
#define TARN_DOORS_MALLOC_H

#include <malloc.h>
#include <stdio.h>
#include <tarn/world.h>

/* Functions that allocate, and call each other: they are no callers in a profile's stacks, see
 * inspect/profile.c. */
#define TARN_DOOR_FRONT __attribute__((section("tarn_front")))

/* The linker gives these the names that programs know, which it can not give to what is hidden. */
#define TARN_DOOR_NAMED __attribute__((visibility("default")))
TARN_DOOR_NAMED void *tarn_door_malloc(size_t size);
TARN_DOOR_NAMED void *tarn_door_calloc(size_t count, size_t size);
TARN_DOOR_NAMED void *tarn_door_realloc(void *block, size_t size);
void *tarn_door_reallocarray(void *block, size_t count, size_t size);
TARN_DOOR_NAMED void tarn_door_free(void *block);

void *tarn_door_memalign(size_t alignment, size_t size); /* also aligned_alloc */
int tarn_door_posix_memalign(void **out, size_t alignment, size_t size);
void *tarn_door_valloc(size_t size);
void *tarn_door_pvalloc(size_t size);

size_t tarn_door_usable_size(const void *block);

int tarn_door_trim(size_t keep);
int tarn_door_mallopt(int parameter, int value);
struct mallinfo2 tarn_door_mallinfo2(void);
int tarn_door_info(int options, FILE *stream);
void tarn_door_stats(void);

/* Makes the world now, if there is none yet. */
void tarn_door_start(void);

/* The world, for who takes its locks; NULL: there is none yet, or the caller is between the
 * handlers of a fork and has them. */
tarn_world *tarn_door_world(void);

/* --- malloc_early.c -------------------------------------------------------------------------- */
/*
 * Blocks of a static buffer, for a thread that is inside the engine or between the fork handlers,
 * where it must not allocate in the usual way.  Any thread, no lock.
 */

/* `alignment` is a power of two; contents undefined.  NULL: the buffer is used up. */
void *tarn_early_alloc(size_t alignment, size_t size);
/* The size of a block of the buffer; 0: `block` does not lie there. */
size_t tarn_early_size(const void *block);
/* False: the block does not lie there, and nothing was done. */
bool tarn_early_free(void *block);

#endif
