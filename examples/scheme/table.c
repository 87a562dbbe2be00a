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

enum { BY_EQ, BY_EQV, BY_EQUAL };

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

/* Both have one of Tarn's own inside, or, for a key that cannot be weak, what that would hold. */
struct weak {
  const tarn_type *type;
  scm content;
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

/* -1: failed.  Keeps the vector alive. */
static int are_one_key(struct vm *vm, scm vector, uint64_t kind, scm a, scm b) {
  if (a == b || kind == BY_EQ || !is_object(a) || !is_object(b))
    return a == b;
  return kind == BY_EQV ? is_eqv(a, b) : is_equal(vm, a, b, vector);
}

/* --- entries --------------------------------------------------------------------------------- */

static bool is_live(const struct entry *entry) { return entry->key && entry->key != KEY_DELETED; }

static struct entry *entries_of(scm vector) { return (struct entry *)vector_of(vector)->items; }
static size_t capacity_of(scm vector) { return vector_of(vector)->count / 2; } /* a power of two */

/* The entry, or NULL.  False: it cannot be told, and the condition is set. */
static bool find(struct vm *vm, scm vector, uint64_t kind, scm key, struct entry **found) {
  struct entry *entries = entries_of(vector);
  size_t capacity = capacity_of(vector), at = hash_key(kind, key);
  *found = NULL;
  for (size_t i = 0; i < capacity; i++, at++) {
    struct entry *entry = &entries[at & (capacity - 1)];
    scm other = entry->key;
    if (!other)
      break;
    int same = are_one_key(vm, vector, kind, other, key);
    if (same < 0)
      return false;
    if (same) {
      *found = entry;
      break;
    }
  }
  return true;
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

/* A new vector in which entries and one more fill at most half; the deleted are left behind.  They
 * are counted again: other threads may have brought the number into disorder. */
static bool resize(struct vm *vm, scm v) {
  struct table *table = table_of(v);
  scm old = table->entries;
  size_t count = 0, capacity = FIRST_CAPACITY;
  ROOTS(vm, (void *)&v, (void *)&old);
  for (size_t i = 0; i < capacity_of(old); i++)
    count += is_live(&entries_of(old)[i]);
  while (capacity < 2 * (count + 1))
    capacity *= 2;
  scm vector = (scm)make_array(vm, types.vector, 2 * capacity);
  if (!vector)
    return false;
  for (size_t i = 0; i < capacity_of(old); i++) {
    const struct entry *entry = &entries_of(old)[i];
    struct entry *place = is_live(entry) ? place_for(vector, table->kind, entry->key) : NULL;
    if (place)
      *place = *entry; /* the vector is still new */
  }
  store(vm, v, &table->entries, vector);
  table->count = count;
  table->deleted = 0;
  return true;
}

/* The caller keeps all three alive. */
bool table_put(struct vm *vm, scm v, scm key, scm value) {
  struct table *table = table_of(v);
  scm vector = table->entries;
  struct entry *entry;
  if (!find(vm, vector, table->kind, key, &entry))
    return false;
  if (!entry) {
    size_t used = table->count + table->deleted + 1;
    if (used * 4 > capacity_of(vector) * 3 && !resize(vm, v))
      return false;
    vector = table->entries;
    if (!(entry = place_for(vector, table->kind, key)))
      return true;
    if (entry->key)
      table->deleted--;
    table->count++;
    store(vm, vector, &entry->value, value);
    store(vm, vector, &entry->key, key);
  }
  store(vm, vector, &entry->value, value);
  return true;
}

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

scm eq_table(struct vm *vm) { return make_table(vm, BY_EQ); }

scm table_ref(scm v, scm key) {
  struct entry *entry;
  (void)find(NULL, table_of(v)->entries, BY_EQ, key, &entry);
  return entry ? entry->value : 0;
}

/* --- weak tables ----------------------------------------------------------------------------- */

static bool is_weak_table(scm v) { return has_type(v, weak_table_type); }
static bool is_any_table(scm v) { return is_table(v) || is_weak_table(v); }
static struct weak_table *weak_table_of(scm v) { return (struct weak_table *)v; }

static void free_weak_table(tarn_world *of, void *object) {
  (void)of;
  tarn_weak_table_destroy(((struct weak_table *)object)->table);
}

static uint64_t hash_of_key(const void *key, void *data) {
  (void)data;
  return equal_hash((scm)key);
}
static bool have_equal_keys(const void *probe, const void *key, void *data) {
  (void)data;
  return is_equal_quietly(vm_of(NULL), (scm)probe, (scm)key);
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
    spec.equal = have_equal_keys;
  }
  table->kind = kind;
  if (tarn_weak_table_create(world, &spec, &table->table) != TARN_OK)
    return out_of_memory(vm);
  return (scm)table;
}

static scm put_weak(struct vm *vm, const char *who, scm *arguments) {
  const struct weak_table *table = weak_table_of(arguments[0]);
  int weak = table->kind == TARN_WEAK_KEYS ? 1 : 2;
  if (!can_be_weak(arguments[weak]))
    return wrong_type(vm, who, weak + 1, arguments[weak]);
  if (!tarn_weak_table_put(vm->self, table->table, (void *)arguments[1], (void *)arguments[2],
                           true))
    return out_of_memory(vm);
  return SCM_UNSPECIFIED;
}

/* --- primitives: making ---------------------------------------------------------------------- */

DEFINE("make-hash-table", make_equal_table, 0, 0) { return make_table(vm, BY_EQUAL); }
DEFINE("make-eq-hash-table", make_eq_table, 0, 0) { return make_table(vm, BY_EQ); }
DEFINE("make-eqv-hash-table", make_eqv_table, 0, 0) { return make_table(vm, BY_EQV); }
DEFINE("make-weak-key-hash-table", make_weak_key_table, 0, 0) {
  return make_weak_table(vm, TARN_WEAK_KEYS);
}
DEFINE("make-weak-value-hash-table", make_weak_value_table, 0, 0) {
  return make_weak_table(vm, TARN_WEAK_VALUES);
}

/* --- primitives: entries --------------------------------------------------------------------- */

/* The value, or `otherwise`; 0: failed. */
static scm look_up(struct vm *vm, const scm *arguments, scm otherwise) {
  const struct table *table = table_of(arguments[0]);
  struct entry *entry;
  scm value = 0;
  if (is_weak_table(arguments[0])) {
    (void)tarn_weak_table_get(vm->self, weak_table_of(arguments[0])->table,
                              (const void *)arguments[1], (void **)&value);
    return value ? value : otherwise;
  }
  if (!find(vm, table->entries, table->kind, arguments[1], &entry))
    return 0;
  return entry ? entry->value : otherwise;
}

DEFINE("hash-table-ref/default", table_ref_default, 3, 3, is_any_table) {
  return look_up(vm, arguments, arguments[2]);
}

DEFINE("hash-table-contains?", table_contains, 2, 2, is_any_table) {
  scm value = look_up(vm, arguments, SCM_UNBOUND);
  return value ? boolean(value != SCM_UNBOUND) : 0;
}

DEFINE("hash-table-set!", table_set, 3, 3, is_any_table) {
  if (is_weak_table(arguments[0]))
    return put_weak(vm, who, arguments);
  return table_put(vm, arguments[0], arguments[1], arguments[2]) ? SCM_UNSPECIFIED : 0;
}

DEFINE("hash-table-delete!", table_delete, 2, 2, is_any_table) {
  if (is_weak_table(arguments[0])) {
    (void)tarn_weak_table_remove(vm->self, weak_table_of(arguments[0])->table,
                                 (const void *)arguments[1]);
    return SCM_UNSPECIFIED;
  }
  struct table *table = table_of(arguments[0]);
  struct entry *entry;
  if (!find(vm, table->entries, table->kind, arguments[1], &entry))
    return 0;
  if (entry) {
    entry->key = KEY_DELETED;
    entry->value = SCM_FALSE;
    table->count--;
    table->deleted++;
  }
  return SCM_UNSPECIFIED;
}

DEFINE("hash-table-count", table_count, 1, 1, is_any_table) {
  if (is_weak_table(arguments[0]))
    return fixnum((intptr_t)tarn_weak_table_count(weak_table_of(arguments[0])->table));
  return fixnum((intptr_t)table_of(arguments[0])->count);
}

/* --- primitives: whole tables ---------------------------------------------------------------- */

/* What a weak table has now: the keys in one half of a vector, the values in the other.  It was
 * allocated last, so nothing needs a barrier. */
static scm weak_entries(struct vm *vm, const scm *arguments, size_t *count) {
  tarn_weak_table *table = weak_table_of(arguments[0])->table;
  for (size_t room = tarn_weak_table_count(table) + 8;; room *= 2) {
    scm vector = make_vector(vm, 2 * room, SCM_FALSE);
    if (!vector)
      return 0;
    void **keys = (void **)vector_of(vector)->items;
    *count = tarn_weak_table_entries(vm->self, table, keys, keys + room, room);
    if (*count < room)
      return vector;
  }
}

static scm clear_weak(struct vm *vm, const scm *arguments) {
  size_t count;
  scm entries = weak_entries(vm, arguments, &count);
  ROOTS(vm, (void *)&entries);
  for (size_t i = 0; entries && i < count; i++)
    (void)tarn_weak_table_remove(vm->self, weak_table_of(arguments[0])->table,
                                 (void *)vector_of(entries)->items[i]);
  return entries ? SCM_UNSPECIFIED : 0;
}

DEFINE("hash-table-clear!", table_clear, 1, 1, is_any_table) {
  if (is_weak_table(arguments[0]))
    return clear_weak(vm, arguments);
  struct table *table = table_of(arguments[0]);
  scm vector = (scm)make_array(vm, types.vector, 2 * FIRST_CAPACITY);
  if (!vector)
    return 0;
  store(vm, arguments[0], &table->entries, vector);
  table->count = table->deleted = 0;
  return SCM_UNSPECIFIED;
}

/* A weak one's copy would be no snapshot. */
DEFINE("hash-table-copy", table_copy, 1, 1, is_table) {
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

/* The list with an entry in front. */
static scm add_entry(struct vm *vm, scm key, scm value, scm list) {
  ROOTS(vm, (void *)&list);
  scm entry = cons(vm, key, value);
  return entry ? cons(vm, entry, list) : 0;
}

static scm weak_to_alist(struct vm *vm, const scm *arguments) {
  size_t count;
  scm entries = weak_entries(vm, arguments, &count), list = SCM_NIL;
  ROOTS(vm, (void *)&entries);
  if (!entries)
    return 0;
  const struct vector *vector = vector_of(entries);
  for (size_t i = 0; i < count && list; i++)
    list = add_entry(vm, vector->items[i], vector->items[vector->count / 2 + i], list);
  return list;
}

/* What is in the table now. */
DEFINE("hash-table->alist", table_to_alist, 1, 1, is_any_table) {
  if (is_weak_table(arguments[0]))
    return weak_to_alist(vm, arguments);
  scm list = SCM_NIL, entries = table_of(arguments[0])->entries;
  ROOTS(vm, (void *)&entries);
  for (size_t i = 0; i < capacity_of(entries) && list; i++) {
    const struct entry *entry = &entries_of(entries)[i];
    scm key = entry->key, value = entry->value;
    if (key && value && key != KEY_DELETED) /* no value: it is just being put in */
      list = add_entry(vm, key, value, list);
  }
  return list;
}

DEFINE("hash", hash_equal, 1, 1) { return fixnum((intptr_t)(equal_hash(arguments[0]) >> 2)); }

/* --- weak boxes and ephemerons --------------------------------------------------------------- */

static bool is_weak_box(scm v) { return has_type(v, types.weak_box); }
static bool is_ephemeron(scm v) { return has_type(v, types.ephemeron); }
static scm content_of(scm v) { return ((struct weak *)v)->content; }

static scm make_weak(struct vm *vm, const tarn_type *type, scm content) {
  ROOTS(vm, (void *)&content);
  if (!content)
    return out_of_memory(vm);
  struct weak *weak = make_object(vm, type);
  if (weak)
    weak->content = content;
  return (scm)weak;
}

DEFINE("make-weak-box", make_weak_box, 1, 1) {
  scm v = arguments[0];
  return make_weak(vm, types.weak_box,
                   can_be_weak(v) ? (scm)tarn_weak_new(vm->self, (void *)v) : v);
}

/* The second argument, or #f, when the value is gone. */
DEFINE("weak-box-value", weak_box_value, 1, 2, is_weak_box) {
  scm content = content_of(arguments[0]);
  if (is_object(content) && tarn_is_weak(world, (const void *)content))
    content = (scm)tarn_weak_get(vm->self, (void *)content);
  return content ? content : count > 1 ? arguments[1] : SCM_FALSE;
}

DEFINE("make-ephemeron", make_ephemeron, 2, 2) {
  scm key = arguments[0], value = arguments[1];
  return make_weak(vm, types.ephemeron,
                   can_be_weak(key) ? (scm)tarn_ephemeron_new(vm->self, (void *)key, (void *)value)
                                    : cons(vm, key, value));
}

/* 0: it is broken, and key and value are gone. */
static scm ephemeron_part(struct vm *vm, scm v, bool key) {
  scm content = content_of(v);
  if (is_pair(content))
    return key ? car(content) : cdr(content);
  return (scm)(key ? tarn_ephemeron_key(vm->self, (void *)content)
                   : tarn_ephemeron_value(vm->self, (void *)content));
}

#define DEFINE_OF_EPHEMERON(name, function, is_key, result) \
  DEFINE(name, function, 1, 1, is_ephemeron) {              \
    scm part = ephemeron_part(vm, arguments[0], is_key);    \
    return result;                                          \
  }
DEFINE_OF_EPHEMERON("ephemeron-key", ephemeron_key, true, part ? part : SCM_FALSE)
DEFINE_OF_EPHEMERON("ephemeron-value", ephemeron_value, false, part ? part : SCM_FALSE)
DEFINE_OF_EPHEMERON("ephemeron-broken?", ephemeron_is_broken, true, boolean(!part))

DEFINE_PREDICATE("hash-table?", table_is, is_any_table(v))
DEFINE_PREDICATE("weak-box?", weak_box_is, is_weak_box(v))
DEFINE_PREDICATE("ephemeron?", ephemeron_is, is_ephemeron(v))

/* --- begin ----------------------------------------------------------------------------------- */

void table_types(void) {
  types.table = make_type("hash-table", sizeof(struct table), WORD(table, entries), NULL);
  types.weak_box = make_type("weak-box", sizeof(struct weak), WORD(weak, content), NULL);
  types.ephemeron = make_type("ephemeron", sizeof(struct weak), WORD(weak, content), NULL);
  weak_table_type = make_type("weak-hash-table", sizeof(struct weak_table), 0, free_weak_table);
}
