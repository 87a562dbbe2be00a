/* SPDX-License-Identifier: MIT */
/*
 * list.c: pairs and lists, vectors, bytevectors, and small things that belong to no
 * other file: records and conditions as the prelude needs them, and the collector's own calls.
 *
 * Lists are checked before they are used where that is cheap; a list that is walked while another
 * thread changes it may give any result, but is never followed beyond a pair, and the pair at hand
 * stays rooted where anything is allocated: the cursor is the argument's own word on the VM's
 * stack. A walk that may never end looks for a circle in a way that costs a compare: the pair that
 * was met at the last power of two is met again.
 */
#include "scheme.h"

/* --- circles --------------------------------------------------------------------------------- */

struct circle {
  scm mark;
  size_t steps, limit;
};
#define CIRCLE_BEGIN(start) \
  { .mark = (start), .limit = 1 }

/* Was `v`, where a walk is now, met before? */
static inline bool circle_closes(struct circle *circle, scm v) {
  if (v == circle->mark)
    return true;
  if (++circle->steps == circle->limit) {
    circle->mark = v;
    circle->limit *= 2;
  }
  return false;
}

/* The number of pairs, and what comes behind them; -1: it is circular. */
static intptr_t count_pairs(scm list, scm *rest) {
  intptr_t count = 0;
  struct circle circle = CIRCLE_BEGIN(list);
  while (is_pair(list)) {
    list = cdr(list);
    count++;
    if (circle_closes(&circle, list))
      return -1;
  }
  *rest = list;
  return count;
}

intptr_t list_length(scm list) {
  scm rest = SCM_NIL;
  intptr_t count = count_pairs(list, &rest);
  return rest == SCM_NIL ? count : -1;
}

/* --- arguments ------------------------------------------------------------------------------- */

/* A whole number from 0 to `most`. */
bool index_argument(struct vm *vm, const char *who, int argument, scm v, size_t most, size_t *out) {
  *out = 0;
  if (!is_fixnum(v))
    return wrong_type(vm, who, argument, v);
  if (fixnum_value(v) < 0 || (size_t)fixnum_value(v) > most)
    return out_of_range(vm, who, argument, v);
  *out = (size_t)fixnum_value(v);
  return true;
}

/* -1: no list, and the condition is set. */
static intptr_t length_argument(struct vm *vm, const char *who, int argument, scm list) {
  intptr_t length = list_length(list);
  if (length < 0)
    wrong_type(vm, who, argument, list);
  return length;
}

bool get_range(struct vm *vm, const char *who, int count, const scm *arguments, int first,
               size_t length, size_t *start, size_t *end) {
  *start = 0;
  *end = length;
  return (count <= first + 1 ||
          index_argument(vm, who, first + 2, arguments[first + 1], length, end)) &&
         (count <= first || index_argument(vm, who, first + 1, arguments[first], *end, start));
}

_Static_assert(offsetof(struct vector, count) == offsetof(struct bytevector, count) &&
                   offsetof(struct vector, count) == offsetof(struct string, length),
               "sequences have their length in one place");

bool sequence_argument(struct vm *vm, const char *who, const tarn_type *type, const scm *arguments,
                       int which, size_t *length) {
  *length = 0;
  if (!has_type(arguments[which], type))
    return wrong_type(vm, who, which + 1, arguments[which]);
  *length = vector_of(arguments[which])->count;
  return true;
}

bool item_arguments(struct vm *vm, const char *who, const tarn_type *type, const scm *arguments,
                    size_t *at) {
  size_t length;
  if (!sequence_argument(vm, who, type, arguments, 0, &length) ||
      !index_argument(vm, who, 2, arguments[1], FIXNUM_MAX, at))
    return false;
  return *at < length || out_of_range(vm, who, 2, arguments[1]);
}

bool part_arguments(struct vm *vm, const char *who, const tarn_type *type, int count,
                    const scm *arguments, int which, int first, size_t *start, size_t *end) {
  size_t length;
  return sequence_argument(vm, who, type, arguments, which, &length) &&
         get_range(vm, who, count, arguments, first, length, start, end);
}

bool copy_arguments(struct vm *vm, const char *who, const tarn_type *type, int count,
                    const scm *arguments, size_t *at, size_t *start, size_t *end) {
  size_t length;
  if (!sequence_argument(vm, who, type, arguments, 0, &length) ||
      !index_argument(vm, who, 2, arguments[1], length, at) ||
      !part_arguments(vm, who, type, count, arguments, 2, 3, start, end))
    return false;
  return *end - *start <= length - *at || out_of_range(vm, who, 2, arguments[1]);
}

/* --- equivalence ----------------------------------------------------------------------------- */

PRIMITIVE(prim_is_eq) { return boolean(arguments[0] == arguments[1]); }
PRIMITIVE(prim_is_eqv) { return boolean(is_eqv(arguments[0], arguments[1])); }

PRIMITIVE(prim_is_equal) {
  int same = is_equal(vm, arguments[0], arguments[1], 0);
  return same < 0 ? 0 : boolean(same);
}

/* --- predicates ------------------------------------------------------------------------------ */

#define PREDICATES(X)                                    \
  X("not", prim_not, v == SCM_FALSE)                     \
  X("boolean?", prim_is_boolean, is_boolean(v))          \
  X("null?", prim_is_null, v == SCM_NIL)                 \
  X("pair?", prim_is_pair, is_pair(v))                   \
  X("list?", prim_is_list, list_length(v) >= 0)          \
  X("symbol?", prim_is_symbol, is_symbol(v))             \
  X("char?", prim_is_char, is_char(v))                   \
  X("string?", prim_is_string, is_string(v))             \
  X("vector?", prim_is_vector, is_vector(v))             \
  X("bytevector?", prim_is_bytevector, is_bytevector(v)) \
  X("procedure?", prim_is_procedure, is_procedure(v))    \
  X("promise?", prim_is_promise, is_promise(v))          \
  X("condition?", prim_is_condition, is_condition(v))    \
  X("error-object?", prim_is_error_object, is_condition(v))
PREDICATES(DEFINE_PREDICATE)

/* All are of one kind, and are they the same? */
static scm are_same(struct vm *vm, const char *who, int count, const scm *arguments,
                    bool (*of_kind)(scm)) {
  bool same = true;
  for (int i = 0; i < count; i++) {
    if (!of_kind(arguments[i]))
      return wrong_type(vm, who, i + 1, arguments[i]);
    same = same && arguments[i] == arguments[0];
  }
  return boolean(same);
}

PRIMITIVE(prim_boolean_equal) { return are_same(vm, "boolean=?", count, arguments, is_boolean); }
PRIMITIVE(prim_symbol_equal) { return are_same(vm, "symbol=?", count, arguments, is_symbol); }

/* --- pairs ----------------------------------------------------------------------------------- */

/* The letters of the name say the way, from the last to the first. */
static scm follow(struct vm *vm, const char *who, scm whole) {
  scm v = whole;
  for (size_t at = strlen(who) - 2; at > 0; at--) {
    if (!is_pair(v))
      return wrong_type(vm, who, 1, whole);
    v = who[at] == 'a' ? car(v) : cdr(v);
  }
  return v;
}

/* clang-format off */
#define ACCESSORS(X)                                                                        \
  X(a) X(d) X(aa) X(ad) X(da) X(dd) X(aaa) X(aad) X(ada) X(add) X(daa) X(dad) X(dda) X(ddd) \
  X(aaaa) X(aaad) X(aada) X(aadd) X(adaa) X(adad) X(adda) X(addd)                           \
  X(daaa) X(daad) X(dada) X(dadd) X(ddaa) X(ddad) X(ddda) X(dddd)
/* clang-format on */
#define DEFINE_ACCESSOR(way) \
  PRIMITIVE(prim_c##way##r) { return follow(vm, "c" #way "r", arguments[0]); }
ACCESSORS(DEFINE_ACCESSOR)

PRIMITIVE(prim_cons) { return cons(vm, arguments[0], arguments[1]); }

PRIMITIVE(prim_set_car) {
  if (!is_pair(arguments[0]))
    return wrong_type(vm, "set-car!", 1, arguments[0]);
  store(vm, arguments[0], &pair_of(arguments[0])->car, arguments[1]);
  return SCM_UNSPECIFIED;
}

PRIMITIVE(prim_set_cdr) {
  if (!is_pair(arguments[0]))
    return wrong_type(vm, "set-cdr!", 1, arguments[0]);
  store(vm, arguments[0], &pair_of(arguments[0])->cdr, arguments[1]);
  return SCM_UNSPECIFIED;
}

/* --- lists ----------------------------------------------------------------------------------- */

/* A list that grows at its end.  Both words are roots of whoever builds it. */
struct builder {
  scm head, last;
};
#define BUILDER(vm, name)                   \
  struct builder name = {SCM_NIL, SCM_NIL}; \
  ROOTS(vm, (void *)&name.head, (void *)&name.last)

/* The list goes on with this. */
static void link_last(struct vm *vm, struct builder *builder, scm rest) {
  if (builder->head == SCM_NIL)
    builder->head = rest;
  else
    store(vm, builder->last, &pair_of(builder->last)->cdr, rest);
}

/* Adds at most `most` of a list's items; the cursor is a root. */
static bool add_items(struct vm *vm, struct builder *builder, scm *cursor, intptr_t most) {
  for (; most > 0 && is_pair(*cursor); most--, *cursor = cdr(*cursor)) {
    scm pair = cons(vm, car(*cursor), SCM_NIL);
    if (!pair)
      return false;
    link_last(vm, builder, pair);
    builder->last = pair;
  }
  return true;
}

PRIMITIVE(prim_list) { return list_of(vm, (size_t)count, arguments); }

PRIMITIVE(prim_cons_star) {
  scm list = arguments[count - 1];
  for (int i = count - 1; i > 0 && list; i--)
    list = cons(vm, arguments[i - 1], list);
  return list;
}

PRIMITIVE(prim_length) {
  intptr_t length = length_argument(vm, "length", 1, arguments[0]);
  return length < 0 ? 0 : fixnum(length);
}

PRIMITIVE(prim_append) {
  BUILDER(vm, result);
  for (int i = 0; i < count - 1; i++) {
    intptr_t length = length_argument(vm, "append", i + 1, arguments[i]);
    if (length < 0 || !add_items(vm, &result, &arguments[i], length))
      return 0;
  }
  if (count > 0)
    link_last(vm, &result, arguments[count - 1]);
  return result.head;
}

PRIMITIVE(prim_list_copy) {
  BUILDER(vm, result);
  scm rest;
  intptr_t pairs = count_pairs(arguments[0], &rest);
  if (pairs < 0)
    return wrong_type(vm, "list-copy", 1, arguments[0]);
  if (!add_items(vm, &result, &arguments[0], pairs))
    return 0;
  link_last(vm, &result, arguments[0]);
  return result.head;
}

PRIMITIVE(prim_reverse) {
  scm list = SCM_NIL;
  if (length_argument(vm, "reverse", 1, arguments[0]) < 0)
    return 0;
  for (; is_pair(arguments[0]) && list; arguments[0] = cdr(arguments[0]))
    list = cons(vm, car(arguments[0]), list);
  return list;
}

PRIMITIVE(prim_reverse_into) {
  scm list = SCM_NIL, at = arguments[0];
  if (length_argument(vm, "reverse!", 1, at) < 0)
    return 0;
  while (is_pair(at)) {
    scm next = cdr(at);
    store(vm, at, &pair_of(at)->cdr, list);
    list = at;
    at = next;
  }
  return list;
}

/* Behind the first k pairs, k being the second argument; 0: failed. */
static scm tail_argument(struct vm *vm, const char *who, const scm *arguments) {
  size_t k;
  scm list = arguments[0];
  if (!index_argument(vm, who, 2, arguments[1], FIXNUM_MAX, &k))
    return 0;
  for (; k > 0; k--, list = cdr(list))
    if (!is_pair(list))
      return out_of_range(vm, who, 2, arguments[1]);
  return list;
}

PRIMITIVE(prim_list_tail) { return tail_argument(vm, "list-tail", arguments); }

PRIMITIVE(prim_list_ref) {
  scm list = tail_argument(vm, "list-ref", arguments);
  if (list && !is_pair(list))
    return out_of_range(vm, "list-ref", 2, arguments[1]);
  return list ? car(list) : 0;
}

static int are_eq(struct vm *vm, scm a, scm b, scm list) { return (void)vm, (void)list, a == b; }
static int are_eqv(struct vm *vm, scm a, scm b, scm list) {
  return (void)vm, (void)list, is_eqv(a, b);
}

/* The first pair of the list whose car, or whose car's car, is the same as the key; inlined for
 * each way to compare.  As that may poll, what was found is looked at again. */
static inline scm search(struct vm *vm, const char *who, const scm *arguments,
                         int (*compare)(struct vm *, scm, scm, scm), bool by_key) {
  scm key = arguments[0], list = arguments[1];
  struct circle circle = CIRCLE_BEGIN(list);
  while (is_pair(list)) {
    scm item = car(list);
    if (by_key && !is_pair(item))
      return wrong_type(vm, who, 2, arguments[1]);
    int same = compare(vm, key, by_key ? car(item) : item, list);
    if (same)
      return same < 0 ? 0 : by_key ? car(list) : list;
    list = cdr(list);
    if (circle_closes(&circle, list))
      break;
  }
  return list == SCM_NIL ? SCM_FALSE : wrong_type(vm, who, 2, arguments[1]);
}

PRIMITIVE(prim_memq) { return search(vm, "memq", arguments, are_eq, false); }
PRIMITIVE(prim_memv) { return search(vm, "memv", arguments, are_eqv, false); }
PRIMITIVE(prim_member) { return search(vm, "member", arguments, is_equal, false); }
PRIMITIVE(prim_assq) { return search(vm, "assq", arguments, are_eq, true); }
PRIMITIVE(prim_assv) { return search(vm, "assv", arguments, are_eqv, true); }
PRIMITIVE(prim_assoc) { return search(vm, "assoc", arguments, is_equal, true); }

/* --- vectors --------------------------------------------------------------------------------- */

PRIMITIVE(prim_make_vector) {
  size_t length;
  if (!index_argument(vm, "make-vector", 1, arguments[0], FIXNUM_MAX, &length))
    return 0;
  return make_vector(vm, length, count > 1 ? arguments[1] : SCM_UNSPECIFIED);
}

PRIMITIVE(prim_vector) {
  scm vector = (scm)make_array(vm, types.vector, (size_t)count);
  if (vector)
    memcpy(vector_of(vector)->items, arguments, (size_t)count * sizeof(scm));
  return vector;
}

PRIMITIVE(prim_vector_length) {
  size_t length;
  bool good = sequence_argument(vm, "vector-length", types.vector, arguments, 0, &length);
  return good ? fixnum((intptr_t)length) : 0;
}

PRIMITIVE(prim_vector_ref) {
  size_t at;
  bool good = item_arguments(vm, "vector-ref", types.vector, arguments, &at);
  return good ? vector_of(arguments[0])->items[at] : 0;
}

PRIMITIVE(prim_vector_set) {
  size_t at;
  if (!item_arguments(vm, "vector-set!", types.vector, arguments, &at))
    return 0;
  store(vm, arguments[0], &vector_of(arguments[0])->items[at], arguments[2]);
  return SCM_UNSPECIFIED;
}

PRIMITIVE(prim_vector_to_list) {
  size_t start, end;
  if (!part_arguments(vm, "vector->list", types.vector, count, arguments, 0, 1, &start, &end))
    return 0;
  return list_of(vm, end - start, vector_of(arguments[0])->items + start);
}

PRIMITIVE(prim_list_to_vector) {
  intptr_t length = length_argument(vm, "list->vector", 1, arguments[0]);
  scm vector = length < 0 ? 0 : make_vector(vm, (size_t)length, SCM_UNSPECIFIED);
  scm list = arguments[0];
  for (intptr_t i = 0; vector && i < length && is_pair(list); i++, list = cdr(list))
    vector_of(vector)->items[i] = car(list);
  return vector;
}

PRIMITIVE(prim_vector_fill) {
  size_t start, end;
  if (!part_arguments(vm, "vector-fill!", types.vector, count, arguments, 0, 2, &start, &end))
    return 0;
  struct vector *vector = vector_of(arguments[0]);
  for (size_t i = start; i < end; i++)
    vector->items[i] = arguments[1];
  tarn_barrier_range(vm->self, vector, vector->items + start, end - start);
  return SCM_UNSPECIFIED;
}

/* --- bytevectors ----------------------------------------------------------------------------- */

PRIMITIVE(prim_make_bytevector) {
  size_t length, byte = 0;
  if (!index_argument(vm, "make-bytevector", 1, arguments[0], FIXNUM_MAX, &length) ||
      (count > 1 && !index_argument(vm, "make-bytevector", 2, arguments[1], 255, &byte)))
    return 0;
  scm result = make_bytevector(vm, length);
  if (result && byte != 0)
    memset(bytevector_of(result)->bytes, (int)byte, length);
  return result;
}

PRIMITIVE(prim_bytevector) {
  size_t byte;
  scm result = make_bytevector(vm, (size_t)count);
  ROOTS(vm, (void *)&result);
  for (int i = 0; result && i < count; i++) {
    if (!index_argument(vm, "bytevector", i + 1, arguments[i], 255, &byte))
      return 0;
    bytevector_of(result)->bytes[i] = (uint8_t)byte;
  }
  return result;
}

PRIMITIVE(prim_bytevector_length) {
  size_t length;
  bool good = sequence_argument(vm, "bytevector-length", types.bytevector, arguments, 0, &length);
  return good ? fixnum((intptr_t)length) : 0;
}

PRIMITIVE(prim_bytevector_ref) {
  size_t at;
  bool good = item_arguments(vm, "bytevector-u8-ref", types.bytevector, arguments, &at);
  return good ? fixnum(bytevector_of(arguments[0])->bytes[at]) : 0;
}

PRIMITIVE(prim_bytevector_set) {
  size_t at, byte;
  if (!item_arguments(vm, "bytevector-u8-set!", types.bytevector, arguments, &at) ||
      !index_argument(vm, "bytevector-u8-set!", 3, arguments[2], 255, &byte))
    return 0;
  bytevector_of(arguments[0])->bytes[at] = (uint8_t)byte;
  return SCM_UNSPECIFIED;
}

/* --- both: items of eight bytes or of one, in one place ----------------------------------------
 */

_Static_assert(offsetof(struct vector, items) == offsetof(struct bytevector, bytes), "layout");

static size_t item_size(const tarn_type *type) { return type == types.vector ? sizeof(scm) : 1; }

static uint8_t *item_at(scm v, size_t at) {
  return bytevector_of(v)->bytes + at * item_size(type_of(v));
}

static scm copy_array(struct vm *vm, const char *who, const tarn_type *type, int count,
                      const scm *arguments) {
  size_t start, end;
  if (!part_arguments(vm, who, type, count, arguments, 0, 1, &start, &end))
    return 0;
  scm copy = (scm)make_array(vm, type, end - start);
  if (copy)
    memcpy(item_at(copy, 0), item_at(arguments[0], start), (end - start) * item_size(type));
  return copy;
}

static scm append_arrays(struct vm *vm, const char *who, const tarn_type *type, int count,
                         const scm *arguments) {
  size_t length, total = 0, at = 0;
  for (int i = 0; i < count; i++, total += length)
    if (!sequence_argument(vm, who, type, arguments, i, &length))
      return 0;
  scm whole = (scm)make_array(vm, type, total);
  for (int i = 0; whole && i < count; i++) {
    length = vector_of(arguments[i])->count;
    memcpy(item_at(whole, at), item_at(arguments[i], 0), length * item_size(type));
    at += length;
  }
  return whole;
}

static scm copy_array_into(struct vm *vm, const char *who, const tarn_type *type, int count,
                           const scm *arguments) {
  size_t at, start, end;
  if (!copy_arguments(vm, who, type, count, arguments, &at, &start, &end))
    return 0;
  uint8_t *to = item_at(arguments[0], at), *from = item_at(arguments[2], start);
  if (type == types.vector)
    tarn_store_range(vm->self, (void *)arguments[0], (void **)to, (void *const *)from, end - start);
  else
    memmove(to, from, end - start);
  return SCM_UNSPECIFIED;
}

#define DEFINE_FOR_BOTH(operation, suffix, name)                                  \
  PRIMITIVE(prim_vector_##suffix) {                                               \
    return operation(vm, "vector-" name, types.vector, count, arguments);         \
  }                                                                               \
  PRIMITIVE(prim_bytevector_##suffix) {                                           \
    return operation(vm, "bytevector-" name, types.bytevector, count, arguments); \
  }
DEFINE_FOR_BOTH(copy_array, copy, "copy")
DEFINE_FOR_BOTH(append_arrays, append, "append")
DEFINE_FOR_BOTH(copy_array_into, copy_into, "copy!")

/* --- records: what define-record-type becomes ------------------------------------------------ */

PRIMITIVE(prim_make_record) { /* kind field ... */
  scm record = make_record(vm, arguments[0], (size_t)count - 1);
  if (record)
    memcpy(record_of(record)->fields, arguments + 1, ((size_t)count - 1) * sizeof(scm));
  return record;
}

PRIMITIVE(prim_is_record) { /* v [kind] */
  return boolean(is_record(arguments[0]) &&
                 (count == 1 || record_of(arguments[0])->kind == arguments[1]));
}

/* It was `who`, a symbol, that failed. */
scm bad_field(struct vm *vm, const scm *arguments) {
  scm who = 0;
  ROOTS(vm, (void *)&who);
  if (!is_symbol(arguments[3]))
    return wrong_type(vm, "%record-ref", 4, arguments[3]);
  who = string_to_utf8(vm, symbol_of(arguments[3])->name, NULL);
  return who ? wrong_type(vm, (const char *)who, 1, arguments[0]) : 0;
}

/* Of: record, kind, index, who.  NULL: failed. */
static scm *field_argument(struct vm *vm, const scm *arguments) {
  scm v = arguments[0], at = arguments[2];
  if (is_record(v) && record_of(v)->kind == arguments[1] && is_fixnum(at) &&
      fixnum_value(at) >= 0 && (size_t)fixnum_value(at) < record_of(v)->count)
    return &record_of(v)->fields[fixnum_value(at)];
  return (scm *)bad_field(vm, arguments);
}

PRIMITIVE(prim_record_ref) {
  const scm *field = field_argument(vm, arguments);
  return field ? *field : 0;
}

PRIMITIVE(prim_record_set) { /* record kind index who value */
  scm *field = field_argument(vm, arguments);
  if (!field)
    return 0;
  store(vm, arguments[0], field, arguments[4]);
  return SCM_UNSPECIFIED;
}

/* --- conditions ------------------------------------------------------------------------------ */

PRIMITIVE(prim_make_condition) { /* kind who message irritants */
  if (!is_symbol(arguments[0]) || (!is_symbol(arguments[1]) && arguments[1] != SCM_FALSE) ||
      !is_string(arguments[2]) || list_length(arguments[3]) < 0)
    return raise_error(vm, "wrong-type", "%make-condition", "wrong arguments", 0);
  struct condition *condition = make_object(vm, types.condition);
  if (!condition)
    return 0;
  condition->kind = arguments[0];
  condition->who = arguments[1];
  condition->message = arguments[2];
  condition->irritants = arguments[3];
  return (scm)condition;
}

/* Those that give a field of their argument. */
#define FIELDS(X)                                   \
  X(condition, kind, "condition-kind")              \
  X(condition, who, "condition-who")                \
  X(condition, message, "error-object-message")     \
  X(condition, irritants, "error-object-irritants") \
  X(parameter, converter, "%parameter-converter")
#define DEFINE_FIELD(type, field, name)             \
  PRIMITIVE(prim_##type##_##field) {                \
    if (!is_##type(arguments[0]))                   \
      return wrong_type(vm, name, 1, arguments[0]); \
    return type##_of(arguments[0])->field;          \
  }
#define FIELD_ENTRY(type, field, name) {name, prim_##type##_##field, 1, 1},
FIELDS(DEFINE_FIELD)

/* --- parameters ------------------------------------------------------------------------------ */

PRIMITIVE(prim_make_parameter) { /* value converter */
  struct parameter *parameter = make_object(vm, types.parameter);
  if (!parameter)
    return 0;
  parameter->value = arguments[0];
  parameter->converter = arguments[1];
  return (scm)parameter;
}

/* --- the collector --------------------------------------------------------------------------- */

PRIMITIVE(prim_gc) { /* [#t: the young generation only] */
  bool young = count > 0 && is_true(arguments[0]);
  tarn_status status = tarn_collect(vm->self, young ? 0 : TARN_GENERATION_FULL);
  return status == TARN_OK ? SCM_UNSPECIFIED
                           : raise_error(vm, "system", "gc", tarn_strerror(status), 0);
}

/* An association list of the numbers that a program can use. */
PRIMITIVE(prim_statistics) {
#define NUMBER(field) \
  { #field, offsetof(tarn_stats, field) }
  static const struct {
    const char *name;
    size_t offset;
  } numbers[] = {NUMBER(collections),     NUMBER(collections_asked),
                 NUMBER(pause_last_ns),   NUMBER(pause_max_ns),
                 NUMBER(pause_median_ns), NUMBER(pause_total_ns),
                 NUMBER(stop_max_ns),     NUMBER(mark_last_ns),
                 NUMBER(threads),         NUMBER(heap_bytes),
                 NUMBER(heap_bytes_max),  NUMBER(live_bytes),
                 NUMBER(live_objects),    NUMBER(allocated_bytes),
                 NUMBER(external_bytes),  NUMBER(returned_bytes),
                 NUMBER(released),        NUMBER(finalizers_run),
                 NUMBER(weak_cleared),    NUMBER(types)};
#undef NUMBER
  tarn_stats stats = {.struct_size = sizeof stats};
  (void)tarn_stats_get(world, &stats);
  scm list = SCM_NIL, name = SCM_NIL;
  ROOTS(vm, (void *)&list, (void *)&name);
  for (size_t i = sizeof numbers / sizeof numbers[0]; i-- > 0 && list;) {
    uint64_t value;
    memcpy(&value, (const char *)&stats + numbers[i].offset, sizeof value);
    name = intern(vm, numbers[i].name);
    scm number = name ? make_integer(vm, (intptr_t)value) : 0;
    scm entry = number ? cons(vm, name, number) : 0;
    list = entry ? cons(vm, entry, list) : 0;
  }
  return list;
}

/* --- begin ----------------------------------------------------------------------------------- */

#define ACCESSOR_ENTRY(way) {"c" #way "r", prim_c##way##r, 1, 1},

static const struct primitive_def defs[] = {                                  //
    ACCESSORS(ACCESSOR_ENTRY) PREDICATES(PREDICATE_ENTRY) FIELDS(FIELD_ENTRY) //
    {"eq?", prim_is_eq, 2, 2},
    {"eqv?", prim_is_eqv, 2, 2},
    {"equal?", prim_is_equal, 2, 2},
    {"boolean=?", prim_boolean_equal, 1, -1},
    {"symbol=?", prim_symbol_equal, 1, -1},
    {"cons", prim_cons, 2, 2},
    {"set-car!", prim_set_car, 2, 2},
    {"set-cdr!", prim_set_cdr, 2, 2},
    {"list", prim_list, 0, -1},
    {"cons*", prim_cons_star, 1, -1},
    {"length", prim_length, 1, 1},
    {"append", prim_append, 0, -1},
    {"reverse", prim_reverse, 1, 1},
    {"reverse!", prim_reverse_into, 1, 1},
    {"list-tail", prim_list_tail, 2, 2},
    {"list-ref", prim_list_ref, 2, 2},
    {"list-copy", prim_list_copy, 1, 1},
    {"memq", prim_memq, 2, 2},
    {"memv", prim_memv, 2, 2},
    {"%member", prim_member, 2, 2},
    {"assq", prim_assq, 2, 2},
    {"assv", prim_assv, 2, 2},
    {"%assoc", prim_assoc, 2, 2},
    {"make-vector", prim_make_vector, 1, 2},
    {"vector", prim_vector, 0, -1},
    {"vector-length", prim_vector_length, 1, 1},
    {"vector-ref", prim_vector_ref, 2, 2},
    {"vector-set!", prim_vector_set, 3, 3},
    {"vector->list", prim_vector_to_list, 1, 3},
    {"list->vector", prim_list_to_vector, 1, 1},
    {"vector-fill!", prim_vector_fill, 2, 4},
    {"vector-copy", prim_vector_copy, 1, 3},
    {"vector-copy!", prim_vector_copy_into, 3, 5},
    {"vector-append", prim_vector_append, 0, -1},
    {"make-bytevector", prim_make_bytevector, 1, 2},
    {"bytevector", prim_bytevector, 0, -1},
    {"bytevector-length", prim_bytevector_length, 1, 1},
    {"bytevector-u8-ref", prim_bytevector_ref, 2, 2},
    {"bytevector-u8-set!", prim_bytevector_set, 3, 3},
    {"bytevector-copy", prim_bytevector_copy, 1, 3},
    {"bytevector-copy!", prim_bytevector_copy_into, 3, 5},
    {"bytevector-append", prim_bytevector_append, 0, -1},
    {"%make-record", prim_make_record, 1, -1},
    {"%record?", prim_is_record, 1, 2},
    {"%record-ref", prim_record_ref, 4, 4},
    {"%record-set!", prim_record_set, 5, 5},
    {"%make-condition", prim_make_condition, 4, 4},
    {"%make-parameter", prim_make_parameter, 2, 2},
    {"gc", prim_gc, 0, 1},
    {"runtime-statistics", prim_statistics, 0, 0},
    {NULL, NULL, 0, 0}};

void list_begin(struct vm *vm) { define_primitives(vm, defs); }
