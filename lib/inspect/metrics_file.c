/* SPDX-License-Identifier: MIT */
/*
 * inspect/metrics_file.c: where statistics are written to, and when.  See tarn/metrics.h.
 *
 * The options' part of a world is in its metadata, made before anybody else knows the world.  The
 * thread that writes again and again is the world's; whoever ends the writing waits for it.  In the
 * child of a fork there is no such thread, and only the end is written.
 */
#include "collect/collector.h"
#include "inspect/metrics.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* --- one file -------------------------------------------------------------------------------- */

tarn_status tarn_metrics_write(tarn_world *world, tarn_metrics_format format, tarn_write_fn fn,
                               void *data) {
  struct tarn_figures figures;
  struct tarn_out out;
  if (!world || !fn || (format != TARN_METRICS_OPENMETRICS && format != TARN_METRICS_JSON))
    return TARN_EINVAL;
  tarn_metrics_gather(world, &figures);
  tarn_out_begin_fn(&out, fn, data);
  tarn_metrics_put(&out, format, &figures);
  return tarn_out_end(&out);
}

static tarn_status write_to(const char *path, tarn_metrics_format format,
                            const struct tarn_figures *figures) {
  struct tarn_out out;
  tarn_out_begin_file(&out, path, TARN_OUT_SHARED);
  tarn_metrics_put(&out, format, figures);
  return tarn_out_end(&out);
}

/* Under a name that nobody else writes to, and then in the place of what was there. */
static tarn_status replace(const char *path, tarn_metrics_format format,
                           const struct tarn_figures *figures) {
  static _Atomic unsigned names;
  char other[2 * TARN_PATH_ROOM];
  /* Relaxed: only a name. */
  unsigned name = atomic_fetch_add_explicit(&names, 1, memory_order_relaxed);
  int length = snprintf(other, sizeof other, "%s.%u-%u.tmp", path, (unsigned)getpid(), name);
  if (length < 0 || (size_t)length >= sizeof other) {
    errno = ENAMETOOLONG;
    return TARN_ESYSTEM;
  }
  tarn_status status = write_to(other, format, figures);
  if (status == TARN_OK && !tarn_os_rename(other, path))
    status = TARN_ESYSTEM;
  if (status != TARN_OK) {
    int kept = errno;
    (void)unlink(other);
    errno = kept;
  }
  return status;
}

tarn_status tarn_metrics_write_file(tarn_world *world, tarn_metrics_format format,
                                    const char *path) {
  struct tarn_figures figures;
  if (!world || !path || (format != TARN_METRICS_OPENMETRICS && format != TARN_METRICS_JSON))
    return TARN_EINVAL;
  tarn_metrics_gather(world, &figures);
  return tarn_os_is_file(path) ? replace(path, format, &figures) : write_to(path, format, &figures);
}

/* --- by options ------------------------------------------------------------------------------ */

enum { STATE_NONE, STATE_RUNS, STATE_ENDS, STATE_ENDED };

struct part {
  tarn_world *world;
  uint32_t state; /* of the thread; atomic, a futex */
  pid_t process;  /* that the thread is of */
  unsigned files; /* written; the thread's, and then that of whoever has seen its end */
  bool failed;    /* and said so; the same */
  uint32_t over;  /* atomic: the last one is written, or about to be */
};

static void write_part(struct part *part) {
  char path[TARN_PATH_ROOM];
  const char *pattern = part->world->config.metrics;
  tarn_status status = TARN_ESYSTEM;
  errno = ENAMETOOLONG;
  if (tarn_out_path(pattern, part->world->number, ++part->files, path, sizeof path))
    status = tarn_metrics_write_file(
        part->world, tarn_out_ends_in(path, ".json") ? TARN_METRICS_JSON : TARN_METRICS_OPENMETRICS,
        path);
  if (status != TARN_OK && !part->failed)
    tarn_os_say("tarn: metrics: %s: %s", path[0] ? path : pattern,
                status == TARN_ENOMEM ? tarn_strerror(status) : strerror(errno));
  part->failed = status != TARN_OK;
}

static void *run(void *data) {
  struct part *part = data;
  uint64_t every = part->world->config.metrics_every_ns, due = tarn_os_now() + every;
  tarn_os_set_thread_name("tarn-metrics");
  /* Acquire and release, here and in the end: what this thread did to the part comes before. */
  while (__atomic_load_n(&part->state, __ATOMIC_ACQUIRE) == STATE_RUNS) {
    uint64_t now = tarn_os_now();
    if (now < due) {
      tarn_os_wait(&part->state, STATE_RUNS, due - now);
      continue;
    }
    write_part(part);
    due = now + every;
  }
  uint32_t *state = &part->state;
  __atomic_store_n(state, STATE_ENDED, __ATOMIC_RELEASE);
  tarn_os_wake_all(state); /* the part may be gone: only its address is used */
  return NULL;
}

static void start_thread(struct part *part) {
  __atomic_store_n(&part->state, STATE_RUNS, __ATOMIC_RELAXED); /* nobody else is there yet */
  if (tarn_os_start_thread(run, part))
    return;
  __atomic_store_n(&part->state, STATE_NONE, __ATOMIC_RELAXED);
  tarn_os_say("tarn: metrics: no thread: written at the end only");
}

void tarn_metrics_begin(tarn_world *world) {
  if (!world->config.metrics[0])
    return;
  struct part *part = tarn_meta_alloc(&world->store.meta, sizeof *part);
  if (!part) {
    tarn_os_say("tarn: metrics: no memory");
    return;
  }
  part->world = world;
  part->process = getpid();
  if (world->config.metrics_every_ns)
    start_thread(part);
  /* Release: a thread in which the process exits finds it by the list of worlds. */
  __atomic_store_n(&world->collector->metrics, part, __ATOMIC_RELEASE);
}

static void end_thread(struct part *part) {
  if (part->process != getpid() || __atomic_load_n(&part->state, __ATOMIC_RELAXED) == STATE_NONE)
    return;
  __atomic_store_n(&part->state, STATE_ENDS, __ATOMIC_RELEASE);
  tarn_os_wake_all(&part->state);
  while (__atomic_load_n(&part->state, __ATOMIC_ACQUIRE) == STATE_ENDS)
    tarn_os_wait(&part->state, STATE_ENDS, 0);
}

void tarn_metrics_end(tarn_world *world) {
  struct part *part =
      world->collector ? __atomic_load_n(&world->collector->metrics, __ATOMIC_ACQUIRE) : NULL;
  /* At the exit of a process another thread may be ending the world.  Relaxed: one of the two does
   * it, under the lock of worlds or before the world leaves their list. */
  if (!part || __atomic_exchange_n(&part->over, 1, __ATOMIC_RELAXED))
    return;
  end_thread(part);
  write_part(part);
}

/* Programs that exit with their worlds as they are. */
__attribute__((destructor)) static void at_exit(void) { tarn_worlds_each(tarn_metrics_end); }
