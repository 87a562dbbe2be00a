/* SPDX-License-Identifier: MIT */
/*
 * stress_apart hunts units of dead blocks that are handed out while they cannot be touched, or
 * twice, and records of blocks that tell of another one.
 *
 * Some blocks lie apart (heap/apart.h), and what dies waits in a trap that is so small that units
 * enter and leave it all the time.  Threads exchange raw blocks on a board and free what they get,
 * so that most are freed by another thread than made them; objects die by collections.  Each block
 * is filled with what is made of its number, and looked at whole before it goes.  Meanwhile the
 * threads ask what is known of addresses: of a block that they have it must be that it is in use,
 * and how large it is; of one that they have freed, that it was freed, or whatever is there now.
 * With one half of the seeds calls are recorded, too.
 */
#include "common.h"
#include "heap/store.h"
#include "world/world.h"
#include <stdio.h>
#include <string.h>

#define BOARD 64u
#define MOST 40000u /* bytes of a block */
#define TRAP ((size_t)2 << 20)

struct block {
  uint64_t number;
  size_t size;
  unsigned char fill[];
};

struct node {
  const tarn_type *type;
  struct node *next;
  uint64_t number, check;
};

static tarn_world *world;
static const tarn_type *node_type;
static struct block *board[BOARD];
static _Atomic uint64_t numbers, told_in_use, told_freed, told_collected;

static unsigned char fill_of(uint64_t number) { return (unsigned char)(number * 167 + 13); }

/* --- raw blocks ------------------------------------------------------------------------------ */

static struct block *make_block(tarn_thread *self, struct stress_random *random) {
  uint64_t scale = stress_below(random, 8);
  size_t size = sizeof(struct block) + (size_t)stress_below(random, scale ? 500 : MOST);
  struct block *block = tarn_alloc_raw(self, size);
  STRESS_CHECK(block);
  block->number = atomic_fetch_add_explicit(&numbers, 1, memory_order_relaxed);
  block->size = size;
  memset(block->fill, fill_of(block->number), size - sizeof *block);
  return block;
}

static void check_block(const struct block *block) {
  STRESS_CHECK(block->size >= sizeof *block && block->size <= sizeof *block + MOST);
  for (size_t i = 0; i < block->size - sizeof *block; i++)
    STRESS_EQUAL(block->fill[i], fill_of(block->number));
}

/* It is the caller's. */
static void ask_of_block(const struct block *block) {
  char text[4096], wanted[64];
  STRESS_EQUAL(tarn_describe(world, block, text, sizeof text), TARN_OK);
  if (!strstr(text, "made by thread"))
    return; /* it does not lie apart */
  (void)snprintf(wanted, sizeof wanted, "block %p of %zu bytes, type raw: in use",
                 (const void *)block, block->size);
  if (!strstr(text, wanted))
    stress_fail(__FILE__, __LINE__, "expected \"%s\", but it says:\n%s", wanted, text);
  atomic_fetch_add_explicit(&told_in_use, 1, memory_order_relaxed);
}

/* Nobody has it, unless it was handed out again; then it is whole all the same.  Where pools are,
 * too, an object's first word would be read, and that is its owner's. */
static void ask_of_the_dead(const void *address) {
  char text[4096];
  if (world->config.apart != 1)
    return;
  STRESS_EQUAL(tarn_describe(world, address, text, sizeof text), TARN_OK);
  if (strstr(text, "freed by the program"))
    atomic_fetch_add_explicit(&told_freed, 1, memory_order_relaxed);
  else if (strstr(text, "taken by a collection"))
    atomic_fetch_add_explicit(&told_collected, 1, memory_order_relaxed);
}

static void exchange(tarn_thread *self, struct stress_random *random) {
  struct block *block = make_block(self, random);
  if (stress_below(random, 8) == 0)
    ask_of_block(block);
  /* Acquire and release: the block is whole. */
  struct block *other =
      __atomic_exchange_n(&board[stress_below(random, BOARD)], block, __ATOMIC_ACQ_REL);
  if (!other)
    return;
  check_block(other);
  tarn_free(self, other);
  if (stress_below(random, 8) == 0)
    ask_of_the_dead(other);
}

/* --- objects --------------------------------------------------------------------------------- */

static struct node *make_node(tarn_thread *self, struct node *next) {
  struct node *node = tarn_new(self, node_type);
  STRESS_CHECK(node && !node->next && node->number == 0 && node->check == 0);
  node->number = atomic_fetch_add_explicit(&numbers, 1, memory_order_relaxed);
  node->check = node->number * 77 + 5;
  node->next = next;
  return node;
}

static void check_list(const struct node *node) {
  for (; node; node = node->next) {
    STRESS_CHECK(node->type == node_type);
    STRESS_EQUAL(node->check, node->number * 77 + 5);
  }
}

static void visit_board(tarn_visitor *visitor, void *data) {
  (void)data;
  for (unsigned i = 0; i < BOARD; i++)
    tarn_visit(visitor, __atomic_load_n(&board[i], __ATOMIC_RELAXED)); /* all stand still */
}

static void work(void *data, unsigned number) {
  struct stress_random random = stress_random_of(number);
  (void)data;
  for (uint64_t round = 0; stress_on(&round);) {
    tarn_thread *self = stress_attach(world);
    {
      struct node *list = NULL;
      TARN_FRAME(self, (void *)&list);
      for (unsigned i = 0; i < 60; i++) {
        exchange(self, &random);
        list = make_node(self, stress_below(&random, 12) ? list : NULL);
        if (stress_below(&random, 16) == 0) {
          const void *dead = make_node(self, NULL);
          if (stress_below(&random, 8) == 0)
            STRESS_EQUAL(tarn_collect(self, TARN_GENERATION_FULL), TARN_OK);
          ask_of_the_dead(dead);
        }
        tarn_safepoint(self);
      }
      check_list(list);
    }
    if (stress_below(&random, 64) == 0)
      stress_verify(self);
    STRESS_EQUAL(tarn_thread_detach(self), TARN_OK);
  }
}

int main(int count, char **arguments) {
  char set[64];
  unsigned apart;
  stress_begin(
      count, arguments,
      "units of dead blocks that are handed out while they cannot be touched, or twice, and "
      "records of blocks that tell of another one");
  apart = stress.seed % 3 == 2 ? 3 : 1;
  (void)snprintf(set, sizeof set, "apart=%u,trap=%zu,min-heap=1M,stacks=%d", apart, TRAP,
                 (int)(stress.seed / 2 % 2));
  world = stress_world(set);
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = "node";
  spec.size = sizeof(struct node);
  spec.slot_bits = 2;
  STRESS_CHECK((node_type = tarn_type_create(world, &spec, NULL)));
  STRESS_EQUAL(tarn_root_provider_add(world, visit_board, NULL), TARN_OK);
  stress_run(world, stress.threads, work, NULL);
  tarn_thread *self = stress_attach(world);
  for (unsigned i = 0; i < BOARD; i++) {
    if (board[i]) {
      check_block(board[i]);
      tarn_free(self, board[i]);
      board[i] = NULL;
    }
  }
  STRESS_EQUAL(tarn_collect(self, TARN_GENERATION_FULL), TARN_OK);
  stress_verify(self);
  STRESS_EQUAL(stress_stats(world).large_objects, 0);
  STRESS_CHECK(world->store.trap.units > 0 && world->store.trap.units <= TRAP / TARN_UNIT_SIZE);
  STRESS_EQUAL(tarn_world_destroy(world), TARN_OK);
  STRESS_CHECK(atomic_load(&told_in_use) > 0);
  STRESS_CHECK(apart != 1 || atomic_load(&told_freed) > 0);
  fprintf(stderr, "told of %llu in use, %llu freed, %llu collected\n",
          (unsigned long long)atomic_load(&told_in_use),
          (unsigned long long)atomic_load(&told_freed),
          (unsigned long long)atomic_load(&told_collected));
  return stress_end();
}
