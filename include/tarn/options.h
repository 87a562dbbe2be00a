/* SPDX-License-Identifier: MIT */
/*
 * tarn/options.h: how a world is configured.
 *
 * Every option has a name (`min-heap`), a kind (one of those below), a range and a default.
 * doc/options.md and the manual page tarn(7) list them all; so does any program that uses Tarn when
 * it is started with TARN_HELP=1.  TARN_SHOW_CONFIG=1 prints every value and where it came from.
 *
 * Where a value comes from; what is later in this list wins:
 *
 *   1. the default of the table;
 *   2. the build: the macro TARN_DEFAULT_OPTIONS, a string like `set` below;
 *   3. the program: tarn_options.set;
 *   4. the environment variable TARN_OPTIONS, again a string like `set`;
 *   5. the environment variable TARN_<NAME>, in upper case with `_` for `-`: TARN_MIN_HEAP=64M.
 *
 * The environment is read only while tarn_world_create runs, and not at all in a setuid or setgid
 * program, nor with TARN_OPTIONS_NO_ENVIRONMENT.  An empty value means "not set".
 *
 * A value that cannot be used (malformed, out of range, unknown name) is never fatal by itself:
 * one line on standard error names it, says what is accepted and which value is used instead.
 * With the option `strict` (TARN_STRICT=1) tarn_world_create then returns TARN_EOPTION.
 *
 * How values are written:
 *
 *   size        64K, 512M, 1.5G, 2T; also 64KB, 64KiB (all 1024-based); a bare number is bytes
 *   memory      a size, or a percentage of the detected memory limit: 25%, 12.5%
 *   percentage  150 or 150%
 *   count       1000
 *   switch      1 on yes true, 0 off no false
 *   flags       pools,first-pool  or  pools+first-pool  or  none
 *   levels      the same with levels: gc,heap=debug,thread=off; at the end perhaps :file=PATH
 *   word        one of a list: usr2
 *   duration    a number with ns, us, ms, s, m or h: 500ms, 1.5s; 0 needs no unit
 *   path        of a file, of at most 255 bytes; in it %p is the process's number, %w that of the
 *               world among those that the process made, %n that of the file among the option's, %%
 *               a percent sign.  In a list (2 and 4 above) a path has no comma.
 *
 * Names and words may be written in any case, names with `-` or `_`.
 */
#ifndef TARN_OPTIONS_H
#define TARN_OPTIONS_H

#include <tarn/base.h>

TARN_BEGIN_DECLS

/* tarn_options.flags: read nothing from the environment. */
#define TARN_OPTIONS_NO_ENVIRONMENT 1u

/* tarn_options.flags: the program keeps the rules of tarn/store.h, so young objects can be
 * collected alone (option `generations`).  Not an option, for only the program's author can know.
 */
#define TARN_OPTIONS_BARRIERS 2u

/* tarn_options.flags: the program counts references, see tarn/cycles.h: nothing is collected but
 * cycles.  Not together with TARN_OPTIONS_BARRIERS, of which such a world needs none. */
#define TARN_OPTIONS_COUNTING 4u

/*
 * What the program asks for.  Start from TARN_OPTIONS_INIT, so that a program stays right when the
 * structure grows:
 *
 *   tarn_options options = TARN_OPTIONS_INIT;
 *   options.set = "min-heap=64M,growth=150";
 *   options.lock = "collect,scan-stack";
 *   tarn_status status = tarn_world_create(&options, &world);
 *
 * The strings are read during tarn_world_create only; the caller keeps them.  They may be shared by
 * threads that create worlds at the same time.
 */
typedef struct tarn_options {
  /* sizeof(tarn_options) as the program was compiled.  Anything else than what TARN_OPTIONS_INIT
   * says makes tarn_world_create return TARN_EINVAL, but for a larger structure whose additional
   * bytes are all zero. */
  size_t struct_size;

  /* "name=value,name=value"; NULL or "" for nothing.  Blanks around names and values do not
   * count; of a name that occurs twice the last value is used. */
  const char *set;

  /* Names that the environment cannot change, "name,name", or "all"; NULL or "" for none.  A
   * variable that is ignored for this reason gets one line on standard error; it is no error, not
   * even with `strict`. */
  const char *lock;

  /* TARN_OPTIONS_ bits; other bits make tarn_world_create return TARN_EINVAL. */
  unsigned flags;
} tarn_options;

/* The defaults: nothing set, nothing locked, the environment is read. */
#define TARN_OPTIONS_INIT \
  { sizeof(tarn_options), NULL, NULL, 0u }

TARN_END_DECLS

#endif
