/* SPDX-License-Identifier: MIT */
/*
 * bench/gc/young.c: the pause of a young collection beside an old heap.
 *
 *   gc_young_PEER MIB YOUNG_MIB COLLECTIONS
 *
 * A tree of MIB in objects of 64 bytes is made old by two full collections. Then again and again
 * YOUNG_MIB of the same objects are allocated, of which every tenth stays in a list until the next
 * collection has gone by, and generation 0 is collected. No object of the tree is written to.
 * Percentiles are printed. No collection starts by itself meanwhile.
 */
#include "nodes.h"

static struct node *make_young(struct mutator *mutator, size_t count) {
  struct node *list = NULL;
  ROOTS(mutator, &list);
  for (size_t i = 0; i < count; i++) {
    struct node *node = make_node(mutator, i);
    if (i % 10 == 0) {
      node->left = list;
      list = node;
    }
  }
  return list;
}

static uint64_t list_sum(const struct node *list) {
  uint64_t sum = 0;
  for (; list; list = list->left)
    sum += list->number;
  return sum;
}

static uint64_t measure(struct mutator *mutator, size_t count, size_t collections) {
  static struct samples pauses, marks, calls;
  uint64_t sum = 0;
  struct node *list = NULL;
  ROOTS(mutator, &list);
  for (size_t i = 0; i <= collections; i++) {
    peer_automatic(mutator, false);
    list = make_young(mutator, count);
    peer_automatic(mutator, true);
    peer_collect(mutator, 0);
    struct collection last = peer_last();
    sum += list_sum(list);
    list = NULL;
    if (i == 0)
      continue; /* the young pools' memory is touched */
    samples_add(&pauses, last.pause);
    samples_add(&marks, last.mark);
    samples_add(&calls, last.call);
  }
  subject_figure("pause_p50_ns", samples_at(&pauses, 0.5));
  subject_figure("pause_p99_ns", samples_at(&pauses, 0.99));
  subject_figure("pause_max_ns", samples_at(&pauses, 1));
  subject_figure("pauses", (double)pauses.count);
  return sum;
}

static size_t nodes_of(const char *mib) {
  size_t count = (size_t)subject_number(mib) * 1048576 / sizeof(struct node);
  if (count == 0)
    subject_fail(SUBJECT, "at least 1 MiB");
  return count;
}

int main(int argc, char **argv) {
  if (argc != 4)
    subject_fail(SUBJECT, "usage: MIB YOUNG_MIB COLLECTIONS");
  size_t old = nodes_of(argv[1]), young = nodes_of(argv[2]);
  struct peer_setup setup = {0};
  peer_start(&setup);
  shape_make(&node_shape);
  struct mutator mutator;
  mutator_begin(&mutator);
  peer_automatic(&mutator, false);
  {
    struct node *tree = make_tree(&mutator, old);
    ROOTS(&mutator, &tree);
    peer_automatic(&mutator, true);
    for (int i = 0; i < 2; i++)
      peer_collect(&mutator, 2);
    subject_figure("live_bytes", peer_live_bytes());
    print_check(measure(&mutator, young, (size_t)subject_number(argv[3])));
    peer_finish();
    if (tree->number != old)
      subject_fail(SUBJECT, "the tree is gone");
  }
  mutator_end(&mutator);
  return 0;
}
