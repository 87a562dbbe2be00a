/* SPDX-License-Identifier: MIT */
/*
 * os/task.c: what the kernel says that another thread of the process is doing.
 *
 * From /proc/self/task/ID: `stat` has its state, `syscall` the system call that it sleeps in,
 * `wchan` where in the kernel.  A file that is not there or may not be read leaves its part out.
 */
#include "os/os.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The beginning of a file of the thread, without the end of its line; "" if there is none. */
static void read_file(int id, const char *file, char *text, size_t size) {
  char path[64];
  size_t got = 0;
  (void)snprintf(path, sizeof path, "/proc/self/task/%d/%s", id, file);
  int descriptor = tarn_os_open(path);
  if (descriptor >= 0) {
    got = tarn_os_read(descriptor, text, size - 1);
    (void)close(descriptor);
  }
  text[got] = '\0';
  text[strcspn(text, "\n")] = '\0';
}

/* Those in which a thread may sleep for long. */
static const struct {
  long number;
  const char *name;
} calls[] = {
    {SYS_read, "read"},
    {SYS_write, "write"},
    {SYS_readv, "readv"},
    {SYS_writev, "writev"},
    {SYS_pread64, "pread64"},
    {SYS_pwrite64, "pwrite64"},
    {SYS_openat, "openat"},
    {SYS_close, "close"},
    {SYS_ioctl, "ioctl"},
    {SYS_fcntl, "fcntl"},
    {SYS_flock, "flock"},
    {SYS_fsync, "fsync"},
    {SYS_futex, "futex"},
    {SYS_nanosleep, "nanosleep"},
    {SYS_clock_nanosleep, "clock_nanosleep"},
#ifdef SYS_poll
    {SYS_poll, "poll"},
    {SYS_select, "select"},
    {SYS_epoll_wait, "epoll_wait"},
    {SYS_pause, "pause"},
#endif
    {SYS_ppoll, "ppoll"},
    {SYS_pselect6, "pselect6"},
    {SYS_epoll_pwait, "epoll_pwait"},
    {SYS_accept, "accept"},
    {SYS_accept4, "accept4"},
    {SYS_connect, "connect"},
    {SYS_recvfrom, "recvfrom"},
    {SYS_recvmsg, "recvmsg"},
    {SYS_sendto, "sendto"},
    {SYS_sendmsg, "sendmsg"},
    {SYS_wait4, "wait4"},
    {SYS_waitid, "waitid"},
    {SYS_rt_sigsuspend, "rt_sigsuspend"},
    {SYS_rt_sigtimedwait, "rt_sigtimedwait"},
    {SYS_mmap, "mmap"},
    {SYS_munmap, "munmap"},
    {SYS_mprotect, "mprotect"},
    {SYS_madvise, "madvise"},
    {SYS_unlinkat, "unlinkat"},
};

/* "", or " in NAME" of what `syscall` begins with: a number, -1 outside of calls, or "running". */
static void name_call(const char *line, char *text, size_t size) {
  char *end;
  long number = strtol(line, &end, 10);
  text[0] = '\0';
  if (end == line || number < 0)
    return;
  for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
    if (calls[i].number == number) {
      (void)snprintf(text, size, " in %s", calls[i].name);
      return;
    }
  (void)snprintf(text, size, " in system call %ld", number);
}

static const char *name_state(char state) {
  switch (state) {
  case 'R':
    return "running";
  case 'S':
    return "sleeping";
  case 'D':
    return "sleeping uninterruptibly";
  case 'T':
    return "stopped by a signal";
  case 't':
    return "stopped by a debugger";
  case 'Z':
  case 'X':
    return "gone";
  default:
    return "in an unknown state";
  }
}

void tarn_os_thread_state(int id, char *text, size_t size) {
  char line[512], call[64] = "", where[64] = "";
  read_file(id, "stat", line, sizeof line);
  /* ID (NAME) STATE ...; the name may hold parentheses. */
  const char *behind = strrchr(line, ')');
  if (!behind || behind[1] != ' ') {
    (void)snprintf(text, size, "state unknown");
    return;
  }
  char state = behind[2];
  if (state != 'R') {
    read_file(id, "syscall", line, sizeof line);
    name_call(line, call, sizeof call);
    read_file(id, "wchan", where, sizeof where);
  }
  bool known = where[0] && strcmp(where, "0") != 0;
  (void)snprintf(text, size, "%s%s%s%s%s", name_state(state), call, known ? " (" : "",
                 known ? where : "", known ? ")" : "");
}
