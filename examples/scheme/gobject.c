/* SPDX-License-Identifier: MIT */
/*
 * gobject.c: GLib's objects as instances.
 *
 *     | type | object ---> GObject, which holds one reference for its wrapper
 *
 * A wrapper is an instance with one raw slot: no more than the type word and the pointer, without a
 * second object that a small tag would need.  The slot has no name, so Scheme cannot change it.
 *   - Each GType has a class of its own, <GType-name>, made with those of its parents when the type
 *     is first seen: generic functions tell GLib's types apart, and a program can derive from them.
 *   - The classes' free function gives the reference back; another can be put in its place.
 *   - A weak table from GObject to wrapper: to wrap an object twice, from any thread, gives the
 * same wrapper.  Its entry goes when the wrapper dies, and the reference only afterwards, so an
 *     address in the table is never that of a finalised object.
 * References from GLib back to Scheme do not exist here, so neither do cycles through both.
 *
 * Built without GLib (SCHEME_GOBJECT is not set by CMake) there are no such primitives.
 */
#include "class.h"

#if SCHEME_GOBJECT
#include <glib-object.h>
#include <pthread.h>
#include <stdlib.h>

/* --- TarnPoint: a GObject to play with ------------------------------------------------------- */

enum { X = 1, Y, WEIGHT, LABEL, VISIBLE, NEXT, PROPERTIES };

typedef struct TarnPoint {
  GObject parent;
  GValue values[PROPERTIES]; /* of each property */
} TarnPoint;
typedef GObjectClass TarnPointClass; /* adds nothing */

GType tarn_point_get_type(void);
G_DEFINE_TYPE(TarnPoint, tarn_point, G_TYPE_OBJECT)

static GParamSpec *point_properties[PROPERTIES];
static gint points; /* atomic: that are alive */

static void point_get(GObject *object, guint id, GValue *value, GParamSpec *property) {
  (void)property;
  g_value_copy(&((TarnPoint *)object)->values[id], value);
}

static void point_set(GObject *object, guint id, const GValue *value, GParamSpec *property) {
  (void)property;
  g_value_copy(value, &((TarnPoint *)object)->values[id]);
}

static void point_finalize(GObject *object) {
  for (int id = X; id < PROPERTIES; id++)
    g_value_unset(&((TarnPoint *)object)->values[id]);
  g_atomic_int_add(&points, -1);
  G_OBJECT_CLASS(tarn_point_parent_class)->finalize(object);
}

static void tarn_point_init(TarnPoint *point) {
  for (int id = X; id < PROPERTIES; id++)
    g_value_init(&point->values[id], point_properties[id]->value_type);
  g_atomic_int_add(&points, 1);
}

static void tarn_point_class_init(TarnPointClass *class) {
  const GParamFlags flags = G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS;
  class->get_property = point_get;
  class->set_property = point_set;
  class->finalize = point_finalize;
  point_properties[X] = g_param_spec_double("x", NULL, NULL, -G_MAXDOUBLE, G_MAXDOUBLE, 0, flags);
  point_properties[Y] = g_param_spec_double("y", NULL, NULL, -G_MAXDOUBLE, G_MAXDOUBLE, 0, flags);
  point_properties[WEIGHT] = g_param_spec_int("weight", NULL, NULL, 0, 1000, 0, flags);
  point_properties[LABEL] = g_param_spec_string("label", NULL, NULL, NULL, flags);
  point_properties[VISIBLE] = g_param_spec_boolean("visible", NULL, NULL, FALSE, flags);
  point_properties[NEXT] = g_param_spec_object("next", NULL, NULL, G_TYPE_OBJECT, flags);
  g_object_class_install_properties(class, PROPERTIES, point_properties);
}

/* --- classes --------------------------------------------------------------------------------- */

static tarn_weak_table *wrappers;    /* GObject -> wrapper */
static const tarn_type *object_type; /* of the instances of <GObject> */
static GQuark class_quark;           /* GType -> class, which lives as long as the world */
static pthread_mutex_t class_lock = PTHREAD_MUTEX_INITIALIZER;

/* A class of the program's own may name it, too: there is no object to be found then. */
static GObject *object_of(void *wrapper) {
  return tarn_type_is_a(tarn_type_of(wrapper), object_type)
             ? (GObject *)*instance_word((scm)wrapper, CLASS_OWN_WORD)
             : NULL;
}

static void free_wrapper(tarn_world *of, void *wrapper) {
  GObject *object = object_of(wrapper);
  (void)of;
  if (object)
    g_object_unref(object);
}

/* Under the lock; the parents' first.  <GObject> is there from the start. */
static scm find_class(struct vm *vm, GType type) {
  scm class = (scm)g_type_get_qdata(type, class_quark);
  if (class)
    return class;
  scm super = find_class(vm, g_type_parent(type));
  char *text = g_strdup_printf("<%s>", g_type_name(type));
  scm name = super ? intern(vm, text) : 0;
  g_free(text);
  class = name ? class_make(vm, name, super, SCM_NIL, free_wrapper) : 0;
  g_type_set_qdata(type, class_quark, (gpointer) class);
  return class;
}

/* The lock is held across allocations, so it is taken where nobody waits for this thread. */
static scm class_for(struct vm *vm, GType type) {
  scm class = (scm)g_type_get_qdata(type, class_quark);
  if (class)
    return class;
  tarn_block_begin(vm->self);
  (void)pthread_mutex_lock(&class_lock);
  tarn_block_end(vm->self);
  class = find_class(vm, type);
  (void)pthread_mutex_unlock(&class_lock);
  return class;
}

/* --- wrappers -------------------------------------------------------------------------------- */

static scm make_wrapper(struct vm *vm, GObject *object) {
  scm class = class_for(vm, G_OBJECT_TYPE(object)), wrapper = 0;
  if (class && (wrapper = class_allocate(vm, class)))
    *instance_word(wrapper, CLASS_OWN_WORD) = (scm)g_object_ref(object);
  return wrapper;
}

/* The wrapper of an object that the caller has a reference to, and keeps.  If another thread is
 * faster, the fresh one is garbage, with its own reference. */
static scm wrap(struct vm *vm, GObject *object) {
  scm fresh = 0;
  ROOTS(vm, (void *)&fresh);
  for (;;) {
    void *found = NULL;
    tarn_weak_table_get(vm->self, wrappers, object, &found);
    if (found)
      return (scm)found;
    if (!fresh && !(fresh = make_wrapper(vm, object)))
      return 0;
    if (!tarn_weak_table_put(vm->self, wrappers, object, (void *)fresh, false))
      return out_of_memory(vm);
  }
}

static bool is_gobject(scm v) { return is_instance(v) && object_of((void *)v); }

/* The UTF-8 text of a symbol or string, in a block of the heap; NULL: the condition is set. */
static const char *text_of(struct vm *vm, const char *who, int argument, scm v) {
  size_t bytes;
  scm name = is_symbol(v) ? symbol_of(v)->name : v;
  if (!is_string(name)) {
    wrong_type(vm, who, argument, v);
    return NULL;
  }
  const char *text = (const char *)string_to_utf8(vm, name, &bytes);
  if (text && strlen(text) != bytes) {
    out_of_range(vm, who, argument, v);
    return NULL;
  }
  return text;
}

/* --- properties ------------------------------------------------------------------------------ */

static GParamSpec *find_property(struct vm *vm, const char *who, int argument, GObjectClass *class,
                                 scm name, GParamFlags flags) {
  const char *text = text_of(vm, who, argument, name);
  GParamSpec *property = text ? g_object_class_find_property(class, text) : NULL;
  if (property && (property->flags & flags) == flags)
    return property;
  if (text)
    raise_error(vm, "out-of-range", who, "there is no such property, or not for this use", 1, name);
  return NULL;
}

static bool int_to_value(struct vm *vm, const char *who, int argument, scm v, GValue *value) {
  if (!is_integer_object(v))
    return false;
  if (!is_fixnum(v) || fixnum_value(v) < G_MININT || fixnum_value(v) > G_MAXINT)
    return out_of_range(vm, who, argument, v);
  g_value_set_int(value, (gint)fixnum_value(v));
  return true;
}

/* Puts it into a value of the property's type.  False: it does not go; the condition may be set. */
static bool to_value(struct vm *vm, const char *who, int argument, scm v, GValue *value) {
  GObject *object = is_gobject(v) ? object_of((void *)v) : NULL;
  const char *text;
  switch (G_TYPE_FUNDAMENTAL(G_VALUE_TYPE(value))) {
  case G_TYPE_INT:
    return int_to_value(vm, who, argument, v, value);
  case G_TYPE_DOUBLE:
    if (is_number(v))
      g_value_set_double(value, number_to_double(v));
    return is_number(v);
  case G_TYPE_BOOLEAN:
    g_value_set_boolean(value, v == SCM_TRUE);
    return is_boolean(v);
  case G_TYPE_STRING:
    if (v == SCM_FALSE) /* and so does NULL come back */
      return true;
    if (!is_string(v) || !(text = text_of(vm, who, argument, v)))
      return false;
    g_value_set_string(value, text);
    return true;
  case G_TYPE_OBJECT:
    if (object && g_type_is_a(G_OBJECT_TYPE(object), G_VALUE_TYPE(value)))
      g_value_set_object(value, object);
    return v == SCM_FALSE || g_value_get_object(value);
  default:
    return false;
  }
}

/* The value of a property; `*value` is initialised if the result is true. */
static bool make_value(struct vm *vm, const char *who, int argument, GParamSpec *property, scm v,
                       GValue *value) {
  g_value_init(value, property->value_type);
  vm->condition = SCM_FALSE;
  if (!to_value(vm, who, argument, v, value)) {
    if (vm->condition == SCM_FALSE)
      wrong_type(vm, who, argument, v);
  } else if (g_param_value_validate(property, value)) { /* it had to be changed */
    out_of_range(vm, who, argument, v);
  } else {
    return true;
  }
  g_value_unset(value);
  return false;
}

static scm from_value(struct vm *vm, const GValue *value) {
  switch (G_TYPE_FUNDAMENTAL(G_VALUE_TYPE(value))) {
  case G_TYPE_INT:
    return fixnum(g_value_get_int(value));
  case G_TYPE_DOUBLE:
    return make_flonum(vm, g_value_get_double(value));
  case G_TYPE_BOOLEAN:
    return boolean(g_value_get_boolean(value));
  case G_TYPE_STRING:
    return g_value_get_string(value) ? string_from(vm, g_value_get_string(value)) : SCM_FALSE;
  case G_TYPE_OBJECT:
    return g_value_get_object(value) ? wrap(vm, g_value_get_object(value)) : SCM_FALSE;
  default:
    return raise_error(vm, "wrong-type", "gobject-get", "a property of a type that Scheme has not",
                       0);
  }
}

/* --- primitives ------------------------------------------------------------------------------ */

/* The GType that is named; 0: the condition is set. */
static GType type_argument(struct vm *vm, const char *who, scm name) {
  const char *text = text_of(vm, who, 1, name);
  GType type = text ? g_type_from_name(text) : 0;
  if (type && g_type_is_a(type, G_TYPE_OBJECT))
    return type;
  if (text)
    out_of_range(vm, who, 1, name);
  return 0;
}

/* Makes and wraps the object; what is floating is sunk. */
static scm make_object_of(struct vm *vm, GType type, guint count, const char **names,
                          const GValue *values) {
  GObject *object = g_object_new_with_properties(type, count, names, values);
  if (g_object_is_floating(object))
    g_object_ref_sink(object);
  scm wrapper = wrap(vm, object);
  g_object_unref(object); /* from here on the wrapper keeps it */
  return wrapper;
}

/* (gobject-new type-name property value ...) */
DEFINE("gobject-new", gobject_new, 1, -1) {
  GType type = type_argument(vm, who, arguments[0]);
  if (!type)
    return 0;
  if (G_TYPE_IS_ABSTRACT(type))
    return out_of_range(vm, who, 1, arguments[0]);
  if (count % 2 == 0)
    return raise_error(vm, "error", who, "a property without a value", 1, arguments[count - 1]);
  guint wanted = (guint)count / 2, made = 0;
  const char **names = g_new0(const char *, wanted);
  GValue *values = g_new0(GValue, wanted);
  GObjectClass *class = g_type_class_ref(type);
  for (; made < wanted; made++) {
    int at = 1 + 2 * (int)made;
    GParamSpec *property = find_property(vm, who, at + 1, class, arguments[at], G_PARAM_WRITABLE);
    if (!property || !make_value(vm, who, at + 2, property, arguments[at + 1], &values[made]))
      break;
    names[made] = property->name;
  }
  scm wrapper = made == wanted ? make_object_of(vm, type, made, names, values) : 0;
  while (made > 0)
    g_value_unset(&values[--made]);
  g_type_class_unref(class);
  g_free(values);
  g_free(names);
  return wrapper;
}

/* The object's property that is argument 2; NULL: the condition is set. */
static GParamSpec *property_argument(struct vm *vm, const char *who, const scm *arguments,
                                     GParamFlags flags) {
  GObject *object = object_of((void *)arguments[0]);
  return find_property(vm, who, 2, G_OBJECT_GET_CLASS(object), arguments[1], flags);
}

/* (gobject-get object property) */
DEFINE("gobject-get", gobject_get, 2, 2, is_gobject) {
  GValue value = G_VALUE_INIT;
  GParamSpec *property = property_argument(vm, who, arguments, G_PARAM_READABLE);
  if (!property)
    return 0;
  g_value_init(&value, property->value_type);
  g_object_get_property(object_of((void *)arguments[0]), property->name, &value);
  scm result = from_value(vm, &value);
  g_value_unset(&value);
  return result;
}

/* (gobject-set! object property value) */
DEFINE("gobject-set!", gobject_set, 3, 3, is_gobject) {
  GValue value = G_VALUE_INIT;
  GParamSpec *property = property_argument(vm, who, arguments, G_PARAM_WRITABLE);
  if (!property)
    return 0;
  if (property->flags & G_PARAM_CONSTRUCT_ONLY)
    return out_of_range(vm, who, 2, arguments[1]);
  if (!make_value(vm, who, 3, property, arguments[2], &value))
    return 0;
  g_object_set_property(object_of((void *)arguments[0]), property->name, &value);
  g_value_unset(&value);
  return SCM_UNSPECIFIED;
}

DEFINE("gobject-type-name", gobject_type_name, 1, 1, is_gobject) {
  return string_from(vm, G_OBJECT_TYPE_NAME(object_of((void *)arguments[0])));
}

/* (gobject-class type-name) */
DEFINE("gobject-class", gobject_class, 1, 1) {
  GType type = type_argument(vm, who, arguments[0]);
  return type ? class_for(vm, type) : 0;
}

DEFINE("gobject-ref-count", gobject_ref_count, 1, 1, is_gobject) {
  const GObject *object = object_of((void *)arguments[0]);
  return fixnum(g_atomic_int_get((const gint *)&object->ref_count));
}

/* In words, as the collector has them. */
DEFINE("gobject-wrapper-size", wrapper_size, 0, 0) {
  return fixnum((intptr_t)(tarn_good_size(tarn_type_size(object_type)) / sizeof(scm)));
}

/* How many TarnPoints there are that GLib has not finalised. */
DEFINE("gobject-point-count", point_count, 0, 0) { return fixnum(g_atomic_int_get(&points)); }

void gobject_begin(struct vm *vm) {
  tarn_weak_table_spec spec = TARN_WEAK_TABLE_SPEC_INIT;
  spec.kind = TARN_WEAK_VALUES; /* no hash, no equal: keys are compared by address */
  scm class = class_make_own(vm, "<GObject>", free_wrapper);
  object_type = class_at(class)->instances;
  class_quark = g_quark_from_static_string("tarn-scheme-class");
  g_type_set_qdata(G_TYPE_OBJECT, class_quark, (gpointer) class);
  class = class_for(vm, tarn_point_get_type());
  must_begin(class && tarn_weak_table_create(world, &spec, &wrappers) == TARN_OK &&
             define_global(vm, class_at(class)->name, class));
  g_type_ensure(G_TYPE_INITIALLY_UNOWNED); /* so that it can be named: its objects are floating */
  class_define_free("gobject-unref", free_wrapper);
}

#else

void gobject_begin(struct vm *vm) { (void)vm; }

#endif
