/* SPDX-License-Identifier: MIT */
/*
 * heapfile.h: reads a `.heapsnapshot`, whatever tool wrote it, from its beginning to its end.
 *
 * The keys are expected in the order in which V8 writes them, as all viewers do: `snapshot`, which
 * says what the fields are, then `nodes`, `edges` and `strings`; others are read over.  Nothing is
 * kept: who reads gets nodes, edges and strings one by one, with their numbers from 0.
 */
#ifndef HEAPFILE_H
#define HEAPFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HEAPFILE_KINDS 64u /* of nodes and of edges */

struct heapfile_node {
  uint32_t number, kind, name, edges;
  uint64_t id, size;
};

struct heapfile_edge {
  uint32_t number, kind, to;
  uint32_t name; /* a string's number, or the element's: heapfile.edge_indexed */
};

struct heapfile {
  const char *path;
  uint64_t node_count, edge_count; /* as the file says, in the end also as it is */
  unsigned node_fields, edge_fields;
  unsigned type, name, id, size, edges;   /* places in a node */
  unsigned edge_type, edge_name, edge_to; /* and in an edge */
  uint64_t nodes_named;                   /* bit k: of nodes of kind k the name is the type's */
  uint64_t nodes_synthetic;               /* bit k: they are groups of roots */
  uint64_t edges_weak, edges_indexed;     /* bit k: of edges of kind k */
  char node_kinds[HEAPFILE_KINDS][24];    /* names */
};

/* Any may be NULL. */
struct heapfile_reader {
  void (*node)(void *data, const struct heapfile *file, const struct heapfile_node *node);
  void (*edge)(void *data, const struct heapfile *file, const struct heapfile_edge *edge);
  void (*string)(void *data, const struct heapfile *file, uint32_t number, const char *text);
};

/* False: the file cannot be read, or is no such file, which was said. */
bool heapfile_read(const char *path, const struct heapfile_reader *reader, void *data);

#endif
