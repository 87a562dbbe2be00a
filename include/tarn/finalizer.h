/* SPDX-License-Identifier: MIT */
/*
 * tarn/finalizer.h: finalizers, which see their object whole.
 *
 * A type's `free` releases a C resource and may not look around.  A finalizer may: its object and
 * all it refers to are alive when it runs, and it may store the object somewhere (resurrection).
 * A finalizer runs once for each time that it was added; an object that shall have it again after a
 * resurrection adds it again.  Finalizers never run by themselves: the runtime drains the queue
 * where its own code may run.
 *
 * `tarn_free` of an object takes its finalizers away, unrun.
 *
 * Order: finalizers whose objects were found unreachable by the same collection run in the order in
 * which they were added.  Objects that refer to each other are found together.  Weak references to
 * an object are cleared before its finalizer runs.  An object with a finalizer and a `free`
 * function gets the finalizer first, and `free` in a later collection, when it is garbage again.
 */
#ifndef TARN_FINALIZER_H
#define TARN_FINALIZER_H

#include <tarn/base.h>

TARN_BEGIN_DECLS

/* Gets the thread that drains the queue, the object, and what tarn_finalizer_add was given. It may
 * do whatever a thread may do. */
typedef void (*tarn_finalizer_fn)(tarn_thread *self, void *object, void *data);

/*
 * Adds a finalizer.  `data` is not traced.  An object may have several.
 * Errors: TARN_EINVAL (NULL, or not an object of this world), TARN_ENOMEM, TARN_EWRONGTHREAD.
 */
TARN_API tarn_status tarn_finalizer_add(tarn_thread *self, void *object, tarn_finalizer_fn fn,
                                        void *data);

/* Takes back the finalizers (fn, data) of an object that did not become due; TARN_ENOTFOUND. */
TARN_API tarn_status tarn_finalizer_remove(tarn_thread *self, void *object, tarn_finalizer_fn fn,
                                           void *data);

/* Runs at most `most` (0: all that are due now) finalizers; returns how many ran. */
TARN_API size_t tarn_finalizers_run(tarn_thread *self, size_t most);

/* How many are due.  Any thread; a relaxed load. */
TARN_API size_t tarn_finalizers_due(tarn_world *world);

TARN_END_DECLS

#endif
