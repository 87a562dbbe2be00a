/* SPDX-License-Identifier: MIT */
/*
 * collect/links.h: the references among few candidates, noted.
 *
 * A collection of cycles goes over the references of its candidates twice: it takes them off the
 * counts, then follows those of what lives.  If the candidates are few, as in young collections,
 * the first time notes for each which others it refers to, as numbers of ints (collect/refs.h), and
 * the second needs neither the objects nor their trace functions.
 *
 * A candidate's references stand in a row that ends with 0, the number of the int that is nobody's.
 * Rows lie one behind the other; the first one is empty, for each candidate that has none.
 *
 * If there is no memory, or there are more references than was thought, there are no links, and the
 * objects are traced again.  Belongs to the collecting thread, in its stop.
 */
#ifndef TARN_COLLECT_LINKS_H
#define TARN_COLLECT_LINKS_H

#include "heap/store.h"

#define TARN_LINKS_MOST ((size_t)64 << 10) /* ints; so at most 1.3 MiB for one collection */
#define TARN_LINKS_EACH ((size_t)3)        /* references that each may have, all in all */

struct tarn_links {
  uint32_t *rows;             /* by number of int: where its row begins */
  uint32_t *queue;            /* room for each once */
  uint32_t *to, *next, *last; /* the rows; where they go on; the last place */
  bool on;
  size_t most;  /* ints; tests set it lower */
  size_t bytes; /* of the mapping */
};

void tarn_links_start(struct tarn_links *links);

/* Room for those of `ints` ints; `on` tells whether there is. */
void tarn_links_make(struct tarn_links *links, size_t ints);
/* They are not used any more, and little stays for the next collection. */
void tarn_links_drop(struct tarn_links *links);
/* What was kept goes, too. */
void tarn_links_end(struct tarn_links *links);

/* The row of a candidate begins; it has one reference more; and ends. */
static inline void tarn_links_begin_row(struct tarn_links *links, uint32_t from) {
  links->rows[from] = (uint32_t)(links->next - links->to);
}
static inline void tarn_links_add(struct tarn_links *links, uint32_t to) {
  if (TARN_LIKELY(links->next < links->last)) /* one stays for the end */
    *links->next++ = to;
  else
    links->on = false;
}
static inline void tarn_links_end_row(struct tarn_links *links) {
  if (TARN_LIKELY(links->next <= links->last))
    *links->next++ = 0;
  else
    links->on = false;
}
/* It has none. */
static inline void tarn_links_empty_row(struct tarn_links *links, uint32_t from) {
  links->rows[from] = 0;
}

#endif
