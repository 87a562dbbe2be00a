/* SPDX-License-Identifier: MIT */
/*
 * collect/release.c: see collect/release.h.
 */
#include "collect/collector.h"
#include <string.h>

void tarn_release_add_pool(struct tarn_collector *collector, struct tarn_pool *pool) {
  struct tarn_release *release = &collector->release;
  tarn_pool_append(&release->pools, pool, TARN_LIST_CONDEMNED);
  atomic_fetch_add_explicit(&pool->heap->condemned, 1, memory_order_relaxed);
  atomic_fetch_add_explicit(&release->pending, 1, memory_order_relaxed);
}

void tarn_release_add_large(struct tarn_collector *collector, struct tarn_large *large) {
  struct tarn_release *release = &collector->release;
  large->limbo = release->larges;
  release->larges = large;
  atomic_fetch_add_explicit(&large->heap->condemned, 1, memory_order_relaxed);
  atomic_fetch_add_explicit(&release->pending, 1, memory_order_relaxed);
}

/* An item is done.  Release: pairs with the acquire of who waits for a heap's last item. */
static void item_done(struct tarn_collector *collector, struct tarn_heap *heap) {
  atomic_fetch_sub_explicit(&collector->release.pending, 1, memory_order_relaxed);
  atomic_fetch_sub_explicit(&heap->condemned, 1, memory_order_release);
}

/*
 * Runs one object's function.  The mark byte is the collector's when the world is stopped, and this
 * item's worker's otherwise; the function may allocate, so a collection may come in between.
 */
static void release_object(struct tarn_collector *collector, struct tarn_mutator *self,
                           uintptr_t object) {
  *tarn_mark_byte(object) = TARN_MARK_RELEASING;
  TARN_DELAY();
  collector->world->store.hooks->release(&self->local, (void *)object);
  atomic_fetch_add_explicit(&collector->release.released, 1, memory_order_relaxed);
}

/* One pass over the condemned objects of a pool; how many functions ran. */
static size_t pass_over_pool(struct tarn_collector *collector, struct tarn_mutator *self,
                             struct tarn_pool *pool) {
  size_t size = tarn_pool_block_size(pool), ran = 0;
  uintptr_t block = tarn_pool_base(pool);
  for (unsigned i = 0; i < pool->capacity; i++, block += size) {
    if (*tarn_mark_byte(block) != TARN_MARK_CONDEMNED)
      continue;
    release_object(collector, self, block);
    ran++;
    uintptr_t *words = tarn_block_words((void *)block);
    tarn_block_spoil(words, size);
    words[0] = 0;
    *tarn_mark_byte(block) = TARN_MARK_NONE;      /* beyond the cursor, which stands at 0: free */
    tarn_pool_set_room(pool, pool->own.room - 1); /* = used, on this list */
  }
  return ran;
}

static void work_on_pool(struct tarn_collector *collector, struct tarn_mutator *self,
                         struct tarn_pool *pool, size_t *ran) {
  struct tarn_heap *heap = pool->heap;
  /* A collection during a function may condemn objects that the pass has gone by.  After a pass
   * that ran no function there was no safepoint, so none can be left. */
  for (size_t passed; (passed = pass_over_pool(collector, self, pool)) != 0;)
    *ran += passed;
  tarn_heap_put_back(pool);
  item_done(collector, heap);
}

static void work_on_large(struct tarn_collector *collector, struct tarn_mutator *self,
                          struct tarn_large *large, size_t *ran) {
  struct tarn_heap *heap = large->heap;
  release_object(collector, self, large->base);
  ++*ran;
  tarn_large_free(large);
  item_done(collector, heap);
}

/* One item; false: there was none. */
static bool work(struct tarn_collector *collector, struct tarn_mutator *self, size_t *ran) {
  struct tarn_release *release = &collector->release;
  struct tarn_large *large = NULL;
  (void)pthread_mutex_lock(&release->lock);
  struct tarn_pool *pool = release->pools;
  if (pool) {
    /* The list stays: the census must leave the pool to us, and so must who takes frees by others
     * off pools that nobody owns, which looks at any moment, under another lock. */
    tarn_pool_detach(&release->pools, pool);
  } else if ((large = release->larges)) {
    release->larges = large->limbo;
  }
  (void)pthread_mutex_unlock(&release->lock);
  self->releasing = pool ? (void *)pool : (void *)large;
  if (pool)
    work_on_pool(collector, self, pool, ran);
  else if (large)
    work_on_large(collector, self, large, ran);
  self->releasing = NULL;
  return pool || large;
}

size_t tarn_release_run(struct tarn_collector *collector, struct tarn_mutator *self, size_t most) {
  size_t ran = 0;
  struct tarn_store *store = &collector->world->store;
  if (self->running_free)
    return 0;
  uint64_t began = tarn_is_told(store, TARN_TOLD_RELEASE) ? tarn_os_now() : 0;
  self->running_free = 1;
  while ((most == 0 || ran < most) && work(collector, self, &ran))
    tarn_stop_poll(self);
  self->running_free = 0;
  if (began && ran && tarn_is_told(store, TARN_TOLD_RELEASE))
    tarn_tell(store, (struct tarn_told){
                         .kind = TARN_TOLD_RELEASE, .began = began, .count = ran, .what = self});
  return ran;
}

size_t tarn_release_pending(tarn_thread *self, size_t most) {
  if (tarn_thread_check_running(self) != TARN_OK)
    return 0;
  struct tarn_mutator *mutator = tarn_mutator_of(self);
  return tarn_release_run(mutator->world->collector, mutator, most);
}

/* --- fork ------------------------------------------------------------------------------------ */

struct take_back {
  struct tarn_collector *collector;
  const void *own; /* the item of the thread that forked, which goes on with it; or NULL */
};

/* That item: it is pending, but not on the list. */
static void count_own(struct tarn_collector *collector, struct tarn_heap *heap) {
  atomic_fetch_add_explicit(&heap->condemned, 1, memory_order_relaxed);
  atomic_fetch_add_explicit(&collector->release.pending, 1, memory_order_relaxed);
}

static void take_back_pool(struct tarn_pool *pool, void *data) {
  struct take_back *take = data;
  if (pool->list != TARN_LIST_CONDEMNED)
    return;
  if (pool == take->own) {
    count_own(take->collector, pool->heap);
    return;
  }
  size_t size = tarn_pool_block_size(pool);
  uintptr_t block = tarn_pool_base(pool);
  bool waits = false;
  for (unsigned i = 0; i < pool->capacity; i++, block += size)
    if (*tarn_mark_byte(block) == TARN_MARK_RELEASING) {
      /* Its function was running in a thread that is not in this process: it ran there. */
      *tarn_block_words((void *)block) = 0;
      *tarn_mark_byte(block) = TARN_MARK_NONE;
      tarn_pool_set_room(pool, pool->own.room - 1);
    } else {
      waits = waits || *tarn_mark_byte(block) == TARN_MARK_CONDEMNED;
    }
  if (waits)
    tarn_release_add_pool(take->collector, pool);
  else /* it was on no list: that thread had it */
    tarn_heap_put_back(pool);
}

static void take_back_larges(struct take_back *take, struct tarn_heap *heap) {
  struct tarn_large *large;
  cds_list_for_each_entry(large, &heap->larges, node) {
    uint8_t *byte = tarn_mark_byte(large->base);
    if (large == take->own) {
      count_own(take->collector, heap);
    } else if (*byte == TARN_MARK_CONDEMNED) {
      tarn_release_add_large(take->collector, large);
    } else if (*byte == TARN_MARK_RELEASING) {
      *tarn_block_words((void *)large->base) = 0;
      *byte = TARN_MARK_NONE; /* the next collection buries it */
    }
  }
}

void tarn_release_after_fork(struct tarn_collector *collector) {
  struct tarn_release *release = &collector->release;
  struct tarn_store *store = &collector->world->store;
  const struct tarn_mutator *own = tarn_mutator_self(collector->world);
  struct take_back take = {collector, own ? own->releasing : NULL};
  (void)pthread_mutex_unlock(&release->lock); /* the thread that forked took it */
  release->pools = NULL;
  release->larges = NULL;
  atomic_store_explicit(&release->pending, 0, memory_order_relaxed);
  for (unsigned i = 0; i < tarn_store_heap_limit(store); i++)
    if (tarn_store_heap(store, i))
      atomic_store_explicit(&tarn_store_heap(store, i)->condemned, 0, memory_order_relaxed);
  if (!store->tables)
    return;
  tarn_store_each_pool(store, take_back_pool, &take);
  for (unsigned i = 0; i < tarn_store_heap_limit(store); i++)
    if (tarn_store_heap(store, i))
      take_back_larges(&take, tarn_store_heap(store, i));
}
