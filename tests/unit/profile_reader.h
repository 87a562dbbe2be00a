/* SPDX-License-Identifier: MIT */
/*
 * A small reader of pprof's protobuf, written from the description of the format and not from the
 * library's writer: it takes messages apart by field, refuses what it does not know, and checks
 * that all that is referred to is there.
 */
#ifndef TARN_TESTS_PROFILE_READER_H
#define TARN_TESTS_PROFILE_READER_H

#include "support.h"

#define READER_MOST 40000u
#define READER_DEPTH 64u

struct reader_text {
  const char *start;
  size_t length;
};

struct reader_sample {
  uint64_t locations[READER_DEPTH], values[4];
  size_t depth, value_count;
  const char *type;
  uint64_t bytes;
};

struct reader_location {
  uint64_t id, mapping, address, function, line;
};

struct reader_function {
  uint64_t id, name, file;
};

struct reader_mapping {
  uint64_t id, start, limit, offset, file, build_id;
};

struct reader {
  struct reader_text strings[READER_MOST];
  struct reader_sample samples[READER_MOST];
  struct reader_location locations[READER_MOST];
  struct reader_function functions[READER_MOST];
  struct reader_mapping mappings[1000];
  size_t string_count, sample_count, location_count, function_count, mapping_count;
  uint64_t types[8], units[8], period, period_type, first, comment, date, duration;
  size_t type_count;
  char *names; /* every string, with a NUL behind */
  size_t names_used;
};

struct reader_piece {
  const unsigned char *at, *end;
};

struct reader_field {
  unsigned number;
  bool is_piece;
  uint64_t value;
  struct reader_piece piece;
};

static inline uint64_t reader_varint(struct reader_piece *piece) {
  uint64_t value = 0;
  for (unsigned shift = 0;; shift += 7) {
    assert_true(piece->at < piece->end);
    assert_true(shift < 64);
    value |= (uint64_t)(*piece->at & 0x7f) << shift;
    if (!(*piece->at++ & 0x80))
      return value;
  }
}

/* The next field; false: the end. */
static inline bool reader_next(struct reader_piece *piece, struct reader_field *field) {
  if (piece->at == piece->end)
    return false;
  uint64_t key = reader_varint(piece);
  field->number = (unsigned)(key >> 3);
  field->is_piece = (key & 7) == 2;
  assert_true((key & 7) == 0 || field->is_piece);
  field->value = reader_varint(piece);
  if (field->is_piece) {
    assert_true(field->value <= (size_t)(piece->end - piece->at));
    field->piece = (struct reader_piece){piece->at, piece->at + field->value};
    piece->at += field->value;
  }
  return true;
}

/* A message of numbers alone, the field's number less 1 being the index. */
static inline void reader_numbers(struct reader_piece piece, uint64_t *values, size_t count) {
  struct reader_field field;
  while (reader_next(&piece, &field)) {
    assert_false(field.is_piece);
    assert_true(field.number >= 1 && field.number <= count);
    values[field.number - 1] = field.value;
  }
}

static inline const char *reader_string(const struct reader *reader, uint64_t number) {
  assert_true(number < reader->string_count);
  return reader->strings[number].start;
}

static inline void reader_take_sample(struct reader *reader, struct reader_piece piece,
                                      uint64_t labels[2][4]) {
  struct reader_sample *sample = &reader->samples[reader->sample_count++];
  struct reader_field field;
  unsigned label = 0;
  assert_true(reader->sample_count < READER_MOST);
  while (reader_next(&piece, &field)) {
    assert_true(field.is_piece); /* packed */
    if (field.number == 1)
      while (field.piece.at < field.piece.end) {
        assert_true(sample->depth < READER_DEPTH);
        sample->locations[sample->depth++] = reader_varint(&field.piece);
      }
    else if (field.number == 2)
      while (field.piece.at < field.piece.end) {
        assert_true(sample->value_count < 4);
        sample->values[sample->value_count++] = reader_varint(&field.piece);
      }
    else {
      assert_int_equal(field.number, 3);
      assert_true(label < 2);
      reader_numbers(field.piece, labels[label++], 4);
    }
  }
  assert_int_equal(sample->value_count, 4);
  assert_int_equal(label, 2);
}

static inline void reader_take_location(struct reader *reader, struct reader_piece piece) {
  struct reader_location *location = &reader->locations[reader->location_count++];
  struct reader_field field;
  uint64_t line[2] = {0};
  assert_true(reader->location_count < READER_MOST);
  while (reader_next(&piece, &field)) {
    assert_int_equal(field.is_piece, field.number == 4);
    if (field.number == 1)
      location->id = field.value;
    else if (field.number == 2)
      location->mapping = field.value;
    else if (field.number == 3)
      location->address = field.value;
    else
      reader_numbers(field.piece, line, 2);
  }
  location->function = line[0];
  location->line = line[1];
}

static inline const struct reader_location *reader_location(const struct reader *reader,
                                                            uint64_t id) {
  for (size_t i = 0; i < reader->location_count; i++)
    if (reader->locations[i].id == id)
      return &reader->locations[i];
  return NULL;
}

static inline const struct reader_function *reader_function(const struct reader *reader,
                                                            uint64_t id) {
  for (size_t i = 0; i < reader->function_count; i++)
    if (reader->functions[i].id == id)
      return &reader->functions[i];
  return NULL;
}

/* The name of a call of a sample, 0 being the innermost. */
static inline const char *reader_call(const struct reader *reader,
                                      const struct reader_sample *sample, size_t depth) {
  const struct reader_location *location = reader_location(reader, sample->locations[depth]);
  assert_non_null(location);
  const struct reader_function *function = reader_function(reader, location->function);
  assert_non_null(function);
  return reader_string(reader, function->name);
}

/* All references lead somewhere, ids are unique, and what is in a mapping says so. */
static inline void reader_check(const struct reader *reader) {
  assert_true(reader->string_count > 0);
  assert_int_equal(reader->strings[0].length, 0);
  for (size_t i = 0; i < reader->location_count; i++) {
    const struct reader_location *location = &reader->locations[i];
    assert_true(location->id != 0);
    assert_ptr_equal(reader_location(reader, location->id), location);
    assert_non_null(reader_function(reader, location->function));
    assert_true(location->mapping <= reader->mapping_count);
    if (location->mapping) {
      const struct reader_mapping *mapping = &reader->mappings[location->mapping - 1];
      assert_int_equal(mapping->id, location->mapping);
      assert_true(location->address >= mapping->start && location->address < mapping->limit);
    }
  }
  for (size_t i = 0; i < reader->function_count; i++) {
    assert_ptr_equal(reader_function(reader, reader->functions[i].id), &reader->functions[i]);
    (void)reader_string(reader, reader->functions[i].name);
    (void)reader_string(reader, reader->functions[i].file);
  }
  for (size_t i = 0; i < reader->sample_count; i++)
    for (size_t k = 0; k < reader->samples[i].depth; k++)
      assert_non_null(reader_location(reader, reader->samples[i].locations[k]));
}

static inline void reader_free(struct reader *reader) {
  free(reader->names);
  free(reader);
}

/* Fails the test if it is not a profile of Tarn's. */
static inline struct reader *reader_read(const void *bytes, size_t size) {
  struct reader *reader = calloc(1, sizeof *reader);
  uint64_t(*labels)[2][4] = calloc(READER_MOST, sizeof *labels);
  struct reader_piece piece = {bytes, (const unsigned char *)bytes + size};
  struct reader_field field;
  assert_non_null(reader);
  assert_non_null(labels);
  reader->names = calloc(2, size + 1);
  assert_non_null(reader->names);
  while (reader_next(&piece, &field)) {
    uint64_t numbers[9] = {0};
    switch (field.number) {
    case 1:
    case 11:
      reader_numbers(field.piece, numbers, 2);
      if (field.number == 11) {
        reader->period_type = numbers[0];
        break;
      }
      assert_true(reader->type_count < 8);
      reader->types[reader->type_count] = numbers[0];
      reader->units[reader->type_count++] = numbers[1];
      break;
    case 2:
      reader_take_sample(reader, field.piece, labels[reader->sample_count]);
      break;
    case 3:
      reader_numbers(field.piece, numbers, 9);
      assert_true(reader->mapping_count < 1000);
      memcpy(&reader->mappings[reader->mapping_count++], numbers, sizeof(struct reader_mapping));
      break;
    case 4:
      reader_take_location(reader, field.piece);
      break;
    case 5:
      reader_numbers(field.piece, numbers, 5);
      assert_true(reader->function_count < READER_MOST);
      reader->functions[reader->function_count++] =
          (struct reader_function){numbers[0], numbers[1], numbers[3]};
      break;
    case 6: {
      assert_true(field.is_piece && reader->string_count < READER_MOST);
      char *copy = reader->names + reader->names_used;
      memcpy(copy, field.piece.at, field.value);
      reader->names_used += field.value + 1;
      reader->strings[reader->string_count++] = (struct reader_text){copy, field.value};
      break;
    }
    case 9:
      reader->date = field.value;
      break;
    case 10:
      reader->duration = field.value;
      break;
    case 12:
      reader->period = field.value;
      break;
    case 13:
      reader->comment = field.value;
      break;
    case 14:
      reader->first = field.value;
      break;
    default:
      fail_msg("field %u", field.number);
    }
  }
  for (size_t i = 0; i < reader->sample_count; i++)
    for (unsigned k = 0; k < 2; k++) {
      const uint64_t *label = labels[i][k]; /* key, string, number, unit */
      if (strcmp(reader_string(reader, label[0]), "type") == 0)
        reader->samples[i].type = reader_string(reader, label[1]);
      else
        reader->samples[i].bytes = label[2];
    }
  free(labels);
  reader_check(reader);
  return reader;
}

#endif
