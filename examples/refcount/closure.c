/* SPDX-License-Identifier: MIT */
/*
 * Closures: a C function, and the values that it has captured, of which each is a reference.
 *
 * The values are the elements of an array, all traced: as for lists, the library needs no function.
 * Closures close most of the circles in a real program, for what calls them is often what they have
 * captured.
 */
#include "object.h"

const tarn_type *closure_type;

void closure_start(tarn_world *world, tarn_status *status) {
  closure_type = type_make(world,
                           (tarn_type_spec){.name = "closure",
                                            .size = sizeof(struct closure),
                                            .element_size = sizeof(void *),
                                            .count_word = offsetof(struct closure, count) / 8,
                                            .flags = TARN_TYPE_ELEMENTS_TRACED},
                           status);
}

struct closure *closure_new(tarn_thread *self, closure_fn code, size_t count, void **values) {
  struct closure *closure = ref(tarn_new_array(self, closure_type, count));
  if (closure == NULL)
    return NULL;
  closure->code = code;
  for (size_t i = 0; i < count; i++)
    closure->captured[i] = ref(values[i]);
  return closure;
}

/* Captures another value in the place of an old one, which may die of it: that comes last. */
void closure_set(tarn_thread *self, struct closure *closure, size_t index, void *value) {
  void *old = closure->captured[index];
  closure->captured[index] = ref(value);
  tarn_unref(self, old);
}

/* It may give up the last other reference to itself; it stays until it has returned. */
bool closure_call(tarn_thread *self, struct closure *closure, void *argument) {
  ref(closure);
  bool good = closure->code(self, closure, argument);
  tarn_unref(self, closure);
  return good;
}
