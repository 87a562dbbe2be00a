/* SPDX-License-Identifier: MIT */
/*
 * usage: pictures_program SNAPSHOT TRACE FOLDED
 * A make-believe server with two faults, whose snapshot, trace and profile the pictures of
 * doc/pictures show.  Two workers take requests apart and answer them.
 *
 * It leaks: every fifth request goes into a history that nobody ever empties.  So each `request`
 * that lives is held by an element of `history`, and nothing else holds it.
 *
 * And its pauses are long at times: some requests take a calculation without safepoints, for which
 * the other worker waits when it wants to collect.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <tarn/tarn.h>
#include <time.h>

#define WORKERS 2
#define REQUESTS 30000 /* of each worker */
#define KEPT 5
#define HEADERS 8
#define CALCULATED 1000 /* one request in so many */

struct server {
  const tarn_type *type;
  void *history, *routes;
};
struct request {
  const tarn_type *type;
  void *headers, *body;
};
struct header {
  const tarn_type *type;
  void *next, *name, *value;
};
struct array {
  const tarn_type *type;
  size_t count;
  void *elements[];
};

static tarn_world *world;
static const tarn_type *server_type, *request_type, *header_type, *history_type, *text_type;
static struct server *server; /* a global root */
static atomic_size_t filled;  /* of its history */

static void *need(void *result) {
  if (!result)
    exit(1);
  return result;
}

static void check(tarn_status status) {
  if (status == TARN_OK)
    return;
  (void)fprintf(stderr, "pictures_program: %s\n", tarn_strerror(status));
  exit(1);
}

static const tarn_type *make_type(const char *name, size_t size, unsigned flags, size_t element) {
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = name, spec.size = size, spec.flags = flags, spec.element_size = element;
  tarn_status status = TARN_OK;
  const tarn_type *type = tarn_type_create(world, &spec, &status);
  check(status);
  return type;
}

/* Stacks show these functions, so none of them is made part of another, nor left by a jump. */
#define SHOWN static __attribute__((noinline, noclone, noipa))

SHOWN void *make_text(tarn_thread *self, size_t size) {
  char *text = need(tarn_new_array(self, text_type, size));
  text[sizeof(struct array)] = 'x';
  return text;
}

SHOWN void *parse_header(tarn_thread *self, struct header *next, unsigned seed) {
  struct header *header = NULL;
  TARN_FRAME(self, &header, &next);
  header = need(tarn_new(self, header_type));
  header->next = next;
  header->name = make_text(self, 8 + seed % 16);
  header->value = make_text(self, 16 + seed % 48);
  return header;
}

SHOWN void *parse_request(tarn_thread *self, unsigned seed) {
  struct request *request = NULL;
  TARN_FRAME(self, &request);
  request = need(tarn_new(self, request_type));
  for (unsigned i = 0; i < HEADERS; i++)
    request->headers = parse_header(self, request->headers, seed + i * 7);
  request->body = make_text(self, 200 + seed % 400);
  return request;
}

SHOWN void *render_page(tarn_thread *self, unsigned seed) {
  void *page = NULL;
  TARN_FRAME(self, &page);
  for (unsigned i = 0; i < 4; i++)
    page = make_text(self, 300 + (seed + i) % 500);
  return page;
}

SHOWN void *compress(tarn_thread *self, void *page) {
  TARN_FRAME(self, &page);
  char *packed = make_text(self, 400);
  packed[sizeof(struct array)] = 'z';
  return packed;
}

SHOWN void answer(tarn_thread *self, struct request *request, unsigned seed) {
  void *page = NULL;
  TARN_FRAME(self, &request, &page);
  page = render_page(self, seed);
  page = compress(self, page);
}

/* The leak. */
SHOWN void remember(struct request *request) {
  struct array *history = server->history;
  history->elements[atomic_fetch_add_explicit(&filled, 1, memory_order_relaxed)] = request;
}

/* Some milliseconds without a safepoint. */
SHOWN void calculate(void) {
  for (volatile unsigned i = 0; i < 6000000; i++) {
  }
}

/* As if it waited for the network. */
static void wait_for_request(tarn_thread *self) {
  tarn_block_begin(self);
  (void)nanosleep(&(struct timespec){.tv_nsec = 300000}, NULL);
  tarn_block_end(self);
}

SHOWN void serve(tarn_thread *self) {
  struct request *request = NULL;
  TARN_FRAME(self, &request);
  for (unsigned i = 0; i < REQUESTS; i++) {
    if (i % 500 == 0)
      wait_for_request(self);
    request = parse_request(self, i * 31);
    answer(self, request, i * 17);
    if (i % CALCULATED == CALCULATED / 2)
      calculate();
    if (i % KEPT == 0)
      remember(request);
  }
}

static void *worker(void *data) {
  tarn_thread *self = NULL;
  check(tarn_thread_attach(world, &self));
  check(tarn_thread_set_name(self, data));
  serve(self);
  check(tarn_thread_detach(self));
  return NULL;
}

static void make_server(tarn_thread *self) {
  server_type = make_type("server", sizeof(struct server), TARN_TYPE_ALL_TRACED, 0);
  request_type = make_type("request", sizeof(struct request), TARN_TYPE_ALL_TRACED, 0);
  header_type = make_type("header", sizeof(struct header), TARN_TYPE_ALL_TRACED, 0);
  history_type = make_type("history", sizeof(struct array), TARN_TYPE_ELEMENTS_TRACED, 8);
  text_type = make_type("text", sizeof(struct array), 0, 1);
  check(tarn_root_add(world, (void **)&server));
  server = need(tarn_new(self, server_type));
  server->history = need(tarn_new_array(self, history_type, WORKERS * (REQUESTS / KEPT)));
}

int main(int count, char **arguments) {
  static char *const names[WORKERS] = {"worker 1", "worker 2"};
  tarn_options options = TARN_OPTIONS_INIT;
  tarn_thread *self = NULL;
  pthread_t threads[WORKERS];
  options.flags = TARN_OPTIONS_NO_ENVIRONMENT;
  options.set = "min-heap=16M,trace-level=debug,markers=1";
  if (count != 4)
    return 2;
  check(tarn_world_create(&options, &world));
  check(tarn_thread_attach(world, &self));
  check(tarn_thread_set_name(self, "listener"));
  make_server(self);
  check(tarn_trace_start(world, arguments[2]));
  check(tarn_profile_start(self, 8192));
  for (unsigned i = 0; i < WORKERS; i++)
    if (pthread_create(&threads[i], NULL, worker, names[i]) != 0)
      return 1;
  tarn_block_begin(self);
  for (unsigned i = 0; i < WORKERS; i++)
    (void)pthread_join(threads[i], NULL);
  tarn_block_end(self);
  check(tarn_profile_stop(self));
  check(tarn_trace_stop(world));
  check(
      tarn_profile_write_file(world, TARN_PROFILE_FOLDED, TARN_PROFILE_ALLOC_SPACE, arguments[3]));
  check(tarn_snapshot_write(self, arguments[1], 0, NULL));
  check(tarn_root_remove(world, (void **)&server));
  check(tarn_thread_detach(self));
  check(tarn_world_destroy(world));
  return 0;
}
