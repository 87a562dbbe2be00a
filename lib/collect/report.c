/* SPDX-License-Identifier: MIT */
/*
 * collect/report.c: see collect/report.h.
 */
#include "collect/report.h"
#include "os/os.h"
#include "os/probes.h"

static const struct {
  const char *name;
  size_t offset; /* in tarn_collection */
} phases[TARN_PAUSE_PHASES] = {
    [TARN_PAUSE_STOP] = {"stop", offsetof(tarn_collection, stop_ns)},
    [TARN_PAUSE_PREPARE] = {"prepare", offsetof(tarn_collection, prepare_ns)},
    [TARN_PAUSE_ROOTS] = {"roots", offsetof(tarn_collection, roots_ns)},
    [TARN_PAUSE_MARK] = {"mark", offsetof(tarn_collection, mark_ns)},
    [TARN_PAUSE_WEAK] = {"weak", offsetof(tarn_collection, weak_ns)},
    [TARN_PAUSE_CENSUS] = {"census", offsetof(tarn_collection, census_ns)},
    [TARN_PAUSE_REST] = {"rest", offsetof(tarn_collection, rest_ns)},
};

const char *tarn_phase_name(enum tarn_phase phase) { return phases[phase].name; }

uint64_t *tarn_report_phase(struct tarn_collect_report *report, enum tarn_phase phase) {
  return (uint64_t *)(void *)((char *)&report->is + phases[phase].offset);
}

void tarn_report_phase_ends(struct tarn_collect_report *report, enum tarn_phase phase) {
  uint64_t now = tarn_os_now(), began = report->stamp;
  *tarn_report_phase(report, phase) += now - began;
  if (report->span_count < TARN_PHASE_SPANS)
    report->spans[report->span_count++] = (struct tarn_phase_span){phase, began, now};
  report->stamp = now;
  TARN_PROBE3(phase, report->is.number, phases[phase].name, now - began);
}

const char *tarn_cause_name(tarn_cause cause) {
  static const char *const names[TARN_CAUSES] = {
      [TARN_CAUSE_NONE] = "none",
      [TARN_CAUSE_ASKED] = "asked",
      [TARN_CAUSE_ALLOCATION] = "allocation",
      [TARN_CAUSE_YOUNG] = "young",
      [TARN_CAUSE_EXTERNAL] = "external",
      [TARN_CAUSE_SOFT_LIMIT] = "soft-limit",
      [TARN_CAUSE_HARD_LIMIT] = "hard-limit",
      [TARN_CAUSE_NO_MEMORY] = "no-memory",
      [TARN_CAUSE_IDLE] = "idle",
      [TARN_CAUSE_ZEAL] = "zeal",
      [TARN_CAUSE_SNAPSHOT] = "snapshot",
  };
  return (unsigned)cause < TARN_CAUSES ? names[cause] : "none";
}
