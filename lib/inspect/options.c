/* SPDX-License-Identifier: MIT */
/*
 * Where option values come from: tarn_config_resolve. See options.h.
 *
 * All sources are gone through twice, from the weakest to the strongest. The first time values are
 * stored; the second time nothing is stored and complaints are written: only then is it known which
 * value is used instead of a bad one.
 */
#include "inspect/options.h"

#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

/* What the build says, a string like tarn_options.set. */
#ifndef TARN_DEFAULT_OPTIONS
#define TARN_DEFAULT_OPTIONS ""
#endif

#define FILE_PART ":file="

/* No honest program has a larger structure: a garbage size must not make us read far. */
enum { STRUCT_SIZE_MOST = 4096 };

struct resolver {
  struct tarn_config *config;
  struct tarn_config_report *report;
  bool reporting; /* second time */
};

/* One setting: what it says and where it stands. */
struct setting {
  enum tarn_source source;
  const char *list; /* where the list stands; NULL for a variable of its own */
  const char *name; /* as written; a variable's without TARN_ */
  size_t name_length;
  const char *value; /* NULL: "name" without '=' in a list */
  size_t value_length;
};

/* ---- Complaints --------------------------------------------------------------------------- */

/* `tarn: TARN_GROWTH="x": ` or `tarn: TARN_OPTIONS: growth="x": ` */
static void begin_line(struct tarn_text *line, const struct setting *s) {
  tarn_text_add(line, "tarn: ");
  if (s->list)
    tarn_text_add(line, "%s: ", s->list);
  const struct tarn_option *option = tarn_option_find(s->name, s->name_length);
  if (option && !s->list)
    tarn_text_variable(line, option);
  else if (option)
    tarn_text_add(line, "%s", option->name);
  else if (s->list)
    tarn_text_clean(line, s->name, s->name_length);
  else /* "TARN_" stands before the name in the environment */
    tarn_text_clean(line, s->name - 5, s->name_length + 5);
  if (s->value) {
    tarn_text_add(line, "=");
    tarn_text_quote(line, s->value, s->value_length);
  }
  tarn_text_add(line, ": ");
}

static void end_error(struct resolver *r, struct tarn_text *line) {
  r->report->errors++;
  tarn_sink_write(&r->report->sink, line);
}

static void end_warning(struct resolver *r, struct tarn_text *line) {
  r->report->warnings++;
  tarn_sink_write(&r->report->sink, line);
}

static void complain_unknown(struct resolver *r, const struct setting *s) {
  char buffer[512];
  struct tarn_text line = TARN_TEXT(buffer);
  size_t edits;
  const struct tarn_option *nearest = tarn_option_nearest(s->name, s->name_length, &edits);
  begin_line(&line, s);
  tarn_text_add(&line, "no option has this name; the nearest is ");
  if (s->list)
    tarn_text_add(&line, "%s", nearest->name);
  else if (tarn_option_edits(s->name, s->name_length, "options", 7) < edits)
    tarn_text_add(&line, "TARN_OPTIONS");
  else
    tarn_text_variable(&line, nearest);
  tarn_text_add(&line, " (TARN_HELP=1 lists all); ignored");
  end_error(r, &line);
}

static const char *reason(enum tarn_parse result) {
  switch (result) {
  case TARN_PARSE_NO_UNIT:
    return "a unit is missing (ns, us, ms, s, m or h)";
  case TARN_PARSE_DIGITS:
    return "more than six digits after the point";
  case TARN_PARSE_LOW:
    return "too small";
  case TARN_PARSE_HIGH:
    return "too large";
  case TARN_PARSE_LONG:
    return "too long";
  case TARN_PARSE_PATTERN:
    return "a % stands for nothing";
  default:
    return NULL;
  }
}

static void add_used(const struct resolver *r, struct tarn_text *line,
                     const struct tarn_option *option) {
  tarn_text_add(line, "; using ");
  tarn_text_current(line, option, r->config);
}

static const char *wanted(const struct tarn_option *option) {
  switch (option->kind) {
  case TARN_KIND_FLAGS:
    return "list of flags";
  case TARN_KIND_LEVELS:
    return "list of levels";
  case TARN_KIND_MEMORY:
    return "size";
  default:
    return tarn_option_kind_name(option);
  }
}

static void complain_value(struct resolver *r, const struct setting *s,
                           const struct tarn_option *option, enum tarn_parse result) {
  char buffer[768];
  struct tarn_text line = TARN_TEXT(buffer);
  begin_line(&line, s);
  if (!s->value)
    tarn_text_add(&line, "no value, write %s=<%s>", option->name, tarn_option_kind_name(option));
  else if (reason(result))
    tarn_text_add(&line, "%s", reason(result));
  else
    tarn_text_add(&line, "not a %s", wanted(option));
  tarn_text_add(&line, "; accepted: ");
  tarn_text_accepted(&line, option);
  add_used(r, &line, option);
  end_error(r, &line);
}

static void warn(struct resolver *r, const struct setting *s, const struct tarn_option *option,
                 const char *why) {
  char buffer[512];
  struct tarn_text line = TARN_TEXT(buffer);
  begin_line(&line, s);
  tarn_text_add(&line, "%s", why);
  add_used(r, &line, option);
  end_warning(r, &line);
}

/* ---- Settings ----------------------------------------------------------------------------- */

static bool is_locked(const struct resolver *r, const struct tarn_option *option,
                      enum tarn_source source) {
  size_t index = (size_t)(option - tarn_option_table);
  return source >= TARN_SOURCE_ENVIRONMENT && (r->report->locked >> index & 1);
}

static void apply_one(struct resolver *r, const struct setting *s) {
  const struct tarn_option *option = tarn_option_find(s->name, s->name_length);
  uint64_t value = 0;
  enum tarn_parse result = TARN_PARSE_MALFORMED;
  if (s->value && s->value_length == 0)
    return; /* empty is "not set" */
  if (option && s->value)
    result =
        tarn_option_parse(option, s->value, s->value_length, r->config->detected_memory, &value);
  if (!r->reporting) {
    if (result == TARN_PARSE_OK && !is_locked(r, option, s->source)) {
      tarn_option_put_text(option, r->config, s->value, s->value_length, value);
      r->report->source[option - tarn_option_table] = (unsigned char)s->source;
    }
    return;
  }
  if (!option)
    complain_unknown(r, s);
  else if (is_locked(r, option, s->source))
    warn(r, s, option, "locked by the program, ignored");
  else if (result != TARN_PARSE_OK)
    complain_value(r, s, option, result);
  else if (!tarn_option_effective(option))
    warn(r, s, option, "without effect in this build");
}

/* Where the file begins in "gc=info:file=PATH"; NULL: there is none. */
static const char *find_file(const struct setting *s) {
  return s->value ? memmem(s->value, s->value_length, FILE_PART, sizeof FILE_PART - 1) : NULL;
}

/* A setting of levels may name the log's file as well, which is an option of its own. */
static void apply(struct resolver *r, const struct setting *s) {
  const struct tarn_option *option = tarn_option_find(s->name, s->name_length);
  const char *file = option && option->kind == TARN_KIND_LEVELS ? find_file(s) : NULL;
  struct setting levels = *s, path = *s;
  if (!file) {
    apply_one(r, s);
    return;
  }
  levels.value_length = (size_t)(file - s->value);
  path.name = "log-file";
  path.name_length = strlen(path.name);
  path.value = file + sizeof FILE_PART - 1;
  path.value_length = s->value_length - levels.value_length - (sizeof FILE_PART - 1);
  apply_one(r, &levels);
  apply_one(r, &path);
}

static void apply_list(struct resolver *r, enum tarn_source source, const char *where,
                       const char *list) {
  struct tarn_option_item item;
  while (tarn_option_next(&list, &item)) {
    struct setting s = {source, where, item.name, item.name_length, item.value, item.value_length};
    apply(r, &s);
  }
}

/* ---- The environment ---------------------------------------------------------------------- */

/* A variable of ours, taken apart. The value is trimmed, so that blanks alone are empty too. */
static bool split_variable(const char *entry, struct setting *s) {
  static const char prefix[] = "TARN_", blanks[] = " \t\n\v\f\r";
  const char *equals = strchr(entry, '=');
  if (strncmp(entry, prefix, sizeof prefix - 1) != 0 || !equals)
    return false;
  *s = (struct setting){.source = TARN_SOURCE_VARIABLE};
  s->name = entry + (sizeof prefix - 1);
  s->name_length = (size_t)(equals - s->name);
  s->value = equals + 1 + strspn(equals + 1, blanks);
  s->value_length = strlen(s->value);
  while (s->value_length > 0 && strchr(blanks, s->value[s->value_length - 1]))
    s->value_length--;
  return true;
}

/* Is the variable there already, before `entry`? The first counts, as for getenv. */
static bool is_repeated(const char *const *environment, const char *const *entry,
                        const struct setting *s) {
  struct setting earlier;
  for (; environment < entry; environment++) {
    if (split_variable(*environment, &earlier) &&
        tarn_option_same_name(s->name, s->name_length, earlier.name, earlier.name_length))
      return true;
  }
  return false;
}

static bool is_list_variable(const struct setting *s) {
  return tarn_option_same_name(s->name, s->name_length, "options", 7);
}

/* TARN_OPTIONS is weaker than the variables of single options, wherever it stands. */
static void apply_environment(struct resolver *r, const char *const *environment) {
  struct setting s;
  for (const char *const *entry = environment; *entry; entry++) {
    if (split_variable(*entry, &s) && is_list_variable(&s) && !is_repeated(environment, entry, &s))
      apply_list(r, TARN_SOURCE_ENVIRONMENT, "TARN_OPTIONS", s.value);
  }
  for (const char *const *entry = environment; *entry; entry++) {
    if (split_variable(*entry, &s) && !is_list_variable(&s) && !is_repeated(environment, entry, &s))
      apply(r, &s);
  }
}

/* The environment to read; NULL for none. The kernel's AT_SECURE is what secure_getenv goes by;
 * secure_getenv itself cannot list variables, and unknown ones have to be found. */
static const char *const *choose_environment(const tarn_options *api, const char *const *given,
                                             const struct tarn_config_report *report) {
  if (report->secure || (api && (api->flags & TARN_OPTIONS_NO_ENVIRONMENT)))
    return NULL;
  if (given)
    return given;
  if (getauxval(AT_SECURE) != 0)
    return NULL;
  return (const char *const *)environ;
}

#define KNOWN_FLAGS (TARN_OPTIONS_NO_ENVIRONMENT | TARN_OPTIONS_BARRIERS | TARN_OPTIONS_COUNTING)
#define EITHER_FLAGS (TARN_OPTIONS_BARRIERS | TARN_OPTIONS_COUNTING)

/* ---- The program's part ------------------------------------------------------------------- */

static bool api_is_valid(const tarn_options *api) {
  const unsigned char *bytes = (const unsigned char *)api;
  if (api->struct_size < sizeof *api || api->struct_size > STRUCT_SIZE_MOST)
    return false;
  for (size_t i = sizeof *api; i < api->struct_size; i++) {
    if (bytes[i] != 0)
      return false; /* asks for something that this version cannot do */
  }
  return (api->flags & ~KNOWN_FLAGS) == 0 && (api->flags & EITHER_FLAGS) != EITHER_FLAGS;
}

static void refuse_api(const struct tarn_sink *sink, const tarn_options *api) {
  char buffer[256];
  struct tarn_text line = TARN_TEXT(buffer);
  tarn_text_add(&line, "tarn: tarn_options: ");
  if (api->struct_size < sizeof *api || api->struct_size > STRUCT_SIZE_MOST)
    tarn_text_add(&line, "struct_size is %zu, must be %zu (start from TARN_OPTIONS_INIT)",
                  api->struct_size, sizeof *api);
  else if (api->flags & ~KNOWN_FLAGS)
    tarn_text_add(&line, "unknown bits in flags 0x%x", api->flags);
  else if ((api->flags & EITHER_FLAGS) == EITHER_FLAGS)
    tarn_text_add(&line, "flags 0x%x: a world that counts references has no barriers", api->flags);
  else
    tarn_text_add(&line, "made for a newer Tarn: fields that this version does not know are set");
  tarn_sink_write(sink, &line);
}

static void complain_lock(struct resolver *r, const struct setting *s) {
  char buffer[256];
  struct tarn_text line = TARN_TEXT(buffer);
  begin_line(&line, s);
  tarn_text_add(&line, "a lock has no value; accepted: the name alone; not locked");
  end_error(r, &line);
}

static void apply_locks(struct resolver *r, const char *list) {
  struct tarn_option_item item;
  while (tarn_option_next(&list, &item)) {
    const struct tarn_option *option = tarn_option_find(item.name, item.name_length);
    struct setting s = {TARN_SOURCE_PROGRAM, "tarn_options.lock", item.name,
                        item.name_length,    item.value,          item.value_length};
    if (!item.value && tarn_option_same_name(item.name, item.name_length, "all", 3))
      r->report->locked = UINT64_MAX;
    else if (option && !item.value)
      r->report->locked |= (uint64_t)1 << (option - tarn_option_table);
    else if (r->reporting && !option)
      complain_unknown(r, &s);
    else if (r->reporting)
      complain_lock(r, &s);
  }
}

/* ---- All of it ---------------------------------------------------------------------------- */

static void set_defaults(struct resolver *r) {
  struct tarn_config_report *report = r->report;
  struct tarn_limits detected;
  const struct tarn_limits *limits = report->limits;
  if (!limits) {
    tarn_limits_detect(&detected);
    limits = &detected;
  }
  memset(r->config, 0, sizeof *r->config);
  r->config->detected_memory = limits->memory;
  r->config->detected_cpus = limits->cpus;
  report->errors = report->warnings = 0;
  report->locked = 0;
  memset(report->source, TARN_SOURCE_DEFAULT, sizeof report->source);
  for (size_t i = 0; i < tarn_option_count; i++)
    tarn_option_put(&tarn_option_table[i], r->config, tarn_option_table[i].initial);
}

static void apply_all(struct resolver *r, const tarn_options *api, const char *const *environment) {
  if (api && api->lock)
    apply_locks(r, api->lock);
  apply_list(r, TARN_SOURCE_BUILD, "TARN_DEFAULT_OPTIONS of the build", TARN_DEFAULT_OPTIONS);
  if (api && api->set)
    apply_list(r, TARN_SOURCE_PROGRAM, "tarn_options.set", api->set);
  if (environment)
    apply_environment(r, environment);
}

/* The one rule between two options. Comes after the sources, so that it sees the final values. */
static void check_soft_limit(struct resolver *r, size_t asked) {
  char buffer[256];
  struct tarn_text line = TARN_TEXT(buffer);
  const struct tarn_option *soft = tarn_option_find("soft-limit", 10);
  tarn_text_add(&line, "tarn: soft-limit=");
  tarn_text_value(&line, soft, asked);
  tarn_text_add(&line, ": above the hard limit; accepted: at most hard-limit");
  add_used(r, &line, soft);
  end_error(r, &line);
}

tarn_status tarn_config_resolve(const tarn_options *api, const char *const *environment,
                                struct tarn_config *out, struct tarn_config_report *report) {
  struct tarn_config_report own = {.sink = {NULL, NULL}};
  struct resolver r = {out, report ? report : &own, false};
  if (!out)
    return TARN_EINVAL;
  if (api && !api_is_valid(api)) {
    refuse_api(&r.report->sink, api);
    return TARN_EINVAL;
  }

  environment = choose_environment(api, environment, r.report);
  set_defaults(&r);
  out->barriers = api && (api->flags & TARN_OPTIONS_BARRIERS);
  out->counting = api && (api->flags & TARN_OPTIONS_COUNTING);
  apply_all(&r, api, environment);
  size_t soft = out->soft_limit;
  bool soft_is_above = out->hard_limit != 0 && soft > out->hard_limit;
  if (soft_is_above)
    out->soft_limit = out->hard_limit;

  r.reporting = true;
  apply_all(&r, api, environment);
  if (soft_is_above)
    check_soft_limit(&r, soft);

  if (out->help)
    tarn_options_print_help(&r.report->sink);
  if (out->show_config)
    tarn_options_print_config(&r.report->sink, out, r.report);
  if (out->help)
    return TARN_EHELP;
  return out->strict && r.report->errors > 0 ? TARN_EOPTION : TARN_OK;
}
