/* SPDX-License-Identifier: MIT */
/*
 * inspect/snapshot_roots.c: what is no block: groups, threads, tables, bytes elsewhere, and their
 * references; see snapshot.h.
 *
 * Nodes are made before edges, in the same order, so that the edges come in the order of theirs.
 * The roots are those of a collection (tarn_mark_roots and what follows it), and of handles and
 * weak tables also what is weak.
 *
 * Pairs: the value of an ephemeron lives while both the ephemeron and the key do.  DevTools knows
 * that from WeakMaps: an edge from each of them to the value, of a name that says so.  Its parts
 * name each other, so each pair has a string of its own; to find the pairs of a key, and that of a
 * key and an ephemeron, they are sorted.
 */
#include "inspect/snapshot.h"
#include <stdio.h>
#include <string.h>

#define FIRST_ROOM ((size_t)64 << 10)
#define NAMES_MOST 65536u             /* roots beyond have numbers for names */
#define PIECES_MOST 16u               /* of bytes elsewhere: 64 GiB */
#define THREAD_ID ((uint32_t)1 << 22) /* and the kernel's number, which is smaller */
#define TABLE_ID ((uint32_t)1 << 20)
#define TABLE_IDS (((uint32_t)1 << 22) - TABLE_ID)
#define PIECE_ID ((uint32_t)64)

/* --- arrays ---------------------------------------------------------------------------------- */

static bool grow(struct tarn_rows *rows, size_t bytes) {
  size_t room = rows->room ? rows->room : FIRST_ROOM;
  while (room - rows->used < bytes)
    room *= 2;
  char *more = rows->bytes ? tarn_os_remap(rows->bytes, rows->room, room) : tarn_os_map(room);
  if (!more)
    return false;
  rows->bytes = more;
  rows->room = room;
  return true;
}

void *tarn_rows_add(struct tarn_rows *rows, size_t bytes) {
  if (rows->room - rows->used < bytes && !grow(rows, bytes))
    return NULL;
  void *added = rows->bytes + rows->used;
  rows->used += bytes;
  return added;
}

void tarn_rows_drop(struct tarn_rows *rows) {
  if (rows->bytes)
    tarn_os_unmap(rows->bytes, rows->room);
  *rows = (struct tarn_rows){0};
}

/* --- nodes and edges ------------------------------------------------------------------------- */

static void *add(struct tarn_snapshot *snapshot, struct tarn_rows *rows, size_t bytes) {
  void *added = snapshot->status == TARN_OK ? tarn_rows_add(rows, bytes) : NULL;
  if (!added && snapshot->status == TARN_OK)
    snapshot->status = TARN_ENOMEM;
  return added;
}

static uint32_t node_count(const struct tarn_snapshot *snapshot) {
  return (uint32_t)(snapshot->nodes.used / sizeof(struct tarn_snapshot_node));
}

static void add_node(struct tarn_snapshot *snapshot, uint8_t type, uint32_t name, uint32_t id,
                     uint64_t size) {
  struct tarn_snapshot_node *node = add(snapshot, &snapshot->nodes, sizeof *node);
  if (node)
    *node = (struct tarn_snapshot_node){.name = name,
                                        .id = id,
                                        .size = size > UINT32_MAX ? UINT32_MAX : (uint32_t)size,
                                        .type = type};
}

static void add_any(struct tarn_snapshot *snapshot, const struct tarn_snapshot_edge *given) {
  struct tarn_snapshot_edge *edge = add(snapshot, &snapshot->edges, sizeof *edge);
  if (!edge)
    return;
  *edge = *given;
  ((struct tarn_snapshot_node *)(void *)snapshot->nodes.bytes)[edge->from].edges++;
}

static void add_edge(struct tarn_snapshot *snapshot, uint32_t from, uint8_t type, uint32_t name,
                     uint32_t to, uint32_t key) {
  add_any(snapshot, &(struct tarn_snapshot_edge){
                        .from = from, .to = to, .name = name, .key = key, .type = type});
}

/* A string of its own: its number; 0: there are enough of them. */
static uint32_t add_name(struct tarn_snapshot *snapshot, const char *text) {
  const char *const *types;
  if (snapshot->name_count >= NAMES_MOST)
    return 0;
  size_t length = strlen(text) + 1;
  char *name = add(snapshot, &snapshot->names, length);
  if (!name)
    return 0;
  memcpy(name, text, length);
  return TARN_TEXTS + (uint32_t)tarn_snapshot_type_names(snapshot, &types) + snapshot->name_count++;
}

/* --- roots ----------------------------------------------------------------------------------- */

/* Roots of one node, as they are met. */
struct roots {
  struct tarn_visits visits; /* must be first */
  struct tarn_snapshot *snapshot;
  uint32_t from;
  uint32_t number;  /* of the root, from 0 */
  const char *sort; /* of words that may be references; NULL: the roots are precise */
};

static void add_root(struct roots *roots, uint32_t name, uint32_t to) {
  add_any(roots->snapshot,
          &(struct tarn_snapshot_edge){.from = roots->from,
                                       .to = to,
                                       .name = name ? name : roots->number,
                                       .type = name ? TARN_EDGE_PROPERTY : TARN_EDGE_ELEMENT,
                                       .counts = !roots->sort});
}

static void note_slot(void **slot, void *data) {
  struct roots *roots = data;
  char text[40];
  uint32_t to = tarn_snapshot_find(roots->snapshot, (uintptr_t)*slot, false);
  (void)snprintf(text, sizeof text, "root at %p", (void *)slot);
  if (to)
    add_root(roots, add_name(roots->snapshot, text), to);
  roots->number++;
}

static void take_provided(struct tarn_visits *visits, const uintptr_t *words, size_t count) {
  struct roots *roots = (struct roots *)(void *)visits;
  for (size_t i = 0; i < count; i++, roots->number++) {
    uint32_t to = tarn_snapshot_find(roots->snapshot, words[i], false);
    if (to)
      add_root(roots, 0, to);
  }
}

static void note_provider(tarn_root_fn fn, void *fn_data, void *data) {
  struct roots *roots = data;
  if (roots->from != TARN_GROUP_PROVIDERS) { /* slots come first */
    roots->from = TARN_GROUP_PROVIDERS;
    roots->number = 0;
  }
  fn(&roots->visits.visitor, fn_data);
  tarn_visits_take(&roots->visits);
}

static void note_globals(struct tarn_snapshot *snapshot) {
  struct roots roots = {.snapshot = snapshot, .from = TARN_GROUP_ROOTS};
  tarn_visits_begin(&roots.visits, take_provided);
  tarn_roots_each(snapshot->world, note_slot, note_provider, &roots);
}

/* --- threads --------------------------------------------------------------------------------- */

static void note_word(void *data, uintptr_t word) {
  struct roots *roots = data;
  char text[48];
  uint32_t to = tarn_snapshot_find(roots->snapshot, word, true);
  (void)snprintf(text, sizeof text, "%s+%u", roots->sort, roots->number * 8);
  if (to)
    add_root(roots, add_name(roots->snapshot, text), to);
  roots->number++;
}

static void note_frame(struct roots *roots, const tarn_frame *frame, unsigned depth) {
  for (size_t i = 0; i < frame->count; i++) {
    char text[48];
    uint32_t to = frame->slots[i] ? tarn_snapshot_find(roots->snapshot,
                                                       *(const uintptr_t *)frame->slots[i], false)
                                  : 0;
    (void)snprintf(text, sizeof text, "frame %u, variable %zu", depth, i);
    if (to)
      add_root(roots, add_name(roots->snapshot, text), to);
    roots->number++;
  }
}

static void note_thread(struct tarn_snapshot *snapshot, const struct tarn_mutator *mutator,
                        uint32_t node) {
  struct roots roots = {.snapshot = snapshot, .from = node};
  unsigned depth = 0;
  for (const tarn_frame *frame = mutator->local.pub.tarn_frames; frame; frame = frame->previous)
    note_frame(&roots, frame, depth++);
  if (!mutator->scan_stack || !mutator->stack_low)
    return;
  roots.number = 0;
  roots.sort = "registers and top of stack";
  tarn_stop_each_saved(mutator, note_word, &roots);
  roots.number = 0;
  roots.sort = "stack";
  tarn_stop_each_word(mutator, mutator->stack_low, note_word, &roots);
}

static void thread_nodes(struct tarn_snapshot *snapshot) {
  tarn_world *world = snapshot->world;
  const struct tarn_mutator *mutator;
  cds_list_for_each_entry(mutator, &world->registry.list, node) {
    char text[64], name[32];
    (void)pthread_mutex_lock(&world->stop.names_lock);
    memcpy(name, mutator->name, sizeof name);
    (void)pthread_mutex_unlock(&world->stop.names_lock);
    name[sizeof name - 1] = '\0';
    (void)snprintf(text, sizeof text, "thread %s (%d)", name, mutator->id);
    uint32_t number = add_name(snapshot, text);
    add_node(snapshot, TARN_NODE_SYNTHETIC, number ? number : TARN_TEXT_THREADS,
             THREAD_ID + (uint32_t)mutator->id, 0);
  }
}

static void note_threads(struct tarn_snapshot *snapshot, uint32_t node) {
  tarn_world *world = snapshot->world;
  const struct tarn_mutator *mutator;
  if (world->stop.requester) /* as the mark does: its frames go on changing */
    tarn_stop_save_stack(world->stop.requester);
  cds_list_for_each_entry(mutator, &world->registry.list, node)
      note_thread(snapshot, mutator, node++);
}

/* --- tables ---------------------------------------------------------------------------------- */

/* Tables are told twice, and may come and go meanwhile: those that are new the second time are left
 * out. */
struct tables {
  struct tarn_snapshot *snapshot;
  uint32_t from, end; /* nodes of tables that may still be told, the second time */
  uint32_t node;      /* of the one that is told; 0: it has none */
};

static uint32_t id_of_table(const struct tarn_weak_told *table) {
  return TABLE_ID + (uint32_t)(table->number % TABLE_IDS);
}

static void table_node(void *data, const struct tarn_weak_told *table) {
  struct tables *tables = data;
  add_node(tables->snapshot, TARN_NODE_SYNTHETIC, TARN_TEXT_TABLE, id_of_table(table),
           table->count * 4 * sizeof(uintptr_t));
}
static void no_entry(void *data, const struct tarn_weak_told *table, uintptr_t key,
                     uintptr_t value) {
  (void)data, (void)table, (void)key, (void)value;
}

static void next_table(void *data, const struct tarn_weak_told *table) {
  struct tables *tables = data;
  const struct tarn_snapshot_node *nodes = (const void *)tables->snapshot->nodes.bytes;
  uint32_t at = tables->from;
  while (at < tables->end && nodes[at].id != id_of_table(table))
    at++;
  tables->node = at < tables->end ? at : 0;
  if (tables->node)
    tables->from = at + 1;
}

static void add_pair(struct tarn_snapshot *snapshot, uint32_t key, uint32_t table, uint32_t value) {
  struct tarn_snapshot_pair *pair = add(snapshot, &snapshot->pairs, sizeof *pair);
  if (pair)
    *pair = (struct tarn_snapshot_pair){.key = key, .table = table, .value = value};
}

static void note_entry(void *data, const struct tarn_weak_told *table, uintptr_t key_word,
                       uintptr_t value_word) {
  const struct tables *tables = data;
  struct tarn_snapshot *snapshot = tables->snapshot;
  if (!tables->node)
    return;
  uint32_t from = tables->node, key = tarn_snapshot_find(snapshot, key_word, false);
  uint32_t value =
      table->kind == TARN_WEAK_SET ? 0 : tarn_snapshot_find(snapshot, value_word, false);
  if (key)
    add_edge(snapshot, from, table->kind == TARN_WEAK_VALUES ? TARN_EDGE_PROPERTY : TARN_EDGE_WEAK,
             TARN_TEXT_KEY, key, 0);
  if (value && table->kind == TARN_WEAK_VALUES)
    add_edge(snapshot, from, TARN_EDGE_WEAK, TARN_TEXT_VALUE, value, 0);
  if (key && value && table->kind == TARN_WEAK_KEYS) {
    add_edge(snapshot, from, TARN_EDGE_INTERNAL, 0, value, key);
    add_pair(snapshot, key, from, value);
  }
}

/* --- ephemerons ------------------------------------------------------------------------------ */

static void note_ephemeron(struct tarn_snapshot *snapshot, const struct tarn_snapshot_block *block,
                           void *data) {
  enum { WORD_KEY = 1, WORD_VALUE = 2 }; /* collect/ephemeron.h */
  const tarn_type *type = snapshot->world->types.ephemeron;
  const uintptr_t *words = (const uintptr_t *)block->base;
  (void)data;
  if (block->raw || tarn_type_of(words) != type)
    return;
  uint32_t key = tarn_snapshot_find(snapshot, words[WORD_KEY], false);
  uint32_t value = tarn_snapshot_find(snapshot, words[WORD_VALUE], false);
  if (key && value)
    add_pair(snapshot, key, block->node, value);
}

static bool is_before(const struct tarn_snapshot_pair *a, const struct tarn_snapshot_pair *b) {
  return a->key != b->key ? a->key < b->key : a->table < b->table;
}

static void sift(struct tarn_snapshot_pair *pairs, size_t at, size_t count) {
  struct tarn_snapshot_pair sunk = pairs[at];
  for (size_t next; (next = 2 * at + 1) < count; at = next) {
    if (next + 1 < count && is_before(&pairs[next], &pairs[next + 1]))
      next++;
    if (!is_before(&sunk, &pairs[next]))
      break;
    pairs[at] = pairs[next];
  }
  pairs[at] = sunk;
}

/* In place, and not by qsort, which may call malloc. */
static void sort_pairs(struct tarn_snapshot *snapshot) {
  struct tarn_snapshot_pair *pairs = (void *)snapshot->pairs.bytes;
  size_t count = tarn_snapshot_pair_count(snapshot);
  for (size_t i = count / 2; i-- > 0;)
    sift(pairs, i, count);
  for (size_t i = count; i-- > 1;) {
    struct tarn_snapshot_pair last = pairs[i];
    pairs[i] = pairs[0];
    pairs[0] = last;
    sift(pairs, 0, i);
  }
}

/* The first pair that is not before this one. */
static size_t lower(const struct tarn_snapshot *snapshot, const struct tarn_snapshot_pair *pair) {
  const struct tarn_snapshot_pair *pairs = (const void *)snapshot->pairs.bytes;
  size_t low = 0, high = tarn_snapshot_pair_count(snapshot);
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (is_before(&pairs[middle], pair))
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

uint32_t tarn_snapshot_pair(const struct tarn_snapshot *snapshot, uint32_t key, uint32_t table) {
  const struct tarn_snapshot_pair *pairs = (const void *)snapshot->pairs.bytes;
  struct tarn_snapshot_pair wanted = {.key = key, .table = table};
  size_t at = lower(snapshot, &wanted);
  return at < tarn_snapshot_pair_count(snapshot) && pairs[at].key == key && pairs[at].table == table
             ? (uint32_t)at
             : UINT32_MAX;
}

/* --- groups ---------------------------------------------------------------------------------- */

static void note_due(void *data, uintptr_t object) {
  struct tarn_snapshot *snapshot = data;
  uint32_t to = tarn_snapshot_find(snapshot, object, false);
  if (to)
    add_edge(snapshot, TARN_GROUP_FINALIZERS, TARN_EDGE_PROPERTY, TARN_TEXT_TARGET, to, 0);
}

static void note_handle(void *data, uintptr_t object) {
  struct tarn_snapshot *snapshot = data;
  uint32_t to = tarn_snapshot_find(snapshot, object, false);
  if (to)
    add_edge(snapshot, TARN_GROUP_HANDLES, TARN_EDGE_WEAK, TARN_TEXT_TARGET, to, 0);
}

static void group_nodes(struct tarn_snapshot *snapshot) {
  for (uint32_t i = 0; i < TARN_GROUPS; i++)
    add_node(snapshot, TARN_NODE_SYNTHETIC, i, i + 1, 0);
}

static void external_nodes(struct tarn_snapshot *snapshot) {
  uint64_t left =
      atomic_load_explicit(&snapshot->world->collector->pace.external, memory_order_relaxed);
  for (uint32_t i = 0; i < PIECES_MOST && left; i++) {
    uint64_t piece = left < UINT32_MAX ? left : UINT32_MAX;
    add_node(snapshot, TARN_NODE_NATIVE, TARN_TEXT_ELSEWHERE, PIECE_ID + i, piece);
    left -= piece;
  }
}

static void edges_to(struct tarn_snapshot *snapshot, uint32_t group, uint32_t from, uint32_t to) {
  for (uint32_t i = 0; from + i < to; i++)
    add_edge(snapshot, group, TARN_EDGE_ELEMENT, i, from + i, 0);
}

/* Where the nodes of each sort begin. */
struct firsts {
  uint32_t threads, tables, external;
};

static struct firsts make_nodes(struct tarn_snapshot *snapshot) {
  struct tables tables = {.snapshot = snapshot};
  struct firsts firsts;
  group_nodes(snapshot);
  firsts.threads = node_count(snapshot);
  thread_nodes(snapshot);
  firsts.tables = node_count(snapshot);
  tarn_weak_tables_each(snapshot->world->collector, table_node, no_entry, &tables);
  firsts.external = node_count(snapshot);
  external_nodes(snapshot);
  snapshot->first_block = node_count(snapshot);
  return firsts;
}

static void make_edges(struct tarn_snapshot *snapshot, const struct firsts *firsts) {
  struct tarn_collector *collector = snapshot->world->collector;
  struct tables tables = {.snapshot = snapshot, .from = firsts->tables, .end = firsts->external};
  for (uint32_t i = 1; i < TARN_GROUPS; i++)
    add_edge(snapshot, TARN_GROUP_ROOT, TARN_EDGE_ELEMENT, i, i, 0);
  note_globals(snapshot);
  edges_to(snapshot, TARN_GROUP_THREADS, firsts->threads, firsts->tables);
  edges_to(snapshot, TARN_GROUP_TABLES, firsts->tables, firsts->external);
  tarn_finalizers_each_due(collector, note_due, snapshot);
  if (snapshot->world->config.counting)
    tarn_handles_each(collector, note_handle, snapshot);
  edges_to(snapshot, TARN_GROUP_EXTERNAL, firsts->external, snapshot->first_block);
  note_threads(snapshot, firsts->threads);
  tarn_weak_tables_each(collector, next_table, note_entry, &tables);
}

void tarn_snapshot_roots(struct tarn_snapshot *snapshot) {
  struct firsts firsts = make_nodes(snapshot);
  if (snapshot->status == TARN_OK)
    make_edges(snapshot, &firsts);
  if (snapshot->ephemerons)
    tarn_snapshot_each(snapshot, note_ephemeron, NULL);
  if (snapshot->status == TARN_OK)
    sort_pairs(snapshot);
}

void tarn_snapshot_roots_drop(struct tarn_snapshot *snapshot) {
  tarn_rows_drop(&snapshot->nodes);
  tarn_rows_drop(&snapshot->edges);
  tarn_rows_drop(&snapshot->pairs);
  tarn_rows_drop(&snapshot->names);
}
