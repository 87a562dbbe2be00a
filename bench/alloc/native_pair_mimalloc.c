/* SPDX-License-Identifier: MIT */
/*
 * Pairs through mimalloc's own functions: by mi_malloc, by mi_heap_malloc with the heap in hand,
 * and by the malloc that the library puts in the place of glibc's. Which is the fastest differs by
 * size and machine; the group compares with the fastest. Cleared blocks by mi_zalloc and
 * mi_heap_zalloc.
 *
 * usage: alloc_native_pair_mimalloc malloc|mi|heap|zalloc|heap-zalloc SIZE RESIDENTS PAIRS
 */
#include "native_pair.h"

#include <mimalloc.h>

#define PLAIN_ALLOC(heap, size) ((void)(heap), malloc(size))
#define PLAIN_FREE(heap, block) ((void)(heap), free(block))
#define MI_ALLOC(heap, size) ((void)(heap), mi_malloc(size))
#define MI_FREE(heap, block) ((void)(heap), mi_free(block))
NATIVE_PAIRS(plain_pairs, mi_heap_t *, PLAIN_ALLOC, PLAIN_FREE)
NATIVE_PAIRS(mi_pairs, mi_heap_t *, MI_ALLOC, MI_FREE)
#define MI_ZALLOC(heap, size) ((void)(heap), mi_zalloc(size))
NATIVE_PAIRS(heap_pairs, mi_heap_t *, mi_heap_malloc, MI_FREE)
NATIVE_PAIRS(zalloc_pairs, mi_heap_t *, MI_ZALLOC, MI_FREE)
NATIVE_PAIRS(heap_zalloc_pairs, mi_heap_t *, mi_heap_zalloc, MI_FREE)

int main(int argc, char **argv) {
  if (argc != 5)
    subject_fail(argv[0], "usage: malloc|mi|heap|zalloc|heap-zalloc SIZE RESIDENTS PAIRS");
  allocator_check();
  residents_choose(argv[3]);
  size_t size = subject_number(argv[2]);
  uint64_t count = subject_number(argv[4]);
  mi_heap_t *heap = mi_heap_get_default();
  if (strcmp(argv[1], "malloc") == 0)
    NATIVE_MEASURE(plain_pairs, heap, size, count);
  else if (strcmp(argv[1], "mi") == 0)
    NATIVE_MEASURE(mi_pairs, heap, size, count);
  else if (strcmp(argv[1], "zalloc") == 0)
    NATIVE_MEASURE(zalloc_pairs, heap, size, count);
  else if (strcmp(argv[1], "heap-zalloc") == 0)
    NATIVE_MEASURE(heap_zalloc_pairs, heap, size, count);
  else
    NATIVE_MEASURE(heap_pairs, heap, size, count);
  return 0;
}
