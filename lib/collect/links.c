/* SPDX-License-Identifier: MIT */
/*
 * collect/links.c: see collect/links.h.
 */
#include "collect/links.h"
#include "os/os.h"

#define KEPT ((size_t)128 << 10) /* bytes that stay for the next collection */

void tarn_links_start(struct tarn_links *links) { links->most = TARN_LINKS_MOST; }

/* Pages that were used before hold anything: what is read must have been written. */
void tarn_links_make(struct tarn_links *links, size_t ints) {
  size_t room = (2 + TARN_LINKS_EACH) * ints + 1;
  size_t bytes = (room * sizeof *links->to + 4095) & ~(size_t)4095;
  links->on = false;
  if (ints > links->most)
    return;
  if (bytes > links->bytes) {
    tarn_links_end(links);
    links->rows = tarn_os_map(bytes);
    if (!links->rows)
      return;
    tarn_os_populate(links->rows, bytes);
    links->bytes = bytes;
  }
  links->queue = links->rows + ints;
  links->to = links->next = links->queue + ints;
  links->last = links->to + TARN_LINKS_EACH * ints;
  *links->next++ = 0;
  links->on = true;
}

void tarn_links_drop(struct tarn_links *links) {
  links->on = false;
  if (links->bytes > KEPT)
    tarn_links_end(links);
}

void tarn_links_end(struct tarn_links *links) {
  if (links->rows)
    tarn_os_unmap(links->rows, links->bytes);
  *links = (struct tarn_links){.most = links->most};
}
