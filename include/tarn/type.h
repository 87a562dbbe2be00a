/* SPDX-License-Identifier: MIT */
/*
 * tarn/type.h: what the collector knows of an object.
 *
 * The first word of every object is its type.  A type says how long the object is, which of its
 * words are traced (hold references that keep objects alive) and which are raw (anything: the
 * collector never looks), and what to do when the object dies.
 *
 * The shapes, which can be combined:
 *
 *   inline slots       | type | slot | slot | ...
 *                      words 1 to size/8 - 1, traced or raw
 *
 *   an array           | type | ... | element | element | ...
 *                      after the fixed part as many elements as the word `count_word` says
 *
 *   a data block       | type | data | ...    | slot | slot | ...
 *                      a block of its own that lives and dies with the object (the shape of a
 *                      GOOPS instance); the word `data_word` is the pointer to it
 *
 *   a trace function   visits whatever it likes
 *
 * A type without anything traced puts its objects into the atomic heap by itself.  Types with a
 * `free` function put them into pools of their own, so that the others' dead are never looked at.
 *
 * Types may be made by any thread at any time, by the million; they live as long as their world.
 */
#ifndef TARN_TYPE_H
#define TARN_TYPE_H

#include <tarn/base.h>
#include <tarn/heap.h>

TARN_BEGIN_DECLS

/* Is told each reference of an object; see tarn_visit. */
typedef void (*tarn_trace_fn)(const void *object, tarn_visitor *visitor);

/*
 * Releases the C resource of an object that became garbage.  Runs once for each object, on some
 * attached thread, at a poll (`tarn_safepoint`), in `tarn_collect` or `tarn_release_pending`, or
 * when its heap or world ends: never inside an allocation, and with the world running.
 * The object and its data block are still whole; objects that it refers to may be gone, so only raw
 * slots may be read.  It may allocate; it must not store the object anywhere.
 */
typedef void (*tarn_free_fn)(tarn_world *world, void *object);

/* In worlds that count references, see tarn/cycles.h.  All are called with the world running, but
 * for tarn_refs_fn, which runs while it is stopped, under the rules of tarn_trace_fn. */
typedef size_t (*tarn_refs_fn)(const void *object);
typedef void (*tarn_count_fn)(tarn_thread *self, void *object);
typedef bool (*tarn_try_ref_fn)(tarn_thread *self, void *object); /* under a lock: calls nothing */

/* Writes a short text for the object into `buffer` of `size` bytes, as snprintf does. */
typedef int (*tarn_print_fn)(const void *object, char *buffer, size_t size);

/* Bits of tarn_type_spec.flags. */
enum {
  TARN_TYPE_ALL_TRACED = 1u << 0,      /* every inline word but 0, the count and the data word */
  TARN_TYPE_ELEMENTS_TRACED = 1u << 1, /* every word of every element is traced */
  TARN_TYPE_DATA_TRACED = 1u << 2,     /* every word of the data block is traced */
  TARN_TYPE_WEAK = 1u << 3             /* weak handles may be made to its objects: tarn/cycles.h */
};

/*
 * A description.  Start from TARN_TYPE_SPEC_INIT; zero means "none" everywhere.
 * Word numbers count 8-byte words from the start of the object (or element, or data block).
 */
typedef struct tarn_type_spec {
  size_t struct_size;            /* sizeof(tarn_type_spec) of the caller */
  const char *name;              /* copied; NULL is "anonymous" */
  const tarn_type *parent;       /* inherits what is left zero here, see below */
  tarn_heap *heap;               /* NULL: the world's container or atomic heap, by what is traced */
  size_t size;                   /* bytes of the fixed part with the type word; at least 8 */
  size_t align;                  /* 0, or a power of two up to 4096 */
  unsigned flags;                /* TARN_TYPE_... */
  const uint32_t *slots;         /* word numbers that are traced ... */
  size_t slot_count;             /* ... and how many */
  uint64_t slot_bits;            /* the same as bits: bit n is word n; both may be given */
  size_t element_size;           /* bytes of an array's element; 0: not an array */
  const uint32_t *element_slots; /* traced words of an element */
  size_t element_slot_count;     /* how many */
  size_t count_word;             /* where the count stands; 0: word 1 (arrays only) */
  size_t data_size;              /* bytes of the data block; 0: none */
  const uint32_t *data_slots;    /* traced words of the data block */
  size_t data_slot_count;        /* how many */
  size_t data_word;              /* where the pointer to it stands; 0: word 1 */
  tarn_trace_fn trace;           /* in addition to the slots, or instead of them */
  tarn_free_fn free;             /* NULL: there is nothing to release */
  tarn_print_fn print;           /* for tarn_print */
  void *user;                    /* for the runtime; tarn_type_user */
  /*
   * In worlds that count references, and only there (tarn/cycles.h).  A type with something traced
   * must say where its count stands, another one may: at `refs_at`, `refs_size` bytes, outside of
   * slots; or `refs`, `ref` and `unref`, all three, tell the count (of several fields, say), add
   * one, and give one up with all that follows.  `unref` may be given with `refs_at` as well: then
   * the library calls it rather than tarn_unref, which does the same for types that have none.
   *
   * `finalize` sees its object whole before it dies, once, and may make new references to it.
   * `clear` gives up the references that the object has, and forgets them; the object stays.
   */
  size_t refs_at;          /* bytes from the start of the object; 0: it does not stand there */
  size_t refs_size;        /* 4 or 8; 0: 8 */
  tarn_refs_fn refs;       /* tells the count */
  tarn_try_ref_fn try_ref; /* for TARN_TYPE_WEAK: adds one if there is any */
  tarn_count_fn ref;       /* adds one */
  tarn_count_fn unref;     /* gives one up, with all that follows */
  tarn_count_fn clear;     /* gives up what the object refers to */
  tarn_count_fn finalize;  /* sees the object whole before it dies */
} tarn_type_spec;

#ifdef __cplusplus /* which has designated initialisers since C++20 only */
static inline tarn_type_spec tarn_type_spec_init() {
  tarn_type_spec spec = tarn_type_spec();
  spec.struct_size = sizeof(tarn_type_spec);
  return spec;
}
#define TARN_TYPE_SPEC_INIT tarn_type_spec_init()
#else
/* A description in which nothing is said but its size. */
#define TARN_TYPE_SPEC_INIT \
  { .struct_size = sizeof(tarn_type_spec) }
#endif

/*
 * Makes a type.  With a `parent`, the child starts with the parent's layout, trace, free, print and
 * user word: `size` 0 takes the parent's, a larger one adds words behind them; slots given here are
 * added to the parent's; `free`, `print`, `trace` and `user` replace the parent's when not NULL.
 * A child of an array or data type keeps the parent's element and data description and must not
 * give another.
 *
 * NULL, with `*status` (may be NULL) set: TARN_EINVAL (no world, no spec), TARN_ETYPE (size below
 * 8 or not a multiple of 8 where slots are traced, a slot beyond the end, twice the type word, the
 * count or the data word, a count of references that is missing, or where none is, an alignment
 * that is not one, a child smaller than its parent, elements or data that are changed in a child, a
 * part above 4 GiB, a type with something traced or with a data block for an atomic heap),
 * TARN_ENOMEM.  Any thread, attached or not, any time, also while another thread collects.
 */
TARN_API const tarn_type *tarn_type_create(tarn_world *world, const tarn_type_spec *spec,
                                           tarn_status *status);

/*
 * Replace a type's functions; NULL takes them away.  Objects that exist are covered as well.  A
 * type that was made without a `free` function can never get one: its objects lie in pools whose
 * dead are never looked at.  Give such a type an empty function from the start. Replacing is
 * atomic; a running call of the old function ends as it began.  Children made earlier keep what
 * they inherited.  Any thread. Errors: TARN_EINVAL (NULL type), TARN_ETYPE (a `free` function for a
 * type made without one).
 */
TARN_API tarn_status tarn_type_set_free(const tarn_type *type, tarn_free_fn fn);
TARN_API tarn_status tarn_type_set_print(const tarn_type *type, tarn_print_fn fn);

/*
 * What the description said: the name, the parent (NULL if there is none), the bytes of the fixed
 * part and the user word; the `free` function as it is now; and the world that the type is of.
 * NULL or 0 for a NULL type.  Any thread, any time.
 */
TARN_API const char *tarn_type_name(const tarn_type *type);
TARN_API const tarn_type *tarn_type_parent(const tarn_type *type);
TARN_API size_t tarn_type_size(const tarn_type *type);
TARN_API void *tarn_type_user(const tarn_type *type);
TARN_API tarn_free_fn tarn_type_free(const tarn_type *type);
TARN_API tarn_world *tarn_type_world(const tarn_type *type);

/* Is `type` the type `ancestor` or one of its descendants? */
TARN_API bool tarn_type_is_a(const tarn_type *type, const tarn_type *ancestor);

/* The type of an object: its first word. */
static inline const tarn_type *tarn_type_of(const void *object) {
  return *(const tarn_type *const *)object;
}

/* Number of types of a world. */
TARN_API size_t tarn_type_count(tarn_world *world);

/* Uses the type's print function, or writes "#<NAME ADDRESS>".  Returns as snprintf does. */
TARN_API int tarn_print(const void *object, char *buffer, size_t size);

/* What was visited and not looked at yet.  Programs use none of its fields. */
struct tarn_visitor {
  uintptr_t *tarn_next; /* where the next reference goes */
  uintptr_t *tarn_end;  /* where there is no more room */
};

/* tarn_visit, for foreign-function users and where there is no room. */
TARN_API void tarn_visit_outline(tarn_visitor *visitor, const void *reference);

/*
 * For trace functions: tells the collector of one reference.  Any word is allowed; what is not an
 * object of this world is ignored.  A trace function runs while the world is stopped: it must not
 * allocate, block or call anything else of Tarn, and must visit the same references each time.
 * Several markers may run it at the same time, also for one object, in threads of the library's own
 * that no runtime has ever seen (option `markers`).  Cost: 4 instructions, and a call for every 32
 * references.
 */
static inline void tarn_visit(tarn_visitor *visitor, const void *reference) {
  if (TARN_UNLIKELY(visitor->tarn_next == visitor->tarn_end))
    tarn_visit_outline(visitor, reference);
  else
    *visitor->tarn_next++ = (uintptr_t)reference;
}

/* The same for `count` words in a row. */
TARN_API void tarn_visit_range(tarn_visitor *visitor, const void *first, size_t count);

TARN_END_DECLS

#endif
