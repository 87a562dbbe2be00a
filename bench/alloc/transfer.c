/* SPDX-License-Identifier: MIT */
/*
 * Transfer: each thread replaces random blocks of its own; some that it lets go of it leaves in one
 * of a thousand shared places instead of freeing them, and frees what lay there. So a part of
 * the frees is remote, from every thread to every other, in no order.
 *
 * usage: alloc_transfer THREADS REPLACEMENTS
 */
#include "alloc.h"

enum { OWN = 8000, SHARED = 1000, SHARE_ONE_OF = 4 };

static void *_Atomic shared_places[SHARED];

static void let_go(struct lane *lane, struct prng *prng, void *block) {
  if (prng_below(prng, SHARE_ONE_OF) == 0)
    block = atomic_exchange(&shared_places[prng_below(prng, SHARED)], block);
  if (block)
    lane->sum += block_drop(block);
}

/* As in a server, with more large buffers. */
static size_t next_size(struct prng *prng) {
  return prng_below(prng, 100) == 0 ? prng_between(prng, 4096, 32768) : server_size(prng);
}

static void run(struct lane *lane) {
  void **own = must(calloc(OWN, sizeof *own));
  struct prng prng = prng_seed(lane->index);
  for (uint64_t i = 0; i < lane->work; i++) {
    size_t place = prng_below(&prng, OWN);
    if (own[place])
      let_go(lane, &prng, own[place]);
    own[place] = block_new(next_size(&prng), lane->objects++);
  }
  for (size_t i = 0; i < OWN; i++)
    if (own[i])
      let_go(lane, &prng, own[i]);
  free(own);
  /* Whoever comes to its end clears the places; what comes later is cleared by the last. */
  for (size_t i = 0; i < SHARED; i++) {
    void *block = atomic_exchange(&shared_places[i], NULL);
    if (block)
      lane->sum += block_drop(block);
  }
}

int main(int argc, char **argv) {
  static const struct lane_work todo = {NULL, run};
  run_program(argc, argv, &todo, NULL);
  return 0;
}
