/* SPDX-License-Identifier: MIT */
/*
 * port.c: ports and files.
 *
 * A port is the model of a C resource in a managed world.  The object holds a descriptor and a
 * buffer of malloc's, in raw fields; `free_port` gives both back when the collector finds the port
 * dead, in case the program did not close it.  The object is made before the descriptor, so that
 * nothing can fail while only a C variable knows of that.  The world is told of the buffer's bytes.
 *
 * A lock in each port is held for one operation, from `enter` to `leave`; a datum is read by one.
 * Its holder may allocate, or be stopped, as those who wait do so in a blocked region
 * (`take_lock`); but it runs no Scheme code, and takes the lock of no other port: only the standard
 * input's holder flushes the standard outputs.  Objects do not move, and the caller keeps the port
 * alive, so a mutex inside it is fine, and is all of an object that is touched in a blocked region.
 *
 * System calls that may block stand in blocked regions, where nothing but C variables and the
 * buffer is touched.  Between operations, start <= end <= capacity.  Of an input port, what lies
 * from start to end was not read yet; of an output port start is 0, and what lies up to end was not
 * written to the descriptor yet, or is all the text of a port in memory.
 */
#include "scheme.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

enum {
  PORT_INPUT = 1 << 0,
  PORT_OUTPUT = 1 << 1,
  PORT_TEXT = 1 << 2,
  PORT_BINARY = 1 << 3,
  PORT_MEMORY = 1 << 4,   /* a string's or a bytevector's: no descriptor */
  PORT_STANDARD = 1 << 5, /* the descriptor is the process's, and stays open */
  PORT_BY_LINE = 1 << 6,  /* flushed after each text with a newline */
  TEXT_INPUT = PORT_TEXT | PORT_INPUT,
  TEXT_OUTPUT = PORT_TEXT | PORT_OUTPUT,
  BYTE_INPUT = PORT_BINARY | PORT_INPUT,
  BYTE_OUTPUT = PORT_BINARY | PORT_OUTPUT
};

struct port { /* nothing is traced */
  const tarn_type *type;
  pthread_mutex_t lock; /* of all below but kind, which never changes */
  unsigned kind;
  int descriptor; /* -1: none */
  bool open;
  bool ended;  /* the end of the input was seen */
  size_t line; /* of the next character */
  size_t start, end, capacity;
  unsigned char *buffer;
};

#define FILE_BUFFER ((size_t)1 << 14)
#define STRING_BUFFER ((size_t)64)

static scm parameters[3]; /* roots; by descriptor */

/* What the standard input is read by: read(2), or the command's editor of lines. */
static port_source *standard_source = read;

void set_standard_source(port_source *source) { standard_source = source; }

bool is_port(scm v) { return has_type(v, types.port); }
static struct port *port_of(scm v) { return (struct port *)v; }
static bool is_port_of(scm v, unsigned kind) {
  return is_port(v) && (port_of(v)->kind & kind) == kind;
}

/* --- system calls, in blocked regions -------------------------------------------------------- */

/* The three return an errno, or 0; `self` is NULL when the world ends. */
static int write_all(tarn_thread *self, int descriptor, const unsigned char *bytes, size_t count) {
  int number = 0;
  tarn_block_begin(self);
  while (count > 0 && number == 0) {
    ssize_t written = write(descriptor, bytes, count);
    if (written >= 0) {
      bytes += written;
      count -= (size_t)written;
    } else if (errno != EINTR) {
      number = errno;
    }
  }
  tarn_block_end(self);
  return number;
}

static int read_some(tarn_thread *self, const struct port *port, unsigned char *to, size_t *count) {
  port_source *source = port->kind & PORT_STANDARD ? standard_source : read;
  int descriptor = port->descriptor;
  ssize_t got;
  tarn_block_begin(self);
  do
    got = source(descriptor, to, *count);
  while (got < 0 && errno == EINTR);
  int number = got < 0 ? errno : 0;
  tarn_block_end(self);
  *count = got < 0 ? 0 : (size_t)got;
  return number;
}

/* Files opened and closed so far, and closed by the collector's doing.  Relaxed: figures. */
static _Atomic size_t opened, closed, collected;

static void count(_Atomic size_t *figure) {
  (void)atomic_fetch_add_explicit(figure, 1, memory_order_relaxed);
}

static int open_once(tarn_thread *self, const char *path, int flags, int *descriptor) {
  tarn_block_begin(self);
  do
    *descriptor = open(path, flags | O_CLOEXEC, 0666);
  while (*descriptor < 0 && errno == EINTR);
  int number = *descriptor < 0 ? errno : 0;
  tarn_block_end(self);
  if (number == 0)
    count(&opened);
  return number;
}

/* When there are no more descriptors, dead ports may still hold some. */
static int open_descriptor(tarn_thread *self, const char *path, int flags, int *descriptor) {
  int number = open_once(self, path, flags, descriptor);
  if ((number == EMFILE || number == ENFILE) && tarn_collect(self, TARN_GENERATION_FULL) == TARN_OK)
    number = open_once(self, path, flags, descriptor);
  return number;
}

/* --- the resource ---------------------------------------------------------------------------- */

static bool set_capacity(struct vm *vm, struct port *port, size_t capacity) {
  unsigned char *buffer = realloc(port->buffer, capacity);
  if (!buffer)
    return out_of_memory(vm);
  (void)tarn_external_adjust(world, (ptrdiff_t)capacity - (ptrdiff_t)port->capacity);
  port->buffer = buffer;
  port->capacity = capacity;
  return true;
}

/* What cannot be written is dropped: the error is reported once.  An errno, or 0. */
static int write_out(tarn_thread *self, struct port *port) {
  size_t count = port->end;
  if (!(port->kind & PORT_OUTPUT) || port->kind & PORT_MEMORY || count == 0)
    return 0;
  int number = write_all(self, port->descriptor, port->buffer, count);
  port->end = 0;
  return number;
}

/* Closes, and gives everything back but the lock.  An errno, or 0. */
static int release(tarn_thread *self, struct port *port) {
  int number = write_out(self, port);
  int descriptor = port->descriptor;
  if (descriptor >= 0 && !(port->kind & PORT_STANDARD)) {
    tarn_block_begin(self);
    /* Not again after EINTR: the descriptor is gone, and perhaps another's already. */
    int failed = close(descriptor) == 0 || errno == EINTR ? 0 : errno;
    tarn_block_end(self);
    count(&closed);
    if (number == 0)
      number = failed;
  }
  free(port->buffer);
  (void)tarn_external_adjust(world, -(ptrdiff_t)port->capacity);
  port->buffer = NULL;
  port->start = port->end = port->capacity = 0;
  port->descriptor = -1;
  port->open = false;
  return number;
}

/* The collector's: nobody refers to the port any more, so nobody has its lock. */
static void free_port(tarn_world *of, void *object) {
  struct port *port = object;
  if (port->descriptor >= 0 && !(port->kind & PORT_STANDARD))
    count(&collected);
  (void)release(tarn_thread_self(of), port);
  (void)pthread_mutex_destroy(&port->lock);
}

static struct port *make_port(struct vm *vm, unsigned kind) {
  struct port *port = make_object(vm, types.port);
  if (!port)
    return NULL;
  (void)pthread_mutex_init(&port->lock, NULL);
  port->kind = kind;
  port->descriptor = -1;
  port->open = true;
  port->line = 1;
  return port;
}

/* --- operations' frame ----------------------------------------------------------------------- */

/* The port with its lock held, if it is an open one of that kind.  Polls: who prints or reads much
 * comes by here. */
static struct port *enter(struct vm *vm, const char *who, int argument, scm v, unsigned kind) {
  if (!is_port_of(v, kind)) {
    wrong_type(vm, who, argument, v);
    return NULL;
  }
  struct port *port = port_of(v);
  tarn_safepoint(vm->self);
  take_lock(vm, &port->lock);
  if (port->open)
    return port;
  give_lock(&port->lock);
  raise_error(vm, "error", who, "the port is closed", 1, v);
  return NULL;
}

static scm leave(struct port *port, scm result) {
  give_lock(&port->lock);
  return result;
}

static scm current(struct vm *vm, int descriptor) {
  scm parameter = parameters[descriptor];
  for (scm list = vm->bindings; is_pair(list); list = cdr(list))
    if (car(car(list)) == parameter)
      return box_of(cdr(car(list)))->value;
  return parameter_of(parameter)->value;
}

scm input_port(struct vm *vm) { return current(vm, STDIN_FILENO); }
scm output_port(struct vm *vm) { return current(vm, STDOUT_FILENO); }
scm error_port(struct vm *vm) { return current(vm, STDERR_FILENO); }

/* The port that is argument number `argument`, or the current one if that is not there. */
static struct port *enter_argument(struct vm *vm, const char *who, int argument, int count,
                                   const scm *arguments, unsigned kind) {
  scm port = count >= argument    ? arguments[argument - 1]
             : kind & PORT_OUTPUT ? output_port(vm)
                                  : input_port(vm);
  return enter(vm, who, argument, port, kind);
}

/* --- output ---------------------------------------------------------------------------------- */

static bool flush(struct vm *vm, struct port *port) {
  int number = write_out(vm->self, port);
  return number == 0 || system_error(vm, "write", number, (scm)port);
}

bool flush_standard(struct vm *vm) {
  bool good = true;
  for (int i = STDOUT_FILENO; i <= STDERR_FILENO; i++) {
    struct port *port = port_of(parameter_of(parameters[i])->value);
    take_lock(vm, &port->lock);
    good = flush(vm, port) && good;
    give_lock(&port->lock);
  }
  return good;
}

struct unwritten {
  size_t count;     /* files' ports with something to write */
  struct port *one; /* one of them, whose lock the caller has; or NULL */
};

/* The world is stopped. */
static bool note_unwritten(const tarn_block_info *info, void *data) {
  struct unwritten *unwritten = data;
  struct port *port = info->block;
  if (info->type != types.port || info->condemned || port->end == 0 ||
      (port->kind & (PORT_OUTPUT | PORT_MEMORY)) != PORT_OUTPUT)
    return true;
  unwritten->count++;
  if (!unwritten->one && pthread_mutex_trylock(&port->lock) == 0)
    unwritten->one = port;
  return true;
}

/*
 * Nobody knows all ports but the heap: it is walked until it has none with something to write, or
 * as often as there were such, for other threads may go on to write.  A port that one of them is
 * using now is left to it.
 */
bool flush_all(struct vm *vm) {
  struct unwritten unwritten = {0, NULL};
  bool good = flush_standard(vm);
  ROOTS(vm, (void *)&unwritten.one);
  (void)tarn_heap_walk(vm->self, note_unwritten, &unwritten);
  for (size_t left = unwritten.count; unwritten.one; left--) {
    good = flush(vm, unwritten.one) && good;
    give_lock(&unwritten.one->lock);
    unwritten = (struct unwritten){0, NULL};
    if (left > 1)
      (void)tarn_heap_walk(vm->self, note_unwritten, &unwritten);
  }
  return good;
}

static bool make_room(struct vm *vm, struct port *port, size_t count) {
  if (!(port->kind & PORT_MEMORY))
    return flush(vm, port);
  size_t more = port->capacity > count ? port->capacity : count;
  return set_capacity(vm, port, port->capacity + more);
}

/* Where this blocks, the buffer alone is touched: what is written may be of the heap, rooted. */
static bool put(struct vm *vm, struct port *port, const void *bytes, size_t count) {
  const unsigned char *from = bytes;
  while (count > 0) {
    if (port->end == port->capacity && !make_room(vm, port, count))
      return false;
    size_t room = port->capacity - port->end, part = room < count ? room : count;
    memcpy(port->buffer + port->end, from, part);
    port->end += part;
    from += part;
    count -= part;
  }
  return true;
}

bool port_write(struct vm *vm, scm v, const char *utf8, size_t bytes) {
  struct port *port = enter(vm, "write", 1, v, TEXT_OUTPUT);
  if (!port)
    return false;
  bool flushes = port->kind & PORT_BY_LINE && memchr(utf8, '\n', bytes);
  return leave(port, put(vm, port, utf8, bytes) && (!flushes || flush(vm, port)));
}

bool port_flush(struct vm *vm, scm v) {
  struct port *port = enter(vm, "flush-output-port", 1, v, PORT_OUTPUT);
  return port && leave(port, flush(vm, port));
}

DEFINE("flush-output-port", prim_flush, 0, 1) {
  return port_flush(vm, count > 0 ? arguments[0] : output_port(vm)) ? SCM_UNSPECIFIED : 0;
}

DEFINE("write-u8", prim_write_u8, 1, 2) {
  size_t byte;
  if (!index_argument(vm, who, 1, arguments[0], 255, &byte))
    return 0;
  struct port *port = enter_argument(vm, who, 2, count, arguments, BYTE_OUTPUT);
  return port ? leave(port, put(vm, port, &(uint8_t){(uint8_t)byte}, 1) ? SCM_UNSPECIFIED : 0) : 0;
}

DEFINE("write-bytevector", prim_write_bytevector, 1, 4, is_bytevector) {
  const uint8_t *bytes = bytevector_of(arguments[0])->bytes;
  size_t start, end;
  if (!part_arguments(vm, who, count, arguments, 0, 2, &start, &end))
    return 0;
  struct port *port = enter_argument(vm, who, 2, count, arguments, BYTE_OUTPUT);
  return port ? leave(port, put(vm, port, bytes + start, end - start) ? SCM_UNSPECIFIED : 0) : 0;
}

/* --- input ----------------------------------------------------------------------------------- */

/* Reads more behind what is in the buffer, which moves or grows if it is full.  What was displayed
 * is to be seen before anybody waits for an answer. */
static bool fill(struct vm *vm, struct port *port) {
  if (port->kind & PORT_MEMORY) {
    port->ended = true;
    return true;
  }
  if (port->kind & PORT_STANDARD)
    (void)flush_standard(vm);
  if (port->start > 0 && (port->start == port->end || port->end == port->capacity)) {
    memmove(port->buffer, port->buffer + port->start, port->end - port->start);
    port->end -= port->start;
    port->start = 0;
  }
  if (port->end == port->capacity && !set_capacity(vm, port, port->capacity * 2))
    return false;
  size_t got = port->capacity - port->end;
  int number = read_some(vm->self, port, port->buffer + port->end, &got);
  if (number)
    return system_error(vm, "read", number, (scm)port);
  port->ended = got == 0;
  port->end += got;
  return true;
}

/* At least that many bytes in the buffer, unless the end comes before. */
static bool need(struct vm *vm, struct port *port, size_t bytes) {
  while (port->end - port->start < bytes && !port->ended)
    if (!fill(vm, port))
      return false;
  return true;
}

static void skip(struct port *port, size_t bytes, size_t lines) {
  port->line += lines;
  port->start += bytes;
}

/* How many bytes a character of this first byte has; 1 also for one that is none. */
static size_t utf8_length(unsigned char first) {
  return first < 0xc2 || first > 0xf4 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

/* The character or byte that is `ahead` bytes further, and its length.  -1: the end; -2: failed. */
static int look(struct vm *vm, struct port *port, size_t ahead, size_t *length) {
  if (port->end - port->start <= ahead) {
    if (!need(vm, port, ahead + 1))
      return -2;
    if (port->end - port->start == ahead)
      return -1;
  }
  unsigned char first = port->buffer[port->start + ahead];
  *length = 1;
  if (first < 0x80 || port->kind & PORT_BINARY)
    return first;
  if (!need(vm, port, ahead + utf8_length(first)))
    return -2;
  const uint8_t *from = port->buffer + port->start + ahead, *at = from;
  int c = (int)decode_utf8(&at, port->buffer + port->end);
  *length = (size_t)(at - from);
  return c;
}

/* The next one, which is read, or stays. */
static int next(struct vm *vm, struct port *port, bool stays) {
  size_t length;
  int c = look(vm, port, 0, &length);
  if (c >= 0 && !stays)
    skip(port, length, c == '\n');
  return c;
}

struct port *port_enter(struct vm *vm, const char *who, scm v) {
  return enter(vm, who, 1, v, TEXT_INPUT);
}
void port_leave(struct port *port) { give_lock(&port->lock); }
int port_peek_char(struct vm *vm, struct port *port) { return next(vm, port, true); }
int port_read_char(struct vm *vm, struct port *port) {
  tarn_safepoint(vm->self);
  return next(vm, port, false);
}
size_t port_line(const struct port *port) { return port->line; }

static scm char_or_eof(int c) { return c >= 0 ? make_char((uint32_t)c) : c == -1 ? SCM_EOF : 0; }
static scm byte_or_eof(int c) { return c >= 0 ? fixnum(c) : c == -1 ? SCM_EOF : 0; }

#define DEFINE_NEXT(name, function, kind, stays, result)                    \
  DEFINE(name, function, 0, 1) {                                            \
    struct port *port = enter_argument(vm, who, 1, count, arguments, kind); \
    return port ? leave(port, result(next(vm, port, stays))) : 0;           \
  }
DEFINE_NEXT("read-char", prim_read_char, TEXT_INPUT, false, char_or_eof)
DEFINE_NEXT("peek-char", prim_peek_char, TEXT_INPUT, true, char_or_eof)
DEFINE_NEXT("read-u8", prim_read_u8, BYTE_INPUT, false, byte_or_eof)
DEFINE_NEXT("peek-u8", prim_peek_u8, BYTE_INPUT, true, byte_or_eof)

/* The bytes from the buffer's start, read, as a string or a bytevector. */
static scm read_bytes(struct vm *vm, struct port *port, size_t bytes) {
  const unsigned char *from = port->buffer + port->start, *at = from;
  size_t lines = 0;
  scm result = port->kind & PORT_TEXT ? string_from_bytes(vm, (const char *)from, bytes)
                                      : make_bytevector(vm, bytes);
  if (result && port->kind & PORT_BINARY)
    memcpy(bytevector_of(result)->bytes, from, bytes);
  while ((at = memchr(at, '\n', (size_t)(from + bytes - at))) != NULL)
    at++, lines++;
  if (result)
    skip(port, bytes, lines);
  return result;
}

/* How many bytes so many characters or bytes are, all in the buffer then; fewer before the end. */
static bool measure(struct vm *vm, struct port *port, size_t wanted, size_t *bytes) {
  size_t length;
  int c = 0;
  *bytes = 0;
  if (port->kind & PORT_BINARY) {
    c = need(vm, port, wanted) ? 0 : -2;
    *bytes = port->end - port->start < wanted ? port->end - port->start : wanted;
  } else {
    for (size_t i = 0; i < wanted && (c = look(vm, port, *bytes, &length)) >= 0; i++)
      *bytes += length;
  }
  return c != -2;
}

static scm read_many(struct vm *vm, const char *who, int count, const scm *arguments,
                     unsigned kind) {
  size_t wanted, bytes;
  if (!index_argument(vm, who, 1, arguments[0], FIXNUM_MAX, &wanted))
    return 0;
  struct port *port = enter_argument(vm, who, 2, count, arguments, kind);
  if (!port)
    return 0;
  if (!measure(vm, port, wanted, &bytes))
    return leave(port, 0);
  return leave(port, bytes == 0 && wanted > 0 ? SCM_EOF : read_bytes(vm, port, bytes));
}

DEFINE("read-string", prim_read_string, 1, 2) {
  return read_many(vm, who, count, arguments, TEXT_INPUT);
}

DEFINE("read-bytevector", prim_read_bytevector, 1, 2) {
  return read_many(vm, who, count, arguments, BYTE_INPUT);
}

/* A line ends with a newline, a return, or both, which go with it. */
DEFINE("read-line", prim_read_line, 0, 1) {
  size_t bytes = 0, length = 0;
  int c;
  struct port *port = enter_argument(vm, who, 1, count, arguments, TEXT_INPUT);
  if (!port)
    return 0;
  while ((c = look(vm, port, bytes, &length)) >= 0 && c != '\n' && c != '\r')
    bytes += length;
  if (c == -2 || (c == '\r' && !need(vm, port, bytes + 2)))
    return leave(port, 0);
  if (c == -1 && bytes == 0)
    return leave(port, SCM_EOF);
  scm line = read_bytes(vm, port, bytes);
  bool both = c == '\r' && port->end - port->start > 1 && port->buffer[port->start + 1] == '\n';
  if (line && c >= 0)
    skip(port, both ? 2 : 1, both || c == '\n');
  return leave(port, line);
}

static scm is_ready(struct vm *vm, const char *who, int count, const scm *arguments,
                    unsigned kind) {
  struct port *port = enter_argument(vm, who, 1, count, arguments, kind);
  if (!port)
    return 0;
  struct pollfd asked = {.fd = port->descriptor, .events = POLLIN};
  return leave(port, boolean(port->start < port->end || port->ended || port->kind & PORT_MEMORY ||
                             poll(&asked, 1, 0) > 0));
}

DEFINE("char-ready?", prim_is_char_ready, 0, 1) {
  return is_ready(vm, who, count, arguments, TEXT_INPUT);
}
DEFINE("u8-ready?", prim_is_u8_ready, 0, 1) {
  return is_ready(vm, who, count, arguments, BYTE_INPUT);
}

/* --- ports in memory ------------------------------------------------------------------------- */

/* The bytes are of an object that is rooted, or C's. */
static scm open_input(struct vm *vm, unsigned kind, const void *bytes, size_t count) {
  struct port *port = make_port(vm, kind | PORT_MEMORY);
  if (!port || !set_capacity(vm, port, count + 1))
    return 0;
  memcpy(port->buffer, bytes, count);
  port->end = count;
  return (scm)port;
}

scm open_input_bytes(struct vm *vm, const char *utf8, size_t bytes) {
  return open_input(vm, TEXT_INPUT, utf8, bytes);
}

DEFINE("open-input-string", prim_open_input_string, 1, 1, is_string) {
  size_t bytes;
  scm utf8 = string_to_utf8(vm, arguments[0], &bytes);
  ROOTS(vm, (void *)&utf8);
  return utf8 ? open_input_bytes(vm, (const char *)utf8, bytes) : 0;
}

DEFINE("open-input-bytevector", prim_open_input_bytevector, 1, 1, is_bytevector) {
  const struct bytevector *from = bytevector_of(arguments[0]);
  return open_input(vm, BYTE_INPUT, from->bytes, from->count);
}

static scm open_output(struct vm *vm, unsigned kind) {
  struct port *port = make_port(vm, kind | PORT_MEMORY);
  return port && set_capacity(vm, port, STRING_BUFFER) ? (scm)port : 0;
}

DEFINE("open-output-string", prim_open_output_string, 0, 0) { return open_output(vm, TEXT_OUTPUT); }
DEFINE("open-output-bytevector", prim_open_output_bytevector, 0, 0) {
  return open_output(vm, BYTE_OUTPUT);
}

/* All that was written so far, which stays: an output port's start is 0. */
static scm get_output(struct vm *vm, const char *who, scm v, unsigned kind) {
  struct port *port = enter(vm, who, 1, v, kind | PORT_MEMORY);
  if (!port)
    return 0;
  scm result = read_bytes(vm, port, port->end);
  port->start = 0;
  return leave(port, result);
}

DEFINE("get-output-string", prim_get_output_string, 1, 1) {
  return get_output(vm, who, arguments[0], TEXT_OUTPUT);
}
DEFINE("get-output-bytevector", prim_get_output_bytevector, 1, 1) {
  return get_output(vm, who, arguments[0], BYTE_OUTPUT);
}

/* --- files ----------------------------------------------------------------------------------- */

static scm file_error(struct vm *vm, const char *who, int number, const char *path) {
  char text[128];
  scm name = string_from(vm, path);
  return name ? raise_error(vm, "file", who, strerror_r(number, text, sizeof text), 1, name) : 0;
}

/* `path` is not of the heap. */
static scm open_file(struct vm *vm, const char *who, const char *path, unsigned kind, int flags) {
  struct port *port = make_port(vm, kind);
  ROOTS(vm, (void *)&port);
  if (!port || !set_capacity(vm, port, FILE_BUFFER))
    return 0;
  int descriptor, number = open_descriptor(vm->self, path, flags, &descriptor);
  port->descriptor = descriptor;
  return number ? file_error(vm, who, number, path) : (scm)port;
}

scm open_input_file(struct vm *vm, const char *path) {
  return open_file(vm, "open-input-file", path, TEXT_INPUT, O_RDONLY);
}

/* A string as a path, malloc's: blocked regions use it.  NULL: failed. */
static char *path_argument(struct vm *vm, const char *who, scm v) {
  size_t bytes;
  scm utf8 = string_to_utf8(vm, v, &bytes);
  if (!utf8)
    return NULL;
  if (strlen((const char *)utf8) != bytes) {
    raise_error(vm, "file", who, "a NUL character in a file name", 1, v);
    return NULL;
  }
  char *path = strdup((const char *)utf8);
  if (!path)
    out_of_memory(vm);
  return path;
}

#define DEFINE_OPEN(name, function, kind, flags)                 \
  DEFINE(name, function, 1, 1, is_string) {                      \
    char *path = path_argument(vm, who, arguments[0]);           \
    scm port = path ? open_file(vm, who, path, kind, flags) : 0; \
    free(path);                                                  \
    return port;                                                 \
  }
#define FOR_OUTPUT (O_WRONLY | O_CREAT | O_TRUNC)
DEFINE_OPEN("open-input-file", prim_open_input_file, TEXT_INPUT, O_RDONLY)
DEFINE_OPEN("open-binary-input-file", prim_open_binary_input_file, BYTE_INPUT, O_RDONLY)
DEFINE_OPEN("open-output-file", prim_open_output_file, TEXT_OUTPUT, FOR_OUTPUT)
DEFINE_OPEN("open-binary-output-file", prim_open_binary_output_file, BYTE_OUTPUT, FOR_OUTPUT)

DEFINE("file-exists?", prim_file_exists, 1, 1, is_string) {
  char *path = path_argument(vm, who, arguments[0]);
  if (!path)
    return 0;
  tarn_block_begin(vm->self);
  bool exists = access(path, F_OK) == 0;
  tarn_block_end(vm->self);
  free(path);
  return boolean(exists);
}

DEFINE("delete-file", prim_delete_file, 1, 1, is_string) {
  char *path = path_argument(vm, who, arguments[0]);
  if (!path)
    return 0;
  tarn_block_begin(vm->self);
  int number = unlink(path) == 0 ? 0 : errno;
  tarn_block_end(vm->self);
  scm result = number ? file_error(vm, who, number, path) : SCM_UNSPECIFIED;
  free(path);
  return result;
}

/* --- any port -------------------------------------------------------------------------------- */

static bool is_input_port(scm v) { return is_port_of(v, PORT_INPUT); }
static bool is_output_port(scm v) { return is_port_of(v, PORT_OUTPUT); }
DEFINE_PREDICATE("port?", prim_is_port, is_port(v))
DEFINE_PREDICATE("input-port?", prim_is_input_port, is_input_port(v))
DEFINE_PREDICATE("output-port?", prim_is_output_port, is_output_port(v))
DEFINE_PREDICATE("textual-port?", prim_is_textual_port, is_port_of(v, PORT_TEXT))
DEFINE_PREDICATE("binary-port?", prim_is_binary_port, is_port_of(v, PORT_BINARY))

static scm is_open(struct vm *vm, scm v) {
  take_lock(vm, &port_of(v)->lock);
  return leave(port_of(v), boolean(port_of(v)->open));
}
DEFINE("input-port-open?", prim_is_input_open, 1, 1, is_input_port) {
  return is_open(vm, arguments[0]);
}
DEFINE("output-port-open?", prim_is_output_open, 1, 1, is_output_port) {
  return is_open(vm, arguments[0]);
}

/* Once more does nothing. */
static scm close_port(struct vm *vm, const char *who, scm v) {
  struct port *port = port_of(v);
  take_lock(vm, &port->lock);
  int number = port->open ? release(vm->self, port) : 0;
  give_lock(&port->lock);
  return number ? system_error(vm, who, number, v) : SCM_UNSPECIFIED;
}

DEFINE("close-port", prim_close, 1, 1, is_port) { return close_port(vm, who, arguments[0]); }
DEFINE("close-input-port", prim_close_input, 1, 1, is_input_port) {
  return close_port(vm, who, arguments[0]);
}
DEFINE("close-output-port", prim_close_output, 1, 1, is_output_port) {
  return close_port(vm, who, arguments[0]);
}

DEFINE("eof-object", prim_eof_object, 0, 0) { return SCM_EOF; }
DEFINE("eof-object?", prim_is_eof_object, 1, 1) { return boolean(arguments[0] == SCM_EOF); }

/* (opened closed collected): of files, for `port-statistics`. */
DEFINE("%port-figures", prim_port_figures, 0, 0) {
  const _Atomic size_t *figures[] = {&opened, &closed, &collected};
  scm items[3];
  for (size_t i = 0; i < 3; i++)
    items[i] = fixnum((intptr_t)atomic_load_explicit(figures[i], memory_order_relaxed));
  return list_of(vm, 3, items);
}

/* --- begin ----------------------------------------------------------------------------------- */

void port_types(void) { types.port = make_type("port", sizeof(struct port), 0, free_port); }

/* A port for a descriptor of the process, as the value of a parameter. */
static void define_standard(struct vm *vm, const char *name, int descriptor, unsigned kind) {
  struct port *port = make_port(vm, kind | PORT_STANDARD);
  ROOTS(vm, (void *)&port);
  must_begin(port && set_capacity(vm, port, FILE_BUFFER));
  port->descriptor = descriptor;
  struct parameter *parameter = make_object(vm, types.parameter);
  must_begin(parameter);
  parameter->value = (scm)port;
  parameter->converter = SCM_FALSE;
  parameters[descriptor] = (scm)parameter;
  must_begin(tarn_root_add(world, (void **)&parameters[descriptor]) == TARN_OK);
  scm symbol = intern(vm, name);
  must_begin(symbol && define_global(vm, symbol, parameters[descriptor]));
}

void port_begin(struct vm *vm) {
  unsigned by_line = isatty(STDOUT_FILENO) ? PORT_BY_LINE : 0;
  define_standard(vm, "current-input-port", STDIN_FILENO, TEXT_INPUT);
  define_standard(vm, "current-output-port", STDOUT_FILENO, TEXT_OUTPUT | by_line);
  define_standard(vm, "current-error-port", STDERR_FILENO, TEXT_OUTPUT | PORT_BY_LINE);
}
