/* SPDX-License-Identifier: MIT */
/*
 * page.h: the pages that a program shows (lib/inspect/live_page.h), as the command finds them.
 *
 * Whoever may write into /dev/shm can leave a file of any name there: only regular files of the
 * process's owner count, which say the process's number and start.  What is in a page is not
 * believed beyond that: counts are cut to the room that there is, texts end where the room does.
 *
 * A page is removed only when its process is known to be gone, so never one of another PID
 * namespace: containers may share the directory, and a process that lives there is not seen here,
 * or another one has its number.  Pages of other namespaces, which their names tell, are neither
 * shown nor touched.  Nor is one when /proc is another namespace's, or cannot be read.
 */
#ifndef PAGE_H
#define PAGE_H

#include "inspect/live_page.h"
#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

#define PAGES 16u /* worlds of a process that are looked at */

struct process {
  pid_t pid;
  uid_t owner;
  uint64_t started; /* in the kernel's ticks */
  char name[64];
};

struct page {
  struct tarn_live_page *map; /* NULL: none */
  unsigned world;
  int file;   /* while it is open for writing; else -1 */
  void *data; /* whoever looks at it keeps something here, which goes with it */
  char path[512];
  ino_t inode;
};

/* False: errno says why; ESRCH: there is no such process, or it is gone.  Nothing is said. */
bool process_find(pid_t pid, struct process *process);
/* Is it still the same one? */
bool process_lives(const struct process *process);

/* Maps the pages of a process that are not among `pages` yet, by their worlds; those that are gone
 * are left alone, those that were replaced, by another program in the same process, are dropped.
 * Returns how many there are now.  `*why`, unless there is one: what to tell. */
unsigned pages_find(const struct process *process, struct page pages[PAGES], unsigned count,
                    bool writable, const char **why);
void page_drop(struct page *page);

/* A copy of what it shows.  False: it has never shown anything, or its writer ended in between. */
bool page_read(const struct page *page, struct tarn_live_view *view);

/* "1234", as a process.  TOOL_DONE, or what the command ends with: said why. */
int page_read_pid(const char *text, struct process *process);

/* Says why a process has no page, and what to do. */
void page_say_none(const struct process *process, const char *why);

/* Processes with pages, by their numbers; pages that were left behind are removed.  How many,
 * `most` at most, are in `*count`.  False: it cannot be told, which was said. */
bool pages_list(struct process *processes, unsigned most, unsigned *count);

#endif
