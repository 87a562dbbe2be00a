/* SPDX-License-Identifier: MIT */
/*
 * smob: C resources in a managed world, in two shapes.
 *
 * A "small object" is a type that C code registers with functions to free, to print and to mark:
 *
 *     | type | stream | name |           marked by hand: the trace function visits `name`
 *
 * An instance has a class word and a data word, and its slots in a data block of its own, each of
 * them either traced or raw:
 *
 *     | type | data -+-> | name | stream | lines |        name is traced, the others are raw
 *
 * A class can get another `free` function, and so can a subclass.  Whatever it does, the order is:
 * first the function, which releases the C resource, while object and data block are whole; then
 * the library releases the data block, then the object.  The resource here is a stdio stream with
 * text in its buffer: the text is in the file only if the stream was closed, and closed just once.
 *
 * Each step is checked and printed; the exit status is non-zero if one is wrong.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tarn/tarn.h>
#include <unistd.h>

static bool failed;

static void step(bool good, const char *what) {
  printf("  %-6s %s\n", good ? "ok" : "WRONG", what);
  failed = failed || !good;
}

/* For what must work before there is anything to show. */
static void *need(void *result, const char *what, const char *why) {
  if (result == NULL) {
    fprintf(stderr, "smob: %s: %s\n", what, why);
    exit(1);
  }
  return result;
}

static void check(tarn_status status, const char *what) {
  need(status == TARN_OK ? &failed : NULL, what, tarn_strerror(status));
}

static const tarn_type *make_type(tarn_world *world, tarn_type_spec spec) {
  tarn_status status = TARN_OK;
  spec.struct_size = sizeof spec;
  const tarn_type *type = tarn_type_create(world, &spec, &status);
  if (type == NULL)
    check(status, spec.name);
  return type;
}

static void *make(tarn_thread *self, const tarn_type *type) {
  void *object = tarn_new(self, type);
  if (object == NULL)
    check(tarn_thread_status(self), tarn_type_name(type));
  return object;
}

/* --- strings: an array type with elements of one byte; nothing traced, so in the atomic heap - */

struct string {
  const tarn_type *type;
  size_t size;
  char text[];
};
static const tarn_type *string_type;

static struct string *make_string(tarn_thread *self, const char *text) {
  size_t size = strlen(text) + 1;
  struct string *string = need(tarn_new_array(self, string_type, size), "cannot make a string",
                               tarn_strerror(tarn_thread_status(self)));
  memcpy(string->text, text, size);
  return string;
}

/* --- the C resource: a stream to a file of its own ------------------------------------------- */

static unsigned closed; /* streams */

static FILE *open_stream(char *path) { /* "....XXXXXX", as mkstemp wants it */
  int descriptor = mkstemp(path);
  return need(descriptor < 0 ? NULL : fdopen(descriptor, "w"), path, strerror(errno));
}

static void close_stream(FILE *stream) {
  if (stream != NULL && fclose(stream) == 0)
    closed++;
}

/* Does the file hold just this text? */
static bool file_holds(const char *path, const char *expected) {
  char text[128];
  FILE *file = fopen(path, "r");
  size_t size = file == NULL ? 0 : fread(text, 1, sizeof text, file);
  if (file != NULL)
    fclose(file);
  return size == strlen(expected) && memcmp(text, expected, size) == 0;
}

/* --- a small object -------------------------------------------------------------------------- */

struct smob {
  const tarn_type *type;
  FILE *stream;
  struct string *name;
};

static void smob_mark(const void *object, tarn_visitor *visitor) {
  tarn_visit(visitor, ((const struct smob *)object)->name);
}

static int smob_print(const void *object, char *buffer, size_t size) {
  const struct smob *smob = object;
  return snprintf(buffer, size, "#<smob %s>", smob->name->text);
}

static void smob_free(tarn_world *world, void *object) {
  (void)world;
  close_stream(((struct smob *)object)->stream);
}

static void show_smob(tarn_world *world, tarn_thread *self) {
  char path[] = P_tmpdir "/tarn-smob-XXXXXX", text[64];
  const tarn_type *type = make_type(world, (tarn_type_spec){.name = "smob",
                                                            .size = sizeof(struct smob),
                                                            .trace = smob_mark,
                                                            .free = smob_free,
                                                            .print = smob_print});
  puts("a small object, with functions to free, print and mark:");
  struct smob *smob = make(self, type);
  TARN_FRAME(self, &smob);
  smob->name = make_string(self, "ada"); /* an allocation: `smob` must be in the frame by now */
  smob->stream = open_stream(path);
  fputs("hello", smob->stream);
  check(tarn_collect(self, TARN_GENERATION_FULL), "cannot collect");
  tarn_print(smob, text, sizeof text);
  step(strcmp(text, "#<smob ada>") == 0, "mark has kept the name alive, and print shows it");
  step(closed == 0 && file_holds(path, ""), "the object lives, so the text is in the buffer still");
  smob = NULL;
  check(tarn_collect(self, TARN_GENERATION_FULL), "cannot collect");
  step(closed == 1 && file_holds(path, "hello"), "it is garbage: free has closed the stream, once");
  check(tarn_collect(self, TARN_GENERATION_FULL), "cannot collect");
  step(closed == 1, "a second collection does not call free again");
  unlink(path);
}

/* --- instances ------------------------------------------------------------------------------- */

struct port_data {
  struct string *name; /* traced */
  FILE *stream;        /* raw */
  uint64_t lines;      /* raw */
};
struct port {
  const tarn_type *type;
  struct port_data *data;
};

static struct port_data *freed_data; /* what the last port's `free` function saw: its data block, */
static bool freed_whole;             /* and whether the raw slots were still as they must be */
static unsigned default_frees;

/* A class is born with a function that has nothing to do.  It must be there: objects of a type that
 * has none are put where the collector never looks at the dead. */
static void port_free_default(tarn_world *world, void *object) {
  (void)world;
  (void)object;
  default_frees++;
}

/* The replacement.  It reads raw slots only; objects in traced slots may be gone. */
static void port_free(tarn_world *world, void *object) {
  struct port *port = object;
  freed_data = port->data;
  freed_whole = port->data != NULL && port->data->stream != NULL && port->data->lines > 0;
  (void)world;
  close_stream(port->data->stream);
}

/* A subclass's own: something first, then what the parent does at this moment. */
static void journal_free(tarn_world *world, void *object) {
  struct port *port = object;
  if (port->data->stream != NULL)
    fprintf(port->data->stream, "end after %llu lines\n", (unsigned long long)port->data->lines);
  tarn_type_free(tarn_type_parent(port->type))(world, object);
}

/* The object first, its resource then: so the resource has an owner at any time. */
static struct port *port_new(tarn_thread *self, const tarn_type *type, const char *name,
                             char *path) {
  struct port *port = make(self, type);
  TARN_FRAME(self, &port);
  port->data->name = make_string(self, name);
  port->data->stream = open_stream(path);
  return port;
}

static void port_write(struct port *port) {
  fprintf(port->data->stream, "%s\n", port->data->name->text);
  port->data->lines++;
}

struct search {
  const void *block;
  bool found;
};

static bool look(const tarn_block_info *info, void *data) {
  struct search *search = data;
  search->found = info->block == search->block;
  return !search->found; /* false ends the walk */
}

/* Is it a block in use?  Asked with the world stopped, of every one that there is. */
static bool in_use(tarn_thread *self, const void *block) {
  struct search search = {block, false};
  check(tarn_heap_walk(self, look, &search), "cannot walk over the heap");
  return search.found;
}

/* What must hold when a port has just ended. */
static void step_ended(tarn_thread *self, unsigned frees, const char *path, const char *text) {
  step(closed == frees && file_holds(path, text), "the stream was closed, once, text and all");
  step(freed_whole, "the data block was whole when the C resource was released");
  step(!in_use(self, freed_data), "and was released itself after that");
  unlink(path);
}

static void show_instances(tarn_world *world, tarn_thread *self) {
  char first[] = P_tmpdir "/tarn-port-XXXXXX", second[] = P_tmpdir "/tarn-port-XXXXXX",
       third[] = P_tmpdir "/tarn-port-XXXXXX";
  static const uint32_t traced[] = {offsetof(struct port_data, name) / sizeof(void *)};
  const tarn_type *port_type =
      make_type(world, (tarn_type_spec){.name = "port",
                                        .size = sizeof(struct port),
                                        .data_size = sizeof(struct port_data),
                                        .data_slots = traced,
                                        .data_slot_count = 1,
                                        .free = port_free_default});
  const tarn_type *journal_type = make_type(
      world, (tarn_type_spec){.name = "journal", .parent = port_type, .free = journal_free});
  struct port *port = NULL;
  TARN_FRAME(self, &port);
  closed = 0;

  puts("an instance, whose class got another free function after the instance was made:");
  port = port_new(self, port_type, "grace", first);
  check(tarn_type_set_free(port_type, port_free), "cannot replace free");
  check(tarn_collect(self, TARN_GENERATION_FULL), "cannot collect");
  port_write(port);
  step(strcmp(port->data->name->text, "grace") == 0, "the traced slot has kept the name alive");
  step(closed == 0 && in_use(self, port->data), "the instance lives, and its data block");
  port = NULL;
  check(tarn_collect(self, TARN_GENERATION_FULL), "cannot collect");
  step(default_frees == 0, "the function it was born with was not called");
  step_ended(self, 1, first, "grace\n");

  puts("an instance of a subclass with a free function of its own:");
  port = port_new(self, journal_type, "barbara", second);
  step(tarn_type_is_a(tarn_type_of(port), port_type), "it is a port, with the slots of a port");
  port_write(port);
  port_write(port);
  port = NULL;
  check(tarn_collect(self, TARN_GENERATION_FULL), "cannot collect");
  step_ended(self, 2, second, "barbara\nbarbara\nend after 2 lines\n");

  puts("an instance that is given back at once, without a collection:");
  port = port_new(self, port_type, "edsger", third);
  port_write(port);
  tarn_free(self, port);
  port = NULL;
  step_ended(self, 3, third, "edsger\n");
  check(tarn_collect(self, TARN_GENERATION_FULL), "cannot collect");
  step(closed == 3, "a collection does not find it again");
}

int main(void) {
  tarn_world *world = NULL;
  tarn_thread *self = NULL;
  tarn_status status = tarn_world_create(NULL, &world);
  if (status == TARN_EHELP)
    return 0;
  check(status, "cannot make a world");
  check(tarn_thread_attach(world, &self), "cannot attach");
  string_type = make_type(
      world, (tarn_type_spec){.name = "string", .size = sizeof(struct string), .element_size = 1});
  show_smob(world, self);
  show_instances(world, self);
  check(tarn_thread_detach(self), "cannot detach");
  check(tarn_world_destroy(world), "cannot end the world");
  puts(failed ? "FAILED" : "everything is as it must be");
  return failed ? 1 : 0;
}
