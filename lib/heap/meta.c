/* SPDX-License-Identifier: MIT */
/*
 * heap/meta.c: see heap/meta.h.  Pieces of a class are reused last in, first out, and cleared when
 * they are handed out again.
 */
#include "heap/meta.h"
#include "os/os.h"
#include <string.h>

#define CHUNK_SIZE ((size_t)256 << 10)

struct tarn_meta_chunk {
  struct tarn_meta_chunk *next;
};

/* A request with pages of its own; the record is itself a small piece. */
struct tarn_meta_big {
  struct tarn_meta_big *next, *previous;
  void *pages;
  size_t bytes;
};

void tarn_meta_start(struct tarn_meta *meta) {
  memset(meta, 0, sizeof *meta);
  tarn_os_lock_init(&meta->lock);
}

void tarn_meta_end(struct tarn_meta *meta) {
  for (struct tarn_meta_big *big = meta->bigs; big; big = big->next)
    tarn_os_unmap(big->pages, big->bytes);
  struct tarn_meta_chunk *next;
  for (struct tarn_meta_chunk *chunk = meta->chunks; chunk; chunk = next) {
    next = chunk->next;
    tarn_os_unmap(chunk, CHUNK_SIZE);
  }
  (void)pthread_mutex_destroy(&meta->lock);
}

static void count(struct tarn_meta *meta, size_t more, size_t less) {
  /* Relaxed: a figure for statistics.  Atomic because they read it without the lock. */
  __atomic_store_n(&meta->bytes, meta->bytes + more - less, __ATOMIC_RELAXED);
}

size_t tarn_meta_bytes(struct tarn_meta *meta) {
  return __atomic_load_n(&meta->bytes, __ATOMIC_RELAXED);
}

static size_t small_size(size_t size) { return size ? (size + 31) & ~(size_t)31 : 32; }

/* Starts a new chunk.  What is left of the old one is at most a small piece, and lost. */
static bool new_chunk(struct tarn_meta *meta) {
  struct tarn_meta_chunk *chunk = tarn_os_map(CHUNK_SIZE);
  if (!chunk)
    return false;
  chunk->next = meta->chunks;
  meta->chunks = chunk;
  meta->bump = (char *)chunk + 64;
  meta->limit = (char *)chunk + CHUNK_SIZE;
  count(meta, CHUNK_SIZE, 0);
  return true;
}

/* Under the lock.  `rounded` is a multiple of 32. */
static void *take_small(struct tarn_meta *meta, size_t rounded) {
  void **head = &meta->free[rounded / 32 - 1];
  void *piece = *head;
  if (piece) {
    *head = *(void **)piece;
    memset(piece, 0, rounded);
    return piece;
  }
  uintptr_t mask = rounded % 64 == 0 ? 63 : 31;
  char *start = (char *)(((uintptr_t)meta->bump + mask) & ~mask);
  if (!meta->bump || rounded > (size_t)(meta->limit - meta->bump) ||
      start + rounded > meta->limit) {
    if (!new_chunk(meta))
      return NULL;
    start = meta->bump;
  }
  meta->bump = start + rounded;
  return start;
}

static void *take_big(struct tarn_meta *meta, size_t size) {
  size_t page = tarn_os_page_size();
  size_t bytes = (size + page - 1) & ~(page - 1);
  if (bytes < size)
    return NULL;
  void *pages = tarn_os_map(bytes);
  if (!pages)
    return NULL;
  (void)pthread_mutex_lock(&meta->lock);
  struct tarn_meta_big *big = take_small(meta, small_size(sizeof *big));
  if (big) {
    *big = (struct tarn_meta_big){.next = meta->bigs, .pages = pages, .bytes = bytes};
    if (meta->bigs)
      meta->bigs->previous = big;
    meta->bigs = big;
    count(meta, bytes, 0);
  }
  (void)pthread_mutex_unlock(&meta->lock);
  if (!big)
    tarn_os_unmap(pages, bytes);
  return big ? pages : NULL;
}

void *tarn_meta_alloc(struct tarn_meta *meta, size_t size) {
  size_t rounded = small_size(size);
  if (size > TARN_META_SMALL)
    return take_big(meta, size);
  (void)pthread_mutex_lock(&meta->lock);
  void *piece = take_small(meta, rounded);
  (void)pthread_mutex_unlock(&meta->lock);
  return piece;
}

/* Under the lock: takes the record of the big piece off the list. */
static struct tarn_meta_big *unlink_big(struct tarn_meta *meta, void *pages) {
  struct tarn_meta_big *big = meta->bigs;
  while (big && big->pages != pages)
    big = big->next;
  if (!big)
    return NULL;
  if (big->previous)
    big->previous->next = big->next;
  else
    meta->bigs = big->next;
  if (big->next)
    big->next->previous = big->previous;
  return big;
}

static void put_small(struct tarn_meta *meta, void *piece, size_t rounded) {
  void **head = &meta->free[rounded / 32 - 1];
  *(void **)piece = *head;
  *head = piece;
}

static void free_big(struct tarn_meta *meta, void *pages) {
  (void)pthread_mutex_lock(&meta->lock);
  struct tarn_meta_big *big = unlink_big(meta, pages);
  size_t bytes = big ? big->bytes : 0;
  if (big) {
    count(meta, 0, bytes);
    put_small(meta, big, small_size(sizeof *big));
  }
  (void)pthread_mutex_unlock(&meta->lock);
  if (bytes)
    tarn_os_unmap(pages, bytes);
}

void tarn_meta_free(struct tarn_meta *meta, void *piece, size_t size) {
  if (!piece)
    return;
  if (size > TARN_META_SMALL) {
    free_big(meta, piece);
    return;
  }
  (void)pthread_mutex_lock(&meta->lock);
  put_small(meta, piece, small_size(size));
  (void)pthread_mutex_unlock(&meta->lock);
}
