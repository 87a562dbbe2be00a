/* SPDX-License-Identifier: MIT */
/*
 * handover.pml: how pools and freed blocks go from one thread to another, for spin; lib/heap/remote.c,
 * local.c and heap.c.
 *
 * What it is for: the four steps of a free by another thread (outbox, bits, count, mailbox) against
 * the owner who takes them back, the owner who gives its pools up, the thread that takes a pool from
 * the shelf, the purge that empties the heap's mailbox, and the worker for whom a pool is parked.
 *
 * Invariants, as asserts
 *   1. Each block of a pool is in one place: handed out, in an outbox, a remote bit, or free to be
 *      handed out.  So no freed block is lost, and none is on two lists.
 *   2. `used` is not less than the blocks that are not free: a pool that is given back has all of
 *      its blocks, and nobody is between the steps of a free into it.
 *   3. A pool is in one mailbox at most, and `mail` has one writer.
 *   4. The owner's fields are touched by the owner alone; where there is none, by who has the heap's
 *      lock; where the pool has a worker, by that one.
 *   5. A mailbox that is opened was closed and empty.
 * Progress, as LTL under weak fairness, with threads that go on to allocate (PROGRESS)
 *   received   a block that was freed by another thread is free to be handed out in the end, or its
 *              pool is given back
 *
 * Memory orders.  The model is sequentially consistent.  remote.h argues the orders of the bits, the
 * count and the mailboxes, which are all acquire and release, or read-modify-writes that read the
 * newest value; in the model these carry no data but what is in the same word or the pool.  The one
 * relaxed read that decides something is that of the owner.  A thread that reads itself wrote it.
 * Any other value may be old: the model has that too, for reading the owner and pushing are two
 * steps, with anything in between; what matters is that a mailbox is closed before the owner changes.
 *
 * Merged steps.  Push is one step: its loop changes nothing but the pool's `mail`, which invariant 3
 * gives to the pusher.  Fields of the owner change together with the atomic step before them.
 *
 * The owner's lists (current, full, partial, spare) are one here: from which of its pools a thread
 * allocates is left open, and when it gives an empty one back.  `used` stands for `room`.
 *
 * Left out: giving memory back while blocks wait (CLAIMED, PURGED, SPARE), the collector's stop, fork
 * and pools that it leaves behind, the contents of blocks.
 *
 * -DBROKEN=n leaves a step out or swaps two; doc/models.md lists what must be found then.
 */

#ifndef BROKEN
#define BROKEN 0
#endif
#ifndef POOLS
#define POOLS 2
#endif
#ifndef BLOCKS
#define BLOCKS 2
#endif
#define ALL ((1 << BLOCKS) - 1)

/* Threads with a record; then the stranger, who has none and only frees; then the purge. */
#define THREADS 2
#define STRANGER 2
#define PURGE 3
#define PROCESSES 4
#define NOBODY THREADS

#define NONE POOLS
#define CLOSED (POOLS + 1)
#define ORPHANS THREADS /* the heap's mailbox */

/* The list that a pool is on. */
#define UNIT 0  /* it is none: a free unit */
#define OWNED 1
#define SHELF 2
#define WORKED 3 /* condemned, unswept, trash, frozen: it has a worker */

byte owner[POOLS] = NOBODY;
byte list[POOLS] = UNIT;
byte used[POOLS];
byte remote[POOLS];
byte mail[POOLS] = NONE;
bool parked[POOLS];
byte box[THREADS + 1] = NONE;
byte heap_lock = PROCESSES;

/* Where the blocks are: sets. */
byte out[POOLS];  /* handed out; the program may pass them on */
byte free[POOLS]; /* the free list, and what is left of the run */
byte bits[POOLS]; /* remote bits */
byte outbox[PROCESSES * POOLS];

/* What the monitors know. */
byte boxes[POOLS]; /* mailboxes that the pool is in, or lists that were taken out of one */

#define OUTBOX(who, pool) outbox[(who) * POOLS + (pool)]
#define outboxes(pool) (OUTBOX(0, pool) | OUTBOX(1, pool) | OUTBOX(2, pool) | OUTBOX(3, pool))
#define number(set) (((set) & 1) + (((set) >> 1) & 1) + (((set) >> 2) & 1))
#define lowest(set) ((set) & 1 -> 1 : ((set) & 2 -> 2 : 4))

/* Invariants 1 and 2. */
#define whole(pool) \
  assert((out[pool] | outboxes(pool) | bits[pool] | free[pool]) == ALL); \
  assert(number(out[pool]) + number(outboxes(pool)) + number(bits[pool]) + number(free[pool]) == BLOCKS); \
  assert(used[pool] + number(free[pool]) >= BLOCKS)

/* Invariant 4. */
#define rights(pool) \
  assert((list[pool] == OWNED && owner[pool] == me) || \
         (list[pool] != WORKED && owner[pool] == NOBODY && heap_lock == me) || \
         (list[pool] == WORKED && me == PURGE))

/* --- the heap's lock ----------------------------------------------------------------------- */
/* With PROGRESS it serves all in a circle; see stop.pml. */
#ifdef PROGRESS
bool wants[PROCESSES];
inline lock_heap() {
  atomic {
    if
    :: heap_lock == PROCESSES -> heap_lock = me
    :: else -> wants[me] = true
    fi
  }
  heap_lock == me
}
inline unlock_heap() {
  atomic {
    heap_lock = (me + 1) % PROCESSES;
    do
    :: wants[heap_lock] || heap_lock == me -> break
    :: else -> heap_lock = (heap_lock + 1) % PROCESSES
    od;
    if
    :: wants[heap_lock] -> wants[heap_lock] = false
    :: else -> heap_lock = PROCESSES
    fi
  }
}
#else
inline lock_heap() { atomic { heap_lock == PROCESSES -> heap_lock = me } }
inline unlock_heap() { heap_lock = PROCESSES }
#endif

/* --- posting ------------------------------------------------------------------------------- */

/* post and push: `to` is the mailbox. */
inline post(pool) {
  do
  :: to = owner[pool];
    if
    :: atomic { box[to] == CLOSED -> to = NONE } /* reads the owner again */
    :: atomic {
        box[to] != CLOSED ->
        boxes[pool]++;
        assert(boxes[pool] == 1);
        mail[pool] = box[to];
        box[to] = pool;
        to = NONE;
        break
      }
    fi
  od
}

/* hand_over, of what is in the outbox for the pool. */
inline set_bits(pool) {
  d_step {
    count = number(OUTBOX(me, pool));
    assert((bits[pool] & OUTBOX(me, pool)) == 0);
    bits[pool] = bits[pool] | OUTBOX(me, pool);
    OUTBOX(me, pool) = 0;
    whole(pool)
  }
}
inline hand_over(pool) {
#if BROKEN == 3 /* counted before the bits are set */
  count = number(OUTBOX(me, pool));
  atomic { first = remote[pool] == 0; remote[pool] = remote[pool] + count; count = 0 }
  set_bits(pool);
  count = 0;
#else
  set_bits(pool);
  atomic { first = remote[pool] == 0; remote[pool] = remote[pool] + count; count = 0 };
#endif
#if BROKEN == 5 /* posts it though it is underway already */
  first = true;
#endif
  if
  :: first -> first = false; post(pool)
  :: else
  fi
}

/* tarn_remote_flush */
#ifdef OWN_ONLY
#define flush() skip
#else
inline flush() {
  do
  :: atomic { OUTBOX(me, 0) != 0 -> p = 0 }; hand_over(p); p = NONE
#if POOLS > 1
  :: atomic { OUTBOX(me, 1) != 0 -> p = 1 }; hand_over(p); p = NONE
#endif
  :: OUTBOX(me, 0) == 0 && OUTBOX(me, POOLS - 1) == 0 -> break
  od
}
#endif

/* --- taking -------------------------------------------------------------------------------- */

/* take_count, the bits, take_block, and what is counted off `used`. */
inline take_bits(pool) {
  atomic { free[pool] = free[pool] | bits[pool]; bits[pool] = 0 }
}
inline count_off(pool) {
  assert(used[pool] >= count);
  used[pool] = used[pool] - count;
#if BROKEN == 6 /* counted off twice */
  used[pool] = used[pool] - count;
#endif
  count = 0
}
inline drain(pool) {
#if BROKEN == 2 /* the bits are taken before the count */
  atomic { rights(pool); take_bits(pool) };
  atomic { rights(pool); count = remote[pool]; remote[pool] = 0; count_off(pool); whole(pool) }
#else
  atomic { rights(pool); count = remote[pool]; remote[pool] = 0 };
  atomic { rights(pool); take_bits(pool); count_off(pool); whole(pool) }
#endif
}

/* A pool goes out of the list that was taken: `p`, and `next` is the one behind it. */
#if BROKEN == 7 /* the link is read when the pool is done with */
#define leave_list() boxes[p]--
#define go_on() p = mail[p]
#else
#define leave_list() next = mail[p]; boxes[p]--
#define go_on() p = next; next = NONE
#endif

/* The loop of tarn_remote_collect and tarn_remote_close, and receive. */
inline receive_all() {
  do
  :: p == NONE || p == CLOSED -> p = NONE; break
  :: else ->
    atomic { leave_list() };
    if
    :: owner[p] == me -> drain(p)
    :: else -> post(p)
    fi;
    atomic { go_on() }
  od
}

/* tarn_pool_drop */
inline drop(pool) {
  assert(used[pool] == 0 && free[pool] == ALL && remote[pool] == 0 && boxes[pool] == 0);
  assert(!parked[pool]);
  owner[pool] = NOBODY;
  list[pool] = UNIT;
  free[pool] = 0
}

/* shelve_or_drop, tarn_heap_received, tarn_heap_put_back: under the heap's lock. */
inline shelve(pool) {
  if
  :: used[pool] == 0 -> drop(pool)
  :: else -> list[pool] = SHELF
  fi
}

/* tarn_remote_collect_heap, receive_orphan. */
inline collect_heap() {
  if
  :: box[ORPHANS] == NONE
  :: box[ORPHANS] != NONE ->
    lock_heap();
    atomic { p = box[ORPHANS]; box[ORPHANS] = NONE };
    do
    :: p == NONE -> break
    :: else ->
      atomic { leave_list() };
      if
#if BROKEN != 8 /* nobody looks whether the pool has an owner by now */
      :: atomic { owner[p] != NOBODY -> boxes[p]++; aside = aside | (1 << p) }
#endif
#if BROKEN == 9 /* nobody looks whether it has a worker */
      :: false
#else
      :: atomic { owner[p] == NOBODY && list[p] == WORKED -> parked[p] = true }
#endif
      :: atomic {
#if BROKEN == 8
          true
#elif BROKEN == 9
          owner[p] == NOBODY
#else
          owner[p] == NOBODY && list[p] != WORKED
#endif
          -> skip };
        drain(p);
        atomic { rights(p); shelve(p) }
      fi;
      atomic { go_on() }
    od;
    unlock_heap();
    do
    :: atomic { aside != 0 -> p = (aside & 1 -> 0 : 1); aside = aside & ~(1 << p); boxes[p]-- };
      post(p);
      p = NONE
    :: aside == 0 -> break
    od
  fi
}

/* --- a thread ------------------------------------------------------------------------------ */

/* Pools are numbered 0 and 1, and perhaps 2. */
#if POOLS == 1
#define some_pool(condition) if :: condition(0) -> p = 0 fi
#else
#define some_pool(condition) if :: condition(0) -> p = 0 :: condition(1) -> p = 1 fi
#endif
#define can_give(pool) (owner[pool] == me && free[pool] != 0)
#define is_out(pool) (out[pool] != 0)
#define is_own_out(pool) (out[pool] != 0 && owner[pool] == me)
#define is_empty(pool) (owner[pool] == me && list[pool] == OWNED && used[pool] == 0)
#define is_shelved(pool) (list[pool] == SHELF && free[pool] != 0)
#define is_on_shelf(pool) (list[pool] == SHELF)
#define is_unit(pool) (list[pool] == UNIT)
#define is_mine(pool) (owner[pool] == me)

/* bump, pop_free */
inline allocate() {
  atomic {
    some_pool(can_give);
    rights(p);
    b = lowest(free[p]);
    free[p] = free[p] & ~b;
    out[p] = out[p] | b;
    used[p]++;
    whole(p);
    p = NONE;
    b = 0
  }
}

/* free_to_pool: put_own, or tarn_remote_free.  The owner is read in the same step, since only the
 * reader could change it to or from himself. */
inline pick() {
  if
  :: out[p] & 1 -> b = 1
  :: out[p] & 2 -> b = 2
#if BLOCKS > 2
  :: out[p] & 4 -> b = 4
#endif
  fi;
  out[p] = out[p] & ~b
}
inline free_block() {
  atomic {
#ifdef OWN_ONLY
    some_pool(is_own_out);
#else
    some_pool(is_out);
#endif
    pick();
    if
    :: owner[p] == me -> rights(p); free[p] = free[p] | b; used[p]--
    :: else -> OUTBOX(me, p) = OUTBOX(me, p) | b
    fi;
    whole(p);
    p = NONE;
    b = 0
  }
}

/* tarn_remote_collect */
inline collect() {
  if
  :: box[me] == NONE
  :: box[me] != NONE -> atomic { p = box[me]; box[me] = NONE }; receive_all()
  fi
}

/* take_shelved */
inline take() {
  lock_heap();
  atomic {
    if
    :: is_shelved(0) -> p = 0
#if POOLS > 1
    :: is_shelved(1) -> p = 1
#endif
    :: else -> p = NONE
    fi;
    if
    :: p != NONE -> rights(p); owner[p] = me; list[p] = OWNED; p = NONE
    :: else
    fi
  };
  unlock_heap()
}

/* tarn_local_retire */
inline retire() {
  flush();
#if BROKEN == 4 /* the mailbox stays open */
  atomic { p = box[me]; box[me] = NONE };
#else
  atomic { p = box[me]; box[me] = CLOSED };
#endif
  receive_all();
  lock_heap();
  do
  :: atomic { some_pool(is_mine) };
#if BROKEN == 1 /* it is on the shelf before the owner is taken off, which comes after the lock */
    list[p] = SHELF;
    unlock_heap();
    owner[p] = NOBODY;
    p = NONE;
    lock_heap()
#else
    atomic { rights(p); owner[p] = NOBODY; list[p] = SHELF };
    atomic { rights(p); shelve(p); p = NONE }
#endif
  :: owner[0] != me && owner[POOLS - 1] != me -> break
  od;
  unlock_heap()
}

/*
 * With PROGRESS each turn ends as an allocation that finds its bin empty begins, and a thread gives its
 * pools up RETIRES times at most: without an end of that a pool may change hands for ever, each
 * time between the moment in which somebody reads its owner and that in which he pushes it.
 */
#ifdef PROGRESS
#ifndef RETIRES
#define RETIRES 1
#endif
#define refill() collect(); flush()
#else
#define refill() skip
#endif

proctype thread(byte me) {
  byte p = NONE, next = NONE, to = NONE, count, b, aside;
  bool first;
#ifdef PROGRESS
  byte retired;
#endif
end_outside:
  do
#ifdef PROGRESS
  :: break /* stays away */
#endif
  :: /* tarn_remote_open */
#if BROKEN == 4
    atomic { assert(box[me] == NONE); box[me] = NONE };
#else
    atomic { assert(box[me] == CLOSED); box[me] = NONE };
#endif
  end_inside:
    do
    :: allocate(); refill()
    :: free_block(); refill()
    :: flush(); collect()
    :: collect_heap(); take(); refill()
    :: atomic { some_pool(is_unit); owner[p] = me; list[p] = OWNED; free[p] = ALL; p = NONE };
      refill()
    :: atomic { some_pool(is_empty); rights(p); drop(p); p = NONE }
#ifdef PROGRESS
    :: atomic { retired < RETIRES -> retired++ }; retire(); break
#else
    :: retire(); break
#endif
    od
  od
}

/* tarn_remote_free_stranger */
proctype stranger(byte me) {
  byte p = NONE, to = NONE, count, b;
  bool first;
end_stranger:
  do
  :: atomic { some_pool(is_out); pick(); OUTBOX(me, p) = b; b = 0 };
    hand_over(p);
    p = NONE
  od
}

/* tarn_heap_settle_orphans; and a worker, as the sweep or the release of condemned objects is. */
proctype purge(byte me) {
  byte p = NONE, next = NONE, to = NONE, count, aside;
  bool first;
end_purge:
  do
  :: box[ORPHANS] != NONE -> collect_heap()
#ifdef WORKER
  :: atomic { /* takes the lock and gives it back in one step */
      heap_lock == PROCESSES && (is_on_shelf(0) || is_on_shelf(POOLS - 1)) ->
      some_pool(is_on_shelf);
      list[p] = WORKED
    };
    rights(p); /* works */
    lock_heap();
    atomic { rights(p); list[p] = SHELF };
    if
    :: parked[p] -> parked[p] = false; drain(p)
    :: else
    fi;
    atomic { rights(p); shelve(p); p = NONE };
    unlock_heap()
#endif
  od
}

init {
  atomic {
#if BROKEN != 4
    box[0] = CLOSED;
    box[1] = CLOSED;
#endif
    run thread(0);
#ifndef ONE_THREAD
    run thread(1);
#endif
#ifndef NO_STRANGER
    run stranger(STRANGER);
#endif
#ifndef NO_PURGE
    run purge(PURGE)
#endif
  }
}

#define underway(pool) ((bits[pool] | outboxes(pool)) & 1)
ltl received { [] (underway(0) -> <> (list[0] == UNIT || (free[0] & 1))) }
