/* SPDX-License-Identifier: MIT */
/*
 * Blocks that lie apart, the trap for what has died, and the reports that both make possible.
 */
#include "support.h"

#include "collect/collector.h"
#include "heap/apart.h"
#include "inspect/options.h"
#include "os/os.h"
#include <pthread.h>
#include <signal.h>

#define UNIT ((uintptr_t)0x10000)

struct pair {
  const tarn_type *type;
  struct pair *first, *second;
};

static const tarn_type *pair_type(tarn_world *world) {
  return support_type(world, "pair", sizeof(struct pair), 6, NULL);
}

/* Where the optimizer may not look. */
static void *volatile leaked;
static volatile uintptr_t seen;

__attribute__((noinline)) static void look(const void *at) {
  seen = *(const volatile unsigned char *)at;
}

/* --- blocks apart ---------------------------------------------------------------------------- */

static void each_block_has_units_of_its_own(void **unused) {
  (void)unused;
  tarn_world *world = support_world("apart=1");
  tarn_thread *self = support_attach(world);
  const tarn_type *type = pair_type(world);
  struct pair *list = NULL;
  {
    TARN_FRAME(self, &list);
    uintptr_t units[300];
    for (size_t i = 0; i < 300; i++) {
      void *block = i % 3 == 0 ? tarn_new(self, type) : tarn_alloc_atomic(self, (i - 1) * 17);
      assert_non_null(block);
      assert_int_equal((uintptr_t)block % UNIT, 0);
      assert_true(
          support_is_filled((char *)block + sizeof(void *), 16, 0)); /* 0 bytes have a page */
      units[i] = (uintptr_t)block;
      for (size_t k = 0; k < i; k++)
        assert_int_not_equal(units[k], units[i]);
      if (i % 3 == 0) {
        ((struct pair *)block)->first = list;
        list = block;
      }
    }
    assert_int_equal(support_stats(world).pools, 0);
    assert_int_equal(tarn_collect(self, TARN_GENERATION_FULL), TARN_OK);
    support_verify(self);
    assert_int_equal(support_stats(world).large_objects, 100);
    size_t length = 0;
    for (const struct pair *at = list; at; at = at->first)
      length += at->type == type;
    assert_int_equal(length, 100);
  }
  support_end(world);
}

/* Objects with all that a collection treats in its own way. */
static void apart_or_not_a_collection_does_the_same(void **unused) {
  (void)unused;
  tarn_world *world = support_world("apart=1,verify=1");
  tarn_thread *self = support_attach(world);
  const tarn_type *type = pair_type(world);
  struct pair *kept = NULL;
  void *weak = NULL, *gone = NULL, *ephemeron = NULL;
  {
    TARN_FRAME(self, &kept, &weak, &gone, &ephemeron);
    kept = tarn_new(self, type);
    kept->first = tarn_new(self, type);
    weak = tarn_weak_new(self, kept->first);
    struct pair *dead = tarn_new(self, type);
    {
      TARN_FRAME(self, &dead);
      gone = tarn_weak_new(self, dead);
      ephemeron = tarn_ephemeron_new(self, dead, kept);
    }
    dead = NULL;
    assert_int_equal(tarn_collect(self, TARN_GENERATION_FULL), TARN_OK);
    assert_ptr_equal(tarn_weak_get(self, weak), kept->first);
    assert_null(tarn_weak_get(self, gone));
    assert_null(tarn_ephemeron_key(self, ephemeron));
    support_verify(self);
  }
  support_end(world);
}

static void a_sample_is_about_every_nth(void **unused) {
  (void)unused;
  tarn_world *world = support_world("apart=20,collect=0");
  tarn_thread *self = support_attach(world);
  /* Each of these leaves the inlined paths: a piece holds no more than a few of them. */
  for (size_t i = 0; i < 4000; i++)
    assert_non_null(tarn_alloc_atomic(self, 3000));
  uint64_t larges = support_stats(world).large_objects;
  assert_in_range(larges, 4000 / 20 / 4, 4000 / 20 * 2);
  assert_true(support_stats(world).pools > 100);
  support_verify(self);
  assert_int_equal(tarn_collect(self, TARN_GENERATION_FULL), TARN_OK);
  assert_int_equal(support_stats(world).large_objects, 0);
  support_verify(self);
  support_end(world);
}

static void *churn(void *data) {
  tarn_world *world = data;
  tarn_thread *self = support_attach(world);
  const tarn_type *type = pair_type(world);
  struct pair *list = NULL;
  {
    TARN_FRAME(self, &list);
    for (size_t i = 0; i < (SUPPORT_SANITIZED ? 400 : 4000); i++) {
      struct pair *pair = tarn_new(self, type);
      assert_non_null(pair);
      pair->first = list && i % 8 ? list : NULL;
      list = pair;
      void *raw = tarn_alloc_raw(self, 1 + i % 9000);
      assert_non_null(raw);
      memset(raw, 0x5a, 1 + i % 9000);
      if (i % 2)
        tarn_free(self, raw);
      tarn_safepoint(self);
    }
  }
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  return NULL;
}

static void threads_share_the_trap(void **unused) {
  (void)unused;
  tarn_world *world = support_world("apart=3,trap=4M,min-heap=1M,verify=1");
  pthread_t threads[3];
  for (size_t i = 0; i < 3; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, churn, world), 0);
  for (size_t i = 0; i < 3; i++)
    assert_int_equal(pthread_join(threads[i], NULL), 0);
  tarn_thread *self = support_attach(world);
  assert_int_equal(tarn_collect(self, TARN_GENERATION_FULL), TARN_OK);
  support_verify(self);
  assert_true(world->store.trap.units > 0 && world->store.trap.units <= 4 * MIB / UNIT);
  support_end(world);
}

/* --- the trap -------------------------------------------------------------------------------- */

static bool waits(const void *block) {
  uint64_t map = tarn_map_get(tarn_unit_of((uintptr_t)block));
  return map != 0 && tarn_map_world(map) == 0;
}

static void the_oldest_leave_the_trap_first(void **unused) {
  (void)unused;
  tarn_world *world = support_world("trap=1M"); /* 16 units */
  tarn_thread *self = support_attach(world);
  void *blocks[40];
  for (size_t i = 0; i < 40; i++)
    assert_non_null(blocks[i] = tarn_alloc_atomic(self, 60000));
  for (size_t i = 0; i < 40; i++)
    tarn_free(self, blocks[i]);
  size_t units = world->store.trap.units, waiting = 0; /* guards of hardened builds take some */
  while (waiting < 40 && waits(blocks[39 - waiting]))
    waiting++;
  assert_true(units <= 16 && units > 12 && waiting > 0 && units % waiting == 0);
  for (size_t i = 0; i < 40 - waiting; i++)
    assert_false(waits(blocks[i]));
  support_verify(self);
  assert_int_equal(support_stats(world).heap_bytes, 0);
  /* What has left it can be used again, and is zero. */
  void *again = tarn_alloc_atomic(self, 60000);
  assert_false(waits(again));
  assert_true(support_is_filled(again, 60000, 0));
  support_end(world);
}

static void no_allocation_fails_for_what_waits(void **unused) {
  (void)unused;
  tarn_world *world = support_world("trap=64G,hard-limit=4M,collect=0");
  tarn_thread *self = support_attach(world);
  size_t all = tarn_space.size / UNIT;
  if (all > 20000)
    all = 20000; /* of the limit alone, then */
  for (size_t i = 0; i < all + 100; i++) {
    void *block = tarn_alloc_raw(self, 60000);
    assert_non_null(block);
    tarn_free(self, block);
  }
  support_verify(self);
  support_end(world);
}

static void the_whole_range_is_there_after_the_world(void **unused) {
  (void)unused;
  for (size_t round = 0; round < 3; round++) {
    tarn_world *world = support_world("apart=1,trap=64M");
    tarn_thread *self = support_attach(world);
    for (size_t i = 0; i < 300; i++)
      assert_non_null(tarn_alloc_raw(self, 100));
    assert_int_equal(tarn_collect(self, TARN_GENERATION_FULL), TARN_OK);
    assert_in_range(world->store.trap.units, 300, 900); /* hardened: with those of guards */
    support_end(world);
    size_t arenas = tarn_space.size / TARN_ARENA_SIZE;
    void *range = tarn_space_take_arenas(arenas);
    assert_non_null(range);
    memset(range, 1, 40 * MIB); /* nothing of it is shut */
    (void)tarn_os_purge(range, 40 * MIB);
    tarn_space_give_arenas(range, arenas);
  }
}

/* As before Linux 6.13, and where the system gives no guard at all. */
static void trap_by_mappings(void *data) {
  unsigned all = *(unsigned *)data;
  tarn_options options = TARN_OPTIONS_INIT;
  tarn_world *world = NULL;
  tarn_thread *self = NULL;
  options.set = SUPPORT_ZEAL ? "trap=1M,zeal=100000" : "trap=1M"; /* nothing is in a root */
  options.flags = TARN_OPTIONS_NO_ENVIRONMENT;
  CHILD_CHECK(tarn_world_create(&options, &world) == TARN_OK);
  CHILD_CHECK(tarn_thread_attach(world, &self) == TARN_OK);
  void *blocks[40];
  for (size_t i = 0; i < 40; i++) {
    CHILD_CHECK(blocks[i] = tarn_alloc_atomic(self, 60000));
    memset(blocks[i], 0x6b, 60000);
  }
  tarn_os_fault_kinds(all ? TARN_FAULT_GUARD : 0);
  tarn_os_fault_nth(TARN_FAULT_GUARD, 1);
  for (size_t i = 0; i < 40; i++)
    tarn_free(self, blocks[i]);
  CHILD_CHECK(world->store.trap.units == (all ? 0 : 16));
  for (size_t i = 0; i < 40; i++) {
    char *again = tarn_alloc_atomic(self, 60000);
    CHILD_CHECK(again && support_is_filled(again, 60000, 0));
    tarn_free(self, again);
  }
  CHILD_CHECK(tarn_verify(self, NULL, 0) == TARN_OK);
  CHILD_CHECK(tarn_world_destroy(world) == TARN_OK);
}

static void without_guards_that_cost_no_mapping_there_are_others_or_none(void **unused) {
  (void)unused;
  if (!TARN_FAULTS)
    support_skip("built without TARN_FAULTS");
  for (unsigned all = 0; all < 2; all++)
    support_good_child(trap_by_mappings, &all);
}

/* --- faults ---------------------------------------------------------------------------------- */

struct scene {
  tarn_world *world;
  tarn_thread *self;
  const tarn_type *type;
};

static struct scene scene;

static void begin(const char *set) {
  tarn_options options = TARN_OPTIONS_INIT;
  char text[256];
  snprintf(text, sizeof text, "%s%s", set, SUPPORT_ZEAL ? ",zeal=100000" : "");
  options.set = text;
  options.flags = TARN_OPTIONS_NO_ENVIRONMENT;
  (void)signal(SIGSEGV, SIG_DFL);
  (void)signal(SIGBUS, SIG_DFL);
  (void)signal(SIGABRT, SIG_DFL);
  CHILD_CHECK(tarn_world_create(&options, &scene.world) == TARN_OK);
  CHILD_CHECK(tarn_thread_attach(scene.world, &scene.self) == TARN_OK);
  scene.type = pair_type(scene.world);
}

/* The child ends with the signal (a sanitizer may make another end of it) and says all of these. */
static void dies(void (*fn)(void *), int number, const char *const *parts) {
  char text[8192];
  int status = support_child(fn, NULL, text, sizeof text);
  bool by_signal = WIFSIGNALED(status) && WTERMSIG(status) == number;
  bool wrong = !by_signal && !(SUPPORT_SANITIZED && WIFEXITED(status) && WEXITSTATUS(status) != 0 &&
                               WEXITSTATUS(status) != 3);
  for (size_t i = 0; parts[i]; i++)
    wrong = wrong || !strstr(text, parts[i]);
  if (wrong)
    print_error("status %#x, said:\n%s\n", (unsigned)status, text);
  assert_false(wrong);
}

__attribute__((noinline)) static struct pair *make_pair(void) {
  struct pair *pair = tarn_new(scene.self, scene.type);
  CHILD_CHECK(pair != NULL);
  return pair;
}

__attribute__((noinline)) static void free_pair(struct pair *pair) {
  tarn_free(scene.self, pair);
  __asm__ __volatile__(""); /* so that it has a frame during the call */
}

static void use_freed(void *unused) {
  (void)unused;
  begin("apart=1,stacks=1");
  (void)pthread_setname_np(pthread_self(), "careless");
  struct pair *pair = make_pair();
  free_pair(pair);
  look(&pair->second);
}

static void use_after_free_names_type_thread_and_calls(void **unused) {
  (void)unused;
  const char *const parts[] = {"use after free", "24 bytes, type pair", "freed by the program",
                               "made by thread", "freed by thread",     "(careless)",
                               "make_pair",      "free_pair",           NULL};
  dies(use_freed, SIGSEGV, parts);
}

static void use_freed_on_a_small_stack(void *unused) {
  (void)unused;
  static char
      small[16384]; /* what AVX-512 and the like leave of it is less than a report's calls want */
  stack_t stack = {.ss_sp = small, .ss_size = sizeof small};
  begin("apart=1,stacks=1");
  CHILD_CHECK(sigaltstack(&stack, NULL) == 0);
  struct pair *pair = make_pair();
  free_pair(pair);
  look(&pair->second);
}

static void a_small_stack_for_signals_is_enough_for_all_but_the_calls(void **unused) {
  (void)unused;
  const char *const parts[] = {"use after free", "24 bytes, type pair", "freed by thread", NULL};
  dies(use_freed_on_a_small_stack, SIGSEGV, parts);
}

static void use_collected(void *unused) {
  (void)unused;
  begin("apart=1");
  leaked = make_pair();
  CHILD_CHECK(tarn_collect(scene.self, TARN_GENERATION_FULL) == TARN_OK);
  look(leaked);
}

static void use_of_what_was_collected_says_that_a_root_is_missing(void **unused) {
  (void)unused;
  const char *const parts[] = {"a root or a write barrier is missing", "type pair",
                               "taken by a collection", NULL};
  dies(use_collected, SIGSEGV, parts);
}

/* Linux 6.13: guards that cost no mapping. */
static bool has_free_guards(void) {
  void *page = tarn_os_map(tarn_os_page_size());
  bool good = page && tarn_os_guard(page, tarn_os_page_size(), TARN_GUARD_MARKED);
  tarn_os_unmap(page, tarn_os_page_size());
  return good;
}

static void use_beyond(void *unused) {
  (void)unused;
  begin("apart=1");
  char *block = tarn_alloc_atomic(scene.self, 100);
  look(block + tarn_os_page_size() - 1); /* the block has the page */
  look(block + tarn_os_page_size());
}

static void use_beyond_the_last_page_is_a_fault(void **unused) {
  (void)unused;
  if (!has_free_guards())
    support_skip("this system has no guards that cost no mapping");
  const char *const parts[] = {"access beyond the end of a block", "of 100 bytes, type raw: in use",
                               NULL};
  dies(use_beyond, SIGSEGV, parts);
}

static void use_pool(void *unused) {
  (void)unused;
  begin("trap=64M");
  char *first = NULL;
  for (size_t i = 0; i < 5000; i++) {
    char *block = tarn_alloc_atomic(scene.self, 96);
    CHILD_CHECK(block);
    first = first ? first : block;
  }
  CHILD_CHECK(tarn_collect(scene.self, TARN_GENERATION_FULL) == TARN_OK);
  (void)tarn_trim(scene.world, SIZE_MAX); /* sweeps */
  look(first);
}

static void use_of_a_dead_pool_is_a_fault(void **unused) {
  (void)unused;
  const char *const parts[] = {"a pool of blocks of 96 bytes, all of which had died", NULL};
  dies(use_pool, SIGSEGV, parts);
}

static void use_large(void *unused) {
  (void)unused;
  begin("trap=64M");
  char *large = tarn_alloc_atomic(scene.self, 5 * MIB);
  CHILD_CHECK(large);
  tarn_free(scene.self, large);
  (void)tarn_trim(scene.world, SIZE_MAX);
  look(large + 3 * MIB);
}

static void use_of_a_large_object_that_was_freed_is_a_fault(void **unused) {
  (void)unused;
  const char *const parts[] = {"use of memory that was given back: a large object of", NULL};
  dies(use_large, SIGSEGV, parts);
}

static void use_dropped(void *unused) {
  (void)unused;
  tarn_heap *heap;
  begin("apart=1");
  CHILD_CHECK(tarn_heap_create(scene.world, TARN_HEAP_ATOMIC, &heap) == TARN_OK);
  char *block = tarn_heap_alloc(scene.self, heap, 100);
  CHILD_CHECK(block && tarn_heap_destroy(scene.self, heap) == TARN_OK);
  look(block);
}

static void use_of_what_went_with_its_heap_says_so(void **unused) {
  (void)unused;
  const char *const parts[] = {"use after the heap was destroyed", "of 100 bytes",
                               "gone with its heap", NULL};
  dies(use_dropped, SIGSEGV, parts);
}

static void free_twice(void *unused) {
  (void)unused;
  begin("apart=1");
  struct pair *pair = make_pair();
  free_pair(pair);
  free_pair(pair);
}

static void a_double_free_is_explained(void **unused) {
  (void)unused;
  const char *const parts[] = {"not in a pool of the world", "type pair: freed by the program",
                               "made by thread", "freed by thread", NULL};
  dies(free_twice, SIGABRT, parts);
}

static void own_handler(int number) {
  (void)number;
  _exit(42);
}

static void fault_elsewhere(void *unused) {
  (void)unused;
  (void)signal(SIGSEGV, own_handler);
  tarn_options options = TARN_OPTIONS_INIT;
  options.set = "apart=1";
  options.flags = TARN_OPTIONS_NO_ENVIRONMENT;
  CHILD_CHECK(tarn_world_create(&options, &scene.world) == TARN_OK);
  look((const void *)(uintptr_t)64);
}

static void own_handler_with_more(int number, siginfo_t *info, void *context) {
  _exit(number == SIGBUS && info->si_pid == getpid() && context ? 42 : 43);
}

static void send_to_a_handler_with_more(void *unused) {
  (void)unused;
  struct sigaction action = {.sa_sigaction = own_handler_with_more, .sa_flags = SA_SIGINFO};
  CHILD_CHECK(sigaction(SIGBUS, &action, NULL) == 0);
  tarn_options options = TARN_OPTIONS_INIT;
  options.set = "apart=1";
  options.flags = TARN_OPTIONS_NO_ENVIRONMENT;
  CHILD_CHECK(tarn_world_create(&options, &scene.world) == TARN_OK);
  (void)kill(getpid(), SIGBUS);
}

static void other_faults_go_where_they_went(void **unused) {
  (void)unused;
  void (*const ways[])(void *) = {fault_elsewhere, send_to_a_handler_with_more};
  for (size_t i = 0; i < 2; i++) {
    char text[4096];
    int status = support_child(ways[i], NULL, text, sizeof text);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 42);
    assert_string_equal(text, "");
  }
}

static void send_to_nobody(void *unused) {
  (void)unused;
  begin("apart=1");
  (void)kill(getpid(), SIGSEGV);
}

static void a_fault_that_is_sent_ends_the_process_as_ever(void **unused) {
  (void)unused;
  const char *const parts[] = {NULL};
  dies(send_to_nobody, SIGSEGV, parts);
}

/* --- references to what was collected -------------------------------------------------------- */

static void lose(void) {
  leaked = make_pair();
  CHILD_CHECK(tarn_collect(scene.self, TARN_GENERATION_FULL) == TARN_OK);
}

static void lost_in_object(void *unused) {
  (void)unused;
  begin("apart=1,verify=1");
  struct pair *holder = make_pair();
  TARN_FRAME(scene.self, &holder);
  lose();
  holder->second = leaked;
  (void)tarn_collect(scene.self, TARN_GENERATION_FULL);
}
static void lost_in_frame(void *unused) {
  (void)unused;
  begin("apart=1,verify=1");
  void *variable = NULL;
  TARN_FRAME(scene.self, &variable);
  lose();
  variable = leaked;
  (void)tarn_collect(scene.self, TARN_GENERATION_FULL);
}
static void lost_in_root(void *unused) {
  (void)unused;
  static void *root;
  begin("apart=1,verify=1");
  CHILD_CHECK(tarn_root_add(scene.world, &root) == TARN_OK);
  lose();
  root = leaked;
  (void)tarn_collect(scene.self, TARN_GENERATION_FULL);
}
static void provide(tarn_visitor *visitor, void *data) { tarn_visit(visitor, *(void **)data); }
static void lost_in_provider(void *unused) {
  (void)unused;
  static void *variable;
  begin("apart=1,verify=1");
  CHILD_CHECK(tarn_root_provider_add(scene.world, provide, &variable) == TARN_OK);
  lose();
  variable = leaked;
  (void)tarn_collect(scene.self, TARN_GENERATION_FULL);
}

static void a_missing_root_is_found_by_the_reference_that_stayed(void **unused) {
  (void)unused;
  const char *const object[] = {"object ",
                                "(type pair) refers to",
                                "a root or a write barrier was missing",
                                "type pair: taken by a collection",
                                "type pair: in use",
                                NULL};
  const char *const frame[] = {"a frame refers to", "type pair: taken by a collection", NULL};
  const char *const root[] = {"a global root refers to", "taken by a collection", NULL};
  const char *const provider[] = {"a root provider refers to", "taken by a collection", NULL};
  dies(lost_in_object, SIGABRT, object);
  dies(lost_in_frame, SIGABRT, frame);
  dies(lost_in_root, SIGABRT, root);
  dies(lost_in_provider, SIGABRT, provider);
}

static void what_the_program_freed_may_still_be_referred_to(void **unused) {
  (void)unused;
  tarn_world *world = support_world("apart=1,verify=1");
  tarn_thread *self = support_attach(world);
  struct pair *holder = tarn_new(self, pair_type(world));
  {
    TARN_FRAME(self, &holder);
    holder->first = tarn_new(self, pair_type(world));
    tarn_free(self, holder->first);
    assert_int_equal(tarn_collect(self, TARN_GENERATION_FULL), TARN_OK);
    holder->second = (struct pair *)((uintptr_t)holder + UNIT * 100); /* no block was ever there */
    assert_int_equal(tarn_collect(self, TARN_GENERATION_FULL), TARN_OK);
    support_verify(self);
  }
  support_end(world);
}

/* --- descriptions ---------------------------------------------------------------------------- */

static const char *told(tarn_world *world, const void *address) {
  static char text[4096];
  assert_int_equal(tarn_describe(world, address, text, sizeof text), TARN_OK);
  return text;
}

static void any_address_is_described(void **unused) {
  (void)unused;
  tarn_world *world = support_world("apart=1"), *plain = support_world("");
  tarn_thread *self = support_attach(world), *other = support_attach(plain);
  struct pair *pair = tarn_new(self, pair_type(world)), *small = tarn_new(other, pair_type(plain));
  char *raw = tarn_alloc_atomic(other, 40);
  assert_non_null(strstr(told(world, &self), "not in the heap range"));
  assert_non_null(strstr(told(world, pair), "of 24 bytes, type pair: in use"));
  assert_non_null(strstr(told(world, &pair->second), "of 24 bytes, type pair: in use"));
  assert_non_null(strstr(told(plain, small), "a block of 24 bytes"));
  assert_non_null(strstr(told(plain, &small->first), "8 bytes into a block of 24 bytes"));
  assert_non_null(strstr(told(plain, small), "type pair"));
  assert_non_null(strstr(told(plain, raw), ", raw"));
  assert_non_null(strstr(told(world, small), "in another world"));
  assert_non_null(strstr(told(plain, (const char *)small + 16 * MIB * 8), "holds no block"));
  tarn_free(self, pair);
  assert_non_null(strstr(told(world, pair), "freed by the program"));
  char little[5];
  assert_int_equal(tarn_describe(world, pair, little, sizeof little), TARN_OK);
  assert_int_equal(strlen(little), 4);
  assert_int_equal(tarn_describe(NULL, pair, little, sizeof little), TARN_EINVAL);
  assert_int_equal(tarn_describe(world, pair, NULL, 5), TARN_EINVAL);
  assert_int_equal(tarn_describe(world, pair, little, 0), TARN_EINVAL);
  support_end(world);
  support_end(plain);
}

static void a_large_object_is_described_wherever_it_is_pointed_into(void **unused) {
  (void)unused;
  tarn_world *world = support_world("apart=1");
  tarn_thread *self = support_attach(world);
  char *large = tarn_alloc_atomic(self, 5 * MIB);
  assert_non_null(strstr(told(world, large + 3 * MIB), "of 5242880 bytes, type raw: in use"));
  tarn_free(self, large);
  assert_non_null(strstr(told(world, large + 3 * MIB), "of 5242880 bytes, type raw: freed"));
  support_verify(self);
  support_end(world);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      /* In children, and before a world of this process has a handler of faults, which is installed
       * once. */
      cmocka_unit_test(use_after_free_names_type_thread_and_calls),
      cmocka_unit_test(a_small_stack_for_signals_is_enough_for_all_but_the_calls),
      cmocka_unit_test(use_of_what_was_collected_says_that_a_root_is_missing),
      cmocka_unit_test(use_beyond_the_last_page_is_a_fault),
      cmocka_unit_test(use_of_a_dead_pool_is_a_fault),
      cmocka_unit_test(use_of_a_large_object_that_was_freed_is_a_fault),
      cmocka_unit_test(use_of_what_went_with_its_heap_says_so),
      cmocka_unit_test(a_fault_that_is_sent_ends_the_process_as_ever),
      cmocka_unit_test(a_double_free_is_explained),
      cmocka_unit_test(other_faults_go_where_they_went),
      cmocka_unit_test(a_missing_root_is_found_by_the_reference_that_stayed),
      cmocka_unit_test(each_block_has_units_of_its_own),
      cmocka_unit_test(apart_or_not_a_collection_does_the_same),
      cmocka_unit_test(a_sample_is_about_every_nth),
      cmocka_unit_test(threads_share_the_trap),
      cmocka_unit_test(the_oldest_leave_the_trap_first),
      cmocka_unit_test(no_allocation_fails_for_what_waits),
      cmocka_unit_test(without_guards_that_cost_no_mapping_there_are_others_or_none),
      cmocka_unit_test(the_whole_range_is_there_after_the_world),
      cmocka_unit_test(what_the_program_freed_may_still_be_referred_to),
      cmocka_unit_test(any_address_is_described),
      cmocka_unit_test(a_large_object_is_described_wherever_it_is_pointed_into),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
