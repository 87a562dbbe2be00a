/* SPDX-License-Identifier: MIT */
/*
 * tarn.h: everything.
 *
 * Tarn is a thread-safe allocator with per-thread arenas, and a stop-the-world collector over the
 * same memory.  Read the headers in this order: base, world, options, thread, type, inline, heap,
 * root, collect, store, cycles, weak, finalizer, inspect, events, metrics, profile, snapshot.
 */
#ifndef TARN_H
#define TARN_H

#include <tarn/base.h>
#include <tarn/collect.h>
#include <tarn/cycles.h>
#include <tarn/events.h>
#include <tarn/finalizer.h>
#include <tarn/heap.h>
#include <tarn/inline.h>
#include <tarn/inspect.h>
#include <tarn/metrics.h>
#include <tarn/options.h>
#include <tarn/profile.h>
#include <tarn/root.h>
#include <tarn/snapshot.h>
#include <tarn/store.h>
#include <tarn/thread.h>
#include <tarn/type.h>
#include <tarn/weak.h>
#include <tarn/world.h>

#endif
