/* SPDX-License-Identifier: MIT */
/*
 * heap/meta.h: memory for the library's own structures, one `struct tarn_meta` per world.
 *
 * The library never calls malloc: it may be malloc, and a world must end without traces.  Small
 * requests come from chunks cut into classes of 32 bytes; large ones are mapped one by one.
 * Everything goes back when the world ends.  Any thread; a mutex inside, held for a few
 * instructions and never across a system call that could wait for another thread of the world.
 */
#ifndef TARN_HEAP_META_H
#define TARN_HEAP_META_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#define TARN_META_SMALL ((size_t)2048)
#define TARN_META_CLASSES (TARN_META_SMALL / 32)

struct tarn_meta_chunk;
struct tarn_meta_big;

struct tarn_meta {
  pthread_mutex_t lock;
  void *free[TARN_META_CLASSES]; /* freed pieces, linked through their first word */
  char *bump, *limit;            /* the rest of the newest chunk */
  struct tarn_meta_chunk *chunks;
  struct tarn_meta_big *bigs;
  size_t bytes; /* mapped; written under the lock, read relaxed by anybody */
};

void tarn_meta_start(struct tarn_meta *meta);
void tarn_meta_end(struct tarn_meta *meta);

/* Zeroed, aligned to 32 bytes (to 64 where the size is a multiple of 64); NULL: no memory. */
void *tarn_meta_alloc(struct tarn_meta *meta, size_t size);
/* `size` as it was asked for.  NULL is ignored. */
void tarn_meta_free(struct tarn_meta *meta, void *piece, size_t size);
size_t tarn_meta_bytes(struct tarn_meta *meta);

#endif
