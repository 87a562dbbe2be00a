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

/* --- failures on purpose (fault.c) ----------------------------------------------------------- */

/*
 * In builds with TARN_FAULTS the calls of each kind are points that can be made to fail; in others
 * there are none, and what asks for them is nothing.  What happens at a point:
 */
enum {
  TARN_FAULT_PAGES = 1u << 0,    /* reserve, show, commit, map, remap: no memory (ENOMEM) */
  TARN_FAULT_PURGE = 1u << 1,    /* tarn_os_purge: as for locked pages (EINVAL) */
  TARN_FAULT_POPULATE = 1u << 2, /* tarn_os_populate: no memory (ENOMEM) */
  TARN_FAULT_HUGE = 1u << 3,     /* tarn_os_huge_pages: the system has none (EINVAL) */
  TARN_FAULT_GUARD = 1u << 4,    /* tarn_os_guard: too many mappings (ENOMEM) */
  TARN_FAULT_UNGUARD = 1u << 5,  /* tarn_os_unguard: the same, for its first way */
  TARN_FAULT_UNMAP = 1u << 6,    /* tarn_os_unmap: the same; the pages stay mapped */
  TARN_FAULT_THREAD = 1u << 7,   /* tarn_os_start_thread: too many (EAGAIN) */
  TARN_FAULT_KEY = 1u << 8,      /* tarn_os_make_key, tarn_os_set_key: no room (EAGAIN) */
  TARN_FAULT_ATFORK = 1u << 9,   /* tarn_os_at_fork: no memory (ENOMEM) */
  TARN_FAULT_STACK = 1u << 10,   /* tarn_os_stack_bounds, and of os/unwind.h: no memory (ENOMEM) */
  TARN_FAULT_WAIT = 1u << 11,    /* tarn_os_wait: returns at once, as by a signal (EINTR) */
  TARN_FAULT_WRITE = 1u << 12,   /* a write or a rename: nothing is written (ENOSPC) */
  TARN_FAULT_WRITE_SHORT = 1u << 13, /* a write: half of it, at least a byte, is written */
  TARN_FAULT_WRITE_AGAIN = 1u << 14, /* a write: interrupted before anything (EINTR) */
  TARN_FAULT_OPEN = 1u << 15,        /* tarn_os_open: too many open files (EMFILE) */
  TARN_FAULT_READ = 1u << 16,        /* a read: cannot be done (EIO) */
  TARN_FAULT_READ_AGAIN = 1u << 17,  /* an open or a read: interrupted before anything (EINTR) */
  TARN_FAULT_LIMITS = 1u << 18,      /* sysconf, getrlimit, sched_getaffinity: refused (EPERM) */
  TARN_FAULT_DUMP = 1u << 19         /* what is in core files: the system cannot choose (EINVAL) */
};
#define TARN_FAULT_KIND_COUNT 20u

/* The `nth` point of the kinds from now on fails, once; 0: none does, and they are counted.  Any
 * thread may come to it. */
void tarn_os_fault_nth(unsigned kinds, uint64_t nth);
/* The same for page requests. */
void tarn_os_fault_at(uint64_t nth);
/* Points of these kinds since. */
uint64_t tarn_os_fault_count(void);
/* While a kind is switched on, all its points fail; of those that are tried again, every other. */
void tarn_os_fault_kinds(unsigned kinds);

/* A point.  True: it fails, and errno is set. */
#if TARN_FAULTS
bool tarn_os_fails(unsigned kind);
#else
static inline bool tarn_os_fails(unsigned kind) {
  (void)kind;
  return false;
}
#endif

/* --- pages (pages.c) ------------------------------------------------------------------------- */

size_t tarn_os_page_size(void);

/* Address space without memory; NULL if there is none. */
void *tarn_os_reserve(size_t bytes);

/* Makes reserved pages readable: they read as zero, and take neither memory nor commit charge. */
bool tarn_os_show(void *address, size_t bytes);

/* Makes reserved pages readable and writable; zero at first. */
bool tarn_os_commit(void *address, size_t bytes);

/* Zeroed memory of its own; NULL if there is none.  `tarn_os_unmap` also ends reservations.  Where
 * the system refuses that (a mapping that would be cut in two, when there are too many), the memory
 * goes back all the same, and only the addresses stay taken. */
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
/* Makes pages so, and takes it back, if need be with fresh pages in their place, which are zero;
 * false: nothing changed.  Both keep errno. */
bool tarn_os_guard(void *address, size_t bytes, tarn_guard_kind kind);
bool tarn_os_unguard(void *address, size_t bytes, tarn_guard_kind kind);

/* Asks for huge pages where they fit, or takes that back.  Only advice: nothing depends on it. */
void tarn_os_huge_pages(void *address, size_t bytes, bool on);

/* --- memory that other processes see (share.c) --- */

/*
 * Zeroed memory that the processes of the same user may map as the file `path`, which is made for
 * the purpose; one that is there is removed first.  NULL: errno says why there is none, and there
 * is no file.  `tarn_os_unmap` and `tarn_os_remove` end it.
 */
void *tarn_os_share(const char *path, size_t bytes);
/* Where such files can be: directories in the order of their merit, NULL behind the last, and for
 * what a program that is setuid must not use. */
const char *tarn_os_shared_directory(unsigned which);
/* When the process began, in the kernel's ticks since the system did; 0: it cannot be told.  With
 * its number it names the process for good. */
uint64_t tarn_os_started(void);
/* The number of the process's PID namespace: in each the numbers of processes begin again.  0: it
 * cannot be told. */
unsigned tarn_os_pid_namespace(void);

/* --- threads (spawn.c) ----------------------------------------------------------------------- */

/*
 * Runs `fn(data)` in a thread of the library's own: detached, with a small stack and all signals
 * blocked.  False: the system has none to give.  May call malloc, so the caller holds no lock.
 */
bool tarn_os_start_thread(void *(*fn)(void *), void *data);

/* A key of thread-local data, its value in the calling thread, and functions for pthread_atfork.
 * False: the system has no room for more. */
bool tarn_os_make_key(pthread_key_t *key, void (*at_exit)(void *));
bool tarn_os_set_key(pthread_key_t key, const void *value);
bool tarn_os_at_fork(void (*before)(void), void (*parent)(void), void (*child)(void));

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

uint64_t tarn_os_now(void);  /* monotonic, nanoseconds */
uint64_t tarn_os_date(void); /* nanoseconds since 1970 */
/* Monotonic milliseconds that wrap, as exact as the system's tick (1 to 10 ms); a few
 * nanoseconds. */
uint32_t tarn_os_ticks(void);

/* The calling thread's name as the system has it, and its kernel id. */
void tarn_os_thread_name(char *buffer, size_t size);
int tarn_os_thread_id(void);

/* The calling thread's C stack: its lowest and one past its highest address.  False: errno says why
 * it cannot be told. */
bool tarn_os_stack_bounds(uintptr_t *low, uintptr_t *high);

/* What the kernel says that a thread of the process does ("sleeping in futex (futex_do_wait)"), and
 * where an address of code lies ("serve+0x31 (httpd+0x4531)").  Reads files, takes no lock. */
void tarn_os_thread_state(int id, char *text, size_t size);          /* task.c */
void tarn_os_code_place(uintptr_t address, char *text, size_t size); /* module.c */

/* An address of code, and in which function it lies: "serve", or "httpd+0x4531". */
struct tarn_os_spot {
  uintptr_t address;
  char function[128];
};
/* Names many at once, which are in ascending order: each file is read once.  May be slow. */
void tarn_os_code_functions(struct tarn_os_spot *spots, size_t count);

/* A mapping of code, with what names its file for good, if the file has such a thing. */
struct tarn_os_code {
  uintptr_t start, end, offset;
  char path[256];
  unsigned char id[32];
  size_t id_length;
};
/* Calls `fn` for each of the process's. */
void tarn_os_each_code(void (*fn)(const struct tarn_os_code *code, void *data), void *data);

/* The beginning of what can be read (file.c), an interrupted call tried again.  tarn_os_open: only
 * for reading; -1 if there is no such file.  The others: the number of bytes, less than `room` only
 * at the end, or when the system has no more to give now; 0 also when nothing could be read. */
int tarn_os_open(const char *path);
/* A file to write to, made for its owner alone unless it is there: emptied, or appended to.  What
 * the program's standard output or error goes to is gone on with.  -1: errno says why. */
int tarn_os_create(const char *path, bool append);
/* The same, emptied, unless it is a file that somebody else has opened in this way and not closed:
 * EBUSY, and it is as it was.  Not where the file system has no locks. */
int tarn_os_create_alone(const char *path);
/* Before such a file is closed: others can open it, even if it stays open in the child of a fork.
 */
void tarn_os_leave(int file);
/* The same, emptied, for whoever the process's umask lets read it. */
int tarn_os_create_shared(const char *path);
/* One that nobody had before, for its owner alone or as the umask says; what has the name is taken
 * away. */
int tarn_os_create_new(const char *path, bool shared);
/* Gives a file another name, in place of what has that; false: errno says why.  And takes a file
 * away. */
bool tarn_os_rename(const char *from, const char *to);
void tarn_os_remove(const char *path);
/* Is that a file, or a name for one to be?  A device, a pipe or a link (/dev/stdout is one) must
 * not be replaced. */
bool tarn_os_is_file(const char *path);
/* Is an open one a file, and not what the program's standard output or error goes to? */
bool tarn_os_is_own_file(int file);
/* False: what was written before may be lost; errno says why. */
bool tarn_os_close(int file);
size_t tarn_os_read(int file, void *to, size_t room);
size_t tarn_os_read_at(int file, void *to, size_t room, uint64_t offset);

/*
 * All of it, in several calls if one does not take everything.  Where nobody reads any more, or
 * there is no room, the rest is dropped, without a SIGPIPE or SIGXFSZ.  False: that happened, and
 * errno says why; else errno is kept.
 */
bool tarn_os_write(int file, const char *from, size_t size);

/* The same at an offset, which the next write takes no notice of; what cannot be written there is
 * dropped. */
void tarn_os_write_at(int file, const char *from, size_t size, uint64_t offset);

/* One line on standard error with one write; the newline is added. */
void tarn_os_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
void tarn_os_say_va(const char *format, va_list arguments);

/* The same, then abort. */
_Noreturn void tarn_os_die(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
