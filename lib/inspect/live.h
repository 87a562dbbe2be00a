/* SPDX-License-Identifier: MIT */
/*
 * inspect/live.h: the option `live`: what a world shows to `tarn top` while it runs.
 *
 * A thread of the library's own, which is not attached and which no stop waits for, fills a page
 * (inspect/live_page.h) four times a second, and soon after collections; and does what it is asked
 * for there.  One for each world that has the option, from its creation to its end.  The child of a
 * fork gets a thread of its own, and when it lives for a quarter of a second a page; children of
 * processes under the thread sanitizer get none.
 *
 * Who may touch what: the list of all of them is under a lock of the process.  What collections
 * leave for the thread, and whether it runs, is under the lock of each; everything else is the
 * thread's.
 */
#ifndef TARN_INSPECT_LIVE_H
#define TARN_INSPECT_LIVE_H

#include "inspect/live_page.h"
#include "world/world.h"

/*
 * For a new world, which is on the list of worlds; without the option it does nothing.  What cannot
 * be done is said on standard error, and the world goes on without it.  May call malloc.
 */
void tarn_live_start(tarn_world *world);

/* Ends the thread, waits for it, and takes the page away.  The caller is not attached, or blocked.
 * Called again it does nothing. */
void tarn_live_end(tarn_world *world);

/* For a world without a collector.  The thread shall end, for no thread is left that allocates; any
 * lock may be held. */
void tarn_live_let_go(tarn_world *world);
/* It shall be there again.  May make it, which calls malloc. */
void tarn_live_resume(tarn_world *world);

/* A collection has ended; the world runs.  `last` is filled in here. */
void tarn_live_collected(tarn_world *world, const struct tarn_live_collection *collection);

#endif
