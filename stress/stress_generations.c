/* SPDX-License-Identifier: MIT */
/*
 * stress_generations hunts objects that a young collection loses, and dirty cards that are lost.
 *
 * Threads store into old objects that all of them share: arrays of every size, data blocks, memory
 * that a trace function visits, nodes of a graph, weak references, ephemerons, a weak table; by
 * every barrier there is.  They replace those objects, free others by hand, their own and each
 * other's, sleep in blocked regions, leave and come back, and ask for collections of all
 * generations.  Every item has a number, and outside the heap stands whether it lives: who meets
 * one that does not fails.  In the end all have died exactly once.
 *
 * The program leads several lives, each with a world of its own.  The first has a third of the
 * time, and the seed chooses its options: how the young are told, how many threads work and mark,
 * whether each collection is verified.  The others are short, and go through all that there is:
 * each policy with each number of threads up to --threads, verified and not, the large and the
 * small numbers in turn.  The seed chooses where they begin; but five lives use every policy with
 * the largest numbers of threads, and so many there are in any case.
 */
#include "collect/collector.h"
#include "common.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NUMBERS (1u << 18)
#define HOLDERS 48u
#define BOX 8u
#define LARGE 20000u /* elements: three units */
#define OWN 40u
#define MAIL 64u
#define DEEP 8u    /* links of the graph are cut behind so many */
#define SHORT 100u /* milliseconds of a short life, more if the program runs for long */
#define LIVES_LEAST 6u
#define MORE_THAN_A_POOL 4000u /* items */

/* What the numbers say of their items. */
enum { UNBORN = 0, ALIVE, FINAL, DEAD };

struct item {
  const tarn_type *type;
  struct item *left, *right; /* atomic, for the threads among themselves */
  uint64_t number, check;
};
struct array {
  const tarn_type *type;
  size_t count;
  void *elements[];
};
struct box { /* its words are its data block, or foreign memory */
  const tarn_type *type;
  void **words;
};
/* Known to one thread at a time, and freed by hand. */
struct note {
  const tarn_type *type;
  struct item *item;
  uint64_t check;
};

enum policy { POOLS, FIRST_POOL, NONE, POLICIES };
static const char *const policy_names[] = {"pools", "first-pool", "none"};

struct life {
  unsigned number, threads;
  enum policy policy;
  bool verify;
};

/* What became of the lives of a policy. */
static struct {
  unsigned lives, most_threads;
  uint64_t collections[TARN_GENERATION_FULL + 1];
} told[POLICIES];

static tarn_world *world;
static const tarn_type *item_type, *array_type, *data_type, *foreign_type, *note_type, *large_note;
static _Atomic uint8_t *states;
static _Atomic uint32_t numbers;
static _Atomic uint64_t notes_freed, finalized;

/* The shared objects.  A holder's words are used under its lock, in which nobody allocates. */
static struct {
  pthread_mutex_t lock;
  void *object;
} holders[HOLDERS];
static void *weaks[HOLDERS], *ephemerons[HOLDERS]; /* written before the threads start */
static struct note *mail[MAIL];                    /* atomic */
static tarn_weak_table *table;

/* --- items ----------------------------------------------------------------------------------- */

static uint64_t check_of(uint64_t number) { return (number + 91) * 0x9e3779b97f4a7c15u; }

static void check_item(const struct item *item) {
  STRESS_CHECK(item->type == item_type);
  STRESS_CHECK(item->number < NUMBERS);
  STRESS_EQUAL(item->check, check_of(item->number));
  STRESS_CHECK(atomic_load(&states[item->number]) != DEAD);
}

static void die(tarn_world *of, void *object) {
  const struct item *item = object;
  STRESS_CHECK(of == world && item->number < NUMBERS);
  STRESS_EQUAL(item->check, check_of(item->number));
  uint8_t was = atomic_exchange(&states[item->number], DEAD);
  STRESS_CHECK(was == ALIVE || was == FINAL);
}

static void finalize(tarn_thread *self, void *object, void *data) {
  struct item *item = object;
  (void)self;
  check_item(item);
  STRESS_EQUAL((uintptr_t)data, item->number);
  uint8_t was = ALIVE;
  STRESS_CHECK(atomic_compare_exchange_strong(&states[item->number], &was, FINAL));
  struct item *left = __atomic_load_n(&item->left, __ATOMIC_ACQUIRE);
  if (left)
    check_item(left);
  atomic_fetch_add_explicit(&finalized, 1, memory_order_relaxed);
}

/* A number whose last item is dead. */
static uint64_t take_number(void) {
  for (uint32_t tries = 0; tries < 16 * NUMBERS; tries++) {
    uint32_t number = atomic_fetch_add_explicit(&numbers, 1, memory_order_relaxed) % NUMBERS;
    uint8_t state = atomic_load(&states[number]);
    if ((state == UNBORN || state == DEAD) &&
        atomic_compare_exchange_strong(&states[number], &state, ALIVE))
      return number;
  }
  stress_fail(__FILE__, __LINE__, "all numbers are alive");
}

static struct item *new_item(tarn_thread *self) {
  struct item *item = tarn_new(self, item_type);
  STRESS_CHECK(item && !item->left && !item->right && !item->number && !item->check);
  item->number = take_number();
  item->check = check_of(item->number);
  return item;
}

/* --- holders --------------------------------------------------------------------------------- */

enum { SMALL_ARRAY, LONG_ARRAY, LARGE_ARRAY, DATA, FOREIGN, KINDS };
static unsigned kind_of(unsigned holder) { return holder % KINDS; }
static size_t words_of(unsigned holder) {
  static const size_t counts[KINDS] = {13, 900, LARGE, BOX, BOX};
  return counts[kind_of(holder)];
}

static void **words_in(unsigned holder, void *object) {
  return kind_of(holder) >= DATA ? ((struct box *)object)->words
                                 : ((struct array *)object)->elements;
}

static void visit_box(const void *object, tarn_visitor *visitor) {
  const struct box *box = object;
  if (box->words)
    tarn_visit_range(visitor, box->words, BOX);
}
static void free_box(tarn_world *of, void *object) {
  (void)of;
  free(((struct box *)object)->words);
}

static void *new_holder(tarn_thread *self, unsigned holder) {
  unsigned kind = kind_of(holder);
  void *object = kind == DATA      ? tarn_new(self, data_type)
                 : kind == FOREIGN ? tarn_new(self, foreign_type)
                                   : tarn_new_array(self, array_type, words_of(holder));
  STRESS_CHECK(object);
  if (kind == FOREIGN)
    ((struct box *)object)->words = calloc(BOX, sizeof(void *));
  return object;
}

/* --- one thread ------------------------------------------------------------------------------ */

struct own {
  tarn_thread *self;
  struct stress_random random;
  struct item *items[OWN];
  struct note *notes[OWN];
  void *new; /* a root for a moment */
};

static unsigned some(struct own *own, unsigned bound) {
  return (unsigned)stress_below(&own->random, bound);
}

static struct item *some_item(struct own *own) { return own->items[some(own, OWN)]; }

static void lock(unsigned holder) { (void)pthread_mutex_lock(&holders[holder].lock); }
static void unlock(unsigned holder) { (void)pthread_mutex_unlock(&holders[holder].lock); }

/* A place for `count` words: in a large array mostly near the start, where there are others. */
static size_t some_place(struct own *own, unsigned holder, size_t count) {
  size_t words = words_of(holder);
  if (words == LARGE && some(own, 4))
    words = 64;
  return some(own, (unsigned)(words - count + 1));
}

/* One or more words of a holder, under its lock. */
static void store(struct own *own, unsigned holder, size_t at, struct item *const *items,
                  size_t count) {
  void *object = holders[holder].object;
  void **slot = &words_in(holder, object)[at];
  unsigned way = some(own, 4);
  if (kind_of(holder) == FOREIGN) {
    memcpy(slot, items, count * sizeof *slot);
    tarn_barrier(own->self, object, object);
  } else if (way == 0) {
    tarn_store_range(own->self, object, slot, (void *const *)(const void *)items, count);
  } else if (way == 1) {
    tarn_barrier_range(own->self, object, slot, count);
    memcpy(slot, items, count * sizeof *slot);
  } else {
    for (size_t i = 0; i < count; i++)
      if (way == 2) {
        tarn_store(own->self, object, &slot[i], items[i]);
      } else {
        slot[i] = items[i];
        tarn_barrier(own->self, object, &slot[i]);
      }
  }
}

static void put_items(struct own *own, unsigned holder) {
  size_t count = 1, words = words_of(holder);
  if (some(own, 8) == 0)
    count += some(own, OWN / 4);
  if (count > words)
    count = words;
  size_t from = some(own, (unsigned)(OWN - count + 1));
  lock(holder);
  store(own, holder, some_place(own, holder, count), &own->items[from], count);
  unlock(holder);
}

/* Looks at some words of a holder; empties some, which needs no barrier. */
static void look_into(struct own *own, unsigned holder) {
  lock(holder);
  void **slots = words_in(holder, holders[holder].object);
  for (unsigned i = 0; i < 40; i++) {
    struct item *item = slots[some_place(own, holder, 1)];
    if (item) {
      check_item(item);
      own->items[some(own, OWN)] = item;
    }
  }
  for (unsigned i = some(own, 4); i-- > 0;)
    slots[some_place(own, holder, 1)] = NULL;
  unlock(holder);
}

/* The same with a new object: younger, and nobody knows it yet. */
static void replace_holder(struct own *own, unsigned holder) {
  void *new = new_holder(own->self, holder);
  lock(holder);
  void **slots = words_in(holder, new);
  void *const *from = words_in(holder, holders[holder].object);
  if (kind_of(holder) == FOREIGN) {
    memcpy(slots, from, BOX * sizeof *slots);
    tarn_barrier(own->self, new, new);
  } else {
    tarn_store_range(own->self, new, slots, from, words_of(holder));
  }
  holders[holder].object = new;
  unlock(holder);
}

/* Another data block for an old object; the one before is freed by hand. */
static void replace_data(struct own *own, unsigned holder) {
  if (kind_of(holder) != DATA)
    return;
  void **new = tarn_alloc_atomic(own->self, BOX * sizeof *new);
  STRESS_CHECK(new);
  lock(holder);
  struct box *box = holders[holder].object;
  void **old = box->words;
  memcpy(new, old, BOX * sizeof *new);
  tarn_store(own->self, box, (void **)&box->words, new);
  unlock(holder);
  tarn_free(own->self, old);
}

static struct item **link_of(struct item *item, bool left) {
  return left ? &item->left : &item->right;
}

static void link_items(struct own *own) {
  struct item *from = some_item(own), *to = some_item(own);
  if (!from)
    return;
  struct item **slot = link_of(from, some(own, 2));
  if (some(own, 2))
    tarn_barrier(own->self, from, slot);
  __atomic_store_n(slot, to, __ATOMIC_RELEASE);
  tarn_barrier_outline(own->self, from, slot);
}

static void walk(struct own *own) {
  struct item *item = some_item(own);
  for (unsigned i = 0; item && i < DEEP; i++) {
    struct item **slot = link_of(item, some(own, 2));
    check_item(item);
    if (i == DEEP - 1 || some(own, 16) == 0)
      __atomic_store_n(slot, NULL, __ATOMIC_RELAXED);
    item = __atomic_load_n(slot, __ATOMIC_ACQUIRE);
  }
  if (item)
    own->items[some(own, OWN)] = item;
}

static void make_items(struct own *own) {
  for (unsigned i = some(own, 10) + 1; i-- > 0;) {
    struct item *item = new_item(own->self);
    if (some(own, 4) == 0)
      tarn_store_new(own->self, item, (void **)&item->left, some_item(own));
    own->items[some(own, OWN)] = item;
    if (some(own, 16) == 0)
      STRESS_EQUAL(tarn_finalizer_add(own->self, item, finalize, (void *)(uintptr_t)item->number),
                   TARN_OK);
  }
}

static void use_weak(struct own *own, unsigned at) {
  struct item *item = tarn_weak_get(own->self, weaks[at]);
  if (item) {
    check_item(item);
    own->items[some(own, OWN)] = item;
  }
  if (some(own, 3) == 0) /* often to one that dies young */
    tarn_weak_set(own->self, weaks[at], some(own, 2) ? some_item(own) : new_item(own->self));
}

/* Ephemerons are replaced, too, for their keys die. */
static void use_ephemeron(struct own *own, unsigned at) {
  void *ephemeron = __atomic_load_n(&ephemerons[at], __ATOMIC_ACQUIRE);
  struct item *value = tarn_ephemeron_value(own->self, ephemeron);
  struct item *key = tarn_ephemeron_key(own->self, ephemeron);
  STRESS_CHECK(!key == !value);
  if (key) {
    check_item(key);
    check_item(value);
    struct item *new = some_item(own);
    if (new)
      tarn_ephemeron_set_value(own->self, ephemeron, new);
    own->items[some(own, OWN)] = value;
  }
  if (key && some(own, 4))
    return;
  struct item *of = some_item(own);
  if (!of)
    return;
  ephemeron = tarn_ephemeron_new(own->self, of, of);
  STRESS_CHECK(ephemeron);
  __atomic_store_n(&ephemerons[at], ephemeron, __ATOMIC_RELEASE);
}

static void use_table(struct own *own) {
  struct item *key = some_item(own), *new = some_item(own);
  void *value = NULL;
  if (!key)
    return;
  if (tarn_weak_table_get(own->self, table, key, &value)) {
    check_item(value);
    own->items[some(own, OWN)] = value;
  }
  if (new)
    STRESS_CHECK(tarn_weak_table_put(own->self, table, key, new, true) == key);
}

/* --- freeing by hand ------------------------------------------------------------------------- */

static void free_note(struct own *own, struct note *note) {
  if (!note)
    return;
  STRESS_EQUAL(note->check, check_of((uintptr_t)note));
  struct item *item = note->item;
  check_item(item);
  own->items[some(own, OWN)] = item;
  note->check = 0;
  tarn_free(own->self, note);
  atomic_fetch_add_explicit(&notes_freed, 1, memory_order_relaxed);
}

static void use_notes(struct own *own) {
  struct note **at = &own->notes[some(own, OWN)];
  struct note *note = *at;
  *at = NULL;
  if (note && some(own, 2))
    note = __atomic_exchange_n(&mail[some(own, MAIL)], note, __ATOMIC_ACQ_REL);
  if (note && some(own, 4) == 0) { /* once more, with what is younger than the note */
    STRESS_EQUAL(note->check, check_of((uintptr_t)note));
    struct item *item = some_item(own);
    if (item)
      tarn_store(own->self, note, (void **)&note->item, item);
    own->notes[some(own, OWN)] = note; /* perhaps another one becomes garbage */
    return;
  }
  free_note(own, note);
  note = tarn_new(own->self, some(own, 100) ? note_type : large_note);
  STRESS_CHECK(note && !note->item && !note->check);
  note->check = check_of((uintptr_t)note);
  *at = note;
  struct item *item = new_item(own->self);
  tarn_store(own->self, note, (void **)&note->item, item);
}

/* --- what else a thread does ----------------------------------------------------------------- */

static void forget_some(struct own *own) {
  for (unsigned i = 0; i < OWN / 4; i++)
    own->items[some(own, OWN)] = NULL;
}

static void be_away(struct own *own) {
  if (some(own, 2)) {
    tarn_block_begin(own->self);
    (void)usleep(some(own, 300));
    tarn_block_end(own->self);
  } else {
    STRESS_EQUAL(tarn_thread_detach(own->self), TARN_OK);
    own->self = stress_attach(world);
  }
}

static void make_garbage(struct own *own) {
  for (unsigned i = 0; i < 200; i++) {
    uint64_t *words = tarn_alloc_atomic(own->self, 16 + 8 * some(own, 40));
    STRESS_CHECK(words && words[0] == 0 && words[1] == 0);
    words[0] = words[1] = UINT64_MAX;
  }
}

static void act(struct own *own) {
  unsigned holder = some(own, HOLDERS);
  switch (some(own, 32)) {
  case 0:
  case 1:
  case 2:
  case 3:
    make_items(own);
    break;
  case 4:
  case 5:
  case 6:
  case 7:
  case 8:
  case 9:
    put_items(own, holder);
    break;
  case 10:
  case 11:
  case 12:
    look_into(own, holder);
    break;
  case 13:
    if (kind_of(holder) != LARGE_ARRAY || some(own, 30) == 0)
      replace_holder(own, holder);
    break;
  case 14:
    replace_data(own, holder);
    break;
  case 15:
  case 16:
  case 17:
    link_items(own);
    break;
  case 18:
  case 19:
  case 20:
    walk(own);
    break;
  case 21:
    use_weak(own, holder);
    break;
  case 22:
    use_ephemeron(own, holder);
    break;
  case 23:
    use_table(own);
    break;
  case 24:
  case 25:
  case 26:
    use_notes(own);
    break;
  case 27:
    forget_some(own);
    break;
  case 28:
    (void)tarn_finalizers_run(own->self, some(own, 20));
    break;
  case 29:
    make_garbage(own);
    break;
  case 30:
    if (some(own, 40) == 0) /* the lower a generation, the more often */
      STRESS_EQUAL(tarn_collect(own->self, (int)(some(own, 3) * some(own, 3) / 2)), TARN_OK);
    break;
  default:
    if (some(own, 30) == 0)
      be_away(own);
    tarn_safepoint(own->self);
  }
}

static void visit_own(tarn_visitor *visitor, void *data) {
  const struct own *own = data;
  tarn_visit_range(visitor, own->items, OWN);
  tarn_visit_range(visitor, own->notes, OWN);
}

static void visit_shared(tarn_visitor *visitor, void *data) {
  (void)data;
  for (unsigned i = 0; i < HOLDERS; i++)
    tarn_visit(visitor, holders[i].object);
  tarn_visit_range(visitor, weaks, HOLDERS);
  tarn_visit_range(visitor, ephemerons, HOLDERS);
  tarn_visit_range(visitor, mail, MAIL);
}

/* How many collections there were of a generation, and of no higher one. */
static uint64_t collections_of(int generation) {
  _Atomic uint64_t *least = world->collector->at_least;
  return generation == TARN_GENERATION_FULL
             ? atomic_load(&least[generation])
             : atomic_load(&least[generation]) - atomic_load(&least[generation + 1]);
}

/* The shortest life, too, has both, if its policy has. */
static void collect_young(struct own *own) {
  for (int generation = 0; generation < TARN_GENERATION_FULL; generation++)
    do /* another thread's full collection may be joined */
      STRESS_EQUAL(tarn_collect(own->self, generation), TARN_OK);
    while (world->collector->generations.on && collections_of(generation) == 0);
}

static void work(void *data, unsigned number) {
  const struct life *life = data;
  struct own *own = calloc(1, sizeof *own);
  STRESS_CHECK(own);
  own->random = stress_random_of(65 * life->number + number + 1);
  own->self = stress_attach(world);
  STRESS_EQUAL(tarn_root_provider_add(world, visit_own, own), TARN_OK);
  for (uint64_t round = 0; stress_on(&round);) {
    for (unsigned i = 0; i < 100; i++)
      act(own);
    for (unsigned i = 0; i < OWN; i++)
      if (own->items[i])
        check_item(own->items[i]);
    if (some(own, 1000) == 0)
      stress_verify(own->self);
    if (number == 0 && round == 1)
      collect_young(own);
  }
  STRESS_EQUAL(tarn_root_provider_remove(world, visit_own, own), TARN_OK);
  STRESS_EQUAL(tarn_thread_detach(own->self), TARN_OK);
  free(own);
}

/* --- start and end --------------------------------------------------------------------------- */

static const tarn_type *make_type(tarn_type_spec spec) {
  spec.struct_size = sizeof spec;
  const tarn_type *type = tarn_type_create(world, &spec, NULL);
  STRESS_CHECK(type);
  return type;
}

static void make_types(void) {
  item_type = make_type(
      (tarn_type_spec){.name = "item", .size = sizeof(struct item), .slot_bits = 6, .free = die});
  array_type = make_type((tarn_type_spec){.name = "array",
                                          .size = sizeof(struct array),
                                          .element_size = sizeof(void *),
                                          .flags = TARN_TYPE_ELEMENTS_TRACED});
  data_type = make_type((tarn_type_spec){.name = "data",
                                         .size = sizeof(struct box),
                                         .data_size = BOX * sizeof(void *),
                                         .flags = TARN_TYPE_DATA_TRACED});
  foreign_type = make_type((tarn_type_spec){
      .name = "foreign", .size = sizeof(struct box), .trace = visit_box, .free = free_box});
  note_type =
      make_type((tarn_type_spec){.name = "note", .size = sizeof(struct note), .slot_bits = 2});
  large_note = make_type((tarn_type_spec){.name = "large note", .size = 70000, .slot_bits = 2});
}

static void make_world(const struct life *life) {
  struct stress_random random = stress_random_of(65 * life->number);
  static const unsigned youngs[] = {64, 64, 256, 1024}; /* KiB */
  char set[200];
  unsigned young = youngs[stress_below(&random, 4)];
  unsigned markers = 1 + (unsigned)stress_below(&random, 4);
  bool small_stack = stress_below(&random, 4) == 0;
  if (life->verify) /* fewer, for they take long */
    young = 1024;
  unsigned min_heap = 1 + (unsigned)stress_below(&random, 8);
  (void)snprintf(set, sizeof set, "generations=%s,young=%uK,markers=%u,verify=%u,min-heap=%uM%s",
                 policy_names[life->policy], young, markers, life->verify, min_heap,
                 small_stack ? ",mark-stack=4K" : "");
  fprintf(stderr, "  life %u: %u threads, %s\n", life->number, life->threads, set);
  world = stress_barrier_world(set);
  STRESS_EQUAL(world->collector->generations.on, life->policy != NONE);
  STRESS_EQUAL(world->collector->generations.first_pool, life->policy == FIRST_POOL);
}

static void start(const struct life *life) {
  make_world(life);
  states = calloc(NUMBERS, 1);
  STRESS_CHECK(states);
  atomic_store(&numbers, 0);
  atomic_store(&finalized, 0);
  memset(mail, 0, sizeof mail);
  make_types();
  tarn_weak_table_spec spec = TARN_WEAK_TABLE_SPEC_INIT;
  spec.kind = TARN_WEAK_KEYS;
  STRESS_EQUAL(tarn_weak_table_create(world, &spec, &table), TARN_OK);
}

/* What nobody refers to dies with the next collection of any generation; but with first-pool it
 * does not, while the thread allocates from another pool. */
static void check_policy(tarn_thread *self, enum policy policy) {
  tarn_collect_disable(world);
  uint64_t first = new_item(self)->number;
  for (unsigned i = 0; i < MORE_THAN_A_POOL; i++)
    (void)new_item(self);
  STRESS_EQUAL(tarn_collect(self, 0), TARN_OK);
  STRESS_EQUAL(atomic_load(&states[first]), policy == FIRST_POOL ? ALIVE : DEAD);
  STRESS_EQUAL(tarn_collect_enable(world), TARN_OK);
}

/* They are old when the threads begin. */
static void make_shared(tarn_thread *self) {
  for (unsigned i = 0; i < HOLDERS; i++) {
    STRESS_EQUAL(pthread_mutex_init(&holders[i].lock, NULL), 0);
    holders[i].object = weaks[i] = ephemerons[i] = NULL;
  }
  STRESS_EQUAL(tarn_root_provider_add(world, visit_shared, NULL), TARN_OK);
  for (unsigned i = 0; i < HOLDERS; i++) {
    holders[i].object = new_holder(self, i);
    weaks[i] = tarn_weak_new(self, NULL);
    struct item *item = new_item(self); /* a key that dies at once */
    TARN_FRAME(self, (void *)&item);
    ephemerons[i] = tarn_ephemeron_new(self, item, item);
    STRESS_CHECK(weaks[i] && ephemerons[i]);
  }
  STRESS_EQUAL(tarn_collect(self, TARN_GENERATION_FULL), TARN_OK);
}

static void tell(const struct life *life) {
  told[life->policy].lives++;
  if (life->threads > told[life->policy].most_threads)
    told[life->policy].most_threads = life->threads;
  for (int i = 0; i <= TARN_GENERATION_FULL; i++) {
    told[life->policy].collections[i] += collections_of(i);
    STRESS_CHECK(i == TARN_GENERATION_FULL || (collections_of(i) > 0) == (life->policy != NONE));
  }
}

static void end_everything(tarn_thread *self) {
  STRESS_EQUAL(tarn_root_provider_remove(world, visit_shared, NULL), TARN_OK);
  for (unsigned round = 0; round < 3; round++) { /* objects with finalizers go in the second */
    STRESS_EQUAL(tarn_collect(self, 2), TARN_OK);
    (void)tarn_finalizers_run(self, 0);
  }
  stress_verify(self);
  for (uint32_t i = 0; i < NUMBERS; i++) {
    uint8_t state = atomic_load(&states[i]);
    if (state != DEAD && state != UNBORN)
      stress_fail(__FILE__, __LINE__, "item %u is in state %u at the end", i, state);
  }
  STRESS_EQUAL(tarn_weak_table_count(table), 0);
  tarn_stats stats = stress_stats(world);
  STRESS_EQUAL(stats.live_objects, 0);
  STRESS_EQUAL(stats.finalizers_run, atomic_load(&finalized));
  STRESS_EQUAL(stats.release_pending, 0);
}

static void finish(void) {
  tarn_thread *self = stress_attach(world);
  end_everything(self);
  STRESS_EQUAL(tarn_world_destroy(world), TARN_OK);
  for (unsigned i = 0; i < HOLDERS; i++)
    (void)pthread_mutex_destroy(&holders[i].lock);
  free((void *)states);
}

/* --- lives ----------------------------------------------------------------------------------- */

static void lead(struct life life, unsigned milliseconds) {
  start(&life);
  tarn_thread *self = stress_attach(world);
  make_shared(self);
  check_policy(self, life.policy);
  STRESS_EQUAL(tarn_thread_detach(self), TARN_OK);
  stress_run_for(milliseconds);
  stress_run(world, life.threads, work, &life);
  tell(&life);
  finish();
}

static struct life long_life(void) {
  struct stress_random random = stress_random_of(64);
  static const enum policy policies[] = {POOLS, FIRST_POOL, POOLS, NONE};
  return (struct life){.threads = 1 + (unsigned)stress_below(&random, stress.threads),
                       .policy = policies[stress_below(&random, 4)],
                       .verify = stress_below(&random, 3) == 0};
}

/*
 * The numbers of threads are gone through as 16, 1, 15, 2, and so on; in the first round each has
 * one of the policies, in the next ones the others, and after six rounds all were there verified
 * and not.  The policy changes by one from one life to the next, so it is another one in each of
 * the first, third and fifth life of a round.
 */
static struct life short_life(unsigned number) {
  unsigned most = stress.threads, round = (number - 1) / most + (unsigned)(stress.seed % 6);
  unsigned place = (number - 1) % most, half = place / 2;
  return (struct life){.number = number,
                       .threads = place % 2 ? 1 + half : most - half,
                       .policy = (enum policy)((place + round) % POLICIES),
                       .verify = (half + round) % 2};
}

int main(int count, char **arguments) {
  stress.threads = 16; /* the most of a life */
  stress_begin(count, arguments,
               "objects that a young collection loses, and dirty cards that are lost");
  stress.rounds_least = 2; /* collections that are verified, one after the other, take long */
  unsigned milliseconds = stress.seconds * 10, lives = 1;
  lead(long_life(), stress.seconds * 1000 / 3);
  for (; lives < LIVES_LEAST || stress_time_left(); lives++)
    lead(short_life(lives), milliseconds < SHORT ? SHORT : milliseconds);
  for (unsigned i = 0; i < POLICIES; i++) {
    fprintf(stderr,
            "  %s: %u lives, up to %u threads; collections: %llu of generation 0, %llu of 1, "
            "%llu full ones\n",
            policy_names[i], told[i].lives, told[i].most_threads,
            (unsigned long long)told[i].collections[0], (unsigned long long)told[i].collections[1],
            (unsigned long long)told[i].collections[2]);
    STRESS_CHECK(told[i].most_threads + 2 >= stress.threads);
  }
  STRESS_CHECK(atomic_load(&notes_freed) > 0);
  return stress_end();
}
