/* SPDX-License-Identifier: MIT */
/*
 * collect/weak.h: weak references.
 *
 * A weak reference is a container object of three words: type, target, link.  The target is read
 * and written by any running thread (atomics), and cleared by the collector while the world is
 * stopped.  The link belongs to the collector: not zero exactly while the object is on the list of
 * those that the running collection has met.  The list is empty outside collections.
 */
#ifndef TARN_COLLECT_WEAK_H
#define TARN_COLLECT_WEAK_H

#include <tarn/base.h>

struct tarn_collector;
struct tarn_marker;
struct tarn_mutator;
struct tarn_place;

struct tarn_weak_part {
  uintptr_t list; /* met and not looked at yet; ends with TARN_LINK_END */
  bool made;      /* atomic: there were weak references or ephemerons */
  bool all; /* the running collection looks at all that is weak, also where nothing is young */
};

/* The end of a list through link words.  Not zero, so that being on a list shows. */
#define TARN_LINK_END ((uintptr_t)1)

/* Asked by the forget functions: does this address lie in the heap that goes? */
typedef bool (*tarn_gone_fn)(uintptr_t object, void *data);

tarn_status tarn_weak_start(tarn_world *world);
void tarn_weak_end(tarn_world *world);

/*
 * While roots are marked.  A young collection looks at what is young and at dirty cards.  But an
 * old weak reference may lead to an object that was freed by hand, whose block may be another's
 * now; so after such a free it meets all weak references and ephemerons that are marked, and all
 * weak tables look at all their shards.  Costs the pools of their two sizes.
 */
void tarn_weak_roots(struct tarn_collector *collector);

/* A weak reference or an ephemeron is made. */
void tarn_weak_note_made(struct tarn_collector *collector);

/* The marker met a live weak reference.  Meeting it again is harmless. */
void tarn_weak_found(struct tarn_collector *collector, void *object);

/*
 * Clears those whose target is not marked, and those whose target has become due for a finalizer in
 * this collection; empties the list.  Returns how many were cleared.
 */
size_t tarn_weak_clear(struct tarn_collector *collector);

/* The world is stopped: calls for each weak reference and ephemeron that is in use. */
typedef void (*tarn_weak_fn)(struct tarn_collector *collector, void *object, bool ephemeron,
                             void *data);
void tarn_weak_each(struct tarn_collector *collector, tarn_weak_fn fn, void *data);

/* The world is stopped and a heap goes: clears the reference if its target is gone. */
void tarn_weak_forget(struct tarn_collector *collector, void *weak, tarn_gone_fn gone, void *data);

/*
 * After the mark: is `word`, tag bits aside, the start of a block of this world without a mark?
 * True as well of blocks that are free (freed by hand), and where no world has a block any more:
 * what refers to them weakly has to forget them.
 */
bool tarn_weak_is_dead(const struct tarn_marker *marker, uintptr_t word);

/*
 * While marking and until the census: is the block in use, marked or not?  tarn_place_in_use alone
 * cannot say, because marking overwrites what the last collection wrote into mark bytes.
 */
bool tarn_weak_in_use(const struct tarn_marker *marker, const struct tarn_place *place);

/* May the thread make weak references?  Not in worlds that count references. */
tarn_status tarn_weak_check(tarn_thread *self);

/*
 * For calls that get a weak reference or an ephemeron: its words, or NULL with the thread's status
 * set if the caller may not use `self`, or `object` is not an object of the type.
 */
uintptr_t *tarn_weak_words(tarn_thread *self, void *object, bool ephemeron);

/* A reference read by a mutator: NULL where the type word shows that its object was freed. */
void *tarn_weak_read(struct tarn_mutator *self, const uintptr_t *word);

#endif
