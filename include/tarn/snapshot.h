/* SPDX-License-Identifier: MIT */
/*
 * tarn/snapshot.h: who holds the memory: snapshots of a heap, for viewers that everybody has.
 *
 * A snapshot is a file in the format `.heapsnapshot`, which the Memory panel of Chrome's DevTools
 * opens (also of Edge, and the tools that read what Node.js writes).  It has a node for each block
 * of the world and an edge for each reference, so that the viewer can tell what retains an object,
 * how much would go with it, and what was added since an earlier snapshot.  What its nodes, edges
 * and groups mean is in doc/snapshots.md.
 *
 * The world is stopped while a snapshot is written: some fifth of a microsecond for each object,
 * more where the file is slow.  It takes memory of about half a byte for each object, up to 60
 * bytes for each root, ephemeron and entry of a weak table, up to 100 for each type; in worlds that
 * count references four bytes more for each object.
 *
 * Programs can be asked for one from outside: see the options snapshot-signal, snapshot and
 * snapshot-at-exit.
 */
#ifndef TARN_SNAPSHOT_H
#define TARN_SNAPSHOT_H

#include <tarn/base.h>

TARN_BEGIN_DECLS

/* Bits of `flags`. */
enum {
  /* No full collection first: dead objects that no collection has found yet are in it, too.  In
   * worlds that count references, and while collections are disabled, it is always so. */
  TARN_SNAPSHOT_AS_IT_IS = 1u << 0
};

/* What was written.  Set `struct_size` before the call; a library of another version fills what
 * both know. */
typedef struct tarn_snapshot_info {
  size_t struct_size; /* sizeof(tarn_snapshot_info) of the caller */
  uint64_t objects;   /* blocks of the heap, as tarn_heap_walk tells them */
  uint64_t nodes;     /* these, and those of roots, groups and bytes elsewhere */
  uint64_t edges;
  uint64_t bytes;      /* of the snapshot */
  uint64_t stopped_ns; /* that the world was stopped for it, the collection apart */
} tarn_snapshot_info;

/*
 * Writes a snapshot of the caller's world to a file.  `flags`: TARN_SNAPSHOT_..., 0 for none;
 * `info` may be NULL.
 *
 * The file appears when it is whole: it is written under another name beside it (the name with a
 * suffix `.PID-N.part`), and takes the place of a file that has the name already.  A snapshot that
 * fails leaves no file, and that other one as it was.  What is there and is no regular file (a
 * device, a pipe, a link) is written to as it is.  Only the owner may read the file (mode 0600):
 * names of types are in it, but no contents of objects.
 *
 * Trace functions, root providers and `refs` functions of types are called, several times for each
 * object, under the rules of a collection.  `free` functions may run first, for it is a collection.
 *
 * Errors: TARN_EINVAL (no path, unknown flags, `struct_size`), TARN_EHELD (inside a hold),
 * TARN_EUNBALANCED (inside a blocked region), TARN_EWRONGTHREAD, TARN_EDETACHED, TARN_ENOMEM,
 * TARN_ESYSTEM (errno says why the file could not be written), TARN_EOVERFLOW (more nodes or edges
 * than the format has numbers for: 613 million nodes, 1431 million edges), TARN_ECORRUPT (a trace
 * function that does not visit the same references each time).  In each case the world runs again.
 * A write that fails ends the stop at once.
 */
TARN_API tarn_status tarn_snapshot_write(tarn_thread *self, const char *path, unsigned flags,
                                         tarn_snapshot_info *info);

/*
 * The same, for a function that takes the bytes, in pieces of up to 64 KiB and in their order; it
 * returns false to end the snapshot (TARN_ESYSTEM, errno ECANCELED).  It is called while the world
 * is stopped: it must not call Tarn, nor wait for a lock that a stopped thread may hold, malloc's
 * of libtarn-malloc.so among them.
 */
TARN_API tarn_status tarn_snapshot_send(tarn_thread *self, tarn_write_fn fn, void *data,
                                        unsigned flags, tarn_snapshot_info *info);

TARN_END_DECLS

#endif
