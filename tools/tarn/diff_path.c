/* SPDX-License-Identifier: MIT */
/*
 * diff_path.c: what retains the objects that are new; see diff.h.
 *
 * The typical object of a type is the one in the middle, by distance from the root, of those whose
 * shortest path comes from an object of the type that is most frequent there.
 */
#include "diff.h"
#include "tool.h"
#include <stdlib.h>
#include <string.h>

/* --- the search ------------------------------------------------------------------------------ */

void diff_reach(const struct diff *diff, struct diff_search *search) {
  uint32_t *queue = diff->other, taken = 0;
  search->parents = tool_make(diff->nodes, sizeof *search->parents);
  memset(search->parents, 0xFF, diff->nodes * sizeof *search->parents);
  search->reached = 0;
  if (!diff->nodes)
    return;
  queue[search->reached++] = 0; /* the root */
  while (taken < search->reached) {
    uint32_t node = queue[taken++];
    for (uint32_t edge = diff->first[node]; edge < diff->first[node + 1]; edge++) {
      uint32_t to = diff->to[edge];
      if (to == DIFF_NONE || to == 0 || search->parents[to] != DIFF_NONE)
        continue;
      search->parents[to] = edge;
      queue[search->reached++] = to;
    }
  }
}

/* The node that an edge is of: the last whose first edge is not behind it. */
static uint32_t owner(const struct diff *diff, uint32_t edge) {
  uint32_t low = 0, high = diff->nodes;
  while (high - low > 1) {
    uint32_t middle = low + (high - low) / 2;
    if (diff->first[middle] <= edge)
      low = middle;
    else
      high = middle;
  }
  return low;
}

static uint32_t class_of(const struct diff *diff, uint32_t node) {
  return diff->class[node] & ~DIFF_FRESH;
}

/* --- one typical object ---------------------------------------------------------------------- */

struct choice {
  uint32_t class;
  uint32_t node;             /* DIFF_NONE: no object can be reached */
  uint64_t like_it, reached; /* objects with a parent of the same type; all */
  uint32_t *edges;           /* from the root on */
  uint32_t length;
};

static bool counts(const struct diff *diff, uint32_t node, uint32_t class) {
  return node != 0 && class_of(diff, node) == class &&
         (!diff->ids_stable || diff->class[node] & DIFF_FRESH);
}

static uint32_t parent_class(const struct diff *diff, const struct diff_search *search,
                             uint32_t node) {
  return class_of(diff, owner(diff, search->parents[node]));
}

static void choose(const struct diff *diff, const struct diff_search *search,
                   struct choice *choice) {
  uint64_t *by_parent = tool_make(diff->classes.count, sizeof *by_parent), seen = 0;
  uint32_t best = 0;
  choice->node = DIFF_NONE;
  for (uint32_t i = 0; i < search->reached; i++) {
    uint32_t node = diff->other[i];
    if (!counts(diff, node, choice->class))
      continue;
    choice->reached++;
    by_parent[parent_class(diff, search, node)]++;
  }
  for (uint32_t i = 1; i < diff->classes.count; i++)
    if (by_parent[i] > by_parent[best])
      best = i;
  choice->like_it = by_parent[best];
  for (uint32_t i = 0; i < search->reached && seen * 2 < choice->like_it; i++) {
    uint32_t node = diff->other[i];
    if (!counts(diff, node, choice->class) || parent_class(diff, search, node) != best)
      continue;
    choice->node = node;
    seen++;
  }
  free(by_parent);
}

static void trace_back(const struct diff *diff, const struct diff_search *search,
                       struct choice *choice) {
  uint32_t at;
  if (choice->node == DIFF_NONE)
    return;
  for (at = choice->node; at != 0; at = owner(diff, search->parents[at]))
    choice->length++;
  choice->edges = tool_make(choice->length, sizeof *choice->edges);
  uint32_t left = choice->length;
  for (at = choice->node; at != 0; at = owner(diff, search->parents[at]))
    choice->edges[--left] = search->parents[at];
}

/* --- names of edges, from a second reading --------------------------------------------------- */

struct wanted {
  uint32_t edge, name;
  bool indexed;
};

struct text {
  uint32_t number;
  char *text;
};

struct names {
  struct wanted *wanted; /* by edge */
  struct text *texts;    /* by number, made when the edges are known */
  size_t count, text_count, at, text_at;
};

static int compare_wanted(const void *a, const void *b) {
  uint32_t first = ((const struct wanted *)a)->edge, second = ((const struct wanted *)b)->edge;
  return (first > second) - (first < second);
}
static int compare_text(const void *a, const void *b) {
  uint32_t first = ((const struct text *)a)->number, second = ((const struct text *)b)->number;
  return (first > second) - (first < second);
}

static void on_edge(void *data, const struct heapfile *file, const struct heapfile_edge *edge) {
  struct names *names = data;
  for (; names->at < names->count && names->wanted[names->at].edge == edge->number; names->at++) {
    names->wanted[names->at].name = edge->name;
    names->wanted[names->at].indexed = file->edges_indexed >> edge->kind & 1;
  }
}

/* All edges have come. */
static void begin_texts(struct names *names) {
  names->texts = tool_make(names->count, sizeof *names->texts);
  for (size_t i = 0; i < names->count; i++)
    if (!names->wanted[i].indexed)
      names->texts[names->text_count++].number = names->wanted[i].name;
  qsort(names->texts, names->text_count, sizeof *names->texts, compare_text);
}

static void on_string(void *data, const struct heapfile *file, uint32_t number, const char *text) {
  struct names *names = data;
  (void)file;
  if (!names->texts)
    begin_texts(names);
  if (names->text_at == names->text_count || names->texts[names->text_at].number != number)
    return;
  char *copy = tool_make(strlen(text) + 1, 1);
  (void)strcpy(copy, text);
  for (; names->text_at < names->text_count && names->texts[names->text_at].number == number;
       names->text_at++)
    names->texts[names->text_at].text = copy;
}

static bool read_names(const struct diff *diff, const struct choice *choices, size_t count,
                       struct names *names) {
  static const struct heapfile_reader reader = {.edge = on_edge, .string = on_string};
  for (size_t i = 0; i < count; i++)
    names->count += choices[i].length;
  names->wanted = tool_make(names->count, sizeof *names->wanted);
  size_t at = 0;
  for (size_t i = 0; i < count; i++)
    for (uint32_t k = 0; k < choices[i].length; k++)
      names->wanted[at++].edge = choices[i].edges[k];
  qsort(names->wanted, names->count, sizeof *names->wanted, compare_wanted);
  return names->count == 0 || heapfile_read(diff->paths[1], &reader, names);
}

static const struct wanted *find_wanted(const struct names *names, uint32_t edge) {
  const struct wanted key = {.edge = edge};
  return bsearch(&key, names->wanted, names->count, sizeof key, compare_wanted);
}

static const char *find_text(const struct names *names, uint32_t number) {
  const struct text key = {.number = number}, *found = NULL;
  if (names->text_count)
    found = bsearch(&key, names->texts, names->text_count, sizeof key, compare_text);
  return found && found->text ? found->text : "?";
}

/* --- printing -------------------------------------------------------------------------------- */

#define NAME 36u                 /* columns of a name */
#define NAME_ROOM (NAME * 4 + 1) /* in UTF-8 */
#define STEP (NAME_ROOM * 2)

struct printing {
  const struct diff *diff;
  const struct names *names;
  char last[STEP], part[STEP];
  uint64_t times; /* that `last` has come */
  unsigned column, width;
};

/* A name of somebody else's, cleaned and cut. */
static void clean(char *to, size_t room, const char *name) {
  *to = '\0'; /* of an empty name nothing is written, not even its end */
  FILE *stream = fmemopen(to, room, "w");
  if (!stream)
    tool_no_memory();
  (void)tool_put_name(stream, name, NAME);
  (void)fclose(stream);
}

static void put_step(struct printing *printing, const char *text, bool first) {
  unsigned length = (unsigned)tool_columns(text) + (first ? 0 : 4);
  if (!first && printing->column + length > printing->width) {
    (void)fputs("\n    ", stdout);
    printing->column = 4;
  }
  (void)printf("%s%s", first ? "    " : " -> ", text);
  printing->column += length + (first ? 4 : 0);
}

static void flush_step(struct printing *printing) {
  char text[STEP + 32];
  if (!printing->times)
    return;
  if (printing->times > 1)
    (void)snprintf(text, sizeof text, "%s (%llu times)", printing->last,
                   (unsigned long long)printing->times);
  else
    (void)snprintf(text, sizeof text, "%s", printing->last);
  put_step(printing, text, printing->column == 0);
}

static void describe_step(const struct printing *printing, uint32_t edge, char text[STEP]) {
  char type[NAME_ROOM], slot[NAME_ROOM];
  const struct diff *diff = printing->diff;
  const struct wanted *wanted = find_wanted(printing->names, edge);
  uint32_t from = owner(diff, edge);
  const struct class *class = &diff->classes.all[class_of(diff, from)];
  clean(type, sizeof type, from == 0 && !*class->name ? "(root)" : class_title(class));
  if (wanted->indexed) {
    (void)snprintf(text, STEP, "%s[%u]", type, wanted->name);
    return;
  }
  clean(slot, sizeof slot, find_text(printing->names, wanted->name));
  (void)snprintf(text, STEP, "%s.%s", type, slot);
}

/* Is it the root's, to a group, which says enough? */
static bool is_to_group(const struct diff *diff, uint32_t edge) {
  return owner(diff, edge) == 0 && diff->classes.all[class_of(diff, diff->to[edge])].synthetic;
}

static void print_path(struct printing *printing, const struct choice *choice) {
  char name[NAME_ROOM];
  printing->column = 0;
  printing->times = 0;
  for (uint32_t i = 0; i < choice->length; i++) {
    if (is_to_group(printing->diff, choice->edges[i]))
      continue;
    describe_step(printing, choice->edges[i], printing->part);
    if (printing->times && strcmp(printing->part, printing->last) != 0) {
      flush_step(printing);
      printing->times = 0;
    }
    memcpy(printing->last, printing->part, STEP);
    printing->times++;
  }
  flush_step(printing);
  clean(name, sizeof name, class_title(&printing->diff->classes.all[choice->class]));
  put_step(printing, name, printing->column == 0);
  (void)putchar('\n');
}

static void print_choice(struct printing *printing, const struct choice *choice) {
  const struct diff *diff = printing->diff;
  const struct class *class = &diff->classes.all[choice->class];
  uint64_t all = diff->ids_stable ? class->fresh : class->objects[1];
  (void)putchar('\n');
  (void)tool_put_name(stdout, class_title(class), NAME);
  (void)printf(": %llu%s objects", (unsigned long long)all, diff->ids_stable ? " new" : "");
  if (choice->node == DIFF_NONE) {
    (void)puts(", none of them strongly held");
    return;
  }
  if (choice->reached < all)
    (void)printf(", %llu of them strongly held", (unsigned long long)choice->reached);
  (void)printf("; %llu as this one:\n", (unsigned long long)choice->like_it);
  print_path(printing, choice);
}

bool diff_print_paths(const struct diff *diff, const uint32_t *classes, size_t count) {
  struct diff_search search;
  struct names names = {0};
  struct choice *choices = tool_make(count, sizeof *choices);
  struct printing printing = {.diff = diff, .names = &names, .width = tool_width(stdout)};
  diff_reach(diff, &search);
  for (size_t i = 0; i < count; i++) {
    choices[i].class = classes[i];
    choose(diff, &search, &choices[i]);
    trace_back(diff, &search, &choices[i]);
  }
  if (!read_names(diff, choices, count, &names))
    return false;
  for (size_t i = 0; i < count; i++)
    print_choice(&printing, &choices[i]);
  return true;
}
