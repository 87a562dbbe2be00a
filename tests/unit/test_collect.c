/* SPDX-License-Identifier: MIT */
/* Collections: what is kept, what is released and when, limits, and the shapes that are hard to
 * mark. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "collect/collector.h"
#include <tarn/tarn.h>

struct node {
  const tarn_type *type;
  struct node *left, *right;
  uintptr_t value;
};

struct array {
  const tarn_type *type;
  size_t count;
  void *elements[];
};

struct state {
  tarn_world *world;
  tarn_thread *self;
  const tarn_type *node;
  const tarn_type *array;
};

static const tarn_type *make_type(tarn_world *world, const tarn_type_spec *spec) {
  tarn_status status;
  const tarn_type *type = tarn_type_create(world, spec, &status);
  assert_int_equal(status, TARN_OK);
  return type;
}

static void begin_with(struct state *state, const char *options) {
  tarn_options set = TARN_OPTIONS_INIT;
  char text[200];
  /* Zeal builds collect at every allocation by default: here that would take hours. */
  (void)snprintf(text, sizeof text, "%s%s", options, TARN_ZEAL ? ",zeal=20000" : "");
  set.set = text;
  assert_int_equal(tarn_world_create(&set, &state->world), TARN_OK);
  assert_int_equal(tarn_thread_attach(state->world, &state->self), TARN_OK);
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = "node";
  spec.size = sizeof(struct node);
  spec.slot_bits = 6;
  state->node = make_type(state->world, &spec);
  spec = (tarn_type_spec)TARN_TYPE_SPEC_INIT;
  spec.name = "array";
  spec.size = sizeof(struct array);
  spec.element_size = sizeof(void *);
  spec.flags = TARN_TYPE_ELEMENTS_TRACED;
  state->array = make_type(state->world, &spec);
}

static void end(struct state *state) {
  char message[256] = "";
  assert_int_equal(tarn_verify(state->self, message, sizeof message), TARN_OK);
  assert_int_equal(tarn_thread_detach(state->self), TARN_OK);
  assert_int_equal(tarn_world_destroy(state->world), TARN_OK);
}

static tarn_stats stats_of(const struct state *state) {
  tarn_stats stats = {.struct_size = sizeof stats};
  assert_int_equal(tarn_stats_get(state->world, &stats), TARN_OK);
  return stats;
}

static void collect(const struct state *state) {
  assert_int_equal(tarn_collect(state->self, TARN_GENERATION_FULL), TARN_OK);
}

static struct node *new_node(const struct state *state, struct node *left, struct node *right,
                             uintptr_t value) {
  TARN_FRAME(state->self, &left, &right);
  struct node *node = tarn_new(state->self, state->node);
  assert_non_null(node);
  node->left = left;
  node->right = right;
  node->value = value;
  return node;
}

/* --- what is kept ---------------------------------------------------------------------------- */

static void everything_reachable_is_kept_and_the_rest_goes(void **unused) {
  struct state state;
  (void)unused;
  begin_with(&state, "verify=on,collect=off");
  struct node *kept = NULL;
  {
    TARN_FRAME(state.self, &kept);
    for (uintptr_t i = 0; i < 10000; i++) {
      kept = new_node(&state, kept, NULL, i);
      (void)new_node(&state, kept, kept, i); /* garbage that refers to what lives */
    }
    collect(&state);
    assert_int_equal(stats_of(&state).live_objects, 10000);
    assert_int_equal(stats_of(&state).live_bytes, 10000 * sizeof(struct node));
    uintptr_t value = 10000;
    for (struct node *at = kept; at; at = at->left)
      assert_int_equal(at->value, --value);
    assert_int_equal(value, 0);
  }
  kept = NULL;
  collect(&state);
  assert_int_equal(stats_of(&state).live_objects, 0);
  assert_int_equal(stats_of(&state).heap_bytes, 0);
  end(&state);
}

/* Its references are words of memory that the C library gave. */
struct bag {
  const tarn_type *type;
  struct node **nodes;
  size_t count;
};

/* One by one, many at a time, and none: fewer and more than the buffer behind a visitor holds. */
static void visit_bag(const void *object, tarn_visitor *visitor) {
  static const size_t runs[] = {1, 0, 5, TARN_VISITS, 1, TARN_VISITS + 1, 3 * TARN_VISITS};
  const struct bag *bag = object;
  size_t at = 0;
  for (size_t i = 0; at < bag->count; i++) {
    size_t run = runs[i % (sizeof runs / sizeof runs[0])];
    run = run < bag->count - at ? run : bag->count - at;
    if (i % 3 == 0)
      tarn_visit_range(visitor, bag->nodes + at, run);
    for (size_t k = 0; i % 3 && k < run; k++)
      if (i % 2)
        tarn_visit(visitor, bag->nodes[at + k]);
      else
        tarn_visit_outline(visitor, bag->nodes[at + k]);
    at += run;
  }
}

static void visit_any_number(const char *options) {
  struct state state;
  begin_with(&state, options);
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = "bag";
  spec.size = sizeof(struct bag);
  spec.trace = visit_bag;
  const tarn_type *type = make_type(state.world, &spec);
  struct bag *bag = NULL;
  {
    TARN_FRAME(state.self, &bag);
    for (size_t count = 0; count <= 1000; count = count < 70 ? count + 1 : count + 465) {
      struct node **nodes = calloc(count + 1, sizeof *nodes);
      assert_non_null(nodes);
      bag = tarn_new(state.self, type);
      bag->nodes = nodes;
      for (bag->count = 0; bag->count < count; bag->count++)
        nodes[bag->count] = new_node(&state, NULL, NULL, bag->count);
      (void)new_node(&state, NULL, NULL, count); /* garbage */
      collect(&state);
      assert_int_equal(stats_of(&state).live_objects, count + 1);
      for (size_t i = 0; i < count; i++)
        assert_int_equal(nodes[i]->value, i);
      bag = NULL;
      collect(&state);
      free(nodes);
    }
  }
  end(&state);
}

/* Also where the mark stack has room for a few hundred. */
static void a_trace_function_may_visit_any_number(void **unused) {
  (void)unused;
  visit_any_number("collect=0,verify=1");
  visit_any_number("collect=0,verify=1,mark-stack=4K");
}

static void cycles_are_garbage(void **unused) {
  struct state state;
  (void)unused;
  begin_with(&state, "verify=on,collect=off");
  for (int i = 0; i < 1000; i++) {
    struct node *a = new_node(&state, NULL, NULL, 1);
    TARN_FRAME(state.self, &a);
    struct node *b = new_node(&state, a, a, 2);
    a->left = b;
    a->right = a;
  }
  collect(&state);
  assert_int_equal(stats_of(&state).live_objects, 0);
  end(&state);
}

static void garbage_memory_is_used_again_zeroed(void **unused) {
  struct state state;
  (void)unused;
  begin_with(&state, "verify=on,min-heap=1M");
  for (int i = 0; i < 500000; i++) {
    struct node *node = tarn_new(state.self, state.node);
    assert_non_null(node);
    assert_true(node->type == state.node && !node->left && !node->right && !node->value);
    memset(&node->left, 0, 2 * sizeof node->left);
    node->value = UINTPTR_MAX;
  }
  tarn_stats stats = stats_of(&state);
  assert_true(stats.collections >= 5);
  assert_true(stats.heap_bytes_max < (4u << 20));
  end(&state);
}

static void any_word_may_stand_in_a_slot(void **unused) {
  struct state state;
  (void)unused;
  begin_with(&state, "verify=on,collect=off");
  {
    struct node *kept = new_node(&state, NULL, NULL, 0);
    TARN_FRAME(state.self, &kept);
    struct node *other = new_node(&state, NULL, NULL, 0);
    uintptr_t base = (uintptr_t)other & ~(uintptr_t)0xffff;
    uintptr_t words[] = {1,
                         7,
                         (uintptr_t)&state,
                         UINTPTR_MAX,
                         base,
                         base + 8,
                         base + 1,
                         base + 0xfff8,
                         base - 8,
                         tarn_space.base,
                         (uintptr_t)state.node,
                         tarn_space.base + tarn_space.size - 8,
                         (uintptr_t)other + 8,
                         (uintptr_t)other + 31};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
      kept->left = (struct node *)words[i];
      kept->right = (struct node *)(words[i] ^ 0x100000);
      collect(&state);
      assert_true(stats_of(&state).live_objects <= 2);
    }
  }
  end(&state);
}

/* In blocks of 24 bytes, every second one begins in the middle of the 16 bytes that share a mark
 * byte. */
static void a_word_beside_a_block_keeps_nothing(void **unused) {
  enum { NODES = 64 };
  struct state state;
  struct small {
    const tarn_type *type;
    void *left, *right;
  } * nodes[NODES];
  uintptr_t addresses[NODES];
  (void)unused;
  begin_with(&state, "collect=off");
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = "small";
  spec.size = sizeof(struct small);
  spec.slot_bits = 6;
  const tarn_type *type = make_type(state.world, &spec);
  {
    struct array *beside = tarn_new_array(state.self, state.array, 2 * NODES);
    TARN_FRAME(state.self, &beside);
    for (unsigned i = 0; i < NODES; i++)
      beside->elements[i] = nodes[i] = tarn_new(state.self, type);
    collect(&state); /* they carry its mark now */
    assert_int_equal(stats_of(&state).live_objects, NODES + 1);
    for (unsigned i = 0; i < NODES; i++) {
      addresses[i] = (uintptr_t)nodes[i];
      beside->elements[2 * i] = (void *)(addresses[i] + 8);
      beside->elements[2 * i + 1] = (void *)(addresses[i] - 8);
    }
    collect(&state);
    assert_int_equal(stats_of(&state).live_objects, 1);
  }
  end(&state);
}

/* Not when it is new, nor when it has the last collection's mark: its first word may be anything.
 */
static void a_raw_block_is_never_scanned(void **unused) {
  struct state state;
  (void)unused;
  begin_with(&state, "collect=off");
  {
    struct node *holder = new_node(&state, NULL, NULL, 0);
    TARN_FRAME(state.self, &holder);
    uintptr_t *raw = tarn_alloc_atomic(state.self, 64);
    holder->left = (struct node *)(void *)raw;
    memset(raw, 0x5a, 64); /* no address at all */
    for (int i = 0; i < 3; i++) {
      collect(&state);
      assert_int_equal(stats_of(&state).live_objects, 2);
    }
  }
  end(&state);
}

static void words_of_another_world_are_ignored(void **unused) {
  struct state full, empty;
  (void)unused;
  begin_with(&full, "collect=off");
  begin_with(&empty, "collect=off,verify=on");
  struct node *foreign = NULL;
  {
    TARN_FRAME(empty.self, &foreign);
    foreign = new_node(&full, NULL, NULL, 7);
    collect(&empty); /* the process's first collection, in a world without an arena */
    struct node *own = new_node(&empty, foreign, NULL, 0);
    TARN_FRAME(empty.self, &own);
    collect(&empty);
    assert_int_equal(stats_of(&empty).live_objects, 1);
  }
  collect(&full);
  assert_int_equal(stats_of(&full).live_objects, 0);
  end(&empty);
  end(&full);
}

static void tagged_words_keep_their_object(void **unused) {
  struct state state;
  (void)unused;
  begin_with(&state, "verify=on,collect=off");
  {
    assert_int_equal(tarn_world_set_tag_mask(state.world, 8), TARN_EINVAL);
    assert_int_equal(tarn_world_set_tag_mask(state.world, 7), TARN_OK);
    struct node *kept = new_node(&state, NULL, NULL, 0);
    TARN_FRAME(state.self, &kept);
    kept->left = (struct node *)((uintptr_t)new_node(&state, NULL, NULL, 0) | 5);
    collect(&state);
    assert_int_equal(stats_of(&state).live_objects, 2);
    assert_int_equal(tarn_world_set_tag_mask(state.world, 0), TARN_EBUSY);
  }
  end(&state);
}

static void an_object_freed_by_hand_stays_free(void **unused) {
  struct state state;
  (void)unused;
  begin_with(&state, "verify=on,collect=off");
  {
    struct array *all = tarn_new_array(state.self, state.array, 5000);
    TARN_FRAME(state.self, &all);
    for (int round = 0; round < 3; round++) {
      for (size_t i = 0; i < 5000; i++)
        all->elements[i] = new_node(&state, NULL, NULL, i);
      if (round)
        collect(&state); /* freed both before and after the sweep has passed */
      for (size_t i = 0; i < 5000; i += 2)
        tarn_free(state.self, all->elements[i]); /* the stale words stay in the slots */
      collect(&state);
      assert_int_equal(stats_of(&state).live_objects, 2501);
    }
  }
  end(&state);
}

/* --- shapes that are hard to mark ------------------------------------------------------------ */

static void a_list_of_five_million_nodes_is_marked(void **unused) {
  struct state state;
  (void)unused;
  begin_with(&state, "collect=off");
  {
    struct node *list = NULL;
    TARN_FRAME(state.self, &list);
    for (uintptr_t i = 0; i < 5000000; i++) {
      struct node *node = tarn_new(state.self, state.node);
      node->left = list;
      list = node;
    }
    collect(&state);
    assert_int_equal(stats_of(&state).live_objects, 5000000);
    collect(&state);
    assert_int_equal(stats_of(&state).live_objects, 5000000);
  }
  end(&state);
}

static struct node *tree(const struct state *state, int depth) {
  struct node *left = NULL, *right = NULL;
  TARN_FRAME(state->self, &left, &right);
  if (depth > 0) {
    left = tree(state, depth - 1);
    right = tree(state, depth - 1);
  }
  return new_node(state, left, right, (uintptr_t)depth);
}

/* A long list whose nodes each hang on a wide array too: nothing fits into 4 KiB. */
static void an_exhausted_mark_stack_loses_nothing(void **unused) {
  struct state state;
  (void)unused;
  begin_with(&state, "collect=off,mark-stack=4K,verify=on");
  {
    struct array *arrays[4] = {NULL};
    TARN_FRAME(state.self, &arrays[0], &arrays[1], &arrays[2], &arrays[3]);
    size_t objects = 0;
    for (int a = 0; a < 4; a++) {
      arrays[a] = tarn_new_array(state.self, state.array, 3000);
      for (size_t i = 0; i < 3000; i++) {
        arrays[a]->elements[i] = tree(&state, 4);
        objects += 31;
      }
    }
    collect(&state);
    assert_int_equal(stats_of(&state).live_objects, objects + 4);
    assert_true(stats_of(&state).mark_overflows > 0);
    collect(&state);
    assert_int_equal(stats_of(&state).live_objects, objects + 4);
  }
  end(&state);
}

/* All 64 bits of a type, each with a node of its own: how much room the stack has left before an
 * object comes in every amount there is. */
static void wide_objects_stay_within_a_small_mark_stack(void **unused) {
  enum { WIDE = 300, SLOTS = 63 };
  struct wide {
    const tarn_type *type;
    void *slots[SLOTS];
  };
  struct state state;
  (void)unused;
  begin_with(&state, "collect=off,mark-stack=4K,verify=on");
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = "wide";
  spec.size = sizeof(struct wide);
  spec.flags = TARN_TYPE_ALL_TRACED;
  const tarn_type *type = make_type(state.world, &spec);
  {
    struct array *all = tarn_new_array(state.self, state.array, WIDE);
    TARN_FRAME(state.self, &all);
    for (size_t i = 0; i < WIDE; i++) {
      struct wide *wide = tarn_new(state.self, type);
      assert_non_null(all->elements[i] = wide);
      for (size_t slot = 0; slot < SLOTS - i % SLOTS; slot++)
        wide->slots[slot] = new_node(&state, NULL, NULL, slot);
    }
    collect(&state);
    size_t live = stats_of(&state).live_objects;
    assert_true(stats_of(&state).mark_overflows > 0);
    collect(&state);
    assert_int_equal(stats_of(&state).live_objects, live);
    for (size_t i = 0; i < WIDE; i++)
      for (size_t slot = 0; slot < SLOTS - i % SLOTS; slot++)
        assert_int_equal(((struct node *)((struct wide *)all->elements[i])->slots[slot])->value,
                         slot);
  }
  end(&state);
}

static void a_large_array_is_marked_in_pieces(void **unused) {
  struct state state;
  (void)unused;
  begin_with(&state, "collect=off");
  {
    struct array *array = tarn_new_array(state.self, state.array, 1000000);
    TARN_FRAME(state.self, &array);
    for (size_t i = 0; i < 1000000; i += 3)
      array->elements[i] = new_node(&state, NULL, NULL, i);
    collect(&state);
    assert_int_equal(stats_of(&state).live_objects, 333335);
    for (size_t i = 0; i < 1000000; i += 3)
      assert_int_equal(((struct node *)array->elements[i])->value, i);
    /* The stack held pieces of the array, never a million words. */
    assert_true(state.world->collector->marker.capacity <= 16384);
  }
  end(&state);
}

/* --- `free` functions ------------------------------------------------------------------------ */

#define RESOURCES 20000
struct resource {
  const tarn_type *type;
  unsigned char *count;
};
static unsigned char released[RESOURCES];
static tarn_thread *allocating; /* set around allocations: no `free` function may run inside one */

static void count_release(tarn_world *world, void *object) {
  (void)world;
  assert_null(allocating);
  ++*((struct resource *)object)->count;
}

static const tarn_type *resource_type(const struct state *state) {
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = "resource";
  spec.size = sizeof(struct resource);
  spec.free = count_release;
  return make_type(state->world, &spec);
}

static void free_functions_run_once_and_never_inside_an_allocation(void **unused) {
  struct state state;
  (void)unused;
  memset(released, 0, sizeof released);
  begin_with(&state, "min-heap=64K,verify=on");
  const tarn_type *type = resource_type(&state);
  struct resource *kept = NULL;
  {
    TARN_FRAME(state.self, &kept);
    for (size_t i = 0; i < RESOURCES; i++) {
      allocating = state.self;
      struct resource *resource = tarn_new(state.self, type);
      (void)tarn_new_array(state.self, state.array, 10);
      allocating = NULL;
      assert_non_null(resource);
      resource->count = &released[i];
      if (i == 77)
        kept = resource;
      if (i % 100 == 0)
        tarn_safepoint(state.self);
    }
    collect(&state);
    for (size_t i = 0; i < RESOURCES; i++)
      assert_int_equal(released[i], i != 77);
    assert_int_equal(stats_of(&state).release_pending, 0);
    assert_int_equal(stats_of(&state).released, RESOURCES - 1);
    collect(&state);
    assert_int_equal(stats_of(&state).released, RESOURCES - 1);
  }
  end(&state);
  assert_int_equal(released[77], 1); /* the end of the world releases what is left */
}

static void due_free_functions_survive_collections(void **unused) {
  struct state state;
  (void)unused;
  memset(released, 0, sizeof released);
  begin_with(&state, "collect=off,verify=on");
  const tarn_type *type = resource_type(&state);
  for (size_t i = 0; i < 1000; i++)
    ((struct resource *)tarn_new(state.self, type))->count = &released[i];
  /* Collections that release nothing: what an allocation would do. */
  for (int i = 0; i < 3; i++)
    assert_int_equal(
        tarn_collector_run(state.world, tarn_mutator_of(state.self), TARN_GENERATION_FULL, false),
        TARN_OK);
  assert_int_equal(released[0], 0);
  assert_true(stats_of(&state).release_pending > 0);
  size_t ran = tarn_release_pending(state.self, 1);
  assert_true(ran >= 1);
  ran += tarn_release_pending(state.self, 0);
  assert_int_equal(ran, 1000);
  for (size_t i = 0; i < 1000; i++)
    assert_int_equal(released[i], 1);
  end(&state);
}

static void a_large_object_is_released_too(void **unused) {
  struct state state;
  (void)unused;
  released[0] = 0;
  begin_with(&state, "collect=off,verify=on");
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = "large resource";
  spec.size = 100000;
  spec.free = count_release;
  const tarn_type *type = make_type(state.world, &spec);
  struct resource *large = tarn_new(state.self, type);
  large->count = &released[0];
  {
    TARN_FRAME(state.self, &large);
    collect(&state);
    assert_int_equal(released[0], 0);
    assert_int_equal(stats_of(&state).large_objects, 1);
  }
  collect(&state);
  assert_int_equal(released[0], 1);
  assert_int_equal(stats_of(&state).large_objects, 0);
  assert_int_equal(stats_of(&state).heap_bytes, 0);
  end(&state);
}

/* --- heaps that go --------------------------------------------------------------------------- */

static void a_dropped_heap_releases_and_forgets(void **unused) {
  struct state state;
  tarn_heap *heap;
  (void)unused;
  memset(released, 0, sizeof released);
  begin_with(&state, "collect=off");
  for (int round = 0; round < 4; round++) {
    assert_int_equal(tarn_heap_create(state.world, TARN_HEAP_CONTAINER, &heap), TARN_OK);
    tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
    spec.name = "resource of a heap";
    spec.size = sizeof(struct resource);
    spec.free = count_release;
    spec.heap = heap;
    const tarn_type *type = make_type(state.world, &spec);
    spec.free = NULL;
    spec.size = 40000;
    const tarn_type *large = make_type(state.world, &spec);
    struct resource *first = NULL;
    for (size_t i = 0; i < 5000; i++) {
      first = tarn_new(state.self, type);
      first->count = &released[i];
    }
    (void)tarn_new(state.self, large);
    void *weak = tarn_weak_new(state.self, first);
    TARN_FRAME(state.self, &weak, &first);
    if (round % 2)
      collect(&state);
    assert_int_equal(tarn_heap_destroy(state.self, heap), TARN_OK);
    assert_null(tarn_weak_get(state.self, weak));
    for (size_t i = 0; i < 5000; i++)
      assert_int_equal(released[i], round + 1);
    assert_int_equal(stats_of(&state).large_objects, 0);
    assert_int_equal(stats_of(&state).heaps, 2);
  }
  assert_int_equal(tarn_heap_destroy(state.self, tarn_world_heap(state.world, TARN_HEAP_ATOMIC)),
                   TARN_EINVAL);
  collect(&state);
  end(&state);
}

/* --- conservative roots ---------------------------------------------------------------------- */

#if defined(__x86_64__)
static __attribute__((noinline)) void wipe_the_stack(void) {
  char bytes[20000];
  memset(bytes, 0, sizeof bytes);
  __asm__ __volatile__("" ::"r"(bytes) : "memory");
}

static __attribute__((noinline)) uintptr_t new_hidden(const struct state *state) {
  return ~(uintptr_t)new_node(state, NULL, NULL, 5);
}

/* Puts the object into the register alone, collects, and takes it away again. */
#define COLLECT_WITH(reg)                                                                    \
  do {                                                                                       \
    uintptr_t hidden = new_hidden(&state);                                                   \
    wipe_the_stack();                                                                        \
    __asm__ __volatile__("movq %0, %%" reg "\n\tnotq %%" reg "\n\tmovq %1, %%rdi\n\t"        \
                         "movl $2, %%esi\n\tcall *%2\n\txorq %%" reg ", %%" reg              \
                         :                                                                   \
                         : "m"(hidden), "m"(state.self), "m"(function)                       \
                         : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", reg, \
                           "memory", "cc");                                                  \
    assert_int_equal(*tarn_mark_byte(~hidden), state.world->store.epoch);                    \
  } while (0)

static void an_object_in_a_register_of_the_collecting_thread_is_kept(void **unused) {
  struct state state;
  tarn_status (*function)(tarn_thread *, int) = tarn_collect;
  (void)unused;
  begin_with(&state, "collect=off,scan-stack=on");
  for (int i = 0; i < 2; i++) {
    COLLECT_WITH("rbx");
    COLLECT_WITH("r12");
    COLLECT_WITH("r13");
    COLLECT_WITH("r14");
    COLLECT_WITH("r15");
  }
  end(&state);
}
#endif

/* --- limits ---------------------------------------------------------------------------------- */

static void the_hard_limit_collects_then_fails_then_goes_on(void **unused) {
  struct state state;
  (void)unused;
  begin_with(&state, "hard-limit=8M,min-heap=1G,verify=on");
  struct node *list = NULL;
  {
    TARN_FRAME(state.self, &list);
    struct node *node;
    while ((node = tarn_new(state.self, state.node))) {
      node->left = list;
      list = node;
    }
    assert_int_equal(tarn_thread_status(state.self), TARN_ELIMIT);
    assert_true(stats_of(&state).collections > 0);
    assert_true(stats_of(&state).heap_bytes <= (8u << 20));
    assert_null(tarn_new_array(state.self, state.array, 1u << 20));
    assert_int_equal(tarn_thread_status(state.self), TARN_ELIMIT);
    size_t length = 0;
    for (node = list; node; node = node->left)
      length++;
    assert_true(length > 200000);
  }
  list = NULL;
  assert_non_null(tarn_new(state.self, state.node)); /* collects and succeeds */
  end(&state);
}

/* The option `collect` is about collections that come by themselves; tarn_collect_disable is
 * strict. */
static void a_limit_collects_also_where_automatic_collection_is_off(void **unused) {
  struct state state;
  (void)unused;
  begin_with(&state, "collect=off,hard-limit=4M,verify=on");
  for (int i = 0; i < 500000; i++)
    assert_non_null(tarn_new(state.self, state.node));
  assert_true(stats_of(&state).collections > 0);
  tarn_collect_disable(state.world);
  int made = 0;
  while (made < 500000 && tarn_new(state.self, state.node))
    made++;
  assert_true(made < 500000);
  assert_int_equal(tarn_thread_status(state.self), TARN_ELIMIT);
  assert_int_equal(tarn_collect_enable(state.world), TARN_OK);
  assert_non_null(tarn_new(state.self, state.node));
  end(&state);
}

static size_t raises;
static size_t raise(tarn_world *world, size_t limit, size_t in_use, void *data) {
  (void)world;
  assert_ptr_equal(data, &raises);
  assert_true(in_use <= limit);
  return ++raises == 1 ? limit * 2 : 0;
}

static void the_near_limit_callback_raises_the_limit(void **unused) {
  struct state state;
  (void)unused;
  raises = 0;
  begin_with(&state, "hard-limit=8M,min-heap=1M,near-limit=80");
  {
    assert_int_equal(tarn_world_set_near_limit(state.world, raise, &raises), TARN_OK);
    struct node *list = NULL;
    TARN_FRAME(state.self, &list);
    struct node *node;
    while ((node = tarn_new(state.self, state.node))) {
      node->left = list;
      list = node;
    }
    assert_true(raises >= 2);
    assert_true(stats_of(&state).heap_bytes > (8u << 20));
    assert_true(stats_of(&state).heap_bytes <= (16u << 20));
  }
  end(&state);
}

static void the_soft_limit_makes_collections_come_sooner(void **unused) {
  uint64_t collections[2];
  (void)unused;
  for (int i = 0; i < 2; i++) {
    struct state state;
    begin_with(&state, i ? "min-heap=16M,soft-limit=4M" : "min-heap=16M");
    for (int k = 0; k < 3000000; k++)
      assert_non_null(tarn_new(state.self, state.node));
    collections[i] = stats_of(&state).collections;
    end(&state);
  }
  assert_true(collections[0] >= 3);
  if (TARN_ZEAL) /* most collections are zeal's */
    assert_true(collections[1] >= collections[0]);
  else
    assert_true(collections[1] > 2 * collections[0]);
}

static void memory_goes_back_after_a_peak(void **unused) {
  struct state state;
  (void)unused;
  begin_with(&state, "min-heap=1M");
  struct node *kept = tree(&state, 17);
  {
    TARN_FRAME(state.self, &kept);
    collect(&state);
  }
  kept = NULL;
  collect(&state);
  tarn_stats stats = stats_of(&state);
  assert_int_equal(stats.heap_bytes, 0);
  assert_true(stats.returned_bytes >= (6u << 20));
  end(&state);
}

static void no_collection_inside_a_hold_or_when_disabled(void **unused) {
  struct state state;
  (void)unused;
  begin_with(&state, "min-heap=64K");
  tarn_gc_hold(state.self);
  assert_int_equal(tarn_collect(state.self, 2), TARN_EHELD);
  for (int i = 0; i < 100000; i++)
    assert_non_null(tarn_new(state.self, state.node));
  assert_int_equal(stats_of(&state).collections, 0);
  tarn_gc_release(state.self);
  tarn_collect_disable(state.world);
  for (int i = 0; i < 100000; i++)
    assert_non_null(tarn_new(state.self, state.node));
  assert_int_equal(stats_of(&state).collections, 0);
  assert_int_equal(tarn_collect_enable(state.world), TARN_OK);
  assert_int_equal(tarn_collect_enable(state.world), TARN_EUNBALANCED);
  for (int i = 0; i < 100000; i++)
    assert_non_null(tarn_new(state.self, state.node));
  assert_true(stats_of(&state).collections > 0);
  assert_int_equal(tarn_collect(state.self, 3), TARN_EINVAL);
  assert_int_equal(tarn_collect(state.self, -1), TARN_EINVAL);
  end(&state);
}

static void a_data_block_lives_and_dies_with_its_object(void **unused) {
  struct state state;
  (void)unused;
  begin_with(&state, "collect=off,verify=on");
  uint32_t traced[] = {1};
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = "instance";
  spec.size = 16;
  spec.data_size = 24;
  spec.data_slots = traced;
  spec.data_slot_count = 1;
  const tarn_type *type = make_type(state.world, &spec);
  struct {
    const tarn_type *type;
    uintptr_t *data;
  } *instance = tarn_new(state.self, type);
  {
    TARN_FRAME(state.self, &instance);
    assert_non_null(instance->data);
    instance->data[1] = (uintptr_t)new_node(&state, NULL, NULL, 42);
    instance->data[0] = (uintptr_t)new_node(&state, NULL, NULL, 43); /* raw: keeps nothing */
    collect(&state);
    assert_int_equal(stats_of(&state).live_objects, 3);
    assert_int_equal(((struct node *)instance->data[1])->value, 42);
  }
  instance = NULL;
  collect(&state);
  assert_int_equal(stats_of(&state).live_objects, 0);
  end(&state);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_word_beside_a_block_keeps_nothing),
    cmocka_unit_test(a_raw_block_is_never_scanned),
    cmocka_unit_test(words_of_another_world_are_ignored),
    cmocka_unit_test(everything_reachable_is_kept_and_the_rest_goes),
    cmocka_unit_test(a_trace_function_may_visit_any_number),
    cmocka_unit_test(cycles_are_garbage),
    cmocka_unit_test(garbage_memory_is_used_again_zeroed),
    cmocka_unit_test(any_word_may_stand_in_a_slot),
    cmocka_unit_test(tagged_words_keep_their_object),
    cmocka_unit_test(an_object_freed_by_hand_stays_free),
    cmocka_unit_test(a_list_of_five_million_nodes_is_marked),
    cmocka_unit_test(an_exhausted_mark_stack_loses_nothing),
    cmocka_unit_test(wide_objects_stay_within_a_small_mark_stack),
    cmocka_unit_test(a_large_array_is_marked_in_pieces),
    cmocka_unit_test(free_functions_run_once_and_never_inside_an_allocation),
    cmocka_unit_test(due_free_functions_survive_collections),
    cmocka_unit_test(a_large_object_is_released_too),
    cmocka_unit_test(a_dropped_heap_releases_and_forgets),
#if defined(__x86_64__)
    cmocka_unit_test(an_object_in_a_register_of_the_collecting_thread_is_kept),
#endif
    cmocka_unit_test(the_hard_limit_collects_then_fails_then_goes_on),
    cmocka_unit_test(a_limit_collects_also_where_automatic_collection_is_off),
    cmocka_unit_test(the_near_limit_callback_raises_the_limit),
    cmocka_unit_test(the_soft_limit_makes_collections_come_sooner),
    cmocka_unit_test(memory_goes_back_after_a_peak),
    cmocka_unit_test(no_collection_inside_a_hold_or_when_disabled),
    cmocka_unit_test(a_data_block_lives_and_dies_with_its_object),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
