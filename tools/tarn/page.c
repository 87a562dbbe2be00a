/* SPDX-License-Identifier: MIT */
/*
 * page.c: see page.h.
 */
#include "page.h"
#include "tool.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* --- processes ------------------------------------------------------------------------------- */

/* "PID (NAME) STATE ...": the name may hold anything; the 20th field says how many threads there
 * are, the 22nd is the start.  The state is the first thread's, which may have ended before others;
 * then it is not the only one.  Else errno is set. */
static bool parse_stat(char *text, struct process *process) {
  errno = EIO; /* is no such text */
  char *open = strchr(text, '('), *close = strrchr(text, ')'), *at = close;
  if (!open || !close || close < open)
    return false;
  *close = '\0';
  (void)snprintf(process->name, sizeof process->name, "%.63s", open + 1);
  if (close[1] != ' ')
    return false;
  uint64_t threads = 0;
  at = close + 1;
  for (int field = 3; at && field < 22; field++) {
    threads = field == 20 ? strtoull(at + 1, NULL, 10) : threads;
    at = strchr(at + 1, ' ');
  }
  process->started = at ? strtoull(at + 1, NULL, 10) : 0;
  if (process->started && threads <= 1 && (close[2] == 'Z' || close[2] == 'X'))
    errno = ESRCH;
  else if (process->started)
    errno = 0;
  return errno == 0;
}

bool process_find(pid_t pid, struct process *process) {
  char path[64], text[1024];
  struct stat status;
  if (kill(pid, 0) != 0 && errno == ESRCH) /* which /proc need not know: it can hide processes */
    return false;
  /* The directory is the process's user's, also where files in it are not: those of a process whose
   * first thread has ended are root's. */
  (void)snprintf(path, sizeof path, "/proc/%d", (int)pid);
  if (stat(path, &status) != 0)
    return false;
  (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0)
    return false;
  ssize_t got = read(file, text, sizeof text - 1);
  int error = got < 0 ? errno : 0;
  (void)close(file);
  errno = error;
  if (error)
    return false;
  text[got] = '\0';
  process->pid = pid;
  process->owner = status.st_uid;
  return parse_stat(text, process);
}

bool process_lives(const struct process *process) {
  struct process now;
  return process_find(process->pid, &now) && now.started == process->started;
}

/* Do the numbers in /proc mean the processes that they mean to the system?  In a PID namespace that
 * has the /proc of another one they do not.  False: said so. */
static bool proc_is_ours(void) {
  char text[32] = "";
  if (readlink("/proc/self", text, sizeof text - 1) > 0 && strtol(text, NULL, 10) == getpid())
    return true;
  if (*text)
    tool_say("/proc tells of another PID namespace, and not of the processes of this one");
  else
    tool_say("/proc does not tell of the processes that there are");
  return false;
}

int page_read_pid(const char *text, struct process *process) {
  uint64_t pid;
  if (!tool_read_number("PID", text, 1, INT32_MAX, &pid))
    return TOOL_USAGE;
  if (!proc_is_ours())
    return TOOL_FAILED;
  if (process_find((pid_t)pid, process))
    return TOOL_DONE;
  if (errno == ESRCH)
    tool_say("there is no process %d", (int)pid);
  else
    tool_say("process %d: %s", (int)pid, strerror(errno));
  return TOOL_FAILED;
}

/* The inode of a PID namespace; 0: it is not told. */
static unsigned namespace_at(const char *path) {
  struct stat status;
  return stat(path, &status) == 0 ? (unsigned)status.st_ino : 0;
}

static unsigned own_namespace(void) {
  static unsigned own;
  own = own ? own : namespace_at("/proc/self/ns/pid");
  return own;
}

static bool is_elsewhere(const struct process *process) {
  char path[64];
  (void)snprintf(path, sizeof path, "/proc/%d/ns/pid", (int)process->pid);
  unsigned its = namespace_at(path);
  return its && its != own_namespace();
}

/* --- files ----------------------------------------------------------------------------------- */

static const char *directory(unsigned which) {
  const char *own = getenv("XDG_RUNTIME_DIR");
  return which == 0 ? "/dev/shm" : which == 1 && own && own[0] == '/' ? own : NULL;
}

struct name {
  unsigned owner, world;
  int pid;
};

/* Of a page of this PID namespace; false: it is none. */
static bool parse_name(const char *text, struct name *name) {
  char again[80];
  unsigned space;
  if (sscanf(text, TARN_LIVE_FILE, &name->owner, &name->pid, &name->world, &space) != 4 ||
      name->pid <= 0 || space != own_namespace())
    return false;
  /* Other texts can give the same numbers. */
  (void)snprintf(again, sizeof again, TARN_LIVE_FILE, name->owner, name->pid, name->world, space);
  return strcmp(text, again) == 0;
}

static const char left_by_another[] = "its page was left by another process";

static const char *check_file(int file, const struct process *process, ino_t *inode) {
  struct stat status = {.st_ino = 0};
  if (fstat(file, &status) != 0 || !S_ISREG(status.st_mode) || status.st_uid != process->owner)
    return "its page is not its own";
  *inode = status.st_ino;
  return status.st_size < (off_t)sizeof(struct tarn_live_page) ? "its page is of another version"
                                                               : NULL;
}

static const char *check_head(const struct tarn_live_page *page, const struct process *process) {
  if (__atomic_load_n(&page->magic, __ATOMIC_ACQUIRE) != TARN_LIVE_MAGIC)
    return "its page is not ready";
  if (page->version != TARN_LIVE_VERSION || page->view_bytes != sizeof(struct tarn_live_view))
    return "its page is of another version";
  if (page->pid != (uint64_t)process->pid || page->started != process->started)
    return left_by_another;
  return NULL;
}

static const char *map_file(struct page *page, const struct process *process, bool writable) {
  struct tarn_live_page *map;
  int file = open(page->path, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (file < 0)
    return errno == EACCES || errno == EPERM ? "it belongs to another user" : "its page is gone";
  const char *why = check_file(file, process, &page->inode);
  int protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
  map = why ? MAP_FAILED : mmap(NULL, sizeof *map, protection, MAP_SHARED, file, 0);
  if (!why && map == MAP_FAILED)
    why = "its page cannot be mapped";
  if (!why && (why = check_head(map, process)))
    (void)munmap(map, sizeof *map);
  if (why || !writable)
    (void)close(file);
  page->file = !why && writable ? file : -1;
  page->map = why ? NULL : map;
  return why;
}

static bool has_world(const struct page *pages, unsigned count, unsigned world) {
  for (unsigned i = 0; i < count; i++)
    if (pages[i].world == world)
      return true;
  return false;
}

static int compare_pages(const void *a, const void *b) {
  unsigned first = ((const struct page *)a)->world, second = ((const struct page *)b)->world;
  return (first > second) - (first < second);
}

static unsigned find_in(const char *where, const struct process *process, struct page *pages,
                        unsigned count, bool writable, const char **why) {
  struct name name;
  DIR *all = opendir(where);
  if (!all)
    return count;
  for (struct dirent *each; (each = readdir(all)) && count < PAGES;) {
    struct page *page = &pages[count];
    if (!parse_name(each->d_name, &name) || name.pid != process->pid ||
        name.owner != process->owner || has_world(pages, count, name.world))
      continue;
    *page = (struct page){.file = -1};
    (void)snprintf(page->path, sizeof page->path, "%s/%s", where, each->d_name);
    page->world = name.world;
    const char *wrong = map_file(page, process, writable);
    if (wrong)
      *why = wrong;
    else
      count++;
  }
  (void)closedir(all);
  return count;
}

static bool is_replaced(const struct page *page) {
  struct stat status;
  return stat(page->path, &status) == 0 && status.st_ino != page->inode;
}

static unsigned drop_replaced(struct page *pages, unsigned count) {
  unsigned kept = 0;
  for (unsigned i = 0; i < count; i++)
    if (is_replaced(&pages[i]))
      page_drop(&pages[i]);
    else
      pages[kept++] = pages[i];
  return kept;
}

unsigned pages_find(const struct process *process, struct page pages[PAGES], unsigned count,
                    bool writable, const char **why) {
  *why = process->owner != geteuid() && geteuid() != 0 ? "it belongs to another user"
         : is_elsewhere(process) ? "it is in another PID namespace, where the command must run"
                                 : NULL;
  count = drop_replaced(pages, count);
  for (unsigned i = 0; directory(i); i++)
    count = find_in(directory(i), process, pages, count, writable, why);
  qsort(pages, count, sizeof *pages, compare_pages);
  return count;
}

void page_drop(struct page *page) {
  if (page->map)
    (void)munmap(page->map, sizeof *page->map);
  if (page->file >= 0)
    (void)close(page->file);
  free(page->data);
  *page = (struct page){.file = -1};
}

void page_say_none(const struct process *process, const char *why) {
  if (why)
    tool_say("process %d cannot be looked at: %s", (int)process->pid, why);
  else
    tool_say("process %d does not show itself: start it with TARN_LIVE=1 in its environment, or "
             "with `tarn run --live`",
             (int)process->pid);
}

/* --- what is shown --------------------------------------------------------------------------- */

static void end_text(char *text, size_t size) { text[size - 1] = '\0'; }

static void make_good(struct tarn_live_view *view) {
  if (view->class_count > TARN_LIVE_CLASSES)
    view->class_count = TARN_LIVE_CLASSES;
  for (unsigned i = 0; i < TARN_LIVE_RING; i++) {
    end_text(view->ring[i].cause, sizeof view->ring[i].cause);
    end_text(view->ring[i].last, sizeof view->ring[i].last);
  }
  for (unsigned i = 0; i < TARN_LIVE_THREADS; i++)
    end_text(view->threads[i].name, sizeof view->threads[i].name);
  end_text(view->stats.stop_last_thread, sizeof view->stats.stop_last_thread);
  end_text(view->stats.stop_max_thread, sizeof view->stats.stop_max_thread);
}

bool page_read(const struct page *page, struct tarn_live_view *view) {
  const struct tarn_live_page *map = page->map;
  uint64_t words[TARN_LIVE_WORDS(sizeof *view)];
  for (unsigned tries = 0; tries < 1000; tries++) {
    uint64_t before = __atomic_load_n(&map->sequence, __ATOMIC_ACQUIRE);
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
      words[i] = __atomic_load_n(&map->view[i], __ATOMIC_ACQUIRE);
    if (before && before % 2 == 0 && __atomic_load_n(&map->sequence, __ATOMIC_RELAXED) == before) {
      memcpy(view, words, sizeof *view);
      make_good(view);
      return true;
    }
    (void)nanosleep(&(struct timespec){0, 100000}, NULL);
  }
  return false;
}

/* --- all of them ----------------------------------------------------------------------------- */

static bool known(const struct process *processes, unsigned count, pid_t pid) {
  for (unsigned i = 0; i < count; i++)
    if (processes[i].pid == pid)
      return true;
  return false;
}

/* A page of an earlier process of that number? */
static bool is_left(const char *path, const struct process *process) {
  struct page page = {.file = -1};
  (void)snprintf(page.path, sizeof page.path, "%s", path);
  const char *why = map_file(&page, process, false);
  page_drop(&page);
  return why == left_by_another;
}

static unsigned list_in(const char *where, struct process *processes, unsigned count,
                        unsigned most) {
  struct name name;
  DIR *all = opendir(where);
  if (!all)
    return count;
  for (struct dirent *each; (each = readdir(all)) && count < most;) {
    char path[512];
    struct process process = {.pid = 0};
    if (!parse_name(each->d_name, &name) || name.owner != geteuid() ||
        known(processes, count, name.pid))
      continue;
    (void)snprintf(path, sizeof path, "%s/%s", where, each->d_name);
    bool there = process_find(name.pid, &process);
    if (there ? is_left(path, &process) : errno == ESRCH)
      (void)unlink(path);
    else if (there)
      processes[count++] = process;
  }
  (void)closedir(all);
  return count;
}

static int compare_processes(const void *a, const void *b) {
  return ((const struct process *)a)->pid - ((const struct process *)b)->pid;
}

bool pages_list(struct process *processes, unsigned most, unsigned *count) {
  *count = 0;
  if (!proc_is_ours())
    return false;
  for (unsigned i = 0; directory(i); i++)
    *count = list_in(directory(i), processes, *count, most);
  qsort(processes, *count, sizeof *processes, compare_processes);
  return true;
}
