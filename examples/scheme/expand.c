/* SPDX-License-Identifier: MIT */
/*
 * expand.c: forms become nodes: scopes, special forms, loops.
 *
 * Names.  A scope holds what its form binds: variables, and syntax of let-syntax and internal
 * define-syntax.  A name is a symbol, or an alias: what a template of syntax-rules puts in place
 * of a symbol, new for each use (syntax.c).  An alias that nobody binds means what its symbol means
 * where the macro was defined; so a template's names and those of its user never meet.
 *
 * Loops.  A named let is read as a loop first, whose variables are the enclosing lambda's own.  A
 * loop's name may only be called, as the last thing that its body does: that becomes a jump.  If it
 * is used in any other way, the form is read again as a letrec; it is noted, so that forms around
 * it that are read again do not find out a second time.
 */
#include "expand.h"
#include <stdlib.h>

/* Special forms that are named here; the others follow them in the table special_forms. */
enum special {
  SPECIAL_NONE,
  SPECIAL_QUOTE,
  SPECIAL_QUASIQUOTE,
  SPECIAL_LAMBDA,
  SPECIAL_DEFINE,
  SPECIAL_DEFINE_SYNTAX,
  SPECIAL_BEGIN,
  SPECIAL_ELSE,
  SPECIAL_ARROW,
  SPECIAL_UNQUOTE,
  SPECIAL_UNQUOTE_SPLICING,
  SPECIAL_OTHERS
};

static scm lambda_alias; /* means lambda, whatever the scope binds */
static scm cons_name, append_name, list_to_vector_name, slot_ref_name, slot_set_name, eqv_name;

/* --- memory ---------------------------------------------------------------------------------- */

struct arena_block {
  struct arena_block *next;
  size_t used, size;
  _Alignas(16) char bytes[];
};

void *arena_take(struct compilation *c, size_t size) {
  struct arena_block *block = c->blocks;
  size = (size + 15) & ~(size_t)15;
  if (!block || block->size - block->used < size) {
    size_t wanted = size > 2000 ? size : 2000;
    if (!(block = calloc(1, sizeof *block + wanted))) {
      out_of_memory(c->vm);
      return NULL;
    }
    block->size = wanted;
    block->next = c->blocks;
    c->blocks = block;
  }
  void *taken = block->bytes + block->used;
  block->used += size;
  return taken;
}

void arena_drop(struct compilation *c) {
  struct arena_block *next;
  for (struct arena_block *block = c->blocks; block; block = next) {
    next = block->next;
    free(block);
  }
}

bool grow(struct compilation *c, scm **items, size_t count, size_t *capacity) {
  if (count < *capacity)
    return true;
  size_t wanted = *capacity ? 2 * *capacity : 64;
  scm *grown = realloc(*items, wanted * sizeof **items);
  if (!grown) {
    out_of_memory(c->vm);
    return false;
  }
  *items = grown;
  *capacity = wanted;
  return true;
}

scm keep(struct compilation *c, scm value) {
  if (!value || !grow(c, &c->kept, c->kept_count, &c->kept_capacity))
    return 0;
  c->kept[c->kept_count++] = value;
  return value;
}

/* --- errors ---------------------------------------------------------------------------------- */

void *syntax_error(struct compilation *c, const char *message, scm form) {
  form = strip(c, form);
  (void)raise_error(c->vm, "syntax", NULL, message, 1, form ? form : SCM_FALSE);
  return NULL;
}

static struct node *bad_form(struct compilation *c, scm form) {
  return syntax_error(c, "this form is not well made", form);
}

/* --- scopes ---------------------------------------------------------------------------------- */

static struct binding *find_binding(struct scope *scope, scm name) {
  for (; scope; scope = scope->outer)
    for (struct binding *binding = scope->bindings; binding; binding = binding->next)
      if (binding->name == name)
        return binding;
  return NULL;
}

struct meaning meaning_of(scm name, struct scope *scope) {
  for (;;) {
    struct binding *binding = find_binding(scope, name);
    if (binding)
      return (struct meaning){.variable = binding->variable, .syntax = binding->syntax};
    if (!is_alias(name))
      break;
    scope = alias_of(name)->scope;
    name = alias_of(name)->symbol;
  }
  scm syntax = __atomic_load_n(&symbol_of(name)->syntax, __ATOMIC_ACQUIRE);
  return (struct meaning){.symbol = name, .syntax = syntax == SCM_FALSE ? 0 : syntax};
}

static bool is_special(scm form, struct scope *scope, enum special wanted) {
  return is_name(form) && meaning_of(form, scope).syntax == fixnum(wanted);
}

/* Is it (keyword x)? */
static bool is_quoted(scm form, struct scope *scope, enum special wanted) {
  return is_pair(form) && is_pair(cdr(form)) && cdr(cdr(form)) == SCM_NIL &&
         is_special(car(form), scope, wanted);
}

static bool bind(struct compilation *c, struct scope *scope, scm name, struct variable *variable,
                 scm syntax) {
  struct binding *binding = arena_take(c, sizeof *binding);
  if (!binding)
    return false;
  *binding = (struct binding){
      .next = scope->bindings, .name = name, .variable = variable, .syntax = syntax};
  scope->bindings = binding;
  return true;
}

static struct scope *new_scope(struct compilation *c, struct scope *outer, struct lambda *lambda) {
  struct scope *scope = arena_take(c, sizeof *scope);
  if (scope)
    *scope = (struct scope){.outer = outer, .lambda = lambda};
  return scope;
}

/* A new variable of the scope's lambda, at the end of the list. */
static struct variable *add_variable(struct compilation *c, struct scope *scope, scm name,
                                     struct variable **list) {
  if (!is_name(name))
    return syntax_error(c, "this is no name for a variable", name);
  for (struct variable *other = *list; other; other = other->next)
    if (other->name == name)
      return syntax_error(c, "two variables of one form have this name", name);
  struct variable *variable = arena_take(c, sizeof *variable);
  if (!variable)
    return NULL;
  variable->name = name;
  variable->owner = scope->lambda;
  while (*list)
    list = &(*list)->next;
  *list = variable;
  return bind(c, scope, name, variable, 0) ? variable : NULL;
}

/* --- nodes ----------------------------------------------------------------------------------- */

static struct node *new_node(struct compilation *c, enum node_kind kind) {
  struct node *node = arena_take(c, sizeof *node);
  if (node)
    node->kind = kind;
  return node;
}

static struct node *constant(struct compilation *c, scm value) {
  struct node *node = new_node(c, NODE_CONSTANT);
  if (node)
    node->value = value;
  return node;
}

static struct node *quoted(struct compilation *c, scm datum) {
  datum = strip(c, datum);
  return datum ? constant(c, datum) : NULL;
}

static struct node *with_parts(struct compilation *c, enum node_kind kind, size_t count) {
  struct node *node = new_node(c, kind);
  if (!node || !(node->parts = arena_take(c, (count + 1) * sizeof(struct node *))))
    return NULL;
  node->count = (unsigned)count;
  return node;
}

/* A lambda expression needs the variable; so do those around it, up to the owner. */
static bool capture(struct compilation *c, struct lambda *lambda, struct variable *variable) {
  for (; lambda && lambda != variable->owner; lambda = lambda->outer) {
    for (unsigned i = 0; i < lambda->free_count; i++)
      if (lambda->free[i] == variable)
        return true; /* and those around have it */
    if (lambda->free_count == lambda->free_capacity) {
      unsigned more = lambda->free_capacity ? 2 * lambda->free_capacity : 8;
      struct variable **grown = arena_take(c, more * sizeof *grown);
      if (!grown)
        return false;
      if (lambda->free_count)
        memcpy(grown, lambda->free, lambda->free_count * sizeof *grown);
      lambda->free = grown;
      lambda->free_capacity = more;
    }
    lambda->free[lambda->free_count++] = variable;
    variable->captured = true;
  }
  return true;
}

static struct node *local(struct compilation *c, struct scope *scope, struct variable *variable,
                          enum node_kind kind) {
  if (variable->loop) {
    variable->loop->failed = true;
    return constant(c, SCM_FALSE); /* it is read again */
  }
  struct node *node = new_node(c, kind);
  if (!node || !capture(c, scope->lambda, variable))
    return NULL;
  node->variable = variable;
  return node;
}

/* --- expressions ----------------------------------------------------------------------------- */

/* Where a form stands.  `loops`: those whose last thing it is, the innermost first. */
struct place {
  struct scope *scope;
  struct loop *loops;
  struct variable *key; /* of the case whose clause it is */
};

static struct node *read_form(struct compilation *c, scm form, struct place place);
static struct node *read_body(struct compilation *c, scm forms, struct place place);

/* Whatever calls itself for a part of a form does it through this: the C stack is not endless. */
static struct node *deeper(struct compilation *c,
                           struct node *(*read)(struct compilation *, scm, struct place), scm form,
                           struct place place) {
  if (c->depth >= DEPTH_MOST)
    return syntax_error(c, "forms are nested too deeply, or are too long", SCM_FALSE);
  c->depth++;
  struct node *node = read(c, form, place);
  c->depth--;
  return node;
}

static struct place inside(struct place place) {
  place.loops = NULL;
  return place;
}

static struct node *read_value(struct compilation *c, scm form, struct place place) {
  return read_form(c, form, inside(place));
}

static struct node *read_name(struct compilation *c, scm name, struct place place) {
  struct meaning meaning = meaning_of(name, place.scope);
  if (meaning.variable)
    return local(c, place.scope, meaning.variable, NODE_LOCAL);
  if (meaning.syntax)
    return syntax_error(c, "this is syntax and has no value", name);
  struct node *node = new_node(c, NODE_GLOBAL);
  if (node)
    node->value = meaning.symbol;
  return node;
}

/* The forms as parts of the node; the last one stands where the node stands if `last`. */
static bool read_parts(struct compilation *c, struct node *node, scm forms, struct place place,
                       bool last) {
  for (unsigned i = 0; i < node->count; i++, forms = cdr(forms)) {
    bool is_last = last && i + 1 == node->count;
    if (!(node->parts[i] = read_form(c, car(forms), is_last ? place : inside(place))))
      return false;
  }
  return true;
}

static struct node *read_several(struct compilation *c, enum node_kind kind, scm forms,
                                 struct place place, bool last) {
  intptr_t count = list_length(forms);
  if (count < 0)
    return bad_form(c, forms);
  struct node *node = with_parts(c, kind, (size_t)count);
  return node && read_parts(c, node, forms, place, last) ? node : NULL;
}

static struct node *read_sequence(struct compilation *c, scm forms, struct place place) {
  if (forms == SCM_NIL)
    return constant(c, SCM_UNSPECIFIED);
  if (is_pair(forms) && cdr(forms) == SCM_NIL)
    return read_form(c, car(forms), place);
  return read_several(c, NODE_SEQUENCE, forms, place, true);
}

static struct node *new_if(struct compilation *c, struct node *test, struct node *then,
                           struct node *otherwise) {
  struct node *node = new_node(c, NODE_IF);
  if (!node || !test || !then || !otherwise)
    return NULL;
  node->test = test;
  node->body = then;
  node->otherwise = otherwise;
  return node;
}

static struct node *global_call(struct compilation *c, scm symbol, unsigned count) {
  struct node *call = with_parts(c, NODE_CALL, count);
  if (!call || !(call->body = new_node(c, NODE_GLOBAL)))
    return NULL;
  call->body->value = symbol;
  return call;
}

/* --- calls ----------------------------------------------------------------------------------- */

/* Is the loop one of those whose last thing this is? */
static bool may_jump(const struct place *place, const struct loop *loop) {
  for (const struct loop *at = place->loops; at; at = at->outer)
    if (at == loop)
      return true;
  return false;
}

static struct node *read_again(struct compilation *c, struct loop *loop, scm form,
                               struct place place, unsigned count) {
  if (count != loop->count || place.scope->lambda != loop->owner || !may_jump(&place, loop)) {
    loop->failed = true;
    return constant(c, SCM_FALSE);
  }
  struct node *node = read_several(c, NODE_AGAIN, cdr(form), place, false);
  if (node)
    node->loop = loop;
  return node;
}

#define FOLD_MOST 100 /* arguments; with more it is a call, which is not as deep */

/* (+ a b c ...) is ((a + b) + c) ... */
static struct node *read_fold(struct compilation *c, unsigned operation, scm forms,
                              struct place place) {
  struct node *left = read_value(c, car(forms), place);
  for (forms = cdr(forms); left && forms != SCM_NIL; forms = cdr(forms)) {
    struct node *both = with_parts(c, NODE_OPEN, 2);
    if (!both || !(both->parts[1] = read_value(c, car(forms), place)))
      return NULL;
    both->parts[0] = left;
    both->operation = operation;
    left = both;
  }
  return left;
}

static struct node *read_open(struct compilation *c, scm symbol, scm form, struct place place,
                              unsigned count) {
  unsigned operation = symbol_operation(symbol, count), fold;
  if (count > 2 && count <= FOLD_MOST && (fold = symbol_operation(symbol, 2)) != 0 &&
      (fold == OP_ADD || fold == OP_SUBTRACT || fold == OP_MULTIPLY))
    return read_fold(c, fold, cdr(form), place);
  if (operation == 0)
    return NULL;
  struct node *node = read_several(c, NODE_OPEN, cdr(form), place, false);
  if (node)
    node->operation = operation;
  return node;
}

/* (slot-ref x 'name) and (slot-set! x 'name v), where the class of x is known, which has the slot.
 */
static struct node *read_slot(struct compilation *c, scm symbol, scm form, struct place place,
                              unsigned count) {
  bool sets = symbol == slot_set_name, raw;
  scm object = car(cdr(form));
  if ((!sets && symbol != slot_ref_name) || count != (sets ? 3u : 2u) || !is_name(object) ||
      !is_quoted(car(cdr(cdr(form))), place.scope, SPECIAL_QUOTE))
    return NULL;
  struct variable *variable = meaning_of(object, place.scope).variable;
  scm name = strip(c, car(cdr(car(cdr(cdr(form))))));
  if (!variable || !variable->class || !name || !is_symbol(name))
    return NULL;
  intptr_t word = class_slot_index(variable->class, name, &raw);
  struct node *node = word < 0 || raw ? NULL : with_parts(c, NODE_SLOT, 1);
  if (!node || !(node->parts[0] = read_value(c, object, place)))
    return NULL;
  node->operation = (unsigned)word;
  node->value = name;
  if (sets && !(node->body = read_value(c, car(cdr(cdr(cdr(form)))), place)))
    return NULL;
  return node;
}

static struct node *read_call(struct compilation *c, scm form, struct place place) {
  intptr_t count = list_length(cdr(form));
  struct node *node = NULL;
  scm head = car(form);
  if (count < 0)
    return bad_form(c, form);
  if (is_name(head)) {
    struct meaning meaning = meaning_of(head, place.scope);
    if (meaning.variable && meaning.variable->loop)
      return read_again(c, meaning.variable->loop, form, place, (unsigned)count);
    if (meaning.symbol && !meaning.syntax) {
      c->vm->condition = SCM_FALSE;
      if ((node = read_open(c, meaning.symbol, form, place, (unsigned)count)) ||
          (node = read_slot(c, meaning.symbol, form, place, (unsigned)count)))
        return node;
      if (c->vm->condition != SCM_FALSE)
        return NULL;
    }
  }
  node = read_several(c, NODE_CALL, cdr(form), inside(place), false);
  return node && (node->body = read_value(c, head, place)) ? node : NULL;
}

/* --- lambda ---------------------------------------------------------------------------------- */

static bool read_parameters(struct compilation *c, struct lambda *lambda, struct scope *scope,
                            scm names) {
  for (; is_pair(names); names = cdr(names), lambda->needed++)
    if (!add_variable(c, scope, car(names), &lambda->parameters))
      return false;
  if (names == SCM_NIL)
    return true;
  lambda->rest = true;
  return add_variable(c, scope, names, &lambda->parameters) != NULL;
}

/* `class`: of the first argument; 0: anything. */
static struct node *read_lambda(struct compilation *c, scm name, scm names, scm body,
                                struct place place, scm class) {
  struct node *node = new_node(c, NODE_LAMBDA);
  struct lambda *lambda = arena_take(c, sizeof *lambda);
  if (!node || !lambda)
    return NULL;
  lambda->outer = place.scope->lambda;
  lambda->name = strip(c, name);
  struct scope *scope = new_scope(c, place.scope, lambda);
  if (!lambda->name || !scope || !read_parameters(c, lambda, scope, names))
    return NULL;
  if (class && lambda->needed == 0)
    return syntax_error(c, "there is no first argument", names);
  if (class)
    lambda->parameters->class = class;
  node->lambda = lambda;
  return (lambda->body = read_body(c, body, (struct place){.scope = scope})) ? node : NULL;
}

static struct node *read_untyped_lambda(struct compilation *c, scm form, struct place place) {
  return read_lambda(c, SCM_FALSE, car(cdr(form)), cdr(cdr(form)), place, 0);
}

/* (%typed-lambda (class) parameters body ...) */
static struct node *read_typed_lambda(struct compilation *c, scm form, struct place place) {
  if (list_length(car(cdr(form))) != 1)
    return bad_form(c, form);
  scm name = car(car(cdr(form))), rest = cdr(cdr(form));
  struct meaning meaning = is_name(name) ? meaning_of(name, place.scope) : (struct meaning){0};
  scm class = meaning.symbol ? global_ref(meaning.symbol) : 0;
  if (!class || !is_class(class)) /* it is not known before it is made */
    return read_lambda(c, SCM_FALSE, car(rest), cdr(rest), place, 0);
  return keep(c, class) ? read_lambda(c, SCM_FALSE, car(rest), cdr(rest), place, class) : NULL;
}

/* A value that is to have the name, if it is a lambda expression. */
static struct node *read_named(struct compilation *c, scm name, scm form, struct place place) {
  if (is_pair(form) && is_special(car(form), place.scope, SPECIAL_LAMBDA) && is_pair(cdr(form)))
    return read_lambda(c, name, car(cdr(form)), cdr(cdr(form)), place, 0);
  return read_value(c, form, place);
}

/* --- let ------------------------------------------------------------------------------------- */

static bool are_bindings(scm list) {
  for (; is_pair(list); list = cdr(list))
    if (list_length(car(list)) != 2)
      return false;
  return list == SCM_NIL;
}

/* `in_turn`: each value sees the variables before it, as in let*. */
static struct node *read_let(struct compilation *c, scm bindings, scm body, struct place place,
                             bool in_turn) {
  if (!are_bindings(bindings))
    return bad_form(c, bindings);
  struct node *node = with_parts(c, NODE_LET, (size_t)list_length(bindings));
  struct scope *scope = new_scope(c, place.scope, place.scope->lambda);
  if (!node || !scope)
    return NULL;
  struct variable **list = &node->variables;
  scm at = bindings;
  for (unsigned i = 0; i < node->count; i++, at = cdr(at)) {
    if (!(node->parts[i] = read_named(c, car(car(at)), car(cdr(car(at))), place)))
      return NULL;
    if (!in_turn)
      continue;
    if (!(place.scope = scope = new_scope(c, place.scope, place.scope->lambda)) ||
        !add_variable(c, scope, car(car(at)), list))
      return NULL;
    list = &(*list)->next; /* so a name may come again */
  }
  for (at = bindings; !in_turn && at != SCM_NIL; at = cdr(at))
    if (!add_variable(c, scope, car(car(at)), list))
      return NULL;
  place.scope = scope;
  return (node->body = read_body(c, body, place)) ? node : NULL;
}

static struct node *read_let_star(struct compilation *c, scm form, struct place place) {
  return read_let(c, car(cdr(form)), cdr(cdr(form)), place, true);
}

/* --- loops ----------------------------------------------------------------------------------- */

static bool has_failed(const struct compilation *c, scm form) {
  for (size_t i = 0; i < c->failed_count; i++)
    if (c->failed[i] == form)
      return true;
  return false;
}

static bool note_failure(struct compilation *c, scm form) {
  if (!grow(c, &c->failed, c->failed_count, &c->failed_capacity))
    return false;
  c->failed[c->failed_count++] = form;
  return true;
}

/* The node is that of the loop, whose variables lie in the scope; `place`: where it stands. */
static void start_loop(struct loop *loop, struct node *node, const struct scope *scope,
                       struct place place) {
  *loop = (struct loop){.variables = node->variables,
                        .count = node->count,
                        .owner = scope->lambda,
                        .outer = place.loops};
  node->loop = loop;
}

/* NULL with `loop->failed`: it is no loop. */
static struct node *read_loop(struct compilation *c, struct loop *loop, scm name, scm bindings,
                              scm body, struct place place) {
  struct node *node = with_parts(c, NODE_LOOP, (size_t)list_length(bindings));
  struct scope *outer = new_scope(c, place.scope, place.scope->lambda);
  struct scope *scope = outer ? new_scope(c, outer, outer->lambda) : NULL;
  struct variable *itself = NULL;
  if (!node || !scope || !add_variable(c, outer, name, &itself))
    return NULL;
  scm at = bindings;
  for (unsigned i = 0; i < node->count; i++, at = cdr(at))
    if (!(node->parts[i] = read_value(c, car(cdr(car(at))), place)) ||
        !add_variable(c, scope, car(car(at)), &node->variables))
      return NULL;
  start_loop(loop, node, scope, place);
  itself->loop = loop;
  node->body = read_body(c, body, (struct place){scope, loop, NULL});
  return loop->failed ? NULL : node->body ? node : NULL;
}

/* ((letrec ((name (lambda (variable ...) body ...))) name) value ...) */
static struct node *read_loop_as_letrec(struct compilation *c, scm name, scm bindings, scm body,
                                        struct place place) {
  struct node *call = with_parts(c, NODE_CALL, (size_t)list_length(bindings));
  struct node *letrec = with_parts(c, NODE_LETREC, 1);
  struct scope *scope = new_scope(c, place.scope, place.scope->lambda);
  scm names = SCM_NIL, at = bindings;
  if (!call || !letrec || !scope || !add_variable(c, scope, name, &letrec->variables))
    return NULL;
  for (unsigned i = 0; i < call->count; i++, at = cdr(at))
    if (!(call->parts[i] = read_value(c, car(cdr(car(at))), place)) ||
        !(names = keep(c, cons(c->vm, car(car(at)), names))))
      return NULL;
  if (!(names = reversed(c, names)))
    return NULL;
  place.scope = scope;
  letrec->variables->fixed = true;
  if (!(letrec->parts[0] = read_lambda(c, name, names, body, place, 0)) ||
      !(letrec->body = local(c, scope, letrec->variables, NODE_LOCAL)))
    return NULL;
  call->body = letrec;
  return call;
}

static struct node *read_named_let(struct compilation *c, scm form, scm name, scm bindings,
                                   scm body, struct place place) {
  if (!are_bindings(bindings))
    return bad_form(c, form);
  struct loop *loop = arena_take(c, sizeof *loop);
  if (!loop)
    return NULL;
  if (!has_failed(c, form)) {
    struct node *node = read_loop(c, loop, name, bindings, body, place);
    if (!loop->failed)
      return node;
    if (!note_failure(c, form))
      return NULL;
  }
  return read_loop_as_letrec(c, name, bindings, body, place);
}

static struct node *read_any_let(struct compilation *c, scm form, struct place place) {
  scm rest = cdr(form);
  if (list_length(form) >= 4 && is_name(car(rest)))
    return read_named_let(c, form, car(rest), car(cdr(rest)), cdr(cdr(rest)), place);
  return read_let(c, car(rest), cdr(rest), place, false);
}

/* --- conditions ------------------------------------------------------------------------------ */

static struct node *read_if(struct compilation *c, scm form, struct place place) {
  scm rest = cdr(cdr(form));
  return new_if(c, read_value(c, car(cdr(form)), place), read_form(c, car(rest), place),
                is_pair(cdr(rest)) ? read_form(c, car(cdr(rest)), place)
                                   : constant(c, SCM_UNSPECIFIED));
}

static struct node *read_and_or(struct compilation *c, scm form, struct place place,
                                enum node_kind kind) {
  scm forms = cdr(form);
  if (forms == SCM_NIL)
    return constant(c, boolean(kind == NODE_AND));
  if (is_pair(forms) && cdr(forms) == SCM_NIL)
    return read_form(c, car(forms), place);
  return read_several(c, kind, forms, place, true);
}

static struct node *read_and(struct compilation *c, scm form, struct place place) {
  return read_and_or(c, form, place, NODE_AND);
}
static struct node *read_or(struct compilation *c, scm form, struct place place) {
  return read_and_or(c, form, place, NODE_OR);
}

/* A variable that no name means, around what `make` makes with it. */
static struct node *let_hidden(struct compilation *c, struct place *place, struct node *value,
                               struct variable **variable) {
  struct node *node = with_parts(c, NODE_LET, 1);
  struct scope *scope = new_scope(c, place->scope, place->scope->lambda);
  if (!node || !scope || !value || !(*variable = arena_take(c, sizeof **variable)))
    return NULL;
  **variable = (struct variable){.name = SCM_FALSE, .owner = scope->lambda};
  node->variables = *variable;
  node->parts[0] = value;
  place->scope = scope;
  return node;
}

static struct node *read_clauses(struct compilation *c, scm clauses, struct place place);

/* (test => procedure) */
static struct node *read_arrow(struct compilation *c, scm clause, scm others, struct place place) {
  struct variable *variable;
  struct node *let = let_hidden(c, &place, read_value(c, car(clause), place), &variable);
  struct node *call = let ? with_parts(c, NODE_CALL, 1) : NULL;
  if (!call || !(call->parts[0] = local(c, place.scope, variable, NODE_LOCAL)) ||
      !(call->body = read_value(c, car(cdr(cdr(clause))), place)))
    return NULL;
  let->body =
      new_if(c, local(c, place.scope, variable, NODE_LOCAL), call, read_clauses(c, others, place));
  return let->body ? let : NULL;
}

static struct node *read_clause(struct compilation *c, scm clauses, struct place place) {
  if (clauses == SCM_NIL)
    return constant(c, SCM_UNSPECIFIED);
  scm clause = car(clauses);
  if (list_length(clause) < 1)
    return bad_form(c, clauses);
  if (is_special(car(clause), place.scope, SPECIAL_ELSE))
    return cdr(clauses) == SCM_NIL ? read_sequence(c, cdr(clause), place) : bad_form(c, clauses);
  if (list_length(clause) == 3 && is_special(car(cdr(clause)), place.scope, SPECIAL_ARROW))
    return read_arrow(c, clause, cdr(clauses), place);
  if (cdr(clause) == SCM_NIL) {
    struct node *both = with_parts(c, NODE_OR, 2);
    if (!both || !(both->parts[0] = read_value(c, car(clause), place)) ||
        !(both->parts[1] = read_clauses(c, cdr(clauses), place)))
      return NULL;
    return both;
  }
  return new_if(c, read_value(c, car(clause), place), read_sequence(c, cdr(clause), place),
                read_clauses(c, cdr(clauses), place));
}

static struct node *read_clauses(struct compilation *c, scm clauses, struct place place) {
  return deeper(c, read_clause, clauses, place);
}

static struct node *read_cond(struct compilation *c, scm form, struct place place) {
  return read_clauses(c, cdr(form), place);
}

/* --- case ------------------------------------------------------------------------------------ */

static struct node *is_one_of(struct compilation *c, scm data, struct place place) {
  intptr_t count = list_length(data);
  struct node *either = count < 0 ? bad_form(c, data) : with_parts(c, NODE_OR, (size_t)count);
  if (count == 0)
    return constant(c, SCM_FALSE);
  for (unsigned i = 0; either && i < either->count; i++, data = cdr(data)) {
    scm datum = strip(c, car(data));
    struct node *test = global_call(c, eqv_name, 2);
    if (!datum || !test || !(test->parts[0] = local(c, place.scope, place.key, NODE_LOCAL)) ||
        !(test->parts[1] = constant(c, datum)))
      return NULL;
    if (!is_number(datum)) { /* eq? is as good, and an instruction */
      test->kind = NODE_OPEN;
      test->operation = OP_IS_EQ;
    }
    either->parts[i] = test;
  }
  return either;
}

static struct node *read_case_body(struct compilation *c, scm body, struct place place) {
  if (list_length(body) != 2 || !is_special(car(body), place.scope, SPECIAL_ARROW))
    return read_sequence(c, body, place);
  struct node *call = with_parts(c, NODE_CALL, 1);
  return call && (call->parts[0] = local(c, place.scope, place.key, NODE_LOCAL)) &&
                 (call->body = read_value(c, car(cdr(body)), place))
             ? call
             : NULL;
}

static struct node *read_case_clause(struct compilation *c, scm clauses, struct place place) {
  if (clauses == SCM_NIL)
    return constant(c, SCM_UNSPECIFIED);
  scm clause = car(clauses);
  if (list_length(clause) < 2)
    return bad_form(c, clauses);
  if (is_special(car(clause), place.scope, SPECIAL_ELSE))
    return read_case_body(c, cdr(clause), place);
  return new_if(c, is_one_of(c, car(clause), place), read_case_body(c, cdr(clause), place),
                deeper(c, read_case_clause, cdr(clauses), place));
}

static struct node *read_case(struct compilation *c, scm form, struct place place) {
  struct variable *key = NULL;
  struct node *let = let_hidden(c, &place, read_value(c, car(cdr(form)), place), &key);
  place.key = key;
  return let && (let->body = read_case_clause(c, cdr(cdr(form)), place)) ? let : NULL;
}

/* --- quasiquote ------------------------------------------------------------------------------ */

static struct node *quasi(struct compilation *c, scm datum, unsigned depth, struct place place);

static struct node *two(struct compilation *c, scm symbol, struct node *a, struct node *b) {
  struct node *call = global_call(c, symbol, 2);
  if (!call || !a || !b)
    return NULL;
  if (symbol == cons_name) {
    call->kind = NODE_OPEN;
    call->operation = OP_CONS;
  }
  call->parts[0] = a;
  call->parts[1] = b;
  return call;
}

/* (keyword x), where x is one deeper, or less deep. */
static struct node *quasi_nested(struct compilation *c, scm datum, unsigned depth,
                                 struct place place) {
  return two(c, cons_name, quoted(c, car(datum)), quasi(c, cdr(datum), depth, place));
}

static struct node *quasi_pair(struct compilation *c, scm datum, unsigned depth,
                               struct place place) {
  scm first = car(datum);
  if (is_quoted(datum, place.scope, SPECIAL_UNQUOTE))
    return depth == 1 ? read_value(c, car(cdr(datum)), place)
                      : quasi_nested(c, datum, depth - 1, place);
  if (is_quoted(datum, place.scope, SPECIAL_QUASIQUOTE))
    return quasi_nested(c, datum, depth + 1, place);
  if (is_quoted(first, place.scope, SPECIAL_UNQUOTE_SPLICING) && depth == 1) {
    struct node *spliced = read_value(c, car(cdr(first)), place);
    return cdr(datum) == SCM_NIL ? spliced
                                 : two(c, append_name, spliced, quasi(c, cdr(datum), 1, place));
  }
  if (is_quoted(first, place.scope, SPECIAL_UNQUOTE_SPLICING))
    return two(c, cons_name, quasi_nested(c, first, depth - 1, place),
               quasi(c, cdr(datum), depth, place));
  return two(c, cons_name, quasi(c, first, depth, place), quasi(c, cdr(datum), depth, place));
}

/* The pairs of a list up to `end`, and that, if it is a vector; false: no memory. */
static bool note_plain(struct compilation *c, scm list, scm end) {
  for (; is_pair(list) && !table_ref(c->plain, list); list = cdr(list))
    if (!table_put(c->vm, c->plain, list, SCM_TRUE))
      return false;
  return !is_vector(end) || table_put(c->vm, c->plain, end, SCM_TRUE);
}

/* Is there anything to put in?  Also true of what is too deep to see, and of a circle, which comes
 * back to the pair after some power of two of steps.  Pairs and vectors that have nothing are
 * noted: shared ones are looked at once. */
static bool has_unquote(struct compilation *c, scm datum, struct scope *scope, unsigned levels) {
  scm mark = 0, at = datum;
  if (levels > DEPTH_MOST)
    return true;
  for (size_t steps = 1; is_pair(at) && at != mark && !table_ref(c->plain, at); steps++) {
    if (is_special(car(at), scope, SPECIAL_UNQUOTE) || has_unquote(c, car(at), scope, levels + 1) ||
        is_special(car(at), scope, SPECIAL_UNQUOTE_SPLICING))
      return true;
    if ((steps & (steps - 1)) == 0)
      mark = at;
    at = cdr(at);
  }
  if (is_pair(at) && at == mark)
    return true;
  for (size_t i = 0; is_vector(at) && !table_ref(c->plain, at) && i < vector_of(at)->count; i++)
    if (has_unquote(c, vector_of(at)->items[i], scope, levels + 1))
      return true;
  return !note_plain(c, datum, at);
}

static struct node *quasi(struct compilation *c, scm datum, unsigned depth, struct place place) {
  if (!has_unquote(c, datum, place.scope, 0))
    return quoted(c, datum);
  if (is_pair(datum)) {
    if (c->depth >= DEPTH_MOST)
      return syntax_error(c, "a template is too long, or nested too deeply", SCM_FALSE);
    c->depth++;
    struct node *node = quasi_pair(c, datum, depth, place);
    c->depth--;
    return node;
  }
  scm list = SCM_NIL;
  for (size_t i = vector_of(datum)->count; i > 0 && list; i--)
    list = keep(c, cons(c->vm, vector_of(datum)->items[i - 1], list));
  struct node *call = list ? global_call(c, list_to_vector_name, 1) : NULL;
  return call && (call->parts[0] = quasi(c, list, depth, place)) ? call : NULL;
}

/* --- definitions and assignments ------------------------------------------------------------- */

/* (define name value), (define (name . parameters) body ...), also with more parentheses: the name,
 * and the form of its value. */
static bool split_define(struct compilation *c, scm form, scm *name, scm *value) {
  if (list_length(form) < 2)
    return false;
  scm target = car(cdr(form)), body = cdr(cdr(form));
  if (!is_pair(target)) {
    *name = target;
    *value = body == SCM_NIL ? SCM_UNSPECIFIED : car(body);
    return body == SCM_NIL || cdr(body) == SCM_NIL;
  }
  scm lambda;
  while (is_pair(target)) {
    if (!(lambda = keep(c, cons(c->vm, cdr(target), body))) ||
        !(lambda = keep(c, cons(c->vm, lambda_alias, lambda))) ||
        !(body = keep(c, cons(c->vm, lambda, SCM_NIL))))
      return false;
    target = car(target);
  }
  *name = target;
  *value = car(body);
  return true;
}

/* At the top level. */
static struct node *read_define(struct compilation *c, scm form, struct place place) {
  scm name, value;
  c->vm->condition = SCM_FALSE;
  if (!split_define(c, form, &name, &value) || !is_name(name))
    return c->vm->condition == SCM_FALSE ? bad_form(c, form) : NULL;
  if (place.scope->outer || place.scope->lambda->outer)
    return syntax_error(c, "a definition stands where only expressions may", form);
  scm symbol = strip(c, name);
  struct node *node = symbol ? new_node(c, NODE_DEFINE) : NULL;
  if (!node)
    return NULL;
  node->value = symbol;
  return forget_operation(c->vm, symbol) && (node->body = read_named(c, symbol, value, place))
             ? node
             : NULL;
}

static struct node *read_set(struct compilation *c, scm form, struct place place) {
  scm name = car(cdr(form));
  if (!is_name(name))
    return bad_form(c, form);
  struct meaning meaning = meaning_of(name, place.scope);
  struct node *node, *value = read_value(c, car(cdr(cdr(form))), place);
  if (!value)
    return NULL;
  if (meaning.variable) {
    meaning.variable->assigned = true;
    node = local(c, place.scope, meaning.variable, NODE_SET_LOCAL);
  } else if (meaning.syntax) {
    return syntax_error(c, "this is syntax and cannot be assigned", form);
  } else if ((node = new_node(c, NODE_SET_GLOBAL))) {
    node->value = meaning.symbol;
    if (!forget_operation(c->vm, meaning.symbol))
      return NULL;
  }
  if (node)
    node->body = value;
  return node;
}

static bool read_syntax_binding(struct compilation *c, scm name, scm rules,
                                struct scope *definition, struct scope *scope) {
  scm macro = make_macro(c, rules, definition);
  return macro && (is_name(name) || syntax_error(c, "this is no name for syntax", name)) &&
         bind(c, scope, name, NULL, macro);
}

/* (let-syntax ((name rules) ...) body ...) */
static struct node *read_let_syntax(struct compilation *c, scm form, struct place place) {
  if (!are_bindings(car(cdr(form))))
    return bad_form(c, form);
  struct scope *scope = new_scope(c, place.scope, place.scope->lambda);
  for (scm at = car(cdr(form)); scope && at != SCM_NIL; at = cdr(at))
    if (!read_syntax_binding(c, car(car(at)), car(cdr(car(at))), place.scope, scope))
      return NULL;
  place.scope = scope;
  return scope ? read_body(c, cdr(cdr(form)), place) : NULL;
}

/* At the top level it means so from now on. */
static struct node *read_define_syntax(struct compilation *c, scm form, struct place place) {
  scm name = car(cdr(form));
  if (!is_name(name))
    return bad_form(c, form);
  if (place.scope->outer || place.scope->lambda->outer)
    return syntax_error(c, "a definition stands where only expressions may", form);
  scm macro = make_macro(c, car(cdr(cdr(form))), NULL), symbol = strip(c, name);
  return macro && symbol && define_syntax(c->vm, symbol, macro) ? constant(c, symbol) : NULL;
}

/* --- bodies ---------------------------------------------------------------------------------- */

struct body {
  scm *values; /* of the definitions so far */
  size_t count, capacity;
  struct variable *variables;
};

static bool add_definition(struct compilation *c, struct body *body, struct scope *scope,
                           scm form) {
  scm name, value;
  c->vm->condition = SCM_FALSE;
  if (!split_define(c, form, &name, &value))
    return c->vm->condition == SCM_FALSE ? (bad_form(c, form), false) : false;
  return grow(c, &body->values, body->count, &body->capacity) &&
         (body->values[body->count++] = value, add_variable(c, scope, name, &body->variables));
}

/* Expands macros at the head of a form until it is something else; 0: failed. */
static scm expand_head(struct compilation *c, scm form, struct scope *scope, scm *syntax) {
  for (;;) {
    scm head = car(form);
    *syntax = 0;
    if (!is_name(head))
      return form;
    struct meaning meaning = meaning_of(head, scope);
    *syntax = meaning.syntax;
    if (!meaning.syntax || is_fixnum(meaning.syntax))
      return form;
    if (!(form = use_macro(c, meaning.syntax, form, scope)))
      return 0;
  }
}

static scm join(struct compilation *c, scm list, scm rest) {
  for (list = reversed(c, list); list && rest && list != SCM_NIL; list = cdr(list))
    rest = keep(c, cons(c->vm, car(list), rest));
  return list ? rest : 0;
}

/* Takes the definitions off the front of a body; what is left, or 0. */
static scm take_definitions(struct compilation *c, scm forms, struct scope *scope,
                            struct body *body) {
  scm syntax;
  while (is_pair(forms)) {
    scm form = expand_head(c, car(forms), scope, &syntax);
    if (!form)
      return 0;
    if (syntax == fixnum(SPECIAL_BEGIN) && list_length(form) > 1) {
      if (!(forms = join(c, cdr(form), cdr(forms))))
        return 0;
    } else if (syntax == fixnum(SPECIAL_DEFINE)) {
      if (!add_definition(c, body, scope, form))
        return 0;
      forms = cdr(forms);
    } else if (syntax == fixnum(SPECIAL_DEFINE_SYNTAX) && list_length(form) == 3) {
      if (!read_syntax_binding(c, car(cdr(form)), car(cdr(cdr(form))), scope, scope))
        return 0;
      forms = cdr(forms);
    } else { /* as it is expanded already */
      return keep(c, cons(c->vm, form, cdr(forms)));
    }
  }
  return forms;
}

/* The scope has the names already; `values` are forms, one for each.  Values that are lambda
 * expressions, of variables that nobody assigns, come first of all: they have no effect. */
static bool read_letrec_values(struct compilation *c, struct node *node, scm *values,
                               struct place place) {
  struct variable *variable = node->variables;
  for (unsigned i = 0; i < node->count; i++, variable = variable->next) {
    if (!(node->parts[i] = read_named(c, variable->name, values[i], place)))
      return false;
    variable->fixed = node->parts[i]->kind == NODE_LAMBDA; /* unless it is assigned */
  }
  return true;
}

static struct node *read_body(struct compilation *c, scm forms, struct place place) {
  struct body body = {0};
  struct node *node = NULL;
  if (list_length(forms) < 1)
    return syntax_error(c, "there is no expression in a body", forms);
  if (!(place.scope = new_scope(c, place.scope, place.scope->lambda)))
    return NULL;
  scm rest = take_definitions(c, forms, place.scope, &body);
  if (rest == SCM_NIL)
    (void)syntax_error(c, "a body has definitions only", forms);
  else if (rest && body.count == 0)
    node = read_sequence(c, rest, place);
  else if (rest && (node = with_parts(c, NODE_LETREC, body.count))) {
    node->variables = body.variables;
    if (!read_letrec_values(c, node, body.values, place) ||
        !(node->body = read_sequence(c, rest, place)))
      node = NULL;
  }
  free(body.values);
  return node;
}

/* --- all forms ------------------------------------------------------------------------------- */

static struct node *read_quote(struct compilation *c, scm form, struct place place) {
  (void)place;
  return quoted(c, car(cdr(form)));
}

static struct node *read_quasiquote(struct compilation *c, scm form, struct place place) {
  scm outer = c->plain; /* names may mean something else where it stands */
  struct node *node =
      (c->plain = keep(c, eq_table(c->vm))) ? quasi(c, car(cdr(form)), 1, place) : NULL;
  c->plain = outer;
  return node;
}

static struct node *read_begin_form(struct compilation *c, scm form, struct place place) {
  return read_sequence(c, cdr(form), place);
}

/* `least` and `most` items, with the name; most 0: any number.  Without `read` it is no expression.
 */
static const struct special_form {
  const char *name;
  struct node *(*read)(struct compilation *c, scm form, struct place place);
  int least, most;
} special_forms[] = {
    [SPECIAL_QUOTE] = {"quote", read_quote, 2, 2},
    [SPECIAL_QUASIQUOTE] = {"quasiquote", read_quasiquote, 2, 2},
    [SPECIAL_LAMBDA] = {"lambda", read_untyped_lambda, 3, 0},
    [SPECIAL_DEFINE] = {"define", read_define, 2, 0},
    [SPECIAL_DEFINE_SYNTAX] = {"define-syntax", read_define_syntax, 3, 3},
    [SPECIAL_BEGIN] = {"begin", read_begin_form, 1, 0},
    [SPECIAL_ELSE] = {"else", NULL, 0, 0},
    [SPECIAL_ARROW] = {"=>", NULL, 0, 0},
    [SPECIAL_UNQUOTE] = {"unquote", NULL, 0, 0},
    [SPECIAL_UNQUOTE_SPLICING] = {"unquote-splicing", NULL, 0, 0},
    [SPECIAL_OTHERS] = {"%typed-lambda", read_typed_lambda, 4, 0},
    {"set!", read_set, 3, 3},
    {"if", read_if, 3, 4},
    {"let", read_any_let, 3, 0},
    {"let*", read_let_star, 3, 0},
    {"and", read_and, 1, 0},
    {"or", read_or, 1, 0},
    {"cond", read_cond, 2, 0},
    {"case", read_case, 2, 0},
    {"let-syntax", read_let_syntax, 3, 0},
};

static struct node *read_special(struct compilation *c, const struct special_form *special,
                                 scm form, struct place place) {
  intptr_t length = list_length(form);
  if (!special->read)
    return syntax_error(c, "this stands where it means nothing", form);
  if (length < special->least || (special->most && length > special->most))
    return bad_form(c, form);
  return special->read(c, form, place);
}

static struct node *read_any(struct compilation *c, scm form, struct place place) {
  scm syntax;
  if (!(form = expand_head(c, form, place.scope, &syntax)))
    return NULL;
  if (syntax)
    return read_special(c, &special_forms[fixnum_value(syntax)], form, place);
  if (is_pair(form))
    return read_call(c, form, place);
  if (is_name(form))
    return read_name(c, form, place);
  if (form == SCM_NIL)
    return syntax_error(c, "() is no expression", form);
  return quoted(c, form); /* a vector of a template has aliases in it, too */
}

static struct node *read_form(struct compilation *c, scm form, struct place place) {
  return deeper(c, read_any, form, place);
}

struct lambda *expand(struct compilation *c, scm form) {
  struct lambda *lambda = arena_take(c, sizeof *lambda);
  struct scope *scope = lambda ? new_scope(c, NULL, lambda) : NULL;
  if (!scope || !keep(c, form))
    return NULL;
  lambda->name = SCM_FALSE;
  lambda->body = read_form(c, form, (struct place){.scope = scope});
  return lambda->body ? lambda : NULL;
}

/* --- begin ----------------------------------------------------------------------------------- */

static scm must_intern(struct vm *vm, const char *name) {
  scm symbol = intern(vm, name);
  must_begin(symbol);
  return symbol;
}

void expand_begin(struct vm *vm) {
  for (size_t i = 1; i < sizeof special_forms / sizeof special_forms[0]; i++)
    must_begin(define_syntax(vm, must_intern(vm, special_forms[i].name), fixnum((intptr_t)i)));
  lambda_alias = make_alias(vm, must_intern(vm, "lambda"), NULL);
  must_begin(lambda_alias && tarn_root_add(world, (void **)&lambda_alias) == TARN_OK);
  struct {
    const char *name;
    scm *symbol;
  } names[] = {{"cons", &cons_name},
               {"append", &append_name},
               {"list->vector", &list_to_vector_name},
               {"slot-ref", &slot_ref_name},
               {"slot-set!", &slot_set_name},
               {"eqv?", &eqv_name}};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    *names[i].symbol = must_intern(vm, names[i].name);
    must_begin(tarn_root_add(world, (void **)names[i].symbol) == TARN_OK);
  }
}
