/* SPDX-License-Identifier: MIT */
/*
 * world/stop.c: the protocol by which threads and the requester of a stop agree.
 *
 * Raising the flag against coming back.  The requester sets STOP in a thread's poll word, then
 * reads its state.  A thread that comes back, from blocked or from stopped, sets its state to
 * running, then reads the poll word.  All four are sequentially consistent, so at least one of the
 * two sees the other: either the requester waits, or the thread goes back to standing still.  Such
 * a thread is "running" for an instant during a stop, but touches nothing before it has read the
 * flag; in particular not its saved stack, which the collector may be reading.
 *
 * What is handed over.  Thread to requester: the thread's store of BLOCKED or STOPPED (release) and
 * the requester's load of the state (sequentially consistent, so acquire).  Requester to thread:
 * the clearing of STOP (a read-modify-write, release) and the thread's load of the poll word; all
 * changes of that word are read-modify-writes, so any later value carries it too.  Requester to
 * requester: the registry's lock.
 *
 * How a stop ends, in this order: figures; the GC lock is given; STOP is cleared; serial moves on;
 * the registry is unlocked; sleepers are woken.  The GC lock goes first so that an attached,
 * running thread that finds it taken knows that this stop has not stopped it yet: joining it is no
 * less than a stop of its own.  The next requester then waits for the registry's lock.
 *
 * Overtaking.  A thread that was woken may find that the next stop was raised before it got going.
 * It then enters itself in `owed`, once, and leaves that when it runs; no stop is raised while
 * somebody is owed.  So a thread that is coming back is overtaken by the stops that began before
 * its entry could be seen, which are two at most: that whose flag it saw; and one whose requester
 * had looked at `owed` by then.  That one raises the flag and waits for the thread's state, which
 * the thread stores after its entry, so the requester after it sees the entry.  Threads that are
 * not overtaken pay nothing.
 */
#include "os/probes.h"
#include "os/tools.h"
#include "world/stop.h"
#include "world/straggler.h"
#include "world/world.h"
#include <string.h>

#define PAUSES 20u /* longer spinning only delays the threads that one waits for */
#define SLEEP_NS ((uint64_t)200000)
#define SLEEP_MOST ((uint64_t)3200000)
#define IDLE_MOST ((uint64_t)5000000) /* that threads are kept waiting for a stop that can wait */

/* How a requester goes about it; see stop.h. */
enum mode { MODE_TRY, MODE_ALWAYS, MODE_FORK, MODE_IDLE };

tarn_status tarn_stop_start(tarn_world *world) {
  memset(&world->stop, 0, sizeof world->stop);
  return pthread_mutex_init(&world->stop.names_lock, NULL) == 0 ? TARN_OK : TARN_ENOMEM;
}

void tarn_stop_finish(tarn_world *world) { (void)pthread_mutex_destroy(&world->stop.names_lock); }

/* --- the stack of a thread that stands still ------------------------------------------------- */

/*
 * The sanitizers must not see functions that read stacks as words: frames have red zones, and a
 * thread that is blocked goes on writing to its own.  That race is in the nature of a conservative
 * scan: such a word is no reference that the thread may use.
 */
#define NOT_SANITIZED \
  __attribute__((noinline)) __attribute__((no_sanitize_address)) __attribute__((no_sanitize_thread))

#if TARN_ASAN || TARN_TOOLS
/* Of AddressSanitizer's interface for collectors. */
__attribute__((weak)) void *__asan_get_current_fake_stack(void);
__attribute__((weak)) void *__asan_addr_is_in_fake_stack(void *fake_stack, void *address,
                                                         void **start, void **end);
#endif

/* Plain, for clang's TSan sees atomics in any function; the barrier keeps loops of it from becoming
 * calls of memcpy, which the sanitizers see too. */
static inline __attribute__((always_inline)) __attribute__((no_sanitize_address))
__attribute__((no_sanitize_thread)) uintptr_t
read_word(uintptr_t at) {
  uintptr_t word = *(const uintptr_t *)at;
  __asm__ __volatile__("" : "+r"(word));
  return word;
}

/* Where the stack of this function ends, or a little below. */
static inline __attribute__((always_inline)) uintptr_t stack_pointer(void) {
  uintptr_t low;
#if defined(__x86_64__)
  __asm__ __volatile__("movq %%rsp, %0" : "=r"(low));
#elif defined(__aarch64__)
  __asm__ __volatile__("mov %0, sp" : "=r"(low));
#else
  low = (uintptr_t)__builtin_frame_address(0) - 64 * sizeof(uintptr_t);
#endif
  return low;
}

/*
 * Notes where the stack ends now, and copies its lowest part.  All callee-saved registers are
 * pushed by this function first, so the copy holds what they held, and what the library's own
 * frames between here and the caller of a public function had pushed.  The copy is needed because
 * those frames end: a thread that is blocked goes on in foreign code, whose frames lie over ours,
 * and may move to registers what it finds there.
 */
NOT_SANITIZED void tarn_stop_save_stack(struct tarn_mutator *self) {
  if (!self->scan_stack)
    return;
  __builtin_unwind_init();
  uintptr_t low = stack_pointer();
  for (unsigned i = 0; i < TARN_SAVED_WORDS; i++) {
    uintptr_t at = low + i * sizeof(uintptr_t);
    self->saved[i] = at < self->stack_high ? read_word(at) : 0;
  }
#if TARN_ASAN || TARN_TOOLS
  self->fake_stack = __asan_get_current_fake_stack ? __asan_get_current_fake_stack() : NULL;
#endif
  self->stack_low = low;
}

/* A word may point into a frame that lies elsewhere: then that frame's words count as well. */
static NOT_SANITIZED void visit_word(const struct tarn_mutator *mutator, uintptr_t word,
                                     tarn_word_fn fn, void *data) {
  tarn_tools_know(&word, sizeof word);
  fn(data, word);
#if TARN_ASAN || TARN_TOOLS
  void *start, *end;
  if (!mutator->fake_stack ||
      !__asan_addr_is_in_fake_stack(mutator->fake_stack, (void *)word, &start, &end))
    return;
  for (uintptr_t at = (uintptr_t)start & ~(uintptr_t)7; at + 8 <= (uintptr_t)end; at += 8)
    fn(data, read_word(at));
#else
  (void)mutator;
#endif
}

NOT_SANITIZED void tarn_stop_each_word(const struct tarn_mutator *mutator, uintptr_t low,
                                       tarn_word_fn fn, void *data) {
  for (uintptr_t at = (low + 7) & ~(uintptr_t)7; at + 8 <= mutator->stack_high; at += 8)
    visit_word(mutator, read_word(at), fn, data);
}

void tarn_stop_each_saved(const struct tarn_mutator *mutator, tarn_word_fn fn, void *data) {
  for (unsigned i = 0; i < TARN_SAVED_WORDS; i++)
    visit_word(mutator, mutator->saved[i], fn, data);
}

/* --- standing still: the thread's side ------------------------------------------------------- */

static void wake_requester(struct tarn_stop *stop) {
  (void)__atomic_fetch_add(&stop->arrivals, 1, __ATOMIC_RELAXED); /* a reason to wake, no data */
  tarn_os_wake_one(&stop->arrivals);
}

/*
 * Wakes the requester if it sleeps until this very thread stands still.  It waits for the threads
 * one after the other, so those that come before their turn need not wake it: what it would do is
 * sleep again, on a processor that others need to come to their safepoints.
 */
static void tell_requester(struct tarn_mutator *self) {
  struct tarn_stop *stop = &self->world->stop;
  /*
   * Relaxed, and not ordered after the store of the state: the requester may be about to sleep
   * without our seeing `awaited`.  It sleeps for SLEEP_NS at most and looks again; later in a long
   * wait for longer, but never for much longer than it has waited already.  A full order here
   * would cost every blocked region a fence in order to save that once in a while.
   */
  if (__atomic_load_n(&stop->awaited, __ATOMIC_RELAXED) == self)
    wake_requester(stop);
}

/* Acquire: pairs with the release in lower_flags, so the poll word read next is as fresh. */
static uint32_t read_serial(struct tarn_stop *stop) {
  return __atomic_load_n(&stop->serial, __ATOMIC_ACQUIRE);
}

/*
 * Waits until the stop whose flag was seen has ended.  The serial is read before the flag is read
 * again: if it is that of after the end, so is the flag, and there is nothing to wait for.
 */
static void stand_still(struct tarn_mutator *self) {
  struct tarn_stop *stop = &self->world->stop;
  uint32_t serial = read_serial(stop);
  if (!(__atomic_load_n(&self->local.pub.tarn_poll, __ATOMIC_ACQUIRE) & TARN_POLL_STOP))
    return;
  TARN_DELAY();
  tarn_tools_show(self->world);
  /* Release: the requester may now read and write everything that is this thread's. */
  __atomic_store_n(&self->state, TARN_STATE_STOPPED, __ATOMIC_RELEASE);
  tell_requester(self);
  while (read_serial(stop) == serial)
    tarn_os_wait(&stop->serial, serial, 0);
}

/* Relaxed throughout: `owed` makes a requester wait a little; nothing is handed over by it. */
static void enter_owed(struct tarn_stop *stop) {
  (void)__atomic_fetch_add(&stop->owed, 1, __ATOMIC_RELAXED);
}
static void leave_owed(struct tarn_stop *stop) {
  if (__atomic_sub_fetch(&stop->owed, 1, __ATOMIC_RELAXED) == 0)
    tarn_os_wake_all(&stop->owed);
}

static void note_overtaken(struct tarn_stop *stop, uint32_t by) {
  uint32_t most = atomic_load_explicit(&stop->overtaken_max, memory_order_relaxed);
  while (by > most &&
         !atomic_compare_exchange_weak_explicit(&stop->overtaken_max, &most, by,
                                                memory_order_relaxed, memory_order_relaxed)) {
  }
}

/* Running again?  If not, a stop is on, which has not ended by `*serial`. */
static bool try_to_run(struct tarn_mutator *self, uint32_t *serial) {
  (void)__atomic_exchange_n(&self->state, TARN_STATE_RUNNING, __ATOMIC_SEQ_CST);
  TARN_DELAY();
  *serial = read_serial(&self->world->stop);
  return !(__atomic_load_n(&self->local.pub.tarn_poll, __ATOMIC_SEQ_CST) & TARN_POLL_STOP);
}

/* A thread that runs again has stood still since `began`. */
static void tell_stood(struct tarn_mutator *self, uint64_t began) {
  struct tarn_store *store = &self->world->store;
  if (began && tarn_is_told(store, TARN_TOLD_STOOD))
    tarn_tell(store, (struct tarn_told){.kind = TARN_TOLD_STOOD, .began = began, .what = self});
}

/* Now, if somebody wants to know how long it takes. */
static uint64_t time_to_tell(const struct tarn_mutator *self) {
  return tarn_is_told(&self->world->store, TARN_TOLD_STOOD) ? tarn_os_now() : 0;
}

/* `serial`: of the try that failed.  The stop that the last such try met counts also when its end
 * has come to this thread's flag and not to the serial yet. */
static __attribute__((noinline)) void run_after_stops(struct tarn_mutator *self, uint32_t serial) {
  uint32_t first = serial, last;
  TARN_DELAY();
  enter_owed(&self->world->stop);
  do {
    last = serial;
    stand_still(self);
  } while (!try_to_run(self, &serial));
  leave_owed(&self->world->stop);
  note_overtaken(&self->world->stop, ((serial == last ? last + 2 : serial) - first) / 2);
}

/* The one way back to running, from blocked and from stopped. */
static inline void run(struct tarn_mutator *self) {
  tarn_tools_see(self->world);
  self->stack_low = 0;
  tarn_thread_set_inlined(self, true);
}

void tarn_stop_enter(struct tarn_mutator *self) {
  uint64_t began = 0;
  uint32_t serial;
  if (!try_to_run(self, &serial)) {
    began = time_to_tell(self);
    run_after_stops(self, serial);
  }
  run(self);
  tell_stood(self, began);
}

void tarn_stop_leave(struct tarn_mutator *self) {
  tarn_stop_save_stack(self);
  tarn_thread_set_inlined(self, false);
  tarn_tools_show(self->world);
  /* Release: as in stand_still. */
  __atomic_store_n(&self->state, TARN_STATE_BLOCKED, __ATOMIC_RELEASE);
  tell_requester(self);
}

void tarn_stop_poll(struct tarn_mutator *self) {
  /* Acquire is not needed: stand_still reads again. */
  if (self->local.pub.tarn_holds != 0 || tarn_own_state(self) != TARN_STATE_RUNNING ||
      !(__atomic_load_n(&self->local.pub.tarn_poll, __ATOMIC_RELAXED) & TARN_POLL_STOP))
    return;
  uint64_t began = time_to_tell(self);
  uint32_t serial;
  tarn_stop_save_stack(self);
  stand_still(self);
  if (!try_to_run(self, &serial))
    run_after_stops(self, serial);
  run(self);
  tell_stood(self, began);
}

/* --- waiting for the others: the requester's side -------------------------------------------- */

struct wait {
  tarn_world *world;
  struct tarn_mutator *self;
  enum mode mode;
  uint64_t tell_at; /* stragglers are told of when it has taken so long; 0: never */
  unsigned pauses;  /* left for the present thread */
  uint64_t sleep;   /* the longest that the next sleep may take */
  char last[32];    /* the last one that was found running */
};

/*
 * Does the thread stand still, as far as this requester is concerned?  Sequentially consistent: see
 * the head of the file.  A thread that waits for the list of worlds inside a hold touches nothing:
 * the fork that has the list, which runs no collector, need not wait for it, and must not (see
 * fork.c).
 */
static bool stands(const struct wait *wait, struct tarn_mutator *mutator) {
  return __atomic_load_n(&mutator->state, __ATOMIC_SEQ_CST) != TARN_STATE_RUNNING ||
         /* Acquire: pairs with the release in fork.c. */
         (wait->mode == MODE_FORK &&
          __atomic_load_n(&mutator->waits_for_worlds, __ATOMIC_ACQUIRE) != 0);
}

static void copy_name(struct tarn_stop *stop, char *to, const char *from) {
  (void)pthread_mutex_lock(&stop->names_lock);
  memcpy(to, from, sizeof stop->last_thread);
  (void)pthread_mutex_unlock(&stop->names_lock);
}

/* Tells of all that are waited for when the stop takes longer than the option says, and again each
 * time that it has taken twice as long. */
static void tell_of_stragglers(struct wait *wait) {
  uint64_t so_far;
  if (wait->tell_at == 0 || (so_far = tarn_os_now() - wait->world->stop.asked_at) < wait->tell_at)
    return;
  struct tarn_mutator *mutator;
  unsigned count = 0;
  cds_list_for_each_entry(mutator, &wait->world->registry.list, node) {
    if (mutator != wait->self && !stands(wait, mutator) && ++count <= TARN_STRAGGLERS_TOLD)
      tarn_straggler_tell(mutator, so_far);
  }
  if (count > TARN_STRAGGLERS_TOLD)
    tarn_os_say("tarn: nor have %u others", count - TARN_STRAGGLERS_TOLD);
  while (wait->tell_at <= so_far)
    wait->tell_at *= 2;
}

/* A short sleep until somebody arrives. */
static void wait_a_little(struct wait *wait, struct tarn_mutator *mutator) {
  struct tarn_stop *stop = &wait->world->stop;
  if (wait->pauses > 0) {
    wait->pauses--;
    tarn_os_pause();
    return;
  }
  tell_of_stragglers(wait);
  /* Relaxed: what decides is the state; who arrives unseen costs one sleep, see tell_requester. */
  uint32_t arrivals = __atomic_load_n(&stop->arrivals, __ATOMIC_RELAXED);
  __atomic_store_n(&stop->awaited, mutator, __ATOMIC_RELAXED);
  if (stands(wait, mutator))
    return;
  tarn_os_wait(&stop->arrivals, arrivals, wait->sleep);
  if (wait->sleep < SLEEP_MOST)
    wait->sleep *= 2;
}

/* Somebody forks inside a hold: it wants a stop of its own and never stands still for this one.  Or
 * it is one that can wait, and has waited. */
static bool must_give_way(const struct wait *wait) {
  const struct tarn_stop *stop = &wait->world->stop;
  return (wait->mode != MODE_FORK && __atomic_load_n(&stop->give_way, __ATOMIC_RELAXED) != 0) ||
         (wait->mode == MODE_IDLE && tarn_os_now() - stop->asked_at > IDLE_MOST);
}

/* For who wants to know: the last ones, the last one first. */
static void note_waited(const struct wait *wait, const struct tarn_mutator *mutator,
                        uint64_t began) {
  struct tarn_stop_told *told = &wait->world->stop.told;
  memmove(told->waited + 1, told->waited, sizeof told->waited - sizeof told->waited[0]);
  told->waited[0].id = mutator->id;
  told->waited[0].ns = tarn_os_now() - began;
  memcpy(told->waited[0].name, wait->last, sizeof told->waited[0].name);
  told->waited_count++;
}

/*
 * Waits until all stand still, one after the other: who stood still with the flag up stays so.  The
 * last one that was waited for was then also the last one of all.  False: must give way.
 */
static bool wait_for_all(struct wait *wait) {
  struct tarn_stop *stop = &wait->world->stop;
  struct tarn_mutator *mutator;
  bool good = true, notes = tarn_is_told(&wait->world->store, TARN_TOLD_WAITED);
  stop->told.waited_count = 0;
  cds_list_for_each_entry(mutator, &wait->world->registry.list, node) {
    if (mutator == wait->self || stands(wait, mutator))
      continue;
    uint64_t began = notes ? tarn_os_now() : 0;
    wait->pauses = PAUSES;
    while (good && !stands(wait, mutator)) {
      wait_a_little(wait, mutator);
      good = !must_give_way(wait);
    }
    if (!good)
      break;
    copy_name(stop, wait->last, mutator->name);
    if (notes)
      note_waited(wait, mutator, began);
  }
  __atomic_store_n(&stop->awaited, NULL, __ATOMIC_RELAXED);
  return good;
}

/* Those whom the last stops overtook run first. */
static void wait_for_owed(struct tarn_stop *stop) {
  uint32_t owed;
  for (unsigned i = 0; (owed = __atomic_load_n(&stop->owed, __ATOMIC_RELAXED)) != 0; i++) {
    if (i < PAUSES)
      tarn_os_pause();
    else
      tarn_os_wait(&stop->owed, owed, 0); /* the last one wakes us: see leave_owed */
  }
}

/* --- flags ----------------------------------------------------------------------------------- */

static void raise_flags(tarn_world *world, const struct tarn_mutator *self) {
  struct tarn_mutator *mutator;
  cds_list_for_each_entry(mutator, &world->registry.list, node) {
    TARN_DELAY();
    if (mutator != self)
      (void)__atomic_fetch_or(&mutator->local.pub.tarn_poll, TARN_POLL_STOP, __ATOMIC_SEQ_CST);
  }
}

static void lower_flags(tarn_world *world, uint32_t serial) {
  struct tarn_mutator *mutator;
  /* Release: who finds the flag down sees all that the collector did. */
  cds_list_for_each_entry(mutator, &world->registry.list, node) {
    (void)__atomic_fetch_and(&mutator->local.pub.tarn_poll, ~(uint32_t)TARN_POLL_STOP,
                             __ATOMIC_RELEASE);
    TARN_DELAY();
  }
  /* Release: who sees the new serial finds the flag down. */
  __atomic_store_n(&world->stop.serial, serial, __ATOMIC_RELEASE);
}

void tarn_stop_ask(tarn_world *world, uint32_t bit) {
  struct tarn_mutator *mutator;
  tarn_rcu_read_lock();
  /* Relaxed: the bit hands nothing over; what it is about has a lock of its own. */
  cds_list_for_each_entry_rcu(mutator, &world->registry.list, node) {
    (void)__atomic_fetch_or(&mutator->local.pub.tarn_poll, bit, __ATOMIC_RELAXED);
  }
  tarn_rcu_read_unlock();
}

/* --- the GC lock ----------------------------------------------------------------------------- */

/* Has the stop that leaves the GC lock at `until` ended?  The numbers wrap. */
static bool ended(uint32_t serial, uint32_t until) { return (int32_t)(serial - until) >= 0; }

/* Stands still, if the thread may, until that stop has ended. */
static void join(struct tarn_stop *stop, struct tarn_mutator *self, uint32_t until) {
  bool leaves =
      self && self->local.pub.tarn_holds == 0 && tarn_own_state(self) == TARN_STATE_RUNNING;
  uint32_t serial;
  if (leaves)
    tarn_stop_leave(self);
  while (!ended(serial = read_serial(stop), until))
    tarn_os_wait(&stop->serial, serial, 0);
  if (leaves)
    tarn_stop_enter(self);
}

/*
 * Must this requester leave the next stop to another?  To one that forks in a hold, always; who
 * waits for his turn, to those who came before him; a mere try, to all that wait.  They announce
 * themselves in `give_way` and `next_turn`, and take that back only while they have the GC lock.
 * `turn` is read first: then a difference is somebody who had not taken it back by then.
 */
static bool yields(struct tarn_stop *stop, enum mode mode, uint32_t number) {
  if (mode == MODE_FORK)
    return false;
  if (__atomic_load_n(&stop->give_way, __ATOMIC_RELAXED) != 0)
    return true;
  /* Acquire: for that order. */
  uint32_t turn = __atomic_load_n(&stop->turn, __ATOMIC_ACQUIRE);
  return turn !=
         (mode == MODE_ALWAYS ? number : __atomic_load_n(&stop->next_turn, __ATOMIC_RELAXED));
}

/*
 * Takes the GC lock, or says which stop to wait for.  An announcement that is read after an even
 * number was not taken back before that number was stored, so its owner still has to take the GC
 * lock: a stop with the next number will come.  Acquire, for that order; it pairs with the release
 * in tarn_stop_end.
 */
static bool take_gc_lock(struct tarn_stop *stop, enum mode mode, uint32_t number, uint32_t *until) {
  uint32_t lock = __atomic_load_n(&stop->gc_lock, __ATOMIC_ACQUIRE);
  for (;;) {
    *until = (lock | 1) + 1;
    if ((lock & 1) || yields(stop, mode, number))
      return false;
    if (__atomic_compare_exchange_n(&stop->gc_lock, &lock, lock + 1, false, __ATOMIC_ACQUIRE,
                                    __ATOMIC_ACQUIRE))
      return true;
  }
}

static void note_time(struct wait *wait) {
  struct tarn_stop *stop = &wait->world->stop;
  uint64_t took = tarn_os_now() - stop->asked_at;
  bool longest = took > atomic_load_explicit(&stop->max_ns, memory_order_relaxed);
  atomic_store_explicit(&stop->last_ns, took, memory_order_relaxed);
  atomic_fetch_add_explicit(&stop->total_ns, took, memory_order_relaxed);
  tarn_histogram_add(&stop->histogram, took);
  if (longest)
    atomic_store_explicit(&stop->max_ns, took, memory_order_relaxed);
  uint64_t number = atomic_load_explicit(&stop->count, memory_order_relaxed);
  uint32_t kept = took > UINT32_MAX ? UINT32_MAX : (uint32_t)took;
  atomic_store_explicit(&stop->times[number % TARN_STOPS_KEPT], kept, memory_order_relaxed);
  atomic_store_explicit(&stop->count, number + 1, memory_order_relaxed);
  (void)pthread_mutex_lock(&stop->names_lock);
  memcpy(stop->last_thread, wait->last, sizeof wait->last);
  if (longest)
    memcpy(stop->max_thread, wait->last, sizeof wait->last);
  (void)pthread_mutex_unlock(&stop->names_lock);
}

/* All stand still. */
static void tell_begin(const struct wait *wait) {
  tarn_world *world = wait->world;
  struct tarn_stop *stop = &world->stop;
  struct tarn_stop_told *told = &stop->told;
  told->number = atomic_load_explicit(&stop->count, memory_order_relaxed);
  told->asked_at = stop->asked_at;
  told->stood_at = stop->asked_at + atomic_load_explicit(&stop->last_ns, memory_order_relaxed);
  told->ended_at = 0;
  told->forks = wait->mode == MODE_FORK;
  memcpy(told->last, wait->last, sizeof told->last);
  stop->pair = (struct tarn_told_pair){.number = 0};
  TARN_PROBE2(stop__begin, told->number, told->stood_at - told->asked_at);
  told->pair = &stop->pair;
  if (tarn_is_told(&world->store, TARN_TOLD_STOP_BEGIN))
    tarn_tell(&world->store, (struct tarn_told){.kind = TARN_TOLD_STOP_BEGIN, .what = told});
}

/* Both are copies. */
static void tell_end(tarn_world *world, struct tarn_stop_told *told, struct tarn_told_pair *pair) {
  told->pair = pair;
  tarn_tell(&world->store, (struct tarn_told){.kind = TARN_TOLD_STOP_END, .what = told});
}

/* `tells`: this stop is worth a word; one that was given up is not. */
static void end(tarn_world *world, struct tarn_mutator *self, bool tells) {
  struct tarn_stop *stop = &world->stop;
  struct tarn_stop_told told;
  struct tarn_told_pair pair;
  tells = tells && tarn_is_told(&world->store, TARN_TOLD_STOP_END);
  if (tells) { /* the next requester may have them before this one has told */
    told = stop->told;
    pair = stop->pair;
    told.ended_at = tarn_os_now(); /* not later: who runs again may take this processor */
  }
  TARN_PROBE2(stop__end, stop->told.number, (int)stop->told.forks);
  if (self && tarn_own_state(self) == TARN_STATE_RUNNING)
    self->stack_low = 0;
  stop->requester = NULL;
  /* Release: see take_gc_lock. */
  uint32_t number = __atomic_add_fetch(&stop->gc_lock, 1, __ATOMIC_RELEASE);
  TARN_DELAY();
  lower_flags(world, number);
  (void)pthread_mutex_unlock(&world->registry.lock);
  tarn_os_wake_all(&stop->serial); /* last: those who wake may take this processor */
  if (tells)
    tell_end(world, &told, &pair);
}

void tarn_stop_end(tarn_world *world, struct tarn_mutator *self) {
  tarn_tools_show(world);
  tarn_store_leave(&world->store);
  end(world, self, true);
}

/* --- frees underway -------------------------------------------------------------------------- */

static bool is_settled(tarn_world *world) {
  struct tarn_mutator *mutator;
  bool settled = true;
  cds_list_for_each_entry(mutator, &world->registry.list, node) {
    settled = settled && tarn_remote_is_settled(&mutator->local);
  }
  return settled;
}

/*
 * Brings home what threads freed of each other's blocks, so that everybody who looks at pools in
 * the stop finds them whole.  A thread may have got pools that are another's by now, and sends them
 * on.
 */
static void settle(tarn_world *world) {
  struct tarn_mutator *mutator;
  cds_list_for_each_entry(mutator, &world->registry.list, node) {
    (void)tarn_local_empty_quarantine(&mutator->local);
    tarn_remote_flush(&mutator->local);
  }
  do {
    cds_list_for_each_entry(mutator, &world->registry.list, node) {
      (void)tarn_remote_collect(&mutator->local);
    }
    for (unsigned i = 0; i < tarn_store_heap_limit(&world->store); i++)
      if (tarn_store_heap(&world->store, i))
        tarn_remote_collect_heap(tarn_store_heap(&world->store, i));
  } while (!is_settled(world));
  cds_list_for_each_entry(mutator, &world->registry.list, node) {
    (void)tarn_spare_drop_all(&mutator->local);
  }
}

/* `number`: in MODE_ALWAYS, whose turn it must be. */
static bool begin(tarn_world *world, struct tarn_mutator *self, enum mode mode, uint32_t number) {
  struct tarn_stop *stop = &world->stop;
  uint32_t until;
  if (!take_gc_lock(stop, mode, number, &until)) {
    if (mode != MODE_IDLE)
      join(stop, self, until);
    return false;
  }
  uint64_t asked_at = tarn_os_now(); /* the one before has ended */
  if (self && tarn_own_state(self) == TARN_STATE_RUNNING)
    tarn_stop_save_stack(self);
  /* Attach and detach hold the lock for a moment, a stop that is ending too: none of them waits for
   * a running thread. */
  (void)pthread_mutex_lock(&world->registry.lock);
  wait_for_owed(stop); /* they take no lock on their way */
  TARN_DELAY();
  stop->requester = self;
  stop->asked_at = asked_at;
  struct wait wait = {.world = world,
                      .self = self,
                      .mode = mode,
                      .tell_at = world->config.stop_timeout_ns,
                      .sleep = SLEEP_NS};
  raise_flags(world, self);
  if (!wait_for_all(&wait)) {
    end(world, self, false);
    return false;
  }
  note_time(&wait);
  /* Threads that are not the world's: their visits are short, and wait for no thread of it. */
  tarn_store_visit(&world->store);
  tarn_tools_see(world);
  if (mode != MODE_FORK) /* nothing is looked at in that one */
    settle(world);
  tell_begin(&wait);
  return true;
}

bool tarn_stop_begin(tarn_world *world, struct tarn_mutator *self) {
  return begin(world, self, MODE_TRY, 0);
}

void tarn_stop_begin_always(tarn_world *world, struct tarn_mutator *self) {
  struct tarn_stop *stop = &world->stop;
  /* Relaxed: see take_gc_lock. */
  uint32_t number = __atomic_fetch_add(&stop->next_turn, 1, __ATOMIC_RELAXED);
  while (!begin(world, self, MODE_ALWAYS, number)) {
  }
  __atomic_store_n(&stop->turn, number + 1, __ATOMIC_RELAXED);
}

void tarn_stop_begin_fork(tarn_world *world, struct tarn_mutator *self) {
  struct tarn_stop *stop = &world->stop;
  /* Relaxed: see take_gc_lock; a requester that waits looks at it whenever it wakes. */
  (void)__atomic_fetch_add(&stop->give_way, 1, __ATOMIC_RELAXED);
  wake_requester(stop);
  while (!begin(world, self, MODE_FORK, 0)) {
  }
  (void)__atomic_fetch_sub(&stop->give_way, 1, __ATOMIC_RELAXED);
}

bool tarn_stop_begin_idle(tarn_world *world) { return begin(world, NULL, MODE_IDLE, 0); }

void tarn_stop_wait_over(tarn_world *world) {
  struct tarn_stop *stop = &world->stop;
  uint32_t lock = __atomic_load_n(&stop->gc_lock, __ATOMIC_ACQUIRE);
  if (lock & 1)
    join(stop, NULL, lock + 1);
}

void tarn_stop_after_fork(tarn_world *world) {
  struct tarn_stop *stop = &world->stop;
  __atomic_store_n(&stop->owed, 0, __ATOMIC_RELAXED);
  __atomic_store_n(&stop->turn, __atomic_load_n(&stop->next_turn, __ATOMIC_RELAXED),
                   __ATOMIC_RELAXED);
  __atomic_store_n(&stop->give_way, 0, __ATOMIC_RELAXED);
  __atomic_store_n(&stop->awaited, NULL, __ATOMIC_RELAXED);
}
