/* SPDX-License-Identifier: MIT */
/*
 * stress_handover hunts pools that are lost, or owned by two, where threads die and others adopt
 * what they leave.
 *
 * Threads live for a moment: they allocate raw blocks and objects of a few classes, swap them for
 * others' in a lock-free table, free what they got, and detach or simply end with blocks still out,
 * so that their pools become orphans, are freed into while they change hands, and are adopted.  All
 * of a block says who made it and as the how-manieth; a pool with two owners shows as a block that
 * changed, a lost one as memory that never comes back.
 *
 * Rounds with and without collections take turns.  In the former some objects with a `free`
 * function are simply dropped: their pools wait for these functions while others free into them. At
 * the end of each round everything is freed, and without any collection no pool is left.
 */
#include "common.h"
#include <stdlib.h>
#include <string.h>

#define SLOTS 2048u
#define HELD 48u
#define LIVES 12u

enum kind { RAW, OTHER_HEAP, LEAF, CONTAINER, RESOURCE };
static const struct shape {
  enum kind kind;
  size_t size;
} shapes[] = {{RAW, 16},  {RAW, 48},       {RAW, 512},        {RAW, 8192},    {OTHER_HEAP, 80},
              {LEAF, 32}, {CONTAINER, 48}, {CONTAINER, 1280}, {RESOURCE, 64}, {RESOURCE, 640}};
#define SHAPES (sizeof shapes / sizeof shapes[0])

/*
 * A block: its first word is the type, or of a raw block a number like the others; the second is
 * its mark: the shape, the maker, and how many this one had made; the others follow from that.
 */
struct block {
  uintptr_t first;
  uint64_t mark;
  uint64_t rest[];
};

struct life {
  void *held[HELD]; /* roots, if there are collections */
  unsigned count;
};

static struct round {
  tarn_world *world;
  tarn_heap *heap; /* an atomic one beside the first */
  const tarn_type *types[SHAPES];
  bool collects;
  _Atomic uint64_t made, freed, dropped;
  _Atomic uint64_t resources_made, resources_gone;
} now;

static _Atomic(void *) table[SLOTS];
static struct life lives[64];
static uint64_t sequences[64]; /* each its thread's own */

/* --- blocks ---------------------------------------------------------------------------------- */

static uint64_t word_of(uint64_t mark, size_t number) {
  return (mark + number) * 0x9e3779b97f4a7c15u >> 1 | 1; /* never zero */
}
static const struct shape *shape_of(const struct block *block) { return &shapes[block->mark % 16]; }
static size_t rest_of(const struct shape *shape) { return shape->size / 8 - 2; }

static void write_block(struct block *block, uint64_t mark) {
  const struct shape *shape = &shapes[mark % 16];
  size_t rest = rest_of(shape), step = rest < 200 ? 1 : 17;
  if (shape->kind <= OTHER_HEAP)
    block->first = word_of(mark, 0);
  block->mark = mark;
  for (size_t i = 0; i < rest; i += step)
    block->rest[i] = word_of(mark, i + 2);
}

static void check_block(const struct block *block) {
  uint64_t mark = block->mark;
  if (mark % 16 >= SHAPES)
    stress_fail(__FILE__, __LINE__, "block %p says %#llx", (const void *)block,
                (unsigned long long)mark);
  const struct shape *shape = shape_of(block);
  size_t rest = rest_of(shape), step = rest < 200 ? 1 : 17;
  uint64_t first =
      shape->kind <= OTHER_HEAP ? word_of(mark, 0) : (uint64_t)(uintptr_t)now.types[mark % 16];
  bool good = block->first == first;
  for (size_t i = 0; good && i < rest; i += step)
    good = block->rest[i] == word_of(mark, i + 2);
  if (!good)
    stress_fail(__FILE__, __LINE__, "block %p of %zu bytes (kind %d) was changed",
                (const void *)block, shape->size, (int)shape->kind);
}

static struct block *make_block(tarn_thread *self, unsigned number, unsigned which) {
  const struct shape *shape = &shapes[which];
  struct block *block = shape->kind == RAW          ? tarn_alloc_raw(self, shape->size)
                        : shape->kind == OTHER_HEAP ? tarn_heap_alloc(self, now.heap, shape->size)
                                                    : tarn_new(self, now.types[which]);
  STRESS_CHECK(block);
  write_block(block, ++sequences[number] << 16 | (uint64_t)number << 8 | which);
  atomic_fetch_add_explicit(&now.made, 1, memory_order_relaxed);
  if (shape->kind == RESOURCE)
    atomic_fetch_add_explicit(&now.resources_made, 1, memory_order_relaxed);
  return block;
}

static void free_block(tarn_thread *self, struct block *block) {
  check_block(block);
  tarn_free(self, block);
  atomic_fetch_add_explicit(&now.freed, 1, memory_order_relaxed);
}

/* Once for each: what it leaves is no good block. */
static void free_resource(tarn_world *world, void *object) {
  struct block *block = object;
  (void)world;
  check_block(block);
  block->rest[0] = 0;
  atomic_fetch_add_explicit(&now.resources_gone, 1, memory_order_relaxed);
}

/* --- threads --------------------------------------------------------------------------------- */

/* Swaps with a slot of the table; acquire and release: the block goes from thread to thread. */
static void *swap(struct stress_random *random, void *block) {
  return atomic_exchange_explicit(&table[stress_below(random, SLOTS)], block, memory_order_acq_rel);
}

static void visit(tarn_visitor *visitor, void *data) {
  (void)data;
  for (unsigned i = 0; i < SLOTS; i++)
    tarn_visit(visitor, atomic_load_explicit(&table[i], memory_order_acquire));
  for (unsigned i = 0; i < stress.threads; i++)
    tarn_visit_range(visitor, lives[i].held, lives[i].count);
}

/* A held block leaves: into the table, for another; or it is freed, or dropped. */
static void let_go(tarn_thread *self, struct stress_random *random, struct life *life) {
  struct block *block = life->held[--life->count], *other;
  if (now.collects && shape_of(block)->kind == RESOURCE && stress_below(random, 3) == 0) {
    atomic_fetch_add_explicit(&now.dropped, 1, memory_order_relaxed);
    return; /* its function is the collector's to run */
  }
  /* No safepoint from here until the free. */
  if (stress_below(random, 4) != 0 && (other = swap(random, block)) != block)
    block = other;
  if (block)
    free_block(self, block);
}

static void work_for_a_while(tarn_thread *self, struct stress_random *random, unsigned number) {
  struct life *life = &lives[number];
  unsigned which = (unsigned)stress_below(random, SHAPES), steps;
  steps = 200 + (unsigned)stress_below(random, 1500);
  for (unsigned i = 0; i < steps; i++) {
    if (stress_below(random, 30) == 0) /* many of one shape in a row fill pools */
      which = (unsigned)stress_below(random, SHAPES);
    while (life->count == HELD || (life->count && stress_below(random, 2)))
      let_go(self, random, life);
    struct block *block = make_block(self, number, which);
    life->held[life->count++] = block;
    if (now.collects && stress_below(random, 3000) == 0)
      STRESS_EQUAL(tarn_collect(self, 2), TARN_OK);
    tarn_safepoint(self);
  }
}

/* What is held when a thread dies stays behind, in the table as far as there is room. */
static void leave(tarn_thread *self, struct stress_random *random, struct life *life) {
  while (life->count) {
    struct block *block = swap(random, life->held[--life->count]);
    if (block)
      free_block(self, block); /* into its outbox, most often: the last thing that it does */
  }
}

struct job {
  struct stress_random random;
  unsigned number;
};

static void *one_life(void *data) {
  struct job *job = data;
  tarn_thread *self = stress_attach(now.world);
  work_for_a_while(self, &job->random, job->number);
  if (stress_below(&job->random, 20) == 0)
    stress_verify(self);
  leave(self, &job->random, &lives[job->number]);
  if (stress_below(&job->random, 2))
    STRESS_EQUAL(tarn_thread_detach(self), TARN_OK);
  return NULL;
}

/* Half of the lives are the same thread's, which detaches and attaches again. */
static void live(void *data, unsigned number) {
  struct job *jobs = data, *job = &jobs[number];
  for (unsigned i = 0; i < LIVES; i++) {
    pthread_t thread;
    tarn_thread *self;
    if (i % 2) {
      (void)one_life(job);
      if ((self = tarn_thread_self(now.world)))
        STRESS_EQUAL(tarn_thread_detach(self), TARN_OK);
      continue;
    }
    STRESS_EQUAL(pthread_create(&thread, NULL, one_life, job), 0);
    STRESS_EQUAL(pthread_join(thread, NULL), 0);
  }
}

/* --- rounds ---------------------------------------------------------------------------------- */

static void make_types(void) {
  for (unsigned i = 0; i < SHAPES; i++) {
    tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
    spec.name = "object";
    spec.size = shapes[i].size;
    /* Of a container the last word, which is no reference, is traced. */
    spec.slot_bits = shapes[i].kind == CONTAINER ? (uint64_t)1 << (shapes[i].size / 8 % 64 - 1) : 0;
    spec.free = shapes[i].kind == RESOURCE ? free_resource : NULL;
    now.types[i] = shapes[i].kind <= OTHER_HEAP ? NULL : tarn_type_create(now.world, &spec, NULL);
    STRESS_CHECK(now.types[i] || shapes[i].kind <= OTHER_HEAP);
  }
}

static void begin_round(bool collects) {
  memset(&now, 0, sizeof now);
  now.collects = collects;
  now.world = stress_world(collects ? "min-heap=1M" : "collect=off");
  STRESS_EQUAL(tarn_heap_create(now.world, TARN_HEAP_ATOMIC, &now.heap), TARN_OK);
  STRESS_EQUAL(tarn_root_provider_add(now.world, visit, NULL), TARN_OK);
  make_types();
}

static void free_the_rest(tarn_thread *self) {
  for (unsigned i = 0; i < SLOTS; i++) {
    struct block *block = atomic_exchange_explicit(&table[i], NULL, memory_order_acq_rel);
    if (block)
      free_block(self, block);
  }
  STRESS_EQUAL(now.freed + now.dropped, now.made);
}

/* Everything has been freed, and nobody else is attached. */
static void end_round(void) {
  tarn_thread *self = stress_attach(now.world);
  stress_verify(self);
  free_the_rest(self);
  if (now.collects) {
    STRESS_EQUAL(tarn_collect(self, 2), TARN_OK); /* finds what was dropped */
    STRESS_EQUAL(stress_stats(now.world).live_objects, 0);
  } else {
    /* Two refills of each heap: what this thread freed is handed over, and the orphans taken. */
    for (unsigned i = 0; i < 2 * SHAPES; i++)
      free_block(self, make_block(self, 0, i % SHAPES));
    for (unsigned i = 0; i < 2; i++)
      for (size_t size = 20000; size <= 32768; size += 2500) {
        tarn_free(self, tarn_alloc_raw(self, size + i * 500));
        tarn_free(self, tarn_heap_alloc(self, now.heap, size + i * 500));
      }
  }
  stress_verify(self);
  STRESS_EQUAL(tarn_thread_detach(self), TARN_OK);
  STRESS_EQUAL(now.resources_gone, now.resources_made);
  tarn_stats stats = stress_stats(now.world);
  STRESS_EQUAL(stats.pools, 0);
  STRESS_EQUAL(stats.heap_bytes, 0);
  STRESS_EQUAL(stats.threads, 0);
  STRESS_EQUAL(tarn_world_destroy(now.world), TARN_OK);
  STRESS_EQUAL(now.resources_gone, now.resources_made);
}

int main(int count, char **arguments) {
  static struct job jobs[64];
  stress.rounds_least = 2; /* one of each kind */
  stress_begin(
      count, arguments,
      "pools that are lost, or owned by two, where threads die and others adopt what they leave");
  for (unsigned i = 0; i < stress.threads; i++)
    jobs[i] = (struct job){stress_random_of(i), i};
  for (uint64_t round = 0; stress_on(&round);) {
    begin_round(round % 2 == 0);
    stress_run(now.world, stress.threads, live, jobs);
    end_round();
  }
  return stress_end();
}
