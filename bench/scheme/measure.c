/* SPDX-License-Identifier: MIT */
/*
 * scheme/measure.c: runs a command and prints what the kernel recorded of it.
 *
 *   scheme_measure OUTPUT ERRORS COMMAND [ARGUMENT...]
 *
 * Its standard output and error go to the files.  The figures are of the whole process, from its
 * start to its end, all threads: wall_ns, cpu_ns, user_ns, system_ns and peak_rss_bytes.  Ends with
 * the status of the command.
 */
#include "subject.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

static void send_to(const char *path, int descriptor) {
  int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
  if (file < 0 || dup2(file, descriptor) < 0)
    subject_fail(path, strerror(errno));
  close(file);
}

static double nanoseconds(struct timeval time) {
  return (double)time.tv_sec * 1e9 + (double)time.tv_usec * 1e3;
}

int main(int argc, char **argv) {
  if (argc < 4)
    subject_fail("usage", "scheme_measure OUTPUT ERRORS COMMAND [ARGUMENT...]");
  double start = subject_clock(CLOCK_MONOTONIC);
  pid_t child = fork();
  if (child == 0) {
    send_to(argv[1], STDOUT_FILENO);
    send_to(argv[2], STDERR_FILENO);
    execvp(argv[3], argv + 3);
    subject_fail(argv[3], strerror(errno));
  }
  int status = 0;
  struct rusage usage;
  if (child < 0)
    subject_fail("scheme_measure", strerror(errno));
  while (wait4(child, &status, 0, &usage) < 0)
    if (errno != EINTR)
      subject_fail("scheme_measure", strerror(errno));
  subject_figure("wall_ns", subject_clock(CLOCK_MONOTONIC) - start);
  double user = nanoseconds(usage.ru_utime), system = nanoseconds(usage.ru_stime);
  subject_figure("cpu_ns", user + system);
  subject_figure("user_ns", user);
  subject_figure("system_ns", system);
  subject_figure("peak_rss_bytes", (double)usage.ru_maxrss * 1024);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
