/* SPDX-License-Identifier: MIT */
/*
 * Tables for exceptions: every instruction that is understood means what DWARF says, all others are
 * noticed, and damaged tables do no harm.
 */
#include "support.h"

#include "os/cfi.h"
#include "os/os.h"
#include <link.h>
#include <sys/mman.h>

#define PLAIN __attribute__((noinline))

#if TARN_UNWIND

/* --- tables made by hand --------------------------------------------------------------------- */

#define CODE 0x4000 /* where the function begins, from the beginning of the tables */
#define LENGTH 0x50000
#define HEAD 20 /* bytes of .eh_frame_hdr with one entry */

struct text {
  size_t length;
  unsigned char bytes[400];
};

static void put(struct text *text, const void *bytes, size_t length) {
  assert_true(text->length + length <= sizeof text->bytes);
  if (length)
    memcpy(text->bytes + text->length, bytes, length);
  text->length += length;
}

static void put_word(struct text *text, int64_t value) {
  int32_t word = (int32_t)value;
  put(text, &word, sizeof word);
}

/* What a table is made of; what is NULL or 0 is as compilers make it. */
struct parts {
  const char *program; /* of the function */
  size_t length;
  const char *letters, *more; /* of the CIE: "zR", and the encoding of addresses */
  size_t more_length;
  unsigned char version, register_number;
};

/* A CIE: the frame's end is RSP + 8, and the return address below it. */
static void put_common(struct text *text, const struct parts *parts) {
  const char *letters = parts->letters ? parts->letters : "zR";
  const char *more = parts->more ? parts->more : "\x1b";
  size_t more_length = parts->more ? parts->more_length : 1;
  struct text body = {0};
  put_word(&body, 0);
  put(&body, &(char){(char)(parts->version ? parts->version : 1)}, 1);
  put(&body, letters, strlen(letters) + 1);
  put(&body, "\1\x78", 2); /* steps of 1, offsets by -8 */
  put(&body, &(char){(char)(parts->register_number ? parts->register_number : 16)}, 1);
  put(&body, &(char){(char)more_length}, 1);
  put(&body, more, more_length);
  put(&body, "\x0c\7\x8\x90\1", 5);
  put_word(text, (int64_t)body.length);
  put(text, body.bytes, body.length);
}

static void make(struct text *text, const struct parts *parts) {
  struct text common = {0};
  put_common(&common, parts);
  int64_t own = HEAD + (int64_t)common.length;
  *text = (struct text){0};
  put(text, "\1\x1b\3\x3b", 4);
  put_word(text, HEAD - 4);
  put_word(text, 1);
  put_word(text, CODE);
  put_word(text, own);
  put(text, common.bytes, common.length);
  put_word(text, (int64_t)(4 + 8 + 1 + parts->length));
  put_word(text, own + 4 - HEAD);
  put_word(text, CODE - (own + 8));
  put_word(text, LENGTH);
  put(text, "", 1);
  put(text, parts->program, parts->length);
}

static struct tarn_cfi_rule rule_at(const struct text *text, uintptr_t place) {
  uintptr_t base = (uintptr_t)text->bytes;
  struct tarn_cfi_tables tables = {base, base + text->length, base};
  return tarn_cfi_rule_at(&tables, base + CODE + place);
}

static bool is_rule(struct tarn_cfi_rule rule, enum tarn_cfi_kind kind, int32_t offset,
                    uint32_t rbp) {
  if (rule.kind != kind || rule.offset != offset || rule.rbp != rbp)
    print_error("kind %d, offset %d, rbp %u; not %d, %d, %u\n", (int)rule.kind, rule.offset,
                rule.rbp, (int)kind, offset, rbp);
  return rule.kind == kind && rule.offset == offset && rule.rbp == rbp;
}

/* What a program says of a place. */
static const struct known {
  const char *program;
  uint8_t length;
  enum tarn_cfi_kind kind;
  uintptr_t place;
  int32_t offset;
  uint32_t rbp;
} known[] = {
#define PROGRAM(bytes) bytes, sizeof bytes - 1
    {PROGRAM(""), TARN_CFI_RSP, 0, 1, 0},
    {PROGRAM("\x44\x0e\x20"), TARN_CFI_RSP, 3, 1, 0}, /* advance_loc: not yet */
    {PROGRAM("\x44\x0e\x20"), TARN_CFI_RSP, 4, 4, 0},
    {PROGRAM("\x02\x64\x0e\x20"), TARN_CFI_RSP, 99, 1, 0}, /* advance_loc1 */
    {PROGRAM("\x02\x64\x0e\x20"), TARN_CFI_RSP, 100, 4, 0},
    {PROGRAM("\x03\x01\x02\x0e\x20"), TARN_CFI_RSP, 0x200, 1, 0}, /* advance_loc2 */
    {PROGRAM("\x03\x01\x02\x0e\x20"), TARN_CFI_RSP, 0x201, 4, 0},
    {PROGRAM("\x04\x01\x00\x02\x00\x0e\x20"), TARN_CFI_RSP, 0x20000, 1, 0}, /* advance_loc4 */
    {PROGRAM("\x04\x01\x00\x02\x00\x0e\x20"), TARN_CFI_RSP, 0x20001, 4, 0},
    {PROGRAM("\x0e\x80\x80\x10"), TARN_CFI_RSP, 0, 0x8000, 0},
    {PROGRAM("\x0e\xf8\xff\xff\x03"), TARN_CFI_RSP, 0, 0xfffff, 0}, /* the largest */
    {PROGRAM("\x0e\x80\x80\x80\x04"), TARN_CFI_UNKNOWN, 0, 0, 0},   /* one more */
    {PROGRAM("\x0e\x0c"), TARN_CFI_UNKNOWN, 0, 0, 0},               /* half a word */
    {PROGRAM("\x86\2\x0c\6\x10"), TARN_CFI_RBP, 0, 2, 2},           /* offset, def_cfa */
    {PROGRAM("\x86\2\x0e\x10\x0d\6"), TARN_CFI_RBP, 0, 2, 2},       /* def_cfa_register */
    {PROGRAM("\x0d\7\x0e\x18"), TARN_CFI_RSP, 0, 3, 0},
    {PROGRAM("\x0d\xa"), TARN_CFI_UNKNOWN, 0, 0, 0},
    {PROGRAM("\x0c\xa\x8\x0c\7\x10"), TARN_CFI_RSP, 0, 2, 0},
    {PROGRAM("\x86\1"), TARN_CFI_UNKNOWN, 0, 0, 0}, /* where the return address is */
    {PROGRAM("\x86\x1f"), TARN_CFI_RSP, 0, 1, 31},
    {PROGRAM("\x86\x20"), TARN_CFI_UNKNOWN, 0, 0, 0},
    {PROGRAM("\x83\2\x8c\3\x8f\4"), TARN_CFI_RSP, 0, 1, 0}, /* others are saved */
    {PROGRAM("\5\6\3"), TARN_CFI_RSP, 0, 1, 3},             /* offset_extended */
    {PROGRAM("\x11\6\4"), TARN_CFI_RSP, 0, 1, 4},           /* offset_extended_sf */
    {PROGRAM("\x11\6\x7e"), TARN_CFI_UNKNOWN, 0, 0, 0},     /* above the frame's end */
    {PROGRAM("\x12\7\x7c"), TARN_CFI_RSP, 0, 4, 0},         /* def_cfa_sf */
    {PROGRAM("\x12\6\2"), TARN_CFI_RBP, 0, -2, 0},
    {PROGRAM("\x13\x7b"), TARN_CFI_RSP, 0, 5, 0},     /* def_cfa_offset_sf */
    {PROGRAM("\x86\2\xc6"), TARN_CFI_RSP, 0, 1, 0},   /* restore */
    {PROGRAM("\x86\2\6\6"), TARN_CFI_RSP, 0, 1, 0},   /* restore_extended */
    {PROGRAM("\x86\2\x08\6"), TARN_CFI_RSP, 0, 1, 0}, /* same_value */
    {PROGRAM("\x90\2"), TARN_CFI_UNKNOWN, 0, 0, 0},   /* the return address is elsewhere */
    {PROGRAM("\x90\2\xd0"), TARN_CFI_RSP, 0, 1, 0},
    {PROGRAM("\7\x10"), TARN_CFI_LAST, 0, 0, 0}, /* undefined */
    {PROGRAM("\7\6"), TARN_CFI_UNKNOWN, 0, 0, 0},
    {PROGRAM("\7\3"), TARN_CFI_RSP, 0, 1, 0},
    {PROGRAM("\x0e\x10\x0a\x86\2\x0e\x20\x0b"), TARN_CFI_RSP, 0, 2,
     0}, /* remember, restore_state */
    {PROGRAM("\x0a\x0e\x10\x0a\x0e\x20\x0b"), TARN_CFI_RSP, 0, 2, 0},
    {PROGRAM("\x0a\x0a\x0a\x0a"), TARN_CFI_RSP, 0, 1, 0},
    {PROGRAM("\x0a\x0a\x0a\x0a\x0a"), TARN_CFI_UNKNOWN, 0, 0, 0},
    {PROGRAM("\x0b"), TARN_CFI_UNKNOWN, 0, 0, 0},
    {PROGRAM("\x09\3\x08\x0e\x10"), TARN_CFI_RSP, 0, 2, 0}, /* register */
    {PROGRAM("\x09\6\x08"), TARN_CFI_UNKNOWN, 0, 0, 0},
    {PROGRAM("\x09\x10\x08"), TARN_CFI_UNKNOWN, 0, 0, 0},
    {PROGRAM("\x14\3\1\x15\3\1\x16\3\2\x76\0\x0e\x10"), TARN_CFI_RSP, 0, 2, 0}, /* val_ */
    {PROGRAM("\x14\6\2"), TARN_CFI_UNKNOWN, 0, 0, 0},
    {PROGRAM("\x15\6\2"), TARN_CFI_UNKNOWN, 0, 0, 0},
    {PROGRAM("\x16\6\2\x76\0"), TARN_CFI_UNKNOWN, 0, 0, 0},
    {PROGRAM("\x2e\x90\1\0\0\x0e\x10"), TARN_CFI_RSP, 0, 2, 0}, /* GNU_args_size, nop */
    {PROGRAM("\x10\6\2\x76\0\x0f\3\x76\x78\6"), TARN_CFI_MOVED, 0, -1,
     0}, /* expression, def_cfa_expression */
    {PROGRAM("\x10\6\2\x76\x78\x0f\3\x76\x78\6"), TARN_CFI_UNKNOWN, 0, 0, 0},
    {PROGRAM("\x10\6\2\x77\0\x0f\3\x76\x78\6"), TARN_CFI_UNKNOWN, 0, 0, 0},
    {PROGRAM("\x10\6\2\x76\0\x0f\3\x77\x78\6"), TARN_CFI_UNKNOWN, 0, 0, 0},
    {PROGRAM("\x10\6\2\x76\0\x0f\4\x76\x78\6\6"), TARN_CFI_UNKNOWN, 0, 0, 0},
    {PROGRAM("\x10\6\2\x76\0\x0f\3\x76\x78\6\x0e\x10"), TARN_CFI_UNKNOWN, 0, 0, 0},
    {PROGRAM("\x10\x3\2\x76\x70\x0e\x10"), TARN_CFI_RSP, 0, 2, 0},
    {PROGRAM("\x0e\x10\x0f\3\x76\x78\6\x0c\7\x18"), TARN_CFI_RSP, 0, 3, 0},
    {PROGRAM("\1\0\0\0\0"), TARN_CFI_UNKNOWN, 0, 0, 0}, /* set_loc */
    {PROGRAM("\x2d"), TARN_CFI_UNKNOWN, 0, 0, 0},       /* of other machines */
    {PROGRAM("\x3f"), TARN_CFI_UNKNOWN, 0, 0, 0},
    {PROGRAM("\x44\x3f"), TARN_CFI_RSP, 3, 1, 0}, /* that comes later */
    {PROGRAM("\x0e"), TARN_CFI_UNKNOWN, 0, 0, 0}, /* the program ends too soon */
    {PROGRAM("\x0e\x90"), TARN_CFI_UNKNOWN, 0, 0, 0},
    {PROGRAM("\x03\1"), TARN_CFI_UNKNOWN, 0, 0, 0},
    {PROGRAM("\x10\6\x7f\x76\0"), TARN_CFI_UNKNOWN, 0, 0, 0},
    {PROGRAM("\x0e\x88\x80\x80\x80\x80\x80\x80\x80\x00"), TARN_CFI_RSP, 0, 1, 0},
    {PROGRAM("\x0e\x88\x80\x80\x80\x80\x80\x80\x80\x80\x00"), TARN_CFI_UNKNOWN, 0, 0, 0},
};

static void programs_mean_what_they_say(void **state) {
  struct text text;
  (void)state;
  for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
    make(&text, &(struct parts){.program = known[i].program, .length = known[i].length});
    struct tarn_cfi_rule rule = rule_at(&text, known[i].place);
    if (!is_rule(rule, known[i].kind, known[i].offset, known[i].rbp))
      fail_msg("program %zu", i);
  }
}

static void check_parts(const struct parts *parts, enum tarn_cfi_kind kind) {
  struct text text;
  make(&text, parts);
  assert_true(is_rule(rule_at(&text, 0), kind, kind == TARN_CFI_RSP, 0));
}

static void descriptions_of_all_kinds(void **state) {
  (void)state;
  check_parts(&(struct parts){.version = 3}, TARN_CFI_RSP);
  check_parts(&(struct parts){.version = 4}, TARN_CFI_UNKNOWN);
  check_parts(&(struct parts){.register_number = 8}, TARN_CFI_UNKNOWN);
  /* For C++: where its function and its table are. */
  check_parts(&(struct parts){.letters = "zPLR", .more = "\x9b\1\2\3\4\x1b\x1b", .more_length = 7},
              TARN_CFI_RSP);
  check_parts(&(struct parts){.letters = "zPLR", .more = "\x50\1\2\3\4\x1b\x1b", .more_length = 7},
              TARN_CFI_UNKNOWN);
  /* Frames of signals. */
  check_parts(&(struct parts){.letters = "zRS", .more = "\x1b", .more_length = 1},
              TARN_CFI_UNKNOWN);
  check_parts(&(struct parts){.letters = "zR", .more = "\x3b", .more_length = 1}, TARN_CFI_UNKNOWN);
  check_parts(&(struct parts){.letters = "zR", .more = "\x1f", .more_length = 1}, TARN_CFI_UNKNOWN);
  check_parts(&(struct parts){.letters = "R", .more = "\x1b", .more_length = 1}, TARN_CFI_UNKNOWN);
  check_parts(&(struct parts){.letters = "zRRRRRRRRR", .more = "\x1b", .more_length = 1},
              TARN_CFI_UNKNOWN);
}

/* In the function, and nowhere else. */
static void places_outside_of_functions(void **state) {
  struct text text;
  (void)state;
  make(&text, &(struct parts){.program = ""});
  assert_true(is_rule(rule_at(&text, 0), TARN_CFI_RSP, 1, 0));
  assert_true(is_rule(rule_at(&text, LENGTH - 1), TARN_CFI_RSP, 1, 0));
  assert_true(is_rule(rule_at(&text, LENGTH), TARN_CFI_UNKNOWN, 0, 0));
  assert_true(is_rule(rule_at(&text, (uintptr_t)-1), TARN_CFI_UNKNOWN, 0, 0));
  assert_true(is_rule(rule_at(&text, (uintptr_t)1 << 32), TARN_CFI_UNKNOWN, 0, 0));
}

/* Any of them may be cut off anywhere: then nothing is known. */
static void tables_that_end_too_soon(void **state) {
  struct text text;
  (void)state;
  make(&text, &(struct parts){.program = "\x0e\x10", .length = 2});
  size_t whole = text.length;
  assert_true(is_rule(rule_at(&text, 0), TARN_CFI_RSP, 2, 0));
  for (text.length = 0; text.length < whole; text.length++)
    assert_true(is_rule(rule_at(&text, 0), TARN_CFI_UNKNOWN, 0, 0));
}

/* --- damaged tables -------------------------------------------------------------------------- */

/* A copy of the part of this program that has its tables, between pages that cannot be touched. */
struct copy {
  struct tarn_cfi_tables original, copied;
  char *base; /* of the mapping */
  size_t size, room;
};

static int find_tables(struct dl_phdr_info *info, size_t size, void *data) {
  struct tarn_cfi_tables *tables = data;
  (void)size;
  for (unsigned i = 0; i < info->dlpi_phnum; i++)
    if (info->dlpi_phdr[i].p_type == PT_GNU_EH_FRAME)
      tables->header = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
  for (unsigned i = 0; i < info->dlpi_phnum; i++) {
    uintptr_t low = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
    if (info->dlpi_phdr[i].p_type == PT_LOAD && tables->header - low < info->dlpi_phdr[i].p_memsz) {
      tables->low = low;
      tables->high = low + info->dlpi_phdr[i].p_memsz;
    }
  }
  return 1; /* the program is the first */
}

/* A sanitizer does not want what is between constants to be read. */
static PLAIN __attribute__((no_sanitize_address)) void copy_words(struct copy *copy) {
  const volatile unsigned char *from = (const volatile unsigned char *)copy->original.low;
  for (size_t i = 0; i < copy->size; i++)
    ((unsigned char *)copy->copied.low)[i] = from[i];
}

static void make_copy(struct copy *copy) {
  size_t page = tarn_os_page_size();
  (void)dl_iterate_phdr(find_tables, &copy->original);
  assert_true(copy->original.low != 0 && copy->original.header >= copy->original.low);
  copy->size = copy->original.high - copy->original.low;
  copy->room = (copy->size + page - 1) & ~(page - 1);
  copy->base = mmap(NULL, copy->room + 2 * page, PROT_NONE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  assert_true(copy->base != MAP_FAILED);
  assert_int_equal(mprotect(copy->base + page, copy->room, PROT_READ | PROT_WRITE), 0);
  copy->copied.low = (uintptr_t)copy->base + page + copy->room - copy->size;
  copy->copied.high = copy->copied.low + copy->size;
  copy->copied.header = copy->copied.low + (copy->original.header - copy->original.low);
  copy_words(copy);
}

static void drop_copy(struct copy *copy) {
  assert_int_equal(munmap(copy->base, copy->room + 2 * tarn_os_page_size()), 0);
}

static uint64_t random_state;
static uint64_t next_random(void) {
  uint64_t mixed = (random_state += 0x9e3779b97f4a7c15u);
  mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9u;
  mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111ebu;
  return mixed ^ mixed >> 31;
}

/* An address in the code of this program. */
static uintptr_t any_place(void) {
  static void (*const somewhere)(void **) = tables_that_end_too_soon;
  return (uintptr_t)somewhere - 1000 + next_random() % 8000;
}

static struct tarn_cfi_rule rule_in_copy(const struct copy *copy, uintptr_t pc) {
  struct tarn_cfi_rule rule =
      tarn_cfi_rule_at(&copy->copied, pc - copy->original.low + copy->copied.low);
  assert_in_range(rule.kind, TARN_CFI_UNKNOWN, TARN_CFI_MOVED);
  assert_true(rule.offset < TARN_CFI_OFFSET_MOST && rule.offset >= -TARN_CFI_OFFSET_MOST);
  assert_true(rule.rbp <= TARN_CFI_RBP_MOST && rule.rbp != 1);
  return rule;
}

static void a_copy_of_tables_says_the_same(void **state) {
  struct copy copy;
  unsigned found = 0;
  (void)state;
  make_copy(&copy);
  for (unsigned i = 0; i < 20000; i++) {
    uintptr_t pc = any_place();
    struct tarn_cfi_rule rule = tarn_cfi_rule_at(&copy.original, pc);
    struct tarn_cfi_rule other = rule_in_copy(&copy, pc);
    assert_true(rule.kind == other.kind && rule.offset == other.offset && rule.rbp == other.rbp);
    found += rule.kind != TARN_CFI_UNKNOWN;
  }
  assert_true(found > 10000);
  drop_copy(&copy);
}

/* Whatever comes of it lies in its bounds, and nothing but the tables was read. */
static void damaged_tables_do_no_harm(void **state) {
  enum { ROUNDS = SUPPORT_SANITIZED ? 100 : 1000, PLACES = 200 };
  struct copy copy;
  (void)state;
  make_copy(&copy);
  random_state = tarn_os_now();
  print_message("the seed is %llu\n", (unsigned long long)random_state);
  unsigned char *header = (unsigned char *)copy.copied.header;
  size_t size = copy.copied.high - copy.copied.header;
  for (unsigned round = 0; round < ROUNDS; round++) {
    copy_words(&copy);
    for (size_t step = 16u << round % 10, at = 0; at < size; at += 1 + next_random() % step)
      if (at >= 16 || round % 8 == 0) /* without its head nothing else is looked at */
        header[at] = (unsigned char)next_random();
    for (unsigned i = 0; i < PLACES; i++)
      (void)rule_in_copy(&copy, any_place());
  }
  drop_copy(&copy);
}
#endif

int main(void) {
#if TARN_UNWIND
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(programs_mean_what_they_say),    cmocka_unit_test(descriptions_of_all_kinds),
      cmocka_unit_test(places_outside_of_functions),    cmocka_unit_test(tables_that_end_too_soon),
      cmocka_unit_test(a_copy_of_tables_says_the_same), cmocka_unit_test(damaged_tables_do_no_harm),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
#else
  return 77; /* there is nothing to test on this machine */
#endif
}
