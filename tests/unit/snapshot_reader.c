/* SPDX-License-Identifier: MIT */
#include "snapshot_reader.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct text {
  struct reader *reader;
  const char *begin, *at, *end;
};

static __attribute__((format(printf, 2, 3))) bool wrong(struct text *text, const char *format,
                                                        ...) {
  char what[160];
  va_list arguments;
  va_start(arguments, format);
  (void)vsnprintf(what, sizeof what, format, arguments);
  va_end(arguments);
  if (!text->reader->error[0])
    (void)snprintf(text->reader->error, sizeof text->reader->error, "byte %zu: %s",
                   (size_t)(text->at - text->begin), what);
  return false;
}

/* Line ends alone may stand between parts. */
static void skip_lines(struct text *text) {
  while (text->at < text->end && *text->at == '\n')
    text->at++;
}

static bool expect(struct text *text, const char *what) {
  size_t length = strlen(what);
  skip_lines(text);
  if ((size_t)(text->end - text->at) < length || memcmp(text->at, what, length) != 0)
    return wrong(text, "expected %s", what);
  text->at += length;
  return true;
}

static bool number(struct text *text, uint32_t *out) {
  uint64_t value = 0;
  const char *first = text->at;
  while (text->at < text->end && *text->at >= '0' && *text->at <= '9' && value <= UINT32_MAX)
    value = value * 10 + (uint64_t)(*text->at++ - '0');
  if (text->at == first || value > UINT32_MAX || (*first == '0' && text->at - first > 1))
    return wrong(text, "no number of 32 bits");
  *out = (uint32_t)value;
  return true;
}

/* `count` rows of `fields` numbers. */
static uint32_t *table(struct text *text, size_t count, size_t fields) {
  uint32_t *numbers = malloc((count * fields + 1) * sizeof *numbers);
  if (!numbers || !expect(text, "[")) {
    free(numbers);
    return NULL;
  }
  for (size_t i = 0; i < count * fields; i++) {
    skip_lines(text);
    if ((i && !expect(text, ",")) || !number(text, &numbers[i])) {
      free(numbers);
      return NULL;
    }
  }
  if (expect(text, "]"))
    return numbers;
  free(numbers);
  return NULL;
}

/* --- strings --------------------------------------------------------------------------------- */

/* A character that was escaped; the reader wants only those of ASCII. */
static bool escaped(struct text *text, char *out) {
  static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
  char code = text->at < text->end ? *text->at++ : '\0';
  const char *known = code ? strchr(from, code) : NULL;
  unsigned value;
  if (known) {
    *out = to[known - from];
    return true;
  }
  if (code != 'u' || text->end - text->at < 4 || sscanf(text->at, "%4x", &value) != 1 ||
      value == 0 || value > 0x7f)
    return wrong(text, "an escape that is none");
  text->at += 4;
  *out = (char)value;
  return true;
}

/* The length of the character of UTF-8 at a place; 0: there is none. */
static size_t character(const struct text *text) {
  const unsigned char *at = (const unsigned char *)text->at;
  size_t length = *at < 0x80   ? 1
                  : *at < 0xc2 ? 0
                  : *at < 0xe0 ? 2
                  : *at < 0xf0 ? 3
                  : *at < 0xf5 ? 4
                               : 0;
  if ((size_t)(text->end - text->at) < length)
    return 0;
  for (size_t i = 1; i < length; i++)
    if ((at[i] & 0xc0) != 0x80)
      return 0;
  return length;
}

static char *string(struct text *text) {
  if (!expect(text, "\""))
    return NULL;
  const char *close = text->at;
  while (close < text->end && *close != '"')
    close += *close == '\\' && close + 1 < text->end ? 2 : 1;
  char *out = malloc((size_t)(close - text->at) + 1);
  size_t length = 0;
  while (out && text->at < text->end && *text->at != '"') {
    size_t bytes = character(text);
    if (bytes == 0 || (unsigned char)*text->at < ' ') {
      (void)wrong(text, "a byte that may not stand in a string");
      free(out);
      return NULL;
    }
    if (*text->at == '\\') {
      text->at++;
      if (!escaped(text, &out[length++])) {
        free(out);
        return NULL;
      }
    } else {
      memcpy(out + length, text->at, bytes);
      length += bytes;
      text->at += bytes;
    }
  }
  if (!out || !expect(text, "\"")) {
    free(out);
    return NULL;
  }
  out[length] = '\0';
  return out;
}

static bool strings(struct text *text) {
  struct reader *reader = text->reader;
  size_t room = 0;
  if (!expect(text, "["))
    return false;
  for (;;) {
    if (reader->string_count == room) {
      room = room ? room * 2 : 256;
      reader->strings = realloc(reader->strings, room * sizeof *reader->strings);
    }
    char *next = string(text);
    if (!next)
      return false;
    reader->strings[reader->string_count++] = next;
    skip_lines(text);
    if (text->at < text->end && *text->at == ']')
      return expect(text, "]");
    if (!expect(text, ","))
      return false;
  }
}

/* --- the parts ------------------------------------------------------------------------------- */

static bool head(struct text *text) {
  uint32_t nodes, edges;
  static const char meta[] =
      "{\"snapshot\":{\"meta\":{\"node_fields\":[\"type\",\"name\",\"id\",\"self_size\",\"edge_"
      "count\","
      "\"trace_node_id\",\"detachedness\"],\"node_types\":[[\"hidden\",\"array\",\"string\","
      "\"object\","
      "\"code\",\"closure\",\"regexp\",\"number\",\"native\",\"synthetic\",\"concatenated string\","
      "\"sliced string\",\"symbol\",\"bigint\",\"object shape\"],\"string\",\"number\",\"number\","
      "\"number\",\"number\",\"number\"],\"edge_fields\":[\"type\",\"name_or_index\",\"to_node\"],"
      "\"edge_types\":[[\"context\",\"element\",\"property\",\"internal\",\"hidden\",\"shortcut\","
      "\"weak\"],\"string_or_number\",\"node\"],";
  static const char rest[] =
      "\"trace_function_info_fields\":[\"function_id\",\"name\",\"script_name\",\"script_id\","
      "\"line\","
      "\"column\"],\"trace_node_fields\":[\"id\",\"function_info_index\",\"count\",\"size\","
      "\"children\"],"
      "\"sample_fields\":[\"timestamp_us\",\"last_assigned_id\"],\"location_fields\":["
      "\"object_index\",\"script_id\",\"line\",\"column\"]},\"node_count\":";
  if (!expect(text, meta) || !expect(text, rest) || !number(text, &nodes) ||
      !expect(text, ",\"edge_count\":") || !number(text, &edges) ||
      !expect(text, ",\"trace_function_count\":0},"))
    return false;
  text->reader->node_count = nodes;
  text->reader->edge_count = edges;
  return true;
}

static bool nodes(struct text *text) {
  struct reader *reader = text->reader;
  uint32_t *numbers;
  if (!expect(text, "\"nodes\":") || !(numbers = table(text, reader->node_count, 7)))
    return false;
  reader->nodes = calloc(reader->node_count + 1, sizeof *reader->nodes);
  uint64_t first = 0;
  for (size_t i = 0; i < reader->node_count; i++) {
    const uint32_t *row = &numbers[i * 7];
    reader->nodes[i] =
        (struct reader_node){row[0], row[1], row[2], row[3], row[4], (uint32_t)first};
    first += row[4];
    if (row[0] > 14 || row[5] != 0 || row[6] != 0)
      (void)wrong(text, "node %zu has fields that are not used", i);
  }
  free(numbers);
  if (first != reader->edge_count)
    return wrong(text, "nodes have %llu edges, edge_count is %zu", (unsigned long long)first,
                 reader->edge_count);
  return reader->error[0] == '\0' && expect(text, ",");
}

static bool edges(struct text *text) {
  struct reader *reader = text->reader;
  uint32_t *numbers;
  if (!expect(text, "\"edges\":") || !(numbers = table(text, reader->edge_count, 3)))
    return false;
  reader->edges = calloc(reader->edge_count + 1, sizeof *reader->edges);
  size_t from = 0;
  for (size_t i = 0; i < reader->edge_count; i++) {
    const uint32_t *row = &numbers[i * 3];
    while (i >= reader->nodes[from].first + (size_t)reader->nodes[from].edges)
      from++;
    reader->edges[i] = (struct reader_edge){row[0], row[1], (uint32_t)from, row[2] / 7};
    if (row[0] > 6 || row[2] % 7 != 0 || row[2] / 7 >= reader->node_count)
      (void)wrong(text, "edge %zu leads to no node", i);
  }
  free(numbers);
  return reader->error[0] == '\0' && expect(text, ",");
}

/* Strings are known only now. */
static bool names_are_good(struct text *text) {
  const struct reader *reader = text->reader;
  for (size_t i = 0; i < reader->node_count; i++)
    if (reader->nodes[i].name >= reader->string_count)
      return wrong(text, "node %zu has no name", i);
  for (size_t i = 0; i < reader->edge_count; i++)
    if (reader->edges[i].type != READER_ELEMENT && reader->edges[i].name >= reader->string_count)
      return wrong(text, "edge %zu has no name", i);
  return true;
}

static int by_id(const void *a, const void *b) {
  uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
  return left < right ? -1 : left > right;
}

static bool ids_are_unique(struct text *text) {
  const struct reader *reader = text->reader;
  uint32_t *ids = malloc((reader->node_count + 1) * sizeof *ids);
  for (size_t i = 0; i < reader->node_count; i++)
    ids[i] = reader->nodes[i].id;
  qsort(ids, reader->node_count, sizeof *ids, by_id);
  bool good = true;
  for (size_t i = 1; good && i < reader->node_count; i++)
    if (ids[i] == ids[i - 1] || ids[i - 1] == 0)
      good = wrong(text, "id %u is not that of one node", ids[i]);
  free(ids);
  return good;
}

bool reader_parse(struct reader *reader, const char *bytes, size_t size) {
  *reader = (struct reader){0};
  struct text text = {reader, bytes, bytes, bytes + size};
  if (!head(&text) || !nodes(&text) || !edges(&text) ||
      !expect(&text, "\"trace_function_infos\":[],") || !expect(&text, "\"trace_tree\":[],") ||
      !expect(&text, "\"samples\":[],") || !expect(&text, "\"locations\":[],") ||
      !expect(&text, "\"strings\":") || !strings(&text) || !expect(&text, "}"))
    return false;
  skip_lines(&text);
  if (text.at != text.end)
    return wrong(&text, "something follows");
  return names_are_good(&text) && ids_are_unique(&text);
}

bool reader_load(struct reader *reader, const char *path) {
  FILE *file = fopen(path, "rb");
  char *text = NULL;
  size_t size = 0, room = 0, got;
  *reader = (struct reader){0};
  if (!file) {
    (void)snprintf(reader->error, sizeof reader->error, "no file %.200s", path);
    return false;
  }
  do {
    if (size == room) {
      room = room ? room * 2 : (size_t)1 << 20;
      text = realloc(text, room);
    }
    got = fread(text + size, 1, room - size, file);
    size += got;
  } while (got > 0);
  (void)fclose(file);
  bool good = reader_parse(reader, text, size);
  free(text);
  return good;
}

void reader_end(struct reader *reader) {
  for (size_t i = 0; i < reader->string_count; i++)
    free(reader->strings[i]);
  free(reader->strings);
  free(reader->nodes);
  free(reader->edges);
  *reader = (struct reader){0};
}

/* --- questions ------------------------------------------------------------------------------- */

size_t reader_find(const struct reader *reader, const char *name) {
  for (size_t i = 0; i < reader->node_count; i++)
    if (strcmp(reader_name(reader, i), name) == 0)
      return i;
  return SIZE_MAX;
}

size_t reader_count(const struct reader *reader, const char *name) {
  size_t count = 0;
  for (size_t i = 0; i < reader->node_count; i++)
    count += strcmp(reader_name(reader, i), name) == 0;
  return count;
}

const char *reader_edge_name(const struct reader *reader, size_t edge, char buffer[16]) {
  const struct reader_edge *at = &reader->edges[edge];
  if (at->type != READER_ELEMENT)
    return reader->strings[at->name];
  (void)snprintf(buffer, 16, "%u", at->name);
  return buffer;
}

size_t reader_edge(const struct reader *reader, size_t from, size_t to) {
  for (size_t i = 0; i < reader->nodes[from].edges; i++)
    if (reader->edges[reader->nodes[from].first + i].to == to)
      return reader->nodes[from].first + i;
  return SIZE_MAX;
}

size_t reader_edge_named(const struct reader *reader, size_t from, const char *name) {
  char buffer[16];
  for (size_t i = 0; i < reader->nodes[from].edges; i++)
    if (strcmp(reader_edge_name(reader, reader->nodes[from].first + i, buffer), name) == 0)
      return reader->nodes[from].first + i;
  return SIZE_MAX;
}

size_t reader_reached(const struct reader *reader, size_t without, uint64_t *bytes) {
  bool *seen = calloc(reader->node_count + 1, 1);
  size_t *stack = malloc((reader->node_count + 1) * sizeof *stack);
  size_t depth = 0, count = 0;
  *bytes = 0;
  seen[0] = true;
  stack[depth++] = 0;
  while (depth > 0) {
    size_t node = stack[--depth];
    count++;
    *bytes += reader->nodes[node].size;
    for (size_t i = 0; i < reader->nodes[node].edges; i++) {
      const struct reader_edge *edge = &reader->edges[reader->nodes[node].first + i];
      if (edge->type == READER_WEAK || edge->to == without || seen[edge->to])
        continue;
      seen[edge->to] = true;
      stack[depth++] = edge->to;
    }
  }
  free(seen);
  free(stack);
  return count;
}
