/* SPDX-License-Identifier: MIT */
/*
 * collect/markers.c: see collect/markers.h.
 */
#include "collect/collector.h"
#include <string.h>

/* Objects that the collecting thread scans before it looks for help: some 20 us.  Waking a helper
 * takes as long. */
#define FIRST_SHARE 2048u
/* Objects between two looks at `hungry`, which other processors write. */
#define NEXT_SHARE 64u
/* A stack with less is not shared. */
#define SHARE_LEAST ((size_t)4)
/* Without the option: more help little in most heaps, and a process may have many worlds. */
#define MARKERS_AUTOMATIC 8u
/* Looks at the parcels before a helper sleeps: some 30 us, since the next one comes soon or not at
 * all. */
#define SPINS 1000u
#define MUCH ((uint64_t)32 << 20) /* bytes of a heap whose full collection wants helpers */

static struct tarn_markers *markers_of(const struct tarn_marker *marker) {
  return &marker->world->collector->markers;
}

static inline void relax(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ __volatile__("yield");
#endif
}

/* --- under the lock -------------------------------------------------------------------------- */

static void lock(struct tarn_markers *markers) { (void)pthread_mutex_lock(&markers->lock); }
static void unlock(struct tarn_markers *markers) { (void)pthread_mutex_unlock(&markers->lock); }

static void add_hungry(struct tarn_markers *markers, int change) {
  uint32_t hungry = __atomic_load_n(&markers->hungry, __ATOMIC_RELAXED);
  __atomic_store_n(&markers->hungry, hungry + (uint32_t)change, __ATOMIC_RELAXED);
}

static void add_working(struct tarn_markers *markers, int change) {
  __atomic_store_n(&markers->working, markers->working + (unsigned)change, __ATOMIC_RELAXED);
}

/* The sleepers look at everything again under the lock. */
static void wake(uint32_t *word, bool all) {
  (void)__atomic_fetch_add(word, 1, __ATOMIC_RELAXED);
  if (all)
    tarn_os_wake_all(word);
  else
    tarn_os_wake_one(word);
}

static void wake_collecting(struct tarn_markers *markers) {
  if (markers->waits)
    wake(&markers->over, false);
}

/* Somebody who is hungry has a parcel now. */
static void wake_hungry(struct tarn_markers *markers) {
  if (markers->asleep)
    wake(&markers->serial, false);
  else
    wake_collecting(markers); /* or one looks at the parcels without sleeping */
}

static struct tarn_parcel *take_parcel(struct tarn_markers *markers) {
  struct tarn_parcel *parcel = markers->full;
  if (parcel) {
    __atomic_store_n(&markers->full, parcel->next, __ATOMIC_RELAXED);
    add_working(markers, 1);
  }
  return parcel;
}

static void stop_working(struct tarn_markers *markers) {
  add_working(markers, -1);
  add_hungry(markers, 1);
}

static bool is_over(const struct tarn_markers *markers) {
  return markers->working == 0 && !markers->full;
}

/* --- making parcels -------------------------------------------------------------------------- */

/* NULL: there is no memory, and nothing is shared. */
static struct tarn_parcel *empty_parcel(struct tarn_markers *markers) {
  struct tarn_parcel *parcel = markers->empty;
  if (!parcel)
    return tarn_os_map(sizeof *parcel);
  markers->empty = parcel->next;
  return parcel;
}

void tarn_markers_share(struct tarn_marker *marker) {
  struct tarn_markers *markers = markers_of(marker);
  marker->until_share = NEXT_SHARE;
  if (marker->depth - marker->low < SHARE_LEAST)
    return;
  if (__atomic_load_n(&markers->hungry, __ATOMIC_RELAXED) == 0) {
    if (!marker->helps && __atomic_load_n(&markers->threads, __ATOMIC_RELAXED) < markers->wanted)
      __atomic_store_n(&markers->short_of_helpers, true, __ATOMIC_RELAXED);
    return;
  }
  TARN_DELAY();
  lock(markers);
  struct tarn_parcel *parcel = markers->hungry ? empty_parcel(markers) : NULL;
  if (parcel) {
    parcel->count = tarn_mark_give(marker, parcel->words, TARN_PARCEL_WORDS);
    parcel->next = markers->full;
    __atomic_store_n(&markers->full, parcel, __ATOMIC_RELAXED);
    add_hungry(markers, -1);
    wake_hungry(markers);
  }
  unlock(markers);
}

/* --- working --------------------------------------------------------------------------------- */

/* With a parcel in hand, without the lock; takes it, and gives up what the marker had to do. */
static void work(struct tarn_markers *markers, struct tarn_marker *marker,
                 struct tarn_parcel *parcel) {
  tarn_mark_take(marker, parcel->words, parcel->count);
  marker->parcels++;
  tarn_mark_drain_stack(marker);
  TARN_DELAY();
  lock(markers);
  parcel->next = markers->empty;
  markers->empty = parcel;
  stop_working(markers);
}

/* Under the lock; lets it go for a while.  `ends`: it is also worth coming back when nobody works.
 */
static void spin(struct tarn_markers *markers, bool ends) {
  unlock(markers);
  for (unsigned i = 0; i < SPINS && !__atomic_load_n(&markers->full, __ATOMIC_RELAXED) &&
                       !(ends && __atomic_load_n(&markers->working, __ATOMIC_RELAXED) == 0);
       i++)
    relax();
  lock(markers);
}

/* Under the lock, with nothing to take: lets it go, and comes back when there may be something. */
static void rest(struct tarn_markers *markers) {
  spin(markers, false);
  if (markers->full || markers->ends)
    return;
  uint32_t seen = __atomic_load_n(&markers->serial, __ATOMIC_RELAXED);
  markers->asleep++;
  unlock(markers);
  tarn_os_wait(&markers->serial, seen, 0);
  lock(markers);
  markers->asleep--;
}

/* The collecting thread has set its own up, and somebody made this parcel since. */
static void begin_work(struct tarn_marker *marker) {
  const struct tarn_marker *first = &marker->world->collector->marker;
  marker->epoch = first->epoch;
  marker->mark = first->mark;
  marker->previous = first->previous;
  marker->trusts = first->trusts;
  marker->tag_mask = first->tag_mask;
  marker->until_share = NEXT_SHARE;
}

static void *help(void *data) {
  struct tarn_marker *marker = data;
  struct tarn_markers *markers = markers_of(marker);
  tarn_os_set_thread_name("tarn-marker");
  lock(markers);
  while (!markers->ends) {
    struct tarn_parcel *parcel = take_parcel(markers);
    if (!parcel) {
      rest(markers);
      continue;
    }
    unlock(markers);
    TARN_DELAY();
    begin_work(marker);
    work(markers, marker, parcel);
    if (is_over(markers))
      wake_collecting(markers);
  }
  unlock(markers);
  /* Release, for tarn_markers_end; the last touch of the world.  Its memory may be gone when the
   * sleepers are woken: then nobody is, or somebody who copes with that. */
  uint32_t *threads = &markers->threads;
  (void)__atomic_fetch_sub(threads, 1, __ATOMIC_RELEASE);
  tarn_os_wake_all(threads);
  return NULL;
}

/* --- the collecting thread ------------------------------------------------------------------- */

void tarn_markers_begin(struct tarn_collector *collector) {
  struct tarn_markers *markers = &collector->markers;
  collector->marker.until_share = markers->wanted ? FIRST_SHARE : UINT32_MAX;
  if (!markers->wanted)
    return;
  lock(markers);
  add_working(markers, 1);
  unlock(markers);
}

/* What helpers found, the lock held and nobody working. */
static void gather(struct tarn_collector *collector) {
  struct tarn_markers *markers = &collector->markers;
  for (unsigned i = 0; markers->helpers && i < markers->wanted; i++) {
    struct tarn_marker *helper = &markers->helpers[i];
    collector->marker.overflow |= helper->overflow;
    collector->marker.overflows += helper->overflows;
    collector->marker.marked += helper->marked;
    collector->marker.marked_bytes += helper->marked_bytes;
    collector->marker.parcels += helper->parcels;
    if (collector->report && helper->marked) {
      collector->report->markers |= 1u << (i < 31 ? i : 31);
      collector->report->marked_helpers += helper->marked;
    }
    helper->overflow = false;
    helper->overflows = helper->marked = helper->marked_bytes = helper->parcels = 0;
  }
}

/* Under the lock, with nothing to take while others work. */
static void wait_for_helpers(struct tarn_markers *markers) {
  spin(markers, true);
  if (markers->full || is_over(markers))
    return;
  uint32_t seen = __atomic_load_n(&markers->over, __ATOMIC_RELAXED);
  markers->waits = true;
  unlock(markers);
  tarn_os_wait(&markers->over, seen, 0);
  lock(markers);
  markers->waits = false;
}

void tarn_markers_finish(struct tarn_collector *collector) {
  struct tarn_markers *markers = &collector->markers;
  if (!markers->wanted)
    return;
  lock(markers);
  stop_working(markers);
  while (!is_over(markers)) {
    struct tarn_parcel *parcel = take_parcel(markers);
    if (!parcel) {
      wait_for_helpers(markers);
      continue;
    }
    unlock(markers);
    collector->marker.until_share = NEXT_SHARE;
    work(markers, &collector->marker, parcel);
  }
  add_hungry(markers, -1); /* it wants no more */
  gather(collector);
  unlock(markers);
}

/* --- helpers --------------------------------------------------------------------------------- */

/* Under the lock. */
static bool make_records(struct tarn_collector *collector) {
  struct tarn_markers *markers = &collector->markers;
  tarn_world *world = collector->world;
  if (markers->helpers)
    return true;
  struct tarn_marker *helpers =
      tarn_meta_alloc(&world->store.meta, markers->wanted * sizeof *helpers);
  if (!helpers)
    return false;
  for (unsigned i = 0; i < markers->wanted; i++) {
    (void)tarn_marker_start(&helpers[i], world, world->config.mark_stack);
    helpers[i].helps = true;
  }
  markers->helpers = helpers;
  return true;
}

/* Under the lock.  The next helper's record, its thread counted; NULL: there are enough. */
static struct tarn_marker *announce(struct tarn_collector *collector) {
  struct tarn_markers *markers = &collector->markers;
  if (markers->threads >= markers->wanted || !make_records(collector))
    return NULL;
  add_hungry(markers, 1);
  uint32_t number = __atomic_fetch_add(&markers->threads, 1, __ATOMIC_RELAXED);
  return &markers->helpers[number];
}

/* The same when the thread could not be made.  The next collection that has work for it asks again.
 */
static void take_back(struct tarn_markers *markers) {
  add_hungry(markers, -1);
  (void)__atomic_fetch_sub(&markers->threads, 1, __ATOMIC_RELEASE);
}

void tarn_markers_tend(struct tarn_collector *collector) {
  struct tarn_markers *markers = &collector->markers;
  struct tarn_marker *marker;
  if (!__atomic_load_n(&markers->short_of_helpers, __ATOMIC_RELAXED))
    return;
  lock(markers);
  __atomic_store_n(&markers->short_of_helpers, false, __ATOMIC_RELAXED);
  if (markers->making) {
    unlock(markers);
    return;
  }
  markers->making = true; /* records are handed out in their order, and taken back */
  for (bool good = true; good && (marker = announce(collector));) {
    unlock(markers);
    good = tarn_os_start_thread(help, marker);
    lock(markers);
    if (!good)
      take_back(markers);
  }
  markers->making = false;
  unlock(markers);
}

void tarn_markers_foresee(struct tarn_collector *collector) {
  struct tarn_markers *markers = &collector->markers;
  /* Relaxed: only guesses. */
  if (atomic_load_explicit(&collector->world->store.bytes, memory_order_relaxed) < MUCH ||
      __atomic_load_n(&markers->threads, __ATOMIC_RELAXED) >= markers->wanted)
    return;
  __atomic_store_n(&markers->short_of_helpers, true, __ATOMIC_RELAXED);
  tarn_markers_tend(collector);
}

/* --- start, end, fork ------------------------------------------------------------------------ */

void tarn_markers_start(struct tarn_collector *collector) {
  const struct tarn_config *config = &collector->world->config;
  unsigned own =
      config->detected_cpus < MARKERS_AUTOMATIC ? config->detected_cpus : MARKERS_AUTOMATIC;
  collector->markers.wanted = (config->markers ? config->markers : own) - 1;
  (void)pthread_mutex_init(&collector->markers.lock, NULL);
  (void)pthread_mutex_init(&collector->markers.found_lock, NULL);
}

static void drop_parcels(struct tarn_parcel *list) {
  while (list) {
    struct tarn_parcel *parcel = list;
    list = parcel->next;
    tarn_os_unmap(parcel, sizeof *parcel);
  }
}

void tarn_markers_end(struct tarn_collector *collector) {
  struct tarn_markers *markers = &collector->markers;
  uint32_t threads;
  lock(markers);
  markers->ends = true;
  wake(&markers->serial, true);
  unlock(markers);
  /* Acquire: pairs with the release at the end of help. */
  while ((threads = __atomic_load_n(&markers->threads, __ATOMIC_ACQUIRE)) != 0)
    tarn_os_wait(&markers->threads, threads, 1000000);
  for (unsigned i = 0; markers->helpers && i < markers->wanted; i++)
    tarn_marker_end(&markers->helpers[i]);
  drop_parcels(markers->empty);
  markers->empty = NULL;
  (void)pthread_mutex_destroy(&markers->lock);
  (void)pthread_mutex_destroy(&markers->found_lock);
}

void tarn_markers_lock(struct tarn_collector *collector) { lock(&collector->markers); }
void tarn_markers_unlock(struct tarn_collector *collector) { unlock(&collector->markers); }

void tarn_markers_after_fork(struct tarn_collector *collector) {
  struct tarn_markers *markers = &collector->markers;
  markers->asleep = 0;
  markers->making = false;
  __atomic_store_n(&markers->threads, 0, __ATOMIC_RELAXED);
  __atomic_store_n(&markers->hungry, 0, __ATOMIC_RELAXED);
#if TARN_TSAN
  markers->wanted = 0; /* it ends children of threaded processes that make threads */
#endif
  unlock(markers);
}
