/* SPDX-License-Identifier: MIT */
/*
 * tarn/world.h: worlds.
 *
 * A world is one instance of the library: its heaps, threads, types and roots.  A process may have
 * several (at most 16,383); they share nothing but the reserved address range.  A pointer from one
 * world's object into another world is ignored by both collectors.
 */
#ifndef TARN_WORLD_H
#define TARN_WORLD_H

#include <tarn/base.h>
#include <tarn/options.h>

TARN_BEGIN_DECLS

/*
 * Makes a world.  `options` may be NULL.  The environment is read here and only here
 * (TARN_<NAME>=..., TARN_OPTIONS=...; see tarn/options.h).
 *
 * Errors: TARN_EINVAL (`out` is NULL, or `options` is not one), TARN_EOPTION, TARN_EHELP,
 * TARN_EWORLDS, TARN_ENOMEM.  On error `*out` is NULL.
 * Cost: a few system calls.  Any thread; no thread is attached by it.
 */
TARN_API tarn_status tarn_world_create(const tarn_options *options, tarn_world **out);

/*
 * Ends a world: runs the `free` function of every object that is still there, whoever refers to
 * it, and gives all memory back.  Finalizers do not run.  May be called by any thread, also by one
 * that never was attached; a calling thread that is attached is detached first.
 *
 * Errors: TARN_EINVAL (NULL), TARN_EBUSY: another thread is still attached, and nothing was done.
 * Afterwards every handle of the world is invalid.
 */
TARN_API tarn_status tarn_world_destroy(tarn_world *world);

/*
 * Words whose low bits carry a tag: the collector takes `word & ~mask` as the address of a slot's
 * value.  `mask` may have bits 0 to 2 set.  The default is 0: a slot holds plain addresses, and any
 * word that is not the address of an object is ignored.  Set it before the first object is made.
 * Errors: TARN_EINVAL (NULL, other bits), TARN_EBUSY (objects exist).
 */
TARN_API tarn_status tarn_world_set_tag_mask(tarn_world *world, uintptr_t mask);

/*
 * What to do when the live heap comes near the hard limit.  After each full collection that leaves
 * more than TARN_NEAR_LIMIT percent of the hard limit in use, `callback` is called once, on the
 * thread that collected, with the world running.  It returns the new hard limit in bytes; what is
 * not above the old one leaves the limit as it is.  It may allocate and free; collections that it
 * causes do not call it again.
 * It is also called once when the soft limit has begun to ask for collections that take more than
 * TARN_SOFT_SHARE percent of the time: `limit` is then the soft limit, `in_use` what lives,
 * external bytes included, and the result may raise the soft limit. NULL removes the callback.
 * Errors: TARN_EINVAL (world is NULL).  Any thread.
 */
typedef size_t (*tarn_near_limit_fn)(tarn_world *world, size_t limit, size_t in_use, void *data);
TARN_API tarn_status tarn_world_set_near_limit(tarn_world *world, tarn_near_limit_fn callback,
                                               void *data);

/* The limits in bytes, 0 for none; `tarn_options` and the environment give the first values. */
TARN_API tarn_status tarn_world_set_limits(tarn_world *world, size_t soft, size_t hard);

TARN_END_DECLS

#endif
