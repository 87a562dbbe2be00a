/* SPDX-License-Identifier: MIT */
/*
 * snapshot.c: `tarn snapshot`: asks a program for a heap snapshot; see page.h.
 */
#include "page.h"
#include "tool.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { WORLD, TIMEOUT, OPTIONS };

static const struct tool_option options[OPTIONS] = {
    [WORLD] = {"world", "N", "Of the program's worlds the one of this number."},
    [TIMEOUT] = {"timeout", "S", "Wait at most S seconds for the answer; 60 unless given."},
};

struct asking {
  struct process process;
  struct page pages[PAGES];
  unsigned count;
  uint64_t world; /* 0: any */
  uint64_t timeout;
  char path[TARN_LIVE_PATH];
};

/* --- which world, and which file ------------------------------------------------------------- */

static bool has_collector(const struct page *page) {
  struct tarn_live_view view;
  return page_read(page, &view) && view.flags & TARN_LIVE_COLLECTED;
}

/* The one that was named, or the only one with a collector. */
static struct page *choose(struct asking *asking) {
  struct page *chosen = NULL;
  unsigned with = 0;
  for (unsigned i = 0; i < asking->count; i++) {
    struct page *page = &asking->pages[i];
    if (asking->world ? page->world == asking->world : has_collector(page)) {
      chosen = page;
      with++;
    }
  }
  if (with == 1)
    return chosen;
  if (asking->world)
    tool_say("process %d has no world %llu that shows itself", (int)asking->process.pid,
             (unsigned long long)asking->world);
  else if (with)
    tool_say("process %d has %u worlds: say which with --world", (int)asking->process.pid, with);
  else
    tool_say("process %d has no world with a collector: there are no types to tell of",
             (int)asking->process.pid);
  return NULL;
}

/* The program has a directory of its own, so the path is made absolute. */
static bool make_path(struct asking *asking, const char *file) {
  char here[TARN_LIVE_PATH];
  int length;
  if (file[0] == '/')
    length = snprintf(asking->path, sizeof asking->path, "%s", file);
  else if (getcwd(here, sizeof here))
    length = snprintf(asking->path, sizeof asking->path, "%s/%s", here, file);
  else
    length = -1;
  if (length > 0 && length < (int)sizeof asking->path)
    return true;
  tool_say("%s: the path is too long", file);
  return false;
}

/* A name that nothing has yet. */
static bool make_name(struct asking *asking, unsigned world) {
  for (unsigned number = 1; number < 100000; number++) {
    char name[96];
    (void)snprintf(name, sizeof name, "tarn-%d-%u-%u.heapsnapshot", (int)asking->process.pid, world,
                   number);
    if (access(name, F_OK) != 0)
      return make_path(asking, name);
  }
  tool_say("there are too many snapshots here");
  return false;
}

/* --- asking ---------------------------------------------------------------------------------- */

static void ask(struct tarn_live_page *page, const char *path) {
  union {
    char text[TARN_LIVE_PATH];
    uint64_t words[TARN_LIVE_PATH / 8];
  } copy = {{0}};
  (void)snprintf(copy.text, sizeof copy.text, "%s", path);
  for (size_t i = 0; i < TARN_LIVE_PATH / 8; i++)
    __atomic_store_n(&page->path[i], copy.words[i], __ATOMIC_RELAXED);
  uint64_t asked = __atomic_load_n(&page->asked, __ATOMIC_RELAXED);
  __atomic_store_n(&page->asked, asked + 1, __ATOMIC_RELEASE); /* pairs with the library's look */
}

static bool is_answered(const struct tarn_live_page *page) {
  return __atomic_load_n(&page->answered, __ATOMIC_ACQUIRE) ==
         __atomic_load_n(&page->asked, __ATOMIC_RELAXED);
}

static uint64_t now_ms(void) {
  struct timespec now;
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

/* False: there was no answer, which is said. */
static bool wait_for_answer(const struct asking *asking, const struct tarn_live_page *page) {
  uint64_t until = now_ms() + asking->timeout * 1000;
  for (bool late = false; !late;) {
    bool lives = process_lives(&asking->process); /* before the look: it may answer and end */
    late = now_ms() >= until;
    if (is_answered(page))
      return true;
    if (!lives) {
      tool_say("process %d has ended before it answered", (int)asking->process.pid);
      return false;
    }
    (void)nanosleep(&(struct timespec){0, 10000000}, NULL);
  }
  tool_say("process %d did not answer in %llu seconds; it may still write %s",
           (int)asking->process.pid, (unsigned long long)asking->timeout, asking->path);
  return false;
}

static bool tell(const struct asking *asking, const struct tarn_live_page *page) {
  union {
    char text[sizeof page->why];
    uint64_t words[sizeof page->why / 8];
  } why;
  for (size_t i = 0; i < sizeof page->why / 8; i++)
    why.words[i] = __atomic_load_n(&page->why[i], __ATOMIC_RELAXED);
  why.text[sizeof why.text - 1] = '\0';
  if (__atomic_load_n(&page->status, __ATOMIC_RELAXED) != TARN_OK) {
    (void)fprintf(stderr, "tarn: no snapshot in %s: ", asking->path);
    (void)tool_put_name(stderr, why.text, sizeof why.text);
    (void)fputc('\n', stderr);
    return false;
  }
  (void)printf("%s: %llu objects, %s, the program was stopped for %s\n", asking->path,
               (unsigned long long)__atomic_load_n(&page->objects, __ATOMIC_RELAXED),
               tool_size(__atomic_load_n(&page->bytes, __ATOMIC_RELAXED)),
               tool_duration(__atomic_load_n(&page->stopped_ns, __ATOMIC_RELAXED)));
  return true;
}

static bool ask_and_wait(const struct asking *asking, const struct page *page) {
  /* The lock goes with the descriptor, also when the command is killed. */
  if (flock(page->file, LOCK_EX | LOCK_NB) != 0 || !is_answered(page->map)) {
    tool_say("process %d is writing another snapshot", (int)asking->process.pid);
    return false;
  }
  ask(page->map, asking->path);
  return wait_for_answer(asking, page->map) && tell(asking, page->map);
}

/* --- the command ----------------------------------------------------------------------------- */

static int take(struct asking *asking, const char *file) {
  const char *why;
  asking->count = pages_find(&asking->process, asking->pages, 0, true, &why);
  if (!asking->count) {
    page_say_none(&asking->process, why);
    return TOOL_FAILED;
  }
  const struct page *page = choose(asking);
  if (!page || !(file ? make_path(asking, file) : make_name(asking, page->world)))
    return TOOL_FAILED;
  return ask_and_wait(asking, page) ? TOOL_DONE : TOOL_FAILED;
}

static int run(int count, char **all) {
  struct tool_arguments arguments;
  struct asking *asking = tool_make(1, sizeof *asking);
  const char *value;
  int option;
  asking->timeout = 60;
  tool_arguments_begin(&arguments, &tool_snapshot, count, all);
  while ((option = tool_arguments_next(&arguments, &value)) >= 0)
    if ((option == WORLD && !tool_read_number("--world", value, 1, UINT32_MAX, &asking->world)) ||
        (option == TIMEOUT && !tool_read_number("--timeout", value, 1, 86400, &asking->timeout)))
      return TOOL_USAGE;
  if (option == TOOL_WRONG)
    return TOOL_USAGE;
  if (arguments.operand_count < 1 || arguments.operand_count > 2)
    return tool_usage(&tool_snapshot, "a process is needed, and perhaps a file");
  int status = page_read_pid(arguments.operands[0], &asking->process);
  if (status == TOOL_DONE)
    status = take(asking, arguments.operand_count > 1 ? arguments.operands[1] : NULL);
  free(asking);
  return status;
}

const struct tool_command tool_snapshot = {
    .name = "snapshot",
    .operands = "PID [FILE]",
    .summary = "ask a program that runs for a heap snapshot",
    .text = "The program, which runs with TARN_LIVE=1 in its environment, collects, stops, and "
            "writes all its objects and references to FILE, or to tarn-PID-WORLD-N.heapsnapshot "
            "here. The Memory panel of Chrome's DevTools opens such files, and `tarn diff` "
            "compares two of them.",
    .options = options,
    .option_count = OPTIONS,
    .run = run};
