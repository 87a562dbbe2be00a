/* SPDX-License-Identifier: MIT */
/*
 * Threads that the system does not give, and waits that end for no reason: helpers of the
 * collector, the sweeper and the purger are missing, or somebody looks up too early, one at a time.
 * Nothing of that can be seen in what the program's threads have, and the world still ends.
 */
#include "faults.h"

#include "collect/collector.h"
#include <stdatomic.h>

#define WORKERS 2
#define ROUNDS 4
#define OWN 64u
#define DEPTH (SUPPORT_SANITIZED ? 11u : 13u)

struct node {
  const tarn_type *type;
  struct node *left, *right;
  size_t number;
};

struct resource {
  const tarn_type *type;
  size_t number;
};

static struct scene {
  tarn_world *world;
  tarn_thread *self;
  const tarn_type *node, *resource;
  struct node *root;
  _Atomic size_t made, freed;
  _Atomic bool done;
  _Atomic unsigned working;
} scene;

static void count_free(tarn_world *world, void *object) {
  CHILD_CHECK(world == scene.world && ((struct resource *)object)->number != 0);
  ((struct resource *)object)->number = 0;
  atomic_fetch_add_explicit(&scene.freed, 1, memory_order_relaxed);
}

/* --- the workers ----------------------------------------------------------------------------- */

static void act(tarn_thread *self, struct resource **own, size_t turn) {
  struct resource *fresh = tarn_new(self, scene.resource);
  CHILD_CHECK(fresh);
  fresh->number = turn + 1;
  atomic_fetch_add_explicit(&scene.made, 1, memory_order_relaxed);
  own[turn % OWN] = fresh;
  void *block = tarn_alloc_atomic(self, 100 + turn % 3000);
  CHILD_CHECK(block);
  tarn_free(self, block);
  if (turn % 64 == 5) { /* a stop has to wait */
    tarn_gc_hold(self);
    (void)usleep(300);
    tarn_gc_release(self);
  } else if (turn % 64 == 37) {
    tarn_block_begin(self);
    (void)usleep(100);
    tarn_block_end(self);
  }
  tarn_safepoint(self);
}

static void provide(tarn_visitor *visitor, void *data) { tarn_visit_range(visitor, data, OWN); }

static void *work(void *unused) {
  struct resource *own[OWN] = {NULL};
  tarn_thread *self = NULL;
  (void)unused;
  CHILD_CHECK(tarn_thread_attach(scene.world, &self) == TARN_OK);
  CHILD_CHECK(tarn_root_provider_add(scene.world, provide, own) == TARN_OK);
  atomic_fetch_add(&scene.working, 1);
  for (size_t turn = 0; !atomic_load_explicit(&scene.done, memory_order_relaxed); turn++) {
    act(self, own, turn);
    for (size_t i = 0; i < OWN && i < turn; i++)
      CHILD_CHECK(own[i]->type == scene.resource && (own[i]->number - 1) % OWN == i);
  }
  CHILD_CHECK(tarn_root_provider_remove(scene.world, provide, own) == TARN_OK);
  CHILD_CHECK(tarn_thread_detach(self) == TARN_OK);
  return NULL;
}

/* --- the scenario ---------------------------------------------------------------------------- */

#define OPTIONS "address-space=256M,markers=3,sweeper=on,purge-delay=1ms,idle-collect=5ms"

static void make_world(void) {
  tarn_options options = TARN_OPTIONS_INIT;
  options.set = SUPPORT_ZEAL ? OPTIONS ",zeal=5000" : OPTIONS;
  options.flags = TARN_OPTIONS_NO_ENVIRONMENT;
  CHILD_CHECK(tarn_world_create(&options, &scene.world) == TARN_OK);
  CHILD_CHECK(tarn_thread_attach(scene.world, &scene.self) == TARN_OK);
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = "node";
  spec.size = sizeof(struct node);
  spec.slot_bits = 6;
  CHILD_CHECK((scene.node = tarn_type_create(scene.world, &spec, NULL)));
  spec = (tarn_type_spec)TARN_TYPE_SPEC_INIT;
  spec.name = "resource";
  spec.size = sizeof(struct resource);
  spec.free = count_free;
  CHILD_CHECK((scene.resource = tarn_type_create(scene.world, &spec, NULL)));
}

static struct node *grow(unsigned depth, size_t number) {
  struct node *node = tarn_new(scene.self, scene.node), *left = NULL;
  TARN_FRAME(scene.self, &node, &left);
  CHILD_CHECK(node);
  node->number = number;
  if (depth > 0) {
    left = grow(depth - 1, 2 * number);
    struct node *right = grow(depth - 1, 2 * number + 1);
    node->left = left;
    node->right = right;
  }
  return node;
}

static void check_tree(const struct node *node, unsigned depth, size_t number) {
  CHILD_CHECK(node->type == scene.node && node->number == number);
  if (depth > 0) {
    check_tree(node->left, depth - 1, 2 * number);
    check_tree(node->right, depth - 1, 2 * number + 1);
  } else {
    CHILD_CHECK(!node->left && !node->right);
  }
}

/* Free memory, for the purger. */
static void leave_dirt(void) {
  for (size_t i = 0; i < 8; i++) {
    char *block = tarn_alloc_atomic(scene.self, 500 * KIB);
    CHILD_CHECK(block && support_is_filled(block, 1000, 0));
    memset(block, 1, 500 * KIB);
    tarn_free(scene.self, block);
  }
}

/* Together with the workers. */
static void collect_and_look(void) {
  for (int round = 0; round < ROUNDS; round++) {
    struct node *garbage = grow(DEPTH - 1, 1);
    check_tree(garbage, DEPTH - 1, 1);
    leave_dirt();
    CHILD_CHECK(tarn_collect(scene.self, TARN_GENERATION_FULL) == TARN_OK);
    check_tree(scene.root, DEPTH, 1);
    tarn_block_begin(scene.self);
    (void)usleep(2000);
    tarn_block_end(scene.self);
  }
}

/* Each helper that is there, and none that is not, waits for something to mark. */
static void check_helpers(void) {
  struct tarn_collector *collector = scene.world->collector;
  bool rests = false;
  while (!rests) { /* an idle collection may be on */
    tarn_safepoint(scene.self);
    tarn_markers_lock(collector);
    rests = collector->markers.working == 0 && !collector->markers.full;
    CHILD_CHECK(!rests || collector->markers.hungry == collector->markers.threads);
    tarn_markers_unlock(collector);
  }
}

static void play(void) {
  pthread_t threads[WORKERS];
  make_world();
  {
    TARN_FRAME(scene.self, &scene.root);
    scene.root = grow(DEPTH, 1);
    for (size_t i = 0; i < WORKERS; i++)
      CHILD_CHECK(pthread_create(&threads[i], NULL, work, NULL) == 0);
    while (atomic_load(&scene.working) < WORKERS)
      tarn_safepoint(scene.self);
    collect_and_look();
    atomic_store_explicit(&scene.done, true, memory_order_relaxed);
    tarn_block_begin(scene.self);
    for (size_t i = 0; i < WORKERS; i++)
      CHILD_CHECK(pthread_join(threads[i], NULL) == 0);
    tarn_block_end(scene.self);
    check_tree(scene.root, DEPTH, 1);
    check_helpers();
    CHILD_CHECK(tarn_verify(scene.self, NULL, 0) == TARN_OK);
  }
  CHILD_CHECK(tarn_thread_detach(scene.self) == TARN_OK);
  CHILD_CHECK(tarn_world_destroy(scene.world) == TARN_OK);
  CHILD_CHECK(atomic_load(&scene.freed) == atomic_load(&scene.made));
}

static void play_with_fault(unsigned kind) {
  (void)kind;
  play();
  faults_over();
}

static void threads_may_be_missing_and_wake_early(void **unused) {
  static const struct faults_kind kinds[] = {
      {TARN_FAULT_THREAD, "thread", FAULTS_SOME, true, false},
      {TARN_FAULT_WAIT, "wait", 2 * FAULTS_SOME, true, false},
  };
  (void)unused;
  if (!TARN_FAULTS)
    support_skip("built without TARN_FAULTS");
  faults_try_all(play_with_fault, kinds, sizeof kinds / sizeof kinds[0]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(threads_may_be_missing_and_wake_early),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
