/* SPDX-License-Identifier: MIT */
/*
 * A strict reader of heap snapshots, for tests: takes exactly what tarn/snapshot.h promises, keys
 * in their order and all counts, and says at which byte something else stands.
 */
#ifndef TARN_TESTS_SNAPSHOT_READER_H
#define TARN_TESTS_SNAPSHOT_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct reader_node {
  uint32_t type, name, id, size, edges;
  uint32_t first; /* of its edges */
};
struct reader_edge {
  uint32_t type, name, from, to; /* nodes by their numbers, not their places */
};
struct reader {
  struct reader_node *nodes;
  struct reader_edge *edges;
  char **strings;
  size_t node_count, edge_count, string_count;
  char error[256];
};

enum { READER_OBJECT = 3, READER_NATIVE = 8, READER_SYNTHETIC = 9 };
enum { READER_ELEMENT = 1, READER_PROPERTY = 2, READER_INTERNAL = 3, READER_WEAK = 6 };

/* False: `error` says why.  reader_end in any case. */
bool reader_parse(struct reader *reader, const char *text, size_t size);
bool reader_load(struct reader *reader, const char *path);
void reader_end(struct reader *reader);

static inline const char *reader_name(const struct reader *reader, size_t node) {
  return reader->strings[reader->nodes[node].name];
}

/* The first node of that name; SIZE_MAX: none.  How many there are. */
size_t reader_find(const struct reader *reader, const char *name);
size_t reader_count(const struct reader *reader, const char *name);

/* The first edge from one node to another, or of that name (of an element: in digits) from one;
 * SIZE_MAX: none. */
size_t reader_edge(const struct reader *reader, size_t from, size_t to);
size_t reader_edge_named(const struct reader *reader, size_t from, const char *name);
const char *reader_edge_name(const struct reader *reader, size_t edge, char buffer[16]);

/* What is reached from the root by edges that are not weak, without `without` (SIZE_MAX: nothing is
 * left out); and their sizes.  A pair of an ephemeron counts from its key. */
size_t reader_reached(const struct reader *reader, size_t without, uint64_t *bytes);

#endif
