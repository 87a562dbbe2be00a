/* SPDX-License-Identifier: MIT */
/* wordgraph.h says what this program shows.  Here: arguments, the world, the order of events. */
#define _GNU_SOURCE
#include "wordgraph.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifndef TARN_SOURCE_DIR
#define TARN_SOURCE_DIR "."
#endif
#define WORDS_A_PASS 16000000 /* about; the default of --rounds comes from it */

static const char usage[] =
    "usage: wordgraph [OPTION]... [FILE-OR-DIRECTORY]...\n"
    "Builds graphs of the words of files in Tarn's heap, and checks them against a plain count.\n"
    "Without files: Tarn's own sources, and /usr/share/common-licenses.\n\n"
    "  --threads N   readers, 1 to 256 (default 4)\n"
    "  --passes N    graphs to build and drop, 1 to 1000 (default 5)\n"
    "  --rounds N    how often a pass reads each file, 1 to 10000 (default: until there are\n"
    "                16 million words in a pass)\n"
    "  --help        this text; TARN_HELP=1 lists the options of Tarn itself\n\n"
    "Exit status: 0 all is as it must be, 1 it is not or the run failed, 2 wrong arguments.\n";

static unsigned number(const char *name, const char *text, unsigned long most) {
  char *end = NULL;
  errno = 0;
  unsigned long value = strtoul(text, &end, 10);
  if (errno != 0 || *end != '\0' || *text == '-' || value < 1 || value > most) {
    complain("--%s needs a number from 1 to %lu, not \"%s\"", name, most, text);
    exit(2);
  }
  return (unsigned)value;
}

/* Returns the index of the first argument that is no option. */
static int parse(struct run *run, int count, char **arguments) {
  static const struct option options[] = {{"threads", required_argument, NULL, 't'},
                                          {"passes", required_argument, NULL, 'p'},
                                          {"rounds", required_argument, NULL, 'r'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
  int option;
  while ((option = getopt_long(count, arguments, "", options, NULL)) != -1) {
    if (option == 't')
      run->threads = number("threads", optarg, 256);
    else if (option == 'p')
      run->passes = number("passes", optarg, 1000);
    else if (option == 'r')
      run->rounds = number("rounds", optarg, 10000);
    else {
      fputs(usage, option == 'h' ? stdout : stderr);
      exit(option == 'h' ? 0 : 2);
    }
  }
  return optind;
}

static void count_files(struct run *run, char **paths) {
  static char *defaults[] = {TARN_SOURCE_DIR "/include",   TARN_SOURCE_DIR "/lib",
                             TARN_SOURCE_DIR "/examples",  TARN_SOURCE_DIR "/bench",
                             "/usr/share/common-licenses", NULL};
  plain_start(&run->plain, *paths != NULL ? paths : defaults);
  if (run->plain.total == 0) {
    complain("no word to read in %zu files", run->plain.input_count);
    exit(1);
  }
}

static void prepare(struct run *run) {
  if (run->rounds == 0)
    run->rounds = (unsigned)(1 + WORDS_A_PASS / run->plain.total);
  run->turns = run->plain.input_count * run->rounds;
  run->descriptors = need(calloc(run->turns * run->passes, sizeof *run->descriptors));
  run->pass = need(calloc(run->passes, sizeof *run->pass));
  for (unsigned i = 0; i < run->passes; i++)
    atomic_init(&run->pass[i].readers, run->threads);
  for (unsigned i = 0; i < SHARDS; i++)
    pthread_mutex_init(&run->locks[i].mutex, NULL);
}

static bool start_world(struct run *run) {
  tarn_options options = TARN_OPTIONS_INIT;
  options.set = "min-heap=8M"; /* so that there is something to see; TARN_MIN_HEAP still wins */
  tarn_status status = tarn_world_create(&options, &run->world);
  if (status == TARN_EHELP)
    exit(0);
  if (status != TARN_OK)
    fail(run, "cannot make a world: %s", tarn_strerror(status));
  return status == TARN_OK && graph_start(run) && reader_start(run);
}

/* Starts the readers and waits for them, with a progress line every second. */
static void read_all(struct run *run, struct worker *workers) {
  double since = now_seconds();
  for (unsigned i = 0; i < run->threads; i++) {
    workers[i].run = run;
    workers[i].number = i + 1;
    int error = pthread_create(&workers[i].id, NULL, reader_main, &workers[i]);
    if (error != 0) {
      fail(run, "cannot start a thread: %s", strerror(error));
      run->threads = i;
    }
  }
  for (unsigned i = 0; i < run->threads; i++) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    for (until.tv_sec++; pthread_timedjoin_np(workers[i].id, NULL, &until) == ETIMEDOUT;
         until.tv_sec++)
      progress(run, workers, now_seconds() - since, false);
  }
  run->seconds = now_seconds() - since;
  progress(run, workers, run->seconds, true);
}

/* Nothing is alive any more: after a collection every file is closed and every word is gone. */
static void check_end(struct run *run) {
  tarn_thread *self = NULL;
  size_t wrong = 0;
  tarn_status status = tarn_thread_attach(run->world, &self);
  if (status == TARN_OK)
    status = tarn_collect(self, TARN_GENERATION_FULL);
  if (status != TARN_OK)
    fail(run, "cannot collect: %s", tarn_strerror(status));
  for (size_t i = 0; i < run->turns * run->passes; i++)
    wrong += run->descriptors[i].opened != run->descriptors[i].closed;
  wrong += run->close_errors;
  if (wrong != 0)
    fail(run, "%zu descriptors were not closed exactly once", wrong);
  if (tarn_weak_table_count(run->words) != 0)
    fail(run, "%zu words outlived their graphs", tarn_weak_table_count(run->words));
  if (run->differences != 0 || run->passes_checked != run->passes)
    fail(run, "not all graphs were found right");
  tarn_thread_detach(self);
}

int main(int count, char **arguments) {
  static struct run run = {.threads = 4, .passes = 5};
  int first = parse(&run, count, arguments);
  count_files(&run, arguments + first);
  prepare(&run);
  if (!start_world(&run))
    return 1;
  struct worker *workers = need(calloc(run.threads, sizeof *workers));
  read_all(&run, workers);
  for (unsigned i = 0; i < run.passes; i++)
    run.pass[i].graph = NULL; /* those that a run that failed has left */
  check_end(&run);
  report(&run, workers);

  tarn_status status = tarn_world_destroy(run.world);
  if (status != TARN_OK)
    fail(&run, "cannot end the world: %s", tarn_strerror(status));
  plain_end(&run.plain);
  free(run.descriptors);
  free(run.pass);
  free(workers);
  puts(run.failed ? "FAILED" : "everything is as it must be");
  return run.failed ? 1 : 0;
}
