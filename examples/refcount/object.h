/* SPDX-License-Identifier: MIT */
/*
 * refcount: a small object system that counts references and runs on Tarn, and a program on it.
 *
 * Objects die when the last reference to them goes.  What the counts alone never free, objects that
 * refer to each other in a circle, Tarn's collections of cycles find: see tarn/cycles.h.
 *
 *   object.c   numbers, and how objects are made: read this first
 *   string.c   strings, one object for equal ones: leaves, shared by all threads; the only lock
 *   list.c     a list: traced slots alone, so the library needs no function of ours
 *   map.c      a hash table in a block that is no object: a trace function
 *   closure.c  a C function with captured values: an array
 *   stream.c   an open file, which `finalize` closes, wherever its last reference was
 *
 *   graph.c    the program: nodes for words with neighbours, back references and parents,
 *   reader.c   the threads that build such graphs from files, and drop them,
 *   main.c     arguments, the answer, and the check that nothing is left
 *
 * The rules, of which each file says how it keeps them:
 *
 *   - Who stores a reference adds one to the count; a function that stores one of its arguments
 *     does so itself.  What a function makes and returns comes with a reference, the caller's to
 *     give up.  What map_get, list_at and the like return is borrowed: good for as long as the
 *     container has it.
 *   - At every safepoint (an allocation, tarn_safepoint, a blocked region) counts are right: never
 *     lower than the number of references.  In between nobody looks, so a reference can be moved
 *     from place to place, and stored before it is counted.
 *   - A reference is given up by tarn_unref, last of all: when nothing refers to the object any
 *     more from the place where it was.  It may run `finalize` functions, which may do anything, so
 *     it counts as a safepoint, and no lock is held there.
 *   - There are no barriers and no roots: counts say all that the collector needs.  A local
 *     variable needs no TARN_FRAME; it has a reference or borrows one.
 *   - Each object is changed by one thread at a time; which one is the program's business.  Counts
 *     are atomic, so that threads can share what does not change.
 *
 * No memory: functions return NULL or false and leave everything as it was; tarn_thread_status says
 * why.
 */
#ifndef REFCOUNT_OBJECT_H
#define REFCOUNT_OBJECT_H

#include <tarn/tarn.h>

/* How each object begins. */
struct object {
  const tarn_type *type;
  uint32_t refs; /* where the count stands, in all types */
  uint32_t hash; /* of strings; the others have no use for it */
};

struct string {
  struct object object;
  size_t length;
  struct string *next; /* in its chain of string.c: known there, and not counted */
  char text[];
};
struct number {
  struct object object;
  int64_t value;
};
struct list {
  struct object object;
  struct items *items; /* NULL: none yet */
  size_t length;
};
struct map {
  struct object object;
  struct entry *entries; /* of its own; NULL: none yet */
  size_t room, used;
};
struct closure;
/* False: no memory. */
typedef bool (*closure_fn)(tarn_thread *self, struct closure *closure, void *argument);
struct closure {
  struct object object;
  size_t count;
  closure_fn code;
  void *captured[];
};
struct stream {
  struct object object;
  struct string *path;
  struct closure *on_word; /* NULL: none yet */
  uint64_t words;          /* that it was given */
  int descriptor;
};

extern const tarn_type *number_type, *string_type, *list_type, *map_type, *closure_type,
    *stream_type;

/* One reference more.  Relaxed: who adds one has one, so the object does not go meanwhile. */
static inline void *ref(void *object) {
  if (object != NULL)
    __atomic_fetch_add(&((struct object *)object)->refs, 1, __ATOMIC_RELAXED);
  return object;
}

/* NULL for what is of another type. */
static inline void *as(const tarn_type *type, void *object) {
  return object != NULL && tarn_type_of(object) == type ? object : NULL;
}

/* object.c */
tarn_status objects_start(tarn_world *world); /* all types */
const tarn_type *type_make(tarn_world *world, tarn_type_spec spec, tarn_status *status);
void *object_new(tarn_thread *self, const tarn_type *type);
struct number *number_new(tarn_thread *self, int64_t value);

/* string.c: equal strings are the same object. */
void string_start(tarn_world *world, tarn_status *status);
struct string *string_of(tarn_thread *self, const char *text, size_t length);
size_t string_count(void); /* in the table */

/* list.c */
void list_start(tarn_world *world, tarn_status *status);
struct list *list_new(tarn_thread *self);
bool list_push(tarn_thread *self, struct list *list, void *value);
void *list_at(const struct list *list, size_t index); /* borrowed */

/* map.c */
void map_start(tarn_world *world, tarn_status *status);
struct map *map_new(tarn_thread *self);
void *map_get(const struct map *map, const struct string *key); /* borrowed; NULL: none */
bool map_put(tarn_thread *self, struct map *map, struct string *key, void *value);
/* The same, and gives up the caller's reference to the value, also where it fails: for what was
 * just made.  False if `value` is NULL. */
bool map_give(tarn_thread *self, struct map *map, struct string *key, void *value);
/* The next entry from `*at` on, which is 0 at first; false: no more.  Borrowed. */
bool map_next(const struct map *map, size_t *at, struct string **key, void **value);

/* closure.c */
void closure_start(tarn_world *world, tarn_status *status);
struct closure *closure_new(tarn_thread *self, closure_fn code, size_t count, void **values);
void closure_set(tarn_thread *self, struct closure *closure, size_t index, void *value);
bool closure_call(tarn_thread *self, struct closure *closure, void *argument);

/* stream.c */
void stream_start(tarn_world *world, tarn_status *status);
struct stream *stream_open(tarn_thread *self, const char *path); /* NULL: see stream_errno */
void stream_on_word(tarn_thread *self, struct stream *stream, struct closure *closure);
/* Reads it to its end and calls the closure with each word, a string.  False: see stream_errno. */
bool stream_read(tarn_thread *self, struct stream *stream, char *buffer, size_t size);
int stream_errno(void); /* of the thread's last call that failed; 0: there was no memory */
uint64_t streams_opened(void), streams_closed(void);

#endif
