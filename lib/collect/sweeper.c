/* SPDX-License-Identifier: MIT */
/*
 * collect/sweeper.c: see collect/sweeper.h.
 */
#include "collect/sweeper.h"
#include "collect/collector.h"
#include "heap/sweep.h"

#define MADE_AT ((size_t)4 << 20)    /* bytes held; below, there is little to sweep */
#define RETRY ((uint32_t)10000)      /* ticks from a failure to make a thread to the next try */
#define IDLE_LEAST ((size_t)1 << 20) /* bytes since the last full collection, */
#define IDLE_PART 8u                 /* and of what lives, for an idle one */

enum { NONE, THERE, FAILED };

static void set_state(struct tarn_sweeper *sweeper, uint8_t state) {
  __atomic_store_n(&sweeper->state, state, __ATOMIC_RELAXED);
}

/* --- work ------------------------------------------------------------------------------------ */

/* Relaxed: written under the lock at the end of the world, which then rings. */
static bool is_ended(const struct tarn_sweeper *sweeper) {
  return __atomic_load_n(&sweeper->ended, __ATOMIC_RELAXED);
}

static void sweep_ahead(struct tarn_collector *collector) {
  struct tarn_store *store = &collector->world->store;
  bool more = tarn_sweep_left(store) != 0, some = more;
  while (more && !is_ended(&collector->sweeper)) {
    tarn_stop_wait_over(collector->world); /* a requester waits for visits, and must get its turn */
    tarn_store_visit(store);
    more = tarn_sweep_some(store, SIZE_MAX, 1);
    tarn_store_leave(store);
  }
  if (some && tarn_sweep_left(store) == 0)
    tarn_sweeper_give_back(collector);
}

void tarn_sweeper_give_back(struct tarn_collector *collector) {
  (void)tarn_store_purge(&collector->world->store,
                         __atomic_load_n(&collector->sweeper.keep, __ATOMIC_RELAXED));
}

/* --- idle collections ------------------------------------------------------------------------ */

static uint64_t allocated(const struct tarn_collector *collector) {
  return atomic_load_explicit(&collector->world->store.allocated, memory_order_relaxed);
}

/* Was enough allocated since the last full collection that another may find something? */
static bool is_worth_while(const struct tarn_collector *collector, uint64_t now) {
  uint64_t since = now - __atomic_load_n(&collector->sweeper.full_at, __ATOMIC_RELAXED);
  uint64_t live = atomic_load_explicit(&collector->live_bytes, memory_order_relaxed);
  return since >= IDLE_LEAST && since >= live / IDLE_PART;
}

/* A period has passed; `*seen` is what had been allocated when it began. */
static void look_for_idleness(struct tarn_collector *collector, uint64_t *seen) {
  uint64_t now = allocated(collector), before = *seen;
  *seen = now;
  if (now == before && is_worth_while(collector, now) &&
      tarn_collector_run_idle(collector->world, TARN_CAUSE_IDLE))
    sweep_ahead(collector);
}

/* --- the thread ------------------------------------------------------------------------------ */

static void *run(void *data) {
  struct tarn_collector *collector = data;
  struct tarn_sweeper *sweeper = &collector->sweeper;
  uint64_t seen = 0;
  tarn_os_set_thread_name("tarn-sweeper");
  while (!is_ended(sweeper)) {
    /* Acquire: pairs with the release of who rings. */
    uint32_t bell = __atomic_load_n(&sweeper->bell, __ATOMIC_ACQUIRE);
    if (sweeper->sweeps)
      sweep_ahead(collector);
    uint64_t slept_at = tarn_os_now();
    tarn_os_wait(&sweeper->bell, bell, sweeper->idle_ns);
    bool rung = __atomic_load_n(&sweeper->bell, __ATOMIC_RELAXED) != bell;
    if (rung || is_ended(sweeper))
      seen = 0; /* something happens */
    else if (sweeper->idle_ns && tarn_os_now() - slept_at >= sweeper->idle_ns)
      look_for_idleness(collector, &seen);
  }
  /* Release, for tarn_sweeper_end; the last touch of the world.  Its memory may be gone when the
   * sleepers are woken: then nobody is, or somebody who copes with that. */
  uint32_t *threads = &sweeper->threads;
  (void)__atomic_fetch_sub(threads, 1, __ATOMIC_RELEASE);
  tarn_os_wake_all(threads);
  return NULL;
}

static void ring(struct tarn_sweeper *sweeper) {
  (void)__atomic_fetch_add(&sweeper->bell, 1, __ATOMIC_RELEASE);
  tarn_os_wake_one(&sweeper->bell);
}

void tarn_sweeper_call(struct tarn_collector *collector) {
  if (__atomic_load_n(&collector->sweeper.state, __ATOMIC_RELAXED) == THERE)
    ring(&collector->sweeper);
}

/* --- making and ending it -------------------------------------------------------------------- */

/* Under the lock. */
static bool may_start(const struct tarn_sweeper *sweeper) {
  return !sweeper->ended &&
         (sweeper->state == NONE ||
          (sweeper->state == FAILED && tarn_tick_passed(sweeper->retry_at, tarn_os_ticks())));
}

static __attribute__((noinline)) void make(struct tarn_collector *collector) {
  struct tarn_sweeper *sweeper = &collector->sweeper;
  (void)pthread_mutex_lock(&sweeper->lock);
  bool starts = may_start(sweeper);
  if (starts) {
    set_state(sweeper, THERE);
    (void)__atomic_fetch_add(&sweeper->threads, 1, __ATOMIC_RELAXED);
  }
  (void)pthread_mutex_unlock(&sweeper->lock);
  if (!starts || tarn_os_start_thread(run, collector))
    return;
  (void)pthread_mutex_lock(&sweeper->lock);
  sweeper->retry_at = tarn_os_ticks() + RETRY;
  set_state(sweeper, FAILED);
  (void)__atomic_fetch_sub(&sweeper->threads, 1, __ATOMIC_RELEASE); /* as at the end of run */
  (void)pthread_mutex_unlock(&sweeper->lock);
}

void tarn_sweeper_make(struct tarn_collector *collector) {
  const struct tarn_sweeper *sweeper = &collector->sweeper;
  const struct tarn_store *store = &collector->world->store;
  if (__atomic_load_n(&sweeper->state, __ATOMIC_RELAXED) != THERE &&
      atomic_load_explicit(&store->bytes, memory_order_relaxed) >= MADE_AT &&
      (sweeper->sweeps || sweeper->idle_ns))
    make(collector);
}

void tarn_sweeper_start(struct tarn_collector *collector) {
  const struct tarn_config *config = &collector->world->config;
  struct tarn_sweeper *sweeper = &collector->sweeper;
  (void)pthread_mutex_init(&sweeper->lock, NULL);
  sweeper->sweeps = config->sweeper && config->detected_cpus > 1;
  sweeper->sweeps = sweeper->sweeps && !config->counting;
  sweeper->idle_ns = config->collect && !config->counting ? config->idle_collect_ns : 0;
}

void tarn_sweeper_end(struct tarn_collector *collector) {
  struct tarn_sweeper *sweeper = &collector->sweeper;
  uint32_t threads;
  (void)pthread_mutex_lock(&sweeper->lock);
  __atomic_store_n(&sweeper->ended, true, __ATOMIC_RELAXED);
  (void)pthread_mutex_unlock(&sweeper->lock);
  ring(sweeper);
  /* Acquire: pairs with the release at the end of run. */
  while ((threads = __atomic_load_n(&sweeper->threads, __ATOMIC_ACQUIRE)) != 0)
    tarn_os_wait(&sweeper->threads, threads, 1000000);
}

/* --- fork ------------------------------------------------------------------------------------ */

void tarn_sweeper_lock(struct tarn_collector *collector) {
  (void)pthread_mutex_lock(&collector->sweeper.lock);
}
void tarn_sweeper_unlock(struct tarn_collector *collector) {
  (void)pthread_mutex_unlock(&collector->sweeper.lock);
}

void tarn_sweeper_after_fork(struct tarn_collector *collector) {
  struct tarn_sweeper *sweeper = &collector->sweeper;
  set_state(sweeper, NONE);
  __atomic_store_n(&sweeper->threads, 0, __ATOMIC_RELAXED);
#if TARN_TSAN
  sweeper->sweeps = false; /* it ends children of threaded processes that make threads */
  sweeper->idle_ns = 0;
#endif
  tarn_sweeper_unlock(collector);
}
