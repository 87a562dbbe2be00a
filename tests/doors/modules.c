/* SPDX-License-Identifier: MIT */
/*
 * A shared object that allocates in its constructor, its destructor and in thread-local
 * destructors is opened and closed, by several threads.  The first argument is its path.
 */
#include "door_test.h"
#include <pthread.h>

static const char *path;

static void *open_and_close(void *data) {
  for (int i = 0; i < 100; i++) {
    void *module = dlopen(path, RTLD_NOW);
    if (!module)
      dprintf(2, "%s\n", dlerror());
    CHECK(module);
    char *(*give)(void) = NULL;
    *(void **)(void *)&give = dlsym(module, "module_give");
    CHECK(give);
    char *text = give();
    CHECK(strcmp(text, "from the module") == 0);
    CHECK(dlclose(module) == 0);
    free(text); /* its memory outlives it */
  }
  return data;
}

int main(int count, char **arguments) {
  pthread_t threads[3];
  door_required(60);
  CHECK(count == 2);
  path = arguments[1];
  (void)open_and_close(NULL);
  for (int i = 0; i < 3; i++)
    CHECK(pthread_create(&threads[i], NULL, open_and_close, NULL) == 0);
  for (int i = 0; i < 3; i++)
    CHECK(pthread_join(threads[i], NULL) == 0);
  void *nothing = dlopen("there is no such file", RTLD_NOW);
  CHECK(!nothing && dlerror());
  return 0;
}
