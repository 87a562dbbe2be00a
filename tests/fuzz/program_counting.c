/* SPDX-License-Identifier: MIT */
/*
 * The half of fuzz_program for worlds that count references: see tarn/cycles.h.
 *
 * The model knows who refers to whom, so it knows each count.  An object that is not freed must
 * have that count, and at least one; what roots reach must not be freed, ever; and after a full
 * collection of cycles everything else must be.  Weak handles lead to their object until it is
 * freed, and tell of its end once; finalize functions run once, before `free`, and may save.
 */
#include "program.h"

#include "collect/collector.h"

enum {
  MODE_ROOTS = 2,     /* the collector knows the roots */
  MODE_AUTOMATIC = 4, /* collections come by themselves as well, at safepoints */
  MODE_MANY = 8,      /* all is done as for more candidates than there are in a program */
  MODE_UNVERIFIED = 32,
};

enum kind { NODE, FINAL, CLEARED, ARRAY, LEAF, KINDS };

enum { HANDLES = 48 };

struct node {
  const tarn_type *type;
  void *slots[2];
  size_t refs, id;
};
struct array {
  const tarn_type *type;
  size_t count, refs, id;
  void *elements[];
};
struct leaf {
  const tarn_type *type;
  uint32_t refs, id;
};

struct object {
  void *address;
  uint16_t refs[SLOTS];
  uint16_t count; /* slots */
  uint8_t kind, freed, finalized, cleared;
  bool reached, saves;
  bool saved; /* by a finalizer, its own or another's */
};

struct handle {
  tarn_weak_handle *handle;
  uint16_t id;
  uint8_t gone;
  bool gives_back; /* inside of its own function */
};

static struct {
  tarn_world *world;
  tarn_thread *self;
  unsigned collections, count, handle_count;
  bool frozen, ending;
  const tarn_type *types[KINDS];
  void *roots[ROOTS];
  uint16_t names[ROOTS];
  struct object objects[OBJECTS + 1];
  struct handle handles[HANDLES];
  uint16_t stack[OBJECTS + 1];
} run;

static struct object *object_of(unsigned id) { return &run.objects[id]; }
static void *address_of(unsigned id) { return id ? object_of(id)->address : NULL; }

static void **slots_of(const struct object *object) {
  return object->kind == ARRAY ? ((struct array *)object->address)->elements
                               : ((struct node *)object->address)->slots;
}

static size_t refs_of(const struct object *object) {
  switch (object->kind) {
  case ARRAY:
    return ((struct array *)object->address)->refs;
  case LEAF:
    return ((struct leaf *)object->address)->refs;
  default:
    return ((struct node *)object->address)->refs;
  }
}

static size_t id_in(const struct object *object) {
  switch (object->kind) {
  case ARRAY:
    return ((struct array *)object->address)->id;
  case LEAF:
    return ((struct leaf *)object->address)->id;
  default:
    return ((struct node *)object->address)->id;
  }
}

/* --- functions of types ---------------------------------------------------------------------- */

static struct object *known(size_t id, const void *address) {
  FUZZ_CHECK(id > 0 && id <= run.count && object_of((unsigned)id)->address == address);
  FUZZ_CHECK(!object_of((unsigned)id)->freed);
  return object_of((unsigned)id);
}

static void free_any(size_t id, const void *address) {
  struct object *object = known(id, address);
  FUZZ_CHECK(object->kind != FINAL || object->finalized || run.ending);
  object->freed = 1;
}
static void free_node(tarn_world *world, void *object) {
  (void)world;
  free_any(((struct node *)object)->id, object);
}
static void free_array(tarn_world *world, void *object) {
  (void)world;
  free_any(((struct array *)object)->id, object);
}
static void free_leaf(tarn_world *world, void *object) {
  (void)world;
  free_any(((struct leaf *)object)->id, object);
}

/* A finalizer saves the object, with all that it reaches: handles to these were cut before. */
static void push_saved(unsigned id, unsigned *depth) {
  if (id == NOBODY || object_of(id)->saved)
    return;
  object_of(id)->saved = true;
  run.stack[(*depth)++] = (uint16_t)id;
}
static void note_saved(unsigned first) {
  unsigned depth = 0;
  push_saved(first, &depth);
  while (depth > 0) {
    const struct object *object = object_of(run.stack[--depth]);
    for (unsigned i = 0; i < object->count; i++)
      push_saved(object->refs[i], &depth);
  }
}

/* Sees its object whole, and saves it if it shall and a root is empty. */
static void finalize(tarn_thread *self, void *address) {
  struct object *object = known(((struct node *)address)->id, address);
  FUZZ_CHECK(!run.ending && object->finalized == 0);
  object->finalized = 1;
  for (unsigned i = 0; i < object->count; i++)
    FUZZ_CHECK(slots_of(object)[i] == address_of(object->refs[i]) &&
               !object_of(object->refs[i])->freed);
  for (unsigned i = 0; i < ROOTS && object->saves; i++)
    if (!run.roots[i]) {
      tarn_ref(self, address);
      run.roots[i] = address;
      run.names[i] = (uint16_t)(object - run.objects);
      note_saved(run.names[i]);
      break;
    }
}

/* Gives up one of its references; the library gives up the other. */
static void clear(tarn_thread *self, void *address) {
  struct node *node = address;
  struct object *object = known(node->id, address);
  void *old = node->slots[0];
  FUZZ_CHECK(object->cleared == 0 && old == address_of(object->refs[0]));
  object->cleared = 1;
  node->slots[0] = NULL;
  object->refs[0] = NOBODY;
  tarn_unref(self, old);
}

static void make_types(void) {
  for (unsigned kind = NODE; kind < KINDS; kind++) {
    bool inlined = kind != ARRAY && kind != LEAF;
    tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
    spec.size = kind == ARRAY  ? sizeof(struct array)
                : kind == LEAF ? sizeof(struct leaf)
                               : sizeof(struct node);
    spec.slot_bits = inlined ? 6 : 0;
    spec.element_size = kind == ARRAY ? sizeof(void *) : 0;
    spec.flags = TARN_TYPE_WEAK | (kind == ARRAY ? TARN_TYPE_ELEMENTS_TRACED : 0u);
    spec.refs_at = kind == ARRAY  ? offsetof(struct array, refs)
                   : kind == LEAF ? offsetof(struct leaf, refs)
                                  : offsetof(struct node, refs);
    spec.refs_size = kind == LEAF ? 4 : 8;
    spec.free = kind == ARRAY ? free_array : kind == LEAF ? free_leaf : free_node;
    spec.finalize = kind == FINAL ? finalize : NULL;
    spec.clear = kind == CLEARED ? clear : NULL;
    run.types[kind] = fuzz_type(run.world, &spec);
  }
}

/* --- the model ------------------------------------------------------------------------------- */

static void push(unsigned id, unsigned *depth) {
  if (id == NOBODY || object_of(id)->reached)
    return;
  FUZZ_CHECK(!object_of(id)->freed);
  object_of(id)->reached = true;
  run.stack[(*depth)++] = (uint16_t)id;
}

static void reach(void) {
  unsigned depth = 0;
  for (unsigned id = 0; id <= run.count; id++)
    object_of(id)->reached = false;
  for (unsigned i = 0; i < ROOTS; i++)
    push(run.names[i], &depth);
  while (depth > 0) {
    const struct object *object = object_of(run.stack[--depth]);
    for (unsigned i = 0; i < object->count; i++)
      push(object->refs[i], &depth);
  }
}

FUZZ_PLAIN static void check_counts(void) {
  static uint16_t counts[OBJECTS + 1];
  memset(counts, 0, sizeof counts);
  for (unsigned i = 0; i < ROOTS; i++)
    counts[run.names[i]]++;
  for (unsigned id = 1; id <= run.count; id++)
    for (unsigned i = 0; i < object_of(id)->count && !object_of(id)->freed; i++)
      counts[object_of(id)->refs[i]]++;
  for (unsigned id = 1; id <= run.count; id++)
    FUZZ_CHECK(object_of(id)->freed ? counts[id] == 0
                                    : counts[id] > 0 && refs_of(object_of(id)) == counts[id]);
}

FUZZ_PLAIN static void check_contents(unsigned id) {
  const struct object *object = object_of(id);
  if (object->freed)
    return;
  FUZZ_CHECK(tarn_type_of(object->address) == run.types[object->kind] && id_in(object) == id);
  for (unsigned i = 0; i < object->count; i++)
    FUZZ_CHECK(slots_of(object)[i] == address_of(object->refs[i]));
}

/* A handle that a collection cut is not mended when a finalizer saves the object, or another that
 * reaches it. */
static void check_handles(void) {
  for (unsigned i = 0; i < run.handle_count; i++) {
    const struct handle *handle = &run.handles[i];
    const struct object *object = object_of(handle->id);
    if (handle->handle || handle->gone)
      FUZZ_CHECK(object->finalized || object->saved ? handle->gone || !object->freed
                                                    : handle->gone == object->freed);
  }
}

static void check_all(bool full) {
  reach();
  check_counts();
  check_handles();
  for (unsigned id = 1; id <= run.count; id++) {
    check_contents(id);
    FUZZ_CHECK(!full || object_of(id)->freed == !object_of(id)->reached);
  }
}

/* --- operations ------------------------------------------------------------------------------ */

static unsigned read_operand(struct fuzz_input *input) {
  unsigned byte = fuzz_byte(input), id = run.names[byte % ROOTS];
  for (unsigned steps = byte / ROOTS % 4; steps > 0 && id && object_of(id)->count; steps--) {
    unsigned next = object_of(id)->refs[fuzz_byte(input) % object_of(id)->count];
    if (!next)
      break;
    id = next;
  }
  return id;
}

/* The reference to `id` is the caller's, and the root's now. */
static void put_root(unsigned root, unsigned id) {
  void *old = run.roots[root];
  run.names[root] = (uint16_t)id;
  run.roots[root] = address_of(id);
  tarn_unref(run.self, old);
}

static unsigned share(unsigned id) {
  if (id)
    tarn_ref(run.self, address_of(id));
  return id;
}

/* With one reference, the caller's. */
static unsigned new_object(enum kind kind, unsigned elements, bool saves) {
  if (run.count >= OBJECTS)
    return NOBODY;
  void *address = kind == ARRAY ? tarn_new_array(run.self, run.types[kind], elements)
                                : tarn_new(run.self, run.types[kind]);
  FUZZ_CHECK(address);
  unsigned id = ++run.count;
  *object_of(id) = (struct object){.address = address,
                                   .kind = (uint8_t)kind,
                                   .saves = saves,
                                   .count = (uint16_t)(kind == ARRAY  ? elements
                                                       : kind == LEAF ? 0
                                                                      : 2)};
  if (kind == ARRAY)
    ((struct array *)address)->id = id;
  else if (kind == LEAF)
    ((struct leaf *)address)->id = id;
  else
    ((struct node *)address)->id = id;
  FUZZ_CHECK(refs_of(object_of(id)) == 0);
  return share(id);
}

static void store(unsigned id, unsigned slot, unsigned value) {
  struct object *object = object_of(id);
  void **place = &slots_of(object)[slot], *old = *place;
  *place = address_of(share(value));
  object->refs[slot] = (uint16_t)value;
  tarn_unref(run.self, old);
}

static void do_store(struct fuzz_input *input) {
  unsigned id = read_operand(input), value = read_operand(input), byte = fuzz_byte(input);
  if (id && object_of(id)->count)
    store(id, byte % 16 % object_of(id)->count, byte >= 160 ? NOBODY : value);
}

/* A chain from the root, whose end may lead to its beginning. */
static void do_burst(struct fuzz_input *input) {
  unsigned root = fuzz_byte(input) % ROOTS, byte = fuzz_byte(input), last = NOBODY;
  for (unsigned left = byte / 8 + 1; left > 0 && run.count < OBJECTS; left--) {
    unsigned id = new_object(byte % 4 < CLEARED ? NODE : byte % 4 - 1, 0, byte & 1);
    if (run.names[root])
      store(id, 0, run.names[root]);
    last = last ? last : id;
    put_root(root, id);
  }
  if (last && (byte & 4))
    store(last, 1, run.names[root]);
}

static void do_collect(int generation) {
  if (run.collections++ >= COLLECTIONS)
    return;
  FUZZ_CHECK(tarn_collect(run.self, generation) == TARN_EKIND);
  FUZZ_CHECK(tarn_collect_cycles(run.self, generation) == TARN_OK);
  check_all(generation == TARN_GENERATION_FULL && !run.frozen);
}

static void do_freeze(unsigned byte) {
  FUZZ_CHECK((byte & 1 ? tarn_freeze(run.self) : tarn_unfreeze(run.self)) == TARN_OK);
  run.frozen = byte & 1;
}

/* --- weak handles ---------------------------------------------------------------------------- */

static void tell_gone(tarn_thread *self, tarn_weak_handle *handle, void *data) {
  struct handle *own = data;
  FUZZ_CHECK(self == run.self && own->handle == handle && own->gone == 0);
  FUZZ_CHECK(!tarn_weak_handle_get(self, handle));
  own->gone = 1;
  if (own->gives_back) {
    tarn_weak_handle_free(self, handle);
    own->handle = NULL;
  }
}

static void do_handle(struct fuzz_input *input) {
  unsigned id = read_operand(input), byte = fuzz_byte(input);
  if (!id || run.handle_count >= HANDLES)
    return;
  struct handle *own = &run.handles[run.handle_count++];
  *own = (struct handle){.id = (uint16_t)id, .gives_back = byte & 1};
  FUZZ_CHECK(tarn_weak_handle_new(run.self, address_of(id), tell_gone, own, &own->handle) ==
             TARN_OK);
}

static void use_handle(struct fuzz_input *input) {
  unsigned byte = fuzz_byte(input), root = fuzz_byte(input) % ROOTS;
  struct handle *own = &run.handles[byte % HANDLES];
  if (!own->handle)
    return;
  if (byte >= 192) {
    tarn_weak_handle_free(run.self, own->handle);
    own->handle = NULL;
    own->gone = 0; /* nothing is known of it any more */
    return;
  }
  void *object = tarn_weak_handle_get(run.self, own->handle);
  FUZZ_CHECK(object == (own->gone ? NULL : address_of(own->id)));
  if (object)
    put_root(root, own->id);
}

/* --- a run ----------------------------------------------------------------------------------- */

static void step(struct fuzz_input *input) {
  unsigned what = fuzz_byte(input), root;
  switch (what % 16) {
  case 0:
  case 1:
  case 2: {
    unsigned byte = fuzz_byte(input);
    unsigned id = new_object(what / 16 % KINDS, byte % SLOTS, byte & 1);
    if (id)
      put_root(byte % ROOTS, id);
    break;
  }
  case 3:
  case 4:
  case 5:
  case 6:
    do_store(input);
    break;
  case 7:
    root = fuzz_byte(input) % ROOTS;
    put_root(root, share(read_operand(input)));
    break;
  case 8:
  case 9:
    put_root(fuzz_byte(input) % ROOTS, NOBODY);
    break;
  case 10:
    do_burst(input);
    break;
  case 11:
    do_handle(input);
    break;
  case 12:
    use_handle(input);
    break;
  case 13:
    if (what >= 224)
      do_freeze(what / 16);
    tarn_safepoint(run.self);
    break;
  case 14:
    do_collect(TARN_GENERATION_FULL);
    break;
  default:
    do_collect(what / 16 % 2);
  }
}

static void end(void) {
  check_all(false);
  if (run.frozen)
    do_freeze(0);
  run.collections = 0;
  do_collect(TARN_GENERATION_FULL);
  fuzz_verify(run.self);
  run.ending = true;
  for (unsigned i = 0; i < run.handle_count; i++)
    tarn_weak_handle_free(run.self, run.handles[i].handle);
  FUZZ_CHECK(tarn_thread_detach(run.self) == TARN_OK);
  fuzz_end(run.world);
  for (unsigned id = 1; id <= run.count; id++)
    FUZZ_CHECK(object_of(id)->freed == 1);
}

void fuzz_counting(struct fuzz_input *input, unsigned mode) {
  void *slots[ROOTS];
  tarn_frame frame;
  char set[256];
  memset(&run, 0, sizeof run);
  (void)snprintf(set, sizeof set, FUZZ_CALM ",verify=%d,%s",
                 FUZZ_VERIFIES && !(mode & MODE_UNVERIFIED),
                 mode & MODE_AUTOMATIC ? "min-heap=64K,young=64K" : "collect=0");
  run.world = fuzz_world(set, TARN_OPTIONS_COUNTING);
  if (mode & MODE_MANY)
    tarn_collector_of(run.world)->cycles.links.most = 0;
  run.self = fuzz_attach(run.world);
  make_types();
  for (unsigned i = 0; i < ROOTS; i++)
    slots[i] = &run.roots[i];
  tarn_frame_push(run.self, &frame, slots, mode & MODE_ROOTS ? ROOTS : 0);
  for (unsigned steps = 0; fuzz_more(input) && steps < STEPS; steps++, program_calls++)
    step(input);
  tarn_frame_pop(run.self, &frame);
  end();
}
