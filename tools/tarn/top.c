/* SPDX-License-Identifier: MIT */
/*
 * top.c: `tarn top`: what a program does while it runs; see page.h.
 *
 * On a terminal the screen is drawn again and again, elsewhere a line is printed for each look.  It
 * ends when the program does, after as many looks as were asked for, on q, and on signals that end
 * programs; it stops as others do; and leaves the terminal as it was.
 */
#include "page.h"
#include "tool.h"
#include "view.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum { ONCE, INTERVAL, COUNT, OPTIONS };

static const struct tool_option options[OPTIONS] = {
    [ONCE] = {"once", NULL, "Print everything once, and end."},
    [INTERVAL] = {"interval", "MS", "Milliseconds from one look to the next; 1000 unless given."},
    [COUNT] = {"count", "N", "End after N looks."},
};

#define BETWEEN_MS 300u /* more than it takes to show something new */

struct top {
  struct process process;
  struct page pages[PAGES]; /* with their looks */
  unsigned count;
  bool once, drawn;
  uint64_t interval, most;
};

/* --- the terminal ---------------------------------------------------------------------------- */

/*
 * While it waits for keys, the terminal gives them at once and does not show them.  Whenever
 * somebody else may type, it is as it was: when the command ends or stops.  Nothing is changed
 * while another process group has the terminal: it is not ours then, and the attempt would stop the
 * command.
 *
 * Handlers run at any time, but for what is done with `terminal_signals` blocked.
 */
static volatile sig_atomic_t interrupted;
static volatile sig_atomic_t continued; /* the screen is somebody else's: it is to be drawn anew */
static volatile sig_atomic_t terminal_changed;
static bool terminal_wanted;
static struct termios terminal_before;
static sigset_t terminal_signals;

static bool terminal_is_ours(void) { return tcgetpgrp(STDIN_FILENO) == getpgrp(); }

static void use_terminal(void) {
  if (!terminal_wanted || terminal_changed || !terminal_is_ours())
    return;
  struct termios raw = terminal_before;
  raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
  terminal_changed = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
}

/* Also in handlers. */
static void restore_terminal(void) {
  if (terminal_changed && terminal_is_ours())
    (void)tcsetattr(STDIN_FILENO, TCSANOW, &terminal_before);
  terminal_changed = false;
}

static void on_signal(int number) { interrupted = number; }

/* Whoever had the terminal meanwhile may have changed it. */
static void on_continue(int number) {
  (void)number;
  terminal_changed = false;
  continued = true;
}

/* Stops here, and goes on here. */
static void on_stop(int number) {
  struct sigaction action, usual = {.sa_handler = SIG_DFL};
  int error = errno;
  sigset_t one, before;
  restore_terminal();
  (void)sigemptyset(&one);
  (void)sigaddset(&one, number);
  (void)sigaction(number, &usual, &action);
  (void)raise(number); /* it comes when it is let through */
  (void)sigprocmask(SIG_UNBLOCK, &one, &before);
  (void)sigprocmask(SIG_SETMASK, &before, NULL);
  (void)sigaction(number, &action, NULL);
  continued = true;
  errno = error;
}

/* SIGPIPE is among them because it would come while the terminal is changed; then printing fails.
 */
static void prepare_terminal(void) {
  static const struct {
    int number;
    void (*handler)(int);
  } all[] = {{SIGINT, on_signal},   {SIGTERM, on_signal}, {SIGHUP, on_signal},
             {SIGQUIT, on_signal},  {SIGPIPE, on_signal}, {SIGTSTP, on_stop},
             {SIGCONT, on_continue}};
  (void)sigemptyset(&terminal_signals);
  for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
    /* Printing goes on after a stop. */
    struct sigaction action = {.sa_handler = all[i].handler, .sa_flags = SA_RESTART}, was;
    if (all[i].handler == on_signal)
      action.sa_flags = 0;
    if (sigaction(all[i].number, NULL, &was) == 0 && all[i].number == SIGTSTP &&
        was.sa_handler == SIG_IGN)
      continue; /* there is no shell that would let it go on */
    (void)sigaction(all[i].number, &action, NULL);
    (void)sigaddset(&terminal_signals, all[i].number);
  }
  terminal_wanted = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &terminal_before) == 0;
}

/* A key, or none: then nobody can type any more. */
static char read_key(void) {
  char key;
  if (read(STDIN_FILENO, &key, 1) > 0)
    return key;
  restore_terminal();
  terminal_wanted = false;
  return 0;
}

/* Waits; false: it is time to end.  Signals come while it waits, or before, but not in between. */
static bool wait_for(uint64_t ms) {
  const struct timespec time = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
  struct pollfd input = {.fd = -1, .events = POLLIN};
  sigset_t before;
  (void)sigprocmask(SIG_BLOCK, &terminal_signals, &before);
  use_terminal();
  if (terminal_changed)
    input.fd = STDIN_FILENO;
  bool over = interrupted;
  int got = over || continued ? 0 : ppoll(&input, 1, &time, &before);
  over = over || (got < 0 && errno != EINTR);
  (void)sigprocmask(SIG_SETMASK, &before, NULL);
  char key = got > 0 ? read_key() : 0;
  return !over && !interrupted && key != 'q' && key != 'Q';
}

static unsigned height(void) {
  struct winsize size;
  enum { USUAL = 24, LEAST = 8 };
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_row == 0)
    return USUAL;
  return size.ws_row < LEAST ? LEAST : size.ws_row;
}

/* --- what is printed ------------------------------------------------------------------------- */

static void print_world(FILE *to, const struct top *top, unsigned index,
                        const struct view_room *room) {
  const struct looks *looks = top->pages[index].data;
  (void)fprintf(to, "%cprocess %d ", VIEW_HEADING, (int)top->process.pid);
  (void)tool_put_name(to, top->process.name, 20);
  (void)fprintf(to, ", world %u%s\n", top->pages[index].world,
                looks->now.flags & TARN_LIVE_COLLECTED ? "" : " (malloc)");
  view_print(to, looks, room);
}

/* Lines of which a heading begins with a character of its own, cut to the columns that there are.
 */
static void put_lines(const char *text, bool draws, unsigned rows) {
  unsigned columns = tool_width(stdout), row = 0;
  bool bold = tool_colours(stdout);
  if (draws)
    (void)fputs("\033[H", stdout);
  for (const char *at = text; *at && (!draws || row + 1 < rows); row++) {
    size_t length = strcspn(at, "\n");
    bool heading = *at == VIEW_HEADING;
    size_t skipped = heading, shown = tool_fit(at + skipped, length - skipped, columns);
    (void)printf("%s%.*s%s%s\n", heading && bold ? "\033[1m" : "", (int)shown, at + skipped,
                 heading && bold ? "\033[0m" : "", draws ? "\033[K" : "");
    at += length + (at[length] == '\n');
  }
  if (draws)
    (void)fputs("\033[J", stdout);
}

static void print_screen(struct top *top, bool draws) {
  char *text = NULL;
  size_t size = 0;
  FILE *to = open_memstream(&text, &size);
  if (!to)
    tool_no_memory();
  /* Eleven lines of figures and headings a world; the rest is for lists. */
  unsigned rows = draws ? height() : 60, each = rows / (top->count ? top->count : 1);
  unsigned left = each > 12 ? each - 12 : 0;
  struct view_room room = {left / 3, left / 3, left - left / 3 * 2};
  for (unsigned i = 0; i < top->count; i++)
    print_world(to, top, i, &room);
  if (fclose(to) != 0)
    tool_no_memory();
  if (draws && !top->drawn)
    (void)fputs("\033[2J", stdout);
  top->drawn = draws;
  put_lines(text, draws, rows);
  free(text);
}

static void print_lines(struct top *top, uint64_t number) {
  if (number == 0) {
    (void)printf("%6s", "world");
    view_print_line_head(stdout);
  }
  for (unsigned i = 0; i < top->count; i++) {
    (void)printf("%6u", top->pages[i].world);
    view_print_line(stdout, top->pages[i].data);
    (void)putchar('\n');
  }
}

/* --- looking --------------------------------------------------------------------------------- */

/* False: the world has ended. */
static bool look_at(struct page *page) {
  struct tarn_live_view view;
  if (access(page->path, F_OK) != 0 || !page_read(page, &view))
    return false;
  if (!page->data)
    page->data = tool_make(1, sizeof(struct looks));
  struct looks *looks = page->data;
  looks->before = looks->now;
  looks->now = view;
  return true;
}

/* Worlds come and go.  `*why`: as of pages_find. */
static void look(struct top *top, const char **why) {
  unsigned kept = 0;
  top->count = pages_find(&top->process, top->pages, top->count, false, why);
  for (unsigned i = 0; i < top->count; i++)
    if (look_at(&top->pages[i]))
      top->pages[kept++] = top->pages[i];
    else
      page_drop(&top->pages[i]);
  top->count = kept;
}

/* A program that has just begun has its page soon. */
static bool first_look(struct top *top) {
  const char *why = NULL;
  for (unsigned tries = 0; tries < 10; tries++) {
    look(top, &why);
    if (top->count)
      return true;
    (void)nanosleep(&(struct timespec){0, 30000000}, NULL);
  }
  if (process_lives(&top->process))
    page_say_none(&top->process, why);
  else
    tool_say("process %d has ended", (int)top->process.pid);
  return false;
}

static void watch(struct top *top) {
  const char *terminal = getenv("TERM"), *why;
  bool draws = !top->once && isatty(STDOUT_FILENO) && terminal && strcmp(terminal, "dumb") != 0;
  for (uint64_t number = 0; top->count; number++) {
    if (continued)
      continued = top->drawn = false;
    if (draws || top->once)
      print_screen(top, draws);
    else
      print_lines(top, number);
    if (fflush(stdout) != 0 || top->once || (top->most && number + 1 == top->most) ||
        !wait_for(top->interval))
      return;
    look(top, &why);
  }
  (void)puts("The program has ended.");
}

/* Without a process: which there are. */
static int list(void) {
  enum { MOST = 1000 };
  struct process *all = tool_make(MOST, sizeof *all);
  unsigned count;
  if (!pages_list(all, MOST, &count))
    return TOOL_FAILED;
  if (!count)
    (void)puts("No program of yours shows itself; start one with TARN_LIVE=1 in its environment,\n"
               "or with `tarn run --live`.");
  for (unsigned i = 0; i < count; i++) {
    (void)printf("%9d ", (int)all[i].pid);
    (void)tool_put_name(stdout, all[i].name, 60);
    (void)putchar('\n');
  }
  free(all);
  return TOOL_DONE;
}

static int run(int count, char **all) {
  struct tool_arguments arguments;
  struct top *top = tool_make(1, sizeof *top);
  const char *value;
  int option;
  bool some = false;
  top->interval = 1000;
  tool_arguments_begin(&arguments, &tool_top, count, all);
  while ((option = tool_arguments_next(&arguments, &value)) >= 0) {
    some = true;
    top->once = top->once || option == ONCE;
    if ((option == INTERVAL &&
         !tool_read_number("--interval", value, 10, 3600000, &top->interval)) ||
        (option == COUNT && !tool_read_number("--count", value, 1, INT32_MAX, &top->most)))
      return TOOL_USAGE;
  }
  if (option == TOOL_WRONG)
    return TOOL_USAGE;
  if (arguments.operand_count == 0 && !some)
    return list();
  if (arguments.operand_count != 1)
    return tool_usage(&tool_top, "one process is needed");
  int status = page_read_pid(arguments.operands[0], &top->process);
  if (status != TOOL_DONE)
    return status;
  if (!first_look(top))
    return TOOL_FAILED;
  if (!top->once)
    prepare_terminal();
  else if (wait_for(BETWEEN_MS)) /* rates are of the time between two looks */
    look(top, &value);
  watch(top);
  restore_terminal();
  return TOOL_DONE;
}

const struct tool_command tool_top = {
    .name = "top",
    .operands = "[PID]",
    .summary = "what a program does while it runs; without PID: which ones can be looked at",
    .text = "Shows heap, collections, threads and size classes of each world of a program that "
            "runs with TARN_LIVE=1 in its environment, or under `tarn run --live`. On a terminal "
            "the screen is drawn anew for each look, and q ends it; elsewhere each look is a line. "
            "Without PID it lists the programs of yours that can be looked at.",
    .options = options,
    .option_count = OPTIONS,
    .run = run};
