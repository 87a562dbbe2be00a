/* SPDX-License-Identifier: MIT */
/*
 * collect/cycles.c: see collect/cycles.h.
 */
#include "collect/collector.h"
#include "collect/trial.h"

#define MARK_STACK_KEPT ((size_t)32768)
#define FUTILE_PART 64u
#define PATIENCE_MOST 4u
#define YOUNG_PATIENCE_MOST 16u
#define SLEEP_MOST_NS ((uint64_t)10000000)

/* --- known roots ----------------------------------------------------------------------------- */

/* Who has none needs no mark bytes. */
static bool has_known_roots(tarn_world *world) {
  struct tarn_mutator *mutator;
  bool some = world->roots.slots.count != 0 || world->roots.providers.count != 0;
  cds_list_for_each_entry(mutator, &world->registry.list, node) {
    some = some || mutator->local.pub.tarn_frames || mutator->scan_stack;
  }
  return some;
}

/* True: they reach something. */
static bool mark_known_roots(struct tarn_collector *collector) {
  struct tarn_cycles *cycles = &collector->cycles;
  struct tarn_marker *marker = &collector->marker;
  if (!has_known_roots(collector->world) || !tarn_store_make_tables(&collector->world->store))
    return false;
  marker->previous = TARN_MARK_NONE;
  marker->epoch = marker->mark =
      cycles->epoch == TARN_MARK_EPOCH_1 ? TARN_MARK_EPOCH_2 : TARN_MARK_EPOCH_1;
  marker->tag_mask = collector->world->tag_mask;
  marker->trusts = true;
  marker->overflows = marker->marked = marker->marked_bytes = 0;
  tarn_mark_roots(marker);
  tarn_mark_drain(marker);
  if (marker->capacity > MARK_STACK_KEPT)
    tarn_marker_end(marker);
  if (marker->marked == 0)
    return false; /* and the marks of the last one that had some stay as they are */
  cycles->epoch = marker->epoch;
  return true;
}

/* --- the stops ------------------------------------------------------------------------------- */

/* Ends now; the time. */
static uint64_t note_phase(struct tarn_cycles *cycles, unsigned phase, uint64_t since) {
  uint64_t now = tarn_os_now();
  atomic_store_explicit(&cycles->phases[phase], now - since, memory_order_relaxed);
  return now;
}

/* False: no memory, and nothing has changed. */
static bool find(struct tarn_collector *collector) {
  struct tarn_cycles *cycles = &collector->cycles;
  uint64_t since = tarn_os_now();
  cycles->looked_at = cycles->found = cycles->found_bytes = 0;
  cycles->special = cycles->overflow = false;
  cycles->rooted = cycles->skips = false;
  tarn_space_keep_ages(); /* from the first one on, which is a full one */
  /* Marks of frozen objects would be written; what these refer to is counted, and lives. */
  if (cycles->generation == TARN_GENERATION_FULL && !cycles->frozen)
    cycles->rooted = mark_known_roots(collector);
  cycles->skips = cycles->rooted || (cycles->generation != TARN_GENERATION_FULL && cycles->epoch);
  since = note_phase(cycles, TARN_PHASE_ROOTS, since);
  tarn_report_phase_ends(collector->report, TARN_PAUSE_ROOTS);
  if (!tarn_trial_choose(collector)) {
    tarn_trial_drop(cycles);
    return false;
  }
  tarn_trial_count(collector);
  since = note_phase(cycles, TARN_PHASE_COUNTS, since);
  bool all_live = tarn_trial_revive(collector);
  since = note_phase(cycles, TARN_PHASE_LIVING, since);
  tarn_report_phase_ends(collector->report, TARN_PAUSE_MARK);
  tarn_trial_gather(collector, all_live);
  (void)note_phase(cycles, TARN_PHASE_GARBAGE, since);
  tarn_report_phase_ends(collector->report, TARN_PAUSE_CENSUS);
  return true;
}

/* --- one collection --------------------------------------------------------------------------- */

uint32_t tarn_cycles_patience(const struct tarn_collector *collector, bool young) {
  const struct tarn_cycles *cycles = &collector->cycles;
  /* Relaxed: a figure. */
  return __atomic_load_n(young ? &cycles->young_patience : &cycles->patience, __ATOMIC_RELAXED);
}

/* `all` objects were there to be garbage. */
static void judge_yield(struct tarn_cycles *cycles, uint64_t all) {
  bool full = cycles->generation == TARN_GENERATION_FULL;
  uint32_t *patience = full ? &cycles->patience : &cycles->young_patience;
  uint32_t most = full ? PATIENCE_MOST : YOUNG_PATIENCE_MOST, now = *patience;
  bool futile = cycles->found < all / FUTILE_PART || cycles->found == 0;
  now = !futile ? 1 : now < most ? now * 2 : now;
  __atomic_store_n(patience, now, __ATOMIC_RELAXED);
}

static void count_stop(struct tarn_cycles *cycles) {
  /* Relaxed: who waits for the lock reads it under that. */
  for (int i = 0; i <= cycles->generation; i++)
    atomic_fetch_add_explicit(&cycles->stops[i], 1, memory_order_relaxed);
}

/* What lives is known as what is held, less the garbage. */
static void pace(struct tarn_collector *collector, struct tarn_collect_report *report) {
  struct tarn_cycles *cycles = &collector->cycles;
  judge_yield(cycles, cycles->looked_at + (cycles->rooted ? collector->marker.marked : 0));
  report->is.found_bytes = cycles->found_bytes;
  atomic_store_explicit(&collector->live_bytes, report->is.heap_before - cycles->found_bytes,
                        memory_order_relaxed);
  tarn_pace_collected(collector, report);
}

/* The world is stopped.  False: no memory. */
static bool collect_stopped(struct tarn_collector *collector, struct tarn_collect_report *report) {
  tarn_world *world = collector->world;
  struct tarn_cycles *cycles = &collector->cycles;
  cycles->generation = collector->generation = report->is.generation;
  tarn_report_phase_ends(report, TARN_PAUSE_PREPARE);
  if (!find(collector))
    return false;
  count_stop(cycles);
  pace(collector, report);
  report->is.looked_at = cycles->looked_at;
  if (world->config.verify && collector->events)
    collector->events->verify(world);
  return true;
}

/* Memory that is free goes back: now if the program asked for it, else after its time. */
static void give_back(struct tarn_collector *collector, bool now) {
  tarn_world *world = collector->world;
  uint64_t live = atomic_load_explicit(&collector->live_bytes, memory_order_relaxed);
  if (now)
    (void)tarn_store_purge(&world->store, (size_t)(live / 100 * world->config.retain));
  tarn_store_tend(&world->store);
}

/* The world runs. */
static void finish(struct tarn_collector *collector, struct tarn_mutator *self,
                   struct tarn_collect_report *report) {
  struct tarn_cycles *cycles = &collector->cycles;
  uint64_t since = tarn_os_now();
  tarn_markers_tend(collector);
  report->is.garbage = cycles->found;
  tarn_handles_tell(collector, tarn_thread_of(self), &cycles->gone);
  if (cycles->found)
    tarn_trash_treat(collector, self);
  report->is.resurrected = report->is.garbage - cycles->found;
  tarn_trial_drop(cycles);
  give_back(collector, tarn_report_asked(report) && report->is.generation == TARN_GENERATION_FULL);
  report->is.freeing_ns = note_phase(cycles, TARN_PHASE_FREEING, since) - since;
  (void)atomic_fetch_add_explicit(&cycles->collections, 1, memory_order_relaxed);
  tarn_collector_tell(collector, report);
}

/* Relaxed: figures; under the lock. */
static void note_pause(struct tarn_collector *collector, uint64_t pause) {
  struct tarn_cycles *cycles = &collector->cycles;
  atomic_store_explicit(&cycles->pause_last, pause, memory_order_relaxed);
  atomic_fetch_add_explicit(&cycles->pause_total, pause, memory_order_relaxed);
  tarn_histogram_add(&cycles->pause_histogram, pause);
  if (pause > atomic_load_explicit(&cycles->pause_max, memory_order_relaxed))
    atomic_store_explicit(&cycles->pause_max, pause, memory_order_relaxed);
}

void tarn_cycles_note_pause(struct tarn_collector *collector) {
  note_pause(collector, tarn_os_now() - collector->world->stop.asked_at);
}

/* In its stop, which ends.  There was no memory, and nothing has changed. */
static void fail(struct tarn_collector *collector, struct tarn_mutator *self,
                 struct tarn_collect_report *report) {
  report->is.failed = true;
  tarn_collector_end_pause(collector, report);
  tarn_stop_end(collector->world, self);
  tarn_collector_tell(collector, report);
}

/* With the lock. */
static tarn_status run(tarn_world *world, struct tarn_mutator *self, int generation,
                       tarn_cause cause) {
  struct tarn_collector *collector = world->collector;
  struct tarn_collect_report report;
  if (generation == TARN_GENERATION_FULL)
    tarn_markers_foresee(collector);
  tarn_stop_begin_always(world, self);
  tarn_collector_begin_report(collector, &report, cause,
                              tarn_generation_choose(collector, generation));
  if (!tarn_refs_start() || !collect_stopped(collector, &report)) {
    fail(collector, self, &report);
    return TARN_ENOMEM;
  }
  tarn_collector_end_pause(collector, &report);
  note_pause(collector, report.is.pause_ns);
  tarn_stop_end(world, self);
  finish(collector, self, &report);
  return TARN_OK;
}

static void take_lock(struct tarn_cycles *cycles, struct tarn_mutator *self) {
  if (pthread_mutex_trylock(&cycles->lock) == 0)
    return;
  tarn_stop_leave(self); /* its holder may want to stop the world */
  (void)pthread_mutex_lock(&cycles->lock);
  tarn_stop_enter(self);
}

/* Who comes by itself does not wait for the lock: see cycles.h.  False: it was not to be had. */
static bool take_lock_or_sleep(struct tarn_cycles *cycles, struct tarn_mutator *self) {
  /* Acquire: before the lock is tried, so that an end after that ends the sleep too. */
  uint32_t ended = __atomic_load_n(&cycles->ended, __ATOMIC_ACQUIRE);
  if (pthread_mutex_trylock(&cycles->lock) == 0)
    return true;
  /* Sequentially consistent, as what give_lock_back does: it sees who waits, or the wait sees the
   * end. */
  (void)__atomic_fetch_add(&cycles->waiting, 1, __ATOMIC_SEQ_CST);
  tarn_stop_leave(self);
  tarn_os_wait(&cycles->ended, ended, SLEEP_MOST_NS);
  tarn_stop_enter(self);
  (void)__atomic_fetch_sub(&cycles->waiting, 1, __ATOMIC_RELAXED);
  return false;
}

static void give_lock_back(struct tarn_cycles *cycles) {
  __atomic_store_n(&cycles->holder, NULL, __ATOMIC_RELAXED);
  (void)pthread_mutex_unlock(&cycles->lock);
  (void)__atomic_fetch_add(&cycles->ended, 1, __ATOMIC_SEQ_CST);
  if (__atomic_load_n(&cycles->waiting, __ATOMIC_SEQ_CST) != 0)
    tarn_os_wake_all(&cycles->ended);
}

bool tarn_cycles_runs(const struct tarn_collector *collector, const struct tarn_mutator *self) {
  /* Relaxed: only this thread can have written its own record there. */
  return __atomic_load_n(&collector->cycles.holder, __ATOMIC_RELAXED) == self;
}

/* With the lock: functions may ask for collections from now on. */
static void begin(struct tarn_collector *collector, struct tarn_mutator *self) {
  struct tarn_cycles *cycles = &collector->cycles;
  __atomic_store_n(&cycles->holder, self, __ATOMIC_RELAXED);
  if (TARN_LIKELY(!cycles->left))
    return;
  tarn_trash_treat(collector, self);
  tarn_trial_drop(cycles);
  cycles->left = false;
}

tarn_status tarn_cycles_run(tarn_world *world, struct tarn_mutator *self, int generation,
                            tarn_cause cause) {
  struct tarn_cycles *cycles = &world->collector->cycles;
  _Atomic uint64_t *stops = &cycles->stops[generation > 0 ? generation : 0];
  tarn_status status = TARN_OK;
  if (tarn_cycles_runs(world->collector, self))
    return TARN_OK;
  uint64_t before = atomic_load_explicit(stops, memory_order_relaxed);
  if (generation != TARN_GENERATION_ANY)
    take_lock(cycles, self);
  else if (!take_lock_or_sleep(cycles, self))
    return TARN_OK;
  if (atomic_load_explicit(stops, memory_order_relaxed) == before) {
    begin(world->collector, self);
    status = run(world, self, generation, cause);
  }
  give_lock_back(cycles);
  return status;
}

tarn_status tarn_collect_cycles(tarn_thread *self, int generation) {
  tarn_status status = tarn_thread_check_running(self);
  if (status != TARN_OK)
    return status;
  struct tarn_mutator *mutator = tarn_mutator_of(self);
  if (generation < 0 || generation > TARN_GENERATION_FULL)
    return TARN_EINVAL;
  if (!mutator->world->config.counting)
    return TARN_EKIND;
  if (self->tarn_holds)
    return TARN_EHELD;
  return tarn_cycles_run(mutator->world, mutator, generation, TARN_CAUSE_ASKED);
}

/* --- start, end, fork ------------------------------------------------------------------------ */

void tarn_cycles_start(struct tarn_collector *collector) {
  collector->cycles.patience = collector->cycles.young_patience = 1;
  (void)pthread_mutex_init(&collector->cycles.lock, NULL);
  tarn_links_start(&collector->cycles.links);
  tarn_trash_start(collector);
  tarn_finalized_start(collector);
  tarn_handles_start(collector);
}

void tarn_cycles_end(struct tarn_collector *collector) {
  tarn_vector_drop(&collector->cycles.candidates);
  tarn_links_end(&collector->cycles.links);
  tarn_refs_end(&collector->cycles.refs); /* also what a fork left, and no collection came for */
  tarn_numbers_drop(&collector->cycles.stack);
  tarn_numbers_drop(&collector->cycles.pages);
  tarn_handles_end(collector);
  tarn_finalized_end(collector);
  (void)pthread_mutex_destroy(&collector->cycles.lock);
}

/* The ints were another thread's. */
static void put_back_trash(struct tarn_collector *collector) {
  struct tarn_cycles *cycles = &collector->cycles;
  for (size_t i = 0; i < cycles->candidates.count; i++) {
    struct tarn_pool *pool = &tarn_space.pools[cycles->candidates.items[i]];
    if (pool->list != TARN_LIST_TRASH)
      continue; /* it was put back before the fork */
    tarn_refs_take(tarn_pool_unit(pool));
    tarn_heap_put_back(pool);
  }
  for (struct tarn_large *large = cycles->larges; large; large = large->limbo)
    tarn_refs_take(tarn_unit_of(large->base));
  tarn_trial_drop(cycles);
  cycles->larges = NULL;
}

void tarn_cycles_after_fork(struct tarn_collector *collector) {
  struct tarn_cycles *cycles = &collector->cycles;
  struct tarn_mutator *holder = __atomic_load_n(&cycles->holder, __ATOMIC_RELAXED);
  cycles->waiting = 0;
  if (holder && holder == tarn_mutator_self(collector->world))
    return;                                      /* it goes on with it */
  (void)pthread_mutex_init(&cycles->lock, NULL); /* nobody has it here */
  if (!holder)
    return;
  __atomic_store_n(&cycles->holder, NULL, __ATOMIC_RELAXED);
  cycles->left = cycles->whole;
  if (cycles->left)
    tarn_trash_after_fork(collector);
  else
    put_back_trash(collector);
}

void tarn_cycles_lock(tarn_world *world, struct tarn_mutator *self) {
  struct tarn_cycles *cycles = &world->collector->cycles;
  if (!world->config.counting)
    return;
  take_lock(cycles, self);
  begin(world->collector, self);
}
void tarn_cycles_unlock(tarn_world *world) {
  struct tarn_cycles *cycles = &world->collector->cycles;
  if (world->config.counting)
    give_lock_back(cycles);
}
