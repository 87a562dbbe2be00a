/* SPDX-License-Identifier: MIT */
/*
 * inspect/events.c: hands on what happens in a world to those who watch it.  See inspect/watch.h.
 */
#include "inspect/events.h"
#include "inspect/watch.h"

static void told(tarn_world *world, const struct tarn_told *told) {
  struct tarn_watchers *watchers = world->collector->watchers;
  tarn_log_told(watchers, told);
}

static void collected(tarn_world *world, const struct tarn_collect_report *report) {
  tarn_log_collected(world->collector->watchers, report);
}
static void cycles(tarn_world *world, const struct tarn_cycles_report *report) {
  tarn_log_cycles(world->collector->watchers, report);
}

/* --- the option `verify` --------------------------------------------------------------------- */

static void before_mark(tarn_world *world, uintptr_t frame) {
  tarn_barriers_check(world);
  tarn_shadow_note(world, frame);
}

static void verify(tarn_world *world) {
  char message[512];
  tarn_shadow_check(world);
  tarn_dangling_check(world);
  if (!tarn_verify_stopped(world, message, sizeof message))
    tarn_os_die("tarn: verify after collection: %s", message);
}

/* --- beginning, end, fork -------------------------------------------------------------------- */

/* Relaxed: who has not seen it yet tells a little more, or less. */
static void work_out_watched(struct tarn_watchers *watchers) {
  uint32_t wants = tarn_log_wants(watchers);
  __atomic_store_n(&watchers->world->store.watched, wants, __ATOMIC_RELAXED);
}

tarn_status tarn_watchers_start(tarn_world *world) {
  struct tarn_watchers *watchers = tarn_meta_alloc(&world->store.meta, sizeof *watchers);
  if (!watchers)
    return TARN_ENOMEM;
  watchers->world = world;
  world->collector->watchers = watchers;
  tarn_log_start(watchers);
  work_out_watched(watchers);
  return TARN_OK;
}

/* Its memory goes with the world's metadata. */
void tarn_watchers_end(tarn_world *world) {
  struct tarn_watchers *watchers = world->collector ? world->collector->watchers : NULL;
  if (!watchers)
    return;
  __atomic_store_n(&world->store.watched, 0, __ATOMIC_RELAXED);
  tarn_log_end(watchers);
  world->collector->watchers = NULL;
}

static void around_fork(tarn_world *world, enum tarn_fork when) {
  struct tarn_watchers *watchers = world->collector->watchers;
  if (!watchers)
    return;
  if (when == TARN_FORK_CHILD)
    tarn_log_after_fork(watchers);
}

const struct tarn_collect_events tarn_inspect_events = {.before_mark = before_mark,
                                                        .verify = verify,
                                                        .explain = tarn_explain,
                                                        .collected = collected,
                                                        .cycles = cycles,
                                                        .told = told,
                                                        .fork = around_fork};
