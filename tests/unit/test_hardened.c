/* SPDX-License-Identifier: MIT */
/*
 * What builds with TARN_HARDENED find and hide: encoded links, the quarantine, random starts, and
 * guard pages.  Each crime is done in a child, whose last words are looked at.  Other builds have
 * nothing to test here, and say so.
 */
#include "support.h"

#if TARN_HARDENED

#include "heap/find.h"
#include "heap/local.h"
#include "world/type.h"
#include <signal.h>

#define WRITTEN "a free block was written to"
#define TWICE "freed twice"

struct scene {
  tarn_world *world;
  tarn_thread *self;
  const tarn_type *type;
  size_t size, at; /* of a block, and of the damage */
};

static struct scene scene_start(const char *set) {
  struct scene scene = {.world = support_world(set)};
  scene.self = support_attach(scene.world);
  scene.type = support_type(scene.world, "a thing", 64, 2, NULL);
  return scene;
}

static void scene_end(struct scene *scene) {
  support_verify(scene->self);
  assert_int_equal(tarn_thread_detach(scene->self), TARN_OK);
  support_end(scene->world);
}

static struct tarn_quarantine *quarantine_of(tarn_thread *self) {
  return &tarn_local_of(self)->quarantine;
}

static void name(const void *block) { dprintf(2, "about %p\n", block); }

/* Runs the crime in a child; it must be reported with the block that the child named. */
static void expect(const char *what, void (*crime)(void *), struct scene *scene, const char *says) {
  char text[4096], wanted[100] = "nothing was named";
  int status = support_child(crime, scene, text, sizeof text);
  const char *about = strstr(text, "about ");
  if (about)
    (void)snprintf(wanted, sizeof wanted, "tarn: block %.*s", (int)strcspn(about + 6, "\n"),
                   about + 6);
  const char *report = strstr(text, wanted);
  if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT || !report || !strstr(report, says))
    fail_msg("%s (size %zu, at %zu): status %#x, said:\n%s", what, scene->size, scene->at,
             (unsigned)status, text);
}

/* --- links ----------------------------------------------------------------------------------- */

/* Blocks of one size on the list of their pool: the last one is its first. */
static void make_list(struct scene *scene, void **blocks, size_t count) {
  tarn_harden_plain = true; /* nothing waits */
  for (size_t i = 0; i < count; i++)
    CHILD_CHECK((blocks[i] = tarn_alloc_raw(scene->self, 64)));
  for (size_t i = 0; i < count; i++)
    tarn_free(scene->self, blocks[i]);
  CHILD_CHECK(tarn_pool_of((uintptr_t)blocks[0])->own.free == blocks[count - 1]);
}

static void take(struct scene *scene, size_t count) {
  for (size_t i = 0; i < count; i++)
    (void)tarn_alloc_raw(scene->self, 64);
}

static void write_a_plain_link(void *data) {
  void *blocks[4], *victim = tarn_alloc_raw(((struct scene *)data)->self, 64);
  make_list(data, blocks, 4);
  name(blocks[3]);
  ((uintptr_t *)blocks[3])[1] = (uintptr_t)victim;
  take(data, 2);
}
static void write_no_link(void *data) {
  void *blocks[4];
  make_list(data, blocks, 4);
  name(blocks[3]);
  ((uintptr_t *)blocks[3])[1] = 0; /* "the last one" elsewhere */
  take(data, 2);
}
/* Somebody has found the secret out: still not to what is no free block. */
static void forge_a_link_to_a_block_in_use(void *data) {
  void *blocks[4], *victim = tarn_alloc_raw(((struct scene *)data)->self, 64);
  make_list(data, blocks, 4);
  name(victim); /* as one that should be free */
  ((uintptr_t *)blocks[3])[1] = tarn_link_encode(blocks[3], victim);
  take(data, 2);
}
static void forge_a_link_to_no_start(void *data) {
  void *blocks[4];
  make_list(data, blocks, 4);
  name(blocks[3]);
  ((uintptr_t *)blocks[3])[1] = tarn_link_encode(blocks[3], (char *)blocks[2] + 16);
  take(data, 2);
}
static void forge_a_link_out_of_the_pool(void *data) {
  void *blocks[4];
  make_list(data, blocks, 4);
  name(blocks[3]);
  ((uintptr_t *)blocks[3])[1] = tarn_link_encode(blocks[3], (char *)blocks[2] + TARN_UNIT_SIZE);
  take(data, 2);
}
/* Found before the damaged block is the next one. */
static void write_over_the_next_key(void *data) {
  void *blocks[4];
  make_list(data, blocks, 4);
  name(blocks[2]);
  *(uintptr_t *)blocks[2] = 5;
  take(data, 1);
}

static void links_lead_nowhere_but_to_free_blocks(void **unused) {
  (void)unused;
  struct scene scene = scene_start("collect=off");
  expect("plain", write_a_plain_link, &scene, WRITTEN);
  expect("none", write_no_link, &scene, WRITTEN);
  expect("in use", forge_a_link_to_a_block_in_use, &scene, WRITTEN);
  expect("no start", forge_a_link_to_no_start, &scene, WRITTEN);
  expect("out of the pool", forge_a_link_out_of_the_pool, &scene, WRITTEN);
  expect("next", write_over_the_next_key, &scene, WRITTEN);
  scene_end(&scene);
}

static void links_are_not_addresses(void **unused) {
  (void)unused;
  for (size_t i = 0; i < 100; i++) {
    uintptr_t at = tarn_space.base + i * 64, to = at + 64;
    uintptr_t word = tarn_link_encode((void *)at, (void *)to);
    assert_ptr_equal(tarn_link_decode((void *)at, word), (void *)to);
    assert_false(tarn_space_holds(word));
    assert_int_not_equal(tarn_link_encode((void *)at, NULL), 0);
    /* The same link elsewhere is another word. */
    assert_int_not_equal(word, tarn_link_encode((void *)(at + 16), (void *)to));
  }
}

/* --- the quarantine -------------------------------------------------------------------------- */

/* Frees others until whatever was freed before has left. */
static void push_out(struct scene *scene) {
  for (size_t i = 0; i < TARN_QUARANTINE_BLOCKS; i++)
    tarn_free(scene->self, tarn_alloc_raw(scene->self, 24));
}

static void write_after_free(void *data) {
  struct scene *scene = data;
  char *block = tarn_alloc_raw(scene->self, scene->size);
  name(block);
  tarn_free(scene->self, block);
  block[scene->at] ^= 1;
  push_out(scene);
}
static void write_to_object_after_free(void *data) {
  struct scene *scene = data;
  char *object = tarn_new(scene->self, scene->type);
  name(object);
  tarn_free(scene->self, object);
  object[scene->at] ^= 1;
  push_out(scene);
}
static void write_after_free_and_only_allocate(void *data) {
  struct scene *scene = data;
  char *block = tarn_alloc_raw(scene->self, 4096);
  name(block);
  tarn_free(scene->self, block);
  block[2000] ^= 1;
  for (size_t i = 0; i < 100; i++)
    (void)tarn_alloc_raw(scene->self, 4096);
}
static void write_after_free_and_stop(void *data) {
  struct scene *scene = data;
  char *block = tarn_alloc_raw(scene->self, 40);
  name(block);
  tarn_free(scene->self, block);
  block[39] ^= 1;
  (void)tarn_verify(scene->self, NULL, 0);
}
static void write_after_free_and_detach(void *data) {
  struct scene *scene = data;
  char *block = tarn_alloc_raw(scene->self, 40);
  name(block);
  tarn_free(scene->self, block);
  block[8] ^= 1;
  (void)tarn_thread_detach(scene->self);
}

static void late_writes_are_found_wherever_they_go(void **unused) {
  (void)unused;
  const size_t sizes[] = {16, 24, 64, 1000, 4096, 32768};
  struct scene scene = scene_start("collect=off");
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    const size_t places[] = {0, 7, 8, 15, sizes[i] / 2, sizes[i] - 1};
    for (size_t k = 0; k < sizeof places / sizeof places[0]; k++) {
      scene.size = sizes[i];
      scene.at = places[k];
      expect("late", write_after_free, &scene, WRITTEN);
    }
  }
  for (scene.at = 0; scene.at < 64; scene.at += 9)
    expect("late, object", write_to_object_after_free, &scene, WRITTEN);
  expect("late, then allocations", write_after_free_and_only_allocate, &scene, WRITTEN);
  expect("late, then a stop", write_after_free_and_stop, &scene, WRITTEN);
  expect("late, then the end of the thread", write_after_free_and_detach, &scene, WRITTEN);
  scene_end(&scene);
}

struct elsewhere {
  struct scene *scene;
  char *block;
  bool writes, twice;
};

static void *free_elsewhere(void *data) {
  const struct elsewhere *job = data;
  tarn_thread *self = NULL;
  CHILD_CHECK(tarn_thread_attach(job->scene->world, &self) == TARN_OK);
  tarn_free(self, job->block);
  if (job->writes)
    job->block[20] ^= 1;
  if (job->twice)
    tarn_free(self, job->block);
  CHILD_CHECK(tarn_thread_detach(self) == TARN_OK);
  return NULL;
}

static void run_elsewhere(struct scene *scene, struct elsewhere job) {
  pthread_t thread;
  job.scene = scene;
  CHILD_CHECK(pthread_create(&thread, NULL, free_elsewhere, &job) == 0);
  tarn_block_begin(scene->self);
  CHILD_CHECK(pthread_join(thread, NULL) == 0);
  tarn_block_end(scene->self);
}

static void write_after_a_free_elsewhere(void *data) {
  struct scene *scene = data;
  struct elsewhere job = {.block = tarn_alloc_raw(scene->self, 40), .writes = true};
  name(job.block);
  run_elsewhere(scene, job);
}
static void free_twice_elsewhere(void *data) {
  struct scene *scene = data;
  struct elsewhere job = {.block = tarn_alloc_raw(scene->self, 40), .twice = true};
  name(job.block);
  run_elsewhere(scene, job);
}
static void free_here_then_elsewhere(void *data) {
  struct scene *scene = data;
  struct elsewhere job = {.block = tarn_alloc_raw(scene->self, 40)};
  name(job.block);
  tarn_free(scene->self, job.block);
  run_elsewhere(scene, job);
}
static void free_elsewhere_then_here(void *data) {
  struct scene *scene = data;
  struct elsewhere job = {.block = tarn_alloc_raw(scene->self, 40)};
  name(job.block);
  run_elsewhere(scene, job);
  tarn_free(scene->self, job.block);
}
static void free_twice_with_others_between(void *data) {
  struct scene *scene = data;
  void *block = tarn_alloc_raw(scene->self, 40);
  name(block);
  tarn_free(scene->self, block);
  for (size_t i = 0; i < 100; i++) /* of its size: in other builds it would be another's by now */
    (void)tarn_alloc_raw(scene->self, 40);
  tarn_free(scene->self, block);
}

static void frees_by_other_threads_wait_there(void **unused) {
  (void)unused;
  struct scene scene = scene_start("collect=off");
  expect("late, elsewhere", write_after_a_free_elsewhere, &scene, WRITTEN);
  expect("twice elsewhere", free_twice_elsewhere, &scene, TWICE);
  expect("here, then elsewhere", free_here_then_elsewhere, &scene, TWICE);
  expect("elsewhere, then here", free_elsewhere_then_here, &scene, TWICE);
  expect("twice, others between", free_twice_with_others_between, &scene, TWICE);
  scene_end(&scene);
}

static void write_beyond_a_block(void *data) {
  struct scene *scene = data;
  char *blocks[300];
  for (size_t i = 0; i < 300; i++)
    CHILD_CHECK((blocks[i] = tarn_alloc_raw(scene->self, 48)));
  for (size_t i = 0; i < 300; i++)
    for (size_t k = 0; k < 300; k++)
      if (blocks[k] == blocks[i] + 48) { /* a neighbour that is freed */
        name(blocks[k]);
        tarn_free(scene->self, blocks[k]);
        blocks[i][scene->at] ^= 1;
        push_out(scene);
        CHILD_CHECK(false);
      }
}

/* --- type words ------------------------------------------------------------------------------ */

#define NO_TYPE "its first word is not a type"

static void hijacked(tarn_world *world, void *object) {
  (void)world, (void)object;
  dprintf(2, "the function of a forged type ran\n");
  _exit(0);
}

/* What stands in the object's first word from now on. */
static uintptr_t forge(struct scene *scene, const void *object) {
  switch (scene->at) {
  case 0: /* a number */
    return 0x4141414141414141;
  case 1: /* any address that can be read */
    return (uintptr_t)scene->self;
  case 2: /* another world's type */
    return (uintptr_t)support_type(support_world(""), "elsewhere", 64, 2, NULL);
  default: { /* a copy of the very type, in a block of the heap, with another function */
    tarn_type *copy = tarn_alloc_raw(scene->self, sizeof *copy);
    CHILD_CHECK(copy);
    memcpy((void *)copy, tarn_type_of(object), sizeof *copy);
    copy->check = (uintptr_t)copy ^ TARN_TYPE_CHECK;
    atomic_store(&copy->free_fn, hijacked);
    return (uintptr_t)copy;
  }
  }
}

static const tarn_type *resource_type(struct scene *scene) {
  return support_type(scene->world, "a resource", 64, 2, hijacked);
}

static void collect_forged(void *data) {
  struct scene *scene = data;
  void *object = tarn_new(scene->self, scene->type);
  TARN_FRAME(scene->self, &object);
  name(object);
  *(uintptr_t *)object = forge(scene, object);
  (void)tarn_collect(scene->self, TARN_GENERATION_FULL);
}
static void free_forged(void *data) {
  struct scene *scene = data;
  void *object = tarn_new(scene->self, resource_type(scene));
  name(object);
  *(uintptr_t *)object = forge(scene, object);
  tarn_free(scene->self, object);
}
static void release_forged(void *data) {
  struct scene *scene = data;
  uintptr_t *object = tarn_new(scene->self, resource_type(scene));
  name(object);
  *object = forge(scene, object);
  (void)tarn_collect(scene->self, TARN_GENERATION_FULL); /* condemns it */
  tarn_safepoint(scene->self);
}

static void a_type_word_that_was_written_to_is_never_followed(void **unused) {
  (void)unused;
  struct scene scene = scene_start("collect=off");
  for (scene.at = 0; scene.at < 4; scene.at++) {
    expect("a mark", collect_forged, &scene, NO_TYPE);
    expect("a free", free_forged, &scene, NO_TYPE);
    expect("a `free` function that is due", release_forged, &scene, NO_TYPE);
  }
  scene_end(&scene);
}

static void every_type_is_known_however_many_there_are(void **unused) {
  (void)unused;
  struct scene scene = scene_start("");
  void *kept = NULL;
  {
    TARN_FRAME(scene.self, &kept);
    for (size_t i = 0; i < 500; i++) {
      const tarn_type *type = support_type(scene.world, "one of many", 64, 2, NULL);
      void **object = tarn_new(scene.self, type);
      assert_non_null(object);
      object[1] = kept;
      kept = object;
      if (i % 50 == 0)
        assert_int_equal(tarn_collect(scene.self, TARN_GENERATION_FULL), TARN_OK);
    }
  }
  assert_int_equal(tarn_collect(scene.self, TARN_GENERATION_FULL), TARN_OK);
  scene_end(&scene);
}

/* --- overflows ------------------------------------------------------------------------------- */

static void overflows_into_waiting_blocks_are_found(void **unused) {
  (void)unused;
  struct scene scene = scene_start("collect=off");
  for (scene.at = 48; scene.at < 96; scene.at += 13)
    expect("overflow", write_beyond_a_block, &scene, WRITTEN);
  scene_end(&scene);
}

static void blocks_wait_in_order_and_within_bounds(void **unused) {
  (void)unused;
  struct scene scene = scene_start("collect=off");
  struct tarn_quarantine *quarantine = quarantine_of(scene.self);
  uint64_t state = 5;
  for (size_t i = 0; i < 20000; i++) {
    void *block = tarn_alloc_raw(scene.self, 1 + tarn_random_below(&state, i % 50 ? 300 : 32768));
    tarn_free(scene.self, block);
    assert_true(quarantine->count >= 1 && quarantine->count <= TARN_QUARANTINE_BLOCKS);
    assert_true(quarantine->bytes <= TARN_QUARANTINE_BYTES);
    uint32_t last = quarantine->first + quarantine->count - 1;
    assert_ptr_equal(quarantine->blocks[last % TARN_QUARANTINE_BLOCKS], block);
  }
  support_verify(scene.self);
  assert_int_equal(quarantine->count, 0);
  assert_int_equal(quarantine->bytes, 0);
  scene_end(&scene);
}

static void a_block_is_not_handed_out_while_it_waits(void **unused) {
  (void)unused;
  struct scene scene = scene_start("collect=off");
  uintptr_t freed[TARN_QUARANTINE_BLOCKS];
  for (size_t i = 0; i < TARN_QUARANTINE_BLOCKS; i++) {
    void *block = tarn_alloc_raw(scene.self, 64);
    freed[i] = (uintptr_t)block;
    for (size_t k = 0; k < i; k++)
      assert_int_not_equal(freed[k], freed[i]);
    tarn_free(scene.self, block);
  }
  /* And then it is: the pool does not go on for ever. */
  for (size_t i = 0; i < 100000; i++)
    tarn_free(scene.self, tarn_alloc_raw(scene.self, 64));
  assert_true(support_stats(scene.world).pools <= 2);
  scene_end(&scene);
}

static void what_waits_is_there_when_memory_is_short(void **unused) {
  (void)unused;
  struct scene scene = scene_start("collect=off");
  assert_int_equal(tarn_world_set_limits(scene.world, 0, MIB), TARN_OK);
  tarn_gc_hold(scene.self); /* no collection helps */
  void *blocks[64];
  size_t count = 0;
  while (count < 64 && (blocks[count] = tarn_alloc_raw(scene.self, 32768)))
    count++;
  assert_true(count >= 16 && count < 64);
  for (int round = 0; round < 3; round++) {
    tarn_free(scene.self, blocks[0]);
    assert_int_equal(quarantine_of(scene.self)->count, 1);
    blocks[0] = tarn_alloc_raw(scene.self, 32768);
    assert_non_null(blocks[0]);
  }
  for (size_t i = 0; i < count; i++)
    tarn_free(scene.self, blocks[i]);
  void *large = tarn_alloc_raw(scene.self, 900 * KIB); /* of all of it */
  assert_non_null(large);
  tarn_free(scene.self, large);
  tarn_gc_release(scene.self);
  scene_end(&scene);
}

static void collections_find_nothing_waiting(void **unused) {
  (void)unused;
  struct scene scene = scene_start("");
  for (int round = 0; round < 20; round++) {
    for (size_t i = 0; i < 300; i++) {
      tarn_free(scene.self, tarn_new(scene.self, scene.type));
      tarn_free(scene.self, tarn_alloc_raw(scene.self, i * 8));
      (void)tarn_new(scene.self, scene.type);
    }
    assert_int_equal(tarn_collect(scene.self, TARN_GENERATION_FULL), TARN_OK);
    assert_int_equal(quarantine_of(scene.self)->count, 0);
    support_verify(scene.self);
  }
  scene_end(&scene);
}

static void go_on_in_a_child(void *data) {
  struct scene *scene = data;
  char message[200] = "";
  for (size_t i = 0; i < 1000; i++)
    tarn_free(scene->self, tarn_alloc_raw(scene->self, 64));
  CHILD_CHECK(tarn_verify(scene->self, message, sizeof message) == TARN_OK);
}

static void what_waits_goes_through_a_fork(void **unused) {
  (void)unused;
  struct scene scene = scene_start("collect=off");
  for (size_t i = 0; i < 100; i++)
    tarn_free(scene.self, tarn_alloc_raw(scene.self, 64));
  support_good_child(go_on_in_a_child, &scene);
  go_on_in_a_child(&scene);
  scene_end(&scene);
}

/* --- starts ---------------------------------------------------------------------------------- */

static size_t count_different(uint32_t *places, size_t count) {
  size_t different = 0;
  for (size_t i = 0; i < count; i++) {
    bool again = false;
    for (size_t k = 0; k < i; k++)
      again = again || places[k] == places[i];
    different += !again;
  }
  return different;
}

#define POOLS 64

static uintptr_t new_block(struct scene *scene, int typed) {
  return (uintptr_t)(typed ? tarn_new(scene->self, scene->type) : tarn_alloc_raw(scene->self, 64));
}

static void pools_begin_where_nobody_knows(void **unused) {
  (void)unused;
  struct scene scene = scene_start("collect=off");
  uint32_t first[POOLS], step[POOLS];
  for (int typed = 0; typed < 2; typed++) {
    const struct tarn_pool *last = NULL;
    for (size_t pools = 0; pools < POOLS;) {
      uintptr_t block = new_block(&scene, typed), next = new_block(&scene, typed);
      const struct tarn_pool *pool = tarn_pool_of(block);
      if (pool != last && pool == tarn_pool_of(next)) {
        first[pools] = (uint32_t)(block - tarn_pool_base(pool));
        step[pools++] = (uint32_t)(next - block);
      }
      last = tarn_pool_of(next);
    }
    assert_true(count_different(first, POOLS) > POOLS / 3);
    assert_true(count_different(step, POOLS) > POOLS / 3);
  }
  scene_end(&scene);
}

static void every_block_of_a_pool_is_handed_out_once(void **unused) {
  (void)unused;
  const size_t sizes[] = {16, 24, 104, 4096, 28672, 32768};
  struct scene scene = scene_start("collect=off");
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
    for (int round = 0; round < 20; round++) {
      const struct tarn_pool *pool = NULL;
      for (size_t k = 0; k < TARN_UNIT_SIZE / sizes[i]; k++) {
        char *block = tarn_alloc_atomic(scene.self, sizes[i]);
        assert_true(support_is_filled(block, sizes[i], 0)); /* so it was not handed out before */
        memset(block, 'x', sizes[i]);
        pool = pool ? pool : tarn_pool_of((uintptr_t)block);
        assert_ptr_equal(tarn_pool_of((uintptr_t)block), pool);
      }
    }
  scene_end(&scene);
}

/* --- guards ---------------------------------------------------------------------------------- */

struct touch {
  volatile char *at;
  bool writes;
};

static void touch(void *data) {
  struct touch *job = data;
  (void)signal(SIGSEGV, SIG_DFL); /* not cmocka's */
  if (job->writes)
    *job->at = 1;
  else
    (void)*job->at;
}

static bool faults(char *at, bool writes) {
  struct touch job = {at, writes};
  char text[200];
  int status = support_child(touch, &job, text, sizeof text);
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV;
}

static size_t large_bytes(tarn_thread *self, const void *block) {
  return tarn_usable_size(tarn_thread_world(self), block);
}

static void the_pages_around_a_large_object_cannot_be_touched(void **unused) {
  (void)unused;
  const size_t sizes[] = {32769,         40000,         61440,  61441, 65536,   65537,
                          131072 - 4096, 131072 - 4097, 131072, MIB,   17 * MIB};
  struct scene scene = scene_start("collect=off");
  for (int round = 0; round < 2; round++)
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
      char *block = round ? tarn_alloc_raw(scene.self, sizes[i])
                          : tarn_alloc_aligned(scene.self, 8 * TARN_UNIT_SIZE, sizes[i]);
      size_t bytes = large_bytes(scene.self, block);
      assert_true(bytes >= sizes[i] && (uintptr_t)block % TARN_UNIT_SIZE == 0);
      memset(block, 'x', bytes);
      assert_true(faults(block + bytes, false) && faults(block + bytes, true));
      assert_true(faults(block + bytes + 4095, true));
      if (round)
        assert_true(faults(block - 1, false) && faults(block - 1, true));
      assert_null(tarn_block_of(scene.world, (uintptr_t)block - 1, NULL));
      assert_null(tarn_block_of(scene.world, (uintptr_t)block + bytes, NULL));
      assert_ptr_equal(tarn_block_of(scene.world, (uintptr_t)block + bytes - 1, NULL), block);
      support_verify(scene.self);
      if (i % 2)
        tarn_free(scene.self, block);
    }
  scene_end(&scene);
}

/* What was a guard's page is memory like any other, whoever has it next. */
static void guards_go_with_their_object(void **unused) {
  (void)unused;
  struct scene scene = scene_start("collect=off");
  uint64_t state = 1;
  char *kept[16] = {NULL};
  for (int round = 0; round < 3000; round++) {
    char **at = &kept[tarn_random_below(&state, 16)];
    tarn_free(scene.self, *at);
    size_t size = round % 3 ? 32768 + tarn_random_below(&state, 400000) : 4096;
    assert_non_null(*at = tarn_alloc_atomic(scene.self, size));
    assert_true(support_is_filled(*at, size, 0));
    memset(*at, 'x', large_bytes(scene.self, *at));
    if (round % 500 == 0)
      support_verify(scene.self);
    if (round % 100 == 0) /* and with objects that die otherwise */
      memset(kept, 0, sizeof kept);
    if (round % 100 == 0)
      assert_int_equal(tarn_collect(scene.self, TARN_GENERATION_FULL), TARN_OK);
    if (round % 700 == 0) {
      memset(kept, 0, sizeof kept);
      assert_int_equal(tarn_collect(scene.self, TARN_GENERATION_FULL), TARN_OK);
      (void)tarn_trim(scene.world, 0);
    }
  }
  scene_end(&scene);
}

static void touch_in_child(void *data) {
  struct scene *scene = data;
  char *block = tarn_alloc_raw(scene->self, 100000);
  memset(block, 1, 100000);
  tarn_free(scene->self, block);
  CHILD_CHECK(tarn_verify(scene->self, NULL, 0) == TARN_OK);
}

static void guards_go_through_a_fork(void **unused) {
  (void)unused;
  struct scene scene = scene_start("collect=off");
  char *block = tarn_alloc_raw(scene.self, 100000);
  support_good_child(touch_in_child, &scene); /* `faults` forks, too */
  tarn_free(scene.self, block);
  scene_end(&scene);
}

static void both_kinds_of_guards_come_and_go(void **unused) {
  (void)unused;
  size_t page = tarn_os_page_size();
  char *pages = tarn_os_map(3 * page);
  assert_non_null(pages);
  memset(pages, 'x', 3 * page);
  for (int kind = TARN_GUARD_MARKED; kind <= TARN_GUARD_PROTECTED; kind++) {
    if (!tarn_os_guard(pages + page, page, (tarn_guard_kind)kind)) {
      print_message("the system has no guards of kind %d\n", kind);
      continue;
    }
    assert_true(faults(pages + page, false) && faults(pages + 2 * page - 1, true));
    assert_false(faults(pages + page - 1, true) || faults(pages + 2 * page, true));
    assert_true(tarn_os_unguard(pages + page, page, (tarn_guard_kind)kind));
    assert_false(faults(pages + page, true));
  }
  tarn_os_unmap(pages, 3 * page);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(links_lead_nowhere_but_to_free_blocks),
      cmocka_unit_test(links_are_not_addresses),
      cmocka_unit_test(late_writes_are_found_wherever_they_go),
      cmocka_unit_test(frees_by_other_threads_wait_there),
      cmocka_unit_test(a_type_word_that_was_written_to_is_never_followed),
      cmocka_unit_test(every_type_is_known_however_many_there_are),
      cmocka_unit_test(overflows_into_waiting_blocks_are_found),
      cmocka_unit_test(blocks_wait_in_order_and_within_bounds),
      cmocka_unit_test(a_block_is_not_handed_out_while_it_waits),
      cmocka_unit_test(what_waits_is_there_when_memory_is_short),
      cmocka_unit_test(collections_find_nothing_waiting),
      cmocka_unit_test(what_waits_goes_through_a_fork),
      cmocka_unit_test(pools_begin_where_nobody_knows),
      cmocka_unit_test(every_block_of_a_pool_is_handed_out_once),
      cmocka_unit_test(the_pages_around_a_large_object_cannot_be_touched),
      cmocka_unit_test(guards_go_with_their_object),
      cmocka_unit_test(guards_go_through_a_fork),
      cmocka_unit_test(both_kinds_of_guards_come_and_go),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

int main(void) {
  (void)puts("skipped: built without TARN_HARDENED");
  return 77; /* which the test run shows as skipped */
}

#endif
