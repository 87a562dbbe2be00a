/* SPDX-License-Identifier: MIT */
/*
 * tarn/thread.h: threads, safepoints, blocked regions and the GC lock.
 *
 * A thread that uses objects of a world is attached to it and holds a `tarn_thread *self` that it
 * passes to every call; no other thread may use that handle.  It is always in one of three states:
 *
 *   running   it may touch objects, and is stopped only where it polls (`tarn_safepoint`),
 *             allocates or blocks;
 *   blocked   between `tarn_block_begin` and `tarn_block_end`: it promises not to touch objects,
 *             and collections do not wait for it;
 *   stopped   a collection is on.
 *
 * A running thread must come to a safepoint often: everybody else waits for it.  Take locks that
 * another running thread may hold across a safepoint only inside a blocked region.
 *
 * How long that took is in the statistics (tarn/inspect.h), with the thread that was last.  With
 * the option stop-timeout, threads that are waited for longer are told of on standard error, up to
 * eight at a time, and again at twice that time, four times, and so on:
 *
 *   tarn: thread "worker-3" (4711) has not come to a safepoint for 1000 ms: sleeping in read
 *   (pipe_read); last seen at serve+0x31 (httpd+0x4531), in a hold that began at ...
 *
 * (one line).  That is the name and the kernel's id; what the kernel says that it does, with the
 * system call; from where it last called a function here that may stop it or an allocation, its
 * inlined paths excepted; and where the outermost hold began, if it is in one.  Places are return
 * addresses: function and offset, if the module's file has symbols, and module and address for
 * addr2line(1).  No signal is sent and no thread is touched.
 */
#ifndef TARN_THREAD_H
#define TARN_THREAD_H

#include <tarn/base.h>

TARN_BEGIN_DECLS

/*
 * Attaches the calling thread.  Attaching twice gives the same handle and counts: detach as often.
 * A thread that exits while attached is detached by itself.  Waits while a collection is on.
 * Errors: TARN_EINVAL, TARN_ETHREADS, TARN_ENOMEM, TARN_ESYSTEM (the option scan-stack is on and
 * the stack's bounds cannot be found); `*out` is NULL then.
 *
 * A thread may be attached to several worlds, but shall be running in one of them only and blocked
 * in the others: threads that run in the same two worlds and collect in one each wait for each
 * other.
 */
TARN_API tarn_status tarn_thread_attach(tarn_world *world, tarn_thread **out);

/*
 * Detaches; the handle is invalid afterwards.  What the thread allocated stays.
 * TARN_EUNBALANCED: a hold, a frame or a blocked region was still open; it was closed, and the
 * thread is detached all the same.  Other errors: TARN_EINVAL (NULL), TARN_EWRONGTHREAD,
 * TARN_EDETACHED (was not attached), TARN_EHELD (inside a function of a type, or of a weak handle,
 * that the library called: it goes on with the thread); nothing is done then.
 */
TARN_API tarn_status tarn_thread_detach(tarn_thread *self);

/* The calling thread's handle in `world`, or NULL.  A few nanoseconds. */
TARN_API tarn_thread *tarn_thread_self(tarn_world *world);

/* The world that a handle of the calling thread is of; NULL for any other handle. */
TARN_API tarn_world *tarn_thread_world(const tarn_thread *self);

/* A name for logs and reports, at most 31 bytes are kept; the default is the system's name.
 * Errors: TARN_EINVAL (no name, no handle), TARN_EWRONGTHREAD, TARN_EDETACHED. */
TARN_API tarn_status tarn_thread_set_name(tarn_thread *self, const char *name);

/*
 * Why the last call of this thread that returned NULL or void failed; TARN_OK if none did since the
 * last time this was asked.
 */
TARN_API tarn_status tarn_thread_status(tarn_thread *self);

/*
 * A blocked region: around system calls that may block, waits for locks and conditions, and long
 * computations in foreign code.  Regions nest.  Inside a hold a blocked region does not let the
 * collector run.  `tarn_block_end` waits while a collection is on.
 * Cost: a release store, and a sequentially consistent exchange on the way back: about 5 ns.
 */
TARN_API void tarn_block_begin(tarn_thread *self);
TARN_API void tarn_block_end(tarn_thread *self);

/*
 * The GC lock: between these two calls the thread is not stopped, so that objects may be
 * inconsistent for a short while.  An allocation inside grows the heap rather than collect.  All
 * others wait for the release when a collection is wanted: keep it short.  Holds nest.
 * A release without a hold sets TARN_EUNBALANCED and does nothing.  The last release is a
 * safepoint. Cost: an increment and a decrement.
 */
TARN_API void tarn_gc_hold(tarn_thread *self);
TARN_API void tarn_gc_release(tarn_thread *self);

TARN_END_DECLS

#endif
