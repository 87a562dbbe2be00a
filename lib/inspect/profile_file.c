/* SPDX-License-Identifier: MIT */
/*
 * inspect/profile_file.c: the calls of tarn/profile.h, and when the options write.
 *
 * The world's profile is under the store's sampling_lock.  It is replaced in stops only, so what it
 * is for threads that allocate (`store->sampling`) cannot change for a running one; and where it
 * goes, nobody can be copying it.  A world without a collector has none, or one from before anybody
 * knows the world until the process ends.
 */
#include "inspect/profile.h"
#include "os/stack.h"
#include <errno.h>
#include <string.h>

static void lock(tarn_world *world) { (void)pthread_mutex_lock(&world->store.sampling_lock); }
static void unlock(tarn_world *world) { (void)pthread_mutex_unlock(&world->store.sampling_lock); }

/* --- start and stop -------------------------------------------------------------------------- */

static tarn_status check(tarn_thread *self) {
  tarn_status status = tarn_thread_check_running(self);
  return status == TARN_OK && self->tarn_holds ? TARN_EHELD : status;
}

/* In a stop, or before anybody else knows the world.  The profile that was there; to be dropped. */
static struct tarn_profile *install(tarn_world *world, struct tarn_profile *profile) {
  lock(world);
  struct tarn_profile *old = world->profile;
  profile->on = true;
  profile->frames_fn = world->frames_fn;
  profile->frames_data = world->frames_data;
  world->profile = profile;
  world->store.sampling = &profile->sampling;
  unlock(world);
  struct tarn_mutator *mutator;
  cds_list_for_each_entry(mutator, &world->registry.list, node)
      tarn_local_end_pieces(&mutator->local);
  return old;
}

tarn_status tarn_profile_start(tarn_thread *self, size_t rate) {
  tarn_status status = check(self);
  if (status != TARN_OK)
    return status;
  if (rate > TARN_PROFILE_RATE_MOST)
    return TARN_EINVAL;
  struct tarn_mutator *mutator = tarn_mutator_of(self);
  tarn_world *world = mutator->world;
  struct tarn_profile *profile = tarn_profile_make(rate ? rate : TARN_PROFILE_RATE);
  if (!profile)
    return TARN_ENOMEM;
  tarn_os_stack_start();
  tarn_stop_begin_always(world, mutator);
  bool busy = world->store.sampling != NULL;
  if (!busy)
    profile = install(world, profile);
  /* Others close theirs when they run again: see tarn_stop_enter. */
  tarn_thread_set_inlined(mutator, true);
  tarn_stop_end(world, mutator);
  tarn_profile_drop(profile);
  return busy ? TARN_EBUSY : TARN_OK;
}

tarn_status tarn_profile_stop(tarn_thread *self) {
  tarn_status status = check(self);
  if (status != TARN_OK)
    return status;
  struct tarn_mutator *mutator = tarn_mutator_of(self);
  tarn_world *world = mutator->world;
  tarn_stop_begin_always(world, mutator);
  bool was_on = world->store.sampling != NULL;
  if (was_on) {
    lock(world);
    struct tarn_profile *profile = world->profile;
    profile->on = false;
    profile->ended = tarn_os_now();
    world->store.sampling = NULL;
    unlock(world);
  }
  tarn_thread_set_inlined(mutator, true);
  tarn_stop_end(world, mutator);
  return was_on ? TARN_OK : TARN_EUNBALANCED;
}

tarn_status tarn_profile_set_frames(tarn_world *world, tarn_profile_frames_fn fn, void *data) {
  if (!world)
    return TARN_EINVAL;
  lock(world);
  struct tarn_profile *profile = world->profile;
  world->frames_fn = fn;
  world->frames_data = data;
  if (profile) {
    profile->frames_fn = fn;
    profile->frames_data = data;
  }
  unlock(world);
  return TARN_OK;
}

/* --- asking ---------------------------------------------------------------------------------- */

tarn_status tarn_profile_info_get(tarn_world *world, tarn_profile_info *info) {
  if (!world || !info || info->struct_size < sizeof info->struct_size)
    return TARN_EINVAL;
  tarn_profile_info all = {.struct_size = info->struct_size};
  lock(world);
  const struct tarn_profile *profile = world->profile;
  if (profile) {
    all.on = profile->on;
    all.rate = profile->sampling.rate;
    all.samples = profile->samples;
    all.in_use = profile->entries;
    all.places = profile->places;
    all.dropped = profile->dropped;
    all.blind = atomic_load_explicit(&profile->blind, memory_order_relaxed);
  }
  unlock(world);
  if (!profile)
    return TARN_EUNBALANCED;
  memcpy(info, &all, info->struct_size < sizeof all ? info->struct_size : sizeof all);
  return TARN_OK;
}

/* --- writing --------------------------------------------------------------------------------- */

/* `out` has begun. */
static tarn_status write_to(tarn_world *world, struct tarn_out *out, tarn_profile_format format,
                            tarn_profile_value value) {
  lock(world);
  const struct tarn_profile *profile = world->profile;
  bool there = profile != NULL;
  struct tarn_profile *copy = there ? tarn_profile_copy(profile) : NULL;
  unlock(world);
  if (copy)
    tarn_profile_put(out, copy, format, value);
  tarn_profile_drop(copy);
  tarn_status status = tarn_out_end(out);
  if (!there)
    return TARN_EUNBALANCED;
  return copy ? status : TARN_ENOMEM;
}

static bool is_valid(const tarn_world *world, tarn_profile_format format,
                     tarn_profile_value value) {
  return world && (format == TARN_PROFILE_PPROF || format == TARN_PROFILE_FOLDED) &&
         (unsigned)value <= TARN_PROFILE_INUSE_SPACE;
}

tarn_status tarn_profile_write(tarn_world *world, tarn_profile_format format,
                               tarn_profile_value value, tarn_write_fn fn, void *data) {
  struct tarn_out out;
  if (!is_valid(world, format, value) || !fn)
    return TARN_EINVAL;
  tarn_out_begin_fn(&out, fn, data);
  return write_to(world, &out, format, value);
}

tarn_status tarn_profile_write_file(tarn_world *world, tarn_profile_format format,
                                    tarn_profile_value value, const char *path) {
  struct tarn_out out;
  tarn_profile_info info = {.struct_size = sizeof info};
  if (!is_valid(world, format, value) || !path)
    return TARN_EINVAL;
  /* What is there is not emptied for nothing. */
  tarn_status status = tarn_profile_info_get(world, &info);
  if (status != TARN_OK)
    return status;
  tarn_out_begin_file(&out, path, TARN_OUT_OVER);
  return write_to(world, &out, format, value);
}

/* --- by options ------------------------------------------------------------------------------ */

void tarn_profile_begin(tarn_world *world) {
  if (!world->config.profile[0])
    return;
  if (!world->store.hooks->uncollected)
    tarn_os_stack_start(); /* a malloc's front does it, for it may be in the middle of anything */
  struct tarn_profile *profile = tarn_profile_make(world->config.profile_rate);
  if (profile)
    (void)install(world, profile);
  else
    tarn_os_say("tarn: profile: no memory: none is made");
}

void tarn_profile_end(tarn_world *world) {
  char path[TARN_PATH_ROOM], why[128];
  const char *pattern = world->config.profile;
  tarn_status status = TARN_ESYSTEM;
  if (!pattern[0])
    return;
  /* At the exit of a process another thread may be ending the world; as in tarn_metrics_end. */
  if (__atomic_exchange_n(&world->profile_written, true, __ATOMIC_RELAXED))
    return;
  errno = ENAMETOOLONG;
  if (tarn_out_path(pattern, world->number, 1, path, sizeof path))
    status = tarn_profile_write_file(
        world, tarn_out_ends_in(path, ".folded") ? TARN_PROFILE_FOLDED : TARN_PROFILE_PPROF,
        tarn_out_ends_in(path, ".inuse.folded") ? TARN_PROFILE_INUSE_SPACE
                                                : TARN_PROFILE_ALLOC_SPACE,
        path);
  if (status != TARN_OK && status != TARN_EUNBALANCED)
    tarn_os_say("tarn: profile: %s: %s", path[0] ? path : pattern,
                status == TARN_ENOMEM ? tarn_strerror(status) : strerror_r(errno, why, sizeof why));
}

void tarn_profile_forget(tarn_world *world) {
  lock(world);
  struct tarn_profile *profile = world->profile;
  world->store.sampling = NULL;
  world->profile = NULL;
  unlock(world);
  tarn_profile_drop(profile);
}

/* Programs that exit with their worlds as they are. */
__attribute__((destructor)) static void at_exit(void) { tarn_worlds_each(tarn_profile_end); }
