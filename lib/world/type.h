/* SPDX-License-Identifier: MIT */
/*
 * world/type.h: types, and the directory of a world's types.
 *
 * A type is written once, before it is published, except `free_fn` and `print_fn`, which are atomic
 * (release when set, acquire when called).  Types come from the world's metadata and end with it.
 * The directory is an RCU list: types are added under the lock and never removed, so walkers need
 * no lock.
 */
#ifndef TARN_WORLD_TYPE_H
#define TARN_WORLD_TYPE_H

#include "heap/local.h"
#include <tarn/inline.h>
#include <tarn/type.h>

/* How the marker scans an object of the type; worked out once, here. */
typedef enum tarn_scan {
  TARN_SCAN_NONE = 0,     /* nothing traced */
  TARN_SCAN_BITS = 1,     /* `bits` says all */
  TARN_SCAN_GENERAL = 2,  /* slots, elements, data block, trace function, in that order */
  TARN_SCAN_TRACE = 3,    /* the trace function does all */
  TARN_SCAN_WEAK = 4,     /* built in: a weak reference */
  TARN_SCAN_EPHEMERON = 5 /* built in */
} tarn_scan;

/* Traced words of a part of an object: those below 64 as bits, the others as a list. */
struct tarn_layout {
  uint64_t bits;        /* bit n: word n is traced */
  const uint32_t *more; /* word numbers >= 64, rising */
  uint32_t more_count;
  bool all; /* every word of the element or data block is traced; the rest is empty */
};

struct tarn_type {
  struct tarn_type_head head; /* must be first */
  uint8_t scan;               /* enum tarn_scan */
  uint8_t flavour;            /* enum tarn_flavour of its objects */
  uint8_t size_class;         /* of an object without elements; 255: large */
  bool is_array;
  bool has_heap;  /* the heap was asked for, not chosen; children inherit it */
  uint32_t words; /* of the fixed part */
  uint64_t bits;  /* = slots.bits; here for TARN_SCAN_BITS */
  _Atomic(tarn_free_fn) free_fn;
  tarn_trace_fn trace;
  struct tarn_layout slots;
  struct tarn_layout element;
  struct tarn_layout data;
  uint32_t element_size; /* bytes; 0: no array */
  uint32_t count_word;
  uint32_t data_size; /* bytes; 0: no data block */
  uint32_t data_word;
  size_t size; /* bytes of the fixed part, as given: elements begin here */
  size_t align;
  tarn_world *world;
  struct tarn_heap *heap; /* never NULL */
  const tarn_type *parent;
  uint32_t depth; /* number of ancestors */
  void *user;
  _Atomic(tarn_print_fn) print_fn;
  /* In worlds that count references. */
  uint32_t refs_at; /* 0: the functions say it, or nothing is counted */
  uint8_t refs_size;
  bool weakly;  /* weak handles */
  bool special; /* weakly, or with `clear` or `finalize`: garbage of it does not just go */
  tarn_try_ref_fn try_ref;
  tarn_refs_fn refs;
  tarn_count_fn ref, unref, clear, finalize;
  const char *name;
  uintptr_t check; /* own address ^ TARN_TYPE_CHECK: tells a type from a wild word */
  struct cds_list_head node;
};

#define TARN_TYPE_CHECK ((uintptr_t)0x7461726e74797065)

/* Does the first word of an object look like a type of this world?  Reads through it. */
static inline bool tarn_type_is_good(const tarn_type *type, const tarn_world *world) {
  return type->check == ((uintptr_t)type ^ TARN_TYPE_CHECK) && type->world == world;
}

/* All types of a world, by their addresses, in hardened builds.  Written under the lock (release),
 * read by anybody (acquire); a larger one takes its place and it stays, for readers. */
struct tarn_type_set {
  size_t slots; /* a power of two; at most half are taken */
  _Atomic(const tarn_type *) types[];
};

struct tarn_types {
  pthread_mutex_t lock; /* a leaf, but for the metadata's */
  struct cds_list_head list;
  _Atomic size_t count;
#if TARN_HARDENED
  _Atomic(struct tarn_type_set *) set;
#endif
  const tarn_type *weak;      /* built in */
  const tarn_type *ephemeron; /* built in */
};

tarn_status tarn_types_start(tarn_world *world);
void tarn_types_end(tarn_world *world);

/* Built-in types: as tarn_type_create, with the scan given. */
const tarn_type *tarn_type_make(tarn_world *world, const tarn_type_spec *spec, tarn_scan scan,
                                tarn_status *status);

/*
 * Before a type is followed that was read from an object: ends the process if it is none.  Checking
 * builds read through the word, which finds accidents; hardened ones look it up, so that no forged
 * one gets by.  In others this is nothing.
 */
#if TARN_CHECKING || TARN_HARDENED
void tarn_type_check(tarn_world *world, const void *object);
#else
static inline void tarn_type_check(tarn_world *world, const void *object) {
  (void)world, (void)object;
}
#endif

/* Is this word a type of the world?  Believes nothing: it may be anything.  Linear in their number.
 */
bool tarn_type_is_known(const tarn_world *world, const tarn_type *word);

/*
 * Runs the `free` function of an object's type, if it has one, and then releases its separate data
 * block through `local` (NULL: not released, the heap goes as a whole) and clears its word.  The
 * block itself stays.  Polls inside the function run no other `free` functions.  The hook `release`
 * of the heap layer.
 */
void tarn_type_release(struct tarn_local *local, void *object);

/* The element count of an array object. */
static inline size_t tarn_type_elements(const tarn_type *type, const void *object) {
  return type->is_array ? ((const size_t *)object)[type->count_word] : 0;
}

#endif
