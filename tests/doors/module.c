/* SPDX-License-Identifier: MIT */
/* The shared object that modules.c opens. */
#include "door_test.h"

static void *own;
static _Thread_local char *text; /* dynamic thread-local storage: the dynamic linker allocates it */
static _Thread_local char room[3000];

__attribute__((constructor)) static void begin(void) {
  own = calloc(100, 100);
  CHECK(own);
}

__attribute__((destructor)) static void end(void) {
  free(own);
  void *block = malloc(50000);
  CHECK(block);
  free(block);
}

char *module_give(void);
__attribute__((visibility("default"))) char *module_give(void) {
  room[0]++;
  text = strdup("from the module");
  CHECK(text);
  return text;
}
