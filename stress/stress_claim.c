/* SPDX-License-Identifier: MIT */
/*
 * stress_claim: hunts a purge that takes a pool at the very moment at which its owner begins to
 * allocate from it.
 *
 * Pairs of threads.  The owner has two pools of a few blocks, all in use, one of them its current
 * one.  It frees one block of the other pool, and allocates again at a random moment, while its
 * partner frees the rest of that pool and then purges it, in a loop that does nothing else: so the
 * last free comes after the owner has looked into its mailbox, and before it has the pool, as often
 * as can be.  What the owner got and wrote must stay, memory must be zero, and the pool's count of
 * blocks must be right; now and then the owner detaches and takes its pools from the shelf instead.
 */
#include "common.h"
#include "heap/local.h"
#include "world/world.h"
#include <sched.h>
#include <stdio.h>
#include <string.h>

#define PAIRS_MOST 8u
#define MOST 16u /* blocks of a pool */
#define SPINS 14u

static const size_t sizes[] = {32768, 16384, 8192, 4096};

struct pair {
  _Alignas(64) _Atomic unsigned go; /* the round; the owner's.  Release: the rest goes with it */
  _Alignas(64) _Atomic unsigned started; /* the partner has seen it, and is on a processor */
  _Alignas(64) _Atomic unsigned done;    /* the same; the partner's */
  _Alignas(64) struct stress_random random;
  tarn_world *world;
  tarn_thread *self;
  size_t size, count;        /* blocks, and of a pool */
  uint64_t *blocks[2][MOST]; /* of the two pools, the current one last */
  uint64_t serial;
  unsigned freed_by_partner; /* the first ones of blocks[0] */
  unsigned turns;            /* of purging */
  unsigned round;
  bool over;
};

static struct pair pairs[PAIRS_MOST];
static _Atomic uint64_t purged;

static struct tarn_pool *pool_of(const void *block) { return tarn_pool_of((uintptr_t)block); }

/* About a nanosecond each; as often a short time as a long one. */
static void spin(struct pair *p) {
  unsigned times =
      (unsigned)stress_below(&p->random, (uint64_t)1 << stress_below(&p->random, SPINS));
  for (unsigned i = 0; i < times; i++)
    __asm__ __volatile__("" ::: "memory");
}

static unsigned wait_for(_Atomic unsigned *word, unsigned value) {
  for (unsigned i = 1; atomic_load_explicit(word, memory_order_acquire) != value; i++)
    if (i % 1024 == 0)
      (void)sched_yield();
  return value;
}

/* A word at each end, and one in between: on pages of their own where the block has several. */
static void sign(struct pair *p, uint64_t *block) {
  size_t words = p->size / 8;
  block[0] = block[words / 2] = block[words - 1] = ++p->serial;
}
static void expect_signed(const struct pair *p, const uint64_t *block) {
  size_t words = p->size / 8;
  if (block[0] == 0 || block[words / 2] != block[0] || block[words - 1] != block[0])
    stress_fail(__FILE__, __LINE__, "block %p of %zu bytes, signed %llu, was changed in round %u",
                (const void *)block, p->size, (unsigned long long)block[0], p->round);
}

static uint64_t *make(struct pair *p) {
  uint64_t *block = tarn_alloc_atomic(p->self, p->size);
  STRESS_CHECK(block);
  for (size_t i = 0; i < p->size / 8; i += 128)
    STRESS_EQUAL(block[i], 0);
  sign(p, block);
  return block;
}

/* --- the partner ----------------------------------------------------------------------------- */

static bool be_partner(struct pair *p, unsigned round) {
  (void)wait_for(&p->go, round);
  if (p->over)
    return false;
  atomic_store_explicit(&p->started, round, memory_order_relaxed);
  size_t unit = tarn_pool_unit(pool_of(p->blocks[0][0])), given = 0;
  for (unsigned i = 0; i < p->freed_by_partner; i++) {
    expect_signed(p, p->blocks[0][i]);
    tarn_store_free_stranger(&p->world->store, p->blocks[0][i]);
  }
  for (unsigned i = 0; i < p->turns; i++) /* no stop comes meanwhile: no visit */
    given += tarn_remote_purge(&p->world->store, unit, 0, 0);
  atomic_fetch_add_explicit(&purged, given, memory_order_relaxed);
  atomic_store_explicit(&p->done, round, memory_order_release);
  return true;
}

/* --- the owner ------------------------------------------------------------------------------- */

/* Two pools, full; nothing else of the class in the thread's bin. */
static void begin(struct pair *p) {
  p->self = stress_attach(p->world);
  for (unsigned k = 0; k < 2; k++)
    for (size_t i = 0; i < p->count; i++) {
      p->blocks[k][i] = make(p);
      STRESS_CHECK(pool_of(p->blocks[k][i]) == pool_of(p->blocks[k][0]));
    }
  STRESS_CHECK(pool_of(p->blocks[0][0]) != pool_of(p->blocks[1][0]));
}

static void end(struct pair *p) {
  for (unsigned k = 0; k < 2; k++)
    for (size_t i = 0; i < p->count; i++) {
      expect_signed(p, p->blocks[k][i]);
      tarn_free(p->self, p->blocks[k][i]);
    }
  STRESS_EQUAL(tarn_thread_detach(p->self), TARN_OK);
}

/* The first ones of the pool go to the partner, the others are freed here: so many that the pool is
 * the next one that the bin takes. */
static void let_go(struct pair *p, unsigned round) {
  unsigned wake = tarn_wake_of((uint32_t)p->count);
  unsigned own = wake + (unsigned)stress_below(&p->random, p->count - wake);
  p->freed_by_partner = (unsigned)p->count - own;
  p->turns = (unsigned)stress_below(&p->random, 60);
  for (size_t i = p->freed_by_partner; i < p->count; i++) {
    expect_signed(p, p->blocks[0][i]);
    tarn_free(p->self, p->blocks[0][i]);
  }
  atomic_store_explicit(&p->go, round, memory_order_release);
  (void)wait_for(&p->started, round);
  spin(p);
}

static void duel(struct pair *p, unsigned round) {
  struct tarn_pool *pool = pool_of(p->blocks[0][0]);
  uint64_t *again[MOST];
  bool detaches = stress_below(&p->random, 16) == 0;
  p->round = round;
  let_go(p, round);
  if (detaches) {
    STRESS_EQUAL(tarn_thread_detach(p->self), TARN_OK);
    p->self = stress_attach(p->world);
  }
  again[0] = make(p);
  spin(p);
  expect_signed(p, again[0]);
  (void)wait_for(&p->done, round);
  for (size_t i = 1; i < p->count; i++)
    again[i] = make(p);
  for (size_t i = 0; i < p->count; i++)
    expect_signed(p, again[i]);
  for (size_t i = 0; i < p->count; i++)
    expect_signed(p, p->blocks[1][i]);
  memcpy(p->blocks[0], p->blocks[1], sizeof again);
  memcpy(p->blocks[1], again, sizeof again);
  if (detaches) { /* which pools they are in depends on who was where when */
    end(p);
    begin(p);
    return;
  }
  (void)tarn_remote_collect(tarn_local_of(p->self));
  for (size_t i = 0; i < p->count; i++)
    STRESS_CHECK(pool_of(again[i]) == pool);
  STRESS_EQUAL(tarn_pool_used(pool), p->count);
  STRESS_EQUAL(tarn_remote_count(pool), 0);
}

static void work(void *data, unsigned number) {
  struct pair *p = &pairs[number / 2];
  (void)data;
  if (number % 2) {
    for (unsigned round = 1; be_partner(p, round);)
      round++;
    return;
  }
  unsigned duels = 0;
  for (uint64_t round = 0; stress_on(&round);) {
    p->size = sizes[stress_below(&p->random, sizeof sizes / sizeof sizes[0])];
    p->count = TARN_UNIT_SIZE / p->size;
    begin(p);
    for (unsigned i = 0; i < 200; i++)
      duel(p, ++duels);
    end(p);
  }
  p->over = true;
  atomic_store_explicit(&p->go, duels + 1, memory_order_release);
}

int main(int count, char **arguments) {
  stress_begin(
      count, arguments,
      "a purge that takes a pool at the moment at which its owner begins to allocate from it");
  unsigned threads = stress.threads / 2 * 2;
  threads = threads < 2 ? 2 : threads > 2 * PAIRS_MOST ? 2 * PAIRS_MOST : threads;
  for (unsigned i = 0; i < threads / 2; i++) { /* they take no pool from each other */
    pairs[i].world = stress_world("purge-delay=1h,purger=0,collect=0");
    pairs[i].random = stress_random_of(i);
  }
  stress_run(NULL, threads, work, NULL);
  for (unsigned i = 0; i < threads / 2; i++) {
    (void)tarn_trim(pairs[i].world, 0); /* settles what is in the heap's mailbox */
    STRESS_EQUAL(stress_stats(pairs[i].world).heap_bytes, 0);
    STRESS_EQUAL(tarn_world_destroy(pairs[i].world), TARN_OK);
  }
  printf("%llu pools given back from under their owners\n",
         (unsigned long long)atomic_load(&purged));
  return stress_end();
}
