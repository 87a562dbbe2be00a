/* SPDX-License-Identifier: MIT */
/*
 * view.c: see view.h.  Lines have 80 columns at most.
 */
#include "view.h"
#include "tool.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>

static uint64_t now_ns(void) {
  struct timespec now;
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Per second, of a counter; 0 unless there was a look before. */
static double rate(const struct looks *looks, uint64_t now, uint64_t before) {
  uint64_t time = looks->now.updated_ns - looks->before.updated_ns;
  if (!looks->before.updated_ns || time == 0 || now < before)
    return 0;
  return (double)(now - before) * 1e9 / (double)time;
}

static bool collected(const struct tarn_live_view *view) {
  return view->flags & TARN_LIVE_COLLECTED;
}

/* Bytes in a second.  A malloc's bins use again what is freed, and count only what is new to them.
 */
static uint64_t allocates(const struct looks *looks) {
  return (uint64_t)rate(looks, looks->now.stats.allocated_bytes,
                        looks->before.stats.allocated_bytes);
}

/* --- blocks of lines ------------------------------------------------------------------------- */

static void print_heap(FILE *to, const struct looks *looks) {
  const struct tarn_live_view *view = &looks->now;
  const tarn_stats *stats = &view->stats;
  (void)fprintf(to, "heap     %s, at most %s; in use about %s", tool_size(stats->heap_bytes),
                tool_size(stats->heap_bytes_max), tool_size(view->used_bytes));
  if (collected(view))
    (void)fprintf(to, "; live %s", tool_size(stats->live_bytes));
  (void)fprintf(to, "\n         free and kept %s, given back %s; tables %s, own %s\n",
                tool_size(stats->dirty_bytes), tool_size(stats->returned_bytes),
                tool_size(stats->side_table_bytes), tool_size(stats->metadata_bytes));
  (void)fputs("         ", to);
  if (collected(view))
    (void)fprintf(to, "allocated %s, %s/s; ", tool_size(stats->allocated_bytes),
                  tool_size(allocates(looks)));
  (void)fprintf(to, "%llu pools, %llu large objects\n", (unsigned long long)stats->pools,
                (unsigned long long)stats->large_objects);
  if (!collected(view))
    (void)fprintf(to, "threads  %llu that allocate\n", (unsigned long long)stats->threads);
}

/* Share of the time between the looks. */
static const char *share(const struct looks *looks, uint64_t now, uint64_t before) {
  return tool_percent(rate(looks, now, before) / 1e9, 1);
}

static void print_pauses(FILE *to, const struct looks *looks) {
  const tarn_stats *now = &looks->now.stats, *before = &looks->before.stats;
  (void)fprintf(
      to, "gc       %llu (generation 0: %llu, 1: %llu, 2: %llu), %.1f/s; %s of the time\n",
      (unsigned long long)now->collections, (unsigned long long)now->collections_of[0],
      (unsigned long long)now->collections_of[1], (unsigned long long)now->collections_of[2],
      rate(looks, now->collections, before->collections),
      share(looks, now->pause_total_ns, before->pause_total_ns));
  (void)fprintf(to, "pauses   last %s, median %s, longest %s, together %s\n",
                tool_duration(now->pause_last_ns), tool_duration(now->pause_median_ns),
                tool_duration(now->pause_max_ns), tool_duration(now->pause_total_ns));
}

static void print_cycles(FILE *to, const struct looks *looks) {
  const tarn_stats *now = &looks->now.stats, *before = &looks->before.stats;
  (void)fprintf(to, "cycles   %llu collections, %.1f/s; %s of the time; garbage %llu objects\n",
                (unsigned long long)now->cycle_collections,
                rate(looks, now->cycle_collections, before->cycle_collections),
                share(looks, now->cycle_pause_total_ns, before->cycle_pause_total_ns),
                (unsigned long long)now->cycle_garbage);
  (void)fprintf(to, "pauses   last %s, longest %s, together %s\n",
                tool_duration(now->cycle_pause_last_ns), tool_duration(now->cycle_pause_max_ns),
                tool_duration(now->cycle_pause_total_ns));
}

static void print_stops(FILE *to, const tarn_stats *stats) {
  (void)fprintf(to, "stops    %llu; to safepoint: median %s, p99 %s, longest %s",
                (unsigned long long)stats->stops, tool_duration(stats->stop_median_ns),
                tool_duration(stats->stop_p99_ns), tool_duration(stats->stop_max_ns));
  if (stats->stop_max_thread[0]) {
    (void)fputs(" (", to);
    (void)tool_put_name(to, stats->stop_max_thread, 14);
    (void)fputc(')', to);
  }
  (void)fputc('\n', to);
}

static void print_collections(FILE *to, const struct tarn_live_view *view, unsigned most) {
  uint64_t there = view->ring_count < TARN_LIVE_RING ? view->ring_count : TARN_LIVE_RING;
  uint64_t now = now_ns();
  if (!there || !most)
    return;
  (void)fprintf(to, "%c%9s%8s %-4s%-12s%9s%9s%8s%8s  %s\n", VIEW_HEADING, "ago", "number", "gen",
                "cause", "pause", "stop", "before", "after", "last");
  for (uint64_t i = 0; i < there && i < most; i++) {
    const struct tarn_live_collection *each =
        &view->ring[(view->ring_count - 1 - i) % TARN_LIVE_RING];
    (void)fprintf(to, "%9s%8llu %-4u",
                  tool_duration(now > each->ended_ns ? now - each->ended_ns : 0),
                  (unsigned long long)each->number, (unsigned)each->generation % 1000);
    for (size_t used = tool_put_name(to, each->cause, 11); used < 12; used++)
      (void)fputc(' ', to);
    (void)fprintf(to, "%9s%9s%8s%8s  ", tool_duration(each->pause_ns), tool_duration(each->stop_ns),
                  tool_size(each->heap_before), tool_size(each->heap_after));
    (void)tool_put_name(to, each->last[0] ? each->last : "-", 10);
    (void)fputc('\n', to);
  }
}

static const char *state_name(uint64_t state) {
  static const char *const names[] = {"detached", "running", "blocked", "stopped"};
  return state < sizeof names / sizeof names[0] ? names[state] : "?";
}

static void print_thread(FILE *to, const struct tarn_live_view *view, uint64_t index) {
  const struct tarn_live_thread *each = &view->threads[index];
  (void)fprintf(to, "%9lld ", (long long)each->id);
  for (size_t used = tool_put_name(to, each->name, 19); used < 20; used++)
    (void)fputc(' ', to);
  if (collected(view))
    (void)fprintf(to, "%-10s%s\n", state_name(each->state),
                  each->stop_max_ns ? tool_duration(each->stop_max_ns) : "-");
  else
    (void)fprintf(to, "%8s%9s%9s\n", tool_size(each->held_bytes), tool_size(each->used_bytes),
                  tool_percent((double)each->used_bytes, (double)each->held_bytes));
}

static void print_threads(FILE *to, const struct tarn_live_view *view, unsigned most) {
  uint64_t there = view->thread_count < TARN_LIVE_THREADS ? view->thread_count : TARN_LIVE_THREADS;
  if (!there || !most)
    return;
  (void)fprintf(to, "%c%9s %-20s", VIEW_HEADING, "thread", "name");
  if (collected(view))
    (void)fprintf(to, "%-10s%s\n", "state", "longest stop for it");
  else
    (void)fprintf(to, "%8s%9s%9s\n", "pools", "in use", "of pools");
  for (uint64_t i = 0; i < there && i < most; i++)
    print_thread(to, view, i);
  if (view->thread_count > most)
    (void)fprintf(to, "%9s %llu threads in all\n", "...", (unsigned long long)view->thread_count);
}

/* --- size classes ---------------------------------------------------------------------------- */

static const struct tarn_live_view *sorted_view;

static uint64_t pools_of(const struct tarn_live_class *class) {
  return class->pools[0] + class->pools[1] + class->pools[2];
}

static int compare_classes(const void *a, const void *b) {
  const struct tarn_live_class *first = &sorted_view->classes[*(const unsigned *)a];
  const struct tarn_live_class *second = &sorted_view->classes[*(const unsigned *)b];
  uint64_t x = pools_of(first), y = pools_of(second);
  return x != y ? (x < y) - (x > y) : (first > second) - (first < second);
}

static void print_class(FILE *to, const struct tarn_live_view *view, unsigned index) {
  const struct tarn_live_class *class = &view->classes[index];
  uint64_t bytes = class->used * class->block_bytes, held = pools_of(class) * view->pool_bytes;
  (void)fprintf(to, "%9llu%9llu", (unsigned long long)class->block_bytes,
                (unsigned long long)pools_of(class));
  if (view->flags & TARN_LIVE_SHOWS_AGES)
    (void)fprintf(to, "%8llu%8llu%8llu", (unsigned long long)class->pools[0],
                  (unsigned long long)class->pools[1], (unsigned long long)class->pools[2]);
  (void)fprintf(to, "%12llu%9s%9s\n", (unsigned long long)class->used, tool_size(bytes),
                tool_percent((double)bytes, (double)held));
}

/* Those with the most pools. */
static void print_classes(FILE *to, const struct tarn_live_view *view, unsigned most) {
  unsigned order[TARN_LIVE_CLASSES], count = 0;
  for (unsigned i = 0; i < view->class_count; i++)
    if (pools_of(&view->classes[i]))
      order[count++] = i;
  if (!count || !most)
    return;
  sorted_view = view;
  qsort(order, count, sizeof *order, compare_classes);
  (void)fprintf(to, "%c%9s%9s", VIEW_HEADING, "block", "pools");
  if (view->flags & TARN_LIVE_SHOWS_AGES)
    (void)fprintf(to, "%8s%8s%8s", "gen 0", "gen 1", "gen 2");
  (void)fprintf(to, "%12s%9s%9s\n", "in use", "bytes", "of pools");
  for (unsigned i = 0; i < count && i < most; i++)
    print_class(to, view, order[i]);
}

/* --- all of it ------------------------------------------------------------------------------- */

void view_print(FILE *to, const struct looks *looks, const struct view_room *room) {
  const struct tarn_live_view *view = &looks->now;
  print_heap(to, looks);
  if (view->flags & TARN_LIVE_COUNTING)
    print_cycles(to, looks);
  else if (collected(view))
    print_pauses(to, looks);
  if (collected(view))
    print_stops(to, &view->stats);
  print_collections(to, view, room->collections);
  print_threads(to, view, room->threads);
  print_classes(to, view, room->classes);
}

void view_print_line_head(FILE *to) {
  (void)fprintf(to, "%8s%8s%8s%9s%7s%9s%9s%8s%8s\n", "heap", "in use", "live", "alloc/s", "gc",
                "last", "longest", "time", "threads");
}

void view_print_line(FILE *to, const struct looks *looks) {
  const tarn_stats *now = &looks->now.stats, *before = &looks->before.stats;
  if (!collected(&looks->now)) {
    (void)fprintf(to, "%8s%8s%8s%9s%7s%9s%9s%8s%8llu", tool_size(now->heap_bytes),
                  tool_size(looks->now.used_bytes), "-", "-", "-", "-", "-", "-",
                  (unsigned long long)now->threads);
    return;
  }
  bool counting = looks->now.flags & TARN_LIVE_COUNTING;
  uint64_t total = counting ? now->cycle_pause_total_ns : now->pause_total_ns;
  uint64_t total_before = counting ? before->cycle_pause_total_ns : before->pause_total_ns;
  (void)fprintf(to, "%8s%8s%8s%9s%7llu%9s%9s%8s%8llu", tool_size(now->heap_bytes),
                tool_size(looks->now.used_bytes), tool_size(now->live_bytes),
                tool_size(allocates(looks)),
                (unsigned long long)(counting ? now->cycle_collections : now->collections),
                tool_duration(counting ? now->cycle_pause_last_ns : now->pause_last_ns),
                tool_duration(counting ? now->cycle_pause_max_ns : now->pause_max_ns),
                share(looks, total, total_before), (unsigned long long)now->threads);
}

void view_print_brief(FILE *to, const struct looks *looks) {
  const tarn_stats *now = &looks->now.stats;
  (void)fprintf(to, "tarn: heap %s, in use %s, ", tool_size(now->heap_bytes),
                tool_size(looks->now.used_bytes));
  if (collected(&looks->now))
    (void)fprintf(to, "%s/s, ", tool_size(allocates(looks)));
  (void)fprintf(to, "threads %llu", (unsigned long long)now->threads);
  if (now->collections)
    (void)fprintf(to, ", gc %llu, longest %s", (unsigned long long)now->collections,
                  tool_duration(now->pause_max_ns));
}

void view_print_summary(FILE *to, const struct tarn_live_view *view, unsigned world) {
  const tarn_stats *stats = &view->stats;
  if (!collected(view)) {
    (void)fprintf(to, "tarn: malloc: heap at most %s, at the end used %s\n",
                  tool_size(stats->heap_bytes_max), tool_size(view->used_bytes));
    return;
  }
  (void)fprintf(to, "tarn: world %u: heap at most %s, allocated %s, at the end used %s\n", world,
                tool_size(stats->heap_bytes_max), tool_size(stats->allocated_bytes),
                tool_size(view->used_bytes));
  if (stats->collections || stats->cycle_collections)
    (void)fprintf(to, "tarn: world %u: %llu collections, pauses together %s, longest %s\n", world,
                  (unsigned long long)(stats->collections + stats->cycle_collections),
                  tool_duration(stats->pause_total_ns + stats->cycle_pause_total_ns),
                  tool_duration(stats->pause_max_ns > stats->cycle_pause_max_ns
                                    ? stats->pause_max_ns
                                    : stats->cycle_pause_max_ns));
}
