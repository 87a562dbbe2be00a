/* SPDX-License-Identifier: MIT */
/*
 * inspect/metrics_file.c: where statistics are written to, and when.  See tarn/metrics.h.
 *
 * The options' part of a world is in its metadata, made before anybody else knows the world.  The
 * thread that writes again and again is the world's; whoever ends the writing waits for it.  In the
 * child of a fork there is no such thread, and only the end is written, unless the world has no
 * collector: then it may be made again, as it may when it was let go.
 *
 * The state is a word.  RUNS becomes ENDS or LET_GO by others, and either becomes ENDED by the
 * thread, as the last thing that it does; LET_GO may become RUNS again before that.  All changes
 * but those of a state that is one thread's alone are compare-and-exchange.
 */
#include "inspect/metrics.h"
#include "inspect/watch.h"
#include "world/world.h"
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

static tarn_status write_to(const char *path, enum tarn_out_mode mode, tarn_metrics_format format,
                            const struct tarn_figures *figures) {
  struct tarn_out out;
  tarn_out_begin_file(&out, path, mode);
  tarn_metrics_put(&out, format, figures);
  return tarn_out_end(&out);
}

/* Under a name that nobody else writes to, and then in the place of what was there.  A file of that
 * name is of a process that was killed, or a trap: see TARN_OUT_NEW. */
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
  tarn_status status = write_to(other, TARN_OUT_NEW_SHARED, format, figures);
  if (status == TARN_OK && !tarn_os_rename(other, path))
    status = TARN_ESYSTEM;
  if (status != TARN_OK)
    tarn_os_remove(other);
  return status;
}

tarn_status tarn_metrics_write_file(tarn_world *world, tarn_metrics_format format,
                                    const char *path) {
  struct tarn_figures figures;
  if (!world || !path || (format != TARN_METRICS_OPENMETRICS && format != TARN_METRICS_JSON))
    return TARN_EINVAL;
  tarn_metrics_gather(world, &figures);
  return tarn_os_is_file(path) ? replace(path, format, &figures)
                               : write_to(path, TARN_OUT_SHARED, format, &figures);
}

/* --- by options ------------------------------------------------------------------------------ */

enum { STATE_NONE, STATE_RUNS, STATE_LET_GO, STATE_ENDS, STATE_ENDED };

struct tarn_metrics_part {
  tarn_world *world;
  uint32_t state; /* of the thread; atomic, a futex */
  pid_t process;  /* that the thread is of */
  unsigned files; /* written; the thread's, and then that of whoever has seen its end */
  bool failed;    /* and said so; the same */
  uint32_t over;  /* atomic: the last one is written, or about to be */
};

static void write_part(struct tarn_metrics_part *part) {
  char path[TARN_PATH_ROOM], why[128];
  const char *pattern = part->world->config.metrics;
  tarn_status status = TARN_ESYSTEM;
  errno = ENAMETOOLONG;
  if (tarn_out_path(pattern, part->world->number, ++part->files, path, sizeof path))
    status = tarn_metrics_write_file(
        part->world, tarn_out_ends_in(path, ".json") ? TARN_METRICS_JSON : TARN_METRICS_OPENMETRICS,
        path);
  if (status != TARN_OK && !part->failed)
    tarn_os_say("tarn: metrics: %s: %s", path[0] ? path : pattern,
                status == TARN_ENOMEM ? tarn_strerror(status) : strerror_r(errno, why, sizeof why));
  part->failed = status != TARN_OK;
}

/* True: the state was `from`, and is `to` now.  Acquire and release, here and where the state is
 * read: what a thread did to the part comes before what is done by who sees that it has ended. */
static bool change(struct tarn_metrics_part *part, uint32_t from, uint32_t to) {
  return __atomic_compare_exchange_n(&part->state, &from, to, false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_RELAXED);
}

static void write_again_and_again(struct tarn_metrics_part *part) {
  uint64_t every = part->world->config.metrics_every_ns, due = tarn_os_now() + every;
  while (__atomic_load_n(&part->state, __ATOMIC_ACQUIRE) == STATE_RUNS) {
    uint64_t now = tarn_os_now();
    if (now < due) {
      tarn_os_wait(&part->state, STATE_RUNS, due - now);
      continue;
    }
    write_part(part);
    due = now + every;
  }
}

static void *run(void *data) {
  struct tarn_metrics_part *part = data;
  uint32_t *state = &part->state;
  tarn_os_set_thread_name("tarn-metrics");
  do
    write_again_and_again(part);
  while (!change(part, STATE_ENDS, STATE_ENDED) && !change(part, STATE_LET_GO, STATE_ENDED));
  tarn_os_wake_all(state); /* the part may be gone: only its address is used */
  return NULL;
}

/* The state is RUNS, and there is no thread. */
static void start_thread(struct tarn_metrics_part *part) {
  if (tarn_os_start_thread(run, part))
    return;
  __atomic_store_n(&part->state, STATE_NONE, __ATOMIC_RELAXED);
  tarn_os_say("tarn: metrics: no thread: written at the end only");
}

void tarn_metrics_begin(tarn_world *world) {
  if (!world->config.metrics[0])
    return;
  struct tarn_metrics_part *part = tarn_meta_alloc(&world->store.meta, sizeof *part);
  if (!part) {
    tarn_os_say("tarn: metrics: no memory");
    return;
  }
  part->world = world;
  part->process = getpid();
  if (world->config.metrics_every_ns) {
    __atomic_store_n(&part->state, STATE_RUNS, __ATOMIC_RELAXED); /* nobody else is there yet */
    start_thread(part);
  }
  /* Release: a thread in which the process exits finds it by the list of worlds. */
  __atomic_store_n(&world->metrics, part, __ATOMIC_RELEASE);
}

void tarn_metrics_let_go(tarn_world *world) {
  struct tarn_metrics_part *part = __atomic_load_n(&world->metrics, __ATOMIC_ACQUIRE);
  if (part && change(part, STATE_RUNS, STATE_LET_GO))
    tarn_os_wake_all(&part->state);
}

void tarn_metrics_resume(tarn_world *world) {
  struct tarn_metrics_part *part = __atomic_load_n(&world->metrics, __ATOMIC_ACQUIRE);
  /* Relaxed, as in the end.  One that is over meanwhile may write once more. */
  if (!part || __atomic_load_n(&part->over, __ATOMIC_RELAXED))
    return;
  if (part->process != getpid()) {
    if (!world->config.metrics_every_ns || !tarn_path_names_process(world->config.metrics) ||
        TARN_TSAN) /* it ends children of threaded processes that make threads */
      return;
    part->process = getpid(); /* one thread of a child comes here, once */
    part->files = 0;
    __atomic_store_n(&part->state, STATE_RUNS, __ATOMIC_RELAXED);
    start_thread(part);
  } else if (!change(part, STATE_LET_GO, STATE_RUNS) && change(part, STATE_ENDED, STATE_RUNS)) {
    start_thread(part);
  }
}

static void end_thread(struct tarn_metrics_part *part) {
  if (part->process != getpid())
    return;
  if (change(part, STATE_RUNS, STATE_ENDS) || change(part, STATE_LET_GO, STATE_ENDS))
    tarn_os_wake_all(&part->state);
  while (__atomic_load_n(&part->state, __ATOMIC_ACQUIRE) == STATE_ENDS)
    tarn_os_wait(&part->state, STATE_ENDS, 0);
}

void tarn_metrics_end(tarn_world *world) {
  struct tarn_metrics_part *part = __atomic_load_n(&world->metrics, __ATOMIC_ACQUIRE);
  /* At the exit of a process another thread may be ending the world.  Relaxed: one of the two does
   * it, under the lock of worlds or before the world leaves their list. */
  if (!part || __atomic_exchange_n(&part->over, 1, __ATOMIC_RELAXED))
    return;
  end_thread(part);
  write_part(part);
}

/* Programs that exit with their worlds as they are. */
__attribute__((destructor)) static void at_exit(void) { tarn_worlds_each(tarn_metrics_end); }
