/* SPDX-License-Identifier: MIT */
/*
 * Properties of attaching, detaching, handles, names, statuses and records.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <string.h>
#include <tarn/tarn.h>
#include <time.h>

#include "heap/rcu.h"
#include "world/world.h"

static tarn_world *make_world(const char *set) {
  tarn_options options = TARN_OPTIONS_INIT;
  tarn_world *world = NULL;
  options.set = set;
  options.flags = TARN_OPTIONS_NO_ENVIRONMENT;
  assert_int_equal(tarn_world_create(&options, &world), TARN_OK);
  return world;
}

static void end_world(tarn_world *world) { assert_int_equal(tarn_world_destroy(world), TARN_OK); }

static tarn_thread *attach(tarn_world *world) {
  tarn_thread *self = NULL;
  assert_int_equal(tarn_thread_attach(world, &self), TARN_OK);
  assert_non_null(self);
  return self;
}

static void run(void *(*fn)(void *), void *data) {
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, fn, data), 0);
  assert_int_equal(pthread_join(thread, NULL), 0);
}

static void sleep_ms(long ms) {
  struct timespec time = {.tv_nsec = ms * 1000000};
  (void)nanosleep(&time, NULL);
}

static size_t attached(tarn_world *world) {
  return atomic_load_explicit(&world->registry.count, memory_order_relaxed);
}

static void attaching_counts_and_gives_one_handle(void **state) {
  (void)state;
  tarn_world *world = make_world("");
  tarn_thread *first = attach(world), *second = attach(world);
  assert_ptr_equal(first, second);
  assert_ptr_equal(tarn_thread_self(world), first);
  assert_ptr_equal(tarn_thread_world(first), world);
  assert_int_equal(attached(world), 1);
  assert_int_equal(tarn_thread_detach(first), TARN_OK);
  assert_ptr_equal(tarn_thread_self(world), first);
  assert_int_equal(tarn_thread_detach(first), TARN_OK);
  assert_null(tarn_thread_self(world));
  assert_int_equal(attached(world), 0);
  end_world(world);
}

static void bad_arguments_are_refused(void **state) {
  (void)state;
  tarn_world *world = make_world("");
  tarn_thread *self = (tarn_thread *)&world;
  assert_int_equal(tarn_thread_attach(NULL, &self), TARN_EINVAL);
  assert_null(self);
  assert_int_equal(tarn_thread_attach(world, NULL), TARN_EINVAL);
  assert_int_equal(tarn_thread_detach(NULL), TARN_EINVAL);
  assert_int_equal(tarn_thread_status(NULL), TARN_EINVAL);
  assert_int_equal(tarn_thread_set_name(NULL, "x"), TARN_EINVAL);
  assert_int_equal(tarn_thread_scan_stack(NULL, true), TARN_EINVAL);
  assert_null(tarn_thread_self(NULL));
  assert_null(tarn_thread_world(NULL));
  tarn_block_begin(NULL);
  tarn_block_end(NULL);
  tarn_gc_hold(NULL);
  tarn_gc_release(NULL);
  tarn_safepoint_slow(NULL);
  end_world(world);
}

static void a_stale_handle_gets_a_status_and_no_memory(void **state) {
  (void)state;
  tarn_world *world = make_world("");
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.size = 32;
  spec.slot_bits = 2;
  const tarn_type *type = tarn_type_create(world, &spec, NULL);
  tarn_thread *self = attach(world);
  assert_non_null(tarn_new(self, type));
  assert_non_null(tarn_alloc_atomic(self, 40));
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  assert_int_equal(tarn_thread_detach(self), TARN_EDETACHED);
  assert_int_equal(tarn_thread_status(self), TARN_EDETACHED);
  assert_null(tarn_new(self, type));
  assert_null(tarn_alloc_atomic(self, 40));
  assert_int_equal(tarn_collect(self, 2), TARN_EDETACHED);
  tarn_safepoint(self);
  tarn_block_begin(self);
  tarn_block_end(self);
  tarn_gc_hold(self);
  assert_int_equal(self->tarn_holds, 0);
  end_world(world);
}

struct foreign {
  tarn_thread *handle;
  tarn_status check, detach, name, scan, status;
};
static void *use_foreign(void *data) {
  struct foreign *foreign = data;
  foreign->check = tarn_thread_check(foreign->handle);
  foreign->detach = tarn_thread_detach(foreign->handle);
  foreign->name = tarn_thread_set_name(foreign->handle, "thief");
  foreign->scan = tarn_thread_scan_stack(foreign->handle, true);
  foreign->status = tarn_thread_status(foreign->handle);
  tarn_gc_hold(foreign->handle);
  tarn_thread_fail(foreign->handle, TARN_ECORRUPT);
  return NULL;
}

static void another_threads_handle_is_refused(void **state) {
  (void)state;
  tarn_world *world = make_world("");
  struct foreign foreign = {.handle = attach(world)};
  run(use_foreign, &foreign);
  assert_int_equal(foreign.check, TARN_EWRONGTHREAD);
  assert_int_equal(foreign.detach, TARN_EWRONGTHREAD);
  assert_int_equal(foreign.name, TARN_EWRONGTHREAD);
  assert_int_equal(foreign.scan, TARN_EWRONGTHREAD);
  assert_int_equal(foreign.status, TARN_EWRONGTHREAD);
  assert_int_equal(foreign.handle->tarn_holds, 0);
  assert_int_equal(tarn_thread_status(foreign.handle), TARN_OK);
  end_world(world);
}

static void *attach_and_exit(void *data) {
  tarn_world **worlds = data;
  tarn_thread *self;
  for (int i = 0; i < 3; i++) {
    if (tarn_thread_attach(worlds[i], &self) != TARN_OK)
      return NULL;
    tarn_gc_hold(self); /* exits in a hold, twice attached, in all of them */
    (void)tarn_thread_attach(worlds[i], &self);
  }
  tarn_block_begin(tarn_thread_self(worlds[1]));
  return worlds;
}

static void a_thread_that_exits_is_detached_everywhere(void **state) {
  (void)state;
  tarn_world *worlds[3] = {make_world(""), make_world(""), make_world("")};
  void *result = NULL;
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, attach_and_exit, worlds), 0);
  assert_int_equal(pthread_join(thread, &result), 0);
  assert_ptr_equal(result, worlds);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(attached(worlds[i]), 0);
    tarn_thread *self = attach(worlds[i]);
    assert_int_equal(tarn_collect(self, 2), TARN_OK); /* nobody is waited for */
    end_world(worlds[i]);
  }
}

static void handles_of_several_worlds_are_told_apart(void **state) {
  (void)state;
  tarn_world *worlds[4];
  tarn_thread *selves[4];
  for (int i = 0; i < 4; i++) {
    worlds[i] = make_world("");
    selves[i] = attach(worlds[i]);
  }
  for (int round = 0; round < 3; round++)
    for (int i = 0; i < 4; i++) {
      assert_ptr_equal(tarn_thread_self(worlds[(i * 3 + round) % 4]), selves[(i * 3 + round) % 4]);
      assert_int_equal(tarn_thread_check(selves[i]), TARN_OK);
    }
  assert_int_equal(tarn_thread_detach(selves[2]), TARN_OK);
  assert_null(tarn_thread_self(worlds[2]));
  assert_ptr_equal(tarn_thread_self(worlds[0]), selves[0]);
  for (int i = 0; i < 4; i++)
    end_world(worlds[i]);
}

static void *try_attach(void *data) {
  void **arguments = data;
  tarn_thread *self = (tarn_thread *)data;
  *(tarn_status *)arguments[1] = tarn_thread_attach(arguments[0], &self);
  return self;
}

static void too_many_threads_are_refused_until_one_leaves(void **state) {
  (void)state;
  tarn_world *world = make_world("max-threads=1");
  tarn_status status = TARN_OK;
  void *arguments[2] = {world, &status};
  tarn_thread *self = attach(world);
  assert_ptr_equal(attach(world), self); /* no second thread */
  run(try_attach, arguments);
  assert_int_equal(status, TARN_ETHREADS);
  assert_int_equal(attached(world), 1);
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  run(try_attach, arguments);
  assert_int_equal(status, TARN_OK);
  end_world(world);
}

static void detaching_closes_what_was_open(void **state) {
  (void)state;
  tarn_world *world = make_world("");
  tarn_thread *self = attach(world);
  tarn_gc_hold(self);
  assert_int_equal(tarn_thread_detach(self), TARN_EUNBALANCED);
  self = attach(world);
  assert_int_equal(self->tarn_holds, 0);
  tarn_frame frame;
  tarn_frame_push(self, &frame, NULL, 0);
  assert_int_equal(tarn_thread_detach(self), TARN_EUNBALANCED);
  self = attach(world);
  assert_null(self->tarn_frames);
  tarn_block_begin(self);
  assert_int_equal(tarn_thread_detach(self), TARN_EUNBALANCED);
  assert_int_equal(attached(world), 0);
  self = attach(world);
  assert_int_equal(tarn_thread_detach(self), TARN_OK);
  end_world(world);
}

static void unbalanced_ends_set_the_status_and_do_nothing(void **state) {
  (void)state;
  tarn_world *world = make_world("");
  tarn_thread *self = attach(world);
  tarn_block_end(self);
  assert_int_equal(tarn_thread_status(self), TARN_EUNBALANCED);
  assert_int_equal(tarn_thread_status(self), TARN_OK); /* since the last question none failed */
  tarn_gc_release(self);
  assert_int_equal(tarn_thread_status(self), TARN_EUNBALANCED);
  assert_int_equal(self->tarn_holds, 0);
  assert_int_equal(tarn_mutator_of(self)->state, TARN_STATE_RUNNING);
  end_world(world);
}

static void blocked_regions_nest_and_holds_keep_them_running(void **state) {
  (void)state;
  tarn_world *world = make_world("");
  tarn_thread *self = attach(world);
  const struct tarn_mutator *mutator = tarn_mutator_of(self);
  tarn_block_begin(self);
  tarn_block_begin(self);
  assert_int_equal(mutator->state, TARN_STATE_BLOCKED);
  tarn_block_end(self);
  assert_int_equal(mutator->state, TARN_STATE_BLOCKED);
  tarn_block_end(self);
  assert_int_equal(mutator->state, TARN_STATE_RUNNING);
  tarn_gc_hold(self);
  tarn_block_begin(self);
  assert_int_equal(mutator->state, TARN_STATE_RUNNING);
  tarn_gc_release(self); /* the region begins in earnest */
  assert_int_equal(mutator->state, TARN_STATE_BLOCKED);
  tarn_block_end(self);
  assert_int_equal(mutator->state, TARN_STATE_RUNNING);
  end_world(world);
}

static void objects_cannot_be_made_in_a_blocked_region(void **state) {
  (void)state;
  tarn_world *world = make_world("");
  tarn_thread *self = attach(world);
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.size = 64;
  const tarn_type *type = tarn_type_create(world, &spec, NULL);
  tarn_block_begin(self);
  assert_null(tarn_new_slow(self, type));
  assert_int_equal(tarn_thread_status(self), TARN_EUNBALANCED);
  tarn_block_end(self);
  assert_non_null(tarn_new_slow(self, type));
  end_world(world);
}

static void records_are_used_again(void **state) {
  (void)state;
  tarn_world *world = make_world("");
  (void)tarn_thread_detach(attach(world));
  size_t before = tarn_meta_bytes(&world->store.meta);
  for (int i = 0; i < 500; i++)
    assert_int_equal(tarn_thread_detach(attach(world)), TARN_OK);
  assert_int_equal(tarn_meta_bytes(&world->store.meta), before);
  end_world(world);
}

static void *come_and_go(void *data) {
  for (int i = 0; i < 500; i++)
    assert_int_equal(tarn_thread_detach(attach(data)), TARN_OK);
  return NULL;
}

/* Also when grace periods last and all of them detach meanwhile. */
static void records_are_as_many_as_threads_and_a_few(void **state) {
  enum { THREADS = TARN_RECORDS_BLOCK - TARN_RECORDS_WAIT };
  pthread_t threads[THREADS];
  (void)state;
  tarn_world *world = make_world("");
  (void)tarn_thread_detach(attach(world));
  size_t before = tarn_meta_bytes(&world->store.meta);
  for (unsigned i = 0; i < THREADS; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, world), 0);
  for (int i = 0; i < 20; i++) { /* a reader in nearly every grace period */
    tarn_rcu_read_lock();
    sleep_ms(5);
    tarn_rcu_read_unlock();
  }
  for (unsigned i = 0; i < THREADS; i++)
    assert_int_equal(pthread_join(threads[i], NULL), 0);
  assert_int_equal(tarn_meta_bytes(&world->store.meta), before);
  end_world(world);
}

static void names_are_kept_and_cut(void **state) {
  (void)state;
  tarn_world *world = make_world("");
  tarn_thread *self = attach(world);
  assert_true(strlen(tarn_mutator_of(self)->name) > 0);
  assert_int_equal(tarn_thread_set_name(self, "compiler"), TARN_OK);
  assert_string_equal(tarn_mutator_of(self)->name, "compiler");
  assert_int_equal(tarn_thread_set_name(self, "0123456789012345678901234567890123456789"), TARN_OK);
  assert_string_equal(tarn_mutator_of(self)->name, "0123456789012345678901234567890");
  assert_int_equal(tarn_thread_set_name(self, NULL), TARN_EINVAL);
  end_world(world);
}

static _Atomic int progress;
static void *attach_and_tell(void *data) {
  tarn_thread *self;
  atomic_store(&progress, 1);
  if (tarn_thread_attach(data, &self) == TARN_OK)
    atomic_store(&progress, 2);
  return NULL;
}

static void attaching_waits_while_a_stop_is_on(void **state) {
  (void)state;
  tarn_world *world = make_world("");
  pthread_t thread;
  atomic_store(&progress, 0);
  assert_true(tarn_stop_begin(world, NULL));
  assert_int_equal(pthread_create(&thread, NULL, attach_and_tell, world), 0);
  while (atomic_load(&progress) == 0)
    sleep_ms(1);
  sleep_ms(30);
  assert_int_equal(atomic_load(&progress), 1);
  tarn_stop_end(world, NULL);
  assert_int_equal(pthread_join(thread, NULL), 0);
  assert_int_equal(atomic_load(&progress), 2);
  end_world(world);
}

static void *attach_often(void *data) {
  for (int i = 0; i < 400; i++) {
    tarn_thread *self;
    if (tarn_thread_attach(data, &self) != TARN_OK)
      return data;
    (void)tarn_alloc_atomic(self, 64);
    tarn_safepoint(self);
    if (tarn_thread_detach(self) != TARN_OK)
      return data;
  }
  return NULL;
}

static void threads_come_and_go_while_others_stop_the_world_and_ask(void **state) {
  (void)state;
  tarn_world *world = make_world("");
  pthread_t threads[3];
  for (int i = 0; i < 3; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, attach_often, world), 0);
  for (int i = 0; i < 300; i++) {
    if (tarn_stop_begin(world, NULL))
      tarn_stop_end(world, NULL);
    tarn_stop_ask(world, TARN_POLL_RELEASE);
  }
  for (int i = 0; i < 3; i++) {
    void *failed = NULL;
    assert_int_equal(pthread_join(threads[i], &failed), 0);
    assert_null(failed);
  }
  assert_int_equal(attached(world), 0);
  end_world(world);
}

static void statuses_have_sentences(void **state) {
  (void)state;
  for (int i = 0; i <= TARN_EDISABLED; i++) {
    const char *text = tarn_strerror((tarn_status)i);
    assert_non_null(text);
    assert_string_not_equal(text, "unknown status");
    assert_int_not_equal(text[strlen(text) - 1], '.');
  }
  assert_string_equal(tarn_strerror((tarn_status)4711), "unknown status");
  assert_string_equal(tarn_version(), "0.1.0");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(attaching_counts_and_gives_one_handle),
      cmocka_unit_test(bad_arguments_are_refused),
      cmocka_unit_test(a_stale_handle_gets_a_status_and_no_memory),
      cmocka_unit_test(another_threads_handle_is_refused),
      cmocka_unit_test(a_thread_that_exits_is_detached_everywhere),
      cmocka_unit_test(handles_of_several_worlds_are_told_apart),
      cmocka_unit_test(too_many_threads_are_refused_until_one_leaves),
      cmocka_unit_test(detaching_closes_what_was_open),
      cmocka_unit_test(unbalanced_ends_set_the_status_and_do_nothing),
      cmocka_unit_test(blocked_regions_nest_and_holds_keep_them_running),
      cmocka_unit_test(objects_cannot_be_made_in_a_blocked_region),
      cmocka_unit_test(records_are_used_again),
      cmocka_unit_test(records_are_as_many_as_threads_and_a_few),
      cmocka_unit_test(names_are_kept_and_cut),
      cmocka_unit_test(attaching_waits_while_a_stop_is_on),
      cmocka_unit_test(threads_come_and_go_while_others_stop_the_world_and_ask),
      cmocka_unit_test(statuses_have_sentences),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
