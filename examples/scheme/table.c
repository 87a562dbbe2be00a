/* SPDX-License-Identifier: MIT */
/*
 * table.c: hash tables after SRFI 69, weak tables, weak boxes and ephemerons.
 *
 * A plain table is a vector of keys and values in turns, open addressing with linear probing, at
 * most three quarters full.  Objects never move, so an address is as good a hash as any.  It has no
 * lock: a program guards a table that several threads change.  If it does not, entries may get
 * lost, but nothing else is harmed, as each function loads the vector once and believes that one.
 *
 * A weak table is one of Tarn's, which stands outside of the heap, in an object whose free function
 * destroys it: the pattern for any C resource.  It has locks of its own, so threads share it as it
 * is.  Its entries go before finalizers run.  As long as its object lives,
 * the table keeps the keys of weak values, and the values of weak keys that are alive.
 *
 * Numbers have no identity, and what is in a word has no life: neither can be a weak key or value.
 * Weak boxes and ephemerons take them, and keep them.
 */
#include "scheme.h"
#include <stdlib.h>

enum { BY_EQ, BY_EQV, BY_EQUAL, BY_STRING }; /* the last: by equal, and keys are strings */

struct table {
  const tarn_type *type;
  scm entries;    /* a vector, of struct entry */
  size_t count;   /* entries that are there */
  size_t deleted; /* places where one was */
  uint64_t kind;
};
DEFINE_TEST(table)

struct entry {
  scm key, value; /* key: 0 is free */
};
#define KEY_DELETED SCM_UNBOUND
#define FIRST_CAPACITY ((size_t)8)

struct weak_table {
  const tarn_type *type;
  tarn_weak_table *table; /* raw */
  uint64_t kind;          /* a tarn_weak_kind */
};

struct weak_box { /* of what is not weak; one that is weak is Tarn's own object */
  const tarn_type *type;
  scm value;
};
struct ephemeron { /* the same */
  const tarn_type *type;
  scm key, value;
};

static const tarn_type *weak_table_type;

static bool can_be_weak(scm v) { return is_object(v) && !is_number(v); }

/* --- hashes ---------------------------------------------------------------------------------- */

#define HASHED_PARTS 64u /* of a structure, at most */

static uint64_t mix(uint64_t hash) {
  hash = (hash ^ hash >> 32) * UINT64_C(0x9e3779b97f4a7c15);
  return hash ^ hash >> 29;
}

static uint64_t eqv_hash(scm v) {
  return mix(!is_fixnum(v) && is_number(v) ? number_hash(v) : (uint64_t)v);
}

static uint64_t hash_bytes(const struct bytevector *bytes) {
  uint64_t hash = bytes->count;
  for (size_t i = 0; i < bytes->count && i < HASHED_PARTS; i++)
    hash = mix(hash ^ bytes->bytes[i]);
  return hash;
}

/* `left`: how many parts may still be looked at; so it ends for what is circular, too. */
static uint64_t hash_parts(scm v, unsigned *left) {
  uint64_t hash = 1;
  for (; is_pair(v) && *left; v = cdr(v)) {
    --*left;
    hash = mix(hash + hash_parts(car(v), left));
  }
  if (*left == 0)
    return hash;
  --*left;
  if (is_string(v))
    return mix(hash + string_hash(v));
  if (is_bytevector(v))
    return mix(hash + hash_bytes(bytevector_of(v)));
  if (!is_vector(v))
    return mix(hash + eqv_hash(v));
  const struct vector *vector = vector_of(v);
  hash = mix(hash + vector->count);
  for (size_t i = 0; i < vector->count && *left; i++)
    hash = mix(hash + hash_parts(vector->items[i], left));
  return hash;
}

uint64_t equal_hash(scm v) {
  unsigned left = HASHED_PARTS;
  return hash_parts(v, &left);
}

static uint64_t hash_key(uint64_t kind, scm key) {
  return kind == BY_EQ ? mix(key) : kind == BY_EQV ? eqv_hash(key) : equal_hash(key);
}

static bool are_one_key(uint64_t kind, scm a, scm b) {
  return a == b || (kind == BY_EQV ? is_eqv(a, b) : kind >= BY_EQUAL && is_equal(a, b));
}

/* --- entries --------------------------------------------------------------------------------- */

static bool is_live(const struct entry *entry) { return entry->key && entry->key != KEY_DELETED; }

static struct entry *entries_of(scm vector) { return (struct entry *)vector_of(vector)->items; }
static size_t capacity_of(scm vector) { return vector_of(vector)->count / 2; } /* a power of two */

/* The entry, or NULL. */
static struct entry *find(scm vector, uint64_t kind, scm key) {
  struct entry *entries = entries_of(vector);
  size_t capacity = capacity_of(vector), at = hash_key(kind, key);
  for (size_t i = 0; i < capacity; i++, at++) {
    struct entry *entry = &entries[at & (capacity - 1)];
    if (!entry->key)
      return NULL;
    if (are_one_key(kind, entry->key, key))
      return entry;
  }
  return NULL;
}

/* Where a key goes that is not there; NULL: there is no place, as threads were not careful. */
static struct entry *place_for(scm vector, uint64_t kind, scm key) {
  struct entry *entries = entries_of(vector);
  size_t capacity = capacity_of(vector), at = hash_key(kind, key);
  for (size_t i = 0; i < capacity; i++, at++)
    if (!is_live(&entries[at & (capacity - 1)]))
      return &entries[at & (capacity - 1)];
  return NULL;
}

/* A new vector in which entries and one more fill at most half; the deleted are left behind. */
static bool resize(struct vm *vm, scm v) {
  struct table *table = table_of(v);
  size_t capacity = FIRST_CAPACITY;
  ROOTS(vm, (void *)&v);
  while (capacity < 2 * (table->count + 1))
    capacity *= 2;
  scm vector = (scm)make_array(vm, types.vector, 2 * capacity);
  if (!vector)
    return false;
  const struct entry *old = entries_of(table->entries);
  for (size_t i = 0; i < capacity_of(table->entries); i++) {
    struct entry *place = is_live(&old[i]) ? place_for(vector, table->kind, old[i].key) : NULL;
    if (place)
      *place = old[i]; /* the vector is still new */
  }
  store(vm, v, &table->entries, vector);
  table->deleted = 0;
  return true;
}

/* The caller keeps all three alive. */
static bool put(struct vm *vm, scm v, scm key, scm value) {
  struct table *table = table_of(v);
  struct entry *entry = find(table->entries, table->kind, key);
  if (!entry) {
    size_t used = table->count + table->deleted + 1;
    if (used * 4 > capacity_of(table->entries) * 3 && !resize(vm, v))
      return false;
  }
  scm vector = table->entries;
  if (!entry && (entry = place_for(vector, table->kind, key))) {
    if (entry->key)
      table->deleted--;
    table->count++;
    store(vm, vector, &entry->key, key);
  }
  if (entry)
    store(vm, vector, &entry->value, value);
  return true;
}

/* --- weak tables ----------------------------------------------------------------------------- */

static bool is_weak_table(scm v) { return has_type(v, weak_table_type); }
static struct weak_table *weak_table_of(scm v) { return (struct weak_table *)v; }

static void free_weak_table(tarn_world *of, void *object) {
  (void)of;
  tarn_weak_table_destroy(((struct weak_table *)object)->table);
}

static uint64_t hash_of_key(const void *key, void *data) {
  (void)data;
  return equal_hash((scm)key);
}
static bool are_equal_keys(const void *probe, const void *key, void *data) {
  (void)data;
  return is_equal((scm)probe, (scm)key);
}

/* Weak keys are compared by address, the keys of weak values by equal. */
static scm make_weak_table(struct vm *vm, tarn_weak_kind kind) {
  tarn_weak_table_spec spec = TARN_WEAK_TABLE_SPEC_INIT;
  struct weak_table *table = make_object(vm, weak_table_type);
  if (!table)
    return 0;
  spec.kind = kind;
  if (kind == TARN_WEAK_VALUES) {
    spec.hash = hash_of_key;
    spec.equal = are_equal_keys;
  }
  table->kind = kind;
  if (tarn_weak_table_create(world, &spec, &table->table) != TARN_OK)
    return out_of_memory(vm);
  return (scm)table;
}

static scm put_weak(struct vm *vm, scm *arguments) {
  const struct weak_table *table = weak_table_of(arguments[0]);
  int weak = table->kind == TARN_WEAK_KEYS ? 1 : 2;
  if (!can_be_weak(arguments[weak]))
    return wrong_type(vm, "hash-table-set!", weak + 1, arguments[weak]);
  if (!tarn_weak_table_put(vm->self, table->table, (void *)arguments[1], (void *)arguments[2],
                           true))
    return out_of_memory(vm);
  return SCM_UNSPECIFIED;
}

/* --- primitives: making ---------------------------------------------------------------------- */

static scm make_table(struct vm *vm, uint64_t kind) {
  scm vector = (scm)make_array(vm, types.vector, 2 * FIRST_CAPACITY);
  ROOTS(vm, (void *)&vector);
  struct table *table = vector ? make_object(vm, types.table) : NULL;
  if (!table)
    return 0;
  table->entries = vector;
  table->kind = kind;
  return (scm)table;
}

#define DEFINE_MAKER(name, call)                              \
  static scm name(struct vm *vm, int count, scm *arguments) { \
    (void)count, (void)arguments;                             \
    return call;                                              \
  }
DEFINE_MAKER(make_equal_table, make_table(vm, BY_EQUAL))
DEFINE_MAKER(make_eq_table, make_table(vm, BY_EQ))
DEFINE_MAKER(make_eqv_table, make_table(vm, BY_EQV))
DEFINE_MAKER(make_string_table, make_table(vm, BY_STRING))
DEFINE_MAKER(make_weak_key_table, make_weak_table(vm, TARN_WEAK_KEYS))
DEFINE_MAKER(make_weak_value_table, make_weak_table(vm, TARN_WEAK_VALUES))

/* --- primitives: entries --------------------------------------------------------------------- */

static scm table_is(struct vm *vm, int count, scm *arguments) {
  (void)vm, (void)count;
  return boolean(is_table(arguments[0]) || is_weak_table(arguments[0]));
}

/* The value in `*value`, 0 if there is none.  False: the first argument is no table. */
static bool look_up(struct vm *vm, const char *who, const scm *arguments, scm *value) {
  *value = 0;
  if (is_weak_table(arguments[0])) {
    (void)tarn_weak_table_get(vm->self, weak_table_of(arguments[0])->table,
                              (const void *)arguments[1], (void **)value);
    return true;
  }
  if (!is_table(arguments[0])) {
    wrong_type(vm, who, 1, arguments[0]);
    return false;
  }
  const struct table *table = table_of(arguments[0]);
  const struct entry *entry = find(table->entries, table->kind, arguments[1]);
  if (entry)
    *value = entry->value;
  return true;
}

static scm table_ref(struct vm *vm, int count, scm *arguments) {
  scm value;
  (void)count;
  if (!look_up(vm, "hash-table-ref/default", arguments, &value))
    return 0;
  return value ? value : arguments[2];
}

static scm table_contains(struct vm *vm, int count, scm *arguments) {
  scm value;
  (void)count;
  return look_up(vm, "hash-table-contains?", arguments, &value) ? boolean(value != 0) : 0;
}

static scm table_set(struct vm *vm, int count, scm *arguments) {
  (void)count;
  if (is_weak_table(arguments[0]))
    return put_weak(vm, arguments);
  if (!is_table(arguments[0]))
    return wrong_type(vm, "hash-table-set!", 1, arguments[0]);
  if (table_of(arguments[0])->kind == BY_STRING && !is_string(arguments[1]))
    return wrong_type(vm, "hash-table-set!", 2, arguments[1]);
  return put(vm, arguments[0], arguments[1], arguments[2]) ? SCM_UNSPECIFIED : 0;
}

static scm table_delete(struct vm *vm, int count, scm *arguments) {
  (void)count;
  if (is_weak_table(arguments[0])) {
    (void)tarn_weak_table_remove(vm->self, weak_table_of(arguments[0])->table,
                                 (const void *)arguments[1]);
    return SCM_UNSPECIFIED;
  }
  if (!is_table(arguments[0]))
    return wrong_type(vm, "hash-table-delete!", 1, arguments[0]);
  struct table *table = table_of(arguments[0]);
  struct entry *entry = find(table->entries, table->kind, arguments[1]);
  if (entry) {
    entry->key = KEY_DELETED;
    entry->value = SCM_FALSE;
    table->count--;
    table->deleted++;
  }
  return SCM_UNSPECIFIED;
}

static scm table_count(struct vm *vm, int count, scm *arguments) {
  (void)count;
  if (is_weak_table(arguments[0]))
    return fixnum((intptr_t)tarn_weak_table_count(weak_table_of(arguments[0])->table));
  if (!is_table(arguments[0]))
    return wrong_type(vm, "hash-table-count", 1, arguments[0]);
  return fixnum((intptr_t)table_of(arguments[0])->count);
}

/* --- primitives: whole tables ---------------------------------------------------------------- */

/* What a weak table has now, in two vectors. */
static bool copy_weak(struct vm *vm, scm v, scm *keys, scm *values, size_t *count) {
  tarn_weak_table *table = weak_table_of(v)->table;
  ROOTS(vm, (void *)&v, (void *)keys, (void *)values);
  for (size_t room = tarn_weak_table_count(table) + 8;; room *= 2) {
    if (!(*keys = make_vector(vm, room, SCM_FALSE)) ||
        !(*values = make_vector(vm, room, SCM_FALSE)))
      return false;
    void **to_keys = (void **)vector_of(*keys)->items;
    *count =
        tarn_weak_table_entries(vm->self, table, to_keys, (void **)vector_of(*values)->items, room);
    tarn_barrier_range(vm->self, (void *)*keys, to_keys, *count); /* older than the other */
    if (*count < room)
      return true;
  }
}

static scm clear_weak(struct vm *vm, scm v) {
  scm keys = SCM_FALSE, values = SCM_FALSE;
  size_t count;
  ROOTS(vm, (void *)&v, (void *)&keys, (void *)&values);
  if (!copy_weak(vm, v, &keys, &values, &count))
    return 0;
  for (size_t i = 0; i < count; i++)
    (void)tarn_weak_table_remove(vm->self, weak_table_of(v)->table,
                                 (void *)vector_of(keys)->items[i]);
  return SCM_UNSPECIFIED;
}

static scm table_clear(struct vm *vm, int count, scm *arguments) {
  (void)count;
  if (is_weak_table(arguments[0]))
    return clear_weak(vm, arguments[0]);
  if (!is_table(arguments[0]))
    return wrong_type(vm, "hash-table-clear!", 1, arguments[0]);
  struct table *table = table_of(arguments[0]);
  scm vector = (scm)make_array(vm, types.vector, 2 * FIRST_CAPACITY);
  if (!vector)
    return 0;
  store(vm, arguments[0], &table->entries, vector);
  table->count = table->deleted = 0;
  return SCM_UNSPECIFIED;
}

static scm table_copy(struct vm *vm, int count, scm *arguments) {
  (void)count;
  if (!is_table(arguments[0])) /* a weak one's copy would be no snapshot */
    return wrong_type(vm, "hash-table-copy", 1, arguments[0]);
  const struct table *from = table_of(arguments[0]);
  scm copy = make_table(vm, from->kind);
  if (!copy)
    return 0;
  scm entries = from->entries;
  ROOTS(vm, (void *)&copy, (void *)&entries);
  size_t words = vector_of(entries)->count;
  scm vector = (scm)make_array(vm, types.vector, words);
  if (!vector)
    return 0;
  memcpy(vector_of(vector)->items, vector_of(entries)->items, words * sizeof(scm));
  struct table *to = table_of(copy);
  store(vm, copy, &to->entries, vector);
  to->count = from->count;
  to->deleted = from->deleted;
  return copy;
}

/* What a walk takes of each entry; 0: no memory. */
typedef scm (*take_fn)(struct vm *vm, scm key, scm value);

static scm take_key(struct vm *vm, scm key, scm value) {
  (void)vm, (void)value;
  return key;
}
static scm take_value(struct vm *vm, scm key, scm value) {
  (void)vm, (void)key;
  return value;
}

static scm walk_weak(struct vm *vm, scm v, take_fn take) {
  scm keys = SCM_FALSE, values = SCM_FALSE, list = SCM_NIL;
  size_t count;
  ROOTS(vm, (void *)&keys, (void *)&values, (void *)&list);
  if (!copy_weak(vm, v, &keys, &values, &count))
    return 0;
  for (size_t i = 0; i < count && list; i++) {
    scm item = take(vm, vector_of(keys)->items[i], vector_of(values)->items[i]);
    list = item ? cons(vm, item, list) : 0;
  }
  return list;
}

/* A list of what is in the table now. */
static scm walk(struct vm *vm, const char *who, scm v, take_fn take) {
  if (is_weak_table(v))
    return walk_weak(vm, v, take);
  if (!is_table(v))
    return wrong_type(vm, who, 1, v);
  const struct table *table = table_of(v);
  scm list = SCM_NIL, entries = table->entries;
  ROOTS(vm, (void *)&list, (void *)&entries);
  for (size_t i = 0; i < capacity_of(entries); i++) {
    const struct entry *entry = &entries_of(entries)[i];
    if (!is_live(entry))
      continue;
    scm item = take(vm, entry->key, entry->value);
    if (!item || !(list = cons(vm, item, list)))
      return 0;
  }
  return list;
}

static scm table_keys(struct vm *vm, int count, scm *arguments) {
  (void)count;
  return walk(vm, "hash-table-keys", arguments[0], take_key);
}
static scm table_values(struct vm *vm, int count, scm *arguments) {
  (void)count;
  return walk(vm, "hash-table-values", arguments[0], take_value);
}
static scm table_to_alist(struct vm *vm, int count, scm *arguments) {
  (void)count;
  return walk(vm, "hash-table->alist", arguments[0], cons);
}

static scm hash_equal(struct vm *vm, int count, scm *arguments) {
  (void)vm, (void)count;
  return fixnum((intptr_t)(equal_hash(arguments[0]) >> 2));
}
static scm hash_eq(struct vm *vm, int count, scm *arguments) {
  (void)vm, (void)count;
  return fixnum((intptr_t)(mix(arguments[0]) >> 2));
}

/* --- weak boxes and ephemerons --------------------------------------------------------------- */

static bool is_weak(scm v) { return is_object(v) && tarn_is_weak(world, (const void *)v); }

static scm make_weak_box(struct vm *vm, int count, scm *arguments) {
  (void)count;
  if (can_be_weak(arguments[0])) {
    scm weak = (scm)tarn_weak_new(vm->self, (void *)arguments[0]);
    return weak ? weak : out_of_memory(vm);
  }
  struct weak_box *box = make_object(vm, types.weak_box);
  if (box)
    box->value = arguments[0];
  return (scm)box;
}

static scm weak_box_is(struct vm *vm, int count, scm *arguments) {
  (void)vm, (void)count;
  return boolean(is_weak(arguments[0]) || has_type(arguments[0], types.weak_box));
}

/* The second argument, or #f, when the value is gone. */
static scm weak_box_value(struct vm *vm, int count, scm *arguments) {
  if (has_type(arguments[0], types.weak_box))
    return ((struct weak_box *)arguments[0])->value;
  if (!is_weak(arguments[0]))
    return wrong_type(vm, "weak-box-value", 1, arguments[0]);
  scm value = (scm)tarn_weak_get(vm->self, (void *)arguments[0]);
  return value ? value : count > 1 ? arguments[1] : SCM_FALSE;
}

static bool is_ephemeron(scm v) {
  return has_type(v, types.ephemeron) ||
         (is_object(v) && tarn_is_ephemeron(world, (const void *)v));
}

static scm make_ephemeron(struct vm *vm, int count, scm *arguments) {
  (void)count;
  if (can_be_weak(arguments[0])) {
    scm pair = (scm)tarn_ephemeron_new(vm->self, (void *)arguments[0], (void *)arguments[1]);
    return pair ? pair : out_of_memory(vm);
  }
  struct ephemeron *ephemeron = make_object(vm, types.ephemeron);
  if (!ephemeron)
    return 0;
  ephemeron->key = arguments[0];
  ephemeron->value = arguments[1];
  return (scm)ephemeron;
}

static scm ephemeron_is(struct vm *vm, int count, scm *arguments) {
  (void)vm, (void)count;
  return boolean(is_ephemeron(arguments[0]));
}

static scm ephemeron_key(struct vm *vm, int count, scm *arguments) {
  (void)count;
  if (has_type(arguments[0], types.ephemeron))
    return ((struct ephemeron *)arguments[0])->key;
  if (!is_ephemeron(arguments[0]))
    return wrong_type(vm, "ephemeron-key", 1, arguments[0]);
  scm key = (scm)tarn_ephemeron_key(vm->self, (void *)arguments[0]);
  return key ? key : SCM_FALSE;
}

static scm ephemeron_value(struct vm *vm, int count, scm *arguments) {
  (void)count;
  if (has_type(arguments[0], types.ephemeron))
    return ((struct ephemeron *)arguments[0])->value;
  if (!is_ephemeron(arguments[0]))
    return wrong_type(vm, "ephemeron-value", 1, arguments[0]);
  scm value = (scm)tarn_ephemeron_value(vm->self, (void *)arguments[0]);
  return value ? value : SCM_FALSE;
}

static scm ephemeron_is_broken(struct vm *vm, int count, scm *arguments) {
  (void)count;
  if (!is_ephemeron(arguments[0]))
    return wrong_type(vm, "ephemeron-broken?", 1, arguments[0]);
  return boolean(!has_type(arguments[0], types.ephemeron) &&
                 !tarn_ephemeron_key(vm->self, (void *)arguments[0]));
}

/* --- begin ----------------------------------------------------------------------------------- */

void table_types(void) {
  types.table = make_type("hash-table", sizeof(struct table), WORD(table, entries), NULL);
  types.weak_box = make_type("weak-box", sizeof(struct weak_box), WORD(weak_box, value), NULL);
  types.ephemeron = make_type("ephemeron", sizeof(struct ephemeron),
                              WORD(ephemeron, key) | WORD(ephemeron, value), NULL);
  weak_table_type = make_type("weak-hash-table", sizeof(struct weak_table), 0, free_weak_table);
}

static const struct primitive_def defs[] = {
    {"make-hash-table", make_equal_table, 0, 0},
    {"make-eq-hash-table", make_eq_table, 0, 0},
    {"make-eqv-hash-table", make_eqv_table, 0, 0},
    {"make-string-hash-table", make_string_table, 0, 0},
    {"make-weak-key-hash-table", make_weak_key_table, 0, 0},
    {"make-ephemeron-hash-table", make_weak_key_table, 0, 0},
    {"make-weak-value-hash-table", make_weak_value_table, 0, 0},
    {"hash-table?", table_is, 1, 1},
    {"hash-table-ref/default", table_ref, 3, 3},
    {"hash-table-contains?", table_contains, 2, 2},
    {"hash-table-set!", table_set, 3, 3},
    {"hash-table-delete!", table_delete, 2, 2},
    {"hash-table-count", table_count, 1, 1},
    {"hash-table-size", table_count, 1, 1},
    {"hash-table-clear!", table_clear, 1, 1},
    {"hash-table-copy", table_copy, 1, 1},
    {"hash-table-keys", table_keys, 1, 1},
    {"hash-table-values", table_values, 1, 1},
    {"hash-table->alist", table_to_alist, 1, 1},
    {"hash", hash_equal, 1, 1},
    {"equal-hash", hash_equal, 1, 1},
    {"eq-hash", hash_eq, 1, 1},
    {"make-weak-box", make_weak_box, 1, 1},
    {"weak-box?", weak_box_is, 1, 1},
    {"weak-box-value", weak_box_value, 1, 2},
    {"make-ephemeron", make_ephemeron, 2, 2},
    {"ephemeron?", ephemeron_is, 1, 1},
    {"ephemeron-key", ephemeron_key, 1, 1},
    {"ephemeron-value", ephemeron_value, 1, 1},
    {"ephemeron-broken?", ephemeron_is_broken, 1, 1},
    {NULL, NULL, 0, 0}};

void table_begin(struct vm *vm) { define_primitives(vm, defs); }
