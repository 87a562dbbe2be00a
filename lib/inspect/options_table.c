/* SPDX-License-Identifier: MIT */
/*
 * The table of options. See options.h. Its order is the order of the help and of the manual page:
 * by group, within a group the most useful first. The texts are printed as they stand, and once
 * more as mdoc and markdown: no markup, no quotation of the defaults and ranges, which are printed
 * from the numbers.
 */
#include "inspect/options.h"

#include <limits.h>
#include <signal.h>
#include <string.h>
#include <tarn/profile.h>

#define KIB ((uint64_t)1 << 10)
#define MIB ((uint64_t)1 << 20)
#define TIB ((uint64_t)1 << 40)
#define US ((uint64_t)1000)
#define HOUR (3600 * US * US * US)

#define FIELD(name) .offset = offsetof(struct tarn_config, name)

static const struct tarn_option_flag log_subjects[] = {
    {"gc", TARN_LOG_GC},
    {"safepoint", TARN_LOG_SAFEPOINT},
    {"heap", TARN_LOG_HEAP},
    {"thread", TARN_LOG_THREAD},
    {NULL, 0},
};

static const struct tarn_option_flag trace_levels[] = {
    {"info", TARN_TRACE_INFO},
    {"debug", TARN_TRACE_DEBUG},
    {NULL, 0},
};

static const struct tarn_option_flag snapshot_signals[] = {
    {"hup", SIGHUP},   {"quit", SIGQUIT},   {"usr1", SIGUSR1},
    {"usr2", SIGUSR2}, {"winch", SIGWINCH}, {NULL, 0},
};

static const struct tarn_option_flag generation_flags[] = {
    {"pools", TARN_GENERATIONS_POOLS},
    {"first-pool", TARN_GENERATIONS_FIRST_POOL},
    {NULL, 0},
};

const struct tarn_option tarn_option_table[] = {
    {.name = "hard-limit",
     .help = "The memory of a world never exceeds it: an allocation that would do so runs a full "
             "collection first, and fails if that does not help. When several of these in a row "
             "found next to nothing, allocations fail without one for a short while. External "
             "bytes do not count here.",
     .kind = TARN_KIND_MEMORY,
     .group = TARN_GROUP_MEMORY,
     .zero = "none",
     .initial = 0,
     .minimum = MIB,
     .maximum = 16 * TIB,
     FIELD(hard_limit)},
    {.name = "soft-limit",
     .help = "Above it Tarn collects rather than let the heap grow, as far as soft-share allows, "
             "but no allocation fails because of it. External bytes that the program has told of "
             "count. Not above the hard limit.",
     .kind = TARN_KIND_MEMORY,
     .group = TARN_GROUP_MEMORY,
     .zero = "none",
     .initial = 0,
     .minimum = MIB,
     .maximum = 16 * TIB,
     FIELD(soft_limit)},
    {.name = "soft-share",
     .help = "Percentage of the time that collections may take because of the soft limit. With "
             "live memory so near to it, or above, that they would take more, the heap grows "
             "beyond the limit instead, but not further than without one.",
     .kind = TARN_KIND_PERCENT,
     .group = TARN_GROUP_MEMORY,
     .initial = 50,
     .minimum = 1,
     .maximum = 99,
     FIELD(soft_share)},
    {.name = "near-limit",
     .help = "The callback of tarn_world_set_near_limit is called when a full collection leaves "
             "more than this percentage of the hard limit in use.",
     .kind = TARN_KIND_PERCENT,
     .group = TARN_GROUP_MEMORY,
     .initial = 90,
     .minimum = 1,
     .maximum = 100,
     FIELD(near_limit)},
    {.name = "retain",
     .help = "Free pool memory that is kept after a full collection, as percentage of the live "
             "bytes, but at least about what is used until the next one; the rest goes back to the "
             "system. What is kept goes back when nothing was allocated for twice purge-delay.",
     .kind = TARN_KIND_PERCENT,
     .group = TARN_GROUP_MEMORY,
     .initial = 25,
     .minimum = 0,
     .maximum = 1000,
     FIELD(retain)},
    {.name = "purge-delay",
     .help = "Memory that is free for so long goes back to the system, but for what a world with a "
             "collector is about to use again (see retain). Less saves memory, more saves page "
             "faults.",
     .kind = TARN_KIND_DURATION,
     .group = TARN_GROUP_MEMORY,
     .zero = "at once",
     .initial = 1000 * 1000 * US,
     .minimum = 1000 * US,
     .maximum = HOUR,
     FIELD(purge_delay_ns)},
    {.name = "purger",
     .help = "A background thread gives memory back; it exists only while there is some. When "
             "off, threads that free or allocate do so when they notice that it is time, and an "
             "idle program keeps what it has.",
     .kind = TARN_KIND_BOOL,
     .group = TARN_GROUP_MEMORY,
     .initial = 1,
     FIELD(purger)},
    {.name = "huge-pages",
     .help = "Ask for transparent huge pages in an arena (16 MiB) as soon as more than half of it "
             "is in use. Faster where much memory is touched; costs up to 2 MiB for each piece "
             "of an arena that stays unused.",
     .kind = TARN_KIND_BOOL,
     .group = TARN_GROUP_MEMORY,
     .initial = 0,
     FIELD(huge_pages)},
    {.name = "huge-pages-from",
     .help = "Once a world with a collector holds so much, its new arenas, and the mark bytes of "
             "all worlds, are asked for as huge pages from the start. Collections of large heaps "
             "take less time; what of it stays unused costs up to 2 MiB for each arena and for "
             "each 32 MiB of heap with marks.",
     .kind = TARN_KIND_SIZE,
     .group = TARN_GROUP_MEMORY,
     .zero = "never",
     .initial = 64 * MIB,
     .minimum = MIB,
     .maximum = 16 * TIB,
     FIELD(huge_from)},
    {.name = "populate",
     .help = "Ask the system for several pages of a pool at once while it fills up, rather than "
             "for each by a fault, in worlds with a collector. Faster; costs up to three quarters "
             "of a pool (64 KiB) for each size that a thread uses little of.",
     .kind = TARN_KIND_BOOL,
     .group = TARN_GROUP_MEMORY,
     .initial = 1,
     FIELD(populate)},
    {.name = "address-space",
     .help = "Address space to reserve for the heaps of all worlds together; reserved is not "
             "used. The first world of a process decides. Automatic: 64 GiB or twice the "
             "memory, whichever is more, and less where the system grants less.",
     .kind = TARN_KIND_SIZE,
     .group = TARN_GROUP_MEMORY,
     .zero = "automatic",
     .initial = 0,
     .minimum = 16 * MIB,
     .maximum = 16 * TIB,
     FIELD(address_space)},
    {.name = "collect",
     .help = "Collect automatically. When off, only tarn_collect and a limit in the way of an "
             "allocation start a collection.",
     .kind = TARN_KIND_BOOL,
     .group = TARN_GROUP_COLLECTOR,
     .initial = 1,
     FIELD(collect)},
    {.name = "min-heap",
     .help = "Bytes allocated, external ones among them, before an automatic full collection is "
             "considered. Where young objects are collected alone, the first collection, which "
             "is a full one, comes after the bytes of `young` already.",
     .kind = TARN_KIND_SIZE,
     .group = TARN_GROUP_COLLECTOR,
     .initial = 16 * MIB,
     .minimum = 64 * KIB,
     .maximum = 16 * TIB,
     FIELD(min_heap)},
    {.name = "growth",
     .help = "Collect when the bytes allocated since the last collection exceed this percentage "
             "of the live bytes; external bytes count on both sides. Less saves memory, more "
             "saves time.",
     .kind = TARN_KIND_PERCENT,
     .group = TARN_GROUP_COLLECTOR,
     .initial = 100,
     .minimum = 10,
     .maximum = 1000,
     FIELD(growth)},
    {.name = "generations",
     .help = "Collect young objects alone, most of the time: those in pools that were allocated "
             "from since the last collection, or, with first-pool, in the one pool of each size "
             "that a thread allocates from at the moment. With none every collection is a full "
             "one, as it is in programs that do not use the barriers of tarn/store.h.",
     .kind = TARN_KIND_FLAGS,
     .group = TARN_GROUP_COLLECTOR,
     .flags = generation_flags,
     .initial = TARN_GENERATIONS_POOLS,
     FIELD(generations)},
    {.name = "young",
     .help = "Bytes allocated before young objects are collected. Less makes pauses shorter and "
             "memory hotter, more lets fewer objects survive. When many survive it is more for a "
             "while.",
     .kind = TARN_KIND_SIZE,
     .group = TARN_GROUP_COLLECTOR,
     .initial = 4 * MIB,
     .minimum = 64 * KIB,
     .maximum = 16 * TIB,
     FIELD(young)},
    {.name = "young-share",
     .help =
         "While young collections take more than this percentage of the time, they come after "
         "up to sixteen times the bytes of `young`, unless one takes more than 10 milliseconds, "
         "or it would be more than half of what the heap may grow by. Less saves time, more "
         "saves memory.",
     .kind = TARN_KIND_PERCENT,
     .group = TARN_GROUP_COLLECTOR,
     .zero = "never",
     .initial = 10,
     .minimum = 1,
     .maximum = 99,
     FIELD(young_share)},
    {.name = "sweeper",
     .help = "A background thread sweeps what a full collection left, ahead of the threads that "
             "want the memory. When off, or on a machine with one CPU, they do it themselves, "
             "piece by piece.",
     .kind = TARN_KIND_BOOL,
     .group = TARN_GROUP_COLLECTOR,
     .initial = 1,
     FIELD(sweeper)},
    {.name = "idle-collect",
     .help = "When nothing was allocated for so long, and something worth it since the last full "
             "collection, a background thread collects, so that an idle program gives back what "
             "it does not use. It gives up when a thread does not come to a safepoint within 5 "
             "milliseconds. Obeys `collect`.",
     .kind = TARN_KIND_DURATION,
     .group = TARN_GROUP_COLLECTOR,
     .zero = "never",
     .initial = 10 * 1000 * 1000 * US,
     .minimum = 1000 * US,
     .maximum = HOUR,
     FIELD(idle_collect_ns)},
    {.name = "mark-stack",
     .help = "Largest mark stack. When it is full, marking goes on by scanning the heap again: "
             "slower, but with bounded memory.",
     .kind = TARN_KIND_SIZE,
     .group = TARN_GROUP_COLLECTOR,
     .zero = "no limit",
     .initial = 0,
     .minimum = 4 * KIB,
     .maximum = TIB,
     FIELD(mark_stack)},
    {.name = "markers",
     .help =
         "Threads that mark in a collection, the collecting one among them. The others are made "
         "after the first collection that had work for them, and sleep between collections.",
     .kind = TARN_KIND_NUMBER,
     .group = TARN_GROUP_COLLECTOR,
     .zero = "one for each CPU that the process may use, at most 8",
     .initial = 0,
     .minimum = 1,
     .maximum = 64,
     FIELD(markers)},
    {.name = "scan-stack",
     .help = "Scan the C stacks and registers of attached threads conservatively, unless a "
             "thread says otherwise with tarn_thread_scan_stack.",
     .kind = TARN_KIND_BOOL,
     .group = TARN_GROUP_THREADS,
     .initial = 0,
     FIELD(scan_stack)},
    {.name = "max-threads",
     .help = "Threads that may be attached to a world at the same time.",
     .kind = TARN_KIND_NUMBER,
     .group = TARN_GROUP_THREADS,
     .initial = 4096,
     .minimum = 1,
     .maximum = 65536,
     FIELD(max_threads)},
    {.name = "stop-timeout",
     .help = "When stopping the world takes longer, a line on standard error for each thread that "
             "is waited for says where it was seen last and what it does; again each time that it "
             "has taken twice as long.",
     .kind = TARN_KIND_DURATION,
     .group = TARN_GROUP_THREADS,
     .zero = "off",
     .initial = 0,
     .minimum = US,
     .maximum = HOUR,
     FIELD(stop_timeout_ns)},
    {.name = "help",
     .help = "Print the table of options. tarn_world_create then makes no world and returns "
             "TARN_EHELP.",
     .kind = TARN_KIND_BOOL,
     .group = TARN_GROUP_DIAGNOSTICS,
     .initial = 0,
     FIELD(help)},
    {.name = "show-config",
     .help = "Print every value and where it came from when a world is created.",
     .kind = TARN_KIND_BOOL,
     .group = TARN_GROUP_DIAGNOSTICS,
     .initial = 0,
     FIELD(show_config)},
    {.name = "strict",
     .help = "Options that are unknown, malformed or out of range make tarn_world_create return "
             "TARN_EOPTION.",
     .kind = TARN_KIND_BOOL,
     .group = TARN_GROUP_DIAGNOSTICS,
     .initial = 0,
     FIELD(strict)},
    {.name = "log",
     .help =
         "Lines on standard error, or in the file that is named behind `:file=` or by log-file: "
         "gc writes one for each collection with its cause and phases, safepoint one for each stop "
         "of the world with the thread that was last, heap one when memory comes or goes, thread "
         "one when a thread does. Each has more at level debug; doc/logs.md has their fields.",
     .kind = TARN_KIND_LEVELS,
     .group = TARN_GROUP_DIAGNOSTICS,
     .flags = log_subjects,
     .initial = 0,
     FIELD(log)},
    {.name = "log-file",
     .help = "The file that the lines of log are appended to, all others still going to standard "
             "error.",
     .kind = TARN_KIND_PATH,
     .group = TARN_GROUP_DIAGNOSTICS,
     .zero = "standard error",
     FIELD(log_file)},
    {.name = "snapshot-signal",
     .help = "A signal that asks a running program for a heap snapshot, as in kill -USR2: a thread "
             "of the library's own writes it, with the world stopped, after a full collection. A "
             "signal that the program handles itself already is left alone.",
     .kind = TARN_KIND_CHOICE,
     .group = TARN_GROUP_DIAGNOSTICS,
     .zero = "none",
     .flags = snapshot_signals,
     .initial = 0,
     FIELD(snapshot_signal)},
    {.name = "snapshot",
     .help = "The files of snapshots by signal and at exit. They open in the Memory panel of "
             "Chrome's DevTools.",
     .kind = TARN_KIND_PATH,
     .group = TARN_GROUP_DIAGNOSTICS,
     .zero = "tarn-%p-%w-%n.heapsnapshot",
     FIELD(snapshot)},
    {.name = "snapshot-at-exit",
     .help = "Write a snapshot when a world is destroyed, or the process exits and it was not. "
             "Given up when some thread does not come to a safepoint within some seconds.",
     .kind = TARN_KIND_BOOL,
     .group = TARN_GROUP_DIAGNOSTICS,
     .initial = 0,
     FIELD(snapshot_at_exit)},
    {.name = "metrics",
     .help = "The statistics of a world are written there when it ends, or when the process exits: "
             "as JSON if the name ends in .json, else as OpenMetrics. See doc/metrics.md.",
     .kind = TARN_KIND_PATH,
     .group = TARN_GROUP_DIAGNOSTICS,
     .zero = "none",
     FIELD(metrics)},
    {.name = "metrics-every",
     .help = "They are written there again and again, each time after so long, by a thread of the "
             "library's own. Readers find the file whole at any time.",
     .kind = TARN_KIND_DURATION,
     .group = TARN_GROUP_DIAGNOSTICS,
     .zero = "at the end only",
     .initial = 0,
     .minimum = 10 * 1000 * US,
     .maximum = 24 * HOUR,
     FIELD(metrics_every_ns)},
    {.name = "profile",
     .help = "A sampled profile of a world's allocations, and of what is in use, is made from its "
             "beginning, and written there when it ends or the process exits: as folded stacks if "
             "the name ends in .folded (.inuse.folded: of what is in use), else for pprof. See "
             "doc/profiling.md.",
     .kind = TARN_KIND_PATH,
     .group = TARN_GROUP_DIAGNOSTICS,
     .zero = "none",
     FIELD(profile)},
    {.name = "profile-rate",
     .help = "About one allocation in so many bytes is a sample. Less shows more, and costs more.",
     .kind = TARN_KIND_SIZE,
     .group = TARN_GROUP_DIAGNOSTICS,
     .initial = MIB,
     .minimum = 1,
     .maximum = TARN_PROFILE_RATE_MOST,
     FIELD(profile_rate)},
    {.name = "trace",
     .help = "A file of what happens when, with every phase of every pause and what threads waited "
             "for, in the Trace Event Format, which Perfetto, speedscope and the tools of browsers "
             "open. Each world and process needs one of its own.",
     .kind = TARN_KIND_PATH,
     .group = TARN_GROUP_DIAGNOSTICS,
     .zero = "none",
     FIELD(trace)},
    {.name = "trace-level",
     .help =
         "With debug a trace has the blocked regions of threads as well, which may be very many.",
     .kind = TARN_KIND_CHOICE,
     .group = TARN_GROUP_DIAGNOSTICS,
     .flags = trace_levels,
     .initial = TARN_TRACE_INFO,
     FIELD(trace_level)},
    {.name = "live",
     .help = "Show what the world does to `tarn top`, and let `tarn snapshot` ask for one: in a "
             "file that only the owner may read, in /dev/shm or XDG_RUNTIME_DIR, which is removed "
             "at the end. A thread fills it four times a second.",
     .kind = TARN_KIND_BOOL,
     .group = TARN_GROUP_DIAGNOSTICS,
     .initial = 0,
     FIELD(live)},
    {.name = "verify",
     .help = "Check every invariant of the heap after each collection. Slow.",
     .kind = TARN_KIND_BOOL,
     .group = TARN_GROUP_DIAGNOSTICS,
     .initial = 0,
     FIELD(verify)},
    {.name = "zeal",
     .help = "Collect at every Nth allocation, to find missing roots early. Only builds with "
             "TARN_ZEAL obey it.",
     .kind = TARN_KIND_COUNT,
     .group = TARN_GROUP_TESTING,
     .build = TARN_BUILD_ZEAL,
     .initial = 1,
     .minimum = 1,
     .maximum = 1000000000,
     FIELD(zeal)},
    {.name = "apart",
     .help = "Every Nth allocation that leaves the inlined paths, about, lies alone in units of 64 "
             "KiB, with what it was, who made it and who ended it on record: errors are reported "
             "with that, and an access to it when it has died ends the process with such a report "
             "(see trap). 1: every allocation, for finding errors in small programs: each takes a "
             "page and 64 KiB of address space. 1000 or more: some, at next to no cost.",
     .kind = TARN_KIND_NUMBER,
     .group = TARN_GROUP_TESTING,
     .zero = "none",
     .initial = 0,
     .minimum = 1,
     .maximum = 1000000000,
     FIELD(apart)},
    {.name = "trap",
     .help = "Units of 64 KiB that become free, pools as well as large objects, cannot be touched "
             "until so much address space became free after them. Their memory goes back at once.",
     .kind = TARN_KIND_SIZE,
     .group = TARN_GROUP_TESTING,
     .zero = "off, but 1 GiB with apart",
     .initial = 0,
     .minimum = 64 * KIB,
     .maximum = 16 * TIB,
     FIELD(trap)},
    {.name = "stacks",
     .help = "The records of blocks that are apart tell by which calls they were made and freed, "
             "too.",
     .kind = TARN_KIND_BOOL,
     .group = TARN_GROUP_TESTING,
     .initial = 0,
     FIELD(stacks)},
    {.name = "fault-mmap",
     .help = "The Nth request to the system for pages fails, to test what happens then. Only "
             "builds with TARN_FAULTS know it.",
     .kind = TARN_KIND_COUNT,
     .group = TARN_GROUP_TESTING,
     .build = TARN_BUILD_FAULTS,
     .zero = "off",
     .initial = 0,
     .minimum = 1,
     .maximum = 1000000000,
     FIELD(fault_mmap)},
};

const size_t tarn_option_count = sizeof tarn_option_table / sizeof tarn_option_table[0];

_Static_assert(sizeof tarn_option_table / sizeof tarn_option_table[0] <= TARN_OPTION_MAX,
               "TARN_OPTION_MAX is too small");

const char *tarn_option_group_name(enum tarn_option_group group) {
  static const char *const names[TARN_GROUP_COUNT] = {[TARN_GROUP_MEMORY] = "Memory",
                                                      [TARN_GROUP_COLLECTOR] = "Collector",
                                                      [TARN_GROUP_THREADS] = "Threads",
                                                      [TARN_GROUP_DIAGNOSTICS] = "Diagnostics",
                                                      [TARN_GROUP_TESTING] = "Testing programs"};
  return names[group];
}

const char *tarn_option_kind_name(const struct tarn_option *option) {
  switch (option->kind) {
  case TARN_KIND_SIZE:
    return "size";
  case TARN_KIND_MEMORY:
    return "memory";
  case TARN_KIND_PERCENT:
    return "percentage";
  case TARN_KIND_COUNT:
  case TARN_KIND_NUMBER:
    return "count";
  case TARN_KIND_BOOL:
    return "switch";
  case TARN_KIND_FLAGS:
    return "flags";
  case TARN_KIND_LEVELS:
    return "levels";
  case TARN_KIND_CHOICE:
    return "word";
  case TARN_KIND_DURATION:
    return "duration";
  case TARN_KIND_PATH:
    return "path";
  }
  return "value";
}

bool tarn_option_known(const struct tarn_option *option) {
#if TARN_FAULTS
  (void)option;
  return true;
#else
  return option->build != TARN_BUILD_FAULTS;
#endif
}

bool tarn_option_effective(const struct tarn_option *option) {
#if TARN_ZEAL
  return tarn_option_known(option);
#else
  return tarn_option_known(option) && option->build != TARN_BUILD_ZEAL;
#endif
}

bool tarn_option_has_range(const struct tarn_option *option) {
  return !option->flags && option->kind != TARN_KIND_BOOL && option->kind != TARN_KIND_PATH;
}

uint64_t tarn_option_get(const struct tarn_option *option, const struct tarn_config *config) {
  const void *field = (const char *)config + option->offset;
  switch (option->kind) {
  case TARN_KIND_SIZE:
  case TARN_KIND_MEMORY:
    return *(const size_t *)field;
  case TARN_KIND_PERCENT:
  case TARN_KIND_NUMBER:
  case TARN_KIND_FLAGS:
  case TARN_KIND_LEVELS:
  case TARN_KIND_CHOICE:
    return *(const unsigned *)field;
  case TARN_KIND_BOOL:
    return *(const bool *)field;
  case TARN_KIND_COUNT:
  case TARN_KIND_DURATION:
    return *(const uint64_t *)field;
  case TARN_KIND_PATH:
    return *(const char *)field != '\0';
  }
  return 0;
}

void tarn_option_put(const struct tarn_option *option, struct tarn_config *config, uint64_t value) {
  void *field = (char *)config + option->offset;
  switch (option->kind) {
  case TARN_KIND_SIZE:
  case TARN_KIND_MEMORY:
    *(size_t *)field = value > SIZE_MAX ? SIZE_MAX : (size_t)value;
    break;
  case TARN_KIND_PERCENT:
  case TARN_KIND_NUMBER:
  case TARN_KIND_FLAGS:
  case TARN_KIND_LEVELS:
  case TARN_KIND_CHOICE:
    *(unsigned *)field = value > UINT_MAX ? UINT_MAX : (unsigned)value;
    break;
  case TARN_KIND_BOOL:
    *(bool *)field = value != 0;
    break;
  case TARN_KIND_COUNT:
  case TARN_KIND_DURATION:
    *(uint64_t *)field = value;
    break;
  case TARN_KIND_PATH:
    *(char *)field = '\0';
    break;
  }
}

void tarn_option_put_text(const struct tarn_option *option, struct tarn_config *config,
                          const char *text, size_t length, uint64_t value) {
  tarn_option_put(option, config, value);
  if (option->kind == TARN_KIND_PATH && value && length < TARN_PATH_ROOM) {
    char *field = (char *)config + option->offset;
    memcpy(field, text, length);
    field[length] = '\0';
  }
}
