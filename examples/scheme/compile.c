/* SPDX-License-Identifier: MIT */
/*
 * compile.c: nodes become instructions.
 *
 * A variable lies in its lambda's frame, and closures have a copy of it.  One that is assigned lies
 * in a box, which frame and closures share, and also all copies that continuations make of the
 * frame.  The depth of the stack is known at every instruction, so the place of a variable is where
 * its value was pushed.
 */
#include "expand.h"
#include <stdlib.h>

enum want { VALUE, EFFECT, TAIL };

struct code_maker {
  struct compilation *c;
  struct lambda *lambda;
  uint32_t *words;
  size_t count, capacity;
  scm *constants;
  size_t constant_count, constant_capacity;
  unsigned depth, deepest;
  bool failed; /* no memory, or too large; the condition is set */
};

/* Jumps whose goal comes later: where the last of them stands, counted from 1.  Its operand leads
 * to the one before it in the same way, until the label is placed; 0: there is none. */
struct label {
  size_t last;
};

/* --- words ----------------------------------------------------------------------------------- */

static void fail(struct code_maker *m) {
  if (!m->failed)
    out_of_memory(m->c->vm);
  m->failed = true;
}

static void put_word(struct code_maker *m, uint32_t word) {
  if (m->count == m->capacity) {
    size_t wanted = m->capacity ? 2 * m->capacity : 32;
    uint32_t *grown = realloc(m->words, wanted * sizeof word);
    if (!grown) {
      fail(m);
      return;
    }
    m->words = grown;
    m->capacity = wanted;
  }
  m->words[m->count++] = word;
}

static void put(struct code_maker *m, enum operation operation, intptr_t a) {
  if (a > OPERAND_MOST || a < -OPERAND_MOST || m->count > OPERAND_MOST) { /* as jumps go so far */
    (void)syntax_error(m->c, "a procedure is too large", m->lambda->name);
    m->failed = true;
  }
  put_word(m, INSTRUCTION(operation, a));
}

/* One that changes the depth by so much. */
static void emit(struct code_maker *m, enum operation operation, intptr_t a, int change) {
  put(m, operation, a);
  m->depth = (unsigned)((int)m->depth + change);
  if (m->depth > m->deepest)
    m->deepest = m->depth;
}

static size_t constant_index(struct code_maker *m, scm value) {
  for (size_t i = 0; i < m->constant_count; i++)
    if (m->constants[i] == value)
      return i;
  if (!keep(m->c, value) || !grow(m->c, &m->constants, m->constant_count, &m->constant_capacity)) {
    fail(m);
    return 0;
  }
  m->constants[m->constant_count] = value;
  return m->constant_count++;
}

/* --- labels ---------------------------------------------------------------------------------- */

static void jump(struct code_maker *m, enum operation operation, struct label *label, int change) {
  size_t before = label->last;
  label->last = m->count + 1;
  emit(m, operation, (intptr_t)before, change);
}

/* The label is here.  A jump's operand counts from the instruction after it. */
static void place(struct code_maker *m, const struct label *label) {
  for (size_t at = label->last; at > 0 && !m->failed;) {
    uint32_t word = m->words[at - 1];
    m->words[at - 1] = INSTRUCTION(OPERATION_OF(word), m->count - at);
    at = OPERAND_OF(word);
  }
}

/* --- variables ------------------------------------------------------------------------------- */

static bool is_boxed(const struct variable *variable) {
  return variable->assigned || (variable->captured && variable->late);
}

static unsigned free_index(const struct lambda *lambda, const struct variable *variable) {
  unsigned i = 0;
  while (lambda->free[i] != variable)
    i++;
  return i;
}

static void push_constant(struct code_maker *m, scm value) {
  if (is_fixnum(value) && fixnum_value(value) <= OPERAND_MOST &&
      fixnum_value(value) >= -OPERAND_MOST)
    emit(m, OP_FIXNUM, fixnum_value(value), 1);
  else
    emit(m, OP_CONSTANT, (intptr_t)constant_index(m, value), 1);
}

/* What is read before its value was made is an error of the program. */
static void push_empty(struct code_maker *m, const struct variable *variable) {
  push_constant(m, variable->name);
  scm name = intern(m->c->vm, "%uninitialized");
  if (!name)
    fail(m);
  else
    emit(m, OP_CALL_GLOBAL, (intptr_t)constant_index(m, name), 0);
  put_word(m, 1);
}

static void push_variable(struct code_maker *m, const struct variable *variable) {
  if (variable->owner != m->lambda)
    emit(m, is_boxed(variable) ? OP_FREE_BOX : OP_FREE, free_index(m->lambda, variable), 1);
  else if (variable->empty && !is_boxed(variable))
    push_empty(m, variable);
  else
    emit(m, is_boxed(variable) ? OP_LOCAL_BOX : OP_LOCAL, variable->slot, 1);
}

static void set_variable(struct code_maker *m, const struct variable *variable) {
  if (variable->owner != m->lambda)
    emit(m, OP_SET_FREE_BOX, free_index(m->lambda, variable), -1);
  else
    emit(m, is_boxed(variable) ? OP_SET_LOCAL_BOX : OP_SET_LOCAL, variable->slot, -1);
}

/* --- nodes ----------------------------------------------------------------------------------- */

static void make(struct code_maker *m, const struct node *node, enum want want);
static scm make_code(struct compilation *c, struct lambda *lambda);

/* A value was pushed that is wanted so. */
static void finish(struct code_maker *m, enum want want) {
  if (want == EFFECT)
    emit(m, OP_POP, 1, -1);
  else if (want == TAIL)
    put(m, OP_RETURN, 0);
}

/* Nothing was pushed, and the value is unspecified. */
static void finish_without(struct code_maker *m, enum want want) {
  if (want == EFFECT)
    return;
  push_constant(m, SCM_UNSPECIFIED);
  finish(m, want);
}

/* Jumps to the label if the node's value is true, or false, as `when` says. */
static void make_branch(struct code_maker *m, const struct node *node, bool when,
                        struct label *label) {
  if (node->kind == NODE_OPEN && node->operation == OP_NOT) {
    make_branch(m, node->parts[0], !when, label);
  } else if (node->kind == (when ? NODE_OR : NODE_AND)) {
    for (unsigned i = 0; i < node->count; i++)
      make_branch(m, node->parts[i], when, label);
  } else if (node->kind == (when ? NODE_AND : NODE_OR)) {
    struct label past = {0};
    for (unsigned i = 0; i + 1 < node->count; i++)
      make_branch(m, node->parts[i], !when, &past);
    make_branch(m, node->parts[node->count - 1], when, label);
    place(m, &past);
  } else {
    make(m, node, VALUE);
    jump(m, when ? OP_JUMP_TRUE : OP_JUMP_FALSE, label, -1);
  }
}

static void make_if(struct code_maker *m, const struct node *node, enum want want) {
  struct label otherwise = {0}, end = {0};
  make_branch(m, node->test, false, &otherwise);
  unsigned depth = m->depth;
  make(m, node->body, want);
  if (want != TAIL)
    jump(m, OP_JUMP, &end, 0);
  m->depth = depth;
  place(m, &otherwise);
  make(m, node->otherwise, want);
  place(m, &end);
}

static void make_and_or(struct code_maker *m, const struct node *node, enum want want) {
  struct label end = {0};
  enum operation operation = node->kind == NODE_AND ? OP_JUMP_FALSE_KEEP : OP_JUMP_TRUE_KEEP;
  for (unsigned i = 0; i + 1 < node->count; i++) {
    make(m, node->parts[i], VALUE);
    jump(m, operation, &end, -1);
  }
  make(m, node->parts[node->count - 1], want == TAIL ? TAIL : VALUE);
  if (want == TAIL)
    m->depth++; /* where a jump comes from there is the value */
  place(m, &end);
  finish(m, want);
}

static void make_sequence(struct code_maker *m, const struct node *node, enum want want) {
  for (unsigned i = 0; i + 1 < node->count; i++)
    make(m, node->parts[i], EFFECT);
  make(m, node->parts[node->count - 1], want);
}

/* The body of a form whose `count` values lie below what it leaves. */
static void make_inner(struct code_maker *m, const struct node *body, unsigned count,
                       enum want want) {
  make(m, body, want);
  if (count == 0 || want == TAIL)
    return;
  if (want == EFFECT)
    emit(m, OP_POP, count, -(int)count);
  else
    emit(m, OP_SLIDE, count, -(int)count);
}

static void make_let(struct code_maker *m, const struct node *node, enum want want) {
  struct variable *variable = node->variables;
  for (unsigned i = 0; i < node->count; i++, variable = variable->next) {
    variable->slot = m->depth;
    make(m, node->parts[i], VALUE);
    if (is_boxed(variable))
      emit(m, OP_BOX, variable->slot, 0);
  }
  make_inner(m, node->body, node->count, want);
}

/* --- closures -------------------------------------------------------------------------------- */

/* Where the captured word comes from; nothing if its variable is a closure of the same letrec that
 * does not exist yet. */
static uint32_t capture_of(struct code_maker *m, const struct variable *variable) {
  if (variable->owner != m->lambda)
    return CAPTURE(CAPTURE_FREE, free_index(m->lambda, variable));
  if (variable->empty && !is_boxed(variable))
    return CAPTURE(CAPTURE_NOTHING, 0);
  return CAPTURE(CAPTURE_LOCAL, variable->slot);
}

static scm constant_closure(struct compilation *c, scm code) {
  struct closure *closure = make_array(c->vm, types.closure, 0);
  if (closure)
    closure->code = code;
  return keep(c, (scm)closure);
}

static void make_closure(struct code_maker *m, struct lambda *lambda) {
  scm code = make_code(m->c, lambda);
  if (!code || (lambda->free_count == 0 && !(code = constant_closure(m->c, code)))) {
    m->failed = true;
    return;
  }
  emit(m, lambda->free_count ? OP_CLOSURE : OP_CONSTANT, (intptr_t)constant_index(m, code), 1);
  if (lambda->free_count == 0)
    return;
  put_word(m, lambda->free_count);
  for (unsigned i = 0; i < lambda->free_count; i++)
    put_word(m, capture_of(m, lambda->free[i]));
}

/* --- letrec ---------------------------------------------------------------------------------- */

static bool is_fixed(const struct variable *variable) {
  return variable->fixed && !variable->assigned;
}

/* Places for those that are evaluated in order: boxes if closures capture them. */
static void push_places(struct code_maker *m, const struct node *node) {
  struct variable *variable = node->variables;
  for (; variable; variable = variable->next) {
    variable->empty = true;
    if (is_fixed(variable))
      continue;
    variable->late = true;
    variable->slot = m->depth;
    if (is_boxed(variable))
      emit(m, OP_NEW_BOX, 0, 1);
    else
      push_constant(m, SCM_UNSPECIFIED);
  }
}

static void push_closures(struct code_maker *m, const struct node *node) {
  struct variable *variable = node->variables;
  for (unsigned i = 0; i < node->count; i++, variable = variable->next) {
    if (!is_fixed(variable))
      continue;
    variable->slot = m->depth;
    make_closure(m, node->parts[i]->lambda);
    variable->empty = false;
  }
}

/* Closures that were made before what they capture. */
static void patch_closures(struct code_maker *m, const struct node *node) {
  struct variable *variable = node->variables;
  for (unsigned i = 0; i < node->count; i++, variable = variable->next) {
    if (!is_fixed(variable))
      continue;
    const struct lambda *lambda = node->parts[i]->lambda;
    for (unsigned j = 0; j < lambda->free_count; j++) {
      const struct variable *other = lambda->free[j];
      bool here = false;
      for (const struct variable *at = node->variables; at; at = at->next)
        here |= at == other;
      if (!here || !is_fixed(other) || other->slot < variable->slot)
        continue;
      emit(m, OP_LOCAL, other->slot, 1);
      emit(m, OP_PATCH, variable->slot, -1);
      put_word(m, j);
    }
  }
}

static void make_letrec(struct code_maker *m, const struct node *node, enum want want) {
  struct variable *variable = node->variables;
  push_places(m, node);
  push_closures(m, node);
  patch_closures(m, node);
  for (unsigned i = 0; i < node->count && !m->failed; i++, variable = variable->next) {
    if (is_fixed(variable))
      continue;
    make(m, node->parts[i], VALUE);
    set_variable(m, variable);
    variable->empty = false;
  }
  make_inner(m, node->body, node->count, want);
}

/* --- loops and calls ------------------------------------------------------------------------- */

static void make_loop(struct code_maker *m, const struct node *node, enum want want) {
  struct variable *variable = node->variables;
  node->loop->base = m->depth;
  for (unsigned i = 0; i < node->count; i++, variable = variable->next) {
    variable->slot = m->depth;
    make(m, node->parts[i], VALUE);
  }
  node->loop->start = m->count;
  for (variable = node->variables; variable; variable = variable->next)
    if (is_boxed(variable))
      emit(m, OP_BOX, variable->slot, 0); /* another box each time */
  make_inner(m, node->body, node->count, want);
}

static void make_again(struct code_maker *m, const struct node *node, enum want want) {
  unsigned depth = m->depth;
  for (unsigned i = 0; i < node->count; i++)
    make(m, node->parts[i], VALUE);
  put(m, OP_AGAIN, node->loop->base);
  put_word(m, node->count);
  put_word(m, (uint32_t)(m->count - node->loop->start));
  m->depth = depth + (want == VALUE); /* nobody comes here */
}

static void make_call(struct code_maker *m, const struct node *node, enum want want) {
  bool global = node->body->kind == NODE_GLOBAL, tail = want == TAIL;
  intptr_t count = (intptr_t)node->count;
  if (!global)
    make(m, node->body, VALUE);
  for (unsigned i = 0; i < node->count; i++)
    make(m, node->parts[i], VALUE);
  if (global) {
    emit(m, tail ? OP_TAIL_GLOBAL : OP_CALL_GLOBAL, (intptr_t)constant_index(m, node->body->value),
         1 - (int)count);
    put_word(m, node->count);
  } else {
    emit(m, tail ? OP_TAIL : OP_CALL, count, -(int)count);
  }
  if (!tail)
    finish(m, want);
}

/* Adding a small constant. */
static bool make_addition(struct code_maker *m, const struct node *node) {
  const struct node *left = node->parts[0], *right = node->count == 2 ? node->parts[1] : NULL;
  if (node->operation != OP_ADD && node->operation != OP_SUBTRACT)
    return false;
  if (node->operation == OP_ADD && left->kind == NODE_CONSTANT) {
    right = left;
    left = node->parts[1];
  }
  if (right->kind != NODE_CONSTANT || !is_fixnum(right->value) ||
      fixnum_value(right->value) > OPERAND_MOST || fixnum_value(right->value) < -OPERAND_MOST)
    return false;
  intptr_t n = fixnum_value(right->value);
  make(m, left, VALUE);
  emit(m, OP_ADD_FIXNUM, node->operation == OP_ADD ? n : -n, 0);
  return true;
}

static void make_open(struct code_maker *m, const struct node *node, enum want want) {
  if (!make_addition(m, node)) {
    for (unsigned i = 0; i < node->count; i++)
      make(m, node->parts[i], VALUE);
    emit(m, node->operation, 0, 1 - (int)node->count);
  }
  finish(m, want);
}

/* The class of a variable that is assigned is not known after all. */
static void make_slot_call(struct code_maker *m, const struct node *node, enum want want) {
  scm procedure = keep(m->c, intern(m->c->vm, node->body ? "slot-set!" : "slot-ref"));
  int count = node->body ? 3 : 2;
  if (!procedure)
    fail(m);
  make(m, node->parts[0], VALUE);
  push_constant(m, node->value);
  if (node->body)
    make(m, node->body, VALUE);
  emit(m, OP_CALL_GLOBAL, (intptr_t)constant_index(m, procedure), 1 - count);
  put_word(m, (uint32_t)count);
  finish(m, want);
}

static void make_slot(struct code_maker *m, const struct node *node, enum want want) {
  if (node->parts[0]->variable->assigned) {
    make_slot_call(m, node, want);
    return;
  }
  make(m, node->parts[0], VALUE);
  if (node->body)
    make(m, node->body, VALUE);
  emit(m, node->body ? OP_SLOT_SET : OP_SLOT_REF, node->operation, node->body ? -1 : 0);
  finish(m, want);
}

static void make_define(struct code_maker *m, const struct node *node, enum want want) {
  make(m, node->body, VALUE);
  emit(m, OP_DEFINE, (intptr_t)constant_index(m, node->value), 0);
  finish(m, want);
}

static void make_set(struct code_maker *m, const struct node *node, enum want want) {
  make(m, node->body, VALUE);
  if (node->kind == NODE_SET_LOCAL)
    set_variable(m, node->variable);
  else
    emit(m, OP_SET_GLOBAL, (intptr_t)constant_index(m, node->value), -1);
  finish_without(m, want);
}

static void make_simple(struct code_maker *m, const struct node *node, enum want want) {
  if (node->kind == NODE_CONSTANT)
    push_constant(m, node->value);
  else if (node->kind == NODE_LOCAL)
    push_variable(m, node->variable);
  else if (node->kind == NODE_GLOBAL)
    emit(m, OP_GLOBAL, (intptr_t)constant_index(m, node->value), 1);
  else
    make_closure(m, node->lambda);
  finish(m, want);
}

static void make(struct code_maker *m, const struct node *node, enum want want) {
  static void (*const makers[])(struct code_maker *, const struct node *, enum want) = {
      [NODE_CONSTANT] = make_simple, [NODE_LOCAL] = make_simple,      [NODE_GLOBAL] = make_simple,
      [NODE_SET_LOCAL] = make_set,   [NODE_SET_GLOBAL] = make_set,    [NODE_DEFINE] = make_define,
      [NODE_IF] = make_if,           [NODE_SEQUENCE] = make_sequence, [NODE_AND] = make_and_or,
      [NODE_OR] = make_and_or,       [NODE_LAMBDA] = make_simple,     [NODE_LET] = make_let,
      [NODE_LETREC] = make_letrec,   [NODE_LOOP] = make_loop,         [NODE_AGAIN] = make_again,
      [NODE_CALL] = make_call,       [NODE_OPEN] = make_open,         [NODE_SLOT] = make_slot};
  if (!m->failed)
    makers[node->kind](m, node, want);
}

/* --- code objects ---------------------------------------------------------------------------- */

static scm finish_code(struct code_maker *m) {
  struct compilation *c = m->c;
  scm constants = keep(c, make_vector(c->vm, m->constant_count, SCM_FALSE));
  for (size_t i = 0; constants && i < m->constant_count; i++)
    store(c->vm, constants, &vector_of(constants)->items[i], m->constants[i]);
  scm words = constants ? keep(c, make_block(c->vm, m->count * sizeof(uint32_t))) : 0;
  struct code *code = words ? make_object(c->vm, types.code) : NULL;
  if (!code)
    return 0;
  memcpy((void *)words, m->words, m->count * sizeof(uint32_t));
  code->name = m->lambda->name;
  code->constants = constants;
  code->instructions = words;
  code->length = m->count;
  code->needed = m->lambda->needed;
  code->rest = m->lambda->rest;
  code->depth = m->deepest + 8; /* a call moves its arguments up */
  return keep(c, (scm)code);
}

static scm make_code(struct compilation *c, struct lambda *lambda) {
  struct code_maker maker = {.c = c, .lambda = lambda};
  for (struct variable *variable = lambda->parameters; variable; variable = variable->next)
    variable->slot = maker.depth++;
  maker.deepest = maker.depth;
  if (lambda->parameters && lambda->parameters->class)
    emit(&maker, OP_CHECK_CLASS, (intptr_t)constant_index(&maker, lambda->parameters->class), 0);
  for (struct variable *variable = lambda->parameters; variable; variable = variable->next)
    if (is_boxed(variable))
      emit(&maker, OP_BOX, variable->slot, 0);
  make(&maker, lambda->body, TAIL);
  scm code = maker.failed ? 0 : finish_code(&maker);
  free(maker.words);
  free(maker.constants);
  return code;
}

/* --- compilations ---------------------------------------------------------------------------- */

static void visit_kept(tarn_visitor *visitor, void *data) {
  const struct compilation *c = data;
  tarn_visit_range(visitor, c->kept, c->kept_count);
}

static void drop(struct compilation *c) {
  (void)tarn_root_provider_remove(world, visit_kept, c);
  arena_drop(c);
  free(c->kept);
  free(c->failed);
}

scm compile(struct vm *vm, scm form) {
  struct compilation c = {.vm = vm};
  if (tarn_root_provider_add(world, visit_kept, &c) != TARN_OK)
    return out_of_memory(vm);
  struct lambda *lambda = expand(&c, form);
  scm code = lambda ? make_code(&c, lambda) : 0;
  scm closure = code ? constant_closure(&c, code) : 0;
  vm->keep[0] = closure;
  drop(&c);
  return closure;
}

/* --- operations with names ------------------------------------------------------------------- */

/* Relaxed: who compiles a call while another thread defines the name anew has either. */
unsigned symbol_operation(scm symbol, unsigned count) {
  unsigned operation = __atomic_load_n(&symbol_of(symbol)->flags, __ATOMIC_RELAXED);
  return operation && named_operations[operation].arguments == count ? operation : 0;
}

bool forget_operation(struct vm *vm, scm symbol) {
  __atomic_store_n(&symbol_of(symbol)->flags, 0, __ATOMIC_RELAXED);
  return __atomic_load_n(&symbol_of(symbol)->syntax, __ATOMIC_RELAXED) == SCM_FALSE ||
         define_syntax(vm, symbol, SCM_FALSE);
}

void compile_begin(struct vm *vm) {
  syntax_begin(vm);
  expand_begin(vm);
  for (unsigned i = OP_FIRST_NAMED; i <= OP_LAST_NAMED; i++) {
    scm symbol = intern(vm, named_operations[i].name);
    must_begin(symbol);
    symbol_of(symbol)->flags = i;
  }
}
