/* SPDX-License-Identifier: MIT */
/*
 * world/straggler.c: see world/straggler.h.
 */
#include "world/straggler.h"
#include "world/world.h"
#include <stdio.h>
#include <string.h>

#define PLACE_SIZE 400

/* "; last seen at PLACE", or "". */
static void tell_place(const char *before, uintptr_t address, char *text, size_t size) {
  text[0] = '\0';
  if (address == 0)
    return;
  size_t length = (size_t)snprintf(text, size, "%s", before);
  tarn_os_code_place(address, text + length, size - length);
}

void tarn_straggler_tell(struct tarn_mutator *mutator, uint64_t so_far) {
  char name[sizeof mutator->name], state[160], seen[PLACE_SIZE], hold[PLACE_SIZE];
  pthread_mutex_t *lock = &mutator->world->stop.names_lock;
  (void)pthread_mutex_lock(lock);
  memcpy(name, mutator->name, sizeof name);
  (void)pthread_mutex_unlock(lock);
  tarn_os_thread_state(mutator->id, state, sizeof state);
  /* Relaxed: the thread is running, what it wrote last is as good as any. */
  tell_place("; last seen at ", __atomic_load_n(&mutator->came_by, __ATOMIC_RELAXED), seen,
             sizeof seen);
  tell_place(", in a hold that began at ", __atomic_load_n(&mutator->held_at, __ATOMIC_RELAXED),
             hold, sizeof hold);
  tarn_os_say("tarn: thread \"%s\" (%d) has not come to a safepoint for %llu ms: %s%s%s", name,
              mutator->id, (unsigned long long)(so_far / 1000000u), state, seen, hold);
}
