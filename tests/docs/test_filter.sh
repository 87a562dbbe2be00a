#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: test_filter.sh HEADER.AWK
# What the filter makes of each form that a comment of a public header may have, line for line.
set -u
filter=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cat >"$work/in" <<'HEADER'
/* SPDX-License-Identifier: MIT */
/*
 * tarn/pond.h: ponds & `<what>` lies in <them>.
 *
 * They are:
 *
 *   small     few words
 *   large     many
 *
 * In order:
 *
 *   1. dig,
 *      deep;
 *   2. fill.
 */
#ifndef TARN_POND_H
#define TARN_POND_H

/* --- a heading ------------------------- */

/* How deep. */
#define TARN_POND_DEPTH 3

#define TARN_POND_WIDTH 4 /* of ponds */

/* A pond. */
typedef struct tarn_pond {
  int depth; /* NULL: in metres */
  int fish;  /* not
                counted */
  /* What it is called. */
  const char *name;
  const char *nick;
} tarn_pond;

/* Kinds. */
typedef enum tarn_pond_kind {
  TARN_POND_DRY = 0, /* no water */
  TARN_POND_WET =
      1 /* water */
} tarn_pond_kind;

/*
 * Digs.  Errors: TARN_EINVAL (100%).  Cost: a day.
 * NULL: no shovel.
 *
 *   pond = tarn_pond_dig(3);
 */
TARN_API tarn_pond *tarn_pond_dig(int depth,
                                  int width);
TARN_API void tarn_pond_fill(tarn_pond *pond);

TARN_API void tarn_pond_silent(tarn_pond *pond);

/* Is called. */
typedef void (*tarn_pond_fn)(void *data);
TARN_API void tarn_pond_call(tarn_pond_fn fn); /* at once */

/* Inlined. */
static inline int tarn_inline_pond(int depth) {
  int deeper = depth + 1; /* not a member */
  return deeper;
}
static inline int tarn_pond_twice(void) { return 2; }
#endif
HEADER

cat >"$work/expected" <<'DOXYGEN'
/* SPDX-License-Identifier: MIT */
/** @file tarn/pond.h
@brief Ponds \& `<what>` lies in \<them\>.

They are:
@verbatim
  small     few words
  large     many
@endverbatim
In order:

  1. dig,
     deep;
  2. fill.
 */
#ifndef TARN_POND_H
#define TARN_POND_H

/* --- a heading ------------------------- */

/** How deep. */
#define TARN_POND_DEPTH 3

#define TARN_POND_WIDTH 4 /**< of ponds */

/** A pond. */
typedef struct tarn_pond {
  int depth; /**< NULL: in metres */
  int fish;  /**< not
counted */
  /** What it is called. */
  const char *name;
/** @copydoc tarn_pond::name */   const char *nick;
} tarn_pond;

/** Kinds. */
typedef enum tarn_pond_kind {
  TARN_POND_DRY = 0, /**< no water */
  TARN_POND_WET =
      1 /**< water */
} tarn_pond_kind;

/**
Digs.  @tarnerrors TARN_EINVAL (100\%).  @tarncost a day.
@tarnnull no shovel.
@code{.c}
  pond = tarn_pond_dig(3);
@endcode */
TARN_API tarn_pond *tarn_pond_dig(int depth,
                                  int width);
/** @copydoc tarn_pond_dig */ TARN_API void tarn_pond_fill(tarn_pond *pond);

TARN_API void tarn_pond_silent(tarn_pond *pond);

/** Is called. */
typedef void (*tarn_pond_fn)(void *data);
TARN_API void tarn_pond_call(tarn_pond_fn fn); /**< at once */

/** Inlined. @tarninternal */
static inline int tarn_inline_pond(int depth) {
  int deeper = depth + 1; /* not a member */
  return deeper;
}
/** @copydoc tarn_inline_pond */ static inline int tarn_pond_twice(void) { return 2; }
#endif
DOXYGEN

failed=1
for awk in awk mawk gawk 'busybox awk'; do
  command -v "${awk%% *}" >/dev/null || continue
  # shellcheck disable=SC2086 # busybox awk is two words
  $awk -f "$filter" "$work/in" >"$work/out" || exit 1
  if ! diff -u "$work/expected" "$work/out"; then
    echo "FAILED: $awk -f $filter makes something else of it (+)"
    exit 1
  fi
  echo "as expected with $awk"
  failed=0
done
exit $failed
