/* SPDX-License-Identifier: MIT */
/*
 * collect/release.h: pools and large objects whose dead objects wait for their `free` function.
 *
 * The census puts them here while the world is stopped.  Later, with the world running, any
 * attached thread takes one item at a time and works through it; the item is its own meanwhile, on
 * no list. Dead objects carry the mark byte CONDEMNED until their turn comes and RELEASING while
 * their function runs, so a collection in between neither revives nor condemns them again, and each
 * function runs once.
 */
#ifndef TARN_COLLECT_RELEASE_H
#define TARN_COLLECT_RELEASE_H

#include "heap/heap.h"

struct tarn_mutator;
struct tarn_collector;

struct tarn_release {
  pthread_mutex_t lock; /* guards the two lists; a leaf */
  tarn_pool_head pools;
  struct tarn_large *larges; /* linked through limbo */
  _Atomic size_t pending;    /* items on the lists or being worked on */
  _Atomic uint64_t released; /* functions run, ever */
};

/* Adds an item; the world is stopped. */
void tarn_release_add_pool(struct tarn_collector *collector, struct tarn_pool *pool);
void tarn_release_add_large(struct tarn_collector *collector, struct tarn_large *large);

/*
 * Works through items until none is left or `most` functions ran (0: no limit; an item that was
 * begun is finished).  Returns how many ran.  The caller is running and in no `free` function.
 */
size_t tarn_release_run(struct tarn_collector *collector, struct tarn_mutator *self, size_t most);

/* In the child of a fork: items that threads which are gone were working on come back. */
void tarn_release_after_fork(struct tarn_collector *collector);

#endif
