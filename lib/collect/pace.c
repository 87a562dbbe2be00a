/* SPDX-License-Identifier: MIT */
/*
 * collect/pace.c: see collect/pace.h.
 *
 * Relaxed throughout, for all these are figures and nothing hangs on them, with one exception.  A
 * thread that takes external bytes off changes `external`, then looks at `external_low`; the
 * requester of a stop sets `external_low`, then looks at `external` again.  The threads need not be
 * stopped: they may be blocked, or not attached.  With all four sequentially consistent one of the
 * two sees the other, and `external_low` does not stay above.
 */
#include "collect/collector.h"

#define TRIGGER_LEAST ((uint64_t)1 << 20) /* near a limit: never collect for less than this */
#define EXTERNAL_MOST ((uint64_t)1 << 60) /* leaves room for percentages of it */
#define FUTILE_PART 50u /* of the heap: a collection that finds no more is futile */
#define FUTILE_MOST 4u  /* two allocations that fail, with two collections each */
#define BACKOFF_MOST 4u /* doublings */

static uint64_t look(const _Atomic uint64_t *figure) {
  return atomic_load_explicit(figure, memory_order_relaxed);
}
static void set(_Atomic uint64_t *figure, uint64_t value) {
  atomic_store_explicit(figure, value, memory_order_relaxed);
}
static void count(_Atomic uint64_t *figure) {
  (void)atomic_fetch_add_explicit(figure, 1, memory_order_relaxed);
}

/* --- the trigger ----------------------------------------------------------------------------- */

static uint64_t larger(uint64_t a, uint64_t b) { return a > b ? a : b; }
static uint64_t smaller(uint64_t a, uint64_t b) { return a < b ? a : b; }

/* Without limits. */
static uint64_t usual_trigger(const tarn_world *world, uint64_t live) {
  return larger(live / 100 * world->config.growth, world->config.min_heap) *
         tarn_cycles_patience(world->collector, false);
}

static uint64_t soft_limit_of(const struct tarn_collector *collector) {
  return atomic_load_explicit(&collector->world->soft_limit, memory_order_relaxed);
}

/* What the soft limit asks for; UINT64_MAX if it is far away. */
static uint64_t tight_trigger(const struct tarn_collector *collector, uint64_t live) {
  uint64_t soft = soft_limit_of(collector);
  if (soft == 0)
    return UINT64_MAX;
  uint64_t room = live < soft ? soft - live : 0;
  return larger(room, larger(live / 8, TRIGGER_LEAST));
}

static uint64_t trigger_for(const struct tarn_collector *collector, uint64_t live) {
  uint64_t tight = tight_trigger(collector, live);
  return smaller(usual_trigger(collector->world, live),
                 larger(tight, look(&collector->pace.affordable)));
}

/* Does the limit ask for collections that take too much of the time? */
static bool is_stretched(const struct tarn_collector *collector, uint64_t live) {
  return tight_trigger(collector, live) < trigger_for(collector, live);
}

uint64_t tarn_pace_trigger_for(const struct tarn_collector *collector, uint64_t live) {
  return trigger_for(collector, live);
}

uint64_t tarn_pace_trigger(const struct tarn_collector *collector) {
  return trigger_for(collector, look(&collector->pace.live));
}

/* --- debt ------------------------------------------------------------------------------------ */

static uint64_t external_growth(const struct tarn_pace *pace) {
  uint64_t low = look(&pace->external_low), now = look(&pace->external);
  return now > low ? now - low : 0;
}

static uint64_t debt_of(const struct tarn_collector *collector) {
  return look(&collector->world->store.debt) + external_growth(&collector->pace);
}

static uint64_t live_external(const struct tarn_collector *collector) {
  const struct tarn_pace *pace = &collector->pace;
  uint64_t low = look(&pace->external_low);
  bool pending = atomic_load_explicit(&collector->release.pending, memory_order_relaxed) != 0;
  return pending ? smaller(low, look(&pace->external_before)) : low;
}

static uint64_t live_of(const struct tarn_collector *collector) {
  return look(&collector->pace.live) + live_external(collector);
}

static void work_out_due(struct tarn_collector *collector) {
  uint64_t trigger = trigger_for(collector, live_of(collector));
  set(&collector->pace.due_soft, soft_limit_of(collector));
  set(&collector->pace.due, tarn_generation_due(collector, trigger));
}

static bool is_reached(struct tarn_collector *collector) {
  if (TARN_UNLIKELY(soft_limit_of(collector) != look(&collector->pace.due_soft)))
    work_out_due(collector);
  return debt_of(collector) >= look(&collector->pace.due);
}

static bool is_switched_off(const tarn_world *world) {
  return !world->config.collect ||
         atomic_load_explicit(&world->collect_disabled, memory_order_relaxed) != 0;
}

#if TARN_ZEAL
static bool is_zealous(struct tarn_collector *collector) {
  uint64_t every = collector->world->config.zeal;
  if (!every ||
      atomic_fetch_add_explicit(&collector->pace.zeal, 1, memory_order_relaxed) + 1 < every)
    return false;
  set(&collector->pace.zeal, 0);
  return true;
}
#else
static bool is_zealous(struct tarn_collector *collector) {
  (void)collector;
  return false;
}
#endif

/* Why is the trigger reached?  More may live by now than `due` was worked out from: that alone does
 * not make it one of young ones. */
static tarn_cause cause_of(const struct tarn_collector *collector) {
  const struct tarn_pace *pace = &collector->pace;
  uint64_t live = live_of(collector), trigger = trigger_for(collector, live);
  if (collector->generations.on && look(&pace->due) < trigger)
    return TARN_CAUSE_YOUNG;
  if (trigger < usual_trigger(collector->world, live))
    return TARN_CAUSE_SOFT_LIMIT;
  return external_growth(pace) > look(&collector->world->store.debt) ? TARN_CAUSE_EXTERNAL
                                                                     : TARN_CAUSE_ALLOCATION;
}

tarn_cause tarn_pace_is_due(struct tarn_collector *collector) {
  struct tarn_pace *pace = &collector->pace;
  if (is_switched_off(collector->world))
    return TARN_CAUSE_NONE;
  if (is_zealous(collector))
    return TARN_CAUSE_ZEAL;
  if (is_reached(collector))
    return cause_of(collector);
  /* External bytes went before anybody came: who adds some calls again. */
  if (atomic_load_explicit(&pace->called, memory_order_relaxed))
    atomic_store_explicit(&pace->called, false, memory_order_relaxed);
  return TARN_CAUSE_NONE;
}

/* --- external bytes -------------------------------------------------------------------------- */

/* Small wrappers reach the slow path after many, which may hold gigabytes: so threads are called.
 */
static void call_if_due(struct tarn_collector *collector) {
  struct tarn_pace *pace = &collector->pace;
  if (atomic_load_explicit(&pace->called, memory_order_relaxed) || !is_reached(collector) ||
      is_switched_off(collector->world))
    return;
  if (!atomic_exchange_explicit(&pace->called, true, memory_order_relaxed))
    tarn_stop_ask(collector->world, TARN_POLL_COLLECT);
}

/* Relaxed: an estimate.  Who comes between a full collection's two lines loses, until the next
 * bytes go. */
static void note_floor(struct tarn_pace *pace, uint64_t now) {
  uint64_t floor = look(&pace->external_floor);
  while (now < floor &&
         !atomic_compare_exchange_weak_explicit(&pace->external_floor, &floor, now,
                                                memory_order_relaxed, memory_order_relaxed)) {
  }
}

/* Is the lowest now, if there was none below it since the last collection. */
static void note_low(struct tarn_pace *pace, uint64_t now) {
  uint64_t low = atomic_load_explicit(&pace->external_low, memory_order_seq_cst);
  while (now < low &&
         !atomic_compare_exchange_weak_explicit(&pace->external_low, &low, now,
                                                memory_order_seq_cst, memory_order_seq_cst)) {
  }
}

/* `before` and `bytes` together; what is impossible is cut off. */
static tarn_status add(uint64_t before, ptrdiff_t bytes, uint64_t *after) {
  uint64_t size = bytes < 0 ? 0 - (uint64_t)bytes : (uint64_t)bytes;
  tarn_status status = TARN_OK;
  if (bytes < 0) {
    status = size > before ? TARN_EUNBALANCED : TARN_OK;
    *after = status == TARN_OK ? before - size : 0;
  } else {
    status = size > EXTERNAL_MOST - before ? TARN_EOVERFLOW : TARN_OK;
    *after = status == TARN_OK ? before + size : EXTERNAL_MOST;
  }
  return status;
}

tarn_status tarn_external_adjust(tarn_world *world, ptrdiff_t bytes) {
  if (!world)
    return TARN_EINVAL;
  struct tarn_collector *collector = world->collector;
  struct tarn_pace *pace = &collector->pace;
  uint64_t before = look(&pace->external), after;
  tarn_status status;
  do {
    status = add(before, bytes, &after);
  } while (!atomic_compare_exchange_weak_explicit(&pace->external, &before, after,
                                                  memory_order_seq_cst, memory_order_relaxed));
  if (bytes < 0) {
    note_low(pace, after);
    note_floor(pace, after);
    work_out_due(collector);
  } else {
    call_if_due(collector);
  }
#if TARN_CHECKING
  if (status != TARN_OK)
    tarn_os_say("tarn: tarn_external_adjust: %lld bytes more, where there are %llu",
                (long long)bytes, (unsigned long long)before);
#endif
  return status;
}

/* --- after a collection ---------------------------------------------------------------------- */

/* A stop may be asked for before the one before it has ended. */
static uint64_t time_between(uint64_t ended_at, uint64_t asked_at) {
  return asked_at > ended_at ? asked_at - ended_at : 0;
}

/* What the world's time went to since the full collection before, and what may be afforded from now
 * on. */
static void note_time(struct tarn_collector *collector, uint64_t now) {
  struct tarn_pace *pace = &collector->pace;
  uint64_t asked_at = collector->world->stop.asked_at;
  double share = (double)collector->world->config.soft_share;
  pace->ran_since += time_between(pace->ended_at, asked_at);
  pace->grown_since += debt_of(collector);
  pace->ended_at = now;
  if (collector->generation != TARN_GENERATION_FULL)
    return;
  pace->stopped_ns = pace->stopped_ns * 3 / 4 + (double)(now - asked_at);
  pace->ran_ns = pace->ran_ns * 3 / 4 + (double)pace->ran_since;
  pace->grown = pace->grown * 3 / 4 + (double)pace->grown_since;
  pace->ran_since = pace->grown_since = 0;
  /* The sums are of about four collections. */
  double speed = pace->grown / (pace->ran_ns + 1);
  double bytes = speed * (pace->stopped_ns / 4) * (100 - share) / share;
  set(&pace->affordable, bytes < (double)EXTERNAL_MOST ? (uint64_t)bytes : EXTERNAL_MOST);
}

/*
 * Was the collection put off because of its cost?  That is told once, and again when what lives has
 * been clearly below the limit meanwhile: measured times are never quite the same.
 */
static void judge_soft(struct tarn_collector *collector, struct tarn_collect_report *report,
                       bool stretched) {
  struct tarn_pace *pace = &collector->pace;
  uint64_t soft = soft_limit_of(collector);
  if (stretched && !tarn_report_asked(report) && !pace->pressed) {
    pace->pressed = true;
    report->news |= TARN_NEWS_SOFT;
    count(&pace->soft_given_up);
  } else if (!stretched && look(&pace->live) < soft / 8 * 7) {
    pace->pressed = false;
  }
}

/* Of the running collection; or the next one. */
static uint64_t next_number(const struct tarn_collector *collector) {
  return look(&collector->collections) + 1;
}

static void judge_hard(struct tarn_collector *collector, struct tarn_collect_report *report,
                       uint64_t now) {
  struct tarn_pace *pace = &collector->pace;
  uint64_t took = now - collector->world->stop.asked_at;
  bool at_limit = look(&pace->wanted) == next_number(collector);
  uint32_t futile = atomic_load_explicit(&pace->futile, memory_order_relaxed);
  if (at_limit)
    count(&pace->at_limit);
  if (report->is.found_bytes > report->is.heap_before / FUTILE_PART)
    futile = 0;
  else if (at_limit && futile < FUTILE_MOST + BACKOFF_MOST)
    futile++;
  if (at_limit && futile >= FUTILE_MOST) {
    set(&pace->retry_at, now + (took << (futile - FUTILE_MOST)));
    report->news |= futile == FUTILE_MOST ? TARN_NEWS_HARD : 0;
  }
  atomic_store_explicit(&pace->futile, futile, memory_order_relaxed);
}

void tarn_pace_collected(struct tarn_collector *collector, struct tarn_collect_report *report) {
  struct tarn_pace *pace = &collector->pace;
  uint64_t now = tarn_os_now(), asked_at = collector->world->stop.asked_at;
  struct tarn_generation_round round = {.before = live_of(collector),
                                        .allocated = debt_of(collector),
                                        .ran_ns = time_between(pace->ended_at, asked_at),
                                        .stopped_ns = now - asked_at,
                                        .asked = tarn_report_asked(report)};
  bool stretched = is_stretched(collector, live_of(collector)); /* as it was until now */
  note_time(collector, now);
  set(&pace->live, look(&collector->live_bytes));
  set(&collector->world->store.debt, 0);
  set(&pace->external_before, look(&pace->external_low));
  atomic_store_explicit(&pace->external_low, look(&pace->external), memory_order_seq_cst);
  note_low(pace, atomic_load_explicit(&pace->external, memory_order_seq_cst));
  if (collector->generation == TARN_GENERATION_FULL)
    set(&pace->external_floor, look(&pace->external));
  atomic_store_explicit(&pace->called, false, memory_order_relaxed);
  round.after = live_of(collector);
  round.heap = look(&pace->live);
  round.full_due = trigger_for(collector, round.after);
  tarn_generation_collected(collector, &round);
  work_out_due(collector);
  report->trigger = round.full_due;
  report->live_external = live_external(collector);
  judge_soft(collector, report, stretched);
  judge_hard(collector, report, now);
}

/* --- at the hard limit ----------------------------------------------------------------------- */

/* What a block of `bytes` takes of the limit, if there is no room for it elsewhere. */
static size_t charge_of(size_t bytes) {
  return bytes > TARN_LARGE_LIMIT ? tarn_good_size(bytes) : TARN_UNIT_SIZE;
}

/* Larger than the limit, with nobody who might raise it. */
static bool never_fits(tarn_world *world, size_t bytes) {
  if (charge_of(bytes) <= atomic_load_explicit(&world->store.limit, memory_order_relaxed))
    return false;
  (void)pthread_mutex_lock(&world->near_lock);
  bool never = !world->near_limit;
  (void)pthread_mutex_unlock(&world->near_lock);
  return never;
}

bool tarn_pace_exhausted(struct tarn_collector *collector, size_t bytes, unsigned tries) {
  struct tarn_pace *pace = &collector->pace;
  /* Twice: the first may have joined another's that gave its memory to others. */
  if (tries >= 2 || never_fits(collector->world, bytes))
    return false;
  if (atomic_load_explicit(&pace->futile, memory_order_relaxed) >= FUTILE_MOST &&
      tarn_os_now() < look(&pace->retry_at)) {
    if (tries == 0)
      count(&pace->refused);
    return false;
  }
  /* If another collection ends just now, the next one is not known as one at the limit: so what. */
  set(&pace->wanted, next_number(collector));
  return true;
}

tarn_status tarn_pace_failure(const tarn_world *world, size_t bytes) {
  size_t held = atomic_load_explicit(&world->store.bytes, memory_order_relaxed);
  size_t limit = atomic_load_explicit(&world->store.limit, memory_order_relaxed);
  size_t charge = charge_of(bytes);
  bool limited = limit != SIZE_MAX && (charge > limit || held > limit - charge);
  return limited ? TARN_ELIMIT : TARN_ENOMEM;
}

/* --- telling the program --------------------------------------------------------------------- */

static void tell_near(tarn_world *world, size_t limit, uint64_t in_use) {
  if (tarn_is_told(&world->store, TARN_TOLD_LIMIT))
    tarn_tell(&world->store,
              (struct tarn_told){.kind = TARN_TOLD_LIMIT, .bytes = (size_t)in_use, .total = limit});
}

/* The callback may raise the limit that it is told of. */
static void tell(struct tarn_collector *collector, _Atomic size_t *which, size_t limit,
                 uint64_t in_use) {
  tarn_world *world = collector->world;
  struct tarn_pace *pace = &collector->pace;
  (void)pthread_mutex_lock(&world->near_lock);
  tarn_near_limit_fn callback = world->near_limit;
  void *data = world->near_limit_data;
  (void)pthread_mutex_unlock(&world->near_lock);
  if (!atomic_load_explicit(&pace->telling, memory_order_relaxed))
    tell_near(world, limit, in_use);
  /* It may allocate, and so collect: it is not called inside itself.  Acquire and release: one call
   * sees what the last one did. */
  if (!callback || atomic_exchange_explicit(&pace->telling, true, memory_order_acquire))
    return;
  size_t raised = callback(world, limit, (size_t)in_use, data);
  atomic_store_explicit(&pace->telling, false, memory_order_release);
  if (raised > limit)
    atomic_compare_exchange_strong_explicit(which, &limit, raised, memory_order_relaxed,
                                            memory_order_relaxed);
}

void tarn_pace_tell(struct tarn_collector *collector, const struct tarn_collect_report *report) {
  tarn_world *world = collector->world;
  size_t hard = atomic_load_explicit(&world->store.limit, memory_order_relaxed);
  size_t soft = atomic_load_explicit(&world->soft_limit, memory_order_relaxed);
  if (report->is.generation == TARN_GENERATION_FULL && hard != SIZE_MAX &&
      report->is.live_bytes >= hard / 100 * world->config.near_limit)
    tell(collector, &world->store.limit, hard, report->is.live_bytes);
  if ((report->news & TARN_NEWS_SOFT) && soft != 0)
    tell(collector, &world->soft_limit, soft, report->is.live_bytes + live_external(collector));
}

/* --- start ----------------------------------------------------------------------------------- */

void tarn_pace_start(struct tarn_collector *collector) {
  collector->pace.ended_at = tarn_os_now();
  work_out_due(collector);
}
