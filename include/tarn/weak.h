/* SPDX-License-Identifier: MIT */
/*
 * tarn/weak.h: weak references, ephemerons and weak tables.
 *
 * All are cleared while the world is stopped, so a running thread sees an entry either whole or
 * gone, and what it read stays alive for as long as it sits in a root.
 */
#ifndef TARN_WEAK_H
#define TARN_WEAK_H

#include <tarn/base.h>

TARN_BEGIN_DECLS

/*
 * A weak reference is an object of 24 bytes that refers to `target` without keeping it alive.
 * NULL target is allowed.  The caller keeps the result (and, during the call, the target) in a
 * root. NULL: as tarn_new.
 */
TARN_API void *tarn_weak_new(tarn_thread *self, void *target);

/* The target, or NULL when it died.  Any attached, running thread. */
TARN_API void *tarn_weak_get(tarn_thread *self, void *weak);

/* Makes it refer to another target, or to nothing (NULL).  Any attached, running thread. */
TARN_API void tarn_weak_set(tarn_thread *self, void *weak, void *target);

/* Is that a weak reference of the world?  For the address of any object, or NULL. */
TARN_API bool tarn_is_weak(tarn_world *world, const void *object);

/*
 * An ephemeron: its value is alive while both the ephemeron and the key are.  A value that refers
 * to its own key does not keep it.  When the key dies, key and value become NULL together.
 * NULL: as tarn_new, and TARN_EINVAL when `key` is NULL.
 */
TARN_API void *tarn_ephemeron_new(tarn_thread *self, void *key, void *value);
TARN_API bool tarn_is_ephemeron(tarn_world *world, const void *object);
TARN_API void *tarn_ephemeron_key(tarn_thread *self, void *ephemeron);
TARN_API void *tarn_ephemeron_value(tarn_thread *self, void *ephemeron);

/* Replaces the value; nothing happens if the key is dead. */
TARN_API void tarn_ephemeron_set_value(tarn_thread *self, void *ephemeron, void *value);

/*
 * Weak tables: hash tables outside the heap, of a world, for any number of threads.  Locks inside
 * are sharded; no lock is held while user code other than `hash` and `equal` runs.
 *
 *   TARN_WEAK_SET     holds objects weakly: for interning
 *   TARN_WEAK_KEYS    maps weak keys to values, as ephemerons do
 *   TARN_WEAK_VALUES  maps strong keys to weak values; an entry goes when its value dies
 */
typedef struct tarn_weak_table tarn_weak_table;

/* What a table holds weakly. */
typedef enum tarn_weak_kind {
  TARN_WEAK_SET = 0,   /* its objects */
  TARN_WEAK_KEYS = 1,  /* the keys */
  TARN_WEAK_VALUES = 2 /* the values */
} tarn_weak_kind;

/* A description.  Start from TARN_WEAK_TABLE_SPEC_INIT. */
typedef struct tarn_weak_table_spec {
  size_t struct_size;  /* sizeof(tarn_weak_table_spec) of the caller */
  tarn_weak_kind kind; /* what is held weakly */
  /* NULL for both: keys are compared by address.  Called under a shard's lock: must not allocate,
   * block or call Tarn.  `probe` is what the caller looks for, and need not be an object. */
  uint64_t (*hash)(const void *key, void *data);
  bool (*equal)(const void *probe, const void *key, void *data);
  void *data; /* for both */
} tarn_weak_table_spec;

#ifdef __cplusplus /* which has designated initialisers since C++20 only */
static inline tarn_weak_table_spec tarn_weak_table_spec_init() {
  tarn_weak_table_spec spec = tarn_weak_table_spec();
  spec.struct_size = sizeof(tarn_weak_table_spec);
  return spec;
}
#define TARN_WEAK_TABLE_SPEC_INIT tarn_weak_table_spec_init()
#else
/* A set that compares by address. */
#define TARN_WEAK_TABLE_SPEC_INIT \
  { .struct_size = sizeof(tarn_weak_table_spec) }
#endif

/*
 * Makes a table of the world.
 * Errors: TARN_EINVAL (NULL, an unknown kind, `hash` without `equal` or the other way round),
 * TARN_EKIND (the world counts references), TARN_ENOMEM; `*out` is NULL then.  Any thread.
 */
TARN_API tarn_status tarn_weak_table_create(tarn_world *world, const tarn_weak_table_spec *spec,
                                            tarn_weak_table **out);

/* No thread may use the table any more.  The world's end destroys what is left. */
TARN_API void tarn_weak_table_destroy(tarn_weak_table *table);

/* The key that equals `probe`, or NULL.  `*value` (may be NULL) gets the entry's value. */
TARN_API void *tarn_weak_table_get(tarn_thread *self, tarn_weak_table *table, const void *probe,
                                   void **value);

/*
 * Adds the entry unless an equal key is there; gives the key that is in the table afterwards (so
 * two threads that intern the same word get the same object), or NULL on TARN_ENOMEM or
 * TARN_EINVAL. For a set, `value` is ignored.  `replace` true puts the new value into an entry that
 * was there.
 */
TARN_API void *tarn_weak_table_put(tarn_thread *self, tarn_weak_table *table, void *key,
                                   void *value, bool replace);

/* Removes the entry; false if there was none. */
TARN_API bool tarn_weak_table_remove(tarn_thread *self, tarn_weak_table *table, const void *probe);

/* Entries that are in the table now; those of dead objects are gone since the last collection. */
TARN_API size_t tarn_weak_table_count(tarn_weak_table *table);

/*
 * Copies entries, each once, in no order: their keys to `keys` and their values to `values`, either
 * of which may be NULL; at most `most`, and returns how many.  What other threads put or remove
 * meanwhile may be among them or not.  The caller's next safepoint may collect what was copied
 * unless it is in a root by then: a Tarn array that was allocated last will do, which needs no
 * barriers, as in tarn_store_new.
 *
 * 0 also for a NULL table (TARN_EINVAL), and as for the calls above.  Cost: a lock for each of 16
 * shards, and a look at each place of their tables.
 */
TARN_API size_t tarn_weak_table_entries(tarn_thread *self, tarn_weak_table *table, void **keys,
                                        void **values, size_t most);

TARN_END_DECLS

#endif
