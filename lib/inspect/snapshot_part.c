/* SPDX-License-Identifier: MIT */
/*
 * inspect/snapshot_part.c: the file that a snapshot is written to before it has its name; see
 * snapshot.h.
 *
 * Parts that threads of the library's own write stand on a list, for when the process exits nobody
 * waits for these: what they have written so far is taken away then, and nothing new begins.  The
 * list's lock is also held while a part is made, named or removed, so whoever exits finds all of
 * them, as files that have no other name and get none.  A thread of the program's that takes a
 * snapshot is the program's to wait for.
 */
#include "inspect/snapshot.h"
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

/* No other lock is taken while it is held. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct tarn_snapshot_part *parts;
static bool leaving; /* under the lock: the process exits */

/* No two parts have the same name. */
static bool give_name(struct tarn_snapshot_part *part) {
  static _Atomic unsigned number;
  /* Relaxed: only a name. */
  unsigned own = atomic_fetch_add_explicit(&number, 1, memory_order_relaxed) + 1;
  int length =
      snprintf(part->name, sizeof part->name, "%s.%d-%u.part", part->path, (int)getpid(), own);
  if (length > 0 && (size_t)length < sizeof part->name)
    return true;
  errno = ENAMETOOLONG;
  return false;
}

/* The file is made, or the writer has failed. */
static void make(struct tarn_snapshot_part *part, struct tarn_out *out) {
  tarn_out_begin_file(out, part->name, TARN_OUT_NEW);
  part->made = out->status == TARN_OK;
}

static tarn_status finish(const struct tarn_snapshot_part *part, tarn_status status) {
  if (status == TARN_OK && !tarn_os_rename(part->name, part->path))
    status = TARN_ESYSTEM;
  if (status != TARN_OK && part->made)
    tarn_os_remove(part->name);
  return status;
}

/* --- of the program's threads, and of the library's ------------------------------------------ */

bool tarn_snapshot_part_begin(struct tarn_snapshot_part *part, struct tarn_out *out,
                              const char *path, bool listed) {
  *part = (struct tarn_snapshot_part){.path = path, .listed = listed};
  if (!give_name(part))
    return false;
  if (!listed) {
    make(part, out);
    return true;
  }
  (void)pthread_mutex_lock(&lock);
  bool begins = !leaving;
  if (begins) {
    make(part, out);
    part->next = parts;
    parts = part;
  }
  (void)pthread_mutex_unlock(&lock);
  errno = begins ? errno : ECANCELED;
  return begins;
}

tarn_status tarn_snapshot_part_end(struct tarn_snapshot_part *part, tarn_status status) {
  if (!part->listed)
    return finish(part, status);
  (void)pthread_mutex_lock(&lock);
  struct tarn_snapshot_part **at = &parts;
  while (*at && *at != part)
    at = &(*at)->next;
  if (*at) {
    *at = part->next;
    status = finish(part, status);
  } else { /* the process exits: it is removed, and was told of */
    status = TARN_ESYSTEM;
    errno = ECANCELED;
  }
  (void)pthread_mutex_unlock(&lock);
  return status;
}

/* --- the end of the process, and forks ------------------------------------------------------- */

/* As late as can be: a program's handlers for exit may wait for a snapshot. */
__attribute__((destructor)) static void at_exit(void) {
  (void)pthread_mutex_lock(&lock);
  leaving = true;
  for (struct tarn_snapshot_part *part = parts; part; part = part->next) {
    if (part->made)
      tarn_os_remove(part->name);
    tarn_os_say("tarn: no snapshot in %s: the process exits", part->path);
  }
  parts = NULL;
  (void)pthread_mutex_unlock(&lock);
}

/* The parts are the parent's.  Somebody may have had the lock. */
void tarn_snapshot_after_fork(void) {
  static pid_t done_in; /* whose second handler finds a thread that the first one has made */
  if (done_in == getpid())
    return;
  done_in = getpid();
  (void)pthread_mutex_init(&lock, NULL);
  parts = NULL;
  leaving = false;
}
