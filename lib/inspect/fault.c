/* SPDX-License-Identifier: MIT */
/*
 * inspect/fault.c: faults in the heap range are explained (options `apart` and `trap`).
 *
 * A handler for SIGSEGV and SIGBUS says what was at the address, if that is one that Tarn made
 * inaccessible, and then lets the fault take the course that it would have taken without it: the
 * handler that was there before, or a core.  The same for all other faults, of which it says
 * nothing.  A program that installs its own handler later may call tarn_describe there.
 */
#include "inspect/events.h"
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#define ROOM ((uintptr_t)16 << 10)

static struct sigaction before_segv, before_bus; /* written once, before ours is there */
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* --- what it was ----------------------------------------------------------------------------- */

static const char *cause_of(const struct tarn_record *record) {
  switch ((tarn_fate)record->fate) {
  case TARN_FATE_FREED:
    return "use after free";
  case TARN_FATE_COLLECTED:
    return "use of what a collection took: a root or a write barrier is missing";
  case TARN_FATE_DROPPED:
    return "use after the heap was destroyed";
  case TARN_FATE_IN_USE:
    return "access beyond the end of a block";
  case TARN_FATE_NONE:
    break;
  }
  return "access to what cannot be touched";
}

/* Is there room for the rest of a report on the stack that this runs on?  Those for signals alone
 * are often 8 KiB, of which the system has taken half. */
static bool has_room(void) {
  stack_t now;
  return sigaltstack(NULL, &now) != 0 || !(now.ss_flags & SS_ONSTACK) ||
         (uintptr_t)&now - (uintptr_t)now.ss_sp > ROOM;
}

/* False: it is no address that was made inaccessible. */
static bool explain(uintptr_t address) {
  struct tarn_record record;
  uintptr_t block;
  if (!tarn_space_holds(address))
    return false;
  uint64_t map = tarn_map_get(tarn_unit_of(address));
  if (tarn_apart_find(address, &record, &block)) {
    tarn_os_say("tarn: fault at %p: %s", (void *)address, cause_of(&record));
    tarn_explain(address, has_room());
  } else if (map != 0 && tarn_map_world(map) == 0) {
    bool pool = tarn_map_form(map) == TARN_FORM_POOL;
    tarn_os_say("tarn: fault at %p: use of memory that was given back: %s%zu bytes%s",
                (void *)address, pool ? "a pool of blocks of " : "a large object of ",
                pool ? tarn_map_block_size(map) : tarn_map_low(map) * TARN_UNIT_SIZE,
                pool ? ", all of which had died" : " or less");
  } else {
    return false;
  }
  return true;
}

/* --- what becomes of it ---------------------------------------------------------------------- */

static const struct sigaction *before(int number) {
  return number == SIGBUS ? &before_bus : &before_segv;
}

/* As without us.  Where that is no function: the signal comes again, to whom it would have come. */
static void pass_on(int number, siginfo_t *info, void *context) {
  const struct sigaction *old = before(number);
  if (old->sa_flags & SA_SIGINFO) {
    old->sa_sigaction(number, info, context);
    return;
  }
  if (old->sa_handler != SIG_DFL && old->sa_handler != SIG_IGN) {
    old->sa_handler(number);
    return;
  }
  (void)sigaction(number, old, NULL);
  if (info->si_code <= 0) /* sent, not caused: it does not come by itself */
    (void)raise(number);
}

static void handle(int number, siginfo_t *info, void *context) {
  /* What was explained comes once more, and not to us. */
  if (info->si_code > 0 && explain((uintptr_t)info->si_addr))
    (void)sigaction(number, before(number), NULL);
  else
    pass_on(number, info, context);
}

static void install(void) {
  struct sigaction action = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_ONSTACK};
  (void)sigemptyset(&action.sa_mask);
  (void)sigaction(SIGSEGV, NULL, &before_segv);
  (void)sigaction(SIGBUS, NULL, &before_bus);
  (void)sigaction(SIGSEGV, &action, NULL);
  (void)sigaction(SIGBUS, &action, NULL);
}

void tarn_faults_watch(void) { (void)pthread_once(&once, install); }
