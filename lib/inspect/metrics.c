/* SPDX-License-Identifier: MIT */
/*
 * inspect/metrics.c: the table of metrics, and how they are written.  See metrics.h.
 *
 * The table has each field of tarn_stats once, which a test sees to.  What is no time, count of
 * bytes or name is a plain number.  Types are those that the older text format of Prometheus knows
 * too (no `info`, no `unknown`), so that its readers take the file as well.
 *
 * Of a world without a collector only what is marked as `any` is told, since the others would be 0
 * for ever; and one thing more, for which its pools are counted: what is in use of them.
 */
#include "inspect/metrics.h"
#include "collect/collector.h"
#include <string.h>

/* --- the table ------------------------------------------------------------------------------- */

enum kind {
  GAUGE,
  COUNTER,
  NAME, /* of a thread, as a label of a 1 */
  SUM   /* of a histogram, which has it */
};

struct metric {
  const char *key;    /* in JSON */
  const char *family; /* without the prefix */
  const char *help;
  const char *unit;          /* "bytes", "seconds" (the field is nanoseconds) or NULL */
  const char *label;         /* of each of several values, or NULL */
  const char *const *values; /* of the label */
  size_t offset, size;       /* in tarn_stats */
  enum kind kind;
  bool any; /* of worlds without a collector, too */
};

static const char *const generations[] = {"0", "1", "2"};
static const char *const phases[] = {"roots", "counting", "living", "garbage", "freeing"};

#define FIELD(name)                                          \
  .key = #name, .offset = offsetof(struct tarn_stats, name), \
  .size = sizeof(((struct tarn_stats *)0)->name)
#define PLAIN(field, type, name, text) \
  { FIELD(field), .kind = (type), .family = (name), .help = (text) }
#define BYTES(field, type, name, text) \
  { FIELD(field), .kind = (type), .family = (name), .help = (text), .unit = "bytes" }
#define ANY_PLAIN(field, type, name, text) \
  { FIELD(field), .kind = (type), .family = (name), .help = (text), .any = true }
#define ANY_BYTES(field, type, name, text) \
  { FIELD(field), .kind = (type), .family = (name), .help = (text), .unit = "bytes", .any = true }
#define TIME(field, type, name, text) \
  { FIELD(field), .kind = (type), .family = (name), .help = (text), .unit = "seconds" }
#define EACH(field, type, name, of, text, is, list)                                            \
  {                                                                                            \
    FIELD(field), .kind = (type), .family = (name), .help = (text), .unit = of, .label = (is), \
                  .values = (list)                                                             \
  }

static const struct metric metrics[] = {
    PLAIN(collections, COUNTER, "collections", "Collections that ended."),
    EACH(collections_of, COUNTER, "generation_collections", NULL,
         "Collections that ended, by generation.", "generation", generations),
    PLAIN(collections_asked, COUNTER, "collections_asked",
          "Collections that the program asked for."),
    TIME(pause_last_ns, GAUGE, "pause_last_seconds", "Pause of the last collection."),
    TIME(pause_max_ns, GAUGE, "pause_max_seconds", "Longest pause."),
    TIME(pause_total_ns, SUM, NULL, NULL),
    TIME(pause_median_ns, GAUGE, "pause_median_seconds", "Median of the last 1024 pauses."),
    PLAIN(stops, COUNTER, "stops", "Times that the world was stopped, for whatever reason."),
    TIME(stop_last_ns, GAUGE, "stop_last_seconds", "Time to safepoint of the last stop."),
    TIME(stop_max_ns, GAUGE, "stop_max_seconds", "Longest time to safepoint."),
    TIME(stop_median_ns, GAUGE, "stop_median_seconds", "Median of the last 1024 of them."),
    TIME(stop_p99_ns, GAUGE, "stop_p99_seconds", "99th percentile of the last 1024 of them."),
    PLAIN(stop_last_thread, NAME, "stop_last_thread", "The thread that the last stop waited for."),
    PLAIN(stop_max_thread, NAME, "stop_max_thread", "The thread that the longest stop waited for."),
    PLAIN(overtaken_max, GAUGE, "overtaken_max",
          "Most stops that a thread on its way back stood still for."),
    TIME(mark_last_ns, GAUGE, "mark_last_seconds",
         "Time that marking took in the last collection."),
    PLAIN(mark_overflows, COUNTER, "mark_overflows", "Times that the mark stack was full."),
    ANY_PLAIN(threads, GAUGE, "threads", "Threads that are attached."),
    PLAIN(heaps, GAUGE, "heaps", "Heaps."),
    PLAIN(types, GAUGE, "types", "Types."),
    ANY_PLAIN(pools, GAUGE, "pools", "Pools in use."),
    PLAIN(unswept_pools, GAUGE, "unswept_pools", "Pools that wait to be swept."),
    ANY_PLAIN(large_objects, GAUGE, "large_objects", "Large objects in use."),
    ANY_BYTES(heap_bytes, GAUGE, "heap_bytes", "Memory of pools and large objects in use."),
    ANY_BYTES(heap_bytes_max, GAUGE, "heap_max_bytes", "The most that this ever was."),
    BYTES(live_bytes, GAUGE, "live_bytes", "Memory that the last collection found live."),
    PLAIN(live_objects, GAUGE, "live_objects", "Objects that the last collection found live."),
    BYTES(allocated_bytes, COUNTER, "allocated_bytes", "Memory allocated."),
    BYTES(side_table_bytes, GAUGE, "side_table_bytes", "Mark table in use."),
    ANY_BYTES(metadata_bytes, GAUGE, "metadata_bytes", "Structures of the library's own."),
    ANY_BYTES(returned_bytes, COUNTER, "returned_bytes", "Memory given back to the system."),
    ANY_BYTES(dirty_bytes, GAUGE, "dirty_bytes", "Memory that is free and not given back yet."),
    BYTES(external_bytes, GAUGE, "external_bytes",
          "Memory that objects keep elsewhere, as the program says."),
    PLAIN(released, COUNTER, "released_objects", "Free functions that the collector ran."),
    PLAIN(release_pending, GAUGE, "release_pending",
          "Pools and large objects that wait for free functions."),
    PLAIN(finalizers_run, COUNTER, "finalizers_run", "Finalizers that ran."),
    PLAIN(weak_cleared, COUNTER, "weak_cleared", "Weak references that were cleared."),
    PLAIN(soft_limit_given_up, COUNTER, "soft_limit_given_up",
          "Times that the soft limit began to ask for too much time."),
    PLAIN(hard_limit_collections, COUNTER, "hard_limit_collections",
          "Collections for allocations that found no memory."),
    PLAIN(hard_limit_refusals, COUNTER, "hard_limit_refusals",
          "Allocations that failed without a collection."),
    PLAIN(cycle_collections, COUNTER, "cycle_collections", "Collections of cycles that ended."),
    PLAIN(cycle_garbage, COUNTER, "cycle_garbage_objects",
          "Objects that they found to be garbage."),
    PLAIN(cycle_resurrected, COUNTER, "cycle_resurrected_objects",
          "Objects that finalizers saved."),
    PLAIN(cycle_finalizers, COUNTER, "cycle_finalizers_run", "Finalizers that they ran."),
    TIME(cycle_pause_last_ns, GAUGE, "cycle_pause_last_seconds", "Pause of the last of them."),
    TIME(cycle_pause_max_ns, GAUGE, "cycle_pause_max_seconds", "Longest pause of them."),
    TIME(cycle_pause_total_ns, SUM, NULL, NULL),
    EACH(cycle_phases_last_ns, GAUGE, "cycle_phase_last_seconds", "seconds",
         "Time of each phase of the last of them.", "phase", phases),
};
#define METRICS (sizeof metrics / sizeof metrics[0])

static const struct {
  const char *key, *family, *help;
} histograms[TARN_TIMES] = {
    [TARN_TIMES_PAUSES] = {"pauses_ns", "pause_seconds", "Pauses of collections."},
    [TARN_TIMES_STOPS] = {"stops_ns", "stop_seconds", "Times to safepoint of all stops."},
    [TARN_TIMES_CYCLES] = {"cycle_pauses_ns", "cycle_pause_seconds",
                           "Pauses of collections of cycles; there may be several in one."},
};

/* As the format wants numbers in labels: the shortest form, with a point. */
static const char *const bounds[TARN_BOUNDS + 1] = {
    "1e-05", "2.5e-05", "5e-05", "0.0001", "0.00025", "0.0005", "0.001", "0.0025", "0.005",
    "0.01",  "0.025",   "0.05",  "0.1",    "0.25",    "0.5",    "1.0",   "2.5",    "+Inf"};

/* --- figures --------------------------------------------------------------------------------- */

static void gather(const struct tarn_histogram *histogram, uint64_t buckets[TARN_BOUNDS + 1]) {
  for (unsigned i = 0; i <= TARN_BOUNDS; i++)
    buckets[i] = atomic_load_explicit(&histogram->buckets[i], memory_order_relaxed);
}

static void add_pool(struct tarn_pool *pool, void *data) {
  uint64_t *bytes = data;
  struct tarn_pool seen = tarn_pool_peek(pool);
  uint32_t used = tarn_pool_used(&seen);
  *bytes += (used < seen.capacity ? used : seen.capacity) * tarn_pool_block_size(&seen);
}

/* In use of a world's pools and large objects.  What owners change meanwhile is about right. */
static uint64_t used_bytes(struct tarn_store *store) {
  uint64_t bytes = 0;
  tarn_store_visit(store); /* no fork meanwhile, which would leave the child with the walk's lock */
  tarn_store_each_pool(store, add_pool, &bytes);
  tarn_store_leave(store);
  uint64_t all = atomic_load_explicit(&store->bytes, memory_order_relaxed);
  uint64_t pools = atomic_load_explicit(&store->pools, memory_order_relaxed) * TARN_UNIT_SIZE;
  return bytes + (all > pools ? all - pools : 0);
}

static void gather_times(tarn_world *world, struct tarn_figures *figures) {
  struct tarn_collector *collector = world->collector;
  gather(&collector->pause_histogram, figures->times[TARN_TIMES_PAUSES].buckets);
  gather(&world->stop.histogram, figures->times[TARN_TIMES_STOPS].buckets);
  gather(&collector->cycles.pause_histogram, figures->times[TARN_TIMES_CYCLES].buckets);
  figures->times[TARN_TIMES_PAUSES].sum = figures->stats.pause_total_ns;
  figures->times[TARN_TIMES_STOPS].sum =
      atomic_load_explicit(&world->stop.total_ns, memory_order_relaxed);
  figures->times[TARN_TIMES_CYCLES].sum = figures->stats.cycle_pause_total_ns;
}

void tarn_metrics_gather(tarn_world *world, struct tarn_figures *figures) {
  figures->world = world->number;
  figures->uncollected = !world->collector;
  figures->stats.struct_size = sizeof figures->stats;
  (void)tarn_stats_get(world, &figures->stats);
  if (figures->uncollected)
    figures->used_bytes = used_bytes(&world->store);
  else
    gather_times(world, figures);
}

static bool is_told(const struct metric *metric, const struct tarn_figures *figures) {
  return !figures->uncollected || metric->any;
}

static size_t count_of(const struct metric *metric) {
  return metric->kind == NAME ? 1 : metric->size / sizeof(uint64_t);
}

static uint64_t value_of(const struct metric *metric, const tarn_stats *stats, size_t index) {
  uint64_t value;
  memcpy(&value, (const char *)stats + metric->offset + index * sizeof value, sizeof value);
  return value;
}

static const char *name_of(const struct metric *metric, const tarn_stats *stats) {
  return (const char *)stats + metric->offset;
}

/* --- OpenMetrics ----------------------------------------------------------------------------- */

#define PREFIX "tarn_"

static void put_lines(struct tarn_out *out, const char *const texts[], size_t count) {
  for (size_t i = 0; i < count; i++)
    tarn_out_text(out, texts[i]);
}
#define PUT(out, ...)                                  \
  put_lines((out), (const char *const[]){__VA_ARGS__}, \
            sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static void put_head(struct tarn_out *out, const char *family, const char *type, const char *unit,
                     const char *help) {
  PUT(out, "# TYPE " PREFIX, family, " ", type, "\n");
  if (unit)
    PUT(out, "# UNIT " PREFIX, family, " ", unit, "\n");
  PUT(out, "# HELP " PREFIX, family, " ", help, "\n");
}

/* The format has no escape for what steers a terminal. */
static void put_label(struct tarn_out *out, const char *name, const char *value) {
  char clean[64];
  size_t length = 0;
  for (; value[length] && length + 1 < sizeof clean; length++)
    clean[length] =
        (unsigned char)value[length] < ' ' || value[length] == 0x7f ? '?' : value[length];
  clean[length] = '\0';
  PUT(out, ",", name, "=");
  tarn_out_json(out, clean);
}

/* NAME{world="1",LABEL="VALUE"} and a blank; no label: NULL. */
static void put_sample(struct tarn_out *out, const char *family, const char *suffix, unsigned world,
                       const char *label, const char *value) {
  PUT(out, PREFIX, family, suffix, "{world=\"");
  tarn_out_number(out, world);
  tarn_out_text(out, "\"");
  if (label)
    put_label(out, label, value);
  tarn_out_text(out, "} ");
}

static void put_value(struct tarn_out *out, bool time, uint64_t value) {
  tarn_out_decimal(out, value, time ? 9 : 0);
  tarn_out_text(out, "\n");
}

static void put_metric(struct tarn_out *out, const struct metric *metric,
                       const struct tarn_figures *figures) {
  bool time = metric->unit && strcmp(metric->unit, "seconds") == 0;
  const char *suffix = metric->kind == COUNTER ? "_total" : "";
  put_head(out, metric->family, metric->kind == COUNTER ? "counter" : "gauge", metric->unit,
           metric->help);
  if (metric->kind == NAME) {
    put_sample(out, metric->family, "", figures->world, "thread", name_of(metric, &figures->stats));
    tarn_out_text(out, "1\n");
    return;
  }
  for (size_t i = 0; i < count_of(metric); i++) {
    put_sample(out, metric->family, suffix, figures->world, metric->label,
               metric->label ? metric->values[i] : NULL);
    put_value(out, time, value_of(metric, &figures->stats, i));
  }
}

static void put_histogram(struct tarn_out *out, const struct tarn_figures *figures,
                          unsigned which) {
  const char *family = histograms[which].family;
  uint64_t sum = 0;
  put_head(out, family, "histogram", "seconds", histograms[which].help);
  for (unsigned i = 0; i <= TARN_BOUNDS; i++) {
    sum += figures->times[which].buckets[i];
    put_sample(out, family, "_bucket", figures->world, "le", bounds[i]);
    put_value(out, false, sum);
  }
  put_sample(out, family, "_count", figures->world, NULL, NULL);
  put_value(out, false, sum);
  put_sample(out, family, "_sum", figures->world, NULL, NULL);
  put_value(out, true, figures->times[which].sum);
}

/* What is in use, of a world without a collector. */
static void put_used(struct tarn_out *out, const struct tarn_figures *figures) {
  put_head(out, "used_bytes", "gauge", "bytes",
           "Memory in blocks that were handed out, or that a thread has at hand.");
  put_sample(out, "used_bytes", "", figures->world, NULL, NULL);
  put_value(out, false, figures->used_bytes);
}

static void put_openmetrics(struct tarn_out *out, const struct tarn_figures *figures) {
  for (size_t i = 0; i < METRICS; i++)
    if (metrics[i].kind != SUM && is_told(&metrics[i], figures))
      put_metric(out, &metrics[i], figures);
  for (unsigned i = 0; !figures->uncollected && i < TARN_TIMES; i++)
    put_histogram(out, figures, i);
  if (figures->uncollected)
    put_used(out, figures);
  tarn_out_text(out, "# EOF\n");
}

/* --- JSON ------------------------------------------------------------------------------------ */

static void put_json_list(struct tarn_out *out, const char *key, const uint64_t *values,
                          size_t count) {
  PUT(out, "\"", key, "\": [");
  for (size_t i = 0; i < count; i++) {
    tarn_out_text(out, i ? ", " : "");
    tarn_out_number(out, values[i]);
  }
  tarn_out_text(out, "]");
}

static void put_json_metric(struct tarn_out *out, const struct metric *metric,
                            const tarn_stats *stats) {
  uint64_t values[8];
  size_t count = count_of(metric);
  tarn_out_text(out, "    ");
  if (metric->kind == NAME) {
    PUT(out, "\"", metric->key, "\": ");
    tarn_out_json(out, name_of(metric, stats));
  } else if (count == 1) {
    PUT(out, "\"", metric->key, "\": ");
    tarn_out_number(out, value_of(metric, stats, 0));
  } else {
    for (size_t i = 0; i < count; i++)
      values[i] = value_of(metric, stats, i);
    put_json_list(out, metric->key, values, count);
  }
}

static void put_json_histogram(struct tarn_out *out, const struct tarn_figures *figures,
                               unsigned which) {
  uint64_t upto[TARN_BOUNDS], sum = 0;
  for (unsigned i = 0; i < TARN_BOUNDS; i++)
    upto[i] = tarn_histogram_bound(i);
  for (unsigned i = 0; i <= TARN_BOUNDS; i++)
    sum += figures->times[which].buckets[i];
  PUT(out, "    \"", histograms[which].key, "\": {");
  put_json_list(out, "bounds", upto, TARN_BOUNDS);
  tarn_out_text(out, ",\n      ");
  put_json_list(out, "counts", figures->times[which].buckets, TARN_BOUNDS + 1);
  tarn_out_text(out, ",\n      \"count\": ");
  tarn_out_number(out, sum);
  tarn_out_text(out, ", \"sum\": ");
  tarn_out_number(out, figures->times[which].sum);
  tarn_out_text(out, "}");
}

static void put_json_stats(struct tarn_out *out, const struct tarn_figures *figures) {
  bool first = true;
  tarn_out_text(out, "  \"stats\": {\n");
  for (size_t i = 0; i < METRICS; i++) {
    if (!is_told(&metrics[i], figures))
      continue;
    tarn_out_text(out, first ? "" : ",\n");
    put_json_metric(out, &metrics[i], &figures->stats);
    first = false;
  }
  tarn_out_text(out, "\n  },\n");
}

static void put_json_times(struct tarn_out *out, const struct tarn_figures *figures) {
  tarn_out_text(out, "  \"histograms\": {\n");
  for (unsigned i = 0; i < TARN_TIMES; i++) {
    put_json_histogram(out, figures, i);
    tarn_out_text(out, i + 1 < TARN_TIMES ? ",\n" : "\n");
  }
  tarn_out_text(out, "  }\n");
}

static void put_json(struct tarn_out *out, const struct tarn_figures *figures) {
  tarn_out_text(out, "{\n  \"format\": \"tarn-metrics\",\n  \"version\": 1,\n  \"world\": ");
  tarn_out_number(out, figures->world);
  tarn_out_text(out, ",\n");
  put_json_stats(out, figures);
  if (figures->uncollected) {
    tarn_out_text(out, "  \"malloc\": {\"used_bytes\": ");
    tarn_out_number(out, figures->used_bytes);
    tarn_out_text(out, "}\n");
  } else {
    put_json_times(out, figures);
  }
  tarn_out_text(out, "}\n");
}

void tarn_metrics_put(struct tarn_out *out, tarn_metrics_format format,
                      const struct tarn_figures *figures) {
  if (format == TARN_METRICS_JSON)
    put_json(out, figures);
  else
    put_openmetrics(out, figures);
}
