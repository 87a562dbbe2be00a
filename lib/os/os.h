/* SPDX-License-Identifier: MIT */
/*
 * os/os.h: everything that asks the kernel: pages, waiting, clocks, the last words before an abort.
 *
 * Nothing here allocates and nothing here keeps state, apart from the fault injection of builds
 * with TARN_FAULTS.  Any thread, any time.
 */
#ifndef TARN_OS_OS_H
#define TARN_OS_OS_H

#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <tarn/base.h>

#ifndef TARN_CHECKING
#define TARN_CHECKING 0
#endif
#ifndef TARN_HARDENED
#define TARN_HARDENED 0
#endif
#ifndef TARN_FAULTS
#define TARN_FAULTS 0
#endif
#ifndef TARN_ZEAL
#define TARN_ZEAL 0
#endif
#ifndef TARN_DELAYS
#define TARN_DELAYS 0
#endif

#if defined(__SANITIZE_THREAD__)
#define TARN_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TARN_TSAN 1
#endif
#endif
#ifndef TARN_TSAN
#define TARN_TSAN 0
#endif

#if defined(__SANITIZE_ADDRESS__)
#define TARN_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TARN_ASAN 1
#endif
#endif
#ifndef TARN_ASAN
#define TARN_ASAN 0
#endif

/* Stands between two steps of a protocol of threads.  In builds with TARN_DELAYS the thread waits
 * there now and then, so that others come in between that hardly ever would. */
#if TARN_DELAYS
void tarn_os_delay(void);
#define TARN_DELAY() tarn_os_delay()
#else
#define TARN_DELAY() ((void)0)
#endif

/* In checking builds a broken invariant of the library itself ends the process here. */
#if TARN_CHECKING
#define TARN_ASSERT(condition) \
  ((condition) ? (void)0       \
               : tarn_os_die("tarn: %s:%d: assertion failed: %s", __FILE__, __LINE__, #condition))
#else
#define TARN_ASSERT(condition) ((void)sizeof(condition))
#endif

/* --- pages (pages.c) ------------------------------------------------------------------------- */

size_t tarn_os_page_size(void);

/* Address space without memory; NULL if there is none. */
void *tarn_os_reserve(size_t bytes);

/* Makes reserved pages readable: they read as zero, and take neither memory nor commit charge. */
bool tarn_os_show(void *address, size_t bytes);

/* Makes reserved pages readable and writable; zero at first. */
bool tarn_os_commit(void *address, size_t bytes);

/* Zeroed memory of its own; NULL if there is none.  `tarn_os_unmap` also ends reservations. */
void *tarn_os_map(size_t bytes);
/* Makes such memory larger, whole pages both; it may move.  No page is copied, nor touched.  NULL:
 * there is none, and nothing changed. */
void *tarn_os_remap(void *address, size_t bytes, size_t more);
void tarn_os_unmap(void *address, size_t bytes);

/* Gives the pages' memory back; they read as zero afterwards.  False: nothing changed. */
bool tarn_os_purge(void *address, size_t bytes);

/* Brings memory to pages all at once, as a write to each of them would.  Only advice: where it
 * fails or the system (Linux before 5.14) has no such call, the pages come as they are touched. */
void tarn_os_populate(void *address, size_t bytes);

/* How pages were made so that a touch of them is a fault. */
typedef enum tarn_guard_kind {
  TARN_GUARD_NONE = 0,
  TARN_GUARD_MARKED = 1,   /* in the page table; what they held is lost.  Linux 6.13 */
  TARN_GUARD_PROTECTED = 2 /* as a mapping of its own */
} tarn_guard_kind;
/* Makes pages so, and takes it back; false: nothing changed.  Both keep errno. */
bool tarn_os_guard(void *address, size_t bytes, tarn_guard_kind kind);
bool tarn_os_unguard(void *address, size_t bytes, tarn_guard_kind kind);

/* Asks for huge pages where they fit, or takes that back.  Only advice: nothing depends on it. */
void tarn_os_huge_pages(void *address, size_t bytes, bool on);

/* Builds with TARN_FAULTS: the `nth` page request from now on fails, once; 0 switches that off. */
void tarn_os_fault_at(uint64_t nth);
/* Page requests since the last tarn_os_fault_at. */
uint64_t tarn_os_fault_count(void);
/* The same builds: while a kind is switched on, all its calls fail. */
enum {
  TARN_FAULT_PURGE = 1u << 0,   /* tarn_os_purge */
  TARN_FAULT_THREAD = 1u << 1,  /* tarn_os_start_thread */
  TARN_FAULT_POPULATE = 1u << 2 /* tarn_os_populate */
};
void tarn_os_fault_kinds(unsigned kinds);
bool tarn_os_fault_is_on(unsigned kind);

/* --- threads (spawn.c) ----------------------------------------------------------------------- */

/*
 * Runs `fn(data)` in a thread of the library's own: detached, with a small stack and all signals
 * blocked.  False: the system has none to give.  May call malloc, so the caller holds no lock.
 */
bool tarn_os_start_thread(void *(*fn)(void *), void *data);

/* Names the calling thread, in at most 15 bytes. */
void tarn_os_set_thread_name(const char *name);

/* --- locks, waiting (park.c)
 * ------------------------------------------------------------------------ */

/* A mutex that spins a little before it sleeps: for locks that are held for less than a system call
 * takes. */
void tarn_os_lock_init(pthread_mutex_t *lock);

/*
 * Sleeps while `*word == value`, until woken, for at most `timeout_ns` (0: no limit).  May return
 * for no reason.  `word` is accessed atomically.
 */
void tarn_os_wait(uint32_t *word, uint32_t value, uint64_t timeout_ns);
void tarn_os_wake_all(uint32_t *word);
void tarn_os_wake_one(uint32_t *word);

/* One turn of a short spin. */
static inline void tarn_os_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ __volatile__("isb" ::: "memory");
#endif
}

/* --- clocks, names, messages (say.c) --------------------------------------------------------- */

uint64_t tarn_os_now(void); /* monotonic, nanoseconds */
/* Monotonic milliseconds that wrap, as exact as the system's tick (1 to 10 ms); a few
 * nanoseconds. */
uint32_t tarn_os_ticks(void);

/* The calling thread's name as the system has it, and its kernel id. */
void tarn_os_thread_name(char *buffer, size_t size);
int tarn_os_thread_id(void);

/* The calling thread's C stack: its lowest and one past its highest address. */
bool tarn_os_stack_bounds(uintptr_t *low, uintptr_t *high);

/* What the kernel says that a thread of the process does ("sleeping in futex (futex_do_wait)"), and
 * where an address of code lies ("serve+0x31 (httpd+0x4531)").  Reads files, takes no lock. */
void tarn_os_thread_state(int id, char *text, size_t size);          /* task.c */
void tarn_os_code_place(uintptr_t address, char *text, size_t size); /* module.c */

/* One line on standard error with one write; the newline is added. */
void tarn_os_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
void tarn_os_say_va(const char *format, va_list arguments);

/* The same, then abort. */
_Noreturn void tarn_os_die(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
