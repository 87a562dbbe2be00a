/* SPDX-License-Identifier: MIT */
/*
 * collect/finalizer.c: finalizers; see finalizer.h.
 */
#include "collect/collector.h"
#include "os/os.h"

#define FIRST_INDEX ((size_t)64)

struct tarn_finalizer {
  void *object; /* as it was given, tag bits included */
  tarn_finalizer_fn fn;
  void *data;
  struct tarn_finalizer *next, *previous; /* on its list */
  struct tarn_finalizer *chain;           /* the next one in the index */
  struct tarn_finalizer **chained;        /* what points to this one there */
  uint64_t round;                         /* the search that made it due; 0: not due */
};

static struct tarn_finalizer_part *part_of(tarn_world *world) {
  return &tarn_collector_of(world)->finalizers;
}

static void lock(struct tarn_finalizer_part *part) { (void)pthread_mutex_lock(&part->lock); }
static void unlock(struct tarn_finalizer_part *part) { (void)pthread_mutex_unlock(&part->lock); }

tarn_status tarn_finalizer_start(tarn_world *world) {
  struct tarn_finalizer_part *part = part_of(world);
  part->added = part->due = (struct tarn_finalizer_list){NULL, NULL};
  part->fresh[0] = part->fresh[1] = NULL;
  part->index = NULL;
  part->index_size = part->new_due = 0;
  atomic_init(&part->nodes, 0);
  part->round = 0;
  atomic_init(&part->due_count, 0);
  atomic_init(&part->ran, 0);
  return pthread_mutex_init(&part->lock, NULL) == 0 ? TARN_OK : TARN_ENOMEM;
}

/* --- lists and index; under the lock --------------------------------------------------------- */

static void append(struct tarn_finalizer_list *list, struct tarn_finalizer *node) {
  node->next = NULL;
  node->previous = list->last;
  if (list->last)
    list->last->next = node;
  else
    list->first = node;
  list->last = node;
}

static void unlink_node(struct tarn_finalizer_list *list, struct tarn_finalizer *node) {
  if (node->previous)
    node->previous->next = node->next;
  else
    list->first = node->next;
  if (node->next)
    node->next->previous = node->previous;
  else
    list->last = node->previous;
}

static struct tarn_finalizer **chain_of(const struct tarn_finalizer_part *part, uintptr_t object) {
  /* Blocks have at least 16 bytes, so nothing is lost with the low bits, tags among them. */
  uint64_t hash = (uint64_t)(object >> TARN_GRANULE_SHIFT) * UINT64_C(0x9e3779b97f4a7c15);
  return &part->index[(hash >> 32) & (part->index_size - 1)];
}

static void index_insert(struct tarn_finalizer_part *part, struct tarn_finalizer *node) {
  struct tarn_finalizer **head = chain_of(part, (uintptr_t)node->object);
  node->chain = *head;
  node->chained = head;
  if (node->chain)
    node->chain->chained = &node->chain;
  *head = node;
}

static void index_remove(struct tarn_finalizer *node) {
  *node->chained = node->chain;
  if (node->chain)
    node->chain->chained = node->chained;
}

static void index_list(struct tarn_finalizer_part *part, const struct tarn_finalizer_list *list) {
  for (struct tarn_finalizer *node = list->first; node; node = node->next)
    index_insert(part, node);
}

/* Doubles the index when it is full; false: there is none and no memory for one. */
static bool index_grow(struct tarn_meta *meta, struct tarn_finalizer_part *part) {
  if (part->nodes < part->index_size)
    return true;
  size_t old_size = part->index_size;
  size_t size = old_size ? old_size * 2 : FIRST_INDEX;
  struct tarn_finalizer **index = tarn_meta_alloc(meta, size * sizeof(struct tarn_finalizer *));
  if (!index)
    return old_size != 0; /* the chains get longer */
  tarn_meta_free(meta, part->index, old_size * sizeof(struct tarn_finalizer *));
  part->index = index;
  part->index_size = size;
  index_list(part, &part->added);
  index_list(part, &part->due);
  return true;
}

static void count_due(struct tarn_finalizer_part *part, size_t more, size_t less) {
  /* Relaxed: a figure.  Who finds a node takes the lock for it. */
  size_t due = atomic_load_explicit(&part->due_count, memory_order_relaxed);
  atomic_store_explicit(&part->due_count, due + more - less, memory_order_relaxed);
}

/* Off `added`; those that begin there begin with the next one. */
static void unlink_added(struct tarn_finalizer_part *part, struct tarn_finalizer *node) {
  for (unsigned i = 0; i < 2; i++)
    if (part->fresh[i] == node)
      part->fresh[i] = node->next;
  unlink_node(&part->added, node);
}

static void append_added(struct tarn_finalizer_part *part, struct tarn_finalizer *node) {
  append(&part->added, node);
  for (unsigned i = 0; i < 2; i++)
    if (!part->fresh[i])
      part->fresh[i] = node;
}

/* Takes a node out of everything; it is the caller's to free. */
static void take_out(struct tarn_finalizer_part *part, struct tarn_finalizer *node) {
  index_remove(node);
  if (node->round)
    unlink_node(&part->due, node);
  else
    unlink_added(part, node);
  part->nodes--;
  if (node->round)
    count_due(part, 0, 1);
}

static void free_node(tarn_world *world, struct tarn_finalizer *node) {
  tarn_meta_free(&world->store.meta, node, sizeof *node);
}

/* Nodes that were taken out, linked through `next`. */
static void free_nodes(tarn_world *world, struct tarn_finalizer *node) {
  while (node) {
    struct tarn_finalizer *next = node->next;
    free_node(world, node);
    node = next;
  }
}

void tarn_finalizer_end(tarn_world *world) {
  struct tarn_finalizer_part *part = part_of(world);
  free_nodes(world, part->added.first);
  free_nodes(world, part->due.first);
  tarn_meta_free(&world->store.meta, part->index,
                 part->index_size * sizeof(struct tarn_finalizer *));
  (void)pthread_mutex_destroy(&part->lock);
}

/* --- for mutators ---------------------------------------------------------------------------- */

static bool is_object(tarn_world *world, const void *object) {
  struct tarn_place place;
  uintptr_t address = (uintptr_t)object & ~world->tag_mask;
  return tarn_find(world->store.id, address, false, &place) &&
         tarn_map_kind(place.map) != TARN_KIND_RAW &&
         /* Relaxed: who has a good reference to the object got it after the type was stored. */
         __atomic_load_n((const uintptr_t *)address, __ATOMIC_RELAXED) != 0;
}

static tarn_status check(tarn_thread *self, const void *object, tarn_finalizer_fn fn) {
  tarn_status status = tarn_thread_check_running(self);
  if (status == TARN_OK && (!fn || !is_object(tarn_mutator_of(self)->world, object)))
    status = TARN_EINVAL;
  return status;
}

tarn_status tarn_finalizer_add(tarn_thread *self, void *object, tarn_finalizer_fn fn, void *data) {
  tarn_status status = check(self, object, fn);
  if (status == TARN_OK && tarn_mutator_of(self)->world->config.counting)
    status = TARN_EKIND;
  if (status != TARN_OK)
    return status;
  tarn_world *world = tarn_mutator_of(self)->world;
  struct tarn_finalizer_part *part = part_of(world);
  struct tarn_finalizer *node = tarn_meta_alloc(&world->store.meta, sizeof *node);
  if (!node)
    return TARN_ENOMEM;
  node->object = object;
  node->fn = fn;
  node->data = data;
  lock(part);
  bool room = index_grow(&world->store.meta, part);
  if (room) {
    append_added(part, node);
    index_insert(part, node);
    part->nodes++;
  }
  unlock(part);
  if (!room)
    free_node(world, node);
  return room ? TARN_OK : TARN_ENOMEM;
}

tarn_status tarn_finalizer_remove(tarn_thread *self, void *object, tarn_finalizer_fn fn,
                                  void *data) {
  tarn_status status = check(self, object, fn);
  if (status != TARN_OK)
    return status;
  tarn_world *world = tarn_mutator_of(self)->world;
  struct tarn_finalizer_part *part = part_of(world);
  struct tarn_finalizer *removed = NULL, *next;
  lock(part);
  for (struct tarn_finalizer *node = part->nodes ? *chain_of(part, (uintptr_t)object) : NULL; node;
       node = next) {
    next = node->chain;
    if (node->object != object || node->fn != fn || node->data != data || node->round)
      continue;
    take_out(part, node);
    node->next = removed;
    removed = node;
  }
  unlock(part);
  status = removed ? TARN_OK : TARN_ENOTFOUND;
  free_nodes(world, removed);
  return status;
}

void tarn_finalizers_freed(struct tarn_collector *collector, const void *object) {
  struct tarn_finalizer_part *part = &collector->finalizers;
  struct tarn_finalizer *removed = NULL, *next;
  uintptr_t mask = ~collector->world->tag_mask;
  /* Relaxed: the caller added them itself, or was handed the object after somebody had. */
  if (atomic_load_explicit(&part->nodes, memory_order_relaxed) == 0)
    return;
  lock(part);
  for (struct tarn_finalizer *node = part->nodes ? *chain_of(part, (uintptr_t)object) : NULL; node;
       node = next) {
    next = node->chain;
    if (((uintptr_t)node->object & mask) != (uintptr_t)object)
      continue;
    take_out(part, node);
    node->next = removed;
    removed = node;
  }
  unlock(part);
  free_nodes(collector->world, removed);
}

size_t tarn_finalizers_due(tarn_world *world) {
  /* Relaxed: a hint; see count_due. */
  return world ? atomic_load_explicit(&part_of(world)->due_count, memory_order_relaxed) : 0;
}

/*
 * Runs the first finalizer that is due.  False: none was, or the finalizer detached the thread,
 * which it must not.
 */
static bool run_one(tarn_thread *self, tarn_world *world) {
  struct tarn_finalizer_part *part = part_of(world);
  lock(part);
  struct tarn_finalizer *node = part->due.first;
  if (node)
    take_out(part, node);
  unlock(part);
  if (!node)
    return false;
  /* From the queue into a frame: no safepoint lies between. */
  void *object = node->object;
  void *const slots[] = {&object};
  tarn_frame frame;
  tarn_frame_push(self, &frame, slots, 1);
  tarn_finalizer_fn fn = node->fn;
  void *data = node->data;
  free_node(world, node);
  fn(self, object, data);
  /* Relaxed: a figure. */
  (void)atomic_fetch_add_explicit(&part->ran, 1, memory_order_relaxed);
  if (tarn_thread_check_running(self) != TARN_OK)
    return false; /* the frame was closed by the detach, and the record may be another thread's */
  tarn_frame_pop(self, &frame);
  return true;
}

size_t tarn_finalizers_run(tarn_thread *self, size_t most) {
  tarn_status status = tarn_thread_check_running(self);
  if (status != TARN_OK) {
    tarn_thread_fail(self, status);
    return 0;
  }
  tarn_world *world = tarn_mutator_of(self)->world;
  /* What becomes due meanwhile waits for the next call, so that this one ends. */
  size_t due = tarn_finalizers_due(world);
  if (most == 0 || most > due)
    most = due;
  size_t ran = 0;
  uint64_t began = most && tarn_is_told(&world->store, TARN_TOLD_FINALIZE) ? tarn_os_now() : 0;
  while (ran < most && run_one(self, world)) {
    ran++;
    tarn_safepoint(self); /* a long queue of short finalizers must not keep the others waiting */
  }
  if (began && ran && tarn_is_told(&world->store, TARN_TOLD_FINALIZE))
    tarn_tell(&world->store, (struct tarn_told){.kind = TARN_TOLD_FINALIZE,
                                                .began = began,
                                                .count = ran,
                                                .what = tarn_mutator_of(self)});
  return ran;
}

/* --- for the collector ----------------------------------------------------------------------- */

/*
 * The world is stopped, and no stopped thread has the lock; the collector takes it all the same,
 * which costs nothing, and makes the hand-over plain.
 */
void tarn_finalizers_roots(struct tarn_collector *collector) {
  struct tarn_finalizer_part *part = &collector->finalizers;
  lock(part);
  part->new_due = 0;
  for (struct tarn_finalizer *node = part->due.first; node; node = node->next)
    tarn_mark_word(&collector->marker, (uintptr_t)node->object);
  unlock(part);
}

void tarn_finalizers_each_due(struct tarn_collector *collector,
                              void (*fn)(void *data, uintptr_t object), void *data) {
  struct tarn_finalizer_part *part = &collector->finalizers;
  lock(part);
  for (struct tarn_finalizer *node = part->due.first; node; node = node->next)
    fn(data, (uintptr_t)node->object);
  unlock(part);
}

/* Is the object of a node without a mark still there, and not freed by hand? */
static bool is_there(struct tarn_collector *collector, const struct tarn_finalizer *node) {
  struct tarn_place place;
  uintptr_t address = (uintptr_t)node->object & ~collector->marker.tag_mask;
  return tarn_find(collector->marker.store->id, address, false, &place) &&
         tarn_weak_in_use(&collector->marker, &place);
}

/* Moves a node whose object is not marked to the due queue, or to `dropped`. */
static void make_due(struct tarn_collector *collector, struct tarn_finalizer *node,
                     struct tarn_finalizer **dropped) {
  struct tarn_finalizer_part *part = &collector->finalizers;
  if (!is_there(collector, node)) {
    take_out(part, node);
    node->next = *dropped;
    *dropped = node;
    return;
  }
  unlink_added(part, node);
  append(&part->due, node);
  node->round = part->round;
  part->new_due++;
  count_due(part, 1, 0);
}

/* The first node that a collection of the generation has to look at. */
static struct tarn_finalizer *first_to_look_at(const struct tarn_finalizer_part *part,
                                               int generation) {
  return generation == TARN_GENERATION_FULL ? part->added.first : part->fresh[generation];
}

/* Survivors of generation 0 are looked at again in generation 1, all others not before the next
 * full collection. */
static void note_looked(struct tarn_finalizer_part *part, int generation) {
  for (int i = 0; i < 2 && i <= generation; i++)
    part->fresh[i] = NULL;
}

void tarn_finalizers_find(struct tarn_collector *collector) {
  struct tarn_finalizer_part *part = &collector->finalizers;
  struct tarn_finalizer *dropped = NULL, *next;
  lock(part);
  struct tarn_finalizer *before = part->due.last;
  part->round++;
  for (struct tarn_finalizer *node = first_to_look_at(part, collector->generation); node;
       node = next) {
    next = node->next;
    if (tarn_weak_is_dead(&collector->marker, (uintptr_t)node->object))
      make_due(collector, node, &dropped);
  }
  note_looked(part, collector->generation);
  /* Only now: marking earlier would hide objects of which others have finalizers too. */
  for (struct tarn_finalizer *node = before ? before->next : part->due.first; node;
       node = node->next)
    tarn_mark_word(&collector->marker, (uintptr_t)node->object);
  unlock(part);
  free_nodes(collector->world, dropped);
}

bool tarn_finalizer_is_new_due(struct tarn_collector *collector, uintptr_t object) {
  const struct tarn_finalizer_part *part = &collector->finalizers;
  uintptr_t mask = ~collector->marker.tag_mask;
  if (!part->new_due)
    return false;
  for (const struct tarn_finalizer *node = *chain_of(part, object); node; node = node->chain)
    if (node->round == part->round && (((uintptr_t)node->object ^ object) & mask) == 0)
      return true;
  return false;
}

static void forget_list(struct tarn_collector *collector, struct tarn_finalizer *node,
                        tarn_gone_fn gone, void *data, struct tarn_finalizer **dropped) {
  uintptr_t mask = ~collector->world->tag_mask;
  for (struct tarn_finalizer *next; node; node = next) {
    next = node->next;
    if (!gone((uintptr_t)node->object & mask, data))
      continue;
    take_out(&collector->finalizers, node);
    node->next = *dropped;
    *dropped = node;
  }
}

void tarn_finalizers_forget(struct tarn_collector *collector, tarn_gone_fn gone, void *data) {
  struct tarn_finalizer_part *part = &collector->finalizers;
  struct tarn_finalizer *dropped = NULL;
  lock(part);
  forget_list(collector, part->added.first, gone, data, &dropped);
  forget_list(collector, part->due.first, gone, data, &dropped);
  unlock(part);
  free_nodes(collector->world, dropped);
}

/* --- fork ------------------------------------------------------------------------------------ */

void tarn_finalizers_lock(struct tarn_collector *collector) { lock(&collector->finalizers); }
void tarn_finalizers_unlock(struct tarn_collector *collector) { unlock(&collector->finalizers); }
void tarn_finalizers_after_fork(struct tarn_collector *collector) {
  unlock(&collector->finalizers); /* the thread that forked took it */
}
