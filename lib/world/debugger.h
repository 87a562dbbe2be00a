/* SPDX-License-Identifier: MIT */
/*
 * world/debugger.h: what a debugger has to know of the library beside its debug information.
 *
 * tools/gdb/tarn.py reads a process, or a core file of one, from outside: no function of the
 * library runs for it.  Offsets and the names of enumerators it has from debug information; where
 * to begin, and numbers that are macros or enumerators without a type, stand here, so that none of
 * them is written down twice.
 *
 * Constant from the start.  Nobody in the library reads it; each world points to it, so that
 * linkers take it along from an archive and do not leave it out again.
 */
#ifndef TARN_WORLD_DEBUGGER_H
#define TARN_WORLD_DEBUGGER_H

#include "heap/heap.h"
#include "world/world.h"

/* Goes up when something here, or what the script knows of the heap beside it, changes its meaning:
 * which block is in use, say.  The script refuses other ones. */
#define TARN_DEBUGGER_FORMAT 1u

struct tarn_debugger {
  uint32_t format; /* first, for good */

  const struct tarn_space *space;
  tarn_world *const *const *worlds; /* where the first one of the list stands */
  const uintptr_t *free_secret;

  uint8_t unit_shift, arena_shift, granule_shift;
  uint8_t map_kind_shift, map_form_shift, map_resource_shift, map_world_shift, map_size_shift;
  uint16_t map_size_mask;
  uint8_t mark_condemned, mark_releasing, mark_watched, mark_survived_bit;
  uint8_t age_young, age_aged;
  uint8_t state_detached, state_running, state_blocked, state_stopped;
  uint8_t poll_stop, poll_release, poll_detached, poll_collect;
  uintptr_t type_check;
  uintptr_t root_gone;
  bool hardened;

  /* Zero.  For their types, which are stored as bytes elsewhere. */
  tarn_kind kind;
  tarn_form form;
  tarn_flavour flavour;
  tarn_pool_list list;
  tarn_scan scan;
};

extern const struct tarn_debugger tarn_debugger;

/* In world/fork.c. */
extern tarn_world *const *const tarn_debugger_worlds;

#endif
