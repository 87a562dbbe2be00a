/* SPDX-License-Identifier: MIT */
/*
 * collect/cycles.h: collections of cycles, in worlds that count references (tarn/cycles.h).
 *
 * One at a time: who asks for another waits for its end.  Its thread is running and holds nothing
 * off; it stops the world to find garbage (trial.h), once more if finalizers ran, and frees it
 * with the world running (trash.c).
 *
 * One thread frees, and all others may make garbage meanwhile.  If the next collection is due by
 * itself before that is done, they make it faster than it goes, and each that comes to a safepoint
 * with a new part of memory sleeps: until the collection is done, or for ten milliseconds, because
 * functions of the running collection may wait for a lock that it holds.  Without that a heap of
 * sixteen threads doubles from one collection to the next.
 *
 * A heap that lives and has no cycles is looked at ever more rarely: a collection that finds less
 * than a sixty-fourth of what it looked at to be garbage doubles the distance to the next one of
 * its kind, up to four times for full ones, whose distance is that of growth, and sixteen for young
 * ones.  One that finds more ends that.
 *
 * Pools with garbage leave their owners and shelves and become TRASH pools: nobody allocates from
 * them, and what is freed in them is parked (heap/remote.h), until the collecting thread puts them
 * on a shelf or gives them back.  All other pools of the generation go to their shelves, as in
 * tracing collections, so that those that are allocated from afterwards are known to be young.
 */
#ifndef TARN_COLLECT_CYCLES_H
#define TARN_COLLECT_CYCLES_H

#include "collect/debts.h"
#include "collect/handle.h"
#include "collect/links.h"
#include "collect/refs.h"
#include "collect/scan.h"
#include "collect/vector.h"
#include "os/histogram.h"
#include <tarn/events.h>

struct tarn_collector;
struct tarn_mutator;
struct tarn_large;

/* What ints say: see collect/trial.h. */
#define TARN_REFS_SEEN ((int32_t)1 << 29)
#define TARN_REFS_ALIVE ((int32_t)1 << 30)
#define TARN_REFS_TRASH (TARN_REFS_ALIVE + 1)
/* Garbage that goes: its references are being given up; its function runs, or has. */
#define TARN_REFS_GOING (TARN_REFS_ALIVE + 2)
#define TARN_REFS_GONE (TARN_REFS_ALIVE + 3)

/* Of one collection, in nanoseconds: known roots; counting and taking off; what lives; the garbage
 * and its pools; and, with the world running, freeing. */
enum {
  TARN_PHASE_ROOTS,
  TARN_PHASE_COUNTS,
  TARN_PHASE_LIVING,
  TARN_PHASE_GARBAGE,
  TARN_PHASE_FREEING,
  TARN_PHASES
};

struct tarn_cycles {
  pthread_mutex_t lock;        /* held from the beginning of a collection to its end */
  struct tarn_mutator *holder; /* atomic: who holds it */
  uint32_t ended;              /* atomic, a futex: grows when the lock was given back */
  uint32_t waiting;            /* atomic: threads that sleep on that */
  uint8_t epoch;               /* of the marks of the last full collection with known roots */
  struct tarn_finalized finalized;
  struct tarn_handles handles;
  struct tarn_pending gone; /* weak handles that the running collection cut */

  bool frozen; /* there are frozen pools; written in stops */

  /* Of the running collection: its thread's. */
  int generation;
  bool rooted;                   /* known roots were marked */
  bool skips;                    /* what has the epoch's mark is no candidate */
  bool special;                  /* some garbage has a `clear` or `finalize` function */
  struct tarn_vector candidates; /* units that have ints; after the stop: TRASH pools */
  struct tarn_refs refs;
  struct tarn_links links;
  struct tarn_large *larges; /* garbage; linked through limbo */
  struct tarn_vector saved;  /* large ones that finalizers saved, with a reference of ours */
  bool whole;                /* functions have run, and it goes */
  bool left;                 /* the rest of it, by a thread that a fork did not take along */
  /* What garbage that goes refers to, to be given up unless it is garbage; and what is to be given
   * up.  Right after each store, for a child of a fork goes on with it. */
  struct tarn_visits outside;
  struct tarn_debts debts;
  struct tarn_numbers stack; /* objects to scan */
  struct tarn_numbers pages; /* where in the candidates those of each page of ints begin */
  bool overflow;             /* it could not grow */
  uint64_t looked_at, found; /* candidates; and garbage */
  uint64_t found_bytes;

  /* How much longer than usual until the next full collection, and the next young one; 1 outside of
   * worlds that count.  Written in stops, read by anybody.  Atomic. */
  uint32_t patience, young_patience;
  /* Collections whose stop has begun, of that generation or more; atomic. */
  _Atomic uint64_t stops[3];
  /* Figures. */
  _Atomic uint64_t collections, freed, resurrected, finalizers;
  _Atomic uint64_t pause_last, pause_max, pause_total;
  struct tarn_histogram pause_histogram;
  _Atomic uint64_t phases[TARN_PHASES]; /* nanoseconds; TARN_PHASE_... */
};

/* How many times the usual distance to the next collection: a full one, or a young one. */
uint32_t tarn_cycles_patience(const struct tarn_collector *collector, bool young);

void tarn_cycles_start(struct tarn_collector *collector);
void tarn_cycles_end(struct tarn_collector *collector);

/* One collection of a generation, or TARN_GENERATION_ANY; as tarn_collector_run. */
tarn_status tarn_cycles_run(tarn_world *world, struct tarn_mutator *self, int generation,
                            tarn_cause cause);

/*
 * In the child of a fork: a collection of another thread never ends there.  Garbage that was going
 * refers to what is free already, so the next collection begins with the rest of it.  If functions
 * were running still, it is left for that one to find; but objects that had a reference of the
 * collection's own stay.
 */
void tarn_cycles_after_fork(struct tarn_collector *collector);

/* Is the thread in a collection of cycles, that is, in a function that one calls? */
bool tarn_cycles_runs(const struct tarn_collector *collector, const struct tarn_mutator *self);

/* Around what must not meet a collection that frees: the end of a heap.  Nothing in other worlds.
 */
void tarn_cycles_lock(tarn_world *world, struct tarn_mutator *self);
void tarn_cycles_unlock(tarn_world *world);

/* --- cycles.c, for trash.c --- */

/* Gets an object of garbage, its block's size and its int. */
typedef void (*tarn_trash_fn)(void *object, size_t size, int32_t *ref, void *data);

static inline bool tarn_is_trash(int32_t value) {
  return value == TARN_REFS_TRASH || value == TARN_REFS_GOING;
}

/* Calls for each object of the TRASH pools and the large garbage whose int is wanted.  Both
 * functions are constants at every call. */
static TARN_ALWAYS_INLINE void tarn_trash_each(struct tarn_cycles *cycles, bool (*wanted)(int32_t),
                                               tarn_trash_fn fn, void *data) {
  for (size_t i = 0; i < cycles->candidates.count; i++) {
    const struct tarn_pool *pool = &tarn_space.pools[cycles->candidates.items[i]];
    int32_t *refs = tarn_refs_of_unit(&cycles->refs, tarn_pool_unit(pool));
    size_t size = tarn_pool_block_size(pool);
    char *base = (char *)tarn_pool_base(pool);
    for (unsigned k = 0; k < pool->capacity; k++)
      if (wanted(refs[k]))
        fn(base + k * size, size, &refs[k], data);
  }
  struct tarn_large *next;
  for (struct tarn_large *large = cycles->larges; large; large = next) {
    next = large->limbo;
    int32_t *ref = tarn_refs_of_unit(&cycles->refs, tarn_unit_of(large->base));
    if (wanted(*ref))
      fn((void *)large->base, large->bytes, ref, data);
  }
}

/* Counts the stop that is to end now among the pauses. */
void tarn_cycles_note_pause(struct tarn_collector *collector);

/* --- trash.c --- */

void tarn_trash_start(struct tarn_collector *collector);

/* With the world running: what happens to garbage, and its pools. */
void tarn_trash_treat(struct tarn_collector *collector, struct tarn_mutator *self);
void tarn_trash_after_fork(struct tarn_collector *collector); /* of what goes */

#endif
