/* SPDX-License-Identifier: MIT */
/*
 * collect/vector.h: arrays that grow, in pages of their own, outside of the heap: what a collection
 * of cycles keeps of units, objects and numbers.  They belong to the collecting thread.
 *
 * An array that was zeroed is empty and has no memory.
 */
#ifndef TARN_COLLECT_VECTOR_H
#define TARN_COLLECT_VECTOR_H

#include "heap/store.h"

/* Of words. */
struct tarn_vector {
  uintptr_t *items;
  size_t count, capacity;
};
bool tarn_vector_grow(struct tarn_vector *vector);  /* false: no memory */
void tarn_vector_empty(struct tarn_vector *vector); /* and little memory stays */
void tarn_vector_drop(struct tarn_vector *vector);

/* False: no memory. */
static inline bool tarn_vector_add(struct tarn_vector *vector, uintptr_t item) {
  if (TARN_UNLIKELY(vector->count == vector->capacity) && !tarn_vector_grow(vector))
    return false;
  vector->items[vector->count++] = item;
  return true;
}

/* Of numbers of 32 bits. */
struct tarn_numbers {
  uint32_t *items;
  size_t count, capacity;
};
bool tarn_numbers_grow(struct tarn_numbers *numbers);
void tarn_numbers_empty(struct tarn_numbers *numbers);
void tarn_numbers_drop(struct tarn_numbers *numbers);

static inline bool tarn_numbers_add(struct tarn_numbers *numbers, uint32_t item) {
  if (TARN_UNLIKELY(numbers->count == numbers->capacity) && !tarn_numbers_grow(numbers))
    return false;
  numbers->items[numbers->count++] = item;
  return true;
}

#endif
