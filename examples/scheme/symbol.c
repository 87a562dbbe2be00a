/* SPDX-License-Identifier: MIT */
/*
 * symbol.c: symbols, interned in a weak table.
 *
 * A symbol that nobody refers to any more may be collected: the next one of that name is another,
 * and nobody can tell.  Not so once it is a variable or means something as syntax: then it stands
 * on a list that is a root.
 */
#include "scheme.h"
#include <pthread.h>

static tarn_weak_table *symbols;
static pthread_mutex_t kept_lock = PTHREAD_MUTEX_INITIALIZER;
static scm kept; /* a list; under the lock */

/* Both may be a probe, which is a symbol on the C stack with a name and a hash. */
static uint64_t hash_of(const void *key, void *data) {
  (void)data;
  return ((const struct symbol *)key)->hash;
}
static bool have_one_name(const void *probe, const void *key, void *data) {
  const struct symbol *a = probe, *b = key;
  (void)data;
  return a->hash == b->hash && string_equal(a->name, b->name);
}

void symbol_begin(struct vm *vm) {
  tarn_weak_table_spec spec = TARN_WEAK_TABLE_SPEC_INIT;
  (void)vm;
  spec.hash = hash_of;
  spec.equal = have_one_name;
  kept = SCM_NIL;
  must_begin(tarn_weak_table_create(world, &spec, &symbols) == TARN_OK &&
             tarn_root_add(world, (void **)&kept) == TARN_OK);
}

scm make_uninterned(struct vm *vm, scm string) {
  ROOTS(vm, (void *)&string);
  struct symbol *symbol = make_object(vm, types.symbol);
  if (!symbol)
    return 0;
  symbol->name = string;
  symbol->value = SCM_UNBOUND;
  symbol->syntax = SCM_FALSE;
  symbol->hash = string_hash(string);
  return (scm)symbol;
}

scm intern_string(struct vm *vm, scm string) {
  struct symbol probe = {.name = string, .hash = string_hash(string)};
  ROOTS(vm, (void *)&string);
  scm symbol = (scm)tarn_weak_table_get(vm->self, symbols, &probe, NULL);
  if (symbol)
    return symbol;
  if (!(string = string_slice(vm, string, 0, string_of(string)->length)) ||
      !(symbol = make_uninterned(vm, string)))
    return 0;
  vm->keep[0] = symbol;
  symbol = (scm)tarn_weak_table_put(vm->self, symbols, (void *)symbol, NULL, false);
  return symbol ? symbol : out_of_memory(vm);
}

scm intern(struct vm *vm, const char *name) {
  scm string = string_from(vm, name);
  return string ? intern_string(vm, string) : 0;
}

/* The mark is set when the symbol is on the list, so whoever sees it need not wait.  Relaxed: the
 * list is the collector's to read. */
static bool keep_symbol(struct vm *vm, scm symbol) {
  uint32_t *mark = &symbol_of(symbol)->kept;
  if (__atomic_load_n(mark, __ATOMIC_RELAXED))
    return true;
  scm pair = cons(vm, symbol, SCM_NIL);
  if (!pair)
    return false;
  vm->keep[0] = pair;
  take_lock(vm, &kept_lock);
  if (!__atomic_load_n(mark, __ATOMIC_RELAXED)) {
    store(vm, pair, &pair_of(pair)->cdr, kept);
    kept = pair;
    __atomic_store_n(mark, 1, __ATOMIC_RELAXED);
  }
  give_lock(&kept_lock);
  return true;
}

bool define_global(struct vm *vm, scm symbol, scm value) {
  ROOTS(vm, (void *)&symbol, (void *)&value);
  if (!keep_symbol(vm, symbol))
    return false;
  global_set(vm, symbol, value);
  return true;
}

bool define_syntax(struct vm *vm, scm symbol, scm meaning) {
  ROOTS(vm, (void *)&symbol, (void *)&meaning);
  if (!keep_symbol(vm, symbol))
    return false;
  __atomic_store_n(&symbol_of(symbol)->syntax, meaning, __ATOMIC_RELEASE);
  tarn_barrier(vm->self, (void *)symbol, &symbol_of(symbol)->syntax);
  return true;
}
