/* SPDX-License-Identifier: MIT */
/*
 * os/share.c: memory that other processes of the same user may map, by a file of its own.
 */
#include "os/os.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* A new file; what had the name was left by a process that is no more, or is no business of ours:
 * then it stays, and there is no file. */
static int make_file(const char *path) {
  int file;
  (void)unlink(path);
  do
    file = tarn_os_fails(TARN_FAULT_OPEN)
               ? -1
               : open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR);
  while (file < 0 && errno == EINTR);
  return file;
}

/* Memory is taken now: a touch of a page that the file system has no room for is a SIGBUS. */
static bool give_room(int file, size_t bytes) {
  int error;
  if (tarn_os_fails(TARN_FAULT_WRITE)) {
    errno = ENOSPC;
    return false;
  }
  do
    error = posix_fallocate(file, 0, (off_t)bytes);
  while (error == EINTR);
  errno = error;
  return error == 0;
}

void *tarn_os_share(const char *path, size_t bytes) {
  int file = make_file(path);
  if (file < 0)
    return NULL;
  void *shared = MAP_FAILED;
  if (give_room(file, bytes) && !tarn_os_fails(TARN_FAULT_PAGES))
    shared = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  int error = errno;
  (void)close(file);
  if (shared != MAP_FAILED)
    return shared;
  (void)unlink(path);
  errno = error;
  return NULL;
}

const char *tarn_os_shared_directory(unsigned which) {
  if (which == 0)
    return "/dev/shm";
  const char *own = which == 1 ? secure_getenv("XDG_RUNTIME_DIR") : NULL;
  return own && own[0] == '/' ? own : NULL;
}

uint64_t tarn_os_started(void) {
  char text[1024];
  int file = tarn_os_open("/proc/self/stat");
  size_t got = file < 0 ? 0 : tarn_os_read(file, text, sizeof text - 1);
  if (file >= 0)
    (void)close(file);
  text[got] = '\0';
  /* PID (NAME) STATE ...: the 22nd; the name may hold parentheses. */
  const char *at = strrchr(text, ')');
  for (int field = 3; at && field <= 22; field++)
    at = strchr(at + 1, ' ');
  return at ? strtoull(at + 1, NULL, 10) : 0;
}

unsigned tarn_os_pid_namespace(void) {
  struct stat status;
  return stat("/proc/self/ns/pid", &status) == 0 ? (unsigned)status.st_ino : 0;
}
