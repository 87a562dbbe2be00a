/* SPDX-License-Identifier: MIT */
/*
 * fuzz_program: the bytes are a program of API calls, which runs beside a model of it.
 *
 * The model is a table of objects that knows which refers to which.  Operands are found from the
 * roots, as a program finds them, so an object that is no longer reachable is never touched.  After
 * each collection everything that the model reaches must be there with its contents; after a full
 * one everything else must be gone: not met by a walk, its `free` function run once, and weak
 * references to it cleared.  verify=1 has the library check itself, too.
 *
 * The first byte says how: see the MODE_ bits.  With MODE_COUNTING the rest is a program for a
 * world that counts references, in program_counting.c.
 *
 * Two sets of objects matter.  R is what roots reach, and objects whose finalizer is due.  K is
 * what R and all objects with a finalizer reach: a finalizer that is not due yet may become so, and
 * then sees its object whole.  A full collection leaves K and nothing else.
 */
#include "program.h"

enum {
  MODE_COUNTING = 1,
  MODE_FIRST_POOL = 2,   /* the other policy of generations */
  MODE_AUTOMATIC = 4,    /* collections come by themselves as well */
  MODE_NO_BARRIERS = 8,  /* all collections are full ones */
  MODE_SMALL_STACK = 16, /* the mark stack overflows soon */
  MODE_UNVERIFIED = 32,  /* the library does not check itself: three times as many runs; it never */
                         /* does in the build for many runs */
  MODE_APART = 64,       /* blocks lie apart, and cannot be touched when they have died */
};

enum kind { NODE, RESOURCE, ARRAY, TRACED, INSTANCE, LEAF, RAW, WEAK, EPHEMERON, KINDS };

enum { DATA_WORDS = 4, LARGES = 12, FINALIZERS = 64, FRAME_ROOTS = 16, PROVIDED_FROM = 20 };

enum { IN_R = 1, IN_K = 2 };

struct node { /* also of resources, and of traced ones, whose references are inverted */
  const tarn_type *type;
  uintptr_t left, right;
  size_t id;
};
struct array {
  const tarn_type *type;
  size_t count, id;
  void *elements[];
};
struct instance {
  const tarn_type *type;
  void **data;
  size_t id;
};
struct leaf {
  const tarn_type *type;
  size_t id;
  uint8_t bytes[80];
};

struct object {
  void *address;
  size_t size;          /* elements of an array, bytes of a raw block */
  uint16_t refs[SLOTS]; /* of a weak reference: the target; of an ephemeron: key and value */
  uint8_t kind, seen, freed, finalizers;
  bool dead; /* known to be gone */
};

struct finalizer {
  uint16_t id;
  bool due, done, saves;
};

static struct {
  tarn_world *world;
  tarn_thread *self;
  unsigned mode, collections, larges, count, finalizer_count;
  size_t due_next; /* the finalizers before it are due and ran, or were taken away */
  const tarn_type *types[KINDS];
  void *roots[ROOTS];
  uint16_t names[ROOTS];      /* what they hold, for the model */
  uint16_t queue[FINALIZERS]; /* of those that are known to be due */
  unsigned queue_first, queue_end;
  struct object objects[OBJECTS + 1];
  struct finalizer finalizers[FINALIZERS];
  uint16_t stack[OBJECTS + 1];
} run;

static struct object *object_of(unsigned id) { return &run.objects[id]; }
static void *address_of(unsigned id) { return id ? object_of(id)->address : NULL; }
static bool is_large_world(void) { return run.count >= OBJECTS; }

/* --- the model: what is reached -------------------------------------------------------------- */

FUZZ_PLAIN static unsigned model_slots(const struct object *object) {
  switch (object->kind) {
  case NODE:
  case RESOURCE:
  case TRACED:
    return 2;
  case INSTANCE:
    return DATA_WORDS;
  case ARRAY:
    return object->size < SLOTS ? (unsigned)object->size : SLOTS;
  default:
    return 0;
  }
}

static void push(unsigned id, uint8_t bit, unsigned *depth) {
  if (id == NOBODY || (object_of(id)->seen & bit))
    return;
  FUZZ_CHECK(!object_of(id)->dead && !object_of(id)->freed);
  object_of(id)->seen |= bit;
  run.stack[(*depth)++] = (uint16_t)id;
}

static void drain(uint8_t bit, unsigned *depth) {
  while (*depth > 0) {
    const struct object *object = object_of(run.stack[--*depth]);
    for (unsigned i = 0; i < model_slots(object); i++)
      push(object->refs[i], bit, depth);
  }
}

/* Until no ephemeron has a key that is seen, and a value that is not. */
static void drain_all(uint8_t bit, unsigned *depth) {
  do {
    drain(bit, depth);
    for (unsigned id = 1; id <= run.count; id++) {
      const struct object *object = object_of(id);
      if (object->kind == EPHEMERON && (object->seen & bit) &&
          (object_of(object->refs[0])->seen & bit))
        push(object->refs[1], bit, depth);
    }
  } while (*depth > 0);
}

static void reach(void) {
  unsigned depth = 0;
  for (unsigned id = 0; id <= run.count; id++)
    object_of(id)->seen = 0;
  for (unsigned i = 0; i < ROOTS; i++)
    push(run.names[i], IN_R, &depth);
  for (unsigned i = run.queue_first; i < run.queue_end; i++)
    push(run.finalizers[run.queue[i]].id, IN_R, &depth);
  drain_all(IN_R, &depth);
  for (unsigned id = 1; id <= run.count; id++)
    if ((object_of(id)->seen & IN_R) || object_of(id)->finalizers)
      push(id, IN_K, &depth);
  drain_all(IN_K, &depth);
}

/* References to an object from what may still be there, weak ones among them. */
FUZZ_PLAIN static unsigned references_to(unsigned wanted) {
  unsigned found = 0;
  for (unsigned i = 0; i < ROOTS; i++)
    found += run.names[i] == wanted;
  for (unsigned id = 1; id <= run.count; id++)
    for (unsigned i = 0; i < SLOTS && !object_of(id)->dead; i++)
      found += object_of(id)->refs[i] == wanted;
  return found;
}

/* --- objects --------------------------------------------------------------------------------- */

/* The last slots that the model follows are far away in a long array: the last element, and the
 * last one of the first 64 KiB, where the tables of cards change from one unit to the next. */
FUZZ_PLAIN static size_t element_of(const struct object *object, unsigned slot) {
  const size_t at_end = ((1 << 16) - sizeof(struct array)) / sizeof(void *) - 1;
  if (slot + 1 == SLOTS)
    return object->size - 1;
  return slot + 2 == SLOTS && object->size > at_end + 1 ? at_end : slot;
}

FUZZ_PLAIN static void **slot_of(const struct object *object, unsigned slot) {
  switch (object->kind) {
  case ARRAY:
    return &((struct array *)object->address)->elements[element_of(object, slot)];
  case INSTANCE:
    return &((struct instance *)object->address)->data[slot];
  default:
    return (void **)object->address + 1 + slot;
  }
}

FUZZ_PLAIN static void *load(const struct object *object, unsigned slot) {
  void *word = *slot_of(object, slot);
  return object->kind == TRACED && word ? (void *)~(uintptr_t)word : word;
}

static void visit_inverted(const void *object, tarn_visitor *visitor) {
  const struct node *node = object;
  tarn_visit(visitor, node->left ? (void *)~node->left : NULL);
  tarn_visit(visitor, node->right ? (void *)~node->right : NULL);
}

static void count_free(unsigned id, const void *object) {
  FUZZ_CHECK(id > 0 && id <= run.count && object_of(id)->address == object);
  FUZZ_CHECK(object_of(id)->freed == 0);
  object_of(id)->freed = 1;
}
static void free_resource(tarn_world *world, void *object) {
  FUZZ_CHECK(world == run.world);
  count_free((unsigned)((struct node *)object)->id, object);
}
static void free_leaf(tarn_world *world, void *object) {
  FUZZ_CHECK(world == run.world);
  count_free((unsigned)((struct leaf *)object)->id, object);
}
static bool has_free(const struct object *object) {
  return object->kind == RESOURCE || object->kind == LEAF;
}

static void make_types(void) {
  static const size_t sizes[] = {
      [NODE] = sizeof(struct node),         [RESOURCE] = sizeof(struct node),
      [ARRAY] = sizeof(struct array),       [TRACED] = sizeof(struct node),
      [INSTANCE] = sizeof(struct instance), [LEAF] = sizeof(struct leaf)};
  for (unsigned kind = NODE; kind <= LEAF; kind++) {
    tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
    spec.size = sizes[kind];
    spec.slot_bits = kind == NODE || kind == RESOURCE ? 6 : 0;
    spec.element_size = kind == ARRAY ? sizeof(void *) : 0;
    spec.data_size = kind == INSTANCE ? DATA_WORDS * sizeof(void *) : 0;
    spec.flags = kind == ARRAY      ? TARN_TYPE_ELEMENTS_TRACED
                 : kind == INSTANCE ? TARN_TYPE_DATA_TRACED
                                    : 0;
    spec.trace = kind == TRACED ? visit_inverted : NULL;
    spec.free = kind == RESOURCE ? free_resource : kind == LEAF ? free_leaf : NULL;
    run.types[kind] = fuzz_type(run.world, &spec);
  }
}

/* What the model does not follow stays empty: all of a short array is looked at, some of a long. */
FUZZ_PLAIN static void check_array(const struct object *object) {
  const struct array *array = object->address;
  FUZZ_CHECK(array->count == object->size);
  for (size_t i = SLOTS; i + 1 < object->size; i += object->size < 100 ? 1 : 61)
    FUZZ_CHECK(!array->elements[i] || i == element_of(object, SLOTS - 2));
}

FUZZ_PLAIN static void check_contents(unsigned id) {
  const struct object *object = object_of(id);
  const size_t *words = object->address;
  static const unsigned id_word[] = {
      [NODE] = 3, [RESOURCE] = 3, [ARRAY] = 2, [TRACED] = 3, [INSTANCE] = 2, [LEAF] = 1};
  if (object->kind <= LEAF) {
    FUZZ_CHECK(tarn_type_of(object->address) == run.types[object->kind]);
    FUZZ_CHECK(words[id_word[object->kind]] == id);
  }
  for (unsigned i = 0; i < model_slots(object); i++)
    FUZZ_CHECK(load(object, i) == address_of(object->refs[i]));
  if (object->kind == ARRAY)
    check_array(object);
  for (size_t i = 0; object->kind == RAW && i < object->size; i++)
    FUZZ_CHECK(((const uint8_t *)object->address)[i] == fuzz_pattern(id, i));
  for (size_t i = 0; object->kind == LEAF && i < sizeof(((struct leaf *)0)->bytes); i++)
    FUZZ_CHECK(((const struct leaf *)object->address)->bytes[i] == fuzz_pattern(id, i));
}

/* --- weak references and ephemerons ---------------------------------------------------------- */

/* What it must hold is in the model; what it may have lost, and has, goes from there. */
static void check_weak(struct object *weak, bool may_be_cleared) {
  void *target = tarn_weak_get(run.self, weak->address);
  FUZZ_CHECK(tarn_is_weak(run.world, weak->address));
  if (!target && may_be_cleared)
    weak->refs[0] = NOBODY;
  FUZZ_CHECK(target == address_of(weak->refs[0]));
}

static void check_ephemeron(struct object *ephemeron, bool may_be_cleared) {
  void *key = tarn_ephemeron_key(run.self, ephemeron->address);
  void *value = tarn_ephemeron_value(run.self, ephemeron->address);
  if (!key && may_be_cleared)
    ephemeron->refs[0] = ephemeron->refs[1] = NOBODY;
  FUZZ_CHECK(key == address_of(ephemeron->refs[0]));
  FUZZ_CHECK(value == address_of(ephemeron->refs[1]));
}

/* What is gone reads as NULL until its memory is used again, cleared or not; so the words of a weak
 * reference and of an ephemeron themselves are looked at (collect/weak.c). */
static void check_cleared(const struct object *object) {
  const uintptr_t *words = object->address;
  FUZZ_CHECK(object->refs[0] || words[1] == 0);
  FUZZ_CHECK(object->kind != EPHEMERON || object->refs[1] || words[2] == 0);
}

static bool is_new_due(unsigned id, unsigned from) {
  for (unsigned i = from; i < run.queue_end; i++)
    if (run.finalizers[run.queue[i]].id == id)
      return true;
  return false;
}

/*
 * After a full collection.  `due_from`: finalizers from there on in the queue are due by it.  A
 * weak reference that only such objects reach is met after the others were cleared, and may have
 * lost or kept a target of which the same is true.
 */
static void expect_weak(struct object *weak, unsigned due_from) {
  unsigned target = weak->refs[0], seen = object_of(target)->seen;
  bool either = false;
  if (target && !(seen & IN_R)) {
    if ((weak->seen & IN_R) || !(seen & IN_K) || is_new_due(target, due_from))
      weak->refs[0] = NOBODY;
    else
      either = true;
  }
  check_weak(weak, either);
  check_cleared(weak);
}

static void expect_ephemeron(struct object *ephemeron) {
  if (!(object_of(ephemeron->refs[0])->seen & IN_K))
    ephemeron->refs[0] = ephemeron->refs[1] = NOBODY;
  check_ephemeron(ephemeron, false);
  check_cleared(ephemeron);
}

/* --- finalizers ------------------------------------------------------------------------------ */

static void put_root(unsigned root, unsigned id) {
  run.names[root] = (uint16_t)id;
  run.roots[root] = address_of(id);
}

static void run_finalizer(tarn_thread *self, void *address, void *data) {
  struct finalizer *finalizer = data;
  struct object *object = object_of(finalizer->id);
  size_t index = (size_t)(finalizer - run.finalizers);
  FUZZ_CHECK(self == run.self && object->address == address && !object->dead && !object->freed);
  FUZZ_CHECK(!finalizer->done && object->finalizers > 0);
  if (finalizer->due)
    FUZZ_CHECK(run.queue_first < run.queue_end && run.queue[run.queue_first++] == index);
  else /* by a collection whose exact outcome is unknown; `reach` was asked before */
    FUZZ_CHECK(!(object->seen & IN_R));
  finalizer->done = true;
  object->finalizers--;
  check_contents(finalizer->id);
  if (finalizer->saves)
    put_root(index % ROOTS, finalizer->id);
}

/* What a collection that came by itself cleared, because of objects that finalizers are about to
 * bring back.  After `reach`. */
static void note_cleared(void) {
  for (unsigned id = 1; id <= run.count; id++) {
    struct object *weak = object_of(id);
    if (weak->kind == WEAK && (weak->seen & IN_K) && !(object_of(weak->refs[0])->seen & IN_R))
      check_weak(weak, true);
  }
}

/* Runs all that are due. */
static void run_finalizers(void) {
  if (tarn_finalizers_due(run.world) == 0)
    return;
  reach();
  note_cleared();
  (void)tarn_finalizers_run(run.self, 0);
  FUZZ_CHECK(tarn_finalizers_due(run.world) == 0);
  FUZZ_CHECK(run.queue_first == run.queue_end);
  run.queue_first = run.queue_end = 0;
}

/* After a full collection: which ones must be due now, in order. */
static void expect_due(void) {
  for (unsigned i = 0; i < run.finalizer_count; i++) {
    struct finalizer *finalizer = &run.finalizers[i];
    if (finalizer->done || finalizer->due || (object_of(finalizer->id)->seen & IN_R))
      continue;
    finalizer->due = true;
    run.queue[run.queue_end++] = (uint16_t)i;
  }
  FUZZ_CHECK(tarn_finalizers_due(run.world) == run.queue_end - run.queue_first);
}

static void take_finalizers_away(unsigned id) {
  unsigned kept = run.queue_first;
  for (unsigned i = run.queue_first; i < run.queue_end; i++)
    if (run.finalizers[run.queue[i]].id != id)
      run.queue[kept++] = run.queue[i];
  run.queue_end = kept;
  for (unsigned i = 0; i < run.finalizer_count; i++)
    if (run.finalizers[i].id == id)
      run.finalizers[i].done = true;
  object_of(id)->finalizers = 0;
}

/* --- the walk: what is there, and nothing else ----------------------------------------------- */

#define PLACES 8192u

static struct {
  const void *blocks[PLACES];
  uint16_t ids[PLACES];
  uint8_t met[OBJECTS + 1];
} map;

FUZZ_PLAIN static unsigned place_of(const void *block) {
  unsigned at = (unsigned)((uintptr_t)block >> 4) * 2654435761u >> 19;
  while (map.blocks[at] && map.blocks[at] != block)
    at = (at + 1) % PLACES;
  return at;
}

FUZZ_PLAIN static void enter_in_map(const void *block, unsigned id) {
  unsigned at = place_of(block);
  FUZZ_CHECK(!map.blocks[at]); /* two objects at one address */
  map.blocks[at] = block;
  map.ids[at] = (uint16_t)id;
}

FUZZ_PLAIN static bool meet_block(const tarn_block_info *info, void *data) {
  unsigned at = place_of(info->block), id = map.ids[at];
  (void)data;
  FUZZ_CHECK(map.blocks[at]); /* garbage is still there */
  FUZZ_CHECK(!info->condemned);
  if (info->block == object_of(id)->address) {
    FUZZ_CHECK(map.met[id]++ == 0);
    FUZZ_CHECK(object_of(id)->kind > LEAF || info->type == run.types[object_of(id)->kind]);
    FUZZ_CHECK(object_of(id)->kind != RAW || (!info->type && info->size >= object_of(id)->size));
  }
  return true;
}

FUZZ_PLAIN static void check_walk(void) {
  memset(&map, 0, sizeof map);
  for (unsigned id = 1; id <= run.count; id++) {
    const struct object *object = object_of(id);
    if (object->dead)
      continue;
    enter_in_map(object->address, id);
    if (object->kind == INSTANCE)
      enter_in_map(((struct instance *)object->address)->data, id);
  }
  FUZZ_CHECK(tarn_heap_walk(run.self, meet_block, NULL) == TARN_OK);
  for (unsigned id = 1; id <= run.count; id++)
    FUZZ_CHECK(object_of(id)->dead || map.met[id]);
}

/* --- collections ----------------------------------------------------------------------------- */

static void check_object(unsigned id, bool full, unsigned due_from) {
  struct object *object = object_of(id);
  if (!(object->seen & IN_K))
    return;
  FUZZ_CHECK(!object->freed);
  check_contents(id);
  if (object->kind == WEAK && full)
    expect_weak(object, due_from);
  else if (object->kind == WEAK)
    check_weak(object, !(object_of(object->refs[0])->seen & IN_R));
  if (object->kind == EPHEMERON && full)
    expect_ephemeron(object);
  else if (object->kind == EPHEMERON)
    check_ephemeron(object, !(object_of(object->refs[0])->seen & IN_K));
}

static void bury(unsigned id, bool full) {
  struct object *object = object_of(id);
  if (object->dead || (object->seen & IN_K))
    return;
  if (full && has_free(object))
    FUZZ_CHECK(object->freed == 1);
  object->dead = full || object->freed;
  if (object->dead)
    memset(object->refs, 0, sizeof object->refs);
}

static void check_all(bool full) {
  unsigned due_from = run.queue_end;
  reach();
  if (full)
    expect_due();
  for (unsigned id = 1; id <= run.count; id++)
    check_object(id, full, due_from);
  for (unsigned id = 1; id <= run.count; id++)
    bury(id, full);
  if (full)
    check_walk();
}

static void do_collect(int generation) {
  if (run.collections++ >= COLLECTIONS)
    return;
  /* The library says which collections are full ones; the first of a world is. */
  tarn_stats before = {.struct_size = sizeof before}, after = before;
  bool surely_full = generation == TARN_GENERATION_FULL;
  if (!surely_full)
    run_finalizers();
  FUZZ_CHECK(tarn_stats_get(run.world, &before) == TARN_OK);
  FUZZ_CHECK(tarn_collect(run.self, generation) == TARN_OK);
  FUZZ_CHECK(tarn_stats_get(run.world, &after) == TARN_OK);
  FUZZ_CHECK(after.collections == before.collections + 1);
  bool full = after.collections_of[2] > before.collections_of[2];
  FUZZ_CHECK(full || !surely_full);
  check_all(full);
  if (!full)
    run_finalizers();
}

/* --- operands -------------------------------------------------------------------------------- */

/* What a root holds, or what is found from there on a way of up to three slots. */
static unsigned read_operand(struct fuzz_input *input) {
  unsigned byte = fuzz_byte(input), id = run.names[byte % ROOTS];
  for (unsigned steps = byte / ROOTS % 4; steps > 0 && id; steps--) {
    unsigned count = model_slots(object_of(id));
    if (count == 0)
      break;
    unsigned next = object_of(id)->refs[fuzz_byte(input) % count];
    FUZZ_CHECK(load(object_of(id), 0) == address_of(object_of(id)->refs[0]));
    if (!next)
      break;
    id = next;
  }
  return id;
}

static unsigned read_root(struct fuzz_input *input) { return fuzz_byte(input) % ROOTS; }

/* --- operations ------------------------------------------------------------------------------ */

static unsigned enter_object(enum kind kind, void *address, size_t size) {
  FUZZ_CHECK(address);
  unsigned id = ++run.count;
  *object_of(id) = (struct object){.address = address, .kind = (uint8_t)kind, .size = size};
  return id;
}

FUZZ_PLAIN static void check_empty(const void *block, size_t from, size_t size) {
  for (size_t i = from; i < size; i++)
    FUZZ_CHECK(((const uint8_t *)block)[i] == 0);
}

static unsigned new_fixed(enum kind kind) {
  void *address = tarn_new(run.self, run.types[kind]);
  unsigned id = enter_object(kind, address, 0);
  FUZZ_CHECK(tarn_type_of(address) == run.types[kind]);
  if (kind == INSTANCE) {
    struct instance *instance = address;
    FUZZ_CHECK(instance->data);
    check_empty(instance->data, 0, DATA_WORDS * sizeof(void *));
    instance->id = id;
  } else if (kind == LEAF) {
    struct leaf *leaf = address;
    check_empty(leaf, sizeof(void *), sizeof *leaf);
    leaf->id = id;
    for (size_t i = 0; i < sizeof leaf->bytes; i++)
      leaf->bytes[i] = fuzz_pattern(id, i);
  } else {
    check_empty(address, sizeof(void *), sizeof(struct node));
    ((struct node *)address)->id = id;
  }
  return id;
}

static size_t read_count(struct fuzz_input *input) {
  unsigned byte = fuzz_byte(input);
  if (byte < 200)
    return byte % 40;
  if (byte < 244)
    return fuzz_number(input, 2) % 600;
  return run.larges++ < LARGES ? 4200 + fuzz_number(input, 2) % 8000 : 1;
}

static unsigned new_array(size_t count) {
  struct array *array = tarn_new_array(run.self, run.types[ARRAY], count);
  unsigned id = enter_object(ARRAY, array, count);
  FUZZ_CHECK(array->count == count);
  check_empty(array, offsetof(struct array, id), sizeof *array + count * sizeof(void *));
  array->id = id;
  return id;
}

static unsigned new_raw(size_t size) {
  uint8_t *block = tarn_alloc_atomic(run.self, size);
  unsigned id = enter_object(RAW, block, size);
  check_empty(block, 0, size);
  for (size_t i = 0; i < size; i++)
    block[i] = fuzz_pattern(id, i);
  return id;
}

static unsigned new_weak(struct fuzz_input *input) {
  unsigned target = read_operand(input);
  unsigned id = enter_object(WEAK, tarn_weak_new(run.self, address_of(target)), 0);
  object_of(id)->refs[0] = (uint16_t)target;
  return id;
}

static unsigned new_ephemeron(struct fuzz_input *input) {
  unsigned key = read_operand(input), value = read_operand(input);
  void *address = tarn_ephemeron_new(run.self, address_of(key), address_of(value));
  if (!key) {
    FUZZ_CHECK(!address && tarn_thread_status(run.self) == TARN_EINVAL);
    return NOBODY;
  }
  unsigned id = enter_object(EPHEMERON, address, 0);
  object_of(id)->refs[0] = (uint16_t)key;
  object_of(id)->refs[1] = (uint16_t)value;
  return id;
}

static unsigned new_object(struct fuzz_input *input, enum kind kind) {
  if (is_large_world())
    return NOBODY;
  switch (kind) {
  case ARRAY:
    return new_array(read_count(input));
  case RAW:
    return new_raw(8 * read_count(input) + 1);
  case WEAK:
    return new_weak(input);
  case EPHEMERON:
    return new_ephemeron(input);
  default:
    return new_fixed(kind);
  }
}

/* The ways to store that tarn/store.h has. */
static void store(unsigned id, unsigned slot, unsigned value, unsigned way) {
  struct object *object = object_of(id);
  void **place = slot_of(object, slot), *word = address_of(value);
  if (object->kind == TRACED) {
    *place = word ? (void *)~(uintptr_t)word : NULL;
    tarn_barrier(run.self, object->address, object->address);
  } else if (way == 0) {
    tarn_barrier(run.self, object->address, place);
    *place = word;
  } else if (way == 1) {
    tarn_store_outline(run.self, object->address, place, word);
  } else {
    tarn_store(run.self, object->address, place, word);
  }
  object->refs[slot] = (uint16_t)value;
}

static void do_store(struct fuzz_input *input) {
  unsigned id = read_operand(input), value = read_operand(input), byte = fuzz_byte(input);
  unsigned count = id ? model_slots(object_of(id)) : 0;
  if (count > 0)
    store(id, byte % 16 % count, byte >= 128 ? NOBODY : value, byte / 16 % 4);
}

/* Several words at once, into the first slots of an array or a data block. */
static void do_store_range(struct fuzz_input *input) {
  void *words[SLOTS];
  unsigned id = read_operand(input), value = read_operand(input), byte = fuzz_byte(input);
  struct object *object = object_of(id);
  unsigned count =
      id && (object->kind == ARRAY || object->kind == INSTANCE) ? model_slots(object) : 0;
  count = object->kind == ARRAY && count == SLOTS ? SLOTS - 2 : count;
  if (count == 0)
    return;
  count = byte % count + 1;
  for (unsigned i = 0; i < count; i++) {
    object->refs[i] = (uint16_t)(i & 1 ? value : run.names[(byte + i) % ROOTS]);
    words[i] = address_of(object->refs[i]);
  }
  tarn_store_range(run.self, object->address, slot_of(object, 0), words, count);
}

/* A chain that begins with what the root holds. */
static void do_burst(struct fuzz_input *input) {
  static const enum kind kinds[] = {NODE, RESOURCE, TRACED, INSTANCE};
  unsigned root = read_root(input), byte = fuzz_byte(input);
  for (unsigned left = byte / 4 % BURST; left > 0 && !is_large_world(); left--) {
    unsigned id = new_fixed(kinds[byte % 4]);
    unsigned before = run.names[root];
    put_root(root, id); /* first, for a store is no safepoint, but what follows is */
    if (before)
      store(id, 0, before, left % 4);
  }
}

static void do_weak(struct fuzz_input *input) {
  unsigned id = read_operand(input), other = read_operand(input), byte = fuzz_byte(input);
  struct object *object = object_of(id);
  if (object->kind == WEAK && id && byte % 2) {
    tarn_weak_set(run.self, object->address, address_of(other));
    object->refs[0] = (uint16_t)other;
  } else if (object->kind == WEAK && id) {
    reach();
    check_weak(object, !(object_of(object->refs[0])->seen & IN_R));
    put_root(byte % ROOTS, object->refs[0]);
  } else if (object->kind == EPHEMERON && byte % 2) {
    reach();
    check_ephemeron(object, !(object_of(object->refs[0])->seen & IN_K));
    tarn_ephemeron_set_value(run.self, object->address, address_of(other));
    object->refs[1] = (uint16_t)(object->refs[0] ? other : NOBODY);
  } else if (object->kind == EPHEMERON) {
    reach();
    check_ephemeron(object, !(object_of(object->refs[0])->seen & IN_K));
    put_root(byte % ROOTS, object->refs[byte / 128]);
  }
}

static void do_finalizer(struct fuzz_input *input) {
  unsigned id = read_operand(input), byte = fuzz_byte(input);
  if (!id || object_of(id)->kind == RAW || run.finalizer_count >= FINALIZERS)
    return;
  struct finalizer *finalizer = &run.finalizers[run.finalizer_count++];
  *finalizer = (struct finalizer){.id = (uint16_t)id, .saves = byte & 1};
  object_of(id)->finalizers++;
  FUZZ_CHECK(tarn_finalizer_add(run.self, address_of(id), run_finalizer, finalizer) == TARN_OK);
  if (byte % 8 != 7)
    return;
  FUZZ_CHECK(tarn_finalizer_remove(run.self, address_of(id), run_finalizer, finalizer) == TARN_OK);
  FUZZ_CHECK(tarn_finalizer_remove(run.self, address_of(id), run_finalizer, finalizer) ==
             TARN_ENOTFOUND);
  finalizer->done = true;
  object_of(id)->finalizers--;
}

/* Only what nothing else refers to: a program that frees by hand has to see to that. */
static void do_free(struct fuzz_input *input) {
  unsigned root = read_root(input), id = run.names[root];
  if (!id || references_to(id) != 1)
    return;
  struct object *object = object_of(id);
  check_contents(id);
  tarn_free(run.self, object->address);
  FUZZ_CHECK(object->freed == has_free(object));
  take_finalizers_away(id);
  memset(object->refs, 0, sizeof object->refs);
  object->dead = true;
  put_root(root, NOBODY);
}

/* Inside of a hold allocations grow the heap, and nothing collects. */
static void do_hold(struct fuzz_input *input) {
  unsigned root = read_root(input);
  tarn_gc_hold(run.self);
  FUZZ_CHECK(tarn_collect(run.self, 0) == TARN_EHELD);
  unsigned id = new_object(input, fuzz_byte(input) % KINDS);
  if (id)
    put_root(root, id);
  tarn_gc_release(run.self);
}

static void do_pause(struct fuzz_input *input) {
  unsigned byte = fuzz_byte(input);
  if (byte < 64) {
    tarn_block_begin(run.self);
    FUZZ_CHECK(tarn_collect(run.self, 0) == TARN_EUNBALANCED);
    tarn_block_end(run.self);
  } else if (byte < 72) {
    (void)tarn_trim(run.world, byte % 2 ? SIZE_MAX : 0);
  } else {
    tarn_safepoint(run.self);
    (void)tarn_release_pending(run.self, 0);
  }
}

static void step(struct fuzz_input *input) {
  unsigned what = fuzz_byte(input);
  switch (what % 16) {
  case 0:
  case 1:
  case 2: {
    unsigned root = read_root(input);
    unsigned id = new_object(input, what / 16 % KINDS);
    if (id)
      put_root(root, id);
    break;
  }
  case 3:
  case 4:
  case 5:
    do_store(input);
    break;
  case 6: {
    unsigned root = read_root(input);
    put_root(root, read_operand(input));
    break;
  }
  case 7:
    put_root(read_root(input), NOBODY);
    break;
  case 8:
    do_burst(input);
    break;
  case 9:
    do_store_range(input);
    break;
  case 10:
    do_weak(input);
    break;
  case 11:
    do_finalizer(input);
    break;
  case 12:
    do_free(input);
    break;
  case 13:
    what & 16 ? do_hold(input) : do_pause(input);
    break;
  case 14:
    do_collect((int)(what / 16 % 4 < 3 ? what / 16 % 4 : 2));
    break;
  default:
    if (what & 16)
      run_finalizers();
    else
      do_collect(what / 32 % 2);
  }
}

/* --- a run ----------------------------------------------------------------------------------- */

static void visit_provided(tarn_visitor *visitor, void *data) {
  (void)data;
  tarn_visit_range(visitor, &run.roots[PROVIDED_FROM], ROOTS - PROVIDED_FROM);
}

static void begin(unsigned mode) {
  char set[256];
  memset(&run, 0, sizeof run);
  run.mode = mode;
  (void)snprintf(set, sizeof set, FUZZ_CALM ",verify=%d,%s%s%s%s",
                 FUZZ_VERIFIES && !(mode & MODE_UNVERIFIED),
                 mode & MODE_AUTOMATIC ? "min-heap=64K,young=64K,growth=10" : "collect=0",
                 mode & MODE_APART ? ",apart=1,trap=4M" : "",
                 mode & MODE_FIRST_POOL ? ",generations=first-pool" : "",
                 mode & MODE_SMALL_STACK ? ",mark-stack=4K" : "");
  run.world = fuzz_world(set, mode & MODE_NO_BARRIERS ? 0 : TARN_OPTIONS_BARRIERS);
  run.self = fuzz_attach(run.world);
  make_types();
  for (unsigned i = FRAME_ROOTS; i < PROVIDED_FROM; i++)
    FUZZ_CHECK(tarn_root_add(run.world, &run.roots[i]) == TARN_OK);
  FUZZ_CHECK(tarn_root_provider_add(run.world, visit_provided, NULL) == TARN_OK);
}

/* A last look, and then the world's end, at which every `free` function has run once. */
static void end(void) {
  run.collections = 0;
  do_collect(TARN_GENERATION_FULL);
  run_finalizers();
  do_collect(TARN_GENERATION_FULL);
  FUZZ_CHECK(tarn_thread_detach(run.self) == TARN_OK);
  fuzz_end(run.world);
  for (unsigned id = 1; id <= run.count; id++)
    FUZZ_CHECK(object_of(id)->freed == has_free(object_of(id)));
}

static void fuzz_tracing(struct fuzz_input *input, unsigned mode) {
  void *slots[FRAME_ROOTS];
  tarn_frame frame;
  begin(mode);
  for (unsigned i = 0; i < FRAME_ROOTS; i++)
    slots[i] = &run.roots[i];
  tarn_frame_push(run.self, &frame, slots, FRAME_ROOTS);
  for (unsigned steps = 0; fuzz_more(input) && steps < STEPS; steps++) {
    step(input);
    program_calls++;
    if (mode & MODE_AUTOMATIC)
      run_finalizers();
  }
  do_collect(0);
  tarn_frame_pop(run.self, &frame);
  for (unsigned i = 0; i < FRAME_ROOTS; i++)
    run.names[i] = NOBODY;
  for (unsigned i = 0; i < run.finalizer_count; i++)
    run.finalizers[i].saves = false; /* into roots that are none any more */
  end();
}

uint64_t program_calls;

static __attribute__((destructor)) void tell_calls(void) {
  fprintf(stderr, "%llu calls beside the model\n", (unsigned long long)program_calls);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct fuzz_input input = {data, data + size};
  unsigned mode = fuzz_byte(&input);
  if (mode & MODE_COUNTING)
    fuzz_counting(&input, mode);
  else
    fuzz_tracing(&input, mode);
  return 0;
}
