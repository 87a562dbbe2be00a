/* SPDX-License-Identifier: MIT */
/*
 * collect/scan.c: see collect/scan.h.
 */
#include "collect/scan.h"
#include "world/world.h"
#include <string.h>

/* --- what an object consists of --------------------------------------------------------------- */

const uintptr_t *tarn_scan_data_block(const tarn_type *type, const uintptr_t *words) {
  struct tarn_place place;
  uintptr_t data = words[type->data_word];
  if (!tarn_find(type->world->store.id, data, false, &place) || place.size < type->data_size)
    return NULL;
  return (const uintptr_t *)data;
}

size_t tarn_scan_element_count(const tarn_type *type, const void *object, size_t size) {
  size_t fit = size > type->size ? (size - type->size) / type->element_size : 0;
  size_t count = tarn_type_elements(type, object);
  return count < fit ? count : fit;
}

size_t tarn_scan_block_size(const void *object) {
  uint64_t map = tarn_map_get(tarn_unit_of((uintptr_t)object));
  return tarn_map_form(map) == TARN_FORM_POOL ? tarn_map_block_size(map)
                                              : tarn_large_of((uintptr_t)object)->bytes;
}

/* --- visitors -------------------------------------------------------------------------------- */

static struct tarn_visits *visits_of(tarn_visitor *visitor) {
  return (struct tarn_visits *)(void *)visitor;
}

void tarn_visit_outline(tarn_visitor *visitor, const void *reference) {
  if (visitor->tarn_next == visitor->tarn_end)
    tarn_visits_take(visits_of(visitor));
  *visitor->tarn_next++ = (uintptr_t)reference;
}

/* Few are put beside the others; many are taken from where they lie. */
void tarn_visit_range(tarn_visitor *visitor, const void *first, size_t count) {
  struct tarn_visits *visits = visits_of(visitor);
  if (count > (size_t)(visitor->tarn_end - visitor->tarn_next))
    tarn_visits_take(visits);
  if (count > TARN_VISITS) {
    visits->take(visits, first, count);
    return;
  }
  if (count)
    memcpy(visitor->tarn_next, first, count * sizeof(uintptr_t));
  visitor->tarn_next += count;
}

static void visit_word(void *context, uintptr_t word) { tarn_visit(context, (const void *)word); }
static void visit_words(void *context, const uintptr_t *words, size_t count) {
  tarn_visit_range(context, words, count);
}

/* Weak references and ephemerons have none. */
static bool has_strong(const tarn_type *type) {
  return type->scan == TARN_SCAN_BITS || type->scan == TARN_SCAN_GENERAL ||
         type->scan == TARN_SCAN_TRACE;
}

static void visit_fixed(tarn_visitor *visitor, const tarn_type *type, const void *object) {
  tarn_scan_layout(object, &type->slots, type->words, visit_word, visit_words, visitor);
}

/* What is not laid out in the object itself. */
static void visit_beside(tarn_visitor *visitor, const tarn_type *type, const void *object) {
  if (type->data_size)
    tarn_scan_data(type, object, visit_word, visit_words, visitor);
  if (type->trace)
    type->trace(object, visitor);
}

void tarn_scan_object(struct tarn_visits *visits, const void *object) {
  const tarn_type *type = tarn_type_of(object);
  tarn_visitor *visitor = &visits->visitor;
  if (TARN_LIKELY(type->scan == TARN_SCAN_TRACE)) {
    type->trace(object, visitor);
    return;
  }
  if (!has_strong(type))
    return;
  visit_fixed(visitor, type, object);
  if (type->is_array && tarn_layout_has_traced(&type->element))
    tarn_scan_elements(type, object, 0,
                       tarn_scan_element_count(type, object, tarn_scan_block_size(object)),
                       visit_word, visit_words, visitor);
  visit_beside(visitor, type, object);
}

static void visit_part(tarn_visitor *visitor, const void *object, size_t size, uintptr_t from,
                       uintptr_t to) {
  const tarn_type *type = tarn_type_of(object);
  uintptr_t elements = (uintptr_t)object + type->size;
  if (!type->is_array || !tarn_layout_has_traced(&type->element) || to <= elements)
    return;
  size_t count = tarn_scan_element_count(type, object, size);
  size_t first = from > elements ? (from - elements) / type->element_size : 0;
  size_t end = (to - elements + type->element_size - 1) / type->element_size;
  if (end > count)
    end = count;
  if (first < end)
    tarn_scan_elements(type, object, first, end - first, visit_word, visit_words, visitor);
}

void tarn_scan_part(struct tarn_visits *visits, const void *object, size_t size, uintptr_t from,
                    uintptr_t to) {
  const tarn_type *type = tarn_type_of(object);
  if (!has_strong(type))
    return;
  if (from < (uintptr_t)object + type->size)
    visit_fixed(&visits->visitor, type, object);
  visit_beside(&visits->visitor, type, object);
  visit_part(&visits->visitor, object, size, from, to);
  tarn_visits_take(visits);
}
