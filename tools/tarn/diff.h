/* SPDX-License-Identifier: MIT */
/*
 * diff.h: what the parts of `tarn diff` share.
 *
 *   diff.c        options, the table of types
 *   diff_load.c   reads the two files
 *   diff_path.c   what retains the objects that are new
 *
 * Memory: of the first snapshot 8 bytes a node (twice that for a moment, if its ids come in no
 * order), which go before the second one's edges come; of the second 16 bytes a node, and 4 an
 * edge.  Names of types are kept, other strings are not; those of edges that are printed come from
 * a second reading.
 */
#ifndef DIFF_H
#define DIFF_H

#include "classes.h"
#include "heapfile.h"

#define DIFF_NONE UINT32_MAX
#define DIFF_FRESH ((uint32_t)1 << 31) /* in diff.class: the first snapshot has not the object */

struct diff {
  const char *paths[2];
  struct classes classes;
  bool ids_stable; /* the ids tell new objects from old ones */
  uint64_t ids_in_both, ids_of_other_types;

  /* The second snapshot, by node. */
  uint32_t nodes, edges;
  uint32_t *class;
  uint32_t *first; /* number of its first edge; one more entry than nodes */
  uint32_t *other; /* while it is loaded: the class that the first snapshot has for the id; then
                      the nodes in the order in which they were reached */
  uint32_t *to;    /* by edge: node, DIFF_NONE: it does not retain */
};

/* False: a file is not as it should be, which was said. */
bool diff_load(struct diff *diff);

/* Orders the nodes by their distance from the root, and keeps by which edge each was reached. */
struct diff_search {
  uint32_t *parents; /* by node: edge; DIFF_NONE: not reached */
  uint32_t reached;
};
void diff_reach(const struct diff *diff, struct diff_search *search);

/* Prints for each of some classes by what a typical new object is retained.  False: the file cannot
 * be read again. */
bool diff_print_paths(const struct diff *diff, const uint32_t *classes, size_t count);

#endif
