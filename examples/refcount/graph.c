/* SPDX-License-Identifier: MIT */
/*
 * Graphs of words, made of the objects that there are, as a program in a dynamic language would:
 *
 *     graph    a map from each word to its node
 *     node     a map:  "word"    the word
 *                      "times"   how often it was seen, a number
 *                      "after"   a map from each word seen behind it to that one's node
 *                      "before"  a list of the nodes that have this one in "after"
 *                      "graph"   the graph
 *
 * Every node is in circles: with its graph, and with each neighbour.  Counts alone would never free
 * one, and the whole graph is garbage when the last reference from outside goes.
 *
 * A graph belongs to one thread at a time; graphs share the words.  Everything that a function here
 * gets, it borrows: the caller's reference to the graph keeps all of it.
 */
#include "program.h"
#include <string.h>

enum { WORD, TIMES, AFTER, BEFORE, GRAPH, NAMES };
static struct string *names[NAMES]; /* references of the program's own */

bool graph_start(tarn_thread *self) {
  static const char *const texts[NAMES] = {"word", "times", "after", "before", "graph"};
  for (int i = 0; i < NAMES; i++)
    if ((names[i] = string_of(self, texts[i], strlen(texts[i]))) == NULL)
      return false;
  return true;
}

void graph_end(tarn_thread *self) {
  for (int i = 0; i < NAMES; i++) {
    tarn_unref(self, names[i]);
    names[i] = NULL;
  }
}

static struct string *word_of(const struct map *node) {
  return as(string_type, map_get(node, names[WORD]));
}
static struct map *after_of(const struct map *node) {
  return as(map_type, map_get(node, names[AFTER]));
}
static struct list *before_of(const struct map *node) {
  return as(list_type, map_get(node, names[BEFORE]));
}
static int64_t times_of(const struct map *node) {
  const struct number *times = as(number_type, map_get(node, names[TIMES]));
  return times == NULL ? 0 : times->value;
}

/* NULL: no memory; then there is no half-made node in the graph, and what was made is gone. */
static struct map *node_for(tarn_thread *self, struct map *graph, struct string *word) {
  struct map *node = as(map_type, map_get(graph, word));
  if (node != NULL)
    return node;
  node = map_new(self);
  bool good = node != NULL && map_put(self, node, names[WORD], word) &&
              map_give(self, node, names[AFTER], map_new(self)) &&
              map_give(self, node, names[BEFORE], list_new(self)) &&
              map_put(self, node, names[GRAPH], graph) && map_put(self, graph, word, node);
  tarn_unref(self, node); /* the graph has it, or nobody */
  return good ? node : NULL;
}

/* Numbers do not change: a node gets another one, and the old one dies at once. */
static bool count(tarn_thread *self, struct map *node, int64_t times) {
  return map_give(self, node, names[TIMES], number_new(self, times_of(node) + times));
}

static bool link(tarn_thread *self, struct map *from, struct map *to) {
  struct map *after = after_of(from);
  if (map_get(after, word_of(to)) != NULL)
    return true;
  return list_push(self, before_of(to), from) && map_put(self, after, word_of(to), to);
}

bool graph_word(tarn_thread *self, struct map *graph, struct map *before, struct string *word,
                struct map **node) {
  *node = node_for(self, graph, word);
  return *node != NULL && count(self, *node, 1) && (before == NULL || link(self, before, *node));
}

static bool merge_node(tarn_thread *self, struct map *into, const struct map *node) {
  struct map *same = node_for(self, into, word_of(node));
  size_t at = 0;
  struct string *word;
  void *next;
  if (same == NULL || !count(self, same, times_of(node)))
    return false;
  while (map_next(after_of(node), &at, &word, &next)) {
    struct map *other = node_for(self, into, word);
    if (other == NULL || !link(self, same, other))
      return false;
  }
  return true;
}

bool graph_merge(tarn_thread *self, struct map *into, const struct map *graph) {
  size_t at = 0;
  struct string *word;
  void *node;
  while (map_next(graph, &at, &word, &node)) {
    if (!merge_node(self, into, node))
      return false;
    tarn_safepoint(self); /* allocations are some already, but perhaps no node was new */
  }
  return true;
}

/* --- the answer ------------------------------------------------------------------------------ */

/* How many other words were seen next to it.  The list has no node twice. */
static size_t neighbours(const struct map *node) {
  const struct map *after = after_of(node);
  const struct list *before = before_of(node);
  size_t count = after->used - (map_get(after, word_of(node)) != NULL);
  for (size_t i = 0; i < before->length; i++) {
    const struct map *other = list_at(before, i);
    count += other != node && map_get(after, word_of(other)) == NULL;
  }
  return count;
}

/* Alphabetical where they are equal, so that the answer does not depend on the order of files. */
static bool is_better(const struct found *a, const struct found *b) {
  if (a->neighbours != b->neighbours)
    return a->neighbours > b->neighbours;
  size_t shorter = a->word->length < b->word->length ? a->word->length : b->word->length;
  int order = memcmp(a->word->text, b->word->text, shorter);
  return order != 0 ? order < 0 : a->word->length < b->word->length;
}

size_t graph_best(const struct map *graph, struct found *found, size_t most) {
  size_t at = 0, count = 0;
  struct string *word;
  void *node;
  while (map_next(graph, &at, &word, &node)) {
    struct found one = {word, times_of(node), neighbours(node)};
    size_t place = count;
    while (place > 0 && is_better(&one, &found[place - 1]))
      place--;
    if (place == most)
      continue;
    count += count < most;
    memmove(&found[place + 1], &found[place], (count - place - 1) * sizeof *found);
    found[place] = one;
  }
  return count;
}

size_t graph_edges(const struct map *graph) {
  size_t at = 0, edges = 0;
  struct string *word;
  void *node;
  while (map_next(graph, &at, &word, &node))
    edges += after_of(node)->used;
  return edges;
}
