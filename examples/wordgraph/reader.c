/* SPDX-License-Identifier: MIT */
/*
 * Threads that read files, word by word.  An open file is an object whose `free` function closes
 * the descriptor; nothing else ever does.
 */
#define _GNU_SOURCE
#include "wordgraph.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct file { /* atomic heap: all words are raw */
  const tarn_type *type;
  struct run *run;
  struct descriptor *tally;
  int descriptor; /* -1: none */
};

/* Once for each file that became garbage, on any attached thread, with the world running. */
static void file_free(tarn_world *world, void *object) {
  struct file *file = object;
  (void)world;
  if (file->descriptor < 0)
    return;
  atomic_fetch_add_explicit(&file->tally->closed, 1, memory_order_relaxed);
  if (close(file->descriptor) != 0)
    atomic_fetch_add_explicit(&file->run->close_errors, 1, memory_order_relaxed);
}

bool reader_start(struct run *run) {
  run->file_type = make_type(
      run, (tarn_type_spec){.name = "open file", .size = sizeof(struct file), .free = file_free});
  return run->file_type != NULL;
}

/* No descriptor left?  Dead files may have some: a collection closes them.  Other readers, who are
 * short of them as well, may take those at once: hence several attempts.  -1: see errno. */
static int open_descriptor(tarn_thread *self, const char *path) {
  for (int attempt = 1;; attempt++) {
    tarn_block_begin(self); /* may take long, say on a network; touches no object */
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    int error = errno;
    tarn_block_end(self);
    if (descriptor >= 0 || (error != EMFILE && error != ENFILE) || attempt == 100 ||
        tarn_collect(self, TARN_GENERATION_FULL) != TARN_OK) {
      errno = error;
      return descriptor;
    }
  }
}

/* The object first: a descriptor that is open always has an owner, whatever fails. */
static struct file *file_open(struct worker *worker, const char *path, struct descriptor *tally) {
  const tarn_type *type = worker->run->file_type;
  struct file *file = made(worker, type, tarn_new(worker->self, type));
  if (file == NULL)
    return NULL;
  file->run = worker->run;
  file->tally = tally;
  file->descriptor = -1;
  TARN_FRAME(worker->self, &file);
  file->descriptor = open_descriptor(worker->self, path);
  if (file->descriptor < 0) {
    fail(worker->run, "%s: %s", path, strerror(errno));
    return NULL;
  }
  atomic_fetch_add_explicit(&tally->opened, 1, memory_order_relaxed);
  return file;
}

/* The next piece of the file, into the worker's own buffer; 0 at the end, -1 with errno. */
static ssize_t read_piece(struct worker *worker, int descriptor) {
  tarn_block_begin(worker->self);
  ssize_t got = read(descriptor, worker->buffer, sizeof worker->buffer);
  int error = errno;
  tarn_block_end(worker->self);
  errno = error;
  return got;
}

struct cut {           /* what is known between two pieces of a text */
  struct node *before; /* the last word; its graph keeps it alive */
  size_t length;
  char text[WORD_MAX];
};

/* Puts the words of a piece, or the last word (`size` 0), into the graph. */
static bool cut_piece(struct worker *worker, struct pass *pass, struct cut *cut, size_t size) {
  uint64_t words = 0;
  for (size_t i = 0; i < size || (size == 0 && cut->length > 0); i++) {
    char byte = size == 0 ? 0 : word_byte((unsigned char)worker->buffer[i]);
    if (byte != 0)
      cut->text[cut->length++] = byte;
    if (cut->length != WORD_MAX && (byte != 0 || cut->length == 0))
      continue;
    struct node *node = graph_word(worker, pass, cut->text, cut->length);
    if (node == NULL || (cut->before != NULL && graph_edge(worker, cut->before, node) == NULL))
      return false;
    cut->before = node;
    cut->length = 0;
    words++;
    /* Allocations stop for collections, but only here `free` functions run, such as file_free. */
    tarn_safepoint(worker->self);
  }
  /* Relaxed: the progress line wants no more than a recent value. */
  atomic_fetch_add_explicit(&worker->words, words, memory_order_relaxed);
  return true;
}

/* Afterwards the open file is garbage, and its descriptor still open. */
static bool read_file(struct worker *worker, struct pass *pass, size_t turn) {
  struct run *run = worker->run;
  const struct input *input = &run->plain.inputs[turn % run->plain.input_count];
  size_t number = (size_t)(pass - run->pass) * run->turns + turn;
  struct file *file = file_open(worker, input->path, &run->descriptors[number]);
  if (file == NULL)
    return false;
  TARN_FRAME(worker->self, &file);
  struct cut cut = {.before = NULL};
  struct stat now;
  ssize_t got;
  do {
    got = read_piece(worker, file->descriptor);
    if (got < 0) {
      fail(run, "%s: %s", input->path, strerror(errno));
      return false;
    }
    if (!cut_piece(worker, pass, &cut, (size_t)got))
      return false;
  } while (got > 0);
  if (fstat(file->descriptor, &now) != 0 || plain_changed(input, &now)) {
    fail(run, "%s: has changed since it was counted; nothing to compare with", input->path);
    return false;
  }
  atomic_fetch_add_explicit(&worker->objects, worker->made, memory_order_relaxed);
  worker->made = 0;
  return true;
}

/* Returns false when the run has failed. */
static bool read_pass(struct worker *worker, struct pass *pass) {
  struct run *run = worker->run;
  size_t turn;
  if (!graph_begin(worker, pass))
    return false;
  while ((turn = atomic_fetch_add_explicit(&pass->next, 1, memory_order_relaxed)) < run->turns)
    if (atomic_load_explicit(&run->failed, memory_order_relaxed) || !read_file(worker, pass, turn))
      return false;
  /* Release what this reader did to the graph, acquire what the others did. */
  if (atomic_fetch_sub_explicit(&pass->readers, 1, memory_order_acq_rel) == 1) {
    graph_check(run, worker->self, pass);
    atomic_store_explicit(&pass->graph, NULL, memory_order_relaxed); /* dropped, cycles and all */
  }
  return true;
}

void *reader_main(void *argument) {
  struct worker *worker = argument;
  struct run *run = worker->run;
  tarn_status status = tarn_thread_attach(run->world, &worker->self);
  if (status != TARN_OK) {
    fail(run, "cannot attach a thread: %s", tarn_strerror(status));
  } else {
    char name[32];
    snprintf(name, sizeof name, "reader-%u", worker->number);
    tarn_thread_set_name(worker->self, name);
    for (unsigned i = 0; i < run->passes && read_pass(worker, &run->pass[i]); i++)
      ;
    tarn_thread_detach(worker->self);
  }
  return NULL;
}
