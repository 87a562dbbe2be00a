/* SPDX-License-Identifier: MIT */
/*
 * number.h: what number.c and number_text.c share.
 */
#ifndef SCHEME_NUMBER_H
#define SCHEME_NUMBER_H

#include "scheme.h"
#include <gmp.h>

/* A copy of an integer of any kind, to be cleared. */
void init_integer(mpz_ptr n, scm v);
/* A number made from `n`, which is cleared. */
scm finish_integer(struct vm *vm, const char *who, mpz_ptr n, bool inexact);

#endif
