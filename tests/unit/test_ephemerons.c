/* SPDX-License-Identifier: MIT */
/*
 * Ephemerons: a value lives while ephemeron and key do; the work stays linear in every order.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "cpu_time.h"
#include "collect/collector.h"
#include "os/os.h"
#include <tarn/tarn.h>

/* ---- A world with one thread, and two types -------------------------------------------------- */

struct node {
  const tarn_type *type;
  void *left, *right; /* traced */
  uintptr_t id;       /* raw */
};

struct fixture {
  tarn_world *world;
  tarn_thread *self;
  const tarn_type *node;
  const tarn_type *array; /* of references */
};

static const tarn_type *make_array_type(tarn_world *world) {
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = "array";
  spec.size = 16;
  spec.element_size = sizeof(void *);
  spec.flags = TARN_TYPE_ELEMENTS_TRACED;
  return tarn_type_create(world, &spec, NULL);
}

static tarn_type_spec node_spec(void) {
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = "node";
  spec.size = sizeof(struct node);
  spec.slot_bits = 6;
  return spec;
}

/* Roots are what a test says; collections happen when it says so, and in zeal builds also between.
 * Those take time, so COUNT_OF makes numbers of objects smaller there. */
#define COUNT_OF(count) (TARN_ZEAL ? (count) / 20 : (count))
#define WHEN_TOLD (TARN_ZEAL ? "collect=1,zeal=50" : "collect=0")
#define WHEN_TOLD_SMALL_STACK \
  (TARN_ZEAL ? "collect=1,zeal=50,mark-stack=4K" : "collect=0,mark-stack=4K")

static void begin(struct fixture *f, const char *set) {
  tarn_options options = TARN_OPTIONS_INIT;
  options.set = set;
  options.lock = "collect,scan-stack,mark-stack,min-heap,zeal";
  assert_int_equal(tarn_world_create(&options, &f->world), TARN_OK);
  assert_int_equal(tarn_thread_attach(f->world, &f->self), TARN_OK);
  tarn_type_spec spec = node_spec();
  f->node = tarn_type_create(f->world, &spec, NULL);
  f->array = make_array_type(f->world);
  assert_non_null(f->node);
  assert_non_null(f->array);
}

static void end(struct fixture *f) {
  assert_int_equal(tarn_thread_detach(f->self), TARN_OK);
  assert_int_equal(tarn_world_destroy(f->world), TARN_OK);
}

static int set_up(void **state) {
  struct fixture *f = malloc(sizeof *f);
  begin(f, WHEN_TOLD);
  *state = f;
  return 0;
}

static int tear_down(void **state) {
  end(*state);
  free(*state);
  return 0;
}

static struct node *make(const struct fixture *f, uintptr_t id) {
  struct node *node = tarn_new(f->self, f->node);
  assert_non_null(node);
  node->id = id;
  return node;
}

static void **elements(void *array) { return (void **)array + 2; }

static void *make_array(const struct fixture *f, size_t count) {
  void *array = tarn_new_array(f->self, f->array, count);
  assert_non_null(array);
  return array;
}

/* Tens of times what linear work takes, and a fraction of what quadratic work would. */
#if TARN_CHECKING || TARN_ZEAL || TARN_TSAN || defined(__SANITIZE_ADDRESS__)
#define TIME_LIMIT UINT64_C(20000000000)
#else
#define TIME_LIMIT UINT64_C(2000000000)
#endif

static void collect(const struct fixture *f) {
  assert_int_equal(tarn_collect(f->self, TARN_GENERATION_FULL), TARN_OK);
}

/* ---- What lives ------------------------------------------------------------------------------ */

static void the_value_lives_while_ephemeron_and_key_do(void **state) {
  struct fixture *f = *state;
  void *key = make(f, 1), *ephemeron = NULL, *weak = NULL;
  TARN_FRAME(f->self, &key, &ephemeron, &weak);
  weak = tarn_weak_new(f->self, NULL);
  ephemeron = tarn_ephemeron_new(f->self, key, make(f, 2));
  tarn_weak_set(f->self, weak, tarn_ephemeron_value(f->self, ephemeron));
  collect(f);
  struct node *value = tarn_ephemeron_value(f->self, ephemeron);
  assert_non_null(value);
  assert_int_equal(value->id, 2);
  assert_ptr_equal(tarn_weak_get(f->self, weak), value);
  assert_ptr_equal(tarn_ephemeron_key(f->self, ephemeron), key);
  ephemeron = NULL; /* now the value dies although the key lives */
  collect(f);
  assert_null(tarn_weak_get(f->self, weak));
}

static void key_and_value_go_together(void **state) {
  struct fixture *f = *state;
  void *key = make(f, 1), *value = NULL, *ephemeron = NULL, *weak = NULL;
  TARN_FRAME(f->self, &key, &value, &ephemeron, &weak);
  value = make(f, 2);
  ephemeron = tarn_ephemeron_new(f->self, key, value);
  key = NULL;
  collect(f); /* the value is alive by itself, and goes all the same */
  assert_null(tarn_ephemeron_key(f->self, ephemeron));
  assert_null(tarn_ephemeron_value(f->self, ephemeron));
  assert_int_equal(((struct node *)value)->id, 2);
}

static void a_value_that_refers_to_its_key_does_not_keep_it(void **state) {
  struct fixture *f = *state;
  void *key = make(f, 1), *ephemeron = NULL, *weak = NULL;
  TARN_FRAME(f->self, &key, &ephemeron, &weak);
  ephemeron = tarn_ephemeron_new(f->self, key, make(f, 2));
  ((struct node *)tarn_ephemeron_value(f->self, ephemeron))->left = key;
  weak = tarn_weak_new(f->self, key);
  collect(f);
  assert_ptr_equal(tarn_ephemeron_key(f->self, ephemeron), key);
  key = NULL;
  collect(f);
  assert_null(tarn_ephemeron_key(f->self, ephemeron));
  assert_null(tarn_weak_get(f->self, weak));
}

static void a_key_that_is_its_own_value_does_not_live_by_that(void **state) {
  struct fixture *f = *state;
  void *key = make(f, 1), *ephemeron = NULL;
  TARN_FRAME(f->self, &key, &ephemeron);
  ephemeron = tarn_ephemeron_new(f->self, key, key);
  key = NULL;
  collect(f);
  assert_null(tarn_ephemeron_key(f->self, ephemeron));
}

static void keys_and_values_that_need_each_other_die_together(void **state) {
  struct fixture *f = *state;
  void *a = make(f, 1), *b = NULL, *first = NULL, *second = NULL;
  TARN_FRAME(f->self, &a, &b, &first, &second);
  b = make(f, 2);
  first = tarn_ephemeron_new(f->self, a, b);
  second = tarn_ephemeron_new(f->self, b, a);
  b = NULL;
  collect(f); /* a lives, so b does */
  assert_non_null(tarn_ephemeron_key(f->self, second));
  a = NULL;
  collect(f);
  assert_null(tarn_ephemeron_key(f->self, first));
  assert_null(tarn_ephemeron_key(f->self, second));
}

static void a_key_outside_the_world_never_dies(void **state) {
  struct fixture *f = *state;
  static int outside;
  void *ephemeron = NULL;
  TARN_FRAME(f->self, &ephemeron);
  ephemeron = tarn_ephemeron_new(f->self, &outside, make(f, 2));
  collect(f);
  collect(f);
  assert_ptr_equal(tarn_ephemeron_key(f->self, ephemeron), &outside);
  assert_int_equal(((struct node *)tarn_ephemeron_value(f->self, ephemeron))->id, 2);
}

static void raw_and_large_keys_count(void **state) {
  struct fixture *f = *state;
  void *keys = make_array(f, 2), *ephemerons = NULL;
  TARN_FRAME(f->self, &keys, &ephemerons);
  ephemerons = make_array(f, 2);
  elements(keys)[0] = tarn_alloc_atomic(f->self, 64);
  elements(keys)[1] = make_array(f, 100000);
  for (uintptr_t i = 0; i < 2; i++)
    elements(ephemerons)[i] = tarn_ephemeron_new(f->self, elements(keys)[i], make(f, i));
  collect(f);
  for (uintptr_t i = 0; i < 2; i++)
    assert_int_equal(((struct node *)tarn_ephemeron_value(f->self, elements(ephemerons)[i]))->id,
                     i);
  keys = NULL;
  collect(f);
  for (int i = 0; i < 2; i++)
    assert_null(tarn_ephemeron_value(f->self, elements(ephemerons)[i]));
}

/* Many collections start inside the call, when key and value are in no root of the caller. */
static void key_and_value_live_while_their_ephemeron_is_made(void **state) {
  (void)state;
  enum { BATCH = 4000, BATCHES = COUNT_OF(100) };
  struct fixture f;
  begin(&f, "collect=1,min-heap=64K");
  void *keys = make_array(&f, BATCH), *ephemerons = NULL;
  {
    TARN_FRAME(f.self, &keys, &ephemerons);
    ephemerons = make_array(&f, BATCH);
    for (int batch = 0; batch < BATCHES; batch++) {
      for (uintptr_t i = 0; i < BATCH; i++) {
        struct node *key = make(&f, i), *value;
        {
          void *root = key;
          TARN_FRAME(f.self, &root);
          value = make(&f, BATCH + i);
        }
        elements(ephemerons)[i] = tarn_ephemeron_new(f.self, key, value);
        elements(keys)[i] = key;
      }
      /* What was lost has been allocated again by now, and has another number. */
      for (uintptr_t i = 0; i < BATCH; i++) {
        struct node *value = tarn_ephemeron_value(f.self, elements(ephemerons)[i]);
        assert_ptr_equal(tarn_ephemeron_key(f.self, elements(ephemerons)[i]), elements(keys)[i]);
        assert_int_equal(((struct node *)elements(keys)[i])->id, i);
        assert_int_equal(value->id, BATCH + i);
      }
    }
    tarn_stats stats = {.struct_size = sizeof stats};
    assert_int_equal(tarn_stats_get(f.world, &stats), TARN_OK);
    assert_true(stats.collections >= 10);
  }
  end(&f);
}

static void the_value_can_be_replaced_until_the_key_dies(void **state) {
  struct fixture *f = *state;
  void *key = make(f, 1), *ephemeron = NULL, *weak = NULL;
  TARN_FRAME(f->self, &key, &ephemeron, &weak);
  ephemeron = tarn_ephemeron_new(f->self, key, NULL);
  assert_null(tarn_ephemeron_value(f->self, ephemeron));
  weak = tarn_weak_new(f->self, NULL);
  tarn_ephemeron_set_value(f->self, ephemeron, make(f, 2));
  tarn_weak_set(f->self, weak, tarn_ephemeron_value(f->self, ephemeron));
  tarn_ephemeron_set_value(f->self, ephemeron, make(f, 3));
  collect(f);
  assert_null(tarn_weak_get(f->self, weak));
  assert_int_equal(((struct node *)tarn_ephemeron_value(f->self, ephemeron))->id, 3);
  key = NULL;
  collect(f);
  tarn_ephemeron_set_value(f->self, ephemeron, weak);
  assert_null(tarn_ephemeron_value(f->self, ephemeron));
}

static void bad_arguments_are_refused(void **state) {
  struct fixture *f = *state;
  void *node = make(f, 1), *weak = NULL;
  TARN_FRAME(f->self, &node, &weak);
  weak = tarn_weak_new(f->self, node);
  assert_null(tarn_ephemeron_new(f->self, NULL, node));
  assert_int_equal(tarn_thread_status(f->self), TARN_EINVAL);
  void *bad[] = {NULL, &node, node, weak};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    assert_null(tarn_ephemeron_key(f->self, bad[i]));
    assert_int_equal(tarn_thread_status(f->self), TARN_EINVAL);
    assert_null(tarn_ephemeron_value(f->self, bad[i]));
    tarn_ephemeron_set_value(f->self, bad[i], node);
    assert_int_equal(tarn_thread_status(f->self), TARN_EINVAL);
  }
  assert_ptr_equal(tarn_weak_get(f->self, weak), node);
}

/* ---- Chains: the value of each ephemeron is the key of another ------------------------------- */

enum order { RISING, FALLING, SHUFFLED, ORDERS };
enum { CHAIN = COUNT_OF(100000) };

static uint64_t random_state = 88172645463325252u;
static uint64_t random_number(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return random_state;
}

static void shuffle(void **slots, size_t count) {
  for (size_t i = count - 1; i > 0; i--) {
    size_t j = random_number() % (i + 1);
    void *other = slots[j];
    slots[j] = slots[i];
    slots[i] = other;
  }
}

/*
 * `ephemerons` gets the links of a chain that starts at `head`, in the order wanted.  Values are
 * nodes with their number as id, and nothing else keeps them.
 */
static void make_chain(struct fixture *f, void *ephemerons, void *head, size_t count,
                       enum order order) {
  void *key = head;
  TARN_FRAME(f->self, &ephemerons, &key);
  for (size_t i = 0; i < count; i++) {
    size_t at = order == FALLING ? count - 1 - i : i;
    void *link = tarn_ephemeron_new(f->self, key, make(f, i + 1));
    assert_non_null(link);
    elements(ephemerons)[at] = link;
    key = tarn_ephemeron_value(f->self, link);
  }
  if (order == SHUFFLED)
    shuffle(elements(ephemerons), count);
}

/* The sum of ids along all links; each link must be whole. */
static uint64_t sum_of(struct fixture *f, void *ephemerons, size_t count) {
  uint64_t sum = 0;
  for (size_t i = 0; i < count; i++) {
    struct node *value = tarn_ephemeron_value(f->self, elements(ephemerons)[i]);
    if (value) {
      assert_ptr_equal(value->type, f->node);
      assert_non_null(tarn_ephemeron_key(f->self, elements(ephemerons)[i]));
      sum += value->id;
    }
  }
  return sum;
}

static uint64_t whole_sum(uint64_t count) { return count * (count + 1) / 2; }

static void a_long_chain_lives_by_its_head_in_any_order_in_bounded_time(void **state) {
  struct fixture *f = *state;
  for (int order = 0; order < ORDERS; order++) {
    void *head = make(f, 0), *ephemerons = NULL;
    TARN_FRAME(f->self, &head, &ephemerons);
    ephemerons = make_array(f, CHAIN);
    make_chain(f, ephemerons, head, CHAIN, (enum order)order);
    uint64_t start = cpu_time();
    collect(f);
    collect(f);
    assert_true(cpu_time() - start < TIME_LIMIT);
    assert_int_equal(sum_of(f, ephemerons, CHAIN), whole_sum(CHAIN));
    head = NULL;
    start = cpu_time();
    collect(f);
    assert_true(cpu_time() - start < TIME_LIMIT);
    assert_int_equal(sum_of(f, ephemerons, CHAIN), 0);
  }
}

static void a_chain_whose_middle_key_lives_loses_the_part_before_it(void **state) {
  struct fixture *f = *state;
  enum { SHORT = 1000 };
  for (int order = 0; order < ORDERS; order++) {
    void *middle = NULL, *ephemerons = NULL;
    TARN_FRAME(f->self, &middle, &ephemerons);
    ephemerons = make_array(f, SHORT);
    {
      void *head = make(f, 0);
      TARN_FRAME(f->self, &head);
      make_chain(f, ephemerons, head, SHORT, (enum order)order);
      for (int i = 0; i < SHORT; i++) {
        struct node *value = tarn_ephemeron_value(f->self, elements(ephemerons)[i]);
        if (value->id == SHORT / 2)
          middle = value;
      }
    }
    collect(f);
    /* Left are the links from the middle on; the last value is at the end of the sum. */
    assert_int_equal(sum_of(f, ephemerons, SHORT), whole_sum(SHORT) - whole_sum(SHORT / 2));
  }
}

static void many_ephemerons_share_a_key_in_bounded_time(void **state) {
  struct fixture *f = *state;
  void *holder = make(f, 0), *ephemerons = NULL;
  TARN_FRAME(f->self, &holder, &ephemerons);
  ephemerons = make_array(f, CHAIN);
  /* The key is found late: only as the value of another ephemeron. */
  {
    void *key = make(f, 0), *first = NULL;
    TARN_FRAME(f->self, &key, &first);
    first = tarn_ephemeron_new(f->self, holder, key);
    elements(ephemerons)[0] = first;
    for (uintptr_t i = 1; i < CHAIN; i++)
      elements(ephemerons)[i] = tarn_ephemeron_new(f->self, key, make(f, i));
  }
  uint64_t start = cpu_time();
  collect(f);
  assert_true(cpu_time() - start < TIME_LIMIT);
  assert_int_equal(sum_of(f, ephemerons, CHAIN), whole_sum(CHAIN - 1));
  holder = NULL;
  start = cpu_time();
  collect(f);
  assert_true(cpu_time() - start < TIME_LIMIT);
  assert_int_equal(sum_of(f, ephemerons, CHAIN), 0);
}

static void ephemerons_in_values_of_ephemerons_are_met(void **state) {
  struct fixture *f = *state;
  enum { DEPTH = COUNT_OF(20000) };
  void *keys = make_array(f, DEPTH), *outer = NULL;
  TARN_FRAME(f->self, &keys, &outer);
  for (uintptr_t i = 0; i < DEPTH; i++) {
    elements(keys)[i] = make(f, i);
    outer = tarn_ephemeron_new(f->self, elements(keys)[i], outer);
  }
  collect(f);
  size_t depth = 0;
  for (void *at = outer; at; at = tarn_ephemeron_value(f->self, at))
    depth++;
  assert_int_equal(depth, DEPTH);
  elements(keys)[DEPTH / 2] = NULL;
  collect(f);
  depth = 0;
  for (void *at = outer; at; at = tarn_ephemeron_value(f->self, at))
    depth++;
  assert_int_equal(depth, DEPTH / 2);
}

static void a_chain_survives_a_full_mark_stack(void **state) {
  (void)state;
  struct fixture f;
  begin(&f, WHEN_TOLD_SMALL_STACK);
  {
    void *head = make(&f, 0), *ephemerons = NULL;
    TARN_FRAME(f.self, &head, &ephemerons);
    enum { COUNT = COUNT_OF(20000) };
    ephemerons = make_array(&f, COUNT);
    make_chain(&f, ephemerons, head, COUNT, SHUFFLED);
    collect(&f);
    assert_int_equal(sum_of(&f, ephemerons, COUNT), whole_sum(COUNT));
    head = NULL;
    collect(&f);
    assert_int_equal(sum_of(&f, ephemerons, COUNT), 0);
  }
  end(&f);
}

/* ---- Keys that are watched and die ----------------------------------------------------------- */

static _Atomic unsigned freed;
static void count_free(tarn_world *world, void *object) {
  (void)world, (void)object;
  atomic_fetch_add(&freed, 1);
}

static void a_dead_key_gets_its_free_function_exactly_once(void **state) {
  struct fixture *f = *state;
  enum { COUNT = 5000 };
  tarn_type_spec spec = node_spec();
  spec.free = count_free;
  const tarn_type *type = tarn_type_create(f->world, &spec, NULL);
  for (int survived = 0; survived < 3; survived++) {
    void *keys = make_array(f, COUNT), *ephemerons = NULL;
    TARN_FRAME(f->self, &keys, &ephemerons);
    ephemerons = make_array(f, COUNT);
    for (int i = 0; i < COUNT; i++) {
      elements(keys)[i] = tarn_new(f->self, type);
      elements(ephemerons)[i] = tarn_ephemeron_new(f->self, elements(keys)[i], NULL);
    }
    for (int i = 0; i < survived; i++)
      collect(f); /* moves the keys to where mark bytes alone say that they are in use */
    atomic_store(&freed, 0);
    keys = NULL;
    collect(f);
    (void)tarn_release_pending(f->self, 0);
    assert_int_equal(freed, COUNT);
    collect(f);
    (void)tarn_release_pending(f->self, 0);
    assert_int_equal(freed, COUNT);
    for (int i = 0; i < COUNT; i++)
      assert_null(tarn_ephemeron_key(f->self, elements(ephemerons)[i]));
  }
}

static void watched_keys_leave_no_trace(void **state) {
  struct fixture *f = *state;
  void *keys = make_array(f, 1000), *ephemerons = NULL;
  TARN_FRAME(f->self, &keys, &ephemerons);
  ephemerons = make_array(f, 1000);
  for (uintptr_t i = 0; i < 1000; i++) {
    elements(keys)[i] = make(f, i);
    elements(ephemerons)[i] = tarn_ephemeron_new(f->self, elements(keys)[i], NULL);
  }
  char message[256] = "";
  for (int round = 0; round < 4; round++) {
    for (int i = round; i < 1000; i += 4)
      elements(keys)[i] = NULL;
    collect(f);
    tarn_status status = tarn_verify(f->self, message, sizeof message);
    assert_string_equal(message, "");
    assert_int_equal(status, TARN_OK);
    for (int i = 0; i < 1000; i++)
      assert_ptr_equal(tarn_ephemeron_key(f->self, elements(ephemerons)[i]), elements(keys)[i]);
  }
}

static void keep_nothing(tarn_thread *self, void *object, void *data) {
  (void)self, (void)object;
  (*(unsigned *)data)++;
}

/* Step 4 of tarn/collect.h. */
static void a_key_that_waits_for_its_finalizer_keeps_the_value(void **state) {
  struct fixture *f = *state;
  unsigned ran = 0;
  void *key = make(f, 1), *ephemeron = NULL, *weak = NULL;
  TARN_FRAME(f->self, &key, &ephemeron, &weak);
  ephemeron = tarn_ephemeron_new(f->self, key, make(f, 2));
  weak = tarn_weak_new(f->self, key);
  assert_int_equal(tarn_finalizer_add(f->self, key, keep_nothing, &ran), TARN_OK);
  key = NULL;
  collect(f);
  assert_null(tarn_weak_get(f->self, weak));
  assert_non_null(tarn_ephemeron_key(f->self, ephemeron));
  assert_int_equal(((struct node *)tarn_ephemeron_value(f->self, ephemeron))->id, 2);
  assert_int_equal(tarn_finalizers_run(f->self, 0), 1);
  assert_int_equal(ran, 1);
  collect(f);
  assert_null(tarn_ephemeron_key(f->self, ephemeron));
  assert_null(tarn_ephemeron_value(f->self, ephemeron));
}

/* ---- Without memory for the hash table ------------------------------------------------------- */

/* The hash table as it was before the first collection that needed it. */
static void forget_buckets(struct tarn_ephemeron_part *part) {
  if (part->buckets)
    tarn_os_unmap(part->buckets, part->bucket_count * sizeof *part->buckets);
  part->buckets = NULL;
  part->bucket_count = 0;
}

/*
 * One collection after the other with another page request refused, until there is no further one:
 * among them is one without any hash table, and one in which it could not grow.
 */
static void no_memory_for_watching_changes_nothing_but_the_time(void **state) {
  struct fixture *f = *state;
  if (!TARN_FAULTS) {
    print_message("skipped: built without TARN_FAULTS\n");
    skip();
  }
  enum { COUNT = 5000 };
  struct tarn_ephemeron_part *part = &tarn_collector_of(f->world)->ephemerons;
  unsigned without = 0, cramped = 0;
  for (int order = 0; order < ORDERS; order++) {
    bool last = false;
    for (uint64_t nth = 1; !last; nth++) {
      void *head = make(f, 0), *ephemerons = NULL;
      TARN_FRAME(f->self, &head, &ephemerons);
      ephemerons = make_array(f, COUNT);
      make_chain(f, ephemerons, head, COUNT, (enum order)order);
      forget_buckets(part);
      tarn_os_fault_at(nth);
      tarn_status status = tarn_collect(f->self, TARN_GENERATION_FULL);
      last = tarn_os_fault_count() < nth;
      tarn_os_fault_at(0);
      assert_true(status == TARN_OK || status == TARN_ENOMEM);
      assert_int_equal(sum_of(f, ephemerons, COUNT), whole_sum(COUNT));
      if (order == FALLING && status == TARN_OK) {
        without += part->buckets == NULL;
        cramped += part->buckets && part->bucket_count < COUNT;
      }
      head = NULL;
      collect(f);
      assert_int_equal(sum_of(f, ephemerons, COUNT), 0);
    }
  }
  assert_true(without > 0);
  assert_true(cramped > 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

static void the_heap_that_goes_takes_keys_and_values_along(void **state) {
  const struct fixture *f = *state;
  tarn_heap *heap;
  assert_int_equal(tarn_heap_create(f->world, TARN_HEAP_CONTAINER, &heap), TARN_OK);
  tarn_type_spec spec = node_spec();
  spec.heap = heap;
  struct fixture there = *f;
  there.node = tarn_type_create(f->world, &spec, NULL);
  assert_non_null(there.node);
  void *inside = NULL, *outside = NULL, *pairs[4] = {NULL};
  TARN_FRAME(f->self, &inside, &outside, &pairs[0], &pairs[1], &pairs[2], &pairs[3]);
  inside = make(&there, 1);
  outside = make(f, 2);
  for (unsigned i = 0; i < 4; i++) {
    pairs[i] = tarn_ephemeron_new(f->self, i & 1 ? inside : outside, i & 2 ? inside : outside);
    assert_non_null(pairs[i]);
  }
  inside = NULL;
  assert_int_equal(tarn_heap_destroy(f->self, heap), TARN_OK);
  for (unsigned i = 0; i < 4; i++) {
    assert_ptr_equal(tarn_ephemeron_key(f->self, pairs[i]), i & 1 ? NULL : outside);
    assert_ptr_equal(tarn_ephemeron_value(f->self, pairs[i]), i == 0 ? outside : NULL);
  }
  collect(f);
  assert_ptr_equal(tarn_ephemeron_value(f->self, pairs[0]), outside);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(the_value_lives_while_ephemeron_and_key_do),
      TEST(key_and_value_go_together),
      TEST(a_value_that_refers_to_its_key_does_not_keep_it),
      TEST(a_key_that_is_its_own_value_does_not_live_by_that),
      TEST(keys_and_values_that_need_each_other_die_together),
      TEST(a_key_outside_the_world_never_dies),
      TEST(raw_and_large_keys_count),
      TEST(the_value_can_be_replaced_until_the_key_dies),
      cmocka_unit_test(key_and_value_live_while_their_ephemeron_is_made),
      TEST(bad_arguments_are_refused),
      TEST(a_long_chain_lives_by_its_head_in_any_order_in_bounded_time),
      TEST(a_chain_whose_middle_key_lives_loses_the_part_before_it),
      TEST(many_ephemerons_share_a_key_in_bounded_time),
      TEST(ephemerons_in_values_of_ephemerons_are_met),
      cmocka_unit_test(a_chain_survives_a_full_mark_stack),
      TEST(a_dead_key_gets_its_free_function_exactly_once),
      TEST(watched_keys_leave_no_trace),
      TEST(a_key_that_waits_for_its_finalizer_keeps_the_value),
      TEST(the_heap_that_goes_takes_keys_and_values_along),
      TEST(no_memory_for_watching_changes_nothing_but_the_time),
  };
  return cmocka_run_group_tests_name("ephemerons", tests, NULL, NULL);
}
