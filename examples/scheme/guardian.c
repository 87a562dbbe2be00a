/* SPDX-License-Identifier: MIT */
/*
 * guardian.c: guardians, and finalizers on top of them.
 *
 * Each registration is a finalizer of Tarn's, which has the registration as its data.  Those stand
 * on a list that is a root, and refer to object and guardian by an ephemeron: so neither lives
 * because of it, and it is whole until the finalizer has run.  That moves it to the guardian's
 * queue.  Nothing is allocated then, so nothing can fail.
 */
#include "scheme.h"

struct guardian {
  const tarn_type *type;
  scm first, last; /* registrations whose object died, or #f */
};

struct registration { /* of an object with a guardian */
  const tarn_type *type;
  scm next, previous;
  scm content; /* an ephemeron: object -> (guardian . representative); then the representative */
};

DEFINE_TEST(guardian)

static const tarn_type *registration_type;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of registrations and queues */
static scm registrations;                                /* of objects that live */
static scm finalizations;                                /* the guardian of set-finalizer! */

static struct registration *registration_of(scm v) { return (struct registration *)v; }

static void link_registration(struct vm *vm, scm r) {
  take_lock(vm, &lock);
  store(vm, r, &registration_of(r)->next, registrations);
  if (registrations != SCM_FALSE)
    store(vm, registrations, &registration_of(registrations)->previous, r);
  registrations = r;
  give_lock(&lock);
}

static void unlink_registration(struct vm *vm, struct registration *r) {
  if (r->next != SCM_FALSE)
    store(vm, r->next, &registration_of(r->next)->previous, r->previous);
  if (r->previous != SCM_FALSE)
    store(vm, r->previous, &registration_of(r->previous)->next, r->next);
  else
    registrations = r->next;
  r->next = r->previous = SCM_FALSE;
}

static void enqueue(struct vm *vm, scm g, scm r) {
  struct guardian *guardian = guardian_of(g);
  if (guardian->last == SCM_FALSE)
    store(vm, g, &guardian->first, r);
  else
    store(vm, guardian->last, &registration_of(guardian->last)->next, r);
  store(vm, g, &guardian->last, r);
}

/* The finalizer.  Between lock and unlock there is no safepoint. */
static void deliver(tarn_thread *self, void *object, void *data) {
  struct registration *r = data;
  struct vm *vm = vm_of(self);
  (void)object;
  take_lock(vm, &lock);
  unlink_registration(vm, r);
  scm ticket = (scm)tarn_ephemeron_value(self, (void *)r->content);
  if (ticket) {
    store(vm, (scm)r, &r->content, cdr(ticket));
    enqueue(vm, car(ticket), (scm)r);
  }
  give_lock(&lock);
}

/* When nothing else refers to the object, the guardian gives the representative.  The caller keeps
 * the object alive. */
static scm guard(struct vm *vm, scm guardian, scm object, scm representative) {
  scm watch = cons(vm, guardian, representative);
  ROOTS(vm, (void *)&watch);
  watch = watch ? (scm)tarn_ephemeron_new(vm->self, (void *)object, (void *)watch) : 0;
  scm r = watch ? (scm)make_object(vm, registration_type) : 0;
  if (!r)
    return out_of_memory(vm);
  registration_of(r)->next = registration_of(r)->previous = SCM_FALSE;
  registration_of(r)->content = watch;
  ROOTS(vm, (void *)&r);
  if (tarn_finalizer_add(vm->self, (void *)object, deliver, (void *)r) != TARN_OK)
    return out_of_memory(vm);
  link_registration(vm, r);
  return SCM_UNSPECIFIED;
}

/* The first of the queue, or #f. */
static scm dequeue(struct vm *vm, scm g) {
  struct guardian *guardian = guardian_of(g);
  scm item = SCM_FALSE;
  ROOTS(vm, (void *)&g);
  (void)tarn_finalizers_run(vm->self, 0);
  take_lock(vm, &lock);
  if (guardian->first != SCM_FALSE) {
    const struct registration *r = registration_of(guardian->first);
    item = r->content;
    store(vm, g, &guardian->first, r->next);
    if (r->next == SCM_FALSE)
      guardian->last = SCM_FALSE;
  }
  give_lock(&lock);
  return item;
}

/* Called as a procedure: () gives an object that died, or #f; (object [representative])
 * registers. */
scm guardian_call(struct vm *vm, scm guardian, int count, scm *arguments) {
  if (count == 0)
    return dequeue(vm, guardian);
  if (count > 2)
    return raise_error(vm, "error", "guardian", "too many arguments", 1, guardian);
  if (!is_object(arguments[0]))
    return wrong_type(vm, "guardian", 1, arguments[0]);
  return guard(vm, guardian, arguments[0], arguments[count - 1]);
}

DEFINE("make-guardian", make_guardian, 0, 0) {
  struct guardian *guardian = make_object(vm, types.guardian);
  if (guardian)
    guardian->first = guardian->last = SCM_FALSE;
  return (scm)guardian;
}

DEFINE_PREDICATE("guardian?", guardian_is, is_guardian(v))

/* (set-finalizer! object procedure): see `run-finalizers` in threads.scm. */
DEFINE("set-finalizer!", set_finalizer, 2, 2, is_object, is_procedure) {
  scm pair = cons(vm, arguments[0], arguments[1]);
  return pair ? guard(vm, finalizations, arguments[0], pair) : 0;
}

DEFINE("%next-finalization", next_finalization, 0, 0) { return dequeue(vm, finalizations); }

/* --- begin ----------------------------------------------------------------------------------- */

void guardian_types(void) {
  types.guardian = make_type("guardian", sizeof(struct guardian),
                             WORD(guardian, first) | WORD(guardian, last), NULL);
  registration_type = make_type(
      "registration", sizeof(struct registration),
      WORD(registration, next) | WORD(registration, previous) | WORD(registration, content), NULL);
}

void guardian_begin(struct vm *vm) {
  registrations = finalizations = SCM_FALSE;
  must_begin(tarn_root_add(world, (void **)&registrations) == TARN_OK &&
             tarn_root_add(world, (void **)&finalizations) == TARN_OK &&
             (finalizations = make_guardian(vm, 0, NULL)));
}
