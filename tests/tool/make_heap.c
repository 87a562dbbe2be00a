/* SPDX-License-Identifier: MIT */
/*
 * make_heap: writes a heap snapshot as another tool would, from the format alone.
 *
 *   make_heap FILE OBJECTS LEAKED FIRST_ID [list]
 *
 * OBJECTS objects hang on an array `table` of the group (global roots); LEAKED more, of type
 * `session`, on the array of `cache`, or each on the one before (`list`).  A tenth of the objects
 * are of type `buffer` and weakly held by the next one as well.  Ids count from FIRST_ID in the
 * order of the file, those of leaked objects are odd ones of their own.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROOT, GROUP, TABLE, CACHE, FIRST }; /* nodes */
enum { EMPTY, GROUPS, TABLES, CACHES, NODES, BUFFERS, SESSIONS, SLOT_TABLE, SLOT_CACHE, NEXT, WHO };

static FILE *file;
static uint64_t objects, leaked, first_id;
static bool list;

static void node(bool first, unsigned kind, unsigned name, uint64_t id, unsigned size,
                 uint64_t edges) {
  fprintf(file, "%s%u,%u,%" PRIu64 ",%u,%" PRIu64 ",0,0\n", first ? "" : ",", kind, name, id, size,
          edges);
}

static void edge(bool first, unsigned kind, uint64_t name, uint64_t to) {
  fprintf(file, "%s%u,%" PRIu64 ",%" PRIu64 "\n", first ? "" : ",", kind, name, to * 7);
}

static bool is_buffer(uint64_t i) { return i % 10 == 3; }

static void put_nodes(void) {
  node(true, 1, EMPTY, first_id, 0, 1);
  node(false, 1, GROUPS, first_id + 2, 0, 2);
  node(false, 0, TABLES, first_id + 4, 8 * (unsigned)objects, objects);
  node(false, 0, CACHES, first_id + 6, 64, list ? leaked > 0 : leaked);
  for (uint64_t i = 0; i < objects; i++)
    node(false, 0, is_buffer(i) ? BUFFERS : NODES, first_id + 8 + 2 * i, is_buffer(i) ? 64 : 16,
         i && is_buffer(i - 1));
  for (uint64_t i = 0; i < leaked; i++)
    node(false, 0, SESSIONS, first_id + 9 + 2 * i, 48, list && i + 1 < leaked);
}

static uint64_t put_edges(void) {
  uint64_t count = 3, session = FIRST + objects;
  edge(true, 0, 1, GROUP);
  edge(false, 1, SLOT_TABLE, TABLE);
  edge(false, 1, SLOT_CACHE, CACHE);
  for (uint64_t i = 0; i < objects; i++, count++)
    edge(false, 0, i, FIRST + i);
  for (uint64_t i = 0; i < leaked && (!list || i == 0); i++, count++)
    edge(false, 0, i, session + i);
  for (uint64_t i = 1; i < objects; i++)
    if (is_buffer(i - 1)) {
      edge(false, 2, WHO, FIRST + i - 1);
      count++;
    }
  for (uint64_t i = 0; list && i + 1 < leaked; i++, count++)
    edge(false, 1, NEXT, session + i + 1);
  return count;
}

static uint64_t edge_count(void) {
  uint64_t count = 3 + objects + leaked;
  for (uint64_t i = 1; i < objects; i++)
    count += is_buffer(i - 1);
  return count;
}

int main(int argc, char **argv) {
  if (argc < 5 || !(file = fopen(argv[1], "w")))
    return 2;
  objects = strtoull(argv[2], NULL, 10);
  leaked = strtoull(argv[3], NULL, 10);
  first_id = strtoull(argv[4], NULL, 10);
  list = argc > 5 && strcmp(argv[5], "list") == 0;
  fprintf(
      file,
      "{\"snapshot\":{\"meta\":{\"node_fields\":[\"type\",\"name\",\"id\",\"self_size\","
      "\"edge_count\",\"trace_node_id\",\"detachedness\"],\"node_types\":[[\"object\","
      "\"synthetic\"],\"string\",\"number\",\"number\",\"number\",\"number\",\"number\"],"
      "\"edge_fields\":[\"type\",\"name_or_index\",\"to_node\"],\"edge_types\":[[\"element\","
      "\"property\",\"weak\"],\"string_or_number\",\"node\"],\"trace_function_info_fields\":[]},"
      "\"node_count\":%" PRIu64 ",\"edge_count\":%" PRIu64 ",\"trace_function_count\":0},\n"
      "\"nodes\":[",
      FIRST + objects + leaked, edge_count());
  put_nodes();
  fprintf(file, "],\n\"edges\":[");
  if (put_edges() != edge_count())
    return 3;
  fprintf(file, "],\n\"trace_tree\":[1,[2,{\"a\":null}]],\n\"strings\":[\"\",\"(global roots)\","
                "\"table\",\"cache\",\"node\",\"buffer\",\"session\",\"the_table\",\"the_cache\","
                "\"next\",\"who\"]}\n");
  return fclose(file) == 0 ? 0 : 1;
}
