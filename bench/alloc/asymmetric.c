/* SPDX-License-Identifier: MIT */
/*
 * Asymmetric: half of the threads only allocate, the others only free. Blocks go over in bundles,
 * which are allocated and freed in the same way, through one bounded queue that all threads share.
 * One thread alone fills the queue and empties it in turn.
 *
 * usage: alloc_asymmetric THREADS BLOCKS
 */
#include "alloc.h"

enum { BUNDLE = 120, QUEUE = 64, SPINS = 200 };

struct bundle {
  size_t count;
  void *blocks[BUNDLE];
};

/* `count` may be read without the lock, to see whether it is worth taking. */
static struct queue {
  pthread_mutex_t lock;
  atomic_size_t count;
  size_t first;
  struct bundle *bundles[QUEUE];
} queue = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool try_put(struct bundle *bundle) {
  if (queue.count == QUEUE)
    return false;
  pthread_mutex_lock(&queue.lock);
  bool room = queue.count < QUEUE;
  if (room)
    queue.bundles[(queue.first + queue.count++) % QUEUE] = bundle;
  pthread_mutex_unlock(&queue.lock);
  return room;
}

static struct bundle *try_take(void) {
  struct bundle *bundle = NULL;
  if (queue.count == 0)
    return NULL;
  pthread_mutex_lock(&queue.lock);
  if (queue.count > 0) {
    bundle = queue.bundles[queue.first];
    queue.first = (queue.first + 1) % QUEUE;
    queue.count--;
  }
  pthread_mutex_unlock(&queue.lock);
  return bundle;
}

/* Who has to wait does not sleep: waking it up would cost more than the blocks of a bundle. */
static void queue_put(struct bundle *bundle) {
  for (unsigned spins = 1; !try_put(bundle); spins++)
    if (spins % SPINS == 0)
      sched_yield();
}

static struct bundle *queue_take(void) {
  struct bundle *bundle;
  for (unsigned spins = 1; !(bundle = try_take()); spins++)
    if (spins % SPINS == 0)
      sched_yield();
  return bundle;
}

static void put_one(struct lane *lane, struct prng *prng) {
  struct bundle *bundle = must(malloc(sizeof *bundle));
  for (bundle->count = 0; bundle->count < BUNDLE; bundle->count++) {
    /* Small ones are the more frequent. */
    size_t most = (size_t)16 << prng_below(prng, 7);
    bundle->blocks[bundle->count] = block_new(prng_between(prng, 16, most), lane->objects++);
  }
  lane->objects++;
  queue_put(bundle);
}

static void take_one(struct lane *lane) {
  struct bundle *bundle = queue_take();
  for (size_t i = 0; i < bundle->count; i++)
    lane->sum += block_drop(bundle->blocks[i]);
  free(bundle);
}

static void run(struct lane *lane) {
  struct prng prng = prng_seed(lane->index);
  /* A lane's part of the blocks, but half of the lanes make no blocks. */
  size_t bundles = lane->work * (lane->lanes > 1 ? 2 : 1) / BUNDLE;
  if (lane->lanes > 1) {
    for (size_t i = 0; i < bundles; i++)
      if (lane->index % 2 == 0)
        put_one(lane, &prng);
      else
        take_one(lane);
    return;
  }
  for (size_t i = 0; i < bundles; i += QUEUE) {
    size_t count = bundles - i < QUEUE ? bundles - i : QUEUE;
    for (size_t j = 0; j < count; j++)
      put_one(lane, &prng);
    for (size_t j = 0; j < count; j++)
      take_one(lane);
  }
}

int main(int argc, char **argv) {
  static const struct lane_work todo = {NULL, run};
  run_program(argc, argv, &todo, NULL);
  return 0;
}
