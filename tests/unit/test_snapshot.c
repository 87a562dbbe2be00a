/* SPDX-License-Identifier: MIT */
/*
 * Heap snapshots: what is in them, checked by a strict reader (snapshot_reader.h), and how they
 * fail.
 */
#include "faults.h"
#include "support.h"

#include "os/os.h"
#include "snapshot_reader.h"
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/stat.h>

/* A test in a world, whose frames are gone when it ends. */
static void in_world(const char *set, void (*test)(tarn_world *world, tarn_thread *self)) {
  tarn_world *world = support_world(set);
  tarn_thread *self = support_attach(world);
  test(world, self);
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  support_end(world);
}

/* --- a snapshot in memory -------------------------------------------------------------------- */

struct bytes {
  char *bytes;
  size_t size, room;
  size_t most; /* then it refuses; 0: never */
};

static bool keep(void *data, const char *bytes, size_t size) {
  struct bytes *to = data;
  if (to->most && to->size + size > to->most)
    return false;
  if (to->size + size > to->room) {
    to->room = (to->size + size) * 2;
    to->bytes = realloc(to->bytes, to->room);
  }
  memcpy(to->bytes + to->size, bytes, size);
  to->size += size;
  return true;
}

static struct reader take_info(tarn_thread *self, unsigned flags, tarn_snapshot_info *info) {
  struct bytes bytes = {0};
  struct reader reader;
  *info = (tarn_snapshot_info){.struct_size = sizeof *info};
  assert_int_equal(tarn_snapshot_send(self, keep, &bytes, flags, info), TARN_OK);
  assert_int_equal(info->bytes, bytes.size);
  if (!reader_parse(&reader, bytes.bytes, bytes.size))
    fail_msg("%s", reader.error);
  assert_int_equal(info->nodes, reader.node_count);
  assert_int_equal(info->edges, reader.edge_count);
  free(bytes.bytes);
  return reader;
}

static struct reader take(tarn_thread *self, unsigned flags) {
  tarn_snapshot_info info;
  return take_info(self, flags, &info);
}

static size_t found(const struct reader *reader, const char *name) {
  size_t node = reader_find(reader, name);
  if (node == SIZE_MAX)
    fail_msg("no node %s", name);
  return node;
}

/* The target of the edge of that name, which is of the type. */
static size_t follow(const struct reader *reader, size_t from, const char *name, uint32_t type) {
  size_t edge = reader_edge_named(reader, from, name);
  if (edge == SIZE_MAX)
    fail_msg("no edge %s from %s", name, reader_name(reader, from));
  assert_int_equal(reader->edges[edge].type, type);
  return reader->edges[edge].to;
}

static size_t is_named(const struct reader *reader, size_t node, const char *name) {
  assert_string_equal(reader_name(reader, node), name);
  return node;
}

/* --- counts ---------------------------------------------------------------------------------- */

struct walk {
  size_t count, raw, large, condemned;
  uint64_t bytes;
};

static bool count_block(const tarn_block_info *info, void *data) {
  struct walk *walk = data;
  walk->count++;
  walk->bytes += info->size;
  walk->raw += !info->type;
  walk->large += info->large;
  walk->condemned += info->condemned;
  return true;
}

static struct walk walk_all(tarn_thread *self) {
  struct walk walk = {0};
  assert_int_equal(tarn_heap_walk(self, count_block, &walk), TARN_OK);
  return walk;
}

static void same_as_walk(tarn_thread *self, unsigned flags) {
  tarn_snapshot_info info;
  struct reader reader = take_info(self, flags, &info);
  struct walk walk = walk_all(self), seen = {0};
  for (size_t i = 0; i < reader.node_count; i++) {
    if (reader.nodes[i].type == READER_SYNTHETIC)
      continue;
    seen.count++;
    seen.bytes += reader.nodes[i].size;
    seen.raw += reader.nodes[i].type == READER_NATIVE;
  }
  assert_int_equal(seen.count, walk.count);
  assert_int_equal(info.objects, walk.count);
  assert_int_equal(seen.raw, walk.raw);
  assert_int_equal(seen.bytes, walk.bytes);
  size_t dead = found(&reader, "(awaiting free)");
  assert_int_equal(reader.nodes[dead].edges, walk.condemned);
  reader_end(&reader);
}

static void nothing(tarn_world *world, void *object) { (void)world, (void)object; }

static void *mixture(tarn_thread *self, tarn_world *world) {
  const tarn_type *pair = support_type(world, "pair", 24, 6, NULL);
  const tarn_type *leaf = support_type(world, "leaf", 40, 0, NULL);
  const tarn_type *resource = support_type(world, "resource", 32, 2, nothing);
  const tarn_type *array = support_array(world, NULL);
  void *list = NULL, *one = NULL;
  TARN_FRAME(self, &list, &one);
  for (unsigned i = 0; i < 5000; i++) {
    one = tarn_new(self, i % 7 ? pair : resource);
    ((void **)one)[1] = list;
    if (i % 7)
      ((void **)one)[2] = i % 3 ? tarn_new(self, leaf) : tarn_alloc_atomic(self, 8 + i % 900);
    if (i % 3)
      list = one; /* others die */
  }
  one = tarn_new_array(self, array, 40000);
  ((void **)one)[2] = list;
  return one;
}

static void counts_in(tarn_world *world, tarn_thread *self) {
  same_as_walk(self, 0); /* an empty one */
  void *root = mixture(self, world);
  TARN_FRAME(self, &root);
  same_as_walk(self, TARN_SNAPSHOT_AS_IT_IS);
  size_t before = walk_all(self).count;
  same_as_walk(self, 0);
  assert_true(walk_all(self).count < before);
  support_verify(self);
}
static void test_counts(void **state) {
  (void)state;
  in_world("", counts_in);
}

/* What waits for its function is there, in its group, and has no edges. */
static void dead_in(tarn_world *world, tarn_thread *self) {
  const tarn_type *type = support_type(world, "resource", 32, 2, nothing);
  const tarn_type *plain = support_type(world, "plain", 32, 0, NULL);
  void *last = NULL;
  {
    TARN_FRAME(self, &last);
    for (unsigned i = 0; i < 100; i++) {
      void **next = tarn_new(self, type);
      next[1] = last;
      last = next;
    }
  }
  while (support_stats(world).release_pending == 0)
    assert_non_null(tarn_new(self, plain));
  struct reader reader = take(self, TARN_SNAPSHOT_AS_IT_IS);
  struct walk walk = walk_all(self);
  size_t dead = found(&reader, "(awaiting free)");
  assert_int_equal(walk.condemned, 100);
  assert_int_equal(reader.nodes[dead].edges, 100);
  size_t one = reader.edges[reader.nodes[dead].first].to;
  is_named(&reader, one, "resource");
  assert_int_equal(reader.nodes[one].edges, 0);
  reader_end(&reader);
  same_as_walk(self, TARN_SNAPSHOT_AS_IT_IS);
}
static void test_dead(void **state) {
  (void)state;
  in_world("min-heap=64K,generations=", dead_in);
}

/* --- shapes ---------------------------------------------------------------------------------- */

struct traced {
  const tarn_type *type;
  uintptr_t hidden[3];
};

static void trace_hidden(const void *object, tarn_visitor *visitor) {
  const struct traced *traced = object;
  for (unsigned i = 0; i < 3; i++)
    tarn_visit(visitor, (const void *)~traced->hidden[i]);
}

static const tarn_type *shape(tarn_world *world, const tarn_type_spec *spec) {
  tarn_status status;
  const tarn_type *type = tarn_type_create(world, spec, &status);
  assert_int_equal(status, TARN_OK);
  return type;
}

static void *new_leaf(tarn_thread *self, tarn_world *world, const char *name) {
  void *leaf = tarn_new(self, support_type(world, name, 16, 0, NULL));
  assert_non_null(leaf);
  return leaf;
}

static void shapes_in(tarn_world *world, tarn_thread *self) {
  assert_int_equal(tarn_world_set_tag_mask(world, 7), TARN_OK);
  static const uint32_t data_slots[] = {0, 3, 70};
  static const uint32_t element_slots[] = {1};
  tarn_type_spec data = {.struct_size = sizeof data,
                         .name = "with data",
                         .size = 24,
                         .slot_bits = 4,
                         .data_size = 80 * 8,
                         .data_slots = data_slots,
                         .data_slot_count = 3};
  tarn_type_spec array = {.struct_size = sizeof array,
                          .name = "rows",
                          .size = 24,
                          .slot_bits = 4,
                          .element_size = 16,
                          .element_slots = element_slots,
                          .element_slot_count = 1};
  tarn_type_spec traced = {.struct_size = sizeof traced,
                           .name = "traced",
                           .size = sizeof(struct traced),
                           .trace = trace_hidden};
  uint32_t far = 1500;
  tarn_type_spec wide = {
      .struct_size = sizeof wide, .name = "wide", .size = 2000 * 8, .slots = &far, .slot_count = 1};
  void **root = NULL, **holder = NULL, **rows = NULL, **big = NULL;
  struct traced *object = NULL;
  TARN_FRAME(self, (void *)&root, (void *)&holder, (void *)&rows, (void *)&big, (void *)&object);
  root = tarn_new_array(self, support_array(world, NULL), 10);
  holder = tarn_new(self, shape(world, &data));
  root[2] = holder;
  holder[2] = new_leaf(self, world, "in slot 2");
  void **block = holder[1];
  block[3] = new_leaf(self, world, "in data 3");
  block[70] = new_leaf(self, world, "in data 70");
  block[4] = holder; /* not traced */
  rows = tarn_new_array(self, shape(world, &array), 5);
  root[5] = (void *)((uintptr_t)rows | 5); /* tagged */
  rows[2] = root;                          /* slot 2, and a cycle */
  rows[3 + 2 * 3 + 1] = new_leaf(self, world, "in row 3");
  rows[3 + 2 * 3] = holder; /* not traced */
  object = tarn_new(self, shape(world, &traced));
  for (unsigned i = 0; i < 3; i++)
    object->hidden[i] = ~(uintptr_t)0;
  object->hidden[1] = ~(uintptr_t)new_leaf(self, world, "visited");
  root[6] = object;
  root[7] = (void *)((uintptr_t)object + 8); /* no block begins there */
  root[8] = &root;                           /* nor here */
  big = tarn_new(self, shape(world, &wide));
  big[far] = new_leaf(self, world, "far");
  root[9] = big;

  struct reader r = take(self, 0);
  size_t at = found(&r, "array");
  assert_int_equal(r.nodes[at].edges, 4);
  assert_int_equal(r.nodes[at].type, READER_OBJECT);
  size_t with = is_named(&r, follow(&r, at, "0", READER_ELEMENT), "with data");
  assert_int_equal(r.nodes[with].edges, 4);
  is_named(&r, follow(&r, with, "slot 2", READER_PROPERTY), "in slot 2");
  is_named(&r, follow(&r, with, "data[3]", READER_PROPERTY), "in data 3");
  is_named(&r, follow(&r, with, "data[70]", READER_PROPERTY), "in data 70");
  size_t beside = is_named(&r, follow(&r, with, "data", READER_INTERNAL), "(data block)");
  assert_int_equal(r.nodes[beside].type, READER_NATIVE);
  assert_in_range(r.nodes[beside].size, 640, 800);
  size_t lines = is_named(&r, follow(&r, at, "3", READER_ELEMENT), "rows");
  assert_int_equal(r.nodes[lines].edges, 2);
  assert_int_equal(follow(&r, lines, "slot 2", READER_PROPERTY), at);
  is_named(&r, follow(&r, lines, "3", READER_ELEMENT), "in row 3");
  size_t seen = is_named(&r, follow(&r, at, "4", READER_ELEMENT), "traced");
  assert_int_equal(r.nodes[seen].edges, 1);
  is_named(&r, follow(&r, seen, "visit 1", READER_PROPERTY), "visited");
  size_t last = is_named(&r, follow(&r, at, "7", READER_ELEMENT), "wide");
  is_named(&r, follow(&r, last, "1500", READER_ELEMENT), "far"); /* beyond what has a name */
  reader_end(&r);
}
static void test_shapes(void **state) {
  (void)state;
  in_world("collect=0", shapes_in);
}

/* A size that is larger than a number can say is there in parts. */
static void huge_in(tarn_world *world, tarn_thread *self) {
  size_t size = ((size_t)9 << 30) + 4096;
  void *huge = tarn_alloc_atomic(self, size);
  if (!huge)
    support_skip("no address space for 9 GiB");
  TARN_FRAME(self, &huge);
  assert_int_equal(tarn_external_adjust(world, (ptrdiff_t)10 << 30), TARN_OK);
  struct reader r = take(self, TARN_SNAPSHOT_AS_IT_IS);
  uint64_t sum = 0;
  size_t node = found(&r, "(raw)");
  assert_int_equal(r.nodes[node].size, UINT32_MAX);
  assert_int_equal(r.nodes[node].edges, 2);
  sum += r.nodes[node].size;
  for (unsigned i = 0; i < 2; i++) {
    size_t rest = r.edges[r.nodes[node].first + i].to;
    sum += r.nodes[is_named(&r, rest, "(beyond 4 GiB)")].size;
  }
  assert_in_range(sum, size, size + 65536);
  size_t group = found(&r, "(external)");
  assert_int_equal(r.nodes[group].edges, 3);
  sum = 0;
  for (unsigned i = 0; i < 3; i++)
    sum += r.nodes[is_named(&r, r.edges[r.nodes[group].first + i].to, "(external bytes)")].size;
  assert_int_equal(sum, (uint64_t)10 << 30);
  reader_end(&r);
}
static void test_huge(void **state) {
  (void)state;
  in_world("collect=0", huge_in);
}

static void names_in(tarn_world *world, tarn_thread *self) {
  void *root = NULL, *key = NULL;
  TARN_FRAME(self, &root, &key);
  root = tarn_new_array(self, support_array(world, NULL), 8);
  static const char *const names[] = {"with \"quotes\" and \\", "gr\303\266\303\237e \346\263\211",
                                      "bad \xff\xc3( bytes", "line\nand\ttab\x01", ""};
  static const char *const read[] = {"with \"quotes\" and \\", "gr\303\266\303\237e \346\263\211",
                                     "bad \xef\xbf\xbd\xef\xbf\xbd( bytes", "line\nand\ttab\x01",
                                     ""};
  for (unsigned i = 0; i < 5; i++)
    ((void **)root)[2 + i] = new_leaf(self, world, names[i]);
  ((void **)root)[7] = new_leaf(self, world, names[0]); /* another type of that name */
  struct reader r = take(self, 0);
  size_t at = found(&r, "array");
  for (unsigned i = 0; i < 5; i++) {
    char number[2] = {(char)('0' + i), '\0'};
    is_named(&r, follow(&r, at, number, READER_ELEMENT), read[i]);
  }
  size_t first = follow(&r, at, "0", READER_ELEMENT), twin = follow(&r, at, "5", READER_ELEMENT);
  assert_int_equal(r.nodes[first].name, r.nodes[twin].name);
  reader_end(&r);
}
static void test_names(void **state) {
  (void)state;
  in_world("", names_in);
}

/* --- what is weak ---------------------------------------------------------------------------- */

/* The edge that DevTools takes for one half of a WeakMap's entry. */
static size_t pair_edge(const struct reader *r, size_t from, uint32_t key, uint32_t table,
                        uint32_t value) {
  for (size_t i = 0; i < r->nodes[from].edges; i++) {
    size_t edge = r->nodes[from].first + i;
    char buffer[16], names[2][64], junk;
    unsigned number, ids[3];
    if (r->edges[edge].type == READER_INTERNAL &&
        sscanf(reader_edge_name(r, edge, buffer),
               "%u / part of key (%63[^@]@%u) -> value (%63[^@]@%u) pair in WeakMap (table @%u)%c",
               &number, names[0], &ids[0], names[1], &ids[1], &ids[2], &junk) == 6 &&
        ids[0] == key && ids[1] == value && ids[2] == table)
      return r->edges[edge].to;
  }
  fail_msg("no edge for the pair");
  return 0;
}

static void weak_in(tarn_world *world, tarn_thread *self) {
  tarn_weak_table *tables[3];
  void **root = NULL, *key = NULL, *value = NULL;
  TARN_FRAME(self, (void *)&root, &key, &value);
  root = tarn_new_array(self, support_array(world, NULL), 6);
  key = new_leaf(self, world, "the key");
  root[2] = key;
  root[3] = tarn_weak_new(self, key);
  value = new_leaf(self, world, "the value");
  root[4] = tarn_ephemeron_new(self, key, value);
  root[5] = tarn_ephemeron_new(self, key, new_leaf(self, world, "other value"));
  for (unsigned i = 0; i < 3; i++) {
    tarn_weak_table_spec spec = TARN_WEAK_TABLE_SPEC_INIT;
    spec.kind = (tarn_weak_kind)i;
    assert_int_equal(tarn_weak_table_create(world, &spec, &tables[i]), TARN_OK);
    assert_non_null(tarn_weak_table_put(self, tables[i], key, value, true));
  }
  struct reader r = take(self, 0);
  size_t array = found(&r, "array"), k = found(&r, "the key"), v = found(&r, "the value");
  size_t weak = follow(&r, array, "1", READER_ELEMENT);
  assert_int_equal(follow(&r, weak, "target", READER_WEAK), k);
  assert_int_equal(r.nodes[weak].edges, 1);
  size_t ephemeron = follow(&r, array, "2", READER_ELEMENT);
  assert_int_equal(r.nodes[ephemeron].edges, 2);
  assert_int_equal(follow(&r, ephemeron, "key", READER_WEAK), k);
  uint32_t ids[3] = {r.nodes[k].id, r.nodes[ephemeron].id, r.nodes[v].id};
  assert_int_equal(pair_edge(&r, ephemeron, ids[0], ids[1], ids[2]), v);
  assert_int_equal(pair_edge(&r, k, ids[0], ids[1], ids[2]), v);
  size_t other = follow(&r, array, "3", READER_ELEMENT), ov = found(&r, "other value");
  assert_int_equal(pair_edge(&r, other, ids[0], r.nodes[other].id, r.nodes[ov].id), ov);
  assert_int_equal(pair_edge(&r, k, ids[0], r.nodes[other].id, r.nodes[ov].id), ov);
  assert_int_equal(r.nodes[k].edges, 3); /* two ephemerons, and an entry */
  size_t group = found(&r, "(weak tables)");
  assert_int_equal(r.nodes[group].edges, 3); /* the newest comes first */
  size_t nodes[3];
  for (unsigned i = 0; i < 3; i++)
    nodes[2 - i] = is_named(&r, r.edges[r.nodes[group].first + i].to, "(weak table)");
  assert_int_equal(r.nodes[nodes[0]].edges, 1);
  assert_int_equal(follow(&r, nodes[0], "key", READER_WEAK), k);
  assert_int_equal(follow(&r, nodes[1], "key", READER_WEAK), k);
  assert_int_equal(pair_edge(&r, nodes[1], ids[0], r.nodes[nodes[1]].id, ids[2]), v);
  assert_int_equal(pair_edge(&r, k, ids[0], r.nodes[nodes[1]].id, ids[2]), v);
  assert_int_equal(follow(&r, nodes[2], "key", READER_PROPERTY), k);
  assert_int_equal(follow(&r, nodes[2], "value", READER_WEAK), v);
  assert_true(r.nodes[nodes[0]].id < r.nodes[nodes[1]].id);
  reader_end(&r);
}
static void test_weak(void **state) {
  (void)state;
  in_world("", weak_in);
}

/* Very many of them, of one key and of many. */
static void many_pairs_in(tarn_world *world, tarn_thread *self) {
  unsigned count = SUPPORT_SANITIZED || SUPPORT_ZEAL ? 2000 : 60000;
  void **root = NULL, *key = NULL;
  TARN_FRAME(self, (void *)&root, &key);
  root = tarn_new_array(self, support_array(world, NULL), 2 * (size_t)count);
  const tarn_type *leaf = support_type(world, "leaf", 16, 0, NULL);
  for (unsigned i = 0; i < count; i++) {
    if (i % 2 || !key)
      key = tarn_new(self, leaf);
    root[2 + i] = key;
    if (i % 2)
      key = root[2];
    root[2 + count + i] = tarn_ephemeron_new(self, key, tarn_new(self, leaf));
    if (i % 2)
      key = NULL;
  }
  struct reader r = take(self, 0);
  size_t pairs = 0;
  char buffer[16];
  for (size_t i = 0; i < r.edge_count; i++)
    pairs += r.edges[i].type == READER_INTERNAL &&
             strstr(reader_edge_name(&r, i, buffer), " / part of key (leaf @") != NULL;
  assert_int_equal(pairs, 2 * count);
  uint64_t bytes;
  assert_int_equal(reader_reached(&r, SIZE_MAX, &bytes), r.node_count);
  reader_end(&r);
}
static void test_many_pairs(void **state) {
  (void)state;
  in_world("", many_pairs_in);
}

/* --- roots ----------------------------------------------------------------------------------- */

static void *global;
static void *provided[40];

static void provide(tarn_visitor *visitor, void *data) {
  (void)data;
  for (unsigned i = 0; i < 40; i++)
    tarn_visit(visitor, provided[i]);
}

static void finalize(tarn_thread *self, void *object, void *data) {
  (void)self, (void)object, (void)data;
}

static void roots_in(tarn_world *world, tarn_thread *self) {
  void *local = NULL, *inner = NULL;
  char name[40];
  (void)snprintf(name, sizeof name, "root at %p", (void *)&global);
  assert_int_equal(tarn_root_add(world, &global), TARN_OK);
  assert_int_equal(tarn_root_provider_add(world, provide, NULL), TARN_OK);
  global = new_leaf(self, world, "global");
  provided[37] = new_leaf(self, world, "provided");
  TARN_FRAME(self, &local);
  local = new_leaf(self, world, "local");
  void *const slots[] = {NULL, &inner};
  tarn_frame frame;
  tarn_frame_push(self, &frame, slots, 2);
  inner = new_leaf(self, world, "inner");
  assert_int_equal(tarn_finalizer_add(self, new_leaf(self, world, "due"), finalize, NULL), TARN_OK);
  assert_int_equal(tarn_collect(self, 2), TARN_OK);
  struct reader r = take(self, 0);
  size_t roots = found(&r, "(global roots)");
  assert_int_equal(r.nodes[roots].edges, 1);
  is_named(&r, follow(&r, roots, name, READER_PROPERTY), "global");
  is_named(&r, follow(&r, found(&r, "(root providers)"), "37", READER_ELEMENT), "provided");
  size_t threads = found(&r, "(threads)");
  assert_int_equal(r.nodes[threads].edges, 1);
  size_t thread = follow(&r, threads, "0", READER_ELEMENT);
  assert_int_equal(strncmp(reader_name(&r, thread), "thread ", 7), 0);
  is_named(&r, follow(&r, thread, "frame 0, variable 1", READER_PROPERTY), "inner");
  is_named(&r, follow(&r, thread, "frame 1, variable 0", READER_PROPERTY), "local");
  is_named(&r, follow(&r, found(&r, "(finalizers due)"), "target", READER_PROPERTY), "due");
  uint64_t bytes;
  assert_int_equal(reader_reached(&r, SIZE_MAX, &bytes), r.node_count);
  reader_end(&r);
  tarn_frame_pop(self, &frame);
  assert_int_equal(tarn_root_remove(world, &global), TARN_OK);
  assert_int_equal(tarn_root_provider_remove(world, provide, NULL), TARN_OK);
  memset(provided, 0, sizeof provided);
}
static void test_roots(void **state) {
  (void)state;
  in_world("", roots_in);
}

/* Words of a stack are edges; of the caller and of a thread that is blocked. */
struct other {
  tarn_world *world;
  pthread_barrier_t there, over;
};

static void *stand_blocked(void *data) {
  struct other *other = data;
  tarn_thread *self = support_attach(other->world);
  void *volatile kept = new_leaf(self, other->world, "blocked one's");
  (void)tarn_thread_set_name(self, "blocked");
  tarn_block_begin(self);
  pthread_barrier_wait(&other->there);
  pthread_barrier_wait(&other->over);
  tarn_block_end(self);
  assert_non_null(kept);
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  return NULL;
}

static void test_stacks(void **state) {
  (void)state;
  struct other other = {.world = support_world("scan-stack=1")};
  tarn_thread *self = support_attach(other.world);
  pthread_t thread;
  pthread_barrier_init(&other.there, NULL, 2);
  pthread_barrier_init(&other.over, NULL, 2);
  assert_int_equal(pthread_create(&thread, NULL, stand_blocked, &other), 0);
  pthread_barrier_wait(&other.there);
  void *volatile kept = new_leaf(self, other.world, "my own");
  struct reader r = take(self, 0);
  assert_non_null(kept);
  size_t mine = found(&r, "my own"), theirs = found(&r, "blocked one's");
  size_t threads = found(&r, "(threads)"), from_me = 0, from_it = 0;
  assert_int_equal(r.nodes[threads].edges, 2);
  for (unsigned i = 0; i < 2; i++) {
    size_t node = r.edges[r.nodes[threads].first + i].to;
    bool blocked = strncmp(reader_name(&r, node), "thread blocked (", 16) == 0;
    from_it += blocked && reader_edge(&r, node, theirs) != SIZE_MAX;
    from_me += !blocked && reader_edge(&r, node, mine) != SIZE_MAX;
  }
  assert_int_equal(from_me, 1);
  assert_int_equal(from_it, 1);
  reader_end(&r);
  pthread_barrier_wait(&other.over);
  assert_int_equal(pthread_join(thread, NULL), 0);
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  support_end(other.world);
}

/* --- worlds that count ----------------------------------------------------------------------- */

struct counted {
  const tarn_type *type;
  void *left, *right;
  uint64_t refs;
};

static void test_counting(void **state) {
  (void)state;
  tarn_options options = TARN_OPTIONS_INIT;
  tarn_world *world;
  options.flags = TARN_OPTIONS_NO_ENVIRONMENT | TARN_OPTIONS_COUNTING;
  options.set = SUPPORT_ZEAL ? "collect=0,zeal=1000000000" : "collect=0";
  assert_int_equal(tarn_world_create(&options, &world), TARN_OK);
  tarn_thread *self = support_attach(world);
  struct counted *objects[4];
  static const char *const names[] = {"outside", "inside", "both", "weakly"};
  for (unsigned i = 0; i < 4; i++) {
    tarn_type_spec spec = {.struct_size = sizeof spec,
                           .name = names[i],
                           .size = sizeof(struct counted),
                           .slot_bits = 6,
                           .refs_at = offsetof(struct counted, refs),
                           .refs_size = 8,
                           .flags = TARN_TYPE_WEAK};
    objects[i] = tarn_new(self, shape(world, &spec));
    objects[i]->refs = 1;
  }
  objects[0]->left = objects[1];
  objects[0]->right = objects[2];
  objects[1]->left = objects[2];
  objects[2]->refs = 3; /* two are known */
  tarn_weak_handle *handle;
  assert_int_equal(tarn_weak_handle_new(self, objects[3], NULL, NULL, &handle), TARN_OK);
  void *by_hand = tarn_alloc_atomic(self, 100);
  assert_non_null(by_hand);
  struct reader r = take(self, 0);
  size_t group = found(&r, "(counted from outside)");
  assert_int_equal(r.nodes[group].edges, 3);
  assert_int_not_equal(reader_edge(&r, group, found(&r, "outside")), SIZE_MAX);
  assert_int_not_equal(reader_edge(&r, group, found(&r, "both")), SIZE_MAX);
  assert_int_not_equal(reader_edge(&r, group, found(&r, "weakly")), SIZE_MAX);
  assert_int_equal(reader_edge(&r, group, found(&r, "inside")), SIZE_MAX);
  assert_int_equal(follow(&r, found(&r, "(weak handles)"), "target", READER_WEAK),
                   found(&r, "weakly"));
  size_t rest = found(&r, "(not counted)");
  assert_int_equal(r.nodes[rest].edges, 1);
  is_named(&r, r.edges[r.nodes[rest].first].to, "(raw)");
  reader_end(&r);
  same_as_walk(self, 0);
  tarn_weak_handle_free(self, handle);
  objects[2]->refs = 1;
  objects[0]->right = objects[1]->left = NULL;
  for (unsigned i = 0; i < 4; i++)
    objects[i]->left = NULL, objects[i]->right = NULL;
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  support_end(world);
}

static bool holds(const struct reader *r, const char *group, const char *name) {
  size_t from = found(r, group);
  return reader_edge(r, from, found(r, name)) != SIZE_MAX;
}

/* A root's reference is counted like any other, and shown where the root is. */
static void what_roots_hold_is_not_counted_from_outside_as_well(void **state) {
  static const char *const names[] = {"framed", "framed twice", "framed and more", "rooted"};
  (void)state;
  tarn_options options = TARN_OPTIONS_INIT;
  tarn_world *world;
  struct counted *objects[4] = {NULL};
  void *raw = NULL;
  options.flags = TARN_OPTIONS_NO_ENVIRONMENT | TARN_OPTIONS_COUNTING;
  options.set = SUPPORT_ZEAL ? "collect=0,zeal=1000000000" : "collect=0";
  assert_int_equal(tarn_world_create(&options, &world), TARN_OK);
  tarn_thread *self = support_attach(world);
  {
    TARN_FRAME(self, (void *)&objects[0], (void *)&objects[1], (void *)&objects[1],
               (void *)&objects[2], &raw);
    for (unsigned i = 0; i < 4; i++) {
      tarn_type_spec spec = {.struct_size = sizeof spec,
                             .name = names[i],
                             .size = sizeof(struct counted),
                             .slot_bits = 6,
                             .refs_at = offsetof(struct counted, refs)};
      objects[i] = tarn_new(self, shape(world, &spec));
      objects[i]->refs = 1 + (i == 1 || i == 2);
    }
    raw = tarn_alloc_atomic(self, 100);
    assert_int_equal(tarn_root_add(world, (void **)&objects[3]), TARN_OK);
    struct reader r = take(self, 0);
    assert_false(holds(&r, "(counted from outside)", "framed"));
    assert_false(holds(&r, "(counted from outside)", "framed twice"));
    assert_true(holds(&r, "(counted from outside)", "framed and more"));
    assert_false(holds(&r, "(counted from outside)", "rooted"));
    assert_int_equal(r.nodes[found(&r, "(counted from outside)")].edges, 1);
    assert_int_equal(r.nodes[found(&r, "(not counted)")].edges, 0);
    assert_true(holds(&r, "(global roots)", "rooted"));
    reader_end(&r);
    same_as_walk(self, 0);
    assert_int_equal(tarn_root_remove(world, (void **)&objects[3]), TARN_OK);
  }
  for (unsigned i = 0; i < 4; i++)
    tarn_free(self, objects[i]);
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  support_end(world);
}

/* --- what it is for -------------------------------------------------------------------------- */

/* A thousand objects hang on a forgotten list, among a million others: they are found as what one
 * root retains, by the file alone. */
static void leak_in(tarn_world *world, tarn_thread *self) {
  unsigned others = SUPPORT_SANITIZED || SUPPORT_ZEAL ? 20000 : 1000000, leaked = 1000;
  const tarn_type *node = support_type(world, "node", 32, 6, NULL);
  const tarn_type *cache = support_type(world, "cache", 32, 2, NULL);
  void **tree = NULL, **list = NULL, **holder = NULL;
  TARN_FRAME(self, (void *)&tree, (void *)&list, (void *)&holder);
  tree = tarn_new_array(self, support_array(world, NULL), others);
  holder = tarn_new(self, cache);
  for (unsigned i = 0; i < others; i++) {
    void **next = tarn_new(self, node);
    next[1] = tree[2 + i / 2];
    tree[2 + i] = next;
    if (i % (others / leaked) == 0) {
      list = tarn_new(self, node);
      list[1] = holder[1];
      list[2] = tree;
      holder[1] = list;
    }
  }
  struct reader r = take(self, 0);
  uint64_t all, without;
  size_t suspect = found(&r, "cache");
  size_t reached = reader_reached(&r, SIZE_MAX, &all);
  size_t rest = reader_reached(&r, suspect, &without);
  assert_int_equal(reached, r.node_count);
  /* The last one is in a frame as well, and that one alone would hold them: its own root is left
   * out, too. */
  list = NULL;
  reader_end(&r);
  r = take(self, 0);
  suspect = found(&r, "cache");
  reached = reader_reached(&r, SIZE_MAX, &all);
  rest = reader_reached(&r, suspect, &without);
  assert_int_equal(reached - rest, leaked + 1);
  assert_int_equal(all - without, (leaked + 1) * 32u);
  reader_end(&r);
}
static void test_leak(void **state) {
  (void)state;
  in_world("", leak_in);
}

/* What lives on keeps its id; what is new has one that nobody had. */
static void ids_in(tarn_world *world, tarn_thread *self) {
  const tarn_type *old = support_type(world, "old", 32, 2, NULL);
  const tarn_type *young = support_type(world, "young", 32, 2, NULL);
  void **first = NULL, **second = NULL;
  TARN_FRAME(self, (void *)&first, (void *)&second);
  for (unsigned i = 0; i < 3000; i++) {
    void **next = tarn_new(self, old);
    next[1] = first;
    first = next;
  }
  struct reader before = take(self, 0);
  for (unsigned i = 0; i < 20000; i++) {
    void **next = tarn_new(self, young);
    next[1] = i % 16 ? second : NULL;
    second = next;
  }
  struct reader after = take(self, 0);
  size_t same = 0, i = 0;
  for (size_t j = 0; j < after.node_count; j++) {
    while (i < before.node_count && before.nodes[i].id < after.nodes[j].id)
      i++;
    bool known = i < before.node_count && before.nodes[i].id == after.nodes[j].id;
    if (known)
      assert_string_equal(reader_name(&before, i), reader_name(&after, j));
    same += known;
    assert_false(known && strcmp(reader_name(&after, j), "young") == 0);
  }
  assert_int_equal(same, before.node_count);
  reader_end(&before);
  reader_end(&after);
}
static void test_ids(void **state) {
  (void)state;
  in_world("", ids_in);
}

/* A world that lies too far apart for ids from addresses has others, and sizes in parts all the
 * same.  In a child, for the first world of a process decides how far it may be. */
static void far_in(tarn_world *world, tarn_thread *self) {
  struct bytes bytes = {0};
  struct reader reader;
  /* No collection, for that touches a mark byte for each 16 bytes. */
  void *huge = tarn_alloc_atomic(self, (size_t)70 << 30), *root = NULL;
  TARN_FRAME(self, &huge, &root);
  root = mixture(self, world);
  if (huge) {
    CHILD_CHECK(tarn_snapshot_send(self, keep, &bytes, TARN_SNAPSHOT_AS_IT_IS, NULL) == TARN_OK);
    bool good = reader_parse(&reader, bytes.bytes, bytes.size);
    if (!good)
      dprintf(2, "%s\n", reader.error);
    CHILD_CHECK(good); /* ids are unique, for one */
    CHILD_CHECK(reader_count(&reader, "(beyond 4 GiB)") == 17);
    reader_end(&reader);
  } else {
    dprintf(1, "no address space for 70 GiB\n");
  }
  free(bytes.bytes);
}

static void far(void *data) {
  tarn_options options = TARN_OPTIONS_INIT;
  tarn_world *world;
  tarn_thread *self;
  (void)data;
  options.set = "address-space=256G,collect=0";
  options.flags = TARN_OPTIONS_NO_ENVIRONMENT;
  CHILD_CHECK(tarn_world_create(&options, &world) == TARN_OK);
  CHILD_CHECK(tarn_thread_attach(world, &self) == TARN_OK);
  far_in(world, self);
  CHILD_CHECK(tarn_thread_detach(self) == TARN_OK);
  CHILD_CHECK(tarn_world_destroy(world) == TARN_OK);
}

static void test_far(void **state) {
  (void)state;
  support_good_child(far, NULL);
}

/* --- failures -------------------------------------------------------------------------------- */

static char directory[256];

static const char *in_directory(const char *name) {
  static char path[512];
  if (!directory[0]) {
    const char *tmp = getenv("TMPDIR");
    (void)snprintf(directory, sizeof directory, "%s/tarn-snapshot-XXXXXX", tmp ? tmp : P_tmpdir);
    assert_non_null(mkdtemp(directory));
  }
  (void)snprintf(path, sizeof path, "%s/%s", directory, name);
  return path;
}

static size_t files_there(void) {
  char command[600], line[16] = "";
  (void)snprintf(command, sizeof command, "ls -A '%s' | wc -l", directory);
  FILE *pipe = popen(command, "r");
  assert_non_null(pipe);
  assert_non_null(fgets(line, sizeof line, pipe));
  (void)pclose(pipe);
  return (size_t)strtoul(line, NULL, 10);
}

static void files_in(tarn_world *world, tarn_thread *self) {
  void *root = mixture(self, world);
  TARN_FRAME(self, &root);
  struct reader r;
  const char *path = in_directory("one.heapsnapshot");
  for (unsigned i = 0; i < 2; i++) { /* the second time in place of the first */
    assert_int_equal(tarn_snapshot_write(self, path, 0, NULL), TARN_OK);
    if (!reader_load(&r, path))
      fail_msg("%s", r.error);
    assert_int_equal(reader_count(&r, "array"), 1);
    reader_end(&r);
  }
  assert_int_equal(files_there(), 1);
  assert_int_equal(tarn_snapshot_write(self, in_directory("no/such.file"), 0, NULL), TARN_ESYSTEM);
  assert_int_equal(errno, ENOENT);
  errno = 0;
  assert_int_equal(tarn_snapshot_write(self, "/dev/full", 0, NULL), TARN_ESYSTEM);
  assert_int_equal(errno, ENOSPC);
  assert_int_equal(access("/dev/full", F_OK), 0);
  assert_int_equal(tarn_snapshot_write(self, "/dev/null", 0, NULL), TARN_OK);
  assert_int_equal(mkdir(in_directory("taken"), 0700), 0);
  assert_int_equal(tarn_snapshot_write(self, in_directory("taken"), 0, NULL), TARN_ESYSTEM);
  assert_int_equal(files_there(), 2);
  char longest[5000];
  memset(longest, 'x', sizeof longest - 1);
  longest[sizeof longest - 1] = '\0';
  assert_int_equal(tarn_snapshot_write(self, longest, 0, NULL), TARN_ESYSTEM);
  assert_int_equal(errno, ENAMETOOLONG);
  (void)rmdir(in_directory("taken"));
  (void)unlink(in_directory("one.heapsnapshot"));
}
static void test_files(void **state) {
  (void)state;
  in_world("", files_in);
}

/* Who takes the bytes may end it anywhere; the world runs on. */
static void refused_in(tarn_world *world, tarn_thread *self) {
  void *root = mixture(self, world);
  TARN_FRAME(self, &root);
  struct bytes whole = {0};
  assert_int_equal(tarn_snapshot_send(self, keep, &whole, 0, NULL), TARN_OK);
  for (size_t most = 1; most < whole.size; most += whole.size / 9) {
    struct bytes part = {.most = most};
    errno = 0;
    assert_int_equal(tarn_snapshot_send(self, keep, &part, 0, NULL), TARN_ESYSTEM);
    assert_int_equal(errno, ECANCELED);
    assert_true(part.size <= most);
    free(part.bytes);
    assert_non_null(tarn_new_array(self, tarn_type_of(root), 3));
  }
  free(whole.bytes);
  support_verify(self);
}
static void test_refused(void **state) {
  (void)state;
  in_world("", refused_in);
}

static void *call_with(void *data) {
  assert_int_equal(tarn_snapshot_write(data, "/dev/null", 0, NULL), TARN_EWRONGTHREAD);
  return NULL;
}

static void test_misuse(void **state) {
  (void)state;
  tarn_world *world = support_world("");
  tarn_thread *self = support_attach(world);
  tarn_snapshot_info small = {.struct_size = sizeof(size_t) - 1};
  assert_int_equal(tarn_snapshot_write(NULL, "x", 0, NULL), TARN_EINVAL);
  assert_int_equal(tarn_snapshot_write(self, NULL, 0, NULL), TARN_EINVAL);
  assert_int_equal(tarn_snapshot_write(self, "/dev/null", 8, NULL), TARN_EINVAL);
  assert_int_equal(tarn_snapshot_write(self, "/dev/null", 0, &small), TARN_EINVAL);
  assert_int_equal(tarn_snapshot_send(self, NULL, NULL, 0, NULL), TARN_EINVAL);
  tarn_gc_hold(self);
  assert_int_equal(tarn_snapshot_write(self, "/dev/null", 0, NULL), TARN_EHELD);
  tarn_gc_release(self);
  tarn_block_begin(self);
  assert_int_equal(tarn_snapshot_write(self, "/dev/null", 0, NULL), TARN_EUNBALANCED);
  tarn_block_end(self);
  support_run(call_with, self);
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  assert_int_equal(tarn_snapshot_write(self, "/dev/null", 0, NULL), TARN_EDETACHED);
  support_end(world);
}

/* Made when the structure had fewer members, or with a library that has more. */
static void callers_of_other_versions_get_what_they_know(void **state) {
  (void)state;
  tarn_world *world = support_world("");
  tarn_thread *self = support_attach(world);
  union {
    tarn_snapshot_info info;
    unsigned char bytes[sizeof(tarn_snapshot_info) + 16];
  } asked, whole = {.info.struct_size = sizeof whole.info};
  assert_int_equal(tarn_snapshot_write(self, "/dev/null", 0, &whole.info), TARN_OK);
  assert_true(whole.info.nodes > 0 && whole.info.edges > 0);
  for (size_t size = sizeof(size_t); size <= sizeof asked; size += 8) {
    size_t known = size < offsetof(tarn_snapshot_info, stopped_ns)
                       ? size
                       : offsetof(tarn_snapshot_info, stopped_ns); /* which differs */
    memset(&asked, 0xaa, sizeof asked);
    asked.info.struct_size = size;
    assert_int_equal(tarn_snapshot_write(self, "/dev/null", 0, &asked.info), TARN_OK);
    assert_int_equal(asked.info.struct_size, size);
    assert_memory_equal(asked.bytes + sizeof(size_t), whole.bytes + sizeof(size_t),
                        known - sizeof(size_t));
    for (size_t i = size < sizeof whole.info ? size : sizeof whole.info; i < sizeof asked; i++)
      assert_int_equal(asked.bytes[i], 0xaa);
  }
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  support_end(world);
}

static unsigned whims;
static void trace_whimsical(const void *object, tarn_visitor *visitor) {
  const struct traced *traced = object;
  if (whims && whims++ > 2)
    tarn_visit(visitor, (const void *)~traced->hidden[0]);
}

static void whimsical_trace_in(tarn_world *world, tarn_thread *self) {
  tarn_type_spec spec = {.struct_size = sizeof spec,
                         .name = "traced",
                         .size = sizeof(struct traced),
                         .trace = trace_whimsical};
  struct traced *root = NULL;
  TARN_FRAME(self, (void *)&root);
  root = tarn_new(self, shape(world, &spec));
  root->hidden[0] = ~(uintptr_t)root;
  struct bytes bytes = {0};
  whims = 1;
  assert_int_equal(tarn_snapshot_send(self, keep, &bytes, TARN_SNAPSHOT_AS_IT_IS, NULL),
                   TARN_ECORRUPT);
  whims = 0;
  free(bytes.bytes);
}
static void test_whimsical_trace(void **state) {
  (void)state;
  in_world("collect=0", whimsical_trace_in);
}

/* --- system calls that fail ------------------------------------------------------------------ */

/* What fails is told, leaves no file and harms nothing. */
static void fail_once(tarn_thread *self, const char *path, unsigned kind) {
  size_t before = files_there();
  tarn_os_fault_nth(faults_own->kind, faults_own->nth);
  tarn_os_fault_kinds(faults_own->each ? kind : 0);
  tarn_status status = tarn_snapshot_write(self, path, 0, NULL);
  int error = errno;
  faults_over();
  CHILD_CHECK(status == TARN_OK || kind != 0);
  CHILD_CHECK(status == TARN_OK || status == TARN_ENOMEM || status == TARN_ESYSTEM);
  CHILD_CHECK(status != TARN_ENOMEM || kind == TARN_FAULT_PAGES);
  CHILD_CHECK(status != TARN_ESYSTEM || error == ENOSPC || error == EMFILE);
  CHILD_CHECK(status == TARN_OK || kind == TARN_FAULT_PAGES || kind == TARN_FAULT_OPEN ||
              kind == TARN_FAULT_WRITE);
  CHILD_CHECK(files_there() == before + (status == TARN_OK));
}

static void play_in(tarn_world *world, tarn_thread *self, unsigned kind) {
  struct reader reader;
  char path[512];
  tarn_weak_table_spec spec = TARN_WEAK_TABLE_SPEC_INIT;
  tarn_weak_table *table;
  void *root = NULL, *key = NULL;
  TARN_FRAME(self, &root, &key);
  spec.kind = TARN_WEAK_KEYS;
  root = mixture(self, world);
  key = new_leaf(self, world, "key");
  CHILD_CHECK(tarn_weak_table_create(world, &spec, &table) == TARN_OK);
  CHILD_CHECK(tarn_weak_table_put(self, table, key, root, true) != NULL);
  CHILD_CHECK(tarn_collect(self, 2) == TARN_OK);
  (void)snprintf(path, sizeof path, "%s/%d", directory, (int)getpid());
  fail_once(self, path, kind);
  CHILD_CHECK(tarn_snapshot_write(self, path, 0, NULL) == TARN_OK);
  CHILD_CHECK(reader_load(&reader, path));
  CHILD_CHECK(reader_count(&reader, "key") == 1);
  reader_end(&reader);
  (void)unlink(path);
  CHILD_CHECK(tarn_verify(self, NULL, 0) == TARN_OK);
}

static void play(unsigned kind) {
  tarn_os_fault_nth(0, 0);
  tarn_os_fault_kinds(0);
  tarn_options options = TARN_OPTIONS_INIT;
  tarn_world *world;
  tarn_thread *self;
  /* Nothing but the snapshot comes to points. */
  options.set = "collect=0,purger=0,sweeper=0,idle-collect=0,markers=1";
  options.flags = TARN_OPTIONS_NO_ENVIRONMENT;
  (void)snprintf(directory + strlen(directory), 32, "/%d", (int)getpid());
  CHILD_CHECK(mkdir(directory, 0700) == 0);
  CHILD_CHECK(tarn_world_create(&options, &world) == TARN_OK);
  CHILD_CHECK(tarn_thread_attach(world, &self) == TARN_OK);
  play_in(world, self, kind);
  CHILD_CHECK(tarn_thread_detach(self) == TARN_OK);
  CHILD_CHECK(tarn_world_destroy(world) == TARN_OK);
  CHILD_CHECK(rmdir(directory) == 0);
}

static void test_faults(void **state) {
  static const struct faults_kind kinds[] = {
      {TARN_FAULT_PAGES, "pages", FAULTS_MANY, true, false},
      {TARN_FAULT_OPEN, "open", FAULTS_SOME, true, false},
      {TARN_FAULT_WRITE, "write", FAULTS_MANY, true, false},
      {TARN_FAULT_WRITE_SHORT, "short write", FAULTS_SOME, true, false},
      {TARN_FAULT_WRITE_AGAIN, "write again", FAULTS_SOME, true, false},
      {TARN_FAULT_UNMAP, "unmap", FAULTS_SOME, true, false},
  };
  (void)state;
  if (!TARN_FAULTS)
    support_skip("built without TARN_FAULTS");
  (void)in_directory("");
  faults_try_all(play, kinds, sizeof kinds / sizeof kinds[0]);
}

/* --- others at work -------------------------------------------------------------------------- */

static _Atomic bool ended;

static void mutate_in(tarn_world *world, tarn_thread *self) {
  const tarn_type *type = support_type(world, "worked on", 32, 6, NULL);
  void **list = NULL;
  TARN_FRAME(self, (void *)&list);
  for (unsigned i = 0; !atomic_load(&ended); i++) {
    void **next = tarn_new(self, type);
    next[1] = i % 50 ? list : NULL;
    list = next;
    next[2] = i % 5 ? NULL : tarn_alloc_atomic(self, 8 + i % 3000);
    if (i % 97 == 0) {
      tarn_block_begin(self);
      tarn_block_end(self);
    }
    if (i % 89 == 0) {
      tarn_gc_hold(self);
      (void)tarn_new(self, type);
      tarn_gc_release(self);
    }
  }
}

static void *mutate(void *data) {
  tarn_thread *self = support_attach(data);
  mutate_in(data, self);
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  return NULL;
}

static void others_in(tarn_world *world, tarn_thread *self) {
  pthread_t threads[3];
  atomic_store(&ended, false);
  for (unsigned i = 0; i < 3; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, mutate, world), 0);
  for (unsigned i = 0; i < (SUPPORT_SANITIZED ? 8u : 40u); i++) {
    struct reader r = take(self, i % 2 ? TARN_SNAPSHOT_AS_IT_IS : 0);
    reader_end(&r);
  }
  atomic_store(&ended, true);
  for (unsigned i = 0; i < 3; i++) {
    tarn_block_begin(self);
    assert_int_equal(pthread_join(threads[i], NULL), 0);
    tarn_block_end(self);
  }
  support_verify(self);
}
static void test_others(void **state) {
  (void)state;
  in_world("min-heap=256K", others_in);
}

/* Objects whose references lie in memory of malloc, which goes with their `free` functions: nobody
 * may ask for them any more once that is due.  Rings of two, so that counts alone find none. */
struct ring {
  const tarn_type *type;
  void **slots;
  uint64_t refs;
};

static void trace_ring(const void *object, tarn_visitor *visitor) {
  const struct ring *ring = object;
  if (ring->slots) /* else it is not made yet */
    tarn_visit(visitor, ring->slots[0]);
}

static void free_ring(tarn_world *world, void *object) {
  struct ring *ring = object;
  free(ring->slots);
  ring->slots = (void **)8;                /* who reads there faults */
  tarn_safepoint(tarn_thread_self(world)); /* where a snapshot may come */
}

static struct ring *make_ring(tarn_thread *self, const tarn_type *type) {
  struct ring *ring = tarn_new(self, type);
  void **slots = calloc(1, sizeof *slots);
  ring->refs = 1;
  ring->slots = slots;
  return ring;
}

static void make_rings(tarn_thread *self, const tarn_type *type) {
  struct ring *one = NULL, *two = NULL;
  TARN_FRAME(self, (void *)&one, (void *)&two);
  for (unsigned i = 0; i < 200; i++) {
    one = make_ring(self, type);
    two = make_ring(self, type);
    one->slots[0] = two;
    two->slots[0] = one;
    if (i % 8 == 0)
      tarn_safepoint(self);
  }
}

static void *release_rings(void *data) {
  tarn_world *world = data;
  tarn_thread *self = support_attach(world);
  tarn_type_spec spec = {.struct_size = sizeof spec,
                         .name = "ring",
                         .size = sizeof(struct ring),
                         .trace = trace_ring,
                         .free = free_ring};
  bool counts = tarn_collect(self, 0) == TARN_EKIND;
  spec.refs_at = counts ? offsetof(struct ring, refs) : 0;
  const tarn_type *type = shape(world, &spec);
  while (!atomic_load(&ended)) {
    make_rings(self, type);
    assert_int_equal(counts ? tarn_collect_cycles(self, 2) : tarn_collect(self, 2), TARN_OK);
  }
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  return NULL;
}

static void look_at_rings(unsigned flags) {
  tarn_options options = TARN_OPTIONS_INIT;
  tarn_world *world;
  pthread_t thread;
  size_t dead = 0;
  options.flags = TARN_OPTIONS_NO_ENVIRONMENT | flags;
  options.set = SUPPORT_ZEAL ? "collect=0,zeal=1000000000" : "collect=0";
  assert_int_equal(tarn_world_create(&options, &world), TARN_OK);
  tarn_thread *self = support_attach(world);
  atomic_store(&ended, false);
  assert_int_equal(pthread_create(&thread, NULL, release_rings, world), 0);
  for (unsigned i = 0; i < 400 || (dead == 0 && i < 20000); i++) {
    struct reader r = take(self, TARN_SNAPSHOT_AS_IT_IS);
    dead += r.nodes[found(&r, "(awaiting free)")].edges;
    reader_end(&r);
  }
  assert_true(dead > 0);
  atomic_store(&ended, true);
  tarn_block_begin(self);
  assert_int_equal(pthread_join(thread, NULL), 0);
  tarn_block_end(self);
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  support_end(world);
}

static void test_released(void **state) {
  (void)state;
  look_at_rings(0);
  look_at_rings(TARN_OPTIONS_COUNTING);
}

struct forked {
  tarn_thread *self;
  const char *path;
};

static void in_child(void *data) {
  const struct forked *forked = data;
  struct reader r;
  CHILD_CHECK(tarn_snapshot_write(forked->self, forked->path, 0, NULL) == TARN_OK);
  CHILD_CHECK(reader_load(&r, forked->path));
  CHILD_CHECK(reader_find(&r, "array") != SIZE_MAX);
  reader_end(&r);
  CHILD_CHECK(unlink(forked->path) == 0);
}

static void fork_in(tarn_world *world, tarn_thread *self) {
  void *root = mixture(self, world);
  TARN_FRAME(self, &root);
  struct forked forked = {self, in_directory("child.heapsnapshot")};
  support_good_child(in_child, &forked);
}
static void test_fork(void **state) {
  (void)state;
  in_world("", fork_in);
}

static int tidy(void **state) {
  (void)state;
  return directory[0] ? rmdir(directory) : 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_far),
      cmocka_unit_test(test_faults),
      cmocka_unit_test(test_counts),
      cmocka_unit_test(test_dead),
      cmocka_unit_test(test_shapes),
      cmocka_unit_test(test_huge),
      cmocka_unit_test(test_names),
      cmocka_unit_test(test_weak),
      cmocka_unit_test(test_many_pairs),
      cmocka_unit_test(test_roots),
      cmocka_unit_test(test_stacks),
      cmocka_unit_test(test_counting),
      cmocka_unit_test(what_roots_hold_is_not_counted_from_outside_as_well),
      cmocka_unit_test(test_leak),
      cmocka_unit_test(test_ids),
      cmocka_unit_test(test_files),
      cmocka_unit_test(test_refused),
      cmocka_unit_test(test_misuse),
      cmocka_unit_test(test_whimsical_trace),
      cmocka_unit_test(callers_of_other_versions_get_what_they_know),
      cmocka_unit_test(test_others),
      cmocka_unit_test(test_released),
      cmocka_unit_test(test_fork),
  };
  return cmocka_run_group_tests(tests, NULL, tidy);
}
