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
#include <stdlib.h>

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
  if (tarn_weak_table_create(world, &spec, &symbols) != TARN_OK ||
      tarn_root_add(world, (void **)&kept) != TARN_OK) {
    fprintf(stderr, "scheme: no memory at its start\n");
    exit(2);
  }
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

/* The lock is taken in a blocked region, and no longer held than for two stores. */
static void keep_symbol(struct vm *vm, scm symbol) {
  if (__atomic_exchange_n(&symbol_of(symbol)->kept, 1, __ATOMIC_RELAXED))
    return;
  ROOTS(vm, (void *)&symbol);
  struct pair *pair = (struct pair *)cons(vm, symbol, SCM_NIL);
  if (!pair) {
    fprintf(stderr, "scheme: no memory for a global variable\n");
    exit(2);
  }
  vm->keep[0] = (scm)pair;
  tarn_block_begin(vm->self);
  (void)pthread_mutex_lock(&kept_lock);
  tarn_block_end(vm->self);
  store(vm, (scm)pair, &pair->cdr, kept);
  kept = (scm)pair;
  (void)pthread_mutex_unlock(&kept_lock);
}

void define_global(struct vm *vm, scm symbol, scm value) {
  ROOTS(vm, (void *)&symbol, (void *)&value);
  keep_symbol(vm, symbol);
  global_set(vm, symbol, value);
}

void define_syntax(struct vm *vm, scm symbol, scm meaning) {
  ROOTS(vm, (void *)&symbol, (void *)&meaning);
  keep_symbol(vm, symbol);
  __atomic_store_n(&symbol_of(symbol)->syntax, meaning, __ATOMIC_RELEASE);
  tarn_barrier(vm->self, (void *)symbol, &symbol_of(symbol)->syntax);
}
