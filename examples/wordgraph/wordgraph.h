/* SPDX-License-Identifier: MIT */
/*
 * wordgraph: the demo of Tarn.  Several threads read real files and build a graph of their words:
 * a node for each distinct word, with an edge to every word that was seen behind it.  Each pass
 * builds a graph from all files and drops it, while other threads may already be in the next pass.
 *
 *   plain.c    the list of files, and the counts on one thread with libc alone, as a check
 *   graph.c    the managed structures: interned words, nodes, tables of counted nodes
 *   reader.c   the threads, and open files as objects: the collector closes the descriptors
 *   report.c   messages, the progress line, the table at the end
 *   main.c     arguments, the world, the order of events
 *
 * How it keeps the rules of a managed world: local references are in TARN_FRAMEs, the graphs are
 * roots through a provider, no lock is held across an allocation or another safepoint, and a thread
 * in open(2) or read(2) says that it is blocked.
 */
#ifndef WORDGRAPH_H
#define WORDGRAPH_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <tarn/tarn.h>

#define WORD_MAX 128 /* bytes; what is longer counts as several words */
#define SHARD_BITS 6
#define SHARDS (1u << SHARD_BITS)

/* The lower-case form of a byte that belongs to a word, or 0. */
static inline char word_byte(unsigned char byte) {
  if (byte >= 'A' && byte <= 'Z')
    return (char)(byte - 'A' + 'a');
  bool inside = (byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9') || byte == '_';
  return inside || byte >= 0x80 ? (char)byte : 0;
}

struct input {
  char *path;
  struct stat seen; /* when plain.c read it */
};
struct plain { /* open addressing; the key of an edge is "word word" */
  struct input *inputs;
  struct plain_entry *entries;
  size_t input_count, unreadable, room;
  uint64_t total, distinct, edges;
};

struct pass {
  _Atomic(struct graph *) graph; /* a root while it is not NULL */
  _Atomic size_t next;           /* the next turn; a turn is one file, once */
  _Atomic unsigned readers;      /* who have not left it yet; the last one checks the graph */
};
struct lock { /* a cache line each, so that neighbours do not disturb each other */
  _Alignas(64) pthread_mutex_t mutex;
};
struct descriptor { /* of one turn of one pass: how often it was */
  _Atomic unsigned char opened, closed;
};

struct run {
  unsigned threads, passes, rounds;
  size_t turns; /* of a pass: files times rounds */
  struct plain plain;
  struct pass *pass;
  struct descriptor *descriptors;
  tarn_world *world;
  const tarn_type *word_type, *node_type, *table_type, *graph_type, *file_type;
  tarn_weak_table *words;    /* every word that any graph uses */
  struct lock locks[SHARDS]; /* of the nodes, by the word's hash */
  _Atomic bool failed;       /* see fail */
  _Atomic unsigned passes_checked;
  _Atomic uint64_t words_checked, differences, close_errors;
  double seconds;
};

struct worker {
  struct run *run;
  tarn_thread *self;
  pthread_t id;
  unsigned number;
  uint64_t made;                   /* objects since the last turn; the owner's alone */
  _Atomic uint64_t words, objects; /* written by the owner, read by the progress line */
  char buffer[65536];
};

/* plain.c */
void plain_start(struct plain *plain, char *const *paths); /* NULL ends the files, directories */
uint64_t plain_times(const struct plain *plain, const char *key, size_t length);
bool plain_changed(const struct input *input, const struct stat *now);
void plain_end(struct plain *plain);

/* graph.c */
bool graph_start(struct run *run);
const tarn_type *make_type(struct run *run, tarn_type_spec spec);       /* NULL: said why */
void *made(struct worker *worker, const tarn_type *type, void *object); /* `object`, counted */
bool graph_begin(struct worker *worker, struct pass *pass);
struct node *graph_word(struct worker *worker, struct pass *pass, const char *text, size_t length);
struct node *graph_edge(struct worker *worker, struct node *from, struct node *to);
void graph_check(struct run *run, tarn_thread *self, struct pass *pass);

/* reader.c */
bool reader_start(struct run *run);
void *reader_main(void *worker);

/* report.c */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same, and everybody goes home.  The first cause alone is told: others follow from it. */
#define fail(run, ...)                                                            \
  (atomic_exchange_explicit(&(run)->failed, true, memory_order_relaxed) ? (void)0 \
                                                                        : complain(__VA_ARGS__))
void *need(void *memory); /* ends the program at NULL */
double now_seconds(void);
void progress(const struct run *run, const struct worker *workers, double seconds, bool last);
void report(const struct run *run, const struct worker *workers);

#endif
