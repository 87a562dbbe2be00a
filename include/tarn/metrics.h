/* SPDX-License-Identifier: MIT */
/*
 * tarn/metrics.h: the statistics of a world (tarn/inspect.h) as text that monitoring reads.
 *
 * doc/metrics.md has each metric and each key.  The option `metrics` writes a file without a line
 * of the program's, when a world ends or the process exits, and every `metrics-every`.
 */
#ifndef TARN_METRICS_H
#define TARN_METRICS_H

#include <tarn/base.h>

TARN_BEGIN_DECLS

/* How they are written. */
typedef enum tarn_metrics_format {
  TARN_METRICS_OPENMETRICS = 0, /* application/openmetrics-text; version=1.0.0; charset=utf-8 */
  TARN_METRICS_JSON = 1         /* one object, on lines */
} tarn_metrics_format;

/*
 * Hands the world's statistics to a function, some kilobytes at a time; it may call what it likes,
 * but must not end the world.  The figures are those of tarn_stats_get, and histograms of pauses
 * since the world began. Numbers are whole, times exact to the nanosecond, and the locale changes
 * nothing.
 *
 * Errors: TARN_EINVAL; TARN_ENOMEM; TARN_ESYSTEM, errno being ECANCELED: the function refused.
 * Any thread, attached or not; stops nothing.  Cost: some 100 microseconds.
 */
TARN_API tarn_status tarn_metrics_write(tarn_world *world, tarn_metrics_format format,
                                        tarn_write_fn fn, void *data);

/*
 * The same into a file.  It is written under a name of its own (that of the file, numbers, .tmp)
 * in the same directory, and renamed when it is whole: readers see the old text or the new one.
 * What is no file, like /dev/stdout, is written to directly.  The umask says who may read it.
 * Errors: TARN_EINVAL; TARN_ENOMEM; TARN_ESYSTEM, with errno: what was there is still there.
 */
TARN_API tarn_status tarn_metrics_write_file(tarn_world *world, tarn_metrics_format format,
                                             const char *path);

TARN_END_DECLS

#endif
