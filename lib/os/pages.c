/* SPDX-License-Identifier: MIT */
/*
 * os/pages.c: pages from the kernel.
 *
 * No state, but for whether the system turned out not to know a call.
 */
#include "os/os.h"
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

size_t tarn_os_page_size(void) {
  long size = sysconf(_SC_PAGESIZE);
  return size > 0 ? (size_t)size : 4096;
}

static bool fails(void) { return tarn_os_fails(TARN_FAULT_PAGES); }

static void *map(size_t bytes, int protection, int flags) {
  if (fails())
    return NULL;
  void *address = mmap(NULL, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
  return address == MAP_FAILED ? NULL : address;
}

/* Is the memory to be in core files? */
static void dump(void *address, size_t bytes, bool on) {
  int kept = errno;
  if (!tarn_os_fails(TARN_FAULT_DUMP))
    (void)madvise(address, bytes, on ? MADV_DODUMP : MADV_DONTDUMP);
  errno = kept;
}

/* Not in core files until it is committed: gdb would write gigabytes of zeros. */
void *tarn_os_reserve(size_t bytes) {
  void *address = map(bytes, PROT_NONE, MAP_NORESERVE);
  if (address)
    dump(address, bytes, false);
  return address;
}
void *tarn_os_map(size_t bytes) { return map(bytes, PROT_READ | PROT_WRITE, 0); }

/* What gives something back keeps errno: a free must. */
void tarn_os_unmap(void *address, size_t bytes) {
  int kept = errno;
  if (tarn_os_fails(TARN_FAULT_UNMAP) || munmap(address, bytes) != 0)
    (void)madvise(address, bytes, MADV_DONTNEED);
  errno = kept;
}

void *tarn_os_remap(void *address, size_t bytes, size_t more) {
#if TARN_TSAN
  /* ThreadSanitizer is not told of pages that move, and would know the new place's last owners. */
  void *place = tarn_os_map(more);
  if (place) {
    memcpy(place, address, bytes);
    tarn_os_unmap(address, bytes);
  }
  return place;
#else
  if (fails())
    return NULL;
  void *place = mremap(address, bytes, more, MREMAP_MAYMOVE);
  return place == MAP_FAILED ? NULL : place;
#endif
}

bool tarn_os_show(void *address, size_t bytes) {
  return !fails() && mprotect(address, bytes, PROT_READ) == 0;
}

bool tarn_os_commit(void *address, size_t bytes) {
  if (fails() || mprotect(address, bytes, PROT_READ | PROT_WRITE) != 0)
    return false;
  dump(address, bytes, true);
  return true;
}

bool tarn_os_purge(void *address, size_t bytes) {
  int kept = errno;
  bool good = !tarn_os_fails(TARN_FAULT_PURGE) && madvise(address, bytes, MADV_DONTNEED) == 0;
  errno = kept;
  return good;
}

#ifndef MADV_POPULATE_WRITE /* of Linux 5.14 */
#define MADV_POPULATE_WRITE 23
#endif

void tarn_os_populate(void *address, size_t bytes) {
  static _Atomic bool unknown; /* relaxed: who has not seen it asks once more */
  int kept = errno;
  if (!atomic_load_explicit(&unknown, memory_order_relaxed) &&
      !tarn_os_fails(TARN_FAULT_POPULATE) && madvise(address, bytes, MADV_POPULATE_WRITE) != 0 &&
      errno == EINVAL)
    atomic_store_explicit(&unknown, true, memory_order_relaxed);
  errno = kept;
}

/* Of Linux 6.13; older headers do not have them, and older kernels refuse. */
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE 103
#endif

bool tarn_os_guard(void *address, size_t bytes, tarn_guard_kind kind) {
  int kept = errno;
  bool good = !tarn_os_fails(TARN_FAULT_GUARD) &&
              (kind == TARN_GUARD_MARKED ? madvise(address, bytes, MADV_GUARD_INSTALL) == 0
                                         : mprotect(address, bytes, PROT_NONE) == 0);
  errno = kept;
  return good;
}

bool tarn_os_unguard(void *address, size_t bytes, tarn_guard_kind kind) {
  int kept = errno;
  bool good = !tarn_os_fails(TARN_FAULT_UNGUARD) &&
              (kind == TARN_GUARD_MARKED ? madvise(address, bytes, MADV_GUARD_REMOVE) == 0
                                         : mprotect(address, bytes, PROT_READ | PROT_WRITE) == 0);
  if (!good && !fails())
    good = mmap(address, bytes, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == address;
  errno = kept;
  return good;
}

void tarn_os_huge_pages(void *address, size_t bytes, bool on) {
  int kept = errno;
  if (!tarn_os_fails(TARN_FAULT_HUGE))
    (void)madvise(address, bytes, on ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
  errno = kept;
}
