/* SPDX-License-Identifier: MIT */
/*
 * Uses every macro and every inlined function of the public headers, in what C99 and C++11 have in
 * common.  headers.sh compiles it as both, and runs it.
 */
#include <stdio.h>
#include <tarn/tarn.h>

struct pair {
  const tarn_type *type;
  void *first, *rest;
};

struct row {
  const tarn_type *type;
  size_t count;
  void *elements[1];
};

static void trace_nothing(const void *object, tarn_visitor *visitor) {
  tarn_visit(visitor, ((const struct pair *)object)->rest);
}

static const tarn_type *make_type(tarn_world *world, bool array) {
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = array ? "row" : "pair";
  spec.size = array ? 2 * sizeof(void *) : sizeof(struct pair);
  spec.element_size = array ? sizeof(void *) : 0;
  spec.flags = TARN_TYPE_ALL_TRACED;
  if (array)
    spec.flags = TARN_TYPE_ALL_TRACED | TARN_TYPE_ELEMENTS_TRACED;
  spec.trace = array ? NULL : trace_nothing;
  return tarn_type_create(world, &spec, NULL);
}

static bool use_blocks(tarn_thread *self, tarn_heap *heap) {
  void *raw = tarn_alloc_raw(self, 24), *atomic = tarn_alloc_atomic(self, 4000);
  void *other = tarn_heap_alloc(self, heap, 100);
  bool good = raw && atomic && other;
  tarn_free(self, raw);
  tarn_free(self, atomic);
  tarn_free(self, other);
  return good;
}

static bool use_objects(tarn_thread *self, const tarn_type *pairs, const tarn_type *rows) {
  struct pair *list = NULL;
  struct row *row = NULL;
  TARN_FRAME(self, &list, &row);
  {
    void *one = NULL;
    TARN_FRAME(self, &one); /* in an inner scope */
    row = (struct row *)tarn_new_array(self, rows, 3);
    one = tarn_new(self, pairs);
    list = (struct pair *)tarn_new(self, pairs);
    if (!row || !one || !list)
      return false;
    tarn_store_new(self, list, &list->first, one);
    tarn_store(self, row, &row->elements[2], list);
    row->elements[1] = one;
    tarn_barrier(self, row, &row->elements[1]);
  }
  tarn_safepoint(self);
  return tarn_collect(self, TARN_GENERATION_FULL) == TARN_OK && tarn_type_of(list) == pairs &&
         row->elements[2] == list && row->count == 3;
}

static bool use_table(tarn_thread *self, tarn_world *world) {
  tarn_weak_table_spec spec = TARN_WEAK_TABLE_SPEC_INIT;
  tarn_weak_table *table = NULL;
  spec.kind = TARN_WEAK_KEYS;
  if (tarn_weak_table_create(world, &spec, &table) != TARN_OK)
    return false;
  bool good = tarn_weak_table_get(self, table, self, NULL) == NULL;
  tarn_weak_table_destroy(table);
  return good;
}

static bool use_frame(tarn_thread *self) {
  void *local = NULL;
  void *const slots[] = {&local};
  tarn_frame frame;
  tarn_frame_push(self, &frame, slots, 1);
  tarn_frame_pop(self, &frame);
  return TARN_LIKELY(!local) && !TARN_UNLIKELY(local != NULL);
}

int main(void) {
  tarn_options options = TARN_OPTIONS_INIT;
  options.flags = TARN_OPTIONS_BARRIERS;
  tarn_world *world = NULL;
  tarn_thread *self = NULL;
  if (tarn_world_create(&options, &world) != TARN_OK || tarn_thread_attach(world, &self) != TARN_OK)
    return 1;
  const tarn_type *pairs = make_type(world, false), *rows = make_type(world, true);
  bool good = use_blocks(self, tarn_world_heap(world, TARN_HEAP_ATOMIC)) && pairs && rows &&
              use_objects(self, pairs, rows) && use_table(self, world) && use_frame(self);
  good &= tarn_thread_status(self) == TARN_OK && tarn_thread_detach(self) == TARN_OK;
  printf("%s\n", good ? "good" : "bad");
  return tarn_world_destroy(world) != TARN_OK || !good;
}
