/* SPDX-License-Identifier: MIT */
/*
 * heap/guard.c: pages around large objects that cannot be touched; hardened builds only, see
 * heap/heap.h.
 *
 * Linux 6.13 and later marks such pages in the page table alone.  Elsewhere each pair splits the
 * mapping into up to four more, of which a process may have 65530 by default, and everything fails
 * that needs another; so then only so many objects have guards, and the others go without.
 */
#include "heap/heap.h"

#if TARN_HARDENED

#define PROTECTED_MOST 4096u
#define LEAD_KEPT_FROM 16u /* units */

/* Objects whose guards are mappings.  Relaxed: a number. */
static _Atomic unsigned protected_count;

size_t tarn_guard_lead(size_t alignment) {
  return tarn_harden_plain || alignment > TARN_UNIT_SIZE ? 0 : 1;
}

size_t tarn_guard_tail(void) { return tarn_harden_plain ? 0 : tarn_os_page_size(); }

static char *tail_of(const struct tarn_large *large) { return (char *)large->base + large->bytes; }
static char *lead_of(const struct tarn_large *large) {
  return (char *)large->base - tarn_os_page_size();
}

static bool may_protect(void) {
  if (atomic_fetch_add_explicit(&protected_count, 1, memory_order_relaxed) < PROTECTED_MOST)
    return true;
  atomic_fetch_sub_explicit(&protected_count, 1, memory_order_relaxed);
  return false;
}

void tarn_guard_begin(struct tarn_large *large) {
  size_t page = tarn_os_page_size();
  large->guard_kind = TARN_GUARD_NONE;
  if (large->guard == 0)
    return;
  /* What the last tenants of the unit before left there is nobody's while the object lives; beside
   * a large enough object it is not worth a system call. */
  struct tarn_pool *before = &tarn_space.pools[tarn_unit_of(large->base) - 1];
  if (large->lead && large->units < LEAD_KEPT_FROM && before->dirty &&
      tarn_os_purge((char *)large->base - TARN_UNIT_SIZE, before->dirty))
    before->dirty = 0;
  tarn_guard_kind kind = TARN_GUARD_MARKED;
  if (!tarn_os_guard(tail_of(large), page, kind)) {
    if (!may_protect())
      return;
    kind = TARN_GUARD_PROTECTED;
    if (!tarn_os_guard(tail_of(large), page, kind)) {
      atomic_fetch_sub_explicit(&protected_count, 1, memory_order_relaxed);
      return;
    }
  }
  large->guard_kind = (uint8_t)kind;
  large->lead_guarded = large->lead && tarn_os_guard(lead_of(large), page, kind);
}

bool tarn_guard_end(struct tarn_large *large) {
  size_t page = tarn_os_page_size();
  tarn_guard_kind kind = (tarn_guard_kind)large->guard_kind;
  if (kind == TARN_GUARD_NONE)
    return true;
  if (kind == TARN_GUARD_PROTECTED)
    atomic_fetch_sub_explicit(&protected_count, 1, memory_order_relaxed);
  return tarn_os_unguard(tail_of(large), page, kind) &&
         (!large->lead_guarded || tarn_os_unguard(lead_of(large), page, kind));
}

#endif
