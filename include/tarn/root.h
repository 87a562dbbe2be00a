/* SPDX-License-Identifier: MIT */
/*
 * tarn/root.h: where the collector starts.
 *
 * Frames name local variables, precisely; global slots name single words that live outside the
 * heap; providers are callbacks for what a runtime keeps itself (a VM's own stack).  A thread may
 * also have its C stack and registers scanned conservatively: any word there that points to or into
 * a block keeps it alive.
 */
#ifndef TARN_ROOT_H
#define TARN_ROOT_H

#include <tarn/base.h>
#include <tarn/inline.h>

TARN_BEGIN_DECLS

/*
 * A frame by hand.  `slots` is an array of the addresses of `count` variables, each NULL or any
 * word; frame and array must stay in place until the pop.  Frames are popped in reverse order.
 * Cost: four stores to push, one to pop.
 */
static inline void tarn_frame_push(tarn_thread *self, tarn_frame *frame, void *const *slots,
                                   size_t count) {
  frame->previous = self->tarn_frames;
  frame->slots = slots;
  frame->count = count;
  /* gcc 12 takes it for an address that outlives its variable, and warns, where it does not see the
   * pop on each way out. */
  __asm__("" : "+r"(frame));
  self->tarn_frames = frame;
}

/* Takes the newest frame away, which must be this one. */
static inline void tarn_frame_pop(tarn_thread *self, tarn_frame *frame) {
  self->tarn_frames = frame->previous;
}

/* For TARN_FRAME: pops when the scope ends. */
struct tarn_frame_scope {
  tarn_thread *self; /* whose frame it is */
  tarn_frame frame;  /* which is pushed */
};
/* What its end calls. */
static inline void tarn_frame_leave(struct tarn_frame_scope *scope) {
  tarn_frame_pop(scope->self, &scope->frame);
}

/* For TARN_FRAME: names that differ from line to line. */
#define TARN_PASTE2(a, b) a##b
#define TARN_PASTE(a, b) TARN_PASTE2(a, b)

/*
 * TARN_FRAME(self, &a, &b, ...): the variables are roots until the enclosing scope ends, however it
 * is left (except by longjmp).  Declare and initialise them before; one TARN_FRAME a line.
 */
#define TARN_FRAME(self_, ...)                                       \
  void *const TARN_PASTE(tarn_slots_, __LINE__)[] = {__VA_ARGS__};   \
  struct tarn_frame_scope TARN_PASTE(tarn_scope_, __LINE__)          \
      __attribute__((cleanup(tarn_frame_leave)));                    \
  TARN_PASTE(tarn_scope_, __LINE__).self = (self_);                  \
  tarn_frame_push((self_), &TARN_PASTE(tarn_scope_, __LINE__).frame, \
                  TARN_PASTE(tarn_slots_, __LINE__),                 \
                  sizeof TARN_PASTE(tarn_slots_, __LINE__) / sizeof(void *))

/*
 * Global slots: `*slot` is a root until it is removed.  Adding the same slot twice counts.
 * Errors: TARN_EINVAL, TARN_ENOMEM; remove: TARN_ENOTFOUND.  Any thread, attached or not.
 * Cost: a lock and a hash table.
 */
TARN_API tarn_status tarn_root_add(tarn_world *world, void **slot);
TARN_API tarn_status tarn_root_remove(tarn_world *world, void **slot);

/*
 * A provider is called in each collection, while the world is stopped, and calls `tarn_visit` for
 * each of its references.  The rules of trace functions hold.  The pair (fn, data) names it.
 * Errors and threads as above.
 */
typedef void (*tarn_root_fn)(tarn_visitor *visitor, void *data);
TARN_API tarn_status tarn_root_provider_add(tarn_world *world, tarn_root_fn fn, void *data);
TARN_API tarn_status tarn_root_provider_remove(tarn_world *world, tarn_root_fn fn, void *data);

/*
 * Conservative scan of this thread's C stack and registers, on or off (the default is the option
 * TARN_SCAN_STACK).  Interior pointers count.  Frames still work.
 * Errors: TARN_EINVAL, TARN_EWRONGTHREAD, TARN_ESYSTEM (the stack's bounds cannot be found).
 */
TARN_API tarn_status tarn_thread_scan_stack(tarn_thread *self, bool on);

TARN_END_DECLS

#endif
