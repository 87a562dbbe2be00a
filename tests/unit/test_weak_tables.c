/* SPDX-License-Identifier: MIT */
/*
 * Weak tables: what they hold, what they let go, how they grow and shrink, and many threads at
 * once.
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
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

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

/* Nanoseconds that this thread has worked: other load on the machine does not count. */
static uint64_t cpu_time(void) {
  struct timespec now;
  assert_int_equal(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now), 0);
  return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
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

static tarn_weak_table *make_table(const struct fixture *f, tarn_weak_kind kind) {
  tarn_weak_table_spec spec = TARN_WEAK_TABLE_SPEC_INIT;
  spec.kind = kind;
  tarn_weak_table *table = NULL;
  assert_int_equal(tarn_weak_table_create(f->world, &spec, &table), TARN_OK);
  assert_non_null(table);
  return table;
}

static void *value_of(const struct fixture *f, tarn_weak_table *table, const void *key) {
  void *value = NULL;
  (void)tarn_weak_table_get(f->self, table, key, &value);
  return value;
}

/* ---- What a table holds ---------------------------------------------------------------------- */

static void a_set_forgets_what_dies_and_keeps_what_lives(void **state) {
  struct fixture *f = *state;
  tarn_weak_table *set = make_table(f, TARN_WEAK_SET);
  void *live = make_array(f, 1000);
  TARN_FRAME(f->self, &live);
  for (uintptr_t i = 0; i < 1000; i++) {
    elements(live)[i] = make(f, i);
    assert_ptr_equal(tarn_weak_table_put(f->self, set, elements(live)[i], NULL, false),
                     elements(live)[i]);
  }
  collect(f);
  assert_int_equal(tarn_weak_table_count(set), 1000);
  for (uintptr_t i = 0; i < 1000; i += 2)
    elements(live)[i] = NULL;
  collect(f);
  assert_int_equal(tarn_weak_table_count(set), 500);
  for (uintptr_t i = 1; i < 1000; i += 2)
    assert_ptr_equal(tarn_weak_table_get(f->self, set, elements(live)[i], NULL), elements(live)[i]);
}

static void a_key_keeps_its_value_but_the_value_not_its_key(void **state) {
  struct fixture *f = *state;
  tarn_weak_table *table = make_table(f, TARN_WEAK_KEYS);
  void *key = make(f, 1), *weak = NULL;
  TARN_FRAME(f->self, &key, &weak);
  struct node *value = make(f, 2);
  value->left = key;
  assert_ptr_equal(tarn_weak_table_put(f->self, table, key, value, false), key);
  weak = tarn_weak_new(f->self, value);
  for (int i = 0; i < 3; i++) {
    collect(f);
    value = value_of(f, table, key);
    assert_non_null(value);
    assert_int_equal(value->id, 2);
    assert_ptr_equal(value->left, key);
    assert_ptr_equal(tarn_weak_get(f->self, weak), value);
  }
  key = NULL;
  collect(f);
  assert_int_equal(tarn_weak_table_count(table), 0);
  assert_null(tarn_weak_get(f->self, weak));
}

static void a_weak_value_takes_its_entry_along_and_a_key_is_kept(void **state) {
  struct fixture *f = *state;
  tarn_weak_table *table = make_table(f, TARN_WEAK_VALUES);
  void *value = make(f, 2), *weak = NULL;
  TARN_FRAME(f->self, &value, &weak);
  void *key = make(f, 1);
  assert_ptr_equal(tarn_weak_table_put(f->self, table, key, value, false), key);
  weak = tarn_weak_new(f->self, key);
  collect(f); /* nothing but the table keeps the key */
  assert_ptr_equal(tarn_weak_get(f->self, weak), key);
  assert_ptr_equal(value_of(f, table, key), value);
  value = NULL;
  collect(f);
  assert_int_equal(tarn_weak_table_count(table), 0);
  collect(f);
  assert_null(tarn_weak_get(f->self, weak));
}

static void a_key_that_refers_to_its_weak_value_keeps_the_entry(void **state) {
  struct fixture *f = *state;
  tarn_weak_table *table = make_table(f, TARN_WEAK_VALUES);
  void *key = make(f, 1);
  TARN_FRAME(f->self, &key);
  ((struct node *)key)->left = make(f, 2);
  assert_ptr_equal(tarn_weak_table_put(f->self, table, key, ((struct node *)key)->left, false),
                   key);
  collect(f);
  assert_ptr_equal(value_of(f, table, key), ((struct node *)key)->left);
}

static void a_copy_has_each_entry_once_and_keeps_what_is_in_a_root(void **state) {
  enum { ENTRIES = 300 };
  struct fixture *f = *state;
  tarn_weak_table *table = make_table(f, TARN_WEAK_KEYS);
  void *live = make_array(f, ENTRIES), *keys = NULL, *values = NULL;
  TARN_FRAME(f->self, &live, &keys, &values);
  for (uintptr_t i = 0; i < ENTRIES; i++) {
    elements(live)[i] = make(f, i);
    struct node *value = make(f, 1000 + i);
    (void)tarn_weak_table_put(f->self, table, elements(live)[i], value, false);
  }
  for (uintptr_t i = 0; i < ENTRIES; i += 3)
    assert_true(tarn_weak_table_remove(f->self, table, elements(live)[i]));
  size_t left = tarn_weak_table_count(table);
  keys = make_array(f, ENTRIES);
  values = make_array(f, ENTRIES); /* the keys' array is older by this one only */
  assert_int_equal(tarn_weak_table_entries(f->self, table, elements(keys), elements(values), 7), 7);
  assert_null(elements(keys)[7]);
  assert_int_equal(
      tarn_weak_table_entries(f->self, table, elements(keys), elements(values), ENTRIES), left);
  assert_int_equal(tarn_weak_table_entries(f->self, table, NULL, NULL, ENTRIES), left);
  live = NULL;
  tarn_weak_table_destroy(table);
  collect(f); /* the copy keeps them */
  bool seen[ENTRIES] = {false};
  for (size_t i = 0; i < left; i++) {
    const struct node *key = elements(keys)[i], *value = elements(values)[i];
    assert_true(key->id % 3 != 0 && key->id < ENTRIES && !seen[key->id]);
    assert_int_equal(value->id, 1000 + key->id);
    seen[key->id] = true;
  }
}

/* Both orders of address, since the table is read in the order of hashes. */
static void a_long_chain_through_a_table_lives_by_its_head_in_bounded_time(void **state) {
  struct fixture *f = *state;
  enum { CHAIN = COUNT_OF(100000) };
  tarn_weak_table *table = make_table(f, TARN_WEAK_KEYS);
  void *head = make(f, 0);
  TARN_FRAME(f->self, &head);
  {
    void *key = head;
    TARN_FRAME(f->self, &key);
    for (uintptr_t i = 1; i <= CHAIN; i++) {
      struct node *value = make(f, i);
      assert_ptr_equal(tarn_weak_table_put(f->self, table, key, value, false), key);
      key = value;
    }
  }
  uint64_t start = cpu_time();
  collect(f);
  assert_true(cpu_time() - start < TIME_LIMIT);
  uintptr_t found = 0;
  for (struct node *at = head; at; at = value_of(f, table, at))
    assert_int_equal(at->id, found++);
  assert_int_equal(found, CHAIN + 1);
  head = NULL;
  start = cpu_time();
  collect(f);
  assert_true(cpu_time() - start < TIME_LIMIT);
  assert_int_equal(tarn_weak_table_count(table), 0);
}

static void tables_and_ephemerons_lead_to_each_other(void **state) {
  struct fixture *f = *state;
  enum { LINKS = 2000 };
  tarn_weak_table *table = make_table(f, TARN_WEAK_KEYS);
  void *head = make(f, 0), *ephemerons = NULL;
  TARN_FRAME(f->self, &head, &ephemerons);
  ephemerons = make_array(f, LINKS);
  {
    void *key = head;
    TARN_FRAME(f->self, &key);
    for (uintptr_t i = 0; i < LINKS; i++) {
      struct node *value = make(f, i + 1);
      if (i % 2)
        (void)tarn_weak_table_put(f->self, table, key, value, false);
      else {
        elements(ephemerons)[LINKS - 1 - i] = tarn_ephemeron_new(f->self, key, value);
        value = tarn_ephemeron_value(f->self, elements(ephemerons)[LINKS - 1 - i]);
      }
      key = value;
    }
  }
  collect(f);
  assert_int_equal(tarn_weak_table_count(table), LINKS / 2);
  struct node *at = head;
  for (uintptr_t i = 0; i < LINKS; i++) {
    at = i % 2 ? value_of(f, table, at)
               : tarn_ephemeron_value(f->self, elements(ephemerons)[LINKS - 1 - i]);
    assert_non_null(at);
    assert_int_equal(at->id, i + 1);
  }
  head = NULL;
  collect(f);
  assert_int_equal(tarn_weak_table_count(table), 0);
}

static _Atomic unsigned ran;
static void count_run(tarn_thread *self, void *object, void *data) {
  (void)self, (void)object, (void)data;
  atomic_fetch_add(&ran, 1);
}

/* Step 2 of tarn/collect.h. */
static void entries_go_before_the_finalizer_of_their_key_runs(void **state) {
  struct fixture *f = *state;
  tarn_weak_table *set = make_table(f, TARN_WEAK_SET), *keys = make_table(f, TARN_WEAK_KEYS);
  void *weak = make_array(f, 100);
  TARN_FRAME(f->self, &weak);
  atomic_store(&ran, 0);
  {
    void *objects = make_array(f, 100);
    TARN_FRAME(f->self, &objects);
    for (uintptr_t i = 0; i < 100; i++) {
      void *object = elements(objects)[i] = make(f, i);
      assert_int_equal(tarn_finalizer_add(f->self, object, count_run, NULL), TARN_OK);
      (void)tarn_weak_table_put(f->self, set, object, NULL, false);
      struct node *value = make(f, i);
      (void)tarn_weak_table_put(f->self, keys, object, value, false);
      elements(weak)[i] = tarn_weak_new(f->self, value);
    }
  }
  collect(f);
  assert_int_equal(tarn_finalizers_due(f->world), 100);
  assert_int_equal(tarn_weak_table_count(set), 0);
  assert_int_equal(tarn_weak_table_count(keys), 0);
  for (int i = 0; i < 100; i++)
    assert_null(tarn_weak_get(f->self, elements(weak)[i]));
  assert_int_equal(tarn_finalizers_run(f->self, 0), 100);
  collect(f);
  assert_int_equal(ran, 100);
}

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
    tarn_weak_table *table = make_table(f, TARN_WEAK_KEYS);
    void *keys = make_array(f, COUNT);
    TARN_FRAME(f->self, &keys);
    for (int i = 0; i < COUNT; i++) {
      void *key = elements(keys)[i] = tarn_new(f->self, type);
      assert_ptr_equal(tarn_weak_table_put(f->self, table, key, key, false), key);
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
    assert_int_equal(tarn_weak_table_count(table), 0);
  }
}

/* ---- Entries --------------------------------------------------------------------------------- */

static void an_entry_is_added_once_and_replaced_only_on_demand(void **state) {
  struct fixture *f = *state;
  tarn_weak_table *table = make_table(f, TARN_WEAK_KEYS);
  void *key = make(f, 1), *a = NULL, *b = NULL;
  TARN_FRAME(f->self, &key, &a, &b);
  a = make(f, 2);
  b = make(f, 3);
  assert_ptr_equal(tarn_weak_table_put(f->self, table, key, a, false), key);
  assert_ptr_equal(tarn_weak_table_put(f->self, table, key, b, false), key);
  assert_ptr_equal(value_of(f, table, key), a);
  assert_ptr_equal(tarn_weak_table_put(f->self, table, key, b, true), key);
  assert_ptr_equal(value_of(f, table, key), b);
  assert_int_equal(tarn_weak_table_count(table), 1);
  assert_true(tarn_weak_table_remove(f->self, table, key));
  assert_false(tarn_weak_table_remove(f->self, table, key));
  assert_null(tarn_weak_table_get(f->self, table, key, &a));
  assert_null(a);
  assert_int_equal(tarn_weak_table_count(table), 0);
}

static uint64_t random_state = 88172645463325252u;
static uint64_t random_number(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return random_state;
}

/* Against a plain array: key i is in the table exactly if expected[i] says which value it has. */
static void a_table_does_what_an_array_does(void **state) {
  struct fixture *f = *state;
  enum { KEYS = 3000, STEPS = COUNT_OF(200000) };
  tarn_weak_table *table = make_table(f, TARN_WEAK_KEYS);
  void *keys = make_array(f, KEYS), *expected = NULL;
  TARN_FRAME(f->self, &keys, &expected);
  expected = make_array(f, KEYS);
  size_t count = 0;
  for (uintptr_t i = 0; i < KEYS; i++)
    elements(keys)[i] = make(f, i);
  for (unsigned step = 0; step < STEPS; step++) {
    size_t i = random_number() % KEYS;
    /* Long stretches of growth and of decline, so that the table is resized both ways. */
    bool grows = step / 20000 % 2 == 0;
    void **at = &elements(expected)[i];
    if (random_number() % 4 == 0 ? !grows : grows) {
      struct node *value = make(f, step);
      bool replace = random_number() % 2;
      assert_ptr_equal(tarn_weak_table_put(f->self, table, elements(keys)[i], value, replace),
                       elements(keys)[i]);
      count += !*at;
      *at = !*at || replace ? value : *at;
    } else {
      assert_int_equal(tarn_weak_table_remove(f->self, table, elements(keys)[i]), *at != NULL);
      count -= *at != NULL;
      *at = NULL;
    }
    i = random_number() % KEYS;
    assert_ptr_equal(value_of(f, table, elements(keys)[i]), elements(expected)[i]);
    if (step % 50000 == 49999)
      collect(f);
    if (step % 30000 == 29999) { /* some die while the rest is used */
      for (size_t k = 0; k < KEYS; k += 3) {
        elements(keys)[k] = NULL;
        count -= elements(expected)[k] != NULL;
        elements(expected)[k] = NULL;
      }
      collect(f);
      for (size_t k = 0; k < KEYS; k += 3)
        elements(keys)[k] = make(f, k);
    }
    assert_int_equal(tarn_weak_table_count(table), count);
  }
}

static void a_table_shrinks_after_mass_death(void **state) {
  struct fixture *f = *state;
  enum { COUNT = COUNT_OF(200000) };
  tarn_weak_table *set = make_table(f, TARN_WEAK_SET);
  tarn_stats stats = {.struct_size = sizeof stats};
  assert_int_equal(tarn_stats_get(f->world, &stats), TARN_OK);
  uint64_t before = stats.metadata_bytes;
  {
    void *keys = make_array(f, COUNT);
    TARN_FRAME(f->self, &keys);
    for (uintptr_t i = 0; i < COUNT; i++) {
      elements(keys)[i] = make(f, i);
      assert_non_null(tarn_weak_table_put(f->self, set, elements(keys)[i], NULL, false));
    }
    assert_int_equal(tarn_weak_table_count(set), COUNT);
  }
  assert_int_equal(tarn_stats_get(f->world, &stats), TARN_OK);
  uint64_t grown = stats.metadata_bytes - before;
  collect(f);
  assert_int_equal(tarn_weak_table_count(set), 0);
  void *few = make_array(f, 300); /* enough to come by every shard */
  TARN_FRAME(f->self, &few);
  for (uintptr_t i = 0; i < 300; i++) {
    elements(few)[i] = make(f, i);
    assert_non_null(tarn_weak_table_put(f->self, set, elements(few)[i], NULL, false));
  }
  assert_int_equal(tarn_stats_get(f->world, &stats), TARN_OK);
  assert_true(grown > COUNT * 32);
  assert_true(stats.metadata_bytes < before + grown / 16);
  for (uintptr_t i = 0; i < 300; i++)
    assert_ptr_equal(tarn_weak_table_get(f->self, set, elements(few)[i], NULL), elements(few)[i]);
}

/* ---- Words: hash and equal of the user ------------------------------------------------------- */

struct word {
  const tarn_type *type;
  uintptr_t number;
};

static uint64_t hash_word(const void *key, void *data) {
  (void)data;
  return ((const struct word *)key)->number;
}
static uint64_t hash_badly(const void *key, void *data) {
  (void)key, (void)data;
  return 0;
}
static bool equal_words(const void *probe, const void *key, void *data) {
  (void)data;
  return ((const struct word *)probe)->number == ((const struct word *)key)->number;
}

static tarn_weak_table *make_words(const struct fixture *f,
                                   uint64_t (*hash)(const void *, void *)) {
  tarn_weak_table_spec spec = TARN_WEAK_TABLE_SPEC_INIT;
  spec.kind = TARN_WEAK_SET;
  spec.hash = hash;
  spec.equal = equal_words;
  tarn_weak_table *table = NULL;
  assert_int_equal(tarn_weak_table_create(f->world, &spec, &table), TARN_OK);
  return table;
}

static const tarn_type *word_type(tarn_world *world) {
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = "word";
  spec.size = sizeof(struct word);
  return tarn_type_create(world, &spec, NULL);
}

static void equal_keys_are_one_whatever_the_hash(void **state) {
  struct fixture *f = *state;
  const tarn_type *type = word_type(f->world);
  uint64_t (*hashes[])(const void *, void *) = {hash_word, hash_badly};
  for (int h = 0; h < 2; h++) {
    tarn_weak_table *words = make_words(f, hashes[h]);
    void *kept = make_array(f, 500);
    TARN_FRAME(f->self, &kept);
    for (uintptr_t i = 0; i < 500; i++) {
      struct word *word = tarn_new(f->self, type);
      word->number = i;
      elements(kept)[i] = word;
      assert_ptr_equal(tarn_weak_table_put(f->self, words, word, NULL, false), word);
      struct word *again = tarn_new(f->self, type);
      again->number = i;
      assert_ptr_equal(tarn_weak_table_put(f->self, words, again, NULL, false), word);
    }
    assert_int_equal(tarn_weak_table_count(words), 500);
    struct word probe = {NULL, 77}; /* need not be an object */
    assert_ptr_equal(tarn_weak_table_get(f->self, words, &probe, NULL), elements(kept)[77]);
    probe.number = 500;
    assert_null(tarn_weak_table_get(f->self, words, &probe, NULL));
    probe.number = 78;
    assert_true(tarn_weak_table_remove(f->self, words, &probe));
    assert_null(tarn_weak_table_get(f->self, words, elements(kept)[78], NULL));
    tarn_weak_table_destroy(words);
  }
}

/* ---- Several threads ------------------------------------------------------------------------- */

enum { THREADS = 3, FEW = 200, WORDS = 20000, TURNS = COUNT_OF(40000) };

struct interning {
  struct fixture *f;
  const tarn_type *type;
  tarn_weak_table *words;
  _Atomic unsigned wrong, fresh;
  _Atomic bool done;
  pthread_barrier_t start;
};

/* All go on together: threads one after the other would show nothing. */
static void wait_for_all(tarn_thread *self, pthread_barrier_t *barrier) {
  tarn_block_begin(self);
  (void)pthread_barrier_wait(barrier);
  tarn_block_end(self);
}

/*
 * Interns words at random.  What comes back must be whole, and must be the same object for as long
 * as this thread keeps it.
 */
static void *intern(void *data) {
  struct interning *interning = data;
  tarn_thread *self = NULL;
  if (tarn_thread_attach(interning->f->world, &self) != TARN_OK)
    return interning;
  wait_for_all(self, &interning->start);
  {
    void *kept[4] = {NULL, NULL, NULL, NULL};
    TARN_FRAME(self, &kept[0], &kept[1], &kept[2], &kept[3]);
    uint64_t random = (uint64_t)(uintptr_t)&self | 1;
    for (unsigned i = 0; i < TURNS; i++) {
      random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
      /* Few words meet often; many make entries, and shards that grow. */
      uintptr_t number = (random >> 33) % (i % 2 ? FEW : WORDS);
      struct word *word = tarn_new(self, interning->type);
      if (!word) {
        atomic_fetch_add(&interning->wrong, 1);
        continue;
      }
      word->number = number;
      struct word *canonical = tarn_weak_table_put(self, interning->words, word, NULL, false);
      if (!canonical || canonical->type != interning->type || canonical->number != number)
        atomic_fetch_add(&interning->wrong, 1);
      if (canonical == word)
        atomic_fetch_add(&interning->fresh, 1);
      for (int k = 0; k < 4; k++) {
        struct word *mine = kept[k];
        if (mine && mine->number == number && mine != canonical)
          atomic_fetch_add(&interning->wrong, 1);
      }
      kept[i % 4] = canonical;
      tarn_safepoint(self);
    }
  }
  return tarn_thread_detach(self) == TARN_OK ? NULL : interning;
}

/* Not attached: counts while the collector works. */
static void *count_on_and_on(void *data) {
  struct interning *interning = data;
  while (!atomic_load(&interning->done))
    if (tarn_weak_table_count(interning->words) > WORDS)
      atomic_fetch_add(&interning->wrong, 1);
  return NULL;
}

static void a_word_is_one_object_for_all_threads_while_another_collects(void **state) {
  struct fixture *f = *state;
  struct interning interning = {.f = f, .type = word_type(f->world)};
  interning.words = make_words(f, hash_word);
  assert_int_equal(pthread_barrier_init(&interning.start, NULL, THREADS + 1), 0);
  pthread_t threads[THREADS], counter;
  for (int i = 0; i < THREADS; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, intern, &interning), 0);
  assert_int_equal(pthread_create(&counter, NULL, count_on_and_on, &interning), 0);
  wait_for_all(f->self, &interning.start);
  for (int i = 0; i < 60; i++) {
    collect(f);
    tarn_block_begin(f->self); /* time to run without a stop, which orders everything */
    (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    tarn_block_end(f->self);
  }
  tarn_block_begin(f->self);
  for (int i = 0; i < THREADS; i++) {
    void *result = &interning;
    assert_int_equal(pthread_join(threads[i], &result), 0);
    assert_null(result);
  }
  atomic_store(&interning.done, true);
  assert_int_equal(pthread_join(counter, NULL), 0);
  tarn_block_end(f->self);
  assert_int_equal(pthread_barrier_destroy(&interning.start), 0);
  assert_int_equal(interning.wrong, 0);
  assert_true(interning.fresh >= FEW); /* some were made again after they had died */
  collect(f);
  assert_int_equal(tarn_weak_table_count(interning.words), 0);
}

/* Not attached: makes and destroys tables while collections run. */
static void *make_and_destroy(void *data) {
  struct interning *interning = data;
  tarn_weak_table_spec spec = TARN_WEAK_TABLE_SPEC_INIT;
  spec.kind = TARN_WEAK_KEYS;
  while (!atomic_load(&interning->done)) {
    tarn_weak_table *tables[4];
    for (int i = 0; i < 4; i++)
      if (tarn_weak_table_create(interning->f->world, &spec, &tables[i]) != TARN_OK)
        atomic_fetch_add(&interning->wrong, 1);
    for (int i = 0; i < 4; i++)
      tarn_weak_table_destroy(tables[i]);
  }
  return NULL;
}

struct handed {
  tarn_weak_table *_Atomic table;
  _Atomic bool done;
};

/* Not attached: destroys each table that it is handed, whatever the collector does just now. */
static void *destroy_what_comes(void *data) {
  struct handed *handed = data;
  while (!atomic_load(&handed->done))
    tarn_weak_table_destroy(atomic_exchange(&handed->table, NULL));
  tarn_weak_table_destroy(atomic_exchange(&handed->table, NULL));
  return NULL;
}

static void tables_come_and_go_while_the_collector_works(void **state) {
  struct fixture *f = *state;
  struct interning interning = {.f = f};
  struct handed handed = {.done = false};
  pthread_t maker, destroyer;
  assert_int_equal(pthread_create(&maker, NULL, make_and_destroy, &interning), 0);
  assert_int_equal(pthread_create(&destroyer, NULL, destroy_what_comes, &handed), 0);
  for (int round = 0; round < 40; round++) {
    /* Dead keys, so that the collector has links to the entries when the table goes. */
    tarn_weak_table *table = make_table(f, TARN_WEAK_KEYS);
    for (uintptr_t i = 0; i < 2000; i++)
      assert_non_null(tarn_weak_table_put(f->self, table, make(f, i), NULL, false));
    tarn_weak_table *left = atomic_exchange(&handed.table, table);
    tarn_weak_table_destroy(left);
    collect(f);
  }
  atomic_store(&interning.done, true);
  atomic_store(&handed.done, true);
  assert_int_equal(pthread_join(maker, NULL), 0);
  assert_int_equal(pthread_join(destroyer, NULL), 0);
  assert_int_equal(interning.wrong, 0);
}

/* ---- Bad arguments, and no memory ------------------------------------------------------------ */

static void bad_arguments_are_refused(void **state) {
  struct fixture *f = *state;
  tarn_weak_table_spec spec = TARN_WEAK_TABLE_SPEC_INIT;
  tarn_weak_table *table = (tarn_weak_table *)(void *)&spec;
  assert_int_equal(tarn_weak_table_create(NULL, &spec, &table), TARN_EINVAL);
  assert_null(table);
  assert_int_equal(tarn_weak_table_create(f->world, NULL, &table), TARN_EINVAL);
  assert_int_equal(tarn_weak_table_create(f->world, &spec, NULL), TARN_EINVAL);
  spec.kind = (tarn_weak_kind)3;
  assert_int_equal(tarn_weak_table_create(f->world, &spec, &table), TARN_EINVAL);
  spec.kind = TARN_WEAK_SET;
  spec.hash = hash_word;
  assert_int_equal(tarn_weak_table_create(f->world, &spec, &table), TARN_EINVAL);
  spec.hash = NULL;
  spec.struct_size = 4;
  assert_int_equal(tarn_weak_table_create(f->world, &spec, &table), TARN_EINVAL);

  table = make_table(f, TARN_WEAK_SET);
  void *key = make(f, 1);
  TARN_FRAME(f->self, &key);
  assert_null(tarn_weak_table_put(f->self, table, NULL, NULL, false));
  assert_int_equal(tarn_thread_status(f->self), TARN_EINVAL);
  assert_null(tarn_weak_table_put(f->self, NULL, key, NULL, false));
  assert_int_equal(tarn_thread_status(f->self), TARN_EINVAL);
  assert_null(tarn_weak_table_get(f->self, NULL, key, NULL));
  assert_false(tarn_weak_table_remove(f->self, NULL, key));
  assert_null(tarn_weak_table_put(NULL, table, key, NULL, false));
  assert_int_equal(tarn_weak_table_count(NULL), 0);
  assert_int_equal(tarn_weak_table_entries(f->self, NULL, NULL, NULL, 1), 0);
  assert_int_equal(tarn_thread_status(f->self), TARN_EINVAL);
  assert_int_equal(tarn_weak_table_entries(NULL, table, NULL, NULL, 1), 0);
  tarn_weak_table_destroy(NULL);

  struct fixture other;
  begin(&other, WHEN_TOLD);
  assert_null(tarn_weak_table_put(other.self, table, key, NULL, false));
  assert_int_equal(tarn_thread_status(other.self), TARN_EINVAL);
  end(&other);
  assert_int_equal(tarn_weak_table_count(table), 0);
}

static void a_put_without_memory_says_so_and_loses_nothing(void **state) {
  struct fixture *f = *state;
  if (!TARN_FAULTS) {
    print_message("skipped: built without TARN_FAULTS\n");
    skip();
  }
  enum { COUNT = 20000 };
  tarn_weak_table *table = make_table(f, TARN_WEAK_KEYS);
  void *keys = make_array(f, COUNT);
  TARN_FRAME(f->self, &keys);
  for (uintptr_t i = 0; i < COUNT; i++)
    elements(keys)[i] = make(f, i);
  unsigned refused = 0;
  for (uintptr_t i = 0; i < COUNT; i++) {
    void *key = elements(keys)[i];
    tarn_os_fault_at(1);
    void *result = tarn_weak_table_put(f->self, table, key, key, false);
    if (!result) {
      assert_int_equal(tarn_thread_status(f->self), TARN_ENOMEM);
      assert_int_equal(tarn_weak_table_count(table), i);
      assert_null(tarn_weak_table_get(f->self, table, key, NULL));
      refused++;
      tarn_os_fault_at(0);
      result = tarn_weak_table_put(f->self, table, key, key, false);
    }
    tarn_os_fault_at(0);
    assert_ptr_equal(result, key);
  }
  assert_true(refused > 0);
  assert_int_equal(tarn_weak_table_count(table), COUNT);
  for (uintptr_t i = 0; i < COUNT; i++)
    assert_ptr_equal(value_of(f, table, elements(keys)[i]), elements(keys)[i]);
}

/* One collection after the other with another page request refused, until there is no further one.
 */
static void a_collection_without_memory_keeps_what_a_table_leads_to(void **state) {
  (void)state;
  if (!TARN_FAULTS) {
    print_message("skipped: built without TARN_FAULTS\n");
    skip();
  }
  enum { LINKS = 3000 };
  bool last = false;
  for (uint64_t nth = 1; !last; nth++) {
    /* A new world each time, so that the collector has no memory left from before. */
    struct fixture fresh;
    begin(&fresh, WHEN_TOLD);
    tarn_weak_table *table = make_table(&fresh, TARN_WEAK_KEYS);
    void *head = make(&fresh, 0);
    {
      TARN_FRAME(fresh.self, &head);
      struct node *key = head;
      for (uintptr_t i = 1; i <= LINKS; i++) {
        void *root = key;
        TARN_FRAME(fresh.self, &root);
        struct node *value = make(&fresh, i);
        (void)tarn_weak_table_put(fresh.self, table, key, value, false);
        key = value;
      }
      tarn_os_fault_at(nth);
      tarn_status status = tarn_collect(fresh.self, TARN_GENERATION_FULL);
      last = tarn_os_fault_count() < nth;
      tarn_os_fault_at(0);
      assert_true(status == TARN_OK || status == TARN_ENOMEM);
      uintptr_t found = 0;
      for (struct node *at = head; at; at = value_of(&fresh, table, at))
        assert_int_equal(at->id, found++);
      assert_int_equal(found, LINKS + 1);
      head = NULL;
      collect(&fresh);
      assert_int_equal(tarn_weak_table_count(table), 0);
    }
    end(&fresh);
  }
}

static void the_heap_that_goes_takes_entries_along(void **state) {
  struct fixture *f = *state;
  tarn_heap *heap = NULL;
  assert_int_equal(tarn_heap_create(f->world, TARN_HEAP_CONTAINER, &heap), TARN_OK);
  tarn_type_spec spec = node_spec();
  spec.heap = heap;
  const tarn_type *type = tarn_type_create(f->world, &spec, NULL);
  tarn_weak_table *set = make_table(f, TARN_WEAK_SET), *keys = make_table(f, TARN_WEAK_KEYS);
  tarn_weak_table *values = make_table(f, TARN_WEAK_VALUES);
  void *goes = tarn_new(f->self, type), *stays = NULL;
  TARN_FRAME(f->self, &goes, &stays);
  stays = make(f, 1);
  (void)tarn_weak_table_put(f->self, set, goes, NULL, false);
  (void)tarn_weak_table_put(f->self, set, stays, NULL, false);
  (void)tarn_weak_table_put(f->self, keys, goes, stays, false);
  (void)tarn_weak_table_put(f->self, keys, stays, goes, false);
  (void)tarn_weak_table_put(f->self, values, stays, goes, false);
  goes = NULL;
  assert_int_equal(tarn_heap_destroy(f->self, heap), TARN_OK);
  assert_int_equal(tarn_weak_table_count(set), 1);
  assert_int_equal(tarn_weak_table_count(keys), 1);
  assert_int_equal(tarn_weak_table_count(values), 0);
  assert_ptr_equal(tarn_weak_table_get(f->self, keys, stays, NULL), stays);
  assert_null(value_of(f, keys, stays));
}

/* ---- Forks ----------------------------------------------------------------------------------- */

#define FORK_KEYS 200
/* ThreadSanitizer ends a process in which a thread holds more than 64 locks. */
#define FORK_TABLES 8

struct putter {
  const struct fixture *f;
  tarn_weak_table *tables[FORK_TABLES];
  atomic_bool started, stop;
};

static void *put_until_told(void *data) {
  struct putter *putter = data;
  struct fixture mine = *putter->f;
  void *keys = NULL;
  assert_int_equal(tarn_thread_attach(mine.world, &mine.self), TARN_OK);
  {
    TARN_FRAME(mine.self, &keys);
    keys = make_array(&mine, FORK_KEYS);
    for (size_t i = 0; i < FORK_KEYS; i++)
      elements(keys)[i] = make(&mine, i);
    for (size_t n = 0; !atomic_load(&putter->stop); n++) {
      tarn_weak_table *table = putter->tables[n % FORK_TABLES];
      void *key = elements(keys)[n % FORK_KEYS];
      (void)tarn_weak_table_put(mine.self, table, key, NULL, false);
      (void)tarn_weak_table_remove(mine.self, table, key);
      atomic_store(&putter->started, true);
      tarn_safepoint(mine.self);
    }
  }
  assert_int_equal(tarn_thread_detach(mine.self), TARN_OK);
  return NULL;
}

/* Keys enough that each part of the table gets some. */
static int use_in_child(const struct fixture *f, tarn_weak_table *table, const void *old) {
  void *keys = NULL;
  int bad = 0;
  (void)alarm(40); /* a lock that nobody will ever open */
  TARN_FRAME(f->self, &keys);
  keys = tarn_new_array(f->self, f->array, FORK_KEYS);
  for (size_t i = 0; keys && i < FORK_KEYS; i++) {
    elements(keys)[i] = tarn_new(f->self, f->node);
    bad += !tarn_weak_table_put(f->self, table, elements(keys)[i], NULL, false);
  }
  bad += !keys || !tarn_weak_table_get(f->self, table, old, NULL);
  bad += tarn_collect(f->self, TARN_GENERATION_FULL) != TARN_OK;
  for (size_t i = 0; keys && i < FORK_KEYS; i++)
    bad += !tarn_weak_table_get(f->self, table, elements(keys)[i], NULL);
  return bad;
}

static void a_child_goes_on_with_tables_that_others_were_using(void **state) {
  enum { FORKS = 5 };
  struct fixture fresh, *f = &fresh;
  char set[100];
  (void)state;
  /* No threads of the library: the first steps of one take locks of sanitizers, which no fork
   * knows. */
  (void)snprintf(set, sizeof set, "%s,purger=0,sweeper=0,markers=1", WHEN_TOLD);
  begin(f, set);
  struct putter putter = {.f = f};
  void *old = make(f, 1);
  assert_int_equal(tarn_root_add(f->world, &old), TARN_OK);
  for (int i = 0; i < FORK_TABLES; i++) {
    putter.tables[i] = make_table(f, TARN_WEAK_SET);
    assert_non_null(tarn_weak_table_put(f->self, putter.tables[i], old, NULL, false));
  }
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, put_until_told, &putter), 0);
  while (!atomic_load(&putter.started))
    tarn_safepoint(f->self);
  for (int i = 0; i < FORKS; i++) {
    int status = 1;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
      int bad = 0;
      for (int k = 0; k < FORK_TABLES; k++)
        bad += use_in_child(f, putter.tables[k], old);
      _exit(bad == 0 ? 0 : 3);
    }
    tarn_block_begin(f->self);
    assert_int_equal(waitpid(child, &status, 0), child);
    tarn_block_end(f->self);
    assert_int_equal(status, 0);
  }
  atomic_store(&putter.stop, true);
  tarn_block_begin(f->self);
  assert_int_equal(pthread_join(thread, NULL), 0);
  tarn_block_end(f->self);
  assert_int_equal(tarn_root_remove(f->world, &old), TARN_OK);
  end(f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_set_forgets_what_dies_and_keeps_what_lives),
      TEST(a_key_keeps_its_value_but_the_value_not_its_key),
      TEST(a_weak_value_takes_its_entry_along_and_a_key_is_kept),
      TEST(a_key_that_refers_to_its_weak_value_keeps_the_entry),
      TEST(a_copy_has_each_entry_once_and_keeps_what_is_in_a_root),
      TEST(a_long_chain_through_a_table_lives_by_its_head_in_bounded_time),
      TEST(tables_and_ephemerons_lead_to_each_other),
      TEST(entries_go_before_the_finalizer_of_their_key_runs),
      TEST(an_entry_is_added_once_and_replaced_only_on_demand),
      TEST(a_table_does_what_an_array_does),
      TEST(a_table_shrinks_after_mass_death),
      TEST(equal_keys_are_one_whatever_the_hash),
      TEST(a_word_is_one_object_for_all_threads_while_another_collects),
      TEST(tables_come_and_go_while_the_collector_works),
      TEST(bad_arguments_are_refused),
      TEST(a_put_without_memory_says_so_and_loses_nothing),
      cmocka_unit_test(a_collection_without_memory_keeps_what_a_table_leads_to),
      TEST(a_dead_key_gets_its_free_function_exactly_once),
      TEST(the_heap_that_goes_takes_entries_along),
      cmocka_unit_test(a_child_goes_on_with_tables_that_others_were_using),
  };
  return cmocka_run_group_tests_name("weak tables", tests, NULL, NULL);
}
