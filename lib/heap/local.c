/* SPDX-License-Identifier: MIT */
/*
 * heap/local.c: allocation from a thread's bins, and giving blocks back.
 *
 * A refill looks, in this order, at: what other threads freed; the rest of the bin's run; blocks
 * that the thread freed into the current pool; the next free stretch of the current pool, found in
 * the side table; the thread's other pools with free blocks; its spare pools of the class; the
 * heap's shelf, and its unswept pools; full pools with more than a few free blocks, if there is no
 * spare one; a free unit that was of the class; its other spare pools; new ones; and if there is no
 * memory for these, the few free blocks of full pools. Free memory of typed pools is cleared in
 * pieces small enough to stay in the first-level cache, just before the bin bumps through them.
 */
#include "heap/local.h"
#include "heap/fast.h"
#include "heap/find.h"
#include "heap/sample.h"
#include "heap/sweep.h"
#include <string.h>

#define PIECE_USED ((size_t)1 << 10)  /* of memory that must be cleared */
#define PIECE_FRESH ((size_t)4 << 10) /* of memory that is zero: one page */
#define COUNT_EVERY ((size_t)64 << 10)
#define COUNT_SELDOM ((size_t)1 << 20) /* where no collection waits for the count */

static void count(struct tarn_local *local, size_t bytes) {
  local->uncounted += bytes;
  if (local->uncounted < COUNT_EVERY ||
      (local->uncounted < COUNT_SELDOM && local->store->hooks->uncollected))
    return;
  tarn_store_allocated(local->store, local->uncounted);
  local->uncounted = 0;
}

#if TARN_HARDENED
static bool age_quarantine(struct tarn_local *local);
#else
static bool age_quarantine(struct tarn_local *local) {
  (void)local;
  return false;
}
#endif

/* --- runs ------------------------------------------------------------------------------------ */

static char *pool_address(const struct tarn_pool *pool, uint32_t offset) {
  return (char *)tarn_pool_base(pool) + offset;
}

static uint32_t pool_offset(const struct tarn_pool *pool, const char *address) {
  return (uint32_t)((uintptr_t)address - tarn_pool_base(pool));
}

static bool is_raw(const struct tarn_pool *pool) { return pool->flavour == TARN_FLAVOUR_RAW; }

static size_t piece_size(const struct tarn_bin *bin, size_t room) {
  const struct tarn_pool *pool = bin->head.pool;
  size_t size = bin->head.size;
  uint32_t start = pool_offset(pool, bin->head.limit);
  size_t wanted = PIECE_FRESH;
  /* A raw piece keeps to one sort of memory, and fresh pages wait for their turn.  What it brings
   * counts as allocated at once, so where a collection waits for that it is short. */
  if (start < pool->own.virgin) {
    uint32_t used = pool->own.virgin - start;
    bool whole = pool->heap->store->hooks->uncollected || used < PIECE_FRESH;
    wanted = !is_raw(pool) ? PIECE_USED : whole ? used : PIECE_FRESH;
  }
#if TARN_ZEAL || TARN_TOOLS
  wanted = 0; /* every allocation comes to the slow path */
#endif
  size_t piece = wanted < size ? size : wanted - wanted % size;
  return piece < room ? piece : room;
}

#define PAGE ((size_t)4 << 10)
#define UNIT_PAGES ((unsigned)(TARN_UNIT_SIZE / PAGE))
#define BACK_MORE 4u

/*
 * Fresh memory up to `end` is about to be handed out.  A fault for each page is dear, most of all
 * in virtual machines, so the pages behind a pool's first one are asked for in two steps, and those
 * of a pool that is not the bin's first at once: few of them stay without use.
 */
static void back(const struct tarn_bin *bin, uint32_t end) {
  struct tarn_pool *pool = bin->head.pool;
  unsigned first = pool->own.virgin / PAGE, wanted = (unsigned)((end + PAGE - 1) / PAGE);
  if (first < pool->backed)
    first = pool->backed;
  if (wanted <= first || !pool->heap->store->populate)
    return;
  unsigned upto = bin->full ? UNIT_PAGES : first * BACK_MORE;
  if (upto < wanted)
    upto = wanted;
  if (upto > UNIT_PAGES)
    upto = UNIT_PAGES;
  if (upto - first > 1)
    tarn_os_populate(pool_address(pool, (uint32_t)(first * PAGE)), (upto - first) * PAGE);
  pool->backed = (uint8_t)upto;
}

/* Moves the limit of the bin's run on by a piece, cleared but in raw pools; false: it is used up.
 */
static bool next_piece(struct tarn_local *local, struct tarn_bin *bin) {
  struct tarn_pool *pool = bin->head.pool;
  size_t room = (size_t)(bin->run_end - bin->head.limit);
  if (room == 0)
    return false;
  size_t piece = piece_size(bin, room);
  uint32_t start = pool_offset(pool, bin->head.limit), end = start + (uint32_t)piece;
  tarn_tools_open(bin->head.limit, piece);
  if (start < pool->own.virgin && !is_raw(pool))
    memset(bin->head.limit, 0, (end < pool->own.virgin ? end : pool->own.virgin) - start);
  if (end > pool->own.virgin) {
    back(bin, end);
    pool->own.virgin = end;
  }
  if (!is_raw(pool))
    pool->own.cursor = end;
  tarn_pool_set_room(pool, pool->own.room + (uint32_t)(piece / bin->head.size));
  bin->head.limit += piece;
  count(local, piece);
  return true;
}

/* The next free stretch of the current pool becomes the bin's run.  No piece of it is begun: it may
 * be one that can wait. */
static bool next_stretch(struct tarn_local *local, struct tarn_bin *bin) {
  uint32_t start, end;
  struct tarn_pool *pool = bin->head.pool;
  if (!tarn_pool_stretch(pool, local->store->epoch, &start, &end)) {
    /* The cursor has passed what lives; the bin may keep the pool for what others freed in it. */
    bin->head.bump = bin->head.limit = bin->run_end = pool_address(pool, pool->own.cursor);
    return false;
  }
  pool->own.cursor = start;
  bin->head.bump = bin->head.limit = pool_address(pool, start);
  bin->run_end = pool_address(pool, end);
  bin->head.fresh = pool_address(pool, pool->own.virgin);
  if (TARN_UNLIKELY(local->store->sampling) && !is_raw(pool))
    bin->run_end = bin->head.limit + tarn_sample_run(local, pool, end - start);
  return true;
}

/* How many bytes at the start of a raw block of the run may be other than zero. */
static size_t dirty_part(const struct tarn_bin *bin, const char *block) {
  if (!is_raw(bin->head.pool) || block >= bin->head.fresh)
    return 0;
  size_t dirty = (size_t)(bin->head.fresh - block);
  return dirty < bin->head.size ? dirty : bin->head.size;
}

/* The next block of the run; `*dirty` as above. */
static void *bump(struct tarn_bin *bin, size_t *dirty) {
  char *block = bin->head.bump;
  if ((size_t)(bin->head.limit - block) < bin->head.size)
    return NULL;
  bin->head.bump = block + bin->head.size;
  if (is_raw(bin->head.pool))
    bin->head.pool->own.cursor += bin->head.size;
  *dirty = dirty_part(bin, block);
  return block;
}

#if TARN_HARDENED
/* Can there be a free block of the pool? */
static bool is_place(const struct tarn_pool *pool, const void *block) {
  uintptr_t offset = (uintptr_t)block - tarn_pool_base(pool);
  return offset < pool->own.cursor && tarn_inline_is_start((uint32_t)offset, pool->own.reciprocal);
}
/* Leads the link to what can follow on the pool's list?  To the end, or to a free block. */
static bool is_good_link(const struct tarn_pool *pool, tarn_kind kind, const void *next) {
  return !next || (is_place(pool, next) && *(const uintptr_t *)next == tarn_free_key(kind, next));
}
#else
/* To the end, or into the pool? */
static bool is_good_link(const struct tarn_pool *pool, tarn_kind kind, const void *next) {
  (void)kind;
  return !next || (uintptr_t)next - tarn_pool_base(pool) < TARN_UNIT_SIZE;
}
#endif

/* Was a free block written to?  Its key and its link in any build, the rest of it in checking ones.
 */
bool tarn_local_is_damaged(const struct tarn_pool *pool, const void *block) {
  const uintptr_t *words = block;
  tarn_kind kind = tarn_flavour_kind((tarn_flavour)pool->flavour);
  if (words[0] != tarn_free_key(kind, block) ||
      !is_good_link(pool, kind, tarn_link_decode(block, words[1])))
    return true;
#if TARN_CHECKING
  const unsigned char *bytes = block;
  for (size_t i = 2 * sizeof *words; i < tarn_pool_block_size(pool); i++)
    if (bytes[i] != TARN_POISON)
      return true;
#endif
  return false;
}

/* The first block of the list is damaged, or its link leads to one that is. */
_Noreturn static void report_damage(const struct tarn_local *local, const struct tarn_pool *pool,
                                    void *block) {
#if TARN_HARDENED
  void *next = tarn_block_next(block);
  tarn_kind kind = tarn_flavour_kind((tarn_flavour)pool->flavour);
  if (*tarn_block_words(block) == tarn_free_key(kind, block) && is_place(pool, next))
    block = next;
#else
  (void)pool;
#endif
  local->store->hooks->corrupt(local->store, block, "a free block was written to");
  __builtin_unreachable();
}

/* A block that was freed into the current pool, uncleared but for its first words. */
static void *pop_free(struct tarn_local *local, struct tarn_bin *bin, size_t *dirty) {
  struct tarn_pool *pool = bin->head.pool;
  uintptr_t *words = pool->own.free;
  if (!words)
    return NULL;
  if (tarn_local_is_damaged(pool, words))
    report_damage(local, pool, words);
  pool->own.free = tarn_block_next(words);
  tarn_tools_open(words, bin->head.size);
  bin->head.taken++;
  *dirty = bin->head.size;
  count(local, bin->head.size);
  if (TARN_UNLIKELY(local->store->sampling) && !is_raw(pool))
    tarn_sample_count(local, pool->heap, pool->flavour, pool->size_class, bin->head.size);
  return words;
}

/* --- the current pool ------------------------------------------------------------------------ */

/* The bin lets its pool go; what it did not use of its run is found again by the next stretch: the
 * cursor is where the bin stopped. */
static void put_back_run(struct tarn_local *local, struct tarn_bin *bin) {
  struct tarn_pool *pool = bin->head.pool;
  uint32_t rest = (uint32_t)(bin->head.limit - bin->head.bump);
  if (TARN_UNLIKELY(local->store->sampling) && !is_raw(pool))
    tarn_sample_put_back(local, pool, (size_t)(bin->run_end - bin->head.bump));
  if (!is_raw(pool))
    pool->own.cursor -= rest;
  tarn_pool_set_room(pool, pool->own.room - rest / bin->head.size);
  tarn_pool_set_list(pool, TARN_LIST_NONE);
  bin->head.bump = bin->head.limit = bin->run_end = bin->head.fresh = NULL;
  bin->head.pool = NULL;
}

#if TARN_HARDENED
#define SKIPPED_MOST 256u /* blocks; so many first words are written when a pool is made */

/*
 * The owner begins with a pool in which nothing was ever handed out, or nothing is any more: the
 * first block of its run becomes a random one.  Those before it go on the list in random order,
 * as if they had been handed out and freed.
 */
static void scatter(struct tarn_local *local, struct tarn_pool *pool) {
  uint16_t order[SKIPPED_MOST];
  uint32_t size = (uint32_t)tarn_pool_block_size(pool);
  uint32_t most = pool->capacity / 2u < SKIPPED_MOST ? pool->capacity / 2u : SKIPPED_MOST;
  if (pool->own.cursor != 0 || pool->own.free || tarn_pool_used(pool) != 0 || tarn_harden_plain)
    return;
  uint32_t count = tarn_random_below(&local->random, most + 1);
  for (uint32_t i = 0; i < count; i++) { /* each finds its place among those before it */
    uint32_t at = tarn_random_below(&local->random, i + 1);
    order[i] = order[at];
    order[at] = (uint16_t)i;
  }
  for (uint32_t i = 0; i < count; i++) {
    uintptr_t *words = tarn_block_words(pool_address(pool, order[i] * size));
#if TARN_CHECKING
    memset(words + 1, TARN_POISON, size - sizeof *words);
#endif
    words[0] = tarn_free_key(tarn_flavour_kind((tarn_flavour)pool->flavour), words);
    tarn_block_link(words, pool->own.free);
    pool->own.free = words;
  }
  if (pool->own.virgin < count * size)
    pool->own.virgin = count * size;
  pool->own.cursor = count * size;
}
#else
static void scatter(struct tarn_local *local, struct tarn_pool *pool) { (void)local, (void)pool; }
#endif

static void adopt(struct tarn_local *local, struct tarn_bin *bin, struct tarn_pool *pool) {
  scatter(local, pool);
  bin->head.taken = 0;
  pool->bin = bin;
  tarn_pool_set_list(pool, TARN_LIST_CURRENT);
  bin->head.pool = pool;
  bin->head.size = (uint32_t)tarn_pool_block_size(pool);
  bin->head.bump = bin->head.limit = bin->run_end = bin->head.fresh =
      pool_address(pool, pool->own.cursor);
}

/* Off its list, and no purge has it in hand. */
static struct tarn_pool *take_off(struct tarn_local *local, tarn_pool_head *head,
                                  struct tarn_pool *pool) {
  tarn_pool_unlink(head, pool);
  tarn_remote_begin_use(local->store, pool);
  return pool;
}

/* One of the thread's full pools that has a free block after all, off its list. */
static struct tarn_pool *full_pool(struct tarn_local *local, struct tarn_bin *bin) {
  struct tarn_pool *pool = bin->full;
  if (pool)
    do {
      if (pool->own.free)
        return take_off(local, &bin->full, pool);
      pool = pool->next;
    } while (pool != bin->full);
  return NULL;
}

#define HOLES_LOOK 4u

/*
 * A full pool that would wake soon, off its list: rather than touch new memory.  Looks at a few of
 * them, and at others the next time.
 */
static struct tarn_pool *holey_pool(struct tarn_local *local, struct tarn_bin *bin) {
  for (unsigned i = 0; i < HOLES_LOOK && bin->full; i++) {
    struct tarn_pool *pool = bin->full;
    uint32_t wake = tarn_pool_wake(pool), holes = wake - pool->own.room;
    if (pool->own.free && holes >= (wake + 3) / 4)
      return take_off(local, &bin->full, pool);
    bin->full = pool->next;
  }
  return NULL;
}

/* One of the thread's pools that are known to have free blocks, off its list. */
static struct tarn_pool *partial_pool(struct tarn_local *local, struct tarn_bin *bin) {
  return bin->partial ? take_off(local, &bin->partial, bin->partial) : NULL;
}

/* Another pool with something to hand out, owned by the thread and on no list. */
static struct tarn_pool *find_pool(struct tarn_local *local, struct tarn_heap *heap,
                                   struct tarn_bin *bin, tarn_flavour flavour,
                                   unsigned size_class) {
  struct tarn_pool *pool = partial_pool(local, bin);
  if (pool || (pool = tarn_spare_take(local, heap, flavour, size_class, false)) ||
      (pool = tarn_heap_take(heap, flavour, size_class, local)))
    return pool;
  if (age_quarantine(local) && (pool = partial_pool(local, bin)))
    return pool;
  if (local->spares.count == 0 && (pool = holey_pool(local, bin)))
    return pool;
  tarn_sweep_before_growth(local->store, 1);
  /* A unit that was of the class rather than a spare pool of another. */
  if ((pool = tarn_spare_make(local, heap, flavour, size_class, true)) ||
      (pool = tarn_spare_take(local, heap, flavour, size_class, true)) ||
      (pool = tarn_spare_make(local, heap, flavour, size_class, false)))
    return pool;
  return full_pool(local, bin);
}

/* Would the run go on in memory that was never touched, while the pool that comes next has blocks
 * that were?  Then that one comes first. */
static bool can_wait(const struct tarn_bin *bin) {
  const struct tarn_pool *pool = bin->head.pool;
  return bin->partial && bin->partial->own.free && is_raw(pool) &&
         bin->head.bump == bin->head.limit && bin->run_end != bin->head.limit &&
         pool_offset(pool, bin->head.limit) >= pool->own.virgin && tarn_pool_used(pool) != 0;
}

static bool next_pool(struct tarn_local *local, struct tarn_heap *heap, struct tarn_bin *bin,
                      tarn_flavour flavour, unsigned size_class) {
  if (bin->head.pool) {
    struct tarn_pool *old = bin->head.pool;
    bool waits = can_wait(bin);
    put_back_run(local, bin);
    if (waits)
      tarn_pool_append(&bin->partial, old, TARN_LIST_PARTIAL);
    else
      tarn_pool_append(&bin->full, old, TARN_LIST_FULL);
  }
  struct tarn_pool *pool = find_pool(local, heap, bin, flavour, size_class);
  if (pool)
    adopt(local, bin, pool);
  return pool != NULL;
}

/* A block from the bin, by whatever means; NULL: limit or memory.  `*dirty`: how many bytes at its
 * start may be other than zero. */
static void *take_block(struct tarn_local *local, struct tarn_heap *heap, struct tarn_bin *bin,
                        tarn_flavour flavour, unsigned size_class, size_t *dirty) {
  (void)tarn_remote_collect(local);
  tarn_remote_flush(local);
  for (;;) {
    if (bin->head.pool) {
      void *block = is_raw(bin->head.pool) ? pop_free(local, bin, dirty) : NULL;
      if (block || (block = bump(bin, dirty)))
        return block;
      bool waits = can_wait(bin);
      if (!waits && next_piece(local, bin))
        continue;
      if ((block = pop_free(local, bin, dirty)))
        return block;
      if (!waits && next_stretch(local, bin))
        continue;
    }
    if (!next_pool(local, heap, bin, flavour, size_class))
      return NULL;
  }
}

/* --- allocation ------------------------------------------------------------------------------ */

static unsigned flavour_count(const struct tarn_heap *heap) {
  if (heap->store->hooks->uncollected) /* raw blocks only: threads that come and go look at less */
    return heap->kind == TARN_HEAP_CONTAINER ? 0 : 1;
  return heap->kind == TARN_HEAP_CONTAINER ? 2 : 3;
}
static bool is_first_heap(const struct tarn_heap *heap) { return heap->index < 2; }

/* The thread's bins for a flavour of the heap, [TARN_CLASS_COUNT]; NULL: none were made. */
static struct tarn_bin *bins_of(struct tarn_local *local, const struct tarn_heap *heap,
                                unsigned flavour) {
  if (is_first_heap(heap))
    return local->bins[flavour];
  struct tarn_bin(*more)[TARN_CLASS_COUNT] = local->more[heap->index];
  return more ? more[flavour - tarn_heap_first_flavour(heap)] : NULL;
}

static size_t more_size(const struct tarn_heap *heap) {
  return flavour_count(heap) * sizeof(struct tarn_bin[TARN_CLASS_COUNT]);
}

static struct tarn_bin *bin_for(struct tarn_local *local, struct tarn_heap *heap,
                                tarn_flavour flavour, unsigned size_class) {
  struct tarn_bin *bins = bins_of(local, heap, flavour);
  if (!bins) {
    local->more[heap->index] = tarn_meta_alloc(&local->store->meta, more_size(heap));
    bins = bins_of(local, heap, flavour);
  }
  return bins ? bins + size_class : NULL;
}

/* A request, and what is known of its block. */
struct request {
  struct tarn_heap *heap;
  tarn_flavour flavour;
  size_t size;
  size_t alignment; /* of large ones, if more than a unit */
  bool cleared;     /* for large ones; for others `dirty` says what is left to do */
  bool apart;       /* it shall lie alone, see heap/apart.h */
  size_t dirty;
};

static size_t large_size(const void *block) { return tarn_large_of((uintptr_t)block)->bytes; }

/* In units of its own. */
static void *alloc_large(struct tarn_local *local, const struct request *request) {
  struct tarn_store *store = local->store;
  size_t size = request->size ? request->size : 1, page = tarn_os_page_size();
  tarn_sweep_before_growth(store, size / TARN_UNIT_SIZE + 1);
  void *block =
      tarn_large_make(request->heap, request->flavour, size, request->alignment, request->cleared);
  if (!block)
    return NULL;
  count(local, request->apart ? (size + page - 1) & ~(page - 1) : size); /* what it takes */
  if (TARN_UNLIKELY(store->apart.every))
    tarn_apart_made(tarn_large_of((uintptr_t)block), request->size);
  if (TARN_UNLIKELY(store->sampling))
    tarn_sample_count(local, request->heap, TARN_FLAVOURS, 0, large_size(block));
  return block;
}

static void *alloc_once(struct tarn_local *local, struct request *request) {
  if (request->size > TARN_LARGE_LIMIT || request->apart)
    return alloc_large(local, request);
  unsigned size_class = tarn_class_of(request->size);
  struct tarn_bin *bin = bin_for(local, request->heap, request->flavour, size_class);
  return bin ? take_block(local, request->heap, bin, request->flavour, size_class, &request->dirty)
             : NULL;
}

/* The common way past the inlined path: the run goes on by a piece and nobody wants attention. */
static void *alloc_piece(struct tarn_local *local, struct request *request) {
  /* Relaxed, as in tarn_safepoint: the hook reads again with the order it needs. */
  if (TARN_ZEAL || request->size > TARN_LARGE_LIMIT ||
      (__atomic_load_n(&local->pub.tarn_poll, __ATOMIC_RELAXED) & ~TARN_POLL_CAN_WAIT) != 0)
    return NULL;
  struct tarn_bin *bins = bins_of(local, request->heap, request->flavour);
  struct tarn_bin *bin = bins ? bins + tarn_class_of(request->size) : NULL;
  if (!bin || !bin->head.pool || (is_raw(bin->head.pool) && bin->head.pool->own.free))
    return NULL;
  void *block = bump(bin, &request->dirty);
  if (!block && !can_wait(bin) && next_piece(local, bin))
    block = bump(bin, &request->dirty);
  return block;
}

/* What the thread keeps and does not use, and what is not swept yet, or was not before it tried.
 * The spare pools last: others become such before. */
static bool gives_up_some(struct tarn_local *local, bool unswept) {
  bool some = tarn_local_empty_quarantine(local) || unswept;
  tarn_sweep_all(local->store);
  tarn_sweep_wait(local->store);
  return tarn_spare_drop_all(local) || some;
}

static void *alloc(struct tarn_local *local, struct request *request) {
  const struct tarn_hooks *hooks = local->store->hooks;
  request->apart = TARN_UNLIKELY(local->store->apart.every) && tarn_apart_due(local);
  void *block = request->apart ? NULL : alloc_piece(local, request);
  for (unsigned tries = 0; !block; tries++) {
    if (!hooks->before_refill(local, request->size))
      return NULL;
    bool unswept = tarn_sweep_left(local->store) != 0;
    block = alloc_once(local, request);
    if (!block && gives_up_some(local, unswept))
      block = alloc_once(local, request);
    if (!block && !hooks->exhausted(local, request->size, tries))
      return NULL;
    if (local->store->apart.every > 1)
      request->apart = false; /* a sample is not to make an allocation fail */
  }
  return block;
}

/* A profile is on: is the block a sample?  Those of typed bins were counted with their pieces. */
static void sample(struct tarn_local *local, const void *block, const struct request *request) {
  bool large = request->size > TARN_LARGE_LIMIT || request->apart;
  unsigned size_class = large ? 0 : tarn_class_of(request->size);
  size_t size = large ? large_size(block) : tarn_class_size(size_class);
  if (!large && request->flavour == TARN_FLAVOUR_RAW)
    tarn_sample_count(local, request->heap, TARN_FLAVOUR_RAW, size_class, size);
  if (local->sampled) {
    local->sampled = false;
    local->store->sampling->take(local, block, size);
  }
}

void tarn_local_sample(struct tarn_local *local, struct tarn_heap *heap, const void *block,
                       size_t size) {
  const struct request request = {.heap = heap, .flavour = TARN_FLAVOUR_RAW, .size = size};
  sample(local, block, &request);
}

/* It is the program's from now on. */
static void *hand_out(struct tarn_local *local, void *block, const struct request *request,
                      bool known) {
  bool counts = request->flavour == TARN_FLAVOUR_RAW && local->store->sampling;
  if (TARN_UNLIKELY(counts || local->sampled) && block)
    sample(local, block, request);
#if TARN_TOOLS
  struct tarn_place place;
  if (block && tarn_find(request->heap->store->id, (uintptr_t)block, false, &place))
    tarn_tools_hand_out(block, request->size, place.size, known);
#else
  (void)request, (void)known;
#endif
  return block;
}

void *tarn_local_alloc(struct tarn_local *local, struct tarn_heap *heap, tarn_flavour flavour,
                       size_t size) {
  struct request request = {.heap = heap, .flavour = flavour, .size = size, .cleared = true};
  void *block = alloc(local, &request);
  if (block && request.dirty)
    memset(block, 0, request.dirty);
  return hand_out(local, block, &request, true);
}

static void *alloc_raw(struct tarn_local *local, struct tarn_heap *heap, size_t size,
                       size_t alignment) {
  struct request request = {
      .heap = heap, .flavour = TARN_FLAVOUR_RAW, .size = size, .alignment = alignment};
  void *block = alloc(local, &request);
  if (block && request.dirty)
    *tarn_block_words(block) = 0; /* the key of a free block may stand there */
  return hand_out(local, block, &request, false);
}

void *tarn_local_alloc_raw(struct tarn_local *local, struct tarn_heap *heap, size_t size) {
  return alloc_raw(local, heap, size, 0);
}

void *tarn_local_alloc_aligned(struct tarn_local *local, struct tarn_heap *heap, size_t alignment,
                               size_t size) {
  return alloc_raw(local, heap, tarn_aligned_size(alignment, size), alignment);
}

/* --- freeing --------------------------------------------------------------------------------- */

/* Makes a block free as far as its own words go; the link comes later. */
static void clear_block(void *block, tarn_kind kind, size_t size) {
  tarn_block_spoil(block, size);
  *tarn_block_words(block) = tarn_free_key(kind, block);
}

/*
 * For the owner: is this a block that was handed out?  The first word has said that it is not free;
 * but in a bin's run, where it says nothing of raw blocks, and beyond the cursor it does not know,
 * nor does it in a spare pool, or another empty one, whose memory may have gone back.
 */
static bool is_out(struct tarn_local *local, const struct tarn_pool *pool, const void *block) {
  if (pool->list == TARN_LIST_SPARE ||
      (*(const uintptr_t *)block == 0 && tarn_remote_is_empty(pool)))
    return false;
  if ((uintptr_t)block - tarn_pool_base(pool) >= pool->own.cursor)
    return tarn_store_marked(local->store, block);
  return !tarn_is_in_run(pool->bin, block);
}

/* A pool's `room` has come to zero. */
static void attend(struct tarn_local *local, struct tarn_pool *pool) {
  struct tarn_bin *bin = pool->bin;
  if (pool->list == TARN_LIST_CURRENT)
    return;
  bool empty = tarn_pool_used(pool) == 0;
  if (pool->list == TARN_LIST_FULL) {
    tarn_pool_unlink(&bin->full, pool);
    if (!empty) {
      tarn_pool_push(&bin->partial, pool, TARN_LIST_PARTIAL);
      if (tarn_remote_count(pool)) /* the thread may free the rest, and sleep */
        tarn_purge_hint(local->store);
    }
  } else if (empty) {
    tarn_pool_unlink(&bin->partial, pool);
  }
  if (empty)
    tarn_spare_put(local, pool);
}

void tarn_local_attend(struct tarn_local *local, struct tarn_pool *pool) {
  attend(local, pool);
  tarn_store_tend(local->store); /* the bins are whole: it may call malloc */
}

void tarn_local_open(struct tarn_local *local) {
  local->pub.tarn_bins = tarn_bin_table;
  local->pub.tarn_base = tarn_space.base;
  local->pub.tarn_size = tarn_space.size;
  local->pub.tarn_pools = tarn_space.pools_bias;
  local->pub.tarn_marks = (uintptr_t)tarn_space.marks - (tarn_space.base >> TARN_GRANULE_SHIFT);
  local->pub.tarn_cards = (uintptr_t)tarn_space.cards - (tarn_space.base >> TARN_CARD_SHIFT);
  local->pub.tarn_secret = tarn_free_secret;
  local->pub.tarn_marks_exist = &local->store->tables;
#if TARN_HARDENED
  local->random += (uintptr_t)local ^ tarn_os_now();
#endif
  local->spares.step = 0; /* the record may have been another thread's */
  tarn_remote_open(local);
}

void tarn_local_received(struct tarn_local *local, struct tarn_pool *pool, uint32_t count_off) {
  struct tarn_bin *bin = pool->bin;
  tarn_pool_set_room(pool, pool->own.room - count_off);
  if (pool->list == TARN_LIST_CURRENT && pool->own.cursor == 0 && bin->run_end == bin->head.bump) {
    /* Perhaps its memory was given back: it is as new, and so is the run, which had ended. */
    scatter(local, pool);
    bin->head.bump = bin->head.limit = bin->run_end = bin->head.fresh =
        pool_address(pool, pool->own.cursor);
  }
  /* As a number with a sign: it may have gone past zero. */
  if ((int32_t)pool->own.room <= 0)
    attend(local, pool);
}

/* The block, whose first word says already that it is free, can be handed out again; true: the pool
 * wants attention. */
static bool put_own(struct tarn_local *local, struct tarn_pool *pool, void *block) {
  if ((uintptr_t)block - tarn_pool_base(pool) < pool->own.cursor) {
    tarn_block_link(block, pool->own.free);
    pool->own.free = block;
  }
  if (local->store->tables)
    *tarn_mark_byte((uintptr_t)block) = TARN_MARK_NONE;
  return tarn_inline_count_down(&pool->own);
}

#if !TARN_HARDENED
static void free_own(struct tarn_local *local, struct tarn_pool *pool, void *block) {
  if (put_own(local, pool, block))
    tarn_local_attend(local, pool);
}
#endif

#if TARN_HARDENED
/* Is every word of a block that was in quarantine as it was left? */
static bool is_untouched(const uintptr_t *words, tarn_kind kind, size_t size) {
  const uintptr_t pattern = UINTPTR_MAX / 0xff * TARN_POISON;
  /* All words are the same if each is as the one before it. */
  return words[0] == tarn_free_key(kind, words) && words[1] == pattern &&
         memcmp(words + 1, words + 2, size - 2 * sizeof *words) == 0;
}

/* The oldest block becomes free.  In the middle of an allocation, too, and in stops: so nothing is
 * tended to. */
static void release_oldest(struct tarn_local *local) {
  struct tarn_quarantine *quarantine = &local->quarantine;
  void *block = quarantine->blocks[quarantine->first++ % TARN_QUARANTINE_BLOCKS];
  size_t unit = tarn_unit_of((uintptr_t)block);
  uint64_t map = tarn_map_get(unit); /* its pool counts the block, and stays */
  size_t size = tarn_map_block_size(map);
  struct tarn_pool *pool = &tarn_space.pools[unit];
  quarantine->count--;
  quarantine->bytes -= size;
  if (!is_untouched(block, tarn_map_kind(map), size))
    local->store->hooks->corrupt(local->store, block, "a free block was written to");
  if (tarn_pool_owner(pool) != local)
    tarn_remote_free(local, unit, tarn_block_index(map, (uintptr_t)block & (TARN_UNIT_SIZE - 1)),
                     size);
  else if (put_own(local, pool, block))
    attend(local, pool);
}

/* A block that clear_block has seen. */
static void detain(struct tarn_local *local, void *block, size_t size) {
  struct tarn_quarantine *quarantine = &local->quarantine;
  size_t most = tarn_harden_plain ? 0 : TARN_QUARANTINE_BYTES - size;
  while (quarantine->count == TARN_QUARANTINE_BLOCKS || quarantine->bytes > most)
    release_oldest(local);
  quarantine->blocks[(quarantine->first + quarantine->count++) % TARN_QUARANTINE_BLOCKS] = block;
  quarantine->bytes += size;
  if (tarn_harden_plain)
    release_oldest(local);
}

void tarn_local_quarantine(struct tarn_local *local, void *block, size_t size) {
  clear_block(block, TARN_KIND_RAW, size);
  detain(local, block, size);
  tarn_store_tend(local->store);
}

bool tarn_local_empty_quarantine(struct tarn_local *local) {
  bool some = local->quarantine.count != 0;
  while (local->quarantine.count)
    release_oldest(local);
  return some;
}

void tarn_local_quarantine_after_fork(struct tarn_local *local) {
  struct tarn_quarantine *quarantine = &local->quarantine;
  uint32_t count = quarantine->count;
  local->random += tarn_os_now(); /* the parent goes on with the same numbers */
  for (uint32_t i = 0; i < count; i++) {
    void *block = quarantine->blocks[quarantine->first++ % TARN_QUARANTINE_BLOCKS];
    size_t size = tarn_map_block_size(tarn_map_get(tarn_unit_of((uintptr_t)block)));
    quarantine->count--;
    quarantine->bytes -= size;
    if (!tarn_pool_is_abandoned(tarn_pool_of((uintptr_t)block)))
      detain(local, block, size);
  }
}

/* Half of them, at least one. */
static bool age_quarantine(struct tarn_local *local) {
  uint32_t count = (local->quarantine.count + 1) / 2;
  for (uint32_t i = 0; i < count; i++)
    release_oldest(local);
  return count != 0;
}
#endif

/* False: the pool is not one that a fork left behind.  See heap/revive.c. */
static bool free_to_abandoned(struct tarn_store *store, const struct tarn_place *place) {
  void *block = (void *)place->block;
  struct tarn_pool *pool = tarn_pool_of(place->block);
  if (!tarn_pool_is_abandoned(pool))
    return false;
  struct tarn_heap *heap = pool->heap;
  tarn_remote_collect_heap(heap); /* takes such pools out of its mailbox */
  (void)pthread_mutex_lock(&heap->lock);
  bool abandoned = tarn_pool_is_abandoned(pool);
  bool twice =
      *tarn_block_words(block) == tarn_free_key(TARN_KIND_RAW, block) || tarn_remote_is_empty(pool);
  if (abandoned && !twice) {
    clear_block(block, TARN_KIND_RAW, place->size);
    tarn_revive_freed(pool);
  }
  (void)pthread_mutex_unlock(&heap->lock);
  if (abandoned && twice)
    store->hooks->corrupt(store, block, "freed twice");
  return abandoned;
}

/* In a spare pool of another thread whose memory went back the first word does not tell.  Other
 * builds find that when the block is handed over, if the pool is still spare then. */
#define CHECKS_OTHERS (TARN_CHECKING || TARN_HARDENED)

/* The block at `place`, of a pool, is in use as far as its first word tells. */
static void free_to_pool(struct tarn_store *store, struct tarn_local *local,
                         const struct tarn_place *place) {
  void *block = (void *)place->block;
  tarn_kind kind = tarn_map_kind(place->map);
  struct tarn_pool *pool = tarn_pool_of(place->block);
  bool own = local && tarn_pool_owner(pool) == local;
  if (*tarn_block_words(block) == tarn_free_key(kind, block) ||
      (own ? !is_out(local, pool, block) : CHECKS_OTHERS && tarn_remote_is_empty(pool)))
    store->hooks->corrupt(store, block, "freed twice, or never allocated");
  if (TARN_UNLIKELY(store->abandoned) && !own && free_to_abandoned(store, place))
    return;
  clear_block(block, kind, place->size);
#if TARN_HARDENED
  if (local) {
    detain(local, block, place->size);
    return;
  }
#else
  if (own) {
    free_own(local, pool, block);
    return;
  }
#endif
  size_t index = tarn_block_index(place->map, place->block & (TARN_UNIT_SIZE - 1));
  if (local)
    tarn_remote_free(local, tarn_pool_unit(pool), index, place->size);
  else
    tarn_remote_free_stranger(store, tarn_pool_unit(pool), index);
}

/* Weak references may lead there, which a young collection would not look at.  Relaxed: the next
 * one is told through its stop, and a thread that wrote it before has nothing to add. */
static void note_freed(struct tarn_store *store, const struct tarn_place *place) {
  if (store->tables && tarn_map_kind(place->map) != TARN_KIND_RAW &&
      tarn_mark_load(place->block) != TARN_MARK_NONE &&
      !__atomic_load_n(&store->freed_marked, __ATOMIC_RELAXED))
    __atomic_store_n(&store->freed_marked, 1, __ATOMIC_RELAXED);
}

static void free_block(struct tarn_store *store, struct tarn_local *local, void *block) {
  struct tarn_place place;
  tarn_store_tend(store);
  if (!tarn_find(store->id, (uintptr_t)block, false, &place))
    store->hooks->corrupt(store, block, "not the start of a block of this world");
  note_freed(store, &place);
  if (tarn_map_form(place.map) == TARN_FORM_LARGE) {
    tarn_large_free(tarn_large_of(place.block));
    return;
  }
  if (TARN_UNLIKELY(store->sampling))
    store->sampling->freed(store, block);
  free_to_pool(store, local, &place);
}

void tarn_local_free(struct tarn_local *local, void *block) {
  free_block(local->store, local, block);
}

void tarn_store_free_stranger(struct tarn_store *store, void *block) {
  free_block(store, NULL, block);
}

/* --- giving up ------------------------------------------------------------------------------- */

/* Under the heap's lock. */
static void shelve_or_drop(struct tarn_heap *heap, struct tarn_pool *pool) {
  tarn_pool_set_owner(pool, NULL);
  if (tarn_pool_used(pool) == 0 && !tarn_heap_keeps(heap, pool))
    tarn_pool_drop(heap->store, pool);
  else
    tarn_heap_shelve(heap, pool);
}

static void retire_list(struct tarn_heap *heap, tarn_pool_head *head) {
  while (*head) {
    struct tarn_pool *pool = *head;
    tarn_pool_unlink(head, pool);
    shelve_or_drop(heap, pool);
  }
}

static void retire_bins(struct tarn_local *local, struct tarn_heap *heap) {
  unsigned first = tarn_heap_first_flavour(heap);
  (void)pthread_mutex_lock(&heap->lock);
  for (unsigned flavour = first; flavour < first + flavour_count(heap); flavour++) {
    struct tarn_bin *bins = bins_of(local, heap, flavour);
    for (unsigned i = 0; bins && i < TARN_CLASS_COUNT; i++) {
      struct tarn_pool *pool = bins[i].head.pool;
      if (pool) {
        put_back_run(local, &bins[i]);
        shelve_or_drop(heap, pool);
      }
      retire_list(heap, &bins[i].partial);
      retire_list(heap, &bins[i].full);
    }
  }
  (void)pthread_mutex_unlock(&heap->lock);
}

static void retire_spares(struct tarn_local *local) {
  struct tarn_pool *pool;
  while ((pool = tarn_spare_pop(local))) {
    struct tarn_heap *heap = pool->heap;
    (void)pthread_mutex_lock(&heap->lock);
    shelve_or_drop(heap, pool);
    (void)pthread_mutex_unlock(&heap->lock);
  }
}

void tarn_local_retire(struct tarn_local *local) {
  struct tarn_store *store = local->store;
  tarn_sample_forget(local);
  (void)tarn_local_empty_quarantine(local);
  tarn_remote_flush(local);
  tarn_remote_close(local);
  retire_spares(local);
  for (unsigned i = 0; i < tarn_store_heap_limit(store); i++) {
    struct tarn_heap *heap = tarn_store_heap(store, i);
    if (!heap || (!is_first_heap(heap) && !local->more[i]))
      continue;
    retire_bins(local, heap);
    if (!is_first_heap(heap))
      tarn_local_forget_heap(local, heap);
  }
  tarn_store_allocated(store, local->uncounted);
  local->uncounted = 0;
}

static void forget_bins(struct tarn_local *local, struct tarn_bin *bins) {
  for (unsigned i = 0; i < TARN_CLASS_COUNT; i++) {
    if (bins[i].head.pool)
      put_back_run(local, &bins[i]);
    bins[i].partial = bins[i].full = NULL;
  }
}

/* Of a typed bin: what it has of its run is as if it had not been handed to it. */
static void end_run(struct tarn_bin *bin) {
  struct tarn_pool *pool = bin->head.pool;
  if (!pool || is_raw(pool))
    return;
  uint32_t rest = (uint32_t)(bin->head.limit - bin->head.bump);
  pool->own.cursor -= rest;
  tarn_pool_set_room(pool, pool->own.room - rest / bin->head.size);
  bin->head.limit = bin->run_end = bin->head.bump;
}

void tarn_local_end_pieces(struct tarn_local *local) {
  struct tarn_store *store = local->store;
  tarn_sample_forget(local);
  for (unsigned i = 0; i < tarn_store_heap_limit(store); i++) {
    struct tarn_heap *heap = tarn_store_heap(store, i);
    for (unsigned k = 0; heap && k < flavour_count(heap); k++) {
      struct tarn_bin *bins = bins_of(local, heap, tarn_heap_first_flavour(heap) + k);
      for (unsigned class = 0; bins && class < TARN_CLASS_COUNT; class ++)
        end_run(&bins[class]);
    }
  }
}

static void forget_heap_bins(struct tarn_local *local, const struct tarn_heap *heap) {
  for (unsigned k = 0; k < flavour_count(heap); k++) {
    struct tarn_bin *bins = bins_of(local, heap, tarn_heap_first_flavour(heap) + k);
    if (bins)
      forget_bins(local, bins);
  }
}

void tarn_local_forget(struct tarn_local *local) {
  struct tarn_store *store = local->store;
  TARN_ASSERT(local->spares.count == 0); /* each stop begins with that */
  for (unsigned i = 0; i < tarn_store_heap_limit(store); i++)
    if (tarn_store_heap(store, i))
      forget_heap_bins(local, tarn_store_heap(store, i));
}

void tarn_local_forget_heap(struct tarn_local *local, struct tarn_heap *heap) {
  if (!local->more[heap->index])
    return;
  forget_heap_bins(local, heap);
  tarn_meta_free(&local->store->meta, local->more[heap->index], more_size(heap));
  local->more[heap->index] = NULL;
}

const char *tarn_local_bump(struct tarn_local *local, const struct tarn_pool *pool) {
  struct tarn_bin *bins = bins_of(local, pool->heap, pool->flavour);
  if (!bins || bins[pool->size_class].head.pool != pool)
    return NULL;
  return bins[pool->size_class].head.bump;
}
