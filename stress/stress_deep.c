/* SPDX-License-Identifier: MIT */
/*
 * stress_deep: hunts marking that recurses, forgets objects or never ends when the graph is deep,
 * wide, or both, and when the mark stack is full: then what was dropped from it has to be found
 * again by scanning the heap.
 *
 * Threads build segments that become one list of --nodes nodes (20 million; up to 100 million is
 * meant to work), whose links change from slot to slot, with references back to random nodes; and
 * wide graphs: arrays of arrays of nodes in random order.  Both are made in a world with the
 * ordinary mark stack and in one with a stack of 4 KiB.  After each collection the number of live
 * objects has to be exactly what the graph has, also after half of it was cut off, and each node
 * is checked.
 */
#include "common.h"
#include <stdio.h>

#define WIDTH 3000u /* more than the collector scans of an array at a time */

#if defined(TARN_ZEAL) && TARN_ZEAL
#define NODES 20000 /* it is collected all the time */
#elif STRESS_SANITIZED
#define NODES 1000000
#else
#define NODES 20000000
#endif

struct node {
  const tarn_type *type;
  struct node *links[2]; /* the list goes on in links[serial & 1] */
  uint64_t serial;
};
struct array {
  const tarn_type *type;
  uint64_t count;
  void *elements[];
};

static tarn_world *world;
static const tarn_type *node_type, *array_type;

/* One for each thread, then used by the main thread. */
static struct segment {
  void *first, *last, *fresh; /* roots */
  uint64_t begin, end;        /* serials */
} segments[64];

static void make_types(void) {
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = "node";
  spec.size = sizeof(struct node);
  spec.slot_bits = 6;
  node_type = tarn_type_create(world, &spec, NULL);
  tarn_type_spec array = TARN_TYPE_SPEC_INIT;
  array.name = "array";
  array.size = 16;
  array.element_size = 8;
  array.flags = TARN_TYPE_ELEMENTS_TRACED;
  array_type = tarn_type_create(world, &array, NULL);
  STRESS_CHECK(node_type && array_type);
}

static void begin_world(const char *set) {
  world = stress_world(set);
  make_types();
  for (unsigned i = 0; i < stress.threads; i++) {
    STRESS_EQUAL(tarn_root_add(world, &segments[i].first), TARN_OK);
    STRESS_EQUAL(tarn_root_add(world, &segments[i].last), TARN_OK);
    STRESS_EQUAL(tarn_root_add(world, &segments[i].fresh), TARN_OK);
  }
}

/* Collects, and the number of live objects has to be this. */
static void expect(tarn_thread *self, uint64_t objects) {
  STRESS_EQUAL(tarn_collect(self, TARN_GENERATION_FULL), TARN_OK);
  STRESS_EQUAL(stress_stats(world).live_objects, objects);
  stress_step();
}

static struct node *new_node(tarn_thread *self, uint64_t serial) {
  struct node *node = tarn_new(self, node_type);
  STRESS_CHECK(node);
  STRESS_CHECK(!node->links[0] && !node->links[1] && node->serial == 0);
  node->serial = serial;
  return node;
}

/* --- the list -------------------------------------------------------------------------------- */

static void build_segment(void *data, unsigned number) {
  struct segment *segment = &segments[number];
  struct stress_random random = stress_random_of(number);
  tarn_thread *self = stress_attach(world);
  struct node *back = NULL; /* some earlier node; in the list, so it needs no root */
  (void)data;
  for (uint64_t serial = segment->begin; serial < segment->end; serial++) {
    struct node *node = new_node(self, serial);
    if (serial == segment->begin) {
      segment->first = back = node;
    } else {
      struct node *last = segment->last;
      last->links[last->serial & 1] = node;
      node->links[~serial & 1] = back;
    }
    segment->last = node;
    if (serial % 4096 == 0)
      stress_step();
    if (stress_below(&random, 1000) == 0)
      back = node;
    tarn_safepoint(self);
  }
  STRESS_EQUAL(tarn_thread_detach(self), TARN_OK);
}

static void join_segments(void) {
  for (unsigned i = 0; i + 1 < stress.threads; i++) {
    struct node *last = segments[i].last;
    last->links[last->serial & 1] = segments[i + 1].first;
  }
  for (unsigned i = 0; i < stress.threads; i++) {
    segments[i].last = NULL;
    segments[i].first = i ? NULL : segments[i].first;
  }
}

/* Walks all of it; returns the node with the serial `at`. */
static struct node *check_list(uint64_t nodes, uint64_t at) {
  struct node *node = segments[0].first, *found = NULL;
  for (uint64_t serial = 0; serial < nodes; serial++) {
    STRESS_CHECK(node && node->type == node_type);
    STRESS_EQUAL(node->serial, serial);
    const struct node *back = node->links[~serial & 1];
    STRESS_CHECK(!back || (back->type == node_type && back->serial < serial));
    found = serial == at ? node : found;
    if (serial % 4096 == 0)
      stress_step();
    node = node->links[serial & 1];
  }
  STRESS_CHECK(!node);
  return found;
}

static void test_list(uint64_t nodes) {
  for (unsigned i = 0; i < stress.threads; i++) {
    segments[i].begin = nodes * i / stress.threads;
    segments[i].end = nodes * (i + 1) / stress.threads;
  }
  stress_run(world, stress.threads, build_segment, NULL);
  join_segments();
  tarn_thread *self = stress_attach(world);
  expect(self, nodes);
  struct node *middle = check_list(nodes, nodes / 2);
  /* Nodes behind the middle refer back, never the other way round. */
  middle->links[middle->serial & 1] = NULL;
  uint64_t left = middle->serial + 1;
  expect(self, left);
  (void)check_list(left, 0);
  if (nodes <= 2000000)
    stress_verify(self);
  segments[0].first = NULL;
  expect(self, 0);
  STRESS_EQUAL(tarn_thread_detach(self), TARN_OK);
}

/* --- the wide graph -------------------------------------------------------------------------- */

static struct array *new_array(tarn_thread *self, uint64_t count) {
  struct array *array = tarn_new_array(self, array_type, (size_t)count);
  STRESS_CHECK(array);
  STRESS_EQUAL(array->count, count);
  return array;
}

/* An array of `segment->end` rows, which are arrays of WIDTH nodes.  Nodes lie in random order and
 * refer to nodes of the row before. */
static void build_wide(void *data, unsigned number) {
  struct segment *segment = &segments[number];
  struct stress_random random = stress_random_of(100 + number);
  tarn_thread *self = stress_attach(world);
  uint64_t rows = segment->end;
  (void)data;
  segment->first = new_array(self, rows);
  for (uint64_t i = 0; i < rows; i++) {
    struct array *row = segment->fresh = new_array(self, WIDTH);
    for (uint64_t k = 0; k < WIDTH; k++) {
      struct node *node = new_node(self, i * WIDTH + k);
      uint64_t other = stress_below(&random, k + 1);
      row->elements[k] = row->elements[other];
      row->elements[other] = node;
      const struct array *top = segment->first;
      for (unsigned link = 0; i > 0 && link < 2; link++)
        node->links[link] =
            ((struct array *)top->elements[i - 1])->elements[stress_below(&random, WIDTH)];
    }
    ((struct array *)segment->first)->elements[i] = row;
    stress_step();
    segment->fresh = NULL;
  }
  STRESS_EQUAL(tarn_thread_detach(self), TARN_OK);
}

/* Each row holds each of its nodes once. */
static void check_row(const struct array *row, uint64_t i) {
  uint64_t sum = 0;
  STRESS_CHECK(row->type == array_type);
  STRESS_EQUAL(row->count, WIDTH);
  for (uint64_t k = 0; k < WIDTH; k++) {
    const struct node *node = row->elements[k];
    STRESS_CHECK(node->type == node_type && node->serial / WIDTH == i);
    sum += node->serial % WIDTH;
    for (unsigned link = 0; i > 0 && link < 2; link++)
      STRESS_CHECK(node->links[link]->type == node_type &&
                   node->links[link]->serial / WIDTH == i - 1);
  }
  STRESS_EQUAL(sum, WIDTH * (WIDTH - 1) / 2);
}

static void test_wide(uint64_t rows, bool small_stack) {
  for (unsigned i = 0; i < stress.threads; i++)
    segments[i].end = rows;
  stress_run(world, stress.threads, build_wide, NULL);
  tarn_thread *self = stress_attach(world);
  uint64_t each = rows * WIDTH + rows + 1;
  uint64_t overflows = stress_stats(world).mark_overflows;
  expect(self, each * stress.threads);
  if (small_stack)
    STRESS_CHECK(stress_stats(world).mark_overflows > overflows);
  for (unsigned i = 0; i < stress.threads; i++)
    for (uint64_t row = 0; row < rows; row++)
      check_row(((struct array *)segments[i].first)->elements[row], row);
  stress_verify(self);
  for (unsigned i = 0; i < stress.threads; i++) {
    segments[i].first = NULL;
    expect(self, each * (stress.threads - i - 1));
  }
  STRESS_EQUAL(tarn_thread_detach(self), TARN_OK);
}

/* --- rounds ---------------------------------------------------------------------------------- */

static void test_world(const char *set, uint64_t nodes, bool small_stack) {
  begin_world(set);
  uint64_t rows = nodes / 8 / stress.threads / WIDTH;
  rows = rows < 2 ? 2 : rows > 500 ? 500 : rows;
  test_wide(rows, small_stack);
  test_list(nodes);
  fprintf(stderr, "  \"%s\": %llu nodes in a list, %llu rows of %u nodes, %llu overflows\n", set,
          (unsigned long long)nodes, (unsigned long long)rows, WIDTH,
          (unsigned long long)stress_stats(world).mark_overflows);
  STRESS_EQUAL(tarn_world_destroy(world), TARN_OK);
}

int main(int count, char **arguments) {
  stress_begin(count, arguments,
               "marking that recurses, forgets or never ends in deep and wide graphs, with full "
               "mark stacks");
  uint64_t nodes = stress.nodes ? stress.nodes : NODES;
  uint64_t round = 0;
  do {
    test_world("", nodes, false);
    test_world("mark-stack=4K", nodes, true);
  } while (stress_on(&round) && stress_time_left());
  return stress_end();
}
