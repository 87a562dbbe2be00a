/* SPDX-License-Identifier: MIT */
/*
 * struct tarn_config: the resolved, plain values of all options.
 *
 * It lives in the lowest layer so that every layer can read it; it knows nothing of where a value
 * came from. inspect/options.c fills it once, before a world exists; from then on it is read only,
 * so any thread may read its world's copy without a lock.
 *
 * Units: sizes are bytes, durations nanoseconds, `growth`, `near_limit`, `soft_share` and `retain`
 * percent.
 * 0 means "none", "off" or "automatic" where the table in inspect/options_table.c says so.
 */
#ifndef TARN_OS_CONFIG_H
#define TARN_OS_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bits of tarn_config.log: two for each subject.  The first: lines of level info; both: debug. */
#define TARN_LOG_GC 1u        /* one line per collection */
#define TARN_LOG_SAFEPOINT 4u /* one line per stop: time to safepoint and the last thread */
#define TARN_LOG_HEAP 16u     /* arenas, memory that goes back */
#define TARN_LOG_THREAD 64u   /* threads that come and go */
#define TARN_LOG_DEBUG(subject) ((subject) << 1)

/* Values of tarn_config.trace_level. */
#define TARN_TRACE_INFO 0u
#define TARN_TRACE_DEBUG 1u

/* Room for a path, with its NUL. */
#define TARN_PATH_ROOM 256u

/* Bits of tarn_config.generations; none: every collection is a full one. */
#define TARN_GENERATIONS_POOLS 1u      /* the pools that bins allocated from are young */
#define TARN_GENERATIONS_FIRST_POOL 2u /* of these, the ones that bins allocate from now */

struct tarn_config {
  size_t address_space; /* heap range to reserve; 0 = automatic */
  size_t hard_limit;    /* memory of the world never exceeds it; 0 = none */
  size_t soft_limit;    /* above it the collector works harder; 0 = none */
  size_t min_heap;      /* bytes allocated before a collection is considered */
  size_t young;         /* bytes allocated between collections of generation 0 */
  size_t mark_stack;    /* largest mark stack; 0 = no limit */
  size_t huge_from;     /* collected worlds that hold so much get huge pages; 0 = never */

  unsigned growth;     /* collect when allocated bytes exceed this percentage of live bytes */
  unsigned near_limit; /* percentage of hard_limit at which the callback is called */
  unsigned
      young_share;     /* percentage of the time that young collections may take at young; 0: any */
  unsigned soft_share; /* percentage of the time that collections for soft_limit may take */
  unsigned retain;     /* free pool memory kept, as percentage of live bytes */
  unsigned max_threads; /* attached threads of one world */
  unsigned markers;     /* threads that mark, the collecting one among them; 0 = detected_cpus */

  unsigned generations; /* TARN_GENERATIONS_* bits */

  bool barriers;    /* the program keeps the rules of tarn/store.h; no option */
  bool counting;    /* the program counts references: only cycles are collected; no option */
  bool collect;     /* automatic collection */
  bool scan_stack;  /* attached threads' C stacks are scanned conservatively by default */
  bool verify;      /* check every invariant after each collection */
  bool strict;      /* a bad option makes world creation fail */
  bool show_config; /* print every value with its source */
  bool help;        /* print the table of options; world creation returns TARN_EHELP */

  bool purger;     /* a thread gives memory back after purge_delay; else those that free do */
  bool sweeper;    /* a thread sweeps pools ahead of those that allocate */
  bool huge_pages; /* ask for huge pages in arenas that are well filled */
  bool populate;   /* ask for the pages of pools that fill up in steps of several */

  unsigned log;                  /* TARN_LOG_* bits */
  char log_file[TARN_PATH_ROOM]; /* where its lines go; a pattern, see inspect/out.h; "": standard
                                  * error */
  char trace[TARN_PATH_ROOM];    /* the file of a trace; the same; "": none */
  unsigned trace_level;          /* TARN_TRACE_* */

  unsigned snapshot_signal;      /* number of the signal that asks for one; 0: none */
  bool snapshot_at_exit;         /* at the end of the world, or of the process */
  bool live;                     /* the world shows itself: inspect/live.h */
  char snapshot[TARN_PATH_ROOM]; /* their files; a pattern; "": see inspect/monitor.c */
  char metrics[TARN_PATH_ROOM];  /* statistics are written there; a pattern; "": nowhere */
  uint64_t metrics_every_ns;     /* again after so long; 0 = at the end only */

  char profile[TARN_PATH_ROOM]; /* the profile is written there; a pattern; "": none is made */
  size_t profile_rate;          /* bytes allocated for each sample, on average */

  bool stacks;    /* of who made and freed blocks that are apart */
  unsigned apart; /* every so many allocations that leave the inlined paths are apart; 0: none */
  size_t trap;    /* bytes of address space that were freed and cannot be touched; 0: see table */

  uint64_t zeal;            /* collect at every Nth allocation; zeal builds only */
  uint64_t fault_mmap;      /* the Nth page request fails; 0 = off; builds with TARN_FAULTS only */
  uint64_t purge_delay_ns;  /* free memory goes back after so long; 0 = at once */
  uint64_t idle_collect_ns; /* collect when nothing was allocated for so long; 0 = never */
  uint64_t stop_timeout_ns; /* log the straggler when a stop takes longer; 0 = off */

  size_t detected_memory; /* the machine's, or the container's, limit; never 0 */
  unsigned detected_cpus; /* CPUs this process may use; at least 1 */
};

#endif
