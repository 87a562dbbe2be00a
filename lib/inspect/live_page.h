/* SPDX-License-Identifier: MIT */
/*
 * inspect/live_page.h: the page that a program shows to `tarn top`, and takes requests by.
 *
 * A file in /dev/shm, or if that cannot be had in XDG_RUNTIME_DIR, named
 * tarn-UID-PID-WORLD-NAMESPACE, only for its owner.  The library and the command both map it; they
 * are of the same version, which the page tells, and with which its layout changes.
 *
 * Who writes what.  The head is written once, the magic number last (release); who reads that first
 * (acquire) sees the rest.  The view is the library's alone, and only one thread of it writes:
 * `sequence` is odd while it does, and a reader copies until it finds the same even number before
 * and after.  Each word is stored with release and loaded with acquire, so who has seen a new one
 * sees the odd number as well; the thread sanitizer does not know the fences that would do.  A
 * request is written by the command, which holds a lock (flock) on the file, and then `asked` moves
 * on (release); the library sees it (acquire), answers, and sets `answered` to it (release).
 *
 * All words that both may touch at the same time are atomic, so texts are copied as words.  A page
 * whose process has ended without taking it away (no such process, or one that began at another
 * time) is stale; the next one of its name takes its place, and the command removes it.
 *
 * NAMESPACE is the inode of the process's PID namespace.  Containers may share the directory, and
 * each has a process 1: with it in the name no two processes that live have one file, and whoever
 * would remove a page knows whether it can tell if the process lives, which is so in this namespace
 * only.  No other page is touched: those of namespaces that have ended stay, until a new one gets
 * the number or somebody removes the file.  A lock that the process holds would tell of its life in
 * all namespaces, but a program may close all its descriptors, which must not make it look dead, or
 * leave them to a child that outlives it; a robust mutex wants a thread that lives as long as the
 * process, which that of a malloc (inspect/live.h) does not.
 */
#ifndef TARN_INSPECT_LIVE_PAGE_H
#define TARN_INSPECT_LIVE_PAGE_H

#include <stddef.h>
#include <stdint.h>
#include <tarn/inspect.h>

#define TARN_LIVE_MAGIC UINT64_C(0x6576696c6e726174) /* "tarnlive" */
#define TARN_LIVE_VERSION 2u
#define TARN_LIVE_RING 32u
#define TARN_LIVE_THREADS 64u
#define TARN_LIVE_CLASSES 80u
#define TARN_LIVE_NAME 32u
#define TARN_LIVE_PATH 1024u
#define TARN_LIVE_FILE "tarn-%u-%d-%u-%u" /* user, process, world, PID namespace */

/* tarn_live_view.flags */
enum {
  TARN_LIVE_COLLECTED = 1u << 0, /* the world has a collector */
  TARN_LIVE_COUNTING = 1u << 1,  /* of cycles */
  TARN_LIVE_SHOWS_AGES = 1u << 2 /* its pools have generations */
};

struct tarn_live_collection {
  uint64_t number;
  uint64_t ended_ns; /* of the monotonic clock */
  uint64_t pause_ns, stop_ns;
  uint64_t heap_before, heap_after;
  uint32_t generation;
  uint32_t cycles; /* 1: of cycles */
  char cause[16];
  char last[TARN_LIVE_NAME]; /* who was waited for last; "": nobody */
};

struct tarn_live_thread {
  int64_t id;           /* the kernel's */
  uint64_t state;       /* TARN_STATE_... of world/thread.h: 1 running, 2 blocked, 3 stopped */
  uint64_t stop_max_ns; /* longest stop of a collection in which it came last */
  /* In worlds without a collector, about: of pools that it allocates from, and of blocks that were
   * handed out from these, to whomever. */
  uint64_t held_bytes, used_bytes;
  char name[TARN_LIVE_NAME];
};

struct tarn_live_class {
  uint64_t block_bytes;
  uint64_t pools[3]; /* by generation; all in the last where there are none */
  uint64_t used;     /* blocks handed out, about */
};

struct tarn_live_view {
  uint64_t updated_ns; /* of the monotonic clock */
  uint64_t updates;
  uint64_t flags;
  uint64_t used_bytes; /* of blocks handed out in pools, about, and of large objects */
  uint64_t pool_bytes; /* a pool's */
  uint64_t ring_count; /* collections that were told, of which the last are in the ring */
  uint64_t thread_count, class_count;
  struct tarn_live_collection ring[TARN_LIVE_RING]; /* number n, from 0, is at n % TARN_LIVE_RING */
  struct tarn_live_thread threads[TARN_LIVE_THREADS];
  struct tarn_live_class classes[TARN_LIVE_CLASSES];
  tarn_stats stats;
};

#define TARN_LIVE_WORDS(bytes) (((bytes) + 7u) / 8u)

struct tarn_live_page {
  uint64_t magic; /* atomic */
  uint32_t version, view_bytes;
  uint64_t pid, started; /* the latter in ticks since the system began, as the kernel counts them */
  uint64_t world;
  char library[16]; /* its version */

  /* Everything below is atomic. */
  uint64_t asked, answered;
  uint64_t status; /* of the answer: a tarn_status */
  uint64_t objects, bytes, stopped_ns;
  uint64_t path[TARN_LIVE_PATH / 8]; /* that is asked for; ends with NUL */
  uint64_t why[16];                  /* a text, unless the status is TARN_OK */

  uint64_t sequence;
  uint64_t view[TARN_LIVE_WORDS(sizeof(struct tarn_live_view))];
};

#endif
