/* SPDX-License-Identifier: MIT */
/*
 * collect/vector.c: see collect/vector.h.
 */
#include "collect/vector.h"
#include "os/os.h"

#define KEPT ((size_t)16 << 10) /* bytes of each that stay for the next collection */

/* Items of `size` bytes; what there is room for afterwards, or 0. */
static size_t grow(void **items, size_t capacity, size_t size) {
  size_t bytes = capacity * size, more = bytes ? bytes * 2 : (size_t)16 << 10;
  void *larger = bytes ? tarn_os_remap(*items, bytes, more) : tarn_os_map(more);
  if (!larger)
    return 0;
  *items = larger;
  return more / size;
}

bool tarn_vector_grow(struct tarn_vector *vector) {
  void *items = vector->items;
  size_t capacity = grow(&items, vector->capacity, sizeof *vector->items);
  if (capacity)
    *vector = (struct tarn_vector){items, vector->count, capacity};
  return capacity != 0;
}

bool tarn_numbers_grow(struct tarn_numbers *numbers) {
  void *items = numbers->items;
  size_t capacity = grow(&items, numbers->capacity, sizeof *numbers->items);
  if (capacity)
    *numbers = (struct tarn_numbers){items, numbers->count, capacity};
  return capacity != 0;
}

void tarn_vector_drop(struct tarn_vector *vector) {
  if (vector->capacity)
    tarn_os_unmap(vector->items, vector->capacity * sizeof *vector->items);
  *vector = (struct tarn_vector){0};
}

void tarn_numbers_drop(struct tarn_numbers *numbers) {
  if (numbers->capacity)
    tarn_os_unmap(numbers->items, numbers->capacity * sizeof *numbers->items);
  *numbers = (struct tarn_numbers){0};
}

void tarn_vector_empty(struct tarn_vector *vector) {
  if (vector->capacity * sizeof *vector->items > KEPT)
    tarn_vector_drop(vector);
  vector->count = 0;
}
void tarn_numbers_empty(struct tarn_numbers *numbers) {
  if (numbers->capacity * sizeof *numbers->items > KEPT)
    tarn_numbers_drop(numbers);
  numbers->count = 0;
}
