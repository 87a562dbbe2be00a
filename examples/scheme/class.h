/* SPDX-License-Identifier: MIT */
/*
 * class.h: classes, instances and generic functions, for those that look inside: see class.c.
 */
#ifndef SCHEME_CLASS_H
#define SCHEME_CLASS_H

#include "scheme.h"

struct class {
  const tarn_type *type;
  scm name;  /* a symbol */
  scm super; /* a class; SCM_FALSE: this is <top> */
  scm slots; /* a vector that Scheme never sees: of word n, in place n - 1, a description, which is
              * a list (name raw? keyword init); or SCM_FALSE: a raw word that is C's own */
  const tarn_type *instances; /* their type; NULL: its values are no instances */
  uint64_t raw;               /* bit n: word n of an instance is raw */
};
struct instance { /* of the type that its class made */
  const tarn_type *type;
  scm words[]; /* word 1 and so on; see class_slot_index */
};
struct generic { /* a procedure, which the VM calls by what generic_find gives */
  const tarn_type *type;
  scm name;
  scm table; /* atomic; see class.c */
};

static inline bool is_class(scm v) { return has_type(v, types.class); }
static inline struct class *class_at(scm v) { return (struct class *)v; }
DEFINE_TEST(generic)

static inline bool is_instance(scm v) {
  return is_object(v) && tarn_type_is_a(type_of(v), types.instance);
}
/* Word n of an instance. */
static inline scm *instance_word(scm instance, intptr_t n) { return (scm *)instance + n; }

scm class_of(struct vm *vm, scm v);
bool class_is_a(scm class, scm ancestor); /* is it this class, or one below? */
static inline bool is_a(struct vm *vm, scm v, scm class) {
  return class_is_a(class_of(vm, v), class);
}

/* The number of the word in an instance, the same in all subclasses; -1: there is no such slot.
 * A raw word is an integer of 64 bits with a sign, a managed one may be SCM_UNBOUND. */
intptr_t class_slot_index(scm class, scm name, bool *raw);

/* The method for the class of the first argument, the most specific one; 0: none (kind
 * "no-method").
 */
scm generic_find(struct vm *vm, scm generic, int count, const scm *arguments);

/* For C.  A class below `super`, which has instances; `release` NULL: that of the superclass, if it
 * has one.  `slots`: a list of what stands in the vector `slots`. */
scm class_make(struct vm *vm, scm name, scm super, scm slots, tarn_free_fn release);
/* A class below <object>, and a global variable of its name, at the start.  CLASS_OWN_WORD of its
 * instances is raw and C's own: Scheme sees no slot there, and it is 0 in a new one. */
#define CLASS_OWN_WORD 1
scm class_make_own(struct vm *vm, const char *name, tarn_free_fn release);
scm class_allocate(struct vm *vm, scm class); /* an instance: raw words 0, others unbound */

/* A free function that classes can name, any class: so it must bear instances of all of them, and
 * any integer in raw slots that Scheme can set.  Before there are threads, and 7 at most. */
void class_define_free(const char *name, tarn_free_fn fn);

#endif
