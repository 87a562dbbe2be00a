/* SPDX-License-Identifier: MIT */
/*
 * heap/apart.h: blocks that lie alone in units of their own, and what is known of each: its size,
 * who made it and who ended it (options `apart` and `stacks`).
 *
 * Such a block is a large object whatever its size, so nothing else in the heap has to know of it.
 * What follows its last page cannot be touched, and when it has died its units wait in the trap
 * (heap/trap.h): a write far enough beyond its end is a fault, and so is every use after its death,
 * which the record can then explain.
 *
 * Where `every` is 1 all blocks are apart: no bin ever has a pool, so every allocation comes by the
 * slow path, and no inlined path has to be closed.  Else it is every so many of those that leave
 * the inlined paths, about; large objects in any case.
 *
 * There is one record a unit of the heap range, in a table of the process that is made with the
 * first world that wants one; that of a block is its first unit's.  It is written by the thread
 * that makes or ends the block and read by reports, both under the table's lock, a leaf.  It stays
 * when the block has died, until the units are used again.
 */
#ifndef TARN_HEAP_APART_H
#define TARN_HEAP_APART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <tarn/base.h>

struct tarn_store;
struct tarn_local;
struct tarn_large;

#define TARN_WHERE_FRAMES 16u

struct tarn_where {
  int thread; /* the kernel's number; 0: not known */
  uint32_t depth;
  char name[16];
  uintptr_t frames[TARN_WHERE_FRAMES];
};

typedef enum tarn_fate {
  TARN_FATE_NONE = 0, /* no block apart is or was there */
  TARN_FATE_IN_USE = 1,
  TARN_FATE_FREED = 2,     /* by the program */
  TARN_FATE_COLLECTED = 3, /* by a collection */
  TARN_FATE_DROPPED = 4    /* with its heap */
} tarn_fate;

struct tarn_record {
  struct tarn_store *store;
  size_t size;  /* that was asked for */
  size_t bytes; /* whole pages */
  size_t units;
  uintptr_t type; /* of an object, once it has one */
  uint8_t fate;   /* tarn_fate */
  uint8_t flavour;
  uint8_t guard; /* tarn_guard_kind of what follows its last page */
  struct tarn_where made, gone;
};

/* Of a world.  Set before the first allocation. */
struct tarn_apart {
  uint32_t every; /* 0: none are apart */
  bool stacks;
};

/* Makes the table; TARN_ENOMEM. */
tarn_status tarn_apart_start(void);

/* Is this allocation of the thread to be apart?  Counts it; the world has some. */
bool tarn_apart_due(struct tarn_local *local);

/* The block, which nobody else knows yet, was made; and it ends. */
void tarn_apart_made(const struct tarn_large *large, size_t size);
void tarn_apart_gone(const struct tarn_large *large, tarn_fate fate);
/* It, or a block that does not lie apart, is an object of the type. */
void tarn_apart_typed(const void *block, uintptr_t type);
/* The units are used for something else from now on; false: the system does not let them be. */
bool tarn_apart_forget(size_t unit, size_t count);
/* All of the unit can be touched again. */
void tarn_apart_opened(size_t unit);

/*
 * What is or was at an address: copies the record of the block that it lies in.  False: there is
 * none, or (from a handler of signals) its lock is not to be had.
 */
bool tarn_apart_find(uintptr_t address, struct tarn_record *record, uintptr_t *block);

void tarn_apart_lock(void); /* for fork */
void tarn_apart_unlock(void);

#endif
