/* SPDX-License-Identifier: MIT */
/*
 * stress_profile hunts samples that stay when their block has died, that die with another one's, or
 * that are counted twice, and races between a profile and everything that it looks at.
 *
 * Threads allocate objects and raw blocks, free their own and each other's, and collect, while one
 * starts and stops profiles, another writes them and a third asks for metrics.  A stack of the
 * language comes with each sample.  In between all stand at a barrier with nothing in use but what
 * they can count, and the profile with a rate of one has to say the same.
 */
#include "common.h"
#include <pthread.h>
#include <string.h>

#define BLOCKS 64u
#define STEPS 400u

static tarn_world *world;
static const tarn_type *type;
static _Atomic(void *) shared[256]; /* raw blocks, for anybody to free */
static pthread_barrier_t barrier;
static _Atomic uint64_t counted;
static _Atomic bool over;
static unsigned threads;

static size_t language(tarn_thread *self, tarn_profile_frame *frames, size_t most, void *data) {
  static const char *const names[] = {"car", "cdr", "map", "fold", "eval"};
  (void)data;
  STRESS_CHECK(tarn_thread_self(world) == self);
  for (size_t i = 0; i < 3 && i < most; i++)
    frames[i] = (tarn_profile_frame){
        .name = names[((uintptr_t)frames >> 8) % 5], .file = "stress.scm", .line = (uint32_t)i};
  return 3;
}

static bool swallow(void *data, const char *bytes, size_t size) {
  uint64_t *sum = data;
  for (size_t i = 0; i < size; i++)
    *sum += (unsigned char)bytes[i];
  return true;
}

static void write_something(struct stress_random *random) {
  uint64_t sum = 0;
  tarn_status status;
  if (stress_below(random, 4) == 0)
    status = tarn_metrics_write(world, (tarn_metrics_format)stress_below(random, 2), swallow, &sum);
  else
    status = tarn_profile_write(world, (tarn_profile_format)stress_below(random, 2),
                                (tarn_profile_value)stress_below(random, 4), swallow, &sum);
  STRESS_CHECK(status == TARN_OK || status == TARN_EUNBALANCED);
}

/* --- anything at any time -------------------------------------------------------------------- */

struct own {
  void *objects[BLOCKS], *raw[BLOCKS];
};

static void replace_shared(tarn_thread *self, struct stress_random *random) {
  void *block =
      stress_below(random, 3) ? tarn_alloc_raw(self, 16 + stress_below(random, 500)) : NULL;
  if (block)
    memset(block, 0xa5, 16);
  void *old = atomic_exchange(&shared[stress_below(random, 256)], block);
  tarn_free(self, old);
}

static void do_something(tarn_thread *self, struct own *own, struct stress_random *random) {
  size_t at = stress_below(random, BLOCKS);
  switch (stress_below(random, 8)) {
  case 0:
  case 1:
    own->objects[at] = tarn_new(self, type);
    break;
  case 2:
    own->objects[at] = NULL;
    break;
  case 3:
  case 4:
    tarn_free(self, own->raw[at]);
    own->raw[at] = NULL;
    own->raw[at] =
        tarn_alloc_raw(self, stress_below(random, 60) ? 16 + stress_below(random, 900)
                                                      : 40000 + stress_below(random, 99999));
    break;
  case 5:
    replace_shared(self, random);
    break;
  case 6:
    tarn_free(self, own->objects[at]);
    own->objects[at] = NULL;
    break;
  default:
    tarn_safepoint(self);
  }
}

static void free_all(tarn_thread *self, struct own *own) {
  for (unsigned i = 0; i < BLOCKS; i++) {
    tarn_free(self, own->raw[i]);
    own->raw[i] = own->objects[i] = NULL;
  }
}

static void start_or_stop(tarn_thread *self, struct stress_random *random) {
  tarn_status status = stress_below(random, 2)
                           ? tarn_profile_start(self, 1 + stress_below(random, 4096))
                           : tarn_profile_stop(self);
  STRESS_CHECK(status == TARN_OK || status == TARN_EBUSY || status == TARN_EUNBALANCED);
}

static void mingle(tarn_thread *self, struct own *own, unsigned number,
                   struct stress_random *random) {
  for (unsigned i = 0; i < STEPS; i++) {
    do_something(self, own, random);
    if (number == 0 && i % 100 == 50)
      start_or_stop(self, random);
    if (number == 1 && i % 200 == 0)
      write_something(random);
    if (number == 2 && i % 200 == 100)
      STRESS_CHECK(tarn_collect(self, (int)stress_below(random, 3)) == TARN_OK);
  }
}

/* --- what can be counted --------------------------------------------------------------------- */

static void wait_for_all(tarn_thread *self) {
  tarn_block_begin(self);
  (void)pthread_barrier_wait(&barrier);
  tarn_block_end(self);
}

static void check_count(uint64_t wanted) {
  tarn_profile_info info = {.struct_size = sizeof info};
  STRESS_CHECK(tarn_profile_info_get(world, &info) == TARN_OK);
  STRESS_EQUAL(info.dropped, 0);
  STRESS_EQUAL(info.in_use, wanted);
}

/* By one thread, while the others stand still or are blocked. */
static void begin_count(tarn_thread *self) {
  tarn_status status = tarn_profile_stop(self);
  STRESS_CHECK(status == TARN_OK || status == TARN_EUNBALANCED);
  STRESS_CHECK(tarn_profile_start(self, 1) == TARN_OK);
  atomic_store(&counted, 0);
}

/* Everybody makes and frees, and counts what is in use in the end. */
static void count(tarn_thread *self, struct own *own, unsigned number, struct stress_random *random,
                  uint64_t *round) {
  free_all(self, own);
  wait_for_all(self); /* nobody shares any more */
  for (unsigned i = number; i < 256; i += threads)
    tarn_free(self, atomic_exchange(&shared[i], NULL));
  wait_for_all(self);
  if (number == 0)
    begin_count(self);
  wait_for_all(self);
  for (unsigned i = 0; i < STEPS; i++)
    do_something(self, own, random);
  wait_for_all(self);
  unsigned mine = 0;
  for (unsigned i = 0; i < BLOCKS; i++)
    mine += (own->objects[i] ? 1u : 0u) + (own->raw[i] ? 1u : 0u);
  for (unsigned i = number; i < 256; i += threads)
    mine += atomic_load(&shared[i]) ? 1u : 0u;
  atomic_fetch_add(&counted, mine);
  wait_for_all(self);
  if (number == 0) {
    STRESS_CHECK(tarn_collect(self, TARN_GENERATION_FULL) == TARN_OK);
    check_count(atomic_load(&counted));
    atomic_store(&over, !stress_on(round));
  }
  wait_for_all(self);
}

static void work(void *data, unsigned number) {
  tarn_thread *self = stress_attach(world);
  struct stress_random random = stress_random_of(number);
  struct own own = {.raw = {NULL}};
  void *slots[2 * BLOCKS];
  tarn_frame frame;
  uint64_t round = 0;
  (void)data;
  for (unsigned i = 0; i < BLOCKS; i++) {
    slots[i] = &own.objects[i];
    slots[BLOCKS + i] = &own.raw[i]; /* raw blocks are collected, too */
  }
  tarn_frame_push(self, &frame, (void *const *)slots, 2 * BLOCKS);
  do {
    mingle(self, &own, number, &random);
    count(self, &own, number, &random, &round);
    stress_step();
  } while (!atomic_load(&over));
  free_all(self, &own);
  tarn_frame_pop(self, &frame);
  STRESS_CHECK(tarn_thread_detach(self) == TARN_OK);
}

int main(int count_of, char **arguments) {
  stress_begin(count_of, arguments, "samples that outlive their blocks, or die before them");
  world = stress_world("max-threads=128");
  tarn_thread *self = stress_attach(world);
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = "object";
  spec.size = 48;
  spec.slot_bits = 2;
  STRESS_CHECK((type = tarn_type_create(world, &spec, NULL)) != NULL);
  for (unsigned i = 0; i < 256; i++)
    STRESS_CHECK(tarn_root_add(world, (void **)&shared[i]) == TARN_OK);
  STRESS_CHECK(tarn_profile_set_frames(world, language, NULL) == TARN_OK);
  threads = stress.threads < 3 ? 3 : stress.threads;
  STRESS_CHECK(pthread_barrier_init(&barrier, NULL, threads) == 0);
  tarn_block_begin(self);
  stress_run(world, threads, work, NULL);
  tarn_block_end(self);
  stress_verify(self);
  STRESS_CHECK(tarn_thread_detach(self) == TARN_OK);
  STRESS_CHECK(tarn_world_destroy(world) == TARN_OK);
  return stress_end();
}
