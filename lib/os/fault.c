/* SPDX-License-Identifier: MIT */
/*
 * os/fault.c: failures on purpose, in builds with TARN_FAULTS.
 *
 * The state is a few words.  All accesses are relaxed: whoever sets them does so before it starts
 * what it wants to see fail, or does not care which point it is; each point that is counted has a
 * number of its own, so that no two of them fail.
 */
#include "os/os.h"
#include <errno.h>
#include <stdatomic.h>

void tarn_os_fault_at(uint64_t nth) { tarn_os_fault_nth(TARN_FAULT_PAGES, nth); }

#if TARN_FAULTS
static _Atomic unsigned picked = TARN_FAULT_PAGES; /* kinds whose points are counted */
static _Atomic uint64_t at;
static _Atomic uint64_t seen;
static _Atomic unsigned switched_on;

void tarn_os_fault_nth(unsigned kinds, uint64_t nth) {
  atomic_store_explicit(&at, 0, memory_order_relaxed); /* a thread between the two fails nothing */
  atomic_store_explicit(&picked, kinds, memory_order_relaxed);
  atomic_store_explicit(&seen, 0, memory_order_relaxed);
  atomic_store_explicit(&at, nth, memory_order_relaxed);
}

uint64_t tarn_os_fault_count(void) { return atomic_load_explicit(&seen, memory_order_relaxed); }

void tarn_os_fault_kinds(unsigned kinds) {
  atomic_store_explicit(&switched_on, kinds, memory_order_relaxed);
}

static int error_of(unsigned kind) {
  switch (kind) {
  case TARN_FAULT_PURGE:
  case TARN_FAULT_HUGE:
  case TARN_FAULT_DUMP:
    return EINVAL;
  case TARN_FAULT_THREAD:
  case TARN_FAULT_KEY:
    return EAGAIN;
  case TARN_FAULT_WAIT:
  case TARN_FAULT_WRITE_AGAIN:
  case TARN_FAULT_READ_AGAIN:
    return EINTR;
  case TARN_FAULT_WRITE:
    return ENOSPC;
  case TARN_FAULT_OPEN:
    return EMFILE;
  case TARN_FAULT_READ:
    return EIO;
  case TARN_FAULT_LIMITS:
    return EPERM;
  default:
    return ENOMEM;
  }
}

/* What is tried again fails every other time, so that it comes to an end. */
static bool is_on(unsigned kind) {
  static _Atomic unsigned turns;
  return (atomic_load_explicit(&switched_on, memory_order_relaxed) & kind) != 0 &&
         (!(kind & (TARN_FAULT_WRITE_AGAIN | TARN_FAULT_READ_AGAIN)) ||
          atomic_fetch_add_explicit(&turns, 1, memory_order_relaxed) % 2 == 0);
}

bool tarn_os_fails(unsigned kind) {
  bool fails = is_on(kind);
  if (atomic_load_explicit(&picked, memory_order_relaxed) & kind) {
    uint64_t number = atomic_fetch_add_explicit(&seen, 1, memory_order_relaxed) + 1;
    fails = fails || number == atomic_load_explicit(&at, memory_order_relaxed);
  }
  if (fails)
    errno = error_of(kind);
  return fails;
}
#else
void tarn_os_fault_nth(unsigned kinds, uint64_t nth) { (void)kinds, (void)nth; }
uint64_t tarn_os_fault_count(void) { return 0; }
void tarn_os_fault_kinds(unsigned kinds) { (void)kinds; }
#endif
