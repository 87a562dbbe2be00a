/* SPDX-License-Identifier: MIT */
/*
 * collect/debts.c: see collect/debts.h.
 */
#include "collect/debts.h"

void tarn_debts_settle(struct tarn_debt *debt, tarn_thread *self) {
  uint32_t count = debt->count;
  uintptr_t object = debt->object;
  /* Release: before the place gets another object, for a child.  First, so that a child of a fork
   * in between gives nothing up twice. */
  __atomic_store_n(&debt->count, 0, __ATOMIC_RELEASE);
  __atomic_signal_fence(__ATOMIC_SEQ_CST);
  TARN_DELAY();
  tarn_give_up_many(self, (void *)object, count);
}

void tarn_debts_settle_all(struct tarn_debts *debts, tarn_thread *self) {
  for (size_t i = 0; i < TARN_DEBTS; i++)
    if (debts->places[i].count)
      tarn_debts_settle(&debts->places[i], self);
}
