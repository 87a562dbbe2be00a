/* SPDX-License-Identifier: MIT */
/*
 * vm.h: the instructions of the VM, for compile.c, which makes them, and vm.c, which runs them.
 *
 * An instruction is a word of 32 bits: the operation in the low 8, an operand A in the other 24.
 * Some take further words.  The machine has a stack and no registers; an expression leaves its
 * value on top.
 *
 * The stack of a call, from low addresses to high ones:
 *
 *     pc   of the caller, as a fixnum; -1: return to C
 *     fp   of the caller, as a fixnum
 *     the procedure
 *     arguments        <- fp
 *     variables and values in between
 *                      <- sp
 */
#ifndef SCHEME_VM_H
#define SCHEME_VM_H

#include "scheme.h"

/* Name, and arguments taken from the stack by those that stand for a procedure. */
enum operation {
  OP_NONE,
  OP_CONSTANT,      /* constant A */
  OP_FIXNUM,        /* the fixnum A, with a sign */
  OP_LOCAL,         /* fp[A] */
  OP_LOCAL_BOX,     /* what is in the box fp[A] */
  OP_FREE,          /* free variable A of the closure */
  OP_FREE_BOX,      /* what is in that box */
  OP_GLOBAL,        /* the value of the symbol that is constant A */
  OP_SET_LOCAL,     /* fp[A] becomes the top, which goes */
  OP_SET_LOCAL_BOX, /* fp[A]'s content */
  OP_SET_FREE_BOX,
  OP_SET_GLOBAL, /* it must have a value */
  OP_DEFINE,     /* the symbol of constant A; leaves that */
  OP_POP,        /* A words */
  OP_SLIDE,      /* takes A words away from under the top */
  OP_JUMP,       /* A words further */
  OP_JUMP_FALSE, /* takes the top */
  OP_JUMP_TRUE,
  OP_JUMP_FALSE_KEEP, /* if the top is #f, which stays; else it goes */
  OP_JUMP_TRUE_KEEP,
  OP_BOX,     /* fp[A] goes into a box that takes its place */
  OP_NEW_BOX, /* an empty box */
  OP_CLOSURE, /* of code constant A; next: number of words, then for each CAPTURE_... */
  OP_PATCH,   /* free variable (next word) of the closure in fp[A] becomes the top, which goes */
  OP_CALL,    /* A arguments lie on top of their procedure */
  OP_TAIL,
  OP_CALL_GLOBAL, /* A: the symbol; next: arguments, which lie on nothing */
  OP_TAIL_GLOBAL,
  OP_RETURN,
  OP_AGAIN,       /* next: n, distance back: the n words on top move to fp[A] on, and are the top */
  OP_CHECK_CLASS, /* fp[0] must be an instance of the class that is constant A */
  OP_SLOT_REF,    /* word A of the instance on top */
  OP_SLOT_SET,    /* word A of the instance below the top becomes that; leaves unspecified */
  OP_CAR,         /* from here on by symbol: see operation_names in vm.c */
  OP_CDR,
  OP_CADR,
  OP_CDDR,
  OP_CONS,
  OP_IS_NULL,
  OP_IS_PAIR,
  OP_NOT,
  OP_IS_EQ,
  OP_IS_ZERO,
  OP_ADD,
  OP_SUBTRACT,
  OP_MULTIPLY,
  OP_EQUALS,
  OP_LESS,
  OP_GREATER,
  OP_AT_MOST,
  OP_AT_LEAST,
  OP_VECTOR_REF,
  OP_VECTOR_SET,
  OP_SET_CAR,
  OP_SET_CDR,
  OP_STRING_REF,
  OP_QUOTIENT,
  OP_REMAINDER,
  OP_RECORD_REF,
  OP_RECORD_SET,
  OP_ADD_FIXNUM, /* the fixnum A, with a sign, is added to the top */
  OPERATIONS
};

#define OP_FIRST_NAMED OP_CAR
#define OP_LAST_NAMED OP_RECORD_SET

/* In words after OP_CLOSURE: where a captured word comes from. */
#define CAPTURE_LOCAL 0u
#define CAPTURE_FREE 1u
#define CAPTURE_NOTHING 2u /* OP_PATCH follows */
#define CAPTURE(kind, index) ((uint32_t)(index) << 2 | (kind))

#define INSTRUCTION(operation, a) ((uint32_t)(operation) | (uint32_t)(a) << 8)
#define OPERAND_MOST ((1 << 23) - 1)
#define OPERATION_OF(word) ((word)&0xff)
#define OPERAND_OF(word) ((word) >> 8)
#define SIGNED_OPERAND_OF(word) ((int32_t)(word) >> 8)

struct named_operation {
  const char *name;
  unsigned arguments;
};
extern const struct named_operation named_operations[OPERATIONS];

#endif
