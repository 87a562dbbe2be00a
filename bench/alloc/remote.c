/* SPDX-License-Identifier: MIT */
/*
 * Remote frees: of each two threads one allocates blocks and writes their first word, and the other
 * reads it and frees them. The pointers go over in chunks, through a ring of 32 chunks between the
 * two, so that many blocks share an exchange of cache lines for the hand-over.
 *
 * With large chunks the two are far apart, and mostly in different pages of the allocator; with
 * small ones one frees into the page from which the other allocates.
 *
 * usage: alloc_remote SIZE CHUNK THREADS BLOCKS
 */
#include "alloc.h"

enum { CHUNK_MOST = 1024, RING = 32, SPINS = 200 };

struct ring {
  _Alignas(128) atomic_size_t filled; /* chunks, ever; written by the producer */
  _Alignas(128) atomic_size_t drained;
  _Alignas(128) void *blocks[RING][CHUNK_MOST];
};

static size_t block_size, chunk_count;
static struct ring rings[LANES_MOST / 2];

/* Until `*counter` is at least `wanted`. The other side may need this processor. */
static void wait_for(atomic_size_t *counter, size_t wanted) {
  for (unsigned spins = 0; atomic_load_explicit(counter, memory_order_acquire) < wanted;)
    if (++spins % SPINS == 0)
      sched_yield();
}

static void produce(struct lane *lane, struct ring *ring, size_t chunks) {
  for (size_t chunk = 0; chunk < chunks; chunk++) {
    void **blocks = ring->blocks[chunk % RING];
    if (chunk >= RING)
      wait_for(&ring->drained, chunk - RING + 1);
    for (size_t i = 0; i < chunk_count; i++) {
      uint64_t *block = must(malloc(block_size));
      *block = chunk * chunk_count + i;
      blocks[i] = block;
    }
    atomic_store_explicit(&ring->filled, chunk + 1, memory_order_release);
  }
  lane->objects = chunks * chunk_count;
}

static void consume(struct lane *lane, struct ring *ring, size_t chunks) {
  uint64_t sum = 0;
  for (size_t chunk = 0; chunk < chunks; chunk++) {
    void **blocks = ring->blocks[chunk % RING];
    wait_for(&ring->filled, chunk + 1);
    for (size_t i = 0; i < chunk_count; i++) {
      sum += *(uint64_t *)blocks[i];
      free(blocks[i]);
    }
    atomic_store_explicit(&ring->drained, chunk + 1, memory_order_release);
  }
  lane->sum = sum;
}

static void run(struct lane *lane) {
  struct ring *ring = &rings[lane->index / 2];
  /* The blocks of a ring are the parts of its two lanes. */
  size_t chunks = lane->work * 2 / chunk_count;
  if (lane->index % 2 == 0)
    produce(lane, ring, chunks);
  else
    consume(lane, ring, chunks);
}

int main(int argc, char **argv) {
  static const struct lane_work todo = {NULL, run};
  if (argc != 5 || subject_number(argv[3]) % 2 != 0)
    subject_fail(argv[0], "usage: SIZE CHUNK THREADS BLOCKS; the threads are even in number");
  block_size = subject_number(argv[1]);
  chunk_count = subject_number(argv[2]);
  if (chunk_count == 0 || chunk_count > CHUNK_MOST)
    subject_fail(argv[0], "a chunk has 1 to 1024 blocks");
  run_program(argc - 2, argv + 2, &todo, NULL);
  return 0;
}
