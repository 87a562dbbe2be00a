/* SPDX-License-Identifier: MIT */
/*
 * fork while other threads are in the middle of malloc, hundreds of times: children use the memory
 * they inherited, free blocks of threads that are not there, start threads, fork again, exit.  Some
 * threads of the parent are inside the C library's streams, which it locks before a fork.  Also
 * vfork and posix_spawn.
 *
 * And what threads that are not there had free is used by children, and by their children; so are
 * the pools that they, and the thread that forks, had emptied and kept.
 */
#include "door_test.h"
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <sys/wait.h>

#define FORKS (200 / DOOR_PART)
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

static void drop_all(void) {
  for (int i = 0; i < SLOTS; i++)
    drop(atomic_exchange(&slots[i], NULL));
}

static void be_child(int number) {
  uint32_t random = (uint32_t)number + 1;
  struct block *own[200];
  (void)alarm(20); /* a child that hangs is a failure */
  if (number % 3)
    drop_all();
  /* Else what was inherited must keep its contents while memory is taken beside it. */
  for (int i = 0; i < 200; i++)
    own[i] = make(&random);
  for (int i = 0; i < 800; i++)
    step(&random);
  for (int i = 0; i < 200; i++)
    drop(own[i]);
  if (number % 3 == 1)
    drop_all();
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

/* --- what others had ------------------------------------------------------------------------- */

#define DEPTH 3
#define OWNERS 3
#define OWNED 20000

static struct block *owned[DEPTH][OWNERS][OWNED];
static struct owner { int depth, number; } heirs[DEPTH][OWNERS];
static pthread_barrier_t stages[DEPTH];

static struct block *make_small(uint32_t *random) {
  size_t size = sizeof(struct block) + door_random(random) % 1000;
  struct block *block = malloc(size);
  CHECK(block);
  block->size = size;
  door_fill(block->bytes, size - sizeof *block, (unsigned)size);
  return block;
}

static bool stays(int i) { return i * 7919 % 5 == 0; }

/* Allocates; frees some of its own, and, when all are that far, some of its neighbour's. */
static void *own(void *data) {
  const struct owner *owner = data;
  struct block **mine = owned[owner->depth][owner->number];
  struct block **others = owned[owner->depth][(owner->number + 1) % OWNERS];
  uint32_t random = (uint32_t)(owner->depth * 10 + owner->number + 1);
  for (int i = 0; i < OWNED; i++)
    mine[i] = make_small(&random);
  for (int i = 0; i < OWNED; i++)
    if (i % 2 && !stays(i))
      drop(mine[i]);
  (void)pthread_barrier_wait(&stages[owner->depth]);
  for (int i = 0; i < OWNED; i++)
    if (i % 2 == 0 && !stays(i))
      drop(others[i]);
  (void)pthread_barrier_wait(&stages[owner->depth]);
  (void)pthread_barrier_wait(&stages[owner->depth]); /* in the parent only */
  return NULL;
}

static size_t live_bytes(void) {
  size_t bytes = 0;
  for (int i = 0; i < DEPTH * OWNERS * OWNED; i++) {
    struct block *block = (&owned[0][0][0])[i];
    if (block && stays(i % OWNED)) {
      CHECK(door_filled(block->bytes, block->size - sizeof *block, (unsigned)block->size));
      bytes += block->size;
    }
  }
  return bytes;
}

/* As much again as the others had freed. */
static void *spend(void *data) {
  static struct block *blocks[OWNERS * OWNED];
  uint32_t random = 77;
  size_t count = 0, live = live_bytes(), before = mallinfo2().arena;
  for (int i = 0; i < OWNERS * OWNED; i++)
    if (!stays(i % OWNED))
      blocks[count++] = make_small(&random);
  size_t after = mallinfo2().arena;
  if (after > before + ((size_t)4 << 20))
    dprintf(2, "pools had %zu bytes before, and %zu after\n", before, after);
  CHECK(after <= before + ((size_t)4 << 20));
  CHECK(live_bytes() == live);
  while (count > 0)
    drop(blocks[--count]);
  return data;
}

static void inherit(int depth);

static void be_heir(int depth) {
  (void)alarm(60);
  if (depth % 2) { /* by a thread, so that what it has is left behind in turn */
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, spend, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
  } else {
    (void)spend(NULL);
  }
  if (depth + 1 < DEPTH)
    inherit(depth + 1);
  for (int i = 0; i < DEPTH * OWNERS * OWNED; i++)
    if (stays(i % OWNED))
      drop((&owned[0][0][0])[i]);
  (void)malloc_trim(0);
  size_t left = mallinfo2().arena;
  if (left > (size_t)8 << 20)
    dprintf(2, "pools have %zu bytes though all is freed\n", left);
  CHECK(left <= (size_t)8 << 20);
  _exit(0);
}

static void inherit(int depth) {
  pthread_t threads[OWNERS];
  CHECK(pthread_barrier_init(&stages[depth], NULL, OWNERS + 1) == 0);
  for (int i = 0; i < OWNERS; i++) {
    heirs[depth][i] = (struct owner){depth, i};
    CHECK(pthread_create(&threads[i], NULL, own, &heirs[depth][i]) == 0);
  }
  (void)pthread_barrier_wait(&stages[depth]);
  (void)pthread_barrier_wait(&stages[depth]);
  pid_t child = fork();
  if (child == 0)
    be_heir(depth);
  wait_for(child);
  (void)pthread_barrier_wait(&stages[depth]);
  for (int i = 0; i < OWNERS; i++)
    CHECK(pthread_join(threads[i], NULL) == 0);
}

/* --- pools that were empty -------------------------------------------------------------------- */

#define KEEPERS 3
#define KEPT 200 /* blocks of 4 KiB: fewer than a thread keeps pools for */
#define PAGE 4096

static pthread_barrier_t kept_stages;

static void take_and_leave(unsigned seed) {
  void *blocks[KEPT];
  for (int i = 0; i < KEPT; i++) {
    CHECK((blocks[i] = malloc(PAGE)));
    door_fill(blocks[i], PAGE, seed + (unsigned)i);
  }
  for (int i = 0; i < KEPT; i++) {
    CHECK(door_filled(blocks[i], PAGE, seed + (unsigned)i));
    free(blocks[i]);
  }
}

static void *keep(void *data) {
  take_and_leave(1);
  (void)pthread_barrier_wait(&kept_stages);
  (void)pthread_barrier_wait(&kept_stages); /* in the parent only */
  take_and_leave(2);
  return data;
}

/* The class in which it is used again need not be the one that it had. */
static size_t used_size;

/* All that was kept, at once; half of it by another thread. */
static void *use_kept(void *again) {
  static void *blocks[2][2 * KEPT];
  void **mine = blocks[again ? 0 : 1];
  int count = (int)(2 * KEPT * PAGE / used_size);
  pthread_t thread;
  for (int i = 0; i < count; i++) {
    CHECK((mine[i] = calloc(1, used_size)));
    for (size_t k = 0; k < used_size / 8; k++)
      CHECK(((uint64_t *)mine[i])[k] == 0);
    door_fill(mine[i], used_size, (unsigned)(i + (again ? 3 : 5)));
  }
  if (again)
    CHECK(pthread_create(&thread, NULL, use_kept, NULL) == 0 && pthread_join(thread, NULL) == 0);
  for (int i = 0; i < count; i++) {
    CHECK(door_filled(mine[i], used_size, (unsigned)(i + (again ? 3 : 5))));
    free(mine[i]);
  }
  return NULL;
}

static void be_heir_of_kept(bool trims) {
  size_t before = mallinfo2().arena;
  (void)alarm(60);
  if (trims)
    (void)malloc_trim(0);
  (void)use_kept(&before);
  size_t after = mallinfo2().arena;
  if (after > before)
    dprintf(2, "pools had %zu bytes before, and %zu after\n", before, after);
  CHECK(after <= before);
  _exit(0);
}

static void inherit_kept(void) {
  pthread_t threads[KEEPERS];
  CHECK(pthread_barrier_init(&kept_stages, NULL, KEEPERS + 1) == 0);
  for (int i = 0; i < KEEPERS; i++)
    CHECK(pthread_create(&threads[i], NULL, keep, NULL) == 0);
  (void)pthread_barrier_wait(&kept_stages);
  take_and_leave(7);
  for (int way = 0; way < 4; way++) {
    used_size = way / 2 ? 2 * PAGE : PAGE;
    pid_t child = fork();
    if (child == 0)
      be_heir_of_kept(way % 2);
    wait_for(child);
    take_and_leave(9);
  }
  (void)pthread_barrier_wait(&kept_stages);
  for (int i = 0; i < KEEPERS; i++)
    CHECK(pthread_join(threads[i], NULL) == 0);
}

int main(void) {
  static uint32_t seeds[4] = {1, 2, 3, 4};
  pthread_t threads[7];
  door_required(100);
  inherit_kept();
  inherit(0);
  for (int i = 0; i < OWNERS * OWNED; i++)
    if (stays(i % OWNED))
      drop((&owned[0][0][0])[i]);
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
