/* SPDX-License-Identifier: MIT */
/* The list of files, and all counts once more: one thread, libc, nothing shared with graph.c. */
#define _GNU_SOURCE
#include "wordgraph.h"

#include <errno.h>
#include <fts.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct plain_entry {
  char *key; /* NULL: the place is empty */
  size_t length;
  uint64_t times;
};

static struct plain_entry *place_of(const struct plain *plain, const char *key, size_t length) {
  uint64_t hash = 5381;
  for (size_t i = 0; i < length; i++)
    hash = hash * 33 + (unsigned char)key[i];
  size_t mask = plain->room - 1, i = (hash * 0x9e3779b97f4a7c15u >> 32) & mask;
  while (plain->entries[i].key != NULL &&
         (plain->entries[i].length != length || memcmp(plain->entries[i].key, key, length) != 0))
    i = (i + 1) & mask;
  return &plain->entries[i];
}

/* Counts the key; adds to `*fresh` if it is new. */
static void count(struct plain *plain, const char *key, size_t length, uint64_t *fresh) {
  if ((plain->distinct + plain->edges) * 2 >= plain->room) {
    struct plain_entry *old = plain->entries;
    size_t room = plain->room;
    plain->room = room ? 2 * room : 4096;
    plain->entries = need(calloc(plain->room, sizeof *old));
    for (size_t i = 0; i < room; i++)
      if (old[i].key != NULL)
        *place_of(plain, old[i].key, old[i].length) = old[i];
    free(old);
  }
  struct plain_entry *entry = place_of(plain, key, length);
  if (entry->key == NULL) {
    *entry = (struct plain_entry){need(strndup(key, length)), length, 0};
    ++*fresh;
  }
  entry->times++;
}

/* `key` gets "before word", so that one buffer serves for words and for edges. */
static void count_text(struct plain *plain, const char *text, size_t size) {
  char key[2 * WORD_MAX + 1];
  size_t start = 0, length = 0; /* of the word in `key` */
  for (size_t i = 0; i <= size; i++) {
    char byte = i < size ? word_byte((unsigned char)text[i]) : 0;
    if (byte != 0)
      key[start + length++] = byte;
    if (length == WORD_MAX || (byte == 0 && length > 0)) {
      plain->total++;
      count(plain, key + start, length, &plain->distinct);
      if (start != 0)
        count(plain, key, start + length, &plain->edges);
      memmove(key, key + start, length);
      key[length] = ' ';
      start = length + 1;
      length = 0;
    }
  }
}

static void unreadable(struct plain *plain, const char *path, int error) {
  complain("%s: %s", path, error ? strerror(error) : "neither a file nor a directory");
  plain->unreadable++;
}

/* Counts the file and puts it on the list.  The stamp is older than the text: changes show. */
static void add_file(struct plain *plain, const char *path) {
  struct input input = {.path = NULL};
  char *text = NULL;
  size_t size = 0;
  FILE *file = fopen(path, "rbe");
  bool good = file != NULL && fstat(fileno(file), &input.seen) == 0;
  for (size_t got = 1; good && got > 0; size += got) {
    text = need(realloc(text, size + 65536));
    got = fread(text + size, 1, 65536, file);
    good = ferror(file) == 0;
  }
  if (good) {
    count_text(plain, text, size);
    input.path = need(strdup(path));
    plain->inputs = need(realloc(plain->inputs, (plain->input_count + 1) * sizeof input));
    plain->inputs[plain->input_count++] = input;
  } else {
    unreadable(plain, path, errno);
  }
  free(text);
  if (file != NULL)
    fclose(file);
}

/* Below directories, hidden names and symbolic links are left out. */
void plain_start(struct plain *plain, char *const *paths) {
  FTS *tree = need(fts_open(paths, FTS_PHYSICAL | FTS_COMFOLLOW | FTS_NOCHDIR, NULL));
  FTSENT *entry;
  while ((entry = fts_read(tree)) != NULL) {
    bool argument = entry->fts_level == FTS_ROOTLEVEL;
    if (entry->fts_info == FTS_D && !argument && entry->fts_name[0] == '.')
      fts_set(tree, entry, FTS_SKIP);
    else if (entry->fts_info == FTS_F && (argument || entry->fts_name[0] != '.'))
      add_file(plain, entry->fts_path);
    else if (entry->fts_info == FTS_DNR || entry->fts_info == FTS_ERR || entry->fts_info == FTS_NS)
      unreadable(plain, entry->fts_path, entry->fts_errno);
    else if (argument && (entry->fts_info == FTS_DEFAULT || entry->fts_info == FTS_SLNONE))
      unreadable(plain, entry->fts_path, entry->fts_info == FTS_DEFAULT ? 0 : ENOENT);
  }
  fts_close(tree);
}

uint64_t plain_times(const struct plain *plain, const char *key, size_t length) {
  return place_of(plain, key, length)->times;
}

bool plain_changed(const struct input *input, const struct stat *now) {
  const struct stat *then = &input->seen;
  return then->st_dev != now->st_dev || then->st_ino != now->st_ino ||
         then->st_size != now->st_size || then->st_mtim.tv_sec != now->st_mtim.tv_sec ||
         then->st_mtim.tv_nsec != now->st_mtim.tv_nsec;
}

void plain_end(struct plain *plain) {
  for (size_t i = 0; i < plain->input_count; i++)
    free(plain->inputs[i].path);
  for (size_t i = 0; i < plain->room; i++)
    free(plain->entries[i].key);
  free(plain->inputs);
  free(plain->entries);
}
