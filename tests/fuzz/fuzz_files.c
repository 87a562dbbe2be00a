/* SPDX-License-Identifier: MIT */
/*
 * fuzz_files: any bytes as the files that the command `tarn` reads.
 *
 * The first byte says how; what follows is read
 *   - as JSON, piece by piece, and beside it by a second reader here, which has all of it in
 *     memory; they must agree in every piece, in where it goes wrong, and in whether the file just
 *     ends too early;
 *   - as one or two heap snapshots (two: a NUL lies between them).  What is read must hold
 *     together, and the types that are compared must sum up to the nodes that were read;
 *   - as the numbers of two snapshots that are written here: most fit each other, some do not;
 *   - as a trace, or lines of a log; what is read of its beginning alone must be the beginning of
 *     what is read of all.
 *
 * Then the two reports are printed as the command does.  All that is printed is UTF-8 that steers
 * no terminal, and what is to be JSON is.
 *
 * The command gives its memory back by ending, so here it has functions of this file in place of
 * malloc's, which know what is left.
 */
#include "fuzz.h"

#include "diff.h"
#include "heapfile.h"
#include "json.h"
#include "tool.h"
#include "trace.h"
#include <sys/mman.h>
#include <unistd.h>

enum { AS_JSON, AS_SNAPSHOT, AS_TRACE, AS_BUILT, WAYS };

/* --- memory of the command ------------------------------------------------------------------- */

void *fuzz_calloc(size_t count, size_t size);
void *fuzz_realloc(void *old, size_t size);
void fuzz_free(void *block);

struct block {
  struct block *next, *previous;
};
static struct block blocks = {&blocks, &blocks};

static void *enter(struct block *block) {
  FUZZ_CHECK(block);
  block->next = blocks.next;
  block->previous = &blocks;
  block->next->previous = block->previous->next = block;
  return block + 1;
}

static void leave(struct block *block) {
  block->next->previous = block->previous;
  block->previous->next = block->next;
}

void *fuzz_calloc(size_t count, size_t size) {
  FUZZ_CHECK(count < 1 << 24 && size < 1 << 24); /* of a file of some thousand bytes */
  return enter(calloc(1, sizeof(struct block) + count * size));
}

void *fuzz_realloc(void *old, size_t size) {
  FUZZ_CHECK(size < 1 << 26);
  struct block *block = old ? (struct block *)old - 1 : NULL;
  if (block)
    leave(block);
  return enter(realloc(block, sizeof *block + size));
}

void fuzz_free(void *block) {
  if (!block)
    return;
  leave((struct block *)block - 1);
  free((struct block *)block - 1);
}

static void free_all(void) {
  while (blocks.next != &blocks)
    fuzz_free(blocks.next + 1);
}

/* --- a file, and what is printed ------------------------------------------------------------- */

struct file {
  int descriptor;
  char path[32];
};
static struct file files[2];

int LLVMFuzzerInitialize(int *count, char ***arguments) {
  (void)count, (void)arguments;
  for (unsigned i = 0; i < 2; i++) {
    files[i].descriptor = memfd_create("fuzz", MFD_CLOEXEC);
    FUZZ_CHECK(files[i].descriptor >= 0);
    snprintf(files[i].path, sizeof files[i].path, "/proc/self/fd/%d", files[i].descriptor);
  }
  return 0;
}

static void write_file(const struct file *file, const char *bytes, size_t size) {
  FUZZ_CHECK(ftruncate(file->descriptor, 0) == 0);
  FUZZ_CHECK(size == 0 || pwrite(file->descriptor, bytes, size, 0) == (ssize_t)size);
  FUZZ_CHECK(lseek(file->descriptor, 0, SEEK_SET) == 0);
}

struct printed {
  char *text;
  size_t length;
  FILE *stream, **place, *before;
};

static void catch (struct printed *printed, FILE **place) {
  printed->place = place;
  printed->before = *place;
  printed->stream = open_memstream(&printed->text, &printed->length);
  FUZZ_CHECK(printed->stream);
  *place = printed->stream;
}

/* Bytes of the character that a text begins with, as the standard has it; 0: of none, or of one
 * that is not printed. */
static size_t printable(const unsigned char *at, size_t left) {
  static const uint32_t least[] = {0, ' ', 0xA0, 0x800, 0x10000};
  size_t length = at[0] < 0x80       ? 1
                  : at[0] >> 5 == 6  ? 2
                  : at[0] >> 4 == 14 ? 3
                  : at[0] >> 3 == 30 ? 4
                                     : 0;
  uint32_t code = length > 1 ? at[0] & (0x7Fu >> length) : at[0];
  if (length == 0 || length > left)
    return 0;
  for (size_t i = 1; i < length; i++) {
    if (at[i] >> 6 != 2)
      return 0;
    code = code << 6 | (at[i] & 0x3F);
  }
  bool good = code >= least[length] && code <= 0x10FFFF && code >> 11 != 27 && code != 0x7F;
  return good ? length : 0;
}

static void check_printed(const struct printed *printed) {
  for (size_t at = 0; at < printed->length;) {
    const unsigned char *text = (const unsigned char *)printed->text + at;
    size_t length = text[0] == '\n' ? 1 : printable(text, printed->length - at);
    FUZZ_CHECK(length > 0);
    at += length;
  }
}

/* What was printed must be as it should; the caller frees it. */
static void release(struct printed *printed) {
  *printed->place = printed->before;
  FUZZ_CHECK(fclose(printed->stream) == 0);
  check_printed(printed);
}

/* --- the second reader of JSON --------------------------------------------------------------- */

struct piece {
  enum json_kind kind;
  bool whole;
  uint64_t number;
  double real;
  size_t text, length; /* in second.texts */
};

enum { GOOD, BAD, CUT_OFF };

struct second {
  const unsigned char *at, *end;
  struct piece *pieces;
  size_t count, room;
  char *texts;
  size_t texts_length, texts_room;
  unsigned depth;
};

static int value(struct second *second);

/* At a byte that cannot be there. */
static int ended(const struct second *second) { return second->at == second->end ? CUT_OFF : BAD; }

static bool is_at(const struct second *second, char byte) {
  return second->at < second->end && *second->at == (unsigned char)byte;
}

static void blanks(struct second *second) {
  while (second->at < second->end && memchr(" \t\r\n", *second->at, 4))
    second->at++;
}

static struct piece *add_piece(struct second *second, enum json_kind kind) {
  if (second->count == second->room) {
    second->room = second->room * 2 + 16;
    second->pieces = realloc(second->pieces, second->room * sizeof *second->pieces);
    FUZZ_CHECK(second->pieces);
  }
  struct piece *piece = &second->pieces[second->count++];
  *piece = (struct piece){.kind = kind, .text = second->texts_length};
  return piece;
}

static void add_byte(struct second *second, unsigned byte) {
  if (second->texts_length == second->texts_room) {
    second->texts_room = second->texts_room * 2 + 64;
    second->texts = realloc(second->texts, second->texts_room);
    FUZZ_CHECK(second->texts);
  }
  second->texts[second->texts_length++] = (char)byte;
}

static void add_utf8(struct second *second, uint32_t code) {
  unsigned more = code < 0x80 ? 0 : code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
  static const unsigned heads[] = {0, 0xC0, 0xE0, 0xF0};
  add_byte(second, heads[more] | code >> 6 * more);
  while (more--)
    add_byte(second, 0x80 | (code >> 6 * more & 0x3F));
}

/* The four digits behind \u, read again later. */
static int unit(struct second *second, uint32_t *code) {
  *code = 0;
  for (unsigned i = 0; i < 4; i++, second->at++) {
    static const char digits[] = "0123456789abcdefABCDEF";
    const char *digit =
        second->at < second->end && *second->at ? strchr(digits, *second->at) : NULL;
    if (!digit)
      return ended(second);
    unsigned place = (unsigned)(digit - digits);
    *code = *code * 16 + (place < 16 ? place : place - 6);
  }
  return GOOD;
}

/* After "\u": with its second half, if there is one behind it. */
static int escaped_code(struct second *second) {
  uint32_t code, other;
  int state = unit(second, &code);
  if (state != GOOD)
    return state;
  if (code >> 10 == 0x36 && second->end - second->at >= 6 && second->at[0] == '\\' &&
      second->at[1] == 'u') {
    struct second ahead = *second;
    ahead.at += 2;
    if (unit(&ahead, &other) == GOOD && other >> 10 == 0x37) {
      second->at = ahead.at;
      add_utf8(second, 0x10000 + ((code & 0x3FF) << 10) + (other & 0x3FF));
      return GOOD;
    }
  }
  add_utf8(second, code == 0 || code >> 11 == 0x1B ? 0xFFFD : code);
  return GOOD;
}

static int escape(struct second *second) {
  static const char names[] = "\"\\/bfnrt", means[] = "\"\\/\b\f\n\r\t";
  if (is_at(second, 'u')) {
    second->at++;
    return escaped_code(second);
  }
  const char *found = second->at < second->end && *second->at ? strchr(names, *second->at) : NULL;
  if (!found)
    return ended(second);
  second->at++;
  add_byte(second, (unsigned char)means[found - names]);
  return GOOD;
}

static int string(struct second *second, enum json_kind kind) {
  size_t place = second->count;
  (void)add_piece(second, kind);
  second->at++;
  while (second->at < second->end && *second->at >= ' ' && *second->at != '"') {
    if (*second->at != '\\') {
      add_byte(second, *second->at++);
      continue;
    }
    second->at++;
    int state = escape(second);
    if (state != GOOD)
      return state;
  }
  if (!is_at(second, '"'))
    return ended(second);
  second->at++;
  second->pieces[place].length = second->texts_length - second->pieces[place].text;
  return GOOD;
}

static int some_digits(struct second *second) {
  const unsigned char *from = second->at;
  while (second->at < second->end && *second->at >= '0' && *second->at <= '9')
    second->at++;
  return second->at > from ? GOOD : ended(second);
}

static int fraction(struct second *second) {
  int state = GOOD;
  if (is_at(second, '.')) {
    second->at++;
    state = some_digits(second);
  }
  if (state == GOOD && (is_at(second, 'e') || is_at(second, 'E'))) {
    second->at++;
    if (is_at(second, '+') || is_at(second, '-'))
      second->at++;
    state = some_digits(second);
  }
  return state;
}

static int number(struct second *second) {
  struct piece *piece = add_piece(second, JSON_NUMBER);
  const unsigned char *from = second->at;
  if (is_at(second, '-'))
    second->at++;
  bool zero = is_at(second, '0');
  int state = zero ? GOOD : some_digits(second);
  if (zero)
    second->at++;
  if (state != GOOD)
    return state;
  if (zero && second->at < second->end && *second->at >= '0' && *second->at <= '9')
    return BAD;
  const unsigned char *whole_end = second->at;
  state = fraction(second);
  size_t length = (size_t)(second->at - from);
  char *text = calloc(1, length + 1);
  FUZZ_CHECK(text);
  memcpy(text, from, length);
  __extension__ unsigned __int128 sum = 0;
  for (const unsigned char *at = from; at < whole_end && sum <= UINT64_MAX; at++)
    sum = sum * 10 + (*at - '0');
  piece->whole = *from != '-' && whole_end == second->at && sum <= UINT64_MAX;
  piece->number = (uint64_t)sum;
  piece->real = strtod(text, NULL);
  piece->length = length;
  free(text);
  return state;
}

static int word(struct second *second) {
  static const char *const words[] = {"true", "false", "null"};
  size_t left = (size_t)(second->end - second->at);
  for (unsigned i = 0; i < 3; i++) {
    size_t length = strlen(words[i]), same = length < left ? length : left;
    if (memcmp(second->at, words[i], same) != 0)
      continue;
    if (same < length)
      return CUT_OFF;
    struct piece *piece = add_piece(second, JSON_WORD);
    piece->length = length;
    for (size_t k = 0; k < length; k++)
      add_byte(second, *second->at++);
    return GOOD;
  }
  return BAD;
}

static int members(struct second *second, char end, bool named) {
  if (second->depth == JSON_DEEP)
    return BAD;
  second->depth++;
  second->at++;
  (void)add_piece(second, named ? JSON_OBJECT : JSON_ARRAY);
  blanks(second);
  for (bool first = true; !is_at(second, end); first = false) {
    int state;
    if (!first && !is_at(second, ','))
      return ended(second);
    if (!first)
      second->at++;
    blanks(second);
    if (named) {
      if (!is_at(second, '"'))
        return ended(second);
      size_t key = second->count;
      state = string(second, JSON_KEY);
      blanks(second);
      if (state == GOOD && !is_at(second, ':'))
        state = ended(second);
      if (state != GOOD) {
        second->count = key; /* the piece comes with its colon only */
        return state;
      }
      second->at++;
      blanks(second);
    }
    state = value(second);
    if (state != GOOD)
      return state;
    blanks(second);
  }
  second->at++;
  second->depth--;
  (void)add_piece(second, named ? JSON_OBJECT_END : JSON_ARRAY_END);
  return GOOD;
}

static int value(struct second *second) {
  if (second->at == second->end)
    return CUT_OFF;
  if (*second->at == '{' || *second->at == '[')
    return *second->at == '{' ? members(second, '}', true) : members(second, ']', false);
  size_t count = second->count;
  int state = *second->at == '"' ? string(second, JSON_STRING)
              : *second->at == '-' || (*second->at >= '0' && *second->at <= '9') ? number(second)
                                                                                 : word(second);
  if (state != GOOD)
    second->count = count;
  return state;
}

/* All of a text. */
static int read_second(struct second *second, const void *text, size_t size) {
  *second = (struct second){.at = text, .end = (const unsigned char *)text + size};
  blanks(second);
  int state = value(second);
  blanks(second);
  return state == GOOD && second->at != second->end ? BAD : state;
}

static void end_second(struct second *second) {
  free(second->pieces);
  free(second->texts);
}

static bool is_json(const char *text, size_t size) {
  struct second second;
  int state = read_second(&second, text, size);
  end_second(&second);
  return state == GOOD;
}

/* --- as JSON --------------------------------------------------------------------------------- */

static void check_piece(const struct json *json, const struct second *second,
                        const struct piece *piece) {
  if (piece->kind == JSON_NUMBER) {
    FUZZ_CHECK(json->whole == piece->whole);
    if (piece->whole)
      FUZZ_CHECK(json->number == piece->number);
    else if (piece->length <= JSON_TEXT) /* it reads no more of it */
      FUZZ_CHECK(json_real(json) == piece->real);
  }
  if (piece->kind == JSON_STRING || piece->kind == JSON_KEY || piece->kind == JSON_WORD) {
    size_t length = piece->length < JSON_TEXT ? piece->length : JSON_TEXT;
    FUZZ_CHECK(json->length == length && json->text[length] == '\0');
    FUZZ_CHECK(length == 0 || memcmp(json->text, second->texts + piece->text, length) == 0);
  }
}

/* Behind the value that begins with a piece. */
static size_t behind(const struct second *second, size_t at) {
  unsigned depth = 0;
  for (; at < second->count; at++) {
    enum json_kind kind = second->pieces[at].kind;
    depth += kind == JSON_OBJECT || kind == JSON_ARRAY;
    depth -= kind == JSON_OBJECT_END || kind == JSON_ARRAY_END;
    if (depth == 0)
      return at + 1;
  }
  return at;
}

/* Of containers, every nth one is read over; 0: none is. */
static void compare_json(struct json *json, const struct second *second, int state, unsigned nth) {
  unsigned containers = 0;
  for (size_t at = 0; at < second->count;) {
    enum json_kind kind = json_next(json);
    FUZZ_CHECK(kind == second->pieces[at].kind);
    check_piece(json, second, &second->pieces[at]);
    bool container = kind == JSON_OBJECT || kind == JSON_ARRAY;
    if (!container || !nth || ++containers % nth) {
      at++;
      continue;
    }
    at = behind(second, at);
    if (!json_skip(json, kind))
      FUZZ_CHECK(state != GOOD && at == second->count);
  }
  enum json_kind last = json_next(json);
  FUZZ_CHECK(last == (state == GOOD ? JSON_END : JSON_ERROR));
  FUZZ_CHECK(json_next(json) == last);
  FUZZ_CHECK((json->error == NULL) == (state == GOOD));
  FUZZ_CHECK(json->cut_off == (state == CUT_OFF));
}

static void as_json(const char *text, size_t size, unsigned nth) {
  static struct json json;
  struct second second;
  int state = read_second(&second, text, size);
  write_file(&files[0], text, size);
  json_begin(&json, files[0].descriptor);
  compare_json(&json, &second, state, nth);
  FUZZ_CHECK(json_place(&json) <= size);
  end_second(&second);
}

/* --- as heap snapshots ----------------------------------------------------------------------- */

struct seen {
  uint64_t nodes, edges, strings, edges_promised, objects, bytes;
};

static void on_node(void *data, const struct heapfile *file, const struct heapfile_node *node) {
  struct seen *seen = data;
  FUZZ_CHECK(node->number == seen->nodes++ && node->kind < HEAPFILE_KINDS && seen->edges == 0);
  FUZZ_CHECK(file->node_kinds[node->kind][0]);
  seen->edges_promised += node->edges;
  if (!(file->nodes_synthetic >> node->kind & 1)) {
    seen->objects++;
    seen->bytes += node->size;
  }
}

static void on_edge(void *data, const struct heapfile *file, const struct heapfile_edge *edge) {
  struct seen *seen = data;
  FUZZ_CHECK(edge->number == seen->edges++ && edge->kind < HEAPFILE_KINDS);
  FUZZ_CHECK(edge->to < seen->nodes && seen->edges <= seen->edges_promised && seen->strings == 0);
  (void)file;
}

static void on_string(void *data, const struct heapfile *file, uint32_t number, const char *text) {
  struct seen *seen = data;
  FUZZ_CHECK(number == seen->strings++ && strlen(text) <= JSON_TEXT);
  (void)file;
}

static bool see(const struct file *file, struct seen *seen) {
  static const struct heapfile_reader reader = {on_node, on_edge, on_string};
  *seen = (struct seen){0};
  if (!heapfile_read(file->path, &reader, seen))
    return false;
  FUZZ_CHECK(seen->edges == seen->edges_promised);
  return true;
}

static void check_types(const struct diff *diff, const struct seen seen[2]) {
  uint64_t fresh = 0;
  for (unsigned i = 0; i < 2; i++) {
    uint64_t objects = 0, bytes = 0;
    for (uint32_t k = 0; k < diff->classes.count; k++) {
      objects += diff->classes.all[k].objects[i];
      bytes += diff->classes.all[k].bytes[i];
    }
    FUZZ_CHECK(objects == seen[i].objects && bytes == seen[i].bytes);
  }
  for (uint32_t k = 0; k < diff->classes.count; k++)
    fresh += diff->classes.all[k].fresh;
  FUZZ_CHECK(fresh <= seen[1].objects && diff->nodes == seen[1].nodes);
}

/* The shortest path to each node that is reached leads from the first one. */
static void check_search(const struct diff *diff) {
  struct diff_search search;
  diff_reach(diff, &search);
  FUZZ_CHECK(search.reached <= diff->nodes && (search.reached > 0) == (diff->nodes > 0));
  for (uint32_t i = 1; i < diff->nodes; i++)
    FUZZ_CHECK(search.parents[i] == DIFF_NONE || diff->to[search.parents[i]] == i);
}

static void as_snapshots(const char *text, size_t size, bool by_objects) {
  const char *middle = memchr(text, '\0', size);
  struct seen seen[2];
  struct diff diff = {.paths = {files[0].path, files[middle ? 1 : 0].path}};
  write_file(&files[0], text, middle ? (size_t)(middle - text) : size);
  if (middle)
    write_file(&files[1], middle + 1, size - 1 - (size_t)(middle - text));
  bool good = see(&files[0], &seen[0]);
  FUZZ_CHECK(!good || is_json(text, middle ? (size_t)(middle - text) : size));
  seen[1] = seen[0];
  if (middle)
    good = see(&files[1], &seen[1]) && good;
  bool loaded = diff_load(&diff);
  FUZZ_CHECK(good || !loaded); /* a name may be missing */
  if (loaded) {
    check_types(&diff, seen);
    check_search(&diff);
  }
  char *arguments[] = {(char *)"--by", (char *)(by_objects ? "objects" : "bytes"),
                       (char *)diff.paths[0], (char *)diff.paths[1]};
  FUZZ_CHECK(tool_diff.run(4, arguments) == (loaded ? TOOL_DONE : TOOL_FAILED));
}

/* --- as the numbers of heap snapshots -------------------------------------------------------- */

/* One number in 64 is not as it was to be. */
static unsigned long off(struct fuzz_input *input, unsigned long number) {
  unsigned how = fuzz_byte(input);
  return how < 252 ? number : how == 252 ? number + 1 : how == 253 ? number - 1 : fuzz_byte(input);
}

static void build_node(FILE *to, struct fuzz_input *input, unsigned edges) {
  unsigned shape = fuzz_byte(input);
  fprintf(to, "%lu,%lu,%u,%lu,%lu,0,0", off(input, shape % 10), off(input, shape / 10 % 5),
          fuzz_byte(input), off(input, 24), off(input, edges));
}

static void build_edge(FILE *to, struct fuzz_input *input, unsigned nodes) {
  unsigned shape = fuzz_byte(input);
  fprintf(to, "%lu,%u,%lu", off(input, shape % 7), shape / 7 % 6,
          7 * off(input, fuzz_byte(input) % (nodes ? nodes : 1)) + off(input, 0) % 7);
}

static void build_snapshot(FILE *to, struct fuzz_input *input) {
  static const char meta[] =
      "{\"node_fields\":[\"type\",\"name\",\"id\",\"self_size\",\"edge_count\",\"a\",\"b\"],"
      "\"node_types\":[[\"hidden\",\"array\",\"string\",\"object\",\"code\",\"closure\","
      "\"regexp\",\"number\",\"native\",\"synthetic\"]],"
      "\"edge_fields\":[\"type\",\"name_or_index\",\"to_node\"],"
      "\"edge_types\":[[\"context\",\"element\",\"property\",\"internal\",\"hidden\","
      "\"shortcut\",\"weak\"]]}";
  unsigned nodes = fuzz_byte(input) % 12, counts[12], edges = 0;
  for (unsigned i = 0; i < nodes; i++)
    edges += counts[i] = fuzz_byte(input) % 4;
  fprintf(to, "{\"snapshot\":{\"meta\":%s,\"node_count\":%lu,\"edge_count\":%lu},\"nodes\":[", meta,
          off(input, nodes), off(input, edges));
  for (unsigned i = 0; i < nodes; i++, fputs(i < nodes ? "," : "", to))
    build_node(to, input, counts[i]);
  fputs("],\"edges\":[", to);
  edges = (unsigned)off(input, edges) % 64;
  for (unsigned i = 0; i < edges; i++, fputs(i < edges ? "," : "", to))
    build_edge(to, input, nodes);
  fputs("],\"strings\":[\"\",\"a\",\"b\",\"(c)\",\"d\",\"e\"]}", to);
}

static void as_built(const uint8_t *data, size_t size, bool by_objects) {
  struct fuzz_input input = {data, data + size};
  char *text = NULL;
  size_t length = 0;
  FILE *to = open_memstream(&text, &length);
  FUZZ_CHECK(to);
  build_snapshot(to, &input);
  fputc('\0', to);
  build_snapshot(to, &input);
  FUZZ_CHECK(fclose(to) == 0);
  as_snapshots(text, length, by_objects);
  free(text);
}

/* --- as traces ------------------------------------------------------------------------------- */

static bool same_collection(const struct trace *a, const struct trace *b, size_t i) {
  const struct collection *first = &a->all[i], *second = &b->all[i];
  return first->began == second->began && first->pause == second->pause &&
         memcmp(first->phases, second->phases, sizeof first->phases) == 0 &&
         first->heap_before == second->heap_before && first->heap_after == second->heap_after &&
         first->live == second->live && first->generation == second->generation &&
         first->cycles == second->cycles && first->failed == second->failed &&
         strcmp(a->names.all[first->cause].name, b->names.all[second->cause].name) == 0 &&
         strcmp(a->names.all[first->last].name, b->names.all[second->last].name) == 0;
}

/* A trace that a program could not end has what the whole one has, but for the last collection,
 * whose phases may not have come. */
static void check_beginning(const struct trace *all, const char *text, size_t size) {
  struct trace trace = {0};
  write_file(&files[1], text, size);
  if (!trace_read(&trace, files[1].path))
    return;
  FUZZ_CHECK(trace.count <= all->count && trace.stop_count <= all->stop_count);
  for (size_t i = 0; i + 1 < trace.count; i++)
    FUZZ_CHECK(same_collection(&trace, all, i));
}

static void check_trace(const struct trace *trace) {
  struct span *pauses;
  size_t count = trace_merge(trace, &pauses);
  FUZZ_CHECK(count <= trace->count + trace->stop_count && trace->first <= trace->end);
  for (size_t i = 1; i < count; i++)
    FUZZ_CHECK(pauses[i - 1].began + pauses[i - 1].length < pauses[i].began);
  for (size_t i = 0; i < WINDOWS && trace->timed; i++) {
    double share = trace_utilisation(trace, pauses, count, report_windows[i]);
    FUZZ_CHECK(share >= -1 && share <= 1 && (share >= 0 || share == -1));
  }
}

static int report(const char *path, bool json) {
  char *arguments[] = {(char *)path, (char *)(json ? "--json" : "--worst=3")};
  return tool_report.run(2, arguments);
}

static void as_trace(const char *text, size_t size, size_t part) {
  struct trace trace = {0};
  struct printed printed;
  write_file(&files[0], text, size);
  bool good = trace_read(&trace, files[0].path);
  if (good) {
    check_trace(&trace);
    check_beginning(&trace, text, size * part / 32);
  }
  FUZZ_CHECK(report(files[0].path, false) == (good ? TOOL_DONE : TOOL_FAILED));
  catch (&printed, &stdout);
  FUZZ_CHECK(report(files[0].path, true) == (good ? TOOL_DONE : TOOL_FAILED));
  release(&printed);
  FUZZ_CHECK(!good || is_json(printed.text, printed.length));
  free(printed.text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct printed output, errors;
  if (size == 0)
    return 0;
  const char *text = (const char *)data + 1;
  catch (&output, &stdout);
  catch (&errors, &stderr);
  switch (data[0] % WAYS) {
  case AS_JSON:
    as_json(text, size - 1, data[0] / WAYS % 4);
    break;
  case AS_SNAPSHOT:
    as_snapshots(text, size - 1, data[0] & 128);
    break;
  case AS_BUILT:
    as_built(data + 1, size - 1, data[0] & 128);
    break;
  default:
    as_trace(text, size - 1, data[0] / WAYS % 32);
  }
  release(&errors);
  release(&output);
  free(errors.text);
  free(output.text);
  free_all();
  return 0;
}
