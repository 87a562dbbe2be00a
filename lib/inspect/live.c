/* SPDX-License-Identifier: MIT */
/*
 * inspect/live.c: see inspect/live.h.
 *
 * The thread touches the world as a visitor: threads under the registry's lock, pools in a visit
 * (tarn_store_visit).  What a pool has in use is read while its owner may be changing it, so these
 * figures are about right; the walk is made as seldom as makes it one percent of the time.
 */
#include "inspect/live.h"
#include "collect/collector.h"
#include "heap/space.h"
#include "inspect/snapshot.h"
#include "inspect/users.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PERIOD_NS ((uint64_t)250000000)
#define SOON_NS ((uint64_t)50000000) /* after a collection, but not more often than that */
#define FAREWELL_NS ((uint64_t)100000000)
#define WALK_SHARE 100u
#define STOPS_KEPT TARN_LIVE_THREADS
#define PATH_ROOM 512u

/* The longest stop in which a thread of this name came last. */
struct stop_of {
  char name[TARN_LIVE_NAME];
  uint64_t longest;
};

/* What a thread has of a malloc's pools, as the last walk found it. */
struct share {
  const struct tarn_local *owner; /* only an address: the thread may be gone */
  int64_t id;
  uint64_t held, used;
};

struct tarn_live {
  tarn_world *world;
  struct tarn_live *next; /* under the lock of the process */

  pthread_mutex_t lock; /* guards the next four; a leaf but for the names' */
  bool running;         /* there is a thread, or one is being made */
  uint64_t ring_count;
  struct tarn_live_collection ring[TARN_LIVE_RING];
  struct stop_of stops[STOPS_KEPT];

  /* Atomic. */
  uint64_t shown_at; /* when the page was filled last: a hint for those who ring */
  uint32_t bell;     /* a futex: moves on when there is something to show */
  uint32_t users;    /* a futex: threads that may still touch this */
  uint32_t shows;    /* a futex: how often the page was filled, or could not be */
  bool ended;
  bool let_go; /* the thread shall end, but may be made again */

  /* The thread's; in the child of a fork first the forking one's. */
  bool child; /* of a fork: the first page can wait */
  bool failed_to_start;
  bool said_farewell; /* under the lock of the process */
  bool failed;
  struct tarn_live_page *page; /* written under the lock of the process, for the end */
  char path[PATH_ROOM];        /* the same */
  uint64_t walk_at;            /* not before */
  struct share shares[TARN_LIVE_THREADS], before[TARN_LIVE_THREADS];
  unsigned share_count, share_at; /* where the last pool's owner stands */
  struct tarn_live_view view;
};

/* For the list, and the pages' names.  No other lock is taken while it is held. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct tarn_live *lives;
static bool leaving; /* under the lock: the process ends, and no page is made any more */

#define READ(field) atomic_load_explicit(&(field), memory_order_relaxed)

static bool is_ended(const struct tarn_live *live) {
  return __atomic_load_n(&live->ended, __ATOMIC_RELAXED); /* who ends it rings */
}

/* --- what is shown --------------------------------------------------------------------------- */

static uint64_t stop_of(const struct tarn_live *live, const char *name) {
  for (unsigned i = 0; i < STOPS_KEPT; i++)
    if (live->stops[i].longest && strcmp(live->stops[i].name, name) == 0)
      return live->stops[i].longest;
  return 0;
}

/* A malloc does not ask for the names of its threads when they get them: the system has them. */
static void find_name(struct tarn_live_thread *thread) {
  char path[64], name[sizeof thread->name];
  (void)snprintf(path, sizeof path, "/proc/self/task/%d/comm", (int)thread->id);
  int file = tarn_os_open(path);
  size_t got = file < 0 ? 0 : tarn_os_read(file, name, sizeof name - 1);
  if (file >= 0)
    (void)tarn_os_close(file);
  if (got == 0)
    return; /* it has just ended: the name that it began with */
  memset(thread->name, 0, sizeof thread->name);
  memcpy(thread->name, name, name[got - 1] == '\n' ? got - 1 : got);
}

/* Who has what; of threads that the last walk knew as it was then. */
static void fill_shares(struct tarn_live *live) {
  struct tarn_live_view *view = &live->view;
  for (unsigned i = 0; i < live->share_count; i++)
    for (unsigned k = 0; k < TARN_LIVE_THREADS && live->before[k].owner; k++)
      if (live->shares[i].owner == live->before[k].owner &&
          live->shares[i].id == live->before[k].id)
        live->shares[i] = live->before[k];
  for (unsigned i = 0; i < live->share_count; i++) {
    find_name(&view->threads[i]);
    view->threads[i].held_bytes = live->shares[i].held;
    view->threads[i].used_bytes = live->shares[i].used;
  }
}

/* While the registry is locked threads neither come nor go. */
static void fill_threads(struct tarn_live *live) {
  tarn_world *world = live->world;
  struct tarn_live_view *view = &live->view;
  struct tarn_mutator *mutator;
  uint64_t count = 0;
  memcpy(live->before, live->shares, sizeof live->before);
  memset(live->shares, 0, sizeof live->shares);
  (void)pthread_mutex_lock(&world->registry.lock);
  (void)pthread_mutex_lock(&world->stop.names_lock);
  cds_list_for_each_entry(mutator, &world->registry.list, node) {
    if (count < TARN_LIVE_THREADS) {
      struct tarn_live_thread *thread = &view->threads[count];
      thread->id = mutator->id;
      thread->state = __atomic_load_n(&mutator->state, __ATOMIC_RELAXED); /* only a look */
      memcpy(thread->name, mutator->name, sizeof thread->name);
      thread->name[sizeof thread->name - 1] = '\0';
      live->shares[count] = (struct share){.owner = &mutator->local, .id = mutator->id};
    }
    count++;
  }
  (void)pthread_mutex_unlock(&world->stop.names_lock);
  (void)pthread_mutex_unlock(&world->registry.lock);
  view->thread_count = count;
  live->share_count = count < TARN_LIVE_THREADS ? (unsigned)count : TARN_LIVE_THREADS;
}

static void fill_collections(struct tarn_live *live) {
  struct tarn_live_view *view = &live->view;
  uint64_t shown = view->thread_count < TARN_LIVE_THREADS ? view->thread_count : TARN_LIVE_THREADS;
  (void)pthread_mutex_lock(&live->lock);
  view->ring_count = live->ring_count;
  memcpy(view->ring, live->ring, sizeof view->ring);
  for (uint64_t i = 0; i < shown; i++)
    view->threads[i].stop_max_ns = stop_of(live, view->threads[i].name);
  (void)pthread_mutex_unlock(&live->lock);
}

static unsigned generation_of(const struct tarn_pool *pool) {
  uint8_t age = tarn_pool_peek_age(pool);
  return age & TARN_AGE_YOUNG ? 0 : age & TARN_AGE_AGED ? 1 : 2;
}

/* Pools of one owner often lie beside each other. */
static void add_share(struct tarn_live *live, const struct tarn_local *owner, uint64_t used) {
  if (live->share_at >= live->share_count || live->shares[live->share_at].owner != owner)
    for (live->share_at = 0; live->share_at < live->share_count; live->share_at++)
      if (live->shares[live->share_at].owner == owner)
        break;
  if (live->share_at < live->share_count) {
    live->shares[live->share_at].held += TARN_UNIT_SIZE;
    live->shares[live->share_at].used += used;
  }
}

static void add_pool(struct tarn_pool *pool, void *data) {
  struct tarn_live *live = data;
  struct tarn_pool seen = tarn_pool_peek(pool);
  if (seen.size_class >= TARN_LIVE_CLASSES)
    return;
  uint64_t used = tarn_pool_used(&seen);
  struct tarn_live_class *class = &live->view.classes[seen.size_class];
  used = used < seen.capacity ? used : seen.capacity;
  class->pools[live->view.flags & TARN_LIVE_SHOWS_AGES ? generation_of(pool) : 2]++;
  class->used += used;
  live->view.used_bytes += used * class->block_bytes;
  const struct tarn_local *owner = live->world->collector ? NULL : tarn_pool_owner(pool);
  if (owner)
    add_share(live, owner, used * class->block_bytes);
}

static void fill_classes(struct tarn_live *live) {
  struct tarn_store *store = &live->world->store;
  struct tarn_live_view *view = &live->view;
  uint64_t began = tarn_os_now();
  if (began < live->walk_at)
    return;
  view->used_bytes = 0;
  view->pool_bytes = TARN_UNIT_SIZE;
  view->class_count = TARN_CLASS_COUNT;
  memset(view->classes, 0, sizeof view->classes);
  for (unsigned i = 0; i < TARN_CLASS_COUNT; i++)
    view->classes[i].block_bytes = tarn_class_size(i);
  memset(live->before, 0, sizeof live->before); /* they are counted anew */
  tarn_store_visit(store); /* no fork meanwhile, which would leave the child with the walk's lock */
  tarn_store_each_pool(store, add_pool, live);
  tarn_store_leave(store);
  uint64_t pools = (uint64_t)READ(store->pools) * TARN_UNIT_SIZE, bytes = READ(store->bytes);
  view->used_bytes += bytes > pools ? bytes - pools : 0; /* large objects */
  uint64_t ended = tarn_os_now();
  live->walk_at = ended + (ended - began) * WALK_SHARE;
}

_Static_assert(TARN_CLASS_COUNT <= TARN_LIVE_CLASSES, "all classes are shown");

static void fill(struct tarn_live *live) {
  tarn_world *world = live->world;
  struct tarn_live_view *view = &live->view;
  view->flags = world->collector ? TARN_LIVE_COLLECTED : 0;
  if (world->config.counting)
    view->flags |= TARN_LIVE_COUNTING;
  if (world->collector && world->collector->generations.on)
    view->flags |= TARN_LIVE_SHOWS_AGES;
  view->stats.struct_size = sizeof view->stats;
  (void)tarn_stats_get(world, &view->stats);
  fill_threads(live);
  fill_collections(live);
  fill_classes(live);
  if (!world->collector)
    fill_shares(live);
  view->updated_ns = tarn_os_now();
  view->updates++;
}

static void publish(struct tarn_live *live) {
  struct tarn_live_page *page = live->page;
  uint64_t words[TARN_LIVE_WORDS(sizeof live->view)] = {0};
  uint64_t sequence = __atomic_load_n(&page->sequence, __ATOMIC_RELAXED);
  memcpy(words, &live->view, sizeof live->view);
  __atomic_store_n(&page->sequence, sequence + 1, __ATOMIC_RELAXED);
  /* Release: a reader that sees one of these words sees the odd number, too. */
  for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
    __atomic_store_n(&page->view[i], words[i], __ATOMIC_RELEASE);
  __atomic_store_n(&page->sequence, sequence + 2, __ATOMIC_RELEASE);
}

static void show(struct tarn_live *live) {
  fill(live);
  publish(live);
  __atomic_store_n(&live->shown_at, live->view.updated_ns, __ATOMIC_RELAXED);
}

/* --- the page -------------------------------------------------------------------------------- */

static void fill_head(const struct tarn_live *live, struct tarn_live_page *page) {
  page->version = TARN_LIVE_VERSION;
  page->view_bytes = sizeof(struct tarn_live_view);
  page->pid = (uint64_t)getpid();
  page->started = tarn_os_started();
  page->world = live->world->number;
  (void)snprintf(page->library, sizeof page->library, "%s", tarn_version());
  __atomic_store_n(&page->magic, TARN_LIVE_MAGIC, __ATOMIC_RELEASE);
}

/* In the first directory that can be had; else errno says why not. */
static struct tarn_live_page *make_file(const struct tarn_live *live, char path[PATH_ROOM]) {
  struct tarn_live_page *page = NULL;
  const char *directory;
  for (unsigned i = 0; !page && (i == 0 || tarn_os_shared_directory(i)); i++) {
    directory = tarn_os_shared_directory(i);
    int length = snprintf(path, PATH_ROOM, "%s/" TARN_LIVE_FILE, directory, (unsigned)geteuid(),
                          (int)getpid(), live->world->number, tarn_os_pid_namespace());
    if (length > 0 && length < (int)PATH_ROOM)
      page = tarn_os_share(path, sizeof *page);
    else
      errno = ENAMETOOLONG;
  }
  return page;
}

/* False: there is no page. */
static bool have_page(struct tarn_live *live) {
  char path[PATH_ROOM], why[128];
  if (live->page || live->failed)
    return live->page != NULL;
  struct tarn_live_page *page = make_file(live, path);
  if (!page) {
    live->failed = true;
    tarn_os_say("tarn: live: world %u has nowhere to show itself: %s: %s", live->world->number,
                path, strerror_r(errno, why, sizeof why));
    return false;
  }
  fill_head(live, page);
  (void)pthread_mutex_lock(&lock);
  live->page = page;
  if (leaving)
    tarn_os_remove(path);
  else
    memcpy(live->path, path, sizeof path);
  (void)pthread_mutex_unlock(&lock);
  return true;
}

/* --- requests -------------------------------------------------------------------------------- */

static void explain(tarn_status status, int error, char *why, size_t size) {
  char room[128];
  if (status == TARN_ESYSTEM)
    (void)snprintf(why, size, "%s", strerror_r(error, room, sizeof room));
  else if (status == TARN_EBUSY)
    (void)snprintf(why, size, "some threads did not come to a safepoint");
  else if (status == TARN_EKIND)
    (void)snprintf(why, size, "a world without a collector knows no types");
  else
    (void)snprintf(why, size, "%s", tarn_strerror(status));
}

static void answer(struct tarn_live_page *page, tarn_status status, int error,
                   const tarn_snapshot_info *info) {
  union {
    char text[sizeof page->why];
    uint64_t words[sizeof page->why / 8];
  } why = {{0}};
  if (status != TARN_OK)
    explain(status, error, why.text, sizeof why.text);
  for (size_t i = 0; i < sizeof page->why / 8; i++)
    __atomic_store_n(&page->why[i], why.words[i], __ATOMIC_RELAXED);
  __atomic_store_n(&page->status, (uint64_t)status, __ATOMIC_RELAXED);
  __atomic_store_n(&page->objects, info->objects, __ATOMIC_RELAXED);
  __atomic_store_n(&page->bytes, info->bytes, __ATOMIC_RELAXED);
  __atomic_store_n(&page->stopped_ns, info->stopped_ns, __ATOMIC_RELAXED);
}

static void do_requests(struct tarn_live *live) {
  struct tarn_live_page *page = live->page;
  union {
    char text[TARN_LIVE_PATH];
    uint64_t words[TARN_LIVE_PATH / 8];
  } path;
  tarn_snapshot_info info = {.struct_size = sizeof info};
  uint64_t asked = __atomic_load_n(&page->asked, __ATOMIC_ACQUIRE);
  if (asked == __atomic_load_n(&page->answered, __ATOMIC_RELAXED))
    return;
  for (size_t i = 0; i < TARN_LIVE_PATH / 8; i++)
    path.words[i] = __atomic_load_n(&page->path[i], __ATOMIC_RELAXED);
  path.text[TARN_LIVE_PATH - 1] = '\0';
  tarn_status status = TARN_EKIND;
  if (live->world->collector)
    status = tarn_snapshot_to_file(live->world, NULL, TARN_SNAPSHOT_PATIENT, path.text, 0, &info);
  answer(page, status, errno, &info);
  __atomic_store_n(&page->answered, asked, __ATOMIC_RELEASE);
}

/* --- the thread ------------------------------------------------------------------------------ */

/* Shall the thread end, which the world has no use for any more? */
static bool goes(struct tarn_live *live) {
  (void)pthread_mutex_lock(&live->lock);
  bool gone = __atomic_load_n(&live->let_go, __ATOMIC_RELAXED); /* the bell orders it */
  live->running = !gone;
  (void)pthread_mutex_unlock(&live->lock);
  return gone;
}

static void *run(void *data) {
  struct tarn_live *live = data;
  tarn_os_set_thread_name("tarn-live");
  bool waits = live->child;
  while (!is_ended(live)) {
    /* Acquire: pairs with the release of who rings. */
    uint32_t bell = __atomic_load_n(&live->bell, __ATOMIC_ACQUIRE);
    if (!waits && have_page(live)) {
      do_requests(live);
      show(live);
    }
    waits = false;
    (void)__atomic_fetch_add(&live->shows, 1, __ATOMIC_RELEASE);
    tarn_os_wake_all(&live->shows);
    if (goes(live))
      break;
    if (!is_ended(live))
      tarn_os_wait(&live->bell, bell, live->failed ? 0 : PERIOD_NS);
  }
  tarn_users_leave(&live->users);
  return NULL;
}

static void ring(struct tarn_live *live) {
  (void)__atomic_fetch_add(&live->bell, 1, __ATOMIC_RELEASE);
  tarn_os_wake_one(&live->bell);
}

static void note_stop(struct tarn_live *live, const struct tarn_live_collection *collection) {
  struct stop_of *place = &live->stops[0];
  if (!collection->last[0])
    return;
  for (unsigned i = 0; i < STOPS_KEPT; i++) {
    struct stop_of *each = &live->stops[i];
    if (strcmp(each->name, collection->last) == 0) {
      place = each;
      break;
    }
    if (each->longest < place->longest)
      place = each; /* whose name goes, if need be */
  }
  if (strcmp(place->name, collection->last) != 0) {
    memcpy(place->name, collection->last, sizeof place->name);
    place->longest = 0;
  }
  if (collection->stop_ns > place->longest)
    place->longest = collection->stop_ns;
}

void tarn_live_collected(tarn_world *world, const struct tarn_live_collection *collection) {
  struct tarn_live *live = world->live;
  struct tarn_live_collection own = *collection;
  if (!live)
    return;
  own.ended_ns = tarn_os_now();
  (void)pthread_mutex_lock(&world->stop.names_lock);
  (void)snprintf(own.last, sizeof own.last, "%s", world->stop.last_thread);
  (void)pthread_mutex_unlock(&world->stop.names_lock);
  (void)pthread_mutex_lock(&live->lock);
  live->ring[live->ring_count++ % TARN_LIVE_RING] = own;
  note_stop(live, &own);
  (void)pthread_mutex_unlock(&live->lock);
  if (own.ended_ns - __atomic_load_n(&live->shown_at, __ATOMIC_RELAXED) >= SOON_NS)
    ring(live);
}

/* No lock is held; `running` is set. */
static void make_thread(struct tarn_live *live) {
  tarn_users_enter(&live->users);
  if (tarn_os_start_thread(run, live))
    return;
  live->failed_to_start = true;
  tarn_users_leave(&live->users);
  tarn_os_say("tarn: live: no thread to be had: world %u does not show itself",
              live->world->number);
}

/* --- forks, and the end of the process ------------------------------------------------------- */

/*
 * No lock is taken before a fork: a thread that is running would wait for it there, at the end of a
 * collection or of a world, while the one that has it, in its fork, waits for that thread to stand
 * still.  So somebody may have had them, and they are made anew.  The list is whole at any time;
 * what collections left may be half there, and begins again.
 *
 * Worlds run again here: their handlers were registered earlier, and come earlier.  The page is the
 * parent's.
 */
static void after_fork_child(void) {
  (void)pthread_mutex_init(&lock, NULL);
  tarn_snapshot_after_fork();
  for (struct tarn_live *live = lives; live; live = live->next) {
    if (live->page)
      tarn_os_unmap(live->page, sizeof *live->page);
    (void)pthread_mutex_init(&live->lock, NULL);
    live->ring_count = 0;
    memset(live->stops, 0, sizeof live->stops);
    live->page = NULL;
    live->path[0] = '\0';
    live->failed = false;
    live->child = true;
    live->running = true;
    __atomic_store_n(&live->let_go, false, __ATOMIC_RELAXED);
    __atomic_store_n(&live->users, 0, __ATOMIC_RELAXED);
#if !TARN_TSAN /* it ends children of threaded processes that make threads */
    if (!is_ended(live))
      make_thread(live);
#endif
  }
}

/* One whose last figures the caller has to wait for, who becomes a user of it. */
static struct tarn_live *next_farewell(void) {
  struct tarn_live *live;
  (void)pthread_mutex_lock(&lock);
  for (live = lives; live && live->said_farewell; live = live->next) {
  }
  if (live) {
    live->said_farewell = true;
    tarn_users_enter(&live->users);
  }
  (void)pthread_mutex_unlock(&lock);
  return live;
}

/* Who looks at the page sees how the process ended.  The thread may be busy with something long. */
static void say_farewell(struct tarn_live *live) {
  uint32_t shows = __atomic_load_n(&live->shows, __ATOMIC_ACQUIRE);
  uint64_t until = tarn_os_now() + FAREWELL_NS, now;
  (void)pthread_mutex_lock(&live->lock);
  bool there = live->running && !live->failed_to_start;
  (void)pthread_mutex_unlock(&live->lock);
  if (live->child || !there)
    return;
  ring(live);
  while (__atomic_load_n(&live->shows, __ATOMIC_ACQUIRE) == shows && (now = tarn_os_now()) < until)
    tarn_os_wait(&live->shows, shows, until - now);
}

/* A handler for exit: threads may still run, and the worlds be there. */
static void at_exit(void) {
  for (struct tarn_live *live; (live = next_farewell());) {
    say_farewell(live);
    tarn_users_leave(&live->users);
  }
  (void)pthread_mutex_lock(&lock);
  leaving = true;
  for (struct tarn_live *live = lives; live; live = live->next)
    if (live->path[0])
      tarn_os_remove(live->path);
  (void)pthread_mutex_unlock(&lock);
}

/* Once a process; under the lock. */
static bool has_handlers(void) {
  static bool registered;
  registered =
      registered || (tarn_os_at_fork(NULL, NULL, after_fork_child) && atexit(at_exit) == 0);
  return registered;
}

/* --- beginning and end ----------------------------------------------------------------------- */

static bool enlist(struct tarn_live *live) {
  (void)pthread_mutex_lock(&lock);
  bool good = has_handlers();
  if (good) {
    live->next = lives;
    /* In this order, also for a child: a fork may come at any time. */
    __atomic_store_n(&lives, live, __ATOMIC_RELEASE);
  }
  (void)pthread_mutex_unlock(&lock);
  return good;
}

/* Waits for its users.  In the child of a fork another thread of the parent may have done that, or
 * a part of it. */
static void delist(struct tarn_live *live) {
  (void)pthread_mutex_lock(&lock);
  tarn_users_await(&live->users, &lock);
  struct tarn_live **at = &lives;
  while (*at && *at != live)
    at = &(*at)->next;
  if (*at)
    __atomic_store_n(at, live->next, __ATOMIC_RELEASE);
  if (live->path[0])
    tarn_os_remove(live->path);
  (void)pthread_mutex_unlock(&lock);
}

void tarn_live_start(tarn_world *world) {
  if (!world->config.live)
    return;
  struct tarn_live *live = tarn_os_map(sizeof *live);
  if (live) {
    live->world = world;
    (void)pthread_mutex_init(&live->lock, NULL);
  }
  if (!live || !enlist(live)) {
    if (live)
      tarn_os_unmap(live, sizeof *live);
    tarn_os_say("tarn: live: no memory: world %u does not show itself", world->number);
    return;
  }
  world->live = live; /* before any thread that could collect is attached */
  live->running = true;
  make_thread(live);
}

void tarn_live_let_go(tarn_world *world) {
  struct tarn_live *live = world->live;
  if (!live)
    return;
  __atomic_store_n(&live->let_go, true, __ATOMIC_RELAXED); /* the bell orders it */
  ring(live);
}

void tarn_live_resume(tarn_world *world) {
  struct tarn_live *live = world->live;
  if (!live || live->failed_to_start)
    return;
  (void)pthread_mutex_lock(&live->lock);
  bool starts = !live->running;
  live->running = true;
  __atomic_store_n(&live->let_go, false, __ATOMIC_RELAXED);
  (void)pthread_mutex_unlock(&live->lock);
  if (starts)
    make_thread(live);
}

void tarn_live_end(tarn_world *world) {
  struct tarn_live *live = world->live;
  if (!live)
    return;
  __atomic_store_n(&live->ended, true, __ATOMIC_RELAXED);
  ring(live);
  delist(live);
  world->live = NULL;
  if (live->page)
    tarn_os_unmap(live->page, sizeof *live->page);
  (void)pthread_mutex_destroy(&live->lock);
  tarn_os_unmap(live, sizeof *live);
}
