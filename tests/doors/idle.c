/* SPDX-License-Identifier: MIT */
/*
 * An idle program gives its memory back: a library's own thread does it, in programs that have
 * threads anyway, with none of them ending and with all of them.  A program with one thread keeps
 * to one.  The thread is no reason for a process not to end, and a child of a fork begins without.
 * The environment has TARN_PURGE_DELAY=200ms.
 */
#include "door_test.h"
#include <dirent.h>
#include <pthread.h>

#define BLOCKS 60000
#define SIZE 1000

struct owner {
  pthread_t thread;
  char **blocks;
};
static struct owner owners[2];
static pthread_barrier_t filled, over;

static size_t resident(void) {
  unsigned long pages = 0;
  FILE *file = fopen("/proc/self/statm", "r");
  CHECK(file && fscanf(file, "%*u %lu", &pages) == 1);
  CHECK(fclose(file) == 0);
  return pages * (size_t)sysconf(_SC_PAGESIZE);
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
static void drop(struct owner *owner) {
  for (int i = 0; i < BLOCKS; i++)
    free(owner->blocks[i]);
  free(owner->blocks);
}

enum way { OWN, OWN_AND_EXIT, ORPHANS, REMOTE, WAYS };
static enum way way;

static void *own(void *data) {
  fill(data);
  if (way == OWN || way == OWN_AND_EXIT)
    drop(data);
  (void)pthread_barrier_wait(&filled);
  if (way == OWN || way == REMOTE)
    (void)pthread_barrier_wait(&over);
  return NULL;
}

static void spike(void) {
  bool stay = way == OWN || way == REMOTE;
  size_t before = resident();
  CHECK(pthread_barrier_init(&filled, NULL, 3) == 0 && pthread_barrier_init(&over, NULL, 3) == 0);
  for (int i = 0; i < 2; i++)
    CHECK(pthread_create(&owners[i].thread, NULL, own, &owners[i]) == 0);
  (void)pthread_barrier_wait(&filled);
  for (int i = 0; i < 2 && !stay; i++)
    CHECK(pthread_join(owners[i].thread, NULL) == 0);
  for (int i = 0; i < 2 && (way == ORPHANS || way == REMOTE); i++)
    drop(&owners[i]);
  /* Two delays, and as much as a busy machine takes; nothing is allocated or freed meanwhile. */
  size_t most = before + ((size_t)8 << 20), now = 0;
  for (int i = 0; i < 20; i++) {
    (void)usleep(400000);
    if ((now = resident()) <= most)
      break;
  }
  if (now > most)
    dprintf(2, "way %d: %zu bytes resident, %zu before\n", (int)way, now, before);
  CHECK(now <= most);
  CHECK(has_purger());
  if (stay) {
    (void)pthread_barrier_wait(&over);
    for (int i = 0; i < 2; i++)
      CHECK(pthread_join(owners[i].thread, NULL) == 0);
  }
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
