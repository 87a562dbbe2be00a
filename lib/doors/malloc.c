/* SPDX-License-Identifier: MIT */
/*
 * doors/malloc.c: the engine of the malloc door; see doors/malloc.h.
 *
 * The world.  One, hidden, without a collector (tarn_hooks.uncollected), made by the first call,
 * which comes before constructors run; other threads wait for it.  Options come from the
 * environment as for any world, but help, strict and whatever is about collecting do not matter,
 * and there is no limit to the number of threads.
 *
 * Threads.  `self` is the calling thread's record, or `nobody`, which is empty.  The first
 * allocation of a thread attaches it; it is detached by the destructor of world/thread.c's key, and
 * `self` is `nobody` from then on (hook `retired`).  Destructors that run later and allocate attach
 * the thread again, and the key's destructor runs again, in the next round.  After the last round
 * of all (PTHREAD_DESTRUCTOR_ITERATIONS) nothing would clean up: there each allocation attaches and
 * detaches.  The rounds are counted by the key's destructor, so a thread whose first allocation of
 * all comes in a destructor may be taken for one that has rounds left, and leaves a record
 * behind, with the pools in its bins.  A free never attaches: it goes the way of a free by another
 * thread.
 *
 * The purger (heap/purge.h).  In a program of one thread its frees and allocations do the rounds,
 * and it stays the only one.  The second thread that attaches makes the purger, which stays.  So
 * pthread_create is called in the first malloc of a thread only.  In any free it could not be: the
 * C library frees what ended threads had while it has the lock of its cache of stacks.  It
 * allocates under other locks, but none that pthread_create takes, apart from the dynamic
 * linker's, which are recursive.  Where it was asked for in any program, it is made at the start,
 * and in a child of a fork by the first allocation that finds nothing in its bin.  When the last
 * thread has detached, the purger ends too: a process whose main thread has ended by pthread_exit
 * ends with its last thread.
 *
 * Profiles (heap/sample.h).  While there is one, which is from before the first allocation until
 * the process ends, `self` stays `nobody`, and the thread's record is `counted`: so the short ways
 * find nothing, without a look at any of this, and all allocations and frees come to the slow ones,
 * where they are counted.  The stack of a sample begins with who called the C library's name: by
 * the return address of alloc_slow, to which the short ways jump, and without the functions here
 * that call others of them, which have a section of their own (TARN_DOOR_FRONT) to be known by.
 * The unwinder loads a library, so it is there from the constructor on; samples from before that
 * have their caller only.
 *
 * Threads of the library's own for what options ask for, the metrics and the page, are made by the
 * constructor: not by the first allocation, which may come in the middle of anything.  They end
 * when no thread is left that allocates, as the purger does and for the same reason; and are made
 * again, as in a child of a fork, by an allocation that finds nothing in its bin.
 *
 * Inside.  While a thread makes the world or attaches, whatever allocates below it (the C library
 * in pthread_setspecific and pthread_atfork, for instance) comes back here: `inside` says so, and
 * the early buffer, or the record if it is good already, serves it.
 *
 * fork.  world/fork.c takes all locks of the world before a fork, and gives them back after it.
 * Its handlers are registered when the world is made, nearly always before any others: so they run
 * last before the fork and first after it, and between them is only the C library's own work.  A
 * handler of the program that does get between, because it was registered even earlier, may
 * allocate and free all the same: the handlers here run just around those of world/fork.c, and make
 * the forking thread `nobody` meanwhile; it allocates from the early buffer, and what it frees
 * waits in `deferred`.  Other threads wait in the slow paths of the heap until the fork is over.
 * The C library takes two kinds of locks between: that of its list of streams, which is therefore
 * taken here already, before the world's, for a thread may allocate while it holds it or what it
 * waits for; and that of the name service switch, which cannot be.  So a fork can deadlock with a
 * thread that reads /etc/nsswitch.conf for the first time at that moment.
 *
 * Foreign addresses, which lie outside of the reserved range: memory that the dynamic linker
 * handed out before it knew of this malloc, or that another allocator made.  It cannot be given
 * back, so free ignores it.  That hides wild frees; checking and hardened builds report them, and
 * stop, unless the address is the dynamic linker's.  realloc has to know the size, and stops in all
 * builds.
 */
#include "doors/malloc.h"
#include "heap/fast.h"
#include "heap/find.h"
#include "heap/local.h"
#include "inspect/events.h"
#include "heap/sample.h"
#include "inspect/live.h"
#include "inspect/metrics.h"
#include "inspect/options.h"
#include "inspect/profile.h"
#include "inspect/watch.h"
#include "os/stack.h"
#include "world/world.h"
#include <elf.h>
#include <errno.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#define DOOR_TLS __attribute__((tls_model("initial-exec")))
#define ALIGNMENT ((size_t)16) /* of every block */

/* The hot functions begin with a cache line: where they happen to lie otherwise, their short way
 * may need one more, which costs more than a few instructions. */
#define DOOR_HOT __attribute__((aligned(64)))

/* A large block that shrinks by at least this much gives memory back at once. */
#define PURGE_AT_ONCE ((size_t)1 << 20)

enum { WORLD_NONE, WORLD_MAKING, WORLD_READY };

/* Written by the thread that makes the world, before `state` becomes READY (release); read by
 * others after they have seen that (acquire), or after they were given a block. */
static struct {
  uint32_t state; /* atomic; a futex */
  tarn_world *world;
  struct tarn_store *store;
  struct tarn_heap *heap;
  bool purges_alone; /* the purger was asked for also where there is one thread */
  bool begins;       /* atomic: threads of the library's own are to be made again */
} door;

static struct tarn_local nobody;
static _Thread_local struct tarn_local *self DOOR_TLS = &nobody;

/* The record instead, where there is a profile; else NULL. */
static _Thread_local struct tarn_local *counted DOOR_TLS;

/* Where the calling thread is; looked at only while it has neither. */
enum { NOT_INSIDE, INSIDE_ENTERING, INSIDE_FORK };
static _Thread_local unsigned char inside DOOR_TLS;

/* Blocks that a forking thread freed between the handlers, linked through their first words. */
static _Atomic(void *) deferred;

/* --- hooks of the heap ----------------------------------------------------------------------- */

static bool before_refill(struct tarn_local *local, size_t bytes) {
  (void)local;
  (void)bytes;
  return true;
}

static bool exhausted(struct tarn_local *local, size_t bytes, unsigned tries) {
  (void)local;
  (void)bytes;
  (void)tries;
  return false;
}

static void fail(struct tarn_local *local, tarn_status status) {
  (void)local;
  (void)status;
}

__attribute__((noreturn)) static void corrupt(struct tarn_store *store, const void *block,
                                              const char *what) {
  struct tarn_place place;
  if (tarn_find(store->id, (uintptr_t)block, true, &place))
    tarn_os_say("tarn: malloc: block %p (%zu bytes, pool %p, offset %zu): %s", block, place.size,
                (void *)(place.block & ~(uintptr_t)(TARN_UNIT_SIZE - 1)),
                (size_t)((uintptr_t)block - place.block), what);
  else
    tarn_os_say("tarn: malloc: block %p: %s (the address is in no block)", block, what);
  tarn_explain((uintptr_t)block, true);
  abort();
}

static void retired(struct tarn_local *local) {
  if (self == local)
    self = &nobody;
  if (counted == local)
    counted = NULL;
}

/* Do options ask for threads that an allocation may have to make again? */
static bool wants_threads(const tarn_world *world) {
  return door.purges_alone || world->config.live || world->config.metrics_every_ns;
}

/* Threads of the library's own must not keep the process. */
static void deserted(struct tarn_store *store) {
  tarn_world *world = tarn_world_of_store(store);
  tarn_metrics_let_go(world);
  tarn_live_let_go(world);
  /* Relaxed: who attaches from now on has had the lock that is held here. */
  __atomic_store_n(&door.begins, wants_threads(world), __ATOMIC_RELAXED);
}

/* A name may have been given since the thread attached. */
static void told(struct tarn_store *store, const struct tarn_told *what) {
  if (what->kind == TARN_TOLD_THREAD && what->gone)
    tarn_thread_rename(what->what);
  tarn_watchers_told(tarn_world_of_store(store), what);
}

static const struct tarn_hooks hooks = {.before_refill = before_refill,
                                        .exhausted = exhausted,
                                        .fail = fail,
                                        .corrupt = corrupt,
                                        .retired = retired,
                                        .deserted = deserted,
                                        .told = told,
                                        .uncollected = true};

/* The calling thread allocates from the record from now on. */
static void serve(struct tarn_local *local) {
  if (TARN_UNLIKELY(local->store->sampling))
    counted = local;
  else
    self = local;
}

/* --- fork ------------------------------------------------------------------------------------ */

/* glibc's lock of the list of streams, recursive; see the head of the file. */
void _IO_list_lock(void) __attribute__((weak));
void _IO_list_unlock(void) __attribute__((weak));
void _IO_list_resetlock(void) __attribute__((weak));

static void before_fork(void) {
  if (_IO_list_lock)
    _IO_list_lock();
  inside = INSIDE_FORK;
  self = &nobody;
  counted = NULL;
}

static void after_fork(void) {
  struct tarn_mutator *own = tarn_mutator_self(door.world);
  inside = NOT_INSIDE;
  if (own)
    serve(&own->local);
  /* Acquire: another thread that forks may have put blocks there. */
  void *block = atomic_exchange_explicit(&deferred, NULL, memory_order_acquire);
  for (void *next; block; block = next) {
    next = *(void **)block;
    tarn_door_free(block);
  }
}

static void after_fork_parent(void) {
  after_fork();
  if (_IO_list_unlock)
    _IO_list_unlock();
}

static void after_fork_child(void) {
  if (door.world->watchers)
    tarn_log_after_fork(door.world->watchers);
  after_fork();
  /* Not here: a child that soon executes another program pays nothing. */
  __atomic_store_n(&door.begins, wants_threads(door.world), __ATOMIC_RELAXED);
  if (_IO_list_resetlock)
    _IO_list_resetlock(); /* as the C library does, where the process had threads */
}

static void defer(void *block) {
  void *head = atomic_load_explicit(&deferred, memory_order_relaxed);
  do
    *(void **)block = head;
  /* Release: pairs with the exchange in after_fork. */
  while (!atomic_compare_exchange_weak_explicit(&deferred, &head, block, memory_order_release,
                                                memory_order_relaxed));
}

/* --- the world ------------------------------------------------------------------------------- */

/* Detecting the machine's limits reads some twenty files.  Only options refer to them. */
static bool has_options(void) {
  for (char **entry = environ; entry && *entry; entry++)
    if (strncmp(*entry, "TARN_", 5) == 0)
      return true;
  return false;
}

/* Once, whatever becomes of the world, so that each complaint is made once. */
static const struct tarn_config *configure(void) {
  static struct tarn_config config;
  static bool configured; /* only the maker comes here */
  static const struct tarn_limits unknown = {.memory = SIZE_MAX, .cpus = 1};
  struct tarn_config_report report = {.limits = has_options() ? NULL : &unknown};
  if (configured)
    return &config;
  configured = true;
  /* Whatever comes back, the values are good: the help was printed, a bad option complained of. */
  (void)tarn_config_resolve(NULL, NULL, &config, &report);
  const struct tarn_option *purger = tarn_option_find("purger", strlen("purger"));
  door.purges_alone =
      config.purger && report.source[purger - tarn_option_table] >= TARN_SOURCE_ENVIRONMENT;
  if (config.fault_mmap)
    tarn_os_fault_at(config.fault_mmap);
  config.collect = config.scan_stack = config.verify = false;
  config.max_threads = 0;
  config.log &= TARN_LOG_HEAP | TARN_LOG_THREAD | TARN_LOG_DEBUG(TARN_LOG_HEAP | TARN_LOG_THREAD);
  config.trace[0] = '\0';
  return &config;
}

static bool make_world(void) {
  static bool registered; /* only the maker comes here */
  tarn_world *world = NULL;
  if (tarn_world_make(configure(), &hooks, NULL, &world) != TARN_OK)
    return false;
  tarn_purge_stay(&world->store);
  if (configure()->log && tarn_watchers_start(world) != TARN_OK) {
    tarn_world_drop(world);
    return false;
  }
  tarn_profile_begin(world);
  /* After the world's own handlers: so before these before a fork, and after them after it. */
  if (tarn_worlds_add(world) && !registered)
    registered = tarn_os_at_fork(before_fork, after_fork_parent, after_fork_child);
  if (!registered) {
    tarn_profile_forget(world);
    tarn_watchers_end(world);
    tarn_world_drop(world);
    return false;
  }
  if (configure()->apart || configure()->trap)
    tarn_faults_watch();
  door.world = world;
  door.store = &world->store;
  door.heap = world->atomic_heap;
  return true;
}

static bool is_ready(void) { return __atomic_load_n(&door.state, __ATOMIC_ACQUIRE) == WORLD_READY; }

/* The first who comes makes the world, the others wait.  If it cannot be made, the next try. */
static bool have_world(void) {
  uint32_t state = WORLD_NONE;
  if (__atomic_compare_exchange_n(&door.state, &state, WORLD_MAKING, false, __ATOMIC_ACQUIRE,
                                  __ATOMIC_ACQUIRE)) {
    bool made = make_world();
    __atomic_store_n(&door.state, made ? WORLD_READY : WORLD_NONE, __ATOMIC_RELEASE);
    tarn_os_wake_all(&door.state);
    return made;
  }
  while (__atomic_load_n(&door.state, __ATOMIC_ACQUIRE) == WORLD_MAKING)
    tarn_os_wait(&door.state, WORLD_MAKING, 0);
  return is_ready();
}

tarn_world *tarn_door_world(void) {
  return is_ready() && inside != INSIDE_FORK ? door.world : NULL;
}

/* --- threads --------------------------------------------------------------------------------- */

/* Is the caller, who has attached, not the only one? */
static bool is_second(void) {
  /* Relaxed: a thread that attaches at the same time counts later, and sees this one. */
  return atomic_load_explicit(&door.world->registry.count, memory_order_relaxed) > 1;
}

/* The calling thread's record, which is made now if it can be; else NULL. */
static struct tarn_local *enter(void) {
  if (inside == INSIDE_FORK)
    return NULL;
  if (inside == INSIDE_ENTERING) {
    struct tarn_mutator *own = is_ready() ? tarn_mutator_self(door.world) : NULL;
    return own ? &own->local : NULL;
  }
  int kept = errno;
  tarn_thread *thread = NULL;
  inside = INSIDE_ENTERING;
  if (have_world() && tarn_thread_attach(door.world, &thread) == TARN_OK) {
    serve(tarn_local_of(thread)); /* also what pthread_create allocates */
    if (is_second() && !tarn_thread_is_over())
      tarn_purge_begin(door.store);
  }
  inside = NOT_INSIDE;
  errno = kept;
  return thread ? tarn_local_of(thread) : NULL;
}

/* After an allocation that began by `enter`. */
static void leave_if_over(struct tarn_local *local) {
  if (TARN_LIKELY(!tarn_thread_is_over()) || inside != NOT_INSIDE ||
      (self != local && counted != local))
    return;
  int kept = errno;
  (void)tarn_thread_detach(tarn_thread_of(tarn_mutator_of_local(local)));
  errno = kept;
}

void tarn_door_start(void) {
  static bool started; /* only the constructor comes here, or who calls in its place */
  if ((self == &nobody && !counted && !enter()) || started)
    return;
  started = true;
  if (door.purges_alone)
    tarn_purge_begin(door.store);
  if (door.store->sampling)
    tarn_os_stack_start();
  tarn_metrics_begin(door.world);
  tarn_live_start(door.world);
}

/* Those threads of the library's own that were asked for, if they are not there: once, by whoever
 * comes first. */
static void begin_threads(void) {
  if (tarn_thread_is_over() || !__atomic_exchange_n(&door.begins, false, __ATOMIC_RELAXED))
    return;
  if (door.purges_alone)
    tarn_purge_begin(door.store); /* allocates, as the next ones */
  tarn_metrics_resume(door.world);
  tarn_live_resume(door.world);
}

/* --- allocation ------------------------------------------------------------------------------ */

/* Classes of a multiple of 16 bytes are aligned to 16, and zero is as good as one. */
static size_t rounded(size_t size) { return (size + ALIGNMENT - 1) & ~(ALIGNMENT - 1); }

/* How a block is wanted. */
enum want { WANT_ANY, WANT_ZEROED, WANT_ALIGNED };

static void *alloc_early(enum want want, size_t alignment, size_t size) {
  void *block = tarn_early_alloc(alignment, size);
  if (block && want == WANT_ZEROED)
    memset(block, 0, size);
  return block;
}

/*
 * What can be had at once from the bins of a record: those of the world's first heap.  `nobody` has
 * none.  NULL: the slow path.
 */
static inline void *take(struct tarn_local *local, size_t size, size_t *dirty) {
  if (TARN_LIKELY(size <= TARN_INLINE_MOST))
    return tarn_fast_alloc(local, tarn_local_raw_bin(local, tarn_bin_table_16[(size + 15) / 16]),
                           dirty);
  if (TARN_UNLIKELY(size > TARN_LARGE_LIMIT))
    return NULL;
  return tarn_fast_alloc(local, &local->bins[TARN_FLAVOUR_RAW][tarn_class_of(rounded(size))],
                         dirty);
}

static inline void *alloc_fast(size_t size, size_t *dirty) { return take(self, size, dirty); }

static void *out_of_memory(void) {
  errno = ENOMEM;
  return NULL;
}

static void *alloc_from(struct tarn_local *local, enum want want, size_t alignment, size_t size) {
  switch (want) {
  case WANT_ZEROED:
    return tarn_local_alloc(local, door.heap, TARN_FLAVOUR_RAW, rounded(size));
  case WANT_ALIGNED:
    return tarn_local_alloc_aligned(local, door.heap, alignment, size);
  default:
    return tarn_local_alloc_raw(local, door.heap, rounded(size));
  }
}

/* There is a profile: counts the block, which `caller` wants. */
static void *alloc_counted(struct tarn_local *local, enum want want, size_t alignment, size_t size,
                           const void *caller) {
  size_t dirty;
  tarn_thread_came_by(&local->pub, caller);
  if (TARN_UNLIKELY(__atomic_load_n(&door.begins, __ATOMIC_RELAXED)))
    begin_threads();
  void *block = want != WANT_ALIGNED ? take(local, size, &dirty) : NULL;
  if (!block)
    return alloc_from(local, want, alignment, size);
  if (TARN_UNLIKELY(!tarn_sample_passes(local, block)))
    tarn_local_sample(local, door.heap, block, rounded(size));
  return want == WANT_ZEROED ? tarn_inline_clear(block, dirty) : block;
}

/* The caller has no record, or none that the short ways know. */
static __attribute__((noinline)) void *alloc_apart(enum want want, size_t alignment, size_t size,
                                                   const void *caller) {
  if (TARN_LIKELY(counted != NULL))
    return alloc_counted(counted, want, alignment, size, caller);
  struct tarn_local *local = enter();
  if (!local)
    return inside == NOT_INSIDE ? NULL : alloc_early(want, alignment, size);
  void *block = door.store->sampling ? alloc_counted(local, want, alignment, size, caller)
                                     : alloc_from(local, want, alignment, size);
  leave_if_over(local);
  return block;
}

/* Whatever else there is: sets errno when it fails.  Inlined, so the caller is that of alloc_slow.
 */
static inline __attribute__((always_inline)) void *alloc_somehow(enum want want, size_t alignment,
                                                                 size_t size) {
  if (TARN_UNLIKELY(self == &nobody))
    return alloc_apart(want, alignment, size, __builtin_return_address(0));
  if (TARN_UNLIKELY(__atomic_load_n(&door.begins, __ATOMIC_RELAXED)))
    begin_threads();
  return alloc_from(self, want, alignment, size);
}

static __attribute__((noinline)) void *alloc_slow(enum want want, size_t alignment, size_t size) {
  void *block = size <= TARN_OBJECT_MAX ? alloc_somehow(want, alignment, size) : NULL;
  return block ? block : out_of_memory();
}

TARN_DOOR_FRONT DOOR_HOT void *tarn_door_malloc(size_t size) {
  size_t dirty;
  void *block = alloc_fast(size, &dirty);
  return TARN_LIKELY(block != NULL) ? block : alloc_slow(WANT_ANY, ALIGNMENT, size);
}

TARN_DOOR_FRONT void *tarn_door_calloc(size_t count, size_t size) {
  size_t bytes, dirty;
  if (TARN_UNLIKELY(__builtin_mul_overflow(count, size, &bytes)))
    bytes = SIZE_MAX; /* refused like any other that is too large */
  void *block = alloc_fast(bytes, &dirty);
  return TARN_LIKELY(block != NULL) ? tarn_inline_clear(block, dirty)
                                    : alloc_slow(WANT_ZEROED, ALIGNMENT, bytes);
}

/* --- aligned --------------------------------------------------------------------------------- */

/* `alignment` is a power of two. */
TARN_DOOR_FRONT static void *alloc_aligned(size_t alignment, size_t size) {
  if (alignment <= ALIGNMENT)
    return tarn_door_malloc(size);
  return alignment <= TARN_ALIGNMENT_MAX ? alloc_slow(WANT_ALIGNED, alignment, size)
                                         : out_of_memory();
}

static bool is_power_of_two(size_t value) { return value != 0 && (value & (value - 1)) == 0; }

/* As in glibc 2.36 an alignment that is no power of two is raised to the next. */
TARN_DOOR_FRONT void *tarn_door_memalign(size_t alignment, size_t size) {
  size_t raised = ALIGNMENT;
  if (alignment > SIZE_MAX / 2 + 1) {
    errno = EINVAL;
    return NULL;
  }
  while (raised < alignment)
    raised *= 2;
  return alloc_aligned(raised, size);
}

TARN_DOOR_FRONT int tarn_door_posix_memalign(void **out, size_t alignment, size_t size) {
  if (!is_power_of_two(alignment) || alignment % sizeof(void *) != 0)
    return EINVAL;
  int kept = errno;
  void *block = alloc_aligned(alignment, size);
  errno = kept;
  if (!block)
    return ENOMEM;
  *out = block;
  return 0;
}

TARN_DOOR_FRONT void *tarn_door_valloc(size_t size) {
  return alloc_aligned(tarn_os_page_size(), size);
}

TARN_DOOR_FRONT void *tarn_door_pvalloc(size_t size) {
  size_t page = tarn_os_page_size();
  if (size > TARN_OBJECT_MAX)
    return out_of_memory();
  return alloc_aligned(page, (size + page - 1) & ~(page - 1));
}

/* --- freeing --------------------------------------------------------------------------------- */

#if TARN_CHECKING || TARN_HARDENED
/* The dynamic linker's first memory is the rest of its last page. */
static bool is_linkers(const void *block) {
  uintptr_t base = (uintptr_t)getauxval(AT_BASE), end = base;
  const ElfW(Ehdr) *header = (const void *)base;
  if (!header)
    return false;
  const ElfW(Phdr) *program = (const void *)(base + header->e_phoff);
  for (unsigned i = 0; i < header->e_phnum; i++)
    if (program[i].p_type == PT_LOAD && base + program[i].p_vaddr + program[i].p_memsz > end)
      end = base + program[i].p_vaddr + program[i].p_memsz;
  end = (end + tarn_os_page_size() - 1) & ~(uintptr_t)(tarn_os_page_size() - 1);
  return (uintptr_t)block - base < end - base;
}
#endif

static void free_foreign(const void *block) {
#if TARN_CHECKING || TARN_HARDENED
  if (!is_linkers(block))
    tarn_os_die("tarn: malloc: block %p: freed, but this malloc did not allocate it", block);
#else
  (void)block;
#endif
}

/* There is a profile, and the caller has a record. */
static void free_counted(void *block) {
  door.store->sampling->freed(door.store, block);
  if (!tarn_fast_free(counted, block, true))
    tarn_local_free(counted, block);
}

/* Large blocks, those of other threads' pools, and what is no block. */
static __attribute__((noinline)) void free_slow(void *block) {
  int kept = errno;
  if (!tarn_space_holds((uintptr_t)block)) {
    if (!tarn_early_free(block))
      free_foreign(block);
  } else if (self != &nobody) {
    tarn_local_free(self, block);
  } else if (counted) {
    free_counted(block);
  } else if (inside == INSIDE_FORK) {
    defer(block);
  } else {
    tarn_store_free_stranger(door.store, block);
  }
  errno = kept;
}

DOOR_HOT void tarn_door_free(void *block) {
  /* No pool belongs to `nobody`.  Keeps errno: so do the calls of os/ that it may need. */
  if (TARN_UNLIKELY(!tarn_fast_free(self, block, true)) && block)
    free_slow(block);
}

/* --- sizes ----------------------------------------------------------------------------------- */

size_t tarn_door_usable_size(const void *block) {
  struct tarn_place place;
  if (!tarn_space_holds((uintptr_t)block))
    return tarn_early_size(block);
  return tarn_find(door.store->id, (uintptr_t)block, false, &place) ? place.size : 0;
}

/* A block that is at least half used stays where it is. */
static bool stays(const void *block, size_t old, size_t size) {
  if (size > old || (size < old / 2 && old > 4 * ALIGNMENT))
    return false;
  if (old > TARN_LARGE_LIMIT && old - size >= PURGE_AT_ONCE) {
    uintptr_t page = tarn_os_page_size();
    uintptr_t rest = ((uintptr_t)block + size + page - 1) & ~(page - 1);
    (void)tarn_os_purge((void *)rest, (uintptr_t)block + old - rest);
  }
  return true;
}

/* Large blocks that grow again and again are copied each time, so they get an eighth more. */
static size_t grown(size_t old, size_t size) {
  return size > old && old > TARN_LARGE_LIMIT ? size + size / 8 : size;
}

TARN_DOOR_FRONT void *tarn_door_realloc(void *block, size_t size) {
  if (!block)
    return tarn_door_malloc(size);
  if (size == 0) {
    tarn_door_free(block);
    return NULL;
  }
  if (size > TARN_OBJECT_MAX)
    return out_of_memory();
  size_t old = tarn_door_usable_size(block);
  if (old == 0)
    tarn_os_die("tarn: malloc: block %p: reallocated, but this malloc did not allocate it", block);
  if (stays(block, old, size))
    return block;
  int kept = errno;
  void *other = tarn_door_malloc(grown(old, size));
  if (!other && grown(old, size) > size) {
    errno = kept;
    other = tarn_door_malloc(size);
  }
  if (!other && size > old)
    return NULL;
  errno = kept;
  if (!other)
    return block;
  memcpy(other, block, size < old ? size : old);
  tarn_door_free(block);
  return other;
}

TARN_DOOR_FRONT void *tarn_door_reallocarray(void *block, size_t count, size_t size) {
  size_t bytes;
  if (__builtin_mul_overflow(count, size, &bytes))
    return out_of_memory();
  return tarn_door_realloc(block, bytes);
}
