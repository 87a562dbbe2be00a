/* SPDX-License-Identifier: MIT */
/*
 * Phases: each thread builds up a population of blocks, then frees nine tenths of it in random
 * order; the next phase has other sizes. What is left stays for two phases more, spread over the
 * memory of the dead. The populations of all threads together are of one size, whatever their
 * number.
 *
 * usage: alloc_phases THREADS BYTES     (all that is allocated, over all phases)
 */
#include "alloc.h"

enum { PHASES = 8, STAY = 3, KEEP_ONE_OF = 10 };

/* Smallest and largest size of a phase. */
static const size_t mixes[][2] = {{16, 64}, {200, 1000}, {32, 400}, {1000, 5000}, {16, 4000}};
enum { MIXES = sizeof mixes / sizeof mixes[0] };

/* A growing table of blocks, itself a block that is reallocated. */
struct population {
  void **blocks;
  size_t count, room;
};

static void population_add(struct population *population, void *block) {
  if (population->count == population->room) {
    population->room = population->room ? 2 * population->room : 64;
    population->blocks =
        must(realloc(population->blocks, population->room * sizeof *population->blocks));
  }
  population->blocks[population->count++] = block;
}

/* Frees all but the first `keep`. */
static void population_cut(struct population *population, size_t keep, struct lane *lane) {
  while (population->count > keep)
    lane->sum += block_drop(population->blocks[--population->count]);
  population->room = keep ? keep : 1;
  population->blocks =
      must(realloc(population->blocks, population->room * sizeof *population->blocks));
}

static void grow(struct population *population, struct lane *lane, struct prng *prng,
                 const size_t *mix, uint64_t bytes) {
  for (uint64_t grown = 0; grown < bytes;) {
    size_t size = prng_between(prng, mix[0], mix[1]);
    population_add(population, block_new(size, lane->objects++));
    grown += size;
  }
}

static void run(struct lane *lane) {
  struct population populations[STAY] = {0};
  struct prng prng = prng_seed(lane->index);
  for (unsigned phase = 0; phase < PHASES; phase++) {
    struct population *population = &populations[phase % STAY];
    population_cut(population, 0, lane);
    grow(population, lane, &prng, mixes[phase % MIXES], lane->work / PHASES);
    shuffle(population->blocks, population->count, &prng);
    population_cut(population, population->count / KEEP_ONE_OF, lane);
  }
  for (unsigned i = 0; i < STAY; i++) {
    population_cut(&populations[i], 0, lane);
    free(populations[i].blocks);
  }
}

int main(int argc, char **argv) {
  static const struct lane_work todo = {NULL, run};
  run_program(argc, argv, &todo, NULL);
  return 0;
}
