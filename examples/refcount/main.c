/* SPDX-License-Identifier: MIT */
/*
 * object.h says what this program shows.  Here: arguments, the order of events, the answer, and the
 * check that nothing is left.
 */
#define _GNU_SOURCE
#include "program.h"

#include <errno.h>
#include <fts.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifndef TARN_SOURCE_DIR
#define TARN_SOURCE_DIR "."
#endif
#define BEST 10u

static const char usage[] =
    "usage: refcount [OPTION]... [FILE-OR-DIRECTORY]...\n"
    "Builds graphs of the words of files from objects that are counted, tells which words have "
    "the\n"
    "most different neighbours, drops everything and checks that nothing is left.\n"
    "Without files: Tarn's own sources, and /usr/share/common-licenses.\n\n"
    "  --threads N   readers, 1 to 256 (default 4)\n"
    "  --help        this text; TARN_HELP=1 lists the options of Tarn itself\n\n"
    "Exit status: 0 all is as it must be; 1 something could not be read or made, or was left;\n"
    "2 wrong arguments.\n";

void complain(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  flockfile(stderr);
  fputs("refcount: ", stderr);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  funlockfile(stderr);
  va_end(arguments);
}

static void *need(void *memory) { /* of the C library, before there is a world */
  if (memory == NULL) {
    complain("out of memory");
    exit(1);
  }
  return memory;
}

/* --- arguments ------------------------------------------------------------------------------- */

/* Returns the index of the first argument that is no option. */
static int parse(struct run *run, int count, char **arguments) {
  static const struct option options[] = {{"threads", required_argument, NULL, 't'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
  int option;
  while ((option = getopt_long(count, arguments, "", options, NULL)) != -1) {
    if (option != 't') {
      fputs(usage, option == 'h' ? stdout : stderr);
      exit(option == 'h' ? 0 : 2);
    }
    char *end = NULL;
    long value = strtol(optarg, &end, 10);
    if (end == optarg || *end != '\0' || value < 1 || value > 256) {
      complain("--threads needs a number from 1 to 256, not \"%s\"", optarg);
      exit(2);
    }
    run->threads = (unsigned)value;
  }
  return optind;
}

static void add_path(struct run *run, const char *path) {
  run->paths = need(realloc(run->paths, (run->path_count + 1) * sizeof *run->paths));
  run->paths[run->path_count++] = need(strdup(path));
}

/* Below directories, hidden names and symbolic links are left out. */
static void list_files(struct run *run, char *const *paths) {
  FTS *tree = need(fts_open(paths, FTS_PHYSICAL | FTS_COMFOLLOW | FTS_NOCHDIR, NULL));
  FTSENT *entry;
  while ((entry = fts_read(tree)) != NULL) {
    bool argument = entry->fts_level == FTS_ROOTLEVEL;
    if (entry->fts_info == FTS_D && !argument && entry->fts_name[0] == '.')
      fts_set(tree, entry, FTS_SKIP);
    else if (entry->fts_info == FTS_F && (argument || entry->fts_name[0] != '.'))
      add_path(run, entry->fts_path);
    else if (entry->fts_info == FTS_DNR || entry->fts_info == FTS_ERR || entry->fts_info == FTS_NS)
      fail(run, "%s: %s", entry->fts_path, strerror(entry->fts_errno));
    else if (argument && (entry->fts_info == FTS_DEFAULT || entry->fts_info == FTS_SLNONE))
      fail(run, "%s: neither a file nor a directory", entry->fts_path);
  }
  fts_close(tree);
}

/* --- the graph of all ------------------------------------------------------------------------ */

/* Starts the readers and waits for them, without keeping collections waiting. */
static void read_all(struct run *run, tarn_thread *self, struct worker *workers) {
  tarn_block_begin(self);
  for (unsigned i = 0; i < run->threads; i++) {
    workers[i].run = run;
    workers[i].number = i + 1;
    int error = pthread_create(&workers[i].id, NULL, reader_main, &workers[i]);
    if (error != 0) {
      fail(run, "cannot start a thread: %s", strerror(error));
      run->threads = i;
    }
  }
  for (unsigned i = 0; i < run->threads; i++)
    pthread_join(workers[i].id, NULL);
  tarn_block_end(self);
}

/* The parts of all readers in the first one, whose reference is returned. */
static struct map *merge_all(struct run *run, tarn_thread *self, struct worker *workers) {
  struct map *all = workers[0].part;
  for (unsigned i = 1; i < run->threads; i++) {
    if (all != NULL && workers[i].part != NULL && !run->stop &&
        !graph_merge(self, all, workers[i].part)) {
      run->stop = true;
      fail(run, "the graphs find no place together: %s", tarn_strerror(tarn_thread_status(self)));
    }
    tarn_unref(self, workers[i].part);
  }
  return all;
}

static void tell_answer(const struct map *graph) {
  struct found found[BEST];
  size_t count = graph_best(graph, found, BEST);
  puts("words with the most different neighbours");
  for (size_t i = 0; i < count; i++)
    printf("  %-24.*s %6zu, seen %lld times\n", (int)found[i].word->length, found[i].word->text,
           found[i].neighbours, (long long)found[i].times);
  printf("words %zu, edges %zu\n", graph->used, graph_edges(graph));
}

/* --- nothing is left ------------------------------------------------------------------------- */

struct left {
  size_t blocks, bytes;
  const tarn_type *type; /* of the last one; NULL: it is no object */
};

/* With the world stopped, so it only looks. */
static bool count_left(const tarn_block_info *info, void *data) {
  struct left *left = data;
  left->blocks++;
  left->type = info->type;
  left->bytes += info->size;
  return true;
}

/* Counts have freed what was in no circle; one collection finds all the rest. */
static void check_nothing_left(struct run *run, tarn_thread *self) {
  struct left left = {.blocks = 0};
  tarn_stats stats = {.struct_size = sizeof stats};
  tarn_status status = tarn_collect_cycles(self, TARN_GENERATION_FULL);
  if (status == TARN_OK)
    status = tarn_heap_walk(self, count_left, &left);
  if (status == TARN_OK)
    status = tarn_stats_get(run->world, &stats);
  if (status != TARN_OK)
    fail(run, "cannot look for what is left: %s", tarn_strerror(status));
  if (left.blocks != 0)
    fail(run, "%zu blocks of %zu bytes are left, among them: %s", left.blocks, left.bytes,
         left.type == NULL ? "entries of a map" : tarn_type_name(left.type));
  if (stats.large_objects != 0 || stats.heap_bytes != 0)
    fail(run, "%llu large objects are left, and a heap of %llu bytes",
         (unsigned long long)stats.large_objects, (unsigned long long)stats.heap_bytes);
  if (string_count() != 0)
    fail(run, "%zu strings are left in their table", string_count());
  if (streams_opened() != streams_closed())
    fail(run, "%llu of %llu files are still open",
         (unsigned long long)(streams_opened() - streams_closed()),
         (unsigned long long)streams_opened());
}

static void report(const struct run *run, double seconds) {
  tarn_stats stats = {.struct_size = sizeof stats};
  (void)tarn_stats_get(run->world, &stats);
  printf("read: %llu of %zu files, %llu words, %llu nodes, by %u threads in %.2f s\n",
         (unsigned long long)run->files, run->path_count, (unsigned long long)run->words,
         (unsigned long long)run->nodes, run->threads, seconds);
  printf("cycles: %llu objects of garbage found in %llu collections; %llu files closed by them\n",
         (unsigned long long)stats.cycle_garbage, (unsigned long long)stats.cycle_collections,
         (unsigned long long)stats.cycle_finalizers);
  printf("longest stop: %.3f ms; largest heap: %.1f MiB\n", (double)stats.cycle_pause_max_ns * 1e-6,
         (double)stats.heap_bytes_max / 1048576);
}

/* Everything that needs an attached thread. */
static void show(struct run *run, tarn_thread *self) {
  struct worker *workers = need(calloc(run->threads, sizeof *workers));
  struct timespec from, to;
  clock_gettime(CLOCK_MONOTONIC, &from);
  if (graph_start(self)) {
    read_all(run, self, workers);
    struct map *all = merge_all(run, self, workers);
    if (all != NULL && !run->stop)
      tell_answer(all);
    tarn_unref(self, all); /* with all of its circles */
  } else {
    fail(run, "cannot start: %s", tarn_strerror(tarn_thread_status(self)));
  }
  graph_end(self);
  clock_gettime(CLOCK_MONOTONIC, &to);
  check_nothing_left(run, self);
  report(run, (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) * 1e-9);
  free(workers);
}

int main(int count, char **arguments) {
  static char *defaults[] = {TARN_SOURCE_DIR "/include",   TARN_SOURCE_DIR "/lib",
                             TARN_SOURCE_DIR "/examples",  TARN_SOURCE_DIR "/bench",
                             "/usr/share/common-licenses", NULL};
  static struct run run = {.threads = 4};
  tarn_thread *self = NULL;
  int first = parse(&run, count, arguments);
  list_files(&run, first < count ? arguments + first : defaults);

  tarn_options options = TARN_OPTIONS_INIT;
  options.set = "min-heap=4M,young=2M"; /* so that there is something to see */
  options.flags = TARN_OPTIONS_COUNTING;
  tarn_status status = tarn_world_create(&options, &run.world);
  if (status == TARN_EHELP)
    return 0;
  if (status == TARN_OK)
    status = tarn_thread_attach(run.world, &self);
  if (status == TARN_OK)
    status = objects_start(run.world);
  if (status == TARN_OK)
    show(&run, self);
  else
    fail(&run, "cannot start: %s", tarn_strerror(status));
  if (self != NULL)
    tarn_thread_detach(self);
  if (run.world != NULL && (status = tarn_world_destroy(run.world)) != TARN_OK)
    fail(&run, "cannot end the world: %s", tarn_strerror(status));
  for (size_t i = 0; i < run.path_count; i++)
    free(run.paths[i]);
  free(run.paths);
  puts(run.failed ? "FAILED" : "everything is as it must be: nothing is left");
  return run.failed ? 1 : 0;
}
