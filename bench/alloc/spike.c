/* SPDX-License-Identifier: MIT */
/*
 * A spike: four threads allocate a gibibyte in small blocks and touch them, all is freed, and the
 * program idles. What is resident afterwards is the figure.
 *
 *   own      each thread frees its own blocks and stays, idle
 *   exit     each thread frees its own blocks and ends
 *   orphans  the threads end, and the main thread frees all
 *   remote   the main thread frees all while the threads are there, idle
 *
 * Blocks are freed in random order. The program's own tables are mapped and unmapped by itself.
 *
 * usage: alloc_spike own|exit|orphans|remote WAIT_MS
 */
#include "alloc.h"

#include <sys/mman.h>

enum { OWNERS = 4, BLOCK_SMALLEST = 16, BLOCK_LARGEST = 1024 };
#define OWNER_BYTES ((size_t)256 << 20)
/* Blocks of an owner: the mean size is that of the two ends. */
#define OWNER_BLOCKS (OWNER_BYTES / ((BLOCK_SMALLEST + BLOCK_LARGEST) / 2))

struct owner {
  pthread_t thread;
  unsigned index;
  bool frees, stays;
  void **blocks;
  uint64_t sum;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t done_changed = PTHREAD_COND_INITIALIZER;
static pthread_cond_t end_changed = PTHREAD_COND_INITIALIZER;
static unsigned done;
static bool end;

static void touch_new(struct owner *owner, struct prng *prng, size_t i) {
  size_t size = prng_between(prng, BLOCK_SMALLEST, BLOCK_LARGEST);
  owner->blocks[i] = must(malloc(size));
  memset(owner->blocks[i], 1, size);
  block_mark(owner->blocks[i], size, i);
}

static void drop_all(struct owner *owner) {
  for (size_t i = 0; i < OWNER_BLOCKS; i++)
    owner->sum += block_drop(owner->blocks[i]);
}

static void *owner_main(void *argument) {
  struct owner *owner = argument;
  struct prng prng = prng_seed(owner->index);
  for (size_t i = 0; i < OWNER_BLOCKS; i++)
    touch_new(owner, &prng, i);
  shuffle(owner->blocks, OWNER_BLOCKS, &prng);
  if (owner->frees)
    drop_all(owner);
  pthread_mutex_lock(&lock);
  done++;
  pthread_cond_signal(&done_changed);
  while (owner->stays && !end)
    pthread_cond_wait(&end_changed, &lock);
  pthread_mutex_unlock(&lock);
  return NULL;
}

static void *map_table(void) {
  void *table = mmap(NULL, OWNER_BLOCKS * sizeof(void *), PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return must(table == MAP_FAILED ? NULL : table);
}

static void wait_for_owners(struct owner *owners) {
  pthread_mutex_lock(&lock);
  while (done < OWNERS)
    pthread_cond_wait(&done_changed, &lock);
  pthread_mutex_unlock(&lock);
  for (unsigned i = 0; i < OWNERS; i++)
    if (!owners[i].stays)
      pthread_join(owners[i].thread, NULL);
}

static void idle(uint64_t ms) {
  struct timespec left = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
  while (nanosleep(&left, &left) != 0)
    ;
}

static void end_owners(struct owner *owners) {
  pthread_mutex_lock(&lock);
  end = true;
  pthread_cond_broadcast(&end_changed);
  pthread_mutex_unlock(&lock);
  for (unsigned i = 0; i < OWNERS; i++)
    if (owners[i].stays)
      pthread_join(owners[i].thread, NULL);
}

int main(int argc, char **argv) {
  static struct owner owners[OWNERS];
  if (argc != 3)
    subject_fail(argv[0], "usage: own|exit|orphans|remote WAIT_MS");
  allocator_check();
  bool frees = strcmp(argv[1], "own") == 0 || strcmp(argv[1], "exit") == 0;
  bool stays = strcmp(argv[1], "own") == 0 || strcmp(argv[1], "remote") == 0;
  uint64_t sum = 0;

  struct stretch stretch = stretch_begin();
  for (unsigned i = 0; i < OWNERS; i++) {
    owners[i] = (struct owner){.index = i, .frees = frees, .stays = stays, .blocks = map_table()};
    thread_start(&owners[i].thread, owner_main, &owners[i]);
  }
  wait_for_owners(owners);
  for (unsigned i = 0; i < OWNERS; i++) {
    if (!frees)
      drop_all(&owners[i]);
    munmap(owners[i].blocks, OWNER_BLOCKS * sizeof(void *));
    sum += owners[i].sum;
  }
  stretch_end(stretch, (double)OWNERS * (double)OWNER_BLOCKS);
  idle(subject_number(argv[2]));
  subject_figure("resident_bytes", subject_resident());
  figure_check(sum);
  end_owners(owners);
  return 0;
}
