/* SPDX-License-Identifier: MIT */
/*
 * tarn/inspect.h: statistics, walks over the heap, and the check of every invariant.
 */
#ifndef TARN_INSPECT_H
#define TARN_INSPECT_H

#include <tarn/base.h>
#include <tarn/heap.h>

TARN_BEGIN_DECLS

/*
 * Statistics.  Set `struct_size` before the call; a newer library fills what an older caller knows.
 * All counters are since the world began; bytes are bytes, times are nanoseconds.
 */
typedef struct tarn_stats {
  size_t struct_size;         /* sizeof(tarn_stats) of the caller */
  uint64_t collections;       /* that ended */
  uint64_t collections_asked; /* of these, asked for by tarn_collect */
  uint64_t pause_last_ns;     /* from the request to stop until the world ran again */
  uint64_t pause_max_ns;      /* the longest of all */
  uint64_t pause_total_ns;    /* their sum */
  uint64_t pause_median_ns;   /* of the last 1024 */
  uint64_t stop_last_ns;      /* time to safepoint: from the request until all stood still */
  uint64_t stop_max_ns;       /* the longest of all */
  char stop_last_thread[32];  /* the name of the thread that was last to stand still, last time */
  char stop_max_thread[32];   /* and in the longest stop */
  uint64_t mark_last_ns;      /* the mark phase of the last collection */
  uint64_t threads;           /* attached now */
  uint64_t heaps;             /* that exist now */
  uint64_t types;             /* that were made */
  uint64_t pools;             /* in use */
  uint64_t large_objects;     /* in use */
  uint64_t heap_bytes;        /* held by pools in use, unswept ones among them, and large objects */
  uint64_t heap_bytes_max;    /* the most that this was */
  uint64_t live_bytes;        /* found live by the last collection */
  uint64_t live_objects;      /* and how many they were */
  uint64_t allocated_bytes;   /* handed to bins and large objects; within 64 KiB a bin */
  uint64_t side_table_bytes;  /* mark table in use */
  uint64_t metadata_bytes;    /* the library's own structures */
  uint64_t returned_bytes;    /* given back to the system */
  uint64_t released;          /* `free` functions run by the collector */
  uint64_t release_pending;   /* pools and large objects that still wait for theirs */
  uint64_t finalizers_run;    /* by tarn_finalizers_run */
  uint64_t weak_cleared;      /* weak references, table entries and ephemerons, by collections */
  uint64_t mark_overflows;    /* times that the mark stack was full */
  uint64_t dirty_bytes;       /* free, but not given back to the system yet */
  uint64_t external_bytes;    /* told by tarn_external_adjust */
  uint64_t soft_limit_given_up;    /* times that the soft limit began to ask for too much time */
  uint64_t hard_limit_collections; /* for allocations that found no memory */
  uint64_t hard_limit_refusals;    /* allocations that failed without one, see tarn/collect.h */
  uint64_t collections_of[3];      /* by generation */
  uint64_t stops;                  /* that came about; for collections, walks, forks */
  uint64_t stop_median_ns;         /* time to safepoint of the last 1024 of them */
  uint64_t stop_p99_ns;            /* nearest rank: of fewer than a hundred the largest */
  uint64_t overtaken_max; /* the most stops that a thread that came back from a stop or a blocked
                           * region stood still for before it ran; at most 2 */
  uint64_t unswept_pools; /* that the last full collection left to be swept, and nobody has yet */
  /* In worlds that count references (tarn/cycles.h). */
  uint64_t cycle_collections; /* that ended; they are none of those above */
  uint64_t cycle_garbage;     /* objects found to be garbage, but for those that were resurrected */
  uint64_t cycle_resurrected; /* that a finalizer saved, or that such an object reaches */
  uint64_t cycle_finalizers;  /* `finalize` functions that collections ran */
  uint64_t cycle_pause_last_ns; /* from the request to stop until the world ran again */
  uint64_t cycle_pause_max_ns;
  uint64_t cycle_pause_total_ns;    /* second looks, after finalizers, are stops of their own */
  uint64_t cycle_phases_last_ns[5]; /* known roots, counting, what lives, garbage and its pools;
                                       and, with the world running, freeing */
} tarn_stats;

/* Errors: TARN_EINVAL.  Any thread, attached or not; takes no lock that a collection holds.  Cost:
 * that of going through the last 1024 pauses and stops a few times, for their quantiles. */
TARN_API tarn_status tarn_stats_get(tarn_world *world, tarn_stats *stats);

/* What a walk tells of a block; a walk's function returns false to end it. */
typedef struct tarn_block_info {
  void *block;           /* its start */
  size_t size;           /* of the block, with its rounding */
  const tarn_type *type; /* NULL: raw */
  tarn_heap *heap;       /* that it is of */
  bool large;            /* a large object */
  bool condemned;        /* dead; its `free` function is due */
} tarn_block_info;
typedef bool (*tarn_walk_fn)(const tarn_block_info *info, void *data);

/*
 * Calls `fn` for every block in use (dead ones that no collection found yet among them), with the
 * world stopped.  `type` is NULL for raw blocks.  `fn` returns false to end the walk.  It must not
 * allocate, free or call Tarn, but for tarn_type_name and the like, which only read.
 * Errors: TARN_EINVAL, TARN_EHELD, TARN_EWRONGTHREAD, TARN_EDETACHED.
 */
TARN_API tarn_status tarn_heap_walk(tarn_thread *self, tarn_walk_fn fn, void *data);

/*
 * Stops the world, walks everything and checks every invariant.  TARN_ECORRUPT: `message` (may be
 * NULL) holds the first finding.  Errors otherwise as tarn_heap_walk.
 */
TARN_API tarn_status tarn_verify(tarn_thread *self, char *message, size_t size);

/*
 * Writes what is known of any address into `text`, in lines, for debuggers and for the program's
 * own reports: whether it is in the heap range, in which block, of what size and type.  For blocks
 * that are apart (options `apart` and `stacks`) also whether the block is in use, was freed or was
 * collected, and by which thread, and for a while after its death.
 * Of other objects the first word is read, like any read of the program.  Errors: TARN_EINVAL.
 * Any thread, also from a handler of signals.  Cost: where calls are named, milliseconds.
 */
TARN_API tarn_status tarn_describe(tarn_world *world, const void *address, char *text, size_t size);

TARN_END_DECLS

#endif
