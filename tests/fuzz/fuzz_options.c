/* SPDX-License-Identifier: MIT */
/*
 * fuzz_options: any bytes as the text of options.
 *
 * The text goes three ways.  Every option parses what stands behind each '=', and a second parser
 * here, written from the description in tarn/options.h, must agree.  tarn_config_resolve gets the
 * text with its messages caught: values must be those that the second parser says, and each message
 * one line.  Then a world is made with it, which must work, or the status must be the one that was
 * foreseen.
 *
 * The first byte says how: see the MODE_ bits.  Settings that could do harm are followed by others
 * of the same name, of which the last one counts; so the parser sees all texts, and the machine
 * does not.
 */
#include "fuzz.h"

#include "inspect/options.h"
#include "os/os.h"
#include <strings.h>

enum {
  MODE_STRICT = 1,
  MODE_BARRIERS = 2,
  MODE_COUNTING = 4,
  MODE_THREADS = 8, /* background threads are made as the text says */
  MODE_FAULTS = 16, /* requests for pages fail as the text says */
  MODE_VERIFY = 64, /* the world is verified in the end, which takes the most time of all */
  MODE_LOCK = 32,   /* the text is also the list of names that are locked */
};

enum { TEXT_MOST = 2048 };

static struct tarn_limits limits;

int LLVMFuzzerInitialize(int *count, char ***arguments) {
  (void)count, (void)arguments;
  tarn_limits_detect(&limits);
  /* The first world of a process decides how much is reserved; no input shall. */
  (void)fuzz_world("", 0);
  return 0;
}

/* --- the second parser ----------------------------------------------------------------------- */

__extension__ typedef unsigned __int128 wide;
#define WIDE_ENOUGH ((wide)1 << 80) /* beyond every range, and its product with a unit has room */

struct piece {
  const char *at;
  size_t length;
};

static bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static struct piece trimmed(struct piece piece) {
  while (piece.length && is_blank(piece.at[0]))
    piece.at++, piece.length--;
  while (piece.length && is_blank(piece.at[piece.length - 1]))
    piece.length--;
  return piece;
}

static bool is_word(struct piece piece, const char *word) {
  return piece.length == strlen(word) && strncasecmp(piece.at, word, piece.length) == 0;
}

/* A number in millionths, and what follows it. */
struct reading {
  wide millionths;
  bool point;
  struct piece unit;
};

static bool read_number(struct piece text, struct reading *out) {
  size_t at = 0, places = 0;
  *out = (struct reading){0};
  for (; at < text.length && text.at[at] >= '0' && text.at[at] <= '9'; at++)
    if (out->millionths < WIDE_ENOUGH)
      out->millionths = out->millionths * 10 + (wide)(text.at[at] - '0') * 1000000;
  if (at == 0)
    return false;
  if (at < text.length && text.at[at] == '.') {
    size_t worth = 100000;
    out->point = true;
    for (at++; at < text.length && text.at[at] >= '0' && text.at[at] <= '9'; at++, places++) {
      out->millionths += (wide)(text.at[at] - '0') * worth;
      worth /= 10;
    }
  }
  out->unit = (struct piece){text.at + at, text.length - at};
  return out->point ? places >= 1 && places <= 6 : true;
}

static bool unit_of(bool duration, struct piece unit, wide *factor) {
  static const char *const times[] = {"ns", "us", "ms", "s", "m", "h"};
  static const uint64_t lengths[] = {1, 1000, 1000000, 1000000000, 60000000000, 3600000000000};
  static const char *const letters = "kmgt";
  if (duration) {
    for (unsigned i = 0; i < 6; i++)
      if (is_word(unit, times[i])) {
        *factor = lengths[i];
        return true;
      }
    return false;
  }
  *factor = 1;
  if (unit.length == 0 || is_word(unit, "b"))
    return true;
  for (unsigned i = 0; i < 4; i++) {
    char names[3][4] = {{letters[i]}, {letters[i], 'b'}, {letters[i], 'i', 'b'}};
    *factor *= 1024;
    for (unsigned j = 0; j < 3; j++)
      if (is_word(unit, names[j]))
        return true;
  }
  return false;
}

/* What is not zero and rounds to it is refused: 0 often means something else. */
static bool is_rounded_away(const struct reading *number, wide value) {
  return value == 0 && number->millionths != 0;
}

static bool value_with_unit(const struct tarn_option *option, struct piece text, wide *value) {
  struct reading number;
  bool duration = option->kind == TARN_KIND_DURATION;
  wide factor;
  if (!read_number(text, &number))
    return false;
  if (option->kind == TARN_KIND_MEMORY && is_word(number.unit, "%")) {
    *value =
        number.millionths > 100000000 ? WIDE_ENOUGH : limits.memory * number.millionths / 100000000;
    return *value != 0; /* 0% is not "none" */
  }
  if (duration && number.unit.length == 0) {
    *value = 0;
    return number.millionths == 0 && !number.point;
  }
  if (!unit_of(duration, number.unit, &factor) || (number.point && factor == 1))
    return false;
  *value = number.millionths * factor / 1000000;
  return !is_rounded_away(&number, *value);
}

static bool plain_value(const struct tarn_option *option, struct piece text, wide *value) {
  struct reading number;
  if (!read_number(text, &number) || number.point)
    return false;
  *value = number.millionths / 1000000;
  return number.unit.length == 0 ||
         (option->kind == TARN_KIND_PERCENT && is_word(number.unit, "%"));
}

static bool switch_value(struct piece text, wide *value) {
  *value =
      is_word(text, "1") || is_word(text, "on") || is_word(text, "yes") || is_word(text, "true");
  return *value || is_word(text, "0") || is_word(text, "off") || is_word(text, "no") ||
         is_word(text, "false");
}

static bool level_value(const struct tarn_option *option, struct piece word, wide *value) {
  const char *equals = memchr(word.at, '=', word.length);
  struct piece level = {"info", 4};
  if (equals) {
    size_t before = (size_t)(equals - word.at);
    level = trimmed((struct piece){equals + 1, word.length - before - 1});
    word.length = before;
  }
  word = trimmed(word);
  for (const struct tarn_option_flag *subject = option->flags; subject->name; subject++) {
    if (!is_word(word, subject->name))
      continue;
    unsigned bits = is_word(level, "debug") ? 3 : is_word(level, "info");
    *value = (*value & ~((wide)subject->bit * 3)) | (wide)subject->bit * bits;
    return bits || is_word(level, "off");
  }
  return false;
}

static bool choice_value(const struct tarn_option *option, struct piece text, wide *value) {
  *value = 0;
  for (const struct tarn_option_flag *word = option->flags; word->name; word++)
    if (is_word(text, word->name)) {
      *value = word->bit;
      return true;
    }
  return option->zero && (is_word(text, "none") || is_word(text, "0"));
}

static bool path_value(struct piece text, wide *value) {
  *value = !is_word(text, "none") && !is_word(text, "0");
  if (text.length == 0 || text.length > 255)
    return false;
  for (size_t i = 0; i < text.length; i++) {
    unsigned char c = (unsigned char)text.at[i];
    if (c < ' ' || c == 0x7f)
      return false;
    if (c != '%')
      continue;
    if (++i == text.length || !memchr("pwn%", text.at[i], 4))
      return false;
  }
  return true;
}

static bool flags_value(const struct tarn_option *option, struct piece text, wide *value) {
  bool any = false;
  *value = 0;
  for (size_t at = 0; at < text.length; at++) {
    struct piece word = {text.at + at, 0};
    while (at < text.length && text.at[at] != ',' && text.at[at] != '+')
      at++, word.length++;
    word = trimmed(word);
    if (word.length == 0)
      continue;
    bool known = is_word(word, "none");
    if (!known && option->kind == TARN_KIND_LEVELS) {
      if (!level_value(option, word, value))
        return false;
      any = true;
      continue;
    }
    for (const struct tarn_option_flag *flag = option->flags; flag->name; flag++)
      if (is_word(word, flag->name)) {
        known = true;
        *value |= flag->bit;
      }
    if (!known)
      return false;
    any = true;
  }
  return any;
}

/* True: the text is a value of the option. */
static bool value_of(const struct tarn_option *option, struct piece text, uint64_t *value) {
  wide found = 0;
  bool good, ranged = false;
  text = trimmed(text);
  switch (option->kind) {
  case TARN_KIND_BOOL:
    good = switch_value(text, &found);
    break;
  case TARN_KIND_FLAGS:
  case TARN_KIND_LEVELS:
    good = flags_value(option, text, &found);
    break;
  case TARN_KIND_CHOICE:
    good = choice_value(option, text, &found);
    break;
  case TARN_KIND_PATH:
    good = path_value(text, &found);
    break;
  case TARN_KIND_SIZE:
  case TARN_KIND_MEMORY:
  case TARN_KIND_DURATION:
    good = value_with_unit(option, text, &found);
    ranged = true;
    break;
  default:
    good = plain_value(option, text, &found);
    ranged = true;
  }
  if (good && ranged && !(found == 0 && option->zero))
    good = found >= option->minimum && found <= option->maximum;
  *value = (uint64_t)found;
  return good;
}

/* --- the first way: values ------------------------------------------------------------------- */

static void check_value(const struct tarn_option *option, struct piece text) {
  uint64_t value = 12345, expected, again;
  enum tarn_parse result = tarn_option_parse(option, text.at, text.length, limits.memory, &value);
  bool good = value_of(option, text, &expected);
  FUZZ_CHECK(good == (result == TARN_PARSE_OK));
  FUZZ_CHECK(value == (good ? expected : 12345));
  if (!good || (option->kind == TARN_KIND_PATH && value))
    return;
  char buffer[256];
  struct tarn_text line = TARN_TEXT(buffer);
  tarn_text_value(&line, option, value);
  FUZZ_CHECK(line.length == strlen(buffer) && line.length > 0);
  FUZZ_CHECK(tarn_option_parse(option, buffer, line.length, limits.memory, &again) ==
             TARN_PARSE_OK);
  FUZZ_CHECK(again == value);
}

/* Whatever stands behind an '=' is tried as a value of each option. */
static void check_values(const char *text) {
  unsigned values = 0;
  for (const char *at = strchr(text, '='); at && values < 8; at = strchr(at + 1, '='), values++) {
    struct piece value = {at + 1, strcspn(at + 1, ",")};
    struct piece rest = {at + 1, strlen(at + 1)};
    for (size_t i = 0; i < tarn_option_count; i++) {
      check_value(&tarn_option_table[i], value);
      if (tarn_option_table[i].flags)
        check_value(&tarn_option_table[i], rest);
    }
  }
}

/* --- the second way: configurations ---------------------------------------------------------- */

/* A message is one line, and nothing in it could steer a terminal. */
static void catch_line(void *context, const char *line, size_t length) {
  FUZZ_CHECK(length > 0 && length < 2048 && line[length - 1] == '\n');
  for (size_t i = 0; i + 1 < length; i++)
    FUZZ_CHECK((unsigned char)line[i] >= ' ' && (unsigned char)line[i] != 0x7f);
  ++*(unsigned *)context;
}

#define FILE_PART ":file="

static void expect_value(const struct tarn_option *option, struct piece piece, uint64_t *values) {
  uint64_t value;
  if (value_of(option, piece, &value))
    values[option - tarn_option_table] = value;
}

/* What the text says by the second parser: the last good value of each name. */
static void expect_values(const char *text, uint64_t *values) {
  struct tarn_option_item item;
  const char *cursor = text, *end = text + strlen(text), *before = text;
  for (size_t i = 0; i < tarn_option_count; i++)
    values[i] = tarn_option_table[i].initial;
  while (tarn_option_next(&cursor, &item)) {
    FUZZ_CHECK(item.name >= before && item.name + item.name_length <= cursor && cursor <= end);
    FUZZ_CHECK(cursor > before);
    before = cursor;
    const struct tarn_option *option = tarn_option_find(item.name, item.name_length);
    if (!option || !item.value)
      continue;
    FUZZ_CHECK(item.value > item.name && item.value + item.value_length <= cursor);
    struct piece piece = {item.value, item.value_length};
    const char *file = option->kind == TARN_KIND_LEVELS
                           ? memmem(piece.at, piece.length, FILE_PART, strlen(FILE_PART))
                           : NULL;
    if (file) {
      piece.length = (size_t)(file - piece.at);
      file += strlen(FILE_PART);
      expect_value(tarn_option_find("log-file", 8),
                   (struct piece){file, (size_t)(item.value + item.value_length - file)}, values);
    }
    expect_value(option, piece, values);
  }
}

static tarn_status check_config(const tarn_options *api, struct tarn_config *config) {
  static const char *const nothing[] = {NULL};
  uint64_t values[TARN_OPTION_MAX];
  unsigned lines = 0;
  struct tarn_config_report report = {.sink = {catch_line, &lines}, .limits = &limits};
  tarn_status status = tarn_config_resolve(api, nothing, config, &report);
  FUZZ_CHECK(status == TARN_OK || status == TARN_EOPTION || status == TARN_EHELP ||
             status == TARN_EINVAL);
  if (status == TARN_EINVAL) {
    FUZZ_CHECK((api->flags & TARN_OPTIONS_BARRIERS) && (api->flags & TARN_OPTIONS_COUNTING));
    return status;
  }
  expect_values(api->set, values);
  FUZZ_CHECK(report.errors + report.warnings <= lines);
  for (size_t i = 0; i < tarn_option_count; i++) {
    const struct tarn_option *option = &tarn_option_table[i];
    uint64_t value = tarn_option_get(option, config);
    /* The one rule between two options. */
    if (option->offset == offsetof(struct tarn_config, soft_limit) && config->hard_limit != 0 &&
        values[i] > config->hard_limit)
      values[i] = config->hard_limit;
    FUZZ_CHECK(value == values[i]);
  }
  FUZZ_CHECK((status == TARN_EHELP) == config->help);
  FUZZ_CHECK(status == TARN_EHELP ||
             (status == TARN_EOPTION) == (config->strict && report.errors > 0));
  return status;
}

/* --- the third way: worlds ------------------------------------------------------------------- */

struct node {
  const tarn_type *type;
  struct node *next;
  size_t refs;
  size_t number;
  size_t room[60];
};

enum { NODES = 200 };

static const tarn_type *make_type(tarn_world *world, bool counting, bool starved) {
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  tarn_status status = TARN_OK;
  spec.name = "node";
  spec.size = sizeof(struct node);
  spec.slot_bits = 2;
  spec.refs_at = counting ? offsetof(struct node, refs) : 0;
  const tarn_type *type = tarn_type_create(world, &spec, &status);
  FUZZ_CHECK(type || (starved && status == TARN_ENOMEM));
  return type;
}

/* A chain, as long as there is memory for; each node but the first is referred to once. */
static size_t make_chain(tarn_thread *self, const tarn_type *type, struct node **first,
                         bool starved) {
  size_t made = 0;
  for (; made < NODES; made++) {
    struct node *node = tarn_new(self, type);
    if (!node) {
      tarn_status status = tarn_thread_status(self);
      FUZZ_CHECK(starved && (status == TARN_ELIMIT || status == TARN_ENOMEM));
      break;
    }
    node->number = made;
    node->refs = 1;
    tarn_store(self, node, (void **)&node->next, *first);
    *first = node;
    tarn_safepoint(self);
  }
  return made;
}

static void check_chain(const struct node *node, size_t made) {
  for (; made > 0; made--, node = node->next)
    FUZZ_CHECK(node && node->number == made - 1);
  FUZZ_CHECK(!node);
}

static void use_world(tarn_world *world, bool counting, bool starved, bool verifies) {
  tarn_thread *self = NULL;
  tarn_status status = tarn_thread_attach(world, &self);
  FUZZ_CHECK(status == TARN_OK || (starved && status == TARN_ENOMEM && !self));
  if (status != TARN_OK)
    return;
  const tarn_type *type = make_type(world, counting, starved);
  if (type) {
    struct node *first = NULL;
    TARN_FRAME(self, &first);
    size_t made = make_chain(self, type, &first, starved);
    for (int generation = 0; generation <= TARN_GENERATION_FULL; generation++) {
      status = counting ? tarn_collect_cycles(self, generation) : tarn_collect(self, generation);
      FUZZ_CHECK(status == TARN_OK || (starved && status == TARN_ENOMEM));
      check_chain(first, made);
    }
  }
  tarn_os_fault_at(0);
  if (verifies)
    fuzz_verify(self);
  FUZZ_CHECK(tarn_thread_detach(self) == TARN_OK);
}

static void check_world(const tarn_options *options, unsigned mode, tarn_status expected,
                        const struct tarn_config *config) {
  tarn_world *world = NULL;
  tarn_status status = tarn_world_create(options, &world);
  bool faulty = config->fault_mmap != 0;
  FUZZ_CHECK(status == expected ||
             (expected == TARN_OK && faulty && (status == TARN_ENOMEM || status == TARN_EWORLDS)));
  FUZZ_CHECK((status == TARN_OK) == (world != NULL));
  if (world)
    use_world(world, mode & MODE_COUNTING, faulty || config->hard_limit != 0, mode & MODE_VERIFY);
  tarn_os_fault_at(0);
  if (world)
    fuzz_end(world);
}

/* --- an input -------------------------------------------------------------------------------- */

/*
 * What must not be as the text says.  Up to 64 threads would be made for each world, and their
 * turns would make runs differ; a page request that fails where the mode does not expect it looks
 * like a bug.  Files that the text names would be written, whatever they are, and the page of
 * `live` would be one more.  verify=1 and the logs only cost time, and the reserved range is there
 * already.
 */
#define NO_FILES                                                                                 \
  ",log-file=none,snapshot-signal=none,snapshot-at-exit=0,metrics=none,profile=none,trace=none," \
  "live=0"

static const char *tail_of(unsigned mode) {
  static const char *const tails[] = {
      NO_FILES "," FUZZ_CALM ",fault-mmap=0",
      NO_FILES ",markers=2,fault-mmap=0",
      NO_FILES "," FUZZ_CALM,
      NO_FILES "," FUZZ_CALM,
  };
  return tails[(mode & MODE_FAULTS ? 2 : 0) + (mode & MODE_THREADS ? 1 : 0)];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0 || size > TEXT_MOST)
    return 0;
  unsigned mode = data[0];
  /* Of its own length, so that a read beyond its end is seen. */
  size_t length = strnlen((const char *)data + 1, size - 1), room = TEXT_MOST + 512;
  char *text = malloc(length + 1), *set = malloc(room);
  FUZZ_CHECK(text && set);
  memcpy(text, data + 1, length);
  text[length] = '\0';
  (void)snprintf(set, room, "%s%s%s", text, tail_of(mode), mode & MODE_STRICT ? ",strict=1" : "");

  tarn_options options = TARN_OPTIONS_INIT;
  struct tarn_config config;
  options.set = text;
  options.lock = mode & MODE_LOCK ? text : NULL;
  options.flags = TARN_OPTIONS_NO_ENVIRONMENT | (mode & MODE_BARRIERS ? TARN_OPTIONS_BARRIERS : 0) |
                  (mode & MODE_COUNTING ? TARN_OPTIONS_COUNTING : 0);
  check_values(text);
  (void)check_config(&options, &config);
  options.set = set;
  tarn_status status = check_config(&options, &config);
  check_world(&options, mode, status, &config);
  free(set);
  free(text);
  return 0;
}
