/* SPDX-License-Identifier: MIT */
/*
 * The managed structures.  A graph is 64 tables of nodes; a node has its word and a table of the
 * nodes that follow it.  It is full of cycles: the collector finds out that a graph is garbage.
 *
 * Tables are guarded by the run's locks, one for each of the 64.  A running thread takes such a
 * lock directly, because nobody reaches a safepoint while holding one: what is missing is allocated
 * without the lock, and installed in a second round if it is still wanted then.
 */
#define _GNU_SOURCE
#include "wordgraph.h"

#include <string.h>

struct word { /* atomic heap: nothing in it is traced */
  const tarn_type *type;
  size_t length; /* where the library keeps the count of an array by default */
  uint64_t hash;
  char text[];
};
struct node {
  const tarn_type *type;
  struct word *word;
  struct table *edges; /* NULL: none yet */
};
struct entry {
  struct node *node; /* NULL: the place is empty */
  uint64_t times;
};
struct table { /* open addressing, by the word of the node */
  const tarn_type *type;
  size_t room, used;
  struct entry entries[];
};
struct graph {
  const tarn_type *type;
  struct table *tables[SHARDS]; /* NULL: no node yet */
};

/* --- types, roots, words --------------------------------------------------------------------- */

static uint64_t word_hash(const void *key, void *data) {
  (void)data;
  return ((const struct word *)key)->hash;
}

static bool word_equal(const void *probe, const void *key, void *data) {
  const struct word *a = probe, *b = key;
  (void)data;
  return a->length == b->length && memcmp(a->text, b->text, a->length) == 0;
}

/* Called in each collection, with the world stopped: graphs that are being built are alive. */
static void visit_graphs(tarn_visitor *visitor, void *data) {
  struct run *run = data;
  for (unsigned i = 0; i < run->passes; i++)
    tarn_visit(visitor, atomic_load_explicit(&run->pass[i].graph, memory_order_relaxed));
}

const tarn_type *make_type(struct run *run, tarn_type_spec spec) {
  tarn_status status = TARN_OK;
  spec.struct_size = sizeof spec;
  const tarn_type *type = tarn_type_create(run->world, &spec, &status);
  if (type == NULL)
    fail(run, "cannot make the type \"%s\": %s", spec.name, tarn_strerror(status));
  return type;
}

bool graph_start(struct run *run) {
  static const uint32_t entry_slots[] = {offsetof(struct entry, node) / sizeof(void *)};
  run->word_type = make_type(
      run, (tarn_type_spec){.name = "word", .size = sizeof(struct word), .element_size = 1});
  run->node_type = make_type(
      run,
      (tarn_type_spec){.name = "node", .size = sizeof(struct node), .flags = TARN_TYPE_ALL_TRACED});
  run->table_type = make_type(run, (tarn_type_spec){.name = "table",
                                                    .size = sizeof(struct table),
                                                    .element_size = sizeof(struct entry),
                                                    .element_slots = entry_slots,
                                                    .element_slot_count = 1});
  run->graph_type = make_type(run, (tarn_type_spec){.name = "graph",
                                                    .size = sizeof(struct graph),
                                                    .flags = TARN_TYPE_ALL_TRACED});
  tarn_weak_table_spec spec = TARN_WEAK_TABLE_SPEC_INIT;
  spec.kind = TARN_WEAK_SET;
  spec.hash = word_hash;
  spec.equal = word_equal;
  tarn_status status = tarn_weak_table_create(run->world, &spec, &run->words);
  if (status == TARN_OK)
    status = tarn_root_provider_add(run->world, visit_graphs, run);
  if (status != TARN_OK)
    fail(run, "cannot start: %s", tarn_strerror(status));
  return !atomic_load(&run->failed);
}

void *made(struct worker *worker, const tarn_type *type, void *object) {
  worker->made++;
  if (object == NULL)
    fail(worker->run, "cannot make an object of type \"%s\": %s", tarn_type_name(type),
         tarn_strerror(tarn_thread_status(worker->self)));
  return object;
}

/* The first reader of a pass makes its graph; who loses the race leaves his to the collector. */
bool graph_begin(struct worker *worker, struct pass *pass) {
  const tarn_type *type = worker->run->graph_type;
  if (atomic_load_explicit(&pass->graph, memory_order_relaxed) != NULL)
    return true;
  struct graph *none = NULL, *graph = made(worker, type, tarn_new(worker->self, type));
  /* Release: pairs with the acquire in graph_word, so that others see the object whole. */
  return graph != NULL &&
         (atomic_compare_exchange_strong_explicit(&pass->graph, &none, graph, memory_order_release,
                                                  memory_order_relaxed) ||
          none != NULL);
}

/* As in a lexer, every word is a new string at first: garbage if there is an equal one already. */
static struct word *intern(struct worker *worker, const char *text, size_t length) {
  const tarn_type *type = worker->run->word_type;
  struct word *word = made(worker, type, tarn_new_array(worker->self, type, length));
  if (word == NULL)
    return NULL;
  TARN_FRAME(worker->self, &word);
  uint64_t hash = 0xcbf29ce484222325u;
  for (size_t i = 0; i < length; i++)
    hash = (hash ^ (unsigned char)text[i]) * 0x100000001b3u;
  word->hash = (hash ^ hash >> 32) * 0x9e3779b97f4a7c15u;
  memcpy(word->text, text, length);
  word = tarn_weak_table_put(worker->self, worker->run->words, word, NULL, false);
  if (word == NULL)
    fail(worker->run, "cannot intern a word: %s", tarn_strerror(tarn_thread_status(worker->self)));
  return word;
}

/* --- tables ---------------------------------------------------------------------------------- */

/* Equal words are the same object, so addresses are compared; and objects never move. */
static struct entry *place_of(struct table *table, const struct word *word) {
  size_t i = word->hash & (table->room - 1);
  while (table->entries[i].node != NULL && table->entries[i].node->word != word)
    i = (i + 1) & (table->room - 1);
  return &table->entries[i];
}

/* Puts a larger table into `*place`, unless another thread was faster. */
static void replace(struct table **place, struct table *bigger) {
  struct table *old = *place;
  if (bigger == NULL || (old != NULL && old->room >= bigger->room))
    return;
  for (size_t i = 0; old != NULL && i < old->room; i++)
    if (old->entries[i].node != NULL)
      *place_of(bigger, old->entries[i].node->word) = old->entries[i];
  bigger->used = old == NULL ? 0 : old->used;
  *place = bigger;
}

/* Counts the word in the table `*place`; if it is new there, with `node`, or NULL: with a new one.
 */
static struct node *count(struct worker *worker, struct table **place, pthread_mutex_t *lock,
                          struct word *word, struct node *node) {
  const struct run *run = worker->run;
  struct table *bigger = NULL;
  TARN_FRAME(worker->self, &word, &node, &bigger);
  for (;;) {
    pthread_mutex_lock(lock);
    replace(place, bigger);
    struct table *table = *place;
    bool full = table == NULL || table->used * 4 >= table->room * 3;
    struct entry *entry = table == NULL ? NULL : place_of(table, word);
    if (entry != NULL && entry->node == NULL && node != NULL && !full) {
      entry->node = node;
      table->used++;
    }
    struct node *found = entry == NULL ? NULL : entry->node;
    if (found != NULL)
      entry->times++;
    size_t room = table == NULL ? 4 : 2 * table->room;
    pthread_mutex_unlock(lock);
    if (found != NULL)
      return found;
    if (node == NULL) {
      node = made(worker, run->node_type, tarn_new(worker->self, run->node_type));
      if (node == NULL)
        return NULL;
      node->word = word;
    }
    if (full) {
      bigger = made(worker, run->table_type, tarn_new_array(worker->self, run->table_type, room));
      if (bigger == NULL)
        return NULL;
    }
  }
}

static unsigned shard_of(const struct word *word) {
  return (unsigned)(word->hash >> (64 - SHARD_BITS));
}

/* The word's node in the pass's graph, counted once more.  NULL: no memory, and said so. */
struct node *graph_word(struct worker *worker, struct pass *pass, const char *text, size_t length) {
  struct word *word = intern(worker, text, length);
  if (word == NULL)
    return NULL;
  struct graph *graph = atomic_load_explicit(&pass->graph, memory_order_acquire);
  unsigned shard = shard_of(word);
  return count(worker, &graph->tables[shard], &worker->run->locks[shard].mutex, word, NULL);
}

/* Counts that `to` was seen behind `from`.  Both are in a graph that is a root.  NULL as above. */
struct node *graph_edge(struct worker *worker, struct node *from, struct node *to) {
  return count(worker, &from->edges, &worker->run->locks[shard_of(from->word)].mutex, to->word, to);
}

/* --- the check ------------------------------------------------------------------------------- */

static void compare(struct run *run, const char *key, size_t length, uint64_t graph) {
  uint64_t plain = plain_times(&run->plain, key, length) * run->rounds;
  if (graph != plain && atomic_fetch_add_explicit(&run->differences, 1, memory_order_relaxed) < 10)
    complain("\"%.*s\" is there %llu times, not %llu", (int)length, key, (unsigned long long)graph,
             (unsigned long long)plain);
}

/* Compares a node and its edges with the plain count; returns the number of edges. */
static uint64_t check_node(struct run *run, const struct entry *entry) {
  char key[2 * WORD_MAX + 1];
  const struct word *word = entry->node->word;
  const struct table *edges = entry->node->edges;
  memcpy(key, word->text, word->length);
  compare(run, key, word->length, entry->times);
  key[word->length] = ' ';
  for (size_t i = 0; edges != NULL && i < edges->room; i++) {
    if (edges->entries[i].node == NULL)
      continue;
    const struct word *next = edges->entries[i].node->word;
    memcpy(key + word->length + 1, next->text, next->length);
    compare(run, key, word->length + 1 + next->length, edges->entries[i].times);
  }
  return edges == NULL ? 0 : edges->used;
}

/* By the last reader of a pass.  No lock: nobody changes the graph any more, and it is a root. */
void graph_check(struct run *run, tarn_thread *self, struct pass *pass) {
  const struct graph *graph = atomic_load_explicit(&pass->graph, memory_order_relaxed);
  uint64_t words = 0, distinct = 0, edges = 0;
  for (unsigned shard = 0; shard < SHARDS; shard++) {
    const struct table *table = graph->tables[shard];
    for (size_t i = 0; table != NULL && i < table->room; i++) {
      tarn_safepoint(self); /* nobody waits for the whole check */
      if (table->entries[i].node == NULL)
        continue;
      edges += check_node(run, &table->entries[i]);
      words += table->entries[i].times;
      distinct++;
    }
  }
  const struct plain *plain = &run->plain;
  if (distinct != plain->distinct || edges != plain->edges || words != plain->total * run->rounds) {
    atomic_fetch_add_explicit(&run->differences, 1, memory_order_relaxed);
    complain("a graph has %llu words and %llu edges, not %llu and %llu",
             (unsigned long long)distinct, (unsigned long long)edges,
             (unsigned long long)plain->distinct, (unsigned long long)plain->edges);
  }
  atomic_fetch_add_explicit(&run->words_checked, words, memory_order_relaxed);
  atomic_fetch_add_explicit(&run->passes_checked, 1, memory_order_relaxed);
}
