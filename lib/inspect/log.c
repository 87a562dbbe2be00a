/* SPDX-License-Identifier: MIT */
/*
 * inspect/log.c: one line per collection (TARN_LOG=gc).  The line per stop (TARN_LOG=safepoint) is
 * written by world/stop.c.
 *
 *   tarn: gc 12 asked: pause 1.204ms stop 0.011ms mark 0.913ms heap 24.0M -> 9.1M live 8.7M
 *         (271034 objects) condemned 0 weak 12 last thread worker-3
 *
 * all on one line; times in milliseconds, sizes in MiB, `condemned` in pools and large objects.
 * After it one line when the soft limit is given up, or allocations at the hard limit begin to fail
 * without a collection.
 */
#include "inspect/events.h"
#include <stdio.h>

static double milliseconds(uint64_t ns) { return (double)ns / 1e6; }
static double mebibytes(uint64_t bytes) { return (double)bytes / (1 << 20); }

static void last_thread(tarn_world *world, char name[32]) {
  (void)pthread_mutex_lock(&world->stop.names_lock);
  (void)snprintf(name, 32, "%s", world->stop.last_thread);
  (void)pthread_mutex_unlock(&world->stop.names_lock);
}

static void limits(tarn_world *world, const struct tarn_collect_report *report) {
  if (report->news & TARN_NEWS_SOFT)
    tarn_os_say(
        "tarn: gc %llu: the soft limit of %.1fM would take more than %u%% of the time; live "
        "%.1fM, external %.1fM",
        (unsigned long long)report->number,
        mebibytes(atomic_load_explicit(&world->soft_limit, memory_order_relaxed)),
        world->config.soft_share, mebibytes(report->live_bytes),
        mebibytes(atomic_load_explicit(&world->collector->pace.external, memory_order_relaxed)));
  if (report->news & TARN_NEWS_HARD)
    tarn_os_say("tarn: gc %llu: collections find next to nothing; allocations that do not fit fail "
                "without one for a while",
                (unsigned long long)report->number);
}

static void collected(tarn_world *world, const struct tarn_collect_report *report) {
  char name[32];
  if (!(world->config.log & TARN_LOG_GC))
    return;
  last_thread(world, name);
  tarn_os_say(
      "tarn: gc %llu generation %d %s: pause %.3fms stop %.3fms mark %.3fms heap %.1fM -> %.1fM "
      "live "
      "%.1fM (%zu objects) condemned %zu weak %zu last thread %s",
      (unsigned long long)report->number, report->generation, report->asked ? "asked" : "auto",
      milliseconds(report->pause_ns), milliseconds(report->stop_ns), milliseconds(report->mark_ns),
      mebibytes(report->heap_before), mebibytes(report->heap_after), mebibytes(report->live_bytes),
      report->live_objects, report->condemned, report->weak_cleared, name[0] ? name : "-");
  limits(world, report);
}

static void cycles(tarn_world *world, const struct tarn_cycles_report *report) {
  char name[32];
  if (!(world->config.log & TARN_LOG_GC))
    return;
  last_thread(world, name);
  const struct tarn_cycles *cycles = &world->collector->cycles;
  tarn_os_say(
      "tarn: cycles %llu generation %d %s: pause %.3fms stop %.3fms looked at %llu found %llu "
      "resurrected %llu freed in %.3fms last thread %s",
      (unsigned long long)report->number, report->generation, report->asked ? "asked" : "auto",
      milliseconds(report->pause_ns), milliseconds(report->stop_ns),
      (unsigned long long)report->looked_at, (unsigned long long)report->found,
      (unsigned long long)report->resurrected,
      milliseconds(atomic_load_explicit(&cycles->phases[TARN_PHASE_FREEING], memory_order_relaxed)),
      name[0] ? name : "-");
}

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

const struct tarn_collect_events tarn_inspect_events = {.before_mark = before_mark,
                                                        .verify = verify,
                                                        .explain = tarn_explain,
                                                        .collected = collected,
                                                        .cycles = cycles};
