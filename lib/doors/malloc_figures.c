/* SPDX-License-Identifier: MIT */
/*
 * doors/malloc_figures.c: what the malloc door tells of itself, and how it can be told things.
 *
 * glibc's words are used for Tarn's things: an arena's memory is that of all pools, mapped blocks
 * are large objects.  What is in use in a pool belongs to its owner and is read while it may be
 * changing, so the figures are exact only while no other thread allocates.
 */
#include "doors/malloc.h"
#include "world/world.h"
#include <errno.h>
#include <tarn/heap.h>

struct figures {
  size_t pools;       /* bytes */
  size_t used;        /* bytes of pools in blocks that were handed out, or are about to be */
  size_t free_blocks; /* in pools */
  size_t larges, large_bytes;
  size_t dirty;     /* bytes that are free, and not given back yet */
  size_t bytes_max; /* of pools and large objects together */
};

static void add_pool(struct tarn_pool *pool, void *data) {
  struct figures *figures = data;
  struct tarn_pool seen = tarn_pool_peek(pool);
  uint32_t used = tarn_pool_used(&seen), capacity = seen.capacity;
  if (used > capacity)
    used = capacity;
  figures->pools += TARN_UNIT_SIZE;
  figures->used += used * tarn_pool_block_size(&seen);
  figures->free_blocks += capacity - used;
}

static struct figures gather(void) {
  struct figures figures = {0};
  tarn_world *world = tarn_door_world();
  if (!world)
    return figures;
  struct tarn_store *store = &world->store;
  tarn_store_visit(store); /* no fork meanwhile, which would leave the child with the walk's lock */
  tarn_store_each_pool(store, add_pool, &figures);
  tarn_store_leave(store);
  size_t bytes = atomic_load_explicit(&store->bytes, memory_order_relaxed);
  figures.larges = atomic_load_explicit(&store->larges, memory_order_relaxed);
  figures.large_bytes = figures.larges && bytes > figures.pools ? bytes - figures.pools : 0;
  figures.dirty = atomic_load_explicit(&store->dirty, memory_order_relaxed);
  figures.bytes_max = atomic_load_explicit(&store->bytes_max, memory_order_relaxed);
  return figures;
}

struct mallinfo2 tarn_door_mallinfo2(void) {
  struct figures figures = gather();
  return (struct mallinfo2){.arena = figures.pools,
                            .ordblks = figures.free_blocks,
                            .hblks = figures.larges,
                            .hblkhd = figures.large_bytes,
                            .uordblks = figures.used,
                            .fordblks = figures.pools - figures.used,
                            .keepcost = figures.dirty};
}

int tarn_door_trim(size_t keep) {
  tarn_world *world = tarn_door_world();
  return world && tarn_trim(world, keep) > 0;
}

/*
 * What tunes the way in which glibc does things has nothing to tune here, and can be ignored
 * safely.  M_PERTURB and M_CHECK_ACTION ask for something that a program could rely on.
 */
int tarn_door_mallopt(int parameter, int value) {
  enum { MXFAST_MOST = 80 * sizeof(size_t) / 4 }; /* glibc refuses more */
  switch (parameter) {
  case M_MXFAST:
    return value >= 0 && value <= MXFAST_MOST;
  case M_TRIM_THRESHOLD:
  case M_TOP_PAD:
  case M_MMAP_THRESHOLD:
  case M_MMAP_MAX:
  case M_ARENA_TEST:
  case M_ARENA_MAX:
    return 1;
  default:
    return 0;
  }
}

int tarn_door_info(int options, FILE *stream) {
  if (options != 0)
    return EINVAL;
  struct figures figures = gather();
  size_t rest = figures.pools - figures.used;
  (void)fprintf(stream,
                "<malloc version=\"1\">\n<heap nr=\"0\">\n<sizes>\n</sizes>\n"
                "<total type=\"fast\" count=\"0\" size=\"0\"/>\n"
                "<total type=\"rest\" count=\"%zu\" size=\"%zu\"/>\n"
                "<system type=\"current\" size=\"%zu\"/>\n<system type=\"max\" size=\"%zu\"/>\n"
                "<aspace type=\"total\" size=\"%zu\"/>\n<aspace type=\"mprotect\" size=\"%zu\"/>\n"
                "</heap>\n",
                figures.free_blocks, rest, figures.pools, figures.bytes_max, figures.pools,
                figures.pools);
  (void)fprintf(stream,
                "<total type=\"fast\" count=\"0\" size=\"0\"/>\n"
                "<total type=\"rest\" count=\"%zu\" size=\"%zu\"/>\n"
                "<total type=\"mmap\" count=\"%zu\" size=\"%zu\"/>\n"
                "<system type=\"current\" size=\"%zu\"/>\n<system type=\"max\" size=\"%zu\"/>\n"
                "<aspace type=\"total\" size=\"%zu\"/>\n<aspace type=\"mprotect\" size=\"%zu\"/>\n"
                "</malloc>\n",
                figures.free_blocks, rest, figures.larges, figures.large_bytes, figures.pools,
                figures.bytes_max, figures.pools, figures.pools);
  return 0;
}

void tarn_door_stats(void) {
  struct figures figures = gather();
  tarn_os_say("Arena 0:\nsystem bytes     = %10zu\nin use bytes     = %10zu\nTotal (incl. mmap):\n"
              "system bytes     = %10zu\nin use bytes     = %10zu\nmax mmap regions = %10zu\n"
              "max mmap bytes   = %10zu",
              figures.pools, figures.used, figures.pools + figures.large_bytes,
              figures.used + figures.large_bytes, figures.larges, figures.large_bytes);
}
