/* SPDX-License-Identifier: MIT */
/*
 * stop.pml: the stop protocol of lib/world/stop.c and lib/world/thread.c, for spin.
 *
 * What it is for: the orders in which a thread and the requester of a stop write and read three
 * things (the thread's state, its STOP bit, `owed`), in which a stop ends (the GC lock, the bits,
 * the serial, the sleepers), and who may ask for a stop while another one is on.
 *
 * Invariants, as asserts
 *   1. While a requester believes that the world is stopped nobody else touches the heap: no thread
 *      that runs, is in a hold, attaches or detaches.
 *   2. One stop at a time, and each one moves the serial on once.
 *   3. tarn_stop_begin returns false to an attached thread only when a stop has ended that was not on
 *      yet when the thread asked; to one that is not attached, when a stop has ended since.
 *      tarn_stop_begin_always has a stop of its own in the end.
 *   4. No stop begins inside of a hold.
 *   5. A thread on its way back is overtaken by two stops at most.
 * Progress, as LTL under weak fairness, one thread at a time, whose number is in the name
 *   served     who is attached and asks for a stop gets an answer
 *   returns    who comes back, from blocked or from stopped, runs in the end
 *   attaches   who attaches or detaches is done with it in the end
 * (Who is not attached may find the GC lock given and lose the exchange for it to another, again and
 * again: each time a whole stop goes by.  Nobody waits for him, so nothing keeps that from going on.)
 * Threads go on for ever: each turn of theirs ends with a safepoint, which is what the library asks
 * of them, and a blocked one may stay so for good.
 *
 * Memory orders.  The model is sequentially consistent.  That is what stop.c asks for where a thread
 * sets its state and reads the bit, and the requester sets the bit and reads the state.  Elsewhere
 * it loses nothing:
 *   - A store of BLOCKED or STOPPED (release) that becomes visible later: the requester waits longer.
 *     What a thread did to the heap before it is visible before it.
 *   - A bit that is read as it was (relaxed, tarn_stop_poll): the poll comes at the thread's next
 *     safepoint.  That is a longer turn of the model's loop.
 *   - serial (release, acquire): it is read before the bit, and written after it.
 *   - `owed` (relaxed) is changed before the thread stores its state (release), and the requester
 *     reads it after it has read such a state (acquire) and has gone through two locks.  What is
 *     read too low before that is one of the two overtakings that are allowed.
 *   - `turn` is read after gc_lock (acquire), whose value was stored (release) after all that was
 *     taken back before it, and `next_turn` (relaxed) after `turn` (acquire).  An announcement that
 *     is not seen yet costs a turn.
 * With STORE_BUFFER the one place where it does matter is there in the raw: a store of a state that
 * is not an exchange may wait in the thread's buffer, behind which the thread goes on.
 *
 * Numbers.  gc_lock and serial go up for ever.  The model has their difference (`ahead`), for each
 * thread how often the serial moved since it read it (`moved`), and how often it has yet to move
 * until the stop that it joins has ended (`due`): these are all that the code compares.  `next_turn`
 * goes up for ever, too; since so few wait, `turn` and it can wrap early.
 *
 * Sleeping.  The futexes of serial and owed have no timeout, so they are modelled as such: who sleeps
 * runs only when he was woken.  That of `arrivals` has one, so the requester merely waits for a state.
 *
 * Left out: stops for a fork and those that can wait (give_way, MODE_FORK, MODE_IDLE), signals, what
 * is done in the stop, worlds without a collector, several worlds.
 *
 * -DBROKEN=n leaves a step out or swaps two; doc/models.md lists what must be found then.
 */

#ifndef BROKEN
#define BROKEN 0
#endif
#ifndef MOST
#define MOST 2 /* stops that overtake */
#endif

/* What a thread does besides polling: a bit for each thread. */
#ifndef BLOCKS
#define BLOCKS 1
#endif
#ifndef HOLDS
#define HOLDS 1
#endif
#ifndef ASKS
#define ASKS 6
#endif
#ifndef ALWAYS /* waits for its turn when it asks */
#define ALWAYS 0
#endif
#ifndef DETACHES
#define DETACHES 4
#endif
#define does(what) ((what >> me) & 1)

#ifndef THREADS
#define THREADS 3
#endif
#define NOBODY THREADS
#define EVERY(i) i : 0 .. (THREADS - 1)

#define DETACHED 0
#define RUNNING 1
#define BLOCKED 2
#define STOPPED 3

/* struct tarn_mutator */
byte state[THREADS];
bool flag[THREADS]; /* TARN_POLL_STOP in tarn_poll */
bool listed[THREADS];

/* struct tarn_stop and struct tarn_registry */
byte ahead; /* gc_lock - serial: odd, somebody has the GC lock */
byte owed;
byte next_turn, turn;
#define TURNS (1 + (ALWAYS & 1) + ((ALWAYS >> 1) & 1) + ((ALWAYS >> 2) & 1))
byte number[THREADS]; /* of who waits for his turn */
byte registry = NOBODY; /* who has the registry's lock */

/* A thread's view of numbers that wrap: see above. */
#define NOT_LOOKING 4
byte moved[THREADS] = NOT_LOOKING; /* 3: so often, or more */
byte due[THREADS];
bool same[THREADS]; /* gc_lock is as the thread read it: its compare-and-exchange would succeed */

bool asleep[THREADS]; /* on serial */
bool asleep_owed;     /* whoever has the registry's lock, on owed */

/* What the monitors know. */
byte on = NOBODY;     /* whose stop is on: from the last state that it waited for to its end */
bool holding[THREADS]; /* runs inside a hold */
bool coming[THREADS];  /* on its way back */
#define NOT_BACK 4
byte overtaken[THREADS] = NOT_BACK; /* stops that ended since it tried to run first; 3: or more */
bool moving[THREADS];  /* attaches or detaches */
#define ASKED 1  /* no stop came to its point since */
#define BEGUN 2  /* one did */
#define ANSWERED 3 /* and has ended */
byte asked[THREADS];

#define touch() assert(on == NOBODY || on == me)

/* --- the registry's lock ------------------------------------------------------------------- */
/*
 * A mutex promises nobody a turn.  Safety is checked with that.  Progress is checked with one that
 * serves all in a circle (FAIR_LOCK), since no protocol on top of a mutex could promise more.
 */
#ifdef FAIR_LOCK
bool wants[THREADS];
inline lock_registry() {
  atomic {
    if
    :: registry == NOBODY -> registry = me
    :: else -> wants[me] = true
    fi
  }
  registry == me
}
inline unlock_registry() {
  d_step {
    registry = (me + 1) % THREADS;
    do
    :: wants[registry] || registry == me -> break
    :: else -> registry = (registry + 1) % THREADS
    od;
    if
    :: wants[registry] -> wants[registry] = false
    :: else -> registry = NOBODY
    fi
  }
}
#else
inline lock_registry() { atomic { registry == NOBODY -> registry = me } }
inline unlock_registry() { registry = NOBODY }
#endif

/* --- states -------------------------------------------------------------------------------- */
/*
 * With STORE_BUFFER a store of a state may wait until the thread's next exchange, or until it
 * pleases the processor.  One entry is enough: the next store of a state empties it first.
 */
#ifdef STORE_BUFFER
#define EMPTY 4
byte buffer[THREADS] = EMPTY;
inline store_state(value) {
  atomic { buffer[me] == EMPTY -> buffer[me] = value }
}
inline exchange_state(value) {
  atomic { buffer[me] = EMPTY; state[me] = value }
}
#define drain(t) atomic { buffer[t] != EMPTY -> state[t] = buffer[t]; buffer[t] = EMPTY }
active proctype processor() {
end:
  do
  :: drain(0)
  :: drain(1)
  :: drain(2)
  od
}
#else
inline store_state(value) { state[me] = value }
inline exchange_state(value) { state[me] = value }
#endif

/* --- the thread's side --------------------------------------------------------------------- */

inline sleep_until_moved() {
  do
  :: atomic { moved[me] != 0 -> break }
  :: atomic { moved[me] == 0 -> asleep[me] = true }; !asleep[me]
  od
}

/* stand_still: leaves in `moved` how many stops ended; NOT_LOOKING: the flag was down. */
inline stand_still() {
#if BROKEN == 5 /* the serial is read after the flag */
  if
  :: !flag[me] -> moved[me] = NOT_LOOKING
  :: flag[me] -> moved[me] = 0; store_state(STOPPED); sleep_until_moved()
  fi
#else
  moved[me] = 0; /* read_serial */
  if
  :: atomic { !flag[me] -> moved[me] = NOT_LOOKING }
  :: flag[me] -> store_state(STOPPED); sleep_until_moved()
  fi
#endif
}

/* try_to_run: `good` is whether the flag was down. */
#define begin_count() overtaken[me] = (overtaken[me] == NOT_BACK -> 0 : overtaken[me])
inline try_to_run() {
#if BROKEN == 2 /* the state is stored after the flag was read */
  good = !flag[me];
  atomic { exchange_state(RUNNING); begin_count() }
#elif BROKEN == 10 /* a store is no exchange; with STORE_BUFFER */
  atomic { store_state(RUNNING); begin_count() };
  good = !flag[me]
#else
  atomic { exchange_state(RUNNING); begin_count() };
  good = !flag[me]
#endif
}

/* tarn_stop_enter */
inline enter() {
  coming[me] = true;
  try_to_run();
  if
  :: good
  :: else -> /* run_after_stops */
    owed++;
    do
    :: stand_still();
      moved[me] = NOT_LOOKING;
      try_to_run();
      if
      :: good -> break
      :: else
      fi
    od;
    atomic { owed--; good = owed == 0 };
    if
    :: good -> asleep_owed = false
    :: else -> good = true
    fi
  fi;
  atomic { good = false; coming[me] = false; overtaken[me] = NOT_BACK }
}

/* tarn_stop_poll */
inline poll() {
  if
  :: !flag[me]
  :: flag[me] -> stand_still(); moved[me] = NOT_LOOKING; enter()
  fi
}

/* --- the requester's side ------------------------------------------------------------------ */

/* take_gc_lock: `good` is whether it is ours; if not, due says which stop to wait for.  An exchange
 * that fails loads the number again. */
inline load_lock() {
  good = !(ahead & 1);
  due[me] = ahead / 2 + 1;
  same[me] = true
}
inline take_gc_lock(always) {
  atomic { load_lock() };
  do
  :: !good -> break
  :: good ->
    k = turn;
    atomic {
      if
#if BROKEN != 9 /* who merely tries does not look whether somebody waits */
      :: !(always) && k != next_turn -> good = false
#endif
#if BROKEN != 11 /* who waits for his turn does not look whose it is */
      :: (always) && k != number[me] -> good = false
#endif
      :: else
      fi;
      k = 0
    }
    if
    :: !good -> break
    :: else
    fi;
    atomic {
      if
      :: same[me] -> ahead++; due[me] = 0; changed_lock(); break
      :: else -> load_lock()
      fi
    }
  od;
  same[me] = false
}
inline changed_lock() {
  d_step {
    for (EVERY(k)) { same[k] = false }
    k = 0
  }
}

/* join */
inline join() {
  good = listed[me];
  if
  :: good -> store_state(BLOCKED)
  :: else
  fi;
  do
  :: atomic { due[me] == 0 -> break }
  :: atomic { due[me] != 0 -> asleep[me] = true }; !asleep[me]
  od;
  if
  :: good -> enter()
  :: else
  fi
}

#define raise_flag() flag[i] = flag[i] || (i != me && listed[i])
inline raise_flags() {
  do
  :: atomic { i < THREADS -> raise_flag(); i++ }
  :: atomic { i == THREADS -> i = 0; break }
  od
}

/* wait_for_all.  With the last of them the world is stopped. */
inline wait_for_all() {
  do
  :: atomic {
      i == me || !listed[i] || state[i] != RUNNING ->
      i++;
      if
      :: i == THREADS -> stopped(); break
      :: else
      fi
    }
  od
}

inline stopped() {
  d_step {
    assert(on == NOBODY && registry == me);
    on = me;
    i = 0;
    for (EVERY(k)) {
      assert(k == me || !holding[k]);
      if
      :: asked[k] == ASKED -> asked[k] = BEGUN
      :: else
      fi
    }
    k = 0
  }
}

/* end, and lower_flags. */
inline give_gc_lock() {
  atomic { ahead++; assert(ahead == 2); changed_lock() }
}
inline lower() {
  do
  :: atomic { i < THREADS -> flag[i] = false; i++ }
  :: atomic { i == THREADS -> i = 0; break }
  od
}
inline move_serial() {
  d_step {
    assert(ahead >= 2);
    ahead = ahead - 2;
    for (EVERY(k)) {
      moved[k] = (moved[k] < 3 -> moved[k] + 1 : moved[k]);
      overtaken[k] = (overtaken[k] < 3 -> overtaken[k] + 1 : overtaken[k]);
      assert(overtaken[k] <= MOST || overtaken[k] == NOT_BACK);
      due[k] = (due[k] > 0 -> due[k] - 1 : 0);
      if
      :: asked[k] == BEGUN || (asked[k] == ASKED && !listed[k]) -> asked[k] = ANSWERED
      :: else
      fi
    }
    k = 0
  }
}
inline wake_sleepers() {
  d_step {
    for (EVERY(k)) { asleep[k] = false }
    k = 0
  }
}
inline end_stop() {
  atomic { assert(on == me); on = NOBODY }
#if BROKEN == 3 /* the flags are lowered before the GC lock is given */
  lower();
  give_gc_lock();
#else
  give_gc_lock();
  lower();
#endif
#if BROKEN == 6 /* the sleepers are woken before the serial moves */
  wake_sleepers();
  move_serial();
  unlock_registry()
#else
  move_serial();
  unlock_registry();
  wake_sleepers()
#endif
}

/* tarn_stop_begin, or tarn_stop_begin_always; then tarn_stop_end.  Thread `me` is running or not
 * attached. */
inline ask(always) {
  asked[me] = ASKED;
  if
  :: always -> d_step { number[me] = next_turn; next_turn = (next_turn + 1) % TURNS }
  :: else
  fi;
  do
  :: take_gc_lock(always);
    if
    :: !good ->
      join();
      if
      :: !(always) ->
        d_step { assert(asked[me] == ANSWERED); asked[me] = 0 }
        break
      :: else
      fi
    :: else ->
      good = false;
      lock_registry();
#if BROKEN != 4 /* nobody looks at `owed` */
      do
      :: atomic { owed == 0 -> break }
      :: atomic { owed != 0 -> asleep_owed = true }; !asleep_owed
      od;
#endif
#if BROKEN == 1 /* each state is read before its flag is set */
      do
      :: i == me || !listed[i] || state[i] != RUNNING ->
        atomic {
          raise_flag();
          i++;
          if
          :: i == THREADS -> stopped(); break
          :: else
          fi
        }
      od;
#else
      raise_flags();
      wait_for_all();
#endif
      asked[me] = 0;
      if
      :: always -> d_step { turn = (number[me] + 1) % TURNS; number[me] = 0 }
      :: else
      fi;
      end_stop();
      break
    fi
  od
}

/* --- a thread ------------------------------------------------------------------------------ */

proctype thread(byte me) {
  byte i, k;
  bool good;
running:
  do
  :: touch(); poll()
  :: does(BLOCKS) ->
  blocked:
    store_state(BLOCKED);
    do
    :: listed[me] /* stays */
    :: break
    od;
    enter()
  :: does(HOLDS) -> /* tarn_gc_hold ... tarn_gc_release */
    holding[me] = true;
    touch();
#if BROKEN == 8 /* a poll does not look at the holds */
    poll();
#endif
    touch();
    holding[me] = false;
    if
    :: poll()
    :: does(BLOCKS) -> goto blocked /* it began inside of the hold */
    fi
  :: does(ASKS) -> goto asking
  :: does(DETACHES) -> /* close_all, leave_registry */
    moving[me] = true;
    store_state(BLOCKED);
    lock_registry();
    d_step {
      touch(); /* tarn_local_retire */
      listed[me] = false;
      flag[me] = false;
      state[me] = DETACHED;
#ifdef STORE_BUFFER
      buffer[me] = EMPTY; /* the lock was an exchange */
#endif
    }
    unlock_registry();
    moving[me] = false;
    goto outside
  od;
outside:
  do
  :: !listed[me] /* stays */
  :: does(ASKS) -> goto asking
  :: moving[me] = true; /* enter_registry */
#if BROKEN == 7 /* without the lock */
    d_step { flag[me] = false; state[me] = RUNNING; listed[me] = true }
#else
    lock_registry();
    d_step { flag[me] = false; state[me] = RUNNING; listed[me] = true }
    unlock_registry();
#endif
    moving[me] = false;
    goto running
  od;
asking: /* running, or not attached */
  ask(does(ALWAYS));
  if
  :: listed[me] -> goto running
  :: else -> goto outside
  fi
}

init {
  byte t;
  atomic {
    for (EVERY(t)) {
      listed[t] = true;
      state[t] = RUNNING;
      run thread(t)
    }
    t = 0
  }
}

/* One for each thread that it is checked for. */
#define SERVED(t) [] (asked[t] != 0 && listed[t] -> <> (asked[t] == 0))
#define RETURNS(t) [] (coming[t] -> <> !coming[t])
#define ATTACHES(t) [] (moving[t] -> <> !moving[t])
ltl served1 { SERVED(1) }
ltl served2 { SERVED(2) }
ltl returns0 { RETURNS(0) }
ltl returns1 { RETURNS(1) }
ltl attaches2 { ATTACHES(2) }
