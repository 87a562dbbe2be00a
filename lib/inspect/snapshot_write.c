/* SPDX-License-Identifier: MIT */
/*
 * inspect/snapshot_write.c: the text of a snapshot; see snapshot.h.
 *
 * The file is one object of JSON, whose keys readers expect in this order: `snapshot` (what the
 * numbers mean, and how many there are), `nodes`, `edges`, and in the end `strings`.  A wrong
 * number of nodes or edges is taken as it is, and shows nonsense: so the edges of all nodes are
 * added up twice, and must come to the same.
 */
#include "inspect/snapshot.h"
#include <stdio.h>
#include <string.h>

const char *const tarn_snapshot_texts[TARN_TEXTS] = {
    [TARN_TEXT_NONE] = "",
    [TARN_TEXT_ROOTS] = "(global roots)",
    [TARN_TEXT_PROVIDERS] = "(root providers)",
    [TARN_TEXT_THREADS] = "(threads)",
    [TARN_TEXT_TABLES] = "(weak tables)",
    [TARN_TEXT_FINALIZERS] = "(finalizers due)",
    [TARN_TEXT_HANDLES] = "(weak handles)",
    [TARN_TEXT_EXTERNAL] = "(external)",
    [TARN_TEXT_DEAD] = "(awaiting free)",
    [TARN_TEXT_COUNTED] = "(counted from outside)",
    [TARN_TEXT_BY_HAND] = "(not counted)",
    [TARN_TEXT_RAW] = "(raw)",
    [TARN_TEXT_DATA_BLOCK] = "(data block)",
    [TARN_TEXT_UNKNOWN] = "(unknown type)",
    [TARN_TEXT_ELSEWHERE] = "(external bytes)",
    [TARN_TEXT_REST] = "(beyond 4 GiB)",
    [TARN_TEXT_TABLE] = "(weak table)",
    [TARN_TEXT_DATA] = "data",
    [TARN_TEXT_TARGET] = "target",
    [TARN_TEXT_KEY] = "key",
    [TARN_TEXT_VALUE] = "value",
    [TARN_TEXT_PART] = "part",
};

/* --- numbers --------------------------------------------------------------------------------- */

#define DIGITS 10u /* of 32 bits */

static char *put_number(char *at, uint32_t number) {
  char digits[DIGITS];
  unsigned first = DIGITS;
  do {
    digits[--first] = (char)('0' + number % 10);
    number /= 10;
  } while (number);
  memcpy(at, digits + first, DIGITS - first);
  return at + (DIGITS - first);
}

/* A line of them: a comma first unless it is the first line. */
static void put_line(struct tarn_snapshot *snapshot, bool *first, const uint32_t *numbers,
                     size_t count) {
  char line[(DIGITS + 1) * TARN_NODE_FIELDS + 2], *at = line;
  if (!*first)
    *at++ = ',';
  *first = false;
  for (size_t i = 0; i < count; i++) {
    if (i)
      *at++ = ',';
    at = put_number(at, numbers[i]);
  }
  *at++ = '\n';
  tarn_out_bytes(snapshot->out, line, (size_t)(at - line));
  /* What cannot be written need not be looked for: the walk ends. */
  if (snapshot->out->status != TARN_OK)
    snapshot->status = snapshot->out->status;
}

/* --- strings: their numbers ------------------------------------------------------------------ */

static uint32_t series_base(const struct tarn_snapshot *snapshot, unsigned series) {
  const char *const *names;
  uint32_t base =
      TARN_TEXTS + (uint32_t)tarn_snapshot_type_names(snapshot, &names) + snapshot->name_count;
  for (unsigned i = 0; i < series; i++)
    base += snapshot->series[i];
  return base;
}

static uint32_t pair_base(const struct tarn_snapshot *snapshot) {
  return series_base(snapshot, TARN_SERIES);
}

static uint32_t block_name(const struct tarn_snapshot *snapshot,
                           const struct tarn_snapshot_block *block) {
  if (block->raw)
    return block->data ? TARN_TEXT_DATA_BLOCK : TARN_TEXT_RAW;
  return tarn_snapshot_type_name(snapshot, tarn_type_of((const void *)block->base));
}

/* --- counting -------------------------------------------------------------------------------- */

static bool is_counted(const struct tarn_snapshot_block *block) {
  return !block->raw && tarn_type_counts(tarn_type_of((const void *)block->base));
}

/* The count, before references are taken off. */
static void begin_outside(struct tarn_snapshot *snapshot, const struct tarn_snapshot_block *block,
                          void *data) {
  (void)data;
  if (block->dead || block->raw)
    return;
  const tarn_type *type = tarn_type_of((const void *)block->base);
  if (tarn_snapshot_type_name(snapshot, type) == TARN_TEXT_UNKNOWN || !tarn_type_counts(type))
    return;
  size_t refs = tarn_refs_of_object(type, (const void *)block->base);
  snapshot->outside[block->node - snapshot->first_block] =
      refs < INT32_MAX ? (int32_t)refs : INT32_MAX;
}

static void count_edge(void *data, const struct tarn_snapshot_told *edge) {
  struct tarn_snapshot *snapshot = data;
  if (edge->series < TARN_SERIES && snapshot->series[edge->series] <= edge->number)
    snapshot->series[edge->series] = edge->number + 1;
  if (snapshot->outside && edge->to != TARN_SNAPSHOT_NEXT_REST)
    snapshot->outside[edge->to - snapshot->first_block]--;
}

static void count_edges(struct tarn_snapshot *snapshot, const struct tarn_snapshot_block *block,
                        void *data) {
  (void)data;
  snapshot->edge_count += tarn_snapshot_edges(snapshot, block, count_edge, snapshot);
}

/* The group of a block that nobody in the heap need refer to; TARN_GROUPS: of none. */
static uint32_t group_of(const struct tarn_snapshot *snapshot,
                         const struct tarn_snapshot_block *block) {
  if (block->dead)
    return TARN_GROUP_DEAD;
  if (!snapshot->outside || block_name(snapshot, block) == TARN_TEXT_UNKNOWN)
    return TARN_GROUPS;
  int32_t outside = snapshot->outside[block->node - snapshot->first_block];
  if (is_counted(block))
    return outside > 0 ? TARN_GROUP_COUNTED : TARN_GROUPS;
  return outside == 0 ? TARN_GROUP_BY_HAND : TARN_GROUPS;
}

static void count_groups(struct tarn_snapshot *snapshot, const struct tarn_snapshot_block *block,
                         void *data) {
  uint32_t group = group_of(snapshot, block);
  (void)data;
  snapshot->counted += group == TARN_GROUP_COUNTED;
  snapshot->by_hand += group == TARN_GROUP_BY_HAND;
}

static size_t outside_bytes(const struct tarn_snapshot *snapshot) {
  return ((size_t)snapshot->blocks + 1) * sizeof *snapshot->outside;
}

/* What is on a stack may be a copy, or no reference at all: it is not taken off. */
static void take_roots_off(struct tarn_snapshot *snapshot) {
  const struct tarn_snapshot_edge *edge = (const void *)snapshot->edges.bytes;
  const struct tarn_snapshot_edge *end = edge + snapshot->edges.used / sizeof *edge;
  for (; edge < end; edge++)
    if (edge->counts)
      snapshot->outside[edge->to - snapshot->first_block]--;
}

static void count_outside(struct tarn_snapshot *snapshot) {
  snapshot->outside = tarn_os_map(outside_bytes(snapshot));
  if (!snapshot->outside) {
    snapshot->status = TARN_ENOMEM;
    return;
  }
  tarn_snapshot_each(snapshot, begin_outside, NULL);
  take_roots_off(snapshot);
}

static struct tarn_snapshot_node *nodes_of(const struct tarn_snapshot *snapshot) {
  return (struct tarn_snapshot_node *)(void *)snapshot->nodes.bytes;
}

void tarn_snapshot_count(struct tarn_snapshot *snapshot) {
  if (snapshot->world->config.counting)
    count_outside(snapshot);
  tarn_snapshot_each(snapshot, count_edges, NULL);
  if (snapshot->outside)
    tarn_snapshot_each(snapshot, count_groups, NULL);
  if (snapshot->status != TARN_OK)
    return;
  nodes_of(snapshot)[TARN_GROUP_DEAD].edges = snapshot->dead;
  nodes_of(snapshot)[TARN_GROUP_COUNTED].edges = snapshot->counted;
  nodes_of(snapshot)[TARN_GROUP_BY_HAND].edges = snapshot->by_hand;
  for (uint32_t i = 0; i < snapshot->first_block; i++)
    snapshot->edge_count += nodes_of(snapshot)[i].edges;
  if (snapshot->edge_count > TARN_EDGES_MOST ||
      (uint64_t)snapshot->first_block + snapshot->blocks + snapshot->rests > TARN_NODES_MOST)
    snapshot->status = TARN_EOVERFLOW;
}

/* --- nodes ----------------------------------------------------------------------------------- */

static void put_node(struct tarn_snapshot *snapshot, bool *first, uint8_t type, uint32_t name,
                     uint32_t id, uint32_t size, uint32_t edges) {
  const uint32_t numbers[TARN_NODE_FIELDS] = {type, name, id, size, edges};
  put_line(snapshot, first, numbers, TARN_NODE_FIELDS);
}

static void ignore_edge(void *data, const struct tarn_snapshot_told *edge) {
  (void)data, (void)edge;
}

static uint64_t mix(uint64_t check, uint32_t edges) {
  return (check ^ edges) * UINT64_C(0x9e3779b97f4a7c15) + 1;
}

static void put_block(struct tarn_snapshot *snapshot, const struct tarn_snapshot_block *block,
                      void *first) {
  uint32_t edges = tarn_snapshot_edges(snapshot, block, ignore_edge, NULL);
  snapshot->check = mix(snapshot->check, edges);
  put_node(snapshot, first, block->raw ? TARN_NODE_NATIVE : TARN_NODE_OBJECT,
           block_name(snapshot, block), tarn_snapshot_id(snapshot, block->base, block->node),
           block->size < UINT32_MAX ? (uint32_t)block->size : UINT32_MAX, edges);
}

/* The rest of a size, in nodes that have the ids which no block inside of this one can have. */
static void put_rests(struct tarn_snapshot *snapshot, const struct tarn_snapshot_block *block,
                      void *first) {
  uint32_t id = tarn_snapshot_id(snapshot, block->base, block->node);
  size_t left = block->size;
  for (uint32_t rests = tarn_snapshot_rests(block->size), i = 1; i <= rests; i++) {
    left -= UINT32_MAX;
    put_node(snapshot, first, TARN_NODE_NATIVE, TARN_TEXT_REST,
             snapshot->sequential ? UINT32_MAX - snapshot->rests_put++ : id + i,
             left < UINT32_MAX ? (uint32_t)left : UINT32_MAX, 0);
  }
}

static void put_nodes(struct tarn_snapshot *snapshot) {
  bool first = true;
  tarn_out_text(snapshot->out, "\"nodes\":[");
  for (uint32_t i = 0; i < snapshot->first_block; i++) {
    const struct tarn_snapshot_node *node = &nodes_of(snapshot)[i];
    put_node(snapshot, &first, node->type, node->name, node->id, node->size, node->edges);
  }
  tarn_snapshot_each(snapshot, put_block, &first);
  if (snapshot->rests)
    tarn_snapshot_each(snapshot, put_rests, &first);
  tarn_out_text(snapshot->out, "],\n");
}

/* --- edges ----------------------------------------------------------------------------------- */

/* What is being written. */
struct edges {
  struct tarn_snapshot *snapshot;
  bool first;
  uint32_t base[TARN_SERIES], pairs; /* numbers of strings */
  uint32_t rest;                     /* the next node of that sort */
  uint32_t group, number;            /* in put_member */
  uint64_t put, check;
};

static void put_edge(struct edges *edges, uint8_t type, uint32_t name, uint32_t to) {
  const uint32_t numbers[TARN_EDGE_FIELDS] = {type, name, to * TARN_NODE_FIELDS};
  edges->put++;
  put_line(edges->snapshot, &edges->first, numbers, TARN_EDGE_FIELDS);
}

static void put_told(void *data, const struct tarn_snapshot_told *edge) {
  struct edges *edges = data;
  uint32_t name = edge->pair != UINT32_MAX     ? edges->pairs + edge->pair
                  : edge->series < TARN_SERIES ? edges->base[edge->series] + edge->number
                                               : edge->number;
  put_edge(edges, edge->type, name, edge->to == TARN_SNAPSHOT_NEXT_REST ? edges->rest++ : edge->to);
}

static void put_edges_of(struct tarn_snapshot *snapshot, const struct tarn_snapshot_block *block,
                         void *data) {
  struct edges *edges = data;
  edges->check = mix(edges->check, tarn_snapshot_edges(snapshot, block, put_told, edges));
}

static void put_member(struct tarn_snapshot *snapshot, const struct tarn_snapshot_block *block,
                       void *data) {
  struct edges *edges = data;
  if (group_of(snapshot, block) == edges->group)
    put_edge(edges, TARN_EDGE_ELEMENT, edges->number++, block->node);
}

static void put_members(struct edges *edges, uint32_t group) {
  edges->group = group;
  edges->number = 0;
  if (nodes_of(edges->snapshot)[group].edges)
    tarn_snapshot_each(edges->snapshot, put_member, edges);
}

/* Of what is no block. */
static void put_noted(struct edges *edges) {
  const struct tarn_snapshot *snapshot = edges->snapshot;
  const struct tarn_snapshot_edge *edge = (const void *)snapshot->edges.bytes;
  const struct tarn_snapshot_edge *end = edge + snapshot->edges.used / sizeof *edge;
  for (uint32_t i = 0; i < snapshot->first_block; i++) {
    if (i >= TARN_GROUP_DEAD && i < TARN_GROUPS)
      put_members(edges, i);
    for (; edge < end && edge->from == i; edge++)
      put_edge(edges, edge->type,
               edge->key ? edges->pairs + tarn_snapshot_pair(snapshot, edge->key, i) : edge->name,
               edge->to);
  }
}

static void put_edges(struct tarn_snapshot *snapshot) {
  struct edges edges = {.snapshot = snapshot,
                        .first = true,
                        .pairs = pair_base(snapshot),
                        .rest = snapshot->first_block + snapshot->blocks};
  for (unsigned i = 0; i < TARN_SERIES; i++)
    edges.base[i] = series_base(snapshot, i);
  tarn_out_text(snapshot->out, "\"edges\":[");
  put_noted(&edges);
  tarn_snapshot_each(snapshot, put_edges_of, &edges);
  tarn_out_text(snapshot->out, "],\n");
  if (snapshot->status == TARN_OK &&
      (edges.put != snapshot->edge_count || edges.check != snapshot->check))
    snapshot->status = TARN_ECORRUPT; /* some function did not visit the same */
}

/* --- strings --------------------------------------------------------------------------------- */

static void put_string(struct tarn_snapshot *snapshot, bool *first, const char *text) {
  if (!*first)
    tarn_out_text(snapshot->out, ",\n");
  *first = false;
  tarn_out_json(snapshot->out, text);
}

static void put_series(struct tarn_snapshot *snapshot, bool *first, unsigned series) {
  static const char *const forms[TARN_SERIES] = {"slot %u", "data[%u]", "visit %u"};
  for (uint32_t i = 0; i < snapshot->series[series]; i++) {
    char text[32];
    (void)snprintf(text, sizeof text, forms[series], i);
    put_string(snapshot, first, text);
  }
}

/* The name and id of a node, as a part of a pair's. */
struct part {
  uint32_t id;
  const char *name;
};

/* In the words that DevTools looks for; a line's end would end its search. */
static void put_pair(struct tarn_snapshot *snapshot, bool *first, uint32_t number,
                     const struct part parts[3]) {
  char text[512];
  (void)snprintf(text, sizeof text,
                 "%u / part of key (%.100s @%u) -> value (%.100s @%u) pair in WeakMap (table @%u)",
                 number + 1, parts[0].name, parts[0].id, parts[2].name, parts[2].id, parts[1].id);
  for (char *at = text; *at; at++)
    if ((unsigned char)*at < ' ')
      *at = ' ';
  put_string(snapshot, first, text);
}

/* What a node is called, for pairs: it is looked for again, since nothing leads from it to its
 * block. */
static struct part part_of(const struct tarn_snapshot *snapshot, uint32_t node) {
  if (node < snapshot->first_block)
    return (struct part){nodes_of(snapshot)[node].id, "table"};
  struct tarn_snapshot_block block = tarn_snapshot_block_of(snapshot, node);
  const char *const *names;
  size_t count = tarn_snapshot_type_names(snapshot, &names);
  uint32_t name = block_name(snapshot, &block);
  return (struct part){tarn_snapshot_id(snapshot, block.base, node),
                       name < TARN_TEXTS           ? tarn_snapshot_texts[name]
                       : name - TARN_TEXTS < count ? names[name - TARN_TEXTS]
                                                   : ""};
}

static void put_pairs(struct tarn_snapshot *snapshot, bool *first) {
  const struct tarn_snapshot_pair *pairs = (const void *)snapshot->pairs.bytes;
  size_t count = tarn_snapshot_pair_count(snapshot);
  for (size_t i = 0; i < count && snapshot->out->status == TARN_OK; i++) {
    const struct part parts[3] = {part_of(snapshot, pairs[i].key),
                                  part_of(snapshot, pairs[i].table),
                                  part_of(snapshot, pairs[i].value)};
    put_pair(snapshot, first, (uint32_t)i, parts);
  }
}

static void put_strings(struct tarn_snapshot *snapshot) {
  bool first = true;
  const char *const *names, *name = snapshot->names.bytes;
  size_t count = tarn_snapshot_type_names(snapshot, &names);
  tarn_out_text(snapshot->out, "\"strings\":[");
  for (unsigned i = 0; i < TARN_TEXTS; i++)
    put_string(snapshot, &first, tarn_snapshot_texts[i]);
  for (size_t i = 0; i < count; i++)
    put_string(snapshot, &first, names[i]);
  for (uint32_t i = 0; i < snapshot->name_count; i++, name += strlen(name) + 1)
    put_string(snapshot, &first, name);
  for (unsigned i = 0; i < TARN_SERIES; i++)
    put_series(snapshot, &first, i);
  put_pairs(snapshot, &first);
  tarn_out_text(snapshot->out, "]}\n");
}

/* --- the whole ------------------------------------------------------------------------------- */

/* The kinds' names are V8's, and so are their places; those without a comment in snapshot.h are not
 * used. */
static void put_head(struct tarn_snapshot *snapshot) {
  struct tarn_out *out = snapshot->out;
  tarn_out_text(
      out,
      "{\"snapshot\":{\"meta\":{\"node_fields\":[\"type\",\"name\",\"id\",\"self_size\","
      "\"edge_count\",\"trace_node_id\",\"detachedness\"],\"node_types\":[[\"hidden\",\"array\","
      "\"string\",\"object\",\"code\",\"closure\",\"regexp\",\"number\",\"native\",\"synthetic\","
      "\"concatenated string\",\"sliced string\",\"symbol\",\"bigint\",\"object shape\"],"
      "\"string\",\"number\",\"number\",\"number\",\"number\",\"number\"],\"edge_fields\":["
      "\"type\",\"name_or_index\",\"to_node\"],\"edge_types\":[[\"context\",\"element\","
      "\"property\",\"internal\",\"hidden\",\"shortcut\",\"weak\"],\"string_or_number\",\"node\"],"
      "\"trace_function_info_fields\":[\"function_id\",\"name\",\"script_name\",\"script_id\","
      "\"line\",\"column\"],\"trace_node_fields\":[\"id\",\"function_info_index\",\"count\","
      "\"size\",\"children\"],\"sample_fields\":[\"timestamp_us\",\"last_assigned_id\"],"
      "\"location_fields\":[\"object_index\",\"script_id\",\"line\",\"column\"]},\"node_count\":");
  tarn_out_number(out, (uint64_t)snapshot->first_block + snapshot->blocks + snapshot->rests);
  tarn_out_text(out, ",\"edge_count\":");
  tarn_out_number(out, snapshot->edge_count);
  tarn_out_text(out, ",\"trace_function_count\":0},\n");
}

void tarn_snapshot_text(struct tarn_snapshot *snapshot) {
  put_head(snapshot);
  put_nodes(snapshot);
  if (snapshot->status == TARN_OK)
    put_edges(snapshot);
  if (snapshot->status != TARN_OK)
    return;
  tarn_out_text(snapshot->out, "\"trace_function_infos\":[],\n\"trace_tree\":[],\n\"samples\":[],\n"
                               "\"locations\":[],\n");
  put_strings(snapshot);
}

void tarn_snapshot_count_drop(struct tarn_snapshot *snapshot) {
  if (snapshot->outside)
    tarn_os_unmap(snapshot->outside, outside_bytes(snapshot));
}
