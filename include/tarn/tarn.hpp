/* SPDX-License-Identifier: MIT */
/*
 * tarn/tarn.hpp: Tarn for C++11 and later.
 *
 * What must be ended is ended by a destructor, however the scope is left, also by an exception:
 *
 *   tarn::world world;                    a world, and the calling thread in it
 *   tarn::thread self(world);
 *   if (!self) return self.status();
 *   pair *list = nullptr;
 *   tarn::frame<1> roots(self, &list);    a precise root, until the end of the scope
 *   {
 *     tarn::blocked region(self);         collections do not wait for this thread
 *     read(...);
 *   }
 *
 * All these classes are a few words on the stack.  They allocate nothing, throw nothing, and cost
 * what the calls of C cost that they make.  Failure is a value here as well: a constructor that can
 * fail keeps a status, and the object converts to false.  An object that is false does nothing in
 * its destructor.  Each converts to its handle, so that it can be given to every function of C.
 *
 * Objects of the heap are not C++ objects to Tarn: no constructor and no destructor runs.  A class
 * whose instances lie there has a standard layout, its type in the first word.
 *
 * Exceptions must not leave a function that the library calls: the stack below it is C, with locks
 * taken and threads stopped.  tarn::callback makes such a function of one that might throw; there
 * the process ends with std::terminate, as it does for a function that is noexcept.
 *
 * Thread rules: a world may be used by any thread; all else by the thread that made it.
 */
#ifndef TARN_HPP
#define TARN_HPP

#include <cstddef>
#include <utility>
#include <tarn/tarn.h>

#if !defined(__cplusplus) || __cplusplus < 201103L
#error "tarn/tarn.hpp needs C++11 or later; C programs include tarn/tarn.h"
#endif

namespace tarn {

/*
 * A world; it ends with the object.  Errors: those of tarn_world_create, by status().
 *
 * The destructor can do nothing while another thread is attached, and the world is then left as it
 * is: who cannot rule that out calls destroy(), and sees TARN_EBUSY.
 */
class world {
public:
  explicit world(const tarn_options *options = nullptr) noexcept
      : handle_(nullptr), status_(tarn_world_create(options, &handle_)) {}
  world(world &&other) noexcept
      : handle_(other.release()), status_(handle_ ? TARN_OK : other.status_) {}
  world &operator=(world &&other) noexcept {
    world taken(std::move(other));
    std::swap(handle_, taken.handle_);
    std::swap(status_, taken.status_);
    return *this;
  }
  world(const world &) = delete;
  world &operator=(const world &) = delete;
  ~world() { (void)destroy(); }

  /* Ends the world now.  On an error it is still there, and still this object's. */
  tarn_status destroy() noexcept {
    tarn_status status = handle_ ? tarn_world_destroy(handle_) : TARN_OK;
    if (status == TARN_OK)
      (void)release();
    return status;
  }

  /* The world, which is the caller's to end from now on; this object is false. */
  tarn_world *release() noexcept {
    tarn_world *handle = handle_;
    handle_ = nullptr;
    if (status_ == TARN_OK)
      status_ = TARN_EINVAL;
    return handle;
  }

  /* The world, which stays this object's to end; NULL if it is false. */
  tarn_world *get() const noexcept { return handle_; }
  operator tarn_world *() const noexcept { return handle_; }
  explicit operator bool() const noexcept { return handle_ != nullptr; }

  /* Why it is false: why it could not be made, or TARN_EINVAL: it was moved from, or ended. */
  tarn_status status() const noexcept { return status_; }

private:
  tarn_world *handle_;
  tarn_status status_;
};

/*
 * The calling thread, attached until the object ends.  Attaching twice counts, so functions that do
 * not know whether their caller has attached may have one of their own.  Errors: those of
 * tarn_thread_attach.  It may be moved, but not to another thread.
 *
 * A world that the thread ends meanwhile has detached it: then the destructor does nothing, and the
 * handle is as invalid as all others of that world.
 */
class thread {
public:
  explicit thread(tarn_world *world) noexcept
      : world_(world), handle_(nullptr), status_(tarn_thread_attach(world, &handle_)) {}
  thread(thread &&other) noexcept
      : world_(other.world_), handle_(other.release()),
        status_(handle_ ? TARN_OK : other.status_) {}
  thread &operator=(thread &&other) noexcept {
    thread taken(std::move(other));
    std::swap(world_, taken.world_);
    std::swap(handle_, taken.handle_);
    std::swap(status_, taken.status_);
    return *this;
  }
  thread(const thread &) = delete;
  thread &operator=(const thread &) = delete;
  ~thread() {
    if (handle_ && tarn_thread_self(world_) == handle_) /* looks at nothing of the world */
      (void)detach();
  }

  /* Detaches now.  TARN_EUNBALANCED: detached all the same; after other errors it is attached
   * still, and this object's. */
  tarn_status detach() noexcept {
    tarn_status status = handle_ ? tarn_thread_detach(handle_) : TARN_OK;
    if (status == TARN_OK || status == TARN_EUNBALANCED)
      (void)release();
    return status;
  }

  /* The handle, which is the caller's to detach from now on; this object is false. */
  tarn_thread *release() noexcept {
    tarn_thread *handle = handle_;
    handle_ = nullptr;
    if (status_ == TARN_OK)
      status_ = TARN_EDETACHED;
    return handle;
  }

  /* The handle, which stays this object's to detach; NULL if it is false. */
  tarn_thread *get() const noexcept { return handle_; }
  operator tarn_thread *() const noexcept { return handle_; }
  explicit operator bool() const noexcept { return handle_ != nullptr; }

  /* Why it is false; TARN_EDETACHED: it was moved from, or detached. */
  tarn_status status() const noexcept { return status_; }

private:
  tarn_world *world_;
  tarn_thread *handle_;
  tarn_status status_;
};

/*
 * Local variables as precise roots, `count` of them, until the end of the scope:
 *
 *   tarn::frame<2> roots(self, &list, &last);
 *   tarn::frame roots(self, &list, &last);       the same in C++17
 *
 * Each variable is a pointer, and holds NULL or any word when the frame is made.  Frames end in
 * reverse order.  The collector keeps the address of a frame, so it can be neither moved nor
 * copied, nor made with `new`.  Cost: as tarn_frame_push.
 */
template <std::size_t count> class frame {
public:
  template <typename... T>
  explicit frame(tarn_thread *self, T **...variables) noexcept : self_(self), slots_{variables...} {
    static_assert(count > 0 && sizeof...(T) == count, "as many variables as the frame says");
    tarn_frame_push(self, &frame_, slots_, count);
  }
  frame(const frame &) = delete;
  frame &operator=(const frame &) = delete;
  ~frame() { tarn_frame_pop(self_, &frame_); }
  static void *operator new(std::size_t) = delete;
  static void *operator new[](std::size_t) = delete;

private:
  tarn_thread *self_;
  void *const slots_[count];
  tarn_frame frame_;
};

#if defined(__cpp_deduction_guides)
template <typename... T> frame(tarn_thread *, T **...) -> frame<sizeof...(T)>;
template <typename... T> frame(const thread &, T **...) -> frame<sizeof...(T)>;
#endif

/*
 * The GC lock: the thread is not stopped for as long as this lives, and its objects may be
 * inconsistent.  The end of the outermost hold is a safepoint.  See tarn_gc_hold.
 */
class hold {
public:
  explicit hold(tarn_thread *self) noexcept : self_(self) { tarn_gc_hold(self); }
  hold(hold &&other) noexcept : self_(other.self_) { other.self_ = nullptr; }
  hold &operator=(hold &&other) = delete;
  ~hold() {
    if (self_)
      tarn_gc_release(self_);
  }

private:
  tarn_thread *self_;
};

/*
 * A blocked region: the thread promises not to touch objects for as long as this lives, and
 * collections do not wait for it.  Its end waits while a collection is on.  See tarn_block_begin.
 */
class blocked {
public:
  explicit blocked(tarn_thread *self) noexcept : self_(self) { tarn_block_begin(self); }
  blocked(blocked &&other) noexcept : self_(other.self_) { other.self_ = nullptr; }
  blocked &operator=(blocked &&other) = delete;
  ~blocked() {
    if (self_)
      tarn_block_end(self_);
  }

private:
  tarn_thread *self_;
};

/*
 * A function for the library to call, of one that might throw:
 *
 *   void close_file(tarn_world *world, void *object);
 *   spec.free = tarn::callback<decltype(&close_file), close_file>::call;
 *
 * or, since C++17, tarn::no_throw<close_file>.  `call` is noexcept: an exception that would leave
 * it ends the process by std::terminate, which names it, before any frame of C is unwound.
 */
template <typename Function, Function function> struct callback;
template <typename Result, typename... Arguments, Result (*function)(Arguments...)>
struct callback<Result (*)(Arguments...), function> {
  static Result call(Arguments... arguments) noexcept { return function(arguments...); }
};
#if defined(__cpp_noexcept_function_type)
template <typename Result, typename... Arguments, Result (*function)(Arguments...) noexcept>
struct callback<Result (*)(Arguments...) noexcept, function> {
  static Result call(Arguments... arguments) noexcept { return function(arguments...); }
};
#endif
#if defined(__cpp_nontype_template_parameter_auto)
template <auto function> constexpr auto no_throw = callback<decltype(function), function>::call;
#endif

} // namespace tarn

#endif
