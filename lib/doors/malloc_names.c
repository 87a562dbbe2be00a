/* SPDX-License-Identifier: MIT */
/*
 * doors/malloc_names.c: the names under which the C library's malloc is known, for
 * libtarn-malloc.so.  C++'s operators new and delete call these.
 *
 * Compiled with -fno-builtin: the compiler must not see that these are what it knows.  Beside
 * them stand the names with __libc_ that glibc exports, since a block that was allocated by one
 * name may be freed by another.  The list of exported names is in malloc_names.map.
 */
#include "doors/malloc.h"
#include <limits.h>
#include <stdlib.h>

#define NAME __attribute__((visibility("default")))
#define ALLOCATES NAME TARN_DOOR_FRONT

/* Before anything else registers fork handlers, if nobody has allocated by then. */
__attribute__((constructor)) static void start(void) { tarn_door_start(); }

/* malloc, calloc, realloc and free are other names of tarn_door_malloc and so on, which the linker
 * gives them (CMakeLists.txt): a function that only jumps to another costs some percent of a pair.
 */
ALLOCATES void *reallocarray(void *block, size_t count, size_t size) {
  return tarn_door_reallocarray(block, count, size);
}

ALLOCATES void *aligned_alloc(size_t alignment, size_t size) {
  return tarn_door_memalign(alignment, size);
}
ALLOCATES void *memalign(size_t alignment, size_t size) {
  return tarn_door_memalign(alignment, size);
}
ALLOCATES int posix_memalign(void **out, size_t alignment, size_t size) {
  return tarn_door_posix_memalign(out, alignment, size);
}
ALLOCATES void *valloc(size_t size) { return tarn_door_valloc(size); }
ALLOCATES void *pvalloc(size_t size) { return tarn_door_pvalloc(size); }

NAME size_t malloc_usable_size(void *block) { return tarn_door_usable_size(block); }
NAME int malloc_trim(size_t keep) { return tarn_door_trim(keep); }
NAME int mallopt(int parameter, int value) { return tarn_door_mallopt(parameter, value); }
NAME struct mallinfo2 mallinfo2(void) { return tarn_door_mallinfo2(); }
NAME int malloc_info(int options, FILE *stream) { return tarn_door_info(options, stream); }
NAME void malloc_stats(void) { tarn_door_stats(); }

static int cut(size_t value) { return value > INT_MAX ? INT_MAX : (int)value; }

/* Deprecated by glibc, since its fields are too small, but still there. */
NAME struct mallinfo mallinfo(void) {
  struct mallinfo2 info = tarn_door_mallinfo2();
  return (struct mallinfo){.arena = cut(info.arena),
                           .ordblks = cut(info.ordblks),
                           .hblks = cut(info.hblks),
                           .hblkhd = cut(info.hblkhd),
                           .uordblks = cut(info.uordblks),
                           .fordblks = cut(info.fordblks),
                           .keepcost = cut(info.keepcost)};
}

/* --- glibc's other names --------------------------------------------------------------------- */

NAME void cfree(void *block) { tarn_door_free(block); }
ALLOCATES void *__libc_malloc(size_t size) { return tarn_door_malloc(size); }
ALLOCATES void *__libc_calloc(size_t count, size_t size) { return tarn_door_calloc(count, size); }
ALLOCATES void *__libc_realloc(void *block, size_t size) { return tarn_door_realloc(block, size); }
NAME void __libc_free(void *block) { tarn_door_free(block); }
ALLOCATES void *__libc_memalign(size_t alignment, size_t size) {
  return tarn_door_memalign(alignment, size);
}
ALLOCATES void *__libc_valloc(size_t size) { return tarn_door_valloc(size); }
ALLOCATES void *__libc_pvalloc(size_t size) { return tarn_door_pvalloc(size); }
