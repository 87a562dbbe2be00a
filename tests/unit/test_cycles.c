/* SPDX-License-Identifier: MIT */
/*
 * Worlds that count references: what a collection of cycles frees and keeps, in which order
 * functions run, and what becomes of counts.
 *
 * Most tests compare with a model that keeps a shadow of each graph: an object lives if a reference
 * from outside leads to it through others.
 */
#include "support.h"

#include <stdatomic.h>
#include <unistd.h>

#include "collect/collector.h"

struct node {
  const tarn_type *type;
  struct node *left, *right;
  size_t refs;
  uintptr_t id;
  void *leaf;
};
struct array {
  const tarn_type *type;
  size_t count;
  size_t refs;
  uintptr_t id;
  struct node *elements[];
};
struct leaf {
  const tarn_type *type;
  uint32_t refs, other;
};

#define IDS 200010u
static unsigned char freed[IDS], finalized[IDS], cleared[IDS];
static uintptr_t ids;

struct fixture {
  tarn_world *world;
  tarn_thread *self;
  const tarn_type *node, *plain, *leaf, *array;
};

static tarn_world *counting_world(const char *set) {
  tarn_options options = TARN_OPTIONS_INIT;
  tarn_world *world = NULL;
  char text[256];
  (void)snprintf(text, sizeof text, "%s%s", set, SUPPORT_ZEAL ? ",zeal=1000000000" : "");
  options.set = text;
  options.flags = TARN_OPTIONS_NO_ENVIRONMENT | TARN_OPTIONS_COUNTING;
  assert_int_equal(tarn_world_create(&options, &world), TARN_OK);
  return world;
}

static bool allocating; /* functions of types are not to run then, but where memory is short */

static void count_free(tarn_world *world, void *object) {
  (void)world;
  assert_true(!allocating || atomic_load(&world->store.limit) != SIZE_MAX);
  freed[((struct node *)object)->id]++;
}
static void count_array_free(tarn_world *world, void *object) {
  (void)world;
  freed[((struct array *)object)->id]++;
}

static tarn_type_spec node_spec(void) {
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = "node";
  spec.size = sizeof(struct node);
  spec.slot_bits = 1u << 1 | 1u << 2 | 1u << 5;
  spec.refs_at = offsetof(struct node, refs);
  return spec;
}

static const tarn_type *make_type(tarn_world *world, const tarn_type_spec *spec) {
  tarn_status status;
  const tarn_type *type = tarn_type_create(world, spec, &status);
  assert_int_equal(status, TARN_OK);
  return type;
}

static struct fixture begin(const char *set) {
  struct fixture f = {.world = counting_world(set)};
  f.self = support_attach(f.world);
  tarn_type_spec spec = node_spec();
  f.plain = make_type(f.world, &spec);
  spec.free = count_free;
  f.node = make_type(f.world, &spec);
  spec = (tarn_type_spec){.struct_size = sizeof spec,
                          .name = "leaf",
                          .size = sizeof(struct leaf),
                          .refs_at = offsetof(struct leaf, refs),
                          .refs_size = 4};
  f.leaf = make_type(f.world, &spec);
  spec = (tarn_type_spec){.struct_size = sizeof spec,
                          .name = "array",
                          .size = sizeof(struct array),
                          .refs_at = offsetof(struct array, refs),
                          .element_size = 8,
                          .flags = TARN_TYPE_ELEMENTS_TRACED,
                          .free = count_array_free};
  f.array = make_type(f.world, &spec);
  memset(freed, 0, sizeof freed);
  memset(finalized, 0, sizeof finalized);
  memset(cleared, 0, sizeof cleared);
  ids = 0;
  return f;
}

static void end(struct fixture *f) {
  support_verify(f->self);
  assert_int_equal(tarn_thread_detach(f->self), TARN_OK);
  support_end(f->world);
}

static void collect(struct fixture *f, int generation) {
  assert_int_equal(tarn_collect_cycles(f->self, generation), TARN_OK);
  support_verify(f->self);
}

/* With one reference, the caller's. */
static struct node *make(struct fixture *f, const tarn_type *type) {
  allocating = true;
  struct node *node = tarn_new(f->self, type);
  allocating = false;
  assert_non_null(node);
  node->refs = 1;
  node->id = ids++;
  assert_true(ids < IDS);
  return node;
}

static struct node *share(struct node *node) {
  __atomic_fetch_add(&node->refs, 1, __ATOMIC_RELAXED);
  return node;
}

/* A circle of `count` nodes; the caller has a reference to the first one only. */
static struct node *make_ring(struct fixture *f, const tarn_type *type, size_t count) {
  struct node *first = make(f, type), *last = first;
  for (size_t i = 1; i < count; i++) {
    last->left = make(f, type);
    last = last->left;
  }
  last->left = share(first);
  return first;
}

static unsigned count_freed(uintptr_t from, uintptr_t to) {
  unsigned count = 0;
  for (uintptr_t i = from; i < to; i++) {
    assert_true(freed[i] <= 1);
    count += freed[i];
  }
  return count;
}

/* --- rings ----------------------------------------------------------------------------------- */

static void a_ring_goes_when_nothing_else_refers_to_it(void **state) {
  (void)state;
  struct fixture f = begin("collect=0");
  struct node *kept = make_ring(&f, f.node, 10), *gone = make_ring(&f, f.node, 10);
  collect(&f, 2);
  assert_int_equal(count_freed(0, 20), 0);
  tarn_unref(f.self, gone);
  assert_int_equal(count_freed(0, 20), 0); /* no count is zero */
  collect(&f, 2);
  assert_int_equal(count_freed(0, 10), 0);
  assert_int_equal(count_freed(10, 20), 10);
  for (unsigned i = 0; i < 10; i++, kept = kept->left)
    assert_int_equal(kept->refs, i == 0 ? 2 : 1);
  tarn_unref(f.self, kept);
  collect(&f, 2);
  assert_int_equal(count_freed(0, 20), 20);
  assert_int_equal(support_stats(f.world).pools, 0);
  end(&f);
}

static void what_garbage_refers_to_loses_its_references(void **state) {
  (void)state;
  struct fixture f = begin("collect=0");
  struct node *outside = make(&f, f.node), *ring = make_ring(&f, f.node, 5);
  struct leaf *leaf = tarn_new(f.self, f.leaf), *own = tarn_new(f.self, f.leaf);
  leaf->refs = 2;
  own->refs = 1;
  ring->right = share(outside);
  ring->left->right = make(&f, f.node); /* known to garbage only, and in no circle */
  ring->left->leaf = leaf;
  ring->left->left->leaf = own;
  tarn_unref(f.self, ring);
  collect(&f, 2);
  assert_int_equal(count_freed(1, 7), 6);
  assert_int_equal(outside->refs, 1);
  assert_int_equal(leaf->refs, 1);
  assert_null(own->type); /* freed, and nothing was allocated since */
  tarn_unref(f.self, outside);
  assert_int_equal(count_freed(0, 7), 7);
  tarn_unref(f.self, leaf);
  assert_null(leaf->type);
  end(&f);
}

/* --- graphs, against a model ----------------------------------------------------------------- */

#define NODES 3000u
struct model {
  struct node *nodes[NODES];
  bool held[NODES], lives[NODES];
};
static struct model model;

static uint64_t next_random(uint64_t *seed) {
  *seed ^= *seed << 13;
  *seed ^= *seed >> 7;
  *seed ^= *seed << 17;
  return *seed;
}

static void visit_model(const struct node *node) {
  if (!node || model.lives[node->id])
    return;
  model.lives[node->id] = true;
  visit_model(node->left); /* deep, but a few thousand at most */
  visit_model(node->right);
}

static void build_model(struct fixture *f, uint64_t *seed, unsigned held_of_100) {
  memset(&model, 0, sizeof model);
  for (unsigned i = 0; i < NODES; i++) {
    model.nodes[i] = make(f, i % 3 ? f->plain : f->node);
    model.held[i] = true;
  }
  for (unsigned i = 0; i < NODES; i++) {
    if (next_random(seed) % 4)
      model.nodes[i]->left = share(model.nodes[next_random(seed) % NODES]);
    if (next_random(seed) % 4)
      model.nodes[i]->right = share(model.nodes[next_random(seed) % NODES]);
  }
  for (unsigned i = 0; i < NODES; i++)
    if (next_random(seed) % 100 >= held_of_100) {
      model.held[i] = false;
      model.nodes[i]->refs--; /* perhaps to zero: then it is not the library's */
    }
  for (unsigned i = 0; i < NODES; i++)
    if (model.nodes[i]->refs == 0) {
      model.held[i] = true;
      model.nodes[i]->refs = 1;
    }
}

static bool note_block(const tarn_block_info *info, void *data) {
  bool *there = data;
  there[((struct node *)info->block)->id] = true;
  return true;
}

static void check_model(struct fixture *f) {
  static bool there[IDS];
  memset(there, 0, sizeof there);
  assert_int_equal(tarn_heap_walk(f->self, note_block, there), TARN_OK);
  memset(model.lives, 0, sizeof model.lives);
  for (unsigned i = 0; i < NODES; i++)
    if (model.held[i])
      visit_model(model.nodes[i]);
  for (unsigned i = 0; i < NODES; i++) {
    assert_int_equal(there[i], model.lives[i]);
    if (i % 3 == 0)
      assert_int_equal(freed[i], !model.lives[i]);
  }
  /* Counts are those of the references that are left. */
  static size_t counts[NODES];
  memset(counts, 0, sizeof counts);
  for (unsigned i = 0; i < NODES; i++) {
    counts[i] += model.held[i];
    if (model.lives[i] && model.nodes[i]->left)
      counts[model.nodes[i]->left->id]++;
    if (model.lives[i] && model.nodes[i]->right)
      counts[model.nodes[i]->right->id]++;
  }
  for (unsigned i = 0; i < NODES; i++)
    if (model.lives[i])
      assert_int_equal(model.nodes[i]->refs, counts[i]);
}

static void random_graphs_lose_what_nobody_reaches(void **state) {
  (void)state;
  static const unsigned helds[] = {0, 1, 5, 20, 60, 100};
  uint64_t seed = 88172645463325252u;
  for (unsigned i = 0; i < sizeof helds / sizeof *helds; i++)
    for (int links = 0; links <= 1; links++) { /* noted in the first pass, or traced again */
      struct fixture f = begin("collect=0");
      if (!links)
        f.world->collector->cycles.links.most = 0;
      build_model(&f, &seed, helds[i]);
      collect(&f, 2);
      check_model(&f);
      collect(&f, 2);
      check_model(&f);
      end(&f);
    }
}

static void known_roots_make_no_difference_but_in_work(void **state) {
  (void)state;
  uint64_t seed = 1234567;
  struct fixture f = begin("collect=0");
  build_model(&f, &seed, 10);
  for (unsigned i = 0; i < NODES; i++)
    if (model.held[i] && i % 2)
      assert_int_equal(tarn_root_add(f.world, (void **)&model.nodes[i]), TARN_OK);
  const struct tarn_cycles *cycles = &f.world->collector->cycles;
  for (int i = 0; i < 3; i++) {
    collect(&f, 2);
    assert_true(cycles->looked_at < NODES / 2);
    check_model(&f);
  }
  end(&f);
}

static struct node *make_tree(struct fixture *f, unsigned depth) {
  struct node *node = make(f, f->plain);
  if (depth) {
    node->left = make_tree(f, depth - 1);
    node->right = make_tree(f, depth - 1);
  }
  return node;
}

static void helpers_mark_what_known_roots_reach(void **state) {
  (void)state;
  struct fixture f = begin("collect=0,markers=2");
  struct node *root = make_tree(&f, 15);
  assert_int_equal(tarn_root_add(f.world, (void **)&root), TARN_OK);
  const struct tarn_collector *collector = f.world->collector;
  collect(&f, 2);
  assert_int_equal(__atomic_load_n(&collector->markers.threads, __ATOMIC_RELAXED), 1);
  for (int i = 0; i < 3; i++) {
    collect(&f, 2);
    assert_int_equal(collector->cycles.looked_at, 0);
  }
  end(&f);
}

static void helpers_are_there_when_the_first_collection_has_much_to_mark(void **state) {
  (void)state;
  struct fixture f = begin("collect=0,markers=2");
  struct array *array = tarn_new_array(f.self, f.array, 5u << 20);
  assert_non_null(array);
  array->refs = 1;
  array->id = ids++;
  assert_int_equal(tarn_collect_cycles(f.self, 1), TARN_OK);
  assert_int_equal(__atomic_load_n(&f.world->collector->markers.threads, __ATOMIC_RELAXED), 0);
  collect(&f, 2);
  assert_int_equal(__atomic_load_n(&f.world->collector->markers.threads, __ATOMIC_RELAXED), 1);
  tarn_unref(f.self, array);
  end(&f);
}

static void what_was_known_once_is_garbage_like_the_rest(void **state) {
  (void)state;
  struct fixture f = begin("collect=0");
  struct node *other = make(&f, f.node), *known = make_ring(&f, f.node, 10), *ring = known;
  assert_int_equal(tarn_root_add(f.world, (void **)&other), TARN_OK);
  assert_int_equal(tarn_root_add(f.world, (void **)&known), TARN_OK);
  collect(&f, 2);
  known = NULL; /* its reference is in `ring` now */
  collect(&f, 2);
  tarn_unref(f.self, ring);
  collect(&f, 2);
  assert_int_equal(count_freed(1, 11), 10);
  tarn_unref(f.self, other);
  other = NULL;
  end(&f);
}

/* --- generations ------------------------------------------------------------------------------ */

static void each_generation_finds_garbage_of_its_age(void **state) {
  (void)state;
  for (int age = 0; age <= 2; age++)
    for (int generation = 0; generation <= 2; generation++) {
      struct fixture f = begin("collect=0");
      collect(&f, 2); /* the first one is a full one */
      struct node *ring = make_ring(&f, f.node, 2000);
      for (int i = 0; i < age; i++)
        collect(&f, i);
      tarn_unref(f.self, ring);
      collect(&f, generation);
      assert_int_equal(count_freed(0, 2000), generation >= age ? 2000 : 0);
      collect(&f, 2);
      assert_int_equal(count_freed(0, 2000), 2000);
      end(&f);
    }
}

static void references_from_older_objects_keep_young_ones(void **state) {
  (void)state;
  struct fixture f = begin("collect=0");
  struct node *old = make(&f, f.node);
  collect(&f, 2);
  old->left = make_ring(&f, f.node, 100); /* the reference is old's now; no barrier */
  for (int i = 0; i <= 2; i++) {
    collect(&f, i);
    assert_int_equal(count_freed(0, 101), 0);
  }
  tarn_unref(f.self, old); /* gives up the ring, too */
  assert_int_equal(count_freed(0, 101), 1);
  collect(&f, 0);
  assert_int_equal(count_freed(0, 101), 1);
  collect(&f, 2);
  assert_int_equal(count_freed(0, 101), 101);
  end(&f);
}

/* --- functions -------------------------------------------------------------------------------- */

static struct node *saved; /* by a finalizer */
static struct fixture *current;
static bool saves;

static void finalize_node(tarn_thread *self, void *object) {
  struct node *node = object;
  assert_ptr_equal(self, current->self);
  assert_int_equal(cleared[node->id], 0);
  finalized[node->id]++;
  if (node->left) /* everything is whole */
    assert_true(node->left->type == node->type || node->left->type == current->node);
  if (saves && node->id % 10 == 3)
    saved = share(node);
  assert_int_equal(tarn_collect_cycles(self, 2), TARN_OK); /* does nothing */
}

static void clear_node(tarn_thread *self, void *object) {
  struct node *node = object, *left = node->left, *right = node->right;
  assert_int_equal(finalized[node->id], node->type == current->node ? 0 : 1);
  cleared[node->id]++;
  node->left = node->right = NULL;
  tarn_unref(self, left);
  tarn_unref(self, right);
}

static const tarn_type *special_type(struct fixture *f, bool finalizes, bool clears) {
  tarn_type_spec spec = node_spec();
  spec.free = count_free;
  spec.finalize = finalizes ? finalize_node : NULL;
  spec.clear = clears ? clear_node : NULL;
  return make_type(f->world, &spec);
}

static void finalizers_run_once_and_before_anything_is_cleared(void **state) {
  (void)state;
  for (int clears = 0; clears <= 1; clears++) {
    struct fixture f = begin("collect=0");
    current = &f;
    saves = false;
    const tarn_type *type = special_type(&f, true, clears);
    tarn_unref(f.self, make_ring(&f, type, 20));
    collect(&f, 2);
    for (unsigned i = 0; i < 20; i++) {
      assert_int_equal(finalized[i], 1);
      assert_int_equal(cleared[i], clears);
    }
    assert_int_equal(count_freed(0, 20), 20);
    end(&f);
  }
}

/* The first collection of a world: its stop, and the one after its finalizers. */
static void the_stop_after_finalizers_counts_as_a_pause(void **state) {
  (void)state;
  for (int finalizes = 0; finalizes <= 1; finalizes++) {
    struct fixture f = begin("collect=0");
    current = &f;
    saves = false;
    tarn_unref(f.self, make_ring(&f, special_type(&f, finalizes, false), 20));
    collect(&f, 2);
    tarn_stats stats = support_stats(f.world);
    if (finalizes)
      assert_true(stats.cycle_pause_total_ns > stats.cycle_pause_last_ns);
    else
      assert_int_equal(stats.cycle_pause_total_ns, stats.cycle_pause_last_ns);
    end(&f);
  }
}

/* The saved one refers to a large object, and that to others: behind thousands that live, and
 * beside some that do not. */
static void what_a_finalizer_saves_lives_with_large_objects_and_what_they_reach(void **state) {
  (void)state;
  enum { ELEMENTS = 2 * TARN_UNIT_SIZE / sizeof(void *), LIVING = 4000, REACHED = 2000 };
  struct fixture f = begin("collect=0");
  current = &f;
  saves = true;
  const tarn_type *type = special_type(&f, true, false);
  struct node *living = make_ring(&f, f.node, LIVING);
  uintptr_t first = ids;
  struct array *array = tarn_new_array(f.self, f.array, ELEMENTS);
  struct array *gone = tarn_new_array(f.self, f.array, ELEMENTS);
  assert_true(array && gone);
  array->id = ids++;
  gone->id = ids++;
  struct node *ring = make_ring(&f, f.node, REACHED);
  while (ids % 10 != 3)
    tarn_unref(f.self, make(&f, f.node));
  uintptr_t saver_id = ids;
  struct node *saver = make(&f, type);
  saver->right = (struct node *)(void *)array;
  array->refs = 1;
  array->elements[0] = saver; /* its reference was ours */
  array->elements[ELEMENTS - 1] = ring;
  gone->refs = 1;
  gone->elements[0] = (struct node *)(void *)gone;
  gone->elements[1] = share(ring);
  collect(&f, 2);
  assert_ptr_equal(saved, saver);
  assert_int_equal(freed[first], 0);
  assert_int_equal(freed[first + 1], 1);
  assert_int_equal(freed[saver_id], 0);
  assert_int_equal(count_freed(first + 2, first + 2 + REACHED), 0);
  assert_int_equal(ring->refs, 2);
  saves = false;
  tarn_unref(f.self, saved);
  collect(&f, 2);
  assert_int_equal(count_freed(0, LIVING), 0);
  assert_int_equal(count_freed(first, saver_id + 1), saver_id + 1 - first);
  tarn_unref(f.self, living);
  collect(&f, 2);
  assert_int_equal(count_freed(0, ids), ids);
  end(&f);
}

static void what_a_finalizer_saves_lives_with_all_it_reaches(void **state) {
  (void)state;
  for (int clears = 0; clears <= 1; clears++) {
    struct fixture f = begin("collect=0");
    current = &f;
    saves = true;
    const tarn_type *type = special_type(&f, true, clears);
    tarn_unref(f.self, make_ring(&f, type, 10));  /* 3 is saved */
    struct node *second = make_ring(&f, type, 3); /* 10 to 12: nobody saves them */
    tarn_unref(f.self, second);
    collect(&f, 2);
    assert_int_equal(count_freed(0, 10), 0);
    assert_int_equal(count_freed(10, 13), 3);
    for (unsigned i = 0; i < 10; i++, saved = saved->left) {
      assert_int_equal(finalized[i], 1);
      assert_int_equal(cleared[i], 0);
      assert_int_equal(saved->refs, i == 0 ? 2 : 1);
    }
    assert_int_equal(support_stats(f.world).cycle_resurrected, 10);
    saves = false;
    collect(&f, 2);
    assert_int_equal(count_freed(0, 10), 0);
    tarn_unref(f.self, saved);
    collect(&f, 2);
    assert_int_equal(count_freed(0, 10), 10);
    for (unsigned i = 0; i < 10; i++)
      assert_int_equal(finalized[i], 1); /* not again */
    /* Their places may be those of others, who have not been finalized. */
    uintptr_t from = ids;
    tarn_unref(f.self, make_ring(&f, type, 500));
    collect(&f, 2);
    for (uintptr_t i = from; i < ids; i++)
      assert_int_equal(finalized[i], 1);
    end(&f);
  }
}

static void types_with_and_without_functions_may_be_in_one_circle(void **state) {
  (void)state;
  struct fixture f = begin("collect=0");
  current = &f;
  saves = false;
  const tarn_type *type = special_type(&f, true, true);
  struct node *a = make(&f, type), *b = make(&f, f.node), *c = make(&f, f.plain);
  struct leaf *leaf = tarn_new(f.self, f.leaf);
  leaf->refs = 1;
  a->left = b;
  b->left = c;
  c->left = a;
  b->right = share(b);
  c->leaf = leaf;
  collect(&f, 2);
  assert_int_equal(count_freed(0, 2), 2);
  assert_null(c->type);
  assert_null(leaf->type);
  assert_int_equal(cleared[0], 1);
  assert_int_equal(finalized[0], 1);
  end(&f);
}

static void objects_that_die_by_their_count_are_finalized_too(void **state) {
  (void)state;
  struct fixture f = begin("collect=0");
  current = &f;
  saves = true;
  const tarn_type *type = special_type(&f, true, false);
  struct node *nodes[5];
  for (unsigned i = 0; i < 5; i++)
    nodes[i] = make(&f, type);
  for (unsigned i = 0; i < 5; i++)
    tarn_unref(f.self, nodes[i]);
  for (unsigned i = 0; i < 5; i++) {
    assert_int_equal(finalized[i], 1);
    assert_int_equal(freed[i], i != 3);
  }
  assert_ptr_equal(saved, nodes[3]);
  tarn_unref(f.self, saved);
  assert_int_equal(freed[3], 1);
  assert_int_equal(finalized[3], 1);
  end(&f);
}

static tarn_thread *dying_self; /* whose objects' functions collect */
static void free_and_collect(tarn_world *world, void *object) {
  count_free(world, object);
  assert_int_equal(tarn_collect_cycles(dying_self, 2), TARN_OK);
}
static void unref_at_once(tarn_thread *self, void *object) {
  struct node *node = object;
  if (--node->refs == 0)
    tarn_free(self, node);
}

static void collections_do_not_look_into_what_is_being_given_back(void **state) {
  (void)state;
  for (int conservative = 0; conservative <= 1; conservative++) {
    struct fixture f = begin(conservative ? "collect=0,scan-stack=1" : "collect=0");
    dying_self = f.self;
    tarn_type_spec spec = node_spec();
    spec.free = free_and_collect;
    const tarn_type *collects = make_type(f.world, &spec);
    spec.free = NULL;
    spec.unref = unref_at_once;
    const tarn_type *at_once = make_type(f.world, &spec);
    struct node *node = make(&f, collects);
    node->left = make(&f, at_once); /* gone when the function runs, and still in the slot */
    tarn_unref(f.self, node);
    assert_int_equal(freed[0], 1);
    end(&f);
  }
}

static void words_of_stacks_may_name_what_is_free(void **state) {
  (void)state;
  struct fixture f = begin("collect=0,scan-stack=1");
  struct node *volatile stale[20];
  for (unsigned i = 0; i < 20; i++)
    stale[i] = make(&f, i % 2 ? f.plain : f.node);
  for (unsigned i = 2; i < 20; i++)
    tarn_unref(f.self, stale[i]);
  collect(&f, 2);
  assert_int_equal(stale[0]->refs, 1);
  for (unsigned i = 0; i < 2; i++)
    tarn_unref(f.self, stale[i]);
  collect(&f, 2);
  end(&f);
}

/* --- shapes ----------------------------------------------------------------------------------- */

static void arrays_of_any_size_are_in_circles(void **state) {
  (void)state;
  static const size_t counts[] = {0, 5, 400, 5000, 100000};
  struct fixture f = begin("collect=0");
  for (unsigned i = 0; i < sizeof counts / sizeof *counts; i++)
    for (int holds = 1; holds >= 0; holds--) {
      struct array *array = tarn_new_array(f.self, f.array, counts[i]);
      array->refs = 1;
      array->id = ids++;
      uintptr_t id = array->id, from = ids;
      for (size_t k = 0; k < counts[i]; k += 97) {
        struct node *node = make(&f, f.node);
        array->elements[k] = node;
        node->left = (struct node *)(void *)array;
        array->refs++;
      }
      if (!holds && counts[i] == 0)
        tarn_unref(f.self, array);
      else if (!holds)
        array->refs--;
      for (int generation = 0; generation <= 2; generation++)
        collect(&f, generation);
      assert_int_equal(freed[id], !holds);
      assert_int_equal(count_freed(from, ids), holds ? 0 : ids - from);
    }
  end(&f);
}

/* More references than are noted in the first pass, and than fit in a visitor: one of those that
 * live keeps all. */
static void dense_graphs_lose_what_nobody_reaches(void **state) {
  (void)state;
  enum { ARRAYS = 60, ELEMENTS = 50 };
  struct array *arrays[ARRAYS];
  for (int holds = 1; holds >= 0; holds--) {
    struct fixture f = begin("collect=0");
    uint64_t seed = 42;
    for (unsigned i = 0; i < ARRAYS; i++) {
      arrays[i] = tarn_new_array(f.self, f.array, ELEMENTS);
      assert_non_null(arrays[i]);
      arrays[i]->id = ids++;
      arrays[i]->refs = holds && i == 0;
    }
    for (unsigned i = 0; i < ARRAYS; i++)
      for (unsigned k = 0; k < ELEMENTS; k++) {
        struct array *to = arrays[k ? next_random(&seed) % ARRAYS : (i + 1) % ARRAYS];
        arrays[i]->elements[k] = (struct node *)(void *)to;
        to->refs++;
      }
    collect(&f, 2);
    assert_int_equal(count_freed(0, ids), holds ? 0 : ARRAYS);
    end(&f);
  }
}

/* The last one, and it alone, has more references than are noted. */
static void a_long_object_keeps_what_its_last_elements_name(void **state) {
  (void)state;
  enum { OTHERS = 5, ELEMENTS = 500 };
  struct fixture f = begin("collect=0");
  struct array *arrays[OTHERS + 1], *last = NULL;
  for (unsigned i = 0; i <= OTHERS; i++) {
    last = arrays[i] = tarn_new_array(f.self, f.array, ELEMENTS);
    assert_non_null(last);
    last->id = ids++;
    last->refs = 1; /* the last one's from outside, the others' from that */
  }
  for (unsigned k = 0; k < ELEMENTS; k++)
    if (k < ELEMENTS - OTHERS) {
      last->elements[k] = (struct node *)(void *)last;
      last->refs++;
    } else {
      last->elements[k] = (struct node *)(void *)arrays[k - (ELEMENTS - OTHERS)];
    }
  collect(&f, 2);
  assert_int_equal(count_freed(0, ids), 0);
  last->refs--;
  collect(&f, 2);
  assert_int_equal(count_freed(0, ids), OTHERS + 1);
  end(&f);
}

/* So many that garbage refers to that they share places in the table of debts. */
static void shared_objects_lose_each_reference_of_garbage(void **state) {
  (void)state;
  enum { SHARED = 2000, NODES_EACH = 7 };
  static struct node *shared[SHARED];
  struct leaf *leaf;
  struct fixture f = begin("collect=0");
  leaf = tarn_new(f.self, f.leaf);
  leaf->refs = 1 + SHARED * NODES_EACH;
  for (unsigned i = 0; i < SHARED; i++)
    shared[i] = make(&f, f.node);
  for (unsigned k = 0; k < NODES_EACH; k++)
    for (unsigned i = 0; i < SHARED; i++) {
      struct node *node = make_ring(&f, f.node, 1);
      node->right = share(shared[i]);
      node->leaf = leaf;
      tarn_unref(f.self, node);
    }
  for (unsigned i = 0; i < SHARED; i += 2)
    tarn_unref(f.self, shared[i]); /* these go with the last of the garbage */
  collect(&f, 2);
  for (unsigned i = 0; i < SHARED; i++) {
    assert_int_equal(freed[i], i % 2 == 0);
    if (i % 2)
      assert_int_equal(shared[i]->refs, 1);
  }
  assert_int_equal(count_freed(SHARED, ids), SHARED * NODES_EACH);
  assert_int_equal(leaf->refs, 1);
  end(&f);
}

/* Though they lie in one pool with new ones. */
static void young_collections_pass_by_what_full_ones_marked(void **state) {
  (void)state;
  enum { OLD = 300, YOUNG = 20 };
  struct fixture f = begin("collect=0");
  const struct tarn_cycles *cycles = &f.world->collector->cycles;
  struct node *old = make_ring(&f, f.node, OLD), *root = old;
  assert_int_equal(tarn_root_add(f.world, (void **)&root), TARN_OK);
  collect(&f, 2);
  for (int i = 0; i < 3; i++) {
    struct node *held = make(&f, f.node), *ring = make_ring(&f, f.node, YOUNG);
    held->right = share(old);
    ring->right = share(old);
    ring->left->right = make(&f, f.node); /* of a place that may have been another's */
    tarn_unref(f.self, ring);
    uintptr_t before = ids - YOUNG - 1;
    collect(&f, 0);
    assert_int_equal(cycles->looked_at, YOUNG + 2);
    assert_int_equal(count_freed(before, ids), YOUNG + 1);
    assert_int_equal(old->refs, 3);
    tarn_unref(f.self, held);
  }
  assert_int_equal(count_freed(0, OLD), 0);
  root = NULL;
  tarn_unref(f.self, old);
  collect(&f, 1); /* for that they are too old */
  assert_int_equal(count_freed(0, OLD), 0);
  collect(&f, 2);
  assert_int_equal(count_freed(0, OLD), OLD);
  end(&f);
}

struct traced {
  const tarn_type *type;
  struct node **box; /* memory of the C library */
  uint32_t local, shared;
};

static void visit_box(const void *object, tarn_visitor *visitor) {
  const struct traced *traced = object;
  tarn_visit(visitor, traced->box ? *traced->box : NULL);
}
static size_t refs_of(const void *object) {
  const struct traced *traced = object;
  return (size_t)traced->local + traced->shared;
}
static void ref_traced(tarn_thread *self, void *object) {
  (void)self;
  ((struct traced *)object)->local++;
}
static void unref_traced(tarn_thread *self, void *object) {
  struct traced *traced = object;
  if (traced->local)
    traced->local--;
  else
    traced->shared--;
  if (refs_of(object) != 0)
    return;
  if (traced->box)
    tarn_unref(self, *traced->box);
  free(traced->box);
  traced->box = NULL;
  tarn_free(self, traced);
}
static void free_traced(tarn_world *world, void *object) {
  (void)world;
  free(((struct traced *)object)->box);
}

static tarn_type_spec traced_spec(void) {
  return (tarn_type_spec){.struct_size = sizeof(tarn_type_spec),
                          .name = "traced",
                          .size = sizeof(struct traced),
                          .trace = visit_box,
                          .free = free_traced,
                          .refs = refs_of,
                          .ref = ref_traced,
                          .unref = unref_traced};
}

static void counts_may_be_split_and_references_anywhere(void **state) {
  (void)state;
  struct fixture f = begin("collect=0");
  tarn_type_spec spec = traced_spec();
  const tarn_type *type = make_type(f.world, &spec);
  for (int holds = 1; holds >= 0; holds--) {
    struct traced *traced = tarn_new(f.self, type);
    traced->local = 1;
    traced->shared = (uint32_t)holds;
    struct node *node = make(&f, f.node);
    traced->box = malloc(sizeof *traced->box);
    *traced->box = node;
    node->left = (struct node *)(void *)traced;
    uintptr_t id = node->id;
    collect(&f, 2);
    assert_int_equal(freed[id], !holds);
    if (holds)
      assert_int_equal(refs_of(traced), 2);
    else
      assert_null(traced->type);
  }
  end(&f);
}

/* A pool's last bytes are too few for a block; an address there looks like a block's start. */
static void words_that_lead_behind_the_last_block_of_a_pool_are_ignored(void **state) {
  (void)state;
  enum { POOLS = 3, BLOCKS = TARN_UNIT_SIZE / sizeof(struct node) };
  struct node *nodes[POOLS * BLOCKS];
  for (int known = 0; known <= 1; known++) {
    struct fixture f = begin("collect=0");
    for (size_t i = 0; i < POOLS * BLOCKS; i++) {
      nodes[i] = make(&f, f.node);
      uintptr_t base = (uintptr_t)nodes[i] & ~(uintptr_t)(TARN_UNIT_SIZE - 1);
      nodes[i]->left = (struct node *)(base + BLOCKS * sizeof(struct node));
      if (known)
        assert_int_equal(tarn_root_add(f.world, (void **)&nodes[i]), TARN_OK);
    }
    collect(&f, 2);
    assert_int_equal(count_freed(0, ids), 0);
    for (size_t i = 0; i < POOLS * BLOCKS; i++) {
      if (known)
        assert_int_equal(tarn_root_remove(f.world, (void **)&nodes[i]), TARN_OK);
      nodes[i]->right = nodes[i]; /* the reference from outside becomes its own */
    }
    collect(&f, 2);
    assert_int_equal(count_freed(0, ids), ids);
    end(&f);
  }
}

static void words_that_lead_into_large_objects_are_ignored(void **state) {
  (void)state;
  enum { ELEMENTS = 4 * TARN_UNIT_SIZE / sizeof(void *) };
  for (int known = 0; known <= 1; known++) {
    struct fixture f = begin("collect=0");
    struct array *array = tarn_new_array(f.self, f.array, ELEMENTS);
    assert_non_null(array);
    array->refs = 1;
    array->id = ids++;
    for (size_t i = 0; i < ELEMENTS; i++)
      array->elements[i] = (struct node *)sizeof(void *); /* no type, if it were the first word */
    struct node *node = make(&f, f.node);
    void *root = node;
    for (size_t unit = 1; unit <= 3; unit++) {
      array->elements[unit] = (struct node *)((uintptr_t)array + unit * TARN_UNIT_SIZE);
      node->left = array->elements[unit];
      if (known)
        assert_int_equal(tarn_root_add(f.world, &root), TARN_OK);
      collect(&f, 2);
      if (known)
        assert_int_equal(tarn_root_remove(f.world, &root), TARN_OK);
    }
    assert_int_equal(count_freed(0, ids), 0);
    tarn_unref(f.self, node);
    tarn_unref(f.self, array);
    assert_int_equal(count_freed(0, ids), ids);
    end(&f);
  }
}

/* In one collection with a type that has a finalizer: the library cannot clear what a trace
 * function visits. */
static void references_that_only_a_trace_function_knows_go_beside_finalizers(void **state) {
  (void)state;
  struct fixture f = begin("collect=0");
  current = &f;
  saves = false;
  const tarn_type *special = special_type(&f, true, false);
  tarn_type_spec spec = {.struct_size = sizeof spec,
                         .name = "traced",
                         .size = sizeof(struct traced),
                         .trace = visit_box,
                         .free = free_traced,
                         .refs_at = offsetof(struct traced, local),
                         .refs_size = 4};
  const tarn_type *type = make_type(f.world, &spec);
  struct traced *a = tarn_new(f.self, type), *b = tarn_new(f.self, type);
  a->local = b->local = 1;
  a->box = malloc(sizeof *a->box);
  b->box = malloc(sizeof *b->box);
  *a->box = (struct node *)(void *)b;
  *b->box = (struct node *)(void *)a;
  tarn_unref(f.self, make_ring(&f, special, 3));
  collect(&f, 2);
  assert_int_equal(count_freed(0, 3), 3);
  assert_null(a->type);
  assert_null(b->type);
  end(&f);
}

static void long_chains_need_no_stack(void **state) {
  (void)state;
  struct fixture f = begin("collect=0");
  struct node *last = NULL, *middle = NULL;
  for (unsigned i = 0; i < IDS - 100; i++) {
    struct node *node = make(&f, f.node);
    node->left = last;
    last = node;
    if (i == IDS / 2)
      middle = share(node);
  }
  tarn_unref(f.self, last);
  assert_int_equal(count_freed(0, ids), ids - 1 - middle->id);
  middle->right = share(middle);
  tarn_unref(f.self, middle);
  collect(&f, 2);
  assert_int_equal(count_freed(0, ids), ids);
  end(&f);
}

/* More than are noted in the first place for them, which grows more than once. */
static void all_go_that_lose_their_last_reference_together(void **state) {
  (void)state;
  enum { ELEMENTS = 5000 };
  struct fixture f = begin("collect=0");
  struct array *array = tarn_new_array(f.self, f.array, ELEMENTS);
  assert_non_null(array);
  array->refs = 1;
  array->id = ids++;
  for (unsigned i = 0; i < ELEMENTS; i++)
    array->elements[i] = make(&f, f.node);
  struct node *kept = share(array->elements[ELEMENTS / 2]);
  tarn_unref(f.self, array);
  assert_int_equal(count_freed(0, ids), ELEMENTS);
  assert_int_equal(freed[kept->id], 0);
  assert_int_equal(kept->refs, 1);
  tarn_unref(f.self, kept);
  assert_int_equal(count_freed(0, ids), ids);
  end(&f);
}

static void objects_without_a_count_yet_are_left_alone(void **state) {
  (void)state;
  struct fixture f = begin("collect=0");
  struct node *fresh = make(&f, f.node), *other = make(&f, f.node);
  fresh->refs = 0; /* being made */
  fresh->left = other;
  for (int i = 0; i <= 2; i++)
    collect(&f, i);
  assert_int_equal(count_freed(0, 2), 0);
  fresh->refs = 1;
  tarn_unref(f.self, fresh);
  assert_int_equal(count_freed(0, 2), 2);
  struct node *immortal = make_ring(&f, f.node, 3);
  immortal->refs = TARN_REFS_IMMORTAL;
  collect(&f, 2);
  tarn_unref(f.self, immortal);
  assert_int_equal(immortal->refs, TARN_REFS_IMMORTAL);
  assert_int_equal(count_freed(2, 5), 0);
  end(&f);
}

/* --- references taken and given up by calls --------------------------------------------------- */

static bool try_ref_traced(tarn_thread *self, void *object) {
  if (refs_of(object) == 0)
    return false;
  ref_traced(self, object);
  return true;
}

static void types_that_count_by_functions_are_counted_by_them(void **state) {
  (void)state;
  struct fixture f = begin("collect=0");
  tarn_type_spec spec = traced_spec();
  spec.try_ref = try_ref_traced;
  struct traced *traced = tarn_new(f.self, make_type(f.world, &spec));
  assert_non_null(traced);
  assert_false(tarn_ref_living(f.self, traced)); /* being made */
  traced->shared = 1;
  assert_true(tarn_ref_living(f.self, traced));
  tarn_ref(f.self, traced);
  assert_int_equal(refs_of(traced), 3);
  for (size_t left = 2; left > 0; left--) {
    tarn_unref(f.self, traced);
    assert_int_equal(refs_of(traced), left);
  }
  tarn_unref(f.self, traced);
  assert_null(traced->type);
  end(&f);
}

static void only_what_lives_and_counts_gets_another_reference(void **state) {
  (void)state;
  struct fixture f = begin("collect=0");
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = "uncounted";
  spec.size = 16;
  void *uncounted = tarn_new(f.self, make_type(f.world, &spec));
  struct node *node = make(&f, f.node);
  struct leaf *leaf = tarn_new(f.self, f.leaf);
  assert_false(tarn_ref_living(f.self, NULL));
  assert_false(tarn_ref_living(f.self, uncounted));
  assert_false(tarn_ref_living(f.self, leaf));
  assert_int_equal(leaf->refs, 0);
  leaf->refs = 1;
  leaf->other = 7;
  assert_true(tarn_ref_living(f.self, leaf));
  assert_true(tarn_ref_living(f.self, node));
  tarn_ref(f.self, node);
  assert_int_equal(leaf->refs, 2);
  assert_int_equal(leaf->other, 7);
  assert_int_equal(node->refs, 3);
  tarn_ref(f.self, NULL);
  tarn_ref(f.self, uncounted);
  tarn_unref(f.self, uncounted);
  assert_non_null(*(void **)uncounted);
  node->refs = TARN_REFS_IMMORTAL;
  assert_true(tarn_ref_living(f.self, node));
  tarn_ref(f.self, node);
  tarn_unref(f.self, node);
  assert_int_equal(node->refs, TARN_REFS_IMMORTAL);
  end(&f);
}

/* --- when ------------------------------------------------------------------------------------- */

static void collections_come_by_themselves(void **state) {
  (void)state;
  struct fixture f = begin("min-heap=1M,young=256K,young-share=0");
  for (unsigned i = 0; i < 20000; i++) {
    tarn_unref(f.self, make_ring(&f, f.node, 5));
    tarn_safepoint(f.self);
  }
  tarn_stats stats = support_stats(f.world);
  assert_true(stats.cycle_collections > 3);
  assert_true(count_freed(0, ids) > ids / 2);
  assert_true(stats.heap_bytes_max < 4 * MIB);
  end(&f);
}

static void a_limit_in_the_way_makes_them_come(void **state) {
  (void)state;
  struct fixture f = begin("hard-limit=4M,min-heap=1G,young=1G");
  for (unsigned i = 0; i < 30000; i++)
    tarn_unref(f.self, make_ring(&f, f.node, 5));
  assert_true(support_stats(f.world).cycle_collections > 0);
  end(&f);
}

static void memory_of_garbage_goes_back(void **state) {
  (void)state;
  struct fixture f = begin("collect=0,purger=0");
  for (unsigned i = 0; i < 20000; i++)
    tarn_unref(f.self, make_ring(&f, f.plain, 10));
  ids = 0;
  assert_int_equal(tarn_collect_cycles(f.self, 2), TARN_OK);
  tarn_stats stats = support_stats(f.world);
  assert_int_equal(stats.cycle_garbage, 200000);
  assert_true(stats.returned_bytes > 8 * MIB);
  assert_true(stats.dirty_bytes < 2 * MIB);
  end(&f);
}

/* --- misuse ----------------------------------------------------------------------------------- */

static void calls_of_the_other_kind_are_refused(void **state) {
  (void)state;
  struct fixture f = begin("collect=0");
  struct node *node = make(&f, f.node);
  assert_int_equal(tarn_collect(f.self, 2), TARN_EKIND);
  assert_null(tarn_weak_new(f.self, node));
  assert_int_equal(tarn_thread_status(f.self), TARN_EKIND);
  assert_null(tarn_ephemeron_new(f.self, node, node));
  assert_int_equal(tarn_collect_cycles(f.self, 3), TARN_EINVAL);
  assert_int_equal(tarn_collect_cycles(f.self, -1), TARN_EINVAL);
  tarn_gc_hold(f.self);
  assert_int_equal(tarn_collect_cycles(f.self, 2), TARN_EHELD);
  tarn_gc_release(f.self);
  tarn_unref(f.self, node);
  end(&f);
  tarn_world *world = support_world("");
  tarn_thread *self = support_attach(world);
  assert_int_equal(tarn_collect_cycles(self, 2), TARN_EKIND);
  tarn_type_spec spec = node_spec();
  tarn_status status;
  assert_null(tarn_type_create(world, &spec, &status));
  assert_int_equal(status, TARN_ETYPE);
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  support_end(world);
  tarn_options options = TARN_OPTIONS_INIT;
  options.flags = TARN_OPTIONS_NO_ENVIRONMENT | TARN_OPTIONS_COUNTING | TARN_OPTIONS_BARRIERS;
  assert_int_equal(tarn_world_create(&options, &world), TARN_EINVAL);
}

static tarn_status in_function[3];
static void call_in_function(tarn_thread *self, void *object) {
  (void)object;
  in_function[0] = tarn_freeze(self);
  in_function[1] = tarn_unfreeze(self);
  in_function[2] = tarn_collect_cycles(self, 2);
}

static void pools_are_set_aside_only_by_a_running_thread_of_such_a_world(void **state) {
  (void)state;
  struct fixture f = begin("collect=0");
  struct node *node = make(&f, f.node);
  tarn_weak_handle *handle;
  tarn_gc_hold(f.self);
  assert_int_equal(tarn_freeze(f.self), TARN_EHELD);
  assert_int_equal(tarn_unfreeze(f.self), TARN_EHELD);
  tarn_gc_release(f.self);
  tarn_block_begin(f.self);
  assert_int_equal(tarn_freeze(f.self), TARN_EUNBALANCED);
  assert_int_equal(tarn_unfreeze(f.self), TARN_EUNBALANCED);
  assert_int_equal(tarn_collect_cycles(f.self, 2), TARN_EUNBALANCED);
  assert_int_equal(tarn_weak_handle_new(f.self, node, NULL, NULL, &handle), TARN_EUNBALANCED);
  assert_null(handle);
  tarn_unref(f.self, node); /* it may not: the count stays */
  tarn_block_end(f.self);
  assert_int_equal(tarn_thread_status(f.self), TARN_EUNBALANCED);
  assert_int_equal(node->refs, 1);
  tarn_unref(f.self, node);
  assert_int_equal(freed[0], 1);
  tarn_type_spec spec = node_spec();
  spec.finalize = call_in_function;
  tarn_unref(f.self, make_ring(&f, make_type(f.world, &spec), 3));
  collect(&f, 2);
  assert_int_equal(in_function[0], TARN_EBUSY);
  assert_int_equal(in_function[1], TARN_EBUSY);
  assert_int_equal(in_function[2], TARN_OK); /* that one goes on */
  end(&f);
  tarn_world *world = support_world("");
  tarn_thread *self = support_attach(world);
  assert_int_equal(tarn_freeze(self), TARN_EKIND);
  assert_int_equal(tarn_unfreeze(self), TARN_EKIND);
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  support_end(world);
}

static void types_say_where_the_count_is(void **state) {
  (void)state;
  struct fixture f = begin("collect=0");
  tarn_status status;
  for (int i = 0; i < 7; i++) {
    tarn_type_spec spec = node_spec();
    spec.refs_at = i == 0 ? 0 : i == 1 ? 8 : i == 2 ? 28 : i == 3 ? 48 : spec.refs_at;
    spec.refs_size = i == 4 ? 2 : i == 0 ? 4 : 0;
    spec.refs = i == 5 ? refs_of : NULL;
    spec.ref = i == 6 ? ref_traced : NULL;
    assert_null(tarn_type_create(f.world, &spec, &status));
    assert_int_equal(status, TARN_ETYPE);
  }
  tarn_type_spec spec = node_spec(); /* a child counts as its parent does */
  spec.refs_at = 0;
  spec.parent = f.node;
  spec.size = 0;
  const tarn_type *child = make_type(f.world, &spec);
  tarn_unref(f.self, make_ring(&f, child, 4));
  collect(&f, 2);
  assert_int_equal(count_freed(0, 4), 4);
  end(&f);
}

static void collect_with_a_low_count(void *data) {
  struct fixture *f = data;
  struct node *a = make(f, f->node), *b = make(f, f->node);
  a->left = b;  /* b's reference */
  a->right = b; /* and one that was not counted */
  (void)tarn_collect_cycles(f->self, 2);
}
static void unref_once_too_often(void *data) {
  struct fixture *f = data;
  struct node *node = make(f, f->node);
  node->refs = 0;
  tarn_unref(f->self, node);
}

static void counts_that_are_wrong_are_told(void **state) {
  (void)state;
  struct fixture f = begin("collect=0");
  char text[2048];
  int status = support_child(collect_with_a_low_count, &f, text, sizeof text);
  assert_true(WIFSIGNALED(status));
  assert_non_null(strstr(text, "its count is lower than the number of references to it"));
  assert_non_null(strstr(text, "type node"));
  status = support_child(unref_once_too_often, &f, text, sizeof text);
  assert_true(WIFSIGNALED(status));
  assert_non_null(strstr(text, "a reference was given up, but there is none"));
  end(&f);
}

/* --- fork, heaps ------------------------------------------------------------------------------ */

static void collect_in_child(void *data) {
  struct fixture *f = data;
  CHILD_CHECK(tarn_collect_cycles(f->self, 2) == TARN_OK);
  for (unsigned i = 0; i < 200; i++)
    CHILD_CHECK(freed[i] == (i >= 100));
  char text[256] = "";
  CHILD_CHECK(tarn_verify(f->self, text, sizeof text) == TARN_OK);
}

static void a_child_collects_its_own(void **state) {
  (void)state;
  struct fixture f = begin("collect=0,purger=0,sweeper=0,markers=1");
  struct node *kept = make_ring(&f, f.node, 100);
  tarn_unref(f.self, make_ring(&f, f.node, 100));
  support_good_child(collect_in_child, &f);
  assert_int_equal(count_freed(0, 200), 0);
  collect(&f, 2);
  assert_int_equal(count_freed(0, 200), 100);
  support_good_child(collect_in_child, &f);
  tarn_unref(f.self, kept);
  collect(&f, 2);
  end(&f);
}

static void a_heap_goes_with_its_objects(void **state) {
  (void)state;
  struct fixture f = begin("collect=0");
  tarn_heap *heap;
  assert_int_equal(tarn_heap_create(f.world, TARN_HEAP_CONTAINER, &heap), TARN_OK);
  tarn_type_spec spec = node_spec();
  spec.free = count_free;
  spec.heap = heap;
  const tarn_type *type = make_type(f.world, &spec);
  struct node *kept = make_ring(&f, f.node, 10);
  (void)make_ring(&f, type, 1000);
  collect(&f, 2);
  assert_int_equal(tarn_heap_destroy(f.self, heap), TARN_OK);
  assert_int_equal(count_freed(10, 1010), 1000);
  collect(&f, 2);
  assert_int_equal(count_freed(0, 10), 0);
  tarn_unref(f.self, kept);
  collect(&f, 2);
  assert_int_equal(count_freed(0, 10), 10);
  end(&f);
}

static void a_heap_goes_with_its_large_objects(void **state) {
  (void)state;
  struct fixture f = begin("collect=0");
  tarn_heap *heap;
  assert_int_equal(tarn_heap_create(f.world, TARN_HEAP_CONTAINER, &heap), TARN_OK);
  tarn_type_spec spec = {.struct_size = sizeof spec,
                         .name = "array",
                         .size = sizeof(struct array),
                         .refs_at = offsetof(struct array, refs),
                         .element_size = 8,
                         .flags = TARN_TYPE_ELEMENTS_TRACED,
                         .free = count_array_free,
                         .heap = heap};
  const tarn_type *type = make_type(f.world, &spec);
  for (unsigned i = 0; i < 6; i++) {
    struct array *array = tarn_new_array(f.self, i % 2 ? type : f.array, 50000);
    assert_non_null(array);
    array->id = ids++;
    array->refs = 1;
    if (i == 3)
      tarn_unref(f.self, array);
  }
  assert_int_equal(count_freed(0, 6), 1);
  assert_int_equal(tarn_heap_destroy(f.self, heap), TARN_OK);
  for (unsigned i = 0; i < 6; i++)
    assert_int_equal(freed[i], i % 2);
  end(&f);
}

static void *make_in_thread(void *data) {
  struct fixture *f = data;
  struct fixture mine = *f;
  mine.self = support_attach(f->world);
  struct array *array = tarn_new_array(mine.self, f->array, 50000);
  assert_non_null(array);
  array->id = ids++;
  array->refs = 1;
  struct node *node = make_ring(&mine, f->node, 10);
  array->elements[7] = node; /* the reference of the caller */
  node->right = (struct node *)(void *)array;
  assert_int_equal(tarn_thread_detach(mine.self), TARN_OK);
  return NULL;
}

/* Pools of a thread that is gone, and a large object: one circle. */
static void what_is_set_aside_is_garbage_only_when_it_is_back(void **state) {
  (void)state;
  struct fixture f = begin("collect=0");
  support_run(make_in_thread, &f);
  struct array *alone = tarn_new_array(f.self, f.array, 50000);
  assert_non_null(alone);
  alone->id = ids++;
  alone->refs = 1;
  alone->elements[0] = (struct node *)(void *)alone; /* the reference of the caller */
  assert_int_equal(tarn_freeze(f.self), TARN_OK);
  for (int generation = 0; generation <= 2; generation++)
    collect(&f, generation);
  assert_int_equal(count_freed(0, 12), 0);
  struct array *young = tarn_new_array(f.self, f.array, 50000);
  assert_non_null(young);
  young->id = ids++;
  young->refs = 1;
  young->elements[0] = (struct node *)(void *)young; /* the reference of the caller */
  collect(&f, 2);
  assert_int_equal(freed[12], 1);
  assert_int_equal(tarn_unfreeze(f.self), TARN_OK);
  collect(&f, 2);
  assert_int_equal(count_freed(0, 12), 12);
  end(&f);
}

static tarn_heap *other_heap;
static void destroy_in_function(tarn_thread *self, void *object) {
  finalized[((struct node *)object)->id]++;
  assert_int_equal(tarn_heap_destroy(self, other_heap), TARN_EHELD);
}

static void no_heap_goes_inside_a_function_of_a_collection(void **state) {
  (void)state;
  struct fixture f = begin("collect=0");
  assert_int_equal(tarn_heap_create(f.world, TARN_HEAP_CONTAINER, &other_heap), TARN_OK);
  tarn_type_spec spec = node_spec();
  spec.finalize = destroy_in_function;
  tarn_unref(f.self, make_ring(&f, make_type(f.world, &spec), 3));
  collect(&f, 2);
  assert_int_equal(finalized[0] + finalized[1] + finalized[2], 3);
  assert_int_equal(tarn_heap_destroy(f.self, other_heap), TARN_OK);
  end(&f);
}

static unsigned refusals;
static void detach_in_function(tarn_thread *self, void *object) {
  (void)object;
  refusals += tarn_thread_detach(self) == TARN_EHELD;
}
static void detach_in_free(tarn_world *world, void *object) {
  detach_in_function(tarn_thread_self(world), object);
}

/* By a collection: finalize, clear, free.  By the last tarn_unref: finalize and free. */
static void no_thread_goes_inside_a_function_that_the_library_calls(void **state) {
  (void)state;
  struct fixture f = begin("collect=0");
  tarn_type_spec spec = node_spec();
  spec.finalize = detach_in_function;
  spec.clear = detach_in_function;
  spec.free = detach_in_free;
  const tarn_type *type = make_type(f.world, &spec);
  refusals = 0;
  tarn_unref(f.self, make_ring(&f, type, 3));
  collect(&f, 2);
  assert_int_equal(refusals, 9);
  tarn_unref(f.self, make(&f, type));
  assert_int_equal(refusals, 11);
  end(&f);
}

/* --- verification, forks in the middle of a collection ---------------------------------------- */

static void free_and_verify(tarn_world *world, void *object) {
  count_free(world, object);
  support_verify(tarn_thread_self(world));
}

static void the_heap_can_be_verified_while_garbage_goes(void **state) {
  (void)state;
  for (int finalizes = 0; finalizes <= 1; finalizes++) {
    struct fixture f = begin("collect=0");
    current = &f;
    saves = false;
    tarn_type_spec spec = node_spec();
    spec.free = free_and_verify;
    spec.finalize = finalizes ? finalize_node : NULL;
    tarn_unref(f.self, make_ring(&f, make_type(f.world, &spec), 20));
    collect(&f, 2);
    assert_int_equal(count_freed(0, 20), 20);
    end(&f);
  }
}

static _Atomic int forker_step; /* 1: the collecting thread waits in a function; 2: goes on */
static void free_and_wait(tarn_world *world, void *object) {
  tarn_thread *self = tarn_thread_self(world);
  count_free(world, object);
  if (((struct node *)object)->id != 50 || atomic_exchange(&forker_step, 1) != 0)
    return;
  tarn_block_begin(self);
  while (atomic_load(&forker_step) != 2)
    usleep(1000);
  tarn_block_end(self);
}
static void *collect_in_thread(void *data) {
  struct fixture *f = data;
  tarn_thread *self = support_attach(f->world);
  assert_int_equal(tarn_collect_cycles(self, 2), TARN_OK);
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  return NULL;
}
static struct node *outside_node;
static void go_on_in_child(void *data) {
  struct fixture *f = data;
  char text[256] = "";
  CHILD_CHECK(tarn_verify(f->self, text, sizeof text) == TARN_OK);
  CHILD_CHECK(outside_node->refs > 1);
  CHILD_CHECK(tarn_collect_cycles(f->self, 2) == TARN_OK);
  for (unsigned i = 1; i <= 100; i++)
    CHILD_CHECK(freed[i] == 1);
  CHILD_CHECK(outside_node->refs == 1);
  CHILD_CHECK(tarn_verify(f->self, text, sizeof text) == TARN_OK);
}

static void a_child_goes_on_with_garbage_that_was_going(void **state) {
  (void)state;
  struct fixture f = begin("collect=0,purger=0,sweeper=0,markers=1");
  tarn_type_spec spec = node_spec();
  spec.free = free_and_wait;
  outside_node = make(&f, f.node);
  struct node *ring = make_ring(&f, make_type(f.world, &spec), 100);
  for (struct node *node = ring; !node->right; node = node->left)
    node->right = share(outside_node);
  tarn_unref(f.self, ring);
  atomic_store(&forker_step, 0);
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, collect_in_thread, &f), 0);
  while (atomic_load(&forker_step) != 1)
    tarn_safepoint(f.self);
  support_good_child(go_on_in_child, &f);
  atomic_store(&forker_step, 2);
  tarn_block_begin(f.self);
  assert_int_equal(pthread_join(thread, NULL), 0);
  tarn_block_end(f.self);
  assert_int_equal(count_freed(1, 101), 100);
  assert_int_equal(outside_node->refs, 1);
  tarn_unref(f.self, outside_node);
  end(&f);
}

static void *collect_second(void *data) {
  struct fixture *f = data;
  tarn_thread *self = support_attach(f->world);
  atomic_fetch_add(&forker_step, 10);
  assert_int_equal(tarn_collect_cycles(self, 2), TARN_OK);
  assert_int_equal(atomic_load(&forker_step), 2); /* not before the first */
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  return NULL;
}

static void a_second_collection_waits_for_the_garbage_of_the_first(void **state) {
  (void)state;
  struct fixture f = begin("collect=0");
  tarn_type_spec spec = node_spec();
  spec.free = free_and_wait;
  tarn_unref(f.self, make_ring(&f, make_type(f.world, &spec), 100));
  atomic_store(&forker_step, 0);
  pthread_t first, second;
  assert_int_equal(pthread_create(&first, NULL, collect_in_thread, &f), 0);
  while (atomic_load(&forker_step) != 1)
    tarn_safepoint(f.self);
  tarn_block_begin(f.self);
  assert_int_equal(pthread_create(&second, NULL, collect_second, &f), 0);
  while (atomic_load(&forker_step) != 11)
    usleep(1000);
  usleep(20000);
  atomic_store(&forker_step, 2);
  assert_int_equal(pthread_join(first, NULL), 0);
  assert_int_equal(pthread_join(second, NULL), 0);
  tarn_block_end(f.self);
  assert_int_equal(count_freed(0, 100), 100);
  end(&f);
}

/* How many circles of one object this thread makes in 300 ms. */
static size_t make_garbage(struct fixture *f) {
  size_t made = 0;
  for (uint64_t end = tarn_os_now() + 300000000u; tarn_os_now() < end; made++) {
    struct node *node = tarn_new(f->self, f->plain);
    assert_non_null(node);
    node->refs = 1;
    node->left = node;
    tarn_safepoint(f->self);
  }
  return made;
}

/* The functions of the running collection wait for what the other thread does afterwards, so it has
 * to go on; but it is held up, or the heap would grow by all that it makes. */
static void threads_make_way_for_a_collection_that_is_slower_than_they(void **state) {
  (void)state;
  struct fixture f = begin("min-heap=1M,young=1M,sweeper=0,markers=1");
  tarn_type_spec spec = node_spec();
  spec.free = free_and_wait;
  tarn_unref(f.self, make_ring(&f, make_type(f.world, &spec), 100));
  atomic_store(&forker_step, 0);
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, collect_in_thread, &f), 0);
  while (atomic_load(&forker_step) != 1)
    tarn_safepoint(f.self);
  size_t made = make_garbage(&f);
  assert_in_range(made, 2000, (16u << 20) / sizeof(struct node));
  atomic_store(&forker_step, 2);
  tarn_block_begin(f.self);
  assert_int_equal(pthread_join(thread, NULL), 0);
  tarn_block_end(f.self);
  for (int i = 0; i < 50 && make_garbage(&f) <= made; i++)
    assert_int_not_equal(i, 49); /* now it is not */
  collect(&f, 2);
  end(&f);
}

static struct node *waiting_node;
static void *unref_in_thread(void *data) {
  struct fixture *f = data;
  tarn_thread *self = support_attach(f->world);
  tarn_unref(self, waiting_node);
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  return NULL;
}
static void attach_again(void *data) {
  struct fixture *f = data;
  CHILD_CHECK(tarn_thread_detach(f->self) == TARN_OK);
  f->self = support_attach(f->world);
  uintptr_t id = outside_node->id;
  tarn_unref(f->self, outside_node);
  CHILD_CHECK(freed[id] == 1);
}

static void a_child_gives_back_though_others_were_giving_back(void **state) {
  (void)state;
  struct fixture f = begin("collect=0,purger=0,sweeper=0,markers=1");
  tarn_type_spec spec = node_spec();
  spec.free = free_and_wait;
  ids = 50;
  waiting_node = make(&f, make_type(f.world, &spec));
  outside_node = make(&f, f.node);
  atomic_store(&forker_step, 0);
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, unref_in_thread, &f), 0);
  while (atomic_load(&forker_step) != 1)
    tarn_safepoint(f.self);
  support_good_child(attach_again, &f);
  atomic_store(&forker_step, 2);
  tarn_block_begin(f.self);
  assert_int_equal(pthread_join(thread, NULL), 0);
  tarn_block_end(f.self);
  tarn_unref(f.self, outside_node);
  end(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_ring_goes_when_nothing_else_refers_to_it),
      cmocka_unit_test(what_garbage_refers_to_loses_its_references),
      cmocka_unit_test(random_graphs_lose_what_nobody_reaches),
      cmocka_unit_test(known_roots_make_no_difference_but_in_work),
      cmocka_unit_test(helpers_mark_what_known_roots_reach),
      cmocka_unit_test(helpers_are_there_when_the_first_collection_has_much_to_mark),
      cmocka_unit_test(what_was_known_once_is_garbage_like_the_rest),
      cmocka_unit_test(each_generation_finds_garbage_of_its_age),
      cmocka_unit_test(references_from_older_objects_keep_young_ones),
      cmocka_unit_test(finalizers_run_once_and_before_anything_is_cleared),
      cmocka_unit_test(the_stop_after_finalizers_counts_as_a_pause),
      cmocka_unit_test(what_a_finalizer_saves_lives_with_large_objects_and_what_they_reach),
      cmocka_unit_test(what_a_finalizer_saves_lives_with_all_it_reaches),
      cmocka_unit_test(types_with_and_without_functions_may_be_in_one_circle),
      cmocka_unit_test(objects_that_die_by_their_count_are_finalized_too),
      cmocka_unit_test(collections_do_not_look_into_what_is_being_given_back),
      cmocka_unit_test(words_of_stacks_may_name_what_is_free),
      cmocka_unit_test(arrays_of_any_size_are_in_circles),
      cmocka_unit_test(dense_graphs_lose_what_nobody_reaches),
      cmocka_unit_test(a_long_object_keeps_what_its_last_elements_name),
      cmocka_unit_test(shared_objects_lose_each_reference_of_garbage),
      cmocka_unit_test(young_collections_pass_by_what_full_ones_marked),
      cmocka_unit_test(counts_may_be_split_and_references_anywhere),
      cmocka_unit_test(words_that_lead_behind_the_last_block_of_a_pool_are_ignored),
      cmocka_unit_test(words_that_lead_into_large_objects_are_ignored),
      cmocka_unit_test(references_that_only_a_trace_function_knows_go_beside_finalizers),
      cmocka_unit_test(long_chains_need_no_stack),
      cmocka_unit_test(all_go_that_lose_their_last_reference_together),
      cmocka_unit_test(objects_without_a_count_yet_are_left_alone),
      cmocka_unit_test(types_that_count_by_functions_are_counted_by_them),
      cmocka_unit_test(only_what_lives_and_counts_gets_another_reference),
      cmocka_unit_test(collections_come_by_themselves),
      cmocka_unit_test(a_limit_in_the_way_makes_them_come),
      cmocka_unit_test(memory_of_garbage_goes_back),
      cmocka_unit_test(calls_of_the_other_kind_are_refused),
      cmocka_unit_test(pools_are_set_aside_only_by_a_running_thread_of_such_a_world),
      cmocka_unit_test(types_say_where_the_count_is),
      cmocka_unit_test(counts_that_are_wrong_are_told),
      cmocka_unit_test(a_child_collects_its_own),
      cmocka_unit_test(a_heap_goes_with_its_objects),
      cmocka_unit_test(a_heap_goes_with_its_large_objects),
      cmocka_unit_test(what_is_set_aside_is_garbage_only_when_it_is_back),
      cmocka_unit_test(no_heap_goes_inside_a_function_of_a_collection),
      cmocka_unit_test(no_thread_goes_inside_a_function_that_the_library_calls),
      cmocka_unit_test(the_heap_can_be_verified_while_garbage_goes),
      cmocka_unit_test(a_child_goes_on_with_garbage_that_was_going),
      cmocka_unit_test(a_second_collection_waits_for_the_garbage_of_the_first),
      cmocka_unit_test(threads_make_way_for_a_collection_that_is_slower_than_they),
      cmocka_unit_test(a_child_gives_back_though_others_were_giving_back),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
