/* SPDX-License-Identifier: MIT */
/*
 * run.c: `tarn run`: a program under the malloc door, and what it came to.
 *
 * Signals that somebody sends to the command are passed on; those of the terminal's keys come to
 * the program by themselves, for both are in its foreground.
 */
#include "page.h"
#include "tool.h"
#include "view.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LIVE, STATS, QUIET, OPTIONS };

static const struct tool_option options[OPTIONS] = {
    [LIVE] = {"live", NULL,
              "While it runs, show a line of figures on standard error, if that is a terminal."},
    [STATS] = {"stats", NULL, "At the end print all figures, not only the most important ones."},
    [QUIET] = {"quiet", NULL, "At the end print nothing."},
};

#define NOT_FOUND 127 /* as shells have it */
#define NOT_RUN 126
#define SIGNALLED 128

struct running {
  struct process process;
  struct page pages[PAGES];
  unsigned count;
  bool live, stats, quiet;
  bool drawn;
  uint64_t looks;
};

/* --- the library ----------------------------------------------------------------------------- */

#define LIBRARY "libtarn-malloc.so"

static bool is_there(const char *path) { return access(path, R_OK) == 0; }

/* Beside the command, above it, as it is built, or where it is installed. */
static bool find_library(char path[PATH_MAX]) {
  static const char *const places[] = {"", "../", TARN_LIBRARY_FROM_COMMAND "/", "../lib/"};
  const char *given = getenv("TARN_MALLOC_LIBRARY");
  char here[PATH_MAX], tried[PATH_MAX * 2];
  ssize_t length = readlink("/proc/self/exe", here, sizeof here - 1);
  if (given && *given) {
    if (realpath(given, path) && is_there(path))
      return true;
    tool_say("TARN_MALLOC_LIBRARY: %s: %s", given, strerror(errno));
    return false;
  }
  here[length > 0 ? length : 0] = '\0';
  char *slash = strrchr(here, '/');
  if (slash)
    slash[1] = '\0';
  for (size_t i = 0; slash && i < sizeof places / sizeof places[0]; i++) {
    (void)snprintf(tried, sizeof tried, "%s%s%s", here, places[i], LIBRARY);
    if (realpath(tried, path) && is_there(path))
      return true;
  }
  tool_say("%s is not beside the command, nor in ../lib; TARN_MALLOC_LIBRARY can name it", LIBRARY);
  return false;
}

/* What is preloaded already stays. */
static bool set_environment(const struct running *running) {
  char library[PATH_MAX], value[PATH_MAX * 4];
  const char *before = getenv("LD_PRELOAD");
  if (!find_library(library))
    return false;
  if (strpbrk(library, ": ")) {
    tool_say("%s: the dynamic linker takes no path with a blank or a colon", library);
    return false;
  }
  int length = snprintf(value, sizeof value, "%s%s%s", library, before && *before ? ":" : "",
                        before ? before : "");
  if (length < 0 || length >= (int)sizeof value || setenv("LD_PRELOAD", value, 1) != 0) {
    tool_say("LD_PRELOAD is too long");
    return false;
  }
  (void)unsetenv("TARN_MALLOC_LIBRARY"); /* the library would take it for an option */
  return (running->quiet && !running->live) || setenv("TARN_LIVE", "1", 1) == 0;
}

/* --- the program ----------------------------------------------------------------------------- */

/* All that can be passed on; who stops the command by key has stopped the program, too. */
static void watched_signals(sigset_t *set) {
  static const int left[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTSTP, SIGTTIN, SIGTTOU};
  (void)sigfillset(set);
  for (size_t i = 0; i < sizeof left / sizeof left[0]; i++)
    (void)sigdelset(set, left[i]);
}

/* Returns the process, or -1: what went wrong was said, and `*status` is the one to end with. */
static pid_t start(char **program, const sigset_t *before, int *status) {
  int ends[2], error = 0;
  pid_t pid = pipe2(ends, O_CLOEXEC) == 0 ? fork() : -1;
  if (pid == 0) {
    (void)sigprocmask(SIG_SETMASK, before, NULL);
    (void)execvp(program[0], program);
    error = errno;
    (void)!write(ends[1], &error, sizeof error);
    _exit(NOT_RUN);
  }
  if (pid < 0) {
    tool_say("%s: %s", program[0], strerror(errno));
    *status = TOOL_FAILED;
    return -1;
  }
  (void)close(ends[1]);
  ssize_t got; /* nothing: it runs */
  while ((got = read(ends[0], &error, sizeof error)) < 0 && errno == EINTR) {
  }
  (void)close(ends[0]);
  if (got <= 0)
    return pid;
  (void)waitpid(pid, NULL, 0);
  tool_say("%s: %s", program[0], strerror(error));
  *status = error == ENOENT ? NOT_FOUND : NOT_RUN;
  return -1;
}

/* --- looking at it --------------------------------------------------------------------------- */

static bool newest(const struct page *page) {
  struct looks *looks = page->data;
  struct tarn_live_view view;
  if (!page_read(page, &view))
    return false;
  looks->before = looks->now;
  looks->now = view;
  return true;
}

static void look(struct running *running) {
  const char *why;
  running->count = pages_find(&running->process, running->pages, running->count, false, &why);
  for (unsigned i = 0; i < running->count; i++)
    if (!running->pages[i].data)
      running->pages[i].data = tool_make(1, sizeof(struct looks));
}

static void clear_line(struct running *running) {
  if (running->drawn)
    (void)fputs("\r\033[K", stderr);
  running->drawn = false;
}

/* Of the world that has a collector, if there is one. */
static void draw(struct running *running) {
  struct page *page = NULL;
  char *text = NULL;
  size_t size = 0;
  for (unsigned i = 0; i < running->count; i++)
    if (newest(&running->pages[i]))
      page = &running->pages[i];
  FILE *to = page ? open_memstream(&text, &size) : NULL;
  if (!to)
    return;
  view_print_brief(to, page->data);
  if (fclose(to) != 0)
    tool_no_memory();
  clear_line(running);
  (void)fprintf(stderr, "%.*s", (int)tool_fit(text, size, tool_width(stderr) - 1), text);
  running->drawn = true;
  free(text);
}

/* Waits for the program, and for signals meanwhile. */
static int wait_for(struct running *running, const sigset_t *watched, struct rusage *usage) {
  enum { SOON_NS = 5000000, LATER_NS = 50000000, DRAWN_EVERY = 10 };
  int status = 0;
  siginfo_t info;
  for (uint64_t number = 0;; number++) {
    const struct timespec step = {0, number < 100 ? SOON_NS : LATER_NS};
    int got = sigtimedwait(watched, &info, &step);
    if (got > 0 && got != SIGCHLD && info.si_code <= 0)
      (void)kill(running->process.pid, got);
    pid_t ended = wait4(running->process.pid, &status, WNOHANG | WUNTRACED, usage);
    if (ended == running->process.pid && WIFSTOPPED(status)) {
      (void)raise(SIGSTOP); /* as the program: the shell shall see it */
      (void)kill(running->process.pid, SIGCONT);
    } else if (ended != 0) {
      return status;
    }
    if (running->count < PAGES && (got < 0 || running->count == 0))
      look(running);
    if (running->live && number >= 100 && number % DRAWN_EVERY == 0)
      draw(running);
  }
}

/* --- the end --------------------------------------------------------------------------------- */

static uint64_t nanoseconds(struct timeval time) {
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_usec * 1000u;
}

/* All figures of a world; headings are lines like others. */
static void print_all(const struct page *page) {
  const struct view_room room = {8, TARN_LIVE_THREADS, TARN_LIVE_CLASSES};
  struct looks *looks = page->data;
  char *text = NULL;
  size_t size = 0;
  FILE *to = open_memstream(&text, &size);
  if (!to)
    tool_no_memory();
  looks->before.updated_ns = 0;
  view_print(to, looks, &room);
  if (fclose(to) != 0)
    tool_no_memory();
  (void)fprintf(stderr, "world %u%s\n", page->world,
                looks->now.flags & TARN_LIVE_COLLECTED ? "" : " (malloc)");
  for (const char *at = text; *at; at++)
    if (*at != VIEW_HEADING)
      (void)fputc(*at, stderr);
  free(text);
}

static void summarize(struct running *running, const struct rusage *usage, uint64_t began) {
  struct timespec now;
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  uint64_t took = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec - began;
  tool_say("%s, processor %s and %s in the kernel, resident at most %s", tool_duration(took),
           tool_duration(nanoseconds(usage->ru_utime)), tool_duration(nanoseconds(usage->ru_stime)),
           tool_size((uint64_t)usage->ru_maxrss * 1024));
  unsigned known = 0;
  for (unsigned i = 0; i < running->count; i++) {
    struct looks *looks = running->pages[i].data;
    if (!newest(&running->pages[i]))
      continue;
    known++;
    if (running->stats)
      print_all(&running->pages[i]);
    else
      view_print_summary(stderr, &looks->now, running->pages[i].world);
  }
  if (!known)
    tool_say("no figures of the heap: it was there too shortly");
}

static int run_program(struct running *running, char **program) {
  sigset_t watched, before;
  struct rusage usage = {0};
  struct timespec now;
  int status = TOOL_FAILED;
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  uint64_t began = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
  watched_signals(&watched);
  (void)sigprocmask(SIG_BLOCK, &watched, &before);
  pid_t pid = start(program, &before, &status);
  if (pid < 0)
    return status;
  (void)process_find(pid, &running->process);
  running->process.pid = pid;
  status = wait_for(running, &watched, &usage);
  clear_line(running);
  if (!running->quiet)
    summarize(running, &usage, began);
  return WIFSIGNALED(status) ? SIGNALLED + WTERMSIG(status) : WEXITSTATUS(status);
}

static int run(int count, char **all) {
  struct tool_arguments arguments;
  struct running *running = tool_make(1, sizeof *running);
  const char *value;
  int option;
  tool_arguments_begin(&arguments, &tool_run, count, all);
  arguments.leading = true;
  while ((option = tool_arguments_next(&arguments, &value)) >= 0) {
    running->live = running->live || option == LIVE;
    running->stats = running->stats || option == STATS;
    running->quiet = running->quiet || option == QUIET;
  }
  if (option == TOOL_WRONG)
    return TOOL_USAGE;
  if (arguments.operand_count < 1)
    return tool_usage(&tool_run, "a program is needed");
  char **program = tool_make((size_t)arguments.operand_count + 1, sizeof *program);
  memcpy(program, arguments.operands, (size_t)arguments.operand_count * sizeof *program);
  running->live = running->live && isatty(STDERR_FILENO);
  return set_environment(running) ? run_program(running, program) : TOOL_FAILED;
}

const struct tool_command tool_run = {
    .name = "run",
    .operands = "PROGRAM [ARGUMENTS]",
    .summary = "run a program on Tarn's malloc, and say what it came to",
    .text = "Runs PROGRAM with libtarn-malloc.so preloaded, which is looked for beside the command "
            "and in the directory of libraries, unless TARN_MALLOC_LIBRARY names it. Unless "
            "`--quiet` says that nobody asks, the program has TARN_LIVE=1 in its environment, so "
            "that `tarn top` "
            "can look at it, and worlds of its own as well. At the end a summary goes to standard "
            "error. The exit status is the program's; 128 and the signal's number if a signal "
            "ended it; 127 if there is no such program, 126 if it cannot be run.",
    .options = options,
    .option_count = OPTIONS,
    .run = run};
