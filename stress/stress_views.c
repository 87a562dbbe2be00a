/* SPDX-License-Identifier: MIT */
/*
 * stress_views hunts views of a running world that are torn, that fall back, or that are of what is
 * gone: what others read of it from outside, while it changes as fast as it can.
 *
 * Workers attach and detach under names of one letter, allocate, replace hands of five fingers on a
 * board of roots, collect, block, hold, and fork.  Beside them, not attached:
 *   - one reads the live page, as `tarn top` does: between two odd numbers all that it finds is the
 *     same, and its parts fit each other;
 *   - one asks for snapshots by the page and by a signal, and reads the files that come of it:
 * every hand has its five fingers;
 *   - one reads the metrics that a thread of the library writes again and again: always whole, with
 *     counters that never fall;
 *   - one has worlds of its own with all of this that last for some milliseconds, and leave
 * nothing. Profiles start, stop and are written meanwhile.  Children of forks end the world, and
 * the parent's page stays.
 */
#include "common.h"
#include "inspect/live_page.h"
#include "snapshot_reader.h"
#include "world/world.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define WATCHERS 4u
#define PLACES 16u
#define FINGERS 5u
#define PAGE_BYTES 4096u

static tarn_world *world;
static const tarn_type *hand_type, *finger_type, *plain_type;
static void *board[PLACES];
static struct tarn_live_page *page;
static char directory[20], page_path[64];
static struct {
  _Atomic uint64_t views, requests, refused, by_signal, metrics, worlds, forks, profiles;
} seen;

static void count(_Atomic uint64_t *what) {
  (void)atomic_fetch_add_explicit(what, 1, memory_order_relaxed);
}

/* For watchers, which count no rounds: those of the workers tell of a hang. */
static bool watches(const _Atomic uint64_t *what) {
  enum { LEAST = 3 };
  return stress_time_left() || atomic_load_explicit(what, memory_order_relaxed) < LEAST;
}

static void nap(struct stress_random *random, unsigned most_us) {
  (void)usleep((useconds_t)stress_below(random, most_us));
}

/* --- workers --------------------------------------------------------------------------------- */

static void name_self(tarn_thread *self, struct stress_random *random) {
  char name[16] = {0};
  memset(name, 'a' + (int)stress_below(random, 26), 1 + stress_below(random, 15));
  STRESS_EQUAL(tarn_thread_set_name(self, name), TARN_OK);
}

static void replace_hand(tarn_thread *self, struct stress_random *random) {
  void **hand = tarn_new(self, hand_type);
  TARN_FRAME(self, (void *)&hand);
  for (unsigned i = 1; i <= FINGERS; i++)
    tarn_store(self, hand, &hand[i], tarn_new(self, finger_type));
  /* Release: who reads it there finds it whole. */
  __atomic_store_n(&board[stress_below(random, PLACES)], (void *)hand, __ATOMIC_RELEASE);
}

static void litter(tarn_thread *self, struct stress_random *random) {
  for (unsigned i = 0; i < 200; i++) {
    STRESS_CHECK(tarn_new(self, plain_type));
    STRESS_CHECK(tarn_alloc_atomic(self, 8 + stress_below(random, 700)));
  }
  STRESS_CHECK(tarn_alloc_atomic(self, 1 + stress_below(random, 200000)));
  tarn_safepoint(self);
}

static void stand(tarn_thread *self, struct stress_random *random) {
  if (stress_below(random, 3)) {
    tarn_block_begin(self);
    nap(random, 300);
    tarn_block_end(self);
  } else {
    tarn_gc_hold(self);
    (void)tarn_new(self, plain_type);
    tarn_gc_release(self);
  }
}

static bool swallow(void *data, const char *bytes, size_t size) {
  uint64_t *sum = data;
  for (size_t i = 0; i < size; i++)
    *sum += (unsigned char)bytes[i];
  return true;
}

static void profile(tarn_thread *self, struct stress_random *random) {
  uint64_t sum = 0;
  tarn_status status =
      stress_below(random, 3) == 0 ? tarn_profile_start(self, 500 + stress_below(random, 5000))
      : stress_below(random, 2)
          ? tarn_profile_stop(self)
          : tarn_profile_write(world, (tarn_profile_format)stress_below(random, 2),
                               (tarn_profile_value)stress_below(random, 4), swallow, &sum);
  STRESS_CHECK(status == TARN_OK || status == TARN_EBUSY || status == TARN_EUNBALANCED);
  if (sum)
    count(&seen.profiles);
}

static void look(void) {
  uint64_t sum = 0;
  tarn_stats stats = stress_stats(world);
  STRESS_CHECK(stats.heap_bytes_max >= PAGE_BYTES);
  STRESS_EQUAL(tarn_metrics_write(world, TARN_METRICS_JSON, swallow, &sum), TARN_OK);
}

#ifndef TARN_SANITIZE_ASAN /* its allocator has locks that no fork takes */
/* The views of the child are its own; under the thread sanitizer it has none. */
static _Noreturn void be_a_child(tarn_thread *self, bool ends) {
  look();
  STRESS_EQUAL(tarn_collect(self, TARN_GENERATION_FULL), TARN_OK);
  stress_verify(self);
  if (ends)
    STRESS_EQUAL(tarn_world_destroy(world), TARN_OK);
  STRESS_CHECK(!page || access(page_path, F_OK) == 0);
  char own[96];
  snprintf(own, sizeof own, "%s/metrics-%d", directory, (int)getpid());
  STRESS_CHECK(!ends || unlink(own) == 0); /* written at its end */
  _exit(0);
}

static void have_a_child(tarn_thread *self, struct stress_random *random) {
  bool ends = stress_below(random, 2);
  pid_t gone, child = fork();
  STRESS_CHECK(child >= 0);
  if (child == 0)
    be_a_child(self, ends);
  int status = 0;
  tarn_block_begin(self);
  do
    gone = waitpid(child, &status, 0);
  while (gone < 0 && errno == EINTR);
  tarn_block_end(self);
  STRESS_CHECK(gone == child && status == 0);
  count(&seen.forks);
}
#endif

static void work_once(tarn_thread *self, struct stress_random *random) {
  name_self(self, random);
  replace_hand(self, random);
  litter(self, random);
  stand(self, random);
  if (stress_below(random, 4) == 0)
    look();
  if (stress_below(random, 8) == 0)
    profile(self, random);
  if (stress_below(random, 20) == 0)
    STRESS_EQUAL(tarn_collect(self, (int)stress_below(random, 3)), TARN_OK);
#ifndef TARN_SANITIZE_ASAN
  if (stress_below(random, 300) == 0)
    have_a_child(self, random);
#endif
}

static void work(unsigned number) {
  struct stress_random random = stress_random_of(number);
  tarn_thread *self = stress_attach(world);
  for (uint64_t round = 0; stress_on(&round);) {
    work_once(self, &random);
    if (stress_below(&random, 10) == 0) {
      STRESS_EQUAL(tarn_thread_detach(self), TARN_OK);
      self = stress_attach(world);
    }
  }
  STRESS_EQUAL(tarn_thread_detach(self), TARN_OK);
}

/* --- the live page --------------------------------------------------------------------------- */

static void path_of_page(const tarn_world *of, char *path, size_t room) {
  snprintf(path, room, "/dev/shm/" TARN_LIVE_FILE, (unsigned)geteuid(), (int)getpid(), of->number,
           tarn_os_pid_namespace());
}

/* NULL: it is not there, or not ready yet. */
static struct tarn_live_page *map_page(const char *path) {
  struct tarn_live_page *made = MAP_FAILED;
  int file = open(path, O_RDWR | O_CLOEXEC);
  if (file < 0)
    return NULL;
  if (lseek(file, 0, SEEK_END) >= (off_t)sizeof *made)
    made = mmap(NULL, sizeof *made, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  (void)close(file);
  if (made == MAP_FAILED)
    return NULL;
  /* Acquire: pairs with the release of who filled the head. */
  if (__atomic_load_n(&made->magic, __ATOMIC_ACQUIRE) == TARN_LIVE_MAGIC)
    return made;
  (void)munmap(made, sizeof *made);
  return NULL;
}

struct view {
  uint64_t sequence;
  union {
    struct tarn_live_view is;
    uint64_t words[TARN_LIVE_WORDS(sizeof(struct tarn_live_view))];
  } of;
};

static bool read_view(const struct tarn_live_page *from, struct view *view) {
  /* Acquire, in both: who sees a word of a later view sees its odd number, too. */
  view->sequence = __atomic_load_n(&from->sequence, __ATOMIC_ACQUIRE);
  for (size_t i = 0; i < sizeof view->of.words / sizeof view->of.words[0]; i++)
    view->of.words[i] = __atomic_load_n(&from->view[i], __ATOMIC_ACQUIRE);
  return view->sequence && view->sequence % 2 == 0 &&
         __atomic_load_n(&from->sequence, __ATOMIC_RELAXED) == view->sequence;
}

/* One that a worker gave itself, or what the kernel calls threads of this program. */
static void check_name(const char *name, size_t room) {
  size_t length = strnlen(name, room);
  STRESS_CHECK(length < room);
  bool given = strcmp(name, "stress_views") == 0 || strspn(name, (char[]){name[0], 0}) == length;
  if (!given)
    stress_fail(__FILE__, __LINE__, "there is a thread \"%s\"", name);
}

static void check_ring(const struct tarn_live_view *view) {
  uint64_t told = view->ring_count < TARN_LIVE_RING ? view->ring_count : TARN_LIVE_RING;
  for (uint64_t i = 0; i < told; i++) {
    const struct tarn_live_collection *each = &view->ring[i];
    STRESS_CHECK(each->number && each->generation <= TARN_GENERATION_FULL);
    STRESS_CHECK(each->stop_ns <= each->pause_ns && each->ended_ns <= view->updated_ns);
    STRESS_CHECK(each->cause[0] && memchr(each->cause, '\0', sizeof each->cause));
    check_name(each->last, sizeof each->last);
    for (uint64_t k = 0; k < i; k++)
      STRESS_CHECK(view->ring[k].number != each->number);
  }
}

/* Of blocks in pools, and of large objects, which are whole pages. */
static void check_classes(const struct tarn_live_view *view) {
  uint64_t in_pools = 0;
  STRESS_CHECK(view->class_count <= TARN_LIVE_CLASSES);
  for (uint64_t i = 0; i < view->class_count; i++)
    in_pools += view->classes[i].used * view->classes[i].block_bytes;
  STRESS_CHECK(in_pools <= view->used_bytes && (view->used_bytes - in_pools) % PAGE_BYTES == 0);
}

static void check_view(const struct view *view, const struct view *before) {
  const struct tarn_live_view *is = &view->of.is, *was = &before->of.is;
  if (view->sequence == before->sequence)
    STRESS_CHECK(memcmp(is, was, sizeof *is) == 0);
  STRESS_CHECK(is->updates >= was->updates && is->updated_ns >= was->updated_ns);
  STRESS_CHECK(is->ring_count >= was->ring_count && is->stats.stops >= was->stats.stops);
  STRESS_EQUAL(is->stats.struct_size, sizeof is->stats);
  STRESS_CHECK(is->thread_count <= stress.threads);
  for (uint64_t i = 0; i < is->thread_count && i < TARN_LIVE_THREADS; i++) {
    STRESS_CHECK(is->threads[i].id > 0 && is->threads[i].state <= TARN_STATE_STOPPED);
    check_name(is->threads[i].name, sizeof is->threads[i].name);
  }
  check_ring(is);
  check_classes(is);
}

static void watch_page(void) {
  static struct view views[2];
  uint64_t good = 0;
  while (watches(&seen.views)) {
    if (!read_view(page, &views[good % 2]))
      continue;
    check_view(&views[good % 2], &views[(good + 1) % 2]);
    good++;
    count(&seen.views);
  }
}

/* --- snapshots ------------------------------------------------------------------------------- */

static void check_snapshot(const char *path) {
  struct reader reader;
  if (!reader_load(&reader, path))
    stress_fail(__FILE__, __LINE__, "%s: %s", path, reader.error);
  size_t roots = reader_find(&reader, "(global roots)");
  STRESS_CHECK(roots != SIZE_MAX);
  STRESS_EQUAL(reader.nodes[roots].edges, PLACES);
  for (size_t i = 0; i < PLACES; i++) {
    size_t hand = reader.edges[reader.nodes[roots].first + i].to, fingers = 0;
    STRESS_EQUAL(strcmp(reader_name(&reader, hand), "hand"), 0);
    for (size_t k = 0; k < reader.nodes[hand].edges; k++)
      fingers += strcmp(reader_name(&reader, reader.edges[reader.nodes[hand].first + k].to),
                        "finger") == 0;
    STRESS_EQUAL(fingers, FINGERS);
  }
  reader_end(&reader);
}

/* As `tarn snapshot` does. */
static void ask_for_one(unsigned number) {
  union {
    char text[TARN_LIVE_PATH];
    uint64_t words[TARN_LIVE_PATH / 8];
  } path = {{0}};
  snprintf(path.text, sizeof path.text, "%s/asked-%u", directory, number);
  for (size_t i = 0; i < TARN_LIVE_PATH / 8; i++)
    __atomic_store_n(&page->path[i], path.words[i], __ATOMIC_RELAXED);
  /* Release and acquire: the path is there before the question, the answer before its number. */
  uint64_t asked = __atomic_load_n(&page->answered, __ATOMIC_RELAXED) + 1;
  __atomic_store_n(&page->asked, asked, __ATOMIC_RELEASE);
  while (__atomic_load_n(&page->answered, __ATOMIC_ACQUIRE) != asked)
    (void)usleep(2000);
  uint64_t status = __atomic_load_n(&page->status, __ATOMIC_RELAXED);
  if (status == TARN_EBUSY) { /* some thread had no processor for seconds */
    count(&seen.refused);
    return;
  }
  STRESS_EQUAL(status, TARN_OK);
  check_snapshot(path.text);
  int file = open(path.text, O_RDONLY | O_CLOEXEC);
  STRESS_EQUAL(lseek(file, 0, SEEK_END), __atomic_load_n(&page->bytes, __ATOMIC_RELAXED));
  (void)close(file);
  STRESS_EQUAL(unlink(path.text), 0);
  count(&seen.requests);
}

/* Those that signals asked for are written one after the other: one is whole when the next has
 * begun, or when the world has ended. */
static unsigned next_by_signal = 1;

static void take_those_by_signal(bool all) {
  char path[64], next[64];
  for (;; next_by_signal++) {
    snprintf(path, sizeof path, "%s/heap-%u", directory, next_by_signal);
    snprintf(next, sizeof next, "%s/heap-%u", directory, next_by_signal + 1);
    if (access(path, F_OK) != 0 || (!all && access(next, F_OK) != 0))
      return;
    check_snapshot(path);
    STRESS_EQUAL(unlink(path), 0);
    count(&seen.by_signal);
  }
}

static void watch_snapshots(void) {
  struct stress_random random = stress_random_of(1001);
  unsigned number = 0;
  while (watches(&seen.by_signal)) {
    STRESS_EQUAL(kill(getpid(), SIGUSR2), 0);
    if (page)
      ask_for_one(++number);
    take_those_by_signal(false);
    nap(&random, 50000);
  }
}

/* --- metrics --------------------------------------------------------------------------------- */

/* The number behind a name at the beginning of a line. */
static uint64_t sample(const char *text, const char *name) {
  char start[64];
  snprintf(start, sizeof start, "\n%s{world=\"%u\"} ", name, world->number);
  const char *at = strstr(text, start);
  if (!at)
    stress_fail(__FILE__, __LINE__, "there is no %s", name);
  return strtoull(at + strlen(start), NULL, 10);
}

static size_t read_whole(const char *path, char *text, size_t room) {
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0)
    return 0;
  size_t length = 0;
  ssize_t got;
  while (length < room - 1 &&
         ((got = read(file, text + length, room - 1 - length)) > 0 || (got < 0 && errno == EINTR)))
    length += got > 0 ? (size_t)got : 0;
  (void)close(file);
  text[length] = '\0';
  return length;
}

static void watch_metrics(void) {
  static const char *const counters[] = {"tarn_collections_total", "tarn_stops_total",
                                         "tarn_allocated_bytes_total", "tarn_pause_seconds_count"};
  enum { COUNTERS = sizeof counters / sizeof counters[0] };
  static char text[1 << 16], path[64];
  uint64_t last[COUNTERS] = {0};
  snprintf(path, sizeof path, "%s/metrics-%d", directory, (int)getpid());
  for (; watches(&seen.metrics); (void)usleep(1000)) {
    size_t length = read_whole(path, text, sizeof text);
    if (length == 0)
      continue; /* not written yet; a file that is there is never empty */
    STRESS_CHECK(length > 6 && strcmp(text + length - 6, "# EOF\n") == 0);
    for (unsigned i = 0; i < COUNTERS; i++) {
      uint64_t now = sample(text, counters[i]);
      STRESS_CHECK(now >= last[i]);
      last[i] = now;
    }
    count(&seen.metrics);
  }
}

/* --- worlds that end soon -------------------------------------------------------------------- */

static void short_world(struct stress_random *random) {
  char set[160], path[64];
  snprintf(set, sizeof set, "live=1,min-heap=64K,metrics=%s/short-%%w.json,metrics-every=10ms",
           directory);
  tarn_world *own = stress_world(set);
  unsigned number = own->number;
  tarn_thread *self = stress_attach(own);
  for (unsigned i = 0; i < 20; i++)
    STRESS_CHECK(tarn_alloc_atomic(self, 1 + stress_below(random, 40000)));
  STRESS_EQUAL(tarn_collect(self, TARN_GENERATION_FULL), TARN_OK);
  STRESS_EQUAL(tarn_thread_detach(self), TARN_OK);
  nap(random, 20000);
  path_of_page(own, path, sizeof path);
  STRESS_EQUAL(tarn_world_destroy(own), TARN_OK);
  STRESS_CHECK(access(path, F_OK) != 0);
  snprintf(path, sizeof path, "%s/short-%u.json", directory, number);
  STRESS_EQUAL(unlink(path), 0);
  count(&seen.worlds);
}

static void watch_worlds(void) {
  struct stress_random random = stress_random_of(1002);
  while (watches(&seen.worlds))
    short_world(&random);
}

/* --- beginning and end ----------------------------------------------------------------------- */

static void act(void *data, unsigned number) {
  static void (*const watchers[WATCHERS])(void) = {watch_page, watch_snapshots, watch_metrics,
                                                   watch_worlds};
  (void)data;
  if (number >= WATCHERS)
    work(number);
  else if (number > 0 || page)
    watchers[number]();
}

static const tarn_type *make_type(const char *name, uint32_t words) {
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = name;
  spec.size = 8 * words;
  spec.slot_bits = ((uint64_t)1 << words) - 2;
  const tarn_type *type = tarn_type_create(world, &spec, NULL);
  STRESS_CHECK(type);
  return type;
}

static void start(void) {
  char set[192];
  snprintf(directory, sizeof directory, "stress_views.XXXXXX");
  STRESS_CHECK(mkdtemp(directory));
  snprintf(set, sizeof set,
           "live=1,min-heap=1M,young=256K,metrics=%s/metrics-%%p,metrics-every=10ms,"
           "snapshot-signal=USR2,snapshot=%s/heap-%%n",
           directory, directory);
  world = stress_barrier_world(set);
  hand_type = make_type("hand", 1 + FINGERS);
  finger_type = make_type("finger", 2);
  plain_type = make_type("plain", 3);
  tarn_thread *self = stress_attach(world);
  for (unsigned i = 0; i < PLACES; i++)
    STRESS_EQUAL(tarn_root_add(world, &board[i]), TARN_OK);
  struct stress_random random = stress_random_of(1000);
  for (bool all = false; !all;) {
    replace_hand(self, &random);
    all = true;
    for (unsigned i = 0; i < PLACES; i++)
      all = all && board[i];
  }
  STRESS_EQUAL(tarn_thread_detach(self), TARN_OK);
  path_of_page(world, page_path, sizeof page_path);
  bool shown = access("/dev/shm", W_OK) == 0;
  for (unsigned i = 0; shown && !page && i < 20000; i++, (void)usleep(1000))
    page = map_page(page_path);
  STRESS_CHECK(page || !shown);
}

static void finish(void) {
  char path[64];
  tarn_thread *self = stress_attach(world);
  stress_verify(self);
  STRESS_EQUAL(tarn_thread_detach(self), TARN_OK);
  STRESS_EQUAL(tarn_world_destroy(world), TARN_OK);
  take_those_by_signal(true);
  STRESS_CHECK(access(page_path, F_OK) != 0);
  snprintf(path, sizeof path, "%s/metrics-%d", directory, (int)getpid());
  STRESS_EQUAL(unlink(path), 0);
  STRESS_EQUAL(rmdir(directory), 0); /* and nothing is left */
}

/* What it met; each watcher has seen to a little of its own. */
static uint64_t told(const char *what, const _Atomic uint64_t *number) {
  uint64_t value = atomic_load_explicit(number, memory_order_relaxed);
  fprintf(stderr, "  %llu %s", (unsigned long long)value, what);
  return value;
}

int main(int argument_count, char **arguments) {
  stress_begin(argument_count, arguments,
               "views of a running world that are torn, fall back, or are of what is gone");
  stress.threads = stress.threads + WATCHERS > 64 ? 64 - WATCHERS : stress.threads;
  start();
  stress_run(world, WATCHERS + stress.threads, act, NULL);
  finish();
  (void)told("views", &seen.views);
  uint64_t requests = told("snapshots asked for", &seen.requests);
  (void)told("refused", &seen.refused);
  (void)told("by signal", &seen.by_signal);
  (void)told("metrics", &seen.metrics);
  (void)told("short worlds", &seen.worlds);
  (void)told("profiles", &seen.profiles);
  (void)told("children\n", &seen.forks);
  STRESS_CHECK(requests || !page);
  return stress_end();
}
