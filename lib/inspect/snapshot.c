/* SPDX-License-Identifier: MIT */
/*
 * inspect/snapshot.c: one snapshot from the call to the file; see snapshot.h.
 */
#include "inspect/snapshot.h"
#include <string.h>
#include <time.h>

#define TRIES 100u /* of a patient one, a hundredth of a second apart, and up to 5 ms long */
#define PAUSE_NS 10000000u

/* One snapshot, and who wants it. */
struct job {
  tarn_world *world;
  struct tarn_mutator *self; /* who stops the world; NULL: a thread that is not attached */
  enum tarn_snapshot_how how;
  unsigned flags;
  struct tarn_out out;
  tarn_snapshot_info info;
};

/* --- in the stop ----------------------------------------------------------------------------- */

static void run(struct tarn_snapshot *snapshot) {
  tarn_snapshot_index(snapshot);
  if (snapshot->status == TARN_OK)
    tarn_snapshot_roots(snapshot);
  if (snapshot->status == TARN_OK)
    tarn_snapshot_count(snapshot);
  if (snapshot->status == TARN_OK)
    tarn_snapshot_text(snapshot);
  tarn_snapshot_count_drop(snapshot);
  tarn_snapshot_roots_drop(snapshot);
  tarn_snapshot_index_drop(snapshot);
}

static tarn_status write_stopped(struct job *job) {
  struct tarn_snapshot snapshot = {.world = job->world, .out = &job->out, .status = TARN_OK};
  run(&snapshot);
  job->info.objects = snapshot.blocks;
  job->info.nodes = (uint64_t)snapshot.first_block + snapshot.blocks + snapshot.rests;
  job->info.edges = snapshot.edge_count;
  /* The last bytes leave in the stop as well, for who takes them may look at the world's. */
  if (snapshot.status == TARN_OK && !tarn_out_flush(&job->out))
    snapshot.status = job->out.status;
  job->info.bytes = job->out.written;
  return snapshot.status;
}

/* --- stopping -------------------------------------------------------------------------------- */

static void pause_a_little(void) {
  const struct timespec time = {0, PAUSE_NS};
  (void)nanosleep(&time, NULL);
}

static void collect_patiently(tarn_world *world) {
  for (unsigned i = 0; i < TRIES && !tarn_collector_run_idle(world, TARN_CAUSE_SNAPSHOT); i++) {
    if (atomic_load_explicit(&world->collect_disabled, memory_order_relaxed) != 0)
      return;
    pause_a_little();
  }
}

/* What comes of it shows in the snapshot. */
static void collect(const struct job *job) {
  tarn_world *world = job->world;
  if ((job->flags & TARN_SNAPSHOT_AS_IT_IS) || world->config.counting)
    return;
  if (job->how == TARN_SNAPSHOT_PATIENT)
    collect_patiently(world);
  else if (job->how == TARN_SNAPSHOT_OUTSIDE)
    (void)tarn_collector_run_outside(world);
  else if (atomic_load_explicit(&world->collect_disabled, memory_order_relaxed) == 0)
    (void)tarn_collect(tarn_thread_of(job->self), TARN_GENERATION_FULL);
}

static bool stop(const struct job *job) {
  if (job->how != TARN_SNAPSHOT_PATIENT) {
    tarn_stop_begin_always(job->world, job->self);
    return true;
  }
  for (unsigned i = 0; i < TRIES; i++) {
    if (tarn_stop_begin_idle(job->world))
      return true;
    pause_a_little();
  }
  return false;
}

/* The writer has begun. */
static tarn_status write_all(struct job *job) {
  tarn_status status = job->out.status;
  if (status != TARN_OK)
    return status;
  collect(job);
  if (!stop(job))
    return TARN_EBUSY;
  uint64_t asked_at = job->world->stop.asked_at;
  status = write_stopped(job);
  tarn_stop_end(job->world, job->self);
  job->info.stopped_ns = tarn_os_now() - asked_at;
  return status;
}

/* The first of the two failures, and its errno. */
static tarn_status end_out(struct job *job, tarn_status status) {
  tarn_status closed = tarn_out_end(&job->out);
  return status != TARN_OK ? status : closed;
}

static void give_info(const struct job *job, tarn_snapshot_info *info) {
  if (!info)
    return;
  size_t size = info->struct_size;
  memcpy(info, &job->info, size < sizeof *info ? size : sizeof *info);
  info->struct_size = size;
}

/* --- files ----------------------------------------------------------------------------------- */

static tarn_status write_to(struct job *job, const char *path) {
  tarn_out_begin_file(&job->out, path, TARN_OUT_OVER);
  return end_out(job, write_all(job));
}

static tarn_status write_beside(struct job *job, const char *path) {
  struct tarn_snapshot_part part;
  if (!tarn_snapshot_part_begin(&part, &job->out, path, job->how != TARN_SNAPSHOT_SELF))
    return TARN_ESYSTEM;
  return tarn_snapshot_part_end(&part, end_out(job, write_all(job)));
}

tarn_status tarn_snapshot_to_file(tarn_world *world, struct tarn_mutator *self,
                                  enum tarn_snapshot_how how, const char *path, unsigned flags,
                                  tarn_snapshot_info *info) {
  struct job job = {.world = world, .self = self, .how = how, .flags = flags};
  tarn_status status = tarn_os_is_file(path) ? write_beside(&job, path) : write_to(&job, path);
  give_info(&job, info);
  return status;
}

/* --- the public calls ------------------------------------------------------------------------ */

static tarn_status check(const tarn_thread *self, bool target, unsigned flags,
                         const tarn_snapshot_info *info) {
  tarn_status status = tarn_thread_check_running(self);
  if (status != TARN_OK)
    return status;
  if (!target || (flags & ~(unsigned)TARN_SNAPSHOT_AS_IT_IS) ||
      (info && info->struct_size < sizeof info->struct_size))
    return TARN_EINVAL;
  return self->tarn_holds ? TARN_EHELD : TARN_OK;
}

tarn_status tarn_snapshot_write(tarn_thread *self, const char *path, unsigned flags,
                                tarn_snapshot_info *info) {
  tarn_status status = check(self, path != NULL, flags, info);
  if (status != TARN_OK)
    return status;
  struct tarn_mutator *mutator = tarn_mutator_of(self);
  return tarn_snapshot_to_file(mutator->world, mutator, TARN_SNAPSHOT_SELF, path, flags, info);
}

tarn_status tarn_snapshot_send(tarn_thread *self, tarn_write_fn fn, void *data, unsigned flags,
                               tarn_snapshot_info *info) {
  tarn_status status = check(self, fn != NULL, flags, info);
  if (status != TARN_OK)
    return status;
  struct tarn_mutator *mutator = tarn_mutator_of(self);
  struct job job = {.world = mutator->world, .self = mutator, .flags = flags};
  tarn_out_begin_fn(&job.out, fn, data);
  status = end_out(&job, write_all(&job));
  give_info(&job, info);
  return status;
}
