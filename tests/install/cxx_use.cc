/* SPDX-License-Identifier: MIT */
/*
 * tarn/tarn.hpp in use: each class, failure, moves, exceptions through each scope, and an exception
 * that must not leave a function of a type.  cxx.sh builds it as C++11 and C++20, and runs it.
 */
#include <tarn/tarn.hpp>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <new>
#include <stdexcept>
#include <sys/wait.h>
#include <thread>
#include <type_traits>
#include <unistd.h>

static int failures, news;

#define CHECK(what) check((what), #what, __LINE__)
static void check(bool good, const char *what, int line) {
  if (!good) {
    std::printf("line %d: %s\n", line, what);
    failures++;
  }
}

/* The header promises not to allocate. */
void *operator new(std::size_t size) {
  news++;
  if (void *memory = std::malloc(size))
    return memory;
  throw std::bad_alloc();
}
void operator delete(void *memory) noexcept { std::free(memory); }
void operator delete(void *memory, std::size_t) noexcept { std::free(memory); }

namespace {

struct node {
  const tarn_type *type;
  node *next;
};

int freed;
void count_freed(tarn_world *, void *) { freed++; }
void throw_it(tarn_world *, void *) { throw std::runtime_error("from a free function"); }

template <typename T> constexpr bool moves_only() {
  return !std::is_copy_constructible<T>::value && !std::is_copy_assignable<T>::value &&
         std::is_nothrow_move_constructible<T>::value;
}
static_assert(moves_only<tarn::world>() && moves_only<tarn::thread>(), "");
static_assert(moves_only<tarn::hold>() && moves_only<tarn::blocked>(), "");
static_assert(!std::is_move_constructible<tarn::frame<1>>::value, "");
static_assert(sizeof(tarn::hold) == sizeof(void *), "");

const tarn_type *make_type(tarn_world *world, tarn_free_fn free_function) {
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = "node";
  spec.size = sizeof(node);
  spec.flags = TARN_TYPE_ALL_TRACED;
  spec.free = free_function;
  return tarn_type_create(world, &spec, nullptr);
}

node *make_node(tarn_thread *self, const tarn_type *type) {
  return static_cast<node *>(tarn_new(self, type));
}

/* Calls deeper, so that no copy of a reference stays in the caller's frame or registers. */
void collect(tarn_thread *self) {
  CHECK(tarn_collect(self, TARN_GENERATION_FULL) == TARN_OK);
  tarn_release_pending(self, 0);
}

void roots(tarn_thread *self, const tarn_type *type) {
  freed = 0;
  {
    node *list = nullptr, *last = nullptr;
    tarn::frame<2> both(self, &list, &last);
    last = make_node(self, type);
    list = make_node(self, type);
    list->next = make_node(self, type);
    collect(self);
    CHECK(freed == 0);
    last = nullptr;
    collect(self);
    CHECK(freed == 1);
  }
  collect(self);
  CHECK(freed == 3);
#if defined(__cpp_deduction_guides)
  node *one = make_node(self, type), *two = make_node(self, type);
  tarn::frame some(self, &one, &two);
  collect(self);
  CHECK(freed == 3);
#endif
}

void scopes(tarn_thread *self) {
  {
    tarn::hold outer(self);
    tarn::hold inner(std::move(outer));
    CHECK(tarn_collect(self, 0) == TARN_EHELD);
  }
  CHECK(tarn_collect(self, 0) == TARN_OK);
  {
    tarn::blocked outer(self);
    tarn::blocked inner(std::move(outer));
    CHECK(tarn_collect(self, 0) == TARN_EUNBALANCED);
  }
  CHECK(tarn_collect(self, 0) == TARN_OK);
  CHECK(tarn_thread_status(self) == TARN_OK);
}

void exceptions(tarn_world *world, const tarn_type *type) {
  tarn::thread self(world);
  try {
    node *list = make_node(self, type);
    tarn::frame<1> root(self, &list);
    tarn::hold hold(self);
    node *more = nullptr;
    tarn::frame<1> another(self, &more);
    throw std::runtime_error("through a hold and two frames");
  } catch (const std::runtime_error &) {
  }
  try {
    tarn::blocked region(self);
    throw std::runtime_error("through a blocked region");
  } catch (const std::runtime_error &) {
  }
  CHECK(self.detach() == TARN_OK); /* or TARN_EUNBALANCED, if anything was left open */
  CHECK(!self && self.status() == TARN_EDETACHED);
}

void failure() {
  tarn_options options = TARN_OPTIONS_INIT;
  options.flags = ~0u;
  tarn::world none(&options);
  CHECK(!none && none.status() == TARN_EINVAL && none.get() == nullptr);
  CHECK(none.destroy() == TARN_OK);
  tarn::thread nobody(none);
  CHECK(!nobody && nobody.status() == TARN_EINVAL && nobody.detach() == TARN_OK);
}

void moves() {
  tarn::world first;
  tarn_world *handle = first;
  tarn::world world(std::move(first));
  CHECK(!first && first.status() == TARN_EINVAL && world.get() == handle);
  first = std::move(world);
  CHECK(!world && first.get() == handle && first.status() == TARN_OK);
  CHECK(tarn_thread_self(first) == nullptr);
  {
    tarn::thread one(first);
    tarn::thread two(std::move(one)), three(first);
    CHECK(!one && two && two.get() == three.get());
    three = std::move(two); /* detaches once */
    CHECK(tarn_thread_self(first) == three.get() && !two);
  }
  CHECK(tarn_thread_self(first) == nullptr);
  tarn::thread self(first);
  std::thread([&] { CHECK(first.destroy() == TARN_EBUSY && first); }).join();
  tarn_world *released = nullptr;
  CHECK(self.detach() == TARN_OK && (released = first.release()) == handle && !first);
  CHECK(tarn_world_destroy(released) == TARN_OK);
}

/* The end of a world detaches who ends it; the objects of its attachments go later. */
void ends_first() {
  tarn::world world;
  tarn::thread self(world), again(world);
  CHECK(world.destroy() == TARN_OK && !world);
  tarn::thread moved(std::move(again));
}

void stop_exceptions() {
  pid_t child = fork();
  if (child == 0) {
    std::set_terminate([] { _exit(42); });
    tarn::world world;
    tarn::thread self(world);
    make_node(self, make_type(world, tarn::callback<decltype(&throw_it), throw_it>::call));
    try {
      (void)self.detach();
      (void)world.destroy();
    } catch (...) {
      _exit(1); /* it went through the library */
    }
    _exit(2);
  }
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 42);
}

} // namespace

int main() {
  {
    tarn::world world;
    tarn::thread self(world);
    if (!self) {
      std::printf("%s\n", tarn_strerror(self.status()));
      return 1;
    }
#if defined(__cpp_nontype_template_parameter_auto)
    const tarn_type *type = make_type(world, tarn::no_throw<count_freed>);
#else
    const tarn_type *type =
        make_type(world, tarn::callback<decltype(&count_freed), count_freed>::call);
#endif
    int before = news;
    roots(self, type);
    scopes(self);
    failure();
    CHECK(news == before);
    exceptions(world, type);
  }
  moves();
  ends_first();
  stop_exceptions();
  std::printf("%s\n", failures ? "bad" : "good");
  return failures != 0;
}
