/* SPDX-License-Identifier: MIT */
/*
 * heapfile.c: see heapfile.h.
 */
#include "heapfile.h"
#include "json.h"
#include "tool.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FIELDS 16u /* of a node or an edge */
#define UNKNOWN UINT32_MAX

enum { BEGUN, DESCRIBED, HAS_NODES, HAS_EDGES, COMPLETE };

struct reading {
  struct json json;
  struct heapfile file;
  const struct heapfile_reader *reader;
  void *data;
  uint64_t edges_promised; /* by the nodes */
  uint64_t bytes;          /* of nodes, together: what is made of them is signed */
  char odd_size[40];       /* of a node, as it is written */
  int state;
};

static bool wrong(struct reading *reading, const char *what) {
  if (reading->json.error)
    tool_say("%s: %s (byte %llu)", reading->file.path, reading->json.error,
             (unsigned long long)json_place(&reading->json));
  else
    tool_say("%s: is no heap snapshot: %s (byte %llu)", reading->file.path, what,
             (unsigned long long)json_place(&reading->json));
  return false;
}

/* --- the description ------------------------------------------------------------------------- */

struct field {
  const char *name;
  unsigned *place;
};

/* The places of fields in a list of their names. */
static bool read_fields(struct reading *reading, const struct field *fields, size_t count,
                        unsigned *number) {
  struct json *json = &reading->json;
  enum json_kind kind;
  if (json_next(json) != JSON_ARRAY)
    return wrong(reading, "a list of fields is expected");
  for (*number = 0; (kind = json_next(json)) == JSON_STRING; ++*number)
    for (size_t i = 0; i < count; i++)
      if (strcmp(json->text, fields[i].name) == 0)
        *fields[i].place = *number;
  if (kind != JSON_ARRAY_END || *number > FIELDS)
    return wrong(reading, "names of at most 16 fields are expected");
  for (size_t i = 0; i < count; i++)
    if (*fields[i].place >= *number)
      return wrong(reading, "a field is missing");
  return true;
}

static bool read_node_fields(struct reading *reading) {
  struct heapfile *file = &reading->file;
  file->type = file->name = file->id = file->size = file->edges = UNKNOWN;
  const struct field fields[] = {{"type", &file->type},
                                 {"name", &file->name},
                                 {"id", &file->id},
                                 {"self_size", &file->size},
                                 {"edge_count", &file->edges}};
  return read_fields(reading, fields, sizeof fields / sizeof fields[0], &file->node_fields);
}

static bool read_edge_fields(struct reading *reading) {
  struct heapfile *file = &reading->file;
  file->edge_type = file->edge_name = file->edge_to = UNKNOWN;
  const struct field fields[] = {
      {"type", &file->edge_type}, {"name_or_index", &file->edge_name}, {"to_node", &file->edge_to}};
  return read_fields(reading, fields, sizeof fields / sizeof fields[0], &file->edge_fields);
}

static bool is_one_of(const char *text, const char *const *words, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (strcmp(text, words[i]) == 0)
      return true;
  return false;
}

static void note_node_kind(struct heapfile *file, unsigned kind, const char *name) {
  static const char *const named[] = {"object", "native", "synthetic"};
  uint64_t bit = (uint64_t)1 << kind;
  if (is_one_of(name, named, 3))
    file->nodes_named |= bit;
  if (strcmp(name, "synthetic") == 0)
    file->nodes_synthetic |= bit;
  char cut[sizeof file->node_kinds[kind] - 2];
  tool_copy(cut, sizeof cut, name, strlen(name));
  (void)snprintf(file->node_kinds[kind], sizeof file->node_kinds[kind], "(%s)", cut);
}

static void note_edge_kind(struct heapfile *file, unsigned kind, const char *name) {
  static const char *const indexed[] = {"element", "hidden"};
  uint64_t bit = (uint64_t)1 << kind;
  if (strcmp(name, "weak") == 0)
    file->edges_weak |= bit;
  if (is_one_of(name, indexed, 2))
    file->edges_indexed |= bit;
}

/* [["hidden", "array", ...], "string", ...]: the first list has the kinds. */
static bool read_kinds(struct reading *reading,
                       void (*note)(struct heapfile *, unsigned, const char *)) {
  struct json *json = &reading->json;
  enum json_kind kind;
  unsigned count = 0;
  if (json_next(json) != JSON_ARRAY || json_next(json) != JSON_ARRAY)
    return wrong(reading, "lists of types are expected");
  for (; (kind = json_next(json)) == JSON_STRING; count++) {
    if (count == HEAPFILE_KINDS)
      return wrong(reading, "it has too many types");
    note(&reading->file, count, json->text);
  }
  if (kind != JSON_ARRAY_END || count == 0)
    return wrong(reading, "names of types are expected");
  while ((kind = json_next(json)) != JSON_ARRAY_END)
    if (!json_skip(json, kind))
      return wrong(reading, "");
  return true;
}

/* The members of an object: `member` reads the value of each.  The bracket was read. */
static bool read_members(struct reading *reading,
                         bool (*member)(struct reading *reading, const char *name)) {
  enum json_kind kind;
  while ((kind = json_next(&reading->json)) == JSON_KEY) {
    char name[40];
    (void)snprintf(name, sizeof name, "%.39s", reading->json.text);
    if (!member(reading, name))
      return false;
  }
  return kind == JSON_OBJECT_END || wrong(reading, "");
}

static bool skip_value(struct reading *reading) {
  return json_skip(&reading->json, json_next(&reading->json)) || wrong(reading, "");
}

static bool meta_member(struct reading *reading, const char *name) {
  if (strcmp(name, "node_fields") == 0)
    return read_node_fields(reading);
  if (strcmp(name, "edge_fields") == 0)
    return read_edge_fields(reading);
  if (strcmp(name, "node_types") == 0)
    return read_kinds(reading, note_node_kind);
  if (strcmp(name, "edge_types") == 0)
    return read_kinds(reading, note_edge_kind);
  return skip_value(reading);
}

static bool read_count(struct reading *reading, uint64_t *count) {
  if (json_next(&reading->json) != JSON_NUMBER || !reading->json.whole)
    return wrong(reading, "a count is expected");
  *count = reading->json.number;
  return true;
}

static bool snapshot_member(struct reading *reading, const char *name) {
  if (strcmp(name, "meta") == 0)
    return json_next(&reading->json) == JSON_OBJECT ? read_members(reading, meta_member)
                                                    : wrong(reading, "`meta` is no object");
  if (strcmp(name, "node_count") == 0)
    return read_count(reading, &reading->file.node_count);
  if (strcmp(name, "edge_count") == 0)
    return read_count(reading, &reading->file.edge_count);
  return skip_value(reading);
}

static bool read_description(struct reading *reading) {
  if (json_next(&reading->json) != JSON_OBJECT)
    return wrong(reading, "`snapshot` is no object");
  if (!read_members(reading, snapshot_member))
    return false;
  if (!reading->file.node_fields || !reading->file.edge_fields)
    return wrong(reading, "it does not say what its fields are");
  return true;
}

/* --- the lists ------------------------------------------------------------------------------- */

/* The next record of a list.  0: the list has ended, 1: a record, -1: neither.  Of ids a number may
 * be any, and those of which it may not have limits that such a one is beyond. */
static int read_record(struct reading *reading, uint64_t *fields, unsigned count) {
  struct json *json = &reading->json;
  for (unsigned i = 0; i < count; i++) {
    enum json_kind kind = json_next(json);
    if (kind == JSON_ARRAY_END && i == 0)
      return 0;
    if (kind != JSON_NUMBER)
      return -1;
    fields[i] = json->whole ? json->number : UINT64_MAX;
    if (!json->whole && reading->state == HAS_NODES && i == reading->file.size)
      tool_copy(reading->odd_size, sizeof reading->odd_size, json->text, json->length);
  }
  return 1;
}

/* False: it cannot be, which was said. */
static bool add_size(struct reading *reading, const struct heapfile_node *node) {
  char what[128];
  if (*reading->odd_size)
    (void)snprintf(what, sizeof what, "the size of node %u cannot be: %s", node->number,
                   reading->odd_size);
  else if (node->size > (uint64_t)INT64_MAX - reading->bytes)
    (void)snprintf(what, sizeof what, "the sizes up to node %u are too many bytes: %llu",
                   node->number, (unsigned long long)node->size);
  else {
    reading->bytes += node->size;
    return true;
  }
  return wrong(reading, what);
}

static bool read_nodes(struct reading *reading) {
  struct heapfile *file = &reading->file;
  uint64_t fields[FIELDS], number = 0;
  int got;
  if (json_next(&reading->json) != JSON_ARRAY)
    return wrong(reading, "`nodes` is no list");
  for (; (got = read_record(reading, fields, file->node_fields)) > 0; number++) {
    struct heapfile_node node = {.number = (uint32_t)number,
                                 .kind = (uint32_t)fields[file->type],
                                 .name = (uint32_t)fields[file->name],
                                 .edges = (uint32_t)fields[file->edges],
                                 .id = fields[file->id],
                                 .size = fields[file->size]};
    reading->edges_promised += fields[file->edges];
    if (number >= UNKNOWN || fields[file->type] >= HEAPFILE_KINDS ||
        !file->node_kinds[fields[file->type]][0] || fields[file->name] >= UNKNOWN ||
        fields[file->edges] >= UNKNOWN || reading->edges_promised >= UNKNOWN)
      return wrong(reading, "a node has a number that cannot be");
    if (!add_size(reading, &node))
      return false;
    if (reading->reader->node)
      reading->reader->node(reading->data, file, &node);
  }
  if (got < 0 || number != file->node_count)
    return wrong(reading, "there are not as many nodes as it says");
  return true;
}

static bool read_edges(struct reading *reading) {
  struct heapfile *file = &reading->file;
  uint64_t fields[FIELDS], number = 0;
  int got;
  if (json_next(&reading->json) != JSON_ARRAY)
    return wrong(reading, "`edges` is no list");
  for (; (got = read_record(reading, fields, file->edge_fields)) > 0; number++) {
    uint64_t to = fields[file->edge_to];
    struct heapfile_edge edge = {.number = (uint32_t)number,
                                 .kind = (uint32_t)fields[file->edge_type],
                                 .to = (uint32_t)(to / file->node_fields),
                                 .name = (uint32_t)fields[file->edge_name]};
    if (number >= reading->edges_promised)
      break;
    if (fields[file->edge_type] >= HEAPFILE_KINDS || to % file->node_fields ||
        to / file->node_fields >= file->node_count || fields[file->edge_name] >= UNKNOWN)
      return wrong(reading, "an edge has a number that cannot be");
    if (reading->reader->edge)
      reading->reader->edge(reading->data, file, &edge);
  }
  if (got != 0 || number != file->edge_count || number != reading->edges_promised)
    return wrong(reading, "there are not as many edges as it says");
  return true;
}

static bool read_strings(struct reading *reading) {
  enum json_kind kind;
  uint32_t number = 0;
  if (json_next(&reading->json) != JSON_ARRAY)
    return wrong(reading, "`strings` is no list");
  for (; (kind = json_next(&reading->json)) == JSON_STRING && number < UNKNOWN; number++)
    if (reading->reader->string)
      reading->reader->string(reading->data, &reading->file, number, reading->json.text);
  return kind == JSON_ARRAY_END || wrong(reading, "something among the strings is none");
}

static bool file_member(struct reading *reading, const char *name) {
  static const struct {
    const char *name;
    bool (*read)(struct reading *reading);
  } parts[] = {{"snapshot", read_description},
               {"nodes", read_nodes},
               {"edges", read_edges},
               {"strings", read_strings}};
  for (int i = 0; i < COMPLETE; i++)
    if (strcmp(name, parts[i].name) == 0) {
      if (reading->state != i)
        return wrong(reading, "its parts are in another order than in V8's files");
      reading->state = i + 1;
      return parts[i].read(reading);
    }
  return skip_value(reading);
}

static bool read_all(struct reading *reading) {
  if (json_next(&reading->json) != JSON_OBJECT)
    return wrong(reading, "it does not begin with {");
  if (!read_members(reading, file_member))
    return false;
  if (json_next(&reading->json) != JSON_END)
    return wrong(reading, "something follows its end");
  return reading->state == COMPLETE || wrong(reading, "a part is missing");
}

bool heapfile_read(const char *path, const struct heapfile_reader *reader, void *data) {
  int file = tool_open(path);
  if (file < 0) {
    tool_say("%s: %s", tool_name_of(path), strerror(errno));
    return false;
  }
  struct reading *reading = tool_make(1, sizeof *reading);
  json_begin(&reading->json, file);
  reading->file.path = tool_name_of(path);
  reading->reader = reader;
  reading->data = data;
  bool good = read_all(reading);
  free(reading);
  (void)close(file);
  return good;
}
