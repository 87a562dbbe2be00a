/* SPDX-License-Identifier: MIT */
/*
 * inspect/describe.c: what is known of an address, in words: by the map of the heap range, and by
 * the records of blocks that are apart (heap/apart.h).
 *
 * Reads map words, records under their lock, and the first word of an object that has no record; so
 * it may be called by any thread, and from a handler of signals.
 */
#include "heap/find.h"
#include "inspect/events.h"
#include "inspect/options.h"
#include <stdatomic.h>
#include <string.h>
#include <tarn/inspect.h>

#define TEXT_MOST 8192u

/* --- records --------------------------------------------------------------------------------- */

static void add_where(struct tarn_text *text, const char *what, const struct tarn_where *where,
                      bool calls) {
  char place[256];
  uint32_t depth = calls ? where->depth : 0;
  tarn_text_add(text, "  %s by thread %d (", what, where->thread);
  tarn_text_clean(text, where->name, strlen(where->name));
  tarn_text_add(text, ")%s\n", depth ? ", in" : "");
  for (uint32_t i = 0; i < depth; i++) {
    tarn_os_code_place(where->frames[i], place, sizeof place);
    tarn_text_add(text, "    #%u %s\n", i, place);
  }
}

static const char *type_name(tarn_world *world, tarn_flavour flavour, uintptr_t word) {
  const tarn_type *type = (const tarn_type *)word;
  if (tarn_flavour_kind(flavour) == TARN_KIND_RAW)
    return "raw";
  return type && tarn_type_is_known(world, type) ? type->name : "damaged";
}

static const char *const fates[] = {[TARN_FATE_NONE] = "unknown",
                                    [TARN_FATE_IN_USE] = "in use",
                                    [TARN_FATE_FREED] = "freed by the program",
                                    [TARN_FATE_COLLECTED] = "taken by a collection",
                                    [TARN_FATE_DROPPED] = "gone with its heap"};

static void add_record(struct tarn_text *text, const struct tarn_record *record, uintptr_t block,
                       bool calls) {
  tarn_flavour flavour = (tarn_flavour)record->flavour;
  bool lives = record->fate == TARN_FATE_IN_USE;
  tarn_text_add(text, "  block %p of %zu bytes, type %s: %s\n", (void *)block, record->size,
                type_name(tarn_world_of_store(record->store), flavour, record->type),
                fates[record->fate]);
  add_where(text, "made", &record->made, calls);
  if (!lives)
    add_where(text, record->fate == TARN_FATE_FREED ? "freed" : "taken", &record->gone, calls);
}

/* --- any address ----------------------------------------------------------------------------- */

static void add_block(struct tarn_text *text, tarn_world *world, const struct tarn_place *place,
                      uintptr_t address) {
  bool raw = tarn_map_kind(place->map) == TARN_KIND_RAW;
  uintptr_t word = raw ? 0 : __atomic_load_n((const uintptr_t *)place->block, __ATOMIC_RELAXED);
  tarn_text_add(text, "  %zu bytes into a block of %zu bytes at %p, ",
                (size_t)(address - place->block), place->size, (void *)place->block);
  if (raw)
    tarn_text_add(text, "raw\n");
  else if (word == 0)
    tarn_text_add(text, "free\n");
  else
    tarn_text_add(text, "type %s\n", type_name(world, TARN_FLAVOUR_LEAF, word));
}

static void add_unit(struct tarn_text *text, const tarn_world *world, uint64_t map) {
  if (map == 0)
    tarn_text_add(text, "  in memory that holds no block\n");
  else if (tarn_map_world(map) != 0)
    tarn_text_add(text, tarn_map_world(map) == world->store.id ? "  between two blocks\n"
                                                               : "  in another world\n");
  else if (tarn_map_form(map) == TARN_FORM_POOL)
    tarn_text_add(text, "  in a pool of blocks of %zu bytes, all of which had died\n",
                  tarn_map_block_size(map));
  else
    tarn_text_add(text, "  in a large object that had died\n");
}

static void add_address(struct tarn_text *text, tarn_world *world, uintptr_t address) {
  struct tarn_record record;
  struct tarn_place place;
  uintptr_t block;
  tarn_text_add(text, "%p:\n", (void *)address);
  if (!tarn_space_holds(address))
    tarn_text_add(text, "  not in the heap range\n");
  else if (tarn_apart_find(address, &record, &block))
    add_record(text, &record, block, true);
  else if (tarn_find(world->store.id, address, true, &place))
    add_block(text, world, &place, address);
  else
    add_unit(text, world, tarn_map_get(tarn_unit_of(address)));
}

tarn_status tarn_describe(tarn_world *world, const void *address, char *text, size_t size) {
  if (!world || !text || size == 0)
    return TARN_EINVAL;
  struct tarn_text out = {.data = text, .room = size};
  text[0] = '\0';
  add_address(&out, world, (uintptr_t)address);
  return TARN_OK;
}

/* Line by line: a message has a kilobyte at most. */
static void say_lines(char *lines) {
  for (char *end; *lines; lines = end + 1) {
    end = strchr(lines, '\n');
    if (!end)
      return; /* cut off */
    *end = '\0';
    tarn_os_say("%s", lines);
  }
}

void tarn_explain(uintptr_t address, bool calls) {
  /* Not on the stack, which may be a small one for signals.  Of several threads that come here one
   * says more, and with it the process ends. */
  static char data[TEXT_MOST];
  static atomic_flag taken = ATOMIC_FLAG_INIT;
  struct tarn_text text = TARN_TEXT(data);
  struct tarn_record record;
  uintptr_t block;
  /* Acquire and release: the next one of this thread, or another's, finds the text as it was left.
   */
  if (!tarn_apart_find(address, &record, &block) ||
      atomic_flag_test_and_set_explicit(&taken, memory_order_acquire))
    return;
  data[0] = '\0';
  add_record(&text, &record, block, calls);
  say_lines(data);
  atomic_flag_clear_explicit(&taken, memory_order_release);
}
