/* SPDX-License-Identifier: MIT */
/*
 * stress_idle: hunts pools whose memory goes back without their owner while a block of them is in
 * use, or is about to be: in which some blocks were freed by the owner, some by others, and the
 * count of what is left is read by a purge while the owner changes it.
 *
 * Threads fill pools of a few classes.  Of each block it is drawn who frees it: its owner at once,
 * another thread, its owner when it has slept a little or not at all, or nobody for a while.  Then
 * they fill pools again, beginning with those.  One thread, which is not attached, purges all the
 * time.  Blocks say who they are at both ends; new ones must be zero; at the end nothing is left.
 * Threads detach and attach now and then, so that pools change hands.
 */
#include "common.h"
#include "heap/local.h"
#include "world/world.h"
#include <stdio.h>
#include <time.h>

#define MOST_THREADS 16u
#define HELD 4096u /* blocks of a thread: a pool of the smallest class, and of others 1 MiB */
#define HELD_BYTES ((size_t)1 << 20)

static const size_t sizes[] = {16, 48, 256, 1024, 4096, 16384, 32768};
#define CLASSES (sizeof sizes / sizeof sizes[0])

/* A small block has these two words; the last two of a large one are the same. */
struct block {
  uint64_t serial, size;
};

/* What one thread hands to the next: filled by the one, emptied by the other. */
struct parcel {
  _Atomic bool full; /* release and acquire: the rest goes with it */
  unsigned count;
  struct block *blocks[HELD];
};

struct worker {
  tarn_thread *self;
  struct stress_random random;
  struct parcel *to, *from;
  unsigned count;
  struct block *held[HELD];
};

static tarn_world *world;
static struct parcel parcels[MOST_THREADS];
static struct worker workers[MOST_THREADS];
static _Atomic uint64_t next_serial, purged;

static struct block *tail_of(const struct block *block, size_t size) {
  return (struct block *)((uintptr_t)block + size - sizeof *block);
}

static void expect_zero(const struct block *block, size_t size) {
  const uint64_t *words = (const void *)block;
  for (size_t i = 0; i < size / 8; i += i < 32 ? 1 : 128)
    if (words[i] != 0)
      stress_fail(__FILE__, __LINE__, "word %zu of a new block of %zu is %#llx", i, size,
                  (unsigned long long)words[i]);
}

static struct block *make(tarn_thread *self, size_t size) {
  struct block *block = tarn_alloc_atomic(self, size);
  if (!block)
    stress_fail(__FILE__, __LINE__, "no memory for %zu bytes: %s", size,
                tarn_strerror(tarn_thread_status(self)));
  expect_zero(block, size);
  block->serial = 1 + atomic_fetch_add_explicit(&next_serial, 1, memory_order_relaxed);
  block->size = size;
  *tail_of(block, size) = *block;
  return block;
}

static void drop(tarn_thread *self, struct block *block) {
  STRESS_CHECK(block->serial != 0 && block->size >= sizes[0] && block->size <= 32768);
  STRESS_EQUAL(tail_of(block, block->size)->serial, block->serial);
  tarn_free(self, block);
}

static void receive(struct worker *w) {
  if (!atomic_load_explicit(&w->from->full, memory_order_acquire))
    return;
  for (unsigned i = 0; i < w->from->count; i++)
    drop(w->self, w->from->blocks[i]);
  atomic_store_explicit(&w->from->full, false, memory_order_release);
  if (stress_below(&w->random, 4))
    tarn_remote_flush(tarn_local_of(w->self));
}

/* What is held is handed on by `some` in 64, or freed. */
static void part(struct worker *w, unsigned some, bool hand_on) {
  unsigned kept = 0;
  for (unsigned i = 0; i < w->count; i++) {
    struct block *block = w->held[i];
    if (stress_below(&w->random, 64) >= some)
      w->held[kept++] = block;
    else if (hand_on)
      w->to->blocks[w->to->count++] = block;
    else
      drop(w->self, block);
  }
  w->count = kept;
}

static void send(struct worker *w, unsigned some) {
  if (atomic_load_explicit(&w->to->full, memory_order_acquire))
    return;
  w->to->count = 0;
  part(w, some, true);
  atomic_store_explicit(&w->to->full, true, memory_order_release);
}

static void fill(struct worker *w) {
  size_t size = sizes[stress_below(&w->random, CLASSES)], bytes = 0;
  size_t most = stress_below(&w->random, 4) ? HELD_BYTES / 4 : HELD_BYTES;
  for (; w->count < HELD && bytes < most; bytes += size)
    w->held[w->count++] = make(w->self, size);
}

static void sleep_a_little(struct worker *w) {
  struct timespec nap = {.tv_nsec = (long)stress_below(&w->random, 200000)};
  if (stress_below(&w->random, 3) == 0)
    return;
  tarn_block_begin(w->self);
  (void)nanosleep(&nap, NULL);
  tarn_block_end(w->self);
}

static void one_round(struct worker *w) {
  static const unsigned parts[] = {0, 1, 8, 32, 60, 64};
#define PART parts[stress_below(&w->random, sizeof parts / sizeof parts[0])]
  fill(w);
  part(w, PART, false);
  send(w, PART);
  receive(w);
  sleep_a_little(w);
  part(w, PART, false);
  receive(w);
  sleep_a_little(w);
#undef PART
  if (w->count > HELD / 2) /* where the next one does not come */
    part(w, 64, false);
}

static void rarely(struct worker *w) {
  uint64_t what = stress_below(&w->random, 400);
  if (what < 2)
    stress_verify(w->self);
  else if (what < 8) {
    STRESS_EQUAL(tarn_thread_detach(w->self), TARN_OK);
    w->self = stress_attach(world);
  }
}

/* Not attached. */
static void purge_always(struct stress_random *random) {
  while (stress_time_left()) {
    size_t given = tarn_pools_purge_idle(&world->store, 0);
    atomic_fetch_add_explicit(&purged, given, memory_order_relaxed);
    if (stress_below(random, 50) == 0)
      tarn_heap_settle_orphans(&world->store);
  }
}

static void work(void *data, unsigned number) {
  struct worker *w = &workers[number];
  (void)data;
  w->random = stress_random_of(number);
  if (number == 0) {
    purge_always(&w->random);
    return;
  }
  w->self = stress_attach(world);
  w->to = &parcels[1 + number % (stress.threads - 1)];
  w->from = &parcels[number];
  for (uint64_t round = 0; stress_on(&round);) {
    one_round(w);
    rarely(w);
    tarn_safepoint(w->self);
  }
  STRESS_EQUAL(tarn_thread_detach(w->self), TARN_OK);
}

/* What is left is in use, or was lost. */
static void finish(void) {
  tarn_thread *self = stress_attach(world);
  for (unsigned t = 0; t < stress.threads; t++) {
    for (unsigned i = 0; i < workers[t].count; i++)
      drop(self, workers[t].held[i]);
    for (unsigned i = 0; atomic_load(&parcels[t].full) && i < parcels[t].count; i++)
      drop(self, parcels[t].blocks[i]);
  }
  STRESS_EQUAL(tarn_thread_detach(self), TARN_OK);
  (void)tarn_trim(world, 0);
  STRESS_EQUAL(stress_stats(world).heap_bytes, 0);
  STRESS_EQUAL(stress_stats(world).dirty_bytes, 0);
}

int main(int count, char **arguments) {
  stress_begin(
      count, arguments,
      "pools whose memory goes back without their owner while a block is in use, or about to be");
  if (stress.threads < 3)
    stress.threads = 3;
  if (stress.threads > MOST_THREADS)
    stress.threads = MOST_THREADS;
  world = stress_world("purge-delay=1h,collect=0"); /* one thread purges, and no other */
  stress_run(world, stress.threads, work, NULL);
  finish();
  printf("%llu MiB given back from under their owners\n",
         (unsigned long long)atomic_load(&purged) >> 20);
  STRESS_EQUAL(tarn_world_destroy(world), TARN_OK);
  return stress_end();
}
