/* SPDX-License-Identifier: MIT */
/*
 * classes.h: the names of types, each once, for two snapshots whose strings have other numbers.
 *
 * Nodes come before the strings, so while a file is read its types are known by a key only: the
 * number of the string, or the kind of node where the kind is what tells objects apart.
 */
#ifndef CLASSES_H
#define CLASSES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CLASSES_NONE UINT32_MAX

/* A type, in both snapshots. */
struct class {
  char *name;
  bool synthetic; /* a group of roots, no object */
  uint64_t objects[2], bytes[2];
  uint64_t fresh; /* objects of the second one that the first has not */
};

/* What is printed for a name: some objects of V8's have an empty one. */
static inline const char *class_title(const struct class *class) {
  return *class->name ? class->name : "(no name)";
}

struct classes {
  struct class *all;
  uint32_t count, room;
  uint32_t *table; /* by hash: index + 1 */
  uint32_t table_size;
};

/* The index of a name; it is added if need be. */
uint32_t classes_find(struct classes *classes, const char *name);

/* A type of one file. */
struct local_class {
  uint64_t key, objects, bytes;
  uint32_t class; /* CLASSES_NONE: its name has not come yet */
  bool synthetic;
};

struct local_classes {
  struct local_class *all;
  uint32_t count, room;
  uint32_t *table;
  uint32_t table_size;
};

/* The index of a key, which is added unless `only_look`: then CLASSES_NONE says that it is not
 * there. */
uint32_t local_classes_find(struct local_classes *locals, uint64_t key, bool only_look);
void local_classes_drop(struct local_classes *locals);

#endif
