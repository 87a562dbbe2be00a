/* SPDX-License-Identifier: MIT */
/*
 * stress/soak_load.c: see stress/soak_load.h.
 *
 * A slot is only used by an exchange: who takes an object out has it alone.  A slot that is found
 * empty, because another thread looks at its object just now, gets a new one, and the one that
 * comes back finds it and goes; so a slot has one object at a time.
 */
#include "soak_load.h"
#include "watchdog.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define BOARDS 32u
#define PLACES 512u /* of a board */
#define SLOTS (BOARDS * PLACES)
#define WORDS 512u
#define RINGS 1024u
#define RING 12u
#define FORK_EVERY 2000u /* milliseconds */

enum kind { PLAIN, TREE, RAW, LARGE, EXTERNAL, FINAL, EPHEMERAL, WORD };

struct item {
  const tarn_type *type;
  void *links[2];
  uint64_t count; /* of elements, if it is an array; raw from here on */
  uint64_t slot, external, check;
  uint64_t body[];
};
struct board {
  const tarn_type *type;
  size_t count;
  void *places[];
};
struct cell { /* of the world that counts */
  const tarn_type *type;
  uint64_t refs;
  struct cell *next;
  uint64_t number, check;
};

_Atomic unsigned soak_phase;
_Atomic bool soak_over;

static tarn_world *world, *counting;
static const tarn_type *item_types[4], *owner_type, *large_type, *board_type, *cell_type;
static const size_t sizes[4] = {64, 144, 320, 1200};
static struct board *boards[BOARDS]; /* roots */
static void *leaked;                 /* a root */
static tarn_weak_table *words;
static _Atomic(struct cell *) rings[RINGS];
static _Atomic uint64_t last_fork;
static _Atomic uint64_t owners_made, owners_freed, cells_made, cells_freed, finals_added,
    finals_ran, looked_at, freed_by_hand, lives, forks, worlds, heaps, tables, handles_made,
    handles_gone;

static void count(_Atomic uint64_t *what) {
  (void)atomic_fetch_add_explicit(what, 1, memory_order_relaxed); /* a figure */
}

static uint64_t check_of(uint64_t slot, uint64_t external) {
  return (slot * 31 + external + 5) * 0x9e3779b97f4a7c15u;
}

/* --- items ----------------------------------------------------------------------------------- */

/* By the number of the slot alone. */
static enum kind kind_of(uint64_t slot) {
  static const enum kind kinds[16] = {PLAIN,    PLAIN,    TREE,  PLAIN, RAW,       PLAIN,
                                      TREE,     EXTERNAL, PLAIN, FINAL, EPHEMERAL, PLAIN,
                                      EXTERNAL, WORD,     RAW,   PLAIN};
  return slot % 256 == 77 ? LARGE : kinds[slot % 16];
}

static size_t raw_size(uint64_t slot) { return 24 + (size_t)(slot * 37 % 3000); }

static size_t body_of(const struct item *item) { /* words */
  return item->type == large_type ? item->count : (tarn_type_size(item->type) - sizeof *item) / 8;
}

static struct item *new_item(tarn_thread *self, const tarn_type *type, uint64_t slot) {
  struct item *item = type == large_type
                          ? tarn_new_array(self, type, (size_t)(5000 + slot * 7 % 20000))
                          : tarn_new(self, type);
  STRESS_CHECK(item && !item->links[0] && item->slot == 0 && item->check == 0);
  item->slot = slot;
  if (type == owner_type) {
    item->external = 500 + slot % 3000;
    STRESS_EQUAL(tarn_external_adjust(world, (ptrdiff_t)item->external), TARN_OK);
    count(&owners_made);
  }
  item->check = check_of(slot, item->external);
  for (size_t i = 0; i < body_of(item); i += 29) {
    STRESS_EQUAL(item->body[i], 0);
    item->body[i] = slot + i;
  }
  return item;
}

static void on_free(tarn_world *of, void *object) {
  struct item *item = object;
  STRESS_CHECK(of == world);
  STRESS_EQUAL(item->check, check_of(item->slot, item->external));
  item->check = 0;
  STRESS_EQUAL(tarn_external_adjust(world, -(ptrdiff_t)item->external), TARN_OK);
  count(&owners_freed);
}

static void on_final(tarn_thread *self, void *object, void *data) {
  const struct item *item = object;
  STRESS_EQUAL(item->slot, (uintptr_t)data);
  STRESS_EQUAL(item->check, check_of(item->slot, 0));
  STRESS_CHECK(tarn_alloc_atomic(self, 100));
  count(&finals_ran);
}

static uint64_t hash_word(const void *key, void *data) {
  (void)data;
  return ((const struct item *)key)->slot;
}
static bool equal_word(const void *probe, const void *key, void *data) {
  (void)data;
  return ((const struct item *)probe)->slot == ((const struct item *)key)->slot;
}

static struct item *intern(tarn_thread *self, uint64_t slot) {
  struct item probe = {.slot = slot % WORDS};
  struct item *word = tarn_weak_table_get(self, words, &probe, NULL);
  if (!word)
    word = tarn_weak_table_put(self, words, new_item(self, item_types[0], probe.slot), NULL, false);
  STRESS_CHECK(word);
  return word;
}

/* What hangs on an item that is in a frame already. */
static void add_links(tarn_thread *self, struct item *item, enum kind kind) {
  void *link = NULL;
  TARN_FRAME(self, &link);
  switch (kind) {
  case TREE:
    for (unsigned i = 0; i < 2; i++)
      tarn_store(self, item, &item->links[i], new_item(self, item_types[i], item->slot + i));
    break;
  case RAW:
    link = tarn_alloc_atomic(self, raw_size(item->slot));
    STRESS_CHECK(link);
    memset(link, (int)(item->slot & 0xff), raw_size(item->slot));
    tarn_store(self, item, &item->links[0], link);
    break;
  case EPHEMERAL: /* the value hangs on the ephemeron alone */
    link = new_item(self, item_types[0], item->slot);
    tarn_store(self, item, &item->links[1], tarn_weak_new(self, link));
    tarn_store(self, item, &item->links[0], tarn_ephemeron_new(self, item, link));
    STRESS_CHECK(item->links[0] && item->links[1]);
    break;
  case FINAL:
    STRESS_EQUAL(tarn_finalizer_add(self, item, on_final, (void *)(uintptr_t)item->slot), TARN_OK);
    count(&finals_added);
    break;
  case WORD:
    tarn_store(self, item, &item->links[0], intern(self, item->slot));
    break;
  default:
    break;
  }
}

static struct item *make_item(tarn_thread *self, uint64_t slot) {
  enum kind kind = kind_of(slot);
  struct item *item = new_item(self,
                               kind == LARGE      ? large_type
                               : kind == EXTERNAL ? owner_type
                                                  : item_types[slot / 16 % 4],
                               slot);
  TARN_FRAME(self, (void *)&item);
  add_links(self, item, kind);
  return item;
}

static void check_one(const struct item *item, uint64_t slot) {
  STRESS_EQUAL(item->slot, slot);
  STRESS_EQUAL(item->check, check_of(slot, item->external));
  for (size_t i = 0; i < body_of(item); i += 29)
    STRESS_EQUAL(item->body[i], slot + i);
}

static void check_item(tarn_thread *self, const struct item *item, uint64_t slot) {
  const unsigned char *raw = item->links[0];
  check_one(item, slot);
  switch (kind_of(slot)) {
  case TREE:
    check_one(item->links[0], slot);
    check_one(item->links[1], slot + 1);
    break;
  case RAW:
    for (size_t i = 0; i < raw_size(slot); i += 51)
      STRESS_EQUAL(raw[i], slot & 0xff);
    break;
  case EPHEMERAL:
    STRESS_CHECK(tarn_ephemeron_key(self, item->links[0]) == item);
    STRESS_CHECK(tarn_ephemeron_value(self, item->links[0]) == tarn_weak_get(self, item->links[1]));
    check_one(tarn_weak_get(self, item->links[1]), slot);
    break;
  case WORD:
    check_one(item->links[0], slot % WORDS);
    break;
  default:
    break;
  }
  count(&looked_at);
}

/* By hand, often of another thread's; or by the collector. */
static void give_up(tarn_thread *self, struct item *item, struct stress_random *random) {
  enum kind kind = kind_of(item->slot);
  if ((kind != PLAIN && kind != RAW && kind != LARGE && kind != EXTERNAL) ||
      stress_below(random, 2))
    return;
  if (kind == RAW)
    tarn_free(self, item->links[0]);
  tarn_free(self, item);
  count(&freed_by_hand);
}

static void use_slot(tarn_thread *self, struct stress_random *random, uint64_t slot) {
  struct board *board = boards[slot / PLACES];
  void **place = &board->places[slot % PLACES];
  /* Acquire and release: an object goes from thread to thread. */
  struct item *item = __atomic_exchange_n(place, NULL, __ATOMIC_ACQ_REL), *other;
  TARN_FRAME(self, (void *)&item);
  if (item) {
    check_item(self, item, slot);
    tarn_safepoint(self);
    if (stress_below(random, 3) != 0) {
      give_up(self, item, random);
      item = NULL;
    }
  }
  if (!item)
    item = make_item(self, slot);
  other = __atomic_exchange_n(place, item, __ATOMIC_ACQ_REL);
  tarn_barrier(self, board, place);
  if (other)
    give_up(self, other, random);
}

/* --- other things of the first world --------------------------------------------------------- */

static void use_heap(tarn_thread *self, struct stress_random *random) {
  tarn_heap *heap;
  STRESS_EQUAL(tarn_heap_create(world, TARN_HEAP_ATOMIC, &heap), TARN_OK);
  for (unsigned i = 0; i < 50; i++) {
    size_t size = 16 + (size_t)stress_below(random, i == 0 ? 300000 : 4000);
    uint64_t *block = tarn_heap_alloc(self, heap, size);
    STRESS_CHECK(block && block[0] == 0 && block[1] == 0);
    block[1] = size;
  }
  STRESS_EQUAL(tarn_heap_destroy(self, heap), TARN_OK);
  count(&heaps);
}

static void use_table(tarn_thread *self) {
  tarn_weak_table_spec spec = TARN_WEAK_TABLE_SPEC_INIT;
  tarn_weak_table *table;
  struct item *key = NULL, *value = NULL;
  TARN_FRAME(self, (void *)&key);
  spec.kind = TARN_WEAK_KEYS;
  STRESS_EQUAL(tarn_weak_table_create(world, &spec, &table), TARN_OK);
  for (uint64_t i = 0; i < 40; i++) {
    key = new_item(self, item_types[1], i);
    value = new_item(self, item_types[0], i + 1);
    STRESS_CHECK(tarn_weak_table_put(self, table, key, value, false) == key);
    tarn_safepoint(self);
    void *found = NULL;
    STRESS_CHECK(tarn_weak_table_get(self, table, key, &found) == key);
    check_one(found, i + 1);
  }
  tarn_weak_table_destroy(table);
  count(&tables);
}

/* The child has this thread only. */
static void fork_once(tarn_thread *self, struct stress_random *random) {
  uint64_t last = atomic_load(&last_fork), now = stress_milliseconds();
  if (now - last < FORK_EVERY || !atomic_compare_exchange_strong(&last_fork, &last, now))
    return;
  pid_t child = fork();
  STRESS_CHECK(child >= 0);
  if (child == 0) {
    (void)alarm(stress.patience * 2 / 3); /* no watchdog here */
    for (unsigned i = 0; i < 200; i++)
      use_slot(self, random, stress_below(random, SLOTS));
    STRESS_EQUAL(tarn_collect(self, TARN_GENERATION_FULL), TARN_OK);
    stress_verify(self);
    _exit(0);
  }
  int status = -1;
  tarn_block_begin(self);
  while (waitpid(child, &status, 0) < 0 && errno == EINTR)
    ;
  tarn_block_end(self);
  STRESS_EQUAL(status, 0);
  count(&forks);
}

/* --- a short world --------------------------------------------------------------------------- */

static _Thread_local uint64_t short_freed;
static void on_short_free(tarn_world *of, void *object) {
  (void)of, (void)object;
  short_freed++; /* by this thread, for there is no other */
}

static void lead_short_world(void) {
  tarn_world *other = stress_world("min-heap=1M,purger=0,sweeper=0,markers=1");
  tarn_thread *self = stress_attach(other);
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.size = sizeof(struct item);
  spec.slot_bits = 3 << 1;
  spec.free = on_short_free;
  const tarn_type *type = tarn_type_create(other, &spec, NULL);
  STRESS_CHECK(type);
  short_freed = 0;
  {
    struct item *list = NULL;
    TARN_FRAME(self, (void *)&list);
    for (unsigned i = 0; i < 3000; i++) {
      struct item *item = tarn_new(self, type);
      STRESS_CHECK(item);
      item->links[0] = i % 500 ? list : NULL;
      list = item;
    }
    STRESS_EQUAL(tarn_collect(self, TARN_GENERATION_FULL), TARN_OK);
    STRESS_CHECK(short_freed >= 2000);
  }
  STRESS_EQUAL(tarn_world_destroy(other), TARN_OK);
  STRESS_EQUAL(short_freed, 3000);
  count(&worlds);
}

/* --- the world that counts ------------------------------------------------------------------- */

static void on_cell_free(tarn_world *of, void *object) {
  struct cell *cell = object;
  STRESS_CHECK(of == counting);
  STRESS_EQUAL(cell->check, check_of(cell->number, 0));
  cell->check = 0;
  count(&cells_freed);
}

static void on_gone(tarn_thread *self, tarn_weak_handle *handle, void *data) {
  (void)data;
  tarn_weak_handle_free(self, handle);
  count(&handles_gone);
}

/* A circle with one reference from outside, the caller's.  Nobody else knows it, so counts are
 * right at the next safepoint: each new cell is kept by this thread, or by the one before it. */
static struct cell *make_ring(tarn_thread *self, uint64_t number) {
  struct cell *first = NULL, *last = NULL;
  for (uint64_t i = 0; i < RING; i++) {
    struct cell *cell = tarn_new(self, cell_type);
    STRESS_CHECK(cell && cell->refs == 0 && !cell->next);
    cell->number = number + i;
    cell->check = check_of(cell->number, 0);
    tarn_ref(self, cell);
    if (last)
      last->next = cell;
    else
      first = cell;
    last = cell;
    count(&cells_made);
  }
  tarn_ref(self, first);
  last->next = first;
  return first;
}

static void check_ring(const struct cell *first, uint64_t number) {
  const struct cell *cell = first;
  for (uint64_t i = 0; i < RING; i++, cell = cell->next) {
    STRESS_EQUAL(cell->number, number + i);
    STRESS_EQUAL(cell->check, check_of(number + i, 0));
  }
  STRESS_CHECK(cell == first);
  count(&looked_at);
}

static void watch_ring(tarn_thread *self, struct cell *ring) {
  tarn_weak_handle *handle;
  STRESS_EQUAL(tarn_weak_handle_new(self, ring, on_gone, NULL, &handle), TARN_OK);
  count(&handles_made);
}

static void use_ring(tarn_thread *self, struct stress_random *random) {
  uint64_t at = stress_below(random, RINGS), number = at * RING;
  struct cell *ring = atomic_exchange_explicit(&rings[at], NULL, memory_order_acq_rel);
  if (ring) {
    check_ring(ring, number);
    tarn_safepoint(self);
    if (stress_below(random, 3)) {
      tarn_unref(self, ring); /* garbage that a collection must find */
      ring = NULL;
    }
  }
  if (!ring) {
    ring = make_ring(self, number);
    if (at % 8 == 0)
      watch_ring(self, ring);
  }
  tarn_unref(self, atomic_exchange_explicit(&rings[at], ring, memory_order_acq_rel));
}

/* --- lives ----------------------------------------------------------------------------------- */

static void act(tarn_thread *self, struct stress_random *random, unsigned phase) {
  for (unsigned i = 0; i < 50; i++)
    use_slot(self, random, stress_below(random, SLOTS));
  (void)tarn_finalizers_run(self, 20);
  switch (phase) {
  case SOAK_YOUNG:
    if (stress_below(random, 200) == 0)
      STRESS_EQUAL(tarn_collect(self, 0), TARN_OK);
    break;
  case SOAK_FULL:
    if (stress_below(random, 100) == 0)
      STRESS_EQUAL(tarn_collect(self, (int)stress_below(random, 3)), TARN_OK);
    break;
  case SOAK_LARGE:
    use_slot(self, random, 77 + 256 * stress_below(random, SLOTS / 256));
    if (stress_below(random, 10) == 0)
      use_heap(self, random);
    if (stress_below(random, 10) == 0)
      use_table(self);
    break;
  default:
    break;
  }
}

static bool life_ends(unsigned phase, uint64_t until) {
  return atomic_load_explicit(&soak_over, memory_order_relaxed) ||
         atomic_load_explicit(&soak_phase, memory_order_relaxed) != phase ||
         stress_milliseconds() >= until;
}

static void live_traced(unsigned phase, struct stress_random *random, uint64_t until,
                        bool may_fork) {
  tarn_thread *self = stress_attach(world);
  do {
    act(self, random, phase);
    if (may_fork)
      fork_once(self, random);
    stress_step();
  } while (!life_ends(phase, until));
  if (stress_below(random, 2))
    STRESS_EQUAL(tarn_thread_detach(self), TARN_OK);
}

static void live_counted(unsigned phase, struct stress_random *random, uint64_t until) {
  tarn_thread *self = stress_attach(counting);
  do {
    for (unsigned i = 0; i < 50; i++)
      use_ring(self, random);
    if (phase == SOAK_CYCLES && stress_below(random, 60) == 0)
      STRESS_EQUAL(tarn_collect_cycles(self, (int)stress_below(random, 3)), TARN_OK);
    stress_step();
  } while (!life_ends(phase, until));
  if (stress_below(random, 2))
    STRESS_EQUAL(tarn_thread_detach(self), TARN_OK);
}

/* Attached, blocked, and still. */
static void live_idle(unsigned phase, unsigned number, uint64_t until) {
  tarn_thread *self = stress_attach(number % 3 == 2 ? counting : world);
  tarn_block_begin(self);
  while (!life_ends(phase, until)) {
    (void)usleep(20000);
    stress_step();
  }
  tarn_block_end(self);
}

void soak_live(unsigned number, struct stress_random *random) {
  unsigned phase = atomic_load_explicit(&soak_phase, memory_order_relaxed);
  uint64_t until =
      stress_milliseconds() + (phase == SOAK_THREADS ? 10 : 300 + stress_below(random, 1500));
  bool counts = phase == SOAK_CYCLES ? number % 2 : number % 3 == 2;
  if (phase == SOAK_IDLE)
    live_idle(phase, number, until);
  else if (phase == SOAK_THREADS && stress_below(random, 16) == 0)
    lead_short_world();
  else if (counts)
    live_counted(phase, random, until);
  else
    live_traced(phase, random, until, phase == SOAK_CYCLES);
  count(&lives);
}

/* --- start and end --------------------------------------------------------------------------- */

static const tarn_type *make_type(const char *name, size_t size, tarn_free_fn fn, bool array) {
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = name;
  spec.size = size;
  spec.slot_bits = 3 << 1;
  spec.free = fn;
  if (array) {
    spec.element_size = 8;
    spec.count_word = offsetof(struct item, count) / 8;
  }
  const tarn_type *type = tarn_type_create(world, &spec, NULL);
  STRESS_CHECK(type);
  return type;
}

static void make_types(void) {
  for (unsigned i = 0; i < 4; i++)
    item_types[i] = make_type("item", sizes[i], NULL, false);
  owner_type = make_type("owner", sizes[1], on_free, false);
  large_type = make_type("large", sizeof(struct item), NULL, true);
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = "board";
  spec.size = sizeof(struct board);
  spec.element_size = 8;
  spec.flags = TARN_TYPE_ELEMENTS_TRACED;
  board_type = tarn_type_create(world, &spec, NULL);
  tarn_type_spec cell = TARN_TYPE_SPEC_INIT;
  cell.name = "cell";
  cell.size = sizeof(struct cell);
  cell.slot_bits = 1 << 2;
  cell.refs_at = offsetof(struct cell, refs);
  cell.free = on_cell_free;
  cell.flags = TARN_TYPE_WEAK;
  cell_type = tarn_type_create(counting, &cell, NULL);
  STRESS_CHECK(board_type && cell_type);
}

static void fill(void) {
  struct stress_random random = stress_random_of(5000);
  tarn_thread *self = stress_attach(world);
  for (unsigned i = 0; i < BOARDS; i++) {
    STRESS_EQUAL(tarn_root_add(world, (void **)&boards[i]), TARN_OK);
    boards[i] = tarn_new_array(self, board_type, PLACES);
    STRESS_CHECK(boards[i]);
  }
  for (uint64_t slot = 0; slot < SLOTS; slot++)
    use_slot(self, &random, slot);
  STRESS_EQUAL(tarn_thread_detach(self), TARN_OK);
}

void soak_load_begin(void) {
  world = stress_barrier_world("min-heap=8M,young=4M");
  counting = stress_counting_world("min-heap=4M");
  make_types();
  tarn_weak_table_spec spec = TARN_WEAK_TABLE_SPEC_INIT;
  spec.hash = hash_word;
  spec.equal = equal_word;
  STRESS_EQUAL(tarn_weak_table_create(world, &spec, &words), TARN_OK);
  STRESS_EQUAL(tarn_root_add(world, &leaked), TARN_OK);
  fill();
  stress_watch_world(world);
}

static void end_traced(void) {
  tarn_thread *self = stress_attach(world);
  for (uint64_t slot = 0; slot < SLOTS; slot++) {
    const struct item *item = boards[slot / PLACES]->places[slot % PLACES];
    if (item) /* else a thread was ended with it in hand, which none is */
      check_item(self, item, slot);
  }
  memset(boards, 0, sizeof boards);
  leaked = NULL;
  for (unsigned i = 0; i < 3; i++) {
    STRESS_EQUAL(tarn_collect(self, TARN_GENERATION_FULL), TARN_OK);
    while (tarn_finalizers_run(self, 0) > 0)
      ;
  }
  (void)tarn_release_pending(self, 0);
  stress_verify(self);
  STRESS_EQUAL(atomic_load(&owners_freed), atomic_load(&owners_made));
  STRESS_EQUAL(atomic_load(&finals_ran), atomic_load(&finals_added));
  STRESS_EQUAL(stress_stats(world).external_bytes, 0);
  STRESS_EQUAL(tarn_weak_table_count(words), 0);
  STRESS_EQUAL(stress_stats(world).live_objects, 0);
}

static void end_counted(void) {
  tarn_thread *self = stress_attach(counting);
  for (unsigned i = 0; i < RINGS; i++)
    tarn_unref(self, atomic_exchange(&rings[i], NULL));
  for (unsigned i = 0; i < 2; i++)
    STRESS_EQUAL(tarn_collect_cycles(self, TARN_GENERATION_FULL), TARN_OK);
  stress_verify(self);
  STRESS_EQUAL(atomic_load(&cells_freed), atomic_load(&cells_made));
  STRESS_EQUAL(atomic_load(&handles_gone), atomic_load(&handles_made));
}

void soak_load_end(void) {
  stress_watch_world(NULL);
  end_traced();
  end_counted();
  STRESS_EQUAL(tarn_world_destroy(world), TARN_OK);
  STRESS_EQUAL(tarn_world_destroy(counting), TARN_OK);
}

/* --- for the main thread --------------------------------------------------------------------- */

/* What is due goes first, so that each idle phase ends with the same. */
void soak_load_trim(void) {
  tarn_thread *self = stress_attach(world);
  STRESS_EQUAL(tarn_collect(self, TARN_GENERATION_FULL), TARN_OK);
  (void)tarn_finalizers_run(self, 0);
  STRESS_EQUAL(tarn_collect(self, TARN_GENERATION_FULL), TARN_OK);
  STRESS_EQUAL(tarn_thread_detach(self), TARN_OK);
  self = stress_attach(counting);
  STRESS_EQUAL(tarn_collect_cycles(self, TARN_GENERATION_FULL), TARN_OK);
  STRESS_EQUAL(tarn_thread_detach(self), TARN_OK);
  (void)tarn_trim(world, 0);
  (void)tarn_trim(counting, 0);
}

void soak_load_leak(uint64_t objects) {
  if (objects == 0)
    return;
  tarn_thread *self = stress_attach(world);
  for (uint64_t i = 0; i < objects; i++) {
    struct item *item = new_item(self, item_types[3], i);
    tarn_store_new(self, item, &item->links[0], leaked);
    leaked = item;
  }
  STRESS_EQUAL(tarn_thread_detach(self), TARN_OK);
}

tarn_stats soak_load_stats(unsigned number) { return stress_stats(number ? counting : world); }

void soak_load_counts(struct soak_count *counts, unsigned most) {
  const struct soak_count all[] = {{"objects looked at", atomic_load(&looked_at)},
                                   {"freed by hand", atomic_load(&freed_by_hand)},
                                   {"lives of threads", atomic_load(&lives)},
                                   {"finalizers", atomic_load(&finals_ran)},
                                   {"free functions", atomic_load(&owners_freed)},
                                   {"cells of cycles", atomic_load(&cells_freed)},
                                   {"weak handles gone", atomic_load(&handles_gone)},
                                   {"forks", atomic_load(&forks)},
                                   {"short worlds", atomic_load(&worlds)},
                                   {"heaps dropped", atomic_load(&heaps)},
                                   {"weak tables", atomic_load(&tables)},
                                   {NULL, 0}};
  for (unsigned i = 0; i < sizeof all / sizeof all[0] && i < most; i++)
    counts[i] = all[i];
}
