/* SPDX-License-Identifier: MIT */
/*
 * stress_cycles hunts what collections of cycles do wrong while threads change counts: objects that
 * are freed too early, twice or never, functions that run twice, counts that are off by one.
 *
 * Threads build rings, trees whose children know their parents, random graphs and large arrays of
 * objects of every sort of type, change references in objects that all of them know, pass them to
 * each other, and give them up; finalizers save their objects; collections of all generations are
 * asked for and come by themselves, in the middle of functions too.  Threads are blocked, hold,
 * come and go, and fork.  An object has a number; what stands under it in a table outside of the
 * heap says whether it lives, so whoever meets a dead one fails.  In the end each has died once.
 *
 * How the program keeps its word that no count is too low at a safepoint, with no lock anywhere:
 *
 *   held words   The words of C memory that a thread has (its `held`, locals) are references, one
 *                count each.  Only the thread changes them.
 *   new objects  have one reference, that of who makes them, before the next safepoint.
 *   shared words that several threads change (mailboxes, what finalizers saved, slots of objects)
 *                change by one atomic exchange, which takes the new reference's count in with it,
 *                and the old one's out.  There is no safepoint within, so a stop finds either.
 *   a reader     may not add a reference to what a shared word names, for the next thread may take
 *                that out and give it up in between.  So it takes the word out, adds one to what
 *                it has now, and puts it back; what was put there meanwhile it gives up.
 *   dying        An object that nobody refers to is met by nobody but its functions, and by
 *                collections, which must leave it alone.  What a function of it refers to may be
 *                known to others, so they use the words in the same way.
 *
 *   weak handles give such a reference or none, whatever happens to the object meanwhile.
 *
 * What nobody else knows has counts that the thread can tell: rings of its own, and "anchors" to
 * which only garbage refers: one reference is left of each when all the garbage is gone.
 *
 * The program leads several lives, each with a world of its own; the seed chooses the options, and
 * whether types have functions for the death of their objects, without which all garbage is freed
 * at once.
 */
#include "collect/collector.h"
#include "common.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef TARN_SANITIZE_ASAN
#define NO_THREADS ",purger=0,markers=1"
#else
#define NO_THREADS ""
#endif

#define NUMBERS (1u << 19)
#define OWN 48u
#define MAIL 64u
#define SAVED 16u
#define RING 12u
#define GRAPH 24u
#define BOX 6u
#define WATCHED 6u
#define SHORT 150u /* milliseconds of a short life */
#define LIVES_LEAST 6u

/* What a `free` function is at work on is dying; if a fork comes, it may never end in the child. */
enum { UNBORN = 0, ALIVE, FINALIZED, DYING, DEAD };
#define STATES 8u

/* What all have in common; slots follow, or a pointer to them, or a count and elements. */
struct object {
  const tarn_type *type;
  uint64_t number, check;
  uint64_t refs; /* or 4 bytes, or two halves */
  union {
    struct object *slots[3];
    struct object **box; /* a data block, or memory of the C library */
    size_t count;
  };
};
struct array { /* the same of an array */
  const tarn_type *type;
  uint64_t number, check, refs;
  size_t count;
  struct object *elements[];
};

enum kind {
  NODE,
  PLAIN, /* nothing is known of its death */
  BIG,
  LARGE,
  FINAL, /* has a finalizer */
  CLEAR,
  BOTH,
  OWN_WAY, /* the program gives up its references, by recursion */
  ARRAY,
  PLAIN_ARRAY,
  DATA,
  SPLIT, /* its count is of two halves, and told by functions, as its references are */
  LEAF,
  PLAIN_LEAF,
  KINDS
};
#define NO_KIND KINDS

static tarn_world *world;
static const tarn_type *types[KINDS];
/* STATES times the number that stands for the place now, and what is known of it. */
static _Atomic uint64_t *states;
static _Atomic uint64_t numbers;
static struct object *mail[MAIL], *saved[SAVED]; /* atomic; some are known roots */
static struct life {
  unsigned number, threads;
  bool functions, verify, limited;
} life;
static _Atomic bool saves; /* finalizers save their objects */
static _Atomic bool ends;  /* the world does: nothing else is to run */
static _Atomic uint64_t born, died, finalizers, savings, forks, refused, watched, next_fork;

/* A weak handle, and how often its function was called. */
struct watch {
  tarn_weak_handle *handle;
  unsigned told; /* atomic */
};

struct own {
  tarn_thread *self;
  struct stress_random random;
  struct watch watches[WATCHED];
  struct object *held[OWN];
  struct object *ring; /* of `ring_size` objects that nobody else knows */
  unsigned ring_size;
  struct object *anchors[3];
};

/* --- numbers and states ---------------------------------------------------------------------- */

static enum kind kind_of(const struct object *object) {
  return (enum kind)(uintptr_t)tarn_type_user(object->type);
}

static bool is_told(enum kind kind) {
  return kind != PLAIN && kind != PLAIN_ARRAY && kind != PLAIN_LEAF;
}
static bool is_finalized(enum kind kind) {
  return life.functions && (kind == FINAL || kind == BOTH);
}

static uint64_t check_of(uint64_t number) { return (number + 77) * 0x9e3779b97f4a7c15u; }

static _Atomic uint64_t *state_of(const struct object *object) {
  return &states[object->number % NUMBERS];
}

static unsigned check_object(const struct object *object) {
  const tarn_type *type = object->type;
  STRESS_CHECK(type && types[kind_of(object)] == type);
  STRESS_EQUAL(object->check, check_of(object->number));
  if (!is_told(kind_of(object)))
    return ALIVE;
  uint64_t state = atomic_load(state_of(object));
  STRESS_EQUAL(state / STATES, object->number);
  STRESS_CHECK(state % STATES == ALIVE || state % STATES == FINALIZED);
  return state % STATES;
}

static void change_state(const struct object *object, unsigned from, unsigned to) {
  uint64_t state = object->number * STATES + from;
  if (!atomic_compare_exchange_strong(state_of(object), &state, object->number * STATES + to))
    stress_fail(__FILE__, __LINE__, "object %llu of kind %u is in state %u of %llu, not %u",
                (unsigned long long)object->number, kind_of(object), (unsigned)(state % STATES),
                (unsigned long long)state / STATES, from);
}

/* A number whose place in the table is free. */
static uint64_t take_number(void) {
  for (uint32_t tries = 0; tries < 16 * NUMBERS; tries++) {
    uint64_t number = atomic_fetch_add_explicit(&numbers, 1, memory_order_relaxed);
    uint64_t state = atomic_load(&states[number % NUMBERS]);
    if ((state % STATES == UNBORN || state % STATES == DEAD) &&
        atomic_compare_exchange_strong(&states[number % NUMBERS], &state, number * STATES + ALIVE))
      return number;
  }
  stress_fail(__FILE__, __LINE__, "all numbers are alive");
}

/* --- counts ---------------------------------------------------------------------------------- */

static size_t sum_of(uint64_t halves) { return (uint32_t)((uint32_t)halves + (halves >> 32)); }

static size_t split_refs(const void *object) {
  return sum_of(__atomic_load_n(&((const struct object *)object)->refs, __ATOMIC_RELAXED));
}

/* Which half is by chance, so that one of them may be below zero. */
static uint64_t one_in_a_half(const void *object) {
  static _Atomic uint32_t turn;
  (void)object;
  return atomic_fetch_add_explicit(&turn, 1, memory_order_relaxed) & 1 ? (uint64_t)1 << 32 : 1;
}

static void split_ref(tarn_thread *self, void *data) {
  struct object *object = data;
  uint64_t one = one_in_a_half(object), now = __atomic_load_n(&object->refs, __ATOMIC_RELAXED), new;
  (void)self;
  do /* no carry from the lower half into the other */
    new = one == 1 ? (now & ~(uint64_t)UINT32_MAX) | (uint32_t)(now + 1) : now + one;
  while (!__atomic_compare_exchange_n(&object->refs, &now, new, true, __ATOMIC_RELAXED,
                                      __ATOMIC_RELAXED));
}

static void give_up(tarn_thread *self, struct object *object);

static void split_unref(tarn_thread *self, void *data) {
  struct object *object = data;
  uint64_t one = one_in_a_half(object), now = __atomic_load_n(&object->refs, __ATOMIC_RELAXED), new;
  do
    new = one == 1 ? (now & ~(uint64_t)UINT32_MAX) | (uint32_t)(now - 1) : now - one;
  while (!__atomic_compare_exchange_n(&object->refs, &now, new, true, __ATOMIC_ACQ_REL,
                                      __ATOMIC_RELAXED));
  if (sum_of(new) != 0)
    return;
  for (unsigned i = 0; object->box && i < BOX; i++)
    give_up(self, __atomic_exchange_n(&object->box[i], NULL, __ATOMIC_ACQ_REL));
  tarn_free(self, object);
}

static void own_unref(tarn_thread *self, void *data) {
  struct object *object = data;
  if (__atomic_fetch_sub(&object->refs, 1, __ATOMIC_ACQ_REL) != 1)
    return;
  struct object *first = object->slots[0];
  __atomic_store_n(&object->slots[0], NULL, __ATOMIC_RELAXED);
  give_up(self, first);
  give_up(self, object->slots[1]); /* these words stay until the memory is free */
  give_up(self, object->slots[2]);
  tarn_free(self, object);
}

static void give_up(tarn_thread *self, struct object *object) {
  if (object)
    (void)check_object(object);
  if (object && kind_of(object) == OWN_WAY)
    own_unref(self, object);
  else
    tarn_unref(self, object);
}

static size_t refs_of(const struct object *object) {
  if (kind_of(object) == SPLIT)
    return split_refs(object);
  if (kind_of(object) == LEAF || kind_of(object) == PLAIN_LEAF)
    return __atomic_load_n((const uint32_t *)(const void *)&object->refs, __ATOMIC_RELAXED);
  return __atomic_load_n(&object->refs, __ATOMIC_RELAXED);
}

/* Of an object of which the caller has a reference. */
static struct object *share(tarn_thread *self, struct object *object) {
  if (object) {
    (void)check_object(object);
    tarn_ref(self, object);
  }
  return object;
}

/* --- words ----------------------------------------------------------------------------------- */

static struct object **slots_of(struct object *object, size_t *count) {
  switch (kind_of(object)) {
  case ARRAY:
  case PLAIN_ARRAY:
    *count = ((struct array *)(void *)object)->count;
    return ((struct array *)(void *)object)->elements;
  case DATA:
  case SPLIT:
    *count = object->box ? BOX : 0;
    return object->box;
  case LEAF:
  case PLAIN_LEAF:
    *count = 0;
    return NULL;
  default:
    *count = 3;
    return object->slots;
  }
}

/* Puts a reference of the caller's in; the caller has the one that comes out. */
static struct object *exchange(struct object **word, struct object *object) {
  return __atomic_exchange_n(word, object, __ATOMIC_ACQ_REL);
}

static void put(tarn_thread *self, struct object **word, struct object *object) {
  give_up(self, exchange(word, object));
}

/* A reference of the caller's to what a shared word names. */
static struct object *copy(tarn_thread *self, struct object **word) {
  if (!__atomic_load_n(word, __ATOMIC_RELAXED))
    return NULL;
  struct object *object = exchange(word, NULL);
  if (!object)
    return NULL;
  struct object *other = exchange(word, share(self, object));
  if (other)
    give_up(self, other);
  return object;
}

/* --- functions of types ---------------------------------------------------------------------- */

static void make_some_trouble(tarn_thread *self, uint64_t number) {
  if (number % 16 == 0)
    tarn_free(self, tarn_alloc_atomic(self, 16 + number % 3000));
  if (number % 128 == 0)
    tarn_safepoint(self);
  if (number % 1024 == 0) {
    tarn_block_begin(self);
    (void)usleep(200);
    tarn_block_end(self);
  }
}

static void on_free(tarn_world *of, void *data) {
  struct object *object = data;
  tarn_thread *self = tarn_thread_self(of);
  enum kind kind = kind_of(object);
  STRESS_CHECK(of == world);
  if (atomic_load(&ends) && atomic_load(state_of(object)) == object->number * STATES + DYING)
    return; /* as a fork found it */
  bool was_finalized = check_object(object) == FINALIZED;
  STRESS_CHECK(atomic_load(&ends) || was_finalized == is_finalized(kind));
  change_state(object, was_finalized ? FINALIZED : ALIVE, DYING);
  if (!atomic_load(&ends) && self)
    make_some_trouble(self, object->number);
  if (kind == SPLIT) {
    free(object->box);
    object->box = NULL;
  }
  change_state(object, DYING, DEAD);
  atomic_fetch_add_explicit(&died, 1, memory_order_relaxed);
}

/* What finalizers saved, and nobody took since, is no garbage. */
static void expect_not_saved(const struct object *object) {
  for (unsigned i = 0; i < SAVED; i++)
    STRESS_CHECK(__atomic_load_n(&saved[i], __ATOMIC_RELAXED) != object);
}

static void on_clear(tarn_thread *self, void *data) {
  size_t count;
  expect_not_saved(data);
  STRESS_CHECK((check_object(data) == FINALIZED) == is_finalized(kind_of(data)));
  struct object **slots = slots_of(data, &count);
  for (size_t i = 0; i < count; i++)
    put(self, &slots[i], NULL);
  make_some_trouble(self, ((struct object *)data)->number + 1);
}

/* The object is whole, and so is what it refers to, which others may know by now. */
static void on_finalize(tarn_thread *self, void *data) {
  struct object *object = data;
  size_t count;
  STRESS_EQUAL(check_object(object), ALIVE);
  change_state(object, ALIVE, FINALIZED);
  atomic_fetch_add_explicit(&finalizers, 1, memory_order_relaxed);
  struct object **slots = slots_of(object, &count);
  for (size_t i = 0; i < count; i++)
    give_up(self, copy(self, &slots[i]));
  make_some_trouble(self, object->number + 2);
  if (object->number % 256 == 0)
    STRESS_EQUAL(tarn_collect_cycles(self, (int)(object->number / 256 % 3)), TARN_OK);
  if (!atomic_load(&saves) || object->number % 7)
    return;
  atomic_fetch_add_explicit(&savings, 1, memory_order_relaxed);
  put(self, &saved[object->number % SAVED], share(self, object));
}

static void visit_box(const void *object, tarn_visitor *visitor) {
  struct object *const *box = ((const struct object *)object)->box;
  if (box)
    tarn_visit_range(visitor, box, BOX);
}

/* --- new objects ----------------------------------------------------------------------------- */

static unsigned some(struct own *own, unsigned bound) {
  return (unsigned)stress_below(&own->random, bound);
}

static enum kind some_kind(struct own *own) {
  unsigned way = some(own, 100);
  return way < 3    ? LARGE
         : way < 6  ? BIG
         : way < 14 ? ARRAY
         : way < 18 ? PLAIN_ARRAY
         : way < 26 ? DATA
         : way < 34 ? SPLIT
         : way < 40 ? LEAF
         : way < 43 ? PLAIN_LEAF
         : way < 51 ? OWN_WAY
         : way < 59 ? CLEAR
         : way < 67 ? FINAL
         : way < 75 ? BOTH
         : way < 83 ? PLAIN
                    : NODE;
}

static void *allocate(struct own *own, enum kind kind) {
  if (kind != ARRAY && kind != PLAIN_ARRAY)
    return tarn_new(own->self, types[kind]);
  unsigned size = some(own, 60);
  size_t count = size == 0 ? 9000 : size < 4 ? 700 : 1 + some(own, 20);
  return tarn_new_array(own->self, types[kind], count);
}

/* With one reference, the caller's.  NULL: a limit is in the way; then much is given up. */
static struct object *make(struct own *own, enum kind kind) {
  struct object *object = allocate(own, kind == NO_KIND ? some_kind(own) : kind);
  if (!object) {
    STRESS_CHECK(life.limited);
    atomic_fetch_add_explicit(&refused, 1, memory_order_relaxed);
    for (unsigned i = 0; i < OWN; i++)
      put(own->self, &own->held[i], NULL);
    return NULL;
  }
  STRESS_CHECK(!object->number && !object->check && !object->refs);
  size_t count;
  kind = kind_of(object);
  if (kind == SPLIT) {
    object->box = calloc(BOX, sizeof *object->box);
    STRESS_CHECK(object->box);
  }
  struct object **slots = slots_of(object, &count);
  for (size_t i = 0; i < count; i++)
    STRESS_CHECK(!slots[i]);
  object->refs = 1; /* in the lower half, and in the first four bytes */
  if (is_told(kind)) {
    object->number = take_number();
    atomic_fetch_add_explicit(&born, 1, memory_order_relaxed);
  }
  object->check = check_of(object->number);
  return object;
}

/* A slot near the start, or any. */
static struct object **some_slot(struct own *own, struct object *object) {
  size_t count;
  struct object **slots = slots_of(object, &count);
  if (count == 0)
    return NULL;
  return &slots[some(own, (unsigned)(count > 8 && some(own, 8) ? 8 : count))];
}

/* --- structures ------------------------------------------------------------------------------ */

static struct object **some_held(struct own *own) { return &own->held[some(own, OWN)]; }

static bool has_slots(enum kind kind) { return kind != LEAF && kind != PLAIN_LEAF; }

static struct object *make_inner(struct own *own, enum kind kind) {
  do
    kind = kind == NO_KIND ? some_kind(own) : kind;
  while (!has_slots(kind) && (kind = NO_KIND));
  return make(own, kind);
}

/* First slot to the next, the last one's to the first, of which the caller has a reference. */
static struct object *make_ring(struct own *own, unsigned size, enum kind kind) {
  struct object *first = make_inner(own, kind), *last = first;
  size_t count;
  for (unsigned i = 1; last && i < size; i++) {
    struct object *next = make_inner(own, kind);
    if (!next) {
      give_up(own->self, first);
      return NULL;
    }
    *slots_of(last, &count) = next;
    last = next;
  }
  if (last)
    *slots_of(last, &count) = share(own->self, first);
  return first;
}

static enum kind one_kind(struct own *own) { return some(own, 3) ? NO_KIND : some_kind(own); }

static void drop_ring(struct own *own) {
  struct object *ring = make_ring(own, 1 + some(own, RING), one_kind(own));
  if (!ring)
    return;
  unsigned anchor = some(own, 3);
  if (some(own, 2) && own->anchors[anchor]) {
    struct object **slot = some_slot(own, ring);
    size_t count;
    if (slot && slot != slots_of(ring, &count))
      *slot = share(own->self, own->anchors[anchor]);
  }
  give_up(own->self, ring);
}

/* Children know their parents. */
static struct object *make_tree(struct own *own, struct object *parent, unsigned depth) {
  struct object *object = make(own, NO_KIND);
  size_t count;
  if (!object)
    return NULL;
  struct object **slots = slots_of(object, &count);
  if (count > 0 && parent)
    slots[0] = share(own->self, parent);
  for (size_t i = 1; depth && i < count && i < 4; i++)
    put(own->self, &slots[i], make_tree(own, object, depth - 1));
  return object;
}

/* Nobody else knows them; each refers to others, and to some that all know. */
static void make_graph(struct own *own) {
  struct object *nodes[GRAPH];
  enum kind kind = one_kind(own);
  unsigned size = 2 + some(own, GRAPH - 1);
  for (unsigned i = 0; i < size; i++)
    nodes[i] = make(own, kind);
  for (unsigned i = 0; i < 2 * size; i++) {
    struct object *from = nodes[some(own, size)];
    struct object *to = some(own, 8) ? nodes[some(own, size)] : *some_held(own);
    struct object **slot = from ? some_slot(own, from) : NULL;
    if (slot)
      put(own->self, slot, share(own->self, to));
  }
  put(own->self, some_held(own), nodes[0]);
  for (unsigned i = 1; i < size; i++)
    give_up(own->self, nodes[i]);
}

/* --- what is the thread's alone -------------------------------------------------------------- */

static void check_ring(struct own *own) {
  struct object *object = own->ring;
  size_t count;
  for (unsigned i = 0; i < own->ring_size; i++) {
    (void)check_object(object);
    STRESS_EQUAL(refs_of(object), i == 0 ? 2 : 1);
    object = *slots_of(object, &count);
  }
  STRESS_CHECK(object == own->ring);
}

static void renew_ring(struct own *own) {
  check_ring(own);
  give_up(own->self, own->ring);
  own->ring_size = 0;
  own->ring = make_ring(own, 1 + some(own, RING), one_kind(own));
  size_t count;
  if (own->ring) /* its size, for that was by chance */
    for (struct object *object = own->ring; own->ring_size == 0 || object != own->ring;
         object = *slots_of(object, &count))
      own->ring_size++;
}

static void make_anchors(struct own *own) {
  own->anchors[0] = make(own, NODE);
  own->anchors[1] = make(own, LEAF);
  own->anchors[2] = make(own, SPLIT);
}

/* --- what all know --------------------------------------------------------------------------- */

static void link_objects(struct own *own) {
  struct object *from = *some_held(own), *to = *some_held(own);
  struct object **slot = from ? some_slot(own, from) : NULL;
  if (slot)
    put(own->self, slot, share(own->self, some(own, 4) ? to : NULL));
}

/* The one that comes out takes the place of the one that went in. */
static void swap(struct own *own) {
  struct object *from = *some_held(own);
  struct object **slot = from ? some_slot(own, from) : NULL, **held = some_held(own);
  if (slot && *held != from)
    *held = exchange(slot, *held);
}

static void walk(struct own *own) {
  struct object *object = share(own->self, *some_held(own));
  for (unsigned i = some(own, 10); object && i > 0; i--) {
    struct object **slot = some_slot(own, object);
    struct object *next = slot ? copy(own->self, slot) : NULL;
    if (!next)
      break;
    give_up(own->self, object);
    object = next;
  }
  put(own->self, some_held(own), object);
}

static void send(struct own *own) {
  struct object **held = some_held(own),
                **box = some(own, 4) ? &mail[some(own, MAIL)] : &saved[some(own, SAVED)];
  *held = exchange(box, *held);
  if (*held)
    (void)check_object(*held);
}

static void receive(struct own *own) {
  put(own->self, some_held(own), copy(own->self, &mail[some(own, MAIL)]));
}

static void forget_some(struct own *own) {
  for (unsigned i = 0; i < OWN / 3; i++)
    put(own->self, some_held(own), NULL);
}

/* --- weak handles ----------------------------------------------------------------------------- */

static bool is_weak(enum kind kind) {
  return kind == NODE || kind == PLAIN || kind == FINAL || kind == LARGE || kind == ARRAY;
}

static void on_gone(tarn_thread *self, tarn_weak_handle *handle, void *data) {
  struct watch *watch = data;
  STRESS_CHECK(self && handle);
  STRESS_EQUAL(__atomic_fetch_add(&watch->told, 1, __ATOMIC_RELAXED), 0);
}

static void watch_object(struct own *own, struct watch *watch, struct object *object) {
  if (!object || !is_weak(kind_of(object)))
    return;
  __atomic_store_n(&watch->told, 0, __ATOMIC_RELAXED);
  tarn_status status = tarn_weak_handle_new(own->self, object, on_gone, watch, &watch->handle);
  if (status != TARN_OK)
    STRESS_CHECK(life.limited && status == TARN_ENOMEM);
}

/* What it leads to lives; when it leads to nothing it is given back, with its function underway
 * perhaps: then it waits, for the function must not meet the next handle's count. */
static void look_after(struct own *own) {
  struct watch *watch = &own->watches[some(own, WATCHED)];
  if (!watch->handle) {
    watch_object(own, watch, *some_held(own));
    return;
  }
  struct object *object = tarn_weak_handle_get(own->self, watch->handle);
  if (object) {
    (void)check_object(object);
    put(own->self, some_held(own), object);
    atomic_fetch_add_explicit(&watched, 1, memory_order_relaxed);
  } else if (__atomic_load_n(&watch->told, __ATOMIC_RELAXED)) {
    tarn_weak_handle_free(own->self, watch->handle);
    watch->handle = NULL;
  }
}

/* A ring that only a handle leads to: garbage from the start, unless somebody looks. */
static void watch_ring(struct own *own) {
  struct watch *watch = &own->watches[some(own, WATCHED)];
  struct object *ring = watch->handle ? NULL : make_ring(own, 1 + some(own, RING), one_kind(own));
  watch_object(own, watch, ring);
  give_up(own->self, ring);
}

static void stop_watching(struct own *own) {
  for (unsigned i = 0; i < WATCHED; i++)
    tarn_weak_handle_free(own->self, own->watches[i].handle);
}

/* --- the rest -------------------------------------------------------------------------------- */

static void be_away(struct own *own) {
  switch (some(own, 3)) {
  case 0:
    tarn_block_begin(own->self);
    (void)usleep(some(own, 300));
    tarn_block_end(own->self);
    break;
  case 1:
    STRESS_EQUAL(tarn_thread_detach(own->self), TARN_OK);
    own->self = stress_attach(world);
    break;
  default:
    tarn_gc_hold(own->self);
    STRESS_EQUAL(tarn_collect_cycles(own->self, 0), TARN_EHELD);
    drop_ring(own);
    tarn_gc_release(own->self);
  }
}

static void act(struct own *own) {
  unsigned way = some(own, 70);
  if (way < 14)
    drop_ring(own);
  else if (way < 18)
    put(own->self, some_held(own), make_tree(own, NULL, 1 + some(own, 3)));
  else if (way < 22)
    make_graph(own);
  else if (way < 28)
    put(own->self, some_held(own), make(own, NO_KIND));
  else if (way < 36)
    link_objects(own);
  else if (way < 40)
    swap(own);
  else if (way < 48)
    walk(own);
  else if (way < 52)
    send(own);
  else if (way < 55)
    receive(own);
  else if (way < 58)
    forget_some(own);
  else if (way < 60)
    renew_ring(own);
  else if (way < 62)
    tarn_safepoint(own->self);
  else if (way < 66)
    look_after(own);
  else if (way < 68)
    watch_ring(own);
  else if (some(own, 20) == 0)
    be_away(own);
  else if (some(own, life.verify ? 60 : 30) == 0)
    STRESS_EQUAL(tarn_collect_cycles(own->self, (int)(some(own, 3) * some(own, 3) / 2)), TARN_OK);
}

/* --- start and end of a thread's work -------------------------------------------------------- */

static void forget_all(struct own *own) {
  for (unsigned i = 0; i < OWN; i++)
    put(own->self, &own->held[i], NULL);
  check_ring(own);
  put(own->self, &own->ring, NULL);
  stop_watching(own);
}

static void forget_shared(tarn_thread *self) {
  atomic_store(&saves, false);
  for (unsigned i = 0; i < MAIL; i++)
    put(self, &mail[i], NULL);
  for (unsigned i = 0; i < SAVED; i++)
    put(self, &saved[i], NULL);
}

/* --- forks ----------------------------------------------------------------------------------- */

static void expect_all_dead(bool in_child) {
  for (uint32_t i = 0; i < NUMBERS; i++) {
    uint64_t state = atomic_load_explicit(&states[i], memory_order_relaxed);
    if (state % STATES != DEAD && state % STATES != UNBORN &&
        !(in_child && state % STATES == DYING))
      stress_fail(__FILE__, __LINE__, "object %llu is in state %u at the end",
                  (unsigned long long)state / STATES, (unsigned)(state % STATES));
  }
}

/* The other threads are gone, and what they held is held for good. */
_Noreturn static void be_child(struct own *own) {
  (void)alarm(stress.patience * 2 / 3); /* a child has no watchdog */
  if (some(own, 2))
    stress_verify(own->self);
  for (int generation = 0; generation <= TARN_GENERATION_FULL; generation++) {
    STRESS_EQUAL(tarn_collect_cycles(own->self, generation), TARN_OK);
    for (unsigned i = 0; i < 60; i++)
      act(own);
    check_ring(own);
  }
  forget_all(own);
  forget_shared(own->self);
  STRESS_EQUAL(tarn_collect_cycles(own->self, TARN_GENERATION_FULL), TARN_OK);
  stress_verify(own->self);
  STRESS_EQUAL(tarn_thread_detach(own->self), TARN_OK);
  atomic_store(&ends, true);
  STRESS_EQUAL(tarn_world_destroy(world), TARN_OK);
  expect_all_dead(true);
  _exit(0);
}

static void fork_once(struct own *own) {
  pid_t child = fork(), ended;
  int status = 0;
  if (child == 0)
    be_child(own);
  STRESS_CHECK(child > 0);
  tarn_block_begin(own->self);
  do
    ended = waitpid(child, &status, 0);
  while (ended < 0 && errno == EINTR);
  tarn_block_end(own->self);
  if (ended != child || status != 0)
    stress_fail(__FILE__, __LINE__, "the child's status is %#x", (unsigned)status);
  atomic_fetch_add_explicit(&forks, 1, memory_order_relaxed);
}

/* A fork takes a fifth of the time at most, however long one takes, so that the rest is done, too.
 */
static bool is_time_to_fork(void) {
  uint64_t next = atomic_load(&next_fork);
  return (stress_time_left() || atomic_load(&forks) == 0) && tarn_os_now() >= next &&
         atomic_compare_exchange_strong(&next_fork, &next, UINT64_MAX);
}

static void fork_at_times(struct own *own) {
  uint64_t began = tarn_os_now();
  if (!is_time_to_fork())
    return;
  fork_once(own);
  uint64_t now = tarn_os_now(), took = now - began;
  atomic_store(&next_fork, now + (4 * took > 150000000 ? 4 * took : 150000000));
}

/* --- lives ----------------------------------------------------------------------------------- */

static struct own owns[64];

static void work(void *data, unsigned number) {
  struct own *own = &owns[number];
  (void)data;
  memset(own, 0, sizeof *own);
  own->random = stress_random_of(65 * life.number + number + 1);
  own->self = stress_attach(world);
  make_anchors(own);
  for (uint64_t round = 0; stress_on(&round);) {
    for (unsigned i = 0; i < 50; i++)
      act(own);
    check_ring(own);
    if (some(own, 1000) == 0)
      stress_verify(own->self);
    fork_at_times(own);
  }
  forget_all(own);
  STRESS_EQUAL(tarn_thread_detach(own->self), TARN_OK);
}

static void make_world(void) {
  struct stress_random random = stress_random_of(65 * life.number);
  static const char *const policies[] = {"pools", "pools", "first-pool", "none"};
  tarn_options options = TARN_OPTIONS_INIT;
  char set[256];
  unsigned young = life.verify ? 1024 : 64u << stress_below(&random, 4);
  int length =
      snprintf(set, sizeof set,
               "generations=%s,young=%uK,young-share=0,verify=%u,min-heap=%uM,scan-stack=%u",
               policies[stress_below(&random, 4)], young, life.verify,
               1 + (unsigned)stress_below(&random, 4), (unsigned)stress_below(&random, 3) == 0);
  if (life.limited)
    length += snprintf(set + length, sizeof set - (size_t)length, ",hard-limit=%uM",
                       24 + 2 * life.threads);
  (void)snprintf(set + length, sizeof set - (size_t)length, ",markers=%u%s",
                 1 + (unsigned)stress_below(&random, 2), NO_THREADS);
  fprintf(stderr, "  life %u: %u threads, functions %u, %s\n", life.number, life.threads,
          life.functions, set);
#if defined(TARN_ZEAL) && TARN_ZEAL
  (void)snprintf(set + strlen(set), sizeof set - strlen(set), ",zeal=61");
#endif
  options.set = set;
  options.flags = TARN_OPTIONS_NO_ENVIRONMENT | TARN_OPTIONS_COUNTING;
  STRESS_EQUAL(tarn_world_create(&options, &world), TARN_OK);
  for (unsigned i = 0; i < MAIL && stress_below(&random, MAIL / 2); i++)
    STRESS_EQUAL(tarn_root_add(world, (void **)&mail[i]), TARN_OK);
}

static void make_type(enum kind kind, tarn_type_spec spec) {
  tarn_status status;
  spec.struct_size = sizeof spec;
  spec.user = (void *)(uintptr_t)kind;
  spec.free = is_told(kind) ? on_free : NULL;
  if (kind != SPLIT)
    spec.refs_at = offsetof(struct object, refs);
  if (!life.functions)
    spec.finalize = spec.clear = NULL;
  if (is_weak(kind))
    spec.flags |= TARN_TYPE_WEAK;
  types[kind] = tarn_type_create(world, &spec, &status);
  STRESS_EQUAL(status, TARN_OK);
}

static void make_types(void) {
  tarn_type_spec node = {.name = "node", .size = sizeof(struct object), .slot_bits = 7u << 4};
  tarn_type_spec array = {.name = "array",
                          .size = sizeof(struct array),
                          .element_size = sizeof(void *),
                          .count_word = 4,
                          .flags = TARN_TYPE_ELEMENTS_TRACED};
  tarn_type_spec leaf = {.name = "leaf", .size = sizeof(struct object), .refs_size = 4};
  make_type(NODE, node);
  make_type(PLAIN, node);
  make_type(ARRAY, array);
  make_type(PLAIN_ARRAY, array);
  make_type(LEAF, leaf);
  make_type(PLAIN_LEAF, leaf);
  make_type(DATA, (tarn_type_spec){.name = "data",
                                   .size = sizeof(struct object),
                                   .data_size = BOX * sizeof(void *),
                                   .data_word = 4,
                                   .flags = TARN_TYPE_DATA_TRACED});
  make_type(SPLIT, (tarn_type_spec){.name = "split",
                                    .size = sizeof(struct object),
                                    .trace = visit_box,
                                    .refs = split_refs,
                                    .ref = split_ref,
                                    .unref = split_unref,
                                    .clear = on_clear});
  node.name = "special";
  node.clear = on_clear;
  make_type(CLEAR, node);
  node.finalize = on_finalize;
  make_type(BOTH, node);
  node.clear = NULL;
  make_type(FINAL, node);
  node.finalize = NULL;
  node.unref = own_unref;
  make_type(OWN_WAY, node);
  node.unref = NULL;
  node.size = 720;
  make_type(BIG, node);
  node.size = 40000;
  make_type(LARGE, node);
}

static void start(void) {
  states = calloc(NUMBERS, sizeof *states);
  STRESS_CHECK(states);
  atomic_store(&numbers, 1);
  atomic_store(&born, 0);
  atomic_store(&died, 0);
  atomic_store(&ends, false);
  atomic_store(&saves, true);
  memset(mail, 0, sizeof mail);
  memset(saved, 0, sizeof saved);
  make_world();
  make_types();
}

/* All garbage is gone: anchors have the references of their threads, and nothing else is there. */
static void check_anchors(tarn_thread *self) {
  for (unsigned i = 0; i < life.threads; i++)
    for (unsigned k = 0; k < 3; k++) {
      struct object *anchor = owns[i].anchors[k];
      if (!anchor)
        continue;
      (void)check_object(anchor);
      STRESS_EQUAL(refs_of(anchor), 1);
      give_up(self, anchor);
    }
}

static void finish(void) {
  tarn_thread *self = stress_attach(world);
  forget_shared(self);
  for (unsigned i = 0; i < 3; i++) /* what was saved has no finalizer any more */
    STRESS_EQUAL(tarn_collect_cycles(self, TARN_GENERATION_FULL), TARN_OK);
  check_anchors(self);
  for (unsigned i = 0; i < 2; i++)
    STRESS_EQUAL(tarn_collect_cycles(self, TARN_GENERATION_FULL), TARN_OK);
  stress_verify(self);
  expect_all_dead(false);
  STRESS_EQUAL(atomic_load(&born), atomic_load(&died));
  tarn_stats stats = stress_stats(world);
  STRESS_EQUAL(stats.pools, 0);
  STRESS_EQUAL(stats.large_objects, 0);
  STRESS_CHECK(stats.cycle_garbage > 0);
  STRESS_EQUAL(tarn_thread_detach(self), TARN_OK);
  atomic_store(&ends, true);
  STRESS_EQUAL(tarn_world_destroy(world), TARN_OK);
  free((void *)states);
}

static void lead(unsigned number, unsigned milliseconds) {
  struct stress_random random = stress_random_of(64 + 65 * number);
  unsigned most = stress.threads, half = number / 2 % most;
  life = (struct life){.number = number,
                       .threads = number == 0  ? 1 + (unsigned)stress_below(&random, most)
                                  : number % 2 ? most - half
                                               : 1 + half,
                       .functions = stress_below(&random, 5) > 1,
                       .verify = stress_below(&random, 4) == 0,
                       .limited = stress_below(&random, 3) == 0};
  start();
  stress_run_for(milliseconds);
  stress_run(world, life.threads, work, NULL);
  finish();
}

int main(int count, char **arguments) {
  stress.threads = 16; /* the most of a life */
  stress_begin(
      count, arguments,
      "what collections of cycles free too early, twice or never while threads change counts");
  stress.rounds_least = 2;
  unsigned milliseconds = stress.seconds * 20, lives = 1;
  lead(0, stress.seconds * 1000 / 3);
  for (; lives < LIVES_LEAST || stress_time_left(); lives++)
    lead(lives, milliseconds < SHORT ? SHORT : milliseconds);
  fprintf(stderr,
          "  %u lives, %llu finalizers, %llu saved, %llu watched, %llu forks, %llu refusals\n",
          lives, (unsigned long long)atomic_load(&finalizers),
          (unsigned long long)atomic_load(&savings), (unsigned long long)atomic_load(&watched),
          (unsigned long long)atomic_load(&forks), (unsigned long long)atomic_load(&refused));
  return stress_end();
}
