/* SPDX-License-Identifier: MIT */
/*
 * Strings: equal ones are the same object, for all threads.
 *
 * They are leaves, in the atomic heap, with characters as elements.  Collections of cycles never
 * look at them, and free the ones that only garbage refers to by counting down, as everybody does.
 *
 * The table knows its strings and does not count: a string dies with its last user.  Between the
 * moment in which a count falls to zero and that in which `free` takes the string out, others find
 * it there; `tarn_ref_living` then leaves it alone, and they make another one.
 *
 * The locks.  A thread that holds one comes to no safepoint, or everybody would wait for who waits
 * for the lock: so nothing is allocated under one, and no reference is given up, for that may bring
 * us to string_free, which takes one.  What is missing is made without the lock, and given up again
 * if another thread was faster.
 */
#include "object.h"
#include <pthread.h>
#include <string.h>

#define CHAINS (1u << 15) /* a runtime's would grow */
#define LOCKS 64u

const tarn_type *string_type;
static struct string *chains[CHAINS];
static pthread_mutex_t locks[LOCKS];

static pthread_mutex_t *lock_of(uint32_t hash) { return &locks[hash % LOCKS]; }

/* When the last reference has gone, with the world running, or at the end of the world. */
static void string_free(tarn_world *world, void *object) {
  struct string *string = object;
  uint32_t hash = string->object.hash;
  (void)world;
  pthread_mutex_lock(lock_of(hash));
  struct string **place = &chains[hash % CHAINS];
  while (*place != NULL && *place != string)
    place = &(*place)->next;
  if (*place == string) /* else it never came to stand there */
    *place = string->next;
  pthread_mutex_unlock(lock_of(hash));
}

void string_start(tarn_world *world, tarn_status *status) {
  string_type = type_make(world,
                          (tarn_type_spec){.name = "string",
                                           .size = sizeof(struct string),
                                           .element_size = 1,
                                           .count_word = offsetof(struct string, length) / 8,
                                           .free = string_free},
                          status);
  for (unsigned i = 0; i < LOCKS; i++)
    pthread_mutex_init(&locks[i], NULL);
}

/* Under the lock: the string with a reference for the caller, or NULL. */
static struct string *find(tarn_thread *self, uint32_t hash, const char *text, size_t length) {
  struct string *string = chains[hash % CHAINS];
  while (string != NULL &&
         !(string->object.hash == hash && string->length == length &&
           memcmp(string->text, text, length) == 0 && tarn_ref_living(self, string)))
    string = string->next;
  return string;
}

static uint32_t hash_of(const char *text, size_t length) {
  uint32_t hash = 0x811c9dc5u;
  for (size_t i = 0; i < length; i++)
    hash = (hash ^ (unsigned char)text[i]) * 0x01000193u;
  return (hash ^ hash >> 15) * 0x2c1b3c6du;
}

struct string *string_of(tarn_thread *self, const char *text, size_t length) {
  uint32_t hash = hash_of(text, length);
  pthread_mutex_lock(lock_of(hash));
  struct string *found = find(self, hash, text, length);
  pthread_mutex_unlock(lock_of(hash));
  if (found != NULL)
    return found;

  struct string *fresh = ref(tarn_new_array(self, string_type, length));
  if (fresh == NULL)
    return NULL;
  fresh->object.hash = hash;
  memcpy(fresh->text, text, length);
  pthread_mutex_lock(lock_of(hash));
  found = find(self, hash, text, length);
  if (found == NULL) {
    fresh->next = chains[hash % CHAINS];
    chains[hash % CHAINS] = fresh;
  }
  pthread_mutex_unlock(lock_of(hash));
  if (found == NULL)
    return fresh;
  tarn_unref(self, fresh);
  return found;
}

size_t string_count(void) {
  size_t count = 0;
  for (unsigned i = 0; i < CHAINS; i++) {
    pthread_mutex_lock(lock_of(i));
    for (const struct string *string = chains[i]; string != NULL; string = string->next)
      count++;
    pthread_mutex_unlock(lock_of(i));
  }
  return count;
}
