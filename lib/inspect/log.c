/* SPDX-License-Identifier: MIT */
/*
 * inspect/log.c: the lines of the option `log`, and where they go.
 *
 * A line is "tarn: ", its kind, and fields NAME=VALUE with one blank before each, in an order that
 * stays; a number has its unit behind it, always the same one.  The last field may be a name, which
 * goes to the end of the line.  doc/logs.md lists all of them, and test_logs reads that list.
 */
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

bool tarn_path_names_process(const char *pattern) {
  for (const char *at = pattern; (at = strchr(at, '%')); at += 2)
    if (at[1] == 'p')
      return true;
  return false;
}

void tarn_log_after_fork(struct tarn_watchers *watchers) {
  if (!watchers->world->config.log || !tarn_path_names_process(watchers->world->config.log_file))
    return;
  close_file(&watchers->log);
  open_file(watchers);
}

/* --- lines ----------------------------------------------------------------------------------- */

#define LARGE ((size_t)1 << 20) /* heap=debug: large objects from here on */

typedef unsigned long long ull;

/* Of nanoseconds and bytes.  Not by printf, which asks the program's locale for the point. */
struct amount {
  char text[24];
};
static struct amount milliseconds(uint64_t ns) {
  struct amount amount;
  uint64_t us = ns / 1000 + (ns % 1000 >= 500);
  (void)snprintf(amount.text, sizeof amount.text, "%llu.%03ums", (ull)(us / 1000),
                 (unsigned)(us % 1000));
  return amount;
}
static struct amount mebibytes(uint64_t bytes) {
  struct amount amount;
  uint64_t rest = (bytes & 0xfffff) * 10 + (1 << 19), whole = (bytes >> 20) + rest / (10 << 20);
  (void)snprintf(amount.text, sizeof amount.text, "%llu.%uM", (ull)whole,
                 (unsigned)((rest >> 20) % 10));
  return amount;
}

static bool logs(const struct tarn_watchers *watchers, unsigned bit) {
  return (watchers->world->config.log & bit) != 0;
}

/* A name as a field: what would end the line, or steer a terminal, is replaced. */
struct name {
  char text[32];
};
static struct name clean(const char *from) {
  struct name name;
  (void)snprintf(name.text, sizeof name.text, "%s", from[0] ? from : "-");
  for (char *at = name.text; *at; at++)
    if ((unsigned char)*at < ' ' || *at == 0x7f)
      *at = '?';
  return name;
}

static struct name name_of(const struct tarn_mutator *mutator) {
  char name[32];
  tarn_watch_name(mutator, name);
  return clean(name);
}

static const char *kind_of(const tarn_collection *is) { return is->cycles ? "cycles" : "gc"; }

/* The line of level info. */
static void collected(struct tarn_watchers *watchers, const tarn_collection *is) {
  char more[128] = "";
  if (is->cycles)
    (void)snprintf(more, sizeof more, " looked_at=%llu garbage=%llu resurrected=%llu freeing=%s",
                   (ull)is->looked_at, (ull)is->garbage, (ull)is->resurrected,
                   milliseconds(is->freeing_ns).text);
  say(watchers,
      "tarn: %s number=%llu cause=%s generation=%d pause=%s stop=%s prepare=%s "
      "roots=%s mark=%s weak=%s census=%s rest=%s before=%s after=%s "
      "pools_before=%zu pools_after=%zu live=%s objects=%zu found=%s external=%s "
      "next=%s condemned=%zu weak_cleared=%zu finalizers=%zu overflows=%llu%s%s last=%s",
      kind_of(is), (ull)is->number, tarn_cause_name(is->cause), is->generation,
      milliseconds(is->pause_ns).text, milliseconds(is->stop_ns).text,
      milliseconds(is->prepare_ns).text, milliseconds(is->roots_ns).text,
      milliseconds(is->mark_ns).text, milliseconds(is->weak_ns).text,
      milliseconds(is->census_ns).text, milliseconds(is->rest_ns).text,
      mebibytes(is->heap_before).text, mebibytes(is->heap_after).text, is->pools_before,
      is->pools_after, mebibytes(is->live_bytes).text, is->live_objects,
      mebibytes(is->found_bytes).text, mebibytes(is->external_bytes).text,
      mebibytes(is->next_bytes).text, is->condemned, is->weak_cleared, is->finalizers,
      (ull)is->overflows, more, is->failed ? " failed=no-memory" : "", clean(is->last_thread).text);
}

static void limits(struct tarn_watchers *watchers, const struct tarn_collect_report *report) {
  tarn_world *world = watchers->world;
  const tarn_collection *is = &report->is;
  if (report->news & TARN_NEWS_SOFT)
    say(watchers, "tarn: gc-soft-limit number=%llu limit=%s share=%u%% live=%s external=%s",
        (ull)is->number,
        mebibytes(atomic_load_explicit(&world->soft_limit, memory_order_relaxed)).text,
        world->config.soft_share, mebibytes(is->live_bytes).text,
        mebibytes(is->external_bytes).text);
  if (report->news & TARN_NEWS_HARD)
    say(watchers, "tarn: gc-hard-limit number=%llu limit=%s live=%s", (ull)is->number,
        mebibytes(atomic_load_explicit(&world->store.limit, memory_order_relaxed)).text,
        mebibytes(is->live_bytes).text);
}

static unsigned count_bits(unsigned bits) { return (unsigned)__builtin_popcount(bits); }

/* What it follows from, and what it took. */
static void collected_more(struct tarn_watchers *watchers,
                           const struct tarn_collect_report *report) {
  const tarn_collection *is = &report->is;
  say(watchers, "tarn: %s-pace number=%llu live=%s live_external=%s growth=%u%% full=%s next=%s",
      kind_of(is), (ull)is->number, mebibytes(is->live_bytes).text,
      mebibytes(report->live_external).text, watchers->world->config.growth,
      mebibytes(report->trigger).text, mebibytes(is->next_bytes).text);
  if (is->cycles)
    return;
  uint64_t own = report->marked - report->marked_helpers;
  say(watchers,
      "tarn: gc-mark number=%llu marked=%llu own=%.0f%% helpers=%u parcels=%llu dirty_units=%llu",
      (ull)is->number, (ull)report->marked,
      report->marked ? 100.0 * (double)own / (double)report->marked : 100.0,
      count_bits(report->markers), (ull)report->parcels, (ull)report->dirty_units);
}

static void swept(struct tarn_watchers *watchers, const struct tarn_told *told) {
  char name[16]; /* it may be one of the library's own */
  tarn_os_thread_name(name, sizeof name);
  say(watchers, "tarn: gc-swept live=%s objects=%zu thread=%s", mebibytes(told->bytes).text,
      told->count, clean(name).text);
}

static void released(struct tarn_watchers *watchers, const struct tarn_told *told,
                     const char *kind) {
  say(watchers, "tarn: %s count=%zu took=%s thread=%s", kind, told->count,
      milliseconds(tarn_os_now() - told->began).text, name_of(told->what).text);
}

static void stopped(struct tarn_watchers *watchers, const struct tarn_stop_told *stop) {
  say(watchers, "tarn: stop number=%llu to_safepoint=%s stopped=%s%s last=%s", (ull)stop->number,
      milliseconds(stop->stood_at - stop->asked_at).text,
      milliseconds(stop->ended_at - stop->stood_at).text, stop->forks ? " for=fork" : "",
      clean(stop->last).text);
}

/* The last ones that were waited for, each for so long after the one before. */
static void waited(struct tarn_watchers *watchers, const struct tarn_stop_told *stop) {
  unsigned kept = stop->waited_count < TARN_WAITED_KEPT ? stop->waited_count : TARN_WAITED_KEPT;
  for (unsigned i = kept; i-- > 0;)
    say(watchers, "tarn: stop-waited number=%llu for=%u of=%u took=%s id=%d thread=%s",
        (ull)stop->number, stop->waited_count - i, stop->waited_count,
        milliseconds(stop->waited[i].ns).text, stop->waited[i].id,
        clean(stop->waited[i].name).text);
}

static void came_or_went(struct tarn_watchers *watchers, const struct tarn_told *told) {
  const struct tarn_mutator *mutator = told->what;
  size_t count = atomic_load_explicit(&watchers->world->registry.count, memory_order_relaxed);
  if (!told->gone)
    say(watchers, "tarn: thread-attached threads=%zu id=%d thread=%s", count, mutator->id,
        name_of(mutator).text);
  else
    say(watchers, "tarn: thread-%s threads=%zu after=%s id=%d thread=%s",
        mutator->died ? "died" : "detached", count - 1,
        milliseconds(tarn_os_now() - mutator->attached_at).text, mutator->id,
        name_of(mutator).text);
}

static void arena(struct tarn_watchers *watchers, const struct tarn_told *told) {
  say(watchers, "tarn: heap-arena-%s bytes=%s arenas=%s base=%p", told->gone ? "given" : "taken",
      mebibytes(told->bytes).text, mebibytes(told->total).text, told->what);
}

static void purged(struct tarn_watchers *watchers, const struct tarn_told *told) {
  const struct tarn_store *store = &watchers->world->store;
  say(watchers, "tarn: heap-purged bytes=%s took=%s dirty=%s", mebibytes(told->bytes).text,
      milliseconds(tarn_os_now() - told->began).text,
      mebibytes(atomic_load_explicit(&store->dirty, memory_order_relaxed)).text);
}

static void large(struct tarn_watchers *watchers, const struct tarn_told *told) {
  if (told->bytes >= LARGE)
    say(watchers, "tarn: heap-large bytes=%s at=%p", mebibytes(told->bytes).text, told->what);
}

/* --- what is told ---------------------------------------------------------------------------- */

/* Of which subject and level each kind is. */
static const unsigned bits_of[] = {
    [TARN_TOLD_GC_END] = TARN_LOG_GC,
    [TARN_TOLD_SWEPT] = TARN_LOG_DEBUG(TARN_LOG_GC),
    [TARN_TOLD_RELEASE] = TARN_LOG_DEBUG(TARN_LOG_GC),
    [TARN_TOLD_FINALIZE] = TARN_LOG_DEBUG(TARN_LOG_GC),
    [TARN_TOLD_STOP_END] = TARN_LOG_SAFEPOINT,
    [TARN_TOLD_WAITED] = TARN_LOG_DEBUG(TARN_LOG_SAFEPOINT),
    [TARN_TOLD_THREAD] = TARN_LOG_THREAD | TARN_LOG_DEBUG(TARN_LOG_SAFEPOINT),
    [TARN_TOLD_ARENA] = TARN_LOG_HEAP,
    [TARN_TOLD_PURGE] = TARN_LOG_HEAP,
    [TARN_TOLD_LARGE] = TARN_LOG_DEBUG(TARN_LOG_HEAP),
    [TARN_TOLD_LIMIT] = 0, /* the last one; those that are left out are 0 */
};

uint32_t tarn_log_wants(const struct tarn_watchers *watchers) {
  uint32_t wants = 0;
  for (unsigned kind = 0; kind < sizeof bits_of / sizeof bits_of[0]; kind++)
    if (logs(watchers, bits_of[kind]))
      wants |= TARN_TOLD_BIT(kind);
  return wants;
}

static void gc_told(struct tarn_watchers *watchers, const struct tarn_collect_report *report) {
  collected(watchers, &report->is);
  limits(watchers, report);
  if (logs(watchers, TARN_LOG_DEBUG(TARN_LOG_GC)))
    collected_more(watchers, report);
}

void tarn_log_told(struct tarn_watchers *watchers, const struct tarn_told *told) {
  if (!logs(watchers, bits_of[told->kind]))
    return;
  switch (told->kind) {
  case TARN_TOLD_GC_END:
    gc_told(watchers, told->what);
    break;
  case TARN_TOLD_SWEPT:
    swept(watchers, told);
    break;
  case TARN_TOLD_RELEASE:
    released(watchers, told, "gc-released");
    break;
  case TARN_TOLD_FINALIZE:
    released(watchers, told, "gc-finalized");
    break;
  case TARN_TOLD_STOP_END:
    stopped(watchers, told->what);
    if (logs(watchers, TARN_LOG_DEBUG(TARN_LOG_SAFEPOINT)))
      waited(watchers, told->what);
    break;
  case TARN_TOLD_THREAD:
    came_or_went(watchers, told);
    break;
  case TARN_TOLD_ARENA:
    arena(watchers, told);
    break;
  case TARN_TOLD_PURGE:
    purged(watchers, told);
    break;
  case TARN_TOLD_LARGE:
    large(watchers, told);
    break;
  default:
    break;
  }
}
