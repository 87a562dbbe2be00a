/* SPDX-License-Identifier: MIT */
/*
 * ast.h: what expand.c makes of a form, and compile.c turns into instructions.
 *
 * A compilation lives as long as one form at the top level is compiled.  Its nodes, scopes and
 * variables lie in an arena of its own.  Values of the heap that it makes or holds stand in `kept`,
 * which a root provider visits: so no function here names roots, but each value that is made goes
 * through `keep` at once.
 */
#ifndef SCHEME_AST_H
#define SCHEME_AST_H

#include "scheme.h"

struct lambda;
struct node;
struct loop;

struct variable {
  scm name;
  struct lambda *owner;
  bool assigned;         /* by set! */
  bool late;             /* gets its value after closures could have captured it */
  bool captured;         /* by a lambda expression inside of the owner */
  bool fixed;            /* always the same lambda expression: of letrec, never assigned */
  scm class;             /* what is known of its value; 0: nothing */
  struct loop *loop;     /* not a value at all but the name of a loop */
  unsigned slot;         /* while code is made: where it lies in the frame */
  bool empty;            /* and its value was not made yet */
  struct variable *next; /* of the same form */
};

/* A named let whose name is only called, and only where that is the last thing it does. */
struct loop {
  struct variable *variables; /* as many as it has arguments */
  unsigned count;
  bool failed; /* the name was used in another way: the form is read again, as letrec */
  struct lambda *owner;
  struct loop *outer; /* the one whose last thing this one is, or NULL */
  unsigned base;      /* while code is made: slot of the first variable */
  size_t start;       /* and the first instruction */
};

enum node_kind {
  NODE_CONSTANT,
  NODE_LOCAL,
  NODE_GLOBAL,
  NODE_SET_LOCAL,
  NODE_SET_GLOBAL,
  NODE_DEFINE,
  NODE_IF,
  NODE_SEQUENCE, /* parts, at least one */
  NODE_AND,      /* parts */
  NODE_OR,
  NODE_LAMBDA,
  NODE_LET,    /* variables, parts: their values; body */
  NODE_LETREC, /* the same, in order; fixed ones first of all */
  NODE_LOOP,   /* loop, parts: the first values; body */
  NODE_AGAIN,  /* loop, parts: the next values */
  NODE_CALL,   /* body: the procedure; parts: arguments */
  NODE_OPEN,   /* an operation of the VM, `operation`, on parts */
  NODE_SLOT, /* word `operation` of the instance that the variable parts[0] holds, whose slot has */
             /* the name `value`; body: what is to be in it, or NULL */
};

struct node {
  enum node_kind kind;
  unsigned count;
  struct node **parts;
  struct node *body, *test, *otherwise; /* NODE_IF: test, body, otherwise */
  scm value; /* a constant, the symbol of a global, the name of a lambda */
  struct variable *variable, *variables;
  struct lambda *lambda;
  struct loop *loop;
  unsigned operation;
};

struct lambda {
  struct lambda *outer;
  struct variable *parameters;
  unsigned needed;
  bool rest;
  struct variable **free; /* of enclosing ones, in the order of the closure's words */
  unsigned free_count, free_capacity;
  scm name;
  struct node *body;
};

struct arena_block;

#define DEPTH_MOST 5000u /* of forms in forms: the C stack is not endless */

struct compilation {
  struct vm *vm;
  scm *kept;
  size_t kept_count, kept_capacity;
  struct arena_block *blocks;
  scm *failed; /* forms that were found to be no loops: see expand.c */
  size_t failed_count, failed_capacity;
  scm plain;      /* a table of parts of a template that have no unquote: see expand.c */
  unsigned depth; /* of forms in forms */
  bool renamed;   /* there are aliases */
};

/* NULL or 0, with the condition set: no memory. */
void *arena_take(struct compilation *c, size_t size); /* cleared */
void arena_drop(struct compilation *c);
scm keep(struct compilation *c, scm value); /* 0 stays 0 */
/* Room for one more than `count`; false: there is no memory, and the condition is set. */
bool grow(struct compilation *c, scm **items, size_t count, size_t *capacity);

/* The form as a lambda expression without parameters; NULL: it is wrong, and the condition says how
 * (kind "syntax"). */
struct lambda *expand(struct compilation *c, scm form);

/* Operations that have instructions of their own, by the names of the procedures that they stand
 * for; their order is that of the instructions in vm.h.  `symbol_operation` is 0 where there is
 * none for so many arguments, or the procedure was defined anew. */
unsigned symbol_operation(scm symbol, unsigned count);

/* Syntax errors: all return NULL. */
void *syntax_error(struct compilation *c, const char *message, scm form);

#endif
