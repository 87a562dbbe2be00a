/* SPDX-License-Identifier: MIT */
/* The program on the object system of object.h. */
#ifndef REFCOUNT_PROGRAM_H
#define REFCOUNT_PROGRAM_H

#include "object.h"
#include <pthread.h>
#include <stdatomic.h>

struct run {
  tarn_world *world;
  unsigned threads;
  char **paths;
  size_t path_count;
  _Atomic size_t next; /* path to read */
  _Atomic bool failed; /* something could not be read or made; said so */
  _Atomic bool stop;   /* no memory: everybody gives up what he has */
  _Atomic uint64_t files, words, nodes;
};

struct worker {
  struct run *run;
  tarn_thread *self;
  pthread_t id;
  unsigned number;
  struct map *part; /* the graph of all that it has read; NULL: none */
  char buffer[65536];
};

void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
#define fail(run, ...) (atomic_store(&(run)->failed, true), complain(__VA_ARGS__))

/* graph.c */
bool graph_start(tarn_thread *self); /* false: no memory */
void graph_end(tarn_thread *self);
/* Counts a word behind another node of the graph, or NULL; `*node` gets the word's.  Borrowed. */
bool graph_word(tarn_thread *self, struct map *graph, struct map *before, struct string *word,
                struct map **node);
bool graph_merge(tarn_thread *self, struct map *into, const struct map *graph);

struct found { /* borrowed from the graph */
  const struct string *word;
  int64_t times;
  size_t neighbours;
};
/* The `most` words with the most different neighbours, in order; returns how many there are. */
size_t graph_best(const struct map *graph, struct found *found, size_t most);
size_t graph_edges(const struct map *graph);

/* reader.c */
void *reader_main(void *argument); /* struct worker */

#endif
