/* SPDX-License-Identifier: MIT */
/*
 * world/type.c: see world/type.h.  A description is checked and compiled in one pass: what a child
 * takes from its parent is filled in first, then each part's traced words become a layout, then the
 * type is published.  Making a type costs a few pieces of metadata and one short lock.
 */
#include "world/type.h"
#include "world/world.h"
#include <stdio.h>
#include <string.h>

#define WORD sizeof(uintptr_t)
#define SIZE_CLASS_LARGE 255u
#define ALIGN_MAX ((size_t)4096)
#define KNOWN_FLAGS                                                                      \
  ((unsigned)(TARN_TYPE_ALL_TRACED | TARN_TYPE_ELEMENTS_TRACED | TARN_TYPE_DATA_TRACED | \
              TARN_TYPE_WEAK))

/* --- reading the description ----------------------------------------------------------------- */

/* The caller may have been compiled with a shorter or longer description than ours. */
static bool read_spec(const tarn_type_spec *given, tarn_type_spec *spec) {
  size_t size = given->struct_size;
  if (size < offsetof(tarn_type_spec, align))
    return false;
  memset(spec, 0, sizeof *spec);
  memcpy(spec, given, size < sizeof *spec ? size : sizeof *spec);
  for (size_t i = sizeof *spec; i < size; i++)
    if (((const unsigned char *)given)[i] != 0)
      return false; /* something that this version does not know */
  return true;
}

static bool is_power_of_two(size_t value) { return value && (value & (value - 1)) == 0; }

static size_t or_one(size_t word) { return word ? word : 1; }

/* Elements and data of a child are its parent's; it may repeat the numbers, but not change them. */
static bool inherit_parts(tarn_type_spec *spec, const tarn_type *parent) {
  if (parent->element_size) {
    if ((spec->element_size && spec->element_size != parent->element_size) ||
        (spec->count_word && spec->count_word != parent->count_word) || spec->element_slot_count ||
        (spec->flags & TARN_TYPE_ELEMENTS_TRACED))
      return false;
    spec->element_size = parent->element_size;
    spec->count_word = parent->count_word;
  }
  if (parent->data_size) {
    if ((spec->data_size && spec->data_size != parent->data_size) ||
        (spec->data_word && spec->data_word != parent->data_word) || spec->data_slot_count ||
        (spec->flags & TARN_TYPE_DATA_TRACED))
      return false;
    spec->data_size = parent->data_size;
    spec->data_word = parent->data_word;
  }
  return true;
}

/* A child counts as its parent does. */
static bool inherit_counts(tarn_type_spec *spec, const tarn_type *parent) {
  if (parent->refs_at || parent->refs) {
    if (spec->refs_at || spec->refs_size || spec->refs || spec->ref || spec->try_ref)
      return false;
    spec->refs_at = parent->refs_at;
    spec->refs_size = parent->refs_size;
    spec->refs = parent->refs;
    spec->ref = parent->ref;
    spec->try_ref = parent->try_ref;
    spec->flags |= parent->weakly ? TARN_TYPE_WEAK : 0;
  }
  spec->unref = spec->unref ? spec->unref : parent->unref;
  spec->clear = spec->clear ? spec->clear : parent->clear;
  spec->finalize = spec->finalize ? spec->finalize : parent->finalize;
  return true;
}

static bool inherit(tarn_world *world, tarn_type_spec *spec) {
  const tarn_type *parent = spec->parent;
  if (!parent)
    return true;
  if (!tarn_type_is_good(parent, world) || parent->scan >= TARN_SCAN_WEAK)
    return false;
  if (spec->size == 0)
    spec->size = parent->size;
  if (spec->size < parent->size || !inherit_parts(spec, parent))
    return false;
  if (!spec->heap && parent->has_heap)
    spec->heap = parent->heap;
  spec->trace = spec->trace ? spec->trace : parent->trace;
  spec->free = spec->free ? spec->free : tarn_type_free(parent);
  /* Acquire: pairs with the release in tarn_type_set_print. */
  spec->print =
      spec->print ? spec->print : atomic_load_explicit(&parent->print_fn, memory_order_acquire);
  spec->user = spec->user ? spec->user : parent->user;
  return inherit_counts(spec, parent);
}

/* Is what is said of the count of references one of the two ways, or nothing? */
static bool counts_sensibly(const tarn_world *world, const tarn_type_spec *spec) {
  bool by_function = spec->refs || spec->ref, weakly = spec->flags & TARN_TYPE_WEAK;
  if (!spec->refs_at && !by_function)
    return !spec->refs_size && !spec->unref && !spec->clear && !spec->finalize && !weakly &&
           !spec->try_ref;
  if (!world->config.counting)
    return false;
  if (by_function)
    return !spec->refs_at && !spec->refs_size && spec->refs && spec->ref && spec->unref &&
           (spec->try_ref || !weakly);
  size_t size = spec->refs_size;
  return (size == 4 || size == 8) && spec->refs_at % size == 0 && spec->refs_at >= WORD &&
         spec->refs_at <= spec->size - size;
}

/* Everything that can be said without looking at the slots. */
static bool is_sensible(const tarn_type_spec *spec) {
  size_t align = spec->align;
  if (spec->size < WORD || spec->size > UINT32_MAX || (spec->flags & ~KNOWN_FLAGS) ||
      (align && (!is_power_of_two(align) || align > ALIGN_MAX)))
    return false;
  if ((spec->slot_count && !spec->slots) || (spec->element_slot_count && !spec->element_slots) ||
      (spec->data_slot_count && !spec->data_slots))
    return false;
  if (spec->element_size) {
    if (spec->element_size > UINT32_MAX || spec->count_word >= spec->size / WORD)
      return false;
  } else if (spec->element_slot_count || spec->count_word ||
             (spec->flags & TARN_TYPE_ELEMENTS_TRACED)) {
    return false;
  }
  if (spec->data_size) {
    if (spec->data_size > UINT32_MAX || spec->data_word >= spec->size / WORD)
      return false;
  } else if (spec->data_slot_count || spec->data_word || (spec->flags & TARN_TYPE_DATA_TRACED)) {
    return false;
  }
  return !spec->element_size || !spec->data_size || spec->count_word != spec->data_word;
}

/* --- layouts --------------------------------------------------------------------------------- */

/* What one layout is made from. */
struct plan {
  struct tarn_meta *meta;
  const struct tarn_layout *base; /* the parent's, or NULL */
  const uint32_t *slots;
  size_t slot_count;
  uint64_t bits;
  bool all;        /* every word that is not taken */
  size_t words;    /* of the part */
  size_t taken[4]; /* words that cannot be slots; SIZE_MAX: none */
};

static bool is_taken(const struct plan *plan, size_t word) {
  return word == plan->taken[0] || word == plan->taken[1] || word == plan->taken[2] ||
         word == plan->taken[3];
}

static bool plan_is_good(const struct plan *plan) {
  uint64_t beyond = plan->words < 64 ? ~(uint64_t)0 << plan->words : 0;
  if (plan->bits & beyond)
    return false;
  for (size_t i = 0; i < 4; i++)
    if (plan->taken[i] < 64 && plan->bits >> plan->taken[i] & 1)
      return false;
  for (size_t i = 0; i < plan->slot_count; i++)
    if (plan->slots[i] >= plan->words || is_taken(plan, plan->slots[i]))
      return false;
  return true;
}

static uint64_t low_bits(const struct plan *plan) {
  uint64_t bits = plan->bits | (plan->base ? plan->base->bits : 0);
  for (size_t i = 0; i < plan->slot_count; i++)
    if (plan->slots[i] < 64)
      bits |= (uint64_t)1 << plan->slots[i];
  for (size_t word = 0; plan->all && word < plan->words && word < 64; word++)
    if (!is_taken(plan, word))
      bits |= (uint64_t)1 << word;
  return bits;
}

/* The greatest number of words from 64 on, with repetitions. */
static size_t most_high_words(const struct plan *plan) {
  if (plan->words <= 64)
    return 0;
  if (plan->all)
    return plan->words - 64;
  size_t count = plan->base ? plan->base->more_count : 0;
  for (size_t i = 0; i < plan->slot_count; i++)
    count += plan->slots[i] >= 64;
  return count;
}

/* Heap sort: in place, no recursion, and n log n for any input. */
static void sift(uint32_t *words, size_t root, size_t count) {
  for (size_t child; (child = root * 2 + 1) < count; root = child) {
    if (child + 1 < count && words[child + 1] > words[child])
      child++;
    if (words[root] >= words[child])
      return;
    uint32_t word = words[root];
    words[root] = words[child];
    words[child] = word;
  }
}
static void sort(uint32_t *words, size_t count) {
  for (size_t i = count / 2; i-- > 0;)
    sift(words, i, count);
  for (size_t end = count; end-- > 1;) {
    uint32_t word = words[0];
    words[0] = words[end];
    words[end] = word;
    sift(words, 0, end);
  }
}

static size_t without_repetitions(uint32_t *words, size_t count) {
  size_t kept = 0;
  for (size_t i = 0; i < count; i++)
    if (kept == 0 || words[kept - 1] != words[i])
      words[kept++] = words[i];
  return kept;
}

static size_t gather_high_words(const struct plan *plan, uint32_t *words) {
  size_t count = 0;
  for (size_t word = 64; plan->all && word < plan->words; word++)
    if (!is_taken(plan, word))
      words[count++] = (uint32_t)word;
  if (plan->all)
    return count;
  for (size_t i = 0; plan->base && i < plan->base->more_count; i++)
    words[count++] = plan->base->more[i];
  for (size_t i = 0; i < plan->slot_count; i++)
    if (plan->slots[i] >= 64)
      words[count++] = plan->slots[i];
  sort(words, count);
  return without_repetitions(words, count);
}

static tarn_status make_layout(const struct plan *plan, struct tarn_layout *layout) {
  if (!plan_is_good(plan))
    return TARN_ETYPE;
  layout->bits = low_bits(plan);
  size_t most = most_high_words(plan);
  if (most == 0)
    return TARN_OK;
  uint32_t *words = tarn_meta_alloc(plan->meta, most * sizeof *words);
  if (!words)
    return TARN_ENOMEM;
  layout->more = words;
  layout->more_count = (uint32_t)gather_high_words(plan, words);
  return TARN_OK;
}

/* Elements and data blocks: no word is taken, so "all" needs no list. */
static tarn_status make_part(struct plan *plan, size_t size, bool all, struct tarn_layout *layout) {
  layout->all = all;
  if ((all || plan->slot_count) && size % WORD != 0)
    return TARN_ETYPE;
  plan->words = size / WORD;
  plan->taken[0] = plan->taken[1] = plan->taken[2] = plan->taken[3] = SIZE_MAX;
  if (!plan_is_good(plan))
    return TARN_ETYPE;
  return all ? TARN_OK : make_layout(plan, layout);
}

static bool has_slots(const struct tarn_layout *layout) {
  return layout->bits || layout->more_count || layout->all;
}

static tarn_status make_slots(tarn_world *world, const tarn_type_spec *spec, tarn_type *type) {
  struct plan plan = {.meta = &world->store.meta,
                      .base = spec->parent ? &spec->parent->slots : NULL,
                      .slots = spec->slots,
                      .slot_count = spec->slot_count,
                      .bits = spec->slot_bits,
                      .all = spec->flags & TARN_TYPE_ALL_TRACED,
                      .words = spec->size / WORD,
                      .taken = {0, spec->element_size ? spec->count_word : SIZE_MAX,
                                spec->data_size ? spec->data_word : SIZE_MAX,
                                spec->refs_at ? spec->refs_at / WORD : SIZE_MAX}};
  tarn_status status = make_layout(&plan, &type->slots);
  if (status != TARN_OK)
    return status;
  /* A child that adds elements or data may want a word that its parent traces. */
  for (size_t i = 1; i < 4; i++) {
    size_t word = plan.taken[i];
    if (word < 64 && type->slots.bits >> word & 1)
      return TARN_ETYPE;
    for (uint32_t k = 0; word != SIZE_MAX && k < type->slots.more_count; k++)
      if (type->slots.more[k] == word)
        return TARN_ETYPE;
  }
  bool traced = has_slots(&type->slots) || plan.all;
  return traced && spec->size % WORD != 0 ? TARN_ETYPE : TARN_OK;
}

static tarn_status make_elements(tarn_world *world, const tarn_type_spec *spec, tarn_type *type) {
  if (spec->parent && spec->parent->element_size) {
    type->element = spec->parent->element;
  } else if (spec->element_size) {
    struct plan plan = {.meta = &world->store.meta,
                        .slots = spec->element_slots,
                        .slot_count = spec->element_slot_count};
    tarn_status status = make_part(&plan, spec->element_size,
                                   spec->flags & TARN_TYPE_ELEMENTS_TRACED, &type->element);
    if (status != TARN_OK)
      return status;
  }
  /* Traced words must be aligned; elements begin where the fixed part ends. */
  return has_slots(&type->element) && spec->size % WORD != 0 ? TARN_ETYPE : TARN_OK;
}

static tarn_status make_data(tarn_world *world, const tarn_type_spec *spec, tarn_type *type) {
  if (spec->parent && spec->parent->data_size) {
    type->data = spec->parent->data;
    return TARN_OK;
  }
  if (!spec->data_size)
    return TARN_OK;
  struct plan plan = {
      .meta = &world->store.meta, .slots = spec->data_slots, .slot_count = spec->data_slot_count};
  return make_part(&plan, spec->data_size, spec->flags & TARN_TYPE_DATA_TRACED, &type->data);
}

/* --- where objects go, and how they are scanned ---------------------------------------------- */

/* Is there anything for the marker to do?  A data block must be kept alive also if it is raw. */
static bool is_scanned(const tarn_type *type) {
  return has_slots(&type->slots) || has_slots(&type->element) || type->data_size || type->trace;
}

static tarn_scan scan_of(const tarn_type *type) {
  if (!is_scanned(type))
    return TARN_SCAN_NONE;
  if (has_slots(&type->element) || type->data_size)
    return TARN_SCAN_GENERAL;
  if (type->trace)
    return has_slots(&type->slots) ? TARN_SCAN_GENERAL : TARN_SCAN_TRACE;
  return type->slots.more_count == 0 ? TARN_SCAN_BITS : TARN_SCAN_GENERAL;
}

static tarn_status choose_heap(tarn_world *world, const tarn_type_spec *spec, tarn_type *type) {
  bool scanned = type->scan != TARN_SCAN_NONE;
  type->has_heap = spec->heap != NULL;
  type->heap = spec->heap ? spec->heap : scanned ? world->container_heap : world->atomic_heap;
  if (type->heap->store != &world->store || (scanned && type->heap->kind != TARN_HEAP_CONTAINER))
    return TARN_ETYPE;
  bool container = type->heap->kind == TARN_HEAP_CONTAINER;
  /* Of which each death is to be known. */
  bool special = spec->free || spec->finalize || (spec->flags & TARN_TYPE_WEAK);
  type->flavour =
      (uint8_t)(special ? container ? TARN_FLAVOUR_CONTAINER_RESOURCE : TARN_FLAVOUR_LEAF_RESOURCE
                : container ? TARN_FLAVOUR_CONTAINER
                            : TARN_FLAVOUR_LEAF);
  return TARN_OK;
}

/* With the alignment: see tarn/heap.h, which aligned sizes get aligned blocks. */
static size_t padded(const tarn_type *type, size_t bytes) {
  return (bytes + type->align - 1) & ~(type->align - 1);
}

/* For tarn_new_array's inlined path. */
static void choose_bins(tarn_type *type) {
  struct tarn_type_head *head = &type->head;
  size_t element = type->element_size;
  head->bins = TARN_BIN_OFFSET(type->flavour, 0) - TARN_BIN_OFFSET(TARN_FLAVOUR_RAW, 0);
  head->fixed = (uint32_t)type->size;
  head->element = (uint32_t)element;
  head->count_at = type->count_word * (uint32_t)sizeof(uintptr_t);
  /* A greater alignment than that of any block asks for sizes to be rounded up. */
  if (type->size <= TARN_INLINE_MOST && type->align == WORD)
    head->counts = (uint32_t)((TARN_INLINE_MOST - type->size) / element) + 1;
}

static void choose_bin(const tarn_world *world, tarn_type *type) {
  size_t bytes = padded(type, type->size);
  bool large = bytes > TARN_LARGE_LIMIT;
  bool first = type->heap == world->atomic_heap || type->heap == world->container_heap;
  type->size_class = (uint8_t)(large ? SIZE_CLASS_LARGE : tarn_class_of(bytes));
  /* Never zero: the inlined path must find no room in a bin that is empty. */
  type->head.size = (uint32_t)(large ? TARN_LARGE_LIMIT : tarn_class_size(type->size_class));
  type->head.bin = first && !large && !type->data_size
                       ? TARN_BIN_OFFSET(type->flavour, type->size_class)
                       : TARN_BIN_NEVER;
  if (first && type->is_array && !type->data_size)
    choose_bins(type);
}

/* --- making ---------------------------------------------------------------------------------- */

static size_t name_size(const tarn_type *type) { return strlen(type->name) + 1; }

static bool copy_name(struct tarn_meta *meta, const char *name, tarn_type *type) {
  const char *text = name ? name : "anonymous";
  size_t size = strlen(text) + 1;
  char *copy = tarn_meta_alloc(meta, size);
  if (copy)
    memcpy(copy, text, size);
  type->name = copy;
  return copy != NULL;
}

static void drop_layout(struct tarn_meta *meta, const struct tarn_layout *layout,
                        const struct tarn_layout *parents) {
  if (layout->more && (!parents || layout->more != parents->more))
    tarn_meta_free(meta, (void *)(uintptr_t)layout->more, layout->more_count * sizeof(uint32_t));
}

/* A type that was not published. */
static void drop(struct tarn_meta *meta, tarn_type *type) {
  const tarn_type *parent = type->parent;
  drop_layout(meta, &type->slots, NULL);
  drop_layout(meta, &type->element, parent ? &parent->element : NULL);
  drop_layout(meta, &type->data, parent ? &parent->data : NULL);
  if (type->name)
    tarn_meta_free(meta, (void *)(uintptr_t)type->name, name_size(type));
  tarn_meta_free(meta, type, sizeof *type);
}

static void fill_plain(tarn_world *world, const tarn_type_spec *spec, tarn_type *type) {
  type->world = world;
  type->parent = spec->parent;
  type->depth = spec->parent ? spec->parent->depth + 1 : 0;
  type->size = spec->size;
  type->align = spec->align > WORD ? spec->align : WORD;
  if (spec->parent && spec->parent->align > type->align)
    type->align = spec->parent->align;
  type->words = (uint32_t)(spec->size / WORD);
  type->is_array = spec->element_size != 0;
  type->element_size = (uint32_t)spec->element_size;
  type->count_word = (uint32_t)spec->count_word;
  type->data_size = (uint32_t)spec->data_size;
  type->data_word = (uint32_t)spec->data_word;
  type->trace = spec->trace;
  type->user = spec->user;
  type->refs_at = (uint32_t)spec->refs_at;
  type->refs_size = (uint8_t)spec->refs_size;
  type->refs = spec->refs;
  type->try_ref = spec->try_ref;
  type->weakly = (spec->flags & TARN_TYPE_WEAK) != 0;
  type->special = type->weakly || spec->clear || spec->finalize;
  type->ref = spec->ref;
  type->unref = spec->unref;
  type->clear = spec->clear;
  type->finalize = spec->finalize;
  atomic_init(&type->free_fn, spec->free);
  atomic_init(&type->print_fn, spec->print);
  type->check = (uintptr_t)type ^ TARN_TYPE_CHECK;
}

/* `scan` above TARN_SCAN_TRACE: built in, otherwise found out. */
static tarn_status compile(tarn_world *world, const tarn_type_spec *spec, tarn_scan scan,
                           tarn_type *type) {
  fill_plain(world, spec, type);
  if (!copy_name(&world->store.meta, spec->name, type))
    return TARN_ENOMEM;
  tarn_status status = make_slots(world, spec, type);
  if (status == TARN_OK)
    status = make_elements(world, spec, type);
  if (status == TARN_OK)
    status = make_data(world, spec, type);
  if (status != TARN_OK)
    return status;
  type->bits = type->slots.bits;
  type->scan = (uint8_t)(scan > TARN_SCAN_TRACE ? scan : scan_of(type));
  if (world->config.counting && type->scan != TARN_SCAN_NONE && scan <= TARN_SCAN_TRACE &&
      !type->refs_at && !type->refs)
    return TARN_ETYPE;
  status = choose_heap(world, spec, type);
  choose_bin(world, type);
  return status;
}

#if TARN_HARDENED
/* The type's place, or the empty one where it would be. */
static _Atomic(const tarn_type *) *place_in(struct tarn_type_set *set, const tarn_type *type) {
  size_t at = (size_t)((uintptr_t)type * UINT64_C(0x9e3779b97f4a7c15) >> 32);
  const tarn_type *there;
  for (;; at++) {
    _Atomic(const tarn_type *) *place = &set->types[at & (set->slots - 1)];
    /* Acquire: pairs with the release in put_in_set. */
    there = atomic_load_explicit(place, memory_order_acquire);
    if (!there || there == type)
      return place;
  }
}

static bool is_in_set(const tarn_world *world, const tarn_type *type) {
  struct tarn_type_set *set = atomic_load_explicit(&world->types.set, memory_order_acquire);
  return type && set && atomic_load_explicit(place_in(set, type), memory_order_relaxed) == type;
}

/* One that has room for another type; NULL: no memory. */
static struct tarn_type_set *roomy_set(tarn_world *world, size_t count) {
  struct tarn_type_set *set = atomic_load_explicit(&world->types.set, memory_order_relaxed);
  size_t slots = set ? set->slots : 32;
  if (set && (count + 1) * 2 <= slots)
    return set;
  slots *= 2;
  struct tarn_type_set *more =
      tarn_meta_alloc(&world->store.meta, sizeof *more + slots * sizeof more->types[0]);
  if (!more)
    return NULL;
  more->slots = slots;
  for (size_t i = 0; set && i < set->slots; i++) {
    const tarn_type *type = atomic_load_explicit(&set->types[i], memory_order_relaxed);
    if (type)
      atomic_store_explicit(place_in(more, type), type, memory_order_relaxed);
  }
  atomic_store_explicit(&world->types.set, more, memory_order_release);
  return more;
}

/* Under the lock. */
static bool put_in_set(tarn_world *world, const tarn_type *type) {
  size_t count = atomic_load_explicit(&world->types.count, memory_order_relaxed);
  struct tarn_type_set *set = roomy_set(world, count);
  if (set)
    atomic_store_explicit(place_in(set, type), type, memory_order_release);
  return set != NULL;
}
#else
static bool put_in_set(tarn_world *world, const tarn_type *type) {
  (void)world, (void)type;
  return true;
}
#endif

#if TARN_CHECKING || TARN_HARDENED
void tarn_type_check(tarn_world *world, const void *object) {
  const tarn_type *type = tarn_type_of(object);
#if TARN_HARDENED
  bool good = is_in_set(world, type);
#else
  bool good = type && tarn_type_is_good(type, world);
#endif
  if (!good)
    world->store.hooks->corrupt(&world->store, object, "its first word is not a type");
}
#endif

static bool publish(tarn_world *world, tarn_type *type) {
  struct tarn_types *types = &world->types;
  (void)pthread_mutex_lock(&types->lock);
  bool good = put_in_set(world, type);
  if (good) {
    cds_list_add_tail_rcu(&type->node, &types->list);
    (void)atomic_fetch_add_explicit(&types->count, 1, memory_order_relaxed);
  }
  (void)pthread_mutex_unlock(&types->lock);
  return good;
}

static tarn_status make(tarn_world *world, const tarn_type_spec *given, tarn_scan scan,
                        const tarn_type **out) {
  tarn_type_spec spec;
  if (!world || !given || !read_spec(given, &spec))
    return TARN_EINVAL;
  if (!inherit(world, &spec))
    return TARN_ETYPE;
  if (spec.element_size)
    spec.count_word = or_one(spec.count_word);
  if (spec.data_size)
    spec.data_word = or_one(spec.data_word);
  if (spec.refs_at && !spec.refs_size)
    spec.refs_size = WORD;
  if (!is_sensible(&spec) || !counts_sensibly(world, &spec))
    return TARN_ETYPE;
  tarn_type *type = tarn_meta_alloc(&world->store.meta, sizeof *type);
  if (!type)
    return TARN_ENOMEM;
  tarn_status status = compile(world, &spec, scan, type);
  if (status == TARN_OK && !publish(world, type))
    status = TARN_ENOMEM;
  if (status != TARN_OK) {
    drop(&world->store.meta, type);
    return status;
  }
  *out = type;
  return TARN_OK;
}

const tarn_type *tarn_type_make(tarn_world *world, const tarn_type_spec *spec, tarn_scan scan,
                                tarn_status *status) {
  const tarn_type *type = NULL;
  tarn_status result = make(world, spec, scan, &type);
  if (status)
    *status = result;
  return type;
}

const tarn_type *tarn_type_create(tarn_world *world, const tarn_type_spec *spec,
                                  tarn_status *status) {
  return tarn_type_make(world, spec, TARN_SCAN_NONE, status);
}

tarn_status tarn_types_start(tarn_world *world) {
  struct tarn_types *types = &world->types;
  tarn_status status;
  if (pthread_mutex_init(&types->lock, NULL) != 0)
    return TARN_ENOMEM;
  CDS_INIT_LIST_HEAD(&types->list);
  atomic_store_explicit(&types->count, 0, memory_order_relaxed);
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = "weak reference";
  spec.size = 3 * WORD;
  types->weak = tarn_type_make(world, &spec, TARN_SCAN_WEAK, &status);
  spec.name = "ephemeron";
  spec.size = 4 * WORD;
  if (types->weak)
    types->ephemeron = tarn_type_make(world, &spec, TARN_SCAN_EPHEMERON, &status);
  if (!types->ephemeron)
    (void)pthread_mutex_destroy(&types->lock);
  return status;
}

void tarn_types_end(tarn_world *world) { (void)pthread_mutex_destroy(&world->types.lock); }

/* --- asking and changing --------------------------------------------------------------------- */

/* Types are handed out as const, but their memory is the library's and not. */
static tarn_type *writable(const tarn_type *type) { return (tarn_type *)(uintptr_t)type; }

tarn_status tarn_type_set_free(const tarn_type *type, tarn_free_fn fn) {
  if (!type)
    return TARN_EINVAL;
  if (!tarn_flavour_resource((tarn_flavour)type->flavour))
    return fn ? TARN_ETYPE : TARN_OK;
  /* Release: pairs with the acquire in tarn_type_free, so that the caller's preparations are seen.
   */
  atomic_store_explicit(&writable(type)->free_fn, fn, memory_order_release);
  return TARN_OK;
}

tarn_status tarn_type_set_print(const tarn_type *type, tarn_print_fn fn) {
  if (!type)
    return TARN_EINVAL;
  /* Release: pairs with the acquire in tarn_print. */
  atomic_store_explicit(&writable(type)->print_fn, fn, memory_order_release);
  return TARN_OK;
}

const char *tarn_type_name(const tarn_type *type) { return type ? type->name : NULL; }
const tarn_type *tarn_type_parent(const tarn_type *type) { return type ? type->parent : NULL; }
size_t tarn_type_size(const tarn_type *type) { return type ? type->size : 0; }
void *tarn_type_user(const tarn_type *type) { return type ? type->user : NULL; }
tarn_world *tarn_type_world(const tarn_type *type) { return type ? type->world : NULL; }

tarn_free_fn tarn_type_free(const tarn_type *type) {
  /* Acquire: pairs with the release in tarn_type_set_free. */
  return type ? atomic_load_explicit(&type->free_fn, memory_order_acquire) : NULL;
}

bool tarn_type_is_a(const tarn_type *type, const tarn_type *ancestor) {
  if (!type || !ancestor)
    return false;
  while (type->depth > ancestor->depth)
    type = type->parent;
  return type == ancestor;
}

bool tarn_type_is_known(const tarn_world *world, const tarn_type *word) {
  const tarn_type *type;
  bool found = false;
  tarn_rcu_read_lock();
  cds_list_for_each_entry_rcu(type, &world->types.list, node) found = found || type == word;
  tarn_rcu_read_unlock();
  return found;
}

size_t tarn_type_count(tarn_world *world) {
  return world ? atomic_load_explicit(&world->types.count, memory_order_relaxed) : 0;
}

int tarn_print(const void *object, char *buffer, size_t size) {
  const tarn_type *type = object ? tarn_type_of(object) : NULL;
  if (!type)
    return snprintf(buffer, size, object ? "#<free %p>" : "#<null>", object);
  /* Acquire: pairs with the release in tarn_type_set_print. */
  tarn_print_fn print = atomic_load_explicit(&type->print_fn, memory_order_acquire);
  return print ? print(object, buffer, size)
               : snprintf(buffer, size, "#<%s %p>", type->name, object);
}

/* --- objects --------------------------------------------------------------------------------- */

void tarn_type_release(struct tarn_local *local, void *object) {
  const tarn_type *type = tarn_type_of(object);
  tarn_type_check(tarn_world_of_store(tarn_pool_of((uintptr_t)object)->heap->store), object);
  tarn_free_fn free_fn = tarn_type_free(type);
  if (free_fn) {
    struct tarn_mutator *mutator = local ? tarn_mutator_of_local(local) : NULL;
    if (mutator)
      mutator->running_free++;
    free_fn(type->world, object);
    if (mutator)
      mutator->running_free--;
  }
  if (!local || !type->data_size)
    return;
  void **data = (void **)object + type->data_word;
  if (*data)
    tarn_local_free(local, *data);
  *data = NULL;
}

/* May the thread make objects of the type now? */
static bool may_make(tarn_thread *self, const tarn_type *type) {
  tarn_status status = tarn_thread_check_running(self);
  if (status == TARN_OK && (!type || type->world != tarn_mutator_of(self)->world))
    status = TARN_EINVAL;
  if (status != TARN_OK)
    tarn_thread_fail(self, status);
  return status == TARN_OK;
}

/* The data block comes first: it can lie in a frame while the object is made, and needs no type. */
static void *make_with_data(struct tarn_local *local, const tarn_type *type, size_t bytes) {
  tarn_world *world = type->world;
  void *data = tarn_local_alloc(local, world->atomic_heap, TARN_FLAVOUR_RAW, type->data_size);
  if (!data)
    return NULL;
  void *const slots[] = {&data};
  tarn_frame frame = {.previous = local->pub.tarn_frames, .slots = slots, .count = 1};
  local->pub.tarn_frames = &frame;
  void **object = tarn_local_alloc(local, type->heap, (tarn_flavour)type->flavour, bytes);
  local->pub.tarn_frames = frame.previous;
  if (object)
    object[type->data_word] = data;
  else
    tarn_local_free(local, data);
  return object;
}

static void *make_object(tarn_thread *self, const tarn_type *type, size_t bytes, size_t count) {
  struct tarn_local *local = tarn_local_of(self);
  const void *outer =
      local->making; /* whose allocation has called the program, which called this */
  local->making = type;
  void *object = type->data_size
                     ? make_with_data(local, type, bytes)
                     : tarn_local_alloc(local, type->heap, (tarn_flavour)type->flavour, bytes);
  local->making = outer;
  if (!object)
    return NULL;
  if (type->is_array)
    ((size_t *)object)[type->count_word] = count;
  if (TARN_UNLIKELY(local->store->apart.every))
    tarn_apart_typed(object, (uintptr_t)type);
  *(const tarn_type **)object = type; /* last: from here on the block is an object */
  return object;
}

void *tarn_new_slow(tarn_thread *self, const tarn_type *type) {
  if (!may_make(self, type))
    return NULL;
  TARN_CAME_BY(self);
  return make_object(self, type, padded(type, type->size), 0);
}

void *tarn_new_outline(tarn_thread *self, const tarn_type *type) {
  return self && type ? tarn_new(self, type) : tarn_new_slow(self, type);
}

void *tarn_new_array_outline(tarn_thread *self, const tarn_type *type, size_t count) {
  size_t bytes;
  if (!may_make(self, type))
    return NULL;
  TARN_CAME_BY(self);
  if (!type->is_array) {
    tarn_thread_fail(self, TARN_ETYPE);
    return NULL;
  }
  if (__builtin_mul_overflow(count, (size_t)type->element_size, &bytes) ||
      __builtin_add_overflow(bytes, type->size, &bytes) || bytes > TARN_OBJECT_MAX) {
    tarn_thread_fail(self, TARN_EOVERFLOW);
    return NULL;
  }
  return make_object(self, type, padded(type, bytes), count);
}
