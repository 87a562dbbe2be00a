/* SPDX-License-Identifier: MIT */
/*
 * tests/viewers/snapshot_make.c: a heap whose figures are known, for viewers of snapshots.
 *
 *   snapshot_make FIRST SECOND
 *
 * writes two snapshots and prints in JSON, for each, what tarn_heap_walk counts by type.  Among
 * other objects there are: one of type `cache` that alone retains 1,000 of type `leaked`; a key
 * that with an ephemeron retains a value; and, in the second one, 500 of type `added` while 100 of
 * type `taken` are gone.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tarn/tarn.h>

#define KINDS 16u

struct figures {
  const char *names[KINDS];
  size_t counts[KINDS], bytes[KINDS];
  size_t kinds, blocks, all;
};

static void check(tarn_status status, const char *what) {
  if (status == TARN_OK)
    return;
  fprintf(stderr, "snapshot_make: %s: %s\n", what, tarn_strerror(status));
  exit(1);
}

static bool count(const tarn_block_info *info, void *data) {
  struct figures *figures = data;
  const char *name = info->type ? tarn_type_name(info->type) : "(raw)";
  size_t i = 0;
  while (i < figures->kinds && strcmp(figures->names[i], name) != 0)
    i++;
  if (i == KINDS)
    return false;
  if (i == figures->kinds)
    figures->names[figures->kinds++] = name;
  figures->counts[i]++;
  figures->bytes[i] += info->size;
  figures->blocks++;
  figures->all += info->size;
  return true;
}

static void take(tarn_thread *self, const char *path) {
  struct figures figures = {0};
  tarn_snapshot_info info = {.struct_size = sizeof info};
  check(tarn_snapshot_write(self, path, 0, &info), path);
  check(tarn_heap_walk(self, count, &figures), "tarn_heap_walk");
  printf("{\"nodes\":%llu,\"edges\":%llu,\"blocks\":%zu,\"bytes\":%zu,\"types\":{",
         (unsigned long long)info.nodes, (unsigned long long)info.edges, figures.blocks,
         figures.all);
  for (size_t i = 0; i < figures.kinds; i++)
    printf("%s\"%s\":[%zu,%zu]", i ? "," : "", figures.names[i], figures.counts[i],
           figures.bytes[i]);
  printf("}}\n");
}

static const tarn_type *type_of(tarn_world *world, const char *name) {
  tarn_type_spec spec = {.struct_size = sizeof spec, .name = name, .size = 32, .slot_bits = 6};
  const tarn_type *type = tarn_type_create(world, &spec, NULL);
  check(type ? TARN_OK : TARN_ENOMEM, name);
  return type;
}

static void **chain(tarn_thread *self, const tarn_type *type, size_t length, void *beside) {
  void **list = NULL;
  TARN_FRAME(self, (void *)&list, &beside);
  for (size_t i = 0; i < length; i++) {
    void **next = tarn_new(self, type);
    check(next ? TARN_OK : TARN_ENOMEM, "tarn_new");
    next[1] = list;
    next[2] = beside;
    list = next;
  }
  return list;
}

int main(int argument_count, char **arguments) {
  tarn_world *world;
  tarn_thread *self;
  void **plain = NULL, **cache = NULL, **key = NULL, **ephemeron = NULL, **taken = NULL,
       **added = NULL, *raw = NULL;
  if (argument_count != 3)
    return 2;
  check(tarn_world_create(NULL, &world), "tarn_world_create");
  check(tarn_thread_attach(world, &self), "tarn_thread_attach");
  TARN_FRAME(self, (void *)&plain, (void *)&cache, (void *)&key, (void *)&ephemeron, (void *)&taken,
             (void *)&added, &raw);
  raw = tarn_alloc_atomic(self, 100000);
  plain = chain(self, type_of(world, "plain"), 20000, NULL);
  cache = chain(self, type_of(world, "cache"), 1, NULL);
  cache[1] = chain(self, type_of(world, "leaked"), 1000, plain);
  key = chain(self, type_of(world, "key"), 1, NULL);
  ephemeron = tarn_ephemeron_new(self, key, chain(self, type_of(world, "value"), 1, NULL));
  taken = chain(self, type_of(world, "taken"), 100, NULL);
  take(self, arguments[1]);
  added = chain(self, type_of(world, "added"), 500, NULL);
  taken = NULL;
  take(self, arguments[2]);
  return 0;
}
