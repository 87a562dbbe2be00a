/* SPDX-License-Identifier: MIT */
/*
 * stress_worlds: hunts what one world does to another: words of other or ended worlds in slots,
 * ids and address space that are used again, threads that are attached to two worlds and switch
 * between them while both collect, worlds that are ended by another thread than their maker's, and
 * objects that a world forgets to end.
 *
 * Worlds are made and ended in a few places while threads come to them, alone or in pairs.  Each
 * thread builds a chain in each of its worlds; nodes refer to the other world's chain and to
 * addresses of worlds that ended.  At the end of each world as many `free` functions ran as objects
 * were made, and none twice; a world in which a thread is attached does not end.
 */
#include "common.h"
#include <stdio.h>
#include <stdlib.h>

#define PLACES 5u
#define ADDRESSES 64u

struct node {
  const tarn_type *type;
  struct node *next;
  uint64_t *payload; /* raw: the serial, over and over */
  void *foreign;     /* traced, and any word */
  uint64_t serial, words, state;
};
enum { ALIVE = 0xa11fe, DEAD = 0xdead };

/* A world and what it has to count up to. */
struct instance {
  tarn_world *world;
  const tarn_type *node_type, *plain_type;
  _Atomic uint64_t made, freed; /* relaxed: compared when the world has no thread */
};

static struct place {
  pthread_mutex_t lock; /* guards what follows; waited for in blocked regions only */
  struct instance *instance;
  unsigned users;    /* who may come; the world does not end */
  unsigned attached; /* who surely is attached */
} places[PLACES];

static _Atomic uintptr_t addresses[ADDRESSES]; /* of objects of any world and time: just words */
static _Atomic uint64_t worlds_made, next_serial, busy_seen;

/* --- a world --------------------------------------------------------------------------------- */

static void on_free(tarn_world *world, void *object) {
  struct node *node = object;
  struct instance *instance = tarn_type_user(node->type);
  STRESS_CHECK(instance && instance->world == world);
  STRESS_EQUAL(node->state, ALIVE);
  node->state = DEAD;
  atomic_fetch_add_explicit(&instance->freed, 1, memory_order_relaxed);
}

static struct instance *make_instance(struct stress_random *random) {
  static const char *const sets[] = {"min-heap=256K", "min-heap=64K,growth=10",
                                     "min-heap=1M,mark-stack=4K", "collect=off"};
  struct instance *instance = calloc(1, sizeof *instance);
  STRESS_CHECK(instance);
  instance->world = stress_world(sets[stress_below(random, 4)]);
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = "plain";
  spec.size = sizeof(struct node);
  spec.slot_bits = 1u << 1 | 1u << 2 | 1u << 3;
  spec.user = instance;
  instance->plain_type = tarn_type_create(instance->world, &spec, NULL);
  spec = (tarn_type_spec)TARN_TYPE_SPEC_INIT;
  spec.name = "counted";
  spec.parent = instance->plain_type;
  spec.free = on_free;
  instance->node_type = tarn_type_create(instance->world, &spec, NULL);
  STRESS_CHECK(instance->plain_type && instance->node_type);
  STRESS_CHECK(tarn_type_user(instance->node_type) == instance);
  atomic_fetch_add_explicit(&worlds_made, 1, memory_order_relaxed);
  return instance;
}

/* --- one thread in one or two worlds --------------------------------------------------------- */

struct visit {
  struct place *place;
  struct instance *instance;
  tarn_thread *self;
  struct node *chain, *fresh;
  void *slots[2]; /* the addresses of these two, for the frame */
  tarn_frame frame;
};

static void check_chain(const struct visit *visit) {
  for (const struct node *node = visit->chain; node; node = node->next) {
    STRESS_CHECK(node->type == visit->instance->node_type ||
                 node->type == visit->instance->plain_type);
    STRESS_EQUAL(node->state, ALIVE);
    for (uint64_t i = 0; i < node->words; i++)
      STRESS_EQUAL(node->payload[i], node->serial);
  }
}

static void grow(struct visit *visit, struct stress_random *random, void *foreign) {
  bool counted = stress_below(random, 2);
  const struct instance *instance = visit->instance;
  struct node *node = visit->fresh =
      tarn_new(visit->self, counted ? instance->node_type : instance->plain_type);
  STRESS_CHECK(node);
  for (size_t i = 1; i < sizeof *node / 8; i++)
    STRESS_EQUAL(((uint64_t *)(void *)node)[i], 0);
  node->state = ALIVE;
  if (counted)
    atomic_fetch_add_explicit(&visit->instance->made, 1, memory_order_relaxed);
  node->serial = atomic_fetch_add_explicit(&next_serial, 1, memory_order_relaxed);
  size_t words = 2 + (size_t)stress_below(random, stress_below(random, 100) ? 60 : 9000);
  node->payload = tarn_alloc_atomic(visit->self, words * 8);
  STRESS_CHECK(node->payload);
  for (size_t i = 0; i < words; i++) {
    STRESS_EQUAL(node->payload[i], 0);
    node->payload[i] = node->serial;
  }
  node->words = words;
  node->next = visit->chain;
  visit->chain = node;
  visit->fresh = NULL;
  _Atomic uintptr_t *address = &addresses[stress_below(random, ADDRESSES)];
  node->foreign = foreign ? foreign : (void *)atomic_load_explicit(address, memory_order_relaxed);
  atomic_store_explicit(address, (uintptr_t)node, memory_order_relaxed);
}

/* Runs in one world; the other one's chain is `foreign`. */
static void work(struct visit *visit, struct stress_random *random, const struct visit *other) {
  for (uint64_t i = stress_below(random, 60); i > 0; i--) {
    grow(visit, random, other && stress_below(random, 2) ? other->chain : NULL);
    tarn_safepoint(visit->self);
  }
  check_chain(visit);
  switch (stress_below(random, 12)) {
  case 0:
    STRESS_EQUAL(tarn_collect(visit->self, TARN_GENERATION_FULL), TARN_OK);
    check_chain(visit);
    break;
  case 1:
    if (stress_below(random, 8) == 0)
      stress_verify(visit->self);
    break;
  case 2:
  case 3:
    visit->chain = NULL;
    break;
  default:
    break;
  }
}

/* Leaves garbage that collections found and no poll has released yet. */
static void litter(struct instance *instance, struct stress_random *random) {
  struct visit visit = {.instance = instance, .self = stress_attach(instance->world)};
  TARN_FRAME(visit.self, (void *)&visit.fresh);
  for (unsigned i = 0; i < 300; i++) {
    grow(&visit, random, NULL);
    visit.chain = NULL;
  }
}

/* Half of the time the caller is attached, which detaches it. */
static void end_instance(struct instance *instance, struct stress_random *random) {
  if (stress_below(random, 2))
    litter(instance, random);
  STRESS_EQUAL(tarn_world_destroy(instance->world), TARN_OK);
  STRESS_EQUAL(atomic_load_explicit(&instance->freed, memory_order_relaxed),
               atomic_load_explicit(&instance->made, memory_order_relaxed));
  free(instance);
}

/* Blocked, like whoever waits for a place. */
static void count_attached(struct visit *visit, bool here) {
  (void)pthread_mutex_lock(&visit->place->lock);
  visit->place->attached += here ? 1u : -1u;
  (void)pthread_mutex_unlock(&visit->place->lock);
}

/* Running in the new world, blocked in those before: frames are for running threads only. */
static void arrive(struct visit *visit) {
  visit->self = stress_attach(visit->instance->world);
  visit->slots[0] = &visit->chain;
  visit->slots[1] = &visit->fresh;
  tarn_frame_push(visit->self, &visit->frame, visit->slots, 2);
  tarn_block_begin(visit->self);
  count_attached(visit, true);
}

static void depart(struct visit *visit, bool dies) {
  count_attached(visit, false);
  tarn_block_end(visit->self);
  tarn_frame_pop(visit->self, &visit->frame);
  if (!dies)
    STRESS_EQUAL(tarn_thread_detach(visit->self), TARN_OK);
  else
    tarn_block_begin(visit->self); /* dies attached, and blocked in all */
}

struct life {
  struct visit visits[2];
  unsigned count;
  struct stress_random *random;
};

static void live(struct life *life) {
  for (uint64_t i = 4 + stress_below(life->random, 20); i > 0; i--) {
    unsigned which = (unsigned)stress_below(life->random, life->count);
    struct visit *now = &life->visits[which];
    tarn_block_end(now->self); /* blocked in the other one */
    STRESS_CHECK(tarn_thread_self(now->instance->world) == now->self);
    work(now, life->random, life->count > 1 ? &life->visits[1 - which] : NULL);
    tarn_block_begin(now->self);
  }
}

static void *one_life(void *data) {
  struct life *life = data;
  for (unsigned i = 0; i < life->count; i++)
    arrive(&life->visits[i]);
  live(life);
  bool dies = stress_below(life->random, 3) == 0;
  for (unsigned i = 0; i < life->count; i++)
    depart(&life->visits[i], dies);
  return NULL;
}

/* --- places ---------------------------------------------------------------------------------- */

static void enter(struct visit *visit, struct stress_random *random) {
  struct place *place = visit->place;
  (void)pthread_mutex_lock(&place->lock);
  if (!place->instance)
    place->instance = make_instance(random);
  visit->instance = place->instance;
  place->users++;
  if (place->attached > 0) { /* and stays so while the lock is held */
    STRESS_EQUAL(tarn_world_destroy(place->instance->world), TARN_EBUSY);
    atomic_fetch_add_explicit(&busy_seen, 1, memory_order_relaxed);
  }
  (void)pthread_mutex_unlock(&place->lock);
}

static void leave(const struct visit *visit, struct stress_random *random) {
  struct place *place = visit->place;
  struct instance *ends = NULL;
  (void)pthread_mutex_lock(&place->lock);
  if (--place->users == 0 && stress_below(random, 2)) {
    STRESS_EQUAL(place->attached, 0);
    ends = place->instance;
    place->instance = NULL;
  }
  (void)pthread_mutex_unlock(&place->lock);
  if (ends)
    end_instance(ends, random);
}

static void breed(void *data, unsigned number) {
  struct stress_random random = stress_random_of(number);
  (void)data;
  for (uint64_t round = 0; stress_on(&round);) {
    struct life life = {.count = 1 + (unsigned)stress_below(&random, 2), .random = &random};
    unsigned first = (unsigned)stress_below(&random, PLACES);
    for (unsigned i = 0; i < life.count; i++) {
      unsigned place = (first + i * (1 + (unsigned)stress_below(&random, PLACES - 1))) % PLACES;
      life.visits[i].place = &places[place];
      enter(&life.visits[i], &random);
    }
    pthread_t thread;
    STRESS_EQUAL(pthread_create(&thread, NULL, one_life, &life), 0);
    STRESS_EQUAL(pthread_join(thread, NULL), 0);
    for (unsigned i = life.count; i-- > 0;)
      leave(&life.visits[i], &random);
  }
}

/* One thread in many worlds, which end in another order than they were made in. */
static void crowd(struct stress_random *random) {
  struct visit visits[100] = {{0}};
  unsigned count = sizeof visits / sizeof *visits;
  for (unsigned i = 0; i < count; i++) {
    struct visit *visit = &visits[i];
    visit->instance = make_instance(random);
    visit->self = stress_attach(visit->instance->world);
    grow(visit, random, i ? visits[i - 1].chain : NULL);
    visit->chain = NULL;
    tarn_block_begin(visit->self);
  }
  for (unsigned left = count; left > 0;) {
    unsigned i = (unsigned)stress_below(random, left);
    struct instance *ends = visits[i].instance;
    STRESS_CHECK(tarn_thread_self(ends->world) == visits[i].self);
    visits[i] = visits[--left];
    STRESS_EQUAL(tarn_world_destroy(ends->world), TARN_OK); /* attached, and blocked */
    STRESS_EQUAL(atomic_load(&ends->freed), atomic_load(&ends->made));
    free(ends);
  }
}

int main(int count, char **arguments) {
  stress_begin(count, arguments,
               "what one world does to another, and objects that the end of a world forgets");
  struct stress_random random = stress_random_of(1000);
  for (unsigned i = 0; i < PLACES; i++)
    (void)pthread_mutex_init(&places[i].lock, NULL);
  crowd(&random);
  stress_run(NULL, stress.threads, breed, NULL);
  for (unsigned i = 0; i < PLACES; i++) {
    STRESS_EQUAL(places[i].users, 0);
    if (places[i].instance)
      end_instance(places[i].instance, &random);
  }
  crowd(&random);
  fprintf(stderr, "  %llu worlds, %llu of them were busy when asked to end\n",
          (unsigned long long)atomic_load(&worlds_made),
          (unsigned long long)atomic_load(&busy_seen));
  return stress_end();
}
