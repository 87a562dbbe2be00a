/* SPDX-License-Identifier: MIT */
/*
 * tarn/profile.h: who allocates, and who made what is in use: a profile of a sample.
 *
 * About one allocation in `rate` bytes is a sample, chosen at random so that the figures are right
 * on average for every size, type and place (heap/sample.h has the derivation).  A sample keeps the
 * calls that led to it, its type and its size.  Four values are known of each place:
 *
 *   alloc_objects, alloc_space   blocks, and their bytes, that were allocated since the start
 *   inuse_objects, inuse_space   those of them that are in use: neither freed, nor found dead by a
 *                                collection yet
 *
 * Bytes are those of whole blocks, with their rounding.  A block that realloc leaves in its place
 * is the one that it was.  While a profile is on, tarn_new and tarn_new_array are as fast as ever,
 * and raw blocks leave the inlined paths.  When none is on nothing costs anything.
 *
 * The option `profile` makes a profile from the beginning of a world and writes it in the end.
 */
#ifndef TARN_PROFILE_H
#define TARN_PROFILE_H

#include <stdint.h>
#include <tarn/base.h>

TARN_BEGIN_DECLS

#define TARN_PROFILE_RATE ((size_t)512 << 10)    /* of samples, where none is given */
#define TARN_PROFILE_RATE_MOST ((size_t)1 << 40) /* also of the option profile-rate */

/*
 * Begins a profile; what an earlier one found is forgotten.  `rate`: bytes for each sample, on
 * average; 0: TARN_PROFILE_RATE; 1: every allocation.  Stops the world for a moment.
 * Errors: as tarn_heap_walk; TARN_EINVAL: the rate is more than TARN_PROFILE_RATE_MOST; TARN_EBUSY:
 * one is on; TARN_ENOMEM.
 */
TARN_API tarn_status tarn_profile_start(tarn_thread *self, size_t rate);

/*
 * Ends it.  The figures stay, those of what is in use as they are now, until the next start.
 * Errors: as tarn_heap_walk; TARN_EUNBALANCED: none is on.
 */
TARN_API tarn_status tarn_profile_stop(tarn_thread *self);

/* How a profile is written. */
typedef enum tarn_profile_format {
  /* profile.proto, not compressed: for `go tool pprof`, speedscope and others.  Has all four
   * values; types and sizes are tags. */
  TARN_PROFILE_PPROF = 0,
  /* A line for each place, the outermost call first: `main;run;make;[pair] 4096`; for flame graphs
   * and speedscope.  Has one value. */
  TARN_PROFILE_FOLDED = 1
} tarn_profile_format;

/* Which of the four values. */
typedef enum tarn_profile_value {
  TARN_PROFILE_ALLOC_OBJECTS = 0, /* blocks that were allocated */
  TARN_PROFILE_ALLOC_SPACE = 1,   /* their bytes */
  TARN_PROFILE_INUSE_OBJECTS = 2, /* blocks that are in use */
  TARN_PROFILE_INUSE_SPACE = 3    /* their bytes */
} tarn_profile_value;

/*
 * Hands the profile, of which there is one since the first start, to a function, some kilobytes at
 * a time, or writes it to a file of its owner's alone (mode 0600), over what is there.  `value`:
 * that of folded stacks; for pprof the one that is shown first.  Functions of C are named by the
 * symbol tables of their files, and pprof adds lines.
 *
 * Errors: TARN_EINVAL; TARN_EUNBALANCED: there is no profile; TARN_ENOMEM; TARN_ESYSTEM with errno,
 * ECANCELED if the function refused.  Any thread, attached or not; other threads go on, but for the
 * moment in which the figures are copied.  Cost: up to a millisecond for each place in the code
 * that occurs.
 */
TARN_API tarn_status tarn_profile_write(tarn_world *world, tarn_profile_format format,
                                        tarn_profile_value value, tarn_write_fn fn, void *data);
TARN_API tarn_status tarn_profile_write_file(tarn_world *world, tarn_profile_format format,
                                             tarn_profile_value value, const char *path);

/* A call of a language's own; strings are copied, and cut off after 200 bytes. */
typedef struct tarn_profile_frame {
  const char *name; /* NULL: not known */
  const char *file; /* or NULL */
  uint32_t line;    /* or 0 */
} tarn_profile_frame;

/*
 * Fills in the calls of the language that `self` runs, the innermost first, at most `most` of them;
 * how many.  Called at each sample, by the thread that allocates, in the middle of its allocation:
 * it may read what the thread itself could read there, and must not call Tarn.  Strings must stay
 * as they are until it is called again by that thread.
 */
typedef size_t (*tarn_profile_frames_fn)(tarn_thread *self, tarn_profile_frame *frames, size_t most,
                                         void *data);

/* Those calls become part of each stack, inside of those of C.  NULL: no more.  It may be called a
 * last time shortly after it was replaced.  Errors: TARN_EINVAL.  Any thread. */
TARN_API tarn_status tarn_profile_set_frames(tarn_world *world, tarn_profile_frames_fn fn,
                                             void *data);

/* What is known of a profile itself.  Set `struct_size` before the call. */
typedef struct tarn_profile_info {
  size_t struct_size; /* sizeof(tarn_profile_info) of the caller */
  bool on;            /* it takes samples now */
  uint64_t rate;      /* bytes for each sample, on average */
  uint64_t samples;   /* taken */
  uint64_t in_use;    /* of them */
  uint64_t places;    /* different stacks, types and sizes */
  uint64_t dropped;   /* of the samples: no room for their place, or for noticing their end */
  uint64_t blind;     /* allocations that were not looked at for want of memory */
} tarn_profile_info;

/* Errors: TARN_EINVAL; TARN_EUNBALANCED: there is no profile.  Any thread. */
TARN_API tarn_status tarn_profile_info_get(tarn_world *world, tarn_profile_info *info);

TARN_END_DECLS

#endif
