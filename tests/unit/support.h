/* SPDX-License-Identifier: MIT */
/*
 * What several test programs need: worlds without the environment's options, statistics, children
 * that may abort, and how much a test may do in this build.
 */
#ifndef TARN_TESTS_SUPPORT_H
#define TARN_TESTS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <tarn/tarn.h>
#include <unistd.h>

#if defined(TARN_SANITIZE_TSAN) || defined(TARN_SANITIZE_ASAN)
#define SUPPORT_SANITIZED 1
#else
#define SUPPORT_SANITIZED 0
#endif
#if defined(TARN_ZEAL) && TARN_ZEAL
#define SUPPORT_ZEAL 1
#else
#define SUPPORT_ZEAL 0
#endif

/* A macro for the sake of the place that cmocka names. */
#define support_skip(why)                \
  do {                                   \
    print_message("skipped: %s\n", why); \
    skip();                              \
  } while (0)

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

/* Collections come by themselves at every 997th trip to the slow path in zeal builds: at each one
 * they would make tests with large heaps quadratic.  test_zeal-like programs set it lower. */
static inline tarn_status support_try_world(const char *set, tarn_world **world) {
  tarn_options options = TARN_OPTIONS_INIT;
  char text[640];
  snprintf(text, sizeof text, "%s%s%s", set, SUPPORT_ZEAL && *set ? "," : "",
           SUPPORT_ZEAL ? "zeal=997" : "");
  options.set = text;
  options.flags = TARN_OPTIONS_NO_ENVIRONMENT;
  return tarn_world_create(&options, world);
}

static inline tarn_world *support_world(const char *set) {
  tarn_world *world = NULL;
  assert_int_equal(support_try_world(set, &world), TARN_OK);
  assert_non_null(world);
  return world;
}

static inline void support_end(tarn_world *world) {
  assert_int_equal(tarn_world_destroy(world), TARN_OK);
}

static inline tarn_thread *support_attach(tarn_world *world) {
  tarn_thread *self = NULL;
  assert_int_equal(tarn_thread_attach(world, &self), TARN_OK);
  assert_non_null(self);
  return self;
}

static inline tarn_stats support_stats(tarn_world *world) {
  tarn_stats stats = {.struct_size = sizeof stats};
  assert_int_equal(tarn_stats_get(world, &stats), TARN_OK);
  return stats;
}

static inline void support_verify(tarn_thread *self) {
  char message[512] = "";
  tarn_status status = tarn_verify(self, message, sizeof message);
  if (status != TARN_OK)
    print_error("tarn_verify: %s: %s\n", tarn_strerror(status), message);
  assert_int_equal(status, TARN_OK);
}

/* A type of `size` bytes whose words named by `slot_bits` are traced. */
static inline const tarn_type *support_type(tarn_world *world, const char *name, size_t size,
                                            uint64_t slot_bits, tarn_free_fn free_fn) {
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = name;
  spec.size = size;
  spec.slot_bits = slot_bits;
  spec.free = free_fn;
  const tarn_type *type = tarn_type_create(world, &spec, NULL);
  assert_non_null(type);
  return type;
}

static inline const tarn_type *support_array(tarn_world *world, tarn_free_fn free_fn) {
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = "array";
  spec.size = 16;
  spec.element_size = 8;
  spec.flags = TARN_TYPE_ELEMENTS_TRACED;
  spec.free = free_fn;
  const tarn_type *type = tarn_type_create(world, &spec, NULL);
  assert_non_null(type);
  return type;
}

/* For the programs that look at which block comes next and when a pool is empty: hardened builds
 * hand out and take back in the order of the others from here on. */
static inline void support_plain_order(void) {
#if defined(TARN_HARDENED) && TARN_HARDENED
  extern bool tarn_harden_plain; /* heap/harden.h */
  tarn_harden_plain = true;
#endif
}

/* The calling thread keeps no spare pools; what is free stays where it is. */
static inline void support_drop_spares(tarn_world *world) { (void)tarn_trim(world, SIZE_MAX); }

static inline bool support_is_filled(const void *memory, size_t size, unsigned char with) {
  const unsigned char *bytes = memory;
  for (size_t i = 0; i < size; i++)
    if (bytes[i] != with)
      return false;
  return true;
}

/* Runs `fn` in a thread of its own and waits for it. */
static inline void support_run(void *(*fn)(void *), void *data) {
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, fn, data), 0);
  assert_int_equal(pthread_join(thread, NULL), 0);
}

/*
 * In a child: what fails ends the child with 3 and a line that the parent gets.  cmocka's own
 * assertions must not be used there: they would go on with the parent's tests.
 */
#define CHILD_CHECK(condition)                                           \
  do {                                                                   \
    if (!(condition)) {                                                  \
      dprintf(2, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
      _exit(3);                                                          \
    }                                                                    \
  } while (0)

/* A child's world, without the environment's options, and its thread; and the end of both. */
static inline tarn_thread *support_child_begin(const char *set, tarn_world **world) {
  tarn_options options = TARN_OPTIONS_INIT;
  tarn_thread *self;
  options.set = set;
  options.flags = TARN_OPTIONS_NO_ENVIRONMENT;
  CHILD_CHECK(tarn_world_create(&options, world) == TARN_OK);
  CHILD_CHECK(tarn_thread_attach(*world, &self) == TARN_OK);
  return self;
}
static inline void support_child_end(tarn_world *world, tarn_thread *self) {
  CHILD_CHECK(tarn_thread_detach(self) == TARN_OK);
  CHILD_CHECK(tarn_world_destroy(world) == TARN_OK);
}

/* Runs `fn` in a child; `text` gets what it wrote on standard error.  The result of waitpid. */
static inline int support_child(void (*fn)(void *), void *data, char *text, size_t size) {
  int ends[2], status = 0;
  assert_int_equal(pipe(ends), 0);
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    struct rlimit none = {0, 0};
    (void)setrlimit(RLIMIT_CORE, &none);
    (void)dup2(ends[1], 2);
    (void)close(ends[0]);
    (void)close(ends[1]);
    fn(data);
    _exit(0);
  }
  (void)close(ends[1]);
  size_t length = 0;
  char rest[256];
  for (;;) {
    bool room = length + 1 < size;
    ssize_t got =
        read(ends[0], room ? text + length : rest, room ? size - 1 - length : sizeof rest);
    if (got <= 0)
      break;
    if (room)
      length += (size_t)got;
  }
  text[length] = '\0';
  (void)close(ends[0]);
  assert_int_equal(waitpid(child, &status, 0), child);
  return status;
}

/* The same for a child that must end well. */
static inline void support_good_child(void (*fn)(void *), void *data) {
  char text[4096];
  int status = support_child(fn, data, text, sizeof text);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
    print_error("child ended with status %#x and said: %s\n", (unsigned)status, text);
  assert_true(WIFEXITED(status));
  assert_int_equal(WEXITSTATUS(status), 0);
}

#endif
