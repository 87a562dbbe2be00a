/* SPDX-License-Identifier: MIT */
/*
 * bench/snapshot.c: what a snapshot costs: a heap of small objects, each of which refers to two
 * others, is written to a file.
 *
 *   bench_snapshot OBJECTS FILE
 *
 * prints the time that the world is stopped, bytes for an object, and by how much the process's
 * memory grew at most meanwhile (VmHWM, which is brought down to what is there before).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tarn/tarn.h>

struct node {
  const tarn_type *type;
  struct node *left, *right;
  uint64_t number;
};

static void check(tarn_status status, const char *what) {
  if (status == TARN_OK)
    return;
  fprintf(stderr, "bench_snapshot: %s: %s\n", what, tarn_strerror(status));
  exit(1);
}

static long of_status(const char *name) {
  char line[256];
  long value = 0;
  FILE *file = fopen("/proc/self/status", "r");
  while (file && fgets(line, sizeof line, file))
    if (strncmp(line, name, strlen(name)) == 0)
      value = strtol(line + strlen(name) + 1, NULL, 10);
  if (file)
    (void)fclose(file);
  return value;
}

static void forget_peak(void) {
  FILE *file = fopen("/proc/self/clear_refs", "w");
  if (file) {
    (void)fputs("5", file);
    (void)fclose(file);
  }
}

static void *fill(tarn_thread *self, const tarn_type *type, size_t count) {
  struct node *list = NULL, *before = NULL;
  TARN_FRAME(self, (void *)&list, (void *)&before);
  for (size_t i = 0; i < count; i++) {
    struct node *next = tarn_new(self, type);
    if (!next)
      check(tarn_thread_status(self), "tarn_new");
    next->left = list;
    next->right = before;
    if (i % 16 == 0)
      before = next;
    list = next;
  }
  return list;
}

int main(int count, char **arguments) {
  tarn_world *world;
  tarn_thread *self;
  if (count != 3) {
    fprintf(stderr, "usage: bench_snapshot OBJECTS FILE\n");
    return 2;
  }
  tarn_type_spec spec = {
      .struct_size = sizeof spec, .name = "node", .size = sizeof(struct node), .slot_bits = 6};
  check(tarn_world_create(NULL, &world), "tarn_world_create");
  check(tarn_thread_attach(world, &self), "tarn_thread_attach");
  void *root = NULL;
  TARN_FRAME(self, &root);
  root = fill(self, tarn_type_create(world, &spec, NULL), strtoul(arguments[1], NULL, 0));
  check(tarn_collect(self, TARN_GENERATION_FULL), "tarn_collect");
  forget_peak();
  long before = of_status("VmHWM");
  tarn_snapshot_info info = {.struct_size = sizeof info};
  check(tarn_snapshot_write(self, arguments[2], TARN_SNAPSHOT_AS_IT_IS, &info),
        "tarn_snapshot_write");
  long after = of_status("VmHWM");
  printf("%llu objects, %llu edges, %llu bytes (%.1f each), stopped %.0f ms, memory +%.1f MiB on "
         "%.0f\n",
         (unsigned long long)info.objects, (unsigned long long)info.edges,
         (unsigned long long)info.bytes, (double)info.bytes / (double)info.objects,
         (double)info.stopped_ns / 1e6, (double)(after - before) / 1024, (double)before / 1024);
  return 0;
}
