/* SPDX-License-Identifier: MIT */
/*
 * stress_signals hunts what a signal breaks that comes at any instruction: in the middle of an
 * allocation, of a stop, of a wait for one, of attaching or of handing over a pool; and library
 * threads that get the program's signals.
 *
 * A thread does nothing but send signals to all others, whatever the seed, and to the process as a
 * whole.  Of two signals one has its handler set behind ThreadSanitizer's back, which would put the
 * handler off until the thread calls something: so it does come in between any two instructions, of
 * the library, too.  It keeps its thread from going on for a while, as a lost processor would, or
 * wakes it from a wait.  The other handler calls what may be called at any time.  Every second
 * thread has its handlers run on a stack of their own.
 *
 * Threads build trees that hang on their C stacks only, which are scanned, trade some with each
 * other, free some by hand, wait in blocked regions, hold, collect, and come and go.  All is
 * checked by contents, and in the end by count.
 */
#include "common.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MOST_THREADS 64u
#define SHELVES 16u
#define BRANCHES 3u
#define DEPTH 4u
#define HANDLER_STACK ((size_t)64 << 10)

/* What runs between any two instructions must not be known to a sanitizer. */
#if defined(__has_attribute)
#if __has_attribute(disable_sanitizer_instrumentation)
#define UNSEEN __attribute__((disable_sanitizer_instrumentation, noinline))
#endif
#endif
#ifndef UNSEEN
#define UNSEEN __attribute__((noinline))
#endif

struct node {
  const tarn_type *type;
  struct node *branches[BRANCHES];
  uint64_t number, depth, check;
};

static tarn_world *world;
static const tarn_type *node_type;
static _Atomic uint64_t made, freed, numbers, traded;
static _Atomic uint64_t between, calls, on_own_stack, ended_early; /* signals */
static void *shelves[SHELVES];                                     /* roots */

/* Told by the threads of this program, for handlers, which come in between: so volatile;
 * initial-exec, so that nothing is called. */
static _Thread_local volatile bool ours __attribute__((tls_model("initial-exec")));
static _Thread_local volatile uintptr_t own_stack __attribute__((tls_model("initial-exec")));
static _Thread_local volatile uint64_t turns __attribute__((tls_model("initial-exec")));

static struct victim {
  pthread_mutex_t lock; /* held while a signal is sent: the thread is there */
  pthread_t thread;
  bool there;
} victims[MOST_THREADS];
static _Atomic bool storm_ends;

/* --- handlers -------------------------------------------------------------------------------- */

/* Writes and ends, with nothing that might wait. */
static UNSEEN void give_up(void) {
  static const char why[] = "stress_signals: FAILED: a signal came to a thread of the library\n";
  (void)syscall(SYS_write, 2, why, sizeof why - 1);
  (void)syscall(SYS_kill, syscall(SYS_getpid), SIGABRT);
}

static UNSEEN void come_between(int number) {
  int before = errno;
  char here;
  (void)number;
  if (!ours)
    give_up();
  uintptr_t distance = (uintptr_t)&here - own_stack;
  if (own_stack && distance < HANDLER_STACK)
    (void)atomic_fetch_add_explicit(&on_own_stack, 1, memory_order_relaxed);
  (void)atomic_fetch_add_explicit(&between, 1, memory_order_relaxed);
  uint64_t turn = turns++ % 16;
  if (turn == 0) {
    struct timespec nap = {.tv_nsec = 50000};
    (void)syscall(SYS_nanosleep, &nap, NULL);
  } else if (turn < 6) {
    (void)syscall(SYS_sched_yield);
  } else {
    for (volatile unsigned i = 0; i < 100 * turn; i++) /* else there is no loop */
      ;
  }
  errno = before;
}

static void call_what_may_be(int number) {
  int before = errno;
  (void)number;
  if (strcmp(tarn_version(), "") == 0 || !tarn_strerror(TARN_ELIMIT))
    abort();
  (void)atomic_fetch_add_explicit(&calls, 1, memory_order_relaxed);
  errno = before;
}

/* The kernel's own interface.  The trampoline is the one that the C library registered for the same
 * signal a moment ago. */
struct kernel_action {
  void (*handler)(int);
  unsigned long flags;
  void (*restorer)(void);
  unsigned long mask;
};

static pthread_once_t handlers_set = PTHREAD_ONCE_INIT;

static void set_handlers(void) {
  struct sigaction action = {.sa_handler = call_what_may_be, .sa_flags = SA_ONSTACK};
  struct kernel_action raw;
  STRESS_EQUAL(sigaction(SIGUSR1, &action, NULL), 0); /* no SA_RESTART */
  STRESS_EQUAL(sigaction(SIGUSR2, &action, NULL), 0);
  STRESS_EQUAL(syscall(SYS_rt_sigaction, SIGUSR2, NULL, &raw, sizeof raw.mask), 0);
  raw.handler = come_between;
  raw.flags &= ~(unsigned long)(SA_SIGINFO | SA_RESTART);
  raw.mask = 0;
  STRESS_EQUAL(syscall(SYS_rt_sigaction, SIGUSR2, &raw, NULL, sizeof raw.mask), 0);
}

/* --- the storm ------------------------------------------------------------------------------- */

static void *storm(void *data) {
  struct stress_random random = stress_random_of(1000);
  sigset_t all;
  (void)data;
  (void)sigfillset(&all);
  STRESS_EQUAL(pthread_sigmask(SIG_SETMASK, &all, NULL), 0);
  for (unsigned i = 0; !atomic_load_explicit(&storm_ends, memory_order_relaxed); i++) {
    struct victim *victim = &victims[stress_below(&random, stress.threads)];
    (void)pthread_mutex_lock(&victim->lock);
    if (victim->there)
      (void)pthread_kill(victim->thread, i % 4 ? SIGUSR2 : SIGUSR1);
    (void)pthread_mutex_unlock(&victim->lock);
    if (i % 64 == 0)
      (void)kill(getpid(), SIGUSR2); /* to any thread that lets it */
    struct timespec pause = {.tv_nsec = (long)stress_below(&random, 60000)};
    if (i % 8 == 0) /* else back to back, so that handlers nest among both signals */
      (void)nanosleep(&pause, NULL);
  }
  return NULL;
}

static void show(unsigned number, bool there) {
  struct victim *victim = &victims[number];
  (void)pthread_mutex_lock(&victim->lock);
  victim->thread = pthread_self();
  victim->there = there;
  (void)pthread_mutex_unlock(&victim->lock);
}

/* --- trees ----------------------------------------------------------------------------------- */

static uint64_t check_of(const struct node *node) {
  return (node->number * 7 + node->depth) * 0x9e3779b97f4a7c15u + 3;
}

static void on_free(tarn_world *of, void *object) {
  struct node *node = object;
  STRESS_CHECK(of == world);
  STRESS_EQUAL(node->check, check_of(node));
  node->check = 0;
  (void)atomic_fetch_add_explicit(&freed, 1, memory_order_relaxed);
}

/* Only the stack has it, until it returns. */
static struct node *build(tarn_thread *self, uint64_t depth) {
  struct node *node = tarn_new(self, node_type);
  STRESS_CHECK(node);
  STRESS_CHECK(node->number == 0 && node->check == 0 && !node->branches[0]);
  node->number = atomic_fetch_add_explicit(&numbers, 1, memory_order_relaxed);
  node->depth = depth;
  node->check = check_of(node);
  (void)atomic_fetch_add_explicit(&made, 1, memory_order_relaxed);
  for (unsigned i = 0; depth > 0 && i < BRANCHES; i++)
    node->branches[i] = build(self, depth - 1);
  return node;
}

static uint64_t check_tree(const struct node *node) {
  uint64_t nodes = 1;
  STRESS_CHECK(node->type == node_type && node->depth <= DEPTH);
  STRESS_EQUAL(node->check, check_of(node));
  for (unsigned i = 0; i < BRANCHES; i++) {
    STRESS_CHECK(!node->branches[i] == (node->depth == 0));
    if (node->branches[i]) {
      STRESS_EQUAL(node->branches[i]->depth, node->depth - 1);
      nodes += check_tree(node->branches[i]);
    }
  }
  return nodes;
}

static uint64_t nodes_of(uint64_t depth) { return depth ? 1 + BRANCHES * nodes_of(depth - 1) : 1; }

static void free_tree(tarn_thread *self, struct node *node) {
  for (unsigned i = 0; i < BRANCHES; i++)
    if (node->branches[i])
      free_tree(self, node->branches[i]);
  tarn_free(self, node);
}

static void trade(tarn_thread *self, struct stress_random *random, struct node *tree) {
  void **shelf = &shelves[stress_below(random, SHELVES)];
  /* Acquire and release: a tree goes from thread to thread. */
  struct node *other = __atomic_exchange_n(shelf, tree, __ATOMIC_ACQ_REL);
  if (!other)
    return;
  STRESS_EQUAL(check_tree(other), nodes_of(other->depth));
  (void)atomic_fetch_add_explicit(&traded, 1, memory_order_relaxed);
  if (stress_below(random, 2))
    free_tree(self, other); /* nobody else has it */
}

static void wait_blocked(tarn_thread *self) {
  struct timespec nap = {.tv_nsec = 200000};
  tarn_block_begin(self);
  if (nanosleep(&nap, NULL) != 0 && errno == EINTR)
    (void)atomic_fetch_add_explicit(&ended_early, 1, memory_order_relaxed);
  tarn_block_end(self);
}

static void act(tarn_thread *self, struct stress_random *random) {
  uint64_t depth = stress_below(random, DEPTH + 1);
  struct node *tree = build(self, depth);
  tarn_safepoint(self);
  switch (stress_below(random, 8)) {
  case 0:
    wait_blocked(self);
    break;
  case 1:
    tarn_gc_hold(self);
    STRESS_EQUAL(check_tree(build(self, 1)), nodes_of(1));
    tarn_gc_release(self);
    break;
  case 2:
    STRESS_CHECK(tarn_alloc_atomic(self, TARN_LARGE_LIMIT + 1 + stress_below(random, 100000)));
    break;
  case 3:
    if (stress_below(random, 8) == 0)
      STRESS_EQUAL(tarn_collect(self, (int)stress_below(random, 3)), TARN_OK);
    break;
  default:
    break;
  }
  STRESS_EQUAL(check_tree(tree), nodes_of(depth));
  trade(self, random, tree);
}

/* --- threads --------------------------------------------------------------------------------- */

static __attribute__((noinline)) void live(struct stress_random *random) {
  tarn_thread *self = stress_attach(world);
  for (unsigned i = 0; i < 40; i++)
    act(self, random);
  STRESS_EQUAL(tarn_thread_detach(self), TARN_OK);
}

static void work(void *data, unsigned number) {
  struct stress_random random = stress_random_of(number);
  stack_t stack = {.ss_sp = NULL, .ss_size = HANDLER_STACK}, none = {.ss_flags = SS_DISABLE};
  (void)data;
  STRESS_EQUAL(pthread_once(&handlers_set, set_handlers), 0); /* after stress_run has set its own */
  if (number % 2) {
    stack.ss_sp = malloc(HANDLER_STACK);
    STRESS_CHECK(stack.ss_sp && sigaltstack(&stack, NULL) == 0);
    own_stack = (uintptr_t)stack.ss_sp;
  }
  sigset_t both;
  (void)sigemptyset(&both);
  (void)sigaddset(&both, SIGUSR1);
  (void)sigaddset(&both, SIGUSR2);
  ours = true;
  show(number, true);
  STRESS_EQUAL(pthread_sigmask(SIG_UNBLOCK, &both, NULL), 0);
  for (uint64_t round = 0; stress_on(&round);)
    live(&random);
  STRESS_EQUAL(pthread_sigmask(SIG_BLOCK, &both, NULL), 0);
  show(number, false);
  if (stack.ss_sp) {
    own_stack = 0;
    STRESS_EQUAL(sigaltstack(&none, NULL), 0);
    free(stack.ss_sp);
  }
}

/* Threads that have not come to `work` have both signals blocked, and so has the main thread. */
static void block_both(void) {
  sigset_t both;
  (void)sigemptyset(&both);
  (void)sigaddset(&both, SIGUSR1);
  (void)sigaddset(&both, SIGUSR2);
  STRESS_EQUAL(pthread_sigmask(SIG_BLOCK, &both, NULL), 0);
}

static void make_world(void) {
  world = stress_world("scan-stack=1,min-heap=1M,markers=2,purge-delay=5ms");
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = "node";
  spec.size = sizeof(struct node);
  spec.slot_bits = 7 << 1;
  spec.free = on_free;
  node_type = tarn_type_create(world, &spec, NULL);
  STRESS_CHECK(node_type);
  for (unsigned i = 0; i < SHELVES; i++)
    STRESS_EQUAL(tarn_root_add(world, &shelves[i]), TARN_OK);
}

static void finish(void) {
  tarn_thread *self = stress_attach(world);
  STRESS_EQUAL(tarn_thread_scan_stack(self, false), TARN_OK);
  uint64_t have = 0;
  STRESS_EQUAL(tarn_collect(self, TARN_GENERATION_FULL), TARN_OK);
  (void)tarn_release_pending(self, 0);
  for (unsigned i = 0; i < SHELVES; i++)
    have += shelves[i] ? check_tree(shelves[i]) : 0;
  STRESS_EQUAL(atomic_load(&made) - atomic_load(&freed), have);
  stress_verify(self);
  memset(shelves, 0, sizeof shelves);
  STRESS_EQUAL(tarn_collect(self, TARN_GENERATION_FULL), TARN_OK);
  (void)tarn_release_pending(self, 0);
  STRESS_EQUAL(atomic_load(&made), atomic_load(&freed));
  STRESS_EQUAL(tarn_thread_detach(self), TARN_OK);
  STRESS_EQUAL(tarn_world_destroy(world), TARN_OK);
}

int main(int count, char **arguments) {
  pthread_t sender;
  stress_begin(count, arguments,
               "what a signal breaks that comes at any instruction, and who gets signals");
  for (unsigned i = 0; i < MOST_THREADS; i++)
    STRESS_EQUAL(pthread_mutex_init(&victims[i].lock, NULL), 0);
  block_both();
  make_world();
  STRESS_EQUAL(pthread_create(&sender, NULL, storm, NULL), 0);
  stress_run(world, stress.threads, work, NULL);
  atomic_store(&storm_ends, true);
  STRESS_EQUAL(pthread_join(sender, NULL), 0);
  finish();
  fprintf(stderr,
          "  %llu signals between instructions, %llu of them on stacks of their own, %llu with"
          " calls; %llu waits ended early; %llu trees traded\n",
          (unsigned long long)atomic_load(&between), (unsigned long long)atomic_load(&on_own_stack),
          (unsigned long long)atomic_load(&calls), (unsigned long long)atomic_load(&ended_early),
          (unsigned long long)atomic_load(&traded));
  STRESS_CHECK(atomic_load(&between) > 100 && atomic_load(&calls) > 100);
  STRESS_CHECK(stress.threads == 1 || atomic_load(&on_own_stack) > 0);
  STRESS_CHECK(atomic_load(&ended_early) > 0 && atomic_load(&traded) > 0);
  return stress_end();
}
