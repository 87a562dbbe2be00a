/* SPDX-License-Identifier: MIT */
/*
 * json.h: reads JSON piece by piece, in memory that does not grow with it.
 *
 * One buffer of the file, one of the last string, a bit for each level of nesting.  Strings are cut
 * at JSON_TEXT bytes.  What follows the one value of the file but blanks is an error, as everything
 * else that is no JSON.
 */
#ifndef JSON_H
#define JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum json_kind {
  JSON_ERROR, /* json.error says what; nothing follows */
  JSON_END,
  JSON_OBJECT,
  JSON_OBJECT_END,
  JSON_ARRAY,
  JSON_ARRAY_END,
  JSON_KEY, /* of the value that follows */
  JSON_STRING,
  JSON_NUMBER,
  JSON_WORD /* true, false, null: json.text */
};

#define JSON_TEXT 1024u
#define JSON_DEEP 64u
#ifndef JSON_BUFFER
#define JSON_BUFFER ((size_t)1 << 16)
#endif

struct json {
  int file;
  bool cut_off; /* the error is that the file ends before the value does */
  bool closed;  /* the value is complete */
  bool wants;   /* a comma or a bracket must come first */
  bool keyed;   /* a key was read, its value follows */
  bool whole;   /* the number is one of those that `number` can hold */
  unsigned depth;
  uint64_t objects; /* bit d: level d is an object, else an array */
  uint64_t number;
  double real; /* the number, if it is not whole */
  const char *error;
  size_t at, end;  /* in buffer */
  uint64_t before; /* bytes of the file before the buffer */
  size_t length;   /* of text */
  char text[JSON_TEXT + 1];
  char buffer[JSON_BUFFER];
};

/* Begins to read a file that is open; json_next closes nothing. */
void json_begin(struct json *json, int file);
/* The same where `before` bytes, which were blanks, and `byte` were read from it already. */
void json_begin_with(struct json *json, int file, uint64_t before, char byte);

enum json_kind json_next(struct json *json);

/* Reads over a value whose first token was `kind`.  False: an error. */
bool json_skip(struct json *json, enum json_kind kind);

/* The last number, as a double. */
static inline double json_real(const struct json *json) {
  return json->whole ? (double)json->number : json->real;
}

/* Bytes read so far, for messages. */
static inline uint64_t json_place(const struct json *json) { return json->before + json->at; }

#endif
