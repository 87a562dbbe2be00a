/* SPDX-License-Identifier: MIT */
/*
 * gobject: wrappers of three words around real GLib objects.
 *
 *     | type | data ---+-> | object |        24 bytes, in the atomic heap: all words are raw
 *                              |
 *                              +----------> GObject, one reference
 *
 * What it shows:
 *   - one tarn_type for each GType, made when an object of it is first seen, with its ancestors, so
 *     that the managed types are related as GLib's are;
 *   - `free` drops the reference: GLib finalises an object exactly when its wrapper has become
 *     garbage and C holds no reference either;
 *   - a weak table from GObject to wrapper: to wrap twice, from any thread, gives the same wrapper.
 *
 * Two threads wrap 100,000 objects and keep some of the wrappers.  After each step every single
 * object is looked at: finalised once if it was due, not at all if it was not.
 */
#include <glib-object.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <tarn/tarn.h>

/* --- some GTypes: Circle, Square and Triangle are Shapes ------------------------------------- */

enum { OBJECTS = 100000, SHARED = 1000, KEEP_EVERY = 11, THREADS = 2, KINDS = 3 };

/* Counts the finalisations of each object; GLib may call from any thread. */
static _Atomic unsigned char finalised[OBJECTS];

typedef struct Shape {
  GObject parent;
  unsigned number;
} Shape;
typedef GObjectClass ShapeClass; /* adds nothing */
typedef Shape Circle, Square, Triangle;
typedef ShapeClass CircleClass, SquareClass, TriangleClass;

G_DEFINE_TYPE(Shape, shape, G_TYPE_OBJECT)

static void shape_finalize(GObject *object) {
  /* Relaxed: who looks has joined the threads first. */
  atomic_fetch_add_explicit(&finalised[((Shape *)object)->number], 1, memory_order_relaxed);
  G_OBJECT_CLASS(shape_parent_class)->finalize(object);
}

static void shape_class_init(ShapeClass *class) { class->finalize = shape_finalize; }
static void shape_init(Shape *shape) { (void)shape; }

/* The three kinds are Shapes and add nothing. */
#define DEFINE_KIND(Name, name)                                      \
  G_DEFINE_TYPE(Name, name, shape_get_type())                        \
  static void name##_class_init(Name##Class *class) { (void)class; } \
  static void name##_init(Name *object) { (void)object; }
DEFINE_KIND(Circle, circle)
DEFINE_KIND(Square, square)
DEFINE_KIND(Triangle, triangle)

static GObject *make_shape(unsigned number) {
  static GType (*const kinds[KINDS])(void) = {circle_get_type, square_get_type, triangle_get_type};
  Shape *shape = g_object_new(kinds[number % KINDS](), NULL);
  shape->number = number;
  return &shape->parent;
}

/* --- the wrappers ---------------------------------------------------------------------------- */

struct wrapper {
  const tarn_type *type; /* the class word */
  GObject **data;        /* the data word: points to the only slot */
  GObject *object;       /* the slot, raw */
};
_Static_assert(sizeof(struct wrapper) == 24, "a wrapper has three words");

static GQuark type_quark; /* GType -> tarn_type; a program with several worlds needs several */
static tarn_weak_table *wrappers; /* GObject -> wrapper */

/* Only raw slots are read, as a `free` function must. */
static void wrapper_free(tarn_world *world, void *object) {
  (void)world;
  g_object_unref(*((struct wrapper *)object)->data);
}

/* The type for a GType, made on first sight.  NULL: no memory. */
static const tarn_type *type_for(tarn_world *world, GType gtype) {
  static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
  const tarn_type *type = g_type_get_qdata(gtype, type_quark);
  if (type != NULL)
    return type;
  GType above = g_type_parent(gtype);
  const tarn_type *parent = above == 0 ? NULL : type_for(world, above);
  if (above != 0 && parent == NULL)
    return NULL;

  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  spec.name = g_type_name(gtype);
  spec.parent = parent; /* inherits layout and `free` */
  spec.user = GSIZE_TO_POINTER(gtype);
  if (parent == NULL) {
    spec.size = sizeof(struct wrapper); /* no slot is named, so none is traced */
    spec.free = wrapper_free;
  }
  /* Making a type is no safepoint, so a running thread may hold a lock meanwhile. */
  pthread_mutex_lock(&lock);
  type = g_type_get_qdata(gtype, type_quark); /* did another thread make it? */
  if (type == NULL) {
    type = tarn_type_create(world, &spec, NULL);
    if (type != NULL)
      g_type_set_qdata(gtype, type_quark, (gpointer)(uintptr_t)type);
  }
  pthread_mutex_unlock(&lock);
  return type;
}

/*
 * The wrapper of an object that the caller holds a reference to.  Store it in a root before the
 * next safepoint.  NULL: no memory.
 *
 * An entry of the table goes when its wrapper dies, and the wrapper's reference only afterwards: so
 * an address in the table is never that of a finalised object.
 */
static struct wrapper *wrap(tarn_thread *self, GObject *object) {
  struct wrapper *fresh = NULL;
  TARN_FRAME(self, &fresh);
  for (;;) {
    void *found = NULL;
    tarn_weak_table_get(self, wrappers, object, &found);
    if (found != NULL)
      return found; /* if another thread was faster, `fresh` is garbage, with its own reference */
    if (fresh == NULL) {
      const tarn_type *type = type_for(tarn_thread_world(self), G_OBJECT_TYPE(object));
      fresh = type == NULL ? NULL : tarn_new(self, type);
      if (fresh == NULL)
        return NULL;
      fresh->object = g_object_ref(object);
      fresh->data = &fresh->object;
    }
    if (tarn_weak_table_put(self, wrappers, object, fresh, false) == NULL)
      return NULL;
  }
}

/* --- the show -------------------------------------------------------------------------------- */

struct list { /* an array of references */
  const tarn_type *type;
  size_t count;
  void *items[];
};

static tarn_world *world;
static GObject *shared[SHARED];    /* C has references to these: the numbers below SHARED */
static void *seen[THREADS], *kept; /* struct list; global roots */
static unsigned expected[OBJECTS]; /* times that the object is finalised by now */
static bool failed;

static void must(bool good, const char *what) {
  if (!good)
    fprintf(stderr, "gobject: wrong: %s\n", what);
  failed = failed || !good;
}

static void check(tarn_status status, const char *what) {
  if (status == TARN_OK)
    return;
  fprintf(stderr, "gobject: %s: %s\n", what, tarn_strerror(status));
  exit(1);
}

static bool is_kept(unsigned number) { return number >= SHARED && number % KEEP_EVERY == 0; }

static void *need(void *object) {
  check(object == NULL ? TARN_ENOMEM : TARN_OK, "cannot make an object");
  return object;
}

/* Both threads wrap the shared objects; of the others each makes and wraps its half. */
static void *wrap_all(void *argument) {
  unsigned thread = (unsigned)(uintptr_t)argument;
  tarn_thread *self = NULL;
  check(tarn_thread_attach(world, &self), "cannot attach a thread");
  for (unsigned number = 0; number < SHARED; number++)
    ((struct list *)seen[thread])->items[number] = need(wrap(self, shared[number]));
  for (unsigned number = SHARED + thread; number < OBJECTS; number += THREADS) {
    GObject *object = make_shape(number);
    struct wrapper *wrapper = need(wrap(self, object));
    if (is_kept(number))
      ((struct list *)kept)->items[number] = wrapper;
    g_object_unref(object); /* from here on the wrapper alone keeps it */
    tarn_safepoint(self);   /* where `free` functions run; an allocation never does that */
  }
  check(tarn_thread_detach(self), "cannot detach a thread");
  return NULL;
}

/* Collects (unless `self` is NULL) and looks at every object. */
static void step(tarn_thread *self, const char *name) {
  unsigned sums[KINDS] = {0}, wrong = 0;
  check(self == NULL ? TARN_OK : tarn_collect(self, TARN_GENERATION_FULL), "cannot collect");
  for (unsigned i = 0; i < OBJECTS; i++) {
    unsigned times = atomic_load_explicit(&finalised[i], memory_order_relaxed);
    sums[i % KINDS] += times;
    wrong += times != expected[i];
  }
  printf("%-44s %8u %8u %8u %8zu  %s\n", name, sums[0], sums[1], sums[2],
         tarn_weak_table_count(wrappers), wrong == 0 ? "ok" : "WRONG");
  must(wrong == 0, name);
}

static void check_wrappers(void) {
  for (unsigned i = 0; i < SHARED; i++)
    must(((struct list *)seen[0])->items[i] == ((struct list *)seen[1])->items[i],
         "two threads got different wrappers for one object");
  const struct wrapper *wrapper = ((struct list *)seen[0])->items[1];
  char text[64];
  tarn_print(wrapper, text, sizeof text);
  printf("a wrapper: %s, ancestors:", text);
  for (const tarn_type *type = wrapper->type; type != NULL; type = tarn_type_parent(type))
    printf(" %s", tarn_type_name(type));
  printf("\n\n%-44s %8s %8s %8s %8s\n", "finalised by GLib", "Circle", "Square", "Triangle",
         "wrappers");
  must(tarn_type_is_a(wrapper->type, g_type_get_qdata(shape_get_type(), type_quark)),
       "a type does not descend from Shape");
}

/* Everything that needs an attached thread. */
static void show(tarn_thread *self) {
  tarn_type_spec spec = TARN_TYPE_SPEC_INIT;
  tarn_status status = TARN_OK;
  spec.name = "list";
  spec.size = sizeof(struct list);
  spec.element_size = sizeof(void *);
  spec.flags = TARN_TYPE_ELEMENTS_TRACED;
  const tarn_type *list_type = tarn_type_create(world, &spec, &status);
  check(status, "cannot make a type");
  check(tarn_root_add(world, &kept), "cannot add a root");
  kept = need(tarn_new_array(self, list_type, OBJECTS));
  for (unsigned i = 0; i < THREADS; i++) {
    check(tarn_root_add(world, &seen[i]), "cannot add a root");
    seen[i] = need(tarn_new_array(self, list_type, SHARED));
  }
  for (unsigned i = 0; i < SHARED; i++)
    shared[i] = make_shape(i);

  pthread_t threads[THREADS];
  tarn_block_begin(self); /* while this thread waits, collections need not wait for it */
  for (unsigned i = 0; i < THREADS; i++)
    if (pthread_create(&threads[i], NULL, wrap_all, (void *)(uintptr_t)i) != 0)
      check(TARN_ESYSTEM, "cannot start a thread");
  for (unsigned i = 0; i < THREADS; i++)
    pthread_join(threads[i], NULL);
  tarn_block_end(self);

  check_wrappers();
  for (unsigned i = 0; i < OBJECTS; i++)
    expected[i] = i >= SHARED && !is_kept(i);
  step(self, "wrappers that were not kept are garbage");
  for (unsigned i = 0; i < THREADS; i++)
    seen[i] = NULL;
  step(self, "also those of the objects that C refers to");
  for (unsigned i = 0; i < SHARED; i++) {
    g_object_unref(shared[i]);
    expected[i] = 1;
  }
  step(NULL, "C drops its references: no collector needed");
  kept = NULL;
  for (unsigned i = 0; i < OBJECTS; i++)
    expected[i] = 1;
  step(self, "the kept wrappers are garbage, too");
  must(tarn_weak_table_count(wrappers) == 0, "a wrapper is left in the table");
}

int main(void) {
  tarn_options options = TARN_OPTIONS_INIT;
  options.set = "min-heap=256K"; /* collections while the threads run */
  tarn_status status = tarn_world_create(&options, &world);
  if (status == TARN_EHELP)
    return 0;
  check(status, "cannot make a world");
  type_quark = g_quark_from_static_string("tarn-type");
  tarn_weak_table_spec spec = TARN_WEAK_TABLE_SPEC_INIT;
  spec.kind = TARN_WEAK_VALUES; /* no hash, no equal: keys are compared by address */
  check(tarn_weak_table_create(world, &spec, &wrappers), "cannot make a weak table");

  tarn_thread *self = NULL;
  check(tarn_thread_attach(world, &self), "cannot attach");
  show(self);
  check(tarn_thread_detach(self), "cannot detach");

  tarn_stats stats = {.struct_size = sizeof stats};
  check(tarn_stats_get(world, &stats), "no statistics");
  printf("\n%d objects, %llu collections, %llu `free` functions run\n", OBJECTS,
         (unsigned long long)stats.collections, (unsigned long long)stats.released);
  check(tarn_world_destroy(world), "cannot end the world");
  puts(failed ? "FAILED" : "everything is as it must be");
  return failed ? 1 : 0;
}
