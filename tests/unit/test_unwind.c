/* SPDX-License-Identifier: MIT */
/*
 * Stacks: the walk by os/unwind.h finds the return addresses that the C library finds, all of them,
 * for whatever the compiler makes of a function; where it cannot, the C library does it; rules that
 * have become wrong do no harm.
 */
#include "support.h"

#include "os/os.h"
#include "os/stack.h"
#include "os/unwind.h"
#include <alloca.h>
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <ucontext.h>

#define MOST 64

/* Whole, so that its frame is one frame. */
#define PLAIN __attribute__((noinline))

/* --- comparing ------------------------------------------------------------------------------- */

/* Which way a stack is to be found. */
enum way { BY_WALK, BY_LIBRARY, EITHER };

struct stacks {
  uintptr_t library[MOST], all[MOST];
  unsigned library_count, all_count;
#if TARN_UNWIND
  uintptr_t walked[MOST];
  unsigned walked_count;
#endif
};

/* Without the innermost ones, up to `caller`: those of a function itself, and of a sanitizer. */
static unsigned from_caller(uintptr_t *frames, unsigned count, uintptr_t caller) {
  unsigned from = 0;
  while (from < count && frames[from] != caller)
    from++;
  memmove(frames, frames + from, (count - from) * sizeof *frames);
  return count - from < MOST - 8 ? count - from : MOST - 8;
}

/* In each of the three the first is the return address of this function. */
static PLAIN void take_stacks(struct stacks *stacks) {
  uintptr_t caller = (uintptr_t)__builtin_return_address(0);
  stacks->library_count = (unsigned)backtrace((void **)stacks->library, MOST);
  stacks->library_count = from_caller(stacks->library, stacks->library_count, caller);
  stacks->all_count = tarn_os_stack(stacks->all, MOST);
  stacks->all_count =
      stacks->all[1] == caller ? from_caller(stacks->all, stacks->all_count, caller) : 0;
#if TARN_UNWIND
  stacks->walked_count = tarn_unwind(__builtin_frame_address(0), stacks->walked, MOST - 8);
#endif
  __asm__ volatile("" ::: "memory"); /* no tail call */
}

static bool is_same(const struct stacks *stacks, enum way way) {
  unsigned count = stacks->library_count;
  size_t size = count * sizeof(uintptr_t);
  bool same =
      count > 1 && stacks->all_count == count && memcmp(stacks->all, stacks->library, size) == 0;
#if TARN_UNWIND
  bool walked = stacks->walked_count != 0;
  if (way != EITHER)
    same = same && walked == (way == BY_WALK);
  if (walked)
    same =
        same && stacks->walked_count == count && memcmp(stacks->walked, stacks->library, size) == 0;
#else
  (void)way;
#endif
  return same;
}

static void print_stacks(const struct stacks *stacks) {
  for (unsigned i = 0; i < stacks->library_count; i++)
    print_error("library: %#lx\n", (unsigned long)stacks->library[i]);
  for (unsigned i = 0; i < stacks->all_count; i++)
    print_error("all: %#lx\n", (unsigned long)stacks->all[i]);
#if TARN_UNWIND
  for (unsigned i = 0; i < stacks->walked_count; i++)
    print_error("walk: %#lx\n", (unsigned long)stacks->walked[i]);
#endif
}

static _Atomic unsigned compared, different;

/* May be called in any thread, and where a failure could not be left by a longjmp. */
static PLAIN int compare(enum way way) {
  struct stacks stacks;
  for (unsigned round = 0; round < 2; round++) { /* rules that are new, and ones that are known */
    take_stacks(&stacks);
    compared++;
    if (is_same(&stacks, way))
      continue;
    different++;
    print_stacks(&stacks);
  }
  return (int)different;
}

static int compare_walk(void *data) {
  (void)data;
  return compare(BY_WALK);
}

/* Everything before was the same, and there was something. */
#define assert_all_the_same()       \
  do {                              \
    assert_int_equal(different, 0); \
    assert_true(compared > 0);      \
  } while (0)

static int begin(void **state) {
  (void)state;
  compared = different = 0;
#if TARN_UNWIND
  tarn_unwind_forget();
#endif
  return 0;
}

/* --- frames of all kinds --------------------------------------------------------------------- */

typedef int call_fn(void *data);

static PLAIN int recurse(unsigned depth, call_fn *fn) {
  int result = depth ? recurse(depth - 1, fn) : fn(NULL);
  __asm__ volatile("" : "+r"(result)); /* no loop in its place */
  return result;
}

static void recursion_of_any_depth(void **state) {
  (void)state;
  for (unsigned depth = 0; depth < 100; depth++)
    (void)recurse(depth, compare_walk);
  (void)recurse(20000, compare_walk); /* a page after the other */
  assert_all_the_same();
}

static PLAIN int with_much_room(call_fn *fn) {
  volatile char room[200000];
  room[0] = 0;
  return fn(NULL) + room[0];
}

static PLAIN int with_array(size_t size, call_fn *fn) {
  volatile char room[size];
  room[0] = 0;
  return fn(NULL) + room[0];
}

static PLAIN int with_alloca(size_t size, call_fn *fn) {
  volatile char *room = alloca(size);
  room[0] = 0;
  return fn(NULL) + room[0];
}

/* gcc reaches the caller's frame through a word of this one then. */
static PLAIN int aligned(size_t size, call_fn *fn) {
  _Alignas(64) volatile char room[64];
  volatile char *more = alloca(size);
  room[0] = more[0] = 0;
  return fn(NULL) + room[0] + more[0];
}

/* Everything is in registers that have to be saved, the one for frames among them. */
static PLAIN int with_registers(long a, long b, long c, long d, long e, call_fn *fn) {
  long result = fn(NULL);
  __asm__ volatile("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d), "+r"(e));
  result += fn(NULL);
  __asm__ volatile("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d), "+r"(e));
  return (int)(result + (a ^ 1) + (b ^ 2) + (c ^ 3) + (d ^ 4) + (e ^ 5));
}

static int nested(void *data) {
  (void)data;
  return with_registers(1, 2, 3, 4, 5, compare_walk) + with_alloca(3000, compare_walk);
}

static int nested_aligned(void *data) {
  (void)data;
  return aligned(200, compare_walk) + aligned(30000, nested);
}

static void functions_of_all_kinds(void **state) {
  (void)state;
  (void)with_much_room(compare_walk);
  (void)with_array(77, compare_walk);
  (void)with_array(50000, nested);
  (void)with_alloca(10000, nested);
  (void)aligned(100, compare_walk);
  (void)aligned(10000, nested);
  (void)with_registers(1, 2, 3, 4, 5, nested);
  (void)with_alloca(100, nested_aligned);
  (void)with_registers(1, 2, 3, 4, 5, nested_aligned);
  assert_all_the_same();
}

/* 256 functions with frames of 16 sizes: so many addresses that some have to share an entry. */
#define FUNCTION(n)                                                                              \
  static PLAIN int function_##n(unsigned left) {                                                 \
    volatile char room[24 + (0x##n % 16) * 24];                                                  \
    room[0] = 0;                                                                                 \
    return (left ? functions[(left * 37 + 0x##n) % 256](left - 1) : compare(BY_WALK)) + room[0]; \
  }
#define ROW(do, n)                                                                            \
  do                                                                                          \
  (n##0) do(n##1) do(n##2) do(n##3) do(n##4) do(n##5) do(n##6) do(n##7) do(n##8) do(n##9) do( \
      n##a) do(n##b) do(n##c) do(n##d) do(n##e) do(n##f)
#define ALL(do) \
  ROW(do, 0)    \
  ROW(do, 1)    \
  ROW(do, 2)    \
  ROW(do, 3)    \
  ROW(do, 4)    \
  ROW(do, 5)    \
  ROW(do, 6)    \
  ROW(do, 7) ROW(do, 8) ROW(do, 9) ROW(do, a) ROW(do, b) ROW(do, c) ROW(do, d) ROW(do, e) ROW(do, f)
#define NAME(n) function_##n,
#define DECLARE(n) static int function_##n(unsigned left);
ALL(DECLARE)
static int (*const functions[256])(unsigned left) = {ALL(NAME)};
ALL(FUNCTION)

static void many_functions(void **state) {
  (void)state;
  for (unsigned i = 0; i < 1000; i++)
    (void)functions[i % 256](i % 50);
  assert_all_the_same();
}

static int order(const void *a, const void *b) {
  (void)compare(BY_WALK);
  return *(const int *)a - *(const int *)b;
}

static void through_the_c_library(void **state) {
  int numbers[20];
  (void)state;
  for (int i = 0; i < 20; i++)
    numbers[i] = i * 7 % 20;
  qsort(numbers, 20, sizeof numbers[0], order);
  assert_int_equal(numbers[19], 19);
  assert_non_null(bsearch(&(int){7}, numbers, 20, sizeof numbers[0], order));
  assert_all_the_same();
}

/* Less is asked for than there is. */
static PLAIN int a_few(void *data) {
  uintptr_t all[MOST], few[5];
  (void)data;
  unsigned count = tarn_os_stack(all, MOST);
  assert_true(count > 8);
  for (unsigned most = 0; most <= 5; most++) {
    memset(few, 0, sizeof few);
    assert_int_equal(tarn_os_stack(few, most), most);
    for (unsigned i = 0; i < 5; i++)
      assert_true(i < most ? i == 0 ? few[i] != 0 : few[i] == all[i] : few[i] == 0);
  }
  return 0;
}

static void no_more_than_asked_for(void **state) {
  (void)state;
  (void)recurse(10, a_few);
}

/* --- threads, and stacks of other kinds ------------------------------------------------------ */

static void *compare_in_thread(void *data) {
  (void)data;
  (void)compare(BY_WALK); /* right from the thread's first function */
  (void)recurse(50, compare_walk);
  (void)with_array(50000, nested);
  return NULL;
}

static void threads_from_their_beginning(void **state) {
  pthread_attr_t attributes;
  (void)state;
  support_run(compare_in_thread, NULL);
  void *memory = mmap(NULL, 256 * KIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  assert_true(memory != MAP_FAILED);
  pthread_t thread;
  assert_int_equal(pthread_attr_init(&attributes), 0);
  assert_int_equal(pthread_attr_setstack(&attributes, memory, 256 * KIB), 0);
  assert_int_equal(pthread_create(&thread, &attributes, compare_in_thread, NULL), 0);
  assert_int_equal(pthread_join(thread, NULL), 0);
  assert_int_equal(pthread_attr_destroy(&attributes), 0);
  assert_int_equal(munmap(memory, 256 * KIB), 0);
  assert_all_the_same();
}

static _Atomic bool enough;

static void *compare_until_enough(void *data) {
  (void)data;
  while (!enough) {
    (void)compare(BY_WALK);
    (void)functions[compared % 256](20);
  }
  return NULL;
}

/* They share the table, which is emptied under them all the time. */
static void many_threads(void **state) {
  enum { THREADS = 4 };
  pthread_t threads[THREADS];
  (void)state;
  enough = false;
  for (unsigned i = 0; i < THREADS; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, compare_until_enough, NULL), 0);
  for (uint64_t end = tarn_os_now() + 300000000; tarn_os_now() < end; usleep(500))
#if TARN_UNWIND
    tarn_unwind_forget();
#else
    ;
#endif
  enough = true;
  for (unsigned i = 0; i < THREADS; i++)
    assert_int_equal(pthread_join(threads[i], NULL), 0);
  assert_all_the_same();
}

static int compare_library(void *data) {
  (void)data;
  return compare(BY_LIBRARY);
}

static ucontext_t outside, inside;

static void run_coroutine(void) { (void)recurse(5, compare_library); }

/* A stack that is not known to last is left to the C library. */
static void coroutines(void **state) {
  size_t size = 256 * KIB;
  (void)state;
  void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  assert_true(memory != MAP_FAILED);
  (void)compare(BY_WALK);
  assert_int_equal(getcontext(&inside), 0);
  inside.uc_stack.ss_sp = memory;
  inside.uc_stack.ss_size = size;
  inside.uc_link = &outside;
  makecontext(&inside, run_coroutine, 0);
  assert_int_equal(swapcontext(&outside, &inside), 0);
  (void)compare(BY_WALK); /* and here it goes on */
  assert_int_equal(munmap(memory, size), 0);
  assert_all_the_same();
}

/* Sanitizers have handlers of their own, and call those of the program at a time of theirs. */
static const enum way in_handler = SUPPORT_SANITIZED ? EITHER : BY_LIBRARY;

static void handle(int signal) {
  (void)signal;
  (void)compare(in_handler);
}

static int raise_one(void *data) {
  (void)data;
  return raise(SIGUSR1);
}

/* What a signal interrupts may be anywhere, so nothing of it is where a caller would be. */
static void handlers_of_signals(void **state) {
  struct sigaction action = {.sa_handler = handle}, before;
  stack_t other = {.ss_size = 64 * KIB}, old;
  (void)state;
  other.ss_sp = malloc(other.ss_size);
  assert_non_null(other.ss_sp);
  assert_int_equal(sigaltstack(&other, &old), 0);
  for (int flags = 0; flags <= SA_ONSTACK; flags += SA_ONSTACK) {
    action.sa_flags = flags;
    assert_int_equal(sigaction(SIGUSR1, &action, &before), 0);
    (void)recurse(10, raise_one);
    assert_int_equal(sigaction(SIGUSR1, &before, NULL), 0);
  }
  assert_int_equal(sigaltstack(&old, NULL), 0);
  free(other.ss_sp);
  (void)compare(BY_WALK);
  assert_all_the_same();
}

/* --- libraries that come and go -------------------------------------------------------------- */

typedef int module_fn(call_fn *fn, void *data);

static module_fn *open_module(const char *path, void **module) {
  *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!*module)
    print_error("%s\n", dlerror());
  assert_non_null(*module);
  module_fn *fn;
  *(void **)&fn = dlsym(*module, "module_call");
  assert_non_null(fn);
  return fn;
}

static PLAIN int take_any(void *data) {
  take_stacks(data);
  return 0;
}

static void libraries_in_the_place_of_others(void **state) {
  void *module;
  struct stacks stacks;
  (void)state;
  module_fn *first = open_module(UNWIND_MODULE_SMALL, &module);
  assert_int_equal(first(compare_walk, NULL), 0);
  assert_int_equal(dlclose(module), 0);
  module_fn *second = open_module(UNWIND_MODULE_LARGE, &module);
  if (second != first)
    print_message("the second library is not where the first one was\n");
  /* Rules of the first one may be taken for its own: any result will do. */
  assert_int_equal(second(take_any, &stacks), 0);
  usleep(1100000); /* no rule is older than a second */
  assert_int_equal(second(compare_walk, NULL), 0);
  assert_int_equal(dlclose(module), 0);
  assert_all_the_same();
}

/* --- failures -------------------------------------------------------------------------------- */

static void errno_is_kept(void **state) {
  uintptr_t frames[MOST];
  (void)state;
  errno = 12345;
  assert_true(tarn_os_stack(frames, MOST) > 1);
  assert_int_equal(errno, 12345);
}

#if TARN_UNWIND

static void a_system_that_does_not_tell_of_stacks(void **state) {
  (void)state;
  if (!TARN_FAULTS)
    support_skip("no faults in this build");
  tarn_os_fault_kinds(TARN_FAULT_STACK);
  /* The page of one's own frame needs no question; this is many pages deep. */
  (void)with_much_room(compare_library);
  tarn_os_fault_kinds(0);
  tarn_unwind_forget();
  (void)with_much_room(compare_walk);
  assert_all_the_same();
}
#endif

int main(void) {
#define TEST(name) cmocka_unit_test_setup(name, begin)
  tarn_os_stack_start();
  const struct CMUnitTest tests[] = {
    TEST(recursion_of_any_depth),
    TEST(functions_of_all_kinds),
    TEST(many_functions),
    TEST(through_the_c_library),
    TEST(no_more_than_asked_for),
    TEST(threads_from_their_beginning),
    TEST(many_threads),
    TEST(coroutines),
    TEST(handlers_of_signals),
    TEST(libraries_in_the_place_of_others),
    TEST(errno_is_kept),
#if TARN_UNWIND
    TEST(a_system_that_does_not_tell_of_stacks),
#endif
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
