/* SPDX-License-Identifier: MIT */
/*
 * Metrics, log lines and the threads of the library's own under the malloc door.  As in profile.c
 * the program runs itself with variables in its environment, once for each case.
 */
#include "door_test.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/stat.h>

static char directory[] = "/tmp/door-reports-XXXXXX";
static char text[1 << 18];

static const char *path_of(const char *name) {
  static char path[160];
  (void)snprintf(path, sizeof path, "%s/%s", directory, name);
  return path;
}

/* Of the directory; removes it. */
static bool take(const char *name) {
  FILE *file = fopen(path_of(name), "r");
  if (!file)
    return false;
  text[fread(text, 1, sizeof text - 1, file)] = '\0';
  CHECK(fclose(file) == 0 && unlink(path_of(name)) == 0);
  return true;
}

static void nap(void) { (void)usleep(10000); }

/* Threads of a process that have a name. */
static unsigned threads_named(pid_t process, const char *wanted) {
  char path[300];
  unsigned count = 0;
  (void)snprintf(path, sizeof path, "/proc/%d/task", (int)process);
  DIR *tasks = opendir(path);
  if (!tasks)
    return 0;
  for (struct dirent *entry; (entry = readdir(tasks));) {
    char name[32] = "";
    (void)snprintf(path, sizeof path, "/proc/%d/task/%s/comm", (int)process, entry->d_name);
    FILE *file = fopen(path, "r");
    if (file) {
      (void)fgets(name, sizeof name, file);
      (void)fclose(file);
    }
    name[strcspn(name, "\n")] = '\0';
    count += strcmp(name, wanted) == 0;
  }
  CHECK(closedir(tasks) == 0);
  return count;
}

static void wait_for_threads(pid_t process, const char *name, unsigned count) {
  for (int i = 0; i < 2000 && threads_named(process, name) != count; i++)
    nap();
  CHECK(threads_named(process, name) == count);
}

/* --- the cases ------------------------------------------------------------------------------- */

/* New memory, so that some of it comes the slow way. */
static void allocate(void) {
  static void *blocks[3000];
  for (int i = 0; i < 3000; i++) {
    CHECK((blocks[i] = malloc(1000)));
    memset(blocks[i], 1, 1000);
  }
}

static void wait_for_file(const char *format) {
  char path[200];
  (void)snprintf(path, sizeof path, format, (int)getpid());
  for (int i = 0; i < 2000 && access(path, R_OK) != 0; i++)
    nap();
  CHECK(access(path, R_OK) == 0);
}

/* The file is there though the process has not ended; and a child's. */
static void metrics_again_and_again(const char *format) {
  wait_for_file(format);
  pid_t child = fork();
  if (child == 0) {
    allocate();
    wait_for_file(format);
    _exit(0);
  }
  door_wait_for(child);
  _exit(0);
}

/* A file that is the parent's stays the parent's. */
static void no_metrics_in_a_child(void) {
  wait_for_threads(getpid(), "tarn-metrics", 1);
  pid_t child = fork();
  if (child == 0) {
    allocate();
    CHECK(threads_named(getpid(), "tarn-metrics") == 0);
    _exit(0);
  }
  door_wait_for(child);
}

static char read_order(void) {
  char order = 0;
  while (read(0, &order, 1) < 0 && errno == EINTR) {
  }
  return order;
}

/* Allocates when it is told to by way of standard input, and ends. */
static void *obey(void *data) {
  while (read_order() == 'a')
    for (int i = 0; i < 3000; i++)
      if (!malloc(1000))
        _exit(4);
  return data;
}
static void first_thread_ends(void) {
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, obey, NULL) == 0);
  CHECK(pthread_detach(thread) == 0);
  pthread_exit(NULL);
}

static void *named(void *data) {
  free(malloc(10));
  CHECK(prctl(PR_SET_NAME, "a worker", 0, 0, 0) == 0);
  free(malloc(3000000));
  return data;
}
static void log_lines(void) {
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, named, NULL) == 0);
  CHECK(pthread_join(thread, NULL) == 0);
  pid_t child = fork();
  if (child == 0) {
    free(malloc(7000000));
    _exit(0);
  }
  door_wait_for(child);
}

static int be(const char *what, const char *argument) {
  (void)alarm(60 * DOOR_SLOW);
  if (strcmp(what, "exit") == 0) {
    allocate();
    CHECK(malloc(1000000));
  } else if (strcmp(what, "every") == 0) {
    metrics_again_and_again(argument);
  } else if (strcmp(what, "every-child") == 0) {
    no_metrics_in_a_child();
  } else if (strcmp(what, "first-ends") == 0) {
    first_thread_ends();
  } else if (strcmp(what, "log") == 0) {
    log_lines();
  } else {
    return 9;
  }
  return 0;
}

/* --- the other side -------------------------------------------------------------------------- */

/* A value that begins with a slash is a file of the directory. */
static void set(const char *variable, const char *value) {
  CHECK(setenv(variable, value[0] == '/' ? path_of(value + 1) : value, 1) == 0);
}

static pid_t start(const char *what, const char *argument) {
  pid_t child = fork();
  if (child == 0) {
    char name[] = "reports", *arguments[] = {name, (char *)what, (char *)argument, NULL};
    (void)execv("/proc/self/exe", arguments);
    _exit(9);
  }
  return child;
}

static void unset_all(void) {
  static const char *const all[] = {"METRICS", "METRICS_EVERY", "LIVE", "LOG", "LOG_FILE"};
  for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
    char name[64];
    (void)snprintf(name, sizeof name, "TARN_%s", all[i]);
    CHECK(unsetenv(name) == 0);
  }
}

static unsigned long long number_after(const char *what) {
  const char *at = strstr(text, what);
  if (!at)
    dprintf(2, "no %s in\n%s", what, text);
  CHECK(at);
  return strtoull(at + strlen(what), NULL, 10);
}

/* Three thousand blocks of 1,024 bytes with rounding, and a large one; about, since what a thread
 * took off its current pools' lists does not count there yet. */
static void metrics_at_the_end(void) {
  const unsigned long long used = 3000 * 1024 + 1000000 - 65536;
  set("TARN_METRICS", "/m.prom");
  door_wait_for(start("exit", NULL));
  CHECK(take("m.prom"));
  unsigned long long found = number_after("\ntarn_used_bytes{world=\"0\"} ");
  CHECK(found >= used && found < used + 1000000);
  CHECK(number_after("\ntarn_heap_bytes{world=\"0\"} ") >= found);
  CHECK(number_after("\ntarn_large_objects{world=\"0\"} ") == 1);
  CHECK(number_after("\ntarn_threads{world=\"0\"} ") == 1);
  CHECK(!strstr(text, "pause") && !strstr(text, "collections") && !strstr(text, "allocated"));
  CHECK(strcmp(text + strlen(text) - 6, "# EOF\n") == 0);
  set("TARN_METRICS", "/m-%w.json");
  door_wait_for(start("exit", NULL));
  CHECK(take("m-0.json"));
  found = number_after("\"malloc\": {\"used_bytes\": ");
  CHECK(found >= used && found < used + 1000000);
  CHECK(number_after("\"world\": ") == 0 && number_after("\"threads\": ") == 1);
  unset_all();
}

static void metrics_while_it_runs(void) {
  char format[200];
  unsigned files = 0;
  (void)snprintf(format, sizeof format, "%s/m-%%d.prom", directory);
  set("TARN_METRICS", "/m-%p.prom");
  set("TARN_METRICS_EVERY", "20ms");
  door_wait_for(start("every", format));
  DIR *all = opendir(directory);
  CHECK(all);
  for (struct dirent *entry; (entry = readdir(all));) {
    if (entry->d_name[0] == '.')
      continue;
    /* One may just have been being written when its process ended. */
    bool whole = strstr(entry->d_name, ".tmp") == NULL;
    CHECK(take(entry->d_name));
    CHECK(!whole || strcmp(text + strlen(text) - 6, "# EOF\n") == 0);
    files += whole;
  }
  CHECK(closedir(all) == 0 && files == 2);
  set("TARN_METRICS", "/one.prom");
  door_wait_for(start("every-child", NULL));
  CHECK(take("one.prom"));
  unset_all();
}

/* They end when no thread is left that allocates, come again with one, and keep no process. */
static void own_threads_do_not_stay(void) {
  int orders[2], before = dup(0);
  CHECK(pipe2(orders, O_CLOEXEC) == 0 && before >= 0 && dup2(orders[0], 0) == 0);
  set("TARN_METRICS", "/m.prom");
  set("TARN_METRICS_EVERY", "1h");
  set("TARN_LIVE", "1");
  pid_t child = start("first-ends", NULL);
  CHECK(dup2(before, 0) == 0 && close(before) == 0 && close(orders[0]) == 0);
  for (int round = 0; round < 2; round++) {
    if (round == 0) { /* the one thread that is left has not allocated yet */
      wait_for_threads(child, "tarn-metrics", 0);
      wait_for_threads(child, "tarn-live", 0);
    }
    CHECK(write(orders[1], "a", 1) == 1);
    wait_for_threads(child, "tarn-metrics", 1);
    wait_for_threads(child, "tarn-live", 1);
  }
  CHECK(close(orders[1]) == 0);
  door_wait_for(child);
  CHECK(take("m.prom"));
  CHECK(number_after("\ntarn_threads{world=\"0\"} ") <= 1);
  unset_all();
}

static unsigned lines_with(const char *what) {
  unsigned count = 0;
  for (const char *at = text; (at = strstr(at, what)); at += strlen(what))
    count++;
  return count;
}

static void what_is_logged(void) {
  char own[64];
  set("TARN_LOG", "thread,heap=debug");
  set("TARN_LOG_FILE", "/%p.log");
  pid_t child = start("log", NULL);
  door_wait_for(child);
  (void)snprintf(own, sizeof own, "%d.log", (int)child);
  CHECK(take(own));
  CHECK(lines_with("tarn: thread-attached threads=2 id=") == 1);
  CHECK(lines_with("tarn: thread-died threads=1 after=") == 1);
  CHECK(lines_with("thread=a worker\n") == 1);
  CHECK(lines_with("tarn: heap-arena-taken bytes=16.0M") >= 1);
  CHECK(lines_with("tarn: heap-large bytes=2.9M") == 1);
  CHECK(lines_with("tarn: heap-large bytes=6.7M") == 0);
  DIR *all = opendir(directory);
  CHECK(all);
  unsigned others = 0;
  for (struct dirent *entry; (entry = readdir(all));)
    if (entry->d_name[0] != '.') {
      CHECK(take(entry->d_name));
      CHECK(lines_with("tarn: heap-large bytes=6.7M") == 1);
      others++;
    }
  CHECK(closedir(all) == 0 && others == 1);
  /* Of collections and stops there is nothing to say. */
  set("TARN_LOG", "gc=debug,safepoint=debug");
  set("TARN_LOG_FILE", "/none.log");
  door_wait_for(start("log", NULL));
  CHECK(!take("none.log"));
  unset_all();
}

int main(int argc, char **argv) {
  if (argc >= 2)
    return be(argv[1], argv[argc - 1]);
  door_required(300);
  unset_all();
  CHECK(mkdtemp(directory));
  metrics_at_the_end();
  metrics_while_it_runs();
  own_threads_do_not_stay();
  what_is_logged();
  CHECK(rmdir(directory) == 0); /* no other file was made */
  return 0;
}
