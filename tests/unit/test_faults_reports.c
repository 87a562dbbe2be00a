/* SPDX-License-Identifier: MIT */
/*
 * Profiles and metrics when the system refuses something: at each point the call says so, or goes
 * on with less and counts that; what it says it has written is whole; and the program's own
 * allocations are never its victims.
 */
#include "faults.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>

#define BLOCKS 300

static char directory[200];
static unsigned kind_now;

static bool is_one_of(unsigned kinds) { return (kind_now & kinds) != 0; }

/* Which call may fail in which way. */
static bool good(tarn_status status) {
  int error = errno;
  if (status == TARN_OK)
    return true;
  if (status == TARN_ENOMEM)
    CHILD_CHECK(is_one_of(TARN_FAULT_PAGES));
  else
    CHILD_CHECK(status == TARN_ESYSTEM && ((is_one_of(TARN_FAULT_WRITE) && error == ENOSPC) ||
                                           (is_one_of(TARN_FAULT_OPEN) && error == EMFILE)));
  return false;
}

static char text[256 * 1024];
static size_t length;

static bool take(void *data, const char *bytes, size_t size) {
  (void)data;
  CHILD_CHECK(length + size < sizeof text);
  memcpy(text + length, bytes, size);
  length += size;
  text[length] = '\0';
  return true;
}

static const char *path_of(const char *name) {
  static char path[512];
  snprintf(path, sizeof path, "%s/%s", directory, name);
  return path;
}

static void read_file(const char *name) {
  FILE *file = fopen(path_of(name), "r");
  length = file ? fread(text, 1, sizeof text - 1, file) : 0;
  text[length] = '\0';
  if (file)
    (void)fclose(file);
}

static bool ends_in(const char *end) {
  return length >= strlen(end) && strcmp(text + length - strlen(end), end) == 0;
}

static tarn_world *make_world(void) {
  tarn_world *world = NULL;
  char set[600];
  snprintf(set, sizeof set,
           "address-space=256M,collect=0,purger=off,sweeper=off,idle-collect=0,markers=1,"
           "profile-rate=1,profile=%s/p.folded,metrics=%s/m.prom,metrics-every=10ms",
           directory, directory);
  for (unsigned tries = 0; !world && tries < 2; tries++) {
    tarn_status status = support_try_world(set, &world);
    CHILD_CHECK(status == TARN_OK || is_one_of(TARN_FAULT_PAGES));
  }
  CHILD_CHECK(world);
  return world;
}

static tarn_thread *attach(tarn_world *world) {
  tarn_thread *self = NULL;
  if (tarn_thread_attach(world, &self) != TARN_OK)
    CHILD_CHECK(is_one_of(TARN_FAULT_PAGES) && tarn_thread_attach(world, &self) == TARN_OK);
  return self;
}

/* A profile with a rate of one sees each block, or counts that it does not. */
static void allocate(tarn_world *world, tarn_thread *self) {
  void *blocks[BLOCKS];
  unsigned made = 0;
  tarn_profile_info info = {.struct_size = sizeof info};
  for (unsigned i = 0; i < BLOCKS; i++) {
    blocks[i] = tarn_alloc_raw(self, i % 50 == 0 ? 50000 : 100);
    CHILD_CHECK(blocks[i] || is_one_of(TARN_FAULT_PAGES));
    made += blocks[i] ? 1u : 0u;
  }
  CHILD_CHECK(tarn_profile_info_get(world, &info) == TARN_OK);
  CHILD_CHECK(info.samples + info.blind == made && info.in_use == info.samples);
  CHILD_CHECK(info.blind == 0 || is_one_of(TARN_FAULT_PAGES));
  for (unsigned i = 0; i < BLOCKS; i++)
    tarn_free(self, blocks[i]);
  CHILD_CHECK(tarn_profile_info_get(world, &info) == TARN_OK);
  CHILD_CHECK(info.in_use == 0);
}

/* The environment's profile may not have been made. */
static void start(tarn_world *world, tarn_thread *self) {
  tarn_profile_info info = {.struct_size = sizeof info};
  if (tarn_profile_info_get(world, &info) == TARN_OK)
    CHILD_CHECK(tarn_profile_stop(self) == TARN_OK);
  else
    CHILD_CHECK(is_one_of(TARN_FAULT_PAGES));
  if (!good(tarn_profile_start(self, 1)))
    CHILD_CHECK(tarn_profile_start(self, 1) == TARN_OK);
}

static void write_all(tarn_world *world) {
  length = 0;
  if (good(tarn_profile_write(world, TARN_PROFILE_FOLDED, TARN_PROFILE_ALLOC_SPACE, take, NULL)))
    CHILD_CHECK(length > 0 && ends_in("\n") && strstr(text, ";[raw] "));
  (void)good(tarn_profile_write(world, TARN_PROFILE_PPROF, TARN_PROFILE_ALLOC_SPACE, take, NULL));
  length = 0;
  if (good(tarn_metrics_write(world, TARN_METRICS_OPENMETRICS, take, NULL)))
    CHILD_CHECK(ends_in("# EOF\n"));
  if (good(tarn_metrics_write_file(world, TARN_METRICS_JSON, path_of("m.json")))) {
    read_file("m.json");
    CHILD_CHECK(ends_in("}\n"));
  }
  if (good(tarn_profile_write_file(world, TARN_PROFILE_FOLDED, TARN_PROFILE_INUSE_SPACE,
                                   path_of("q.folded"))))
    read_file("q.folded");
}

/* Whatever is there is whole, and nothing is left over.  There: other than where it failed. */
static void check_files(void) {
  DIR *all = opendir(directory);
  CHILD_CHECK(all);
  for (struct dirent *entry; (entry = readdir(all));) {
    if (entry->d_name[0] == '.')
      continue;
    CHILD_CHECK(!strstr(entry->d_name, ".tmp"));
    read_file(entry->d_name);
    if (strcmp(entry->d_name, "m.prom") == 0)
      CHILD_CHECK(ends_in("# EOF\n"));
    CHILD_CHECK(remove(path_of(entry->d_name)) == 0);
  }
  (void)closedir(all);
  CHILD_CHECK(rmdir(directory) == 0);
}

static void play(unsigned kind) {
  const char *where = getenv("TMPDIR");
  kind_now = kind;
  snprintf(directory, sizeof directory, "%s/tarn-reports-XXXXXX", where ? where : P_tmpdir);
  CHILD_CHECK(mkdtemp(directory));
  tarn_world *world = make_world();
  tarn_thread *self = attach(world);
  start(world, self);
  allocate(world, self);
  write_all(world);
  CHILD_CHECK(tarn_thread_detach(self) == TARN_OK);
  while (tarn_world_destroy(world) != TARN_OK)
    CHILD_CHECK(is_one_of(TARN_FAULT_PAGES));
  faults_over();
  check_files();
}

static void reports_live_with_refusals(void **state) {
  static const struct faults_kind kinds[] = {
      {TARN_FAULT_PAGES, "pages", FAULTS_MANY, false, false},
      {TARN_FAULT_WRITE, "write", FAULTS_MANY, true, false},
      {TARN_FAULT_WRITE_SHORT, "short write", FAULTS_SOME, true, false},
      {TARN_FAULT_WRITE_AGAIN, "write again", FAULTS_SOME, true, false},
      {TARN_FAULT_OPEN, "open", FAULTS_MANY, true, false},
      {TARN_FAULT_READ, "read", FAULTS_SOME, true, false},
      {TARN_FAULT_READ_AGAIN, "read again", FAULTS_SOME, true, false},
      {TARN_FAULT_THREAD, "thread", FAULTS_ALL, true, false},
  };
  (void)state;
  if (!TARN_FAULTS)
    support_skip("built without TARN_FAULTS");
  faults_try_all(play, kinds, sizeof kinds / sizeof kinds[0]);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(reports_live_with_refusals)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
