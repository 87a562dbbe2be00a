/* SPDX-License-Identifier: MIT */
/*
 * diff_load.c: reads the two snapshots; see diff.h.
 *
 * Which objects are new is told by ids, if these are stable: if those that both files have mostly
 * stand for objects of the same type.  Tools that number the objects of each snapshot afresh give
 * ids that are not.
 */
#include "diff.h"
#include "tool.h"
#include <stdlib.h>
#include <string.h>

#define KIND_KEY ((uint64_t)1 << 32) /* and the kind: a key that is no string's number */

/* An object of the first snapshot: its id, and behind it the class. */
static uint64_t pack(uint32_t id, uint32_t class) { return (uint64_t)id << 32 | class; }

struct loading {
  struct diff *diff;
  unsigned which; /* file, 0 or 1 */
  struct local_classes locals;
  uint64_t *olds; /* of the first file, by id */
  size_t old_count, old_room, cursor;
  uint32_t node_room, edge_room;
  bool ids_large; /* some id has more than 32 bits: none is believed */
};

/* --- types ----------------------------------------------------------------------------------- */

static uint32_t local_of(struct loading *loading, const struct heapfile *file,
                         const struct heapfile_node *node) {
  bool named = file->nodes_named >> node->kind & 1;
  uint64_t key = named ? node->name : KIND_KEY + node->kind;
  uint32_t index = local_classes_find(&loading->locals, key, false);
  struct local_class *local = &loading->locals.all[index];
  if (!named && local->class == CLASSES_NONE)
    local->class = classes_find(&loading->diff->classes, file->node_kinds[node->kind]);
  if (file->nodes_synthetic >> node->kind & 1) {
    local->synthetic = true;
  } else {
    local->objects++;
    local->bytes += node->size;
  }
  return index;
}

static void on_string(void *data, const struct heapfile *file, uint32_t number, const char *text) {
  struct loading *loading = data;
  (void)file;
  uint32_t index = local_classes_find(&loading->locals, number, true);
  if (index != CLASSES_NONE)
    loading->locals.all[index].class = classes_find(&loading->diff->classes, text);
}

/* Both files' types are added up.  False: the name of one did not come. */
static bool settle_types(struct loading *loading) {
  for (uint32_t i = 0; i < loading->locals.count; i++) {
    const struct local_class *local = &loading->locals.all[i];
    if (local->class == CLASSES_NONE) {
      tool_say("%s: is no heap snapshot: a node's name is not among the strings",
               tool_name_of(loading->diff->paths[loading->which]));
      return false;
    }
    struct class *class = &loading->diff->classes.all[local->class];
    class->synthetic = class->synthetic || local->synthetic;
    class->objects[loading->which] += local->objects;
    class->bytes[loading->which] += local->bytes;
  }
  return true;
}

/* --- the first file -------------------------------------------------------------------------- */

static void on_old_node(void *data, const struct heapfile *file, const struct heapfile_node *node) {
  struct loading *loading = data;
  if (loading->old_count == loading->old_room) {
    loading->old_room = loading->old_room ? loading->old_room * 2 : 1024;
    loading->olds = tool_grow(loading->olds, loading->old_room, sizeof *loading->olds);
  }
  loading->ids_large = loading->ids_large || node->id > UINT32_MAX;
  loading->olds[loading->old_count++] = pack((uint32_t)node->id, local_of(loading, file, node));
}

static int compare(const void *a, const void *b) {
  uint64_t first = *(const uint64_t *)a, second = *(const uint64_t *)b;
  return (first > second) - (first < second);
}

static bool load_old(struct loading *loading) {
  static const struct heapfile_reader reader = {.node = on_old_node, .string = on_string};
  bool sorted = true;
  if (!heapfile_read(loading->diff->paths[0], &reader, loading) || !settle_types(loading))
    return false;
  for (size_t i = 0; i < loading->old_count; i++) {
    uint64_t old = loading->olds[i];
    loading->olds[i] = pack((uint32_t)(old >> 32), loading->locals.all[(uint32_t)old].class);
    sorted = sorted && (i == 0 || loading->olds[i] >= loading->olds[i - 1]);
  }
  if (!sorted)
    qsort(loading->olds, loading->old_count, sizeof *loading->olds, compare);
  local_classes_drop(&loading->locals);
  return true;
}

/* --- the second file ------------------------------------------------------------------------- */

/* The class that an id had, or DIFF_NONE.  Ids mostly come in their order. */
static uint32_t old_class(struct loading *loading, uint64_t id) {
  const uint64_t *olds = loading->olds;
  size_t low = 0, high = loading->old_count;
  loading->ids_large = loading->ids_large || id > UINT32_MAX;
  if (loading->ids_large)
    return DIFF_NONE;
  if (loading->cursor < high && olds[loading->cursor] >> 32 == id)
    return (uint32_t)olds[loading->cursor++];
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (olds[middle] >> 32 < id)
      low = middle + 1;
    else
      high = middle;
  }
  if (low == loading->old_count || olds[low] >> 32 != id)
    return DIFF_NONE;
  loading->cursor = low + 1;
  return (uint32_t)olds[low];
}

static void on_node(void *data, const struct heapfile *file, const struct heapfile_node *node) {
  struct loading *loading = data;
  struct diff *diff = loading->diff;
  if (node->number == loading->node_room) {
    loading->node_room = loading->node_room ? loading->node_room * 2 : 1024;
    diff->class = tool_grow(diff->class, loading->node_room, sizeof *diff->class);
    diff->other = tool_grow(diff->other, loading->node_room, sizeof *diff->other);
    diff->first = tool_grow(diff->first, (size_t)loading->node_room + 1, sizeof *diff->first);
    diff->first[0] = 0;
  }
  diff->class[node->number] = local_of(loading, file, node);
  diff->other[node->number] = old_class(loading, node->id);
  diff->first[node->number + 1] = diff->first[node->number] + node->edges;
  diff->nodes = node->number + 1;
}

static void on_edge(void *data, const struct heapfile *file, const struct heapfile_edge *edge) {
  struct loading *loading = data;
  struct diff *diff = loading->diff;
  if (edge->number == loading->edge_room) {
    free(loading->olds); /* all nodes have come */
    loading->olds = NULL;
    loading->edge_room = loading->edge_room ? loading->edge_room * 2 : 1024;
    diff->to = tool_grow(diff->to, loading->edge_room, sizeof *diff->to);
  }
  diff->to[edge->number] = file->edges_weak >> edge->kind & 1 ? DIFF_NONE : edge->to;
  diff->edges = edge->number + 1;
}

/* Classes of the file become those of both.  What is new is counted and marked. */
static void settle_nodes(struct loading *loading) {
  struct diff *diff = loading->diff;
  for (uint32_t i = 0; i < diff->nodes; i++) {
    const struct local_class *local = &loading->locals.all[diff->class[i]];
    uint32_t class = local->class, other = diff->other[i];
    diff->class[i] = class;
    if (local->synthetic)
      continue;
    diff->ids_in_both += other != DIFF_NONE;
    diff->ids_of_other_types += other != DIFF_NONE && other != class;
    diff->classes.all[class].fresh += other != class;
    if (other != class)
      diff->class[i] |= DIFF_FRESH;
  }
  diff->ids_stable = !loading->ids_large && diff->ids_in_both > 0 &&
                     diff->ids_of_other_types <= diff->ids_in_both / 10;
}

static bool load_new(struct loading *loading) {
  static const struct heapfile_reader reader = {
      .node = on_node, .edge = on_edge, .string = on_string};
  loading->which = 1;
  if (!heapfile_read(loading->diff->paths[1], &reader, loading) || !settle_types(loading))
    return false;
  settle_nodes(loading);
  return true;
}

bool diff_load(struct diff *diff) {
  struct loading loading = {.diff = diff};
  bool good = load_old(&loading) && load_new(&loading);
  local_classes_drop(&loading.locals);
  free(loading.olds);
  return good;
}
