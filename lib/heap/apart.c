/* SPDX-License-Identifier: MIT */
/*
 * heap/apart.c: see heap/apart.h.
 */
#include "heap/apart.h"
#include "heap/local.h"
#include "os/stack.h"
#include <sched.h>
#include <string.h>

#define TRIES 1000u /* for the lock, from a handler of signals that may have it itself */

static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;
static struct tarn_record *table; /* by unit; written once, under the lock */

void tarn_apart_lock(void) { (void)pthread_mutex_lock(&table_lock); }
void tarn_apart_unlock(void) { (void)pthread_mutex_unlock(&table_lock); }

tarn_status tarn_apart_start(void) {
  size_t bytes = (tarn_space.size >> TARN_UNIT_SHIFT) * sizeof *table;
  tarn_status status = TARN_OK;
  tarn_os_stack_start();
  tarn_apart_lock();
  if (!table) {
    struct tarn_record *made = tarn_os_reserve(bytes);
    if (made && tarn_os_commit(made, bytes))
      table = made;
    else if (made)
      tarn_os_unmap(made, bytes);
    status = table ? TARN_OK : TARN_ENOMEM;
  }
  tarn_apart_unlock();
  return status;
}

/* --- which ----------------------------------------------------------------------------------- */

/* From one to the next: `every` on average, and nothing that a program could keep step with. */
static uint32_t next_gap(struct tarn_local *local, uint32_t every) {
  local->apart_random = local->apart_random * UINT64_C(6364136223846793005) + (uintptr_t)local;
  return 1 + (uint32_t)((local->apart_random >> 32) * (2 * (uint64_t)every - 1) >> 32);
}

bool tarn_apart_due(struct tarn_local *local) {
  uint32_t every = local->store->apart.every;
  if (every == 1)
    return true;
  if (local->apart_left == 0)
    local->apart_left = next_gap(local, every);
  return --local->apart_left == 0;
}

/* --- records --------------------------------------------------------------------------------- */

static void note_where(struct tarn_where *where, bool stacks) {
  where->thread = tarn_os_thread_id();
  tarn_os_thread_name(where->name, sizeof where->name);
  where->depth = stacks ? tarn_os_stack(where->frames, TARN_WHERE_FRAMES) : 0;
}

/* What lies between the end of its last page and the end of its last unit. */
static size_t rest_of(const struct tarn_record *record) {
  return record->units * TARN_UNIT_SIZE - record->bytes;
}

/* Only where it costs no mapping.  Hardened builds have their own. */
static uint8_t guard_rest(const struct tarn_large *large, const struct tarn_record *record) {
  size_t rest = rest_of(record);
  if (TARN_HARDENED || rest == 0 ||
      !tarn_os_guard((char *)large->base + large->bytes, rest, TARN_GUARD_MARKED))
    return TARN_GUARD_NONE;
  tarn_space.pools[tarn_unit_of(large->base) + large->units - 1].dirty = 0; /* it was dropped */
  return TARN_GUARD_MARKED;
}

void tarn_apart_made(const struct tarn_large *large, size_t size) {
  struct tarn_record record = {.store = large->heap->store,
                               .size = size,
                               .bytes = large->bytes,
                               .units = large->units,
                               .fate = TARN_FATE_IN_USE,
                               .flavour = large->flavour};
  note_where(&record.made, record.store->apart.stacks);
  record.guard = guard_rest(large, &record);
  tarn_apart_lock();
  table[tarn_unit_of(large->base)] = record;
  tarn_apart_unlock();
}

void tarn_apart_gone(const struct tarn_large *large, tarn_fate fate) {
  struct tarn_record *record = &table[tarn_unit_of(large->base)];
  struct tarn_where where;
  note_where(&where, fate == TARN_FATE_FREED && large->heap->store->apart.stacks);
  tarn_apart_lock();
  if (record->fate == TARN_FATE_IN_USE) {
    record->fate = (uint8_t)fate;
    record->gone = where;
  }
  tarn_apart_unlock();
}

void tarn_apart_typed(const void *block, uintptr_t type) {
  if ((uintptr_t)block % TARN_UNIT_SIZE != 0)
    return;
  struct tarn_record *record = &table[tarn_unit_of((uintptr_t)block)];
  tarn_apart_lock();
  if (record->fate == TARN_FATE_IN_USE)
    record->type = type;
  tarn_apart_unlock();
}

void tarn_apart_opened(size_t unit) {
  tarn_apart_lock();
  if (table && table[unit].fate != TARN_FATE_NONE)
    table[unit].guard = TARN_GUARD_NONE;
  tarn_apart_unlock();
}

static bool forget(size_t unit) {
  struct tarn_record *record = &table[unit];
  bool good = true;
  if (record->fate == TARN_FATE_NONE) /* a look first: it may have no page */
    return true;
  if (record->guard != TARN_GUARD_NONE)
    good = tarn_os_unguard((char *)tarn_unit_base(unit) + record->bytes, rest_of(record),
                           (tarn_guard_kind)record->guard);
  memset(record, 0, sizeof *record);
  return good;
}

bool tarn_apart_forget(size_t unit, size_t count) {
  bool good = true;
  /* It is the first one's, or the second one's behind a guard; others never have one. */
  tarn_apart_lock();
  for (size_t i = unit; i < unit + count && i < unit + 2; i++)
    good = forget(i) && good;
  tarn_apart_unlock();
  return good;
}

/* --- asking ---------------------------------------------------------------------------------- */

static bool try_lock(void) {
  for (unsigned i = 0; i < TRIES; i++) {
    if (pthread_mutex_trylock(&table_lock) == 0)
      return true;
    (void)sched_yield();
  }
  return false;
}

bool tarn_apart_find(uintptr_t address, struct tarn_record *record, uintptr_t *block) {
  if (!tarn_space_holds(address))
    return false;
  size_t unit = tarn_unit_of(address);
  uint64_t map = tarn_map_get(unit); /* also of dead ones, in the trap */
  if (tarn_map_form(map) == TARN_FORM_REST)
    unit -= tarn_map_low(map);
  if (!try_lock())
    return false;
  bool found = table && table[unit].fate != TARN_FATE_NONE;
  if (found) {
    *record = table[unit];
    *block = tarn_unit_base(unit);
  }
  tarn_apart_unlock();
  return found && address - *block < record->units * TARN_UNIT_SIZE;
}
