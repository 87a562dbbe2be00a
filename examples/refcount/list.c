/* SPDX-License-Identifier: MIT */
/*
 * Lists: an object of a fixed size, and an array of the values, which is an object as well, with a
 * single reference.
 *
 * All that is counted stands in traced slots and elements, so the library knows how to trace a
 * list, to give up what it refers to, and to clear it: no functions.
 */
#include "object.h"
#include <string.h>

struct items {
  struct object object;
  size_t room;
  void *values[];
};

const tarn_type *list_type;
static const tarn_type *items_type;

void list_start(tarn_world *world, tarn_status *status) {
  items_type = type_make(world,
                         (tarn_type_spec){.name = "items",
                                          .size = sizeof(struct items),
                                          .element_size = sizeof(void *),
                                          .count_word = offsetof(struct items, room) / 8,
                                          .flags = TARN_TYPE_ELEMENTS_TRACED},
                         status);
  list_type = type_make(world,
                        (tarn_type_spec){.name = "list",
                                         .size = sizeof(struct list),
                                         .slot_bits = 1u << offsetof(struct list, items) / 8},
                        status);
}

struct list *list_new(tarn_thread *self) {
  return object_new(self, list_type);
}

/* The values move: as many references as before, so no count changes.  Nobody comes to a safepoint
 * before they stand in one place again. */
static bool grow(tarn_thread *self, struct list *list) {
  struct items *old = list->items;
  struct items *larger =
      ref(tarn_new_array(self, items_type, old == NULL ? 4 : list->length + list->length / 2));
  if (larger == NULL)
    return false;
  if (old != NULL) {
    memcpy(larger->values, old->values, list->length * sizeof *old->values);
    memset(old->values, 0, list->length * sizeof *old->values);
  }
  list->items = larger; /* our reference is the list's now */
  tarn_unref(self, old);
  return true;
}

bool list_push(tarn_thread *self, struct list *list, void *value) {
  if ((list->items == NULL || list->length == list->items->room) && !grow(self, list))
    return false;
  list->items->values[list->length++] = ref(value);
  return true;
}

void *list_at(const struct list *list, size_t index) {
  return index < list->length ? list->items->values[index] : NULL;
}
