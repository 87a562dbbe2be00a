/* SPDX-License-Identifier: MIT */
/*
 * inspect/users.h: how many threads may still touch something that stands on a list of the process,
 * and belongs to a world: its monitor, and what shows it.
 *
 * It is taken off the list under the list's lock, when nobody uses it.  Its own thread is a user
 * from before it begins; others become users under that lock.  So nobody comes to what is off the
 * list, and the child of a fork finds on the list whatever has users, which it has to forget.
 */
#ifndef TARN_INSPECT_USERS_H
#define TARN_INSPECT_USERS_H

#include "os/os.h"

#define TARN_USERS_PATIENCE_NS ((uint64_t)1000000) /* from one look to the next */

/* Relaxed: by the lock, or by the making of the thread, it comes before whoever waits looks. */
static inline void tarn_users_enter(uint32_t *users) {
  (void)__atomic_fetch_add(users, 1, __ATOMIC_RELAXED);
}

/* The last touch of a user.  Release: pairs with the acquire below.  The memory may be gone when
 * the sleepers are woken: then nobody is, or somebody who copes with that. */
static inline void tarn_users_leave(uint32_t *users) {
  (void)__atomic_fetch_sub(users, 1, __ATOMIC_RELEASE);
  tarn_os_wake_all(users);
}

/* Under the lock, which is given away meanwhile: until there are none. */
static inline void tarn_users_await(uint32_t *users, pthread_mutex_t *lock) {
  uint32_t some;
  while ((some = __atomic_load_n(users, __ATOMIC_ACQUIRE)) != 0) {
    (void)pthread_mutex_unlock(lock);
    tarn_os_wait(users, some, TARN_USERS_PATIENCE_NS);
    (void)pthread_mutex_lock(lock);
  }
}

#endif
