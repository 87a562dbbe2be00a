/* SPDX-License-Identifier: MIT */
/*
 * tarn/events.h: what happens in a world, told to the program while it happens; and written to a
 * file that trace viewers open.
 *
 * The same is told in words by the option `log`, and to probes of the system; doc/logs.md has all
 * three, and the names of what a trace holds.
 */
#ifndef TARN_EVENTS_H
#define TARN_EVENTS_H

#include <tarn/base.h>

TARN_BEGIN_DECLS

/* Why a collection was made. */
typedef enum tarn_cause {
  TARN_CAUSE_NONE = 0,       /* not known */
  TARN_CAUSE_ASKED = 1,      /* tarn_collect or tarn_collect_cycles */
  TARN_CAUSE_ALLOCATION = 2, /* as much was allocated as TARN_GROWTH and TARN_MIN_HEAP say */
  TARN_CAUSE_YOUNG = 3,      /* as much as TARN_YOUNG says, in a world with generations */
  TARN_CAUSE_EXTERNAL = 4,   /* the same as 2, most of it external bytes */
  TARN_CAUSE_SOFT_LIMIT = 5, /* the soft limit makes collections come sooner */
  TARN_CAUSE_HARD_LIMIT = 6, /* an allocation did not fit below the hard limit */
  TARN_CAUSE_NO_MEMORY = 7,  /* an allocation got nothing from the system */
  TARN_CAUSE_IDLE = 8,       /* nothing was allocated for TARN_IDLE_COLLECT */
  TARN_CAUSE_ZEAL = 9,       /* the option `zeal`, in builds that have it */
  TARN_CAUSE_SNAPSHOT = 10   /* a heap snapshot that was asked for from outside of the program */
} tarn_cause;
#define TARN_CAUSES 11

/* "asked", "allocation", "young", "external", "soft-limit", ...; never NULL. */
TARN_API const char *tarn_cause_name(tarn_cause cause);

/*
 * A collection.  Times are nanoseconds, `began_ns` of the monotonic clock, as is everything that
 * ends in _at_ns; sizes are bytes.  The phases follow each other, and their sum is the pause:
 *
 *   stop     from the request until all threads stood still (the time to safepoint)
 *   prepare  frees underway are brought home, pools that nobody swept yet are swept
 *   roots    frames, slots, providers, stacks, dirty cards; of cycles: what known roots reach
 *   mark     what these reach; of cycles: counting, and what lives
 *   weak     weak references, weak tables, ephemerons, finalizers
 *   census   what is dead is condemned, or filed to be swept; of cycles: garbage, and its pools
 *   rest     the next collection is planned, with `verify` everything is checked
 *
 * When a collection begins, only number, cycles, cause, generation, began_ns, stop_ns, last_thread
 * and what ends in _before are known, and the rest is 0.
 */
typedef struct tarn_collection {
  size_t struct_size; /* as the library knows it: members beyond it are not there */
  uint64_t number;    /* among those of its kind that the world has made, from 1 */
  bool cycles;        /* of cycles (tarn/cycles.h) */
  bool failed;        /* it found no memory for its tables, and nothing was collected; the number is
                         that of the next one, too */
  tarn_cause cause;
  int generation;
  uint64_t began_ns; /* when the stop was asked for */
  uint64_t pause_ns; /* from then until the world ran again */
  uint64_t stop_ns;
  uint64_t prepare_ns;
  uint64_t roots_ns;
  uint64_t mark_ns;
  uint64_t weak_ns;
  uint64_t census_ns;
  uint64_t rest_ns;
  char last_thread[32]; /* the one that was waited for last; "": nobody was */
  size_t heap_before;   /* held by pools and large objects */
  size_t heap_after;
  size_t pools_before;
  size_t pools_after;
  size_t live_bytes; /* found live; of cycles: what was held, less the garbage */
  size_t live_objects;
  size_t found_bytes; /* in use before, and dead */
  size_t external_bytes;
  size_t next_bytes;   /* after so many the next collection is due */
  size_t condemned;    /* pools and large objects that wait for `free` functions */
  size_t weak_cleared; /* weak references, and entries of weak tables */
  size_t finalizers;   /* that became due */
  uint64_t overflows;  /* times that a mark stack was full */
  /* Of cycles. */
  uint64_t looked_at; /* objects that might have been garbage */
  uint64_t garbage;   /* of these, that were */
  uint64_t resurrected;
  uint64_t freeing_ns; /* with the world running, after the pause */
} tarn_collection;

/* A stop of the world: for a collection, a walk, a check, the end of a heap. */
typedef struct tarn_stop_info {
  size_t struct_size;
  uint64_t number; /* as `stops` of tarn_stats */
  uint64_t asked_at_ns;
  uint64_t stood_at_ns; /* all threads stood still */
  uint64_t ended_at_ns; /* they run again; 0 while the stop is on */
  char last_thread[32];
} tarn_stop_info;

/* Address space that a world takes from the process's range, or gives back: arenas. */
typedef struct tarn_heap_change {
  size_t struct_size;
  size_t bytes;       /* more, or fewer */
  size_t arena_bytes; /* that it has now */
} tarn_heap_change;

/* A thread of a world. */
typedef struct tarn_thread_info {
  size_t struct_size;
  int id;    /* the kernel's */
  bool died; /* it detaches because it exits, without having called tarn_thread_detach */
  char name[32];
} tarn_thread_info;

/*
 * What a program can be told.  Any of the functions may be NULL; set struct_size to the size of the
 * structure, and what a newer library knows beyond it counts as NULL.  What the functions are given
 * is theirs until they return.
 *
 *   function             who calls it                          what it may call
 *   stop_begins          the requester of the stop, and all    nothing of Tarn but what only reads
 *                        other threads stand still             (tarn_stats_get, tarn_type_name)
 *   collection_begins    the same                              the same
 *   collection_ends      the thread that collected; the world  anything, if it is attached: an idle
 *                        runs                                  collection's is not, nor in a hold
 *   stop_ends            the thread that stopped the world     tarn_stats_get and the like
 *   heap_grows           a thread in the middle of an          the same
 *                        allocation
 *   heap_shrinks         any thread, of the library's own too  the same
 *   thread_attaches      the thread itself, attached           anything
 *   thread_detaches      the thread itself, its handle is      tarn_stats_get and the like
 *                        invalid already
 *   near_limit           the thread that collected             anything
 *
 * None is called from an allocation's fast path, none with a lock of the library held, but in
 * stop_begins and collection_begins the world waits: they are part of the pause.  Several threads
 * may call at the same time.  A function that waits for another thread should do so in a blocked
 * region.  No function may end with longjmp or an exception.
 *
 * Beginnings and ends come in pairs.  For each stop, collection and thread whose beginning a
 * listener was told of, it is told of the end exactly once, on the same thread, unless it was
 * removed meanwhile; and it is told of no end whose beginning it was not told of.  That goes for
 * listeners with one function of a pair only, too.  Stops for a fork are not told, nor the ends of
 * the threads that a child of a fork does not have; a child goes on with the parent's listeners.
 *
 * Cost: nothing but a load and a branch where there is nobody to be told, at places that have
 * system calls or locks not far away.
 */
typedef struct tarn_events {
  size_t struct_size;
  void (*stop_begins)(tarn_world *world, const tarn_stop_info *stop, void *data);
  void (*stop_ends)(tarn_world *world, const tarn_stop_info *stop, void *data);
  void (*collection_begins)(tarn_world *world, const tarn_collection *collection, void *data);
  void (*collection_ends)(tarn_world *world, const tarn_collection *collection, void *data);
  void (*heap_grows)(tarn_world *world, const tarn_heap_change *change, void *data);
  void (*heap_shrinks)(tarn_world *world, const tarn_heap_change *change, void *data);
  void (*thread_attaches)(tarn_world *world, const tarn_thread_info *thread, void *data);
  void (*thread_detaches)(tarn_world *world, const tarn_thread_info *thread, void *data);
  /* When the near-limit callback would be called (tarn/world.h), whether there is one or not. */
  void (*near_limit)(tarn_world *world, size_t limit, size_t in_use, void *data);
} tarn_events;
#define TARN_EVENTS_INIT \
  { sizeof(tarn_events), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL }

/* A world has so many listeners at most. */
#define TARN_LISTENERS_MOST 16

/*
 * Calls the functions from now on.  `*id` names the listener, and no other one of the world ever.
 * `events` is copied.  Errors: TARN_EINVAL (NULL, a struct_size that is none, no function),
 * TARN_EBUSY (there are TARN_LISTENERS_MOST, or some are on their way out).
 * Any thread, attached or not, at any time but in a stop.
 */
TARN_API tarn_status tarn_world_add_listener(tarn_world *world, const tarn_events *events,
                                             void *data, uint64_t *id);

/*
 * Calls none of its functions from now on, and returns when those that run have returned: `data`
 * may go.  Also while a collection runs: if the listener was told of the beginning, it is not told
 * of the end.  In a function of a listener, this one or another, it does not wait, so that two
 * threads do not wait for each other; a function that another thread calls may still be running
 * then.  A running thread counts as blocked while it waits; in a hold it does not, so none of
 * the functions may wait for a collection then.
 * Errors: TARN_EINVAL (NULL), TARN_ENOTFOUND.  Any thread, at any time but in a stop.
 */
TARN_API tarn_status tarn_world_remove_listener(tarn_world *world, uint64_t id);

/*
 * Writes what happens to a file, in the Trace Event Format (JSON), which Perfetto, speedscope and
 * the Performance panel of browsers' developer tools open; doc/logs.md has the names.  `path` is a
 * pattern as for the option `trace` (%p, %w, %n, %%).  The option begins a trace with the world.
 * A file is written over, unless another world or process is just writing a trace to it.
 *
 * Errors: TARN_EINVAL (NULL, a % that stands for nothing), TARN_EBUSY (a trace is on), TARN_ENOMEM,
 * TARN_ESYSTEM (the file cannot be made; errno says why, EBUSY that another one writes to it).  Any
 * thread, at any time but in a stop. Cost: 64 KiB; a few thousand instructions a collection, none
 * of them in the pause.
 */
TARN_API tarn_status tarn_trace_start(tarn_world *world, const char *path);

/*
 * Writes the rest and closes the file; the end of the world does the same.  TARN_ENOTFOUND: no
 * trace is on.  TARN_ESYSTEM: not all could be written; errno says why (a line on standard error
 * said so when it happened).  TARN_EINVAL: NULL.
 */
TARN_API tarn_status tarn_trace_stop(tarn_world *world);

TARN_END_DECLS

#endif
