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

/* Constants lose their aliases in a copy, in which what was one is one: so they may be circular,
 * and as deep as memory is. */
struct copying {
  struct vm *vm;
  scm copies; /* by eq?: from a pair or vector to its copy */
  scm left;   /* a list of those whose copies are still empty */
  bool renamed;
};

static scm copy_of(struct copying *copying, scm datum) {
  struct vm *vm = copying->vm;
  for (; is_alias(datum); datum = alias_of(datum)->symbol)
    copying->renamed = true;
  if (!is_pair(datum) && !is_vector(datum))
    return datum;
  scm copy = table_ref(copying->copies, datum);
  if (copy)
    return copy;
  copy = is_pair(datum) ? cons(vm, SCM_NIL, SCM_NIL)
                        : make_vector(vm, vector_of(datum)->count, SCM_NIL);
  ROOTS(vm, (void *)&copy);
  if (!copy || !table_put(vm, copying->copies, datum, copy) ||
      !(copying->left = cons(vm, datum, copying->left)))
    return 0;
  return copy;
}

static bool copy_part(struct copying *copying, scm copy, scm *to, scm part) {
  if (!(part = copy_of(copying, part)))
    return false;
  store(copying->vm, copy, to, part);
  return true;
}

static bool copy_parts(struct copying *copying, scm datum) {
  scm copy = table_ref(copying->copies, datum);
  if (is_pair(datum))
    return copy_part(copying, copy, &pair_of(copy)->car, car(datum)) &&
           copy_part(copying, copy, &pair_of(copy)->cdr, cdr(datum));
  for (size_t i = 0; i < vector_of(datum)->count; i++)
    if (!copy_part(copying, copy, &vector_of(copy)->items[i], vector_of(datum)->items[i]))
      return false;
  return true;
}

/* What has no alias stays the same object. */
scm strip(struct compilation *c, scm datum) {
  while (is_alias(datum))
    datum = alias_of(datum)->symbol;
  if (!c->renamed || (!is_pair(datum) && !is_vector(datum)))
    return datum;
  struct copying copying = {.vm = c->vm, .copies = SCM_FALSE, .left = SCM_NIL};
  ROOTS(c->vm, (void *)&copying.copies, (void *)&copying.left);
  scm result = (copying.copies = eq_table(c->vm)) ? copy_of(&copying, datum) : 0;
  while (result && copying.left != SCM_NIL) {
    scm next = car(copying.left);
    copying.left = cdr(copying.left);
    if (!copy_parts(&copying, next))
      return 0;
  }
  return copying.renamed ? keep(c, result) : result ? datum : 0;
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
  size_t count;
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

/* At the beginning of a list. */
static unsigned count_ellipses(const struct use *use, scm list) {
  unsigned count = 0;
  for (; is_pair(list) && is_ellipsis(use, car(list)); list = cdr(list))
    count++;
  return count;
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

struct rows {
  size_t count, row;
  struct found *found; /* what there was before any went into the row */
  unsigned below;      /* ellipses that the name at hand is below, from where the walk began */
};
typedef bool (*visit_fn)(struct use *use, scm name, struct rows *rows);

static bool each_name(struct use *use, scm form, visit_fn visit, struct rows *rows);

static bool each_name_below(struct use *use, scm form, unsigned ellipses, visit_fn visit,
                            struct rows *rows) {
  rows->below += ellipses;
  bool good = each_name(use, form, visit, rows);
  rows->below -= ellipses;
  return good;
}

/* Calls `visit` for each name in a pattern or template, until that says false. */
static bool each_name(struct use *use, scm form, visit_fn visit, struct rows *rows) {
  for (; is_pair(form); form = cdr(form))
    if (!each_name_below(use, car(form), count_ellipses(use, cdr(form)), visit, rows))
      return false;
  if (!is_vector(form))
    return !is_name(form) || visit(use, form, rows);
  const struct vector *vector = vector_of(form);
  for (size_t i = 0, next; i < vector->count; i++) {
    for (next = i + 1; next < vector->count && is_ellipsis(use, vector->items[next]);)
      next++;
    if (!each_name_below(use, vector->items[i], (unsigned)(next - i - 1), visit, rows))
      return false;
  }
  return true;
}

/* A variable of a pattern gets room for as many rows. */
static bool add_rows(struct use *use, scm name, struct rows *rows) {
  if (is_ellipsis(use, name) || is_literal(use, name) || name == underscore_name)
    return true;
  struct found *found = new_found(use, name);
  if (!found || !(found->rows = arena_take(use->c, (rows->count + 1) * sizeof(struct found *))))
    return false;
  found->depth = 1 + rows->below;
  return true;
}

/* (pattern ... . rest) against a list of which `count` forms belong to the ellipsis. */
static bool match_ellipsis(struct use *use, scm pattern, scm form, size_t count) {
  struct found *outer = use->found;
  if (!each_name(use, car(pattern), add_rows, &(struct rows){.count = count}))
    return !(use->failed = true);
  struct found *rows = use->found;
  for (size_t i = 0; i < count; i++, form = cdr(form)) {
    use->found = NULL;
    if (!match(use, car(pattern), car(form)))
      return false;
    for (struct found *one = use->found; one; one = one->next)
      for (struct found *row = rows; row != outer; row = row->next)
        if (row->name == one->name) {
          row->rows[i] = one;
          row->count = i + 1;
        }
  }
  use->found = rows;
  return match(use, cdr(cdr(pattern)), form);
}

static scm vector_to_list(struct use *use, scm vector) {
  return keep(use->c, list_of(use->c->vm, vector_of(vector)->count, vector_of(vector)->items));
}

static bool match_vector(struct use *use, scm pattern, scm form) {
  if (!is_vector(form))
    return false;
  scm patterns = vector_to_list(use, pattern), forms = patterns ? vector_to_list(use, form) : 0;
  return forms ? match(use, patterns, forms) : !(use->failed = true);
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
  return pattern == SCM_NIL ? form == SCM_NIL : is_equal_quietly(use->c->vm, pattern, form);
}

/* --- templates ------------------------------------------------------------------------------- */

static scm fill(struct use *use, scm template, bool plain);

static struct found *find(struct found *found, scm name) {
  while (found && found->name != name)
    found = found->next;
  return found;
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
  const struct found *found = find(use->found, name);
  if (!found)
    return rename_name(use, name);
  if (found->depth == 0)
    return found->form;
  (void)syntax_error(use->c, "a variable of the pattern lacks its ellipsis in the template", name);
  return 0;
}

/* Does the ellipsis at hand, the outermost one, go through the variable's rows?  Where it is below
 * more ellipses than in the pattern, the inner ones do. */
static bool is_for_ellipsis(const struct found *found, const struct rows *rows) {
  return found && found->depth > 0 && found->depth >= rows->below;
}

/* The most rows that a variable of a template has, plus 1; 0: there is none for the ellipsis. */
static bool count_rows(struct use *use, scm name, struct rows *rows) {
  const struct found *found = find(use->found, name);
  if (is_for_ellipsis(found, rows) && found->count >= rows->count)
    rows->count = found->count + 1;
  return true;
}

/* A variable that has rows is what row `row` of it is; the same for each time that it is there. */
static bool go_into_row(struct use *use, scm name, struct rows *rows) {
  const struct found *found = find(rows->found, name);
  if (!is_for_ellipsis(found, rows) || rows->row >= found->count || !found->rows[rows->row])
    return true; /* no row at all: the rules were changed meanwhile */
  struct found *inner = new_found(use, name);
  if (!inner)
    return false;
  struct found *next = inner->next;
  *inner = *found->rows[rows->row];
  inner->next = next;
  return true;
}

/* The template once for each row, in front of `rest`, the last row first in `results`. */
static scm fill_rows(struct use *use, scm template, unsigned ellipses, scm rest, bool plain) {
  struct found *outer = use->found;
  struct rows rows = {.found = outer, .below = ellipses};
  (void)each_name(use, template, count_rows, &rows);
  if (rows.count == 0)
    return syntax_error(use->c, "an ellipsis follows what has no variable for it", template), 0;
  for (rows.row = rows.count - 1; rest && rows.row-- > 0;) {
    if (!each_name(use, template, go_into_row, &rows))
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
  scm list = vector_to_list(use, template);
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
  unsigned ellipses = plain ? 0 : count_ellipses(use, rest);
  for (unsigned i = 0; i < ellipses; i++)
    rest = cdr(rest);
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
  scm keyword = car(rules), ellipsis = ellipsis_name, at = rules;
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
  for (scm literals = car(at); is_pair(literals); literals = cdr(literals))
    if (car(literals) == ellipsis)
      ellipsis = SCM_UNBOUND; /* which no form is */
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
    must_begin((*names[i].symbol = intern(vm, names[i].name)) &&
               tarn_root_add(world, (void **)names[i].symbol) == TARN_OK);
}
