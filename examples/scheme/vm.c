/* SPDX-License-Identifier: MIT */
/*
 * vm.c: the machine that runs instructions; calls, continuations, what is raised.
 *
 * A thread's stack is one array of words, all of them values, so that it is its own root provider's
 * whole work; vm.h shows a frame.  `sp` and `fp` live in local variables of `run`; `vm->sp` is
 * brought up to date before anything that may collect, which is whenever a function outside of this
 * file is called.  Words above it are not roots.
 *
 * Safepoints are at calls of closures and where loops go round, besides allocations.
 *
 * What a primitive cannot do it leaves as a condition, and returns 0; the machine then calls the
 * procedure `raise` of prelude.scm with it, in the place of the primitive.  Nothing here unwinds
 * the C stack.
 */
#include "vm.h"
#include "class.h"
#include <stdlib.h>

#define STACK_RESERVE ((size_t)32768) /* words, for what handles the overflow of the rest */

enum special_primitive { NOT_SPECIAL, APPLY, APPLY_VALUES, CALL_CC, EVAL, UNCAUGHT };

#define NO_NAME(operation)
#define NAME(operation, name, arguments) [OP_##operation] = {name, arguments},
const struct named_operation named_operations[OPERATIONS] = {OPERATION_LIST(NO_NAME, NAME)};

static scm raise_procedure; /* the prelude's; before that %uncaught.  A root */

/* --- errors ---------------------------------------------------------------------------------- */

static scm unbound(struct vm *vm, scm symbol) {
  return raise_error(vm, "unbound", NULL, "this variable has no value", 1, symbol);
}

static scm bad_arguments(struct vm *vm, scm procedure, unsigned count) {
  return raise_error(vm, "arguments", NULL, "a procedure cannot be called with so many arguments",
                     2, procedure, fixnum((intptr_t)count));
}

static scm stack_overflow(struct vm *vm) {
  return raise_error(vm, "stack", NULL, "the stack is full", 0);
}

/* --- parts of instructions ------------------------------------------------------------------- */

/* Sets the free variables of a new closure. */
static void fill_closure(struct closure *closure, const scm *fp, const struct closure *from,
                         const uint32_t *captures) {
  for (size_t i = 0; i < closure->count; i++) {
    uint32_t index = captures[i] >> 2;
    switch (captures[i] & 3) {
    case CAPTURE_LOCAL:
      closure->free[i] = fp[index];
      break;
    case CAPTURE_FREE:
      closure->free[i] = from->free[index];
      break;
    default:
      closure->free[i] = SCM_FALSE;
    }
  }
}

/* The arguments beyond those needed become a list; the new top, or NULL. */
static scm *gather_rest(struct vm *vm, scm *sp, unsigned count, const struct code *code) {
  if (count < code->needed || (count > code->needed && !code->rest)) {
    (void)bad_arguments(vm, sp[-(intptr_t)count - 1], count);
    return NULL;
  }
  scm list = SCM_NIL;
  for (; list && count > code->needed; count--) {
    list = cons(vm, sp[-1], list);
    sp--;
  }
  *sp = list;
  return list ? sp + 1 : NULL;
}

/* Is it one comparison of numbers?  `order`: what number_compare says. */
static bool compares(enum operation operation, int order) {
  switch (operation) {
  case OP_EQUALS:
    return order == 0;
  case OP_LESS:
    return order == -1;
  case OP_GREATER:
    return order == 1;
  case OP_AT_MOST:
    return order == -1 || order == 0;
  default:
    return order == 1 || order == 0;
  }
}

static scm parameter_value(const struct vm *vm, scm parameter) {
  for (scm at = vm->bindings; is_pair(at); at = cdr(at))
    if (car(car(at)) == parameter)
      return box_of(cdr(car(at)))->value;
  return parameter_of(parameter)->value;
}

/* Where `top` ends what is on the stack, the reserve is kept, unless it is in use already. */
static void set_limit(struct vm *vm, const scm *top) {
  vm->limit = vm->stack + VM_STACK - STACK_RESERVE;
  if (top > vm->limit)
    vm->limit = vm->stack + VM_STACK;
}

/* --- continuations --------------------------------------------------------------------------- */

/* The words from `base` to `top`, the end of a frame. */
static scm make_continuation(struct vm *vm, const scm *base, const scm *top) {
  size_t count = (size_t)(top - base);
  scm words = make_vector(vm, count, SCM_FALSE);
  ROOTS(vm, (void *)&words);
  struct continuation *continuation = words ? make_object(vm, types.continuation) : NULL;
  if (!continuation)
    return 0;
  continuation->stack = words;
  continuation->winders = vm->winders;
  continuation->handlers = vm->handlers;
  continuation->bindings = vm->bindings;
  continuation->base = (size_t)(base - vm->stack);
  continuation->serial = vm->serial;
  tarn_store_range(vm->self, (void *)words, (void **)vector_of(words)->items, (void *const *)base,
                   count);
  return (scm)continuation;
}

/* The new top of the stack, or NULL. */
static scm *reinstate(struct vm *vm, scm *base, scm v) {
  const struct continuation *continuation = continuation_of(v);
  const struct vector *words = vector_of(continuation->stack);
  if (continuation->serial != vm->serial || continuation->base != (size_t)(base - vm->stack)) {
    (void)raise_error(vm, "error", NULL, "a continuation of another thread, or of one that ended",
                      0);
    return NULL;
  }
  memcpy(base, words->items, words->count * sizeof(scm));
  vm->winders = continuation->winders;
  vm->handlers = continuation->handlers;
  vm->bindings = continuation->bindings;
  set_limit(vm, base + words->count);
  return base + words->count;
}

/* --- special primitives ---------------------------------------------------------------------- */

/* Puts the items of a list on top; NULL: it is no list, or there is no room.  Not more than were
 * counted: another thread may make it longer. */
static scm *spread_list(struct vm *vm, scm *sp, scm list) {
  intptr_t length = list_length(list);
  if (length < 0 || length >= vm->limit - sp) {
    (void)(length < 0
               ? raise_error(vm, "wrong-type", "apply", "the last argument is no list", 1, list)
               : stack_overflow(vm));
    return NULL;
  }
  for (; length > 0 && is_pair(list); length--, list = cdr(list))
    *sp++ = car(list);
  return sp;
}

static scm *spread_values(struct vm *vm, scm *sp, scm value) {
  if (!has_type(value, types.values)) {
    *sp++ = value;
    return sp;
  }
  const struct vector *values = vector_of(value);
  if ((intptr_t)values->count >= vm->limit - sp) {
    (void)stack_overflow(vm);
    return NULL;
  }
  memcpy(sp, values->items, values->count * sizeof(scm));
  return sp + values->count;
}

/*
 * The procedure at sp[-count - 1] is special: changes it and its arguments into a call of another.
 * The new top, from which `*count` follows, or NULL.
 */
static scm *change_call(struct vm *vm, scm *sp, unsigned *count, const scm *base) {
  scm *procedure = sp - *count - 1, *arguments = procedure + 1, made;
  switch (primitive_of(*procedure)->special) {
  case APPLY:
    made = sp[-1];
    memmove(procedure, arguments, (*count - 1) * sizeof(scm));
    sp = spread_list(vm, sp - 2, made);
    break;
  case APPLY_VALUES:
    procedure[0] = arguments[0];
    sp = spread_values(vm, arguments, arguments[1]);
    break;
  case CALL_CC:
    if (!(made = make_continuation(vm, base, procedure)))
      return NULL;
    procedure[0] = arguments[0];
    arguments[0] = made;
    break;
  default: /* EVAL */
    if (!(procedure[0] = compile(vm, arguments[0]))) {
      procedure[0] = SCM_FALSE;
      return NULL;
    }
    sp = arguments;
  }
  if (sp)
    *count = (unsigned)(sp - arguments);
  return sp;
}

/* --- the machine ----------------------------------------------------------------------------- */

/* Few words, whose places may overlap: a call of memmove costs more than they do. */
static inline void move_up(scm *to, const scm *from, size_t count) {
  while (count-- > 0)
    to[count] = from[count];
}
static inline void move_down(scm *to, const scm *from, size_t count) {
  for (size_t i = 0; i < count; i++)
    to[i] = from[i];
}

/*
 * Each instruction jumps to the next one by a jump of its own: a processor tells by the place of a
 * jump, among other things, where it goes, and with one for all it is often wrong.  Labels as
 * values are GNU C, which gcc and clang know.
 */
#define NEXT                          \
  do {                                \
    word = *pc++;                     \
    goto *places[OPERATION_OF(word)]; \
  } while (0)
#define PLACE(operation) [OP_##operation] = &&do_##operation,
#define PROCEDURE_PLACE(operation, name, arguments) PLACE(operation)
#define SAVE() (vm->sp = sp)
#define PC_WORD() fixnum((intptr_t)pc >> 2)
#define FP_WORD() fixnum(fp - vm->stack)

/* A condition as the value of an instruction; before a jump that is fused with it. */
#define TEST(condition)                           \
  {                                               \
    bool holds_ = (condition);                    \
    uint32_t next_ = *pc;                         \
    if (OPERATION_OF(next_) == OP_JUMP_FALSE)     \
      pc += 1 + (holds_ ? 0 : OPERAND_OF(next_)); \
    else if (OPERATION_OF(next_) == OP_JUMP_TRUE) \
      pc += 1 + (holds_ ? OPERAND_OF(next_) : 0); \
    else                                          \
      *sp++ = boolean(holds_);                    \
  }                                               \
  NEXT

/* An operation of two numbers: fixnums inline, then flonums, then the general one. */
#define ARITHMETIC(fast, operator, general)                                                    \
  {                                                                                            \
    scm a = sp[-2], b = sp[-1];                                                                \
    intptr_t r;                                                                                \
    if (TARN_LIKELY((a & b & 1) && !(fast))) {                                                 \
      value = (scm)r;                                                                          \
    } else if (!(is_flonum_word(a) && is_flonum_word(b) &&                                     \
                 (value = flonum_word(flonum_word_value(a) operator flonum_word_value(b))))) { \
      SAVE();                                                                                  \
      if (!(value = general(vm, a, b)))                                                        \
        goto failed;                                                                           \
    }                                                                                          \
    sp--;                                                                                      \
    sp[-1] = value;                                                                            \
  }                                                                                            \
  NEXT

#define COMPARISON(operator)                                                         \
  {                                                                                  \
    scm a = sp[-2], b = sp[-1];                                                      \
    if (TARN_LIKELY(a & b & 1)) {                                                    \
      sp -= 2;                                                                       \
      TEST((intptr_t)a operator(intptr_t) b);                                        \
    }                                                                                \
    SAVE();                                                                          \
    int order = number_compare(vm, a, b, named_operations[OPERATION_OF(word)].name); \
    if (order == -2)                                                                 \
      goto failed;                                                                   \
    sp -= 2;                                                                         \
    TEST(compares(OPERATION_OF(word), order));                                       \
  }

#define NEED(test, name, argument, got)        \
  if (TARN_UNLIKELY(!(test))) {                \
    SAVE();                                    \
    (void)wrong_type(vm, name, argument, got); \
    goto failed;                               \
  }

/* Classes of what are no instances have no type of their own. */
static bool is_instance_of(struct vm *vm, scm v, scm class) {
  const tarn_type *type = class_at(class)->instances;
  return type ? is_instance(v) && tarn_type_is_a(type_of(v), type) : is_a(vm, v, class);
}

static bool is_index(scm v, size_t count) {
  return is_fixnum(v) && (size_t)fixnum_value(v) < count;
}

/* A record, its kind, and the number of a field of it? */
static bool is_field(const scm *arguments) {
  return is_record(arguments[0]) && record_of(arguments[0])->kind == arguments[1] &&
         is_index(arguments[2], record_of(arguments[0])->count);
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic" /* labels as values */

/* Runs the procedure at vm->sp[-count - 1] until its frame returns; 0: what was raised was not
 * handled. */
static scm run(struct vm *vm, unsigned count, scm *base) {
  tarn_thread *const self = vm->self;
  scm *sp = vm->sp, *fp = base, value;
  const struct closure *closure = NULL;
  const scm *constants = NULL;
  const uint32_t *pc = NULL;
  uint32_t word;
  static const void *const places[OPERATIONS] = {OPERATION_LIST(PLACE, PROCEDURE_PLACE)};
  goto call;

do_CONSTANT:
  *sp++ = constants[OPERAND_OF(word)];
  NEXT;
do_FIXNUM:
  *sp++ = fixnum(SIGNED_OPERAND_OF(word));
  NEXT;
do_LOCAL:
  *sp++ = fp[OPERAND_OF(word)];
  NEXT;
do_LOCAL_BOX:
  value = fp[OPERAND_OF(word)];
  goto unbox;
do_FREE:
  *sp++ = closure->free[OPERAND_OF(word)];
  NEXT;
do_FREE_BOX:
  value = closure->free[OPERAND_OF(word)];
unbox:
  if (TARN_UNLIKELY((value = box_of(value)->value) == SCM_UNBOUND)) {
    SAVE();
    (void)unbound(vm, SCM_FALSE);
    goto failed;
  }
  *sp++ = value;
  NEXT;
do_GLOBAL:
  value = global_ref(constants[OPERAND_OF(word)]);
  if (TARN_UNLIKELY(value == SCM_UNBOUND)) {
    SAVE();
    (void)unbound(vm, constants[OPERAND_OF(word)]);
    goto failed;
  }
  *sp++ = value;
  NEXT;
do_SET_LOCAL:
  fp[OPERAND_OF(word)] = *--sp;
  NEXT;
do_SET_LOCAL_BOX:
  value = *--sp;
  store(vm, fp[OPERAND_OF(word)], &box_of(fp[OPERAND_OF(word)])->value, value);
  NEXT;
do_SET_FREE_BOX:
  value = *--sp;
  store(vm, closure->free[OPERAND_OF(word)], &box_of(closure->free[OPERAND_OF(word)])->value,
        value);
  NEXT;
do_SET_GLOBAL:
  if (TARN_UNLIKELY(global_ref(constants[OPERAND_OF(word)]) == SCM_UNBOUND)) {
    SAVE();
    (void)unbound(vm, constants[OPERAND_OF(word)]);
    goto failed;
  }
  global_set(vm, constants[OPERAND_OF(word)], *--sp);
  NEXT;
do_DEFINE:
  SAVE();
  if (!define_global(vm, constants[OPERAND_OF(word)], sp[-1]))
    goto failed;
  sp[-1] = constants[OPERAND_OF(word)];
  NEXT;
do_POP:
  sp -= OPERAND_OF(word);
  NEXT;
do_SLIDE:
  value = sp[-1];
  sp -= OPERAND_OF(word);
  sp[-1] = value;
  NEXT;
do_JUMP:
  pc += OPERAND_OF(word);
  NEXT;
do_JUMP_FALSE:
  if (*--sp == SCM_FALSE)
    pc += OPERAND_OF(word);
  NEXT;
do_JUMP_TRUE:
  if (*--sp != SCM_FALSE)
    pc += OPERAND_OF(word);
  NEXT;
do_JUMP_FALSE_KEEP:
  if (sp[-1] == SCM_FALSE)
    pc += OPERAND_OF(word);
  else
    sp--;
  NEXT;
do_JUMP_TRUE_KEEP:
  if (sp[-1] != SCM_FALSE)
    pc += OPERAND_OF(word);
  else
    sp--;
  NEXT;
do_BOX:
  SAVE();
  if (!(value = make_box(vm, fp[OPERAND_OF(word)])))
    goto failed;
  fp[OPERAND_OF(word)] = value;
  NEXT;
do_NEW_BOX:
  SAVE();
  if (!(value = make_box(vm, SCM_UNBOUND)))
    goto failed;
  *sp++ = value;
  NEXT;
do_CLOSURE : {
  SAVE();
  struct closure *made = make_array(vm, types.closure, *pc);
  if (!made)
    goto failed;
  made->code = constants[OPERAND_OF(word)];
  fill_closure(made, fp, closure, pc + 1);
  pc += 1 + *pc;
  *sp++ = (scm)made;
  NEXT;
}
do_PATCH:
  value = *--sp;
  store(vm, fp[OPERAND_OF(word)], &closure_of(fp[OPERAND_OF(word)])->free[*pc++], value);
  NEXT;

do_CALL : {
  count = OPERAND_OF(word);
  scm *procedure = sp - count - 1;
  move_up(procedure + 2, procedure, count + 1);
  procedure[0] = PC_WORD();
  procedure[1] = FP_WORD();
  sp += 2;
  goto call;
}
do_TAIL:
  count = OPERAND_OF(word);
  move_down(fp - 1, sp - count - 1, count + 1);
  sp = fp + count;
  goto call;
do_CALL_GLOBAL:
do_TAIL_GLOBAL : {
  scm procedure = global_ref(constants[OPERAND_OF(word)]);
  count = *pc++;
  if (TARN_UNLIKELY(procedure == SCM_UNBOUND)) {
    SAVE();
    (void)unbound(vm, constants[OPERAND_OF(word)]);
    goto failed;
  }
  if (is_primitive(procedure) && primitive_of(procedure)->fn) {
    const struct primitive *primitive = primitive_of(procedure);
    SAVE();
    if (TARN_UNLIKELY((int32_t)count < primitive->least ||
                      (primitive->most >= 0 && (int32_t)count > primitive->most))) {
      (void)bad_arguments(vm, procedure, count);
      goto failed;
    }
    value = primitive->fn(vm, (int)count, sp - count);
    sp -= count;
    if (TARN_UNLIKELY(!value))
      goto failed;
    if (OPERATION_OF(word) == OP_TAIL_GLOBAL)
      goto leave;
    *sp++ = value;
    NEXT;
  }
  if (OPERATION_OF(word) == OP_TAIL_GLOBAL) {
    move_down(fp, sp - count, count);
    fp[-1] = procedure;
    sp = fp + count;
    goto call;
  }
  scm *arguments = sp - count;
  move_up(arguments + 3, arguments, count);
  arguments[0] = PC_WORD();
  arguments[1] = FP_WORD();
  arguments[2] = procedure;
  sp += 3;
  goto call;
}
do_RETURN:
  value = sp[-1];
  goto leave;
do_AGAIN : {
  size_t moved = *pc++;
  scm *to = fp + OPERAND_OF(word);
  move_down(to, sp - moved, moved);
  sp = to + moved;
  pc -= *pc;
  SAVE();
  tarn_safepoint(self);
  NEXT;
}
do_CHECK_CLASS:
  NEED(is_instance_of(vm, fp[0], constants[OPERAND_OF(word)]), "method", 1, fp[0]);
  NEXT;
do_SLOT_REF:
  value = ((const scm *)sp[-1])[OPERAND_OF(word)];
  if (TARN_UNLIKELY(value == SCM_UNBOUND)) {
    SAVE();
    (void)raise_error(vm, "unbound", "slot-ref", "the slot has no value", 1, sp[-1]);
    goto failed;
  }
  sp[-1] = value;
  NEXT;
do_SLOT_SET:
  value = *--sp;
  store(vm, sp[-1], (scm *)sp[-1] + OPERAND_OF(word), value);
  sp[-1] = SCM_UNSPECIFIED;
  NEXT;

do_CAR:
  NEED(is_pair(sp[-1]), "car", 1, sp[-1]);
  sp[-1] = car(sp[-1]);
  NEXT;
do_CDR:
  NEED(is_pair(sp[-1]), "cdr", 1, sp[-1]);
  sp[-1] = cdr(sp[-1]);
  NEXT;
do_CADR:
  NEED(is_pair(sp[-1]) && is_pair(value = cdr(sp[-1])), "cadr", 1, sp[-1]);
  sp[-1] = car(value);
  NEXT;
do_CDDR:
  NEED(is_pair(sp[-1]) && is_pair(value = cdr(sp[-1])), "cddr", 1, sp[-1]);
  sp[-1] = cdr(value);
  NEXT;
do_CONS : {
  SAVE();
  struct pair *pair = tarn_new(self, types.pair);
  if (TARN_UNLIKELY(!pair)) {
    (void)out_of_memory(vm);
    goto failed;
  }
  pair->car = sp[-2];
  pair->cdr = sp[-1];
  sp--;
  sp[-1] = (scm)pair;
  NEXT;
}
do_IS_NULL:
  value = *--sp;
  TEST(value == SCM_NIL);
do_IS_PAIR:
  value = *--sp;
  TEST(is_pair(value));
do_NOT:
  value = *--sp;
  TEST(value == SCM_FALSE);
do_IS_EQ:
  sp -= 2;
  TEST(sp[0] == sp[1]);
do_IS_ZERO:
  NEED(is_number(sp[-1]), "zero?", 1, sp[-1]);
  value = *--sp;
  TEST(value == fixnum(0) || (is_flonum(value) && flonum_value(value) == 0));
do_ADD:
  ARITHMETIC(__builtin_add_overflow((intptr_t)a, (intptr_t)(b - 1), &r), +, number_add);
do_SUBTRACT:
  ARITHMETIC(__builtin_sub_overflow((intptr_t)a, (intptr_t)(b - 1), &r), -, number_subtract);
do_MULTIPLY:
  ARITHMETIC(__builtin_mul_overflow((intptr_t)(a - 1), fixnum_value(b), &r) || (r++, false), *,
             number_multiply);
do_ADD_FIXNUM : {
  intptr_t sum;
  if (TARN_LIKELY(is_fixnum(sp[-1])) &&
      !__builtin_add_overflow((intptr_t)sp[-1], (intptr_t)SIGNED_OPERAND_OF(word) * 2, &sum)) {
    sp[-1] = (scm)sum;
    NEXT;
  }
  SAVE();
  if (!(value = number_add(vm, sp[-1], fixnum(SIGNED_OPERAND_OF(word)))))
    goto failed;
  sp[-1] = value;
  NEXT;
}
do_EQUALS:
  COMPARISON(==)
do_LESS:
  COMPARISON(<)
do_GREATER:
  COMPARISON(>)
do_AT_MOST:
  COMPARISON(<=)
do_AT_LEAST:
  COMPARISON(>=)
do_VECTOR_REF:
  NEED(is_vector(sp[-2]), "vector-ref", 1, sp[-2]);
  if (TARN_UNLIKELY(!is_index(sp[-1], vector_of(sp[-2])->count)))
    goto bad_index;
  sp--;
  sp[-1] = vector_of(sp[-1])->items[fixnum_value(sp[0])];
  NEXT;
do_VECTOR_SET:
  NEED(is_vector(sp[-3]), "vector-set!", 1, sp[-3]);
  if (TARN_UNLIKELY(!is_index(sp[-2], vector_of(sp[-3])->count)))
    goto bad_index;
  sp -= 2;
  store(vm, sp[-1], &vector_of(sp[-1])->items[fixnum_value(sp[0])], sp[1]);
  sp[-1] = SCM_UNSPECIFIED;
  NEXT;
do_STRING_REF:
  NEED(is_string(sp[-2]), "string-ref", 1, sp[-2]);
  if (TARN_UNLIKELY(!is_index(sp[-1], string_of(sp[-2])->length)))
    goto bad_index;
  sp--;
  sp[-1] = make_char(string_ref(sp[-1], (size_t)fixnum_value(sp[0])));
  NEXT;
do_SET_CAR:
  NEED(is_pair(sp[-2]), "set-car!", 1, sp[-2]);
  sp--;
  store(vm, sp[-1], &pair_of(sp[-1])->car, sp[0]);
  sp[-1] = SCM_UNSPECIFIED;
  NEXT;
do_SET_CDR:
  NEED(is_pair(sp[-2]), "set-cdr!", 1, sp[-2]);
  sp--;
  store(vm, sp[-1], &pair_of(sp[-1])->cdr, sp[0]);
  sp[-1] = SCM_UNSPECIFIED;
  NEXT;
do_QUOTIENT:
do_REMAINDER : {
  scm a = sp[-2], b = sp[-1];
  bool quotient = OPERATION_OF(word) == OP_QUOTIENT;
  if ((a & b & 1) && b != fixnum(0) && b != fixnum(-1)) {
    intptr_t x = fixnum_value(a), y = fixnum_value(b);
    value = fixnum(quotient ? x / y : x % y);
  } else {
    SAVE();
    if (!(value = quotient ? number_quotient(vm, a, b) : number_remainder(vm, a, b)))
      goto failed;
  }
  sp--;
  sp[-1] = value;
  NEXT;
}
do_RECORD_REF: /* record kind index who */
  if (TARN_UNLIKELY(!is_field(sp - 4)))
    goto no_field;
  sp -= 3;
  sp[-1] = record_of(sp[-1])->fields[fixnum_value(sp[1])];
  NEXT;
do_RECORD_SET: /* and value */
  if (TARN_UNLIKELY(!is_field(sp - 5)))
    goto no_field;
  sp -= 4;
  store(vm, sp[-1], &record_of(sp[-1])->fields[fixnum_value(sp[1])], sp[3]);
  sp[-1] = SCM_UNSPECIFIED;
  NEXT;
do_NONE:
  abort();

no_field:
  SAVE();
  (void)bad_field(vm, sp - named_operations[OPERATION_OF(word)].arguments);
  goto failed;

bad_index:
  SAVE();
  (void)out_of_range(vm, named_operations[OPERATION_OF(word)].name, 2,
                     OPERATION_OF(word) == OP_VECTOR_SET ? sp[-2] : sp[-1]);
failed: /* in the middle of a procedure: raise is called from there */
  sp[0] = PC_WORD();
  sp[1] = FP_WORD();
  sp[2] = raise_procedure;
  sp[3] = vm->condition;
  sp += 4;
  count = 1;
  goto call;

failed_call: /* a call: raise takes its place */
  sp -= count;
  sp[-1] = raise_procedure;
  *sp++ = vm->condition;
  count = 1;

call : { /* count arguments on top of their procedure, that on its frame */
  scm procedure = sp[-(intptr_t)count - 1];
  if (TARN_LIKELY(is_closure(procedure))) {
    closure = closure_of(procedure);
    const struct code *code = code_of(closure->code);
    if (TARN_UNLIKELY(count != code->needed || code->rest)) {
      SAVE();
      scm *top = gather_rest(vm, sp, count, code);
      if (!top)
        goto failed_call;
      sp = top;
    }
    fp = sp - code->needed - code->rest;
    if (TARN_UNLIKELY(fp + code->depth > vm->limit)) {
      count = code->needed + code->rest;
      SAVE();
      if (vm->limit == vm->stack + VM_STACK) /* already in the reserve */
        return stack_overflow(vm);
      vm->limit = vm->stack + VM_STACK;
      (void)stack_overflow(vm);
      goto failed_call;
    }
    pc = (const uint32_t *)code->instructions;
    constants = vector_of(code->constants)->items;
    SAVE();
    tarn_safepoint(self);
    NEXT;
  }
  SAVE();
  if (is_primitive(procedure)) {
    const struct primitive *primitive = primitive_of(procedure);
    if ((int32_t)count < primitive->least ||
        (primitive->most >= 0 && (int32_t)count > primitive->most)) {
      (void)bad_arguments(vm, procedure, count);
      goto failed_call;
    }
    if (primitive->special == UNCAUGHT) {
      vm->condition = sp[-1];
      return 0;
    }
    if (primitive->special) {
      scm *top = change_call(vm, sp, &count, base);
      if (!top)
        goto failed_call;
      sp = top;
      goto call;
    }
    value = primitive->fn(vm, (int)count, sp - count);
  } else if (is_continuation(procedure)) {
    tarn_safepoint(self); /* for this may be a loop, too */
    value = count == 1 ? sp[-1] : make_values(vm, (int)count, sp - count);
    scm *top = value ? reinstate(vm, base, procedure) : NULL;
    if (!top)
      goto failed_call;
    sp = top;
    goto leave_frame;
  } else if (has_type(procedure, types.generic)) {
    if (!(value = generic_find(vm, procedure, (int)count, sp - count)))
      goto failed_call;
    sp[-(intptr_t)count - 1] = value;
    goto call;
  } else if (is_parameter(procedure) && count == 0) {
    value = parameter_value(vm, procedure);
  } else if (has_type(procedure, types.guardian)) {
    value = guardian_call(vm, procedure, (int)count, sp - count);
  } else {
    value = raise_error(vm, "wrong-type", NULL, "this is called and is no procedure", 1, procedure);
  }
  if (!value)
    goto failed_call;
  sp -= count + 1;
  goto leave_frame;
}

leave: /* the running procedure, with `value` */
  sp = fp - 1;
leave_frame : { /* of a call whose frame ends at sp */
  scm pc_word = sp[-2], fp_word = sp[-1];
  sp -= 2;
  if (pc_word == fixnum(-1)) {
    vm->sp = sp;
    return value;
  }
  pc = (const uint32_t *)(fixnum_value(pc_word) << 2);
  fp = vm->stack + fixnum_value(fp_word);
  closure = closure_of(fp[-1]);
  constants = vector_of(code_of(closure->code)->constants)->items;
  *sp++ = value;
  NEXT;
}
}

#pragma GCC diagnostic pop

/* --- from C ---------------------------------------------------------------------------------- */

scm vm_apply(struct vm *vm, scm procedure, int count, const scm *arguments) {
  scm *base = vm->sp, handlers = vm->handlers;
  ROOTS(vm, (void *)&handlers);
  vm->sp[0] = fixnum(-1);
  vm->sp[1] = fixnum(0);
  vm->sp[2] = procedure;
  for (int i = 0; i < count; i++)
    vm->sp[3 + i] = arguments[i];
  vm->sp += 3 + count;
  set_limit(vm, vm->sp);
  vm->handlers = SCM_NIL;
  scm value = run(vm, (unsigned)count, base);
  vm->sp = base;
  vm->handlers = handlers;
  return value;
}

scm eval(struct vm *vm, scm form) {
  scm closure = compile(vm, form);
  return closure ? vm_apply(vm, closure, 0, NULL) : 0;
}

bool load_port(struct vm *vm, scm port, scm *last) {
  scm form = SCM_FALSE, value = SCM_UNSPECIFIED;
  ROOTS(vm, (void *)&port, (void *)&form, (void *)&value);
  while ((form = read_datum(vm, port)) && form != SCM_EOF)
    if (!(value = eval(vm, form)))
      return false;
  if (last)
    *last = value;
  return form != 0;
}

/* --- primitives ------------------------------------------------------------------------------ */

DEFINE("values", p_values, 0, -1) {
  return count == 1 ? arguments[0] : make_values(vm, count, arguments);
}

/* The words of a thread's dynamic state, for the prelude: (%state n), (%set-state! n value). */
static scm *state_word(struct vm *vm, scm number) {
  scm *const words[] = {&vm->winders, &vm->handlers, &vm->bindings};
  return is_index(number, 3) ? words[fixnum_value(number)] : NULL;
}
DEFINE("%state", p_state, 1, 1) {
  scm *word = state_word(vm, arguments[0]);
  return word ? *word : out_of_range(vm, who, 1, arguments[0]);
}
DEFINE("%set-state!", p_set_state, 2, 2) {
  scm *word = state_word(vm, arguments[0]);
  if (!word)
    return out_of_range(vm, who, 1, arguments[0]);
  *word = arguments[1];
  return SCM_UNSPECIFIED;
}

DEFINE("%keep-reserve", p_keep_reserve, 0, 0) {
  keep_reserve(vm);
  return SCM_UNSPECIFIED;
}

DEFINE("%set-raise!", p_set_raise, 1, 1) {
  raise_procedure = arguments[0];
  return SCM_UNSPECIFIED;
}

DEFINE("%uninitialized", p_uninitialized, 1, 1) { return unbound(vm, arguments[0]); }

DEFINE("procedure-name", p_procedure_name, 1, 1, is_procedure) {
  if (is_closure(arguments[0]))
    return code_of(closure_of(arguments[0])->code)->name;
  return is_primitive(arguments[0]) ? primitive_of(arguments[0])->name : SCM_FALSE;
}

/* A binding of parameterize: (parameter . box). */
DEFINE("%bind-parameter", p_bind_parameter, 2, 2, is_parameter) {
  scm box = make_box(vm, arguments[1]);
  return box ? cons(vm, arguments[0], box) : 0;
}

/* (%make-promise done value) */
DEFINE("%make-promise", p_make_promise, 2, 2) {
  scm box = cons(vm, boolean(is_true(arguments[0])), arguments[1]);
  if (!box || !(box = make_box(vm, box)))
    return 0;
  ROOTS(vm, (void *)&box);
  struct promise *promise = make_object(vm, types.promise);
  if (promise)
    promise->box = box;
  return (scm)promise;
}
static scm promise_box(scm promise) {
  return __atomic_load_n(&promise_of(promise)->box, __ATOMIC_RELAXED);
}
static scm promise_state(scm box) { return __atomic_load_n(&box_of(box)->value, __ATOMIC_RELAXED); }
DEFINE("%promise-state", p_promise_state, 1, 1, is_promise) {
  return promise_state(promise_box(arguments[0]));
}
/* (%promise-join! promise next): is not done, and from now on what the next one is, and that one is
 * what this one becomes.  Threads that force it at the same time do one or the other. */
DEFINE("%promise-join!", p_promise_join, 2, 2, is_promise, is_promise) {
  scm box = promise_box(arguments[0]), next = promise_box(arguments[1]);
  if (!is_true(car(promise_state(box)))) {
    store(vm, box, &box_of(box)->value, promise_state(next));
    store(vm, arguments[1], &promise_of(arguments[1])->box, box);
  }
  return SCM_UNSPECIFIED;
}

static scm define_special(struct vm *vm, const char *name, enum special_primitive special,
                          int least, int most) {
  scm primitive = define_primitive(vm, &(struct primitive_def){name, NULL, least, most, NULL});
  primitive_of(primitive)->special = special;
  return primitive;
}

void vm_begin(struct vm *vm) {
  raise_procedure = SCM_FALSE;
  must_begin(tarn_root_add(world, (void **)&raise_procedure) == TARN_OK);
  (void)define_special(vm, "apply", APPLY, 2, -1);
  (void)define_special(vm, "%apply-values", APPLY_VALUES, 2, 2);
  (void)define_special(vm, "%call/cc", CALL_CC, 1, 1);
  (void)define_special(vm, "eval", EVAL, 1, 2);
  raise_procedure = define_special(vm, "%uncaught", UNCAUGHT, 1, 1);
}
