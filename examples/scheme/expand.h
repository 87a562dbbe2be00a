/* SPDX-License-Identifier: MIT */
/*
 * expand.h: what expand.c and syntax.c share: scopes, names and macros.
 */
#ifndef SCHEME_EXPAND_H
#define SCHEME_EXPAND_H

#include "ast.h"
#include "class.h"
#include "vm.h"

struct binding {
  struct binding *next;
  scm name; /* a symbol or an alias, compared by address */
  struct variable *variable;
  scm syntax; /* a macro, if it is no variable */
};

struct scope {
  struct scope *outer;
  struct binding *bindings;
  struct lambda *lambda; /* the innermost one around it */
};

struct alias {
  const tarn_type *type;
  scm symbol;          /* or another alias */
  struct scope *scope; /* where the symbol is looked up; NULL: at the top level.  Raw */
};

struct macro { /* made by syntax-rules */
  const tarn_type *type;
  scm ellipsis, literals, rules;
  struct scope *scope; /* where it was defined; NULL: at the top level.  Raw */
};

DEFINE_TEST(alias)
DEFINE_TEST(macro)
/* Other threads may change a form while it is read: what was a pair need not be one any more, and
 * then has no parts.  So in what includes this. */
static inline scm form_car(scm v) { return is_pair(v) ? car(v) : SCM_NIL; }
static inline scm form_cdr(scm v) { return is_pair(v) ? cdr(v) : SCM_NIL; }
#define car(v) form_car(v)
#define cdr(v) form_cdr(v)

static inline bool is_name(scm v) { return is_symbol(v) || is_alias(v); }

/* What a name means: a variable; or syntax, the fixnum of a special form or a macro; or else a
 * symbol at the top level.  0 and NULL for what it is not. */
struct meaning {
  struct variable *variable;
  scm syntax, symbol;
};
struct meaning meaning_of(scm name, struct scope *scope);

/* --- syntax.c; all give 0 if they fail, with the condition set --- */

scm make_alias(struct vm *vm, scm symbol, struct scope *scope);
scm make_macro(struct compilation *c, scm rules, struct scope *scope);
scm use_macro(struct compilation *c, scm macro, scm form, struct scope *scope);
scm strip(struct compilation *c, scm datum); /* aliases become their symbols */
scm reversed(struct compilation *c, scm list);
void syntax_begin(struct vm *vm);

/* --- compile.c --- */

/* The name is defined or assigned: it stands for no operation any more.  False: no memory. */
bool forget_operation(struct vm *vm, scm symbol);
void expand_begin(struct vm *vm);

#endif
