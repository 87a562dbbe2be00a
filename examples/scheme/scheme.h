/* SPDX-License-Identifier: MIT */
/*
 * examples/scheme: a Scheme with parallel threads, classes and C resources, on Tarn.
 *
 * This header is the contract between its files: what a value is, how objects lie in memory, how
 * primitives are written, and who roots what.
 *
 * Values.  A `scm` is one word.  Bit 0 set: a fixnum of 63 bits.  Low bits 110: a flonum whose
 * exponent is not extreme.  Low bits 010: a character, #t, (), and so on.  Low bits 000: the
 * address of an object of the heap, whose first word is its Tarn type.  0 is no value: functions
 * return it when they failed and `vm->condition` says why.
 *
 * Roots.  Tarn never moves an object, so a `scm` in a C variable stays right for as long as
 * something keeps its object alive.  What does:
 *   - the arguments of a primitive lie on the VM's stack, which is a root, until it returns;
 *   - what a constructor below is given it keeps alive itself until it is done;
 *   - everything else that is needed after a call that may allocate (or is a safepoint) is named in
 *     ROOTS(vm, &a, &b), a frame of Tarn's, before that call.  Variables in it are initialised
 *     first.
 * Built with SCHEME_CONSERVATIVE, ROOTS is nothing and the C stack is scanned instead: the same
 * runtime both ways.
 *
 * Stores.  A reference goes into an object by `store` (a barrier), but right after the object was
 * allocated plainly.
 *
 * Threads.  Each has a `struct vm`, passed first to everything.  There is no lock around the whole.
 * Objects that several threads change are the program's to guard.  If it does not, values may be
 * any, but no memory is harmed: a length that may change is not believed twice, and what was a pair
 * is looked at again.  What the runtime shares (symbols, globals, types, ports) is safe.  Calls
 * that may block stand between `tarn_block_begin` and `tarn_block_end`, and touch no object there.
 */
#ifndef SCHEME_H
#define SCHEME_H

#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <tarn/tarn.h>

#ifndef SCHEME_CONSERVATIVE
#define SCHEME_CONSERVATIVE 0
#endif

typedef uintptr_t scm;

/* --- words that are no objects --------------------------------------------------------------- */

#define SCM_IMMEDIATE(n) ((scm)(n) << 8 | 0x02)
#define SCM_FALSE SCM_IMMEDIATE(0)
#define SCM_TRUE SCM_IMMEDIATE(1)
#define SCM_NIL SCM_IMMEDIATE(2)
#define SCM_EOF SCM_IMMEDIATE(3)
#define SCM_UNSPECIFIED SCM_IMMEDIATE(4)
#define SCM_ABSENT SCM_IMMEDIATE(5)  /* an optional argument that was not given */
#define SCM_UNBOUND SCM_IMMEDIATE(6) /* of a variable that has no value yet */

#define FIXNUM_MAX (INTPTR_MAX >> 1)
#define FIXNUM_MIN (INTPTR_MIN >> 1)

static inline bool is_fixnum(scm v) { return v & 1; }
static inline scm fixnum(intptr_t n) { return (scm)n << 1 | 1; }
static inline intptr_t fixnum_value(scm v) { return (intptr_t)v >> 1; }
static inline bool fits_fixnum(intptr_t n) { return n >= FIXNUM_MIN && n <= FIXNUM_MAX; }

static inline bool is_char(scm v) { return (v & 0xff) == 0x0a; }
static inline scm make_char(uint32_t c) { return (scm)c << 8 | 0x0a; }
static inline uint32_t char_value(scm v) { return (uint32_t)(v >> 8); }

static inline scm boolean(bool b) { return b ? SCM_TRUE : SCM_FALSE; }
static inline bool is_true(scm v) { return v != SCM_FALSE; }
static inline bool is_boolean(scm v) { return v == SCM_FALSE || v == SCM_TRUE; }

/* A flonum in a word: the sign goes to the lowest bit and the exponent loses its three highest, so
 * that it must lie between 2^-127 and 2^128; 0.0 and what lies outside are objects, or zero's
 * own words.  The idea is that of Smalltalk systems for 64 bits. */
static inline bool is_flonum_word(scm v) { return (v & 7) == 6; }
static inline double flonum_word_value(scm v) {
  uint64_t bits = v >> 3;
  double d;
  if (bits > 1) /* 0 and 1 are 0.0 and -0.0 */
    bits += (uint64_t)896 << 53;
  bits = bits >> 1 | bits << 63;
  memcpy(&d, &bits, sizeof d);
  return d;
}
/* 0: it does not fit. */
static inline scm flonum_word(double d) {
  uint64_t bits;
  memcpy(&bits, &d, sizeof bits);
  bits = bits << 1 | bits >> 63;
  if (bits > 1) {
    bits -= (uint64_t)896 << 53;
    if (bits >> 61 || bits <= 1)
      return 0;
  }
  return bits << 3 | 6;
}

/* --- objects --------------------------------------------------------------------------------- */

static inline bool is_object(scm v) { return (v & 7) == 0; }
static inline const tarn_type *type_of(scm v) { return tarn_type_of((const void *)v); }

/* All fields of type scm are traced; others are raw. */
struct pair {
  const tarn_type *type;
  scm car, cdr;
};
struct box { /* of a variable that is assigned and captured */
  const tarn_type *type;
  scm value;
};
struct flonum { /* atomic; where the word has no room */
  const tarn_type *type;
  double value;
};
struct string { /* characters of one byte (up to U+00FF) or four, in an atomic block */
  const tarn_type *type;
  size_t length; /* in characters; never changes */
  size_t width;  /* bytes of a character, 1 or 4: use string_width */
  scm chars;     /* the block: use string_chars */
};
struct symbol {
  const tarn_type *type;
  scm name;   /* a string that nobody changes */
  scm value;  /* as a global variable; SCM_UNBOUND.  Use global_ref and global_set */
  scm syntax; /* what it means at the beginning of a form: a macro, a special form, or SCM_FALSE */
  uint64_t hash;
  uint32_t kept;  /* atomic: on the list of those that are never collected */
  uint32_t flags; /* atomic: compile.c's */
};
struct vector { /* also of multiple values, and saved stacks */
  const tarn_type *type;
  size_t count;
  scm items[];
};
struct bytevector { /* atomic */
  const tarn_type *type;
  size_t count;
  uint8_t bytes[];
};
struct code { /* a lambda expression, compiled */
  const tarn_type *type;
  scm name;         /* a symbol or SCM_FALSE */
  scm constants;    /* a vector */
  scm instructions; /* an atomic block of uint32_t */
  size_t length;    /* of instructions */
  uint32_t needed;  /* arguments without which it cannot be called */
  uint32_t rest;    /* 1: takes more, as a list */
  size_t depth;     /* words of stack that a call takes at most */
};
struct closure {
  const tarn_type *type;
  size_t count; /* of free variables */
  scm code;
  scm free[];
};
struct vm;
typedef scm (*primitive_fn)(struct vm *vm, int count, scm *arguments);
struct primitive {
  const tarn_type *type;
  scm name;        /* a symbol */
  primitive_fn fn; /* NULL: the VM does it itself, see vm.c */
  int32_t least, most;
  uint64_t special;
};
struct continuation {
  const tarn_type *type;
  scm stack; /* a vector: the words of the VM's stack */
  scm winders, handlers, bindings;
  size_t serial; /* of the thread, the only one that can go back to it */
  size_t base;   /* where the run of the VM begins on the stack: so can only that one */
};
struct parameter {
  const tarn_type *type;
  scm value, converter;
};
struct promise {
  const tarn_type *type;
  scm box; /* shared by promises that are the same; in it a pair that nobody changes: is it done, */
           /* and the value, or the procedure that gives a promise */
};
struct record { /* of define-record-type */
  const tarn_type *type;
  size_t count;
  scm kind;     /* a record whose kind is itself a word: see prelude.scm */
  scm fields[]; /* count of them */
};
struct condition { /* what `raise` is given by the runtime and by `error` */
  const tarn_type *type;
  scm kind;    /* a symbol: error, wrong-type, out-of-range, unbound, read, file, system, memory */
  scm message; /* a string */
  scm irritants; /* a list */
  scm who;       /* a symbol or SCM_FALSE */
};

/* --- the runtime ----------------------------------------------------------------------------- */

struct types {
  const tarn_type *pair, *box, *flonum, *bignum, *string, *symbol, *vector, *values, *bytevector,
      *code, *closure, *primitive, *continuation, *parameter, *promise, *record, *condition, *macro,
      *alias, *port, *table, *thread, *mutex, *condvar, *guardian, *weak_box, *ephemeron, *class,
      *instance, *generic;
};

extern struct types types; /* written before there are threads */
extern tarn_world *world;

#define VM_STACK ((size_t)1 << 23) /* words; most is never touched */

struct vm { /* one thread's */
  tarn_thread *self;
  scm *stack, *sp, *limit; /* sp: one past the last word in use, whenever anything may collect */
  scm keep[8];             /* arguments of constructors */
  scm condition;           /* why the last call returned 0; what was raised */
  scm winders;             /* of dynamic-wind, innermost first: see prelude.scm */
  scm handlers;            /* exception handlers, innermost first */
  scm bindings;            /* of parameters: a list of (parameter . box) */
  scm thread;              /* the thread object */
  size_t serial;           /* of no other thread that is or was */
};

/* A root until the scope ends; see above. */
#if SCHEME_CONSERVATIVE
#define ROOTS(vm, ...) (void)(vm)
#else
#define ROOTS(vm, ...) TARN_FRAME((vm)->self, __VA_ARGS__)
#endif

static inline bool has_type(scm v, const tarn_type *type) {
  return is_object(v) && type_of(v) == type;
}
#define DEFINE_TEST(name)                                                 \
  static inline bool is_##name(scm v) { return has_type(v, types.name); } \
  static inline struct name *name##_of(scm v) { return (struct name *)v; }
DEFINE_TEST(pair)
DEFINE_TEST(box)
DEFINE_TEST(string)
DEFINE_TEST(symbol)
DEFINE_TEST(vector)
DEFINE_TEST(bytevector)
DEFINE_TEST(code)
DEFINE_TEST(closure)
DEFINE_TEST(primitive)
DEFINE_TEST(continuation)
DEFINE_TEST(parameter)
DEFINE_TEST(promise)
DEFINE_TEST(record)
DEFINE_TEST(condition)

static inline scm car(scm v) { return pair_of(v)->car; }
static inline scm cdr(scm v) { return pair_of(v)->cdr; }
bool is_procedure(scm v);

/* Stores into a traced word of an object that may be old.  Release: a thread that finds the value
 * there finds it whole. */
static inline void store(struct vm *vm, scm object, scm *slot, scm value) {
  __atomic_store_n(slot, value, __ATOMIC_RELEASE);
  tarn_barrier(vm->self, (void *)object, slot);
}

/* Globals: any thread may define while others read.  Release and acquire: what a global leads to
 * is whole for who reads it. */
static inline scm global_ref(scm symbol) {
  return __atomic_load_n(&symbol_of(symbol)->value, __ATOMIC_ACQUIRE);
}
static inline void global_set(struct vm *vm, scm symbol, scm value) {
  __atomic_store_n(&symbol_of(symbol)->value, value, __ATOMIC_RELEASE);
  tarn_barrier(vm->self, (void *)symbol, &symbol_of(symbol)->value);
}

/* --- runtime.c: the world, types, constructors, errors --------------------------------------- */

void runtime_begin(const char *options); /* ends the process if it cannot */
void runtime_end(void);
void must_begin(bool good); /* ends the process if not: there is no memory for what it needs */

/* A VM for the calling thread, which is attached; NULL: no memory.  `vm_drop` detaches. */
struct vm *vm_make(void);
void vm_drop(struct vm *vm);
struct vm *vm_of(tarn_thread *self); /* the calling thread's */

/* Constructors.  0: no memory, and the condition is set. */
scm cons(struct vm *vm, scm a, scm d);
scm make_box(struct vm *vm, scm value);
scm make_vector(struct vm *vm, size_t count, scm fill);
scm make_bytevector(struct vm *vm, size_t count);
scm make_record(struct vm *vm, scm kind, size_t count);
scm make_values(struct vm *vm, int count, const scm *values);
scm list_of(struct vm *vm, size_t count, const scm *items); /* items: rooted by the caller */
/* Any object whose type has a fixed size, cleared. */
void *make_object(struct vm *vm, const tarn_type *type);
/* An array of `count` elements, cleared. */
void *make_array(struct vm *vm, const tarn_type *type, size_t count);
/* An atomic block, cleared, as the value of a slot; its address is the word. */
scm make_block(struct vm *vm, size_t bytes);

/* Errors: all set vm->condition and return 0.  `who` is a primitive's name, of which a % in front
 * is not told; arguments count from 1. */
scm wrong_type(struct vm *vm, const char *who, int argument, scm got);
scm out_of_range(struct vm *vm, const char *who, int argument, scm got);
scm out_of_memory(struct vm *vm);
void keep_reserve(struct vm *vm); /* for the handlers of that; may collect */
scm system_error(struct vm *vm, const char *who, int number, scm irritant); /* number: errno's */
/* `kind` is a condition's; irritants are scm, as many as `count`, at most 4. */
scm raise_error(struct vm *vm, const char *kind, const char *who, const char *message, int count,
                ...);

/*
 * DEFINE("name", function, least, most, test...) { body } defines a primitive.  It takes from
 * `least` to `most` arguments; -1: any number.  Each test, is_pair for example, is of the argument
 * in its place, if that is given: the body sees no other ones.  What may be anything is is_any.
 *
 * The body has `vm`; `who`, the name, for what it says of its arguments; `count` and `arguments`.
 */
#define DEFINE(name, function, least, ...) \
  DEFINE_TESTED(name, function, least, __VA_ARGS__, is_any, is_any, is_any, is_any, 0)
#define DEFINE_TESTED(name, function, least, most, test1, test2, test3, test4, ...)             \
  static inline scm function##_body(struct vm *vm, const char *who, int count, scm *arguments); \
  static scm function(struct vm *vm, int count, scm *arguments) {                               \
    TEST_ARGUMENT(name, 0, least, test1)                                                        \
    TEST_ARGUMENT(name, 1, least, test2)                                                        \
    TEST_ARGUMENT(name, 2, least, test3)                                                        \
    TEST_ARGUMENT(name, 3, least, test4)                                                        \
    return function##_body(vm, name, count, arguments);                                         \
  }                                                                                             \
  __attribute__((constructor)) static void function##_begin(void) {                             \
    static struct primitive_def def = {name, function, least, most, NULL};                      \
    add_primitive(&def);                                                                        \
  }                                                                                             \
  static inline scm function##_body(                                                            \
      struct vm *vm __attribute__((unused)), const char *who __attribute__((unused)),           \
      int count __attribute__((unused)), scm *arguments __attribute__((unused)))
#define TEST_ARGUMENT(name, i, least, test)            \
  if ((i < least || i < count) && !test(arguments[i])) \
    return wrong_type(vm, name, i + 1, arguments[i]);

static inline bool is_any(scm v) { return (void)v, true; }

/* One of one argument, v, that cannot fail. */
#define DEFINE_PREDICATE(name, function, test) \
  DEFINE(name, function, 1, 1) {               \
    const scm v = arguments[0];                \
    return boolean(test);                      \
  }

struct primitive_def {
  const char *name;
  primitive_fn fn;
  int least, most;
  struct primitive_def *next;
};
void add_primitive(struct primitive_def *def); /* to those that runtime_begin defines */
scm define_primitive(struct vm *vm, const struct primitive_def *def);
/* Makes a type of fixed size; the end of the process if that fails.  The words of `slots` as bits.
 */
#define WORD(structure, field) ((uint64_t)1 << offsetof(struct structure, field) / sizeof(scm))
const tarn_type *make_type(const char *name, size_t size, uint64_t slots, tarn_free_fn free);

/* Each file's types, and what else it needs at the start, in this order. */
void number_types(void);
void port_types(void);
void table_types(void);
void thread_types(void);
void guardian_types(void);
void class_types(void);
void symbol_begin(struct vm *vm);
void port_begin(struct vm *vm);
void thread_begin(struct vm *vm);
void guardian_begin(struct vm *vm);
void class_begin(struct vm *vm);
void gobject_begin(struct vm *vm);
void vm_begin(struct vm *vm);
void compile_begin(struct vm *vm);

/* --- symbol.c -------------------------------------------------------------------------------- */

/* The symbol is a variable, or means something as syntax, from now on, and is never collected.
 * False: no memory, and nothing was defined. */
bool define_global(struct vm *vm, scm symbol, scm value);
bool define_syntax(struct vm *vm, scm symbol, scm meaning);
scm intern(struct vm *vm, const char *name);  /* UTF-8 */
scm intern_string(struct vm *vm, scm string); /* the string is copied if the symbol is new */
scm make_uninterned(struct vm *vm, scm string);

/* --- string.c -------------------------------------------------------------------------------- */

scm make_string(struct vm *vm, size_t length, size_t width); /* of NUL characters */
scm string_from(struct vm *vm, const char *utf8);
scm string_from_bytes(struct vm *vm, const char *utf8, size_t bytes); /* bad bytes: U+FFFD */
scm string_slice(struct vm *vm, scm string, size_t start, size_t end);
/* Another thread may make a string wide at any time.  Its writer stores the wide block and then the
 * width; who loads the width first (acquire) finds characters of that width, or more room. */
static inline size_t string_width(scm string) {
  return __atomic_load_n(&string_of(string)->width, __ATOMIC_ACQUIRE);
}
static inline char *string_chars(scm string) {
  return (char *)__atomic_load_n(&string_of(string)->chars, __ATOMIC_RELAXED);
}
static inline uint32_t string_ref(scm string, size_t at) {
  size_t width = string_width(string);
  const void *chars = string_chars(string);
  return width == 1 ? ((const uint8_t *)chars)[at] : ((const uint32_t *)chars)[at];
}
bool string_equal(scm a, scm b);
uint64_t string_hash(scm string);
/* The string in UTF-8 with a NUL, in an atomic block; `*bytes` (may be NULL) without that.  0: no
 * memory. */
scm string_to_utf8(struct vm *vm, scm string, size_t *bytes);
/* UTF-8 of one character: how many bytes, at most 4. */
unsigned encode_utf8(uint32_t c, char *out);
/* Steps over one character, or one bad byte, which counts as U+FFFD; there is at least one byte. */
uint32_t decode_utf8(const uint8_t **at, const uint8_t *end);

/* --- number.c -------------------------------------------------------------------------------- */

bool is_number(scm v);
bool is_integer_object(scm v); /* fixnum or bignum */
bool is_flonum(scm v);         /* a word or an object */
double flonum_value(scm v);    /* of a flonum */
double number_to_double(scm v);
bool integer_to_int64(scm v, int64_t *out); /* false: an integer that does not fit */
scm make_flonum(struct vm *vm, double d);
scm make_integer(struct vm *vm, intptr_t n);
/* The general cases of what the VM does inline for fixnums; errors as for primitives. */
scm number_add(struct vm *vm, scm a, scm b);
scm number_subtract(struct vm *vm, scm a, scm b);
scm number_multiply(struct vm *vm, scm a, scm b);
scm number_quotient(struct vm *vm, scm a, scm b);
scm number_remainder(struct vm *vm, scm a, scm b);
/* -1, 0, 1; 2: not ordered (a NaN); -2: one is no real number, and the condition is set. */
int number_compare(struct vm *vm, scm a, scm b, const char *who);
bool number_equal(scm a, scm b); /* of two numbers, as eqv? */
uint64_t number_hash(scm v);     /* equal by eqv?: equal hash */
/* Reads a number of the given text; SCM_FALSE if it is none, 0 if there is no memory. */
scm parse_number(struct vm *vm, const char *text, size_t length, unsigned radix);
/* Text of a number, a string; 0: no memory. */
scm number_to_string(struct vm *vm, scm v, unsigned radix);

/* --- equal.c, seen.c ------------------------------------------------------------------------- */

bool is_eqv(scm a, scm b);
/* By structure: 1 or 0; -1: it cannot be told, and the condition is set.  Polls: what `kept` is,
 * and the two, are roots meanwhile. */
int is_equal(struct vm *vm, scm a, scm b, scm kept);
/* Does not poll, and sets no condition: false then. */
bool is_equal_quietly(struct vm *vm, scm a, scm b);

/* A word for each of the objects that a walk has met; begins as zeros. */
struct seen {
  struct sight {
    scm object; /* 0: this place is free */
    uintptr_t word;
  } * sights;
  size_t size, used;
};
bool seen_reserve(struct seen *seen, size_t more); /* room for more; false: no memory */
/* The object's place, or the free one where it would be; there is room for one more. */
struct sight *seen_find(const struct seen *seen, scm object);
void seen_add(struct seen *seen, struct sight *place, scm object, uintptr_t word);
void seen_drop(struct seen *seen);

/* --- list.c ---------------------------------------------------------------------------------- */

intptr_t list_length(scm list); /* -1: not a proper list */

/* Of %record-ref or %record-set!: what is wrong with its arguments. */
scm bad_field(struct vm *vm, const scm *arguments);

/* More that primitives ask of their arguments; false: the condition is set.  `argument` is counted
 * from 1, for the message; `which` and `first` are indices of `arguments`. */
bool index_argument(struct vm *vm, const char *who, int argument, scm v, size_t most, size_t *out);
static inline bool all_are(struct vm *vm, const char *who, bool (*test)(scm), int count,
                           const scm *arguments) {
  for (int i = 0; i < count; i++)
    if (!test(arguments[i]))
      return wrong_type(vm, who, i + 1, arguments[i]);
  return true;
}
/* Of strings, vectors and bytevectors, which all have their length in word 1: an index, the second
 * argument; the part from `first` to the next argument, both optional; or both: what is to be
 * copied to, at, from, and the part of that. */
bool item_argument(struct vm *vm, const char *who, const scm *arguments, size_t *at);
bool part_arguments(struct vm *vm, const char *who, int count, const scm *arguments, int which,
                    int first, size_t *start, size_t *end);
bool copy_arguments(struct vm *vm, const char *who, int count, const scm *arguments, size_t *at,
                    size_t *start, size_t *end);

/* --- port.c ---------------------------------------------------------------------------------- */

struct port;
bool is_port(scm v);
scm open_input_bytes(struct vm *vm, const char *utf8, size_t bytes); /* copied */
scm open_input_file(struct vm *vm, const char *path);                /* not of the heap */
/* For who reads many characters: between these two it has the lock of a text input port, and runs
 * no Scheme code.  NULL: failed. */
struct port *port_enter(struct vm *vm, const char *who, scm port);
void port_leave(struct port *port);
/* -1: end; -2: failed, and the condition is set.  Polls. */
int port_read_char(struct vm *vm, struct port *port);
int port_peek_char(struct vm *vm, struct port *port);
size_t port_line(const struct port *port); /* of the next character, from 1 */
bool port_write(struct vm *vm, scm port, const char *utf8, size_t bytes); /* false: failed */
bool port_flush(struct vm *vm, scm port);
bool flush_standard(struct vm *vm); /* the process's two; false: the condition is set */
bool flush_all(struct vm *vm);      /* and all files'; the same */
scm output_port(struct vm *vm);     /* the current ones */
scm input_port(struct vm *vm);
scm error_port(struct vm *vm);
/* The standard input is read by this in place of read(2), in a blocked region. */
typedef ssize_t port_source(int descriptor, void *to, size_t most);
void set_standard_source(port_source *source);

/* --- system.c -------------------------------------------------------------------------------- */

void set_command_line(int count, char **arguments);

/* --- read.c, print.c ------------------------------------------------------------------------- */

extern const struct char_name {
  uint32_t value;
  const char *name;
} char_names[];                          /* up to one without a name; print.c's */
scm read_datum(struct vm *vm, scm port); /* SCM_EOF at the end; 0: failed */
/* False: failed.  `write`: with quotes and escapes; else as display.  Circular structure is cut off
 * by labels (#0=) when written. */
bool print(struct vm *vm, scm v, scm port, bool write);

/* --- table.c --------------------------------------------------------------------------------- */

uint64_t equal_hash(scm v);
/* A table by eq?, as make-eq-hash-table gives.  The caller keeps table, key and value alive. */
scm eq_table(struct vm *vm);
bool table_put(struct vm *vm, scm table, scm key, scm value); /* false: no memory */
scm table_ref(scm table, scm key); /* of such a table; 0: there is none */

/* --- thread.c, guardian.c -------------------------------------------------------------------- */

/* The rule for locks that are held across safepoints: who has to wait does so in a blocked region.
 */
static inline void take_lock(struct vm *vm, pthread_mutex_t *lock) {
  if (pthread_mutex_trylock(lock) == 0)
    return;
  tarn_block_begin(vm->self);
  (void)pthread_mutex_lock(lock);
  tarn_block_end(vm->self);
}
static inline void give_lock(pthread_mutex_t *lock) { (void)pthread_mutex_unlock(lock); }

/* Waits for threads that have ended as far as others see, for a second at most. */
void threads_end(struct vm *vm);

/* With an argument: watches that.  Without: what died of what it watches, or #f. */
scm guardian_call(struct vm *vm, scm guardian, int count, scm *arguments);

/* --- compile.c, vm.c ------------------------------------------------------------------------- */

/* A closure without arguments that evaluates the form at the top level; 0: failed. */
scm compile(struct vm *vm, scm form);
/* Calls a procedure from C: 0 if what it raised was not handled; vm->condition is that then. */
scm vm_apply(struct vm *vm, scm procedure, int count, const scm *arguments);
/* Reads and evaluates all of a port; false: failed.  The last value in `*last`, unless NULL. */
bool load_port(struct vm *vm, scm port, scm *last);
scm eval(struct vm *vm, scm form);

#endif
