/* SPDX-License-Identifier: MIT */
/*
 * Numbers, and how objects of all types are made.
 *
 * A number is a leaf: nothing in it is traced, so it lies in the atomic heap and no collection
 * looks at it.  It says all the same where its count stands: else tarn_unref would not know, nor a
 * collection that frees what refers to it.
 *
 * An object is made with a count of zero.  Such an object is left alone, and what it refers to
 * lives, so that there is nothing to keep in order before the first reference is counted.
 */
#include "object.h"

/* A program with several worlds needs them for each. */
const tarn_type *number_type;

/* What all types say.  Does nothing after an error, so that callers look once. */
const tarn_type *type_make(tarn_world *world, tarn_type_spec spec, tarn_status *status) {
  spec.struct_size = sizeof spec;
  spec.refs_at = offsetof(struct object, refs);
  spec.refs_size = sizeof(uint32_t);
  return *status == TARN_OK ? tarn_type_create(world, &spec, status) : NULL;
}

tarn_status objects_start(tarn_world *world) {
  tarn_status status = TARN_OK;
  number_type =
      type_make(world, (tarn_type_spec){.name = "number", .size = sizeof(struct number)}, &status);
  string_start(world, &status);
  list_start(world, &status);
  map_start(world, &status);
  closure_start(world, &status);
  stream_start(world, &status);
  return status;
}

/* With one reference, the caller's. */
void *object_new(tarn_thread *self, const tarn_type *type) {
  struct object *object = tarn_new(self, type);
  return ref(object);
}

/* Numbers never change, so any thread may read them. */
struct number *number_new(tarn_thread *self, int64_t value) {
  struct number *number = object_new(self, number_type);
  if (number != NULL)
    number->value = value;
  return number;
}
