/* SPDX-License-Identifier: MIT */
/*
 * Allocation before main, in fork handlers that were registered before everybody else's and after,
 * in functions called at exit, and in destructors.
 */
#include "door_test.h"
#include <pthread.h>
#include <sys/wait.h>

static void *from_preinit, *from_constructor;
static unsigned prepared, parents, children;

static void *fresh(size_t size) {
  void *block = malloc(size);
  CHECK(block);
  door_fill(block, size, 5);
  return block;
}
static void drop(void *block, size_t size) {
  CHECK(door_filled(block, size, 5));
  free(block);
}

/* Small and large blocks; one of before is freed, one stays for the next handler. */
static void *passed_on, *large_passed_on;
static void work(void) {
  char *zeroed = calloc(10, 100), *array = NULL;
  CHECK(zeroed && zeroed[999] == 0);
  free(zeroed);
  for (size_t i = 1; i < 40; i++)
    CHECK((array = realloc(array, i * 20)));
  free(array);
  drop(fresh(500), 500);
  void *block = NULL;
  CHECK(posix_memalign(&block, 256, 300) == 0 && (uintptr_t)block % 256 == 0);
  free(block);
  if (passed_on)
    drop(passed_on, 200);
  free(large_passed_on);
  passed_on = fresh(200);
  large_passed_on = NULL;
}
static void prepare(void) { prepared++, work(); }
static void in_parent(void) { parents++, work(); }
static void in_child(void) { children++, work(); }

static void in_preinit(int count, char **arguments, char **environment) {
  (void)count;
  (void)arguments;
  (void)environment;
  CHECK(pthread_atfork(prepare, in_parent, in_child) == 0); /* before any allocation */
  for (int i = 0; i < 40; i++) {                            /* setting a later key allocates */
    pthread_key_t key;
    CHECK(pthread_key_create(&key, NULL) == 0);
  }
  from_preinit = fresh(1000);
}
__attribute__((section(".preinit_array"), used)) static void (*preinit)(int, char **,
                                                                        char **) = in_preinit;

__attribute__((constructor)) static void construct(void) { from_constructor = fresh(100000); }
__attribute__((destructor)) static void destroy(void) { drop(fresh(3000), 3000); }

static void at_exit(void) {
  drop(from_constructor, 100000);
  drop(fresh(70), 70);
}

static void *allocate(void *data) {
  for (int i = 0; i < 1000; i++)
    drop(fresh(40), 40);
  return data;
}

static void fork_once(void) {
  int status = 1;
  large_passed_on = fresh(200000); /* freed between the handlers */
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    pthread_t thread;
    CHECK(children == 2 && pthread_create(&thread, NULL, allocate, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    exit(0); /* with all that runs at exit */
  }
  CHECK(waitpid(child, &status, 0) == child && status == 0);
}

int main(void) {
  door_required(30);
  drop(from_preinit, 1000);
  CHECK(atexit(at_exit) == 0);
  CHECK(pthread_atfork(prepare, in_parent, in_child) == 0);
  for (int i = 0; i < 20; i++)
    fork_once();
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, allocate, NULL) == 0 && pthread_join(thread, NULL) == 0);
  for (int i = 0; i < 20; i++)
    fork_once();
  CHECK(prepared == 80 && parents == 80);
  return 0;
}
