/* SPDX-License-Identifier: MIT */
/*
 * view.h: what a page shows, in words.
 */
#ifndef VIEW_H
#define VIEW_H

#include "page.h"
#include <stdio.h>

/* Two looks at a world: rates are of the time between. */
struct looks {
  struct tarn_live_view now, before; /* before.updated_ns 0: there was none */
};

/* How much of lists there is room for. */
struct view_room {
  unsigned collections, threads, classes;
};

/* A world on several lines.  Lines of headings begin with the character 1. */
#define VIEW_HEADING '\1'
void view_print(FILE *to, const struct looks *looks, const struct view_room *room);

/* The same in a line, and what its columns are. */
void view_print_line(FILE *to, const struct looks *looks);
void view_print_line_head(FILE *to);

/* The same with words, for a line that is drawn again and again; no newline. */
void view_print_brief(FILE *to, const struct looks *looks);

/* What is said when a program has ended. */
void view_print_summary(FILE *to, const struct tarn_live_view *view, unsigned world);

#endif
