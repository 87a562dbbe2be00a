/* SPDX-License-Identifier: MIT */
/*
 * inspect/snapshot.h: what the parts of a snapshot share; see tarn/snapshot.h.
 *
 *   snapshot.c        the stop, the file, the order of things
 *   snapshot_part.c   the file until it is whole
 *   snapshot_index.c  numbers for all blocks of the world, without a table of them
 *   snapshot_roots.c  everything outside of the heap, noted once
 *   snapshot_edges.c  the references of one block, with their names
 *   snapshot_write.c  the file's text
 *
 * The format wants the numbers of nodes and edges first, then all nodes with the number of their
 * edges, then all edges in the order of their nodes; an edge names its target by number.  So the
 * heap is walked several times, and what is walked must not change.  Objects do not, for the world
 * is stopped; but slots that are roots, stacks of blocked threads and tables may, by threads that
 * are not attached, and so their references are noted, once.
 *
 * Order of the nodes: the root, its groups, the threads, the weak tables, bytes elsewhere; then
 * the blocks, in the order of their addresses; then what did not fit into the sizes of some of
 * these.
 *
 * Everything belongs to the requester, while the world is stopped.  All memory is pages of its own,
 * which go back before the stop ends.
 */
#ifndef TARN_INSPECT_SNAPSHOT_H
#define TARN_INSPECT_SNAPSHOT_H

#include "inspect/events.h"
#include "inspect/out.h"
#include <limits.h>
#include <tarn/snapshot.h>

/* --- the format ------------------------------------------------------------------------------ */

/* Numbers of a node and of an edge; each is an unsigned int of 32 bits. */
#define TARN_NODE_FIELDS 7u
#define TARN_EDGE_FIELDS 3u
#define TARN_NODES_MOST (UINT32_MAX / TARN_NODE_FIELDS)
#define TARN_EDGES_MOST (UINT32_MAX / TARN_EDGE_FIELDS)

/* By their places in the lists of types that the file begins with. */
enum { TARN_NODE_OBJECT = 3, TARN_NODE_NATIVE = 8, TARN_NODE_SYNTHETIC = 9 };
enum {
  TARN_EDGE_ELEMENT = 1, /* named by a number; the others by a string */
  TARN_EDGE_PROPERTY = 2,
  TARN_EDGE_INTERNAL = 3,
  TARN_EDGE_WEAK = 6
};

/* Strings that are always there, by their numbers. */
enum {
  TARN_TEXT_NONE,
  TARN_TEXT_ROOTS,
  TARN_TEXT_PROVIDERS,
  TARN_TEXT_THREADS,
  TARN_TEXT_TABLES,
  TARN_TEXT_FINALIZERS,
  TARN_TEXT_HANDLES,
  TARN_TEXT_EXTERNAL,
  TARN_TEXT_DEAD,
  TARN_TEXT_COUNTED,
  TARN_TEXT_BY_HAND,
  TARN_TEXT_RAW,
  TARN_TEXT_DATA_BLOCK,
  TARN_TEXT_UNKNOWN,
  TARN_TEXT_ELSEWHERE,
  TARN_TEXT_REST,
  TARN_TEXT_TABLE,
  TARN_TEXT_DATA,
  TARN_TEXT_TARGET,
  TARN_TEXT_KEY,
  TARN_TEXT_VALUE,
  TARN_TEXT_PART,
  TARN_TEXTS
};
extern const char *const tarn_snapshot_texts[TARN_TEXTS];

/* Nodes of groups, by their numbers; the texts of their names go in the same order. */
enum {
  TARN_GROUP_ROOT,
  TARN_GROUP_ROOTS,
  TARN_GROUP_PROVIDERS,
  TARN_GROUP_THREADS,
  TARN_GROUP_TABLES,
  TARN_GROUP_FINALIZERS,
  TARN_GROUP_HANDLES,
  TARN_GROUP_EXTERNAL,
  TARN_GROUP_DEAD, /* the edges of this and the next two are not noted, but found by a walk */
  TARN_GROUP_COUNTED,
  TARN_GROUP_BY_HAND,
  TARN_GROUPS
};

/* Names of edges with a number in them: so many of each sort have a string, others are the number
 * alone. */
enum { TARN_SERIES_SLOT, TARN_SERIES_DATA, TARN_SERIES_VISIT, TARN_SERIES };
#define TARN_SERIES_MOST 1024u

/* --- what is noted --------------------------------------------------------------------------- */

/* An array that grows, in pages of its own. */
struct tarn_rows {
  char *bytes;
  size_t used, room; /* bytes */
};
/* Room for so many bytes more, used now; NULL: no memory. */
void *tarn_rows_add(struct tarn_rows *rows, size_t bytes);
void tarn_rows_drop(struct tarn_rows *rows);

/* 64 blocks of a pool, or a large object. */
struct tarn_block_row {
  uint64_t used;   /* has a node */
  uint64_t dead;   /* of these: nobody refers to it any more, it waits to be freed */
  uint64_t data;   /* some object's data block, if it is used */
  uint32_t before; /* nodes of blocks in the rows before */
  uint32_t unit;
};

/* A node that is no block. */
struct tarn_snapshot_node {
  uint32_t name, id, size, edges;
  uint8_t type;
};

/* An edge of such a node. */
struct tarn_snapshot_edge {
  uint32_t from, to;
  uint32_t name; /* number of a string, or the element's */
  uint32_t key;  /* of a pair: its key's node; else 0, which is nobody's */
  uint8_t type;
  bool counts; /* a precise root's: who counts references has counted it */
};

/* An ephemeron, or an entry of a table with weak keys, whose three nodes are there. */
struct tarn_snapshot_pair {
  uint32_t key, table, value;
};

struct tarn_snapshot {
  struct tarn_visits visits; /* must be first: take() gets it */
  tarn_world *world;
  struct tarn_out *out;
  tarn_status status; /* TARN_OK, or why it comes to nothing */

  /* snapshot_index.c */
  uint32_t *arenas; /* by arena of the range: its number among the world's, from 1; 0: foreign */
  uint32_t *units;  /* by arena and unit: the first of its rows, from 1; 0: none */
  struct tarn_block_row *rows;
  size_t arena_count, row_count;
  uint32_t blocks; /* nodes of blocks */
  uint32_t dead;   /* of these */
  uint32_t rests;  /* nodes behind them */
  uint32_t rests_put;
  size_t ephemerons;
  size_t pair_at;  /* snapshot_edges.c: no pair before it has the key that is looked for */
  bool sequential; /* the heap lies too far apart for ids from addresses */
  struct tarn_snapshot_types *types;

  /* snapshot_roots.c */
  struct tarn_rows nodes; /* that are no blocks */
  struct tarn_rows edges; /* of these */
  struct tarn_rows pairs; /* by key, then by table */
  struct tarn_rows names; /* strings with their NUL */
  uint32_t first_block;   /* node */
  uint32_t name_count;

  /* Of worlds that count references: by block, its count less the references in the heap and those
   * of precise roots; what is not counted: these references, as a negative number.  Else NULL. */
  int32_t *outside;
  uint32_t counted, by_hand; /* edges of the groups */

  /* snapshot_edges.c: strings that the series need. */
  uint32_t series[TARN_SERIES];
  uint64_t edge_count;
  uint64_t check; /* of the numbers of edges of all blocks, as they were when nodes were written */
};

/* --- snapshot_index.c ------------------------------------------------------------------------ */

/* Numbers the blocks; `status` tells whether there was memory. */
void tarn_snapshot_index(struct tarn_snapshot *snapshot);
void tarn_snapshot_index_drop(struct tarn_snapshot *snapshot);

/* A block that is walked. */
struct tarn_snapshot_block {
  uintptr_t base;
  size_t size;
  uint32_t node;
  bool raw, dead, data;
};
/* Calls for each, in the order of the nodes, until the snapshot has failed. */
typedef void (*tarn_snapshot_fn_block)(struct tarn_snapshot *snapshot,
                                       const struct tarn_snapshot_block *block, void *data);
void tarn_snapshot_each(struct tarn_snapshot *snapshot, tarn_snapshot_fn_block fn, void *data);

/* The block of a node that has one. */
struct tarn_snapshot_block tarn_snapshot_block_of(const struct tarn_snapshot *snapshot,
                                                  uint32_t node);

/* The node of the block that a word names (`interior`: points into), tag bits aside; 0: none. */
uint32_t tarn_snapshot_find(const struct tarn_snapshot *snapshot, uintptr_t word, bool interior);

/* Of a type, a string's number; TARN_TEXT_UNKNOWN: it is none of the world's. */
uint32_t tarn_snapshot_type_name(const struct tarn_snapshot *snapshot, const tarn_type *type);
/* The names, each once, in the order of their numbers from TARN_TEXTS on. */
size_t tarn_snapshot_type_names(const struct tarn_snapshot *snapshot, const char *const **names);

/* A block's id, which is the same in all snapshots of the process. */
uint32_t tarn_snapshot_id(const struct tarn_snapshot *snapshot, uintptr_t base, uint32_t node);

/* Of a size that may be larger than a node's number: how many nodes for it stand behind. */
static inline uint32_t tarn_snapshot_rests(size_t size) {
  return size ? (uint32_t)((size - 1) / UINT32_MAX) : 0;
}

/* --- snapshot_roots.c ------------------------------------------------------------------------ */

void tarn_snapshot_roots(struct tarn_snapshot *snapshot);
void tarn_snapshot_roots_drop(struct tarn_snapshot *snapshot);

/* The number of a pair, or UINT32_MAX. */
uint32_t tarn_snapshot_pair(const struct tarn_snapshot *snapshot, uint32_t key, uint32_t table);

static inline size_t tarn_snapshot_pair_count(const struct tarn_snapshot *snapshot) {
  return snapshot->pairs.used / sizeof(struct tarn_snapshot_pair);
}

/* --- snapshot_edges.c ------------------------------------------------------------------------ */

/* Gets the edges of a block, one after the other. */
struct tarn_snapshot_told {
  uint8_t type;
  uint8_t series; /* `number` is one of these; TARN_SERIES: it is a string's or an element's */
  uint32_t number;
  uint32_t to;   /* node */
  uint32_t pair; /* number of the pair that the edge is of, which names it; UINT32_MAX: of none */
};
/* As `to`: the next of the nodes that stand for what did not fit into a size. */
#define TARN_SNAPSHOT_NEXT_REST UINT32_MAX
typedef void (*tarn_snapshot_fn_edge)(void *data, const struct tarn_snapshot_told *edge);
/* How many there were. */
uint32_t tarn_snapshot_edges(struct tarn_snapshot *snapshot,
                             const struct tarn_snapshot_block *block, tarn_snapshot_fn_edge fn,
                             void *data);

/* --- snapshot_write.c ------------------------------------------------------------------------ */

/* Counts all edges, then writes; the counts and `status` say how it went. */
void tarn_snapshot_count(struct tarn_snapshot *snapshot);
void tarn_snapshot_text(struct tarn_snapshot *snapshot);
void tarn_snapshot_count_drop(struct tarn_snapshot *snapshot);

/* --- snapshot_part.c ------------------------------------------------------------------------- */

/* A file beside the one that it becomes.  Its writer's, but for `next` and, while it is listed, the
 * file. */
struct tarn_snapshot_part {
  struct tarn_snapshot_part *next;
  const char *path; /* of the whole */
  bool listed;      /* the exit of the process takes it away */
  bool made;        /* there is a file */
  char name[PATH_MAX + 40];
};

/* Begins to write.  False: errno says why not, and nothing is due; else tarn_out_end is, and then
 * the end of the part, with the status of the writing. */
bool tarn_snapshot_part_begin(struct tarn_snapshot_part *part, struct tarn_out *out,
                              const char *path, bool listed);
/* Gives it its name, or takes it away; errno is kept for a status that is an error.  TARN_ESYSTEM
 * with ECANCELED: the process exits, and has said so. */
tarn_status tarn_snapshot_part_end(struct tarn_snapshot_part *part, tarn_status status);

/* In the child of a fork, before there are threads in which snapshots are taken. */
void tarn_snapshot_after_fork(void);

/* --- snapshot.c ------------------------------------------------------------------------------ */

/* How the world is stopped for one. */
enum tarn_snapshot_how {
  TARN_SNAPSHOT_SELF,    /* by an attached, running thread that calls */
  TARN_SNAPSHOT_OUTSIDE, /* by one that is not attached, or blocked; waits for all */
  TARN_SNAPSHOT_PATIENT  /* the same, but gives up (TARN_EBUSY) when that takes some seconds */
};

/* The whole of it, to a file. */
tarn_status tarn_snapshot_to_file(tarn_world *world, struct tarn_mutator *self,
                                  enum tarn_snapshot_how how, const char *path, unsigned flags,
                                  tarn_snapshot_info *info);

#endif
