/* SPDX-License-Identifier: MIT */
/*
 * stress/watchdog.h: makes a failure of a hang.
 *
 * A thread of its own looks once a second whether anything was counted: a round, or a step of a
 * phase that has no rounds (stress_step).  After `stress.patience` seconds without, it says where
 * every thread stands, and fails, with the command that repeats.  It is attached to no world, calls
 * nothing of the library that waits, and gets no signals.
 */
#ifndef TARN_STRESS_WATCHDOG_H
#define TARN_STRESS_WATCHDOG_H

#include <tarn/tarn.h>

/* Seconds that a program of so many threads may take for a round, in this build on this machine. */
unsigned stress_patience_for(unsigned threads);

/* Once, by stress_begin.  No patience: nothing is watched. */
void stress_watch(void);

/* The world that the report is about; NULL: none.  It lives until it is replaced. */
void stress_watch_world(tarn_world *world);

#endif
