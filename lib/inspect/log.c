/* SPDX-License-Identifier: MIT */
/*
 * inspect/log.c: the lines of the option `log`, and where they go.
 *
 *   tarn: gc 12 asked: pause 1.204ms stop 0.011ms mark 0.913ms heap 24.0M -> 9.1M live 8.7M
 *         (271034 objects) condemned 0 weak 12 last thread worker-3
 *
 * all on one line; times in milliseconds, sizes in MiB, `condemned` in pools and large objects.
 * After it one line when the soft limit is given up, or allocations at the hard limit begin to fail
 * without a collection.
 */
#include "inspect/out.h"
#include "inspect/watch.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define LINE_ROOM 1024

/* --- where lines go -------------------------------------------------------------------------- */

/* The file is told of once.  What it did not take is not lost. */
static void say_failure(const struct tarn_log *log, const char *what, int error) {
  char room[128];
  tarn_os_say("tarn: log file %s: %s: %s; its lines go to standard error from now on", log->path,
              what, strerror_r(error, room, sizeof room));
}

static void open_file(struct tarn_watchers *watchers) {
  struct tarn_log *log = &watchers->log;
  const char *pattern = watchers->world->config.log_file;
  log->file = -1;
  __atomic_store_n(&log->failed, false, __ATOMIC_RELAXED); /* nobody else is there */
  if (!pattern[0])
    return;
  bool fits = tarn_out_path(pattern, watchers->world->number, 1, log->path, sizeof log->path);
  errno = ENAMETOOLONG;
  log->file = fits ? tarn_os_create(log->path, true) : -1;
  if (log->file < 0)
    say_failure(log, "cannot be opened", errno);
}

static bool put(struct tarn_log *log, const char *line, size_t size) {
  /* Relaxed: only a wish not to try again. */
  if (log->file < 0 || __atomic_load_n(&log->failed, __ATOMIC_RELAXED))
    return false;
  if (tarn_os_write(log->file, line, size))
    return true;
  int error = errno;
  if (!__atomic_exchange_n(&log->failed, true, __ATOMIC_RELAXED))
    say_failure(log, "cannot be written", error);
  return false; /* it stays open: another thread may be writing */
}

/* One line; the newline is added.  errno is kept, for this may be inside of any call. */
__attribute__((format(printf, 2, 3))) static void say(struct tarn_watchers *watchers,
                                                      const char *format, ...) {
  char line[LINE_ROOM];
  va_list arguments;
  int kept = errno;
  va_start(arguments, format);
  int length = vsnprintf(line, sizeof line - 1, format, arguments);
  va_end(arguments);
  if (length < 0)
    return;
  size_t size = (size_t)length < sizeof line - 1 ? (size_t)length : sizeof line - 2;
  line[size] = '\n';
  if (!put(&watchers->log, line, size + 1))
    tarn_os_say("%.*s", (int)size, line);
  errno = kept;
}

static void close_file(struct tarn_log *log) {
  if (log->file >= 0 && !tarn_os_close(log->file) && !log->failed)
    say_failure(log, "may not have all lines", errno);
  log->file = -1;
}

void tarn_log_start(struct tarn_watchers *watchers) {
  watchers->log.file = -1;
  if (watchers->world->config.log)
    open_file(watchers);
}

void tarn_log_end(struct tarn_watchers *watchers) { close_file(&watchers->log); }

/* Does the pattern name another file in another process? */
static bool names_process(const char *pattern) {
  for (const char *at = pattern; (at = strchr(at, '%')); at += 2)
    if (at[1] == 'p')
      return true;
  return false;
}

void tarn_log_after_fork(struct tarn_watchers *watchers) {
  if (!watchers->world->config.log || !names_process(watchers->world->config.log_file))
    return;
  close_file(&watchers->log);
  open_file(watchers);
}

/* --- lines ----------------------------------------------------------------------------------- */

static double milliseconds(uint64_t ns) { return (double)ns / 1e6; }
static double mebibytes(uint64_t bytes) { return (double)bytes / (1 << 20); }

static void last_thread(tarn_world *world, char name[32]) {
  (void)pthread_mutex_lock(&world->stop.names_lock);
  (void)snprintf(name, 32, "%s", world->stop.last_thread);
  (void)pthread_mutex_unlock(&world->stop.names_lock);
}

static void limits(struct tarn_watchers *watchers, const struct tarn_collect_report *report) {
  tarn_world *world = watchers->world;
  if (report->news & TARN_NEWS_SOFT)
    say(watchers,
        "tarn: gc %llu: the soft limit of %.1fM would take more than %u%% of the time; live "
        "%.1fM, external %.1fM",
        (unsigned long long)report->number,
        mebibytes(atomic_load_explicit(&world->soft_limit, memory_order_relaxed)),
        world->config.soft_share, mebibytes(report->live_bytes),
        mebibytes(atomic_load_explicit(&world->collector->pace.external, memory_order_relaxed)));
  if (report->news & TARN_NEWS_HARD)
    say(watchers,
        "tarn: gc %llu: collections find next to nothing; allocations that do not fit fail "
        "without one for a while",
        (unsigned long long)report->number);
}

static void collected(struct tarn_watchers *watchers, const struct tarn_collect_report *report) {
  char name[32];
  last_thread(watchers->world, name);
  say(watchers,
      "tarn: gc %llu generation %d %s: pause %.3fms stop %.3fms mark %.3fms heap %.1fM -> %.1fM "
      "live "
      "%.1fM (%zu objects) condemned %zu weak %zu last thread %s",
      (unsigned long long)report->number, report->generation, report->asked ? "asked" : "auto",
      milliseconds(report->pause_ns), milliseconds(report->stop_ns), milliseconds(report->mark_ns),
      mebibytes(report->heap_before), mebibytes(report->heap_after), mebibytes(report->live_bytes),
      report->live_objects, report->condemned, report->weak_cleared, name[0] ? name : "-");
  limits(watchers, report);
}

static void stopped(struct tarn_watchers *watchers, const struct tarn_stop_told *stop) {
  uint64_t took = stop->stood_at - stop->asked_at;
  say(watchers, "tarn: stop %llu: %llu.%03llu us to safepoint%s%s",
      (unsigned long long)stop->number, (unsigned long long)(took / 1000),
      (unsigned long long)(took % 1000), stop->last[0] ? ", last thread " : "", stop->last);
}

void tarn_log_collected(struct tarn_watchers *watchers, const struct tarn_collect_report *report) {
  if (watchers->world->config.log & TARN_LOG_GC)
    collected(watchers, report);
}

void tarn_log_cycles(struct tarn_watchers *watchers, const struct tarn_cycles_report *report) {
  tarn_world *world = watchers->world;
  const struct tarn_cycles *cycles = &world->collector->cycles;
  char name[32];
  if (!(world->config.log & TARN_LOG_GC))
    return;
  last_thread(world, name);
  say(watchers,
      "tarn: cycles %llu generation %d %s: pause %.3fms stop %.3fms looked at %llu found %llu "
      "resurrected %llu freed in %.3fms last thread %s",
      (unsigned long long)report->number, report->generation, report->asked ? "asked" : "auto",
      milliseconds(report->pause_ns), milliseconds(report->stop_ns),
      (unsigned long long)report->looked_at, (unsigned long long)report->found,
      (unsigned long long)report->resurrected,
      milliseconds(atomic_load_explicit(&cycles->phases[TARN_PHASE_FREEING], memory_order_relaxed)),
      name[0] ? name : "-");
}

/* --- what is told ---------------------------------------------------------------------------- */

uint32_t tarn_log_wants(const struct tarn_watchers *watchers) {
  unsigned log = watchers->world->config.log;
  return log & TARN_LOG_SAFEPOINT ? TARN_TOLD_BIT(TARN_TOLD_STOP_END) : 0;
}

void tarn_log_told(struct tarn_watchers *watchers, const struct tarn_told *told) {
  if (!(tarn_log_wants(watchers) & TARN_TOLD_BIT(told->kind)))
    return;
  if (told->kind == TARN_TOLD_STOP_END)
    stopped(watchers, told->what);
}
