/* SPDX-License-Identifier: MIT */
/*
 * tarn/base.h: status codes and the few macros every other header needs.
 *
 * Failure is a value.  A function that can fail for a reason that its caller can cause returns a
 * `tarn_status`, or NULL with the status kept in the thread (`tarn_thread_status`).  Nothing is
 * printed and nothing aborts for such a reason.  Only corruption that was found (a double free, a
 * wild pointer given to `tarn_free`, a write to a free block) is reported on standard error and
 * then aborts: going on would destroy the evidence.
 */
#ifndef TARN_BASE_H
#define TARN_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Around the declarations of a header: C names, also in C++. */
#ifdef __cplusplus
#define TARN_BEGIN_DECLS extern "C" {
#define TARN_END_DECLS }
#else
#define TARN_BEGIN_DECLS
#define TARN_END_DECLS
#endif

/* Marks what the shared library exports. */
#if defined(__GNUC__)
#define TARN_API __attribute__((visibility("default")))
/* Say which way a branch of the inlined paths mostly goes. */
#define TARN_UNLIKELY(condition) __builtin_expect(!!(condition), 0)
#define TARN_LIKELY(condition) __builtin_expect(!!(condition), 1)
#else
#error "Tarn needs a compiler with GNU C builtins (gcc or clang)"
#endif

/* The version of these headers; tarn_version() is that of the library. */
#define TARN_VERSION_MAJOR 0
#define TARN_VERSION_MINOR 1
#define TARN_VERSION_PATCH 0

TARN_BEGIN_DECLS

/* What a call came to.  The numbers are part of the binary interface and never change. */
typedef enum tarn_status {
  TARN_OK = 0,           /* it was done */
  TARN_EINVAL = 1,       /* an argument is NULL or out of range */
  TARN_ENOMEM = 2,       /* the system gave no memory, also after a full collection */
  TARN_ELIMIT = 3,       /* the hard limit (TARN_HARD_LIMIT) stands in the way */
  TARN_EOVERFLOW = 4,    /* a size does not fit into size_t, or is larger than any object may be */
  TARN_EOPTION = 5,      /* an option was wrong and TARN_STRICT=1 is set */
  TARN_EHELP = 6,        /* TARN_HELP=1: the help was printed, no world was made */
  TARN_EDETACHED = 7,    /* the thread is not attached to the world */
  TARN_EWRONGTHREAD = 8, /* a tarn_thread was used by another thread than its own */
  TARN_EHELD = 9, /* not possible between tarn_gc_hold and tarn_gc_release, or inside a function
                     that the library called */
  TARN_EUNBALANCED = 10, /* a hold, frame or blocked region was left open, or closed twice */
  TARN_ETHREADS = 11,    /* more threads than TARN_MAX_THREADS */
  TARN_EWORLDS = 12,     /* more worlds than a process can have, or no address space for one */
  TARN_ETYPE = 13,       /* a type description that makes no sense; see tarn_type_spec */
  TARN_EBUSY = 14, /* something is still in use: a world with attached threads, a heap with types */
  TARN_ENOTFOUND = 15, /* nothing of that kind is registered */
  TARN_ECORRUPT = 16,  /* tarn_verify found a broken invariant */
  TARN_ESYSTEM = 17,   /* a system call failed for another reason; errno says which */
  TARN_EDISABLED = 18, /* switched off by an option */
  TARN_EKIND =
      19 /* not in a world of this kind: one that counts references, or one that does not */
} tarn_status;

/* A sentence for a status, never NULL, without a final full stop.  Any thread, any time. */
TARN_API const char *tarn_strerror(tarn_status status);

/* "0.1.0".  Any thread, any time. */
TARN_API const char *tarn_version(void);

/*
 * The handles.  All are opaque; `tarn_thread` alone shows a few fields in tarn/inline.h, which the
 * inlined fast paths use and nobody else should.
 */
typedef struct tarn_world tarn_world;
typedef struct tarn_heap tarn_heap;
typedef struct tarn_thread tarn_thread;
typedef struct tarn_type tarn_type;
typedef struct tarn_visitor tarn_visitor;

/* Takes what the library writes, in pieces and in their order; returns false to end the writing.
 * The calls that take such a function say what it may do, and how large the pieces are. */
typedef bool (*tarn_write_fn)(void *data, const char *bytes, size_t size);

TARN_END_DECLS

#endif
