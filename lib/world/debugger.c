/* SPDX-License-Identifier: MIT */
/*
 * world/debugger.c: see world/debugger.h.
 */
#include "world/debugger.h"

const struct tarn_debugger tarn_debugger = {
    .format = TARN_DEBUGGER_FORMAT,
    .space = &tarn_space,
    .worlds = &tarn_debugger_worlds,
    .free_secret = &tarn_free_secret,
    .unit_shift = TARN_UNIT_SHIFT,
    .arena_shift = TARN_ARENA_SHIFT,
    .granule_shift = TARN_GRANULE_SHIFT,
    .map_kind_shift = TARN_MAP_KIND_SHIFT,
    .map_form_shift = TARN_MAP_FORM_SHIFT,
    .map_resource_shift = TARN_MAP_RESOURCE_SHIFT,
    .map_world_shift = TARN_MAP_WORLD_SHIFT,
    .map_size_shift = TARN_MAP_SIZE_SHIFT,
    .map_size_mask = TARN_MAP_SIZE_MASK,
    .mark_condemned = TARN_MARK_CONDEMNED,
    .mark_releasing = TARN_MARK_RELEASING,
    .mark_watched = TARN_MARK_WATCHED,
    .mark_survived_bit = TARN_MARK_SURVIVED_BIT,
    .age_young = TARN_AGE_YOUNG,
    .age_aged = TARN_AGE_AGED,
    .state_detached = TARN_STATE_DETACHED,
    .state_running = TARN_STATE_RUNNING,
    .state_blocked = TARN_STATE_BLOCKED,
    .state_stopped = TARN_STATE_STOPPED,
    .poll_stop = TARN_POLL_STOP,
    .poll_release = TARN_POLL_RELEASE,
    .poll_detached = TARN_POLL_DETACHED,
    .poll_collect = TARN_POLL_COLLECT,
    .type_check = TARN_TYPE_CHECK,
    .root_gone = (uintptr_t)TARN_ROOT_GONE,
    .hardened = TARN_HARDENED,
};
