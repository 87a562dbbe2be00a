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
 * barriers, and no roots are needed.  Weak references, ephemerons, weak tables and finalizers of
 * tarn/finalizer.h are not to be had there, nor is tarn_collect (TARN_EKIND).
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
 * How a collection finds garbage: trial deletion, as in Christopher's paper of 1984 and in Python.
 * With the world stopped it copies the counts of the objects of its generation, which lie in
 * containers' pools, takes off the references among them, and what keeps some is alive with all it
 * reaches.  Objects of the atomic heap are not looked at.  If the program has registered roots
 * (tarn/root.h: slots, providers, frames, stacks), a full collection first marks what they reach,
 * several times faster; they need not be complete, and are counted like any reference.
 *
 * What happens to garbage, with the world running again, in this order:
 *   1. `finalize` functions run, once for each object ever; the objects are whole.
 *   2. If any ran, the world stops for a second look, at the garbage alone: what has got references
 *      from elsewhere meanwhile lives on, with all it reaches.
 *   3. `clear` functions give up the references of their objects; the library clears traced slots
 * of the others.  Counts fall to zero, and the objects die as they do elsewhere in the program.
 * Where no type in the garbage has either function, its references among itself need no counting
 * down: those to other objects are given up, `free` functions run, and the memory is free.
 *
 * Generations go by pool: 0 looks at pools that were allocated from since the last collection, 1
 * also at those that lived through one of 0 only, 2 at all.  References from older pools are
 * counted and not among those that are taken off, so they keep what they name alive, and nothing
 * has to be known of them.
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
 * so at any time.  When the last one goes, `finalize` runs if it never did; unless that made new
 * references, what the object refers to is given up in turn (by `unref` of the type of that, if it
 * has one), `free` runs, and its memory is free.  Long chains take no stack.  NULL is ignored.
 */
TARN_API void tarn_ref(tarn_thread *self, void *object);
TARN_API void tarn_unref(tarn_thread *self, void *object);

TARN_END_DECLS

#endif
