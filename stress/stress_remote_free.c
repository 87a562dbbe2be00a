/* SPDX-License-Identifier: MIT */
/*
 * stress_remote_free hunts blocks that are lost or handed out twice when another thread than their
 * maker frees them.
 *
 * Producers make raw blocks, plain objects and objects with `free` function and data block, fill
 * them with a pattern and post them; consumers take them, check the pattern and free them.  A
 * thread is both by turns, and dies at random (detached or not) while its blocks are still out.
 * Mailboxes are of two kinds: a lock-free stack outside the heap, and a ring under a mutex that is
 * waited for in blocked regions.  What lies in a mailbox is kept by a root provider.  Collections
 * run in between.  At the end all is freed, and the counts and the statistics say so.
 */
#include "common.h"
#include <string.h>

#define RING 256u
#define CELLS 4096u

enum kind { RAW, PLAIN, RESOURCE, KINDS };

struct letter {
  void *block;
  uint64_t seed;
  uint32_t size;
  uint32_t kind;
};

/* A lock-free mailbox: an array of cells, each empty, being filled, full or being emptied. */
enum { EMPTY, FILLING, FULL, EMPTYING };
static struct cell {
  _Atomic uint32_t state;
  struct letter letter;
} cells[CELLS];

static struct {
  pthread_mutex_t lock;
  struct letter letters[RING];
  unsigned count;
} ring = {.lock = PTHREAD_MUTEX_INITIALIZER};

struct resource {
  const tarn_type *type;
  uint64_t *data;
  uint64_t seed;
  uint64_t state; /* 1 alive, 2 freed */
};
#define DATA_WORDS 6u

static tarn_world *world;
static const tarn_type *plain_types[4], *resource_type;
static _Atomic uint64_t posted, taken, resources_made, resources_freed;

static void free_resource(tarn_world *of, void *object) {
  struct resource *resource = object;
  (void)of;
  STRESS_EQUAL(resource->state, 1);
  resource->state = 2;
  for (unsigned i = 0; i < DATA_WORDS; i++)
    STRESS_EQUAL(resource->data[i], resource->seed + i);
  atomic_fetch_add_explicit(&resources_freed, 1, memory_order_relaxed);
}

/* --- letters --------------------------------------------------------------------------------- */

static unsigned char *bytes_of(const struct letter *letter, size_t *size) {
  size_t head = letter->kind == RAW ? 0 : 8;
  *size = letter->size - head;
  return (unsigned char *)letter->block + head;
}

static void fill(const struct letter *letter) {
  size_t size, stride;
  unsigned char *bytes = bytes_of(letter, &size);
  stride = size < 4096 ? 1 : 61;
  for (size_t i = 0; i < size; i += stride) {
    if (bytes[i] != 0)
      stress_fail(__FILE__, __LINE__, "byte %zu of a new block of %u (kind %u) is %#x", i,
                  letter->size, letter->kind, bytes[i]);
    bytes[i] = (unsigned char)(letter->seed + i);
  }
}

static void check(const struct letter *letter) {
  size_t size, stride;
  const unsigned char *bytes = bytes_of(letter, &size);
  stride = size < 4096 ? 1 : 61;
  for (size_t i = 0; i < size; i += stride)
    if (bytes[i] != (unsigned char)(letter->seed + i))
      stress_fail(__FILE__, __LINE__, "byte %zu of a block of %u (kind %u) changed to %#x", i,
                  letter->size, letter->kind, bytes[i]);
}

static const size_t plain_sizes[4] = {16, 40, 320, 3000};

static bool make(tarn_thread *self, struct stress_random *random, struct letter *letter) {
  letter->kind = (uint32_t)stress_below(random, KINDS);
  letter->seed = stress_next(random);
  if (letter->kind == RAW) {
    uint64_t scale = stress_below(random, 60);
    letter->size = (uint32_t)(16 + stress_below(random, scale == 0  ? 150000
                                                        : scale < 5 ? 9000
                                                                    : 300));
    letter->block = tarn_alloc_atomic(self, letter->size);
  } else if (letter->kind == PLAIN) {
    unsigned which = (unsigned)stress_below(random, 4);
    letter->size = (uint32_t)plain_sizes[which];
    letter->block = tarn_new(self, plain_types[which]);
  } else {
    struct resource *resource = tarn_new(self, resource_type);
    letter->size = sizeof *resource;
    letter->block = resource;
    if (resource) {
      resource->seed = letter->seed;
      resource->state = 1;
      for (unsigned i = 0; i < DATA_WORDS; i++)
        resource->data[i] = letter->seed + i;
      atomic_fetch_add_explicit(&resources_made, 1, memory_order_relaxed);
    }
  }
  STRESS_CHECK(letter->block);
  if (letter->kind != RESOURCE)
    fill(letter);
  return true;
}

static void take_apart(tarn_thread *self, const struct letter *letter) {
  if (letter->kind != RESOURCE)
    check(letter);
  else
    STRESS_EQUAL(((struct resource *)letter->block)->seed, letter->seed);
  tarn_free(self, letter->block);
  atomic_fetch_add_explicit(&taken, 1, memory_order_relaxed);
}

/* --- mailboxes ------------------------------------------------------------------------------- */

/* A thread that has a cell in a middle state does not come to a safepoint before the end state, so
 * a collection sees EMPTY or FULL only. */
static bool post_cell(struct stress_random *random, const struct letter *letter) {
  struct cell *cell = &cells[stress_below(random, CELLS)];
  uint32_t expected = EMPTY;
  /* Acquire and release: the letter itself goes from thread to thread with the state. */
  if (!atomic_compare_exchange_strong_explicit(&cell->state, &expected, FILLING,
                                               memory_order_acquire, memory_order_relaxed))
    return false;
  cell->letter = *letter;
  atomic_store_explicit(&cell->state, FULL, memory_order_release);
  return true;
}

static bool take_cell(struct stress_random *random, struct letter *letter) {
  struct cell *cell = &cells[stress_below(random, CELLS)];
  uint32_t expected = FULL;
  if (!atomic_compare_exchange_strong_explicit(&cell->state, &expected, EMPTYING,
                                               memory_order_acquire, memory_order_relaxed))
    return false;
  *letter = cell->letter;
  cell->letter.block = NULL;
  atomic_store_explicit(&cell->state, EMPTY, memory_order_release);
  return true;
}

/* `*letter` is in a root of the caller's, since it blocks here. */
static bool use_ring(tarn_thread *self, bool post, struct letter *letter) {
  bool good = false;
  tarn_block_begin(self);
  (void)pthread_mutex_lock(&ring.lock);
  tarn_block_end(self);
  if (post && ring.count < RING) {
    ring.letters[ring.count++] = *letter;
    good = true;
  } else if (!post && ring.count > 0) {
    *letter = ring.letters[--ring.count];
    ring.letters[ring.count].block = NULL;
    good = true;
  }
  (void)pthread_mutex_unlock(&ring.lock);
  return good;
}

static void visit_mail(tarn_visitor *visitor, void *data) {
  (void)data;
  for (unsigned i = 0; i < CELLS; i++) {
    /* Acquire: pairs with the release of whoever filled it. */
    uint32_t state = atomic_load_explicit(&cells[i].state, memory_order_acquire);
    STRESS_CHECK(state == EMPTY || state == FULL);
    if (state == FULL)
      tarn_visit(visitor, cells[i].letter.block);
  }
  for (unsigned i = 0; i < ring.count; i++)
    tarn_visit(visitor, ring.letters[i].block);
}

/* --- threads --------------------------------------------------------------------------------- */

static void produce(tarn_thread *self, struct stress_random *random) {
  struct letter letter = {0};
  TARN_FRAME(self, &letter.block);
  (void)make(self, random, &letter);
  atomic_fetch_add_explicit(&posted, 1, memory_order_relaxed);
  if (stress_below(random, 8) == 0 && use_ring(self, true, &letter))
    return;
  if (!post_cell(random, &letter))
    take_apart(self, &letter); /* no room: freed by its maker, which must work as well */
}

static void consume(tarn_thread *self, struct stress_random *random) {
  struct letter letter = {0};
  TARN_FRAME(self, &letter.block);
  if (stress_below(random, 8) == 0 ? use_ring(self, false, &letter) : take_cell(random, &letter))
    take_apart(self, &letter);
}

static void *one_life(void *data) {
  struct stress_random *random = data;
  tarn_thread *self = stress_attach(world);
  uint64_t steps = 500 + stress_below(random, 4000), share = 20 + stress_below(random, 60);
  for (uint64_t i = 0; i < steps; i++) {
    if (stress_below(random, 100) < share)
      produce(self, random);
    else
      consume(self, random);
    if (stress_below(random, 4000) == 0)
      STRESS_EQUAL(tarn_collect(self, 2), TARN_OK);
    tarn_safepoint(self);
  }
  if (stress_below(random, 40) == 0)
    stress_verify(self);
  if (stress_below(random, 2))
    STRESS_EQUAL(tarn_thread_detach(self), TARN_OK);
  return NULL;
}

static void work(void *data, unsigned number) {
  struct stress_random random = stress_random_of(number);
  (void)data;
  for (uint64_t round = 0; stress_on(&round);) {
    pthread_t thread;
    STRESS_EQUAL(pthread_create(&thread, NULL, one_life, &random), 0);
    STRESS_EQUAL(pthread_join(thread, NULL), 0);
  }
}

static void make_types(void) {
  for (unsigned i = 0; i < 4; i++) {
    tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
    spec.name = "plain";
    spec.size = plain_sizes[i];
    plain_types[i] = tarn_type_create(world, &spec, NULL);
    STRESS_CHECK(plain_types[i]);
  }
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = "resource";
  spec.size = sizeof(struct resource);
  spec.data_size = DATA_WORDS * sizeof(uint64_t);
  spec.free = free_resource;
  resource_type = tarn_type_create(world, &spec, NULL);
  STRESS_CHECK(resource_type);
}

static void take_all(tarn_thread *self) {
  struct letter letter;
  for (unsigned i = 0; i < CELLS; i++)
    if (atomic_load(&cells[i].state) == FULL) {
      atomic_store(&cells[i].state, EMPTY);
      take_apart(self, &cells[i].letter);
    }
  while (use_ring(self, false, &letter))
    take_apart(self, &letter);
}

int main(int count, char **arguments) {
  stress_begin(count, arguments,
               "blocks that are lost or handed out twice when another thread frees them");
  world = stress_world("min-heap=4M");
  make_types();
  STRESS_EQUAL(tarn_root_provider_add(world, visit_mail, NULL), TARN_OK);
  stress_run(world, stress.threads, work, NULL);

  tarn_thread *self = stress_attach(world);
  stress_verify(self);
  take_all(self);
  STRESS_EQUAL(atomic_load(&taken), atomic_load(&posted));
  STRESS_EQUAL(atomic_load(&resources_freed), atomic_load(&resources_made));
  stress_verify(self);
  /* Nothing is in use, and nothing needs a collector to find that out but pools without owner. */
  STRESS_EQUAL(stress_stats(world).large_objects, 0);
  STRESS_EQUAL(tarn_collect(self, 2), TARN_OK);
  tarn_stats stats = stress_stats(world);
  STRESS_EQUAL(stats.live_objects, 0);
  STRESS_EQUAL(stats.pools, 0);
  STRESS_EQUAL(stats.heap_bytes, 0);
  STRESS_EQUAL(stats.released, 0); /* every function ran by hand */
  STRESS_EQUAL(tarn_world_destroy(world), TARN_OK);
  STRESS_EQUAL(atomic_load(&resources_freed), atomic_load(&resources_made));
  return stress_end();
}
