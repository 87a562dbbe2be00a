/* SPDX-License-Identifier: MIT */
/*
 * heap/revive.c: in the child of a fork, the pools of threads that were not taken along.
 *
 * Only in worlds without a collector: their threads are not stopped for a fork, and the child finds
 * each at any instruction, perhaps in the middle of a change of its bins.  Their records are
 * abandoned (world/thread.h): the bins are never looked at again, and the pools stay theirs until
 * somebody needs memory, so that a fork touches no pool, and a child that soon executes another
 * program pays nothing.  Then a pool is revived: all that is to be known of it is found in itself.
 *
 *   cursor     Of a raw pool it is where the bin stood: nothing beyond was handed out.
 *   a key      A block below the cursor whose first word is the key is free: on the pool's list, in
 *              anybody's outbox, a remote bit, or free since the fork.  All others are in use.
 *   the count  says whether the memory was given back, and the keys with it; see heap/remote.h.
 *
 * Why that is enough.  The system copies memory as it is at one moment, in the middle of each other
 * thread's program order.  A block that anybody in the child can name was returned by malloc
 * before that moment: so the cursor was past it and its first word was written, and it was not
 * freed, or was being freed, which the program must not rely on.  A block that a thread was just
 * taking or giving may be found either way.  Nobody can name it, and both are good.
 *
 * What must not happen is that a block is found by its key and comes back a second time as a bit.
 * All bits and counts of before the fork are forgotten with the revival; and after the fork there
 * are none:  a free into an abandoned pool is done under the heap's lock and writes the key only;
 * what the forking thread had in its outbox is forgotten there (tarn_remote_after_fork), for its
 * key is written; and so is what of it waits in quarantine, where builds have one.  Nor may a pool
 * be revived while a mailbox has it: those of the dead are never opened again, the forking thread's
 * is looked through at the fork, and the heap's is emptied before anything is revived, where such
 * pools are dropped; none comes into it later.
 *
 * Lost for good are blocks in the outboxes and the quarantines of the dead that are of other pools
 * than theirs, and pools that a dead thread was just taking from the store, in a row perhaps,
 * giving back to it, or remaking.  Spare pools of the dead are revived like any, by whoever needs a
 * pool of whatever class; until then a purge gives their memory back.
 * What others free in a pool is lost as well, once a dead thread had raised its count from zero and
 * not yet put it into a mailbox: that is one pool for each dead thread at most.
 *
 * Abandoned pools become others under the heap's lock only, so who has it and finds one abandoned
 * may do with it as its owner would.
 */
#include "heap/heap.h"
#include "heap/local.h"

/* Blocks that are handed out, as the owner counted when it was left behind: perhaps in the middle
 * of something, so it is a guess. */
static uint32_t guess_used(const struct tarn_pool *pool) {
  uint32_t away = tarn_remote_count(pool) + pool->live, used = tarn_pool_used(pool);
  if (used > pool->capacity)
    used = pool->capacity;
  return used > away ? used - away : 0;
}

/* The pool is as the shelf's from here on: of nobody, on no list.  Under the heap's lock.  From the
 * last block to the first, so that they are handed out in the order of their addresses. */
static void revive(struct tarn_pool *pool) {
  if (tarn_remote_forget(pool))
    pool->own.cursor = pool->own.virgin = pool->backed = 0;
  size_t size = tarn_pool_block_size(pool);
  uint32_t used = pool->own.cursor / (uint32_t)size;
  char *base = (char *)tarn_pool_base(pool);
  pool->own.free = NULL;
  for (uint32_t i = used; i-- > 0;) {
    uintptr_t *words = tarn_block_words(base + i * size);
    if (words[0] != tarn_free_key(TARN_KIND_RAW, words))
      continue;
    tarn_block_link(words, pool->own.free);
    pool->own.free = words;
    used--;
  }
  if (pool->own.virgin < pool->own.cursor)
    pool->own.virgin = pool->own.cursor;
  pool->next = pool->prev = pool->mail = NULL;
  pool->live = 0;
  pool->bin = NULL;
  tarn_pool_note_list(pool, TARN_LIST_NONE);
  tarn_pool_set_used(pool, used);
  tarn_pool_set_owner(pool, NULL);
}

struct tarn_pool *tarn_revive_next(struct tarn_heap *heap, tarn_flavour flavour,
                                   unsigned size_class) {
  size_t *at = &heap->shelves[flavour][size_class].revived_to;
  while (*at < heap->store->abandoned_end) {
    struct tarn_pool *pool = &tarn_space.pools[(*at)++];
    if (!tarn_pool_is_abandoned(pool) || pool->heap != heap || pool->flavour != flavour ||
        pool->size_class != size_class || pool->capacity - guess_used(pool) < tarn_pool_wake(pool))
      continue;
    revive(pool);
    if (tarn_pool_used(pool) < pool->capacity)
      return pool;
    tarn_heap_shelve(heap, pool);
  }
  return NULL;
}

struct tarn_pool *tarn_revive_empty(struct tarn_heap *heap, tarn_flavour flavour,
                                    unsigned size_class) {
  size_t *at = &heap->emptied_to;
  while (*at < heap->store->abandoned_end) {
    struct tarn_pool *pool = &tarn_space.pools[(*at)++];
    if (!tarn_pool_is_abandoned(pool) || pool->heap != heap ||
        (!tarn_remote_is_empty(pool) && guess_used(pool) != 0))
      continue;
    revive(pool);
    if (tarn_pool_used(pool) == 0) {
      tarn_pool_remake(heap->store, pool, heap, flavour, size_class);
      return pool;
    }
    tarn_heap_shelve(heap, pool);
  }
  return NULL;
}

void tarn_revive_freed(struct tarn_pool *pool) {
  pool->live++;
  if (pool->live < tarn_pool_wake(pool) && guess_used(pool) != 0)
    return;
  revive(pool);
  if (tarn_pool_used(pool) == 0)
    tarn_pool_drop(pool->heap->store, pool);
  else
    tarn_heap_shelve(pool->heap, pool);
}

static void look_again(struct tarn_heap *heap) {
  heap->emptied_to = 0;
  for (unsigned flavour = 0; flavour < TARN_FLAVOURS; flavour++)
    for (unsigned i = 0; i < TARN_CLASS_COUNT; i++)
      if (heap->shelves[flavour][i].revived_to != 0) /* a look first: it may be the first fork */
        heap->shelves[flavour][i].revived_to = 0;
}

void tarn_revive_after_fork(struct tarn_store *store, struct tarn_local *self) {
  size_t end = 0;
  (void)pthread_mutex_lock(&store->lock);
  for (const struct tarn_arena *arena = store->arenas; arena; arena = arena->next)
    end = tarn_unit_of(arena->base) + arena->units;
  (void)pthread_mutex_unlock(&store->lock);
  store->abandoned = true;
  store->abandoned_end = end;
  for (unsigned i = 0; i < tarn_store_heap_limit(store); i++)
    if (tarn_store_heap(store, i))
      look_again(tarn_store_heap(store, i));
  if (self) {
    tarn_local_quarantine_after_fork(self);
    tarn_remote_after_fork(self);
  }
}
