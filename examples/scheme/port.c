/* SPDX-License-Identifier: MIT */
/*
 * port.c: ports, files, and what else the system offers.
 *
 * A port is the model of a C resource in a managed world.  The object holds a descriptor and a
 * buffer of malloc's, in raw fields; `free_port` gives both back when the collector finds the port
 * dead, in case the program did not close it.  The object is made before the descriptor, so that
 * nothing can fail while only a C variable knows of that.  The world is told of the buffer's bytes.
 *
 * A lock in each port is held for one operation.  Who finds it taken waits in a blocked region, so
 * its holder may allocate, or be stopped; but it runs no Scheme code, and takes the lock of no
 * other port: only the standard input's holder flushes the standard outputs.  Objects do not move,
 * and the caller keeps the port alive, so a mutex inside it is fine, and is all of an object that
 * is touched in a blocked region.
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
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum {
  PORT_INPUT = 1 << 0,
  PORT_OUTPUT = 1 << 1,
  PORT_TEXT = 1 << 2,
  PORT_BINARY = 1 << 3,
  PORT_MEMORY = 1 << 4,   /* a string's or a bytevector's: no descriptor */
  PORT_STANDARD = 1 << 5, /* the descriptor is the process's, and stays open */
  PORT_BY_LINE = 1 << 6   /* flushed after each text with a newline */
};

struct port { /* nothing is traced */
  const tarn_type *type;
  pthread_mutex_t lock; /* of all below but kind, which never changes */
  unsigned kind;
  int descriptor; /* -1: none */
  bool open;
  bool ended;  /* the end of the input was seen */
  size_t line; /* atomic: port_line reads it without the lock */
  size_t start, end, capacity;
  unsigned char *buffer;
};

#define FILE_BUFFER ((size_t)1 << 14)
#define STRING_BUFFER ((size_t)64)

static scm parameters[3]; /* roots; by descriptor */
static int command_count; /* both: written before there are threads */
static char **command_arguments;

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

static int read_some(tarn_thread *self, int descriptor, unsigned char *to, size_t *count) {
  ssize_t got;
  tarn_block_begin(self);
  do
    got = read(descriptor, to, *count);
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

static void lock_port(struct vm *vm, struct port *port) {
  if (pthread_mutex_trylock(&port->lock) == 0)
    return;
  tarn_block_begin(vm->self);
  (void)pthread_mutex_lock(&port->lock);
  tarn_block_end(vm->self);
}

/* The port with its lock held, if it is an open one of that kind. */
static struct port *enter(struct vm *vm, const char *who, int argument, scm v, unsigned kind) {
  if (!is_port_of(v, kind)) {
    wrong_type(vm, who, argument, v);
    return NULL;
  }
  struct port *port = port_of(v);
  lock_port(vm, port);
  if (port->open)
    return port;
  (void)pthread_mutex_unlock(&port->lock);
  raise_error(vm, "error", who, "the port is closed", 1, v);
  return NULL;
}

static scm leave(struct port *port, scm result) {
  (void)pthread_mutex_unlock(&port->lock);
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

static scm input_argument(struct vm *vm, int count, const scm *arguments, int at) {
  return count > at ? arguments[at] : input_port(vm);
}
static scm output_argument(struct vm *vm, int count, const scm *arguments, int at) {
  return count > at ? arguments[at] : output_port(vm);
}

/* --- output ---------------------------------------------------------------------------------- */

static bool flush(struct vm *vm, const char *who, struct port *port) {
  int number = write_out(vm->self, port);
  return number == 0 || system_error(vm, who, number, (scm)port);
}

/* What was displayed is to be seen before anybody waits for an answer, and before the end. */
static void flush_standard(struct vm *vm) {
  for (int i = STDOUT_FILENO; i <= STDERR_FILENO; i++) {
    struct port *port = port_of(parameter_of(parameters[i])->value);
    lock_port(vm, port);
    (void)write_out(vm->self, port);
    (void)leave(port, 0);
  }
}

static bool make_room(struct vm *vm, const char *who, struct port *port, size_t count) {
  if (!(port->kind & PORT_MEMORY))
    return flush(vm, who, port);
  size_t more = port->capacity > count ? port->capacity : count;
  return set_capacity(vm, port, port->capacity + more);
}

/* Where this blocks, the buffer alone is touched: what is written may be of the heap, rooted. */
static bool put(struct vm *vm, const char *who, struct port *port, const void *bytes,
                size_t count) {
  const unsigned char *from = bytes;
  while (count > 0) {
    if (port->end == port->capacity && !make_room(vm, who, port, count))
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
  struct port *port = enter(vm, "write", 1, v, PORT_OUTPUT | PORT_TEXT);
  if (!port)
    return false;
  bool flushes = port->kind & PORT_BY_LINE && memchr(utf8, '\n', bytes);
  return leave(port, put(vm, "write", port, utf8, bytes) && (!flushes || flush(vm, "write", port)));
}

bool port_flush(struct vm *vm, scm v) {
  struct port *port = enter(vm, "flush-output-port", 1, v, PORT_OUTPUT);
  return port && leave(port, flush(vm, "flush-output-port", port));
}

/* --- input ----------------------------------------------------------------------------------- */

/* Reads more behind what is in the buffer, which moves or grows if it is full. */
static bool fill(struct vm *vm, const char *who, struct port *port) {
  if (port->kind & PORT_MEMORY) {
    port->ended = true;
    return true;
  }
  if (port->kind & PORT_STANDARD)
    flush_standard(vm);
  if (port->start > 0 && (port->start == port->end || port->end == port->capacity)) {
    memmove(port->buffer, port->buffer + port->start, port->end - port->start);
    port->end -= port->start;
    port->start = 0;
  }
  if (port->end == port->capacity && !set_capacity(vm, port, port->capacity * 2))
    return false;
  size_t got = port->capacity - port->end;
  int number = read_some(vm->self, port->descriptor, port->buffer + port->end, &got);
  if (number)
    return system_error(vm, who, number, (scm)port);
  port->ended = got == 0;
  port->end += got;
  return true;
}

/* At least that many bytes in the buffer, unless the end comes before. */
static bool need(struct vm *vm, const char *who, struct port *port, size_t bytes) {
  while (port->end - port->start < bytes && !port->ended)
    if (!fill(vm, who, port))
      return false;
  return true;
}

static size_t available(const struct port *port, size_t most) {
  size_t bytes = port->end - port->start;
  return bytes < most ? bytes : most;
}

/* Takes bytes, and counts their lines. */
static void take(struct port *port, size_t bytes) {
  const unsigned char *at = port->buffer + port->start, *end = at + bytes;
  size_t line = port->line;
  for (; (at = memchr(at, '\n', (size_t)(end - at))) != NULL; at++)
    line++;
  __atomic_store_n(&port->line, line, __ATOMIC_RELAXED);
  port->start += bytes;
}

/* How many bytes a character of this first byte has; 1 also for one that is none. */
static size_t utf8_length(unsigned char first) {
  return first < 0xc2 || first > 0xf4 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

/* One character of at most `left` bytes.  A byte that is not part of one counts as U+FFFD. */
static uint32_t decode(const unsigned char *at, size_t left, size_t *used) {
  static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
  size_t length = utf8_length(at[0]);
  uint32_t c = at[0];
  *used = 1;
  if (c < 0x80)
    return c;
  if (length == 1 || length > left)
    return 0xfffd;
  c &= 0x7fu >> length;
  for (size_t i = 1; i < length; i++) {
    if ((at[i] & 0xc0) != 0x80)
      return 0xfffd;
    c = c << 6 | (at[i] & 0x3f);
  }
  if (c < least[length] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
    return 0xfffd;
  *used = length;
  return c;
}

/* The character `skip` bytes ahead, and its length.  -1: the end; -2: failed. */
static int look(struct vm *vm, const char *who, struct port *port, size_t skip, size_t *used) {
  if (!need(vm, who, port, skip + 1))
    return -2;
  if (port->end - port->start == skip)
    return -1;
  if (!need(vm, who, port, skip + utf8_length(port->buffer[port->start + skip])))
    return -2;
  return (int)decode(port->buffer + port->start + skip, port->end - port->start - skip, used);
}

int port_peek_char(struct vm *vm, scm v) {
  size_t used;
  struct port *port = enter(vm, "peek-char", 1, v, PORT_INPUT | PORT_TEXT);
  if (!port)
    return -2;
  int c = look(vm, "peek-char", port, 0, &used);
  (void)leave(port, 0);
  return c;
}

int port_read_char(struct vm *vm, scm v) {
  size_t used = 0;
  struct port *port = enter(vm, "read-char", 1, v, PORT_INPUT | PORT_TEXT);
  if (!port)
    return -2;
  int c = look(vm, "read-char", port, 0, &used);
  if (c >= 0)
    take(port, used);
  (void)leave(port, 0);
  return c;
}

size_t port_line(scm port) { return __atomic_load_n(&port_of(port)->line, __ATOMIC_RELAXED); }

/* The first end of a line, or NULL.  In pieces, as there may be many of one kind and none of the
 * other. */
static const unsigned char *find_line_end(const unsigned char *at, size_t count) {
  while (count > 0) {
    size_t piece = count < 4096 ? count : 4096;
    const unsigned char *feed = memchr(at, '\n', piece);
    const unsigned char *back = memchr(at, '\r', feed ? (size_t)(feed - at) : piece);
    if (back || feed)
      return back ? back : feed;
    at += piece;
    count -= piece;
  }
  return NULL;
}

/* The length of the line at the buffer's start, all of which is there then; `*ending`: of the
 * newline, a return, or both, behind it. */
static bool find_line(struct vm *vm, const char *who, struct port *port, size_t *length,
                      size_t *ending) {
  const unsigned char *found = NULL;
  size_t seen = 0;
  *ending = 0;
  for (;;) {
    size_t bytes = port->end - port->start;
    found = find_line_end(port->buffer + port->start + seen, bytes - seen);
    seen = bytes;
    if (found || port->ended)
      break;
    if (!fill(vm, who, port))
      return false;
  }
  *length = found ? (size_t)(found - port->buffer) - port->start : seen;
  if (!found)
    return true;
  *ending = 1;
  if (*found == '\n')
    return true;
  if (!need(vm, who, port, *length + 2))
    return false;
  const unsigned char *next = port->buffer + port->start + *length + 1;
  if (next < port->buffer + port->end && *next == '\n')
    *ending = 2;
  return true;
}

/* --- primitives: input ----------------------------------------------------------------------- */

static scm char_or_eof(int c) { return c >= 0 ? make_char((uint32_t)c) : c == -1 ? SCM_EOF : 0; }

PRIMITIVE(prim_read_char) {
  return char_or_eof(port_read_char(vm, input_argument(vm, count, arguments, 0)));
}

PRIMITIVE(prim_peek_char) {
  return char_or_eof(port_peek_char(vm, input_argument(vm, count, arguments, 0)));
}

static scm take_string(struct vm *vm, struct port *port, size_t bytes) {
  scm string = string_from_bytes(vm, (const char *)port->buffer + port->start, bytes);
  if (string)
    take(port, bytes);
  return string;
}

PRIMITIVE(prim_read_line) {
  size_t length, ending;
  struct port *port =
      enter(vm, "read-line", 1, input_argument(vm, count, arguments, 0), PORT_INPUT | PORT_TEXT);
  if (!port)
    return 0;
  if (!find_line(vm, "read-line", port, &length, &ending))
    return leave(port, 0);
  if (length + ending == 0)
    return leave(port, SCM_EOF);
  scm line = take_string(vm, port, length);
  if (line)
    take(port, ending);
  return leave(port, line);
}

PRIMITIVE(prim_read_string) {
  size_t wanted, bytes = 0, used = 0;
  if (!index_argument(vm, "read-string", 1, arguments[0], FIXNUM_MAX, &wanted))
    return 0;
  struct port *port =
      enter(vm, "read-string", 2, input_argument(vm, count, arguments, 1), PORT_INPUT | PORT_TEXT);
  if (!port)
    return 0;
  int c = 0;
  for (size_t i = 0; i < wanted; i++, bytes += used)
    if ((c = look(vm, "read-string", port, bytes, &used)) < 0)
      break;
  if (c == -2)
    return leave(port, 0);
  return leave(port, bytes == 0 && wanted > 0 ? SCM_EOF : take_string(vm, port, bytes));
}

/* read-u8 takes one byte, peek-u8 none. */
static scm next_byte(struct vm *vm, const char *who, scm v, size_t takes) {
  struct port *port = enter(vm, who, 1, v, PORT_INPUT | PORT_BINARY);
  if (!port)
    return 0;
  if (!need(vm, who, port, 1))
    return leave(port, 0);
  if (port->start == port->end)
    return leave(port, SCM_EOF);
  scm byte = fixnum(port->buffer[port->start]);
  port->start += takes;
  return leave(port, byte);
}

PRIMITIVE(prim_read_u8) {
  return next_byte(vm, "read-u8", input_argument(vm, count, arguments, 0), 1);
}

PRIMITIVE(prim_peek_u8) {
  return next_byte(vm, "peek-u8", input_argument(vm, count, arguments, 0), 0);
}

PRIMITIVE(prim_read_bytevector) {
  size_t wanted;
  if (!index_argument(vm, "read-bytevector", 1, arguments[0], FIXNUM_MAX, &wanted))
    return 0;
  struct port *port = enter(vm, "read-bytevector", 2, input_argument(vm, count, arguments, 1),
                            PORT_INPUT | PORT_BINARY);
  if (!port)
    return 0;
  if (!need(vm, "read-bytevector", port, wanted))
    return leave(port, 0);
  size_t bytes = available(port, wanted);
  if (bytes == 0 && wanted > 0)
    return leave(port, SCM_EOF);
  scm result = make_bytevector(vm, bytes);
  if (result) {
    memcpy(bytevector_of(result)->bytes, port->buffer + port->start, bytes);
    port->start += bytes;
  }
  return leave(port, result);
}

PRIMITIVE(prim_read_bytevector_into) {
  const char *who = "read-bytevector!";
  size_t start, end;
  if (!is_bytevector(arguments[0]))
    return wrong_type(vm, who, 1, arguments[0]);
  struct bytevector *to = bytevector_of(arguments[0]);
  if (!get_range(vm, who, count, arguments, 2, to->count, &start, &end))
    return 0;
  struct port *port =
      enter(vm, who, 2, input_argument(vm, count, arguments, 1), PORT_INPUT | PORT_BINARY);
  if (!port)
    return 0;
  if (!need(vm, who, port, end - start))
    return leave(port, 0);
  size_t bytes = available(port, end - start);
  memcpy(to->bytes + start, port->buffer + port->start, bytes);
  port->start += bytes;
  return leave(port, bytes == 0 && start < end ? SCM_EOF : fixnum((intptr_t)bytes));
}

static scm is_ready(struct vm *vm, const char *who, scm v, unsigned kind) {
  struct port *port = enter(vm, who, 1, v, kind);
  if (!port)
    return 0;
  struct pollfd asked = {.fd = port->descriptor, .events = POLLIN};
  bool ready =
      port->start < port->end || port->ended || port->kind & PORT_MEMORY || poll(&asked, 1, 0) > 0;
  return leave(port, boolean(ready));
}

PRIMITIVE(prim_is_char_ready) {
  scm port = input_argument(vm, count, arguments, 0);
  return is_ready(vm, "char-ready?", port, PORT_INPUT | PORT_TEXT);
}

PRIMITIVE(prim_is_u8_ready) {
  scm port = input_argument(vm, count, arguments, 0);
  return is_ready(vm, "u8-ready?", port, PORT_INPUT | PORT_BINARY);
}

/* --- primitives: output ---------------------------------------------------------------------- */

static scm put_bytes(struct vm *vm, const char *who, scm v, const uint8_t *bytes, size_t count) {
  struct port *port = enter(vm, who, 2, v, PORT_OUTPUT | PORT_BINARY);
  if (!port)
    return 0;
  return leave(port, put(vm, who, port, bytes, count) ? SCM_UNSPECIFIED : 0);
}

PRIMITIVE(prim_write_u8) {
  size_t value;
  if (!index_argument(vm, "write-u8", 1, arguments[0], 255, &value))
    return 0;
  uint8_t byte = (uint8_t)value;
  return put_bytes(vm, "write-u8", output_argument(vm, count, arguments, 1), &byte, 1);
}

PRIMITIVE(prim_write_bytevector) {
  const char *who = "write-bytevector";
  size_t start, end;
  if (!is_bytevector(arguments[0]))
    return wrong_type(vm, who, 1, arguments[0]);
  const struct bytevector *from = bytevector_of(arguments[0]);
  if (!get_range(vm, who, count, arguments, 2, from->count, &start, &end))
    return 0;
  scm port = output_argument(vm, count, arguments, 1);
  return put_bytes(vm, who, port, from->bytes + start, end - start);
}

PRIMITIVE(prim_flush) {
  return port_flush(vm, output_argument(vm, count, arguments, 0)) ? SCM_UNSPECIFIED : 0;
}

/* --- ports in memory ------------------------------------------------------------------------- */

/* The copy comes first: the bytes may be of the heap, and rooted by nobody. */
static scm open_input(struct vm *vm, unsigned kind, const void *bytes, size_t count) {
  unsigned char *buffer = malloc(count + 1);
  if (!buffer)
    return out_of_memory(vm);
  memcpy(buffer, bytes, count);
  struct port *port = make_port(vm, kind | PORT_INPUT | PORT_MEMORY);
  if (!port) {
    free(buffer);
    return 0;
  }
  port->buffer = buffer;
  port->end = count;
  port->capacity = count + 1;
  (void)tarn_external_adjust(world, (ptrdiff_t)port->capacity);
  return (scm)port;
}

static scm open_output(struct vm *vm, unsigned kind) {
  struct port *port = make_port(vm, kind | PORT_OUTPUT | PORT_MEMORY);
  return port && set_capacity(vm, port, STRING_BUFFER) ? (scm)port : 0;
}

scm open_input_bytes(struct vm *vm, const char *utf8, size_t bytes) {
  return open_input(vm, PORT_TEXT, utf8, bytes);
}

scm open_output_string(struct vm *vm) { return open_output(vm, PORT_TEXT); }

scm output_string(struct vm *vm, scm v) {
  struct port *port = enter(vm, "get-output-string", 1, v, PORT_OUTPUT | PORT_TEXT | PORT_MEMORY);
  return port ? leave(port, string_from_bytes(vm, (const char *)port->buffer, port->end)) : 0;
}

PRIMITIVE(prim_open_input_string) {
  size_t bytes;
  if (!is_string(arguments[0]))
    return wrong_type(vm, "open-input-string", 1, arguments[0]);
  scm utf8 = string_to_utf8(vm, arguments[0], &bytes);
  return utf8 ? open_input_bytes(vm, (const char *)utf8, bytes) : 0;
}

PRIMITIVE(prim_open_input_bytevector) {
  if (!is_bytevector(arguments[0]))
    return wrong_type(vm, "open-input-bytevector", 1, arguments[0]);
  const struct bytevector *from = bytevector_of(arguments[0]);
  return open_input(vm, PORT_BINARY, from->bytes, from->count);
}

PRIMITIVE(prim_open_output_string) { return open_output_string(vm); }

PRIMITIVE(prim_open_output_bytevector) { return open_output(vm, PORT_BINARY); }

PRIMITIVE(prim_get_output_string) { return output_string(vm, arguments[0]); }

PRIMITIVE(prim_get_output_bytevector) {
  struct port *port =
      enter(vm, "get-output-bytevector", 1, arguments[0], PORT_OUTPUT | PORT_BINARY | PORT_MEMORY);
  if (!port)
    return 0;
  scm result = make_bytevector(vm, port->end);
  if (result)
    memcpy(bytevector_of(result)->bytes, port->buffer, port->end);
  return leave(port, result);
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
  char *copy = strdup(path);
  if (!copy)
    return out_of_memory(vm);
  scm port = open_file(vm, "open-input-file", copy, PORT_INPUT | PORT_TEXT, O_RDONLY);
  free(copy);
  return port;
}

/* A path, malloc's: blocked regions use it.  NULL: failed. */
static char *path_argument(struct vm *vm, const char *who, scm v) {
  size_t bytes;
  if (!is_string(v)) {
    wrong_type(vm, who, 1, v);
    return NULL;
  }
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

static scm open_argument(struct vm *vm, const char *who, scm v, unsigned kind, int flags) {
  char *path = path_argument(vm, who, v);
  scm port = path ? open_file(vm, who, path, kind, flags) : 0;
  free(path);
  return port;
}

#define DEFINE_OPEN(function, name, kind, flags) \
  PRIMITIVE(function) { return open_argument(vm, name, arguments[0], kind, flags); }
DEFINE_OPEN(prim_open_input_file, "open-input-file", PORT_INPUT | PORT_TEXT, O_RDONLY)
DEFINE_OPEN(prim_open_binary_input_file, "open-binary-input-file", PORT_INPUT | PORT_BINARY,
            O_RDONLY)
DEFINE_OPEN(prim_open_output_file, "open-output-file", PORT_OUTPUT | PORT_TEXT,
            O_WRONLY | O_CREAT | O_TRUNC)
DEFINE_OPEN(prim_open_binary_output_file, "open-binary-output-file", PORT_OUTPUT | PORT_BINARY,
            O_WRONLY | O_CREAT | O_TRUNC)
DEFINE_OPEN(prim_open_append_file, "open-append-file", PORT_OUTPUT | PORT_TEXT,
            O_WRONLY | O_CREAT | O_APPEND)

PRIMITIVE(prim_file_exists) {
  char *path = path_argument(vm, "file-exists?", arguments[0]);
  if (!path)
    return 0;
  tarn_block_begin(vm->self);
  bool exists = access(path, F_OK) == 0;
  tarn_block_end(vm->self);
  free(path);
  return boolean(exists);
}

PRIMITIVE(prim_delete_file) {
  char *path = path_argument(vm, "delete-file", arguments[0]);
  if (!path)
    return 0;
  tarn_block_begin(vm->self);
  int number = unlink(path) == 0 ? 0 : errno;
  tarn_block_end(vm->self);
  scm result = number ? file_error(vm, "delete-file", number, path) : SCM_UNSPECIFIED;
  free(path);
  return result;
}

/* --- primitives: any port -------------------------------------------------------------------- */

#define DEFINE_PORT_TEST(function, kind) \
  PRIMITIVE(function) { return boolean(is_port_of(arguments[0], kind)); }
DEFINE_PORT_TEST(prim_is_port, 0)
DEFINE_PORT_TEST(prim_is_input_port, PORT_INPUT)
DEFINE_PORT_TEST(prim_is_output_port, PORT_OUTPUT)
DEFINE_PORT_TEST(prim_is_textual_port, PORT_TEXT)
DEFINE_PORT_TEST(prim_is_binary_port, PORT_BINARY)

static scm is_open(struct vm *vm, const char *who, scm v, unsigned kind) {
  if (!is_port_of(v, kind))
    return wrong_type(vm, who, 1, v);
  lock_port(vm, port_of(v));
  return leave(port_of(v), boolean(port_of(v)->open));
}

PRIMITIVE(prim_is_input_open) { return is_open(vm, "input-port-open?", arguments[0], PORT_INPUT); }

PRIMITIVE(prim_is_output_open) {
  return is_open(vm, "output-port-open?", arguments[0], PORT_OUTPUT);
}

/* Once more does nothing. */
static scm close_port(struct vm *vm, const char *who, scm v, unsigned kind) {
  if (!is_port_of(v, kind))
    return wrong_type(vm, who, 1, v);
  struct port *port = port_of(v);
  lock_port(vm, port);
  int number = port->open ? release(vm->self, port) : 0;
  (void)leave(port, 0);
  return number ? system_error(vm, who, number, v) : SCM_UNSPECIFIED;
}

PRIMITIVE(prim_close) { return close_port(vm, "close-port", arguments[0], 0); }

PRIMITIVE(prim_close_input) { return close_port(vm, "close-input-port", arguments[0], PORT_INPUT); }

PRIMITIVE(prim_close_output) {
  return close_port(vm, "close-output-port", arguments[0], PORT_OUTPUT);
}

PRIMITIVE(prim_eof_object) { return SCM_EOF; }

PRIMITIVE(prim_is_eof_object) { return boolean(arguments[0] == SCM_EOF); }

/* --- primitives: the process ----------------------------------------------------------------- */

static int exit_status(int count, const scm *arguments) {
  if (count > 0 && is_fixnum(arguments[0]))
    return (int)(fixnum_value(arguments[0]) & 0xff);
  return count > 0 && arguments[0] == SCM_FALSE;
}

PRIMITIVE(prim_exit) {
  flush_standard(vm);
  exit(exit_status(count, arguments));
}

PRIMITIVE(prim_emergency_exit) {
  flush_standard(vm);
  _exit(exit_status(count, arguments));
}

void set_command_line(int count, char **arguments) {
  command_count = count;
  command_arguments = arguments;
}

PRIMITIVE(prim_command_line) {
  scm list = SCM_NIL;
  ROOTS(vm, (void *)&list);
  for (int i = command_count; i > 0 && list; i--) {
    scm string = string_from(vm, command_arguments[i - 1]);
    list = string ? cons(vm, string, list) : 0;
  }
  return list;
}

PRIMITIVE(prim_get_environment) {
  size_t bytes;
  if (!is_string(arguments[0]))
    return wrong_type(vm, "get-environment-variable", 1, arguments[0]);
  scm name = string_to_utf8(vm, arguments[0], &bytes);
  if (!name)
    return 0;
  const char *value = strlen((const char *)name) == bytes ? getenv((const char *)name) : NULL;
  return value ? string_from(vm, value) : SCM_FALSE;
}

static intptr_t nanoseconds(clockid_t clock) {
  struct timespec now;
  (void)clock_gettime(clock, &now);
  return (intptr_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

PRIMITIVE(prim_current_jiffy) { return make_integer(vm, nanoseconds(CLOCK_MONOTONIC)); }

PRIMITIVE(prim_jiffies_per_second) { return fixnum(1000000000); }

PRIMITIVE(prim_current_second) {
  return make_flonum(vm, (double)nanoseconds(CLOCK_REALTIME) / 1e9);
}

PRIMITIVE(prim_current_milliseconds) {
  return make_integer(vm, nanoseconds(CLOCK_REALTIME) / 1000000);
}

/* --- begin ----------------------------------------------------------------------------------- */

/* ((opened . n) (closed . n) (collected . n)): of files. */
PRIMITIVE(prim_port_statistics) {
  const struct {
    const char *name;
    _Atomic size_t *figure;
  } figures[] = {{"collected", &collected}, {"closed", &closed}, {"opened", &opened}};
  scm list = SCM_NIL, entry = SCM_NIL;
  ROOTS(vm, (void *)&list, (void *)&entry);
  for (size_t i = 0; i < 3 && list; i++) {
    size_t value = atomic_load_explicit(figures[i].figure, memory_order_relaxed);
    scm name = intern(vm, figures[i].name);
    entry = name ? cons(vm, name, fixnum((intptr_t)value)) : 0;
    list = entry ? cons(vm, entry, list) : 0;
  }
  return list;
}

static const struct primitive_def defs[] = {
    {"port-statistics", prim_port_statistics, 0, 0},
    {"port?", prim_is_port, 1, 1},
    {"input-port?", prim_is_input_port, 1, 1},
    {"output-port?", prim_is_output_port, 1, 1},
    {"textual-port?", prim_is_textual_port, 1, 1},
    {"binary-port?", prim_is_binary_port, 1, 1},
    {"input-port-open?", prim_is_input_open, 1, 1},
    {"output-port-open?", prim_is_output_open, 1, 1},
    {"open-input-file", prim_open_input_file, 1, 1},
    {"open-output-file", prim_open_output_file, 1, 1},
    {"open-binary-input-file", prim_open_binary_input_file, 1, 1},
    {"open-binary-output-file", prim_open_binary_output_file, 1, 1},
    {"open-append-file", prim_open_append_file, 1, 1},
    {"close-port", prim_close, 1, 1},
    {"close-input-port", prim_close_input, 1, 1},
    {"close-output-port", prim_close_output, 1, 1},
    {"open-input-string", prim_open_input_string, 1, 1},
    {"open-output-string", prim_open_output_string, 0, 0},
    {"get-output-string", prim_get_output_string, 1, 1},
    {"open-input-bytevector", prim_open_input_bytevector, 1, 1},
    {"open-output-bytevector", prim_open_output_bytevector, 0, 0},
    {"get-output-bytevector", prim_get_output_bytevector, 1, 1},
    {"read-char", prim_read_char, 0, 1},
    {"peek-char", prim_peek_char, 0, 1},
    {"char-ready?", prim_is_char_ready, 0, 1},
    {"read-line", prim_read_line, 0, 1},
    {"read-string", prim_read_string, 1, 2},
    {"read-u8", prim_read_u8, 0, 1},
    {"peek-u8", prim_peek_u8, 0, 1},
    {"u8-ready?", prim_is_u8_ready, 0, 1},
    {"read-bytevector", prim_read_bytevector, 1, 2},
    {"read-bytevector!", prim_read_bytevector_into, 1, 4},
    {"write-u8", prim_write_u8, 1, 2},
    {"write-bytevector", prim_write_bytevector, 1, 4},
    {"flush-output-port", prim_flush, 0, 1},
    {"eof-object", prim_eof_object, 0, 0},
    {"eof-object?", prim_is_eof_object, 1, 1},
    {"file-exists?", prim_file_exists, 1, 1},
    {"delete-file", prim_delete_file, 1, 1},
    {"%exit", prim_exit, 0, 1},
    {"emergency-exit", prim_emergency_exit, 0, 1},
    {"command-line", prim_command_line, 0, 0},
    {"get-environment-variable", prim_get_environment, 1, 1},
    {"current-jiffy", prim_current_jiffy, 0, 0},
    {"jiffies-per-second", prim_jiffies_per_second, 0, 0},
    {"current-second", prim_current_second, 0, 0},
    {"current-milliseconds", prim_current_milliseconds, 0, 0},
    {NULL, NULL, 0, 0}};

void port_types(void) { types.port = make_type("port", sizeof(struct port), 0, free_port); }

/* A port for a descriptor of the process, as the value of a parameter; false: no memory. */
static bool define_standard(struct vm *vm, const char *name, int descriptor, unsigned kind) {
  struct port *port = make_port(vm, kind | PORT_TEXT | PORT_STANDARD);
  ROOTS(vm, (void *)&port);
  if (!port || !set_capacity(vm, port, FILE_BUFFER))
    return false;
  port->descriptor = descriptor;
  struct parameter *parameter = make_object(vm, types.parameter);
  if (!parameter)
    return false;
  parameter->value = (scm)port;
  parameter->converter = SCM_FALSE;
  parameters[descriptor] = (scm)parameter;
  if (tarn_root_add(world, (void **)&parameters[descriptor]) != TARN_OK)
    return false;
  scm symbol = intern(vm, name);
  if (symbol)
    define_global(vm, symbol, parameters[descriptor]);
  return symbol;
}

void port_begin(struct vm *vm) {
  unsigned by_line = isatty(STDOUT_FILENO) ? PORT_BY_LINE : 0;
  if (!define_standard(vm, "current-input-port", STDIN_FILENO, PORT_INPUT) ||
      !define_standard(vm, "current-output-port", STDOUT_FILENO, PORT_OUTPUT | by_line) ||
      !define_standard(vm, "current-error-port", STDERR_FILENO, PORT_OUTPUT | PORT_BY_LINE)) {
    fprintf(stderr, "scheme: no memory at its start\n");
    exit(2);
  }
  define_primitives(vm, defs);
}
