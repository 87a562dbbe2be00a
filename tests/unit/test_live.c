/* SPDX-License-Identifier: MIT */
/*
 * The option `live`: what another process would read, while threads allocate and collect; and the
 * page's beginning and end.  Here the reader is a thread, so that sanitizers see both sides.
 */
#include "support.h"

#include "inspect/live.h"
#include "os/os.h"
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

static void page_path_of(pid_t pid, unsigned number, char *path, size_t room) {
  snprintf(path, room, "/dev/shm/" TARN_LIVE_FILE, (unsigned)geteuid(), (int)pid, number,
           tarn_os_pid_namespace());
}
static void page_path(const tarn_world *world, char *path, size_t room) {
  page_path_of(getpid(), world->number, path, room);
}

static void nap(void) { nanosleep(&(struct timespec){0, 2000000}, NULL); }

static bool there_in_time(const char *path) {
  for (unsigned i = 0; i < 5000; i++, nap())
    if (access(path, F_OK) == 0)
      return true;
  return false;
}

/* As the command does it. */
static struct tarn_live_page *map_page(const char *path) {
  int file = open(path, O_RDWR | O_CLOEXEC);
  assert_true(file >= 0);
  struct tarn_live_page *page = NULL;
  struct stat status;
  for (unsigned i = 0; i < 5000 && fstat(file, &status) == 0; i++, nap())
    if (status.st_size >= (off_t)sizeof *page)
      break;
  assert_true(status.st_size >= (off_t)sizeof *page);
  assert_int_equal(status.st_mode & 0777, 0600);
  page = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  assert_true(page != MAP_FAILED);
  close(file);
  for (unsigned i = 0; i < 5000; i++, nap())
    if (__atomic_load_n(&page->magic, __ATOMIC_ACQUIRE) == TARN_LIVE_MAGIC)
      return page;
  fail_msg("the page has no magic number");
  return NULL;
}

static bool read_view(struct tarn_live_page *page, struct tarn_live_view *view) {
  uint64_t words[TARN_LIVE_WORDS(sizeof *view)];
  uint64_t before = __atomic_load_n(&page->sequence, __ATOMIC_ACQUIRE);
  for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
    words[i] = __atomic_load_n(&page->view[i], __ATOMIC_ACQUIRE);
  if (before % 2 || before == 0 || __atomic_load_n(&page->sequence, __ATOMIC_RELAXED) != before)
    return false;
  memcpy(view, words, sizeof *view);
  return true;
}

static void await_view(struct tarn_live_page *page, struct tarn_live_view *view,
                       uint64_t collections) {
  for (unsigned i = 0; i < 5000; i++, nap())
    if (read_view(page, view) && view->ring_count >= collections)
      return;
  fail_msg("no view with %u collections", (unsigned)collections);
}

static uint64_t pools_in(const struct tarn_live_view *view) {
  uint64_t pools = 0;
  for (unsigned i = 0; i < view->class_count; i++)
    for (unsigned k = 0; k < 3; k++)
      pools += view->classes[i].pools[k];
  return pools;
}

/* --- what is shown --------------------------------------------------------------------------- */

static void shows_statistics(void **state) {
  char path[128];
  struct tarn_live_view view;
  (void)state;
  tarn_world *world = support_world("live=1,collect=0");
  tarn_thread *self = support_attach(world);
  page_path(world, path, sizeof path);
  assert_true(there_in_time(path));
  struct tarn_live_page *page = map_page(path);
  assert_int_equal(page->version, TARN_LIVE_VERSION);
  assert_int_equal(page->view_bytes, sizeof view);
  assert_int_equal(page->pid, getpid());
  assert_int_equal(page->started, tarn_os_started());
  assert_true(page->started > 0);
  void *kept = NULL;
  void *const slots[] = {&kept};
  tarn_frame frame;
  tarn_frame_push(self, &frame, slots, 1);
  for (unsigned i = 0; i < 1000; i++)
    assert_non_null(kept = tarn_alloc_atomic(self, 100));
  for (unsigned i = 0; i < 40; i++)
    assert_int_equal(tarn_collect(self, TARN_GENERATION_FULL), TARN_OK);
  tarn_stats stats = support_stats(world);
  await_view(page, &view, 40);
  assert_int_equal(view.flags & TARN_LIVE_COLLECTED, TARN_LIVE_COLLECTED);
  assert_int_equal(view.stats.struct_size, sizeof view.stats);
  assert_int_equal(view.stats.collections, stats.collections);
  assert_int_equal(view.ring_count, stats.collections);
  const struct tarn_live_collection *last = &view.ring[(view.ring_count - 1) % TARN_LIVE_RING];
  assert_int_equal(last->number, stats.collections);
  assert_int_equal(last->pause_ns, stats.pause_last_ns);
  assert_string_equal(last->cause, "asked");
  assert_int_equal(last->generation, 2);
  assert_int_equal(view.thread_count, 1);
  assert_int_equal(view.threads[0].id, tarn_os_thread_id());
  char name[16];
  tarn_os_thread_name(name, sizeof name);
  assert_string_equal(view.threads[0].name, name);
  /* Pools are looked at less often. */
  uint64_t pools = 0;
  for (unsigned i = 0; i < 5000 && (pools = pools_in(&view)) == 0; i++, nap())
    await_view(page, &view, 40);
  assert_int_equal(pools, support_stats(world).pools);
  munmap(page, sizeof *page);
  tarn_frame_pop(self, &frame);
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  support_end(world);
  assert_int_equal(access(path, F_OK), -1);
}

static void is_off_by_itself(void **state) {
  char path[128];
  (void)state;
  tarn_world *world = support_world("");
  page_path(world, path, sizeof path);
  assert_null(world->live);
  assert_int_equal(access(path, F_OK), -1);
  support_end(world);
}

/* --- readers and writers at the same time ---------------------------------------------------- */

enum { MUTATORS = 3, ROUNDS = SUPPORT_SANITIZED ? 30 : 100 };
static _Atomic bool over;

static void *mutate(void *data) {
  tarn_world *world = data;
  for (unsigned round = 0; round < ROUNDS; round++) {
    tarn_thread *self;
    if (tarn_thread_attach(world, &self) != TARN_OK)
      return (void *)"attach";
    for (unsigned i = 0; i < 300; i++)
      if (!tarn_alloc_atomic(self, 16 + i * 8 % 3000))
        return (void *)"alloc";
    if (round % 8 == 0 && tarn_collect(self, TARN_GENERATION_FULL) != TARN_OK)
      return (void *)"collect";
    if (tarn_thread_detach(self) != TARN_OK)
      return (void *)"detach";
  }
  return NULL;
}

/* What it read is a view of one moment: its parts fit each other. */
static void *watch(void *data) {
  struct tarn_live_page *page = data;
  struct tarn_live_view view;
  uint64_t seen = 0, updates = 0;
  while (!atomic_load(&over)) {
    if (!read_view(page, &view))
      continue;
    if (view.updates < updates || view.stats.struct_size != sizeof view.stats ||
        view.thread_count > MUTATORS + 1u)
      return (void *)"torn";
    const struct tarn_live_collection *last =
        &view.ring[(view.ring_count ? view.ring_count - 1 : 0) % TARN_LIVE_RING];
    if (view.ring_count && (last->generation > 2 || last->ended_ns > tarn_os_now()))
      return (void *)"ring";
    updates = view.updates;
    seen++;
  }
  return seen ? NULL : (void *)"nothing seen";
}

static void readers_and_writers(void **state) {
  char path[128];
  pthread_t threads[MUTATORS], watcher;
  void *result;
  (void)state;
  tarn_world *world = support_world("live=1,young=64K");
  page_path(world, path, sizeof path);
  assert_true(there_in_time(path));
  struct tarn_live_page *page = map_page(path);
  assert_int_equal(pthread_create(&watcher, NULL, watch, page), 0);
  for (unsigned i = 0; i < MUTATORS; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, mutate, world), 0);
  for (unsigned i = 0; i < MUTATORS; i++) {
    assert_int_equal(pthread_join(threads[i], &result), 0);
    assert_null(result);
  }
  struct tarn_live_view view;
  await_view(page, &view, 1);
  atomic_store(&over, true);
  assert_int_equal(pthread_join(watcher, &result), 0);
  assert_null(result);
  munmap(page, sizeof *page);
  support_end(world);
}

/* --- requests -------------------------------------------------------------------------------- */

/* The number of the request. */
static uint64_t put_request(struct tarn_live_page *page, const char *path) {
  union {
    char text[TARN_LIVE_PATH];
    uint64_t words[TARN_LIVE_PATH / 8];
  } words = {{0}};
  snprintf(words.text, sizeof words.text, "%s", path);
  for (size_t i = 0; i < TARN_LIVE_PATH / 8; i++)
    __atomic_store_n(&page->path[i], words.words[i], __ATOMIC_RELAXED);
  uint64_t number = __atomic_load_n(&page->answered, __ATOMIC_ACQUIRE) + 1;
  __atomic_store_n(&page->asked, number, __ATOMIC_RELEASE);
  return number;
}

static uint64_t ask(struct tarn_live_page *page, const char *path) {
  uint64_t number = put_request(page, path);
  for (unsigned i = 0; i < 10000; i++, nap())
    if (__atomic_load_n(&page->answered, __ATOMIC_ACQUIRE) == number)
      return __atomic_load_n(&page->status, __ATOMIC_RELAXED);
  fail_msg("no answer");
  return 0;
}

static void answers_requests(void **state) {
  char path[128], directory[] = "/dev/shm/test_live_XXXXXX", file[256];
  (void)state;
  tarn_world *world = support_world("live=1");
  page_path(world, path, sizeof path);
  assert_true(there_in_time(path));
  struct tarn_live_page *page = map_page(path);
  assert_non_null(mkdtemp(directory));
  snprintf(file, sizeof file, "%s/snapshot", directory);
  assert_int_equal(ask(page, file), TARN_OK);
  struct stat status;
  assert_int_equal(stat(file, &status), 0);
  assert_int_equal(status.st_size, __atomic_load_n(&page->bytes, __ATOMIC_RELAXED));
  unlink(file);
  snprintf(file, sizeof file, "%s/no/snapshot", directory);
  assert_int_equal(ask(page, file), TARN_ESYSTEM);
  char why[sizeof page->why];
  memcpy(why, page->why, sizeof why);
  assert_string_equal(why, strerror(ENOENT));
  rmdir(directory);
  munmap(page, sizeof *page);
  support_end(world);
}

/* --- forks, and what stands in the way -------------------------------------------------------- */

/* The parent's page stays the parent's; a child that lives has its own, and leaves none. */
static void forks(void **state) {
#if TARN_TSAN
  (void)state;
  support_skip("children of threaded processes make no threads under the thread sanitizer");
#else
  char path[128];
  struct tarn_live_view view;
  int status;
  (void)state;
  tarn_world *world = support_world("live=1");
  page_path(world, path, sizeof path);
  assert_true(there_in_time(path));
  struct tarn_live_page *page = map_page(path);
  pid_t child = fork();
  if (child == 0) {
    page_path(world, path, sizeof path);
    if (!there_in_time(path))
      _exit(2);
    struct tarn_live_page *own = map_page(path);
    if (own->pid != (uint64_t)getpid() || tarn_world_destroy(world) != TARN_OK)
      _exit(3);
    _exit(access(path, F_OK) == 0 ? 4 : 0);
  }
  assert_true(child > 0);
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_int_equal(status, 0);
  assert_int_equal(access(path, F_OK), 0);
  await_view(page, &view, 0);
  assert_int_equal(page->pid, getpid());
  munmap(page, sizeof *page);
  support_end(world);
#endif
}

static void *collect(void *data) {
  tarn_thread *self;
  if (tarn_thread_attach(data, &self) != TARN_OK)
    return (void *)"attach";
  while (!atomic_load(&over))
    if (tarn_collect(self, TARN_GENERATION_FULL) != TARN_OK)
      return (void *)"collect";
  return tarn_thread_detach(self) == TARN_OK ? NULL : (void *)"detach";
}

/* Who has just collected, and tells of it, stands still for the fork all the same. */
static void forks_while_others_collect(void **state) {
  enum { THREADS = 3, FORKS = SUPPORT_SANITIZED ? 40 : 300 };
  pthread_t threads[THREADS];
  void *result;
  (void)state;
  atomic_store(&over, false);
  tarn_world *world = support_world("live=1,collect=0");
  for (unsigned i = 0; i < THREADS; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, collect, world), 0);
  for (unsigned i = 0; i < FORKS; i++) {
    int status;
    pid_t child = fork();
    if (child == 0)
      _exit(0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
  }
  atomic_store(&over, true);
  for (unsigned i = 0; i < THREADS; i++) {
    assert_int_equal(pthread_join(threads[i], &result), 0);
    assert_null(result);
  }
  support_end(world);
}

static const tarn_world *looked_for;
static bool found;

static void look(tarn_world *world) { found = found || world == looked_for; }

static _Atomic bool forked;

/* It stays until the fork, for ThreadSanitizer takes a thread that is over and not joined for one
 * that a child has lost, and knows of others that a fork leaves them behind. */
static void *destroy(void *data) {
  tarn_status status = tarn_world_destroy(data);
  while (!atomic_load(&forked))
    nap();
  return status == TARN_OK ? NULL : (void *)"destroy";
}

/* What another thread had begun the child does once more, wherever the fork found it. */
static void end_again(tarn_world *world) {
  (void)alarm(20);                /* who hangs ends so, */
  (void)signal(SIGSEGV, SIG_DFL); /* and cmocka does not go on here */
  looked_for = world;
  tarn_worlds_each(look);
  _exit(found && tarn_world_destroy(world) != TARN_OK ? 2 : 0); /* else it was gone already */
}

static void children_end_worlds_that_were_ending(void **state) {
  enum { FORKS = SUPPORT_SANITIZED ? 60 : 200 };
  (void)state;
#ifdef TARN_SANITIZE_ASAN
  /* A thread that is being born holds a lock of its allocator's, and then in the child for ever. */
  print_message("skipped: AddressSanitizer's allocator does not cope with a fork amid births\n");
  skip();
#endif
  for (unsigned i = 0; i < FORKS; i++) {
    pthread_t thread;
    void *result;
    int status;
    tarn_world *world = support_world("live=1,sweeper=0,purger=0,markers=1,snapshot-signal=usr2");
    if (i % 2)
      nap(); /* there is a page to take away */
    atomic_store(&forked, false);
    assert_int_equal(pthread_create(&thread, NULL, destroy, world), 0);
    for (uint64_t until = tarn_os_now() + i * 7919 % 500 * 1000; tarn_os_now() < until;) {
    }
    pid_t child = fork();
    if (child == 0)
      end_again(world);
    atomic_store(&forked, true);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(pthread_join(thread, &result), 0);
    assert_null(result);
  }
}

static _Atomic bool keeps, kept; /* who removes a file waits; somebody does */

/* In the place of the C library's: so a page can be on its way out for as long as a test wants. */
int unlink(const char *path) {
  while (atomic_load(&keeps)) {
    atomic_store(&kept, true);
    nap();
  }
  return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

static void a_child_ends_a_world_whose_page_was_going(void **state) {
  char path[128];
  pthread_t thread;
  void *result;
  int status;
  (void)state;
  tarn_world *world = support_world("live=1,sweeper=0,purger=0");
  page_path(world, path, sizeof path);
  assert_true(there_in_time(path));
  atomic_store(&forked, false);
  atomic_store(&keeps, true);
  assert_int_equal(pthread_create(&thread, NULL, destroy, world), 0);
  for (unsigned i = 0; i < 5000 && !atomic_load(&kept); i++)
    nap();
  assert_true(atomic_load(&kept));
  pid_t child = fork();
  if (child == 0) {
    atomic_store(&keeps, false);
    end_again(world);
  }
  atomic_store(&forked, true);
  assert_int_equal(waitpid(child, &status, 0), child);
  atomic_store(&keeps, false);
  assert_int_equal(pthread_join(thread, &result), 0);
  assert_null(result);
  assert_int_equal(status, 0);
  assert_int_equal(access(path, F_OK), -1);
}

/* A process that exits without ending its world takes the page away as well. */
static void exits(void **state) {
#if TARN_TSAN
  (void)state;
  support_skip("children of threaded processes make no threads under the thread sanitizer");
#else
  static char path[128];
  int status;
  (void)state;
  pid_t child = fork();
  if (child == 0) {
    tarn_world *world = support_world("live=1");
    page_path(world, path, sizeof path);
    exit(there_in_time(path) ? 0 : 2);
  }
  assert_true(child > 0);
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_int_equal(status, 0);
  tarn_world *world = support_world(""); /* has the number that the child's had */
  page_path_of(child, world->number, path, sizeof path);
  assert_int_equal(access(path, F_OK), -1);
  support_end(world);
#endif
}

#if !TARN_TSAN
static bool matches(const char *pattern) {
  glob_t names;
  bool some = glob(pattern, 0, NULL, &names) == 0;
  globfree(&names);
  return some;
}
#endif

/* Its own thread stands in the way of a snapshot that somebody has asked for. */
static void exits_within_a_snapshot(void **state) {
#if TARN_TSAN
  (void)state;
  support_skip("children of threaded processes make no threads under the thread sanitizer");
#else
  char directory[] = "/dev/shm/test_live_XXXXXX";
  int status;
  (void)state;
  assert_non_null(mkdtemp(directory));
  pid_t child = fork();
  if (child == 0) {
    char path[256], pattern[256];
    tarn_world *world = support_world("live=1");
    (void)support_attach(world);
    page_path(world, path, sizeof path);
    if (!there_in_time(path))
      _exit(2);
    struct tarn_live_page *page = map_page(path);
    snprintf(path, sizeof path, "%s/snapshot", directory);
    snprintf(pattern, sizeof pattern, "%s/snapshot.*.part", directory);
    (void)put_request(page, path);
    for (unsigned i = 0; i < 5000 && !matches(pattern); i++)
      nap();
    exit(matches(pattern) ? 0 : 3);
  }
  assert_true(child > 0);
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_int_equal(status, 0);
  assert_int_equal(rmdir(directory), 0); /* nothing is left */
#endif
}

/* Something of its name that is not to be removed: the world goes on without a page. */
static void no_place(void **state) {
  char path[128];
  (void)state;
  unsetenv("XDG_RUNTIME_DIR");
  tarn_world *first = support_world("");
  page_path(first, path, sizeof path);
  unsigned next = first->number + 1;
  support_end(first);
  page_path_of(getpid(), next, path, sizeof path);
  assert_int_equal(mkdir(path, 0700), 0);
  tarn_world *world = support_world("live=1");
  assert_int_equal(world->number, next);
  nap();
  tarn_thread *self = support_attach(world);
  assert_non_null(tarn_alloc_atomic(self, 10));
  assert_int_equal(tarn_collect(self, TARN_GENERATION_FULL), TARN_OK);
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  support_end(world);
  assert_int_equal(rmdir(path), 0);
}

/* A collection of the sweeper's, which nobody waits for, tells of itself when it is over: the page
 * must still be there then.  Seen by ThreadSanitizer. */
static void outlives_idle_collections(void **state) {
  (void)state;
  for (unsigned i = 0; i < 100; i++) {
    tarn_world *world = support_world("live=1,idle-collect=1ms,min-heap=64M");
    tarn_thread *self = support_attach(world);
    for (unsigned k = 0; k < 1000; k++) /* as much as the sweeper comes for */
      assert_non_null(tarn_alloc_raw(self, 8000));
    tarn_block_begin(self);
    nanosleep(&(struct timespec){0, 1000000 + 20000 * i}, NULL); /* until it may have begun one */
    tarn_block_end(self);
    assert_int_equal(tarn_thread_detach(self), TARN_OK);
    assert_int_equal(tarn_world_destroy(world), TARN_OK);
  }
}

/* Whatever the system refuses, the world is as good as one without the option. */
static void fails_softly(void **state) {
  (void)state;
#if TARN_FAULTS
  static const unsigned kinds[] = {TARN_FAULT_THREAD, TARN_FAULT_OPEN, TARN_FAULT_WRITE};
  for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
    char path[128];
    tarn_os_fault_kinds(kinds[i]);
    tarn_world *world = support_world("live=1,markers=1,sweeper=0,purger=0");
    for (unsigned k = 0; k < 20; k++)
      nap();
    page_path(world, path, sizeof path);
    assert_int_equal(access(path, F_OK), -1);
    tarn_thread *self = support_attach(world);
    assert_non_null(tarn_alloc_atomic(self, 10));
    assert_int_equal(tarn_collect(self, TARN_GENERATION_FULL), TARN_OK);
    assert_int_equal(tarn_thread_detach(self), TARN_OK);
    support_end(world);
    tarn_os_fault_kinds(0);
  }
#else
  support_skip("needs a build with TARN_FAULTS");
#endif
}

int main(void) {
  if (access("/dev/shm", W_OK) != 0)
    return 77;
  const struct CMUnitTest tests[] = {cmocka_unit_test(is_off_by_itself),
                                     cmocka_unit_test(shows_statistics),
                                     cmocka_unit_test(readers_and_writers),
                                     cmocka_unit_test(answers_requests),
                                     cmocka_unit_test(forks),
                                     cmocka_unit_test(forks_while_others_collect),
                                     cmocka_unit_test(children_end_worlds_that_were_ending),
                                     cmocka_unit_test(a_child_ends_a_world_whose_page_was_going),
                                     cmocka_unit_test(exits),
                                     cmocka_unit_test(exits_within_a_snapshot),
                                     cmocka_unit_test(no_place),
                                     cmocka_unit_test(outlives_idle_collections),
                                     cmocka_unit_test(fails_softly)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
