/* SPDX-License-Identifier: MIT */
/*
 * os/cfi.h: what a module's tables for exceptions (.eh_frame, .eh_frame_hdr) say of one place in
 * its code: how to come from there to the function's caller.
 *
 * Of all that such tables can say only what compilers write for nearly every place is understood.
 * What is read lies in the bounds that the caller gives, whatever the tables say, damaged ones
 * among them.  Nothing is kept, no lock is taken, and only the stack is written to.
 *
 * On x86-64 with a C library that finds a module's tables without a lock (glibc 2.35); elsewhere
 * there is nothing of this.
 */
#ifndef TARN_OS_CFI_H
#define TARN_OS_CFI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TARN_UNWIND 0
#if defined(__x86_64__) && defined(__LP64__) && defined(__linux__) && defined(__GLIBC_PREREQ)
#if __GLIBC_PREREQ(2, 35)
#undef TARN_UNWIND
#define TARN_UNWIND 1
#endif
#endif

#if TARN_UNWIND

/* The frame's end is the address behind its return address: what RSP is when it has returned. */
enum tarn_cfi_kind {
  TARN_CFI_UNKNOWN = 1, /* not in the tables, or not understood */
  TARN_CFI_LAST = 2,    /* nobody called it */
  TARN_CFI_RSP = 3,     /* the frame's end is RSP + offset */
  TARN_CFI_RBP = 4,     /* the frame's end is RBP + offset */
  TARN_CFI_MOVED = 5 /* the stack was aligned: the frame's end is in the word at RBP + offset, and
                        the caller's RBP in that at RBP */
};

struct tarn_cfi_rule {
  enum tarn_cfi_kind kind;
  int32_t offset; /* in words */
  uint32_t rbp;   /* the caller's RBP is so many words below the frame's end; 0: in RBP still */
};

/* Bounds of `offset`, either way, and of `rbp`: what goes beyond is not understood. */
#define TARN_CFI_OFFSET_MOST ((int32_t)1 << 20)
#define TARN_CFI_RBP_MOST 31u

/* A module's: all bytes from `low` to `high` can be read; its .eh_frame_hdr begins at `header`. */
struct tarn_cfi_tables {
  uintptr_t low, high, header;
};

/* The rule at an address of code: of a caller, one below its return address. */
struct tarn_cfi_rule tarn_cfi_rule_at(const struct tarn_cfi_tables *tables, uintptr_t pc);

#endif
#endif
