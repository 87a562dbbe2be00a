/* SPDX-License-Identifier: MIT */
/*
 * class.c: classes with single inheritance, their instances, and generic functions.
 *
 *     | type | slot | slot | slot |       an instance; a slot is a managed word or a raw one
 *        |
 *        +--> a Tarn type, whose user word leads to a record outside of the heap, and that to
 *             the class object: | class | name | super | slots | ...
 *
 * Each class has a Tarn type of its own, whose parent is that of the superclass: it grows by the
 * words of its own slots, so a slot lies at the same place in all subclasses.  The type knows which
 * words are raw, and the collector never looks at those: C data lies among Scheme's values without
 * a wrapper around it.  A class without managed slots has its instances in the atomic heap by
 * itself.  Types live as long as their world, and so do classes: the records are roots.
 *
 * A class may have a free function, in C, that releases what the raw slots of a dead instance stand
 * for.  A subclass inherits it or has another.  It can be replaced later, for instances that exist
 * as well (but not for subclasses: they keep what they were made with); a class that shall get one
 * only later is made with `none`, since the dead of classes without one are never looked at.
 *
 * A generic function finds its method by the class of the first argument.  Its methods stand in a
 * table that nobody changes: who adds one makes another table and puts that in its place by compare
 * and swap.  A table also has a cache of what was found.  So calls take no lock, and what a thread
 * remembers in a table that has been replaced meanwhile goes with it.
 */
#include "class.h"
#include <stdlib.h>

#define SLOTS_MOST 63 /* so that a word has a bit for each */

/* What a type's user word leads to. */
struct class_record {
  scm class;
  struct class_record *next;
};
static struct class_record *records; /* atomic; only ever grows */

static void visit_classes(tarn_visitor *visitor, void *data) {
  (void)data;
  for (const struct class_record *record = __atomic_load_n(&records, __ATOMIC_ACQUIRE); record;
       record = record->next)
    tarn_visit(visitor, (const void *)record->class);
}

/* --- free functions -------------------------------------------------------------------------- */

static struct free_function {
  const char *name;
  tarn_free_fn fn;
} free_functions[8]; /* by name, up to one without; written before there are threads */
static size_t freed; /* atomic */

void class_define_free(const char *name, tarn_free_fn fn) {
  struct free_function *entry = free_functions;
  while (entry->name)
    entry++;
  *entry = (struct free_function){name, fn};
}

static void free_nothing(tarn_world *of, void *instance) { (void)of, (void)instance; }

static void free_counting(tarn_world *of, void *instance) {
  (void)of, (void)instance;
  __atomic_fetch_add(&freed, 1, __ATOMIC_RELAXED);
}

/* --- <resource>: memory of malloc's, as an example ------------------------------------------- */

static const tarn_type *resource_type;

/* The memory of an instance begins with its size; NULL: there is none, or it is no resource, as any
 * class may name the free function. */
static size_t *take_memory(void *instance, size_t *other) {
  if (!tarn_type_is_a(tarn_type_of(instance), resource_type))
    return NULL;
  return (size_t *)__atomic_exchange_n(instance_word((scm)instance, CLASS_OWN_WORD), (scm)other,
                                       __ATOMIC_ACQ_REL);
}

static void free_memory(tarn_world *of, void *instance) {
  size_t *memory = take_memory(instance, NULL);
  if (memory)
    (void)tarn_external_adjust(of, -(ptrdiff_t)*memory);
  free(memory);
}

static bool is_resource(scm v) { return is_object(v) && tarn_type_is_a(type_of(v), resource_type); }

/* (allocate-memory! resource bytes); what it had goes */
DEFINE("allocate-memory!", prim_allocate_memory, 2, 2, is_resource) {
  size_t bytes;
  if (!index_argument(vm, who, 2, arguments[1], PTRDIFF_MAX / 2, &bytes))
    return 0;
  size_t *memory = malloc(sizeof *memory + bytes);
  if (!memory)
    return out_of_memory(vm);
  *memory = bytes;
  (void)tarn_external_adjust(world, (ptrdiff_t)bytes);
  size_t *old = take_memory((void *)arguments[0], memory);
  if (old)
    (void)tarn_external_adjust(world, -(ptrdiff_t)*old);
  free(old);
  return arguments[0];
}

/* --- making classes -------------------------------------------------------------------------- */

static size_t slot_count(scm class) { return vector_of(class_at(class)->slots)->count; }
static bool is_raw(scm class, size_t word) { return class_at(class)->raw >> word & 1; }

intptr_t class_slot_index(scm class, scm name, bool *raw) {
  const struct vector *slots = vector_of(class_at(class)->slots);
  for (size_t i = 0; i < slots->count; i++)
    if (is_pair(slots->items[i]) && car(slots->items[i]) == name) {
      *raw = is_raw(class, i + 1);
      return (intptr_t)(i + 1);
    }
  return -1;
}

bool class_is_a(scm class, scm ancestor) {
  while (class != ancestor && is_class(class))
    class = class_at(class)->super;
  return class == ancestor;
}

/* A slot of the class's own is a description, or SCM_FALSE.  False: it cannot be. */
static bool add_slot(struct vm *vm, scm class, scm slot, size_t word) {
  bool raw = slot == SCM_FALSE;
  scm name = raw ? SCM_FALSE : is_pair(slot) ? car(slot) : SCM_NIL;
  scm rest = is_pair(slot) ? cdr(slot) : SCM_NIL;
  if (!raw && !(is_symbol(name) && is_pair(rest)))
    return wrong_type(vm, "%make-class", 3, slot);
  if (!raw && class_slot_index(class, name, &raw) >= 0)
    return raise_error(vm, "error", "%make-class", "two slots have one name", 1, name);
  if (raw || is_true(car(rest)))
    class_at(class)->raw |= (uint64_t)1 << word;
  store(vm, class_at(class)->slots, &vector_of(class_at(class)->slots)->items[word - 1], slot);
  return true;
}

/* The slots of the superclass, if there is one, and then the class's own. */
static bool add_slots(struct vm *vm, scm class, scm own) {
  struct class *c = class_at(class);
  const struct class *super = is_class(c->super) ? class_at(c->super) : NULL;
  size_t at = super ? slot_count(c->super) : 0, count = at + (size_t)list_length(own);
  if (list_length(own) < 0)
    return wrong_type(vm, "%make-class", 3, own);
  if (count > SLOTS_MOST)
    return raise_error(vm, "out-of-range", "%make-class", "too many slots", 1,
                       fixnum((intptr_t)count));
  scm slots = make_vector(vm, count, SCM_FALSE);
  if (!slots)
    return false;
  if (super) {
    memcpy(vector_of(slots)->items, vector_of(super->slots)->items, at * sizeof(scm));
    c->raw = super->raw;
  }
  store(vm, class, &c->slots, slots);
  for (; at < count && is_pair(own); own = cdr(own))
    if (!add_slot(vm, class, car(own), ++at))
      return false;
  return true;
}

static bool add_type(struct vm *vm, scm class, const tarn_type *parent, tarn_free_fn release,
                     struct class_record *record) {
  struct class *c = class_at(class);
  scm name = string_to_utf8(vm, symbol_of(c->name)->name, NULL);
  if (!name)
    return false;
  size_t words = slot_count(class) + 1, inherited = tarn_type_size(parent) / sizeof(scm);
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = (const char *)name;
  spec.parent = parent;
  spec.size = words * sizeof(scm);
  for (size_t word = inherited; word < words; word++)
    spec.slot_bits |= ~c->raw & (uint64_t)1 << word;
  spec.free = release;
  spec.user = record;
  c->instances = tarn_type_create(world, &spec, NULL);
  return c->instances || out_of_memory(vm);
}

/* From here on the class is a root. */
static void add_record(struct class_record *record, scm class) {
  record->class = class;
  record->next = __atomic_load_n(&records, __ATOMIC_RELAXED);
  while (!__atomic_compare_exchange_n(&records, &record->next, record, true, __ATOMIC_RELEASE,
                                      __ATOMIC_RELAXED))
    continue;
}

/* `parent` NULL: a class without instances. */
static scm make_class(struct vm *vm, scm name, scm super, scm slots, const tarn_type *parent,
                      tarn_free_fn release) {
  ROOTS(vm, (void *)&name, (void *)&super, (void *)&slots);
  scm class = (scm)make_object(vm, types.class);
  ROOTS(vm, (void *)&class);
  struct class_record *record = class ? malloc(sizeof *record) : NULL;
  if (!record)
    return out_of_memory(vm);
  class_at(class)->name = name;
  class_at(class)->super = super;
  if (!add_slots(vm, class, slots) || (parent && !add_type(vm, class, parent, release, record))) {
    free(record);
    return 0;
  }
  add_record(record, class);
  return class;
}

scm class_make(struct vm *vm, scm name, scm super, scm slots, tarn_free_fn release) {
  return make_class(vm, name, super, slots, class_at(super)->instances, release);
}

/* --- the classes of all values --------------------------------------------------------------- */

/* Those that are named here, and more; superclasses first.  The type is that of all values that are
 * objects; NULL: there are none, or several types. */
enum kind { TOP, OBJECT, NIL, NUMBER, REAL, INTEGER, BOOLEAN, CHAR, PROCEDURE };
static const struct {
  const char *name;
  enum kind super;
  const tarn_type *const *type;
} builtins[] = {[TOP] = {"<top>", TOP, NULL},
                [OBJECT] = {"<object>", TOP, NULL},
                [NIL] = {"<null>", TOP, NULL},
                [NUMBER] = {"<number>", TOP, NULL},
                [REAL] = {"<real>", NUMBER, &types.flonum},
                [INTEGER] = {"<integer>", REAL, &types.bignum},
                [BOOLEAN] = {"<boolean>", TOP, NULL},
                [CHAR] = {"<char>", TOP, NULL},
                [PROCEDURE] = {"<procedure>", TOP, NULL},
                {"<class>", TOP, &types.class},
                {"<pair>", TOP, &types.pair},
                {"<string>", TOP, &types.string},
                {"<symbol>", TOP, &types.symbol},
                {"<vector>", TOP, &types.vector},
                {"<bytevector>", TOP, &types.bytevector},
                {"<port>", TOP, &types.port},
                {"<hash-table>", TOP, &types.table},
                {"<thread>", TOP, &types.thread},
                {"<condition>", TOP, &types.condition}};
#define KINDS (sizeof builtins / sizeof builtins[0])
static scm builtin[KINDS]; /* written before there are threads; their records keep them */

static enum kind kind_of_word(scm v) {
  return is_fixnum(v)        ? INTEGER
         : is_flonum_word(v) ? REAL
         : is_char(v)        ? CHAR
         : is_boolean(v)     ? BOOLEAN
         : v == SCM_NIL      ? NIL
                             : TOP;
}

scm class_of(struct vm *vm, scm v) {
  (void)vm;
  if (!is_object(v))
    return builtin[kind_of_word(v)];
  if (is_instance(v))
    return ((const struct class_record *)tarn_type_user(type_of(v)))->class;
  for (size_t i = 0; i < KINDS; i++)
    if (builtins[i].type && *builtins[i].type == type_of(v))
      return builtin[i];
  return builtin[is_procedure(v) ? PROCEDURE : TOP];
}

static void make_builtins(struct vm *vm) {
  for (size_t i = 0; i < KINDS; i++) {
    scm name = intern(vm, builtins[i].name);
    must_begin(name != 0);
    ROOTS(vm, (void *)&name);
    builtin[i] = make_class(vm, name, i == TOP ? SCM_FALSE : builtin[builtins[i].super], SCM_NIL,
                            i == OBJECT ? types.instance : NULL, NULL);
    must_begin(builtin[i] != 0);
    must_begin(define_global(vm, name, builtin[i]));
  }
}

scm class_make_own(struct vm *vm, const char *name, tarn_free_fn release) {
  scm symbol = intern(vm, name);
  ROOTS(vm, (void *)&symbol);
  scm slots = symbol ? cons(vm, SCM_FALSE, SCM_NIL) : 0;
  scm class = slots ? class_make(vm, symbol, builtin[OBJECT], slots, release) : 0;
  must_begin(class && define_global(vm, symbol, class));
  return class;
}

/* --- instances ------------------------------------------------------------------------------- */

scm class_allocate(struct vm *vm, scm class) {
  struct instance *instance = make_object(vm, class_at(class)->instances);
  if (!instance)
    return 0;
  for (size_t i = 0, count = slot_count(class); i < count; i++)
    instance->words[i] = is_raw(class, i + 1) ? 0 : SCM_UNBOUND;
  return (scm)instance;
}

/* --- generic functions ----------------------------------------------------------------------- */

/* A table: the methods, as a list of (class . method) that Scheme never sees, and a cache: such
 * pairs, each found by the address of its class, the last one that wanted the place; SCM_FALSE:
 * there was none. */
enum { METHODS, CACHE, CACHE_PLACES = 16 };

static scm make_table(struct vm *vm, scm methods) {
  ROOTS(vm, (void *)&methods);
  scm table = make_vector(vm, CACHE + CACHE_PLACES, SCM_FALSE);
  if (table)
    vector_of(table)->items[METHODS] = methods;
  return table;
}

static scm table_of(scm generic) {
  return __atomic_load_n(&generic_of(generic)->table, __ATOMIC_ACQUIRE);
}

static scm search_methods(scm methods, scm class) {
  for (; is_class(class); class = class_at(class)->super)
    for (scm list = methods; is_pair(list); list = cdr(list))
      if (car(car(list)) == class)
        return cdr(car(list));
  return 0;
}

/* If there is no memory to remember what was found it is found the long way again. */
static scm find_method(struct vm *vm, scm generic, scm class) {
  scm table = table_of(generic);
  scm *place = &vector_of(table)->items[CACHE + (class >> 4) % CACHE_PLACES];
  scm known = __atomic_load_n(place, __ATOMIC_ACQUIRE);
  if (known != SCM_FALSE && car(known) == class)
    return cdr(known);
  scm method = search_methods(vector_of(table)->items[METHODS], class);
  ROOTS(vm, (void *)&table, (void *)&method);
  if (method && (known = cons(vm, class, method))) {
    __atomic_store_n(place, known, __ATOMIC_RELEASE);
    tarn_barrier(vm->self, (void *)table, place);
  }
  return method;
}

static scm no_method(struct vm *vm, scm generic, scm argument) {
  return raise_error(vm, "no-method", NULL, "a generic function has no method for this argument", 2,
                     generic_of(generic)->name, argument);
}

scm generic_find(struct vm *vm, scm generic, int count, const scm *arguments) {
  if (count == 0)
    return raise_error(vm, "no-method", NULL, "a generic function was called without arguments", 1,
                       generic_of(generic)->name);
  scm method = find_method(vm, generic, class_of(vm, arguments[0]));
  return method ? method : no_method(vm, generic, arguments[0]);
}

/* The list with another method for the class. */
static scm with_method(struct vm *vm, scm methods, scm class, scm method) {
  scm list = SCM_NIL;
  ROOTS(vm, (void *)&methods, (void *)&list);
  scm pair = cons(vm, class, method);
  if (!pair)
    return 0;
  for (list = cons(vm, pair, SCM_NIL); list && is_pair(methods); methods = cdr(methods))
    if (car(car(methods)) != class)
      list = cons(vm, car(methods), list);
  return list;
}

/* Again if another thread was faster.  The arguments are the caller's to keep alive. */
static bool add_method(struct vm *vm, scm generic, scm class, scm method) {
  scm *place = &generic_of(generic)->table, old = SCM_FALSE, fresh;
  ROOTS(vm, (void *)&old);
  do {
    old = table_of(generic);
    scm methods = with_method(vm, vector_of(old)->items[METHODS], class, method);
    if (!methods || !(fresh = make_table(vm, methods)))
      return false;
  } while (
      !__atomic_compare_exchange_n(place, &old, fresh, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED));
  tarn_barrier(vm->self, (void *)generic, place);
  return true;
}

/* --- primitives: classes --------------------------------------------------------------------- */

static bool has_instances(scm v) { return is_class(v) && class_at(v)->instances; }
static bool is_free_name(scm v) { return v == SCM_FALSE || is_symbol(v); }

/* Of a symbol; #f is `standard`. */
static bool find_free(struct vm *vm, const char *who, int argument, scm name, tarn_free_fn standard,
                      tarn_free_fn *out) {
  *out = standard;
  if (name == SCM_FALSE)
    return true;
  for (const struct free_function *entry = free_functions; entry->name; entry++)
    if (name == intern(vm, entry->name)) {
      *out = entry->fn;
      return true;
    }
  return out_of_range(vm, who, argument, name);
}

/* (%make-class name super slots free) */
DEFINE("%make-class", prim_make_class, 4, 4, is_symbol, has_instances, is_any, is_free_name) {
  tarn_free_fn release;
  return find_free(vm, who, 4, arguments[3], NULL, &release)
             ? class_make(vm, arguments[0], arguments[1], arguments[2], release)
             : 0;
}

DEFINE("class-name", prim_class_name, 1, 1, is_class) { return class_at(arguments[0])->name; }
DEFINE("class-super", prim_class_super, 1, 1, is_class) { return class_at(arguments[0])->super; }

/* But for those of C's own. */
DEFINE("class-slots", prim_class_slots, 1, 1, is_class) {
  const struct vector *slots = vector_of(class_at(arguments[0])->slots);
  scm list = SCM_NIL;
  for (size_t i = slots->count; list && i-- > 0;)
    if (is_pair(slots->items[i]))
      list = cons(vm, slots->items[i], list);
  return list;
}

DEFINE("subclass?", prim_is_subclass, 2, 2, is_class, is_class) {
  return boolean(class_is_a(arguments[0], arguments[1]));
}

DEFINE("class-of", prim_class_of, 1, 1) { return class_of(vm, arguments[0]); }

DEFINE("class-set-free!", prim_set_free, 2, 2, has_instances, is_free_name) {
  tarn_free_fn release;
  if (!find_free(vm, who, 2, arguments[1], free_nothing, &release))
    return 0;
  if (tarn_type_set_free(class_at(arguments[0])->instances, release) != TARN_OK)
    return raise_error(vm, "error", who, "the class was made without a free function", 1,
                       arguments[0]);
  return SCM_UNSPECIFIED;
}

DEFINE("freed-count", prim_freed_count, 0, 0) {
  return make_integer(vm, (intptr_t)__atomic_load_n(&freed, __ATOMIC_RELAXED));
}

/* --- primitives: instances ------------------------------------------------------------------- */

DEFINE("%allocate", prim_allocate, 1, 1, has_instances) { return class_allocate(vm, arguments[0]); }

/* The number of a slot's word; -1: there is none, and the condition is set. */
static intptr_t find_slot(struct vm *vm, const char *who, const scm *arguments, bool *raw) {
  intptr_t word = class_slot_index(class_of(vm, arguments[0]), arguments[1], raw);
  if (word < 0)
    raise_error(vm, "out-of-range", who, "there is no such slot", 2, arguments[1], arguments[0]);
  return word;
}

DEFINE("slot-ref", prim_slot_ref, 2, 2, is_instance, is_symbol) {
  bool raw = false;
  intptr_t word = find_slot(vm, who, arguments, &raw);
  if (word < 0)
    return 0;
  scm value = *instance_word(arguments[0], word);
  if (raw)
    return make_integer(vm, (intptr_t)value);
  if (value == SCM_UNBOUND)
    return raise_error(vm, "unbound", who, "the slot has no value", 2, arguments[1], arguments[0]);
  return value;
}

DEFINE("slot-set!", prim_slot_set, 3, 3, is_instance, is_symbol) {
  bool raw = false;
  int64_t integer;
  scm value = arguments[2];
  intptr_t word = find_slot(vm, who, arguments, &raw);
  if (word < 0)
    return 0;
  if (raw && !is_integer_object(value))
    return wrong_type(vm, who, 3, value);
  if (raw && !integer_to_int64(value, &integer))
    return out_of_range(vm, who, 3, value);
  if (raw)
    *instance_word(arguments[0], word) = (scm)integer;
  else
    store(vm, arguments[0], instance_word(arguments[0], word), value);
  return SCM_UNSPECIFIED;
}

DEFINE("slot-bound?", prim_is_bound, 2, 2, is_instance, is_symbol) {
  bool raw = false;
  intptr_t word = find_slot(vm, who, arguments, &raw);
  return word < 0 ? 0 : boolean(raw || *instance_word(arguments[0], word) != SCM_UNBOUND);
}

/* --- primitives: generic functions ----------------------------------------------------------- */

/* The one that the global variable of this name holds, so that a definition can be repeated and
 * classes can share an accessor; else a new one. */
DEFINE("%make-generic", prim_make_generic, 1, 1, is_symbol) {
  scm value = global_ref(arguments[0]);
  if (is_generic(value))
    return value;
  scm table = make_table(vm, SCM_NIL);
  ROOTS(vm, (void *)&table);
  struct generic *generic = table ? make_object(vm, types.generic) : NULL;
  if (!generic)
    return 0;
  generic->name = arguments[0];
  generic->table = table;
  return (scm)generic;
}

DEFINE_PREDICATE("generic?", prim_is_generic, is_generic(v))

/* (%add-method! generic class method); gives the generic function */
DEFINE("%add-method!", prim_add_method, 3, 3, is_generic, is_class, is_procedure) {
  return add_method(vm, arguments[0], arguments[1], arguments[2]) ? arguments[0] : 0;
}

/* (%find-next-method generic class instance): the method of the nearest class above the class */
DEFINE("%find-next-method", prim_find_next_method, 3, 3, is_generic, is_class) {
  scm super = class_at(arguments[1])->super;
  scm method = is_class(super) ? find_method(vm, arguments[0], super) : 0;
  return method ? method : no_method(vm, arguments[0], arguments[2]);
}

/* --- begin ----------------------------------------------------------------------------------- */

/* Of a class or a generic function. */
static int print_named(const void *object, char *buffer, size_t size) {
  const struct class *named = object;
  scm name = symbol_of(named->name)->name;
  char text[64];
  size_t count = 0;
  for (; count < string_of(name)->length && count < sizeof text - 1; count++)
    text[count] = string_ref(name, count) < 0x80 ? (char)string_ref(name, count) : '?';
  text[count] = 0;
  return snprintf(buffer, size, "#<%s %s>", tarn_type_name(named->type), text);
}
_Static_assert(offsetof(struct class, name) == offsetof(struct generic, name), "see print_named");

void class_types(void) {
  types.class = make_type("class", sizeof(struct class),
                          WORD(class, name) | WORD(class, super) | WORD(class, slots), NULL);
  types.generic = make_type("generic", sizeof(struct generic),
                            WORD(generic, name) | WORD(generic, table), NULL);
  types.instance = make_type("instance", sizeof(struct instance), 0, NULL);
  (void)tarn_type_set_print(types.class, print_named);
  (void)tarn_type_set_print(types.generic, print_named);
}

void class_begin(struct vm *vm) {
  must_begin(tarn_root_provider_add(world, visit_classes, NULL) == TARN_OK);
  class_define_free("none", free_nothing);
  class_define_free("count-free", free_counting);
  class_define_free("free-memory", free_memory);
  make_builtins(vm);
  resource_type = class_at(class_make_own(vm, "<resource>", free_memory))->instances;
}
