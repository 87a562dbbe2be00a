/* SPDX-License-Identifier: MIT */
/*
 * stress_fork: hunts what a fork can leave behind in the child: a lock that a vanished thread
 * held, a bin or a pool in the middle of a change, objects that are lost with their threads or
 * whose `free` function runs twice or never, and threads of the parent that do not go on.
 *
 * Threads use everything that takes a lock (allocation of all sizes, types, heaps, weak references
 * and tables, finalizers, roots, frees, attaching and detaching) while one of them forks, running,
 * blocked, in a hold or not attached.  The child checks every chain that hangs on a root or in an
 * old object, verifies, works, collects each generation, now and then forks again or starts a
 * thread, and ends the world: then as many `free` functions ran as objects were made before and
 * after the fork.  The same holds for the parent at the end.
 *
 * The program keeps the rules of barriers.  Three lives, each with a world of its own, have the
 * three policies of generations; the seed chooses their order, and whether each collection is
 * verified.
 */
#include "common.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ThreadSanitizer supports no threads in the child of a process with threads.  AddressSanitizer's
 * allocator, in which a thread begins and ends, has locks that no fork takes. */
#define THREADS_IN_CHILD !STRESS_SANITIZED
#ifdef TARN_SANITIZE_ASAN
#define NO_THREADS ",purger=0,sweeper=0,idle-collect=0,markers=1"
#else
#define NO_THREADS ""
#endif

#define SLOTS 96u /* more than threads */
#define LONGEST 60u

struct node {
  const tarn_type *type;
  struct node *next;
  uint64_t *payload;
  uint64_t serial, words, state;
};
enum { ALIVE = 0xa11fe, DEAD = 0xdead };

static tarn_world *world;
static const tarn_type *node_type, *plain_type;
static tarn_weak_table *table;
/* Each a chain, or NULL while a thread has it; atomic.  The even ones are roots, the odd ones are
 * in an array that is old before the threads start. */
static void *slots[SLOTS];
static struct shelf {
  const tarn_type *type;
  size_t count;
  void *chains[SLOTS];
} * shelf;
static _Atomic uint64_t made, freed, next_serial, forks;

static void on_free(tarn_world *of, void *object) {
  struct node *node = object;
  STRESS_CHECK(of == world);
  STRESS_EQUAL(node->state, ALIVE);
  node->state = DEAD;
  atomic_fetch_add_explicit(&freed, 1, memory_order_relaxed);
}

static const tarn_type *make_type(const char *name, tarn_free_fn fn) {
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = name;
  spec.size = sizeof(struct node);
  spec.slot_bits = 1u << 1 | 1u << 2;
  spec.free = fn;
  const tarn_type *type = tarn_type_create(world, &spec, NULL);
  STRESS_CHECK(type);
  return type;
}

static void *chain_in(unsigned slot) {
  return __atomic_load_n(slot % 2 ? &shelf->chains[slot] : &slots[slot], __ATOMIC_ACQUIRE);
}

/* Acquire and release: a chain goes from thread to thread. */
static void *exchange_chain(tarn_thread *self, unsigned slot, void *chain) {
  if (slot % 2 == 0)
    return __atomic_exchange_n(&slots[slot], chain, __ATOMIC_ACQ_REL);
  void **at = &shelf->chains[slot], *was = __atomic_exchange_n(at, chain, __ATOMIC_ACQ_REL);
  tarn_barrier(self, shelf, at);
  return was;
}

/* --- work ------------------------------------------------------------------------------------ */

struct life {
  tarn_thread *self;
  struct stress_random *random;
  struct node *chain, *fresh;
  void *other;
};

static size_t check_chain(const struct node *chain) {
  size_t length = 0;
  for (const struct node *node = chain; node; node = node->next, length++) {
    STRESS_CHECK(length <= LONGEST && (node->type == node_type || node->type == plain_type));
    STRESS_EQUAL(node->state, ALIVE);
    for (uint64_t i = 0; i < node->words; i += 1 + node->words / 100)
      STRESS_EQUAL(node->payload[i], node->serial + i);
  }
  return length;
}

static void grow(struct life *life) {
  bool counted = stress_below(life->random, 2);
  struct node *node = life->fresh = tarn_new(life->self, counted ? node_type : plain_type);
  STRESS_CHECK(node);
  for (size_t i = 1; i < sizeof *node / 8; i++)
    STRESS_EQUAL(((uint64_t *)(void *)node)[i], 0);
  /* Counted before the next safepoint: a fork finds the object and the count, or neither. */
  node->state = ALIVE;
  if (counted)
    atomic_fetch_add_explicit(&made, 1, memory_order_relaxed);
  node->serial = atomic_fetch_add_explicit(&next_serial, 1, memory_order_relaxed);
  size_t words =
      2 + (size_t)stress_below(life->random, stress_below(life->random, 60) ? 80 : 20000);
  uint64_t *payload = tarn_alloc_atomic(life->self, words * 8);
  STRESS_CHECK(payload);
  for (size_t i = 0; i < words; i += 1 + words / 100) {
    STRESS_EQUAL(payload[i], 0);
    payload[i] = node->serial + i;
  }
  node->words = words;
  tarn_store(life->self, node, (void **)&node->payload, payload);
  tarn_store(life->self, node, (void **)&node->next, life->chain);
  life->chain = node;
  life->fresh = NULL;
}

/* A copy of the payload of one that may be old. */
static void renew_payload(struct life *life) {
  struct node *node = life->chain;
  for (uint64_t i = stress_below(life->random, LONGEST); i > 0 && node && node->next; i--)
    node = node->next;
  if (!node)
    return;
  uint64_t *payload = tarn_alloc_atomic(life->self, node->words * 8);
  STRESS_CHECK(payload);
  memcpy(payload, node->payload, node->words * 8);
  tarn_store(life->self, node, (void **)&node->payload, payload);
}

/* Whatever else takes a lock of the library. */
static void use_the_rest(struct life *life) {
  tarn_heap *heap = NULL;
  switch (stress_below(life->random, 10)) {
  case 0:
    STRESS_EQUAL(tarn_heap_create(world, TARN_HEAP_ATOMIC, &heap), TARN_OK);
    STRESS_CHECK(tarn_heap_alloc(life->self, heap, 16 + stress_below(life->random, 100000)));
    STRESS_EQUAL(tarn_heap_destroy(life->self, heap), TARN_OK);
    break;
  case 1:
    if (stress_below(life->random, 20) == 0) /* types stay for ever */
      (void)make_type("another", NULL);
    break;
  case 2:
    life->other = tarn_weak_new(life->self, life->chain);
    STRESS_CHECK(life->other && tarn_weak_get(life->self, life->other) == life->chain);
    break;
  case 3:
    life->other = tarn_ephemeron_new(life->self, life->chain, life->other);
    STRESS_CHECK(life->other);
    break;
  case 4:
    STRESS_CHECK(tarn_weak_table_put(life->self, table, life->chain, NULL, false));
    break;
  case 5:
    STRESS_CHECK(tarn_weak_table_count(table) < UINT32_MAX);
    STRESS_EQUAL(tarn_root_add(world, &life->other), TARN_OK);
    STRESS_EQUAL(tarn_root_remove(world, &life->other), TARN_OK);
    break;
  case 6: /* a block that is freed again, large or small */
    tarn_free(life->self,
              tarn_alloc_atomic(life->self, (size_t)16 << stress_below(life->random, 14)));
    break;
  case 7:
    STRESS_CHECK(stress_attach(world) == life->self);
    STRESS_EQUAL(tarn_thread_detach(life->self), TARN_OK);
    break;
  case 8:
    tarn_gc_hold(life->self);
    STRESS_CHECK(tarn_alloc_atomic(life->self, 64));
    tarn_gc_release(life->self);
    break;
  default:
    tarn_block_begin(life->self);
    tarn_block_end(life->self);
  }
}

static void step(struct life *life) {
  unsigned slot = (unsigned)stress_below(life->random, SLOTS);
  life->chain = exchange_chain(life->self, slot, NULL);
  if (check_chain(life->chain) > LONGEST - 20)
    life->chain = NULL;
  for (size_t n = 1 + (size_t)stress_below(life->random, 15); n > 0; n--) {
    grow(life);
    tarn_safepoint(life->self);
  }
  renew_payload(life);
  use_the_rest(life);
  if (stress_below(life->random, 60) == 0)
    STRESS_EQUAL(tarn_collect(life->self, (int)stress_below(life->random, 3)), TARN_OK);
  (void)check_chain(life->chain);
  /* Somebody else's new chain may be there by now; it is dropped. */
  (void)exchange_chain(life->self, slot, life->chain);
  life->chain = NULL;
}

/* --- the child ------------------------------------------------------------------------------- */

static void check_chains(void) {
  for (unsigned slot = 0; slot < SLOTS; slot++)
    (void)check_chain(chain_in(slot));
}

/* Each generation is collected, and has something new in something old. */
static void work_in_child(struct stress_random *random, unsigned steps) {
  struct life life = {.self = stress_attach(world), .random = random};
  TARN_FRAME(life.self, (void *)&life.chain, (void *)&life.fresh, &life.other);
  for (int generation = 0; generation <= TARN_GENERATION_FULL; generation++) {
    for (unsigned i = 0; i < steps; i++)
      step(&life);
    STRESS_EQUAL(tarn_collect(life.self, generation), TARN_OK);
    check_chains();
  }
}

static void live_in_child(struct stress_random *random, unsigned steps) {
  work_in_child(random, steps);
  STRESS_EQUAL(tarn_thread_detach(tarn_thread_self(world)), TARN_OK);
}

static void verify_in_child(void) {
  tarn_thread *self = stress_attach(world);
  stress_verify(self);
  STRESS_EQUAL(tarn_thread_detach(self), TARN_OK);
}

#if THREADS_IN_CHILD
static void *thread_of_child(void *data) {
  live_in_child(data, 4);
  return NULL;
}
#endif

static void fork_once(struct stress_random *random, bool again);

/* `self` may still be blocked or in a hold, as it was when it forked. */
_Noreturn static void be_child(tarn_thread *self, bool blocked, bool held,
                               struct stress_random *random, bool again) {
  (void)alarm(stress.patience * 2 / 3); /* a child has no watchdog */
  if (blocked)
    tarn_block_end(self);
  if (held)
    tarn_gc_release(self);
  STRESS_EQUAL(stress_stats(world).threads, tarn_thread_self(world) ? 1 : 0);
  check_chains();
  if (stress_below(random, 3) == 0) /* as it is, before anything else */
    verify_in_child();
  live_in_child(random, 4);
  if (again)
    fork_once(random, false);
#if THREADS_IN_CHILD
  pthread_t thread;
  STRESS_EQUAL(pthread_create(&thread, NULL, thread_of_child, random), 0);
  tarn_thread *own = tarn_thread_self(world); /* in a child's child perhaps without `self` */
  if (own)
    tarn_block_begin(own);
  STRESS_EQUAL(pthread_join(thread, NULL), 0);
  if (own)
    tarn_block_end(own);
#endif
  if (stress_below(random, 4) == 0)
    verify_in_child();
  STRESS_EQUAL(tarn_world_destroy(world), TARN_OK);
  STRESS_EQUAL(atomic_load(&freed), atomic_load(&made));
  _exit(0);
}

/* Forks in some state of the thread, and waits for the child. */
static void fork_once(struct stress_random *random, bool again) {
  uint64_t state = stress_below(random, 5); /* 0: not attached */
  tarn_thread *self = state ? stress_attach(world) : NULL;
  bool blocked = state == 1 || state == 2, held = state == 2 || state == 3;
  if (held)
    tarn_gc_hold(self);
  if (blocked)
    tarn_block_begin(self);
  pid_t child = fork();
  if (child == 0)
    be_child(self, blocked, held, random, again);
  STRESS_CHECK(child > 0);
  if (blocked)
    tarn_block_end(self);
  if (held)
    tarn_gc_release(self);
  if (self)
    STRESS_EQUAL(tarn_thread_detach(self), TARN_OK);
  int status = 0;
  pid_t ended;
  do
    ended = waitpid(child, &status, 0);
  while (ended < 0 && errno == EINTR);
  if (ended != child)
    stress_fail(__FILE__, __LINE__, "waitpid: %s", strerror(errno));
  if (status != 0)
    stress_fail(__FILE__, __LINE__, "fork %llu, %s: the child's status is %#x",
                (unsigned long long)atomic_load(&forks),
                (const char *const[]){"not attached", "blocked", "blocked in a hold", "in a hold",
                                      "running"}[state],
                (unsigned)status);
  atomic_fetch_add_explicit(&forks, 1, memory_order_relaxed);
}

/* --- the parent ------------------------------------------------------------------------------ */

static void fork_often(struct stress_random *random) {
  for (uint64_t round = 0; stress_on(&round);) {
    struct timespec pause = {0, (long)stress_below(random, 3000000)};
    (void)nanosleep(&pause, NULL);
    fork_once(random, stress_below(random, 4) == 0);
  }
}

static void one_life(struct stress_random *random) {
  struct life life = {.self = stress_attach(world), .random = random};
  {
    TARN_FRAME(life.self, (void *)&life.chain, (void *)&life.fresh, &life.other);
    for (uint64_t n = stress_below(random, 400); n > 0 && stress_time_left(); n--)
      step(&life);
  }
  STRESS_EQUAL(tarn_thread_detach(life.self), TARN_OK);
}

/* A thread that is not attached is stopped by nobody: only locks keep it out of a fork. */
static void stay_outside(struct stress_random *random) {
  void *slot = NULL;
  for (uint64_t n = stress_below(random, 2000); n > 0 && stress_time_left(); n--) {
    tarn_weak_table_spec spec = TARN_WEAK_TABLE_SPEC_INIT;
    tarn_weak_table *another = NULL;
    STRESS_EQUAL(tarn_root_add(world, &slot), TARN_OK);
    STRESS_EQUAL(tarn_weak_table_create(world, &spec, &another), TARN_OK);
    if (stress_below(random, 200) == 0) /* types stay for ever */
      (void)make_type("from outside", NULL);
    tarn_weak_table_destroy(another);
    STRESS_EQUAL(tarn_root_remove(world, &slot), TARN_OK);
  }
}

static void work(void *data, unsigned number) {
  const unsigned *number_of_life = data;
  struct stress_random random = stress_random_of(65 * *number_of_life + number + 1);
  if (number == 0) {
    fork_often(&random);
    return;
  }
  for (uint64_t round = 0; stress_on(&round);)
    if (number > 1 && stress_below(&random, 2))
      stay_outside(&random);
    else
      one_life(&random);
}

static void make_world(unsigned number) {
  struct stress_random random = stress_random_of(65 * number);
  static const char *const policies[] = {"pools", "first-pool", "none"};
  bool verify = stress_below(&random, 4) == 0;
  unsigned young = verify ? 1024 : 64u << stress_below(&random, 4); /* KiB */
  char set[120];
  (void)snprintf(set, sizeof set, "min-heap=1M,generations=%s,young=%uK,verify=%u" NO_THREADS,
                 policies[(stress.seed + number) % 3], young, verify);
  fprintf(stderr, "  %s\n", set);
  world = stress_barrier_world(set);
}

static void start(unsigned number) {
  make_world(number);
  node_type = make_type("counted", on_free);
  plain_type = make_type("plain", NULL);
  tarn_type_spec spec = {.struct_size = sizeof spec,
                         .name = "shelf",
                         .size = offsetof(struct shelf, chains),
                         .element_size = sizeof(void *),
                         .flags = TARN_TYPE_ELEMENTS_TRACED};
  const tarn_type *shelf_type = tarn_type_create(world, &spec, NULL);
  STRESS_CHECK(shelf_type);
  tarn_weak_table_spec table_spec = TARN_WEAK_TABLE_SPEC_INIT;
  STRESS_EQUAL(tarn_weak_table_create(world, &table_spec, &table), TARN_OK);
  tarn_thread *self = stress_attach(world);
  shelf = NULL;
  STRESS_EQUAL(tarn_root_add(world, (void **)&shelf), TARN_OK);
  for (unsigned i = 0; i < SLOTS; i++)
    STRESS_EQUAL(tarn_root_add(world, &slots[i]), TARN_OK);
  shelf = tarn_new_array(self, shelf_type, SLOTS);
  STRESS_CHECK(shelf);
  STRESS_EQUAL(tarn_collect(self, TARN_GENERATION_FULL), TARN_OK);
  STRESS_EQUAL(tarn_thread_detach(self), TARN_OK);
}

static void finish(void) {
  tarn_thread *self = stress_attach(world);
  STRESS_EQUAL(stress_stats(world).threads, 1);
  stress_verify(self);
  check_chains();
  memset(slots, 0, sizeof slots);
  shelf = NULL;
  STRESS_EQUAL(tarn_collect(self, TARN_GENERATION_FULL), TARN_OK);
  STRESS_EQUAL(stress_stats(world).live_objects, 0);
  STRESS_EQUAL(tarn_weak_table_count(table), 0);
  STRESS_EQUAL(atomic_load(&freed), atomic_load(&made));
  STRESS_EQUAL(tarn_world_destroy(world), TARN_OK);
}

int main(int count, char **arguments) {
  stress_begin(
      count, arguments,
      "locks, bins, pools and objects that a fork leaves behind in the child, or in the parent");
  stress.rounds_least = 4;
  for (unsigned number = 0; number < 3; number++) {
    start(number);
    stress_run_for(stress.seconds * 1000 / 3);
    stress_run(world, stress.threads, work, &number);
    finish();
  }
  fprintf(stderr, "  %llu forks\n", (unsigned long long)atomic_load(&forks));
  return stress_end();
}
