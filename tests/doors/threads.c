/* SPDX-License-Identifier: MIT */
/*
 * Threads that come and go: thousands one after the other, hundreds at once; destructors of thread
 * keys that allocate and free in every round, and leave nothing behind, so that a process ends with
 * its last thread; blocks that other threads free, also after their thread is gone; and threads
 * that only free.
 */
#include "door_test.h"
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>

#define MANY 300

static void start(pthread_t *thread, void *(*fn)(void *), void *data) {
  CHECK(pthread_create(thread, NULL, fn, data) == 0);
}
static void *join(pthread_t thread) {
  void *result = NULL;
  CHECK(pthread_join(thread, &result) == 0);
  return result;
}

static void *allocate_some(void *data) {
  void *blocks[50];
  for (size_t i = 0; i < 50; i++) {
    CHECK((blocks[i] = malloc(i * 20)));
    door_fill(blocks[i], i * 20, 1);
  }
  for (size_t i = 0; i < 50; i++) {
    CHECK(door_filled(blocks[i], i * 20, 1));
    free(blocks[i]);
  }
  return data;
}

static void one_after_the_other(void) {
  size_t early = 0;
  for (int i = 0; i < 4000; i++) {
    pthread_t thread;
    start(&thread, allocate_some, NULL);
    (void)join(thread);
    if (i == 500)
      early = mallinfo2().arena;
  }
  CHECK(mallinfo2().arena <= early + ((size_t)1 << 20)); /* what they had is used again */
}

static pthread_barrier_t barrier;
static void *wait_for_all(void *data) {
  (void)allocate_some(NULL);
  (void)pthread_barrier_wait(&barrier); /* all are there, each with its own memory */
  return allocate_some(data);
}
static void many_at_once(void) {
  static pthread_t threads[MANY];
  pthread_attr_t small;
  CHECK(pthread_attr_init(&small) == 0 && pthread_attr_setstacksize(&small, 65536) == 0);
  CHECK(pthread_barrier_init(&barrier, NULL, MANY) == 0);
  for (int i = 0; i < MANY; i++)
    CHECK(pthread_create(&threads[i], &small, wait_for_all, NULL) == 0);
  for (int i = 0; i < MANY; i++)
    (void)join(threads[i]);
  (void)pthread_barrier_destroy(&barrier);
}

/* --- destructors of keys --------------------------------------------------------------------- */

static pthread_key_t keys[40];
static _Atomic unsigned destroyed;

struct value {
  unsigned rounds; /* left: the destructor sets its key again */
  pthread_key_t key;
  char *text;
};

static void destroy(void *data) {
  struct value *value = data;
  CHECK(strcmp(value->text, "value") == 0);
  free(value->text);
  CHECK((value->text = strdup("value")));
  free(allocate_some(malloc(100)));
  destroyed++;
  if (value->rounds-- > 0) {
    CHECK(pthread_setspecific(value->key, value) == 0);
    return;
  }
  free(value->text);
  free(value);
}

static void *set_keys(void *data) {
  const unsigned *rounds = data;
  for (int i = 0; i < 40; i++) { /* those above 32 make the C library allocate */
    struct value *value = malloc(sizeof *value);
    CHECK(value && (value->text = strdup("value")));
    value->rounds = *rounds;
    value->key = keys[i];
    CHECK(pthread_setspecific(keys[i], value) == 0);
  }
  return NULL;
}

static void destructors(void) {
  for (int i = 0; i < 40; i++)
    CHECK(pthread_key_create(&keys[i], destroy) == 0);
  for (unsigned rounds = 0; rounds < 4; rounds++)
    for (int i = 0; i < 100 / DOOR_PART; i++) {
      pthread_t thread;
      destroyed = 0;
      start(&thread, set_keys, &rounds);
      (void)join(thread);
      CHECK(destroyed == 40 * (rounds + 1));
    }
}

static size_t resident(void) {
  unsigned long pages = 0;
  FILE *file = fopen("/proc/self/statm", "r");
  CHECK(file && fscanf(file, "%*u %lu", &pages) == 1);
  CHECK(fclose(file) == 0);
  return pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* Threads that allocate up to the end of their last round. */
static void late_threads(int count) {
  static unsigned all = 3;
  for (int i = 0; i < count; i++) {
    pthread_t thread;
    start(&thread, set_keys, &all);
    (void)join(thread);
  }
}

static void late_threads_leave_nothing(void) {
  late_threads(100);
  size_t before = resident();
  late_threads(1000 / DOOR_PART);
  size_t now = resident();
  if (now > before + ((size_t)8 << 20))
    dprintf(2, "%zu bytes resident, %zu before\n", now, before);
  CHECK(now <= before + ((size_t)8 << 20));
}

/* No thread of the library's own keeps a process whose threads have all ended. */
static void a_process_ends_with_its_threads(void) {
  pid_t child = fork();
  if (child == 0) {
    late_threads(2);
    pthread_exit(NULL);
  }
  door_wait_for(child);
}

/* A key whose value is freed by a thread that never allocated. */
static void *only_free(void *data) {
  void **blocks = data;
  for (int i = 0; i < 1000; i++)
    free(blocks[i]);
  return NULL;
}
static void *make_blocks(void *data) {
  void **blocks = data;
  for (int i = 0; i < 1000; i++) {
    size_t size = i % 100 == 0 ? 100000 : (size_t)i;
    CHECK((blocks[i] = malloc(size)));
    door_fill(blocks[i], size, 2);
  }
  return data;
}
static void freed_by_others(void) {
  static void *blocks[1000];
  for (int round = 0; round < 200 / DOOR_PART; round++) {
    pthread_t maker, other;
    start(&maker, make_blocks, blocks);
    (void)join(maker); /* it is gone, its blocks stay */
    for (int i = 0; i < 1000; i++)
      CHECK(door_filled(blocks[i], i % 100 == 0 ? 100000 : (size_t)i, 2));
    start(&other, only_free, blocks);
    (void)join(other);
  }
}

/* Two threads that hand blocks to each other all the time. */
static _Atomic(void *) hands[64];
static void *exchange(void *data) {
  uint32_t random = *(const uint32_t *)data;
  for (int i = 0; i < 300000 / DOOR_PART; i++) {
    size_t size = 8 + door_random(&random) % (i % 1000 == 0 ? 200000 : 600);
    size_t *block = malloc(size);
    CHECK(block);
    *block = size;
    door_fill((char *)block + 8, (size < 40 ? size : 40) - 8, (unsigned)size);
    block = atomic_exchange(&hands[door_random(&random) % 64], block);
    if (!block)
      continue;
    CHECK(door_filled((char *)block + 8, (*block < 40 ? *block : 40) - 8, (unsigned)*block));
    if (i % 3 == 0)
      CHECK((block = realloc(block, *block * 2)));
    free(block);
  }
  return NULL;
}
static void exchanges(void) {
  pthread_t threads[4];
  static uint32_t seeds[4] = {11, 22, 33, 44};
  for (int i = 0; i < 4; i++)
    start(&threads[i], exchange, &seeds[i]);
  for (int i = 0; i < 4; i++)
    (void)join(threads[i]);
  for (int i = 0; i < 64; i++)
    free(atomic_exchange(&hands[i], NULL));
}

int main(void) {
  door_required(100);
  one_after_the_other();
  many_at_once();
  destructors();
  a_process_ends_with_its_threads();
  late_threads_leave_nothing();
  freed_by_others();
  exchanges();
  return 0;
}
