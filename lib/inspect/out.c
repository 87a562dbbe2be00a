/* SPDX-License-Identifier: MIT */
/*
 * inspect/out.c: a buffered writer, and the few forms of text that its users need.  See out.h.
 */
#include "inspect/out.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { BUFFER = 64 * 1024 };

/* --- beginning, handing on, ending ----------------------------------------------------------- */

static void fail(struct tarn_out *out, tarn_status status, int error) {
  if (out->status != TARN_OK)
    return;
  out->status = status;
  out->error = error;
}

static void begin(struct tarn_out *out) {
  *out = (struct tarn_out){.file = -1, .status = TARN_OK};
  out->buffer = tarn_os_map(BUFFER);
  if (!out->buffer)
    fail(out, TARN_ENOMEM, ENOMEM);
}

static int make_file(const char *path, enum tarn_out_mode mode) {
  switch (mode) {
  case TARN_OUT_ALONE:
    return tarn_os_create_alone(path);
  case TARN_OUT_SHARED:
    return tarn_os_create_shared(path);
  case TARN_OUT_NEW:
  case TARN_OUT_NEW_SHARED:
    return tarn_os_create_new(path, mode == TARN_OUT_NEW_SHARED);
  default:
    return tarn_os_create(path, mode == TARN_OUT_APPEND);
  }
}

void tarn_out_begin_file(struct tarn_out *out, const char *path, enum tarn_out_mode mode) {
  begin(out);
  if (out->status != TARN_OK)
    return;
  out->file = make_file(path, mode);
  if (out->file < 0)
    fail(out, TARN_ESYSTEM, errno);
  else
    out->own = mode != TARN_OUT_APPEND && tarn_os_is_own_file(out->file);
}

void tarn_out_begin_fn(struct tarn_out *out, tarn_write_fn fn, void *data) {
  begin(out);
  out->fn = fn;
  out->data = data;
}

static void hand_on(struct tarn_out *out, const char *bytes, size_t size) {
  bool good = out->fn ? out->fn(out->data, bytes, size) : tarn_os_write(out->file, bytes, size);
  if (good)
    out->written += size;
  else
    fail(out, TARN_ESYSTEM, out->fn ? ECANCELED : errno);
}

bool tarn_out_flush(struct tarn_out *out) {
  if (out->status == TARN_OK && out->used > 0)
    hand_on(out, out->buffer, out->used);
  out->used = 0;
  return out->status == TARN_OK;
}

bool tarn_out_flush_ended(struct tarn_out *out, const char *end) {
  if (tarn_out_flush(out) && out->own)
    tarn_os_write_at(out->file, end, strlen(end), out->written);
  return out->status == TARN_OK;
}

tarn_status tarn_out_end(struct tarn_out *out) {
  (void)tarn_out_flush(out);
  /* Some file systems tell only now that there was no room. */
  if (out->file >= 0 && !tarn_os_close(out->file))
    fail(out, TARN_ESYSTEM, errno);
  out->file = -1;
  if (out->buffer)
    tarn_os_unmap(out->buffer, BUFFER);
  out->buffer = NULL;
  if (out->status != TARN_OK)
    errno = out->error;
  return out->status;
}

/* --- text ------------------------------------------------------------------------------------ */

void tarn_out_bytes(struct tarn_out *out, const char *bytes, size_t size) {
  if (size > BUFFER - out->used)
    (void)tarn_out_flush(out);
  if (out->status != TARN_OK)
    return;
  if (size > BUFFER) {
    hand_on(out, bytes, size);
    return;
  }
  memcpy(out->buffer + out->used, bytes, size);
  out->used += size;
}

void tarn_out_text(struct tarn_out *out, const char *text) {
  tarn_out_bytes(out, text, strlen(text));
}

/* The digits of a number, at the end of a buffer that has room for them. */
static char *digits_of(uint64_t number, unsigned base, char *end) {
  do {
    *--end = "0123456789abcdef"[number % base];
    number /= base;
  } while (number);
  return end;
}

void tarn_out_number(struct tarn_out *out, uint64_t number) {
  char digits[20], *end = digits + sizeof digits, *from = digits_of(number, 10, end);
  tarn_out_bytes(out, from, (size_t)(end - from));
}

void tarn_out_signed(struct tarn_out *out, int64_t number) {
  if (number < 0)
    tarn_out_bytes(out, "-", 1);
  tarn_out_number(out, number < 0 ? 0 - (uint64_t)number : (uint64_t)number);
}

void tarn_out_decimal(struct tarn_out *out, uint64_t number, unsigned places) {
  char digits[20], *end = digits + sizeof digits, *from = digits_of(number, 10, end);
  if (places >= sizeof digits)
    places = sizeof digits - 1;
  while ((size_t)(end - from) <= places)
    *--from = '0';
  tarn_out_bytes(out, from, (size_t)(end - from) - places);
  if (places > 0) {
    tarn_out_bytes(out, ".", 1);
    tarn_out_bytes(out, end - places, places);
  }
}

void tarn_out_hex(struct tarn_out *out, uint64_t number) {
  char digits[16], *end = digits + sizeof digits, *from = digits_of(number, 16, end);
  tarn_out_text(out, "0x");
  tarn_out_bytes(out, from, (size_t)(end - from));
}

/* --- JSON ------------------------------------------------------------------------------------ */

size_t tarn_out_utf8(const char *from) {
  const unsigned char *text = (const unsigned char *)from;
  static const struct {
    unsigned char first, last; /* of the first byte */
    unsigned char low, high;   /* of the second */
    unsigned char length;
  } forms[] = {{0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
               {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3},
               {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
               {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4}};
  if (text[0] < 0x80)
    return 1;
  for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
    if (text[0] < forms[i].first || text[0] > forms[i].last)
      continue;
    if (text[1] < forms[i].low || text[1] > forms[i].high)
      return 0;
    for (size_t j = 2; j < forms[i].length; j++)
      if (text[j] < 0x80 || text[j] > 0xbf)
        return 0;
    return forms[i].length;
  }
  return 0;
}

static void json_escape(struct tarn_out *out, unsigned char c) {
  char escape[] = "\\u0000";
  escape[4] = "0123456789abcdef"[c >> 4];
  escape[5] = "0123456789abcdef"[c & 15];
  tarn_out_text(out, escape);
}

void tarn_out_json(struct tarn_out *out, const char *text) {
  const unsigned char *at = (const unsigned char *)text;
  tarn_out_bytes(out, "\"", 1);
  while (*at) {
    size_t length = tarn_out_utf8((const char *)at);
    if (length == 0)
      tarn_out_text(out, "\xef\xbf\xbd");
    else if (*at == '"' || *at == '\\')
      tarn_out_bytes(out, *at == '"' ? "\\\"" : "\\\\", 2);
    else if (*at < ' ' || *at == 0x7f)
      json_escape(out, *at);
    else
      tarn_out_bytes(out, (const char *)at, length);
    at += length ? length : 1;
  }
  tarn_out_bytes(out, "\"", 1);
}

/* --- paths ----------------------------------------------------------------------------------- */

bool tarn_out_path(const char *pattern, unsigned world, unsigned number, char *path, size_t room) {
  size_t length = 0;
  for (const char *at = pattern; *at; at++) {
    char piece[16] = {*at};
    if (*at == '%') {
      at++;
      if (*at == '%')
        piece[0] = '%';
      else
        (void)snprintf(piece, sizeof piece, "%u",
                       *at == 'p'   ? (unsigned)getpid()
                       : *at == 'w' ? world
                                    : number);
    }
    size_t more = strlen(piece);
    if (length + more >= room) {
      path[0] = '\0';
      return false;
    }
    memcpy(path + length, piece, more);
    length += more;
  }
  path[length] = '\0';
  return true;
}

bool tarn_out_ends_in(const char *path, const char *end) {
  size_t length = strlen(path), ending = strlen(end);
  return length >= ending && strcmp(path + length - ending, end) == 0;
}
