/* SPDX-License-Identifier: MIT */
/*
 * os/probes.h: static probes of the provider `tarn`, for bpftrace, perf, SystemTap and gdb.
 *
 * Each is one nop and a note in the ELF file that says where its arguments are.  In the lowest
 * layer, so that every layer can have some.  doc/logs.md lists them; a probe there is a promise.
 */
#ifndef TARN_OS_PROBES_H
#define TARN_OS_PROBES_H

/* The header is of systemtap-sdt-dev, and needed for building only. */
#if !defined(TARN_NO_PROBES) && defined(__has_include)
#if __has_include(<sys/sdt.h>)
#include <sys/sdt.h>
#define TARN_HAS_PROBES 1
#ifdef __clang__ /* its macros leave out arguments, where they are used */
#pragma clang diagnostic ignored "-Wgnu-zero-variadic-macro-arguments"
#endif
#endif
#endif

#ifdef TARN_HAS_PROBES
#define TARN_PROBE1(name, a) DTRACE_PROBE1(tarn, name, a)
#define TARN_PROBE2(name, a, b) DTRACE_PROBE2(tarn, name, a, b)
#define TARN_PROBE3(name, a, b, c) DTRACE_PROBE3(tarn, name, a, b, c)
#define TARN_PROBE4(name, a, b, c, d) DTRACE_PROBE4(tarn, name, a, b, c, d)
#else
#define TARN_HAS_PROBES 0
#define TARN_PROBE1(name, a) ((void)(a))
#define TARN_PROBE2(name, a, b) ((void)(a), (void)(b))
#define TARN_PROBE3(name, a, b, c) ((void)(a), (void)(b), (void)(c))
#define TARN_PROBE4(name, a, b, c, d) ((void)(a), (void)(b), (void)(c), (void)(d))
#endif

#endif
