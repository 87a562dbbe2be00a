/* SPDX-License-Identifier: MIT */
/*
 * What the door does about errors of the program and odd options: each in a child, whose end and
 * last words are looked at.  The first argument says whether this is a checking or hardened build
 * (1) or not.
 */
#include "door_test.h"
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

static bool checking;
static char said[32768]; /* the help is some 8 KiB */

static void keep_words(int from) {
  size_t length = 0;
  ssize_t got;
  while ((got = read(from, said + length, sizeof said - 1 - length)) > 0)
    length += (size_t)got;
  said[length] = '\0';
  (void)close(from);
}

/* Runs `fn` in a child, or this program again with a variable set. */
static int child(void (*fn)(void), const char *variable, const char *argument) {
  int ends[2], status = 1;
  CHECK(pipe(ends) == 0);
  pid_t pid = fork();
  CHECK(pid >= 0);
  if (pid == 0) {
    struct rlimit none = {0, 0};
    (void)setrlimit(RLIMIT_CORE, &none);
    (void)dup2(ends[1], 2);
    (void)close(ends[0]);
    if (fn) {
      fn();
      _exit(0);
    }
    CHECK(putenv((char *)(uintptr_t)variable) == 0);
    (void)execl("/proc/self/exe", "misuse", argument, (char *)NULL);
    _exit(9);
  }
  (void)close(ends[1]);
  keep_words(ends[0]);
  CHECK(waitpid(pid, &status, 0) == pid);
  return status;
}

static void *volatile hidden; /* the compiler must not see what is done */

static void free_twice(void) {
  hidden = malloc(50);
  free(hidden);
  free(hidden);
}
static void free_large_twice(void) {
  hidden = malloc(500000);
  free(hidden);
  free(hidden);
}
static void free_inside(void) {
  hidden = (char *)malloc(50) + 16;
  free(hidden);
}
static void free_inside_large(void) {
  hidden = (char *)malloc(500000) + 4096;
  free(hidden);
}
static void *page(void) {
  void *address = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(address != MAP_FAILED);
  return address;
}
static void free_foreign(void) {
  hidden = page();
  free(hidden);
}
static void realloc_foreign(void) {
  hidden = page();
  hidden = realloc(hidden, 10);
}
static void write_after_free(void) {
  uintptr_t *block = malloc(64);
  hidden = block;
  free(block);
  block = hidden;
  block[0] = 4711;
  for (int i = 0; i < 5000; i++)
    hidden = malloc(64);
}

/* Not its first word, and not its second. */
static void write_late_after_free(void) {
  unsigned char *block = malloc(64);
  hidden = block;
  free(block);
  block = hidden;
  block[40] = 1;
  for (int i = 0; i < 5000; i++)
    free(malloc(64));
}
static void *free_it(void *block) {
  free(block);
  return NULL;
}
static void free_twice_elsewhere(void) {
  pthread_t thread;
  hidden = malloc(50);
  for (int i = 0; i < 2; i++)
    CHECK(pthread_create(&thread, NULL, free_it, hidden) == 0 && pthread_join(thread, NULL) == 0);
}

/* --- where a pool has become empty, and its memory went back while its thread keeps it ----------
 */

#define KEPT 64u /* more than a pool's, and fewer than a thread keeps */
static void *kept[KEPT];

/* The first one's pool is empty afterwards, and none of the thread's bins has it. */
static void leave_pools_empty(void) {
  for (unsigned i = 0; i < KEPT; i++)
    CHECK((kept[i] = malloc(8192)));
  for (unsigned i = 0; i < KEPT; i++)
    free(kept[i]);
}
static void *trim(void *data) { /* not its own thread's */
  CHECK(malloc_trim(0) == 1);
  return data;
}
static void trim_elsewhere(void) {
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, trim, NULL) == 0 && pthread_join(thread, NULL) == 0);
}
static void free_purged_twice(void) {
  leave_pools_empty();
  trim_elsewhere();
  free(kept[0]);
}
static void realloc_purged(void) {
  leave_pools_empty();
  trim_elsewhere();
  free(realloc(kept[0], 20000));
}
static void free_purged_twice_elsewhere(void) {
  pthread_t thread;
  leave_pools_empty();
  trim_elsewhere();
  CHECK(pthread_create(&thread, NULL, free_it, kept[0]) == 0 && pthread_join(thread, NULL) == 0);
}

static void *leave_and_wait(void *ready) {
  leave_pools_empty();
  CHECK(write(*(int *)ready, "", 1) == 1);
  (void)pause();
  return NULL;
}
/* In a child, which does not have the thread that had the pools. */
static void free_others_twice(bool purges) {
  int ends[2], status = 0;
  char byte;
  pthread_t thread;
  CHECK(pipe(ends) == 0 && pthread_create(&thread, NULL, leave_and_wait, &ends[1]) == 0);
  CHECK(read(ends[0], &byte, 1) == 1);
  pid_t pid = fork();
  CHECK(pid >= 0);
  if (pid == 0) {
    if (purges)
      CHECK(malloc_trim(0) == 1);
    free(kept[0]);
    _exit(0);
  }
  CHECK(waitpid(pid, &status, 0) == pid);
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT)
    abort();
}
static void free_others_twice_in_a_child(void) { free_others_twice(false); }
static void free_others_purged_twice_in_a_child(void) { free_others_twice(true); }

static void aborts(void (*fn)(void), const char *words) {
  int status = child(fn, NULL, NULL);
  if (!WIFSIGNALED(status) || !strstr(said, words))
    dprintf(2, "status %#x, expected an abort with \"%s\"; said: %s\n", (unsigned)status, words,
            said);
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT && strstr(said, words));
}

static void starts(const char *variable, const char *words) {
  int status = child(NULL, variable, "work");
  if (status != 0 || !strstr(said, words))
    dprintf(2, "%s: status %#x, said: %s\n", variable, (unsigned)status, said);
  CHECK(status == 0 && strstr(said, words));
}

/* In the program that is run again. */
static int work(const char *how) {
  if (strcmp(how, "limit") == 0) {
    errno = 0;
    CHECK(!malloc((size_t)40 << 20) && errno == ENOMEM);
    size_t count = 0;
    while (malloc(10000))
      count++;
    CHECK(errno == ENOMEM && count > 500 && count < 4000);
    return 0;
  }
  for (size_t size = 0; size < 100000; size += 100)
    free(calloc(1, size));
  return 0;
}

int main(int count, char **arguments) {
  door_required(60);
  CHECK(count == 2);
  if (strcmp(arguments[1], "work") == 0 || strcmp(arguments[1], "limit") == 0)
    return work(arguments[1]);
  checking = strcmp(arguments[1], "1") == 0;
  aborts(free_twice, "freed twice");
  aborts(free_twice_elsewhere, "freed twice");
  aborts(free_purged_twice, "freed twice");
  aborts(realloc_purged, "freed twice");
  aborts(free_purged_twice_elsewhere, "freed twice");
  aborts(free_others_twice_in_a_child, "freed twice");
  aborts(free_others_purged_twice_in_a_child, "freed twice");
  aborts(free_large_twice, "not the start of a block");
  aborts(realloc_foreign, "this malloc did not allocate it");
  aborts(write_after_free, "a free block was written to");
  /* An own small block's start is compared in those builds only, but a large one's always. */
  aborts(free_inside_large, "not the start of a block");
  if (checking)
    aborts(free_inside, "not the start of a block");
  if (checking)
    aborts(free_foreign, "this malloc did not allocate it");
  else
    CHECK(child(free_foreign, NULL, NULL) == 0 && said[0] == '\0');
  if (checking)
    aborts(write_late_after_free, "a free block was written to");
  starts("TARN_HELP=1", "hard-limit");
  starts("TARN_SHOW_CONFIG=1", "configuration");
  starts("TARN_OPTIONS=strict=1,growth=nonsense", "growth");
  starts("TARN_MAX_THREADS=1", "");
  starts("TARN_ADDRESS_SPACE=64M", "");
  CHECK(child(NULL, "TARN_HARD_LIMIT=32M", "limit") == 0);
  return 0;
}
