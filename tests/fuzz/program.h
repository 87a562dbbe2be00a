/* SPDX-License-Identifier: MIT */
/*
 * What the two halves of fuzz_program share: the bounds of a program.  A few hundred operations and
 * some thousand objects are a run of a few milliseconds.
 */
#ifndef TARN_FUZZ_PROGRAM_H
#define TARN_FUZZ_PROGRAM_H

#include "fuzz.h"

enum {
  STEPS = 300,
  COLLECTIONS = 24, /* each is checked as a whole, which takes longer than all else */
  OBJECTS = 2000,
  ROOTS = 24,
  SLOTS = 12, /* of an object that the model follows */
  BURST = 48, /* objects that one operation makes */
};

/* Ids are places in a table; this one is no object's. */
enum { NOBODY = 0 };

/* Operations that were done, in all programs of the process. */
extern uint64_t program_calls;

void fuzz_counting(struct fuzz_input *input, unsigned mode);

#endif
