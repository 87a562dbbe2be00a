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

/* O: an operation.  P: one that stands for a procedure, where a symbol of that name is called with
 * that many arguments, which it takes from the stack. */
#define OPERATION_LIST(O, P)                                                                   \
  O(NONE)                                                                                      \
  O(CONSTANT)      /* constant A */                                                            \
  O(FIXNUM)        /* the fixnum A, with a sign */                                             \
  O(LOCAL)         /* fp[A] */                                                                 \
  O(LOCAL_BOX)     /* what is in the box fp[A] */                                              \
  O(FREE)          /* free variable A of the closure */                                        \
  O(FREE_BOX)      /* what is in that box */                                                   \
  O(GLOBAL)        /* the value of the symbol that is constant A */                            \
  O(SET_LOCAL)     /* fp[A] becomes the top, which goes */                                     \
  O(SET_LOCAL_BOX) /* fp[A]'s content */                                                       \
  O(SET_FREE_BOX)                                                                              \
  O(SET_GLOBAL) /* it must have a value */                                                     \
  O(DEFINE)     /* the symbol of constant A; leaves that */                                    \
  O(POP)        /* A words */                                                                  \
  O(SLIDE)      /* takes A words away from under the top */                                    \
  O(JUMP)       /* A words further */                                                          \
  O(JUMP_FALSE) /* takes the top */                                                            \
  O(JUMP_TRUE)                                                                                 \
  O(JUMP_FALSE_KEEP) /* if the top is #f, which stays; else it goes */                         \
  O(JUMP_TRUE_KEEP)                                                                            \
  O(BOX)     /* fp[A] goes into a box that takes its place */                                  \
  O(NEW_BOX) /* an empty box */                                                                \
  O(CLOSURE) /* of code constant A; next: number of words, then for each CAPTURE_... */        \
  O(PATCH)   /* free variable (next word) of the closure fp[A] becomes the top, which goes */  \
  O(CALL)    /* A arguments lie on top of their procedure */                                   \
  O(TAIL)                                                                                      \
  O(CALL_GLOBAL) /* A: the symbol; next: arguments, which lie on nothing */                    \
  O(TAIL_GLOBAL)                                                                               \
  O(RETURN)                                                                                    \
  O(AGAIN)       /* next: n, distance back: the n words on top go to fp[A], and are the top */ \
  O(CHECK_CLASS) /* fp[0] must be an instance of the class that is constant A */               \
  O(SLOT_REF)    /* word A of the instance on top */                                           \
  O(SLOT_SET)    /* word A of the instance below the top becomes that; leaves unspecified */   \
  O(ADD_FIXNUM)  /* the fixnum A, with a sign, is added to the top */                          \
  P(CAR, "car", 1)                                                                             \
  P(CDR, "cdr", 1)                                                                             \
  P(CADR, "cadr", 1)                                                                           \
  P(CDDR, "cddr", 1)                                                                           \
  P(CONS, "cons", 2)                                                                           \
  P(IS_NULL, "null?", 1)                                                                       \
  P(IS_PAIR, "pair?", 1)                                                                       \
  P(NOT, "not", 1)                                                                             \
  P(IS_EQ, "eq?", 2)                                                                           \
  P(IS_ZERO, "zero?", 1)                                                                       \
  P(ADD, "+", 2)                                                                               \
  P(SUBTRACT, "-", 2)                                                                          \
  P(MULTIPLY, "*", 2)                                                                          \
  P(EQUALS, "=", 2)                                                                            \
  P(LESS, "<", 2)                                                                              \
  P(GREATER, ">", 2)                                                                           \
  P(AT_MOST, "<=", 2)                                                                          \
  P(AT_LEAST, ">=", 2)                                                                         \
  P(VECTOR_REF, "vector-ref", 2)                                                               \
  P(VECTOR_SET, "vector-set!", 3)                                                              \
  P(SET_CAR, "set-car!", 2)                                                                    \
  P(SET_CDR, "set-cdr!", 2)                                                                    \
  P(STRING_REF, "string-ref", 2)                                                               \
  P(QUOTIENT, "quotient", 2)                                                                   \
  P(REMAINDER, "remainder", 2)                                                                 \
  P(RECORD_REF, "%record-ref", 4)                                                              \
  P(RECORD_SET, "%record-set!", 5)

#define OPERATION_NUMBER(operation) OP_##operation,
#define PROCEDURE_NUMBER(operation, name, arguments) OP_##operation,
enum operation { OPERATION_LIST(OPERATION_NUMBER, PROCEDURE_NUMBER) OPERATIONS };

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
