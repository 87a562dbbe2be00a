/* SPDX-License-Identifier: MIT */
/*
 * heap/remote.h: frees by other threads than a pool's owner, and how they get home.
 *
 * A freed block becomes one bit, in four steps:
 *
 *   outbox     of the thread that frees: a few words of bits of one pool each, its own alone
 *   bits       the word goes into the pool's remote bits (heap/space.h) with one atomic OR
 *   count      the number of bits is added to the pool's `remote`; whoever raises that from zero
 *              puts the pool into the mailbox
 *   mailbox    of the pool's owner, or of the heap if nobody owns the pool: a stack of pools that
 * is only ever taken as a whole (so there is no ABA); its consumer takes the count off `used`, and
 * the bits onto the pool's free list
 *
 * The freeing thread writes the block's first word, so that everybody sees that it is free, and
 * touches no line that the owner writes; a batch of up to 64 blocks costs two atomic operations.
 * The owner finds the blocks without following links, which would be one cache miss after the
 * other.
 *
 * Invariants
 *   1. A pool is in a mailbox, or about to be put there by the thread that raised its count from
 *      zero, exactly while the count is not zero (or it is parked: below).  So it is in one mailbox
 *      at most, and `mail` has one writer.
 *   2. The bits of a batch are set before it is counted.  A consumer may thus take bits that are
 *      counted only later: `used` is then too large for a moment, never too small.
 *   3. A pool's blocks stay in `used` until they are counted off, so the pool stays while anybody
 * is between these steps: a thread touches a pool only before the count of its own batch, or when
 *      it has raised the count from zero and has yet to put the pool into the mailbox.
 *   4. A mailbox may hold pools that its owner does not own (any more): the consumer sends them on.
 *      The mailbox of a thread that gave its bins up is closed; who finds that reads the owner
 *      again.  In the child of a fork those of other threads are never emptied again.
 *   5. During a stop nothing is in an outbox, a mailbox or a remote bit (world/stop.c settles
 * first), but for parked pools.
 *
 * A pool with condemned objects has a worker (collect/release.c) that counts without a lock, and so
 * have unswept ones (heap/sweep.c) and those with cycles of garbage (collect/trash.c), while frozen
 * ones (collect/freeze.c) wait: the consumer
 * of the heap's mailbox leaves such a pool `parked`, under the heap's lock, and the worker takes
 * what came when it is done.
 *
 * Purges.  A thread that sleeps does not empty its mailbox.  A purge may give back the memory of a
 * pool all of whose blocks are free, without its owner: it claims the count, looks again, gives the
 * memory back, and leaves the count marked as purged; who takes the count then finds the pool as
 * new. All are free
 *   - when all blocks of the pool are counted, and their bits are set;
 *   - when as many are counted as the owner has in `used`, in a pool on its list of full or partly
 *     free ones.  All that is in `used` waits to be taken off it, then.
 * For the second a purge reads what is the owner's, `list` and `room`, and what it reads may be
 * old. Between two times that it is allocated from, a pool's `used` only falls: so an old value is
 * too large, and nothing is purged that is not free.  It must not be one of before the pool was
 * allocated from, which could be too small.  So its owner takes the pool off its list first, and
 * then changes the count, by nothing (tarn_remote_begin_use).  If that comes before the claim, the
 * purge sees that the pool is on no such list, or again on one, and all that was before.  If it
 * comes after, the owner sees the claim, and waits.  From one list to the other (full, none,
 * partial) there is no such step: `room` is stored before `list` and read after it, so that a
 * `room` of a later list is at most read with the list before, and that of a full pool leaves
 * something out: then the sum is too large.  No pool goes from partial to full without having been
 * allocated from. A free by the owner is a release, and read by an acquire: the block's words were
 * written before its memory goes.
 *
 * Orders.  The OR and the count are releases, the consumer's exchanges of both acquires: who takes
 * a block sees all that the freeing thread did to it, and who sees a count finds its bits.  Pushing
 * on a mailbox is a release, taking it an acquire: the consumer sees `mail`.
 */
#ifndef TARN_HEAP_REMOTE_H
#define TARN_HEAP_REMOTE_H

#include "heap/pool.h"

struct tarn_local;
struct tarn_heap;
struct tarn_store;

typedef _Atomic(struct tarn_pool *) tarn_mailbox;

/* Words of bits that a thread gathers before it hands them over. */
#define TARN_OUTBOX_ENTRIES 32u

struct tarn_outbox {
  size_t bytes; /* of blocks that came in since the last flush */
  struct tarn_outbox_entry {
    uint32_t unit; /* of the pool */
    uint32_t word; /* of its remote bits */
    uint64_t bits; /* 0: the entry is free */
  } entries[TARN_OUTBOX_ENTRIES];
};

/* Block number `index`, of `size` bytes, of a pool that is not the thread's own; its first word
 * says already that it is free. */
void tarn_remote_free(struct tarn_local *local, size_t unit, size_t index, size_t size);

/* The same for a thread that has no record: handed over at once. */
void tarn_remote_free_stranger(struct tarn_store *store, size_t unit, size_t index);

/* Hands over all that is in the thread's outbox.  By the thread, or for it while it stands still.
 */
void tarn_remote_flush(struct tarn_local *local);

/*
 * Takes what is in the thread's mailbox.  By the thread, or for it while it stands still; no lock
 * is held.  True: something came back.
 */
bool tarn_remote_collect(struct tarn_local *local);

/* The same for the pools that nobody owns; takes the heap's lock. */
void tarn_remote_collect_heap(struct tarn_heap *heap);

/* A thread's mailbox begins open; the last collection of a thread that gives up its bins closes it.
 * The caller then takes the owner off all its pools without waiting for anything but heaps' locks.
 */
void tarn_remote_open(struct tarn_local *local);
void tarn_remote_close(struct tarn_local *local);

/* What came for a parked pool; by its worker, under the heap's lock, or while the world is stopped.
 */
void tarn_remote_unpark(struct tarn_pool *pool);

/*
 * For pools that a fork left behind, see heap/revive.c, and for heaps that go.  The number of
 * blocks that wait; forgets them and their bits, true: the memory was given back; and what a
 * forking thread has in its outbox and mailbox of such pools is taken out, in the child.
 */
uint32_t tarn_remote_count(const struct tarn_pool *pool);
bool tarn_remote_forget(struct tarn_pool *pool);
void tarn_remote_after_fork(struct tarn_local *self);

/*
 * The owner's pool is empty and a spare one from here on (heap/spare.h): nobody but a purge touches
 * it, and `remote` is for the two to agree on.  At the end of that it is the owner's again, as new
 * if its memory was given back.
 */
void tarn_remote_begin_spare(struct tarn_pool *pool);
void tarn_remote_end_spare(struct tarn_store *store, struct tarn_pool *pool);

/* Is it known that none of its blocks is handed out: is it spare, or was its memory given back? Any
 * thread; for the owner, or for who has a block that is said to be in use: then the answer does not
 * change. */
bool tarn_remote_is_empty(const struct tarn_pool *pool);

/* Before the caller, whose the pool is from now on or was before, allocates from it: it was taken
 * off its list, and is as new if its memory was given back. */
void tarn_remote_begin_use(struct tarn_store *store, struct tarn_pool *pool);

/*
 * Gives back the memory of the unit if it is a pool of the world all of whose blocks are free, the
 * last of them by other threads, and wait for an owner that does not come, or one that was spare
 * `delay` ticks ago at the latest, as far as purges know; false: it is none, or the system refused.
 * Any thread, that lets no stop and no fork begin meanwhile (tarn_store_visit).
 */
bool tarn_remote_purge(const struct tarn_store *store, size_t unit, uint32_t now, uint32_t delay);
/* A look, by any thread at any time: can there be something for that to do? */
bool tarn_remote_may_purge(size_t unit);

/* Is nothing underway: the thread's outbox and mailbox are empty? */
bool tarn_remote_is_settled(struct tarn_local *local);

#endif
