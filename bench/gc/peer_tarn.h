/* SPDX-License-Identifier: MIT */
/* Group gc on Tarn: default options but for the heap's limit, precise roots and types. */
#include <stdatomic.h>
#include <string.h>
#include <tarn/tarn.h>

#define SUBJECT "tarn"
#define PEER_COLLECTS 1
#define ROOTS(mutator, ...) TARN_FRAME((mutator)->self, __VA_ARGS__)

struct mutator {
  tarn_thread *self;
};

static tarn_world *world;
static unsigned markers; /* that were asked for */

/*
 * All of a limited heap is used before a collection, as on the other side. Strict: a limit that is
 * no limit would be a different program.
 */
static void peer_start(const struct peer_setup *setup) {
  tarn_options options = TARN_OPTIONS_INIT;
  char set[160] = "strict=1";
  size_t length = strlen(set);
  if (setup->limit)
    length += (size_t)snprintf(set + length, sizeof set - length,
                               ",hard-limit=%zu,soft-limit=%zu,min-heap=%zu,growth=1000",
                               setup->limit, setup->limit, setup->limit);
  if (setup->markers)
    snprintf(set + length, sizeof set - length, ",markers=%u", setup->markers);
  markers = setup->markers;
  options.set = set;
  options.flags = TARN_OPTIONS_BARRIERS;
  if (tarn_world_create(&options, &world) != TARN_OK)
    subject_fail(SUBJECT, "cannot make a world");
}

static inline tarn_stats peer_stats(void) {
  tarn_stats stats = {.struct_size = sizeof stats};
  if (tarn_stats_get(world, &stats) != TARN_OK)
    subject_fail(SUBJECT, "no statistics");
  return stats;
}

static void peer_finish(void) {
  tarn_stats stats = peer_stats();
  subject_figure("heap_bytes", (double)stats.heap_bytes_max);
  subject_figure("tables_percent", 100 * (double)(stats.side_table_bytes + stats.metadata_bytes) /
                                       (double)stats.heap_bytes_max);
  if (markers) /* else as many as there are processors */
    subject_figure("markers", markers);
  subject_figure("collections", (double)stats.collections);
}

static inline void shape_make(struct shape *shape) {
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = shape->name;
  spec.size = shape->size;
  spec.slot_bits = shape->slots;
  spec.element_size = shape->array ? 8 : 0;
  spec.flags = shape->traced ? TARN_TYPE_ELEMENTS_TRACED : 0;
  shape->type = tarn_type_create(world, &spec, NULL);
  if (!shape->type)
    subject_fail(SUBJECT, "cannot make a type");
}

static inline void mutator_begin(struct mutator *mutator) {
  if (tarn_thread_attach(world, &mutator->self) != TARN_OK)
    subject_fail(SUBJECT, "cannot attach a thread");
}

static inline void mutator_end(struct mutator *mutator) { tarn_thread_detach(mutator->self); }
static inline void mutator_wait_begin(struct mutator *mutator) { tarn_block_begin(mutator->self); }
static inline void mutator_wait_end(struct mutator *mutator) { tarn_block_end(mutator->self); }

static inline void *object_new(struct mutator *mutator, const struct shape *shape) {
  return tarn_new(mutator->self, shape->type);
}

static inline void *array_new(struct mutator *mutator, const struct shape *shape, size_t count) {
  return tarn_new_array(mutator->self, shape->type, count);
}

static inline void object_store(struct mutator *mutator, void *object, void *slot, void *value) {
  tarn_store(mutator->self, object, (void **)slot, value);
}

static inline void object_drop(struct mutator *mutator, void *object) {
  (void)mutator;
  (void)object;
}

/* --- collections ----------------------------------------------------------------------------- */

static double last_call;

static inline void peer_collect(struct mutator *mutator, int generation) {
  double begin = subject_clock(CLOCK_MONOTONIC);
  if (tarn_collect(mutator->self, generation) != TARN_OK)
    subject_fail(SUBJECT, "cannot collect");
  last_call = subject_clock(CLOCK_MONOTONIC) - begin;
}

static inline struct collection peer_last(void) {
  tarn_stats stats = peer_stats();
  return (struct collection){.mark = (double)stats.mark_last_ns,
                             .pause = (double)stats.pause_last_ns,
                             .stop = (double)stats.stop_last_ns,
                             .call = last_call};
}

static inline double peer_live_bytes(void) { return (double)peer_stats().live_bytes; }

static inline void peer_automatic(struct mutator *mutator, bool on) {
  (void)mutator;
  if (!on)
    tarn_collect_disable(world);
  else if (tarn_collect_enable(world) != TARN_OK)
    subject_fail(SUBJECT, "collections were not off");
}

/*
 * The statistics tell of the last collection only, so a thread that is not attached looks every
 * millisecond. Collections that it did not see are counted.
 */
static struct {
  pthread_t thread;
  atomic_bool stop;
  double missed;
  struct samples pauses, stops;
} watch;

static void *watch_main(void *argument) {
  (void)argument;
  uint64_t seen = peer_stats().collections;
  const struct timespec wait = {.tv_nsec = 1000000};
  for (bool stop = false; !stop;) {
    stop = atomic_load(&watch.stop);
    tarn_stats stats = peer_stats();
    if (stats.collections != seen) {
      samples_add(&watch.pauses, (double)stats.pause_last_ns);
      samples_add(&watch.stops, (double)stats.stop_last_ns);
      watch.missed += (double)(stats.collections - seen - 1);
      seen = stats.collections;
    }
    nanosleep(&wait, NULL);
  }
  return NULL;
}

static inline void peer_watch_begin(void) {
  if (pthread_create(&watch.thread, NULL, watch_main, NULL) != 0)
    subject_fail(SUBJECT, "cannot start a thread");
}

static inline void peer_watch_end(void) {
  atomic_store(&watch.stop, true);
  pthread_join(watch.thread, NULL);
  subject_figure("pause_p50_ns", samples_at(&watch.pauses, 0.5));
  subject_figure("pause_p99_ns", samples_at(&watch.pauses, 0.99));
  subject_figure("pause_max_ns", samples_at(&watch.pauses, 1));
  subject_figure("stop_p50_ns", samples_at(&watch.stops, 0.5));
  subject_figure("stop_p99_ns", samples_at(&watch.stops, 0.99));
  subject_figure("stop_max_ns", samples_at(&watch.stops, 1));
  subject_figure("pauses", (double)watch.pauses.count);
  subject_figure("pauses_missed", watch.missed);
}
