/* SPDX-License-Identifier: MIT */
/*
 * Group gc on malloc and free: all objects are dropped by hand. They come zeroed, as on the other
 * sides: the words are stored one by one, which is cheaper than calloc.
 */
#define SUBJECT "malloc"
#define PEER_COLLECTS 0
#define ROOTS(mutator, ...) ((void)(mutator))

struct mutator {
  char unused;
};

static void peer_start(const struct peer_setup *setup) { (void)setup; }
static void peer_finish(void) {}
static inline void shape_make(struct shape *shape) { shape->type = shape; }
static inline void mutator_begin(struct mutator *mutator) { mutator->unused = 0; }
static inline void mutator_end(struct mutator *mutator) { (void)mutator; }
static inline void mutator_wait_begin(struct mutator *mutator) { (void)mutator; }
static inline void mutator_wait_end(struct mutator *mutator) { (void)mutator; }

static inline void *object_new(struct mutator *mutator, const struct shape *shape) {
  (void)mutator;
  const void **object = malloc(shape->size);
  if (!object)
    return NULL;
  object[0] = shape->type;
  for (size_t i = 1; i < shape->size / 8; i++)
    object[i] = NULL;
  return object;
}

static inline void object_store(struct mutator *mutator, void *object, void *slot, void *value) {
  (void)mutator, (void)object;
  *(void **)slot = value;
}

static inline void object_drop(struct mutator *mutator, void *object) {
  (void)mutator;
  free(object);
}
