/* SPDX-License-Identifier: MIT */
/*
 * heap/rcu.h: liburcu, the bp flavour, in the form that ThreadSanitizer understands.
 *
 * Why bp: only walkers (of large objects, types, threads) read under RCU, and they are rare.  With
 * this flavour running threads pay nothing for them, threads that are not attached can walk too,
 * and a grace period does not wait until every thread has polled.
 *
 * TSan does not see into liburcu.  Its pointer macros are replaced by the compiler's atomics, and a
 * token carries the happens-before of a grace period: release before each read_unlock, acquire
 * after each synchronize.  liburcu's headers must not be included anywhere else.
 */
#ifndef TARN_HEAP_RCU_H
#define TARN_HEAP_RCU_H

#include "os/os.h"

#if defined(__clang__)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpedantic"
#pragma clang diagnostic ignored "-Wconversion"
#pragma clang diagnostic ignored "-Wsign-conversion"
#pragma clang diagnostic ignored "-Wshadow"
#else
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wshadow"
#endif

#include <urcu/urcu-bp.h>

#include <urcu/pointer.h>
#include <urcu/system.h>
#if TARN_TSAN
#undef rcu_dereference
#undef rcu_assign_pointer
#undef rcu_set_pointer
#undef CMM_LOAD_SHARED
#undef CMM_STORE_SHARED
#define rcu_dereference(p) __atomic_load_n(&(p), __ATOMIC_ACQUIRE)
#define rcu_assign_pointer(p, v) __atomic_store_n(&(p), (v), __ATOMIC_RELEASE)
#define rcu_set_pointer(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
#define CMM_LOAD_SHARED(p) __atomic_load_n(&(p), __ATOMIC_ACQUIRE)
#define CMM_STORE_SHARED(p, v) __atomic_store_n(&(p), (v), __ATOMIC_RELEASE)
#endif
#include <urcu/rculist.h>

#if defined(__clang__)
#pragma clang diagnostic pop
#else
#pragma GCC diagnostic pop
#endif

#if TARN_TSAN
void __tsan_acquire(void *token);
void __tsan_release(void *token);
extern char tarn_rcu_token;
#endif

static inline void tarn_rcu_read_lock(void) { urcu_bp_read_lock(); }

static inline void tarn_rcu_read_unlock(void) {
#if TARN_TSAN
  __tsan_release(&tarn_rcu_token);
#endif
  urcu_bp_read_unlock();
}

/* Waits until every read section that was open has ended.  No lock that a reader takes is held. */
static inline void tarn_rcu_synchronize(void) {
  urcu_bp_synchronize_rcu();
#if TARN_TSAN
  __tsan_acquire(&tarn_rcu_token);
#endif
}

#endif
