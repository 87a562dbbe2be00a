/* SPDX-License-Identifier: MIT */
/*
 * stress_weak hunts weak references, ephemerons and entries of weak tables that show a dead object
 * or forget a living one, while all threads read the same ones as they are cleared; and finalizers
 * that run too early, twice, or not at all.
 *
 * On a board hang cards, which all threads read, replace and take down.  A card knows its key by a
 * weak reference, and by the first ephemeron of a chain: the value of each is the key of the next,
 * and hangs on nothing else.  What keeps a key is one root, which any thread may clear.  So between
 * two safepoints a reader sees all of a card or none of it; and while a thread keeps the key, all.
 * Some threads replace the last value of a chain meanwhile, or set a weak reference that all know.
 *
 * Three weak tables: words that all intern (there is one of each as long as somebody has it), weak
 * keys, and weak values; others are made and destroyed in passing.  Finalizers allocate, save their
 * object, save it and add themselves again, attach the thread once more, or detach it altogether;
 * all find the weak reference to their object cleared.
 *
 * Each object has a number; what stands under it outside of the heap says whether it lives.  With
 * one half of the seeds there are generations.
 */
#include "common.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NUMBERS (1u << 21)
#define CARDS 48u
#define ROVERS 8u
#define WORDS 48u
#define KEPT 12u /* of each kind, by a thread */
#define WATCHED 512u
#define SAVED 32u
#define LONGEST 4u /* chain */

enum { UNBORN = 0, ALIVE, DEAD };

struct thing {
  const tarn_type *type;
  void *next;           /* the ephemeron whose key this is, or the key of an entry; or nothing */
  uint64_t number, tie; /* of whom it is a value */
  uint64_t lives;       /* times that its finalizer may still come */
  uint64_t check;
};
struct card {
  const tarn_type *type;
  void *weak, *ephemeron;
  uint64_t number, length; /* of the key, and of the chain */
};

static tarn_world *world;
static const tarn_type *thing_type, *card_type;
static tarn_weak_table *words, *by_key, *by_value;
static _Atomic uint8_t *states;
static _Atomic uint32_t numbers;
static _Atomic uint64_t made, freed, added, ran, detached, saves, again, seen_whole, seen_gone,
    kept_whole, table_hits, table_gone;

/* Roots that all threads know; they change by atomic exchange. */
static void *board[CARDS], *keys[CARDS], *rovers[ROVERS], *said[WORDS], *watched[WATCHED],
    *saved[SAVED];

static void count(_Atomic uint64_t *what) {
  (void)atomic_fetch_add_explicit(what, 1, memory_order_relaxed); /* a figure */
}

/* Acquire and release: what hangs there is whole. */
static void *get(void **root) { return __atomic_load_n(root, __ATOMIC_ACQUIRE); }
static void put(void **root, void *object) { __atomic_store_n(root, object, __ATOMIC_RELEASE); }

/* --- things ---------------------------------------------------------------------------------- */

static uint64_t check_of(const struct thing *thing) {
  return (thing->number * 31 + thing->tie) * 0x9e3779b97f4a7c15u + 7;
}

static void check_thing(const struct thing *thing) {
  STRESS_CHECK(thing->type == thing_type && thing->number < NUMBERS);
  STRESS_EQUAL(thing->check, check_of(thing));
  STRESS_EQUAL(atomic_load_explicit(&states[thing->number], memory_order_relaxed), ALIVE);
}

static void on_free(tarn_world *of, void *object) {
  struct thing *thing = object;
  STRESS_CHECK(of == world);
  check_thing(thing);
  thing->check = 0;
  STRESS_EQUAL(atomic_exchange_explicit(&states[thing->number], DEAD, memory_order_relaxed), ALIVE);
  count(&freed);
}

static struct thing *make(tarn_thread *self, uint64_t tie) {
  struct thing *thing = tarn_new(self, thing_type);
  STRESS_CHECK(thing && !thing->next && thing->number == 0 && thing->check == 0);
  uint8_t state;
  do { /* a number whose object is dead */
    thing->number = atomic_fetch_add_explicit(&numbers, 1, memory_order_relaxed) % NUMBERS;
    state = atomic_load_explicit(&states[thing->number], memory_order_relaxed);
  } while (state == ALIVE ||
           !atomic_compare_exchange_strong(&states[thing->number], &state, ALIVE));
  thing->tie = tie;
  thing->check = check_of(thing);
  count(&made);
  return thing;
}

/* --- cards ----------------------------------------------------------------------------------- */

/* `*key` is a root; the chain is made from its end. */
static struct card *make_card(tarn_thread *self, struct thing *key, uint64_t length) {
  void *ephemeron = NULL, *weak = NULL;
  struct thing *links[LONGEST] = {0};
  TARN_FRAME(self, (void *)&key, &ephemeron, &weak, (void *)&links[0], (void *)&links[1],
             (void *)&links[2], (void *)&links[3]);
  for (uint64_t i = 0; i < length; i++)
    links[i] = make(self, key->number);
  for (uint64_t i = length; i-- > 0;) {
    ephemeron = tarn_ephemeron_new(self, i ? links[i - 1] : key, links[i]);
    STRESS_CHECK(ephemeron);
    if (i > 0)
      tarn_store(self, links[i - 1], &links[i - 1]->next, ephemeron);
  }
  weak = tarn_weak_new(self, key);
  struct card *card = tarn_new(self, card_type);
  STRESS_CHECK(weak && card);
  tarn_store_new(self, card, &card->weak, weak);
  tarn_store_new(self, card, &card->ephemeron, ephemeron);
  card->number = key->number;
  card->length = length;
  return card;
}

/* The key, with all that hangs on it, or NULL and nothing hangs there.  No safepoint within. */
static struct thing *read_card(tarn_thread *self, const struct card *card) {
  struct thing *key = tarn_weak_get(self, card->weak), *link = key;
  void *ephemeron = card->ephemeron;
  STRESS_CHECK(tarn_ephemeron_key(self, ephemeron) == key);
  if (!key) {
    STRESS_CHECK(!tarn_ephemeron_value(self, ephemeron));
    count(&seen_gone);
    return NULL;
  }
  check_thing(key);
  STRESS_EQUAL(key->number, card->number);
  for (uint64_t i = 0; i < card->length; i++) {
    STRESS_CHECK(tarn_ephemeron_key(self, ephemeron) == link);
    link = tarn_ephemeron_value(self, ephemeron);
    STRESS_CHECK(link);
    check_thing(link);
    STRESS_EQUAL(link->tie, card->number);
    ephemeron = link->next;
    STRESS_CHECK(!ephemeron == (i + 1 == card->length));
  }
  count(&seen_whole);
  return key;
}

static void hang_card(tarn_thread *self, struct stress_random *random) {
  uint64_t at = stress_below(random, CARDS);
  struct thing *key = make(self, 0);
  TARN_FRAME(self, (void *)&key);
  struct card *card = make_card(self, key, 1 + stress_below(random, LONGEST));
  put(&keys[at], key);
  put(&board[at], card);
  put(&keys[stress_below(random, CARDS)], NULL); /* another's card stays, and its key may go */
}

/* Another value at the end of a chain, for readers that are there just now. */
static void replace_value(tarn_thread *self, struct card *card) {
  struct thing *key = read_card(self, card), *value = NULL;
  if (!key)
    return;
  TARN_FRAME(self, (void *)&key, (void *)&card);
  value = make(self, card->number);
  void *ephemeron = card->ephemeron;
  for (uint64_t i = 0; i + 1 < card->length; i++)
    ephemeron = ((struct thing *)tarn_ephemeron_value(self, ephemeron))->next;
  tarn_ephemeron_set_value(self, ephemeron, value);
  STRESS_CHECK(read_card(self, card) == key);
}

static void rove(tarn_thread *self, struct stress_random *random, struct thing *target) {
  void *rover = get(&rovers[stress_below(random, ROVERS)]);
  struct thing *there = tarn_weak_get(self, rover);
  if (there)
    check_thing(there);
  if (target)
    tarn_weak_set(self, rover, target);
}

/* --- tables ---------------------------------------------------------------------------------- */

static uint64_t hash_word(const void *key, void *data) {
  (void)data;
  return ((const struct thing *)key)->tie;
}
static bool equal_word(const void *probe, const void *key, void *data) {
  (void)data;
  return ((const struct thing *)probe)->tie == ((const struct thing *)key)->tie;
}

/* While anybody has the word, there is no other. */
static void intern(tarn_thread *self, uint64_t value, bool drop) {
  struct thing *before = get(&said[value]);
  TARN_FRAME(self, (void *)&before);
  struct thing probe = {.tie = 1 + value};
  struct thing *word = tarn_weak_table_get(self, words, &probe, NULL);
  if (!word)
    word = tarn_weak_table_put(self, words, make(self, 1 + value), NULL, false);
  STRESS_CHECK(word);
  check_thing(word);
  STRESS_EQUAL(word->tie, 1 + value);
  STRESS_CHECK(!before || before == word);
  put(&said[value], drop ? NULL : word);
}

struct own {
  tarn_thread *self;
  struct stress_random random;
  struct card *cards[KEPT];
  struct thing *kept[KEPT];   /* the keys of these cards */
  struct thing *keyed[KEPT];  /* keys of by_key */
  struct thing *valued[KEPT]; /* values of by_value; `next` is the key */
};

static void change_tables(struct own *own, unsigned at) {
  tarn_thread *self = own->self;
  if (own->keyed[at] && stress_below(&own->random, 2))
    STRESS_CHECK(tarn_weak_table_remove(self, by_key, own->keyed[at]));
  own->keyed[at] = make(self, 0);
  struct thing *value = make(self, own->keyed[at]->number);
  STRESS_CHECK(tarn_weak_table_put(self, by_key, own->keyed[at], value, false) == own->keyed[at]);
  struct thing *key = make(self, 1);
  TARN_FRAME(self, (void *)&key);
  own->valued[at] = make(self, key->number);
  tarn_store_new(self, own->valued[at], &own->valued[at]->next, key);
  STRESS_CHECK(tarn_weak_table_put(self, by_value, key, own->valued[at], false) == key);
}

static void check_tables(struct own *own, unsigned at) {
  void *value = NULL;
  if (!own->keyed[at])
    return;
  STRESS_CHECK(tarn_weak_table_get(own->self, by_key, own->keyed[at], &value) == own->keyed[at]);
  check_thing(value);
  STRESS_EQUAL(((struct thing *)value)->tie, own->keyed[at]->number);
  struct thing *key = own->valued[at]->next;
  check_thing(key);
  STRESS_CHECK(tarn_weak_table_get(own->self, by_value, key, &value) == key);
  STRESS_CHECK(value == own->valued[at]);
  count(&table_hits);
}

/* Others put and remove meanwhile: each entry is whole, and one's own are all there.  No safepoint
 * comes before the end, so what was copied lives. */
static void check_copy(const struct own *own) {
  enum { MOST = 4096 };
  static _Thread_local void *copied[MOST], *values[MOST];
  size_t got = tarn_weak_table_entries(own->self, by_key, copied, values, MOST);
  unsigned mine = 0, found = 0;
  for (size_t i = 0; i < got; i++) {
    check_thing(copied[i]);
    check_thing(values[i]);
    STRESS_EQUAL(((struct thing *)values[i])->tie, ((struct thing *)copied[i])->number);
  }
  for (unsigned at = 0; at < KEPT && got < MOST; at++) {
    mine += own->keyed[at] != NULL;
    for (size_t i = 0; i < got && own->keyed[at]; i++)
      found += copied[i] == own->keyed[at];
  }
  STRESS_CHECK(got == MOST || found == mine);
}

/* A table of one's own: what is kept stays in it, and the rest goes. */
static void short_table(struct own *own) {
  tarn_weak_table_spec spec = TARN_WEAK_TABLE_SPEC_INIT;
  tarn_weak_table *table;
  uint64_t here = 0;
  spec.kind = TARN_WEAK_SET;
  STRESS_EQUAL(tarn_weak_table_create(world, &spec, &table), TARN_OK);
  for (unsigned i = 0; i < KEPT; i++)
    if (own->keyed[i]) {
      here++;
      STRESS_CHECK(tarn_weak_table_put(own->self, table, own->keyed[i], NULL, false));
      STRESS_CHECK(tarn_weak_table_put(own->self, table, make(own->self, 2), NULL, false));
      tarn_safepoint(own->self);
    }
  size_t entries = tarn_weak_table_count(table);
  STRESS_CHECK(entries >= here && entries <= 2 * here);
  if (entries < 2 * here)
    count(&table_gone);
  for (unsigned i = 0; i < KEPT; i++)
    if (own->keyed[i])
      STRESS_CHECK(tarn_weak_table_get(own->self, table, own->keyed[i], NULL) == own->keyed[i]);
  tarn_weak_table_destroy(table);
}

/* --- finalizers ------------------------------------------------------------------------------ */

enum { ALLOCATES, SAVES, AGAIN, NESTS, DETACHES, WAYS };

static void finalize(tarn_thread *self, void *object, void *data) {
  struct thing *thing = object;
  tarn_thread *same = NULL;
  check_thing(thing);
  STRESS_CHECK(thing->lives > 0);
  thing->lives--;
  count(&ran);
  const struct card *card = get(&watched[thing->number % WATCHED]);
  if (card && card->number == thing->number)
    STRESS_CHECK(!tarn_weak_get(self, card->weak)); /* cleared before, and for good */
  void **place = &saved[thing->number % SAVED];
  switch ((uintptr_t)data) {
  case ALLOCATES:
    (void)make(self, 3);
    STRESS_CHECK(tarn_alloc_atomic(self, 100 + thing->number % 40000));
    break;
  case AGAIN:
    if (thing->lives > 0) {
      STRESS_EQUAL(tarn_finalizer_add(self, object, finalize, data), TARN_OK);
      count(&again);
    }
    put(place, object);
    break;
  case SAVES:
    put(place, object);
    count(&saves);
    break;
  case NESTS:
    STRESS_EQUAL(tarn_thread_attach(world, &same), TARN_OK);
    STRESS_CHECK(same == self);
    STRESS_EQUAL(tarn_thread_detach(self), TARN_OK);
    break;
  default: /* the library's frame is open */
    STRESS_EQUAL(tarn_thread_detach(self), TARN_EUNBALANCED);
    count(&detached);
    return;
  }
  check_thing(thing); /* it is in a frame of the library */
}

static void add_final(struct own *own) {
  struct thing *thing = make(own->self, 4);
  TARN_FRAME(own->self, (void *)&thing);
  uintptr_t way = (uintptr_t)stress_below(&own->random, 4 * WAYS) % (4 * WAYS - 3);
  way = way < 4 * (WAYS - 1) ? way % (WAYS - 1) : DETACHES; /* seldom */
  thing->lives = way == AGAIN ? 1 + stress_below(&own->random, 3) : 1;
  for (uint64_t n = way == AGAIN ? thing->lives : 1; n > 0; n--)
    count(&added);
  STRESS_EQUAL(tarn_finalizer_add(own->self, thing, finalize, (void *)way), TARN_OK);
  put(&watched[thing->number % WATCHED], make_card(own->self, thing, 1));
}

/* No frame may be open here. */
static void run_finalizers(struct own *own, size_t most) {
  (void)tarn_finalizers_run(own->self, most);
  if (!tarn_thread_self(world))
    own->self = stress_attach(world);
}

/* --- threads --------------------------------------------------------------------------------- */

static void keep(struct own *own, unsigned at) {
  struct card *card = get(&board[stress_below(&own->random, CARDS)]);
  struct thing *key = card ? read_card(own->self, card) : NULL;
  own->cards[at] = key ? card : NULL;
  own->kept[at] = key;
}

static void look_at_kept(struct own *own, unsigned at) {
  if (!own->kept[at])
    return;
  STRESS_CHECK(read_card(own->self, own->cards[at]) == own->kept[at]);
  count(&kept_whole);
}

static void act(struct own *own) {
  unsigned at = (unsigned)stress_below(&own->random, KEPT);
  struct card *card = get(&board[stress_below(&own->random, CARDS)]);
  switch (stress_below(&own->random, 12)) {
  case 0:
    hang_card(own->self, &own->random);
    break;
  case 1:
    if (card)
      replace_value(own->self, card);
    break;
  case 2:
    rove(own->self, &own->random, own->kept[at]);
    break;
  case 3:
    intern(own->self, stress_below(&own->random, WORDS), stress_below(&own->random, 3) == 0);
    break;
  case 4:
    change_tables(own, at);
    break;
  case 5:
    add_final(own);
    break;
  case 6:
    keep(own, at);
    break;
  case 7:
    run_finalizers(own, (size_t)stress_below(&own->random, 10));
    break;
  case 8:
    if (stress_below(&own->random, 20) == 0)
      short_table(own);
    break;
  default:
    if (card)
      (void)read_card(own->self, card);
    look_at_kept(own, at);
    check_tables(own, at);
    if (stress_below(&own->random, 16) == 0)
      check_copy(own);
    tarn_safepoint(own->self);
  }
}

static void visit(tarn_visitor *visitor, void *data) {
  const struct own *own = data;
  tarn_visit_range(visitor, own->cards, KEPT);
  tarn_visit_range(visitor, own->kept, KEPT);
  tarn_visit_range(visitor, own->keyed, KEPT);
  tarn_visit_range(visitor, own->valued, KEPT);
}

static void work(void *data, unsigned number) {
  struct own *own = calloc(1, sizeof *own);
  (void)data;
  STRESS_CHECK(own);
  own->random = stress_random_of(number);
  own->self = stress_attach(world);
  STRESS_EQUAL(tarn_root_provider_add(world, visit, own), TARN_OK);
  for (uint64_t round = 0; stress_on(&round);) {
    for (unsigned i = 0; i < 100; i++)
      act(own);
    if (stress_below(&own->random, 12) == 0)
      STRESS_EQUAL(tarn_collect(own->self, (int)stress_below(&own->random, 3)), TARN_OK);
    if (stress_below(&own->random, 300) == 0)
      stress_verify(own->self);
  }
  STRESS_EQUAL(tarn_root_provider_remove(world, visit, own), TARN_OK);
  STRESS_EQUAL(tarn_thread_detach(own->self), TARN_OK);
  free(own);
}

/* --- start and end --------------------------------------------------------------------------- */

static void add_roots(void **roots, unsigned roots_count) {
  for (unsigned i = 0; i < roots_count; i++)
    STRESS_EQUAL(tarn_root_add(world, &roots[i]), TARN_OK);
}

static tarn_weak_table *make_table(tarn_weak_kind kind) {
  tarn_weak_table_spec spec = TARN_WEAK_TABLE_SPEC_INIT;
  tarn_weak_table *table;
  spec.kind = kind;
  spec.hash = kind == TARN_WEAK_SET ? hash_word : NULL;
  spec.equal = kind == TARN_WEAK_SET ? equal_word : NULL;
  STRESS_EQUAL(tarn_weak_table_create(world, &spec, &table), TARN_OK);
  return table;
}

static void start(void) {
  states = calloc(NUMBERS, 1);
  STRESS_CHECK(states);
  world = stress.seed / 2 % 2 ? stress_world("min-heap=1M")
                              : stress_barrier_world("min-heap=1M,young=256K,young-share=0");
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = "thing";
  spec.size = sizeof(struct thing);
  spec.slot_bits = 1 << 1;
  spec.free = on_free;
  thing_type = tarn_type_create(world, &spec, NULL);
  tarn_type_spec card = TARN_TYPE_SPEC_INIT;
  card.name = "card";
  card.size = sizeof(struct card);
  card.slot_bits = 3 << 1;
  card_type = tarn_type_create(world, &card, NULL);
  STRESS_CHECK(thing_type && card_type);
  words = make_table(TARN_WEAK_SET);
  by_key = make_table(TARN_WEAK_KEYS);
  by_value = make_table(TARN_WEAK_VALUES);
  add_roots(board, CARDS);
  add_roots(keys, CARDS);
  add_roots(rovers, ROVERS);
  add_roots(said, WORDS);
  add_roots(watched, WATCHED);
  add_roots(saved, SAVED);
  tarn_thread *self = stress_attach(world);
  for (unsigned i = 0; i < ROVERS; i++)
    rovers[i] = tarn_weak_new(self, NULL);
  STRESS_EQUAL(tarn_thread_detach(self), TARN_OK);
}

/* What threads kept is gone: entries of tables are as many as there are words that somebody has. */
static void check_counts(struct own *own) {
  STRESS_EQUAL(tarn_collect(own->self, TARN_GENERATION_FULL), TARN_OK);
  uint64_t have = 0;
  for (unsigned i = 0; i < WORDS; i++)
    have += said[i] != NULL;
  STRESS_EQUAL(tarn_weak_table_count(words), have);
  STRESS_EQUAL(tarn_weak_table_count(by_key), 0);
  STRESS_EQUAL(tarn_weak_table_count(by_value), 0);
  for (unsigned i = 0; i < CARDS; i++) {
    const struct thing *key = board[i] ? read_card(own->self, board[i]) : NULL;
    STRESS_CHECK(!key || key == keys[i]);
  }
}

static void finish(void) {
  struct own own = {.self = stress_attach(world)};
  check_counts(&own);
  memset(board, 0, sizeof board);
  memset(keys, 0, sizeof keys);
  memset(said, 0, sizeof said);
  memset(watched, 0, sizeof watched);
  for (unsigned i = 0; i < 8; i++) { /* three lives, and what each saved */
    memset(saved, 0, sizeof saved);
    STRESS_EQUAL(tarn_collect(own.self, TARN_GENERATION_FULL), TARN_OK);
    while (tarn_finalizers_due(world) > 0)
      run_finalizers(&own, 0);
  }
  memset(saved, 0, sizeof saved);
  STRESS_EQUAL(tarn_collect(own.self, TARN_GENERATION_FULL), TARN_OK);
  (void)tarn_release_pending(own.self, 0);
  stress_verify(own.self);
  STRESS_EQUAL(atomic_load(&freed), atomic_load(&made));
  STRESS_EQUAL(atomic_load(&ran), atomic_load(&added));
  STRESS_EQUAL(stress_stats(world).finalizers_run, atomic_load(&ran));
  STRESS_EQUAL(tarn_weak_table_count(words), 0);
  for (unsigned i = 0; i < ROVERS; i++)
    STRESS_CHECK(!tarn_weak_get(own.self, rovers[i]));
  STRESS_EQUAL(tarn_thread_detach(own.self), TARN_OK);
}

static unsigned long long figure(_Atomic uint64_t *what) {
  return (unsigned long long)atomic_load(what);
}

int main(int arguments_count, char **arguments) {
  stress_begin(arguments_count, arguments,
               "weak references, ephemerons and tables that show the dead or forget the living");
  start();
  stress_run(world, stress.threads, work, NULL);
  finish();
  fprintf(stderr,
          "  cards: %llu times whole, %llu gone, %llu kept; tables: %llu hits, %llu with entries"
          " gone; %llu finalizers, %llu saves, %llu added again, %llu detached\n",
          figure(&seen_whole), figure(&seen_gone), figure(&kept_whole), figure(&table_hits),
          figure(&table_gone), figure(&ran), figure(&saves), figure(&again), figure(&detached));
  /* Each of them happened. */
  STRESS_CHECK(figure(&seen_whole) && figure(&seen_gone) && figure(&kept_whole));
  STRESS_CHECK(figure(&table_hits) && figure(&saves) && figure(&again) && figure(&detached));
  STRESS_CHECK(stress_stats(world).weak_cleared > 0);
  STRESS_EQUAL(tarn_world_destroy(world), TARN_OK);
  free((void *)states);
  return stress_end();
}
