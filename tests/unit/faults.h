/* SPDX-License-Identifier: MIT */
/*
 * For the programs that let system calls fail: a scenario of calls is run again and again, each
 * time in a process of its own, and each time another point of a kind fails, once (see os/os.h).
 *
 * A kind with more points than are to be tried has some of them drawn, one from each stretch; the
 * seed is printed, and TARN_FAULTS_SEED brings the same ones back.  Where threads come to points at
 * the same time the number of a point is another one each time, and the last ones may not come.
 */
#ifndef TARN_TESTS_FAULTS_H
#define TARN_TESTS_FAULTS_H

#include "support.h"

#include "os/os.h"
#include <signal.h>
#include <sys/mman.h>

#define FAULTS_SECONDS 60u /* a child that takes longer hangs */
#define FAULTS_LANES 2u    /* children at the same time */

/* The points that are tried of one kind. */
#define FAULTS_ALL 100000u
#if TARN_TSAN /* a run takes four times as long there */
#define FAULTS_MANY 10u
#define FAULTS_SOME 3u
#else
#define FAULTS_MANY (SUPPORT_SANITIZED ? 25u : FAULTS_ALL)
#define FAULTS_SOME (SUPPORT_SANITIZED ? 6u : 8u)
#endif

struct faults_kind {
  unsigned kind;
  const char *name;
  unsigned most; /* points tried */
  bool each;     /* once more with all of them failing, where the library can live with that */
  bool none;     /* there is no such call in this build */
};

/* One run, in a child that is told this, and leaves in `seen` how many points it came to. */
struct faults_run {
  void (*play)(unsigned kind); /* 0: nothing fails */
  const char *name;
  unsigned kind;
  uint64_t nth; /* 0: the points are counted */
  bool each;    /* all fail, and are counted */
  uint64_t *seen;
  pid_t child; /* 0: none */
  int said;    /* what it writes on standard error */
};

static struct faults_run *faults_own; /* the child's */

/* In a child: nothing fails from here on. */
static inline void faults_over(void) {
  *faults_own->seen = tarn_os_fault_count();
  tarn_os_fault_nth(0, 0);
  tarn_os_fault_kinds(0);
}

static inline _Noreturn void faults_child(struct faults_run *run) {
  const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGSYS, SIGALRM};
  struct rlimit none = {0, 0};
  for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
    (void)signal(signals[i], SIG_DFL);
  (void)setrlimit(RLIMIT_CORE, &none);
  (void)alarm(FAULTS_SECONDS);
  faults_own = run;
  tarn_os_fault_nth(run->kind, run->nth);
  tarn_os_fault_kinds(run->each ? run->kind : 0);
  run->play(run->nth || run->each ? run->kind : 0); /* calls faults_over */
  _exit(10);
}

static inline void faults_start(struct faults_run *run) {
  int ends[2];
  *run->seen = 0;
  assert_int_equal(pipe(ends), 0);
  run->child = fork();
  assert_true(run->child >= 0);
  if (run->child == 0) {
    (void)dup2(ends[1], 2);
    (void)close(ends[0]);
    (void)close(ends[1]);
    faults_child(run);
  }
  (void)close(ends[1]);
  run->said = ends[0];
}

/* The number of failures, 0 or 1. */
static inline unsigned faults_finish(struct faults_run *run) {
  char text[4096], rest[256];
  size_t length = 0;
  ssize_t got;
  int status = 0;
  do {
    size_t room = sizeof text - 1 - length;
    got = room ? read(run->said, text + length, room) : read(run->said, rest, sizeof rest);
    length += room && got > 0 ? (size_t)got : 0;
  } while (got > 0);
  text[length] = '\0';
  (void)close(run->said);
  assert_int_equal(waitpid(run->child, &status, 0), run->child);
  run->child = 0;
  if (WIFEXITED(status) && WEXITSTATUS(status) == 10)
    return 0;
  print_error("%s, point %llu%s: status %#x, said:\n%s\n", run->name, (unsigned long long)run->nth,
              run->each ? " (all)" : "", (unsigned)status, text);
  return 1;
}

static inline uint64_t faults_seed(void) {
  const char *given = getenv("TARN_FAULTS_SEED");
  uint64_t seed = given ? strtoull(given, NULL, 0) : tarn_os_now() ^ (uint64_t)getpid() << 40;
  print_message("TARN_FAULTS_SEED=%llu\n", (unsigned long long)seed);
  return seed;
}

static inline uint64_t faults_next(uint64_t *seed) {
  uint64_t mixed = (*seed += 0x9e3779b97f4a7c15u);
  mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9u;
  return mixed ^ mixed >> 27;
}

/* What runs at the same time. */
struct faults_lanes {
  struct faults_run runs[FAULTS_LANES];
  uint64_t seed;
};

static inline unsigned faults_finish_one(struct faults_run *run, uint64_t *failed) {
  unsigned wrong = run->child ? faults_finish(run) : 0;
  *failed += run->nth && *run->seen >= run->nth;
  run->nth = 0;
  return wrong;
}

/* The number of runs that went wrong. */
static inline unsigned faults_try(struct faults_lanes *lanes, void (*play)(unsigned),
                                  const struct faults_kind *kind) {
  struct faults_run *first = &lanes->runs[0];
  uint64_t failed = 0;
  for (unsigned i = 0; i < FAULTS_LANES; i++)
    lanes->runs[i] = (struct faults_run){
        .play = play, .name = kind->name, .kind = kind->kind, .seen = lanes->runs[i].seen};
  faults_start(first);
  unsigned wrong = faults_finish(first);
  uint64_t count = *first->seen, tries = count < kind->most ? count : kind->most;
  for (uint64_t i = 0; i < tries && wrong < 5; i++) {
    struct faults_run *run = &lanes->runs[i % FAULTS_LANES];
    uint64_t from = i * count / tries, to = (i + 1) * count / tries;
    wrong += faults_finish_one(run, &failed);
    run->nth = from + 1 + faults_next(&lanes->seed) % (to - from);
    faults_start(run);
  }
  for (unsigned i = 0; i < FAULTS_LANES; i++)
    wrong += faults_finish_one(&lanes->runs[i], &failed);
  if (kind->each && !kind->none) {
    first->each = true;
    faults_start(first);
    wrong += faults_finish(first);
  }
  print_message("%-12s %4llu points, %3llu of them failed, one at a time%s%s\n", kind->name,
                (unsigned long long)count, (unsigned long long)failed,
                kind->each && !kind->none ? "; and all" : "",
                kind->none ? "; there are none in this build" : "");
  /* A kind without a point would be one that nobody looks at. */
  if (wrong == 0 && (failed == 0) != kind->none) {
    print_error("%s: %s\n", kind->name, failed ? "expected no point" : "no point");
    wrong++;
  }
  return wrong;
}

static inline void faults_try_all(void (*play)(unsigned), const struct faults_kind *kinds,
                                  size_t count) {
  struct faults_lanes lanes = {.seed = faults_seed()};
  size_t page = tarn_os_page_size();
  unsigned wrong = 0;
  uint64_t *shared = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  assert_true(shared != MAP_FAILED);
  for (unsigned i = 0; i < FAULTS_LANES; i++)
    lanes.runs[i].seen = &shared[i];
  for (size_t i = 0; i < count; i++)
    wrong += faults_try(&lanes, play, &kinds[i]);
  (void)munmap(shared, page);
  assert_int_equal(wrong, 0);
}

#endif
