/* SPDX-License-Identifier: MIT */
/*
 * Detection of memory, address space and CPU limits. See limits.h for the contract.
 *
 * A process is in one cgroup of each mounted hierarchy: the one of version 2, and up to one per
 * controller of version 1. Both can be there at once (a "hybrid" machine), so all are asked and the
 * smallest limit counts. Within a hierarchy each ancestor up to the mount point can limit too.
 */
#include "os/limits.h"

#include "os/os.h"
#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* Used when neither /proc/meminfo nor sysconf tells how much RAM there is. */
#define ASSUMED_PHYSICAL ((size_t)1 << 30)

/* Version 1 has no word for "no limit" but a number near 2^63; what is above this is no limit. */
#define UNLIMITED_FROM ((uint64_t)1 << 62)

/* ---- Small files -------------------------------------------------------------------------- */

struct reader {
  int fd;
  size_t start, end; /* unread bytes of data */
  char data[4096];
};

static bool reader_open(struct reader *r, const char *root, const char *path) {
  char full[PATH_MAX];
  int n = snprintf(full, sizeof full, "%s%s", root, path);
  if (n < 0 || (size_t)n >= sizeof full)
    return false;
  r->start = r->end = 0;
  r->fd = tarn_os_open(full);
  return r->fd >= 0;
}

/* The next line, ended by NUL instead of newline; NULL at the end. A line longer than the buffer
 * is passed over: none that matters here comes near that length. */
static char *reader_line(struct reader *r) {
  bool passing_over = false;
  for (;;) {
    char *newline = memchr(r->data + r->start, '\n', r->end - r->start);
    if (newline) {
      char *line = r->data + r->start;
      *newline = '\0';
      r->start = (size_t)(newline - r->data) + 1;
      if (!passing_over)
        return line;
      passing_over = false;
      continue;
    }
    memmove(r->data, r->data + r->start, r->end - r->start);
    r->end -= r->start;
    r->start = 0;
    if (r->end == sizeof r->data - 1) {
      passing_over = true;
      r->end = 0;
    }
    size_t got = tarn_os_read(r->fd, r->data + r->end, sizeof r->data - 1 - r->end);
    if (got == 0) { /* a last line without newline counts too */
      if (r->end == 0 || passing_over)
        return NULL;
      r->data[r->end] = '\0';
      r->start = r->end = 0;
      return r->data;
    }
    r->end += got;
  }
}

/* Reads the start of a small file as a string. */
static bool read_text(const char *path, char *to, size_t room) {
  int fd = tarn_os_open(path);
  if (fd < 0)
    return false;
  size_t length = tarn_os_read(fd, to, room - 1);
  close(fd);
  to[length] = '\0';
  return length > 0;
}

/* Reads decimal digits, saturating: old kernels write 2^64-1 for "no limit". NULL if there is no
 * digit, else the first character after the number. */
static const char *parse_number(const char *text, uint64_t *out) {
  uint64_t value = 0;
  if (*text < '0' || *text > '9')
    return NULL;
  for (; *text >= '0' && *text <= '9'; text++) {
    unsigned digit = (unsigned)(*text - '0');
    value = value > (UINT64_MAX - digit) / 10 ? UINT64_MAX : value * 10 + digit;
  }
  *out = value;
  return text;
}

static size_t to_size(uint64_t value) {
  return value > TARN_NO_LIMIT ? TARN_NO_LIMIT : (size_t)value;
}

/* ---- Where the process's cgroup is -------------------------------------------------------- */

/* One hierarchy: version 2 if controller is NULL, else the one of version 1 with that controller.
 * dir is the process's own cgroup as a path; its first `top` characters are the mount point, below
 * which no ancestor can be seen. */
struct hierarchy {
  const char *controller;
  size_t top;
  char dir[PATH_MAX];
};

/* Is `word` one of the words of a comma list? */
static bool list_has(const char *list, const char *word) {
  size_t length = strlen(word);
  for (const char *p = list; p; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL) {
    if (strncmp(p, word, length) == 0 && (p[length] == ',' || p[length] == '\0'))
      return true;
  }
  return false;
}

/* Finds the process's path in the hierarchy: lines of /proc/self/cgroup are "id:controllers:path",
 * version 2 has id 0 and no controllers. */
static bool find_path(const char *root, const char *controller, char *to, size_t room) {
  struct reader r;
  bool found = false;
  if (!reader_open(&r, root, "/proc/self/cgroup"))
    return false;
  for (char *line; !found && (line = reader_line(&r)) != NULL;) {
    char *controllers = strchr(line, ':');
    char *path = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!path)
      continue;
    *controllers++ = '\0';
    *path++ = '\0';
    if (controller ? !list_has(controllers, controller) : (strcmp(line, "0") || *controllers))
      continue;
    found = strlen(path) < room;
    if (found)
      memcpy(to, path, strlen(path) + 1);
  }
  close(r.fd);
  return found;
}

/* mountinfo writes blanks and backslashes as three octal digits. */
static void unescape(char *text) {
  char *to = text;
  for (const char *p = text; *p; to++) {
    if (p[0] == '\\' && p[1] >= '0' && p[1] <= '3' && p[2] >= '0' && p[2] <= '7' && p[3] >= '0' &&
        p[3] <= '7') {
      *to = (char)((p[1] - '0') * 64 + (p[2] - '0') * 8 + (p[3] - '0'));
      p += 4;
    } else {
      *to = *p++;
    }
  }
  *to = '\0';
}

/* Takes a line of mountinfo apart: "id parent dev ROOT POINT options... - TYPE source OPTIONS".
 * True if it mounts the wanted hierarchy. */
static bool mount_matches(char *line, const char *controller, char **mount_root, char **point) {
  char *tail = strstr(line, " - ");
  if (!tail)
    return false;
  *tail = '\0';
  tail += 3;
  char *save = NULL;
  const char *type = strtok_r(tail, " ", &save);
  strtok_r(NULL, " ", &save);
  const char *super = strtok_r(NULL, " ", &save);
  if (!type || strcmp(type, controller ? "cgroup" : "cgroup2") != 0)
    return false;
  if (controller && !(super && list_has(super, controller)))
    return false;
  char *field = strtok_r(line, " ", &save);
  for (int i = 0; i < 3 && field; i++)
    field = strtok_r(NULL, " ", &save);
  *mount_root = field;
  *point = strtok_r(NULL, " ", &save);
  if (!*mount_root || !*point)
    return false;
  unescape(*mount_root);
  unescape(*point);
  return true;
}

/* The part of `path` below the mounted `mount_root`, or NULL if the path is not below it or leaves
 * the cgroup namespace ("/.."): then only the mount point itself can be asked. */
static const char *path_below(const char *path, const char *mount_root) {
  size_t length = strlen(mount_root);
  if (strstr(path, "/.."))
    return NULL;
  if (length == 1) /* the root "/" */
    return path;
  if (strncmp(path, mount_root, length) != 0 || (path[length] && path[length] != '/'))
    return NULL;
  return path + length;
}

static bool set_dir(struct hierarchy *h, const char *root, const char *point, const char *below) {
  int top = snprintf(h->dir, sizeof h->dir, "%s%s", root, point);
  int all = snprintf(h->dir, sizeof h->dir, "%s%s%s", root, point, below);
  if (top < 0 || all < 0 || (size_t)all >= sizeof h->dir)
    return false;
  h->top = (size_t)top;
  while ((size_t)all > h->top && h->dir[all - 1] == '/')
    h->dir[--all] = '\0';
  return true;
}

/* Looks for the hierarchy among the mounts. A mount that shows the process's own cgroup wins; else
 * the first mount of the hierarchy, as in a container that sees only its own part of the tree. */
static bool find_mount(struct hierarchy *h, const char *root, const char *path) {
  struct reader r;
  bool found = false, exact = false;
  if (!reader_open(&r, root, "/proc/self/mountinfo"))
    return false;
  for (char *line; !exact && (line = reader_line(&r)) != NULL;) {
    char *mount_root, *point;
    if (!mount_matches(line, h->controller, &mount_root, &point))
      continue;
    const char *below = path_below(path, mount_root);
    if (below) {
      exact = set_dir(h, root, point, below);
      found = found || exact;
    } else if (!found) {
      found = set_dir(h, root, point, "");
    }
  }
  close(r.fd);
  return found;
}

static bool locate(struct hierarchy *h, const char *root, const char *controller) {
  char path[2048], point[64];
  h->controller = controller;
  if (!find_path(root, controller, path, sizeof path))
    return false;
  if (find_mount(h, root, path))
    return true;
  /* No list of mounts (a sandbox): try the usual places; at worst the files are not there. */
  snprintf(point, sizeof point, "/sys/fs/cgroup%s%s", controller ? "/" : "",
           controller ? controller : "");
  return set_dir(h, root, point, strstr(path, "/..") ? "" : path);
}

/* Steps to the parent; false at the mount point. */
static bool step_up(struct hierarchy *h) {
  char *slash = strrchr(h->dir, '/');
  if (!slash || (size_t)(slash - h->dir) < h->top)
    return false;
  *slash = '\0';
  return true;
}

static bool read_in(const struct hierarchy *h, const char *leaf, char *to, size_t room) {
  char path[PATH_MAX];
  int n = snprintf(path, sizeof path, "%s/%s", h->dir, leaf);
  return n > 0 && (size_t)n < sizeof path && read_text(path, to, room);
}

/* ---- Memory ------------------------------------------------------------------------------- */

/* Under version 1 an ancestor's limit counts only if that ancestor accounts hierarchically. */
static bool ancestor_counts(const struct hierarchy *h) {
  char text[16];
  return !h->controller || !read_in(h, "memory.use_hierarchy", text, sizeof text) || text[0] != '0';
}

static size_t cgroup_memory(const char *root, const char *controller) {
  struct hierarchy h;
  size_t smallest = TARN_NO_LIMIT;
  bool ancestor = false;
  if (!locate(&h, root, controller))
    return smallest;
  do {
    char text[64];
    uint64_t limit;
    if ((!ancestor || ancestor_counts(&h)) &&
        read_in(&h, controller ? "memory.limit_in_bytes" : "memory.max", text, sizeof text) &&
        parse_number(text, &limit) && limit > 0 && limit < UNLIMITED_FROM && limit < smallest)
      smallest = (size_t)limit;
    ancestor = true;
  } while (step_up(&h));
  return smallest;
}

size_t tarn_limits_physical(void) {
  long pages = tarn_os_fails(TARN_FAULT_LIMITS) ? -1 : sysconf(_SC_PHYS_PAGES);
  return pages > 0 ? to_size((uint64_t)pages * tarn_os_page_size()) : 0;
}

static size_t physical_memory(const char *root) {
  struct reader r;
  uint64_t kib = 0;
  if (reader_open(&r, root, "/proc/meminfo")) {
    for (char *line; kib == 0 && (line = reader_line(&r)) != NULL;) {
      if (strncmp(line, "MemTotal:", 9) == 0)
        parse_number(line + 9 + strspn(line + 9, " \t"), &kib);
    }
    close(r.fd);
  }
  if (kib > 0)
    return to_size(kib > UINT64_MAX / 1024 ? UINT64_MAX : kib * 1024);
  size_t told = tarn_limits_physical();
  return told ? told : ASSUMED_PHYSICAL;
}

/* ---- CPUs --------------------------------------------------------------------------------- */

/* How many CPUs a quota is worth, rounded up: half a CPU still runs one thread. */
static unsigned quota_cpus(uint64_t quota, uint64_t period) {
  if (quota == 0 || period == 0)
    return 0;
  uint64_t cpus = (quota - 1) / period + 1;
  return cpus > UINT_MAX ? UINT_MAX : (unsigned)cpus;
}

/* The quota of one cgroup; 0 if it has none ("max", or -1 under version 1). */
static unsigned quota_here(const struct hierarchy *h) {
  char text[64], period_text[64];
  uint64_t quota, period;
  const char *rest;
  if (h->controller) {
    if (!read_in(h, "cpu.cfs_quota_us", text, sizeof text) ||
        !read_in(h, "cpu.cfs_period_us", period_text, sizeof period_text))
      return 0;
    rest = period_text;
  } else {
    if (!read_in(h, "cpu.max", text, sizeof text))
      return 0;
    rest = text + strcspn(text, " ");
    rest += strspn(rest, " ");
  }
  if (!parse_number(text, &quota) || !parse_number(rest, &period))
    return 0;
  return quota_cpus(quota, period);
}

static unsigned cgroup_cpus(const char *root, const char *controller) {
  struct hierarchy h;
  unsigned smallest = 0;
  if (!locate(&h, root, controller))
    return 0;
  do {
    unsigned here = quota_here(&h);
    if (here && (!smallest || here < smallest))
      smallest = here;
  } while (step_up(&h));
  return smallest;
}

static unsigned affinity_cpus(void) {
  /* Room for 65536 CPUs: the call fails if the kernel knows more than fit. */
  unsigned char mask[8192] __attribute__((aligned(sizeof(long))));
  memset(mask, 0, sizeof mask);
  if (!tarn_os_fails(TARN_FAULT_LIMITS) &&
      sched_getaffinity(0, sizeof mask, (cpu_set_t *)(void *)mask) == 0) {
    int count = CPU_COUNT_S(sizeof mask, (cpu_set_t *)(void *)mask);
    if (count > 0)
      return (unsigned)count;
  }
  long online = tarn_os_fails(TARN_FAULT_LIMITS) ? -1 : sysconf(_SC_NPROCESSORS_ONLN);
  return online > 0 && online <= INT_MAX ? (unsigned)online : 1;
}

/* ---- All of it ---------------------------------------------------------------------------- */

size_t tarn_limits_address_space(void) {
  struct rlimit limit;
  if (tarn_os_fails(TARN_FAULT_LIMITS) || getrlimit(RLIMIT_AS, &limit) != 0 ||
      limit.rlim_cur == RLIM_INFINITY)
    return TARN_NO_LIMIT;
  return to_size(limit.rlim_cur);
}

void tarn_limits_detect_at(const char *root, struct tarn_limits *out) {
  size_t v1 = cgroup_memory(root, "memory"), v2 = cgroup_memory(root, NULL);
  out->physical = physical_memory(root);
  out->cgroup = v1 < v2 ? v1 : v2;
  out->memory = out->cgroup < out->physical ? out->cgroup : out->physical;
  out->address_space = tarn_limits_address_space();

  unsigned q1 = cgroup_cpus(root, "cpu"), q2 = cgroup_cpus(root, NULL);
  out->cpu_quota = q1 && (!q2 || q1 < q2) ? q1 : q2;
  out->cpu_affinity = affinity_cpus();
  out->cpus = out->cpu_affinity;
  if (out->cpu_quota && out->cpu_quota < out->cpus)
    out->cpus = out->cpu_quota;
}

void tarn_limits_detect(struct tarn_limits *out) { tarn_limits_detect_at("", out); }
