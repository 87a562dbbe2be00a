/* SPDX-License-Identifier: MIT */
/*
 * os/cfi.c: see os/cfi.h.
 *
 * The index at .eh_frame_hdr leads to a description of the function (FDE), and that to one of what
 * it has in common with others (CIE).  Both end in a program for a machine with a row of columns:
 * where the frame's end is, and where each of the caller's registers was saved.  The program tells
 * what changes at which address, so it is run as far as the place that is asked for.  Numbers and
 * names are those of DWARF 5, section 6.4, and of the Linux Standard Base, "Exception Frames".
 */
#include "os/cfi.h"
#include <string.h>

#if TARN_UNWIND

/* --- reading --------------------------------------------------------------------------------- */

/* Numbers one after the other.  Beyond the end all are 0, and `bad` says so. */
struct cursor {
  uintptr_t at, end;
  bool bad;
};

static struct cursor cursor_at(const struct tarn_cfi_tables *tables, uintptr_t at) {
  bool bad = at < tables->low || at > tables->high;
  return (struct cursor){bad ? tables->high : at, tables->high, bad};
}

static void skip(struct cursor *from, uint64_t bytes) {
  from->bad = from->bad || bytes > from->end - from->at;
  from->at = from->bad ? from->end : from->at + bytes;
}

static uint64_t take(struct cursor *from, unsigned bytes) {
  uint64_t value = 0;
  uintptr_t at = from->at;
  skip(from, bytes);
  if (!from->bad)
    memcpy(&value, (const void *)at, bytes);
  return value;
}

static int64_t take_signed(struct cursor *from, unsigned bytes) {
  unsigned unused = 64 - 8 * bytes;
  return (int64_t)(take(from, bytes) << unused) >> unused;
}

/* Seven bits a byte, the lowest first. */
static uint64_t take_bits(struct cursor *from, bool is_signed) {
  uint64_t value = 0, byte;
  unsigned shift = 0;
  do {
    byte = take(from, 1);
    value |= (byte & 0x7f) << shift;
    shift += 7;
  } while ((byte & 0x80) && shift < 63);
  from->bad = from->bad || (byte & 0x80);
  if (is_signed && (byte & 0x40))
    value |= ~(uint64_t)0 << shift;
  return value;
}

static uint64_t take_uleb(struct cursor *from) { return take_bits(from, false); }
static int64_t take_sleb(struct cursor *from) { return (int64_t)take_bits(from, true); }

/* Of pointers' encodings: the low half is the form, the next three bits what they count from. */
#define FORM(encoding) ((encoding)&0x0fu)
#define FROM_HERE 0x10u      /* from where they stand */
#define ALIGNED 0x50u        /* there may be padding before them */
#define INDEX_ENCODING 0x3bu /* four bytes each, from .eh_frame_hdr */

static unsigned form_size(unsigned encoding) {
  static const uint8_t sizes[16] = {
      [0] = 8, [2] = 2, [3] = 4, [4] = 8, [10] = 2, [11] = 4, [12] = 8};
  return sizes[FORM(encoding)];
}

static uint64_t take_form(struct cursor *from, unsigned encoding) {
  unsigned size = form_size(encoding);
  from->bad = from->bad || size == 0 || (encoding & 0x70) == ALIGNED;
  if (from->bad)
    return 0;
  return FORM(encoding) & 8 ? (uint64_t)take_signed(from, size) : take(from, size);
}

static uint64_t take_address(struct cursor *from, unsigned encoding) {
  uintptr_t here = from->at;
  from->bad = from->bad || (encoding & 0xf0) != FROM_HERE;
  return here + take_form(from, encoding);
}

/* --- finding the description ----------------------------------------------------------------- */

/* The number of the last of `count` pairs (where code begins, its description) that does not begin
 * behind the place, both as distances from the header; `count`: there is none. */
static uint64_t search(uintptr_t pairs, uint64_t count, int64_t wanted) {
  uint64_t low = 0, high = count;
  while (low < high) {
    uint64_t middle = low + (high - low) / 2;
    int32_t begins;
    memcpy(&begins, (const void *)(pairs + 8 * middle), sizeof begins);
    if (begins <= wanted)
      low = middle + 1;
    else
      high = middle;
  }
  return low == 0 ? count : low - 1;
}

/* Where the function's description is; 0: the index does not know. */
static uintptr_t find_description(const struct tarn_cfi_tables *tables, uintptr_t pc) {
  struct cursor header = cursor_at(tables, tables->header);
  uint64_t version = take(&header, 1), frame = take(&header, 1), number = take(&header, 1);
  uint64_t index = take(&header, 1);
  if (version != 1 || index != INDEX_ENCODING)
    return 0;
  skip(&header, form_size((unsigned)frame)); /* where .eh_frame begins */
  uint64_t count = take_form(&header, (unsigned)number);
  if (header.bad || count > (header.end - header.at) / 8)
    return 0;
  uint64_t found = search(header.at, count, (int64_t)(pc - tables->header));
  int32_t distance;
  if (found == count)
    return 0;
  memcpy(&distance, (const void *)(header.at + 8 * found + 4), sizeof distance);
  return tables->header + (uintptr_t)(intptr_t)distance;
}

/* A record of .eh_frame, without its length; false: none is there. */
static bool open_record(const struct tarn_cfi_tables *tables, uintptr_t at, struct cursor *record) {
  *record = cursor_at(tables, at);
  uint64_t length = take(record, 4);
  if (record->bad || length == 0 || length == UINT32_MAX || /* a length of eight bytes follows */
      length > record->end - record->at)
    return false;
  record->end = record->at + length;
  return true;
}

struct description {
  struct cursor common, own; /* the two programs */
  uint64_t step;             /* that addresses go by */
  int64_t scale;             /* of offsets */
  unsigned encoding;         /* of addresses */
  uintptr_t begins;
};

/* What the letters of a CIE stand for; false: there is one that changes what is said here. */
static bool read_letters(struct cursor *common, const char *letters, struct description *out) {
  for (; *letters; letters++)
    switch (*letters) {
    case 'R':
      out->encoding = (unsigned)take(common, 1);
      break;
    case 'P': /* of exceptions */
      (void)take_form(common, (unsigned)take(common, 1));
      break;
    case 'L': /* the same */
      (void)take(common, 1);
      break;
    default: /* such as 'S': the frame of a signal */
      return false;
    }
  return true;
}

static bool read_common(const struct tarn_cfi_tables *tables, uintptr_t at,
                        struct description *out) {
  struct cursor *common = &out->common;
  char letters[8] = "";
  if (!open_record(tables, at, common) || take(common, 4) != 0)
    return false;
  uint64_t version = take(common, 1);
  unsigned count = 0;
  while ((letters[count] = (char)take(common, 1)) != '\0')
    if (++count == sizeof letters)
      return false;
  out->step = take_uleb(common);
  out->scale = take_sleb(common);
  uint64_t address = version == 1 ? take(common, 1) : take_uleb(common);
  if (common->bad || (version != 1 && version != 3) || address != 16)
    return false;
  if (letters[0] != 'z') /* the length of what the other letters stand for */
    return false;
  uint64_t length = take_uleb(common);
  struct cursor more = *common;
  skip(common, length);
  more.end = common->at;
  return read_letters(&more, letters + 1, out) && !more.bad && !common->bad;
}

/* False: there is none, or it is of a kind that is not understood. */
static bool read_description(const struct tarn_cfi_tables *tables, uintptr_t pc,
                             struct description *out) {
  uintptr_t at = find_description(tables, pc);
  struct cursor *own = &out->own;
  if (at == 0 || !open_record(tables, at, own))
    return false;
  uintptr_t here = own->at;
  uint64_t back = take(own, 4);
  if (back == 0 || !read_common(tables, here - back, out))
    return false;
  out->begins = take_address(own, out->encoding);
  uint64_t length = take_form(own, FORM(out->encoding) & 7); /* the same, without a sign */
  skip(own, take_uleb(own));                                 /* of exceptions */
  return !own->bad && pc - out->begins < length;
}

/* --- the machine ----------------------------------------------------------------------------- */

enum { RBP = 6, RSP = 7, RETURN = 16 }; /* numbers of columns */

enum where {
  SAME,  /* in the register */
  SAVED, /* `offset` bytes from the frame's end */
  AT_RBP,
  NOWHERE,
  ELSEWHERE /* not understood */
};

struct column {
  enum where where;
  int64_t offset;
};

enum base { BASE_OTHER, BASE_RSP, BASE_RBP, BASE_WORD };

struct row {
  enum base base; /* of the frame's end; BASE_WORD: in the word at RBP + offset */
  int64_t offset;
  struct column rbp, address;
};

#define KEPT 4u /* compilers keep one, rarely two */

struct machine {
  struct row now, first; /* first: when the common program has run */
  struct row kept[KEPT];
  unsigned depth;
  uintptr_t place;
  struct column other; /* all that nobody asks for */
  const struct description *of;
};

static struct column *column_of(struct machine *machine, uint64_t number) {
  return number == RBP      ? &machine->now.rbp
         : number == RETURN ? &machine->now.address
                            : &machine->other;
}

static void set(struct machine *machine, uint64_t number, enum where where, int64_t offset) {
  *column_of(machine, number) = (struct column){where, offset};
}

static void restore(struct machine *machine, uint64_t number) {
  if (number == RBP)
    machine->now.rbp = machine->first.rbp;
  else if (number == RETURN)
    machine->now.address = machine->first.address;
}

static int64_t scaled(const struct machine *machine, uint64_t number) {
  return (int64_t)(number * (uint64_t)machine->of->scale);
}

static void set_end(struct machine *machine, uint64_t number, int64_t offset) {
  machine->now.base = number == RSP ? BASE_RSP : number == RBP ? BASE_RBP : BASE_OTHER;
  machine->now.offset = offset;
}

static void move_end(struct machine *machine, int64_t offset) {
  if (machine->now.base == BASE_WORD)
    machine->now.base = BASE_OTHER;
  machine->now.offset = offset;
}

/* Of expressions two are understood, which gcc writes for functions that align the stack: RBP +
 * offset, and, for the frame's end, the word there. */
static bool take_expression(struct cursor *code, bool is_word, int64_t *offset) {
  uint64_t length = take_uleb(code);
  struct cursor text = *code;
  skip(code, length);
  text.end = code->at;
  bool good = take(&text, 1) == 0x76; /* DW_OP_breg6 */
  *offset = take_sleb(&text);
  if (is_word)
    good = take(&text, 1) == 0x06 && good; /* DW_OP_deref */
  return good && !text.bad && text.at == text.end;
}

static void set_by_expression(struct machine *machine, struct cursor *code) {
  uint64_t number = take_uleb(code);
  int64_t offset;
  bool good = take_expression(code, false, &offset);
  set(machine, number, good && offset == 0 ? AT_RBP : ELSEWHERE, 0);
}

static void set_end_by_expression(struct machine *machine, struct cursor *code) {
  int64_t offset;
  machine->now.base = take_expression(code, true, &offset) ? BASE_WORD : BASE_OTHER;
  machine->now.offset = offset;
}

static bool keep(struct machine *machine) {
  if (machine->depth == KEPT)
    return false;
  machine->kept[machine->depth++] = machine->now;
  return true;
}

static bool bring_back(struct machine *machine) {
  if (machine->depth == 0)
    return false;
  machine->now = machine->kept[--machine->depth];
  return true;
}

/* Those instructions that do not change what holds from which address on.  The order of operands
 * that are read in one call must not matter, so each has a variable.  False: an unknown one. */
static bool run_other(struct machine *machine, unsigned instruction, struct cursor *code) {
  uint64_t number;
  switch (instruction) {
  case 0x00: /* DW_CFA_nop */
    return true;
  case 0x05: /* DW_CFA_offset_extended */
    number = take_uleb(code);
    set(machine, number, SAVED, scaled(machine, take_uleb(code)));
    return true;
  case 0x11: /* DW_CFA_offset_extended_sf */
    number = take_uleb(code);
    set(machine, number, SAVED, scaled(machine, (uint64_t)take_sleb(code)));
    return true;
  case 0x06: /* DW_CFA_restore_extended */
    restore(machine, take_uleb(code));
    return true;
  case 0x07: /* DW_CFA_undefined */
    set(machine, take_uleb(code), NOWHERE, 0);
    return true;
  case 0x08: /* DW_CFA_same_value */
    set(machine, take_uleb(code), SAME, 0);
    return true;
  case 0x09: /* DW_CFA_register */
  case 0x14: /* DW_CFA_val_offset */
  case 0x15: /* DW_CFA_val_offset_sf */
    number = take_uleb(code);
    (void)take_uleb(code);
    set(machine, number, ELSEWHERE, 0);
    return true;
  case 0x10: /* DW_CFA_expression */
    set_by_expression(machine, code);
    return true;
  case 0x16: /* DW_CFA_val_expression */
    number = take_uleb(code);
    skip(code, take_uleb(code));
    set(machine, number, ELSEWHERE, 0);
    return true;
  case 0x2e: /* DW_CFA_GNU_args_size */
    (void)take_uleb(code);
    return true;
  default:
    return false;
  }
}

/* Those of the frame's end, and of whole rows. */
static bool run_row(struct machine *machine, unsigned instruction, struct cursor *code) {
  uint64_t number;
  switch (instruction) {
  case 0x0a: /* DW_CFA_remember_state */
    return keep(machine);
  case 0x0b: /* DW_CFA_restore_state */
    return bring_back(machine);
  case 0x0c: /* DW_CFA_def_cfa */
    number = take_uleb(code);
    set_end(machine, number, (int64_t)take_uleb(code));
    return true;
  case 0x12: /* DW_CFA_def_cfa_sf */
    number = take_uleb(code);
    set_end(machine, number, scaled(machine, (uint64_t)take_sleb(code)));
    return true;
  case 0x0d: /* DW_CFA_def_cfa_register */
    set_end(machine, take_uleb(code), machine->now.offset);
    return true;
  case 0x0e: /* DW_CFA_def_cfa_offset */
    move_end(machine, (int64_t)take_uleb(code));
    return true;
  case 0x13: /* DW_CFA_def_cfa_offset_sf */
    move_end(machine, scaled(machine, (uint64_t)take_sleb(code)));
    return true;
  case 0x0f: /* DW_CFA_def_cfa_expression */
    set_end_by_expression(machine, code);
    return true;
  default:
    return run_other(machine, instruction, code);
  }
}

/* By how much the address grows, in steps, if that is what the instruction is about. */
static bool is_advance(unsigned instruction, struct cursor *code, uint64_t *steps) {
  if (instruction >> 6 == 1) /* DW_CFA_advance_loc */
    *steps = instruction & 0x3f;
  else if (instruction >= 0x02 && instruction <= 0x04) /* DW_CFA_advance_loc1, 2 and 4 */
    *steps = take(code, 1u << (instruction - 2));
  else
    return false;
  return true;
}

/* Up to what holds at `pc`.  False: not understood. */
static bool run(struct machine *machine, struct cursor code, uintptr_t pc) {
  uint64_t steps;
  while (code.at < code.end) {
    unsigned instruction = (unsigned)take(&code, 1), number = instruction & 0x3f;
    bool good = true;
    if (is_advance(instruction, &code, &steps)) {
      machine->place += steps * machine->of->step;
      if (machine->place > pc)
        return !code.bad;
    } else if (instruction >> 6 == 2) { /* DW_CFA_offset */
      set(machine, number, SAVED, scaled(machine, take_uleb(&code)));
    } else if (instruction >> 6 == 3) { /* DW_CFA_restore */
      restore(machine, number);
    } else {
      good = run_row(machine, instruction, &code);
    }
    if (!good || code.bad)
      return false;
  }
  return true;
}

/* --- the rule -------------------------------------------------------------------------------- */

#define WORD ((int64_t)sizeof(uintptr_t))

static const struct tarn_cfi_rule unknown = {TARN_CFI_UNKNOWN, 0, 0};

/* In words, and with bounds that are in words. */
static bool is_word_of(int64_t offset, int64_t least, int64_t most) {
  return offset % WORD == 0 && offset / WORD >= least && offset / WORD <= most;
}

static struct tarn_cfi_rule rule_of(const struct row *row) {
  const struct column *rbp = &row->rbp, *address = &row->address;
  if (address->where == NOWHERE)
    return (struct tarn_cfi_rule){TARN_CFI_LAST, 0, 0};
  if (address->where != SAVED || address->offset != -WORD ||
      !is_word_of(row->offset, -TARN_CFI_OFFSET_MOST, TARN_CFI_OFFSET_MOST - 1))
    return unknown;
  int32_t offset = (int32_t)(row->offset / WORD);
  if (row->base == BASE_WORD && rbp->where == AT_RBP)
    return (struct tarn_cfi_rule){TARN_CFI_MOVED, offset, 0};
  bool saved = rbp->where == SAVED && is_word_of(rbp->offset, -(int64_t)TARN_CFI_RBP_MOST, -2);
  if ((row->base != BASE_RSP && row->base != BASE_RBP) || (!saved && rbp->where != SAME))
    return unknown;
  return (struct tarn_cfi_rule){row->base == BASE_RSP ? TARN_CFI_RSP : TARN_CFI_RBP, offset,
                                saved ? (uint32_t)(-rbp->offset / WORD) : 0};
}

struct tarn_cfi_rule tarn_cfi_rule_at(const struct tarn_cfi_tables *tables, uintptr_t pc) {
  struct description description;
  if (!read_description(tables, pc, &description))
    return unknown;
  struct machine machine = {.of = &description, .place = description.begins};
  if (!run(&machine, description.common, UINTPTR_MAX))
    return unknown;
  machine.first = machine.now;
  machine.place = description.begins; /* whatever the common program did */
  return run(&machine, description.own, pc) ? rule_of(&machine.now) : unknown;
}

#endif
