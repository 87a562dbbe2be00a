/* SPDX-License-Identifier: MIT */
/*
 * fork while other threads are in the middle of malloc, hundreds of times: children use the memory
 * they inherited, free blocks of threads that are not there, start threads, fork again, exit.  Some
 * threads of the parent are inside the C library's streams, which it locks before a fork.  Also
 * vfork and posix_spawn.
 */
#include "door_test.h"
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <sys/wait.h>

#define FORKS 200
#define SLOTS 256

struct block {
  size_t size;
  unsigned char bytes[];
};
static _Atomic(struct block *) slots[SLOTS];
static _Atomic bool over;

static struct block *make(uint32_t *random) {
  uint32_t kind = door_random(random) % 200;
  size_t size = sizeof(struct block) + door_random(random) % (kind == 0   ? 300000
                                                              : kind < 20 ? 9000
                                                                          : 400);
  struct block *block = kind % 7 == 0 ? calloc(1, size) : malloc(size);
  CHECK(block);
  block->size = size;
  door_fill(block->bytes, size - sizeof *block, (unsigned)size);
  return block;
}
static void drop(struct block *block) {
  if (!block)
    return;
  CHECK(door_filled(block->bytes, block->size - sizeof *block, (unsigned)block->size));
  free(block);
}

static void step(uint32_t *random) {
  drop(atomic_exchange(&slots[door_random(random) % SLOTS], make(random)));
}

static void *work(void *data) {
  uint32_t random = *(const uint32_t *)data;
  while (!over)
    step(&random);
  return NULL;
}

/* getline allocates while it has the stream's lock; fflush(NULL) waits for that with the lock of
 * the list of streams, which fork takes. */
static void *read_lines(void *data) {
  while (!over) {
    char *line = NULL;
    size_t room = 0;
    FILE *file = fopen("/proc/self/maps", "r");
    CHECK(file);
    while (getline(&line, &room, file) > 0) {
      free(line);
      line = NULL;
      room = 0;
    }
    free(line);
    CHECK(fclose(file) == 0);
  }
  return data;
}
static void *flush(void *data) {
  while (!over) {
    (void)fflush(NULL);
    (void)usleep(100);
  }
  return data;
}

/* Threads that are just born or dying when the process forks. */
static void *nothing(void *data) {
  uint32_t random = 99;
  for (int i = 0; i < 20; i++)
    step(&random);
  return data;
}
static void *storm(void *data) {
  while (!over) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, nothing, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
  }
  return data;
}

static void wait_for(pid_t child) {
  int status = 1;
  CHECK(child > 0 && waitpid(child, &status, 0) == child);
  if (status != 0)
    dprintf(2, "a child's status is %#x\n", (unsigned)status);
  CHECK(status == 0);
}

static void be_child(int number) {
  uint32_t random = (uint32_t)number + 1;
  (void)alarm(20); /* a child that hangs is a failure */
  for (int i = 0; i < SLOTS; i++)
    drop(atomic_exchange(&slots[i], NULL));
  for (int i = 0; i < 800; i++)
    step(&random);
  if (number % 4 == 0) {
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
      CHECK(pthread_create(&threads[i], NULL, nothing, NULL) == 0);
    for (int i = 0; i < 2; i++)
      CHECK(pthread_join(threads[i], NULL) == 0);
  }
  if (number % 8 == 1) {
    pid_t child = fork();
    if (child == 0) {
      nothing(NULL);
      _exit(0);
    }
    wait_for(child);
  }
  if (number % 2)
    exit(0);
  _exit(0);
}

extern char **environ;

static void spawn(void) {
  char *arguments[] = {(char *)"true", NULL};
  pid_t child;
  CHECK(posix_spawnp(&child, "true", NULL, NULL, arguments, environ) == 0);
  wait_for(child);
  child = vfork();
  if (child == 0) {
    (void)execlp("true", "true", (char *)NULL);
    _exit(9);
  }
  wait_for(child);
}

int main(void) {
  static uint32_t seeds[4] = {1, 2, 3, 4};
  pthread_t threads[7];
  door_required(100);
  for (int i = 0; i < 4; i++)
    CHECK(pthread_create(&threads[i], NULL, work, &seeds[i]) == 0);
  CHECK(pthread_create(&threads[4], NULL, read_lines, NULL) == 0);
  CHECK(pthread_create(&threads[5], NULL, flush, NULL) == 0);
  CHECK(pthread_create(&threads[6], NULL, storm, NULL) == 0);
  for (int i = 0; i < FORKS; i++) {
    pid_t child = fork();
    if (child == 0)
      be_child(i);
    wait_for(child);
    if (i % 20 == 0)
      spawn();
  }
  over = true;
  for (int i = 0; i < 7; i++)
    CHECK(pthread_join(threads[i], NULL) == 0);
  for (int i = 0; i < SLOTS; i++)
    drop(atomic_exchange(&slots[i], NULL));
  return 0;
}
