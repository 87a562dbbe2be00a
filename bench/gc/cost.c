/* SPDX-License-Identifier: MIT */
/*
 * bench/gc/cost.c: what looking inside costs, by turns within one process.
 *
 *   gc_cost_tarn GENERATIONS ROUNDS DEPTH DIRECTORY
 *
 * In each generation there is a world for each thing that can be switched on, and two with nothing
 * on.  Each keeps a tree of DEPTH, and in each round each does the rest of the work of gcbench.c
 * once more, forwards in one round and backwards in the next, beginning with another one each time.
 * Turns are short, for a processor that is shared with others can be slower by half from one second
 * to the next; and what lies where in memory makes a percent between worlds that are alike, which
 * many generations make a mean of, as they do of where collections come.
 *
 * Of each: the processor time of the thread that works, which marks and sweeps as well, by the mean
 * of the two with nothing on in the same round; of that the median of each generation, the mean of
 * those, and where it lies with a certainty of 95 %.  And as medians what Tarn's other threads took
 * in a turn, whosever it was, and the end of a world, which writes what there is to write.
 */
#include <string.h>
#include "gcbench.h"

enum { KINDS = 7, ROUNDS_MOST = SAMPLES_MOST, GENERATIONS_MOST = 1000 };

static const struct {
  const char *name, *option; /* with the directory where there is a %s */
} kinds[KINDS] = {
    {"off", ""},
    {"again", ""},
    {"log", ",log=gc=info:file=%s/cost.log"},
    {"metrics", ",metrics=%s/cost.metrics"},
    {"profile", ",profile=%s/cost.pb"},
    {"trace", ",trace=%s/cost.json"},
    {"live", ",live=1"},
};

static struct kind {
  tarn_world *world;
  const void *node, *array; /* types */
  struct mutator mutator;
  struct node *lasting; /* a root */
  double times[ROUNDS_MOST];
  double ratios[GENERATIONS_MOST];
  struct samples ends;
} all[KINDS];

static struct samples others;
static uint64_t check; /* of the round; 0: nobody has worked in it yet */

static void begin(struct kind *kind, const char *option, const char *directory) {
  char set[512];
  size_t limit = 4 * (size_t)tree_nodes(most_depth) * sizeof(struct node);
  int length = snprintf(set, sizeof set,
                        "strict=1,markers=1,sweeper=0,purger=0,hard-limit=%zu,soft-limit=%zu,"
                        "min-heap=%zu,growth=1000",
                        limit, limit, limit);
  snprintf(set + length, sizeof set - (size_t)length, option, directory);
  tarn_options options = TARN_OPTIONS_INIT;
  options.set = set;
  options.flags = TARN_OPTIONS_BARRIERS;
  if (tarn_world_create(&options, &world) != TARN_OK ||
      tarn_root_add(world, (void **)&kind->lasting) != TARN_OK)
    subject_fail(SUBJECT, "cannot make a world");
  kind->world = world;
  shape_make(&node_shape);
  shape_make(&array_shape);
  kind->node = node_shape.type;
  kind->array = array_shape.type;
  mutator_begin(&kind->mutator);
  struct state state = {.mutator = &kind->mutator, .random = 1};
  kind->lasting = bottom_up(&state, most_depth);
  mutator_wait_begin(&kind->mutator);
}

static void turn(struct kind *kind, size_t round) {
  mutator_wait_end(&kind->mutator);
  node_shape.type = kind->node;
  array_shape.type = kind->array;
  struct state state = {.mutator = &kind->mutator, .random = round};
  double own = subject_clock(CLOCK_THREAD_CPUTIME_ID);
  double both = subject_clock(CLOCK_PROCESS_CPUTIME_ID);
  uint64_t sum = come_and_go(&state);
  both = subject_clock(CLOCK_PROCESS_CPUTIME_ID) - both;
  kind->times[round] = own = subject_clock(CLOCK_THREAD_CPUTIME_ID) - own;
  samples_add(&others, both > own ? both - own : 0);
  sum += state.nodes + state.garbage + kind->lasting->number;
  if (check == 0)
    check = sum;
  if (sum != check)
    subject_fail(SUBJECT, "not all worlds of a round have done the same");
  mutator_wait_begin(&kind->mutator);
}

static void end(struct kind *kind) {
  mutator_wait_end(&kind->mutator);
  double from = subject_clock(CLOCK_PROCESS_CPUTIME_ID);
  mutator_end(&kind->mutator);
  if (tarn_root_remove(kind->world, (void **)&kind->lasting) != TARN_OK ||
      tarn_world_destroy(kind->world) != TARN_OK)
    subject_fail(SUBJECT, "a world did not end");
  samples_add(&kind->ends, subject_clock(CLOCK_PROCESS_CPUTIME_ID) - from);
}

/* By the mean of the first two; those by each other. */
static double ratio_of(size_t kind, size_t rounds) {
  static struct samples ratios;
  ratios.count = 0;
  for (size_t round = 0; round < rounds; round++) {
    double off = all[0].times[round], again = all[1].times[round];
    samples_add(&ratios, all[kind].times[round] / (kind <= 1 ? off : (off + again) / 2));
  }
  return samples_at(&ratios, 0.5);
}

static void generation(size_t number, size_t rounds, const char *directory) {
  for (size_t i = 0; i < KINDS; i++) {
    size_t kind = (i + number) % KINDS;
    begin(&all[kind], kinds[kind].option, directory);
  }
  for (size_t round = 0; round < rounds; round++) {
    check = 0;
    for (size_t i = 0; i < KINDS; i++)
      turn(&all[((round % 2 ? KINDS - 1 - i : i) + round / 2) % KINDS], round);
  }
  for (size_t i = 0; i < KINDS; i++) {
    end(&all[i]);
    all[i].ratios[number] = ratio_of(i, rounds);
  }
}

static void print_kind(size_t kind, size_t generations) {
  const double *ratios = all[kind].ratios;
  double sum = 0, squares = 0, count = (double)generations;
  for (size_t i = 0; i < generations; i++)
    sum += ratios[i];
  double mean = sum / count;
  for (size_t i = 0; i < generations; i++)
    squares += (ratios[i] - mean) * (ratios[i] - mean);
  /* Student's factor for 95 %, within a hundredth for ten degrees and more. */
  double freedom = count - 1, factor = 1.96 + 2.37 / freedom + 2.82 / (freedom * freedom);
  printf("%-8s %.4f +- %.4f; its end %.2f ms\n", kinds[kind].name, mean,
         factor * sqrt(squares / freedom / count), samples_at(&all[kind].ends, 0.5) / 1e6);
}

int main(int argc, char **argv) {
  if (argc != 5)
    subject_fail(SUBJECT, "usage: GENERATIONS ROUNDS DEPTH DIRECTORY");
  size_t generations = subject_number(argv[1]), rounds = subject_number(argv[2]);
  most_depth = (unsigned)subject_number(argv[3]);
  if (generations < 5 || generations > GENERATIONS_MOST || rounds < 5 || rounds > ROUNDS_MOST ||
      most_depth < 13 || most_depth > 24)
    subject_fail(SUBJECT, "5 to 1000 generations, 5 to 4096 rounds, and a depth of 13 to 24");
  for (size_t number = 0; number < generations; number++)
    generation(number, rounds, argv[4]);
  struct samples off = {.count = rounds};
  memcpy(off.values, all[0].times, rounds * sizeof off.values[0]);
  printf(
      "%zu generations of %zu rounds; %.1f ms a turn with nothing on, %.3f ms of other threads\n",
      generations, rounds, samples_at(&off, 0.5) / 1e6, samples_at(&others, 0.5) / 1e6);
  for (size_t kind = 1; kind < KINDS; kind++)
    print_kind(kind, generations);
  print_check(check);
  return 0;
}
