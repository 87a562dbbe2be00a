/* SPDX-License-Identifier: MIT */
/*
 * Detection of limits: each test makes a small /proc and /sys/fs/cgroup of its own in a temporary
 * directory and states what must be found there.
 */
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "os/limits.h"

#define MIB ((size_t)1 << 20)
#define GIB ((size_t)1 << 30)

/* ---- A tree of files ---------------------------------------------------------------------- */

struct tree {
  char root[64];
};

static void put(const struct tree *tree, const char *path, const char *content) {
  char full[PATH_MAX];
  snprintf(full, sizeof full, "%s%s", tree->root, path);
  for (char *slash = strchr(full + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
    *slash = '\0';
    if (mkdir(full, 0700) != 0)
      assert_int_equal(errno, EEXIST);
    *slash = '/';
  }
  FILE *file = fopen(full, "w");
  assert_non_null(file);
  fputs(content, file);
  assert_int_equal(fclose(file), 0);
}

static int set_up(void **state) {
  struct tree *tree = malloc(sizeof *tree);
  strcpy(tree->root, "/tmp/tarn-limits-XXXXXX");
  if (!mkdtemp(tree->root))
    return -1;
  put(tree, "/proc/meminfo", "MemTotal:        8388608 kB\nMemFree:  1 kB\n");
  *state = tree;
  return 0;
}

static int tear_down(void **state) {
  struct tree *tree = *state;
  char command[128];
  snprintf(command, sizeof command, "rm -rf '%s'", tree->root);
  int status = system(command);
  free(tree);
  return status;
}

static struct tarn_limits detect(void **state) {
  struct tree *tree = *state;
  struct tarn_limits limits;
  memset(&limits, 0xa5, sizeof limits);
  tarn_limits_detect_at(tree->root, &limits);
  return limits;
}

#define V2_MOUNT "30 25 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
#define V1_MEMORY "33 25 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
#define V1_CPU "34 25 0:30 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
#define OTHER_MOUNT "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"

/* ---- Memory ------------------------------------------------------------------------------- */

static void without_cgroups_memory_is_what_the_machine_has(void **state) {
  struct tarn_limits limits = detect(state);
  assert_int_equal(limits.physical, 8 * GIB);
  assert_int_equal(limits.cgroup, TARN_NO_LIMIT);
  assert_int_equal(limits.memory, 8 * GIB);
  assert_int_equal(limits.cpu_quota, 0);
}

static void v2_limit_of_the_own_cgroup_counts(void **state) {
  put(*state, "/proc/self/cgroup", "0::/app\n");
  put(*state, "/proc/self/mountinfo", OTHER_MOUNT V2_MOUNT);
  put(*state, "/sys/fs/cgroup/app/memory.max", "536870912\n");
  struct tarn_limits limits = detect(state);
  assert_int_equal(limits.cgroup, 512 * MIB);
  assert_int_equal(limits.memory, 512 * MIB);
}

static void v2_word_max_is_no_limit(void **state) {
  put(*state, "/proc/self/cgroup", "0::/app\n");
  put(*state, "/proc/self/mountinfo", V2_MOUNT);
  put(*state, "/sys/fs/cgroup/app/memory.max", "max\n");
  struct tarn_limits limits = detect(state);
  assert_int_equal(limits.cgroup, TARN_NO_LIMIT);
  assert_int_equal(limits.memory, 8 * GIB);
}

static void v2_smallest_limit_of_all_ancestors_counts(void **state) {
  put(*state, "/proc/self/cgroup", "0::/slice/service/app\n");
  put(*state, "/proc/self/mountinfo", V2_MOUNT);
  put(*state, "/sys/fs/cgroup/slice/memory.max", "1073741824\n");
  put(*state, "/sys/fs/cgroup/slice/service/memory.max", "max\n");
  put(*state, "/sys/fs/cgroup/slice/service/app/memory.max", "2147483648\n");
  assert_int_equal(detect(state).cgroup, GIB);
  put(*state, "/sys/fs/cgroup/slice/service/memory.max", "268435456\n");
  assert_int_equal(detect(state).cgroup, 256 * MIB);
}

static void v2_limits_of_siblings_do_not_count(void **state) {
  put(*state, "/proc/self/cgroup", "0::/slice/app\n");
  put(*state, "/proc/self/mountinfo", V2_MOUNT);
  put(*state, "/sys/fs/cgroup/slice/other/memory.max", "1048576\n");
  put(*state, "/sys/fs/cgroup/slice/app2/memory.max", "1048576\n");
  put(*state, "/sys/fs/cgroup/slice/app/memory.max", "1073741824\n");
  assert_int_equal(detect(state).cgroup, GIB);
}

static void v2_container_root_is_asked_itself(void **state) {
  put(*state, "/proc/self/cgroup", "0::/\n");
  put(*state, "/proc/self/mountinfo", V2_MOUNT);
  put(*state, "/sys/fs/cgroup/memory.max", "134217728\n");
  assert_int_equal(detect(state).cgroup, 128 * MIB);
}

static void v2_path_outside_the_namespace_asks_the_mount_point_only(void **state) {
  put(*state, "/proc/self/cgroup", "0::/../../other\n");
  put(*state, "/proc/self/mountinfo", V2_MOUNT);
  put(*state, "/sys/fs/cgroup/memory.max", "134217728\n");
  put(*state, "/sys/other/memory.max", "1048576\n");
  put(*state, "/other/memory.max", "1048576\n");
  assert_int_equal(detect(state).cgroup, 128 * MIB);
}

static void v2_part_of_the_tree_mounted_elsewhere_is_found(void **state) {
  put(*state, "/proc/self/cgroup", "0::/slice/app/worker\n");
  put(*state, "/proc/self/mountinfo",
      "30 25 0:26 /slice/ap /wrong rw - cgroup2 cgroup2 rw\n"
      "31 25 0:26 /slice/app /odd\\040place rw - cgroup2 cgroup2 rw\n");
  put(*state, "/wrong/memory.max", "1048576\n");
  put(*state, "/odd place/worker/memory.max", "67108864\n");
  put(*state, "/odd place/memory.max", "134217728\n");
  put(*state, "/memory.max", "1048576\n"); /* above the mount point: not ours */
  assert_int_equal(detect(state).cgroup, 64 * MIB);
}

static void v1_limit_of_the_memory_controller_counts(void **state) {
  put(*state, "/proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/docker/abc\n1:name=systemd:/y\n");
  put(*state, "/proc/self/mountinfo", OTHER_MOUNT V1_CPU V1_MEMORY);
  put(*state, "/sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", "402653184\n");
  put(*state, "/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  struct tarn_limits limits = detect(state);
  assert_int_equal(limits.cgroup, 384 * MIB);
}

static void v1_number_for_unlimited_is_no_limit(void **state) {
  put(*state, "/proc/self/cgroup", "4:memory:/\n");
  put(*state, "/proc/self/mountinfo", V1_MEMORY);
  put(*state, "/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  assert_int_equal(detect(state).cgroup, TARN_NO_LIMIT);
  put(*state, "/sys/fs/cgroup/memory/memory.limit_in_bytes", "18446744073709551615\n");
  assert_int_equal(detect(state).cgroup, TARN_NO_LIMIT);
  put(*state, "/sys/fs/cgroup/memory/memory.limit_in_bytes", "99999999999999999999999\n");
  assert_int_equal(detect(state).cgroup, TARN_NO_LIMIT);
}

static void v1_ancestor_counts_only_if_it_accounts_hierarchically(void **state) {
  put(*state, "/proc/self/cgroup", "4:memory:/a/b\n");
  put(*state, "/proc/self/mountinfo", V1_MEMORY);
  put(*state, "/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", "1073741824\n");
  put(*state, "/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "268435456\n");
  put(*state, "/sys/fs/cgroup/memory/a/memory.use_hierarchy", "0\n");
  assert_int_equal(detect(state).cgroup, GIB);
  put(*state, "/sys/fs/cgroup/memory/a/memory.use_hierarchy", "1\n");
  assert_int_equal(detect(state).cgroup, 256 * MIB);
}

static void v1_container_sees_its_own_part_at_the_mount_point(void **state) {
  put(*state, "/proc/self/cgroup", "4:memory:/docker/abc\n");
  put(*state, "/proc/self/mountinfo",
      "33 25 0:29 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n");
  put(*state, "/sys/fs/cgroup/memory/memory.limit_in_bytes", "201326592\n");
  assert_int_equal(detect(state).cgroup, 192 * MIB);
}

static void hybrid_takes_the_smaller_of_both_versions(void **state) {
  put(*state, "/proc/self/cgroup", "4:memory:/v1\n0::/v2\n");
  put(*state, "/proc/self/mountinfo",
      V1_MEMORY "35 25 0:31 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
  put(*state, "/sys/fs/cgroup/memory/v1/memory.limit_in_bytes", "1073741824\n");
  assert_int_equal(detect(state).cgroup, GIB);
  put(*state, "/sys/fs/cgroup/unified/v2/memory.max", "536870912\n");
  assert_int_equal(detect(state).cgroup, 512 * MIB);
}

static void limit_above_physical_memory_leaves_physical_memory(void **state) {
  put(*state, "/proc/self/cgroup", "0::/\n");
  put(*state, "/proc/self/mountinfo", V2_MOUNT);
  put(*state, "/sys/fs/cgroup/memory.max", "17179869184\n");
  struct tarn_limits limits = detect(state);
  assert_int_equal(limits.cgroup, 16 * GIB);
  assert_int_equal(limits.memory, 8 * GIB);
}

static void without_a_list_of_mounts_the_usual_places_are_asked(void **state) {
  put(*state, "/proc/self/cgroup", "4:memory:/a\n0::/b\n");
  put(*state, "/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "1073741824\n");
  assert_int_equal(detect(state).cgroup, GIB);
  put(*state, "/sys/fs/cgroup/b/memory.max", "536870912\n");
  assert_int_equal(detect(state).cgroup, 512 * MIB);
}

static void nonsense_in_the_files_is_no_limit(void **state) {
  static const char *const contents[] = {"",    "\n",        "maximum\n", "-1\n",
                                         "0\n", "garbage\n", " 5\n",      "\x01\x02\xff"};
  put(*state, "/proc/self/cgroup", "nonsense\n:\n::\n0:\n4:memory\n0::/a\n");
  put(*state, "/proc/self/mountinfo", "nonsense\n - cgroup2\n1 2 3 - cgroup2 x rw\n\n" V2_MOUNT);
  for (size_t i = 0; i < sizeof contents / sizeof contents[0]; i++) {
    put(*state, "/sys/fs/cgroup/a/memory.max", contents[i]);
    put(*state, "/sys/fs/cgroup/a/cpu.max", contents[i]);
    struct tarn_limits limits = detect(state);
    assert_int_equal(limits.cgroup, TARN_NO_LIMIT);
    assert_int_equal(limits.cpu_quota, 0);
  }
}

static void long_lines_are_passed_over_without_losing_the_next(void **state) {
  enum { LONG = 20000 };
  char *lines = malloc(LONG + 512);
  memset(lines, 'x', LONG);
  for (size_t length = 4090; length < 4100; length++) { /* around the size of the buffer */
    strcpy(lines + length, "\n" V2_MOUNT);
    put(*state, "/proc/self/mountinfo", lines);
    put(*state, "/proc/self/cgroup", "0::/a");
    put(*state, "/sys/fs/cgroup/a/memory.max", "1073741824");
    assert_int_equal(detect(state).cgroup, GIB);
    memset(lines, 'x', LONG);
  }
  strcpy(lines + LONG, "\n" V2_MOUNT);
  put(*state, "/proc/self/mountinfo", lines);
  assert_int_equal(detect(state).cgroup, GIB);
  free(lines);
}

static void the_tail_of_a_long_line_is_no_line(void **state) {
  enum { LONG = 5000 };
  char lines[LONG + 512];
  memset(lines, 'x', LONG);
  strcpy(lines + LONG, " 25 0:26 / /wrong rw - cgroup2 cgroup2 rw\n" V2_MOUNT);
  put(*state, "/proc/self/mountinfo", lines);
  put(*state, "/proc/self/cgroup", "0::/a\n");
  put(*state, "/wrong/a/memory.max", "1048576\n");
  put(*state, "/sys/fs/cgroup/a/memory.max", "1073741824\n");
  assert_int_equal(detect(state).cgroup, GIB);
}

static void missing_meminfo_falls_back_to_the_system_call(void **state) {
  struct tree *tree = *state;
  char path[PATH_MAX];
  snprintf(path, sizeof path, "%s/proc/meminfo", tree->root);
  assert_int_equal(unlink(path), 0);
  struct tarn_limits limits = detect(state);
  assert_int_equal(limits.physical,
                   (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE));
}

/* ---- CPUs --------------------------------------------------------------------------------- */

static void v2_quota_is_rounded_up_to_whole_cpus(void **state) {
  static const struct {
    const char *content;
    unsigned cpus;
  } cases[] = {
      {"max 100000\n", 0},    {"50000 100000\n", 1}, {"100000 100000\n", 1}, {"150000 100000\n", 2},
      {"800000 100000\n", 8}, {"1000 1000000\n", 1}, {"100000 0\n", 0},      {"100000\n", 0},
  };
  put(*state, "/proc/self/cgroup", "0::/a\n");
  put(*state, "/proc/self/mountinfo", V2_MOUNT);
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    put(*state, "/sys/fs/cgroup/a/cpu.max", cases[i].content);
    struct tarn_limits limits = detect(state);
    assert_int_equal(limits.cpu_quota, cases[i].cpus);
    assert_in_range(limits.cpus, 1, limits.cpu_affinity);
    if (cases[i].cpus == 1)
      assert_int_equal(limits.cpus, 1);
  }
}

static void v2_smallest_quota_of_all_ancestors_counts(void **state) {
  put(*state, "/proc/self/cgroup", "0::/a/b\n");
  put(*state, "/proc/self/mountinfo", V2_MOUNT);
  put(*state, "/sys/fs/cgroup/a/cpu.max", "300000 100000\n");
  put(*state, "/sys/fs/cgroup/a/b/cpu.max", "600000 100000\n");
  assert_int_equal(detect(state).cpu_quota, 3);
}

static void v1_quota_counts_and_minus_one_is_none(void **state) {
  put(*state, "/proc/self/cgroup", "5:cpu,cpuacct:/a\n");
  put(*state, "/proc/self/mountinfo", V1_CPU);
  put(*state, "/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n");
  put(*state, "/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "-1\n");
  assert_int_equal(detect(state).cpu_quota, 0);
  put(*state, "/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "250000\n");
  assert_int_equal(detect(state).cpu_quota, 3);
}

static void v1_controller_names_are_whole_words(void **state) {
  put(*state, "/proc/self/cgroup", "5:cpuacct:/a\n6:cpuset:/a\n");
  put(*state, "/proc/self/mountinfo",
      "34 25 0:30 / /sys/fs/cgroup/cpuacct rw - cgroup cgroup rw,cpuacct\n");
  put(*state, "/sys/fs/cgroup/cpuacct/a/cpu.cfs_period_us", "100000\n");
  put(*state, "/sys/fs/cgroup/cpuacct/a/cpu.cfs_quota_us", "100000\n");
  assert_int_equal(detect(state).cpu_quota, 0);
}

static void affinity_bounds_the_cpus(void **state) {
  cpu_set_t before, one;
  assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
  assert_int_equal(detect(state).cpu_affinity, CPU_COUNT(&before));
  size_t cpu = 0;
  while (!CPU_ISSET(cpu, &before))
    cpu++;
  CPU_ZERO(&one);
  CPU_SET(cpu, &one);
  assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
  struct tarn_limits limits = detect(state);
  assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
  assert_int_equal(limits.cpu_affinity, 1);
  assert_int_equal(limits.cpus, 1);
}

/* ---- Address space ------------------------------------------------------------------------ */

static void address_space_is_the_soft_resource_limit(void **state) {
  struct rlimit before, small;
  assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
  small = before;
  small.rlim_cur = (rlim_t)1 << 46; /* above what sanitizers reserve */
  if (before.rlim_cur != RLIM_INFINITY) {
    print_message("skipped: the process has a limit of address space already\n");
    skip();
  }
  assert_int_equal(detect(state).address_space, TARN_NO_LIMIT);
  assert_int_equal(setrlimit(RLIMIT_AS, &small), 0);
  struct tarn_limits limits = detect(state);
  assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
  assert_int_equal(limits.address_space, (size_t)1 << 46);
}

/* ---- The real machine --------------------------------------------------------------------- */

static void the_real_machine_has_memory_and_cpus(void **state) {
  struct tarn_limits limits;
  (void)state;
  tarn_limits_detect(&limits);
  assert_in_range(limits.memory, 1, limits.physical);
  assert_true(limits.physical > MIB);
  assert_true(limits.memory <= limits.cgroup);
  assert_in_range(limits.cpus, 1, limits.cpu_affinity);
}

#define PROPERTY(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      PROPERTY(without_cgroups_memory_is_what_the_machine_has),
      PROPERTY(v2_limit_of_the_own_cgroup_counts),
      PROPERTY(v2_word_max_is_no_limit),
      PROPERTY(v2_smallest_limit_of_all_ancestors_counts),
      PROPERTY(v2_limits_of_siblings_do_not_count),
      PROPERTY(v2_container_root_is_asked_itself),
      PROPERTY(v2_path_outside_the_namespace_asks_the_mount_point_only),
      PROPERTY(v2_part_of_the_tree_mounted_elsewhere_is_found),
      PROPERTY(v1_limit_of_the_memory_controller_counts),
      PROPERTY(v1_number_for_unlimited_is_no_limit),
      PROPERTY(v1_ancestor_counts_only_if_it_accounts_hierarchically),
      PROPERTY(v1_container_sees_its_own_part_at_the_mount_point),
      PROPERTY(hybrid_takes_the_smaller_of_both_versions),
      PROPERTY(limit_above_physical_memory_leaves_physical_memory),
      PROPERTY(without_a_list_of_mounts_the_usual_places_are_asked),
      PROPERTY(nonsense_in_the_files_is_no_limit),
      PROPERTY(long_lines_are_passed_over_without_losing_the_next),
      PROPERTY(the_tail_of_a_long_line_is_no_line),
      PROPERTY(missing_meminfo_falls_back_to_the_system_call),
      PROPERTY(v2_quota_is_rounded_up_to_whole_cpus),
      PROPERTY(v2_smallest_quota_of_all_ancestors_counts),
      PROPERTY(v1_quota_counts_and_minus_one_is_none),
      PROPERTY(v1_controller_names_are_whole_words),
      PROPERTY(affinity_bounds_the_cpus),
      PROPERTY(address_space_is_the_soft_resource_limit),
      PROPERTY(the_real_machine_has_memory_and_cpus),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
