/* SPDX-License-Identifier: MIT */
/*
 * equal.c: eqv? and equal?, which ends for all data.
 *
 * Data may be circular, and a part may stand at more places than there is time for.  So equal?
 * walks in two ways by turns, an idea of Adams and Dybvig.  Plainly: each part where it stands.  Or
 * with notes: two objects that are compared are taken to be equal from then on, for otherwise the
 * whole is not equal, and not looked at again.  What is taken to be equal is one class of a
 * union-find; each note makes one class of two, so there are fewer of them than objects.  Notes are
 * dear; plain walks may go in circles.  So a plain walk ends after a number of steps, by chance
 * more or fewer, and the next one begins only after enough notes: small data needs none, large
 * trees few.
 *
 * The walk has its frames on the VM's stack: depth is no matter, and what is compared is rooted,
 * also if other threads take it apart meanwhile.  It polls at each step but those of plain walks.
 */
#include "scheme.h"

#define FEW 100          /* pairs */
#define PLAIN_STEPS 2000 /* on average */
#define NOTES 40         /* between two plain walks */

enum result { DIFFERENT, EQUAL, HAVE_PARTS, NO_MEMORY, TOO_DEEP };

/* Two objects with parts, and which is next. */
struct frame {
  scm a, b, next;
};

struct comparison {
  struct vm *vm;
  struct frame *top; /* what comes after what is at hand, on the VM's stack */
  bool polls;
  int left;                        /* steps of the plain walk; 0: no plain walk */
  const struct frame *plain_top;   /* where that began, until it is judged; or NULL */
  size_t notes, notes_before_next; /* that made one class of two, in a row; before a plain walk */
  uint32_t random;
  struct seen classes; /* the word is another object of the class, or the object itself: the root */
};

bool is_eqv(scm a, scm b) { return a == b || (is_object(a) && is_object(b) && number_equal(a, b)); }

/* Of two objects of one type, neither pairs nor symbols. */
static enum result compare_objects(scm a, scm b) {
  if (is_string(a))
    return string_equal(a, b) ? EQUAL : DIFFERENT;
  if (is_vector(a))
    return vector_of(a)->count == vector_of(b)->count ? HAVE_PARTS : DIFFERENT;
  if (!is_bytevector(a))
    return number_equal(a, b) ? EQUAL : DIFFERENT;
  const struct bytevector *x = bytevector_of(a), *y = bytevector_of(b);
  return x->count == y->count && memcmp(x->bytes, y->bytes, x->count) == 0 ? EQUAL : DIFFERENT;
}

/* As far as it is known without looking at parts. */
static inline enum result compare_at_once(scm a, scm b) {
  if (a == b)
    return EQUAL;
  if (!is_object(a) || !is_object(b) || type_of(a) != type_of(b) || type_of(a) == types.symbol)
    return DIFFERENT;
  return type_of(a) == types.pair ? HAVE_PARTS : compare_objects(a, b);
}

/* The same where there are but pairs, and few: `*left` at most.  They need no preparation. */
static enum result compare_few(scm a, scm b, int *left) {
  enum result result = compare_at_once(a, b);
  while (result == HAVE_PARTS && is_pair(a) && --*left >= 0) {
    scm first = car(a), other = car(b);
    result = compare_at_once(first, other);
    if (result == HAVE_PARTS)
      result = compare_few(first, other, left);
    if (result != EQUAL)
      break;
    a = cdr(a);
    b = cdr(b);
    result = compare_at_once(a, b);
  }
  return result;
}

/* --- notes ----------------------------------------------------------------------------------- */

/* The way to the root becomes shorter each time. */
static struct sight *root_of(struct seen *classes, scm v) {
  struct sight *at = seen_find(classes, v);
  if (!at->object)
    seen_add(classes, at, v, v);
  while (at->word != at->object) {
    struct sight *above = seen_find(classes, at->word);
    at->word = above->word;
    at = above;
  }
  return at;
}

/* A plain walk is over.  If it has left much to be done it went into what is deep, or circular, and
 * the next one is put off twice as long. */
static void judge_plain_walk(struct comparison *c) {
  bool dug = c->top - c->plain_top > PLAIN_STEPS / 8;
  c->notes_before_next = dug ? 2 * c->notes_before_next : NOTES;
  c->plain_top = NULL;
}

static void begin_plain_walk(struct comparison *c) {
  c->random = c->random * 1103515245 + 12345;
  c->left = (int)(1 + (c->random >> 16) % (2 * PLAIN_STEPS));
  c->plain_top = c->top;
  c->notes = 0;
}

/* Notes that the two are equal.  EQUAL: that was known. */
static enum result note(struct comparison *c, scm a, scm b) {
  if (c->plain_top)
    judge_plain_walk(c);
  if (!seen_reserve(&c->classes, 2))
    return NO_MEMORY;
  const struct sight *x = root_of(&c->classes, a);
  struct sight *y = root_of(&c->classes, b);
  if (x == y) {
    c->notes = 0;
    return EQUAL;
  }
  y->word = x->object;
  if (++c->notes == c->notes_before_next)
    begin_plain_walk(c);
  return HAVE_PARTS;
}

/* --- the walk -------------------------------------------------------------------------------- */

/* Parts are a pair's two words, or a vector's items. */
static const scm *parts_of(scm v) {
  return type_of(v) == types.pair ? &pair_of(v)->car : vector_of(v)->items;
}
static size_t count_parts(scm v) { return type_of(v) == types.pair ? 2 : vector_of(v)->count; }

static void poll(struct comparison *c, const struct frame *at) {
  *c->top = *at;
  c->vm->sp = (scm *)(c->top + 1);
  tarn_safepoint(c->vm->self);
}

/* Goes on to two parts that have parts themselves, which become `*inner`.  EQUAL: none are left. */
static inline enum result compare_parts(struct comparison *c, struct frame *at,
                                        struct frame *inner) {
  const scm *parts = parts_of(at->a), *others = parts_of(at->b);
  size_t i = (size_t)fixnum_value(at->next), count = count_parts(at->a);
  while (i < count) {
    if (c->left > 0)
      c->left--;
    else if (c->polls)
      poll(c, at);
    scm a = parts[i], b = others[i];
    i++;
    enum result result = compare_at_once(a, b);
    if (result == HAVE_PARTS && c->left == 0)
      result = note(c, a, b);
    if (result == EQUAL)
      continue;
    at->next = fixnum((intptr_t)i);
    *inner = (struct frame){a, b, fixnum(0)};
    return result;
  }
  at->next = fixnum((intptr_t)i);
  return EQUAL;
}

static enum result walk(struct comparison *c, scm a, scm b) {
  const struct frame *const bottom = c->top;
  struct frame at = {a, b, fixnum(0)}, inner;
  for (;;) {
    if ((scm *)(c->top + 1) > c->vm->limit)
      return TOO_DEEP;
    enum result result = compare_parts(c, &at, &inner);
    if (result == HAVE_PARTS) {
      if ((size_t)fixnum_value(at.next) < count_parts(at.a))
        *c->top++ = at;
      at = inner;
    } else if (result == EQUAL && c->top > bottom)
      at = *--c->top;
    else
      return result;
  }
}

static enum result compare_many(struct vm *vm, scm a, scm b, bool polls) {
  scm *sp = vm->sp;
  struct comparison c = {.vm = vm, .top = (struct frame *)sp, .polls = polls};
  c.notes_before_next = NOTES;
  enum result result = walk(&c, a, b);
  vm->sp = sp;
  seen_drop(&c.classes);
  return result;
}

static int compare_or_fail(struct vm *vm, scm a, scm b, scm kept) {
  (void)kept;
  ROOTS(vm, (void *)&kept);
  enum result result = compare_many(vm, a, b, true);
  if (result == NO_MEMORY)
    (void)out_of_memory(vm);
  else if (result == TOO_DEEP)
    (void)raise_error(vm, "error", "equal?", "too deeply nested", 0);
  return result > EQUAL ? -1 : result == EQUAL;
}

int is_equal(struct vm *vm, scm a, scm b, scm kept) {
  int left = FEW;
  enum result result = compare_few(a, b, &left);
  return result == HAVE_PARTS ? compare_or_fail(vm, a, b, kept) : result == EQUAL;
}

bool is_equal_quietly(struct vm *vm, scm a, scm b) {
  int left = FEW;
  enum result result = compare_few(a, b, &left);
  return (result == HAVE_PARTS ? compare_many(vm, a, b, false) : result) == EQUAL;
}
