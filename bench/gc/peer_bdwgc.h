/* SPDX-License-Identifier: MIT */
/*
 * Group gc on bdwgc, called directly. Interior pointers are recognised from stacks only, so that an
 * object of 32 bytes takes 32: by default it takes 48, for the pointer one past its end. The number
 * of markers is the default, which is one until a second thread is started, and then one for each
 * processor.
 */
#define GC_THREADS
#include <gc.h>
#include <gc/gc_mark.h>

#define SUBJECT "bdwgc"
#define PEER_COLLECTS 1
#define ROOTS(mutator, ...) ((void)(mutator))

struct mutator {
  char unused;
};

/* Written by the thread that collects, with the allocation lock held. */
static struct {
  double stop_began, stopped, mark_began;
  struct collection last;
  bool keeps;
  struct samples pauses, stops;
} events;

static void GC_CALLBACK on_event(GC_EventType event) {
  double now = subject_clock(CLOCK_MONOTONIC);
  if (event == GC_EVENT_PRE_STOP_WORLD)
    events.stop_began = now;
  else if (event == GC_EVENT_POST_STOP_WORLD)
    events.last.stop = now - events.stop_began;
  else if (event == GC_EVENT_MARK_START)
    events.mark_began = now;
  else if (event == GC_EVENT_MARK_END)
    events.last.mark = now - events.mark_began;
  else if (event == GC_EVENT_POST_START_WORLD) {
    events.last.pause = now - events.stop_began;
    if (events.keeps) {
      samples_add(&events.pauses, events.last.pause);
      samples_add(&events.stops, events.last.stop);
    }
  }
}

/*
 * With a limit, the whole heap is there from the start, and stays as large. Without the settings
 * for that, bdwgc reports that memory is out where a collection would help: it collects only after
 * it allocated a share of the heap that is not there when much of it is live.
 */
static void peer_start(const struct peer_setup *setup) {
  GC_set_all_interior_pointers(0);
  if (setup->markers)
    GC_set_markers_count(setup->markers);
  GC_INIT();
  if (setup->markers)
    GC_start_mark_threads();
  GC_set_warn_proc(GC_ignore_warn_proc); /* it warns of arrays of megabytes */
  GC_set_on_collection_event(on_event);
  size_t now = GC_get_heap_size(), want = setup->limit ? setup->limit : setup->start;
  if (want > now && !GC_expand_hp(want - now))
    subject_fail(SUBJECT, "cannot grow the heap to the size asked for");
  if (setup->limit) {
    GC_set_max_heap_size(setup->limit);
    GC_set_dont_expand(1);
    GC_set_max_retries(10);
  } else if (setup->start) {
    GC_set_max_heap_size(setup->start + setup->start / 2);
  }
}

static void peer_finish(void) {
  size_t heap = GC_get_heap_size();
  subject_figure("heap_bytes", (double)heap);
  subject_figure("tables_percent",
                 100 * (double)(GC_get_obtained_from_os_bytes() - heap) / (double)heap);
  subject_figure("markers", 1 + GC_get_parallel());
  subject_figure("collections", (double)GC_get_gc_no());
}

static inline void shape_make(struct shape *shape) { shape->type = shape; }

/* Threads are registered by bdwgc's own pthread_create, and may be stopped anywhere. */
static inline void mutator_begin(struct mutator *mutator) { mutator->unused = 0; }
static inline void mutator_end(struct mutator *mutator) { (void)mutator; }
static inline void mutator_wait_begin(struct mutator *mutator) { (void)mutator; }
static inline void mutator_wait_end(struct mutator *mutator) { (void)mutator; }

static inline void *object_new(struct mutator *mutator, const struct shape *shape) {
  (void)mutator;
  const void **object = shape->slots ? GC_MALLOC(shape->size) : GC_MALLOC_ATOMIC(shape->size);
  if (object)
    object[0] = shape->type;
  return object;
}

static inline void *array_new(struct mutator *mutator, const struct shape *shape, size_t count) {
  (void)mutator;
  size_t size = shape->size + 8 * count;
  uintptr_t *array = shape->traced ? GC_MALLOC(size) : GC_MALLOC_ATOMIC(size);
  if (array) {
    array[0] = (uintptr_t)shape->type;
    array[1] = count;
  }
  return array;
}

static inline void object_store(struct mutator *mutator, void *object, void *slot, void *value) {
  (void)mutator, (void)object;
  *(void **)slot = value;
}

static inline void object_drop(struct mutator *mutator, void *object) {
  (void)mutator;
  (void)object;
}

/* --- collections ----------------------------------------------------------------------------- */

static inline void peer_collect(struct mutator *mutator, int generation) {
  (void)mutator;
  (void)generation;
  double begin = subject_clock(CLOCK_MONOTONIC);
  GC_gcollect();
  events.last.call = subject_clock(CLOCK_MONOTONIC) - begin;
}

static inline struct collection peer_last(void) { return events.last; }

static inline void GC_CALLBACK add_bytes(void *object, size_t bytes, void *sum) {
  (void)object;
  *(double *)sum += (double)bytes;
}

static inline void *add_live(void *sum) {
  GC_enumerate_reachable_objects_inner(add_bytes, sum);
  return NULL;
}

static inline double peer_live_bytes(void) {
  double sum = 0;
  GC_call_with_alloc_lock(add_live, &sum);
  return sum;
}

static inline void peer_automatic(struct mutator *mutator, bool on) {
  (void)mutator;
  if (on)
    GC_enable();
  else
    GC_disable();
}

static inline void peer_watch_begin(void) { events.keeps = true; }

static inline void peer_watch_end(void) {
  events.keeps = false;
  subject_figure("pause_p50_ns", samples_at(&events.pauses, 0.5));
  subject_figure("pause_p99_ns", samples_at(&events.pauses, 0.99));
  subject_figure("pause_max_ns", samples_at(&events.pauses, 1));
  subject_figure("stop_p50_ns", samples_at(&events.stops, 0.5));
  subject_figure("stop_p99_ns", samples_at(&events.stops, 0.99));
  subject_figure("stop_max_ns", samples_at(&events.stops, 1));
  subject_figure("pauses", (double)events.pauses.count);
}
