/* SPDX-License-Identifier: MIT */
/*
 * syntax.c: syntax-rules, by renaming.
 *
 * A use is matched against the rules in turn.  What the variables of the pattern matched goes into
 * the template as it is; every other name of the template becomes an alias, one for each name and
 * use, which no form of the program can contain.  expand.c says what an alias means.
 */
#include "expand.h"
#include <stdlib.h>

static scm ellipsis_name, underscore_name, syntax_rules_name;

/* --- aliases --------------------------------------------------------------------------------- */

scm make_alias(struct vm *vm, scm symbol, struct scope *scope) {
  vm->keep[0] = symbol;
  struct alias *alias = make_object(vm, types.alias);
  if (!alias)
    return 0;
  alias->symbol = symbol;
  alias->scope = scope;
  return (scm)alias;
}

/* Pairs and vectors that were met, so that a walk of circular data ends. */
struct met {
  scm *places, *left; /* a set, open addressing; and those whose parts were not looked at yet */
  size_t capacity, count, left_count;
};

static bool grow_met(struct met *met) {
  struct met grown = {.capacity = met->capacity ? 2 * met->capacity : 256};
  grown.places = calloc(grown.capacity, sizeof(scm));
  grown.left = calloc(grown.capacity, sizeof(scm));
  if (!grown.places || !grown.left) {
    free(grown.places);
    free(grown.left);
    return false;
  }
  for (size_t i = 0; i < met->capacity; i++)
    if (met->places[i]) {
      size_t at = (met->places[i] >> 4) & (grown.capacity - 1);
      while (grown.places[at])
        at = (at + 1) & (grown.capacity - 1);
      grown.places[at] = met->places[i];
    }
  if (met->left_count)
    memcpy(grown.left, met->left, met->left_count * sizeof(scm));
  grown.count = met->count;
  grown.left_count = met->left_count;
  free(met->places);
  free(met->left);
  *met = grown;
  return true;
}

/* False: no memory. */
static bool meet(struct met *met, scm datum) {
  if (!is_pair(datum) && !is_vector(datum))
    return true;
  if (2 * (met->count + 1) > met->capacity && !grow_met(met))
    return false;
  size_t at = (datum >> 4) & (met->capacity - 1);
  for (; met->places[at]; at = (at + 1) & (met->capacity - 1))
    if (met->places[at] == datum)
      return true;
  met->places[at] = datum;
  met->count++;
  met->left[met->left_count++] = datum;
  return true;
}

/* The parts of one datum; true: there is an alias, or no memory to find out. */
static bool meet_parts(struct met *met, scm datum) {
  if (is_pair(datum))
    return is_alias(car(datum)) || is_alias(cdr(datum)) || !meet(met, car(datum)) ||
           !meet(met, cdr(datum));
  for (size_t i = 0; i < vector_of(datum)->count; i++)
    if (is_alias(vector_of(datum)->items[i]) || !meet(met, vector_of(datum)->items[i]))
      return true;
  return false;
}

/* Without recursion, for constants may be as deep as memory is. */
static bool has_alias(scm datum) {
  struct met met = {0};
  bool found = is_alias(datum) || !meet(&met, datum);
  while (!found && met.left_count > 0)
    found = meet_parts(&met, met.left[--met.left_count]);
  free(met.places);
  free(met.left);
  return found;
}

static scm strip_part(struct compilation *c, scm datum, unsigned depth);

static scm strip_vector(struct compilation *c, scm vector, unsigned depth) {
  scm copy = keep(c, make_vector(c->vm, vector_of(vector)->count, SCM_FALSE));
  for (size_t i = 0; copy && i < vector_of(vector)->count; i++) {
    scm item = strip_part(c, vector_of(vector)->items[i], depth);
    if (!item)
      return 0;
    store(c->vm, copy, &vector_of(copy)->items[i], item);
  }
  return copy;
}

/* A copy.  Templates made it, so it is not circular, and as deep as a form may be. */
static scm strip_part(struct compilation *c, scm datum, unsigned depth) {
  while (is_alias(datum))
    datum = alias_of(datum)->symbol;
  if (!is_vector(datum) && !is_pair(datum))
    return datum;
  if (depth > DEPTH_MOST)
    return syntax_error(c, "a constant is nested too deeply", SCM_FALSE), 0;
  if (is_vector(datum))
    return strip_vector(c, datum, depth + 1);
  scm list = SCM_NIL, item;
  for (; is_pair(datum); datum = cdr(datum))
    if (!(item = strip_part(c, car(datum), depth + 1)) ||
        !(list = keep(c, cons(c->vm, item, list))))
      return 0;
  scm result = strip_part(c, datum, depth + 1);
  for (; result && list != SCM_NIL; list = cdr(list))
    result = keep(c, cons(c->vm, car(list), result));
  return result;
}

scm strip(struct compilation *c, scm datum) {
  return c->renamed && has_alias(datum) ? strip_part(c, datum, 0) : datum;
}

scm reversed(struct compilation *c, scm list) {
  scm result = SCM_NIL;
  for (; result && list != SCM_NIL; list = cdr(list))
    result = keep(c, cons(c->vm, car(list), result));
  return result;
}

/* --- matching -------------------------------------------------------------------------------- */

/* What a variable of a pattern matched: below `depth` ellipses a row for each match of the
 * innermost of them. */
struct found {
  struct found *next;
  scm name;
  unsigned depth;
  scm form;            /* depth 0 */
  struct found **rows; /* else: of depth - 1 */
  unsigned count;
};

struct renamed {
  struct renamed *next;
  scm name, alias;
};

struct use {
  struct compilation *c;
  const struct macro *macro;
  struct scope *scope;
  struct found *found;
  struct renamed *renamed;
  bool failed; /* no memory, or an error; the condition is set */
};

static bool is_ellipsis(const struct use *use, scm form) {
  if (form == use->macro->ellipsis)
    return true;
  while (is_alias(form))
    form = alias_of(form)->symbol;
  return form == ellipsis_name && use->macro->ellipsis == ellipsis_name;
}

static bool is_literal(const struct use *use, scm name) {
  for (scm at = use->macro->literals; is_pair(at); at = cdr(at))
    if (car(at) == name)
      return true;
  return false;
}

/* The same binding, or neither is bound and they are one symbol. */
static bool mean_the_same(const struct use *use, scm literal, scm form) {
  struct meaning a = meaning_of(literal, use->macro->scope), b = meaning_of(form, use->scope);
  if (a.variable || b.variable)
    return a.variable == b.variable;
  return a.symbol || b.symbol ? a.symbol == b.symbol : a.syntax == b.syntax;
}

static struct found *new_found(struct use *use, scm name) {
  struct found *found = arena_take(use->c, sizeof *found);
  if (!found) {
    use->failed = true;
    return NULL;
  }
  found->name = name;
  found->next = use->found;
  use->found = found;
  return found;
}

static bool match(struct use *use, scm pattern, scm form);

static bool match_name(struct use *use, scm name, scm form) {
  if (is_literal(use, name))
    return is_name(form) && mean_the_same(use, name, form);
  if (name == underscore_name)
    return true;
  struct found *found = new_found(use, name);
  if (found)
    found->form = form;
  return found != NULL;
}

static size_t pairs_of(scm list) {
  size_t count = 0;
  for (; is_pair(list); list = cdr(list))
    count++;
  return count;
}

/* The variables of a pattern, with room for `count` rows each. */
static bool add_rows(struct use *use, scm pattern, unsigned count) {
  for (; is_pair(pattern); pattern = cdr(pattern))
    if (!add_rows(use, car(pattern), count))
      return false;
  for (size_t i = 0; is_vector(pattern) && i < vector_of(pattern)->count; i++)
    if (!add_rows(use, vector_of(pattern)->items[i], count))
      return false;
  if (!is_name(pattern) || is_ellipsis(use, pattern) || is_literal(use, pattern) ||
      pattern == underscore_name)
    return true;
  struct found *found = new_found(use, pattern);
  if (!found || !(found->rows = arena_take(use->c, (count + 1) * sizeof(struct found *))))
    return false;
  found->depth = 1;
  return true;
}

/* (pattern ... . rest) against a list of which `count` forms belong to the ellipsis. */
static bool match_ellipsis(struct use *use, scm pattern, scm form, size_t count) {
  struct found *outer = use->found;
  if (!add_rows(use, car(pattern), (unsigned)count))
    return !(use->failed = true);
  struct found *rows = use->found;
  for (size_t i = 0; i < count; i++, form = cdr(form)) {
    use->found = NULL;
    if (!match(use, car(pattern), car(form)))
      return false;
    for (struct found *one = use->found; one; one = one->next)
      for (struct found *row = rows; row != outer; row = row->next)
        if (row->name == one->name) {
          row->depth = one->depth + 1;
          row->rows[row->count++] = one;
        }
  }
  use->found = rows;
  return match(use, cdr(cdr(pattern)), form);
}

static bool match_vector(struct use *use, scm pattern, scm form) {
  scm patterns = SCM_NIL, forms = SCM_NIL;
  if (!is_vector(form))
    return false;
  for (size_t i = vector_of(pattern)->count; patterns && i > 0; i--)
    patterns = keep(use->c, cons(use->c->vm, vector_of(pattern)->items[i - 1], patterns));
  for (size_t i = vector_of(form)->count; forms && i > 0; i--)
    forms = keep(use->c, cons(use->c->vm, vector_of(form)->items[i - 1], forms));
  if (!patterns || !forms)
    return !(use->failed = true);
  return match(use, patterns, forms);
}

static bool match(struct use *use, scm pattern, scm form) {
  for (; is_pair(pattern); pattern = cdr(pattern), form = cdr(form)) {
    if (is_pair(cdr(pattern)) && is_ellipsis(use, car(cdr(pattern)))) {
      size_t after = pairs_of(cdr(cdr(pattern))), there = pairs_of(form);
      return there >= after && match_ellipsis(use, pattern, form, there - after);
    }
    if (!is_pair(form) || !match(use, car(pattern), car(form)))
      return false;
  }
  if (is_name(pattern))
    return match_name(use, pattern, form);
  if (is_vector(pattern))
    return match_vector(use, pattern, form);
  return pattern == SCM_NIL ? form == SCM_NIL : is_equal(pattern, form);
}

/* --- templates ------------------------------------------------------------------------------- */

static scm fill(struct use *use, scm template, bool plain);

static struct found *find(const struct use *use, scm name) {
  for (struct found *found = use->found; found; found = found->next)
    if (found->name == name)
      return found;
  return NULL;
}

static scm rename_name(struct use *use, scm name) {
  for (const struct renamed *at = use->renamed; at; at = at->next)
    if (at->name == name)
      return at->alias;
  struct renamed *renamed = arena_take(use->c, sizeof *renamed);
  scm alias = renamed ? keep(use->c, make_alias(use->c->vm, name, use->macro->scope)) : 0;
  if (!alias)
    return 0;
  use->c->renamed = true;
  *renamed = (struct renamed){.next = use->renamed, .name = name, .alias = alias};
  use->renamed = renamed;
  return alias;
}

static scm fill_name(struct use *use, scm name) {
  const struct found *found = find(use, name);
  if (!found)
    return rename_name(use, name);
  if (found->depth == 0)
    return found->form;
  (void)syntax_error(use->c, "a variable of the pattern lacks its ellipsis in the template", name);
  return 0;
}

/* How many rows the variables of a template have that are below an ellipsis; -1: none is. */
static intptr_t rows_of(const struct use *use, scm template) {
  intptr_t rows = -1, more;
  for (; is_pair(template); template = cdr(template))
    if ((more = rows_of(use, car(template))) > rows)
      rows = more;
  for (size_t i = 0; is_vector(template) && i < vector_of(template)->count; i++)
    if ((more = rows_of(use, vector_of(template)->items[i])) > rows)
      rows = more;
  const struct found *found = is_name(template) ? find(use, template) : NULL;
  return found && found->depth > 0 && (intptr_t)found->count > rows ? (intptr_t)found->count : rows;
}

/* Every variable that has rows is what row `row` of it is. */
static bool go_into_row(struct use *use, scm template, intptr_t row) {
  for (; is_pair(template); template = cdr(template))
    if (!go_into_row(use, car(template), row))
      return false;
  for (size_t i = 0; is_vector(template) && i < vector_of(template)->count; i++)
    if (!go_into_row(use, vector_of(template)->items[i], row))
      return false;
  const struct found *found = is_name(template) ? find(use, template) : NULL;
  if (!found || found->depth == 0 || row >= (intptr_t)found->count)
    return true;
  struct found *inner = new_found(use, template);
  if (!inner)
    return false;
  struct found *next = inner->next;
  *inner = *found->rows[row];
  inner->next = next;
  return true;
}

/* The template once for each row, in front of `rest`, the last row first in `results`. */
static scm fill_rows(struct use *use, scm template, unsigned ellipses, scm rest, bool plain) {
  struct found *outer = use->found;
  intptr_t rows = rows_of(use, template);
  if (rows < 0)
    return syntax_error(use->c, "an ellipsis follows what has no variable for it", template), 0;
  for (intptr_t row = rows; rest && row > 0; row--) {
    if (!go_into_row(use, template, row - 1))
      return 0;
    if (ellipses > 1) {
      rest = fill_rows(use, template, ellipses - 1, rest, plain);
    } else {
      scm item = fill(use, template, plain);
      rest = item ? keep(use->c, cons(use->c->vm, item, rest)) : 0;
    }
    use->found = outer;
  }
  return rest;
}

static scm fill_vector(struct use *use, scm template, bool plain) {
  scm list = SCM_NIL;
  for (size_t i = vector_of(template)->count; list && i > 0; i--)
    list = keep(use->c, cons(use->c->vm, vector_of(template)->items[i - 1], list));
  if (!list || !(list = fill(use, list, plain)))
    return 0;
  scm vector = keep(use->c, make_vector(use->c->vm, pairs_of(list), SCM_FALSE));
  for (size_t i = 0; vector && is_pair(list); list = cdr(list), i++)
    store(use->c->vm, vector, &vector_of(vector)->items[i], car(list));
  return vector;
}

/* `plain`: an ellipsis is a name like others. */
static scm fill(struct use *use, scm template, bool plain) {
  if (is_name(template))
    return fill_name(use, template);
  if (is_vector(template))
    return fill_vector(use, template, plain);
  if (!is_pair(template))
    return template;
  if (!plain && is_ellipsis(use, car(template)) && is_pair(cdr(template)))
    return fill(use, car(cdr(template)), true);
  scm rest = cdr(template), first;
  unsigned ellipses = 0;
  for (; !plain && is_pair(rest) && is_ellipsis(use, car(rest)); rest = cdr(rest))
    ellipses++;
  if (!(rest = fill(use, rest, plain)))
    return 0;
  if (ellipses)
    return fill_rows(use, car(template), ellipses, rest, plain);
  return (first = fill(use, car(template), plain)) ? keep(use->c, cons(use->c->vm, first, rest))
                                                   : 0;
}

/* --- macros ---------------------------------------------------------------------------------- */

scm use_macro(struct compilation *c, scm macro, scm form, struct scope *scope) {
  struct use use = {.c = c, .macro = macro_of(macro), .scope = scope};
  for (scm rules = use.macro->rules; is_pair(rules); rules = cdr(rules)) {
    use.found = NULL;
    if (match(&use, cdr(car(car(rules))), cdr(form))) /* not the keyword itself */
      return fill(&use, car(cdr(car(rules))), false);
    if (use.failed)
      return 0;
  }
  (void)syntax_error(c, "no rule of the syntax matches", form);
  return 0;
}

static bool are_rules(scm rules) {
  for (; is_pair(rules); rules = cdr(rules))
    if (list_length(car(rules)) != 2 || !is_pair(car(car(rules))))
      return false;
  return rules == SCM_NIL;
}

/* (syntax-rules [ellipsis] (literal ...) ((_ . pattern) template) ...) */
scm make_macro(struct compilation *c, scm rules, struct scope *scope) {
  scm keyword = is_pair(rules) ? car(rules) : SCM_FALSE, ellipsis = ellipsis_name, at = rules;
  while (is_alias(keyword))
    keyword = alias_of(keyword)->symbol;
  if (keyword == syntax_rules_name && list_length(rules) >= 2) {
    at = cdr(rules);
    if (is_name(car(at))) {
      ellipsis = car(at);
      at = cdr(at);
    }
  }
  if (at == rules || !is_pair(at) || list_length(car(at)) < 0 || !are_rules(cdr(at))) {
    (void)syntax_error(c, "syntax is made by syntax-rules", rules);
    return 0;
  }
  struct macro *macro = make_object(c->vm, types.macro);
  if (!macro)
    return 0;
  macro->ellipsis = ellipsis;
  macro->literals = car(at);
  macro->rules = cdr(at);
  macro->scope = scope;
  return keep(c, (scm)macro);
}

void syntax_begin(struct vm *vm) {
  types.alias = make_type("alias", sizeof(struct alias), 1u << 1, NULL);
  types.macro = make_type("macro", sizeof(struct macro), 7u << 1, NULL);
  struct {
    const char *name;
    scm *symbol;
  } names[] = {
      {"...", &ellipsis_name}, {"_", &underscore_name}, {"syntax-rules", &syntax_rules_name}};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    if (!(*names[i].symbol = intern(vm, names[i].name)) ||
        tarn_root_add(world, (void **)names[i].symbol) != TARN_OK)
      exit(2);
}
