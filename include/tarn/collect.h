/* SPDX-License-Identifier: MIT */
/*
 * tarn/collect.h: collections.
 *
 * A collection stops the world, marks what can be reached from the roots, clears weak references,
 * finds what needs a finalizer, and lets the world run again.  Memory is swept later, pool by pool,
 * by the threads that want it, and ahead of them by a thread of the library's own (TARN_SWEEPER);
 * what is still unswept when the next collection comes is swept by the thread that collects. `free`
 * functions run afterwards, with the world running.
 *
 * Collections start by themselves when TARN_MIN_HEAP bytes, and TARN_GROWTH percent of what was
 * live after the last one, were allocated; sooner near the soft limit, but not so often that they
 * take more than TARN_SOFT_SHARE percent of the time.  In a world with generations (tarn/store.h)
 * young ones start in between, every TARN_YOUNG bytes.  When nothing was allocated for
 * TARN_IDLE_COLLECT, a full one comes as well, so that an idle program gives memory back.
 *
 * A collection of generation 0 finds garbage among what was allocated since the last collection;
 * one of generation 1 also among what lived through collections of generation 0 only; one of
 * generation 2, a full one, everywhere.  The first collection of a world is a full one.
 *
 * At the hard limit, and when the system has no memory, an allocation collects before it fails,
 * unless it alone is larger than the limit and there is no callback that might raise it.
 * When four such collections in a row each found less than a fiftieth of the heap dead, allocations
 * fail at once: until one of another kind found more, or until as much time has passed as the last
 * one took, and then twice, four, eight and sixteen times as much.  A program that drops its data
 * when an allocation fails goes on at its next attempts; one that wants to be sure calls
 * tarn_collect.
 *
 * The order of events in one collection, of which each sees the results of those before it:
 *
 *   1. everything reachable from roots is marked, with the values of ephemerons whose key is;
 *   2. weak references and weak table entries to what is not marked are cleared;
 *   3. objects with a finalizer that are not marked go to the finalizer queue, in the order in
 *      which the finalizers were added, and are marked with all they reach (they are alive until
 *      their finalizer has run, and longer if it stores them somewhere);
 *   4. ephemerons are looked at again for what step 3 marked; those whose key is still not marked
 *      are cleared;
 *   5. objects that are not marked are dead; those with a `free` function wait for it.
 */
#ifndef TARN_COLLECT_H
#define TARN_COLLECT_H

#include <tarn/base.h>

TARN_BEGIN_DECLS

/* The highest generation; collecting it is a full collection. */
#define TARN_GENERATION_FULL 2

/*
 * Collects a generation, 0 to 2; in a world without generations every collection is a full one. If
 * another thread collects that generation or a higher one already, this call joins that collection
 * and returns at its end.
 * Sweeps what a full collection left, gives free memory back beyond what the option `retain` keeps,
 * and runs `free` functions until none is due; those that another thread has begun to run may still
 * be running when this returns.
 *
 * Errors: TARN_EINVAL, TARN_EHELD (inside a hold), TARN_EUNBALANCED (inside a blocked region),
 * TARN_EWRONGTHREAD, TARN_EDETACHED, TARN_ENOMEM (no memory for the side table; nothing was
 * collected).
 */
TARN_API tarn_status tarn_collect(tarn_thread *self, int generation);

/*
 * Runs `free` functions that are due, at most `most` of them (0: all).  Returns how many ran.
 * Polls do this by themselves.
 */
TARN_API size_t tarn_release_pending(tarn_thread *self, size_t most);

/*
 * Switches collection other than by tarn_collect off and on; calls nest.  While it is off, memory
 * that only a collection could find is not found: an allocation at the limit fails at once (unlike
 * the option `collect`, which still collects there).  Any thread.
 */
TARN_API void tarn_collect_disable(tarn_world *world);
TARN_API tarn_status tarn_collect_enable(tarn_world *world);

/*
 * Tells the world of bytes that its objects keep elsewhere (memory of a C library, mapped files,
 * buffers of a device): `bytes` more of them, or fewer if negative.  Who adds when an object gets
 * such a resource takes the same off when it goes, as a rule in the object's `free` function.
 *
 * They count like bytes of the heap for TARN_MIN_HEAP, TARN_GROWTH and the soft limit: what is
 * added brings the next collection nearer, and what lives makes it wait longer.  What is taken off
 * before the next collection does not count as growth.  They do not count for the hard limit, which
 * is one of the world's own memory: the world can refuse to allocate that, while a resource is
 * there already when it is told of, and may be of a kind that is not scarce where memory is.
 *
 * `free` functions run some time after the collection that found their objects dead, and what they
 * take off is external until then.
 *
 * This is no safepoint, and allocates nothing.  If a collection has become due it runs at the next
 * safepoint, or where an allocation comes to its slow path, of any thread.
 *
 * Errors: TARN_EINVAL (NULL).  TARN_EUNBALANCED: fewer than none; there are none now.
 * TARN_EOVERFLOW: more than 2^60; there are so many now.  Checking builds write a line as well.
 * Any thread, attached or not, also in `free` functions and in finalizers.  Cost: an atomic
 * operation on a word of the world; who has very many small resources tells of several at once.
 */
TARN_API tarn_status tarn_external_adjust(tarn_world *world, ptrdiff_t bytes);

TARN_END_DECLS

#endif
