/* SPDX-License-Identifier: MIT */
/*
 * runtime.c: the world, the types of objects, constructors, errors, and the roots of each thread.
 *
 * The world has barriers, so young objects are collected by themselves.  One root provider for each
 * VM visits its stack and the few words beside it; nothing else of a thread is a root but frames.
 */
#include "scheme.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

struct types types;
tarn_world *world;

static _Thread_local struct vm *current_vm;
static scm memory_condition; /* made in advance */

/* --- types ----------------------------------------------------------------------------------- */

static const tarn_type *must_make(const tarn_type_spec *spec) {
  tarn_status status;
  const tarn_type *type = tarn_type_create(world, spec, &status);
  if (!type) {
    fprintf(stderr, "scheme: type %s: %s\n", spec->name, tarn_strerror(status));
    exit(2);
  }
  return type;
}

const tarn_type *make_type(const char *name, size_t size, uint64_t slots, tarn_free_fn free) {
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = name;
  spec.size = size;
  spec.slot_bits = slots;
  spec.free = free;
  return must_make(&spec);
}

/* Elements are words and traced; the count is word 1. */
static const tarn_type *make_array_type(const char *name, size_t size, uint64_t slots) {
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = name;
  spec.size = size;
  spec.slot_bits = slots;
  spec.element_size = sizeof(scm);
  spec.flags = TARN_TYPE_ELEMENTS_TRACED;
  return must_make(&spec);
}

static const tarn_type *make_bytes_type(const char *name) {
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = name;
  spec.size = sizeof(struct bytevector);
  spec.element_size = 1;
  return must_make(&spec);
}

static void make_types(void) {
  types.pair = make_type("pair", sizeof(struct pair), WORD(pair, car) | WORD(pair, cdr), NULL);
  types.box = make_type("box", sizeof(struct box), WORD(box, value), NULL);
  types.flonum = make_type("flonum", sizeof(struct flonum), 0, NULL);
  types.string = make_type("string", sizeof(struct string), WORD(string, chars), NULL);
  types.symbol = make_type("symbol", sizeof(struct symbol),
                           WORD(symbol, name) | WORD(symbol, value) | WORD(symbol, syntax), NULL);
  types.vector = make_array_type("vector", sizeof(struct vector), 0);
  types.values = make_array_type("values", sizeof(struct vector), 0);
  types.bytevector = make_bytes_type("bytevector");
  types.code = make_type("code", sizeof(struct code),
                         WORD(code, name) | WORD(code, constants) | WORD(code, instructions), NULL);
  types.closure = make_array_type("closure", sizeof(struct closure), WORD(closure, code));
  types.primitive = make_type("primitive", sizeof(struct primitive), WORD(primitive, name), NULL);
  types.continuation = make_type("continuation", sizeof(struct continuation),
                                 WORD(continuation, stack) | WORD(continuation, winders) |
                                     WORD(continuation, handlers) | WORD(continuation, bindings),
                                 NULL);
  types.parameter = make_type("parameter", sizeof(struct parameter),
                              WORD(parameter, value) | WORD(parameter, converter), NULL);
  types.promise = make_type("promise", sizeof(struct promise), WORD(promise, box), NULL);
  types.record = make_array_type("record", sizeof(struct record), WORD(record, kind));
  types.condition = make_type("condition", sizeof(struct condition),
                              WORD(condition, kind) | WORD(condition, message) |
                                  WORD(condition, irritants) | WORD(condition, who),
                              NULL);
  number_types();
  port_types();
  table_types();
  thread_types();
  guardian_types();
  class_types();
}

bool is_procedure(scm v) {
  if (!is_object(v))
    return false;
  const tarn_type *type = type_of(v);
  return type == types.closure || type == types.primitive || type == types.continuation ||
         type == types.parameter || type == types.generic || type == types.guardian;
}

/* --- threads' roots -------------------------------------------------------------------------- */

static void visit_vm(tarn_visitor *visitor, void *data) {
  const struct vm *vm = data;
  tarn_visit_range(visitor, vm->stack, (size_t)(vm->sp - vm->stack));
  tarn_visit_range(visitor, vm->keep, sizeof vm->keep / sizeof vm->keep[0]);
  tarn_visit(visitor, (const void *)vm->condition);
  tarn_visit(visitor, (const void *)vm->winders);
  tarn_visit(visitor, (const void *)vm->handlers);
  tarn_visit(visitor, (const void *)vm->bindings);
  tarn_visit(visitor, (const void *)vm->thread);
}

static bool map_stack(struct vm *vm) {
  void *pages = mmap(NULL, VM_STACK * sizeof(scm), PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (pages == MAP_FAILED)
    return false;
  vm->stack = vm->sp = pages;
  vm->limit = vm->stack + VM_STACK;
  return true;
}

struct vm *vm_make(void) {
  struct vm *vm = calloc(1, sizeof *vm);
  if (!vm || !map_stack(vm)) {
    free(vm);
    return NULL;
  }
  static size_t serials;
  vm->serial = __atomic_add_fetch(&serials, 1, __ATOMIC_RELAXED);
  vm->winders = vm->handlers = vm->bindings = SCM_NIL;
  vm->condition = vm->thread = SCM_FALSE;
  if (tarn_thread_attach(world, &vm->self) != TARN_OK)
    goto no_thread;
  if (tarn_root_provider_add(world, visit_vm, vm) != TARN_OK)
    goto no_roots;
#if SCHEME_CONSERVATIVE
  if (tarn_thread_scan_stack(vm->self, true) != TARN_OK)
    goto no_scan;
#endif
  current_vm = vm;
  return vm;
#if SCHEME_CONSERVATIVE
no_scan:
  (void)tarn_root_provider_remove(world, visit_vm, vm);
#endif
no_roots:
  (void)tarn_thread_detach(vm->self);
no_thread:
  (void)munmap(vm->stack, VM_STACK * sizeof(scm));
  free(vm);
  return NULL;
}

void vm_drop(struct vm *vm) {
  current_vm = NULL;
  (void)tarn_root_provider_remove(world, visit_vm, vm);
  (void)tarn_thread_detach(vm->self);
  (void)munmap(vm->stack, VM_STACK * sizeof(scm));
  free(vm);
}

struct vm *vm_of(tarn_thread *self) {
  (void)self;
  return current_vm;
}

/* --- constructors ---------------------------------------------------------------------------- */

void *make_object(struct vm *vm, const tarn_type *type) {
  void *object = tarn_new(vm->self, type);
  if (TARN_UNLIKELY(!object))
    out_of_memory(vm);
  return object;
}

void *make_array(struct vm *vm, const tarn_type *type, size_t count) {
  void *object = tarn_new_array(vm->self, type, count);
  if (TARN_UNLIKELY(!object))
    out_of_memory(vm);
  return object;
}

scm make_block(struct vm *vm, size_t bytes) {
  void *block = tarn_alloc_atomic(vm->self, bytes);
  return block ? (scm)block : out_of_memory(vm);
}

scm cons(struct vm *vm, scm a, scm d) {
  vm->keep[0] = a;
  vm->keep[1] = d;
  struct pair *pair = make_object(vm, types.pair);
  if (TARN_UNLIKELY(!pair))
    return 0;
  pair->car = a;
  pair->cdr = d;
  return (scm)pair;
}

scm make_box(struct vm *vm, scm value) {
  vm->keep[0] = value;
  struct box *box = make_object(vm, types.box);
  if (box)
    box->value = value;
  return (scm)box;
}

scm make_vector(struct vm *vm, size_t count, scm fill) {
  vm->keep[0] = fill;
  struct vector *vector = make_array(vm, types.vector, count);
  if (!vector)
    return 0;
  for (size_t i = 0; i < count; i++)
    vector->items[i] = fill;
  return (scm)vector;
}

scm make_bytevector(struct vm *vm, size_t count) {
  return (scm)make_array(vm, types.bytevector, count);
}

scm make_record(struct vm *vm, scm kind, size_t count) {
  vm->keep[0] = kind;
  struct record *record = make_array(vm, types.record, count);
  if (!record)
    return 0;
  record->kind = kind;
  for (size_t i = 0; i < count; i++)
    record->fields[i] = SCM_UNSPECIFIED;
  return (scm)record;
}

scm make_values(struct vm *vm, int count, const scm *values) {
  struct vector *vector = make_array(vm, types.values, (size_t)count);
  for (int i = 0; vector && i < count; i++)
    vector->items[i] = values[i];
  return (scm)vector;
}

scm list_of(struct vm *vm, size_t count, const scm *items) {
  scm list = SCM_NIL;
  while (count > 0 && list)
    list = cons(vm, items[--count], list);
  return list;
}

/* --- errors ---------------------------------------------------------------------------------- */

static scm make_condition(struct vm *vm, scm kind, scm who, const char *message, scm irritants) {
  scm text = SCM_FALSE;
  ROOTS(vm, (void *)&kind, (void *)&who, (void *)&irritants, (void *)&text);
  if (!(text = string_from(vm, message)))
    return 0;
  struct condition *condition = make_object(vm, types.condition);
  if (!condition)
    return 0;
  condition->kind = kind;
  condition->who = who;
  condition->message = text;
  condition->irritants = irritants;
  return (scm)condition;
}

scm raise_error(struct vm *vm, const char *kind, const char *who, const char *message, int count,
                ...) {
  scm items[4] = {0}, irritants = SCM_NIL, name = SCM_FALSE, sort = SCM_FALSE;
  void *roots[4];
  tarn_frame frame;
  va_list list;
  va_start(list, count);
  for (int i = 0; i < count; i++) {
    items[i] = va_arg(list, scm);
    roots[i] = &items[i];
  }
  va_end(list);
  tarn_frame_push(vm->self, &frame, roots, (size_t)count);
  {
    ROOTS(vm, (void *)&irritants, (void *)&name, (void *)&sort);
    scm condition = 0;
    if ((irritants = list_of(vm, (size_t)count, items)) && (sort = intern(vm, kind)) &&
        (name = who ? intern(vm, *who == '%' ? who + 1 : who) : SCM_FALSE) &&
        (condition = make_condition(vm, sort, name, message, irritants)))
      vm->condition = condition;
  }
  tarn_frame_pop(vm->self, &frame);
  return 0;
}

/*
 * Memory for those who handle that there is none: it is given back when none is left, so that
 * handlers find some, and taken again when exception handlers are installed and there is.
 */
static void *reserve;
#define RESERVE_BYTES ((size_t)512 << 10)

void keep_reserve(struct vm *vm) {
  void *nothing = NULL;
  if (TARN_LIKELY(__atomic_load_n(&reserve, __ATOMIC_RELAXED) != NULL))
    return;
  void *block = tarn_alloc_raw(vm->self, RESERVE_BYTES);
  if (block && !__atomic_compare_exchange_n(&reserve, &nothing, block, false, __ATOMIC_ACQ_REL,
                                            __ATOMIC_RELAXED))
    tarn_free(vm->self, block);
}

scm out_of_memory(struct vm *vm) {
  tarn_free(vm->self, __atomic_exchange_n(&reserve, NULL, __ATOMIC_ACQ_REL));
  vm->condition = memory_condition;
  return 0;
}

scm wrong_type(struct vm *vm, const char *who, int argument, scm got) {
  char text[60];
  (void)snprintf(text, sizeof text, "argument %d is of the wrong type", argument);
  return raise_error(vm, "wrong-type", who, text, 1, got);
}

scm out_of_range(struct vm *vm, const char *who, int argument, scm got) {
  char text[60];
  (void)snprintf(text, sizeof text, "argument %d is out of range", argument);
  return raise_error(vm, "out-of-range", who, text, 1, got);
}

scm system_error(struct vm *vm, const char *who, int number, scm irritant) {
  char text[128];
  const char *found = strerror_r(number, text, sizeof text);
  return raise_error(vm, number == ENOENT || number == EACCES ? "file" : "system", who, found, 1,
                     irritant);
}

/* --- primitives ------------------------------------------------------------------------------ */

void must_begin(bool good) {
  if (good)
    return;
  fprintf(stderr, "scheme: no memory at its start\n");
  exit(2);
}

static struct primitive_def *primitives;

void add_primitive(struct primitive_def *def) {
  def->next = primitives;
  primitives = def;
}

scm define_primitive(struct vm *vm, const struct primitive_def *def) {
  scm name = intern(vm, def->name);
  ROOTS(vm, (void *)&name);
  struct primitive *primitive = name ? make_object(vm, types.primitive) : NULL;
  must_begin(primitive);
  primitive->name = name;
  primitive->fn = def->fn;
  primitive->least = def->least;
  primitive->most = def->most;
  must_begin(define_global(vm, name, (scm)primitive));
  return (scm)primitive;
}

/* --- begin and end --------------------------------------------------------------------------- */

static void make_world(const char *set) {
  tarn_options options = TARN_OPTIONS_INIT;
  options.flags = TARN_OPTIONS_BARRIERS;
  options.set = set;
  tarn_status status = tarn_world_create(&options, &world);
  if (status != TARN_OK) {
    fprintf(stderr, "scheme: %s\n", tarn_strerror(status));
    exit(2);
  }
}

void runtime_begin(const char *options) {
  make_world(options);
  make_types();
  struct vm *vm = vm_make();
  must_begin(vm && tarn_root_add(world, (void **)&memory_condition) == TARN_OK &&
             tarn_root_add(world, &reserve) == TARN_OK);
  symbol_begin(vm);
  memory_condition = SCM_FALSE;
  (void)raise_error(vm, "memory", NULL, "out of memory", 0);
  memory_condition = vm->condition;
  must_begin(is_condition(memory_condition));
  keep_reserve(vm);
  for (const struct primitive_def *def = primitives; def; def = def->next)
    (void)define_primitive(vm, def);
  port_begin(vm);
  thread_begin(vm);
  guardian_begin(vm);
  class_begin(vm);
  gobject_begin(vm);
  vm_begin(vm);
  compile_begin(vm);
}

void runtime_end(void) {
  struct vm *vm = current_vm;
  threads_end(vm);
  (void)tarn_root_remove(world, (void **)&memory_condition);
  (void)tarn_root_remove(world, &reserve);
  vm_drop(vm);
  (void)tarn_world_destroy(world);
}
