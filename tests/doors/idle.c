/* SPDX-License-Identifier: MIT */
/*
 * An idle program gives its memory back within two delays of its last free: a library's own thread
 * does it, in programs that have threads anyway, with none of them ending and with all of them, and
 * whoever freed a block: its owner, which sleeps then, or another thread.  A program with one
 * thread keeps to one.  The thread is no reason for a process not to end, and a child of a fork
 * begins without; where it was asked for it has its own with its first allocation that is new.  The
 * environment has TARN_PURGE_DELAY=500ms.
 */
#include "door_test.h"
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <time.h>

#define MIB ((size_t)1 << 20)
#define THREADS 4
#define BLOCKS 52000 /* about 50 MiB a thread, 200 in all */
#define SIZE 1000
#define PEAK (190 * MIB)
#define MOST (64 * MIB) /* afterwards */
#define TWO_DELAYS_MS 1000
/* For the purger to get a processor of a busy machine, and for the system to take the memory. */
#define SLACK_MS 500

struct owner {
  pthread_t thread;
  char **blocks;
  uint64_t freed_at; /* ms */
};
static struct owner owners[THREADS];
static pthread_barrier_t filled, freed, over;

static uint64_t now_ms(void) {
  struct timespec time;
  CHECK(clock_gettime(CLOCK_MONOTONIC, &time) == 0);
  return (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_nsec / 1000000;
}

/* Allocates nothing, for it is asked while the program shall be idle. */
static size_t resident(void) {
  char text[200] = "", *rest;
  int file = open("/proc/self/statm", O_RDONLY);
  CHECK(file >= 0 && read(file, text, sizeof text - 1) > 0 && close(file) == 0);
  (void)strtoul(text, &rest, 10);
  return strtoul(rest, NULL, 10) * (size_t)sysconf(_SC_PAGESIZE);
}

static unsigned purgers(void) {
  unsigned count = 0;
  DIR *tasks = opendir("/proc/self/task");
  CHECK(tasks);
  for (struct dirent *entry; (entry = readdir(tasks));) {
    char path[300], name[32] = "";
    (void)snprintf(path, sizeof path, "/proc/self/task/%s/comm", entry->d_name);
    FILE *file = fopen(path, "r");
    if (file) {
      (void)fgets(name, sizeof name, file);
      (void)fclose(file);
    }
    count += strcmp(name, "tarn-purger\n") == 0;
  }
  CHECK(closedir(tasks) == 0);
  return count;
}

/* At once, or after a moment: a thread has its name a little later than it is made. */
static bool has_purger(void) {
  for (int i = 0; i < 200 && purgers() == 0; i++)
    (void)usleep(10000);
  return purgers() == 1;
}

static void fill(struct owner *owner) {
  owner->blocks = malloc(BLOCKS * sizeof *owner->blocks);
  CHECK(owner->blocks);
  for (int i = 0; i < BLOCKS; i++) {
    CHECK((owner->blocks[i] = malloc(SIZE)));
    memset(owner->blocks[i], 1, SIZE);
  }
}
enum way { OWN, OWN_AND_EXIT, ORPHANS, REMOTE, MIXED, MIXED_BEFORE, WAYS };
static enum way way;

static bool stay(void) { return way != OWN_AND_EXIT && way != ORPHANS; }
static bool free_themselves(void) { return way == OWN || way == OWN_AND_EXIT; }
/* Every third block by the thread itself, before the others or afterwards, and then it sleeps. */
static bool free_some(void) { return way == MIXED || way == MIXED_BEFORE; }

static void drop(struct owner *owner) {
  for (int i = 0; i < BLOCKS; i++)
    if (!free_some() || i % 3)
      free(owner->blocks[i]);
  if (!free_some())
    free(owner->blocks);
  owner->freed_at = now_ms();
}
static void drop_some(struct owner *owner) {
  for (int i = 0; i < BLOCKS; i += 3)
    free(owner->blocks[i]);
  owner->freed_at = now_ms();
}

static void *own(void *data) {
  fill(data);
  (void)pthread_barrier_wait(&filled);
  (void)pthread_barrier_wait(&filled); /* what there is then has been looked at */
  if (free_themselves())
    drop(data);
  if (way == MIXED_BEFORE)
    drop_some(data);
  (void)pthread_barrier_wait(&freed);
  if (way == MIXED) {
    (void)pthread_barrier_wait(&freed); /* the others have freed theirs */
    drop_some(data);
    (void)pthread_barrier_wait(&freed);
  }
  if (stay())
    (void)pthread_barrier_wait(&over);
  return NULL;
}

static void join_all(void) {
  for (int i = 0; i < THREADS; i++)
    CHECK(pthread_join(owners[i].thread, NULL) == 0);
}

/* Nothing is allocated or freed meanwhile. */
static void wait_until_small(void) {
  uint64_t last = 0, now;
  size_t size;
  for (int i = 0; i < THREADS; i++)
    last = owners[i].freed_at > last ? owners[i].freed_at : last;
  do {
    (void)usleep(20000);
    now = now_ms(); /* first: what is found small later than this may have been so in time */
    size = resident();
  } while (size > MOST && now < last + TWO_DELAYS_MS + SLACK_MS);
  if (size > MOST)
    dprintf(2, "way %d: %zu bytes resident %u ms after the last free\n", (int)way, size,
            (unsigned)(now - last));
  CHECK(size <= MOST);
}

static void spike(void) {
  CHECK(pthread_barrier_init(&filled, NULL, THREADS + 1) == 0 &&
        pthread_barrier_init(&freed, NULL, THREADS + 1) == 0 &&
        pthread_barrier_init(&over, NULL, THREADS + 1) == 0);
  for (int i = 0; i < THREADS; i++)
    CHECK(pthread_create(&owners[i].thread, NULL, own, &owners[i]) == 0);
  (void)pthread_barrier_wait(&filled);
  CHECK(resident() >= PEAK);
  (void)pthread_barrier_wait(&filled);
  (void)pthread_barrier_wait(&freed);
  if (!stay())
    join_all();
  for (int i = 0; i < THREADS && !free_themselves(); i++)
    drop(&owners[i]);
  for (int i = 0; i < 2 && way == MIXED; i++)
    (void)pthread_barrier_wait(&freed);
  wait_until_small();
  CHECK(has_purger());
  if (stay()) {
    (void)pthread_barrier_wait(&over);
    join_all();
  }
  for (int i = 0; i < THREADS && free_some(); i++)
    free(owners[i].blocks);
}

static void *nothing(void *data) {
  free(malloc(100));
  return data;
}

/* The main thread goes first; the process ends with the last thread all the same. */
static void *last(void *data) {
  free(malloc(100));
  (void)usleep(300000);
  free(malloc(100));
  return data;
}

static void be_child(int number) {
  pthread_t thread;
  CHECK(purgers() == 0);
  free(malloc(100));
  CHECK(purgers() == 0);
  CHECK(pthread_create(&thread, NULL, number ? last : nothing, NULL) == 0);
  CHECK(has_purger());
  if (number)
    pthread_exit(NULL);
  CHECK(pthread_join(thread, NULL) == 0);
  _exit(0);
}

int main(int argc, char **argv) {
  pthread_t thread;
  door_required(100);
  free(malloc(100000));
  if (argc > 1) { /* what TARN_PURGER says */
    bool alone = strcmp(argv[1], "alone") == 0;
    CHECK(alone ? has_purger() : purgers() == 0);
    CHECK(pthread_create(&thread, NULL, nothing, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(purgers() == (alone ? 1 : 0));
    pid_t child = fork();
    if (child == 0) {
      CHECK(alone || purgers() == 0); /* looking allocates, which may be enough to make it */
      for (int i = 0; i < 100; i++)
        CHECK(malloc(4000));
      CHECK(alone ? has_purger() : purgers() == 0);
      _exit(0);
    }
    door_wait_for(child);
    return 0;
  }
  CHECK(purgers() == 0);
  for (way = OWN; way < WAYS; way++)
    spike();
  for (int i = 0; i < 4; i++) {
    pid_t child = fork();
    if (child == 0)
      be_child(i % 2);
    door_wait_for(child);
  }
  return 0;
}
