/* SPDX-License-Identifier: MIT */
/*
 * world/straggler.h: what is told of a thread that a stop waits for.
 *
 * One line: its name and kernel id, how long it is waited for, where it last came to a slow path of
 * the library, where the hold that it is in began, and what the kernel says that it does.
 *
 *   tarn: thread "worker-3" (4711) has not come to a safepoint for 1000 ms: running; last seen at
 *         serve+0x31 (httpd+0x4531), in a hold that began at lock_table+0x12 (httpd+0x4012)
 *
 * Half of the world may stand still when this is written, with any lock of the program in hand, and
 * other threads may wait for the registry's lock, which the caller has.  So nothing here takes a
 * lock but the one of names, which is held for a copy only, or calls malloc: see os/module.c.
 */
#ifndef TARN_WORLD_STRAGGLER_H
#define TARN_WORLD_STRAGGLER_H

#include "world/thread.h"

#define TARN_STRAGGLERS_TOLD 8u /* at a time */

/* For the requester of a stop that was asked for `so_far` nanoseconds ago; `mutator` is on the
 * registry's list and still running. */
void tarn_straggler_tell(struct tarn_mutator *mutator, uint64_t so_far);

#endif
