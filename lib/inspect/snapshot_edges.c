/* SPDX-License-Identifier: MIT */
/*
 * inspect/snapshot_edges.c: the references of one block, with their names; see snapshot.h.
 *
 * They are those that the marker follows (collect/scan.h), in the same order, and what it does not:
 * weak references, and what ephemerons hold.  An edge is there for each word that names a block in
 * use.  What waits to be freed has but its data block: what it refers to may be gone.
 */
#include "inspect/snapshot.h"

/* One block, and who is told. */
struct scan {
  struct tarn_visits visits; /* must be first */
  struct tarn_snapshot *snapshot;
  tarn_snapshot_fn_edge fn;
  void *data;
  uint32_t told, visited;
};

static void tell(struct scan *scan, struct tarn_snapshot_told edge) {
  scan->told++;
  scan->fn(scan->data, &edge);
}

/* An edge of a series, if the word names a block. */
static void tell_word(struct scan *scan, uintptr_t word, uint8_t series, uint32_t number) {
  uint32_t to = tarn_snapshot_find(scan->snapshot, word, false);
  bool named = series < TARN_SERIES && number < TARN_SERIES_MOST;
  if (to)
    tell(scan, (struct tarn_snapshot_told){.type = named ? TARN_EDGE_PROPERTY : TARN_EDGE_ELEMENT,
                                           .series = named ? series : TARN_SERIES,
                                           .number = number,
                                           .to = to,
                                           .pair = UINT32_MAX});
}

static void tell_text(struct scan *scan, uint32_t to, uint8_t type, uint32_t text) {
  if (to)
    tell(scan,
         (struct tarn_snapshot_told){
             .type = type, .series = TARN_SERIES, .number = text, .to = to, .pair = UINT32_MAX});
}

static void tell_pair(struct scan *scan, uint32_t pair) {
  const struct tarn_snapshot_pair *pairs = (const void *)scan->snapshot->pairs.bytes;
  tell(scan, (struct tarn_snapshot_told){.type = TARN_EDGE_INTERNAL,
                                         .series = TARN_SERIES,
                                         .to = pairs[pair].value,
                                         .pair = pair});
}

/* --- by layout ------------------------------------------------------------------------------- */

static void tell_layout(struct scan *scan, const uintptr_t *words, const struct tarn_layout *layout,
                        size_t count, uint8_t series) {
  for (size_t i = 0; layout->all && i < count; i++)
    tell_word(scan, words[i], series, (uint32_t)i);
  if (layout->all)
    return;
  for (uint64_t bits = layout->bits; bits; bits &= bits - 1) {
    uint32_t i = (uint32_t)__builtin_ctzll(bits);
    tell_word(scan, words[i], series, i);
  }
  for (uint32_t i = 0; i < layout->more_count; i++)
    tell_word(scan, words[layout->more[i]], series, layout->more[i]);
}

static void tell_element(struct scan *scan, const tarn_type *type, const uintptr_t *words,
                         uint32_t number) {
  const struct tarn_layout *layout = &type->element;
  size_t count = type->element_size / sizeof(uintptr_t);
  for (size_t i = 0; layout->all && i < count; i++)
    tell_word(scan, words[i], TARN_SERIES, number);
  for (uint64_t bits = layout->all ? 0 : layout->bits; bits; bits &= bits - 1)
    tell_word(scan, words[__builtin_ctzll(bits)], TARN_SERIES, number);
  for (uint32_t i = 0; !layout->all && i < layout->more_count; i++)
    tell_word(scan, words[layout->more[i]], TARN_SERIES, number);
}

static void tell_elements(struct scan *scan, const tarn_type *type, const char *object,
                          size_t size) {
  if (!type->is_array || !tarn_layout_has_traced(&type->element))
    return;
  size_t count = tarn_scan_element_count(type, object, size);
  const char *element = object + type->size;
  for (size_t i = 0; i < count; i++, element += type->element_size)
    tell_element(scan, type, (const uintptr_t *)(const void *)element, (uint32_t)i);
}

static const uintptr_t *data_of(struct scan *scan, const tarn_type *type, const uintptr_t *object) {
  const uintptr_t *data = type->data_size ? tarn_scan_data_block(type, object) : NULL;
  if (data)
    tell_text(scan, tarn_snapshot_find(scan->snapshot, (uintptr_t)data, false), TARN_EDGE_INTERNAL,
              TARN_TEXT_DATA);
  return data;
}

/* --- by function ----------------------------------------------------------------------------- */

static void take(struct tarn_visits *visits, const uintptr_t *words, size_t count) {
  struct scan *scan = (struct scan *)(void *)visits;
  for (size_t i = 0; i < count; i++)
    tell_word(scan, words[i], TARN_SERIES_VISIT, scan->visited++);
}

static void tell_visits(struct scan *scan, const tarn_type *type, const void *object) {
  if (!type->trace)
    return;
  tarn_visits_begin(&scan->visits, take);
  type->trace(object, &scan->visits.visitor);
  tarn_visits_take(&scan->visits);
}

/* --- what is weak ---------------------------------------------------------------------------- */

/* Words as in collect/weak.c and collect/ephemeron.h. */
enum { WORD_FIRST = 1 };

static void tell_weak(struct scan *scan, const uintptr_t *words) {
  tell_text(scan, tarn_snapshot_find(scan->snapshot, words[WORD_FIRST], false), TARN_EDGE_WEAK,
            TARN_TEXT_TARGET);
}

static void tell_ephemeron(struct scan *scan, const uintptr_t *words, uint32_t node) {
  uint32_t key = tarn_snapshot_find(scan->snapshot, words[WORD_FIRST], false);
  tell_text(scan, key, TARN_EDGE_WEAK, TARN_TEXT_KEY);
  uint32_t pair = key ? tarn_snapshot_pair(scan->snapshot, key, node) : UINT32_MAX;
  if (pair != UINT32_MAX)
    tell_pair(scan, pair);
}

/* Those of which the block is the key. */
static void tell_pairs(struct scan *scan, uint32_t node) {
  const struct tarn_snapshot_pair *pairs = (const void *)scan->snapshot->pairs.bytes;
  size_t count = tarn_snapshot_pair_count(scan->snapshot), at = scan->snapshot->pair_at;
  if (at > 0 && pairs[at - 1].key >= node) /* another walk has begun */
    at = 0;
  while (at < count && pairs[at].key < node)
    at++;
  scan->snapshot->pair_at = at;
  for (; at < count && pairs[at].key == node; at++)
    tell_pair(scan, (uint32_t)at);
}

/* --- one block ------------------------------------------------------------------------------- */

static void tell_object(struct scan *scan, const struct tarn_snapshot_block *block) {
  const uintptr_t *words = (const uintptr_t *)block->base;
  const tarn_type *type = tarn_type_of(words);
  if (tarn_snapshot_type_name(scan->snapshot, type) == TARN_TEXT_UNKNOWN)
    return;
  if (type->scan == TARN_SCAN_WEAK || type->scan == TARN_SCAN_EPHEMERON) {
    if (type->scan == TARN_SCAN_WEAK)
      tell_weak(scan, words);
    else
      tell_ephemeron(scan, words, block->node);
    return;
  }
  if (type->scan != TARN_SCAN_NONE && !block->dead)
    tell_layout(scan, words, &type->slots, type->words, TARN_SERIES_SLOT);
  const uintptr_t *data = data_of(scan, type, words);
  if (type->scan == TARN_SCAN_NONE || block->dead)
    return;
  if (data)
    tell_layout(scan, data, &type->data, type->data_size / sizeof(uintptr_t), TARN_SERIES_DATA);
  tell_visits(scan, type, words);
  tell_elements(scan, type, (const char *)words, block->size);
}

uint32_t tarn_snapshot_edges(struct tarn_snapshot *snapshot,
                             const struct tarn_snapshot_block *block, tarn_snapshot_fn_edge fn,
                             void *data) {
  struct scan scan;
  scan.snapshot = snapshot;
  scan.fn = fn;
  scan.data = data;
  scan.told = scan.visited = 0;
  if (!block->raw)
    tell_object(&scan, block);
  tell_pairs(&scan, block->node);
  uint32_t rests = tarn_snapshot_rests(block->size);
  for (uint32_t i = 0; i < rests; i++)
    tell_text(&scan, TARN_SNAPSHOT_NEXT_REST, TARN_EDGE_INTERNAL, TARN_TEXT_REST);
  return scan.told;
}
