/* SPDX-License-Identifier: MIT */
/*
 * collect/scan.h: which words of an object are references, told to whoever asks.
 *
 * Trace functions and root providers are written by the program and know one way to tell a
 * reference: tarn_visit.  It writes the word into a buffer, inlined, without a call; whoever the
 * visitor belongs to takes the words when the buffer is full, and when it asks for the rest.  So a
 * trace function costs one call for each object, and its owner looks at many words at a time.
 *
 * The second part is for those who want neither a buffer nor an indirect call: templates over a
 * layout, whose functions are constants at every call.
 */
#ifndef TARN_COLLECT_SCAN_H
#define TARN_COLLECT_SCAN_H

#include "heap/find.h"
#include "world/type.h"

#define TARN_VISITS 32u
#define TARN_ALWAYS_INLINE inline __attribute__((always_inline))

/* References that were visited and not taken yet. */
struct tarn_visits {
  struct tarn_visitor visitor; /* must be first: what trace functions get */
  void (*take)(struct tarn_visits *visits, const uintptr_t *words, size_t count);
  uintptr_t words[TARN_VISITS];
};

/* Readies it where it lies: it must not be moved. */
static inline void tarn_visits_begin(struct tarn_visits *visits,
                                     void (*take)(struct tarn_visits *, const uintptr_t *,
                                                  size_t)) {
  visits->visitor.tarn_next = visits->words;
  visits->visitor.tarn_end = visits->words + TARN_VISITS;
  visits->take = take;
}

/* `take` gets what is there, at most TARN_VISITS words.  It must visit nothing by the same visitor.
 */
static inline void tarn_visits_take(struct tarn_visits *visits) {
  size_t count = (size_t)(visits->visitor.tarn_next - visits->words);
  visits->visitor.tarn_next = visits->words;
  if (count)
    visits->take(visits, visits->words, count);
}

/*
 * Visits every strong reference of an object.  The last ones are taken with the next
 * tarn_visits_take, not before.
 */
void tarn_scan_object(struct tarn_visits *visits, const void *object);

/* The same, inlined for the most frequent sorts of types. */
static TARN_ALWAYS_INLINE void tarn_scan_object_inline(struct tarn_visits *visits,
                                                       const tarn_type *type, const void *object) {
  if (type->scan == TARN_SCAN_TRACE)
    type->trace(object, &visits->visitor);
  else if (type->scan == TARN_SCAN_BITS)
    for (uint64_t bits = type->bits; bits; bits &= bits - 1)
      tarn_visit(&visits->visitor, ((const void *const *)object)[__builtin_ctzll(bits)]);
  else
    tarn_scan_object(visits, object);
}

/* The same, and all are taken when it returns. */
static inline void tarn_scan_object_now(struct tarn_visits *visits, const void *object) {
  tarn_scan_object(visits, object);
  tarn_visits_take(visits);
}

/*
 * The same for the elements, whole or in part, in the bytes from `from` up to `to` of an object in
 * a block of `size` bytes, and for some others of it: all of its fixed part, and all that its data
 * block holds and its trace function visits.  All are taken when it returns.
 */
void tarn_scan_part(struct tarn_visits *visits, const void *object, size_t size, uintptr_t from,
                    uintptr_t to);

/* --- templates ------------------------------------------------------------------------------- */

/* Get one word, and many in a row. */
typedef void (*tarn_word_fn)(void *context, uintptr_t word);
typedef void (*tarn_words_fn)(void *context, const uintptr_t *words, size_t count);

static TARN_ALWAYS_INLINE void tarn_scan_bits(const uintptr_t *words, uint64_t bits,
                                              tarn_word_fn word_fn, void *context) {
  for (; bits; bits &= bits - 1)
    word_fn(context, words[__builtin_ctzll(bits)]);
}

static TARN_ALWAYS_INLINE void tarn_scan_layout(const uintptr_t *words,
                                                const struct tarn_layout *layout, size_t count,
                                                tarn_word_fn word_fn, tarn_words_fn words_fn,
                                                void *context) {
  if (layout->all) {
    words_fn(context, words, count);
    return;
  }
  tarn_scan_bits(words, layout->bits, word_fn, context);
  for (uint32_t i = 0; i < layout->more_count; i++)
    word_fn(context, words[layout->more[i]]);
}

/* The data block, if the pointer names one that is large enough: the user can write that word. */
const uintptr_t *tarn_scan_data_block(const tarn_type *type, const uintptr_t *words);

static TARN_ALWAYS_INLINE void tarn_scan_data(const tarn_type *type, const uintptr_t *words,
                                              tarn_word_fn word_fn, tarn_words_fn words_fn,
                                              void *context) {
  const uintptr_t *data = tarn_scan_data_block(type, words);
  if (!data)
    return;
  word_fn(context, (uintptr_t)data);
  tarn_scan_layout(data, &type->data, type->data_size / sizeof(uintptr_t), word_fn, words_fn,
                   context);
}

static inline bool tarn_layout_has_traced(const struct tarn_layout *layout) {
  return layout->all || layout->bits || layout->more_count;
}

/* `count` elements from `first` on. */
static TARN_ALWAYS_INLINE void tarn_scan_elements(const tarn_type *type, const char *object,
                                                  size_t first, size_t count, tarn_word_fn word_fn,
                                                  tarn_words_fn words_fn, void *context) {
  size_t size = type->element_size;
  const char *element = object + type->size + first * size;
  if (type->element.all) {
    words_fn(context, (const uintptr_t *)(const void *)element, count * size / sizeof(uintptr_t));
    return;
  }
  for (size_t i = 0; i < count; i++, element += size)
    tarn_scan_layout((const uintptr_t *)(const void *)element, &type->element,
                     size / sizeof(uintptr_t), word_fn, words_fn, context);
}

/* How many elements fit in the object's block of `size` bytes, whatever its count says: the user
 * can write that word. */
size_t tarn_scan_element_count(const tarn_type *type, const void *object, size_t size);

/* Bytes of an object's block. */
size_t tarn_scan_block_size(const void *object);

#endif
