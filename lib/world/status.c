/* SPDX-License-Identifier: MIT */
/*
 * world/status.c: status codes in words, and the version.
 */
#include <tarn/base.h>

static const char *const sentences[] = {
    [TARN_OK] = "no error",
    [TARN_EINVAL] = "an argument is NULL or out of range",
    [TARN_ENOMEM] = "out of memory",
    [TARN_ELIMIT] = "the hard limit is reached",
    [TARN_EOVERFLOW] = "a size is larger than any object may be",
    [TARN_EOPTION] = "an option is wrong",
    [TARN_EHELP] = "the help was asked for and printed",
    [TARN_EDETACHED] = "the thread is not attached to the world",
    [TARN_EWRONGTHREAD] = "the handle belongs to another thread",
    [TARN_EHELD] = "not possible while collections are held off or inside a called function",
    [TARN_EUNBALANCED] = "a hold, frame or blocked region was left open, or closed twice",
    [TARN_ETHREADS] = "too many threads are attached",
    [TARN_EWORLDS] = "no room for another world",
    [TARN_ETYPE] = "the type description makes no sense",
    [TARN_EBUSY] = "something is still in use",
    [TARN_ENOTFOUND] = "nothing of that kind is registered",
    [TARN_ECORRUPT] = "an invariant of the heap is broken",
    [TARN_ESYSTEM] = "a system call failed",
    [TARN_EDISABLED] = "switched off by an option",
    [TARN_EKIND] = "not possible in a world of this kind",
};

const char *tarn_strerror(tarn_status status) {
  size_t index = (size_t)status;
  return index < sizeof sentences / sizeof *sentences ? sentences[index] : "unknown status";
}

#define TEXT2(number) #number
#define TEXT(number) TEXT2(number)

const char *tarn_version(void) {
  return TEXT(TARN_VERSION_MAJOR) "." TEXT(TARN_VERSION_MINOR) "." TEXT(TARN_VERSION_PATCH);
}
