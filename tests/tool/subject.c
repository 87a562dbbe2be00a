/* SPDX-License-Identifier: MIT */
/*
 * subject: a program with a world that `tarn top` and `tarn snapshot` can look at.
 *
 *   subject HOW SECONDS
 *
 * HOW: `collects` (a list of 1,000 nodes, and a full collection each 20 ms), `counts` (a world that
 * counts references), `stuck` (an attached thread that never comes to a safepoint), `two` (two
 * worlds).  Prints "ready" when everything is there, and ends after SECONDS, or when standard input
 * does.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tarn/tarn.h>
#include <time.h>

struct node {
  const tarn_type *type;
  struct node *next;
};

static tarn_world *make_world(bool counts) {
  tarn_world *world = NULL;
  tarn_options options = TARN_OPTIONS_INIT;
  if (counts)
    options.flags |= TARN_OPTIONS_COUNTING;
  if (tarn_world_create(&options, &world) != TARN_OK)
    exit(3);
  return world;
}

static const tarn_type *make_type(tarn_world *world) {
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = "node";
  spec.size = sizeof(struct node);
  spec.flags = TARN_TYPE_ALL_TRACED;
  return tarn_type_create(world, &spec, NULL);
}

/* Waits; false: it is time to end. */
static bool wait_a_little(time_t until) {
  struct pollfd input = {.fd = 0, .events = POLLIN};
  return poll(&input, 1, 20) == 0 && time(NULL) < until;
}

static void add_nodes(tarn_thread *self, const tarn_type *type, struct node **list, int count) {
  for (int i = 0; i < count; i++) {
    struct node *more = tarn_new(self, type);
    if (!more)
      exit(4);
    more->next = *list;
    *list = more;
  }
}

/* In each round a hundred nodes more, for two snapshots to differ by. */
static void collects(tarn_world *world, tarn_thread *self, time_t until, bool stuck) {
  const tarn_type *type = make_type(world);
  struct node *list = NULL;
  TARN_FRAME(self, &list);
  add_nodes(self, type, &list, 1000);
  if (tarn_collect(self, TARN_GENERATION_FULL) != TARN_OK)
    exit(5);
  puts("ready");
  fflush(stdout);
  for (bool more = true; more;) {
    if (!stuck)
      tarn_block_begin(self);
    more = wait_a_little(until);
    if (stuck)
      continue;
    tarn_block_end(self);
    add_nodes(self, type, &list, 100);
    if (tarn_collect(self, TARN_GENERATION_FULL) != TARN_OK)
      exit(5);
  }
}

int main(int argc, char **argv) {
  if (argc != 3)
    return 2;
  time_t until = time(NULL) + atoi(argv[2]);
  bool counts = strcmp(argv[1], "counts") == 0;
  tarn_world *world = make_world(counts), *second = NULL;
  tarn_thread *self;
  if (strcmp(argv[1], "two") == 0)
    second = make_world(false);
  if (tarn_thread_attach(world, &self) != TARN_OK)
    return 3;
  if (counts) {
    puts("ready");
    fflush(stdout);
    tarn_block_begin(self);
    while (wait_a_little(until)) {
    }
    tarn_block_end(self);
  } else {
    collects(world, self, until, strcmp(argv[1], "stuck") == 0);
  }
  if (tarn_thread_detach(self) != TARN_OK || tarn_world_destroy(world) != TARN_OK ||
      (second && tarn_world_destroy(second) != TARN_OK))
    return 6;
  return 0;
}
