/* SPDX-License-Identifier: MIT */
/*
 * Streams: open files.  The descriptor is closed when the last reference goes, or when a collection
 * finds the stream in a circle of garbage.
 *
 * That is the work of `finalize` and not of `free`, because it uses what the stream refers to: the
 * path, for the message.  Finalizers run while all of the garbage is whole; when `free` runs, the
 * path may be gone.  It runs once for each stream, on whichever thread gave up the last reference
 * or collects, so what it changes is atomic.  The references in slots are given up by the library.
 *
 * A call that may block (open, read, close) is in a blocked region, so that collections need not
 * wait for it.  That is a safepoint; the stream has its references, and nothing else is open.
 */
#define _GNU_SOURCE
#include "object.h"
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define WORD_MAX 64 /* bytes; what is longer counts as several words */

const tarn_type *stream_type;
static _Atomic uint64_t opened, closed;
static _Thread_local int error;

int stream_errno(void) { return error; }
uint64_t streams_opened(void) { return opened; }
uint64_t streams_closed(void) { return closed; }

static void stream_finalize(tarn_thread *self, void *object) {
  struct stream *stream = object;
  if (stream->descriptor < 0)
    return;
  tarn_block_begin(self);
  int result = close(stream->descriptor);
  tarn_block_end(self);
  stream->descriptor = -1;
  atomic_fetch_add_explicit(&closed, 1, memory_order_relaxed);
  if (result != 0)
    fprintf(stderr, "refcount: %.*s: cannot be closed\n", (int)stream->path->length,
            stream->path->text);
}

void stream_start(tarn_world *world, tarn_status *status) {
  stream_type = type_make(world,
                          (tarn_type_spec){.name = "stream",
                                           .size = sizeof(struct stream),
                                           .slot_bits = 1u << offsetof(struct stream, path) / 8 |
                                                        1u << offsetof(struct stream, on_word) / 8,
                                           .finalize = stream_finalize},
                          status);
}

/* No descriptor left?  Streams in garbage may have some: a collection closes them. */
static int open_descriptor(tarn_thread *self, const char *path) {
  for (int attempt = 1;; attempt++) {
    tarn_block_begin(self);
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    error = descriptor < 0 ? errno : 0;
    tarn_block_end(self);
    if ((error != EMFILE && error != ENFILE) || attempt == 100 ||
        tarn_collect_cycles(self, TARN_GENERATION_FULL) != TARN_OK)
      return descriptor;
  }
}

/* The object first: a descriptor that is open always has an owner, whatever fails. */
struct stream *stream_open(tarn_thread *self, const char *path) {
  error = 0;
  struct stream *stream = object_new(self, stream_type);
  if (stream == NULL)
    return NULL;
  stream->descriptor = -1;
  stream->path = string_of(self, path, strlen(path)); /* with its reference */
  if (stream->path != NULL)
    stream->descriptor = open_descriptor(self, path);
  if (stream->descriptor >= 0) {
    atomic_fetch_add_explicit(&opened, 1, memory_order_relaxed);
    return stream;
  }
  tarn_unref(self, stream);
  return NULL;
}

void stream_on_word(tarn_thread *self, struct stream *stream, struct closure *closure) {
  struct closure *old = stream->on_word;
  stream->on_word = ref(closure);
  tarn_unref(self, old);
}

/* The lower-case form of a byte that belongs to a word, or 0. */
static char word_byte(unsigned char byte) {
  if (byte >= 'A' && byte <= 'Z')
    return (char)(byte - 'A' + 'a');
  bool inside = (byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9') || byte == '_';
  return inside || byte >= 0x80 ? (char)byte : 0;
}

static bool tell(tarn_thread *self, struct stream *stream, const char *text, size_t length) {
  struct string *word = string_of(self, text, length);
  bool good =
      word != NULL && (stream->on_word == NULL || closure_call(self, stream->on_word, word));
  stream->words += good;
  tarn_unref(self, word);
  return good;
}

bool stream_read(tarn_thread *self, struct stream *stream, char *buffer, size_t size) {
  char word[WORD_MAX];
  size_t length = 0;
  for (;;) {
    tarn_block_begin(self);
    ssize_t got = read(stream->descriptor, buffer, size);
    error = got < 0 ? errno : 0;
    tarn_block_end(self);
    if (got < 0)
      return false;
    for (ssize_t i = 0; i < got || (got == 0 && length > 0); i++) {
      char byte = got == 0 ? 0 : word_byte((unsigned char)buffer[i]);
      if (byte != 0)
        word[length++] = byte;
      if (length < WORD_MAX && (byte != 0 || length == 0))
        continue;
      if (!tell(self, stream, word, length))
        return false;
      length = 0;
    }
    if (got == 0)
      return true;
  }
}
