/* SPDX-License-Identifier: MIT */
/*
 * collect/debts.h: counts that a collection of cycles has still to give up.
 *
 * Many objects of garbage refer to the same few others: their class, small numbers, an empty
 * string.  To give up each of these references by itself takes an atomic operation.  So they are
 * gathered, object by object, in a small table; one that falls on another's place has that one
 * given up first.  A count that is too high for a while does no harm, and what has a debt cannot go
 * before it is given up.
 *
 * Belongs to the collecting thread, but for a fork by another one: then the child goes on with what
 * is in the table, so it is right after each store.
 */
#ifndef TARN_COLLECT_DEBTS_H
#define TARN_COLLECT_DEBTS_H

#include "collect/counts.h"

#define TARN_DEBTS_SHIFT 9
#define TARN_DEBTS ((size_t)1 << TARN_DEBTS_SHIFT)

struct tarn_debt {
  uintptr_t object;
  uint32_t count; /* 0: none; `object` means nothing then */
};

struct tarn_debts {
  struct tarn_debt places[TARN_DEBTS];
};

static inline struct tarn_debt *tarn_debts_place(struct tarn_debts *debts, uintptr_t object) {
  return &debts->places[(uint64_t)object * 0x9e3779b97f4a7c15u >> (64 - TARN_DEBTS_SHIFT)];
}

/* Gives up what stands there; functions of the program may run. */
void tarn_debts_settle(struct tarn_debt *debt, tarn_thread *self);

/* Gives up all. */
void tarn_debts_settle_all(struct tarn_debts *debts, tarn_thread *self);

/* One reference to the object is to be given up. */
static inline void tarn_debts_add(struct tarn_debts *debts, tarn_thread *self, uintptr_t object) {
  struct tarn_debt *debt = tarn_debts_place(debts, object);
  uint32_t count = debt->count;
  if (TARN_UNLIKELY(debt->object != object || count >= (uint32_t)1 << 30)) {
    if (count)
      tarn_debts_settle(debt, self);
    debt->object = object;
    count = 0;
  }
  /* Release: after the object, for a child. */
  __atomic_store_n(&debt->count, count + 1, __ATOMIC_RELEASE);
}

#endif
