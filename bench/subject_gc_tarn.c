/* SPDX-License-Identifier: MIT */
/* Group gc on Tarn: default options, precise roots. */
#include <tarn/tarn.h>

#define SUBJECT "tarn"
#define ROOTS(mutator, ...) TARN_FRAME((mutator)->self, __VA_ARGS__)

struct mutator {
  tarn_thread *self;
};

#include "workload_gc.h"

static tarn_world *world;
static const tarn_type *cell_type;
static const tarn_type *tree_type;

static void mutator_begin(struct mutator *mutator) {
  if (tarn_thread_attach(world, &mutator->self) != TARN_OK)
    subject_fail(SUBJECT, "cannot attach a thread");
}

static void mutator_end(struct mutator *mutator) { tarn_thread_detach(mutator->self); }
static void mutator_wait_begin(struct mutator *mutator) { tarn_block_begin(mutator->self); }
static void mutator_wait_end(struct mutator *mutator) { tarn_block_end(mutator->self); }

static inline void *cell_new(struct mutator *mutator) { return tarn_new(mutator->self, cell_type); }
static inline void *tree_new(struct mutator *mutator) { return tarn_new(mutator->self, tree_type); }

static void tree_drop(struct mutator *mutator, struct tree *tree) {
  (void)mutator;
  (void)tree;
}

static void subject_report(void) {
  tarn_stats stats = {.struct_size = sizeof stats};
  if (tarn_stats_get(world, &stats) != TARN_OK)
    subject_fail(SUBJECT, "no statistics");
  subject_figure("heap_bytes", (double)stats.heap_bytes_max);
  subject_figure("collections", (double)stats.collections);
}

static const tarn_type *make_type(const char *name, size_t size) {
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = name;
  spec.size = size;
  spec.slot_bits = 1u << 1 | 1u << 2; /* words 1 and 2; a cell's word 3 is raw */
  const tarn_type *type = tarn_type_create(world, &spec, NULL);
  if (!type)
    subject_fail(SUBJECT, "cannot make a type");
  return type;
}

int main(int argc, char **argv) {
  tarn_options options = TARN_OPTIONS_INIT;
  /* What lives before the first collection is measured before one. */
  if (argc > 1 && argv[1][0] == 'l')
    options.set = "collect=off";
  if (tarn_world_create(&options, &world) != TARN_OK)
    subject_fail(SUBJECT, "cannot make a world");
  cell_type = make_type("cell", sizeof(struct cell));
  tree_type = make_type("tree", sizeof(struct tree));

  struct mutator mutator;
  mutator_begin(&mutator);
  run_workload(&mutator, argc, argv);
  subject_report();
  mutator_end(&mutator);
  return tarn_world_destroy(world) == TARN_OK ? 0 : 1;
}
