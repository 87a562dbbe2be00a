/* SPDX-License-Identifier: MIT */
/*
 * Mixed: what a compiler or an interpreter does, once a unit of its input. Text is collected in
 * buffers that grow by realloc; names of it are interned in a hash table that lives as long as the
 * thread; an expression tree is built, evaluated with small short-lived values, and freed; its text
 * is kept for some units.
 *
 * usage: alloc_mixed THREADS UNITS
 */
#include "alloc.h"

enum { NAMES = 4000, WORDS = 120, TREE_DEPTH = 6, KEPT = 64, NAME_LENGTH = 40 };

/* --- text ------------------------------------------------------------------------------------ */

struct text {
  char *bytes;
  size_t length, room;
};

static void text_add(struct text *text, const char *bytes, size_t count) {
  if (text->length + count > text->room) {
    text->room = (text->length + count) * 3 / 2 + 16;
    text->bytes = must(realloc(text->bytes, text->room));
  }
  memcpy(text->bytes + text->length, bytes, count);
  text->length += count;
}

/* --- names ----------------------------------------------------------------------------------- */

struct name {
  struct name *next;
  uint64_t hash, uses;
  size_t length;
  char bytes[];
};

struct names {
  struct name **heads;
  size_t count, room;
};

/* Twice as many chains, or the first 64. */
static void names_grow(struct names *names) {
  struct names old = *names;
  names->room = old.room ? 2 * old.room : 64;
  names->heads = must(calloc(names->room, sizeof(struct name *)));
  for (size_t i = 0; i < old.room; i++)
    for (struct name *name = old.heads[i], *next; name; name = next) {
      struct name **head = &names->heads[name->hash & (names->room - 1)];
      next = name->next;
      name->next = *head;
      *head = name;
    }
  free(old.heads);
}

static struct name *intern(struct names *names, const char *bytes, size_t length) {
  uint64_t hash = 14695981039346656037u; /* FNV-1a */
  for (size_t i = 0; i < length; i++)
    hash = (hash ^ (unsigned char)bytes[i]) * 1099511628211u;
  if (names->count >= names->room)
    names_grow(names);
  struct name **head = &names->heads[hash & (names->room - 1)];
  for (struct name *name = *head; name; name = name->next)
    if (name->hash == hash && name->length == length && memcmp(name->bytes, bytes, length) == 0)
      return name;
  struct name *name = must(malloc(sizeof *name + length + 1));
  *name = (struct name){.next = *head, .hash = hash, .length = length};
  memcpy(name->bytes, bytes, length);
  names->count++;
  return *head = name;
}

static void names_drop(struct names *names) {
  for (size_t i = 0; i < names->room; i++)
    for (struct name *name = names->heads[i], *next; name; name = next) {
      next = name->next;
      free(name);
    }
  free(names->heads);
}

/* --- trees ----------------------------------------------------------------------------------- */

/* Nodes have none to three children: sizes of their own. */
struct node {
  struct name *name;
  uint32_t count, kind;
  struct node *children[];
};

static struct node *build(struct lane *lane, struct prng *prng, struct name **names,
                          unsigned depth) {
  uint32_t count = depth == 0 ? 0 : 1 + prng_below(prng, 3);
  struct node *node = must(malloc(sizeof *node + count * sizeof(struct node *)));
  *node = (struct node){names[prng_below(prng, WORDS)], count, prng_next(prng) % 5};
  node->name->uses++;
  lane->objects++;
  for (uint32_t i = 0; i < count; i++)
    node->children[i] = build(lane, prng, names, depth - 1);
  return node;
}

/* A value in a box, as interpreters have them; the caller frees it. */
static uint64_t *evaluate(struct lane *lane, const struct node *node) {
  uint64_t *result = must(malloc(sizeof *result));
  *result = node->name->length + node->kind;
  lane->objects++;
  for (uint32_t i = 0; i < node->count; i++) {
    uint64_t *value = evaluate(lane, node->children[i]);
    *result = *result * 31 + *value;
    free(value);
  }
  return result;
}

static void drop(struct node *node) {
  for (uint32_t i = 0; i < node->count; i++)
    drop(node->children[i]);
  free(node);
}

/* --- a unit ---------------------------------------------------------------------------------- */

static size_t spell(char *bytes, struct prng *prng) {
  uint32_t word = prng_below(prng, NAMES);
  /* Lengths differ, and stay the same for a word. */
  return (size_t)snprintf(bytes, NAME_LENGTH, "%.*s%u", (int)(word % 24),
                          "identifier_of_a_program_", word);
}

/* Returns the unit's text, which the caller frees some time. */
static char *compile(struct lane *lane, struct names *names, struct prng *prng) {
  struct name *words[WORDS];
  struct text text = {0};
  char bytes[NAME_LENGTH];
  for (size_t i = 0; i < WORDS; i++) {
    size_t length = spell(bytes, prng);
    text_add(&text, bytes, length);
    words[i] = intern(names, bytes, length);
  }
  text_add(&text, "", 1);
  struct node *tree = build(lane, prng, words, TREE_DEPTH);
  for (unsigned i = 0; i < 2; i++) {
    uint64_t *value = evaluate(lane, tree);
    lane->sum += *value;
    free(value);
  }
  drop(tree);
  return must(realloc(text.bytes, text.length));
}

static void drop_text(struct lane *lane, char *text) {
  lane->sum += text ? strlen(text) : 0;
  free(text);
}

static void run(struct lane *lane) {
  struct names names = {0};
  char *kept[KEPT] = {0};
  struct prng prng = prng_seed(lane->index);
  for (uint64_t unit = 0; unit < lane->work; unit++) {
    char **place = &kept[prng_below(&prng, KEPT)];
    drop_text(lane, *place);
    *place = compile(lane, &names, &prng);
  }
  for (size_t i = 0; i < KEPT; i++)
    drop_text(lane, kept[i]);
  lane->sum += names.count;
  names_drop(&names);
}

int main(int argc, char **argv) {
  static const struct lane_work todo = {NULL, run};
  run_program(argc, argv, &todo, NULL);
  return 0;
}
