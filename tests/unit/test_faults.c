/* SPDX-License-Identifier: MIT */
/*
 * No memory from the system, and none that it takes back: a fixed scenario of calls is run again
 * and again, each time with another point failing.  Every call that fails must say so with a status
 * that its header names, everything made before stays whole, and the world still ends.
 *
 * Each run is a process of its own, so that what happens once in a process, as the reservation of
 * the address range, is among what fails.
 */
#include "faults.h"

#include "collect/collector.h"

#define OBJECTS 400
#define BIG (MIB + MIB / 4)
#define ROUNDS 2u

struct node {
  const tarn_type *type;
  struct node *next;
  size_t number;
};

struct array {
  const tarn_type *type;
  size_t count;
  void *elements[];
};

struct scene {
  tarn_world *world;
  tarn_thread *self;
  const tarn_type *node, *array, *resource;
  struct node *list; /* a root from the first node on */
  struct array *large;
  void *weak, *ephemeron, *raw;
  size_t length, made, freed; /* resources */
  unsigned failed;            /* calls that had no memory */
};

static struct scene scene;

/* The only failure that there may be; notes it. */
static bool good(tarn_status status) {
  CHILD_CHECK(status == TARN_OK || status == TARN_ENOMEM);
  scene.failed += status != TARN_OK;
  return status == TARN_OK;
}

/* The same for a call that returned `result`. */
static bool made(const void *result) {
  tarn_status status = tarn_thread_status(scene.self);
  CHILD_CHECK(result ? status == TARN_OK : status == TARN_ENOMEM);
  return good(status);
}

static void count_free(tarn_world *world, void *object) {
  CHILD_CHECK(world == scene.world && object);
  scene.freed++;
}

static size_t finalized;
static void finalize(tarn_thread *self, void *object, void *data) {
  CHILD_CHECK(self == scene.self && object && data == &finalized);
  finalized++;
}

/* --- the parts of the scenario --------------------------------------------------------------- */

/* What exists must be as it was made, whatever failed since. */
static void check_contents(void) {
  size_t number = scene.length;
  for (const struct node *at = scene.list; at; at = at->next)
    CHILD_CHECK(at->type == scene.node && at->number == number--);
  CHILD_CHECK(number == 0);
  if (scene.raw)
    CHILD_CHECK(support_is_filled(scene.raw, 500, 0x77));
  for (size_t i = 0; scene.large && i < scene.large->count; i++) {
    const struct node *node = scene.large->elements[i];
    CHILD_CHECK(i % 3000 ? !node : node->type == scene.node && node->number > 0);
  }
}

/* Helpers mark, the memory comes in huge pages, and nobody but the program gives it back; and some
 * of it cannot be touched for a while. */
#define OPTIONS \
  "address-space=256M,markers=3,huge-pages-from=1M,populate=on,purger=off,apart=25,trap=1M"

static bool make_world(void) {
  tarn_options options = TARN_OPTIONS_INIT;
  options.set = SUPPORT_ZEAL ? OPTIONS ",zeal=50" : OPTIONS;
  options.flags = TARN_OPTIONS_NO_ENVIRONMENT;
  scene.world = (tarn_world *)&scene;
  tarn_status status = tarn_world_create(&options, &scene.world);
  CHILD_CHECK((status == TARN_OK) == (scene.world != NULL));
  /* A range that cannot be reserved is "no address space". */
  if (status == TARN_EWORLDS)
    status = TARN_ENOMEM;
  if (!good(status)) {
    CHILD_CHECK(tarn_world_create(&options, &scene.world) == TARN_OK); /* one fault, once */
    return false;
  }
  return true;
}

static const tarn_type *make_type(const tarn_type_spec *spec) {
  tarn_status status = TARN_EBUSY;
  const tarn_type *type = tarn_type_create(scene.world, spec, &status);
  CHILD_CHECK((type != NULL) == (status == TARN_OK));
  if (!good(status))
    CHILD_CHECK((type = tarn_type_create(scene.world, spec, &status)));
  return type;
}

static void make_types(void) {
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = "node";
  spec.size = sizeof(struct node);
  spec.slot_bits = 2;
  scene.node = make_type(&spec);
  spec.name = "array";
  spec.size = sizeof(struct array);
  spec.slot_bits = 0;
  spec.element_size = sizeof(void *);
  spec.flags = TARN_TYPE_ELEMENTS_TRACED;
  scene.array = make_type(&spec);
  spec = (tarn_type_spec)TARN_TYPE_SPEC_INIT;
  spec.name = "resource with data";
  spec.size = 24;
  spec.data_size = 3000;
  spec.flags = TARN_TYPE_DATA_TRACED;
  spec.free = count_free;
  scene.resource = make_type(&spec);
  uint32_t slots[200];
  for (uint32_t i = 0; i < 200; i++)
    slots[i] = i * 3 + 1;
  for (size_t i = 0; i < 30; i++) { /* many, with tables of their own */
    spec = (tarn_type_spec)TARN_TYPE_SPEC_INIT;
    spec.name = "one of many";
    spec.size = 8 * 601;
    spec.slots = slots;
    spec.slot_count = 200;
    spec.parent = i % 2 ? scene.node : NULL;
    (void)make_type(&spec);
  }
}

static void make_objects(void) {
  for (size_t i = 0; i < OBJECTS; i++) {
    struct node *node = tarn_new(scene.self, scene.node);
    if (!made(node))
      continue;
    node->next = scene.list;
    node->number = ++scene.length;
    scene.list = node;
    if (i % 4 == 0)
      scene.made += made(tarn_new(scene.self, scene.resource));
    if (i % 10 == 0) {
      void *block = tarn_alloc_atomic(scene.self, 16 + i * 90);
      if (made(block) && i % 20 == 0)
        tarn_free(scene.self, block);
    }
  }
  if (!scene.raw && made(scene.raw = tarn_alloc_atomic(scene.self, 500)))
    memset(scene.raw, 0x77, 500);
}

static void make_large(size_t round) {
  struct array *large = tarn_new_array(scene.self, scene.array, 30000);
  if (!made(large) || !scene.list)
    return;
  CHILD_CHECK(large->count == 30000);
  for (size_t i = 0; i < 30000; i += 3000)
    large->elements[i] = scene.list;
  scene.large = large;
  if (round < 2) /* new arenas, before there are mark bytes and after */
    (void)made(tarn_alloc_atomic(scene.self, round == 0 ? 17 * MIB : 33 * MIB));
}

/* Zero, however its pages were used before and whether the system gave others. */
static void make_big(void) {
  char *big = tarn_alloc_atomic(scene.self, BIG);
  if (!made(big))
    return;
  for (size_t i = 0; i < BIG; i += 1000)
    CHILD_CHECK(big[i] == 0);
  for (size_t i = 0; i < BIG; i += 1000)
    big[i] = 1;
}

static void make_weak_things(void) {
  if (!scene.list)
    return;
  if (made(scene.weak = tarn_weak_new(scene.self, scene.list)))
    CHILD_CHECK(tarn_weak_get(scene.self, scene.weak) == scene.list);
  if (made(scene.ephemeron = tarn_ephemeron_new(scene.self, scene.list, scene.list)))
    CHILD_CHECK(tarn_ephemeron_key(scene.self, scene.ephemeron) == scene.list);
  tarn_weak_table_spec spec = TARN_WEAK_TABLE_SPEC_INIT;
  spec.kind = TARN_WEAK_KEYS;
  tarn_weak_table *table = (tarn_weak_table *)&spec;
  tarn_status status = tarn_weak_table_create(scene.world, &spec, &table);
  CHILD_CHECK((table != NULL) == (status == TARN_OK));
  size_t entries = 0;
  if (good(status)) {
    for (struct node *at = scene.list; at; at = at->next) {
      void *key = tarn_weak_table_put(scene.self, table, at, scene.list, false);
      scene.failed += key == NULL;
      CHILD_CHECK(key == at || !key);
      entries += key != NULL;
    }
    (void)tarn_thread_status(scene.self);
    CHILD_CHECK(tarn_weak_table_count(table) == entries);
  }
  for (struct node *at = scene.list; at; at = at->next) {
    if (at->number % 7 == 0)
      (void)good(tarn_finalizer_add(scene.self, at, finalize, &finalized));
  }
}

static void *slots[300];

static void provide(tarn_visitor *visitor, void *data) { tarn_visit(visitor, data); }

static void make_roots(void) {
  bool added[300];
  for (size_t i = 0; i < 300; i++) {
    slots[i] = scene.list;
    added[i] = good(tarn_root_add(scene.world, &slots[i]));
  }
  bool provided = good(tarn_root_provider_add(scene.world, provide, &scene));
  for (size_t i = 0; i < 300; i++)
    CHILD_CHECK(tarn_root_remove(scene.world, &slots[i]) == (added[i] ? TARN_OK : TARN_ENOTFOUND));
  CHILD_CHECK(tarn_root_provider_remove(scene.world, provide, &scene) ==
              (provided ? TARN_OK : TARN_ENOTFOUND));
}

static void make_heaps(void) {
  for (int i = 0; i < 4; i++) {
    tarn_heap *heap = NULL;
    tarn_status status =
        tarn_heap_create(scene.world, i % 2 ? TARN_HEAP_CONTAINER : TARN_HEAP_ATOMIC, &heap);
    CHILD_CHECK((heap != NULL) == (status == TARN_OK));
    if (!good(status))
      continue;
    for (size_t size = 16; size < 200000; size *= 3)
      (void)made(tarn_heap_alloc(scene.self, heap, size));
    if (!good(tarn_heap_destroy(scene.self, heap)))
      CHILD_CHECK(tarn_heap_destroy(scene.self, heap) == TARN_OK);
  }
}

struct visit {
  bool attached;
  unsigned failed;
};

static void *visit(void *data) {
  struct visit *visit = data;
  tarn_thread *self = (tarn_thread *)data;
  tarn_status status = tarn_thread_attach(scene.world, &self);
  CHILD_CHECK(status == TARN_OK || status == TARN_ENOMEM);
  CHILD_CHECK((self != NULL) == (status == TARN_OK));
  if (!self) {
    visit->failed++;
    return NULL;
  }
  visit->attached = true;
  void *block = tarn_alloc_atomic(self, 700);
  visit->failed += !block;
  status = tarn_thread_status(self);
  CHILD_CHECK(status == (block ? TARN_OK : TARN_ENOMEM));
  tarn_free(self, block);
  return NULL;
}

/* Two at a time in turn: the second needs a record of its own. */
static void visit_by_threads(void) {
  pthread_t threads[2];
  struct visit visits[2] = {{false, 0}, {false, 0}};
  tarn_block_begin(scene.self);
  for (int i = 0; i < 2; i++)
    CHILD_CHECK(pthread_create(&threads[i], NULL, visit, &visits[i]) == 0);
  for (int i = 0; i < 2; i++)
    CHILD_CHECK(pthread_join(threads[i], NULL) == 0);
  tarn_block_end(scene.self);
  scene.failed += visits[0].failed + visits[1].failed;
}

/* Memory goes back at once, so that there is less to look at. */
static void verify(void) {
  (void)tarn_trim(scene.world, 0);
  char message[400] = "";
  tarn_status status = tarn_verify(scene.self, message, sizeof message);
  if (status != TARN_OK)
    dprintf(2, "tarn_verify: %s: %s\n", tarn_strerror(status), message);
  CHILD_CHECK(status == TARN_OK || status == TARN_ENOMEM);
  scene.failed += status != TARN_OK;
}

static void collect(void) {
  if (good(tarn_collect(scene.self, TARN_GENERATION_FULL)))
    (void)tarn_finalizers_run(scene.self, 0);
}

/* --- the scenario ---------------------------------------------------------------------------- */

static void play(void) {
  (void)make_world();
  if (!good(tarn_thread_attach(scene.world, &scene.self)))
    CHILD_CHECK(tarn_thread_attach(scene.world, &scene.self) == TARN_OK);
  make_types();
  {
    TARN_FRAME(scene.self, &scene.list, &scene.large, &scene.weak, &scene.ephemeron, &scene.raw);
    for (size_t round = 0; round < ROUNDS; round++) {
      make_objects();
      check_contents();
      make_large(round);
      make_big();
      make_weak_things();
      make_roots();
      make_heaps();
      visit_by_threads();
      check_contents();
      collect();
      check_contents();
      if (round + 1 == ROUNDS)
        verify();
      if (scene.weak && scene.list && tarn_weak_get(scene.self, scene.weak))
        CHILD_CHECK(tarn_weak_get(scene.self, scene.weak) == scene.list);
    }
  }
  scene.list = NULL;
  scene.length = 0;
  scene.raw = scene.weak = scene.ephemeron = scene.large = NULL;
  collect();
  collect();
  CHILD_CHECK(tarn_thread_detach(scene.self) == TARN_OK);
  if (!good(tarn_world_destroy(scene.world)))
    CHILD_CHECK(tarn_world_destroy(scene.world) == TARN_OK);
  /* Whatever failed, no `free` function was forgotten, and none ran twice. */
  CHILD_CHECK(scene.freed == scene.made);
}

/* The whole range can be had in one piece: no arena was lost on the way.  And it is zero. */
static void check_range(void) {
  size_t arenas = tarn_space.size / TARN_ARENA_SIZE, page = tarn_os_page_size();
  CHILD_CHECK(arenas > 0 && tarn_space.size <= 256 * MIB);
  char *range = tarn_space_take_arenas(arenas);
  CHILD_CHECK(range);
  for (size_t i = 0; i < arenas; i++) { /* a page can be told to be there without making it so */
    unsigned char there[TARN_ARENA_SIZE / 4096];
    char *arena = range + i * TARN_ARENA_SIZE;
    CHILD_CHECK(mincore(arena, TARN_ARENA_SIZE, there) == 0);
    for (size_t k = 0; k < TARN_ARENA_SIZE / page; k++)
      if (there[k] & 1)
        CHILD_CHECK(support_is_filled(arena + k * page, page, 0));
  }
  tarn_space_give_arenas(range, arenas);
}

/* A world in the place of the first one finds nothing of it. */
static void play_again(void) {
  scene = (struct scene){.failed = scene.failed};
  CHILD_CHECK(make_world());
  CHILD_CHECK(tarn_thread_attach(scene.world, &scene.self) == TARN_OK);
  make_types();
  {
    TARN_FRAME(scene.self, &scene.list, &scene.large, &scene.raw);
    for (int i = 0; i < 2; i++) {
      make_objects();
      make_large(2);
      make_big();
      collect();
      check_contents();
    }
    CHILD_CHECK(tarn_verify(scene.self, NULL, 0) == TARN_OK);
  }
  CHILD_CHECK(tarn_thread_detach(scene.self) == TARN_OK);
  CHILD_CHECK(tarn_world_destroy(scene.world) == TARN_OK);
  CHILD_CHECK(scene.freed == scene.made);
}

/* Who asks for memory is told; what is only given back, or better memory, is nobody's concern. */
static void play_with_fault(unsigned kind) {
  play();
  faults_over();
  check_range();
  play_again();
  CHILD_CHECK(kind == TARN_FAULT_PAGES || scene.failed == 0);
}

static void no_failure_of_memory_loses_anything(void **unused) {
  static const struct faults_kind kinds[] = {
      {TARN_FAULT_PAGES, "pages", FAULTS_MANY, false, false},
      {TARN_FAULT_PURGE, "purge", 2 * FAULTS_SOME, true, false},
      {TARN_FAULT_POPULATE, "populate", FAULTS_SOME, true, false},
      {TARN_FAULT_HUGE, "huge pages", FAULTS_SOME, true, false},
      {TARN_FAULT_DUMP, "core files", FAULTS_SOME, true, false},
      {TARN_FAULT_UNMAP, "unmap", FAULTS_SOME, true, false},
      {TARN_FAULT_GUARD, "guard", FAULTS_SOME, true, false},
      {TARN_FAULT_UNGUARD, "unguard", FAULTS_SOME, true, false},
  };
  (void)unused;
  if (!TARN_FAULTS)
    support_skip("built without TARN_FAULTS");
  assert_int_equal(tarn_space.base, 0);
  faults_try_all(play_with_fault, kinds, sizeof kinds / sizeof kinds[0]);
}

static void the_option_makes_a_page_request_fail(void **unused) {
  (void)unused;
  if (!TARN_FAULTS) {
    support_skip("built without TARN_FAULTS");
  }
  tarn_world *before = support_world(""); /* the range is there: the first request is the world's */
  tarn_world *world = before;
  assert_int_equal(support_try_world("fault-mmap=1", &world), TARN_ENOMEM);
  assert_null(world);
  assert_int_equal(support_try_world("fault-mmap=1000000", &world), TARN_OK);
  support_end(world);
  tarn_os_fault_at(0);
  support_end(before);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(no_failure_of_memory_loses_anything),
      cmocka_unit_test(the_option_makes_a_page_request_fail),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
