/* SPDX-License-Identifier: MIT */
/*
 * program.c: a heap whose every figure is known, for tests/gdb/check.py to look at from outside.
 * usage: program FIGURES [CROWD]
 *
 * Writes lines "name value" to the file FIGURES, and calls a function with a name at each place
 * where the debugger is to stop.  Compiled without debug information, as a user's program may be.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <tarn/tarn.h>

#define CROWD 1000
#define FREED 100
#define DROPPED 500
#define WIDE 200000

struct link {
  const tarn_type *type;
  struct link *next;
  uintptr_t note; /* raw: what stands here keeps nothing */
};
struct traced {
  const tarn_type *type;
  uintptr_t hidden, pad; /* only its trace function knows */
};
struct instance {
  const tarn_type *type;
  void **data;
};
struct member {
  const tarn_type *type;
  void *words[4];
};
struct vector {
  const tarn_type *type;
  size_t count;
  void *elements[];
};

/* Global slots; not static, so that the debugger has their names. */
void *chain_root;
void *keeper_root;

static FILE *figures;
static tarn_world *world;

static void figure(const char *name, uintptr_t value) {
  fprintf(figures, "%s 0x%jx\n", name, (uintmax_t)value);
}
static void point(const char *name, const void *address) { figure(name, (uintptr_t)address); }

__attribute__((noreturn)) static void fail(const char *what) {
  fprintf(stderr, "program: %s\n", what);
  exit(1);
}
static void *need(void *object) {
  if (!object)
    fail("no memory");
  return object;
}

/* --- types ----------------------------------------------------------------------------------- */

static const tarn_type *link_type, *traced_type, *instance_type, *member_type, *vector_type,
    *dropped_type;

void trace_hidden(const void *object, tarn_visitor *visitor) {
  tarn_visit(visitor, (const void *)~((const struct traced *)object)->hidden);
  tarn_visit(visitor, (const void *)((const struct traced *)object)->pad);
}

static const tarn_type *make(tarn_type_spec *spec, const char *name, size_t size) {
  tarn_status status;
  spec->name = name;
  spec->size = size;
  const tarn_type *type = tarn_type_create(world, spec, &status);
  if (!type)
    fail(tarn_strerror(status));
  return type;
}

static void make_types(void) {
  static const uint32_t second = 1;
  tarn_type_spec link = TARN_TYPE_SPEC_INIT, traced = TARN_TYPE_SPEC_INIT,
                 instance = TARN_TYPE_SPEC_INIT, member = TARN_TYPE_SPEC_INIT,
                 vector = TARN_TYPE_SPEC_INIT, dropped = TARN_TYPE_SPEC_INIT;
  link.slot_bits = dropped.slot_bits = 2;
  traced.trace = trace_hidden;
  instance.data_size = 64;
  instance.data_slots = &second;
  instance.data_slot_count = 1;
  member.flags = TARN_TYPE_ALL_TRACED;
  vector.flags = TARN_TYPE_ELEMENTS_TRACED;
  vector.element_size = sizeof(void *);
  link_type = make(&link, "link", sizeof(struct link));
  traced_type = make(&traced, "traced", sizeof(struct traced));
  instance_type = make(&instance, "instance", sizeof(struct instance));
  member_type = make(&member, "member", sizeof(struct member));
  vector_type = make(&vector, "vector", sizeof(struct vector));
  dropped_type = make(&dropped, "dropped", sizeof(struct link));
}

/* --- the heap -------------------------------------------------------------------------------- */

/* chain_root -> first -> second; and all other ways to refer to `second`. */
static void make_chain(tarn_thread *self) {
  struct link *second = need(tarn_new(self, link_type));
  chain_root = second;
  struct link *first = need(tarn_new(self, link_type));
  first->next = second;
  first->note = (uintptr_t)first;
  chain_root = first;
  point("first", first);
  point("second", second);
  point("link_type", link_type);
}

void bury(tarn_thread *self, void *object, void *data) { (void)self, (void)object, (void)data; }

static void make_others(tarn_thread *self, struct vector *keeper) {
  struct link *second = ((struct link *)chain_root)->next;
  struct traced *traced = keeper->elements[0] = need(tarn_new(self, traced_type));
  traced->pad = (uintptr_t)second;
  struct instance *instance = keeper->elements[1] = need(tarn_new(self, instance_type));
  instance->data[1] = second;
  instance->data[2] = second; /* raw */
  keeper->elements[2] = need(tarn_weak_new(self, second));
  struct link *value = keeper->elements[3] = need(tarn_new(self, link_type));
  if (tarn_finalizer_add(self, value, bury, NULL) != TARN_OK)
    fail("no finalizer");
  keeper->elements[3] = need(tarn_ephemeron_new(self, second, value));
  struct vector *wide = keeper->elements[4] = need(tarn_new_array(self, vector_type, WIDE));
  wide->elements[WIDE - 1] = second;
  for (int i = 0; i < 5; i++) {
    static const char *const names[] = {"traced", "instance", "weak", "ephemeron", "wide"};
    point(names[i], keeper->elements[i]);
  }
  point("value", value);
  point("data", instance->data);
}

/* `count` members that live, among those that were freed by hand or that nobody keeps. */
static void make_crowd(tarn_thread *self, struct vector *keeper, size_t count) {
  struct vector *crowd = keeper->elements[5] = need(tarn_new_array(self, vector_type, count));
  for (size_t i = 0; i < count + FREED; i++) {
    struct member *member = need(tarn_new(self, member_type));
    if (i % 11 == 10 && i / 11 < FREED) {
      tarn_free(self, member);
      continue;
    }
    size_t place = i < 11 * FREED ? i - i / 11 : i - FREED;
    if (place < count)
      crowd->elements[place] = member;
    member->words[0] = place ? crowd->elements[place - 1] : NULL;
    tarn_safepoint(self);
  }
  for (int i = 0; i < DROPPED; i++)
    (void)need(tarn_new(self, dropped_type));
  point("crowd", crowd);
  figure("members", count);
  figure("dropped", DROPPED);
  figure("wide_count", WIDE);
  point("raw", keeper->elements[6] = need(tarn_alloc_raw(self, 100)));
  void *freed = need(tarn_alloc_raw(self, 100));
  tarn_free(self, freed);
  point("raw_freed", freed);
}

/* --- threads --------------------------------------------------------------------------------- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int arrived;
static int stage; /* 1: the holder lets go; 2: all end */

static void arrive(void) {
  pthread_mutex_lock(&lock);
  arrived++;
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&lock);
}
static void wait_for(const int *what, int least) {
  pthread_mutex_lock(&lock);
  while (*what < least)
    pthread_cond_wait(&changed, &lock);
  pthread_mutex_unlock(&lock);
}
static void set_stage(int value) {
  pthread_mutex_lock(&lock);
  stage = value;
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&lock);
}

static void *run_sleeper(void *data) {
  tarn_thread *self;
  (void)data;
  if (tarn_thread_attach(world, &self) != TARN_OK)
    fail("attach");
  tarn_thread_set_name(self, "sleeper");
  struct member *mine = need(tarn_new(self, member_type)), *none = NULL;
  mine->words[2] = ((struct link *)chain_root)->next;
  {
    TARN_FRAME(self, &mine, &none);
    point("sleeper_object", mine);
    point("sleeper_variable", &mine);
    point("sleeper", self);
    tarn_block_begin(self);
    arrive();
    wait_for(&stage, 2);
    tarn_block_end(self);
  }
  tarn_thread_detach(self);
  return NULL;
}

static void *run_holder(void *data) {
  tarn_thread *self;
  (void)data;
  if (tarn_thread_attach(world, &self) != TARN_OK)
    fail("attach");
  tarn_thread_set_name(self, "holder");
  if (tarn_thread_scan_stack(self, true) != TARN_OK)
    fail("no stack");
  void *volatile kept = need(tarn_new(self, traced_type)); /* by the scan of this stack alone */
  point("holder", self);
  point("holder_object", kept);
  point("holder_variable", (const void *)&kept);
  tarn_gc_hold(self);
  tarn_gc_hold(self);
  arrive();
  wait_for(&stage, 1);
  tarn_gc_release(self);
  tarn_gc_release(self);
  tarn_block_begin(self);
  arrive();
  wait_for(&stage, 2);
  tarn_block_end(self);
  tarn_thread_detach(self);
  return NULL;
}

/* --- where the debugger stops ---------------------------------------------------------------- */

__attribute__((noinline)) void at_heap(void) { __asm__ volatile("" ::: "memory"); }
__attribute__((noinline)) void at_collected(void) { __asm__ volatile("" ::: "memory"); }
__attribute__((noinline)) void at_end(void) { __asm__ volatile("" ::: "memory"); }

struct count {
  size_t blocks, bytes;
};
static bool count_block(const tarn_block_info *info, void *data) {
  struct count *count = data;
  if (!info->condemned) {
    count->blocks++;
    count->bytes += info->size;
  }
  return true;
}

static void collect(tarn_thread *self, struct vector *keeper) {
  struct count count = {0, 0};
  if (tarn_collect(self, TARN_GENERATION_FULL) != TARN_OK)
    fail("collect");
  /* In pools that have marks beyond their cursors, and new ones beside the old. */
  keeper->elements[7] = need(tarn_new(self, traced_type));
  if (tarn_heap_walk(self, count_block, &count) != TARN_OK)
    fail("walk");
  figure("walked_blocks", count.blocks);
  figure("walked_bytes", count.bytes);
  fflush(figures);
  at_collected();
}

static void provide(tarn_visitor *visitor, void *data) { tarn_visit(visitor, *(void **)data); }

static tarn_thread *start(void) {
  static void *provided;
  tarn_thread *self;
  if (tarn_world_create(NULL, &world) != TARN_OK || tarn_thread_attach(world, &self) != TARN_OK)
    fail("no world");
  tarn_thread_set_name(self, "gardener");
  if (tarn_root_add(world, &chain_root) != TARN_OK ||
      tarn_root_add(world, &keeper_root) != TARN_OK ||
      tarn_root_provider_add(world, provide, &provided) != TARN_OK)
    fail("no roots");
  make_types();
  point("world", world);
  point("gardener", self);
  return self;
}

static struct vector *make_heap(tarn_thread *self, size_t count) {
  tarn_weak_table_spec spec = TARN_WEAK_TABLE_SPEC_INIT;
  tarn_weak_table *table;
  struct vector *keeper = keeper_root = need(tarn_new_array(self, vector_type, 8));
  point("keeper", keeper);
  make_chain(self);
  make_others(self, keeper);
  make_crowd(self, keeper, count);
  spec.kind = TARN_WEAK_KEYS;
  if (tarn_weak_table_create(world, &spec, &table) != TARN_OK)
    fail("no table");
  (void)need(tarn_weak_table_put(self, table, ((struct link *)chain_root)->next, keeper, true));
  return keeper;
}

/* One after the other, so that their numbers in the debugger are known. */
static void start_threads(tarn_thread *self, pthread_t threads[2]) {
  tarn_block_begin(self);
  if (pthread_create(&threads[0], NULL, run_sleeper, NULL))
    fail("no thread");
  wait_for(&arrived, 1);
  if (pthread_create(&threads[1], NULL, run_holder, NULL))
    fail("no thread");
  wait_for(&arrived, 2);
  tarn_block_end(self);
}

int main(int argc, char **argv) {
  pthread_t threads[2];
  if (argc < 2 || !(figures = fopen(argv[1], "w")))
    fail("usage: program FIGURES [CROWD]");
  tarn_thread *self = start();
  struct vector *keeper = make_heap(self, argc > 2 ? (size_t)atol(argv[2]) : CROWD);
  start_threads(self, threads);
  fflush(figures);
  at_heap();
  set_stage(1);
  tarn_block_begin(self); /* the holder's last release may find a stop asked for */
  wait_for(&arrived, 3);
  tarn_block_end(self);
  collect(self, keeper);
  set_stage(2);
  tarn_block_begin(self);
  pthread_join(threads[0], NULL);
  pthread_join(threads[1], NULL);
  tarn_block_end(self);
  at_end();
  tarn_thread_detach(self);
  return tarn_world_destroy(world) == TARN_OK ? 0 : 1;
}
