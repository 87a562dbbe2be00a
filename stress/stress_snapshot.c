/* SPDX-License-Identifier: MIT */
/*
 * stress_snapshot hunts snapshots that show what was never there, and what changes under them while
 * they are written: by threads that do not stop, and by those that are not attached.
 *
 * On a board each place has a chain of a length that never changes; workers replace whole chains,
 * and beside that allocate and drop objects of all kinds, free by hand, set weak references,
 * ephemerons and entries of tables, add finalizers, block, hold the collector off, and come and go.
 * Clerks, who are not attached, add and remove roots, make types, tables and heaps, and tell of
 * external bytes.  Meanwhile snapshots are taken by workers, by a signal, and in the children of
 * forks; some are refused in the middle.  Each that is whole is read by a strict reader (the one of
 * the unit tests), and has every chain in its length, with the values that hang on its keys.
 */
#include "common.h"
#include "snapshot_reader.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PLACES 24u
#define LENGTH 20u
#define CLERKS 2u

static tarn_world *world;
static const tarn_type *bead_type, *plain_type, *resource_type, *array_type;
static tarn_weak_table *table;
static void *board[PLACES];
static _Atomic uint64_t whole, refused, forks, signals_sent, chains;

/* --- chains ---------------------------------------------------------------------------------- */

/* The first bead is the key of an entry whose value has the length after it; NULL stays until all
 * of it is there. */
static void *make_chain(tarn_thread *self) {
  void **chain = NULL, *value = NULL;
  TARN_FRAME(self, (void *)&chain, &value);
  for (unsigned i = 0; i < LENGTH; i++) {
    void **bead = tarn_new(self, bead_type);
    STRESS_CHECK(bead);
    bead[1] = chain;
    chain = bead;
  }
  value = tarn_new(self, plain_type);
  chain[2] = tarn_ephemeron_new(self, chain, value);
  (void)atomic_fetch_add_explicit(&chains, 1, memory_order_relaxed);
  return chain;
}

static void replace_chain(tarn_thread *self, struct stress_random *random) {
  void *chain = make_chain(self);
  /* Release: who reads it there finds it whole. */
  __atomic_store_n(&board[stress_below(random, PLACES)], chain, __ATOMIC_RELEASE);
}

/* --- snapshots ------------------------------------------------------------------------------- */

struct text {
  char *bytes;
  size_t size, room, most;
};

static bool keep(void *data, const char *bytes, size_t size) {
  struct text *text = data;
  if (text->most && text->size + size > text->most)
    return false;
  if (text->size + size > text->room) {
    text->room = (text->size + size) * 2;
    text->bytes = realloc(text->bytes, text->room);
  }
  memcpy(text->bytes + text->size, bytes, size);
  text->size += size;
  return true;
}

static size_t follow(const struct reader *reader, size_t node, const char *name) {
  size_t edge = reader_edge_named(reader, node, name);
  return edge == SIZE_MAX ? SIZE_MAX : reader->edges[edge].to;
}

static void check_chain(const struct reader *reader, size_t node) {
  size_t ephemeron = follow(reader, node, "slot 2"), values = 0;
  STRESS_CHECK(ephemeron != SIZE_MAX);
  for (size_t i = 0; i < reader->nodes[node].edges; i++) {
    const struct reader_edge *edge = &reader->edges[reader->nodes[node].first + i];
    values += edge->type == READER_INTERNAL &&
              strcmp(reader_name(reader, edge->to), "plain") == 0 &&
              reader_edge(reader, ephemeron, edge->to) != SIZE_MAX;
  }
  STRESS_CHECK(values >= 1);
  size_t length = 0;
  for (; node != SIZE_MAX; node = follow(reader, node, "slot 1")) {
    STRESS_EQUAL(strcmp(reader_name(reader, node), "bead"), 0);
    length++;
  }
  STRESS_EQUAL(length, LENGTH);
}

static void check_snapshot(const char *bytes, size_t size) {
  struct reader reader;
  if (!reader_parse(&reader, bytes, size))
    stress_fail(__FILE__, __LINE__, "%s", reader.error);
  size_t roots = reader_find(&reader, "(global roots)"), found = 0;
  STRESS_CHECK(roots != SIZE_MAX);
  for (size_t i = 0; i < reader.nodes[roots].edges; i++) {
    check_chain(&reader, reader.edges[reader.nodes[roots].first + i].to);
    found++;
  }
  STRESS_EQUAL(found, PLACES);
  reader_end(&reader);
}

static void take(tarn_thread *self, struct stress_random *random) {
  struct text text = {.most = stress_below(random, 4) ? 0 : stress_below(random, 60000)};
  unsigned flags = stress_below(random, 2) ? TARN_SNAPSHOT_AS_IT_IS : 0;
  tarn_status status = tarn_snapshot_send(self, keep, &text, flags, NULL);
  if (status == TARN_OK) {
    tarn_block_begin(self);
    check_snapshot(text.bytes, text.size);
    tarn_block_end(self);
    (void)atomic_fetch_add_explicit(&whole, 1, memory_order_relaxed);
  } else {
    STRESS_CHECK(status == TARN_ESYSTEM && errno == ECANCELED && text.most);
    (void)atomic_fetch_add_explicit(&refused, 1, memory_order_relaxed);
  }
  free(text.bytes);
}

static void fork_and_take(tarn_thread *self, struct stress_random *random) {
  pid_t child = fork();
  STRESS_CHECK(child >= 0);
  if (child == 0) {
    struct text text = {0};
    STRESS_EQUAL(tarn_snapshot_send(self, keep, &text, TARN_SNAPSHOT_AS_IT_IS, NULL), TARN_OK);
    check_snapshot(text.bytes, text.size);
    stress_verify(self);
    _exit(0);
  }
  int status = 0;
  pid_t gone;
  (void)random;
  tarn_block_begin(self);
  do
    gone = waitpid(child, &status, 0);
  while (gone < 0 && errno == EINTR);
  tarn_block_end(self);
  STRESS_CHECK(gone == child && status == 0);
  (void)atomic_fetch_add_explicit(&forks, 1, memory_order_relaxed);
}

/* --- workers --------------------------------------------------------------------------------- */

static void on_free(tarn_world *of, void *object) { (void)of, (void)object; }

static void finalize(tarn_thread *self, void *object, void *data) {
  (void)self, (void)object, (void)data;
}

static void litter(tarn_thread *self, struct stress_random *random) {
  void **one = NULL, *other = NULL;
  TARN_FRAME(self, (void *)&one, &other);
  for (unsigned i = 0; i < 40; i++) {
    other = stress_below(random, 2) ? (void *)one
                                    : tarn_alloc_atomic(self, 8 + stress_below(random, 2000));
    one = tarn_new(self, stress_below(random, 8) ? plain_type : resource_type);
    STRESS_CHECK(one);
    one[1] = other;
  }
  other = tarn_new_array(self, array_type, 1 + stress_below(random, 20000));
  ((void **)other)[2] = one;
  one = tarn_weak_new(self, other);
  (void)tarn_weak_table_put(self, table, other, one, true);
  if (stress_below(random, 4) == 0)
    STRESS_EQUAL(tarn_finalizer_add(self, one, finalize, NULL), TARN_OK);
  void *freed = tarn_new(self, plain_type);
  tarn_free(self, freed);
}

static void stand(tarn_thread *self, struct stress_random *random) {
  if (stress_below(random, 2)) {
    tarn_block_begin(self);
    (void)usleep((useconds_t)stress_below(random, 300));
    tarn_block_end(self);
  } else {
    tarn_gc_hold(self);
    (void)tarn_new(self, plain_type);
    tarn_gc_release(self);
  }
  (void)tarn_finalizers_run(self, 0);
}

static void work_once(tarn_thread *self, struct stress_random *random) {
  replace_chain(self, random);
  litter(self, random);
  stand(self, random);
  if (stress_below(random, 12) == 0)
    take(self, random);
  if (stress_below(random, 60) == 0)
    STRESS_EQUAL(tarn_collect(self, TARN_GENERATION_FULL), TARN_OK);
  if (stress_below(random, 150) == 0)
    fork_and_take(self, random);
  if (stress_below(random, 200) == 0) {
    STRESS_EQUAL(kill(getpid(), SIGUSR2), 0);
    (void)atomic_fetch_add_explicit(&signals_sent, 1, memory_order_relaxed);
  }
}

static void work(unsigned number) {
  struct stress_random random = stress_random_of(number);
  tarn_thread *self = stress_attach(world);
  for (uint64_t round = 0; stress_on(&round);) {
    work_once(self, &random);
    if (stress_below(&random, 20) == 0) {
      STRESS_EQUAL(tarn_thread_detach(self), TARN_OK);
      self = stress_attach(world);
    }
  }
  STRESS_EQUAL(tarn_thread_detach(self), TARN_OK);
}

/* --- clerks ---------------------------------------------------------------------------------- */

static void clerk(unsigned number) {
  static void *nothing[CLERKS][8];
  struct stress_random random = stress_random_of(1000 + number);
  for (uint64_t round = 0; stress_on(&round);) {
    void **slot = &nothing[number % CLERKS][stress_below(&random, 8)];
    tarn_weak_table_spec spec = TARN_WEAK_TABLE_SPEC_INIT;
    tarn_weak_table *made = NULL;
    spec.kind = (tarn_weak_kind)stress_below(&random, 3);
    STRESS_EQUAL(tarn_root_add(world, slot), TARN_OK);
    /* One more at most: a fork takes the locks of all, and ThreadSanitizer bears 64 at a time. */
    if (number == 0)
      STRESS_EQUAL(tarn_weak_table_create(world, &spec, &made), TARN_OK);
    STRESS_EQUAL(tarn_external_adjust(world, 1000), TARN_OK);
    if (stress_below(&random, 50) == 0) {
      tarn_type_spec type = {.struct_size = sizeof type, .name = "a clerk's", .size = 32};
      STRESS_CHECK(tarn_type_create(world, &type, NULL));
    }
    (void)usleep((useconds_t)stress_below(&random, 100));
    STRESS_EQUAL(tarn_external_adjust(world, -1000), TARN_OK);
    tarn_weak_table_destroy(made);
    STRESS_EQUAL(tarn_root_remove(world, slot), TARN_OK);
  }
}

static void act(void *data, unsigned number) {
  (void)data;
  if (number < CLERKS)
    clerk(number);
  else
    work(number);
}

/* --- beginning and end ------------------------------------------------------------------------ */

static const tarn_type *make_type(tarn_type_spec spec) {
  spec.struct_size = sizeof spec;
  const tarn_type *type = tarn_type_create(world, &spec, NULL);
  STRESS_CHECK(type);
  return type;
}

static void start(void) {
  tarn_weak_table_spec spec = TARN_WEAK_TABLE_SPEC_INIT;
#ifdef TARN_SANITIZE_ASAN /* its allocator has locks that no fork takes: no threads in children */
  STRESS_CHECK(signal(SIGUSR2, SIG_IGN) != SIG_ERR);
  world = stress_world("min-heap=1M,purger=0,sweeper=0,idle-collect=0,markers=1");
#else
  world = stress_world("min-heap=1M,snapshot-signal=USR2,snapshot=/dev/null");
#endif
  bead_type = make_type((tarn_type_spec){.name = "bead", .size = 32, .slot_bits = 6});
  plain_type = make_type((tarn_type_spec){.name = "plain", .size = 24, .slot_bits = 2});
  resource_type =
      make_type((tarn_type_spec){.name = "resource", .size = 32, .slot_bits = 2, .free = on_free});
  array_type = make_type((tarn_type_spec){
      .name = "array", .size = 16, .element_size = 8, .flags = TARN_TYPE_ELEMENTS_TRACED});
  spec.kind = TARN_WEAK_KEYS;
  STRESS_EQUAL(tarn_weak_table_create(world, &spec, &table), TARN_OK);
  tarn_thread *self = stress_attach(world);
  for (unsigned i = 0; i < PLACES; i++) {
    STRESS_EQUAL(tarn_root_add(world, &board[i]), TARN_OK);
    board[i] = make_chain(self);
  }
  STRESS_EQUAL(tarn_thread_detach(self), TARN_OK);
}

static void finish(void) {
  tarn_thread *self = stress_attach(world);
  struct text text = {0};
  STRESS_EQUAL(tarn_snapshot_send(self, keep, &text, 0, NULL), TARN_OK);
  check_snapshot(text.bytes, text.size);
  free(text.bytes);
  stress_verify(self);
  STRESS_EQUAL(tarn_thread_detach(self), TARN_OK);
}

int main(int count, char **arguments) {
  stress_begin(count, arguments, "snapshots that show what was never there");
  start();
  stress_run(world, CLERKS + stress.threads, act, NULL);
  finish();
  fprintf(stderr,
          "  %llu snapshots whole, %llu refused, %llu in children, %llu asked by signal; %llu "
          "chains\n",
          (unsigned long long)atomic_load(&whole), (unsigned long long)atomic_load(&refused),
          (unsigned long long)atomic_load(&forks), (unsigned long long)atomic_load(&signals_sent),
          (unsigned long long)atomic_load(&chains));
  STRESS_CHECK(atomic_load(&whole) && atomic_load(&refused));
  STRESS_EQUAL(tarn_world_destroy(world), TARN_OK);
  return stress_end();
}
