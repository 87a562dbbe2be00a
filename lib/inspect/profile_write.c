/* SPDX-License-Identifier: MIT */
/*
 * inspect/profile_write.c: a profile as pprof's protobuf, and as folded stacks.  See profile.h.
 *
 * Of protobuf no more is needed than numbers of variable length, and pieces with their length in
 * front.  The messages and their fields, as pprof's profile.proto has them:
 *
 *   Profile   1 sample_type, 2 sample, 3 mapping, 4 location, 5 function, 6 string_table,
 *             9 time_nanos, 10 duration_nanos, 11 period_type, 12 period, 13 comment,
 *             14 default_sample_type
 *   ValueType 1 type, 2 unit
 *   Sample    1 location_id, 2 value, 3 label
 *   Label     1 key, 2 str, 3 num, 4 num_unit
 *   Mapping   1 id, 2 memory_start, 3 memory_limit, 4 file_offset, 5 filename, 6 build_id,
 *             7 has_functions
 *   Location  1 id, 2 mapping_id, 3 address, 4 line
 *   Line      1 function_id, 2 line
 *   Function  1 id, 2 name, 3 system_name, 4 filename
 *
 * The table of strings is in the order of their numbers, but may lie between other messages: those
 * of the profile come first, the others right where they are needed.
 *
 * Addresses are those of the calls, one less than the return addresses, which may lie in the next
 * function.  A location of C has its address as its id, one of the language the number of its name,
 * plus 1: there is no code in the first page.
 */
#include "heap/sample.h"
#include "inspect/profile.h"
#include <stdio.h>
#include <string.h>

struct writer {
  struct tarn_out *out;
  const struct tarn_profile *profile;
  struct tarn_os_spot *spots; /* by address */
  size_t spot_count, spot_bytes;
  struct tarn_os_code *codes; /* by address, as the system tells them */
  size_t code_count, code_bytes;
  uint64_t strings; /* written */
};

/* --- addresses ------------------------------------------------------------------------------- */

static void sift_down(uintptr_t *values, size_t at, size_t count) {
  uintptr_t value = values[at];
  for (size_t child; (child = 2 * at + 1) < count; at = child) {
    if (child + 1 < count && values[child + 1] > values[child])
      child++;
    if (values[child] <= value)
      break;
    values[at] = values[child];
  }
  values[at] = value;
}

/* A heap's: qsort may call malloc. */
static void sort(uintptr_t *values, size_t count) {
  for (size_t i = count / 2; i-- > 0;)
    sift_down(values, i, count);
  for (size_t end = count; end-- > 1;) {
    uintptr_t largest = values[0];
    values[0] = values[end];
    values[end] = largest;
    sift_down(values, 0, end);
  }
}

static size_t call_count(const struct tarn_profile *profile) {
  size_t count = 0;
  for (uint32_t i = 0; i < profile->places; i++)
    count += profile->place[i].stack.calls;
  return count;
}

/* Each address once.  There are few among many, so that only they are to be sorted, and of the
 * memory little is touched. */
struct addresses {
  uintptr_t *slot, *all; /* by hash, linear probing; one after the other */
  size_t mask, count;
};

static void add_address(struct addresses *addresses, uintptr_t address) {
  size_t at = (size_t)(address * UINT64_C(0x9e3779b97f4a7c15) >> 32) & addresses->mask;
  for (; addresses->slot[at] != address; at = (at + 1) & addresses->mask)
    if (addresses->slot[at] == 0) {
      addresses->slot[at] = addresses->all[addresses->count++] = address;
      return;
    }
}

static void add_calls(struct addresses *addresses, const struct tarn_profile *profile) {
  for (uint32_t i = 0; i < profile->places; i++)
    for (uint32_t k = 0; k < profile->place[i].stack.calls; k++)
      add_address(addresses, profile->place[i].stack.call[k] - 1);
  sort(addresses->all, addresses->count);
}

static bool make_spots(struct writer *writer, const struct addresses *addresses) {
  writer->spot_bytes =
      tarn_profile_whole_pages((addresses->count + 1) * sizeof(struct tarn_os_spot));
  if (!(writer->spots = tarn_os_map(writer->spot_bytes)))
    return false;
  writer->spot_count = addresses->count;
  for (size_t i = 0; i < addresses->count; i++)
    writer->spots[i].address = addresses->all[i];
  tarn_os_code_functions(writer->spots, writer->spot_count);
  return true;
}

static bool gather_spots(struct writer *writer) {
  size_t calls = call_count(writer->profile), slots = 64;
  while (slots < 2 * calls)
    slots *= 2;
  size_t bytes = tarn_profile_whole_pages((slots + calls) * sizeof(uintptr_t));
  struct addresses addresses = {.slot = tarn_os_map(bytes), .mask = slots - 1};
  if (!addresses.slot)
    return false;
  addresses.all = addresses.slot + slots;
  add_calls(&addresses, writer->profile);
  bool made = make_spots(writer, &addresses);
  tarn_os_unmap(addresses.slot, bytes);
  return made;
}

static const char *function_at(const struct writer *writer, uintptr_t address) {
  size_t low = 0, high = writer->spot_count;
  while (high - low > 1) {
    size_t middle = (low + high) / 2;
    if (writer->spots[middle].address <= address)
      low = middle;
    else
      high = middle;
  }
  return writer->spots[low].function;
}

/* --- values ---------------------------------------------------------------------------------- */

/* What so many samples of a size stand for. */
static uint64_t weighted(const struct tarn_profile *profile, uint64_t samples, uint64_t size,
                         bool bytes) {
  double each = 1 / tarn_sample_chance(size, profile->sampling.rate);
  return (uint64_t)((double)samples * each * (bytes ? (double)size : 1) + 0.5);
}

static uint64_t value_of(const struct tarn_profile *profile, const struct tarn_profile_place *place,
                         tarn_profile_value value) {
  bool in_use = value == TARN_PROFILE_INUSE_OBJECTS || value == TARN_PROFILE_INUSE_SPACE;
  bool bytes = value == TARN_PROFILE_ALLOC_SPACE || value == TARN_PROFILE_INUSE_SPACE;
  return weighted(profile, in_use ? place->living : place->made, place->size, bytes);
}

static const char *string_at(const struct tarn_profile *profile, uint32_t number) {
  return profile->text + profile->string[number];
}

/* --- folded stacks --------------------------------------------------------------------------- */

static void put_place_folded(const struct writer *writer, const struct tarn_profile_place *place,
                             uint64_t value) {
  struct tarn_out *out = writer->out;
  for (uint32_t i = place->stack.calls; i-- > 0;) {
    tarn_out_text(out, function_at(writer, place->stack.call[i] - 1));
    tarn_out_text(out, ";");
  }
  for (uint32_t i = place->stack.frames; i-- > 0;) {
    tarn_out_text(out,
                  string_at(writer->profile, writer->profile->name[place->stack.frame[i]].name));
    tarn_out_text(out, ";");
  }
  tarn_out_text(out, "[");
  tarn_out_text(out, place->type ? string_at(writer->profile, place->type) : "raw");
  tarn_out_text(out, "] ");
  tarn_out_number(out, value);
  tarn_out_text(out, "\n");
}

static void put_folded(const struct writer *writer, tarn_profile_value value) {
  const struct tarn_profile *profile = writer->profile;
  for (uint32_t i = 0; i < profile->places; i++) {
    uint64_t number = value_of(profile, &profile->place[i], value);
    if (number != 0)
      put_place_folded(writer, &profile->place[i], number);
  }
}

/* --- protobuf -------------------------------------------------------------------------------- */

/* A message that is not longer than any of ours: a sample has 64 ids of 10 bytes at most. */
struct message {
  unsigned char bytes[1024];
  size_t used;
};

static void add_number(struct message *message, uint64_t number) {
  for (; number >= 0x80; number >>= 7)
    message->bytes[message->used++] = (unsigned char)(number | 0x80);
  message->bytes[message->used++] = (unsigned char)number;
}

/* A field with a number; those that are 0 are left out, as readers expect. */
static void add_field(struct message *message, unsigned field, uint64_t number) {
  if (number == 0)
    return;
  add_number(message, (uint64_t)field << 3);
  add_number(message, number);
}

static void add_piece(struct message *message, unsigned field, const void *bytes, size_t size) {
  add_number(message, (uint64_t)field << 3 | 2);
  add_number(message, size);
  memcpy(message->bytes + message->used, bytes, size);
  message->used += size;
}

static void put_piece(struct writer *writer, unsigned field, const void *bytes, size_t size) {
  struct message head = {.used = 0};
  add_number(&head, (uint64_t)field << 3 | 2);
  add_number(&head, size);
  tarn_out_bytes(writer->out, (const char *)head.bytes, head.used);
  tarn_out_bytes(writer->out, bytes, size);
}

static void put_message(struct writer *writer, unsigned field, const struct message *message) {
  put_piece(writer, field, message->bytes, message->used);
}

static void put_field(struct writer *writer, unsigned field, uint64_t number) {
  struct message message = {.used = 0};
  add_field(&message, field, number);
  tarn_out_bytes(writer->out, (const char *)message.bytes, message.used);
}

/* The string's number. */
static uint64_t put_string(struct writer *writer, const char *text) {
  put_piece(writer, 6, text, strlen(text));
  return writer->strings++;
}

static void put_value_type(struct writer *writer, unsigned field, uint64_t type, uint64_t unit) {
  struct message message = {.used = 0};
  add_field(&message, 1, type);
  add_field(&message, 2, unit);
  put_message(writer, field, &message);
}

static void put_head(struct writer *writer, tarn_profile_value first) {
  static const char *const types[] = {"alloc_objects", "alloc_space", "inuse_objects",
                                      "inuse_space"};
  const struct tarn_profile *profile = writer->profile;
  uint64_t numbers[4], count = put_string(writer, "count"), bytes = put_string(writer, "bytes");
  for (unsigned i = 0; i < 4; i++)
    numbers[i] = put_string(writer, types[i]);
  for (unsigned i = 0; i < 4; i++)
    put_value_type(writer, 1, numbers[i], i % 2 ? bytes : count);
  put_value_type(writer, 11, put_string(writer, "space"), bytes);
  put_field(writer, 9, tarn_os_date());
  put_field(writer, 10, (profile->on ? tarn_os_now() : profile->ended) - profile->begun);
  put_field(writer, 12, profile->sampling.rate);
  put_field(writer, 14, numbers[first]);
  if (profile->dropped) {
    char text[64];
    (void)snprintf(text, sizeof text, "%llu samples were dropped for want of room",
                   (unsigned long long)profile->dropped);
    put_field(writer, 13, put_string(writer, text));
  }
}

/* --- protobuf: code -------------------------------------------------------------------------- */

static void count_code(const struct tarn_os_code *code, void *data) {
  (void)code;
  ++*(size_t *)data;
}

static void keep_code(const struct tarn_os_code *code, void *data) {
  struct writer *writer = data;
  if ((writer->code_count + 1) * sizeof *code <= writer->code_bytes)
    writer->codes[writer->code_count++] = *code;
}

static bool gather_codes(struct writer *writer) {
  size_t count = 0, page = tarn_os_page_size();
  tarn_os_each_code(count_code, &count);
  /* Some may be new when they are looked at again. */
  writer->code_bytes = (count * sizeof(struct tarn_os_code) + page) & ~(page - 1);
  if (!(writer->codes = tarn_os_map(writer->code_bytes)))
    return false;
  tarn_os_each_code(keep_code, writer);
  return true;
}

static void put_code(struct writer *writer, const struct tarn_os_code *code, uint64_t id) {
  char hex[2 * sizeof code->id + 1] = "";
  struct message message = {.used = 0};
  for (size_t i = 0; i < code->id_length; i++)
    (void)snprintf(hex + 2 * i, 3, "%02x", code->id[i]);
  add_field(&message, 1, id);
  add_field(&message, 2, code->start);
  add_field(&message, 3, code->end);
  add_field(&message, 4, code->offset);
  add_field(&message, 5, put_string(writer, code->path));
  if (hex[0])
    add_field(&message, 6, put_string(writer, hex));
  put_message(writer, 3, &message);
}

/* The number of the mapping, from 1; 0: none. */
static uint64_t code_at(const struct writer *writer, uintptr_t address) {
  for (size_t i = 0; i < writer->code_count; i++)
    if (address >= writer->codes[i].start && address < writer->codes[i].end)
      return i + 1;
  return 0;
}

static void put_location(struct writer *writer, uint64_t id, uint64_t mapping, uint64_t address,
                         uint64_t line) {
  struct message message = {.used = 0}, inner = {.used = 0};
  add_field(&inner, 1, id); /* the function's, which is the same */
  add_field(&inner, 2, line);
  add_field(&message, 1, id);
  add_field(&message, 2, mapping);
  add_field(&message, 3, address);
  add_piece(&message, 4, inner.bytes, inner.used);
  put_message(writer, 4, &message);
}

static void put_function(struct writer *writer, uint64_t id, uint64_t name, uint64_t file) {
  struct message message = {.used = 0};
  add_field(&message, 1, id);
  add_field(&message, 2, name);
  add_field(&message, 3, name);
  add_field(&message, 4, file);
  put_message(writer, 5, &message);
}

static void put_places_of_code(struct writer *writer) {
  for (size_t i = 0; i < writer->code_count; i++)
    put_code(writer, &writer->codes[i], i + 1);
  for (size_t i = 0; i < writer->spot_count; i++) {
    uintptr_t address = writer->spots[i].address;
    put_function(writer, address, put_string(writer, writer->spots[i].function), 0);
    put_location(writer, address, code_at(writer, address), address, 0);
  }
  for (uint32_t i = 0; i < writer->profile->names; i++) {
    const struct tarn_profile_name *name = &writer->profile->name[i];
    put_function(writer, i + 1, name->name, name->file);
    put_location(writer, i + 1, 0, 0, name->line);
  }
}

/* --- protobuf: samples ----------------------------------------------------------------------- */

struct tags {
  uint64_t type, bytes, raw; /* strings */
};

static void add_ids(struct message *message, const struct tarn_profile_stack *stack) {
  struct message ids = {.used = 0};
  for (uint32_t i = 0; i < stack->frames; i++)
    add_number(&ids, stack->frame[i] + 1);
  for (uint32_t i = 0; i < stack->calls; i++)
    add_number(&ids, stack->call[i] - 1);
  add_piece(message, 1, ids.bytes, ids.used);
}

static void put_sample(struct writer *writer, const struct tarn_profile_place *place,
                       const struct tags *tags) {
  struct message message = {.used = 0}, values = {.used = 0}, type = {.used = 0},
                 size = {.used = 0};
  add_ids(&message, &place->stack);
  for (unsigned value = TARN_PROFILE_ALLOC_OBJECTS; value <= TARN_PROFILE_INUSE_SPACE; value++)
    add_number(&values, value_of(writer->profile, place, (tarn_profile_value)value));
  add_piece(&message, 2, values.bytes, values.used);
  add_field(&type, 1, tags->type);
  add_field(&type, 2, place->type ? place->type : tags->raw);
  add_piece(&message, 3, type.bytes, type.used);
  add_field(&size, 1, tags->bytes);
  add_field(&size, 3, place->size);
  add_field(&size, 4, tags->bytes);
  add_piece(&message, 3, size.bytes, size.used);
  put_message(writer, 2, &message);
}

static void put_pprof(struct writer *writer, tarn_profile_value first) {
  const struct tarn_profile *profile = writer->profile;
  for (uint32_t i = 0; i < profile->strings; i++)
    (void)put_string(writer, string_at(profile, i));
  put_head(writer, first);
  struct tags tags = {put_string(writer, "type"), put_string(writer, "bytes"),
                      put_string(writer, "raw")};
  put_places_of_code(writer);
  for (uint32_t i = 0; i < profile->places; i++)
    put_sample(writer, &profile->place[i], &tags);
}

/* --------------------------------------------------------------------------------------------- */

static void fail(struct tarn_out *out) {
  if (out->status == TARN_OK)
    out->status = TARN_ENOMEM;
}

void tarn_profile_put(struct tarn_out *out, const struct tarn_profile *profile,
                      tarn_profile_format format, tarn_profile_value value) {
  struct writer writer = {.out = out, .profile = profile};
  if (!gather_spots(&writer))
    fail(out);
  else if (format == TARN_PROFILE_FOLDED)
    put_folded(&writer, value);
  else if (!gather_codes(&writer))
    fail(out);
  else
    put_pprof(&writer, value);
  if (writer.spots)
    tarn_os_unmap(writer.spots, writer.spot_bytes);
  if (writer.codes)
    tarn_os_unmap(writer.codes, writer.code_bytes);
}
