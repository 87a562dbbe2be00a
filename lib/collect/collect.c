/* SPDX-License-Identifier: MIT */
/*
 * collect/collect.c: one collection from the request to the last word of its report; what the lower
 * layers call.
 */
#include "collect/collector.h"
#include "heap/sample.h"
#include "heap/sweep.h"
#include "os/probes.h"
#include <stdlib.h>
#include <string.h>

/* Relaxed: of figures. */
static uint64_t look(const _Atomic uint64_t *figure) {
  return atomic_load_explicit(figure, memory_order_relaxed);
}

/* --- one collection -------------------------------------------------------------------------- */

static uint8_t other_epoch(uint8_t epoch) {
  return epoch == TARN_MARK_EPOCH_1 ? TARN_MARK_EPOCH_2 : TARN_MARK_EPOCH_1;
}

static void end_phase(struct tarn_collector *collector, enum tarn_phase phase) {
  tarn_report_phase_ends(collector->report, phase);
}

static void mark_from_roots(struct tarn_collector *collector) {
  struct tarn_marker *marker = &collector->marker;
  tarn_generation_spare(collector);
  tarn_mark_roots(marker);
  if (collector->generation == TARN_GENERATION_FULL)
    tarn_cards_clear(collector);
  else
    tarn_cards_roots(collector);
  tarn_weak_roots(collector);
  tarn_weak_tables_roots(collector);
  tarn_finalizers_roots(collector);
  end_phase(collector, TARN_PAUSE_ROOTS);
  tarn_mark_drain(marker);
  tarn_ephemeron_resolve(collector);
  end_phase(collector, TARN_PAUSE_MARK);
}

/* The order is documented in tarn/collect.h. */
static size_t mark_everything(struct tarn_collector *collector) {
  struct tarn_marker *marker = &collector->marker;
  mark_from_roots(collector);
  size_t cleared = tarn_weak_clear(collector) + tarn_weak_tables_clear(collector);
  tarn_finalizers_find(collector);
  end_phase(collector, TARN_PAUSE_WEAK);
  tarn_mark_drain(marker);
  tarn_ephemeron_resolve(collector);
  end_phase(collector, TARN_PAUSE_MARK);
  tarn_ephemeron_clear(collector);
  cleared += tarn_weak_clear(collector);
  tarn_ephemeron_finish(collector);
  end_phase(collector, TARN_PAUSE_WEAK);
  return cleared;
}

/* Relaxed: figures; only the requester of a stop writes them. */
static void count_generation(struct tarn_collector *collector, int generation) {
  for (int i = 0; i <= generation; i++)
    atomic_fetch_add_explicit(&collector->at_least[i], 1, memory_order_relaxed);
  atomic_fetch_add_explicit(&collector->of[generation], 1, memory_order_relaxed);
}

static void keep_pause(struct tarn_collector *collector, uint64_t pause) {
  /* Relaxed: figures; only the requester of a stop writes them. */
  uint64_t number = atomic_load_explicit(&collector->collections, memory_order_relaxed);
  uint32_t kept = pause > UINT32_MAX ? UINT32_MAX : (uint32_t)pause;
  atomic_store_explicit(&collector->pauses[number % TARN_PAUSES_KEPT], kept, memory_order_relaxed);
  atomic_store_explicit(&collector->collections, number + 1, memory_order_relaxed);
  atomic_store_explicit(&collector->pause_last, pause, memory_order_relaxed);
  atomic_fetch_add_explicit(&collector->pause_total, pause, memory_order_relaxed);
  tarn_histogram_add(&collector->pause_histogram, pause);
  if (pause > atomic_load_explicit(&collector->pause_max, memory_order_relaxed))
    atomic_store_explicit(&collector->pause_max, pause, memory_order_relaxed);
}

/* What the marker writes, and goes by: see TARN_MARK_... */
static void set_marks(struct tarn_collector *collector) {
  struct tarn_marker *marker = &collector->marker;
  tarn_world *world = collector->world;
  marker->previous = world->store.epoch;
  marker->epoch = collector->generation == TARN_GENERATION_FULL ? other_epoch(marker->previous)
                                                                : marker->previous;
  marker->mark = collector->generation == 0 ? tarn_mark_survived(marker->epoch) : marker->epoch;
  marker->tag_mask = world->tag_mask;
  marker->overflows = marker->marked = marker->marked_bytes = marker->parcels = 0;
}

/* Of a block in use. */
static bool is_not_marked(uintptr_t block, void *marker) {
  return !tarn_marker_says(marker, tarn_mark_load(block));
}

/*
 * The world is stopped.  A function of its own, so that its variables, which change between the two
 * markings, lie in no older frame.
 */
static __attribute__((noinline)) void collect_stopped(struct tarn_collector *collector,
                                                      struct tarn_collect_report *report) {
  tarn_world *world = collector->world;
  struct tarn_store *store = &world->store;
  struct tarn_marker *marker = &collector->marker;
  collector->generation = report->is.generation;
  tarn_sweep_all(store); /* what was not swept yet has marks of before */
  set_marks(collector);
  tarn_census_prepare(collector);
  if (world->config.verify && collector->events)
    collector->events->before_mark(world, (uintptr_t)__builtin_dwarf_cfa());
  end_phase(collector, TARN_PAUSE_PREPARE);
  report->is.weak_cleared = mark_everything(collector);
  if (TARN_UNLIKELY(store->sampling))
    store->sampling->died(store, is_not_marked, marker);
  store->epoch = marker->epoch;
  tarn_census_take(collector);
  end_phase(collector, TARN_PAUSE_CENSUS);
  report->is.overflows = marker->overflows;
  report->marked = marker->marked;
  report->parcels = marker->parcels;
  report->is.found_bytes = collector->found_bytes;
  tarn_pace_collected(collector, report);
  if (world->config.verify && collector->events)
    collector->events->verify(world);
}

void tarn_collector_begin_report(struct tarn_collector *collector,
                                 struct tarn_collect_report *report, tarn_cause cause,
                                 int generation) {
  const tarn_world *world = collector->world;
  const struct tarn_stop *stop = &world->stop;
  bool cycles = world->config.counting;
  *report = (struct tarn_collect_report){.span_count = 0};
  report->is = (tarn_collection){
      .struct_size = sizeof report->is,
      .number = look(cycles ? &collector->cycles.collections : &collector->collections) + 1,
      .cycles = cycles,
      .cause = cause,
      .generation = generation,
      .began_ns = stop->asked_at,
      .stop_ns = look(&stop->last_ns),
      .heap_before = atomic_load_explicit(&world->store.bytes, memory_order_relaxed),
      .pools_before = atomic_load_explicit(&world->store.pools, memory_order_relaxed)};
  memcpy(report->is.last_thread, stop->told.last, sizeof report->is.last_thread);
  report->stamp = stop->asked_at + report->is.stop_ns;
  report->spans[report->span_count++] =
      (struct tarn_phase_span){TARN_PAUSE_STOP, stop->asked_at, report->stamp};
  collector->report = report;
  TARN_PROBE3(gc__begin, report->is.number, generation, (int)cause);
  TARN_PROBE3(phase, report->is.number, tarn_phase_name(TARN_PAUSE_STOP), report->is.stop_ns);
  if (tarn_is_told(&world->store, TARN_TOLD_GC_BEGIN))
    tarn_tell(&collector->world->store,
              (struct tarn_told){.kind = TARN_TOLD_GC_BEGIN, .what = report});
}

/* The pause ends here, as far as it can be known before it has ended. */
void tarn_collector_end_pause(struct tarn_collector *collector,
                              struct tarn_collect_report *report) {
  const struct tarn_store *store = &collector->world->store;
  const struct tarn_pace *pace = &collector->pace;
  tarn_collection *is = &report->is;
  is->heap_after = atomic_load_explicit(&store->bytes, memory_order_relaxed);
  is->pools_after = atomic_load_explicit(&store->pools, memory_order_relaxed);
  is->live_bytes = look(&collector->live_bytes);
  is->live_objects = look(&collector->live_objects);
  is->external_bytes = look(&pace->external);
  is->next_bytes = look(&pace->due);
  is->condemned = atomic_load_explicit(&collector->release.pending, memory_order_relaxed);
  tarn_report_phase_ends(report, TARN_PAUSE_REST);
  is->pause_ns = report->stamp - is->began_ns;
  collector->report = NULL;
}

void tarn_collector_tell(struct tarn_collector *collector, struct tarn_collect_report *report) {
  struct tarn_store *store = &collector->world->store;
  TARN_PROBE4(gc__end, report->is.number, report->is.generation, report->is.pause_ns,
              report->is.live_bytes);
  if (tarn_is_told(store, TARN_TOLD_GC_END))
    tarn_tell(store, (struct tarn_told){.kind = TARN_TOLD_GC_END, .what = report});
}

static void finish_report(struct tarn_collector *collector, struct tarn_collect_report *report) {
  tarn_collection *is = &report->is;
  is->finalizers = collector->finalizers.new_due;
  tarn_collector_end_pause(collector, report);
  atomic_store_explicit(&collector->mark_last, is->roots_ns + is->mark_ns + is->weak_ns,
                        memory_order_relaxed);
  atomic_fetch_add_explicit(&collector->weak_cleared, is->weak_cleared, memory_order_relaxed);
  atomic_fetch_add_explicit(&collector->overflows, is->overflows, memory_order_relaxed);
  if (tarn_report_asked(report))
    atomic_fetch_add_explicit(&collector->asked, 1, memory_order_relaxed);
  keep_pause(collector, is->pause_ns);
  count_generation(collector, is->generation);
}

/*
 * The next full collection comes after so many bytes: giving back what they will use helps nobody.
 * With young collections in between they are those that survive, which lie among others that did
 * not, so that more memory is touched: as much as since the last one.
 */
static size_t memory_until_next(const struct tarn_collector *collector,
                                const struct tarn_collect_report *report) {
  uint64_t keep = report->is.live_bytes / 100 * collector->world->config.retain;
  uint64_t trigger = tarn_pace_trigger(collector), found = report->is.found_bytes;
  if (trigger > keep)
    keep = trigger;
  return (size_t)(collector->generations.on && found > keep ? found : keep);
}

/* In the stop of a full collection: what is to be known when its pools have been swept. */
static void prepare_sweep(struct tarn_collector *collector,
                          const struct tarn_collect_report *report) {
  struct tarn_store *store = &collector->world->store;
  size_t keep = memory_until_next(collector, report);
  tarn_purge_keep(store, keep);
  __atomic_store_n(&collector->sweeper.keep, keep, __ATOMIC_RELAXED);
  __atomic_store_n(&collector->sweeper.full_at,
                   atomic_load_explicit(&store->allocated, memory_order_relaxed), __ATOMIC_RELAXED);
}

static void give_back_larges(struct tarn_collector *collector, struct tarn_large *dead) {
  for (struct tarn_large *large = dead; large; large = large->limbo)
    tarn_large_give_back(&collector->world->store, large);
}

/* With the world running: memory goes back that nobody can see any more, and what is to be swept
 * can be swept. */
static void give_back(struct tarn_collector *collector, const struct tarn_collect_report *report,
                      struct tarn_large *dead) {
  tarn_world *world = collector->world;
  tarn_large_reclaim(&world->store, dead);
  if (report->is.generation == TARN_GENERATION_FULL && !tarn_report_asked(report)) {
    if (tarn_sweep_left(&world->store))
      tarn_sweeper_call(collector);
    else
      tarn_sweeper_give_back(collector);
  }
  tarn_store_tend(&world->store);
}

/* The whole of a collection whose stop has begun. */
static tarn_status run_stopped(tarn_world *world, struct tarn_mutator *self, int generation,
                               tarn_cause cause) {
  struct tarn_collector *collector = world->collector;
  struct tarn_collect_report report;
  if (!tarn_store_make_tables(&world->store)) {
    tarn_stop_end(world, self);
    return TARN_ENOMEM;
  }
  tarn_collector_begin_report(collector, &report, cause,
                              tarn_generation_choose(collector, generation));
  collect_stopped(collector, &report);
  finish_report(collector, &report);
  if (report.is.generation == TARN_GENERATION_FULL)
    prepare_sweep(collector, &report);
  struct tarn_large *dead = collector->dead_larges;
  collector->dead_larges = NULL;
  bool due = atomic_load_explicit(&collector->release.pending, memory_order_relaxed) != 0;
  if (!self) /* no fork waits for this thread: their units would be lost in its child */
    give_back_larges(collector, dead);
  tarn_stop_end(world, self);

  if (self)
    give_back_larges(collector, dead);
  give_back(collector, &report, dead);
  tarn_markers_tend(collector);
  if (due)
    tarn_stop_ask(world, TARN_POLL_RELEASE);
  if (self) /* its callback is the program's, and so is the thread that runs it */
    tarn_pace_tell(collector, &report);
  tarn_collector_tell(collector, &report);
  return TARN_OK;
}

bool tarn_collector_run_idle(tarn_world *world, tarn_cause cause) {
  /* Relaxed: as in may_collect. */
  if (atomic_load_explicit(&world->collect_disabled, memory_order_relaxed) != 0 ||
      !tarn_stop_begin_idle(world))
    return false;
  return run_stopped(world, NULL, TARN_GENERATION_FULL, cause) == TARN_OK;
}

bool tarn_collector_run_outside(tarn_world *world) {
  if (atomic_load_explicit(&world->collect_disabled, memory_order_relaxed) != 0)
    return false;
  tarn_stop_begin_always(world, NULL);
  return run_stopped(world, NULL, TARN_GENERATION_FULL, TARN_CAUSE_SNAPSHOT) == TARN_OK;
}

tarn_status tarn_collector_run(tarn_world *world, struct tarn_mutator *self, int generation,
                               tarn_cause cause) {
  struct tarn_collector *collector = world->collector;
  _Atomic uint64_t *count = &collector->at_least[generation > 0 ? generation : 0];
  /* Relaxed: whoever collects while this thread stands still is seen through the stop. */
  uint64_t number = atomic_load_explicit(count, memory_order_relaxed);
  tarn_sweep_all(&world->store); /* rather than in the stop, which does the rest */
  while (!tarn_stop_begin(world, self)) {
    /* Another's stop has ended.  It began after this call; but it need not have been a collection,
     * nor one of this generation. */
    if (atomic_load_explicit(count, memory_order_relaxed) != number)
      return TARN_OK;
  }
  return run_stopped(world, self, generation, cause);
}

tarn_status tarn_collect(tarn_thread *self, int generation) {
  tarn_status status = tarn_thread_check_running(self);
  if (status != TARN_OK)
    return status;
  if (generation < 0 || generation > TARN_GENERATION_FULL)
    return TARN_EINVAL;
  if (self->tarn_holds)
    return TARN_EHELD;
  struct tarn_mutator *mutator = tarn_mutator_of(self);
  if (mutator->world->config.counting)
    return TARN_EKIND;
  status = tarn_collector_run(mutator->world, mutator, generation, TARN_CAUSE_ASKED);
  if (status != TARN_OK)
    return status;
  tarn_sweep_all(&mutator->world->store);
  if (generation == TARN_GENERATION_FULL)
    tarn_sweeper_give_back(mutator->world->collector);
  (void)tarn_release_run(mutator->world->collector, mutator, 0);
  return TARN_OK;
}

/* --- what the heap layer calls --------------------------------------------------------------- */

static bool may_collect(const tarn_world *world, const struct tarn_mutator *self) {
  return self->local.pub.tarn_holds == 0 &&
         atomic_load_explicit(&world->collect_disabled, memory_order_relaxed) == 0;
}

/* Of the world's kind. */
static tarn_status run_any(tarn_world *world, struct tarn_mutator *self, int generation,
                           tarn_cause cause) {
  return world->config.counting ? tarn_cycles_run(world, self, generation, cause)
                                : tarn_collector_run(world, self, generation, cause);
}

/* At a safepoint of `self`, in the middle of nothing. */
static void collect_if_due(struct tarn_mutator *self) {
  tarn_world *world = self->world;
  uint32_t *poll = &self->local.pub.tarn_poll;
  if (!may_collect(world, self))
    return; /* who was called stays so */
  if (__atomic_load_n(poll, __ATOMIC_RELAXED) & TARN_POLL_COLLECT)
    (void)__atomic_fetch_and(poll, ~(uint32_t)TARN_POLL_COLLECT, __ATOMIC_RELAXED);
  tarn_cause cause = tarn_pace_is_due(world->collector);
  if (cause != TARN_CAUSE_NONE)
    (void)run_any(world, self, TARN_GENERATION_ANY, cause);
}

static bool before_refill(struct tarn_local *local, size_t bytes) {
  struct tarn_mutator *self = tarn_mutator_of_local(local);
  tarn_status status = tarn_thread_check_running(&local->pub);
  (void)bytes;
  if (status != TARN_OK) {
    tarn_thread_fail(&local->pub, status);
    return false;
  }
  tarn_stop_poll(self);
  tarn_store_tend(&self->world->store); /* the bin is as a refill found it */
  tarn_sweeper_make(self->world->collector);
  if (!self->world->config.counting)
    collect_if_due(self);
  else if (tarn_pace_is_due(self->world->collector) !=
           TARN_CAUSE_NONE) /* it would call functions of the program here */
    (void)__atomic_fetch_or(&local->pub.tarn_poll, TARN_POLL_COLLECT, __ATOMIC_RELAXED);
  return true;
}

static bool exhausted(struct tarn_local *local, size_t bytes, unsigned tries) {
  struct tarn_mutator *self = tarn_mutator_of_local(local);
  tarn_world *world = self->world;
  /* Also where the option `collect` says no: that is about what comes by itself. */
  if (may_collect(world, self) && tarn_pace_exhausted(world->collector, bytes, tries) &&
      run_any(world, self, TARN_GENERATION_FULL,
              tarn_pace_failure(world, bytes) == TARN_ELIMIT ? TARN_CAUSE_HARD_LIMIT
                                                             : TARN_CAUSE_NO_MEMORY) == TARN_OK)
    return true;
  tarn_thread_fail(&local->pub, tarn_pace_failure(world, bytes));
  return false;
}

static void fail(struct tarn_local *local, tarn_status status) {
  tarn_thread_fail(&local->pub, status);
}

static const char *name_of_block(struct tarn_store *store, const struct tarn_place *place) {
  const tarn_type *type = *(const tarn_type *const *)place->block;
  if (tarn_map_kind(place->map) == TARN_KIND_RAW)
    return "raw";
  if (!type)
    return "free";
  return tarn_type_is_known(tarn_world_of_store(store), type) ? type->name : "damaged";
}

__attribute__((noreturn)) static void corrupt(struct tarn_store *store, const void *block,
                                              const char *what) {
  const struct tarn_collector *collector = tarn_world_of_store(store)->collector;
  struct tarn_place place;
  if (tarn_find(store->id, (uintptr_t)block, true, &place))
    tarn_os_say("tarn: block %p (%zu bytes, type %s, pool %p, offset %zu): %s", block, place.size,
                name_of_block(store, &place),
                (void *)(place.block & ~(uintptr_t)(TARN_UNIT_SIZE - 1)),
                (size_t)((uintptr_t)block - place.block), what);
  else
    tarn_os_say("tarn: block %p: %s (the address is not in a pool of the world)", block, what);
  if (collector && collector->events)
    collector->events->explain((uintptr_t)block, true);
  abort();
}

static void release(struct tarn_local *local, void *object) {
  tarn_world *world = tarn_mutator_of_local(local)->world;
  struct tarn_pending gone = {0};
  if (world->config.counting) {
    tarn_finalized_forget(world->collector, object);
    tarn_handles_cut(world->collector, object, &gone);
    tarn_handles_tell(world->collector, &local->pub, &gone);
  }
  tarn_type_release(local, object);
}

/* For world/ and heap/; watchers come with the collector. */
static void told(struct tarn_store *store, const struct tarn_told *told) {
  tarn_world *world = tarn_world_of_store(store);
  world->collector->events->told(world, told);
}

const struct tarn_hooks tarn_collector_heap_hooks = {.before_refill = before_refill,
                                                     .exhausted = exhausted,
                                                     .fail = fail,
                                                     .corrupt = corrupt,
                                                     .release = release,
                                                     .swept = tarn_census_swept,
                                                     .told = told};

/* --- what the world layer calls -------------------------------------------------------------- */

static void release_at_poll(struct tarn_mutator *self) {
  (void)tarn_release_run(self->world->collector, self, 0);
}

static void before_fork(tarn_world *world) {
  struct tarn_collector *collector = world->collector;
  if (!collector)
    return;
  tarn_finalizers_lock(collector);
  tarn_weak_tables_lock(collector);
  (void)pthread_mutex_lock(&collector->release.lock);
  tarn_markers_lock(collector);
  tarn_sweeper_lock(collector);
  tarn_finalized_lock(collector);
  tarn_handles_lock(collector);
  if (collector->events)
    collector->events->fork(world, TARN_FORK_BEFORE);
}

static void parent_fork(tarn_world *world) {
  struct tarn_collector *collector = world->collector;
  if (!collector)
    return;
  if (collector->events)
    collector->events->fork(world, TARN_FORK_PARENT);
  tarn_handles_unlock(collector);
  tarn_finalized_unlock(collector);
  tarn_sweeper_unlock(collector);
  tarn_markers_unlock(collector);
  (void)pthread_mutex_unlock(&collector->release.lock);
  tarn_weak_tables_unlock(collector);
  tarn_finalizers_unlock(collector);
}

static void after_fork(tarn_world *world) {
  struct tarn_collector *collector = world->collector;
  if (!collector)
    return;
  if (collector->events)
    collector->events->fork(world, TARN_FORK_CHILD);
  tarn_handles_unlock(collector);
  tarn_finalized_unlock(collector);
  tarn_cycles_after_fork(collector);
  tarn_sweeper_after_fork(collector);
  tarn_markers_after_fork(collector);
  tarn_release_after_fork(collector);
  tarn_weak_tables_unlock(collector);
  tarn_finalizers_after_fork(collector);
}

static bool runs_functions(const struct tarn_mutator *self) {
  return tarn_cycles_runs(self->world->collector, self);
}

const struct tarn_collect_hooks tarn_collector_hooks = {.release = release_at_poll,
                                                        .collect = collect_if_due,
                                                        .runs_functions = runs_functions,
                                                        .after_fork = after_fork,
                                                        .before_fork = before_fork,
                                                        .parent_fork = parent_fork};

/* --- birth and death of a collector ---------------------------------------------------------- */

tarn_status tarn_collector_start(tarn_world *world, const struct tarn_collect_events *events) {
  struct tarn_collector *collector = tarn_meta_alloc(&world->store.meta, sizeof *collector);
  if (!collector)
    return TARN_ENOMEM;
  collector->world = world;
  collector->events = events;
  world->collector = collector;
  (void)pthread_mutex_init(&collector->release.lock, NULL);
  tarn_generations_start(collector);
  tarn_cycles_start(collector);
  tarn_pace_start(collector);
  tarn_markers_start(collector);
  tarn_sweeper_start(collector);
  tarn_status status = tarn_marker_start(&collector->marker, world, world->config.mark_stack);
  if (status == TARN_OK)
    status = tarn_weak_start(world);
  if (status == TARN_OK)
    status = tarn_ephemeron_start(world);
  if (status == TARN_OK)
    status = tarn_weak_tables_start(world);
  if (status == TARN_OK)
    status = tarn_finalizer_start(world);
  return status;
}

void tarn_collector_end(tarn_world *world) {
  struct tarn_collector *collector = world->collector;
  if (!collector)
    return;
  tarn_sweeper_end(collector);
  tarn_finalizer_end(world);
  tarn_weak_tables_end(world);
  tarn_ephemeron_end(world);
  tarn_weak_end(world);
  tarn_markers_end(collector);
  tarn_cycles_end(collector);
  tarn_marker_end(&collector->marker);
  (void)pthread_mutex_destroy(&collector->release.lock);
  (void)pthread_mutex_destroy(&collector->sweeper.lock);
  world->collector = NULL;
}
