/* neap._scope: scopes for Python. The functions of libneap are looked up at run time, in what the process has
 * loaded: where there is no neap a Scope does nothing, with the same errors for wrong use.
 *
 * A Scope is protected by the GIL; neap_scope's own rule, one thread at a time, makes what we add to it short. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <neap/neap.h>

/* --- libneap ------------------------------------------------------------------------------------------------ */

static struct {
    bool there; /* all of the following, and malloc is neap's */
    __typeof__(&neap_scope_create) create;
    __typeof__(&neap_scope_enter) enter;
    __typeof__(&neap_scope_leave) leave;
    __typeof__(&neap_scope_end) end;
    __typeof__(&neap_scope_set_label) set_label;
    __typeof__(&neap_scope_stats) stats;
    __typeof__(&neap_scope_report) report;
    __typeof__(&neap_exempt_begin) exempt_begin;
    __typeof__(&neap_exempt_end) exempt_end;
} libneap;

static void find_libneap(void) {
    const struct neap_state *state = dlsym(RTLD_DEFAULT, "neap_state");
    libneap.there = state != NULL && (state->flags & NEAP_STATE_IN_FRONT) != 0;
#define FIND(name, symbol)                                                                                        \
    *(void **)&libneap.name = dlsym(RTLD_DEFAULT, #symbol);                                                       \
    libneap.there &= libneap.name != NULL
    FIND(create, neap_scope_create);
    FIND(enter, neap_scope_enter);
    FIND(leave, neap_scope_leave);
    FIND(end, neap_scope_end);
    FIND(set_label, neap_scope_set_label);
    FIND(stats, neap_scope_stats);
    FIND(report, neap_scope_report);
    FIND(exempt_begin, neap_exempt_begin);
    FIND(exempt_end, neap_exempt_end);
#undef FIND
}

/* --- Scope -------------------------------------------------------------------------------------------------- */

typedef struct scope {
    PyObject ob_base;
    neap_scope handle; /* 0: there is none, for want of neap or of memory */
    enum { OPEN, ENDING, ENDED } state;
    unsigned depth;      /* of enters by the one thread that has entered it, whose reference keeps it alive */
    bool allocates;      /* neap has let that thread enter */
    bool stepping;       /* it did so for a step of run() */
    struct scope *outer; /* what that thread has entered before */
    unsigned sections;   /* exempt ones that began in it and have not ended; they last from enter to enter */
    bool exempted;       /* one is known to neap, which gave: */
    int token;
} Scope;

static _Thread_local Scope *innermost; /* what the thread has entered last */

static void set_exempt(Scope *self, bool exempt) {
    if (exempt == self->exempted || !libneap.there)
        return;
    if (exempt)
        self->token = libneap.exempt_begin();
    else
        libneap.exempt_end(self->token);
    self->exempted = exempt;
}

static void push(Scope *self) {
    self->outer = innermost;
    innermost = self;
    self->allocates = self->handle != 0 && libneap.enter(self->handle) == 0;
    set_exempt(self, self->sections > 0);
}

static Scope *pop(void) {
    Scope *self = innermost;
    set_exempt(self, false);
    if (self->allocates)
        libneap.leave(self->handle);
    innermost = self->outer;
    return self;
}

static bool is_entered_here(const Scope *self) {
    const Scope *scope = innermost;
    while (scope != NULL && scope != self)
        scope = scope->outer;
    return scope != NULL;
}

/* Answers false where another thread has entered the scope, or it has ended: the caller goes on without. */
static bool enter(Scope *self) {
    if (self->state != OPEN || (self->depth > 0 && !is_entered_here(self)))
        return false;
    if (self->depth++ == 0) {
        Py_INCREF((PyObject *)self);
        push(self);
    }
    return true;
}

static void end(Scope *self) {
    if (self->state != ENDED && self->depth == 0) {
        if (self->handle != 0)
            libneap.end(self->handle);
        self->state = ENDED;
    } else if (self->state == OPEN)
        self->state = ENDING; /* who has entered it ends it */
}

/* The calling thread must have entered it. */
static void leave(Scope *self) {
    if (--self->depth > 0)
        return;
    Scope *later = NULL; /* greenlets may leave in another order than they entered */
    while (innermost != self) {
        Scope *scope = pop();
        scope->outer = later;
        later = scope;
    }
    pop();
    while (later != NULL) {
        Scope *scope = later;
        later = scope->outer;
        push(scope);
    }
    if (self->state == ENDING)
        end(self);
    Py_DECREF((PyObject *)self);
}

static PyObject *scope_new(PyTypeObject *type, PyObject *args, PyObject *keywords) {
    static char *names[] = {"label", "limit", NULL};
    const char *label = NULL;
    Py_ssize_t limit = 0;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "|zn:Scope", names, &label, &limit))
        return NULL;
    if (limit < 0) {
        PyErr_SetString(PyExc_ValueError, "limit is a number of bytes, or 0 for none");
        return NULL;
    }
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    Scope *self = (Scope *)allocate(type, 0);
    if (self != NULL && libneap.there)
        self->handle = libneap.create(&(struct neap_scope_options){.label = label, .limit = (size_t)limit});
    return (PyObject *)self;
}

static void scope_dealloc(Scope *self) {
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    end(self);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF((PyObject *)type);
}

static PyObject *scope_enter(Scope *self, PyObject *Py_UNUSED(ignored)) {
    return PyBool_FromLong(enter(self));
}

static PyObject *scope_leave(Scope *self, PyObject *Py_UNUSED(ignored)) {
    if (!is_entered_here(self)) {
        PyErr_SetString(PyExc_RuntimeError, "this thread has not entered the scope");
        return NULL;
    }
    leave(self);
    Py_RETURN_NONE;
}

/* A step that hands work to another thread may still be in the scope when that thread begins: it has to wait for
 * the GIL to end. One that itself waits for the thread does not end; that thread then goes on without. */
static void wait_for_step(const Scope *self) {
    for (int tries = 0; tries < 50 && self->stepping && !is_entered_here(self); tries++) {
        Py_BEGIN_ALLOW_THREADS;
        nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
        Py_END_ALLOW_THREADS;
    }
}

static PyObject *scope_with(Scope *self, PyObject *Py_UNUSED(ignored)) {
    wait_for_step(self);
    enter(self);
    Py_INCREF((PyObject *)self);
    return (PyObject *)self;
}

static PyObject *scope_exit(Scope *self, PyObject *Py_UNUSED(ignored)) {
    if (is_entered_here(self))
        leave(self);
    Py_RETURN_NONE;
}

static PyObject *scope_end(Scope *self, PyObject *Py_UNUSED(ignored)) {
    end(self);
    Py_RETURN_NONE;
}

static PyObject *scope_ended(Scope *self, void *Py_UNUSED(closure)) {
    return PyBool_FromLong(self->state != OPEN);
}

static bool check_not_ended(const Scope *self) {
    if (self->state == ENDED)
        PyErr_SetString(PyExc_ValueError, "the scope has ended");
    return self->state != ENDED;
}

static PyObject *scope_set_label(Scope *self, PyObject *args) {
    const char *label;
    if (!PyArg_ParseTuple(args, "z:set_label", &label) || !check_not_ended(self))
        return NULL;
    if (self->handle != 0)
        libneap.set_label(self->handle, label);
    Py_RETURN_NONE;
}

static PyObject *scope_stats(Scope *self, PyObject *Py_UNUSED(ignored)) {
    struct neap_scope_stats s = {0};
    if (!check_not_ended(self))
        return NULL;
    if (self->handle != 0 && (errno = libneap.stats(self->handle, &s)) != 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    return Py_BuildValue("{s:n, s:n, s:n, s:n, s:n, s:n}", "allocated_bytes", s.allocated_bytes,
                         "allocated_objects", s.allocated_objects, "live_bytes", s.live_bytes, "live_objects",
                         s.live_objects, "peak_bytes", s.peak_bytes, "refused", s.refused);
}

static PyObject *scope_run(Scope *self, PyObject *awaitable);

static PyMethodDef scope_methods[] = {
    {"enter", (PyCFunction)scope_enter, METH_NOARGS,
     "enter()\n--\n\nHas the calling thread allocate in the scope. Answers False where that cannot be: another\n"
     "thread has entered it, or it has ended. May be nested."},
    {"leave", (PyCFunction)scope_leave, METH_NOARGS,
     "leave()\n--\n\nTakes back the calling thread's last enter; RuntimeError where it has not entered the "
     "scope."},
    {"__enter__", (PyCFunction)scope_with, METH_NOARGS,
     "enter(), or nothing where that cannot be. Waits some milliseconds for another thread's step of run()."},
    {"__exit__", (PyCFunction)scope_exit, METH_VARARGS, "leave(), where the scope was entered."},
    {"end", (PyCFunction)scope_end, METH_NOARGS,
     "end()\n--\n\nEnds the scope: at once, or when the thread that has entered it leaves. Again: does nothing."},
    {"set_label", (PyCFunction)scope_set_label, METH_VARARGS,
     "set_label(label)\n--\n\nWhat the scope is counted under in report(): a str, of which 63 bytes are kept."},
    {"stats", (PyCFunction)scope_stats, METH_NOARGS,
     "stats()\n--\n\nThe scope's figures as a dict; OSError with EBUSY where another thread has entered it."},
    {"run", (PyCFunction)scope_run, METH_O,
     "run(awaitable)\n--\n\nAn awaitable that runs that one in the scope: each step enters and leaves it."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef scope_getters[] = {
    {"ended", (getter)scope_ended, NULL, "Whether end() was called.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot scope_slots[] = {
    {Py_tp_doc, "Scope(label=None, limit=0)\n--\n\n"
                "What is allocated while it is entered lies together and is counted. Where more than limit bytes\n"
                "would live in it, MemoryError is raised; 0 is no limit. It ends by itself when it is collected."},
    {Py_tp_new, scope_new},
    {Py_tp_dealloc, scope_dealloc},
    {Py_tp_methods, scope_methods},
    {Py_tp_getset, scope_getters},
    {0, NULL},
};
static PyType_Spec scope_spec = {"neap.Scope", sizeof(Scope), 0, Py_TPFLAGS_DEFAULT, scope_slots};

/* --- Steps: what Scope.run() returns --------------------------------------------------------------------------
 */

typedef struct {
    PyObject ob_base;
    Scope *scope;
    PyObject *iterator; /* of what is awaited */
} Steps;

static int steps_traverse(Steps *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE((PyObject *)self));
    Py_VISIT(self->iterator);
    return 0;
}

static int steps_clear(Steps *self) {
    Py_CLEAR(self->iterator);
    return 0;
}

static void steps_dealloc(Steps *self) {
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    PyObject_GC_UnTrack(self);
    steps_clear(self);
    Py_CLEAR(self->scope);
    PyObject_GC_Del(self);
    Py_DECREF((PyObject *)type);
}

struct step {
    Scope *scope;
    bool entered, outermost;
};

static struct step begin_step(Scope *scope) {
    Py_INCREF((PyObject *)scope);
    bool entered = enter(scope), outermost = entered && scope->depth == 1;
    scope->stepping |= outermost;
    return (struct step){scope, entered, outermost};
}

static void end_step(struct step step) {
    step.scope->stepping &= !step.outermost;
    if (step.entered)
        leave(step.scope);
    Py_DECREF((PyObject *)step.scope);
}

static bool check_not_collected(const Steps *self) {
    if (self->iterator == NULL)
        PyErr_SetString(PyExc_RuntimeError, "it has been collected");
    return self->iterator != NULL;
}

/* Calls a method of the iterator in the scope. */
static PyObject *call(Steps *self, const char *method, PyObject *args) {
    PyObject *bound = check_not_collected(self) ? PyObject_GetAttrString(self->iterator, method) : NULL;
    if (bound == NULL)
        return NULL;
    struct step step = begin_step(self->scope);
    PyObject *result = PyObject_CallObject(bound, args);
    end_step(step);
    Py_DECREF(bound);
    return result;
}

#if PY_VERSION_HEX >= 0x030a0000
/* What an await does, without an exception for the result. */
static PySendResult steps_resume(Steps *self, PyObject *value, PyObject **result) {
    *result = NULL;
    if (!check_not_collected(self))
        return PYGEN_ERROR;
    PyObject *iterator = self->iterator;
    Py_INCREF(iterator);
    struct step step = begin_step(self->scope);
    PySendResult how = PyIter_Send(iterator, value, result);
    end_step(step);
    Py_DECREF(iterator);
    return how;
}

static PyObject *steps_send(Steps *self, PyObject *value) {
    PyObject *result;
    if (steps_resume(self, value, &result) != PYGEN_RETURN)
        return result;
    PyObject *stop = PyObject_CallFunctionObjArgs(PyExc_StopIteration, result, NULL);
    if (stop != NULL)
        PyErr_SetObject(PyExc_StopIteration, stop);
    Py_XDECREF(stop);
    Py_DECREF(result);
    return NULL;
}

/* A coroutine is resumed itself, rather than by a wrapper that knows exceptions only. */
static bool is_coroutine(PyObject *awaitable) {
    return PyType_GetSlot(Py_TYPE(awaitable), Py_am_await) != NULL &&
           PyType_GetSlot(Py_TYPE(awaitable), Py_am_send) != NULL;
}
#else
static PyObject *steps_send(Steps *self, PyObject *value) {
    if (value == Py_None)
        return call(self, "__next__", NULL);
    PyObject *args = PyTuple_Pack(1, value);
    PyObject *result = args != NULL ? call(self, "send", args) : NULL;
    Py_XDECREF(args);
    return result;
}

static bool is_coroutine(PyObject *Py_UNUSED(awaitable)) {
    return false;
}
#endif

static PyObject *steps_next(Steps *self) {
    return steps_send(self, Py_None);
}

static PyObject *steps_throw(Steps *self, PyObject *args) {
    return call(self, "throw", args);
}

static PyObject *steps_close(Steps *self, PyObject *Py_UNUSED(ignored)) {
    return call(self, "close", NULL);
}

static PyMethodDef steps_methods[] = {
    {"send", (PyCFunction)steps_send, METH_O, NULL},
    {"throw", (PyCFunction)steps_throw, METH_VARARGS, NULL},
    {"close", (PyCFunction)steps_close, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot steps_slots[] = {
    {Py_tp_doc, "An awaitable whose steps run in a scope; made by Scope.run()."},
    {Py_tp_dealloc, steps_dealloc},
    {Py_tp_traverse, steps_traverse},
    {Py_tp_clear, steps_clear},
    {Py_tp_methods, steps_methods},
    {Py_am_await, PyObject_SelfIter},
#if PY_VERSION_HEX >= 0x030a0000
    {Py_am_send, steps_resume},
#endif
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, steps_next},
    {0, NULL},
};
static PyType_Spec steps_spec = {"neap.Steps", sizeof(Steps), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
                                 steps_slots};

struct module_state {
    PyTypeObject *steps_type;
};

static PyObject *scope_run(Scope *self, PyObject *awaitable) {
    struct module_state *module = PyType_GetModuleState(Py_TYPE((PyObject *)self));
    PyObject *iterator = awaitable;
    if (is_coroutine(awaitable))
        Py_INCREF(iterator);
    else if ((iterator = PyObject_CallMethod(awaitable, "__await__", NULL)) == NULL)
        return NULL;
    Steps *steps = PyObject_GC_New(Steps, module->steps_type);
    if (steps == NULL) {
        Py_DECREF(iterator);
        return NULL;
    }
    Py_INCREF((PyObject *)self);
    steps->scope = self;
    steps->iterator = iterator;
    PyObject_GC_Track(steps);
    return (PyObject *)steps;
}

/* --- exempt ------------------------------------------------------------------------------------------------- */

typedef struct {
    PyObject ob_base;
    bool begun;
    Scope *scope; /* in which it began; NULL: in none */
} Exempt;

static void end_section(Exempt *self) {
    Scope *scope = self->scope;
    self->begun = false;
    self->scope = NULL;
    if (scope != NULL && --scope->sections == 0 && scope == innermost)
        set_exempt(scope, false);
    Py_XDECREF((PyObject *)scope);
}

static void exempt_dealloc(Exempt *self) {
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    end_section(self);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF((PyObject *)type);
}

static PyObject *exempt_enter(Exempt *self, PyObject *Py_UNUSED(ignored)) {
    if (self->begun) {
        PyErr_SetString(PyExc_RuntimeError, "this exempt section has begun already");
        return NULL;
    }
    self->begun = true;
    self->scope = innermost;
    if (innermost != NULL) {
        Py_INCREF((PyObject *)innermost);
        innermost->sections++;
        set_exempt(innermost, true);
    }
    Py_RETURN_NONE;
}

static PyObject *exempt_exit(Exempt *self, PyObject *Py_UNUSED(ignored)) {
    if (self->begun)
        end_section(self);
    Py_RETURN_NONE;
}

static PyMethodDef exempt_methods[] = {
    {"__enter__", (PyCFunction)exempt_enter, METH_NOARGS, NULL},
    {"__exit__", (PyCFunction)exempt_exit, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot exempt_slots[] = {
    {Py_tp_doc, "with exempt(): what is allocated here is of no scope, as for what is to stay, such as a cache.\n"
                "May hold awaits."},
    {Py_tp_dealloc, exempt_dealloc},
    {Py_tp_methods, exempt_methods},
    {0, NULL},
};
static PyType_Spec exempt_spec = {"neap.exempt", sizeof(Exempt), 0, Py_TPFLAGS_DEFAULT, exempt_slots};

/* --- the module -----------------------------------------------------------------------------------------------
 */

static PyObject *module_available(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored)) {
    return PyBool_FromLong(libneap.there);
}

static PyObject *module_report(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored)) {
    char *text = NULL;
    size_t size = 0;
    if (!libneap.there)
        return PyUnicode_FromString("");
    FILE *out = open_memstream(&text, &size);
    if (out == NULL)
        return PyErr_NoMemory();
    int failed = libneap.report(out);
    if (fclose(out) != 0 || failed != 0) {
        free(text);
        return PyErr_NoMemory();
    }
    PyObject *result = PyUnicode_DecodeUTF8(text, (Py_ssize_t)size, "replace"); /* labels may be cut */
    free(text);
    return result;
}

static int module_exec(PyObject *module) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, find_libneap);
    struct module_state *state = PyModule_GetState(module);
    state->steps_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &steps_spec, NULL);
    PyObject *scope_type = PyType_FromModuleAndSpec(module, &scope_spec, NULL);
    PyObject *exempt_type = PyType_FromModuleAndSpec(module, &exempt_spec, NULL);
    int result = -1;
    if (state->steps_type != NULL && scope_type != NULL && exempt_type != NULL)
        result = PyModule_AddType(module, (PyTypeObject *)scope_type) != 0 ||
                         PyModule_AddType(module, (PyTypeObject *)exempt_type) != 0
                     ? -1
                     : 0;
    Py_XDECREF(scope_type);
    Py_XDECREF(exempt_type);
    return result;
}

static int module_traverse(PyObject *module, visitproc visit, void *arg) {
    struct module_state *state = PyModule_GetState(module);
    Py_VISIT(state->steps_type);
    return 0;
}

static int module_clear(PyObject *module) {
    struct module_state *state = PyModule_GetState(module);
    Py_CLEAR(state->steps_type);
    return 0;
}

static PyMethodDef module_methods[] = {
    {"available", module_available, METH_NOARGS,
     "available()\n--\n\nWhether the process's malloc is a neap with scopes. Where not, scopes do nothing."},
    {"report", module_report, METH_NOARGS,
     "report()\n--\n\nAn account of the scopes that have ended, a line a label, most surviving bytes first."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
#ifdef Py_mod_multiple_interpreters
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
    {0, NULL},
};

static struct PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT,       .m_name = "neap._scope", .m_size = sizeof(struct module_state),
    .m_methods = module_methods, .m_slots = module_slots, .m_traverse = module_traverse,
    .m_clear = module_clear,
};

PyMODINIT_FUNC PyInit__scope(void);
PyMODINIT_FUNC PyInit__scope(void) {
    return PyModuleDef_Init(&module_definition);
}
