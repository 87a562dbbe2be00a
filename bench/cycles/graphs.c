/* SPDX-License-Identifier: MIT */
/*
 * bench/cycles/graphs.c: what a collection of cycles costs for each container.
 *
 *   cycles_graphs MODE SHAPE COUNT TIMES [unknown] [slots] [kinds] [two] [later]
 *
 * COUNT nodes of 48 bytes: the type, the count of references, an atom (one of 256, without
 * references), and up to two references to nodes.  These are counted.  With `kinds` there is one
 * more, to the kind, an object that all nodes refer to, as all of a class do.  Shapes:
 *   random  one reference along a random circle through all nodes, the other to any
 *   lists   an array of nodes without references
 *   chain   a node refers to the one that was made after it
 *   tree    a binary tree in the order of allocation
 *   rings   circles of ten nodes
 * They are built with collections off, and kept by one reference from outside, to the first node
 * (or the array); it is registered as a root, but not if it is `unknown`.  Nodes are traced by a
 * function, or with `slots` by the list of their slots.  One marker, or with `two` two.
 *
 * Modes:
 *   live     full collections while the graph is kept: the first one, and the median of TIMES more
 *   garbage  it is dropped, then one collection finds and frees it: the same for TIMES more graphs
 *   young    700 nodes are made beside it, and collections of generation 0 look at them
 *   gap      a second thread looks at the clock, and polls, while the graph is collected
 *   memory   resident bytes beside the nodes before the first collection, and at its height
 *   after    resident bytes when it has died, and with `later` three seconds after that too; the
 * time of a collection then
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <tarn/tarn.h>

#include "subject.h"

#define SUBJECT "tarn"

enum { FRESH = 700, RING = 10, WALK = 1000, ATOMS = 256, TIMES_MOST = 1024, LATER = 3 };

struct atom {
  const tarn_type *type;
  size_t refs;
  uint64_t number;
};

/* As a class: it is traced, too. */
struct kind {
  const tarn_type *type;
  size_t refs;
  struct atom *name;
};

struct node {
  const tarn_type *type;
  size_t refs;
  struct kind *kind;
  struct atom *atom;
  struct node *left, *right;
};

struct list {
  const tarn_type *type;
  size_t count;
  size_t refs;
  size_t unused; /* elements begin here, as in Python's */
  struct node *nodes[];
};

struct graph {
  struct node *node; /* the root: one of the two */
  struct list *list;
};

static tarn_world *world;
static tarn_thread *self;
static const tarn_type *node_type, *list_type;
static struct kind *kind;
static struct atom *atoms[ATOMS];
static bool known = true, slots, kinds, two, later;

/* --- types ------------------------------------------------------------------------------------ */

static void trace_kind(const void *object, tarn_visitor *visitor) {
  tarn_visit(visitor, ((const struct kind *)object)->name);
}

static void trace_node(const void *object, tarn_visitor *visitor) {
  const struct node *node = object;
  tarn_visit(visitor, node->atom);
  if (node->left)
    tarn_visit(visitor, node->left);
  if (node->right)
    tarn_visit(visitor, node->right);
}

static void trace_node_of_kind(const void *object, tarn_visitor *visitor) {
  tarn_visit(visitor, ((const struct node *)object)->kind);
  trace_node(object, visitor);
}

static void trace_list(const void *object, tarn_visitor *visitor) {
  const struct list *list = object;
  for (size_t i = 0; i < list->count; i++)
    tarn_visit(visitor, list->nodes[i]);
}

static const tarn_type *make_type(tarn_type_spec spec) {
  const tarn_type *type = tarn_type_create(world, &spec, NULL);
  if (!type)
    subject_fail(SUBJECT, "cannot make a type");
  return type;
}

static void *checked(void *object) {
  if (!object)
    subject_fail(SUBJECT, "out of memory");
  return object;
}

static void make_types(void) {
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = "atom";
  spec.size = sizeof(struct atom);
  spec.refs_at = offsetof(struct atom, refs);
  const tarn_type *atom_type = make_type(spec);
  spec.name = "kind";
  spec.size = sizeof(struct kind);
  spec.trace = trace_kind;
  const tarn_type *kind_type = make_type(spec);
  spec.name = "list";
  spec.size = sizeof(struct list);
  spec.refs_at = offsetof(struct list, refs);
  spec.element_size = sizeof(struct node *);
  spec.trace = trace_list;
  list_type = make_type(spec);
  spec = (tarn_type_spec)TARN_TYPE_SPEC_INIT;
  spec.name = "node";
  spec.size = sizeof(struct node);
  spec.refs_at = offsetof(struct node, refs);
  spec.trace = slots ? NULL : kinds ? trace_node_of_kind : trace_node;
  spec.slot_bits = !slots ? 0 : kinds ? 0x3c : 0x38;
  node_type = make_type(spec);
  for (size_t i = 0; i < ATOMS; i++) {
    atoms[i] = checked(tarn_new(self, atom_type));
    atoms[i]->number = i;
    atoms[i]->refs = 1; /* the table's */
  }
  kind = checked(tarn_new(self, kind_type));
  kind->refs = 1;
  kind->name = atoms[0];
  atoms[0]->refs++;
}

static void begin(void) {
  tarn_options options = TARN_OPTIONS_INIT;
  options.set = two ? "strict=1,markers=2" : "strict=1,markers=1";
  options.flags = TARN_OPTIONS_COUNTING;
  if (tarn_world_create(&options, &world) != TARN_OK || tarn_thread_attach(world, &self) != TARN_OK)
    subject_fail(SUBJECT, "cannot make a world");
  tarn_collect_disable(world);
  make_types();
}

/* --- graphs ----------------------------------------------------------------------------------- */

/* With one reference, the caller's. */
static struct node *make_node(size_t number) {
  struct atom *atom = atoms[number & (ATOMS - 1)];
  struct node *node = checked(tarn_new(self, node_type));
  node->refs = 1;
  if (kinds) {
    node->kind = kind;
    kind->refs++;
  }
  node->atom = atom;
  atom->refs++;
  return node;
}

static struct node *share(struct node *node) {
  node->refs++;
  return node;
}

static uint64_t random_below(uint64_t *state, uint64_t end) {
  *state = *state * 6364136223846793005u + 1442695040888963407u;
  return (*state >> 32) * end >> 32;
}

static void shuffle(struct node **nodes, size_t count) {
  uint64_t random = 1;
  for (size_t i = count - 1; i > 0; i--) {
    size_t other = random_below(&random, i + 1);
    struct node *node = nodes[i];
    nodes[i] = nodes[other];
    nodes[other] = node;
  }
}

static struct node *make_random(size_t count) {
  struct node **nodes = malloc(count * sizeof *nodes), *root;
  uint64_t random = 2;
  if (!nodes)
    subject_fail(SUBJECT, "out of memory");
  for (size_t i = 0; i < count; i++)
    nodes[i] = make_node(i);
  shuffle(nodes, count);
  for (size_t i = 0; i < count; i++) {
    nodes[i]->left = share(nodes[i + 1 < count ? i + 1 : 0]);
    nodes[i]->right = share(nodes[random_below(&random, count)]);
  }
  root = nodes[0];
  for (size_t i = 1; i < count; i++)
    nodes[i]->refs--; /* the table's */
  free(nodes);
  return root;
}

static struct list *make_lists(size_t count) {
  struct list *list = checked(tarn_new_array(self, list_type, count));
  list->refs = 1;
  for (size_t i = 0; i < count; i++)
    list->nodes[i] = make_node(i);
  return list;
}

static struct node *make_chain(size_t from, size_t count, struct node **end) {
  struct node *first = make_node(from), *last = first;
  for (size_t i = 1; i < count; i++)
    last = last->left = make_node(from + i);
  if (end)
    *end = last;
  return first;
}

/* A node, its left side, its right side. */
static struct node *make_tree(size_t from, size_t count) {
  struct node *node = make_node(from);
  size_t half = count / 2, rest = count - 1 - half;
  if (half)
    node->left = make_tree(from + 1, half);
  if (rest)
    node->right = make_tree(from + 1 + half, rest);
  return node;
}

/* Nobody keeps them. */
static void make_rings(size_t count) {
  for (size_t i = 0; i < count; i += RING) {
    struct node *last, *first = make_chain(i, RING, &last);
    last->left = first; /* takes the reference over */
  }
}

static struct graph make(const char *shape, size_t count) {
  struct graph graph = {0};
  if (strcmp(shape, "random") == 0)
    graph.node = make_random(count);
  else if (strcmp(shape, "lists") == 0)
    graph.list = make_lists(count);
  else if (strcmp(shape, "chain") == 0)
    graph.node = make_chain(0, count, NULL);
  else if (strcmp(shape, "tree") == 0)
    graph.node = make_tree(0, count);
  else if (strcmp(shape, "rings") == 0)
    make_rings(count);
  else
    subject_fail(SUBJECT, "the shape is random, lists, chain, tree or rings");
  return graph;
}

/* The reference from outside stays until the process ends. */
static void keep(struct graph *graph) {
  void **slot = graph->list ? (void **)&graph->list : (void **)&graph->node;
  if (known && tarn_root_add(world, slot) != TARN_OK)
    subject_fail(SUBJECT, "cannot add a root");
}

/* Only garbage shapes: no count becomes zero. */
static void drop(struct graph *graph) {
  if (graph->node)
    graph->node->refs--;
  graph->node = NULL;
}

/* The sum of atoms along one path. */
static uint64_t walk(const struct graph *graph) {
  uint64_t sum = 0, random = 3;
  for (size_t i = 0; graph->list && i < WALK && i < graph->list->count; i++)
    sum += graph->list->nodes[i]->atom->number;
  const struct node *node = graph->node;
  for (size_t i = 0; i < WALK && node; i++) {
    sum += node->atom->number;
    node = random_below(&random, 2) && node->right ? node->right : node->left;
  }
  return sum;
}

/* --- collections ------------------------------------------------------------------------------ */

static tarn_stats stats(void) {
  tarn_stats stats = {.struct_size = sizeof stats};
  if (tarn_stats_get(world, &stats) != TARN_OK)
    subject_fail(SUBJECT, "no statistics");
  return stats;
}

static double last_cpu; /* nanoseconds of all threads, in the last one */

static double collect(int generation) {
  double cpu = subject_clock(CLOCK_PROCESS_CPUTIME_ID), begin = subject_clock(CLOCK_MONOTONIC);
  if (tarn_collect_cycles(self, generation) != TARN_OK)
    subject_fail(SUBJECT, "cannot collect");
  double wall = subject_clock(CLOCK_MONOTONIC) - begin;
  last_cpu = subject_clock(CLOCK_PROCESS_CPUTIME_ID) - cpu;
  return wall;
}

struct samples {
  size_t count;
  double values[TIMES_MOST];
};

static void add(struct samples *samples, double value) {
  if (samples->count < TIMES_MOST)
    samples->values[samples->count++] = value;
}

static int compare(const void *a, const void *b) {
  double left = *(const double *)a, right = *(const double *)b;
  return (left > right) - (left < right);
}

static double median(struct samples *samples) {
  qsort(samples->values, samples->count, sizeof samples->values[0], compare);
  return samples->values[(samples->count - 1) / 2];
}

/* --- modes ------------------------------------------------------------------------------------ */

static struct samples costs, cpus, stops;

/* One of those of which the median counts. */
static void add_collection(double cost) {
  add(&costs, cost);
  add(&cpus, last_cpu);
  add(&stops, (double)stats().cycle_pause_last_ns);
}

static void print_costs(double first, size_t count) {
  subject_figure("first_collect_ns", first / (double)count);
  subject_figure("collect_ns", median(&costs) / (double)count);
  subject_figure("collect_cpu_ns", median(&cpus) / (double)count);
  subject_figure("pause_ns", median(&stops) / (double)count);
}

static void run_live(const char *shape, size_t count, size_t times) {
  struct graph graph = make(shape, count);
  keep(&graph);
  double first = collect(2);
  for (size_t i = 0; i < times; i++)
    add_collection(collect(2));
  if (stats().cycle_garbage != 0)
    subject_fail(SUBJECT, "what is kept was taken for garbage");
  print_costs(first, count);
  subject_figure("check", (double)walk(&graph));
}

static void run_garbage(const char *shape, size_t count, size_t times) {
  double first = 0;
  for (size_t i = 0; i <= times; i++) {
    struct graph graph = make(shape, count);
    drop(&graph);
    double cost = collect(2);
    if (stats().cycle_garbage != (i + 1) * count)
      subject_fail(SUBJECT, "not all garbage was found");
    if (i == 0)
      first = cost;
    else
      add_collection(cost);
  }
  if (kind->refs != 1 || atoms[1]->refs != 1)
    subject_fail(SUBJECT, "counts are wrong");
  print_costs(first, count);
  subject_figure("check", (double)count);
}

static void run_young(const char *shape, size_t count, size_t times) {
  struct graph graph = make(shape, count);
  keep(&graph);
  (void)collect(2);
  (void)collect(2);
  for (size_t i = 0; i < times; i++) {
    struct node *fresh = make_chain(0, FRESH, NULL);
    add(&costs, collect(0));
    tarn_unref(self, fresh);
  }
  subject_figure("young_ns", median(&costs));
  subject_figure("check", (double)walk(&graph));
}

static struct {
  atomic_bool begun, done;
  _Atomic uint64_t gap, looks;
} watch;

static void *watch_main(void *argument) {
  tarn_thread *own;
  (void)argument;
  if (tarn_thread_attach(world, &own) != TARN_OK)
    subject_fail(SUBJECT, "cannot attach a thread");
  double last = subject_clock(CLOCK_MONOTONIC);
  atomic_store(&watch.begun, true);
  for (bool done = false; !done;) {
    done = atomic_load(&watch.done); /* one look more: the gap may have been just now */
    double now = subject_clock(CLOCK_MONOTONIC);
    if ((uint64_t)(now - last) > atomic_load(&watch.gap))
      atomic_store(&watch.gap, (uint64_t)(now - last));
    last = now;
    atomic_fetch_add(&watch.looks, 1);
    tarn_safepoint(own);
  }
  tarn_thread_detach(own);
  return NULL;
}

/* The second thread runs, between collections as well: a gap is that of one. */
static void wait_for_look(void) {
  for (uint64_t looks = atomic_load(&watch.looks); atomic_load(&watch.looks) < looks + 2;)
    tarn_safepoint(self);
}

static void run_gap(const char *shape, size_t count, size_t times) {
  pthread_t thread;
  struct graph graph = make(shape, count);
  keep(&graph);
  if (pthread_create(&thread, NULL, watch_main, NULL) != 0)
    subject_fail(SUBJECT, "cannot start a thread");
  while (!atomic_load(&watch.begun))
    tarn_safepoint(self);
  atomic_store(&watch.gap, 0);
  double first = collect(2);
  for (size_t i = 0; i < times; i++) {
    wait_for_look();
    add_collection(collect(2));
  }
  atomic_store(&watch.done, true);
  tarn_block_begin(self);
  (void)pthread_join(thread, NULL);
  tarn_block_end(self);
  print_costs(first, count);
  subject_figure("gap_ns", (double)atomic_load(&watch.gap));
  subject_figure("check", (double)walk(&graph));
}

/* The largest resident set since the last call of reset_peak. */
static double peak(void) {
  char line[256];
  double kib = -1;
  FILE *file = fopen("/proc/self/status", "r");
  while (file && fgets(line, sizeof line, file))
    if (strncmp(line, "VmHWM:", 6) == 0)
      kib = strtod(line + 6, NULL);
  if (!file || kib < 0)
    subject_fail(SUBJECT, "cannot read /proc/self/status");
  fclose(file);
  return kib * 1024;
}

static void reset_peak(void) {
  FILE *file = fopen("/proc/self/clear_refs", "w");
  if (!file || fputs("5", file) == EOF || fclose(file) != 0)
    subject_fail(SUBJECT, "cannot write /proc/self/clear_refs");
}

static void run_memory(const char *shape, size_t count, size_t times) {
  (void)times;
  double all = (double)count;
  drop(&(struct graph){make_chain(0, 1, NULL), NULL}); /* pages that the first one touches */
  double start = subject_resident();
  struct graph graph = make(shape, count);
  keep(&graph);
  reset_peak();
  double built = subject_resident();
  subject_figure("bytes_per_object", (built - start) / all);
  subject_figure("beside_before", (built - start) / all - (double)sizeof(struct node));
  (void)collect(2);
  subject_figure("beside_during", (peak() - built) / all);
  subject_figure("beside_after", (subject_resident() - built) / all);
  subject_figure("check", (double)walk(&graph));
}

static void run_after(const char *shape, size_t count, size_t times) {
  struct graph graph = make(shape, FRESH);
  drop(&graph);
  (void)collect(2);
  double start = subject_resident();
  graph = make(shape, count);
  drop(&graph);
  (void)collect(2);
  double end = subject_resident();
  for (size_t i = 0; i < times; i++)
    add(&costs, collect(2));
  subject_figure("start_bytes", start);
  subject_figure("resident_bytes", end);
  subject_figure("resident_ratio", end / start);
  subject_figure("empty_ns", median(&costs));
  if (later) {
    tarn_block_begin(self);
    sleep(LATER);
    tarn_block_end(self);
    subject_figure("later_bytes", subject_resident());
    subject_figure("later_ratio", subject_resident() / start);
  }
  subject_figure("check", (double)count);
}

static const struct mode {
  const char *name;
  void (*run)(const char *shape, size_t count, size_t times);
} modes[] = {{"live", run_live}, {"garbage", run_garbage}, {"young", run_young},
             {"gap", run_gap},   {"memory", run_memory},   {"after", run_after}};

int main(int argc, char **argv) {
  if (argc < 5)
    subject_fail(SUBJECT, "usage: MODE SHAPE COUNT TIMES [unknown] [slots] [kinds] [two] [later]");
  for (int i = 5; i < argc; i++) {
    known = known && strcmp(argv[i], "unknown") != 0;
    slots = slots || strcmp(argv[i], "slots") == 0;
    kinds = kinds || strcmp(argv[i], "kinds") == 0;
    two = two || strcmp(argv[i], "two") == 0;
    later = later || strcmp(argv[i], "later") == 0;
  }
  size_t count = (size_t)subject_number(argv[3]), times = (size_t)subject_number(argv[4]);
  if (count < RING || times < 1)
    subject_fail(SUBJECT, "at least ten objects, and one collection");
  begin();
  for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++)
    if (strcmp(argv[1], modes[i].name) == 0) {
      modes[i].run(argv[2], count, times);
      return 0;
    }
  subject_fail(SUBJECT, "no such mode");
}
