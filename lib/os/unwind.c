/* SPDX-License-Identifier: MIT */
/*
 * os/unwind.c: see os/unwind.h.
 *
 * Rules.  An entry is one word with everything, the return address it is for among it: so whoever
 * reads one reads a whole one, writers of the same place may come in any order, and all accesses
 * are relaxed.  Nothing else hangs on an entry.
 *
 *     63                      29 28  26 25   21 20                0
 *    | return address, without  | kind |  rbp  | offset            |
 *    | its lowest 12 bits       |      |       |                   |
 *
 * Which entry it is depends on all of the address, and so that it and the 35 bits say what the
 * lowest 12 are.  An entry of 0 is empty.  Addresses of 2^47 and more, which a program has to ask
 * for, have none.
 *
 * Nobody tells when a library goes (dl_iterate_phdr would count, under the loader's lock), so all
 * entries are dropped once a second.
 *
 * Bounds.  A stale rule may ask for any word, so no word is read but between the caller's frame and
 * the upper end of the thread's stack: there glibc puts the thread's own data (pthread_self), and,
 * in the first thread, the kernel what the program is started with.  That the words between can be
 * read the system is asked, with MADV_POPULATE_READ (Linux 5.14), which tells of holes, and of
 * pages that are closed, as there is one at the lower end of each thread's stack.  So where it
 * finds neither the caller's frame lies in that stack, which is there for as long as the thread is.
 * Below a stack without such a page (pthread_attr_setstack, or a guard size of 0) may lie another
 * one, with nothing between; so an answer holds for a second only.  After a denial nothing is asked
 * in the same second: the thread is about on other stacks.
 */
#include "os/unwind.h"

#if TARN_UNWIND

#include "os/os.h"
#include "os/tools.h"
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif

#define ENTRIES 4096u
#define PLACE_BITS 12u /* of 4096 */
#define ADDRESS_BITS 47u
#define STACK_MOST ((uintptr_t)16 << 20)

#define OFFSET_BITS 21u
#define RBP_AT 21u
#define RBP_BITS 5u
#define KIND_AT 26u
#define KIND_BITS 3u
#define TAG_AT 29u
_Static_assert(TAG_AT + ADDRESS_BITS - PLACE_BITS == 64, "an entry has room for the address");
_Static_assert(TARN_CFI_OFFSET_MOST == 1 << (OFFSET_BITS - 1), "and for the offset");
_Static_assert(TARN_CFI_RBP_MOST == (1u << RBP_BITS) - 1, "and for the place of RBP");
_Static_assert(TARN_CFI_MOVED < 1 << KIND_BITS, "and for the kind");

static _Atomic uint64_t entries[ENTRIES];
static _Atomic uint32_t entries_of; /* the second that they are of */

/* What the last walk found, anybody's: the next one is likely to need the same entries, which no
 * cache has any more, and knows of each only when it has used the one before. */
#define LAST 24u
static _Atomic uintptr_t last[LAST];

/* The calling thread's own stack, in which second: all from `low` to `end` can be read. */
static _Thread_local struct {
  uint32_t second;
  bool denied;
  uintptr_t low, end;
} stack __attribute__((tls_model("initial-exec")));

/* --- the thread's stack ---------------------------------------------------------------------- */

static bool can_be_read(uintptr_t low, uintptr_t high) {
  int kept = errno;
  bool can = low >= high || (!tarn_os_fails(TARN_FAULT_STACK) &&
                             madvise((void *)low, high - low, MADV_POPULATE_READ) == 0);
  errno = kept;
  return can;
}

/* An address at its upper end, where nothing of a frame is any more. */
static uintptr_t find_end(void) {
  bool is_first = tarn_os_thread_id() == getpid();
  uintptr_t end = is_first ? getauxval(AT_RANDOM) : (uintptr_t)__builtin_thread_pointer();
  return end - end % sizeof end;
}

/* Makes `sp` part of what is known.  False: it is not on that stack, or too far down. */
static __attribute__((noinline)) bool extend_to(uintptr_t sp, uint32_t second) {
  uintptr_t page = ~(uintptr_t)(tarn_os_page_size() - 1);
  if (stack.second != second) {
    stack.second = second;
    stack.denied = false;
    stack.low = stack.end = find_end();
  }
  if (stack.denied || sp >= stack.end || stack.end - sp >= STACK_MOST)
    return false;
  /* The caller's frame is on the lowest page, and so it is there, as that of `end` is. */
  stack.denied = !can_be_read(sp & page, stack.low & page);
  if (!stack.denied)
    stack.low = sp & page;
  return !stack.denied;
}

static bool is_known(uintptr_t sp, uint32_t second) {
  return TARN_LIKELY(stack.second == second && sp >= stack.low && sp < stack.end) ||
         extend_to(sp, second);
}

/* --- rules ----------------------------------------------------------------------------------- */

/* The part of a module that its tables lie in. */
static bool find_segment(const struct dl_find_object *module, struct tarn_cfi_tables *tables) {
  const ElfW(Ehdr) *header = module->dlfo_map_start;
  uintptr_t bias = module->dlfo_link_map->l_addr;
  size_t room = (uintptr_t)module->dlfo_map_end - (uintptr_t)header;
  if (memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 || header->e_phentsize != sizeof(ElfW(Phdr)) ||
      header->e_phoff > room || header->e_phnum > (room - header->e_phoff) / sizeof(ElfW(Phdr)))
    return false;
  const ElfW(Phdr) *segments = (const void *)((const char *)header + header->e_phoff);
  for (unsigned i = 0; i < header->e_phnum; i++) {
    uintptr_t low = bias + segments[i].p_vaddr;
    if (segments[i].p_type != PT_LOAD || tables->header - low >= segments[i].p_memsz)
      continue;
    tables->low = low;
    tables->high = low + segments[i].p_memsz;
    return true;
  }
  return false;
}

static struct tarn_cfi_rule find_rule(uintptr_t address) {
  struct tarn_cfi_rule rule = {TARN_CFI_UNKNOWN, 0, 0};
  struct tarn_cfi_tables tables;
  struct dl_find_object module;
  if (_dl_find_object((void *)(address - 1), &module) != 0 || !module.dlfo_eh_frame)
    return rule;
  tables.header = (uintptr_t)module.dlfo_eh_frame;
  return find_segment(&module, &tables) ? tarn_cfi_rule_at(&tables, address - 1) : rule;
}

static uint64_t pack(uintptr_t address, struct tarn_cfi_rule rule) {
  return (uint64_t)(address >> PLACE_BITS) << TAG_AT | (uint64_t)rule.kind << KIND_AT |
         (uint64_t)rule.rbp << RBP_AT |
         ((uint64_t)(int64_t)rule.offset & ((UINT64_C(1) << OFFSET_BITS) - 1));
}

static enum tarn_cfi_kind kind_of(uint64_t entry) {
  return (enum tarn_cfi_kind)(entry >> KIND_AT & ((1u << KIND_BITS) - 1));
}
/* Both in bytes. */
static uintptr_t rbp_of(uint64_t entry) {
  return (entry >> RBP_AT & TARN_CFI_RBP_MOST) * sizeof(uintptr_t);
}
static uintptr_t offset_of(uint64_t entry) {
  return (uintptr_t)((int64_t)(entry << (64 - OFFSET_BITS)) >> (64 - OFFSET_BITS)) *
         sizeof(uintptr_t);
}

/* With the rest of the address it says all of it. */
static _Atomic uint64_t *entry_of(uintptr_t address) {
  uintptr_t rest = address >> PLACE_BITS;
  return &entries[(address ^ rest ^ rest >> PLACE_BITS) % ENTRIES];
}

static __attribute__((noinline)) uint64_t learn(uintptr_t address) {
  uint64_t entry = pack(address, find_rule(address));
  if (address >> ADDRESS_BITS == 0)
    atomic_store_explicit(entry_of(address), entry, memory_order_relaxed);
  return entry; /* of other addresses the tag is wrong, which nobody looks at */
}

static inline uint64_t entry_at(uintptr_t address) {
  uint64_t entry = atomic_load_explicit(entry_of(address), memory_order_relaxed);
  return TARN_LIKELY(entry >> TAG_AT == address >> PLACE_BITS && entry != 0) ? entry
                                                                             : learn(address);
}

static void forget_rules(void) {
  for (unsigned i = 0; i < ENTRIES; i++)
    atomic_store_explicit(&entries[i], 0, memory_order_relaxed);
}

static void forget_old_rules(uint32_t second) {
  if (TARN_LIKELY(atomic_load_explicit(&entries_of, memory_order_relaxed) == second))
    return;
  atomic_store_explicit(&entries_of, second, memory_order_relaxed);
  forget_rules();
}

void tarn_unwind_forget(void) {
  forget_rules();
  stack.second = UINT32_MAX; /* no second of tarn_os_ticks */
}

/* --- the walk -------------------------------------------------------------------------------- */

/* Frames that a longjmp has left may still have red zones. */
#define NOT_SANITIZED __attribute__((no_sanitize_address)) __attribute__((no_sanitize_thread))

struct walk {
  uintptr_t address; /* a return address, and RSP and RBP when its function goes on there */
  uintptr_t sp, rbp;
  uintptr_t high;
};

static inline bool is_on_stack(const struct walk *walk, uintptr_t at) {
  return at % sizeof at == 0 && at >= walk->sp && at < walk->high;
}

/* Anything may lie there, by a stale rule. */
static inline NOT_SANITIZED uintptr_t word_at(uintptr_t at) {
  uintptr_t word = *(const uintptr_t *)at;
  tarn_tools_know(&word, sizeof word);
  return word;
}

/* The frame's end was moved: see TARN_CFI_MOVED. */
static NOT_SANITIZED bool find_moved(struct walk *walk, uint64_t entry, uintptr_t *end) {
  uintptr_t at = walk->rbp + offset_of(entry);
  if (!is_on_stack(walk, at) || !is_on_stack(walk, walk->rbp))
    return false;
  *end = word_at(at);
  walk->rbp = word_at(walk->rbp);
  return true;
}

/* To the caller.  False: it cannot be done. */
static inline NOT_SANITIZED bool step(struct walk *walk, uint64_t entry) {
  enum tarn_cfi_kind kind = kind_of(entry);
  uintptr_t end, saved = rbp_of(entry);
  if (TARN_LIKELY(kind == TARN_CFI_RSP))
    end = walk->sp + offset_of(entry);
  else if (kind == TARN_CFI_RBP)
    end = walk->rbp + offset_of(entry);
  else if (kind != TARN_CFI_MOVED || !find_moved(walk, entry, &end))
    return false;
  if (!is_on_stack(walk, end - sizeof end) || saved > end - walk->sp)
    return false;
  if (saved)
    walk->rbp = word_at(end - saved);
  walk->address = word_at(end - sizeof end);
  walk->sp = end;
  return true;
}

static void fetch_entries(void) {
  for (unsigned i = 0; i < LAST; i++)
    __builtin_prefetch(
        (const void *)entry_of(atomic_load_explicit(&last[i], memory_order_relaxed)));
}

static unsigned keep_last(const uintptr_t *frames, unsigned count) {
  for (unsigned i = 0; i < count && i < LAST; i++)
    atomic_store_explicit(&last[i], frames[i], memory_order_relaxed);
  return count;
}

NOT_SANITIZED unsigned tarn_unwind(const void *frame, uintptr_t *frames, unsigned most) {
  const uintptr_t *words = frame; /* the caller's RBP, then the return address */
  uint32_t second = tarn_os_ticks() / 1000;
  struct walk walk = {.address = words[1], .sp = (uintptr_t)(words + 2), .rbp = words[0]};
  if (!is_known((uintptr_t)frame, second))
    return 0;
  walk.high = stack.end;
  fetch_entries();
  forget_old_rules(second);
  for (unsigned count = 0; walk.address != 0;) {
    frames[count++] = walk.address;
    if (count == most)
      return keep_last(frames, count);
    uint64_t entry = entry_at(walk.address);
    if (kind_of(entry) == TARN_CFI_LAST)
      return keep_last(frames, count);
    if (!step(&walk, entry))
      return 0;
    if (walk.address == 0)
      return keep_last(frames, count);
  }
  return 0;
}

#endif
