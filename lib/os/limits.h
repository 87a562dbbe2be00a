/* SPDX-License-Identifier: MIT */
/*
 * What this process may use: memory, address space and CPUs, as the machine, its cgroups and its
 * resource limits say.
 *
 * Nothing here keeps state or takes a lock: each call asks the kernel again, so any thread may call
 * at any time. A file that is missing, unreadable or nonsense counts as "no limit from there";
 * detection never fails. Cost: some twenty small files, well under a millisecond; for world
 * creation, not for hot paths. Nothing is allocated; about 24 KiB of stack are used.
 */
#ifndef TARN_OS_LIMITS_H
#define TARN_OS_LIMITS_H

#include <stddef.h>

/* Stands for "no limit" in the size fields below. */
#define TARN_NO_LIMIT ((size_t)-1)

struct tarn_limits {
  size_t physical;       /* bytes of RAM; never 0 */
  size_t cgroup;         /* smallest memory limit of the process's cgroups, or TARN_NO_LIMIT */
  size_t memory;         /* the smaller of the two: what percentages of memory refer to; never 0 */
  size_t address_space;  /* soft RLIMIT_AS in bytes, or TARN_NO_LIMIT */
  unsigned cpu_affinity; /* CPUs the calling thread may run on; at least 1 */
  unsigned cpu_quota;    /* CPUs the cgroups' quota is worth, rounded up; 0 = no quota */
  unsigned cpus;         /* the smaller of the two; at least 1 */
};

/* Fills `out` for the calling process. */
void tarn_limits_detect(struct tarn_limits *out);

/*
 * The same, with `root` put before every path under /proc and /sys ("" is the real tree). The
 * address space and the CPU affinity come from system calls, whatever `root` is.
 */
void tarn_limits_detect_at(const char *root, struct tarn_limits *out);

/* Parts of it, by one system call: RAM in bytes, 0 where the system does not say, and the soft
 * RLIMIT_AS in bytes, or TARN_NO_LIMIT. */
size_t tarn_limits_physical(void);
size_t tarn_limits_address_space(void);

#endif
