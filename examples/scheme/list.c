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

_Static_assert(offsetof(struct vector, count) == offsetof(struct bytevector, count) &&
                   offsetof(struct vector, count) == offsetof(struct string, length),
               "sequences have their length in one place");
static size_t length_of(scm sequence) { return vector_of(sequence)->count; }

bool item_argument(struct vm *vm, const char *who, const scm *arguments, size_t *at) {
  if (!index_argument(vm, who, 2, arguments[1], FIXNUM_MAX, at))
    return false;
  return *at < length_of(arguments[0]) || out_of_range(vm, who, 2, arguments[1]);
}

bool part_arguments(struct vm *vm, const char *who, int count, const scm *arguments, int which,
                    int first, size_t *start, size_t *end) {
  *start = 0;
  *end = length_of(arguments[which]);
  return (count <= first + 1 ||
          index_argument(vm, who, first + 2, arguments[first + 1], *end, end)) &&
         (count <= first || index_argument(vm, who, first + 1, arguments[first], *end, start));
}

bool copy_arguments(struct vm *vm, const char *who, int count, const scm *arguments, size_t *at,
                    size_t *start, size_t *end) {
  size_t length = length_of(arguments[0]);
  if (!index_argument(vm, who, 2, arguments[1], length, at) ||
      !part_arguments(vm, who, count, arguments, 2, 3, start, end))
    return false;
  return *end - *start <= length - *at || out_of_range(vm, who, 2, arguments[1]);
}

/* --- equivalence ----------------------------------------------------------------------------- */

DEFINE("eq?", prim_is_eq, 2, 2) { return boolean(arguments[0] == arguments[1]); }
DEFINE("eqv?", prim_is_eqv, 2, 2) { return boolean(is_eqv(arguments[0], arguments[1])); }

DEFINE("equal?", prim_is_equal, 2, 2) {
  int same = is_equal(vm, arguments[0], arguments[1], 0);
  return same < 0 ? 0 : boolean(same);
}

/* --- predicates ------------------------------------------------------------------------------ */

static bool is_list(scm v) { return list_length(v) >= 0; }

DEFINE_PREDICATE("not", prim_not, v == SCM_FALSE)
DEFINE_PREDICATE("boolean?", prim_is_boolean, is_boolean(v))
DEFINE_PREDICATE("null?", prim_is_null, v == SCM_NIL)
DEFINE_PREDICATE("pair?", prim_is_pair, is_pair(v))
DEFINE_PREDICATE("list?", prim_is_list, is_list(v))
DEFINE_PREDICATE("symbol?", prim_is_symbol, is_symbol(v))
DEFINE_PREDICATE("char?", prim_is_char, is_char(v))
DEFINE_PREDICATE("string?", prim_is_string, is_string(v))
DEFINE_PREDICATE("vector?", prim_is_vector, is_vector(v))
DEFINE_PREDICATE("bytevector?", prim_is_bytevector, is_bytevector(v))
DEFINE_PREDICATE("procedure?", prim_is_procedure, is_procedure(v))
DEFINE_PREDICATE("promise?", prim_is_promise, is_promise(v))
DEFINE_PREDICATE("condition?", prim_is_condition, is_condition(v))
DEFINE_PREDICATE("error-object?", prim_is_error_object, is_condition(v))

static scm are_same(int count, const scm *arguments) {
  bool same = true;
  for (int i = 1; same && i < count; i++)
    same = arguments[i] == arguments[0];
  return boolean(same);
}

DEFINE("boolean=?", prim_boolean_equal, 1, -1) {
  return all_are(vm, who, is_boolean, count, arguments) ? are_same(count, arguments) : 0;
}
DEFINE("symbol=?", prim_symbol_equal, 1, -1) {
  return all_are(vm, who, is_symbol, count, arguments) ? are_same(count, arguments) : 0;
}

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
  DEFINE("c" #way "r", prim_c##way##r, 1, 1) { return follow(vm, who, arguments[0]); }
ACCESSORS(DEFINE_ACCESSOR)

DEFINE("cons", prim_cons, 2, 2) { return cons(vm, arguments[0], arguments[1]); }

DEFINE("set-car!", prim_set_car, 2, 2, is_pair) {
  store(vm, arguments[0], &pair_of(arguments[0])->car, arguments[1]);
  return SCM_UNSPECIFIED;
}

DEFINE("set-cdr!", prim_set_cdr, 2, 2, is_pair) {
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

DEFINE("list", prim_list, 0, -1) { return list_of(vm, (size_t)count, arguments); }

DEFINE("cons*", prim_cons_star, 1, -1) {
  scm list = arguments[count - 1];
  for (int i = count - 1; i > 0 && list; i--)
    list = cons(vm, arguments[i - 1], list);
  return list;
}

DEFINE("length", prim_length, 1, 1) {
  intptr_t length = length_argument(vm, who, 1, arguments[0]);
  return length < 0 ? 0 : fixnum(length);
}

DEFINE("append", prim_append, 0, -1) {
  BUILDER(vm, result);
  for (int i = 0; i < count - 1; i++) {
    intptr_t length = length_argument(vm, who, i + 1, arguments[i]);
    if (length < 0 || !add_items(vm, &result, &arguments[i], length))
      return 0;
  }
  if (count > 0)
    link_last(vm, &result, arguments[count - 1]);
  return result.head;
}

DEFINE("list-copy", prim_list_copy, 1, 1) {
  BUILDER(vm, result);
  scm rest;
  intptr_t pairs = count_pairs(arguments[0], &rest);
  if (pairs < 0)
    return wrong_type(vm, who, 1, arguments[0]);
  if (!add_items(vm, &result, &arguments[0], pairs))
    return 0;
  link_last(vm, &result, arguments[0]);
  return result.head;
}

DEFINE("reverse", prim_reverse, 1, 1) {
  scm list = SCM_NIL;
  if (length_argument(vm, who, 1, arguments[0]) < 0)
    return 0;
  for (; is_pair(arguments[0]) && list; arguments[0] = cdr(arguments[0]))
    list = cons(vm, car(arguments[0]), list);
  return list;
}

DEFINE("reverse!", prim_reverse_into, 1, 1) {
  scm list = SCM_NIL, at = arguments[0];
  if (length_argument(vm, who, 1, at) < 0)
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

DEFINE("list-tail", prim_list_tail, 2, 2) { return tail_argument(vm, who, arguments); }

DEFINE("list-ref", prim_list_ref, 2, 2) {
  scm list = tail_argument(vm, who, arguments);
  if (list && !is_pair(list))
    return out_of_range(vm, who, 2, arguments[1]);
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

DEFINE("memq", prim_memq, 2, 2) { return search(vm, who, arguments, are_eq, false); }
DEFINE("memv", prim_memv, 2, 2) { return search(vm, who, arguments, are_eqv, false); }
DEFINE("%member", prim_member, 2, 2) { return search(vm, who, arguments, is_equal, false); }
DEFINE("assq", prim_assq, 2, 2) { return search(vm, who, arguments, are_eq, true); }
DEFINE("assv", prim_assv, 2, 2) { return search(vm, who, arguments, are_eqv, true); }
DEFINE("%assoc", prim_assoc, 2, 2) { return search(vm, who, arguments, is_equal, true); }

/* --- vectors --------------------------------------------------------------------------------- */

DEFINE("make-vector", prim_make_vector, 1, 2) {
  size_t length;
  if (!index_argument(vm, who, 1, arguments[0], FIXNUM_MAX, &length))
    return 0;
  return make_vector(vm, length, count > 1 ? arguments[1] : SCM_UNSPECIFIED);
}

DEFINE("vector", prim_vector, 0, -1) {
  scm vector = (scm)make_array(vm, types.vector, (size_t)count);
  if (vector)
    memcpy(vector_of(vector)->items, arguments, (size_t)count * sizeof(scm));
  return vector;
}

DEFINE("vector-length", prim_vector_length, 1, 1, is_vector) {
  return fixnum((intptr_t)length_of(arguments[0]));
}

DEFINE("vector-ref", prim_vector_ref, 2, 2, is_vector) {
  size_t at;
  return item_argument(vm, who, arguments, &at) ? vector_of(arguments[0])->items[at] : 0;
}

DEFINE("vector-set!", prim_vector_set, 3, 3, is_vector) {
  size_t at;
  if (!item_argument(vm, who, arguments, &at))
    return 0;
  store(vm, arguments[0], &vector_of(arguments[0])->items[at], arguments[2]);
  return SCM_UNSPECIFIED;
}

DEFINE("vector->list", prim_vector_to_list, 1, 3, is_vector) {
  size_t start, end;
  if (!part_arguments(vm, who, count, arguments, 0, 1, &start, &end))
    return 0;
  return list_of(vm, end - start, vector_of(arguments[0])->items + start);
}

DEFINE("list->vector", prim_list_to_vector, 1, 1) {
  intptr_t length = length_argument(vm, who, 1, arguments[0]);
  scm vector = length < 0 ? 0 : make_vector(vm, (size_t)length, SCM_UNSPECIFIED);
  scm list = arguments[0];
  for (intptr_t i = 0; vector && i < length && is_pair(list); i++, list = cdr(list))
    vector_of(vector)->items[i] = car(list);
  return vector;
}

DEFINE("vector-fill!", prim_vector_fill, 2, 4, is_vector) {
  size_t start, end;
  if (!part_arguments(vm, who, count, arguments, 0, 2, &start, &end))
    return 0;
  struct vector *vector = vector_of(arguments[0]);
  for (size_t i = start; i < end; i++)
    vector->items[i] = arguments[1];
  tarn_barrier_range(vm->self, vector, vector->items + start, end - start);
  return SCM_UNSPECIFIED;
}

/* --- bytevectors ----------------------------------------------------------------------------- */

static bool is_byte(scm v) { return is_fixnum(v) && (size_t)fixnum_value(v) < 256; }
static uint8_t byte_value(scm v) { return (uint8_t)fixnum_value(v); }

DEFINE("make-bytevector", prim_make_bytevector, 1, 2, is_any, is_byte) {
  size_t length;
  if (!index_argument(vm, who, 1, arguments[0], FIXNUM_MAX, &length))
    return 0;
  scm result = make_bytevector(vm, length);
  if (result && count > 1)
    memset(bytevector_of(result)->bytes, byte_value(arguments[1]), length);
  return result;
}

DEFINE("bytevector", prim_bytevector, 0, -1) {
  if (!all_are(vm, who, is_byte, count, arguments))
    return 0;
  scm result = make_bytevector(vm, (size_t)count);
  for (int i = 0; result && i < count; i++)
    bytevector_of(result)->bytes[i] = byte_value(arguments[i]);
  return result;
}

DEFINE("bytevector-length", prim_bytevector_length, 1, 1, is_bytevector) {
  return fixnum((intptr_t)length_of(arguments[0]));
}

DEFINE("bytevector-u8-ref", prim_bytevector_ref, 2, 2, is_bytevector) {
  size_t at;
  return item_argument(vm, who, arguments, &at) ? fixnum(bytevector_of(arguments[0])->bytes[at])
                                                : 0;
}

DEFINE("bytevector-u8-set!", prim_bytevector_set, 3, 3, is_bytevector, is_any, is_byte) {
  size_t at;
  if (!item_argument(vm, who, arguments, &at))
    return 0;
  bytevector_of(arguments[0])->bytes[at] = byte_value(arguments[2]);
  return SCM_UNSPECIFIED;
}

/* --- both: items of eight bytes or of one, in one place ----------------------------------------
 */

_Static_assert(offsetof(struct vector, items) == offsetof(struct bytevector, bytes), "layout");

static size_t item_size(const tarn_type *type) { return type == types.vector ? sizeof(scm) : 1; }

static uint8_t *item_at(scm v, size_t at) {
  return bytevector_of(v)->bytes + at * item_size(type_of(v));
}

static scm copy_array(struct vm *vm, const char *who, int count, const scm *arguments) {
  const tarn_type *type = type_of(arguments[0]);
  size_t start, end;
  if (!part_arguments(vm, who, count, arguments, 0, 1, &start, &end))
    return 0;
  scm copy = (scm)make_array(vm, type, end - start);
  if (copy)
    memcpy(item_at(copy, 0), item_at(arguments[0], start), (end - start) * item_size(type));
  return copy;
}

static scm copy_array_into(struct vm *vm, const char *who, int count, const scm *arguments) {
  size_t at, start, end;
  if (!copy_arguments(vm, who, count, arguments, &at, &start, &end))
    return 0;
  uint8_t *to = item_at(arguments[0], at), *from = item_at(arguments[2], start);
  if (is_vector(arguments[0]))
    tarn_store_range(vm->self, (void *)arguments[0], (void **)to, (void *const *)from, end - start);
  else
    memmove(to, from, end - start);
  return SCM_UNSPECIFIED;
}

static scm append_arrays(struct vm *vm, const tarn_type *type, int count, const scm *arguments) {
  size_t total = 0, at = 0;
  for (int i = 0; i < count; i++)
    total += length_of(arguments[i]);
  scm whole = (scm)make_array(vm, type, total);
  for (int i = 0; whole && i < count; i++) {
    size_t length = length_of(arguments[i]);
    memcpy(item_at(whole, at), item_at(arguments[i], 0), length * item_size(type));
    at += length;
  }
  return whole;
}

#define DEFINE_FOR_BOTH(kind)                                                           \
  DEFINE(#kind "-copy", prim_##kind##_copy, 1, 3, is_##kind) {                          \
    return copy_array(vm, who, count, arguments);                                       \
  }                                                                                     \
  DEFINE(#kind "-copy!", prim_##kind##_copy_into, 3, 5, is_##kind, is_any, is_##kind) { \
    return copy_array_into(vm, who, count, arguments);                                  \
  }                                                                                     \
  DEFINE(#kind "-append", prim_##kind##_append, 0, -1) {                                \
    return all_are(vm, who, is_##kind, count, arguments)                                \
               ? append_arrays(vm, types.kind, count, arguments)                        \
               : 0;                                                                     \
  }
DEFINE_FOR_BOTH(vector)
DEFINE_FOR_BOTH(bytevector)

/* --- records: what define-record-type becomes ------------------------------------------------ */

DEFINE("%make-record", prim_make_record, 1, -1) { /* kind field ... */
  scm record = make_record(vm, arguments[0], (size_t)count - 1);
  if (record)
    memcpy(record_of(record)->fields, arguments + 1, ((size_t)count - 1) * sizeof(scm));
  return record;
}

DEFINE("%record?", prim_is_record, 1, 2) { /* v [kind] */
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

DEFINE("%record-ref", prim_record_ref, 4, 4) {
  const scm *field = field_argument(vm, arguments);
  return field ? *field : 0;
}

DEFINE("%record-set!", prim_record_set, 5, 5) { /* record kind index who value */
  scm *field = field_argument(vm, arguments);
  if (!field)
    return 0;
  store(vm, arguments[0], field, arguments[4]);
  return SCM_UNSPECIFIED;
}

/* --- conditions ------------------------------------------------------------------------------ */

static bool is_name(scm v) { return is_symbol(v) || v == SCM_FALSE; }

/* (%make-condition kind who message irritants) */
DEFINE("%make-condition", prim_make_condition, 4, 4, is_symbol, is_name, is_string, is_list) {
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
#define DEFINE_FIELD(type, field, name) \
  DEFINE(name, prim_##type##_##field, 1, 1, is_##type) { return type##_of(arguments[0])->field; }
DEFINE_FIELD(condition, kind, "condition-kind")
DEFINE_FIELD(condition, who, "condition-who")
DEFINE_FIELD(condition, message, "error-object-message")
DEFINE_FIELD(condition, irritants, "error-object-irritants")
DEFINE_FIELD(parameter, converter, "%parameter-converter")

/* --- parameters ------------------------------------------------------------------------------ */

DEFINE("%make-parameter", prim_make_parameter, 2, 2) { /* value converter */
  struct parameter *parameter = make_object(vm, types.parameter);
  if (!parameter)
    return 0;
  parameter->value = arguments[0];
  parameter->converter = arguments[1];
  return (scm)parameter;
}

/* --- the collector --------------------------------------------------------------------------- */

DEFINE("gc", prim_gc, 0, 1) { /* [#t: the young generation only] */
  bool young = count > 0 && is_true(arguments[0]);
  tarn_status status = tarn_collect(vm->self, young ? 0 : TARN_GENERATION_FULL);
  return status == TARN_OK ? SCM_UNSPECIFIED
                           : raise_error(vm, "system", who, tarn_strerror(status), 0);
}

/* An association list of the numbers that a program can use. */
DEFINE("runtime-statistics", prim_statistics, 0, 0) {
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
