/* SPDX-License-Identifier: MIT */
/*
 * tarn/cycles.h: worlds of programs that count references.
 *
 * A program that frees an object when the last reference to it goes needs no tracing collector, but
 * for objects that refer to each other in a circle: their counts never fall to zero.  It says that
 * it counts when it makes its world (TARN_OPTIONS_COUNTING) and, for each type, where the count
 * stands (tarn/type.h).  Then nothing dies by not being reachable: objects die when the program
 * gives them back (`tarn_free`, `tarn_unref`), or in a collection of cycles.  Everything else is as
 * in other worlds: heaps, threads, safepoints, blocked regions, the GC lock.  There are no
 * barriers, and no roots are needed.  The weak references, ephemerons and tables of tarn/weak.h and
 * the finalizers of tarn/finalizer.h are not to be had there, nor is tarn_collect (TARN_EKIND); but
 * there are weak handles, below.
 *
 * What a count means.  One for each traced slot, element, word of a data block, or visit of the
 * trace function that names the object, of objects whose own count is not zero; and one for each
 * reference from elsewhere: variables, tables of the runtime, other worlds.  It may be too high for
 * a while (a decrement that is put off); it must never be too low.  A collection that finds more
 * references than were counted ends the process, and names the object.  A count of
 * TARN_REFS_IMMORTAL or more stands for an object that never dies.  An object whose count is zero
 * is being made, or being given back: it is left alone, and what it refers to lives as long as the
 * references that were counted and not given up yet say.
 *
 * A traced slot, or a word that a trace function visits, names a living object of the world, or
 * nothing of it: never what was given back.
 *
 * Collections come by themselves at safepoints (tarn_safepoint, the end of a blocked region), as
 * often as in other worlds, and never inside an allocation, for they call functions of the program;
 * but where an allocation finds no memory it collects, as tarn_collect_cycles does.  One thread
 * frees what a collection found.  While others make new garbage faster than that, so that the next
 * collection is due before the last one is done, each of them sleeps at safepoints that come after
 * a refill of its own memory, for at most ten milliseconds each time.
 *
 * How a collection finds garbage: trial deletion, as in Christopher's paper of 1984 and in Python.
 * With the world stopped it copies the counts of the objects of its generation, which lie in
 * containers' pools, takes off the references among them, and what keeps some is alive with all it
 * reaches.  Objects of the atomic heap are not looked at.  If the program has registered roots
 * (tarn/root.h: slots, providers, frames, stacks), a full collection first marks what they reach,
 * several times faster; they need not be complete, and are counted like any reference.
 *
 * What happens to garbage, with the world running again, in this order:
 *   0. Still in the stop, weak handles to garbage are cut.  Then their functions are called.
 *   1. `finalize` functions run, once for each object ever; the objects are whole.
 *   2. If any ran, the world stops for a second look, at the garbage alone: what has got references
 *      from elsewhere meanwhile lives on, with all it reaches.  Handles made since to what is still
 *      garbage are cut, and their functions not called.
 *   3. `clear` functions run, of what is garbage still, each object of which has one reference more
 *      than the program knows, so that none dies meanwhile.
 *   4. All references from garbage to other objects are given up; those among it need no counting
 *      down.  `free` functions run, and the memory is free.  No `unref` function is called for
 *      garbage: `free` is the end of an object by whatever way it dies.
 *
 * Which function is for what:
 *
 *   free      releases what the object owns beside references: memory, files.  May not look at what
 *             the object refers to.  Gets the world, for it runs at the end of the world, too.
 *   finalize  wants the object whole, and all it refers to; may keep it alive.
 *   clear     gives up references that the library cannot find: such as `trace` does not visit. Few
 *             types need it.  It must not make new references to the object.
 *   unref     does more, or less, than tarn_unref when a reference goes.
 *
 * Generations go by pool: 0 looks at pools that were allocated from since the last collection, 1
 * also at those that lived through one of 0 only, 2 at all.  What the last full collection reached
 * from known roots is old in any pool, and only looked at by the next full one.  References from
 * what is older are counted and not among those that are taken off, so they keep what they name
 * alive, and nothing has to be known of them.
 */
#ifndef TARN_CYCLES_H
#define TARN_CYCLES_H

#include <tarn/base.h>
#include <tarn/type.h>

TARN_BEGIN_DECLS

/* A count from which on an object never dies. */
#define TARN_REFS_IMMORTAL ((size_t)1 << 28)

/*
 * Finds and frees cycles of garbage of a generation, 0 to 2, and returns when that is done.  If
 * another thread does so already, this call waits for it, and is done too if that one stopped the
 * world after this call began, for the same generation or a higher one.  Inside a function that a
 * collection of cycles calls, it does nothing.
 * Errors: TARN_EINVAL, TARN_EKIND (the world does not count), TARN_EHELD, TARN_EUNBALANCED (inside
 * a blocked region), TARN_EWRONGTHREAD, TARN_EDETACHED, TARN_ENOMEM (no memory for the side table;
 * nothing was collected).
 */
TARN_API tarn_status tarn_collect_cycles(tarn_thread *self, int generation);

/*
 * Adds a reference, and gives one up; for types whose count stands in the object, or that have
 * functions for it.  Counts in objects change by atomic operations, so any attached thread may do
 * so at any time.  tarn_new gives an object with a count of zero: who makes it adds the first one.
 *
 * When the last one goes, `finalize` runs if it never did; unless that made new references, what
 * the object refers to is given up in turn (by `unref` of the type of that, if it has one), `free`
 * runs, and its memory is free.  Long chains take no stack.  So tarn_unref is to be taken for a
 * safepoint, with no lock held that one of these functions may want.  By a thread that is not
 * running it does nothing but set the status: the reference is still there.  NULL is ignored.
 */
TARN_API void tarn_ref(tarn_thread *self, void *object);
TARN_API void tarn_unref(tarn_thread *self, void *object);

/*
 * Adds a reference if the count is not zero; false: the object is dying, or is just made.  For
 * tables that know objects without counting, and from which `free` takes them out: under a lock
 * that both take, so that the object is there still.  Types with functions need `try_ref`.
 */
TARN_API bool tarn_ref_living(tarn_thread *self, void *object);

/*
 * Sets all objects that there are aside: no collection looks at them any more, or writes to them or
 * to their side tables, and nothing is allocated beside them.  What they refer to lives.  So what a
 * program has built before it forks stays shared with the children, but for counts that change.
 * Frozen objects die by their count as before; their memory can be used again after tarn_unfreeze,
 * from which on collections of generation 2 look at them again.  May be called again.
 * Errors: as tarn_collect_cycles.
 */
TARN_API tarn_status tarn_freeze(tarn_thread *self);
TARN_API tarn_status tarn_unfreeze(tarn_thread *self);

/*
 * Weak handles: references that are not counted, to objects of types with TARN_TYPE_WEAK.  A handle
 * is no object; it is given back with tarn_weak_handle_free, or goes with its world.
 *
 * When the object dies, by its count or as garbage, the handle leads to nothing from then on, and
 * `gone`, unless NULL, is called once, with the world running, by the thread that gives the object
 * back.  The object cannot be reached then.  A finalizer that saves the object does not bring the
 * handles back that a collection of cycles has cut.
 * Errors: TARN_EINVAL (NULL, or not an object of the world), TARN_EKIND, TARN_ETYPE (a type without
 * TARN_TYPE_WEAK), TARN_ENOMEM, TARN_EWRONGTHREAD, TARN_EDETACHED, TARN_EUNBALANCED.
 */
typedef struct tarn_weak_handle tarn_weak_handle;
typedef void (*tarn_weak_gone_fn)(tarn_thread *self, tarn_weak_handle *handle, void *data);

/* Makes a handle to an object, for which the caller has a reference meanwhile; `data` is for
 * `gone`. */
TARN_API tarn_status tarn_weak_handle_new(tarn_thread *self, void *object, tarn_weak_gone_fn gone,
                                          void *data, tarn_weak_handle **out);

/* The object, with a reference that is the caller's now, or NULL.  Takes a lock of the world's for
 * a few instructions. */
TARN_API void *tarn_weak_handle_get(tarn_thread *self, tarn_weak_handle *handle);

/* Gives the handle back; its function is not called any more, but another thread may be calling it
 * just now.  Also inside that function.  NULL is ignored. */
TARN_API void tarn_weak_handle_free(tarn_thread *self, tarn_weak_handle *handle);

TARN_END_DECLS

#endif
