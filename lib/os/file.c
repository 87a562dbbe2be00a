/* SPDX-License-Identifier: MIT */
/*
 * os/file.c: reading small files, and writing messages.  No state.
 */
#include "os/os.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* --- reading --------------------------------------------------------------------------------- */

/* Before a call: it fails without being made. */
static bool read_fails(void) {
  return tarn_os_fails(TARN_FAULT_READ_AGAIN) || tarn_os_fails(TARN_FAULT_READ);
}
static bool open_fails(void) {
  return tarn_os_fails(TARN_FAULT_READ_AGAIN) || tarn_os_fails(TARN_FAULT_OPEN);
}

int tarn_os_open(const char *path) {
  int file;
  do /* what a name stands for may be a pipe by now: nobody shall wait for its other end */
    file = open_fails() ? -1 : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  while (file < 0 && errno == EINTR);
  return file;
}

size_t tarn_os_read(int file, void *to, size_t room) {
  ssize_t got;
  do
    got = read_fails() ? -1 : read(file, to, room);
  while (got < 0 && errno == EINTR);
  return got > 0 ? (size_t)got : 0;
}

size_t tarn_os_read_at(int file, void *to, size_t room, uint64_t offset) {
  ssize_t got;
  do
    got = read_fails() ? -1 : pread(file, to, room, (off_t)offset);
  while (got < 0 && errno == EINTR);
  return got > 0 ? (size_t)got : 0;
}

/* In a program without its standard files: what it writes to one of them is not to go to ours. */
static int move_up(int file) {
  int moved = open_fails() ? -1 : fcntl(file, F_DUPFD_CLOEXEC, STDERR_FILENO + 1), kept = errno;
  (void)close(file);
  errno = kept;
  return moved;
}

static int open_to_write(const char *path, int flags, mode_t mode) {
  int file;
  do
    file = open_fails() ? -1 : open(path, flags | O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY, mode);
  while (file < 0 && errno == EINTR);
  return file >= 0 && file <= STDERR_FILENO ? move_up(file) : file;
}

/* Which of the standard files goes to this one; -1: none does. */
static int standard_one(const struct stat *own) {
  struct stat other;
  for (int i = STDOUT_FILENO; i <= STDERR_FILENO; i++)
    if (fstat(i, &other) == 0 && other.st_dev == own->st_dev && other.st_ino == own->st_ino)
      return i;
  return -1;
}

/*
 * What the program's own standard output or error goes to, perhaps by a name like /dev/stdout, is
 * neither emptied nor written over: we go on where the program has come to, and so does it then.
 */
static int share_or_empty(int file, bool append) {
  struct stat own;
  int kept, shared = -1, one;
  if (fstat(file, &own) != 0 || !S_ISREG(own.st_mode))
    return file;
  if ((one = standard_one(&own)) >= 0)
    shared = open_fails() ? -1 : fcntl(one, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  else if (append || ftruncate(file, 0) == 0)
    return file;
  kept = errno;
  (void)close(file);
  errno = kept;
  return shared;
}

bool tarn_os_is_own_file(int file) {
  struct stat own;
  int kept = errno;
  bool is = fstat(file, &own) == 0 && S_ISREG(own.st_mode) && standard_one(&own) < 0;
  errno = kept;
  return is;
}

#define MODE_OWN (S_IRUSR | S_IWUSR)
#define MODE_SHARED (MODE_OWN | S_IRGRP | S_IROTH)

static int create(const char *path, bool append, mode_t mode) {
  int file = open_to_write(path, append ? O_APPEND : 0, mode);
  return file < 0 ? file : share_or_empty(file, append);
}

int tarn_os_create(const char *path, bool append) { return create(path, append, MODE_OWN); }

/* Has somebody else this lock?  A file system without locks has none.  It is the open file's, and
 * goes when the last process that has it closes it. */
static bool is_taken(int file) {
  return flock(file, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
}

void tarn_os_leave(int file) {
  int kept = errno;
  (void)flock(file, LOCK_UN);
  errno = kept;
}

int tarn_os_create_alone(const char *path) {
  int file = open_to_write(path, 0, MODE_OWN);
  if (file < 0)
    return file;
  if (!tarn_os_is_own_file(file) || !is_taken(file))
    return share_or_empty(file, false);
  (void)close(file);
  errno = EBUSY;
  return -1;
}

int tarn_os_create_shared(const char *path) { return create(path, false, MODE_SHARED); }

int tarn_os_create_new(const char *path, bool shared) {
  tarn_os_remove(path);
  return open_to_write(path, O_EXCL | O_NOFOLLOW, shared ? MODE_SHARED : MODE_OWN);
}

bool tarn_os_rename(const char *from, const char *to) {
  return !tarn_os_fails(TARN_FAULT_WRITE) && rename(from, to) == 0;
}

void tarn_os_remove(const char *path) {
  int kept = errno;
  (void)unlink(path);
  errno = kept;
}

bool tarn_os_is_file(const char *path) {
  struct stat found;
  return lstat(path, &found) != 0 || S_ISREG(found.st_mode);
}

bool tarn_os_close(int file) {
  /* Interrupted: it is closed all the same, and may be another's by now. */
  return close(file) == 0 || errno == EINTR;
}

/* --- writing --------------------------------------------------------------------------------- */

static ssize_t write_some(int file, const char *from, size_t size) {
  if (tarn_os_fails(TARN_FAULT_WRITE_AGAIN) || tarn_os_fails(TARN_FAULT_WRITE))
    return -1;
  if (size > 1 && tarn_os_fails(TARN_FAULT_WRITE_SHORT))
    size /= 2;
  return write(file, from, size);
}

/* False: nobody takes any more; errno says why. */
static bool write_all(int file, const char *from, size_t size) {
  while (size > 0) {
    ssize_t written = write_some(file, from, size);
    if (written < 0 && errno == EINTR)
      continue;
    if (written <= 0)
      return false;
    from += written;
    size -= (size_t)written;
  }
  return true;
}

/* These two (nobody reads any more; the limit for a file's size) come to the thread that writes, so
 * they are held back there, and taken when one has come; but one that waits already is the
 * program's, and ours is lost in it. */
static bool hold_back(sigset_t *held, sigset_t *before) {
  static const int numbers[] = {SIGPIPE, SIGXFSZ};
  sigset_t pending;
  (void)sigemptyset(held);
  if (sigpending(&pending) != 0)
    return false;
  for (unsigned i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
    if (!sigismember(&pending, numbers[i]))
      (void)sigaddset(held, numbers[i]);
  return pthread_sigmask(SIG_BLOCK, held, before) == 0;
}

static void take_signal(const sigset_t *held) {
  const struct timespec now = {0, 0};
  while (sigtimedwait(held, NULL, &now) < 0 && errno == EINTR) {
  }
}

/* All of it at an offset, or at the end of what was written if there is none. */
static bool put(int file, const char *from, size_t size, const uint64_t *offset) {
  ssize_t done;
  if (!offset)
    return write_all(file, from, size);
  do
    done = pwrite(file, from, size, (off_t)*offset);
  while (done < 0 && errno == EINTR);
  return done == (ssize_t)size;
}

static bool put_quietly(int file, const char *from, size_t size, const uint64_t *offset) {
  int kept = errno;
  sigset_t held, before;
  bool holds = hold_back(&held, &before), good = put(file, from, size, offset);
  if (!good)
    kept = errno;
  if (!good && (kept == EPIPE || kept == EFBIG) && holds)
    take_signal(&held);
  if (holds)
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
  errno = kept;
  return good;
}

bool tarn_os_write(int file, const char *from, size_t size) {
  return put_quietly(file, from, size, NULL);
}

void tarn_os_write_at(int file, const char *from, size_t size, uint64_t offset) {
  int kept = errno;
  (void)put_quietly(file, from, size, &offset);
  errno = kept;
}
