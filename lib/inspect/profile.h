/* SPDX-License-Identifier: MIT */
/*
 * inspect/profile.h: what a profile remembers; see tarn/profile.h, and heap/sample.h for which
 * allocations it gets to see.
 *
 *   profile.c        taking samples, and noticing that they die
 *   profile_write.c  the two formats
 *   profile_file.c   the calls of tarn/profile.h, and the options
 *
 * A profile is one mapping, made by the start of the profile and never larger: what does not fit is
 * dropped and counted.  Its pages come as they are touched.  Nothing here calls malloc, which may
 * be what is being profiled, or locked.
 *
 * Everything is under the store's sampling_lock, but for what cannot change while a profile is on,
 * and for `seen`.  The lock is a leaf, held for less than a microsecond by samples and frees, and
 * for a copy of what is used by those who write.  No thread can be stopped that has it.
 *
 * Samples with the same stack, type and size are one place.  A place is never forgotten.  A block
 * that is a sample and in use has an entry, so that its death is noticed:
 *   - a free looks at `seen`, which has a count for each of 2^16 hashes of addresses: most are
 * zero, so most frees go by.  Who frees a block knows of it from who made it, and sees so that the
 *     count is not zero;
 *   - a collection, and the end of a heap, go through all entries in the stop.
 */
#ifndef TARN_INSPECT_PROFILE_H
#define TARN_INSPECT_PROFILE_H

#include "heap/sample.h"
#include "inspect/out.h"
#include "world/world.h"
#include <tarn/profile.h>

#define TARN_PROFILE_CALLS 32u  /* of C in a stack */
#define TARN_PROFILE_FRAMES 32u /* of the language */
#define TARN_PROFILE_PLACES 16384u
#define TARN_PROFILE_ENTRIES 65536u
#define TARN_PROFILE_NAMES 16384u
#define TARN_PROFILE_STRINGS 16384u
#define TARN_PROFILE_TEXT ((size_t)1 << 20)
#define TARN_PROFILE_STRING_MOST 200u
#define TARN_PROFILE_TYPES 256u

struct tarn_profile_stack {
  uint32_t calls, frames;
  uintptr_t call[TARN_PROFILE_CALLS];  /* return addresses, the innermost first */
  uint32_t frame[TARN_PROFILE_FRAMES]; /* names, the same */
};

struct tarn_profile_place {
  uint64_t hash;
  uint64_t size; /* of a block */
  uint32_t type; /* a string; 0: none */
  uint64_t made, living;
  struct tarn_profile_stack stack;
};

/* A call of the language. */
struct tarn_profile_name {
  uint32_t name, file; /* strings */
  uint32_t line;
};

/* A type that was met, and the string of its name: of those with one hash, the last. */
struct tarn_profile_type {
  const void *type;
  uint32_t string;
};

struct tarn_profile_entry {
  uintptr_t block;
  uint32_t place;
};

struct tarn_profile {
  struct tarn_sampling sampling; /* must be first */
  bool on;
  uint64_t begun, ended; /* tarn_os_now */
  uint64_t samples, dropped;
  _Atomic uint64_t blind;
  tarn_profile_frames_fn frames_fn;
  void *frames_data;
  /* How many there are.  String 0 is "", the last one stands for all that did not fit. */
  uint32_t places, entries, names, strings;
  size_t text_used;
  struct tarn_profile_place place[TARN_PROFILE_PLACES];
  struct tarn_profile_name name[TARN_PROFILE_NAMES];
  uint32_t string[TARN_PROFILE_STRINGS]; /* where it begins in the text */
  char text[TARN_PROFILE_TEXT];
  /* Beyond this writers need nothing. */
  struct tarn_profile_entry entry[TARN_PROFILE_ENTRIES];
  struct tarn_profile_type type[TARN_PROFILE_TYPES];
  /* By hash: a number, plus 1; linear probing.  Of places the upper half of the hash as well, so
   * that none is looked at for nothing.  The two that each sample needs grow as they fill: of a
   * large table no part would be in a cache.  They have so many slots, less 1. */
  uint32_t place_mask, entry_mask;
  struct tarn_profile_slot {
    uint32_t number, hash;
  } place_at[2 * TARN_PROFILE_PLACES];
  uint32_t name_at[2 * TARN_PROFILE_NAMES];
  uint32_t string_at[2 * TARN_PROFILE_STRINGS];
  uint32_t entry_at[2 * TARN_PROFILE_ENTRIES];
  _Atomic uint8_t seen[1u << 16];
};

/* --- profile.c --- */

/* Bytes of the pages that so many take. */
size_t tarn_profile_whole_pages(size_t bytes);

/* NULL: no memory.  Nobody takes samples for it yet. */
struct tarn_profile *tarn_profile_make(uint64_t rate);
void tarn_profile_drop(struct tarn_profile *profile);
/* A copy of what writers need; NULL: no memory.  Under the lock. */
struct tarn_profile *tarn_profile_copy(const struct tarn_profile *profile);

/* --- profile_write.c --- */

/* `profile` is a copy. */
void tarn_profile_put(struct tarn_out *out, const struct tarn_profile *profile,
                      tarn_profile_format format, tarn_profile_value value);

/* --- profile_file.c --- */

/* Of the options: before anybody else knows the world, and when it ends. */
void tarn_profile_begin(tarn_world *world);
void tarn_profile_end(tarn_world *world);
/* The world is nobody else's any more. */
void tarn_profile_forget(tarn_world *world);

#endif
