/* SPDX-License-Identifier: MIT */
/*
 * Profiles: figures are right on average for every size, type, thread and pattern; samples are in
 * use until they die, however they do; the formats say what was sampled.
 *
 * Where chance decides, a figure may lie five standard deviations beside the true one: a test that
 * is right fails once in a million runs.  The seeds are new in each.
 */
#include "profile_reader.h"

#include "heap/sample.h"
#include "os/os.h"
#include <errno.h>
#include <stdatomic.h>
#include <sys/stat.h>

/* Without the C library's, which may want another library. */
static double square_root(double x) {
  double root = x > 1 ? x : 1;
  for (unsigned i = 0; i < 200; i++)
    root = (root + x / root) / 2;
  return root;
}

#define assert_near(value, wanted, deviation)                                          \
  do {                                                                                 \
    double value_ = (double)(value), wanted_ = (double)(wanted), sigma_ = (deviation); \
    if (value_ < wanted_ - 5 * sigma_ || value_ > wanted_ + 5 * sigma_)                \
      print_error("%s: %g, not %g +- 5 * %g\n", #value, value_, wanted_, sigma_);      \
    assert_true(value_ >= wanted_ - 5 * sigma_ && value_ <= wanted_ + 5 * sigma_);     \
  } while (0)

/* --- reading what was written ---------------------------------------------------------------- */

static char *text;
static size_t length, room;

static bool take(void *data, const char *bytes, size_t size) {
  (void)data;
  if (length + size + 1 > room) {
    room = 2 * (length + size + 1);
    text = realloc(text, room);
    assert_non_null(text);
  }
  memcpy(text + length, bytes, size);
  length += size;
  text[length] = '\0';
  return true;
}

static struct reader *read_profile(tarn_world *world) {
  length = 0;
  assert_int_equal(
      tarn_profile_write(world, TARN_PROFILE_PPROF, TARN_PROFILE_INUSE_SPACE, take, NULL), TARN_OK);
  return reader_read(text, length);
}

/* The sum of a value over the samples of a type; and of a size, unless that is 0. */
static uint64_t sum_of(const struct reader *reader, const char *type, uint64_t bytes,
                       tarn_profile_value value) {
  uint64_t sum = 0;
  for (size_t i = 0; i < reader->sample_count; i++)
    if (strcmp(reader->samples[i].type, type) == 0 &&
        (bytes == 0 || reader->samples[i].bytes == bytes))
      sum += reader->samples[i].values[value];
  return sum;
}

static tarn_profile_info info_of(tarn_world *world) {
  tarn_profile_info info = {.struct_size = sizeof info};
  assert_int_equal(tarn_profile_info_get(world, &info), TARN_OK);
  return info;
}

/* --- arithmetic ------------------------------------------------------------------------------ */

static void assert_close(double value, double wanted) {
  double error = value / wanted - 1;
  assert_true(error < 1e-12 && error > -1e-12);
}

static void chances_are_exact(void **state) {
  (void)state;
  assert_close(tarn_sample_chance(1, 1), 0.632120558828557678);
  assert_close(tarn_sample_chance(1, 1000000), 9.99999500000166667e-7);
  assert_close(tarn_sample_chance(1, 2), 0.393469340287366577);
  assert_close(tarn_sample_chance(10, 1), 0.999954600070237515);
  assert_close(tarn_sample_chance(64, 524288), 0.000122062862222558729);
  assert_true(tarn_sample_chance(1 << 20, 1) == 1);
}

static void distances_are_exponential(void **state) {
  enum { DRAWS = 1000000 };
  const uint64_t rate = 1000;
  double sum = 0;
  unsigned beyond[5] = {0};
  uint64_t seed = tarn_os_now();
  (void)state;
  for (unsigned i = 0; i < DRAWS; i++) {
    uint64_t mixed = (seed += 0x9e3779b97f4a7c15u);
    mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111ebu;
    uint64_t distance = tarn_sample_distance(mixed ^ mixed >> 31, rate);
    sum += (double)distance;
    for (unsigned k = 0; k < 5; k++)
      beyond[k] += distance >= (k + 1) * rate;
  }
  /* Whole bytes are half a byte less. */
  assert_near(sum / DRAWS, (double)rate - 0.5, (double)rate / square_root(DRAWS));
  for (unsigned k = 0; k < 5; k++) {
    double p = 1 - tarn_sample_chance((k + 1) * rate, rate);
    assert_near(beyond[k], p * DRAWS, square_root(p * (1 - p) * DRAWS));
  }
  assert_int_equal(tarn_sample_distance(UINT64_MAX, rate), 0);
  assert_true(tarn_sample_distance(0, rate) < 46 * rate);
}

/* --- figures --------------------------------------------------------------------------------- */

#define RATE 2048u

/* `count` blocks of a size: what the profile says of them. */
static void check_count(const struct reader *reader, const char *type, uint64_t bytes,
                        double count) {
  double p = tarn_sample_chance(bytes, reader->period);
  double deviation = square_root(count * (1 - p) / p);
  assert_near(sum_of(reader, type, bytes, TARN_PROFILE_ALLOC_OBJECTS), count, deviation);
  assert_near(sum_of(reader, type, bytes, TARN_PROFILE_ALLOC_SPACE), count * (double)bytes,
              deviation * (double)bytes);
}

struct mix {
  tarn_world *world;
  const tarn_type *pair, *node, *big, *array, *with_data;
};

static const tarn_type *type_of(tarn_world *world, const char *name, size_t size) {
  return support_type(world, name, size, 2, NULL);
}

static void make_types(struct mix *mix) {
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  mix->pair = type_of(mix->world, "pair", 32);
  mix->node = type_of(mix->world, "node", 32); /* the same bin */
  mix->big = type_of(mix->world, "big", 4096);
  mix->array = support_array(mix->world, NULL);
  spec.name = "with-data";
  spec.size = 48;
  spec.data_size = 512;
  mix->with_data = tarn_type_create(mix->world, &spec, NULL);
  assert_non_null(mix->with_data);
}

enum { ROUNDS = SUPPORT_ZEAL || SUPPORT_SANITIZED ? 20000 : 100000 };

/* A periodic program: with pieces of 4 KiB each would begin at the same place of its round. */
static void allocate_mix(const struct mix *mix, tarn_thread *self) {
  for (unsigned i = 0; i < ROUNDS; i++) {
    assert_non_null(tarn_new(self, mix->pair));
    assert_non_null(tarn_new(self, mix->node));
    assert_non_null(tarn_new(self, mix->node));
    assert_non_null(tarn_new(self, mix->pair));
    void *raw = tarn_alloc_raw(self, 100);
    assert_non_null(raw);
    tarn_free(self, raw); /* again and again the same block */
    if (i % 16 == 0) {
      assert_non_null(tarn_new(self, mix->big));
      assert_non_null(tarn_new_array(self, mix->array, 30));
      assert_non_null(tarn_new(self, mix->with_data));
    }
    if (i % 256 == 0)
      assert_non_null(tarn_alloc_atomic(self, 100000));
  }
}

static void check_mix(const struct reader *reader, unsigned threads) {
  double rounds = (double)ROUNDS * threads, some = (ROUNDS + 15) / 16 * threads;
  check_count(reader, "pair", 32, 2 * rounds);
  check_count(reader, "node", 32, 2 * rounds);
  check_count(reader, "raw", tarn_good_size(100), rounds);
  check_count(reader, "big", 4096, some);
  check_count(reader, "array", tarn_good_size(16 + 30 * 8), some);
  check_count(reader, "with-data", 512, some);
  check_count(reader, "raw", 102400, (ROUNDS + 255) / 256 * threads);
}

static void figures_are_right(void **state) {
  struct mix mix = {.world = support_world("")};
  tarn_thread *self = support_attach(mix.world);
  (void)state;
  make_types(&mix);
  assert_int_equal(tarn_profile_start(self, RATE), TARN_OK);
  allocate_mix(&mix, self);
  struct reader *reader = read_profile(mix.world);
  assert_int_equal(reader->period, RATE);
  check_mix(reader, 1);
  reader_free(reader);
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  support_end(mix.world);
}

static void *allocate_in_thread(void *data) {
  struct mix *mix = data;
  tarn_thread *self = NULL;
  if (tarn_thread_attach(mix->world, &self) != TARN_OK)
    abort();
  allocate_mix(mix, self);
  (void)tarn_thread_detach(self);
  return NULL;
}

static void threads_are_all_seen(void **state) {
  enum { THREADS = 4 };
  struct mix mix = {.world = support_world("")};
  tarn_thread *self = support_attach(mix.world);
  pthread_t threads[THREADS];
  (void)state;
  make_types(&mix);
  assert_int_equal(tarn_profile_start(self, RATE), TARN_OK);
  tarn_block_begin(self);
  for (unsigned i = 0; i < THREADS; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, allocate_in_thread, &mix), 0);
  for (unsigned i = 0; i < THREADS; i++)
    assert_int_equal(pthread_join(threads[i], NULL), 0);
  tarn_block_end(self);
  struct reader *reader = read_profile(mix.world);
  check_mix(reader, THREADS);
  reader_free(reader);
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  support_end(mix.world);
}

/* Of two types in bins of their own, one is made a hundred times as often: a countdown for the
 * whole thread would let the rare one have points of the other. */
static void rare_types_are_not_seen_more_often(void **state) {
  tarn_world *world = support_world("");
  tarn_thread *self = support_attach(world);
  const tarn_type *often = type_of(world, "often", 64), *rare = type_of(world, "rare", 256);
  (void)state;
  assert_int_equal(tarn_profile_start(self, RATE), TARN_OK);
  for (unsigned i = 0; i < 4 * ROUNDS; i++) {
    assert_non_null(tarn_new(self, often));
    if (i % 100 == 99)
      assert_non_null(tarn_new(self, rare));
  }
  struct reader *reader = read_profile(world);
  check_count(reader, "often", 64, 4 * ROUNDS);
  check_count(reader, "rare", 256, 4 * ROUNDS / 100);
  reader_free(reader);
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  support_end(world);
}

/* What a bin has in hand when its pool is taken from it comes again. */
static void collections_in_between_change_nothing(void **state) {
  enum { COLLECTIONS = 1500, EACH = 10 };
  tarn_world *world = support_world("collect=0");
  tarn_thread *self = support_attach(world);
  const tarn_type *pair = type_of(world, "pair", 64);
  (void)state;
  assert_int_equal(tarn_profile_start(self, RATE), TARN_OK);
  for (unsigned i = 0; i < COLLECTIONS; i++) {
    for (unsigned k = 0; k < EACH; k++)
      assert_non_null(tarn_new(self, pair));
    assert_int_equal(tarn_collect(self, TARN_GENERATION_FULL), TARN_OK);
  }
  struct reader *reader = read_profile(world);
  check_count(reader, "pair", 64, COLLECTIONS * EACH);
  reader_free(reader);
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  support_end(world);
}

/* With a rate of 1 nothing is left to chance. */
static void every_allocation_with_a_rate_of_one(void **state) {
  tarn_world *world = support_world("collect=0");
  tarn_thread *self = support_attach(world);
  const tarn_type *pair = type_of(world, "pair", 64);
  tarn_heap *heap = NULL;
  (void)state;
  assert_int_equal(tarn_heap_create(world, TARN_HEAP_ATOMIC, &heap), TARN_OK);
  assert_int_equal(tarn_profile_start(self, 1), TARN_OK);
  for (unsigned i = 0; i < 1000; i++) {
    assert_non_null(tarn_new(self, pair));
    assert_non_null(tarn_heap_alloc(self, heap, 200));
    assert_non_null(tarn_alloc_aligned(self, 4096, 4096));
  }
  tarn_profile_info info = info_of(world);
  assert_int_equal(info.samples, 3000);
  assert_int_equal(info.in_use, 3000);
  assert_int_equal(info.dropped + info.blind, 0);
  struct reader *reader = read_profile(world);
  assert_int_equal(sum_of(reader, "pair", 64, TARN_PROFILE_INUSE_OBJECTS), 1000);
  assert_int_equal(sum_of(reader, "raw", 0, TARN_PROFILE_ALLOC_OBJECTS), 2000);
  reader_free(reader);
  /* The heap's go with it. */
  assert_int_equal(tarn_heap_destroy(self, heap), TARN_OK);
  assert_int_equal(info_of(world).in_use, 2000);
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  support_end(world);
}

/* --- what is in use -------------------------------------------------------------------------- */

static const tarn_type *inner;

static size_t allocate_and_raise(tarn_world *world, size_t limit, size_t in_use, void *data) {
  (void)world, (void)in_use;
  assert_non_null(tarn_new(data, inner));
  return limit * 4;
}

/* In the middle of an object's allocation the near-limit callback allocates another one. */
static void an_allocation_within_another_takes_no_name_away(void **state) {
  (void)state;
  void *keeps = NULL;
  tarn_world *world = support_world("collect=0,sweeper=0,hard-limit=8M,near-limit=50");
  tarn_thread *self = support_attach(world);
  const tarn_type *outer = support_array(world, NULL);
  inner = type_of(world, "inner", 32);
  assert_int_equal(tarn_world_set_near_limit(world, allocate_and_raise, self), TARN_OK);
  {
    TARN_FRAME(self, &keeps);
    keeps = tarn_alloc_atomic(self, 6 * MIB);
    assert_int_equal(tarn_profile_start(self, 1), TARN_OK);
    assert_non_null(tarn_new_array(self, outer, 4 * MIB / 8));
    struct reader *reader = read_profile(world);
    assert_int_equal(sum_of(reader, "inner", 0, TARN_PROFILE_ALLOC_OBJECTS), 1);
    assert_int_equal(sum_of(reader, tarn_type_name(outer), 0, TARN_PROFILE_ALLOC_OBJECTS), 1);
    reader_free(reader);
  }
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  support_end(world);
}

static void frees_and_collections_end_samples(void **state) {
  enum { COUNT = 600 };
  static void *kept[COUNT], *raw[COUNT];
  tarn_world *world = support_world("collect=0,scan-stack=0");
  tarn_thread *self = support_attach(world);
  const tarn_type *pair = type_of(world, "pair", 64);
  (void)state;
  for (unsigned i = 0; i < COUNT; i++)
    assert_int_equal(tarn_root_add(world, &kept[i]), TARN_OK);
  assert_int_equal(tarn_profile_start(self, 1), TARN_OK);
  for (unsigned i = 0; i < COUNT; i++) {
    kept[i] = tarn_new(self, pair);
    assert_non_null(tarn_new(self, pair)); /* garbage */
    raw[i] = tarn_alloc_raw(self, i % 2 ? 100 : 50000);
    assert_true(kept[i] && raw[i]);
  }
  assert_int_equal(info_of(world).in_use, 3 * COUNT);
  for (unsigned i = 0; i < COUNT; i++)
    tarn_free(self, raw[i]);
  assert_int_equal(info_of(world).in_use, 2 * COUNT);
  assert_int_equal(tarn_collect(self, TARN_GENERATION_FULL), TARN_OK);
  assert_int_equal(info_of(world).in_use, COUNT);
  for (unsigned i = 0; i < COUNT / 2; i++)
    kept[i] = NULL;
  assert_int_equal(tarn_collect(self, TARN_GENERATION_FULL), TARN_OK);
  assert_int_equal(info_of(world).in_use, COUNT / 2);
  for (unsigned i = COUNT / 2; i < COUNT; i++) {
    tarn_free(self, kept[i]);
    kept[i] = NULL;
  }
  tarn_profile_info info = info_of(world);
  assert_int_equal(info.in_use, 0);
  assert_int_equal(info.samples, 3 * COUNT);
  struct reader *reader = read_profile(world);
  assert_int_equal(sum_of(reader, "pair", 0, TARN_PROFILE_INUSE_SPACE), 0);
  assert_int_equal(sum_of(reader, "pair", 0, TARN_PROFILE_ALLOC_SPACE), 2 * COUNT * 64);
  reader_free(reader);
  for (unsigned i = 0; i < COUNT; i++)
    assert_int_equal(tarn_root_remove(world, &kept[i]), TARN_OK);
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  support_end(world);
}

static void young_collections_end_young_samples(void **state) {
  static void *kept[100];
  tarn_world *world = NULL;
  tarn_options options = TARN_OPTIONS_INIT;
  options.set = SUPPORT_ZEAL ? "collect=0,scan-stack=0,zeal=1000000" : "collect=0,scan-stack=0";
  options.flags = TARN_OPTIONS_NO_ENVIRONMENT | TARN_OPTIONS_BARRIERS;
  (void)state;
  assert_int_equal(tarn_world_create(&options, &world), TARN_OK);
  tarn_thread *self = support_attach(world);
  const tarn_type *pair = type_of(world, "pair", 64);
  assert_int_equal(tarn_profile_start(self, 1), TARN_OK);
  for (unsigned i = 0; i < 100; i++) {
    assert_int_equal(tarn_root_add(world, &kept[i]), TARN_OK);
    kept[i] = tarn_new(self, pair);
  }
  assert_int_equal(tarn_collect(self, TARN_GENERATION_FULL), TARN_OK);
  for (unsigned i = 0; i < 100; i++)
    kept[i] = NULL; /* old garbage, which a young collection does not find */
  for (unsigned i = 0; i < 50; i++) {
    assert_non_null(tarn_new(self, pair));
    kept[i] = tarn_new(self, pair);
  }
  assert_int_equal(info_of(world).in_use, 200);
  assert_int_equal(tarn_collect(self, 0), TARN_OK);
  assert_int_equal(info_of(world).in_use, 150);
  assert_int_equal(tarn_collect(self, TARN_GENERATION_FULL), TARN_OK);
  assert_int_equal(info_of(world).in_use, 50);
  for (unsigned i = 0; i < 100; i++)
    assert_int_equal(tarn_root_remove(world, &kept[i]), TARN_OK);
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  support_end(world);
}

static void *free_in_thread(void *data) {
  void **blocks = data;
  tarn_thread *self = NULL;
  if (tarn_thread_attach(blocks[0], &self) != TARN_OK)
    abort();
  for (unsigned i = 1; i <= 200; i++)
    tarn_free(self, blocks[i]);
  (void)tarn_thread_detach(self);
  return NULL;
}

static void frees_by_others_end_samples(void **state) {
  static void *blocks[201];
  tarn_world *world = support_world("collect=0");
  tarn_thread *self = support_attach(world);
  (void)state;
  assert_int_equal(tarn_profile_start(self, 1), TARN_OK);
  blocks[0] = world;
  for (unsigned i = 1; i <= 200; i++)
    blocks[i] = tarn_alloc_raw(self, 48);
  assert_int_equal(info_of(world).in_use, 200);
  tarn_block_begin(self);
  support_run(free_in_thread, blocks);
  tarn_block_end(self);
  assert_int_equal(info_of(world).in_use, 0);
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  support_end(world);
}

/* What is free and used again is another sample, at the same address. */
static void addresses_come_again(void **state) {
  enum { COUNT = 2000 };
  static void *blocks[COUNT];
  tarn_world *world = support_world("collect=0");
  tarn_thread *self = support_attach(world);
  uint64_t random = tarn_os_now();
  unsigned in_use = 0;
  (void)state;
  assert_int_equal(tarn_profile_start(self, 1), TARN_OK);
  for (unsigned i = 0; i < 50 * COUNT; i++) {
    random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
    void **block = &blocks[(random >> 33) % COUNT];
    if (*block) {
      tarn_free(self, *block);
      *block = NULL;
      in_use--;
    } else {
      *block = tarn_alloc_raw(self, 64);
      in_use++;
    }
  }
  assert_int_equal(info_of(world).in_use, in_use);
  for (unsigned i = 0; i < COUNT; i++)
    tarn_free(self, blocks[i]);
  memset(blocks, 0, sizeof blocks);
  assert_int_equal(info_of(world).in_use, 0);
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  support_end(world);
}

/* --- counting worlds ------------------------------------------------------------------------- */

static void collections_of_cycles_end_samples(void **state) {
  tarn_world *world = NULL;
  tarn_options options = TARN_OPTIONS_INIT;
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  options.set = SUPPORT_ZEAL ? "collect=0,zeal=1000000" : "collect=0";
  options.flags = TARN_OPTIONS_NO_ENVIRONMENT | TARN_OPTIONS_COUNTING;
  (void)state;
  assert_int_equal(tarn_world_create(&options, &world), TARN_OK);
  tarn_thread *self = support_attach(world);
  spec.name = "ring";
  spec.size = 32;
  spec.slot_bits = 2;
  spec.refs_at = 16;
  const tarn_type *ring = tarn_type_create(world, &spec, NULL);
  assert_non_null(ring);
  assert_int_equal(tarn_profile_start(self, 1), TARN_OK);
  uintptr_t *kept = tarn_new(self, ring);
  kept[2] = 1;
  for (unsigned i = 0; i < 100; i++) { /* each refers to itself */
    uintptr_t *object = tarn_new(self, ring);
    object[1] = (uintptr_t)object;
    object[2] = 1;
  }
  assert_int_equal(info_of(world).in_use, 101);
  assert_int_equal(tarn_collect_cycles(self, TARN_GENERATION_FULL), TARN_OK);
  assert_int_equal(info_of(world).in_use, 1);
  tarn_unref(self, kept);
  assert_int_equal(info_of(world).in_use, 0);
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  support_end(world);
}

/* --- stacks ---------------------------------------------------------------------------------- */

/* Not static, and alone in this: a function of the program's in the stack. */
__attribute__((noinline)) void *allocate_for_a_profile(tarn_thread *self, const tarn_type *type);
void *allocate_for_a_profile(tarn_thread *self, const tarn_type *type) {
  void *object = tarn_new(self, type);
  assert_non_null(object); /* no tail call */
  return object;
}

static size_t language(tarn_thread *self, tarn_profile_frame *frames, size_t most, void *data) {
  unsigned *depth = data;
  (void)self;
  static const char *const names[] = {"inner;most", "caf\xc3\xa9 \xff\n", NULL};
  for (unsigned i = 0; i < *depth && i < most; i++)
    frames[i] = (tarn_profile_frame){.name = names[i % 3], .file = "prog.scm", .line = i + 1};
  return *depth; /* may be too many */
}

static void stacks_have_calls_of_both(void **state) {
  tarn_world *world = support_world("collect=0");
  tarn_thread *self = support_attach(world);
  const tarn_type *pair = type_of(world, "a pair", 64);
  unsigned depth = 3;
  (void)state;
  assert_int_equal(tarn_profile_set_frames(NULL, language, &depth), TARN_EINVAL);
  assert_int_equal(tarn_profile_set_frames(world, language, &depth), TARN_OK);
  assert_int_equal(tarn_profile_start(self, 1), TARN_OK);
  (void)allocate_for_a_profile(self, pair);
  struct reader *reader = read_profile(world);
  assert_int_equal(reader->sample_count, 1);
  const struct reader_sample *sample = &reader->samples[0];
  assert_true(sample->depth > 4);
  assert_string_equal(reader_call(reader, sample, 0), "inner:most");
  assert_string_equal(reader_call(reader, sample, 1), "caf\xc3\xa9 ??");
  assert_string_equal(reader_call(reader, sample, 2), "(anonymous)");
  /* Builds without optimization have the inlined function as one. */
  unsigned first = strcmp(reader_call(reader, sample, 3), "tarn_new") == 0 ? 4 : 3;
  assert_string_equal(reader_call(reader, sample, first), "allocate_for_a_profile");
  assert_string_equal(reader_call(reader, sample, first + 1), "stacks_have_calls_of_both");
  assert_int_equal(reader_location(reader, sample->locations[1])->line, 2);
  const struct reader_location *code = reader_location(reader, sample->locations[first]);
  assert_true(code->mapping != 0);
  const struct reader_mapping *mapping = &reader->mappings[code->mapping - 1];
  assert_non_null(strstr(reader_string(reader, mapping->file), "test_profile"));
  assert_true(reader->date > UINT64_C(1600000000000000000) && reader->duration > 0);
  assert_string_equal(reader_string(reader, reader->first), "inuse_space");
  reader_free(reader);

  length = 0;
  assert_int_equal(
      tarn_profile_write(world, TARN_PROFILE_FOLDED, TARN_PROFILE_INUSE_SPACE, take, NULL),
      TARN_OK);
  const char *end = ";(anonymous);caf\xc3\xa9 ??;inner:most;[a pair] 64\n";
  assert_non_null(strstr(text, ";stacks_have_calls_of_both;allocate_for_a_profile;"));
  assert_true(length > strlen(end));
  assert_string_equal(text + length - strlen(end), end);
  length = 0;
  assert_int_equal(
      tarn_profile_write(world, TARN_PROFILE_FOLDED, TARN_PROFILE_ALLOC_OBJECTS, take, NULL),
      TARN_OK);
  assert_string_equal(text + length - 3, " 1\n");

  depth = 1000; /* more than there is room for */
  (void)allocate_for_a_profile(self, pair);
  assert_int_equal(tarn_profile_set_frames(world, NULL, NULL), TARN_OK);
  (void)allocate_for_a_profile(self, pair);
  assert_int_equal(info_of(world).places, 3);
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  support_end(world);
}

/* So many that some have the same place where the last ones are remembered. */
static void types_are_told_apart(void **state) {
  enum { TYPES = 700 };
  const tarn_type *types[TYPES];
  tarn_world *world = support_world("collect=0");
  tarn_thread *self = support_attach(world);
  char name[64];
  (void)state;
  for (unsigned i = 0; i < TYPES; i++) {
    snprintf(name, sizeof name, "type-%u", i);
    types[i] = type_of(world, name, 64);
  }
  assert_int_equal(tarn_profile_start(self, 1), TARN_OK);
  for (unsigned i = 0; i < 3 * TYPES; i++)
    assert_non_null(tarn_new(self, types[i * 37 % TYPES]));
  assert_non_null(tarn_alloc_raw(self, 64));
  struct reader *reader = read_profile(world);
  for (unsigned i = 0; i < TYPES; i++) {
    snprintf(name, sizeof name, "type-%u", i);
    assert_int_equal(sum_of(reader, name, 64, TARN_PROFILE_ALLOC_OBJECTS), 3);
  }
  assert_int_equal(sum_of(reader, "raw", 64, TARN_PROFILE_ALLOC_OBJECTS), 1);
  reader_free(reader);
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  support_end(world);
}

/* --- bounds ---------------------------------------------------------------------------------- */

static size_t ever_new(tarn_thread *self, tarn_profile_frame *frames, size_t most, void *data) {
  static char name[64];
  unsigned *number = data;
  (void)self, (void)most;
  snprintf(name, sizeof name, "function-%u", ++*number);
  frames[0] = (tarn_profile_frame){.name = name};
  return 1;
}

static void what_does_not_fit_is_counted(void **state) {
  enum { PLACES = 20000, BLOCKS = 70000 };
  tarn_world *world = support_world("collect=0");
  tarn_thread *self = support_attach(world);
  unsigned number = 0;
  (void)state;
  assert_int_equal(tarn_profile_set_frames(world, ever_new, &number), TARN_OK);
  assert_int_equal(tarn_profile_start(self, 1), TARN_OK);
  for (unsigned i = 0; i < PLACES; i++)
    assert_non_null(tarn_alloc_raw(self, 16));
  tarn_profile_info info = info_of(world);
  assert_int_equal(info.samples, PLACES);
  /* Functions that do not fit are one, so places do. */
  assert_true(info.places > 10000 && info.places <= 16384);
  assert_int_equal(info.in_use + info.dropped, PLACES);
  struct reader *reader = read_profile(world);
  assert_true(reader->sample_count == info.places);
  reader_free(reader);
  for (unsigned i = PLACES; i < BLOCKS; i++)
    assert_non_null(tarn_alloc_raw(self, 16));
  info = info_of(world);
  assert_int_equal(info.in_use, 65536);
  assert_int_equal(info.in_use + info.dropped, BLOCKS);
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  support_end(world);
}

/* --- calls ----------------------------------------------------------------------------------- */

static bool refuse(void *data, const char *bytes, size_t size) {
  (void)data, (void)bytes, (void)size;
  return false;
}

static void calls_in_the_wrong_order(void **state) {
  tarn_world *world = support_world("");
  tarn_thread *self = support_attach(world);
  tarn_profile_info info = {.struct_size = sizeof info};
  (void)state;
  assert_int_equal(tarn_profile_start(NULL, 0), TARN_EINVAL);
  assert_int_equal(tarn_profile_stop(NULL), TARN_EINVAL);
  assert_int_equal(tarn_profile_stop(self), TARN_EUNBALANCED);
  assert_int_equal(tarn_profile_info_get(world, &info), TARN_EUNBALANCED);
  assert_int_equal(tarn_profile_info_get(world, NULL), TARN_EINVAL);
  assert_int_equal(
      tarn_profile_write(world, TARN_PROFILE_PPROF, TARN_PROFILE_ALLOC_SPACE, take, NULL),
      TARN_EUNBALANCED);
  assert_int_equal(tarn_profile_write_file(world, TARN_PROFILE_PPROF, TARN_PROFILE_ALLOC_SPACE,
                                           "/nowhere/at/all"),
                   TARN_EUNBALANCED);
  assert_int_equal(tarn_profile_start(self, TARN_PROFILE_RATE_MOST + 1), TARN_EINVAL);
  assert_int_equal(tarn_profile_start(self, SIZE_MAX), TARN_EINVAL);
  assert_int_equal(tarn_profile_info_get(world, &info), TARN_EUNBALANCED);
  assert_int_equal(tarn_profile_start(self, TARN_PROFILE_RATE_MOST), TARN_OK);
  assert_int_equal(info_of(world).rate, TARN_PROFILE_RATE_MOST);
  assert_int_equal(tarn_profile_stop(self), TARN_OK);
  assert_int_equal(tarn_profile_start(self, 0), TARN_OK);
  assert_int_equal(tarn_profile_start(self, 0), TARN_EBUSY);
  assert_int_equal(info_of(world).rate, TARN_PROFILE_RATE);
  assert_true(info_of(world).on);
  errno = 0;
  assert_int_equal(
      tarn_profile_write(world, TARN_PROFILE_PPROF, TARN_PROFILE_ALLOC_SPACE, refuse, NULL),
      TARN_ESYSTEM);
  assert_int_equal(errno, ECANCELED);
  assert_int_equal(tarn_profile_write_file(world, TARN_PROFILE_PPROF, TARN_PROFILE_ALLOC_SPACE,
                                           "/nowhere/at/all"),
                   TARN_ESYSTEM);
  assert_int_equal(errno, ENOENT);
  assert_int_equal(
      tarn_profile_write(world, (tarn_profile_format)7, TARN_PROFILE_ALLOC_SPACE, take, NULL),
      TARN_EINVAL);
  assert_int_equal(tarn_profile_write(world, TARN_PROFILE_PPROF, (tarn_profile_value)7, take, NULL),
                   TARN_EINVAL);
  tarn_gc_hold(self);
  assert_int_equal(tarn_profile_stop(self), TARN_EHELD);
  tarn_gc_release(self);
  tarn_block_begin(self);
  assert_int_equal(tarn_profile_stop(self), TARN_EUNBALANCED);
  tarn_block_end(self);
  assert_int_equal(tarn_profile_stop(self), TARN_OK);
  assert_false(info_of(world).on);
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  support_end(world);
}

/* After the stop nothing is taken, and inlined paths are open again. */
static void a_stopped_profile_stays(void **state) {
  tarn_world *world = support_world("collect=0");
  tarn_thread *self = support_attach(world);
  (void)state;
  uintptr_t open = self->tarn_running;
  assert_int_equal(tarn_profile_start(self, 1), TARN_OK);
  assert_int_equal(self->tarn_running, 0);
  void *block = tarn_alloc_raw(self, 64);
  assert_int_equal(tarn_profile_stop(self), TARN_OK);
  assert_int_equal(self->tarn_running, open);
  assert_non_null(tarn_alloc_raw(self, 64));
  tarn_free(self, block);
  assert_int_equal(info_of(world).samples, 1);
  assert_int_equal(info_of(world).in_use, 1);
  struct reader *reader = read_profile(world);
  assert_int_equal(sum_of(reader, "raw", 64, TARN_PROFILE_INUSE_OBJECTS), 1);
  reader_free(reader);
  assert_int_equal(tarn_profile_start(self, 1), TARN_OK); /* from the beginning */
  assert_int_equal(info_of(world).samples, 0);
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  support_end(world);
}

/* A thread makes ten objects of a type. */
static void *make_ten(void *data) {
  struct mix *mix = data;
  tarn_thread *self = NULL;
  if (tarn_thread_attach(mix->world, &self) != TARN_OK)
    abort();
  for (unsigned i = 0; i < 10; i++)
    if (!tarn_new(self, mix->pair))
      abort();
  (void)tarn_thread_detach(self);
  return NULL;
}

static void make_in_threads(struct mix *mix, tarn_thread *self) {
  tarn_block_begin(self);
  for (unsigned i = 0; i < 20; i++) /* more than wait before a record is used again */
    support_run(make_ten, mix);
  tarn_block_end(self);
}

/* What bins have in hand when it starts, and what the last one would have waited for, with however
 * large a rate, in threads that went as well, means nothing to a profile. */
static void a_profile_begins_anew(void **state) {
  struct mix mix = {.world = support_world("collect=0")};
  tarn_thread *self = support_attach(mix.world);
  (void)state;
  mix.pair = type_of(mix.world, "pair", 32);
  for (unsigned round = 0; round < 2; round++) {
    for (unsigned i = 0; i < 10; i++)
      assert_non_null(tarn_new(self, mix.pair));
    assert_int_equal(tarn_profile_start(self, 1), TARN_OK);
    for (unsigned i = 0; i < 10; i++)
      assert_non_null(tarn_new(self, mix.pair));
    make_in_threads(&mix, self);
    assert_int_equal(info_of(mix.world).samples, 210);
    assert_int_equal(tarn_profile_stop(self), TARN_OK);
    assert_int_equal(tarn_profile_start(self, (size_t)1 << 40), TARN_OK);
    assert_non_null(tarn_new(self, mix.pair));
    make_in_threads(&mix, self);
    assert_int_equal(tarn_profile_stop(self), TARN_OK);
  }
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  support_end(mix.world);
}

/* --- by options ------------------------------------------------------------------------------ */

static char directory[200];

static bool read_file(const char *name) {
  char path[300];
  snprintf(path, sizeof path, "%s/%s", directory, name);
  FILE *file = fopen(path, "r");
  if (!file)
    return false;
  length = 0;
  char piece[4096];
  for (size_t got; (got = fread(piece, 1, sizeof piece, file)) > 0;)
    (void)take(NULL, piece, got);
  (void)fclose(file);
  assert_int_equal(remove(path), 0);
  return true;
}

static void allocate_some(void *data) {
  const char *name = data;
  tarn_world *world = NULL;
  tarn_thread *self = NULL;
  char set[300];
  snprintf(set, sizeof set, "profile=%s/%s,profile-rate=1K", directory, name);
  CHILD_CHECK(support_try_world(set, &world) == TARN_OK);
  CHILD_CHECK(tarn_thread_attach(world, &self) == TARN_OK);
  for (unsigned i = 0; i < 1000; i++)
    CHILD_CHECK(tarn_alloc_raw(self, 100) != NULL);
  CHILD_CHECK(tarn_thread_detach(self) == TARN_OK);
  if (strchr(name, '-')) /* at the end of the world, or at exit */
    CHILD_CHECK(tarn_world_destroy(world) == TARN_OK);
  exit(0);
}

static void options_write_at_the_end(void **state) {
  static char *const names[] = {"a.pb", "b-b.pprof", "c.folded", "d-d.inuse.folded"};
  const char *where = getenv("TMPDIR");
  (void)state;
  snprintf(directory, sizeof directory, "%s/tarn-profile-XXXXXX", where ? where : P_tmpdir);
  assert_non_null(mkdtemp(directory));
  for (unsigned i = 0; i < 4; i++) {
    support_good_child(allocate_some, names[i]);
    assert_true(read_file(names[i]));
    if (i >= 2) {
      assert_non_null(strstr(text, ";[raw] "));
      continue;
    }
    struct reader *reader = reader_read(text, length);
    assert_int_equal(reader->period, 1024);
    check_count(reader, "raw", tarn_good_size(100), 1000);
    assert_string_equal(reader_string(reader, reader->first), "alloc_space");
    reader_free(reader);
  }
  assert_int_equal(rmdir(directory), 0);
}

static void fails_to_write(void *data) {
  tarn_world *world = NULL;
  (void)data;
  CHILD_CHECK(support_try_world("profile=/nowhere/at/all", &world) == TARN_OK);
  CHILD_CHECK(tarn_world_destroy(world) == TARN_OK);
}

static void a_failure_is_said(void **state) {
  char said[512];
  (void)state;
  assert_int_equal(support_child(fails_to_write, NULL, said, sizeof said), 0);
  assert_string_equal(said, "tarn: profile: /nowhere/at/all: No such file or directory\n");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(chances_are_exact),
      cmocka_unit_test(distances_are_exponential),
      cmocka_unit_test(figures_are_right),
      cmocka_unit_test(threads_are_all_seen),
      cmocka_unit_test(rare_types_are_not_seen_more_often),
      cmocka_unit_test(collections_in_between_change_nothing),
      cmocka_unit_test(every_allocation_with_a_rate_of_one),
      cmocka_unit_test(an_allocation_within_another_takes_no_name_away),
      cmocka_unit_test(frees_and_collections_end_samples),
      cmocka_unit_test(young_collections_end_young_samples),
      cmocka_unit_test(frees_by_others_end_samples),
      cmocka_unit_test(addresses_come_again),
      cmocka_unit_test(collections_of_cycles_end_samples),
      cmocka_unit_test(stacks_have_calls_of_both),
      cmocka_unit_test(types_are_told_apart),
      cmocka_unit_test(what_does_not_fit_is_counted),
      cmocka_unit_test(calls_in_the_wrong_order),
      cmocka_unit_test(a_stopped_profile_stays),
      cmocka_unit_test(a_profile_begins_anew),
      cmocka_unit_test(options_write_at_the_end),
      cmocka_unit_test(a_failure_is_said),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
