/* SPDX-License-Identifier: MIT */
/*
 * Profiles under the malloc door: the program runs itself with TARN_PROFILE in its environment,
 * once for each case, and reads the folded stacks that the case leaves.  With a rate of one byte
 * every block is a sample, so bytes are exact; they are those of size classes.
 *
 * What is looked for: each function of the malloc family counts for the function that called it;
 * what is freed, by whomever, is in use no more; threads, forks, and all the ways in which a
 * process can end.
 */
#include "door_test.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

/* A function that keeps its name. */
#if defined(__clang__)
#define SITE __attribute__((noinline)) static
#else
#define SITE __attribute__((noipa)) static
#endif
/* A call that is not the last thing that its function does, so that the function has a frame. */
#define KEEP_FRAME() __asm__ volatile("" ::: "memory")

#define THREADS 8

static void *kept[20000];
static unsigned kept_count;
static void keep(void *block) {
  CHECK(block && kept_count < sizeof kept / sizeof kept[0]);
  kept[kept_count++] = block;
}

/* --- allocation sites ------------------------------------------------------------------------ */

SITE void *site_malloc(size_t size) {
  void *block = malloc(size);
  KEEP_FRAME();
  return block;
}
SITE void *site_calloc(size_t size) {
  void *block = calloc(1, size);
  KEEP_FRAME();
  return block;
}
SITE void *site_realloc(void *block, size_t size) {
  block = realloc(block, size);
  KEEP_FRAME();
  return block;
}
SITE void *site_reallocarray(void *block, size_t count, size_t size) {
  block = reallocarray(block, count, size);
  KEEP_FRAME();
  return block;
}
SITE void *site_aligned_alloc(void) {
  void *block = aligned_alloc(256, 512);
  KEEP_FRAME();
  return block;
}
SITE void *site_memalign(void) {
  void *block = memalign(16, 48); /* no more than any block has */
  KEEP_FRAME();
  return block;
}
SITE void *site_posix_memalign(size_t alignment, size_t size) {
  void *block = NULL;
  CHECK(posix_memalign(&block, alignment, size) == 0);
  return block;
}
SITE void *site_valloc(void) {
  void *block = valloc(10);
  KEEP_FRAME();
  return block;
}
SITE void *site_pvalloc(void) {
  void *block = pvalloc(10);
  KEEP_FRAME();
  return block;
}
SITE void *site_strdup(void) {
  char *block = strdup("of the C library");
  KEEP_FRAME();
  return block;
}

static void all_sites(void) {
  for (int i = 0; i < 1000; i++) {
    keep(site_malloc(100));
    free(site_malloc(0));
    free(site_calloc(300));
  }
  keep(site_malloc(100000)); /* large: whole pages */
  free(site_malloc(200000));
  keep(site_calloc(100000));
  keep(
      site_realloc(site_realloc(site_realloc(NULL, 16), 14), 64)); /* the second one is the first */
  keep(site_realloc(site_realloc(NULL, 100000), 200000));          /* an eighth more */
  keep(site_reallocarray(NULL, 10, 100));
  keep(site_aligned_alloc());
  keep(site_memalign());
  keep(site_posix_memalign(64, 128));
  free(site_posix_memalign(1 << 20, 3 << 20));
  keep(site_valloc());
  keep(site_pvalloc());
  keep(site_strdup());
}

extern void *earlier[100]; /* of a library whose constructor runs before the door's */

/* --- threads --------------------------------------------------------------------------------- */

SITE void *site_thread(size_t size) {
  void *block = malloc(size);
  KEEP_FRAME();
  return block;
}

static void *blocks_of[THREADS][500];
static pthread_barrier_t barrier;

static void *fill(void *data) {
  void **blocks = data;
  for (int i = 0; i < 500; i++)
    CHECK((blocks[i] = site_thread(i % 100 ? 200 : 50000)));
  return NULL;
}
static void *fill_and_stay(void *data) {
  (void)fill(data);
  (void)pthread_barrier_wait(&barrier);
  for (int i = 0; i < 1000; i++)
    (void)pause();
  return data;
}
static void *drop(void *data) {
  void **blocks = data;
  for (int i = 0; i < 500; i++)
    free(blocks[i]);
  return NULL;
}

static void run(void *(*fn)(void *), int count) {
  pthread_t threads[THREADS];
  for (int i = 0; i < count; i++)
    CHECK(pthread_create(&threads[i], NULL, fn, blocks_of[i]) == 0);
  for (int i = 0; i < count; i++)
    CHECK(pthread_join(threads[i], NULL) == 0);
}

/* Of eight threads that are gone: two are freed by main, two by threads that never allocated, and
 * two by one that did. */
static void *fill_and_drop(void *data) {
  void *own = site_malloc(24);
  (void)drop(data);
  free(own);
  return NULL;
}
static void freed_by_others(void) {
  run(fill, THREADS);
  (void)drop(blocks_of[2]);
  (void)drop(blocks_of[3]);
  pthread_t threads[4];
  for (int i = 4; i < 8; i++)
    CHECK(pthread_create(&threads[i - 4], NULL, i < 6 ? drop : fill_and_drop, blocks_of[i]) == 0);
  for (int i = 0; i < 4; i++)
    CHECK(pthread_join(threads[i], NULL) == 0);
}

/* Also in destructors of thread-specific data, up to the last round of them and after it. */
static pthread_key_t key;
SITE void *site_destructor(void) {
  void *block = malloc(400);
  KEEP_FRAME();
  return block;
}
static void destroy(void *data) {
  uintptr_t left = (uintptr_t)data;
  free(site_destructor());
  keep(site_destructor());
  if (left > 1)
    CHECK(pthread_setspecific(key, (void *)(left - 1)) == 0);
}
static void *with_key(void *data) {
  free(site_malloc(1));
  CHECK(pthread_setspecific(key, (void *)4) == 0);
  return data;
}
static void destructors(void) {
  CHECK(pthread_key_create(&key, destroy) == 0);
  for (int i = 0; i < 10; i++)
    run(with_key, 1);
}

/* --- fork ------------------------------------------------------------------------------------ */

SITE void *site_child(void) {
  void *block = malloc(1000);
  KEEP_FRAME();
  return block;
}

static _Atomic bool over;
static void *churn(void *data) {
  while (!over)
    free(malloc(100));
  return data;
}

/* The child, of a process with threads, frees half of what its parent made, and makes some itself.
 */
static void forks(bool politely) {
  pthread_t threads[2];
  for (int i = 0; i < 100; i++)
    keep(site_malloc(1000));
  for (int i = 0; i < 2; i++)
    CHECK(pthread_create(&threads[i], NULL, churn, NULL) == 0);
  pid_t child = fork();
  if (child == 0) {
    for (int i = 0; i < 50; i++)
      free(kept[i]);
    for (int i = 0; i < 70; i++)
      keep(site_child());
    if (politely)
      exit(0);
    _exit(0);
  }
  door_wait_for(child);
  over = true;
  for (int i = 0; i < 2; i++)
    CHECK(pthread_join(threads[i], NULL) == 0);
}

/* --- ends of a process ----------------------------------------------------------------------- */

static void *exits(void *data) {
  (void)data;
  keep(site_malloc(100));
  exit(0);
}
static void exit_in_a_thread(void) {
  pthread_t thread;
  CHECK(pthread_barrier_init(&barrier, NULL, 4) == 0);
  for (int i = 0; i < 3; i++)
    CHECK(pthread_create(&thread, NULL, fill_and_stay, blocks_of[i]) == 0);
  (void)pthread_barrier_wait(&barrier);
  CHECK(pthread_create(&thread, NULL, exits, NULL) == 0);
  for (;;)
    (void)pause();
}

static void *last(void *data) {
  (void)usleep(50000);
  (void)fill(data);
  return NULL;
}
static void end_with_the_last_thread(void) {
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, last, blocks_of[0]) == 0);
  CHECK(pthread_detach(thread) == 0);
  pthread_exit(NULL);
}

/* --- shares ---------------------------------------------------------------------------------- */

SITE void *site_small(void) {
  void *block = malloc(48);
  KEEP_FRAME();
  return block;
}
SITE void *site_middle(void) {
  void *block = malloc(1024);
  KEEP_FRAME();
  return block;
}
/* A quarter in small blocks of which each is freed at once, three quarters in larger ones. */
static void shares(void) {
  for (int i = 0; i < 12000; i++) {
    for (int k = 0; k < 7; k++)
      free(site_small());
    keep(site_middle());
  }
}

static int be(const char *what) {
  (void)alarm(60 * DOOR_SLOW);
  if (strcmp(what, "sites") == 0)
    all_sites();
  else if (strcmp(what, "threads") == 0)
    run(fill, THREADS);
  else if (strcmp(what, "freed") == 0)
    freed_by_others();
  else if (strcmp(what, "destructors") == 0)
    destructors();
  else if (strcmp(what, "fork") == 0)
    forks(true);
  else if (strcmp(what, "fork-_exit") == 0)
    forks(false);
  else if (strcmp(what, "exit-thread") == 0)
    exit_in_a_thread();
  else if (strcmp(what, "last-thread") == 0)
    end_with_the_last_thread();
  else if (strcmp(what, "shares") == 0)
    shares();
  else if (strcmp(what, "_exit") == 0)
    _exit(0);
  else if (strcmp(what, "early") == 0)
    free(earlier[0]);
  else
    return 9;
  return 0;
}

/* --- the other side: what is in the files ---------------------------------------------------- */

static char directory[] = "/tmp/door-profile-XXXXXX";
static char text[1 << 20];

static void run_case(const char *what, const char *pattern, const char *rate) {
  char path[128];
  pid_t child = fork();
  if (child == 0) {
    char name[] = "profile", *arguments[] = {name, (char *)what, NULL};
    (void)snprintf(path, sizeof path, "%s/%s", directory, pattern);
    CHECK(setenv("TARN_PROFILE", path, 1) == 0 && setenv("TARN_PROFILE_RATE", rate, 1) == 0);
    (void)execv("/proc/self/exe", arguments);
    _exit(9);
  }
  door_wait_for(child);
}

static bool read_profile(const char *name) {
  char path[128];
  struct stat status;
  (void)snprintf(path, sizeof path, "%s/%s", directory, name);
  FILE *file = fopen(path, "r");
  if (!file)
    return false;
  text[fread(text, 1, sizeof text - 1, file)] = '\0';
  CHECK(fstat(fileno(file), &status) == 0 && (status.st_mode & 0777) == 0600);
  CHECK(fclose(file) == 0 && unlink(path) == 0);
  return true;
}

/* Bytes of the stacks that end in a function, or have it somewhere. */
static size_t bytes_of(const char *function, bool ends) {
  char wanted[80];
  size_t sum = 0;
  (void)snprintf(wanted, sizeof wanted, ends ? "%s;[raw] " : "%s;", function);
  for (char *line = text, *next; *line; line = next) {
    next = strchr(line, '\n');
    CHECK(next);
    *next++ = '\0';
    char *at = strstr(line, wanted), *last_blank = strrchr(line, ' ');
    CHECK(last_blank && strstr(line, ";[raw] ") + 6 == last_blank);
    while (at && at != line && at[-1] != ';')
      at = strstr(at + 1, wanted);
    if (at)
      sum += strtoull(last_blank + 1, NULL, 10);
    next[-1] = '\n';
  }
  return sum;
}

static void expect(const char *function, size_t bytes) {
  size_t found = bytes_of(function, true);
  if (found != bytes)
    dprintf(2, "%s: %zu bytes rather than %zu in\n%s", function, found, bytes, text);
  CHECK(found == bytes);
}
static void expect_about(const char *function, size_t bytes) {
  size_t found = bytes_of(function, true);
  if (found < bytes * 9 / 10 || found > bytes * 11 / 10)
    dprintf(2, "%s: about %zu bytes rather than %zu\n", function, found, bytes);
  CHECK(found >= bytes * 9 / 10 && found <= bytes * 11 / 10);
}

/* 5 of 50,000 bytes, which are 53,248 with rounding, and 495 of 200, which are 208. */
#define FILLED ((size_t)(5 * 53248 + 495 * 208))
#define PAGES(bytes) (((size_t)(bytes) + 4095) / 4096 * 4096)

static void sites_are_told(void) {
  run_case("sites", "a.folded", "1");
  CHECK(read_profile("a.folded"));
  expect("site_malloc", 1000 * (112 + 16) + PAGES(100000) + PAGES(200000));
  expect("site_calloc", 1000 * 320 + PAGES(100000));
  expect("site_realloc", 16 + 64 + PAGES(100000) + PAGES(225000));
  expect("site_reallocarray", 1024);
  expect("site_aligned_alloc", 512);
  expect("site_memalign", 48);
  expect("site_posix_memalign", 128 + (3 << 20));
  expect("site_valloc", 4096);
  expect("site_pvalloc", 4096);
  CHECK(bytes_of("site_strdup", false) == 32);
  expect("site_strdup", 0); /* the C library's function is the caller */
  CHECK(bytes_of("main", false) >= 1000 * (112 + 16 + 320));
  CHECK(!strstr(text, "malloc;[raw]") || strstr(text, "site_malloc;[raw]"));
  CHECK(!strstr(text, ";malloc;") && !strstr(text, ";realloc;") && !strstr(text, ";tarn_"));
}

static void what_is_leaked_is_in_use(void) {
  run_case("sites", "a.inuse.folded", "1");
  CHECK(read_profile("a.inuse.folded"));
  expect("site_malloc", 1000 * 112 + PAGES(100000));
  expect("site_calloc", PAGES(100000));
  expect("site_realloc", 64 + PAGES(225000));
  expect("site_posix_memalign", 128);
}

static void threads_are_counted(void) {
  run_case("threads", "t.folded", "1");
  CHECK(read_profile("t.folded"));
  expect("site_thread", THREADS * FILLED);
  run_case("freed", "t.inuse.folded", "1");
  CHECK(read_profile("t.inuse.folded"));
  expect("site_thread", 2 * FILLED);
  expect("site_malloc", 0);
  run_case("destructors", "t.folded", "1");
  CHECK(read_profile("t.folded"));
  expect("site_destructor", 10 * 4 * 2 * 416);
  run_case("destructors", "t.inuse.folded", "1");
  CHECK(read_profile("t.inuse.folded"));
  expect("site_destructor", 10 * 4 * 416);
}

/* The names of the files are PROCESS.inuse.folded; the parent's site is there in both. */
static void children_have_their_own(bool politely) {
  unsigned parents = 0, children = 0;
  run_case(politely ? "fork" : "fork-_exit", "%p.inuse.folded", "1");
  DIR *all = opendir(directory);
  CHECK(all);
  for (struct dirent *entry; (entry = readdir(all));) {
    if (entry->d_name[0] == '.')
      continue;
    CHECK(read_profile(entry->d_name));
    if (bytes_of("site_child", true)) {
      expect("site_child", 70 * 1024);
      expect("site_malloc", 50 * 1024);
      children++;
    } else {
      expect("site_malloc", 100 * 1024);
      parents++;
    }
  }
  CHECK(closedir(all) == 0);
  CHECK(parents == 1 && children == (politely ? 1u : 0u));
}

static void all_ends_write(void) {
  run_case("exit-thread", "e.inuse.folded", "1");
  CHECK(read_profile("e.inuse.folded"));
  expect("site_thread", 3 * FILLED);
  expect("site_malloc", 112);
  run_case("last-thread", "e.inuse.folded", "1");
  CHECK(read_profile("e.inuse.folded"));
  expect("site_thread", FILLED);
  run_case("_exit", "e.folded", "1");
  CHECK(!read_profile("e.folded"));
}

/* Before the library can have stacks only the caller is known; in debug builds, in which functions
 * do not jump to each other, that is the library's own. */
static void early_ones_are_told(void) {
#ifdef DOOR_CHECKS
  static const char caller[] = "tarn_door_malloc";
#else
  static const char caller[] = "site_earlier";
#endif
  run_case("early", "b.inuse.folded", "1");
  CHECK(read_profile("b.inuse.folded"));
  CHECK(bytes_of(caller, true) >= 99 * 1024);
}

static void shares_are_right(void) {
  run_case("shares", "s.folded", "2K");
  CHECK(read_profile("s.folded"));
  expect_about("site_small", (size_t)12000 * 7 * 48);
  expect_about("site_middle", (size_t)12000 * 1024);
  run_case("shares", "s.inuse.folded", "2K");
  CHECK(read_profile("s.inuse.folded"));
  CHECK(bytes_of("site_small", true) == 0);
  expect_about("site_middle", (size_t)12000 * 1024);
}

/* Nothing keeps a program from running. */
static void what_cannot_be_written_is_said(void) {
  char said[400] = "";
  int ends[2];
  CHECK(pipe(ends) == 0);
  int before = dup(2);
  CHECK(before >= 0 && dup2(ends[1], 2) == 2);
  run_case("threads", "no/where.pb", "1");
  CHECK(dup2(before, 2) == 2 && close(before) == 0 && close(ends[1]) == 0);
  ssize_t got = read(ends[0], said, sizeof said - 1);
  CHECK(got > 0 && close(ends[0]) == 0);
  CHECK(strncmp(said, "tarn: profile: ", 15) == 0 && strstr(said, "No such file or directory\n"));
}

int main(int argc, char **argv) {
  if (argc == 2)
    return be(argv[1]);
  door_required(300);
  CHECK(unsetenv("TARN_PROFILE") == 0 && mkdtemp(directory));
  sites_are_told();
  what_is_leaked_is_in_use();
  threads_are_counted();
  children_have_their_own(true);
  children_have_their_own(false);
  all_ends_write();
  early_ones_are_told();
  shares_are_right();
  what_cannot_be_written_is_said();
  CHECK(rmdir(directory) == 0); /* no other file was made */
  return 0;
}
