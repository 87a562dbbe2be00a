/* SPDX-License-Identifier: MIT */
/*
 * References that were stored without a barrier: the option `verify` says which object has one,
 * where, and what it leads to, before a collection makes an accident of it.
 */
#include "support.h"

#include <signal.h>

struct node {
  const tarn_type *type;
  void *left, *right;
};
struct instance {
  const tarn_type *type;
  void **data;
};

struct scene {
  tarn_world *world;
  tarn_thread *self;
  const tarn_type *node, *leaf, *instance;
  void *old;               /* an object that survived, and is of the type that the test is about */
  bool in_data;            /* the reference goes into its data block */
  const tarn_type *target; /* of this type, or a raw block */
  bool with_barrier;
};

static void begin(struct scene *scene) {
  tarn_options options = TARN_OPTIONS_INIT;
  options.set = "collect=0,verify=1,purger=0,sweeper=0,markers=1";
  options.flags = TARN_OPTIONS_NO_ENVIRONMENT | TARN_OPTIONS_BARRIERS;
  assert_int_equal(tarn_world_create(&options, &scene->world), TARN_OK);
  scene->self = support_attach(scene->world);
  scene->node = support_type(scene->world, "node", sizeof(struct node), 6, NULL);
  scene->leaf = support_type(scene->world, "leaf", 32, 0, NULL);
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = "instance";
  spec.size = sizeof(struct instance);
  spec.data_size = 64;
  spec.flags = TARN_TYPE_DATA_TRACED;
  scene->instance = tarn_type_create(scene->world, &spec, NULL);
  assert_non_null(scene->instance);
  assert_int_equal(tarn_root_add(scene->world, &scene->old), TARN_OK);
}

static void end(struct scene *scene) {
  assert_int_equal(tarn_root_remove(scene->world, &scene->old), TARN_OK);
  assert_int_equal(tarn_thread_detach(scene->self), TARN_OK);
  support_end(scene->world);
}

/* In a child: what the verification says ends it. */
static void store_and_collect(void *data) {
  struct scene *scene = data;
  scene->old = tarn_new(scene->self, scene->in_data ? scene->instance : scene->node);
  CHILD_CHECK(scene->old && tarn_collect(scene->self, 2) == TARN_OK);
  void *young =
      scene->target ? tarn_new(scene->self, scene->target) : tarn_alloc_atomic(scene->self, 32);
  CHILD_CHECK(young);
  void **slot = scene->in_data ? &((struct instance *)scene->old)->data[3]
                               : &((struct node *)scene->old)->right;
  if (scene->with_barrier)
    tarn_store(scene->self, scene->old, slot, young);
  else
    *slot = young;
  CHILD_CHECK(tarn_collect(scene->self, 0) == TARN_OK);
}

static void expect(struct scene *scene, const char *target, const char *where) {
  char text[2048], wanted[128];
  int status = support_child(store_and_collect, scene, text, sizeof text);
  (void)snprintf(wanted, sizeof wanted, "type %s) that was stored without a barrier: %s", target,
                 where);
  if (!strstr(text, wanted))
    print_error("no \"%s\" in: %s\n", wanted, text);
  assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
  assert_non_null(strstr(text, wanted));
  assert_non_null(strstr(text, scene->in_data ? "type instance) refers to a younger block"
                                              : "type node) refers to a younger block"));
}

static void a_store_without_a_barrier_is_told_of_with_all_three_parts(void **state) {
  struct scene scene = {0};
  (void)state;
  begin(&scene);
  scene.target = scene.node;
  expect(&scene, "node", "word 2, at ");
  scene.target = scene.leaf;
  expect(&scene, "leaf", "word 2, at ");
  scene.target = NULL;
  expect(&scene, "raw", "word 2, at ");
  scene.in_data = true;
  expect(&scene, "raw", "in its data block, or visited by its trace function");
  end(&scene);
}

static void stores_with_barriers_are_not_told_of(void **state) {
  struct scene scene = {.with_barrier = true};
  (void)state;
  begin(&scene);
  scene.target = scene.node;
  support_good_child(store_and_collect, &scene);
  scene.in_data = true;
  scene.target = NULL;
  support_good_child(store_and_collect, &scene);
  end(&scene);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_store_without_a_barrier_is_told_of_with_all_three_parts),
      cmocka_unit_test(stores_with_barriers_are_not_told_of),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
