/* SPDX-License-Identifier: MIT */
/*
 * A program that a tool watches, linked to a library that tells the tool of its heap (TARN_TOOLS).
 * Its argument says what it does wrong; with "nothing" it does much, and nothing wrong: the tool
 * must be silent then.  test_tools.sh runs it under each tool.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tarn/tarn.h>

static _Noreturn void fail(int line, const char *what) {
  fprintf(stderr, "misuse.c:%d: not so: %s\n", line, what);
  exit(9);
}
#define CHECK(condition) ((condition) ? (void)0 : fail(__LINE__, #condition))

struct node {
  const tarn_type *type;
  struct node *next;
  size_t number;
};

static tarn_world *world;
static const tarn_type *node_type, *array_type, *resource_type;
static _Atomic size_t released;
static volatile uintptr_t seen; /* so that what is read has to be read */

static void count_release(tarn_world *of, void *object) {
  CHECK(of == world && ((struct node *)object)->number == 7);
  (void)atomic_fetch_add_explicit(&released, 1, memory_order_relaxed);
}

static void begin(void) {
  tarn_options options = TARN_OPTIONS_INIT;
  options.set = "min-heap=1M,markers=2";
  CHECK(tarn_world_create(&options, &world) == TARN_OK);
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = "node";
  spec.size = sizeof(struct node);
  spec.slot_bits = 2;
  CHECK((node_type = tarn_type_create(world, &spec, NULL)));
  spec.name = "resource";
  spec.free = count_release;
  CHECK((resource_type = tarn_type_create(world, &spec, NULL)));
  spec = (tarn_type_spec)TARN_TYPE_SPEC_INIT;
  spec.name = "array";
  spec.size = 16;
  spec.element_size = 8;
  spec.flags = TARN_TYPE_ELEMENTS_TRACED;
  CHECK((array_type = tarn_type_create(world, &spec, NULL)));
}

static tarn_thread *attach(void) {
  tarn_thread *self;
  CHECK(tarn_thread_attach(world, &self) == TARN_OK);
  return self;
}

/* --- nothing wrong --------------------------------------------------------------------------- */

/* Raw blocks of all sizes, filled to the last byte, grown, and freed or forgotten. */
static void use_raw(tarn_thread *self, size_t i) {
  size_t size = 1 + i * 37 % (i % 50 ? 5000 : 300000);
  unsigned char *raw = i % 3 ? tarn_alloc_raw(self, size) : tarn_alloc_atomic(self, size);
  CHECK(raw && (i % 3 || raw[size - 1] == 0));
  memset(raw, 0x11, size);
  if (i % 5 == 0) {
    raw = tarn_realloc(self, raw, size * 2);
    CHECK(raw && raw[size - 1] == 0x11);
    memset(raw, 0x22, size * 2);
  }
  if (i % 7 == 0)
    memset(raw, 0x33, tarn_usable_size(world, raw));
  if (i % 2)
    tarn_free(self, raw);
}

static void work(tarn_thread *self, size_t rounds) {
  struct node *list = NULL;
  struct node **array = NULL;
  void *weak = NULL;
  TARN_FRAME(self, &list, &array, &weak);
  for (size_t i = 0; i < rounds; i++) {
    struct node *node = tarn_new(self, i % 9 ? node_type : resource_type);
    CHECK(node && !node->next && node->number == 0);
    node->number = 7;
    node->next = i % 100 ? list : NULL;
    list = node;
    if (i % 64 == 0) {
      void **fresh = tarn_new_array(self, array_type, 1 + i % 3000);
      CHECK(fresh && !fresh[2 + i % 3000]);
      fresh[2 + i % 3000] = list; /* the last element */
      array = (struct node **)(void *)fresh;
      weak = tarn_weak_new(self, list);
    }
    use_raw(self, i);
    tarn_safepoint(self);
    if (i % 2000 == 0)
      CHECK(tarn_collect(self, TARN_GENERATION_FULL) == TARN_OK);
    for (const struct node *at = list; at; at = at->next)
      CHECK(at->number == 7);
  }
}

static void *work_in_thread(void *data) {
  tarn_thread *self = attach();
  work(self, *(size_t *)data);
  CHECK(tarn_thread_detach(self) == TARN_OK);
  return NULL;
}

/* Roots on the C stack alone. */
static void use_stack(tarn_thread *self) {
  CHECK(tarn_thread_scan_stack(self, true) == TARN_OK);
  /* volatile: on the stack, and not in a register alone */
  struct node *volatile kept = tarn_new(self, node_type);
  char unset[256];
  __asm__ __volatile__("" : : "r"(unset) : "memory"); /* words that nobody has written */
  kept->number = 7;
  CHECK(tarn_collect(self, TARN_GENERATION_FULL) == TARN_OK);
  CHECK(kept->type == node_type && kept->number == 7);
  CHECK(tarn_thread_scan_stack(self, false) == TARN_OK);
}

static int do_nothing_wrong(void) {
  size_t rounds = 3000;
  pthread_t threads[3];
  begin();
  tarn_thread *self = attach();
  use_stack(self);
  work(self, rounds);
  tarn_block_begin(self);
  for (size_t i = 0; i < 3; i++)
    CHECK(pthread_create(&threads[i], NULL, work_in_thread, &rounds) == 0);
  for (size_t i = 0; i < 3; i++)
    CHECK(pthread_join(threads[i], NULL) == 0);
  tarn_block_end(self);
  char message[300] = "";
  tarn_status status = tarn_verify(self, message, sizeof message);
  if (status != TARN_OK)
    fprintf(stderr, "%s: %s\n", tarn_strerror(status), message);
  CHECK(status == TARN_OK && atomic_load(&released) > 0);
  CHECK(tarn_world_destroy(world) == TARN_OK);
  begin(); /* memory of the last world */
  self = attach();
  work(self, 500);
  CHECK(tarn_world_destroy(world) == TARN_OK);
  return 0;
}

/* --- errors ---------------------------------------------------------------------------------- */

static struct node *two_nodes(tarn_thread *self) {
  (void)tarn_new(self, node_type);
  struct node *node = tarn_new(self, node_type);
  CHECK(node);
  return node;
}

static void use_freed(tarn_thread *self) {
  struct node *node = two_nodes(self);
  tarn_free(self, node);
  seen = node->number;
}

static void use_collected(tarn_thread *self) {
  struct node *kept = two_nodes(self), *lost = two_nodes(self);
  TARN_FRAME(self, &kept);
  CHECK(tarn_collect(self, TARN_GENERATION_FULL) == TARN_OK);
  (void)tarn_trim(world, SIZE_MAX); /* sweeps */
  seen = lost->number;
}

static void write_beyond(tarn_thread *self) {
  char *raw = tarn_alloc_raw(self, 41);
  CHECK(raw);
  raw[41] = 1;
}

static void write_beyond_large(tarn_thread *self) {
  char *raw = tarn_alloc_raw(self, 100001);
  CHECK(raw);
  raw[100001] = 1;
}

static void use_large_freed(tarn_thread *self) {
  char *raw = tarn_alloc_atomic(self, 100001);
  tarn_free(self, raw);
  seen = (uintptr_t)raw[5000];
}

static void branch_on_unset(tarn_thread *self) {
  char *raw = tarn_alloc_raw(self, 400);
  CHECK(raw);
  if (raw[200] == 3)
    puts("three");
}

/* Two threads write to one object, and nothing orders them. */
static struct node *shared;
static void *write_shared(void *unused) {
  (void)unused;
  shared->number++;
  return NULL;
}
static void race(tarn_thread *self) {
  pthread_t threads[2];
  shared = two_nodes(self);
  for (size_t i = 0; i < 2; i++)
    CHECK(pthread_create(&threads[i], NULL, write_shared, NULL) == 0);
  for (size_t i = 0; i < 2; i++)
    CHECK(pthread_join(threads[i], NULL) == 0);
}

int main(int count, char **arguments) {
  static const struct {
    const char *name;
    void (*fn)(tarn_thread *self);
  } errors[] = {{"freed", use_freed},
                {"collected", use_collected},
                {"beyond", write_beyond},
                {"beyond-large", write_beyond_large},
                {"freed-large", use_large_freed},
                {"unset", branch_on_unset},
                {"race", race}};
  const char *wanted = count == 2 ? arguments[1] : "";
  if (strcmp(wanted, "nothing") == 0)
    return do_nothing_wrong();
  for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++)
    if (strcmp(wanted, errors[i].name) == 0) {
      begin();
      errors[i].fn(attach());
      fprintf(stderr, "misuse: %s was not noticed\n", wanted);
      return 0;
    }
  fprintf(stderr, "misuse: unknown: \"%s\"\n", wanted);
  return 9;
}
