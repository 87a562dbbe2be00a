/* SPDX-License-Identifier: MIT */
/*
 * os/module.c: in which module and function an address of code lies.
 *
 * For messages about a thread that may be anywhere, by a thread that may hold locks of ours: so no
 * dladdr, which takes the loader's lock.  A thread inside dlopen has that, and may wait for a lock
 * that the caller holds.  The kernel's list of mappings says which file it is, and the file's own
 * symbol table, which knows static functions too, says the rest.  Everything is read in small
 * pieces into the stack; what cannot be read is left out.
 */
#include "os/os.h"
#include <link.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PATH_KEPT 256
#define NAME_KEPT 96
#define SYMBOLS_AT_ONCE 64u

/* Not those of /proc/self: there are none when the process's first thread has ended. */
#define MAPS "/proc/thread-self/maps"

/* --- mappings -------------------------------------------------------------------------------- */

struct reader {
  int file;
  size_t at, end;
  char buffer[1024];
};

/* The next character, or -1. */
static int next(struct reader *reader) {
  if (reader->at == reader->end) {
    reader->at = 0;
    reader->end = tarn_os_read(reader->file, reader->buffer, sizeof reader->buffer);
    if (reader->end == 0)
      return -1;
  }
  return (unsigned char)reader->buffer[reader->at++];
}

/* A number in base 16, and the character behind it; false: the end. */
static bool read_number(struct reader *reader, uintptr_t *number) {
  int c;
  *number = 0;
  for (;;) {
    c = next(reader);
    if (c >= '0' && c <= '9')
      *number = *number << 4 | (uintptr_t)(c - '0');
    else if (c >= 'a' && c <= 'f')
      *number = *number << 4 | (uintptr_t)(c - 'a' + 10);
    else
      return c >= 0;
  }
}

/* Permissions: is it code? */
static bool read_is_code(struct reader *reader) {
  bool code = false;
  int c;
  while ((c = next(reader)) >= 0 && c != ' ')
    code = code || c == 'x';
  return code;
}

static void skip_word(struct reader *reader) {
  int c;
  do
    c = next(reader);
  while (c >= 0 && c != ' ');
}

/* The rest of the line without leading spaces; what does not fit is dropped. */
static void read_rest(struct reader *reader, char *text, size_t size) {
  size_t length = 0;
  for (int c = next(reader); c >= 0 && c != '\n'; c = next(reader))
    if ((c != ' ' || length > 0) && length + 1 < size)
      text[length++] = (char)c;
  text[length] = '\0';
}

/* A line: START-END PERMISSIONS OFFSET DEVICE INODE    PATH.  False: there is none. */
struct mapping {
  uintptr_t start, end, offset;
  bool code;
  char path[PATH_KEPT];
};
static bool read_mapping(struct reader *reader, struct mapping *mapping) {
  if (!read_number(reader, &mapping->start) || !read_number(reader, &mapping->end))
    return false;
  mapping->code = read_is_code(reader);
  if (!read_number(reader, &mapping->offset))
    return false;
  skip_word(reader);
  skip_word(reader);
  read_rest(reader, mapping->path, sizeof mapping->path);
  return true;
}

static bool find_mapping(uintptr_t address, struct mapping *mapping) {
  struct reader reader = {.file = tarn_os_open(MAPS)};
  bool found = false;
  if (reader.file < 0)
    return false;
  while (!found && read_mapping(&reader, mapping))
    found = address >= mapping->start && address < mapping->end;
  (void)close(reader.file);
  return found;
}

/* --- the file -------------------------------------------------------------------------------- */

static bool read_at(int file, void *to, size_t size, uint64_t offset) {
  return tarn_os_read_at(file, to, size, offset) == size;
}

static bool is_our_kind(const ElfW(Ehdr) * header) {
  unsigned char class = sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32;
  return memcmp(header->e_ident, ELFMAG, SELFMAG) == 0 && header->e_ident[EI_CLASS] == class &&
         header->e_phentsize == sizeof(ElfW(Phdr)) && header->e_shentsize == sizeof(ElfW(Shdr));
}

/* Which of the module's own addresses lies at this place of its file? */
static bool own_address(int file, const ElfW(Ehdr) * header, uintptr_t offset, uintptr_t *own) {
  for (unsigned i = 0; i < header->e_phnum; i++) {
    ElfW(Phdr) segment;
    if (!read_at(file, &segment, sizeof segment, header->e_phoff + i * sizeof segment))
      return false;
    if (segment.p_type == PT_LOAD && offset - segment.p_offset < segment.p_filesz) {
      *own = offset - segment.p_offset + segment.p_vaddr;
      return true;
    }
  }
  return false;
}

/* The table of all symbols, or, in a file that was stripped, of those that the loader needs. */
static bool find_table(int file, const ElfW(Ehdr) * header, ElfW(Shdr) * table,
                       ElfW(Shdr) * strings) {
  bool found = false;
  for (unsigned i = 0; i < header->e_shnum; i++) {
    ElfW(Shdr) section;
    if (!read_at(file, &section, sizeof section, header->e_shoff + i * sizeof section))
      return false;
    if (section.sh_type == SHT_SYMTAB || (section.sh_type == SHT_DYNSYM && !found)) {
      *table = section;
      found = true;
    }
  }
  return found && read_at(file, strings, sizeof *strings,
                          header->e_shoff + table->sh_link * sizeof *strings);
}

static bool holds(const ElfW(Sym) * symbol, uintptr_t own) {
  return (symbol->st_info & 15) == STT_FUNC && symbol->st_shndx != SHN_UNDEF &&
         own - symbol->st_value < symbol->st_size;
}

/* The symbol of the function that the address lies in. */
static bool find_symbol(int file, const ElfW(Shdr) * table, uintptr_t own, ElfW(Sym) * symbol) {
  ElfW(Sym) some[SYMBOLS_AT_ONCE];
  uint64_t count = table->sh_size / sizeof *some;
  for (uint64_t i = 0; i < count; i += SYMBOLS_AT_ONCE) {
    size_t now = count - i < SYMBOLS_AT_ONCE ? (size_t)(count - i) : SYMBOLS_AT_ONCE;
    if (!read_at(file, some, now * sizeof *some, table->sh_offset + i * sizeof *some))
      return false;
    for (size_t k = 0; k < now; k++)
      if (holds(&some[k], own)) {
        *symbol = some[k];
        return true;
      }
  }
  return false;
}

/* The name of the function; "": not known.  True: `own` is the module's own address. */
static bool look_up(const struct mapping *mapping, uintptr_t offset, char name[NAME_KEPT],
                    uintptr_t *own, uintptr_t *from) {
  ElfW(Ehdr) header;
  ElfW(Shdr) table = {0}, strings;
  ElfW(Sym) symbol;
  int file = mapping->path[0] == '/' ? tarn_os_open(mapping->path) : -1;
  if (file < 0)
    return false;
  bool good = read_at(file, &header, sizeof header, 0) && is_our_kind(&header) &&
              own_address(file, &header, offset, own);
  if (good && find_table(file, &header, &table, &strings) &&
      find_symbol(file, &table, *own, &symbol)) {
    /* The last name of the table may be shorter than what is asked for. */
    name[tarn_os_read_at(file, name, NAME_KEPT - 1, strings.sh_offset + symbol.st_name)] = '\0';
    *from = *own - symbol.st_value;
  }
  (void)close(file);
  return good;
}

/* Where an address lies. */
struct place {
  struct mapping mapping;
  const char *module;   /* the name of its file */
  char name[NAME_KEPT]; /* of the function; "": not known */
  uintptr_t own, from;  /* from the beginning of the module, and of the function */
};

/* False: not in a file. */
static bool find_place(uintptr_t address, struct place *place) {
  place->name[0] = '\0';
  place->from = 0;
  if (!find_mapping(address, &place->mapping) || place->mapping.path[0] == '\0')
    return false;
  uintptr_t offset = address - place->mapping.start + place->mapping.offset;
  if (!look_up(&place->mapping, offset, place->name, &place->own, &place->from))
    place->own = offset;
  const char *slash = strrchr(place->mapping.path, '/');
  place->module = slash ? slash + 1 : place->mapping.path;
  return true;
}

void tarn_os_code_place(uintptr_t address, char *text, size_t size) {
  struct place place;
  if (!find_place(address, &place))
    (void)snprintf(text, size, "0x%lx", (unsigned long)address);
  else if (place.name[0])
    (void)snprintf(text, size, "%s+0x%lx (%s+0x%lx)", place.name, (unsigned long)place.from,
                   place.module, (unsigned long)place.own);
  else
    (void)snprintf(text, size, "%s+0x%lx", place.module, (unsigned long)place.own);
}

/* --- many at once ---------------------------------------------------------------------------- */

/* Spots of one segment of a file. */
struct crowd {
  int file;
  ElfW(Shdr) table, strings;
  struct tarn_os_spot *spots;
  size_t count;
  uintptr_t bias; /* of their addresses: so much more than the module's own */
};

/* The first of the spots that is at the address or beyond it. */
static size_t first_from(const struct crowd *crowd, uintptr_t address) {
  size_t low = 0, high = crowd->count;
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (crowd->spots[middle].address < address)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

/* Those in the symbol's function get its name, unless they have one. */
static void name_spots(const struct crowd *crowd, const ElfW(Sym) * symbol) {
  char name[NAME_KEPT] = "";
  if ((symbol->st_info & 15) != STT_FUNC || symbol->st_shndx == SHN_UNDEF)
    return;
  uintptr_t start = symbol->st_value + crowd->bias;
  for (size_t i = first_from(crowd, start);
       i < crowd->count && crowd->spots[i].address - start < symbol->st_size; i++) {
    struct tarn_os_spot *spot = &crowd->spots[i];
    if (spot->function[0])
      continue;
    if (!name[0])
      name[tarn_os_read_at(crowd->file, name, sizeof name - 1,
                           crowd->strings.sh_offset + symbol->st_name)] = '\0';
    (void)snprintf(spot->function, sizeof spot->function, "%s", name);
  }
}

static void name_crowd(const struct crowd *crowd) {
  ElfW(Sym) some[SYMBOLS_AT_ONCE];
  uint64_t count = crowd->table.sh_size / sizeof *some;
  for (uint64_t i = 0; i < count; i += SYMBOLS_AT_ONCE) {
    size_t now = count - i < SYMBOLS_AT_ONCE ? (size_t)(count - i) : SYMBOLS_AT_ONCE;
    if (!read_at(crowd->file, some, now * sizeof *some, crowd->table.sh_offset + i * sizeof *some))
      return;
    for (size_t k = 0; k < now; k++)
      name_spots(crowd, &some[k]);
  }
}

/* What has no symbol yet. */
static void number_spots(const struct mapping *mapping, const struct crowd *crowd) {
  const char *slash = strrchr(mapping->path, '/');
  for (size_t i = 0; i < crowd->count; i++) {
    struct tarn_os_spot *spot = &crowd->spots[i];
    if (!spot->function[0] && mapping->path[0])
      (void)snprintf(spot->function, sizeof spot->function, "%.100s+0x%lx",
                     slash ? slash + 1 : mapping->path,
                     (unsigned long)(spot->address - crowd->bias));
    else if (!spot->function[0])
      (void)snprintf(spot->function, sizeof spot->function, "0x%lx", (unsigned long)spot->address);
  }
}

/* As look_up, for all spots of a mapping: it is of one segment of its file. */
static void name_mapping(const struct mapping *mapping, struct tarn_os_spot *spots, size_t count) {
  ElfW(Ehdr) header;
  uintptr_t own, offset = spots[0].address - mapping->start + mapping->offset;
  struct crowd crowd = {.file = mapping->path[0] == '/' ? tarn_os_open(mapping->path) : -1,
                        .spots = spots,
                        .count = count,
                        .bias = mapping->start - mapping->offset};
  if (crowd.file >= 0 && read_at(crowd.file, &header, sizeof header, 0) && is_our_kind(&header) &&
      own_address(crowd.file, &header, offset, &own)) {
    crowd.bias = spots[0].address - own;
    if (find_table(crowd.file, &header, &crowd.table, &crowd.strings))
      name_crowd(&crowd);
  }
  if (crowd.file >= 0)
    (void)close(crowd.file);
  number_spots(mapping, &crowd);
}

void tarn_os_code_functions(struct tarn_os_spot *spots, size_t count) {
  static const struct mapping nowhere;
  struct reader reader = {.file = tarn_os_open(MAPS)};
  struct mapping mapping;
  size_t at = 0, end;
  for (size_t i = 0; i < count; i++)
    spots[i].function[0] = '\0';
  while (reader.file >= 0 && at < count && read_mapping(&reader, &mapping)) {
    for (end = at; end < count && spots[end].address < mapping.start; end++) {
    }
    if (end > at)
      number_spots(&nowhere, &(struct crowd){.spots = spots + at, .count = end - at});
    for (at = end; end < count && spots[end].address < mapping.end; end++) {
    }
    if (end > at)
      name_mapping(&mapping, spots + at, end - at);
    at = end;
  }
  number_spots(&nowhere, &(struct crowd){.spots = spots + at, .count = count - at});
  if (reader.file >= 0)
    (void)close(reader.file);
}

/* --- all of them ----------------------------------------------------------------------------- */

/* In a segment of notes: the one that the linker made of the file's contents. */
static void find_id(int file, const ElfW(Phdr) * segment, struct tarn_os_code *code) {
  uint64_t at = segment->p_offset, end = at + segment->p_filesz;
  ElfW(Nhdr) note;
  while (code->id_length == 0 && end - at >= sizeof note && read_at(file, &note, sizeof note, at)) {
    char owner[4];
    uint64_t name = at + sizeof note, text = name + ((note.n_namesz + 3u) & ~(uint64_t)3);
    uint64_t behind = text + ((note.n_descsz + 3u) & ~(uint64_t)3);
    if (text > end || behind > end)
      return;
    if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == sizeof owner &&
        note.n_descsz <= sizeof code->id && read_at(file, owner, sizeof owner, name) &&
        memcmp(owner, "GNU", sizeof owner) == 0 && read_at(file, code->id, note.n_descsz, text))
      code->id_length = note.n_descsz;
    at = behind;
  }
}

static void read_id(struct tarn_os_code *code) {
  ElfW(Ehdr) header;
  ElfW(Phdr) segment;
  int file = code->path[0] == '/' ? tarn_os_open(code->path) : -1;
  if (file < 0)
    return;
  if (read_at(file, &header, sizeof header, 0) && is_our_kind(&header))
    for (unsigned i = 0; i < header.e_phnum; i++)
      if (read_at(file, &segment, sizeof segment, header.e_phoff + i * sizeof segment) &&
          segment.p_type == PT_NOTE)
        find_id(file, &segment, code);
  (void)close(file);
}

void tarn_os_each_code(void (*fn)(const struct tarn_os_code *code, void *data), void *data) {
  struct reader reader = {.file = tarn_os_open(MAPS)};
  struct mapping mapping;
  if (reader.file < 0)
    return;
  while (read_mapping(&reader, &mapping)) {
    struct tarn_os_code code = {
        .start = mapping.start, .end = mapping.end, .offset = mapping.offset};
    if (!mapping.code)
      continue;
    memcpy(code.path, mapping.path, sizeof code.path);
    read_id(&code);
    fn(&code, data);
  }
  (void)close(reader.file);
}
