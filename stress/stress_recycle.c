/* SPDX-License-Identifier: MIT */
/*
 * stress_recycle hunts blocks that are handed out twice, and frees that are lost, between outbox,
 * bits, count and mailbox.
 *
 * One or two producers allocate raw blocks as fast as they can and pass them through rings to many
 * consumers, which free them in batches of random sizes and in random order; so each pool is freed
 * into by all of them while its owner takes back and hands out again.  A word of each block is
 * claimed by an atomic exchange when it is allocated and released before it is freed: the second of
 * two who get the same block sees the claim at once.  Nothing is collected.  A producer may have so
 * many pools as the blocks that are out can fill, and not many more: what does not come home shows
 * as growth.  At the end the counts are exact and no pool is left.
 */
#include "common.h"
#include <sched.h>
#include <string.h>

#define RING 256u /* blocks on their way from one producer to one consumer */
#define BATCH 200u
#define PRODUCERS 2u
#define MOST_THREADS 64u
#define CLASSES 3u

/* Small ones have many words of bits, of the last there are two in a pool. */
static const size_t sizes[PRODUCERS][CLASSES] = {{24, 64, 2048}, {40, 512, 32768}};

#define CLAIM ((uint64_t)0x5ca1ab1e << 32)
#define RELEASED ((uint64_t)0xf7eed0f7 << 32)

/* The third word: the first two are the library's own while a block is free. */
struct block {
  uint64_t unused[2];
  _Atomic uint64_t claim;
};

/* Of one producer and one consumer.  Cache lines of their own. */
struct ring {
  _Alignas(64) _Atomic uint64_t put; /* the producer's */
  _Alignas(64) _Atomic uint64_t got; /* the consumer's */
  _Alignas(64) struct block *blocks[RING];
};
static struct ring rings[PRODUCERS][MOST_THREADS];

static tarn_world *world;
static unsigned producers, consumers;
static _Atomic unsigned producers_left;
static _Atomic uint64_t made, freed;

/* --- claims ---------------------------------------------------------------------------------- */

/* Relaxed, all of them: the library hands the block over, and each exchange is of one word.  Memory
 * that was never used is zero, and in checking builds a free block is full of a pattern. */
static void claim(struct block *block, uint64_t number) {
  uint64_t before =
      atomic_exchange_explicit(&block->claim, CLAIM | (uint32_t)number, memory_order_relaxed);
  if (before >> 32 == CLAIM >> 32)
    stress_fail(__FILE__, __LINE__, "block %p was handed out as number %u, but number %u has it",
                (void *)block, (unsigned)number, (unsigned)before);
}

static void release(struct block *block) {
  uint64_t before = atomic_exchange_explicit(&block->claim, RELEASED, memory_order_relaxed);
  if (before >> 32 != CLAIM >> 32)
    stress_fail(__FILE__, __LINE__, "block %p is claimed by nobody: %#llx", (void *)block,
                (unsigned long long)before);
}

static void free_block(tarn_thread *self, struct block *block) {
  release(block);
  tarn_free(self, block);
  atomic_fetch_add_explicit(&freed, 1, memory_order_relaxed);
}

/* --- rings ----------------------------------------------------------------------------------- */

/* Release and acquire: the block's claim goes with it. */
static bool put(struct ring *ring, struct block *block) {
  uint64_t at = atomic_load_explicit(&ring->put, memory_order_relaxed);
  if (at - atomic_load_explicit(&ring->got, memory_order_acquire) == RING)
    return false;
  ring->blocks[at % RING] = block;
  atomic_store_explicit(&ring->put, at + 1, memory_order_release);
  return true;
}

static struct block *get(struct ring *ring) {
  uint64_t at = atomic_load_explicit(&ring->got, memory_order_relaxed);
  if (at == atomic_load_explicit(&ring->put, memory_order_acquire))
    return NULL;
  struct block *block = ring->blocks[at % RING];
  atomic_store_explicit(&ring->got, at + 1, memory_order_release);
  return block;
}

/* --- how much memory there may be ------------------------------------------------------------ */

/*
 * A pool is made when those that its owner has are full: fewer than an eighth of each is free as
 * far as has been counted.  So the blocks that are out, here, in rings and batches, in outboxes and
 * counted but not posted by a thread that lost its processor in between, bound the number of pools.
 */
static uint64_t pools_of_class(size_t size) {
  uint64_t capacity = 65536 / size, most_free = capacity / 8 < 64 ? capacity / 8 : 64;
  uint64_t out = consumers * (RING + BATCH + 32768 / size + 64) + BATCH;
  return out / (capacity - most_free) + 2 + consumers;
}

static void check_pools(void) {
  uint64_t most = 0, pools = stress_stats(world).pools;
  for (unsigned i = 0; i < producers; i++)
    for (unsigned k = 0; k < CLASSES; k++)
      most += pools_of_class(sizes[i][k]);
  most += consumers; /* what consumers allocate */
  if (pools > most)
    stress_fail(__FILE__, __LINE__, "there are %llu pools, for blocks that %llu can hold",
                (unsigned long long)pools, (unsigned long long)most);
}

/* --- producers ------------------------------------------------------------------------------- */

static struct block *make(tarn_thread *self, size_t size) {
  struct block *block = tarn_alloc_raw(self, size);
  STRESS_CHECK(block);
  claim(block, atomic_fetch_add_explicit(&made, 1, memory_order_relaxed));
  return block;
}

/* A batch of one class, to one consumer after the other; what finds no room is freed by its maker.
 */
static void produce_some(tarn_thread *self, unsigned number, struct stress_random *random) {
  size_t size = sizes[number][stress_below(random, 8) ? stress_below(random, 2) : 2];
  unsigned count = 1 + (unsigned)stress_below(random, BATCH);
  unsigned to = (unsigned)stress_below(random, consumers);
  for (unsigned i = 0; i < count; i++, to = (to + 1) % consumers) {
    struct block *block = make(self, size);
    for (unsigned tries = 0; !put(&rings[number][to], block); tries++) {
      if (tries == consumers) {
        free_block(self, block);
        (void)sched_yield();
        break;
      }
      to = (to + 1) % consumers;
    }
  }
}

static void produce(unsigned number) {
  struct stress_random random = stress_random_of(number);
  tarn_thread *self = stress_attach(world);
  for (uint64_t round = 0; stress_on(&round);) {
    produce_some(self, number, &random);
    tarn_safepoint(self);
    if (round % 256 == 0)
      check_pools();
  }
  atomic_fetch_sub_explicit(&producers_left, 1, memory_order_release);
  STRESS_EQUAL(tarn_thread_detach(self), TARN_OK);
}

/* --- consumers ------------------------------------------------------------------------------- */

static unsigned fetch(unsigned number, struct stress_random *random, struct block **batch) {
  unsigned most = 1 + (unsigned)stress_below(random, BATCH), count = 0;
  for (unsigned i = 0; i < producers; i++)
    while (count < most) {
      struct block *block = get(&rings[(i + most) % producers][number]);
      if (!block)
        break;
      batch[count++] = block;
    }
  for (unsigned i = count; i > 1; i--) { /* in any order */
    unsigned other = (unsigned)stress_below(random, i);
    struct block *block = batch[i - 1];
    batch[i - 1] = batch[other];
    batch[other] = block;
  }
  return count;
}

/* What hands over an outbox before it is full. */
static void hand_over(tarn_thread **self, struct stress_random *random) {
  switch (stress_below(random, 60)) {
  case 0: /* a refill, in most cases */
    free_block(*self, make(*self, 48));
    return;
  case 1:
    STRESS_EQUAL(tarn_thread_detach(*self), TARN_OK);
    *self = stress_attach(world);
    return;
  case 2:
    if (stress_below(random, 4) == 0)
      stress_verify(*self);
    return;
  default:
    return;
  }
}

static void consume(unsigned number) {
  struct stress_random random = stress_random_of(PRODUCERS + number);
  tarn_thread *self = stress_attach(world);
  struct block *batch[BATCH];
  bool last = false;
  for (;;) {
    /* Acquire, and asked before the rings are: what was put until then is seen. */
    last = atomic_load_explicit(&producers_left, memory_order_acquire) == 0;
    unsigned count = fetch(number, &random, batch);
    for (unsigned i = 0; i < count; i++)
      free_block(self, batch[i]);
    if (last && count == 0)
      break;
    hand_over(&self, &random);
    tarn_safepoint(self);
    if (count == 0)
      (void)sched_yield();
  }
  STRESS_EQUAL(tarn_thread_detach(self), TARN_OK);
}

static void work(void *data, unsigned number) {
  (void)data;
  if (number < producers)
    produce(number);
  else
    consume(number - producers);
}

/* Everybody has left: one refill takes the pools without owner, and they are empty. */
static void expect_nothing_left(void) {
  tarn_thread *self = stress_attach(world);
  STRESS_EQUAL(freed, made);
  void *block = tarn_alloc_raw(self, 100);
  STRESS_EQUAL(stress_stats(world).pools, 1);
  tarn_free(self, block);
  stress_verify(self);
  STRESS_EQUAL(tarn_thread_detach(self), TARN_OK);
  STRESS_EQUAL(stress_stats(world).pools, 0);
  STRESS_EQUAL(stress_stats(world).heap_bytes, 0);
}

int main(int count, char **arguments) {
  stress.threads = 5;
  stress_begin(count, arguments,
               "blocks handed out twice, and frees lost between outbox, bits, count and mailbox");
  producers = stress.threads >= 4 ? 2 : 1;
  consumers = stress.threads > producers ? stress.threads - producers : 1;
  atomic_init(&producers_left, producers);
  world = stress_world("collect=off");
  stress_run(world, producers + consumers, work, NULL);
  expect_nothing_left();
  STRESS_EQUAL(tarn_world_destroy(world), TARN_OK);
  return stress_end();
}
