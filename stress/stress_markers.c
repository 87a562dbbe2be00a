/* SPDX-License-Identifier: MIT */
/*
 * stress_markers: hunts objects that several markers lose between them, mark though they are dead,
 * or meet twice where once is allowed; and collections that end too early or never.
 *
 * One thread keeps a table of clusters: nodes, some with a trace function, each of which is reached
 * in one way only, by a tree of them or by an array longer than a marker scans at a time, with weak
 * references and ephemerons among them whose keys live or die.  It replaces some of them, collects
 * with as many markers as --threads says (at least two), in turn with the ordinary mark stack and
 * with some that are too small, and looks at everything: the number of live objects is exactly what
 * the clusters have, each node, each weak reference and each ephemeron is as it has to be, and what
 * was dropped is gone.  Every few rounds the world is made anew, so that helpers come and go, too.
 */
#include "common.h"
#include <stdio.h>
#include <string.h>

#if defined(TARN_ZEAL) && TARN_ZEAL
#define NODES 200u /* it is collected all the time */
#elif STRESS_SANITIZED
#define NODES 4000u
#else
#define NODES 20000u
#endif
#define CLUSTERS 8u
#define EVERY 16u /* nodes to one weak reference and one ephemeron */
#define LIVES 6u  /* collections in a world */

struct node {
  const tarn_type *type;
  struct node *links[2];
  void *weak, *ephemeron; /* of every EVERYth node */
  uint64_t serial;
};
struct array {
  const tarn_type *type;
  uint64_t count;
  void *elements[];
};
struct leaf {
  const tarn_type *type;
  uint64_t serial;
};

static tarn_world *world;
static const tarn_type *node_type, *traced_type, *array_type, *leaf_type;
static void *clusters[CLUSTERS]; /* roots: arrays of nodes */
static void *outside[CLUSTERS];  /* roots: weak references to clusters that were dropped */
static uint64_t bases[CLUSTERS], next_base;

/* The same words as the other type's slots. */
static void trace_node(const void *object, tarn_visitor *visitor) {
  const struct node *node = object;
  tarn_visit_range(visitor, node->links, 4);
}

static void begin_world(unsigned way) {
  static const char *const stacks[] = {"", ",mark-stack=4K", ",mark-stack=64K"};
  char set[80];
  (void)snprintf(set, sizeof set, "collect=off,markers=%u%s",
                 stress.threads < 2 ? 2 : stress.threads, stacks[way]);
  world = stress_world(set);
  tarn_type_spec node = TARN_TYPE_SPEC_INIT, array = TARN_TYPE_SPEC_INIT,
                 leaf = TARN_TYPE_SPEC_INIT;
  node.name = "node";
  node.size = sizeof(struct node);
  node.slot_bits = 0x1e;
  node_type = tarn_type_create(world, &node, NULL);
  node.name = "traced node";
  node.slot_bits = 0;
  node.trace = trace_node;
  traced_type = tarn_type_create(world, &node, NULL);
  array.name = "array";
  array.size = 16;
  array.element_size = 8;
  array.flags = TARN_TYPE_ELEMENTS_TRACED;
  array_type = tarn_type_create(world, &array, NULL);
  leaf.name = "leaf";
  leaf.size = sizeof(struct leaf);
  leaf_type = tarn_type_create(world, &leaf, NULL);
  STRESS_CHECK(node_type && traced_type && array_type && leaf_type);
  for (unsigned i = 0; i < CLUSTERS; i++) {
    STRESS_EQUAL(tarn_root_add(world, &clusters[i]), TARN_OK);
    STRESS_EQUAL(tarn_root_add(world, &outside[i]), TARN_OK);
  }
}

/* --- clusters -------------------------------------------------------------------------------- */

static void *new_leaf(tarn_thread *self, uint64_t serial) {
  struct leaf *leaf = tarn_new(self, leaf_type);
  STRESS_CHECK(leaf);
  leaf->serial = serial;
  return leaf;
}

/* A weak reference to the node `other`, and an ephemeron: its key is that node, or, of each second
 * one, a leaf that nothing else refers to. */
static void add_watchers(tarn_thread *self, struct array *array, uint64_t i, uint64_t other,
                         uint64_t base) {
  void *key = array->elements[other], *value = NULL;
  TARN_FRAME(self, &key, &value);
  void *weak = tarn_weak_new(self, key);
  STRESS_CHECK(weak);
  ((struct node *)array->elements[i])->weak = weak;
  if (i / EVERY % 2)
    key = new_leaf(self, 0);
  value = new_leaf(self, base + i);
  void *ephemeron = tarn_ephemeron_new(self, key, value);
  STRESS_CHECK(ephemeron);
  ((struct node *)array->elements[i])->ephemeron = ephemeron;
}

static void fill(tarn_thread *self, struct stress_random *random, void **root, uint64_t base) {
  struct array *array = *root = tarn_new_array(self, array_type, NODES);
  STRESS_CHECK(array);
  for (uint64_t i = 0; i < NODES; i++) {
    struct node *node = tarn_new(self, i % 3 ? node_type : traced_type);
    STRESS_CHECK(node);
    node->serial = base + i;
    array->elements[i] = node;
  }
  for (uint64_t i = 0; i < NODES; i += EVERY) {
    add_watchers(self, array, i, stress_below(random, NODES), base);
    tarn_safepoint(self);
  }
  if (base / NODES % 2 == 0)
    return; /* they hang on the array */
  for (uint64_t i = 0; i < NODES; i++)
    for (unsigned link = 0; link < 2 && 2 * i + link + 1 < NODES; link++)
      ((struct node *)array->elements[i])->links[link] = array->elements[2 * i + link + 1];
  memset(&array->elements[1], 0, (NODES - 1) * sizeof array->elements[1]);
}

/* Of an array of NODES elements: itself, the nodes, weak references, ephemerons, and the values of
 * those whose key lives. */
static uint64_t objects_of_cluster(void) {
  uint64_t watchers = (NODES + EVERY - 1) / EVERY;
  return 1 + NODES + 2 * watchers + (watchers + 1) / 2;
}

static void check_watchers(tarn_thread *self, const struct node *node, uint64_t i, uint64_t base) {
  const struct node *target = tarn_weak_get(self, node->weak);
  STRESS_CHECK(target && target->serial - base < NODES);
  const struct leaf *value = tarn_ephemeron_value(self, node->ephemeron);
  if (i / EVERY % 2) {
    STRESS_CHECK(!value && !tarn_ephemeron_key(self, node->ephemeron));
  } else {
    STRESS_CHECK(tarn_ephemeron_key(self, node->ephemeron) == target);
    STRESS_CHECK(value && value->type == leaf_type);
    STRESS_EQUAL(value->serial, base + i);
  }
}

/* The node, and those below it. */
static void check_node(tarn_thread *self, const struct node *node, uint64_t i, uint64_t base) {
  bool tree = base / NODES % 2;
  STRESS_CHECK(node && node->type == (i % 3 ? node_type : traced_type));
  STRESS_EQUAL(node->serial, base + i);
  if (i % EVERY == 0)
    check_watchers(self, node, i, base);
  for (unsigned link = 0; link < 2; link++)
    if (tree && 2 * i + link + 1 < NODES)
      check_node(self, node->links[link], 2 * i + link + 1, base);
    else
      STRESS_CHECK(!node->links[link]);
}

static void check_cluster(tarn_thread *self, const struct array *array, uint64_t base) {
  STRESS_CHECK(array->type == array_type);
  STRESS_EQUAL(array->count, NODES);
  uint64_t first = base / NODES % 2 ? 1 : NODES; /* of those that it does not hold */
  for (uint64_t i = 0; i < first; i++)
    check_node(self, array->elements[i], i, base);
}

/* --- rounds ---------------------------------------------------------------------------------- */

static void replace(tarn_thread *self, struct stress_random *random, unsigned i) {
  if (clusters[i]) {
    outside[i] = tarn_weak_new(self, clusters[i]);
    STRESS_CHECK(outside[i]);
  }
  bases[i] = next_base;
  next_base += NODES;
  clusters[i] = NULL;
  fill(self, random, &clusters[i], bases[i]);
}

static void collect_and_check(tarn_thread *self) {
  uint64_t objects = 0;
  STRESS_EQUAL(tarn_collect(self, TARN_GENERATION_FULL), TARN_OK);
  for (unsigned i = 0; i < CLUSTERS; i++) {
    objects += clusters[i] ? objects_of_cluster() : 0;
    objects += outside[i] != NULL;
    if (clusters[i])
      check_cluster(self, clusters[i], bases[i]);
    STRESS_CHECK(!outside[i] || !tarn_weak_get(self, outside[i]));
  }
  STRESS_EQUAL(stress_stats(world).live_objects, objects);
  for (unsigned i = 0; i < CLUSTERS; i++)
    outside[i] = NULL;
}

static void one_world(struct stress_random *random, unsigned way) {
  begin_world(way);
  tarn_thread *self = stress_attach(world);
  for (unsigned life = 0; life < LIVES; life++) {
    unsigned count = 1 + (unsigned)stress_below(random, CLUSTERS);
    for (unsigned i = 0; i < count; i++)
      replace(self, random, (unsigned)stress_below(random, CLUSTERS));
    collect_and_check(self);
  }
  stress_verify(self);
  for (unsigned i = 0; i < CLUSTERS; i++)
    clusters[i] = NULL;
  STRESS_EQUAL(tarn_thread_detach(self), TARN_OK);
  STRESS_EQUAL(tarn_world_destroy(world), TARN_OK);
}

static void live(void *data, unsigned number) {
  struct stress_random random = stress_random_of(number);
  uint64_t round = 0;
  (void)data;
  while (stress_on(&round))
    one_world(&random, (unsigned)(round % 3));
}

int main(int count, char **arguments) {
  stress_begin(count, arguments,
               "objects that several markers lose between them, and collections that never end");
  stress_run(NULL, 1, live, NULL);
  return stress_end();
}
