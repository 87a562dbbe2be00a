/* SPDX-License-Identifier: MIT */
/*
 * stress/watchdog.c: see stress/watchdog.h.
 *
 * What is told comes from /proc, from tarn_stats_get (which takes no lock that a stop holds), and
 * from gdb, where it is installed and may look: the stacks of all threads say what the rest only
 * hints at.
 */
#include "watchdog.h"
#include "common.h"
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define THREADS_TOLD 200u

extern char **environ;

/* Release and acquire: who finds the world here finds it made. */
static _Atomic(tarn_world *) watched;

unsigned stress_patience_for(unsigned threads) {
  long cores = sysconf(_SC_NPROCESSORS_ONLN);
  unsigned each = cores > 0 ? (threads + (unsigned)cores - 1) / (unsigned)cores : threads;
  unsigned seconds = 60;
  if (STRESS_SANITIZED)
    seconds += 60;
#if defined(TARN_ZEAL) && TARN_ZEAL
  seconds *= 2;
#endif
#if defined(TARN_DELAYS) && TARN_DELAYS
  seconds *= 2;
#endif
  return each > 4 ? seconds + seconds * (each - 4) / 8 : seconds;
}

void stress_watch_world(tarn_world *world) {
  atomic_store_explicit(&watched, world, memory_order_release);
}

/* --- what the kernel says of a thread -------------------------------------------------------- */

struct thread {
  int id;
  char name[32], waits_in[64], state;
  unsigned long long ticks; /* of the processor's time */
};

/* The first line of a file of a thread, without its end; "" if there is none. */
static void read_line(int id, const char *file, char *text, size_t size) {
  char path[64];
  *text = 0;
  (void)snprintf(path, sizeof path, "/proc/self/task/%d/%s", id, file);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return;
  ssize_t got = read(fd, text, size - 1);
  (void)close(fd);
  text[got > 0 ? got : 0] = 0;
  text[strcspn(text, "\n")] = 0;
}

static void look_at(struct thread *thread) {
  char text[512];
  unsigned long long user = 0, kernel = 0;
  read_line(thread->id, "comm", thread->name, sizeof thread->name);
  read_line(thread->id, "wchan", thread->waits_in, sizeof thread->waits_in);
  read_line(thread->id, "stat", text, sizeof text);
  thread->state = '?';
  const char *behind = strrchr(text, ')'); /* the name may hold anything */
  if (behind)
    (void)sscanf(behind + 1, " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu",
                 &thread->state, &user, &kernel);
  thread->ticks = user + kernel;
}

static unsigned find_threads(struct thread *threads) {
  unsigned count = 0;
  DIR *directory = opendir("/proc/self/task");
  struct dirent *entry;
  while (directory && count < THREADS_TOLD && (entry = readdir(directory)) != NULL)
    if (entry->d_name[0] != '.')
      threads[count++].id = atoi(entry->d_name);
  if (directory)
    (void)closedir(directory);
  return count;
}

/* Two looks, a second apart: who runs in circles uses time meanwhile, who waits does not. */
static void tell_threads(void) {
  static struct thread before[THREADS_TOLD], after[THREADS_TOLD];
  unsigned count = find_threads(before);
  for (unsigned i = 0; i < count; i++)
    look_at(&before[i]);
  (void)sleep(1);
  for (unsigned i = 0; i < count; i++) {
    struct thread *thread = &after[i];
    thread->id = before[i].id;
    look_at(thread);
    fprintf(stderr, "  thread %d \"%s\": state %c, waits in %s, %llu ticks in the last second\n",
            thread->id, thread->name, thread->state,
            strcmp(thread->waits_in, "0") == 0 || !*thread->waits_in ? "nothing that is told"
                                                                     : thread->waits_in,
            thread->ticks - before[i].ticks);
  }
}

/* --- what others say ------------------------------------------------------------------------- */

static void tell_world(void) {
  tarn_world *world = atomic_load_explicit(&watched, memory_order_acquire);
  tarn_stats stats = {.struct_size = sizeof stats};
  if (!world || tarn_stats_get(world, &stats) != TARN_OK)
    return;
  fprintf(stderr,
          "  the world: %llu threads, %llu stops, %llu collections, %llu KiB held, %llu pools"
          " unswept, %llu wait for their free functions, last to stop was \"%s\"\n",
          (unsigned long long)stats.threads, (unsigned long long)stats.stops,
          (unsigned long long)(stats.collections + stats.cycle_collections),
          (unsigned long long)stats.heap_bytes / 1024, (unsigned long long)stats.unswept_pools,
          (unsigned long long)stats.release_pending, stats.stop_last_thread);
}

/* posix_spawn, for fork would call the library's handlers, which take its locks. */
static void tell_stacks(void) {
  char process[16];
  (void)snprintf(process, sizeof process, "%d", (int)getpid());
  char *const arguments[] = {"timeout", "--kill-after=5",
                             "60",      "gdb",
                             "--nx",    "--batch",
                             "-iex",    "set debuginfod enabled off",
                             "-ex",     "thread apply all backtrace 24",
                             "-p",      process,
                             NULL};
  pid_t child;
  int status = -1;
  (void)fflush(stderr);
  /* Where only parents may trace. */
  (void)prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
  posix_spawn_file_actions_t actions;
  (void)posix_spawn_file_actions_init(&actions);
  (void)posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  (void)posix_spawn_file_actions_adddup2(&actions, 2, 1);
  if (posix_spawnp(&child, "timeout", &actions, NULL, arguments, environ) == 0)
    (void)waitpid(child, &status, 0);
  (void)posix_spawn_file_actions_destroy(&actions);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
    fprintf(stderr,
            "  gdb is not installed, or may not look.  For the stacks of all threads repeat with"
            " --patience 0, and when it hangs: gdb --batch -ex 'thread apply all backtrace' -p"
            " PROCESS\n");
}

/* --- watching -------------------------------------------------------------------------------- */

static void *watch(void *data) {
  uint64_t last = 0;
  (void)data;
  /* Seconds that this thread lived through, so that a process that was stopped is not late. */
  for (unsigned idle = 0; idle < stress.patience; idle++) {
    (void)sleep(1);
    /* Relaxed, both: figures. */
    uint64_t now = atomic_load_explicit(&stress_rounds, memory_order_relaxed) +
                   atomic_load_explicit(&stress_steps, memory_order_relaxed);
    if (now != last)
      idle = 0;
    last = now;
  }
  fprintf(stderr, "%s: nothing was counted for %u s\n", stress.program, stress.patience);
  tell_world();
  tell_threads();
  tell_stacks();
  stress_fail(__FILE__, __LINE__, "hangs: no round in %u s", stress.patience);
}

void stress_watch(void) {
  pthread_t thread;
  sigset_t all, before;
  if (stress.patience == 0)
    return;
  (void)sigfillset(&all);
  STRESS_EQUAL(pthread_sigmask(SIG_SETMASK, &all, &before), 0);
  STRESS_EQUAL(pthread_create(&thread, NULL, watch, NULL), 0);
  STRESS_EQUAL(pthread_sigmask(SIG_SETMASK, &before, NULL), 0);
  (void)pthread_setname_np(thread, "watchdog");
  STRESS_EQUAL(pthread_detach(thread), 0);
}
