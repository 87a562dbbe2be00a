/* SPDX-License-Identifier: MIT */
/*
 * fuzz_conservative: any words where the collector looks for references.
 *
 * The bytes are a program that makes blocks of all forms, and words near them: starts and insides,
 * ends, tails of pools, the insides of large objects, blocks of another world, blocks that are
 * free, and anything.  Words are looked up, and put on the stack, which is scanned conservatively,
 * into traced slots, and into roots; then the world collects.
 *
 * The model is a table of blocks.  A word on the stack names the block that it points into, one in
 * a slot or a root that at whose start it points.  What is named must stay, with its contents, and
 * what that refers to; nothing may be freed twice.  As old words may be left anywhere on a stack,
 * more may stay; but when the stack is scanned no longer, a full collection must leave what is
 * named precisely, and nothing else.  The look-up is compared with a plain division.
 *
 * The table keeps addresses inverted, so that the model's own words name nothing.
 */
#include "fuzz.h"

#include "heap/find.h"

enum {
  MODE_BARRIERS = 1,
  MODE_TAGS = 2, /* the low bits of words in slots and roots do not count */
  MODE_SMALL_STACK = 4,
  MODE_VERIFY = 8, /* each collection and the end; half of the time goes there */
};

enum {
  STEPS = 250,
  COLLECTIONS = 16,
  BLOCKS = 400,
  STRANGERS = 12,
  LARGES = 6,
  NODE_SLOTS = 3,
  ROOTS = 8,
  ON_STACK = 16,
  CONTENTS = 256, /* bytes of a leaf or raw block that are looked at, at either end */
};

enum form { NODE, ARRAY, LEAF, RAW, FORMS };

struct node {
  const tarn_type *type;
  uintptr_t slots[NODE_SLOTS];
  size_t id;
};
struct array {
  const tarn_type *type;
  size_t count, id;
  uintptr_t elements[];
};
struct leaf {
  const tarn_type *type;
  size_t id;
};

struct block {
  uintptr_t hidden;  /* ~address; 0: no block */
  size_t size, room; /* as asked for, and as can be used */
  uint8_t form, freed;
  bool lost;    /* raw, and perhaps collected */
  bool reached; /* this time */
};

static const size_t leaf_sizes[] = {16, 24, 40, 136, 1000, 3000, 20000, 32768, 40000, 200000};
enum { LEAVES = sizeof leaf_sizes / sizeof leaf_sizes[0], FIRST_LARGE = 8 };

static struct {
  tarn_world *world, *other;
  tarn_thread *self, *other_self;
  const tarn_type *node, *array, *leaves[LEAVES];
  struct block blocks[BLOCKS + 1];
  struct block strangers[STRANGERS];
  unsigned count, larges, collections;
  bool barriers;
  uintptr_t roots[ROOTS], tag_mask;
  uint16_t stack[BLOCKS + 1];
} run;

static char a_static[64];

FUZZ_PLAIN static uintptr_t address_of(const struct block *block) { return ~block->hidden; }
FUZZ_PLAIN static bool is_there(const struct block *block) {
  return block->hidden && !block->freed && !block->lost;
}

/* --- blocks ---------------------------------------------------------------------------------- */

static void count_free(size_t id, const void *object) {
  FUZZ_CHECK(id > 0 && id <= run.count && address_of(&run.blocks[id]) == (uintptr_t)object);
  FUZZ_CHECK(!run.blocks[id].freed);
  run.blocks[id].freed = 1;
}
static void free_node(tarn_world *world, void *object) {
  (void)world;
  count_free(((struct node *)object)->id, object);
}
static void free_array(tarn_world *world, void *object) {
  (void)world;
  count_free(((struct array *)object)->id, object);
}
static void free_leaf(tarn_world *world, void *object) {
  (void)world;
  count_free(((struct leaf *)object)->id, object);
}

static void make_types(void) {
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.size = sizeof(struct node);
  spec.slot_bits = 0xe;
  spec.free = free_node;
  run.node = fuzz_type(run.world, &spec);
  spec = (tarn_type_spec)TARN_TYPE_SPEC_INIT;
  spec.size = sizeof(struct array);
  spec.element_size = sizeof(uintptr_t);
  spec.flags = TARN_TYPE_ELEMENTS_TRACED;
  spec.free = free_array;
  run.array = fuzz_type(run.world, &spec);
  for (unsigned i = 0; i < LEAVES; i++) {
    spec = (tarn_type_spec)TARN_TYPE_SPEC_INIT;
    spec.size = leaf_sizes[i];
    spec.free = free_leaf;
    run.leaves[i] = fuzz_type(run.world, &spec);
  }
}

/* What lies behind the type and the id of a leaf, and all of a raw block. */
static uint8_t *contents_of(const struct block *block, size_t *size) {
  size_t head = block->form == LEAF ? sizeof(struct leaf) : 0;
  *size = block->size - head;
  return (uint8_t *)address_of(block) + head;
}

FUZZ_PLAIN static void go_over_contents(const struct block *block, size_t id, bool fills) {
  size_t size;
  uint8_t *bytes = contents_of(block, &size);
  for (size_t i = 0; i < size; i++) {
    if (i == CONTENTS && size > 2 * CONTENTS)
      i = size - CONTENTS;
    if (fills)
      bytes[i] = fuzz_pattern(id, i);
    FUZZ_CHECK(bytes[i] == fuzz_pattern(id, i));
  }
}

static void enter_block(enum form form, void *address, size_t size) {
  FUZZ_CHECK(address);
  unsigned id = ++run.count;
  struct block *block = &run.blocks[id];
  *block = (struct block){~(uintptr_t)address,
                          size,
                          tarn_usable_size(run.world, address),
                          (uint8_t)form,
                          0,
                          false,
                          false};
  FUZZ_CHECK(block->room >= size);
  if (form == NODE)
    ((struct node *)address)->id = id;
  else if (form == ARRAY)
    ((struct array *)address)->id = id;
  else if (form == LEAF)
    ((struct leaf *)address)->id = id;
  if (form == LEAF || form == RAW)
    go_over_contents(block, id, true);
}

/* By its form, and a byte that says how large. */
static void new_block(enum form form, unsigned byte) {
  bool may_be_large = run.larges < LARGES;
  size_t size;
  if (run.count >= BLOCKS)
    return;
  if (form == NODE) {
    enter_block(NODE, tarn_new(run.self, run.node), sizeof(struct node));
  } else if (form == ARRAY) {
    size_t count = byte < 250 || !may_be_large ? byte % 50 : 5000 + byte * 30;
    size = sizeof(struct array) + count * sizeof(uintptr_t);
    enter_block(ARRAY, tarn_new_array(run.self, run.array, count), size);
  } else if (form == LEAF) {
    unsigned which = byte % (may_be_large ? LEAVES : FIRST_LARGE);
    size = leaf_sizes[which];
    enter_block(LEAF, tarn_new(run.self, run.leaves[which]), size);
  } else {
    size = byte < 200 ? byte : may_be_large ? byte * 500 : byte * 100;
    enter_block(RAW, tarn_alloc_atomic(run.self, size), size);
  }
  run.larges += run.blocks[run.count].room > TARN_LARGE_LIMIT;
}

static uintptr_t *slots_of(const struct block *block, size_t *count) {
  if (block->form == NODE) {
    *count = NODE_SLOTS;
    return ((struct node *)address_of(block))->slots;
  }
  struct array *array = (struct array *)address_of(block);
  *count = block->form == ARRAY ? (block->size - sizeof *array) / sizeof(uintptr_t) : 0;
  return *count ? array->elements : NULL;
}

static void check_contents(unsigned id) {
  const struct block *block = &run.blocks[id];
  const void *address = (const void *)address_of(block);
  if (block->form == NODE)
    FUZZ_CHECK(tarn_type_of(address) == run.node && ((const struct node *)address)->id == id);
  else if (block->form == ARRAY)
    FUZZ_CHECK(tarn_type_of(address) == run.array && ((const struct array *)address)->id == id);
  else
    go_over_contents(block, id, false);
}

/* --- the model ------------------------------------------------------------------------------- */

/* The block that a word names, by the table; 0: none. */
FUZZ_PLAIN static unsigned named_by(uintptr_t word, bool interior) {
  if (!interior)
    word &= ~run.tag_mask;
  for (unsigned id = 1; id <= run.count; id++) {
    const struct block *block = &run.blocks[id];
    uintptr_t address = address_of(block);
    if (is_there(block) && (interior ? word - address < block->room : word == address))
      return id;
  }
  return 0;
}

static void push(unsigned id, unsigned *depth) {
  if (id == 0 || run.blocks[id].reached)
    return;
  run.blocks[id].reached = true;
  run.stack[(*depth)++] = (uint16_t)id;
}

/* `words`: what is on the stack, or NULL when that is not scanned. */
static void reach(const volatile uintptr_t *words) {
  unsigned depth = 0;
  for (unsigned id = 0; id <= run.count; id++)
    run.blocks[id].reached = false;
  for (unsigned i = 0; i < ROOTS; i++)
    push(named_by(run.roots[i], false), &depth);
  for (unsigned i = 0; i < ON_STACK && words; i++)
    push(named_by(words[i], true), &depth);
  while (depth > 0) {
    size_t count;
    const uintptr_t *slots = slots_of(&run.blocks[run.stack[--depth]], &count);
    for (size_t i = 0; i < count; i++)
      if (slots[i])
        push(named_by(slots[i], false), &depth);
  }
}

/* --- look-ups -------------------------------------------------------------------------------- */

/* Some block of the same unit, which tells what the unit's blocks are like. */
FUZZ_PLAIN static const struct block *neighbour_of(uintptr_t word) {
  for (unsigned id = 1; id <= run.count; id++) {
    const struct block *block = &run.blocks[id];
    if (!is_there(block))
      continue;
    uintptr_t from = address_of(block) & ~(TARN_UNIT_SIZE - 1);
    size_t bytes = block->room > TARN_LARGE_LIMIT
                       ? (block->room + TARN_UNIT_SIZE - 1) & ~(TARN_UNIT_SIZE - 1)
                       : TARN_UNIT_SIZE;
    if (word - from < bytes)
      return block;
  }
  return NULL;
}

static bool is_strangers(uintptr_t word) {
  for (unsigned i = 0; i < STRANGERS; i++)
    if (word - address_of(&run.strangers[i]) < run.strangers[i].room)
      return true;
  return false;
}

static void check_look_up(uintptr_t word) {
  size_t size = 0;
  uintptr_t found = (uintptr_t)tarn_block_of(run.world, word, &size), expected = 0;
  const struct block *near = neighbour_of(word);
  if (found) {
    FUZZ_CHECK(word - found < size && tarn_usable_size(run.world, (void *)found) == size);
    FUZZ_CHECK(word == found || tarn_usable_size(run.world, (void *)word) == 0);
  } else {
    FUZZ_CHECK(tarn_usable_size(run.world, (void *)word) == 0);
  }
  if (near && near->room > TARN_LARGE_LIMIT) {
    expected = word - address_of(near) < near->room ? address_of(near) : 0;
  } else if (near) {
    uintptr_t base = word & ~(TARN_UNIT_SIZE - 1);
    size_t index = (word - base) / near->room;
    expected = (index + 1) * near->room <= TARN_UNIT_SIZE ? base + index * near->room : 0;
  }
  FUZZ_CHECK(found == expected || (!near && !is_strangers(word)));
}

/* --- words ----------------------------------------------------------------------------------- */

static const struct block *read_block(struct fuzz_input *input) {
  static const struct block none = {.hidden = ~(uintptr_t)64, .room = 16};
  unsigned number = (unsigned)fuzz_number(input, 2);
  /* The last ones most of the time; those that are gone, too. */
  if (run.count == 0)
    return &none;
  return &run.blocks[run.count - number % (number & 0x8000 ? run.count : (run.count + 3) / 4)];
}

static uintptr_t read_place(struct fuzz_input *input) {
  const uintptr_t places[] = {tarn_space.base,
                              tarn_space.base - 1,
                              tarn_space.base + (fuzz_number(input, 2) << 16),
                              (uintptr_t)tarn_space.marks,
                              (uintptr_t)a_static,
                              (uintptr_t)run.self,
                              (uintptr_t)run.world,
                              (uintptr_t)run.node,
                              (uintptr_t)input,
                              UINTPTR_MAX};
  return places[fuzz_byte(input) % (sizeof places / sizeof places[0])] + fuzz_byte(input);
}

static uintptr_t read_word(struct fuzz_input *input) {
  const struct block *block;
  uintptr_t unit;
  switch (fuzz_byte(input) % 10) {
  case 0:
  case 1:
    return address_of(read_block(input));
  case 2: /* inside */
    block = read_block(input);
    return address_of(block) + fuzz_number(input, 3) % block->room;
  case 3: /* at an edge */
    block = read_block(input);
    return address_of(block) + (fuzz_byte(input) & 1 ? block->room : 0) + 8 - fuzz_byte(input) % 17;
  case 4: /* anywhere in the pool */
    unit = address_of(read_block(input)) & ~(TARN_UNIT_SIZE - 1);
    return unit + fuzz_number(input, 2);
  case 5: /* in its tail */
    unit = address_of(read_block(input)) & ~(TARN_UNIT_SIZE - 1);
    return unit + TARN_UNIT_SIZE - 1 - fuzz_byte(input);
  case 6:
    block = &run.strangers[fuzz_byte(input) % STRANGERS];
    return address_of(block) + fuzz_number(input, 3) % block->room;
  case 7:
    return fuzz_number(input, 8);
  case 8:
    return address_of(read_block(input)) | (fuzz_byte(input) & 7);
  default:
    return read_place(input);
  }
}

/* Does anything name the block that is still there? */
static bool is_named(unsigned id, const volatile uintptr_t *words) {
  bool named = false;
  for (unsigned i = 0; i < ROOTS; i++)
    named |= named_by(run.roots[i], false) == id;
  for (unsigned i = 0; i < ON_STACK; i++)
    named |= named_by(words[i], true) == id;
  for (unsigned other = 1; other <= run.count && !named; other++) {
    size_t count;
    if (!is_there(&run.blocks[other]))
      continue;
    const uintptr_t *slots = slots_of(&run.blocks[other], &count);
    for (size_t i = 0; i < count && !named; i++)
      named = slots[i] && named_by(slots[i], false) == id;
  }
  return named;
}

/* --- operations ------------------------------------------------------------------------------ */

static void check_all(bool exactly) {
  for (unsigned id = 1; id <= run.count; id++) {
    struct block *block = &run.blocks[id];
    if (!is_there(block) && !block->reached)
      continue;
    if (block->reached) {
      FUZZ_CHECK(!block->freed);
      check_contents(id);
    } else if (block->form == RAW) {
      block->lost = true; /* it may be there or not */
    } else {
      FUZZ_CHECK(!exactly || block->freed);
    }
  }
}

static void do_collect(int generation, const volatile uintptr_t *words) {
  if (run.collections++ >= COLLECTIONS)
    return;
  reach(words);
  FUZZ_CHECK(tarn_collect(run.self, generation) == TARN_OK);
  check_all(!words && generation == TARN_GENERATION_FULL);
}

/* The stack is not scanned for once, and then again. */
static void do_collect_exactly(void) {
  FUZZ_CHECK(tarn_thread_scan_stack(run.self, false) == TARN_OK);
  do_collect(TARN_GENERATION_FULL, NULL);
  FUZZ_CHECK(tarn_thread_scan_stack(run.self, true) == TARN_OK);
}

static void do_store(struct fuzz_input *input) {
  const struct block *block = read_block(input);
  uintptr_t word = read_word(input);
  size_t count = 0, at = fuzz_number(input, 2);
  if (run.count == 0 || !is_there(block) || !slots_of(block, &count))
    return;
  /* Where barriers count, a word that names no block yet, and might one that is made later, would
   * then be a reference without a barrier. */
  if (run.barriers && tarn_space_holds(word) && !named_by(word, false))
    word = 0;
  tarn_store(run.self, (void *)address_of(block), (void **)&slots_of(block, &count)[at % count],
             (void *)word);
}

static void do_free(struct fuzz_input *input, const volatile uintptr_t *words) {
  const struct block *block = read_block(input);
  if (run.count == 0 || !is_there(block))
    return;
  unsigned id = (unsigned)(block - run.blocks);
  if (is_named(id, words))
    return;
  check_contents(id);
  tarn_free(run.self, (void *)address_of(block));
  FUZZ_CHECK(block->form == RAW || block->freed);
  run.blocks[id].freed = 1;
}

static void step(struct fuzz_input *input, volatile uintptr_t *words) {
  unsigned what = fuzz_byte(input), place = what / 16;
  switch (what % 16) {
  case 0:
  case 1:
  case 2:
    if (run.count < BLOCKS) {
      new_block(place % FORMS, fuzz_byte(input));
      unsigned at = fuzz_byte(input);
      if (at % 4 == 0)
        run.roots[at / 4 % ROOTS] = address_of(&run.blocks[run.count]);
      else if (at % 4 < 3)
        words[at / 4 % ON_STACK] = address_of(&run.blocks[run.count]) + (at & 64 ? 8 : 0);
    }
    break;
  case 3:
  case 4:
  case 5:
    words[place % ON_STACK] = read_word(input);
    check_look_up(words[place % ON_STACK]);
    break;
  case 6:
  case 7:
    do_store(input);
    break;
  case 8:
    run.roots[place % ROOTS] = read_word(input);
    break;
  case 9:
  case 10:
    check_look_up(read_word(input));
    break;
  case 11:
    words[place % ON_STACK] = 0;
    run.roots[place % ROOTS] = 0;
    break;
  case 12:
    do_free(input, words);
    break;
  case 13:
    do_collect(place % 3, words);
    break;
  case 14:
    do_collect(TARN_GENERATION_FULL, words);
    break;
  default:
    do_collect_exactly();
  }
}

/* --- a run ----------------------------------------------------------------------------------- */

/* The other world's thread is blocked from here on, for a thread shall run in one world only. */
static void make_strangers(void) {
  run.other = fuzz_world(FUZZ_CALM ",collect=0", 0);
  run.other_self = fuzz_attach(run.other);
  for (unsigned i = 0; i < STRANGERS; i++) {
    static const size_t sizes[] = {16, 40, 128, 2000, 32768, 100000};
    size_t size = sizes[i % 6];
    void *block = tarn_alloc_atomic(run.other_self, size);
    FUZZ_CHECK(block);
    run.strangers[i] = (struct block){
        ~(uintptr_t)block, size, tarn_usable_size(run.other, block), RAW, 0, false, false};
    go_over_contents(&run.strangers[i], i, true);
  }
  tarn_block_begin(run.other_self);
}

static void end_strangers(void) {
  tarn_block_end(run.other_self);
  for (unsigned i = 0; i < STRANGERS; i++)
    go_over_contents(&run.strangers[i], i, false);
  FUZZ_CHECK(tarn_thread_detach(run.other_self) == TARN_OK);
  fuzz_end(run.other);
}

static void begin(unsigned mode) {
  char set[256];
  memset(&run, 0, sizeof run);
  make_strangers();
  (void)snprintf(set, sizeof set, FUZZ_CALM ",collect=0,verify=%d%s", !!(mode & MODE_VERIFY),
                 mode & MODE_SMALL_STACK ? ",mark-stack=4K" : "");
  run.world = fuzz_world(set, mode & MODE_BARRIERS ? TARN_OPTIONS_BARRIERS : 0);
  run.barriers = mode & MODE_BARRIERS;
  run.tag_mask = mode & MODE_TAGS ? 7 : 0;
  FUZZ_CHECK(tarn_world_set_tag_mask(run.world, run.tag_mask) == TARN_OK);
  run.self = fuzz_attach(run.world);
  make_types();
  FUZZ_CHECK(tarn_thread_scan_stack(run.self, true) == TARN_OK);
  for (unsigned i = 0; i < ROOTS; i++)
    FUZZ_CHECK(tarn_root_add(run.world, (void **)&run.roots[i]) == TARN_OK);
}

static void end(unsigned mode) {
  if (mode & MODE_VERIFY)
    fuzz_verify(run.self);
  run.collections = 0;
  do_collect_exactly();
  FUZZ_CHECK(tarn_thread_detach(run.self) == TARN_OK);
  fuzz_end(run.world);
  for (unsigned id = 1; id <= run.count; id++)
    FUZZ_CHECK(run.blocks[id].freed || run.blocks[id].form == RAW);
  end_strangers();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct fuzz_input input = {data, data + size};
  volatile uintptr_t words[ON_STACK] = {0}; /* these are scanned */
  unsigned mode = fuzz_byte(&input);
  begin(mode);
  for (unsigned steps = 0; fuzz_more(&input) && steps < STEPS; steps++)
    step(&input, words);
  end(mode);
  return 0;
}
