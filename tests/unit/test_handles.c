/* SPDX-License-Identifier: MIT */
/*
 * Weak handles and frozen pools, in worlds that count references; and how often these are
 * collected.
 */
#include "support.h"

#include "collect/collector.h"

struct node {
  const tarn_type *type;
  struct node *left, *right;
  uint32_t refs, id;
};

struct fixture {
  tarn_world *world;
  tarn_thread *self;
  const tarn_type *weak, *plain;
};

static struct fixture *current;
static unsigned char freed[600000];
static uint32_t ids;

static void count_free(tarn_world *world, void *object) {
  (void)world;
  freed[((struct node *)object)->id]++;
}

static tarn_type_spec node_spec(unsigned flags) {
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = "node";
  spec.size = sizeof(struct node);
  spec.slot_bits = 6;
  spec.flags = flags;
  spec.refs_at = offsetof(struct node, refs);
  spec.refs_size = 4;
  spec.free = count_free;
  return spec;
}

static const tarn_type *make_type(tarn_world *world, const tarn_type_spec *spec) {
  tarn_status status;
  const tarn_type *type = tarn_type_create(world, spec, &status);
  assert_int_equal(status, TARN_OK);
  return type;
}

static struct fixture begin(const char *set) {
  struct fixture f = {0};
  tarn_options options = TARN_OPTIONS_INIT;
  char text[256];
  (void)snprintf(text, sizeof text, "%s%s", set, SUPPORT_ZEAL ? ",zeal=1000000000" : "");
  options.set = text;
  options.flags = TARN_OPTIONS_NO_ENVIRONMENT | TARN_OPTIONS_COUNTING;
  assert_int_equal(tarn_world_create(&options, &f.world), TARN_OK);
  f.self = support_attach(f.world);
  tarn_type_spec spec = node_spec(TARN_TYPE_WEAK);
  f.weak = make_type(f.world, &spec);
  spec = node_spec(0);
  f.plain = make_type(f.world, &spec);
  memset(freed, 0, sizeof freed);
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

static struct node *make(struct fixture *f, const tarn_type *type) {
  struct node *node = tarn_new(f->self, type);
  assert_non_null(node);
  node->refs = 1;
  node->id = ids++;
  return node;
}

/* Two that refer to each other; the caller has a reference to the first. */
static struct node *make_pair(struct fixture *f, const tarn_type *type) {
  struct node *node = make(f, type);
  node->left = make(f, type);
  node->left->left = node;
  node->refs++;
  return node;
}

static tarn_weak_handle *handle_to(struct fixture *f, struct node *node, tarn_weak_gone_fn gone,
                                   void *data) {
  tarn_weak_handle *handle;
  assert_int_equal(tarn_weak_handle_new(f->self, node, gone, data, &handle), TARN_OK);
  return handle;
}

/* --- handles ---------------------------------------------------------------------------------- */

static unsigned told;

static void tell(tarn_thread *self, tarn_weak_handle *handle, void *data) {
  assert_ptr_equal(self, current->self);
  assert_null(tarn_weak_handle_get(self, handle)); /* it cannot be had any more */
  assert_int_equal(tarn_thread_status(self), TARN_OK);
  told += *(unsigned *)data;
}

static void a_handle_gives_the_object_while_it_lives(void **state) {
  (void)state;
  struct fixture f = begin("collect=0");
  struct node *node = make(&f, f.weak);
  tarn_weak_handle *handle = handle_to(&f, node, NULL, NULL);
  assert_ptr_equal(tarn_weak_handle_get(f.self, handle), node);
  assert_int_equal(node->refs, 2);
  collect(&f, 2);
  tarn_unref(f.self, node);
  assert_int_equal(freed[0], 0);
  tarn_unref(f.self, node);
  assert_int_equal(freed[0], 1);
  assert_null(tarn_weak_handle_get(f.self, handle));
  struct node *next = make(&f, f.weak); /* perhaps at the same place */
  assert_null(tarn_weak_handle_get(f.self, handle));
  tarn_weak_handle_free(f.self, handle);
  tarn_unref(f.self, next);
  end(&f);
}

static void functions_are_told_of_either_death_once(void **state) {
  (void)state;
  struct fixture f = begin("collect=0");
  unsigned one = 1, hundred = 100;
  current = &f;
  told = 0;
  struct node *single = make(&f, f.weak), *pair = make_pair(&f, f.weak);
  tarn_weak_handle *handles[] = {
      handle_to(&f, single, tell, &one), handle_to(&f, pair, tell, &hundred),
      handle_to(&f, pair, tell, &hundred), handle_to(&f, pair->left, NULL, NULL)};
  tarn_weak_handle *back = handle_to(&f, pair, tell, &hundred);
  tarn_weak_handle_free(f.self, back); /* before: never told */
  tarn_unref(f.self, single);
  assert_int_equal(told, 1);
  tarn_unref(f.self, pair);
  assert_int_equal(told, 1);
  collect(&f, 2);
  assert_int_equal(told, 201);
  collect(&f, 2);
  assert_int_equal(told, 201);
  for (unsigned i = 0; i < 4; i++) {
    assert_null(tarn_weak_handle_get(f.self, handles[i]));
    tarn_weak_handle_free(f.self, handles[i]);
  }
  end(&f);
}

static void give_back(tarn_thread *self, tarn_weak_handle *handle, void *data) {
  tarn_weak_handle **other = data;
  tarn_weak_handle_free(self, handle);
  if (other && *other) {
    tarn_weak_handle_free(self, *other);
    *other = NULL;
  }
  told++;
}

static unsigned refusals;
static void detach_in_function(tarn_thread *self, tarn_weak_handle *handle, void *data) {
  (void)handle, (void)data;
  refusals += tarn_thread_detach(self) == TARN_EHELD;
}

/* Of each of the three deaths. */
static void no_thread_is_detached_inside_a_handles_function(void **state) {
  (void)state;
  struct fixture f = begin("collect=0");
  refusals = 0;
  struct node *freed_by_hand = make(&f, f.weak), *single = make(&f, f.weak);
  struct node *pair = make_pair(&f, f.weak);
  tarn_weak_handle *handles[] = {handle_to(&f, freed_by_hand, detach_in_function, NULL),
                                 handle_to(&f, single, detach_in_function, NULL),
                                 handle_to(&f, pair, detach_in_function, NULL)};
  tarn_free(f.self, freed_by_hand);
  assert_int_equal(refusals, 1);
  tarn_unref(f.self, single);
  assert_int_equal(refusals, 2);
  tarn_unref(f.self, pair);
  collect(&f, 2);
  assert_int_equal(refusals, 3);
  for (unsigned i = 0; i < 3; i++)
    tarn_weak_handle_free(f.self, handles[i]);
  end(&f);
}

static void a_function_may_give_handles_back(void **state) {
  (void)state;
  struct fixture f = begin("collect=0");
  told = 0;
  struct node *pair = make_pair(&f, f.weak);
  static tarn_weak_handle *others[2];
  others[0] = handle_to(&f, pair, give_back, NULL);
  (void)handle_to(&f, pair, give_back, &others[0]);
  (void)handle_to(&f, pair->left, give_back, &others[0]);
  tarn_unref(f.self, pair);
  collect(&f, 2);
  assert_true(told == 2 || told == 3); /* in no order: the first may be told before it goes */
  end(&f);
}

static struct node *saved;
static tarn_weak_handle *made_late;

static void save_and_watch(tarn_thread *self, void *object) {
  struct node *node = object;
  if (node->id % 2 == 0)
    assert_int_equal(tarn_weak_handle_new(self, node, tell, &told, &made_late), TARN_OK);
  if (saved == NULL && node->id == 0) {
    saved = node;
    tarn_ref(self, node);
  }
}

static void finalizers_come_after_the_cut(void **state) {
  (void)state;
  struct fixture f = begin("collect=0");
  unsigned one = 1;
  current = &f;
  told = 0;
  tarn_type_spec spec = node_spec(TARN_TYPE_WEAK);
  spec.finalize = save_and_watch;
  const tarn_type *type = make_type(f.world, &spec);
  for (int saves = 1; saves >= 0; saves--) {
    ids = 0;
    freed[0] = freed[1] = 0;
    saved = saves ? NULL : (struct node *)&saved;
    struct node *pair = make_pair(&f, type);
    tarn_weak_handle *early = handle_to(&f, pair, tell, &one);
    tarn_unref(f.self, pair);
    unsigned before = told;
    collect(&f, 2);
    assert_int_equal(told, before + 1); /* of the early one alone */
    assert_null(tarn_weak_handle_get(f.self, early));
    assert_int_equal(freed[0] + freed[1], saves ? 0 : 2);
    if (saves) { /* the late one leads to what was saved */
      assert_ptr_equal(tarn_weak_handle_get(f.self, made_late), saved);
      tarn_unref(f.self, saved);
    } else {
      assert_null(tarn_weak_handle_get(f.self, made_late));
    }
    tarn_weak_handle_free(f.self, early);
    tarn_weak_handle_free(f.self, made_late);
    if (saves) {
      tarn_unref(f.self, saved);
      collect(&f, 2);
      assert_int_equal(freed[0] + freed[1], 2);
    }
  }
  end(&f);
}

static void handles_are_for_types_that_say_so(void **state) {
  (void)state;
  struct fixture f = begin("collect=0");
  struct node *node = make(&f, f.plain);
  tarn_weak_handle *handle;
  assert_int_equal(tarn_weak_handle_new(f.self, node, NULL, NULL, &handle), TARN_ETYPE);
  assert_null(handle);
  assert_int_equal(tarn_weak_handle_new(f.self, &node, NULL, NULL, &handle), TARN_EINVAL);
  assert_int_equal(tarn_weak_handle_new(f.self, NULL, NULL, NULL, &handle), TARN_EINVAL);
  assert_int_equal(tarn_weak_handle_new(f.self, node, NULL, NULL, NULL), TARN_EINVAL);
  assert_null(tarn_weak_handle_get(f.self, NULL));
  assert_int_equal(tarn_thread_status(f.self), TARN_EINVAL);
  tarn_weak_handle_free(f.self, NULL);
  tarn_unref(f.self, node);
  end(&f);
}

static void many_handles_find_their_objects(void **state) {
  (void)state;
  struct fixture f = begin("collect=0");
  enum { MANY = 3000 };
  static struct node *nodes[MANY];
  static tarn_weak_handle *handles[MANY];
  for (unsigned i = 0; i < MANY; i++) {
    nodes[i] = make_pair(&f, f.weak);
    handles[i] = handle_to(&f, nodes[i], NULL, NULL);
  }
  for (unsigned i = 0; i < MANY; i += 3)
    tarn_unref(f.self, nodes[i]);
  collect(&f, 2);
  for (unsigned i = 0; i < MANY; i++) {
    struct node *node = tarn_weak_handle_get(f.self, handles[i]);
    assert_ptr_equal(node, i % 3 ? nodes[i] : NULL);
    tarn_unref(f.self, node);
    tarn_weak_handle_free(f.self, handles[i]);
    if (i % 3)
      tarn_unref(f.self, nodes[i]);
  }
  collect(&f, 2);
  assert_int_equal(support_stats(f.world).pools, 0);
  end(&f);
}

/* --- frozen pools ----------------------------------------------------------------------------- */

static void frozen_objects_are_not_looked_at_and_keep_what_they_name(void **state) {
  (void)state;
  struct fixture f = begin("collect=0");
  const struct tarn_cycles *cycles = &f.world->collector->cycles;
  struct node *kept = make_pair(&f, f.plain), *gone = make_pair(&f, f.plain);
  tarn_unref(f.self, gone);
  assert_int_equal(tarn_freeze(f.self), TARN_OK);
  assert_int_equal(tarn_freeze(f.self), TARN_OK);
  kept->right = make_pair(&f, f.plain); /* a reference to a young one */
  struct node *young = make_pair(&f, f.plain);
  assert_true(((uintptr_t)young ^ (uintptr_t)kept) >= TARN_UNIT_SIZE); /* in no frozen pool */
  tarn_unref(f.self, young);
  for (int generation = 2; generation >= 0; generation--)
    collect(&f, generation);
  assert_int_equal(freed[2] + freed[3], 0); /* frozen garbage */
  assert_int_equal(freed[4] + freed[5], 0);
  assert_int_equal(freed[6] + freed[7], 2);
  assert_int_equal(cycles->looked_at, 0);
  collect(&f, 2);
  assert_int_equal(cycles->looked_at, 2);
  struct node *young2 = kept->right;
  kept->right = NULL;
  tarn_unref(f.self, young2);
  collect(&f, 2);
  assert_int_equal(freed[4] + freed[5], 2);
  assert_int_equal(tarn_unfreeze(f.self), TARN_OK);
  collect(&f, 2);
  assert_int_equal(freed[2] + freed[3], 2);
  assert_int_equal(freed[0] + freed[1], 0);
  tarn_unref(f.self, kept);
  collect(&f, 2);
  assert_int_equal(freed[0] + freed[1], 2);
  assert_int_equal(support_stats(f.world).pools, 0);
  end(&f);
}

static void frozen_objects_die_by_their_count(void **state) {
  (void)state;
  struct fixture f = begin("collect=0");
  struct node *nodes[100];
  for (unsigned i = 0; i < 100; i++)
    nodes[i] = make(&f, f.plain);
  assert_int_equal(tarn_freeze(f.self), TARN_OK);
  for (unsigned i = 0; i < 100; i += 2)
    tarn_unref(f.self, nodes[i]);
  for (unsigned i = 0; i < 100; i++)
    assert_int_equal(freed[i], i % 2 == 0);
  collect(&f, 2);
  assert_int_equal(tarn_unfreeze(f.self), TARN_OK);
  support_verify(f.self);
  for (unsigned i = 1; i < 100; i += 2)
    tarn_unref(f.self, nodes[i]);
  collect(&f, 2);
  assert_int_equal(support_stats(f.world).pools, 0);
  end(&f);
}

/* --- how often -------------------------------------------------------------------------------- */

static void a_heap_without_cycles_is_looked_at_ever_more_rarely(void **state) {
  (void)state;
  if (SUPPORT_ZEAL)
    support_skip("zeal takes the generations in turn, whatever the collections found");
  struct fixture f = begin("min-heap=256K,young=64K,young-share=0");
  const struct tarn_collector *collector = f.world->collector;
  struct node *last = NULL;
  for (unsigned i = 0; i < 200000; i++) { /* 6 MB that live */
    struct node *node = make(&f, f.plain);
    node->left = last;
    last = node;
    tarn_safepoint(f.self);
  }
  assert_int_equal(tarn_cycles_patience(collector, false), 4);
  assert_int_equal(tarn_cycles_patience(collector, true), 16);
  assert_true(support_stats(f.world).cycle_collections < 6400 / 64 / 4);
  for (unsigned i = 0; i < 150000; i++) { /* until it is worth while again */
    struct node *pair = make_pair(&f, f.plain);
    tarn_unref(f.self, pair);
    tarn_safepoint(f.self);
  }
  assert_int_equal(tarn_cycles_patience(collector, true), 1);
  tarn_unref(f.self, last);
  end(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_handle_gives_the_object_while_it_lives),
      cmocka_unit_test(functions_are_told_of_either_death_once),
      cmocka_unit_test(no_thread_is_detached_inside_a_handles_function),
      cmocka_unit_test(a_function_may_give_handles_back),
      cmocka_unit_test(finalizers_come_after_the_cut),
      cmocka_unit_test(handles_are_for_types_that_say_so),
      cmocka_unit_test(many_handles_find_their_objects),
      cmocka_unit_test(frozen_objects_are_not_looked_at_and_keep_what_they_name),
      cmocka_unit_test(frozen_objects_die_by_their_count),
      cmocka_unit_test(a_heap_without_cycles_is_looked_at_ever_more_rarely),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
