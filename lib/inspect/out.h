/* SPDX-License-Identifier: MIT */
/*
 * inspect/out.h: what the library writes for other programs to read: to a file, or to a function of
 * the program's.
 *
 * A writer has one buffer, and an error that stays: after the first piece that could not be written
 * nothing more is, and tarn_out_end says so.  So whoever writes needs to look only once.
 *
 * It belongs to whoever made it: one thread at a time.  The buffer is pages of its own, so that a
 * writer can be used in a stop, where the program's malloc may be locked.
 */
#ifndef TARN_INSPECT_OUT_H
#define TARN_INSPECT_OUT_H

#include "os/os.h"
#include <tarn/base.h>

struct tarn_out {
  char *buffer; /* NULL: there was no memory */
  size_t used;
  uint64_t written; /* bytes handed on, without those in the buffer */
  int file;         /* -1: none */
  bool own;         /* it began empty, and nobody else writes to it */
  tarn_write_fn fn; /* instead of a file, unless NULL */
  void *data;
  tarn_status status; /* TARN_OK, or of the first failure */
  int error;          /* its errno */
};

/* How an existing file is treated. */
enum tarn_out_mode {
  TARN_OUT_OVER,
  TARN_OUT_ALONE, /* over, unless somebody else writes so: see tarn_os_create_alone */
  TARN_OUT_APPEND,
  TARN_OUT_SHARED, /* over, as the umask says */
  TARN_OUT_NEW,    /* it goes first, and may be somebody else's link to anything */
  TARN_OUT_NEW_SHARED
};

/*
 * Begins to write.  Whatever comes of it, tarn_out_end is due.  Files are made for their owner
 * alone (mode 0600), but for the SHARED ones: they tell what a program has in its memory.
 */
void tarn_out_begin_file(struct tarn_out *out, const char *path, enum tarn_out_mode mode);
void tarn_out_begin_fn(struct tarn_out *out, tarn_write_fn fn, void *data);

/* Hands the rest on, and closes.  TARN_ENOMEM, or TARN_ESYSTEM: not all was written, errno says why
 * (ECANCELED: the function refused). */
tarn_status tarn_out_end(struct tarn_out *out);

/* Hands on what there is, so that others can read it.  False: something has failed by now. */
bool tarn_out_flush(struct tarn_out *out);

/* The same, with an end behind it that what is written next takes the place of; so the file is
 * whole at any time.  What comes next must not be shorter.  Without the end in pipes, and where
 * others write as well. */
bool tarn_out_flush_ended(struct tarn_out *out, const char *end);

void tarn_out_bytes(struct tarn_out *out, const char *bytes, size_t size);
void tarn_out_text(struct tarn_out *out, const char *text);
void tarn_out_number(struct tarn_out *out, uint64_t number);
void tarn_out_signed(struct tarn_out *out, int64_t number);
/* With `places` digits after the point, whatever the locale: 1234567, 3 -> 1234.567. */
void tarn_out_decimal(struct tarn_out *out, uint64_t number, unsigned places);
void tarn_out_hex(struct tarn_out *out, uint64_t number); /* with 0x */

/* The length of the character of UTF-8 that a text begins with; 0: it begins with none. */
size_t tarn_out_utf8(const char *text);

/*
 * A string of JSON with its quotation marks.  What is no UTF-8 is replaced by U+FFFD, byte by byte,
 * since names are the program's, and readers refuse a file for one bad byte.
 */
void tarn_out_json(struct tarn_out *out, const char *text);

/*
 * Puts a path together from a pattern (see options.h): %p, %w, %n and %%.  False: it does not fit
 * into `room` bytes, and `path` is "".
 */
bool tarn_out_path(const char *pattern, unsigned world, unsigned number, char *path, size_t room);

/* Is the path's end that?  It says the format where there are several. */
bool tarn_out_ends_in(const char *path, const char *end);

#endif
