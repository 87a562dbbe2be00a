/* SPDX-License-Identifier: MIT */
/*
 * liar: shows a page of its own making (lib/inspect/live_page.h), as a program might that wants to
 * harm whoever looks at it: every text in it steers a terminal, every count is too large.  Prints
 * "ready", answers each request for a snapshot with an error, and ends when standard input does.
 *
 *   liar [NAME]
 *
 * With NAME the texts are that instead.
 */
#include "inspect/live_page.h"
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *text = "\033[31m\xc2\x9b"
                          "31mred";

static uint64_t began(void) {
  char line[1024] = "", *at;
  FILE *file = fopen("/proc/self/stat", "r");
  if (!file || !fgets(line, sizeof line, file) || !(at = strrchr(line, ')')))
    exit(3);
  (void)fclose(file);
  for (int field = 2; field < 22 && at; field++)
    at = strchr(at + 1, ' ');
  return at ? strtoull(at, NULL, 10) : 0;
}

static void fill(struct tarn_live_view *view) {
  memset(view, 0xFF, sizeof *view);
  view->flags = TARN_LIVE_COLLECTED | TARN_LIVE_SHOWS_AGES;
  for (unsigned i = 0; i < TARN_LIVE_RING; i++) {
    (void)snprintf(view->ring[i].cause, sizeof view->ring[i].cause, "%s", text);
    (void)snprintf(view->ring[i].last, sizeof view->ring[i].last, "%s", text);
  }
  for (unsigned i = 0; i < TARN_LIVE_THREADS; i++)
    (void)snprintf(view->threads[i].name, sizeof view->threads[i].name, "%s", text);
  (void)snprintf(view->stats.stop_max_thread, sizeof view->stats.stop_max_thread, "%s", text);
}

static struct tarn_live_page *show(const char *path) {
  struct tarn_live_view view;
  struct tarn_live_page *page;
  int file = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
  if (file < 0 || ftruncate(file, sizeof *page) != 0)
    exit(4);
  page = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (page == MAP_FAILED)
    exit(4);
  fill(&view);
  memcpy(page->view, &view, sizeof view);
  (void)snprintf((char *)page->why, sizeof page->why, "%s", text);
  page->version = TARN_LIVE_VERSION;
  page->view_bytes = sizeof view;
  page->pid = (uint64_t)getpid();
  page->started = began();
  page->sequence = 2;
  page->status = TARN_ESYSTEM;
  __atomic_store_n(&page->magic, TARN_LIVE_MAGIC, __ATOMIC_RELEASE);
  return page;
}

int main(int argc, char **argv) {
  char path[80];
  struct pollfd input = {.fd = 0, .events = POLLIN};
  if (argc > 1)
    text = argv[1];
  struct stat space;
  if (stat("/proc/self/ns/pid", &space) != 0)
    exit(3);
  (void)snprintf(path, sizeof path, "/dev/shm/" TARN_LIVE_FILE, (unsigned)getuid(), (int)getpid(),
                 1u, (unsigned)space.st_ino);
  struct tarn_live_page *page = show(path);
  (void)puts("ready");
  (void)fflush(stdout);
  while (poll(&input, 1, 5) == 0)
    __atomic_store_n(&page->answered, __atomic_load_n(&page->asked, __ATOMIC_ACQUIRE),
                     __ATOMIC_RELEASE);
  return unlink(path);
}
