/* SPDX-License-Identifier: MIT */
/*
 * Young collections: what each generation keeps and lets go, the barriers, and when which
 * generation is collected.
 *
 * Most tests go through every combination of ages, roots and collections, and compare with a model
 * that is one line: an object is collected if its age is at most the generation, and what is not
 * collected keeps what it refers to.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "collect/collector.h"
#include <tarn/tarn.h>

/* An object whose death is seen: its `free` function counts. */
struct cell {
  const tarn_type *type;
  void *left, *right;
  uintptr_t id;
};
struct array {
  const tarn_type *type;
  size_t count;
  void *elements[];
};
struct instance { /* with a data block */
  const tarn_type *type;
  void **data;
};
struct foreign { /* with a reference in memory of the C library, which its trace function visits */
  const tarn_type *type;
  void **box;
};

#define DATA_WORDS 8u
#define FAR_WORD 12000u             /* of a large object without elements */
#define WIDE_WORDS 150u             /* more than two cards */
#define PAIR_WORDS 3u               /* so that elements lie across the ends of cards */
#define LARGE_COUNT ((size_t)30000) /* four units */

#define IDS 20000u
static unsigned char released[IDS];
static uintptr_t ids;
static tarn_thread *allocating; /* no `free` function may run in an allocation */

struct state {
  tarn_world *world;
  tarn_thread *self;
  const tarn_type *cell, *leaf, *array, *instance, *foreign, *large_cell, *node, *litter,
      *large_node, *pairs, *wide;
};

static void count_release(tarn_world *world, void *object) {
  (void)world;
  assert_null(allocating);
  released[((struct cell *)object)->id]++;
}

static void free_nothing(tarn_world *world, void *object) { (void)world, (void)object; }

static void visit_box(const void *object, tarn_visitor *visitor) {
  const struct foreign *foreign = object;
  if (foreign->box)
    tarn_visit(visitor, *foreign->box);
}
static void free_box(tarn_world *world, void *object) {
  (void)world;
  free(((struct foreign *)object)->box);
}

static const tarn_type *make_type(tarn_world *world, const tarn_type_spec *spec) {
  tarn_status status;
  const tarn_type *type = tarn_type_create(world, spec, &status);
  assert_int_equal(status, TARN_OK);
  return type;
}

static void make_types(struct state *state) {
  tarn_type_spec spec = {.struct_size = sizeof spec,
                         .name = "cell",
                         .size = sizeof(struct cell),
                         .slot_bits = 6,
                         .free = count_release};
  state->cell = make_type(state->world, &spec);
  spec.name = "litter";
  spec.free = free_nothing;
  state->litter = make_type(state->world, &spec);
  spec.name = "large cell";
  spec.free = count_release;
  spec.size = 100000;
  state->large_cell = make_type(state->world, &spec);
  spec = (tarn_type_spec){.struct_size = sizeof spec,
                          .name = "leaf",
                          .size = sizeof(struct cell),
                          .free = count_release};
  state->leaf = make_type(state->world, &spec);
  spec = (tarn_type_spec){
      .struct_size = sizeof spec, .name = "node", .size = sizeof(struct cell), .slot_bits = 6};
  state->node = make_type(state->world, &spec);
  static const uint32_t far_word[] = {FAR_WORD};
  spec.name = "large node";
  spec.size = 100000;
  spec.slots = far_word;
  spec.slot_count = 1;
  state->large_node = make_type(state->world, &spec);
  spec = (tarn_type_spec){.struct_size = sizeof spec,
                          .name = "wide",
                          .size = (WIDE_WORDS + 1) * sizeof(void *),
                          .flags = TARN_TYPE_ALL_TRACED};
  state->wide = make_type(state->world, &spec);
  static const uint32_t second[] = {1};
  spec = (tarn_type_spec){.struct_size = sizeof spec,
                          .name = "pairs",
                          .size = sizeof(struct array),
                          .element_size = PAIR_WORDS * sizeof(void *),
                          .element_slots = second,
                          .element_slot_count = 1};
  state->pairs = make_type(state->world, &spec);
  spec = (tarn_type_spec){.struct_size = sizeof spec,
                          .name = "array",
                          .size = sizeof(struct array),
                          .element_size = sizeof(void *),
                          .flags = TARN_TYPE_ELEMENTS_TRACED};
  state->array = make_type(state->world, &spec);
  spec = (tarn_type_spec){.struct_size = sizeof spec,
                          .name = "instance",
                          .size = sizeof(struct instance),
                          .data_size = DATA_WORDS * sizeof(void *),
                          .flags = TARN_TYPE_DATA_TRACED};
  state->instance = make_type(state->world, &spec);
  spec = (tarn_type_spec){.struct_size = sizeof spec,
                          .name = "foreign",
                          .size = sizeof(struct foreign),
                          .trace = visit_box,
                          .free = free_box};
  state->foreign = make_type(state->world, &spec);
}

/* Zeal builds collect at every allocation by default: here that would take hours. */
static void begin_with(struct state *state, const char *options, unsigned flags) {
  tarn_options set = TARN_OPTIONS_INIT;
  char text[200];
  (void)snprintf(text, sizeof text, "%s%s", options, TARN_ZEAL ? ",zeal=20000" : "");
  set.set = text;
  set.flags = flags;
  assert_int_equal(tarn_world_create(&set, &state->world), TARN_OK);
  assert_int_equal(tarn_thread_attach(state->world, &state->self), TARN_OK);
  make_types(state);
  memset(released, 0, sizeof released);
  ids = 0;
}

/* Under ThreadSanitizer each collection would take a hundred milliseconds. */
#ifdef TARN_SANITIZE_TSAN
#define VERIFY "verify=off"
#else
#define VERIFY "verify=on"
#endif

static const char *policy = "generations=pools"; /* of the group of tests that runs now */

static void begin(struct state *state) {
  char text[100];
  (void)snprintf(text, sizeof text, "collect=off," VERIFY ",%s", policy);
  begin_with(state, text, TARN_OPTIONS_BARRIERS);
}

static void end(struct state *state) {
  char message[256] = "";
  tarn_status status = tarn_verify(state->self, message, sizeof message);
  assert_string_equal(message, "");
  assert_int_equal(status, TARN_OK);
  assert_int_equal(tarn_thread_detach(state->self), TARN_OK);
  assert_int_equal(tarn_world_destroy(state->world), TARN_OK);
  for (uintptr_t id = 1; id <= ids; id++)
    assert_int_equal(released[id], 1);
}

static void collect(const struct state *state, int generation) {
  assert_int_equal(tarn_collect(state->self, generation), TARN_OK);
}

static tarn_stats stats_of(const struct state *state) {
  tarn_stats stats = {.struct_size = sizeof stats};
  assert_int_equal(tarn_stats_get(state->world, &stats), TARN_OK);
  return stats;
}

/* How many collections there were of a generation, and of no higher one. */
static uint64_t collections_of(const struct state *state, int generation) {
  struct tarn_collector *collector = state->world->collector;
  uint64_t of = atomic_load(&collector->at_least[generation]);
  return generation == TARN_GENERATION_FULL
             ? of
             : of - atomic_load(&collector->at_least[generation + 1]);
}

static void *cell_of(const struct state *state, const tarn_type *type) {
  allocating = state->self;
  struct cell *cell = tarn_new(state->self, type);
  allocating = NULL;
  assert_non_null(cell);
  assert_true(!cell->left && !cell->right && !cell->id);
  cell->id = ++ids;
  assert_true(ids < IDS);
  return cell;
}
static struct cell *new_cell(const struct state *state) { return cell_of(state, state->cell); }

/* Takes free memory, in the pools of cells as well, and leaves it full of a word: so what died too
 * early is seen, and a word that names what is gone leads to something. */
static void churn(const struct state *state) {
  for (int i = 0; i < 50; i++) {
    uintptr_t *words = tarn_new(state->self, i % 2 ? state->litter : state->node);
    words[3] = UINTPTR_MAX;
  }
}

/* --- ages ------------------------------------------------------------------------------------ */

enum { YOUNG = 0, AGED = 1, OLD = 2, AGES = 3 };

/* The model of one object. */
struct thing {
  int age;
  bool rooted, lives;
  void *object;
  uintptr_t id;
};

static void *roots[4];

static void add_roots(const struct state *state) {
  for (int i = 0; i < 4; i++) {
    roots[i] = NULL;
    assert_int_equal(tarn_root_add(state->world, &roots[i]), TARN_OK);
  }
}

static void adopt(struct thing *thing, int root, void *object) {
  roots[root] = thing->object = object;
  thing->lives = true;
}

/* What was allocated becomes of the age that was made. */
static void grow_older(const struct state *state, int made) {
  churn(state);
  if (made != YOUNG)
    collect(state, made == OLD ? TARN_GENERATION_FULL : 0);
}

static bool is_collected(const struct thing *thing, int generation) {
  return thing->lives && thing->age <= generation;
}

/* After a collection: it lives if it was not collected, or is kept. */
static void step(struct thing *thing, int generation, bool kept) {
  if (!is_collected(thing, generation))
    return;
  thing->lives = kept;
  thing->age = generation == 0 ? AGED : OLD;
}

static void check_cell(const struct thing *thing) {
  assert_int_equal(released[thing->id], !thing->lives);
  if (thing->lives) {
    assert_int_equal(((struct cell *)thing->object)->id, thing->id);
    assert_int_equal((uintptr_t)((struct cell *)thing->object)->right,
                     (uintptr_t)thing->id << 4 | 1);
  }
}

/* A cell, marked in a raw-like word by which it is known again. */
static void make_cell(const struct state *state, struct thing *thing, int root) {
  struct cell *cell = new_cell(state);
  cell->right = (void *)((uintptr_t)cell->id << 4 | 1);
  adopt(thing, root, cell);
  thing->id = cell->id;
}

static void let_all_go(const struct state *state) {
  memset(roots, 0, sizeof roots);
  collect(state, TARN_GENERATION_FULL);
  for (uintptr_t id = 1; id <= ids; id++)
    assert_int_equal(released[id], 1);
  memset(released, 0, sizeof released);
  ids = 0;
}

/* The pairs of collections that a combination goes through: one in EVERY, the next combination
 * through others; where all is slow, some go through none.  So too in hardened builds, whose pairs
 * are those of release builds. */
#define SEQUENCES 9
#if defined(__SANITIZE_ADDRESS__) || defined(TARN_SANITIZE_TSAN) || TARN_ZEAL || TARN_HARDENED
#define EVERY 97
#else
#define EVERY 11
#endif
static int sequence_turn;
static int next_sequence(void) { return sequence_turn++ % EVERY; }
static int generation_of(int sequence, int i) { return i == 0 ? sequence % 3 : sequence / 3; }

/* --- strong references ----------------------------------------------------------------------- */

/* A sort of object with a slot. */
struct holder {
  void *(*make)(const struct state *state);
  void **(*slot)(void *object);
  bool outside; /* the slot is not where the barrier is told */
};

static void *make_plain(const struct state *state) { return tarn_new(state->self, state->node); }
static void **plain_slot(void *object) { return &((struct cell *)object)->left; }
static void *make_small_array(const struct state *state) {
  return tarn_new_array(state->self, state->array, 20);
}
static void **small_slot(void *object) { return &((struct array *)object)->elements[19]; }
/* Larger than a card, so that its parts lie on several. */
static void *make_long_array(const struct state *state) {
  return tarn_new_array(state->self, state->array, 1000);
}
static void **long_slot(void *object) { return &((struct array *)object)->elements[700]; }
static void *make_large_array(const struct state *state) {
  return tarn_new_array(state->self, state->array, LARGE_COUNT);
}
static void **first_slot(void *object) { return &((struct array *)object)->elements[0]; }
static void **large_slot(void *object) { return &((struct array *)object)->elements[20000]; }
static void **last_slot(void *object) {
  return &((struct array *)object)->elements[LARGE_COUNT - 1];
}
static void *make_instance(const struct state *state) {
  return tarn_new(state->self, state->instance);
}
static void **data_slot(void *object) { return &((struct instance *)object)->data[DATA_WORDS - 1]; }
static void *make_foreign(const struct state *state) {
  struct foreign *foreign = tarn_new(state->self, state->foreign);
  foreign->box = calloc(1, sizeof *foreign->box);
  return foreign;
}
static void **foreign_slot(void *object) { return ((struct foreign *)object)->box; }

static void *make_large_node(const struct state *state) {
  return tarn_new(state->self, state->large_node);
}
static void **far_slot(void *object) { return (void **)object + FAR_WORD; }

static const struct holder holders[] = {
    {make_plain, plain_slot, false},       {make_small_array, small_slot, false},
    {make_long_array, long_slot, false},   {make_large_array, first_slot, false},
    {make_large_array, large_slot, false}, {make_large_array, last_slot, false},
    {make_instance, data_slot, false},     {make_instance, data_slot, true},
    {make_foreign, foreign_slot, true},    {make_large_node, far_slot, false},
};
#define HOLDERS (sizeof holders / sizeof holders[0])

enum { BY_STORE, BY_RANGE, BY_BARRIER, BY_BARRIER_BEFORE, BY_BARRIER_RANGE, BY_OUTLINE, WAYS };

static void store(const struct state *state, const struct holder *holder, void *object, void *value,
                  int way) {
  tarn_thread *self = state->self;
  void **slot = holder->slot(object);
  void *const told = holder->outside ? object : (void *)slot;
  if (holder->outside)
    way = way % 2 ? BY_BARRIER : BY_BARRIER_BEFORE;
  switch (way) {
  case BY_STORE:
    tarn_store(self, object, slot, value);
    break;
  case BY_RANGE:
    tarn_store_range(self, object, slot, &value, 1);
    break;
  case BY_BARRIER:
    __atomic_store_n(slot, value, __ATOMIC_RELEASE);
    tarn_barrier(self, object, told);
    break;
  case BY_BARRIER_BEFORE:
    tarn_barrier_outline(self, object, told);
    *slot = value;
    break;
  case BY_BARRIER_RANGE:
    *slot = value;
    tarn_barrier_range(self, object, slot, 1);
    break;
  default:
    tarn_store_outline(self, object, slot, value);
    break;
  }
}

static void try_strong(const struct state *state, const struct holder *kind, int ages, bool rooted,
                       bool early, int way, int sequence) {
  struct thing holder = {.age = ages % AGES, .rooted = rooted};
  struct thing target = {.age = ages / AGES};
  int since = holder.age < target.age ? holder.age : target.age; /* both are there */
  for (int age = OLD; age >= YOUNG; age--) {
    if (target.age == age)
      make_cell(state, &target, 1);
    if (holder.age == age)
      adopt(&holder, 0, kind->make(state));
    if (age == since && early)
      store(state, kind, holder.object, target.object, way);
    grow_older(state, age);
  }
  if (!early)
    store(state, kind, holder.object, target.object, way);
  roots[0] = rooted ? holder.object : NULL;
  roots[1] = NULL;
  for (int i = 0; i < 2; i++) {
    int generation = generation_of(sequence, i);
    collect(state, generation);
    churn(state);
    step(&holder, generation, rooted);
    step(&target, generation, holder.lives);
    check_cell(&target);
    if (holder.lives)
      assert_ptr_equal(*kind->slot(holder.object), target.object);
  }
  let_all_go(state);
}

static void what_is_stored_into_an_object_lives_as_long_as_that(void **unused) {
  struct state state;
  (void)unused;
  begin(&state);
  add_roots(&state);
  int turn = 0;
  for (size_t kind = 0; kind < HOLDERS; kind++)
    for (int ages = 0; ages < AGES * AGES; ages++)
      for (int how = 0; how < 4; how++)
        for (int sequence = next_sequence(); sequence < SEQUENCES; sequence += EVERY)
          try_strong(&state, &holders[kind], ages, how % 2, how / 2, turn++ % WAYS, sequence);
  end(&state);
}

/* --- weak references ------------------------------------------------------------------------- */

static void try_weak(const struct state *state, int ages, bool rooted, bool early, int sequence) {
  struct thing weak = {.age = ages % AGES, .rooted = true};
  struct thing target = {.age = ages / AGES};
  int since = weak.age < target.age ? weak.age : target.age;
  for (int age = OLD; age >= YOUNG; age--) {
    if (target.age == age)
      make_cell(state, &target, 1);
    if (weak.age == age)
      adopt(&weak, 0, tarn_weak_new(state->self, age == since && early ? target.object : NULL));
    if (age == since && early)
      tarn_weak_set(state->self, weak.object, target.object);
    grow_older(state, age);
  }
  if (!early)
    tarn_weak_set(state->self, weak.object, target.object);
  if (!rooted)
    roots[1] = NULL;
  for (int i = 0; i < 2; i++) {
    int generation = generation_of(sequence, i);
    collect(state, generation);
    churn(state);
    step(&weak, generation, true);
    step(&target, generation, rooted);
    check_cell(&target);
    assert_ptr_equal(tarn_weak_get(state->self, weak.object), target.lives ? target.object : NULL);
  }
  let_all_go(state);
}

static void a_weak_reference_is_cleared_when_its_target_dies_and_not_before(void **unused) {
  struct state state;
  (void)unused;
  begin(&state);
  add_roots(&state);
  for (int ages = 0; ages < AGES * AGES; ages++)
    for (int how = 0; how < 4; how++)
      for (int sequence = next_sequence(); sequence < SEQUENCES; sequence += EVERY)
        try_weak(&state, ages, how % 2, how / 2, sequence);
  end(&state);
}

/* --- ephemerons ------------------------------------------------------------------------------ */

static void make_ephemeron(const struct state *state, struct thing *ephemeron,
                           const struct thing *key, const struct thing *value, bool early) {
  adopt(ephemeron, 0, tarn_ephemeron_new(state->self, key->object, early ? value->object : NULL));
}

/* The key has to be there when the ephemeron is made, so it is no younger. */
static void try_ephemeron(const struct state *state, const int *ages, bool rooted, bool early,
                          bool chained, int sequence) {
  struct thing ephemeron = {.age = ages[0], .rooted = true};
  struct thing key = {.age = ages[1]}, value = {.age = ages[2]};
  for (int age = OLD; age >= YOUNG; age--) {
    if (key.age == age)
      make_cell(state, &key, 1);
    if (value.age == age)
      make_cell(state, &value, 2);
    if (ephemeron.age == age)
      make_ephemeron(state, &ephemeron, &key, &value, early);
    if (early && ephemeron.object && value.object)
      tarn_ephemeron_set_value(state->self, ephemeron.object, value.object);
    if (chained && key.object && value.object)
      tarn_store(state->self, value.object, &((struct cell *)value.object)->left, key.object);
    grow_older(state, age);
  }
  tarn_ephemeron_set_value(state->self, ephemeron.object, value.object);
  if (!rooted)
    roots[1] = NULL;
  roots[2] = NULL;
  for (int i = 0; i < 2; i++) {
    int generation = generation_of(sequence, i);
    collect(state, generation);
    churn(state);
    /* A value that is not collected keeps a key that it refers to. */
    bool keeps = chained && value.lives && !is_collected(&value, generation);
    step(&ephemeron, generation, true);
    step(&key, generation, rooted || keeps);
    step(&value, generation, key.lives);
    check_cell(&key);
    check_cell(&value);
    assert_ptr_equal(tarn_ephemeron_key(state->self, ephemeron.object),
                     key.lives ? key.object : NULL);
    assert_ptr_equal(tarn_ephemeron_value(state->self, ephemeron.object),
                     key.lives ? value.object : NULL);
  }
  let_all_go(state);
}

static void an_ephemeron_keeps_its_value_as_long_as_its_key_lives(void **unused) {
  struct state state;
  (void)unused;
  begin(&state);
  add_roots(&state);
  for (int all = 0; all < AGES * AGES * AGES; all++) {
    const int ages[] = {all % AGES, all / AGES % AGES, all / AGES / AGES};
    for (int how = 0; ages[1] >= ages[0] && how < 8; how++)
      for (int sequence = next_sequence(); sequence < SEQUENCES; sequence += EVERY)
        try_ephemeron(&state, ages, how % 2, how / 2 % 2, how / 4, sequence);
  }
  end(&state);
}

/* Ephemerons of which each value is the next one's key; they are met in the wrong order. */
static void chains_of_ephemerons_of_all_ages_are_followed(void **unused) {
  enum { LENGTH = 30 };
  struct state state;
  (void)unused;
  begin(&state);
  add_roots(&state);
  for (int generation = 0; generation <= 2; generation++)
    for (int rooted = 0; rooted < 2; rooted++) {
      uintptr_t first = ids;
      struct array *all = tarn_new_array(state.self, state.array, LENGTH);
      roots[0] = all;
      struct cell *value = new_cell(&state);
      TARN_FRAME(state.self, &value);
      for (int i = 0; i < LENGTH; i++) {
        int age = i < 10 ? OLD : i < 20 ? AGED : YOUNG;
        struct cell *key = new_cell(&state);
        TARN_FRAME(state.self, &key);
        void *ephemeron = tarn_ephemeron_new(state.self, key, value);
        tarn_store(state.self, all, &all->elements[i], ephemeron);
        value = key;
        if (i == 9 || i == 19)
          grow_older(&state, age);
      }
      roots[1] = rooted ? value : NULL;
      value = NULL;
      collect(&state, generation);
      for (uintptr_t id = first + 1; id <= ids; id++) {
        int age = id - first <= 11 ? OLD : id - first <= 21 ? AGED : YOUNG;
        assert_int_equal(released[id], !rooted && age <= generation);
      }
    }
  let_all_go(&state);
  end(&state);
}

/* --- weak tables ----------------------------------------------------------------------------- */

static void try_table(const struct state *state, tarn_weak_kind kind, int ages, int rooted,
                      bool early, int sequence) {
  tarn_weak_table_spec spec = TARN_WEAK_TABLE_SPEC_INIT;
  tarn_weak_table *table;
  struct thing key = {.age = ages % AGES}, value = {.age = ages / AGES};
  spec.kind = kind;
  assert_int_equal(tarn_weak_table_create(state->world, &spec, &table), TARN_OK);
  bool put = false;
  for (int age = OLD; age >= YOUNG; age--) {
    if (key.age == age)
      make_cell(state, &key, 1);
    if (value.age == age)
      make_cell(state, &value, 2);
    if (key.object && value.object && early && !put)
      put = tarn_weak_table_put(state->self, table, key.object, value.object, false) != NULL;
    grow_older(state, age);
  }
  if (!early)
    assert_non_null(tarn_weak_table_put(state->self, table, key.object, value.object, false));
  roots[1] = rooted & 1 ? key.object : NULL;
  roots[2] = rooted & 2 ? value.object : NULL;
  bool there = true;
  for (int i = 0; i < 2; i++) {
    int generation = generation_of(sequence, i);
    collect(state, generation);
    churn(state);
    step(&key, generation, (rooted & 1) || (there && kind == TARN_WEAK_VALUES));
    step(&value, generation, (rooted & 2) || (there && kind == TARN_WEAK_KEYS && key.lives));
    there = there && (kind == TARN_WEAK_VALUES ? value.lives : key.lives);
    check_cell(&key);
    check_cell(&value);
    assert_int_equal(tarn_weak_table_count(table), there);
    void *found;
    assert_ptr_equal(tarn_weak_table_get(state->self, table, key.object, &found),
                     there ? key.object : NULL);
    assert_ptr_equal(found, there && kind != TARN_WEAK_SET ? value.object : NULL);
  }
  tarn_weak_table_destroy(table);
  let_all_go(state);
}

static void entries_of_weak_tables_live_and_die_with_young_and_old_objects(void **unused) {
  struct state state;
  (void)unused;
  begin(&state);
  add_roots(&state);
  for (int kind = TARN_WEAK_SET; kind <= TARN_WEAK_VALUES; kind++)
    for (int ages = 0; ages < AGES * AGES; ages++)
      for (int how = 0; how < 8; how++)
        for (int sequence = next_sequence(); sequence < SEQUENCES; sequence += EVERY)
          try_table(&state, (tarn_weak_kind)kind, ages, how % 4, how / 4, sequence);
  end(&state);
}

/* --- finalizers ------------------------------------------------------------------------------ */

static void *finalized;
static int finalizers_ran;
static void finalize(tarn_thread *self, void *object, void *data) {
  (void)self, (void)data;
  finalized = object;
  finalizers_ran++;
}

static void try_finalizer(const struct state *state, int age, bool rooted, bool early,
                          int sequence) {
  struct thing target = {.age = age}, weak = {.age = age};
  bool ran = false;
  finalizers_ran = 0;
  for (int made = OLD; made >= YOUNG; made--) {
    if (made == age) {
      make_cell(state, &target, 1);
      adopt(&weak, 0, tarn_weak_new(state->self, target.object));
    }
    if (made == age && early)
      assert_int_equal(tarn_finalizer_add(state->self, target.object, finalize, NULL), TARN_OK);
    grow_older(state, made);
  }
  if (!early)
    assert_int_equal(tarn_finalizer_add(state->self, target.object, finalize, NULL), TARN_OK);
  if (!rooted)
    roots[1] = NULL;
  for (int i = 0; i < 2; i++) {
    int generation = generation_of(sequence, i);
    bool due = !rooted && !ran && is_collected(&target, generation);
    collect(state, generation);
    churn(state);
    step(&target, generation, rooted || !ran);
    ran = ran || due;
    check_cell(&target);
    assert_ptr_equal(tarn_weak_get(state->self, weak.object), ran ? NULL : target.object);
    assert_int_equal(tarn_finalizers_due(state->world), due);
    finalized = NULL;
    assert_int_equal(tarn_finalizers_run(state->self, 0), due);
    assert_ptr_equal(finalized, due ? target.object : NULL);
  }
  assert_int_equal(finalizers_ran, ran);
  memset(roots, 0, sizeof roots);
  collect(state, TARN_GENERATION_FULL);
  assert_int_equal(tarn_finalizers_run(state->self, 0), !ran);
  let_all_go(state);
}

static void a_finalizer_is_due_once_in_the_collection_that_finds_its_object_dead(void **unused) {
  struct state state;
  (void)unused;
  begin(&state);
  add_roots(&state);
  for (int age = YOUNG; age <= OLD; age++)
    for (int how = 0; how < 4; how++)
      for (int sequence = next_sequence(); sequence < SEQUENCES; sequence += EVERY)
        try_finalizer(&state, age, how % 2, how / 2, sequence);
  end(&state);
}

/* An object that is due stays whole, with what it refers to, over any collections until it ran. */
static void an_object_whose_finalizer_waits_lives_through_all_collections(void **unused) {
  struct state state;
  (void)unused;
  begin(&state);
  collect(&state, TARN_GENERATION_FULL);
  finalizers_ran = 0;
  {
    struct cell *cell = new_cell(&state), *other = NULL;
    TARN_FRAME(state.self, &cell, &other);
    assert_int_equal(tarn_finalizer_add(state.self, cell, finalize, NULL), TARN_OK);
    other = new_cell(&state);
    tarn_store(state.self, cell, &cell->left, other);
  }
  for (int i = 0; i < 9; i++) {
    collect(&state, i % 3);
    churn(&state);
    assert_int_equal(tarn_finalizers_due(state.world), 1);
    assert_int_equal(released[1] + released[2], 0);
  }
  assert_int_equal(tarn_finalizers_run(state.self, 0), 1);
  assert_int_equal(((struct cell *)((struct cell *)finalized)->left)->id, 2);
  collect(&state, 2);
  assert_int_equal(released[1] + released[2], 2);
  end(&state);
}

/* --- ranges ---------------------------------------------------------------------------------- */

/* A range over many cards and two units of a large array; one young object each. */
static void a_range_makes_all_its_cards_dirty(void **unused) {
  enum { FROM = 7900, COUNT = 1000 };
  struct state state;
  (void)unused;
  for (int copies = 0; copies < 2; copies++) {
    begin(&state);
    {
      struct array *large = tarn_new_array(state.self, state.array, LARGE_COUNT), *from = NULL;
      TARN_FRAME(state.self, &large, &from);
      collect(&state, 2);
      from = tarn_new_array(state.self, state.array, COUNT);
      for (size_t i = 0; i < COUNT; i++) {
        struct cell *cell = new_cell(&state);
        tarn_store(state.self, from, &from->elements[i], cell);
      }
      if (copies) {
        tarn_store_range(state.self, large, &large->elements[FROM], from->elements, COUNT);
      } else {
        memcpy(&large->elements[FROM], from->elements, sizeof(void *) * COUNT);
        tarn_barrier_range(state.self, large, &large->elements[FROM], COUNT);
      }
      from = NULL;
      for (int i = 0; i < 4; i++) {
        collect(&state, i % 2);
        churn(&state);
        for (size_t k = 0; k < COUNT; k++)
          assert_int_equal(((struct cell *)large->elements[FROM + k])->id, k + 1);
      }
      /* An overlapping move, as memmove does it; the last one falls out. */
      tarn_store_range(state.self, large, &large->elements[FROM + 1], &large->elements[FROM],
                       COUNT - 1);
      tarn_store_range(state.self, large, large->elements, large->elements, 0);
      collect(&state, 2);
      assert_int_equal(released[COUNT], 1);
      assert_ptr_equal(large->elements[FROM], large->elements[FROM + 1]);
      assert_int_equal(((struct cell *)large->elements[FROM + COUNT - 1])->id, COUNT - 1);
    }
    collect(&state, 2);
    end(&state);
  }
}

/* Wherever in its card a word lies, and whatever else is there. */
static void each_word_is_found_by_its_card(void **unused) {
  enum { PAIRS = 70 };
  struct state state;
  (void)unused;
  begin(&state);
  add_roots(&state);
  void **wide = roots[0] = tarn_new(state.self, state.wide);
  struct array *pairs = roots[1] = tarn_new_array(state.self, state.pairs, PAIRS);
  for (int i = 0; i < 20; i++)
    (void)tarn_new(state.self, state.wide);
  collect(&state, 2);
  for (size_t i = 0; i < WIDE_WORDS + PAIRS; i++) {
    void *object = i < WIDE_WORDS ? roots[0] : roots[1];
    void **slot =
        i < WIDE_WORDS ? &wide[i + 1] : &pairs->elements[(i - WIDE_WORDS) * PAIR_WORDS + 1];
    struct cell *cell = new_cell(&state);
    tarn_store(state.self, object, slot, cell);
    collect(&state, (int)i % 2);
    churn(&state);
    assert_int_equal(released[cell->id], 0);
    assert_int_equal(cell->id, i + 1);
  }
  collect(&state, 2);
  for (size_t i = 0; i < WIDE_WORDS + PAIRS; i++)
    assert_int_equal(released[i + 1], 0);
  let_all_go(&state);
  end(&state);
}

static void *tagged(const void *object) { return (void *)((uintptr_t)object | 5); }

static void tagged_words_are_references_like_others(void **unused) {
  struct state state;
  (void)unused;
  begin(&state);
  assert_int_equal(tarn_world_set_tag_mask(state.world, 7), TARN_OK);
  add_roots(&state);
  struct cell *old = roots[0] = new_cell(&state);
  void *weak = roots[1] = tarn_weak_new(state.self, NULL);
  roots[2] = tarn_ephemeron_new(state.self, tagged(old), NULL);
  collect(&state, 2);
  struct cell *cell = new_cell(&state), *value;
  tarn_store(state.self, old, &old->left, tagged(cell));
  tarn_weak_set(state.self, weak, tagged(cell));
  value = new_cell(&state);
  tarn_ephemeron_set_value(state.self, roots[2], tagged(value));
  for (int i = 0; i < 6; i++) {
    collect(&state, i % 2);
    churn(&state);
    assert_int_equal(released[2] + released[3], 0);
    assert_int_equal(cell->id * 10 + value->id, 23);
    assert_ptr_equal(tarn_weak_get(state.self, weak), tagged(cell));
    assert_ptr_equal(tarn_ephemeron_value(state.self, roots[2]), tagged(value));
  }
  tarn_store(state.self, old, &old->left, NULL);
  cell = new_cell(&state);
  tarn_weak_set(state.self, weak, tagged(cell));
  collect(&state, 0);
  churn(&state);
  assert_null(tarn_weak_get(state.self, weak));
  let_all_go(&state);
  end(&state);
}

static void only_dirty_cards_of_a_large_array_are_scanned(void **unused) {
  struct state state;
  (void)unused;
  begin_with(&state, "collect=off", TARN_OPTIONS_BARRIERS);
  {
    struct array *large = tarn_new_array(state.self, state.array, LARGE_COUNT);
    TARN_FRAME(state.self, &large);
    collect(&state, 2);
    struct cell *told = new_cell(&state);
    tarn_store(state.self, large, &large->elements[20000], told);
    large->elements[100] = new_cell(&state); /* without a barrier, far away */
    collect(&state, 0);
    assert_int_equal(released[1], 0);
    assert_int_equal(released[2], 1);
    large->elements[100] = NULL;
  }
  end(&state);
}

static void a_store_into_a_new_object_needs_no_barrier(void **unused) {
  struct state state;
  (void)unused;
  begin(&state);
  {
    struct cell *list = NULL;
    TARN_FRAME(state.self, &list);
    for (int i = 0; i < 300; i++) {
      struct cell *cell = new_cell(&state);
      tarn_store_new(state.self, cell, &cell->left, list);
      list = cell;
      if (i % 7 == 0)
        collect(&state, i % 3);
    }
    uintptr_t id = 300;
    for (struct cell *at = list; at; at = at->left)
      assert_int_equal(at->id, id--);
    assert_int_equal(id, 0);
  }
  end(&state);
}

/* The word that holds the data block is a traced word like others. */
static void a_data_block_can_be_replaced(void **unused) {
  struct state state;
  (void)unused;
  for (int age = YOUNG; age <= OLD; age++) {
    begin(&state);
    {
      struct instance *instance = tarn_new(state.self, state.instance);
      TARN_FRAME(state.self, &instance);
      grow_older(&state, age);
      collect(&state, age == OLD ? 2 : 0);
      void **data = tarn_alloc_atomic(state.self, DATA_WORDS * sizeof *data);
      void **old = instance->data;
      tarn_store(state.self, instance, (void **)&instance->data, data);
      tarn_free(state.self, old);
      for (unsigned i = 0; i < DATA_WORDS; i++) {
        struct cell *cell = new_cell(&state);
        tarn_store(state.self, instance, &instance->data[i], cell);
        collect(&state, (int)i % 3);
        churn(&state);
      }
      for (unsigned i = 0; i < DATA_WORDS; i++)
        assert_int_equal(((struct cell *)instance->data[i])->id, i + 1);
    }
    end(&state);
  }
}

/* --- what dies, and when --------------------------------------------------------------------- */

static void each_generation_finds_the_garbage_of_its_ages(void **unused) {
  struct state state;
  (void)unused;
  begin(&state);
  const tarn_type *types[] = {state.cell, state.leaf, state.large_cell};
  for (size_t type = 0; type < 3; type++)
    for (int age = YOUNG; age <= OLD; age++)
      for (int generation = 0; generation <= 2; generation++) {
        struct cell *cell = cell_of(&state, types[type]);
        uintptr_t id = cell->id;
        {
          TARN_FRAME(state.self, &cell);
          if (age != YOUNG)
            collect(&state, age == OLD ? 2 : 0);
        }
        collect(&state, generation);
        assert_int_equal(released[id], age <= generation);
        for (int higher = generation + 1; higher <= 2; higher++)
          collect(&state, higher);
        assert_int_equal(released[id], 1);
      }
  end(&state);
}

static void the_count_of_live_objects_is_that_of_all_generations(void **unused) {
  struct state state;
  (void)unused;
  begin_with(&state, "collect=off,verify=on,generations=pools", TARN_OPTIONS_BARRIERS);
  {
    struct array *all = tarn_new_array(state.self, state.array, 9000), *large = NULL;
    TARN_FRAME(state.self, &all, &large);
    for (size_t i = 0; i < 9000; i++) {
      void *node = tarn_new(state.self, state.node);
      tarn_store(state.self, all, &all->elements[i], node);
      (void)tarn_new(state.self, state.node);
      if (i % 3000 == 2999) {
        collect(&state, i == 2999 ? 2 : 0);
        assert_int_equal(stats_of(&state).live_objects, i + 2);
      }
    }
    for (size_t i = 0; i < 9000; i += 2)
      all->elements[i] = NULL; /* half of each age */
    large = tarn_new_array(state.self, state.array, LARGE_COUNT);
    collect(&state, 0);
    assert_int_equal(stats_of(&state).live_objects, 9002);
    assert_int_equal(stats_of(&state).large_objects, 2); /* the array of 9000 is one */
    collect(&state, 1);
    assert_int_equal(stats_of(&state).live_objects, 9002 - 3000);
    large = NULL;
    collect(&state, 1);
    assert_int_equal(stats_of(&state).live_objects, 9002 - 3000);
    collect(&state, 2);
    assert_int_equal(stats_of(&state).live_objects, 4501);
    uint64_t bytes = stats_of(&state).live_bytes;
    collect(&state, 0);
    collect(&state, 1);
    assert_int_equal(stats_of(&state).live_bytes, bytes);
    assert_int_equal(stats_of(&state).live_objects, 4501);
  }
  collect(&state, 2);
  assert_int_equal(stats_of(&state).live_objects, 0);
  end(&state);
}

static void young_garbage_gives_its_memory_back(void **unused) {
  struct state state;
  (void)unused;
  begin_with(&state, "collect=off,verify=on,generations=pools", TARN_OPTIONS_BARRIERS);
  {
    struct cell *kept = new_cell(&state);
    TARN_FRAME(state.self, &kept);
    collect(&state, 2);
    uint64_t pools = stats_of(&state).pools;
    for (int round = 0; round < 10; round++) {
      for (int i = 0; i < 20000; i++)
        assert_non_null(tarn_new(state.self, state.node));
      assert_non_null(tarn_new_array(state.self, state.array, LARGE_COUNT));
      collect(&state, 0);
      assert_int_equal(stats_of(&state).pools, pools);
      assert_int_equal(stats_of(&state).large_objects, 0);
    }
  }
  end(&state);
}

/* Old memory of which a part is free is handed out again, and its new objects are young. */
static void young_objects_in_pools_of_old_ones_are_collected(void **unused) {
  struct state state;
  (void)unused;
  begin(&state);
  {
    struct array *all = tarn_new_array(state.self, state.array, 4000);
    TARN_FRAME(state.self, &all);
    for (size_t i = 0; i < 4000; i++) {
      struct cell *cell = new_cell(&state);
      tarn_store(state.self, all, &all->elements[i], cell);
    }
    for (size_t i = 0; i < 4000; i += 2)
      tarn_store(state.self, all, &all->elements[i], NULL);
    collect(&state, 2);
    for (int round = 0; round < 4; round++) {
      uintptr_t first = ids;
      for (size_t i = 0; i < 1000; i++) {
        struct cell *cell = new_cell(&state);
        if (i % 4 == 0)
          tarn_store(state.self, all, &all->elements[i * 4], cell);
      }
      collect(&state, 0);
      for (uintptr_t i = 0; i < 1000; i++) /* first-pool may find some later */
        if (i % 4 == 0 || strcmp(policy, "generations=pools") == 0)
          assert_int_equal(released[first + 1 + i], i % 4 != 0);
      churn(&state);
      for (size_t i = 0; i < 250; i++)
        assert_int_equal(((struct cell *)all->elements[i * 16])->id, first + 1 + i * 4);
    }
  }
  end(&state);
}

/* tarn/heap.h: a weak reference to what was freed by hand is cleared by the next collection. */
static void a_weak_reference_to_what_was_freed_by_hand_never_leads_to_the_dead(void **unused) {
  struct state state;
  (void)unused;
  begin(&state);
  add_roots(&state);
  struct cell *old = tarn_new(state.self, state.node);
  roots[0] = old;
  void *weak = roots[1] = tarn_weak_new(state.self, old);
  collect(&state, 2);
  roots[0] = NULL;
  tarn_free(state.self, old);
  collect(&state, 0);
  for (int i = 0; i < 10000; i++) { /* one of them gets the block, and dies */
    struct cell *node = tarn_new(state.self, state.node);
    node->id = 7;
    if (node == old)
      break;
  }
  collect(&state, 0);
  assert_null(tarn_weak_get(state.self, weak));
  let_all_go(&state);
  end(&state);
}

/* --- without a barrier ----------------------------------------------------------------------- */

/* That these die shows that young collections are young: they do not look at old objects. */
static void a_forgotten_barrier_loses_the_object(void **unused) {
  struct state state;
  (void)unused;
  begin_with(&state, "collect=off", TARN_OPTIONS_BARRIERS);
  add_roots(&state);
  for (size_t kind = 0; kind < HOLDERS; kind++)
    for (int generation = 0; generation < 2; generation++) {
      void *object = roots[0] = holders[kind].make(&state);
      collect(&state, 2);
      uintptr_t id = new_cell(&state)->id;
      struct cell *cell = new_cell(&state);
      *holders[kind].slot(object) = cell;
      collect(&state, generation);
      assert_int_equal(released[id], 1);
      assert_int_equal(released[id + 1], 1);
      *holders[kind].slot(object) = NULL;
    }
  roots[0] = NULL;
  end(&state);
}

/* --- objects freed by hand ------------------------------------------------------------------- */

struct freeing {
  const struct state *state;
  void **objects;
  size_t count;
};

static void *free_all(void *data) {
  struct freeing *freeing = data;
  tarn_thread *self;
  assert_int_equal(tarn_thread_attach(freeing->state->world, &self), TARN_OK);
  for (size_t i = 0; i < freeing->count; i++)
    tarn_free(self, freeing->objects[i]);
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  return NULL;
}

static void free_some(const struct state *state, void **objects, size_t count, bool by_other) {
  struct freeing freeing = {state, objects, count};
  pthread_t thread;
  if (!by_other) {
    for (size_t i = 0; i < count; i++)
      tarn_free(state->self, objects[i]);
    return;
  }
  tarn_block_begin(state->self);
  assert_int_equal(pthread_create(&thread, NULL, free_all, &freeing), 0);
  assert_int_equal(pthread_join(thread, NULL), 0);
  tarn_block_end(state->self);
}

static void objects_freed_by_hand_stay_free_and_their_blocks_serve_again(void **unused) {
  enum { COUNT = 1200 };
  struct state state;
  void *free_these[COUNT / 3];
  (void)unused;
  for (int age = YOUNG; age <= OLD; age++)
    for (int generation = 0; generation <= 2; generation++)
      for (int by_other = 0; by_other < 2; by_other++) {
        begin(&state);
        {
          struct array *all = tarn_new_array(state.self, state.array, COUNT);
          TARN_FRAME(state.self, &all);
          for (size_t i = 0; i < COUNT; i++) {
            struct cell *cell = new_cell(&state);
            tarn_store(state.self, all, &all->elements[i], cell);
          }
          grow_older(&state, age);
          for (size_t i = 0; i < COUNT; i += 3)
            free_these[i / 3] = all->elements[i]; /* stale words stay in the slots */
          free_some(&state, free_these, COUNT / 3, by_other);
          collect(&state, generation);
          for (size_t i = 0; i < COUNT; i++)
            assert_int_equal(released[i + 1], i % 3 == 0);
          for (size_t i = 0; i < COUNT; i += 3) {
            struct cell *cell = new_cell(&state);
            tarn_store(state.self, all, &all->elements[i], cell);
          }
          for (int next = 0; next < 3; next++) {
            collect(&state, next);
            churn(&state);
            for (size_t i = 0; i < COUNT; i++)
              assert_int_equal(((struct cell *)all->elements[i])->id,
                               i % 3 ? i + 1 : COUNT + 1 + i / 3);
          }
        }
        end(&state);
      }
}

/* A collection that runs no `free` functions, as an allocation starts one. */
static void collect_only(const struct state *state, int generation) {
  assert_int_equal(
      tarn_collector_run(state->world, tarn_mutator_of(state->self), generation, false), TARN_OK);
}

static void due_free_functions_survive_young_collections(void **unused) {
  struct state state;
  (void)unused;
  begin(&state);
  add_roots(&state);
  const tarn_type *types[] = {state.cell, state.leaf, state.large_cell};
  collect(&state, 2);
  for (int first = 0; first <= 2; first++) {
    uintptr_t from = ids + 1;
    for (int i = 0; i < 30; i++)
      (void)cell_of(&state, types[i % 3]);
    collect_only(&state, first);
    for (int i = 0; i < 3; i++)
      collect_only(&state, i);
    collect_only(&state, 0);
    assert_int_equal(released[from], 0);
    assert_int_equal(tarn_release_pending(state.self, 0), 30);
    for (uintptr_t id = from; id <= ids; id++)
      assert_int_equal(released[id], 1);
    collect(&state, first);
  }
  end(&state);
}

static unsigned whole, broken;
static void look_at_data(tarn_world *world, void *object) {
  const struct instance *instance = object;
  bool good = true;
  (void)world;
  for (unsigned i = 0; i < DATA_WORDS; i++)
    good = good && instance->data[i] == (void *)0x77;
  *(good ? &whole : &broken) += 1;
}

static void a_condemned_object_keeps_its_data_block_in_young_collections(void **unused) {
  enum { COUNT = 100 };
  struct state state;
  (void)unused;
  begin(&state);
  collect(&state, 2);
  tarn_type_spec spec = {.struct_size = sizeof spec,
                         .name = "with data",
                         .size = sizeof(struct instance),
                         .data_size = DATA_WORDS * sizeof(void *),
                         .free = look_at_data};
  const tarn_type *type = make_type(state.world, &spec);
  whole = broken = 0;
  for (int first = 0; first <= 2; first++) {
    for (int i = 0; i < COUNT; i++) {
      struct instance *instance = tarn_new(state.self, type);
      for (unsigned k = 0; k < DATA_WORDS; k++)
        instance->data[k] = (void *)0x77;
    }
    for (int i = 0; i < 4; i++) {
      collect_only(&state, (first + i) % 3);
      for (int k = 0; k < 2 * COUNT; k++)
        memset(tarn_alloc_atomic(state.self, DATA_WORDS * sizeof(void *)), 0xee,
               DATA_WORDS * sizeof(void *));
    }
    assert_int_equal(tarn_release_pending(state.self, 0), COUNT);
    assert_int_equal(broken, 0);
    assert_int_equal(whole, (unsigned)(first + 1) * COUNT);
  }
  end(&state);
}

/* Blocks that another thread freed wait in a pool with due `free` functions: they are neither old
 * objects nor anything else that a dirty card leads to. */
static void what_is_freed_by_hand_beside_condemned_objects_is_not_scanned(void **unused) {
  struct state state;
  (void)unused;
  begin(&state);
  {
    struct cell *old = new_cell(&state);
    TARN_FRAME(state.self, &old);
    collect(&state, 2);
    (void)new_cell(&state);
    collect_only(&state, 0); /* the pool waits for a `free` function now */
    assert_true(stats_of(&state).release_pending > 0);
    struct cell *young = new_cell(&state);
    tarn_store(state.self, old, &old->left, young);
    struct cell *gone = old;
    old = NULL;
    tarn_free(state.self, gone);
    collect_only(&state, 0);
    collect_only(&state, 1);
    assert_int_equal(tarn_release_pending(state.self, 0), 2);
    assert_int_equal(released[1] + released[2] + released[3], 3);
  }
  end(&state);
}

static void an_entry_goes_whose_key_was_freed_by_hand_beside_condemned_objects(void **unused) {
  struct state state;
  tarn_weak_table_spec spec = TARN_WEAK_TABLE_SPEC_INIT;
  tarn_weak_table *table;
  (void)unused;
  begin(&state);
  assert_int_equal(tarn_weak_table_create(state.world, &spec, &table), TARN_OK);
  {
    struct cell *old = new_cell(&state);
    TARN_FRAME(state.self, &old);
    assert_ptr_equal(tarn_weak_table_put(state.self, table, old, NULL, false), old);
    collect(&state, 2);
    (void)new_cell(&state);
    collect_only(&state, 0);
    struct cell *gone = old;
    old = NULL;
    tarn_free(state.self, gone);
    collect_only(&state, 0);
    assert_int_equal(tarn_weak_table_count(table), 0);
    assert_int_equal(tarn_release_pending(state.self, 0), 1);
  }
  end(&state);
}

/* --- all markers, a small stack -------------------------------------------------------------- */

static void *tree(const struct state *state, int depth) {
  struct cell *left = NULL, *right = NULL;
  TARN_FRAME(state->self, &left, &right);
  if (depth > 0) {
    left = tree(state, depth - 1);
    right = tree(state, depth - 1);
  }
  struct cell *node = tarn_new(state->self, state->node);
  node->left = left;
  node->right = right;
  node->id = (uintptr_t)depth;
  return node;
}

static size_t check_tree(const struct cell *node, uintptr_t depth) {
  assert_int_equal(node->id, depth);
  return depth == 0 ? 1
                    : 1 + check_tree(node->left, depth - 1) + check_tree(node->right, depth - 1);
}

static void grafted_trees_survive(void **unused) {
  enum { TREES = 200 };
  struct state state;
  (void)unused;
  begin(&state);
  {
    struct array *all = tarn_new_array(state.self, state.array, TREES);
    TARN_FRAME(state.self, &all);
    collect(&state, 2);
    for (int round = 0; round < 6; round++) {
      for (size_t i = 0; i < TREES; i++)
        if ((i + (size_t)round) % 3 || round == 0) {
          void *new = tree(&state, 6);
          tarn_store(state.self, all, &all->elements[i], new);
        }
      collect(&state, round % 5 == 4 ? 1 : 0);
      churn(&state);
      for (size_t i = 0; i < TREES; i++)
        assert_int_equal(check_tree(all->elements[i], 6), 127);
    }
    collect(&state, 1);
    collect(&state, 2);
    assert_int_equal(stats_of(&state).live_objects, TREES * 127 + 1);
  }
  end(&state);
}

/* --- heaps, threads, forks ------------------------------------------------------------------- */

/* With `verify` a stale word in an old object would be taken for a forgotten barrier, once there is
 * a new object where it leads. */
static void a_heap_goes_with_objects_of_all_ages(void **unused) {
  struct state state;
  char text[100];
  (void)unused;
  (void)snprintf(text, sizeof text, "collect=off,%s", policy);
  begin_with(&state, text, TARN_OPTIONS_BARRIERS);
  add_roots(&state);
  for (int round = 0; round < 6; round++) {
    tarn_heap *heap;
    assert_int_equal(tarn_heap_create(state.world, TARN_HEAP_CONTAINER, &heap), TARN_OK);
    tarn_type_spec spec = {.struct_size = sizeof spec,
                           .name = "of a heap",
                           .heap = heap,
                           .size = sizeof(struct cell),
                           .slot_bits = 6,
                           .free = count_release};
    const tarn_type *type = make_type(state.world, &spec);
    spec.size = 100000;
    const tarn_type *large = make_type(state.world, &spec);
    struct array *all = roots[0] = tarn_new_array(state.self, state.array, 900);
    struct cell *stays = new_cell(&state); /* referred to by what goes, and by a root */
    roots[1] = stays;
    for (size_t i = 0; i < 900; i++) {
      struct cell *cell = cell_of(&state, i % 300 == 7 ? large : type);
      tarn_store(state.self, cell, &cell->left, stays);
      tarn_store(state.self, all, &all->elements[i], cell);
      if (i == 299)
        collect(&state, 2);
      if (i == 599)
        collect(&state, 0);
    }
    if (round % 3 == 1)
      collect(&state, 0);
    assert_int_equal(tarn_heap_destroy(state.self, heap), TARN_OK);
    for (int i = 0; i < 4; i++) { /* the words in `all` name nothing, or what is there now */
      collect(&state, i % 3);
      churn(&state);
    }
    assert_int_equal(stays->id, ids - 900);
    assert_int_equal(released[stays->id], 0);
    for (uintptr_t id = ids - 899; id <= ids; id++)
      assert_int_equal(released[id], 1);
    let_all_go(&state);
  }
  end(&state);
}

struct work {
  const struct state *state;
  struct array *all;
  size_t first, count;
};

static void *fill_and_leave(void *data) {
  struct work *work = data;
  struct state state = *work->state;
  assert_int_equal(tarn_thread_attach(state.world, &state.self), TARN_OK);
  for (size_t i = 0; i < work->count; i++) {
    struct cell *cell = tarn_new(state.self, state.node);
    assert_non_null(cell);
    cell->id = work->first + i;
    tarn_store(state.self, work->all, &work->all->elements[work->first + i], cell);
    assert_non_null(tarn_new(state.self, state.node));
  }
  assert_int_equal(tarn_thread_detach(state.self), TARN_OK);
  return NULL;
}

/* Their pools stand on shelves, young, when the collection comes; and old ones beside them. */
static void pools_of_threads_that_left_are_collected_and_used_again(void **unused) {
  enum { ROUNDS = 8, EACH = 3000 };
  struct state state;
  (void)unused;
  begin(&state);
  add_roots(&state);
  struct array *all = roots[0] = tarn_new_array(state.self, state.array, ROUNDS * EACH);
  collect(&state, 2);
  for (size_t round = 0; round < ROUNDS; round++) {
    struct work work = {&state, all, round * EACH, EACH};
    pthread_t thread;
    tarn_block_begin(state.self);
    assert_int_equal(pthread_create(&thread, NULL, fill_and_leave, &work), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    tarn_block_end(state.self);
    collect(&state, round == 4 ? 1 : 0);
    churn(&state);
    for (size_t i = 0; i < (round + 1) * EACH; i++)
      assert_int_equal(((struct cell *)all->elements[i])->id, i);
    if (strcmp(policy, "generations=pools") == 0)
      assert_int_equal(stats_of(&state).live_objects, (round + 1) * EACH + 1);
  }
  roots[0] = NULL;
  collect(&state, 2);
  end(&state);
}

static void the_child_of_a_fork_goes_on_in_the_middle_of_generations(void **unused) {
  struct state state;
  (void)unused;
  begin(&state);
  add_roots(&state);
  struct array *all = roots[0] = tarn_new_array(state.self, state.array, 3000);
  for (size_t i = 0; i < 3000; i++) {
    struct cell *cell = tarn_new(state.self, state.node);
    cell->id = i;
    tarn_store(state.self, all, &all->elements[i], cell);
    if (i % 1000 == 500)
      collect(&state, i == 500 ? 2 : 0);
  }
  pid_t pid = fork();
  assert_true(pid >= 0);
  if (pid == 0)
    (void)alarm(60);
  for (int generation = 0; generation <= 2; generation++)
    for (int i = 0; i < 2; i++) {
      for (size_t k = (size_t)generation; k < 3000; k += 7) {
        struct cell *cell = tarn_new(state.self, state.node);
        cell->id = k;
        tarn_store(state.self, all, &all->elements[k], cell);
      }
      collect(&state, generation);
      for (size_t k = 0; k < 3000; k++)
        if (((struct cell *)all->elements[k])->id != k)
          abort();
    }
  if (pid == 0)
    _exit(stats_of(&state).live_objects == 3001 ? 0 : 1);
  int status;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_int_equal(status, 0);
  end(&state);
}

/* --- which generation ------------------------------------------------------------------------ */

static void without_generations_every_collection_is_a_full_one(void **unused) {
  (void)unused;
  const struct {
    const char *options;
    unsigned flags;
  } worlds[] = {{"collect=off,verify=on,generations=none", TARN_OPTIONS_BARRIERS},
                {"collect=off,verify=on", 0}};
  for (size_t i = 0; i < 2; i++) {
    struct state state;
    begin_with(&state, worlds[i].options, worlds[i].flags);
    for (int generation = 0; generation <= 2; generation++) {
      struct cell *cell = new_cell(&state);
      uintptr_t id = cell->id;
      {
        TARN_FRAME(state.self, &cell);
        collect(&state, 2);
        collect(&state, 2);
        cell->left = new_cell(&state); /* no barrier is needed, and one does no harm */
        collect(&state, generation);
        assert_int_equal(((struct cell *)cell->left)->id, id + 1);
        struct cell *young = new_cell(&state);
        tarn_store(state.self, cell, &cell->right, young);
        collect(&state, generation);
        assert_int_equal(((struct cell *)cell->right)->id, id + 2);
      }
      collect(&state, generation);
      assert_int_equal(released[id] + released[id + 1] + released[id + 2], 3);
    }
    assert_int_equal(collections_of(&state, 0) + collections_of(&state, 1), 0);
    end(&state);
  }
}

static void the_first_collection_is_a_full_one(void **unused) {
  struct state state;
  (void)unused;
  begin(&state);
  collect(&state, 0);
  assert_int_equal(collections_of(&state, 2), 1);
  collect(&state, 0);
  collect(&state, 1);
  assert_int_equal(collections_of(&state, 0), 1);
  assert_int_equal(collections_of(&state, 1), 1);
  assert_int_equal(collections_of(&state, 2), 1);
  assert_int_equal(tarn_collect(state.self, 3), TARN_EINVAL);
  assert_int_equal(tarn_collect(state.self, -1), TARN_EINVAL);
  end(&state);
}

static void young_objects_are_collected_long_before_min_heap(void **unused) {
  struct state state;
  (void)unused;
  begin_with(&state, "min-heap=1G,young=256K,young-share=0", TARN_OPTIONS_BARRIERS);
  for (size_t i = 0; i < 500000; i++) /* 16 MB, all garbage */
    assert_non_null(tarn_new(state.self, state.node));
  if (!TARN_ZEAL) /* it collects the old all the time, too */
    assert_int_equal(collections_of(&state, 2), 1);
  assert_true(collections_of(&state, 0) >= 30);
  assert_true(stats_of(&state).heap_bytes_max < (2u << 20));
  end(&state);
}

static void collections_that_come_by_themselves_are_mostly_young(void **unused) {
  struct state state;
  (void)unused;
  begin_with(&state, "min-heap=4M,young=256K,young-share=0", TARN_OPTIONS_BARRIERS);
  add_roots(&state);
  struct array *all = roots[0] = tarn_new_array(state.self, state.array, 1000);
  for (size_t i = 0; i < 2000000; i++) {
    struct cell *node = tarn_new(state.self, state.node);
    node->id = i;
    if (i % 100 == 0)
      tarn_store(state.self, all, &all->elements[i / 100 % 1000], node);
  }
  for (size_t i = 0; i < 1000; i++)
    assert_int_equal(((struct cell *)all->elements[i])->id, (19000 + i) * 100);
  uint64_t young = collections_of(&state, 0), all_of = stats_of(&state).collections;
  assert_true(young >= 100); /* 64 MB by 256 K */
  if (!TARN_ZEAL)
    assert_true(young * 10 >= all_of * 8);
  assert_true(collections_of(&state, 2) >= 1);
  assert_true(stats_of(&state).heap_bytes_max < (8u << 20));
  end(&state);
}

static void a_heap_that_grows_gets_full_collections(void **unused) {
  struct state state;
  (void)unused;
  begin_with(&state, "min-heap=1M,growth=100,young=256K,young-share=0", TARN_OPTIONS_BARRIERS);
  add_roots(&state);
  for (size_t i = 0; i < 500000; i++) { /* 16 MB that stay */
    struct cell *node = tarn_new(state.self, state.node);
    node->left = roots[0];
    roots[0] = node;
  }
  if (!TARN_ZEAL) { /* at 1, 2, 4, 8, 16 MB */
    assert_true(collections_of(&state, 2) >= 4);
    assert_true(collections_of(&state, 2) <= 8);
  }
  size_t length = 0;
  for (struct cell *at = roots[0]; at; at = at->left)
    length++;
  assert_int_equal(length, 500000);
  roots[0] = NULL;
  end(&state);
}

enum { WINDOW = 30000 };

/* A window of 1 MB moves over 48 MB: each object survives young collections for a while and then
 * dies.  A young collection is asked for after every so many objects, if any. */
static void move_window(const struct state *state, size_t every) {
  add_roots(state);
  struct array *all = roots[0] = tarn_new_array(state->self, state->array, WINDOW);
  for (size_t i = 0; i < 1500000; i++) {
    void *node = tarn_new(state->self, state->node);
    tarn_store(state->self, all, &all->elements[i % WINDOW], node);
    if (every && i % every == 0)
      collect(state, 0);
  }
}

/* It is found before the heap is twice as large: by collections of generation 1, or full ones. */
static void garbage_that_was_aged_does_not_pile_up(void **unused) {
  struct state state;
  (void)unused;
  begin_with(&state, "min-heap=4M,growth=100,young=256K,young-share=0", TARN_OPTIONS_BARRIERS);
  move_window(&state, 0);
  assert_true(collections_of(&state, 1) >= 1);
  assert_true(stats_of(&state).heap_bytes_max < (16u << 20));
  end(&state);
}

/* As a program does that collects the young after each request or picture: they come before any
 * other is due, and what they leave must be looked at all the same. */
static void young_collections_that_are_asked_for_do_not_put_off_older_ones(void **unused) {
  struct state state;
  (void)unused;
  begin_with(&state, "min-heap=4M,growth=100,young=256K,young-share=0", TARN_OPTIONS_BARRIERS);
  move_window(&state, 4000);
  assert_true(collections_of(&state, 1) >= 1);
  assert_true(stats_of(&state).heap_bytes_max < (16u << 20));
  end(&state);
}

static void exhausted_memory_is_looked_for_in_old_pools_too(void **unused) {
  struct state state;
  (void)unused;
  begin_with(&state, "hard-limit=8M,min-heap=1G,young=1M,verify=on", TARN_OPTIONS_BARRIERS);
  add_roots(&state);
  for (int round = 0; round < 4; round++) {
    for (size_t i = 0; i < 100000; i++) { /* 3.2 MB */
      struct cell *node = tarn_new(state.self, state.node);
      assert_non_null(node);
      node->left = roots[0];
      roots[0] = node;
    }
    collect(&state, 1); /* old now */
    roots[0] = NULL;
  }
  assert_true(collections_of(&state, 2) >= 1);
  /* Also for one piece. */
  for (int i = 0; i < 10; i++) {
    roots[0] = tarn_new_array(state.self, state.array, 400000);
    assert_non_null(roots[0]);
    collect(&state, 1);
    roots[0] = NULL;
  }
  end(&state);
}

static void options_of_generations_are_read(void **unused) {
  (void)unused;
  const char *const sets[] = {"generations=none", "generations=pools", "generations=first-pool"};
  for (unsigned i = 0; i < 3; i++) {
    struct state state;
    begin_with(&state, sets[i], TARN_OPTIONS_BARRIERS);
    const struct tarn_generations *generations = &state.world->collector->generations;
    assert_int_equal(generations->on, i > 0);
    assert_int_equal(generations->first_pool, i == 2);
    end(&state);
  }
}

/* In first-pool the pools that were filled are left alone until generation 1. */
static void first_pool_spares_the_pools_that_were_filled(void **unused) {
  struct state state;
  (void)unused;
  begin_with(&state, "collect=off,verify=on,generations=first-pool", TARN_OPTIONS_BARRIERS);
  collect(&state, 2);
  for (int i = 0; i < 5000; i++) /* two pools and a part */
    (void)new_cell(&state);
  collect(&state, 0);
  assert_int_equal(released[1], 0);
  assert_int_equal(released[ids], 1);
  collect(&state, 1);
  for (uintptr_t id = 1; id <= ids; id++)
    assert_int_equal(released[id], 1);
  end(&state);
}

/* --- how far apart --------------------------------------------------------------------------- */

#define MS ((uint64_t)1000000)

/* What the policy makes of a collection that it is told of. */
static void tell(struct state *state, int generation, uint64_t before, uint64_t after,
                 uint64_t ran_ns, uint64_t stopped_ns) {
  struct tarn_collector *collector = state->world->collector;
  struct tarn_generation_round round = {.before = before,
                                        .after = after,
                                        .allocated = 1u << 20,
                                        .full_due = 1u << 30,
                                        .ran_ns = ran_ns,
                                        .stopped_ns = stopped_ns};
  collector->generation = generation;
  tarn_generation_collected(collector, &round);
}
static uint64_t step_of(const struct state *state) {
  return state->world->collector->generations.step;
}

static void young_collections_that_take_much_time_come_less_often(void **unused) {
  struct state state;
  uint64_t live = 64u << 20, young = 1u << 20;
  (void)unused;
  begin_with(&state, "collect=off,young=1M,young-share=10", TARN_OPTIONS_BARRIERS);
  for (int i = 0; i < 4; i++) /* a tenth is not more than a tenth */
    tell(&state, 0, live, live + 1000, 90 * MS, 10 * MS - 1);
  assert_int_equal(step_of(&state), young);
  for (uint64_t times = 2; times <= 16; times *= 2) {
    tell(&state, 0, live, live + 1000, 10 * MS, 9 * MS);
    assert_int_equal(step_of(&state), times * young);
  }
  tell(&state, 0, live, live + 1000, 10 * MS, 9 * MS);
  assert_int_equal(step_of(&state), 16 * young);
  /* Few survive, and it is cheap for some time. */
  for (int i = 0; i < 40; i++)
    tell(&state, 0, live, live + 1000, 1000 * MS, MS);
  assert_int_equal(step_of(&state), young);
  end(&state);
}

static void long_young_collections_are_not_made_longer(void **unused) {
  struct state state;
  uint64_t live = 64u << 20, young = 1u << 20;
  (void)unused;
  begin_with(&state, "collect=off,young=1M,young-share=10", TARN_OPTIONS_BARRIERS);
  for (int i = 0; i < 8; i++)
    tell(&state, 0, live, live + (300u << 10), 10 * MS, 11 * MS);
  assert_int_equal(step_of(&state), young);
  for (int i = 0; i < 8; i++)
    tell(&state, 0, live, live + (300u << 10), 10 * MS, 9 * MS);
  assert_int_equal(step_of(&state), 16 * young);
  for (int i = 0; i < 8; i++) /* back to what survivors alone may make of it */
    tell(&state, 0, live, live + (300u << 10), 10 * MS, 30 * MS);
  assert_int_equal(step_of(&state), 4 * young);
  end(&state);
}

static void a_small_heap_does_not_become_one_of_young_objects(void **unused) {
  struct state state;
  uint64_t live = 4u << 20, young = 1u << 20;
  (void)unused;
  begin_with(&state, "collect=off,young=1M,min-heap=4M,young-share=10", TARN_OPTIONS_BARRIERS);
  for (int i = 0; i < 8; i++)
    tell(&state, 0, live, live + (300u << 10), 10 * MS, 9 * MS);
  assert_int_equal(step_of(&state), 4 * young); /* half of what it may grow by */
  end(&state);
  begin_with(&state, "collect=off,young=1M,hard-limit=68M,young-share=10", TARN_OPTIONS_BARRIERS);
  for (int i = 0; i < 8; i++)
    tell(&state, 0, 64u << 20, (64u << 20) + (300u << 10), 10 * MS, 9 * MS);
  assert_int_equal(step_of(&state), young);
  end(&state);
}

static void without_a_share_only_what_survives_counts(void **unused) {
  struct state state;
  uint64_t live = 64u << 20, young = 1u << 20;
  (void)unused;
  begin_with(&state, "collect=off,young=1M,young-share=0", TARN_OPTIONS_BARRIERS);
  for (int i = 0; i < 8; i++)
    tell(&state, 0, live, live + 1000, MS, 9 * MS);
  assert_int_equal(step_of(&state), young);
  for (int i = 0; i < 8; i++) /* more than half */
    tell(&state, 0, live, live + (600u << 10), MS, 9 * MS);
  assert_int_equal(step_of(&state), 4 * young);
  end(&state);
}

static void generation_1_waits_for_more_when_it_finds_little(void **unused) {
  struct state state;
  uint64_t live = 64u << 20, young = 1u << 20;
  (void)unused;
  begin_with(&state, "collect=off,young=1M,young-share=0", TARN_OPTIONS_BARRIERS);
  const struct tarn_generations *generations = &state.world->collector->generations;
  for (int i = 0; i < 8; i++) {
    tell(&state, 0, live, live + (600u << 10), MS, MS);
    tell(&state, 1, live + (600u << 10), live + (500u << 10), MS, MS); /* most of it lives on */
    assert_int_equal(generations->survived, 0);
  }
  assert_int_equal(generations->second_due, 16 * young);
  for (int i = 0; i < 8; i++) {
    tell(&state, 0, live, live + (600u << 10), MS, MS);
    tell(&state, 1, live + (600u << 10), live + (100u << 10), MS, MS);
  }
  assert_int_equal(generations->second_due, young);
  end(&state);
}

int main(void) {
  const struct CMUnitTest of_any_policy[] = {
      cmocka_unit_test(what_is_stored_into_an_object_lives_as_long_as_that),
      cmocka_unit_test(a_weak_reference_is_cleared_when_its_target_dies_and_not_before),
      cmocka_unit_test(an_ephemeron_keeps_its_value_as_long_as_its_key_lives),
      cmocka_unit_test(chains_of_ephemerons_of_all_ages_are_followed),
      cmocka_unit_test(entries_of_weak_tables_live_and_die_with_young_and_old_objects),
      cmocka_unit_test(a_finalizer_is_due_once_in_the_collection_that_finds_its_object_dead),
      cmocka_unit_test(an_object_whose_finalizer_waits_lives_through_all_collections),
      cmocka_unit_test(a_range_makes_all_its_cards_dirty),
      cmocka_unit_test(a_weak_reference_to_what_was_freed_by_hand_never_leads_to_the_dead),
      cmocka_unit_test(each_word_is_found_by_its_card),
      cmocka_unit_test(tagged_words_are_references_like_others),
      cmocka_unit_test(a_store_into_a_new_object_needs_no_barrier),
      cmocka_unit_test(a_data_block_can_be_replaced),
      cmocka_unit_test(each_generation_finds_the_garbage_of_its_ages),
      cmocka_unit_test(young_objects_in_pools_of_old_ones_are_collected),
      cmocka_unit_test(objects_freed_by_hand_stay_free_and_their_blocks_serve_again),
      cmocka_unit_test(due_free_functions_survive_young_collections),
      cmocka_unit_test(what_is_freed_by_hand_beside_condemned_objects_is_not_scanned),
      cmocka_unit_test(an_entry_goes_whose_key_was_freed_by_hand_beside_condemned_objects),
      cmocka_unit_test(a_condemned_object_keeps_its_data_block_in_young_collections),
      cmocka_unit_test(grafted_trees_survive),
      cmocka_unit_test(a_heap_goes_with_objects_of_all_ages),
      cmocka_unit_test(pools_of_threads_that_left_are_collected_and_used_again),
      cmocka_unit_test(the_child_of_a_fork_goes_on_in_the_middle_of_generations),
      cmocka_unit_test(the_first_collection_is_a_full_one),
  };
  const struct CMUnitTest of_one[] = {
      cmocka_unit_test(only_dirty_cards_of_a_large_array_are_scanned),
      cmocka_unit_test(the_count_of_live_objects_is_that_of_all_generations),
      cmocka_unit_test(young_garbage_gives_its_memory_back),
      cmocka_unit_test(a_forgotten_barrier_loses_the_object),
      cmocka_unit_test(without_generations_every_collection_is_a_full_one),
      cmocka_unit_test(young_objects_are_collected_long_before_min_heap),
      cmocka_unit_test(collections_that_come_by_themselves_are_mostly_young),
      cmocka_unit_test(a_heap_that_grows_gets_full_collections),
      cmocka_unit_test(garbage_that_was_aged_does_not_pile_up),
      cmocka_unit_test(young_collections_that_are_asked_for_do_not_put_off_older_ones),
      cmocka_unit_test(exhausted_memory_is_looked_for_in_old_pools_too),
      cmocka_unit_test(options_of_generations_are_read),
      cmocka_unit_test(young_collections_that_take_much_time_come_less_often),
      cmocka_unit_test(long_young_collections_are_not_made_longer),
      cmocka_unit_test(a_small_heap_does_not_become_one_of_young_objects),
      cmocka_unit_test(without_a_share_only_what_survives_counts),
      cmocka_unit_test(generation_1_waits_for_more_when_it_finds_little),
      cmocka_unit_test(first_pool_spares_the_pools_that_were_filled),
  };
  static const char *const policies[] = {"generations=pools", "generations=first-pool",
                                         "generations=pools,mark-stack=4K,markers=2"};
  int failed = 0;
  for (size_t i = 0; i < sizeof policies / sizeof policies[0]; i++) {
    policy = policies[i];
    failed += cmocka_run_group_tests_name(policies[i], of_any_policy, NULL, NULL);
  }
  return failed + cmocka_run_group_tests(of_one, NULL, NULL);
}
