/* SPDX-License-Identifier: MIT */
/*
 * The threads.  Each takes a file, builds its graph, adds that to its own part, and drops it.
 *
 * To drop a graph is to give up one reference.  It is full of circles and stays, until a collection
 * comes by itself, on whichever thread wants memory then.  So does the open file: it has a closure
 * that it calls with each word, and the closure has captured it.
 *
 * A thread hands its part to the main thread with the one reference that it has; whoever joins it
 * has seen all that it did.
 */
#include "program.h"
#include <stdio.h>
#include <string.h>

enum { THE_GRAPH, THE_STREAM, LAST_NODE, CAPTURED };

static bool note_word(tarn_thread *self, struct closure *closure, void *argument) {
  struct map *graph = as(map_type, closure->captured[THE_GRAPH]), *node;
  if (!graph_word(self, graph, as(map_type, closure->captured[LAST_NODE]), argument, &node))
    return false;
  closure_set(self, closure, LAST_NODE, node);
  return true;
}

/* The stream's words into the graph.  Afterwards stream and closure refer to each other. */
static bool read_words(struct worker *worker, struct map *graph, struct stream *stream) {
  tarn_thread *self = worker->self;
  void *values[CAPTURED] = {graph, stream, NULL};
  struct closure *closure = closure_new(self, note_word, CAPTURED, values);
  if (closure == NULL)
    return false;
  stream_on_word(self, stream, closure);
  tarn_unref(self, closure); /* the stream has it */
  return stream_read(self, stream, worker->buffer, sizeof worker->buffer);
}

/* The first thread that finds no memory says so; the others follow. */
static void say_why(struct worker *worker, const char *path) {
  struct run *run = worker->run;
  int error = stream_errno();
  if (error != 0)
    fail(run, "%s: %s", path, strerror(error));
  else if (!atomic_exchange(&run->stop, true))
    fail(run, "%s: its words find no place: %s", path,
         tarn_strerror(tarn_thread_status(worker->self)));
}

/* However far it comes, at the end each reference is given up. */
static void read_file(struct worker *worker, const char *path) {
  struct run *run = worker->run;
  tarn_thread *self = worker->self;
  struct stream *stream = stream_open(self, path);
  struct map *graph = stream == NULL ? NULL : map_new(self);
  if (graph != NULL && read_words(worker, graph, stream) &&
      graph_merge(self, worker->part, graph)) {
    atomic_fetch_add(&run->files, 1);
    atomic_fetch_add(&run->words, stream->words);
    atomic_fetch_add(&run->nodes, graph->used);
  } else {
    say_why(worker, path);
  }
  tarn_unref(self, graph);
  tarn_unref(self, stream);
}

void *reader_main(void *argument) {
  struct worker *worker = argument;
  struct run *run = worker->run;
  tarn_status status = tarn_thread_attach(run->world, &worker->self);
  if (status != TARN_OK) {
    fail(run, "cannot attach a thread: %s", tarn_strerror(status));
    return NULL;
  }
  char name[32];
  snprintf(name, sizeof name, "reader-%u", worker->number);
  tarn_thread_set_name(worker->self, name);
  worker->part = map_new(worker->self);
  if (worker->part == NULL)
    say_why(worker, name);
  for (size_t i; !run->stop && (i = atomic_fetch_add(&run->next, 1)) < run->path_count;)
    read_file(worker, run->paths[i]);
  tarn_thread_detach(worker->self);
  return NULL;
}
