/* SPDX-License-Identifier: MIT */
/*
 * inspect/trace.c: what happens in a world as a file in the Trace Event Format; doc/logs.md has its
 * names.
 *
 * Nothing is written in a stop: what a pause consists of is kept in the collection's report, and
 * written when the world runs.  Bytes go to the file in pieces that end where an event ends, after
 * collections (at most ten times a second) and whenever the buffer is nearly full.  Behind each
 * piece stands the closing bracket, until the next one takes its place: so the file of a process
 * that was killed lacks its last events, and viewers open it.  The format could do without the
 * bracket; DevTools cannot.
 */
#include "inspect/watch.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Of the library's own tracks: no thread has such a number. */
#define TRACK_COLLECTOR ((int)1 << 30)
#define TRACK_STOPS (TRACK_COLLECTOR + 1)

#define END "\n]\n" /* not longer than what an event begins with */

#define FLUSH_NS ((uint64_t)100000000)

#define NEARLY_FULL ((size_t)60 * 1024) /* of the buffer's 64 KiB; no event is longer than 4 */

/* --- events, under the lock ------------------------------------------------------------------ */

/* Microseconds, to the nanosecond. */
static void put_time(struct tarn_trace *trace, const char *name, uint64_t ns) {
  tarn_out_text(&trace->out, name);
  tarn_out_decimal(&trace->out, ns, 3);
}

static void begin_event(struct tarn_trace *trace, const char *phase, const char *name, int track) {
  struct tarn_out *out = &trace->out;
  if (out->used > NEARLY_FULL)
    (void)tarn_out_flush_ended(out, END);
  tarn_out_text(out, trace->some ? ",\n{\"ph\":\"" : "[\n{\"ph\":\"");
  trace->some = true;
  tarn_out_text(out, phase);
  tarn_out_text(out, "\",\"pid\":");
  tarn_out_number(out, (uint64_t)getpid());
  tarn_out_text(out, ",\"tid\":");
  tarn_out_signed(out, track);
  tarn_out_text(out, ",\"name\":");
  tarn_out_json(out, name);
}

static void put_comma(struct tarn_trace *trace, bool *first) {
  if (!*first)
    tarn_out_text(&trace->out, ",");
  *first = false;
}

static void begin_arguments(struct tarn_trace *trace, bool *first) {
  tarn_out_text(&trace->out, ",\"args\":{");
  *first = true;
}

static void put_key(struct tarn_trace *trace, bool *first, const char *name) {
  put_comma(trace, first);
  tarn_out_json(&trace->out, name);
  tarn_out_text(&trace->out, ":");
}
static void put_number(struct tarn_trace *trace, bool *first, const char *name, uint64_t value) {
  put_key(trace, first, name);
  tarn_out_number(&trace->out, value);
}
static void put_text(struct tarn_trace *trace, bool *first, const char *name, const char *value) {
  put_key(trace, first, name);
  tarn_out_json(&trace->out, value);
}

static void end_event(struct tarn_trace *trace, bool has_arguments) {
  tarn_out_text(&trace->out, has_arguments ? "}}" : "}");
}

/* What goes on for a while.  Nothing that began before the trace did is of another time. */
static void begin_span(struct tarn_trace *trace, const char *name, int track, uint64_t began,
                       uint64_t ended) {
  begin_event(trace, "X", name, track);
  put_time(trace, ",\"ts\":", began);
  put_time(trace, ",\"dur\":", ended > began ? ended - began : 0);
}

/*
 * A part of another span that may begin where the part before it ends, or end where the whole does.
 * Viewers keep ts and dur as doubles and add them: the two sums that such an end is compared with
 * may be off by two units of the last place of ts, which are ended / 2^51 ns, and a part that seems
 * to reach beyond the whole is left out (by DevTools) or drawn below its neighbour (by speedscope).
 * So it ends by more than that too early: 1 ns in the first 26 days that the machine is up.
 */
static void begin_part(struct tarn_trace *trace, const char *name, int track, uint64_t began,
                       uint64_t ended) {
  begin_span(trace, name, track, began, ended - (1 + (ended >> 51)));
}

static void put_metadata(struct tarn_trace *trace, const char *what, int track, const char *name) {
  bool first;
  begin_event(trace, "M", what, track);
  begin_arguments(trace, &first);
  put_text(trace, &first, "name", name);
  end_event(trace, true);
}

static void put_order(struct tarn_trace *trace, int track, int order) {
  bool first;
  begin_event(trace, "M", "thread_sort_index", track);
  begin_arguments(trace, &first);
  put_key(trace, &first, "sort_index");
  tarn_out_signed(&trace->out, order);
  end_event(trace, true);
}

static void put_counter(struct tarn_trace *trace, const char *name, uint64_t at, uint64_t value) {
  bool first;
  begin_event(trace, "C", name, TRACK_COLLECTOR);
  put_time(trace, ",\"ts\":", at);
  begin_arguments(trace, &first);
  put_number(trace, &first, name, value);
  end_event(trace, true);
}

/* --- what is told ---------------------------------------------------------------------------- */

/* The calling thread's track; one of the library's own has no record, and is named each time. */
static int track_here(struct tarn_trace *trace, tarn_world *world) {
  const struct tarn_mutator *self = tarn_mutator_self(world);
  char name[16];
  if (self)
    return self->id;
  tarn_os_thread_name(name, sizeof name);
  put_metadata(trace, "thread_name", tarn_os_thread_id(), name);
  return tarn_os_thread_id();
}

static void put_collection(struct tarn_trace *trace, const tarn_collection *is) {
  bool first;
  begin_span(trace, is->cycles ? "cycles" : "gc", TRACK_COLLECTOR, is->began_ns,
             is->began_ns + is->pause_ns);
  begin_arguments(trace, &first);
  put_number(trace, &first, "number", is->number);
  put_text(trace, &first, "cause", tarn_cause_name(is->cause));
  put_number(trace, &first, "generation", (uint64_t)is->generation);
  put_number(trace, &first, "heap_before", is->heap_before);
  put_number(trace, &first, "heap_after", is->heap_after);
  put_number(trace, &first, "live_bytes", is->live_bytes);
  put_number(trace, &first, "live_objects", is->live_objects);
  put_number(trace, &first, "found_bytes", is->found_bytes);
  put_number(trace, &first, "next_bytes", is->next_bytes);
  put_number(trace, &first, "condemned", is->condemned);
  put_number(trace, &first, "weak_cleared", is->weak_cleared);
  put_number(trace, &first, "finalizers", is->finalizers);
  put_text(trace, &first, "last_thread", is->last_thread);
  if (is->failed)
    put_number(trace, &first, "failed", 1);
  end_event(trace, true);
}

static void put_phases(struct tarn_trace *trace, const struct tarn_collect_report *report) {
  for (unsigned i = 0; i < report->span_count; i++) {
    const struct tarn_phase_span *span = &report->spans[i];
    begin_part(trace, tarn_phase_name(span->phase), TRACK_COLLECTOR, span->began, span->ended);
    end_event(trace, false);
  }
}

static void put_counters(struct tarn_trace *trace, tarn_world *world, const tarn_collection *is) {
  uint64_t end = is->began_ns + is->pause_ns;
  put_counter(trace, "heap_bytes", is->began_ns, is->heap_before);
  put_counter(trace, "heap_bytes", end, is->heap_after);
  put_counter(trace, "live_bytes", end, is->live_bytes);
  put_counter(trace, "external_bytes", end, is->external_bytes);
  put_counter(trace, "threads", end,
              atomic_load_explicit(&world->registry.count, memory_order_relaxed));
}

/* On the track of who collected: this, and with cycles also what it frees. */
static void put_collecting(struct tarn_trace *trace, int track, const tarn_collection *is) {
  uint64_t paused = is->began_ns + is->pause_ns, now = tarn_os_now();
  begin_span(trace, "collects", track, is->began_ns, now);
  end_event(trace, false);
  if (is->cycles && !is->failed) {
    bool first;
    begin_part(trace, "frees garbage", track, paused, now);
    begin_arguments(trace, &first);
    put_number(trace, &first, "garbage", is->garbage);
    put_number(trace, &first, "resurrected", is->resurrected);
    end_event(trace, true);
  }
}

static void put_stop(struct tarn_trace *trace, const struct tarn_stop_told *stop) {
  bool first;
  begin_span(trace, "stop", TRACK_STOPS, stop->asked_at, stop->ended_at);
  begin_arguments(trace, &first);
  put_number(trace, &first, "number", stop->number);
  put_text(trace, &first, "last_thread", stop->last);
  if (stop->forks)
    put_number(trace, &first, "fork", 1);
  end_event(trace, true);
  begin_span(trace, "to safepoint", TRACK_STOPS, stop->asked_at, stop->stood_at);
  end_event(trace, false);
}

static void put_name(struct tarn_trace *trace, const struct tarn_mutator *mutator) {
  char name[32];
  tarn_watch_name(mutator, name);
  put_metadata(trace, "thread_name", mutator->id, name);
}

/* From when it was attached, or the trace began, until now. */
static void put_life_until(struct tarn_trace *trace, const struct tarn_mutator *mutator,
                           bool died) {
  uint64_t began = mutator->attached_at > trace->began ? mutator->attached_at : trace->began;
  put_name(trace, mutator); /* which may be another one by now */
  begin_span(trace, "attached", mutator->id, began, tarn_os_now());
  if (died) {
    bool first;
    begin_arguments(trace, &first);
    put_number(trace, &first, "died", 1);
    end_event(trace, true);
  } else {
    end_event(trace, false);
  }
}

static void put_life(struct tarn_trace *trace, const struct tarn_mutator *mutator) {
  put_life_until(trace, mutator, false);
}

static void put_thread(struct tarn_trace *trace, const struct tarn_told *told) {
  const struct tarn_mutator *mutator = told->what;
  if (told->gone)
    put_life_until(trace, mutator, mutator->died);
  else
    put_name(trace, mutator);
}

/* Of the thread that tells, what it did until now. */
static void put_work(struct tarn_trace *trace, const struct tarn_told *told, const char *name,
                     const char *unit) {
  const struct tarn_mutator *mutator = told->what;
  bool first;
  begin_span(trace, name, mutator->id, told->began, tarn_os_now());
  if (unit) {
    begin_arguments(trace, &first);
    put_number(trace, &first, unit, told->count);
  }
  end_event(trace, unit != NULL);
}

static void put_arena(struct tarn_trace *trace, const struct tarn_told *told) {
  put_counter(trace, "arena_bytes", tarn_os_now(), told->total);
}

static void put_purge(struct tarn_trace *trace, tarn_world *world, const struct tarn_told *told) {
  bool first;
  int track = track_here(trace, world);
  begin_span(trace, "gives memory back", track, told->began, tarn_os_now());
  begin_arguments(trace, &first);
  put_number(trace, &first, "bytes", told->bytes);
  end_event(trace, true);
}

/* For who looks at the file now, or is left with it.  Not each time, where collections are short
 * and follow each other closely: a write is dearer than what is written. */
static void hand_on(struct tarn_trace *trace) {
  uint64_t now = tarn_os_now();
  if (now - trace->flushed_at < FLUSH_NS)
    return;
  (void)tarn_out_flush_ended(&trace->out, END);
  trace->flushed_at = now;
}

static void put_told(struct tarn_trace *trace, tarn_world *world, const struct tarn_told *told) {
  const struct tarn_collect_report *report = told->what;
  switch (told->kind) {
  case TARN_TOLD_GC_END:
    put_collection(trace, &report->is);
    put_phases(trace, report);
    put_collecting(trace, track_here(trace, world), &report->is);
    put_counters(trace, world, &report->is);
    hand_on(trace);
    break;
  case TARN_TOLD_STOP_END:
    put_stop(trace, told->what);
    break;
  case TARN_TOLD_STOOD:
    put_work(trace, told, "stopped", NULL);
    break;
  case TARN_TOLD_BLOCKED:
    put_work(trace, told, "blocked", NULL);
    break;
  case TARN_TOLD_RELEASE:
    put_work(trace, told, "free functions", "count");
    break;
  case TARN_TOLD_FINALIZE:
    put_work(trace, told, "finalizers", "count");
    break;
  case TARN_TOLD_THREAD:
    put_thread(trace, told);
    break;
  case TARN_TOLD_NAMED:
    put_name(trace, told->what);
    break;
  case TARN_TOLD_ARENA:
    put_arena(trace, told);
    break;
  case TARN_TOLD_PURGE:
    put_purge(trace, world, told);
    break;
  default:
    break;
  }
}

uint32_t tarn_trace_wants(const struct tarn_watchers *watchers) {
  const struct tarn_trace *trace = &watchers->trace;
  uint32_t bits = TARN_TOLD_BIT(TARN_TOLD_GC_END) | TARN_TOLD_BIT(TARN_TOLD_STOP_END) |
                  TARN_TOLD_BIT(TARN_TOLD_STOOD) | TARN_TOLD_BIT(TARN_TOLD_RELEASE) |
                  TARN_TOLD_BIT(TARN_TOLD_FINALIZE) | TARN_TOLD_BIT(TARN_TOLD_THREAD) |
                  TARN_TOLD_BIT(TARN_TOLD_NAMED) | TARN_TOLD_BIT(TARN_TOLD_ARENA) |
                  TARN_TOLD_BIT(TARN_TOLD_PURGE);
  if (watchers->world->config.trace_level == TARN_TRACE_DEBUG)
    bits |= TARN_TOLD_BIT(TARN_TOLD_BLOCKED);
  return __atomic_load_n(&trace->on, __ATOMIC_RELAXED) ? bits : 0;
}

/* --- beginning and end ----------------------------------------------------------------------- */

static void say_failure(const struct tarn_trace *trace, const char *what, int error) {
  char room[128];
  tarn_os_say("tarn: trace file %s: %s: %s", trace->path, what,
              strerror_r(error, room, sizeof room));
}

static void say_unopened(const struct tarn_trace *trace, int error) {
  if (error == EBUSY)
    tarn_os_say("tarn: trace file %s: cannot be opened: another world or process writes to it",
                trace->path);
  else
    say_failure(trace, "cannot be opened", error);
}

/* Of all that are attached.  They do not come or go while the registry's lock is held; but they may
 * be telling something at the same time, and wait for the trace's lock. */
static void each_thread(tarn_world *world, struct tarn_trace *trace,
                        void (*fn)(struct tarn_trace *, const struct tarn_mutator *)) {
  struct tarn_mutator *mutator;
  tarn_rcu_read_lock();
  cds_list_for_each_entry_rcu(mutator, &world->registry.list, node) fn(trace, mutator);
  tarn_rcu_read_unlock();
}

/* Under the lock. */
static void put_head(struct tarn_watchers *watchers) {
  struct tarn_trace *trace = &watchers->trace;
  char name[48];
  (void)snprintf(name, sizeof name, "tarn world %u", watchers->world->number);
  put_metadata(trace, "process_name", TRACK_COLLECTOR, name);
  put_metadata(trace, "thread_name", TRACK_COLLECTOR, "collector");
  put_order(trace, TRACK_COLLECTOR, -2);
  put_metadata(trace, "thread_name", TRACK_STOPS, "stops");
  put_order(trace, TRACK_STOPS, -1);
  each_thread(watchers->world, trace, put_name);
}

/* Under the lock; the file is closed, and another's to write to, though the child of a fork may not
 * have closed it yet. */
static void close_file(struct tarn_trace *trace) {
  __atomic_store_n(&trace->on, false, __ATOMIC_RELAXED);
  if (tarn_out_flush(&trace->out) && trace->out.own)
    tarn_os_leave(trace->out.file);
  trace->status = tarn_out_end(&trace->out);
  trace->error = errno;
}

/* Under the lock: after a failure the trace ends, and that is said once. */
static void check(struct tarn_trace *trace) {
  if (trace->out.status == TARN_OK)
    return;
  close_file(trace);
  say_failure(trace, "cannot be written, and ends here", trace->error);
}

/* Under the lock. */
static tarn_status open_file(struct tarn_watchers *watchers) {
  struct tarn_trace *trace = &watchers->trace;
  if (!tarn_out_path(trace->pattern, watchers->world->number, ++trace->count, trace->path,
                     sizeof trace->path)) {
    errno = ENAMETOOLONG;
    return TARN_ESYSTEM;
  }
  trace->some = false;
  trace->began = tarn_os_now();
  trace->flushed_at = 0;
  tarn_out_begin_file(&trace->out, trace->path, TARN_OUT_ALONE);
  if (trace->out.status != TARN_OK)
    return tarn_out_end(&trace->out);
  put_head(watchers);
  __atomic_store_n(&trace->on, true, __ATOMIC_RELAXED);
  return TARN_OK;
}

static tarn_status start(struct tarn_watchers *watchers, const char *pattern) {
  struct tarn_trace *trace = &watchers->trace;
  (void)pthread_mutex_lock(&trace->lock);
  tarn_status status = TARN_EBUSY;
  if (!trace->on) {
    (void)snprintf(trace->pattern, sizeof trace->pattern, "%s", pattern);
    status = open_file(watchers);
  }
  int error = errno;
  (void)pthread_mutex_unlock(&trace->lock);
  errno = error;
  return status;
}

/* Lives that have not ended yet end with the trace. */
static tarn_status stop(struct tarn_watchers *watchers) {
  struct tarn_trace *trace = &watchers->trace;
  (void)pthread_mutex_lock(&trace->lock);
  tarn_status status = TARN_ENOTFOUND;
  if (trace->on) {
    each_thread(watchers->world, trace, put_life);
    tarn_out_text(&trace->out, END);
    close_file(trace);
    status = trace->status;
    if (status != TARN_OK)
      say_failure(trace, "cannot be written", trace->error);
  } else if (trace->status != TARN_OK) {
    status = trace->status;
    trace->status = TARN_OK; /* it is told once */
  }
  int error = trace->error;
  (void)pthread_mutex_unlock(&trace->lock);
  errno = status == TARN_OK ? errno : error;
  return status;
}

void tarn_trace_told(struct tarn_watchers *watchers, const struct tarn_told *told) {
  struct tarn_trace *trace = &watchers->trace;
  if (!(tarn_trace_wants(watchers) & TARN_TOLD_BIT(told->kind)))
    return;
  (void)pthread_mutex_lock(&trace->lock);
  if (trace->on) {
    put_told(trace, watchers->world, told);
    check(trace);
  }
  (void)pthread_mutex_unlock(&trace->lock);
}

void tarn_trace_begin(struct tarn_watchers *watchers) {
  struct tarn_trace *trace = &watchers->trace;
  const char *pattern = watchers->world->config.trace;
  if (pattern[0] && start(watchers, pattern) != TARN_OK)
    say_unopened(trace, errno);
}

void tarn_trace_end(struct tarn_watchers *watchers) { (void)stop(watchers); }

static struct tarn_watchers *watchers_of(tarn_world *world) {
  return world ? world->watchers : NULL;
}

/* As the option's. */
static bool is_pattern(const char *path) {
  if (!path[0] || strlen(path) >= TARN_PATH_ROOM)
    return false;
  for (const char *at = path; (at = strchr(at, '%')); at += 2)
    if (!at[1] || !strchr("pwn%", at[1]))
      return false;
  return true;
}

tarn_status tarn_trace_start(tarn_world *world, const char *path) {
  struct tarn_watchers *watchers = watchers_of(world);
  if (!watchers || !path || !is_pattern(path))
    return TARN_EINVAL;
  tarn_status status = start(watchers, path);
  int error = errno;
  tarn_watchers_work_out(watchers);
  errno = error;
  return status;
}

tarn_status tarn_trace_stop(tarn_world *world) {
  struct tarn_watchers *watchers = watchers_of(world);
  if (!watchers)
    return TARN_EINVAL;
  tarn_status status = stop(watchers);
  int error = errno;
  tarn_watchers_work_out(watchers);
  errno = error;
  return status;
}

/* --- fork ------------------------------------------------------------------------------------ */

void tarn_trace_lock(struct tarn_watchers *watchers) {
  (void)pthread_mutex_lock(&watchers->trace.lock);
}
void tarn_trace_unlock(struct tarn_watchers *watchers) {
  (void)pthread_mutex_unlock(&watchers->trace.lock);
}

void tarn_trace_after_fork(struct tarn_watchers *watchers) {
  struct tarn_trace *trace = &watchers->trace;
  if (!trace->on)
    return;
  __atomic_store_n(&trace->on, false, __ATOMIC_RELAXED);
  trace->out.used = 0; /* the parent writes that */
  (void)tarn_out_end(&trace->out);
  if (!tarn_path_names_process(trace->pattern))
    return;
  tarn_status status = open_file(watchers);
  if (status != TARN_OK)
    say_unopened(trace, errno);
}
