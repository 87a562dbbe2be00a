/* SPDX-License-Identifier: MIT */
/*
 * bench/gc/server.c: pauses of a program that answers requests from tables that it keeps in memory.
 *
 *   gc_server_PEER THREADS LIVE_MIB CHURN PERCENT
 *
 * Each thread fills a table of records until its part of LIVE_MIB is used, by the bytes it asks
 * for. A record of 64 bytes refers to a list of 2 to 32 references, to symbols that the thread
 * keeps, to a text without pointers of 2 to 64 words, and to the symbol that is its name. Then it
 * answers requests: one record at random is read, with its list, and replaced, and a text of an
 * answer is made and dropped, until CHURN times the live bytes were allocated. The heap is as large
 * as PERCENT of LIVE_MIB.
 */
#include "jobs.h"

struct symbol {
  const void *type;
  struct symbol *next;
  uintptr_t number, rest;
};

struct array {
  const void *type;
  size_t count;
  void *values[];
};

struct text {
  const void *type;
  size_t count;
  uint64_t values[];
};

struct record {
  const void *type;
  struct array *list;
  struct text *text;
  struct symbol *name;
  uint64_t number, rest[3];
};

static struct shape symbol_shape = {
    .name = "symbol", .size = sizeof(struct symbol), .slots = 1u << 1};
static struct shape record_shape = {
    .name = "record", .size = sizeof(struct record), .slots = 1u << 1 | 1u << 2 | 1u << 3};
static struct shape array_shape = {
    .name = "array", .size = sizeof(struct array), .array = true, .traced = true};
static struct shape text_shape = {.name = "text", .size = sizeof(struct text), .array = true};

enum { SYMBOLS = 1024, LIST_LEAST = 2, LIST_MOST = 32, TEXT_LEAST = 2, TEXT_MOST = 64 };

static uint64_t live_bytes, churn; /* of each thread; how many times that */

struct state {
  struct mutator *mutator;
  uint64_t random, bytes, objects, sum;
  struct array *symbols, *table;
  size_t records;
};

static void *must(void *object) {
  if (!object)
    subject_fail(SUBJECT, "out of memory");
  return object;
}

static struct array *make_array(struct state *state, size_t count) {
  state->bytes += sizeof(struct array) + 8 * count;
  state->objects++;
  return must(array_new(state->mutator, &array_shape, count));
}

static struct text *make_text(struct state *state) {
  size_t count = TEXT_LEAST + random_below(&state->random, TEXT_MOST - TEXT_LEAST + 1);
  state->bytes += sizeof(struct text) + 8 * count;
  state->objects++;
  struct text *text = must(array_new(state->mutator, &text_shape, count));
  for (size_t i = 0; i < count; i++)
    text->values[i] = state->objects + i;
  return text;
}

static struct symbol *any_symbol(struct state *state) {
  return state->symbols->values[random_below(&state->random, SYMBOLS)];
}

static struct record *make_record(struct state *state) {
  struct array *list =
      make_array(state, LIST_LEAST + random_below(&state->random, LIST_MOST - LIST_LEAST + 1));
  struct text *text = NULL;
  ROOTS(state->mutator, &list, &text);
  for (size_t i = 0; i < list->count; i++)
    list->values[i] = any_symbol(state);
  text = make_text(state);
  struct record *record = must(object_new(state->mutator, &record_shape));
  state->bytes += sizeof *record;
  record->number = ++state->objects;
  record->list = list;
  record->text = text;
  record->name = any_symbol(state);
  return record;
}

static void make_symbols(struct state *state) {
  state->symbols = make_array(state, SYMBOLS);
  for (size_t i = 0; i < SYMBOLS; i++) {
    struct symbol *symbol = must(object_new(state->mutator, &symbol_shape));
    symbol->number = i;
    object_store(state->mutator, state->symbols, &state->symbols->values[i], symbol);
  }
}

/* The average record has 64 bytes and lists of 17 + 2 and 33 + 2 words. */
static void fill(struct state *state) {
  size_t places = live_bytes / 400;
  make_symbols(state);
  state->table = make_array(state, places);
  while (state->bytes < live_bytes && state->records < places) {
    struct record *record = make_record(state);
    object_store(state->mutator, state->table, &state->table->values[state->records++], record);
  }
}

static uint64_t read_record(const struct record *record) {
  uint64_t sum = record->number + record->name->number + record->text->values[1];
  for (size_t i = 0; i < record->list->count; i++)
    sum += ((const struct symbol *)record->list->values[i])->number;
  return sum;
}

static void answer(struct state *state) {
  size_t place = random_below(&state->random, state->records);
  state->sum += read_record(state->table->values[place]);
  struct record *record = make_record(state);
  object_store(state->mutator, state->table, &state->table->values[place], record);
  state->sum += make_text(state)->count;
}

static pthread_barrier_t filled;
static double objects_of[THREADS_MOST], longest_of[THREADS_MOST];

static void wait_for_others(struct mutator *mutator) {
  mutator_wait_begin(mutator);
  pthread_barrier_wait(&filled);
  mutator_wait_end(mutator);
}

static uint64_t serve(struct state *state, double *longest) {
  double before = subject_clock(CLOCK_MONOTONIC);
  for (state->bytes = state->objects = 0; state->bytes < churn * live_bytes;) {
    answer(state);
    double now = subject_clock(CLOCK_MONOTONIC);
    *longest = now - before > *longest ? now - before : *longest;
    before = now;
  }
  return state->sum;
}

static struct stretch stretch;

/* Filling is not measured; the first thread starts the clock. */
static uint64_t work(struct mutator *mutator, struct job *job) {
  struct state state = {.mutator = mutator, .random = job->index + 1};
  ROOTS(mutator, &state.symbols, &state.table);
  fill(&state);
  wait_for_others(mutator);
  if (job->index == 0) {
    stretch = stretch_begin();
    peer_watch_begin();
  }
  wait_for_others(mutator);
  uint64_t sum = serve(&state, &longest_of[job->index]);
  objects_of[job->index] = (double)state.objects;
  *job->keep = state.table;
  return sum;
}

static void report(unsigned threads) {
  double objects = 0, longest = 0;
  for (unsigned i = 0; i < threads; i++) {
    objects += objects_of[i];
    longest = longest_of[i] > longest ? longest_of[i] : longest;
  }
  stretch_end(stretch, objects);
  peer_watch_end();
  subject_figure("request_max_ns", longest);
}

static void make_shapes(void) {
  shape_make(&symbol_shape);
  shape_make(&record_shape);
  shape_make(&array_shape);
  shape_make(&text_shape);
}

int main(int argc, char **argv) {
  if (argc != 5)
    subject_fail(SUBJECT, "usage: THREADS LIVE_MIB CHURN PERCENT");
  unsigned threads = (unsigned)subject_number(argv[1]);
  size_t live = (size_t)subject_number(argv[2]) * 1048576;
  if (threads < 1 || threads > 4 || live < 1048576)
    subject_fail(SUBJECT, "1 to 4 threads, at least 1 MiB");
  live_bytes = live / threads;
  churn = subject_number(argv[3]);
  struct peer_setup setup = {.limit = live / 100 * (size_t)subject_number(argv[4])};
  peer_start(&setup);
  make_shapes();
  pthread_barrier_init(&filled, NULL, threads);
  struct mutator mutator;
  mutator_begin(&mutator);
  {
    void *keep[4] = {NULL};
    ROOTS(&mutator, &keep[0], &keep[1], &keep[2], &keep[3]);
    uint64_t check = run_jobs(&mutator, threads, keep, work);
    report(threads);
    subject_figure("limit_bytes", (double)setup.limit);
    peer_finish();
    print_check(check);
  }
  mutator_end(&mutator);
  return 0;
}
