/* SPDX-License-Identifier: MIT */
/*
 * classes.c: see classes.h.  Two tables with open addressing, never more than half full.
 */
#include "classes.h"
#include "tool.h"
#include <stdlib.h>
#include <string.h>

static uint32_t hash_name(const char *name) {
  uint64_t hash = 14695981039346656037u; /* FNV-1a */
  for (; *name; name++)
    hash = (hash ^ (unsigned char)*name) * 1099511628211u;
  return (uint32_t)(hash ^ hash >> 32);
}

static uint32_t hash_key(uint64_t key) { return (uint32_t)(key * 0x9E3779B97F4A7C15u >> 32); }

/* Puts what a table has into one twice as large. */
static void enlarge(uint32_t **table, uint32_t *size, uint32_t count, const void *owner,
                    uint32_t (*hash)(const void *owner, uint32_t index)) {
  uint32_t more = *size ? *size * 2 : 64;
  uint32_t *larger = tool_make(more, sizeof *larger);
  for (uint32_t i = 0; i < count; i++) {
    uint32_t at = hash(owner, i) & (more - 1);
    while (larger[at])
      at = (at + 1) & (more - 1);
    larger[at] = i + 1;
  }
  free(*table);
  *table = larger;
  *size = more;
}

static uint32_t class_hash(const void *owner, uint32_t index) {
  return hash_name(((const struct classes *)owner)->all[index].name);
}

uint32_t classes_find(struct classes *classes, const char *name) {
  if (classes->count * 2 >= classes->table_size)
    enlarge(&classes->table, &classes->table_size, classes->count, classes, class_hash);
  uint32_t at = hash_name(name) & (classes->table_size - 1), index;
  for (; (index = classes->table[at]) != 0; at = (at + 1) & (classes->table_size - 1))
    if (strcmp(classes->all[index - 1].name, name) == 0)
      return index - 1;
  if (classes->count == classes->room) {
    classes->room = classes->room ? classes->room * 2 : 64;
    classes->all = tool_grow(classes->all, classes->room, sizeof *classes->all);
  }
  struct class *made = &classes->all[classes->count++];
  memset(made, 0, sizeof *made);
  made->name = tool_grow(NULL, strlen(name) + 1, 1);
  (void)strcpy(made->name, name);
  classes->table[at] = classes->count;
  return classes->count - 1;
}

static uint32_t local_hash(const void *owner, uint32_t index) {
  return hash_key(((const struct local_classes *)owner)->all[index].key);
}

uint32_t local_classes_find(struct local_classes *locals, uint64_t key, bool only_look) {
  if (locals->count * 2 >= locals->table_size)
    enlarge(&locals->table, &locals->table_size, locals->count, locals, local_hash);
  uint32_t at = hash_key(key) & (locals->table_size - 1), index;
  for (; (index = locals->table[at]) != 0; at = (at + 1) & (locals->table_size - 1))
    if (locals->all[index - 1].key == key)
      return index - 1;
  if (only_look)
    return CLASSES_NONE;
  if (locals->count == locals->room) {
    locals->room = locals->room ? locals->room * 2 : 64;
    locals->all = tool_grow(locals->all, locals->room, sizeof *locals->all);
  }
  locals->all[locals->count++] = (struct local_class){.key = key, .class = CLASSES_NONE};
  locals->table[at] = locals->count;
  return locals->count - 1;
}

void local_classes_drop(struct local_classes *locals) {
  free(locals->all);
  free(locals->table);
  *locals = (struct local_classes){0};
}
