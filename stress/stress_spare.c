/* SPDX-License-Identifier: MIT */
/*
 * stress_spare: hunts spare pools that two have: a pool whose memory goes back while its thread
 * uses it again, one that is remade while somebody looks at it as it was, one that was forgotten by
 * a stop, or that is handed out twice.
 *
 * Threads fill and empty pools of a few blocks each, of several classes and flavours, so that spare
 * ones are taken, remade and pushed out, and take back what others free for them.  The delay is as
 * small as it can be; one thread, which is not attached, purges all it finds spare, and trims.  The
 * others trim, collect, detach and attach now and then.  New blocks must be zero, and whole when
 * they are freed; at the end nothing is left.
 */
#include "common.h"
#include "heap/local.h"
#include "world/world.h"
#include <stdio.h>
#include <string.h>

#define MOST_THREADS 16u
#define SLOTS 96u /* of each thread; about three times the spare pools, at four blocks each */
#define STEP 256u /* words are written at this distance */

static const size_t sizes[] = {4096, 8192, 10240, 16384, 20480, 32768};
#define CLASSES (sizeof sizes / sizeof sizes[0])

struct block {
  const tarn_type *type; /* of objects only; raw blocks have a number here */
  uint64_t serial, size;
};

static tarn_world *world;
static const tarn_type *types[CLASSES];
static void *slots[MOST_THREADS * SLOTS];  /* roots; each is one thread's own */
static _Atomic(void *) sent[MOST_THREADS]; /* raw, kept alive by `kept`; for the next thread */
static void *kept[MOST_THREADS];
static _Atomic uint64_t next_serial, purged;

static void expect_zero(const void *memory, size_t from, size_t size) {
  const uint64_t *words = memory;
  for (size_t i = from / 8; i < size / 8; i += i < 16 ? 1 : STEP / 8)
    if (words[i] != 0)
      stress_fail(__FILE__, __LINE__, "word %zu of a new block of %zu is %#llx", i, size,
                  (unsigned long long)words[i]);
}

static void *make(tarn_thread *self, size_t class, bool object) {
  size_t size = sizes[class];
  struct block *block = object ? tarn_new(self, types[class]) : tarn_alloc_atomic(self, size);
  if (!block)
    stress_fail(__FILE__, __LINE__, "no memory for %zu bytes: %s", size,
                tarn_strerror(tarn_thread_status(self)));
  expect_zero(block, object ? 8 : 0, size);
  STRESS_EQUAL(tarn_usable_size(world, block), size);
  STRESS_CHECK(tarn_block_of(world, (uintptr_t)block + size / 2, NULL) == block);
  uint64_t *words = (void *)block;
  block->serial = 1 + atomic_fetch_add_explicit(&next_serial, 1, memory_order_relaxed);
  block->size = size;
  for (size_t i = STEP / 8; i < size / 8; i += STEP / 8)
    words[i] = block->serial + i;
  words[size / 8 - 1] = block->serial;
  return block;
}

static void check(const void *memory) {
  const struct block *block = memory;
  const uint64_t *words = memory;
  STRESS_CHECK(block->serial != 0 && block->size >= sizes[0] && block->size <= 32768);
  for (size_t i = STEP / 8; i < block->size / 8 - 1; i += STEP / 8)
    STRESS_EQUAL(words[i], block->serial + i);
  STRESS_EQUAL(words[block->size / 8 - 1], block->serial);
}

static void drop(tarn_thread *self, void **slot) {
  void *old = *slot;
  if (!old)
    return;
  check(old);
  *slot = NULL;
  tarn_free(self, old);
}

/* Many of one class, then none of them: spare pools, and those of other classes remade. */
static void wave(tarn_thread *self, unsigned number, struct stress_random *random) {
  void **own = &slots[number * SLOTS];
  size_t class = (size_t)stress_below(random, CLASSES);
  bool object = stress_below(random, 3) == 0;
  unsigned first = (unsigned)stress_below(random, SLOTS);
  unsigned count = 1 + (unsigned)stress_below(random, stress_below(random, 4) ? 16 : SLOTS);
  for (unsigned i = 0; i < count; i++) {
    void **slot = &own[(first + i) % SLOTS];
    drop(self, slot);
    *slot = make(self, class, object);
  }
  for (unsigned i = 0; i < count; i++)
    if (stress_below(random, 16))
      drop(self, &own[(first + i) % SLOTS]);
}

/* Frees what the one before left, and leaves something for the next. */
static void pass_on(tarn_thread *self, unsigned number, struct stress_random *random) {
  void *got = atomic_exchange(&sent[number], NULL);
  if (got) {
    check(got);
    tarn_free(self, got);
  }
  unsigned next = 1 + number % (stress.threads - 1);
  if (atomic_load(&sent[next]))
    return;
  kept[number] = make(self, (size_t)stress_below(random, CLASSES), false);
  tarn_gc_hold(self); /* the root must not let go before somebody else has it */
  void *none = NULL;
  if (!atomic_compare_exchange_strong(&sent[next], &none, kept[number]))
    tarn_free(self, kept[number]);
  kept[number] = NULL;
  tarn_gc_release(self);
}

/* Not attached.  Most of the time without a trim, which takes what is free away as well. */
static void purge_always(struct stress_random *random) {
  struct tarn_store *store = &world->store;
  while (stress_time_left()) {
    size_t given = stress_below(random, 50) ? tarn_pools_purge_idle(store, 0) : tarn_trim(world, 0);
    atomic_fetch_add_explicit(&purged, given, memory_order_relaxed);
  }
}

static void rarely(tarn_thread **self, unsigned number, struct stress_random *random) {
  uint64_t what = stress_below(random, 600);
  if (what < 10)
    (void)tarn_trim(world, stress_below(random, 2) ? 0 : SIZE_MAX);
  else if (what < 13)
    STRESS_EQUAL(tarn_collect(*self, TARN_GENERATION_FULL), TARN_OK);
  else if (what < 15)
    stress_verify(*self);
  else if (what < 20 && number > 1) {
    STRESS_EQUAL(tarn_thread_detach(*self), TARN_OK);
    *self = stress_attach(world);
  }
}

static void work(void *data, unsigned number) {
  struct stress_random random = stress_random_of(number);
  (void)data;
  if (number == 0) {
    purge_always(&random);
    return;
  }
  tarn_thread *self = stress_attach(world);
  for (uint64_t round = 0; stress_on(&round);) {
    wave(self, number, &random);
    if (stress_below(&random, 4) == 0)
      pass_on(self, number, &random);
    rarely(&self, number, &random);
    tarn_safepoint(self);
  }
  STRESS_EQUAL(tarn_thread_detach(self), TARN_OK);
}

static void start(void) {
  world = stress_world("purge-delay=1ms,min-heap=64M,retain=0");
  for (size_t i = 0; i < CLASSES; i++) {
    tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
    spec.name = "object";
    spec.size = sizes[i];
    STRESS_EQUAL(tarn_good_size(sizes[i]), sizes[i]);
    STRESS_CHECK((types[i] = tarn_type_create(world, &spec, NULL)) != NULL);
  }
  for (size_t i = 0; i < MOST_THREADS * SLOTS; i++)
    STRESS_EQUAL(tarn_root_add(world, &slots[i]), TARN_OK);
  for (size_t i = 0; i < MOST_THREADS; i++) {
    STRESS_EQUAL(tarn_root_add(world, (void **)(void *)&sent[i]), TARN_OK);
    STRESS_EQUAL(tarn_root_add(world, &kept[i]), TARN_OK);
  }
}

/* Without a collection: what is left is in use, or was lost. */
static void finish(void) {
  tarn_thread *self = stress_attach(world);
  for (size_t i = 0; i < MOST_THREADS * SLOTS; i++)
    drop(self, &slots[i]);
  for (size_t i = 0; i < MOST_THREADS; i++)
    if (atomic_load(&sent[i]))
      tarn_free(self, atomic_exchange(&sent[i], NULL));
  STRESS_EQUAL(tarn_thread_detach(self), TARN_OK);
  (void)tarn_trim(world, 0);
  STRESS_EQUAL(stress_stats(world).heap_bytes, 0);
  STRESS_EQUAL(stress_stats(world).dirty_bytes, 0);
}

int main(int count, char **arguments) {
  stress_begin(count, arguments,
               "spare pools that two have, that are remade under a reader, or that a stop forgot");
  if (stress.threads < 3)
    stress.threads = 3;
  if (stress.threads > MOST_THREADS)
    stress.threads = MOST_THREADS;
  start();
  stress_run(world, stress.threads, work, NULL);
  finish();
  printf("%llu MiB given back by one thread\n", (unsigned long long)atomic_load(&purged) >> 20);
  STRESS_EQUAL(tarn_world_destroy(world), TARN_OK);
  return stress_end();
}
